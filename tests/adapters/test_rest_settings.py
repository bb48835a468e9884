"""What a configuration of a REST source may say; and its templates, by property."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.adapters.contract import Wrong
from collector.adapters.rest_settings import RestSettings, compile_path, read_rest_settings
from collector.adapters.rest_template import parse_template
from tests.adapters.rest_source import make_adapter

SOUND: dict[str, Any] = {"base_url": "https://crm.example/api", "path": "/customers/{key}"}
NAMES = ("name", "points")


def read(**settings: Any) -> Any:
    return read_rest_settings(msgspec.convert({**SOUND, **settings}, RestSettings), NAMES)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("base_url", "ftp://crm.example/"),
        ("base_url", "https://user:s3cr3t@crm.example/"),
        ("base_url", "https://user:s3cr3t/"),
        ("base_url", "https://[s3cr3t]/"),
        ("base_url", "https://s3cr3t.0x7f.1/"),
        ("path", "customers/{key}"),
        ("path", "/customers"),
        ("path", "/customers/{key}/{other}"),
        ("path", "/customers/{key"),
        ("path", "/customers/{}"),
        ("path", "/customers/{Key}"),
        ("path", "/a/../{key}"),
        ("path", "/a/%2e%2E/{key}"),
        ("path", "/a/./{key}"),
        ("path", "//evil.example/{key}"),
        ("path", "/a//{key}"),
        ("path", "/a b/{key}"),
        ("path", "/a#{key}"),
        ("path", "/ä/{key}"),
        ("path", "/%zz/{key}"),
        ("path", "/a\\{key}"),
        ("path", "/find?{key}"),
        ("path", "/find?{key}=1"),
        ("path", "/find?q={key}&"),
        ("path", "/find?q={key}#x"),
        ("path", "/find?q={key}?x"),
        ("record", "data["),
        ("record", "no_such_function(@)"),
        ("record_key", "length()"),
        ("map", {"shoe_size": "size"}),
        ("map.name", {"name": "a b"}),
        ("map.name", {"name": ""}),
        ("search.path", {"path": "/find"}),
        ("search.path", {"path": "/find?n={limit}"}),
        ("search.path", {"path": "find?name={name}"}),
        ("record_key", {"path": "/find?name={name}"}),
        ("search.records", {"path": "/find?name={name}", "records": "items["}),
        ("headers.Host", {"Host": "evil.example"}),
        ("headers.authorization", {"authorization": "Bearer s3cr3t"}),
        ("headers.Cookie", {"Cookie": "s3cr3t"}),
        ("headers.X Y", {"X Y": "1"}),
        ("headers.X", {"X": "1\r\nY: s3cr3t"}),
        ("headers.X", {"X": ""}),
        ("allow_networks", ["10.0.0.1/8"]),
        ("allow_networks", ["crm.example"]),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(setting: str, value: Any) -> None:
    """Before the first request, and without what may be a secret."""
    name = setting.partition(".")[0]
    settings = {"search": value} if isinstance(value, dict) and "path" in value else {name: value}
    if setting == "search.records":
        settings["record_key"] = "id"
    with pytest.raises(Wrong) as caught:
        read(**settings)
    assert caught.value.setting == setting
    assert "s3cr3t" not in str(caught.value)


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way to mend it."""
    monkeypatch.setattr("collector.adapters.rest_settings.find_spec", lambda name: None if name == "jmespath" else 1)
    with pytest.raises(Wrong, match=r"pip install 'tagstitch\[adapters\]'"):
        make_adapter(80)


def test_a_file_of_certificates_that_is_not_there() -> None:
    """It is looked at when the adapter is made."""
    with pytest.raises(Wrong) as caught:
        make_adapter(80, base_url="https://crm.test/", ca_file="no/such/file.pem")
    assert caught.value.setting == "ca_file"


def test_a_sound_configuration() -> None:
    """With everything that there is."""
    plan = read(
        path="/v1/{key}.json?expand=all",
        record="data[0]",
        record_key="id",
        map={"name": "join(' ', [first, last])"},
        search={"path": "/find?name={name}&n={limit}", "records": "items"},
        headers={"X-Client": "tagstitch"},
        allow_networks=["10.0.0.0/8", "fd00::/8"],
    )
    assert plan.path.fill({"key": "7"}) == b"/api/v1/7.json?expand=all"
    assert plan.picks["name"]({"first": "Ada", "last": "L"}) == "Ada L"
    assert plan.picks["points"]({"points": 7}) == 7
    assert plan.record({"data": [{"id": 7}]}) == {"id": 7}


def test_a_field_is_found_by_its_own_name() -> None:
    """Whatever JMESPath would make of the name."""
    assert compile_path("x", '"not_null"')({"not_null": 1}) == 1


anything = st.text(min_size=0, max_size=40)
nasty = st.text(alphabet="./\\?#&=%:@;2eEfF5cC{} \x00é", max_size=15)


@given(st.one_of(anything, nasty))
def test_a_key_is_one_segment(key: str) -> None:
    """Or not asked for: never a way elsewhere, never a second parameter, decode it as often as one likes."""
    template = parse_template("/api", "/customers/{key}/card?x=1")
    try:
        target = template.fill({"key": key}).decode("ascii")
    except ValueError:
        return
    assert re.fullmatch(r"/api/customers/[A-Za-z0-9._~%-]+/card\?x=1", target)
    parts = urlsplit("https://crm.example" + target)
    segments = parts.path.split("/")
    assert (len(segments), parts.query, parts.fragment, parts.netloc) == (5, "x=1", "", "crm.example")
    assert unquote(segments[3]) == key
    decoded = target
    for _ in range(3):
        decoded = unquote(decoded, errors="replace")
        assert not {".", ".."} & set(re.split(r"[/\\]", decoded.partition("?")[0]))


@given(st.one_of(anything, nasty), st.one_of(anything, nasty))
def test_terms_are_values_of_their_parameters(name: str, postcode: str) -> None:
    """Each its own, and nothing else."""
    template = parse_template("", "/find?name={name}&zip=AT-{postcode}&n=5")
    try:
        target = template.fill({"name": name, "postcode": postcode}).decode("ascii")
    except ValueError:
        return
    path, _, query = target.partition("?")
    assert path == "/find"
    pairs = [tuple(unquote(part) for part in pair.split("=")) for pair in query.split("&")]
    assert pairs == [("name", name), ("zip", "AT-" + postcode), ("n", "5")]


@given(st.one_of(anything, nasty, st.from_regex(r"/[a-z{}/?&=.%]{0,30}", fullmatch=True)))
def test_a_template_is_sound_or_refused(text: str) -> None:
    """What is let through gives a target that stays beneath its base, whatever harmless thing is put in."""
    try:
        template = parse_template("/api", text)
    except ValueError:
        return
    target = template.fill(dict.fromkeys(template.names, "x")).decode("ascii")
    assert target.startswith("/api/")
    assert "#" not in target
    assert not {".", ".."} & set(unquote(target.partition("?")[0]).split("/"))
