#!/bin/bash
# Any number of equal jobs on one store, each of which takes the next stack that is free:
#   BENCH_STORE=postgresql+psycopg://user@host/bench sbatch docs/slurm/shared.sh --suite d4rl-locomotion --algos dtql
#SBATCH --job-name=bench-shared
#SBATCH --array=0-15
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120

set -euo pipefail
: "${BENCH_STORE:?name the store that all jobs share}"
exec srun bench run "$@" --executor local
