#!/usr/bin/env bash
# Runs all benches and writes BENCHMARKS.md. Some ten minutes once everything is built; the machine should
# have nothing else to do. `BENCH_QUICK=1` gives a first look in some three minutes, and writes to the
# terminal; `WITHOUT_PEERS=1` leaves out the peers, which the first time take as long again to build.
#
# `LUAU_BENCH=luau/bench/tests` adds Luau's own benchmarks, from a copy of its sources, and some fifteen minutes.
set -euo pipefail
[ -z "${LUAU_BENCH:-}" ] || LUAU_BENCH=$(realpath "$LUAU_BENCH")
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

command -v valgrind >/dev/null || { echo "valgrind is needed, to count instructions" >&2; exit 1; }
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# What else runs takes its share: with more than a few tenths the figures say little.
load=$(cut -d' ' -f2 /proc/loadavg)

# All is built before anything is measured.
benches=(frame profile reach instructions)
[ -e benches/pool.rs ] && benches+=(pool)
benches+=(wrappers)
[ -z "${LUAU_BENCH:-}" ] || benches+=(luau)
cargo bench --locked --no-default-features --no-run $(printf -- '--bench %s ' "${benches[@]}")

# Runs a command and keeps the tables that it prints: everything from the first heading on, or from the
# last line that begins with a unit.
section() {
    echo "== $*" >&2
    local output part
    output=$("$@")
    part=$(sed -n '/^### /,$p' <<<"$output")
    if [ -z "$part" ]; then
        part=$(awk '/^ns /{ found = NR } { line[NR] = $0 }
            END { for (n = found ? found : 1; n <= NR; n++) print line[n] }' <<<"$output")
        part=$(printf '### %s\n\n```text\n%s\n```' "${*: -1}" "$part")
    fi
    printf '%s\n\n' "$part" >>"$report"
}

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
cat >"$report" <<END
# Benchmarks

Written by one command, in one go:

\`\`\`sh
benches/report.sh
\`\`\`

- Machine: $(nproc) cores, ${cpu:-unknown}, $memory, $(uname -sm)
- Date: $(date -u +%F); load average when it began $load
- Compiler: $(rustc --version)
- Versions: Bevy $(sed -n '/^name = "bevy"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock), mlua $(sed -n '/^name = "mlua"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock); release, limits on

Times differ from machine to machine and from day to day; ratios are taken within one run and say more.

END
for bench in "${benches[@]}"; do
    section cargo bench --quiet --locked --no-default-features --bench "$bench"
done
[ -n "${WITHOUT_PEERS:-}" ] || section benches/peers/run.sh
if [ -n "${BENCH_QUICK:-}" ]; then
    cat "$report"
    exit
fi
cp "$report" BENCHMARKS.md

# The first table is in README.md too.
costs=$(sed -n '/^### What an entity costs/,/^### Targets/p' BENCHMARKS.md | grep '^|')
awk -v costs="$costs" '
    /<!-- costs -->/ { print; print costs; skip = 1; next }
    /<!-- end of costs -->/ { skip = 0 }
    !skip
' README.md >"$report"
cp "$report" README.md
echo "wrote BENCHMARKS.md, and a table in README.md" >&2
