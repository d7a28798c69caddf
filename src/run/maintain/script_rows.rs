//! The rows of the snapshot that show scripts.

use std::collections::HashMap;
use std::sync::Arc;

use crate::run::program_table::ProgramTable;
use crate::run::report::Report;
use crate::run::report::figures::Figures;
use crate::snapshot::ScriptRow;
use crate::vm::Mutable;

/// The entities that carry a script, and how it runs there.
#[derive(Clone, Copy, Default)]
pub(super) struct CarrierCounts {
    entities: usize,
    /// Entities on which it is put aside.
    put_aside: usize,
    /// The frame in which it is tried again on the first of these.
    next_retry: Option<u64>,
    /// Why its file level runs afresh for every run.
    afresh: Option<Mutable>,
}

/// Counts the entities that carry each script. Scripts in use keep their figures.
pub(super) fn count_carriers(
    programs: &ProgramTable,
    figures: &mut Figures,
) -> HashMap<Arc<str>, CarrierCounts> {
    let mut carriers: HashMap<Arc<str>, CarrierCounts> = HashMap::new();
    for of in programs.list.iter().filter(|carried| carried.in_use) {
        figures.number(of.program.name());
        let counts = carriers.entry(of.program.name().clone()).or_default();
        counts.entities += of.entities;
        counts.put_aside += of.put_aside;
        counts.next_retry = counts.next_retry.into_iter().chain(of.next_retry).min();
        counts.afresh = counts.afresh.or_else(|| of.program.mutable());
    }
    carriers
}

/// The rows of all scripts that entities carry or that don't load, by path.
pub(super) fn script_rows(
    report: &Report,
    carriers: &HashMap<Arc<str>, CarrierCounts>,
) -> Vec<ScriptRow> {
    let scripts = report.figures.iter();
    scripts
        .filter(|(path, script)| carriers.contains_key(*path) || script.broken.is_some())
        .map(|(path, script)| {
            let CarrierCounts { entities, put_aside, next_retry, afresh } =
                carriers.get(path).copied().unwrap_or_default();
            ScriptRow {
                path: path.clone(),
                entities,
                runs: script.runs,
                errors: script.errors,
                time: script.timing(),
                put_aside,
                quarantines: script.quarantines,
                retries: script.retries,
                next_retry: next_retry.map(|frame| frame.saturating_sub(report.frames)),
                afresh,
                broken: script.broken.clone(),
            }
        })
        .collect()
}
