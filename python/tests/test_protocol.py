"""Requests, answers, settings and the rules for repeats: pure functions, no server."""

from __future__ import annotations

import json
import os
import pickle
import pwd
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from throttle_client import (
    AlreadyPending,
    Client,
    ConfigurationError,
    CountExceedsMax,
    Deadlock,
    HierarchyViolation,
    NotAcquired,
    NotAuthorized,
    RequestRefused,
    ServerError,
    ServerUnreachable,
    ThrottleError,
    Timeout,
    UnknownPeer,
    UnknownSemaphore,
    _answers,
    _labels,
    _protocol,
    default_labels,
)
from throttle_client._answers import Answer, check, parse_acquired, parse_bool, parse_int
from throttle_client._dialect import Dialect
from throttle_client._durations import format_duration, seconds
from throttle_client._errors import NoSuchRoute
from throttle_client._labels import new_peer
from throttle_client._retry import Retry
from throttle_client._servers import normalize_urls
from throttle_client._settings import Settings

REQUEST = _protocol.heartbeat(1, 1.0)


def answer(status: int, text: str = "", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, text)


def problem(status: int, code: str, detail: str) -> Answer:
    kind = {"content-type": "application/problem+json", "throttle-instance": "x1"}
    return Answer(status, kind, json.dumps({"code": code, "detail": detail}))


def test_acquire_names_the_semaphore_in_one_segment_of_the_path() -> None:
    request = _protocol.acquire_one(7, "/&", 2, expires_in=1.5, block_for=0.25)
    assert _protocol.acquire(7, {"/&": 2}, expires_in=1.5, block_for=0.25).classic == request
    assert request.method == "PUT"
    assert request.path == "/peers/7/%2F%26"
    assert request.query == (("expires_in", "1500ms"), ("block_for", "250ms"))
    assert request.json == 2
    assert request.block_for == 0.25


def test_a_name_of_dots_is_no_step_in_the_path() -> None:
    classic = _protocol.release_lock(7, "..").classic
    assert classic is not None
    assert classic.path == "/peers/7/%2E%2E"


def test_names_are_in_bodies_and_queries_where_the_server_has_v1() -> None:
    release = _protocol.release_lock(7, "t/in")
    assert (release.method, release.path) == ("POST", "/v1/peers/7/release")
    assert release.json == {"locks": ["t/in"]}
    token = _protocol.is_token_live("t/in", 9)
    assert (token.path, token.query) == ("/v1/token", (("semaphore", "t/in"), ("token", "9")))


def test_restore_carries_tokens_as_strings() -> None:
    request = _protocol.restore(7, {"A": 1}, 1.0, {"A": 99})
    assert request.json == {
        "expires_in": "1000ms",
        "peer_id": 7,
        "acquired": {"A": 1},
        "tokens": {"A": "99"},
    }


def test_only_creating_a_peer_without_a_key_is_not_repeatable() -> None:
    request = _protocol.new_peer(1.0, "key")
    assert request.repeatable
    assert request.classic is not None
    assert request.classic.key is None
    assert not request.classic.repeatable
    assert _protocol.acquire(1, {"A": 1}).repeatable
    assert _protocol.restore(1, {}, 1.0).repeatable
    assert _protocol.release_peer(1).repeatable


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (400, "Unknown peer", UnknownPeer),
        (400, "Unknown semaphore", UnknownSemaphore),
        (409, "Lock can never be acquired. It would block forever: 2 of 1", CountExceedsMax),
        (409, "Lock hierarchy violation: level 0 and 1", HierarchyViolation),
        (400, "anything else", RequestRefused),
        (401, "", NotAuthorized),
        (404, "<html>", ServerError),
        (500, "oops", ServerError),
    ],
)
def test_every_refusal_has_its_exception(status: int, text: str, error: type[ThrottleError]) -> None:
    with pytest.raises(error):
        check(answer(status, text), REQUEST)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "invalid_request", RequestRefused),
        (404, "unknown_semaphore", UnknownSemaphore),
        (409, "count_exceeds_max", CountExceedsMax),
        (409, "hierarchy_violation", HierarchyViolation),
        (409, "already_pending", AlreadyPending),
        (409, "deadlock", Deadlock),
        (409, "not_acquired", NotAcquired),
        (409, "one_that_comes_later", RequestRefused),
        (413, "too_large", ServerError),
        (429, "limit_reached", ServerError),
        (404, "not_found", NoSuchRoute),
        (405, "method_not_allowed", NoSuchRoute),
    ],
)
def test_every_code_has_its_exception(status: int, code: str, error: type[ThrottleError]) -> None:
    with pytest.raises(error, match=r"no such route|because") as caught:
        check(problem(status, code, "because"), REQUEST)
    assert type(caught.value) is error
    if isinstance(caught.value, RequestRefused):
        assert (caught.value.status, caught.value.code) == (status, code)


