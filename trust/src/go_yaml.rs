//! YAML as Go's `sigs.k8s.io/yaml` writes it: keys sorted, lists not indented, as few quotes as possible.
//!
//! Known to differ: Go folds texts of more than 80 columns at their spaces and writes texts of several lines as blocks.
//! kubeadm's files hold neither, but where an administrator put one into an argument.

/// A value cannot be written as YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write YAML: {reason}")]
pub struct WriteError {
    reason: String,
}

/// What Go reads as a boolean or as nothing, so that a text which says it has to be quoted.
const WORDS: &[&str] = &[
    "", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n", "N", "no", "No", "NO", "false",
    "False", "FALSE", "off", "Off", "OFF", "~", "null", "Null", "NULL",
];

/// Writes a value whose maps are sorted (`serde_json` keeps them so).
pub fn to_string(value: &serde_json::Value) -> Result<String, WriteError> {
    // Go folds no lines as short as these.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options)
        .map_err(|failure| WriteError { reason: failure.to_string() })?;
    Ok(text.split_inclusive('\n').map(requote).collect())
}

/// Our library has one kind of quotes, and quotes whatever looks like a number to any YAML parser. Go quotes what *it*
/// would read as something else, and prefers single quotes where only the syntax asks for some.
fn requote(line: &str) -> String {
    let Some((before, text)) = quoted_text(line) else { return line.to_owned() };
    if text.chars().any(char::is_control) || is_other_than_text(&text) {
        return line.to_owned();
    }
    if is_plain(&text) { format!("{before}{text}\n") } else { format!("{before}'{}'\n", text.replace('\'', "''")) }
}

/// The text in double quotes that a line ends with, and what is before it.
fn quoted_text(line: &str) -> Option<(&str, String)> {
    let content = line.strip_suffix('\n')?;
    let start = [": \"", "- \""].iter().filter_map(|mark| content.find(mark)).min()? + 2;
    let (before, quoted) = content.split_at_checked(start)?;
    // The escapes that matter here are JSON's; a text with others stays as it is.
    Some((before, serde_json::from_str(quoted).ok()?))
}

/// Whether Go would read the plain text as a number, a boolean, a date or nothing, given that our library would.
fn is_other_than_text(text: &str) -> bool {
    let is_numeric = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    // A text with two dots, such as an address, is no number to Go.
    let is_number = is_numeric && is_plain(text) && text.matches('.').count() < 2 && !text.ends_with("inf");
    WORDS.contains(&text) || is_number || matches!(text, ".inf" | "+.inf" | "-.inf")
}

/// Whether YAML's syntax lets a text without control characters stand without quotes, as Go sees it.
fn is_plain(text: &str) -> bool {
    let starts_badly = text.starts_with(|first: char| " ,[]{}#&*!|>'\"%@`".contains(first));
    let is_indicator = ["-", "?", ":"].iter().any(|mark| text == *mark || text.starts_with(&format!("{mark} ")));
    let is_marker = text.starts_with("---") || text.starts_with("...");
    let has_structure = text.ends_with([' ', ':']) || text.contains(": ") || text.contains(" #");
    !(starts_badly || is_indicator || is_marker || has_structure)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected is what `sigs.k8s.io/yaml` 1.6.0 wrote for the same values.
    #[test]
    fn only_what_go_would_read_as_something_else_is_in_double_quotes() {
        let value = serde_json::json!({
            "address": "127.0.0.1", "list": ["10.96.0.10", "1.5"], "number": "0", "empty": {}, "none": "",
            "duration": "0s", "true": true,
        });
        let expected = "\
address: 127.0.0.1
duration: 0s
empty: {}
list:
- 10.96.0.10
- \"1.5\"
none: \"\"
number: \"0\"
\"true\": true
";
        assert_eq!(to_string(&value).unwrap(), expected);
    }

    /// Expected is what `sigs.k8s.io/yaml` 1.6.0 wrote for the same texts.
    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        for (text, expected) in [
            ("fd00::a", "fd00::a"),
            ("::1", "::1"),
            ("fd00::", "'fd00::'"),
            ("10%", "10%"),
            ("100Mi", "100Mi"),
            ("1e3", "\"1e3\""),
            ("0x1F", "\"0x1F\""),
            ("12:30", "\"12:30\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("yes", "\"yes\""),
            ("tRue", "tRue"),
            ("~", "\"~\""),
            ("-1", "\"-1\""),
            ("--a", "--a"),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("*", "'*'"),
            ("kernel.msg*", "kernel.msg*"),
            ("it's", "it's"),
            ("'q'", "'''q'''"),
            ("\"q\"", "'\"q\"'"),
            (r"back\slash", r"back\slash"),
            ("aws:///eu-1a/i-0abc", "aws:///eu-1a/i-0abc"),
            ("key=value:NoSchedule", "key=value:NoSchedule"),
            (".inf", "\".inf\""),
            ("+inf", "+inf"),
            ("...", "'...'"),
            ("tab\there", "\"tab\\there\""),
        ] {
            let value = serde_json::json!({"k": text, "l": [text]});
            assert_eq!(to_string(&value).unwrap(), format!("k: {expected}\nl:\n- {expected}\n"), "{text:?}");
        }
    }
}
