"""The pages: what a method declares, its settings, printed numbers, what differs from the released code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from algorithms.registry import ALIASES, OWN, PAPERS, Method, method, methods
from bench.catalog import Catalog, load_catalog
from bench.cli.output import value_text
from bench.data.rewards import REWARD_TRANSFORMS
from bench.presets import PresetFiles, Presets, formulas_of, meant_by, variants_in_words
from bench.report.paper import PaperTable, load_paper_tables
from tests.method_pages.printed import printed_numbers
from tests.method_pages.settings import DOMAINS, Grid, Row, as_it_is, folded, setting_rows, settings_table
from tests.method_pages.tables import table

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/methods"
INDEX = "README.md"
SYMBOLS = Path(__file__).with_name("symbols.md")

PROTOCOLS = {
    "last": "the last evaluation",
    "rat": "the mean of the last ten evaluations",
    "oms": "the best evaluation of the run, an oracle",
    "mean5": "the mean of the last five evaluations",
    "bc-select": "the evaluation that the cloning loss selects",
    "last-bestN": "the last evaluation with the number of candidates that is best on the task",
    "": "not stated",
}


def heading(declared: Method, grid: Grid) -> Iterator[str]:
    """What the method is, and where it comes from."""
    yield f"# {declared.title} (`{declared.name}`)"
    yield ""
    preset = declared.preset.relative_to(ROOT).as_posix()
    module = declared.implementation.partition(":")[0].replace(".", "/") + ".py"
    if declared.paper is not None:
        paper = declared.paper
        number = f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else ""
        said = filter(None, (paper.by, f"*{paper.title}*", paper.published, number))
        yield f"- **Paper:** {', '.join(said)}"
    for code in declared.code:
        commit = f"commit `{code.commit}`" if code.commit else ""
        link = f"[{code.repository}](https://github.com/{code.repository})"
        yield f"- **Code that it follows:** {', '.join(filter(None, (link, commit, code.about)))}"
    if not declared.code:
        yield "- **Code that it follows:** none was published"
    yield f"- **Here:** [`{module}`](../../{module}), values in [`{preset}`](../../{preset})"
    default = " (`released` is the default)" if declared.variants else " alone"
    yield f"- **Variants:** {variants_in_words(declared.name)}{default}"
    counts = [f"{DOMAINS.get(name, name)} ({len(tasks)})" for name, tasks in grid.domains.items()]
    yield f"- **Tasks:** {', '.join(counts)}"
    for printed, changes in declared.ablations.items():
        told = ", ".join(f"`{name}={value_text(value)}`" for name, value in changes.items())
        yield f"- **Printed as {printed}:** with {told}"
    yield ""
    if declared.remarks:
        yield declared.remarks
        yield ""


def formulas(presets: Presets) -> Iterator[str]:
    """Every loss, target and weight with its source."""
    yield "## Formulas"
    yield ""
    yield "What the symbols mean stands in the [index](README.md#symbols)."
    yield ""
    for stated, owner in formulas_of(presets):
        yield f"### {stated.name}"
        yield ""
        yield f"$$\n{stated.formula}\n$$"
        yield ""
        if stated.note:
            yield stated.note
            yield ""
        shared = f"; the same as of [{method(owner).title}]({owner}.md)" if owner != presets.algorithm else ""
        yield f"*Source: {stated.source}{shared}.*"
        yield ""


def phases(declared: Method, rows: Sequence[Row]) -> Iterator[str]:
    """Stages with their iterations."""
    yield "## Phases"
    yield ""
    counted = {row.name: row for row in rows}
    lines = []
    for phase, count in declared.phases.items():
        _, iterations, differing, _ = folded(counted[count], as_it_is)
        elsewhere = re.sub(r" \[[^\]]*\]", "", differing)
        evaluated = "yes" if phase == declared.evaluated else ""
        lines.append((f"`{phase}`", iterations, elsewhere, f"`{count}`", evaluated))
    yield from table(("phase", "iterations", "where they differ", "counted by", "evaluated"), lines)


def explained(name: str, value: str) -> str:
    """A condition's value with what it means."""
    if name == "protocol":
        return f"`{value}`, {PROTOCOLS[value]}"
    if name == "reward_transform":
        formula = (REWARD_TRANSFORMS[value].__doc__ or "").strip().partition(". ")[0]
        return f"`{value}`, {formula}"
    return f"`{value}`" if re.search("[a-z]", value) else value


