"""What an input is, and what may come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LONGEST_REFUSAL = 6000
"""Characters in which a refusal must be said."""

ACCEPTED, SENTENCE = "accepted", "sentence"
TRACEBACK, HANG, CRASH = "traceback", "hang", "crash"
WRONG_ACCEPTED, RIGHT_REFUSED, FILES_CHANGED, ILL_TOLD = (
    "wrong accepted",
    "right refused",
    "files changed",
    "ill told",
)
NOT_MADE = "not made"
"""A fault of the harness itself."""
GOOD = (ACCEPTED, SENTENCE)
BAD = (TRACEBACK, HANG, CRASH, WRONG_ACCEPTED, RIGHT_REFUSED, FILES_CHANGED, ILL_TOLD, NOT_MADE)
KINDS = GOOD + BAD

WRONG_CODE = 97
"""Exit code by which a case that is a function says that something wrong was accepted."""


class WrongAcceptedError(Exception):
    """Raised by a case's function: something wrong was taken for right."""


@dataclass(frozen=True)
class Place:
    """Where an input lies: a folder of its own, all of which is watched."""

    root: Path
    material: Path
    """Good files to copy from; never changed."""
    code: Path
    """The worker's own copy of the checkout that is tried."""

    @property
    def work(self) -> Path:
        """The working folder of the command."""
        return self.root / "work"

    @property
    def data(self) -> Path:
        """BENCH_DATA_DIR."""
        return self.root / "data"

    @property
    def outside(self) -> Path:
        """What no command has any business with."""
        return self.root / "outside"


@dataclass(frozen=True)
class Case:
    """One input: what is run, and what must or may come of it."""

    name: str
    """What was done to the input; equal names are of one kind."""
    run: list[str] | Callable[[], None]
    """A command line without `bench`, or a function."""
    expect: Literal["refused", "accepted", "either"] = "either"
    may_change: tuple[str, ...] = ()
    """Patterns of files, relative to the place's root, that may come, change or go."""
    must_say: str = ""
    """Regular expression that the output of an accepted input holds."""
    must_not_say: str = ""
    same_output: bool = False
    """The output is that of the undamaged input."""
    undo: Callable[[], object] | None = None
    """Puts back what the input changed in the code's files; what functions remember of them is dropped."""
    environment: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    plain_text: bool = True
    """The output is read by a person: no control characters but line ends and tabs."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    """Exit code; negative: minus the signal."""
    hung: bool
    output: str
    errors: str
    seconds: float
    busy_seconds: float
    """Of processor time."""
    changed: tuple[str, ...]
    """Files that came, changed or went, without those that may."""


@dataclass(frozen=True)
class Outcome:
    """What came of an input."""

    kind: str
    where: str
    """Innermost place in the code, or the reason: equal for inputs with the same cause."""
    message: str


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")
_FRAME = re.compile(r'File "([^"]+)", line (\d+),? in (\S+)')


def judged(case: Case, ended: Ended, usual_output: str | None = None) -> Outcome:
    """What came of a case; the worst first."""
    text = ended.output + ended.errors
    last = next((line for line in reversed(text.strip().splitlines()) if line.strip()), "")[:300]
    if ended.hung:
        return Outcome(HANG, _innermost(text) or "?", f"still running after {ended.seconds:.0f} s")
    if ended.code < 0:
        return Outcome(CRASH, f"signal {-ended.code} {_innermost(text)}", _first(ended.errors))
    if ended.code == 70 or (
        "Traceback (most recent call last)" in text and ended.code not in (0, WRONG_CODE)
    ):
        return Outcome(TRACEBACK, _innermost(text), last)
    if ended.changed:
        return Outcome(FILES_CHANGED, case.name, ", ".join(ended.changed)[:300])
    if ended.code == WRONG_CODE:
        return Outcome(WRONG_ACCEPTED, case.name, last)
    if ended.code == 0:
        return _judged_acceptance(case, ended, usual_output)
    if case.expect == "accepted":
        return Outcome(RIGHT_REFUSED, case.name, _first(ended.errors))
    return _judged_refusal(case, ended)


def _judged_acceptance(case: Case, ended: Ended, usual_output: str | None) -> Outcome:
    if case.expect == "refused":
        return Outcome(WRONG_ACCEPTED, case.name, "exit code 0")
    if case.must_not_say and (found := re.search(case.must_not_say, ended.output)):
        return Outcome(WRONG_ACCEPTED, f"says {found[0]!r}", case.name)
    if case.must_say and not re.search(case.must_say, ended.output):
        return Outcome(WRONG_ACCEPTED, case.name, f"does not say {case.must_say!r}")
    if case.same_output and usual_output is not None and ended.output != usual_output:
        return Outcome(WRONG_ACCEPTED, case.name, "another output than that of the same content")
    if case.plain_text and (found := _CONTROL.search(ended.output)):
        return Outcome(ILL_TOLD, f"control character, {case.name}", repr(found[0]))
    return Outcome(ACCEPTED, "", "")


def _judged_refusal(case: Case, ended: Ended) -> Outcome:
    if ended.code not in (1, 2):
        return Outcome(ILL_TOLD, f"exit code {ended.code}, {case.name}", _first(ended.errors))
    if not ended.errors.strip() and not ended.output.strip():
        return Outcome(ILL_TOLD, f"exit code {ended.code} without a word, {case.name}", "")
    if len(ended.errors) > LONGEST_REFUSAL:
        return Outcome(
            ILL_TOLD, f"long refusal: {_kind_of(ended.errors)}", f"{len(ended.errors):,} characters"
        )
    if found := _CONTROL.search(ended.errors):
        return Outcome(ILL_TOLD, f"control character: {_kind_of(ended.errors)}", repr(found[0]))
    return Outcome(SENTENCE, "", _first(ended.errors))


def _innermost(text: str) -> str:
    """The innermost frame of the product's own code, and the kind of the exception."""
    frames = [(file, line, name) for file, line, name in _FRAME.findall(text) if _own(file)]
    # The dump of a process that hangs begins with the innermost frame, a traceback ends with it.
    dumped = "Current thread" in text
    frame = (frames[0] if dumped else frames[-1]) if frames else ("?", "0", "?")
    last = next(
        (line for line in reversed(text.strip().splitlines()) if re.match(r"\w[\w.]*(:|$)", line)), ""
    )
    kind = "" if dumped else " " + last.partition(":")[0].rpartition(".")[2][:60]
    return f"{_short(frame[0])}:{frame[1]} {frame[2]}{kind}"


def _own(file: str) -> bool:
    return bool(re.search(r"/(bench|algorithms)/", file)) and "site-packages" not in file


def _short(file: str) -> str:
    found = re.search(r"((?:bench|algorithms)/.*)$", file.rpartition("/code/")[2] or file)
    return found[1] if found else file


def _first(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")[:300]


def _kind_of(text: str) -> str:
    return re.sub(r"[^A-Za-z ]+", " ", _first(text))[:60]
