"""Presets of the methods that the papers quote: values by task, domain and variant, and what is refused."""

import pytest

from algorithms.registry import configuration, members
from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.presets import PresetFiles, preset_of, variants_in_words

CATALOG, FILES = load_catalog(), PresetFiles()
METHODS = ("bc", "bc-10", "td3bc", "iql", "awac", "cql", "crr", "onestep", "dt")
LENGTHS = {
    "crr": {"train": 1_200_000},
    "dt": {"train": 100_000},
    "onestep": {"behaviour": 500_000, "critic": 2_000_000, "policy": 100_000},
}
HALFCHEETAH, HOPPER = "halfcheetah-medium-v2", "hopper-medium-v2"


def preset(method, task, variant="released"):
    return preset_of(FILES[method], CATALOG.task(task), variant)


@pytest.mark.parametrize("method", METHODS)
def test_every_preset_is_a_whole_configuration_with_sources(method):
    assert method in members("comparators")
    for task in FILES[method].tasks:
        for variant in FILES[method].variants:
            loaded = preset(method, task, variant)
            configuration(method, loaded.values)
            settings = [*loaded.hyperparameters.values(), loaded.reward_transform]
            assert all([*(setting.source for setting in settings), *loaded.evaluation.sources.values()])
            # 1M iterations, EDP's twice that on locomotion.
            expected = LENGTHS.get(method, {"train": 1_000_000})
            if variant == "edp" and CATALOG.task(task).domain == "locomotion":
                expected = {"train": 2_000_000}
            assert loaded.phase_iterations == expected


@pytest.mark.parametrize(
    ("method", "variant", "task", "protocol", "interval", "episodes", "rewards"),
    [
        ("td3bc", "released", HOPPER, "rat", 5_000, 10, "none"),
        ("td3bc", "corl", HOPPER, "last", 5_000, 10, "none"),
        ("td3bc", "corl", "antmaze-umaze-v2", "last", 5_000, 100, "minus_one"),
        ("td3bc", "edp", "antmaze-umaze-v0", "rat", 10_000, 10, "centred_by_four"),
        ("td3bc", "edp", "pen-human-v0", "rat", 10_000, 10, "minimum_to_maximum"),
        ("iql", "released", HOPPER, "last", 5_000, 10, "return_scaled_iql"),
        ("iql", "released", "antmaze-large-play-v0", "last", 100_000, 100, "minus_one"),
        ("iql", "released", "kitchen-mixed-v0", "last", 5_000, 10, "none"),
        ("iql", "corl", HOPPER, "last", 5_000, 10, "return_scaled_srpo"),
        ("iql", "corl", HALFCHEETAH, "last", 5_000, 10, "none"),
        ("iql", "corl", "antmaze-umaze-v2", "last", 5_000, 100, "minus_one"),
        ("awac", "corl", HOPPER, "last", 5_000, 10, "none"),
        ("awac", "released", "antmaze-umaze-v2", "last", 5_000, 100, "minus_one"),
        ("cql", "corl", HOPPER, "last", 5_000, 10, "return_scaled_srpo"),
        ("cql", "corl", "hopper-medium-replay-v2", "last", 5_000, 10, "none"),
        ("cql", "corl", "antmaze-umaze-v2", "last", 50_000, 100, "ten_minus_five"),
        ("cql", "official", HALFCHEETAH, "rat", 5_000, 10, "none"),
        ("cql", "official", "antmaze-umaze-v0", "rat", 5_000, 100, "centred_by_four"),
        ("bc-10", "corl", "antmaze-umaze-v2", "last", 5_000, 100, "none"),
        ("crr", "released", HOPPER, "rat", 10_000, 100, "none"),
        ("crr", "expectile", "antmaze-umaze-v0", "rat", 10_000, 100, "centred_by_four"),
        ("crr", "released", "kitchen-mixed-v0", "rat", 10_000, 100, "minimum_to_maximum"),
        ("dt", "released", HOPPER, "last", 10_000, 100, "none"),
        ("dt", "corl", "pen-human-v1", "last", 5_000, 100, "none"),
        ("dt", "corl", "antmaze-umaze-v2", "last", 10_000, 100, "none"),
        ("onestep", "released", HOPPER, "last", 10_000, 100, "none"),
        ("onestep", "released", "antmaze-umaze-v2", "last", 10_000, 100, "centred_by_four"),
        ("onestep", "reverse-kl", "pen-human-v1", "last", 10_000, 100, "minimum_to_maximum"),
    ],
)
def test_evaluations_and_rewards(method, variant, task, protocol, interval, episodes, rewards):
    loaded = preset(method, task, variant)
    evaluation = loaded.evaluation
    assert (evaluation.protocol, evaluation.interval, evaluation.episodes) == (protocol, interval, episodes)
    assert loaded.reward_transform.value == rewards


