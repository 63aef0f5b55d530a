"""Each condition of comparability fails alone, with its own reason."""

import pytest

from bench.report.conditions import comparable
from bench.report.paper import Erratum
from tests.report.builders import AWKWARD, measured, printed

OWN = printed(AWKWARD, "DTQL", 99.6)


def test_a_full_trial_on_verified_data_is_comparable():
    assert comparable(measured(), OWN) == []
    assert comparable(measured(variant="paper"), OWN) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"physics": "modern"}, "physics modern"),
        ({"verification": "unverified"}, "whether the file is D4RL's is not known"),
        ({"verification": "mismatch"}, "the file is not D4RL's"),
        ({"twin_of": "hopper-medium-v2"}, "collected data, not D4RL's hopper-medium-v2"),
        ({"current_task_version": 2}, "task version 1, now 2"),
        ({"reduced": ("budget 0.5", "evaluations 2"), "budget": 0.5}, "reduced (budget 0.5, evaluations 2)"),
        ({"budget": 2.0}, "budget 2"),
        ({"protocol": "oms"}, "protocol oms, printed last"),
        ({"episodes": 20}, "20 episodes, printed 10"),
        ({"variant": "mine"}, "variant mine"),
    ],
)
def test_one_condition_at_a_time(change, reason):
    assert comparable(measured(**change), OWN) == [reason]


def test_reasons_add_up_and_reduced_episodes_are_said_once():
    entry = measured(physics="modern", reduced=("3 of 10 episodes",), episodes=3)
    assert comparable(entry, OWN) == ["physics modern", "reduced (3 of 10 episodes)"]


def test_quoted_numbers_and_misprints_are_never_comparable():
    assert comparable(measured(), printed(AWKWARD, "TD3+BC", 50.2)) == [
        "printed number quoted from elsewhere"
    ]
    doubtful = printed(AWKWARD, "DTQL", 99.6, errata=(Erratum("mean", "", "Contradicts itself."),))
    assert comparable(measured(), doubtful) == ["the printed number is in doubt"]


def test_numbers_of_another_setting_are_told_from_quoted_ones():
    ablation = printed(AWKWARD, "DTQL", 24.1, accepts_variants=())
    assert comparable(measured(), ablation) == ["the printed number is of another setting"]


def test_where_nothing_is_printed_the_datas_faults_are_still_told():
    reasons = comparable(measured(verification="mismatch"), None)
    assert reasons == ["the file is not D4RL's", "the paper prints no number here"]
