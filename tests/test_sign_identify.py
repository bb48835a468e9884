"""docs/sign-identify.md: its examples, run as they stand, give the vectors' signatures, and the collector agrees."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.id_tokens.check import Vouched, check_token
from collector.id_tokens.keys import KeyBook
from collector.keyring import make_keyring
from collector.reasons import Reason
from collector.signing import check_identify, sign_identify
from collector.sites.book import Site

ROOT = Path(__file__).parents[1]
KEYRING = make_keyring()
VECTORS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "sign_identify_vectors.json").read_text("utf-8"))

CALLS = {
    "python": (
        [sys.executable, "-"],
        "import json, sys\n"
        "for v in json.loads({vectors!r}):\n"
        "    print(sign_identify(v['secret'], v['version'], v['site'], v['value'], v['kind'], v['expires']))\n",
    ),
    "node": (
        ["node", "-"],
        "for (const v of JSON.parse({vectors_js}))\n"
        "  console.log(signIdentify(v.secret, v.version, v.site, v.value, v.kind, v.expires));\n",
    ),
    "php": (
        ["php"],
        "foreach (json_decode(base64_decode('{vectors_base64}'), true) as $v)\n"
        "  echo sign_identify($v['secret'], $v['version'], $v['site'], $v['value'], $v['kind'], $v['expires'])"
        ' . "\\n";\n',
    ),
}


TOKEN_CALLS = {
    "python": (
        "import json\nfor v in json.loads({vectors!r}):\n"
        "    print(make_identify_token({secret!r}, 'shop', v['value'], v['kind']))\n"
    ),
    "node": (
        "for (const v of JSON.parse({vectors_js}))\n"
        "  console.log(makeIdentifyToken({secret!r}, 'shop', v.value, v.kind));\n"
    ),
    "php": (
        "foreach (json_decode(base64_decode('{vectors_base64}'), true) as $v)\n"
        "  echo make_identify_token({secret!r}, 'shop', $v['value'], $v['kind']) . \"\\n\";\n"
    ),
}


def _run(language: str, example: str, call: str) -> list[str]:
    """Run an example of the page with a call behind it. Return the lines that it prints."""
    command = CALLS[language][0]
    assert shutil.which(command[0]), f"{command[0]} is missing: `make test` installs it, or says how"
    vectors = json.dumps(VECTORS)
    call = (
        call.replace("{vectors!r}", repr(vectors))
        .replace("{vectors_js}", json.dumps(vectors))
        .replace("{vectors_base64}", base64.b64encode(vectors.encode()).decode())
        .replace("{secret!r}", repr(KEYRING.derive_identify_secret("shop", 1)))
    )
    program = ("<?php\n" if language == "php" else "") + _example(example) + "\n" + call
    answer = subprocess.run(command, input=program, capture_output=True, encoding="utf-8", timeout=60, check=True)
    return answer.stdout.split("\n")[:-1]


def _example(language: str) -> str:
    """Return the example of the page, as it stands there."""
    text = (ROOT / "docs" / "sign-identify.md").read_text("utf-8")
    found = re.search(rf"<!-- tested: {language} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, f"the page has no tested example in {language}"
    return found.group(1)


@pytest.mark.parametrize("language", list(CALLS))
def test_the_examples_give_the_vectors(language: str) -> None:
    """A site owner who copies the example signs as the collector checks."""
    lines = _run(language, language, CALLS[language][1])
    assert lines == [vector["signature"] for vector in VECTORS]


@pytest.mark.parametrize("language", list(TOKEN_CALLS))
def test_the_token_examples_are_taken(language: str) -> None:
    """A site owner who copies the example makes tokens that the collector takes, umlauts and spaces included."""
    tokens = _run(language, f"{language} token", TOKEN_CALLS[language])
    site = Site("shop", identify_versions=(1,))
    now_ms = time.time_ns() // 1_000_000
    said = [check_token(token, site, KEYRING, KeyBook(), now_ms, vector["kind"]) for token, vector in _pair(tokens)]
    assert said == [Vouched(vector["kind"], vector["value"]) for vector in VECTORS]


def _pair(tokens: list[str]) -> list[tuple[str, dict[str, Any]]]:
    return list(zip(tokens, VECTORS, strict=True))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['site']}-{vector['value']}")
def test_the_vectors_are_ours(vector: dict[str, Any]) -> None:
    """The signer of this package gives the vectors as well."""
    assert vector["signature"] == sign_identify(
        vector["secret"], vector["version"], vector["site"], vector["kind"], vector["value"], vector["expires"]
    )


def test_the_collector_takes_what_a_site_signs() -> None:
    """Signed with the site's own secret it is valid; changed in any part it is not."""
    keyring = make_keyring()
    site = Site("shop", identify_versions=(3, 2))
    secret = keyring.derive_identify_secret("shop", 3)
    signature = sign_identify(secret, 3, "shop", "customer", "4711", 2000)
    assert check_identify(keyring, site, "customer", "4711", signature, 1000) is None
    assert check_identify(keyring, site, "customer", "4712", signature, 1000) is Reason.SIGNATURE
    assert check_identify(keyring, site, "email", "4711", signature, 1000) is Reason.SIGNATURE
    assert check_identify(keyring, site, "customer", "4711", signature, 2059) is None
    assert check_identify(keyring, site, "customer", "4711", signature, 2060) is Reason.EXPIRED
    other = msgspec.structs.replace(site, site_id="blog")
    assert check_identify(keyring, other, "customer", "4711", signature, 1000) is Reason.SIGNATURE
    rotated = msgspec.structs.replace(site, identify_versions=(4,))
    assert check_identify(keyring, rotated, "customer", "4711", signature, 1000) is Reason.SIGNATURE
    longer = signature.replace(".2000.", ".9000.")
    assert check_identify(keyring, site, "customer", "4711", longer, 1000) is Reason.SIGNATURE


def test_parts_cannot_be_moved_into_each_other() -> None:
    """A line feed in kind or value could make one signature fit two meanings, so there is none."""
    keyring = make_keyring()
    site = Site("shop", identify_versions=(1,))
    secret = keyring.derive_identify_secret("shop", 1)
    signature = sign_identify(secret, 1, "shop", "customer\n4711", "x", 2000)
    assert check_identify(keyring, site, "customer", "4711\nx", signature, 1000) is Reason.SIGNATURE
    assert check_identify(keyring, site, "customer\n4711", "x", signature, 1000) is Reason.SIGNATURE
