//! Comma-separated values (RFC 4180) that a spreadsheet takes as what they are.

/// The header and the rows, each line ended by CR and LF.
pub(super) fn csv<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut text = line(header.map(str::to_owned));
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

fn line<const N: usize>(cells: [String; N]) -> String {
    cells.map(|text| cell(&text)).join(",") + "\r\n"
}

/// Quoted where needed. What a spreadsheet would run as a formula begins with an apostrophe, so that it is a text.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_texts() {
        let rows = [
            ["plain", "a,b", "say \"hi\""],
            ["=1+1", "+1", "-1"],
            ["@SUM(A1)", "two\nlines", "\tx"],
            ["", "=HYPERLINK(\"x\",\"y\")", "1-1"],
        ];
        let expected = "a,b,c\r\nplain,\"a,b\",\"say \"\"hi\"\"\"\r\n'=1+1,'+1,'-1\r\n'@SUM(A1),\"two\nlines\",'\tx\r\n,\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\",1-1\r\n";
        assert_eq!(csv(["a", "b", "c"], rows.map(|row| row.map(str::to_owned))), expected);
    }
}
