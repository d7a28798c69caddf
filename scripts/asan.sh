#!/usr/bin/env bash
# Runs the tests that attack the sandbox under AddressSanitizer, Luau included:
#
#     scripts/asan.sh                 all attacks, random scripts and files, the tests of the VM
#     scripts/asan.sh --test clean    others: arguments of `cargo test`
#
# Needs Linux on x86-64, a nightly Rust and clang. FUZZ_SECONDS=600 makes random scripts and files go on for so long.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/sanitizer.sh
# With Luau's own checks.
export LUAU_CXXFLAGS="-fsanitize=address -fno-omit-frame-pointer -gline-tables-only"
export RUSTFLAGS="-Zsanitizer=address"
# As in `fuzz.sh`.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/asan"

# With a target of its own, build scripts and macros stay without the sanitizer.
tests=(cargo +nightly test --locked --no-default-features --features data-formats,linalg,diagnostics
    --target x86_64-unknown-linux-gnu)
if [ $# -gt 0 ]; then
    exec "${tests[@]}" "$@"
fi
"${tests[@]}" --lib -- vm:: engine::
"${tests[@]}" --test attacks
"${tests[@]}" --test fuzz -- --nocapture
