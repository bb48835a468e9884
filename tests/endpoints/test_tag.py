"""How the tag is served: paths, caching, codings, and what lets a page check its integrity."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path

import brotli
import httpx
import pytest
from starlette.applications import Starlette

from collector.config import Config
from collector.endpoints.tag import choose_coding, routes
from collector.tag_builds import STATIC, TAG, Build, list_folders, read_build, versioned_path

SCRIPTS = [file.name for file in read_build().files]
INDEX = "i.js"
"""The module that knows the digests of the others."""
MODULES = [name for name in SCRIPTS if name != TAG]


class Client:
    """Asks an application that serves nothing but the tag; sends no Accept-Encoding unless told."""

    def __init__(self, config: Config, static: Path = STATIC) -> None:
        self.app = Starlette(routes=routes(config, static))

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://collector.test") as client:
                del client.headers["accept-encoding"]
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)


def name_digest(content: bytes) -> str:
    """Return the part of a versioned address that its content makes: it can be told from the integrity in the tag."""
    return re.sub(r"\W", "", base64.b64encode(hashlib.sha256(content).digest()).decode())[:8]


@pytest.fixture
def client() -> Client:
    """The tag as configured by default."""
    return Client(Config())


@pytest.fixture
def build() -> Build:
    """The build in the making."""
    return read_build()


def test_plain_path_is_short_lived(client: Client) -> None:
    """The plain path gives the present build and may be kept for 15 minutes."""
    response = client.get("/x/t.js")
    assert response.content == (STATIC / TAG).read_bytes()
    assert response.headers["cache-control"] == "public, max-age=900"
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("name", SCRIPTS)
def test_versioned_path_is_immutable(client: Client, build: Build, name: str) -> None:
    """A versioned path may be kept for a year, and what it gives fits its name and its integrity."""
    file = build.find_file(name)
    path = versioned_path("/x/t.js", build.version, file)
    response = client.get(path)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert name_digest(response.content) in path
    assert file.integrity == "sha384-" + base64.b64encode(hashlib.sha384(response.content).digest()).decode()


def test_every_answer_lets_other_origins_check_it(client: Client, build: Build) -> None:
    """Any origin may load and read the tag; no browser may guess another type."""
    for path in ("/x/t.js", versioned_path("/x/t.js", build.version, build.find_file(TAG))):
        headers = client.get(path, headers={"Origin": "https://shop.example"}).headers
        assert headers["access-control-allow-origin"] == "*"
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["vary"] == "Accept-Encoding"
        assert "access-control-allow-credentials" not in headers
        assert "set-cookie" not in headers


@pytest.mark.parametrize("name", MODULES)
def test_module_address_in_the_tag_is_one_that_is_served(client: Client, build: Build, name: str) -> None:
    """The tag works out its index's address from its own, and from the index that of every other module; each is asked
    for by an integrity that fits."""
    # So that a page that wants no module pays for one digest.
    knowing = client.get(
        "/x/t.js" if name == INDEX else versioned_path("/x/t.js", build.version, build.find_file(INDEX))
    )
    file = build.find_file(name)
    response = client.get(versioned_path("/x/t.js", build.version, file))
    assert response.status_code == 200
    # The SHA-256, of which the address is the beginning: shorter than both, because it stands in the tag's own bytes.
    digest = base64.b64encode(hashlib.sha256(response.content).digest()).decode()
    key = name.removesuffix(".js")
    assert (f'"{digest}"' if name == INDEX else f'{key}:"{digest}"') in knowing.text


def test_the_index_names_every_module_of_the_build_and_no_other(client: Client, build: Build) -> None:
    """What the tag can ask for is what the build has."""
    index = client.get(versioned_path("/x/t.js", build.version, build.find_file(INDEX))).text
    named = re.findall(r'(\w+):"[A-Za-z0-9+/]{43}="', index)
    assert sorted(named) == sorted(name.removesuffix(".js") for name in MODULES if name != INDEX)
    assert len(named) >= 5


@pytest.mark.parametrize(("coding", "decode"), [("br", brotli.decompress), ("gzip", gzip.decompress)])
def test_precompressed_forms_hold_the_same_bytes(client: Client, coding: str, decode: object) -> None:
    """The brotli and gzip forms that ship decompress to the plain file, and are sent with their own entity tag."""
    plain = client.get("/x/t.js")
    packed = client.get("/x/t.js", headers={"Accept-Encoding": coding})
    assert packed.headers["content-encoding"] == coding
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.headers["etag"] != plain.headers["etag"]
    suffix = {"br": ".br", "gzip": ".gz"}[coding]
    for name in SCRIPTS:
        assert decode((STATIC / (name + suffix)).read_bytes()) == (STATIC / name).read_bytes()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("x-gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("BR", "br"),
        ("*", "br"),
        ("*;q=0.1, br;q=0", "gzip"),
        ("identity;q=1, br;q=0.5", "identity"),
        ("identity", "identity"),
        ("deflate", "identity"),
        ("*;q=0", "identity"),
        ("br;q=oops", "identity"),
        ("br ; q=0.3 , gzip ; q=0.2", "br"),
    ],
)
def test_coding_follows_quality_values(header: str | None, expected: str) -> None:
    """The best-liked coding that ships is chosen; refused ones never are, and nonsense costs nobody the tag."""
    assert choose_coding(header, frozenset({"br", "gzip", "identity"})) == expected


def test_coding_that_does_not_ship_is_not_chosen() -> None:
    """Without a brotli file there is no brotli."""
    assert choose_coding("br, gzip", frozenset({"gzip", "identity"})) == "gzip"
    assert choose_coding("br", frozenset({"identity"})) == "identity"


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_known_contents_are_not_sent_again(client: Client, form: str) -> None:
    """If-None-Match with the entity tag, weak or in a list, gives 304 without contents but with what caches need."""
    etag = client.get("/x/t.js", headers={"Accept-Encoding": "br"}).headers["etag"]
    response = client.get("/x/t.js", headers={"Accept-Encoding": "br", "If-None-Match": form.format(etag)})
    assert response.status_code == 304
    assert response.content == b""
    assert response.headers["etag"] == etag
    assert response.headers["cache-control"] == "public, max-age=900"
    assert response.headers["vary"] == "Accept-Encoding"


def test_entity_tag_of_another_coding_is_not_known_contents(client: Client) -> None:
    """A browser that holds the gzip form and asks for brotli gets brotli."""
    etag = client.get("/x/t.js", headers={"Accept-Encoding": "gzip"}).headers["etag"]
    response = client.get("/x/t.js", headers={"Accept-Encoding": "br", "If-None-Match": etag})
    assert response.status_code == 200


def test_head_has_the_headers_of_get(client: Client) -> None:
    """HEAD says what GET would, without contents."""
    get = client.get("/x/t.js", headers={"Accept-Encoding": "br"})
    head = client.request("HEAD", "/x/t.js", headers={"Accept-Encoding": "br"})
    assert head.content == b""
    assert dict(head.headers) == dict(get.headers)


def test_the_hashes_of_the_present_build_are_published(client: Client, build: Build) -> None:
    """A site that pins the tag finds path and integrity of every file, readable for any origin, kept for 15 minutes."""
    response = client.get("/x/t.json", headers={"Origin": "https://shop.example"})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "public, max-age=900"
    assert response.headers["access-control-allow-origin"] == "*"
    published = response.json()
    assert published["version"] == build.version
    assert len(published["files"]) == len(build.files)
    for file in published["files"]:
        contents = client.get(file["path"]).content
        assert len(contents) == file["bytes"]
        assert file["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(contents).digest()).decode()
    head = client.request("HEAD", "/x/t.json")
    assert (head.status_code, head.content) == (200, b"")


def test_modules_of_any_letter_are_served_with_the_build(tmp_path: Path) -> None:
    """Whatever files a build has, it is served whole: vitals, media and overlay need no line of ours."""
    static = tmp_path / "tag"
    static.mkdir()
    files = []
    for name in (TAG, "f.js", "v.js", "m.js", "o.js"):
        content = f"run('{name}');".encode()
        (static / name).write_bytes(content)
        digest = base64.b64encode(hashlib.sha384(content).digest()).decode()
        files.append(
            {
                "name": name,
                "hash": name_digest(content),
                "integrity": f"sha384-{digest}",
                "bytes": len(content),
            }
        )
    (static / "build.json").write_text(json.dumps({"version": "1.2.3", "files": files}))
    client = Client(Config(), static)
    paths = [file["path"] for file in client.get("/x/t.json").json()["files"]]
    assert [path.rpartition("-")[0] for path in paths] == [f"/x/t-{kind}" for kind in ("1.2.3", "f", "v", "m", "o")]
    assert [client.get(path).text for path in paths] == [f"run('{file['name']}');" for file in files]


@pytest.mark.parametrize("path", ["/x/f.js", "/x/t-0.0.0-00000000.js", "/x/build.json", "/x/t.js.br", "/x/releases/"])
def test_nothing_else_is_served(client: Client, path: str) -> None:
    """Only the tag's own paths exist."""
    assert client.get(path).status_code == 404


