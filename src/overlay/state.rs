//! [`PanelState`]: what the user has chosen in the panel.

use std::collections::BTreeSet;

use crate::snapshot::ErrorRow;

/// What the user has chosen in the panel. Whoever calls [`show_panel`](super::show_panel) keeps it from frame to
/// frame.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PanelState {
    /// Shows only scripts whose path contains this text, ignoring case. Empty: all.
    pub filter: String,
    /// The order of the table of scripts. Default: by path.
    pub scripts: Sort<ScriptColumn>,
    /// The order of the table of VMs. Default: by id.
    pub vms: Sort<VmColumn>,
    /// The error whose full text is shown.
    selected_error: Option<ErrorRow>,
    /// The closed sections. All others are open.
    closed: BTreeSet<Section>,
    /// The section to scroll to.
    target: Option<Section>,
}

impl PanelState {
    /// Whether a section is open. All are by default.
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

    /// Whether to scroll to this section in this frame.
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

/// The sections of the panel, which can be opened and closed.
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
    /// The list of incidents inside the pool.
    Incidents,
    /// The table of scripts.
    Scripts,
    /// The list of errors.
    Errors,
    /// What the last frame and all frames did.
    Frames,
}

/// The column by which a table is sorted, and the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort<C> {
    /// The column.
    pub column: C,
    /// The largest value first.
    pub descending: bool,
}

impl<C: PartialEq> Sort<C> {
    /// Handles a click on the header of a column: sorts by it, or reverses the direction if it is sorted already.
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
    /// Entities with the script.
    Entities,
    /// Runs of any callback.
    Runs,
    /// The mean time of a run.
    Mean,
    /// The 99th percentile of the time of a run.
    P99,
    /// Runs that failed.
    Errors,
    /// Entities on which the script is put aside.
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
    /// Time since it was created.
    Age,
    /// How often it was leased.
    Uses,
    /// Its memory.
    Memory,
    /// The script that it ran last.
    LastScript,
}
