#!/usr/bin/env bash
# Fuzzes one target, or all of them one after another, under AddressSanitizer, Luau included:
#
#     scripts/fuzz.sh                 lists the targets
#     scripts/fuzz.sh saves 600       fuzzes one for 600 seconds
#     scripts/fuzz.sh all 600         fuzzes each for 600 seconds
#     scripts/fuzz.sh saves FILE      runs what was found once more
#
# Needs a nightly Rust, `cargo install cargo-fuzz`, and clang.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=(scripts image files saves)
if [ $# -lt 2 ]; then
    printf '%s\n' "${targets[@]}"
    exit
fi
source scripts/sanitizer.sh
# With Luau's own checks, and with coverage of its branches.
export LUAU_CXXFLAGS="-fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer -gline-tables-only"
# Strangers announce much: an allocation that is refused is no error, and what is left at the end is none either. What
# was freed isn't kept for long, since the memory of the whole process is looked at.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16}"
folder="${CARGO_TARGET_DIR:-target/fuzz}"
name=$1
shift
if [ -f "$1" ]; then
    exec cargo +nightly fuzz run --target-dir "$folder" "$name" "$1"
fi
[ "$name" = all ] || targets=("$name")
for target in "${targets[@]}"; do
    # What is new goes to a folder of its own; the committed corpus stays as small as it is.
    mkdir -p "$folder/corpus/$target"
    cargo +nightly fuzz run --target-dir "$folder" "$target" "$folder/corpus/$target" "fuzz/corpus/$target" -- \
        "-max_total_time=$1" -max_len=4096 -timeout=60 -rss_limit_mb=4096 -print_final_stats=1
done
