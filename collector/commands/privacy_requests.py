"""`tagstitch privacy erase`, and the requests of people: with their deadlines, approved, carried out, verified."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.commands.identity_change import open_console, print_json
from collector.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    SetOption,
    open_secrets,
    read_running,
)
from collector.commands.privacy_desk import (
    ActorOption,
    NamesArgument,
    RequestArgument,
    SpaceOption,
    open_officer,
    print_finding,
    read_names,
    show_finding,
)
from collector.errors import PrivacyError, PrivacyReason
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import open_client

if TYPE_CHECKING:
    from collector.config import Config
    from collector.privacy.certificate import Certificate
    from collector.privacy.desk import PrivacyDesk
    from collector.privacy.requests import DataRequest

STEPS = {
    "close": "tombstones: nothing of them comes in any more",
    "drain": "loading what lies in the spool",
    "part": "taking others apart from them",
    "counts": "writing what they did once more, of nobody",
    "delete": "writing files anew without them",
    "files": "looking through this host's files",
    "verify": "looking whether anything is left",
}


def erase(
    names: NamesArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Keep what they did as counts, of nobody: docs/privacy.md.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="Write the signed certificate there.")
    ] = None,
    actor: ActorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Erase everything that is held about somebody: in every table, in the spool, in what was refused.

    What comes late is refused from then on; who comes back is somebody new. Of a browser that several have used what
    the others did stays. It may be begun again whenever it was broken off. Erasing cannot be undone.

    \b
        tagstitch privacy erase customer=4711 --dry-run
        tagstitch privacy erase customer=4711 --certificate 4711.json
        tagstitch privacy erase customer=4711 --anonymise             numbers of visits and events stay as they are
        tagstitch privacy erase - --yes < leavers.txt                 many at once: files are written anew once
    """
    from collector.privacy.requests import ANONYMISE, ERASE, WAITING, Asked

    with open_officer(read_running(data, config, settings), space, actor) as desk:
        asked = read_names(names)
        found = desk.find(asked)
        if dry_run:
            print_finding(found, as_json)
            return
        if not yes:
            show_finding(found)
            typer.confirm("Erase all of this? It cannot be undone.", abort=True)
        request = desk.ask(ANONYMISE if anonymise else ERASE, Asked(tuple(asked)))
        if request.state == WAITING:
            typer.echo(f"it waits for approval by somebody else: tagstitch privacy approve {request.request_id}")
            return
        _erase(desk, request, certificate, as_json)


def run(
    request: RequestArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="Write the signed certificate there.")
    ] = None,
    actor: ActorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Carry out a request that is open: one that was approved, or that was broken off.

    \b
        tagstitch privacy requests
        tagstitch privacy run 5f0c9a52-…
    """
    with open_officer(read_running(data, config, settings), space, actor) as desk:
        _erase(desk, desk.read(request), certificate, as_json)


def list_requests(
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    every: Annotated[bool, typer.Option("--all", help="Also those that are done or were refused.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List requests, what is due first first, with the days that are left.

    \b
        tagstitch privacy requests
    """
    from collector.privacy.requests import CORRECT, FAILED, OPEN, RUNNING, WAITING

    with open_officer(read_running(data, config, settings), space, "") as desk:
        found = desk.list_requests(() if every else (WAITING, OPEN, RUNNING, FAILED))
        now_ms = desk.now_ms()
    if as_json:
        for request in found:
            print_json(request)
        return
    for request in found:
        due = "" if request.is_over else f"  {request.count_days_left(now_ms)} days left"
        what = f"{request.kind}  {request.state}{'/' + request.step if request.step and not request.is_over else ''}"
        typer.echo(f"{request.request_id}  {_write_day(request.requested_at_ms)}  {what}{due}  by {request.actor}")
        if request.reason:
            typer.echo(f"    {request.reason}")
        if request.kind == CORRECT and request.subjects:
            for name, value in request.asked.values.items():
                typer.echo(f"    {name}: {'take the correction back' if value is None else value}")
    if not found:
        typer.echo("no request is open")


def approve(
    request: RequestArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    actor: ActorOption = "",
) -> None:
    """Approve what somebody else wrote down: an erasure, which `tagstitch privacy run` then carries out, or a
    correction that the person wants, which is carried out by that.

    \b
        tagstitch privacy approve 5f0c9a52-…
    """
    with open_officer(read_running(data, config, settings), space, actor) as desk:
        approved = desk.approve(request)
    more = "corrected" if approved.is_over else f"tagstitch privacy run {approved.request_id}"
    typer.echo(f"approved by {approved.approved_by}: {more}")


