"""`bench serve`: a real server, a real browser's requests, and what it refuses."""

import json
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.report.made_up import write_nights
from tests.serve.serving import planned_store, serving
from tests.store import samples


@pytest.fixture
def store(tmp_path):
    return planned_store(tmp_path / "bench.sqlite")


@pytest.fixture
def served(store):
    with serving(store) as address_and_process:
        yield address_and_process


def got(address, host=None):
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_page_follows_the_store_and_only_reads(served, store, stop):
    address, process = served
    first = json.loads(got(f"{address}change_token"))
    assert first["working"] == []
    assert "hopper-medium-v2" in got(address)
    assert f'data-version="{first["version"]}"' in got(address)
    trial = samples.trial_record(0)
    with open_store(store) as opened, Writer(opened) as writer:
        writer.begin_run(samples.run_record("run-2"))
        writer.claim(trial.key.cell, [0], 1)
        writer.begin_execution([trial.key], samples.execution_record((0,)))
        working = json.loads(got(f"{address}change_token"))["working"]
        assert working == ["dtql on hopper-medium-v2, seed 0: starting"]
        writer.record(samples.failure_record(trial.key))
        for _ in range(300):
            time.sleep(0.1)
            if json.loads(got(f"{address}change_token"))["version"] != first["version"]:
                break
        else:
            pytest.fail("the page stayed as it was")
    assert samples.failure_record(trial.key).message in got(address)
    process.send_signal(stop)
    assert process.wait(timeout=30) == 0


def test_the_nights_of_a_store_are_linked_and_served(store):
    with open_store(store) as opened, Writer(opened) as writer:
        write_nights(writer, 3)
    with serving(store) as (address, _):
        assert '<a href="nights.html">All nights</a>' in got(address)
        page = got(f"{address}nights.html")
    assert '<a href="/">The report</a>' in page
    assert "<h1>3 nights: " in page


def test_a_request_by_another_name_is_refused(served):
    address, _ = served
    with pytest.raises(urllib.error.HTTPError, match="403"):
        got(address, host="evil.example")


def test_listening_elsewhere_must_be_said(bench, store):
    code, _, errors = bench("serve", "--host", "0.0.0.0", "--store", store)
    assert code == 2
    assert "--public" in errors
    assert "password" in errors


def test_a_taken_port_is_said(bench, store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, errors = bench("serve", "--port", taken.getsockname()[1], "--store", store)
    assert code == 2
    assert "cannot listen" in errors
    assert "--port" in errors


def test_a_host_that_nobody_knows_is_said(bench, store):
    code, _, errors = bench("serve", "--host", "no.such.host.invalid", "--public", "--store", store)
    assert code == 2
    assert "cannot listen at no.such.host.invalid" in errors
    assert "--host" in errors


def test_without_a_store_it_says_how_to_make_one(bench, tmp_path):
    code, _, errors = bench("serve", "--store", tmp_path / "absent.sqlite")
    assert code == 2
    assert "bench run" in errors
