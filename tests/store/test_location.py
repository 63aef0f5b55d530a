"""What people type after --store: which URLs are understood, what is said of the others; no passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.store.location import locate, without_password


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("results/bench.sqlite", "results/bench.sqlite"),
        ("sqlite:///some/where.db", "some/where.db"),
        ("sqlite:////tmp/where.db", "/tmp/where.db"),
        ("sqlite+pysqlite:///where.db", "where.db"),
        ("a:b@c.sqlite", "a:b@c.sqlite"),
    ],
)
def test_files(typed: str, path: str) -> None:
    assert locate(typed).path == Path(path)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_servers(scheme: str) -> None:
    location = locate(f"{scheme}://me:secret@host:5433/db?sslmode=require")
    assert location.path is None
    assert location.url == "postgresql+psycopg://me:secret@host:5433/db?sslmode=require"
    assert str(location) == "postgresql+psycopg://me@host:5433/db?sslmode=require"


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql+psycpg", "postgresql+psycopg2", "postgresql+asyncpg", "Postgresql", "pgsql"],
)
def test_what_was_meant_is_offered_without_the_password(scheme: str) -> None:
    with pytest.raises(BenchError, match="no database URL") as error:
        locate(f"{scheme}://me:secret@host/db")
    assert f"{scheme}://me@host/db" in error.value.what
    assert error.value.do_this == "Did you mean: --store postgresql+psycopg://me@host/db"
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "typed", ["mysql://me:secret@host/db", "nonsense://host/db", "http://host/bench.sqlite"]
)
def test_other_databases_are_refused(typed: str) -> None:
    with pytest.raises(BenchError, match="no database URL") as error:
        locate(typed)
    assert "results/bench.sqlite or --store postgresql+psycopg://" in error.value.do_this
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "typed", ["postgresql+psycopg:/me:secret@host/db", "sqlite:/x.sqlite", "postgresql:db", "file:x.sqlite"]
)
def test_slashes_left_out_make_no_file_of_that_name(typed: str) -> None:
    with pytest.raises(BenchError, match="no database URL") as error:
        locate(typed)
    assert "secret" not in str(error.value)


def test_an_at_sign_in_a_password_is_explained() -> None:
    with pytest.raises(BenchError, match="more than one '@'") as error:
        locate("postgresql+psycopg://me:sec@ret@host/db")
    assert "%40" in error.value.do_this
    assert not {"sec", "ret"} & set(str(error.value).replace("@", " ").replace("'", " ").split())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--store=x://me:secret@host:1/db", "--store=x://me@host:1/db"),
        ("x://me:a secret@host/db", "x://me@host/db"),
        ("x:///db?user=me&password=secret&port=1", "x:///db?user=me&password=...&port=1"),
        ("x://me:a:b/c?d@host/db", "x://me@host/db"),
        ("x://me@host:5432/db", "x://me@host:5432/db"),
        ("x://host:5432/db", "x://host:5432/db"),
        ("results/bench.sqlite", "results/bench.sqlite"),
    ],
)
def test_passwords_are_left_out(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_settings_of_an_sqlite_file_are_refused_rather_than_dropped() -> None:
    with pytest.raises(BenchError, match="settings behind a '\\?'") as error:
        locate("sqlite:///some/where.db?mode=ro")
    assert error.value.do_this == "Type: --store some/where.db"
