"""Works off stacks through Ray Tune: one process per stack, on this machine or on a cluster.

Tune schedules and nothing more: which stack comes next is claimed in the store, results and checkpoints
travel through the office, and Tune's checkpoints, restore and loggers are not used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.errors import BenchError, WorkFailedError
from bench.execute.desk import Desk, told_reason
from bench.execute.keeper import StackResults
from bench.execute.office import Office, RayChannel
from bench.execute.queue import StackQueue
from bench.execute.worker import run_plan
from bench.provenance import code_fingerprint

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

STACK = "stack"
MANY = 10**9
OFFICE_RESTARTS = 5
LOST = "it was killed, by somebody or for want of memory, or its machine was lost"
NOT_BEGUN = "it ended before it had begun"
IMPORT_FAILED = "failed to import on the worker"
"""What Ray says where a worker cannot import this module."""


@dataclass(frozen=True)
class Shares:
    """What one stack occupies."""

    cpus: int
    gpus: float


def run_with_ray(queue: StackQueue, stop: threading.Event, *, shares: Shares, scratch: Path) -> None:
    """Run the stacks of the queue as Tune trials, as many at once as their shares allow.

    Parameters
    ----------
    stop : set when a person wants the run to end; set here when it cannot go on.

    Raises
    ------
    BenchError : Ray can never give the shares; a result cannot be stored; workers cannot import bench.
    """
    _check_shares(shares)
    desk = Desk(_office(), stop)
    with desk.answering():
        dispatch = _Dispatch(queue, desk, shares)
        try:
            _tuner(dispatch, shares, scratch).fit()
        except tune.TuneError:
            # Tune wraps what its callbacks raise.
            if desk.error is None and dispatch.error is None:
                raise
    if error := desk.error or dispatch.error:
        raise error


def concurrency(shares: Shares, nodes: Sequence[Mapping[str, float]], stacks: int) -> int:
    """How many stacks run at once on machines with these resources, at least 1; a stack needs one machine."""
    return max(1, min(stacks, sum(_room(shares, node) for node in nodes)))


def _room(shares: Shares, node: Mapping[str, float]) -> int:
    by_cpu = int(node.get("CPU", 0) // shares.cpus)
    if not shares.gpus:
        return by_cpu
    # A share below one does not cross from one GPU to the next; ten of 0.1 are one.
    gpus = int(node.get("GPU", 0))
    by_gpu = gpus * int(1 / shares.gpus + 1e-9) if shares.gpus <= 1 else int(gpus // shares.gpus)
    return min(by_cpu, by_gpu)


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _check_shares(shares: Shares) -> None:
    nodes = _nodes()
    if any(_room(shares, node) for node in nodes):
        return
    for name, asked in (("CPU", shares.cpus), ("GPU", shares.gpus)):
        most = max((node.get(name, 0) for node in nodes), default=0)
        if asked > most:
            raise BenchError(
                f"{asked:g} {name} per stack asked for",
                f"Ray has {most:g} on one machine.",
                f"Ask for less with --{name.lower()}s-per-stack.",
            )
    raise BenchError(
        f"{shares.cpus} CPU and {shares.gpus:g} GPU per stack asked for",
        "No machine of Ray has both.",
        "Ask for less with --cpus-per-stack and --gpus-per-stack.",
    )


def _office() -> Any:  # noqa: ANN401 (an actor's handle)
    """On this node, so that what is stored does not depend on another."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "scheduling_strategy": here}
    options |= {"max_restarts": OFFICE_RESTARTS, "max_task_retries": OFFICE_RESTARTS}
    return ray.remote(**options)(Office).remote()


def _tuner(dispatch: _Dispatch, shares: Shares, scratch: Path) -> tune.Tuner:
    trainable = tune.with_parameters(_train, office=dispatch.desk.office)
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": shares.cpus, "gpu": shares.gpus}),
        tune_config=tune.TuneConfig(search_alg=_Suggestions(dispatch), num_samples=-1, reuse_actors=False),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            name="stacks",
            verbose=0,
            callbacks=[_Endings(dispatch)],
            stop=_End(dispatch),
        ),
    )


