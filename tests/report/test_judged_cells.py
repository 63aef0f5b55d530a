"""Verdicts in tables: on exactly the number and the configuration that was judged, and on suites' means."""

import csv
import io
import json
from dataclasses import replace

import pytest

from bench.report.build import build_table
from bench.report.formats import markdown
from bench.report.formats.data import render_csv, render_json
from bench.report.judgement import CellVerdict, Judgement, SuiteVerdict
from bench.report.measured import ReportData, SeedScore
from bench.report.tables import legend
from tests.report.builders import measured
from tests.report.filled import filled_data, filled_judgement, gym_mean

HOPPER = "hopper-medium-v2"
KEY = ("DTQL", "dtql", HOPPER, "last")
ENTRY = measured(HOPPER, (98.0, 101.0, 99.5))


def cell(table, entry=ENTRY, row=HOPPER, column="DTQL measured", **changes):
    verdict = CellVerdict(
        key=KEY, table="dtql-1", method="DTQL", outcome="below", printed="99.6 ± 0.87", measured=99.5,
        deviation=1.5, n=3, variant="released", config_hash=ENTRY.config_hash,
    )  # fmt: skip
    judgement = Judgement((replace(verdict, **changes),))
    built = build_table(table, ReportData(measured=(entry,)), judgement)
    (cells,) = [
        dict(zip((column.key for column in block.columns), found.cells, strict=True))
        for block in built.blocks
        for found in block.rows
        if found.cells[0].text == row
    ]
    return cells[column]


def test_the_judged_configuration_carries_the_verdict():
    assert cell("dtql-1").verdict_words == "not reproduced, below"
    assert cell("dtql-1").mark == "↓"
    assert cell("combined").verdict_words == "not reproduced, below"


def test_the_same_number_in_another_table_has_the_same_verdict():
    assert cell("dtql-3", column="DTQL (50-epoch pretrain) measured").mark == "↓"


@pytest.mark.parametrize(
    "change",
    [
        {"config_hash": "0" * 64},
        {"variant": "paper"},
        {"printed": "99.5 ± 0.87"},
        {"key": ("DTQL", "dtql", HOPPER, "oms")},
        {"key": ("BDPO", "dtql", HOPPER, "last")},
    ],
)
def test_verdicts_on_anything_else_stay_away(change):
    assert cell("dtql-1", **change).verdict is None


def test_not_comparable_has_one_mark():
    entry = replace(ENTRY, physics="modern")
    shown = cell("dtql-1", entry, outcome="not comparable")
    assert (shown.verdict_words, shown.mark) == ("not comparable", "†")


def test_a_misprint_in_a_second_table_takes_no_verdict():
    # EDP Table 4 prints 97.0 for kitchen-complete, Table 5 (misprinted) 93.4.
    data, judgement = filled_data(), filled_judgement()
    verdict = judgement.by_key["EDP", "edp-td3", "kitchen-complete-v0", "oms"]
    only = Judgement((replace(verdict, printed="97.0"),))

    def mark(table, column):
        block = next(b for b in build_table(table, data, only).blocks if "Kitchen" in b.title)
        row = next(r for r in block.rows if r.cells[0].text == "kitchen-complete-v0")
        return dict(zip((c.key for c in block.columns), row.cells, strict=True))[column].mark

    assert mark("edp-4", "EDP+TD3 measured") == judgement_mark(verdict)
    assert mark("edp-5", "EDP+TD3 (OMS) measured") == "†"


def judgement_mark(verdict):
    return {"reproduced": "≈", "below": "↓", "above": "↑", "inconclusive": "?"}[verdict.outcome]


def test_an_average_carries_its_suites_verdict():
    shown = {}
    table = build_table("dtql-1", filled_data(), filled_judgement())
    for block in table.blocks[:2]:
        aggregate = next(row for row in block.rows if row.aggregate)
        shown[block.title] = dict(
            zip((column.key for column in block.columns), aggregate.cells, strict=True)
        )["DTQL measured"]
    assert shown["Gym"].value == pytest.approx(gym_mean())
    assert (shown["Gym"].verdict_words, shown["Gym"].interval) == ("reproduced", (-1.05, 2.05))
    assert shown["Antmaze"].verdict is None


def averages_verdict(table, title, column, suite, entries, **stated):
    """The word on the measured average of a block, with one made-up verdict on a suite's mean."""
    verdict = SuiteVerdict(suite, "EDP", "edp-td3", "oms", "below", **stated)
    built = build_table(table, ReportData(measured=entries), Judgement(suites=(verdict,)))
    block = next(block for block in built.blocks if title in block.title)
    row = next(row for row in block.rows if row.aggregate)
    return dict(zip((c.key for c in block.columns), row.cells, strict=True))[column].verdict_words


def kitchens():
    best = {"complete": 60.0, "partial": 50.0, "mixed": 40.0}
    trials = {name: (SeedScore(1, 0, "finished", score, (score,)),) for name, score in best.items()}
    return tuple(
        measured(f"kitchen-{name}-v0", algorithm="edp-td3", protocol="oms", trials=kept)
        for name, kept in trials.items()
    )


def test_an_average_of_misprints_takes_no_verdict():
    """EDP Table 4 averages to 80.5 on Kitchen; Table 5 prints other rows there, which average to 82.47."""
    stated = {"tasks": 3, "judged": 3, "measured": 50.0, "printed": (97.0 + 71.5 + 73.0) / 3}
    place = ("Kitchen", "EDP+TD3 (OMS) measured", "d4rl-kitchen", kitchens())
    assert averages_verdict("edp-5", *place, **stated) == ""
    place = ("Kitchen", "EDP+TD3 measured", "d4rl-kitchen", kitchens())
    assert averages_verdict("edp-4", *place, **stated) == "not reproduced, below"
    # Of a larger suite, of which these are all that was judged.
    assert averages_verdict("edp-4", *place, **stated | {"tasks": 5}) == ""


def test_every_format_carries_verdict_and_numbers():
    table = build_table("dtql-1", filled_data(), filled_judgement())
    rows = list(csv.DictReader(io.StringIO(render_csv([table]))))
    row = next(r for r in rows if r["row"] == HOPPER and r["column"] == "DTQL measured")
    assert (row["interval_low"], row["interval_high"], row["margin"]) == ("-1.05", "2.05", "5.0")
    assert (row["adjusted_p_below"], row["adjusted_p_above"], row["further_seeds"]) == ("1.0", "0.9", "4")
    assert row["verdict"] in ("reproduced", "not reproduced, below", "not reproduced, above", "inconclusive")
    (content,) = json.loads(render_json([table]))["tables"]
    gym = next(block for block in content["blocks"] if block["title"] == "Gym")
    hopper = next(r for r in gym["rows"] if r["label"] == HOPPER)["cells"]["DTQL measured"]
    assert (hopper["verdict"], hopper["interval"]) == (row["verdict"], [-1.05, 2.05])
    assert content["statements"] == ["Margin: 5 points.", "Error rates: 5 %, 100 % stated."]
    text = markdown.render([table, build_table("dtql-3", filled_data(), filled_judgement())])
    assert text.count("Error rates: 5 %") == 1
    assert set(legend(table)) >= {"≈ reproduced", "↓ not reproduced, below", "↑ not reproduced, above"}
    assert "- ↓ not reproduced, below" in text


def test_without_a_judgement_nothing_is_said():
    table = build_table("dtql-1", filled_data())
    assert not any(found.verdict for found in table.cells())
    assert table.statements == ()
