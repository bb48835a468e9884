"""Where a role's time goes: the real process under the interpreter's own profiler, while it has all it can do.

The profiler slows Python functions more than what is written in C: read shares, and compare functions with each other
rather than with a clock. It sees the main thread; the spool's writer, which mostly waits for the disk, has its own.
"""

from __future__ import annotations

import pstats
import signal
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.ingest.generator import run_wrk
from bench.ingest.loading import Loading
from bench.ingest.rounds import CONNECTIONS, GENERATOR, SERVER, Bench
from collector.role_process import MODULE

WAITING = ("poll", "select.epoll", "acquire", "lock", "sleep", "recv_into")
STARTING = (
    "importlib",
    "re/_",
    "builtins.compile",
    "marshal.loads",
    "_imp.",
    "io.open_code",
    "posix.stat",
    "exec>",
    "eval>",
)
"""What a process does before it works; it would bury the rest."""


@dataclass(frozen=True, slots=True)
class Line:
    """One function: seconds in itself and with all that it called, and how often it was called."""

    function: str
    self_s: float
    total_s: float
    calls: int


def profile_role(bench: Bench, role: str) -> list[Line]:
    """Run the role under load and return its functions, the dearest first."""
    path = bench.folder / "profile"
    program = ("-m", "cProfile", "-o", str(path), "-m", MODULE)
    if role == "web":
        web = bench.collector.start_web(SERVER, program=program)
        bench.step("web under the profiler")
        run_wrk(web.port, bench.one, connections=CONNECTIONS, seconds=bench.seconds, core=GENERATOR)
        bench.collector.running.pop("web").stop(signal.SIGINT)
    else:
        Loading(bench).run_profiled(program)
    return read_profile(path)


def read_profile(path: Path) -> list[Line]:
    """Read a profile. Waiting and starting are left out."""
    entries: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    lines = []
    for (file, number, name), (_, calls, self_s, total_s, _) in entries.items():
        where = name if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{number} {name}"
        is_waiting = any(f"'{word}'" in name or name == word for word in WAITING)
        if not is_waiting and not any(word in where for word in STARTING):
            lines.append(Line(where, self_s, total_s, calls))
    return sorted(lines, key=lambda line: -line.self_s)


def show_profile(console: Console, role: str, lines: list[Line], *, most: int = 40) -> None:
    """Print where the time goes: each function with its own time and with what it called."""
    total = sum(line.self_s for line in lines)
    table = Table(title=f"{role}: {total:.1f} s under the profiler", title_justify="left")
    for words in ("self", "share", "with callees", "calls"):
        table.add_column(words, justify="right")
    table.add_column("function")
    for line in lines[:most]:
        share = line.self_s / total if total else 0.0
        table.add_row(f"{line.self_s:.3f} s", f"{share:.1%}", f"{line.total_s:.2f} s", f"{line.calls:,}", line.function)
    console.print(table)
