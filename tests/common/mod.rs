//! A headless app with scripts in memory and a clock that tests move.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use bevy::app::{TaskPoolOptions, TaskPoolPlugin, TaskPoolThreadAssignmentPolicy};
use bevy::asset::io::memory::{Dir, MemoryAssetReader};
use bevy::asset::io::{
    AssetReader, AssetReaderError, AssetSourceBuilder, AssetSourceEvent, AssetSourceId,
    AssetWatcher, PathStream, Reader,
};
use bevy::asset::{AssetApp, LoadState};
use bevy::prelude::*;
use bevy::time::TimeUpdateStrategy;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{FrameStats, LuaPoolConfig, LuaScript, PoolConfig, ScriptFailed};

/// One frame of the test clock.
pub const STEP: Duration = Duration::from_millis(20);

/// A headless app whose assets are in memory.
pub struct Lab {
    pub app: App,
    files: Dir,
    held: Arc<AtomicBool>,
    changed: Box<dyn Fn(PathBuf) + Send>,
    finished: bool,
}

/// Limits that a loaded machine doesn't reach by accident.
pub fn patient() -> LuaPoolConfig {
    LuaPoolConfig {
        pool: PoolConfig {
            acquire_timeout: Duration::from_secs(10),
            create_timeout: Duration::from_secs(60),
            reset_timeout: Duration::from_secs(60),
            ..PoolConfig::default()
        },
        run_time_limit: Duration::from_secs(10),
        ..LuaPoolConfig::default()
    }
}

/// Reads from memory, once it may.
struct HeldReader {
    memory: MemoryAssetReader,
    held: Arc<AtomicBool>,
}

impl AssetReader for HeldReader {
    async fn read<'a>(&'a self, path: &'a Path) -> Result<impl Reader + 'a, AssetReaderError> {
        while self.held.load(Ordering::SeqCst) {
            futures_lite::future::yield_now().await;
        }
        self.memory.read(path).await
    }

    async fn read_meta<'a>(&'a self, path: &'a Path) -> Result<impl Reader + 'a, AssetReaderError> {
        self.memory.read_meta(path).await
    }

    async fn read_directory<'a>(
        &'a self,
        path: &'a Path,
    ) -> Result<Box<PathStream>, AssetReaderError> {
        self.memory.read_directory(path).await
    }

    async fn is_directory<'a>(&'a self, path: &'a Path) -> Result<bool, AssetReaderError> {
        self.memory.is_directory(path).await
    }
}

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
pub fn keep_log() {
    use bevy::log::tracing_subscriber::fmt;
    // Another test may have been first.
    let _ = fmt().with_ansi(false).with_writer(|| Log).try_init();
}

/// What was logged in this process, by all its tests.
pub fn log() -> String {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&log).into_owned()
}

impl Lab {
    /// An app with the plugin's defaults, but for limits that are [`patient`].
    pub fn new() -> Self {
        Self::with_config(patient())
    }

    pub fn with_config(config: LuaPoolConfig) -> Self {
        Self::with_plugin(LuaPoolPlugin { config, ..LuaPoolPlugin::default() })
    }

    pub fn with_plugin(plugin: LuaPoolPlugin) -> Self {
        struct NoWatcher;
        impl AssetWatcher for NoWatcher {}

        let mut app = App::new();
        let files = Dir::default();
        let root = files.clone();
        let held = Arc::new(AtomicBool::new(false));
        let reader_held = held.clone();
        let (give, take) = mpsc::channel();
        app.register_asset_source(
            AssetSourceId::Default,
            AssetSourceBuilder::new(move || {
                let memory = MemoryAssetReader { root: root.clone() };
                Box::new(HeldReader { memory, held: reader_held.clone() })
            })
            .with_watcher(move |sender| {
                let changed: Box<dyn Fn(PathBuf) + Send> = Box::new(move |path| {
                    sender
                        .send_blocking(AssetSourceEvent::ModifiedAsset(path))
                        .expect("the asset server listens");
                });
                give.send(changed).expect("the lab listens");
                Some(Box::new(NoWatcher))
            }),
        );
        // Four threads for scripts, whatever the machine has.
        let compute = TaskPoolThreadAssignmentPolicy {
            min_threads: 4,
            max_threads: 4,
            percent: 1.0,
            on_thread_spawn: None,
            on_thread_destroy: None,
        };
        let task_pool_options = TaskPoolOptions { compute, ..TaskPoolOptions::default() };
        app.add_plugins((
            MinimalPlugins.set(TaskPoolPlugin { task_pool_options }),
            AssetPlugin {
                watch_for_changes_override: Some(true),
                use_asset_processor_override: Some(false),
                ..AssetPlugin::default()
            },
            TransformPlugin,
            plugin,
        ));
        app.insert_resource(TimeUpdateStrategy::ManualDuration(STEP));
        let changed = take.recv().expect("the asset plugin asked for a watcher");
        Self { app, files, held, changed, finished: false }
    }

