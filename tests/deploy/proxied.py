"""A real nginx with the sample configuration of `deploy/nginx`, in front of any port of this machine.

    from tests.deploy.proxied import running_nginx

    with running_nginx(8000, folder=tmp_path, tls=True) as proxy:
        httpx.get(proxy.url + "/x/t.js", verify=str(proxy.ca_file))

The samples are taken as they are; only what an operator must edit is replaced (name, ports, certificate, where the
upstreams are, where logs go), and a sample that no longer has such a line fails loudly. Everything nginx writes lies
in `folder`. Nothing listens elsewhere than on 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "nginx"
START_LIMIT_S = 20.0
PORT_TRIES = 5


class NginxFailed(Exception):
    """nginx did not start; the message is what it said."""


@dataclass(frozen=True)
class Proxy:
    """A running nginx. `url` has no slash at its end; `ca_file` is None without TLS."""

    url: str
    port: int
    plain_port: int
    folder: Path
    ca_file: Path | None
    pid: int

    def read_logs(self) -> str:
        """Return everything that nginx has written into any log so far."""
        return "\n".join(path.read_text(errors="replace") for path in sorted((self.folder / "logs").glob("*")))

    def read_files(self) -> bytes:
        """Return everything that nginx has put on disk: logs, bodies, cached answers."""
        written = [path for name in ("logs", "temp") for path in (self.folder / name).rglob("*") if path.is_file()]
        return b"\n".join(path.read_bytes() for path in written)


def find_nginx() -> str | None:
    """Return the path of nginx's program, or None where there is none."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def render(
    folder: Path,
    *,
    upstream_port: int,
    site_port: int,
    port: int,
    plain_port: int,
    names: Sequence[str] = ("localhost", "127.0.0.1"),
    tls: bool = False,
) -> Path:
    """Write a whole configuration into `folder` and return the path of its main file.

    `port`: where the site listens; `plain_port`: where plain HTTP is sent to it, with TLS only.
    """
    for name in ("logs", "temp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    http = _edit(SAMPLES / "tagstitch-http.conf", {"server 127.0.0.1:8000;": f"server 127.0.0.1:{upstream_port};"})
    paths = _edit(SAMPLES / "tagstitch-paths.conf", {"/var/log/nginx/": f"{folder}/logs/"})
    site = _edit(
        SAMPLES / "tagstitch.conf",
        {
            "/var/log/nginx/": f"{folder}/logs/",
            "include /etc/nginx/snippets/tagstitch-paths.conf;": f"include {folder}/tagstitch-paths.conf;",
            "proxy_pass http://127.0.0.1:3000;": f"proxy_pass http://127.0.0.1:{site_port};",
            "server_name shop.example;": f"server_name {' '.join(names)};",
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "    listen [::]:80;\n": "",
            "    listen [::]:443 ssl http2;\n": "",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
            "https://$host$request_uri": f"https://$host:{port}$request_uri",
            "/etc/ssl/shop.example/": f"{folder}/tls/",
        },
    )
    if not tls:
        # The same site without the certificate: the second server block, on plain HTTP.
        head, mark, tail = site.partition("    listen 127.0.0.1:" + str(port))
        comments, _, _ = head.partition("server {")
        site = comments + "server {\n" + mark + tail.replace(" ssl http2;", ";", 1)
        site = "".join(line for line in site.splitlines(keepends=True) if not line.strip().startswith("ssl_"))
    (folder / "tagstitch-http.conf").write_text(http)
    (folder / "tagstitch-paths.conf").write_text(paths)
    (folder / "tagstitch.conf").write_text(site)
    main = folder / "nginx.conf"
    user = f"user {pwd.getpwuid(os.getuid()).pw_name};\n" if os.getuid() == 0 else ""
    temp = "\n    ".join(
        f"{kind}_temp_path {folder}/temp/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main.write_text(
        f"{user}daemon off;\nworker_processes 1;\nworker_rlimit_nofile 1024;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/logs/main-error.log warn;\n"
        "events {\n    worker_connections 512;\n}\n"
        f"http {{\n    {temp}\n    access_log {folder}/logs/access.log;\n"
        f"    include {folder}/tagstitch-http.conf;\n    include {folder}/tagstitch.conf;\n}}\n"
    )
    return main


def check_configuration(main: Path) -> str:
    """Let nginx read the configuration and return what it says. Raises NginxFailed where it refuses it."""
    done = subprocess.run(
        [find_nginx() or "nginx", "-t", "-c", str(main), "-p", str(main.parent), "-e", str(main.parent / "logs/start")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode:
        raise NginxFailed(done.stderr)
    return done.stderr


@contextlib.contextmanager
def running_nginx(
    upstream_port: int,
    *,
    folder: Path,
    site_port: int | None = None,
    names: Sequence[str] = ("localhost", "127.0.0.1"),
    tls: bool = False,
) -> Iterator[Proxy]:
    """Run nginx in front of 127.0.0.1:`upstream_port` until the block ends.

    `site_port`: where everything but the collector's paths goes; the same upstream if not given. `names`: what the
    site is called; the first one stands in `url`. `folder` must be empty or new. Raises NginxFailed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ca_file = make_certificates(folder / "tls", names) if tls else None
    for attempt in range(PORT_TRIES):
        port, plain_port = _find_free_port(), _find_free_port()
        main = render(
            folder,
            upstream_port=upstream_port,
            site_port=site_port if site_port is not None else upstream_port,
            port=port,
            plain_port=plain_port,
            names=names,
            tls=tls,
        )
        check_configuration(main)
        process = subprocess.Popen(
            [find_nginx() or "nginx", "-c", str(main), "-p", str(folder), "-e", str(folder / "logs/start")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if _wait_for_port(process, port):
                break
        except BaseException:
            _end(process)
            raise
        said = (folder / "logs" / "start").read_text()
        if "Address already in use" not in said or attempt == PORT_TRIES - 1:
            raise NginxFailed(said)
        (folder / "logs" / "start").unlink()
    try:
        scheme = "https" if tls else "http"
        yield Proxy(f"{scheme}://{names[0]}:{port}", port, plain_port, folder, ca_file, process.pid)
    finally:
        _end(process)


def make_certificates(folder: Path, names: Sequence[str]) -> Path:
    """Make a CA and a certificate for the names with it; return the CA's file. Needs the program openssl."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ["IP" if name.replace(".", "").isdigit() else "DNS" for name in names]
    (folder / "names.cnf").write_text(
        f"subjectAltName={','.join(f'{kind}:{name}' for kind, name in zip(kinds, names, strict=True))}\n"
        "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
    )
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca = ["req", "-x509", *curve, "-days", "2", "-subj", "/CN=tagstitch test CA"]
    ca += ["-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca.key", "-out", "ca.pem"]
    request = ["req", *curve, "-subj", f"/CN={names[0]}", "-keyout", "privkey.pem", "-out", "request.pem"]
    sign = ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    sign += ["-days", "2", "-extfile", "names.cnf", "-out", "fullchain.pem"]
    for arguments in (ca, request, sign):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)
    return folder / "ca.pem"


def _edit(sample: Path, replacements: dict[str, str]) -> str:
    text = sample.read_text()
    for old, new in replacements.items():
        if old not in text:
            raise NginxFailed(f"{sample.name} has no line {old!r} any more: follow it in tests/deploy/proxied.py")
        text = text.replace(old, new)
    return text


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        if time.monotonic() > deadline:
            _end(process)
            raise NginxFailed(f"nginx did not listen on port {port} within {START_LIMIT_S:.0f} s")
        time.sleep(0.02)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
