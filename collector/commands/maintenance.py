"""`tagstitch maintenance`: accept to disk, load nothing, while somebody works on the store."""

from __future__ import annotations

from pathlib import Path

import typer

from collector.commands.options import ConfigOption, DataOption, SetOption, read_options
from collector.errors import InstanceError
from collector.instance import MARKER
from collector.load.maintenance import is_maintenance, set_maintenance

maintenance_app = typer.Typer(
    no_args_is_help=True, help="Accept beacons to disk and load none, while you work on the store."
)


@maintenance_app.command("on")
def begin(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Load nothing from now on. Beacons are accepted and acknowledged as always; they wait in the spool.

    Holds until `tagstitch maintenance off`, over restarts too, for the loader of this data folder. The batch that is
    being sent at this moment is finished; `tagstitch status` says when the loader is paused.

    \b
        tagstitch maintenance on && tagstitch migrate && tagstitch maintenance off
    """
    _switch(_find_instance(data, config, settings), True)


@maintenance_app.command("off")
def end(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Load again: what waits in the spool first, in its order, each event once.

    \b
        tagstitch maintenance off
        tagstitch status            how far the loader is behind
    """
    _switch(_find_instance(data, config, settings), False)


@maintenance_app.command("status")
def show(data: DataOption = None, config: ConfigOption = None, settings: SetOption = None) -> None:
    """Say whether maintenance is on. Ends with status 1 where it is, so that a script can ask.

    \b
        tagstitch maintenance status || echo "nothing is loaded now"
    """
    is_on = is_maintenance(_find_instance(data, config, settings))
    typer.echo(f"maintenance is {'on: nothing is loaded' if is_on else 'off'}")
    raise typer.Exit(1 if is_on else 0)


def _find_instance(data: str | None, config: Path | None, settings: list[str] | None) -> Path:
    folder = read_options(data, config, settings).config.data_path
    if not (folder / MARKER).is_file():
        raise InstanceError(folder, "there is no instance here: name its folder with --data")
    return folder


def _switch(folder: Path, wanted: bool) -> None:
    try:
        changed = set_maintenance(folder, wanted)
    except OSError as error:
        raise InstanceError(folder, f"{error.strerror or error}: check its permissions") from error
    was = "" if changed else " already"
    typer.echo(f"maintenance is {'on' if wanted else 'off'}{was}")
