//! [`LuaPoolConfig`] as a RON asset.

use bevy::asset::io::Reader;
use bevy::asset::{Asset, AssetLoader, LoadContext};
use bevy::reflect::TypePath;

use crate::config::LuaPoolConfig;
use crate::pool::ConfigError;

/// A [`LuaPoolConfig`] from a RON file, validated.
#[derive(Asset, TypePath, Clone, Debug)]
pub struct PoolConfigFile(pub LuaPoolConfig);

/// Loads [`PoolConfigFile`]s.
#[derive(Clone, Copy, Debug, Default, TypePath)]
pub struct PoolConfigLoader;

/// Why a configuration file was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// It can't be read.
    #[error("can't be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is not text.
    #[error("not text in UTF-8: {0}")]
    NotText(#[from] std::str::Utf8Error),
    /// It is not a valid configuration.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

impl AssetLoader for PoolConfigLoader {
    type Asset = PoolConfigFile;
    type Settings = ();
    type Error = ConfigFileError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        (): &(),
        _: &mut LoadContext<'_>,
    ) -> Result<PoolConfigFile, ConfigFileError> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        Ok(PoolConfigFile(LuaPoolConfig::from_ron(std::str::from_utf8(&bytes)?)?))
    }

    fn extensions(&self) -> &[&str] {
        &["lua_pool.ron", "ron"]
    }
}
