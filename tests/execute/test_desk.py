"""The driver's desk: whom it answers, and whom it refuses. Its thread and Ray itself are tested by runs."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.errors import BenchError
from bench.execute.desk import Desk
from bench.execute.messages import Stopped
from bench.execute.office import PIECE_BYTES, Asked, PieceWanted, PlanWanted, Refusal
from bench.execute.ray_tune import _Endings
from bench.provenance import code_fingerprint
from bench.store.faults import StoreUnavailableError
from tests.execute.tiny import tiny_plan

HERE = code_fingerprint()


class StackStub:
    """A stack at work that only remembers."""

    def __init__(self, plan):
        self.plan = plan
        self.should_stop = False
        self.received = []

    def receive(self, event):
        self.received.append(event)
        if isinstance(event, Stopped) and event.stack == "no room":
            raise StoreUnavailableError("no room")


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def desk(stop):
    return Desk(None, stop)


@pytest.fixture
def stack(tiny_data):
    return StackStub(tiny_plan(tiny_data))


def ask(desk, number, question):
    return desk._reply(Asked("a", number, question))


def test_an_event_is_handed_on_and_answered_with_whether_to_stop(desk, stack):
    number = desk.open(stack)
    assert ask(desk, number, Stopped("here", 3)) is False
    stack.should_stop = True
    assert ask(desk, number, Stopped("here", 4)) is True
    assert [event.iterations for event in stack.received] == [3, 4]


def test_a_worker_that_was_given_up_for_lost_is_refused_when_it_comes_back(desk, stack):
    first = desk.open(stack)
    assert desk.close(first) is stack
    second = desk.open(stack)
    assert isinstance(ask(desk, first, Stopped("old", 3)), Refusal)
    assert stack.received == []
    assert ask(desk, second, PlanWanted("there", HERE)) is stack.plan


def test_other_code_ends_the_run_and_names_the_machine(desk, stack, stop):
    number = desk.open(stack)
    assert isinstance(ask(desk, number, PlanWanted("far-away", "0" * 64)), Refusal)
    assert stop.is_set()
    assert isinstance(desk.error, BenchError)
    assert "far-away" in desk.error.what
    assert "Install the same version" in desk.error.do_this


def test_a_result_that_cannot_be_stored_ends_the_run(desk, stack, stop):
    number = desk.open(stack)
    assert isinstance(ask(desk, number, Stopped("no room", 3)), Refusal)
    assert stop.is_set()
    assert desk.error.what == "no room"


def test_a_desk_that_broke_ends_the_run_although_no_stack_is_left_to_begin(desk):
    with desk.answering():  # without an office
        endings = _Endings(SimpleNamespace(desk=desk))
        with pytest.raises(AttributeError):
            while True:
                endings.on_step_begin(1, [])


def test_a_dataset_travels_in_pieces(desk, stack, tmp_path):
    content = bytes(range(256)) * (PIECE_BYTES // 256) + b"the end"
    path = tmp_path / "data.hdf5"
    path.write_bytes(content)
    stack.plan = replace(stack.plan, data_path=path)
    number, pieces = desk.open(stack), []
    while piece := ask(desk, number, PieceWanted(sum(map(len, pieces)))):
        pieces.append(piece)
    assert [len(piece) for piece in pieces] == [PIECE_BYTES, 7]
    assert b"".join(pieces) == content
