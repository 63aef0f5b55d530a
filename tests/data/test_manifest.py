"""What is known about D4RL's files, and what is said of datasets that are not verified."""

from dataclasses import replace

import pytest

from bench.catalog import D4RLDataset, load_catalog
from bench.data.manifest import known_file, load_manifest, remarks_on, verification_of
from bench.errors import BenchError
from bench.records import DatasetRecord

MANIFEST = load_manifest()
ROBOTS = ("halfcheetah", "hopper", "walker2d")


def test_the_nine_locomotion_sets_are_known():
    suite = load_catalog().suite("d4rl-locomotion")
    assert set(MANIFEST.datasets) == {task.name for task in suite.tasks}
    for task in suite.tasks:
        facts = MANIFEST.datasets[task.name]
        assert facts.rows == task.rows
        assert (facts.observation_dim, facts.action_dim) == (task.observation_dim, task.action_dim)


def test_every_task_on_d4rls_data_has_a_known_file():
    tasks = [task for task in load_catalog().tasks.values() if isinstance(task.dataset, D4RLDataset)]
    known = [known_file(task) for task in tasks]
    assert None not in known
    assert len(MANIFEST.files) == len({file.sha256 for file in MANIFEST.files.values()}) == 34
    # D4RL stores 11 or 17 state numbers, twice, and an action of 3 or 6 per row, in single precision.
    for task, file in zip(tasks, known, strict=True):
        if task.domain == "locomotion":
            numbers = 2 * task.observation_dim + task.action_dim
            assert 4 * numbers * task.dataset.rows < file.bytes < 8 * numbers * task.dataset.rows


def test_other_data_has_no_known_file():
    catalog = load_catalog()
    for name in ("collected-hopper-medium", "bandit-energy-rings"):
        assert known_file(catalog.task(name)) is None


@pytest.mark.parametrize("value", ["5bdf1b", "5BDF" * 16, 12])
def test_a_hash_that_is_none_is_named(tmp_path, value):
    path = tmp_path / "manifest.yaml"
    path.write_text(f"state_tolerance: 1e-2\ndatasets: {{}}\nfiles:\n  a: {{sha256: {value}, bytes: 10}}\n")
    with pytest.raises(BenchError, match=r"manifest.yaml line 4: files.a.sha256"):
        load_manifest(path)


@pytest.mark.parametrize(
    ("name", "transitions", "episodes"),
    # Transitions, and episodes that end before the last row, as other projects report them for these files.
    [
        ("hopper-medium-v2", 999_998, 2186),
        ("walker2d-medium-v2", 999_322, 1190),
        ("halfcheetah-medium-replay-v2", 201_798, 201),
        ("hopper-medium-replay-v2", 401_598, 2040),
        ("hopper-medium-expert-v2", 1_998_966, 3213),
        ("walker2d-medium-expert-v2", 1_998_318, 2190),
    ],
)
def test_counts(name, transitions, episodes):
    facts = MANIFEST.datasets[name]
    assert facts.transitions == transitions
    assert facts.terminals + facts.timeout_contradictions == episodes


@pytest.mark.parametrize("robot", ROBOTS)
def test_medium_expert_begins_with_medium(robot):
    medium, both = (MANIFEST.datasets[f"{robot}-{kind}-v2"] for kind in ("medium", "medium-expert"))
    assert both.terminals >= medium.terminals
    assert both.timeout_contradictions >= medium.timeout_contradictions
    # Half of the rows are medium's: the other half's mean must be a mean of states that the robot can reach,
    # that is, not further than a few deviations from medium's.
    for one, two, deviation in zip(medium.state_mean, both.state_mean, medium.state_std, strict=True):
        assert abs(two - one) < 2.5 * deviation


def test_upright_robots_are_as_tall_as_their_torso_stands():
    for name, facts in MANIFEST.datasets.items():
        if not name.startswith("halfcheetah"):
            assert 1.1 < facts.state_mean[0] < 1.4
        assert min(facts.state_std) > 0.04


