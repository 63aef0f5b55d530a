"""The comparison with other checkouts: it runs their code, and says what is wrong with a request."""

import json

import pytest

from benchmarks import checkouts
from benchmarks.checkouts import HERE, started

DTQL = """
class DTQL:
    def __init__(self, device, state_dim, action_dim, action_space, **values):
        assert (device, state_dim, action_dim, float(action_space.high[0])) == ("cpu", 11, 3, 1.0)
        print("authors print a lot")
        self.seen = []

    def train(self, replay_buffer, batch_size):
        self.seen.append(batch_size)
        with open("ran.txt", "w") as file:
            file.write(str(len(self.seen)))
"""
SAMPLER = """
class Data_Sampler:
    def __init__(self, data, device):
        assert data["observations"].shape[1] == 11
"""


@pytest.fixture
def theirs(tmp_path):
    """A checkout that looks like that of DTQL's authors."""
    for path, text in {"agents/dtql.py": DTQL, "utils/data_sampler.py": SAMPLER}.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    return tmp_path


def test_the_code_of_the_other_checkout_runs_as_often_as_asked(theirs):
    with started("theirs", "dtql", theirs, "dtql/train") as side:
        side.turn(2)
        side.turn(3)
    assert (theirs / "ran.txt").read_text() == "10"  # with a warm-up of 5
    assert len(side.paces) == 2 and side.starting > 0


def test_compiling_is_spread_over_a_run(theirs):
    with started("theirs", "dtql", theirs, "dtql/train") as side:
        side.starting, side.paces = 30.0, [2.0, 1.0, 5.0]
    assert side.compiling == 20  # five iterations of the warm-up at the middle pace
    assert side.rates() == (0.5, 1.0, 0.2)
    assert side.rates(10) == (1 / 4, 1 / 3, 1 / 7)


def test_every_phase_has_a_number_of_iterations():
    assert checkouts.iterations_of_a_run("bdpo/pretrain") == 2_000_000
    assert checkouts.iterations_of_a_run("srpo/critic") == 1_500_000


def test_two_checkouts_are_compared_by_turns_and_kept(tmp_path, capsys):
    record = tmp_path / "record.json"
    options = ["--commit", str(HERE), "--parts", "bc/train", "--iterations", "2", "--repeats", "1"]
    checkouts.main([*options, "--json", str(record)])
    (comparison,) = json.loads(record.read_text())["comparisons"]
    assert comparison["name"] == "bc/train beside the other commit"
    assert {side: len(rates) for side, rates in comparison["rates"].items()} == {
        "here": 1,
        "the other commit": 1,
    }
    assert "ratio" in capsys.readouterr().out


def test_what_the_other_code_lacks_is_told(tmp_path):
    with (
        pytest.raises(SystemExit, match=r"dtql in .*No module named 'agents'"),
        started("theirs", "dtql", tmp_path, "dtql/train"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name a checkout"),
        (["--dtql", "/nowhere"], "/nowhere is no folder"),
        (["--commit", ".", "--parts", "ppo/train"], "'ppo/train': there are bc/train"),
    ],
)
def test_a_wrong_request_is_told(options, said, capsys):
    with pytest.raises(SystemExit):
        checkouts.main(options)
    assert said in capsys.readouterr().err
