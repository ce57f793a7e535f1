//! What is printed. Results on standard output, everything else on standard error; a closed one stops nothing.

pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod table;
pub(crate) mod time;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

/// A result, on standard output.
pub(crate) fn out(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", harmless(text));
}

/// Anything else, on standard error.
pub(crate) fn err(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(text));
}

/// What others wrote, an app or whoever gave a reason, must not drive the reader's terminal: of all control characters
/// line ends, tabs and colours stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && c != '\n') {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let kept = match colour_at(rest) {
            Some(length) => &rest[..length],
            None if c.is_control() && !matches!(c, '\n' | '\t') => "\u{fffd}",
            None => &rest[..c.len_utf8()],
        };
        clean.push_str(kept);
        rest = &rest[colour_at(rest).unwrap_or(c.len_utf8())..];
    }
    clean.into()
}

/// The length of a colour sequence at the beginning of a text.
fn colour_at(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("\x1b[")?;
    let end = inside.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    inside[end..].starts_with('m').then_some(end + 3)
}

/// The same on one line.
pub(crate) fn one_line(text: &str) -> String {
    harmless(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text of at most so many characters; one that was longer ends with `…`.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Whether standard error takes colours.
pub(crate) fn colour_err() -> bool {
    std::io::stderr().is_terminal() && wants_colour()
}

/// Whether standard output takes colours.
pub(crate) fn colour_out() -> bool {
    std::io::stdout().is_terminal() && wants_colour()
}

/// See <https://no-color.org>: any value but the empty one turns colours off.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_shows_it() {
        assert_eq!(shorten("503 Service", 11), "503 Service");
        assert_eq!(shorten("503 Service Unavailable", 11), "503 Servic…");
    }

    #[test]
    fn what_others_wrote_drives_no_terminal() {
        for (text, wanted) in [
            ("plain\nlines\tand \u{e9}", "plain\nlines\tand \u{e9}"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[2Jgone\x07\r", "\u{fffd}[2Jgone\u{fffd}\u{fffd}"),
            ("\x1b]0;title\x1b[", "\u{fffd}]0;title\u{fffd}["),
            ("\u{9b}2J", "\u{fffd}2J"),
        ] {
            assert_eq!(harmless(text), wanted);
        }
        assert_eq!(one_line("two\n  lines\n"), "two lines");
    }
}
