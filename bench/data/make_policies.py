"""Makes the behaviour policies that are shipped: measures them, and fits them to policies that are not.

`python -m bench.data.make_policies measure` measures all of them with every physics and writes what it finds
into their metadata; the tensors, and what else the metadata say, stay.

`python -m bench.data.make_policies ant --teacher FILE` (or `pen`) fits one to the behaviour of another policy
and writes it with its measurements into the package, in about a quarter of an hour of one core. First the
teacher acts; then the student, and the teacher says what it would have done in the states that the student
comes to (DAgger).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from scipy.special import ndtri
from threadpoolctl import threadpool_limits
from torch.nn.functional import linear

from bench.catalog import Catalog, Task, load_catalog
from bench.data.behaviours import (
    LOG_STD_RANGE,
    Behaviour,
    BehaviourPolicy,
    DirectedPolicy,
    WayPoints,
    all_policies,
    layers_of,
    load_policy,
    policy_folder,
    policy_path,
)
from bench.envs import robot_of
from bench.envs.antmaze import MAZES, AntMaze
from bench.envs.batch import BatchedSimulator
from bench.envs.rules import Robot, Rules, States, Step
from bench.files import written_whole
from bench.hardware import usable_cores
from bench.records import Physics

EPISODES = 256
"""Of every measurement."""
SEED = 20_240
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


class Acting(DirectedPolicy, Behaviour, Protocol):
    """A policy that acts by itself, or by what it is told where to go."""


@dataclass(frozen=True)
class Place:
    """Where a policy acts, and how."""

    part: str
    """Stands in the names of its entries after the physics: `_umaze`, or nothing."""
    rules: Robot
    task: Task
    """Whose reference scores apply."""
    behaviour: Callable[[Acting], Behaviour]
    """Of the policy there."""


def places_of(environment: str, catalog: Catalog) -> list[Place]:
    """Where a policy of `environment` is measured: there, or, of the ant that is led, in every maze."""
    if environment != "antmaze":
        return [Place("", robot_of(environment), _task_of(catalog, environment), lambda policy: policy)]
    return [
        Place(
            f"_{name}",
            robot_of(f"antmaze-{name}"),
            _task_of(catalog, f"antmaze-{name}"),
            partial(WayPoints, maze=maze),
        )
        for name, maze in MAZES.items()
    ]


@dataclass(frozen=True)
class Measurement:
    """Episodes of one behaviour with one physics."""

    returns: np.ndarray
    """(E,) undiscounted."""
    lengths: np.ndarray
    """(E,) steps."""

    @property
    def standard_error(self) -> float:
        """Of the mean return."""
        return float(self.returns.std(ddof=1) / np.sqrt(len(self.returns)))

    def as_metadata(self, prefix: str, task: Task) -> dict[str, str]:
        """The entries `<prefix>_...` of a policy's file; safetensors holds text only."""
        mean = float(self.returns.mean())
        return {
            f"{prefix}_episodes": str(len(self.returns)),
            f"{prefix}_mean_return": f"{mean:.5g}",
            f"{prefix}_standard_error": f"{self.standard_error:.5g}",
            f"{prefix}_mean_length": f"{self.lengths.mean():.1f}",
            f"{prefix}_score": f"{task.normalised(mean):.1f}",
        }


def play(
    behaviour: Behaviour, rules: Rules, physics: Physics, episodes: int, seed: int, threads: int = 1
) -> Iterator[tuple[np.ndarray, Step]]:
    """Play whole episodes, one per environment, so that short ones are not favoured.

    Yields of every step which were under way before it (E,) and what it gave.
    """
    generator = np.random.default_rng(seed)
    simulator = BatchedSimulator(rules, physics, episodes, threads)
    with simulator, threadpool_limits(1, "blas"):
        simulator.reset(range(seed, seed + episodes))
        while not simulator.finished.all():
            under_way = ~simulator.finished
            noise = generator.standard_normal((episodes, behaviour.noise_dim), dtype=np.float32)
            actions, _ = behaviour.act(simulator.states, noise)
            yield under_way, simulator.step(actions)


def measure(
    behaviour: Behaviour, rules: Rules, physics: Physics, episodes: int, seed: int = SEED, threads: int = 1
) -> Measurement:
    """Returns and lengths of whole episodes; behaviours measured with equal seeds meet equal beginnings."""
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    for under_way, step in play(behaviour, rules, physics, episodes, seed, threads):
        returns += step.rewards
        lengths += under_way
    return Measurement(returns, lengths)


