"""The ingest's benchmark: its traffic is what the edge takes, its arithmetic, its report, and a run of a second.

Nothing here asserts how fast anything is.
"""

from __future__ import annotations

import io
import json
import re
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.ingest.__main__ import app
from bench.ingest.figures import ACK_1, FIGURES, Figure, Finding, find_all
from bench.ingest.generator import GeneratorError, encode_request, run_wrk, write_requests
from bench.ingest.loading import Edge, write_segments
from bench.ingest.processes import Collector
from bench.ingest.profile import Line, read_profile, show_profile
from bench.ingest.report import Measured, show, to_json
from bench.ingest.rounds import Bench
from bench.ingest.shop import make_agents
from bench.ingest.traffic import Request, Traffic
from collector.keyring import make_keyring
from collector.spool.frames import scan_frames
from collector.spool.segments import parse_name

NOW_MS = 1_795_168_800_000
ROOT = Path(__file__).parent.parent.parent
KEYRING = make_keyring()


def make_requests(count: int, events_each: int = 0, seed: int = 1) -> list[Request]:
    """The first requests of an hour of traffic."""
    stream = Traffic(seed, KEYRING).make_stream(NOW_MS - 3_600_000, 3_600_000, 400, events_each)
    return list(islice(stream, count))


def test_traffic_is_a_function_of_its_seed() -> None:
    """The same seed gives the same bytes, another one others."""
    assert make_requests(200) == make_requests(200)
    assert make_requests(200) != make_requests(200, seed=2)


@pytest.mark.parametrize("events_each", [0, 1, 20])
def test_edge_takes_all_of_it(events_each: int) -> None:
    """Every beacon is accepted whole: no event, field or identifier is refused."""
    edge = Edge(KEYRING)
    requests = make_requests(300, events_each)
    assert all(edge.make_line(request) for request in requests)
    assert edge.refused == 0
    assert edge.events == sum(len(request.event_ids) for request in requests)
    if events_each:
        assert {len(request.event_ids) for request in requests} == {events_each}


def test_traffic_is_varied() -> None:
    """Events, bodies and visitors differ; some come back with a cookie, some sign in, and time never runs back."""
    requests = make_requests(2_000)
    ids = [event_id for request in requests for event_id in request.event_ids]
    assert len(ids) == len(set(ids))
    assert len({request.body for request in requests}) == len(requests)
    assert len({request.agent for request in requests}) > 50
    assert 0.5 < sum(bool(request.cookie) for request in requests) / len(requests) < 1
    assert any(b'"identify"' in request.body for request in requests)
    assert any(b"utm_source" in request.body for request in requests)
    times = [request.at_ms for request in requests]
    assert times == sorted(times)


def test_agents_are_many_and_distinct() -> None:
    """More than 500 browsers, each once, each with a weight."""
    agents = make_agents()
    assert len({agent for agent, _ in agents}) == len(agents) > 500
    assert all(weight > 0 for _, weight in agents)


def test_request_has_places_for_ids() -> None:
    """Each event id is a byte that the generator replaces; the length is that of the whole body."""
    request = make_requests(1, events_each=20)[0]
    head, _, body = encode_request(request).partition(b"\r\n\r\n")
    assert body.endswith(b"\0")
    assert body.count(b"\1") == 20
    assert f"Content-Length: {len(body) - 1 + 20 * 35}".encode() in head


def test_segments_hold_the_lines(tmp_path: Path) -> None:
    """What the loader is given are sealed segments with exactly these lines."""
    lines = [b'{"a":%d}' % number for number in range(5)]
    [path] = write_segments(tmp_path, lines)
    name = parse_name(path.name)
    assert name is not None and not name.is_open
    assert [stretch.line for stretch in scan_frames(path.read_bytes())] == lines


SERIES = {
    "ack_1_per_s": [400.0, 500.0, 600.0],
    "raw_1_per_s": [1000.0, 1000.0, 1200.0],
    "ack_1_per_cpu_s": [480.0, 490.0, 500.0],
    "raw_1_per_cpu_s": [1000.0, 1000.0, 1000.0],
    "half_p99_ms": [4.0, 11.0, 5.0],
    "loader_per_cpu_s": [30.0],
    "select_per_cpu_s": [100.0],
    "bytes_per_event": [59.0],
    "growth_1_64_per_s": [300.0],
    "growth_1_64_per_cpu_s": [350.0],
    "growth_1_64_p99_ms": [7.0],
}


def test_figures_are_medians_and_ratios() -> None:
    """A speed is our median over the bound's, with the quartiles of the rounds; the ratio by CPU time stands beside."""
    found = {finding.figure.name: finding for finding in find_all(SERIES)}
    ack = found["ack_1_ratio"]
    assert (ack.value, ack.low, ack.high, ack.note) == (0.5, 0.45, 0.5, "by CPU time 0.49")
    assert found["ack_p99_half_load_ms"].value == 5.0
    assert found["loader_ratio"].value == pytest.approx(0.3)
    assert [finding.figure for finding in find_all(SERIES)] == list(FIGURES)


