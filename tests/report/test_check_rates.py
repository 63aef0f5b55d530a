"""`bench check` on studies whose truth is known: what is planted is found and nothing else, at stated rates.

Rates of a simulation are held to what they state by the binomial distribution: a true rate of 5 % goes beyond
`most` once in a thousand runs. `python -m benchmarks.verdict_rates` prints all of them.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from bench.cli import main
from bench.evaluation.protocols import reported_score
from bench.report.verdicts import judge
from benchmarks.synthetic_study import Design, evaluations_of
from benchmarks.verdict_rates import (
    ANY_WRONG,
    CELLS,
    DEVIATES,
    FOUND,
    NOT_REPRODUCED,
    REPRODUCED,
    SPREADS,
    SUITES,
    Setting,
    repeated,
    wrong_cells,
    wrong_suites,
)
from tests.report.synthetic import refill, write_store

STATED = 0.05
REPETITIONS = 200
EVERY_FOUND = {"std over seeds": 0.95, "none": 0.95, "pooled SE": 0.65}
"""Share of deviations of 6 standard deviations that ten seeds find at least; under a pooled error the paper's
few seeds leave four degrees of freedom."""
FIVE_FIND = {"std over seeds": 0.8, "none": 0.5, "pooled SE": 0.45}


def at_most_stated(tally, what, kind, among=1):
    """Whether a rate is 5 % or less; `among` so many that are asked of."""
    hits, cases = tally.hits[what, kind], tally.cases[what, kind]
    return cases > 0 and hits <= binom.ppf(1 - 0.001 / among, cases, STATED)


@pytest.fixture(scope="module")
def setting():
    return Setting.load()


@pytest.fixture(scope="module")
def locomotion(setting):
    """The nine tasks of all four papers alone, so that a store is written in seconds."""
    return replace(setting, cells=tuple(c for c in setting.cells if c.printed.domain == "locomotion"))


# The rates


def test_planted_deviations_are_found_and_nothing_else(setting):
    """The papers' means are the truth; six cells a check lie 6 standard deviations beyond their margins."""
    tally = repeated(setting, Design(seeds=10, printed_anew=False), REPETITIONS, deviations=6)
    for kind in SPREADS:
        assert tally.cases[FOUND, kind] == 2 * REPETITIONS
        assert tally.rate(FOUND, kind) >= EVERY_FOUND[kind]
    assert tally.cases[ANY_WRONG, CELLS] == REPETITIONS
    assert tally.hits[ANY_WRONG, CELLS] == 0


@pytest.mark.slow
def test_with_all_other_cells_at_their_margins_errors_stay_at_the_stated_rates(setting):
    """What the papers print is drawn as our seeds are, and the truth is the least favourable one."""
    tally = repeated(setting, Design(others=1.0), REPETITIONS, deviations=6)
    assert at_most_stated(tally, ANY_WRONG, CELLS)
    assert at_most_stated(tally, ANY_WRONG, SUITES)
    for kind in SPREADS:
        assert at_most_stated(tally, REPRODUCED, kind)
        assert tally.rate(FOUND, kind) >= FIVE_FIND[kind]
    for cell in setting.cells:
        assert at_most_stated(tally, REPRODUCED, cell.id, len(setting.cells))


