"""The builds of the tag that ship in this package: their files, addresses and integrity.

    static/tag/            the build in the making: t.js, f.js …, each with .br and .gz, and build.json
    static/tag/releases/   one folder per released version, the same files, frozen by `npm run release`

`t.js` is the tag; the files with other letters are its lazy modules, such as `f.js`, the fingerprint. build.json says
the version and, for each file, the first 8 letters and digits of its SHA-256 in base64 (part of its versioned address)
and its SHA-384 (for `integrity=`). Released files never change: a page that names one by its integrity must find it
for ever. Nothing here builds anything; `npm run build` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

STATIC = Path(__file__).parent / "static" / "tag"
TAG = "t.js"


class BuiltFile(msgspec.Struct, frozen=True):
    """A file as build.json describes it. `hash`: 8 letters and digits; `integrity`: `sha384-…`."""

    name: str
    hash: str
    integrity: str
    bytes: int


class Build(msgspec.Struct, frozen=True):
    """build.json."""

    version: str
    files: list[BuiltFile]

    def find_file(self, name: str) -> BuiltFile:
        """Return the file of this name; KeyError where the build has none."""
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file with its contents by content coding: `identity` always, `br` and `gzip` where they ship."""

    file: BuiltFile
    contents: Mapping[str, bytes]


def read_build(folder: Path = STATIC) -> Build:
    """Read a folder's build.json. Raises OSError or msgspec.DecodeError: the package is broken then."""
    return msgspec.json.decode((folder / "build.json").read_bytes(), type=Build)


def list_folders(static: Path = STATIC) -> list[Path]:
    """Return the folder of the present build, then those of the releases."""
    return [static, *sorted(path.parent for path in static.glob("releases/*/build.json"))]


def read_asset(folder: Path, file: BuiltFile) -> Asset:
    """Read a file and its precompressed forms."""
    contents = {"identity": (folder / file.name).read_bytes()}
    for coding, suffix in (("br", ".br"), ("gzip", ".gz")):
        path = folder / (file.name + suffix)
        if path.is_file():
            contents[coding] = path.read_bytes()
    return Asset(file, contents)


def versioned_path(tag_path: str, version: str, file: BuiltFile) -> str:
    """Return the immutable path of a file. `/x/t.js` gives `/x/t-<version>-<hash>.js`, its modules `/x/t-f-<hash>.js`.

    The tag works out the second one from its own address (tag_js/src/modules.ts): both must say the same.
    """
    kind = version if file.name == TAG else file.name.removesuffix(".js")
    return f"{tag_path.removesuffix('.js')}-{kind}-{file.hash}.js"
