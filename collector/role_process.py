"""One role as the process that plays it: `python -m collector.role_process web --fd 7`, as the supervisor says it.

Who types `tagstitch web` comes through `commands.roles`, and ends in the same functions. The supervisor's way leaves
out what only the command line needs, which costs time and memory at each start. All settings come in the environment;
the ports of the instance come from its folder.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from collector.config import Config, load_settings
from collector.errors import TagstitchError
from collector.instance import follow_running
from collector.keyring import Keyring, read_keyring
from collector.logs import configure_logs

MODULE = "collector.role_process"


def play_web(config: Config, listener: socket.socket | int) -> None:
    """Serve HTTP on a listening socket, or the descriptor of one, until a signal."""
    from collector.web import serve  # late, here and below: a role does not load what the others need

    keyring = start_role("web", config)
    serve(config, keyring, socket.socket(fileno=listener) if isinstance(listener, int) else listener)


def play_load(config: Config) -> None:
    """Bring the spool into the store until a signal."""
    from collector.load.loader import run_loader

    run_loader(config, start_role("load", config), stop_on_signal())


def play_stitch(config: Config) -> None:
    """Keep the identity map until a signal."""
    from collector.identity.stitching.arrow_memory import set_arrow_up
    from collector.identity.stitching.stitch import run_stitch

    set_arrow_up()
    run_stitch(config, start_role("stitch", config), stop_on_signal())


def play_activate(config: Config) -> None:
    """Keep audiences, and send to webhooks, until a signal. Raises ConfigError where `use.toml` cannot be used."""
    from collector.audiences.role import run_activate
    from collector.use.config import read_use

    run_activate(config, start_role("activate", config), read_use(config), stop_on_signal())


def play_govern(config: Config) -> None:
    """Chain the audit log and carry out what people have asked for, until a signal."""
    from collector.privacy.role import run_govern

    run_govern(config, start_role("govern", config), stop_on_signal())


def start_role(role: str, config: Config) -> Keyring:
    """Set the logs up, tie the process to its supervisor where it has one, and read the secrets.

    Raises KeyringError where they are missing.
    """
    configure_logs(role, config.log_level, config.log_form)
    if os.environ.get("TAGSTITCH_SUPERVISED"):
        from collector.supervisor import end_with_parent

        end_with_parent()
    return read_keyring(config.secrets_path)


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sys.stdout.flush()
    return stop


def main(arguments: Sequence[str]) -> None:
    """Play the role that the arguments name. Ends the process with status 1 and one line where that fails."""
    role, *rest = arguments
    try:
        settings = load_settings({}, file=None)
        if role == "web":
            play_web(settings.config, int(rest[rest.index("--fd") + 1]))
        else:
            config = follow_running(settings.config, frozenset(settings.sources))
            roles = {"load": play_load, "stitch": play_stitch, "activate": play_activate, "govern": play_govern}
            roles[role](config)
    except TagstitchError as error:
        sys.stderr.write(f"tagstitch: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main(sys.argv[1:])
