"""What is left of a grid is looked for where something may be free first, and never for most of the time."""

from types import SimpleNamespace

import pytest

from bench.execute import queue
from bench.execute.queue import CellOfGrid, StackQueue
from bench.records import CellKey
from bench.store.claims import ClaimedStack, Nothing


class Answers:
    """A writer whose claims are as told, each taking so many seconds."""

    def __init__(self, clock, seconds, **answers):
        self.asked, self.answers, self.clock, self.seconds = [], answers, clock, seconds

    def claim(self, key, seeds, size):
        self.asked.append(key.task)
        self.clock[0] += self.seconds
        return self.answers[key.task]


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(queue, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def made(writer):
    keys = [CellKey("dtql", "released", task, "ab") for task in writer.answers]
    cells = [CellOfGrid(key, frozenset({0}), lambda seeds: tuple(seeds)) for key in keys]
    return StackQueue(cells, writer, print, lambda: False, seeds_per_stack=1)


def test_what_is_held_is_asked_for_again_after_all_else(clock):
    taken = ClaimedStack((0,), (), True)
    writer = Answers(clock, 0.0, first=Nothing.HELD, second=Nothing.HELD, third=taken)
    left = made(writer)
    assert [left.next()[1], left.next()[1]] == [taken, taken]
    assert writer.asked == ["first", "second", "third", "third"]
    writer.answers["third"] = Nothing.DONE
    assert left.next() is None
    assert writer.asked[4:] == ["third", "first", "second"]


@pytest.mark.parametrize(("seconds", "pause"), [(0.0, 2.0), (1.0, 40.0)])
def test_looks_that_take_long_are_made_seldom(clock, seconds, pause):
    writer = Answers(clock, seconds, first=Nothing.HELD, second=Nothing.HELD)
    left = made(writer)
    assert left.next() is None
    began = clock[0]
    clock[0] = began + pause - 0.1
    assert left.next() is None
    assert len(writer.asked) == 2
    clock[0] = began + pause + 0.1
    assert left.next() is None
    assert len(writer.asked) == 4
    left.look_again()
    left.next()
    assert len(writer.asked) == 6
