import hashlib
import http.server
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench.catalog import load_catalog
from bench.data import fetch
from bench.data.fetch import addresses, files_like, mirrors
from bench.data.folder import data_folder, dataset_path
from bench.data.manifest import KnownFile
from bench.errors import BenchError, WorkFailedError
from tests.data.files import columns, hopper, write

NAME = "gym_mujoco_v2/hopper_medium-v2.hdf5"
PLAIN = "hopper_medium-v2.hdf5"


class Server(http.server.ThreadingHTTPServer):
    """Serves one content per path in a given manner: whole, flat (the file's name alone), cut, short, html,
    other, longer, odd or missing.
    """

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
        beside = self.path == f"/{folder}/{PLAIN}"
        if manner == "missing" or beside != (manner == "flat") or not self.path.endswith(PLAIN):
            self.send_error(404, "Not Found")
            return
        whole = self.server.content
        content = {
            "html": b"<html>please log in</html>",
            "other": whole[:-1] + bytes([whole[-1] ^ 1]),
            "longer": whole + b"x",
        }.get(manner, whole)
        sent = content[: len(content) // 2] if manner in ("cut", "short") else content
        self.send_response(200)
        # `short` claims to be complete; `cut` promises the rest and hangs up.
        length = {"short": len(sent), "odd": "a few"}.get(manner, len(content))
        self.send_header("Content-Length", str(length))
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
def whole(tmp_path, monkeypatch):
    """A file that is D4RL's, as far as the manifest knows."""
    path = write(tmp_path / "source" / "whole.hdf5", columns(rows=3000))
    known = KnownFile(sha256=sha256(path), bytes=path.stat().st_size)
    monkeypatch.setattr(fetch, "known_file", lambda task: known)
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def serve(whole):
    content = whole.read_bytes()
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
    fetched = fetch.fetch(task_at(server, "whole"), lambda done, total: told.append((done, total)))
    path = fetched.path
    assert fetched.source == f"{server.address('whole')}/{NAME}"
    assert path == folder / "hopper_medium-v2.hdf5"
    assert path.read_bytes() == server.content
    assert told[-1] == (len(server.content), len(server.content))
    assert files_in(folder) == [path]


def test_existing_file_is_left_alone(folder, serve):
    server = serve(whole="whole")
    task = task_at(server, "whole")
    path = placed(server.content, dataset_path(task))
    assert fetch.fetch(task) == fetch.Fetched(path, None)
    assert fetch.ensure_dataset(task) == path
    assert path.read_bytes() == server.content
    assert server.asked == []


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("cut", "broke off"),
        ("short", "bytes, D4RL's has"),
        ("html", "no HDF5 file: 26 bytes"),
        ("other", "another file: of the same size"),
        ("longer", "more than the known"),
        ("odd", "its answer cannot be read"),
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


def test_a_file_whose_hash_is_not_the_known_one_is_refused_with_both_hashes(folder, serve, whole, tmp_path):
    server = serve(it="whole")
    other = write(tmp_path / "other" / "rewards.hdf5", columns(rows=3000, seed=1))
    server.content = other.read_bytes()
    with pytest.raises(WorkFailedError, match="could not be fetched") as caught:
        fetch.fetch(task_at(server, "it"))
    assert f"SHA-256 {sha256(other)}, known {sha256(whole)}" in caught.value.why
    assert "Name another place with --from or in BENCH_D4RL_MIRRORS" in caught.value.do_this
    assert files_in(folder) == []


def test_a_file_of_no_known_hash_must_at_least_be_the_tasks(folder, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "known_file", lambda task: None)
    other = write(tmp_path / "mnt" / PLAIN, columns(observation_dim=17, action_dim=6))
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", str(other.parent))
    server = serve(it="whole")
    server.content = other.read_bytes()
    with pytest.raises(WorkFailedError) as caught:
        fetch.fetch(task_at(server, "it"))
    assert caught.value.why.count("another task's file") == 2
    assert files_in(folder) == []


def test_mirrors_come_first_and_failing_and_wrong_ones_are_passed_over(folder, serve, monkeypatch):
    server = serve(broken="cut", wrong="other", good="whole")
    named = ["absent", "broken", "wrong", "good"]
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", " , ".join(f"{server.address(name)}/" for name in named))
    path = fetch.fetch(hopper()).path
    assert path.read_bytes() == server.content
    assert server.asked == [
        *(f"/{name}/{place}" for name in named[:3] for place in (NAME, PLAIN, "hopper-medium-v2.hdf5")),
        f"/good/{NAME}",
    ]
    assert files_in(folder) == [path]


def test_a_mirror_may_be_flat(folder, serve, monkeypatch):
    server = serve(flat="flat")
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", server.address("flat"))
    fetched = fetch.fetch(hopper())
    assert fetched.source == f"{server.address('flat')}/{PLAIN}"
    assert fetched.path.read_bytes() == server.content


def test_a_place_that_is_named_stands_in_for_the_others(folder, serve, tmp_path, monkeypatch):
    server = serve(flat="flat", mirror="whole", origin="whole")
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", server.address("mirror"))
    task = task_at(server, "origin")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkFailedError, match=r"holds no hopper_medium-v2\.hdf5"):
        fetch.fetch(task, source=str(tmp_path / "empty"))
    assert server.asked == []
    fetched = fetch.fetch(task, source=server.address("flat"))
    assert fetched.source == f"{server.address('flat')}/{PLAIN}"
    # Known by its hash, under a name of the person's own.
    placed(server.content, tmp_path / "usb" / "hopper (copy).h5")
    fetched = fetch.fetch(task, source=str(tmp_path / "usb"), overwrite=True)
    assert fetched.source == str(tmp_path / "usb" / "hopper (copy).h5")
    with pytest.raises(BenchError, match="--from 'usb'\nIt is no folder that is there"):
        fetch.fetch(task, source="usb", overwrite=True)


