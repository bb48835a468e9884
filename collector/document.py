"""The parts of docs/ that are made from the program: settings, commands and what each purpose of consent switches.

`make docs` writes them, tests compare.

Run as `python -m collector.document`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer.main

from collector.cli import make_app
from collector.config import ENVIRONMENT_PREFIX, FILE_NAME, describe_settings
from collector.purposes import SWITCHES, Purpose

PURPOSES_BEGIN, PURPOSES_END = "<!-- purposes: begin, made by make docs -->", "<!-- purposes: end -->"
DOCS = Path(__file__).parent.parent / "docs"


def render_settings() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "What a process needs to start. What belongs to a site (origins, consent, retention) is not here: it is a row",
        "in the store, see `tagstitch site --help`.",
        "",
        "A setting can be given by flag (`--set name=value`, some have a flag of their own), by environment",
        f"(`{ENVIRONMENT_PREFIX}NAME`) or in `{FILE_NAME}` (in the current folder, or named with `--config`). The flag",
        "is strongest, then the environment, then the file. A wrong name or value ends with one line that says",
        "where it stands.",
        "",
        "| setting | type | default | what it says |",
        "|---|---|---|---|",
    ]
    for row in describe_settings():
        default = f"`{row.default}`" if row.default else "empty"
        lines.append(f"| `{row.name}` | {row.type} | {default} | {_escape(row.sentence)} |")
    lines += [
        "",
        "The secrets are no settings: they are made on first start, in `secrets.json` of the data folder (mode 0600),",
        f"or come as the same JSON in `{ENVIRONMENT_PREFIX}SECRETS`. All hosts of an instance share them.",
        "",
    ]
    return "\n".join(lines)


def render_commands() -> str:
    """Return docs/commands.md."""
    root = typer.main.get_command(make_app())
    lines = [
        "# Commands",
        "",
        "`tagstitch COMMAND --help` says the same in the terminal. Every command takes `--data DIR` (the instance's",
        "folder), `--config FILE` and `--set NAME=VALUE` (see settings.md); they are left out below.",
        "",
    ]
    for name, command in _list_commands(root, ""):
        lines += [f"## tagstitch {name}", "", *_fence_examples(command.help or ""), ""]
        rows = [row for row in map(_describe_parameter, command.params) if row]
        if rows:
            lines += ["| option | what it does |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def render_privacy(page: str) -> str:
    """Return docs/privacy.md with its table of purposes made anew. `page`: the page as it stands."""
    head, _, rest = page.partition(PURPOSES_BEGIN)
    _, _, tail = rest.partition(PURPOSES_END)
    rows = ["| purpose | what happens only with it | seen to in | taken back |", "|---|---|---|---|"]
    rows += [
        f"| `{one.purpose}` | {one.what} | {', '.join(one.places)} | {one.backwards} |"
        for purpose in Purpose
        for one in SWITCHES
        if one.purpose is purpose
    ]
    return "".join((head, PURPOSES_BEGIN, "\n", "\n".join(rows), "\n", PURPOSES_END, tail))


# Typer brings its own copy of click, so commands and parameters are known by what they have.
def _list_commands(command: Any, path: str) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(path.strip(), command)]
    return [item for name in inner for item in _list_commands(inner[name], f"{path} {name}")]


def _fence_examples(text: str) -> list[str]:
    lines: list[str] = []
    inside = False
    for line in text.replace("\b", "").splitlines():
        if line.startswith("    ") != inside and line.strip():
            lines.append("```")
            inside = not inside
        lines.append(line.removeprefix("    "))
    return [*lines, "```"] if inside else lines


def _describe_parameter(parameter: Any) -> str:
    if parameter.name in {"data", "config", "settings", "help"} or getattr(parameter, "hidden", False):
        return ""
    if parameter.param_type_name == "argument":
        name = parameter.metavar or (parameter.name or "").upper()
    else:
        name = ", ".join([*parameter.opts, *parameter.secondary_opts])
        if parameter.metavar:
            name += f" {parameter.metavar}"
    sentence = getattr(parameter, "help", "") or ""
    return f"| `{_escape(name)}` | {_escape(sentence)} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    (DOCS / "settings.md").write_text(render_settings(), encoding="utf-8")
    (DOCS / "commands.md").write_text(render_commands(), encoding="utf-8")
    privacy = DOCS / "privacy.md"
    privacy.write_text(render_privacy(privacy.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
