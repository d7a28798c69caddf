//! Thousands of sprites moved by scripts, good ones and bad ones, with the overlay open.
//!
//! ```sh
//! cargo run --release --features window --example showcase
//! ```
//!
//! F3 closes and opens the overlay; the space bar scatters the dust. Change a script in
//! `assets/scripts` and press the overlay's "reload": everybody goes on with the new one.
//! `--frames N` ends the program after N frames.

use std::f32::consts::TAU;

use bevy::asset::RenderAssetUsages;
use bevy::log::LogPlugin;
use bevy::prelude::*;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};
use bevy::window::WindowResolution;
use bevy_lua_pool::LuaOverlayPlugin;
use bevy_lua_pool::prelude::*;

const DUST: usize = 1_800;
const STARS: usize = 400;
const PLANETS: usize = 9;
const MOONS: usize = 24;
const BEACONS: usize = 120;
const SPARKS: usize = 3;
const STUMBLING: usize = 40;

/// The scene's middle, as seen from the window's: the overlay covers the left.
const MIDDLE: Vec2 = Vec2::new(290.0, 0.0);

/// Read by `scripts/orbit.luau`.
#[derive(Component, Reflect)]
struct Orbit {
    radius: f32,
    /// Radians a second.
    speed: f32,
    /// Radians.
    start: f32,
}

/// Read by `scripts/beacon.luau`.
#[derive(Component, Reflect)]
struct Relay {
    next: Entity,
}

/// What the space bar scatters.
#[derive(Component)]
struct Dust;

fn main() -> AppExit {
    let window = Window {
        title: "bevy_lua_pool".into(),
        resolution: WindowResolution::new(1280, 720),
        ..default()
    };
    let config = LuaPoolConfig {
        pool: PoolConfig { max_size: 4, max_use_count: 600, ..PoolConfig::default() },
        // Long enough for a good script on a machine that is busy drawing.
        run_time_limit: std::time::Duration::from_millis(50),
        ..LuaPoolConfig::default()
    };
    let mut app = App::new();
    app.add_plugins((
        DefaultPlugins
            .set(WindowPlugin { primary_window: Some(window), ..default() })
            .set(LogPlugin { filter: "error".into(), ..default() }),
        LuaPoolPlugin { config, ..default() },
        LuaOverlayPlugin { open: true, ..default() },
    ))
    .insert_resource(ClearColor(Color::srgb_u8(9, 12, 24)))
    .expose_component::<Orbit>()
    .expose_component::<Relay>()
    .expose_component::<Sprite>()
    .add_systems(Startup, spawn)
    .add_systems(Update, (scatter, count_laps));
    if let Some(frames) = frames() {
        app.add_systems(Last, move |mut seen: Local<u32>, mut exit: MessageWriter<AppExit>| {
            *seen += 1;
            if *seen >= frames {
                exit.write(AppExit::Success);
            }
        });
    }
    app.run()
}

/// The number after `--frames`.
fn frames() -> Option<u32> {
    let mut args = std::env::args().skip_while(|arg| arg != "--frames");
    args.nth(1)?.parse().ok()
}

