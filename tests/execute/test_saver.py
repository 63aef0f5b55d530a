"""When a stack's state is saved, and that training may go on meanwhile."""

import math
from threading import Event

import pytest
import torch

from bench.execute import saver as saver_module
from bench.execute.saver import Saver
from bench.training.checkpoint import Checkpoint

CPU = torch.device("cpu")


class Clock:
    """In the place of the module `time`."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(saver_module, "time", clock)
    return clock


def made(send, *, seconds=60.0, share=0.01, beside=False):
    return Saver(send, seconds=seconds, share=share, beside=beside, device=CPU)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("took", "share", "expected"), [(0.5, 0.01, 60.0), (6.0, 0.01, 600.0), (6.0, math.inf, 60.0)]
)
def test_the_longer_saving_takes_the_later_it_is_done_again(clock, beside, took, share, expected):
    def send(checkpoint):
        clock.now += took

    saver = made(send, share=share, beside=beside)
    assert not saver.is_due()
    clock.now += 61
    assert saver.is_due()
    saver.save({"x": torch.ones(3)}, {})
    saver.settle()
    clock.now += expected
    assert not saver.is_due()
    clock.now += 0.01
    assert saver.is_due()
    saver.close()


class SlowCheckpoint:
    """In the place of `Checkpoint`: nothing is packed before the test lets it."""

    def __init__(self):
        self.go = Event()

    def of(self, tensors, host):
        assert self.go.wait(60)
        return Checkpoint.of(tensors, host)


def test_what_is_saved_beside_is_the_state_of_that_moment(clock, monkeypatch):
    kept, slow = [], SlowCheckpoint()
    monkeypatch.setattr(saver_module, "Checkpoint", slow)
    saver, state = made(kept.append, seconds=0.0, beside=True), {"x": torch.ones(3)}
    saver.save(state, {"step": 1})
    state["x"].zero_()
    clock.now += 1000
    assert not saver.is_due()  # the last one is under way
    assert kept == []
    slow.go.set()
    saver.settle()
    assert [checkpoint.host for checkpoint in kept] == [{"step": 1}]
    assert kept[0].tensors()["x"].tolist() == [1, 1, 1]
    saver.close()


def test_one_checkpoint_follows_the_other():
    kept = []
    saver = made(lambda checkpoint: kept.append(checkpoint.host["step"]), beside=True)
    for step in range(5):
        saver.save({"x": torch.ones(3)}, {"step": step})
    saver.close()
    assert kept == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("ask", [Saver.settle, Saver.is_due, lambda saver: saver.save({}, {})])
def test_what_keeps_a_checkpoint_from_being_kept_is_raised_at_the_next_question(ask):
    def send(checkpoint):
        raise OSError("no space left on device")

    saver = made(send, beside=True)
    saver.save({"x": torch.ones(3)}, {})
    saver.close()
    with pytest.raises(OSError, match="no space"):
        ask(saver)
