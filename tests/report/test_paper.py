"""The papers' tables: complete, internally consistent, and corrected where they are not."""

import math
import shutil
from collections import defaultdict

import pytest

from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.presets import load_preset
from bench.report import paper
from bench.report.build import choose_tables
from bench.report.paper import load_paper_tables

TABLES = load_paper_tables()
AGGREGATES = ("average", "sum")


def cell(table, task, method, **wanted):
    found = [
        one
        for one in TABLES[table].rows
        if (one.task, one.method) == (task, method)
        and all(getattr(one, name) == value for name, value in wanted.items())
    ]
    assert len(found) == 1
    return found[0]


def test_some_cells_as_printed():
    ours = cell("dtql-1", "hopper-medium-v2", "DTQL")
    assert (ours.mean, ours.printed, ours.spread, ours.seeds, ours.episodes) == (99.6, "99.6", 0.87, 5, 10)
    assert (ours.protocol, ours.spread_kind) == ("last", "se_over_rollouts")
    assert cell("dtql-1", "walker2d-medium-expert-v2", "DTQL").printed == "110"
    assert cell("dtql-2", "antmaze-umaze-v0", "SRPO", metric="train_time_s_per_1k_steps").mean == 24.71
    assert cell("dtql-7", "pen-cloned-v1", "DTQL", metric="total_wall_time_h").mean == 0.6
    assert cell("srpo-1", "antmaze-large-play-v2", "SRPO").spread_kind == "std_over_seeds"
    assert cell("edp-1", "average", "EDP+TD3", domain="locomotion").protocol == "oms"
    assert cell("bdpo-1", "hopper-medium-v2", "CQL").seeds is None


def test_main_tables_have_all_their_rows_and_columns():
    # DTQL's Table 1 has ten columns per domain, sixteen methods in all.
    shapes = {"dtql-1": (20, 16), "edp-2": (20, 12), "bdpo-1": (15, 10)}
    for table, (tasks, methods) in shapes.items():
        loaded = TABLES[table]
        assert len({cell.task for cell in loaded.rows} - set(AGGREGATES)) == tasks
        assert len(loaded.methods) == methods


def test_cells_name_tasks_of_the_catalog():
    catalog = load_catalog()
    for table_id, table in TABLES.items():
        for one in table.rows:
            # SRPO quotes AntMaze without a version; every number that may be judged has a task.
            if one.accepts_variants:
                assert catalog.task(one.task).domain == one.domain, table_id


def test_every_spread_has_a_meaning():
    for table in TABLES.values():
        for one in table.rows:
            assert (one.spread is None) == (one.spread_kind == "")


def test_dtqls_spread_on_antmaze_is_the_standard_error_of_500_rollouts():
    checked = 0
    for table in ("dtql-1", "dtql-6"):
        for one in TABLES[table].rows:
            if one.method == "DTQL" and one.domain == "antmaze" and one.spread is not None:
                success = one.mean / 100
                expected = 100 * math.sqrt(success * (1 - success) / 500)
                fits = abs(one.spread - expected) < 0.011
                assert fits == (correction(one, "spread") is None), one
                checked += 1
    assert checked == 12


@pytest.mark.parametrize("table", ["dtql-1", "dtql-6", "srpo-1", "edp-2", "edp-4", "edp-5", "bdpo-1"])
def test_aggregates_follow_from_the_corrected_rows(table):
    rows = defaultdict(list)
    for one in TABLES[table].rows:
        if one.task not in AGGREGATES and one.mean is not None:
            rows[one.domain, one.method, one.protocol].append(corrected(one))
    checked = 0
    for one in TABLES[table].rows:
        numbers = rows[one.domain, one.method, one.protocol]
        if one.task in AGGREGATES and one.mean is not None and None not in numbers:
            expected = sum(numbers) / (len(numbers) if one.task == "average" else 1)
            # 0.11: papers truncate, and quote averages of numbers with more digits.
            assert corrected(one) == pytest.approx(expected, abs=0.11), one
            checked += 1
    assert checked >= 2


def correction(one, field):
    """The erratum of a field; None where there is none."""
    found = [erratum for erratum in one.errata if erratum.field == field]
    return found[0] if found else None


def corrected(one):
    """The right mean; None where it is unknown."""
    erratum = correction(one, "mean")
    if erratum is None:
        return one.mean
    return float(erratum.corrected) if erratum.corrected else None


def test_misprints_stay_printed_and_carry_their_correction():
    misprint = cell("dtql-1", "average", "SRPO", domain="antmaze")
    assert misprint.mean == 30.1
    assert float(misprint.errata[0].corrected) == 60.1
    unknown = cell("edp-2", "hopper-medium-v2", "CRR (FF)")
    assert unknown.errata[0].corrected == ""
    assert cell("edp-2", "pen-human-v0", "EDP+TD3").errata[0].field == "task"


