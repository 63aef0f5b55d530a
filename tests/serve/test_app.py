"""What a browser gets, and what it is refused."""

import json
from wsgiref.util import setup_testing_defaults

import pytest

from bench.errors import BenchError
from bench.serve.app import App
from bench.serve.live import LivePage

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Result:
    def __init__(self, app, path="/", method="GET", host="localhost:8265"):
        environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "HTTP_HOST": host}
        setup_testing_defaults(environ)
        self.body = b"".join(app(environ, self._start))

    def _start(self, status, headers):
        self.status, self.headers = status, dict(headers)


@pytest.fixture
def app():
    page = LivePage(lambda: "1", lambda: "<html><body>p</body></html>", lambda version: f"<b>{version}</b>")
    beside = {"/nights.html": lambda: "<p>nights</p>", "/none.html": str}
    return App(page, lambda: ["dtql on hopper, seed 0: training 34%"], LOCAL, beside)


def test_the_page_with_the_strip_at_its_end(app):
    answer = Result(app)
    assert answer.status == "200 OK"
    version = json.loads(Result(app, "/change_token").body)["version"]
    assert answer.body.decode() == f"<html><body>p<b>{version}</b></body></html>"
    assert answer.headers["Content-Length"] == str(len(answer.body))


def test_a_page_beside_it_is_there_once_it_has_something_to_show(app):
    answer = Result(app, "/nights.html")
    assert (answer.status, answer.body) == ("200 OK", b"<p>nights</p>")
    assert answer.headers["Content-Type"] == Result(app).headers["Content-Type"]
    assert Result(app, "/none.html").status.startswith("404")
    assert Result(app, "/nights.html", host="elsewhere.example").status.startswith("403")


def test_nothing_may_be_fetched_from_elsewhere_or_kept(app):
    headers = Result(app).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


def test_who_works_is_told(app):
    told = json.loads(Result(app, "/change_token").body)
    assert told["working"] == ["dtql on hopper, seed 0: training 34%"]
    assert told["trouble"] == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading(app, method):
    assert Result(app, method=method).status.startswith("405")


def test_head_has_no_body(app):
    answer = Result(app, method="HEAD")
    assert answer.body == b""
    assert int(answer.headers["Content-Length"]) > 0


def test_other_paths_are_not_files(app):
    assert Result(app, "/../etc/passwd").status.startswith("404")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8265", "localhost.evil.example", ""])
def test_a_page_elsewhere_that_names_this_machine_is_kept_out(app, host):
    answer = Result(app, host=host)
    assert answer.status.startswith("403")
    assert b"<html>" not in answer.body


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8265", "[::1]"])
def test_this_machine_by_any_of_its_names(app, host):
    assert Result(app, host=host).status == "200 OK"


def test_a_defect_is_told_on_the_page_and_its_traceback_in_the_log_alone(caplog):
    page = LivePage(lambda: "1", lambda: "<body></body>", str)

    def fails():
        raise KeyError("a secret detail")

    answer = Result(App(page, fails, LOCAL, {}), "/change_token")
    assert answer.status.startswith("500 ")
    assert answer.body.startswith(b"A defect of bench")
    assert b"secret" not in answer.body
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "a secret detail" in caplog.text


def test_a_store_that_fails_meanwhile_is_trouble_and_no_defect():
    page = LivePage(lambda: "1", lambda: "<body></body>", str)

    def fails():
        raise BenchError("the store is gone")

    answer = Result(App(page, fails, LOCAL, {}), "/change_token")
    assert json.loads(answer.body)["trouble"] == "the store is gone"
