//! “Did you mean …?”: the known word that is nearest to one that is not.

/// Words longer than this are nobody's slip of the finger.
const MAX_CHARS: usize = 64;

/// The candidate that differs from `word` by the fewest changes of one character (or of two neighbours), if by few
/// enough that it may have been meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(MAX_CHARS + 1).collect();
    if word.len() > MAX_CHARS {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (changes(&word, &candidate.chars().take(MAX_CHARS).collect::<Vec<_>>()), candidate))
        .filter(|(changes, candidate)| *changes <= 1 + candidate.len() / 4)
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean “port”?`, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean “{near}”?")).unwrap_or_default()
}

/// The optimal string alignment distance.
fn changes(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let swap = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + swap);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let words = ["port", "title", "max_length"];
        assert_eq!(nearest("prot", words), Some("port"));
        assert_eq!(nearest("maxlength", words), Some("max_length"));
        assert_eq!(nearest("tilte", words), Some("title"));
        assert_eq!(nearest("greeting", words), None);
        assert_eq!(nearest(&"x".repeat(100_000), words), None);
        assert_eq!(did_you_mean("ports", words), "; did you mean “port”?");
    }
}
