//! Markdown files, their headings and their links.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::{ReadError, repository};

/// What GitHub and mdBook both understand beside CommonMark.
pub const OPTIONS: Options = Options::ENABLE_TABLES.union(Options::ENABLE_STRIKETHROUGH);

/// Folders with Markdown that is not this project's, or none.
const PASSED_OVER: [&str; 3] = ["target", "node_modules", "components"];

/// One Markdown file.
pub struct Page {
    /// Its path below the root of the repository.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A link, or an image, of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// The line that it stands in, from 1.
    pub line: usize,
    /// Where it leads, as it is written.
    pub target: String,
}

/// Every Markdown file of the repository, in the order of their paths.
pub fn pages() -> Result<Vec<Page>, ReadError> {
    let mut pages = Vec::new();
    collect(Path::new(""), &mut pages)?;
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(pages)
}

fn collect(folder: &Path, pages: &mut Vec<Page>) -> Result<(), ReadError> {
    let absolute = repository().join(folder);
    let error = |source| ReadError { path: absolute.clone(), source };
    for entry in fs::read_dir(&absolute).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let path = folder.join(&name);
        let name = name.to_string_lossy();
        if entry.file_type().map_err(error)?.is_dir() {
            if !name.starts_with('.') && !PASSED_OVER.contains(&name.as_ref()) {
                collect(&path, pages)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(Page { text: read(&path)?, path });
        }
    }
    Ok(())
}

/// Reads a file by its path below the root of the repository.
pub fn read(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(repository().join(path)).map_err(|source| ReadError { path: path.to_owned(), source })
}

/// The anchors of a text's headings, as GitHub and mdBook make them: a repeated one gets `-1`, `-2`, ….
pub fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, OPTIONS) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let plain = anchor(&heading.take().unwrap_or_default());
                let numbered = (1..).map(|number| format!("{plain}-{number}"));
                let free = std::iter::once(plain.clone()).chain(numbered).find(|anchor| !anchors.contains(anchor));
                anchors.extend(free);
            }
            Event::Text(piece) | Event::Code(piece) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&piece);
                }
            }
            _ => {}
        }
    }
    anchors
}

/// The anchor of a heading that no heading before it has.
pub fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|one| one.is_alphanumeric() || matches!(one, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|one| if one == ' ' { '-' } else { one }).collect()
}

/// Every link and image of a text.
pub fn links(text: &str) -> Vec<Link> {
    let targets = Parser::new_ext(text, OPTIONS).into_offset_iter().filter_map(|(event, place)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some((dest_url, place.start)),
        _ => None,
    });
    targets.map(|(target, start)| Link { line: line_of(text, start), target: target.into_string() }).collect()
}

/// The number of the line, from 1, at a place of a text.
pub fn line_of(text: &str, place: usize) -> usize {
    text[..place].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_those_of_github() {
        let text =
            "# `join-agent check`\n## What's new? (1.0)\n## Twice\n## Twice\ntext\n### spec.machine.publicKeyHash\n";
        assert_eq!(anchors(text), ["join-agent-check", "whats-new-10", "twice", "twice-1", "specmachinepublickeyhash"]);
    }

    #[test]
    fn links_are_found_with_their_lines() {
        let text = "[a](b.md)\n\n| ![c](d.svg) |\n|---|\n\n```text\n[no](link)\n```\n<https://example.com>\n";
        let found = links(text);
        let found: Vec<_> = found.iter().map(|link| (link.line, link.target.as_str())).collect();
        assert_eq!(found, [(1, "b.md"), (3, "d.svg"), (9, "https://example.com")]);
    }
}
