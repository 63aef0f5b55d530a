"""The 2D problems as a table: numbers in place of scatter plots, and what the papers expect of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench.bandit2d.expectations import Finding
from bench.bandit2d.stored import Illustration, Illustrations
from bench.presets import RELEASED
from bench.records import method_label
from bench.report.paper import Digits
from bench.report.tables import BLANK, Amount, Block, Cell, Column, Coverage, Row, Table, finite
from bench.visible_text import count

TABLE_2D = "bandit2d"
TITLE = "The papers' 2D problems in numbers"
LARGE = 1000
"""From here on (a policy that left the plane) decimals say nothing."""
Seeds = Sequence[Illustration]


@dataclass(frozen=True)
class Quantity:
    """A column of numbers: where each seed's number comes from."""

    key: str
    header: str
    of: Callable[[Illustration], float | None]
    decimals: int = 3


def _stored(name: str, header: str) -> Quantity:
    return Quantity(name, header, lambda item: item.numbers.get(name))


def _value_test(place: int, item: Illustration) -> float | None:
    return None if item.clouds.value_test is None else float(item.clouds.value_test[place])


QUANTITIES = (
    _stored("energy_distance_to_truth", "Energy distance"),
    _stored("behaviour_energy_distance_to_truth", "of behaviour"),
    _stored("data_energy_distance_to_truth", "of data"),
    _stored("sliced_wasserstein_to_truth", "Sliced Wasserstein"),
    _stored("share_in_support", "In support"),
    _stored("share_on_best_modes", "On best modes"),
    _stored("data_share_on_best_modes", "of data"),
    Quantity("value_at_noise", "V(T) at noise", partial(_value_test, 0)),
    Quantity("value_wanted", "η log mean exp(Q/η)", partial(_value_test, 1)),
    Quantity("mean_reward", "Mean reward", lambda item: item.mean_return, 2),
)
UNCHECKED = "Other expectations"
NOTES = (
    "Distances: between 2,000 actions (or samples of the behaviour model, or data points) and the truth; two "
    "samples of the truth itself come to about a thousandth of its width. Truth: data exactly re-weighted "
    "by exp(reward/η); for DTQL's problems, which have no η, the data on the best modes.",
    "In support: share of actions no farther from the data than 99 % of the data is from itself. On best "
    "modes: share within three standard deviations of a best centre, or nearest to the best 5 % of the data.",
    "V(T) at noise should equal η log mean exp(Q/η) over samples of the behaviour model (BDPO's value test).",
    "±: standard deviation over training seeds. Expectations: papers give words, the thresholds are ours.",
)


def table_2d(illustrations: Illustrations, findings: Sequence[Finding]) -> Table:
    """One row per task and configuration, then one per expectation of the papers.

    Those that could not be checked are a block of their own, which the page folds.
    """
    groups = _groups(illustrations.items)
    checked = [finding for finding in findings if finding.answer != "not measured"]
    rest = [finding for finding in findings if finding.answer == "not measured"]
    expectations = [
        _expectations(title, found)
        for title, found in (("Expectations", checked), (UNCHECKED if checked else "Expectations", rest))
        if found
    ]
    return Table(
        id=TABLE_2D,
        title=TITLE,
        blocks=(_numbers(groups), *expectations),
        notes=(*NOTES, *illustrations.unreadable),
        coverage=Coverage(0, 0, 0, sentence=_summary(groups, findings)),
        rows_are_tasks=True,
    )


def _summary(groups: Sequence[Seeds], findings: Sequence[Finding]) -> str:
    answers = [finding.answer for finding in findings]
    checked = len(answers) - answers.count("not measured")
    of_them = f"{checked} of {len(answers)} expectations checked, {answers.count('yes')} hold"
    return f"{count(len(groups), 'cell')} measured; {of_them}"


def _groups(items: Iterable[Illustration]) -> list[Seeds]:
    """Seeds of every configuration that has a policy; free points are none."""
    groups: dict[tuple[str, ...], list[Illustration]] = {}
    for item in items:
        if item.clouds.free_points is None:
            groups.setdefault((item.task, item.algorithm, item.variant, item.config_hash), []).append(item)
    return sorted(groups.values(), key=_order)


def _order(seeds: Seeds) -> tuple[str, str, bool, float, int]:
    """By task and method, released before other variants, larger budgets first."""
    first = seeds[0]
    return first.task, first.algorithm, first.variant != RELEASED, -first.budget, first.trial_id


def _numbers(groups: Sequence[Seeds]) -> Block:
    columns = (
        Column("task", "2D problem", "label"),
        Column("method", "Method", "label"),
        Column("n", "Seeds", "condition"),
        Column("budget", "Budget", "condition"),
        *(Column(quantity.key, quantity.header, "measured") for quantity in QUANTITIES),
    )
    return Block("Numbers", columns, tuple(_row(seeds) for seeds in groups), of_paper=False)


def _row(seeds: Seeds) -> Row:
    first = seeds[0]
    reduced = (f"reduced ({', '.join(first.reduced)})",) if first.reduced else ()
    return Row(
        (
            Cell("label", first.task),
            Cell("label", method_label(first.algorithm, first.variant)),
            Cell("condition", str(len(seeds))),
            Cell("condition", f"{first.budget:g}", footnotes=reduced),
            *(_cell(seeds, quantity) for quantity in QUANTITIES),
        )
    )


def _cell(seeds: Seeds, quantity: Quantity) -> Cell:
    """Mean ± standard deviation over the seeds that have the number; blank where none has."""
    found = [(item, value) for item in seeds if (value := finite(quantity.of(item))) is not None]
    if not found:
        return BLANK
    values = [value for _, value in found]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    mean, first = statistics.mean(values), seeds[0]
    decimals = quantity.decimals if abs(mean) < LARGE else 0
    amount = Amount(
        mean,
        deviation,
        len(values),
        algorithm=first.algorithm,
        variant=first.variant,
        task=first.task,
        quantity=quantity.key,
        spread_kind="std_over_seeds",
        seeds=tuple(item.seed for item, _ in found),
        scores=tuple(values),
        trials=tuple(item.trial_id for item, _ in found),
        budget=first.budget,
        config_hash=first.config_hash,
    )
    return Cell("measured", measured=amount, digits=Digits(decimals, decimals))


def _expectations(title: str, findings: Sequence[Finding]) -> Block:
    columns = (
        Column("expectation", "Expected", "label"),
        Column("source", "Paper", "label"),
        Column("task", "2D problem", "label"),
        Column("numbers", "Measured", "measured"),
        Column("holds", "Holds", "measured"),
    )
    return Block(title, columns, tuple(map(_finding_row, findings)), of_paper=False)


def _finding_row(finding: Finding) -> Row:
    wanted = finding.expectation
    reduced = (f"reduced ({', '.join(finding.reduced)})",) if finding.reduced else ()
    of = Amount(algorithm=", ".join(wanted.methods), task=wanted.task)
    seen = replace(of, n=finding.seeds or None)
    answer = "" if finding.answer == "not measured" else finding.answer
    return Row(
        (
            Cell("label", wanted.statement),
            Cell("label", wanted.source),
            Cell("label", wanted.task),
            Cell("measured", finding.numbers, measured=seen, footnotes=reduced),
            Cell("measured", answer, measured=of, bold=answer == "no"),
        )
    )
