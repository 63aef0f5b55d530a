"""Random numbers as a function of where they are used, so that nothing has to be remembered.

A draw depends on (seed, stream, step, name) alone: blocks of steps are made ahead, each from a generator
seeded by (seed, stream, block, name). A checkpoint therefore needs counters instead of generator states, a
seed sees the same numbers alone or among others, and the number of kernels per step does not grow with the
number of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from algorithms.base import Draw, derived_seed

BLOCK_NUMBERS = 1 << 18
"""Numbers per seed, draw and block, about; part of what defines the streams, so never change it."""
MAXIMUM_BLOCK_STEPS = 128


def block_steps(draw: Draw) -> int:
    """Steps whose numbers are made together: a function of the draw's shape alone."""
    return max(1, min(MAXIMUM_BLOCK_STEPS, BLOCK_NUMBERS // max(1, math.prod(draw.shape))))


class DrawStream:
    """The draws of one stream (a phase, an evaluation) for a stack of sources.

    Parameters
    ----------
    keys : one per row of the result; tells apart the sources of randomness (a seed; a seed and an episode).
    stream : tells apart uses of the same keys, such as the phase's name.
    rows : number of transitions that `index`, `shuffled` and `in_order` draws choose from.
    dtype : of `normal` draws; `uniform` is always double, draws of rows are always int64.
    """

    def __init__(
        self,
        keys: Sequence[object],
        stream: str,
        draws: Sequence[Draw],
        *,
        device: torch.device | str = "cpu",
        rows: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._keys = tuple(keys)
        self._stream = stream
        self._draws = tuple(draws)
        self._device = torch.device(device)
        self._rows = rows
        self._dtype = dtype
        self._generator = torch.Generator(self._device)
        self._blocks: dict[str, tuple[int, Tensor]] = {}

    def at(self, step: int) -> dict[str, Tensor]:
        """Draws of one step by name, each (len(keys), *shape)."""
        return {draw.name: self._slice(draw, step) for draw in self._draws}

    def _slice(self, draw: Draw, step: int) -> Tensor:
        length = self._epoch_steps(draw) if draw.distribution == "shuffled" else block_steps(draw)
        number, offset = divmod(step, length)
        made, block = self._blocks.get(draw.name, (-1, None))
        if block is None or made != number:
            # Let go before the next is made: those of evaluations with many episodes are large.
            self._blocks.pop(draw.name, None)
            del block
            block = torch.stack([self._make(draw, key, number, length) for key in self._keys], dim=1)
            self._blocks[draw.name] = (number, block)
        return block[offset]

    def _epoch_steps(self, draw: Draw) -> int:
        """Minibatches that a permutation of the rows gives; one even where the rows are too few for it."""
        return max(1, self._rows // math.prod(draw.shape))

    def _make(self, draw: Draw, key: object, number: int, length: int) -> Tensor:
        """Draws of `length` steps, (length, *shape): a block, or the epoch of a permutation."""
        generator = self._generator.manual_seed(derived_seed(key, self._stream, number, draw.name))
        shape = (length, *draw.shape)
        if draw.distribution == "normal":
            return torch.randn(shape, generator=generator, device=self._device, dtype=self._dtype)
        if draw.distribution == "uniform":
            return torch.rand(shape, generator=generator, device=self._device, dtype=torch.float64)
        if draw.distribution == "shuffled":
            needed = math.prod(shape)
            passes = [
                torch.randperm(self._rows, generator=generator, device=self._device)
                for _ in range(math.ceil(needed / self._rows))
            ]
            return torch.cat(passes)[:needed].view(shape)
        if draw.distribution == "in_order":
            count = math.prod(shape)
            places = torch.arange(number * count, (number + 1) * count, device=self._device)
            return places.remainder(self._rows).view(shape)
        return torch.randint(self._rows, shape, generator=generator, device=self._device)
