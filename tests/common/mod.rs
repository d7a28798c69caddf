//! What all tests share: the crate's own test app, and the log of the process.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

use std::sync::{Mutex, PoisonError};

pub(crate) use bevy_lua_pool::testing::{STEP, TestApp as Lab, patient_config as patient};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps from now on what is logged in this process, by all its tests.
pub(crate) fn keep_log() {
    use bevy::log::tracing_subscriber::fmt;
    // Another test may have been first.
    let _ = fmt().with_ansi(false).with_writer(|| Log).try_init();
}

/// What was logged in this process, by all its tests.
pub(crate) fn log() -> String {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&log).into_owned()
}
