//! Which runs are late, and which are not.

use super::*;

const LIMIT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Whatever others used before the run, it has used up its time when it used this.
const MORE_THAN_ALLOWED: Duration = Duration::from_millis(4);

/// Uses CPU time, so that every clock has moved by so much.
fn work(time: Duration) {
    let start = ThreadTime::now();
    while start.elapsed() < time {}
}

/// By the wall clock, the current run is late.
fn alarm(watch: &RunWatch) {
    watch.look(clock());
    watch.look(clock() + 2 * HOUR);
}

#[test]
fn a_deadline_that_has_passed_stays_passed() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::begin(&watch, LIMIT);
    watch.look(clock());
    work(MORE_THAN_ALLOWED);
    assert!(!deadline.has_passed(), "nobody said that it is late");
    alarm(&watch);
    assert!(deadline.has_passed());
    assert!(deadline.has_passed_at_safepoint());
    assert!(deadline.end());
    assert!(matches!(deadline.error(), ScriptError::TimedOut { limit: LIMIT, .. }));
}

#[test]
fn a_run_without_time_for_what_it_begins_is_over_for_good() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::resume(&watch, 100 * LIMIT, 50 * LIMIT);
    assert!(deadline.allows(80 * LIMIT) && !deadline.allows(200 * LIMIT));
    assert!(deadline.begin_work(20 * LIMIT) && !deadline.has_passed());
    assert!(!deadline.begin_work(80 * LIMIT));
    assert!(!deadline.begin_work(LIMIT), "nor for anything else");
    assert!(deadline.has_passed_at_safepoint() && watch.is_alarmed(deadline.turn));
    assert!(matches!(deadline.error(), ScriptError::TimedOut { .. }));
    assert!(deadline.end());
    assert!(!RunDeadline::begin(&watch, LIMIT).has_passed(), "the next run has time");
}

#[test]
fn a_run_that_is_begun_again_has_what_is_left_of_its_time() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::resume(&watch, HOUR, HOUR - LIMIT);
    work(MORE_THAN_ALLOWED);
    alarm(&watch);
    assert!(deadline.has_passed());
    assert!(matches!(deadline.error(), ScriptError::TimedOut { limit: HOUR, .. }));
    assert!(deadline.end());
}

#[test]
fn a_run_is_judged_at_its_end_even_if_it_met_no_safepoint() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::begin(&watch, LIMIT);
    watch.look(clock());
    work(MORE_THAN_ALLOWED);
    alarm(&watch);
    assert!(deadline.end());
}

#[test]
fn a_run_that_is_stopped_from_outside_ends_and_says_why() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::begin(&watch, HOUR);
    assert!(!deadline.has_passed());
    watch.stop();
    assert!(deadline.has_passed());
    assert_eq!(deadline.error(), ScriptError::Interrupted);
    assert!(deadline.end(), "and stays stopped");
    assert!(RunDeadline::begin(&watch, HOUR).has_passed(), "and so does every later run");
}

#[test]
fn a_call_that_is_late_by_the_clock_on_the_wall_ends_however_little_it_used() {
    let watch = RunWatch::unwatched(None);
    let at_once = WallDeadline::within(Duration::ZERO);
    let bounds = CallBounds { wall: at_once, ..CallBounds::default() };
    let mut deadline = RunDeadline::of_call(&watch, HOUR, bounds);
    alarm(&watch);
    assert!(deadline.has_passed());
    let timeout = Duration::ZERO;
    let error = ScriptError::Overdue { timeout, setting: Setting::CallTimeout };
    assert_eq!((deadline.error(), deadline.verdict()), (error.clone(), error));
    assert!(deadline.end());

    let wall = WallDeadline::within(HOUR);
    let bounds = CallBounds { used: HOUR - LIMIT, wall, ..CallBounds::default() };
    let mut deadline = RunDeadline::of_call(&watch, HOUR, bounds);
    work(MORE_THAN_ALLOWED);
    alarm(&watch);
    assert!(deadline.has_passed(), "what it used before counts");
    assert!(matches!(deadline.error(), ScriptError::TimedOut { limit: HOUR, .. }));
}

#[test]
fn a_call_that_is_cancelled_ends_and_the_next_does_not() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::begin(&watch, HOUR);
    watch.cancel();
    assert!(deadline.has_passed());
    assert_eq!(deadline.error(), ScriptError::Cancelled);
    assert!(deadline.end());
    watch.forget_cancelled();
    assert!(!RunDeadline::begin(&watch, HOUR).has_passed());
}

#[test]
fn a_run_is_not_charged_for_time_in_which_the_system_ran_something_else() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::begin(&watch, HOUR);
    alarm(&watch);
    assert!(!deadline.has_passed(), "it has used no CPU time to speak of");
    assert!(!deadline.has_passed(), "and is not alarmed any more");
    assert!(!deadline.end());
}

/// A run begins late in a tick in which others used so much time.
fn begin_after(others: Duration, watch: &RunWatch) -> RunDeadline<'_> {
    let mut deadline = RunDeadline::begin(watch, LIMIT);
    deadline.began.cpu = deadline.began.cpu.saturating_sub(others);
    deadline.began.wall = deadline.began.wall.saturating_sub(others);
    deadline
}

#[test]
fn a_run_is_not_charged_for_what_others_used_in_the_tick_before_it() {
    // Others have used the processor for as long as this.
    work(MORE_THAN_ALLOWED);
    let watch = RunWatch::unwatched(None);
    for others in [LIMIT, MORE_THAN_ALLOWED] {
        let mut deadline = begin_after(others, &watch);
        alarm(&watch);
        assert!(!deadline.has_passed());
        assert!(!deadline.end());
    }
}

#[test]
fn a_run_is_not_charged_for_what_was_used_while_nobody_looked() {
    let watch = RunWatch::unwatched(None);
    let mut deadline = RunDeadline::begin(&watch, LIMIT);
    work(MORE_THAN_ALLOWED);
    alarm(&watch);
    assert!(!deadline.has_passed(), "how much of that is its own is not known");
    work(MORE_THAN_ALLOWED);
    alarm(&watch);
    assert!(deadline.has_passed(), "but now it is");
}

#[test]
fn a_run_is_charged_for_all_that_it_used_since_somebody_looked_however_late_that_was() {
    work(MORE_THAN_ALLOWED);
    let watch = RunWatch::unwatched(None);
    let mut deadline = begin_after(MORE_THAN_ALLOWED, &watch);
    watch.look(clock());
    work(MORE_THAN_ALLOWED);
    watch.look(clock() + 2 * HOUR);
    assert!(deadline.end(), "without a safepoint in between");
}

#[test]
fn a_run_is_charged_for_what_it_used_before_it_got_more_time() {
    let watch = RunWatch::unwatched(None);
    let limit = Duration::from_millis(50);
    let mut deadline = RunDeadline::begin(&watch, limit);
    let mut passed = false;
    for _ in 0..100 {
        work(limit / 20);
        alarm(&watch);
        passed = deadline.has_passed();
        if passed {
            break;
        }
    }
    assert!(passed, "many small pieces make a whole");
}
