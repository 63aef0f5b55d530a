"""Fits behaviour policies that are shipped to the behaviour of policies that are not.

`python -m bench.data.fit_policies ant --teacher FILE` (or `pen`) writes the policy with its measurements into
the package, in about a quarter of an hour of one core. First the teacher acts; then the student, and the
teacher says what it would have done in the states that the student comes to (DAgger).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.special import ndtri
from torch.nn.functional import linear

from bench.catalog import Catalog, Physics, load_catalog
from bench.data.measure_policies import EPISODES, Setting, measure, measured, play, settings_of
from bench.data.policies import LOG_STD_RANGE, Behaviour, BehaviourPolicy, layers_of, policy_folder
from bench.envs.antmaze import AntMaze
from bench.envs.rules import Rules, States
from bench.files import written_whole

WIDTH = 256
BATCH = 256
LEARNING_RATE = 4e-3
ROUNDS = 5
"""Of collecting, the first by the teacher."""
ITERATIONS = 4000
"""Of training after every round but the last."""
LAST_ITERATIONS = 60_000
REPORT = 2000
"""Iterations between two lines of what the loss is."""
PHYSICS: Physics = "d4rl"
QUANTILES = 9
"""Of a number of an action that are fitted where two distributions have no formula in common; an odd number,
so that the median is among them."""

Targets = tuple[torch.Tensor, torch.Tensor]
"""Mean and logarithm of the deviation, each (B, A)."""
Loss = Callable[[Targets, Targets], torch.Tensor]
"""Scalar, of what the student says and what the teacher does."""


class Teacher(Protocol):
    """A policy to be learned from: a normal distribution, whose samples are then brought into [-1, 1]."""

    @property
    def action_dim(self) -> int:
        """Numbers in an action."""

    def mean_and_log_std(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, O) -> mean and logarithm of the deviation, each (N, A) float32."""

    def sample_with_log_probability(
        self, observations: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Actions (N, A) and the logarithm of their densities (N,) for standard normal noise (N, A)."""


@dataclass(frozen=True)
class ClippedGaussian:
    """The DAPG pen expert: tanh layers, a deviation that is the same everywhere, samples clipped."""

    tensors: Mapping[str, np.ndarray]
    """`fc0_weight` (out, in), `fc0_bias` to `fc2_...`, `in_shift`, `in_scale`, `out_...`, `log_std`."""

    @property
    def action_dim(self) -> int:
        """Numbers in an action."""
        return len(self.tensors["log_std"])

    def mean_and_log_std(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, O) -> mean, which may lie beyond 1, and logarithm of the deviation, each (N, A) float32."""
        tensors = self.tensors
        hidden = (observations.astype(np.float32) - tensors["in_shift"]) / (tensors["in_scale"] + 1e-8)
        for layer in ("fc0", "fc1"):
            hidden = np.tanh(hidden @ tensors[f"{layer}_weight"].T + tensors[f"{layer}_bias"])
        mean = hidden @ tensors["fc2_weight"].T + tensors["fc2_bias"]
        mean = mean * tensors["out_scale"] + tensors["out_shift"]
        return mean, np.broadcast_to(tensors["log_std"].astype(np.float32), mean.shape)

    def sample_with_log_probability(
        self, observations: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The density is that before clipping."""
        mean, log_std = self.mean_and_log_std(observations)
        log_density = -0.5 * (noise**2 + np.log(2 * np.pi)) - log_std
        return np.clip(mean + np.exp(log_std) * noise, -1, 1), log_density.sum(axis=1)


@dataclass(frozen=True)
class Assignment:
    """What is to be learned."""

    environment: str
    role: str
    origin: str
    """Stands in the file."""
    read: Callable[[Path], Teacher]
    rules: Callable[[Rules], Rules]
    """By which states are collected, from those by which the policy is measured."""
    episodes: int
    """Collected in every setting and round."""
    loss: Loss
    without_noise: bool
    """Whether it is also measured as it acts without noise."""


class Student(torch.nn.Module):
    """A network of the shipped format; while it learns, what it is given is centred and scaled."""

    def __init__(self, inputs: np.ndarray, action_dim: int) -> None:
        super().__init__()
        self.centre = torch.from_numpy(inputs.mean(axis=0))
        self.scale = torch.from_numpy(inputs.std(axis=0)) + 1e-3
        self.fc1 = torch.nn.Linear(inputs.shape[1], WIDTH)
        self.fc2 = torch.nn.Linear(WIDTH, WIDTH)
        self.mean = torch.nn.Linear(WIDTH, action_dim)
        self.log_std = torch.nn.Linear(WIDTH, action_dim)

    def forward(self, inputs: torch.Tensor) -> Targets:
        """(B, I) -> mean and logarithm of the deviation before the tanh, each (B, A)."""
        hidden = torch.relu(self.fc2(torch.relu(self.fc1((inputs - self.centre) / self.scale))))
        return self.mean(hidden), self.log_std(hidden).clamp(*LOG_STD_RANGE)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of a file; its first layer centres and scales as well."""
        tensors = {name: value.detach().clone() for name, value in self.named_parameters()}
        weight = self.fc1.weight.detach() / self.scale
        bias = self.fc1.bias.detach() - linear(self.centre, weight)
        return {**tensors, "fc1.weight": weight, "fc1.bias": bias}

    def as_policy(self, assignment: Assignment, metadata: Mapping[str, str]) -> BehaviourPolicy:
        """What is read back from such a file."""
        arrays = {name: tensor.numpy() for name, tensor in self.tensors().items()}
        return BehaviourPolicy(assignment.environment, assignment.role, metadata, layers_of(arrays))


class Recorded:
    """A policy that keeps what it was given."""

    def __init__(self, policy: Teacher) -> None:
        self.policy = policy
        self.action_dim = self.noise_dim = policy.action_dim
        self.inputs = np.empty((0, 0), np.float32)

    def sample_with_log_probability(
        self, observations: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The policy's own."""
        self.inputs = observations
        return self.policy.sample_with_log_probability(observations, noise)

    def act(self, states: States, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A sample at the observations of `states`."""
        return self.sample_with_log_probability(states.observations.astype(np.float32), noise)


class WithoutNoise:
    """A behaviour whose every draw is the median."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.noise_dim = behaviour.noise_dim

    def act(self, states: States, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the behaviour does where all noise is 0."""
        return self.behaviour.act(states, np.zeros_like(noise))


def squared_error(student: Targets, teacher: Targets) -> torch.Tensor:
    """Mean square of the differences in mean and in the logarithm of the deviation, a scalar.

    Not the divergence of the distributions: while the means are still wrong, that is least where the student
    makes its deviations large, and so loses the teacher's precision.
    """
    return sum(((ours - theirs).square().mean() for ours, theirs in zip(student, teacher, strict=True)))


def quantile_distance(student: Targets, teacher: Targets) -> torch.Tensor:
    """Mean square between quantiles of tanh of one normal distribution and those of another, clipped.

    Tails count as much as the middle, and the median, which is what the policy does without noise, as much as
    all of them.
    """
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    noise = torch.from_numpy(ndtri(levels).astype(np.float32))
    mean, log_std = student
    teacher_mean, teacher_log_std = teacher
    found = (mean[..., None] + log_std.exp()[..., None] * noise).tanh()
    wanted = (teacher_mean[..., None] + teacher_log_std.exp()[..., None] * noise).clamp(-1, 1)
    median = (mean.tanh() - teacher_mean.clamp(-1, 1)).square()
    return (found - wanted).square().mean() + median.mean()


def fit(assignment: Assignment, teacher: Teacher, settings: list[Setting], seed: int) -> Student:
    """Rounds of collecting states and of learning what the teacher does in them."""
    torch.manual_seed(seed)
    inputs = _visited(assignment, teacher, settings, seed)
    student = Student(inputs, teacher.action_dim)
    for number in range(1, ROUNDS):
        _train(assignment, student, teacher, inputs, ITERATIONS)
        acting = student.as_policy(assignment, {})
        inputs = np.concatenate((inputs, _visited(assignment, acting, settings, seed + number)))
    _train(assignment, student, teacher, inputs, LAST_ITERATIONS)
    return student


def compared(
    assignment: Assignment, teacher: Teacher, student: Student, settings: list[Setting], catalog: Catalog
) -> BehaviourPolicy:
    """The student with its measurements in its metadata, and the teacher's of the same episodes beside."""
    found = {"environment": assignment.environment, "role": assignment.role, "origin": assignment.origin}
    for setting in settings:
        for who, policy in (("teacher_", teacher), ("", student.as_policy(assignment, {}))):
            behaviour = setting.behaviour(cast(BehaviourPolicy, Recorded(policy)))
            ways = {"": behaviour} if who else {}  # the student's own noise is measured as any policy's is
            if assignment.without_noise:
                ways["without_noise_"] = WithoutNoise(behaviour)
            for how, acting in ways.items():
                measurement = measure(acting, setting.rules, PHYSICS, EPISODES)
                found |= measurement.as_metadata(f"{who}{how}{PHYSICS}{setting.part}", setting.task)
    return measured(student.as_policy(assignment, found), catalog)


def _visited(assignment: Assignment, policy: Teacher, settings: list[Setting], seed: int) -> np.ndarray:
    """(K, I) float32: all that `policy` was given while it acted."""
    inputs = []
    for setting in settings:
        recorded = Recorded(policy)
        behaviour = setting.behaviour(cast(BehaviourPolicy, recorded))
        rules = assignment.rules(setting.rules)
        for under_way, _ in play(behaviour, rules, PHYSICS, assignment.episodes, seed):
            inputs.append(recorded.inputs[under_way])
    return np.concatenate(inputs)


def _train(
    assignment: Assignment, student: Student, teacher: Teacher, inputs: np.ndarray, iterations: int
) -> None:
    """Minimise the loss over random batches, the learning rate falling to 0 as a cosine does."""
    targets = tuple(torch.tensor(values) for values in teacher.mean_and_log_std(inputs))
    given = torch.from_numpy(inputs)
    optimizer = torch.optim.Adam(student.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    total = 0.0
    for iteration in range(1, iterations + 1):
        rows = torch.randint(len(given), (BATCH,))
        loss = assignment.loss(student(given[rows]), (targets[0][rows], targets[1][rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
        if iteration % REPORT == 0:
            print(f"{len(given)} rows, iteration {iteration}: loss {total / REPORT:.5f}", flush=True)
            total = 0.0


def _read_ant(path: Path) -> BehaviourPolicy:
    names = {"fc1": "fc0", "fc2": "fc1", "mean": "last_fc", "log_std": "last_fc_log_std"}
    with np.load(path) as file:
        tensors = {
            f"{ours}.{kind}": file[f"{theirs}_{kind}"]
            for ours, theirs in names.items()
            for kind in ("weight", "bias")
        }
    return BehaviourPolicy("antmaze", "teacher", {}, layers_of(tensors))


def _read_pen(path: Path) -> ClippedGaussian:
    with np.load(path) as file:
        return ClippedGaussian(dict(file))


def _anywhere(rules: Rules) -> Rules:
    """Any start and goal, so that every direction occurs everywhere."""
    return replace(cast(AntMaze, rules).collecting(multistart=True, multigoal=True), horizon=600)


ASSIGNMENTS = {
    "ant": Assignment(
        environment="antmaze",
        role="goal",
        origin="fitted to the behaviour of the goal-reaching Ant policy that the generator of D4RL's AntMaze "
        "loads (Apache-2.0)",
        read=_read_ant,
        rules=_anywhere,
        episodes=32,
        loss=squared_error,
        without_noise=False,
    ),
    "pen": Assignment(
        environment="pen",
        role="expert",
        origin="fitted to the behaviour of the DAPG expert of the Adroit pen",
        read=_read_pen,
        rules=lambda rules: rules,
        episodes=400,
        loss=quantile_distance,
        without_noise=True,
    ),
}


def main() -> None:
    """Fit one policy and write its file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("policy", choices=ASSIGNMENTS)
    parser.add_argument("--teacher", type=Path, required=True, metavar="FILE", help="its weights, npz")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    assignment, catalog = ASSIGNMENTS[arguments.policy], load_catalog()
    teacher, settings = assignment.read(arguments.teacher), settings_of(assignment.environment, catalog)
    student = fit(assignment, teacher, settings, arguments.seed)
    policy = compared(assignment, teacher, student, settings, catalog)
    path = policy_folder() / f"{assignment.environment}-{assignment.role}.safetensors"
    with written_whole(path) as temporary:
        save_file(student.tensors(), temporary, dict(policy.metadata))
    print(" ".join(f"{key}={value}" for key, value in policy.metadata.items()))


if __name__ == "__main__":
    main()
