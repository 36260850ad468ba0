#!/bin/sh
# Fuzzes the parsers of foreign bytes: `scripts/fuzz.sh [TARGET…]`, all targets if none is named. It prints a line for
# each: its runs, seconds, runs a second, peak memory, and what it found, which lies in fuzz/artifacts/TARGET. Needs a
# nightly toolchain and cargo-fuzz (`cargo install cargo-fuzz --locked`). RUNS=N makes N runs of each.
set -eu
cd "$(dirname "$0")/.."
export RAYON_NUM_THREADS=1
# Memory is kept from run to run.
export MALLOC_MMAP_THRESHOLD_=67108864 MALLOC_TRIM_THRESHOLD_=268435456
# No sanitizer: what reads foreign bytes is safe Rust. Assertions and checks of overflow are on.
RUSTC_WRAPPER="$PWD/fuzz/rustc.sh" cargo +nightly fuzz build -s none
files=$(mktemp -d /dev/shm/lease-fuzz-XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$files"' EXIT
export TMPDIR="$files"
if [ $# = 0 ]; then
    set -- genotype config table case case_settings checkpoint run resume cifar image image_folder
fi
for target in "$@"; do
    runs=1000000
    length=4096
    case $target in
    image | image_folder) runs=100000 ;;
    case) length=16384 ;;
    case_settings) length=1024 ;;
    cifar) length=6200 ;;
    esac
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    log="$files/$target.log"
    started=$(date +%s)
    ended=0
    fuzz/target/*/release/"$target" "fuzz/corpus/$target" "fuzz/corpus-kept/$target" \
        -runs="${RUNS:-$runs}" -timeout=10 -rss_limit_mb=2048 -max_len="$length" -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1 || ended=$?
    seconds=$(($(date +%s) - started))
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    found=$(find "fuzz/artifacts/$target" -type f | wc -l)
    echo "$target: $(stat number_of_executed_units) runs in $seconds s, peak $(stat peak_rss_mb) MB, found $found"
    if [ "$ended" != 0 ]; then
        grep -E "panicked|SUMMARY|ERROR" "$log" | head -4
    fi
done
