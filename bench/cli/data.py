"""`bench data list` and `info`: which datasets are there, what is known of them, and what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import typer

from bench.catalog import Task, load_catalog
from bench.cli.errors import show_error
from bench.cli.output import print_lines, print_table
from bench.data.folder import Entry, Ledger, data_folder, dataset_path
from bench.data.info import DatasetSummary, summarise
from bench.data.manifest import Manifest, load_manifest, verification_of
from bench.errors import BenchError, WorkFailedError, unknown_name
from bench.records import DatasetRecord

LICENCE = "CC BY 4.0"
"""Of all datasets of D4RL, as its README says; what is collected here belongs to whoever collected it."""
"""Of the data, as D4RL's README says; its code has another."""
SPREAD = "± is the standard deviation over whole episodes; score 0 is random, 100 expert."


def tasks_named(names: list[str]) -> list[Task]:
    """Tasks by their own names or those of suites, each once, in the order given.

    Raises
    ------
    BenchError : a name is neither a task nor a suite.
    """
    catalog = load_catalog()
    chosen: dict[str, Task] = {}
    for name in (part for argument in names for part in argument.split(",") if part):
        if name in catalog.suites:
            chosen |= {task.name: task for task in catalog.suites[name].tasks}
        elif name in catalog.tasks:
            chosen[name] = catalog.tasks[name]
        else:
            known = [*catalog.tasks, *catalog.suites]
            raise unknown_name("task or suite", name, known, "bench list tasks")
    return list(chosen.values())


def for_each(tasks: list[Task], action: Callable[[Task], None]) -> None:
    """Do `action` for every task; one that fails is told and does not keep the others from their turn."""
    if len(tasks) == 1:
        action(tasks[0])
        return
    failed = []
    for task in tasks:
        try:
            action(task)
        except BenchError as error:
            show_error(error)
            failed.append(task.name)
    if failed:
        raise WorkFailedError(f"{len(failed)} of {len(tasks)} failed", ", ".join(failed), "")


def megabytes(number: float) -> str:
    """`1,234.5 MB`, a file's size, from bytes."""
    return f"{number / 1e6:,.1f} MB"


def list_suites() -> None:
    """Say of every suite how many of its datasets are there, and what the others cost to get."""
    ledger, manifest, rows = Ledger(), load_manifest(), []
    catalog = load_catalog()
    groups = {name: suite.tasks for name, suite in catalog.suites.items()}
    listed = {task.name for tasks in groups.values() for task in tasks}
    if own := tuple(task for task in catalog.tasks.values() if task.foreign and task.name not in listed):
        groups["your own"] = own
    for name, tasks in groups.items():
        paths = {task.name: dataset_path(task) for task in tasks}
        there = [task for task in tasks if paths[task.name].is_file()]
        missing = [task for task in tasks if task not in there]
        contents = Counter(
            _content(task, ledger.known(paths[task.name]), manifest) or "not checked" for task in there
        )
        rows.append(
            (
                name,
                f"{len(there)} of {len(tasks)} there",
                megabytes(sum(paths[task.name].stat().st_size for task in there)) if there else "",
                ", ".join(f"{number} {what}" for what, number in contents.items()),
                _to_get(missing, manifest),
            )
        )
    print_table(("suite", "files", "size", "content", "to fetch"), rows, right=("size",))
    _tell_folder("`bench data list SUITE` or --all shows each file.", catalog.tasks.values())


def list_paths(names: list[str] | None) -> None:
    """List where each file lies or belongs."""
    print_table(("task", "file"), [(task.name, str(dataset_path(task))) for task in _tasks(names)])


def list_datasets(names: list[str] | None) -> None:
    """List the datasets one by one: whether they are there, their sizes, and what is known of them."""
    ledger, manifest, rows = Ledger(), load_manifest(), []
    tasks = _tasks(names)
    for task in tasks:
        path = dataset_path(task)
        there = path.is_file()
        entry = ledger.known(path) if there else None
        known = manifest.files.get(task.name)
        size = path.stat().st_size if there else known.bytes if known else None
        rows.append(
            (
                task.name,
                "" if size is None else megabytes(size),
                f"{entry.rows:,}" if entry and entry.rows else "",
                (_content(task, entry, manifest) or "not checked") if there else "missing",
                entry.replay if entry and entry.replay != "unverified" else "",
            )
        )
    print_table(("task", "size", "rows", "content", "replay"), rows, right=("size", "rows"))
    _tell_folder("--paths shows each file.", tasks)


