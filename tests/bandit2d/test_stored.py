"""Illustrations read back from a store: the arrays, the numbers, and files that are not what was stored."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from bench.bandit2d.stored import load_illustrations, read_clouds, representative
from bench.catalog import load_catalog
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.bandit2d.clouds import (
    corner_clouds,
    diffusion_clouds,
    illustration,
    moving_clouds,
    store_trial,
    toy_run,
    write_clouds,
)
from tests.store.databases import change
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
        for name in ("actions", "truth", "path", "value_test"):
            wanted, found = getattr(clouds, name), getattr(read, name)
            assert (wanted is None) == (found is None)
            assert wanted is None or np.allclose(found, wanted, atol=1e-5)
        assert (read.free_points is None) == (clouds.free_points is None)
        if clouds.free_points is not None:
            for name in ("targets", "betas", "points"):
                wanted, found = getattr(clouds.free_points, name), getattr(read.free_points, name)
                assert np.allclose(found, wanted, atol=1e-5)
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


@pytest.mark.parametrize(
    ("change_arrays", "told"),
    [
        (lambda arrays: arrays.pop("truth"), "it has no truth"),
        (lambda arrays: arrays.update(actions=np.zeros(7)), "actions has the shape (7,), which is to be"),
        (lambda arrays: arrays.update(actions=np.zeros((7, 3))), "(actions, 2)"),
        (lambda arrays: arrays.update(data_reward=np.zeros(3)), "data_reward has the shape (3,)"),
        (lambda arrays: arrays.update(data=np.zeros((0, 2)), data_reward=np.zeros(0)), "(0, 2)"),
        (lambda arrays: arrays.update(path=np.zeros((0, 3, 2))), "path has the shape (0, 3, 2)"),
        (lambda arrays: arrays.update(action_value=np.zeros(5)), "action_value has the shape (5,)"),
        (lambda arrays: arrays.update(diffusion_value_3=np.zeros(5)), "diffusion_value_3 has the shape (5,)"),
        (lambda arrays: arrays.update(value_test=np.array(1.0)), "value_test has the shape ()"),
        (lambda arrays: arrays.update(grid=np.zeros((900, 2), np.complex64)), "grid holds complex64 numbers"),
        (lambda arrays: arrays.update(points=np.zeros((2, 3, 2))), "it has no betas, targets"),
        (lambda arrays: arrays.clear(), "it has no actions, data, data_reward, grid, truth"),
    ],
)
def test_a_file_with_the_right_hash_and_other_arrays_is_named_and_left_out(
    stored, folder, change_arrays, told
):
    store, (path, _) = stored
    arrays = load_file(path)
    change_arrays(arrays)
    replaced(path, folder, save(arrays))
    found = load_illustrations(store, load_catalog())
    assert [item.algorithm for item in found.items] == ["bdpo"]
    assert told in found.unreadable[0]


def test_a_file_with_the_right_hash_that_is_no_safetensors_is_named_and_left_out(stored, folder):
    store, (path, _) = stored
    for content in (b"", b"nothing", (2**62).to_bytes(8, "little") + b"{}"):
        replaced(path, folder, content)
        found = load_illustrations(store, load_catalog())
        assert [item.algorithm for item in found.items] == ["bdpo"]
        assert "is no illustration" in found.unreadable[0]


def replaced(path, folder, content):
    """Put another file in the place of a stored one, and its hash into the store."""
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    name = path.relative_to(folder)
    change(str(folder / "bench.sqlite"), f"UPDATE weights SET sha256 = '{digest}' WHERE path = '{name}'")


def test_figures_show_the_largest_budget_then_released_then_the_latest_settings_and_the_lowest_seed():
    small = illustration(budget=0.1, trial_id=9, config_hash="s")
    paper = illustration(variant="paper", trial_id=8, config_hash="p")
    old = [illustration(trial_id=1 + seed, seed=seed, config_hash="old") for seed in range(2)]
    new = [illustration(trial_id=6 - seed, seed=seed, config_hash="new") for seed in range(2)]
    items = [small, paper, *old, *new]
    assert representative(items, "dtql", "bandit-25gaussians-far") is new[0]
    assert representative([small, paper], "dtql", "bandit-25gaussians-far") is paper
    assert representative(items, "bdpo", "bandit-25gaussians-far") is None
