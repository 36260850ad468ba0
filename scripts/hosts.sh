#!/usr/bin/env bash
# A search by four processes on two hosts, which are network namespaces of this machine with names and addresses of their own,
# joined by one virtual cable: messages go by TCP and nothing is shared but the file system. It must have the bytes of one
# process; and where one host's daemon is killed, the job must end, and another must go on with it.
#
#     scripts/hosts.sh [PROGRAM]      a `lease` built with --features mpi [default: target/release/lease]
#
# Needs root, iproute2, unshare and Open MPI. Half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
lease=$(realpath "${1:-target/release/lease}")
work=$(mktemp -d)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1

clean() {
    for host in h1 h2; do
        ip netns del "lease-$host" 2>/dev/null || true
        rm -rf "/etc/netns/lease-$host"
    done
    rm -rf "$work"
}
trap clean EXIT

for host in h1 h2; do
    ip netns add "lease-$host"
    mkdir -p "/etc/netns/lease-$host"
    printf '127.0.0.1 localhost\n10.77.0.1 h1\n10.77.0.2 h2\n' >"/etc/netns/lease-$host/hosts"
    ip -n "lease-$host" link set lo up
done
ip link add cable1 netns lease-h1 type veth peer name cable2 netns lease-h2
for end in 1 2; do
    ip -n "lease-h$end" addr add "10.77.0.$end/24" dev "cable$end"
    ip -n "lease-h$end" link set "cable$end" up
done

# How a command comes to a host.
cat >"$work/on" <<'ON'
#!/bin/bash
host=$1
shift
exec ip netns exec "lease-$host" unshare --uts sh -c "hostname $host; $*"
ON
chmod +x "$work/on"

tiny="--dataset digits --limit 200 --channels 2 --batch 20 --audience-width 0.1 --seed 3 --nodes 1 --epochs 4 --ghost-batches 4
    --threads 1 --checkpoint-seconds 0"
# Four processes of `lease`, two on each host.
hosts() {
    "$work/on" h1 "exec mpirun --mca plm_rsh_agent $work/on --mca oob_tcp_if_include 10.77.0.0/24 --mca btl tcp,self \
        --mca btl_tcp_if_include 10.77.0.0/24 --host h1:2,h2:2 -n 4 $lease search --quiet $*"
}
# shellcheck disable=SC2086  # settings are words
"$lease" search --quiet $tiny --out "$work/one" >/dev/null
same() {
    for file in metrics.jsonl genotype.json weights/architecture.safetensors weights/explainer.safetensors; do
        cmp "$work/one/$file" "$work/$1/$file"
    done
}

hosts $tiny --out "$work/two" >/dev/null
same two
echo "Two hosts: the bytes of one process."
ip -n lease-h1 -s link show cable1 | awk '/TX:/ { getline; print "  " $1 " bytes went over the cable in 20 steps." }'

hosts $tiny --out "$work/killed" >"$work/said" 2>&1 &
job=$!
until [ -e "$work"/killed/checkpoints/step-000000006.safetensors ]; do
    kill -0 "$job"
    sleep 0.1
done
# The daemon of the second host: the one in its namespace.
for pid in $(ip netns pids lease-h2); do
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = orted ]; then kill -KILL "$pid"; fi
done
if wait "$job"; then
    echo "The job did not notice that a host has gone."
    exit 1
fi
hosts --resume "$work/killed" --threads 1 >/dev/null
same killed
echo "A host that has gone ends the job, and another goes on: the same bytes."