def test_a_machine_that_does_not_answer_is_asked_once(folder, whole, monkeypatch):
    # Port 9 of this machine: nothing listens there.
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", "http://127.0.0.1:9/d4rl")
    task = hopper(dataset=replace_url(hopper().dataset, f"http://127.0.0.1:9/{NAME}"))
    with pytest.raises(WorkFailedError) as caught:
        fetch.fetch(task)
    assert caught.value.why.count("no connection") == 2


@pytest.mark.parametrize(
    "name", [NAME, PLAIN, "d4rl/data/hopper-medium-v2.hdf5", "Downloads/hopper (1).HDF5"]
)
@pytest.mark.parametrize("written", ["{}", "file://{}", "file://localhost{}"])
def test_a_folder_is_a_mirror(folder, whole, tmp_path, monkeypatch, name, written):
    theirs = placed(whole.read_bytes(), tmp_path / "mnt" / name)
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", written.format(tmp_path / "mnt"))
    fetched = fetch.fetch(hopper())
    assert fetched.source == str(theirs)
    assert fetched.path.read_bytes() == theirs.read_bytes() == whole.read_bytes()
    assert files_in(folder) == [fetched.path]


def test_a_wrong_file_in_a_folder_is_passed_over(folder, serve, tmp_path, monkeypatch):
    server = serve(good="whole")
    write(tmp_path / "mnt" / PLAIN, columns())
    nowhere = tmp_path / "not mounted"
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", f"{tmp_path / 'mnt'},{nowhere},{server.address('good')}")
    assert fetch.fetch(hopper()).path.read_bytes() == server.content
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", f"{tmp_path / 'mnt'},{nowhere}")
    (folder / PLAIN).unlink()
    with pytest.raises(WorkFailedError) as caught:
        fetch.fetch(task_at(server, "absent"))
    assert f"there is {tmp_path / 'mnt' / PLAIN}, but it is another file" in caught.value.why
    assert f"{nowhere}: No such file or directory" in caught.value.why


@pytest.mark.parametrize(
    "name", ["hopper-medium-v2.hdf5", NAME, "old/Hopper_Medium-v2.h5", "by-hash/1a2b.hdf5"]
)
def test_a_file_of_the_data_folder_is_known_by_its_hash_whatever_its_name(folder, whole, serve, name):
    server = serve(it="whole")
    theirs = placed(whole.read_bytes(), folder / name)
    fetched = fetch.fetch(task_at(server, "it"))
    assert fetched == fetch.Fetched(folder / PLAIN, str(theirs))
    assert fetched.path.read_bytes() == whole.read_bytes()
    assert server.asked == []


def test_a_file_under_a_neighbouring_name_is_never_taken_by_its_name_but_said(folder, serve, tmp_path):
    beside = write(folder / "hopper-medium-v2.hdf5", columns())
    below = write(folder / NAME, columns())
    with pytest.raises(WorkFailedError) as caught:
        fetch.fetch(task_at(serve(), "it"))
    for path in (beside, below):
        assert f"there is {path}, but it is another file" in caught.value.why
    assert f"move it to {folder / PLAIN}" in caught.value.why
    assert sorted(files_in(folder)) == sorted([beside, below])


def test_of_many_wrong_files_a_few_are_named_and_what_is_no_dataset_is_not_offered(folder, serve):
    for number in range(5):
        placed(b"no dataset", folder / str(number) / PLAIN)
    with pytest.raises(WorkFailedError) as caught:
        fetch.fetch(task_at(serve(), "it"))
    assert caught.value.why.count("there is") == 3
    assert f"{folder}: holds 2 more of the kind." in caught.value.why
    assert "move it" not in caught.value.why


