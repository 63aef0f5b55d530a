"""Mistakes in preset files: named with file, line and what to write instead, before anything runs."""

import re
import shutil

import pytest

from algorithms.registry import method
from bench import preset_files
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.presets import load_preset, place_of

FOLDER = method("dtql").preset.parent
HOPPER = load_catalog().task("hopper-medium-v2")


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Replaces one text in a copy of a preset file; returns the line (from 1) on which it stood."""
    folder = tmp_path / "presets"
    shutil.copytree(FOLDER, folder)

    def copied(name):
        found = method(name)
        return found.model_copy(update={"preset": folder / found.preset.name})

    monkeypatch.setattr(preset_files, "method", copied)

    def edit(algorithm, old, new):
        path = folder / f"{algorithm}.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return text[: text.index(old)].count("\n") + 1

    return edit


def refused(algorithm="dtql", task=HOPPER, variant="released"):
    with pytest.raises(BenchError) as caught:
        plan_cells(Request(tasks=(task,), algorithms=(algorithm,), seeds=(0,), variant=variant))
    return str(caught.value)


def test_a_misspelt_name_is_told_with_its_line(edited):
    line = edited("dtql", "  batch_size: {value: 256", "  bacth_size: {value: 256")
    told = refused()
    assert f"dtql.yaml line {line}: hyperparameters.bacth_size: unknown hyper-parameter" in told
    assert "Did you mean batch_size" in told


def test_a_misspelt_name_of_a_variant_or_a_task_is_told(edited):
    line = edited("dtql", "      truncate_noise: {value: false", "      truncate_nose: {value: false")
    assert f"dtql.yaml line {line}: variants.paper.hyperparameters.truncate_nose" in refused()


def test_a_misspelt_key_is_told(edited):
    line = edited("dtql", "  episodes: {value: 100", "  episode: {value: 100")
    told = refused()
    assert f"dtql.yaml line {line}: evaluation.episode: unknown key; did you mean episodes?" in told


def test_a_value_that_is_missing_is_named_with_the_tasks_that_have_it(edited):
    path_line = "  hopper-medium-v2:\n    {trust_region_weight: 5.0, expectile: 0.7,"
    edited("dtql", path_line, "  hopper-medium-v2:\n    {trust_region_weight: 5.0,")
    told = refused()
    assert "dtql has no value of expectile for hopper-medium-v2" in told
    assert re.search(r"Tasks that have it: .*\bwalker2d-medium-v2\b", told)
    assert not re.search(r"Tasks that have it: .*\bhopper-medium-v2\b", told)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  batch_size: {value: 256", "  batch_size: {value: 0", "batch_size is 0; it must be at least 1"),
        (
            "  discount: {value: 0.99",
            "  discount: {value: 1.5",
            "discount is 1.5; it must be between 0 and 1",
        ),
        ("  action_value_weight: {value: 1.0", "  action_value_weight: {value: -1.0", "action_value_weight"),
    ],
)
def test_impossible_values_are_told_with_their_line(edited, old, new, problem):
    line = edited("dtql", old, new)
    told = refused()
    assert told.startswith(f"dtql.yaml line {line}: dtql on hopper-medium-v2: ")
    assert problem in told


def test_a_task_of_another_version_names_the_one_that_has_values():
    with pytest.raises(BenchError, match="no preset for pen-human-v0") as caught:
        load_preset("dtql", load_catalog().task("pen-human-v0"))
    assert "trust_region_weight" in str(caught.value)
    assert "pen-human-v1" in caught.value.do_this


def test_a_value_is_placed_where_it_holds():
    released = load_preset("dtql", HOPPER)
    paper = load_preset("dtql", HOPPER, "paper")
    lines = (FOLDER / "dtql.yaml").read_text(encoding="utf-8").splitlines()

    def text(preset, name):
        return lines[int(place_of(preset, "locomotion", name).rpartition(" ")[2]) - 1]

    assert "truncate_noise: {value: true" in text(released, "truncate_noise")
    assert "truncate_noise: {value: false" in text(paper, "truncate_noise")
    assert "trust_region_weight: 5.0" in text(released, "trust_region_weight")


def test_a_value_of_an_extended_file_is_placed_there():
    extending = load_preset("dtql-kl", HOPPER)
    assert place_of(extending, "locomotion", "discount").startswith("dtql.yaml line ")


def test_a_file_that_extends_none_or_names_no_configuration_is_refused(edited):
    line = edited("dtql", "configuration: DTQLConfig", "configuration: DTQLConfigg")
    assert f"dtql.yaml line {line}: configuration: algorithms.dtql has no DTQLConfigg" in refused()
    line = edited("dtql-kl", "extends: dtql", "extends: dtqll")
    assert f"dtql-kl.yaml line {line}: extends: there is no preset file dtqll.yaml" in refused("dtql-kl")


def test_files_that_extend_each_other_are_told(edited):
    line = edited("dtql", "title:", "extends: dtql-kl\ntitle:")
    assert "dtql extends dtql-kl itself" in refused()
    edited("dtql", "extends: dtql-kl", "extends: dtql")
    assert f"dtql.yaml line {line}: extends: dtql extends dtql itself" in refused()


@pytest.mark.parametrize("count", ["true", "-5", "1.5", "100000000000"])
def test_a_number_of_steps_that_is_none_is_told(edited, count):
    edited("dtql", "pretrain_iterations: {value: 50_000", "pretrain_iterations: {value: " + count)
    assert "pretrain_iterations is no number of steps" in refused()
