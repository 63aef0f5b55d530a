"""Measures the shipped behaviour policies with both physics and writes what it finds into their metadata.

`python -m bench.data.measure_policies` repeats it; the tensors are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits

from bench.catalog import Catalog, Physics, Task, load_catalog
from bench.data.policies import BehaviourPolicy, all_policies, load_policy, policy_path
from bench.envs import PHYSICS, make_simulator
from bench.files import written_whole
from bench.hardware import usable_cores

EPISODES = 256
SEED = 20_240


@dataclass(frozen=True)
class Measurement:
    """Stochastic episodes of one policy with one physics."""

    returns: np.ndarray
    """(E,) undiscounted."""
    lengths: np.ndarray
    """(E,) steps."""

    def as_metadata(self, physics: Physics, task: Task) -> dict[str, str]:
        """The entries `<physics>_...` of a policy's file; safetensors holds text only."""
        error = self.returns.std(ddof=1) / np.sqrt(len(self.returns))
        return {
            f"{physics}_episodes": str(len(self.returns)),
            f"{physics}_mean_return": f"{self.returns.mean():.1f}",
            f"{physics}_standard_error": f"{error:.1f}",
            f"{physics}_mean_length": f"{self.lengths.mean():.1f}",
            f"{physics}_score": f"{task.normalised(self.returns.mean()):.1f}",
        }


def measure(
    policy: BehaviourPolicy, physics: Physics, episodes: int, seed: int = SEED, threads: int = 1
) -> Measurement:
    """Roll out `episodes` whole episodes, one per environment, so that short ones are not favoured."""
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    generator = np.random.default_rng(seed)
    simulator = make_simulator(policy.environment, physics, episodes, threads)
    with simulator, threadpool_limits(1, "blas"):
        observations = simulator.reset(range(seed, seed + episodes))
        while not simulator.finished.all():
            lengths += ~simulator.finished
            noise = generator.standard_normal((episodes, policy.action_dim), dtype=np.float32)
            step = simulator.step(policy.sample(observations, noise))
            observations = step.observations
            returns += step.rewards
    return Measurement(returns, lengths)


def main() -> None:
    """Measure all policies and write their metadata."""
    catalog = load_catalog()
    threads = usable_cores()
    for environment, role in all_policies():
        policy, task = load_policy(environment, role), _task_of(catalog, environment)
        metadata = {"environment": environment, "role": role}
        for physics in PHYSICS:
            metadata |= measure(policy, physics, EPISODES, threads=threads).as_metadata(physics, task)
        path = policy_path(environment, role)
        with written_whole(path) as temporary:
            save_file(load_file(path), temporary, metadata)
        print(" ".join(f"{key}={value}" for key, value in metadata.items()), flush=True)


def _task_of(catalog: Catalog, environment: str) -> Task:
    return next(task for task in catalog.tasks.values() if task.environment == environment)


if __name__ == "__main__":
    main()
