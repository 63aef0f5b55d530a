"""Takes in a dataset of the user's own: checked, kept by its content, and entered in the user's catalogue.

The file is copied into the data folder under its SHA-256, so that whatever becomes of the one it was added
from, scores stay those of a file that can be looked at. The entry is text put into the catalogue between what
stands there, whose comments stay; what it becomes is read again before the catalogue is replaced.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.catalog import (
    AddedDataset,
    Catalog,
    ReferenceScores,
    Task,
    TaskEntry,
    load_catalog,
    no_preset_of,
    task_of,
)
from bench.data.dataset import rows_in_order
from bench.data.folder import by_hash, data_folder
from bench.data.hdf5 import DatasetFile, opened, sha256_of_file
from bench.data.info import DatasetSummary, summarise
from bench.data.minari import SCHEME, convert, file_of, is_minari
from bench.data.reader import read_rows
from bench.data.verify import dataset_record
from bench.envs import ROBOTS
from bench.errors import BenchError
from bench.files import sha256_of, typed_path, write_text, written_whole
from bench.resources import OWN_FILE, TASKS_VARIABLE, own_tasks_file, resource
from bench.store.process_lock import locked
from bench.visible_text import quoted, shortened
from bench.yaml_lines import LinedYaml, load_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_LONGEST = 160
_HEAD = "# Your own tasks and suites. `bench data add` writes entries here; what else stands here stays.\n"
_INDENT = "  "


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None leaves it as an entry of this name has it, or else to the environment."""

    name: str
    environment: str | None = None
    reference: ReferenceScores | None = None
    preset_of: str | None = None


@dataclass(frozen=True)
class Added:
    """A dataset of the user's own that is ready for `bench run`."""

    task: Task
    path: Path
    """Its copy in the data folder."""
    catalogue: Path
    is_new: bool
    """Whether the entry was written now; otherwise it stood there."""
    summary: DatasetSummary
    made_in: str | None
    """The environment that a Minari set names."""
    empty: int
    """Episodes of a Minari set that had no step."""


def add(given: str, wanted: Wanted, *, replace: bool = False) -> Added:
    """Check a file, or a Minari set (`minari:NAME`), keep a copy, and enter it as a task.

    The same again changes nothing; it puts the copy back where that is missing.

    Parameters
    ----------
    replace : take this one in the place of another that has the name.

    Raises
    ------
    BenchError : a name is unknown or taken, or the content is none that the environment can have made.
    """
    catalogue = _catalogue()
    catalog = load_catalog() if catalogue.is_file() else load_catalog(resource("tasks.yaml"))
    before = _standing(wanted.name, catalog)
    probe = _entry(wanted, before, catalog)
    if problem := no_preset_of(task_of(wanted.name, probe, catalog.environments), catalog.tasks):
        what = f"--preset-of {probe.preset_of} for {wanted.name}"
        raise BenchError(what, f"{problem}.", "`bench list tasks` shows the others.")
    absent = f"There is no file {quoted(shortened(given, _LONGEST))}."
    with _ready(given) as source, opened(source.path, _remedy(given), absent) as file:
        if source.converted:
            file.path = Path(given)  # for messages: what it was converted to will not be there to look at
        elif is_minari(file):
            raise _minari_set(file)
        entry = _with_content(probe, file, source.origin, wanted.name, catalog)
        same = before is not None and _is_same(before, task_of(wanted.name, entry, catalog.environments))
        if before is not None and not same and not replace:
            raise _taken(before, entry, given)
        kept = _kept(file)
    if not same:
        _write(catalogue, wanted.name, entry)
    task = load_catalog().task(wanted.name)
    dataset_record(task, kept)  # noted in the folder's ledger, for lists
    return Added(task, kept, catalogue, not same, summarise(kept, task), source.made_in, source.empty)


# What is asked for


def _catalogue() -> Path:
    path = own_tasks_file()
    if path is not None:
        return path
    raise BenchError(
        "there is no catalogue to enter it in",
        f"{TASKS_VARIABLE} is set to nothing, or the {OWN_FILE} of this folder is that of bench itself.",
        f"Type {TASKS_VARIABLE}=FILE before the command, or go to another folder.",
    )


def _standing(name: str, catalog: Catalog) -> Task | None:
    """The user's own task that has the name already; None where it is free."""
    if not _NAME.fullmatch(name):
        raise BenchError(
            f"name {quoted(name)}",
            "A task's name has at most 40 letters, digits, '.', '_' and '-', and begins with one of the "
            "first two.",
            "For example: --name my-hopper",
        )
    task = catalog.tasks.get(name)
    if name in catalog.suites or (task is not None and not task.added):
        kind = "suite" if task is None else "task"
        raise BenchError(f"name {quoted(name)}", f"There is a {kind} of that name.", "Choose another.")
    return task