fn spawn(
    mut commands: Commands,
    assets: Res<AssetServer>,
    mut images: ResMut<Assets<Image>>,
    mut to_script: MessageWriter<ToScript>,
) {
    commands.spawn((Camera2d, Transform::from_translation(-MIDDLE.extend(0.0))));
    let disc = images.add(disc());
    let sprite = |size: f32, color: Color| Sprite {
        image: disc.clone(),
        color,
        custom_size: Some(Vec2::splat(size)),
        ..default()
    };
    let script = |path: &'static str| LuaScripts::new(assets.load(path));

    for index in 0..STARS {
        // The golden ratio and its like spread points evenly.
        let place = Vec2::new(index as f32 * 0.754_877_7, index as f32 * 0.569_840_3).fract();
        let place = (place - 0.5) * Vec2::new(1280.0, 720.0) - MIDDLE;
        commands.spawn((
            sprite(3.0, Color::srgb(0.75, 0.82, 1.0)),
            Transform::from_translation(place.extend(-1.0)),
            script("scripts/twinkle.luau"),
        ));
    }

    for index in 0..DUST {
        let hue = 185.0 + 90.0 * (index as f32 * 0.618_034).fract();
        let size = 4.0 + 4.0 * (index as f32 * 0.414_214).fract();
        commands.spawn((
            Dust,
            sprite(size, Color::hsla(hue, 0.75, 0.66, 0.75)),
            script("scripts/swirl.luau"),
        ));
    }

    for planet in 0..PLANETS {
        let start = TAU * planet as f32 / PLANETS as f32;
        let orbit = Orbit { radius: 215.0, speed: -0.12, start };
        commands
            .spawn((
                sprite(20.0, Color::srgb(1.0, 0.78, 0.45)),
                orbit,
                script("scripts/orbit.luau"),
            ))
            .with_children(|moons| {
                for moon in 0..MOONS {
                    let part = moon as f32 / MOONS as f32;
                    let orbit = Orbit {
                        radius: 17.0 + 7.0 * (moon % 3) as f32,
                        speed: 2.4 - 0.6 * (moon % 3) as f32,
                        start: TAU * part,
                    };
                    let color = Color::hsl(18.0 + 26.0 * part, 0.9, 0.7);
                    moons.spawn((sprite(5.0, color), orbit, script("scripts/orbit.luau")));
                }
            });
    }

    let ring: Vec<Entity> = (0..BEACONS).map(|_| commands.spawn_empty().id()).collect();
    for (index, beacon) in ring.iter().enumerate() {
        let place = Vec2::from_angle(TAU * index as f32 / BEACONS as f32) * 338.0;
        commands.entity(*beacon).insert((
            Relay { next: ring[(index + 1) % BEACONS] },
            sprite(9.0, Color::srgb(0.16, 0.22, 0.38)),
            Transform::from_translation(place.extend(0.0)),
            script("scripts/beacon.luau"),
        ));
    }
    for spark in 0..SPARKS {
        let beacon = ring[spark * BEACONS / SPARKS];
        to_script.write(ToScript::new(beacon, "light", ScriptValue::Nil));
    }

    let red = Color::srgb(0.98, 0.36, 0.42);
    for _ in 0..STUMBLING {
        commands.spawn((sprite(9.0, red), script("scripts/bad/stumbling.luau")));
    }
    for (index, bad) in ["endless", "hoarding"].into_iter().enumerate() {
        for x in [-1.0, 0.0, 1.0] {
            let place = Vec3::new(16.0 * x, 8.0 - 16.0 * index as f32, 1.0);
            commands.spawn((
                sprite(11.0, red),
                Transform::from_translation(place),
                LuaScripts::new(assets.load(format!("scripts/bad/{bad}.luau"))),
            ));
        }
    }
}

/// A white disc with a soft edge.
fn disc() -> Image {
    const SIZE: u32 = 32;
    let middle = (SIZE - 1) as f32 / 2.0;
    let pixels = (0..SIZE * SIZE).flat_map(|pixel| {
        let place = Vec2::new((pixel % SIZE) as f32, (pixel / SIZE) as f32) - middle;
        let edge = 1.0 - place.length() / middle;
        [255, 255, 255, (255.0 * edge.clamp(0.0, 0.5) * 2.0) as u8]
    });
    Image::new(
        Extent3d { width: SIZE, height: SIZE, depth_or_array_layers: 1 },
        TextureDimension::D2,
        pixels.collect(),
        TextureFormat::Rgba8UnormSrgb,
        RenderAssetUsages::RENDER_WORLD,
    )
}

/// The game tells scripts.
fn scatter(
    keys: Res<ButtonInput<KeyCode>>,
    dust: Query<Entity, With<Dust>>,
    mut to_script: MessageWriter<ToScript>,
) {
    if keys.just_pressed(KeyCode::Space) {
        let scattered = dust.iter().map(|speck| ToScript::new(speck, "scatter", ScriptValue::Nil));
        to_script.write_batch(scattered);
    }
}

/// Scripts tell the game.
fn count_laps(
    mut events: MessageReader<ScriptEvent>,
    mut window: Single<&mut Window>,
    mut laps: Local<usize>,
) {
    let new = events.read().filter(|event| event.name == "lap").count();
    if new > 0 {
        *laps += new;
        window.title = format!("bevy_lua_pool: {} laps", *laps);
    }
}
