#!/usr/bin/env bash
# On a machine with a GPU: is `lease` right there, how fast is it, and how fast is PyTorch on the same GPU? One call from the
# root of the repository, which builds nothing and ends within its limit, four minutes unless told otherwise:
#
#     scripts/gpu.sh [KIT [OUT [SECONDS]]]
#
# KIT (default: gpu-kit, else target/release) is a folder with the program as `lease`, or `lease.gz`, made by
# `cargo build --release --workspace --features gpu`; others there, as `lease-autotune`, are measured too. OUT (default: $OUT, else
# gpu-out) gets the raw output, gpu.txt. A step that runs into its share of the time prints what it has, and the next begins; what a
# step does not use goes to those behind it. PyTorch is measured where `python3` (or $PYTHON) has it. $DEVICE, $DARTS and
# $NAS_BENCH_201 are another device and other sizes.
set -uo pipefail
cd "$(dirname "$0")/.."
kit=${1:-}
[ -n "$kit" ] || { [ -d gpu-kit ] && kit=gpu-kit || kit=target/release; }
out=${2:-${OUT:-gpu-out}}
end=$((SECONDS + ${3:-240}))
python=${PYTHON:-python3}
device=${DEVICE:-gpu}
mkdir -p "$out"
exec > >(tee "$out/gpu.txt") 2>&1
log=$!
# Mesa's drivers want a folder for themselves.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$(mktemp -d)}

programs=()
unpacked=$(mktemp -d)
for file in "$kit"/lease "$kit"/lease-* "$kit"/lease.gz; do
    case $file in
    *.gz)
        name=$unpacked/$(basename "$file" .gz)
        [ -f "$file" ] && gzip -dc "$file" >"$name" && chmod +x "$name" && programs+=("$name")
        ;;
    *.d) ;;
    *) [ -f "$file" ] && [ -x "$file" ] && programs+=("$file") ;;
    esac
done
[ ${#programs[@]} -gt 0 ] || { echo "no program lease in $kit" >&2; exit 1; }

# Steps with their shares of the time: share, command.
read -ra darts <<<"${DARTS:---channels 16 --cells 8 --batch 64}"
read -ra nasbench <<<"--space nas-bench-201 ${NAS_BENCH_201:---channels 16 --cells 5 --batch 64}"
tell=(--audience-network resnet20 --audience-width 1 --reweighting signed --attack-steps 1 --attack-step 1 --epsilon 0.03)
steps=()
step() { steps+=("$(printf '%q ' "$@")"); }
step 1 bash -c 'nvidia-smi || echo "no nvidia-smi"; uname -sr; nproc; grep -m1 "model name" /proc/cpuinfo'
for program in "${programs[@]}"; do
    step 2 "$program" devices
    step 14 "$program" verify --device "$device" crates/lease/tests/data/cases/*
    step 16 "$program" bench --device "$device" --runs 3 "${nasbench[@]}" "${tell[@]}"
    step 24 "$program" bench --device "$device" --runs 3 "${darts[@]}" "${tell[@]}"
done
torch() {
    step "$1" "$python" reference/pytorch_gpu_bench.py --iters 5 --threads "$(nproc)" "${@:2}"
}
if timeout 40 "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    torch 30 "${nasbench[@]}"
    torch 50 "${darts[@]}"
else
    echo "$python has no PyTorch that sees a GPU: not measured"
fi

shares=0
for s in "${steps[@]}"; do shares=$((shares + ${s%% *})); done
failed=0
for s in "${steps[@]}"; do
    read -r share command <<<"$s"
    limit=$(((end - SECONDS) * share / shares))
    shares=$((shares - share))
    [ "$limit" -ge 2 ] || limit=2
    started=$SECONDS
    printf '\n== %s   (at most %s s)\n' "$command" "$limit"
    eval "timeout -k 3 $limit $command"
    status=$?
    case $status in
    0) ;;
    124 | 137) echo "-- stopped after its $limit s" ;;
    *)
        echo "-- ended with status $status"
        failed=1
        ;;
    esac
    echo "-- $((SECONDS - started)) s"
done
rm -rf "$unpacked"
exec >/dev/null 2>&1
wait "$log"
exit $failed