def test_a_peer_that_is_gone_tells_why() -> None:
    with pytest.raises(UnknownPeer, match="stuck") as caught:
        check(problem(410, "peer_gone", "stuck since noon"), REQUEST)
    assert (caught.value.detail, caught.value.instance) == ("stuck since noon", "x1")


def test_a_body_that_is_not_declared_as_a_problem_is_none() -> None:
    with pytest.raises(RequestRefused) as caught:
        check(answer(409, '{"code": "deadlock"}'), REQUEST)
    assert caught.value.code is None


@pytest.mark.parametrize(
    ("blocker", "words"),
    [
        ({"peer": "7"}, "'A' is held by peer 7"),
        ({"kind": "holder", "peer": "7", "labels": {"host": "w1"}}, "'A' is held by @w1 (peer 7)"),
        (
            {"kind": "ahead", "peer": "7", "waits_for": ["B"]},
            "ahead of it for 'A' is peer 7, which waits for 'B'",
        ),
        ({"kind": "paused", "peer": None}, "'A' is paused"),
        ({"kind": "rate", "peer": None}, "'A' is held back by its rate"),
        (
            {"kind": "rate", "peer": None, "until": "2026-03-03T19:02:42Z"},
            "'A' is held back by its rate until 2026-03-03T19:02:42Z",
        ),
        ({"kind": "strike"}, "'A' is not to be had yet"),
        ({"kind": "strike", "peer": "7"}, "'A' is not to be had yet, because of peer 7"),
    ],
)
def test_what_is_in_the_way_is_said_whatever_its_kind(blocker: dict[str, object], words: str) -> None:
    pending = {"position": 2, "blocked_by": [{"semaphore": "A"} | blocker]}
    waits = answer(202, json.dumps({"pending": pending}))
    assert _answers.parse_wait(waits) == f"its place in the queue was 2; {words}"


def test_peers_of_v1_are_read() -> None:
    peer = answer(
        200, '{"id": "18446744073709551615", "locks": [{"semaphore": "A", "token": "7"}], "pending": null}'
    )
    assert _answers.parse_peer_id(peer) == 2**64 - 1
    assert _answers.parse_peer_id(answer(200, "42")) == 42
    assert _answers.parse_tokens(peer, ["A"]) == {"A": 7}
    assert _answers.parse_tokens(answer(200, "42", throttle_fencing_token="9"), ["A"]) == {"A": 9}
    assert _answers.parse_locks(answer(200, '{"locks": [{"semaphore": "A", "token": null}]}')) == {"A": None}
    assert _answers.parse_wait(peer) == ""
    waits = answer(200, '{"pending": {"position": 1, "blocked_by": []}}')
    assert _answers.parse_wait(waits).startswith("its place in the queue was 1; nobody's release would help")
    for wrong in ('{"id": 5}', "{}", '{"id": "x"}', "[]"):
        with pytest.raises(ServerError, match="is this a Throttle server"):
            _answers.parse_peer_id(answer(200, wrong))
    with pytest.raises(ServerError, match="locks were expected"):
        _answers.parse_locks(answer(200, '{"locks": [5]}'))
    with pytest.raises(ServerError, match="is this a Throttle server"):
        _answers.parse_live(answer(410, "gone fishing"))


def test_several_locks_cannot_be_said_in_the_older_dialect() -> None:
    assert _protocol.acquire(7, {"A": 1, "B": 2}).classic is None
    request = _protocol.acquire(7, {"A": 1, "B": 2}, 1.5, 0.25, 3)
    assert request.path == "/v1/peers/7/locks"
    assert request.json == {
        "locks": {"A": 1, "B": 2},
        "expires_in": "1500ms",
        "wait": "250ms",
        "priority": 3,
    }
    assert request.block_for == 0.25


