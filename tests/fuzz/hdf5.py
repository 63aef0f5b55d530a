"""Dataset files: damaged bytes, and structure that no reader expects."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import h5py
import numpy as np

from tests.fuzz.material import D4RL_FILE, D4RL_TASK, ROWS, SIZES, TASK
from tests.fuzz.mutation import damaged
from tests.fuzz.outcomes import Case, Place

MAY_CHANGE = ("data/.bench-hashes*", "work/results/*", "work/results")
FIELDS = ("observations", "actions", "rewards", "terminals")
Change = Callable[[h5py.File, Random], None]
SAME = ("data", "info")
"""What describes the content, so that equal content gives equal output."""


def make(number: int, place: Place, random: Random) -> Case:
    """Input `number` of this target."""
    names = list(_NAMED)
    if number < 3 * len(names):
        # Under info, verify, and the name of one of D4RL's files.
        name = names[number % len(names)]
        expect, lay = _NAMED[name]
        return _case(name, expect, lay, place, random, number // len(names))
    if random.random() < 0.55:
        return _damaged(place, random)
    # A wait of twenty seconds each: once is enough.
    names = [name for name in names if "pipe" not in name]
    name = random.choice(names)
    expect, lay = _NAMED[name]
    if random.random() < 0.03:
        return _trained(name, expect, lay, place, random)
    again = random.choice([other for other in names if _NAMED[other][0] != "accepted"])
    if random.random() < 0.5 or _NAMED[again][1].__name__ == "lay_path" or lay.__name__ == "lay_path":
        return _case(name, expect, lay, place, random, random.randrange(3))

    def both(path: Path, random: Random) -> None:
        lay(path, random)
        _apart(lambda: _NAMED[again][1](path, random))

    return _case(f"{name}; {again}", "either", both, place, random, random.randrange(3))


def _apart(change: Callable[[], None]) -> None:
    """Make a second change in a process of its own: over what the first one left HDF5 may crash or hang.

    Whatever becomes of it, an input is there all the same.
    """
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        try:
            change()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def pristine(place: Place) -> None:
    """The undamaged file."""
    _good_file(place, d4rl=False)


def _good_file(place: Place, *, d4rl: bool) -> Path:
    source = place.material / "data" / "collected" / f"{TASK}.hdf5"
    path = place.data / (D4RL_FILE if d4rl else f"collected/{TASK}.hdf5")
    path.parent.mkdir(exist_ok=True)
    return Path(shutil.copy(source, path))


def _case(name: str, expect: str, lay: Callable, place: Place, random: Random, under: int) -> Case:
    task = (TASK, TASK, D4RL_TASK)[under]
    path = _good_file(place, d4rl=under == 2)
    lay(path, random)
    if under == 1:
        # What differs in content alone is not known of a collected file of another size than usual.
        said = "accepted" if expect == "accepted" else expect
        return Case(name, ["data", "verify", task], said, MAY_CHANGE, must_not_say=r"(?<!un)verified\b")
    if under == 2 and random.random() < 0.5:
        # Nothing that is made here is one of D4RL's files.
        return Case(f"{name}, as D4RL's", ["data", "verify", task], "refused", MAY_CHANGE)
    said = "" if expect == "refused" else _SAYS.get(name, "")
    same = expect == "accepted" and under == 0
    return Case(name, ["data", "info", task], expect, MAY_CHANGE, must_say=said, same_output=same)


def _trained(name: str, expect: str, lay: Callable, place: Place, random: Random) -> Case:
    """The file is trained on, for a second."""
    lay(_good_file(place, d4rl=False), random)
    sets = [
        f"--set={key}={value}"
        for key, value in (SIZES | {"pretrain_iterations": 5, "train_iterations": 10}).items()
    ]
    grid = ["run", "--tasks", TASK, "--algos", "dtql", "--seeds", "0", "--evals", "1", "--episodes", "1"]
    written = ("work/r.sqlite*", "work/weights*", "work/checkpoints*", "work/drivers*")
    command = [*grid, *sets, "--executor", "local", "--store", "r.sqlite"]
    if name in ("absent", "a link to nothing"):
        # A run collects what is not there.
        expect, written = "either", (*written, "data/collected/*")
    return Case(f"{name}, trained on", command, expect, (*MAY_CHANGE, *written))


def _damaged(place: Place, random: Random) -> Case:
    d4rl = random.random() < 0.4
    path = _good_file(place, d4rl=d4rl)
    kind, content = damaged(path.read_bytes(), random)
    path.write_bytes(content)
    command = ["data", random.choice(("info", "verify")), D4RL_TASK if d4rl else TASK]
    expect = "refused" if d4rl and command[1] == "verify" else "either"
    return Case(f"bytes: {kind}", command, expect, MAY_CHANGE)


# Structure


def _put(file: h5py.File, name: str, data: object, **options: object) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, data=data, **options)


def _edited(change: Change) -> Callable[[Path, Random], None]:
    def lay(path: Path, random: Random) -> None:
        with h5py.File(path, "r+") as file:
            change(file, random)

    return lay


def _field(field: str, value_of: Callable[[np.ndarray, Random], object], **options: object) -> Callable:
    return _edited(lambda file, random: _put(file, field, value_of(file[field][()], random), **options))


def _cell(field: str, value: object) -> Callable:
    """One value of a field changed, as a float."""

    def change(values: np.ndarray, random: Random) -> np.ndarray:
        values = values.astype(np.float64)
        values.flat[random.randrange(values.size)] = value
        return values

    return _field(field, change)


def _texts(values: np.ndarray, _: Random) -> np.ndarray:
    return np.array([str(value).encode() for value in values.flat], dtype="S12").reshape(values.shape)


def _compound(values: np.ndarray, _: Random) -> np.ndarray:
    return np.array([(1.0, 2) for _ in values.flat], dtype=[("a", "f4"), ("b", "i4")]).reshape(values.shape)


def _huge(field: str, rows: int) -> Callable:
    def change(file: h5py.File, _: Random) -> None:
        tail = file[field].shape[1:]
        del file[field]
        file.create_dataset(field, shape=(rows, *tail), chunks=(1000, *tail), dtype="f4")

    return _edited(change)


def _all_huge(file: h5py.File, _: Random) -> None:
    for field in (*FIELDS, "timeouts"):
        tail = file[field].shape[1:]
        del file[field]
        file.create_dataset(field, shape=(10**12, *tail), chunks=(1000, *tail), dtype="f4")


def _variable(file: h5py.File, field: str) -> None:
    rows = len(file[field])
    del file[field]
    made = file.create_dataset(field, (rows,), dtype=h5py.vlen_dtype(np.float32))
    made[0] = np.zeros(3, np.float32)


def _external_link(file: h5py.File, field: str, other: Path) -> None:
    other.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(other, "w") as target:
        target[field] = file[field][()]
    del file[field]
    file[field] = h5py.ExternalLink(str(other), f"/{field}")


def _virtual(file: h5py.File, field: str, path: Path) -> None:
    values = file[field][()]
    with h5py.File(path.with_name("source.h5"), "w") as source:
        source[field] = values
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(str(path.with_name("source.h5")), field, values.shape)
    del file[field]
    file.create_virtual_dataset(field, layout)


def _virtual_of_itself(file: h5py.File, field: str, path: Path) -> None:
    shape, dtype = file[field].shape, file[field].dtype
    del file[field]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(str(path), field, shape)
    file.create_virtual_dataset(field, layout)


def _virtual_of_nothing(file: h5py.File, field: str, path: Path) -> None:
    layout = h5py.VirtualLayout(file[field].shape, file[field].dtype)
    layout[...] = h5py.VirtualSource(str(path.with_name("absent.h5")), field, file[field].shape)
    del file[field]
    file.create_virtual_dataset(field, layout)


def _external_storage(file: h5py.File, field: str, path: Path) -> None:
    values = file[field][()]
    other = path.with_name("raw.bin")
    other.write_bytes(values.tobytes())
    del file[field]
    file.create_dataset(field, values.shape, values.dtype, external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def _device_storage(file: h5py.File, field: str, path: Path) -> None:
    shape, dtype = file[field].shape, file[field].dtype
    del file[field]
    file.create_dataset(field, shape, dtype, external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])


def _link_to_pipe(file: h5py.File, field: str, path: Path) -> None:
    os.mkfifo(path.with_name("pipe.h5"))
    del file[field]
    file[field] = h5py.ExternalLink(str(path.with_name("pipe.h5")), f"/{field}")


def _with_path(change: Callable[[h5py.File, str, Path], None], field: str) -> Callable:
    def lay(path: Path, _: Random) -> None:
        with h5py.File(path, "r+") as file:
            change(file, field, path)

    return lay


def _soft(target: str, field: str) -> Callable:
    def change(file: h5py.File, _: Random) -> None:
        del file[field]
        file[field] = h5py.SoftLink(target)

    return _edited(change)


def _soft_within(file: h5py.File, _: Random) -> None:
    file.move("rewards", "elsewhere")
    file["rewards"] = h5py.SoftLink("/elsewhere")


def _group(field: str) -> Callable:
    def change(file: h5py.File, _: Random) -> None:
        del file[field]
        file.create_group(field)["rewards"] = np.zeros(ROWS)

    return _edited(change)


def _named_type(file: h5py.File, _: Random) -> None:
    del file["rewards"]
    file["rewards"] = np.dtype("f4")


def _reference(file: h5py.File, _: Random) -> None:
    one = file["actions"].ref
    del file["rewards"]
    made = file.create_dataset("rewards", (ROWS,), dtype=h5py.ref_dtype)
    made[:] = [one] * ROWS


def _unknown_filter(file: h5py.File, field: str, path: Path) -> None:
    values = file[field][()]
    del file[field]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((100, *values.shape[1:]))
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))  # Zstandard, which is not built in
    space = h5py.h5s.create_simple(values.shape)
    made = h5py.h5d.create(
        file.id, field.encode(), h5py.h5t.py_create(np.dtype("f4")), space, dcpl=properties
    )
    # As if the filter had been there when it was written.
    made.write_direct_chunk((0,) * values.ndim, b"\x28\xb5\x2f\xfd" + bytes(60), 0)


def _user_block(path: Path, _: Random) -> None:
    other = path.with_name("with-block.h5")
    with h5py.File(path, "r") as source, h5py.File(other, "w", userblock_size=512) as target:
        for name in source:
            source.copy(name, target)
    with other.open("r+b") as file:
        file.write(b"#!/bin/sh\n" * 20)
    other.replace(path)


def _compressed(file: h5py.File, _: Random) -> None:
    for field in FIELDS:
        _put(file, field, file[field][()], compression="gzip", shuffle=True, chunks=True, fletcher32=True)


def _big_endian(file: h5py.File, _: Random) -> None:
    for field in ("observations", "actions", "rewards"):
        _put(file, field, file[field][()].astype(">f4"))


def _columns(file: h5py.File, _: Random) -> None:
    for field in ("rewards", "terminals", "timeouts"):
        _put(file, field, file[field][()][:, None])


def _attributes(file: h5py.File, _: Random) -> None:
    file.attrs["text"] = "\x1b[31m" * 50
    file["rewards"].attrs["empty"] = h5py.Empty("f4")
    file["rewards"].attrs["odd"] = np.arange(50)


def _more_fields(file: h5py.File, _: Random) -> None:
    file["infos/goal"] = np.zeros((ROWS, 2))
    file["notes"] = "made by hand"


def _integer_flags(file: h5py.File, random: Random) -> None:
    kind = random.choice(("i1", "u1", "i4", "i8", "f4", "f8"))
    for field in ("terminals", "timeouts"):
        _put(file, field, file[field][()].astype(kind))


def _cut_rows(count: int) -> Callable:
    def change(file: h5py.File, _: Random) -> None:
        for field in (*FIELDS, "timeouts"):
            _put(file, field, file[field][()][:count])

    return _edited(change)


def _shorter(field: str, by: int) -> Callable:
    def change(values: np.ndarray, _: Random) -> np.ndarray:
        return values[:-by] if by > 0 else np.concatenate([values, values[by:]])

    return _field(field, change)


def _metadata(value: object) -> Callable:
    def change(file: h5py.File, random: Random) -> None:
        name = random.choice(("physics", "recipe", "policies", "environment"))
        del file[f"metadata/{name}"]
        file[f"metadata/{name}"] = value() if callable(value) else value

    return _edited(change)


def _metadata_dataset(file: h5py.File, _: Random) -> None:
    del file["metadata"]
    file["metadata"] = np.zeros(3)


def _metadata_virtual(file: h5py.File, field: str, path: Path) -> None:
    layout = h5py.VirtualLayout((), "S4")
    layout[...] = h5py.VirtualSource(str(path), "metadata/physics", ())
    del file["metadata/physics"]
    file.create_virtual_dataset("metadata/physics", layout)


def _metadata_linked(file: h5py.File, field: str, path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["physics"] = "modern"
    del file["metadata/physics"]
    file["metadata/physics"] = h5py.ExternalLink(str(path.with_name("other.h5")), "/physics")


def _successors(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[1:], values[-1:]])


def _ready_made(file: h5py.File, _: Random) -> None:
    """D4RL's own transitions, stored as a file: cut rows dropped, successors written out, no timeouts."""
    kept = np.flatnonzero(~file["timeouts"][()][:-1])
    successors = _successors(file["observations"][()])[kept]
    for field in FIELDS:
        _put(file, field, file[field][()][kept])
    file["next_observations"] = successors
    del file["timeouts"]


