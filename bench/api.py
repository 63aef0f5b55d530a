"""The Python interface, `import bench`: scores, verdicts, printed numbers and trained policies.

What stands here is stable: arguments and columns may be added, and none is renamed or taken away while the
first part of the version number stays. docs/python.md shows it at work.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.catalog import load_catalog
from bench.errors import BenchError, unknown_name
from bench.report.check import check
from bench.report.judgement import WORDS, CellVerdict, Comparison, Judgement, SuiteVerdict
from bench.report.loading import load_judged_data
from bench.report.margins import load_margins
from bench.report.paper import Erratum, PaperCell, load_paper_tables
from bench.store.database import open_store
from bench.store.location import DEFAULT_STORE, STORE_VARIABLE, locate
from bench.store.queries import scores_frame

if TYPE_CHECKING:
    import pandas as pd

    from bench.evaluation.policy import Policy

__all__ = ["BenchError", "Policy", "load_policy", "paper_tables", "scores", "verdicts"]

_COMPARED = ("difference", "low", "high", "margin", "standard_error", "adjusted_below", "adjusted_above")
_VERDICT_COLUMNS = (
    *(
        "id",
        "of",
        "paper",
        "table",
        "algorithm",
        "task",
        "protocol",
        "outcome",
        "words",
        "printed",
        "measured",
    ),
    *("deviation", "n", "variant", "config_hash", *_COMPARED, "further_seeds", "reasons"),
)
_PRINTED_COLUMNS = (
    *("table", "paper", "label", "metric", "domain", "task", "method", "algorithm", "mean", "spread"),
    *("spread_kind", "seeds", "episodes", "protocol", "digits", "note", "errata"),
)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (the one class that needs torch)
    if name == "Policy":
        from bench.evaluation.policy import Policy

        return Policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def scores(store: str | Path | None = None) -> pd.DataFrame:
    """The view `scores` of a results database: one row per trial, whatever its state.

    docs/database.md lists its columns. A `score` is NaN where there is none, and where a seed diverged:
    `score_is_nan` is true of the latter alone. `reduced` is a list of what is below the paper's protocol.

    Parameters
    ----------
    store : a file or the address of a server, as `--store` takes it. Default: what the environment variable
        BENCH_STORE says, else `results/bench.sqlite`.

    Raises
    ------
    BenchError : there is no such store, or it is damaged.
    """
    with open_store(_place(store), read_only=True) as opened:
        return scores_frame(opened)


def verdicts(
    store: str | Path | None = None, *, suites: Sequence[str] = (), margins: str | Path | None = None
) -> pd.DataFrame:
    """What `bench check` says: a row per printed number of which something was measured, and per suite.

    Columns: `id` (as `bench check --explain` takes it); `of`, `task` or `suite`, and its name under `task`;
    `paper`, `table`, `algorithm`, `protocol`; `outcome` and the same in `words`; `printed` and `measured`
    means, `deviation` over the `n` seeds that have a score, their `variant` and `config_hash`; `difference`
    of the means, its 90 % interval `low` to `high`, `margin`, `standard_error`, and `adjusted_below` and
    `adjusted_above`, the P-values after Holm's correction; `further_seeds` that would decide; `reasons`, a
    list. What was not tested has NaN for its numbers. The error rates stand in `attrs["statements"]` of the
    frame.

    Parameters
    ----------
    store : as of `scores`.
    suites : judge the tasks of these suites alone, or of one; what is judged together is corrected together.
    margins : a file of margins, instead of the project's.

    Raises
    ------
    BenchError : there is no such store, suite or file of margins, or one is damaged.
    """
    import pandas as pd

    place = _place(store)
    catalog, declared = load_catalog(), load_margins(None if margins is None else Path(margins))
    suites = (suites,) if isinstance(suites, str) else suites
    for name in suites:
        if name not in catalog.suites:
            raise unknown_name("suite", name, catalog.suites, "bench list suites")
    with open_store(place, read_only=True) as opened:
        data = load_judged_data(opened, catalog)
    judgement = check(data, declared, str(locate(place)), datetime.now(UTC), suites).judgement
    frame = pd.DataFrame(list(_verdict_rows(judgement)), columns=list(_VERDICT_COLUMNS))
    numbers = ("printed", "measured", "deviation", *_COMPARED)
    frame = frame.astype({**dict.fromkeys(numbers, float), "n": "Int64", "further_seeds": "Int64"})
    frame.attrs["statements"] = list(judgement.statements)
    return frame


def paper_tables() -> pd.DataFrame:
    """Every printed number of the papers' tables: one row per cell, in the order of print.

    Columns: `table` (as `bench report --tables` takes it), `paper`, `label` (as the paper names the table),
    `metric`, `domain`, `task` (`average` or `sum` of a domain too), `method` (as printed) and `algorithm`
    (its name here); `mean` and `spread` as numbers, NaN where nothing is printed, and what the spread means
    (`spread_kind`: std_over_seeds, se_over_rollouts, unknown); `seeds`, `episodes` and `protocol` as far as
    the paper says; `digits`, all as printed; `note`; and `errata`, a list of what is wrong with the cell.
    """
    import pandas as pd

    rows = [_printed_row(table, cell) for table, paper in load_paper_tables().items() for cell in paper.rows]
    frame = pd.DataFrame(rows, columns=list(_PRINTED_COLUMNS))
    return frame.astype({"mean": float, "spread": float, "seeds": "Int64", "episodes": "Int64"})


def load_policy(store: str | Path | None, trial: int, *, device: str = "cpu") -> Policy:
    """What a finished trial has learned, ready to act: its final weights, verified by their hash.

    Parameters
    ----------
    store : as of `scores`; None takes the default.
    trial : its number, as every command takes it; `scores().trial_id` has them.
    device : where actions are chosen, as torch names it.

    Raises
    ------
    BenchError : no such store, trial or device; a trial that is not finished or whose weights are not there
    or not those that were stored; a method that is not installed here.
    """
    from bench.evaluation.policy import Policy
    from bench.evaluation.stored import load_method

    with open_store(_place(store), read_only=True) as opened:
        return Policy(load_method(opened, operator.index(trial), device))


def _place(store: str | Path | None) -> str | Path:
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE if store is None else store


def _verdict_rows(judgement: Judgement) -> Iterator[dict[str, object]]:
    for cell in judgement.cells:
        yield _cell_row(cell) | _compared(cell.comparison)
    for suite in judgement.suites:
        yield _suite_row(suite) | _compared(suite.comparison)


def _cell_row(verdict: CellVerdict) -> dict[str, object]:
    entry = verdict.measured
    return {
        "of": "task",
        **dict(zip(("paper", "algorithm", "task", "protocol"), verdict.key, strict=True)),
        **{name: getattr(verdict, name) for name in ("id", "table", "outcome", "further_seeds")},
        "words": WORDS[verdict.outcome],
        "printed": verdict.printed.mean,
        "measured": entry.mean,
        "deviation": entry.standard_deviation,
        **{name: getattr(entry, name) for name in ("n", "variant", "config_hash")},
        "reasons": list(verdict.reasons),
    }


def _suite_row(verdict: SuiteVerdict) -> dict[str, object]:
    names = ("id", "paper", "algorithm", "protocol", "outcome", "printed", "measured")
    return {
        "of": "suite",
        "task": verdict.suite,
        **{name: getattr(verdict, name) for name in names},
        "words": WORDS[verdict.outcome],
        "reasons": list(verdict.reasons),
    }


def _compared(comparison: Comparison | None) -> dict[str, object]:
    return {} if comparison is None else {name: getattr(comparison, name) for name in _COMPARED}


def _printed_row(table: str, cell: PaperCell) -> dict[str, object]:
    names = [name for name in _PRINTED_COLUMNS if name not in ("table", "label", "digits", "errata")]
    return {
        "table": table,
        "label": cell.table,
        **{name: getattr(cell, name) for name in names},
        "digits": cell.text,
        "errata": [_erratum_text(erratum) for erratum in cell.errata],
    }


def _erratum_text(erratum: Erratum) -> str:
    """`mean should be 95.4: the text says so`."""
    return f"{erratum.field} should be {erratum.corrected or 'another'}: {erratum.reason}"
