//! What calls of Luau's built-ins cost at worst, in nanoseconds.
//!
//! A run is stopped at safepoints, and a built-in has none: one that works for long must not begin when
//! the run has no time left for it. The figures are those of a slow machine with cold caches; they only
//! matter for calls that take milliseconds, all others are begun without a look at the clock.

/// A call that costs less is begun without a look at the clock, in nanoseconds.
pub(super) const FREE: usize = 1_000_000;

/// Subject times pattern below which a search needs no closer look, in bytes squared.
const SHORT_SEARCH: usize = 100_000;

/// A search for a text as it is.
pub(super) fn plain_search(subject: usize, text: usize) -> usize {
    subject.saturating_add(subject.saturating_mul(text) / 16)
}

/// One step of a search for a pattern: the most that a subject may be looked at between two safepoints.
pub(super) fn pattern_step(subject: usize, pattern: &[u8]) -> usize {
    subject.saturating_mul(2 + longest_set(pattern))
}

/// `string.find(subject, pattern, init, plain)` and its like.
pub(super) fn search(subject: usize, pattern: &[u8], plain: bool) -> usize {
    if subject.saturating_mul(pattern.len()) < SHORT_SEARCH {
        return 0;
    }
    if plain || !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte)) {
        return plain_search(subject, pattern.len());
    }
    pattern_step(subject, pattern)
}

/// One replacement by a text of `string.gsub`.
pub(super) fn replacement(subject: usize, text: &[u8]) -> usize {
    if text.len() < 1000 {
        return 0;
    }
    let captures = text.iter().filter(|byte| **byte == b'%').count();
    // What captures add must fit into memory, so that more of it does not take longer.
    let added = captures.saturating_mul(subject).min(16 << 20);
    2 * text.len() + 300 * captures + added / 2
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
    format.len().saturating_mul(20).saturating_add(padding.saturating_mul(2))
}

/// A native sort of so many numbers, or texts of at most so many bytes.
pub(super) fn sort(count: usize, text: usize) -> usize {
    let steps = count.saturating_mul(2 * (usize::BITS - count.leading_zeros()) as usize);
    steps.saturating_mul(15 + text / 8)
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
        assert!(search(words.len(), b"%a+ly[%s,.]", false) < FREE);
        assert!(search(words.len(), b"jumps over", true) < FREE);
        assert!(sort(5000, 0) < 2 * FREE && sort(1000, 20) < FREE);
        assert!(packing(b"<I4I4I4s2z!8d") < FREE);
        assert!(replacement(words.len(), b"%1, %2") < FREE);

        let set = format!("[{}]*x", "a".repeat(2700));
        assert!(search(10_000, set.as_bytes(), false) > FREE);
        assert!(search(2_000_000, "a".repeat(1_000_000).as_bytes(), true) > 1000 * FREE);
        assert!(sort(500_000, 0) > FREE && sort(1000, 1_000_000) > FREE);
        assert!(packing(b"c999999999999999999999999") > FREE);
        assert!(packing(&[b' '; 1_000_000]) > FREE);
        assert!(replacement(10, &[b'%'; 1_000_000]) > FREE);
    }

    #[test]
    fn a_long_pattern_without_a_set_costs_what_the_subject_costs() {
        assert!(pattern_step(100_000, "a*b*".repeat(100).as_bytes()) < FREE);
    }
}
