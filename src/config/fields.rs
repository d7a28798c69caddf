//! What is written once for every field of a [`LuaPoolConfig`]: its setter, and its place in RON, where the fields of
//! the pool stand beside the others.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LuaPoolConfig;
use crate::pool::{ConfigError, Overflow, PoolConfig};
use crate::sandbox::SandboxConfig;

/// Sets the fields of a [`LuaPoolConfig`], and of the [`PoolConfig`] in it, one by one; the others have their defaults.
///
/// ```
/// use std::time::Duration;
///
/// use bevy_lua_pool::LuaPoolConfig;
///
/// let config = LuaPoolConfig::builder()
///     .max_size(4)
///     .acquire_timeout(Duration::from_millis(20))
///     .frame_budget(Some(Duration::from_millis(4)))
///     .build()?;
/// assert_eq!(config.pool.max_size, 4);
/// # Ok::<(), bevy_lua_pool::pool::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing before `build`"]
pub struct LuaPoolConfigBuilder {
    config: LuaPoolConfig,
}

macro_rules! fields {
    (
        pool { $($(#[$pool_serde:meta])* $pool_field:ident: $pool_type:ty,)* }
        scripts { $($(#[$serde:meta])* $field:ident: $type:ty,)* }
    ) => {
        impl LuaPoolConfigBuilder {
            $(
                #[doc = concat!("Sets [`PoolConfig::", stringify!($pool_field), "`].")]
                pub fn $pool_field(mut self, $pool_field: $pool_type) -> Self {
                    self.config.pool.$pool_field = $pool_field;
                    self
                }
            )*

            $(
                #[doc = concat!("Sets [`LuaPoolConfig::", stringify!($field), "`].")]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.config.$field = $field;
                    self
                }
            )*
        }

        /// A [`LuaPoolConfig`] as it is written in RON.
        #[derive(Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields, rename = "LuaPoolConfig")]
        struct FlatConfig {
            $($(#[$pool_serde])* $pool_field: $pool_type,)*
            $($(#[$serde])* $field: $type,)*
        }

        // Doesn't compile when a field is missing in the list.
        impl From<LuaPoolConfig> for FlatConfig {
            fn from(config: LuaPoolConfig) -> Self {
                let LuaPoolConfig { pool, $($field,)* } = config;
                let PoolConfig { $($pool_field,)* } = pool;
                Self { $($pool_field,)* $($field,)* }
            }
        }

        impl From<FlatConfig> for LuaPoolConfig {
            fn from(flat: FlatConfig) -> Self {
                let FlatConfig { $($pool_field,)* $($field,)* } = flat;
                Self { pool: PoolConfig { $($pool_field,)* }, $($field,)* }
            }
        }
    };
}

fields! {
    pool {
        min_size: usize,
        max_size: usize,
        overflow: Overflow,
        #[serde(with = "humantime_serde")]
        acquire_timeout: Duration,
        #[serde(with = "humantime_serde")]
        create_timeout: Duration,
        #[serde(with = "humantime_serde")]
        reset_timeout: Duration,
        #[serde(with = "humantime_serde")]
        health_check_interval: Duration,
        #[serde(with = "humantime_serde")]
        max_idle_time: Duration,
        #[serde(with = "humantime_serde")]
        max_lifetime: Duration,
        lifetime_jitter: f64,
        max_use_count: u64,
        #[serde(with = "humantime_serde")]
        leak_threshold: Option<Duration>,
        max_resting_memory: Option<usize>,
        memory_limit: usize,
    }
    scripts {
        #[serde(with = "humantime_serde")]
        run_time_limit: Duration,
        run_memory_limit: Option<usize>,
        #[serde(with = "humantime_serde")]
        frame_budget: Option<Duration>,
        max_log_lines: usize,
        max_messages: usize,
        max_commands: usize,
        max_value_size: usize,
        max_failures: u32,
        retry_interval: u32,
        max_retry_interval: u32,
        sandbox: SandboxConfig,
    }
}

impl LuaPoolConfig {
    /// A configuration to be set field by field, which is checked as a whole at the end.
    pub fn builder() -> LuaPoolConfigBuilder {
        LuaPoolConfigBuilder::default()
    }
}

impl LuaPoolConfigBuilder {
    /// Sets [`LuaPoolConfig::pool`] as a whole.
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.config.pool = pool;
        self
    }

    /// The configuration, if it is valid as a whole.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`], as [`LuaPoolConfig::validate`].
    pub fn build(self) -> Result<LuaPoolConfig, ConfigError> {
        self.config.validate()?;
        Ok(self.config)
    }
}

impl Default for FlatConfig {
    fn default() -> Self {
        LuaPoolConfig::default().into()
    }
}

impl Serialize for LuaPoolConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FlatConfig::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LuaPoolConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FlatConfig::deserialize(deserializer).map(Self::from)
    }
}
