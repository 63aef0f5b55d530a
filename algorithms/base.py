"""What every method is: checked hyper-parameters, phases with programs, declared draws, stacked seeds.

All tensors carry a leading axis S of training seeds. Nothing in a method mixes seeds, and nothing in it draws
random numbers while it trains: every draw is declared, made elsewhere and passed in.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, dataclass_transform, get_type_hints

import torch
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as validated_dataclass
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic_core import ErrorDetails
from torch import Tensor, nn

from algorithms.optim import Adam, move_towards

Tensors = Mapping[str, Tensor]
Sampling = Literal["index", "shuffled", "in_order"]
ROWS = "rows"
"""Name of the draw that chooses the minibatch: rows of the dataset, (S, B)."""


Count = Annotated[int, Field(ge=1)]
"""A number of things, at least one."""
NonNegativeCount = Annotated[int, Field(ge=0)]
SineFeatures = Annotated[int, Field(multiple_of=2, ge=4)]
"""Sines and cosines together, as many of each; between two frequencies at least."""
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1, both possible: a discount, a polyak rate."""
InnerFraction = Annotated[float, Field(gt=0, lt=1)]
"""Strictly between 0 and 1: an expectile."""


@dataclass(frozen=True)
class Tiny:
    """Annotates a hyper-parameter that costs time and changes no rule with its size in a tiny test run."""

    size: int


BatchSize = Annotated[Count, Tiny(16)]
Width = Annotated[Count, Tiny(16)]
"""Units of a layer."""

Configured = TypeVar("Configured")


@dataclass_transform(frozen_default=True)
def hyperparameters(configuration: type[Configured]) -> type[Configured]:
    """Make a class of annotated fields a method's configuration: a frozen dataclass that checks its values.

    The docstring below a field says unit and meaning. Whole numbers serve as fractions; nothing else is taken
    for another type. Making one raises pydantic's ValidationError; `checked` says it in a sentence.

    Defaults serve who makes one in Python, as tests do. Every command takes all values from the preset file,
    which must give each of them.
    """
    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    return cast(type[Configured], validated_dataclass(frozen=True, config=strict)(configuration))


def checked(configuration: type[Configured], values: Mapping[str, object]) -> Configured:
    """A configuration with these values.

    Raises
    ------
    TypeError : a hyper-parameter that the configuration does not have.
    ValueError : a value of another type than its field, or outside what the field's annotation allows; the
    message starts with the field's name.
    """
    try:
        return configuration(**values)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "unexpected_keyword_argument":
            raise TypeError(f"{configuration.__name__} has no {first['loc'][0]}") from error
        if first["type"] == "value_error":  # of a check of the class's own, which says it all
            raise ValueError(str(first["ctx"]["error"])) from error
        name = str(first["loc"][0])
        wanted = _wanted(configuration, name, first)
        raise ValueError(f"{name} is {first['input']!r}; it must be {wanted}") from error


_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
}


