"""How evaluations become the reported score, by hand."""

import pytest

from bench.errors import BenchError
from bench.evaluation.protocols import best_candidates, by_candidates, candidates_metric, reported_score

RISING = [float(score) for score in range(1, 13)]


@pytest.mark.parametrize(
    ("protocol", "scores", "expected"),
    [
        ("last", [3.0, 9.0, 5.0], 5.0),
        ("oms", [3.0, 9.0, 5.0], 9.0),
        ("rat", [3.0, 9.0, 5.0], None),
        ("rat", RISING[:9], None),
        ("rat", RISING[:10], 5.5),
        ("rat", RISING, 7.5),
        ("last", [-2.0], -2.0),
        ("oms", [-2.0, -7.0], -2.0),
        ("last", [], None),
        ("rat", [], None),
        ("oms", [], None),
        ("mean5", RISING[:4], None),
        ("mean5", RISING[:5], 3.0),
        ("mean5", RISING, 10.0),
        ("mean5", [], None),
        # What these choose by was not recorded.
        ("bc-select", RISING, None),
        ("last-bestN", RISING, None),
    ],
)
def test_scores(protocol, scores, expected):
    assert reported_score(protocol, scores) == expected


@pytest.mark.parametrize(
    ("losses", "rank", "taken"),
    [
        # Falling, as training mostly goes: the last evaluation has the smallest loss, the first the largest.
        ([0.9, 0.7, 0.6, 0.5], 0, 3),
        ([0.9, 0.7, 0.6, 0.5], 1, 2),
        ([0.9, 0.7, 0.6, 0.5], 3, 0),
        ([0.1, 0.2, 0.3], 1, 1),
        # Ranks of the losses are 2, 0, 1: the evaluation of rank 0 is number 1, yet number 2 is taken, the
        # rank of the loss of evaluation number 0.
        ([0.3, 0.1, 0.2], 0, 2),
        ([0.3, 0.1, 0.2], 1, 0),
        ([0.3, 0.1, 0.2], 2, 1),
        # More than there are: the largest loss that there is.
        ([0.3, 0.1, 0.2], 7, 1),
        ([0.4], 2, 0),
        # Alike: the earlier is the smaller.
        ([0.2, 0.2, 0.1], 0, 1),
        ([0.2, 0.2, 0.1], 1, 2),
    ],
)
def test_diffusion_ql_selects_by_the_inverse_permutation(losses, rank, taken):
    scores = [100.0 + number for number in range(len(losses))]
    metrics = [{"bc_loss": loss, "critic_loss": 1 / loss} for loss in losses]
    # The taken index is the one whose entry of the sorted indices is the rank, counted by hand.
    sorted_indices = sorted(range(len(losses)), key=lambda number: losses[number])
    assert sorted_indices.index(min(rank, len(losses) - 1)) == taken
    assert reported_score("bc-select", scores, metrics, rank) == scores[taken]


def test_without_a_rank_or_a_loss_of_each_evaluation_nothing_is_selected():
    whole, lacking = [{"bc_loss": 0.1}, {"bc_loss": 0.2}], [{"bc_loss": 0.1}, {"actor_loss": 0.2}]
    assert reported_score("bc-select", [1.0, 2.0], whole) is None
    assert reported_score("bc-select", [1.0, 2.0], lacking, 0) is None
    assert reported_score("bc-select", [], [], 0) is None
    assert reported_score("bc-select", [1.0, 2.0], whole, 0) == 1.0


def test_a_trial_alone_is_scored_with_its_own_best_number_of_candidates():
    metrics = [
        {candidates_metric(16): 99.0},
        {
            candidates_metric(16): 50.0,
            candidates_metric(128): 70.0,
            "score_of_candidates": 90.0,
            "loss": 80.0,
        },
    ]
    assert by_candidates(metrics[-1]) == {16: 50.0, 128: 70.0}
    assert reported_score("last-bestN", [1.0, 2.0], metrics) == 70.0


def test_seeds_share_the_number_of_candidates_that_is_best_on_average():
    assert best_candidates([{16: 10.0, 32: 20.0}, {16: 30.0, 32: 12.0}]) == 16
    # The highest of all, 90, is not common to both.
    assert best_candidates([{16: 10.0, 64: 20.0, 256: 90.0}, {16: 30.0, 64: 25.0}]) == 64
    assert best_candidates([{16: 10.0}, {32: 30.0}]) is None
    assert best_candidates([]) is None


def test_an_unknown_protocol_is_named():
    with pytest.raises(BenchError, match="unknown protocol 'best'"):
        reported_score("best", [1.0])
