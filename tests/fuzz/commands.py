"""Command lines: any options of any command with odd values, from what the program declares of itself."""

from __future__ import annotations

import glob
import itertools
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from tests.commands import leaves
from tests.fuzz.material import D4RL_TASK, TASK
from tests.fuzz.mutation import ODD_TEXTS
from tests.fuzz.outcomes import Case, Place
from tests.fuzz.stores import MAY_CHANGE, NIGHTLY, STORE, WRITTEN

_NUMBERS = (
    "0", "-1", "1", "2", "3", "1.5", "nan", "inf", "-inf", "1e3", "1e-300", "1e400", "0x10", "1_0", "\u0661",
    "",
    " ", "x", "2147483648",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" * 30, "9" * 400, "9" * 5000,
    "1,5", "+1", "--1",
    "0.1", "True", "None",
)  # fmt: skip
_LONG_WORK = ("1", "2", "0", "-1", "x", "", "nan", "1.5", "1e3", "9" * 30, "9" * 5000)
"""For numbers of things that are really done: none that is right and takes long."""
_SETS = (
    "discount=0.98", "discount=nan", "discount=inf", "discount=", "discount", "=1", "x=1", "discount=[1]",
    "discount={}", "discount=!!python/object:os.system x",
    "discount=2025-13-45", "discount=2025-01-01", "discount=&a [*a]", "discount=*a", "discount=!!binary x",
    "discount=" + "9" * 5000,
    "discount=!!float x", "discount=!!int x", "discount=!!bool x", "discount=!!timestamp x", "discount=0b",
    "discount=0x", "discount=1:60",
    "discount=190:20:30", "discount=!!null x", "discount=!!set x", "discount=? x", "discount=<<: x",
    "discount='", "discount=\x00", "discount=\x1b[31m",
    "discount=" + "x" * 100_000, "hidden_width=0", "hidden_width=-5", "hidden_width=1e9", "hidden_width=1.5",
    "hidden_width=true", "hidden_width=x",
    "batch_size=0", "batch_size=" + "9" * 30, "train_iterations=0", "train_iterations=-1",
    "train_iterations=1e30", "dtql.discount=0.5", "nobody.discount=0.5",
    "dtql.=1", ".x=1", "learning_rate=-1", "learning_rate=1e400", "discount=\ud800", "discount=é",
    "discount=" + "[" * 3000, "discount=0.5=0.6", "discount=yes",
)  # fmt: skip
_PATHS = (
    "x", "", ".", "..", "/", "/dev/null", "/dev/zero", "/nowhere/x", "~", "~/x", "~nosuchuser/x", "x" * 300,
    "x" * 5000, "a\x00b", "a\nb", "é",
    "nightly.yaml", "out", "out.sqlite", "out.parquet", "a/b/c", "-", "../outside/precious.txt", "\x1b[31m",
    "bench.sqlite", "precious",
)  # fmt: skip
_STORES = (
    STORE, STORE, STORE, "sqlite:///" + STORE, "sqlite:///~/x.sqlite", "~/x.sqlite", "~nosuchuser/x.sqlite",
    "sqlite://", "sqlite:///", "postgresql://",
    "postgresql+psycopg://127.0.0.1:1/x?connect_timeout=1", "postgresql+psycopg://u:p@127.0.0.1:99999/x",
    "postgresql+psycopg://127.0.0.1:x/x", "mysql://x/y",
    "http://x/y", "://", "x://", "sqlite+aiosqlite:///x", "oracle://x", *_PATHS,
)  # fmt: skip
_WORDS = {
    "algos": ("dtql", "srpo", "edp", "bdpo", "bc", "dtql,srpo", "dtql,dtql", ",", "alchemy", "DTQL", "all"),
    "algorithm": ("dtql", "edp", "alchemy"),
    "tasks": (D4RL_TASK, TASK, "bandit2d", "hopper-medium-v2,", ",", "hoper", "antmaze-umaze-v0"),
    "task": (D4RL_TASK, TASK, "hoper", "pen-human-v1"),
    "suite": ("quickstart", "d4rl-locomotion", "bandit2d", "d4rl", "x"),
    "names": (D4RL_TASK, TASK, "quickstart", "hoper", "all"),
    "seeds": ("0", "0-4", "0,2", "4-0", "-1", "0-", "-", "0-999999999", "0-99999999999999999999", "a", "0,,1",
    "0-1-2", "²", "0x1", "9" * 30, "9" * 5000),
    "variant": ("released", "paper", "odd"),
    "physics": ("d4rl", "modern", "odd"),
    "device": ("cpu", "auto", "cuda", "odd"),
    "runner": ("auto", "eager", "graph", "odd"),
    "retry": ("failed", "odd"),
    "tables": ("all", "dtql-1", "bandit2d", "odd", "dtql-1,odd", ",", ""),
    "figures": ("all", "", "curves", "odd"),
    "figure_format": ("png", "pdf", "svg", "odd"),
    "format": ("text", "json", "csv", "table", "markdown", "html", "latex", "junit", "figures", "odd"),
    "format_": ("markdown", "html", "latex", "csv", "json", "summary", "figures", "text", "junit", "odd"),
    "against": ("paper", "baseline", "odd"),
    "date": ("2025-03-01", "2025-02-30", "tomorrow", "0001-01-01", "99999-01-01"),
    "sql": ("SELECT 1", "SELECT * FROM scores", "DROP TABLE trials", "SELECT", "SELECT 1; SELECT 2",
    "PRAGMA writable_schema=1", "WITH RECURSIVE a(x) AS (SELECT 1) SELECT * FROM a",
            "ATTACH 'x' AS y", "SELECT load_extension('x')", "SELECT x'ff'", "SELECT CAST(x'ff' AS TEXT)",
            "SELECT char(27)||'[31m'", "VACUUM INTO 'x'", "\x00", "SELECT 1e400", "SELECT zeroblob(100)",
            "SELECT ?1", "SELECT :name", "EXPLAIN SELECT 1", "--", "/*", "SELECT '=1+1'",
            "SELECT 9223372036854775807", "SELECT char(0)", "SELECT char(55296)", "BEGIN", "COMMIT"),
    "store": _STORES, "into": _STORES, "others": _STORES,
    "host": ("127.0.0.1", "localhost", "0.0.0.0", "::1", "odd.example", "", "a\x00", "x" * 300),
    "address": ("auto", "127.0.0.1:1", "x", "127.0.0.1:99999", "ray://127.0.0.1:1", ""),
    "baseline": ("first", "odd", ""), "name": ("first", "second", "odd", ""),
    "executor": ("local",),
    "trial": ("1", "2", "3", "99", *_NUMBERS),
    "set_": _SETS,
}  # fmt: skip
_REAL_WORK = {"episodes", "transitions", "iterations", "threads", "rows", "seeds_per_stack"}
_PINNED = {
    # What must not start work of minutes, whatever else was typed.
    "run": ["--dry-run", "--executor", "local"],
    "serve": ["--port", "99999"],
    "nightly": ["--dry-run", "--executor", "local"],
    "speed": ["--algos", "alchemy"],
    "tune": ["--space", "odd"],
    "data collect": ["--transitions", "60"],
    "baseline freeze": ["--config", "nightly.yaml"],
    "baseline annotate": ["--config", "nightly.yaml"],
}
_OFTEN = {"run": 12, "report": 1, "check": 3, "data collect": 1, "speed": 1, "data verify": 3, "nightly": 3}
_ENVIRONMENTS = (
    {"BENCH_DATA_DIR": "~nosuchuser"}, {"BENCH_DATA_DIR": "x" * 5000}, {"BENCH_DATA_DIR": "/dev/null"},
    {"BENCH_DATA_DIR": "~"},
    {"BENCH_DATA_DIR": ""}, {"BENCH_DATA_DIR": "a\nb"}, {"BENCH_DATA_DIR": "/proc/self"},
    {"BENCH_D4RL_MIRRORS": "x,,http://"},
    {"COLUMNS": "1"}, {"COLUMNS": "x"}, {"COLUMNS": "0"}, {"HOME": ""}, {"HOME": "/nowhere"},
    {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"TZ": "odd"},
    {"LC_ALL": "odd"}, {"D4RL_DATASET_DIR": "~nosuchuser", "BENCH_DATA_DIR": ""}, {"TMPDIR": "/nowhere"},
)  # fmt: skip