def _wanted(configuration: type, name: str, error: ErrorDetails) -> str:
    """What the value of a field should have been."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _WANTED:
        return _WANTED[kind]
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "").replace(", ", " or ")
    if kind == "multiple_of":
        return f"a multiple of {context['multiple_of']}"
    fields = configuration.__pydantic_fields__ if is_pydantic_dataclass(configuration) else {}
    bounds = {
        bound: f"{getattr(limit, bound):g}"
        for limit in (fields[name].metadata if name in fields else ())
        for bound in ("ge", "gt", "le", "lt")
        if hasattr(limit, bound)
    }
    if bounds.keys() == {"ge", "le"}:
        return f"between {bounds['ge']} and {bounds['le']} (inclusive)"
    if bounds.keys() == {"gt", "lt"}:
        return f"between {bounds['gt']} and {bounds['lt']} (exclusive)"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return " and ".join(f"{words[bound]} {limit}" for bound, limit in bounds.items()) or error["msg"]


def tiny(configuration: type) -> dict[str, int]:
    """Hyper-parameters of a tiny test run of a method: the sizes that its configuration declares."""
    return {
        name: mark.size
        for name, hint in get_type_hints(configuration, include_extras=True).items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, Tiny)
    }


@dataclass(frozen=True)
class Dimensions:
    """Sizes of a task: observation and action dimension, and the bound of every action component."""

    observation: int
    action: int
    action_bound: float = 1.0


@dataclass(frozen=True)
class Draw:
    """Random numbers that one iteration needs, per training seed.

    ``normal`` is N(0, 1); ``uniform`` is U[0, 1) in double precision, so that tails keep their resolution;
    ``index`` picks rows of the dataset with replacement; ``shuffled`` walks through a new permutation of the
    rows in every epoch and drops what is left over at its end; ``in_order`` walks through the rows as they
    lie, again and again.
    """

    name: str
    shape: tuple[int, ...]
    distribution: Literal["normal", "uniform", "index", "shuffled", "in_order"]


@dataclass(frozen=True)
class Shared:
    """Says that a phase is that of other methods too, so that what one has trained the others may take.

    Such a phase is a method's first. It changes nothing but one network and its optimiser, which nothing
    later steps.
    """

    network: str
    """What it trains, by its name among `networks`."""
    settings: Mapping[str, object]
    """All that decides its weights besides the transitions (without their rewards), the seed, and how it is
    run: plain values, the same in all methods that share it."""


@dataclass(frozen=True)
class Phase:
    """A stage of a method.

    Parameters
    ----------
    iterations : how many updates the phase has.
    batch_size : transitions, or windows of a method with a `context`, per seed and iteration.
    draws : what an iteration needs besides the minibatch.
    programs : maps the iteration (0-based) to the name of the fixed sequence of operations to run; None where
    there is but one, which then has the phase's own name.
    evaluated : whether evaluations fall into this phase.
    sampling : how minibatches are drawn: `index` (with replacement), `shuffled` (without), `in_order`.
    first_rows : minibatches come from so many rows alone, those that the dataset begins with; None: from all.
    remade_until : name of the last phase that reads what this one leaves besides the state. That is not kept
        in checkpoints, for it may be large, but made again by the same draws. None: it leaves nothing so.
    shared : whether other methods have this phase too.
    """

    name: str
    iterations: int
    batch_size: int
    draws: tuple[Draw, ...] = ()
    programs: Callable[[int], str] | None = None
    evaluated: bool = False
    sampling: Sampling = "index"
    first_rows: int | None = None
    remade_until: str | None = None
    shared: Shared | None = None

    def rows(self, dataset: int) -> int:
        """How many rows minibatches come from, of a dataset that has so many."""
        return dataset if self.first_rows is None else min(dataset, self.first_rows)

    def program(self, step: int) -> str:
        """Name of the program that iteration `step` runs."""
        return self.programs(step) if self.programs else self.name

    @cached_property
    def occurrences(self) -> dict[str, tuple[int, int]]:
        """Program -> the first iteration that runs it, and how many do; in the order of the first."""
        if self.programs is None:
            return {self.name: (0, self.iterations)} if self.iterations else {}
        # There are millions of iterations: they are counted without a line of Python for each.
        counts = Counter(map(self.programs, range(self.iterations)))
        return {program: (self._first(program), count) for program, count in counts.items()}

    def _first(self, program: str) -> int:
        return next(step for step in range(self.iterations) if self.program(step) == program)


def derived_seed(*parts: object) -> int:
    """A 63-bit seed that is a function of `parts` alone, alike on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Algorithm(ABC):
    """A method over a stack of training seeds.

    A subclass fills `networks` and `optimisers` in `build` and implements `phases`, `update` and `act`.
    `alive` (S,) is false for seeds that diverged; their losses count for nothing, so they stand still while
    the others go on.
    """

    name: ClassVar[str]
    config: Any
    """The method's configuration; a subclass names its class."""
    next_actions: ClassVar[bool] = False
    """Whether its minibatches hold `next_actions`, too: what the data did in the next observations."""
    one_step: ClassVar[bool] = False
    """Whether an action takes one pass through the policy's network: no steps of a sampler, no history.

    Such a policy can be exported: `act` is traced, so that what it does must not depend on values.
    """
    act_draws: tuple[Draw, ...] = ()
    """Draws of one action choice, per episode and environment step."""

    def __init__(
        self, dimensions: Dimensions, config: object, seeds: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        self.dimensions = dimensions
        self.config = config
        self.seeds = tuple(seeds)
        self.device = torch.device(device)
        self.networks = nn.ModuleDict()
        self.optimisers: dict[str, Adam] = {}
        self.memory: dict[str, Tensor] = {}
        """What training keeps besides networks, (S, ...) each; `act` does not depend on it."""
        self.alive = torch.ones(len(self.seeds), dtype=torch.bool, device=self.device)
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Fill `networks` (by `add` and `add_target`) and `optimisers`; set what else the method holds."""

    @property
    def context(self) -> int:
        """Steps that an action depends on, the present one among them; 0: on the observation alone.

        Minibatches of such a method are windows of so many steps, and `act` is given a history
        (`algorithms.history`).
        """
        return 0

    @property
    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The stages, in order."""

    @abstractmethod
    def update(self, program: str, batch: Tensors, draws: Tensors) -> dict[str, Tensor]:
        """One iteration without host synchronisation; returns metrics, each (S,), the losses among them."""

    @abstractmethod
    def act(self, observations: Tensor, draws: Tensors) -> Tensor:
        """Actions (S, N, A) for observations (S, N, O), as the method acts when it is evaluated.

        Of a method with a `context` the draws stand beside the history.
        """

    def add(self, name: str, network: nn.Module) -> None:
        """Put a network among `networks`, on the method's device."""
        self.networks[name] = network.to(self.device)

    def add_target(self, name: str) -> None:
        """Put `target_<name>` among `networks`: a copy of the named network that only `follow` moves."""
        self.networks[f"target_{name}"] = copy.deepcopy(self.networks[name]).requires_grad_(False)

    def follow(self, name: str, rate: float) -> None:
        """Move `target_<name>` by the share `rate` towards the named network."""
        move_towards(self.networks[f"target_{name}"].parameters(), self.networks[name].parameters(), rate)

    def copy_weights(self, source: str, into: str) -> None:
        """Give network `into` the weights of network `source`."""
        pairs = zip(self.networks[into].parameters(), self.networks[source].parameters(), strict=True)
        with torch.no_grad():
            for mine, other in pairs:
                mine.copy_(other)

    def prepare(self, observations: Tensor) -> None:  # noqa: B027  (most methods need no statistics)
        """What is taken from the dataset's observations (N, O) as a whole, before the first iteration.

        Runs at every start, before a checkpoint is loaded; what it sets must be part of `networks`, or of
        `memory`, or follow from the dataset alone.
        """

    def prepare_trajectories(self, rewards: Tensor, ends: Tensor) -> None:  # noqa: B027  (as `prepare`)
        """The same of rewards (N,) and of the rows that end a trajectory (N,), bool; runs after `prepare`."""

    def begin_phase(self, name: str) -> None:  # noqa: B027  (most methods have no hand-over)
        """Hand-over from the phase before into this one: what is copied or restarted. Not for the first."""

    def minimise(self, optimiser: str, losses: Tensor) -> None:
        """One step of the named optimiser on per-seed losses (S,), of those seeds that are alive.

        No other parameter receives a gradient.
        """
        chosen = self.optimisers[optimiser]
        weights = self.alive.to(losses.dtype)
        chosen.step(torch.autograd.grad(losses, chosen.parameters, weights))

    def retire(self, slot: int) -> None:
        """Freeze the seed in `slot`: zero its parameters and moments, and its losses from now on."""
        self.alive[slot] = False
        with torch.no_grad():
            for tensor in self._per_seed_tensors().values():
                tensor[slot] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """All that a continuation needs, by name: parameters, targets, moments, counters, who is alive."""
        state = self._per_seed_tensors()
        for name, optimiser in self.optimisers.items():
            state[f"optimiser.{name}.steps"] = optimiser.steps
        state["alive"] = self.alive
        return state

    def load_state_dict(self, state: Tensors) -> None:
        """Copy a saved state into place, so that captured graphs keep their addresses.

        Raises
        ------
        ValueError : the state is of another method, configuration or stack.
        """
        mine = self.state_dict()
        if mine.keys() != state.keys():
            raise ValueError(f"state does not fit: differing names {sorted(mine.keys() ^ state.keys())[:4]}")
        with torch.no_grad():
            for name, tensor in mine.items():
                if tensor.shape != state[name].shape:
                    raise ValueError(f"state does not fit: {name} is {tuple(state[name].shape)}")
                tensor.copy_(state[name])

    def policy_state(self, slot: int) -> dict[str, Tensor]:
        """Network weights of one seed, without the seed axis, as stored for `bench evaluate`."""
        return {name: value[slot].detach().cpu() for name, value in self.networks.state_dict().items()}

    def load_policy_state(self, slot: int, weights: Tensors) -> None:
        """Put stored weights of one seed into `slot`."""
        mine = self.networks.state_dict()
        if mine.keys() != weights.keys():
            raise ValueError(
                f"weights do not fit: differing names {sorted(mine.keys() ^ weights.keys())[:4]}"
            )
        with torch.no_grad():
            for name, value in mine.items():
                value[slot].copy_(weights[name])

    @property
    def scored_candidates(self) -> tuple[int, ...]:
        """Numbers of candidates per action with which the last evaluation is made, too.

        Those among which the authors chose after training; most methods choose before.
        """
        return ()

    def acting_copy(self, **settings: object) -> Algorithm:
        """A method of the same stack that acts as this one does now, whatever becomes of this one.

        With other `settings` of the configuration that change no weights, it acts by those.
        """
        config = replace(self.config, **settings) if settings else self.config
        copied = type(self)(self.dimensions, config, self.seeds, self.device)
        copied.load_networks(self.networks.state_dict())
        return copied

    @torch.no_grad()
    def load_networks(self, weights: Tensors) -> None:
        """Copy the weights of all networks, (S, ...) each, into place: all that `act` depends on.

        Raises
        ------
        ValueError : they are of another method, configuration or stack.
        """
        mine = self.networks.state_dict()
        shapes, others = ({n: t.shape for n, t in state.items()} for state in (mine, weights))
        if shapes != others:
            differing = sorted(name for name, _ in shapes.items() ^ others.items())
            raise ValueError(f"weights do not fit: {differing[0]} differs")
        for name, value in mine.items():
            value.copy_(weights[name])

    def seed_view(self, slot: int) -> Algorithm:
        """The policy of one seed alone, a stack of one, for measuring single-policy latency."""
        view = type(self)(self.dimensions, self.config, (self.seeds[slot],), self.device)
        view.load_policy_state(0, self.policy_state(slot))
        return view

    def _per_seed_tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{name}": value for name, value in self.networks.state_dict().items()}
        tensors |= {f"memory.{name}": value for name, value in self.memory.items()}
        for name, optimiser in self.optimisers.items():
            for kind, moments in (("first", optimiser.first_moments), ("second", optimiser.second_moments)):
                tensors.update({f"optimiser.{name}.{kind}.{i}": moment for i, moment in enumerate(moments)})
        return tensors
