"""The work of one stack: train the seeds of a cell side by side, evaluate them, survive being cut off."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import save

from algorithms.base import Algorithm, Phase, Tensors
from bench.bandit2d.illustrate import after_training
from bench.data.dataset import RawDataset, transitions_of, with_next_actions
from bench.data.reader import read_file
from bench.data.rewards import transformed_rewards
from bench.envs import simulator_for
from bench.evaluation.beside import Beside
from bench.evaluation.protocols import candidates_metric
from bench.evaluation.rollout import ActingMethod, Rollouts, roll_out
from bench.execute.history import History, StoredEvaluation, StoredFailure, StoredPending
from bench.execute.messages import (
    DriverChannel,
    Progress,
    Saved,
    StackPlan,
    Started,
    Stopped,
    Weights,
)
from bench.execute.saver import Saver
from bench.execute.shared_phases import SharedPhase
from bench.hardware import prepare_process, set_matmul_precision
from bench.provenance import describe_execution
from bench.records import DIVERGED, ILLUSTRATION, PRECISION, EvaluationRecord, FailureRecord, StackProgress
from bench.training.batches import PackedDataset
from bench.training.checkpoint import Checkpoint
from bench.training.trainer import Divergence, Position, Trainer, method_for
from bench.visible_text import shortened

if TYPE_CHECKING:
    from bench.envs import Simulator

_MESSAGE_LENGTH = 200
COPY = "evaluated."
"""Begins the names, in a checkpoint, of the weights that a pending evaluation evaluates."""
CHUNK_SECONDS = 1.0
"""Training runs about this long between looks at the device: for progress, divergence and requests to
stop.
"""


@dataclass(frozen=True)
class _Host:
    """What is saved beside the tensors."""

    position: Position
    history: History


class StopRequestedError(Exception):
    """Raised at a moment at which the stack's state is whole."""


