"""A domain is its robots and its entries in tasks.yaml: commands and tables learn of it from there."""

from dataclasses import replace

import pytest

from bench.catalog import shipped_domains
from bench.data.folder import dataset_path
from bench.envs import ROBOTS
from bench.envs.rules import Proof, Robot
from bench.report.combined_table import combined_table
from bench.report.paper import load_paper_tables
from bench.resources import resource
from tests.data.files import columns, hopper, write

DOMAIN = "  toys: {title: Toys, versions_differ: true, succeeds_or_fails: true}\n"
ENVIRONMENT = """  toy:
    domain: toys
    observation_dim: 11
    action_dim: 3
    action_bound: 1.0
    horizon: 20
    reference: {random: 0.0, expert: 200.0}
    physics: d4rl
"""
TASK = """  toy-medium-v7:
    environment: toy
    version: 1
    dataset: {source: d4rl, url: "http://example.org/toy_medium-v7.hdf5", rows: null}
"""


class Toy(Robot):
    """Its files hold a tenth of what its environment pays, and terminals that end nothing."""

    def load_model(self, physics):
        raise NotImplementedError

    begin = observe = control = outcome = recorded_outcome = observed_between = load_model

    def misfit(self, observations):
        return ""

    def earned(self, returns, largest):
        return 10 * returns

    def jumps(self, observations, next_observations):
        return 7


@pytest.fixture
def toys(tmp_path, monkeypatch):
    text = resource("tasks.yaml").read_text()
    for section, entry in (("environments", DOMAIN), ("tasks", ENVIRONMENT), ("suites", TASK)):
        before, after = text.split(f"\n{section}:\n")
        text = f"{before.rstrip()}\n{entry}\n{section}:\n{after}"
    path = tmp_path / "tasks.yaml"
    path.write_text(text)
    monkeypatch.setattr("bench.catalog.resource", lambda name: path)
    proof = Proof(("toy",), steps=123, largest=1e-9, largest_by_default=1.0)
    robot = Toy(horizon=20, frame_skip=1, proof=proof, physics=("d4rl",), terminals_end=False)
    monkeypatch.setitem(ROBOTS, "toy", robot)
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    shipped_domains.cache_clear()
    yield
    shipped_domains.cache_clear()


def test_its_tasks_are_listed_with_how_its_simulator_was_proven(bench, toys):
    code, out, _ = bench("list", "tasks")
    (line,) = (line for line in out.splitlines() if line.startswith("toy-medium-v7"))
    assert (code, line.split()) == (
        0,
        ["toy-medium-v7", "11/3", "20", "unknown", "D4RL", "1e-09", "in", "123", "steps"],
    )


def test_its_data_is_described_as_its_robot_says(bench, toys, tmp_path):
    content = columns()
    content["rewards"][:] = 1.0
    write(dataset_path(replace(hopper(), dataset=replace_url())), content)
    code, out, _ = bench("data", "info", "toy-medium-v7")
    told = {line[:22].strip(): line[22:].strip() for line in out.splitlines()}
    assert code == 0
    # Both episodes have twenty steps, for their terminals end nothing; of a step the environment pays 10.
    assert told["whole episodes"] == "2"
    assert told["return"].startswith("20.0")
    assert told["normalised score"].startswith("100.0")
    assert told["jumps across the maze"] == "7"


def replace_url():
    return hopper().dataset.model_copy(update={"url": "http://example.org/toy_medium-v7.hdf5"})


def test_a_table_has_its_heading_after_the_others(toys):
    papers = load_paper_tables()
    rows = papers["dtql-1"].rows
    first = next(cell for cell in rows if cell.method == "DTQL")
    toy = replace(first, domain="toys", task="toy-medium-v7")
    papers["dtql-1"] = replace(papers["dtql-1"], rows=(toy, *rows))
    table = combined_table(papers, [], {})
    assert [block.title for block in table.blocks][-2:] == ["Kitchen", "Toys-v7"]
    assert toy.succeeds_or_fails
    assert not first.succeeds_or_fails


def test_without_a_robot_its_tasks_cannot_be_simulated(bench, toys, monkeypatch):
    monkeypatch.delitem(ROBOTS, "toy")
    write(dataset_path(replace(hopper(), dataset=replace_url())), columns())
    code, _, err = bench("data", "info", "toy-medium-v7")
    assert code == 2
    assert "unknown simulator 'toy'" in err
