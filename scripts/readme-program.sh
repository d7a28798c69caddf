#!/usr/bin/env bash
# Builds the program of README's "Thirty lines that work" as a project of its own, with the dependencies that
# README gives, and runs it in a window for 60 frames, the overlay open; then the same plugins in an app without
# a window. The display is a virtual one: needs Xvfb and a software Vulkan driver (Debian: xvfb
# mesa-vulkan-drivers libxkbcommon-x11-0).
#
#   scripts/readme-program.sh [PICTURE.png]
#
# With a file name it also takes a picture of the window (needs ImageMagick's `import`).
set -euo pipefail
picture=${1:+$(realpath -m "$1")}
cd "$(dirname "$0")/.."
crate=$PWD
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/bevy_lua_pool-target}"

command -v Xvfb >/dev/null || {
    echo "Xvfb is missing: apt-get install xvfb mesa-vulkan-drivers libxkbcommon-x11-0" >&2
    exit 1
}

project=$CARGO_TARGET_DIR/readme-program
rm -rf "$project"
mkdir -p "$project/src/bin" "$project/assets/scripts"

# The text of the section's nth code block.
block() {
    awk -v wanted="$1" '
        /^## / { inside = /^## Thirty lines that work/ }
        inside && /^```/ { if (open) { open = 0 } else { open = 1; number++ } next }
        inside && open && number == wanted' README.md
}

{
    printf '[package]\nname = "readme-program"\nversion = "0.0.0"\nedition = "2024"\n\n'
    # The crate as it is here, not as it was published.
    block 1 | sed -E "s|^bevy_lua_pool = .*|bevy_lua_pool = { path = \"$crate\" }|"
    # Of its own, with the profile of this repository, so that both share what is compiled.
    printf '\n[workspace]\n\n'
    sed -n '/^\[profile/,$p' Cargo.toml
} >"$project/Cargo.toml"
grep -q "path = \"$crate\"" "$project/Cargo.toml" || { echo "README names no bevy_lua_pool" >&2; exit 1; }
cp Cargo.lock "$project/Cargo.lock"
cp -r .cargo "$project/.cargo"
block 3 >"$project/assets/scripts/orbit.luau"
block 2 | sed -E 's|^        \.run\(\);|        .add_plugins(after::Frames(60)).run();|' >"$project/src/main.rs"
grep -q 'after::Frames' "$project/src/main.rs" || { echo "README's program has no .run()" >&2; exit 1; }
cat >>"$project/src/main.rs" <<'RUST'

/// What this check adds: the overlay opens, and the program ends.
mod after {
    use bevy::prelude::*;
    use bevy_lua_pool::{LuaOverlay, LuaScripts, LuaSnapshot};

    pub struct Frames(pub u32);

    impl Plugin for Frames {
        fn build(&self, app: &mut App) {
            let last = self.0;
            app.add_systems(
                Last,
                move |mut frame: Local<u32>,
                      mut overlay: ResMut<LuaOverlay>,
                      snapshot: Res<LuaSnapshot>,
                      moved: Query<&Transform, With<LuaScripts>>,
                      mut exit: MessageWriter<AppExit>| {
                    *frame += 1;
                    overlay.open |= *frame == 5;
                    if *frame < last || std::env::var_os("KEEP_OPEN").is_some() {
                        return;
                    }
                    let at = moved.single().expect("one sprite").translation;
                    assert!((at.length() - 100.0).abs() < 1.0, "the script moves the sprite: {at}");
                    assert_eq!(snapshot.total.failed, 0, "no run fails");
                    println!("readme program: {} frames, {} runs, the sprite is at {at}", *frame, snapshot.total.runs);
                    exit.write(AppExit::Success);
                },
            );
        }
    }
}
RUST

cat >"$project/src/bin/headless.rs" <<'RUST'
//! The overlay's renderer is compiled, and the app has none.
use bevy::prelude::*;
use bevy_lua_pool::prelude::*;

fn main() {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), LuaPoolPlugin::default()))
        .add_plugins(LuaOverlayPlugin { open: true, ..default() })
        .add_systems(Startup, |mut commands: Commands, assets: Res<AssetServer>| {
            commands.spawn(Camera2d);
            commands.spawn((Transform::default(), LuaScripts::new(assets.load("scripts/orbit.luau"))));
        });
    app.finish();
    app.cleanup();
    while app.world().resource::<LuaSnapshot>().total.runs < 60 {
        app.update();
    }
    println!("headless program: {} runs", app.world().resource::<LuaSnapshot>().total.runs);
}
RUST

cargo build --manifest-path "$project/Cargo.toml"
program=$CARGO_TARGET_DIR/debug/readme-program

# The first display that is free.
exec 7< <(exec Xvfb -displayfd 1 -screen 0 1280x720x24 -nolisten tcp 2>/dev/null)
xvfb=$!
trap 'kill "$xvfb" 2>/dev/null || true' EXIT
read -r display <&7
export DISPLAY=":$display" BEVY_ASSET_ROOT=$project
if [ -n "$picture" ]; then
    KEEP_OPEN=1 "$program" &
    running=$!
    sleep "${PICTURE_AFTER:-45}"
    import -window root "$picture"
    kill "$running"
    wait "$running" || true
    echo "picture: $picture"
fi
timeout 300 "$program"
timeout 300 "$CARGO_TARGET_DIR/debug/headless"
