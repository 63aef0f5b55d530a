"""Settings over tasks and variants, folded: the most common value, and where it is another one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.catalog import Catalog
from bench.cli.output import value_text
from bench.presets import Preset, Presets, Setting, preset_of
from tests.method_pages.tables import table

PLANE = "bandit"
"""The domain of the 2D problems."""
DOMAINS = {
    "locomotion": "locomotion",
    "antmaze": "AntMaze",
    "adroit": "pen",
    "kitchen": "kitchen",
    PLANE: "2D problems",
}
"""As a sentence says them."""
FEW_NAMES = 4
"""Names of tasks or of groups of them that stand in one line; a setting that needs more has a table."""
FEW_VALUES = 2
"""Values of a setting within one domain that stand in its row; where there are more there is a table."""
CONDITIONS = {
    "evaluation_interval": "iterations between evaluations",
    "evaluation_episodes": "episodes of an evaluation",
    "protocol": "how evaluations become the score",
    "selected_rank": "of the cloning loss that selects; 0 is the smallest",
    "goals": "what shares a goal, where the task draws one",
    "reward_transform": "of the dataset's rewards, before training",
    "transitions": "rows of the file that are trained on",
    "precision": "in which a GPU multiplies matrices",
}
"""Settings that say how a method is trained and judged, with their meaning."""

Saying = Callable[[str, str], str]
"""How a value of a setting is shown: (name, value) -> text."""


def as_it_is(name: str, value: str) -> str:
    """A value without further words."""
    return value


@dataclass(frozen=True)
class Grid:
    """Tasks by domain."""

    catalog: Catalog
    tasks: tuple[str, ...]

    @cached_property
    def domains(self) -> dict[str, list[str]]:
        """Domain -> tasks, in the order of the catalogue."""
        found: dict[str, list[str]] = {name: [] for name in self.catalog.domains}
        for task in self.tasks:
            found[self.domain(task)].append(task)
        return {name: tasks for name, tasks in found.items() if tasks}

    def domain(self, task: str) -> str:
        """The domain of a task."""
        return self.catalog.task(task).domain

    def groups(self, tasks: Iterable[str]) -> list[str]:
        """`AntMaze`, `hopper-*`, `pen-human (v0, v1)`: groups of tasks as wholes, the rest by name."""
        wanted, parts = set(tasks), []
        for domain, members in self.domains.items():
            left = [task for task in members if task in wanted]
            if left == members:
                parts.append(DOMAINS.get(domain, domain))
                continue
            for pattern, group in _patterns(members):
                if group <= set(left):
                    parts.append(f"`{pattern}`")
                    left = [task for task in left if task not in group]
            parts += merged(left)
        return parts

    def described(self, tasks: Iterable[str]) -> str:
        """`groups` in a line; empty: all tasks."""
        tasks = list(tasks)
        return "" if set(tasks) == set(self.tasks) else ", ".join(self.groups(tasks))

    def most_common(self, values: Mapping[str, str]) -> str:
        """The value of most tasks, the 2D problems aside; of several the first."""
        outside = [value for task, value in values.items() if self.domain(task) != PLANE]
        return Counter(outside or values.values()).most_common(1)[0][0]

    def is_long(self, values: Mapping[str, str]) -> bool:
        """Whether values (task -> value) are too many to be said in a line."""
        common = self.most_common(values) if values else ""
        for members in self.domains.values():
            inside = by_value({task: values[task] for task in members if task in values})
            others = [len(self.groups(tasks)) for value, tasks in inside.items() if value != common]
            if len(inside) > FEW_VALUES or (len(inside) > 1 and sum(others) > FEW_NAMES):
                return True
        return False

    def mixed(self, values: Mapping[str, str]) -> list[str]:
        """Tasks of the domains in which not all have one value."""
        return [
            task
            for members in self.domains.values()
            if len({values[task] for task in members if task in values}) > 1
            for task in members
        ]


def _patterns(tasks: Sequence[str]) -> Iterator[tuple[str, set[str]]]:
    """Groups of at least two, and not all, of a domain's tasks: of a version, then of a beginning."""
    versions = {re.sub(r".*-(?=v\d+$)", "", task) for task in tasks}
    shapes = [f"{task.partition('-')[0]}-*-{version}" for version in sorted(versions) for task in tasks[:1]]
    for words in (1, 2):
        shapes += dict.fromkeys("-".join(task.split("-")[:words]) + "-*" for task in tasks)
    for shape in shapes:
        pattern = re.compile(re.escape(shape).replace(r"\*", ".*"))
        group = {task for task in tasks if pattern.fullmatch(task)}
        if 1 < len(group) < len(tasks):
            yield shape, group


