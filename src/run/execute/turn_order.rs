//! The order in which invocations have their turns, where some have to wait.

use std::cmp::Reverse;

use crate::run::frame::Frame;

/// For so many stages after one in which an invocation had to wait, another one goes first in each.
pub(super) const LATELY: u8 = 64;

/// The number of the invocation that has each turn; `None`: the turn is the number.
///
/// If no invocation has waited lately that is the stable order. Otherwise those that have waited longest go first.
/// Among those that have waited equally long another one goes first each time, so that it's not always the same ones
/// that are left over. And those of each descent are spread over the order: a descent of many doesn't keep the others
/// waiting.
pub(super) fn turn_order(frame: &Frame) -> Option<Vec<usize>> {
    // In the stable order, it would always be the last one that waits first.
    if !frame.any_waits && frame.crowded_lately[frame.stage as usize] == 0 {
        return None;
    }
    let invocations = &frame.invocations;
    let first = first_of(invocations.len(), frame.crowded[frame.stage as usize]);
    let mut order: Vec<usize> = (first..invocations.len()).chain(0..first).collect();
    order.sort_by_key(|invocation| Reverse(invocations[*invocation].waiting));
    if !frame.shares.is_empty() {
        let mut rounds = vec![0_u32; frame.shares.len()];
        let mut round = vec![0_u32; invocations.len()];
        for invocation in &order {
            if let Some(origin) =
                invocations[*invocation].more.as_ref().and_then(|more| more.origin)
            {
                let next = &mut rounds[origin as usize];
                round[*invocation] = *next;
                *next += 1;
            }
        }
        order.sort_by_key(|invocation| round[*invocation]);
    }
    Some(order)
}

/// Which of so many goes first the `nth` time. Multiples of the golden ratio spread evenly (Knuth, TAOCP
/// vol. 3, 6.4).
fn first_of(invocations: usize, nth: u64) -> usize {
    let spread = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(spread) * invocations as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use bevy::prelude::Entity;

    use super::*;
    use crate::run::invocation::{Invocation, InvocationExtras};

    fn frame(waiting: &[u32]) -> Frame {
        let entity = |index: usize| Entity::from_raw_u32(index as u32).expect("a small index");
        let invocation = |(index, waiting): (usize, &u32)| Invocation {
            waiting: *waiting,
            ..Invocation::new(entity(index), 0, 0)
        };
        let invocations = waiting.iter().enumerate().map(invocation).collect();
        let any_waits = waiting.iter().any(|waiting| *waiting > 0);
        Frame { invocations, any_waits, ..Frame::default() }
    }

    #[test]
    fn who_waited_longest_goes_first() {
        assert_eq!(turn_order(&frame(&[0, 0, 0])), None);
        assert_eq!(turn_order(&frame(&[0, 2, 1, 2])), Some(vec![1, 3, 2, 0]));
    }

    #[test]
    fn where_somebody_waited_lately_it_is_not_always_the_last_one_who_has_to() {
        let mut last = [0; 10];
        for crowded in 0..100 {
            let mut frame = frame(&[0; 10]);
            (frame.crowded[0], frame.crowded_lately[0]) = (crowded, 1);
            last[turn_order(&frame).expect("others go first")[9]] += 1;
        }
        assert!(last.iter().all(|times| (8..=12).contains(times)), "{last:?}");
    }

    #[test]
    fn of_all_that_waited_equally_long_each_is_first_equally_often() {
        for invocations in [2, 7, 12, 100] {
            let mut first = vec![0; invocations];
            for crowded in 0..invocations * 10 {
                let mut frame = frame(&vec![1; invocations]);
                frame.crowded[0] = crowded as u64;
                first[turn_order(&frame).expect("all wait")[0]] += 1;
            }
            assert!(first.iter().all(|times| (8..=12).contains(times)), "{first:?}");
        }
    }

    #[test]
    fn those_of_one_descent_take_turns_with_the_others() {
        let mut frame = frame(&[0, 3, 2, 1, 0, 1]);
        for child in [1, 2, 3] {
            let origin = frame.shares.count(Some(Entity::PLACEHOLDER));
            frame.invocations[child].more =
                Some(Box::new(InvocationExtras { origin, ..InvocationExtras::default() }));
        }
        assert_eq!(turn_order(&frame), Some(vec![1, 5, 0, 4, 2, 3]));
    }
}
