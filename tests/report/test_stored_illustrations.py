"""Illustrations read back from a store: the arrays, the numbers, and files that are not what was stored."""

import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.report.illustrations import representative
from bench.report.stored_illustrations import load_illustrations, read_clouds
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.report.clouds import (
    corner_clouds,
    diffusion_clouds,
    illustration,
    moving_clouds,
    store_trial,
    toy_run,
    write_clouds,
)
from tests.store.samples import trial_record


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def stored(folder):
    """A store with two trials that have illustrations and one that has none; paths of the two files."""
    with open_store(folder / "bench.sqlite") as store, Writer(store) as writer:
        writer.begin_run(toy_run())
        numbers = {"energy_distance_to_truth": 0.25}
        paths = [
            store_trial(writer, folder, "dtql", "bandit-25gaussians-far", corner_clouds(), metrics=numbers),
            store_trial(writer, folder, "bdpo", "bandit-energy-moons", diffusion_clouds()),
        ]
        writer.plan([trial_record(task="hopper-medium-v2")])
        yield store, paths


def test_every_array_comes_back(tmp_path):
    for clouds in (corner_clouds(), diffusion_clouds(20), moving_clouds()):
        write_clouds(tmp_path / "x.safetensors", clouds)
        read = read_clouds((tmp_path / "x.safetensors").read_bytes())
        assert read.diffusion_values.keys() == clouds.diffusion_values.keys()
        for name in ("actions", "truth", "path", "points", "value_test"):
            wanted, found = getattr(clouds, name), getattr(read, name)
            assert (wanted is None) == (found is None)
            assert wanted is None or np.allclose(found, wanted, atol=1e-5)
        for step, values in clouds.diffusion_values.items():
            assert np.allclose(read.diffusion_values[step], values, atol=1e-5)


def test_steps_are_numbers_not_words(tmp_path):
    write_clouds(tmp_path / "x.safetensors", diffusion_clouds(20))
    assert list(read_clouds((tmp_path / "x.safetensors").read_bytes()).diffusion_values) == [
        1,
        3,
        5,
        10,
        15,
        20,
    ]


def test_numbers_are_those_of_the_last_evaluation(stored):
    found = load_illustrations(stored[0], load_catalog())
    first, second = sorted(found.items, key=lambda item: item.trial_id)
    assert (first.algorithm, first.task, first.budget) == ("dtql", "bandit-25gaussians-far", 0.1)
    assert first.numbers == {"energy_distance_to_truth": 0.25}
    assert first.mean_return == pytest.approx((4 + 5 + 9) / 3)
    assert second.numbers == {}
    assert found.unreadable == ()


def test_a_changed_file_is_named_and_left_out(stored):
    store, (path, _) = stored
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    found = load_illustrations(store, load_catalog())
    assert [item.algorithm for item in found.items] == ["bdpo"]
    assert "trial 1" in found.unreadable[0]
    assert "is not what was stored" in found.unreadable[0]


def test_a_missing_file_is_named_and_left_out(stored):
    store, (_, path) = stored
    path.unlink()
    found = load_illustrations(store, load_catalog())
    assert [item.algorithm for item in found.items] == ["dtql"]
    assert f"weights/{path.name} is missing" in found.unreadable[0]


def test_figures_show_the_largest_budget_then_released_then_the_latest_settings_and_the_lowest_seed():
    small = illustration(budget=0.1, trial_id=9, config_hash="s")
    paper = illustration(variant="paper", trial_id=8, config_hash="p")
    old = [illustration(trial_id=1 + seed, seed=seed, config_hash="old") for seed in range(2)]
    new = [illustration(trial_id=6 - seed, seed=seed, config_hash="new") for seed in range(2)]
    items = [small, paper, *old, *new]
    assert representative(items, "dtql", "bandit-25gaussians-far") is new[0]
    assert representative([small, paper], "dtql", "bandit-25gaussians-far") is paper
    assert representative(items, "bdpo", "bandit-25gaussians-far") is None
