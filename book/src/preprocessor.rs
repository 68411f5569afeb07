//! mdBook's preprocessor: links that leave `docs` lead to the repository.
//!
//! On GitHub such a link is relative and works as it is; in the book there is nothing at its end.

use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Parser, Tag};
use serde_json::Value;

use crate::markdown::OPTIONS;

/// The folder of the pages that are in the book.
pub const DOCS: &str = "docs";
/// Where the repository's files are shown.
const FILES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// What mdBook sent is not a book.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The streams to mdBook failed.
    #[error("failed to talk to mdBook: {0}")]
    Io(#[from] std::io::Error),
    /// Not JSON.
    #[error("mdBook sent no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Not a context and a book.
    #[error("expected an array of a context and a book from mdBook")]
    Shape,
}

/// Reads context and book, and writes the book with its links changed.
///
/// # Errors
/// When mdBook sent something else, or went away.
pub fn run(mut input: impl Read, mut output: impl Write) -> Result<(), Error> {
    let mut text = String::new();
    input.read_to_string(&mut text)?;
    let Value::Array(mut parts) = serde_json::from_str(&text)? else { return Err(Error::Shape) };
    let (Some(mut book), 1) = (parts.pop(), parts.len()) else { return Err(Error::Shape) };
    change(&mut book);
    serde_json::to_writer(&mut output, &book)?;
    Ok(())
}

/// Changes every chapter: an object with `content` and `path`, wherever it is in the book.
fn change(part: &mut Value) {
    match part {
        Value::Array(parts) => parts.iter_mut().for_each(change),
        Value::Object(fields) => {
            let path = fields.get("path").and_then(Value::as_str).map(PathBuf::from);
            if let (Some(path), Some(Value::String(content))) = (path, fields.get_mut("content")) {
                *content = with_outer_links(&path, content);
            }
            fields.values_mut().for_each(change);
        }
        _ => {}
    }
}

/// The text of a page with every link that leaves the folder of the pages made absolute.
pub fn with_outer_links(page: &Path, text: &str) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut copied = 0;
    for (event, place) in Parser::new_ext(text, OPTIONS).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
        let Some(absolute) = outside(page, &dest_url) else { continue };
        // The target stands in the link's own text, after the words that are shown.
        let link = &text[place.clone()];
        if place.start < copied || !link.contains(dest_url.as_ref()) {
            continue;
        }
        let start = place.start + link.rfind(dest_url.as_ref()).unwrap_or_default();
        changed.push_str(&text[copied..start]);
        changed.push_str(&absolute);
        copied = start + dest_url.len();
    }
    changed.push_str(&text[copied..]);
    changed
}

/// Where a relative link leads when that is outside the folder of the pages.
fn outside(page: &Path, target: &str) -> Option<String> {
    let is_relative = !target.contains("://") && !target.starts_with(['#', '/']) && !target.starts_with("mailto:");
    let path = is_relative.then(|| resolve(&Path::new(DOCS).join(page), target))??;
    let is_outside = !path.starts_with(DOCS);
    is_outside.then(|| format!("{FILES}{}", path.display()))
}

/// The path, below the root of the repository, of a relative link of a page; its anchor stays with it. `None` when it
/// leaves the repository.
pub fn resolve(page: &Path, target: &str) -> Option<PathBuf> {
    let mut path = page.parent()?.to_owned();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => path = path.parent()?.to_owned(),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_book_lead_to_the_repository() {
        let page = Path::new("reference/request.md");
        let text = "See [it](../reasons.md#a), [that](../../examples/pinned.yaml), `[no](../../x)`, <https://a.b>.\n";
        let expected = format!(
            "See [it](../reasons.md#a), [that]({FILES}examples/pinned.yaml), `[no](../../x)`, <https://a.b>.\n"
        );
        assert_eq!(with_outer_links(page, text), expected);
    }

    #[test]
    fn chapters_are_changed_wherever_they_are() {
        let chapter = serde_json::json!({"Chapter": {
            "content": "[a](../README.md)", "path": "a.md",
            "sub_items": [{"Chapter": {"content": "[b](../README.md#x)", "path": "b.md", "sub_items": []}}],
        }});
        let sent = serde_json::json!([{"root": "/"}, {"items": [chapter]}]).to_string();
        let mut got = Vec::new();
        run(sent.as_bytes(), &mut got).unwrap();
        let got: Value = serde_json::from_slice(&got).unwrap();
        let chapter = &got["items"][0]["Chapter"];
        assert_eq!(chapter["content"], format!("[a]({FILES}README.md)"));
        assert_eq!(chapter["sub_items"][0]["Chapter"]["content"], format!("[b]({FILES}README.md#x)"));
    }

    #[test]
    fn what_is_no_book_is_refused() {
        assert!(matches!(run("{}".as_bytes(), Vec::new()), Err(Error::Shape)));
        assert!(matches!(run("[1, 2, 3]".as_bytes(), Vec::new()), Err(Error::Shape)));
    }
}
