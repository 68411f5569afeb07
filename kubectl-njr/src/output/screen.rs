//! What kind of thing output goes to: a terminal that shows colours, or a file.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

use crate::options::Color;

/// What standard output is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether colours are shown.
    pub color: bool,
    /// Whether a person looks at it, so that lines may be drawn anew and spinners turn.
    pub is_terminal: bool,
}

impl Screen {
    /// What standard output is.
    pub fn of_stdout(color: Color) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self::judge(color, is_terminal, std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()))
    }

    /// A file or a pipe: neither colours nor redrawing.
    pub const PLAIN: Self = Self { color: false, is_terminal: false };

    fn judge(color: Color, is_terminal: bool, no_color: bool) -> Self {
        let color = match color {
            Color::Auto => is_terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        };
        Self { color, is_terminal }
    }

    /// The text in a colour, where colours are shown. The text must be printable already.
    pub fn paint(self, color: AnsiColor, text: &str) -> String {
        self.style(Style::new().fg_color(Some(color.into())), text)
    }

    /// The text in a style, where colours are shown. The text must be printable already.
    pub fn style(self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Color::Auto, true, false, true)]
    #[case(Color::Auto, true, true, false)]
    #[case(Color::Auto, false, false, false)]
    #[case(Color::Always, false, true, true)]
    #[case(Color::Never, true, false, false)]
    fn colours_are_for_terminals(
        #[case] color: Color,
        #[case] is_terminal: bool,
        #[case] no_color: bool,
        #[case] expected: bool,
    ) {
        let screen = Screen::judge(color, is_terminal, no_color);
        assert_eq!(screen, Screen { color: expected, is_terminal });
        let painted = if expected { "\u{1b}[31mx\u{1b}[0m" } else { "x" };
        assert_eq!(screen.paint(AnsiColor::Red, "x"), painted);
    }
}
