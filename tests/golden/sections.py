"""What is recorded, section by section; each is a function of a checkout and returns plain data.

Nearly all is asked of the command line and of SQL on stores, because these stay while modules change. Lists
of strings are texts, line by line.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.golden.checkout import Place, place_of

Record = dict[str, Any]
STORES = ("study", "rough")
VIEWS = ("scores", "timings", "provenance", "nightly")
FIXTURES = ("store_0001", "store_0002", "store_0003")
SHOWN = (
    "dtql hopper-medium-v2",
    "dtql antmaze-large-play-v0",
    "dtql bandit-25gaussians-far",
    "dtql-kl walker2d-medium-replay-v2",
    "srpo antmaze-umaze-v2",
    "srpo-points bandit-energy-rings",
    "edp-td3 halfcheetah-medium-v2",
    "edp-iql kitchen-mixed-v0",
    "edp-crr pen-human-v1",
    "edp antmaze-medium-play-v0",
    "bdpo hopper-medium-replay-v2",
    "bdpo-gaussian walker2d-medium-v2",
    "bc collected-hopper-medium",
)
FORMATS = ("markdown", "latex", "html", "csv", "json")
WRONG = (
    "nothing",
    "show dtqll hopper-medium-v2",
    "show dtql hopper-medium-v9",
    "show srpo pen-human-v1",
    "report --store none.sqlite",
    "report --format word",
    "report --tables dtql-9",
    "report --figures nothing --store study.sqlite",
    "check --store none.sqlite",
    "check --explain nothing --store study.sqlite",
    "check --suite nothing --store study.sqlite",
    "check --against nothing --store study.sqlite",
    "query nothing --store study.sqlite",
    "explain 999999 --store study.sqlite",
    "status --store none.sqlite",
    "run --suite nothing --algos dtql",
    "run --suite d4rl-locomotion --algos nothing",
    "run --tasks hopper-medium-v2 --algos dtql --budget 2",
    "run --tasks hopper-medium-v2 --algos dtql --seeds x",
    "run --tasks hopper-medium-v2 --algos dtql --variant nothing",
    "run --tasks hopper-medium-v2 --algos dtql --physics nothing",
    "run --tasks hopper-medium-v2 --algos dtql --set nothing=1",
    "run --tasks hopper-medium-v2 --algos dtql --set discount=x",
    "run --tasks hopper-medium-v2 --algos dtql --set discount=2",
    "run --tasks hopper-medium-v2 --algos dtql --set bdpo.discount=0.9",
    "run --tasks hopper-medium-v2 --algos dtql --executor nothing",
    "run --tasks hopper-medium-v2 --algos dtql --goals per_run",
    "run --tasks hopper-medium-v2 --algos dtql --retry nothing",
    "evaluate nothing --store study.sqlite",
    "evaluate 1 --store study.sqlite",
    "data info nothing",
    "data verify hopper-medium-v2",
    "db merge study.sqlite none.sqlite",
    "db export study.sqlite --store study.sqlite",
    "db export out.parquet --what nothing --store study.sqlite",
    "baseline list --store study.sqlite",
    "nightly --date nothing --store study.sqlite",
    "speed --algos nothing",
)


def presets(place: Place) -> Record:
    """Every method, variant and task: the configuration that a store keeps, with sources, and its hash."""
    return json.loads(place.script("presets"))


def show(place: Place) -> Record:
    """`bench show` of some pairs (values, units, meanings, sources), and all lists."""
    lists = [f"list {what}" for what in ("algorithms", "tasks", "suites", "tables")]
    shown = [f"show {pair}" for pair in SHOWN]
    narrow = place.bench([*lists, *shown[:1], "--version", "data list"])
    return {f"{name} (80 columns)": answer for name, answer in narrow.items()} | place.bench(shown, 250)


def helps(place: Place) -> Record:
    """`--help` of every command."""
    found: Record = {}
    waiting = [""]
    while waiting:
        answers = place.bench([f"{command} --help".strip() for command in waiting])
        found |= answers
        waiting = [
            f"{name.removesuffix('--help')}{below}".strip()
            for name, answer in answers.items()
            for below in _commands(answer["out"])
        ]
    return found


def _commands(help_text: list[str]) -> list[str]:
    """Names in the boxes of commands, of a command that has any."""
    if not any("COMMAND [ARGS]" in line for line in help_text):
        return []
    return [found[1] for line in help_text if (found := re.match(r"│ ([a-z]+) ", line))]


def errors(place: Place) -> Record:
    """Wrong requests: exit codes and messages."""
    place.store("study")
    return place.bench(WRONG)


def tables(place: Place) -> Record:
    """Every table of every paper in every format but the page, from both stores."""
    found: Record = {}
    for name in STORES:
        store = place.store(name)
        formats = [f for f in FORMATS if f != "html"]
        commands = [f"report --store {store} --format {f} --out {name}-{f}" for f in formats]
        found |= place.bench([*commands, f"report --store {store}", f"report --full --store {store}"])
        for f in formats:
            found |= place.files(f"{name}-{f}/*")
    empty = place.bench(["report --store empty.sqlite --full"])
    return {key: _by_table(key, value) for key, value in (found | empty).items()}


def _by_table(name: str, value: Any) -> Any:
    """JSON as data with a key per table, row and cell; everything else as it is."""
    if not name.endswith(".json"):
        return value
    content = json.loads("\n".join(value))
    content["tables"] = {table.pop("id", str(i)): table for i, table in enumerate(content["tables"])}
    return content


def page(place: Place) -> Record:
    """The page in HTML from both stores, without its drawings."""
    found: Record = {}
    for name in STORES:
        place.bench([f"report --store {place.store(name)} --format html --out {name}-html"])
        for key, lines in place.files(f"{name}-html/*.html").items():
            found[key] = _split_page(re.sub(r"<svg.*?</svg>", "<svg/>", "\n".join(lines), flags=re.S))
    return found


def _split_page(text: str) -> Record:
    parts = re.split(r"(?=<section|<h2)", text)
    return {f"part {number}": part.splitlines() for number, part in enumerate(parts)}


def verdicts(place: Place) -> Record:
    """`bench check` of both stores in every format, and against a baseline."""
    return _checks(place, "--all", "--format json", "--format junit", "--against baseline --format json")


def arithmetic(place: Place) -> Record:
    """`bench check` as it comes, of one suite, and with the arithmetic of single verdicts."""
    explained = (
        "dtql/hopper-medium-v2/last",
        "srpo/hopper-medium-v2/last",
        "dtql/d4rl-locomotion/last",
        "edp-td3/walker2d-medium-v2/rat",
        "bdpo/walker2d-medium-replay-v2/last",
        "dtql/antmaze-umaze-v0/last",
    )
    options = ("", "--suite d4rl-locomotion --format json", "--against baseline")
    further = ("--against baseline --format junit", *(f"--explain {cell}" for cell in explained))
    return _checks(place, *options, *further)


def _checks(place: Place, *options: str) -> Record:
    stores = [place.store(name) for name in STORES]
    found = place.bench([" ".join(f"check {o} --store {s}".split()) for s in stores for o in options])
    return {key: _by_cell(value) if "json" in key else value for key, value in found.items()}


def _by_cell(answer: Record) -> Record:
    """An answer whose output is JSON, with that as data."""
    text = "\n".join(answer["out"])
    return answer | {"out": json.loads(text)} if text.startswith("{") else answer


def views(place: Place) -> Record:
    """Columns of every table and view, and what the views show, of both synthetic stores."""
    found: Record = {}
    for name in STORES:
        store = place.store(name)
        with closing(sqlite3.connect(place.folder / store)) as connection:
            found[f"{name} schema"] = _schema(connection)
            for view in VIEWS:
                found[f"{name} {view}"] = _rows(connection, f"SELECT * FROM {view}")
    return found


def _schema(connection: sqlite3.Connection) -> Record:
    """Columns of every table and view with their types."""
    names = connection.execute(
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    )
    return {
        f"{kind} {name}": [
            f"{column} {type_}{' NOT NULL' if required else ''}{' KEY' if key else ''}"
            for _, column, type_, required, _, key in connection.execute(f"PRAGMA table_info({name})")
        ]
        for name, kind in sorted(names)
    }


def _rows(connection: sqlite3.Connection, sql: str) -> list[str]:
    """A line for every row, sorted, after one of the columns' names."""
    cursor = connection.execute(sql)
    columns = [column for column, *_ in cursor.description]
    return [" | ".join(columns), *sorted(" | ".join(map(_cell, row)) for row in cursor)]


