//! YAML as Go's `sigs.k8s.io/yaml` writes it: keys sorted, lists not indented, as few quotes as possible.

use super::Error;

/// Writes a value whose maps are sorted (`serde_json` keeps them so).
pub fn to_string(value: &serde_json::Value) -> Result<String, Error> {
    // Go folds no lines.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options)
        .map_err(|failure| Error::Write { reason: failure.to_string() })?;
    Ok(text.split_inclusive('\n').map(unquote_addresses).collect())
}

/// Our library quotes whatever looks like a number to any YAML parser; Go quotes what *it* would read as one, and a
/// text with two or more dots is none to it.
fn unquote_addresses(line: &str) -> String {
    let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
    let quoted = content.strip_suffix('"').and_then(|rest| rest.split_once('"'));
    match quoted {
        Some((before, text))
            if (before.ends_with(": ") || before.ends_with("- "))
                && text.matches('.').count() >= 2
                && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') =>
        {
            format!("{before}{text}{end}")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_go_would_read_as_a_number_is_quoted() {
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
}
