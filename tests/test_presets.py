"""Presets against the paper's table, the rules of variants and budgets, and mistakes in preset files.

Mistakes are named with file, line and what to write instead, before anything runs.
"""

import csv
import dataclasses
import math
import re
import shutil
from dataclasses import replace

import pytest

from algorithms.base import Dimensions
from algorithms.dtql import DTQLConfig
from algorithms.networks import LayerNorm
from algorithms.registry import build, configuration, method, methods
from bench import presets
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.presets import (
    PresetFiles,
    Rule,
    Where,
    algorithms_with_presets,
    formulas_of,
    hyperparameter_docs,
    load_preset,
    load_presets,
    preset_of,
    scaled_count,
    tasks_of,
    variants_of,
)
from bench.records import DatasetRecord
from bench.resources import resource

CATALOG = load_catalog()

with (resource("paper_tables") / "hparams_dtql_table4.csv").open(encoding="utf-8") as file:
    TABLE_4 = {row["task"]: row for row in csv.DictReader(file)}


FILES = PresetFiles()
"""Each read once."""


def preset(task, variant="released"):
    return preset_of(FILES["dtql"], CATALOG.task(task), variant)


@pytest.mark.parametrize("task", TABLE_4)
@pytest.mark.parametrize(("variant", "column"), [("released", "code"), ("paper", "paper")])
def test_dtql_agrees_with_table_4_and_main_py(task, variant, column):
    printed, loaded = TABLE_4[task], preset(task, variant)
    expected = {
        "trust_region_weight": float(printed["alpha"]),
        "expectile": float(printed["expectile"]),
        "likelihood_weight": 1.0 if printed["entropy_term_paper"] == "True" else 0.0,
        "pretrain_iterations": 1000 * int(printed["pretrain_epochs"]),
        "train_iterations": 1000 * int(printed[f"train_epochs_{column}"]),
        "learning_rate": float(printed["lr_actor_and_diffusion_code"]),
        "critic_learning_rate": float(printed["lr_critic_code"]),
        "learning_rate_decay": printed["lr_decay"] == "True",
        "batch_size": int(printed["batch_size_code"]),
    }
    assert {name: loaded.values[name] for name in expected} == expected
    assert loaded.evaluation.episodes == int(printed["eval_episodes"])
    assert loaded.reward_transform.value == {"raw": "none", "r-1": "minus_one"}[printed["reward_code"]]
    assert (loaded.evaluation.interval, loaded.evaluation.protocol) == (50_000, "last")
    assert loaded.values["train_iterations"] % loaded.evaluation.interval == 0


def test_all_26_tasks_have_a_preset_and_every_value_a_source():
    assert tuple(name for name in tasks_of("dtql") if not name.startswith("bandit-")) == tuple(TABLE_4)
    assert len(TABLE_4) == 26
    for task in TABLE_4:
        for variant in variants_of("dtql"):
            loaded = preset(task, variant)
            sources = [setting.source for setting in loaded.hyperparameters.values()]
            sources += [loaded.reward_transform.source, *loaded.evaluation.sources.values()]
            assert all(sources)
            goals = {"goals"} if task.startswith("antmaze") else set()
            assert set(loaded.evaluation.sources) == {"interval", "episodes", "protocol", *goals}


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_a_preset_is_a_whole_configuration_with_the_right_types(variant):
    for task in TABLE_4:
        values = preset(task, variant).values
        config = configuration("dtql", values)
        for field in dataclasses.fields(config):
            assert type(values[field.name]) is type(field.default), field.name
    assert set(preset("hopper-medium-v2").values) == {field.name for field in dataclasses.fields(DTQLConfig)}


def test_paper_differs_from_released_in_three_switches_and_four_epoch_counts():
    for task in TABLE_4:
        released, paper = preset(task).values, preset(task, "paper").values
        differing = {name for name in released if released[name] != paper[name]}
        longer = {"train_iterations"} if task in LONGER_IN_PAPER else set()
        assert differing == {"truncate_noise", "critic_layer_norm", "embedding_activation"} | longer


LONGER_IN_PAPER = {
    "antmaze-medium-play-v2",
    "antmaze-medium-diverse-v2",
    "antmaze-large-play-v2",
    "antmaze-large-diverse-v2",
}


def test_a_collected_task_uses_its_twins_preset():
    for task in CATALOG.tasks.values():
        if task.collected:
            assert preset(task.name) == preset(task.twin_of)