def _tasks(names: list[str] | None) -> list[Task]:
    return tasks_named(names) if names else list(load_catalog().tasks.values())


def _to_get(missing: Sequence[Task], manifest: Manifest) -> str:
    """How much has to be fetched before the tasks can be trained on."""
    if not missing:
        return ""
    if any(task.added for task in missing):
        return "to add"
    known = [manifest.files[task.name].bytes for task in missing if task.name in manifest.files]
    if not known:
        return "made here"
    return f"{sum(known) / 1e9:.1f} GB"


def _tell_folder(further: str, tasks: Iterable[Task]) -> None:
    """Say where files lie, and under which licence those among them are that come from D4RL."""
    lines = [f"Folder: {data_folder()}. {further}"]
    if any(task.dataset.source == "d4rl" for task in tasks):
        lines.append(f"D4RL's files are licensed {LICENCE}.")
    print_lines(lines)


def info(names: list[str]) -> None:
    """Describe datasets: episodes, returns, lengths, normalised score."""
    summaries: list[DatasetSummary] = []
    tasks = tasks_named(names)
    try:
        for_each(tasks, lambda task: summaries.append(summarise(dataset_path(task), task)))
    finally:
        if len(tasks) == 1 and summaries:
            print_summary(summaries[0])
        elif summaries:
            _print_summaries(summaries)


def _content(task: Task, entry: Entry | None, manifest: Manifest) -> str:
    """What was found of a file; empty where nothing was."""
    if entry is None or entry.verification is None:
        return ""
    # An older ledger, or one that somebody edited, may call another file verified.
    record = DatasetRecord(task.name, entry.sha256, entry.rows or 0, entry.verification, entry.replay)
    return verification_of(record, manifest)


def print_summary(found: DatasetSummary) -> None:
    """Describe one dataset."""
    rows = [
        ("rows", f"{found.rows:,}"),
        ("layout", found.layout),
        ("kept for training", f"{found.transitions:,}"),
        ("terminals", f"{found.terminals:,}"),
    ]
    if not found.in_order:
        print_table((found.task, ""), rows, right=("",))
        print_lines(["The rows do not follow one another: nothing is known of episodes and their returns."])
        return
    rows += [
        ("cut off", f"{found.timeouts:,}"),
        ("whole episodes", f"{found.episodes:,}"),
        ("steps per episode", f"{found.mean_length:.1f}"),
        ("return", f"{_return(found.mean_return, 1)} ± {_return(found.return_deviation, 1)}"),
        ("lowest, highest", f"{_return(found.lowest_return, 1)}, {_return(found.highest_return, 1)}"),
        ("normalised score", f"{found.mean_score:.1f} ± {found.score_deviation:.1f}"),
        *([("jumps across the maze", f"{found.jumps:,}")] if found.jumps is not None else []),
        ("physics", found.physics or "not stated"),
    ]
    print_table((found.task, ""), rows, right=("",))
    typer.echo(SPREAD)


def _print_summaries(summaries: list[DatasetSummary]) -> None:
    rows = [
        (
            found.task,
            f"{found.episodes:,}",
            f"{found.mean_length:.0f}",
            f"{_return(found.mean_return)} ± {_return(found.return_deviation)}",
            f"{found.mean_score:.1f} ± {found.score_deviation:.1f}",
        )
        for found in summaries
    ]
    columns = ("task", "eps.", "steps", "return", "score")
    print_table(columns, rows, right=columns[1:])
    typer.echo(SPREAD)


def _return(value: float, decimals: int = 0) -> str:
    # The 2D problems earn 1 or so in an episode; robots earn thousands.
    return f"{value:.{decimals if abs(value) >= 10 else 2}f}"
