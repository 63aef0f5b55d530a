"""What the page says of one number, and of how it was made: as pairs of a name and a text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.records import DECLARED, PRECISION, SOURCES, RunRecord
from bench.report.check import further
from bench.report.judgement import WORDS, CellVerdict, Outcome
from bench.report.matching import data_against
from bench.report.measured import Configuration, Measured, Origin, ReportData, SeedScore
from bench.report.paper import PaperCell
from bench.report.tables import Amount, Cell, number_text
from bench.report.verdicts import MOST_FURTHER_SEEDS
from bench.visible_text import count

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_FEW_VALUES = 6

PROTOCOLS = {
    "last": "the last evaluation",
    "rat": "mean of the last ten evaluations (RAT)",
    "oms": "the best evaluation over training (OMS), an oracle",
    "mean5": "mean of the last five evaluations",
    "bc-select": "the evaluation that Diffusion-QL's offline rule takes by the behaviour-cloning loss",
    "last-bestN": "the last evaluation, with the number of candidates that scores best",
}
SPREADS = {
    "std_over_seeds": "standard deviation over training seeds",
    "se_over_rollouts": "standard error over the pooled rollouts of all seeds",
    "unknown": "the paper does not say what",
}
PAGE_MARKS: dict[Outcome, str] = {
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
    "inconclusive": "too few seeds to tell, or the printed number is too uncertain",
    "not comparable": "measured under other conditions than printed",
}
PROTOCOL_NAMES = {
    "last": "last evaluation",
    "rat": "running average",
    "oms": "best checkpoint",
    "mean5": "mean of five",
    "bc-select": "chosen by BC loss",
    "last-bestN": "best number of candidates",
}
BEHIND = frozenset(("Arithmetic", "SHA-256", "Simulator", "Code", "Configuration"))
"""Facts that are too much for a card; its link leads to them."""
_SHOWN_ELSEWHERE = {
    *("algorithm", "variant", "task", "task_version", "physics", "budget", "dataset"),
    *("hyperparameters", SOURCES, PRECISION, DECLARED),
}
"""Parts of a configuration."""

_NO_BREAK = "\N{NO-BREAK SPACE}"
_TYPESET = tuple(
    (re.compile(pattern), with_)
    for pattern, with_ in (
        (r"(?<![\w.-])-(?=\d)", MINUS),
        (r"(?<=\d) - (?=[\d(])", f" {MINUS} "),
        (r"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?!\d)", "\\1\N{NON-BREAKING HYPHEN}\\2\N{NON-BREAKING HYPHEN}\\3"),
        (rf" {PLUS_MINUS} ", f"{_NO_BREAK}{PLUS_MINUS}{_NO_BREAK}"),
        (r"(?<=\d) (?=(%|h|min|s|points?|seeds?|tasks?)(?![\w]))", _NO_BREAK),
        (r"(?<=\bn) = (?=\d)", f"{_NO_BREAK}={_NO_BREAK}"),
    )
)
"""What is replaced by what."""
_TO_BE_SET = re.compile(rf"-\d|[{PLUS_MINUS}=]|\d [-%a-z]")
"""Most cells of a page hold nothing of it."""

Fact = tuple[str, str]
"""A name and a text; lines of the text stay apart."""


# Numbers, times and short names as the page writes them


def slug(text: str) -> str:
    """`text` as part of an id or a class: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def typeset(text: str) -> str:
    """Numbers in a text as print has them: a true minus, and no line ends inside of a number or a date."""
    if _TO_BE_SET.search(text):
        for pattern, with_ in _TYPESET:
            text = pattern.sub(with_, text)
    return text


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
    """`2025-03-04 05:06 UTC`, all in one line."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment else ""
    return typeset(text).replace(" ", _NO_BREAK)


def hours(seconds: float | None) -> str:
    """`2.5 h`, `3.1 min`; empty where nobody measured it."""
    if seconds is None:
        return ""
    for length, unit in ((3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


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


def machines(runs: Sequence[RunRecord]) -> str:
    """On how many machines: `2 machines (node-1, node-2)`; empty where nobody noted them."""
    names = dict.fromkeys(str(run.hardware["hostname"]) for run in runs if run.hardware.get("hostname"))
    if not names:
        return ""
    shown = [*names][:_FEW_VALUES]
    more = ", …" if len(names) > len(shown) else ""
    return f"{count(len(names), 'machine')} ({', '.join(shown)}{more})"


def seeds_text(entry: Measured) -> str:
    """`5 seeds`, `4 of 5 seeds`: those with a score."""
    total = len(entry.trials)
    return count(total, "seed") if entry.n == total else f"{entry.n} of {count(total, 'seed')}"


# What a reader learns of one number who rests on it, touches it or reaches it by keyboard


@dataclass(frozen=True)
class Number:
    """One number with what is known of it; equal ones stand on the page once."""

    home: str
    """Id of what it is a part of: a measured cell, or the table that prints it."""
    title: str
    facts: tuple[Fact, ...]


def home_of(number: Measured | Amount) -> str:
    """Id of the place where the page says how a measured cell was made."""
    named = slug(f"{number.algorithm or ''}-{number.variant or ''}-{number.task or ''}")
    return f"made-{named}-{(number.config_hash or '')[:10]}"


def ids_of(numbers: Iterable[Number]) -> dict[Number, str]:
    """An id for every number: its home's, counted."""
    ids: dict[Number, str] = {}
    used: dict[str, int] = {}
    for number in numbers:
        if number not in ids:
            used[number.home] = used.get(number.home, 0) + 1
            ids[number] = f"{number.home}-{used[number.home]}"
    return ids


