"""What lies outside a file is never read, damage is one sentence, and what was hashed is what is read."""

import multiprocessing
import os

import h5py
import numpy as np
import pytest

from bench.data import hdf5
from bench.data.hdf5 import opened, sha256_of_file
from bench.data.reader import opened_dataset, read_file, read_rows
from bench.errors import BenchError, WorkFailedError
from bench.files import sha256_of
from tests.data.files import columns, hopper, write

SECONDS = 60


def told(path, task=None):
    """The error of reading a file, in a process of its own: HDF5 may end it, or never come back."""

    def read(pipe):
        try:
            read_file(path, task or hopper())
        except BenchError as error:
            pipe.send(error)
        else:
            pipe.send(None)

    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=read, args=(sending,))
    process.start()
    sending.close()
    try:
        assert receiving.poll(SECONDS), "it never ends"
        error = receiving.recv()
    except EOFError:
        pytest.fail(f"the process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()
    assert error is not None, "it was read"
    assert str(path) in error.what
    return error


def virtual(file, name, source, **options):
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype, **options)
    layout[...] = h5py.VirtualSource(str(source), name, shape)
    file.create_virtual_dataset(name, layout)


def without_end(file, name, source):
    """A virtual dataset whose size is that of its source, which HDF5 opens to know it."""
    shape, kind = file[name].shape, file[name].id.get_type()
    del file[name]
    maximum = (h5py.h5s.UNLIMITED, *shape[1:])
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    spaces = []
    for _ in range(2):
        space = h5py.h5s.create_simple(shape, maximum)
        space.select_hyperslab((0,) * len(shape), (1,) * len(shape), block=maximum)
        spaces.append(space)
    creation.set_virtual(spaces[0], str(source).encode(), name.encode(), spaces[1])
    h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape, maximum), creation)


def stored_outside(file, name, source):
    values = file[name][()]
    if not source.exists():
        source.write_bytes(values.tobytes())
    del file[name]
    file.create_dataset(name, values.shape, values.dtype, external=[(str(source), 0, h5py.h5f.UNLIMITED)])


def linked_outside(file, name, source):
    if not source.exists():
        with h5py.File(source, "w") as other:
            other[name] = file[name][()] * 1000
    del file[name]
    file[name] = h5py.ExternalLink(str(source), f"/{name}")


WAYS_OUT = {
    "an external link": linked_outside,
    "a virtual dataset": virtual,
    "a virtual dataset without end": without_end,
    "external storage": stored_outside,
}
NAMES = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")


class TestWaysOut:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("way", WAYS_OUT)
    def test_no_column_is_read_from_another_file(self, tmp_path, way, name):
        path = write(tmp_path / "hopper.hdf5", columns() | {"next_observations": columns()["observations"]})
        with h5py.File(path, "r+") as file:
            WAYS_OUT[way](file, name, tmp_path / "other")
        assert "must lie in the file itself" in told(path).why

    @pytest.mark.parametrize("way", WAYS_OUT)
    def test_a_pipe_behind_it_is_not_waited_for(self, tmp_path, way):
        path = write(tmp_path / "hopper.hdf5", columns())
        os.mkfifo(tmp_path / "pipe")
        with h5py.File(path, "r+") as file:
            WAYS_OUT[way](file, "rewards", tmp_path / "pipe")
        assert "must lie in the file itself" in told(path).why

    @pytest.mark.parametrize("way", ["a virtual dataset", "a virtual dataset without end"])
    @pytest.mark.parametrize("itself", [".", "hopper.hdf5"])
    def test_a_virtual_dataset_that_names_itself(self, tmp_path, way, itself):
        path = write(tmp_path / "hopper.hdf5", columns())
        with h5py.File(path, "r+") as file:
            WAYS_OUT[way](file, "rewards", itself)
        assert "must lie in the file itself" in told(path).why

    def test_a_group_on_the_way_may_not_lead_out_either(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns())
        with h5py.File(tmp_path / "other", "w") as other:
            other["infos/qpos"] = np.zeros(40)
            other["metadata/physics"] = np.bytes_("modern")
        with h5py.File(path, "r+") as file:
            for group in ("infos", "metadata"):
                file[group] = h5py.ExternalLink("other", f"/{group}")
        with opened_dataset(path, hopper()) as file:
            with pytest.raises(BenchError, match="must lie in the file itself"):
                file.read("infos/qpos")
            with pytest.raises(BenchError, match="must lie in the file itself"):
                file.texts("metadata")

    def test_a_text_of_the_metadata_may_not_lead_out(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"metadata/recipe": np.bytes_("medium")})
        with h5py.File(path, "r+") as file:
            file["metadata/physics"] = h5py.ExternalLink("other", "/physics")
        with (
            opened_dataset(path, hopper()) as file,
            pytest.raises(BenchError, match="must lie in the file itself"),
        ):
            file.texts("metadata")

    @pytest.mark.parametrize("by", ["/elsewhere/rewards", "elsewhere/rewards", "alias"])
    def test_a_soft_link_inside_the_file_is_followed(self, tmp_path, by):
        path = write(tmp_path / "hopper.hdf5", columns() | {"rewards": None})
        with h5py.File(path, "r+") as file:
            file["elsewhere/rewards"] = columns()["rewards"]
            file["alias"] = h5py.SoftLink("/elsewhere/rewards")
            file["rewards"] = h5py.SoftLink(by)
        np.testing.assert_array_equal(read_file(path, hopper()).rewards, columns()["rewards"])

    @pytest.mark.parametrize(
        ("name", "target"),
        [
            ("rewards", "/nothing"),
            ("timeouts", "/nothing"),
            ("rewards", "/rewards"),
            ("rewards", "/out/rewards"),
        ],
    )
    def test_a_soft_link_that_leads_out_or_nowhere_is_refused(self, tmp_path, name, target):
        path = write(tmp_path / "hopper.hdf5", columns() | {name: None})
        with h5py.File(path, "r+") as file:
            file["out"] = h5py.ExternalLink("other", "/")
            file[name] = h5py.SoftLink(target)
        assert "must lie in the file itself" in told(path).why


