//! Aligned columns for a person's eyes.

use super::escape::escape_line;

/// Between two columns.
const GAP: &str = "  ";

/// The header and the rows, one line each, every column as wide as its widest cell in characters. Cells are escaped;
/// no line ends in blanks.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&title| title.to_owned()).collect();
    let lines: Vec<Vec<_>> =
        std::iter::once(&header).chain(rows).map(|row| row.iter().map(|cell| escape_line(cell)).collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for line in &lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join(GAP).trim_end_matches(' '));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [
            vec!["ada".into(), "deploy://abc@ada:7443".into(), "request, provide".into()],
            vec!["grüße".into(), "deploy://x@b:1".into(), String::new()],
            vec!["e\u{1b}[2J".into(), "short row".into()],
        ];
        let expected = "\
NAME        ADDRESS                MAY
ada         deploy://abc@ada:7443  request, provide
grüße       deploy://x@b:1
e\\u{1b}[2J  short row
";
        assert_eq!(table(&["NAME", "ADDRESS", "MAY"], &rows), expected);
    }

    #[test]
    fn a_row_longer_than_the_header_keeps_its_cells() {
        assert_eq!(table(&["A"], &[vec!["1".into(), "2".into()]]), "A\n1  2\n");
        assert_eq!(table(&["A", "B"], &[]), "A  B\n");
    }
}
