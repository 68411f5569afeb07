//! How results are shown: kubectl's formats, tables, ages, colours.

pub mod age;
pub mod screen;
pub mod stderr;
pub mod table;

use std::fmt::Write as _;
use std::io::Write as _;

use clap::ValueEnum;
use join_checks::terminal::printable;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

pub use screen::Screen;
pub use table::Table;

/// The formats in which a list can be shown besides the plain table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// The kind and the name of each object, a line each.
    Name,
    /// A table with more columns.
    Wide,
}

/// A result could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard output does not take it.
    #[error("failed to write to standard output: {0}")]
    Write(std::io::Error),
    /// The result cannot be written in the format.
    #[error("failed to write the result as {format}: {reason}")]
    Encode {
        /// JSON or YAML.
        format: &'static str,
        /// What the library says.
        reason: String,
    },
}

/// Writes text to standard output. A reader that has gone, such as `head`, is not an error.
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Write(error)),
        _ => Ok(()),
    }
}

/// A value as JSON, indented as kubectl indents it, with a line feed at the end.
///
/// Control characters of texts are escaped, which JSON itself asks for; what reorders text is not, since the reader is a
/// program.
pub fn json(value: &impl Serialize) -> Result<String, Error> {
    let failed = |reason: String| Error::Encode { format: "JSON", reason };
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).map_err(|error| failed(error.to_string()))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(|error| failed(error.to_string()))
}

/// A value as YAML, laid out as kubectl does it: each object's fields in the order of their names.
pub fn yaml(value: &impl Serialize) -> Result<String, Error> {
    yaml_as_written(&sorted(value)?)
}

/// A value with each object's fields in the order of their names, as kubectl shows objects of other programs' kinds.
pub fn sorted(value: &impl Serialize) -> Result<serde_json::Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::Encode { format: "JSON", reason: error.to_string() })
}

/// A value as YAML with its fields in their own order, for files that people read.
pub fn yaml_as_written(value: &impl Serialize) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| Error::Encode { format: "YAML", reason: error.to_string() })
}

/// The names of objects as kubectl's `--output name` has them: `kind/name`, a line each.
pub fn names<'a>(kind: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in names {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{kind}/{}", printable(name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_are_laid_out_as_kubectl_does_it() {
        let value = serde_json::json!({"items": [{"name": "a\u{1b}[31m"}], "none": []});
        let expected = "\
{
    \"items\": [
        {
            \"name\": \"a\\u001b[31m\"
        }
    ],
    \"none\": []
}
";
        assert_eq!(json(&value).unwrap(), expected);
        assert_eq!(yaml(&value).unwrap(), "items:\n- name: \"a\\e[31m\"\nnone: []\n");
    }
}
