"""The page on simulators says what the simulators say of themselves."""

from pathlib import Path
from typing import get_args

from bench.envs import ROBOTS
from bench.records import GoalRule

PAGE = (Path(__file__).parent.parent / "docs" / "simulators.md").read_text(encoding="utf-8")


def table(heading):
    lines = PAGE.partition(f"| {heading} |")[2].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_table_of_errors_is_that_of_the_proofs():
    told = {name: (int(steps), float(default), float(here)) for name, steps, default, here in table("robot")}
    proofs = {name: rules.proof for name, rules in ROBOTS.items() if name != "kitchen-mixed"}
    assert ROBOTS["kitchen-mixed"].proof == ROBOTS["kitchen"].proof
    assert told == {
        name: (proof.steps, proof.largest_by_default, proof.largest) for name, proof in proofs.items()
    }


def test_every_rule_of_goals_is_explained():
    assert {row[0].strip("`") for row in table("`evaluation.goals`")} == set(get_args(GoalRule))
