"""Works off stacks through Ray Tune: one process per stack, on this machine or on a cluster.

Tune schedules: its trials are all alike, and each asks the keeper for a stack. Results and checkpoints travel
through the mailbox; Tune's checkpoints, restore and loggers are not used. What Tune is told of progress and
scores is for its callbacks to show, and nothing depends on it.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray import tune
from ray.exceptions import RayActorError
from ray.tune.progress_reporter import TrialProgressCallback
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.errors import BenchError, WorkFailedError
from bench.execute.keeper import Keeper
from bench.execute.messages import ChannelError, Completed, Event, Progress, StackPlan, TrialFinished, Worker
from bench.execute.ray_mailbox import Mailbox, MailboxHandle, RayChannel, Request
from bench.execute.worker import run_plan
from bench.hardware import stacks_on
from bench.provenance import code_fingerprint
from bench.records import EvaluationRecord, FailureRecord
from bench.training.checkpoint import SharedFolder
from bench.visible_text import quoted, shortened

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

MAILBOX_RESTARTS = 5
WAIT_SECONDS = 0.5
REPORT_SECONDS = 30.0
"""Between what Tune is told of a stack, unless it was evaluated: each result takes Tune milliseconds."""
LONGEST_REASON = 300
LOST = "it was killed, by somebody or for want of memory, or its machine was lost"
IMPORT_FAILED = "failed to import on the worker"
"""What Ray says where a worker cannot import this module."""
TRACEBACK = '  File "'
"""What Ray says holds one where a worker raised an exception, and none where its process was lost."""


@dataclass(frozen=True)
class Shares:
    """What one stack occupies."""

    cpus: int
    gpus: float


def run_with_ray(
    keeper: Keeper,
    *,
    algorithms: Sequence[str],
    shares: Shares,
    scratch: Path,
    callbacks: Sequence[str] = (),
) -> None:
    """Run the stacks that are left as Tune trials, as many at once as their shares allow.

    Tune is given as many trials as stacks seem to be left. Others on the same store may leave more behind;
    these are run by another round of Tune.

    Parameters
    ----------
    callbacks : `module:name` of what makes a further `ray.tune.Callback` for each round.

    Raises
    ------
    BenchError : Ray can never give the shares; a result cannot be stored; workers cannot import bench; a
        callback cannot be had, or raised an exception.
    """
    _check_shares(shares)
    makers = [callback_maker(name) for name in callbacks]
    keeper.concurrent_stacks = concurrency(shares, _nodes(), keeper.stacks_left())
    mailbox = _mailbox()
    trainable = tune.with_resources(
        tune.with_parameters(_train, mailbox=mailbox, algorithms=algorithms, shared=keeper.shared),
        {"cpu": shares.cpus, "gpu": shares.gpus},
    )
    rounds = 0
    while not keeper.exhausted:
        if not keeper.reserve():
            keeper.stop.wait(WAIT_SECONDS)
            continue
        rounds += 1
        added = [make() for make in makers]
        tuner = _tuner(trainable, mailbox, keeper.stacks_left(), scratch, f"stacks-{rounds}", added)
        try:
            _serve(keeper, mailbox, tuner)
        except Exception as error:
            if not added or isinstance(error, BenchError):
                raise
            why = f"{type(error).__name__}: {last_exception(str(error))}."
            advice = "If a callback did it, correct it or leave it out; the same command goes on."
            raise WorkFailedError("Tune, or a callback of --tune-callback, failed", why, advice) from error
    if keeper.error is not None:
        raise keeper.error


def concurrency(shares: Shares, nodes: Sequence[Mapping[str, float]], stacks: int) -> int:
    """How many stacks run at once on machines with these resources, at least 1; a stack needs one machine."""
    return max(1, min(stacks, sum(_room(shares, node) for node in nodes)))


def _room(shares: Shares, node: Mapping[str, float]) -> int:
    by_cpu = int(node.get("CPU", 0) // shares.cpus)
    if not shares.gpus:
        return by_cpu
    return min(by_cpu, stacks_on(int(node.get("GPU", 0)), shares.gpus))


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


def _mailbox() -> MailboxHandle:
    """On this node, so that what is stored does not depend on another."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Mailbox).options(
        num_cpus=0,
        scheduling_strategy=here,
        max_restarts=MAILBOX_RESTARTS,
        max_task_retries=MAILBOX_RESTARTS,
    )
    return MailboxHandle(actor.remote())


