//! The comments of `values.yaml`. YAML libraries drop comments, so they are read by line, and the values themselves by
//! a library; where the two disagree about which values there are, that is an error.

use serde_json::Value;

/// One value with its comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Documented {
    /// Its keys from the outermost on, joined by dots.
    pub path: String,
    /// Its comment, as one line.
    pub description: String,
    /// What it is unless the user says otherwise.
    pub default: Value,
}

/// The file is not what documentation can be made of.
#[derive(Debug, thiserror::Error)]
pub enum Undocumented {
    /// It is no YAML.
    #[error("it is not YAML: {0}")]
    Yaml(String),
    /// A value has no comment above it, nor has any value that it is a part of.
    #[error("{0} has no comment that says what it is for")]
    NoComment(String),
    /// The lines name a value that the YAML library does not find.
    #[error("line {line} documents {path}, which is not a value of the file")]
    NoValue { line: usize, path: String },
}

/// A mapping's key that is open at the current line.
struct Open {
    indent: usize,
    key: String,
    documented: bool,
}

/// Every documented value, in the order of the file.
///
/// A comment belongs to the key right below it. A key without one is a group if its parts have comments, and a part of
/// a default if it stands below a key that has one.
pub fn documented(text: &str) -> Result<Vec<Documented>, Undocumented> {
    let values: Value = serde_saphyr::from_str(text).map_err(|failure| Undocumented::Yaml(failure.to_string()))?;
    let mut found = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(words) = content.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let description = std::mem::take(&mut comment).join(" ");
        let Some((key, _)) = content.split_once(':').filter(|(key, _)| is_key(key)) else { continue };
        open.retain(|parent| parent.indent < indent);
        let inside = open.iter().any(|parent| parent.documented);
        open.push(Open { indent, key: key.to_owned(), documented: !description.is_empty() });
        if inside {
            continue;
        }
        let keys: Vec<&str> = open.iter().map(|part| part.key.as_str()).collect();
        let path = keys.join(".");
        let default = values
            .pointer(&format!("/{}", keys.join("/")))
            .ok_or_else(|| Undocumented::NoValue { line: number + 1, path: path.clone() })?;
        if !description.is_empty() {
            found.push(Documented { path, description, default: default.clone() });
        }
    }
    all_are_documented("", &values, &found)?;
    Ok(found)
}

/// The chart's own keys are made of letters; what is not is a part of a default, such as a label.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn all_are_documented(path: &str, value: &Value, found: &[Documented]) -> Result<(), Undocumented> {
    if found.iter().any(|documented| documented.path == path) {
        return Ok(());
    }
    let parts = value.as_object().filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| Undocumented::NoComment(path.to_owned()))?;
    parts.iter().try_for_each(|(key, part)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        all_are_documented(&path, part, found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn comments_belong_to_the_key_below_them() {
        let text = "# About the file.\n\n# How\n# many.\ncount: 2\ngroup:\n  # One.\n  one: \"\"\n  \
                    # Two.\n  two:\n    inner: {a: b}\n    x/y: [1]\n# Three.\nthree:\n- key: value\n";
        let expected = [
            ("count", "How many.", json!(2)),
            ("group.one", "One.", json!("")),
            ("group.two", "Two.", json!({"inner": {"a": "b"}, "x/y": [1]})),
            ("three", "Three.", json!([{"key": "value"}])),
        ]
        .map(|(path, description, default)| Documented {
            path: path.to_owned(),
            description: description.to_owned(),
            default,
        });
        assert_eq!(documented(text).unwrap(), expected);
    }

    #[test]
    fn a_value_without_a_comment_is_an_error() {
        for (text, path) in [("a: 1\n", "a"), ("a:\n  # B.\n  b: 1\n  c: 2\n", "a.c"), ("a: {}\n", "a")] {
            let failure = documented(text).unwrap_err();
            assert!(matches!(&failure, Undocumented::NoComment(found) if found == path), "{failure}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_an_error() {
        assert!(matches!(documented("a: [").unwrap_err(), Undocumented::Yaml(_)));
    }
}
