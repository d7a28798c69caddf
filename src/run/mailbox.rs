//! [`Mailbox`]: messages that wait for the scripts of entities, within bounds.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bevy::platform::collections::HashMap;
use bevy::prelude::{Entity, Resource};
use smallvec::SmallVec;

use crate::bindings::{Amount, Backlog, Mail, OF_A_PAIR};
use crate::run::order::order;
use crate::run::sweep::ByEntity;

/// A message on its way to the scripts of an entity.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) mail: Arc<Mail>,
    /// The scripts that still have to take it.
    places: Places,
    /// The hash of the name of the script that sent it; 0: the game did.
    from: u64,
    /// Roughly the bytes that it takes.
    size: u32,
}

impl Delivery {
    /// A message that a script sent, by the hash of its name.
    pub(crate) fn new(mail: Mail, from: u64) -> Self {
        let size = size_of::<Self>() + size_of::<Mail>() + mail.name.len() + mail.payload.size();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self { mail: Arc::new(mail), places: Places::All, from, size }
    }

    /// Whether the script at this place is to take it.
    pub(crate) fn is_for(&self, slot: usize) -> bool {
        self.places.contain(slot)
    }

    fn amount(&self) -> Amount {
        Amount { count: 1, bytes: self.size as usize }
    }
}

impl ByEntity for Delivery {
    #[inline]
    fn entity(&self) -> Entity {
        self.mail.to
    }
}

/// The places of scripts on an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Places {
    All,
    /// A bit for each.
    Of(SmallVec<[u64; 1]>),
}

impl Places {
    const NONE: Self = Self::Of(SmallVec::new_const());

    fn contain(&self, slot: usize) -> bool {
        match self {
            Self::All => true,
            Self::Of(bits) => bits.get(slot / 64).is_some_and(|bits| bits >> (slot % 64) & 1 > 0),
        }
    }

    fn add(&mut self, slot: usize) {
        if let Self::Of(bits) = self {
            if bits.len() <= slot / 64 {
                bits.resize(slot / 64 + 1, 0);
            }
            bits[slot / 64] |= 1 << (slot % 64);
        }
    }
}

/// The messages that are delivered in a stage, sorted by receiver, and who of them has to wait on for which of
/// its receiver's scripts. However many these are, it stays one message.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    all: Vec<Delivery>,
    /// The scripts that don't take them in this stage, by the numbers of the deliveries.
    left: Vec<Places>,
}

impl Deliveries {
    pub(super) fn of(mut all: Vec<Delivery>) -> Self {
        all.sort_by_key(|delivery| order(delivery.mail.to));
        let left = vec![Places::NONE; all.len()];
        Self { all, left }
    }

    /// The script at a place takes so many of the messages in a range that are for it, and no more in this stage.
    pub(super) fn leave(&mut self, range: Range<u32>, slot: usize, taken: usize) {
        let range = range.start as usize..range.end as usize;
        let all = self.all[range.clone()].iter().zip(&mut self.left[range]);
        let for_it = all.filter(|(delivery, _)| delivery.is_for(slot));
        for_it.skip(taken).for_each(|(_, left)| left.add(slot));
    }

    /// No script takes any of the messages in a range in this stage.
    pub(super) fn leave_all(&mut self, range: Range<u32>) {
        for number in range.start as usize..range.end as usize {
            self.left[number] = self.all[number].places.clone();
        }
    }

    /// The messages to an entity.
    pub(super) fn to(&self, entity: Entity) -> Range<u32> {
        if self.all.is_empty() {
            return 0..0;
        }
        let key = order(entity);
        let start = self.all.partition_point(|delivery| order(delivery.mail.to) < key);
        let to_it = self.all[start..].partition_point(|delivery| order(delivery.mail.to) == key);
        // The mailbox holds fewer than that.
        start as u32..(start + to_it) as u32
    }

    /// What waits on, as far as that is known.
    fn waiting(&self) -> impl Iterator<Item = &Delivery> {
        let waits = self.all.iter().zip(&self.left).filter(|(_, left)| **left != Places::NONE);
        waits.map(|(delivery, _)| delivery)
    }

    /// Tells what waits for entities that take nothing, as far as it is so much that it matters.
    pub(super) fn tell(&self, backlog: &mut Backlog) {
        backlog.clear();
        let all: Amount = self.waiting().map(Delivery::amount).sum();
        if all.count < OF_A_PAIR.count && all.is_within(OF_A_PAIR) {
            return;
        }
        for delivery in self.waiting() {
            if let Some(sender) = delivery.mail.sender {
                backlog.note(sender, delivery.mail.to, delivery.amount());
            }
        }
    }

