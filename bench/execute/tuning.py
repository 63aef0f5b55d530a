"""A search for hyper-parameters: Ray Tune samples a declared space, and its ASHA drops what falls behind.

A rung of the search is a budget: every configuration that goes on is trained anew at the next one, by an
ordinary `bench run` of its own. So each rung's number is a trial of the store like any other, marked as
tuned, and a search that was cut off takes up what is stored when the same command is given again.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.execute.ray_tune import Shares
from bench.presets import Value
from bench.records import FINISHED
from bench.signals import saving_at_signals
from bench.store.database import opened_if_made
from bench.store.queries import trials
from bench.visible_text import quoted
from bench.yaml_lines import plain_value

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

NO_SCORE = -1e9
"""What Tune is told of a configuration that diverged or failed: its arithmetic wants a finite number."""
_DOMAIN = re.compile(r"(\w+)\((.*)\)")
_EXAMPLE = "For example: --space 'learning_rate=loguniform(1e-5,1e-3)' --space 'batch_size=choice(128,256)'"


@dataclass(frozen=True)
class Search:
    """What is searched for, and how."""

    request: Request
    """Of one method, one task and the seeds whose mean score counts; without what is searched."""
    arguments: tuple[str, ...]
    """Of `bench run` for that request, without budget and what is searched."""
    space: Mapping[str, Any]
    """Domains of Tune's by hyper-parameter."""
    samples: int
    rungs: int
    reduction: int
    """One in so many configurations goes on to the next rung, at so many times the budget."""
    seed: int
    """Of the sampling."""
    store: str

    @property
    def budgets(self) -> tuple[float, ...]:
        """Of the rungs, to four digits, as they are shown with each trial; the last is the request's."""
        top = self.request.budget
        lower = [top / self.reduction**steps for steps in range(self.rungs - 1, 0, -1)]
        return (*(float(f"{budget:.4g}") for budget in lower), top)

    def at(self, rung: int, values: Mapping[str, Value]) -> Request:
        """The request of one configuration at a rung, counted from 0."""
        changes = {**self.request.changes, **values}
        return replace(self.request, changes=changes, budget=self.budgets[rung], tuned=True)


@dataclass(frozen=True)
class Outcome:
    """How far one configuration came."""

    values: Mapping[str, Value]
    rungs: int
    score: float
    """At the last of them; NaN where it diverged or failed."""


def domain(text: str) -> tuple[str, Any]:
    """Hyper-parameter and domain of Tune's from `NAME=loguniform(1e-5,1e-3)`, `uniform`, `randint`, `choice`.

    `randint(a,b)` draws whole numbers from a to b, b among them.

    Raises
    ------
    BenchError : it is none of these, or its bounds are at odds.
    """
    what = f"--space {quoted(text)}"
    name, _, declared = text.partition("=")
    found = _DOMAIN.fullmatch(declared.strip())
    kinds = ("loguniform", "uniform", "randint", "choice")
    if not name.strip() or found is None or found[1] not in kinds:
        raise BenchError(what, f"It is not NAME=KIND(...) with one of {', '.join(kinds)}.", _EXAMPLE)
    try:
        kind, values = found[1], [plain_value(value) for value in found[2].split(",")]
    except BenchError as error:
        raise BenchError(what, f"{error.what}.", _EXAMPLE) from error
    if any(value is None for value in values):
        raise BenchError(what, "A value is missing.", _EXAMPLE)
    if kind == "choice":
        return name.strip(), tune.choice(values)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) != 2 or len(values) != 2 or not all(map(math.isfinite, numbers)):
        raise BenchError(what, f"{kind} takes two numbers, the lowest and the highest.", _EXAMPLE)
    low, high = numbers
    if not low < high or (kind == "loguniform" and low <= 0):
        why = "The first number must be below the second" + (
            ", and above 0." if kind == "loguniform" else "."
        )
        raise BenchError(what, why, _EXAMPLE)
    if kind == "randint":
        if not (isinstance(low, int) and isinstance(high, int)):
            raise BenchError(what, "randint takes whole numbers.", _EXAMPLE)
        return name.strip(), tune.randint(low, high + 1)
    return name.strip(), (tune.loguniform if kind == "loguniform" else tune.uniform)(low, high)


