"""`tagstitch adapter list|describe|test|fetch|sync`: sources of customer records, as `use.toml` configures them."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import msgspec
import typer

from collector.adapters.configuration import AdapterConfig
from collector.adapters.contract import Described, Record
from collector.adapters.opening import Place, describe_adapter, make_place, open_adapter
from collector.adapters.trial import look_at, try_adapter
from collector.commands.adapter_sync import sync
from collector.commands.options import ConfigOption, DataOption, JsonOption, SetOption, open_secrets, read_running
from collector.commands.tables import make_table, open_console, print_json
from collector.config import Settings
from collector.errors import AdapterError, AdapterReason, ConfigError
from collector.use.config import FILE_NAME, UseConfig, read_use
from collector.use.page_names import name_for_page

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The adapter, as `adapter list` shows it.")]
KeyOption = Annotated[
    str,
    typer.Option("--key", metavar="KEY", help="Whose record; -: read from standard input, so that no history has it."),
]
MASK = "•••"
NONE_YET = """no adapter is configured. One for a file of customers is these lines in {file}:

    [adapters.crm]
    kind = "files"
    path = "customers.csv"
    key = "customer_id"
    [adapters.crm.fields]
    first_name = "text"
    tier = {{ type = "text", personal = false, min_assurance = 2 }}

docs/adapters.md has an example of each kind."""

adapter_app = typer.Typer(
    help="See and try the sources of customer records: files, databases, REST, ClickHouse, classes of your own.",
    no_args_is_help=True,
)
adapter_app.command()(sync)


@adapter_app.command(name="list")
def list_adapters(
    data: DataOption = None, config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the adapters that are configured. No source is asked.

    \b
        tagstitch adapter list
        tagstitch adapter list --set use_file=/etc/tagstitch/use.toml
    """
    use, place = _read(data, config, settings)
    table = make_table("adapter", "kind", "key", "space", "fields", "can", "what it is")
    for one in use.adapters.values():
        try:
            described, problem = describe_adapter(one, place), ""
        except ConfigError as error:
            described, problem = Described(one.name, one.key_kind, one.fields), str(error)
        if as_json:
            print_json({**_sum_up(one, described), "problem": problem})
            continue
        fields = ", ".join(field.name for field in described.fields)
        can = _say_can(described)
        table.add_row(one.name, one.kind, one.key_kind, one.space, fields, can, problem or one.sentence)
    if as_json:
        return
    if not use.adapters:
        typer.echo(NONE_YET.format(file=use.path or FILE_NAME))
        return
    open_console().print(table)


