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

GYMNASIUM_VERSION = "1.4.0"
"""Every version from 1.2.0 on has the same files."""
GYMNASIUM_FILES: Mapping[str, str] = {
    "ant.xml": "cd5f83ef0ea35b0969e65d360c5bacd5b74ccaef6b27e4433b5168c605e3e2be",
    "half_cheetah.xml": "11797a5d69e8ac955e89ca6fdd3a0087f1c990094fda401ac51420de1b6c5494",
    "hopper.xml": "3ce93a055ffdcd83c0c701d2400768e40d2cbb9532f3c4ae33377c27f8b39f9e",
    "walker2d.xml": "ac13373c7ac9003a5311c4704b314ed11149b3dd7600bbc02770487300f9ad2d",
}
"""SHA-256 of the models that are gymnasium's own."""


def _under(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": sha256 for name, sha256 in files.items()}


FILES: Mapping[str, Mapping[str, str]] = {
    "pen": _under(
        "adroit_hand",
        {
            "adroit_pen.xml": "20d5b6b4a24dc25fddca593d1f61107953a9e21ff2982c8065b0ba28b3250bdf",
            "adroit_assets.xml": "29f9f05bf6d738b44c3927ec01aa30c259db388dd115ed9597930be119f3ac79",
            "adroit_model.xml": "680af02828ee4fe9ef5a56f8a4d9020d2ea15a99768b2bda770d22e67e187a02",
        },
    ),
    "kitchen": _under(
        "kitchen_franka/kitchen_assets",
        {
            "kitchen_env_model.xml": "890ebb55ed1f1e2dcb2d0c3374f88d21e1e11a1b3688049ade44aa7b1df379c3",
            "basic_scene.xml": "00a84e1e30f0c63c900455428cdc9f34df90f4eb1afed33ccb523ebf5beb308c",
        },
    )
    | _under(
        "kitchen_franka/kitchen_assets/item_assets",
        {
            "backwall_asset.xml": "e31467a54e82f1076457bb1e997742ecb49b7f6b2d878464f3585bc5532be86a",
            "backwall_chain.xml": "62fe7a0a24c7ccdd80a9ee1cceda483007ada77c17a4476b5693e1b08f908d3c",
            "counters_asset.xml": "faca68c31d4b8bdb551a43922168c1585f08cca73a6994886c98adb3f3046281",
            "counters_chain.xml": "8d98e1c2aab79fac86f70bdf4e995159592439584e68096529c8bc8e0d579cc2",
            "hingecabinet_asset.xml": "8d2feebfc9f5b4eef8fb7f06313f970bc84b081263f49a42eb1622a24f4bb26d",
            "hingecabinet_chain.xml": "110b6890c1c62baf60c63b898a948517f523432ea0d6c0a334b8b857ff6aa0b1",
            "kettle_asset.xml": "57eb2d4977209c56aa204b94f819c8ca4aadfc1f8b38b012a102422a154a7051",
            "kettle_chain.xml": "4c05abe7f15f478633c3115ecd1087715802b3cf24a4b9eaa6ebbc0ce2dd9ba4",
            "microwave_asset.xml": "5b840bc1f9c47b1913a65d813bc26bafd214b06b28c9a864231529542a7de777",
            "microwave_chain.xml": "00142e4105290e86ef9f77bde0554ec83ba2f7ee53eb7a213bc44bd73ccdfdd3",
            "oven_asset.xml": "73ec926d98a8a0a6342a575a55ef5e60e76f69d5ee8d427655469d97b1d1f466",
            "oven_chain.xml": "5628cc2f5d04b358c05bbf0d47aafda2319cc7f4abec6c11b0da13701f055237",
            "slidecabinet_asset.xml": "d56ed49206371d26f0c486c28826ee519f26815d52a51d090e51ec37127d6a81",
            "slidecabinet_chain.xml": "7340c05ba0c5c044f820e4f720cb79e9a2d94ae691f285a5dcd43448da4f7aad",
        },
    )
    | _under(
        "kitchen_franka/franka_assets",
        {
            "actuator.xml": "11f2bcc7b3c237742f3207bf02193620def92421f2e334754ef46845c30c940b",
            "assets.xml": "b6d2adc309f01d338c28a3dfb2a854240d421a6834177dcfc4e2de505f5760ad",
            "chain.xml": "34a7638a492ed942ab2c8204855181f3d419601c0a2235fc5fef9cacf8323458",
            "meshes/collision/hand.stl": "94493e94f30fe940f2c8ca2f155c3bbe67bbff406d3edf5e261670d2f0f6e2ed",
            "meshes/collision/link0.stl": "dfc6d94330de8ddb005b311bfdba9f3b8e1aa7c256b71592ee7ff32cb9a9a5aa",
            "meshes/collision/link1.stl": "e41a39a94108fcf56aacff603fc91ec80541f4c1af17b51a0de5617f5566e6d2",
            "meshes/collision/link2.stl": "370f7605a0fae3529db169ded50f52f171024aa792d4d773bc84197301f6a039",
            "meshes/collision/link3.stl": "0a8d638b9349c6c0eefc4e888636ac4838c4b27170f18a51699321118af709c1",
            "meshes/collision/link4.stl": "0180ebb5772ec9840cb049750cffb29a9ddc90311752a16ea34757782ef9e48d",
            "meshes/collision/link5.stl": "dd17e688c7870e722283525879643d53a74c0024d328b0e14b034b54c8b6c31a",
            "meshes/collision/link6.stl": "20b768e99a0e0440b5754dcca108016434e57937cc356acd9c352ccd3cb27f77",
            "meshes/collision/link7.stl": "92ac6afcf7574c034d3170d8a68e95ac9048ab9d0dd5bbd8311b86e551b9ab1c",
        },
    ),
}
"""SHA-256 of what decides how a robot moves, by robot and by path within the assets; the model comes first.

Taken from the wheel of gymnasium-robotics 1.4.2.
"""


def gymnasium_model(name: str) -> bytes:
    """A model of gymnasium's own (`hopper.xml`); raises as `read_verified`."""
    return read_verified(gymnasium_assets() / name, GYMNASIUM_FILES[name], "gymnasium", GYMNASIUM_VERSION)


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


def model_tree(robot: str) -> ElementTree.Element:
    """The whole model of `robot` (`pen`, `kitchen`) as one XML tree, to be changed and compiled.

    Included files stand in place of their `include`, and folders of meshes and textures are absolute, so that
    its text compiles from anywhere.

    Raises
    ------
    BenchError : the package is absent, or a file is not the one the simulators were proven with.
    """
    assets = robotics_assets()
    contents = {
        name: read_verified(assets / name, sha256, PACKAGE, VERSION) for name, sha256 in FILES[robot].items()
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
