//! [`TestRecord`]: what scripts logged and how they failed, for the messages of assertions.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bevy::app::App;
use bevy::ecs::message::{MessageCursor, Messages};
use bevy::log::tracing::dispatcher::{Dispatch, get_default, with_default};
use bevy::log::tracing::field::{Field, Visit};
use bevy::log::tracing::level_filters::LevelFilter;
use bevy::log::tracing::span::{Attributes, Id, Record};
use bevy::log::tracing::subscriber::Interest;
use bevy::log::tracing::{Event, Level, Metadata, Subscriber};

use crate::run::ScriptFailed;

/// Failures and log lines that are kept; the oldest go first.
const KEPT: usize = 1000;
/// Of these, the last ones that an assertion shows.
const SHOWN: usize = 10;

/// What scripts logged and how they failed so far.
#[derive(Default)]
pub(super) struct TestRecord {
    failures: VecDeque<String>,
    cursor: MessageCursor<ScriptFailed>,
    log: Arc<Mutex<ScriptLog>>,
    /// Listens to the log during frames. Made for the first one.
    capture: Option<Dispatch>,
}

impl TestRecord {
    /// Runs a frame and keeps what scripts log in it. Who listened to the log before the first frame hears of it as
    /// well.
    pub(super) fn update(&mut self, app: &mut App) {
        let capture = self.capture.get_or_insert_with(|| {
            let most_verbose = LevelFilter::current().max(LevelFilter::INFO);
            let outer = get_default(Dispatch::clone);
            Dispatch::new(LogCapture { log: Arc::clone(&self.log), outer, most_verbose })
        });
        with_default(capture, || app.update());
        let Some(messages) = app.world().get_resource::<Messages<ScriptFailed>>() else { return };
        for failed in self.cursor.read(messages) {
            let callback = failed.callback.name();
            self.failures
                .push_back(format!("{}\n    in {callback} of {}", failed.failure, failed.entity));
        }
        let too_many = self.failures.len().saturating_sub(KEPT);
        self.failures.drain(..too_many);
    }

    /// Takes the lines that were logged and not taken yet.
    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.log).untaken).into()
    }

    /// How scripts failed, as texts; the oldest first.
    pub(super) fn failures(&self) -> impl ExactSizeIterator<Item = &str> {
        self.failures.iter().map(String::as_str)
    }

    /// The last failures and log lines, for the message of an assertion.
    pub(super) fn report(&self) -> String {
        let mut report = String::new();
        let log = lock(&self.log);
        for (what, lines) in [("scripts failed", &self.failures), ("scripts logged", &log.all)] {
            let left_out = lines.len().saturating_sub(SHOWN);
            report.push_str(if lines.is_empty() { "\nno " } else { "\n" });
            report.push_str(what);
            if left_out > 0 {
                write!(report, " ({left_out} earlier ones are left out)").expect("it is memory");
            }
            for line in lines.iter().skip(left_out) {
                write!(report, "\n  {}", line.replace('\n', "\n  ")).expect("it is memory");
            }
        }
        report
    }
}

/// Lines that scripts logged, and warnings about them.
#[derive(Default)]
struct ScriptLog {
    all: VecDeque<String>,
    untaken: VecDeque<String>,
}

impl ScriptLog {
    fn push(&mut self, line: String) {
        for lines in [&mut self.all, &mut self.untaken] {
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(line.clone());
        }
    }
}

fn lock(log: &Mutex<ScriptLog>) -> MutexGuard<'_, ScriptLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what is logged about scripts, and hands everything on to who listened before.
struct LogCapture {
    log: Arc<Mutex<ScriptLog>>,
    outer: Dispatch,
    most_verbose: LevelFilter,
}

impl Subscriber for LogCapture {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Who listened before may listen to more or less later on.
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most_verbose)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_of_scripts(metadata) || self.outer.enabled(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.outer.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.outer.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.outer.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        if is_of_scripts(event.metadata()) {
            let mut line = LogText::default();
            event.record(&mut line);
            // The crate's own messages have no script, and failures are kept anyway.
            if let LogText { script: Some(script), line, message } = line {
                let level = event.metadata().level();
                let place = line.map_or_else(String::new, |line| format!(":{line}"));
                lock(&self.log).push(format!("{level} {script}{place}: {message}"));
            }
        }
        if self.outer.enabled(event.metadata()) {
            self.outer.event(event);
        }
    }

    fn enter(&self, span: &Id) {
        self.outer.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.outer.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.outer.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.outer.try_close(span)
    }
}

fn is_of_scripts(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
        && *metadata.level() <= Level::INFO
        && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// The fields of a log event that tell what a script logged.
#[derive(Default)]
struct LogText {
    script: Option<String>,
    line: Option<u64>,
    message: String,
}

impl Visit for LogText {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "line" && value > 0 {
            self.line = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "script" => self.script = Some(format!("{value:?}")),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}