def test_a_budget_scales_step_counts_and_interval_and_nothing_else():
    full, reduced = preset("hopper-medium-v2"), preset("hopper-medium-v2").scaled(0.00025)
    assert reduced.values["pretrain_iterations"] == 13  # 12.5 rounded up
    assert reduced.values["train_iterations"] == 250
    assert reduced.evaluation.interval == 13
    untouched = set(full.values) - {"pretrain_iterations", "train_iterations"}
    assert {name: reduced.values[name] for name in untouched} == {
        name: full.values[name] for name in untouched
    }
    assert reduced.evaluation.episodes == 10
    assert (
        reduced.hyperparameters["train_iterations"].source == full.hyperparameters["train_iterations"].source
    )
    assert full.scaled(1) == full


@pytest.mark.parametrize(
    ("count", "budget", "expected"),
    [
        (50_000, 0.001, 50),
        (350_000, 0.001, 350),
        (10, 0.001, 1),
        (1, 1e-9, 1),
        (3, 0.5, 2),
        (7, 2, 14),
        (0, 0.5, 0),
    ],
)
def test_scaled_counts_round_up_without_binary_surprises(count, budget, expected):
    assert scaled_count(count, budget) == expected


def test_binary_floats_would_surprise():
    # Why scaled_count reckons in decimals: 1,100 * 0.07 is 77, in binary a little more.
    assert math.ceil(1_100 * 0.07) == 78
    assert scaled_count(1_100, 0.07) == 77


@pytest.mark.parametrize("task", ["pen-human-v0", "pen-cloned-v0"])
def test_a_task_without_preset_says_so_and_what_to_use(task):
    with pytest.raises(BenchError, match=f"no preset for {task}") as caught:
        preset(task)
    assert task.replace("v0", "v1") in caught.value.do_this


def test_unknown_names_get_the_nearest():
    task = CATALOG.task("hopper-medium-v2")
    with pytest.raises(BenchError, match=r"unknown algorithm 'dtpl'\nDid you mean dtql"):
        load_preset("dtpl", task)
    with pytest.raises(BenchError, match=r"unknown variant 'papr'\nDid you mean paper"):
        load_preset("dtql", task, "papr")


def test_every_algorithm_documents_every_hyper_parameter():
    for algorithm in algorithms_with_presets():
        docs = hyperparameter_docs(algorithm)
        for task in tasks_of(algorithm):
            names = preset_of(FILES[algorithm], CATALOG.task(task)).hyperparameters
            assert all(docs[name] for name in names)


@pytest.mark.parametrize(
    ("method", "task", "epsilon", "layers"),
    [
        ("dtql", "hopper-medium-v2", 1e-5, 3),
        ("dtql-kl", "hopper-medium-v2", 1e-5, 3),
        ("srpo", "hopper-medium-v2", 1e-5, 3),
        ("srpo-points", "bandit-energy-8gaussians", 1e-5, 3),
        ("edp-td3", "hopper-medium-v2", None, 0),
        ("edp-iql", "antmaze-umaze-v0", None, 0),
        ("bdpo", "hopper-medium-v2", 1e-6, 3),
        ("bdpo", "antmaze-umaze-v0", 1e-6, 6),
        ("bdpo-gaussian", "walker2d-medium-v2", 1e-6, 0),
        ("bc", "hopper-medium-v2", None, 0),
    ],
)
def test_every_method_has_its_authors_epsilon(method, task, epsilon, layers):
    """flax's for BDPO (V_n always, Q on AntMaze), torch's for DTQL and SRPO; each where a preset says so."""
    values = load_preset(method, CATALOG.task(task)).values
    assert values.get("layer_norm_epsilon") == epsilon
    narrow = values | {name: 8 for name in values if name.endswith("_width")}
    networks = build(method, Dimensions(11, 3), narrow, (0,)).networks
    online = [network for name, network in networks.items() if not name.startswith("target_")]
    norms = [one for network in online for one in network.modules() if isinstance(one, LayerNorm)]
    assert len(norms) == layers
    assert {norm.epsilon for norm in norms} <= {epsilon}


def test_every_method_of_the_papers_says_in_which_precision_it_was_trained_and_why():
    for name, found in methods().items():
        if found.distribution is None:
            stated = [rule for rule in presets.load_presets(name).rules if rule.name == "precision"]
            assert stated, f"{name}.yaml sets no precision: fp32 or tf32, with what says so"
    assert preset("hopper-medium-v2").precision.value == "tf32"
    assert load_preset("srpo", HOPPER).precision.value == "fp32"