def callback_maker(name: str) -> Callable[[], tune.Callback]:
    """What `module:name` stands for: a class of `ray.tune.Callback`, or a function that makes one.

    Raises
    ------
    BenchError : there is no such thing.
    """
    what, advice = f"--tune-callback {quoted(name)}", "For example: --tune-callback my_callbacks:Scores"
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise BenchError(what, "It is not of the form MODULE:NAME.", advice)
    try:
        maker = getattr(import_module(module), attribute)
    except Exception as error:  # what a module raises when it is imported is up to its author
        where = "A module of the folder that you stand in is found with PYTHONPATH=. before the command."
        raise BenchError(what, f"{type(error).__name__}: {error}.", where) from error
    if not callable(maker):
        raise BenchError(what, "It is neither a class nor a function.", advice)
    return maker


def _tuner(
    trainable: Callable[..., None],
    mailbox: MailboxHandle,
    stacks: int,
    scratch: Path,
    name: str,
    added: Sequence[tune.Callback],
) -> tune.Tuner:
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(num_samples=stacks, reuse_actors=False),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            name=name,
            verbose=0,
            callbacks=[_Endings(mailbox), *added],
            stop=_End(mailbox),
            # How often a stack is taken up again is for the keeper to say.
            failure_config=tune.FailureConfig(max_failures=-1),
        ),
    )


def _train(
    config: dict[str, object],
    mailbox: MailboxHandle,
    algorithms: Sequence[str],
    shared: SharedFolder | None,
) -> None:
    """In the worker of a run of `algorithms`: train one stack, if there is one."""
    worker = Worker(
        name=tune.get_context().get_trial_id(),
        process=secrets.token_hex(8),
        hostname=socket.gethostname(),
        code_sha256=code_fingerprint(algorithms),
        sees_shared=shared is None or shared.is_seen_here(),
    )
    # What it raises, Tune tells the keeper: to one that was refused, or could not reach the driver, its stack
    # is lost as to one that was killed.
    plan = mailbox.ask("next_stack", worker)
    if plan is not None:
        run_plan(plan, TellingTune(mailbox, worker, plan))


class TellingTune(RayChannel):
    """A worker's channel that tells Tune, too, how far its stack is and how it was last evaluated."""

    def __init__(self, mailbox: MailboxHandle, worker: Worker, plan: StackPlan) -> None:
        super().__init__(mailbox, worker, plan)
        self._metrics: dict[str, str | float] = {"stack": plan.title}
        self._scores: dict[int, float] = {}
        """By seed, of the last evaluation."""
        self._failed = 0
        self._is_new = False
        self._told_at = -inf

    def send(self, event: Event) -> None:
        """Hand over an event; Tune is told of an evaluation at once, of mere progress now and then.

        An evaluation is one event for each seed; the progress that follows within a second tells of all.
        """
        super().send(event)
        match event:
            case EvaluationRecord():
                self._evaluated(event)
            case FailureRecord():
                self._failed += 1
                self._metrics["failed"] = self._failed
            case TrialFinished(finished=finished) if finished.score is not None:
                self._metrics[f"final_score_seed_{finished.trial.seed}"] = finished.score
            case Progress(progress=progress):
                self._metrics |= asdict(progress)
        due = self._is_new or time.monotonic() - self._told_at >= REPORT_SECONDS
        if isinstance(event, Completed) or (isinstance(event, Progress) and due):
            self._is_new, self._told_at = False, time.monotonic()
            tune.report(dict(self._metrics))

    def _evaluated(self, evaluation: EvaluationRecord) -> None:
        seed = evaluation.trial.seed
        self._scores[seed] = sum(evaluation.scores) / len(evaluation.scores)
        self._metrics |= {
            "evaluation": evaluation.number,
            "step": evaluation.step,
            "score": sum(self._scores.values()) / len(self._scores),
            f"score_seed_{seed}": self._scores[seed],
        }
        self._is_new = True


