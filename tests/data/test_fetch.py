import http.server
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalog import load_catalog
from bench.data import fetch
from bench.data.paths import data_folder, dataset_path
from bench.errors import BenchError, WorkFailedError
from tests.data.files import columns, hopper, write

NAME = "gym_mujoco_v2/hopper_medium-v2.hdf5"


class Server(http.server.ThreadingHTTPServer):
    """Serves one content per path in a given manner: whole, cut, short, html or missing."""

    def __init__(self, content: bytes, manners: dict[str, str]) -> None:
        self.content, self.manners, self.asked = content, manners, []
        super().__init__(("127.0.0.1", 0), Handler)

    def address(self, folder: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{folder}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.server.asked.append(self.path)
        folder = self.path.split("/")[1]
        manner = self.server.manners.get(folder, "missing")
        if manner == "missing" or not self.path.endswith(NAME):
            self.send_error(404, "Not Found")
            return
        content = b"<html>please log in</html>" if manner == "html" else self.server.content
        sent = content[: len(content) // 2] if manner in ("cut", "short") else content
        self.send_response(200)
        # `short` claims to be complete; `cut` promises the rest and hangs up.
        self.send_header("Content-Length", str(len(sent) if manner == "short" else len(content)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *arguments):
        """Keep the test output clean."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "datasets"))
    monkeypatch.delenv("BENCH_D4RL_MIRRORS", raising=False)
    return tmp_path / "datasets"


@pytest.fixture
def serve(tmp_path):
    content = write(tmp_path / "source.hdf5", columns(rows=3000)).read_bytes()
    servers = []

    def start(**manners):
        server = Server(content, manners)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def task_at(server, folder):
    return hopper(dataset=replace_url(hopper().dataset, f"{server.address(folder)}/{NAME}"))


def replace_url(dataset, url):
    return dataset.model_copy(update={"url": url})


def files_in(folder: Path):
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def test_whole_file_with_progress(folder, serve):
    server = serve(whole="whole")
    told = []
    path = fetch.fetch(task_at(server, "whole"), lambda done, total: told.append((done, total)))
    assert path == folder / "hopper_medium-v2.hdf5"
    assert path.read_bytes() == server.content
    assert told[-1] == (len(server.content), len(server.content))
    assert files_in(folder) == [path]


def test_existing_file_is_left_alone(folder, serve):
    server = serve(whole="whole")
    task = task_at(server, "whole")
    path = write(dataset_path(task), columns())
    before = path.read_bytes()
    assert fetch.ensure_dataset(task) == fetch.fetch(task) == path
    assert path.read_bytes() == before
    assert server.asked == []


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("cut", "broke off"),
        ("short", "truncated"),
        ("html", "not an HDF5 file"),
        ("missing", "404 Not Found"),
    ],
)
def test_nothing_remains_of_a_failed_download(folder, serve, manner, reason):
    task = task_at(serve(it=manner), "it")
    with pytest.raises(WorkFailedError) as caught:
        fetch.fetch(task)
    assert files_in(folder) == []
    assert reason in caught.value.why
    assert task.dataset.url in caught.value.do_this
    assert str(folder / "hopper_medium-v2.hdf5") in caught.value.do_this
    assert "collected-hopper-medium" in caught.value.do_this


def test_interruption_leaves_nothing(folder, serve):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(task_at(serve(it="whole"), "it"), interrupt)
    assert files_in(folder) == []


def test_another_tasks_file_is_refused(folder, serve, tmp_path):
    server = serve(it="whole")
    server.content = write(tmp_path / "other.hdf5", columns(observation_dim=17, action_dim=6)).read_bytes()
    with pytest.raises(WorkFailedError, match="another task's file"):
        fetch.fetch(task_at(server, "it"))
    assert files_in(folder) == []


def test_mirrors_come_first_and_failing_ones_are_passed_over(folder, serve, monkeypatch):
    server = serve(broken="cut", good="whole")
    monkeypatch.setenv(
        "BENCH_D4RL_MIRRORS",
        f"{server.address('absent')}, {server.address('broken')}/, {server.address('good')}",
    )
    path = fetch.fetch(hopper())
    assert path.read_bytes() == server.content
    assert server.asked == [f"/absent/{NAME}", f"/broken/{NAME}", f"/good/{NAME}"]


def test_d4rls_own_address_comes_after_the_mirrors(monkeypatch):
    url = "http://rail.eecs.berkeley.edu/datasets/offline_rl/ant_maze_v2/file.hdf5"
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", "https://one/d4rl/,http://two")
    mirrored = ["https://one/d4rl/ant_maze_v2/file.hdf5", "http://two/ant_maze_v2/file.hdf5"]
    assert fetch.addresses(url) == [*mirrored, url]
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", "")
    assert fetch.addresses(url) == [url]


def test_offline_is_one_clear_message(folder, monkeypatch):
    # Port 9 of this machine: nothing listens there.
    task = hopper(dataset=replace_url(hopper().dataset, f"http://127.0.0.1:9/{NAME}"))
    with pytest.raises(WorkFailedError, match="no connection"):
        fetch.ensure_dataset(task)
    assert files_in(folder) == []


def test_unwritable_place(tmp_path, monkeypatch, serve):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "file" / "datasets"))
    with pytest.raises(BenchError, match="cannot be written"):
        fetch.fetch(task_at(serve(it="whole"), "it"))


def test_collected_data_has_no_address(folder):
    with pytest.raises(BenchError, match="bench data collect collected-hopper-medium"):
        fetch.fetch(hopper(name="collected-hopper-medium", dataset=collected().dataset))


def test_missing_collected_data_is_collected(folder):
    task = collected()
    small = replace(task, dataset=task.dataset.model_copy(update={"transitions": 300}))
    path = fetch.ensure_dataset(small)
    assert path == folder / "collected" / "collected-hopper-quickstart.hdf5"
    assert path.is_file()


def collected():
    return load_catalog().task("collected-hopper-quickstart")


class TestFolder:
    def test_own_variable_before_d4rls(self, monkeypatch, tmp_path):
        monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "theirs"))
        monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
        assert data_folder() == tmp_path / "theirs"
        monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "ours"))
        assert data_folder() == tmp_path / "ours"

    def test_d4rls_place_by_default(self, monkeypatch):
        monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)
        monkeypatch.delenv("BENCH_DATA_DIR", raising=False)
        assert dataset_path(hopper()) == Path.home() / ".d4rl/datasets/hopper_medium-v2.hdf5"
