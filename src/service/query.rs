//! A query for programs (row B4): what a device is and what is wanted for it, and which of the programs offered that
//! leaves, or why not.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::device::DeviceDescription;
use super::fit::{Fit, Unmet, fit_on, lacks};
use super::license::{allows, is_named};
use super::platform::{Platform, Platforms};
use super::requirement::Requirement;
use crate::model::{Code, Digest, Error, Key, Result, ServiceName};

/// Programs in an answer.
pub const MAX_PROGRAMS: usize = 500;
/// Characters of a text that a query has.
const TEXT_CHARS: usize = 200;
/// Licenses, and types of services, that a query names.
pub const MAX_ITEMS: usize = 64;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub device: DeviceDescription,
    #[serde(flatten)]
    pub filter: Filter,
    /// A program to be explained: why it is not in the answer, or how it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<ServiceName>,
}

/// What is wanted; whatever is left open is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Words, each of which is in the name, the summary or the category, in whatever case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// With those below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// SPDX ids, one of which it must be usable under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub license: Vec<String>,
    /// Bytes of its package. One whose size is not known is not left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Advertised service types, one of which it makes usable; a single one is written as a text.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_more")]
    pub enables: Vec<String>,
}

/// A program as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub name: ServiceName,
    pub version: Version,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    pub signer: Key,
    /// Bytes of the package, where there is one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What a machine must have for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enables: Vec<String>,
}

/// A program that may be what is asked for.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub listed: Listed,
    pub platforms: Platforms,
    /// What has been made of it already, by what it was made for.
    pub made: BTreeMap<Platform, Made>,
}

/// A package that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// How a program runs on a device, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    Native,
    Runtime,
    Emulator,
}

/// A program that fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    #[serde(flatten)]
    pub listed: Listed,
    /// What it would be made for.
    pub platform: Platform,
    pub runs: Runs,
    /// What of the device it runs by; empty: natively.
    #[serde(default)]
    pub by: Vec<String>,
}

/// A program that was to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    #[serde(flatten)]
    pub listed: Listed,
    /// None: it fits.
    pub unmet: Vec<Unmet>,
}

/// What is answered. Nothing in it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub programs: Vec<Match>,
    /// Those of the name that was to be explained, whoever signed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explained: Vec<Explained>,
    /// There are more than an answer has room for: ask for less.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

impl Answer {
    /// What all of its programs require.
    pub fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        let listed = self.programs.iter().map(|found| &found.listed);
        listed.chain(self.explained.iter().map(|one| &one.listed)).flat_map(|listed| &listed.requires)
    }
    /// Leaves out what requires something that this device lacks, and explains that, too: whoever answered may have been
    /// told less of it.
    #[must_use]
    pub fn on(mut self, device: &DeviceDescription) -> Self {
        self.programs.retain(|found| lacks(&found.listed.requires, device).is_empty());
        for explained in &mut self.explained {
            for unmet in lacks(&explained.listed.requires, device) {
                if !explained.unmet.contains(&unmet) {
                    explained.unmet.push(unmet);
                }
            }
        }
        self
    }
}