def measured(policy: BehaviourPolicy, catalog: Catalog, threads: int = 1) -> BehaviourPolicy:
    """The policy with all its measurements in its metadata, whatever else they say."""
    found = {"environment": policy.environment, "role": policy.role}
    for place in places_of(policy.environment, catalog):
        for physics in place.rules.physics:
            measurement = measure(place.behaviour(policy), place.rules, physics, EPISODES, threads=threads)
            found |= measurement.as_metadata(f"{physics}{place.part}", place.task)
    return replace(policy, metadata={**policy.metadata, **found})


def measure_all() -> None:
    """Measure every shipped policy and write its metadata."""
    catalog = load_catalog()
    for environment, role in all_policies():
        policy = measured(load_policy(environment, role), catalog, usable_cores())
        path = policy_path(environment, role)
        _write(path, {name: torch.from_numpy(values) for name, values in load_file(path).items()}, policy)


def _task_of(catalog: Catalog, environment: str) -> Task:
    return next(task for task in catalog.tasks.values() if task.environment == environment)


Targets = tuple[torch.Tensor, torch.Tensor]
"""Mean and logarithm of the deviation, each (B, A)."""
Loss = Callable[[Targets, Targets], torch.Tensor]
"""Scalar, of what the student says and what the teacher does."""


class Teacher(DirectedPolicy, Protocol):
    """A policy to be learned from: a normal distribution, whose samples are then brought into [-1, 1]."""

    def mean_and_log_std(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, O) -> mean and logarithm of the deviation, each (N, A) float32."""


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
    """Collected in every place and round."""
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
    mean, log_std = student
    teacher_mean, teacher_log_std = teacher
    return (mean - teacher_mean).square().mean() + (log_std - teacher_log_std).square().mean()


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


def fit(assignment: Assignment, teacher: Teacher, places: list[Place], seed: int) -> Student:
    """Rounds of collecting states and of learning what the teacher does in them."""
    torch.manual_seed(seed)
    inputs = visited(assignment, teacher, places, seed)
    student = Student(inputs, teacher.action_dim)
    for number in range(1, ROUNDS):
        _train(assignment, student, teacher, inputs, ITERATIONS)
        acting = student.as_policy(assignment, {})
        inputs = np.concatenate((inputs, visited(assignment, acting, places, seed + number)))
    _train(assignment, student, teacher, inputs, LAST_ITERATIONS)
    return student


def compared(
    assignment: Assignment, teacher: Teacher, student: Student, places: list[Place], catalog: Catalog
) -> BehaviourPolicy:
    """The student with its measurements in its metadata, and the teacher's of the same episodes beside."""
    found = {"environment": assignment.environment, "role": assignment.role, "origin": assignment.origin}
    for place in places:
        for who, policy in (("teacher_", teacher), ("", student.as_policy(assignment, {}))):
            behaviour = place.behaviour(Recorded(policy))
            ways = {"": behaviour} if who else {}  # the student's own noise is measured as any policy's is
            if assignment.without_noise:
                ways["without_noise_"] = WithoutNoise(behaviour)
            for how, acting in ways.items():
                measurement = measure(acting, place.rules, PHYSICS, EPISODES)
                found |= measurement.as_metadata(f"{who}{how}{PHYSICS}{place.part}", place.task)
    return measured(student.as_policy(assignment, found), catalog)


def visited(assignment: Assignment, policy: Teacher, places: list[Place], seed: int) -> np.ndarray:
    """(K, I) float32: all that `policy` was given while it acted."""
    inputs = []
    for place in places:
        recorded = Recorded(policy)
        behaviour = place.behaviour(recorded)
        rules = assignment.rules(place.rules)
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


def fit_to(assignment: Assignment, teacher_file: Path, seed: int) -> None:
    """Fit one policy and write its file."""
    catalog = load_catalog()
    teacher, places = assignment.read(teacher_file), places_of(assignment.environment, catalog)
    student = fit(assignment, teacher, places, seed)
    policy = compared(assignment, teacher, student, places, catalog)
    path = policy_folder() / f"{assignment.environment}-{assignment.role}.safetensors"
    _write(path, student.tensors(), policy)


def main() -> None:
    """Fit one policy, or measure all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["measure", *ASSIGNMENTS])
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="of a policy to fit: weights, npz")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.task == "measure":
        measure_all()
    elif arguments.teacher is None:
        parser.error("--teacher FILE is needed to fit a policy")
    else:
        fit_to(ASSIGNMENTS[arguments.task], arguments.teacher, arguments.seed)


def _write(path: Path, tensors: Mapping[str, torch.Tensor], policy: BehaviourPolicy) -> None:
    with written_whole(path) as temporary:
        save_file(dict(tensors), temporary, dict(policy.metadata))
    print(" ".join(f"{key}={value}" for key, value in policy.metadata.items()), flush=True)


if __name__ == "__main__":
    main()