def merged(tasks: Sequence[str]) -> list[str]:
    """Task names, those that differ in their version alone as one: `antmaze-umaze (v0, v2)`."""
    stems: dict[str, list[str]] = {}
    for task in tasks:
        stem, version = re.fullmatch(r"(.*?)(?:-(v\d+))?", task).groups()  # type: ignore[union-attr]
        stems.setdefault(stem, []).append(version or "")
    return [
        f"{stem} ({', '.join(versions)})" if len(versions) > 1 else "-".join(filter(None, (stem, *versions)))
        for stem, versions in stems.items()
    ]


def by_value(values: Mapping[str, str]) -> dict[str, list[str]]:
    """Value -> its tasks."""
    found: dict[str, list[str]] = {}
    for task, value in values.items():
        found.setdefault(value, []).append(task)
    return found


@dataclass(frozen=True)
class Row:
    """One setting on all tasks that have it, per variant."""

    name: str
    meaning: str
    settings: Mapping[str, Mapping[str, Setting]]
    """Variant -> task -> setting; `released` first."""
    catalog: Catalog

    @cached_property
    def grid(self) -> Grid:
        """Its tasks."""
        return Grid(self.catalog, tuple(self.settings[self.released]))

    @property
    def released(self) -> str:
        """The variant that the others are told against."""
        return next(iter(self.settings))

    @cached_property
    def long(self) -> list[str]:
        """Variants whose values need a table."""
        return [variant for variant in self.settings if self.grid.is_long(self.values(variant))]

    def values(self, variant: str) -> dict[str, str]:
        """Task -> value as shown; of another variant than `released` where it differs from that."""
        return self._values[variant]

    @cached_property
    def _values(self) -> dict[str, dict[str, str]]:
        shown = {
            variant: {task: value_text(setting.value) for task, setting in of.items()}
            for variant, of in self.settings.items()
        }
        released = shown[self.released]
        for variant in list(shown)[1:]:
            shown[variant] = {
                task: value for task, value in shown[variant].items() if released[task] != value
            }
        return shown

    def sources(self, variant: str, tasks: Iterable[str]) -> list[str]:
        """Sources of a variant's values on these tasks, each once, those of most tasks first.

        With where they hold, but for the first.
        """
        per_source = by_value({task: self.settings[variant][task].source for task in tasks})
        first, *rest = sorted(per_source.items(), key=lambda item: -len(item[1]))
        return [first[0], *(f"{self.grid.described(of)}: {source}" for source, of in rest)]


def setting_rows(presets: Presets, catalog: Catalog) -> tuple[list[Row], list[Row]]:
    """A method's hyper-parameters, and its conditions of training and evaluation."""
    all_settings = {
        variant: {task: _settings(preset_of(presets, catalog.task(task), variant)) for task in catalog.tasks
                  if task in presets.tasks}
        for variant in presets.variants
    }  # fmt: skip

    def row(name: str, meaning: str) -> Row:
        per_variant = {
            variant: {task: settings[name] for task, settings in of.items() if name in settings}
            for variant, of in all_settings.items()
        }
        return Row(name, meaning, per_variant, catalog)

    parameters = [row(name, meaning) for name, meaning in presets.docs.items()]
    conditions = [row(name, meaning) for name, meaning in CONDITIONS.items()]
    return parameters, [one for one in conditions if any(one.settings.values())]