    /// Takes out what waits on, in order; the rest is gone.
    fn take_waiting(&mut self) -> impl Iterator<Item = Delivery> {
        let all = self.all.drain(..).zip(self.left.drain(..));
        let waits = all.filter(|(_, left)| *left != Places::NONE);
        waits.map(|(delivery, places)| Delivery { places, ..delivery })
    }
}

impl Deref for Deliveries {
    type Target = [Delivery];

    fn deref(&self) -> &[Delivery] {
        &self.all
    }
}

/// Messages that wait for the next stage, in the order in which they were sent.
///
/// There are bounds to how many there are, and to their bytes. What is over is refused to its sender: so who
/// floods one entity doesn't flood out what others send it, and no script what other scripts send.
#[derive(Resource, Default)]
pub(crate) struct Mailbox {
    pub(super) waiting: Vec<Delivery>,
    /// Messages of the game that were refused.
    dropped: u64,
}

const MIB: usize = 1024 * 1024;

/// What all messages of scripts may come to that wait, and apart from them all of the game.
const OF_ALL: Amount = Amount { count: 1 << 18, bytes: 32 * MIB };
/// What those may come to that one script sent, on all entities that carry it.
const OF_A_SCRIPT: Amount = Amount { count: 1 << 17, bytes: 16 * MIB };
/// What scripts may have sent to one entity.
const TO_AN_ENTITY: Amount = Amount { count: 1 << 14, bytes: 4 * MIB };

/// The bound that a message would have been over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    OfAll,
    OfAScript,
    ToAnEntity,
    OfAPair,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, Amount { count, bytes }) = match self {
            Self::OfAll => ("wait in all", OF_ALL),
            Self::OfAScript => ("of one script wait", OF_A_SCRIPT),
            Self::ToAnEntity => ("to one entity wait", TO_AN_ENTITY),
            Self::OfAPair => ("of one entity to another wait", OF_A_PAIR),
        };
        write!(f, "at most {count} messages {what}, of {bytes} bytes")
    }
}

/// Messages of one script that were refused for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The hash of the script's name.
    pub(crate) from: u64,
    /// The sender and the receiver of the first one, and the line that sent it, if that was noted.
    pub(crate) sender: Entity,
    pub(crate) to: Entity,
    pub(crate) line: Option<u32>,
    pub(crate) bound: Bound,
    pub(crate) count: u64,
}

impl Mailbox {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all that waits.
    pub(crate) fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts back what was taken and has to wait on: it goes before what was sent meanwhile. If the game sent much
    /// before the stage came to its end, the latest of that is dropped.
    pub(super) fn put_back(&mut self, deliveries: &mut Deliveries) {
        let sent_meanwhile = self.waiting.len();
        self.waiting.splice(0..0, deliveries.take_waiting());
        if sent_meanwhile == 0 {
            return;
        }
        let all = self.waiting.len();
        let mut of_game = Amount::default();
        self.waiting.retain(|waiting| waiting.from != 0 || of_game.add(waiting.amount(), OF_ALL));
        self.dropped += (all - self.waiting.len()) as u64;
    }