def test_a_cell_may_carry_several_errata():
    pen = cell("edp-5", "pen-human-v0", "EDP+TD3", protocol="oms")
    assert {(erratum.field, erratum.corrected) for erratum in pen.errata} == {
        ("task", "pen-human-v1"),
        ("mean", "98.3"),
    }
    assert pen.task_meant == "pen-human-v1"
    assert cell("edp-5", "hopper-medium-v2", "EDP+TD3", protocol="oms").task_meant == "hopper-medium-v2"


MISPRINTS = [
    # Listed anew from the reference: table, domain, task, method, protocol, field.
    ("dtql-1", "antmaze", "average", "SRPO", "", "mean"),
    ("dtql-1", "locomotion", "average", "BC", "", "mean"),
    ("dtql-1", "antmaze", "antmaze-medium-play-v0", "Onestep RL", "", "mean"),
    ("dtql-6", "antmaze", "antmaze-umaze-v2", "DTQL", "last", "spread"),
    ("dtql-6", "antmaze", "average", "SRPO", "", "mean"),
    ("srpo-1", "antmaze", "average", "SRPO", "last", "mean"),
    ("srpo-1", "locomotion", "average", "BEAR", "", "mean"),
    ("srpo-1", "locomotion", "hopper-medium-replay-v2", "Diffuser", "", "mean"),
    ("edp-2", "kitchen", "kitchen-mixed-v0", "CRR (FF)", "", "mean"),
    ("edp-2", "adroit", "pen-cloned-v0", "EDP+IQL", "rat", "task"),
    ("edp-4", "antmaze", "antmaze-umaze-v0", "EDP+TD3", "oms", "mean"),
    ("edp-5", "kitchen", "average", "EDP+TD3", "oms", "mean"),
    ("edp-5", "adroit", "pen-cloned-v0", "EDP+CRR", "rat", "task"),
    ("edp-5", "antmaze", "average", "EDP+IQL", "oms", "mean"),
    ("edp-5", "locomotion", "hopper-medium-expert-v2", "EDP+IQL", "oms", "mean"),
    ("edp-figure-2", "locomotion", "walker2d-medium-expert-v2", "EDP+TD3", "", "mean"),
    ("bdpo-1", "locomotion", "sum", "IQL", "", "mean"),
    ("bdpo-1", "antmaze", "antmaze-umaze-v0", "DTQL", "", "mean"),
    ("bdpo-1", "antmaze", "antmaze-large-diverse-v0", "DTQL", "", "mean"),
    ("bdpo-1", "antmaze", "antmaze-medium-play-v0", "IDQL-A", "", "mean"),
]


@pytest.mark.parametrize("misprint", MISPRINTS, ids="/".join)
def test_known_misprints_have_their_erratum(misprint):
    table, domain, task, method, protocol, field = misprint
    found = [
        one
        for one in TABLES[table].rows
        if (one.domain, one.task, one.method, one.protocol) == (domain, task, method, protocol)
        and correction(one, field)
    ]
    assert len(found) == 1


def test_three_hours_contradict_the_speed_not_the_speed_the_hours():
    hours = cell("edp-figure-2", "walker2d-medium-expert-v2", "TD3+BC (FF)", metric="total_training_time_h")
    pace = cell(
        "edp-figure-2", "walker2d-medium-expert-v2", "TD3+BC (FF)", metric="train_iterations_per_second"
    )
    assert (hours.mean, len(hours.errata)) == (3.0, 1)
    assert (pace.mean, pace.errata) == (689.0, ())


def test_only_scores_of_single_tasks_may_be_judged():
    """The papers' own, and quoted ones whose protocol is known."""
    judged = defaultdict(set)
    for table_id, table in TABLES.items():
        for one in table.rows:
            if one.accepts_variants:
                judged[table_id].add(one.method)
                assert one.task not in AGGREGATES
                assert one.protocol in ("last", "rat", "oms", "mean5")
                assert one.metric == "d4rl_normalized_score"
    assert judged["dtql-1"] == {"DTQL"}
    assert judged["srpo-1"] == {"SRPO"}
    assert judged["bdpo-1"] == {"BDPO", "DAC"}
    assert judged["edp-4"] == {"DQL (JAX)", "EDP+TD3", "Diffusion-QL"}
    assert judged["edp-2"] == {"EDP+TD3", "EDP+CRR", "EDP+IQL"}
    assert judged["corl-offline"] == {"BC", "10%BC", "TD3+BC", "AWAC", "CQL", "IQL", "DT"}