def _cell(value: object) -> str:
    """A value as it is told; of a JSON object, whose order says nothing, by its keys."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.dumps(json.loads(value), sort_keys=True)
    return repr(value)


def released(place: Place) -> Record:
    """Stores of the released schemas: how they upgrade, and what is in them then."""
    found: Record = {}
    for name in FIXTURES:
        at = f"--store {place.fixture(name)}"
        refused = place.bench([f"status {at}", f"db upgrade {at}"])
        found |= {command: answer["code"] for command, answer in refused.items()}
        found |= place.bench([f"explain 1 {at}", f"report --tables dtql-1 {at}"])
        with closing(sqlite3.connect(place.folder / f"{name}.sqlite")) as connection:
            schema = _schema(connection)
            found[f"{name} schema"] = schema
            for entry in schema.keys() - {"table alembic_version"}:
                found[f"{name} {entry}"] = _columns(connection, entry.split()[1])
    return found


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, list[str]]:
    """Every column's values, rows in one order, so that a column more is one entry more."""
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [name for name, *_ in cursor.description]
    rows = sorted([repr(value) for value in row] for row in cursor)
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def drawings(place: Place) -> Record:
    """The page's drawings and the figures as SVG, from both stores: their words and the hash of all of it."""
    found: Record = {}
    for name in STORES:
        store = place.store(name)
        found |= place.bench(
            [
                f"report --store {store} --format html --out {name}-html",
                f"report --store {store} --figures all --figure-format svg --format figures --out {name}-svg",
            ]
        )
        texts = {key: "\n".join(value) for key, value in place.files(f"{name}-svg/**/*.svg").items()}
        whole = "\n".join(next(iter(place.files(f"{name}-html/*.html").values())))
        inside = re.findall(r"<svg.*?</svg>", whole, flags=re.S)
        texts |= {f"{name} page drawing {number}": svg for number, svg in enumerate(inside)}
        found |= {key: _drawing(svg) for key, svg in texts.items()}
    return found


