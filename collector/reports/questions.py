"""The named questions: SQL files under `store/queries`, listed, and asked with bound parameters.

The head of a file is its documentation and its interface: the first line is the question, `Parameters` lists
`name: Type = default; meaning`, `Costs:` says what it reads. A default of a Date may be `today` or `N days ago`;
the day is passed in. Every question reads the v_* views alone, so that it works with a reader's credential.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from typing import Any

from collector.errors import TagstitchError
from collector.store.client import StoreClient

PARAMETER = re.compile(r"^--   (?P<name>\w+): (?P<type>[\w()]+)(?: = (?P<default>[^;]*))?; (?P<meaning>.+)$")


class QuestionError(TagstitchError):
    """There is no such question, or it was asked with wrong parameters."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: ClickHouse's type, the default as text (None: must be given), and what it means."""

    name: str
    type: str
    default: str | None
    meaning: str

    def read(self, value: object, today: date) -> object:
        """Return the value to bind. Text is read as the type asks. Raises QuestionError."""
        text = str(value).strip()
        try:
            if self.type == "Date":
                if isinstance(value, date):
                    return value
                if text == "today":
                    return today
                if ago := re.fullmatch(r"(\d+) days? ago", text):
                    return today - timedelta(days=int(ago[1]))
                return date.fromisoformat(text)
            if self.type.startswith("UInt"):
                return range(2 ** int(self.type[4:])).index(int(text))  # ValueError where it does not fit
            if self.type == "Array(String)":
                return list(value) if isinstance(value, list | tuple) else _split_list(text)
        except (ValueError, OverflowError):
            raise QuestionError(f"parameter {self.name}: {text[:80]!r} is no {self.type} ({self.meaning})") from None
        return text


@dataclass(frozen=True, slots=True)
class Question:
    """One named question as its file describes it."""

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    costs: str
    sql: str

    def bind(self, params: Mapping[str, object], today: date) -> dict[str, Any]:
        """Return all parameters, given ones and defaults. Raises QuestionError for missing and unknown ones."""
        names = {parameter.name for parameter in self.parameters}
        if unknown := sorted(params.keys() - names):
            raise QuestionError(
                f"question {self.name} has no parameter {unknown[0]}: it knows {', '.join(sorted(names))}"
            )
        bound = {}
        for parameter in self.parameters:
            value = params.get(parameter.name, parameter.default)
            if value is None:
                raise QuestionError(f"question {self.name} wants {parameter.name}: {parameter.meaning}")
            bound[parameter.name] = parameter.read(value, today)
        return bound


@cache
def list_questions() -> tuple[Question, ...]:
    """Return all questions by name."""
    folder = resources.files("collector.store").joinpath("queries")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(_read_question(f.name.removesuffix(".sql"), f.read_text(encoding="utf-8")) for f in files)


def find_question(name: str) -> Question:
    """Return the question of this name. Raises QuestionError that lists the names there are."""
    found = next((question for question in list_questions() if question.name == name), None)
    if found is None:
        known = ", ".join(question.name for question in list_questions())
        raise QuestionError(f"there is no question {name[:80]!r}: there are {known}")
    return found


def run_question(
    client: StoreClient, name: str, params: Mapping[str, object] | None = None, *, today: date
) -> list[dict[str, Any]]:
    """Ask a named question and return its rows. `today`: what the defaults count from.

    Raises QuestionError for a wrong name or parameter, StoreError where the store does.
    """
    question = find_question(name)
    return client.query_rows(question.sql, question.bind(params or {}, today))


def _read_question(name: str, text: str) -> Question:
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("--")]
    found = [match for line in head if (match := PARAMETER.match(line))]
    costs = " ".join(line.removeprefix("--").strip() for line in head).partition("Costs: ")[2]
    return Question(
        name=name,
        question=head[0].removeprefix("-- "),
        parameters=tuple(Parameter(m["name"], m["type"], m["default"], m["meaning"]) for m in found),
        costs=costs,
        sql="\n".join(line for line in lines if not line.startswith("--")),
    )


def _split_list(text: str) -> list[str]:
    """Read a list as people write it: a, b, or ['a', 'b']."""
    return [part.strip().strip("'\"") for part in text.strip("[]").split(",") if part.strip()]