def test_where_nothing_is_said_precision_is_full(edited):
    line = '{set: {precision: tf32}, source: "CORL requirements.txt, torch 1.11.0+cu113,'
    edited("bc", f'  - {line} which multiplies so by default"}}\n', "")
    assert load_preset("bc", HOPPER).precision.value == "fp32"


# Mistakes in preset files: named with file, line and what to write instead, before anything runs.


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


def test_selection_by_loss_needs_a_rank(edited):
    edited("dtql", "set: {protocol: last}", "set: {protocol: bc-select}")
    assert "needs selected_rank for hopper-medium-v2" in refused()
    edited("dtql", "set: {protocol: bc-select}", "set: {protocol: bc-select, selected_rank: 2}")
    loaded = load_preset("dtql", HOPPER)
    assert (loaded.evaluation.protocol, loaded.evaluation.selected_rank) == ("bc-select", 2)
    (cell,) = plan_cells(Request(tasks=(HOPPER,), algorithms=("dtql",), seeds=(0,)))
    config = cell.trial(0, DatasetRecord("d", "0" * 64, 1, "verified", "d4rl")).config
    assert config["evaluation"]["selected_rank"] == 2


def test_a_rank_without_selection_by_loss_is_no_setting(edited):
    edited("dtql", "set: {protocol: last}", "set: {protocol: last, selected_rank: 2}")
    assert load_preset("dtql", HOPPER).evaluation.selected_rank is None


def test_a_misspelt_name_is_told_with_its_line(edited):
    line = edited("dtql", "set: {batch_size: 256", "set: {bacth_size: 256")
    told = refused()
    assert f"dtql.yaml line {line}: rules.1.set.bacth_size: unknown hyper-parameter" in told
    assert "Did you mean batch_size" in told


def test_a_misspelt_name_of_a_variant_or_a_task_is_told(edited):
    line = edited("dtql", "{truncate_noise: false}", "{truncate_nose: false}")
    assert re.search(rf"dtql.yaml line {line}: rules\.\d+\.rules\.0\.set\.truncate_nose", refused())


def test_no_variant_has_the_name_of_imported_scores(edited):
    line = edited("dtql", "variants: [paper]", "variants: [imported]")
    assert f"dtql.yaml line {line}: variants.0: imported is what scores of elsewhere" in refused()


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


@pytest.mark.parametrize(
    ("algorithm", "old", "new", "told"),
    [
        ("dtql-kl", "{name: Critics, of: dtql}", "{name: Critics, of: dtqll}", "formulas.1.of: dtqll has no"),
        ("dtql-kl", "{name: Critics, of: dtql}", "{name: Critic, of: dtql}", "formulas.1.of: dtql has no"),
        ("dtql-kl", "{name: Critics, of: dtql}", "{name: Acting, of: dtql}", "formulas.9.name: a second"),
        ("dtql-kl", "{name: Critics, of: dtql}", "{name: Critics, off: dtql}", "formulas.1.off: unknown key"),
        (
            "dtql-kl",
            "{name: Critics, of: dtql}",
            "{name: Critics}",
            "has either a formula with its source",
        ),
        ("dtql", 'arxiv: "2405.19690"', "arxiv: DTQL", "paper.arxiv: "),
        ("dtql", "repository: TianyuCodings/", "repository: ", "code.0.repository: "),
    ],
)
def test_mistakes_in_sources_and_formulas_are_told_with_their_line(edited, algorithm, old, new, told):
    line = edited(algorithm, old, new)
    message = refused(algorithm)
    assert told in message
    assert f"{algorithm}.yaml line {line}" in message or "a second" in told


def test_a_formula_of_another_method_is_the_one_that_stands_there():
    written = {formula.name: (formula, owner) for formula, owner in formulas_of(load_presets("edp-iql"))}
    assert written["Policy"] == (
        next(one for one in method("edp-crr").formulas if one.name == "Policy"),
        "edp-crr",
    )
    assert written["Weights"][1] == "edp-iql"
    assert all(formula.formula and formula.source for formula, _ in written.values())


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
        ("protocol: last", "protocol: best", r"protocol: Input should be 'last', 'rat', 'oms', 'mean5',"),
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
