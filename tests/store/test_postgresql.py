"""A store on a PostgreSQL server: what opening it may meet, and what happens when the server goes away."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import event, text

from bench.errors import BenchError, WorkFailedError
from bench.records import CellKey
from bench.store import postgresql
from bench.store.database import Store, head_revision, open_store, transaction, upgrade_store
from bench.store.faults import StoreUnavailableError
from bench.store.queries import trials
from bench.store.writer import Writer
from tests.store import samples
from tests.store.clocks import send_drivers_away
from tests.store.databases import change, everything, fetched
from tests.store.postgres import Server

pytestmark = pytest.mark.slow


def refusal(url: str, **how: object) -> BenchError:
    """What is said when the store is opened; a wrong request, one line per part, without passwords."""
    with pytest.raises(BenchError) as error:
        open_store(url, **how)
    assert not isinstance(error.value, WorkFailedError)
    assert "secret" not in str(error.value)
    assert "\n" not in error.value.what + error.value.why + error.value.do_this
    return error.value


@pytest.fixture
def url(postgres_url: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty database; weights and the like go into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return postgres_url


@pytest.fixture
def guest(url: str) -> str:
    """Name of a user without any right of his own, whose password is `secret`."""
    name = f"guest_{url.rpartition('/')[2]}"
    change(url, f"CREATE USER {name} PASSWORD 'secret'")
    return name


def as_user(url: str, login: str) -> str:
    return url.replace("bench@", f"{login}@")


def test_a_server_that_does_not_run_is_a_wrong_request() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        error = refusal(f"postgresql+psycopg://me:secret@127.0.0.1:{taken.getsockname()[1]}/db")
    assert "me@127.0.0.1" in error.what
    assert "refused" in error.why
    assert "whether the server runs" in error.do_this


def test_a_host_that_does_not_exist_is_a_wrong_request() -> None:
    assert "nowhere.invalid" in refusal("postgresql+psycopg://me:secret@nowhere.invalid/db").why


def test_a_port_that_is_no_number_is_a_wrong_request() -> None:
    assert "port" in refusal("postgresql+psycopg://me:secret@host:54x/db").why


def test_a_wrong_password(postgres: Server, guest: str) -> None:
    error = refusal(postgres.url("postgres", login=f"{guest}:secret2"))
    assert "password authentication failed" in error.why
    assert "PGPASSWORD" in error.do_this


def test_no_password(postgres: Server, guest: str) -> None:
    assert "PGPASSWORD" in refusal(postgres.url("postgres", login=guest)).do_this


def test_the_right_password_comes_from_the_environment_too(
    url: str, guest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(url, f"GRANT CREATE ON SCHEMA public TO {guest}")
    open_store(as_user(url, f"{guest}:secret")).close()
    monkeypatch.setenv("PGPASSWORD", "secret")
    open_store(as_user(url, guest), create=False).close()


def test_an_unknown_user(postgres: Server) -> None:
    assert '"stranger"' in refusal(postgres.url("postgres", login="stranger:secret")).why


def test_a_database_that_does_not_exist_comes_with_the_command_that_makes_it(postgres: Server) -> None:
    error = refusal(postgres.url("absent"))
    assert "does not exist" in error.why
    assert error.do_this.endswith("createdb absent")


def test_the_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refusal("postgresql+psycopg://me:secret@host/db")
    assert "psycopg" in error.what
    assert error.do_this == 'Type: pip install "psycopg[binary]"'


def test_an_empty_database_is_filled_but_not_by_reading(url: str) -> None:
    assert "is empty" in refusal(url, read_only=True).what
    assert "is empty" in refusal(url, create=False).what
    assert everything(url) == {}
    open_store(url).close()
    assert "trials" in everything(url)


def test_the_database_of_another_application_is_left_alone(url: str) -> None:
    change(url, "CREATE TABLE contacts (name TEXT)")
    for how in ({}, {"read_only": True}, {"create": False}):
        assert "not made by bench" in refusal(url, **how).what
    assert everything(url) == {"contacts": []}


def test_another_application_in_a_schema_of_its_own_does_not_matter(url: str) -> None:
    change(url, "CREATE SCHEMA other; CREATE TABLE other.trials (name TEXT)")
    open_store(url).close()
    assert fetched(url, "SELECT COUNT(*) FROM trials") == [(0,)]


def test_a_user_who_may_not_make_tables(url: str, guest: str) -> None:
    error = refusal(as_user(url, f"{guest}:secret"))
    assert "refuses its user" in error.what
    assert "permission denied for schema public" in error.why


def test_a_user_who_may_only_read_can_read(url: str, guest: str) -> None:
    open_store(url).close()
    reader = as_user(url, f"{guest}:secret")
    assert "refuses its user" in refusal(reader, read_only=True).what
    change(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {guest}")
    with open_store(reader, read_only=True) as store:
        assert trials(store) == []
    with open_store(reader) as store, Writer(store) as writer, pytest.raises(BenchError) as error:
        writer.begin_run(samples.run_record())
    assert "refuses its user" in error.value.what


def test_a_database_that_only_reads(url: str) -> None:
    open_store(url).close()
    change(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    with open_store(url) as store, Writer(store) as writer, pytest.raises(BenchError) as error:
        writer.begin_run(samples.run_record())
    assert "cannot be written" in error.value.what


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


@pytest.fixture
def writer(store: Store) -> Iterator[Writer]:
    with Writer(store) as opened:
        opened.begin_run(samples.run_record())
        yield opened


TRIAL = samples.trial_record()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_is_waited_for(postgres: Server, store, writer: Writer, mode: str) -> None:
    writer.plan([TRIAL])
    writer.record(samples.evaluation_record(TRIAL.key, 1))
    postgres.stop(mode)
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="does not answer") as error:
                writer.record(samples.evaluation_record(TRIAL.key, 2))
            assert "whether the server runs" in error.value.do_this
    finally:
        postgres.start()
    writer.record(samples.evaluation_record(TRIAL.key, 2))
    assert fetched(store.location.url, "SELECT number FROM evaluations ORDER BY 1") == [(1,), (2,)]


def test_a_restart_that_nobody_saw_is_no_trouble(postgres: Server, store: Store, writer: Writer) -> None:
    writer.plan([TRIAL])
    assert len(trials(store)) == 1
    postgres.stop()
    postgres.start()
    writer.record(samples.evaluation_record(TRIAL.key))
    assert len(trials(store)) == 1


def test_a_server_that_goes_in_the_middle_of_a_transaction_has_stored_nothing_of_it(
    postgres: Server, store: Store, writer: Writer
) -> None:
    writer.plan([TRIAL])
    cut_off(postgres, store)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        writer.record(samples.evaluation_record(TRIAL.key))
    assert fetched(store.location.url, "SELECT * FROM evaluations") == []
    writer.record(samples.evaluation_record(TRIAL.key))
    assert fetched(store.location.url, "SELECT COUNT(*) FROM episodes") == [(3,)]


def cut_off(postgres: Server, store: Store) -> None:
    """Let the server end the store's connection, once, between an evaluation and its episodes."""

    def end(connection, cursor, statement, *_: object) -> None:
        if statement.startswith("INSERT INTO episodes"):
            event.remove(store.engine, "before_cursor_execute", end)
            process = cursor.connection.info.backend_pid
            postgres.execute(f"SELECT pg_terminate_backend({process}, 5000)")

    event.listen(store.engine, "before_cursor_execute", end)


