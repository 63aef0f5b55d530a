"""Works off stacks through Ray Tune: one process per stack, results back to the driver.

Tune schedules and nothing more: its checkpoints, restore and loggers are not used. A worker's report returns
after the driver has handled it, which makes it an acknowledgement.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import ray
from ray import tune

from bench.errors import BenchError
from bench.execute.events import Emit, Event, Progress
from bench.execute.plan import StackPlan
from bench.execute.worker import failures_of, run_plan

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

EVENT = "event"
STACK = "stack"
CONNECT_SECONDS = 5


class WorkerDiedError(Exception):
    """A worker process ended without a word: killed, out of memory, or its machine was lost."""


@dataclass(frozen=True)
class Shares:
    """What one stack occupies."""

    cpus: int
    gpus: float


def run_with_ray(
    plans: Sequence[StackPlan], emit: Emit, *, shares: Shares, address: str | None, stop_file: Path
) -> None:
    """Run the stacks as Tune trials, as many at once as their shares allow.

    Parameters
    ----------
    address : of a running cluster, or `auto`; None starts Ray on this machine for this run.
    stop_file : workers save and end once it exists.

    Raises
    ------
    BenchError : no cluster at the address, or one that can never give the shares.
    """
    _start(address)
    try:
        _check_shares(shares)
        at_once = concurrency(shares, ray.cluster_resources(), len(plans))
        plans = [replace(plan, concurrent_stacks=at_once) for plan in plans]
        collect = _Collect(plans, emit)
        with TemporaryDirectory(prefix="bench-tune-") as scratch:
            try:
                _tuner(plans, collect, shares, stop_file, Path(scratch)).fit()
            except tune.TuneError:
                # Tune wraps what its callbacks raise; a store that cannot be written has its own message.
                if collect.refused is not None:
                    raise collect.refused from None
                raise
    finally:
        ray.shutdown()


def concurrency(shares: Shares, resources: dict[str, float], stacks: int) -> int:
    """How many stacks run at once on the given resources, at least 1."""
    by_cpu = resources.get("CPU", 1) // shares.cpus
    by_gpu = resources.get("GPU", 0) // shares.gpus if shares.gpus else by_cpu
    return int(max(1, min(by_cpu, by_gpu, stacks)))


def _start(address: str | None) -> None:
    # Results go to our store; Tune's own files would only be a second, partial truth.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # Ctrl-C is ours: workers are asked to save and end (stop_file).
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    try:
        ray.init(
            # `local` starts Ray here even where RAY_ADDRESS names a cluster that was not asked for.
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise _no_cluster(address, error) from error


def check_listening(address: str) -> None:
    """Refuse an address `host:port` where nothing listens; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str | None, error: Exception) -> BenchError:
    advice = "`ray start --head` starts one here, and --address auto finds it; or leave --address out."
    return BenchError(f"no Ray cluster at {address!r}", str(error), advice)


def _check_shares(shares: Shares) -> None:
    available = ray.cluster_resources()
    for name, asked in (("CPU", shares.cpus), ("GPU", shares.gpus)):
        if asked > available.get(name, 0):
            raise BenchError(
                f"{asked:g} {name} per stack asked for",
                f"Ray has {available.get(name, 0):g} in all.",
                f"Ask for less with --{name.lower()}s-per-stack.",
            )


def _tuner(
    plans: Sequence[StackPlan], collect: _Collect, shares: Shares, stop_file: Path, scratch: Path
) -> tune.Tuner:
    trainable = tune.with_parameters(_train, plans=list(plans), stop_file=str(stop_file))
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": shares.cpus, "gpu": shares.gpus}),
        param_space={STACK: tune.grid_search(list(range(len(plans))))},
        tune_config=tune.TuneConfig(reuse_actors=False),
        run_config=tune.RunConfig(storage_path=str(scratch), name="stacks", verbose=0, callbacks=[collect]),
    )


def _train(config: dict[str, int], plans: list[StackPlan], stop_file: str) -> None:
    """In the worker: run one stack, reporting each event."""
    stop = Path(stop_file)

    def emit(event: Event) -> None:
        tune.report({EVENT: event})

    run_plan(plans[config[STACK]], emit, stop.exists)


class _Collect(tune.Callback):
    """In the driver: hands on what workers report, and tells of workers that died."""

    def __init__(self, plans: Sequence[StackPlan], emit: Emit) -> None:
        self._plans = plans
        self._emit = emit
        self._done: dict[int, int] = {}
        self.refused: BenchError | None = None
        """Why the driver could not take a result, if that happened."""

    def __getstate__(self) -> dict[str, object]:
        # Tune saves callbacks with its experiment state, which is never read; a store cannot be saved so.
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, object], **info: object
    ) -> None:
        """Hand on an event; the worker waits until this returns."""
        event = result.get(EVENT)
        if isinstance(event, Progress):
            self._done[trial.config[STACK]] = event.done
        if event is not None:
            self._hand_on(event)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """A worker process is gone."""
        reason = str(trial.get_error() or "its process ended").strip().splitlines()[-1]
        number = trial.config[STACK]
        done = self._done.get(number, 0)
        for failure in failures_of(self._plans[number], WorkerDiedError(reason), step=done):
            self._hand_on(failure)

    def _hand_on(self, event: Event) -> None:
        try:
            self._emit(event)
        except BenchError as error:
            self.refused = error
            raise
