"""`tagstitch key rotate-personal|rotation|finish-rotation`: a new key for pseudonyms, without a person changing."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    find_operator,
    open_secrets,
    read_running,
)
from collector.config import Settings
from collector.errors import KeyringError, StoreUnavailable
from collector.identity.rotation import (
    Rotation,
    clear_vault,
    note_begun,
    note_finish,
    read_rotation,
    rekey_vault,
    wait_for_vault,
)
from collector.key_changes import add_personal_key, drop_personal_keys
from collector.keyring import FIRST_PERSONAL_ID, Keyring
from collector.load.drain import look_at_spool, wait_for_spool
from collector.store.client import open_client
from collector.store.rendering import find_target

NEXT = """next:
  1. copy {path} to every other host
  2. on each host: tagstitch reload
  3. wait as long as you like: whoever comes back is known by both keys; `tagstitch key rotation` counts them
  4. tagstitch key finish-rotation, then copy the file and reload once more"""
AFTER = """the old key is gone from {path}. It is still in:
  - the copies of that file on other hosts: replace them, then `tagstitch reload` on every host, this one too
  - backups of it: whoever has one can make the old pseudonyms again"""
LATE = "a name came under the old key alone: some host does not know the new one"
DERIVED = (
    "the old key followed from pseudonym_key, which stays: whoever has these secrets can make it again. "
    "The next rotation is of a key that can be destroyed"
)


def rotate_personal(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Begin to replace the key behind the pseudonyms of personal identifiers.

    Puts a new key in front of the old one. From then on whoever is seen is written under both, so that their person
    stays the same; whoever is in the vault is named anew at once. `tagstitch key finish-rotation` ends it.
    """
    read = read_running(data, config, settings)
    path = read.config.secrets_path
    keyring = add_personal_key(path, _now_ms())
    typer.echo(f"personal key {keyring.personal_keys[0].id} is in force beside {keyring.personal_keys[1].id}")
    try:
        with open_client(read.config, keyring, "writer") as client:
            note_begun(client, keyring, find_operator())
        _rekey_vault(read, keyring, is_final=False)
    except StoreUnavailable as error:
        typer.echo(f"audit log and vault are seen to when the rotation is finished: {error}", err=True)
    typer.echo(NEXT.format(path=path))


def show_rotation(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """Show which personal keys are in force, and how far a rotation is. Never the keys themselves."""
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    rotations = _read_rotations(read, keyring)
    if as_json:
        for rotation in rotations:
            facts = {name: getattr(rotation, name) for name in ("known", "seen", "vaulted", "lost", "last_ms")}
            began = {"old": rotation.old.id, "new": rotation.new.id, "began_ms": rotation.new.made_at_ms}
            typer.echo(json.dumps({**began, **facts}))
        return
    newest = keyring.personal_keys[0]
    typer.echo(f"personal key {newest.id} is in force{_say_since(newest.made_at_ms)}")
    if not rotations:
        typer.echo("no rotation is under way")
    _show(rotations)


def finish_rotation(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be lost, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even where somebody wrote without the new key in the last hour.")
    ] = False,
) -> None:
    """End a rotation: name the rest of the vault anew, then destroy the old key.

    Whoever was neither seen under the new key nor is in the vault loses their thread: when they come back they begin
    a new person at that identifier. What lies in this host's spool is waited for; other hosts must have emptied theirs
    (`tagstitch status`). It cannot be undone. May be repeated where it was interrupted.
    """
    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    if len(keyring.personal_keys) < 2:
        raise KeyringError("no rotation is under way: `tagstitch key rotate-personal` begins one")
    if dry_run:
        _show(_read_rotations(read, keyring))
        waiting = sum(look_at_spool(read.config.data_path).values())
        typer.echo(f"{waiting:,} bytes of the spool are not counted yet" if waiting else "the spool is empty")
        typer.echo("nothing was changed")
        return
    # What lies in the spool may be named by the old key alone: it must be in the store to be counted and re-keyed.
    with _Progress() as progress:
        wait_for_spool(read.config.data_path, progress.wait_for_spool)
    rotations = _read_rotations(read, keyring)
    _show(rotations)
    late = [seconds for rotation in rotations if (seconds := rotation.find_late_s(_now_ms())) is not None]
    if late and not force:
        raise KeyringError(
            f"{min(late)} s ago {LATE}. Copy the "
            "secrets there and `tagstitch reload`; after an hour without, or with --force, it can be finished"
        )
    if not yes and not typer.confirm("destroy the old key? This cannot be undone"):
        typer.echo("nothing was changed")
        raise typer.Exit(1)
    with open_client(read.config, keyring, "writer") as client:
        note_begun(client, keyring, find_operator())
        note_finish(client, rotations, find_operator(), _now_ms())
    _rekey_vault(read, keyring, is_final=True)
    path = read.config.secrets_path
    drop_personal_keys(path, keyring.personal_keys[0].id)
    typer.echo(AFTER.format(path=path))
    if any(rotation.old.id == FIRST_PERSONAL_ID for rotation in rotations):
        typer.echo(f"  - {DERIVED}")


