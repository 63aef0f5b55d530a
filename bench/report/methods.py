"""Methods as papers print them, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from algorithms.registry import methods
from bench.presets import method_on
from bench.report.paper import PaperCell

_PROTOCOLS = {"rat": "RAT", "oms": "OMS", "last": "last"}


def ablations() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Printed names of methods of ours with other hyper-parameters (`bench run --set NAME=VALUE`).

    Each with the method's name here and what was changed, as a trial's `reduced` says it, sorted.
    """
    return {
        printed: (name, tuple(sorted(f"{key} set to {value}" for key, value in changes.items())))
        for name, method in methods().items()
        for printed, changes in method.ablations.items()
    }


def algorithm_of(method: str, domain: str) -> str:
    """Name in this suite of a method as papers print it: `TD3+BC` -> `td3bc`."""
    declared = (name for name, own in methods().items() if method in own.printed)
    name = next(declared, None) or re.sub(r"[^a-z0-9]", "", method.lower())
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
