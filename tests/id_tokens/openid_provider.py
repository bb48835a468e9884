"""A real OpenID provider for tests: the npm package `oidc-provider` in a process of its own, and signing in there.

with running_provider() as provider:
    token = provider.sign_in("4711", methods="pwd otp", nonce="n-1")
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.deploy.tools import need_program

FOLDER = Path(__file__).parent / "provider"
CLIENT, OTHER_CLIENT = "our-client-id", "other-client-id"
REDIRECT = "https://shop.example/signed-in"
START_S = 20.0


@dataclass
class OpenIdProvider:
    """A running provider. `url`: its address, the issuer of its tokens."""

    url: str
    process: subprocess.Popen[str]

    def sign_in(
        self, account: str, *, methods: str = "pwd", class_name: str = "", nonce: str = "", client: str = CLIENT
    ) -> str:
        """Sign in as people do: redirect, form, redirect, code; and return the ID token that the code buys.

        `methods` and `class_name`: by which the provider says it was, as `amr` and `acr`. The account `stranger` has
        an address that nobody has verified.
        """
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "client_id": client,
            "response_type": "code",
            "scope": "openid email",
            "redirect_uri": REDIRECT,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
            **({"nonce": nonce} if nonce else {}),
        }
        with httpx.Client(base_url=self.url, trust_env=False) as browser:
            answer = browser.get("/auth", params=asked)
            while not (where := answer.headers.get("location", "")).startswith(REDIRECT):
                if where:
                    answer = browser.get(where)
                else:
                    assert answer.status_code == 200, answer.text
                    answer = browser.post(answer.url, data={"login": account, "methods": methods, "class": class_name})
            code = parse_qs(urlsplit(where).query)["code"][0]
            bought = browser.post(
                "/token",
                data={
                    "grant_type": "authorization_code",
                    "client_id": client,
                    "code": code,
                    "redirect_uri": REDIRECT,
                    "code_verifier": verifier,
                },
            )
        assert bought.status_code == 200, bought.text
        return str(bought.json()["id_token"])

    def rotate(self) -> None:
        """Publish a new key, and sign with it from now on."""
        httpx.post(f"{self.url}/control/rotate", trust_env=False).raise_for_status()

    def retire(self) -> None:
        """Take all keys away but the newest."""
        httpx.post(f"{self.url}/control/retire", trust_env=False).raise_for_status()

    def freeze(self) -> None:
        """Answer nobody any more, though connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running_provider(redirect: str = REDIRECT) -> Iterator[OpenIdProvider]:
    """Run a provider on a free port. `redirect`: the page that people come back to."""
    node = need_program("node", "install node 20 or newer")
    if not (FOLDER / "node_modules").is_dir():
        npm = need_program("npm", "install node 20 or newer, with npm")
        subprocess.run([npm, "install", "--silent", "--no-save"], cwd=FOLDER, check=True, timeout=100)
    process = subprocess.Popen(
        [node, "--no-warnings", "provider.mjs", redirect],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url
        deadline = time.monotonic() + START_S
        while httpx.get(f"{url}/jwks", trust_env=False).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield OpenIdProvider(url, process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
