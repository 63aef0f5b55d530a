import pytest

from bench.catalog import load_catalog
from bench.data.collect import collect
from bench.data.folder import Ledger, dataset_path
from tests.data.files import columns, hopper, write

QUICKSTART = "collected-hopper-quickstart"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    # Not where somebody's own results/bench.sqlite may lie, into which `verify` writes.
    monkeypatch.chdir(tmp_path)
    # A closed port of this machine instead of D4RL's server.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("BENCH_D4RL_MIRRORS", raising=False)
    return tmp_path


@pytest.fixture
def bench(bench):
    """Runs `bench data ...`."""
    return lambda *arguments: bench("data", *arguments)


@pytest.fixture
def quickstart():
    task = load_catalog().task(QUICKSTART)
    collect(task, dataset_path(task), transitions=600)
    return dataset_path(task)


def row_of(output, name):
    return next(line.split() for line in output.splitlines() if line.startswith(name))


def test_list_tells_what_is_there_and_what_is_known(bench, quickstart):
    code, output, _ = bench("list", "quickstart", "hopper-medium-v2")
    assert code == 0
    assert "not checked" in " ".join(row_of(output, QUICKSTART))
    assert row_of(output, "hopper-medium-v2")[1] == "missing"
    bench("verify", QUICKSTART, "--replay", "--rows", "50")
    _, output, _ = bench("list", QUICKSTART)
    assert row_of(output, QUICKSTART)[3:7] == ["600", "content", "fits", "d4rl"]


def test_list_calls_no_other_file_verified_whatever_the_ledger_says(bench):
    path = write(dataset_path(hopper()), columns())
    ledger = Ledger()
    ledger.note(path, ledger.look_up(path), rows=1_000_000, verification="verified")
    _, output, _ = bench("list", "hopper-medium-v2")
    assert "unverified" in row_of(output, "hopper-medium-v2")
    assert "verified" not in row_of(output, "hopper-medium-v2")


def test_list_without_names_has_every_task(bench):
    _, output, _ = bench("list")
    assert all(f"{name} " in output for name in load_catalog().tasks)


def test_list_says_where_files_belong(bench, folder):
    _, output, _ = bench("list", "d4rl-locomotion", "--paths")
    assert row_of(output, "hopper-medium-v2") == ["hopper-medium-v2", str(folder / "hopper_medium-v2.hdf5")]


def test_verify_prints_hash_and_physics(bench, quickstart):
    code, output, _ = bench("verify", QUICKSTART, "--replay", "--rows", "50")
    assert code == 0
    assert f"{QUICKSTART}: content fits" in output
    assert "One-step replay of 50 rows: d4rl" in output


def test_verify_fails_on_a_mismatch(bench):
    write(dataset_path(hopper()), columns())
    code, output, errors = bench("verify", "hopper-medium-v2")
    assert code == 1
    assert "1,000,000" in output
    assert "rows" in errors


def test_verify_tells_both_hashes_and_accepts_on_request(bench, quickstart):
    bench("verify", QUICKSTART)
    collect(load_catalog().task(QUICKSTART), quickstart, transitions=500)
    code, _, errors = bench("verify", QUICKSTART)
    assert code == 2
    assert "--accept" in errors
    assert bench("verify", QUICKSTART, "--accept")[0] == 0


def test_info_of_one_task_and_of_several(bench, quickstart):
    code, output, _ = bench("info", QUICKSTART)
    assert code == 0
    assert row_of(output, "rows") == ["rows", "600"]
    assert row_of(output, "physics") == ["physics", "d4rl"]
    code, output, _ = bench("info", QUICKSTART, "hopper-medium-v2")
    assert code == 1
    assert len(row_of(output, QUICKSTART)) == 9


def test_fetch_offline_says_where_to_put_the_file(bench, folder):
    code, _, errors = bench("fetch", "hopper-medium-v2")
    assert code == 1
    assert "gym_mujoco_v2/hopper_medium-v2.hdf5" in errors
    assert str(folder / "hopper_medium-v2.hdf5") in errors
    assert "collected-hopper-medium" in errors
    assert "Traceback" not in errors


def test_one_missing_file_does_not_keep_the_others_from_their_turn(bench, quickstart):
    code, output, errors = bench("verify", "hopper-medium-v2", QUICKSTART)
    assert code == 1
    assert f"{QUICKSTART}: content fits" in output
    assert "1 of 2 failed" in errors


@pytest.mark.parametrize("command", ["list", "fetch", "verify", "info"])
def test_unknown_name(bench, command):
    code, _, errors = bench(command, "hoper-medium-v2")
    assert code == 2
    assert "hopper-medium-v2" in errors


def test_missing_collected_data_is_to_be_collected(bench):
    assert f"bench data collect {QUICKSTART}" in bench("info", QUICKSTART)[2]
