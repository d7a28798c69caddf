#!/usr/bin/env bash
# Measures the peers and this crate with the same work on this machine; prints a table of ratios. Builds
# both, in target directories of their own: the first time that takes some minutes.
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TERM_COLOR=never

root=$(cd ../.. && pwd)
ours=$(cd "$root" && cargo bench --locked --bench frame --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$ours" ] || { echo "the bench \`frame\` was not built" >&2; exit 1; }

target="${PEERS_TARGET_DIR:-${CARGO_TARGET_DIR:-$root/target}/peers}"
# The peer's Luau is not to check its own work either: see `.cargo/config.toml`.
CXXFLAGS="${CXXFLAGS:-} -DNDEBUG" CARGO_TARGET_DIR="$target" cargo build --locked --release
exec "$target/release/bevy_lua_pool_peers" "$ours"