def _entry(wanted: Wanted, before: Task | None, catalog: Catalog) -> TaskEntry:
    """The task's entry, but for its content."""
    environment = wanted.environment or (before.environment if before else None)
    known = [name for name in catalog.environments if name in ROBOTS]
    if environment is None:
        raise BenchError("no --environment", "It judges the policies.", f"There are: {', '.join(known)}.")
    if environment not in known:
        # Gymnasium's names are tried, too.
        near = re.sub(r"-v\d+$", "", environment.lower())
        meant = f"Did you mean {near}? " if near in known else ""
        what = f"unknown environment {quoted(environment)}"
        raise BenchError(what, "", f"{meant}There are: {', '.join(known)}.")
    if wanted.preset_of is not None:
        catalog.task(wanted.preset_of)
    beside = (task.goals for task in catalog.tasks.values() if task.environment == environment)
    preset_of, reference = wanted.preset_of, wanted.reference
    if before is not None:
        preset_of = preset_of or before.preset_of
        if reference is None and before.reference != catalog.environments[environment].reference:
            reference = before.reference
    return TaskEntry(
        environment=environment,
        version=1,
        goals="every_reset" if any(beside) else None,
        preset_of=preset_of,
        reference=reference,
        dataset=AddedDataset(source="added", sha256="0" * 64, rows=1, origin=""),
    )


def _is_same(before: Task, now: Task) -> bool:
    """Whether an entry says what stands there, wherever the file came from."""

    def told(task: Task) -> tuple[object, ...]:
        assert isinstance(task.dataset, AddedDataset)
        return task.environment, task.reference, task.preset_of, task.dataset.sha256

    return told(before) == told(now)


def _taken(before: Task, entry: TaskEntry, given: str) -> BenchError:
    assert isinstance(before.dataset, AddedDataset) and isinstance(entry.dataset, AddedDataset)
    of = f"SHA-256 {before.dataset.sha256[:12]}..., from {before.dataset.origin}"
    differs = f"{given} has {entry.dataset.sha256[:12]}..."
    if before.dataset.sha256 == entry.dataset.sha256:
        of, differs = "this very file", "environment, reference scores or presets are others"
    return BenchError(
        f"there is a task {before.name} already",
        f"It is {of}; {differs}.",
        "Choose another name; or add --replace: scores of both stay in the store, apart from one another.",
    )


# The content


@dataclass(frozen=True)
class _Source:
    """A file to add."""

    path: Path
    origin: str
    made_in: str | None = None
    empty: int = 0
    converted: bool = False


@contextmanager
def _ready(given: str) -> Iterator[_Source]:
    """The file that is meant; of a Minari set, what it is converted to, for as long as it is needed."""
    if not given.startswith(SCHEME):
        path = typed_path(given)
        yield _Source(path, path.name)
        return
    found = file_of(given.removeprefix(SCHEME))
    folder = data_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=folder) as room:
            target = Path(room) / "converted.hdf5"
            done = convert(found, target)
            yield _Source(target, given, done.environment, done.empty, converted=True)
    except OSError as error:
        raise _no_room(folder, error) from error


def _remedy(given: str) -> str:
    return "Get the set again." if given.startswith(SCHEME) else "Put it right, and add it again."


def _minari_set(file: DatasetFile) -> BenchError:
    return BenchError(
        f"{file.path} is of a Minari set",
        "Such a set is a folder, known by its name.",
        "Type minari:NAME in the place of the file, for example minari:mujoco/hopper/medium-v0.",
    )


def _with_content(entry: TaskEntry, file: DatasetFile, origin: str, name: str, catalog: Catalog) -> TaskEntry:
    """The entry of the file that is held open, whose content is checked as before a run."""
    content = AddedDataset(source="added", sha256=file.sha256, rows=1, origin=origin)
    entry = entry.model_copy(update={"dataset": content})
    raw = read_rows(file, task_of(name, entry, catalog.environments))
    known = {"rows": raw.rows, "in_order": rows_in_order(raw)}
    return entry.model_copy(update={"dataset": content.model_copy(update=known)})


def _kept(file: DatasetFile) -> Path:
    """A copy of the file in the data folder, under its content's name."""
    path = by_hash(file.sha256)
    try:
        if path.is_file() and sha256_of_file(path) == file.sha256:
            return path
        with written_whole(path) as temporary:
            file.stream.seek(0)
            with temporary.open("wb") as target:
                shutil.copyfileobj(file.stream, target, 1 << 20)
            if sha256_of(temporary) != file.sha256:
                raise BenchError(f"{file.path} changed while it was copied", "", "Add it again.")
    except OSError as error:
        raise _no_room(path.parent, error) from error
    return path


