"""How evaluations become the reported score, by hand."""

import pytest

from bench.errors import BenchError
from bench.evaluation.protocols import reported_score

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
    ],
)
def test_scores(protocol, scores, expected):
    assert reported_score(protocol, scores) == expected


def test_an_unknown_protocol_is_named():
    with pytest.raises(BenchError, match="unknown protocol 'best'"):
        reported_score("best", [1.0])
