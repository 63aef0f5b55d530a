"""Measures the shipped behaviour policies with every physics and writes what it finds into their metadata.

`python -m bench.data.measure_policies` repeats it; the tensors, and what else the metadata say, stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits

from bench.catalog import Catalog, Physics, Task, load_catalog
from bench.data.policies import Behaviour, BehaviourPolicy, all_policies, load_policy, policy_path
from bench.data.way_points import WayPoints
from bench.envs import rules_of
from bench.envs.antmaze import MAZES
from bench.envs.batch import BatchedSimulator
from bench.envs.rules import Rules, Step
from bench.files import written_whole
from bench.hardware import usable_cores

EPISODES = 256
SEED = 20_240


@dataclass(frozen=True)
class Setting:
    """Where a policy acts, and how."""

    part: str
    """Stands in the names of its entries after the physics: `_umaze`, or nothing."""
    rules: Rules
    task: Task
    """Whose reference scores apply."""
    behaviour: Callable[[BehaviourPolicy], Behaviour]
    """Of the policy there."""


def settings_of(environment: str, catalog: Catalog) -> list[Setting]:
    """Where a policy of `environment` is measured: there, or, of the ant that is led, in every maze."""
    if environment != "antmaze":
        return [Setting("", rules_of(environment), _task_of(catalog, environment), lambda policy: policy)]
    return [
        Setting(
            f"_{name}",
            rules_of(f"antmaze-{name}"),
            _task_of(catalog, f"antmaze-{name}"),
            partial(WayPoints, maze=maze),
        )
        for name, maze in MAZES.items()
    ]


@dataclass(frozen=True)
class Measurement:
    """Episodes of one behaviour with one physics."""

    returns: np.ndarray
    """(E,) undiscounted."""
    lengths: np.ndarray
    """(E,) steps."""

    @property
    def standard_error(self) -> float:
        """Of the mean return."""
        return float(self.returns.std(ddof=1) / np.sqrt(len(self.returns)))

    def as_metadata(self, prefix: str, task: Task) -> dict[str, str]:
        """The entries `<prefix>_...` of a policy's file; safetensors holds text only."""
        mean = float(self.returns.mean())
        return {
            f"{prefix}_episodes": str(len(self.returns)),
            f"{prefix}_mean_return": f"{mean:.5g}",
            f"{prefix}_standard_error": f"{self.standard_error:.5g}",
            f"{prefix}_mean_length": f"{self.lengths.mean():.1f}",
            f"{prefix}_score": f"{task.normalised(mean):.1f}",
        }


def play(
    behaviour: Behaviour, rules: Rules, physics: Physics, episodes: int, seed: int, threads: int = 1
) -> Iterator[tuple[np.ndarray, Step]]:
    """Play whole episodes, one per environment, so that short ones are not favoured.

    Yields of every step which were under way before it (E,) and what it gave.
    """
    generator = np.random.default_rng(seed)
    simulator = BatchedSimulator(rules, physics, episodes, threads)
    with simulator, threadpool_limits(1, "blas"):
        simulator.reset(range(seed, seed + episodes))
        while not simulator.finished.all():
            under_way = ~simulator.finished
            noise = generator.standard_normal((episodes, behaviour.noise_dim), dtype=np.float32)
            actions, _ = behaviour.act(simulator.states, noise)
            yield under_way, simulator.step(actions)


def measure(
    behaviour: Behaviour, rules: Rules, physics: Physics, episodes: int, seed: int = SEED, threads: int = 1
) -> Measurement:
    """Returns and lengths of whole episodes; behaviours measured with equal seeds meet equal beginnings."""
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    for under_way, step in play(behaviour, rules, physics, episodes, seed, threads):
        returns += step.rewards
        lengths += under_way
    return Measurement(returns, lengths)


def measured(policy: BehaviourPolicy, catalog: Catalog, threads: int = 1) -> BehaviourPolicy:
    """The policy with all its measurements in its metadata, whatever else they say."""
    found = {"environment": policy.environment, "role": policy.role}
    for setting in settings_of(policy.environment, catalog):
        for physics in setting.rules.physics:
            measurement = measure(
                setting.behaviour(policy), setting.rules, physics, EPISODES, threads=threads
            )
            found |= measurement.as_metadata(f"{physics}{setting.part}", setting.task)
    return replace(policy, metadata={**policy.metadata, **found})


def main() -> None:
    """Measure all policies and write their metadata."""
    catalog = load_catalog()
    for environment, role in all_policies():
        policy = measured(load_policy(environment, role), catalog, usable_cores())
        path = policy_path(environment, role)
        with written_whole(path) as temporary:
            save_file(load_file(path), temporary, dict(policy.metadata))
        print(" ".join(f"{key}={value}" for key, value in policy.metadata.items()), flush=True)


def _task_of(catalog: Catalog, environment: str) -> Task:
    return next(task for task in catalog.tasks.values() if task.environment == environment)


if __name__ == "__main__":
    main()