def make(number: int, place: Place, random: Random) -> Case:
    """Input `number` of this target."""
    shutil.copy(place.material / "stores" / STORE, place.work / STORE)
    (place.work / "nightly.yaml").write_text(NIGHTLY)
    (place.work / "precious").write_text("not to be touched\n")
    with_data = random.random() < 0.5
    program = leaves()
    names = sorted(program)
    if number < len(_NAMED):
        size = 1 if _NAMED[number][0] in program else 2
        name, words = " ".join(_NAMED[number][:size]), list(_NAMED[number][size:])
    else:
        name = random.choices(names, [_OFTEN.get(name, 4) for name in names])[0]
        words = _typed(program[name], random)
    pinned = _PINNED.get(name, [])
    if with_data or "nightly.yaml" in pinned:  # what is missing would be collected
        shutil.copytree(place.material / "data", place.data, dirs_exist_ok=True)
    line = [*name.split(), *words, *pinned]
    environment = random.choice(_ENVIRONMENTS) if random.random() < 0.1 else {}
    encoding = "ascii" if random.random() < 0.05 else "utf-8"
    said = " ".join([name, *sorted(word.split("=")[0] for word in words if word.startswith("--"))])
    if environment:
        said = f"{'; '.join(f'{key}={value[:20]}' for key, value in environment.items())} {said}"
    return Case(
        f"{said} ({encoding})" if encoding != "utf-8" else said,
        [word.replace("\ud800", "\udcff") for word in line],
        may_change=_may_change(name, line),
        environment=environment,
        encoding=encoding,
        plain_text=not {"csv", "json", "latex", "html"} & set(words),
    )


