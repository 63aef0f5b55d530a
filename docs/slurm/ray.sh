#!/bin/bash
# One job of several machines: a Ray cluster, and one `bench run` on it:
#   sbatch docs/slurm/ray.sh --suite d4rl-locomotion --algos dtql --gpus-per-stack 0.5
#SBATCH --job-name=bench-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300

set -euo pipefail
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN="$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" # lets nobody else in
export RAY_AUTH_MODE RAY_AUTH_TOKEN
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

read -r -a machines <<<"$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tr '\n' ' ')"
address="${machines[0]}:${RAY_PORT:-6379}"
start() { # on a machine, with arguments of `ray start`
    srun --nodes=1 --ntasks=1 --nodelist="$1" \
        ray start --block --disable-usage-stats --num-cpus="$SLURM_CPUS_PER_TASK" "${@:2}" &
}
start "${machines[0]}" --head --port="${address##*:}"
until ray status --address="$address" >/dev/null 2>&1; do sleep 2; done
for machine in "${machines[@]:1}"; do
    start "$machine" --address="$address"
done

bench run "$@" --address "$address" &
run=$!
# Five minutes before the limit SLURM tells this script alone: the stacks save their states, Ray still runs.
trap 'kill -TERM "$run"' TERM
wait "$run" || wait "$run" # the first wait ends with the signal
