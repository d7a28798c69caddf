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

/// What can be in a row. A parameter, so that the compiler sees what it looks for: it takes many bytes at once.
type Kind = u8;

const DIGITS: Kind = 0;
const HEXADECIMAL: Kind = 1;
const SPACES: Kind = 2;
const LETTERS: Kind = 3;

const fn belongs<const KIND: Kind>(byte: u8) -> bool {
    match KIND {
        DIGITS => byte.is_ascii_digit() | (byte == b'.'),
        HEXADECIMAL => byte.is_ascii_hexdigit() | (byte == b'.'),
        SPACES => byte.is_ascii_whitespace() | (byte == 0x0b),
        _ => byte.is_ascii_alphanumeric() | (byte == b'_'),
    }
}

/// What is in front of a row, in small letters; without it nothing would go through the row.
const fn in_front<const KIND: Kind>() -> &'static [u8] {
    match KIND {
        HEXADECIMAL => b"0x",
        LETTERS => b"nan(",
        _ => b"",
    }
}

/// Whether a text has a row that is longer than [`MOST`].
pub(super) fn is_long(text: &[u8]) -> bool {
    const ENOUGH: usize = MOST + 1;
    text.len() > MOST
        && (rows::<DIGITS>(text, ENOUGH).next().is_some()
            || rows::<HEXADECIMAL>(text, ENOUGH).next().is_some()
            || rows::<SPACES>(text, ENOUGH).next().is_some()
            || rows::<LETTERS>(text, ENOUGH).next().is_some())
}

/// The longest row in a text, of those that are longer than [`MOST`].
pub(super) fn longest(text: &[u8]) -> Option<usize> {
    const ALL: usize = usize::MAX;
    let numbers = rows::<DIGITS>(text, ALL).chain(rows::<HEXADECIMAL>(text, ALL));
    numbers.chain(rows::<SPACES>(text, ALL)).chain(rows::<LETTERS>(text, ALL)).max()
}

/// Bytes between two that are looked at to find where a row may be.
const STEP: usize = MOST / 64;
/// So many of those a row covers at least that is too long.
const COVERED: usize = MOST / STEP;

/// The rows that are longer than [`MOST`], from front to back: how long each is, or so much if it is longer.
fn rows<const KIND: Kind>(text: &[u8], enough: usize) -> impl Iterator<Item = usize> {
    // All before is known.
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

/// Where the next row may begin: right after what ends what is in front of one.
fn next_front<const KIND: Kind>(text: &[u8]) -> usize {
    let end = match KIND {
        HEXADECIMAL => memchr::memchr2(b'x', b'X', text),
        _ => memchr::memchr(b'(', text),
    };
    end.map_or(text.len(), |end| end + 1)
}

/// The first place from `known` on that may be in a row which is too long.
fn covered<const KIND: Kind>(text: &[u8], known: usize) -> Option<usize> {
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

/// How many bytes at the beginning belong together, or some more than so many.
fn length<const KIND: Kind>(text: &[u8], enough: usize) -> usize {
    let (blocks, rest) = text.as_chunks::<64>();
    // Without a way out, so that a block is looked at all at once.
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
            fn slow<const KIND: Kind>(text: &[u8]) -> Option<usize> {
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