def differences(declared: Method, page: str) -> Iterator[str]:
    """What docs/differences.md says of the method: its section, and rows of others that name it first."""
    names = {declared.name, declared.label, declared.group, declared.title, *declared.printed}
    variants = {f"`{variant}`" for variant in declared.variants}

    def speaks_of(text: str) -> bool:
        for part in re.split(r",|;| and ", re.sub(r"\([^)]*\)", "", text)):
            plain = re.sub(r"`[^`]*`", "", part).strip()
            if (plain or part.strip()) in names:
                return True
            if "variant" in part and variants & set(re.findall(r"`[^`]*`", part)):
                return True
        return False

    yield "## What differs from the released code"
    yield ""
    yield (
        "From [differences](../differences.md), which also says what holds for "
        "[the 2D problems](../differences.md#the-2d-problems) and what this suite does "
        "[otherwise than all papers](../differences.md#where-this-suite-does-otherwise-on-purpose)."
    )
    yield ""
    for title, body in re.findall(r"^## ([^\n]+)\n\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        own = title.strip() in names
        lines = _moved(body).rstrip().splitlines()
        if own:
            yield f"### {title}"
            yield ""
            yield from lines
            yield ""
            continue
        of_group = speaks_of(title)
        kept: list[str] = []
        introduction: list[str] = []
        for line in lines:
            if not line.startswith("|"):
                introduction += [line] if of_group and not kept else []
                continue
            first = line.split("|")[1].strip()
            if (
                line.startswith("|---")
                or not kept
                or speaks_of(first)
                or (of_group and first in ("both", "all"))
            ):
                kept.append(line)
        if len(kept) > 2:
            yield f"### {title}"
            yield ""
            yield from introduction
            yield from kept
            yield ""


def _moved(text: str) -> str:
    """Markdown of docs/differences.md with its links as a page one folder below needs them."""
    text = re.sub(r"\]\(#", "](../differences.md#", text)
    return re.sub(r"\]\((?!\.\./|[a-z]+://)", "](../", text)


# Pages


def page_of(
    name: str, files: PresetFiles, catalog: Catalog, tables: Mapping[str, PaperTable], told: str
) -> str:
    """The page of one method; `told` is docs/differences.md."""
    declared, presets = method(name), files[name]
    grid = Grid(catalog, tuple(task for task in catalog.tasks if task in presets.tasks))
    parameters, conditions = setting_rows(presets, catalog)
    lines = [
        f"<!-- Made by `make methods`; change {declared.preset.name} or docs/differences.md instead. -->",
        "",
    ]
    lines += heading(declared, grid)
    lines += formulas(presets)
    lines += phases(declared, parameters)
    lines += [
        "## Settings",
        "",
        f"`bench show {name} TASK` prints them for one task. A budget scales "
        f"{', '.join(f'`{count}`' for count in declared.step_counts)} and the interval of evaluations.",
        "",
        *settings_table(parameters, as_it_is),
        "## Evaluation, data and precision",
        "",
        *settings_table(conditions, explained),
    ]
    lines += printed_numbers(name, tables)
    lines += differences(declared, told)
    return "\n".join(lines).rstrip() + "\n"


def _in_a_line(declared: Method) -> str:
    """What a method is: the first sentence of its module's docstring."""
    module = ROOT / (declared.implementation.partition(":")[0].replace(".", "/") + ".py")
    told = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    sentence = " ".join(told.partition("\n\n")[0].partition(".\n")[0].split()).rstrip(".")
    return sentence.removeprefix(f"{declared.group}: ")


def index_page() -> str:
    """What there is, by group, and what the symbols mean."""
    own = {name: one for name, one in methods().items() if name in OWN}
    lines = [
        "<!-- Made by `make methods`. -->",
        "",
        "# Methods",
        "",
        "A page for each: the formula of every loss, target and weight and of how it acts, settings task by "
        "task, all with their sources; printed numbers, and which of them may be judged; what differs from "
        "the released code. `make methods` makes them of preset files, printed tables and "
        "[differences](../differences.md).",
        "",
    ]
    headline = {of for name in PAPERS for of in meant_by(name)}
    groups = {
        "The four papers' methods": [one for one in own if one in headline],
        "Their variants and ablations": [
            one for one, of in own.items() if one not in headline and not of.comparator
        ],
        "Methods that the papers quote": [one for one, of in own.items() if of.comparator],
    }
    for title, names in groups.items():
        rows = [
            (f"[{own[name].label}]({name}.md)", f"`{name}`", own[name].title, _in_a_line(own[name]))
            for name in names
        ]
        lines += [f"## {title}", "", *table(("method", "name here", "in full", "what it is"), rows)]
    lines += [f"{alias}" for alias in ALIASES.values()]
    lines += ["", "## Symbols", "", SYMBOLS.read_text(encoding="utf-8")]
    return "\n".join(lines).rstrip() + "\n"


def pages(files: PresetFiles) -> dict[str, str]:
    """Every page of docs/methods by file name, from preset files."""
    catalog, tables = load_catalog(), load_paper_tables()
    told = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
    own = {f"{name}.md": page_of(name, files, catalog, tables, told) for name in methods() if name in OWN}
    return {INDEX: index_page(), **own}
