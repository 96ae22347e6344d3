//! “Did you mean …?”: the known word that is nearest to one that is not.

/// Longer words are no slip of a finger, and comparing takes time by the product of both lengths.
const MAX_WORD_CHARS: usize = 64;

/// The candidate nearest to `word`, if it is near enough to have been meant: at most two slips (a letter missing,
/// added, wrong or swapped with the next), or a third of a longer word; one in words of up to three letters.
/// Of equally near ones the first. Capitals do not count.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = lower_chars(word)?;
    let limit = if word.len() <= 3 { 1 } else { (word.len() / 3).max(2) };
    candidates
        .into_iter()
        .filter_map(|candidate| Some((slips(&word, &lower_chars(candidate)?), candidate)))
        // A word that shares nothing with the other is not meant by it.
        .filter(|(slips, _)| *slips <= limit && *slips < word.len())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean “port”?`, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean “{near}”?")).unwrap_or_default()
}

fn lower_chars(word: &str) -> Option<Vec<char>> {
    let chars: Vec<char> = word.chars().take(MAX_WORD_CHARS + 1).flat_map(char::to_lowercase).collect();
    (chars.len() <= MAX_WORD_CHARS).then_some(chars)
}

/// Damerau and Levenshtein's distance, in which no part is changed twice (“optimal string alignment”).
fn slips(a: &[char], b: &[char]) -> usize {
    // Three rows of the table suffice: before the last, the last, this one.
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<_>>(), vec![0; b.len() + 1]];
    for i in 1..=a.len() {
        let [before, last, this] = &mut rows;
        this[0] = i;
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            this[j] = changed.min(last[j] + 1).min(this[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                this[j] = this[j].min(before[j - 2] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: [&str; 6] = ["accept", "account", "install", "invite", "init", "remove"];

    #[test]
    fn slips_of_a_finger_find_what_was_meant() {
        for (typed, meant) in
            [("acept", "accept"), ("acocunt", "account"), ("Instal", "install"), ("inti", "init"), ("rmove", "remove")]
        {
            assert_eq!(nearest(typed, COMMANDS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn what_is_far_from_everything_finds_nothing() {
        for typed in ["", "x", "deploy", "zzzzzzzz", &"a".repeat(1000)] {
            assert_eq!(nearest(typed, COMMANDS), None, "{typed}");
        }
        assert_eq!(nearest("ab", ["cd"]), None);
        assert_eq!(did_you_mean("accept", []), "");
        assert_eq!(did_you_mean("acept", COMMANDS), "; did you mean “accept”?");
    }

    #[test]
    fn slips_are_counted() {
        let count = |a: &str, b: &str| slips(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        let cases =
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("ab", "ba", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)];
        for (a, b, expected) in cases {
            assert_eq!(count(a, b), expected, "{a} {b}");
        }
    }
}
