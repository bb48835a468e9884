"""docs/webhooks.md: its examples verify what we sign and refuse what we do not; its settings and numbers are ours."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from collector.endpoints import stream
from collector.webhooks.configuration import _Said
from collector.webhooks.signing import make_secret, parse_secret, sign

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
SECRET, OTHER = make_secret(), make_secret()
BODY = '{"type":"audience.entered","data":{"audience":"lämps"}}'.encode()


def read_example(language: str) -> str:
    found = re.search(rf"<!-- tested: {language} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def make_cases() -> list[tuple[dict[str, str], bytes, bool]]:
    """Return headers, body, and whether they are right."""

    def head(keys: list[str], at_s: int) -> dict[str, str]:
        signature = sign([parse_secret(key) for key in keys], "id-1", at_s, BODY)
        return {"webhook-id": "id-1", "webhook-timestamp": str(at_s), "webhook-signature": signature}

    now_s = int(time.time())
    right = head([SECRET], now_s)
    return [
        (right, BODY, True),
        (head([OTHER, SECRET], now_s), BODY, True),
        (head([OTHER], now_s), BODY, False),
        (right, BODY + b" ", False),
        (right | {"webhook-id": "id-2"}, BODY, False),
        (right | {"webhook-timestamp": str(now_s + 1)}, BODY, False),
        (head([SECRET], now_s - 400), BODY, False),
        (right | {"webhook-signature": right["webhook-signature"].replace("v1,", "v2,")}, BODY, False),
        (right | {"webhook-signature": ""}, BODY, False),
    ]


def test_the_python_example() -> None:
    """As it stands."""
    space: dict[str, Any] = {}
    exec(compile(read_example("python"), "docs/webhooks.md", "exec"), space)
    for headers, body, is_right in make_cases():
        assert space["verify"](SECRET, headers, body) is is_right


def test_the_node_example() -> None:
    """As it stands."""
    cases = [[headers, body.decode(), is_right] for headers, body, is_right in make_cases()]
    program = f"""{read_example("node")}
    const cases = {json.dumps(cases)}, secret = {json.dumps(SECRET)};
    console.log(JSON.stringify(cases.map(([headers, body]) => verify(secret, headers, Buffer.from(body)))));
    """
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [is_right for *_, is_right in cases]


def test_every_setting_is_described() -> None:
    """In the table, each once."""
    for name in _Said.__struct_fields__:
        assert PAGE.count(f"| `{name}` |") == 1, name


def test_the_refusals_of_the_stream_are_described() -> None:
    """Each word."""
    for word in set(stream.MESSAGES) - {"last_event_id"}:
        assert f"`{word}`" in PAGE
