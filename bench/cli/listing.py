"""`bench list` and `bench show`: what can be run, and every hyper-parameter of a method on a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from algorithms.registry import GROUPS, installed, method
from bench.catalog import Task, load_catalog
from bench.cli.output import print_lines, print_table, value_text
from bench.envs import ROBOTS
from bench.presets import (
    ALIASES,
    Preset,
    Setting,
    algorithms_with_presets,
    explanations,
    hyperparameter_docs,
    load_preset,
    method_on,
    tasks_of,
    title_of,
    variants_in_words,
    variants_of,
)

DIFFERS = "≠"
_ORIGINS = {"d4rl": "D4RL", "collected": "collected", "generated": "generated", "added": "your own"}
_EVALUATION_DOCS = {
    "transitions": "rows of the file that are trained on: D4RL's, or also terminal ones marked as cut",
    "reward_transform": "applied to the dataset's rewards before training",
    "evaluation interval": "iterations between evaluations",
    "evaluation episodes": "episodes per evaluation",
    "protocol": "how evaluations become the reported score",
    "selected rank": "of the behaviour-cloning loss by which bc-select chooses; 0 is the smallest (top_k)",
    "goals": "one goal for each; drawn when an environment is made",
}


# bench list


def list_algorithms() -> None:
    """List the methods that can be trained, with their variants."""
    rows = [
        (name, title_of(name), variants_in_words(name), str(len(tasks_of(name))))
        for name in algorithms_with_presets()
    ]
    rows += [(alias.name, alias.meaning, "", "") for alias in ALIASES.values()]
    rows += [(name, meaning, "", "") for name, meaning in GROUPS.items()]
    print_table(
        ("algorithm", "name", "variants", "tasks with a preset"), rows, right=("tasks with a preset",)
    )
    for problem in installed().problems:
        typer.echo()
        print_lines([f"Not listed: {problem}"])


def list_tasks(suite: str | None) -> None:
    """List the tasks: dimensions, steps per episode, rows of the dataset, and how its simulator was proven.

    proof: the largest error of any position or velocity after one step, against recorded steps of the MuJoCo
    2.1.0 that made D4RL's data.
    """
    catalog = load_catalog()
    groups = [catalog.suite(suite)] if suite else list(catalog.suites.values())
    listed: set[str] = set()
    for number, group in enumerate(groups):
        if number:
            typer.echo()
        if not suite:
            print_lines([f"{group.name}: {group.description}"])
        # A task of several suites stands in the first.
        _list_tasks([task for task in group.tasks if suite or task.name not in listed])
        listed |= {task.name for task in group.tasks}
    rest = [] if suite else [task for name, task in catalog.tasks.items() if name not in listed]
    for heading, foreign in (("Of no suite:", False), ("Your own, of no suite:", True)):
        if others := [task for task in rest if task.foreign == foreign]:
            typer.echo(f"\n{heading}")
            _list_tasks(others)


def _list_tasks(tasks: Sequence[Task]) -> None:
    rows = [
        (
            task.name,
            f"{task.observation_dim}/{task.action_dim}",
            str(task.horizon),
            f"{task.rows:,}" if task.rows else "unknown",
            _ORIGINS[task.dataset.source],
            _proof(task.environment),
        )
        for task in tasks
    ]
    columns = ("task", "obs/act", "steps", "rows", "data", "proof")
    print_table(columns, rows, right=("obs/act", "steps", "rows"))


def _proof(environment: str) -> str:
    if environment not in ROBOTS:
        return "a formula"
    proof = ROBOTS[environment].proof
    return f"{proof.largest:.0e} in {proof.steps} steps"


def list_suites() -> None:
    """List the suites."""
    rows = [
        (suite.name, str(len(suite.tasks)), suite.description) for suite in load_catalog().suites.values()
    ]
    print_table(("suite", "tasks", "what"), rows, right=("tasks",))


def list_tables() -> None:
    """List the tables that `bench report` makes, with the numbers that a paper prints in them."""
    from bench.report.bandit2d_table import TABLE_2D, TITLE
    from bench.report.combined_table import COMBINED, COMBINED_TITLE
    from bench.report.paper import load_paper_tables

    rows = []
    for table_id, paper in load_paper_tables().items():
        printed = sum(cell.mean is not None for cell in paper.rows)
        rows.append((table_id, f"{paper.info.paper}, {paper.info.label}", paper.info.title, str(printed)))
    rows += [(COMBINED, "", COMBINED_TITLE, ""), (TABLE_2D, "", TITLE, "")]
    print_table(("table", "printed as", "what", "numbers"), rows, right=("numbers",))


# bench show


def show(algorithm: str, task: str, preset_of: str | None) -> None:
    """Show every hyper-parameter of a method on a task: value per variant, unit, meaning and source."""
    catalog = load_catalog()
    chosen = catalog.following(catalog.task(task), preset_of)
    print_lines(explanations([algorithm]))
    algorithm = method_on(algorithm, chosen.domain)
    presets = {variant: load_preset(algorithm, chosen, variant) for variant in variants_of(algorithm)}
    docs = hyperparameter_docs(algorithm)
    settings = {variant: _settings(preset, docs) for variant, preset in presets.items()}
    by_name = {name: [of[name] for of in settings.values()] for name in next(iter(settings.values()))}
    differing = [name for name, of in by_name.items() if len({setting.value for setting in of}) > 1]
    docs = {**docs, **_EVALUATION_DOCS}
    _show_heading(algorithm, chosen)
    print_table(
        ("name", *settings, "", "unit; meaning [source]"),
        [_row(name, of, name in differing, docs.get(name, "")) for name, of in by_name.items()],
        right=tuple(settings),
        narrow=tuple(settings),
    )
    if len(settings) == 1:
        typer.echo("\nThere is one variant.")
    else:
        typer.echo()
        print_lines([f"{DIFFERS} the variants differ: {', '.join(differing) or 'nowhere on this task'}."])


def _show_heading(algorithm: str, task: Task) -> None:
    """Where the method comes from, what the task is, and what shows that its simulator made the data."""
    declared = method(algorithm)
    typer.echo(f"{declared.title} on {task.name}")
    print_lines([f"Paper: {declared.paper}."] if declared.paper else [])
    print_lines([f"Code: {code}." for code in declared.code])
    if task.twin_of:
        typer.echo(f"Data collected here; the preset is that of {task.twin_of}.")
    elif task.preset_of:
        typer.echo(f"A task of your own, on {task.environment}; the preset is that of {task.preset_of}.")
    dimensions = f"{task.observation_dim} observations, {task.action_dim} actions"
    typer.echo(f"{dimensions}, at most {task.horizon} steps per episode.")
    if task.environment in ROBOTS:
        proof = ROBOTS[task.environment].proof
        here, default = f"{proof.largest:.0e}", f"{proof.largest_by_default:.2g}"
        typer.echo(f"Held against {proof.steps} steps of the MuJoCo 2.1.0 that made D4RL's data,")
        typer.echo(f"the simulator is off by {here} at most, today's MuJoCo as it comes by {default}.")
    typer.echo()


def _row(name: str, of: Sequence[Setting], differs: bool, meaning: str) -> Sequence[str]:
    """A setting in all variants, in the order of the columns; its sources, one where all variants agree."""
    sources = " / ".join(dict.fromkeys(setting.source for setting in of))
    values = (value_text(setting.value) for setting in of)
    return (name, *values, DIFFERS if differs else "", f"{meaning}\n[{sources}]")


def _settings(preset: Preset, docs: Mapping[str, str]) -> dict[str, Setting]:
    """All settings of a preset by the name they are shown under, in the order of the configuration."""
    names = [name for name in docs if name in preset.hyperparameters]
    names += [name for name in preset.hyperparameters if name not in docs]
    evaluation = {
        shown: Setting(value=getattr(preset.evaluation, field), source=preset.evaluation.sources[field])
        for shown, field in (
            ("evaluation interval", "interval"),
            ("evaluation episodes", "episodes"),
            ("protocol", "protocol"),
            ("selected rank", "selected_rank"),
            ("goals", "goals"),
        )
        if getattr(preset.evaluation, field) is not None
    }
    chosen = {name: preset.hyperparameters[name] for name in names}
    data = {
        "precision": preset.precision,
        "transitions": preset.transitions,
        "reward_transform": preset.reward_transform,
    }
    return {**chosen, **data, **evaluation}
