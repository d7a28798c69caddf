//! The worst-case cost of calls of Luau's built-ins, in nanoseconds.
//!
//! Runs are stopped at safepoints, and built-ins have none: one that works for long must not begin when the run has
//! too little time left. The figures are about twice what was measured on a 2-core x86-64 machine. They only
//! matter for calls that take milliseconds; all others begin without reading the clock.

/// Nanoseconds that one step of a run stands for.
pub(crate) const STEP_NANOS: u64 = 10;

/// A call that costs less begins without reading the clock, in nanoseconds.
pub(super) const FREE: usize = 1_000_000;

/// The cost to read a byte of a string as a number. Digits take a third of that, some strings three quarters.
pub(super) const READ: usize = 2;

/// Nobody writes a number with more bytes.
pub(super) const LONGEST_NUMBER: usize = 1000;
/// A call that costs less is one step of its run, in nanoseconds.
pub(super) const UNCOUNTED: usize = 1_000;

/// A search whose subject times pattern is shorter is always cheap, in bytes squared.
const SHORT_SEARCH: usize = 100_000;

/// A longer string is not inspected to estimate a call: it is taken to be the worst, in bytes.
const LONG: usize = 65_536;

/// The most captures that a pattern can have.
const MAX_CAPTURES: usize = 32;

/// `string.find(subject, pattern, init, plain)` and the like. For a pattern, the most between two safepoints.
pub(super) fn search(subject: &[u8], pattern: &[u8], plain: bool) -> usize {
    // Luau scans all of it to find out whether it is a pattern.
    let read = pattern.len() / 2;
    if subject.len().saturating_mul(pattern.len()) < SHORT_SEARCH {
        return read;
    }
    if plain || is_plain(pattern) {
        return plain_search(subject, pattern).saturating_add(read);
    }
    pattern_step(subject.len(), pattern)
}

/// Whether a pattern has no special characters. Long ones are not inspected.
pub(super) fn is_plain(pattern: &[u8]) -> bool {
    pattern.len() <= LONG && !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

/// A plain search: compares wherever the first byte matches.
fn plain_search(subject: &[u8], text: &[u8]) -> usize {
    let compared = 10 + text.len() / 16;
    let worst = subject.len().saturating_mul(compared);
    let read = subject.len() / 4;
    if worst < FREE {
        return worst.saturating_add(read);
    }
    let first = text.first();
    let met = subject.iter().filter(|byte| Some(*byte) == first).count();
    met.saturating_mul(compared).saturating_add(read)
}

/// One step of a search for a pattern: the most of the subject that may be scanned between two safepoints, and the
/// captures.
fn pattern_step(subject: usize, pattern: &[u8]) -> usize {
    let (set, captures) = if pattern.len() > LONG {
        (pattern.len(), MAX_CAPTURES)
    } else {
        let captures = pattern.iter().filter(|byte| **byte == b'(').count();
        (longest_set(pattern), captures.min(MAX_CAPTURES))
    };
    let matched = subject.saturating_add(2).saturating_mul(3 + set * 3 / 4 + captures / 2);
    matched.saturating_add(pattern.len().saturating_mul(6))
}

/// `string.format` with so many arguments: a number with 99 places and 300 digits before them takes 10 µs.
pub(super) fn format(text: &[u8], arguments: usize) -> usize {
    let has_floats = || text.len() > LONG || text.iter().any(|byte| b"eEfgG".contains(byte));
    let each = if arguments > 50 && has_floats() { 10_000 } else { 200 };
    arguments.saturating_mul(each).saturating_add(text.len())
}

/// Whether a format of `string.unpack` asks for strings. Long ones are not inspected.
pub(super) fn has_texts(format: &[u8]) -> bool {
    format.len() > LONG || format.iter().any(|byte| b"szc".contains(byte))
}

/// The strings that a call of `string.format`, `pack` or `unpack` makes, at most `most`. Each is looked up in the
/// table of all strings, and all their hashes may collide on purpose.
pub(super) fn interned(format: &[u8], most: usize) -> usize {
    let most = most.min(format.len());
    let count = if format.len() > LONG {
        most
    } else {
        format.iter().filter(|byte| b"sqzc".contains(byte)).count().min(most)
    };
    count.saturating_mul(count)
}

/// Stepping over so many characters of UTF-8. A malformed one may have any length.
pub(super) fn characters<'b>(
    bytes: impl ExactSizeIterator<Item = &'b u8> + Clone,
    count: usize,
) -> usize {
    let well_formed = count.saturating_mul(4);
    let begin = |byte: &&u8| **byte & 0xC0 != 0x80;
    let soon = well_formed < LONG && bytes.clone().take(well_formed).filter(begin).count() >= count;
    if soon { well_formed.min(bytes.len()) } else { bytes.len() }
}