@pytest.mark.parametrize(
    ("method", "variant", "task", "expected"),
    [
        ("td3bc", "released", HOPPER, {"standardised_observations": True, "action_clip": 1.0}),
        ("td3bc", "released", "antmaze-umaze-v0", {"standardised_observations": False}),
        ("td3bc", "corl", "antmaze-umaze-v2", {"standardised_observations": True}),
        ("td3bc", "edp", HOPPER, {"standardised_observations": False, "action_clip": 0.999,
                                  "activation": "mish", "hidden_layers": 3, "value_weight": 2.5}),
        ("iql", "released", HOPPER, {"expectile": 0.7, "inverse_temperature": 3.0, "actor_dropout": 0.0}),
        ("iql", "released", "antmaze-umaze-v0", {"expectile": 0.9, "inverse_temperature": 10.0,
                                                 "actor_dropout": 0.0}),
        ("iql", "released", "pen-human-v0", {"expectile": 0.7, "inverse_temperature": 0.5,
                                             "actor_dropout": 0.1}),
        ("iql", "corl", HOPPER, {"deterministic_actor": True, "target_update_rate": 0.001, "expectile": 0.7,
                                 "standardised_observations": True}),
        ("iql", "corl", "hopper-medium-expert-v2", {"deterministic_actor": False, "expectile": 0.5,
                                                    "inverse_temperature": 6.0,
                                                    "target_update_rate": 0.005}),
        ("iql", "corl", "pen-cloned-v1", {"expectile": 0.8, "inverse_temperature": 3.0,
                                          "actor_dropout": 0.1}),
        ("awac", "released", HOPPER, {"advantage_temperature": 0.3333}),
        ("awac", "released", "pen-human-v1", {"advantage_temperature": 0.1}),
        ("cql", "released", HOPPER, {"conservative_weight": 10.0, "actor_learning_rate": 3e-5,
                                     "lagrange": False, "standardised_observations": True}),
        ("cql", "released", "antmaze-umaze-v2", {"conservative_weight": 5.0, "actor_learning_rate": 1e-4,
                                                 "lagrange": True, "gap_threshold": 0.8,
                                                 "first_critic_layers": 5, "second_critic_layers": 3,
                                                 "best_backup": True, "standardised_observations": False}),
        ("cql", "released", "pen-human-v1", {"conservative_weight": 1.0, "actor_learning_rate": 1e-4}),
        ("cql", "official", HOPPER, {"conservative_weight": 10.0, "warm_up_iterations": 40_000,
                                     "lagrange": False, "standardised_observations": False,
                                     "first_critic_layers": 3}),
        ("cql", "official", "antmaze-umaze-v0", {"lagrange": True, "gap_threshold": 5.0, "gap_clipped": False,
                                                 "best_backup": False, "first_critic_layers": 3}),
        ("crr", "released", HOPPER, {"overestimation_weight": 0.5, "advantage_samples": 50,
                                     "weight_limit": 20.0, "action_clip": 0.999}),
        ("crr", "expectile", "pen-human-v0", {"overestimation_weight": 0.7, "policy_learning_rate": 1e-4}),
        ("dt", "released", HALFCHEETAH, {"target_return": 12000.0, "return_scale": 1000.0, "batch_size": 64,
                                         "learning_rate": 1e-4, "activation": "relu", "mean_over": "valid"}),
        ("dt", "corl", HOPPER, {"target_return": 3600.0, "return_scale": 1000.0, "batch_size": 4096,
                                "learning_rate": 8e-4, "activation": "gelu", "time_steps": 1020}),
        ("dt", "corl", "antmaze-umaze-v2", {"target_return": 1.0, "return_scale": 1.0, "batch_size": 64,
                                            "learning_rate": 1e-4, "mean_over": "all"}),
        ("dt", "released", "pen-human-v0", {"target_return": 3100.0, "return_scale": 1.0}),
        ("onestep", "released", HALFCHEETAH, {"improvement": "exponential", "inverse_temperature": 0.1,
                                              "hidden_width": 1024, "batch_size": 512}),
        ("onestep", "released", "antmaze-umaze-v0", {"inverse_temperature": 1.0}),
        ("onestep", "reverse-kl", HOPPER, {"improvement": "reverse_kl", "divergence_weight": 1.0}),
    ],
)  # fmt: skip
def test_values(method, variant, task, expected):
    values = preset(method, task, variant).values
    assert {name: values[name] for name in expected} == expected


def test_corl_is_what_a_method_does_that_is_implemented_as_there():
    assert variants_in_words("cql") == "released = corl, official"
    assert variants_in_words("iql") == "released, corl"
    for method in ("bc", "bc-10", "awac", "cql"):
        loaded = preset(method, HOPPER, "corl")
        assert (loaded.variant, loaded.values) == ("released", preset(method, HOPPER).values)
    request = Request(
        tasks=(CATALOG.task(HOPPER),), algorithms=("bc", "iql", "cql"), seeds=(0,), variant="corl"
    )
    assert [(cell.algorithm, cell.variant) for cell in plan_cells(request)] == [
        ("bc", "released"), ("iql", "corl"), ("cql", "released")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "task", "variant", "told"),
    [
        ("cql", "kitchen-mixed-v0", "released", "cql has no preset for kitchen-mixed-v0"),
        ("iql", HOPPER, "official", "unknown variant 'official'"),
        ("awac", HOPPER, "edp", "unknown variant 'edp'"),
        ("td3bc", "bandit-energy-moons", "released", "td3bc has no preset for bandit-energy-moons"),
        ("onestep", "bandit-energy-moons", "released", "onestep has no preset for bandit-energy-moons"),
        ("crr", HOPPER, "paper", "unknown variant 'paper'"),
        ("dt", "kitchen-mixed-v0", "corl", "dt has no preset for kitchen-mixed-v0"),
        ("dt", HOPPER, "paper", "unknown variant 'paper'"),
        ("onestep", HOPPER, "corl", "unknown variant 'corl'"),
    ],
)
def test_what_there_is_not_is_told(method, task, variant, told):
    with pytest.raises(BenchError, match=told) as caught:
        preset(method, task, variant)
    if "no preset" in told:
        assert "Tasks that have it: halfcheetah-medium-v2, " in str(caught.value)