def test_with_every_suite_at_its_margin_errors_stay_at_the_stated_rates(setting):
    tally = repeated(setting, Design(lower=setting.margins.suite.points), REPETITIONS // 2)
    assert at_most_stated(tally, ANY_WRONG, SUITES)
    assert at_most_stated(tally, REPRODUCED, SUITES)


def test_what_is_exactly_the_papers_is_never_called_different_and_often_reproduced(setting):
    tally = repeated(setting, Design(), 40)
    assert tally.hits[ANY_WRONG, CELLS] == tally.hits[ANY_WRONG, SUITES] == 0
    for kind in SPREADS:
        assert tally.hits[NOT_REPRODUCED, kind] == 0
        assert tally.rate(REPRODUCED, kind) > 0.35


@pytest.mark.slow
@pytest.mark.parametrize("times", [0.5, 2.0])
def test_the_rates_hold_where_the_papers_seeds_vary_less_or_more_than_ours(setting, times):
    tally = repeated(setting, Design(others=1.0, papers_vary=times), REPETITIONS, deviations=6)
    assert at_most_stated(tally, ANY_WRONG, CELLS)
    assert at_most_stated(tally, REPRODUCED, "std over seeds")
    assert at_most_stated(tally, REPRODUCED, "pooled SE")
    # Nobody can tell from a mean alone that the paper's seeds varied more; the verdicts say what they assume.
    assert at_most_stated(tally, REPRODUCED, "none") == (times < 1)
    assert tally.rate(REPRODUCED, "none") < 0.1


# `bench check` itself


def command(capsys, *arguments):
    """Exit code and JSON of a command line."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code, json.loads(capsys.readouterr().out)


def one_study(setting, repetition, **design):
    random = np.random.default_rng([1, repetition])
    planted = setting.planted(6, random)
    return planted, setting.study(Design(printed_anew=False, planted=planted, **design), random)


def check_stores(setting, path, repetitions, capsys):
    """Check one store after another by the command; return (planted, found) over all of them."""
    planted_all = found_all = 0
    for repetition in range(repetitions):
        planted, study = one_study(setting, repetition)
        refill(path, study, setting.catalog) if path.exists() else write_store(path, study, setting.catalog)
        code, told = command(capsys, "check", "--store", path, "--format", "json")
        truth = judge(study.data, setting.margins)
        assert not wrong_cells(study, truth) and not wrong_suites(setting, study, truth)
        outcomes = {verdict["id"]: verdict["outcome"] for verdict in told["cells"]}
        assert outcomes == {verdict.id: verdict.outcome for verdict in truth.cells}
        assert {suite["id"]: suite["outcome"] for suite in told["suites"]} == {
            suite.id: suite.outcome for suite in truth.suites
        }
        assert code == truth.failed()
        found = {key for key in planted if outcomes["/".join(key[1:])] in DEVIATES}
        planted_all, found_all = planted_all + len(planted), found_all + len(found)
    return planted_all, found_all


def test_the_command_finds_in_real_stores_what_is_planted(locomotion, tmp_path, capsys):
    planted, found = check_stores(locomotion, tmp_path / "bench.sqlite", 3, capsys)
    assert planted == 18
    assert found >= 0.6 * planted


@pytest.mark.slow
def test_the_command_finds_in_two_hundred_real_stores_what_is_planted_and_nothing_else(
    locomotion, tmp_path, capsys
):
    planted, found = check_stores(locomotion, tmp_path / "bench.sqlite", REPETITIONS, capsys)
    assert planted == 6 * REPETITIONS
    assert found >= 0.7 * planted


# The generator


CELLS_OF_EACH_KIND = (
    "dtql/hopper-medium-v2/last",
    "dtql/antmaze-umaze-v0/last",
    "bdpo/antmaze-umaze-v0/last",
    "edp-iql/antmaze-large-play-v0/rat",
)


@pytest.mark.parametrize("name", CELLS_OF_EACH_KIND)
def test_seeds_come_from_the_population_that_is_stated(setting, name):
    (cell,) = [cell for cell in setting.cells if cell.id == name]
    drawn = cell.population.draw(np.random.default_rng(0), 40_000, cell.episodes).mean(axis=1)
    assert drawn.mean() == pytest.approx(cell.printed.mean, abs=4 * cell.deviation / 200)
    assert drawn.std() == pytest.approx(cell.deviation, rel=0.05)


def test_a_planted_cell_lies_so_far_beyond_its_margin_and_no_other_moves(setting):
    planted, study = one_study(setting, 0)
    assert {np.sign(side) for side in planted.values()} == {-1, 1} and len(planted) == 6
    for cell in setting.cells:
        expected = 0.0
        if cell.key in planted:
            margin = max(5, 2 * cell.printed.spread if cell.spread == "std over seeds" else 0)
            expected = np.sign(planted[cell.key]) * (margin + 6 * cell.deviation)
        assert study.differences[cell.key] == pytest.approx(expected)
        if cell.oracle is not None:
            assert study.differences[cell.oracle[0]] == study.differences[cell.key]


def test_printed_numbers_that_are_drawn_anew_vary_as_seeds_do(setting):
    (place,) = [
        at for at, cell in enumerate(setting.cells) if cell.id == "srpo/walker2d-medium-replay-v2/last"
    ]
    cell = setting.cells[place]
    alone = replace(setting, cells=(cell,))
    random = np.random.default_rng(0)
    for times in (1.0, 2.0):
        drawn = [alone.study(Design(papers_vary=times), random).printed[cell.key][1] for _ in range(2000)]
        means, spreads = np.array([one.mean for one in drawn]), np.array([one.spread for one in drawn])
        assert means.mean() == pytest.approx(84.6, abs=0.5)
        assert means.std() == pytest.approx(times * 7.1 / 6**0.5, rel=0.06)
        assert (spreads**2).mean() == pytest.approx((times * 7.1) ** 2 * 5 / 6, rel=0.06)
        assert all(one.printed == f"{one.mean:.1f}" for one in drawn)


def test_trials_score_what_their_evaluations_say_under_both_protocols(setting):
    study = setting.study(Design(printed_anew=False), np.random.default_rng(0))
    seen = set()
    for entry in study.data.measured:
        for trial in entry.trials:
            means = [
                np.mean(scores) for scores in evaluations_of(trial, study.data.final_episodes[trial.trial_id])
            ]
            assert reported_score(entry.protocol, means) == pytest.approx(trial.score)
            key = next(
                key for key in study.printed if key[1:] == (entry.algorithm, entry.task, entry.protocol)
            )
            best = (*key[:3], "oms")
            if best in study.printed:
                gap = study.printed[best][1].mean - study.printed[key][1].mean
                assert reported_score("oms", means) == pytest.approx(trial.score + gap)
                seen.add(entry.algorithm)
    assert seen == {"edp-td3", "edp-iql"}
