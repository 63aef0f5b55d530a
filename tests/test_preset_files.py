"""Mistakes in preset files: named with file, line and what to write instead, before anything runs."""

import re
import shutil
from dataclasses import replace

import pytest

from algorithms.registry import method
from bench import presets
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.presets import Rule, Where, load_preset, preset_of

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

    monkeypatch.setattr(presets, "method", copied)

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
    line = edited("dtql", "set: {batch_size: 256", "set: {bacth_size: 256")
    told = refused()
    assert f"dtql.yaml line {line}: rules.1.set.bacth_size: unknown hyper-parameter" in told
    assert "Did you mean batch_size" in told


def test_a_misspelt_name_of_a_variant_or_a_task_is_told(edited):
    line = edited("dtql", "{truncate_noise: false}", "{truncate_nose: false}")
    assert re.search(rf"dtql.yaml line {line}: rules\.\d+\.rules\.0\.set\.truncate_nose", refused())


def test_a_misspelt_key_is_told(edited):
    line = edited("dtql-kl", "  - keep: [", "  - keeps: [")
    told = refused("dtql-kl")
    assert f"dtql-kl.yaml line {line}: rules.1.rules.0.keeps: unknown key; did you mean keep?" in told


def test_a_value_that_is_missing_is_named_with_the_tasks_that_have_it(edited):
    edited("dtql", "      hopper-medium-v2: ", "      bandit-swissroll-far: ")
    told = refused()
    assert "dtql has no value of train_iterations for hopper-medium-v2" in told
    assert re.search(r"Tasks that have it: .*\bwalker2d-medium-v2\b", told)
    assert not re.search(r"Tasks that have it: .*\bhopper-medium-v2\b", told)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("batch_size: 256", "batch_size: 0", "batch_size is 0; it must be at least 1"),
        ("discount: 0.99", "discount: 1.5", "discount is 1.5; it must be between 0 and 1"),
        ("{action_value_weight: 1.0", "{action_value_weight: -1.0", "action_value_weight"),
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
        return lines[int(preset.hyperparameters[name].place.rpartition(" ")[2]) - 1]

    assert "truncate_noise: true" in text(released, "truncate_noise")
    assert "truncate_noise: false" in text(paper, "truncate_noise")
    assert text(released, "trust_region_weight").split()[:2] == ["hopper-medium-v2:", "[5.0,"]


def test_a_value_of_an_extended_file_is_placed_there():
    extending = load_preset("dtql-kl", HOPPER)
    assert extending.hyperparameters["discount"].place.startswith("dtql.yaml line ")


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
    line = edited("dtql", "set: {pretrain_iterations: 50_000", "set: {pretrain_iterations: " + count)
    assert f"dtql.yaml line {line}: pretrain_iterations is no number of steps" in refused()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("evaluation_interval: 50_000", "evaluation_interval: 0", r"evaluation_interval: .*greater than 0"),
        (
            "evaluation_episodes: 100",
            "evaluation_episodes: many",
            r"evaluation_episodes: .*\(given: 'many'\)",
        ),
        ("protocol: last", "protocol: best", r"protocol: Input should be 'last', 'rat' or 'oms'"),
        ("goals: per_evaluation", "goals: never", r"goals: Input should be 'per_episode'"),
        ("evaluation_interval:", "evaluation_intervall:", r"Did you mean evaluation_interval "),
        (
            "{domain: antmaze}",
            "{domain: antmase}",
            r"where\.domain: unknown domain 'antmase'\nDid you mean antmaze",
        ),
        (
            "{variant: paper}",
            "{variant: papper}",
            r"where\.variant: unknown variant 'papper'\nDid you mean paper",
        ),
        ("{task: bandit-energy-*}", "{task: energy-*}", r"'energy-\*' is none of the method's tasks"),
        ("      pen-human-v1: ", "      pen-human-v2: ", r"tasks\.pen-human-v2: 'pen-human-v2' is none of"),
        (
            "[5.0,    0.7, 3e-4, false, 1_000_000]",
            "[5.0, 0.7]",
            r"halfcheetah-medium-replay-v2 has 2 values",
        ),
        (
            "      expectile: ",
            "      expectil: ",
            r"columns\.expectil: unknown .*\n?.*Did you mean expectile",
        ),
        (', source: "DTQL App. E"', "", r"set and keep have a source, and they alone"),
        (
            "{hidden_width: 256, diffusion_width: 256}",
            "{}",
            r"a rule has one of set, keep, columns and rules",
        ),
    ],
)
def test_mistakes_in_rules_are_told_with_their_line(edited, old, new, told):
    edited("dtql", old, new)
    message = refused()
    assert re.match(r"dtql\.yaml line \d+: rules\.\d+", message)
    assert re.search(told, message)


def rule(name, value, where=None, source="somewhere"):
    return Rule(name, value, source, "toy.yaml line 1", (Where(**where),) if where else ())


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ({"domain": "locomotion"}, True),
        ({"domain": ("antmaze", "kitchen")}, False),
        ({"task": "hopper-*"}, True),
        ({"task": ("walker2d-medium-v2", "hopper-medium-v2")}, True),
        ({"task": "hopper"}, False),
        ({"variant": "paper"}, False),
        ({"domain": "locomotion", "task": "hopper-medium-v2", "variant": "released"}, True),
        ({"domain": "antmaze", "task": "hopper-medium-v2"}, False),
    ],
)
def test_of_the_rules_that_hold_the_last_one_counts(where, holds):
    files = presets.load_presets("bc")
    changed = replace(files, rules=(*files.rules, rule("batch_size", 8, where)))
    assert preset_of(changed, HOPPER).values["batch_size"] == (8 if holds else 256)
    before = replace(files, rules=(rule("batch_size", 8, where), *files.rules))
    assert preset_of(before, HOPPER).values["batch_size"] == 256


def test_a_rule_may_keep_a_value_and_give_it_another_source():
    files = presets.load_presets("bc")
    kept = replace(files, rules=(*files.rules, rule("batch_size", None, source="elsewhere")))
    (before, after) = (preset_of(one, HOPPER).hyperparameters["batch_size"] for one in (files, kept))
    assert after == replace(before, source="elsewhere")
    assert after.place == before.place


def test_a_collected_task_is_under_the_rules_of_its_twin():
    twin = load_catalog().task("collected-hopper-medium")
    files = presets.load_presets("bc")
    changed = replace(files, rules=(*files.rules, rule("batch_size", 8, {"task": "hopper-medium-v2"})))
    assert preset_of(changed, twin).values["batch_size"] == 8
