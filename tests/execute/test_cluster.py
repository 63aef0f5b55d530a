"""`bench run --address` on a real Ray cluster of two nodes that share no file, one of which is lost."""

import hashlib
import json
import signal
import socket
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest

from bench.store.database import open_store
from tests.cli.test_run import results, rows
from tests.execute.tiny import TASK, completed, ended, started, typed
from tests.execute.two_nodes import SECOND_HOSTNAME, two_nodes

pytestmark = pytest.mark.slow

ITERATIONS = {"train_iterations": 800}
WEIGHTS = "SELECT sha256 FROM weights ORDER BY sha256"


def grid(store, *arguments):
    """Three trials, a process each."""
    return typed("--store", store, "--seeds", "0-2", "--seeds-per-stack", "1", *arguments, **ITERATIONS)


@pytest.fixture
def cluster(tmp_path_factory, tiny_data):
    """Two fresh nodes; everything of this test session is hidden from the second."""
    with two_nodes(hidden=tmp_path_factory.getbasetemp()) as cluster:
        yield cluster


@pytest.fixture
def impatient_cluster(tmp_path_factory, tiny_data, monkeypatch):
    """As `cluster`, but a node that does not answer is given up after some seconds, not after a minute."""
    for setting, value in {"period": 1000, "timeout": 2000, "initial_delay": 1000}.items():
        monkeypatch.setenv(f"RAY_health_check_{setting}_ms", str(value))
    with two_nodes(hidden=tmp_path_factory.getbasetemp()) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def reference(tiny_data, tmp_path_factory):
    """The store of the same grid, worked off by one process and never disturbed."""
    store = tmp_path_factory.mktemp("reference") / "bench.sqlite"
    code, output = completed(grid(store, "--executor", "local"), tiny_data)
    assert code == 0, output
    return store


def test_two_machines_that_share_no_file_give_the_numbers_of_one(cluster, reference, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    code, output = completed(grid(store, "--address", cluster.address, "--gpus-per-stack", "0"), tiny_data)
    assert code == 0, output
    assert "3 trials: 3 finished" in output
    check_undisturbed(store, reference)
    here = socket.gethostname()
    assert set(rows(store, "SELECT hostname FROM executions")) == {(here,), (SECOND_HOSTNAME,)}
    # The second machine holds the dataset, once, and nothing of the store's folder.
    content = (tiny_data / "collected" / f"{TASK}.hdf5").read_bytes()
    written = cluster.on_second(cluster.hidden)
    datasets = list(written.rglob("*.hdf5"))
    assert [path.stem for path in datasets] == [hashlib.sha256(content).hexdigest()]
    assert datasets[0].read_bytes() == content
    assert list(written.rglob("*.safetensors")) == list(written.rglob("*.sqlite")) == []
    assert not cluster.on_second(tmp_path).exists()


def checkpointed_there(store):
    """Seeds in training on the second node whose state the driver holds, as [[0]]."""
    if not store.exists():
        return []
    with sqlite3.connect(store) as connection:
        sql = "SELECT DISTINCT stack FROM executions WHERE hostname = ? AND outcome IS NULL"
        try:
            found = connection.execute(sql, (SECOND_HOSTNAME,)).fetchall()
        except sqlite3.OperationalError:
            return []  # the tables are being made
    stacks = [json.loads(stack) for (stack,) in found]
    return [
        stack
        for stack in stacks
        if any(store.parent.glob(f"checkpoints/*-seeds-{'-'.join(map(str, stack))}/checkpoint.json"))
    ]


def cut_short_there(cluster, data, store):
    """A running driver, and the seed of a stack that trains on the second node and has a checkpoint."""
    arguments = grid(
        store, "--address", cluster.address, "--gpus-per-stack", "0", "--checkpoint-seconds", "0"
    )
    driver = started(arguments, data)
    while not (stacks := checkpointed_there(store)):
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.02)
    return driver, stacks[0][0]


def stretches(store, seed):
    """Where a trial was worked on, and from which iteration on."""
    sql = "SELECT hostname, from_iteration FROM executions JOIN trials ON trials.id = trial_id"
    return rows(store, f"{sql} WHERE seed = {seed} ORDER BY executions.id")


def check_undisturbed(store, reference):
    """Every trial is there once, with the numbers of the reference."""
    assert results(store) == results(reference)
    assert rows(store, WEIGHTS) == rows(reference, WEIGHTS)


