"""Files of scores: what each kind gives, and how every slip of the pen in them is told."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data import score_files
from bench.data.score_files import read_scores, rows_of
from bench.errors import BenchError

HEADER = "algorithm,task,seed,score\n"
TASK = "hopper-medium-v2"


@pytest.fixture
def csv(tmp_path: Path):
    def write(text: str, name: str = "scores.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_row_of_each_kind_of_file_is_the_same(tmp_path, csv):
    names, numbers = np.array(["mine", "mine"]), np.array([[2500.0, 2600.0], [2400.0, 2450.5]])
    np.savez(
        tmp_path / "a.npz",
        algorithm=names,
        task=np.array([TASK, TASK]),
        seed=np.arange(2),
        step=np.array([10, 10]),
        score=np.array([80.5, math.nan]),
        episode_returns=numbers,
    )
    table = {"algorithm": ["mine"] * 2, "task": [TASK] * 2, "seed": [0, 1], "step": [10, 10]}
    pq.write_table(
        pa.table(table | {"score": [80.5, math.nan], "episode_returns": numbers.tolist()}),
        tmp_path / "a.parquet",
    )
    text = f"""\ufeff;Algorithm;task;seed;step;score;episode_returns;remark
0;mine;{TASK};0;10;80.5;2500 2600.0;good

1;mine;{TASK};1;10;NaN;[2400, 2450.5];
"""
    found = [read_scores(path) for path in (tmp_path / "a.npz", tmp_path / "a.parquet", csv(text))]
    plain = [[{**vars(row), "where": "", "score": repr(row.score)} for row in file.rows] for file in found]
    assert plain[0] == plain[1] == plain[2]
    assert plain[0][1]["episode_returns"] == (2400.0, 2450.5)
    assert found[2].ignored == ("remark",)
    assert [row.where for row in found[2].rows] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no column 'task'"),
        (HEADER, "holds no scores"),
        ("algorithm,env,seed,score\nmine,x,0,1\n", "There are: 'algorithm', 'env', 'seed', 'score'."),
        ("task,seed\nx,0\n", "has no column 'score'"),
        (f"{HEADER}mine,{TASK},0\n", "line 2: 3 values"),
        (f"{HEADER}mine,{TASK},0,\n", "Write nan for a seed that diverged"),
        (f'{HEADER}mine,{TASK},0,"98,1"\n', "score '98,1'\nA number has a point before its decimals"),
        (f"{HEADER}mine,{TASK},0,98.1%\n", "score '98.1%'\nA number has a point"),
        (f"{HEADER}mine,{TASK},0,high\n", "line 2: score 'high'\nIt is no number."),
        (f"{HEADER}mine,{TASK},0.5,80\n", "line 2: seed '0.5'"),
        (f"{HEADER}mine,{TASK},-1,80\n", "seed '-1'"),
        (f"{HEADER}mine,{TASK},,80\n", "no seed"),
        (f"{HEADER}mine,,0,80\n", "no task"),
        (f"task,seed,score,score\n{TASK},0,1,2\n", "column 'score' twice"),
        (f"task,seed,score,seconds\n{TASK},0,1,-2\n", "-2 seconds"),
        (f"task,seed,episode_returns\n{TASK},0,{'1 ' * 70_000}\n", "field larger than field limit"),
        (f"task,seed,episode_returns\n{TASK},0,1 x\n", "episode_returns 'x'"),
    ],
)
def test_what_is_wrong_in_a_csv_is_named(csv, text, told):
    with pytest.raises(BenchError) as error:
        read_scores(csv(text))
    assert told in str(error.value)


def test_what_is_no_such_file_is_told(tmp_path, csv, monkeypatch):
    for path, told in (
        (tmp_path / "none.csv", "no file"),
        (csv("x", "scores.xlsx"), "no kind of file is known"),
        (csv("x", "scores.npz"), "is no npz file"),
        (csv("x", "scores.parquet"), "is no Parquet file"),
    ):
        with pytest.raises(BenchError, match=told):
            read_scores(path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match="is no text"):
        read_scores(binary)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(BenchError, match="is no file"):
        read_scores(folder)
    monkeypatch.setattr(score_files, "MOST_BYTES", 3)
    with pytest.raises(BenchError, match="MiB"):
        read_scores(csv(HEADER))


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    path = tmp_path / "trap.npz"
    np.savez(path, task=np.array([Trap()], dtype=object), seed=np.arange(1), score=np.ones(1))
    assert pickle.PROTO in path.read_bytes()
    with pytest.raises(BenchError, match="holds Python objects"):
        read_scores(path)


def test_arrays_of_different_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", task=np.array([TASK]), seed=np.arange(2), score=np.ones(2))
    with pytest.raises(BenchError, match="differ in length"):
        read_scores(tmp_path / "a.npz")


def test_one_of_several_algorithms_is_chosen(csv):
    path = csv(f"{HEADER}mine,{TASK},0,80\ntheirs,{TASK},0,70\n")
    file = read_scores(path)
    with pytest.raises(BenchError, match="holds 2 algorithms: 'mine', 'theirs'"):
        rows_of(file, path, None)
    assert [row.score for row in rows_of(file, path, "theirs")] == [70.0]
    with pytest.raises(BenchError, match="Did you mean theirs"):
        rows_of(file, path, "their")
