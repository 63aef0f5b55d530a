"""Seeds of nights and baselines; the command that makes a baseline's trials; timings that are stored."""

import itertools
from datetime import date, timedelta
from inspect import signature

import pytest

from bench.cli.run import parse_seeds, request_of
from bench.execute.grid import plan_cells
from bench.nightly.canary import baseline_seeds, confirmation_seeds, night_seeds, run_command, seeds_text
from bench.nightly.config import MOST_SEEDS, Canary, load_nightly
from bench.store.nights import none_yet
from tests.commands import all_commands
from tests.nightly.tiny_nights import write_canary


def test_no_two_nights_share_a_seed_with_each_other_or_with_a_baseline():
    days = [date(2026, 2, 27) + timedelta(days=number) for number in range(400)]
    seeds = [
        set(of(day, MOST_SEEDS))
        for day in (*days, date(2099, 12, 31))
        for of in (night_seeds, confirmation_seeds)
    ]
    assert sum(map(len, seeds)) == len(set().union(*seeds)) == len(seeds) * MOST_SEEDS
    assert min(itertools.chain(*seeds)) > 10**9
    assert baseline_seeds(load_nightly()) == tuple(range(20))
    assert night_seeds(date(2026, 11, 21), 2) == (20261121000, 20261121001)
    assert confirmation_seeds(date(2026, 11, 21), 1) == (20261121500,)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2), (0, 2, 3, 7), (5, 4, 9)])
def test_seeds_are_written_as_they_are_typed(seeds):
    assert parse_seeds(seeds_text(seeds)) == tuple(sorted(seeds))


def parsed(command):
    """The cells and seeds that `bench run` would make of a command."""
    typed = all_commands()["run"].make_context("run", command.split()[2:]).params
    asked = {name: typed[name] for name in signature(request_of).parameters if name in typed}
    request, _ = request_of(**asked, changes=typed["set_"] or ())
    return plan_cells(request), request.seeds


@pytest.mark.parametrize(
    "canary",
    [
        None,
        {"tasks": ["hopper-medium-v2"], "algorithms": ["dtql"], "variant": "paper", "physics": "modern"},
        {"suite": "collected-locomotion", "algorithms": ["dtql", "bc"], "budget": 0.5, "episodes": 3},
        # A suite whose own defaults are another grid.
        {"suite": "quickstart", "algorithms": ["dtql"]},
    ],
)
def test_the_command_that_is_told_makes_the_canarys_own_cells(tmp_path, canary):
    file = load_nightly(None if canary is None else write_canary(tmp_path, canary=[canary]))
    cells = []
    for grid in file.settings.canary:
        made, seeds = parsed(run_command(grid, (0, 1, 2), "some.sqlite"))
        cells += made
        assert seeds == (0, 1, 2)
    assert tuple(cells) == file.cells


def test_a_command_names_its_store_and_asks_for_another_attempt_where_told():
    grid = Canary(tasks=("hopper-medium-v2",), algorithms=("bc",))
    command = run_command(grid, range(3), "my store.sqlite", retry=True)
    assert command.endswith("--retry failed --store 'my store.sqlite'")


def test_what_is_told_about_a_server_has_no_password_in_it():
    place = "postgresql://me:s3cret@host/name"
    grid = Canary(tasks=("hopper-medium-v2",), algorithms=("bc",))
    assert "s3cret" not in run_command(grid, (0,), place)
    assert "s3cret" not in str(none_yet(place).what)
