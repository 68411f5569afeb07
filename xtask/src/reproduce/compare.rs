//! Two sets of files, compared byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// How two files of one name differ.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// One of the sets has no such file.
    Missing {
        /// Which.
        in_which: &'static str,
    },
    /// Their content is not the same.
    Content {
        /// How long each is.
        sizes: [usize; 2],
        /// The first byte, from 0, that the other one has not.
        first: usize,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { in_which } => write!(f, "there is none in the {in_which} place"),
            Self::Content { sizes: [one, another], first } => {
                write!(f, "{one} and {another} bytes long; the first difference is at byte {first}")
            }
        }
    }
}

/// Compares the files of each name; of those that are the same, returns the SHA-256.
pub fn all(
    one: &BTreeMap<String, PathBuf>,
    another: &BTreeMap<String, PathBuf>,
) -> anyhow::Result<BTreeMap<String, Result<String, Difference>>> {
    let names: BTreeSet<&String> = one.keys().chain(another.keys()).collect();
    let compared = names.into_iter().map(|name| {
        let outcome = match (one.get(name), another.get(name)) {
            (Some(one), Some(another)) => content(&read(one)?, &read(another)?),
            (None, _) => Err(Difference::Missing { in_which: "first" }),
            (_, None) => Err(Difference::Missing { in_which: "second" }),
        };
        Ok((name.clone(), outcome))
    });
    compared.collect()
}

fn content(one: &[u8], another: &[u8]) -> Result<String, Difference> {
    if one == another {
        return Ok(hex::encode(Sha256::digest(one)));
    }
    let shorter = one.len().min(another.len());
    let first = one.iter().zip(another).position(|(one, another)| one != another).unwrap_or(shorter);
    Err(Difference::Content { sizes: [one.len(), another.len()], first })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        // FIPS 180-4, an example of SHA-256.
        let checksum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(content(b"abc", b"abc"), Ok(checksum.to_owned()));
        assert_eq!(content(b"abc", b"axc"), Err(Difference::Content { sizes: [3, 3], first: 1 }));
        assert_eq!(content(b"ab", b"abc"), Err(Difference::Content { sizes: [2, 3], first: 2 }));
    }

    #[test]
    fn files_that_only_one_place_has_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            (name.to_owned(), path)
        };
        let compared = all(&[file("a"), file("b")].into(), &[file("b"), file("c")].into()).unwrap();
        let told: Vec<String> = compared
            .into_iter()
            .map(|(name, outcome)| match outcome {
                Ok(_) => format!("{name} is the same"),
                Err(difference) => format!("{name}: {difference}"),
            })
            .collect();
        let expected = ["a: there is none in the second place", "b is the same", "c: there is none in the first place"];
        assert_eq!(told, expected);
    }
}
