//! Whether a program can run on a device, and by what (row B4): natively, or through a runtime or an emulator that the
//! device has.

use serde::{Deserialize, Serialize};

use super::definition::RoleTerms;
use super::device::{DeviceDescription, Tool};
use super::platform::{Platform, Platforms};
use super::requirement::Requirement;

/// Requirements by which a program says that it is not made of machine code, so that it runs by these.
const RUNTIMES: [&str; 14] = [
    "bash",
    "deno",
    "dotnet",
    "java",
    "jvm",
    "node",
    "perl",
    "php",
    "python",
    "python3",
    "qemu-user",
    "ruby",
    "sh",
    "wine",
];
/// Processors as Rust names them, and as QEMU does where it has another name.
const QEMU_NAMES: [(&str, &str); 3] = [("x86", "i386"), ("powerpc", "ppc"), ("powerpc64", "ppc64")];

/// How a program runs on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// What the package is to be made for.
    pub platform: Platform,
    /// The program that programs of this platform are started by; absent where they run natively.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulator: Option<String>,
    /// What it runs by, for people: the emulator, and the runtimes that it needs. Empty: natively.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// One rule that a program or a device does not keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    pub rule: String,
    pub expected: String,
    pub actual: String,
}

impl Unmet {
    pub fn new(rule: &str, expected: &dyn std::fmt::Display, actual: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), expected: expected.to_string(), actual: actual.into() }
    }
}

/// How a role with these terms runs on this device.
///
/// # Errors
/// Every rule that is not kept.
pub fn fit(terms: &RoleTerms, device: &DeviceDescription) -> Result<Fit, Vec<Unmet>> {
    fit_on(&terms.platforms, &terms.requires, device)
}

/// How what is made for these platforms, and requires this, runs on this device.
///
/// # Errors
/// Every rule that is not kept.
pub fn fit_on(platforms: &Platforms, requires: &[Requirement], device: &DeviceDescription) -> Result<Fit, Vec<Unmet>> {
    let mut unmet = lacks(requires, device);
    let way = way(platforms, device);
    if way.is_none() {
        unmet.insert(0, Unmet::new("platforms", platforms, without(platforms, device)));
    }
    match way {
        Some((platform, emulator)) if unmet.is_empty() => {
            let runtimes = requires.iter().filter_map(|wanted| runtime(wanted, device));
            Ok(Fit { platform, by: emulator.iter().cloned().chain(runtimes).collect(), emulator })
        }
        _ => Err(unmet),
    }
}

/// Which of the requirements the device does not meet.
pub fn lacks(requires: &[Requirement], device: &DeviceDescription) -> Vec<Unmet> {
    requires.iter().filter_map(|wanted| Some(Unmet::new("requires", wanted, lacking(wanted, device)?))).collect()
}

/// What a device is that runs nothing for these platforms, and what would run it there.
fn without(platforms: &Platforms, device: &DeviceDescription) -> String {
    let named = match platforms {
        Platforms::Only(named) => named.as_slice(),
        Platforms::Any => &[],
    };
    let helpful: Vec<_> = named.iter().flat_map(|platform| emulators_of(platform, device)).collect();
    match helpful.as_slice() {
        [] => device.platform.to_string(),
        helpful => format!("{}, without {}", device.platform, helpful.join(" or ")),
    }
}

/// The platform to take, and the emulator that it needs here.
fn way(platforms: &Platforms, device: &DeviceDescription) -> Option<(Platform, Option<String>)> {
    if platforms.accepts(&device.platform) {
        return Some((device.platform.clone(), None));
    }
    let Platforms::Only(named) = platforms else { return None };
    named.iter().find_map(|platform| Some((platform.clone(), Some(emulator(platform, device)?))))
}

/// What the device has that runs programs of `platform`.
fn emulator(platform: &Platform, device: &DeviceDescription) -> Option<String> {
    emulators_of(platform, device).into_iter().find(|name| device.has(name))
}

/// What runs programs of `platform` on devices like this, the best first.
fn emulators_of(platform: &Platform, device: &DeviceDescription) -> Vec<String> {
    let (here, there) = (&device.platform, platform);
    match (there.os(), here.os()) {
        ("windows", "linux" | "macos" | "freebsd") if here.cpu() == "x86_64" => match there.cpu() {
            "x86_64" => vec!["wine64".to_owned(), "wine".to_owned()],
            "x86" => vec!["wine".to_owned()],
            _ => Vec::new(),
        },
        ("linux", "linux") => {
            let cpu = there.cpu();
            let name = QEMU_NAMES.iter().find(|(rust, _)| *rust == cpu).map_or(cpu, |(_, qemu)| *qemu);
            vec![format!("qemu-{name}"), format!("qemu-{name}-static")]
        }
        _ => Vec::new(),
    }
}

/// The emulators that are worth looking for on a machine like this.
pub fn emulators() -> Vec<String> {
    let cpus = ["aarch64", "arm", "i386", "ppc64", "riscv64", "s390x", "x86_64"];
    let qemu = cpus.iter().flat_map(|cpu| [format!("qemu-{cpu}"), format!("qemu-{cpu}-static")]);
    ["wine".to_owned(), "wine64".to_owned()].into_iter().chain(qemu).collect()
}

/// A requirement that names a runtime, with the version that is there.
fn runtime(wanted: &Requirement, device: &DeviceDescription) -> Option<String> {
    let Requirement::Program { name, .. } = wanted else { return None };
    RUNTIMES.contains(&name.as_str()).then(|| match device.tools.get(name) {
        Some(Tool::Version(version)) => format!("{name} {version}"),
        _ => name.clone(),
    })
}

