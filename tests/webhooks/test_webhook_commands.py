"""`tagstitch webhook`: what is listed, tried and sent anew; and that no secret is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from collector.cli import make_app
from collector.errors import ConfigError, TagstitchError
from collector.profiles.states import State, set_state
from collector.webhooks import delivering
from collector.webhooks.deliveries import list_deliveries, write_deliveries
from collector.webhooks.signing import parse_secret
from tests.adapters.faulty_server import by_path, give
from tests.running_store import RunningStore, make_id
from tests.webhooks.receiver import (
    FAILED,
    SECRET,
    TAKEN,
    add_changes,
    count_states,
    make_change,
    make_webhook,
    now_ms,
    running_receiver,
    running_sender,
    wait_until,
)

pytestmark = pytest.mark.engine

USE = """
[webhooks.mailing]
url = "{url}"
secret_env = "SECRET"
allow_private = true
timeout_s = 2
"""
Run = Callable[..., Result]


@pytest.fixture
def run(store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command with this store and this file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setattr("collector.commands.webhooks.open_writer", lambda _: _Kept(store))

    def run(*words: str, url: str = "") -> Result:
        (tmp_path / "use.toml").write_text(USE.format(url=url) if url else "", encoding="utf-8")
        result: Result = CliRunner().invoke(make_app("webhook"), ["webhook", *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit | TagstitchError):
            raise result.exception
        return result

    return run


class _Kept:
    """The test's own connection, which stays open."""

    def __init__(self, store: RunningStore) -> None:
        self._store = store

    def __enter__(self) -> Any:
        return self._store.writer

    def __exit__(self, *_: object) -> None:
        pass


def read_lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_secret(run: Run) -> None:
    """One that can be used, and nothing else on the line."""
    assert len(parse_secret(run("secret").stdout.strip())) == 32


def test_none_is_configured(run: Run) -> None:
    """The lines to write are shown."""
    assert "[webhooks.mailing]" in run("list").stdout
    assert run("list", "--json").stdout == ""


def test_a_try(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed as all others; what came back is said, and the status is 1 where it was not taken."""
    answers = by_path(hook=give(None, 200, b"thank\x1b you"), no=give({}, 503), moved=give({}, 301, location="/x"))
    with running_receiver(answers) as receiver:
        done = run("test", "mailing", url=receiver.url)
        assert done.exit_code == 0
        assert "taken: status 200" in done.stdout
        assert "it said: thank\\x1b you" in done.stdout
        assert receiver.told[0]["type"] == "webhook.test"
        failed = run("test", "mailing", "--json", url=receiver.url.replace("hook", "no"))
        assert failed.exit_code == 1
        assert read_lines(failed)[0]["status"] == 503
        moved = run("test", "mailing", url=receiver.url.replace("hook", "moved"))
        assert "redirects are not followed" in moved.stdout
        assert SECRET not in done.output + failed.output + moved.output
        monkeypatch.delenv("SECRET")
        missing = run("test", "mailing", url=receiver.url)
        assert isinstance(missing.exception, ConfigError)
        assert "SECRET is not set" in str(missing.exception)
        unknown = run("test", "another", url=receiver.url)
        assert "there is mailing" in str(unknown.exception)
        assert len(receiver.requests) == 3


def test_given_up_and_sent_anew(store: RunningStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed to the last is dead and listed; a replay reaches a sender that runs, under the ids that they had."""
    monkeypatch.setattr(delivering, "find_delay_s", lambda *_: None)
    monkeypatch.setattr("collector.webhooks.feeding.NOTE_S", 0.2)
    with running_receiver(FAILED) as receiver, running_sender(store, make_webhook(receiver.url)):
        add_changes(store, make_change(1), make_change(2))
        wait_until(lambda: count_states(store) == {"dead": 2})
        listed = read_lines(run("dead", "--json", url=receiver.url))
        assert {one["reason"] for one in listed} == {"status 500"}
        assert "status 500" in run("dead", "mailing", url=receiver.url).stdout
        assert run("deliveries", "--state", "delivered", url=receiver.url).stdout == "none\n"
        (summary,) = read_lines(run("list", "--json", url=receiver.url))
        assert (summary["dead"], summary["how"]) == (2, "told of changes")
        receiver.server.respond = TAKEN
        first = listed[0]["delivery_id"]
        assert "mailing: 1 deliveries" in run("replay", "--id", first, url=receiver.url).stdout
        wait_until(lambda: count_states(store) == {"dead": 1, "delivered": 1})
        assert "mailing: 1 deliveries" in run("replay", "mailing", url=receiver.url).stdout
        wait_until(lambda: count_states(store) == {"delivered": 2})
        assert sorted(set(receiver.ids)) == sorted(one["delivery_id"] for one in listed)
        # One that was delivered, named by its id, goes out once more.
        run("replay", "--id", first, url=receiver.url)
        wait_until(lambda: receiver.ids.count(first) == 3)
        wait_until(lambda: count_states(store) == {"delivered": 2})


def test_a_gone_receiver_comes_back(store: RunningStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay sends what was dropped for the 410, and new changes are told again."""
    monkeypatch.setattr("collector.webhooks.feeding.NOTE_S", 0.2)
    with running_receiver(give({}, 410)) as receiver, running_sender(store, make_webhook(receiver.url)):
        add_changes(store, make_change(1), make_change(2))
        wait_until(lambda: count_states(store) == {"dropped": 2})
        wait_until(lambda: "gone since" in run("list", url=receiver.url).stdout)
        receiver.server.respond = TAKEN
        assert "2 deliveries" in run("replay", "mailing", url=receiver.url).stdout
        wait_until(lambda: count_states(store) == {"delivered": 2})
        add_changes(store, make_change(3))
        wait_until(lambda: count_states(store) == {"delivered": 3})
        assert "told of changes" in run("list", url=receiver.url).stdout


def test_what_is_not_sent_anew(store: RunningStore, run: Run) -> None:
    """What was dropped for somebody who has withdrawn, what is not known, and what is no id."""
    set_state(store.writer, "main", [make_id(1, 0xDD)], State.ERASED, now_ms=now_ms())
    with running_receiver() as receiver:
        with running_sender(store, make_webhook(receiver.url)):
            add_changes(store, make_change(1))
            wait_until(lambda: count_states(store) == {"dropped": 1})
        (dropped,) = list_deliveries(store.writer)
        words = ("replay", "--id", dropped.delivery_id, "--id", make_id(7), "--json")
        (said,) = read_lines(run(*words, url=receiver.url))
        assert said == {"replayed": {}, "not_allowed": 1, "unknown": 1}
        assert run("replay", "--id", "x", url=receiver.url).exit_code == 2
        assert run("replay", url=receiver.url).exit_code == 2
        assert run("replay", "mailing", "--id", make_id(7), url=receiver.url).exit_code == 2
        write_deliveries(store.writer, [dropped])
        assert receiver.requests == []


def test_every_command_teaches() -> None:
    """Help says what happens, with an example."""
    for word in ("list", "test", "deliveries", "dead", "replay", "secret"):
        said = CliRunner().invoke(make_app("webhook"), ["webhook", word, "--help"]).stdout
        assert f"tagstitch webhook {word}" in said
        assert len(said) > 300
