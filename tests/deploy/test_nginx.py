"""The nginx samples, in a real nginx."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.proxied import Proxy, check_configuration, find_nginx, make_certificates, render, running_nginx
from tests.deploy.tools import need_program
from tests.deploy.upstream import Upstream, running_upstream

TOKEN = "eyJzIjoic2hvcCJ9.aQ.tokentokentoken"
MAIL = "anna@example.org"


@pytest.fixture(autouse=True)
def _nginx() -> None:
    if find_nginx() is None:
        need_program("nginx", "as root on Debian, apt-get install nginx-light")
    need_program("openssl", "as root on Debian, apt-get install openssl")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def proxy(upstream: Upstream, tmp_path: Path) -> Iterator[Proxy]:
    with running_nginx(upstream.port, folder=tmp_path / "nginx") as running:
        yield running


def wait_for(claim: Callable[[], bool], what: str) -> None:
    """Wait until nginx has written its line: it does so after it has answered."""
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("tls", [False, True])
def test_nginx_takes_the_samples_without_a_warning(tmp_path: Path, tls: bool) -> None:
    """`nginx -t` accepts the samples, and has nothing to remark."""
    make_certificates(tmp_path / "tls", ("shop.example",))
    main = render(
        tmp_path, upstream_port=8000, site_port=3000, port=8443, plain_port=8080, names=("shop.example",), tls=tls
    )
    said = check_configuration(main)
    assert "test is successful" in said
    assert "[warn]" not in said


def test_everything_that_the_collector_needs_reaches_it(proxy: Proxy, upstream: Upstream) -> None:
    """Path, query, body, cookies and Host arrive unchanged; the forwarding headers are nginx's own words."""
    headers = {
        "Content-Type": "text/plain",
        "Cookie": "ts_shop=abc; other=1",
        "Origin": proxy.url,
        "Sec-GPC": "1",
        "Accept-Encoding": "br, gzip",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=203.0.113.9",
        "Authorization": "Basic c2hvcDpzaG9w",
    }
    reply = httpx.post(f"{proxy.url}/x/b?r=1", content=b'{"v":1}', headers=headers)
    assert reply.status_code == 204
    assert reply.headers["x-tagstitch-rejected"] == "blocked"
    assert reply.headers["set-cookie"].startswith("__Host-ts_shop=signed; HttpOnly; Secure")
    seen = upstream.find("/x/b")
    assert (seen.method, seen.target, seen.body) == ("POST", "/x/b?r=1", b'{"v":1}')
    assert seen.headers["host"] == f"localhost:{proxy.port}"
    assert seen.headers["cookie"] == "ts_shop=abc; other=1"
    assert seen.headers["origin"] == proxy.url
    assert seen.headers["sec-gpc"] == "1"
    assert seen.headers["accept-encoding"] == "br, gzip"
    assert seen.headers["x-forwarded-for"] == "127.0.0.1"
    assert seen.headers["x-forwarded-proto"] == "http"
    assert seen.headers["x-forwarded-host"] == f"localhost:{proxy.port}"
    assert "forwarded" not in seen.headers
    assert "authorization" not in seen.headers


@pytest.mark.parametrize("path", ["/v1/events", "/metrics", "/ready", "/health", "/demo", "/openapi.json", "/xx/b"])
def test_only_the_tag_and_the_links_are_public(upstream: Upstream, tmp_path: Path, path: str) -> None:
    """What does not lie under /x/ or /l/ goes to the site, never to the collector."""
    with running_upstream() as site:
        with running_nginx(upstream.port, site_port=site.port, folder=tmp_path / "nginx") as proxy:
            httpx.get(proxy.url + path)
            httpx.get(proxy.url + "/x/t.js")
        assert [seen.target for seen in upstream.seen] == ["/x/t.js"]
        assert [seen.target for seen in site.seen] == [path]


def test_nothing_that_points_at_a_person_is_written(proxy: Proxy, upstream: Upstream) -> None:
    """No query string, token, body, referrer, e-mail address, user agent or full address reaches nginx's files."""
    headers = {"User-Agent": "agent-4711", "Referer": f"{proxy.url}/offer?lt={TOKEN}"}
    with httpx.Client(headers=headers) as client:
        client.get(f"{proxy.url}/l/{TOKEN}?utm_source=secret-source")
        client.get(f"{proxy.url}/offer?lt={TOKEN}&mail={MAIL}")
        client.get(f"{proxy.url}/x/{MAIL}")
        client.get(f"{proxy.url}/x/%0Aforged-line")
        client.post(f"{proxy.url}/x/b?query-4711", content=b"body-4711" * 50_000)
        client.post(f"{proxy.url}/x/b", content=b"z" * 1_100_000)  # refused by nginx itself
        client.get(f"{proxy.url}/x/last")
    wait_for(lambda: " /x/last " in proxy.read_logs(), "the last request is in no log")
    lines = proxy.read_logs()
    assert " 127.0.0.0 GET /l/- 200 " in lines
    assert " POST /x/b 204 " in lines
    assert " POST /x/b 413 " in lines
    assert upstream.find("/x/b?query-4711").body == b"body-4711" * 50_000
    written = proxy.read_files().decode(errors="replace")
    for secret in (TOKEN, "lt=", "secret-source", MAIL, "anna", "query-4711", "body-4711", "agent-4711", "127.0.0.1"):
        assert secret not in written.replace(str(proxy.folder), ""), secret
    assert not any(line.startswith("forged-line") for line in lines.splitlines())


