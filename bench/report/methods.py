"""Methods as papers print them, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bench.headlines import method_on
from bench.report.paper import PaperCell

_NAMES = {
    "EDP+TD3": "edp-td3",
    "EDP+CRR": "edp-crr",
    "EDP+IQL": "edp-iql",
    "DTQL with KL regulariser (DQL_KL)": "dtql-kl",
    "DTQL (50-epoch pretrain)": "dtql",
}
"""Where the name does not follow from the printed one."""

_FULL_SAMPLING = ("action_approximation set to False", "diffusion_steps set to 100", "sampler set to ddpm")
ABLATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "DTQL (no pretrain)": ("dtql", ("pretrain_iterations set to 1",)),
    "DQL (JAX)": ("edp-td3", _FULL_SAMPLING),
    "DDPM (no action approximation, K=100)": ("edp-td3", _FULL_SAMPLING),
    "action approximation, K=100": ("edp-td3", ("diffusion_steps set to 100",)),
}
"""Methods that are one of ours with other hyper-parameters (`bench run --set NAME=VALUE`), and with which."""

_PROTOCOLS = {"rat": "RAT", "oms": "OMS", "last": "last"}


def algorithm_of(method: str, domain: str) -> str:
    """Name in this suite of a method as papers print it: `TD3+BC` -> `td3bc`."""
    name = _NAMES.get(method) or re.sub(r"[^a-z0-9]", "", method.lower())
    return method_on(name, domain)


def column_of(cells: Iterable[PaperCell]) -> dict[PaperCell, str]:
    """Column that each cell stands in: its method, with the protocol where a method has several."""
    cells = list(cells)
    protocols: dict[str, set[str]] = {}
    for cell in cells:
        protocols.setdefault(cell.method, set()).add(cell.protocol)
    return {
        cell: cell.method
        if len(protocols[cell.method]) == 1
        else f"{cell.method} ({_PROTOCOLS.get(cell.protocol, 'protocol unknown')})"
        for cell in cells
    }
