"""Environment steps per second of the batched simulator and of gymnasium's SyncVectorEnv.

The same random actions, observation, reward and resets included, modern physics, which gymnasium has too.
"""

from __future__ import annotations

import argparse
import time
import warnings

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bench.envs import make_simulator
from benchmarks.measuring import Comparison, argument_parser, compare, write_record

GYMNASIUM_IDS = {"hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "halfcheetah": "HalfCheetah-v4"}
TARGET = 2.0


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


def gymnasiums(environment: str, actions: np.ndarray) -> float:
    """Steps per second of SyncVectorEnv with `actions` (T, N, A), resetting in the step that ends."""
    steps, count, _ = actions.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # v4 is meant: v5 is another task
        makers = [lambda: gymnasium.make(GYMNASIUM_IDS[environment])] * count
        environments = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    environments.reset(seed=0)
    started = time.perf_counter()
    for action in actions:
        environments.step(action)
    seconds = time.perf_counter() - started
    environments.close()
    return steps * count / seconds


def compare_simulators(environment: str, options: argparse.Namespace) -> Comparison:
    """Ours against gymnasium's, one robot."""
    action_dim = 3 if environment == "hopper" else 6
    shape = (options.steps, options.environments, action_dim)
    actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    ways = {
        "batched simulator": lambda: batched(environment, "modern", actions, options.threads)[0],
        "SyncVectorEnv": lambda: gymnasiums(environment, actions),
    }
    return compare(environment, "steps per second", TARGET, ways, options.repeats)


def main(arguments: list[str] | None = None) -> None:
    """Compare for all three robots and print one line each."""
    options = argument_parser(__doc__).parse_args(arguments)
    comparisons = []
    for environment in GYMNASIUM_IDS:
        comparisons.append(compare_simulators(environment, options))
        print(comparisons[-1].as_line(), flush=True)
    if options.json:
        settings = {"threads": options.threads, "environments": options.environments, "steps": options.steps}
        write_record(options.json, comparisons, settings)


if __name__ == "__main__":
    main()