def _drawing(svg: str) -> Record:
    words = re.findall(r"<!-- (.*?) -->", svg) + re.findall(r"<text[^>]*>([^<]+)<", svg)
    bare = re.sub(r"<dc:date>.*?</dc:date>", "", svg)
    return {"words": words, "sha256": hashlib.sha256(bare.encode()).hexdigest()}


def looks(place: Place) -> Record:
    """What `status`, `explain`, `query`, `db`, and `baseline` say of the stores."""
    found: Record = {}
    for name in STORES:
        at = f"--store {place.store(name)}"
        found |= place.bench(
            [
                f"status {at}",
                f"status --format json {at}",
                f"explain 1 {at}",
                f"explain 2 --format json {at}",
                f"db info {at}",
                f"db info --check {at}",
                f"baseline list {at}",
                [
                    "query",
                    "select algorithm, task, count(*), avg(score) from scores group by 1, 2",
                    *at.split(),
                ],
                ["query", "--format", "csv", "select * from timings", *at.split()],
            ]
        )
    merge = "db merge study.sqlite rough.sqlite"
    found |= place.bench([f"{merge} --dry-run", merge])
    return {key: _by_cell(value) if "json" in key else value for key, value in found.items()}


def losses(place: Place) -> Record:
    """Every method, variant and domain: programs, losses, weights and actions of a tiny training."""
    return json.loads(place.script("losses")) | {"machine": json.loads(place.script("machine"))}


SIZES = """
    batch_size=16 dtql.hidden_width=16 dtql.diffusion_width=16 dtql.candidates=4 srpo.hidden_width=16
    srpo.behaviour_batch_size=16 srpo.behaviour_width=16 edp.hidden_width=16 edp.solver_calls=3
    edp.candidates=2 bdpo.ensemble=2 bdpo.samples=2 bdpo.diffusion_steps=2 bdpo.candidates=2
    bdpo.actor_width=16 bdpo.critic_width=16
"""
ALONE = "--executor local --device cpu --store run.sqlite --evals 2"
RUNS = (
    "data collect collected-hopper-medium --transitions 2000",
    "data collect bandit-25gaussians-far --transitions 2000",
    f"run --tasks collected-hopper-medium --algos dtql,srpo,edp,bdpo --budget 0.00002 --seeds 0-1 {ALONE} "
    f"--seeds-per-stack 2 --episodes 2 {' '.join(f'--set {size}' for size in SIZES.split())}",
    f"run --tasks collected-hopper-medium --algos dtql --variant paper --budget 0.00002 --seeds 0 {ALONE} "
    "--episodes 2 --set hidden_width=16 --set diffusion_width=16 --set candidates=4 --set batch_size=16",
    f"run --tasks bandit-25gaussians-far --algos dtql --budget 0.002 --seeds 0 {ALONE} --episodes 20 "
    "--set batch_size=16",
)
STORED = (
    "SELECT algorithm, variant, task, seed, state, config_hash, score, protocol, episodes, reduced, config "
    "FROM trials",
    "SELECT trial_id, number, step, physics, metrics FROM evaluations",
    "SELECT evaluation_id, number, return_, score, length FROM episodes",
    "SELECT trial_id, role, sha256, size_bytes FROM weights",
)


def run(place: Place) -> Record:
    """A small grid as typed: data collected, trained, evaluated, stored; settings, numbers, hashes."""
    said = place.bench(RUNS)
    found: Record = {name: {"code": answer["code"]} for name, answer in said.items()}
    with closing(sqlite3.connect(place.folder / "run.sqlite")) as connection:
        found |= {sql: _rows(connection, sql) for sql in STORED}
    return found | {"machine": json.loads(place.script("machine"))}


CHEAP = (presets, show, helps, tables, verdicts, views)
"""The same on every machine, and quick: together less than 40 CPU seconds."""
LONGER = (errors, page, drawings, arithmetic, looks, released, losses, run)
SECTIONS: dict[str, Callable[[Place], Record]] = {section.__name__: section for section in (*CHEAP, *LONGER)}


def taken(name: str, checkout: Path) -> Record:
    """What a section finds in a checkout, as it is after being written and read."""
    with place_of(checkout) as place:
        return json.loads(json.dumps(SECTIONS[name](place)))


def chosen(names: Iterable[str] | None) -> list[str]:
    """Sections by name; all without any."""
    return list(SECTIONS) if names is None else list(names)
