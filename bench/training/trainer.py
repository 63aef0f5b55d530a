"""Makes a method for a task and drives it through its phases.

It never waits for the device, except where it is told to look.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from algorithms.base import ROWS, Algorithm, Dimensions, Draw, Phase, tiny
from algorithms.registry import build, method
from bench.catalog import Task
from bench.errors import BenchError
from bench.hardware import subnormals_as_zero
from bench.records import PhaseRecord
from bench.training.batches import PackedDataset
from bench.training.draws import DrawStream
from bench.training.runners import make_runner


@dataclass(frozen=True)
class Position:
    """Where training stands: a phase and the iterations of it that are done."""

    phase: int
    step: int


@dataclass(frozen=True)
class Divergence:
    """A seed whose loss stopped being finite, and the iteration of the phase at which it did."""

    slot: int
    phase: str
    step: int


class Trainer:
    """One stack in training.

    All that changes is on the device and in `state_dict`: the method's tensors, sums of metrics since the
    last reading, where each seed diverged, and the iteration counter. `position` is the host's copy of
    that counter.
    """

    def __init__(self, algorithm: Algorithm, data: PackedDataset, *, runner: str = "auto") -> None:
        self.algorithm = algorithm
        self.data = data
        self.position = Position(0, 0)
        device, seeds = algorithm.device, len(algorithm.seeds)
        self._iterations = torch.zeros((), dtype=torch.int64, device=device)
        self._diverged_at = torch.full((seeds,), -1, dtype=torch.int64, device=device)
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}
        self._runner_name = runner
        algorithm.prepare(data.observations)
        algorithm.prepare_trajectories(data.rewards, data.ends)
        self._enter_phase()

    @property
    def phase(self) -> Phase | None:
        """The phase to train next; None when training is complete."""
        phases = self.algorithm.phases
        return phases[self.position.phase] if self.position.phase < len(phases) else None

    @property
    def iterations_left_in_phase(self) -> int:
        """Iterations until the end of the phase."""
        return 0 if self.phase is None else self.phase.iterations - self.position.step

    @property
    def runner(self) -> str:
        """How iterations run: `eager`, `graph` or `compiled`."""
        return self._runner.name

    def advance(self, iterations: int) -> None:
        """Run iterations of the present phase without host synchronisation; at its end enter the next.

        Raises
        ------
        ValueError : more iterations than the phase has left.
        """
        phase = self.phase
        if phase is None or iterations > self.iterations_left_in_phase:
            raise ValueError(f"{iterations} iterations asked, {self.iterations_left_in_phase} left")
        first = self.position.step
        self._train((phase.program(step), step) for step in range(first, first + iterations))
        self.position = Position(self.position.phase, first + iterations)
        if self.iterations_left_in_phase == 0:
            self._begin_next_phase()

    def made(self, slot: int) -> dict[str, Tensor]:
        """What the first phase, a shared one, has trained of one seed: the tensors of its network."""
        return {name: value[slot] for name, value in self._shared_network().state_dict().items()}

    @torch.no_grad()
    def take_over(self, made: Sequence[Mapping[str, Tensor]]) -> None:
        """Take for every seed what another trial `made` in the first phase, and go on with the next one.

        Raises
        ------
        ValueError : it is of another network, or training has begun.
        """
        if self.position != Position(0, 0):
            raise ValueError("training has begun")
        network = self._shared_network().state_dict()
        for found in made:
            for name in sorted(network.keys() | found.keys()):
                mine, other = network.get(name), found.get(name)
                if (
                    mine is None
                    or other is None
                    or (mine.shape[1:], mine.dtype) != (other.shape, other.dtype)
                ):
                    raise ValueError(f"{name} does not fit")
        for name, tensor in network.items():
            tensor.copy_(torch.stack([found[name] for found in made]))
        self._begin_next_phase()

    def skip_to(self, phase: int) -> None:
        """Begin the phase of this number without training those before it; for timing alone."""
        while self.position.phase < phase:
            self._begin_next_phase()

    def repeat(self, program: str, iterations: int) -> None:
        """Run a program of the present phase again and again, wherever it belongs; for timing alone.

        The method trains on meanwhile and the position stays, so that nothing can be continued from here.
        """
        self._train((program, step) for step in range(iterations))

    def read_metrics(self) -> list[dict[str, float]]:
        """Means of every metric since the last reading, per seed; waits for the device."""
        means = self.metrics()
        for tensor in (*self._sums.values(), *self._counts.values()):
            tensor.zero_()
        return means

    def metrics(self) -> list[dict[str, float]]:
        """The same without counting as a reading."""
        # A metric of the other phase has no count; one that diverged has, and is NaN.
        counted = {
            name: total / self._counts[name] for name, total in self._sums.items() if self._counts[name]
        }
        per_metric = {name: mean.tolist() for name, mean in counted.items()}
        seeds = range(len(self.algorithm.seeds))
        return [{name: values[slot] for name, values in per_metric.items()} for slot in seeds]

    def retire_diverged(self) -> list[Divergence]:
        """Freeze the seeds whose loss stopped being finite since the last call; waits for the device."""
        # A phase may have ended in the meantime, so the place is kept as phase * 2^40 + step.
        alive = self.algorithm.alive.tolist()
        found = []
        for slot, place in enumerate(self._diverged_at.tolist()):
            if place >= 0 and alive[slot]:
                phase, step = divmod(place, 1 << 40)
                self.algorithm.retire(slot)
                found.append(Divergence(slot, self.algorithm.phases[phase].name, step))
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors that a continuation needs besides `position`."""
        state = {f"algorithm.{name}": tensor for name, tensor in self.algorithm.state_dict().items()}
        state |= {f"sum.{name}": total for name, total in self._sums.items()}
        state |= {f"count.{name}": count for name, count in self._counts.items()}
        return state | {"iterations": self._iterations, "diverged_at": self._diverged_at}

    def load(self, state: Mapping[str, Tensor], position: Position) -> None:
        """Continue from a checkpoint.

        Raises
        ------
        ValueError : the state is of another method, configuration or stack.
        """
        self._require_fitting(state, position)
        self.algorithm.load_state_dict(_under("algorithm.", state))
        self._remake(position)
        device = self.algorithm.device
        self._sums = {name: value.to(device, copy=True) for name, value in _under("sum.", state).items()}
        self._counts = {name: value.to(device, copy=True) for name, value in _under("count.", state).items()}
        self._iterations.copy_(state["iterations"])
        self._diverged_at.copy_(state["diverged_at"])
        self.position = position
        self._enter_phase()

    def _require_fitting(self, state: Mapping[str, Tensor], position: Position) -> None:
        """Refuse a state of which any tensor has another name, shape or type, or that stands elsewhere."""
        expected = self.state_dict()
        # Metrics get their sums as they first come, so that only the two of each must agree.
        sums, counts = _under("sum.", state), _under("count.", state)
        if sums.keys() != counts.keys():
            raise ValueError(f"sums and counts differ: {sorted(sums.keys() ^ counts.keys())[:4]}")
        expected |= {f"sum.{name}": self._diverged_at.to(value.dtype) for name, value in sums.items()}
        expected |= {f"count.{name}": self._iterations.to(sums[name].dtype) for name in counts}
        if expected.keys() != state.keys():
            differing = sorted(expected.keys() ^ state.keys())
            raise ValueError(f"state does not fit: differing names {differing[:4]}")
        for name, tensor in expected.items():
            if (tensor.shape, tensor.dtype) != (state[name].shape, state[name].dtype):
                shape, dtype = tuple(state[name].shape), state[name].dtype
                raise ValueError(f"state does not fit: {name} is {shape} of {dtype}")
        phases = self.algorithm.phases
        ended = position == Position(len(phases), 0)
        if not (ended or (0 <= position.phase < len(phases) and position.step >= 0)):
            raise ValueError(f"there is no phase {position.phase}")
        if not ended and position.step >= phases[position.phase].iterations:
            raise ValueError(f"step {position.step} is behind the end of phase {position.phase}")
        if int(state["iterations"]) != position.step:
            raise ValueError(f"its tensors stand at step {int(state['iterations'])}, not {position.step}")

    def _shared_network(self) -> nn.Module:
        shared = self.algorithm.phases[0].shared
        if shared is None:
            raise ValueError("the first phase is no shared one")
        return self.algorithm.networks[shared.network]

    def _begin_next_phase(self) -> None:
        self.position = Position(self.position.phase + 1, 0)
        self._iterations.zero_()
        if self.phase is not None:
            self.algorithm.begin_phase(self.phase.name)
        self._enter_phase()

    def _remake(self, position: Position) -> None:
        """Make again what phases leave besides the state, as far as training has come, where it is needed.

        Sums and counters are another's afterwards; `load` sets them.
        """
        phases = self.algorithm.phases
        names = [phase.name for phase in phases]
        for index, phase in enumerate(phases[: position.phase + 1]):
            if phase.remade_until is None or position.phase > names.index(phase.remade_until):
                continue
            self.position = Position(index, 0)
            self._enter_phase()
            done = position.step if index == position.phase else phase.iterations
            self._train((phase.program(step), step) for step in range(done))

    def _enter_phase(self) -> None:
        """Draws and runner of the present phase; captured graphs of the last one are dropped."""
        phase = self.phase
        if phase is None:
            return
        rows = Draw(ROWS, (phase.batch_size,), phase.sampling)
        self._draws = DrawStream(
            self.algorithm.seeds,
            phase.name,
            (rows, *phase.draws),
            device=self.algorithm.device,
            rows=phase.rows(len(self.data)),
            dtype=self.data.rows.dtype,
        )
        self._runner = make_runner(self._runner_name, self._iterate, self.state_dict, self.algorithm.device)
        self._looks = self.runner == "eager" and self.algorithm.device.type == "cpu"

    def _train(self, steps: Iterable[tuple[str, int]]) -> None:
        """Run programs of the present phase, each with the draws of its step."""
        with subnormals_as_zero():
            for program, step in steps:
                self._runner.run(program, self._draws.at(step))

    def _iterate(self, program: str, draws: Mapping[str, Tensor]) -> None:
        method = self.algorithm
        batch = self.data.batch(draws[ROWS], next_actions=method.next_actions, window=method.context)
        metrics = method.update(program, batch, draws)
        values = torch.stack(list(metrics.values()))
        # Operation by operation on a CPU a look waits for nothing, and one finite sum says it of all.
        if not (self._looks and math.isfinite(values.sum())):
            self._mark_diverged(values)
        self._iterations += 1
        for name, values in metrics.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(values)
                self._counts[name] = torch.zeros((), dtype=values.dtype, device=values.device)
        torch._foreach_add_([self._sums[name] for name in metrics], list(metrics.values()))
        torch._foreach_add_([self._counts[name] for name in metrics], 1)

    def _mark_diverged(self, values: Tensor) -> None:
        """Note where each seed's metrics (M, S) are no longer finite."""
        # Only a finite number less itself is 0; what diverged before keeps its place.
        kept = (values - values == 0).all(dim=0) | (self._diverged_at >= 0)
        place = self._iterations + (self.position.phase << 40)
        torch.where(kept, self._diverged_at, place, out=self._diverged_at)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def method_for(
    task: Task, name: str, hyperparameters: Mapping[str, object], seeds: Sequence[int], device: str = "cpu"
) -> Algorithm:
    """The named method, untrained, over a stack of seeds."""
    dimensions = Dimensions(task.observation_dim, task.action_dim, task.action_bound)
    return build(name, dimensions, hyperparameters, seeds, device)


def phases_for(task: Task, name: str, hyperparameters: Mapping[str, object]) -> tuple[PhaseRecord, ...]:
    """The phases of the named method, in order.

    Raises
    ------
    BenchError : they are not those that the method declares.
    """
    declared = method(name)
    # Sizes change none of them, and making wide networks for every cell of a grid would take minutes.
    sizes = tiny(declared.load()[1])
    phases = tuple(
        PhaseRecord(phase.name, phase.iterations, phase.evaluated)
        for phase in method_for(task, name, {**hyperparameters, **sizes}, (0,)).phases
    )
    promised = tuple(
        PhaseRecord(phase, iterations, phase == declared.evaluated)
        for phase, count in declared.phases.items()
        if (iterations := cast(int, hyperparameters[count]))
    )
    if phases != promised:
        raise BenchError(
            f"{name} has other phases than {declared.preset.name} declares",
            f"Its class has {_listed(phases)}; the file declares {_listed(promised)}.",
            "Correct the one that is wrong.",
        )
    return phases


def _listed(phases: Iterable[PhaseRecord]) -> str:
    return ", ".join(
        f"{phase.name} of {phase.iterations:,} iterations{' (evaluated)' if phase.evaluated else ''}"
        for phase in phases
    )