def _next(value_of: Callable[[np.ndarray], object]) -> Callable:
    return _edited(
        lambda file, _: _put(file, "next_observations", value_of(_successors(file["observations"][()])))
    )


def _no_number(values: np.ndarray) -> np.ndarray:
    values[7] = np.nan
    return values


def _path(place_it: Callable[[Path], None]) -> Callable:
    def lay_path(path: Path, _: Random) -> None:
        place_it(path)

    return lay_path


def _instead(make_it: Callable[[Path], None]) -> Callable:
    def place_it(path: Path) -> None:
        path.unlink()
        make_it(path)

    return _path(place_it)


def _linked(path: Path) -> None:
    other = path.with_name("real.hdf5")
    path.rename(other)
    path.symlink_to(other)


def _write_ledger(content: bytes) -> Callable:
    def place_it(path: Path) -> None:
        folder = path.parent.parent if path.parent.name == "collected" else path.parent
        (folder / ".bench-hashes.json").write_bytes(content)

    return _path(place_it)


def _hostile_lock(path: Path) -> None:
    folder = path.parent.parent if path.parent.name == "collected" else path.parent
    (folder / ".bench-hashes.lock").symlink_to("../outside/precious.txt")


def _hostile_ledger(path: Path) -> None:
    folder = path.parent.parent if path.parent.name == "collected" else path.parent
    (folder / ".bench-hashes.json").symlink_to("../outside/precious.txt")


