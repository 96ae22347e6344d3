//! Machines as far as the network goes: nodes in network namespaces of their own with a bridge between them. Needs root
//! and iproute2. One network at a time in a test program.

#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "no test file uses all of it")]
#![allow(clippy::disallowed_methods, reason = "sets the network up")]

use std::process::Command;

/// Provider, Initiator and two peers.
pub const NODES: [&str; 4] = ["p", "i", "a", "b"];

/// Names are for the whole machine; addresses are seen in the namespaces only.
pub fn namespace(node: &str) -> String {
    format!("dt{}{node}", std::process::id())
}

/// The address of a node: RFC 5737 keeps this network for documentation.
pub fn ip_of(node: &str) -> String {
    let last = NODES.iter().position(|name| *name == node).expect("one of the nodes") + 1;
    format!("192.0.2.{last}")
}

fn ip(words: &str) -> Result<(), String> {
    let done = Command::new("ip").args(words.split(' ')).output().map_err(|why| why.to_string())?;
    if done.status.success() { Ok(()) } else { Err(format!("ip {words}: {}", String::from_utf8_lossy(&done.stderr))) }
}

/// The namespaces, and a bridge in one of its own. Taken down when it is dropped.
pub struct Network;

impl Network {
    /// # Errors
    /// Where this may not be done here.
    pub fn new() -> Result<Self, String> {
        let hub = namespace("hub");
        ip(&format!("netns add {hub}"))?;
        let network = Self;
        ip(&format!("-n {hub} link add bridge type bridge mcast_snooping 0"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        for node in NODES {
            let name = namespace(node);
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link add eth0 type veth peer name to-{node} netns {hub}"))?;
            ip(&format!("-n {hub} link set to-{node} master bridge up"))?;
            ip(&format!("-n {name} addr add {}/24 brd + dev eth0", ip_of(node)))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
            // Nothing is there; but without any route, multicast is not sent either.
            ip(&format!("-n {name} route add default via 192.0.2.254"))?;
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in NODES.iter().chain(&["hub"]) {
            drop(ip(&format!("netns delete {}", namespace(node))));
        }
    }
}

/// Put before a program that is to run on the machine of a node.
pub fn on(node: &str) -> Vec<String> {
    ["ip", "netns", "exec", &namespace(node)].map(str::to_owned).into()
}
