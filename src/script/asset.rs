//! [`LuaScript`]: a script as an asset.

use std::sync::Arc;

use bevy::asset::io::Reader;
use bevy::asset::{Asset, AssetLoader, LoadContext};
use bevy::reflect::TypePath;

use crate::error::{Cause, Failure, ScriptError};
use crate::escape::is_unsafe;
use crate::vm::{MAX_SOURCE_SIZE, Program};

/// A script, compiled. Loaded from `.luau` and `.lua` files, as source text of at most 256 KiB.
///
/// Its bytecode is shared by all VMs. When the file changes and compiles, entities go on with the new
/// code from the next frame; when it doesn't compile, the last good version goes on running.
#[derive(Asset, TypePath, Clone, Debug)]
pub struct LuaScript {
    program: Arc<Program>,
}

impl LuaScript {
    /// Compiles a script that doesn't come from a file; `name` stands for the path.
    ///
    /// What the script remembers is saved under this name, and found again by it. So give different scripts
    /// different names, and a script the same name in every version of the game.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn from_source(name: &str, source: &str) -> Result<Self, ScriptError> {
        Ok(Self { program: Arc::new(Program::compile(name, source)?) })
    }

    /// The compiled script.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }
}

/// Loads [`LuaScript`]s. Compiling happens here, off the frame.
#[derive(Clone, Copy, Debug, Default, TypePath)]
pub struct LuaScriptLoader;

impl AssetLoader for LuaScriptLoader {
    type Asset = LuaScript;
    type Settings = ();
    type Error = Failure;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        (): &(),
        context: &mut LoadContext<'_>,
    ) -> Result<LuaScript, Failure> {
        let name: Arc<str> = context.path().to_string().into();
        let mut source = Vec::new();
        read_at_most(reader, &mut source, MAX_SOURCE_SIZE + 1)
            .await
            .map_err(|error| ScriptError::Unreadable { source: Cause::new(error) })
            .and_then(|()| refuse_unsafe(&name))
            .and_then(|()| Program::compile_bytes(&name, &source))
            .map(|program| LuaScript { program: Arc::new(program) })
            .map_err(|error| Failure::new(&name, error))
    }

    fn extensions(&self) -> &[&str] {
        &["luau", "lua"]
    }
}

/// Refuses the name of a file that would act on a terminal, or that looks like a line of its own in a log.
fn refuse_unsafe(name: &str) -> Result<(), ScriptError> {
    match name.chars().find(|c| c.is_control() || is_unsafe(*c)) {
        None => Ok(()),
        Some(c) => Err(ScriptError::Host {
            message: format!("its path has the character {c:?} in it; rename the file"),
        }),
    }
}

/// Reads until the end or a little past `limit`, so that an endless source is an error and no hang.
async fn read_at_most(
    reader: &mut dyn Reader,
    into: &mut Vec<u8>,
    limit: usize,
) -> std::io::Result<()> {
    use bevy::tasks::futures_lite::AsyncReadExt;
    let mut buffer = [0; 8 * 1024];
    while into.len() < limit {
        match reader.read(&mut buffer).await? {
            0 => break,
            count => into.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}