def test_a_file_on_another_disk_is_copied(folder, whole, monkeypatch):
    def other_disk(*arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    theirs = placed(whole.read_bytes(), folder / NAME)
    path = fetch.fetch(hopper()).path
    assert path.read_bytes() == whole.read_bytes()
    assert path.stat().st_ino != theirs.stat().st_ino


def test_another_file_that_is_there_is_said_and_replaced_on_request(folder, serve, whole):
    task = task_at(serve(it="whole"), "it")
    path = write(dataset_path(task), columns())
    before = sha256(path)
    with pytest.raises(WorkFailedError, match="that is there is not D4RL's") as caught:
        fetch.fetch(task)
    assert f"SHA-256 {before}, known {sha256(whole)}" in caught.value.why
    assert "bench data fetch hopper-medium-v2 --overwrite" in caught.value.do_this
    assert sha256(path) == before
    assert fetch.fetch(task, overwrite=True).path == path
    assert sha256(path) == sha256(whole)


def test_what_replaces_nothing_leaves_the_old_file(folder, serve, whole):
    task = task_at(serve(it="other"), "it")
    path = write(dataset_path(task), columns())
    before = sha256(path)
    with pytest.raises(WorkFailedError):
        fetch.fetch(task, overwrite=True)
    assert (sha256(path), files_in(folder)) == (before, [path])


def test_addresses_below_a_mirror():
    dataset = hopper().dataset
    task = "hopper-medium-v2"
    found = addresses(dataset, "https://one/d4rl", task)
    assert found == [f"https://one/d4rl/{name}" for name in (NAME, PLAIN, f"{task}.hdf5")]
    elsewhere = replace_url(dataset, "http://elsewhere/data/file.hdf5")
    found = addresses(elsewhere, "https://one", task)
    assert found == ["https://one/file.hdf5", f"https://one/{task}.hdf5"]


@pytest.mark.parametrize("value", ["", " ", ",", " , ,, "])
def test_no_mirrors(monkeypatch, value):
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", value)
    assert mirrors() == []


def test_mirrors_as_people_write_them(monkeypatch, tmp_path):
    (tmp_path / "my data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    texts = " HTTPS://one/d4rl// ,http://[::1]:80/x, ~/absent, my data,file:///mnt/a%20b,http://u:p@host/d4rl"
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", texts)
    folders = [tmp_path / "absent", Path("my data"), Path("/mnt/a b")]
    assert mirrors() == ["HTTPS://one/d4rl", "http://[::1]:80/x", *folders, "http://u:p@host/d4rl"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("ftp://host/d4rl", "not fetched by ftp"),
        ("s3://bucket/d4rl", "not fetched by s3"),
        ("://host", "not fetched by nothing"),
        ("example.org/d4rl", "no folder that is there"),
        ("localhost:8000/d4rl", "no folder that is there"),
        ("http://", "names no host"),
        ("http:///mnt", "names no host"),
        ("http://host:port/d4rl", "no address"),
        ("http://host:99999/d4rl", "no address"),
        ("http://[::1/d4rl", "no address"),
        ("http://one http://two", "holds no space"),
        ("http://host/d4rl?token=1", "no file's name can follow"),
        ("http://host/d4rl#there", "no file's name can follow"),
        ("file://server/mnt", "names a machine, 'server'"),
        ("file:///%00", "null byte"),
        ("~nosuchuser/d4rl", "home"),
        ("/" + "x" * 5000, "File name too long"),
        (__file__, "It is a file"),
    ],
)
def test_an_odd_mirror_is_said_before_anything_is_asked(folder, monkeypatch, value, reason):
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", f"http://127.0.0.1:9/d4rl, {value}")
    with pytest.raises(BenchError, match="in BENCH_D4RL_MIRRORS") as caught:
        fetch.fetch(hopper())
    assert not isinstance(caught.value, WorkFailedError)
    assert reason in caught.value.why
    assert len(caught.value.what) < 180


def test_a_password_is_not_told(monkeypatch):
    monkeypatch.setenv("BENCH_D4RL_MIRRORS", "ftp://me:secret@host/d4rl")
    with pytest.raises(BenchError) as caught:
        mirrors()
    assert "secret" not in str(caught.value)


def test_folders_are_looked_through_two_levels_deep_and_pipes_left_alone(tmp_path):
    near, far = tmp_path / "a" / "b" / PLAIN, tmp_path / "a" / "b" / "c" / PLAIN
    for path in (near, far):
        placed(b"", path)
    os.mkfifo(tmp_path / PLAIN)
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    assert files_like(tmp_path, (PLAIN,), None) == [near]


def placed(content: bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


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
