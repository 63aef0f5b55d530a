"""A user's own catalogue: merged over the shipped one, checked the same way, and never in its place."""

import shutil

import pytest

from bench.catalog import load_catalog, shipped_domains
from bench.cli.completion import lists_of, names_of
from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.presets import load_preset
from bench.resources import resource

TASK = """tasks:
  hopper-expert-v2:
    environment: hopper
    version: 1
    preset_of: hopper-medium-v2
    dataset: {source: d4rl, url: "http://example.org/hopper_expert-v2.hdf5", rows: null}
"""
SUITE = """suites:
  lab:
    description: ours and theirs
    tasks: [hopper-expert-v2, hopper-medium-v2]
    defaults: {algorithms: [bc], settings: {bc: {hidden_width: 8}}}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the catalogue of the working folder, which is an empty one."""
    monkeypatch.delenv("BENCH_TASKS", raising=False)
    monkeypatch.chdir(tmp_path)
    return (tmp_path / "tasks.yaml").write_text


def message():
    with pytest.raises(BenchError) as caught:
        load_catalog()
    return str(caught.value)


def test_tasks_and_suites_stand_after_the_shipped_ones(own):
    shipped = load_catalog()
    own(TASK + SUITE)
    catalog = load_catalog()
    assert list(catalog.tasks) == [*shipped.tasks, "hopper-expert-v2"]
    assert list(catalog.suites) == [*shipped.suites, "lab"]
    assert {name: catalog.tasks[name] for name in shipped.tasks} == shipped.tasks
    assert [task.foreign for task in catalog.suite("lab").tasks] == [True, False]
    assert catalog.domains == shipped.domains == shipped_domains()


def test_it_may_be_elsewhere_and_may_be_none(own, tmp_path, monkeypatch):
    own(TASK)
    (tmp_path / "there.yaml").write_text(TASK.replace("hopper-expert", "hopper-random"))
    monkeypatch.setenv("BENCH_TASKS", str(tmp_path / "there.yaml"))
    assert {"hopper-random-v2", "hopper-expert-v2"} & set(load_catalog().tasks) == {"hopper-random-v2"}
    monkeypatch.setenv("BENCH_TASKS", "")
    assert "hopper-expert-v2" not in load_catalog().tasks
    monkeypatch.setenv("BENCH_TASKS", str(tmp_path / "absent.yaml"))
    assert "BENCH_TASKS names it" in message()


def test_a_task_of_another_folder_is_told_where_ones_own_are_read_from(own):
    with pytest.raises(BenchError, match=r"read from tasks\.yaml where you stand, or from what BENCH_TASKS"):
        load_catalog().task("my-pendulum")
    with pytest.raises(BenchError) as caught:
        load_catalog().task("hopper-medium")
    assert "BENCH_TASKS" not in str(caught.value)


def test_in_a_checkout_of_this_project_there_is_none(own, tmp_path):
    own(resource("tasks.yaml").read_text())
    assert "tasks.yaml line" in message()
    (tmp_path / "bench").mkdir()
    shutil.copy(resource("bench") / "catalog.py", tmp_path / "bench")
    assert load_catalog().tasks == load_catalog(resource("tasks.yaml")).tasks


ENTRY = "tasks.hopper-expert-v2"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hopper-expert-v2:", "hopper-medium-v2:", "line 2: tasks.hopper-medium-v2: the name is taken"),
        ("lab:", "quickstart:", "line 8: suites.quickstart: the name is taken"),
        ("lab:", "hopper-expert-v2:", "suites.hopper-expert-v2: the name is taken"),
        ("environment: hopper", "environment: hoper", f"line 3: {ENTRY}.environment: unknown"),
        ("environment: hopper", "environment: antmaze-umaze", "goals of antmaze-umaze are drawn"),
        ("version: 1", "version: one", f"line 4: {ENTRY}.version"),
        ("version: 1", "version: 1\n    reference: {random: 3, expert: 3}", "must be above random"),
        ("version:", "versoin:", "did you mean version?"),
        (", hopper-medium-v2]", ", hopper-medum-v2]", "Did you mean hopper-medium-v2"),
        ("preset_of: hopper-medium-v2", "preset_of: pen-human-v1", f"line 5: {ENTRY}.preset_of: pen"),
        ("preset_of: hopper-medium-v2", "preset_of: hopper-none", f"line 5: {ENTRY}.preset_of: unknown"),
        ("suites:", "domains: {}\nsuites:", "unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(own, old, new, said):
    assert old in TASK + SUITE
    own((TASK + SUITE).replace(old, new))
    assert said in message()


@pytest.mark.parametrize(
    ("text", "said"),
    [("- name: install nginx", "It lies in this folder"), ("tasks: [", "not valid YAML")],
)
def test_a_file_of_something_else_is_told_with_a_way_round_it(own, text, said):
    own(text)
    assert said in message()
    assert "ame another file in BENCH_TASKS" in message()
    assert "\n " not in message()


def test_a_setting_of_its_suite_is_told_with_its_own_line(own):
    own(TASK + SUITE.replace("hidden_width: 8", "hiden_width: 8"))
    suite = load_catalog().suite("lab")
    request = Request(
        tasks=suite.tasks,
        algorithms=("bc",),
        seeds=(0,),
        suite="lab",
        suite_settings=suite.defaults.settings,
    )
    with pytest.raises(
        BenchError, match=r"tasks\.yaml line 11: suites\.lab\.defaults\.settings\.bc\.hiden_width"
    ):
        plan_cells(request)


def test_a_preset_that_is_followed_says_so_and_is_that_of_the_other_task(own):
    own(TASK)
    catalog = load_catalog()
    for name in ("dtql", "edp-td3"):
        followed = load_preset(name, catalog.task("hopper-expert-v2"))
        theirs = load_preset(name, catalog.task("hopper-medium-v2"))
        assert (followed.task, followed.values) == ("hopper-medium-v2", theirs.values)
        assert followed.evaluation.protocol == theirs.evaluation.protocol
        sources = [setting.source for setting in followed.hyperparameters.values()]
        assert all(source.endswith(" (preset of hopper-medium-v2)") for source in sources)


def test_presets_are_named_for_tasks_of_ones_own_alone(own):
    own(TASK.replace("    preset_of: hopper-medium-v2\n", ""))
    catalog = load_catalog()
    task = catalog.task("hopper-expert-v2")
    with pytest.raises(BenchError, match="Add --preset-of TASK"):
        load_preset("bc", task)
    assert load_preset("bc", catalog.following(task, "hopper-medium-v2")).task == "hopper-medium-v2"
    assert catalog.following(task, None) is task
    for other, named, said in (
        ("hopper-medium-v2", "hopper-medium-expert-v2", "is no task of your own"),
        ("hopper-expert-v2", "pen-human-v1", "of the domain adroit"),
        ("hopper-expert-v2", "hopper", "unknown task 'hopper'"),
    ):
        with pytest.raises(BenchError) as caught:
            catalog.following(catalog.task(other), named)
        assert said in str(caught.value)


def test_its_names_are_offered_by_the_shell_and_a_mistake_offers_nothing(own):
    own(TASK + SUITE)
    assert names_of("task")("hopper-exp") == ["hopper-expert-v2"]
    assert lists_of("suite")("quickstart,la") == ["quickstart,lab"]
    assert "hopper" in names_of("environment")("h")


def test_a_shell_is_told_nothing_of_a_file_that_cannot_be_read(own):
    own("tasks: [")
    assert names_of("task")("hopper-exp") == []
