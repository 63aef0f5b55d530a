"""The project's YAML files, damaged: each in a copy of the checkout, read by the commands that need it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from random import Random

from tests.fuzz.material import D4RL_TASK, TASK
from tests.fuzz.mutation import damaged
from tests.fuzz.outcomes import Case, Place

_RUN = ["run", "--tasks", D4RL_TASK, "--algos", "dtql,bdpo", "--executor", "local", "--dry-run"]
# (file below the checkout, the commands that read it); the nightly's and the margins also by their options.
_FILES: tuple[tuple[str, tuple[list[str], ...]], ...] = (
    ("tasks.yaml", (["list", "tasks"], ["list", "suites"], ["data", "list"], _RUN, ["data", "info", TASK])),
    ("margins.yaml", (["check", "--store", "bench.sqlite"],)),
    ("nightly.yaml", (["nightly", "--dry-run"],)),
    ("algorithms/presets/dtql.yaml", (["show", "dtql", D4RL_TASK], _RUN)),
    ("algorithms/presets/bdpo.yaml", (["show", "bdpo", D4RL_TASK], _RUN)),
    ("algorithms/presets/edp-td3.yaml", (["show", "edp", D4RL_TASK],)),
    ("algorithms/presets/dtql-kl.yaml", (["show", "dtql-kl", D4RL_TASK],)),
    ("bench/data/manifest.yaml", (["data", "verify", TASK], ["data", "fetch", D4RL_TASK])),
    ("paper_tables/tables.yaml", (["report", "--tables", "dtql-1", "--store", "bench.sqlite"],)),
)
MAY_CHANGE = ("data/.bench-hashes*", "work/results", "work/results/*", "work/bench.sqlite*")


def make(number: int, place: Place, random: Random) -> Case:
    """Input `number` of this target; the file of the code is put back afterwards."""
    shutil.copytree(place.material / "data", place.data, dirs_exist_ok=True)
    shutil.copy(place.material / "stores" / "bench.sqlite", place.work / "bench.sqlite")
    names = list(_NAMED)
    if number < len(names) * len(_FILES):
        path_name, commands = _FILES[number % len(_FILES)]
        kind = names[number // len(_FILES)]
    else:
        path_name, commands = random.choices(_FILES, (4, 2, 3, 3, 2, 1, 1, 3, 1))[0]
        # A wait of twenty seconds each: once is enough.
        names = [name for name in names if "expanding" not in name]
        kind = random.choice((*names, *["bytes"] * 25, *["a value"] * 40, *["a line"] * 20))
    path = place.code / path_name
    text = path.read_text(encoding="utf-8")
    if kind == "bytes":
        how, content = damaged(text.encode(), random)
        kind = f"bytes: {how}"
    elif kind == "a value":
        content = _value_changed(text, random)
    elif kind == "a line":
        content = _line_changed(text, random)
    else:
        content = _NAMED[kind](text, random)
    content = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    command = random.choice(commands)
    expect = "refused" if kind in _NEVER_RIGHT else "either"
    if path_name in ("nightly.yaml", "margins.yaml") and random.random() < 0.5:
        (place.work / "own.yaml").write_bytes(content)
        option = "--config" if path_name == "nightly.yaml" else "--margins"
        command = [*command, option, "own.yaml"]
    else:
        path.write_bytes(content)
    return Case(
        f"{path_name}: {kind}",
        command,
        expect,
        MAY_CHANGE,
        undo=lambda: path.write_text(text, encoding="utf-8"),
    )


VALUES = (
    "2025-13-45", "2025-02-30", "2025-01-01", "2025-01-01 25:00:00", "!!timestamp x",
    "!!python/object/apply:os.system [x]", "!!binary '%%'",
    "!!int x", "!!float x", "!!bool x", "!!bool maybe", "!!null 7", "!!set {a, b}", "!!omap [a: 1]",
    "!!pairs [a: 1]", "!odd x", "!<tag:x> y",
    "*nothing", "&a [*a]", "&a {b: *a}", "[]", "{}", "[1, 2]", "{a: 1}", "null", "~", "yes", "no", "true",
    "0", "-1", "1e400", "-1e400", ".inf", "-.inf", ".nan",
    "0x", "0b", "0o8", "1:60", "190:20:30", "1_000", "9" * 40, "9" * 5000, "1" + "0" * 400 + ".0", "''", "x",
    '"\\x1b[31m"', '"\\0"', "'é'", '"\\ud800"',
    "x" * 5000, "x" * 100_000, "? x", "- x", "|", ">", "|\n  text", "'", '"', "[", "{", "%", "@", "`", "\t",
    "<<: x", "{<<: 1}", "{<<: [1]}", "{[1]: 2}", "{? {a: 1} : 2}",
    "{1: 2}", "{null: 2}", "{2025-01-01: 2}", "[" * 500, "[" * 5000, "{a: " * 1000, "0.3", "1.5", "1e-3", "=",
)  # fmt: skip


def _value_changed(text: str, random: Random) -> str:
    """What stands behind one colon or dash replaced."""
    places = list(re.finditer(r"(?m)^(?!\s*#)(\s*(?:- )?[\w.-]+: |\s*- )(\S.*)$", text))
    place = random.choice(places)
    inner = list(re.finditer(r"[^\s,\[\]{}:]+(?=[,\]}])", place[2]))
    value = random.choice(VALUES)
    if inner and random.random() < 0.5:
        one = random.choice(inner)
        start = place.start(2) + one.start()
        return text[:start] + value + text[start + len(one[0]) :]
    return text[: place.start(2)] + value + text[place.end(2) :]


def _line_changed(text: str, random: Random) -> str:
    lines = text.splitlines()
    at = random.choice(
        [number for number, line in enumerate(lines) if line.strip() and not line.strip().startswith("#")]
    )
    kind = random.randrange(7)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[at])
    elif kind == 2:
        lines[at] = " " * random.choice((1, 2, 4)) + lines[at]
    elif kind == 3:
        lines[at] = lines[at].lstrip()
    elif kind == 4:
        lines[at] = re.sub(r"\w+:", "odd_name:", lines[at], count=1)
    elif kind == 5:
        other = random.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = "\t" + lines[at]
    return "\n".join(lines) + "\n"


def _expanding(_: str, __: Random) -> str:
    """A few hundred bytes that stand for a thousand million values."""
    levels = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(levels) + "\n"


def _top_odd(value: str) -> Callable[[str, Random], str]:
    """The first key at the top of the file gets another value."""

    def change(text: str, _: Random) -> str:
        found = re.search(r"(?m)^([\w-]+):", text)
        return text[: found.end()] + f" {value}\nodd_rest:" + text[found.end() :]

    return change


_NAMED: dict[str, Callable[[str, Random], str | bytes]] = {
    "empty": lambda text, _: "",
    "comments alone": lambda text, _: "# nothing\n",
    "a list": lambda text, _: "- 1\n- 2\n",
    "a number": lambda text, _: "7\n",
    "a date": lambda text, _: "2025-13-45\n",
    "null": lambda text, _: "null\n",
    "a text": lambda text, _: "x" * 100_000,
    "twice": lambda text, _: text + "\n---\n" + text,
    "not UTF-8": lambda text, _: b"\xff\xfe" + text.encode(),
    "UTF-16": lambda text, _: text.encode("utf-16"),
    "with a mark of byte order": lambda text, _: b"\xef\xbb\xbf" + text.encode(),
    "with zero bytes": lambda text, _: text.encode() + b"\x00\x00",
    "with Windows line ends": lambda text, _: text.replace("\n", "\r\n"),
    "too deep": lambda text, _: "a: " + "[" * 100_000,
    "too deep in braces": lambda text, _: "{a: " * 20_000,
    "expanding": _expanding,
    "expanding behind": lambda text, random: text + _expanding(text, random),
    "containing itself": lambda text, _: "&a\nodd: *a\n",
    "a list containing itself": lambda text, _: "odd: &a [*a, *a]\n",
    "merging itself": lambda text, _: "&a\n<<: *a\n",
    "merging a list": lambda text, _: "<<: [1, 2]\n" + text,
    "keys that are lists": lambda text, _: "? [1, 2]\n: 3\n",
    "keys that are objects": lambda text, _: "? {a: 1}\n: 3\n",
    "keys twice": lambda text, _: text + text,
    "an unknown tag": lambda text, _: "!odd\n" + text,
    "a tag of Python": lambda text, _: "odd: !!python/object/apply:os.system ['touch planted']\n" + text,
    "a tag of a date": lambda text, _: "odd: !!timestamp x\n" + text,
    "a directive": lambda text, _: "%YAML 9.9\n---\n" + text,
    "an odd directive": lambda text, _: "%TAG ! x\n---\n" + text,
    "a long key": lambda text, _: f"{'x' * 900}: 1\n" + text,
    "a key with escapes": lambda text, _: '"\\x1b[31mred": 1\n' + text,
    "a value with escapes": lambda text, _: 'odd: "\\x1b[31mred"\n' + text,
}
for _value in VALUES:
    _NAMED[f"top {_value[:30]!r}"] = _top_odd(_value)
_NEVER_RIGHT = {
    "empty", "comments alone", "a list", "a number", "a date", "null", "a text", "not UTF-8",
    "with zero bytes", "too deep",
    "too deep in braces", "expanding", "containing itself", "a list containing itself", "merging itself",
    "keys that are lists",
    "keys that are objects", "keys twice", "an unknown tag", "a tag of Python", "a tag of a date",
    "a key with escapes",
}  # fmt: skip