_ODD_TYPES: dict[str, Callable] = {
    "text": lambda field: _field(field, _texts),
    "texts of variable length": lambda field: _field(
        field, lambda values, _: np.array(["1.0"] * values.size, dtype=object).reshape(values.shape),
        dtype=h5py.string_dtype(),
    ),
    "compound": lambda field: _field(field, _compound),
    "complex": lambda field: _field(field, lambda values, _: values.astype(np.complex64)),
    "opaque": lambda field: _field(field, lambda values, _: np.full(values.shape, b"abcd", dtype="V4")),
    "times": lambda field: _field(
        field, lambda values, _: values.astype("i8").astype("M8[s]").astype(h5py.opaque_dtype("M8[s]"))
    ),
    "enumeration": lambda field: _field(
        field, lambda values, _: np.ones(values.shape, "i4"), dtype=h5py.enum_dtype({"no": 0, "yes": 2}, "i4")
    ),
    "arrays": lambda field: _edited(lambda file, _: _array_typed(file, field)),
    "variable length": lambda field: _edited(lambda file, _: _variable(file, field)),
}  # fmt: skip


def _array_typed(file: h5py.File, field: str) -> None:
    rows = len(file[field])
    del file[field]
    file.create_dataset(field, (rows,), dtype=np.dtype(("f4", (3, 2))))