def _settings(preset: Preset) -> dict[str, Setting]:
    named = {"interval": "evaluation_interval", "episodes": "evaluation_episodes"}
    evaluation = {
        named.get(field, field): Setting(getattr(preset.evaluation, field), source)
        for field, source in preset.evaluation.sources.items()
    }
    return {
        **preset.hyperparameters,
        **evaluation,
        "reward_transform": preset.reward_transform,
        "transitions": preset.transitions,
        "precision": preset.precision,
    }


# Tables


def settings_table(rows: Sequence[Row], said: Saying) -> list[str]:
    """Settings with their sources, and below it those that have values task by task."""
    lines = table(("setting", "value", "where it differs", "source"), (folded(row, said) for row in rows))
    by_task = [(row, variant) for row in rows for variant in row.long]
    return lines + (_by_task(by_task, said) if by_task else [])


def folded(row: Row, said: Saying) -> tuple[str, str, str, str]:
    """A setting in one line: name and meaning, most common value, others and where they hold, source."""
    values, grid = row.values(row.released), row.grid
    is_long = row.released in row.long
    common = grid.most_common(values)
    differing, sources = [], []
    for value, tasks in by_value(values).items():
        if not is_long and value == common:
            sources += row.sources(row.released, tasks)
    if is_long:
        mixed = grid.mixed(values)
        sources += row.sources(row.released, mixed)
        values = {task: value for task, value in values.items() if task not in mixed}
    for value, tasks in by_value(values).items():
        if is_long or value != common:
            where, told = grid.described(tasks), row.sources(row.released, tasks)
            differing.append(f"{where}: {said(row.name, value)} [{'; '.join(told)}]")
    for variant in list(row.settings)[1:]:
        more, of_variant = _of_variant(row, variant, said)
        differing += more
        sources += of_variant
    shown = "task by task, below" if is_long else said(row.name, common)
    return f"`{row.name}`\n{row.meaning}", shown, "\n".join(differing), "\n".join(dict.fromkeys(sources))


def _of_variant(row: Row, variant: str, said: Saying) -> tuple[list[str], list[str]]:
    """Values of a variant that differ from the released ones, and sources of those that do not."""
    changed, everywhere = row.values(variant), row.settings[row.released]
    known = {setting.source for setting in everywhere.values()}
    same = [
        task for task in everywhere if task not in changed and row.settings[variant][task].source not in known
    ]
    sources = [f"`{variant}`: {source}" for source in (row.sources(variant, same) if same else [])]
    if variant in row.long:
        sources += [f"`{variant}`: {source}" for source in row.sources(variant, changed)]
        return [f"`{variant}`: task by task, below"], sources
    differing = []
    for value, tasks in by_value(changed).items():
        where = ", ".join(filter(None, (f"`{variant}`", row.grid.described(tasks))))
        told = "; ".join(row.sources(variant, tasks))
        differing.append(f"{where}: {said(row.name, value)} [{told}]")
    return differing, sources


def _by_task(columns: Sequence[tuple[Row, str]], said: Saying) -> list[str]:
    """Settings task by task; versions of a task with equal rows share one."""
    values = [{**row.values(row.released), **row.values(variant)} for row, variant in columns]
    mixed = {task for (row, _), of in zip(columns, values, strict=True) for task in row.grid.mixed(of)}
    tasks = [task for task in columns[0][0].catalog.tasks if task in mixed]
    grid = Grid(columns[0][0].catalog, tuple(tasks))
    grouped: dict[tuple[str, ...], list[str]] = {}
    for task in tasks:
        cells = [
            said(row.name, of[task]) if task in of else ""
            for (row, _), of in zip(columns, values, strict=True)
        ]
        # The 2D problems have no versions; they are told in groups.
        stem = PLANE if grid.domain(task) == PLANE else re.sub(r"-v\d+$", "", task)
        grouped.setdefault((stem, *cells), []).append(task)
    headings = [
        f"`{row.name}`" + (f" (`{variant}`)" if variant != row.released else "") for row, variant in columns
    ]
    rows = [
        (", ".join(grid.groups(of) if stem == PLANE else merged(of)), *cells)
        for (stem, *cells), of in grouped.items()
    ]
    return table(("task", *headings), rows)
