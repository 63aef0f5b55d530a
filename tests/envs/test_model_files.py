"""The model files of both packages: MuJoCo's own reading, the wheel's record, and what is amiss."""

import base64
import hashlib
import shutil
import sys
from importlib.metadata import distribution
from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from bench.envs import kitchen, load_model, model_files, pen
from bench.envs.model_files import PACKAGE, VERSION, model_tree, read_verified
from bench.errors import BenchError

FILES = {"pen": pen.MODEL_FILES, "kitchen": kitchen.MODEL_FILES}


def compiled(robot):
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(model_tree(FILES[robot]), encoding="unicode"))


def arrays(model):
    values = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


@pytest.fixture
def copied_pen(tmp_path, monkeypatch):
    """The pen's files in a folder of their own, where they may be changed."""
    hand = tmp_path / "adroit_hand"
    hand.mkdir()
    for name in FILES["pen"]:
        shutil.copy(model_files.robotics_assets() / name, tmp_path / name)
    monkeypatch.setattr(model_files, "robotics_assets", lambda: tmp_path)
    return hand


@pytest.mark.parametrize("robot", FILES)
def test_the_tree_compiles_to_the_model_that_mujoco_reads_itself(robot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = model_files.robotics_assets() / next(iter(FILES[robot]))
    expected = arrays(mujoco.MjModel.from_xml_path(str(path)))
    ours = arrays(compiled(robot))
    assert len(ours) > 150
    assert ours.keys() == expected.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("robot", FILES)
def test_every_mesh_that_collides_or_weighs_is_held_against_its_hash(robot):
    model, tree = compiled(robot), model_tree(FILES[robot])
    files = {mesh.get("name"): mesh.get("file") for mesh in tree.iter("mesh")}
    solid = [
        model.mesh(model.geom_dataid[geom]).name
        for geom in range(model.ngeom)
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH
        # Both robots' XML gives a mass only to what collides; the kitchen's groups 3 to 5 alone have inertia.
        and (model.geom_contype[geom] or model.geom_conaffinity[geom] or 3 <= model.geom_group[geom] <= 5)
    ]
    assert len(set(solid)) == {"pen": 0, "kitchen": 9}[robot]
    for mesh in solid:
        assert any(name.endswith(f"meshes/{files[mesh]}") for name in FILES[robot]), mesh


def test_the_hashes_are_those_that_the_wheel_records():
    recorded = {str(file): file.hash for file in distribution(PACKAGE).files}
    assert distribution(PACKAGE).version == VERSION
    for files in FILES.values():
        for name, sha256 in files.items():
            entry = recorded[f"gymnasium_robotics/envs/assets/{name}"]
            assert entry.mode == "sha256"
            assert base64.urlsafe_b64decode(entry.value + "=").hex() == sha256, name


def test_the_package_is_never_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "gymnasium_robotics", raising=False)
    model_tree(pen.MODEL_FILES)
    assert "gymnasium_robotics" not in sys.modules


def test_an_absent_package_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchError) as told:
        model_tree(pen.MODEL_FILES)
    assert str(told.value).splitlines() == [
        "gymnasium-robotics 1.4.2 is not installed",
        "It carries the model files of the Adroit pen and the Franka kitchen.",
        "Type pip install gymnasium-robotics==1.4.2",
    ]


@pytest.mark.parametrize("name", FILES["pen"])
def test_a_changed_file_is_refused(copied_pen, name):
    path = copied_pen.parent / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BenchError, match=r"is not the file of gymnasium-robotics 1\.4\.2") as told:
        model_tree(pen.MODEL_FILES)
    assert str(path) in told.value.what
    assert "installed is 1.4.2" in told.value.why
    # The version is right already: without being forced, pip would do nothing.
    assert told.value.do_this == "Type pip install --force-reinstall --no-deps gymnasium-robotics==1.4.2"


def test_another_version_is_named(copied_pen, monkeypatch):
    (copied_pen / "adroit_pen.xml").write_text("<mujoco/>")
    monkeypatch.setattr("importlib.metadata.version", lambda package: "1.3.1")
    with pytest.raises(BenchError) as told:
        model_tree(pen.MODEL_FILES)
    assert told.value.why == "The simulator is proven with gymnasium-robotics 1.4.2; installed is 1.3.1."
    assert told.value.do_this == "Type pip install gymnasium-robotics==1.4.2"


def test_a_missing_file_is_told(copied_pen):
    (copied_pen / "adroit_model.xml").unlink()
    with pytest.raises(BenchError, match=r"cannot read .*adroit_model\.xml: No such file"):
        model_tree(pen.MODEL_FILES)


def test_a_file_of_any_package_is_verified(tmp_path):
    path = tmp_path / "ant.xml"
    path.write_bytes(b"<mujoco/>")
    sha256 = hashlib.sha256(b"<mujoco/>").hexdigest()
    assert read_verified(path, sha256, "gymnasium", "1.4.0") == b"<mujoco/>"
    with pytest.raises(BenchError, match=r"gymnasium 1\.4\.0"):
        read_verified(path, "0" * 64, "gymnasium", "1.4.0")
    with pytest.raises(BenchError, match="a copy without a version"):
        read_verified(path, "0" * 64, "no-such-package", "1.0")


@pytest.mark.parametrize("environment", ["hopper", "walker2d", "halfcheetah", "antmaze-large"])
def test_another_model_of_gymnasium_is_refused_with_what_to_install(environment, tmp_path, monkeypatch):
    for path in model_files.gymnasium_assets().glob("*.xml"):
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"<mujoco", b"<!-- --><mujoco", 1))
    monkeypatch.setattr(model_files, "gymnasium_assets", lambda: tmp_path)
    with pytest.raises(BenchError, match=r"is not the file of gymnasium 1\.4\.0") as refused:
        load_model(environment, "d4rl")
    assert "gymnasium==1.4.0" in refused.value.do_this
