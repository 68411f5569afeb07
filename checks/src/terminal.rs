//! Text of others on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every control and format character written as an escape, so that a name or a message from the cluster
/// cannot move the cursor, change colours, hide or reorder what stands beside it. Line feeds and tabs are escaped, too.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            other if is_dangerous(other) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(other));
            }
            other => shown.push(other),
        }
    }
    Cow::Owned(shown)
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and the invisible ones that reorder or join text
/// (bidirectional controls, zero-width characters, tags).
fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character),
            0xAD | 0x61C | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF | 0xFFF9..=0xFFFB
            | 0xE0000..=0xE007F)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_left_as_it_is() {
        for text in ["", "worker-1 is Ready", "größer 日本語 ✓"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_moves_the_cursor_or_reorders_text_is_made_visible() {
        for (text, shown) in [
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("a\r\nb\tc", "a\\u{d}\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("evil\u{202e}gnp", "evil\\u{202e}gnp"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_dangerous_is_left(text in any::<String>()) {
            prop_assert!(!printable(&text).chars().any(is_dangerous));
        }
    }
}