def test_a_fault_behind_nginx_asks_the_tag_to_come_again(tmp_path: Path) -> None:
    """With the collector away the answer is 503 with Retry-After in our form, whoever follows a mail's link sees the
    shop's first page, and no log says who asked for what."""
    with socket.socket() as taken:  # bound and not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        with running_nginx(taken.getsockname()[1], folder=tmp_path / "nginx") as proxy:
            reply = httpx.post(f"{proxy.url}/x/b?query-4711", content=b"{}")
            link = httpx.get(f"{proxy.url}/l/{TOKEN}")
            unsubscribing = httpx.post(f"{proxy.url}/l/{TOKEN}", content=b"List-Unsubscribe=One-Click")
            wait_for(lambda: proxy.read_logs().count("\n") >= 3, "the three requests are in no log")
            written = proxy.read_logs()
    assert (reply.status_code, unsubscribing.status_code) == (503, 503)
    assert (link.status_code, link.headers["location"]) == (302, "/")
    assert reply.headers["retry-after"] == "5"
    assert reply.json()["retry"] is True
    assert TOKEN not in written
    assert "query-4711" not in written
    assert "127.0.0.1" not in written


def test_a_body_over_the_bound_is_refused_for_good(proxy: Proxy, upstream: Upstream) -> None:
    """A body of more than 1 MiB gets 413 with "retry": false and never reaches the collector."""
    reply = httpx.post(f"{proxy.url}/x/b", content=b"z" * (1_048_576 + 1))
    assert reply.status_code == 413
    assert reply.json() == {
        "error": "size",
        "field": "",
        "message": "The body is larger than this site takes.",
        "retry": False,
    }
    assert httpx.post(f"{proxy.url}/x/b", content=b"z" * 1_048_576).status_code == 204
    assert len(upstream.seen) == 1


def test_one_address_cannot_flood(proxy: Proxy) -> None:
    """Far above 50 requests a second from one address some get 429, which the tag may retry."""
    with httpx.Client() as client:
        replies = (client.get(f"{proxy.url}/x/t.js") for _ in range(5000))
        refused = next((reply for reply in replies if reply.status_code == 429), None)
    assert refused is not None
    assert refused.headers["retry-after"] == "5"
    assert refused.json()["retry"] is True


def test_https_ends_at_nginx_and_the_collector_is_told(upstream: Upstream, tmp_path: Path) -> None:
    """Over TLS the collector learns `https`; plain HTTP is sent there with its method, path and query kept."""
    with running_nginx(upstream.port, folder=tmp_path / "nginx", tls=True) as proxy:
        context = ssl.create_default_context(cafile=str(proxy.ca_file))
        with httpx.Client(verify=context) as client:
            assert client.get(f"{proxy.url}/x/t.js").text == "script"
            moved = client.post(f"http://localhost:{proxy.plain_port}/x/b?q=1", content=b"{}")
    assert upstream.find("/x/t.js").headers["x-forwarded-proto"] == "https"
    assert (moved.status_code, moved.headers["location"]) == (308, f"https://localhost:{proxy.port}/x/b?q=1")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:db8:1::77", "2001:db8:1::"),
        ("2001:db8::77", "2001:db8::"),
        ("fe80::1:2:3", "fe80::"),
        ("::1", "-"),
        ("::ffff:203.0.113.77", "-"),
    ],
)
def test_addresses_are_cut(upstream: Upstream, tmp_path: Path, address: str, network: str) -> None:
    """The log's address is the /24 or /48 network, whatever form the address has."""
    folder = tmp_path / "nginx"
    with running_nginx(upstream.port, folder=folder) as proxy:
        # realip lets a test speak from any address, as it would behind a CDN.
        site = folder / "tagstitch.conf"
        site.write_text(
            site.read_text().replace(
                "server {", "server {\n    set_real_ip_from 127.0.0.1;\n    real_ip_header X-Test-Address;", 1
            )
        )
        check_configuration(folder / "nginx.conf")
        subprocess.run(["kill", "-HUP", str(proxy.pid)], check=True)

        def is_cut() -> bool:
            httpx.get(f"{proxy.url}/x/t.js", headers={"X-Test-Address": address})
            return f" {network} GET /x/t.js 200 " in proxy.read_logs()

        wait_for(is_cut, f"{address} is not logged as {network}")
        assert address not in proxy.read_logs()


def test_a_second_opinion_finds_no_hole(tmp_path: Path) -> None:
    """gixy, a checker of nginx configurations, has nothing to say but that HSTS is missing: the site's own choice."""
    gixy = need_program("gixy", "pip install gixy-ng")
    make_certificates(tmp_path / "tls", ("shop.example",))
    main = render(
        tmp_path, upstream_port=8000, site_port=3000, port=8443, plain_port=8080, names=("shop.example",), tls=True
    )
    done = subprocess.run(
        [gixy, "--skips", "hsts_header", str(main)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "No issues found" in done.stdout


def test_bodies_never_touch_a_disk(proxy: Proxy, upstream: Upstream) -> None:
    """Bodies up to the bound pass, with their length told or chunked, where nginx has no folder to put them in."""
    shutil.rmtree(proxy.folder / "temp")
    body = b"body-4711" * 116_000

    def chunks() -> Iterator[bytes]:
        yield from (body[start : start + 50_000] for start in range(0, len(body), 50_000))

    assert httpx.post(f"{proxy.url}/x/b", content=body).status_code == 204
    assert httpx.post(f"{proxy.url}/x/b", content=chunks()).status_code == 204
    assert [seen.body for seen in upstream.seen] == [body, body]