def number_of(cell: Cell, header: str, table: str) -> Number | None:
    """What is known of the number in a cell; None where nothing is.

    Parameters
    ----------
    header, table : of the cell's column, and the id of its table.
    """
    if not cell.text or cell.kind not in ("printed", "measured"):
        return None
    if cell.kind == "printed":
        return _printed_number(cell, header, table)
    return _measured_number(cell, header, table)


def _printed_number(cell: Cell, header: str, table: str) -> Number | None:
    """What the paper says of a printed number; None where it only quotes it and nothing is noted."""
    printed = cell.printed
    if not isinstance(printed, PaperCell):
        return None
    own = printed.seeds is not None or printed.episodes or printed.spread is not None
    if not (own or printed.note or cell.footnotes):
        return None
    facts = _kept(
        ("Seeds", "" if printed.seeds is None else str(printed.seeds)),
        ("Episodes", setting(printed.episodes)),
        ("Protocol", printed.protocol_as_stated),
        (PLUS_MINUS, SPREADS.get(printed.spread_kind, "") if printed.spread is not None else ""),
        ("Note", "\n".join(filter(None, (printed.note, *cell.footnotes)))),
    )
    return Number(f"{table}-numbers", f"{printed.paper}, printed: {header}", facts) if facts else None


def _measured_number(cell: Cell, header: str, table: str) -> Number | None:
    number = cell.measured
    tested = cell.verdict is not None and (cell.verdict.comparison or cell.verdict.reasons)
    if isinstance(number, Amount) and not (number.algorithm or tested):
        return None
    if not isinstance(number, Measured | Amount):
        return None
    facts = _kept(
        *_verdict_facts(cell),
        ("Measured", _measured_text(cell)),
        ("By seed", _by_seed(number)),
        ("Printed", _printed_text(cell)),
        ("Not comparable", "; ".join(cell.not_comparable)),
        ("Protocol", _protocol_text(number) if isinstance(number, Measured) else ""),
        *(_circumstances(number) if isinstance(number, Amount) else ()),
        ("Note", "\n".join(cell.footnotes)),
        ("Arithmetic", "\n".join(cell.verdict.arithmetic) if isinstance(cell.verdict, CellVerdict) else ""),
    )
    title = " on ".join(name for name in (number.algorithm, number.task) if name) or header
    of_no_cell = isinstance(number, Amount) and (number.config_hash is None or number.trials is None)
    return Number(f"{table}-numbers" if of_no_cell else home_of(number), title, facts)


def _kept(*facts: Fact) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact[1])