def _train(config: dict[str, int], office: Any) -> None:  # noqa: ANN401 (an actor's handle)
    """In the worker: run one stack."""
    channel = RayChannel(office, config[STACK])
    run_plan(channel.plan(code_fingerprint()), channel)


class _Dispatch:
    """Which Tune trial works on which stack; used in the driver's main thread alone."""

    def __init__(self, queue: StackQueue, desk: Desk, shares: Shares) -> None:
        self.desk = desk
        self.error: BenchError | None = None
        """Why the driver could not go on."""
        self._queue = queue
        self._shares = shares
        self._at_once = concurrency(shares, _nodes(), queue.stacks_left)

    def next(self) -> int | str | None:
        """Number of the next stack, None where there is none at the moment, or Tune's word for the end."""
        if self._queue.exhausted:
            return Searcher.FINISHED
        # Tune asks for one trial more than fits; claimed early, another driver could not have it.
        if len(self._queue.running) >= concurrency(self._shares, _nodes(), MANY):
            return None
        stack = self._queue.next()
        if stack is None:
            return None
        stack.plan = replace(stack.plan, concurrent_stacks=self._at_once)
        return self.desk.open(stack)

    def ended(self, number: int) -> None:
        """A worker has ended after telling all that it had to tell."""
        self._leave(number, lambda stack: self._queue.ended(stack))

    def died(self, number: int, error: str) -> None:
        """A worker's process was lost, or could not begin; `error` is what Tune has of it."""
        if self.desk.has_begun(number):
            self._leave(number, lambda stack: self._queue.died(stack, LOST))
        elif IMPORT_FAILED in error:
            reason = told_reason(error)
            # Another attempt would end as this one did.
            self._leave(number, lambda stack: self._queue.died(stack, reason, again=False))
            advice = (
                "Install the same version of bench, whole, wherever workers run; or add --executor local."
            )
            self.desk.fail(WorkFailedError("a worker cannot import bench", reason, advice))
        else:
            self._leave(number, lambda stack: self._queue.died(stack, NOT_BEGUN))

    def _leave(self, number: int, act: Callable[[StackResults], None]) -> None:
        try:
            act(self.desk.close(number))
        except BenchError as error:
            self.error = error
            raise


class _Suggestions(Searcher):
    """In the driver: gives Tune the next stack whenever it has room."""

    def __init__(self, dispatch: _Dispatch) -> None:
        super().__init__()
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, object]:
        # Tune saves its searchers and callbacks. What is left stands in our store, which cannot be saved so.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see above."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see above."""

    def suggest(self, trial_id: str) -> dict[str, int] | str | None:
        """Tune's question."""
        number = self._dispatch.next()
        return {STACK: number} if isinstance(number, int) else number

    def on_trial_complete(
        self, trial_id: str, result: dict[str, object] | None = None, error: bool = False
    ) -> None:
        """Nothing: the callbacks tell why."""


class _End(tune.Stopper):
    """In the driver: ends Tune although it has a stack for which no machine has room; its claim is let go."""

    def __init__(self, dispatch: _Dispatch) -> None:
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        """Whether to stop one worker: they stop by themselves."""
        return False

    def stop_all(self) -> bool:
        """Asked several times a second."""
        return self._dispatch.desk.is_over


class _Endings(TrialProgressCallback):
    """In the driver: told of workers that ended, and of those that died.

    It stands in for Tune's own callback of this class, which would print the results that we do not report.
    """

    def __init__(self, dispatch: _Dispatch) -> None:
        super().__init__()
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, object]:
        return {}

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Several times a second: without the desk's answers workers would wait for ever."""
        self._dispatch.desk.check()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, object], **info: object
    ) -> None:
        """Nothing: results travel through the office."""

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """A worker returned."""
        self._dispatch.ended(trial.config[STACK])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """A worker process is gone, or could not reach the driver."""
        self._dispatch.died(trial.config[STACK], _error_of(trial))


def _error_of(trial: Trial) -> str:
    """What Ray says of a worker that failed; Tune's own way to it looks where it never is."""
    try:
        return Path(trial.error_file).read_text(errors="replace")
    except (OSError, TypeError):
        return ""