@pytest.mark.parametrize(
    ("value", "more", "verdict"),
    [
        (0.5, True, "aim"),
        (0.49, True, "bound"),
        (0.32, True, "bound"),
        (0.31, True, "missed"),
        (0.32, False, "aim"),
        (0.5, False, "bound"),
        (0.51, False, "missed"),
        (None, True, "open"),
    ],
)
def test_verdict(value: float | None, more: bool, verdict: str) -> None:
    """Bound and aim are the least where more is better, the most where it is not; both belong to what is kept."""
    figure = Figure("x", "", "ratio", *((0.32, 0.5) if more else (0.5, 0.32)), more)
    assert Finding(figure, value).verdict == verdict


def report() -> Measured:
    """A small report."""
    return Measured("a machine", 3.0, 4.0, "2026-11-22T08:00:00+00:00", 3, find_all(SERIES), SERIES)


def test_report_as_json() -> None:
    """The JSON has every figure with its bound, aim and verdict, and every value as read."""
    data = json.loads(json.dumps(to_json(report())))
    assert data["figures"][0] == {
        "figure": ACK_1.name,
        "value": 0.5,
        "unit": "ratio",
        "bound": 0.32,
        "aim": 0.5,
        "more_is_better": True,
        "verdict": "aim",
        "quartiles": [0.45, 0.5],
        "note": "by CPU time 0.49",
    }
    assert data["series"]["half_p99_ms"]["values"] == [4.0, 11.0, 5.0]
    assert data["load_before"] == 3.0


def test_report_in_a_terminal() -> None:
    """The tables say every figure, growth, the machine, and warn of a busy one."""
    out = io.StringIO()
    show(Console(file=out, width=220, color_system=None), report())
    text = out.getvalue()
    for words in ("ack_1_ratio", "0.50", "≥ 0.32", "≤ 10.0 ms", "missed", "Growth", "a machine", "busy", "3 rounds"):
        assert words in text, words


def test_every_figure_is_explained() -> None:
    """docs/benchmarks.md explains every figure with its bound."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for figure in FIGURES:
        row = re.search(rf"^\| .*`{figure.name}`.*$", text, re.MULTILINE)
        assert row, figure.name
        assert f"{figure.bound:g}" in row[0], figure.name


def test_profile_names_functions(tmp_path: Path) -> None:
    """A profile is read by function, waiting left out, the dearest first."""
    import cProfile

    profiler = cProfile.Profile()
    profiler.runcall(lambda: sorted(range(1000), key=lambda number: -number))
    profiler.dump_stats(tmp_path / "profile")
    lines = read_profile(tmp_path / "profile")
    assert any("test_bench_ingest.py" in line.function for line in lines)
    assert [line.self_s for line in lines] == sorted((line.self_s for line in lines), reverse=True)
    out = io.StringIO()
    show_profile(Console(file=out, width=120), "web", [Line("accept/pipeline.py:70 accept", 1.5, 3.0, 1000)])
    assert "accept/pipeline.py:70 accept" in out.getvalue()


def test_missing_wrk_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without wrk the benchmark ends with one line that names the package."""
    monkeypatch.setattr("shutil.which", lambda _name: None)
    requests = write_requests(tmp_path / "one", make_requests(3))
    with pytest.raises(GeneratorError, match="apt-get install wrk"):
        run_wrk(1, requests, connections=1, seconds=1, core=1)


def test_one_core_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no second core to send from, the benchmark says so instead of measuring itself."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0})
    result = CliRunner().invoke(app, ["--only", "acks"])
    assert result.exit_code == 2
    assert "two cores" in result.stderr


def test_help_teaches() -> None:
    """The help has examples and says where the figures are explained."""
    text = CliRunner().invoke(app, ["--help"]).output
    assert "--only acks --runs 11" in text
    assert "docs/benchmarks.md" in text


@pytest.mark.slow
def test_a_second_of_web(tmp_path: Path) -> None:
    """A run of one second against the real web role: everything is answered, and lies in the spool."""
    bench = Bench(tmp_path, 1, lambda _what: None)
    collector: Collector = bench.collector
    try:
        web = collector.start_web(core=0)
        shot, cpu_s = bench.fire(web, bench.twenty, connections=4)
        assert shot.requests > 0
        assert cpu_s > 0
        assert web.read_rss_mb() > 10
        collector.stop("web")
        lines = [
            stretch.line
            for path in sorted(collector.spool.glob("*/*.seg"))
            for stretch in scan_frames(path.read_bytes())
        ]
        assert len(lines) >= shot.requests
        ids = [event["event_id"] for line in lines for event in json.loads(line or b"")["events"]]
        assert len(ids) == len(set(ids)) == 20 * len(lines)
    finally:
        collector.close()
