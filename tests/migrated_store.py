"""An embedded store with our schema and nothing in it, made once and copied from then on.

To migrate an empty store takes a second of the processor, and some hundred tests begin with one. What a migration does
is tested with stores of its own (`store/test_migrate.py`, `integration/test_run.py`, `integration/test_upgrade.py`);
all others may begin where it ended. The folder's name holds the digest of the statements and of the engine: whoever
changes either gets a new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from collector.store.migrate import migrate
from collector.store.rendering import Target, read_migrations, render
from tests.engine_process import running_engine


def lay_migrated_store(folder: Path) -> None:
    """Put the store into `folder` as `engine`, unless there is one already."""
    if not (folder / "engine").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(_find_original(), folder / "engine", symlinks=True)


def _find_original() -> Path:
    """Return the store to copy; make it where this is the first process that wants it."""
    sources = [
        version("chdb"),
        *(text for each in read_migrations() for text in render(each.source, Target("embedded"))),
    ]
    digest = hashlib.sha256(" ".join(sources).encode()).hexdigest()[:16]
    original = Path(tempfile.gettempdir()) / f"tagstitch-tests-{os.getuid()}" / f"store-{digest}"
    if original.exists():
        return original
    original.parent.mkdir(mode=0o700, exist_ok=True)
    with (original.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not original.exists():
            from tests.running_store import configure  # which begins with a copy of what is made here

            with tempfile.TemporaryDirectory(dir=original.parent) as made:
                with running_engine(Path(made)) as engine:
                    migrate(*configure(engine))
                (Path(made) / "engine").rename(original)
    return original
