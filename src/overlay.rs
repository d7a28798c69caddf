//! An egui window that shows the pool, the scripts, and their errors (features `overlay` and `panel`).
//!
//! The overlay reads [`LuaSnapshot`] and writes [`LuaControl`], and nothing else, so observing the pool can't disturb it.
//! Apps with their own egui leave out [`LuaOverlayPlugin`] and call [`show_panel`].

use bevy::input::keyboard::{KeyCode, KeyboardFocusLost, KeyboardInput};
use bevy::input::mouse::MouseWheel;
use bevy::input::touch::TouchInput;
use bevy::input::{ButtonInput, InputSystems, gestures::PinchGesture};
use bevy::prelude::*;
use bevy::window::{CursorMoved, FileDragAndDrop, Ime, RequestRedraw, WindowEvent};
use bevy_egui::{EguiContexts, EguiPlugin, EguiPrimaryContextPass, egui};

use crate::control::LuaControl;
use crate::run::LuaScripting;
use crate::snapshot::LuaSnapshot;

mod errors;
mod gauges;
mod header;
mod incidents;
mod look;
mod plots;
mod scripts;
mod state;
mod table;
mod timings;
mod units;
mod view;
mod vms;

pub use state::{PanelState, ScriptColumn, Section, Sort, VmColumn};
pub use view::show_panel;

/// Adds the overlay window.
///
/// Add it after `DefaultPlugins`. It draws with `bevy_egui` on the first camera of the app, and adds [`EguiPlugin`] if
/// the app hasn't; an app that adds [`EguiPlugin`] itself has to do so first. Without a renderer or a camera, nothing is
/// drawn.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_lua_pool::LuaOverlayPlugin;
/// App::new().add_plugins((
///     MinimalPlugins,
///     LuaOverlayPlugin { toggle_key: KeyCode::F12, open: true },
/// ));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LuaOverlayPlugin {
    /// The key that opens and closes the window. Default: F3. Choose one that types no text, since the window has a text
    /// field.
    pub toggle_key: KeyCode,
    /// Whether the window is open at the start. Default: `false`.
    pub open: bool,
}

impl Default for LuaOverlayPlugin {
    fn default() -> Self {
        Self { toggle_key: KeyCode::F3, open: false }
    }
}

impl Plugin for LuaOverlayPlugin {
    fn build(&self, app: &mut App) {
        add_egui(app);
        app.register_type::<LuaOverlay>()
            .add_message::<LuaControl>()
            .init_resource::<LuaSnapshot>()
            .insert_resource(LuaOverlay {
                open: self.open,
                toggle_key: self.toggle_key,
                panel: PanelState::default(),
            })
            .add_systems(PreUpdate, toggle.after(InputSystems))
            .add_systems(EguiPrimaryContextPass, draw);
    }

    fn finish(&self, app: &mut App) {
        if !app.world().contains_resource::<LuaScripting>() {
            error!("LuaOverlayPlugin has nothing to show: add `LuaPoolPlugin`");
        }
        #[cfg(feature = "overlay")]
        if app.is_plugin_added::<bevy_render::RenderPlugin>()
            && !app.is_plugin_added::<EguiPlugin>()
        {
            error!(
                "LuaOverlayPlugin draws nothing: it was added before the renderer; add it after \
                 DefaultPlugins"
            );
        }
    }
}

/// Adds egui, unless the app has done so.
///
/// With its renderer, `bevy_egui` requires Bevy's renderer and panics without it, so headless apps get no egui.
#[cfg(feature = "overlay")]
fn add_egui(app: &mut App) {
    if app.is_plugin_added::<EguiPlugin>() {
        add_egui_input_messages(app);
    } else if app.is_plugin_added::<bevy_render::RenderPlugin>() {
        add_egui_input_messages(app);
        app.add_plugins(EguiPlugin::default());
    }
}

/// Adds egui, unless the app has done so.
///
/// Without its renderer, `bevy_egui` expects the app to take the changed textures of each frame, and panics if nobody
/// does. So they are discarded here.
#[cfg(not(feature = "overlay"))]
fn add_egui(app: &mut App) {
    use bevy_egui::EguiRenderOutput;

    add_egui_input_messages(app);
    if !app.is_plugin_added::<EguiPlugin>() {
        app.add_plugins(EguiPlugin::default()).add_systems(
            Last,
            |mut drawn: Query<&mut EguiRenderOutput>| {
                drawn.iter_mut().for_each(|mut output| output.textures_delta.clear());
            },
        );
    }
}

/// The state of the overlay window. Set [`open`](Self::open) to open or close it from code.
#[derive(Resource, Reflect, Clone, Debug)]
#[reflect(Resource)]
pub struct LuaOverlay {
    /// Whether the window is open.
    pub open: bool,
    /// The key that opens and closes the window.
    pub toggle_key: KeyCode,
    /// What the user has chosen: sorting, filter, open sections.
    #[reflect(ignore)]
    pub panel: PanelState,
}

/// Adds the messages that `bevy_egui` reads. Bevy's window and input plugins add them too, but a headless app has
/// neither; adding one twice has no effect.
fn add_egui_input_messages(app: &mut App) {
    app.add_message::<WindowEvent>()
        .add_message::<CursorMoved>()
        .add_message::<Ime>()
        .add_message::<FileDragAndDrop>()
        .add_message::<RequestRedraw>()
        .add_message::<KeyboardInput>()
        .add_message::<KeyboardFocusLost>()
        .add_message::<MouseWheel>()
        .add_message::<PinchGesture>()
        .add_message::<TouchInput>();
}

fn toggle(keys: Option<Res<ButtonInput<KeyCode>>>, mut overlay: ResMut<LuaOverlay>) {
    if keys.is_some_and(|keys| keys.just_pressed(overlay.toggle_key)) {
        overlay.open = !overlay.open;
    }
}

fn draw(
    mut contexts: EguiContexts,
    mut overlay: ResMut<LuaOverlay>,
    snapshot: Res<LuaSnapshot>,
    mut control: MessageWriter<LuaControl>,
) {
    if !overlay.open {
        return;
    }
    let Ok(ctx) = contexts.ctx_mut() else {
        return;
    };
    let mut open = true;
    let shown = egui::Window::new("Lua pool")
        .id(egui::Id::new("bevy_lua_pool_overlay"))
        .open(&mut open)
        .default_pos([12.0, 12.0])
        .default_size([572.0, 696.0])
        .min_size([500.0, 200.0])
        .resizable(true)
        .show(ctx, |ui| show_panel(ui, &snapshot, &mut overlay.panel));
    if let Some(requests) = shown.and_then(|shown| shown.inner) {
        control.write_batch(requests);
    }
    if !open {
        overlay.open = false;
    }
}
