"""The papers' expectations: each is met by clouds made to meet it, and failed by clouds made to fail it."""

from dataclasses import replace

import numpy as np
import pytest

from bench.bandit2d.expectations import EXPECTATIONS, check_expectations
from tests.bandit2d.clouds import corner_clouds, diffusion_clouds, illustration, moving_clouds

NEAR, FAR, SAME = (f"bandit-25gaussians-{kind}" for kind in ("near", "far", "same"))
MOONS = "bandit-energy-moons"


def _answer(items, words, task):
    (finding,) = [
        finding
        for finding in check_expectations(items)
        if words in finding.expectation.statement and finding.expectation.task == task
    ]
    return finding


def test_nothing_measured_is_neither_yes_nor_no():
    findings = check_expectations([])
    assert len(findings) == len(EXPECTATIONS)
    assert {finding.answer for finding in findings} == {"not measured"}


def test_every_expectation_is_of_a_task_and_a_method_that_exist():
    from algorithms.registry import methods
    from bench.catalog import load_catalog

    assert {expectation.task for expectation in EXPECTATIONS} <= set(load_catalog().tasks)
    assert {method for expectation in EXPECTATIONS for method in expectation.methods} <= set(methods())


def _pair(narrow, wide, task=FAR):
    return [
        illustration("dtql", task, numbers=narrow, clouds=corner_clouds((1,))),
        illustration("dtql-kl", task, numbers=wide),
    ]


def test_kl_covers_all_best_modes_and_trust_region_fewer():
    finding = _answer(_pair({}, {}), "KL covers all best modes", FAR)
    assert (finding.answer, finding.numbers) == ("yes", "dtql 1.0, dtql-kl 4.0 of 4")


@pytest.mark.parametrize(("trust_region", "kl"), [((0, 1, 2, 3), (0, 1, 2, 3)), ((0,), (0, 1, 2))])
def test_equal_coverage_or_incomplete_coverage_is_no(trust_region, kl):
    items = [
        illustration("dtql", clouds=corner_clouds(trust_region)),
        illustration("dtql-kl", clouds=corner_clouds(kl)),
    ]
    assert _answer(items, "KL covers all best modes", FAR).answer == "no"


def test_coverage_is_a_mean_over_the_seeds_of_one_configuration():
    seeds = [
        illustration(seed=0, clouds=corner_clouds((0,))),
        illustration(seed=1, clouds=corner_clouds((0, 1))),
    ]
    other = illustration(seed=2, config_hash="other", budget=0.1, reduced=("budget 0.1",))
    finding = _answer([*seeds, other, illustration("dtql-kl")], "KL covers all best modes", FAR)
    assert finding.numbers.startswith("dtql 1.5,")
    assert (finding.seeds, finding.reduced) == (1, ())


@pytest.mark.parametrize(
    ("mine", "theirs", "answer"), [(0.9, 0.7, "yes"), (0.7, 0.7, "no"), (0.6, 0.7, "no")]
)
def test_shares_of_trust_region_and_kl(mine, theirs, answer):
    items = _pair({"share_in_support": mine}, {"share_in_support": theirs})
    finding = _answer(items, "in the data's support than KL", FAR)
    assert (finding.answer, finding.numbers) == (answer, f"dtql {mine:.3f}, dtql-kl {theirs:.3f}")
    assert _answer(items, "on the best modes than KL", FAR).answer == "not measured"


@pytest.mark.parametrize(("least", "answer"), [(0.95, "yes"), (0.85, "no")])
def test_with_one_best_mode_both_are_on_it(least, answer):
    items = _pair({"share_on_best_modes": least}, {"share_on_best_modes": 1.0}, NEAR)
    assert _answer(items, "one best mode", NEAR).answer == answer


def test_kl_alone_covers_all_modes_of_the_data():
    every_mode = corner_clouds()
    every_mode = replace(every_mode, truth=every_mode.data, actions=every_mode.data)
    assert _answer([illustration("dtql-kl", SAME, every_mode)], "KL alone", SAME).answer == "yes"
    some = replace(every_mode, actions=every_mode.data[:200])
    finding = _answer([illustration("dtql-kl", SAME, some)], "KL alone", SAME)
    assert (finding.answer, finding.numbers) == ("no", "5.0 of 25")


