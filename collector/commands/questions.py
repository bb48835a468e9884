"""`tagstitch questions`: ready questions with their SQL, listed and asked."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from collector.commands.options import (
    ConfigOption,
    DataOption,
    FormatOption,
    SetOption,
    open_secrets,
    read_running,
)
from collector.reports.questions import QuestionError, find_question, list_questions
from collector.store.client import open_client
from collector.store.sql import run_sql


def questions(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Which one to ask; without, all are listed.")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter; several times.")
    ] = None,
    form: FormatOption = "table",
    show_sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of asking.")] = False,
) -> None:
    """List ready questions about visitors, campaigns, funnels and customers, or ask one.

    tagstitch questions
    tagstitch questions top_pages --param site=shop
    tagstitch questions funnel --sql
    """
    if not name:
        table = Table(box=None, pad_edge=False)
        for title in ("question", "what it answers", "parameters"):
            table.add_column(title)
        for question in list_questions():
            table.add_row(question.name, question.question, ", ".join(p.name for p in question.parameters))
        Console(highlight=False).print(table)
        return
    question = find_question(name)
    if show_sql:
        typer.echo(question.sql)
        return
    given = {}
    for item in param or []:
        key, sign, value = item.partition("=")
        if not sign:
            raise QuestionError(f"parameter {item}: write it as NAME=VALUE")
        given[key.strip()] = value
    read = read_running(data, config, settings)
    bound = question.bind(given, datetime.now(UTC).date())
    with open_client(read.config, open_secrets(read), "reader") as client:
        run_sql(client, question.sql, form, sys.stdout, params=bound)
