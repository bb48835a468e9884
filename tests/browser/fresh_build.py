"""The tag as its source is now: script, lazy modules and package, built once for a test session into a folder."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TAG_JS = ROOT / "tag_js"


def run_node(*command: str | Path, cwd: Path = TAG_JS, program: str = "") -> str:
    """Run node with these arguments, fail with its words; returns what it printed."""
    node = shutil.which("node")
    if node is None or not (TAG_JS / "node_modules" / "esbuild").is_dir():
        pytest.fail("node or tag_js/node_modules is missing: install node, then run `npm install` in tag_js")
    done = subprocess.run(
        [node, *map(str, command)], cwd=cwd, input=program, capture_output=True, encoding="utf-8", timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def fresh_build() -> Path:
    """Build everything. The folder is removed when the process ends."""
    out = Path(tempfile.mkdtemp(prefix="tagstitch-build-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    run_node("scripts/build.mjs", "--out", out)
    return out


@functools.cache
def consumer_folder() -> Path:
    """Return a folder in which the package is installed as npm would, beside what the tests' apps need."""
    folder = fresh_build() / "consumer"
    modules = folder / "node_modules"
    modules.mkdir(parents=True)
    installed = modules / "tagstitch-tag"
    installed.mkdir()
    for name in ("index.mjs", "index.d.ts", "package.json"):
        shutil.copy(fresh_build() / name, installed)
    for name in ("react", "react-dom", "vue", "@types"):
        (modules / name).symlink_to(TAG_JS / "node_modules" / name, target_is_directory=True)
    # The files of the repository are seen from here, so that what they import is looked up here.
    for name in ("examples", "tests/data/package", "tests/data/recipes"):
        shutil.copytree(ROOT / name, folder / name)
    # The recipe for Next.js uses the component for React, in its own folder.
    shutil.copy(folder / "examples" / "react" / "tagstitch.tsx", folder / "examples" / "nextjs" / "app")
    return folder


def run_esbuild(entry: Path, **options: object) -> str:
    """Bundle an entry as a site's own build does, React's and Vue's switches set; returns the script."""
    options = {
        "entryPoints": [str(entry)],
        "absWorkingDir": str(consumer_folder()),
        "bundle": True,
        "write": False,
        "jsx": "automatic",
        "define": {
            "process.env.NODE_ENV": '"development"',
            "__VUE_OPTIONS_API__": "false",
            "__VUE_PROD_DEVTOOLS__": "false",
            "__VUE_PROD_HYDRATION_MISMATCH_DETAILS__": "false",
        },
        **options,
    }
    return run_node(
        "--input-type=module",
        program='import { build } from "esbuild";\n'
        f"const {{ outputFiles }} = await build({json.dumps(options)});\n"
        "process.stdout.write(outputFiles[0].text);",
    )


@functools.cache
def bundle(source: str) -> str:
    """Bundle an app for browsers; `source` is its path from the repository's root."""
    return run_esbuild(consumer_folder() / source, format="iife")
