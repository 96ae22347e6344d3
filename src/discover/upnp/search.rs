//! SearchCriteria and SortCriteria of ContentDirectory:1 (§2.5.5, §2.3.16): texts in, types out, and what they say of an
//! object's values.

use std::cmp::Ordering;

/// Parentheses within parentheses.
const MAX_DEPTH: usize = 32;
/// Comparisons of one search.
const MAX_TERMS: usize = 128;

/// What to search for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criteria {
    /// `*`
    All,
    And(Vec<Criteria>),
    Or(Vec<Criteria>),
    Compare {
        property: String,
        operator: Operator,
        value: String,
    },
    Exists {
        property: String,
        wanted: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Is,
    IsNot,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Contains,
    DoesNotContain,
    DerivedFrom,
}

impl Criteria {
    /// Reads a search that names no property but `known`.
    ///
    /// # Errors
    /// What is wrong, in a few words.
    pub fn read(text: &str, known: &[&str]) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let mut reader = Reader { rest: text, known, depth: 0, terms: 0 };
        let criteria = reader.either()?;
        reader.blanks();
        if reader.rest.is_empty() { Ok(criteria) } else { Err(format!("“{}” comes too much", cut(reader.rest))) }
    }
    /// Whether an object fits whose properties have these values: none, one or several.
    pub fn fits<'a>(&self, values: &impl Fn(&str) -> Vec<std::borrow::Cow<'a, str>>) -> bool {
        match self {
            Self::All => true,
            Self::And(all) => all.iter().all(|one| one.fits(values)),
            Self::Or(all) => all.iter().any(|one| one.fits(values)),
            Self::Exists { property, wanted } => values(property).is_empty() != *wanted,
            Self::Compare { property, operator, value } => {
                let found = values(property);
                match operator {
                    Operator::DoesNotContain | Operator::IsNot => {
                        !found.is_empty() && found.iter().all(|one| operator.holds(one, value))
                    }
                    _ => found.iter().any(|one| operator.holds(one, value)),
                }
            }
        }
    }
}

impl Operator {
    const SYMBOLS: [(&str, Operator); 6] = [
        ("!=", Self::IsNot),
        ("<=", Self::LessOrEqual),
        (">=", Self::MoreOrEqual),
        ("=", Self::Is),
        ("<", Self::Less),
        (">", Self::More),
    ];
    const WORDS: [(&str, Operator); 3] =
        [("contains", Self::Contains), ("doesNotContain", Self::DoesNotContain), ("derivedfrom", Self::DerivedFrom)];

    /// Texts are compared without regard to case, numbers as numbers.
    fn holds(self, found: &str, wanted: &str) -> bool {
        let (low, low_wanted) = (found.to_lowercase(), wanted.to_lowercase());
        let order = || compare(found, wanted);
        match self {
            Self::Is => order() == Ordering::Equal,
            Self::IsNot => order() != Ordering::Equal,
            Self::Less => order() == Ordering::Less,
            Self::LessOrEqual => order() != Ordering::Greater,
            Self::More => order() == Ordering::Greater,
            Self::MoreOrEqual => order() != Ordering::Less,
            Self::Contains => low.contains(&low_wanted),
            Self::DoesNotContain => !low.contains(&low_wanted),
            Self::DerivedFrom => low.strip_prefix(&low_wanted).is_some_and(|r| r.is_empty() || r.starts_with('.')),
        }
    }
}

/// As numbers if both are, else as texts without regard to case.
pub fn compare(one: &str, other: &str) -> Ordering {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        _ => one.to_lowercase().cmp(&other.to_lowercase()),
    }
}

struct Reader<'a> {
    rest: &'a str,
    known: &'a [&'a str],
    depth: usize,
    terms: usize,
}

impl Reader<'_> {
    /// `and` binds tighter than `or`.
    fn either(&mut self) -> Result<Criteria, String> {
        let mut all = vec![self.both()?];
        while self.word("or") {
            all.push(self.both()?);
        }
        Ok(one_or(all, Criteria::Or))
    }
    fn both(&mut self) -> Result<Criteria, String> {
        let mut all = vec![self.term()?];
        while self.word("and") {
            all.push(self.term()?);
        }
        Ok(one_or(all, Criteria::And))
    }
    fn term(&mut self) -> Result<Criteria, String> {
        self.blanks();
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err("it has too many terms".to_owned());
        }
        let Some(inner) = self.rest.strip_prefix('(') else { return self.comparison() };
        self.rest = inner;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("its parentheses are too deep".to_owned());
        }
        let criteria = self.either()?;
        self.blanks();
        self.rest = self.rest.strip_prefix(')').ok_or("a parenthesis is not closed")?;
        self.depth -= 1;
        Ok(criteria)
    }
    fn comparison(&mut self) -> Result<Criteria, String> {
        let end = self.rest.find(|c: char| c.is_whitespace() || "=!<>()\"".contains(c)).unwrap_or(self.rest.len());
        let (property, rest) = self.rest.split_at(end);
        if !self.known.contains(&property) {
            return Err(format!("“{}” is no property that can be searched", cut(property)));
        }
        self.rest = rest.trim_start();
        let property = property.to_owned();
        if self.word("exists") {
            let wanted = self.word("true");
            return if wanted || self.word("false") {
                Ok(Criteria::Exists { property, wanted })
            } else {
                Err("after “exists” comes true or false".to_owned())
            };
        }
        let operator = self.operator().ok_or_else(|| format!("no operator comes after {property}"))?;
        Ok(Criteria::Compare { property, operator, value: self.quoted()? })
    }
    fn operator(&mut self) -> Option<Operator> {
        for (symbol, operator) in Operator::SYMBOLS {
            if let Some(rest) = self.rest.strip_prefix(symbol) {
                self.rest = rest;
                return Some(operator);
            }
        }
        Operator::WORDS.iter().find(|(word, _)| self.word(word)).map(|(_, operator)| *operator)
    }
    /// A text in double quotes, in which `\"` and `\\` stand for what follows the backslash.
    fn quoted(&mut self) -> Result<String, String> {
        self.blanks();
        let inner = self.rest.strip_prefix('"').ok_or("a value is not in double quotes")?;
        let mut value = String::new();
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &inner[at + 1..];
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    _ => return Err("a backslash stands before something else than \\ or \"".to_owned()),
                },
                c => value.push(c),
            }
        }
        Err("a value's quotes are not closed".to_owned())
    }
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }
    /// Takes this word, if it is the next one.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let after = rest.strip_prefix(word);
        let ends = after.filter(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
        if let Some(after) = ends {
            self.rest = after;
        }
        ends.is_some()
    }
}

