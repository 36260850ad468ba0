#!/usr/bin/env bash
# What a second process gives, and a second thread: the same search by one process of one thread, by two processes of one
# thread each, and by one process of two threads, on this machine (two cores, nothing else at work; about six minutes).
#
#     scripts/scaling.sh [FOLDER]        runs and their table go there [default: a temporary folder]
#
# Builds the program with MPI where that is not done. `lease` takes more settings from LEASE_SETTINGS.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-$(mktemp -d)}
mkdir -p "$out"
cargo build --release --workspace --features lease-cli/mpi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none

# Two steps an epoch of the supernet's usual size, on images of CIFAR-10's; the architecture moves from the first epoch on, so that all
# epochs cost the same.
settings="--dataset cluttered-digits --clutter-side 32 --limit 256 --batch 64 --epochs 2 --warmup-epochs 0 --space darts --nodes 4 --channels 16 --cells 8
    --audience-width 1 --seed 1 ${LEASE_SETTINGS:-}"

# search NAME THREADS PARTS [LAUNCHER…]: the fewest seconds of an epoch, and bytes sent in it by each process.
search() {
    local name=$1 threads=$2 parts=$3
    shift 3
    # shellcheck disable=SC2086  # settings are words
    "$@" target/release/lease search --quiet --out "$out/$name" --threads "$threads" --ghost-batches "$parts" $settings \
        >"$out/$name.txt" 2>&1 || { cat "$out/$name.txt"; exit 1; }
    awk -v name="$name" '{
        match($0, /"seconds":[0-9.e-]+/); seconds = substr($0, RSTART + 10, RLENGTH - 10) + 0
        sent = match($0, /"sent_bytes":[0-9]+/) ? substr($0, RSTART + 13, RLENGTH - 13) / 1e6 : 0
        if (NR == 1 || seconds < least) least = seconds
    } END { printf "%-32s %8.2f s an epoch of 2 steps, %7.1f MB sent by each process in it\n", name, least, sent }' \
        "$out/$name/timing.jsonl"
}

{
    echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    search one-process-one-thread 1 2
    search two-processes-one-thread 1 2 mpirun --bind-to core -n 2
    search one-process-two-threads 2 2
    search one-process-two-threads-whole 2 1
    if cmp -s "$out"/one-process-one-thread/weights/architecture.safetensors \
        "$out"/two-processes-one-thread/weights/architecture.safetensors; then
        echo "One and two processes of one thread: the same bits."
    else
        echo "One and two processes of one thread DIFFER."
        exit 1
    fi
} | tee "$out/scaling.txt"
