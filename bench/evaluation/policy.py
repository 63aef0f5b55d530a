"""What a trial has learned, acting in gymnasium's form: observations in, actions out, as NumPy arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from algorithms.base import Draw, Tensors, derived_seed
from algorithms.history import History
from bench.errors import BenchError, WorkFailedError
from bench.evaluation.rollout import STREAM
from bench.evaluation.stored import StoredMethod
from bench.training.draws import DrawStream

_ONE_CHOICE = "policy"
"""The stream of draws of a choice whose seed is named."""


class Policy:
    """A trial's policy, as it is evaluated: with its candidates, its standardised observations, its history.

    It plays episodes one after the other, `reset` between them; several robots at once, one per row, begin
    together. What is random in its choices follows from the seed of `reset`, or from that of `act`.
    """

    def __init__(self, method: StoredMethod) -> None:
        self._algorithm = method.algorithm
        self._key = method.trial.record.key
        self.trial: int = method.trial.trial_id
        """Its number."""
        self.algorithm: str = self._key.algorithm
        """Name of the method."""
        self.task: str = self._key.task
        """Whose data it was trained on, and whose environment it acts in."""
        self.seed: int = self._key.seed
        """Of training."""
        self.score: float | None = method.trial.score
        """Normalised, as stored; None where it has none."""
        self.observation_size: int = method.task.observation_dim
        self.action_size: int = method.task.action_dim
        self.action_bound: float = method.task.action_bound
        """Every component of an action lies within -bound and bound."""
        self.reset()

    def __repr__(self) -> str:
        return f"<Policy of trial {self.trial}: {self._key}>"

    @property
    def needs_rewards(self) -> bool:
        """Whether it acts by what it has earned, so that `earned` must be told of every reward."""
        return self._algorithm.context > 0

    def reset(self, seed: int = 0) -> None:
        """Begin a new episode, in which all that is random follows from `seed`; a new policy began with 0."""
        self._seed = operator.index(seed)
        self._keys: Sequence[object] = ()
        self._draws: DrawStream | None = None
        self._history = History(self._algorithm.context, self.action_size)
        self._step = 0
        self._unpaid = False

    def begin(self, keys: Sequence[object]) -> None:
        """Begin episodes whose draws are those of `keys`, one per row, as of `episode_keys`."""
        self.reset()
        self._keys = keys
        draws = self._algorithm.act_draws
        self._draws = DrawStream(keys, STREAM, draws, device=self._algorithm.device)

    def act(self, observations: ArrayLike, *, seed: int | None = None) -> NDArray[np.float32]:
        """Actions for observations as the environment gives them.

        Parameters
        ----------
        observations : (O,) of one robot, or (B, O), in the environment's units.
        seed : chooses what is random in this one choice, whatever was asked before: of a method without a
            history the same seed and observations give the same actions. Without it the episode's draws go
            on.

        Returns
        -------
        (A,) or (B, A), within the bounds.

        Raises
        ------
        BenchError : observations of another size, or that are not finite; another number of rows than the
            episode began with; a reward that was not told (`needs_rewards`).
        WorkFailedError : the policy's actions are not finite.
        """
        rows, algorithm = self._checked(observations), self._algorithm
        stacked = torch.from_numpy(rows).to(algorithm.device).unsqueeze(0)
        is_free = not algorithm.context and (seed is not None or not algorithm.act_draws)
        if not is_free:
            self._go_on(len(rows))
        draws = self._episode_draws() if seed is None else self._draws_of(operator.index(seed), len(rows))
        with torch.no_grad():
            actions = algorithm.act(stacked, {**draws, **self._history.see(stacked)})
        if not is_free:
            self._history.did(actions)
            self._step += 1
            self._unpaid = self.needs_rewards
        chosen = actions[0].cpu().numpy().astype(np.float32)
        if not np.isfinite(chosen).all():
            raise WorkFailedError(
                f"trial {self.trial} acts in numbers that are not finite", "", "Train it again."
            )
        # Some methods go beyond; an evaluation leaves that to MuJoCo, which does the same to what it drives.
        chosen = np.clip(chosen, -self.action_bound, self.action_bound)
        return chosen[0] if np.ndim(observations) == 1 else chosen

    def earned(self, rewards: ArrayLike) -> None:
        """Tell what the last actions earned, () or (B,); methods that know no rewards leave it aside."""
        if not self.needs_rewards:
            return
        told = np.atleast_1d(np.asarray(rewards, dtype=np.float64))
        acted = len(self._keys) if self._unpaid else 0
        if not acted or told.shape != (acted,) or not np.isfinite(told).all():
            raise BenchError(
                f"rewards {np.array2string(told, threshold=4)}",
                f"Robots that have acted since rewards were told: {acted}.",
                "After every policy.act pass what the environment's step gave, a finite number for each.",
            )
        self._history.earned(torch.from_numpy(told).unsqueeze(0))
        self._unpaid = False

    def _checked(self, observations: ArrayLike) -> NDArray[np.float32]:
        """The observations (B, O), of which at least one is there."""
        try:
            given = np.asarray(observations, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BenchError(
                "observations that are no array of numbers", f"{error}.", self._wanted
            ) from error
        if given.ndim not in (1, 2) or given.shape[-1] != self.observation_size or not len(given):
            why = f"{self.task} has {self.observation_size} numbers in each."
            raise BenchError(f"observations of shape {given.shape}", why, self._wanted)
        with np.errstate(over="ignore"):
            rows = np.atleast_2d(given).astype(np.float32)
        if not np.isfinite(rows).all():
            row, component = np.argwhere(~np.isfinite(rows))[0]
            raise BenchError(
                f"component {component} of observation {row} is {np.atleast_2d(given)[row, component]}",
                "A policy is trained on finite numbers and says nothing of others.",
                "Look for what the environment divides by.",
            )
        return rows

    @property
    def _wanted(self) -> str:
        size = self.observation_size
        return f"Pass an array of shape ({size},), or (B, {size}) for B robots at once."

    def _go_on(self, rows: int) -> None:
        """See to it that the episode, begun now or before, can go on with so many robots."""
        if self._unpaid:
            raise BenchError(
                f"no reward was told since the last action of trial {self.trial}",
                f"{self.algorithm} acts by what it has earned in the episode.",
                "Call policy.earned(reward) after every step, and policy.reset() before every episode.",
            )
        if self._draws is None:
            self.begin([f"{self._seed}/{row}" for row in range(rows)])
        if rows != len(self._keys):
            raise BenchError(
                f"{rows} observations, {len(self._keys)} at the beginning of the episode",
                "It goes on with the robots that it began with.",
                "Call policy.reset() first, or name a seed: policy.act(observations, seed=0).",
            )

    def _episode_draws(self) -> Tensors:
        """Those of the present step of the episode."""
        found = {} if self._draws is None else self._draws.at(self._step)
        return {name: draw.unsqueeze(0) for name, draw in found.items()}

    def _draws_of(self, seed: int, rows: int) -> Tensors:
        """Those of one choice alone; a stream would make those of many steps ahead."""
        return {draw.name: self._drawn(draw, seed, rows).unsqueeze(0) for draw in self._algorithm.act_draws}

    def _drawn(self, draw: Draw, seed: int, rows: int) -> Tensor:
        device, shape = self._algorithm.device, (rows, *draw.shape)
        generator = torch.Generator(device).manual_seed(derived_seed(seed, _ONE_CHOICE, draw.name))
        if draw.distribution == "normal":
            return torch.randn(shape, generator=generator, device=device)
        if draw.distribution == "uniform":
            return torch.rand(shape, generator=generator, device=device, dtype=torch.float64)
        raise ValueError(f"{self.algorithm} draws rows of a dataset as it acts")
