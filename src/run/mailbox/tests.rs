//! Limits of what waits, and messages that wait for some scripts of an entity.

use super::*;
use crate::bindings::Backlog;
use crate::run::mailbox::limits::{OF_A_SCRIPT, TO_AN_ENTITY};
use crate::value::ScriptValue;

fn entity(index: u32) -> Entity {
    Entity::from_raw_u32(index).expect("a small index")
}

fn queued(from: u64, sender: u32, to: u32, payload: &str) -> QueuedMail {
    let (name, payload) = (String::new(), payload.into());
    let mail = Mail { to: entity(to), name, payload, sender: Some(entity(sender)), line: None };
    QueuedMail::new(mail, from)
}

fn limits(refused: &[RefusedMail]) -> Vec<(u64, MailLimit, u64)> {
    refused.iter().map(|it| (it.from, it.limit, it.count)).collect()
}

#[test]
fn who_floods_one_floods_out_neither_others_nor_the_game() {
    let mut mailbox = Mailbox::default();
    let flood = OF_A_PAIR.count + 100;
    let mut new: Vec<_> = (0..flood).map(|_| queued(5, 7, 1, "flood")).collect();
    new.push(queued(5, 8, 1, "from another"));
    new.push(queued(5, 7, 2, "to another"));
    assert_eq!(limits(&mailbox.put(new)), [(5, MailLimit::OfAPair, 100)]);
    assert_eq!(mailbox.waiting.len(), OF_A_PAIR.count + 2);
    let mail =
        Mail { to: entity(1), name: String::new(), payload: 1.0.into(), sender: None, line: None };
    mailbox.put_of_game([mail].into_iter());
    assert_eq!(mailbox.waiting.len(), OF_A_PAIR.count + 3);
    // What waits counts.
    let new = vec![queued(5, 7, 1, "one more"), queued(5, 9, 1, "of a third")];
    assert_eq!(limits(&mailbox.put(new)), [(5, MailLimit::OfAPair, 1)]);
}

#[test]
fn each_limit_holds_in_count_and_in_bytes_and_for_ever() {
    let long = "x".repeat(60_000);
    // The script that sends, its entity and the receiver, of the nth message.
    type Route = fn(u32) -> (u64, u32, u32);
    let cases: [(Route, MailLimit, Amount); 4] = [
        (|_| (1, 1, 1), MailLimit::OfAPair, OF_A_PAIR),
        (|n| (1, n, 1), MailLimit::ToAnEntity, TO_AN_ENTITY),
        (|n| (1, n, n), MailLimit::OfAScript, OF_A_SCRIPT),
        (|n| (u64::from(n % 5) + 1, n, n), MailLimit::OfAll, OF_ALL),
    ];
    for (route, limit, most) in cases {
        for payload in ["", &long] {
            let mut mailbox = Mailbox::default();
            let mut refused = 0;
            let (mut next, mut stages) = (0, 0);
            // All that is sent at once is in memory.
            let at_once = if payload.is_empty() { 60_000 } else { 600 };
            while refused < u64::from(at_once) {
                let new: Vec<_> = (next..next + at_once)
                    .map(route)
                    .map(|(from, sender, to)| queued(from, sender, to, payload))
                    .collect();
                (next, stages) = (next + at_once, stages + 1);
                let over = mailbox.put(new);
                assert!(over.iter().all(|over| over.limit == limit), "{over:?}");
                refused += over.iter().map(|over| over.count).sum::<u64>();
                let all: Amount = mailbox.waiting.iter().map(QueuedMail::amount).sum();
                assert!(all.is_within(most), "{all:?} after {stages} stages");
            }
        }
    }
}

#[test]
fn what_the_game_sends_has_a_limit_of_its_own() {
    let mut mailbox = Mailbox::default();
    let payload = "x".repeat(1024 * 1024);
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
    assert_eq!(mailbox.put(vec![queued(1, 1, 1, "of a script")]), []);
    assert_eq!(mailbox.take_dropped(), 0);
}

#[test]
fn a_message_that_many_scripts_have_to_take_waits_once() {
    let mut mailbox = Mailbox::default();
    mailbox.put(vec![queued(1, 7, 2, "b"), queued(1, 7, 1, "a"), queued(1, 7, 2, "c")]);
    for _ in 0..3 {
        let mut stage_mail = StageMail::of(mailbox.take());
        for slot in [0, 3, 70] {
            stage_mail.leave(stage_mail.to(entity(2)), slot, 0);
        }
        let mut backlog = Backlog::default();
        stage_mail.note_backlog(&mut backlog);
        assert_eq!(backlog.len(), 0, "it is little");
        mailbox.put(vec![queued(1, 7, 2, "sent meanwhile")]);
        mailbox.put_back(&mut stage_mail);
        let payloads = mailbox.waiting.iter().map(|waiting| waiting.mail.payload.clone());
        let expected = ["b", "c", "sent meanwhile"].map(ScriptValue::from);
        assert_eq!(payloads.collect::<Vec<_>>(), expected);
        let slots = |number: usize| {
            (0..200).filter(|slot| mailbox.waiting[number].is_for(*slot)).collect::<Vec<_>>()
        };
        assert_eq!((slots(0), slots(1)), (vec![0, 3, 70], vec![0, 3, 70]));
        assert_eq!(slots(2).len(), 200);
        mailbox.waiting.pop();
        mailbox.waiting.insert(0, queued(1, 7, 1, "is taken"));
    }
}

#[test]
fn what_waits_is_limited_if_the_game_sends_and_no_stage_is_applied() {
    let mut mailbox = Mailbox::default();
    mailbox.put(vec![queued(1, 1, 1, "of a script")]);
    for _ in 0..3 {
        let mut stage_mail = StageMail::of(mailbox.take());
        stage_mail.leave_all(stage_mail.to(entity(1)));
        let mail = |_| Mail {
            to: entity(1),
            name: String::new(),
            payload: 1.0.into(),
            sender: None,
            line: None,
        };
        mailbox.put_of_game((0..OF_ALL.count - 10).map(mail));
        mailbox.put_back(&mut stage_mail);
        assert!(mailbox.waiting.len() <= OF_ALL.count + 1);
        assert_eq!(mailbox.waiting.iter().filter(|waiting| waiting.from == 1).count(), 1);
    }
    assert!(mailbox.take_dropped() > 0);
}
