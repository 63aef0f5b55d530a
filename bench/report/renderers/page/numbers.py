"""What a reader learns of one number who rests on it, touches it or reaches it by keyboard."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.judgement import WORDS, CellVerdict
from bench.report.renderers.page.words import (
    MEANINGS,
    PLUS_MINUS,
    PROTOCOLS,
    SPREADS,
    count,
    interval,
    points,
    setting,
    signed,
    slug,
)
from bench.report.tables import Cell

Fact = tuple[str, str]
"""A name and a text; lines of the text stay apart."""


@dataclass(frozen=True)
class Number:
    """One number with what is known of it; equal ones stand on the page once."""

    home: str
    """Id of what it is a part of: a measured cell, or the table that prints it."""
    title: str
    facts: tuple[Fact, ...]


def home_of(algorithm: object, variant: object, task: object, config_hash: object) -> str:
    """Id of the place where the page says how a measured cell was made."""
    return f"made-{slug(f'{algorithm}-{variant}-{task}')}-{str(config_hash)[:10]}"


def ids_of(numbers: Iterable[Number | None]) -> dict[Number, str]:
    """An id for every number: its home's, counted."""
    ids: dict[Number, str] = {}
    used: dict[str, int] = {}
    for number in numbers:
        if number is not None and number not in ids:
            used[number.home] = used.get(number.home, 0) + 1
            ids[number] = f"{number.home}-{used[number.home]}"
    return ids


def measured_number(
    cell: Cell, printed: Cell | None, verdict: CellVerdict | None, table: str
) -> Number | None:
    """What is known of a measured cell that stands beside `printed`; None where nothing is."""
    detail = cell.detail
    if not cell.text or not detail:
        return None
    facts = [
        *_verdict_facts(cell, verdict),
        ("Measured", _measured_text(cell)),
        ("By seed", _by_seed(cell)),
        ("Printed", _printed_text(printed)),
        ("Not comparable", "; ".join(cell.not_comparable)),
        ("Protocol", _protocol_text(cell)),
        *(
            (name.capitalize(), setting(detail.get(name)))
            for name in ("quantity", "device", "threads", "runner")
        ),
        ("Note", "\n".join(cell.footnotes)),
        ("Arithmetic", "\n".join(verdict.arithmetic) if verdict else ""),
    ]
    whole = "config_hash" in detail and "task" in detail and "trials" in detail
    home = home_of(*(detail.get(name, "") for name in ("algorithm", "variant", "task", "config_hash")))
    title = " on ".join(str(detail[name]) for name in ("algorithm", "task") if detail.get(name))
    return Number(home if whole else f"{table}-numbers", title, _kept(facts))


def printed_number(cell: Cell, column: str, table: str) -> Number | None:
    """What the paper says of a printed number; None where it only quotes it and nothing is noted."""
    detail = cell.detail
    own = cell.n is not None or detail.get("episodes") or cell.spread is not None
    if not cell.text or not (own or detail.get("note") or cell.footnotes):
        return None
    facts = [
        ("Seeds", "" if cell.n is None else str(cell.n)),
        ("Episodes", setting(detail.get("episodes"))),
        ("Protocol", str(detail.get("protocol_as_stated") or "")),
        (PLUS_MINUS, SPREADS.get(str(detail.get("spread_kind")), "") if cell.spread is not None else ""),
        ("Note", "\n".join(filter(None, (str(detail.get("note") or ""), *cell.footnotes)))),
    ]
    title = f"{detail.get('paper', '')}, printed: {column}".removeprefix(", ")
    return Number(f"{table}-numbers", title, _kept(facts)) if _kept(facts) else None


def _kept(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact[1])


def _verdict_facts(cell: Cell, verdict: CellVerdict | None) -> list[Fact]:
    facts = [("Verdict", cell.verdict)] if cell.verdict else []
    if verdict is None:
        return facts + (
            [("Difference", f"90 % interval {interval(*cell.interval)}")] if cell.interval else []
        )
    facts = [("Verdict", f"{WORDS[verdict.outcome]}: {MEANINGS[verdict.outcome]}")]
    if verdict.comparison:
        test = verdict.comparison
        difference = f"{signed(test.difference)}, 90 % interval {interval(test.low, test.high)}"
        facts.append(("Difference", f"{difference}; margin {PLUS_MINUS}{points(test.margin)}"))
    if verdict.further_seeds:
        seeds = count(verdict.further_seeds, "further seed")
        facts.append(("To decide", f"{seeds}, if mean and spread stay"))
    assumed = "; ".join(verdict.assumptions)
    reasons = "" if verdict.outcome == "not comparable" else "; ".join(verdict.reasons)
    return [*facts, ("Because", reasons), ("Assumed", assumed)]


def _measured_text(cell: Cell) -> str:
    spread = SPREADS.get(str(cell.detail.get("spread_kind")), "")
    over = f"; {PLUS_MINUS} {spread}" if spread and cell.spread is not None else ""
    n = "" if cell.n is None or "n=" in cell.text else f" (n={cell.n})"
    return f"{cell.text}{n}{over}"


def _by_seed(cell: Cell) -> str:
    seeds, scores = cell.detail.get("seeds"), cell.detail.get("scores")
    if not isinstance(seeds, list) or not isinstance(scores, list):
        return ""
    shown = [
        f"{seed}: {points(score)}" for seed, score in zip(seeds, scores, strict=True) if math.isfinite(score)
    ]
    return ", ".join(shown)


def _printed_text(printed: Cell | None) -> str:
    if printed is None or not printed.text:
        return ""
    detail = printed.detail
    spread = SPREADS.get(str(detail.get("spread_kind")), "") if printed.spread is not None else ""
    episodes = detail.get("episodes")
    facts = (
        count(printed.n, "seed") if printed.n is not None else "",
        f"{episodes} episodes each" if episodes else "",
        str(detail.get("protocol_as_stated") or ""),
        f"{PLUS_MINUS} {spread}" if spread else "",
    )
    said = ", ".join(filter(None, facts))
    return f"{printed.text} ({said})" if said else printed.text


def _protocol_text(cell: Cell) -> str:
    protocol, episodes = cell.detail.get("protocol"), cell.detail.get("episodes")
    if not protocol:
        return ""
    words = PROTOCOLS.get(str(protocol), str(protocol))
    return f"{words}, {count(episodes, 'episode')} each" if isinstance(episodes, int) else words