def test_a_writer_that_hangs_in_its_transaction_keeps_nobody_for_ever(store: Store, writer: Writer) -> None:
    with store.connect() as connection:
        reading = connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    with transaction(store.engine) as connection:
        limits = [
            connection.scalar(text(f"SHOW {name}"))
            for name in ("idle_in_transaction_session_timeout", "lock_timeout")
        ]
    assert (reading, limits) == ("0", ["1min", "30s"])


def test_a_store_that_another_writer_holds_is_a_trouble_that_passes(
    store: Store, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = [statement.replace("30s", "100ms") for statement in postgresql.BEGIN_WRITING]
    monkeypatch.setattr(postgresql, "BEGIN_WRITING", begin)
    with transaction(store.engine):
        assert trials(store) == []  # readers need not wait
        with pytest.raises(StoreUnavailableError, match="is held by another process"):
            writer.plan([TRIAL])
    assert writer.plan([TRIAL]) == {TRIAL.key: "planned"}


def test_a_reader_sees_one_state_throughout(store: Store, writer: Writer) -> None:
    with store.connect() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM trials")) == 0
        writer.plan([TRIAL])
        assert connection.scalar(text("SELECT COUNT(*) FROM trials")) == 0
    assert len(trials(store)) == 1


def test_a_store_that_is_worked_on_is_not_upgraded(store: Store, writer: Writer) -> None:
    url = store.location.url
    writer.plan([TRIAL])
    writer.claim(CellKey("dtql", "released", TRIAL.key.task, TRIAL.key.config_hash), [0], 1)
    with pytest.raises(BenchError, match="is being written by run run-1") as error:
        upgrade_store(url)
    assert "bench status" in error.value.do_this
    send_drivers_away(store.folder)
    change(url, "UPDATE claims SET heartbeat_at = heartbeat_at - INTERVAL '61 seconds'")
    assert upgrade_store(url) == (head_revision(), head_revision())