    /// Lets no file be read until the lab is told otherwise.
    pub fn hold_files(&mut self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    /// Puts a file into the asset folder, unannounced.
    pub fn file(&mut self, path: &str, text: &str) {
        self.files.insert_asset_text(Path::new(path), text);
    }

    /// Puts a file of bytes into the asset folder, unannounced.
    pub fn bytes(&mut self, path: &str, bytes: &[u8]) {
        self.files.insert_asset(Path::new(path), bytes.to_vec());
    }

    /// Changes a file and lets the asset server know, then waits until it has loaded it anew.
    pub fn edit(&mut self, path: &str, text: &str) {
        self.file(path, text);
        self.touch(path);
    }

    /// Lets the asset server know that a file changed, without waiting for anything.
    pub fn touch(&mut self, path: &str) {
        (self.changed)(PathBuf::from(path));
    }

    /// Loads a script and waits until it is loaded or has failed. Scripts are paused meanwhile.
    pub fn load(&mut self, path: &str) -> Handle<LuaScript> {
        self.finish();
        let handle: Handle<LuaScript> = self.server().load(path.to_owned());
        let before = std::mem::replace(&mut self.scripting().enabled, false);
        for _ in 0..100_000 {
            match self.server().load_state(&handle) {
                LoadState::Loaded | LoadState::Failed(_) => {
                    // One more, so that the asset and its events have arrived.
                    self.app.update();
                    self.scripting().enabled = before;
                    return handle;
                }
                _ => self.app.update(),
            }
            std::thread::yield_now();
        }
        panic!("{path} neither loaded nor failed");
    }

    /// Puts a script into the asset folder and loads it.
    #[track_caller]
    pub fn script(&mut self, path: &str, text: &str) -> Handle<LuaScript> {
        self.file(path, text);
        let handle = self.load(path);
        let state = self.server().load_state(&handle);
        assert!(matches!(state, LoadState::Loaded), "{path}: {state:?}");
        handle
    }

    /// Spawns an entity with a transform that carries this script.
    #[track_caller]
    pub fn entity(&mut self, path: &str, text: &str) -> Entity {
        let script = self.script(path, text);
        self.app.world_mut().spawn((Transform::default(), LuaScripts::new(script))).id()
    }

    /// Runs one frame.
    pub fn frame(&mut self) {
        self.finish();
        self.app.update();
    }

    /// Runs frames.
    pub fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.frame();
        }
    }

    /// Runs frames until something holds.
    #[track_caller]
    pub fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..10_000 {
            if holds(self) {
                return;
            }
            self.frame();
            std::thread::yield_now();
        }
        panic!("10,000 frames, and it still doesn't hold");
    }

    fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.app.finish();
            self.app.cleanup();
        }
    }

    fn server(&self) -> AssetServer {
        self.app.world().resource::<AssetServer>().clone()
    }

    pub fn scripting(&mut self) -> Mut<'_, LuaScripting> {
        self.app.world_mut().resource_mut()
    }

    /// The state of an entity's first script.
    #[track_caller]
    pub fn state(&self, entity: Entity) -> ScriptTable {
        let states = self.app.world().get::<ScriptStates>(entity).expect("it carries scripts");
        states.iter().next().expect("it carries a script").fields.clone()
    }

    /// A field of the state of an entity's first script.
    #[track_caller]
    pub fn field(&self, entity: Entity, field: &str) -> ScriptValue {
        self.state(entity).get(field).clone()
    }

    #[track_caller]
    pub fn transform(&self, entity: Entity) -> Transform {
        *self.app.world().get(entity).expect("it has a transform")
    }

    /// What the last frame did.
    pub fn stats(&self) -> FrameStats {
        self.snapshot().frame
    }

    pub fn snapshot(&self) -> &LuaSnapshot {
        self.app.world().resource()
    }

    /// Runs Lua once, as the `on_start` of a script on a new entity with these components; gives what
    /// went wrong, if anything.
    #[track_caller]
    pub fn run_on(&mut self, components: impl Bundle, lua: &str) -> (Entity, Option<String>) {
        static SNIPPETS: AtomicUsize = AtomicUsize::new(0);
        let path = format!("snippet{}.luau", SNIPPETS.fetch_add(1, Ordering::Relaxed));
        let script = self.script(&path, &format!("function on_start(self) {lua}\nend"));
        let entity = self.app.world_mut().spawn((components, LuaScripts::new(script))).id();
        self.drain::<ScriptFailed>();
        self.frame();
        if let Some(mut scripts) = self.app.world_mut().get_mut::<LuaScripts>(entity) {
            scripts.enabled = false;
        }
        let failed = self.drain::<ScriptFailed>();
        let failure = failed.iter().find(|failed| failed.entity == entity);
        (entity, failure.map(|failed| failed.failure.to_string()))
    }

    /// Runs Lua once on a new entity with these components.
    #[track_caller]
    pub fn does(&mut self, components: impl Bundle, lua: &str) -> Entity {
        let (entity, failure) = self.run_on(components, lua);
        assert_eq!(failure, None, "{lua}");
        entity
    }

    /// Runs Lua that fails once on a new entity with these components; gives the error.
    #[track_caller]
    pub fn refuses(&mut self, components: impl Bundle, lua: &str) -> String {
        match self.run_on(components, lua) {
            (_, Some(failure)) => failure,
            (_, None) => panic!("it did not fail: {lua}"),
        }
    }

    /// A component of an entity, cloned.
    #[track_caller]
    pub fn get<T: Component + Clone>(&self, entity: Entity) -> T {
        self.app.world().get::<T>(entity).expect("the entity has the component").clone()
    }

    /// Takes the messages of a kind that were written and not taken yet.
    pub fn drain<M: Message>(&mut self) -> Vec<M> {
        self.app.world_mut().resource_mut::<Messages<M>>().drain().collect()
    }

    /// Takes the failures, as texts.
    pub fn failures(&mut self) -> Vec<String> {
        self.drain::<ScriptFailed>().iter().map(|failed| failed.failure.to_string()).collect()
    }

    /// Runs a frame and gives the only failure in it.
    #[track_caller]
    pub fn failure(&mut self) -> String {
        self.drain::<ScriptFailed>();
        self.frame();
        let mut failures = self.failures();
        assert_eq!(failures.len(), 1, "{failures:#?}");
        failures.remove(0)
    }
}
