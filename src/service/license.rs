//! SPDX license expressions (SPDX 2.3, annex D): which of a set of licenses allow what an expression is under.

/// Licenses that let whoever has the software hand it on: the permissive ones and those with copyleft, whose source the
/// signer offers. By SPDX id, without `-only` and `-or-later`.
const REDISTRIBUTABLE: [&str; 44] = [
    "0BSD",
    "AFL-3.0",
    "AGPL-3.0",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CDDL-1.1",
    "CECILL-2.1",
    "EPL-1.0",
    "EPL-2.0",
    "EUPL-1.1",
    "EUPL-1.2",
    "GPL-2.0",
    "GPL-3.0",
    "ISC",
    "LGPL-2.0",
    "LGPL-2.1",
    "LGPL-3.0",
    "MIT",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "MS-PL",
    "MulanPSL-2.0",
    "NCSA",
    "OFL-1.1",
    "OpenSSL",
    "PostgreSQL",
    "Python-2.0",
    "Ruby",
    "Unicode-3.0",
    "Unlicense",
    "WTFPL",
    "Zlib",
];
/// Parentheses in each other.
const MAX_DEPTH: usize = 32;

/// Whether software under this expression may be handed on by whoever has it. No expression, or one that cannot be read,
/// allows nothing.
pub fn may_be_redistributed(expression: &str) -> bool {
    allows(expression, &|id| REDISTRIBUTABLE.iter().any(|known| known.eq_ignore_ascii_case(base(id))))
}

/// Whether the expression can be kept by using only licenses for which `fine` holds: of `OR` one side is enough, of
/// `AND` both are needed, and an exception (`WITH`) only ever allows more.
pub fn allows(expression: &str, fine: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let mut words = Words { words: spaced.split_whitespace().collect(), at: 0, fine };
    words.either(0) == Some(true) && words.at == words.words.len()
}

/// Whether an id of an expression is the one that is named: `GPL-3.0` names `GPL-3.0-or-later`, too.
pub fn is_named(id: &str, named: &str) -> bool {
    id.eq_ignore_ascii_case(named) || base(id).eq_ignore_ascii_case(named)
}

fn base(id: &str) -> &str {
    let id = id.strip_suffix('+').unwrap_or(id);
    id.strip_suffix("-only").or_else(|| id.strip_suffix("-or-later")).unwrap_or(id)
}

struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
    fine: &'a dyn Fn(&str) -> bool,
}

impl Words<'_> {
    fn is(&self, word: &str) -> bool {
        self.words.get(self.at).is_some_and(|next| next.eq_ignore_ascii_case(word))
    }
    fn take(&mut self, word: &str) -> bool {
        let is = self.is(word);
        self.at += usize::from(is);
        is
    }
    /// `OR` binds less than `AND`.
    fn either(&mut self, depth: usize) -> Option<bool> {
        let mut fine = self.both(depth)?;
        while self.take("OR") {
            fine |= self.both(depth)?;
        }
        Some(fine)
    }
    fn both(&mut self, depth: usize) -> Option<bool> {
        let mut fine = self.one(depth)?;
        while self.take("AND") {
            fine &= self.one(depth)?;
        }
        Some(fine)
    }
    fn one(&mut self, depth: usize) -> Option<bool> {
        if self.take("(") {
            let fine = (depth < MAX_DEPTH).then(|| self.either(depth + 1))??;
            return self.take(")").then_some(fine);
        }
        let id = *self.words.get(self.at)?;
        if ["AND", "OR", "WITH", ")"].iter().any(|word| id.eq_ignore_ascii_case(word)) {
            return None;
        }
        self.at += 1;
        if self.take("WITH") {
            self.words.get(self.at)?;
            self.at += 1;
        }
        Some((self.fine)(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_allows_what_its_parts_allow() {
        for expression in [
            "MIT",
            "mit",
            "MIT OR Apache-2.0",
            "LicenseRef-Ours OR MIT",
            "GPL-3.0-or-later WITH GCC-exception-3.1",
            "GPL-2.0+ AND (MIT OR LicenseRef-x)",
            "(MIT)",
        ] {
            assert!(may_be_redistributed(expression), "{expression}");
        }
        for expression in [
            "",
            "Proprietary",
            "LicenseRef-Ours",
            "MIT AND LicenseRef-Ours",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT Apache-2.0",
            "OR",
            "MIT WITH",
            &format!("{}MIT{}", "(".repeat(100), ")".repeat(100)),
        ] {
            assert!(!may_be_redistributed(expression), "{expression}");
        }
        assert!(REDISTRIBUTABLE.is_sorted_by_key(|id| id.to_ascii_lowercase()));
    }

    #[test]
    fn a_name_means_its_later_versions_too() {
        assert!(is_named("GPL-3.0-or-later", "gpl-3.0") && is_named("MIT", "MIT") && !is_named("MIT-0", "MIT"));
        assert!(allows("GPL-3.0-only OR MIT", &|id| is_named(id, "MIT")));
    }
}
