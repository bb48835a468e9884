"""The benchmark of tagged links: `python -m bench.links`, or `make bench-links`.

What one core makes of a list, how long tokens are, and what verifying one costs beside a plain HMAC of the same bytes.
Times are CPU times of this process, so that others on the machine change them little; what a disk needs is not in them.
Nothing here fails a build.
"""

from __future__ import annotations

import hmac
import json
import os
import platform
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import process_time
from typing import Annotated

import typer
from rich.console import Console

from bench.ingest.figures import Figure, Finding, Series
from bench.ingest.report import Measured, show, to_json
from bench.tag.machine import read_load, read_processor
from bench.tag.spread import compare, sum_up
from collector.keyring import Keyring, make_keyring
from collector.links.files import ListReader, ListWriter
from collector.links.minting import LinkMaker, Mailing
from collector.links.tagging import Plan, make_outlet, tag_batches
from collector.links.token import LinkKind, LinkToken, read_link
from collector.sites.book import DEFAULT_KINDS

NOW_S = 1_800_000_000
URL = "https://shop.example/spring?utm_campaign=spring-2026"
TYPICAL = Mailing(campaign="spring-2026", message="newsletter-12", link="top")
"""What a mailing says of itself; references are customer numbers of seven digits."""
ADDRESSES = Mailing(campaign="spring-2026", message="newsletter-12", link="top", identifier_kind=DEFAULT_KINDS[1])

MINT = Figure("mint_per_s", "rows of CSV to rows of CSV with their links, one process", "1/s", 30_000, 60_000, True)
MAKE = Figure("make_per_s", "tokens alone", "1/s", 80_000, 150_000, True)
TOKEN = Figure("token_chars", "a mailing's token", "chars", 120, 90)
SEALED = Figure("sealed_chars", "the same, sealed", "chars", 140, 110)
RECIPIENT = Figure("recipient_chars", "a recipient's token", "chars", 80, 60)
PSEUDONYM = Figure("pseudonym_chars", "a mailing's token of an e-mail address", "chars", 160, 140)
VERIFY = Figure("verify_us", "verifying a token and reading what it says", "us", 50, 25)
VERIFY_RATIO = Figure("verify_ratio", "the same against a plain HMAC-SHA256 of its bytes", "ratio", 20, 10)
FIGURES = (MINT, MAKE, TOKEN, SEALED, RECIPIENT, PSEUDONYM, VERIFY, VERIFY_RATIO)

app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command()
def bench_links(
    runs: Annotated[int, typer.Option(min=1, help="Rounds; figures are medians of them.")] = 7,
    rows: Annotated[int, typer.Option(min=100, help="Rows of the list, and tokens of a round.")] = 200_000,
    json_to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where the lists lie meanwhile.")] = None,
) -> None:
    """Measure minting, the length of tokens, and verifying them. Half a minute, on one core.

    [bold]Examples[/bold]

    make bench-links

    make bench-links ARGS="--runs 3 --rows 1000000"

    docs/benchmarks.md says what each figure means.
    """
    say = Console(stderr=json_to == Path("-"))
    load_before = read_load()
    with tempfile.TemporaryDirectory(prefix="tagstitch-bench-", dir=folder) as name, say.status("measuring …"):
        series = measure(Path(name), runs, rows)
    machine = f"{os.cpu_count()} cores · {read_processor()} · {platform.system()}"
    at = datetime.now(UTC).isoformat(timespec="seconds")
    measured = Measured(machine, load_before, read_load(), at, runs, find_all(series), series)
    show(say, measured)
    if json_to is not None:
        text = json.dumps(to_json(measured), indent=2) + "\n"
        if json_to == Path("-"):
            sys.stdout.write(text)
        else:
            json_to.write_text(text, encoding="utf-8")


