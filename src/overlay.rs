//! An egui window that shows the pool, the scripts, and their errors (features `overlay` and `panel`).
//!
//! The overlay reads [`LuaSnapshot`] and writes [`LuaControl`], and touches nothing else: looking at
//! the pool can't disturb it. Apps with an egui of their own leave [`LuaOverlayPlugin`] out and call
//! [`show_panel`] where they like.

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
/// It draws with `bevy_egui` on the first camera that the app spawns, and adds [`EguiPlugin`] if
/// the app has not done so; an app that adds [`EguiPlugin`] itself does that first. Add it after
/// `DefaultPlugins`. Without a renderer or a camera there is nothing to draw on, and nothing is drawn.
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
    /// The key that opens and closes the window: F3 by default. Choose one that types no text,
    /// because the window has a field to type in.
    pub toggle_key: KeyCode,
    /// Whether the window is open at the start: `false` by default.
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
/// With its renderer, `bevy_egui` wants Bevy's renderer in the app, and panics in a headless one. Nobody could
/// see the overlay there, so egui is left out.
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
/// Without its renderer, `bevy_egui` leaves it to others to take the textures that a frame changed, and panics
/// if nobody does.
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

/// The overlay window's state. Set [`open`](Self::open) to open or close it from code.
#[derive(Resource, Reflect, Clone, Debug)]
#[reflect(Resource)]
pub struct LuaOverlay {
    /// Whether the window is open.
    pub open: bool,
    /// The key that opens and closes the window.
    pub toggle_key: KeyCode,
    /// What the person looking has chosen: sorting, filter, open sections.
    #[reflect(ignore)]
    pub panel: PanelState,
}

/// `bevy_egui` reads these messages in every app. The window and input plugins add them too, and a
/// headless app has neither; adding one twice changes nothing.
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
