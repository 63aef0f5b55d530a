"""Methods by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from algorithms.base import Algorithm, Dimensions
from algorithms.bc import BC, BCConfig
from algorithms.bdpo import BDPO, BDPOConfig
from algorithms.bdpo_unimodal import BDPODirac, BDPOGaussian, DiracConfig, GaussianConfig
from algorithms.dtql import DTQL, DTQLConfig
from algorithms.dtql_kl import DTQLKL, DTQLKLConfig
from algorithms.edp import EDPCRR, EDPIQL, EDPTD3
from algorithms.edp_config import EDPCRRConfig, EDPIQLConfig, EDPTD3Config
from algorithms.hyperparameters import Hyperparameters
from algorithms.srpo import SRPO, SRPOConfig
from algorithms.srpo_points import SRPOPoints, SRPOPointsConfig

METHODS: dict[str, tuple[type[Algorithm], type[Hyperparameters]]] = {
    "bc": (BC, BCConfig),
    "bdpo": (BDPO, BDPOConfig),
    "bdpo-dirac": (BDPODirac, DiracConfig),
    "bdpo-gaussian": (BDPOGaussian, GaussianConfig),
    "dtql": (DTQL, DTQLConfig),
    "dtql-kl": (DTQLKL, DTQLKLConfig),
    "edp-td3": (EDPTD3, EDPTD3Config),
    "edp-crr": (EDPCRR, EDPCRRConfig),
    "edp-iql": (EDPIQL, EDPIQLConfig),
    "srpo": (SRPO, SRPOConfig),
    "srpo-points": (SRPOPoints, SRPOPointsConfig),
}
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
    ValueError : a value that a hyper-parameter cannot take.
    """
    method, _ = METHODS[name]
    return method(dimensions, configuration(name, hyperparameters), seeds, device)


def configuration(name: str, hyperparameters: Mapping[str, object]) -> Hyperparameters:
    """A method's configuration, checked.

    Raises
    ------
    KeyError : there is no such method.
    TypeError : a hyper-parameter that the method does not have.
    ValueError : a value that a hyper-parameter cannot take; the message names it.
    """
    return METHODS[name][1](**hyperparameters)
