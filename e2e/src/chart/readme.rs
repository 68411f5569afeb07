//! The chart's README.

use super::Documented;

/// What stands above the table of values.
const HEAD: &str = include_str!("readme-head.md");

/// The README: the head, then a table of values for each group.
pub(super) fn markdown(values: &[Documented]) -> String {
    let mut parts = vec![
        "<!-- Generated from values.yaml by `cargo xtask generate`. Do not edit. -->\n".to_owned(),
        HEAD.to_owned(),
    ];
    let group = |value: &Documented| value.path.rsplit_once('.').map(|(group, _)| group.to_owned());
    // Those without a group together and first; else in the order of the file.
    let (alone, grouped): (Vec<_>, Vec<_>) = values.iter().partition(|value| group(value).is_none());
    let mut last = None;
    for value in alone.into_iter().chain(grouped) {
        let group = group(value);
        if last.as_ref() != Some(&group) {
            let title = group.as_ref().map_or_else(|| "General".to_owned(), |group| format!("`{group}`"));
            parts.push(format!("\n### {title}\n\n| Value | What it is for | Default |\n|---|---|---|\n"));
            last = Some(group);
        }
        let default = value.default.to_string();
        parts.push(format!("| `{}` | {} | `{}` |\n", value.path, cell(&value.description), cell(&default)));
    }
    parts.concat()
}

/// Text that may not end a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