def _no_room(folder: Path, error: OSError) -> BenchError:
    return BenchError(
        f"{folder} cannot be written", str(error), "Make room, or set BENCH_DATA_DIR to another folder."
    )


# The entry in the user's catalogue


def _write(path: Path, name: str, entry: TaskEntry) -> None:
    """Put an entry into the catalogue, in the place of the one that has its name.

    Raises
    ------
    BenchError : it cannot be written, or is laid out so that the entry has to be put in by hand.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(data_folder() / ".bench-adding.lock", "name another folder with BENCH_DATA_DIR"):
            # A link to a file elsewhere stays one.
            target = path.resolve()
            before = target.read_text(encoding="utf-8-sig") if target.is_file() else _HEAD
            document = load_yaml(target) if target.is_file() else LinedYaml(target, None, {})
            after = _with_entry(before, document, name, entry_text(name, entry))
            _require_right(target, document, after, name, entry)
            write_text(target, after)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written", str(error), f"Name another file: {TASKS_VARIABLE}=FILE"
        ) from error


def entry_text(name: str, entry: TaskEntry) -> str:
    """An entry as it stands under `tasks`, two spaces deep."""
    assert isinstance(entry.dataset, AddedDataset)
    lines = [f"{name}:", f"  environment: {entry.environment}", f"  version: {entry.version}"]
    lines += [f"  goals: {entry.goals}"] if entry.goals else []
    lines += [f"  preset_of: {entry.preset_of}"] if entry.preset_of else []
    if entry.reference:
        low, high = entry.reference.random, entry.reference.expert
        lines.append(f"  reference: {{random: {low!r}, expert: {high!r}}}")
    lines += [
        "  dataset:",
        "    source: added",
        f"    origin: {json.dumps(entry.dataset.origin, ensure_ascii=False)}",
        f"    rows: {entry.dataset.rows}",
        f'    sha256: "{entry.dataset.sha256}"',
        *([] if entry.dataset.in_order else ["    in_order: false"]),
    ]
    return "".join(f"{_INDENT}{line}\n" for line in lines)


def _with_entry(text: str, document: LinedYaml, name: str, entry: str) -> str:
    """The catalogue's text with the entry at the end of `tasks`, or where one of its name stood."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    content = document.content if isinstance(document.content, dict) else {}
    if "tasks" not in content:
        return "".join([*lines, "\n"] if lines else lines) + f"tasks:\n{entry}"
    tops = sorted(line for key_path, line in document.lines.items() if len(key_path) == 1)
    begin = document.lines["tasks",]
    if not content["tasks"]:
        # `tasks:` alone or `tasks: {}`, what follows being a comment at most.
        lines[begin - 1] = re.sub(r"\{\s*\}|~|null", "", lines[begin - 1], count=1)
    after = next((line for line in tops if line > begin), len(lines) + 1)
    stands = sorted(
        line for key_path, line in document.lines.items() if len(key_path) == 2 and key_path[0] == "tasks"
    )
    first = after
    if name in (content["tasks"] or {}):
        first = document.lines["tasks", name]
        after = next((line for line in stands if line > first), after)
    end = after - 1
    # What stands right above the next entry, or the next part, belongs to that one.
    while end > begin and not lines[end - 1].partition("#")[0].strip():
        end -= 1
    start = min(first - 1, end)
    return "".join([*lines[:start], entry, *lines[end:]])


def _require_right(path: Path, document: LinedYaml, text: str, name: str, entry: TaskEntry) -> None:
    """Read the new text as every command will; nothing but the entry may have changed."""
    content = document.content if isinstance(document.content, dict) else {}
    wanted = {**content, "tasks": {**(content.get("tasks") or {})}}
    wanted["tasks"].pop(name, None)
    with tempfile.TemporaryDirectory() as room:
        trial = Path(room) / path.name
        trial.write_text(text, encoding="utf-8")
        try:
            found = load_yaml(trial).content
            written = found["tasks"].pop(name)
        except (BenchError, LookupError, TypeError, AttributeError):
            found, written = None, None
        if found == wanted and TaskEntry.model_validate(written) == entry:
            load_catalog(own=trial)
            return
    raise BenchError(
        f"{path} is laid out so that an entry cannot be put into it",
        "It is left as it is; the data is in the data folder already.",
        f"Put this under tasks, and add the data again:\n{entry_text(name, entry)}",
    )
