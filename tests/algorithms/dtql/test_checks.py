"""DTQL under the checks that every method passes; and the checks under a method that is broken on purpose."""

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.dtql import DTQL, DTQLConfig
from bench.training import contract

DATA = contract.transitions()
CONFIG = DTQLConfig(
    hidden_width=8,
    diffusion_width=8,
    batch_size=4,
    candidates=4,
    pretrain_iterations=20,
    train_iterations=20,
    learning_rate_decay=True,
    likelihood_weight=0.5,
)


def make(seeds, method=DTQL):
    return contract.doubled(method(Dimensions(4, 2), CONFIG, seeds))


def test_seeds_are_independent():
    contract.assert_seeds_independent(make, DATA)


def test_poison_stays():
    contract.assert_poison_stays(make, DATA, "critics")


def test_deterministic():
    contract.assert_deterministic(make, DATA)


def test_state_is_whole():
    contract.assert_state_is_whole(make, DATA)


def test_never_waits():
    contract.assert_never_waits(make, DATA)


def test_seed_view():
    contract.assert_seed_view_acts_alike(make((3, 5)))


class Mixing(DTQL):
    """A loss that is a mean over the seeds."""

    def minimise(self, optimiser, losses):
        super().minimise(optimiser, losses / len(losses))


class Spreading(DTQL):
    """One seed's weights reach the others' rewards."""

    def update(self, program, batch, draws):
        spread = next(self.networks["critics"].parameters()).detach().mean()
        return super().update(program, {**batch, "rewards": batch["rewards"] + spread}, draws)


class Forgetful(DTQL):
    """Keeps something that changes out of its state."""

    count = 0

    def update(self, program, batch, draws):
        self.count += 1
        return super().update(program, {**batch, "rewards": batch["rewards"] + self.count}, draws)


class Random(DTQL):
    """Draws by itself."""

    def update(self, program, batch, draws):
        return super().update(program, {**batch, "rewards": torch.randn_like(batch["rewards"])}, draws)


class Reading(DTQL):
    """Waits for a value."""

    def update(self, program, batch, draws):
        batch["rewards"].sum().item()
        return super().update(program, batch, draws)


@pytest.mark.parametrize(
    ("check", "method"),
    [
        (contract.assert_seeds_independent, Mixing),
        (contract.assert_poison_stays, Spreading),
        (contract.assert_deterministic, Random),
        (contract.assert_state_is_whole, Forgetful),
        (contract.assert_never_waits, Reading),
    ],
)
def test_the_checks_can_fail(check, method):
    more = ("critics",) if check is contract.assert_poison_stays else ()
    with pytest.raises(AssertionError):
        check(lambda seeds: make(seeds, method), DATA, *more)
