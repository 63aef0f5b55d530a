"""The checks of what every method must satisfy pass over no method that breaks it."""

from __future__ import annotations

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.bc import BC, BCConfig, bc_loss
from bench.errors import BenchError
from bench.training import contract

DATA = contract.transitions()
CONFIG = BCConfig(hidden_width=4, batch_size=4, train_iterations=6)


class Faulty(BC):
    """Behaviour cloning whose loss a subclass spoils."""

    def spoiled(self, loss: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def update(self, program, batch, draws):
        loss = self.spoiled(bc_loss(self.networks["actor"](batch["observations"]), batch["actions"]))
        self.minimise("actor", loss)
        return {"actor_loss": loss.detach()}


class Mixing(Faulty):
    def spoiled(self, loss):
        return loss / loss.detach().mean()


class Drawing(Faulty):
    def spoiled(self, loss):
        return loss * torch.rand(())


class Reading(Faulty):
    def spoiled(self, loss):
        return loss / max(loss.max().item(), 1e-6)


class Counting(Faulty):
    """How often it was called is no part of its state."""

    calls = 0

    def spoiled(self, loss):
        self.calls += 1
        return loss / self.calls


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (Mixing, contract.assert_seeds_independent),
        (Mixing, contract.assert_poison_stays),
        (Drawing, contract.assert_seeds_independent),
        (Drawing, contract.assert_deterministic),
        (Reading, contract.assert_never_waits),
        (Counting, contract.assert_state_is_whole),
    ],
)
def test_a_fault_is_found(fault, check):
    def make(seeds):
        return contract.doubled(fault(Dimensions(4, 2), CONFIG, seeds))

    with pytest.raises(AssertionError):
        check(make, DATA)


VALUES, PLACES = torch.arange(4.0), torch.tensor([2, 0])
MASK, CHOSEN = VALUES > 1, torch.ones(2)


@pytest.mark.parametrize(
    "reading",
    [
        lambda values: values[0].item(),
        lambda values: bool((values > 0).all()),
        lambda values: values.nonzero(),
        lambda values: values[MASK],
        lambda values: values.index_put_((MASK,), CHOSEN),
        lambda values: values.masked_select(MASK),
        lambda values: values.unique(),
        lambda values: values.unique_consecutive(),
        lambda values: torch.equal(values, values),
        lambda values: torch.bincount(PLACES),
        lambda values: values[:2].repeat_interleave(PLACES),
    ],
)
def test_what_lets_the_host_wait_is_found(reading):
    with pytest.raises(AssertionError, match="host synchronisation"), contract.NoReading():
        reading(VALUES.clone())


@pytest.mark.parametrize(
    "computing",
    [
        lambda values: values[PLACES],
        lambda values: values.index_put_((PLACES,), CHOSEN),
        lambda values: values.index_put_((MASK,), torch.zeros(())),
        lambda values: (values > 0).index_put_((PLACES,), CHOSEN > 0),
        lambda values: values.masked_fill(MASK, 0.0),
        lambda values: values.where(MASK, -values).sum(),
        lambda values: values.repeat_interleave(2),
    ],
)
def test_what_stays_on_the_device_is_let_through(computing):
    with contract.NoReading():
        computing(VALUES.clone())


def test_a_method_with_a_preset_is_checked_by_its_name():
    contract.check_method("bc")


def test_a_method_that_is_not_there_is_told():
    with pytest.raises(BenchError, match="unknown algorithm 'dtpl'"):
        contract.check_method("dtpl")
