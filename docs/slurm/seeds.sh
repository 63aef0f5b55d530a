#!/bin/bash
# One job for each training seed, with a store of its own:
#   sbatch docs/slurm/seeds.sh --suite d4rl-locomotion --algos dtql
# Afterwards: bench db merge results/bench.sqlite stores/*/bench.sqlite
#SBATCH --job-name=bench-seeds
#SBATCH --array=0-4
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120

set -euo pipefail
seed="$SLURM_ARRAY_TASK_ID"
exec srun bench run "$@" --executor local --seeds "$seed" \
    --store "$SLURM_SUBMIT_DIR/stores/seed-$seed/bench.sqlite"