def _verdict_facts(cell: Cell) -> list[Fact]:
    verdict = cell.verdict
    if not isinstance(verdict, CellVerdict):
        said = [("Verdict", cell.verdict_words)]
        return said + ([("Difference", f"90 % interval {interval(*cell.interval)}")] if cell.interval else [])
    facts = [("Verdict", f"{WORDS[verdict.outcome]}: {meaning_of(verdict)}")]
    if verdict.comparison:
        test = verdict.comparison
        difference = f"{signed(test.difference)}, 90 % interval {interval(test.low, test.high)}"
        facts.append(("Difference", f"{difference}; margin {PLUS_MINUS}{points(test.margin)}"))
    assumed = "; ".join(verdict.assumptions)
    reasons = "" if verdict.outcome == "not comparable" else "; ".join(verdict.reasons)
    return [*facts, ("Because", reasons), ("Assumed", assumed)]


def meaning_of(verdict: CellVerdict) -> str:
    """What a verdict means in its case: of an open one, what would close it."""
    if verdict.outcome != "inconclusive":
        return MEANINGS[verdict.outcome]
    decide = what_would_decide(verdict) or "too few seeds to tell"
    return f"{decide}, if mean and spread stay" if verdict.further_seeds else decide


def what_would_decide(verdict: CellVerdict) -> str:
    """How many further seeds would decide an inconclusive cell, or why none would; else empty."""
    if verdict.further_seeds is not None:
        return f"{count(verdict.further_seeds, 'further seed')} would decide"
    test = verdict.comparison
    if not further(verdict) or test is None:
        return ""
    # After so many more seeds the rest of the error is the printed number's.
    own, n = (verdict.measured.standard_deviation or 0.0) ** 2, verdict.measured.n
    printed = max(test.standard_error**2 - own / n, 0.0)
    too_uncertain = printed > own / (n + MOST_FURTHER_SEEDS)
    why = (
        "the printed number is too uncertain" if too_uncertain else "the difference lies too near the margin"
    )
    return f"even {MOST_FURTHER_SEEDS} more seeds would not decide: {why}"


def _measured_text(cell: Cell) -> str:
    number = cell.measured
    kind = number.spread_kind if isinstance(number, Amount) else "std_over_seeds"
    over = f"; {PLUS_MINUS} {SPREADS[kind]}" if kind and cell.spread is not None else ""
    n = "" if cell.n is None or "n=" in cell.text else f" (n={cell.n})"
    return f"{cell.text}{n}{over}"


def _by_seed(number: Measured | Amount) -> str:
    if isinstance(number, Measured):
        pairs = [(trial.seed, trial.score) for trial in number.scored]
    else:
        pairs = list(zip(number.seeds or (), number.scores or (), strict=True))
    return ", ".join(
        f"{seed}: {points(score)}" for seed, score in pairs if score is not None and math.isfinite(score)
    )


def _printed_text(cell: Cell) -> str:
    """The printed number that a measured one stands beside."""
    printed = cell.printed
    if isinstance(printed, Amount):
        return number_text(printed.value, cell.digits.mean)
    if printed is None or printed.mean is None:
        return ""
    spread = SPREADS.get(printed.spread_kind, "") if printed.spread is not None else ""
    facts = (
        count(printed.seeds, "seed") if printed.seeds is not None else "",
        f"{printed.episodes} episodes each" if printed.episodes else "",
        printed.protocol_as_stated,
        f"{PLUS_MINUS} {spread}" if spread else "",
    )
    said = ", ".join(filter(None, facts))
    return printed.text + (f" ({said})" if said else "")


def _protocol_text(entry: Measured) -> str:
    if entry.imported:
        return entry.imported
    return f"{PROTOCOLS.get(entry.protocol, entry.protocol)}, {count(entry.episodes, 'episode')} each"


def _circumstances(number: Amount) -> Iterable[Fact]:
    for name in ("quantity", "device", "threads", "runner"):
        yield name.capitalize(), setting(getattr(number, name))
    yield "Precision", number.matmul_precision or ""


# How each measured cell was made: its seeds, data, code and machine, and every setting with its source


