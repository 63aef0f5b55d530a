"""Some inputs of all targets; and that the harness sees each kind of failure."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.__main__ import HERE, SHARES, findings, fuzz, spread, table
from tests.fuzz.__main__ import INPUTS as ALL
from tests.fuzz.outcomes import (
    ACCEPTED,
    BAD,
    CRASH,
    FILES_CHANGED,
    HANG,
    ILL_TOLD,
    RIGHT_REFUSED,
    SENTENCE,
    TRACEBACK,
    WRONG_ACCEPTED,
    Case,
    Outcome,
    Place,
    WrongAcceptedError,
    judged,
)
from tests.fuzz.process import fresh_place, run_case
from tests.fuzz.worker import TARGETS

INPUTS = 1000
FEW = 60


@pytest.mark.parametrize("inputs", [FEW, pytest.param(INPUTS, marks=pytest.mark.slow)])
def test_inputs_of_all_targets_end_as_they_should(tmp_path, inputs):
    processes = min(4, len(os.sched_getaffinity(0)))
    found = list(fuzz(tmp_path, spread(inputs, SHARES, of=ALL), HERE, processes=processes))
    bad = [one for one in found if one["kind"] in BAD]
    assert {one["target"] for one in found} == set(TARGETS)
    assert not bad, f"\n{findings(found)}\n{table(found)}"


@pytest.fixture
def place(tmp_path) -> Place:
    return fresh_place(tmp_path / "place", tmp_path, HERE)


def outcome(
    place: Place, run: list[str] | Callable[[], None], limit: float = 20.0, **facts: object
) -> Outcome:
    case = Case("an input", run, **facts)
    return judged(case, run_case(case, place, limit))


def say_and_leave(words: str, code: int) -> None:
    print(words, file=sys.stderr)
    sys.exit(code)


def fail() -> None:
    raise ValueError("planted")


def accept_wrong() -> None:
    raise WrongAcceptedError("another number")


# name -> (what the process does, what the case says of it, what it must be taken for)
PLANTED: dict[str, tuple[Callable[[], None], dict, str]] = {
    "a quiet end": (lambda: None, {}, ACCEPTED),
    "a sentence": (lambda: say_and_leave("bench: no such task", 2), {}, SENTENCE),
    "an exception": (fail, {}, TRACEBACK),
    "a defect told in a file": (lambda: say_and_leave("bench: a defect; see x.txt", 70), {}, TRACEBACK),
    "a signal": (lambda: os.kill(os.getpid(), signal.SIGSEGV), {}, CRASH),
    "being killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), {}, CRASH),
    "an accepted wrong input": (lambda: None, {"expect": "refused"}, WRONG_ACCEPTED),
    "a wrong result": (accept_wrong, {}, WRONG_ACCEPTED),
    "a word that must not be said": (lambda: print("verified"), {"must_not_say": "verified"}, WRONG_ACCEPTED),
    "a word that is missing": (lambda: print("x"), {"must_say": "400 rows"}, WRONG_ACCEPTED),
    "a refused right input": (
        lambda: say_and_leave("bench: no", 2),
        {"expect": "accepted"},
        RIGHT_REFUSED,
    ),
    "a refusal without a word": (lambda: sys.exit(1), {}, ILL_TOLD),
    "an unknown exit code": (lambda: say_and_leave("bench: no", 5), {}, ILL_TOLD),
    "a refusal of a hundred thousand characters": (
        lambda: say_and_leave("bench: " + "x" * 100_000, 2),
        {},
        ILL_TOLD,
    ),
    "an escape sequence": (lambda: print("\x1b[31mred"), {}, ILL_TOLD),
    "a changed file": (
        lambda: Path("../outside/precious.txt").write_text("overwritten\n") and None,
        {},
        FILES_CHANGED,
    ),
    "a file of the same size": (
        lambda: Path("../outside/precious.txt").write_text("NOT to be touched\n") and None,
        {},
        FILES_CHANGED,
    ),
    "a planted file": (lambda: Path("x").touch(), {}, FILES_CHANGED),
    "a file that may come": (lambda: Path("x").touch(), {"may_change": ("work/x",)}, ACCEPTED),
    "a file that goes": (lambda: Path("../outside/precious.txt").unlink(), {}, FILES_CHANGED),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_seen(place, name):
    run, facts, kind = PLANTED[name]
    assert outcome(place, run, **facts).kind == kind


def test_a_hang_is_ended_and_told_with_its_place(place):
    began = time.monotonic()
    found = outcome(place, lambda: time.sleep(60), limit=0.5)
    assert found.kind == HANG
    assert time.monotonic() - began < 10


def test_a_process_that_outlives_the_input_is_ended(place):
    def leave_another() -> None:
        if os.fork() == 0:
            time.sleep(1)
            Path("../outside/late").touch()
            os._exit(0)

    assert outcome(place, leave_another).kind == ACCEPTED
    time.sleep(1.5)
    assert not (place.outside / "late").exists()


def test_a_traceback_is_told_by_its_innermost_place_in_the_product(place):
    # A type that no caller passes: a failure inside of the product.
    found = outcome(place, lambda: __import__("bench.files").files.sha256_of(7))
    assert found.kind == TRACEBACK
    assert found.where.startswith("bench/files.py:")


def test_another_machine_cannot_be_reached(place):
    import socket

    def reach() -> None:
        for attempt in (
            lambda: socket.create_connection(("192.0.2.1", 80), 1),
            lambda: socket.getaddrinfo("x.example", 80),
        ):
            try:
                attempt()
            except OSError:
                continue
            raise AssertionError("reached")

    assert outcome(place, reach).kind == ACCEPTED


def test_the_same_number_gives_the_same_input(tmp_path):
    from tests.fuzz.mutation import damaged
    from tests.fuzz.process import random_of

    first, second = (damaged(bytes(5000), random_of("hdf5", 1, 17)) for _ in range(2))
    assert first == second
    assert first != damaged(bytes(5000), random_of("hdf5", 2, 17))


def test_every_target_has_its_share_and_begins_with_its_first_numbers():
    inputs = spread(INPUTS, SHARES)
    assert abs(len(inputs) - INPUTS) < len(SHARES)
    for target in TARGETS:
        numbers = [number for name, number in inputs if name == target]
        assert numbers == list(range(len(numbers)))
        assert numbers


def test_a_part_of_the_inputs_is_drawn_from_all_of_them():
    part, whole = spread(INPUTS, SHARES, of=ALL), spread(ALL, SHARES)
    assert len(set(part)) == len(part) == len(spread(INPUTS, SHARES))
    assert set(part) < set(whole)
    assert part == spread(INPUTS, SHARES, of=ALL)