/// What the device has instead of what is wanted; nothing where it has it, or does not say.
pub fn lacking(wanted: &Requirement, device: &DeviceDescription) -> Option<String> {
    let less = |there: Option<u64>, wanted: u64| there.filter(|there| *there < wanted);
    let has = |there: String| format!("this machine has {there}");
    match wanted {
        Requirement::Display => (device.display == Some(false)).then(|| "this machine has no display".into()),
        Requirement::Memory(bytes) => less(device.memory, *bytes).map(mebibytes).map(has),
        Requirement::Disk(bytes) => less(device.disk, *bytes).map(mebibytes).map(has),
        Requirement::CpuMhz(mhz) => less(device.cpu_mhz, *mhz).map(|there| has(there.to_string())),
        Requirement::Cpus(count) => less(device.cpus, *count).map(|there| has(there.to_string())),
        Requirement::Program { name, at_least } => match (device.tools.get(name)?, at_least) {
            (Tool::Absent, _) => Some("not found on this machine".to_owned()),
            (Tool::Version(there), Some(wanted)) if there < wanted => Some(format!("{name} {there} is installed")),
            // A version that it does not tell is not held against it.
            _ => None,
        },
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn terms(platforms: &[&str], requires: &[&str]) -> RoleTerms {
        let terms = json!({"for": "initiator", "min": 0, "platforms": platforms, "requires": requires});
        serde_json::from_value(terms).unwrap()
    }
    fn device(tools: &serde_json::Value) -> DeviceDescription {
        serde_json::from_value(json!({"platform": "linux-x86_64", "tools": tools, "memory": 1 << 30, "display": false}))
            .unwrap()
    }
    fn rules(found: Result<Fit, Vec<Unmet>>) -> Vec<(String, String, String)> {
        found.unwrap_err().into_iter().map(|unmet| (unmet.rule, unmet.expected, unmet.actual)).collect()
    }

    #[test]
    fn what_is_made_for_the_device_runs_natively() {
        for platforms in [&["any"][..], &["linux-aarch64", "linux-x86_64"]] {
            let fit = fit(&terms(platforms, &["memory>=512MiB"]), &device(&json!({}))).unwrap();
            assert_eq!((fit.platform.to_string().as_str(), fit.emulator, fit.by.len()), ("linux-x86_64", None, 0));
        }
    }

    #[test]
    fn a_runtime_or_an_emulator_is_named_where_it_is_what_it_runs_by() {
        for (platforms, requires, tools, platform, emulator, by) in [
            (&["any"][..], &["jvm>=17"][..], json!({"jvm": "17.0.2"}), "linux-x86_64", None, &["jvm 17.0.2"][..]),
            (&["windows-x86_64"], &[], json!({"wine": true}), "windows-x86_64", Some("wine"), &["wine"]),
            (
                &["windows-x86_64"],
                &[],
                json!({"wine": true, "wine64": true}),
                "windows-x86_64",
                Some("wine64"),
                &["wine64"],
            ),
            (&["windows-x86"], &[], json!({"wine": "8.0"}), "windows-x86", Some("wine"), &["wine"]),
            (
                &["linux-aarch64"],
                &["python>=3.9"],
                json!({"qemu-aarch64-static": true, "python": "3.11"}),
                "linux-aarch64",
                Some("qemu-aarch64-static"),
                &["qemu-aarch64-static", "python 3.11"],
            ),
            (&["linux-x86"], &[], json!({"qemu-i386": true}), "linux-x86", Some("qemu-i386"), &["qemu-i386"]),
        ] {
            let fit = fit(&terms(platforms, requires), &device(&tools)).unwrap();
            assert_eq!(fit.platform.to_string(), platform);
            assert_eq!(fit.emulator.as_deref(), emulator);
            assert_eq!(fit.by, by);
        }
    }

    #[test]
    fn what_cannot_run_is_told_with_rule_expected_and_actual() {
        let none = device(&json!({"python": "3.8.1", "wine": false}));
        assert_eq!(
            rules(fit(&terms(&["windows-x86_64"], &["python>=3.9", "memory>=2GiB", "display", "wine"]), &none)),
            [
                ("platforms", "windows-x86_64", "linux-x86_64, without wine64 or wine"),
                ("requires", "python>=3.9", "python 3.8.1 is installed"),
                ("requires", "memory>=2GiB", "this machine has 1024 MiB"),
                ("requires", "display", "this machine has no display"),
                ("requires", "wine", "not found on this machine"),
            ]
            .map(|(rule, expected, actual)| (rule.to_owned(), expected.to_owned(), actual.to_owned()))
        );
        // An emulator of another processor or system is none.
        for platform in ["windows-aarch64", "macos-x86_64", "linux-riscv64"] {
            assert!(fit(&terms(&[platform], &[]), &device(&json!({"wine": true, "qemu-aarch64": true}))).is_err());
        }
    }

    #[test]
    fn what_a_device_does_not_say_is_not_held_against_it() {
        let silent = DeviceDescription::of("linux-x86_64".parse().unwrap());
        assert!(fit(&terms(&["any"], &["odd-tool>=3", "memory>=1TiB", "display", "cpus>=99"]), &silent).is_ok());
        assert!(fit(&terms(&["any"], &["tar>=9"]), &device(&json!({"tar": true}))).is_ok());
    }
}
