"""Environment steps of AntMaze, pen and kitchen: batched, one environment at a time, and bare physics.

The same random actions in all. One at a time is the same rules in plain Python, an environment after the
other on one thread: what an evaluation loop without batching does. Bare physics is `mj_step` alone on the
same machine. CPU time per step is steadier on a busy machine than the rates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import mujoco
import numpy as np

from bench.envs import make_simulator
from benchmarks.measuring import Comparison, argument_parser, compare, write_record
from benchmarks.simulator import batched

TARGETS = {
    "antmaze-umaze": 1.8,
    "antmaze-medium": 1.8,
    "antmaze-large": 1.8,
    "pen": 1.8,
    "kitchen": 1.7,
}
"""Ratio of the batched rate on two threads to the one at a time; physics is nearly all of it."""


def one_at_a_time(environment: str, actions: np.ndarray) -> float:
    """Steps per second of N simulators of one environment, stepped by turns."""
    steps, count, _ = actions.shape
    alone = [make_simulator(environment, "d4rl", 1) for _ in range(count)]
    for seed, simulator in enumerate(alone):
        simulator.reset([seed])
    seed = count
    started = time.perf_counter()
    for action in actions:
        for slot, simulator in enumerate(alone):
            step = simulator.step(action[slot : slot + 1])
            if step.terminated[0] or step.truncated[0]:
                simulator.reset([seed])
                seed += 1
    return steps * count / (time.perf_counter() - started)


def bare_physics(environment: str, actions: np.ndarray) -> float:
    """CPU microseconds of `mj_step` alone per environment step, from states and actions as in the others."""
    steps, count, _ = actions.shape
    with make_simulator(environment, "d4rl", count) as simulator:
        simulator.reset(range(count))
        model, frame_skip = simulator.model, simulator.rules.frame_skip
        environments = []
        for slot in range(count):
            data = mujoco.MjData(model)
            data.qpos[:], data.qvel[:] = simulator.qpos[slot], simulator.qvel[slot]
            simulator.rules.recall(data, {name: rows[slot] for name, rows in simulator.memory.items()})
            environments.append(data)
        controls = [simulator.rules.control(action, simulator.states) for action in actions]
    used = time.process_time()
    for control in controls:
        for data, values in zip(environments, control, strict=True):
            data.ctrl[:] = values
            mujoco.mj_step(model, data, nstep=frame_skip)
    return 1e6 * (time.process_time() - used) / (steps * count)


def compare_robot(
    environment: str, options: argparse.Namespace
) -> tuple[Comparison, Sequence[float], Sequence[float]]:
    """Batched against one at a time, and the CPU microseconds of both a batched and a bare step."""
    with make_simulator(environment, "d4rl", 1) as simulator:
        shape = (options.steps, options.environments, simulator.action_dim)
    actions = np.random.default_rng(0).uniform(-1, 1, shape)
    used: list[float] = []
    bare: list[float] = []

    def ours() -> float:
        rate, microseconds = batched(environment, "d4rl", actions, options.threads)
        used.append(microseconds)
        bare.append(bare_physics(environment, actions))
        return rate

    ways = {"batched": ours, "one at a time": lambda: one_at_a_time(environment, actions)}
    comparison = compare(environment, "steps per second", TARGETS[environment], ways, options.repeats)
    return comparison, used[1:], bare[1:]


def main(arguments: list[str] | None = None) -> None:
    """Compare for every robot and print two lines each."""
    parser = argument_parser(__doc__)
    parser.set_defaults(steps=50, environments=32)
    options = parser.parse_args(arguments)
    comparisons, microseconds = [], {}
    for environment in TARGETS:
        comparison, used, bare = compare_robot(environment, options)
        comparisons.append(comparison)
        whole, physics = float(np.median(used)), float(np.median(bare))
        microseconds[environment] = {
            "batched": list(used),
            "bare physics": list(bare),
            "share of bare physics": physics / whole,
        }
        print(comparison.as_line(), flush=True)
        print(f"  {whole:,.0f} CPU microseconds per step, bare physics {physics / whole:.0%}", flush=True)
    if options.json:
        settings = {"threads": options.threads, "environments": options.environments, "steps": options.steps}
        write_record(options.json, comparisons, settings, {"cpu_microseconds_per_step": microseconds})


if __name__ == "__main__":
    main()