_KEPT_BY = {
    "baseline annotate": WRITTEN,
    "baseline freeze": (*WRITTEN, "data/.bench-hashes*"),
    "data collect": ("data/*",),
    "data fetch": ("data/*",),
    "data info": ("data/.bench-hashes*",),
    "data verify": (*WRITTEN, "data/.bench-hashes*"),
    "db merge": (*WRITTEN, "work/weights*"),
    "db upgrade": WRITTEN,
    "evaluate": WRITTEN,
    "export-policy": ("work/trial-*",),
    "import": (*WRITTEN, "work/results*"),
    "nightly": ("work/nights*", "data/.bench-hashes*"),
    "report": ("work/results*",),
    "run": ("data/.bench-hashes*",),
    "speed": (*WRITTEN, "work/results*"),
    "video": ("work/trial-*",),
}
"""What a command may write although nothing names it."""


def _may_change(name: str, words: list[str]) -> tuple[str, ...]:
    """What a command may write, and what a line names: a new file anywhere, an old one as the output."""
    named = [word.rpartition("=")[2] for word in words]
    outputs = [value for option, value in itertools.pairwise(words) if option == "--out"]
    outputs += [word.removeprefix("--out=") for word in words if word.startswith("--out=")]
    if name == "db export":
        outputs += named
    plain = [word for word in named if word.count("/") < 3 and not word.startswith(("/", ".", "-"))]
    asked = [f"work/{word}" for word in plain if word and word not in ("nightly.yaml", "precious", STORE)]
    asked += [os.path.normpath(f"work/{word}") for word in outputs if word and len(word) < 4096]
    asked += [f"home/{word[2:]}" for word in plain if word.startswith("~/")]
    # Folders on the way to an output are made with it.
    asked += [str(parent) for word in asked for parent in Path(word).parents if len(parent.parts) > 1]
    every = [glob.escape(word) + rest for word in asked for rest in ("", "/*", "-*", ".*")]
    return (
        *every,
        *MAY_CHANGE,
        "home/x.sqlite*",
        "home/collected*",
        "work/drivers*",
        *_KEPT_BY.get(name, ()),
    )