def test_a_dialect_is_remembered_as_long_as_the_state_of_the_server() -> None:
    dialect = Dialect("x")
    refused, known = answer(404), answer(400, "Unknown peer", throttle_instance="x1")

    def is_old() -> bool:
        return dialect.lacks_v1

    def ask(*answers: Answer) -> list[str]:
        retry, sent = Retry(REQUEST, 100.0, dialect), []
        for each in answers:
            sent.append(retry.request.path)
            retry.after_answer(each, now=0.0)
        return sent

    v1, classic = "/v1/peers/1/heartbeat", "/peers/1"
    assert ask(refused, answer(404)) == [v1, classic]
    assert not is_old(), "neither route: this may be anybody"
    assert ask(refused, answer(502)) == [v1, classic]
    assert not is_old(), "a gateway without a server behind it"
    assert ask(refused, known) == [v1, classic]
    assert is_old()
    assert ask(known) == [classic]
    assert is_old()
    assert ask(answer(200, "Ok", throttle_instance="x2")) == [classic]
    assert not is_old(), "another server"
    assert ask(answer(404, throttle_instance="x1"), answer(200, throttle_instance="x2")) == [v1, classic]
    assert not is_old(), "it was replaced between the two"
    assert ask(problem(410, "peer_gone", "")) == [v1]
    assert not is_old()
    # Servers up to 0.5 do not tell their state; one that does is another.
    assert ask(refused, answer(200)) == [v1, classic]
    assert ask(answer(200)) == [classic]
    assert ask(answer(200, throttle_instance="x1")) == [classic]
    assert ask(answer(200)) == [v1]


def test_what_v1_does_not_find_is_no_missing_route() -> None:
    assert not _answers.lacks_route(problem(404, "unknown_semaphore", ""))
    assert _answers.lacks_route(answer(405, "Method Not Allowed"))


def test_labels_that_nobody_asked_for_are_left_out_if_they_are_refused() -> None:
    request = new_peer(1.0, None)
    assert request.bare is not None
    assert request.bare.json == {"expires_in": "1000ms"}
    assert request.bare.key == request.key
    retry = Retry(request, 100.0)
    assert retry.after_answer(problem(400, "invalid_request", "labels"), now=0.0) == 0.0
    assert retry.request == request.bare
    assert retry.after_answer(problem(400, "invalid_request", "expires_in"), now=0.0) is None
    assert new_peer(1.0, {"a": "b"}).bare is None


NOBODY = 2_147_000_000


def test_default_labels_are_bounded_and_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/\udcff" + "x" * 300])
    labels = default_labels()
    assert labels["program"] == "?" + "x" * 254
    monkeypatch.setattr(sys, "argv", ["/opt/tool/__main__.py"])
    assert default_labels()["program"] == "tool"
    monkeypatch.setattr(sys, "argv", [""])
    assert "program" not in default_labels()


