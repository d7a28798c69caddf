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

# Deep scripts need more stack than threads have, and the crate makes such stacks (by `stacker`). AddressSanitizer
# knows the stacks of threads alone: where an error of a script leaves frames on another one, their marks stay, and
# what comes to lie there next is reported as `stack-buffer-overflow` or `stack-use-after-scope`. So threads get
# all the stack that may be needed, and none is made.
export RUST_MIN_STACK=$((128 * 1024 * 1024))
ulimit -s "$((128 * 1024))"
