//! Texts that would take long to be read as numbers.
//!
//! Where arithmetic gets a text, Luau reads it as a number: `"9" + 1` is 10. It goes through all of the digits with C's
//! `strtod`, at some 3.3 ns each, in one instruction that reaches no safepoint. So no script can make a text that has
//! too many of them in a row. What is looked for is all that `strtod` goes through: digits, hexadecimal ones after
//! `0x`, white space in front, and the letters in `nan(…)`.
//!
//! A part of a text has no longer row than the whole. So it is where texts are put together that they are looked at:
//! in built-ins that do it, and after each `..`.

/// The most that `strtod` may have to go through in a row, in bytes: 0.16 ms.
pub(super) const MOST: usize = 48 * 1024;

/// What can be in a row.
struct Kind {
    belongs: fn(u8) -> bool,
    /// What is in front, in small letters; without it nothing would go through the row.
    in_front: &'static [u8],
}

const KINDS: [Kind; 4] = [
    Kind { belongs: |byte| byte.is_ascii_digit() || byte == b'.', in_front: b"" },
    Kind { belongs: |byte| byte.is_ascii_hexdigit() || byte == b'.', in_front: b"0x" },
    Kind { belongs: |byte| byte.is_ascii_whitespace() || byte == 0x0b, in_front: b"" },
    Kind { belongs: |byte| byte.is_ascii_alphanumeric() || byte == b'_', in_front: b"nan(" },
];

/// The longest row in a text that is longer than [`MOST`], if there is one.
pub(super) fn longest(text: &[u8]) -> Option<usize> {
    if text.len() <= MOST {
        return None;
    }
    KINDS.iter().filter_map(|kind| kind.longest(text)).max()
}

impl Kind {
    fn longest(&self, text: &[u8]) -> Option<usize> {
        let mut longest = None;
        // All before is known.
        let mut known = 0;
        // A row that is too long covers one of these places.
        for place in (0..text.len()).step_by(MOST) {
            if place < known || !(self.belongs)(text[place]) {
                continue;
            }
            let before = text[..place].iter().rev().take_while(|byte| (self.belongs)(**byte));
            let begin = place - before.count();
            let after = text[place..].iter().take_while(|byte| (self.belongs)(**byte));
            known = place + after.count();
            let row = known - begin;
            let (front, _) = text.split_at(begin);
            let front = &front[begin.saturating_sub(self.in_front.len())..];
            if row > MOST && front.eq_ignore_ascii_case(self.in_front) {
                longest = longest.max(Some(row));
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(front: &str, piece: &str, length: usize, behind: &str) -> Vec<u8> {
        let mut text = front.as_bytes().to_vec();
        text.extend(piece.bytes().cycle().take(length));
        text.extend(behind.bytes());
        text
    }

    #[test]
    fn what_strtod_would_go_through_is_found_wherever_it_is() {
        for (front, piece) in [
            ("x", "9"),
            ("..-", "1.5"),
            (" 0x", "9aFe."),
            ("a", " \t\r\n\u{b}\u{c}"),
            ("NaN(", "x_9"),
        ] {
            for shift in [0, 1, MOST - 1, MOST, 100_000] {
                let front = "-".repeat(shift) + front;
                assert_eq!(longest(&text(&front, piece, MOST, "-")), None, "{piece} at {shift}");
                let found = longest(&text(&front, piece, MOST + 1, "-"));
                // The zero of `0x` isn't one of the row.
                assert!(found.is_some_and(|row| row >= MOST + 1), "{piece} at {shift}: {found:?}");
            }
        }
    }

    #[test]
    fn ordinary_texts_are_none_however_long() {
        let source = include_str!("numerals.rs").repeat(20);
        assert_eq!(longest(source.as_bytes()), None);
        // Without what makes a number of it.
        assert_eq!(longest(&text("", "deadbeef", 200_000, "")), None);
        assert_eq!(longest(&text("", "abc_", 200_000, "")), None);
        assert_eq!(longest(&text("", "1,2,3 ", 200_000, "")), None);
        assert_eq!(longest(&text("", "0110\n", 200_000, "")), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_row_is_found_as_by_looking_at_every_byte(
            pieces in prop::collection::vec((prop::sample::select(vec!["7", "f", " ", "0x", "nan(", "-"]), 0..90_000_usize), 1..6)
        ) {
            let text: Vec<u8> =
                pieces.iter().flat_map(|(piece, length)| piece.bytes().cycle().take(*length)).collect();
            let slow = KINDS.iter().flat_map(|kind| {
                let text = &text;
                let starts = (0..text.len()).filter(move |at| {
                    (kind.belongs)(text[*at]) && (*at == 0 || !(kind.belongs)(text[at - 1]))
                });
                starts.filter_map(move |at| {
                    let row = text[at..].iter().take_while(|byte| (kind.belongs)(**byte)).count();
                    let front = &text[at.saturating_sub(kind.in_front.len())..at];
                    (row > MOST && front.eq_ignore_ascii_case(kind.in_front)).then_some(row)
                })
            });
            prop_assert_eq!(longest(&text), slow.max());
        }
    }
}