def test_the_user_is_found_as_every_client_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `USER`, `LOGNAME`, the system, and a number where it knows no name; in this order."""
    own = pwd.getpwuid(os.getuid()).pw_name
    for variables, uid, expected in [
        ({"USER": "jane", "LOGNAME": "joe"}, None, "jane"),
        ({"USER": "", "LOGNAME": "joe"}, None, "joe"),
        ({"LNAME": "no", "USERNAME": "no"}, None, own),
        ({}, NOBODY, str(NOBODY)),
    ]:
        for name in ("USER", "LOGNAME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if uid is not None:
            monkeypatch.setattr(os, "getuid", lambda: NOBODY)
        _labels._default_labels.cache_clear()
        assert default_labels()["user"] == expected, variables


def test_unknown_peer_tells_the_instance() -> None:
    with pytest.raises(UnknownPeer) as caught:
        check(answer(400, "Unknown peer", throttle_instance="x1"), REQUEST)
    assert caught.value.instance == "x1"


def test_tokens_and_grants_are_read() -> None:
    assert answer(200, throttle_fencing_token="17").token == 17
    assert answer(200).token is None
    assert parse_acquired(answer(200))
    assert not parse_acquired(answer(202))
    assert parse_int(answer(200, "-3\n")) == -3
    assert parse_bool(answer(200, "true"))
    with pytest.raises(ServerError, match="is this a Throttle server"):
        parse_int(answer(200, "<html>hello</html>"))


def test_the_exceptions_are_also_what_released_code_catches() -> None:
    assert issubclass(Timeout, TimeoutError)
    assert issubclass(ServerUnreachable, ConnectionError)
    assert issubclass(RequestRefused, ValueError)
    assert issubclass(ConfigurationError, ValueError)


def test_durations() -> None:
    assert seconds(timedelta(minutes=5), "ttl") == 300
    assert format_duration(0.0001) == "1ms"
    assert format_duration(0.3) == "300ms"
    assert format_duration(0) == "0ms"
    with pytest.raises(ConfigurationError, match="ttl is -1"):
        seconds(-1, "ttl")
    with pytest.raises(ConfigurationError, match="ttl is '5m'"):
        seconds("5m", "ttl")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("https://example.org/throttle/", "https://example.org/throttle"),
    ],
)
def test_urls(given: str, meant: str) -> None:
    assert normalize_urls(given) == meant


@pytest.mark.parametrize(
    "wrong", ["", "ftp://example.org", "http://", "localhost:80x0", "http://a/?b", "http://a/#/"]
)
def test_wrong_urls_are_named(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="server URL"):
        normalize_urls(wrong)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    monkeypatch.setenv("THROTTLE_URL", "localhost:1")
    monkeypatch.setenv("THROTTLE_TOKEN_FILE", str(file))
    settings = Settings.resolve()
    assert settings.url == "http://localhost:1"
    assert settings.headers()["Authorization"] == "Bearer from-file"
    file.write_text("rotated\n")
    assert settings.headers()["Authorization"] == "Bearer rotated"
    monkeypatch.setenv("THROTTLE_TOKEN", "from-environment")
    assert Settings.resolve().headers()["Authorization"] == "Bearer from-environment"
    settings = Settings.resolve("localhost:2", token="argument")
    assert settings.headers()["Authorization"] == "Bearer argument"
    assert "argument" not in repr(settings)


def test_settings_say_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("THROTTLE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="THROTTLE_URL"):
        Client()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings("http://localhost", token_file=str(tmp_path / "none")).headers()
    with pytest.raises(ConfigurationError, match="THROTTLE_CACERT"):
        Settings("http://localhost", cacert=str(tmp_path / "none")).ssl_context()


def test_a_client_can_be_pickled() -> None:
    client = Client("https://dummy-endpoint", token="secret")
    copy = pickle.loads(pickle.dumps(client))
    assert copy.base_url == client.base_url == "https://dummy-endpoint"
    assert copy._link.settings == client._link.settings


def test_repeats_stop_at_the_end_of_the_time() -> None:
    retry = Retry(REQUEST, give_up_at=10.0)
    assert retry.after_failure(ServerUnreachable("x"), now=0.0) is not None
    assert retry.after_failure(ServerUnreachable("x"), now=9.999) is None


def test_delays_grow_up_to_a_limit() -> None:
    retry = Retry(REQUEST, give_up_at=1e9)
    delays = [retry.after_failure(ServerUnreachable("x"), now=0.0) or 0.0 for _ in range(12)]
    assert 0.05 <= delays[0] <= 0.1
    assert 2.5 <= delays[-1] <= 5.0


def test_only_what_was_never_sent_is_repeated_for_a_new_peer() -> None:
    classic = _protocol.new_peer(1.0, "key").classic
    assert classic is not None
    retry = Retry(classic, give_up_at=100.0)
    assert retry.after_failure(ServerUnreachable("x", sent=False), now=0.0) is not None
    assert retry.after_failure(ServerUnreachable("x", sent=True), now=0.0) is None
    assert retry.after_answer(answer(502), now=0.0) is None
    assert retry.after_answer(answer(503), now=0.0) is not None, "the server says that it did nothing"


@pytest.mark.parametrize(
    ("status", "again"), [(200, False), (400, False), (408, True), (409, False), (500, True), (501, False)]
)
def test_which_answers_are_worth_a_repeat(status: int, again: bool) -> None:
    assert (Retry(REQUEST, give_up_at=100.0).after_answer(answer(status), now=0.0) is not None) == again


def test_retry_after_is_honored() -> None:
    delay = Retry(REQUEST, give_up_at=100.0).after_answer(answer(503, retry_after="7"), now=0.0)
    assert delay is not None
    assert 7.0 <= delay < 8.0
