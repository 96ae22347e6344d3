//! What became of what was handed over (rows B8, B13): one line of a program's log for each delivery and each signed report
//! about it, and what they say together.

use std::collections::BTreeMap;

use semver::Version;
use serde::Serialize;

use crate::message::{Body, Message, ProgramReport, Verified};
use crate::model::{Code, Error, Key, MessageId, Result, ServiceName, Time};
use crate::roles::node::Node;
use crate::service::platform::Platform;
use crate::store::offers::{Line, Offers};

/// What devices have of a program that this node offers.
#[derive(Clone, Debug, Serialize)]
pub struct Handed {
    pub program: ServiceName,
    pub installations: Vec<Installation>,
}

/// One device that a program was delivered to.
#[derive(Clone, Debug, Serialize)]
pub struct Installation {
    pub name: String,
    pub key: Key,
    pub signer: Key,
    pub version: Version,
    pub platform: Platform,
    /// `delivered`, then what its latest signed report says.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub since: Time,
}

impl Node {
    /// What was handed over, and how it went there.
    ///
    /// # Errors
    /// `damaged`, `io`.
    pub fn handed(&self) -> Result<Vec<Handed>> {
        let mut all = Vec::new();
        for program in Offers::names(&self.state)? {
            let installations = self.installations(&Offers::of(&self.state, &program).lines()?)?;
            if !installations.is_empty() {
                all.push(Handed { program, installations });
            }
        }
        Ok(all)
    }

    fn installations(&self, lines: &[Line]) -> Result<Vec<Installation>> {
        let mut latest: BTreeMap<Key, (MessageId, Time, Installation)> = BTreeMap::new();
        for line in lines {
            let message = Verified::from_own_log(line.envelope.clone())?;
            match &message.body {
                Body::ProgramDelivery(delivery) => {
                    let key = message.head.to;
                    let claimed = delivery.configuration["name"].as_str().unwrap_or_default().to_owned();
                    let installation = Installation {
                        name: self.calls(&key).unwrap_or(claimed),
                        key,
                        signer: delivery.signer,
                        version: delivery.program.version.clone(),
                        platform: delivery.platform.clone(),
                        state: "delivered".to_owned(),
                        reason: None,
                        since: line.time,
                    };
                    latest.insert(key, (message.head.id, message.head.issued, installation));
                }
                Body::ProgramReport(report) => {
                    let Some((delivery, issued, installation)) = latest.get_mut(&message.head.from) else { continue };
                    if *delivery != report.delivery || message.head.issued < *issued {
                        continue;
                    }
                    *issued = message.head.issued;
                    installation.state = report.state.to_string();
                    installation.reason = report.failure.as_ref().map(|failure| failure.text.clone());
                    installation.since = line.time;
                }
                _ => {}
            }
        }
        Ok(latest.into_values().map(|(_, _, installation)| installation).collect())
    }
}

/// Takes a report of a device that a program was delivered to.
pub(in crate::roles) fn program_report(node: &Node, message: &Verified<Message>) -> Result<()> {
    let Body::ProgramReport(report) = &message.body else {
        return Err(Error::new(Code::Internal, "not a program report"));
    };
    let offers = Offers::of(&node.state, &report.program.name);
    let not_delivered = || {
        let who = message.head.from.short();
        Error::new(Code::NotPermitted, format!("{who} reports of a program that was not delivered to it"))
    };
    if !offers.exist()? {
        return Err(not_delivered());
    }
    let _lock = offers.lock()?;
    let mut delivered = false;
    for line in offers.lines()? {
        let before = Verified::from_own_log(line.envelope)?;
        if before.head.id == message.head.id {
            return match before.envelope().payload == message.envelope().payload {
                true => Ok(()),
                false => {
                    Err(Error::new(Code::Replay, "the id of this program-report was used before for another message"))
                }
            };
        }
        delivered |= is_about(report, message.head.from, &before);
    }
    message.check_fresh(&node.key(), node.system.now())?;
    if !delivered {
        return Err(not_delivered());
    }
    offers.log(&Line { time: node.system.now(), envelope: message.envelope().clone() })
}

fn is_about(report: &ProgramReport, from: Key, before: &Message) -> bool {
    let Body::ProgramDelivery(delivery) = &before.body else { return false };
    let same = delivery.package.digest == report.package && delivery.program == report.program;
    before.head.id == report.delivery && before.head.to == from && same
}
