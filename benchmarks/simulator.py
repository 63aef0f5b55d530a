"""The batched simulator beside others: environment steps per second, and CPU microseconds of a step.

gymnasium's SyncVectorEnv and, where it is installed, EnvPool take the same random actions with observation,
reward and resets, under modern physics, which they have too. `mujoco.rollout` takes the physics alone, in C++
threads: what no simulator on this MuJoCo can beat. Two halves that do not wait for each other show what the
barrier after every step costs. CPU time holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import gymnasium
import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bench.envs import load_model, make_simulator, robot_of
from benchmarks.measuring import Comparison, argument_parser, compare, write_record

GYMNASIUM_IDS = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}
TARGET = 2.0
OURS = "batched simulator"
ENVPOOL = "EnvPool"
HALVES = "two halves without a barrier"
_PHYSICS = "modern"

Way = Callable[[str, np.ndarray, int], tuple[float, float]]
"""Environment, actions (T, N, A), threads -> steps per second and CPU microseconds per step."""


def batched(environment: str, physics: str, actions: np.ndarray, threads: int) -> tuple[float, float]:
    """Steps per second and CPU microseconds per step with `actions` (T, N, A); what ends is reset at once."""
    steps, count, _ = actions.shape
    with make_simulator(environment, physics, count, threads) as simulator:
        simulator.reset(range(count))
        seed = count
        started, used = time.perf_counter(), time.process_time()
        for action in actions:
            step = simulator.step(action)
            ended = np.flatnonzero(step.terminated | step.truncated).tolist()
            if ended:
                simulator.reset(range(seed, seed + len(ended)), ended)
                seed += len(ended)
        seconds, used = time.perf_counter() - started, time.process_time() - used
    return steps * count / seconds, 1e6 * used / (steps * count)


def ours(environment: str, actions: np.ndarray, threads: int) -> tuple[float, float]:
    """The batched simulator."""
    return batched(environment, _PHYSICS, actions, threads)


def halves(environment: str, actions: np.ndarray, threads: int) -> tuple[float, float]:
    """As many robots in as many simulators as there are threads, each of which goes on by itself."""
    shares = np.array_split(actions, threads, axis=1)
    started, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(batched, environment, _PHYSICS, share, 1) for share in shares]:
            done.result()
    return _rates(actions, started, used)


def gymnasiums(environment: str, actions: np.ndarray, threads: int) -> tuple[float, float]:
    """SyncVectorEnv, which has one thread; it resets in the step that ends."""
    count = actions.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # v4 is meant: v5 is another task
        makers = [lambda: gymnasium.make(GYMNASIUM_IDS[environment])] * count
        environments = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    environments.reset(seed=0)
    started, used = time.perf_counter(), time.process_time()
    for action in actions:
        environments.step(action)
    found = _rates(actions, started, used)
    environments.close()
    return found


def envpools(environment: str, actions: np.ndarray, threads: int) -> tuple[float, float]:
    """EnvPool, which resets by itself."""
    envpool = importlib.import_module("envpool")
    pool = envpool.make(
        GYMNASIUM_IDS[environment], env_type="gymnasium", num_envs=actions.shape[1], num_threads=threads
    )
    pool.reset()
    started, used = time.perf_counter(), time.process_time()
    for action in actions:
        pool.step(action.astype(np.float64))
    found = _rates(actions, started, used)
    pool.close()
    return found


def rollouts(environment: str, actions: np.ndarray, threads: int) -> tuple[float, float]:
    """`mujoco.rollout` from the model's first state: no observation, no reward, no reset, no barrier."""
    rollout = importlib.import_module("mujoco.rollout")
    model = load_model(environment, _PHYSICS)
    first = mujoco.MjData(model)
    state = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS))
    mujoco.mj_getState(model, first, state, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    controls = np.repeat(actions.transpose(1, 0, 2), robot_of(environment).frame_skip, axis=1)
    states = np.tile(state, (actions.shape[1], 1))
    data = [mujoco.MjData(model) for _ in range(threads)]
    started, used = time.perf_counter(), time.process_time()
    rollout.rollout(model, data, states, controls.astype(np.float64))
    return _rates(actions, started, used)


def _rates(actions: np.ndarray, started: float, used: float) -> tuple[float, float]:
    """Since these moments of the clock and of CPU time."""
    seconds, used = time.perf_counter() - started, time.process_time() - used
    steps = actions.shape[0] * actions.shape[1]
    return steps / seconds, 1e6 * used / steps


def others() -> dict[str, tuple[Way, float | None]]:
    """What ours is held against, with the ratio of steps per second to reach."""
    found: dict[str, tuple[Way, float | None]] = {
        "SyncVectorEnv": (gymnasiums, TARGET),
        "mujoco.rollout, physics alone": (rollouts, None),
        HALVES: (halves, None),
    }
    if importlib.util.find_spec("envpool") is not None:
        found[ENVPOOL] = (envpools, None)
    return found


def compare_simulators(
    environment: str, other: str, options: argparse.Namespace
) -> tuple[Comparison, dict[str, float]]:
    """Ours against another one, one robot; and the CPU microseconds of a step of either."""
    way, target = others()[other]
    action_dim = 3 if environment == "hopper" else 6
    shape = (options.steps, options.environments, action_dim)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    used: dict[str, list[float]] = {OURS: [], other: []}

    def measured(name: str, way: Way) -> float:
        rate, microseconds = way(environment, actions, options.threads)
        used[name].append(microseconds)
        return rate

    ways = {OURS: lambda: measured(OURS, ours), other: lambda: measured(other, way)}
    comparison = compare(f"{environment}, {other}", "steps per second", target, ways, options.repeats)
    return comparison, {name: statistics.median(values) for name, values in used.items()}


def main(arguments: list[str] | None = None) -> None:
    """Compare for all three robots and print one line each."""
    options = argument_parser(__doc__).parse_args(arguments)
    comparisons, used = [], {}
    for environment in GYMNASIUM_IDS:
        for other in others():
            comparison, microseconds = compare_simulators(environment, other, options)
            comparisons.append(comparison)
            used[comparison.name] = microseconds
            of_cpu = ", ".join(f"{value:.0f}" for value in microseconds.values())
            print(f"{comparison.as_line()}; CPU microseconds per step: {of_cpu}", flush=True)
    if ENVPOOL not in others():
        print("EnvPool is not installed, so ours was not run beside it.")
    if options.json:
        settings = {"threads": options.threads, "environments": options.environments, "steps": options.steps}
        write_record(options.json, comparisons, settings, {"cpu_microseconds_per_step": used})


if __name__ == "__main__":
    main()
