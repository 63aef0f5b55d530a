"""Numbers, times and short names as the page writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from bench.records import RunRecord
from bench.report.judgement import WORDS, Outcome

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_FEW_VALUES = 6

PROTOCOLS = {
    "last": "the last evaluation",
    "rat": "mean of the last ten evaluations (RAT)",
    "oms": "the best evaluation over training (OMS), an oracle",
}
SPREADS = {
    "std_over_seeds": "standard deviation over training seeds",
    "se_over_rollouts": "standard error over the pooled rollouts of all seeds",
    "unknown": "the paper does not say what",
}
MARKS: dict[Outcome, str] = {
    "reproduced": "\N{CHECK MARK}",
    "below": "\N{BLACK DOWN-POINTING TRIANGLE}",
    "above": "\N{BLACK UP-POINTING TRIANGLE}",
    "inconclusive": "?",
    "not comparable": "\N{DAGGER}",
}
"""Said beside every colour, so that no verdict is told by colour alone."""
MEANINGS: dict[Outcome, str] = {
    "reproduced": "no difference that matters: the 90 % interval of the difference lies inside the margin",
    "below": "clearly lower than printed, by more than the margin",
    "above": "clearly higher than printed, by more than the margin",
    "inconclusive": "too few seeds to tell; how many more would decide stands beside it",
    "not comparable": "measured under other conditions than printed; the reason stands beside it",
}
BY_WORDS: dict[str, Outcome] = {words: outcome for outcome, words in WORDS.items()}


def slug(text: str) -> str:
    """`text` as part of an id or a class: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def points(value: float | None, decimals: int = 1) -> str:
    """A score, with a minus sign that is as wide as a plus; empty where there is none."""
    return "" if value is None else f"{value:z.{decimals}f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A difference: `+1.2`."""
    return f"{value:+z.1f}".replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """The 90 % interval of a difference: `-1.2 to +3.4`."""
    return f"{signed(low)} to {signed(high)}"


def minute(moment: datetime | None) -> str:
    """`2025-03-04 05:06 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else ""


def hours(seconds: float | None) -> str:
    """`2.5 h`, `3.1 min`; empty where nobody measured it."""
    if seconds is None:
        return ""
    for length, unit in ((3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def count(number: int, noun: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def setting(value: object) -> str:
    """A hyper-parameter as it would be typed; long lists by their ends."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        shown = value if len(value) <= _FEW_VALUES else [*value[:2], "…", value[-1]]
        whole = "" if len(value) <= _FEW_VALUES else f" ({len(value)} in all)"
        return ", ".join(map(setting, shown)) + whole
    return "" if value is None else str(value)


def machine(run: RunRecord) -> str:
    """`EPYC 7B13, 2 cores, 7.8 GiB, no GPU`."""
    hardware = run.hardware
    gpus = hardware.get("gpus") or []
    parts = [
        str(hardware.get("cpu", "")),
        f"{hardware['cores']} cores" if hardware.get("cores") else "",
        f"{hardware['memory_gib']:.1f} GiB" if hardware.get("memory_gib") else "",
        ", ".join(map(str, gpus)) if gpus else "no GPU",
    ]
    return ", ".join(part for part in parts if part)
