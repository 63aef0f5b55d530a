"""Rate of `bench data collect` and of bare physics with the same policy, threads and environments.

Bare physics repeats a recorded rollout: per step the policy's actions for the recorded observations, then
`mj_step` with the recorded actions on the same threads, and the recorded resets. It takes no observation,
reward or termination and stores nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from threadpoolctl import threadpool_limits

from bench.catalog import Task, load_catalog
from bench.data.behaviours import BehaviourPolicy, load_policy
from bench.data.collect import collect
from bench.envs import load_model, make_simulator, robot_of
from benchmarks.measuring import Comparison, argument_parser, compare, write_record

TASKS = ("collected-hopper-medium", "collected-walker2d-medium", "collected-halfcheetah-medium")
TARGET = 0.7


@dataclass(frozen=True)
class Recording:
    """T steps of N environments."""

    noise: np.ndarray
    """(T, N, A) float32."""
    observations: np.ndarray
    """(T, N, O) float32, before each step."""
    actions: np.ndarray
    """(T, N, A) float32."""
    resets: list[list[tuple[int, np.ndarray, np.ndarray]]]
    """Per step: (environment, qpos, qvel) of those that begin anew before it."""


def record(task: Task, policy: BehaviourPolicy, steps: int, count: int) -> Recording:
    """Roll the policy out, resetting what ends."""
    noise = np.random.default_rng(0).standard_normal((steps, count, task.action_dim), dtype=np.float32)
    observations = np.empty((steps, count, task.observation_dim), dtype=np.float32)
    actions = np.empty_like(noise)
    resets: list[list[tuple[int, np.ndarray, np.ndarray]]] = []
    with make_simulator(task.environment, task.physics, count) as simulator:
        seed = 0
        for step in range(steps):
            ended = np.flatnonzero(simulator.finished).tolist()
            if ended:
                simulator.reset(range(seed, seed + len(ended)), ended)
                seed += len(ended)
            resets.append([(slot, simulator.qpos[slot], simulator.qvel[slot]) for slot in ended])
            observations[step] = simulator.observations
            actions[step] = policy.sample(observations[step], noise[step])
            simulator.step(actions[step])
    return Recording(noise, observations, actions, resets)


def bare_physics(task: Task, policy: BehaviourPolicy, recording: Recording, threads: int) -> float:
    """Environment steps per second of the recording's policy calls and physics alone."""
    model = load_model(task.environment, task.physics)
    frame_skip = robot_of(task.environment).frame_skip
    steps, count, _ = recording.actions.shape
    environments = [mujoco.MjData(model) for _ in range(count)]
    chunks = np.array_split(np.arange(count), threads)

    def advance(chunk: np.ndarray, actions: np.ndarray) -> None:
        for slot in chunk.tolist():
            environments[slot].ctrl[:] = actions[slot]
            mujoco.mj_step(model, environments[slot], nstep=frame_skip)

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool, threadpool_limits(1, "blas"):
        for step in range(steps):
            for slot, qpos, qvel in recording.resets[step]:
                mujoco.mj_resetData(model, environments[slot])
                environments[slot].qpos[:], environments[slot].qvel[:] = qpos, qvel
                mujoco.mj_forward(model, environments[slot])
            policy.sample(recording.observations[step], recording.noise[step])
            list(pool.map(advance, chunks, [recording.actions[step]] * threads))
    return steps * count / (time.perf_counter() - started)


def collection(task: Task, rows: int, threads: int) -> float:
    """Rows per second of a whole collection, writing and hashing included."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        collect(task, Path(folder) / "data.hdf5", rows, threads=threads)
        return rows / (time.perf_counter() - started)


def compare_collection(task: Task, options: argparse.Namespace) -> Comparison:
    """Collection against bare physics, one task."""
    policy = load_policy(task.environment, "medium")
    recording = record(task, policy, options.steps, options.environments)
    rows = options.steps * options.environments
    ways = {
        "collection": lambda: collection(task, rows, options.threads),
        "bare physics": lambda: bare_physics(task, policy, recording, options.threads),
    }
    return compare(task.name, "rows per second", TARGET, ways, options.repeats)


def main(arguments: list[str] | None = None) -> None:
    """Compare for the medium dataset of all three robots and print one line each."""
    parser = argument_parser(__doc__)
    parser.set_defaults(steps=2000)
    options = parser.parse_args(arguments)
    comparisons = []
    for name in TASKS:
        comparisons.append(compare_collection(load_catalog().task(name), options))
        print(comparisons[-1].as_line(), flush=True)
    if options.json:
        settings = {"threads": options.threads, "environments": options.environments, "steps": options.steps}
        write_record(options.json, comparisons, settings)


if __name__ == "__main__":
    main()
