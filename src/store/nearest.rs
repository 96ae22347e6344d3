//! “Did you mean …?”

/// Bytes of a word that is compared at all: longer ones are no slips, and comparing takes time by length.
const LONGEST: usize = 100;

/// The candidate that `word` was probably meant to be: at most a third of its letters (and at least one) differ.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    if word.len() > LONGEST {
        return None;
    }
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, change or exchange with their neighbour to make `b` of `a` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let words = ["alice", "bob", "carol"];
        assert_eq!(nearest("alce", words), Some("alice"));
        assert_eq!(nearest("boob", words), Some("bob"));
        assert_eq!(nearest("obb", words), Some("bob"));
        assert_eq!(nearest("zebra", words), None);
        assert_eq!(nearest("x", words), None);
    }
}
