"""The model files of gymnasium and gymnasium-robotics, held against their hashes and read whole.

Each file that decides how a robot moves (its XML, the meshes that collide) must be the very one that the
simulators were proven with; textures and other meshes are only seen. gymnasium-robotics serves as a carrier
of files alone and is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import posixpath
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from bench.errors import BenchError

PACKAGE = "gymnasium-robotics"
VERSION = "1.4.2"
"""The hashes that robots declare are those of its wheel."""

GYMNASIUM_VERSION = "1.4.0"
"""Every version from 1.2.0 on has the same files."""


def under(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 by path within the assets, from those by path within a folder of them."""
    return {f"{folder}/{name}": sha256 for name, sha256 in files.items()}


def gymnasium_model(name: str, sha256: str) -> bytes:
    """A model of gymnasium's own (`hopper.xml`); raises as `read_verified`."""
    return read_verified(gymnasium_assets() / name, sha256, "gymnasium", GYMNASIUM_VERSION)


def gymnasium_assets() -> Path:
    """The folder of gymnasium's models."""
    found = importlib.util.find_spec("gymnasium")
    assert found is not None and found.submodule_search_locations  # a dependency, without which nothing runs
    return Path(found.submodule_search_locations[0]) / "envs" / "mujoco" / "assets"


def robotics_assets() -> Path:
    """The folder of the model files; a BenchError says how to install the package where it is absent."""
    # To find a top-level package runs none of its code; to import it would register its environments.
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise BenchError(
            f"{PACKAGE} {VERSION} is not installed",
            "It carries the model files of the Adroit pen and the Franka kitchen.",
            f"Type pip install {PACKAGE}=={VERSION}",
        )
    return Path(found.submodule_search_locations[0]) / "envs" / "assets"


def model_tree(files: Mapping[str, str]) -> ElementTree.Element:
    """The whole model of a robot of gymnasium-robotics as one XML tree, to be changed and compiled.

    Included files stand in place of their `include`, and folders of meshes and textures are absolute, so that
    its text compiles from anywhere.

    Parameters
    ----------
    files : SHA-256 of what decides how the robot moves, by path within the assets; the model comes first.

    Raises
    ------
    BenchError : the package is absent, or a file is not the one the simulators were proven with.
    """
    assets = robotics_assets()
    contents = {
        name: read_verified(assets / name, sha256, PACKAGE, VERSION) for name, sha256 in files.items()
    }
    model = next(iter(contents))
    root = ElementTree.fromstring(contents[model])
    _include(root, posixpath.dirname(model), contents)
    for compiler in root.iter("compiler"):
        for kind in ("meshdir", "texturedir"):
            if kind in compiler.attrib:
                compiler.set(kind, str((assets / model).parent / compiler.attrib[kind]))
    return root


def read_verified(path: Path, sha256: str, package: str, version: str) -> bytes:
    """The bytes of a file that `package` carries.

    Raises
    ------
    BenchError : the file cannot be read, or its content is not that in `version` of the package.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unproven(f"cannot read {path}: {error.strerror}", package, version) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _unproven(f"{path} is not the file of {package} {version}", package, version)
    return content


def _unproven(what: str, package: str, version: str) -> BenchError:
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        found = "a copy without a version"
    # pip leaves a package alone whose version is right, whatever became of its files.
    again = "--force-reinstall --no-deps " if found == version else ""
    return BenchError(
        what,
        f"The simulator is proven with {package} {version}; installed is {found}.",
        f"Type pip install {again}{package}=={version}",
    )


def _include(parent: ElementTree.Element, folder: str, contents: Mapping[str, bytes]) -> None:
    """Put what each `include` below `parent` names in its place, as MuJoCo does: relative to one folder."""
    for child in list(parent):
        if child.tag != "include":
            _include(child, folder, contents)
            continue
        name = posixpath.normpath(posixpath.join(folder, child.attrib["file"]))
        included = ElementTree.fromstring(contents[name])
        _include(included, folder, contents)
        position = list(parent).index(child)
        parent[position : position + 1] = list(included)
