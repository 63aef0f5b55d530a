"""What a small store shows at the end of a first run: ten lines, and nothing wider than a terminal."""

from types import SimpleNamespace

import pytest

from bench.bandit2d.stored import Illustrations
from bench.report.formats.summary import WIDTH, render
from bench.report.measured import ReportData, SeedScore
from tests.bandit2d.clouds import illustration, moving_clouds
from tests.report.builders import measured

TASK, PROBLEM = "collected-hopper-quickstart", "bandit-energy-moons"
OWN = SimpleNamespace(mean_score=66.6, episodes=60)


def summary(*cells, items=(), own=OWN):
    data = ReportData(measured=cells, illustrations=Illustrations(tuple(items)))
    return render(data, {TASK: own} if own else {}, {PROBLEM}).splitlines()


def method(name, *scores):
    return measured(TASK, scores, algorithm=name)


def test_a_demo_fits_80_columns():
    points = [illustration("srpo-points", PROBLEM, moving_clouds(seed=seed), seed) for seed in range(5)]
    cells = (
        measured(PROBLEM, (0.0,) * 5, algorithm="srpo-points"),
        method("bc", 60.0, 70.0, 75.0, 80.0, 90.0),
        *(method(name, 5.0, 6.0) for name in ("dtql", "srpo", "edp-td3", "bdpo")),
    )
    lines = summary(*cells, items=points)
    assert lines == [
        "SRPO Fig. 3 on bandit-energy-moons (5 seeds): 3 of 4 expectations hold",
        "  yes: points leave their targets as β falls: 0.33 at β=10 to 3.60 at β=0.01",
        "  no: at the lowest β points went to data nearby: moved 3.60; nearest data 2.12,",
        "    average data 3.68 away",
        "collected-hopper-quickstart: the data's own score is 66.6 (60 episodes)",
        "  bc: 75.0, 95 % interval 61.1 to 88.9 (5 seeds), level with the data",
        "  dtql, srpo, edp-td3, bdpo: a score of fewer than 3 seeds says nothing",
    ]
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("reduced", "seeds", "answer"),
    [((), "1 seed", "no"), (("budget 0.1",), "1 seed, reduced", "not at this size")],
)
def test_a_claim_that_does_not_hold_is_told_with_its_number(reduced, seeds, answer):
    lines = summary(items=[illustration("srpo-points", PROBLEM, moving_clouds(), reduced=reduced)])
    assert lines[0] == f"SRPO Fig. 3 on {PROBLEM} ({seeds}): 3 of 4 expectations hold"
    assert " ".join(lines[2:]).startswith(
        f"  {answer}: at the lowest β points went to data nearby: moved 3.60;"
    )


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ((80.0, 81.0, 82.0), "above the data"),
        ((50.0, 51.0, 52.0), "below the data"),
        ((60.0, 66.0, 72.0), "level with the data"),
    ],
)
def test_an_interval_is_held_against_the_datas_own_score(scores, words):
    assert summary(method("bc", *scores))[1].endswith(words)
    assert summary(method("bc", *scores), own=None)[0].endswith("the data's own score is not known here")
    assert summary(method("bc", *scores), own=None)[1].endswith("(3 seeds)")


def test_a_method_without_a_score_is_named():
    failed = measured(TASK, trials=(SeedScore(1, 0, "failed", None),), algorithm="bdpo")
    assert summary(failed)[1] == "  bdpo: a score of fewer than 3 seeds says nothing"


def test_an_empty_store():
    assert summary() == ["Nothing is measured yet."]
