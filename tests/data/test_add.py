"""Datasets of a user's own: taken in, kept by their content, entered in the user's catalogue."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench.catalog import ReferenceScores, load_catalog
from bench.data.add import Wanted, add
from bench.data.folder import dataset_path
from bench.data.verify import dataset_record
from bench.errors import BenchError
from bench.files import sha256_of
from tests.data.files import columns, write

HOPPER = Wanted("mine", "hopper")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to stand in, without a catalogue yet."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("BENCH_TASKS", raising=False)
    stand = tmp_path / "here"
    stand.mkdir()
    monkeypatch.chdir(stand)
    return stand


def given(**changes):
    return str(write(Path("my.hdf5"), columns() | changes))


def refusal(given, wanted=HOPPER, **options):
    """What is said of a request that is refused, and that nothing was kept or entered."""
    before = sorted(Path().rglob("*.yaml"))
    with pytest.raises(BenchError) as caught:
        add(given, wanted, **options)
    assert sorted(Path().rglob("*.yaml")) == before
    return str(caught.value)


def test_a_file_becomes_a_task_that_is_known_by_its_content():
    file = given()
    added = add(file, HOPPER)
    task = load_catalog().task("mine")
    assert (added.task, added.is_new, added.catalogue) == (task, True, Path("tasks.yaml"))
    assert (task.foreign, task.added, task.environment, task.horizon) == (True, True, "hopper", 1000)
    assert task.dataset.sha256 == sha256_of(Path(file))
    assert (task.dataset.origin, task.rows) == ("my.hdf5", 40)
    assert added.path == dataset_path(task)
    assert added.path.read_bytes() == Path(file).read_bytes()
    # Whatever becomes of the file that it was added from.
    Path(file).write_text("gone")
    record = dataset_record(task, added.path)
    assert (record.name, record.sha256, record.verification) == ("mine", task.dataset.sha256, "content fits")


def test_reference_scores_and_presets_stand_in_the_entry():
    wanted = Wanted("mine", "hopper", ReferenceScores(random=0.0, expert=1e-20), "hopper-medium-v2")
    add(given(), wanted)
    task = load_catalog().task("mine")
    assert (task.reference, task.preset_task) == (wanted.reference, "hopper-medium-v2")
    hopper = load_catalog().environments["hopper"].reference
    add(given(), Wanted("other", "hopper"))
    assert load_catalog().task("other").reference == hopper


def test_the_same_again_changes_nothing_and_puts_a_lost_copy_back():
    added = add(given(), Wanted("mine", "hopper", preset_of="hopper-medium-v2"))
    text = Path("tasks.yaml").read_text()
    added.path.unlink()
    # As somebody does who got the catalogue from a colleague: the name alone.
    again = add("my.hdf5", Wanted("mine"))
    assert (again.is_new, again.task, again.path.is_file()) == (False, added.task, True)
    assert Path("tasks.yaml").read_text() == text


def test_another_file_under_the_name_is_refused_unless_it_is_to_replace_it():
    add(given(), HOPPER)
    other = given(rewards=np.ones(40, np.float32))
    assert "there is a task mine already" in refusal(other)
    assert "--replace" in refusal(other)
    follower = Wanted("mine", "hopper", preset_of="hopper-medium-v2")
    assert "this very file" in refusal(str(dataset_path(load_catalog().task("mine"))), follower)
    add(other, HOPPER, replace=True)
    assert load_catalog().task("mine").dataset.sha256 == sha256_of(Path(other))


def test_comments_stay_where_they_are_and_entries_come_last():
    Path("tasks.yaml").write_text(
        "# mine\ntasks:  # of the lab\n  # the first\n  old-one: {environment: hopper, version: 1,"
        " preset_of: hopper-medium-v2,\n    dataset: {source: d4rl, rows: null,"
        ' url: "http://example.org/old.hdf5"}}\n\n'
        "# what we run\nsuites:\n  lab: {description: ours, tasks: [old-one]}  # grows\n"
    )
    before = Path("tasks.yaml").read_text().splitlines()
    add(given(), HOPPER)
    add(given(), Wanted("second", "hopper"))
    text = Path("tasks.yaml").read_text()
    assert [line for line in text.splitlines() if line in before] == before
    assert text.index("old-one:") < text.index("  mine:") < text.index("  second:") < text.index("# what we")
    assert list(load_catalog().tasks)[-3:] == ["old-one", "mine", "second"]
    add(given(rewards=np.ones(40, np.float32)), HOPPER, replace=True)
    assert [line for line in Path("tasks.yaml").read_text().splitlines() if line in before] == before
    assert list(load_catalog().tasks)[-3:] == ["old-one", "mine", "second"]


@pytest.mark.parametrize(
    "text", ["", "# nothing yet", "tasks:\n", "tasks: {}  # soon\nsuites: {}", "suites: {}\ntasks: null"]
)
def test_an_entry_finds_its_place_in_a_catalogue_without_tasks(text):
    Path("tasks.yaml").write_text(text)
    add(given(), HOPPER)
    assert load_catalog().task("mine").rows == 40


def test_a_catalogue_that_takes_no_entry_is_left_alone_and_the_entry_told():
    flow = "tasks: {old: {environment: hopper, version: 1, preset_of: hopper-medium-v2, dataset: "
    Path("tasks.yaml").write_text(flow + '{source: d4rl, url: "http://example.org/old.hdf5", rows: null}}}\n')
    before = Path("tasks.yaml").read_text()
    said = refusal(given())
    assert "Put this under tasks" in said
    assert "source: added" in said
    assert Path("tasks.yaml").read_text() == before


def test_the_catalogue_is_the_one_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_TASKS", str(tmp_path / "lab" / "ours.yaml"))
    assert add(given(), HOPPER).catalogue == tmp_path / "lab" / "ours.yaml"
    assert not Path("tasks.yaml").exists()
    assert load_catalog().task("mine").added
    monkeypatch.setenv("BENCH_TASKS", "")
    assert "mine" not in load_catalog().tasks
    assert "there is no catalogue" in refusal(given())


def test_links_are_followed_to_the_file_and_to_the_catalogue(tmp_path):
    target = write(tmp_path / "elsewhere" / "real.hdf5", columns())
    (tmp_path / "elsewhere" / "ours.yaml").write_text("# ours\n")
    Path("link.hdf5").symlink_to(target)
    Path("tasks.yaml").symlink_to(tmp_path / "elsewhere" / "ours.yaml")
    added = add("link.hdf5", HOPPER)
    assert not added.path.is_symlink()
    assert Path("tasks.yaml").is_symlink()
    assert "mine:" in (tmp_path / "elsewhere" / "ours.yaml").read_text()


def test_ready_made_transitions_are_taken_as_they_are():
    content = columns()
    file = given(timeouts=None, next_observations=content["observations"][::-1])
    added = add(file, HOPPER)
    assert (added.summary.layout, added.summary.transitions) == ("ready-made transitions", 40)
    assert not added.summary.in_order


def test_recorded_demonstrations_are_taken_in_as_transitions():
    recording = Path(__file__).resolve().parents[3] / "shared/data/real/pen_human_demos.npz"
    if not recording.is_file():
        pytest.skip("the recorded pen demonstrations are not beside the project")
    demos = np.load(recording)
    content = {name: demos[name] for name in ("observations", "next_observations", "actions")}
    content |= {"rewards": demos["rewards_sparse"], "terminals": np.zeros(len(demos["episode"]), bool)}
    found = add(str(write(Path("pen.hdf5"), content)), Wanted("pens", "pen")).summary
    assert (found.transitions, found.episodes, found.in_order) == (4975, 25, True)


def test_an_episode_of_one_row_that_was_cut_is_no_transition():
    timeouts = np.zeros(40, bool)
    timeouts[[5, 6, 39]] = True
    assert add(given(timeouts=timeouts), HOPPER).summary.transitions == 37


def observations(**values):
    found = columns()["observations"]
    for row, value in values.items():
        found[int(row[1:]), 3] = value
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rewards": None}, "lacks rewards"),
        ({"observations": np.zeros((40, 17), np.float32)}, "is hopper its environment?"),
        ({"actions": np.zeros((40, 6), np.float32)}, "mine has (rows, 3)"),
        ({"observations": observations(r7=np.nan)}, "holds nan in observations at row 7"),
        ({"rewards": np.full(40, np.inf, np.float32)}, "inf in rewards at row 0"),
        ({"rewards": np.zeros(39, np.float32)}, "columns of different lengths"),
        ({"actions": np.full((40, 3), 1.5, np.float32)}, "outside mine's bounds [-1, 1]"),
        ({"terminals": np.arange(40)}, "holds 2 in terminals at row 2"),
        ({"observations": np.zeros((40, 11), np.float32)}, "is not data of hopper"),
        ({"timeouts": np.ones(40, bool)}, "holds no transition"),
        ({"timeouts": None, "next_obs": columns()["observations"]}, "Rename 'next_obs' to next_observations"),
    ],
)
def test_a_content_that_cannot_be_is_refused(changes, said):
    assert said in refusal(given(**changes))


def test_what_is_no_hdf5_of_numbers_is_refused_and_never_unpickled(tmp_path):
    np.savez("mine.npz", observations=np.zeros(3))
    assert "It is not an HDF5 file" in refusal("mine.npz")
    assert "There is no file 'absent.hdf5'" in refusal("absent.hdf5")
    assert "It is a folder" in refusal(str(tmp_path))
    with h5py.File("objects.hdf5", "w") as file:
        for name, values in columns().items():
            file[name] = values
        del file["rewards"]
        file.create_dataset("rewards", data=["a"] * 40, dtype=h5py.string_dtype())
    assert "holds no numbers in rewards" in refusal("objects.hdf5")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("hopper-medium-v2", "hopper"), "There is a task of that name"),
        (Wanted("quickstart", "hopper"), "There is a suite of that name"),
        (Wanted("no name", "hopper"), "letters, digits"),
        (Wanted("a" * 41, "hopper"), "at most 40"),
        (Wanted("../mine", "hopper"), "letters, digits"),
        (Wanted("mine"), "no --environment"),
        (Wanted("mine", "hoper"), "There are: halfcheetah, hopper"),
        (Wanted("mine", "Hopper-v4"), "Did you mean hopper?"),
        (Wanted("mine", "bandit-energy-moons"), "unknown environment"),
        (Wanted("mine", "hopper", preset_of="hopper-medium"), "unknown task 'hopper-medium'"),
        (Wanted("mine", "hopper", preset_of="pen-human-v1"), "of the domain adroit"),
        (Wanted("mine", "hopper", preset_of="collected-hopper-medium"), "name hopper-medium-v2"),
    ],
)
def test_a_name_that_cannot_be_is_refused(wanted, said):
    assert said in refusal(given(), wanted)


def test_a_copy_that_changed_is_refused_before_it_is_trained_on():
    added = add(given(), HOPPER)
    write(added.path, columns(seed=1))
    with pytest.raises(BenchError, match="is not the file that was added as mine"):
        dataset_record(added.task, added.path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_takes_nothing_is_told():
    Path("data").mkdir(mode=0o500)
    assert "cannot be written" in refusal(given())
