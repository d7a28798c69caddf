//! Texts of strangers, as messages and log lines show them.

use std::borrow::Cow;
use std::fmt::Write;

/// What a line begins with that belongs to the one before it.
const CONTINUATION: &str = "\n    | ";

/// A text in which nothing is left that a terminal or a log viewer acts on: control characters, and those that
/// turn the direction of writing around, are shown as `\u{1b}`. Line ends and tabs stay.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\r' => safe.push_str("\\r"),
            '\0' => safe.push_str("\\0"),
            c if is_unsafe(c) => {
                write!(safe, "\\u{{{:x}}}", u32::from(c)).expect("a `String` takes all");
            }
            c => safe.push(c),
        }
    }
    safe.into()
}

/// As [`escaped`], for one entry of a log: no line of the text can be taken for an entry of its own.
pub(crate) fn log_text(text: &str) -> Cow<'_, str> {
    let text = escaped(text);
    if text.contains('\n') { text.replace('\n', CONTINUATION).into() } else { text }
}

/// Whether a terminal or a log viewer acts on this character; on ends of lines and tabs they may.
pub(crate) fn is_unsafe(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Marks, embeddings, overrides and isolates of direction; ends of lines and paragraphs.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown_and_all_else_stays() {
        for (text, shown) in [
            ("plain, ünïcödé, 漢字\ttab", "plain, ünïcödé, 漢字\ttab"),
            ("\0\r\u{1b}[31m\u{7f}\u{9b}2J", "\\0\\r\\u{1b}[31m\\u{7f}\\u{9b}2J"),
            ("a\u{202e}b\u{2066}c\u{2028}d", "a\\u{202e}b\\u{2066}c\\u{2028}d"),
            ("one\ntwo", "one\ntwo"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        assert!(matches!(escaped("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn no_line_of_a_text_looks_like_an_entry_of_the_log() {
        assert_eq!(log_text("one\nERROR two"), "one\n    | ERROR two");
        assert_eq!(log_text("one"), "one");
    }
}
