"""QGPO's and SfBC's presets against the constants of the released code; that they share a behaviour model."""

import dataclasses

import pytest

from algorithms.diffusion_behaviour import BehaviourConfig
from algorithms.registry import configuration, members
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import PresetFiles, preset_of, variants_of

CATALOG, FILES = load_catalog(), PresetFiles()
HOPPER, LARGE = "hopper-medium-v2", "antmaze-large-play-v0"
# Rows of D4RL's files, which give at most so many transitions.
ROWS = {
    "halfcheetah-medium-v2": 1_000_000,
    "halfcheetah-medium-replay-v2": 202_000,
    "halfcheetah-medium-expert-v2": 2_000_000,
    "hopper-medium-v2": 999_906,
    "hopper-medium-replay-v2": 402_000,
    "hopper-medium-expert-v2": 1_999_906,
    "walker2d-medium-v2": 999_995,
    "walker2d-medium-replay-v2": 302_000,
    "walker2d-medium-expert-v2": 1_999_995,
}


def preset(method, task, variant="released"):
    return preset_of(FILES[method], CATALOG.task(task), variant)


@pytest.mark.parametrize("method", ["qgpo", "sfbc"])
def test_every_preset_is_a_whole_configuration_with_sources(method):
    assert method in members("comparators")
    assert len(FILES[method].tasks) == 21
    for task in FILES[method].tasks:
        for variant in FILES[method].variants:
            found = preset(method, task, variant)
            configuration(method, found.values)
            settings = [*found.hyperparameters.values(), found.reward_transform, found.precision]
            assert all([*(setting.source for setting in settings), *found.evaluation.sources.values()])
            assert (found.evaluation.protocol, found.evaluation.episodes) == ("last", 10)
            # Every transition has a support.
            supported = found.values["support_iterations"] * found.values["support_batch_size"]
            assert supported >= ROWS.get(task, 1_000_000) > supported - 200
            if method == "sfbc":
                planned = found.values["planning_iterations"] * found.values["planning_batch_size"]
                assert planned >= ROWS.get(task, 1_000_000) > planned - 2000


def test_both_ask_for_the_same_behaviour_model_and_are_run_alike():
    assert FILES["qgpo"].tasks == FILES["sfbc"].tasks
    for task in FILES["qgpo"].tasks:
        one, *others = (preset("qgpo", task), *(preset("sfbc", task, v) for v in FILES["sfbc"].variants))
        for other in others:
            for field in dataclasses.fields(BehaviourConfig):
                assert one.values[field.name] == other.values[field.name]
            assert (one.precision.value, one.transitions) == (other.precision.value, other.transitions)


@pytest.mark.parametrize(
    ("method", "task", "expected"),
    [
        ("qgpo", HOPPER, {
            "behaviour_iterations": 600_000, "behaviour_batch_size": 4096, "behaviour_learning_rate": 1e-4,
            "behaviour_width": 512, "behaviour_embedding": 128, "time_features": 32, "fourier_scale": 30.0,
            "behaviour_time_min": 0.001, "solver_calls": 15, "support_actions": 16, "batch_size": 256,
            "energy_iterations": 1_000_000, "critic_iterations": 500_000, "discount": 0.99,
            "learning_rate": 3e-4, "target_update_rate": 0.005, "hidden_width": 256,
            "inverse_temperature": 3.0, "backup_inverse_temperature": 1.0, "guidance_scale": 3.0,
        }),
        ("qgpo", LARGE, {
            "support_actions": 32, "inverse_temperature": 3.0, "backup_inverse_temperature": 20.0,
            "guidance_scale": 2.0,
        }),
        ("sfbc", HOPPER, {
            "support_actions": 16, "returns_iterations": 24_500, "critic_iterations": 24_255,
            "critic_batch_size": 4096, "critic_learning_rate": 1e-3, "critic_width": 256,
            "wide_critic_layer": 0, "planning": "this_state", "planning_inverse_temperature": 20.0,
            "candidates": 32, "selected": 4, "selection_inverse_temperature": 100.0, "selection_lead": 40.0,
        }),
        ("sfbc", LARGE, {"wide_critic_layer": 512, "selected": 1, "support_actions": 16}),
        ("sfbc", "antmaze-umaze-v2", {"wide_critic_layer": 0, "returns_iterations": 48_800}),
    ],
)  # fmt: skip
def test_values(method, task, expected):
    values = preset(method, task).values
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize("task", ROWS)
def test_sfbc_goes_as_often_through_the_rows_as_its_code(task):
    """An epoch is the whole passes nearest to 1M samples; the last round has 99 of 100, evaluated every 5."""
    rows = ROWS[task]
    epoch = -(-max(1, round(1_000_000 / rows)) * rows // 4096)
    found = preset("sfbc", task)
    counts = [found.values[f"{phase}_iterations"] for phase in ("returns", "critic")]
    assert [*counts, found.evaluation.interval] == [100 * epoch, 99 * epoch, 5 * epoch]


@pytest.mark.parametrize(
    ("method", "task", "interval", "rewards", "goals"),
    [
        ("qgpo", HOPPER, 40_000, "return_scaled_srpo", None),
        ("qgpo", LARGE, 40_000, "minus_one", "per_episode"),
        ("sfbc", HOPPER, 1_225, "none", None),
        ("sfbc", LARGE, 2_440, "none", "per_episode"),
    ],
)
def test_evaluations_and_rewards(method, task, interval, rewards, goals):
    found = preset(method, task)
    assert (found.evaluation.interval, found.reward_transform.value) == (interval, rewards)
    assert found.evaluation.goals == goals


def test_the_papers_planning_is_a_variant():
    assert variants_of("sfbc") == ("released", "paper")
    assert variants_of("qgpo") == ("released",)
    released, paper = preset("sfbc", HOPPER), preset("sfbc", HOPPER, "paper")
    assert paper.values == {**released.values, "planning": "next_state"}


def test_what_was_chosen_here_says_so():
    found = preset("qgpo", LARGE).hyperparameters
    for name in ("guidance_scale", "backup_inverse_temperature", "support_iterations"):
        assert found[name].source.startswith("ours"), name


@pytest.mark.parametrize(
    ("method", "task", "variant", "told"),
    [
        ("qgpo", "kitchen-mixed-v0", "released", "qgpo has no preset for kitchen-mixed-v0"),
        ("sfbc", "pen-human-v1", "released", "sfbc has no preset for pen-human-v1"),
        ("qgpo", HOPPER, "paper", "unknown variant 'paper'"),
    ],
)
def test_what_there_is_not_is_told(method, task, variant, told):
    with pytest.raises(BenchError, match=told) as caught:
        preset(method, task, variant)
    if "no preset" in told:
        assert "Tasks that have it: halfcheetah-medium-v2, " in str(caught.value)
