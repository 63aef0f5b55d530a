"""`bench list`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.catalog import load_catalog
from bench.cli.output import print_table
from bench.envs import ROBOTS

_ORIGINS = {"d4rl": "D4RL", "collected": "collected", "generated": "generated"}

app = typer.Typer(help="List algorithms, tasks, suites or tables.", no_args_is_help=True)


@app.command()
def algorithms() -> None:
    """List the methods that can be trained, with their variants."""
    from algorithms.registry import installed
    from bench.presets import ALIASES, algorithms_with_presets, tasks_of, title_of, variants_of

    rows = [
        (name, title_of(name), ", ".join(variants_of(name)), str(len(tasks_of(name))))
        for name in algorithms_with_presets()
    ]
    rows += [(alias.name, alias.meaning, "", "") for alias in ALIASES.values()]
    print_table(
        ("algorithm", "name", "variants", "tasks with a preset"), rows, right=("tasks with a preset",)
    )
    for problem in installed().problems:
        typer.echo(f"\nNot listed: {problem}")


@app.command()
def tasks(
    suite: Annotated[str | None, typer.Option("--suite", help="Only the tasks of this suite.")] = None,
) -> None:
    """List the tasks: dimensions, steps per episode, rows of the dataset, and how its simulator was proven.

    proof: the largest error of any position or velocity after one step, against recorded steps of the MuJoCo
    2.1.0 that made D4RL's data.
    """
    catalog = load_catalog()
    chosen = catalog.suite(suite).tasks if suite else catalog.tasks.values()
    rows = [
        (
            task.name,
            f"{task.observation_dim}/{task.action_dim}",
            str(task.horizon),
            f"{task.rows:,}" if task.rows else "unknown",
            _ORIGINS[task.dataset.source],
            _proof(task.environment),
        )
        for task in chosen
    ]
    columns = ("task", "obs/act", "steps", "rows", "data", "proof")
    print_table(columns, rows, right=("obs/act", "steps", "rows"))


def _proof(environment: str) -> str:
    if environment not in ROBOTS:
        return "a formula"
    proof = ROBOTS[environment].proof
    return f"{proof.largest:.0e} in {proof.steps} steps"


@app.command()
def suites() -> None:
    """List the suites."""
    rows = [
        (suite.name, str(len(suite.tasks)), suite.description) for suite in load_catalog().suites.values()
    ]
    print_table(("suite", "tasks", "what"), rows, right=("tasks",))


@app.command()
def tables() -> None:
    """List the tables that `bench report` makes, with the numbers that a paper prints in them."""
    from bench.report.bandit2d_table import TABLE_2D, TITLE
    from bench.report.paper import load_paper_tables
    from bench.report.score_tables import COMBINED, COMBINED_TITLE

    rows = []
    for table_id, paper in load_paper_tables().items():
        printed = sum(cell.mean is not None for cell in paper.rows)
        rows.append((table_id, f"{paper.info.paper}, {paper.info.label}", paper.info.title, str(printed)))
    rows += [(COMBINED, "", COMBINED_TITLE, ""), (TABLE_2D, "", TITLE, "")]
    print_table(("table", "printed as", "what", "numbers"), rows, right=("numbers",))
