//! Reports scripts that don't load.

use std::sync::Arc;

use bevy::asset::{AssetLoadError, AssetLoadFailedEvent};
use bevy::prelude::{AssetEvent, Assets, MessageReader, Res, ResMut};

use crate::bindings::NamedScripts;
use crate::error::Failure;
use crate::run::report::Report;
use crate::script::LuaScript;

/// Reports scripts that don't load, and takes that back once they do.
pub(crate) fn report_load_failures(
    mut failed: MessageReader<AssetLoadFailedEvent<LuaScript>>,
    mut loaded: MessageReader<AssetEvent<LuaScript>>,
    scripts: Res<Assets<LuaScript>>,
    mut report: ResMut<Report>,
    mut named: ResMut<NamedScripts>,
) {
    named.tidy(report.frames, &scripts);
    for event in loaded.read() {
        if let AssetEvent::Added { id } | AssetEvent::Modified { id } = event
            && let Some(script) = scripts.get(*id)
        {
            let name = script.program().name().clone();
            named.loaded(&name);
            let figures = report.figures.of(&name);
            figures.broken = None;
            figures.logged_put_aside = false;
        }
    }
    for event in failed.read() {
        let script: Arc<str> = event.path.to_string().into();
        let (line, message) = match &event.error {
            AssetLoadError::AssetLoaderError(error) => {
                match error.error().downcast_ref::<Failure>() {
                    Some(failure) => (failure.line, failure.error.to_string()),
                    None => (None, error.to_string()),
                }
            }
            other => (None, other.to_string()),
        };
        report.log_load_failure(&script, line, &message);
    }
}
