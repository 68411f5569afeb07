//! Code blocks, and what their info strings say about them.
//!
//! | info string | means |
//! |---|---|
//! | `yaml` | YAML that the program which reads it validates, by its apiVersion and kind |
//! | `yaml values` | values of the chart |
//! | `sh`, `shell` | commands for the administrator, without prompts and output; they are run as they stand, in the order of the page |
//! | `sh machine` | the same for root on the machine that joins |
//! | `sh node` | the same for root on the node that was there before |
//! | `console` | a transcript: what follows `$ ` (or `machine# `) is a command and is run, all else is output |
//! | `ini drop-in` | a drop-in of join-agent.service, which systemd verifies |
//! | `… norun="why"` | commands that their programs understand, which is tested, and that cannot be run here, and why |
//! | `… skip="why"` | can be neither run nor validated here, and why |
//!
//! Other languages (`text`, `json`, …) are shown and nothing more.

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use crate::markdown::{OPTIONS, line_of};

/// A fenced block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    /// The first word of the info string; empty where there is none.
    pub language: String,
    /// The other words: `name`, or `name="value"`.
    pub attributes: Vec<(String, String)>,
    /// What is in it.
    pub text: String,
}

impl Block {
    /// Why the block is neither run nor validated, where its info string says so.
    pub fn skipped(&self) -> Option<&str> {
        self.attribute("skip")
    }

    /// Why the block is not run, whether or not it is checked otherwise, where its info string says so.
    pub fn not_run(&self) -> Option<&str> {
        self.skipped().or_else(|| self.attribute("norun"))
    }

    /// The value of an attribute; empty where it has none.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Every fenced block of a text.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (event, place) in Parser::new_ext(text, OPTIONS).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let (language, attributes) = info_string(&info);
                let line = line_of(text, place.start);
                open = Some(Block { line, language, attributes, text: String::new() });
            }
            Event::Text(piece) => {
                if let Some(block) = &mut open {
                    block.text.push_str(&piece);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks
}

/// The language and the attributes of an info string.
fn info_string(info: &str) -> (String, Vec<(String, String)>) {
    // Quotes are those of a shell. What a shell could not read is one attribute, so that a test can name it.
    let words = shlex::split(info).unwrap_or_else(|| vec![String::new(), info.to_owned()]);
    let mut words = words.into_iter();
    let language = words.next().unwrap_or_default();
    let attribute = |word: String| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (word, String::new()),
    };
    (language, words.map(attribute).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_place_their_language_and_their_attributes() {
        let text =
            "# A\n\n```sh machine skip=\"needs a cloud\"\nls\n```\n\n1. In a list:\n\n   ```yaml\n   a: 1\n   ```\n";
        let found = blocks(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].language.as_str(), found[0].text.as_str()), (3, "sh", "ls\n"));
        assert_eq!(found[0].skipped(), Some("needs a cloud"));
        assert_eq!(found[0].attribute("machine"), Some(""));
        assert_eq!((found[1].line, found[1].text.as_str(), found[1].skipped()), (9, "a: 1\n", None));
    }

    #[test]
    fn what_is_not_run_may_still_be_checked() {
        let found = blocks("```sh norun=\"long\"\n```\n```sh skip=\"wide\"\n```\n```sh\n```\n");
        let said: Vec<_> = found.iter().map(|block| (block.skipped(), block.not_run())).collect();
        assert_eq!(said, [(None, Some("long")), (Some("wide"), Some("wide")), (None, None)]);
    }

    #[test]
    fn a_block_without_a_language_has_none() {
        let found = blocks("```\nx\n```\n");
        assert_eq!((found[0].language.as_str(), found[0].attributes.len()), ("", 0));
    }
}
