"""Methods by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from algorithms.base import Algorithm, Dimensions
from algorithms.dtql import DTQL, DTQLConfig

METHODS: dict[str, tuple[type[Algorithm], type]] = {"dtql": (DTQL, DTQLConfig)}
"""Name -> method and its configuration."""


def build(
    name: str,
    dimensions: Dimensions,
    hyperparameters: Mapping[str, object],
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> Algorithm:
    """A method with a preset's hyper-parameters over a stack of seeds.

    Raises
    ------
    KeyError : there is no such method.
    TypeError : a hyper-parameter that the method does not have.
    """
    method, configuration = METHODS[name]
    return method(dimensions, configuration(**hyperparameters), seeds, device)
