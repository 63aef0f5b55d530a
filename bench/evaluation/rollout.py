"""Episodes of all seeds of a stack at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from algorithms.base import Algorithm, Draw, Tensors, derived_seed
from algorithms.history import History
from bench.records import GoalRule
from bench.training.draws import DrawStream
from bench.training.runners import make_runner

if TYPE_CHECKING:
    from bench.envs import Simulator

STREAM = "evaluation"
_OBSERVATIONS = "observations"
"""Among the inputs of a captured choice of actions; no draw is called so."""


@dataclass(frozen=True)
class Rollouts:
    """Episodes of one evaluation: returns and lengths (S, N); `finite` (S,) tells of the actions."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    finite: NDArray[np.bool_]
    seconds: float
    by_candidates: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    """Returns (S, N) of the same episodes, played with other numbers of candidates per action."""


def roll_out(
    algorithm: ActingMethod,
    *simulators: Simulator,
    evaluation: int,
    episodes: int,
    goals: GoalRule | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Rollouts:
    """Play `episodes` episodes per seed, all at once, until the last has ended.

    Initial states and action draws are a function of (training seed, evaluation, episode), on a stream that
    training never touches; `goals` says which of them share a goal, where the task draws one. `simulators`
    have S * N environments together, each of them the same number of every seed, those of the first seed
    first. Where there are two, a GPU chooses actions for the robots of one while the CPUs move those of the
    other. `on_step` is called with its number before every environment step, and may raise to break off.
    """
    started = time.perf_counter()
    groups, first = [], 0
    for simulator in simulators:
        count = simulator.count // len(algorithm.seeds)
        groups.append(_Group(algorithm, simulator, evaluation, range(first, first + count), goals))
        first += count
    if first != episodes:
        raise ValueError(f"environments for {first} episodes of each seed, {episodes} asked for")
    finite = np.ones(len(algorithm.seeds), dtype=bool)
    for group in groups:
        group.ask()
    step, running = 0, groups
    while running:
        on_step(step)
        for group in running:
            finite &= group.play()
            if group.running.any():
                group.ask()
        running = [group for group in running if group.running.any()]
        step += 1
    returns = np.concatenate([group.returns for group in groups], axis=1)
    lengths = np.concatenate([group.lengths for group in groups], axis=1)
    return Rollouts(returns, lengths, finite, time.perf_counter() - started)


def episode_keys(seeds: Sequence[int], evaluation: int, episodes: Sequence[int]) -> list[str]:
    """What tells the episodes (S * N,) of an evaluation apart; draws and initial states follow from it."""
    return [f"{seed}/{evaluation}/{episode}" for seed in seeds for episode in episodes]


class ActingMethod(Protocol):
    """What chooses actions: a method, or `GraphedPolicy` of one."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds of the stack."""

    @property
    def device(self) -> torch.device:
        """Where actions are chosen."""

    @property
    def act_draws(self) -> tuple[Draw, ...]:
        """Draws of one action choice, per episode and environment step."""

    @property
    def context(self) -> int:
        """Steps that an action depends on; 0: on the observation alone."""

    def act(self, observations: Tensor, draws: Tensors, /) -> Tensor:
        """Actions (S, N, A) for observations (S, N, O)."""


class GraphedPolicy:
    """A method that acts by a captured graph for each number of episodes, where `runner` says so.

    Its weights may change in place. What `act` returns is overwritten by the next call.
    """

    def __init__(self, algorithm: Algorithm, runner: str) -> None:
        self.seeds, self.device, self.act_draws = algorithm.seeds, algorithm.device, algorithm.act_draws
        self.context = algorithm.context
        self._algorithm = algorithm
        self._actions: dict[str, Tensor] = {}
        self._runner = make_runner(runner, self._act, lambda: {}, algorithm.device)

    def act(self, observations: Tensor, draws: Tensors, /) -> Tensor:
        """Actions (S, N, A) for observations (S, N, O)."""
        seeds, episodes, _ = observations.shape
        program = f"act for {episodes} episodes"
        if program not in self._actions:
            self._actions[program] = observations.new_empty(
                seeds, episodes, self._algorithm.dimensions.action
            )
        self._runner.run(program, {_OBSERVATIONS: observations, **draws})
        return self._actions[program]

    def _act(self, program: str, inputs: Tensors) -> None:
        draws = {name: tensor for name, tensor in inputs.items() if name != _OBSERVATIONS}
        self._actions[program].copy_(self._algorithm.act(inputs[_OBSERVATIONS], draws))


class _Group:
    """The robots of one simulator in an evaluation: some episodes of every seed."""

    def __init__(
        self,
        algorithm: ActingMethod,
        simulator: Simulator,
        evaluation: int,
        episodes: range,
        goals: GoalRule | None,
    ) -> None:
        self._algorithm, self._simulator = algorithm, simulator
        self._shape = (len(algorithm.seeds), len(episodes))
        keys = episode_keys(algorithm.seeds, evaluation, episodes)
        self._draws = DrawStream(keys, STREAM, algorithm.act_draws, device=algorithm.device)
        self._observations = simulator.reset(
            [derived_seed(key, "initial state") for key in keys],
            goal_seeds=_goal_seeds(goals, algorithm.seeds, evaluation, episodes) if goals else None,
        )
        self._history = History(algorithm.context, simulator.action_dim)
        self._step = 0
        self._asked: tuple[Tensor, torch.cuda.Event | None]
        self.returns, self.lengths = np.zeros(self._shape), np.zeros(self._shape, dtype=np.int64)
        self.running = np.ones(self._shape, dtype=bool)

    def ask(self) -> None:
        """Have the next actions chosen; on a GPU this returns before they are."""
        device = self._algorithm.device
        observations = torch.from_numpy(self._observations.astype(np.float32)).to(device, non_blocking=True)
        stacked = observations.unflatten(0, self._shape)
        noise = {name: draw.unflatten(0, self._shape) for name, draw in self._draws.at(self._step).items()}
        actions = self._algorithm.act(stacked, {**noise, **self._history.see(stacked)})
        self._history.did(actions)
        if device.type == "cuda":
            chosen = torch.cuda.Event()
            self._asked = actions.to("cpu", non_blocking=True), chosen
            chosen.record()
        else:
            self._asked = actions.cpu(), None

    def play(self) -> NDArray[np.bool_]:
        """One environment step by the actions that were asked for; whether each seed's (S,) are finite."""
        host, chosen = self._asked
        if chosen is not None:
            chosen.synchronize()
        actions = host.numpy()
        # A seed with a non-finite action has failed; its robots stand still until the others are done.
        played = np.nan_to_num(actions, nan=0.0, posinf=0.0, neginf=0.0)
        outcome = self._simulator.step(played.reshape(self._simulator.count, -1).astype(np.float64))
        rewards = outcome.rewards.reshape(self._shape)
        self.returns += np.where(self.running, rewards, 0.0)
        self._history.earned(torch.from_numpy(rewards))
        self.lengths += self.running
        self.running &= ~(outcome.terminated | outcome.truncated).reshape(self._shape)
        self._observations = outcome.observations
        self._step += 1
        return np.isfinite(actions).all(axis=(1, 2))


def _goal_seeds(rule: GoalRule, seeds: Sequence[int], evaluation: int, episodes: range) -> list[int]:
    """Seeds of the goals (S * N,): equal ones where episodes share a goal."""
    keys = {
        "per_episode": "{seed}/{evaluation}/{episode}",
        "per_evaluation": "{seed}/{evaluation}",
        "per_run": "{seed}",
        "per_environment": "{seed}/any/{episode}",
    }
    return [
        derived_seed(keys[rule].format(seed=seed, evaluation=evaluation, episode=episode), "goal")
        for seed in seeds
        for episode in episodes
    ]
