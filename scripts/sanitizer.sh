# Sourced by the other scripts: Luau under AddressSanitizer.
#
# Needs clang: only its runtime and Rust's fit together, and gcc has no coverage that libFuzzer understands.
# CLANG_VERSION=-14 takes clang-14 instead of clang.

export CC="${CC:-clang${CLANG_VERSION:-}}"
export CXX="${CXX:-clang++${CLANG_VERSION:-}}"
command -v "$CXX" >/dev/null || {
    echo "$CXX is missing: apt-get install clang, or set CLANG_VERSION, such as -14" >&2
    exit 1
}

# Scripts may need 64 MiB of stack, and the crate makes such stacks where the thread has none. AddressSanitizer
# knows the stacks of threads alone: what lies on another one is an error to it. So threads have enough, and no
# stack is made.
export RUST_MIN_STACK=$((128 * 1024 * 1024))
ulimit -s "$((128 * 1024))"
