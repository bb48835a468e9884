"""Serves the tag: a short-lived plain path, an immutable path for every build that ever shipped, and their hashes.

    /x/t.js                       the present build; kept for 15 minutes
    /x/t-0.1.0-1a2b3c4d.js        the tag of a build, for ever; its modules beside it
    /x/t.json                     the present build's versioned paths with their integrity, for whoever pins them

Everything is read once at start and answered from memory, in the coding that the browser likes best. The answer is the
same for everybody, so any origin may read it: browsers check `integrity` only on answers that they may read.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.config import Config
from collector.tag_builds import STATIC, TAG, Asset, Build, list_folders, read_asset, read_build, versioned_path

PLAIN_CACHE = "public, max-age=900"  # how long an update of the tag may take to reach a page
VERSIONED_CACHE = "public, max-age=31536000, immutable"
CODINGS = ("br", "gzip", "identity")  # smallest first: decides where a browser likes several alike


def choose_coding(accept_encoding: str | None, available: frozenset[str]) -> str:
    """Return the content coding to answer in, by the quality values of Accept-Encoding (RFC 9110, 12.5.3).

    Without the header, or where nothing available is acceptable, the file goes out as it is.
    """
    if accept_encoding is None:
        return "identity"
    quality: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        value = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    value = float(parameter[2:])
                except ValueError:
                    value = 0.0
        quality[{"x-gzip": "gzip"}.get(name, name)] = value
    # What is not named counts as `*`; the plain form is acceptable unless refused, but nobody's first choice.
    best, best_quality = "identity", quality.get("identity", quality.get("*", 0.0) or 0.0)
    for coding in CODINGS:
        value = quality.get(coding, quality.get("*", 0.0))
        if coding in available and value > 0 and (value, -CODINGS.index(coding)) > (best_quality, -CODINGS.index(best)):
            best, best_quality = coding, value
    return best


def _matches(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match names this entity tag; proxies that recompress make strong tags weak."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def answer(request: Request, asset: Asset, cache: str) -> Response:
    """Answer GET or HEAD for an asset: 200 with the contents, or 304 where the browser has them."""
    coding = choose_coding(request.headers.get("accept-encoding"), frozenset(asset.contents))
    body = asset.contents[coding]
    etag = f'"{asset.file.hash}-{coding}"'
    headers = {
        "Cache-Control": cache,
        "ETag": etag,
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    if _matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if coding != "identity":
        headers["Content-Encoding"] = coding
    headers["Content-Length"] = str(len(body))
    content = b"" if request.method == "HEAD" else body
    return Response(content, headers=headers, media_type="text/javascript")


def list_hashes(config: Config, build: Build) -> dict[str, object]:
    """Return what /x/t.json says: the version, and of each file its versioned path, integrity and size in bytes."""
    files = [
        {
            "path": versioned_path(config.tag_path, build.version, file),
            "integrity": file.integrity,
            "bytes": file.bytes,
        }
        for file in build.files
    ]
    return {"version": build.version, "files": files}


def routes(config: Config, static: Path = STATIC) -> list[Route]:
    """Return the routes of the tag. Reads all builds; raises OSError where the package is not whole."""
    found: dict[str, tuple[Asset, str]] = {}
    for folder in list_folders(static):
        build = read_build(folder)
        for file in build.files:
            asset = read_asset(folder, file)
            found[versioned_path(config.tag_path, build.version, file)] = asset, VERSIONED_CACHE
            if folder == static and file.name == TAG:
                found[config.tag_path] = asset, PLAIN_CACHE

    def route(path: str, asset: Asset, cache: str) -> Route:
        async def serve(request: Request) -> Response:
            return answer(request, asset, cache)

        return Route(path, serve, methods=["GET"], name=f"tag {path}")

    hashes = msgspec.json.encode(list_hashes(config, read_build(static)))

    async def serve_hashes(request: Request) -> Response:
        headers = {
            "Cache-Control": PLAIN_CACHE,
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(hashes, headers=headers, media_type="application/json")

    return [
        *(route(path, asset, cache) for path, (asset, cache) in found.items()),
        Route(f"{config.tag_path.removesuffix('.js')}.json", serve_hashes, methods=["GET"], name="tag hashes"),
    ]
