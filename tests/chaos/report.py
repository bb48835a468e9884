"""Writes the table of `docs/reliability.md` from what the chaos cases have noted: `python -m tests.chaos.report FILE`.

Everything outside the two marks of the page is written by hand and stays. A case that ran in several parts is one
line: its rounds are added, and it holds only where every part of it does. A case that did not run this time keeps its
line, with the date on which it did: so a part can be run alone.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
BEGIN = "<!-- written by make chaos: begin -->"
END = "<!-- written by make chaos: end -->"
HEAD = "| case | what is injected | rounds | outcome | seed | date |\n|---|---|---:|---|---:|---|\n"
_LINE = re.compile(r"^\| (?P<case>[^|]+) \|(?:[^|]+\|){5}$", re.MULTILINE)


def sum_up(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return a line of the table for each case, by the case's name."""
    cases: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        cases.setdefault(str(entry["case"]), []).append(entry)
    return {case: _make_line(case, parts) for case, parts in sorted(cases.items())}


def render(page: str, lines: Mapping[str, str]) -> str:
    """Return the page with these lines in its table, and those of cases that did not run this time kept."""
    before, _, rest = page.partition(BEGIN)
    table, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page lacks its marks {BEGIN} and {END}")
    kept = {match["case"]: match[0] + "\n" for match in _LINE.finditer(table) if match["case"] != "case"}
    rows = {**kept, **lines}
    return f"{before}{BEGIN}\n\n{HEAD}{''.join(rows[case] for case in sorted(rows))}\n{END}{after}"


def _make_line(case: str, parts: list[Mapping[str, Any]]) -> str:
    bad = [part for part in parts if not part["ok"]]
    said = list(dict.fromkeys(str(part["outcome"]) for part in (bad or parts)))
    outcome = f"**failed**, {len(bad)} of {len(parts)}: {'; '.join(said)}" if bad else "; ".join(said)
    cells = [
        case,
        "; ".join(dict.fromkeys(str(part["injected"]) for part in parts)),
        f"{sum(int(part['rounds']) for part in parts):,}",
        outcome,
        "; ".join(dict.fromkeys(str(part["seed"]) for part in parts)),
        max(str(part["date"]) for part in parts),
    ]
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |\n"


def main(name: str) -> None:
    """Read the notes in the file and write the page anew."""
    lines = Path(name).read_text(encoding="utf-8").splitlines()
    page = render(PAGE.read_text(encoding="utf-8"), sum_up(json.loads(line) for line in lines))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
