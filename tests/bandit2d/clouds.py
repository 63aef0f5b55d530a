"""Illustrations made by formula: point clouds with known shares, and a store that holds them."""

import hashlib
from dataclasses import fields, replace

import numpy as np
from safetensors.numpy import save_file

from bench.bandit2d.stored import Clouds, FreePoints, Illustration
from bench.records import RunRecord, TrialKey, TrialRecord, WeightsRecord, config_hash
from tests.store.samples import DATASET, NOON, evaluation_record, finished_record

CORNERS = np.array([(-10.0, -10.0), (-10.0, 10.0), (10.0, -10.0), (10.0, 10.0)])


def gaussian_grid(rng, per_mode=40):
    """25 Gaussians of deviation 0.3 at the nodes of a grid of spacing 5, reward = distance from 0."""
    nodes = np.stack(np.meshgrid(*[np.linspace(-10, 10, 5)] * 2), axis=-1).reshape(-1, 2)
    points = np.repeat(nodes, per_mode, axis=0) + 0.3 * rng.standard_normal((25 * per_mode, 2))
    return points, np.linalg.norm(points, axis=1)


def square_grid(half_width, side=30):
    """(side * side, 2) nodes."""
    line = np.linspace(-half_width, half_width, side)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def corner_clouds(corners=(0, 1, 2, 3), between=0, seed=0):
    """25 Gaussians, far: actions on the chosen corners, and `between` many spread where no data is."""
    rng = np.random.default_rng(seed)
    data, reward = gaussian_grid(rng)
    truth = np.repeat(CORNERS, 100, axis=0) + 0.3 * rng.standard_normal((400, 2))
    centres = CORNERS[list(corners)][rng.integers(len(corners), size=1000 - between)]
    on_modes = centres + 0.2 * rng.standard_normal(centres.shape)
    off_modes = np.stack([rng.uniform(-6, 6, between), np.full(between, 7.5)], axis=1)
    return Clouds(np.concatenate([on_modes, off_modes]), data, reward, truth, square_grid(12))


def diffusion_clouds(steps=20, seed=0):
    """Two Gaussians, one with energy: a path from noise that hardly moves at first, V_n that sharpens."""
    rng = np.random.default_rng(seed)
    centres = np.array([(-2.0, 0.0), (2.0, 0.0)])
    label = rng.integers(2, size=600)
    data = centres[label] + 0.4 * rng.standard_normal((600, 2))
    truth = centres[1] + 0.4 * rng.standard_normal((600, 2))
    noise, end = rng.standard_normal((300, 2)), centres[1] + 0.4 * rng.standard_normal((300, 2))
    done = (1 - np.arange(steps + 1) / steps)[:, None, None] ** 4
    grid = square_grid(4.5)
    value = np.exp(-((grid - centres[1]) ** 2).sum(1))
    stored = [step for step in (1, 3, 5, 10, 15, 20, 30, 40, 50) if step <= steps]
    return Clouds(
        actions=end,
        data=data,
        data_reward=label.astype(float),
        truth=truth,
        grid=grid,
        behaviour=centres[rng.integers(2, size=600)] + 0.5 * rng.standard_normal((600, 2)),
        path=(1 - done) * noise + done * end,
        action_value=value,
        diffusion_values={step: value / step for step in stored},
        value_test=np.array([0.95, 1.0]),
    )


def moving_clouds(falling=(10.0, 1.0, 0.1, 0.01), seed=0):
    """One Gaussian at 0: every point goes from its target towards 0 as the temperature falls."""
    rng = np.random.default_rng(seed)
    data = 0.5 * rng.standard_normal((800, 2))
    targets = square_grid(4, side=6)
    share = np.array([1 / (1 + beta) for beta in falling])
    points = (1 - share)[:, None, None] * targets
    return Clouds(
        actions=points.reshape(-1, 2),
        data=data,
        data_reward=np.zeros(800),
        truth=data,
        grid=square_grid(4.5),
        behaviour=0.5 * rng.standard_normal((800, 2)),
        free_points=FreePoints(targets, np.array(falling), points),
    )


def illustration(algorithm="dtql", task="bandit-25gaussians-far", clouds=None, seed=0, **other):
    """A finished trial of full budget, unless changed by `other`."""
    facts = {
        "trial_id": 1 + seed,
        "variant": "released",
        "config_hash": "ab" * 32,
        "budget": 1.0,
        "reduced": (),
        "numbers": {},
        "mean_return": 14.0,
    } | other
    return Illustration(
        algorithm=algorithm, task=task, seed=seed, clouds=clouds or corner_clouds(seed=seed), **facts
    )


def write_clouds(path, clouds):
    """The file that training stores."""
    arrays = {entry.name: getattr(clouds, entry.name) for entry in fields(clouds)}
    if (group := arrays.pop("free_points")) is not None:
        arrays |= {"targets": group.targets, "betas": group.betas, "points": group.points}
    arrays |= {f"diffusion_value_{step}": values for step, values in arrays.pop("diffusion_values").items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items() if a is not None}
    save_file(kept, path)


def store_trial(writer, folder, algorithm, task, clouds, seed=0, metrics=None):
    """Plan, run and finish a trial in the store at `folder`, with its illustration."""
    config = {"discount": {"value": 0.99, "source": "x"}}
    key = TrialKey(algorithm, "released", task, seed, config_hash(config))
    writer.plan([TrialRecord(key, config, DATASET, 1, "d4rl", 0.1, "last", 3, ("budget 0.1",))])
    writer.claim(key.cell, {key.seed}, 1)
    first = evaluation_record(key, 1, (1.0, 2.0, 3.0))
    last = replace(evaluation_record(key, 2, (4.0, 5.0, 9.0)), metrics=metrics or {})
    writer.record(first)
    writer.record(last)
    path = folder / "weights" / f"{algorithm}-{task}-{seed}.safetensors"
    write_clouds(path, clouds)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    writer.record(WeightsRecord(key, "illustration", str(path.relative_to(folder)), sha256, len(content)))
    writer.record(finished_record(key, 50.0))
    return path


def toy_run():
    """The run that the trials belong to."""
    return RunRecord("run-1", "bench run --suite bandit2d", NOON, "0.1.0", None, None, None, {}, {})
