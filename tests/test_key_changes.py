"""Keys of tagged links: a new one waits, signs, and the old one ends, with no link lost in between."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from collector import cli
from collector.errors import KeyringError
from collector.key_changes import (
    DAY_MS,
    activate_link_key,
    add_link_key,
    add_personal_key,
    check_drop,
    drop_link_key,
    find_waiting,
)
from collector.keyring import Keyring, LinkKey, make_keyring, open_keyring, read_keyring
from collector.links.minting import mint_link
from collector.links.token import LinkKind, LinkProblem, LinkToken, read_link

NOW_S = 1_790_000_000
NOW_MS = NOW_S * 1000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of secrets."""
    open_keyring(tmp_path / "secrets.json", {})
    return tmp_path / "secrets.json"


def read(keyring: Keyring, text: str, days: float = 0) -> str:
    """Return what a token counts as some days later: `good`, or why not."""
    answer = read_link(keyring, text, NOW_S + round(days * 86_400))
    return answer.reason if isinstance(answer, LinkProblem) else "good"


def test_a_rotation_loses_no_link(path: Path) -> None:
    """At each step what any host signs is good for every host that has this step or the one before."""
    states = [read_keyring(path, {})]
    states.append(add_link_key(path, NOW_MS, {}))
    states.append(activate_link_key(path, NOW_MS, 30, {}))
    tokens = [mint_link(state, "4711", now_s=NOW_S) for state in states]
    for number, text in enumerate(tokens):
        for state in states[max(0, number - 1) : number + 2]:
            assert read(state, text) == "good"
    old, new = states[0].link_keys[0].id, states[2].link_keys[0].id
    assert [text[1:].partition(".")[0] for text in tokens] == [old, old, new]
    assert read(states[0], tokens[2]) == "forged"  # why a key waits first


def test_the_old_key_ends(path: Path) -> None:
    """Its links expire with it, those for unsubscribing never; the new key's have their own time."""
    first = read_keyring(path, {})
    old = mint_link(first, "4711", now_s=NOW_S)
    bye = mint_link(first, "4711", now_s=NOW_S, kind=LinkKind.UNSUBSCRIBE)
    add_link_key(path, NOW_MS, {})
    keyring = activate_link_key(path, NOW_MS, 30, {})
    assert keyring.link_keys[1].until_ms == NOW_MS + 30 * DAY_MS
    assert [read(keyring, old, 29), read(keyring, old, 31)] == ["good", "expired"]
    assert read(keyring, mint_link(keyring, "4711", now_s=NOW_S), 31) == "good"
    assert read(keyring, bye, 4000) == "good"
    gone = drop_link_key(path, first.link_keys[0].id, NOW_MS + 31 * DAY_MS, environ={})
    assert gone.link_keys == keyring.link_keys[:1]
    assert [read(gone, old), read(gone, bye)] == ["forged", "forged"]


def test_a_later_rotation_never_lengthens_an_end(path: Path) -> None:
    """A key that ends soon ends soon; one that has leaked ends at once."""
    add_link_key(path, NOW_MS, {})
    activate_link_key(path, NOW_MS, 10, {})
    add_link_key(path, NOW_MS, {})
    ends = [key.until_ms for key in activate_link_key(path, NOW_MS, 300, {}).link_keys]
    assert ends == [0, NOW_MS + 300 * DAY_MS, NOW_MS + 10 * DAY_MS]
    leaked = mint_link(read_keyring(path, {}), "4711", now_s=NOW_S)
    add_link_key(path, NOW_MS, {})
    keyring = activate_link_key(path, NOW_MS, 0, {})
    assert {key.until_ms for key in keyring.link_keys[1:]} == {NOW_MS, NOW_MS}
    assert read(keyring, leaked, 1) == "expired"


def test_one_key_waits_at_a_time(path: Path) -> None:
    """A second one is refused, and so is putting in front what is not there."""
    with pytest.raises(KeyringError, match="no link key waits"):
        activate_link_key(path, NOW_MS, environ={})
    first = add_link_key(path, NOW_MS, {})
    with pytest.raises(KeyringError, match="waits already"):
        add_link_key(path, NOW_MS, {})
    assert read_keyring(path, {}) == first
    with pytest.raises(KeyringError, match="TAGSTITCH_SECRETS"):
        activate_link_key(path, NOW_MS, environ={"TAGSTITCH_SECRETS": path.read_text()})


def test_two_who_rotate_at_once_make_one_key(path: Path) -> None:
    """The file is changed by one at a time, and stays whole and its owner's alone."""

    def add(_: int) -> bool:
        try:
            add_link_key(path, NOW_MS, {})
        except KeyringError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(8))) == 1
    assert len(read_keyring(path, {}).link_keys) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secrets.json"]


