"""One plain version per method: the oracle of tests/algorithms and the yardstick of benchmarks.iteration."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.plain.bc import PlainBC
from benchmarks.plain.bdpo import PlainBDPO, PlainUnimodal
from benchmarks.plain.cql import PlainCQL
from benchmarks.plain.crr import PlainCRR
from benchmarks.plain.dac import PlainDAC
from benchmarks.plain.dql import PlainDQL
from benchmarks.plain.dt import PlainDT
from benchmarks.plain.dtql import PlainDTQL, PlainDTQLKL
from benchmarks.plain.edp import PlainEDP
from benchmarks.plain.idql import PlainIDQL
from benchmarks.plain.iql import PlainAWAC, PlainIQL
from benchmarks.plain.modules import PlainVersion
from benchmarks.plain.onestep import PlainOneStep
from benchmarks.plain.qgpo import PlainQGPO
from benchmarks.plain.sfbc import PlainSfBC
from benchmarks.plain.srpo import PlainSRPO
from benchmarks.plain.td3bc import PlainTD3BC

PLAIN: Mapping[str, type[PlainVersion]] = {
    "dtql": PlainDTQL,
    "dtql-kl": PlainDTQLKL,
    "srpo": PlainSRPO,
    "edp-td3": PlainEDP,
    "edp-crr": PlainEDP,
    "edp-iql": PlainEDP,
    "bdpo": PlainBDPO,
    "bdpo-gaussian": PlainUnimodal,
    "bdpo-dirac": PlainUnimodal,
    "bc": PlainBC,
    "bc-10": PlainBC,
    "td3bc": PlainTD3BC,
    "iql": PlainIQL,
    "awac": PlainAWAC,
    "cql": PlainCQL,
    "crr": PlainCRR,
    "onestep": PlainOneStep,
    "dt": PlainDT,
    "dql": PlainDQL,
    "dac": PlainDAC,
    "idql": PlainIDQL,
    "qgpo": PlainQGPO,
    "sfbc": PlainSfBC,
}
"""By the method's name; a method that is not here is not measured."""