class Stack:
    """One stack at work; whatever it has to say or ask goes over `channel`.

    About once a second it asks whether to stop; then it saves its state and ends.
    """

    def __init__(self, plan: StackPlan, channel: DriverChannel) -> None:
        prepare_process(plan.threads)
        set_matmul_precision(plan.trials[0].config.get(PRECISION, "fp32"), plan.device)
        self.plan = plan
        self.history = History()
        self._shared: SharedPhase
        self._channel = channel
        self._dataset = channel.dataset()
        self.trainer = self._new_trainer()
        self._evaluation = plan.trials[0].config["evaluation"]
        self._illustrations: list[tuple[int, Weights]] | None = None
        self._saver = Saver(
            lambda checkpoint: channel.send(Saved(plan.title, checkpoint)),
            seconds=plan.checkpoint_seconds,
            share=plan.checkpoint_share,
            beside=plan.beside,
            device=self.trainer.algorithm.device,
        )
        self._beside: Beside | None = None
        self._evaluating_since = 0.0
        self._rate = 0.0
        self._evaluation_estimate = 0.0
        self._reported_at = 0.0

    @property
    def iterations(self) -> int:
        """Iterations done of all phases."""
        phases, position = self.trainer.algorithm.phases, self.trainer.position
        return sum(phase.iterations for phase in phases[: position.phase]) + position.step

    def run(self) -> bool:
        """Train and evaluate to the end (True), or until asked to stop (False, with the state saved)."""
        self._resume()
        with ExitStack() as opened:
            simulators: list[Simulator] = []
            for episodes in self._groups():
                simulators.append(self._simulator(episodes))
                opened.enter_context(simulators[-1])
            opened.callback(self._close)  # before the simulators are closed
            try:
                if self._beside is not None:
                    self._judge(self._beside, simulators, self._beside.copy.networks.state_dict())
                while self._work(simulators):
                    pass
            except StopRequestedError:
                self._save()
                self._saver.settle()
                self._channel.send(Stopped(self.plan.title, self.iterations))
                return False
            self._saver.settle()
        self._send_illustrations()
        return True

    def _groups(self) -> list[int]:
        """Episodes of each seed that are played together: on a GPU two halves, so that it and the CPUs work
        at once.
        """
        episodes = self._evaluation["episodes"]
        half = episodes // 2 if self.trainer.algorithm.device.type == "cuda" else 0
        return [episodes - half, half] if half else [episodes]

    def _simulator(self, episodes: int) -> Simulator:
        plan = self.plan
        return simulator_for(plan.task, plan.trials[0].physics, len(plan.seeds) * episodes, plan.threads)

    def _close(self) -> None:
        """End the threads, whatever they do."""
        if self._beside is not None:
            self._beside.close()
        self._saver.close()

    def _work(self, simulators: Sequence[Simulator]) -> bool:
        """Do the next piece of work; False when nothing is left."""
        if len(self.history.failed) == len(self.plan.seeds):
            return False
        due, phase = self._evaluation_due(), self.trainer.phase
        if self._beside is not None and self.history.pending is not None:
            if self._beside.finished():
                self._conclude_pending()
                self._save_where_due()
                return True
            if due is not None or phase is None:
                self._wait(self._beside, self.history.pending, simulators[0].horizon)
                return True
        if due is not None and self.plan.beside:
            self._begin(simulators, due)
        elif due is not None:
            self._evaluate(simulators, due)
        elif phase is not None:
            self._train(phase)
        else:
            return False
        return True

    def _resume(self) -> None:
        checkpoint, notes = self._channel.checkpoint()
        if checkpoint is not None:
            notes = [*notes, self._restore(checkpoint)]
        execution = describe_execution(
            algorithm=self.plan.trials[0].key.algorithm,
            device=self.plan.device,
            threads=self.plan.threads,
            runner=self.trainer.runner,
            stack=self.plan.seeds,
            from_iteration=self.iterations,
        )
        self._shared = SharedPhase(self.plan, self.trainer, self.history, execution)
        notes = [*notes, *self._shared.take_over(self._channel)]
        execution = replace(execution, from_iteration=self.iterations)
        self._channel.send(Started(self.plan.title, execution, tuple(notes)))
        # The driver may not have stored everything before the cut; storing the same twice changes nothing.
        for slot in range(len(self.plan.seeds)):
            self._send_evaluations(slot, self.history.evaluations)
        for failed, failure in self.history.failed.items():
            self._channel.send(self._failure(int(failed), failure))

    def _restore(self, checkpoint: Checkpoint) -> str:
        """Take up a checkpoint's state, or begin anew where it does not fit; says which."""
        try:
            host = TypeAdapter(_Host).validate_json(json.dumps(checkpoint.host), strict=True)
            tensors = checkpoint.tensors()
            evaluated = {
                name.removeprefix(COPY): tensors.pop(name) for name in list(tensors) if name.startswith(COPY)
            }
            self.trainer.load(tensors, host.position)
            self._require_fitting(host.history)
            if (host.history.pending is None) == bool(evaluated):
                raise ValueError("weights of a pending evaluation, and what is known of it, go together")
            if host.history.pending is not None:
                beside = self._new_beside()
                beside.copy.load_networks(evaluated)
                self._beside = beside
        except (ValueError, SafetensorError) as error:
            self.trainer = self._new_trainer()
            return f"its checkpoint does not fit the code as it is now ({_cut(error)}); starts anew"
        self.history = host.history
        phase = self.trainer.phase
        place = f"{phase.name} {self.trainer.position.step}" if phase else "the end of training"
        return f"continues from {place}"

    def _require_fitting(self, history: History) -> None:
        """Refuse a history that is not of the stack as the trainer stands; raises ValueError."""
        retired = {str(slot) for slot, alive in enumerate(self.trainer.algorithm.alive.tolist()) if not alive}
        history.require_fitting(
            self._evaluation["steps"],
            seeds=len(self.plan.seeds),
            episodes=self._evaluation["episodes"],
            iterations=self._evaluated_iterations(),
            retired=retired,
        )

    def _new_trainer(self) -> Trainer:
        plan = self.plan
        algorithm = _algorithm(plan)
        return Trainer(algorithm, _packed_data(plan, self._dataset, algorithm), runner=plan.runner)

    def _save(self) -> None:
        tensors = self.trainer.state_dict()
        if self._beside is not None and self.history.pending is not None:
            evaluated = self._beside.copy.networks.state_dict()
            tensors |= {f"{COPY}{name}": tensor for name, tensor in evaluated.items()}
        host = {"position": asdict(self.trainer.position), "history": asdict(self.history)}
        self._saver.save(tensors, host)

    def _save_where_due(self) -> None:
        if self._saver.is_due():
            self._save()

    # Training

    def _train(self, phase: Phase) -> None:
        if self._channel.should_stop():
            raise StopRequestedError
        iterations = min(self._iterations_to_next_stop(phase), max(1, int(self._rate * CHUNK_SECONDS)))
        started = time.perf_counter()
        self.trainer.advance(iterations)
        diverged = self.trainer.retire_diverged()
        seconds = time.perf_counter() - started
        spent = self.history.phase_seconds
        spent[phase.name] = spent.get(phase.name, 0.0) + seconds
        self._rate = iterations / seconds
        if diverged:
            if self._beside is not None and self.history.pending is not None:
                # Of a trial that has failed, nothing is stored any more.
                self._beside.finished(None)
                self._conclude_pending()
            metrics = self.trainer.metrics()
            for seed in diverged:
                step = self._iterations_before(seed.phase) + seed.step
                message = _divergence(seed, metrics[seed.slot])
                self._fail(seed.slot, step, message, metrics[seed.slot], self._evaluated_iterations())
        self._report_progress(phase.name)
        if self.trainer.position.step == 0:
            self._shared.hand_over(self._channel)
            self._save()
        else:
            self._save_where_due()

    def _iterations_to_next_stop(self, phase: Phase) -> int:
        """To the end of the phase, or to the next evaluation within it."""
        step = self.trainer.position.step
        if not phase.evaluated:
            return phase.iterations - step
        return min(place for place in (*self._evaluation["steps"], phase.iterations) if place > step) - step

    # Evaluation

    def _evaluation_due(self) -> tuple[int, int] | None:
        """Number and step of the evaluation whose turn it is, if any."""
        number = self.history.begun + 1
        if number > len(self._evaluation["steps"]):
            return None
        step = self._evaluation["steps"][number - 1]
        return (number, step) if self._evaluated_iterations() >= step else None

    def _iterations_before(self, name: str) -> int:
        """Iterations of the phases before the named one."""
        phases = self.trainer.algorithm.phases
        names = [phase.name for phase in phases]
        return sum(phase.iterations for phase in phases[: names.index(name)])

    def _evaluated_iterations(self) -> int:
        """Iterations done of the phase that evaluations fall into."""
        position = self.trainer.position
        for index, phase in enumerate(self.trainer.algorithm.phases):
            if phase.evaluated:
                done = position.step if position.phase == index else 0
                return phase.iterations if position.phase > index else done
        raise ValueError("the method has no phase to evaluate")

    def _evaluate(self, simulators: Sequence[Simulator], due: tuple[int, int]) -> None:
        """Evaluate while training waits."""
        number, _ = due
        started = time.monotonic()

        def on_step(environment_step: int) -> None:
            if self._channel.should_stop():
                raise StopRequestedError
            seconds = time.monotonic() - started
            self._report_evaluation(number, environment_step, simulators[0].horizon, seconds)

        algorithm = self.trainer.algorithm
        rollouts = self._play(algorithm, algorithm, simulators, number, on_step)
        # Only now, because reading empties the sums: an evaluation that is broken off must find them again.
        self._conclude(self._asked(due), rollouts)
        self._save_where_due()

    def _begin(self, simulators: Sequence[Simulator], due: tuple[int, int]) -> None:
        """Begin to evaluate the present weights while training goes on."""
        if self._beside is None:
            self._beside = self._new_beside()
        self.history.pending = self._asked(due)
        self._judge(self._beside, simulators, self.trainer.algorithm.networks.state_dict())

    def _new_beside(self) -> Beside:
        # A compiled choice of actions would differ in its last digits from that of an evaluation in turn.
        return Beside(self.trainer.algorithm, "eager" if self.plan.runner == "eager" else "auto")

    def _judge(self, beside: Beside, simulators: Sequence[Simulator], weights: Tensors) -> None:
        """Begin the pending evaluation, or begin it again."""
        assert self.history.pending is not None, "it is set before"
        number = self.history.pending["number"]
        self._evaluating_since = time.monotonic()
        beside.begin(
            weights, lambda policy, on_step: self._play(policy, beside.copy, simulators, number, on_step)
        )

    def _asked(self, due: tuple[int, int]) -> StoredPending:
        """An evaluation of what the method is now; empties the sums of metrics."""
        metrics = self.trainer.read_metrics()
        number, step = due
        if number == len(self._evaluation["steps"]):
            self._illustrations = self._illustrated(metrics)
        return {"number": number, "step": step, "iterations": self.iterations, "metrics": metrics}

    def _play(
        self,
        policy: ActingMethod,
        algorithm: Algorithm,
        simulators: Sequence[Simulator],
        number: int,
        on_step: Callable[[int], None],
    ) -> Rollouts:
        """Play the episodes of an evaluation; those of the last one also with other numbers of candidates.

        `policy` is how `algorithm` acts in them.
        """

        def played(policy: ActingMethod) -> Rollouts:
            return roll_out(
                policy,
                *simulators,
                evaluation=number,
                episodes=self._evaluation["episodes"],
                goals=self._evaluation.get("goals"),
                on_step=on_step,
            )

        rollouts = played(policy)
        if number < len(self._evaluation["steps"]):
            return rollouts
        others = {n: played(algorithm.acting_copy(candidates=n)) for n in algorithm.scored_candidates}
        return replace(
            rollouts,
            seconds=rollouts.seconds + sum(each.seconds for each in others.values()),
            by_candidates={n: each.returns for n, each in others.items()},
        )

    def _wait(self, beside: Beside, pending: StoredPending, horizon: int) -> None:
        """Wait a while for the pending evaluation, without which there is nothing to do."""
        if self._channel.should_stop():
            raise StopRequestedError
        beside.finished(CHUNK_SECONDS)
        seconds = time.monotonic() - self._evaluating_since
        self._report_evaluation(pending["number"], beside.step, horizon, seconds)

    def _conclude_pending(self) -> None:
        assert self._beside is not None, "there is one where an evaluation is pending"
        pending = self.history.pending
        assert pending is not None, "it is looked for before"
        rollouts = self._beside.result()
        self.history.pending = None
        self._conclude(pending, rollouts)

    def _conclude(self, asked: StoredPending, rollouts: Rollouts) -> None:
        """Keep and tell what came of an evaluation; training may have gone on since."""
        for candidates, returns in rollouts.by_candidates.items():
            for metrics, of_seed in zip(asked["metrics"], returns, strict=True):
                metrics[candidates_metric(candidates)] = float(self.plan.task.normalised(of_seed).mean())
        self.history.add(asked, rollouts)
        for slot, finite in enumerate(rollouts.finite):
            if not finite:
                self.trainer.algorithm.retire(slot)
                message = f"an action of evaluation {asked['number']} is not finite"
                self._fail(slot, asked["iterations"], message, asked["metrics"][slot], asked["step"])
            self._send_evaluations(slot, self.history.evaluations[-1:])

    def _send_evaluations(self, slot: int, evaluations: list[StoredEvaluation]) -> None:
        trial = self.plan.trials[slot]
        for entry in evaluations:
            if self._failed_by(slot, entry["step"]):
                continue
            returns = entry["returns"][slot]
            self._channel.send(
                EvaluationRecord(
                    trial=trial.key,
                    number=entry["number"],
                    step=entry["step"],
                    physics=trial.physics,
                    returns=tuple(returns),
                    lengths=tuple(entry["lengths"][slot]),
                    scores=tuple(self.plan.task.normalised(returns).tolist()),
                    seconds=entry["seconds"],
                    metrics=entry["metrics"][slot],
                    evaluated_at=datetime.fromisoformat(entry["evaluated_at"]),
                )
            )

    def _illustrated(self, metrics: list[dict[str, float]]) -> list[tuple[int, Weights]]:
        """What the trained method shows of itself, as files to keep, each with its slot.

        Its numbers are put into `metrics`, one dictionary per slot. Seeds that act in numbers that are not
        finite are left out.
        """
        plan = self.plan
        shown = after_training(self.trainer.algorithm, plan.task, lambda: _raw_data(plan, self._dataset))
        files = []
        for slot, illustration in enumerate(shown):
            if illustration is not None:
                metrics[slot] |= illustration.numbers
                arrays = {name: tensor.contiguous() for name, tensor in illustration.arrays.items()}
                files.append((slot, Weights(plan.trials[slot].key, ILLUSTRATION, save(arrays))))
        return files

    def _send_illustrations(self) -> None:
        if len(self.history.failed) == len(self.plan.seeds):
            return
        if self._illustrations is None:
            # The last evaluation was made before the last checkpoint; its metrics are in the history.
            self._illustrations = self._illustrated([{} for _ in self.plan.seeds])
        for slot, illustration in self._illustrations:
            if str(slot) not in self.history.failed:
                self._channel.send(illustration)

    # Failures

    def _fail(
        self, slot: int, step: int, message: str, metrics: dict[str, float], evaluated_iterations: int
    ) -> None:
        if str(slot) in self.history.failed:
            return
        failure: StoredFailure = {
            "step": step,
            "message": message,
            "last_metrics": metrics,
            "iterations": evaluated_iterations,
            "failed_at": datetime.now(UTC).isoformat(),
        }
        self.history.failed[str(slot)] = failure
        self._channel.send(self._failure(slot, failure))

    def _failed_by(self, slot: int, step: int) -> bool:
        failure = self.history.failed.get(str(slot))
        return failure is not None and failure["iterations"] <= step

    def _failure(self, slot: int, failure: StoredFailure) -> FailureRecord:
        return FailureRecord(
            trial=self.plan.trials[slot].key,
            step=failure["step"],
            error=DIVERGED,
            message=failure["message"],
            traceback=f"No exception was raised; its numbers ended this trial: {failure['message']}.",
            last_metrics=failure["last_metrics"],
            failed_at=datetime.fromisoformat(failure["failed_at"]),
        )

    # Progress

    def _report_progress(self, activity: str, evaluating_for: float = 0.0) -> None:
        total = sum(phase.iterations for phase in self.trainer.algorithm.phases)
        done, rate = self.iterations, self._iterations_per_second()
        made = len(self.history.evaluations)
        if made:
            self._evaluation_estimate = self.history.evaluation_seconds / made
        training = (total - done) / rate if rate else 0.0
        evaluating = self._evaluation_estimate * (len(self._evaluation["steps"]) - made) - evaluating_for
        left = max(training, evaluating) if self.plan.beside else training + evaluating
        progress = StackProgress(activity, done, total, rate, max(0.0, left))
        self._channel.send(Progress(self.plan.title, progress))

    def _iterations_per_second(self) -> float:
        """Of the present phase, as phases differ; of all training where the phase has only begun."""
        spent, phase, step = self.history.phase_seconds, self.trainer.phase, self.trainer.position.step
        if phase is not None and step and spent.get(phase.name):
            return step / spent[phase.name]
        seconds = sum(spent.values())
        return self.iterations / seconds if seconds else 0.0

    def _report_evaluation(self, number: int, step: int, horizon: int, seconds: float) -> None:
        """Report about once a second; the first evaluation is taken to go on to the horizon."""
        if step and time.monotonic() - self._reported_at < CHUNK_SECONDS:
            return
        self._reported_at = time.monotonic()
        if step and not self.history.evaluations:
            self._evaluation_estimate = seconds * horizon / step
        activity = f"evaluation {number}, step {step:,}/{horizon:,}"
        self._report_progress(activity, evaluating_for=seconds)


