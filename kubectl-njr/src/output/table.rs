//! Tables as kubectl prints them.

use std::fmt::Write as _;

use join_checks::terminal::printable;

/// Spaces between columns.
const PADDING: usize = 3;
/// The least width of a column with its padding.
const MINIMUM: usize = 6;
/// What stands for nothing.
const NONE: &str = "<none>";

/// Rows under headers. Cells are made printable when the table is rendered.
#[derive(Debug, Clone)]
pub struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headers: impl IntoIterator<Item = &'static str>) -> Self {
        Self { headers: headers.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row. A cell without text is shown as `<none>`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, the headers first.
    pub fn render(&self) -> String {
        let headers: Vec<String> = self.headers.iter().map(|header| (*header).to_owned()).collect();
        let shown = |cell: &String| if cell.is_empty() { NONE.to_owned() } else { printable(cell).into_owned() };
        let rows = self.rows.iter().map(|row| row.iter().map(shown).collect());
        let lines: Vec<Vec<String>> = std::iter::once(headers).chain(rows).collect();
        let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let longest = lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
            (longest.unwrap_or_default() + PADDING).max(MINIMUM)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            for (cell, width) in line.iter().zip(&widths).take(line.len().saturating_sub(1)) {
                let _ = write!(text, "{cell:width$}");
            }
            let _ = writeln!(text, "{}", line.last().map_or("", String::as_str));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(["NAME", "READY", "AGE"]);
        table.row(["worker-1".to_owned(), "True".to_owned(), "5m3s".to_owned()]);
        table.row(["w".to_owned(), String::new(), "2d".to_owned()]);
        let expected = "\
NAME       READY    AGE
worker-1   True     5m3s
w          <none>   2d
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn cells_cannot_break_out_of_their_row() {
        let mut table = Table::new(["NAME", "MESSAGE"]);
        table.row(["\u{1b}[2Ja\n".to_owned(), "x\ty\u{202e}".to_owned()]);
        assert_eq!(table.render(), "NAME           MESSAGE\n\\u{1b}[2Ja\\n   x\\ty\\u{202e}\n");
    }
}