impl Query {
    /// Reads what came from outside.
    ///
    /// # Errors
    /// `bad-input`, `too-large`.
    pub fn from_json(text: &str) -> Result<Self> {
        let query: Self = serde_json::from_str(text)
            .map_err(|why| Error::new(Code::BadInput, format!("that is no query for programs: {why}")))?;
        query.check()
    }
    /// Refuses what nobody asks.
    ///
    /// # Errors
    /// `too-large`.
    pub fn check(self) -> Result<Self> {
        let Filter { text, category, license, enables, .. } = &self.filter;
        let texts = [text, category].into_iter().flatten().chain(license).chain(enables);
        let is_long = [license, enables].iter().any(|list| list.len() > MAX_ITEMS);
        if is_long || texts.into_iter().any(|text| text.chars().count() > TEXT_CHARS) {
            let why =
                format!("a query with a text over {TEXT_CHARS} characters, or more than {MAX_ITEMS} licenses or types");
            return Err(Error::new(Code::TooLarge, why));
        }
        Ok(Self { device: self.device.check()?, ..self })
    }
    /// Which of the programs fit, in their order.
    pub fn answer(&self, candidates: impl IntoIterator<Item = Candidate>) -> Answer {
        let mut answer = Answer::default();
        for mut candidate in candidates {
            let is_to_be_explained = self.explain.as_ref() == Some(&candidate.listed.name);
            let judged = self.judge(&mut candidate);
            if is_to_be_explained && answer.explained.len() < MAX_PROGRAMS {
                let unmet = judged.as_ref().err().cloned().unwrap_or_default();
                answer.explained.push(Explained { listed: candidate.listed.clone(), unmet });
            }
            match judged {
                Ok(_) if answer.programs.len() == MAX_PROGRAMS => answer.more = true,
                Ok(fit) => answer.programs.push(Match::new(candidate.listed, fit)),
                Err(_) => {}
            }
        }
        answer
    }
    /// How a program runs on the device. From then on the candidate tells of the package that is for it, where there is one.
    ///
    /// # Errors
    /// Every rule that is not kept: the device's and the filter's.
    fn judge(&self, candidate: &mut Candidate) -> Result<Fit, Vec<Unmet>> {
        let fit = fit_on(&candidate.platforms, &candidate.listed.requires, &self.device);
        if let Some(Made { digest, size }) = fit.as_ref().ok().and_then(|fit| candidate.made.get(&fit.platform)) {
            (candidate.listed.digest, candidate.listed.size) = (Some(*digest), Some(*size));
        }
        let left_out = self.filter.unmet(&candidate.listed);
        match fit {
            Ok(fit) if left_out.is_empty() => Ok(fit),
            Ok(_) => Err(left_out),
            Err(unmet) => Err(unmet.into_iter().chain(left_out).collect()),
        }
    }
}

impl Filter {
    fn unmet(&self, listed: &Listed) -> Vec<Unmet> {
        let category = listed.category.as_deref().unwrap_or("none");
        let mut unmet = Vec::new();
        if let Some(text) = self.text.as_ref().filter(|text| !is_about(listed, text)) {
            unmet.push(Unmet::new("text", text, format!("{}: {}", listed.name, listed.summary)));
        }
        if let Some(above) = self.category.as_ref().filter(|above| !is_below(category, above)) {
            unmet.push(Unmet::new("category", above, category));
        }
        let license = listed.license.as_deref().unwrap_or("none");
        let named = |id: &str| self.license.iter().any(|wanted| is_named(id, wanted));
        if !self.license.is_empty() && !allows(license, &named) {
            unmet.push(Unmet::new("license", &self.license.join(", "), license));
        }
        if let (Some(most), Some(size)) = (self.max_size, listed.size.filter(|size| Some(*size) > self.max_size)) {
            unmet.push(Unmet::new("max-size", &format_args!("{most} bytes"), format!("{size} bytes")));
        }
        if !self.enables.is_empty() && !self.enables.iter().any(|wanted| listed.enables.contains(wanted)) {
            let enables = if listed.enables.is_empty() { "none".to_owned() } else { listed.enables.join(", ") };
            unmet.push(Unmet::new("enables", &self.enables.join(" or "), enables));
        }
        unmet
    }
}

impl Match {
    fn new(listed: Listed, fit: Fit) -> Self {
        let runs = match (&fit.emulator, fit.by.as_slice()) {
            (Some(_), _) => Runs::Emulator,
            (None, []) => Runs::Native,
            (None, _) => Runs::Runtime,
        };
        Self { listed, platform: fit.platform, runs, by: fit.by }
    }
}

fn is_about(listed: &Listed, text: &str) -> bool {
    let category = listed.category.as_deref().unwrap_or_default();
    let all = format!("{} {} {category}", listed.name, listed.summary).to_lowercase();
    text.to_lowercase().split_whitespace().all(|word| all.contains(word))
}

/// A list in which one item is written as a text.
mod one_or_more {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        More(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match list {
            [one] => one.serialize(serializer),
            list => list.serialize(serializer),
        }
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::One(one) => vec![one],
            Written::More(list) => list,
        })
    }
}