    /// Takes what the game sends. What is over the bound is dropped.
    pub(crate) fn put_of_game(&mut self, mail: impl Iterator<Item = Mail>) {
        let of_game = self.waiting.iter().filter(|waiting| waiting.from == 0);
        let mut all = of_game.map(Delivery::amount).sum::<Amount>();
        for mail in mail {
            let delivery = Delivery::new(mail, 0);
            if all.add(delivery.amount(), OF_ALL) {
                self.waiting.push(delivery);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Takes what scripts send, as far as there is room; gives what is refused.
    pub(crate) fn put(&mut self, new: Vec<Delivery>) -> Vec<Refused> {
        if new.is_empty() {
            return Vec::new();
        }
        let of = |deliveries: &[Delivery]| deliveries.iter().map(Delivery::amount).sum::<Amount>();
        // Nearly always all of it is less than what one entity may send to another.
        let all = [of(&self.waiting), of(&new)].into_iter().sum::<Amount>();
        if all.is_within(OF_A_PAIR) {
            self.waiting.extend(new);
            return Vec::new();
        }
        let mut tally = Tally::default();
        for waiting in self.waiting.iter().filter(|waiting| waiting.from != 0) {
            tally.note(waiting);
        }
        let mut refused: Vec<Refused> = Vec::new();
        for delivery in new {
            let Err(bound) = tally.add(&delivery) else {
                self.waiting.push(delivery);
                continue;
            };
            let Delivery { from, ref mail, .. } = delivery;
            match refused.iter_mut().find(|known| (known.from, known.bound) == (from, bound)) {
                Some(known) => known.count += 1,
                None => {
                    let sender = mail.sender.unwrap_or(Entity::PLACEHOLDER);
                    let (to, line) = (mail.to, mail.line);
                    refused.push(Refused { from, sender, to, line, bound, count: 1 });
                }
            }
        }
        refused
    }

    /// How many messages were dropped since this was asked last.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// How much there is of all that has a bound.
#[derive(Default)]
struct Tally {
    all: Amount,
    scripts: HashMap<u64, Amount>,
    receivers: HashMap<Entity, Amount>,
    pairs: HashMap<(Entity, Entity), Amount>,
}

impl Tally {
    fn parts(&mut self, delivery: &Delivery) -> [(&mut Amount, Amount, Bound); 4] {
        let Delivery { mail, from, .. } = delivery;
        let sender = mail.sender.unwrap_or(Entity::PLACEHOLDER);
        [
            (self.pairs.entry((sender, mail.to)).or_default(), OF_A_PAIR, Bound::OfAPair),
            (self.receivers.entry(mail.to).or_default(), TO_AN_ENTITY, Bound::ToAnEntity),
            (self.scripts.entry(*from).or_default(), OF_A_SCRIPT, Bound::OfAScript),
            (&mut self.all, OF_ALL, Bound::OfAll),
        ]
    }

    /// Counts what waits already.
    fn note(&mut self, delivery: &Delivery) {
        for (amount, ..) in self.parts(delivery) {
            *amount = [*amount, delivery.amount()].into_iter().sum();
        }
    }

    /// Counts one more if it is within all bounds.
    fn add(&mut self, delivery: &Delivery) -> Result<(), Bound> {
        let parts = self.parts(delivery);
        let over = parts.iter().find(|(amount, most, _)| {
            ![**amount, delivery.amount()].into_iter().sum::<Amount>().is_within(*most)
        });
        if let Some((_, _, bound)) = over {
            return Err(*bound);
        }
        for (amount, most, _) in parts {
            amount.add(delivery.amount(), most);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ScriptValue;

    fn entity(index: u32) -> Entity {
        Entity::from_raw_u32(index).expect("a small index")
    }

    fn delivery(from: u64, sender: u32, to: u32, payload: &str) -> Delivery {
        let (name, payload) = (String::new(), payload.into());
        let mail = Mail { to: entity(to), name, payload, sender: Some(entity(sender)), line: None };
        Delivery::new(mail, from)
    }

    fn bounds(refused: &[Refused]) -> Vec<(u64, Bound, u64)> {
        refused.iter().map(|it| (it.from, it.bound, it.count)).collect()
    }

    #[test]
    fn who_floods_one_floods_out_neither_others_nor_the_game() {
        let mut mailbox = Mailbox::default();
        let flood = OF_A_PAIR.count + 100;
        let mut new: Vec<_> = (0..flood).map(|_| delivery(5, 7, 1, "flood")).collect();
        new.push(delivery(5, 8, 1, "from another"));
        new.push(delivery(5, 7, 2, "to another"));
        assert_eq!(bounds(&mailbox.put(new)), [(5, Bound::OfAPair, 100)]);
        assert_eq!(mailbox.waiting.len(), OF_A_PAIR.count + 2);
        let mail = Mail {
            to: entity(1),
            name: String::new(),
            payload: 1.0.into(),
            sender: None,
            line: None,
        };
        mailbox.put_of_game([mail].into_iter());
        assert_eq!(mailbox.waiting.len(), OF_A_PAIR.count + 3);
        // What waits counts.
        let new = vec![delivery(5, 7, 1, "one more"), delivery(5, 9, 1, "of a third")];
        assert_eq!(bounds(&mailbox.put(new)), [(5, Bound::OfAPair, 1)]);
    }

    #[test]
    fn each_bound_holds_in_count_and_in_bytes_and_for_ever() {
        let long = "x".repeat(60_000);
        // Which script's which entity sends to which.
        type Who = fn(u32) -> (u64, u32, u32);
        let cases: [(Who, Bound, Amount); 4] = [
            (|_| (1, 1, 1), Bound::OfAPair, OF_A_PAIR),
            (|n| (1, n, 1), Bound::ToAnEntity, TO_AN_ENTITY),
            (|n| (1, n, n), Bound::OfAScript, OF_A_SCRIPT),
            (|n| (u64::from(n % 5) + 1, n, n), Bound::OfAll, OF_ALL),
        ];
        for (who, bound, most) in cases {
            for payload in ["", &long] {
                let mut mailbox = Mailbox::default();
                let mut refused = 0;
                let (mut next, mut stages) = (0, 0);
                // All that is sent at once is in memory.
                let at_once = if payload.is_empty() { 60_000 } else { 600 };
                while refused < u64::from(at_once) {
                    let new: Vec<_> = (next..next + at_once)
                        .map(who)
                        .map(|(from, sender, to)| delivery(from, sender, to, payload))
                        .collect();
                    (next, stages) = (next + at_once, stages + 1);
                    let over = mailbox.put(new);
                    assert!(over.iter().all(|over| over.bound == bound), "{over:?}");
                    refused += over.iter().map(|over| over.count).sum::<u64>();
                    let all: Amount = mailbox.waiting.iter().map(Delivery::amount).sum();
                    assert!(all.is_within(most), "{all:?} after {stages} stages");
                }
            }
        }
    }

    #[test]
    fn what_the_game_sends_has_a_bound_of_its_own() {
        let mut mailbox = Mailbox::default();
        let payload = "x".repeat(MIB);
        let mail = |_| Mail {
            to: entity(1),
            name: String::new(),
            payload: payload.as_str().into(),
            sender: None,
            line: None,
        };
        mailbox.put_of_game((0..100).map(mail));
        assert_eq!(mailbox.waiting.len(), 31);
        assert_eq!(mailbox.take_dropped(), 69);
        assert_eq!(mailbox.put(vec![delivery(1, 1, 1, "of a script")]), []);
        assert_eq!(mailbox.take_dropped(), 0);
    }

    #[test]
    fn a_message_that_many_scripts_have_to_take_waits_once() {
        let mut mailbox = Mailbox::default();
        mailbox.put(vec![delivery(1, 7, 2, "b"), delivery(1, 7, 1, "a"), delivery(1, 7, 2, "c")]);
        for _ in 0..3 {
            let mut deliveries = Deliveries::of(mailbox.take());
            for slot in [0, 3, 70] {
                deliveries.leave(deliveries.to(entity(2)), slot, 0);
            }
            let mut backlog = Backlog::default();
            deliveries.tell(&mut backlog);
            assert_eq!(backlog.len(), 0, "it is little");
            mailbox.put(vec![delivery(1, 7, 2, "sent meanwhile")]);
            mailbox.put_back(&mut deliveries);
            let payloads = mailbox.waiting.iter().map(|waiting| waiting.mail.payload.clone());
            let expected = ["b", "c", "sent meanwhile"].map(ScriptValue::from);
            assert_eq!(payloads.collect::<Vec<_>>(), expected);
            let slots = |number: usize| {
                (0..200).filter(|slot| mailbox.waiting[number].is_for(*slot)).collect::<Vec<_>>()
            };
            assert_eq!((slots(0), slots(1)), (vec![0, 3, 70], vec![0, 3, 70]));
            assert_eq!(slots(2).len(), 200);
            mailbox.waiting.pop();
            mailbox.waiting.insert(0, delivery(1, 7, 1, "is taken"));
        }
    }

    #[test]
    fn what_waits_is_bounded_if_the_game_sends_and_no_stage_is_applied() {
        let mut mailbox = Mailbox::default();
        mailbox.put(vec![delivery(1, 1, 1, "of a script")]);
        for _ in 0..3 {
            let mut deliveries = Deliveries::of(mailbox.take());
            deliveries.leave_all(deliveries.to(entity(1)));
            let mail = |_| Mail {
                to: entity(1),
                name: String::new(),
                payload: 1.0.into(),
                sender: None,
                line: None,
            };
            mailbox.put_of_game((0..OF_ALL.count - 10).map(mail));
            mailbox.put_back(&mut deliveries);
            assert!(mailbox.waiting.len() <= OF_ALL.count + 1);
            assert_eq!(mailbox.waiting.iter().filter(|waiting| waiting.from == 1).count(), 1);
        }
        assert!(mailbox.take_dropped() > 0);
    }
}