def _read_rotations(read: Settings, keyring: Keyring) -> list[Rotation]:
    with open_client(read.config, keyring, "writer") as client:
        return read_rotation(client, keyring)


def _rekey_vault(read: Settings, keyring: Keyring, *, is_final: bool) -> None:
    """Name the vault anew. `is_final`: wait until the store has it, and take out what the old keys sealed."""
    with open_client(read.config, keyring, "writer") as client, _Progress() as progress:
        unreadable = rekey_vault(read.config, keyring, client, progress)
        if unreadable:
            progress.say(f"{unreadable} values of the vault cannot be opened, and are left out")
        if is_final:
            wait_for_vault(keyring, client, progress, unreadable)
            clear_vault(client, find_target(read.config), keyring)


def _show(rotations: list[Rotation]) -> None:
    for rotation in rotations:
        typer.echo(f"rotation from {rotation.old.id} to {rotation.new.id}{_say_since(rotation.new.made_at_ms)}")
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right")
        table.add_column()
        table.add_row(f"{rotation.known:,}", "personal identifiers that the old key named")
        table.add_row(f"{rotation.seen:,}", "of them seen under the new key: they keep their thread")
        table.add_row(f"{rotation.vaulted:,}", "of them in the vault: they keep it too")
        table.add_row(f"{rotation.lost:,}", "neither: they lose it when the old key goes")
        Console(highlight=False).print(table)
        late_s = rotation.find_late_s(_now_ms())
        if late_s is not None:
            typer.echo(
                f"{late_s} s ago a name came under the old key alone: some host does not know the new one", err=True
            )
        if rotation.lost:
            typer.echo(
                f"{rotation.lost:,} would begin a new person when they come back: wait longer, or accept it", err=True
            )


def _say_since(ms: int) -> str:
    return f" since {datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC" if ms else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Progress:
    """A bar on a terminal, a line at the end elsewhere. A Watcher."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False)

    def begin(self, total: int) -> None:
        """See Watcher."""
        self._task = self._bar.add_task("naming the vault anew", total=total)
        if total and not self._console.is_terminal:
            self.say(f"naming {total:,} values of the vault anew")

    def reach(self, count: int) -> None:
        """See Watcher."""
        if self._task is not None:
            self._bar.update(self._task, completed=count)

    def wait_for_spool(self, waiting_bytes: int) -> None:
        """Hear how many bytes of the spool are not loaded yet."""
        if self._task is None:
            self._task = self._bar.add_task("", total=None)
        self._bar.update(self._task, description=f"waiting for the loader: {waiting_bytes:,} bytes of the spool left")

    def wait(self, left: int) -> None:
        """See Watcher."""
        if self._task is not None:
            self._bar.update(self._task, description=f"waiting for the loader: {left:,} left")
