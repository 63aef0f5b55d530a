"""The documents as a whole: their links lead somewhere, and what they say of the project is so."""

from __future__ import annotations

import re
import tomllib
from typing import get_args

import pytest
import yaml

import bench
from bench.envs import ROBOTS
from bench.presets import Protocol
from bench.records import GoalRule
from tests.commands import all_commands
from tests.documents.pages import DOCUMENTS, ROOT, anchors, commands, links, text_of

WORDS = 1000
"""That a README may have at most."""


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(text_of("README.md").split()) <= WORDS


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_one_that_bench_takes(page) -> None:
    for typed in commands(page.read_text(encoding="utf-8")):
        name = next(name for name in (" ".join(typed[:2]), *typed[:1]) if name in all_commands())
        # Reads options and arguments and runs nothing; what it does not take it raises.
        all_commands()[name].make_context(name, typed[len(name.split()) :])


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_reached_from_the_readme() -> None:
    left, reached = [ROOT / "README.md"], set()
    while left:
        page = left.pop()
        reached.add(page)
        targets = [
            (page.parent / link.partition("#")[0]).resolve()
            for link in links(page.read_text(encoding="utf-8"))
            if "://" not in link
        ]
        left += [target for target in targets if target.suffix == ".md" and target not in reached]
    assert set(DOCUMENTS) - reached == set()


def test_the_citation_is_of_this_version_and_licence() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["title"].startswith(f"{project['name']}:")
    assert (citation["version"], citation["license"]) == (bench.__version__, project["license"])
    assert {"cff-version", "message", "authors"} <= citation.keys()
    assert [entry.get("notes") for entry in citation["references"][:4]] == ["DTQL", "SRPO", "EDP", "BDPO"]


def test_the_changelog_names_this_version_and_every_schema_of_the_store() -> None:
    changelog = text_of("CHANGELOG.md")
    assert bench.__version__ in changelog
    migrations = (ROOT / "bench/store/migrations/versions").glob("[0-9]*.py")
    missing = [path.name for path in migrations if f"schema **{path.name[:4]}**" not in changelog]
    assert missing == []


def test_the_workflow_runs_the_readmes_test_command() -> None:
    workflow = yaml.safe_load(text_of(".github/workflows/tests.yml"))
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML reads `on` as a truth value
    (job,) = workflow["jobs"].values()
    assert any(step.get("run", "").endswith("test") for step in job["steps"])
    assert "make test" in text_of("README.md")


def table(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows below a table's heading, whose first cell is `heading`."""
    lines = page.partition(f"| {heading} |")[2].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_table_of_errors_is_that_of_the_proofs() -> None:
    rows = table(text_of("docs/simulators.md"), "robot")
    told = {name: (int(steps), float(default), float(here)) for name, steps, default, here in rows}
    proofs = {name: rules.proof for name, rules in ROBOTS.items() if name != "kitchen-mixed"}
    assert ROBOTS["kitchen-mixed"].proof == ROBOTS["kitchen"].proof
    assert told == {
        name: (proof.steps, proof.largest_by_default, proof.largest) for name, proof in proofs.items()
    }


def test_the_readmes_errors_are_those_of_the_proofs_too() -> None:
    default, here = table(text_of("README.md"), "| hopper")
    robots = [
        ["hopper"],
        ["walker2d"],
        ["halfcheetah"],
        [f"antmaze-{size}" for size in ("umaze", "medium", "large")],
    ]
    robots += [["pen"], ["kitchen"]]
    for names, by_default, largest in zip(robots, default[1:], here[1:], strict=True):
        proofs = [ROBOTS[name].proof for name in names]
        assert [proof.largest_by_default for proof in proofs] == [float(one) for one in by_default.split(",")]
        assert max(proof.largest for proof in proofs) == float(largest)


def test_every_rule_of_goals_is_explained() -> None:
    rows = table(text_of("docs/simulators.md"), "`evaluation.goals`")
    assert {row[0].strip("`") for row in rows} == set(get_args(GoalRule))


def test_the_glossary_explains_each_word_once_in_its_own_sense() -> None:
    page = text_of("docs/glossary.md")
    words = re.findall(r"^\| \*\*(\w+)\*\* \|", page, re.MULTILINE)
    assert words == ["task", "suite", "cell", "trial", "stack", "variant", "preset", "budget", "protocol",
                     "precision", "reduced", "twin", "verdict", "foreign", "imported",
                     "baseline"]  # fmt: skip
    assert page.startswith("# Glossary\n\nSixteen words")
    assert "docs/glossary.md" in links(text_of("README.md"))
    assert all(f"`{protocol}`" in page for protocol in get_args(Protocol))