class TestNoFile:
    @pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
    def test_what_is_no_file_is_not_opened(self, tmp_path, kind):
        path = tmp_path / "hopper.hdf5"
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        assert "a folder, a pipe or a device" in told(path).why

    @pytest.mark.parametrize("name", ["absent.hdf5", "a\0b", "x" * 300, "file/below.hdf5"])
    def test_names_of_nothing(self, tmp_path, name):
        (tmp_path / "file").touch()
        with pytest.raises(BenchError):
            read_file(tmp_path / name, hopper())

    def test_a_hole_without_end_is_not_hashed(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns())
        os.truncate(path, 10**12)
        with pytest.raises(BenchError, match="931 GiB"):
            sha256_of_file(path)


class TestSizes:
    def test_a_column_larger_than_any_is_not_read(self, tmp_path):
        path = write(tmp_path / "hopper.hdf5", columns() | {"rewards": None})
        with h5py.File(path, "r+") as file:
            file.create_dataset("rewards", (10**12,), "f4", chunks=(1000,))
        assert "3,725 GiB" in told(path).why

    @pytest.mark.parametrize("options", [{}, {"chunks": (10,)}, {"chunks": (10,), "compression": "gzip"}])
    def test_rows_that_were_never_written_are_not_taken_for_zeros(self, tmp_path, options):
        path = write(tmp_path / "hopper.hdf5", columns() | {"rewards": None})
        with h5py.File(path, "r+") as file:
            rewards = file.create_dataset("rewards", (40,), "f4", **options)
            if options:
                rewards[:30] = 1
        assert "less of rewards" in told(path).what


class TestOneContent:
    @pytest.fixture
    def path(self, tmp_path):
        return write(tmp_path / "hopper.hdf5", columns())

    def test_the_bytes_read_are_those_hashed_though_another_file_takes_the_place(self, path):
        wanted = sha256_of(path)
        with opened_dataset(path, hopper()) as file:
            assert file.sha256 == wanted
            write(path.with_name("other"), columns(seed=1)).replace(path)
            raw = read_rows(file, hopper())
        np.testing.assert_array_equal(raw.rewards, columns()["rewards"])
        assert sha256_of_file(path) != wanted

    def test_a_change_in_place_while_it_is_read_is_noticed(self, path):
        with pytest.raises(WorkFailedError, match="changed while it was being read"):  # noqa: SIM117
            with opened_dataset(path, hopper()) as file:
                assert file.sha256
                content = path.read_bytes()
                with path.open("r+b") as writing:
                    writing.write(content[:-1] + bytes([content[-1] ^ 1]))
                read_rows(file, hopper())

    def test_a_new_name_alone_is_no_change(self, path):
        with opened_dataset(path, hopper()) as file:
            assert file.sha256
            path.rename(path.with_name("renamed"))
            read_rows(file, hopper())

    def test_another_content_than_the_trials_is_refused(self, path):
        planned = sha256_of(path)
        read_file(path, hopper(), planned)
        status = path.stat()
        with h5py.File(path, "r+") as file:
            file["actions"][...] = -file["actions"][()]
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        with pytest.raises(WorkFailedError, match="has changed since this run began") as caught:
            read_file(path, hopper(), planned)
        assert planned in caught.value.why

    def test_a_hash_is_not_taken_from_one_that_had_the_same_size_and_time(self, path, monkeypatch):
        monkeypatch.setattr(hdf5, "RECENT_SECONDS", 0.0)
        os.utime(path, (1, 1))
        first = sha256_of_file(path)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, (1, 1))
        assert sha256_of_file(path) == sha256_of(path) != first


def test_every_byte_damaged_gives_an_error_or_numbers(tmp_path):
    """No traceback: h5py has an exception of almost every kind for some byte."""
    path = write(tmp_path / "hopper.hdf5", columns(rows=8) | {"metadata/recipe": np.bytes_("medium")})
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    heads = np.flatnonzero(np.frombuffer(content, np.uint8))
    errors = 0
    for place in generator.choice(heads, 300, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            with opened(path, "Move it away.") as file:
                for name in NAMES[:5]:
                    if name in file:
                        file.read(name)
                file.texts("metadata")
        except BenchError as error:
            errors += 1
            assert len(str(error)) < 800
    assert errors > 50


def test_a_long_name_of_a_member_is_told_by_its_ends(tmp_path):
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        file["begin" + "x" * 500 + "end"] = np.zeros(3)
    with pytest.raises(BenchError, match="lacks observations") as caught:
        read_file(path, hopper())
    assert "beginx" in caught.value.why
    assert "xend" in caught.value.why
    assert len(caught.value.why) < 300