def test_post_is_refused(client: Client) -> None:
    """The tag can only be read."""
    assert client.request("POST", "/x/t.js").status_code == 405


def test_path_of_the_tag_is_settable() -> None:
    """With another path the versioned ones and the module's move along."""
    client = Client(Config(tag_path="/assets/main"))
    build = read_build()
    assert client.get("/assets/main").status_code == 200
    assert client.get("/assets/main.json").status_code == 200
    for file in build.files:
        assert client.get(versioned_path("/assets/main", build.version, file)).status_code == 200
    assert client.get("/x/t.js").status_code == 404


def test_released_builds_are_served_byte_for_byte(tmp_path: Path) -> None:
    """A release stays at its address with its bytes after the next build has come."""
    static = tmp_path / "tag"
    shutil.copytree(STATIC, static, ignore=shutil.ignore_patterns("releases"))
    release = static / "releases" / "0.0.9"
    release.mkdir(parents=True)
    old = b"old();"
    files = [{"name": TAG, "hash": name_digest(old), "integrity": "sha384-x", "bytes": len(old)}]
    (release / TAG).write_bytes(old)
    (release / "build.json").write_text(json.dumps({"version": "0.0.9", "files": files}))

    client = Client(Config(), static)
    response = client.get(f"/x/t-0.0.9-{files[0]['hash']}.js")
    assert response.content == old
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/x/t.js").content == (STATIC / TAG).read_bytes()


def test_releases_in_the_package_are_what_they_say() -> None:
    """Every build that ships has the bytes, digest and integrity that its build.json gives."""
    for folder in list_folders():
        for file in read_build(folder).files:
            contents = (folder / file.name).read_bytes()
            assert len(contents) == file.bytes
            assert name_digest(contents) == file.hash
            assert file.integrity == "sha384-" + base64.b64encode(hashlib.sha384(contents).digest()).decode()