def link(
    name: Annotated[
        str, typer.Argument(metavar="NAME|REQUEST", help="Of whom: KIND=VALUE; or the id of a request of kind link.")
    ],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    page: Annotated[
        str, typer.Option("--page", metavar="URL", help="Of the page. [default: as the setting public_url says]")
    ] = "",
    actor: ActorOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a link by which somebody sees what is held about them, without signing in: for a letter or a message.

    It opens once, within `privacy_link_hours`. Send it to an address that you hold for them, never to one that
    somebody has just told you.

    \b
        tagstitch privacy requests                         who has asked for one on /x/privacy
        tagstitch privacy link 5f0c9a52-…
        tagstitch privacy link customer=4711 --page https://www.shop.example/x/privacy
    """
    from collector.privacy.confirming import ask_for_link, make_link

    read = read_running(data, config, settings)
    with open_officer(read, space, actor) as desk:
        if "=" in name or name == "-":
            address = page or _find_page(read.config)
            request = ask_for_link(desk, read_names([name])[0], address)
            if request is None:
                raise PrivacyError(
                    PrivacyReason.UNKNOWN,
                    "nobody is tied to that by a sign-in or by your own systems, or a link is asked for already",
                )
            name = request.request_id
        made = make_link(desk, name)
    if as_json:
        print_json(made)
        return
    typer.echo(f"send to: {', '.join(made.send_to) or 'the address that you hold'}")
    typer.echo(f"until:   {_write_day(made.until_ms)}, once")
    typer.echo(made.url)


def _find_page(config: Config) -> str:
    if not config.public_url:
        raise PrivacyError(PrivacyReason.ARGUMENT, "say where the page is: --page https://…/x/privacy")
    origin = "/".join(config.public_url.split("/")[:3])
    return f"{origin}{config.beacon_path.rpartition('/')[0]}/privacy"


def refuse(
    request: RequestArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    space: SpaceOption = DEFAULT_SPACE,
    actor: ActorOption = "",
) -> None:
    """Refuse a request that has not begun. It names nobody any more from then on.

    \b
        tagstitch privacy refuse 5f0c9a52-…
    """
    with open_officer(read_running(data, config, settings), space, actor) as desk:
        desk.refuse(request)
    typer.echo("refused")


def verify(
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate that an erasure gave.")],
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a certificate: that nothing of it was changed, and that still nothing is held of whom it is about.

    Ends with status 1 where anything is found, or where the certificate is not what this instance has signed.

    \b
        tagstitch privacy verify 4711.json
    """
    import msgspec

    from collector.privacy.certificate import Certificate, is_genuine, is_ours
    from collector.privacy.deleting import count_left

    read = read_running(data, config, settings)
    try:
        said = msgspec.json.decode(certificate.read_bytes(), type=Certificate)
    except OSError as error:
        raise PrivacyError(PrivacyReason.ARGUMENT, f"{certificate}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise PrivacyError(PrivacyReason.ARGUMENT, f"{certificate} is no certificate of an erasure") from error
    keyring = open_secrets(read)
    if not is_ours(keyring, said):
        why = "another instance has signed it" if is_genuine(said) else "it was changed since it was signed"
        raise PrivacyError(PrivacyReason.CONFLICT, f"{certificate}: {why}")
    with open_client(read.config, keyring, "writer") as client:
        left = {place: rows for place, rows in count_left(client, said.request_id).items() if rows}
    if as_json:
        print_json({"request_id": said.request_id, "genuine": True, "left": left})
    elif left:
        for place, rows in left.items():
            typer.echo(f"{place}: {rows:,} rows")
    else:
        typer.echo(f"genuine, and nothing is held of whom it is about ({len(said.places)} places looked at)")
    raise typer.Exit(1 if left else 0)


def _erase(desk: PrivacyDesk, request: DataRequest, target: Path | None, as_json: bool) -> None:
    from collector.privacy.desk import Silent

    console = open_console()
    if as_json or not console.is_terminal:
        request, certificate = desk.erase(request, Silent())
    else:
        with console.status("…") as status:

            class Shown(Silent):
                """Shows the step."""

                step = ""

                def begin(self, step: str) -> None:
                    """Show it."""
                    self.step = STEPS[step]
                    status.update(self.step)

                def advance(self, done: int, total: int) -> None:
                    """Show how far it is."""
                    status.update(f"{self.step}  {done:,} of {total:,}")

            request, certificate = desk.erase(request, Shown())
    if target is not None:
        import msgspec

        target.write_bytes(msgspec.json.format(msgspec.json.encode(certificate), indent=2) + b"\n")
    if as_json:
        print_json(certificate)
    else:
        _show_certificate(certificate, target)


def _show_certificate(certificate: Certificate, target: Path | None) -> None:
    total = sum(place.rows for place in certificate.places)
    typer.echo(f"erased: {total:,} rows and files in {sum(1 for place in certificate.places if place.rows)} places")
    for place in certificate.places:
        if place.rows or place.blanked:
            typer.echo(f"{place.rows:>12,}  {place.place}")
    typer.echo("nothing is left: each place was asked again, and old files of the store are gone")
    typer.echo(
        f"certificate: {target}"
        if target
        else "keep the certificate: --certificate FILE, or privacy requests --all --json"
    )


def _write_day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
