"""Lists of recipients: read, tagged and written, whatever their form; and what of them is refused."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import ListFileError, WorkersFailed
from collector.keyring import make_keyring
from collector.links import files, tagging
from collector.links.files import ListReader, ListWriter, find_delimiter, find_form
from collector.links.minting import Mailing
from collector.links.tagging import Outlet, Plan, Tagger, make_outlet, tag_batches
from collector.links.token import LinkToken, read_link
from collector.sites.book import DEFAULT_KINDS

NOW_S = 1_800_000_000
KEYRING = make_keyring()
URL = "https://shop.example/spring?colour=red#top"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=12)


def make_plan(*outlets: Outlet, **more: object) -> Plan:
    """A plan of one mailing."""
    return Plan(KEYRING, Mailing(campaign="spring", **more), outlets or (make_outlet("link", url=URL),), NOW_S)


def tag_file(
    source: Path, out: Path, *, column: int = 0, consent: int = -1, workers: int = 1, plan: Plan | None = None
):
    """Tag a file; return the refused rows with their lines."""
    plan = plan or make_plan()
    refused = []
    with (
        ListReader(source, find_form(source)) as reader,
        ListWriter(out, find_form(out), reader, [outlet.column for outlet in plan.outlets]) as writer,
    ):
        for batch, tagged in tag_batches(plan, reader.read(), 0, consent, workers):
            writer.write(batch, tagged.columns)
            refused += [(batch.lines[row.place], row.word) for row in tagged.refused]
    return refused


def read_csv(data: bytes) -> list[list[str]]:
    """The rows of a file."""
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def read_token(text: str) -> LinkToken:
    """What a link's token says."""
    token = read_link(KEYRING, text.partition("lt=")[2].partition("#")[0] or text, NOW_S)
    assert isinstance(token, LinkToken)
    return token


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), max_size=20)),
    st.sampled_from(files.DELIMITERS),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_cells_stay_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, mark: bool, end: str
) -> None:
    """Whatever stands in a list comes out again, with one more cell in each row; the mark and the line ends too."""
    folder = tmp_path_factory.mktemp("cells")
    names = ["id", *(f"c{n}" for n in range(1, len(rows[0]) if rows else 1))]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows([names, *rows])
    (folder / "list.csv").write_bytes(("\ufeff" * mark + text.getvalue()).encode())
    with (
        ListReader(folder / "list.csv", "csv", delimiter) as reader,
        ListWriter(folder / "out.csv", "csv", reader, ["link"]) as writer,
    ):
        for batch in reader.read():
            writer.write(batch, [["L"] * len(batch.lines)])
    written = (folder / "out.csv").read_bytes().decode()
    assert written.startswith("\ufeff") == mark
    assert written.count("\r\n") == (0 if end == "\n" else text.getvalue().count("\r\n"))
    found = list(csv.reader(io.StringIO(written.removeprefix("\ufeff"), newline=""), delimiter=delimiter))
    assert found == [[*names, "link"], *([*row, "L"] for row in rows)]