def _algorithm(plan: StackPlan) -> Algorithm:
    trial = plan.trials[0]
    return method_for(
        plan.task, trial.key.algorithm, trial.config["hyperparameters"], plan.seeds, plan.device
    )


def _raw_data(plan: StackPlan, dataset: Path) -> RawDataset:
    return read_file(dataset, plan.task, plan.trials[0].dataset.sha256)


def _packed_data(plan: StackPlan, dataset: Path, algorithm: Algorithm) -> PackedDataset:
    config = plan.trials[0].config
    raw = _raw_data(plan, dataset)
    transitions = transitions_of(raw, plan.task, config["transitions"])
    if algorithm.next_actions:
        transitions = with_next_actions(transitions, raw.name)
    return PackedDataset.pack(
        transitions.observations,
        transitions.actions,
        transitions.next_observations,
        transformed_rewards(config["reward_transform"], transitions),
        transitions.terminals,
        ends=transitions.trajectory_ends,
        next_actions=transitions.next_actions if algorithm.next_actions else None,
        device=plan.device,
    )


def _divergence(seed: Divergence, metrics: dict[str, float]) -> str:
    """Where a seed diverged, and which of its metrics show it."""
    broken = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    which = f"{', '.join(broken)} " if broken else "the loss "
    verb = "are" if len(broken) > 1 else "is"
    return f"{which}{verb} not finite, from iteration {seed.step:,} of phase {seed.phase} on"


def _cut(error: Exception) -> str:
    """An error's message on one line of a sensible length; of many the first."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        text = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return shortened(" ".join(text.split()), _MESSAGE_LENGTH)
