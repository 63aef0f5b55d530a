"""tasks.yaml against the tables of the d4rl package itself, which is read as text and never imported."""

import ast
import subprocess
import sys
import zipfile

import pytest

from bench.catalog import D4RLDataset, load_catalog

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("d4rl")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "-d",
        str(folder),
        "d4rl==1.1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"d4rl 1.1 cannot be downloaded: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(folder.glob("d4rl-1.1*.whl"))) as archive:
        yield archive


def syntax(wheel, path):
    return ast.parse(wheel.read(f"d4rl/{path}").decode())


def assigned(tree):
    """The literal values that a module assigns at its top, by name."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def addresses_by_formula(tree):
    """Texts such as `.../gym_mujoco_v2/%s.hdf5`, by the folder in them."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {text.split("/")[-2]: text for text in texts if isinstance(text, str) and text.endswith("%s.hdf5")}


def registered_horizons(tree):
    """`max_episode_steps` of every environment that is registered under a literal name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "register":
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if isinstance(given["id"], ast.Constant):
                found[given["id"].value] = ast.literal_eval(given["max_episode_steps"])
    return found


def test_addresses_reference_scores_and_horizons_are_d4rl_s(wheel):
    infos = syntax(wheel, "infos.py")
    tables, formulas = assigned(infos), addresses_by_formula(infos)
    adroit = syntax(wheel, "hand_manipulation_suite/__init__.py")
    horizons = {
        **registered_horizons(syntax(wheel, "locomotion/__init__.py")),
        **registered_horizons(syntax(wheel, "kitchen/__init__.py")),
        **registered_horizons(adroit),
    }
    gym = registered_horizons(syntax(wheel, "gym_mujoco/__init__.py"))
    held = 0
    for task in load_catalog().tasks.values():
        if not isinstance(task.dataset, D4RLDataset):
            continue
        name, scores, horizon = task.name, task.name, horizons.get(task.name)
        url = tables["DATASET_URLS"].get(name)
        if task.domain == "locomotion":
            kind = name.removeprefix(f"{task.environment}-").removesuffix("-v2")
            url = formulas["gym_mujoco_v2"] % f"{task.environment}_{kind.replace('-', '_')}-v2"
            scores, horizon = f"{task.environment}-random-v0", gym["hopper-medium-v0"]
        elif name.startswith("pen-") and name.endswith("-v1"):
            url, scores = formulas["hand_dapg_v1"] % name, "pen-human-v0"
            horizon = assigned(adroit)["MAX_STEPS"]["pen"]
        assert task.dataset.url == url
        assert task.reference.random == tables["REF_MIN_SCORE"][scores]
        assert task.reference.expert == tables["REF_MAX_SCORE"][scores]
        assert task.horizon == horizon, name
        held += 1
    assert held == 28