def test_what_may_not_be_dropped(path: Path) -> None:
    """Not the one that signs, none that is not over, unless by force; one that waits has signed nothing."""
    first = read_keyring(path, {}).link_keys[0].id
    waiting = find_waiting(add_link_key(path, NOW_MS, {}))
    assert waiting is not None
    with pytest.raises(KeyringError, match="there is no link key nobody"):
        drop_link_key(path, "nobody", NOW_MS, force=True, environ={})
    with pytest.raises(KeyringError, match="signs"):
        drop_link_key(path, first, NOW_MS, force=True, environ={})
    assert check_drop(read_keyring(path, {}), waiting.id, NOW_MS, force=False) == waiting
    activate_link_key(path, NOW_MS, 5, {})
    with pytest.raises(KeyringError, match="not over"):
        drop_link_key(path, first, NOW_MS, environ={})
    assert [key.id for key in drop_link_key(path, first, NOW_MS, force=True, environ={}).link_keys] == [waiting.id]


def test_secrets_from_before_are_read(path: Path) -> None:
    """Keys without times verify without an end and rotate as others do; what is not known stays in the file."""
    document = json.loads(path.read_text())
    document |= {"link_keys": [{"id": "b2", "secret": "22" * 32}, {"id": "a1", "secret": "11" * 32}], "later": [1]}
    path.write_text(json.dumps(document))
    before = read_keyring(path, {})
    assert before.link_keys == [LinkKey("b2", "22" * 32), LinkKey("a1", "11" * 32)]
    old = msgspec.structs.replace(before, link_keys=before.link_keys[1:])
    text = mint_link(old, "4711", now_s=NOW_S)
    assert read(before, text, 80) == "good"
    assert find_waiting(before) is None
    add_link_key(path, NOW_MS, {})
    assert [key.id for key in activate_link_key(path, NOW_MS, 30, {}).link_keys[1:]] == ["b2", "a1"]
    assert read(read_keyring(path, {}), text, 20) == "good"
    add_personal_key(path, NOW_MS, {})
    after = json.loads(path.read_text())
    assert (after["format"], after["later"], len(after["link_keys"])) == (1, [1], 3)


def test_fresh_keys_have_ids_of_their_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is never given an id that another one has: tokens would be checked by the wrong one."""
    first = read_keyring(path, {}).link_keys[0]
    made = iter([first, LinkKey("fine", "33" * 32)])
    monkeypatch.setattr("collector.key_changes.make_link_key", lambda now_ms: next(made))
    assert [key.id for key in add_link_key(path, NOW_MS, {}).link_keys] == [first.id, "fine"]


# --- the commands ---------------------------------------------------------------------------------------------------


def run(path: Path, *words: str, given: str = "") -> Any:
    """Run `tagstitch key …` where no store is."""
    where = ("--data", str(path.parent), "--set", "engine_port=1")
    return CliRunner().invoke(cli.make_app("key"), ["key", *words, *where], input=given)


def test_a_rotation_by_commands(path: Path) -> None:
    """Two calls, each with what to do next; the list says what each key does and shows none."""
    first = run(path, "rotate-links")
    assert first.exit_code == 0, first.output
    assert "waits: it verifies, and signs nothing yet" in first.output
    assert "tagstitch reload" in first.output
    second = run(path, "rotate-links", "--grace-days", "30")
    assert "signs from now on" in second.output
    assert "the audit log does not have it" in second.output
    keyring = read_keyring(path, {})
    listed = run(path, "links", "--json")
    assert [json.loads(line)["state"] for line in listed.output.splitlines()] == ["signs", "verifies"]
    shown = run(path, "links").output
    assert keyring.link_keys[1].id in shown
    assert not any(key.secret in shown + listed.output for key in keyring.link_keys)


def test_a_leaked_key_is_replaced_at_once(path: Path) -> None:
    """Both steps in one, and nothing of the old key ties any more."""
    text = mint_link(read_keyring(path, {}), "4711", now_s=NOW_S)
    done = run(path, "rotate-links", "--now", "--grace-days", "0")
    assert "mint nothing before" in done.output
    keyring = read_keyring(path, {})
    assert isinstance(read_link(keyring, text, NOW_S + 10**9), LinkProblem)
    assert [json.loads(line)["state"] for line in run(path, "links", "--json").output.splitlines()] == ["signs", "over"]
    assert isinstance(read_link(keyring, mint_link(keyring, "1", now_s=NOW_S), NOW_S), LinkToken)


def test_dropping_a_key_asks_and_says_what_is_lost(path: Path) -> None:
    """A no changes nothing; force goes before the end; one that is over goes without force."""
    old = read_keyring(path, {}).link_keys[0].id
    run(path, "rotate-links", "--now", "--grace-days", "0")
    no = run(path, "drop-links", old, given="n\n")
    assert no.exit_code == 1
    assert "unsubscribing stop working" in no.output
    assert len(read_keyring(path, {}).link_keys) == 2
    assert run(path, "drop-links", old, "--yes").exit_code == 0
    new = read_keyring(path, {}).link_keys[0].id
    run(path, "rotate-links", "--now")
    refused = run(path, "drop-links", new, "--yes")
    assert "say --force" in str(refused.exception)
    assert run(path, "drop-links", new, "--yes", "--force").exit_code == 0


def test_keys_is_another_name_of_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tagstitch keys links` is `tagstitch key links`."""
    monkeypatch.setattr("sys.argv", ["tagstitch", "keys", "links", "--data", str(path.parent)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)


def test_a_fresh_instance_has_one_key_that_signs() -> None:
    """And none that waits."""
    assert find_waiting(make_keyring()) is None
