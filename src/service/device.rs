//! A device as it describes itself when it asks for programs (row B4): what it is, what it has, what was found on it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::platform::Platform;
use super::requirement::ProgramVersion;
use crate::model::{Code, Error, Result};

/// Tools that a description names at most.
const MAX_TOOLS: usize = 512;
/// Characters of a name in a description.
const NAME_CHARS: usize = 100;

/// What a device says of itself. What it does not say is not held against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceDescription {
    /// Operating system and processor.
    pub platform: Platform,
    /// The system's name and version, for people: `Debian GNU/Linux 12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Programs, runtimes and emulators that were looked for, with the kernel and the C library (`kernel`, `glibc`,
    /// `musl`) among them.
    #[serde(default)]
    pub tools: BTreeMap<String, Tool>,
    /// Bytes of memory, in use or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes that can still be written where software is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// The fastest processor's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mhz: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u64>,
    /// Whether programs can open windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<bool>,
}

/// What came of looking for a tool. In JSON `false`, `true`, or its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tool {
    Absent,
    /// It is there, in a version that it does not tell.
    There,
    Version(ProgramVersion),
}

impl DeviceDescription {
    /// One that says no more than its platform.
    pub fn of(platform: Platform) -> Self {
        Self {
            platform,
            system: None,
            tools: BTreeMap::new(),
            memory: None,
            disk: None,
            cpu_mhz: None,
            cpus: None,
            display: None,
        }
    }
    /// Refuses what no device says: it comes from outside.
    ///
    /// # Errors
    /// `too-large`.
    pub fn check(self) -> Result<Self> {
        let long = |text: &str| text.chars().count() > NAME_CHARS;
        if self.tools.len() > MAX_TOOLS
            || self.tools.keys().any(|name| long(name))
            || self.system.iter().any(|text| long(text))
        {
            let why =
                format!("a device description with more than {MAX_TOOLS} tools, or names over {NAME_CHARS} characters");
            return Err(Error::new(Code::TooLarge, why));
        }
        Ok(self)
    }
    /// Whether a tool is known to be there.
    pub fn has(&self, name: &str) -> bool {
        matches!(self.tools.get(name), Some(Tool::There | Tool::Version(_)))
    }
}

impl Serialize for Tool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_bool(false),
            Self::There => serializer.serialize_bool(true),
            Self::Version(version) => serializer.collect_str(version),
        }
    }
}
impl<'de> Deserialize<'de> for Tool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            There(bool),
            Version(String),
        }
        match Written::deserialize(deserializer)? {
            Written::There(false) => Ok(Self::Absent),
            Written::There(true) => Ok(Self::There),
            Written::Version(text) => text.parse().map(Self::Version).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_back_as_it_was_written() {
        let text = r#"{"platform":"linux-x86_64","system":"Debian 12","tools":{"python":"3.11.2","tar":true,"wine":false},"memory":1024,"display":false}"#;
        let device: DeviceDescription = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&device).unwrap(), text);
        assert!(device.has("python") && device.has("tar") && !device.has("wine") && !device.has("java"));
        assert_eq!(device.clone().check().unwrap(), device);
    }

    #[test]
    fn what_no_device_says_is_refused() {
        let mut device = DeviceDescription::of(Platform::here());
        device.tools = (0..=MAX_TOOLS).map(|n| (n.to_string(), Tool::There)).collect();
        assert_eq!(device.check().unwrap_err().code, Code::TooLarge);
        for tool in [r#""3.x""#, "3", "null"] {
            let text = format!(r#"{{"platform":"linux-x86_64","tools":{{"python":{tool}}}}}"#);
            assert!(serde_json::from_str::<DeviceDescription>(&text).is_err(), "{tool}");
        }
    }
}
