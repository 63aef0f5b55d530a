"""`bench data collect` as typed."""

import pytest

from bench.catalog import load_catalog
from bench.cli import main
from bench.data.folder import Ledger, dataset_path
from bench.files import sha256_of

NAME = "collected-hopper-medium"


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    return tmp_path


def typed(capsys, *arguments):
    """Exit code, standard output and standard error of `bench data collect ...`."""
    with pytest.raises(SystemExit) as stop:
        main(["data", "collect", *arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_file_lies_where_runs_look_and_its_hash_is_recorded(capsys):
    code, out, _ = typed(capsys, NAME, "--transitions", "400")
    path = dataset_path(load_catalog().task(NAME))
    assert code == 0
    assert str(path) in out
    assert sha256_of(path) in out
    assert Ledger().known(path).sha256 == sha256_of(path)


def test_what_is_there_is_left_alone_unless_told(capsys):
    typed(capsys, NAME, "--transitions", "400")
    path = dataset_path(load_catalog().task(NAME))
    first = sha256_of(path)
    code, out, _ = typed(capsys, NAME, "--transitions", "500")
    assert (code, sha256_of(path)) == (0, first)
    assert "--overwrite" in out
    code, _, _ = typed(capsys, NAME, "--transitions", "500", "--overwrite")
    assert code == 0
    assert Ledger().known(path).sha256 == sha256_of(path) != first


def test_another_place_is_not_recorded(capsys, data_folder):
    target = data_folder / "elsewhere.hdf5"
    code, _, _ = typed(capsys, NAME, "--transitions", "300", "--out", str(target))
    assert code == 0
    assert target.exists()
    assert Ledger().known(target) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["collected-hoper-medium"], "collected-hopper-medium"),
        (["hopper-medium-v2"], "bench data collect collected-hopper-medium"),
        ([NAME, "--transitions", "0"], "--transitions"),
        ([NAME, "--physics", "old"], "d4rl, modern"),
        (["collected-hopper-medium-replay", "--transitions", "3"], "3 transitions"),
        (["collected-locomotion", "--out", "x.hdf5"], "--out x.hdf5"),
        ([NAME, "--transitions", "300", "--out", "/proc/none/x.hdf5"], "cannot be written"),
    ],
)
def test_wrong_requests_say_what_to_type(capsys, data_folder, arguments, message):
    code, _, err = typed(capsys, *arguments)
    assert code == 2
    assert message in err
    assert list(data_folder.rglob("*.hdf5")) == []
