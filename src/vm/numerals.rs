//! Strings that would take long to be read as numbers.
//!
//! Where arithmetic gets a string, Luau reads it as a number: `"9" + 1` is 10. It does so with C's `strtod`, which goes
//! through all digits at some 3.3 ns each, within one instruction and without a safepoint. So no script may make a
//! string with too many digits in a row. Everything that `strtod` goes through counts: digits, hexadecimal digits after
//! `0x`, leading white space, and the letters in `nan(…)`.
//!
//! No part of a string has a longer row than the whole. So strings are checked where they are made: in built-ins that
//! join them, and after each `..`.

/// The longest row that is allowed, in bytes: `strtod` takes 0.16 ms for it.
pub(super) const MOST: usize = 48 * 1024;

/// What a row is made of. It is a const parameter, so that the compiler can vectorize the search.
type RowKind = u8;

const DIGITS: RowKind = 0;
const HEXADECIMAL: RowKind = 1;
const SPACES: RowKind = 2;
const LETTERS: RowKind = 3;

const fn belongs<const KIND: RowKind>(byte: u8) -> bool {
    match KIND {
        DIGITS => byte.is_ascii_digit() | (byte == b'.'),
        HEXADECIMAL => byte.is_ascii_hexdigit() | (byte == b'.'),
        SPACES => byte.is_ascii_whitespace() | (byte == 0x0b),
        _ => byte.is_ascii_alphanumeric() | (byte == b'_'),
    }
}

/// What must stand before a row, in lower case, for `strtod` to go through it.
const fn in_front<const KIND: RowKind>() -> &'static [u8] {
    match KIND {
        HEXADECIMAL => b"0x",
        LETTERS => b"nan(",
        _ => b"",
    }
}

/// Whether a string has a row longer than [`MOST`].
pub(super) fn is_long(text: &[u8]) -> bool {
    const ENOUGH: usize = MOST + 1;
    text.len() > MOST
        && (rows::<DIGITS>(text, ENOUGH).next().is_some()
            || rows::<HEXADECIMAL>(text, ENOUGH).next().is_some()
            || rows::<SPACES>(text, ENOUGH).next().is_some()
            || rows::<LETTERS>(text, ENOUGH).next().is_some())
}

/// The length of the longest row of a string, if it is longer than [`MOST`].
pub(super) fn longest(text: &[u8]) -> Option<usize> {
    const ALL: usize = usize::MAX;
    let numbers = rows::<DIGITS>(text, ALL).chain(rows::<HEXADECIMAL>(text, ALL));
    numbers.chain(rows::<SPACES>(text, ALL)).chain(rows::<LETTERS>(text, ALL)).max()
}

/// The distance between the bytes that are sampled to find rows.
const STEP: usize = MOST / 64;
/// The samples that a row which is too long covers at least.
const COVERED: usize = MOST / STEP;

/// The lengths of the rows that are longer than [`MOST`], from front to back. Counting may stop at `enough`.
fn rows<const KIND: RowKind>(text: &[u8], enough: usize) -> impl Iterator<Item = usize> {
    // All bytes before this one are done.
    let mut known = 0;
    std::iter::from_fn(move || {
        loop {
            let place = covered::<KIND>(text, known)?;
            let before = text[known..place].iter().rev();
            let begin = place - before.take_while(|byte| belongs::<KIND>(**byte)).count();
            let (front, row) = text.split_at(begin);
            let front = &front[begin.saturating_sub(in_front::<KIND>().len())..];
            if !front.eq_ignore_ascii_case(in_front::<KIND>()) {
                known = begin + next_front::<KIND>(row);
                continue;
            }
            let length = length::<KIND>(row, enough);
            known = begin + length;
            if length > MOST {
                return Some(length);
            }
        }
    })
}

/// Where the next row may begin: after the last byte of what must stand before one.
fn next_front<const KIND: RowKind>(text: &[u8]) -> usize {
    let end = match KIND {
        HEXADECIMAL => memchr::memchr2(b'x', b'X', text),
        _ => memchr::memchr(b'(', text),
    };
    end.map_or(text.len(), |end| end + 1)
}

/// The first sampled byte from `known` on that may be in a row which is too long.
fn covered<const KIND: RowKind>(text: &[u8], known: usize) -> Option<usize> {
    let mut place = known.next_multiple_of(STEP);
    let mut hits = 0;
    for at in (place..text.len()).step_by(STEP) {
        if !belongs::<KIND>(text[at]) {
            (place, hits) = (at + STEP, 0);
            continue;
        }
        hits += 1;
        if hits == COVERED {
            return Some(place);
        }
    }
    None
}

/// The length of the row at the beginning. Counting may stop at `enough`.
fn length<const KIND: RowKind>(text: &[u8], enough: usize) -> usize {
    let (blocks, rest) = text.as_chunks::<64>();
    // No early exit, so that the compiler vectorizes the check of a block.
    let all = |block: &[u8]| block.iter().fold(true, |all, byte| all & belongs::<KIND>(*byte));
    let some = |part: &[u8]| part.iter().take_while(|byte| belongs::<KIND>(**byte)).count();
    for (number, block) in blocks.iter().enumerate() {
        let before = 64 * number;
        if before >= enough {
            return before;
        }
        if !all(block) {
            return before + some(block);
        }
    }
    64 * blocks.len() + some(rest)
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
                let just = text(&front, piece, MOST, "-");
                assert!(!is_long(&just) && longest(&just).is_none(), "{piece} at {shift}");
                assert!(is_long(&text(&front, piece, MOST + 1, "-")), "{piece} at {shift}");
                let found = longest(&text(&front, piece, MOST + 1, "-"));
                // The zero of `0x` isn't one of the row.
                assert!(found.is_some_and(|row| row > MOST), "{piece} at {shift}: {found:?}");
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
            fn slow<const KIND: RowKind>(text: &[u8]) -> Option<usize> {
                let begins = (0..text.len()).filter(|at| {
                    belongs::<KIND>(text[*at]) && (*at == 0 || !belongs::<KIND>(text[at - 1]))
                });
                let rows = begins.filter_map(|at| {
                    let row = text[at..].iter().take_while(|byte| belongs::<KIND>(**byte)).count();
                    let front = &text[at.saturating_sub(in_front::<KIND>().len())..at];
                    (row > MOST && front.eq_ignore_ascii_case(in_front::<KIND>())).then_some(row)
                });
                rows.max()
            }
            let numbers = slow::<DIGITS>(&text).max(slow::<HEXADECIMAL>(&text));
            let slow = numbers.max(slow::<SPACES>(&text)).max(slow::<LETTERS>(&text));
            prop_assert_eq!(is_long(&text), slow.is_some());
            prop_assert_eq!(longest(&text), slow);
        }
    }
}
