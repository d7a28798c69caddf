//! [`MemoryFiles`]: an asset folder in memory.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bevy::app::App;
use bevy::asset::AssetApp;
use bevy::asset::io::memory::{Dir, MemoryAssetReader};
use bevy::asset::io::{
    AssetReader, AssetReaderError, AssetSourceBuilder, AssetSourceEvent, AssetSourceId,
    AssetWatcher, PathStream, Reader,
};

type TellOfChange = Box<dyn Fn(PathBuf) + Send>;

/// The default asset source of an app: files in memory.
pub(super) struct MemoryFiles {
    dir: Dir,
    is_held: Arc<AtomicBool>,
    /// Set when the asset plugin asks for a watcher.
    tell_of_change: Arc<Mutex<Option<TellOfChange>>>,
}

impl MemoryFiles {
    /// Registers the source. The asset plugin, which is to be added afterwards, is to watch for changes.
    pub(super) fn new(app: &mut App) -> Self {
        struct NoWatcher;
        impl AssetWatcher for NoWatcher {}

        let files =
            Self { dir: Dir::default(), is_held: Arc::default(), tell_of_change: Arc::default() };
        let (dir, is_held) = (files.dir.clone(), Arc::clone(&files.is_held));
        let tell_of_change = Arc::clone(&files.tell_of_change);
        let source = AssetSourceBuilder::new(move || {
            let memory = MemoryAssetReader { root: dir.clone() };
            Box::new(HeldReader { memory, is_held: Arc::clone(&is_held) })
        })
        .with_watcher(move |sender| {
            let tell: TellOfChange = Box::new(move |path| {
                sender
                    .send_blocking(AssetSourceEvent::ModifiedAsset(path))
                    .expect("the asset server listens");
            });
            *tell_of_change.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
            Some(Box::new(NoWatcher))
        });
        app.register_asset_source(AssetSourceId::Default, source);
        files
    }

    pub(super) fn write(&self, path: &str, bytes: &[u8]) {
        self.dir.insert_asset(Path::new(path), bytes.to_vec());
    }

    pub(super) fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::SeqCst);
    }

    pub(super) fn touch(&self, path: &str) {
        let tell = self.tell_of_change.lock().unwrap_or_else(PoisonError::into_inner);
        tell.as_ref().expect("the asset plugin watches for changes")(PathBuf::from(path));
    }
}

/// Reads from memory, once it may.
struct HeldReader {
    memory: MemoryAssetReader,
    is_held: Arc<AtomicBool>,
}

impl AssetReader for HeldReader {
    async fn read<'a>(&'a self, path: &'a Path) -> Result<impl Reader + 'a, AssetReaderError> {
        poll_fn(|context| {
            if !self.is_held.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
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