def _typed(command: Any, random: Random) -> list[str]:
    words: list[str] = []
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if "--run" in parameter.opts:  # a canary takes minutes of real work
            continue
        argument = parameter.param_type_name == "argument"
        wanted = random.random() < (0.95 if argument or parameter.required else 0.18)
        for _ in range(random.choice((1, 1, 1, 2)) if wanted else 0):
            if argument:
                words.append(_value(parameter, random))
                if parameter.nargs != -1:
                    break
            elif getattr(parameter, "is_flag", False):
                words.append(random.choice(parameter.opts))
            else:
                words.extend((parameter.opts[0], _value(parameter, random)) if random.random() < 0.5
                             else (f"{parameter.opts[0]}={_value(parameter, random)}",))  # fmt: skip
    if random.random() < 0.06:
        words.insert(
            random.randrange(len(words) + 1),
            random.choice(("--odd", "-x", "--", "--help", "odd", "", "--=", "-")),
        )
    if random.random() < 0.05:
        random.shuffle(words)
    return words


def _value(parameter: Any, random: Random) -> str:
    if random.random() < 0.08:
        return random.choice(ODD_TEXTS).replace("\x00", "")
    if parameter.name in _WORDS:
        return random.choice(_WORDS[parameter.name])
    if parameter.name in _REAL_WORK:
        return random.choice(_LONG_WORK)
    kind = str(parameter.type_descriptor.annotation)
    if "int" in kind or "float" in kind:
        return random.choice(_NUMBERS)
    if parameter.name in ("out", "margins", "config") or "Path" in kind:
        return random.choice(_PATHS)
    return random.choice((*ODD_TEXTS, *_PATHS)).replace("\x00", "")


_NAMED: tuple[tuple[str, ...], ...] = (
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--set", change) for change in _SETS),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--seeds", seeds) for seeds in _WORDS["seeds"]),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--budget", number) for number in _NUMBERS),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--evals", number) for number in _NUMBERS),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--episodes", number) for number in _NUMBERS),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--gpus-per-stack", number) for number in _NUMBERS),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--cpus-per-stack", number) for number in _NUMBERS),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--max-retries", number) for number in _NUMBERS),
    *(("run", "--tasks", D4RL_TASK, "--algos", "dtql", "--checkpoint-seconds",
    number) for number in _NUMBERS),
    *(("explain", "--store", STORE, "--", number) for number in _NUMBERS),
    *(("evaluate", "--store", STORE, "--", number) for number in _NUMBERS),
    *(("query", sql, "--store", STORE) for sql in _WORDS["sql"]),
    *(("query", sql, "--format", "csv", "--store", STORE) for sql in _WORDS["sql"]),
    *(("query", "SELECT 1", "--limit", number, "--store", STORE) for number in _NUMBERS),
    *(("status", "--store", store) for store in _STORES),
    *(("run", "--suite", "quickstart", "--store", store) for store in _STORES),
    *(("db", "upgrade", "--store", store) for store in _STORES),
    *(("db", "merge", "new.sqlite", store) for store in _STORES),
    *(("db", "export", path, "--store", STORE) for path in _PATHS),
    *(("check", "--out", path, "--store", STORE) for path in _PATHS),
    *(("check", "--margins", path, "--store", STORE) for path in _PATHS),
    *(("nightly", "--config", path) for path in _PATHS),
    *(("nightly", "--date", day, "--config", "nightly.yaml") for day in (*_WORDS["date"], *ODD_TEXTS[:20])),
    *(("serve", "--host", host, "--port", "0", "--store", "nowhere.sqlite") for host in _WORDS["host"]),
    *(("data", "collect", TASK, "--overwrite", "--out", path) for path in _PATHS),
    *(("data", "collect", TASK, "--seed", number, "--out", "new.hdf5") for number in _NUMBERS),
)  # fmt: skip
