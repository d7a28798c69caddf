//! A headless app for tests of scripts and of what the game offers to them (feature `testing`).
//!
//! A [`TestApp`] has [`LuaPoolPlugin`](crate::LuaPoolPlugin), a clock that moves by one [`STEP`] a frame, and an asset
//! folder in memory. Tests put scripts into it, run frames, and look at components, `self`, messages and failures. An
//! assertion that fails shows what the scripts logged and how they failed.
//!
//! ```
//! use bevy::prelude::*;
//! use bevy_lua_pool::prelude::*;
//! use bevy_lua_pool::testing::TestApp;
//!
//! #[derive(Component, Reflect, Clone, Default)]
//! struct Health { current: f32 }
//!
//! let mut test = TestApp::new();
//! test.app.expose_component::<Health>().add_lua_function("game.rate", |level: f32| 5.0 * level);
//! let hero = test.spawn(Health { current: 50.0 }, "regrow.luau", "
//!     function on_update(self)
//!         entity.Health.current += game.rate(2)
//!         self.frames = (self.frames or 0) + 1
//!     end
//! ");
//! test.frames(3);
//! test.assert_no_failures();
//! test.assert_field(hero, "frames", 3.0);
//! assert_eq!(test.get::<Health>(hero).current, 80.0);
//!
//! // A few lines of Lua, run once on a new entity:
//! let error = test.refuses(Health::default(), "entity.Health.current = 'much'");
//! assert!(error.contains("takes number"), "{error}");
//! ```

mod app;
mod assert;
mod builder;
mod files;
mod record;
mod scripts;

pub use self::app::{STEP, TestApp};
pub use self::builder::{TestAppBuilder, patient_config};
