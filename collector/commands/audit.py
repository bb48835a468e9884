"""`tagstitch audit`: what was done by whom, and whether the log of it is as it was written."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from collector.commands.identity_change import open_console, open_desk, print_json
from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_secrets, read_running
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import open_client

audit_app = typer.Typer(no_args_is_help=True, help="What was done by whom, and whether that log is whole.")


@audit_app.command("log")
def log(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: Annotated[str, typer.Option("--space", metavar="NAME", help="Identity space.")] = DEFAULT_SPACE,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="Entries to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show merges, erasures, exports, keys and settings that were changed, by whom, the newest first.

    Who looked at whose profile is shown by `tagstitch profile reads`.

    \b
        tagstitch audit log --limit 100
    """
    with open_desk(read_running(data, config, settings), space, "") as (_, repairs):
        entries = repairs.list_entries(limit)
    if as_json:
        for entry in entries:
            print_json(entry)
        return
    from collector.commands.identity_screen import draw_log

    draw_log(open_console(), entries)


@audit_app.command("verify")
def verify(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """Go through the whole audit log: that each entry is as it was written, in its order, and that none is missing.

    Entries and looks at profiles enter the chain within seconds. What is erased with a person leaves its link, which is
    counted. Keep the head somewhere else from time to time: who has the secrets could make all of it again, and not the
    one that you kept. Ends with status 1 where anything is wrong.

    \b
        tagstitch audit verify
        tagstitch audit verify --json >> heads.jsonl
    """
    from collector.privacy.chain import verify_chain

    read = read_running(data, config, settings)
    keyring = open_secrets(read)
    now_ms = time.time_ns() // 1_000_000
    console = open_console()
    with open_client(read.config, keyring, "writer") as client:
        if sys.stderr.isatty():
            with console.status("…") as status:
                verdict = verify_chain(client, keyring, now_ms, lambda link: status.update(f"{link:,} links"))
        else:
            verdict = verify_chain(client, keyring, now_ms)
    if as_json:
        print_json({"at_ms": time.time_ns() // 1_000_000, "sound": verdict.is_sound, **_fields(verdict)})
    else:
        typer.echo(f"{verdict.links:,} entries and looks, {verdict.sealed:,} seals, head {verdict.head[:16]}…")
        typer.echo(f"{verdict.gone:,} of them went with people who were erased, or are over their time")
        if verdict.waiting:
            typer.echo(f"{verdict.waiting:,} are not in the chain yet: role govern adds them within seconds")
        for word, found in (
            ("do not fit the link before them", verdict.broken),
            ("have no entry any more, or one that was changed", verdict.missing),
            ("are seals that this instance has not signed", verdict.unsigned),
        ):
            if found:
                typer.echo(f"WRONG: {len(found):,} links {word}, the first is {found[0]:,}")
        typer.echo("the log is whole" if verdict.is_sound else "the log is not as it was written")
    raise typer.Exit(0 if verdict.is_sound else 1)


def _fields(verdict: object) -> dict[str, object]:
    import msgspec

    return msgspec.structs.asdict(verdict)  # type: ignore[arg-type]
