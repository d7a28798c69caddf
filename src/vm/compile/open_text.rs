//! Whether a source ends within a string or a comment that more text can finish.
//!
//! Luau's messages don't tell: a long string without an end has the same one as a short string whose line is over, and
//! only the first can go on. The rules are those of Luau's `Lexer.cpp`.

/// Within what a source ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenText {
    /// A string or a comment that this would end.
    Text(String),
    /// An expression in an interpolated string.
    Expression,
}

/// How a part of a source is over, and what follows it.
enum TextEnd<'s> {
    /// By its end.
    Closed(&'s [u8]),
    /// By the `{` of an expression in an interpolated string.
    Expression(&'s [u8]),
    /// The line is over: nothing that comes can finish it.
    Broken,
    /// The source is over, and the next line belongs to the part, which this would end.
    Open(String),
}

/// Within what a source ends that more text can finish: a long string or comment, a string that goes on in the next
/// line, or an expression in an interpolated string. `None` also if an earlier string is broken.
pub(super) fn open_text(source: &str) -> Option<OpenText> {
    let mut rest = source.as_bytes();
    // Of each brace that is open: whether it is that of an interpolated string.
    let mut braces = Vec::new();
    loop {
        let end = match rest {
            [] => return braces.contains(&true).then_some(OpenText::Expression),
            [b'-', b'-', comment @ ..] => match long_bracket(comment) {
                Some((level, text)) => long_text(text, level),
                None => TextEnd::Closed(line_end(comment)),
            },
            [b'[', other @ ..] => match long_bracket(rest) {
                Some((level, text)) => long_text(text, level),
                None => TextEnd::Closed(other),
            },
            [quote @ (b'"' | b'\'' | b'`'), text @ ..] => short_text(text, *quote),
            [b'{', other @ ..] => {
                braces.push(false);
                TextEnd::Closed(other)
            }
            [b'}', other @ ..] => match braces.pop() {
                Some(true) => short_text(other, b'`'),
                _ => TextEnd::Closed(other),
            },
            [_, other @ ..] => TextEnd::Closed(other),
        };
        rest = match end {
            TextEnd::Closed(rest) => rest,
            TextEnd::Expression(rest) => {
                braces.push(true);
                rest
            }
            TextEnd::Broken => return None,
            TextEnd::Open(closing) => return Some(OpenText::Text(closing)),
        };
    }
}

/// The number of `=` in a `[==[`, and what follows it.
fn long_bracket(text: &[u8]) -> Option<(usize, &[u8])> {
    let text = text.strip_prefix(b"[")?;
    let level = text.iter().take_while(|byte| **byte == b'=').count();
    Some((level, text[level..].strip_prefix(b"[")?))
}

/// Goes to the end of a long string or comment.
fn long_text(mut text: &[u8], level: usize) -> TextEnd<'_> {
    while let Some(at) = memchr::memchr(b']', text) {
        text = &text[at + 1..];
        let equals = text.iter().take_while(|byte| **byte == b'=').count();
        if equals == level
            && let Some(rest) = text[equals..].strip_prefix(b"]")
        {
            return TextEnd::Closed(rest);
        }
    }
    TextEnd::Open(format!("]{}]", "=".repeat(level)))
}

fn line_end(text: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'\n', b'\r', text).unwrap_or(text.len());
    &text[end..]
}

/// Goes to the end of a string in quotes, or of a part of an interpolated string.
fn short_text(mut text: &[u8], quote: u8) -> TextEnd<'_> {
    loop {
        text = match text {
            [] | [b'\n' | b'\r', ..] => return TextEnd::Broken,
            [b'\\'] => return TextEnd::Open(format!("\n{}", char::from(quote))),
            [b'\\', b'\n' | b'\r'] | [b'\\', b'\r', b'\n'] => {
                return TextEnd::Open(char::from(quote).into());
            }
            [b'\\', b'\r', b'\n', rest @ ..] => rest,
            [b'\\', b'z', rest @ ..] => match rest.trim_ascii_start() {
                [] => return TextEnd::Open(char::from(quote).into()),
                rest => rest,
            },
            // Its brace begins no expression.
            [b'\\', b'u', b'{', rest @ ..] => rest,
            [b'\\', _, rest @ ..] => rest,
            [b'{', rest @ ..] if quote == b'`' => return TextEnd::Expression(rest),
            [byte, rest @ ..] if *byte == quote => return TextEnd::Closed(rest),
            [_, rest @ ..] => rest,
        };
    }
}