fn one_or(mut all: Vec<Criteria>, join: fn(Vec<Criteria>) -> Criteria) -> Criteria {
    match all.pop() {
        Some(one) if all.is_empty() => one,
        last => join(all.into_iter().chain(last).collect()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// One key to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    pub property: String,
    pub descending: bool,
}

/// Reads `+dc:title,-res@size`: keys of `known`, each with its sign.
///
/// # Errors
/// What is wrong, in a few words.
pub fn read_sort(text: &str, known: &[&str]) -> Result<Vec<SortKey>, String> {
    let keys = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
    let read = |key: &str| {
        let (sign, property) = key.split_at_checked(1).unwrap_or_default();
        let descending = match sign {
            "+" => false,
            "-" => true,
            _ => return Err(format!("“{}” has no sign", cut(key))),
        };
        let is_known = known.contains(&property);
        let unknown = || format!("“{}” is no property that can be sorted by", cut(property));
        is_known.then(|| SortKey { property: property.to_owned(), descending }).ok_or_else(unknown)
    };
    let keys: Vec<SortKey> = keys.map(read).collect::<Result<_, _>>()?;
    if keys.len() > known.len() { Err("it has too many keys".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 4] = ["dc:title", "upnp:class", "res@size", "@refID"];

    fn values(property: &str) -> Vec<Cow<'static, str>> {
        match property {
            "dc:title" => vec!["Chess \"Pro\" \\".into()],
            "upnp:class" => vec!["object.item".into()],
            "res@size" => vec!["900".into(), "1000".into()],
            _ => vec![],
        }
    }

    fn fits(text: &str) -> bool {
        Criteria::read(text, &KNOWN).unwrap_or_else(|why| panic!("{text}: {why}")).fits(&values)
    }

    #[test]
    fn a_search_finds_what_it_says() {
        for (text, expected) in [
            ("*", true),
            (" * ", true),
            ("dc:title contains \"chess\"", true),
            ("dc:title contains \"go\"", false),
            ("dc:title doesNotContain \"go\"", true),
            ("dc:title = \"chess \\\"pro\\\" \\\\\"", true),
            ("upnp:class derivedfrom \"object\"", true),
            ("upnp:class derivedfrom \"object.item\"", true),
            ("upnp:class derivedfrom \"object.it\"", false),
            ("res@size > \"950\"", true),
            ("res@size<\"901\"", true),
            ("res@size < \"900\"", false),
            ("res@size != \"5\"", true),
            ("res@size >= \"1000\" and dc:title contains \"x\"", false),
            ("@refID exists false", true),
            ("@refID exists true", false),
            ("@refID = \"\"", false),
            ("@refID exists true and @refID exists true or dc:title exists true", true),
            ("@refID exists true and (@refID exists true or dc:title exists true)", false),
            ("(((dc:title exists true)))", true),
        ] {
            assert_eq!(fits(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_search_is_refused() {
        let deep = format!("{}dc:title exists true{}", "(".repeat(5000), ")".repeat(5000));
        let long = vec!["dc:title exists true"; 500].join(" or ");
        for text in [
            "",
            "dc:title",
            "dc:title contains",
            "dc:title contains chess",
            "dc:title contains \"chess",
            "dc:title contains \"\\n\"",
            "dc:title exists maybe",
            "dc:title like \"x\"",
            "dc:titlecontains \"x\"",
            "dc:name = \"x\"",
            "(dc:title = \"x\"",
            "dc:title = \"x\")",
            "dc:title = \"x\" dc:title = \"x\"",
            "dc:title = \"x\" and",
            "and dc:title = \"x\"",
            "* and *",
            &deep,
            &long,
        ] {
            assert!(Criteria::read(text, &KNOWN).is_err(), "{}", cut(text));
        }
    }

    #[test]
    fn sort_keys_have_signs_and_known_names() {
        let key = |property: &str, descending| SortKey { property: property.to_owned(), descending };
        assert_eq!(read_sort("", &KNOWN).unwrap(), []);
        assert_eq!(read_sort("+dc:title, -res@size", &KNOWN).unwrap(), [key("dc:title", false), key("res@size", true)]);
        for text in
            ["dc:title", "+nothing", "+", ",", "+dc:title,", "é", "+dc:title,+dc:title,+dc:title,+dc:title,+dc:title"]
        {
            assert!(read_sort(text, &KNOWN).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_fall_over(text in "(dc:title|and|or|exists|true|contains|[()\"\\\\=<>!* a-zé]){0,30}") {
            let _ = (Criteria::read(&text, &KNOWN).map(|criteria| criteria.fits(&values)), read_sort(&text, &KNOWN));
        }
    }
}
