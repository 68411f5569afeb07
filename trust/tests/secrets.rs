//! How secrets are compared: by `subtle`, or not at all.
//!
//! The types see to it, which their documentation's examples prove. What is left is a secret that has been taken out of
//! its type: this looks through the sources of all crates for a comparison on a line that does so.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "tests" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") && !name.ends_with("tests") {
            found.push(path);
        }
    }
}

/// The lines before the tests that stand in the same file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().take_while(|line| *line != "mod tests {").enumerate().map(|(at, line)| (at + 1, line.trim()))
}

fn compares(line: &str) -> bool {
    ["==", "!=", ".eq(", ".ne(", ".cmp(", "starts_with", "contains(", "matches!"].iter().any(|way| line.contains(way))
}

#[test]
fn a_secret_that_is_taken_out_of_its_type_is_not_compared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for name in ["trust", "checks", "control-plane", "controller", "node-agent", "kubectl-njr"] {
        sources(&root.join(name).join("src"), &mut files);
    }
    let (mut taken, mut compared) = (0, Vec::new());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in code(&text).filter(|(_, line)| !line.starts_with("//")) {
            if line.contains(".expose()") || line.contains("expose_secret()") {
                taken += 1;
                if compares(line) {
                    compared.push(format!("{}:{number}: {line}", path.display()));
                }
            }
        }
    }
    assert!(taken >= 8, "only {taken} places take a secret out of its type: this test looks in the wrong places");
    assert!(compared.is_empty(), "compare secrets with subtle::ConstantTimeEq:\n{}", compared.join("\n"));
}

#[test]
fn comparisons_are_recognised() {
    assert!(compares("if token.expose() == other.expose() {") && !compares("put(TOKEN_SECRET, secret.expose());"));
}
