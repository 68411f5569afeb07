//! YAML that a person or a network sent: read within limits, and never repeated in errors.
//!
//! No file that is read here needs aliases, with which a short text can stand for a huge document. The parser's own
//! message quotes the lines around a mistake, one of which can hold a token, so the mistake is told without them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor, value};
use serde_saphyr::{Location, MessageFormatter as _, Options, Spanned, UserMessageFormatter};

use crate::limits::{MAX_YAML_DOCUMENTS, MAX_YAML_EVENTS};
use crate::token::redacted;

/// A text is not YAML of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    place: Option<(u64, u64)>,
    reason: String,
}

impl YamlError {
    fn of(error: &serde_saphyr::Error) -> Self {
        let place = error.location().filter(|at| *at != Location::UNKNOWN).map(|at| (at.line(), at.column()));
        let message = UserMessageFormatter.format_message(error.without_snippet());
        // Names of keys are in it, as they were written.
        Self { place, reason: redacted(&message.replace(char::is_control, " ")).into_owned() }
    }

    /// The line at which reading stopped, counted from 1; 0 if the parser does not say.
    pub fn line(&self) -> u64 {
        self.place.map_or(0, |(line, _)| line)
    }

    /// The same in a text that has so many lines before it.
    fn after(self, lines: u64) -> Self {
        Self { place: self.place.map(|(line, column)| (line + lines, column)), ..self }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for YamlError {}

/// Reads a text that is one document.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    serde_saphyr::from_str_with_options(text, options(1)).map_err(|error| YamlError::of(&error))
}

/// An empty text counts as absent, as for kubeadm and in a kubeconfig.
pub fn present<T: AsRef<str>>(text: Option<T>) -> Option<T> {
    text.filter(|text| !text.as_ref().is_empty())
}

/// A document among others: what it is, and where it stands.
#[derive(Debug)]
pub struct Document<'a> {
    /// Its `apiVersion`, or nothing.
    pub api_version: String,
    /// Its `kind`, or nothing.
    pub kind: String,
    /// The line at which it begins, counted from 1.
    pub line: u64,
    text: &'a str,
}

/// What every Kubernetes object and every configuration file says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
}

impl<'a> Document<'a> {
    /// The documents of a text, without the empty ones.
    pub fn all(text: &'a str) -> Result<Vec<Self>, YamlError> {
        let heads: Vec<Spanned<Head>> = serde_saphyr::from_multiple_with_options(text, options(MAX_YAML_DOCUMENTS))
            .map_err(|error| YamlError::of(&error))?;
        // A document begins with the line of its first value: its indentation counts, and what is between it and the
        // one before are comments and the mark that parts them.
        let begin = |head: &Spanned<Head>| {
            let offset = head.defined.span().byte_offset().and_then(|offset| usize::try_from(offset).ok());
            let before = text.get(..offset.unwrap_or_default()).unwrap_or_default();
            before.rfind(['\n', '\r']).map_or(0, |end| end + 1)
        };
        let begins: Vec<usize> = heads.iter().map(begin).collect();
        let ends = begins.iter().skip(1).copied().chain([text.len()]);
        let parts: Vec<&'a str> =
            begins.iter().zip(ends).map(|(begin, end)| text.get(*begin..end).unwrap_or_default()).collect();
        let documents = heads.into_iter().zip(parts).map(|(head, text)| Document {
            api_version: head.value.api_version.unwrap_or_default(),
            kind: head.value.kind.unwrap_or_default(),
            line: head.defined.line(),
            text,
        });
        Ok(documents.collect())
    }

    /// Reads the document; a mistake is told with its place in the whole text.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        // What follows are empty documents at most.
        let read: Vec<T> = serde_saphyr::from_multiple_with_options(self.text, options(MAX_YAML_DOCUMENTS))
            .map_err(|error| YamlError::of(&error).after(self.line.saturating_sub(1)))?;
        read.into_iter().next().ok_or_else(|| YamlError { place: None, reason: "the document is empty".to_owned() })
    }
}

/// Arguments of a program in kubeadm's files: a list in v1beta4 and later, a map of names in v1beta3.
pub enum ListOrMap<T> {
    /// In the order of the file, the same name as often as it likes.
    List(Vec<T>),
    /// By name, sorted, as kubeadm converts them.
    Map(BTreeMap<String, String>),
}

impl<T> Default for ListOrMap<T> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl<T> ListOrMap<T> {
    /// Whether it is a map with something in it.
    pub fn is_map(&self) -> bool {
        matches!(self, Self::Map(map) if !map.is_empty())
    }

    /// Whether it is a list with something in it.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::List(list) if !list.is_empty())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ListOrMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = ListOrMap<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of name and value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<ListOrMap<T>, A::Error> {
                Deserialize::deserialize(value::SeqAccessDeserializer::new(items)).map(ListOrMap::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<ListOrMap<T>, A::Error> {
                Deserialize::deserialize(value::MapAccessDeserializer::new(entries)).map(ListOrMap::Map)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

fn options(documents: usize) -> Options {
    let budget = serde_saphyr::budget! { max_events: MAX_YAML_EVENTS, max_aliases: 0, max_documents: documents };
    serde_saphyr::options! { budget: budget, with_snippet: false }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
