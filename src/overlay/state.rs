//! What the person looking at the panel has chosen.

use std::collections::BTreeSet;

use crate::snapshot::ErrorRow;

/// What the person looking at the panel has chosen: kept from frame to frame by whoever calls
/// [`show_panel`](super::show_panel).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PanelState {
    /// The scripts shown are those whose path contains this text, in either case. Empty: all.
    pub filter: String,
    /// How the table of scripts is sorted: by path at first.
    pub scripts: Sort<ScriptColumn>,
    /// How the table of VMs is sorted: by id at first.
    pub vms: Sort<VmColumn>,
    /// The error whose full text is shown.
    selected_error: Option<ErrorRow>,
    /// The sections that were closed. All others are open.
    closed: BTreeSet<Section>,
    /// The section to scroll to.
    target: Option<Section>,
}

impl PanelState {
    /// Whether a section is open. All are at first.
    #[must_use]
    pub fn is_open(&self, section: Section) -> bool {
        !self.closed.contains(&section)
    }

    /// Opens or closes a section.
    pub fn set_open(&mut self, section: Section, open: bool) {
        if open {
            self.closed.remove(&section);
        } else {
            self.closed.insert(section);
        }
    }

    /// Opens a section and scrolls to it.
    pub fn go_to(&mut self, section: Section) {
        self.set_open(section, true);
        self.target = Some(section);
    }

    /// Whether to scroll to this section now.
    pub(super) fn arrive(&mut self, section: Section) -> bool {
        self.target.take_if(|target| *target == section).is_some()
    }

    pub(super) fn shows_error(&self, row: &ErrorRow) -> bool {
        self.selected_error.as_ref().is_some_and(|selected| selected.is_same(row))
    }

    /// Shows the full text of this error, or hides it if it is the one shown.
    pub(super) fn toggle_error(&mut self, row: &ErrorRow) {
        self.selected_error = if self.shows_error(row) { None } else { Some(row.clone()) };
    }
}

/// The parts of the panel that can be opened and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Section {
    /// Gauges and counters of the pool.
    Pool,
    /// The table of timings.
    Timings,
    /// The plots of the last seconds.
    History,
    /// The table of VMs.
    Vms,
    /// What went wrong inside the pool.
    Incidents,
    /// The table of scripts.
    Scripts,
    /// The list of errors.
    Errors,
    /// What the last frame and all frames did.
    Frames,
}

/// By which column a table is sorted, and in which direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort<C> {
    /// The column.
    pub column: C,
    /// The largest value first.
    pub descending: bool,
}

impl<C: PartialEq> Sort<C> {
    /// What a click on a column's header does: it reverses the direction, or goes to that column.
    pub(super) fn click(&mut self, column: C, descending_at_first: bool) {
        if self.column == column {
            self.descending = !self.descending;
        } else {
            self.column = column;
            self.descending = descending_at_first;
        }
    }
}

/// The columns of the table of scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScriptColumn {
    /// Whether the asset's text compiles.
    State,
    /// The asset path.
    #[default]
    Path,
    /// Entities that carry the script.
    Entities,
    /// Runs of any callback.
    Runs,
    /// The mean time of a run.
    Mean,
    /// The time that 99 of 100 runs stay below.
    P99,
    /// Runs that failed.
    Errors,
    /// Entities for which the script was put aside.
    PutAside,
}

/// The columns of the table of VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VmColumn {
    /// The VM's number.
    #[default]
    Id,
    /// Leased or idle.
    State,
    /// Time since it was made.
    Age,
    /// How often it was leased.
    Uses,
    /// The memory it holds.
    Memory,
    /// The script that it ran last.
    LastScript,
}
