//! Tables in Markdown.

/// One row of cells. What would end a cell or begin HTML is escaped.
pub fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell).replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
pub fn head(names: &[&str]) -> String {
    format!("{}|{}\n", row(names), "---|".repeat(names.len()))
}

/// A text as a code span, whatever backticks are in it; nothing for no text.
pub fn code(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}

/// The text with `<` escaped outside code spans, where it would begin HTML.
pub fn escaped(text: &str) -> String {
    let mut is_code = false;
    let mut escaped = String::with_capacity(text.len());
    for one in text.chars() {
        is_code ^= one == '`';
        match one {
            '<' if !is_code => escaped.push_str("&lt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_cell_ends_it() {
        assert_eq!(row(&["a|b", "<c>", "`<d>`"]), "| a\\|b | &lt;c> | `<d>` |\n");
        assert_eq!(head(&["x", "y"]), "| x | y |\n|---|---|\n");
        assert_eq!((code(""), code("a"), code("a`b")), (String::new(), "`a`".to_owned(), "`` a`b ``".to_owned()));
    }
}
