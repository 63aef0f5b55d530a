import pytest

from bench.errors import BenchError
from bench.nightly.config import load_nightly, store_of_nights

GRID = """canary:
  - tasks: [collected-hopper-medium]
    algorithms: [dtql, edp]
    budget: 0.01
    evaluations: 10
    settings:
      dtql: {candidates: 8}
"""


@pytest.fixture
def load(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return load_nightly(path)

    return write


def test_the_shipped_file_is_a_small_canary_whose_every_cell_gives_a_score():
    shipped = load_nightly()
    assert len(shipped.cells) == 12
    assert set(shipped.algorithms) == {"dtql", "srpo", "edp-td3", "bdpo"}
    assert len({(cell.algorithm, cell.variant, cell.task.name) for cell in shipped.cells}) == 12
    assert all(cell.task.collected for cell in shipped.cells)
    assert shipped.settings.scores.family_rate == 0.01
    assert shipped.settings.seeds.per_night == 2


def test_the_store_is_told_without_planning_grids(load, tmp_path):
    assert store_of_nights() == load_nightly().settings.store
    file = load(f"{GRID}store: elsewhere.sqlite\n")
    assert store_of_nights(file.path) == file.settings.store == "elsewhere.sqlite"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(f"{GRID}stor: x\n")
    with pytest.raises(BenchError, match="line 8"):
        store_of_nights(wrong)


def test_a_grid_becomes_cells_with_their_methods_own_settings(load):
    file = load(GRID)
    assert [cell.name for cell in file.cells] == [
        "dtql collected-hopper-medium",
        "edp-td3 collected-hopper-medium",
    ]
    assert file.cells[0].preset.values["candidates"] == 8
    assert file.cells[1].preset.values["candidates"] != 8
    assert file.settings.seeds.baseline == 20


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("budget: 0.01", "buget: 0.01", 4, "did you mean budget"),
        ("budget: 0.01", "budget: 2", 4, "less than or equal to 1"),
        ("budget: 0.01", "budget: .nan", 4, "finite"),
        ("hopper-medium]", "hoper-medium]", 2, "collected-hopper-medium"),
        ("[dtql, edp]", "[dtlq, edp]", 3, "Did you mean dtql"),
        ("tasks: [collected-hopper-medium]", "suite: collected-locomotio", 2, "collected-locomotion"),
        ("- tasks: [collected-hopper-medium]\n    algo", "- algo", 2, "either a suite or tasks"),
        ("candidates: 8", "candidate: 8", 7, "Did you mean candidates"),
        ("candidates: 8", "candidates: 0", 2, "candidates"),
        ("      dtql:", "      bdpo:", 7, "algorithm of this grid 'bdpo'"),
        ("evaluations: 10", "evaluations: 9", 2, "edp-td3 collected-hopper-medium reports the mean"),
        ("collected-hopper-medium", "antmaze-umaze-v9", 2, "antmaze-umaze-v2"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(load, old, new, line, told):
    assert old in GRID
    with pytest.raises(BenchError) as caught:
        load(GRID.replace(old, new))
    assert f"mine.yaml line {line}:" in caught.value.what
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "line", "told"),
    [
        ("seeds: {baseline: 1}", 8, "greater than or equal to 2"),
        ("seeds: {per_night: 0}", 8, "greater than 0"),
        ("scores: {family_rate: 0}", 8, "greater than 0"),
        ("scores: {familiy_rate: 0.1}", 8, "did you mean family_rate"),
        ("speed: {task: hoper-medium-v2}", 8, "hopper-medium-v2"),
        ("drift: {rate: 1}", 8, "less than 1"),
    ],
)
def test_rates_and_numbers_that_mean_nothing_are_refused(load, extra, line, told):
    with pytest.raises(BenchError) as caught:
        load(GRID + extra)
    assert f"mine.yaml line {line}:" in caught.value.what
    assert told in str(caught.value)


def test_a_cell_is_in_the_canary_once(load):
    with pytest.raises(
        BenchError, match=r"line 8: canary\.1: dtql collected-hopper-medium is in the canary twice"
    ):
        load(GRID + GRID.removeprefix("canary:\n"))


def test_speed_may_be_left_out(load):
    assert load(GRID + "speed: null").settings.speed is None


def test_an_empty_file_is_refused(load):
    with pytest.raises(BenchError, match=r"mine\.yaml line 1"):
        load("")