def _bdpo(clouds=None, **numbers):
    return [illustration("bdpo", MOONS, clouds or diffusion_clouds(), numbers=numbers)]


@pytest.mark.parametrize(("policy", "answer"), [(0.01, "yes"), (0.3, "no")])
def test_policy_nearer_to_the_truth_than_the_behaviour_model(policy, answer):
    items = _bdpo(energy_distance_to_truth=policy, behaviour_energy_distance_to_truth=0.2)
    finding = _answer(items, "policy nearer", MOONS)
    assert (finding.answer, finding.numbers) == (answer, f"policy {policy:.3f}, behaviour 0.200")


@pytest.mark.parametrize(("value", "answer"), [(0.92, "yes"), (1.09, "yes"), (0.88, "no"), (-1.0, "no")])
def test_value_at_noise(value, answer):
    clouds = replace(diffusion_clouds(), value_test=np.array([value, 1.0]))
    assert _answer(_bdpo(clouds), "V(T) at noise", MOONS).answer == answer


def test_landscapes_sharpen():
    assert _answer(_bdpo(), "sharpen", MOONS).answer == "yes"
    steady = {step: np.arange(900.0) for step in (1, 5, 10, 20)}
    flat = replace(diffusion_clouds(), diffusion_values=steady)
    assert _answer(_bdpo(flat), "sharpen", MOONS).answer == "no"


def test_samples_move_late():
    assert _answer(_bdpo(), "samples move little", MOONS).answer == "yes"
    clouds = diffusion_clouds()
    backwards = replace(clouds, path=clouds.path[::-1])
    assert _answer(_bdpo(backwards), "samples move little", MOONS).answer == "no"


def test_distance_travelled_is_between_the_ends_of_each_stretch():
    line = np.linspace(0, 10, 21)[:, None, None] * np.array([[[0.6, 0.8]]])
    finding = _answer(_bdpo(replace(diffusion_clouds(), path=line)), "samples move little", MOONS)
    assert finding.numbers == "4.00, then 6.00"


def _points(clouds):
    return [illustration("srpo-points", MOONS, clouds)]


def _with(clouds, **changes):
    """The clouds with other free points."""
    return replace(clouds, free_points=replace(clouds.free_points, **changes))


WORDS = ("points leave their targets", "points come to the data", "90 % of points", "went to data nearby")


def test_points_go_from_their_targets_to_the_data():
    assert [_answer(_points(moving_clouds()), words, MOONS).answer for words in WORDS] == [
        "yes",
        "yes",
        "yes",
        "no",
    ]


def test_points_that_stay_or_turn_back_are_no():
    clouds = moving_clouds()
    still = _with(clouds, points=np.repeat(clouds.free_points.targets[None], 4, axis=0))
    assert [_answer(_points(still), words, MOONS).answer for words in WORDS[:3]] == ["no"] * 3
    turning = _with(clouds, points=clouds.free_points.points[[0, 2, 1, 3]])
    assert [_answer(_points(turning), words, MOONS).answer for words in WORDS[:2]] == ["no"] * 2


def test_the_order_of_the_temperatures_does_not_matter():
    clouds = moving_clouds()
    order, group = [2, 0, 3, 1], clouds.free_points
    shuffled = _with(clouds, betas=group.betas[order], points=group.points[order])
    for words in WORDS:
        mine, theirs = (_answer(_points(c), words, MOONS) for c in (clouds, shuffled))
        assert (mine.answer, mine.numbers) == (theirs.answer, theirs.numbers)


def test_points_that_go_to_the_nearest_data_went_nearby():
    """Two clusters of data; each target goes to its own, or to the other one."""
    rng = np.random.default_rng(0)
    centres = np.array([[-3.0, 0.0], [3.0, 0.0]])
    data = np.repeat(centres, 300, axis=0) + 0.1 * rng.standard_normal((600, 2))
    targets = centres + np.array([0.0, 1.0])
    clouds = _with(replace(moving_clouds(), data=data), targets=targets, betas=np.array([1.0, 0.1]))
    near = _with(clouds, points=np.stack([targets, centres]))
    far = _with(clouds, points=np.stack([targets, centres[::-1]]))
    assert _answer(_points(near), WORDS[3], MOONS).answer == "yes"
    assert _answer(_points(far), WORDS[3], MOONS).answer == "no"