/// A category is below itself and below every beginning of its path.
pub fn is_below(category: &str, above: &str) -> bool {
    category.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn candidate(name: &str, platforms: &[&str], requires: &[&str], about: &Value) -> Candidate {
        let mut listed = json!({"name": name, "version": "1.0.0", "summary": "", "signer": Key::from_bytes([7; 32])});
        listed["requires"] = json!(requires);
        listed.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
        Candidate {
            listed: serde_json::from_value(listed).unwrap(),
            platforms: Platforms::from_texts(platforms).unwrap(),
            made: BTreeMap::new(),
        }
    }
    fn shelf() -> Vec<Candidate> {
        vec![
            candidate(
                "chess",
                &["any"],
                &[],
                &json!({"summary": "The Royal game", "category": "games/board", "license": "GPL-3.0-or-later", "size": 100}),
            ),
            candidate("opener", &["linux-x86_64"], &["python>=3.9"], &json!({"enables": ["urn:x:garage:1"]})),
            candidate("draw", &["windows-x86_64"], &[], &json!({"category": "gamesome", "license": "MIT OR X"})),
            candidate("mac", &["macos-aarch64"], &[], &json!({"category": "games"})),
        ]
    }
    fn query(text: &Value) -> Query {
        let mut query = json!({"device": {"platform": "linux-x86_64", "tools": {"python": "3.11", "wine64": true}}});
        query.as_object_mut().unwrap().extend(text.as_object().unwrap().clone());
        Query::from_json(&query.to_string()).unwrap()
    }
    fn names(filter: &Value) -> Vec<String> {
        query(filter).answer(shelf()).programs.iter().map(|found| found.listed.name.to_string()).collect()
    }

    #[test]
    fn only_what_runs_there_comes_back_and_says_by_what() {
        let programs = query(&json!({})).answer(shelf()).programs;
        let told: Vec<_> = programs
            .iter()
            .map(|one| (one.listed.name.to_string(), one.platform.to_string(), one.runs, one.by.join(" ")))
            .collect();
        let row = |name: &str, platform: &str, runs, by: &str| (name.to_owned(), platform.to_owned(), runs, by.into());
        assert_eq!(
            told,
            [
                row("chess", "linux-x86_64", Runs::Native, ""),
                row("opener", "linux-x86_64", Runs::Runtime, "python 3.11"),
                row("draw", "windows-x86_64", Runs::Emulator, "wine64"),
            ]
        );
        let one = serde_json::to_value(&programs[0]).unwrap();
        assert_eq!((&one["name"], &one["runs"], &one["by"]), (&json!("chess"), &json!("native"), &json!([])));
    }

    #[test]
    fn a_category_covers_what_is_below_it() {
        for (category, above, is) in [
            ("games/board", "games", true),
            ("games", "games", true),
            ("gamesome", "games", false),
            ("games", "games/board", false),
        ] {
            assert_eq!(is_below(category, above), is, "{category} {above}");
        }
    }

    #[test]
    fn every_filter_leaves_out_what_is_not_wanted() {
        for (filter, left) in [
            (json!({"text": "royal GAME"}), &["chess"][..]),
            (json!({"text": "royal door"}), &[]),
            (json!({"text": "board"}), &["chess"]),
            (json!({"category": "games"}), &["chess"]),
            (json!({"category": "games/board"}), &["chess"]),
            (json!({"category": "games/b"}), &[]),
            (json!({"license": ["GPL-3.0"]}), &["chess"]),
            (json!({"license": ["Apache-2.0", "MIT"]}), &["draw"]),
            (json!({"license": ["0BSD"]}), &[]),
            (json!({"max_size": 99}), &["opener", "draw"]),
            (json!({"max_size": 100}), &["chess", "opener", "draw"]),
            (json!({"enables": "urn:x:garage:1"}), &["opener"]),
            (json!({"enables": "urn:x:garage"}), &[]),
            (json!({"enables": ["_door._tcp", "urn:x:garage:1"]}), &["opener"]),
            (json!({"category": "games", "license": ["MIT"]}), &[]),
        ] {
            assert_eq!(names(&filter), left, "{filter}");
        }
    }

    #[test]
    fn the_size_is_that_of_the_package_for_the_device_that_asks() {
        let mut clock = candidate("clock", &["linux-x86_64", "macos-aarch64"], &[], &json!({}));
        for (platform, size) in [("linux-x86_64", 10), ("macos-aarch64", 20)] {
            clock.made.insert(platform.parse().unwrap(), Made { digest: Digest::of(&[1]), size });
        }
        let sizes = |device: &str, most: u64| {
            let query = json!({"device": {"platform": device}, "max_size": most}).to_string();
            let answer = Query::from_json(&query).unwrap().answer([clock.clone()]);
            answer.programs.iter().map(|one| one.listed.size).collect::<Vec<_>>()
        };
        assert_eq!(sizes("linux-x86_64", 10), [Some(10)]);
        assert_eq!(sizes("macos-aarch64", 20), [Some(20)]);
        assert_eq!(sizes("macos-aarch64", 19), []);
    }

    #[test]
    fn an_answer_is_judged_again_by_what_was_not_told_of_the_device() {
        let all = [
            candidate("plot", &["any"], &["gnuplot", "sh"], &json!({})),
            candidate("clock", &["any"], &[], &json!({})),
        ];
        let answer = query(&json!({"explain": "plot"})).answer(all);
        assert_eq!(answer.programs.len(), 2, "what is not told is not held against it");
        assert_eq!(answer.requirements().count(), 4);
        let device = json!({"platform": "linux-x86_64", "tools": {"gnuplot": false}});
        let left = answer.on(&serde_json::from_value(device).unwrap());
        assert_eq!((left.programs.len(), &*left.programs[0].listed.name), (1, "clock"));
        let unmet = &left.explained[0].unmet;
        assert_eq!((unmet.len(), unmet[0].expected.as_str()), (1, "gnuplot"));
        let again = left
            .clone()
            .on(&serde_json::from_value(json!({"platform": "linux-x86_64", "tools": {"gnuplot": false}})).unwrap());
        assert_eq!(again, left);
    }

    #[test]
    fn what_is_left_out_is_explained_rule_by_rule() {
        let explain = |filter: Value| {
            let answer = query(&filter).answer(shelf());
            let all = answer.explained.into_iter().flat_map(|one| one.unmet);
            all.map(|unmet| [unmet.rule, unmet.expected, unmet.actual].join("|")).collect::<Vec<_>>()
        };
        let wrong = "linux-x86_64";
        assert_eq!(
            explain(json!({"explain": "mac", "category": "tools", "license": ["MIT"], "text": "x", "enables": "y"})),
            [
                format!("platforms|macos-aarch64|{wrong}").as_str(),
                "text|x|mac: ",
                "category|tools|games",
                "license|MIT|none",
                "enables|y|none",
            ]
        );
        assert_eq!(explain(json!({"explain": "chess", "max_size": 9})), ["max-size|9 bytes|100 bytes"]);
        assert_eq!(query(&json!({"explain": "chess"})).answer(shelf()).explained[0].unmet, []);
        assert!(query(&json!({"explain": "nothing"})).answer(shelf()).explained.is_empty());
    }

    #[test]
    fn what_nobody_asks_is_refused_and_a_list_has_an_end() {
        let code = |text: &str| Query::from_json(text).unwrap_err().code;
        for text in ["", "[]", "{}", r#"{"device":{}}"#, r#"{"device":{"platform":"x"}}"#, &"[".repeat(9000)] {
            assert_eq!(code(text), Code::BadInput, "{text}");
        }
        let long = "x".repeat(TEXT_CHARS + 1);
        for (name, value) in
            [("text", json!(long)), ("license", json!([long])), ("license", json!(vec!["MIT"; MAX_ITEMS + 1]))]
        {
            let text = json!({"device": {"platform": "linux-x86_64"}, name: value}).to_string();
            assert_eq!(code(&text), Code::TooLarge, "{name}");
        }
        let many = (0..=MAX_PROGRAMS).map(|_| shelf().remove(0));
        let answer = query(&json!({})).answer(many);
        assert!(answer.programs.len() == MAX_PROGRAMS && answer.more);
    }
}