@pytest.mark.parametrize(
    ("header", "sign"),
    [("id,name", ","), ("id;name;town", ";"), ("id\tname", "\t"), ("id|name", "|"), ("id", ","), ('"a,b,c";id', ";")],
)
def test_delimiter(header: str, sign: str) -> None:
    """Found in the header, outside quotes."""
    assert find_delimiter(header) == sign


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no header"),
        (b",,\n1,2,3\n", "no header"),
        (b"id,name\n1,caf\xe9\n", "line 2 is not UTF-8"),
        ("id\n1\n".encode("utf-16"), "not UTF-8"),
        (b'id,name\n1,a\n2,"b\n3,c\n', "line 4: a quotation mark is opened"),
        (b'id,name\n1,"a"b\n', "line 2: a quotation mark stands"),
        (b"id,name\n1,a,b\n", "line 2 has 3 cells"),
        (b"id\r1\r2\r", "old Macs"),
        (b"x" * (files.MAX_LINE_BYTES + 10), "is it a list?"),
        (b'id,name\n1,"' + b"x\n" * 100_000, "is opened"),
    ],
)
def test_what_is_no_list(tmp_path: Path, data: bytes, words: str) -> None:
    """An error names the line and what to do; half a list is not left behind."""
    (tmp_path / "list.csv").write_bytes(data)
    with pytest.raises(ListFileError, match=words):
        tag_file(tmp_path / "list.csv", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_damaged_files(tmp_path: Path) -> None:
    """A cut gzip, something else of that name, and no Parquet."""
    packed = gzip.compress(b"id\n" + b"".join(b"%d\n" % n for n in range(9999)))
    for name, data in (("a.csv.gz", packed[:-20]), ("b.csv.gz", b"id\n1\n"), ("c.parquet", b"PAR1 no")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ListFileError, match=r"damaged|no Parquet"):
            tag_file(tmp_path / name, tmp_path / "out.csv")
    with pytest.raises(ListFileError, match="cannot be read"):
        ListReader(tmp_path / "none.csv", "csv")
    assert not (tmp_path / "out.csv").exists()


def test_values_that_are_no_text(tmp_path: Path) -> None:
    """Parquet says that a column is text or time, whether it is or not: such a list is refused by its column."""
    offsets, letters = pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    no_text = pa.Array.from_buffers(pa.string(), 1, [None, offsets, letters])
    for column in (no_text, pa.array([9 * 10**14], pa.timestamp("s"))):
        pq.write_table(pa.table({"id": column}), tmp_path / "list.parquet")
        with pytest.raises(ListFileError, match="column 'id'"):
            tag_file(tmp_path / "list.parquet", tmp_path / "out.parquet")
        assert [path.name for path in tmp_path.iterdir()] == ["list.parquet"]


def test_what_is_read_at_once_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes as well as by rows: long rows make short batches, and a row of endless cells is no row."""
    monkeypatch.setattr(files, "BATCH_BYTES", 1000)
    (tmp_path / "long.csv").write_text("id,text\n" + f"1,{'x' * 400}\n" * 20)
    with ListReader(tmp_path / "long.csv", "csv") as reader:
        sizes = [len(batch.lines) for batch in reader.read()]
    assert sum(sizes) == 20
    assert max(sizes) <= 3
    (tmp_path / "endless.csv.gz").write_bytes(gzip.compress(b"id,text\n1" + b',"a\nb"' * 10_000))
    with pytest.raises(ListFileError, match="row that never ends"):
        tag_file(tmp_path / "endless.csv.gz", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_file_that_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a draft."""
    (tmp_path / "list.csv").write_text("id\n4711\n")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "TextIOWrapper", refuse)
    with pytest.raises(ListFileError, match="No space left"):
        tag_file(tmp_path / "list.csv", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    """Not by accident; and its links are for its owner alone."""
    (tmp_path / "list.csv").write_text("id\n4711\n")
    tag_file(tmp_path / "list.csv", tmp_path / "out.csv")
    before = (tmp_path / "out.csv").read_bytes()
    with pytest.raises(ListFileError, match="--force"):
        tag_file(tmp_path / "list.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == before
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600


def test_refused_rows_keep_their_place(tmp_path: Path) -> None:
    """With the plain address, and their line; a consent that cannot be read is refused too."""
    (tmp_path / "list.csv").write_text('id,name,ok\n4711,"A\nB",yes\nguest,C,yes\n,D,no\n4712,E,perhaps\n4713,F,\n')
    refused = tag_file(tmp_path / "list.csv", tmp_path / "out.csv", consent=2)
    assert refused == [(4, "nobody"), (5, "empty"), (6, "value")]
    links = [row[-1] for row in read_csv((tmp_path / "out.csv").read_bytes())][1:]
    assert [link == URL for link in links] == [False, True, True, True, False]
    assert [read_token(links[place]).consent for place in (0, 4)] == ["m", ""]
    assert all(link.startswith("https://shop.example/spring?colour=red") and link.endswith("#top") for link in links)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """Columns keep name, type and order; whole numbers that a table made floats of are whole again."""
    table = pa.table(
        {"n": pa.array([4711.0, None, 12.0]), "day": pa.array([1, 2, 3], pa.date32()), "t": ["x", None, "z"]}
    )
    pq.write_table(table, tmp_path / "list.parquet")
    assert tag_file(tmp_path / "list.parquet", tmp_path / "out.parquet") == [(2, "empty")]
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(["n", "day", "t"]).equals(table)
    assert [read_token(out["link"][place].as_py()).reference for place in (0, 2)] == ["4711", "12"]
    tag_file(tmp_path / "out.parquet", tmp_path / "out.csv.gz", plan=make_plan(make_outlet("again")))
    rows = read_csv(gzip.decompress((tmp_path / "out.csv.gz").read_bytes()))
    assert rows[0] == ["n", "day", "t", "link", "again"]
    assert rows[1][:3] == ["4711", "1970-01-02", "x"]
    assert read_token(rows[3][4]).reference == "12"


def test_csv_to_parquet(tmp_path: Path) -> None:
    """All columns are texts then: a customer number keeps its zeros."""
    (tmp_path / "list.csv").write_text("id,name\n0071,A\n")
    tag_file(tmp_path / "list.csv", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist()[0]["id"] == "0071"


def test_workers_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several processes the rows stay where they are, refused ones too."""
    monkeypatch.setattr(files, "CSV_ROWS", 7)
    ids = ["guest" if n % 10 == 3 else str(1000 + n) for n in range(100)]
    (tmp_path / "list.csv").write_text("id\n" + "\n".join(ids) + "\n")
    refused = tag_file(tmp_path / "list.csv", tmp_path / "out.csv", workers=2)
    assert refused == [(n + 2, "nobody") for n in range(3, 100, 10)]
    rows = read_csv((tmp_path / "out.csv").read_bytes())[1:]
    assert [row[0] for row in rows] == ids
    assert all(row[1] == URL or read_token(row[1]).reference == row[0] for row in rows)


def die(references: list[str], consents: list[str] | None) -> None:
    """End a worker's process, as a kernel short of memory does."""
    os._exit(9)


def test_a_worker_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No list is left behind, and no process."""
    monkeypatch.setattr(tagging, "_tag_in_worker", die)
    (tmp_path / "list.csv").write_text("id\n4711\n")
    with pytest.raises(WorkersFailed, match="--workers 1"):
        tag_file(tmp_path / "list.csv", tmp_path / "out.csv", workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_named_links_and_pseudonyms() -> None:
    """A column for each link; of addresses the token has a pseudonym, and the ledger gets the same."""
    outlets = (
        make_outlet("link_a", link="a", url=URL),
        make_outlet("lt", link="b"),
        make_outlet("r", base="https://c/l/"),
    )
    plan = Plan(KEYRING, Mailing(campaign="c", identifier_kind=DEFAULT_KINDS[1]), outlets, NOW_S, keeps_said=True)
    tagged = Tagger(plan).tag(["Anna@shop.example", "4711"], ["yes", ""])
    first, second, third = (column[0] for column in tagged.columns)
    tokens = [read_token(first), read_token(second), read_token(third.removeprefix("https://c/l/"))]
    assert [token.link for token in tokens] == ["a", "b", ""]
    assert len({token.reference for token in tokens}) == 1
    assert tokens[0].is_pseudonym
    assert tagged.said == [(tokens[0].reference, "m")]
    assert "nna" not in "".join(map(str, tagged.columns))
    assert [(row.place, row.word) for row in tagged.refused] == [(1, "value")]
    assert [column[1] for column in tagged.columns] == [URL, "", ""]