@dataclass(frozen=True)
class Making:
    """A measured cell."""

    id: str
    entry: Measured
    facts: tuple[Fact, ...]
    """What its seeds have in common."""
    numbers: tuple[Number, ...]
    """What tables show of it, each under a protocol and beside a printed number."""
    seeds: tuple[tuple[SeedScore, Origin | None], ...]
    hyperparameters: tuple[tuple[str, str, str], ...]
    """Name, value and source of each."""
    settings: tuple[Fact, ...]
    """The rest of its configuration."""


def makings(data: ReportData, numbers: Iterable[Number]) -> list[Making]:
    """Every measured cell, by method and task; `numbers` are those that tables show."""
    by_home: dict[str, list[Number]] = {}
    for number in dict.fromkeys(numbers):
        by_home.setdefault(number.home, []).append(number)
    ordered = sorted(
        data.measured, key=lambda entry: (entry.algorithm, entry.task, entry.variant, -entry.budget)
    )
    return [_making(entry, data, by_home) for entry in ordered]


def _making(entry: Measured, data: ReportData, numbers: Mapping[str, Sequence[Number]]) -> Making:
    home = home_of(entry)
    seeds = tuple((trial, data.origins.get(trial.trial_id)) for trial in entry.trials)
    configuration = data.configurations.get(entry.config_hash, {})
    return Making(
        id=home,
        entry=entry,
        facts=tuple(_common_facts(entry, [origin for _, origin in seeds if origin], configuration)),
        numbers=tuple(numbers.get(home, ())),
        seeds=seeds,
        hyperparameters=tuple(_hyperparameters(configuration)),
        settings=tuple(_settings(configuration)),
    )


def _common_facts(entry: Measured, origins: Sequence[Origin], configuration: Configuration) -> Iterable[Fact]:
    if entry.imported:
        yield "Origin", entry.imported
        yield "Trials", ", ".join(map(str, entry.trial_ids))
        yield "Configuration", entry.config_hash[:12]
        return
    hashes = _several(origin.dataset_sha256[:12] for origin in origins)
    replay = {"unverified": "simulator not confirmed by a replay"}.get(
        entry.replay, f"a replay of the data found physics {entry.replay}"
    )
    of_twin = f", a twin of {entry.twin_of}" if entry.twin_of else ""
    yield "Dataset", f"{entry.dataset}{of_twin}, {entry.verification}; {replay}"
    if entry.foreign:
        yield "Foreign", "; ".join(data_against(entry))
    if hashes:
        yield "SHA-256", hashes
    simulators = _several(origin.simulator for origin in origins)
    yield (
        "Simulator",
        ", ".join(filter(None, (simulators, f"physics {entry.physics}, task version {entry.task_version}"))),
    )
    if entry.precision:
        yield "Precision", precision_text(entry.precision, configuration.get(PRECISION))
    reduced = f", reduced ({', '.join(entry.reduced)})" if entry.reduced else ""
    yield "Budget", f"{entry.budget:g}{reduced}"
    if origins:
        yield "Code", _several(_code(origin) for origin in origins)
    yield "Trials", ", ".join(map(str, entry.trial_ids))
    yield "Configuration", entry.config_hash[:12]


def precision_text(held: str, wanted: object) -> str:
    """In which precision matrices were multiplied, and which one is declared where that is another."""
    return held if wanted in (None, held) else f"{held}; declared {wanted}"


def _code(origin: Origin) -> str:
    commit = f", commit {origin.code_commit[:12]}" if origin.code_commit else ", no commit known"
    changed = " with uncommitted changes" if origin.code_dirty else ""
    return f"bench {origin.code_version}{commit}{changed}"


def _several(texts: Iterable[str | None]) -> str:
    """The different ones, each once."""
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _hyperparameters(configuration: Configuration) -> Iterable[tuple[str, str, str]]:
    values, sources = _mapping(configuration.get("hyperparameters")), _mapping(configuration.get(SOURCES))
    for name, value in values.items():
        yield name, setting(value), str(sources.get(name, "unknown"))


def _settings(configuration: Configuration, prefix: str = "") -> Iterable[Fact]:
    for name, value in configuration.items():
        if isinstance(value, Mapping) and name not in _SHOWN_ELSEWHERE:
            yield from _settings(value, f"{name} ")
        elif prefix or name not in _SHOWN_ELSEWHERE:
            yield f"{prefix}{name}", setting(value)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
