//! [`PoolConfigBuilder`]: a configuration set field by field.

use std::time::Duration;

use super::{ConfigError, Overflow, PoolConfig};

/// Sets the fields of a [`PoolConfig`] one by one; the others have their defaults.
///
/// ```
/// use std::time::Duration;
///
/// use bevy_lua_pool::pool::PoolConfig;
///
/// let config = PoolConfig::builder()
///     .max_size(4)
///     .acquire_timeout(Duration::from_millis(20))
///     .build()?;
/// assert_eq!(config.max_size, 4);
/// # Ok::<(), bevy_lua_pool::pool::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing before `build`"]
pub struct PoolConfigBuilder {
    config: PoolConfig,
}

macro_rules! setters {
    ($($field:ident: $type:ty,)*) => {
        impl PoolConfigBuilder {
            $(
                #[doc = concat!("Sets [`PoolConfig::", stringify!($field), "`].")]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.config.$field = $field;
                    self
                }
            )*
        }

        /// Fails to compile when a field has no setter.
        const _: fn(PoolConfig) = |config| {
            let PoolConfig { $($field: _,)* } = config;
        };
    };
}

setters! {
    min_size: usize,
    max_size: usize,
    overflow: Overflow,
    acquire_timeout: Duration,
    create_timeout: Duration,
    reset_timeout: Duration,
    health_check_interval: Duration,
    max_idle_time: Duration,
    max_lifetime: Duration,
    lifetime_jitter: f64,
    max_use_count: u64,
    leak_threshold: Option<Duration>,
    max_resting_memory: Option<usize>,
    memory_limit: usize,
}

impl PoolConfig {
    /// A configuration to be set field by field, which is checked as a whole at the end.
    pub fn builder() -> PoolConfigBuilder {
        PoolConfigBuilder::default()
    }
}

impl PoolConfigBuilder {
    /// The configuration, if it is valid as a whole.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`], as [`PoolConfig::validate`].
    pub fn build(self) -> Result<PoolConfig, ConfigError> {
        self.config.validate()?;
        Ok(self.config)
    }
}