def search(
    wanted: Search, shares: Shares, scratch: Path, told: Callable[[str], None]
) -> tuple[list[Outcome], bool]:
    """Search, in a Ray that is started; every outcome, the best first, and whether it was interrupted.

    Parameters
    ----------
    told : called with a line for every rung of a configuration.
    """
    top: int = wanted.reduction ** (wanted.rungs - 1)
    scheduler = ASHAScheduler(
        time_attr="resource", max_t=top, grace_period=1, reduction_factor=wanted.reduction, brackets=1
    )
    stop = scratch / "interrupted"  # a file: Tune wants to keep all that it is given, also on disk
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_climb, wanted=wanted, folder=str(Path.cwd())),
            {"cpu": shares.cpus, "gpu": shares.gpus},
        ),
        param_space=dict(wanted.space),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=wanted.samples,
            scheduler=scheduler,
            search_alg=BasicVariantGenerator(random_state=wanted.seed),
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            name="search",
            verbose=0,
            callbacks=[_Rungs(wanted, told)],
            stop=_Interrupted(stop),
        ),
    )
    with saving_at_signals(stop.touch), ThreadPoolExecutor(1, thread_name_prefix="tune") as thread:
        results = thread.submit(tuner.fit).result()
    outcomes = [
        Outcome(result.config or {}, result.metrics["rung"], _score(result.metrics))
        for result in (results[number] for number in range(len(results)))
        if result.metrics and "rung" in result.metrics
    ]
    # NaN is below every number.
    outcomes.sort(
        key=lambda one: (one.rungs, -math.inf if math.isnan(one.score) else one.score), reverse=True
    )
    return outcomes, stop.exists()


def _climb(config: dict[str, Value], wanted: Search, folder: str) -> None:
    """In a worker: one configuration from rung to rung; between two of them Tune may end it."""
    for rung in range(wanted.rungs):
        score = _measured(wanted, rung, config, folder)
        tune.report({"rung": rung + 1, "resource": wanted.reduction**rung, "score": score})
        if score == NO_SCORE:
            return


def _measured(wanted: Search, rung: int, values: Mapping[str, Value], folder: str) -> float:
    """Mean score of a configuration's seeds at a rung; `NO_SCORE` where one of them has none."""
    os.chdir(folder)  # where the search was begun: the store may be named by a relative path
    request = wanted.at(rung, values)
    scores = _stored(wanted.store, request)
    if len(scores) < len(request.seeds):
        sets = [f"--set={name}={value!r}" for name, value in values.items()]
        run = ["run", *wanted.arguments, *sets, f"--budget={request.budget!r}", "--executor", "local"]
        command = [sys.executable, "-P", "-m", "bench", *run, "--tuned", "--store", wanted.store]
        # This process found bench on its own path, on which Ray has put what the driver's had.
        path = os.pathsep.join(filter(None, sys.path))
        # What failed has no score, and says why in the store.
        subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        scores = _stored(wanted.store, request)
    mean = sum(scores) / len(scores) if len(scores) == len(request.seeds) else math.nan
    return mean if math.isfinite(mean) else NO_SCORE


def _stored(store: str, request: Request) -> list[float]:
    """Scores that the store has of a request's seeds; none where there is no store yet."""
    (cell,) = plan_cells(request)
    with opened_if_made(store) as opened:
        if opened is None:
            return []
        return [
            trial.score
            for trial in trials(opened, states=(FINISHED,), tasks=(cell.task.name,))
            if trial.score is not None
            and trial.record.key.seed in request.seeds
            and trial.record.key == cell.trial(trial.record.key.seed, trial.record.dataset).key
        ]


def _score(metrics: Mapping[str, Any]) -> float:
    return math.nan if metrics["score"] == NO_SCORE else float(metrics["score"])


class _Interrupted(tune.Stopper):
    """Ends the search when a person wants it."""

    def __init__(self, stop: Path) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        """Which configuration ends is for the scheduler to say."""
        return False

    def stop_all(self) -> bool:
        """Asked several times a second."""
        return self._stop.exists()


class _Rungs(TrialProgressCallback):
    """Tells of every rung, in the place of Tune's own callback of this class."""

    def __init__(self, wanted: Search, told: Callable[[str], None]) -> None:
        super().__init__()
        self._wanted = wanted
        self._told = told

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: object
    ) -> None:
        """A configuration has been measured at one rung."""
        score = _score(result)
        number, rung = trials.index(trial) + 1, result["rung"]
        shown = "no score" if math.isnan(score) else f"score {score:.1f}"
        budget = self._wanted.budgets[rung - 1]
        self._told(
            f"configuration {number}, rung {rung} of {self._wanted.rungs} (budget {budget:g}): {shown}"
        )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """Nothing: its last rung was told."""

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        """A worker failed or died; its configuration has no further rungs."""
        self._told(f"configuration {trials.index(trial) + 1}: its worker failed, it goes no further")