/// One replacement of `string.gsub` by a string.
pub(super) fn replacement(subject: usize, text: &[u8]) -> usize {
    if text.len() < 1000 {
        return 0;
    }
    let captures = text.iter().filter(|byte| **byte == b'%').count();
    // What captures add must fit into memory, which bounds the time.
    let added = captures.saturating_mul(subject).min(16 << 20);
    text.len() + 50 * captures + added / 2
}

/// `string.pack` and its like: every option, and every byte of padding that numbers in the format ask for.
pub(super) fn packing(format: &[u8]) -> usize {
    let mut number = 0_usize;
    let mut padding = 0_usize;
    for byte in format {
        match byte {
            b'0'..=b'9' => {
                number = number.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
            }
            _ => padding = padding.saturating_add(std::mem::take(&mut number)),
        }
    }
    let padding = padding.saturating_add(number);
    format.len().saturating_mul(10).saturating_add(padding)
}

/// A native sort of so many numbers, or texts of at most so many bytes.
pub(super) fn sort(count: usize, text: usize) -> usize {
    let steps = count.saturating_mul(2 * (usize::BITS - count.leading_zeros()) as usize);
    steps.saturating_mul(4 + text / 32)
}

/// The bytes of the longest `[set]` in a pattern.
fn longest_set(pattern: &[u8]) -> usize {
    let mut longest = 0;
    let mut at = 0;
    while at < pattern.len() {
        match pattern[at] {
            b'%' => at += 2,
            b'[' => {
                let start = at;
                at += 1;
                if pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                // The first byte belongs to the set whatever it is.
                loop {
                    at += if pattern.get(at) == Some(&b'%') { 2 } else { 1 };
                    if pattern.get(at).is_none_or(|byte| *byte == b']') {
                        break;
                    }
                }
                longest = longest.max(at.min(pattern.len()) - start);
            }
            _ => at += 1,
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_set_of_a_pattern_is_found_whatever_is_in_it() {
        for (pattern, bytes) in [
            ("", 0),
            ("abc%d+", 0),
            ("[abc]", 4),
            ("[]]x", 2),
            ("[^]]", 3),
            ("[%]a]b[c]", 4),
            ("%[abc]", 0),
            ("[abc", 4),
            ("[", 1),
            ("[%", 2),
        ] {
            assert_eq!(longest_set(pattern.as_bytes()), bytes, "{pattern}");
        }
    }

    #[test]
    fn ordinary_calls_are_free_and_enormous_ones_are_not() {
        let words = "the quick brown fox ".repeat(500);
        let book = words.repeat(100);
        assert!(search(words.as_bytes(), b"%a+ly[%s,.]", false) < FREE);
        assert!(search(book.as_bytes(), b"jumps over", true) < FREE);
        assert!(format(b"%d %s %5.2f", 3) < FREE && format(b"%d", 1000) < FREE);
        assert!(sort(5000, 0) < 2 * FREE && sort(1000, 20) < FREE);
        assert!(packing(b"<I4I4I4s2z!8d") < FREE);
        assert!(replacement(words.len(), b"%1, %2") < FREE);
        assert!(interned("%s ".repeat(500).as_bytes(), 500) < FREE);
        assert!(search(words.as_bytes(), b"([^%s]+)%s+([^%s]+)", false) < FREE);

        let set = format!("[{}]*x", "a".repeat(2700));
        let same = vec![b'a'; 2_000_000];
        assert!(search(&same[..10_000], set.as_bytes(), false) > FREE);
        assert!(search(&same, &same[..1_000_000], true) > 1000 * FREE);
        assert!(format(b"%.99f", 7000) > 10 * FREE);
        assert!(sort(500_000, 0) > FREE && sort(1000, 1_000_000) > FREE);
        assert!(packing(b"c999999999999999999999999") > FREE);
        assert!(packing(&[b' '; 1_000_000]) > FREE);
        assert!(replacement(10, &[b'%'; 1_000_000]) > 10 * FREE);
        assert!(search(b"x", &same, false) > FREE && search(b"", &same, true) >= FREE);
        assert!(search(&same, b"((((.*))))", false) > 5 * FREE);
        assert!(interned("c12".repeat(10_000).as_bytes(), usize::MAX) > 50 * FREE);
    }

    #[test]
    fn characters_are_counted_as_far_as_they_are_stepped_over() {
        let bytes = "aä€".repeat(10_000);
        let of = |count| characters(bytes.as_bytes().iter(), count);
        assert!(of(1) == 4 && of(100) == 400 && of(1 << 20) == bytes.len());
        let malformed = vec![0x80; 100_000];
        assert_eq!(characters(malformed.iter(), 1), malformed.len());
        assert_eq!(characters([].iter(), 1), 0);
    }

    #[test]
    fn a_long_pattern_without_a_set_costs_what_the_subject_costs() {
        assert!(pattern_step(300_000, "a*b*".repeat(100).as_bytes()) < FREE);
    }
}