def test_a_mistake_is_named_with_its_line(tmp_path):
    path = tmp_path / "manifest.yaml"
    entry = (
        "state_tolerance: 1e-2\ndatasets:\n  a:\n    rows: 10\n    observation_dim: 1\n    action_dim: 1\n"
        "    transitions: 8\n    timeout_contradictions: 1\n    terminals: 0\n    state_mean: [0.0]\n"
        "    state_std: [1.0]\n"
    )
    path.write_text(entry)
    assert load_manifest(path).datasets["a"].rows == 10
    path.write_text(entry.replace("rows: 10", "rows: 11"))
    with pytest.raises(BenchError, match=r"manifest.yaml line 3: datasets.a: .*transitions \+ timeout"):
        load_manifest(path)
    path.write_text(entry.replace("terminals: 0", "terminal: 0"))
    with pytest.raises(BenchError, match=r"line 9: datasets.a.terminal: unknown key; did you mean terminals"):
        load_manifest(path)


HOPPER = "hopper-medium-v2"
KNOWN = MANIFEST.files[HOPPER].sha256


def dataset(verification, name=HOPPER, sha256="ab" * 32, rows=1_000_000):
    return DatasetRecord(name, sha256, rows, verification, "unverified")


def lines_on(*datasets):
    return [line for remark in remarks_on(datasets) for line in remark.lines]


def test_another_file_under_a_name_is_said_with_what_differs_and_what_follows():
    assert lines_on(dataset("mismatch", rows=40_000)) == [
        "hopper-medium-v2: not D4RL's file (rows 40,000, known 1,000,000): its scores will not be "
        "comparable; `bench data verify hopper-medium-v2` tells more."
    ]


@pytest.mark.parametrize(
    ("verification", "words"),
    [
        ("mismatch", "not D4RL's file ("),
        ("content fits", "not D4RL's own file, though its content fits ("),
        ("unverified", "not D4RL's own file, and not all of its content could be checked ("),
    ],
)
def test_every_kind_of_doubt_has_its_words(verification, words):
    (line,) = lines_on(dataset(verification))
    assert line.startswith(f"{HOPPER}: {words}SHA-256 abababababab, known {KNOWN[:12]}): its scores will not")


def test_d4rls_own_file_is_not_mentioned_whatever_was_once_found():
    for found in ("verified", "mismatch", "unverified"):
        assert lines_on(dataset(found, sha256=KNOWN)) == []


def test_verified_is_the_known_hash_and_nothing_else():
    claimed = dataset("verified")
    assert verification_of(claimed, MANIFEST) == "unverified"
    assert "D4RL's own file" in lines_on(claimed)[0]
    assert verification_of(dataset("mismatch"), MANIFEST) == "mismatch"
    assert verification_of(dataset("unverified", sha256=KNOWN), MANIFEST) == "verified"


def test_collected_data_is_not_d4rls_and_alarms_only_where_it_is_not_its_recipes():
    own = dataset("content fits", name="collected-hopper-medium")
    assert lines_on(own) == []
    for found in ("unverified", "verified"):  # Of older versions, which called it so without looking at all.
        (line,) = lines_on(replace(own, verification=found))
        assert line.startswith("collected-hopper-medium: not checked in every part: its scores may not be")
    (line,) = lines_on(replace(own, verification="mismatch"))
    assert line.startswith("collected-hopper-medium: not what its recipe makes: its scores will not be")


def test_a_grid_of_nine_tasks_stays_readable_at_80_columns():
    names = [name for name in MANIFEST.datasets if name.endswith("-v2")][:9]
    wrong = [dataset("mismatch", name, rows=40_000) for name in names[:8]]
    lines = lines_on(*wrong, dataset("content fits", names[8]), *wrong)
    assert lines[0] == "8 datasets are not D4RL's files: their scores will not be comparable."
    assert [line.split(":")[0].strip() for line in lines[1:9]] == names[:8]
    assert lines[9] == "  `bench data verify TASK` tells more of each."
    assert lines[10].startswith(f"{names[8]}: not D4RL's own file")
    assert max(map(len, lines[:10])) <= 80


def test_two_contents_under_one_name_are_two_lines():
    lines = lines_on(dataset("mismatch", rows=1), dataset("mismatch", sha256="cd" * 32, rows=2))
    assert lines[1:3] == [
        "  hopper-medium-v2: rows 1, known 1,000,000",
        "  hopper-medium-v2: rows 2, known 1,000,000",
    ]
