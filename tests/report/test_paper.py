"""The papers' tables: complete, internally consistent, and corrected where they are not."""

import math
from collections import defaultdict

import pytest

from bench.catalog import load_catalog
from bench.errors import BenchError
from bench.report.paper import load_paper_table, paper_tables

TABLES = {table_id: load_paper_table(table_id) for table_id in paper_tables()}
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
        assert len([task for task in loaded.tasks if task not in AGGREGATES]) == tasks
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


def test_only_own_scores_of_single_tasks_may_be_judged():
    judged = defaultdict(set)
    for table_id, table in TABLES.items():
        for one in table.rows:
            if one.accepts_variants:
                judged[table_id].add(one.method)
                assert one.task not in AGGREGATES
                assert one.protocol in ("last", "rat", "oms")
                assert one.metric == "d4rl_normalized_score"
    assert judged["dtql-1"] == {"DTQL"}
    assert judged["srpo-1"] == {"SRPO"}
    assert judged["bdpo-1"] == {"BDPO"}
    assert judged["edp-2"] == {"EDP+TD3", "EDP+CRR", "EDP+IQL"}


def test_released_is_not_held_against_the_longer_training_of_table_6():
    assert cell("dtql-6", "antmaze-large-play-v2", "DTQL").accepts_variants == ("paper",)
    assert cell("dtql-6", "antmaze-umaze-v2", "DTQL").accepts_variants == ("released", "paper")


def test_an_unknown_table_gets_the_nearest():
    with pytest.raises(BenchError, match=r"unknown table 'dtql1'\nDid you mean dtql-1"):
        load_paper_table("dtql1")