def _serve(keeper: Keeper, mailbox: MailboxHandle, tuner: tune.Tuner) -> None:
    """Run Tune in a thread of its own, and answer here what its workers ask, until all have ended."""
    with ThreadPoolExecutor(1, thread_name_prefix="tune") as thread:
        tuning = thread.submit(tuner.fit)
        try:
            while not tuning.done():
                requests = mailbox.requests(WAIT_SECONDS)
                # Together: a call of Ray's for each would be the limit of how many workers a driver can have.
                if replies := {request.number: answer(keeper, request) for request in requests}:
                    mailbox.reply(replies)
        except RayActorError as error:
            keeper.fail(
                WorkFailedError(
                    "no worker can reach this driver any more",
                    f"The process that passes on what they say has ended: {last_exception(str(error))}",
                    "The same command continues; without Ray: add --executor local.",
                )
            )
        except BaseException:
            # Without an answer workers, and Tune with them, would wait for ever.
            ray.kill(mailbox.actor)
            raise
    if keeper.error is None:
        tuning.result()


def answer(keeper: Keeper, request: Request) -> object:
    """What the keeper answers; where it cannot, the run ends for that reason, and the worker is refused."""
    try:
        return getattr(keeper, request.method)(*request.arguments)
    except ChannelError as error:
        return error
    except Exception as error:  # noqa: BLE001 (raised again at the end of the run)
        keeper.fail(error)
        return ChannelError("the driver refuses this worker", str(error))


class _End(tune.Stopper):
    """Ends Tune although it has trials left, where they would find nothing to do.

    On a busy cluster they might wait for room long after.
    """

    def __init__(self, mailbox: MailboxHandle) -> None:
        self._mailbox = mailbox

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        """Whether to stop one worker: they stop by themselves."""
        return False

    def stop_all(self) -> bool:
        """Asked several times a second."""
        try:
            return bool(self._mailbox.ask("is_idle"))
        except ChannelError:
            return True


class _Endings(TrialProgressCallback):
    """Tells the keeper of workers that ended, and of those that died.

    It stands in for Tune's own callback of this class, which would print the results that we do not report.
    """

    def __init__(self, mailbox: MailboxHandle) -> None:
        super().__init__()
        self._mailbox = mailbox

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, object], **info: object
    ) -> None:
        """Nothing: results travel through the mailbox."""

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """A worker returned."""
        self._inform("returned", trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """A worker process is gone, and Tune starts another."""
        self.on_trial_error(iteration, trials, trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """A worker process is gone, could not begin, or raised an exception."""
        error = _error_of(trial)
        if IMPORT_FAILED in error:
            advice = (
                "Install the same version of bench, whole, wherever workers run; or add --executor local."
            )
            # Another attempt would end as this one did.
            self._inform(
                "fail", WorkFailedError("a worker cannot import bench", last_exception(error), advice)
            )
        self._inform("lost", trial.trial_id, last_exception(error) if TRACEBACK in error else LOST)

    def _inform(self, method: str, *arguments: object) -> None:
        # What the keeper cannot do ends the run by itself.
        with suppress(ChannelError):
            self._mailbox.ask(method, *arguments)


def _error_of(trial: Trial) -> str:
    """What Ray says of a worker that has just failed; Tune's own way to it looks where it never is."""
    try:
        # Tune appends what is said of the process that replaces it.
        return Path(trial.error_file).read_text(errors="replace").rpartition("Failure # ")[2]
    except (OSError, TypeError):
        return ""


def last_exception(text: str) -> str:
    """The last exception that a traceback of Ray's names, without the traceback."""
    found = re.findall(r"^\s*((?:\w+\.)*\w+(?:Error|Exception|Exit)\b.*)$", text, re.MULTILINE)
    lines = found or [line.strip() for line in text.splitlines() if line.strip()] or ["it does not say why"]
    return shortened(lines[-1], LONGEST_REASON)
