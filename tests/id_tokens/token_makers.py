"""An issuer of ID tokens for tests: real keys, real tokens, and where wanted a real server that gives the keys."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.api_jws import PyJWS

from tests.edge_examples import NOW_S

ISSUER = "https://accounts.example"
AUDIENCE = "our-client-id"
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
P256_KEY = ec.generate_private_key(ec.SECP256R1())
P384_KEY = ec.generate_private_key(ec.SECP384R1())
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
MEMBERS: list[dict[str, Any]] = [
    {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), "kid": "rsa", "use": "sig"},
    {**ECAlgorithm.to_jwk(P256_KEY.public_key(), as_dict=True), "kid": "p256", "alg": "ES256"},
    {**ECAlgorithm.to_jwk(P384_KEY.public_key(), as_dict=True), "kid": "p384"},
    {**OKPAlgorithm.to_jwk(ED25519_KEY.public_key(), as_dict=True), "kid": "ed"},
]
DOCUMENT = json.dumps({"keys": MEMBERS}).encode()
KEY_BY_ID = {"rsa": RSA_KEY, "p256": P256_KEY, "p384": P384_KEY, "ed": ED25519_KEY}


def make_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good ID token. A change to None takes the claim away."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "4711", "iat": NOW_S - 10, "exp": NOW_S + 3600, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def make_token(
    claims: Mapping[str, Any] | None = None,
    *,
    key: Any = None,
    key_id: str | None = "rsa",
    algorithm: str = "RS256",
    head: Mapping[str, Any] | None = None,
) -> str:
    """Return a signed token. Without a key that of this id signs."""
    head = {**({} if key_id is None else {"kid": key_id}), **(head or {})}
    signer = KEY_BY_ID[key_id or "rsa"] if key is None else key
    # Not `jwt.encode`, which refuses to make what is wrong.
    body = json.dumps(make_claims() if claims is None else claims).encode()
    return PyJWS().encode(body, signer, algorithm, dict(head))


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class IssuerServer:
    """A server on this machine. `answers`: what it says by path; `asked`: the paths, in order."""

    url: str
    answers: dict[str, Answer | Callable[[Any], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def publish(self, document: bytes = DOCUMENT, **discovery: str) -> None:
        """Give this key set, by way of a discovery document."""
        found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **discovery}
        self.answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(found).encode())
        self.answers["/keys"] = (200, {}, document)


@contextlib.contextmanager
def running_issuer() -> Iterator[IssuerServer]:
    """Run an issuer's server on a free port."""
    found: list[IssuerServer] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found[0].asked.append(self.path)
            answer = found[0].answers.get(self.path, (404, {}, b""))
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.append(IssuerServer(f"http://127.0.0.1:{server.server_address[1]}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
