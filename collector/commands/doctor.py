"""`tagstitch doctor`: what is right and what is not, each with its fix."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector.commands.options import ConfigOption, DataOption, SetOption, read_running
from collector.doctor.finding import Finding
from collector.doctor.instance import check_instance
from collector.doctor.look import cut_query, is_page_address
from collector.doctor.page import check_page
from collector.doctor.store import read_known_sites
from collector.errors import KeyringError
from collector.keyring import read_keyring

MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "bad": ("✗", "bold red"), "unknown": ("?", "cyan")}
SUBJECT_WIDTH = 16


def doctor(
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help="A page that should carry the tag.")] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")] = False,
) -> None:
    """Look at the instance and, with a URL, at a page; say what is wrong and how to mend it.

    The page is opened in a fresh Chromium, or its text is read where there is none. In this order: tag found, content
    policy, path on the site's own origin, cookies by whom and for how long, origin allowed, consent, event stored.
    Consent to analytics is given for this look, and one page view is sent. An automated browser sends it, so it is
    marked as a robot's and reports leave it out. Ends with status 1 where something is wrong.

        tagstitch doctor
        tagstitch doctor https://shop.example/
    """
    if url is not None and not is_page_address(url):
        raise typer.BadParameter("must be an address such as https://shop.example/", param_hint="URL")
    read = read_running(data, config, settings)
    report = _Report(as_json=as_json)
    report.begin(f"The instance in {read.config.data}")
    report.add("instance", check_instance(read.config))
    if url is not None:
        keyring = None
        with contextlib.suppress(KeyringError):
            keyring = read_keyring(read.config.secrets_path)
        sites = read_known_sites(read.config, keyring) if keyring is not None else None
        report.begin(f"The page {cut_query(url)}")
        report.add("page", check_page(url, read.config, keyring, sites))
    raise typer.Exit(report.end())


class _Report:
    """Prints findings as they come: a line each for scripts, aligned and wrapped for people."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, emoji=False, markup=False)
        self._is_wide = not self._console.is_terminal  # into a file or a pipe: a finding is a line
        self._counts: Counter[str] = Counter()

    def begin(self, title: str) -> None:
        """Say what is looked at from here on."""
        if not self._as_json:
            self._console.print(f"{'' if not self._counts else chr(10)}{_clean(title)}", style="bold", soft_wrap=True)

    def add(self, part: str, findings: Iterable[Finding]) -> None:
        """Print findings one by one, as soon as each is known."""
        spinner = self._console.status("looking …") if self._console.is_terminal and not self._as_json else None
        with spinner or contextlib.nullcontext():
            for finding in findings:
                self._counts[finding.verdict] += 1
                if self._as_json:
                    typer.echo(msgspec.json.encode({"part": part, **msgspec.structs.asdict(finding)}).decode())
                else:
                    self._show(finding)

    def end(self) -> int:
        """Print the sum and return the exit status."""
        wrong, doubtful = self._counts["bad"], self._counts["warning"]
        if not self._as_json:
            words = [f"{wrong} wrong"] if wrong else []
            words += [f"{doubtful} to look at"] if doubtful else []
            style = "bold red" if wrong else "yellow" if doubtful else "bold green"
            self._console.print(f"\n{', '.join(words) or 'All good'}.", style=style)
        return 1 if wrong else 0

    def _show(self, finding: Finding) -> None:
        mark, style = MARKS[finding.verdict]
        subject, text, fix = _clean(finding.subject), _clean(finding.text), _clean(finding.fix)
        if self._is_wide:
            typer.echo(f"  {mark} {subject:<{SUBJECT_WIDTH}} {text}{f' → {fix}' if fix else ''}")
            return
        row = Table.grid(padding=(0, 1))
        row.add_column(width=3, justify="right")
        row.add_column(width=SUBJECT_WIDTH)
        row.add_column()
        row.add_row(Text(mark, style=style), Text(subject, style=style), Text(text))
        if fix:
            row.add_row("", "", Text(f"→ {fix}", style="dim"))
        self._console.print(row)


def _clean(text: str) -> str:
    """Return the text as one printable line: parts of it were written by whoever made the page."""
    return "".join(char if char.isprintable() else " " for char in text)