def test_a_lost_machine_costs_one_interval_and_no_number(cluster, reference, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    driver, seed = cut_short_there(cluster, tiny_data, store)
    cluster.lose_second()
    _, output = ended(driver)
    assert driver.returncode == 0, output
    assert "3 trials: 3 finished" in output
    assert "Traceback" not in output
    check_undisturbed(store, reference)
    first, again = stretches(store, seed)
    assert first == (SECOND_HOSTNAME, 0)
    assert again[0] == socket.gethostname()
    assert again[1] > 0


@pytest.fixture
def shared_folder():
    """A folder that both nodes see: it lies outside of what is hidden from the second."""
    with tempfile.TemporaryDirectory(prefix="bench-shared-") as folder:
        yield Path(folder)


def on_cluster(cluster, store, *arguments):
    options = ("--address", cluster.address, "--gpus-per-stack", "0", "--checkpoint-seconds", "0")
    return grid(store, *options, *arguments)


def test_in_a_shared_folder_the_checkpoints_of_a_lost_machine_stay(
    cluster, reference, tiny_data, tmp_path, shared_folder
):
    store = tmp_path / "bench.sqlite"
    driver = started(on_cluster(cluster, store, "--shared-checkpoints", shared_folder), tiny_data)

    def kept_there():
        made = store.exists() and rows(store, "SELECT 1 FROM sqlite_master WHERE name = 'executions'")
        sql = "SELECT seed FROM executions JOIN trials ON trials.id = trial_id WHERE hostname = ?"
        seeds = rows(store, f"{sql.replace('?', repr(SECOND_HOSTNAME))} AND outcome IS NULL") if made else []
        return [seed for (seed,) in seeds if any(shared_folder.glob(f"*-seeds-{seed}/checkpoint.json"))]

    while not (seeds := kept_there()):
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.02)
    cluster.lose_second()
    _, output = ended(driver)
    assert driver.returncode == 0, output
    check_undisturbed(store, reference)
    first, again = stretches(store, seeds[0])
    assert (first, again[0]) == ((SECOND_HOSTNAME, 0), socket.gethostname())
    assert again[1] > 0
    # The driver has never held one, and nothing but the mark stays behind.
    assert not (store.parent / "checkpoints").exists()
    assert [path.name for path in shared_folder.iterdir()] == ["shared-checkpoints.txt"]


def test_a_folder_that_the_other_machine_does_not_see_is_refused(cluster, tiny_data, tmp_path):
    store = tmp_path / "bench.sqlite"
    code, output = completed(on_cluster(cluster, store, "--shared-checkpoints", tmp_path / "own"), tiny_data)
    assert code == 2, output
    assert f"the worker on {SECOND_HOSTNAME} does not see" in output
    assert rows(store, "SELECT * FROM failures") == []


def test_a_machine_that_comes_back_after_it_was_given_up_spoils_nothing(
    impatient_cluster, reference, tiny_data, tmp_path
):
    store = tmp_path / "bench.sqlite"
    driver, seed = cut_short_there(impatient_cluster, tiny_data, store)
    with impatient_cluster.frozen_second():
        while len(stretches(store, seed)) < 2:
            assert driver.poll() is None, driver.communicate()[0]
            time.sleep(0.1)
    # Both workers of this stack are at it now, until the driver has refused the first one.
    _, output = ended(driver)
    assert driver.returncode == 0, output
    assert "3 trials: 3 finished" in output
    check_undisturbed(store, reference)
    assert [hostname for hostname, _ in stretches(store, seed)] == [SECOND_HOSTNAME, socket.gethostname()]


def test_a_killed_driver_leaves_a_cluster_on_which_the_same_command_continues(
    cluster, reference, tiny_data, tmp_path
):
    store = tmp_path / "bench.sqlite"
    driver, seed = cut_short_there(cluster, tiny_data, store)
    driver.kill()
    driver.communicate()
    code, output = completed(grid(store, "--address", cluster.address, "--gpus-per-stack", "0"), tiny_data)
    assert code == 0, output
    check_undisturbed(store, reference)
    assert [from_iteration > 0 for _, from_iteration in stretches(store, seed)] == [False, True]


def test_ctrl_c_does_not_wait_for_a_place_on_a_busy_cluster(cluster, tiny_data, tmp_path):
    """A stack that is claimed, and for which no machine has room, would begin only to end."""
    cluster_options = ("--address", cluster.address, "--gpus-per-stack", "0", "--seeds-per-stack", "1")
    stores = [tmp_path / name / "bench.sqlite" for name in ("busy", "waiting")]
    for store in stores:
        open_store(store).close()
    commands = [typed("--store", store, *cluster_options, train_iterations=100_000) for store in stores]
    busy = started(commands[0], tiny_data)
    while len(rows(stores[0], "SELECT * FROM executions")) < 2:
        assert busy.poll() is None, busy.communicate()[0]
        time.sleep(0.1)
    waiting = started(commands[1], tiny_data)
    while not rows(stores[1], "SELECT * FROM claims"):
        assert waiting.poll() is None, waiting.communicate()[0]
        time.sleep(0.1)
    waiting.send_signal(signal.SIGINT)
    try:
        output, _ = waiting.communicate(timeout=60)
    finally:
        for process in (busy, waiting):
            process.kill()
            process.communicate()
    assert waiting.returncode == 130, output
    assert "Traceback" not in output
    assert rows(stores[1], "SELECT * FROM claims") == rows(stores[1], "SELECT * FROM executions") == []