@adapter_app.command()
def describe(
    name: NameArgument,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an adapter's fields: their types, who may see them, and for how long they are kept. No source is asked.

    `tier` of level 2 is there for whoever followed a signed link; of level 3, for whoever signed in. A personal field
    is shown in clear to holders of a key with the scope pii:read alone.
    """
    use, place = _read(data, config, settings)
    one = _find(use, name)
    described = describe_adapter(one, place)
    if as_json:
        said = {**_sum_up(one, described), "bounds": one.bounds}
        print_json({**said, "fields": described.fields})
        return
    console, bounds = open_console(), one.bounds
    console.print(f"{one.name}: {one.sentence or 'a source of customer records'}")
    console.print(f"{one.kind}, by {one.key_kind}, in space {one.space}; it can {_say_can(described)}")
    rate = f", {bounds.rate_per_s:g} requests a second at most" if bounds.rate_per_s else ""
    console.print(
        f"waited for {bounds.deadline_s * 1_000:g} ms, by pages for {bounds.page_deadline_s * 1_000:g} ms; given up"
        f" after {bounds.timeout_s:g} s; while it errs, values are"
        f" given for {bounds.stale_s:g} s more{rate}"
    )
    table = make_table("field", "type", "personal", "from level", "on pages", "fresh for", "what it is")
    for field in described.fields:
        personal = "yes" if field.personal else "no"
        level, fresh = str(field.min_assurance), f"{field.ttl_s:g} s"
        page = name_for_page(one, field) if field.page else "no"
        table.add_row(field.name, field.type, personal, level, page, fresh, field.sentence)
    console.print(table)
    console.print(f"try it: tagstitch adapter test {one.name} --key …")


@adapter_app.command(name="test")
def try_one(
    name: NameArgument,
    key: KeyOption,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a source for one record, and say field by field what works, with cause and fix. No value is shown.

    Ends with status 1 where something does not work.

    \b
        tagstitch adapter test crm --key 4711
        echo ada@example.org | tagstitch adapter test mailing --key -
    """
    use, place = _read(data, config, settings)
    one = _find(use, name)
    findings = asyncio.run(try_adapter(one, place, _read_key(key)))
    if as_json:
        for finding in findings:
            print_json(finding)
    else:
        table = make_table("what", "how it is", "cause", "fix")
        for finding in findings:
            table.add_row(finding.what, finding.state, finding.cause, finding.fix)
        open_console().print(table)
    raise typer.Exit(int(any(finding.is_bad for finding in findings)))


@adapter_app.command()
def fetch(
    name: NameArgument,
    key: KeyOption,
    data: DataOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    fields: Annotated[str, typer.Option("--fields", metavar="A,B", help="These fields alone. [default: all]")] = "",
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="Show personal values as well; else they are masked.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one record of a source, past every cache. Personal values are masked.

    \b
        tagstitch adapter fetch crm --key 4711 --fields tier,points
    """
    use, place = _read(data, config, settings)
    one = _find(use, name)
    described, record = asyncio.run(_fetch(one, place, _read_key(key), fields))
    if record is None:
        typer.echo(f"tagstitch: {one.name} has no record with this {one.key_kind}", err=True)
        raise typer.Exit(1)
    wanted = _choose(described, fields)
    masked = [] if show_personal else [f.name for f in described.fields if f.personal and f.name in record.values]
    unfit = {name: str(AdapterReason.BAD_ANSWER) for name in wanted if name in record.unfit}
    if as_json:
        shown = {name: record.values[name] for name in wanted if name in record.values and name not in masked}
        hidden = [name for name in wanted if name in masked]
        print_json({"adapter": one.name, "values": shown, "masked": hidden, "unavailable": unfit})
        return
    table = make_table("field", "value")
    for field in wanted:
        if field in record.values:
            table.add_row(field, MASK if field in masked else _show(record.values[field]))
        else:
            table.add_row(field, f"does not fit its type: tagstitch adapter test {one.name}" if field in unfit else "∅")
    open_console().print(table)


def _read(data: Any, config: Any, settings: Any) -> tuple[UseConfig, Place]:
    read: Settings = read_running(data, config, settings)
    return read_use(read.config), make_place(read.config, lambda: open_secrets(read))


def _find(use: UseConfig, name: str) -> AdapterConfig:
    if name not in use.adapters:
        known = ", ".join(use.adapters) or "none"
        raise ConfigError(f"adapters.{name}", str(use.path or FILE_NAME), f"there is no such adapter; there is {known}")
    return use.adapters[name]


def _read_key(key: str) -> str:
    key = sys.stdin.readline().strip() if key == "-" else key
    if not key:
        raise typer.BadParameter("is empty", param_hint="--key")
    return key


def _choose(described: Described, fields: str) -> list[str]:
    """Return the fields that are wanted, as the adapter orders them. Raises BadParameter for one that it has not."""
    known = [field.name for field in described.fields]
    asked = {name.strip() for name in fields.split(",") if name.strip()} or set(known)
    if unknown := asked - set(known):
        raise typer.BadParameter(f"there is no {min(unknown)}; there is {', '.join(known)}", param_hint="--fields")
    return [name for name in known if name in asked]


async def _fetch(one: AdapterConfig, place: Place, key: str, fields: str) -> tuple[Described, Record | None]:
    adapter = open_adapter(one, place)
    try:
        described = adapter.describe()
        names = frozenset(_choose(described, fields))
        await look_at(adapter)
        async with asyncio.timeout(one.bounds.timeout_s):
            return described, await adapter.retrieve(key, names, one.bounds.timeout_s)
    except TimeoutError:
        message = f"{one.name} did not answer within {one.bounds.timeout_s:g} s"
        raise AdapterError(AdapterReason.TIMEOUT, message) from None
    finally:
        await adapter.close()


def _sum_up(one: AdapterConfig, described: Described) -> dict[str, Any]:
    return {
        "adapter": one.name,
        "kind": one.kind,
        "key_kind": one.key_kind,
        "space": one.space,
        "sentence": one.sentence,
        "fields": [field.name for field in described.fields],
        "can_search": described.can_search,
        "can_scan": described.can_scan,
    }


def _say_can(described: Described) -> str:
    can = ["find", *(["search"] if described.can_search else []), *(["scan"] if described.can_scan else [])]
    return ", ".join(can)


def _show(value: Any) -> str:
    """Return a value as a person reads it; what could steer a terminal as its escape."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