def test_released_is_not_held_against_the_longer_training_of_table_6():
    assert cell("dtql-6", "antmaze-large-play-v2", "DTQL").accepts_variants == ("paper",)
    assert cell("dtql-6", "antmaze-umaze-v2", "DTQL").accepts_variants == ("released", "paper")


def test_some_cells_of_corl_as_published():
    assert len(TABLES["corl-offline"].rows) == 17 * 7
    replayed = cell("corl-offline", "hopper-medium-replay-v2", "TD3+BC")
    assert (replayed.text, replayed.seeds, replayed.episodes) == ("64.42 ± 21.52", 4, 10)
    assert cell("corl-offline", "pen-human-v1", "TD3+BC").text == "-3.88 ± 0.21"
    assert cell("corl-offline", "antmaze-large-play-v2", "IQL").episodes == 100
    assert cell("corl-offline", "walker2d-medium-v2", "DT").episodes == 100


def test_a_number_of_corls_is_held_against_what_its_settings_give_here():
    catalog = load_catalog()
    for one in TABLES["corl-offline"].rows:
        preset = load_preset(one.algorithm, catalog.task(one.task), "corl")
        assert one.accepts_variants == (preset.variant,), one
        asked = preset.evaluation.protocol, preset.evaluation.episodes
        assert asked == (one.protocol, one.episodes), one


def test_bdpos_table_says_of_which_version_the_quotes_are():
    (said,) = (text for text in TABLES["bdpo-1"].notes if "SfBC" in text)
    assert "-v2" in said
    assert "QGPO" in said


def test_quoted_columns_are_those_of_the_methods_that_are_measured_here():
    named = {(key, one.method): one.algorithm for key, table in TABLES.items() for one in table.rows}
    assert (
        named["edp-2", "TD3+BC (FF)"] == named["edp-6", "TD3+BC (FF)"] == named["dtql-1", "TD3+BC"] == "td3bc"
    )
    assert named["edp-2", "OneStep RL"] == named["dtql-1", "Onestep RL"] == "onestep"
    assert named["edp-2", "CRR (FF)"] == "crr"
    assert named["edp-2", "DT"] == named["corl-offline", "DT"] == "dt"
    assert named["edp-2", "IQL (FF)"] == named["bdpo-1", "IQL"] == "iql"
    assert named["dtql-1", "DQL"] == named["srpo-1", "Diffusion-QL"] == "dql"


def test_an_unknown_table_gets_the_nearest():
    with pytest.raises(BenchError, match=r"unknown table 'dtql1'\nDid you mean dtql-1"):
        choose_tables("dtql1")


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Writes other bytes into a copy of the tables, and loads DTQL's first table from it."""
    shutil.copytree(paper.resource("paper_tables"), tmp_path / "paper_tables")
    monkeypatch.setattr(paper, "resource", lambda name: tmp_path / name)

    def load(name, old, new):
        path = tmp_path / "paper_tables" / name
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))
        return load_paper_tables()["dtql-1"]

    return load


CELL = b"halfcheetah-medium-v2,BC,42.6,,,,,,"


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (CELL.replace(b"42.6", b"nan"), "dtql_table1.csv line 2: 'nan' is no number"),
        (CELL.replace(b"42.6", b"1e400"), "line 2: '1e400'"),
        (CELL.replace(b"42.6", b"9" * 200_000), "after line 1: field larger"),
        (CELL.replace(b"42.6", b"9" * 5000), "line 2: '999"),
        (b"halfcheetah-medium-v2,BC,42.6,,,-3,,,", "line 2: '-3' is no number of seeds"),
        (b"halfcheetah-medium-v2,BC,42.6,,,0,,,", "no number of seeds"),
        (CELL + b",", "line 2: wrong number of fields"),
        (CELL.replace(b"BC", b"B\xff"), "dtql_table1.csv: not UTF-8"),
        (CELL.replace(b"BC", b'"BC'), "dtql_table1.csv after line"),
        (CELL.replace(b"BC", b'"B"C'), "dtql_table1.csv after line"),
    ],
)
def test_what_a_table_cannot_hold_is_a_short_sentence_with_its_line(edited, new, told):
    with pytest.raises(BenchError) as refused:
        edited("dtql_table1.csv", CELL, new)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("name", ["dtql_table1.csv", "errata.csv"])
def test_other_columns_and_a_file_that_is_missing_are_told(edited, tmp_path, name):
    with pytest.raises(BenchError, match=r"csv line 1: the columns are not "):
        edited(name, b"metric", b"metrics")
    (tmp_path / "paper_tables" / name).unlink()
    with pytest.raises(BenchError, match=r"(?s)cannot read .*Install bench again"):
        load_paper_tables()
