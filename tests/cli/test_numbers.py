"""Every number that a command takes has bounds, and what lies beyond them is a sentence."""

import math
from typing import get_args, get_origin, get_type_hints

import pytest
import typer

from bench.cli.run import parse_changes, parse_seeds, request_of
from bench.errors import BenchError
from tests.commands import leaves

GRID = ("--tasks", "hopper-medium-v2", "--algos", "bc", "--dry-run")
SEARCH = ("bc", "collected-hopper-quickstart", "--space", "learning_rate=loguniform(1e-4,1e-3)")


def numbers():
    for path, command in leaves().items():
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            kinds = [get_args(hint)[0]] if get_origin(hint) is not None and name != "return" else []
            kinds = [one for kind in kinds for one in (get_args(kind) or (kind,)) if one in (int, float)]
            if kinds:
                yield pytest.param(hint.__metadata__[0], id=f"{path} {name}")


@pytest.mark.parametrize("option", list(numbers()))
def test_every_number_has_bounds(option):
    if "step count" in option.help:  # the grid says what a budget is, see below
        return
    for value in (-1, 2**63, 10**400, math.nan, math.inf, -math.inf):
        with pytest.raises(typer.BadParameter):
            option.callback(value)


def test_there_are_numbers():
    assert len(list(numbers())) > 20


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "-1", "0", "1e400", "1e-400", "1.5", "x", "9" * 5000]
)
@pytest.mark.parametrize("command", [("run", *GRID), ("tune", *SEARCH)], ids=["run", "tune"])
def test_a_budget_out_of_range_is_a_sentence(bench, command, value):
    code, out, err = bench(*command, f"--budget={value}")
    assert (code, out) == (2, "")
    assert "budget" in err
    assert len(err) < 1000


@pytest.mark.parametrize("option", ["--gpus-per-stack", "--checkpoint-seconds", "--evals", "--episodes"])
@pytest.mark.parametrize("value", ["nan", "-1", "inf", "1" + "0" * 30, "9" * 5000, ""])
def test_an_option_out_of_range_is_a_sentence(bench, option, value):
    code, out, err = bench("run", *GRID, f"{option}={value}")
    assert (code, out) == (2, "")
    assert option in err
    assert len(err) < 1000


@pytest.mark.parametrize("trial", ["0", str(2**63), "9" * 30, "x", ""])
def test_a_trial_out_of_range_is_a_sentence(bench, trial):
    code, out, _ = bench("explain", trial)
    assert (code, out) == (2, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5-3",
        "0..4",
        "0-1000000000000",
        "9" * 5000,
        str(2**63),
        "-1",
        "1,,2",
        "0-9999,20000",
        "x" * 100_000,
        "1.5",
    ],
)
def test_seeds_out_of_range_are_a_short_sentence(text):
    with pytest.raises(BenchError) as refused:
        parse_seeds(text)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("typed", ["0..4", "0...4", "0:4", "0\N{EN DASH}4", "0 to 4"])
def test_a_range_as_others_write_it_is_answered_with_ours(typed):
    with pytest.raises(BenchError) as refused:
        parse_seeds(typed)
    assert refused.value.do_this == "Write 0-4."


def test_one_number_is_one_seed_and_that_is_said(capsys):
    asked, _ = request_of(tasks="hopper-medium-v2", algos="bc", seeds="5")
    assert asked.seeds == (5,)
    assert capsys.readouterr().out == "Seed 5 alone; for 5 seeds write --seeds 0-4.\n"


def test_the_largest_seeds_are_taken():
    assert parse_seeds(f"{2**63 - 1},0-2") == (0, 1, 2, 2**63 - 1)


@pytest.mark.parametrize(
    "text",
    ["", "=1", " =1", "x=", "x=[1]", "x={a: 1}", "x=*a", "x=!!python/object:os.system y", "x=2024-99-99: 1",
     "x=.nan", "x=1e400", "x=1:30", "x=" + "9" * 10_000, "x" * 100_000, "x=\x1b", "x=a: b"],
)  # fmt: skip
def test_a_change_that_is_no_plain_value_is_a_short_sentence(text):
    with pytest.raises(BenchError) as refused:
        parse_changes([text])
    assert refused.value.what.startswith("--set ")
    assert len(str(refused.value)) < 900


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("256", 256), ("no", False), ("a=b", "a=b")])
def test_a_plain_value_is_taken(text, value):
    assert parse_changes([f"x={text}"]) == {"x": value}


def test_several_changes_stand_in_one_list_as_tasks_and_seeds_do():
    found = parse_changes(["dql.eta=0.5,width=64", " tau = 0.01 "])
    assert found == {"dql.eta": 0.5, "width": 64, "tau": 0.01}
    with pytest.raises(BenchError) as refused:
        parse_changes(["tau=0,005"])
    assert (refused.value.what, refused.value.why) == ("--set 005", "It is not of the form name=value.")


def test_more_evaluations_than_a_memory_holds_are_refused_before_they_are_listed(bench):
    code, _, err = bench("run", *GRID, "--budget", "1e-6", "--set", "train_iterations=1000000000")
    assert code == 2
    assert "1,000,000,000 evaluations of one trial" in err


@pytest.mark.parametrize(
    "change", ["train_iterations=1000000000000", "train_iterations=0", "batch_size=1e30"]
)
def test_a_step_count_out_of_range_is_a_sentence(bench, change):
    code, out, err = bench("run", *GRID, "--set", change)
    assert (code, out) == (2, "")
    assert "--set" in err
