//! Numbers of things, as a person says them: `1 accounting`, `3 entries`.

/// The number and the English noun, in the plural but for one.
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    // More than that is many in any case.
    let count = count.try_into().unwrap_or(u64::MAX);
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_else_are_many() {
        let said =
            [(0u64, "peer"), (1, "peer"), (2, "peer"), (1, "entry"), (12, "entry")].map(|(n, noun)| counted(n, noun));
        assert_eq!(said, ["0 peers", "1 peer", "2 peers", "1 entry", "12 entries"]);
    }
}
