//! [`TestApp`]: the app, its clock and its files.

use std::time::Duration;

use bevy::app::App;
use bevy::asset::{AssetServer, Handle, LoadState};
use bevy::prelude::Mut;

use super::files::MemoryFiles;
use super::record::TestRecord;
use crate::run::LuaScripting;
use crate::script::LuaScript;

/// By how much the clock of a [`TestApp`] moves in each frame, unless its builder says otherwise: 20 ms.
pub const STEP: Duration = Duration::from_millis(20);

/// Frames that [`TestApp::until`] waits.
const MOST_FRAMES: usize = 10_000;
/// Updates that a script has to be loaded.
const MOST_UPDATES: usize = 100_000;

/// A headless app with scripts: see the [module](super).
///
/// The first script that is loaded, or the first frame, finishes the app: expose components and add functions and
/// plugins before.
pub struct TestApp {
    /// The app.
    pub app: App,
    pub(super) files: MemoryFiles,
    pub(super) record: TestRecord,
    pub(super) is_finished: bool,
}

impl TestApp {
    /// Finishes the app, unless that is done.
    pub fn finish(&mut self) {
        if !self.is_finished {
            self.is_finished = true;
            self.app.finish();
            self.app.cleanup();
        }
    }

    /// Runs one frame.
    pub fn frame(&mut self) {
        self.finish();
        self.record.update(&mut self.app);
    }

    /// Runs so many frames.
    pub fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.frame();
        }
    }

    /// Runs frames until something holds.
    ///
    /// # Panics
    ///
    /// If it doesn't hold after 10,000 frames.
    #[track_caller]
    pub fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..MOST_FRAMES {
            if holds(self) {
                return;
            }
            self.frame();
            std::thread::yield_now();
        }
        panic!("after {MOST_FRAMES} frames it still doesn't hold{}", self.record.report());
    }

    /// Puts a text into the asset folder, without telling the asset server.
    pub fn file(&mut self, path: &str, text: &str) {
        self.files.write(path, text.as_bytes());
    }

    /// Puts bytes into the asset folder, without telling the asset server.
    pub fn bytes(&mut self, path: &str, bytes: &[u8]) {
        self.files.write(path, bytes);
    }

    /// Puts a text into the asset folder and tells the asset server, which loads it anew some frames later.
    pub fn edit(&mut self, path: &str, text: &str) {
        self.file(path, text);
        self.touch(path);
    }

    /// Tells the asset server that a file changed.
    pub fn touch(&mut self, path: &str) {
        self.files.touch(path);
    }

    /// While files are held, whoever reads one waits.
    pub fn hold_files(&mut self, is_held: bool) {
        self.files.hold(is_held);
    }

    /// Loads a script and waits until it is loaded or has failed. Until then no script runs.
    ///
    /// # Panics
    ///
    /// If it is neither after 100,000 updates of the app.
    #[track_caller]
    pub fn load(&mut self, path: &str) -> Handle<LuaScript> {
        self.finish();
        let handle: Handle<LuaScript> = self.server().load(path.to_owned());
        let was_enabled = std::mem::replace(&mut self.scripting().enabled, false);
        for _ in 0..MOST_UPDATES {
            let state = self.server().load_state(&handle);
            self.record.update(&mut self.app);
            if matches!(state, LoadState::Loaded | LoadState::Failed(_)) {
                // By that update, the asset and its events have arrived.
                self.scripting().enabled = was_enabled;
                return handle;
            }
            std::thread::yield_now();
        }
        panic!("{path} was neither loaded nor refused within {MOST_UPDATES} updates");
    }

    /// Whether scripts run, and with which seed.
    ///
    /// # Panics
    ///
    /// If the plugin was not added.
    pub fn scripting(&mut self) -> Mut<'_, LuaScripting> {
        self.app.world_mut().resource_mut()
    }

    pub(super) fn server(&self) -> AssetServer {
        self.app.world().resource::<AssetServer>().clone()
    }
}