_NAMED: dict[str, tuple[str, Callable]] = {
    # Right ways to store the same
    "nothing": ("accepted", _edited(lambda file, _: None)),
    "compressed": ("accepted", _edited(_compressed)),
    "big-endian": ("accepted", _edited(_big_endian)),
    "columns of shape (R, 1)": ("accepted", _edited(_columns)),
    "double precision": ("accepted", _field("rewards", lambda values, _: values.astype("f8"))),
    "attributes": ("accepted", _edited(_attributes)),
    "more fields": ("accepted", _edited(_more_fields)),
    "flags as integers": ("accepted", _edited(_integer_flags)),
    "a user block": ("accepted", _user_block),
    "a link to the file": ("accepted", _path(_linked)),
    "a soft link within the file": ("either", _edited(_soft_within)),
    "half precision": ("either", _field("rewards", lambda values, _: values.astype("f2"))),
    "no timeouts": ("either", _edited(lambda file, _: file.__delitem__("timeouts"))),
    "no metadata": ("either", _edited(lambda file, _: file.__delitem__("metadata"))),
    # Transitions
    "ready-made transitions": ("either", _edited(_ready_made)),
    "successors beside raw rows": ("either", _next(lambda values: values)),
    "successors as text": ("refused", _next(lambda values: _texts(values, Random()))),
    "successors of another shape": ("refused", _next(lambda values: values[:, :5])),
    "successors too few": ("refused", _next(lambda values: values[:-3])),
    "successors not finite": ("refused", _next(_no_number)),
    "successors of other rows": ("either", _next(lambda values: values[::-1])),
    "successors as a group": ("refused", _edited(lambda file, _: file.create_group("next_observations"))),
    # Content that no check of form can see
    "rewards moved by a row": ("either", _field("rewards", lambda values, _: np.roll(values, 1))),
    "rewards a thousandth": ("either", _field("rewards", lambda values, _: values / 1000)),
    "rewards constant": ("either", _field("rewards", lambda values, _: np.full_like(values, -7))),
    "actions of other rows": ("either", _field("actions", lambda values, _: values[::-1].copy())),
    "actions zero": ("either", _field("actions", lambda values, _: np.zeros_like(values))),
    # Lengths and shapes
    "empty": ("refused", _cut_rows(0)),
    "one row": ("refused", _cut_rows(1)),
    "two rows": ("either", _cut_rows(2)),
    "timeouts as text, lengths differ": ("refused", _field("timeouts", lambda values, _: _texts(values[:9],
    _))),
    "huge rewards": ("refused", _huge("rewards", 10**12)),
    "huge observations": ("refused", _huge("observations", 10**12)),
    "all huge": ("refused", _edited(_all_huge)),
    "observations of another robot": ("refused", _field("observations", lambda values, _: np.tile(values,
    2)[:, :17])),
    "action out of bounds": ("refused", _cell("actions", 1.5)),
    # Names that lead elsewhere
    "a soft link to nothing": ("refused", _soft("/nothing", "rewards")),
    "a soft link to itself": ("refused", _soft("/rewards", "rewards")),
    "soft links in a circle": (
        "refused", _edited(lambda file, _: (file.__delitem__("rewards"), file.__setitem__("a",
        h5py.SoftLink("/rewards")),
                                            file.__setitem__("rewards", h5py.SoftLink("/a")))),
    ),
    "timeouts linked to nothing": ("refused", _soft("/nothing", "timeouts")),
    "the rewards are the root": ("refused", _soft("/", "rewards")),
    "an external link to /dev/zero": (
        "refused", _edited(lambda file, _: (file.__delitem__("rewards"),
                                            file.__setitem__("rewards", h5py.ExternalLink("/dev/zero",
                                            "/rewards")))),
    ),
    "a named type for a dataset": ("refused", _edited(_named_type)),
    "references": ("refused", _edited(_reference)),
    "metadata that is a dataset": ("either", _edited(_metadata_dataset)),
    "metadata linked outside": ("either", _with_path(_metadata_linked, "")),
    "metadata virtual of itself": ("either", _with_path(_metadata_virtual, "")),
    "metadata a number": ("either", _metadata(7)),
    "metadata a long text": ("either", _metadata("x" * 100_000)),
    "metadata with escapes": ("either", _metadata("\x1b[31mred\x1b[0m")),
    "metadata not UTF-8": ("either", _metadata(lambda: np.bytes_(b"\xff\xfe\x80"))),
    "metadata many texts": ("either", _metadata(lambda: np.array([b"a", b"b"]))),
    "metadata nothing": ("either", _metadata(lambda: h5py.Empty("f4"))),
    "metadata an empty text": ("either", _metadata("")),
    # What is no HDF5 file
    "absent": ("refused", _instead(lambda path: None)),
    "zero bytes": ("refused", _instead(lambda path: path.write_bytes(b""))),
    "a folder": ("refused", _instead(lambda path: path.mkdir())),
    "a pipe": ("refused", _instead(lambda path: os.mkfifo(path))),
    "a link to /dev/zero": ("refused", _instead(lambda path: path.symlink_to("/dev/zero"))),
    "a link to nothing": ("refused", _instead(lambda path: path.symlink_to("nothing"))),
    "a link to itself": ("refused", _instead(lambda path: path.symlink_to(path.name))),
    "a web page": ("refused", _instead(lambda path: path.write_text("<html>404 Not Found</html>" * 40))),
    "an archive": ("refused", _instead(lambda path: path.write_bytes(b"PK\x03\x04" * 500))),
    "another's HDF5 file": ("refused", _instead(lambda path: h5py.File(path, "w").close())),
    "a huge hole": ("refused", _instead(lambda path: (path.touch(), os.truncate(path, 10**12)))),
    "no rights to read": ("either", _path(lambda path: path.chmod(0))),
    "cut in half": ("refused", _path(lambda path: os.truncate(path, path.stat().st_size // 2))),
    # The ledger beside it
    "ledger of text": ("either", _write_ledger(b"notes\n")),
    "ledger cut off": ("either", _write_ledger(b'{"collected/x.hdf5": {"sha256": "ab')),
    "ledger a list": ("either", _write_ledger(b"[1, 2]")),
    "ledger a number": ("either", _write_ledger(b"7")),
    "ledger null": ("either", _write_ledger(b"null")),
    "ledger not UTF-8": ("either", _write_ledger(b"\xff\xfe\x00")),
    "ledger too deep": ("either", _write_ledger(b"[" * 100_000)),
    "ledger with odd entries": (
        "either",
        _write_ledger(
            b'{"collected/collected-hopper-quickstart.hdf5": {"sha256": 7, "size": "x", "mtime_ns": null,'
            b' "first_seen": 3, "rows": "many", "verification": ["verified"]},'
            b' "hopper_medium-v2.hdf5": {"sha256": "ab", "size": 1, "mtime_ns": 1, "first_seen": 20250101}}'
        ),
    ),
    "ledger with an odd number": ("either", _write_ledger(b'{"a": 1' + b"0" * 5000 + b"}")),
    "lock linked outside": ("either", _path(_hostile_lock)),
    "ledger linked outside": ("either", _path(_hostile_ledger)),
}  # fmt: skip
for _name in (*FIELDS, "timeouts"):
    if _name != "timeouts":
        _NAMED[f"no {_name}"] = "refused", _edited(lambda file, _, name=_name: file.__delitem__(name))
    for _kind, _change in _ODD_TYPES.items():
        # A flag is an enumeration to h5py; of another one its numbers may be taken.
        _NAMED[f"{_name} as {_kind}"] = "either" if _kind == "enumeration" else "refused", _change(_name)
    _NAMED[f"{_name} as a scalar"] = "refused", _field(_name, lambda values, _: values.flat[0])
    _NAMED[f"{_name} as nothing"] = "refused", _field(_name, lambda values, _: h5py.Empty("f4"))
    _NAMED[f"{_name} of shape (R, 1, 1)"] = (
        "refused",
        _field(_name, lambda values, _: values.reshape(ROWS, -1)[:, :1, None]),
    )
    _NAMED[f"{_name} of shape (1, R)"] = "refused", _field(_name, lambda values, _: values.reshape(1, -1))
    _NAMED[f"{_name} of shape (R, 0)"] = (
        "refused",
        _field(_name, lambda values, _: values.reshape(ROWS, -1)[:, :0]),
    )
    _NAMED[f"{_name} of shape (R, 2)"] = (
        "refused",
        _field(_name, lambda values, _: np.stack([values.reshape(ROWS, -1)[:, 0]] * 2, 1)),
    )
    _NAMED[f"{_name} too few"] = "refused", _shorter(_name, 1)
    _NAMED[f"{_name} too many"] = "refused", _shorter(_name, -3)
    _NAMED[f"{_name} empty alone"] = "refused", _field(_name, lambda values, _: values[:0])
    _NAMED[f"{_name} a group"] = "refused", _group(_name)
    for _number in ("nan", "inf", "-inf"):
        _NAMED[f"{_name} with {_number}"] = "refused", _cell(_name, float(_number))
    _NAMED[f"{_name} linked outside"] = (
        "refused",
        _with_path(lambda file, field, path: _external_link(file, field, path.with_name("o.h5")), _name),
    )
    _NAMED[f"{_name} virtual"] = "refused", _with_path(_virtual, _name)
    _NAMED[f"{_name} virtual of itself"] = "refused", _with_path(_virtual_of_itself, _name)
    _NAMED[f"{_name} virtual of nothing"] = "refused", _with_path(_virtual_of_nothing, _name)
    _NAMED[f"{_name} stored elsewhere"] = "refused", _with_path(_external_storage, _name)
    _NAMED[f"{_name} stored in /dev/zero"] = "refused", _with_path(_device_storage, _name)
    _NAMED[f"{_name} linked to a pipe"] = "refused", _with_path(_link_to_pipe, _name)
    _NAMED[f"{_name} by an unknown filter"] = "refused", _with_path(_unknown_filter, _name)
for _name in ("infos/qpos", "infos/qvel", "infos/action_log_probs"):
    for _kind, _change in _ODD_TYPES.items():
        _NAMED[f"{_name} as {_kind}"] = "either", _change(_name)
    _NAMED[f"{_name} as nothing"] = "either", _field(_name, lambda values, _: h5py.Empty("f4"))
    _NAMED[f"{_name} as a scalar"] = "either", _field(_name, lambda values, _: values.flat[0])
    _NAMED[f"{_name} too few"] = "either", _shorter(_name, 1)
    _NAMED[f"{_name} a group"] = "either", _group(_name)
    _NAMED[f"{_name} huge"] = "either", _huge(_name, 10**12)
    _NAMED[f"{_name} with nan"] = "either", _cell(_name, float("nan"))
    _NAMED[f"{_name} with 1e300"] = "either", _cell(_name, 1e300)
    _NAMED[f"{_name} virtual of itself"] = "either", _with_path(_virtual_of_itself, _name)
    _NAMED[f"{_name} linked to a pipe"] = "either", _with_path(_link_to_pipe, _name)
    _NAMED[f"{_name} by an unknown filter"] = "either", _with_path(_unknown_filter, _name)
for _name in ("terminals", "timeouts"):
    for _value in (0.3, 2, -1, 0.999, 255, 1e9):
        _NAMED[f"{_name} with {_value}"] = "refused", _cell(_name, _value)
for _name in ("observations", "rewards"):
    for _value in (1e39, -1e300):  # infinite in single precision
        _NAMED[f"{_name} with {_value}"] = "refused", _cell(_name, _value)

_SAYS = {
    "ready-made transitions": r"kept for training +(39\d|400)\b",
}