def measure(folder: Path, runs: int, rows: int) -> Series:
    """Return every measure's values, one a round; lengths of tokens once for each of a thousand."""
    keyring = make_keyring()
    source, out = folder / "list.csv", folder / "tagged.csv"
    write_list(source, rows)
    found: dict[str, list[float]] = defaultdict(list)
    for name, mailing in (
        ("token_chars", TYPICAL),
        ("sealed_chars", Mailing(campaign="spring-2026", message="newsletter-12", link="top", sealed=True)),
        ("recipient_chars", Mailing(kind=LinkKind.RECIPIENT)),
    ):
        found[name] = [float(len(token)) for token in make_tokens(keyring, mailing, 1000)]
    found["pseudonym_chars"] = [float(len(token)) for token in make_tokens(keyring, ADDRESSES, 1000, "@mail.example")]
    tokens = make_tokens(keyring, TYPICAL, min(rows, 20_000))
    secret = keyring.link_keys[0].secret.encode()
    raw = [token.rpartition(".")[0].encode() for token in tokens]
    for _ in range(runs):
        found["mint_per_s"].append(rows / time_cpu(lambda: tag_list(keyring, source, out)))
        found["make_per_s"].append(rows / time_cpu(lambda: make_tokens(keyring, TYPICAL, rows)))
        verify_s = time_cpu(lambda: verify_all(keyring, tokens))
        plain_s = time_cpu(lambda: [hmac.new(secret, text, "sha256").digest() for text in raw])
        found["verify_us"].append(1e6 * verify_s / len(tokens))
        found["plain_hmac_us"].append(1e6 * plain_s / len(tokens))
    return dict(found)


def write_list(path: Path, rows: int) -> None:
    """Write a list of customers, as a mailing system exports one."""
    with path.open("w", encoding="utf-8") as file:
        file.write("customer_id,first_name,last_name,town,newsletter\n")
        file.writelines(f"{1_000_000 + n},Anna,Müller {n % 977},Zürich,yes\n" for n in range(rows))


def tag_list(keyring: Keyring, source: Path, out: Path) -> None:
    """Tag the list in this process, as `tagstitch links mint` does."""
    out.unlink(missing_ok=True)
    plan = Plan(keyring, TYPICAL, (make_outlet("link", link=TYPICAL.link, url=URL),), NOW_S)
    with ListReader(source, "csv") as reader, ListWriter(out, "csv", reader, ["link"]) as writer:
        for batch, tagged in tag_batches(plan, reader.read(), 0):
            writer.write(batch, tagged.columns)


def make_tokens(keyring: Keyring, mailing: Mailing, count: int, ending: str = "") -> list[str]:
    """Make tokens of customers' numbers, or of addresses with this ending."""
    make = LinkMaker(keyring, mailing, NOW_S).make
    return [make(f"{1_000_000 + n}{ending}") for n in range(count)]


def verify_all(keyring: Keyring, tokens: list[str]) -> None:
    """Verify and read them all. Raises ValueError where one of them is not true: then nothing was measured."""
    for token in tokens:
        if type(read_link(keyring, token, NOW_S)) is not LinkToken:
            raise ValueError("a token of this run is refused")


def time_cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process that it took."""
    began = process_time()
    work()
    return process_time() - began


def find_all(series: Series) -> list[Finding]:
    """Judge every figure; one that was not measured is open."""
    found: list[Finding] = []
    for figure in FIGURES:
        values = series.get(figure.name)
        if figure is VERIFY_RATIO and series.get("verify_us") and series.get("plain_hmac_us"):
            ratio = compare(series["verify_us"], series["plain_hmac_us"])
            found.append(Finding(figure, *((ratio.value, ratio.low, ratio.high) if ratio else (None,))))
        elif values:
            spread = sum_up(values)
            found.append(Finding(figure, median(values), spread.low, spread.high))
        else:
            found.append(Finding(figure, None))
    return found


if __name__ == "__main__":
    app(prog_name="make bench-links" if len(sys.argv) == 1 else "python -m bench.links")
