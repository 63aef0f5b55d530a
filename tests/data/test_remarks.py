"""What is said of datasets that are not verified, before their scores are believed."""

from dataclasses import replace

import pytest

from bench.data.manifest import load_manifest, remarks_on, verification_of
from bench.records import DatasetRecord

MANIFEST = load_manifest()
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
