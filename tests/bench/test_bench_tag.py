"""The tag's benchmark: how it sums up, judges and reports, and who is measured. No time is measured here."""

from __future__ import annotations

import io
import json
from pathlib import Path

import brotli
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from bench.tag import agents
from bench.tag.__main__ import app
from bench.tag.figures import (
    CORE,
    FINGERPRINT_COMPARISONS,
    LIVE_BODY,
    LIVE_REQUESTS,
    TAG_COMPARISONS,
    Figure,
    Finding,
    find_ratios,
    find_sizes,
    find_traffic,
    net_series,
)
from bench.tag.machine import Machine, read_machine
from bench.tag.profile import add_up, find_modules
from bench.tag.report import Measured, show, show_profile, to_json
from bench.tag.sink import running_sink
from bench.tag.spread import compare, subtract_baseline, sum_up
from collector.tag_builds import STATIC

TIMES = st.floats(min_value=0.1, max_value=1e4)
ROOT = Path(__file__).parent.parent.parent


def series(sync: list[float], task: list[float]) -> dict[str, list[float]]:
    """A tag's series with the measures that the tables show."""
    still = [0.0] * len(sync)
    return {"eval": still, "sync": sync, "task": task, "cpu": task, "long": still}


MEASURED = {
    1: {
        "empty": series([0, 0, 0], [2, 3, 4]),
        "tagstitch": series([4, 10, 6], [13, 9, 103]),
        "snowplow": series([40, 20, 60], [23, 33, 43]),
    }
}


def report() -> Measured:
    """A small report, as from one run at 1x."""
    machine = Machine(2, "a processor", "Linux x86_64", "156.0", 0.1, 4.0)
    findings = [
        Finding(CORE, 5000),
        Finding(CORE, None, note="t.js.br is not built"),
        *find_ratios(TAG_COMPARISONS, MEASURED),
    ]
    traffic = {"tagstitch": {"requests": 1, "body": 815, "scripts": 0, "touches": 9, "stored": 104}}
    return Measured(
        machine, "2026-11-22T08:00:00+00:00", 3, {"tagstitch": "ours"}, findings, dict(MEASURED), {}, traffic
    )


def test_sum_up() -> None:
    """A series is told by median, quartiles between its own values, and the least."""
    spread = sum_up([9, 1, 3, 5, 7])
    assert (spread.median, spread.low, spread.high, spread.least, spread.count) == (5, 3, 7, 1, 5)
    assert sum_up([4.0]).low == sum_up([4.0]).high == 4.0


@given(st.lists(TIMES, min_size=1, max_size=30))
def test_spread_keeps_its_order(values: list[float]) -> None:
    """Least, quartile, median, quartile never change places."""
    spread = sum_up(values)
    assert spread.least <= spread.low <= spread.median <= spread.high <= max(values)


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=30), st.floats(min_value=0.5, max_value=20))
def test_ratio_does_not_know_the_machine(pairs: list[tuple[float, float]], slower: float) -> None:
    """A machine that is slower for both gives the same ratio."""
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    ratio = compare(ours, theirs)
    again = compare([one * slower for one in ours], [other * slower for other in theirs])
    assert ratio is not None
    assert again is not None
    assert again.value == pytest.approx(ratio.value)
    assert again.low == pytest.approx(ratio.low)


def test_no_ratio_to_nothing() -> None:
    """A peer that has none of something is nothing to be compared with, and a single nothing spoils no quartile."""
    assert compare([5, 5], [0, 0]) is None
    ratio = compare([5, 5, 5], [0, 10, 10])
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high, ratio.least) == (0.5, 0.5, 0.5, None)


def test_baseline() -> None:
    """What an empty page needs is taken off, and nothing falls below nothing."""
    assert subtract_baseline([10, 2, 30], [3, 1, 100]) == [7, 0, 27]
    assert subtract_baseline([10], []) == [10]
    net = net_series(MEASURED[1]["tagstitch"], MEASURED[1]["empty"])
    assert (net["task"], net["sync"]) == ([10, 6, 100], [4, 10, 6])


def test_ratios_are_of_medians() -> None:
    """A figure is our median over the peer's, an empty page's share taken off both."""
    found = {finding.figure.name: finding for finding in find_ratios(TAG_COMPARISONS, MEASURED)}
    assert found["main_thread_ratio"].value == pytest.approx(6 / 40)
    assert found["task_ratio"].value == pytest.approx(10 / 30)
    assert "task_4x_ratio" not in found  # was not run


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.2, "aim"), (0.25, "aim"), (0.3, "bound"), (0.5, "bound"), (0.51, "missed"), (None, "open")],
)
def test_verdict(value: float | None, verdict: str) -> None:
    """A figure reaches its aim, keeps its bound, misses it, or cannot be judged; the bound itself is kept."""
    assert Finding(Figure("x", "", "ratio", 0.5, 0.25), value).verdict == verdict
    assert Finding(Figure("x", "", "ratio", None), value).verdict == "open"


def test_sizes_are_those_of_the_built_files() -> None:
    """Bytes come from the committed build; what is not built says so."""
    found = {finding.figure.name: finding for finding in find_sizes()}
    assert found["core_br"].value == len((STATIC / "t.js.br").read_bytes())
    assert found["fingerprint_br"].value == len((STATIC / "f.js.br").read_bytes())
    assert found["snippet_br"].value == len(brotli.compress(agents.inline_snippet().encode()))
    assert found["snippet_br"].verdict != "missed"
    missing = {finding.figure.name: finding for finding in find_sizes(STATIC / "nowhere")}
    assert missing["core_br"].value is None
    assert missing["core_br"].note == "t.js.br is not built"


def test_traffic_is_judged() -> None:
    """One request of up to 1,600 bytes is what a page view and three events may cost."""
    verdicts = [one.verdict for one in find_traffic({"tagstitch": {"requests": 2, "body": 1600}})]
    assert verdicts == ["missed", "bound"]
    assert find_traffic({"snowplow": {"requests": 2, "body": 1600}}) == []


def test_report_as_json() -> None:
    """The JSON has every figure with its bound, aim and verdict, every value as read, and the machine."""
    data = json.loads(json.dumps(to_json(report())))
    assert data["figures"][0] == {
        "figure": "core_br",
        "value": 5000,
        "unit": "B",
        "at_most": 7000,
        "aim": 5500,
        "verdict": "aim",
        "ratio": None,
        "note": "",
    }
    ours = data["tags"]["1"]["tagstitch"]["task"]
    assert (ours["median"], ours["least"], ours["values"]) == (10, 6, [13, 9, 103])
    assert data["tags"]["1"]["empty"]["task"]["median"] == 3
    assert data["machine"]["chromium"] == "156.0"
    assert set(data) == {"machine", "at", "runs", "figures", "tags", "fingerprints", "traffic", "labels"}


def test_report_in_a_terminal() -> None:
    """The tables say every figure, who was measured, on what machine, and warn of a busy one."""
    out = io.StringIO()
    show(Console(file=out, width=200, color_system=None), report())
    text = out.getvalue()
    for words in (
        "core_br",
        "aim reached",
        "t.js.br is not built",
        "main_thread_ratio",
        "0.15",
        "median [least]",
        "2 cores · a processor",
        "load 0.1 before, 4.0 after · 3 runs",
        "busy",
        "snowplow",
    ):
        assert words in text, words
    assert "empty" not in text


def test_machine_is_this_one() -> None:
    """The machine's line names its cores and the browser."""
    machine = read_machine("156.0", 0.0)
    assert machine.cores >= 1
    assert machine.processor
    assert "Chromium 156.0" in machine.describe()


def test_agents_do_the_same_work() -> None:
    """Every tag is called with the same three events."""
    for make in (agents.make_tag, *(agents.TAGS[name] for name in installed_tags())):
        start = make().start
        for name, props in agents.EVENTS:
            assert json.dumps(name) in start
            for key in props:
                assert f'"{key}"' in start


def installed_tags() -> list[str]:
    """Peers can be checked where they are installed; `make bench-tag` installs them."""
    return [name for name in agents.TAGS if name != "tagstitch" and agents.MODULES.is_dir()]


def test_peers_are_pinned() -> None:
    """Every peer is at one exact version, in the lock too, and the lock names no registry."""
    package = json.loads((agents.PEERS / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((agents.PEERS / "package-lock.json").read_text(encoding="utf-8"))
    for name, version in {**package["dependencies"], **package["devDependencies"]}.items():
        assert version[0].isdigit(), name
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]


def test_missing_peers_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the peers the benchmark ends with one line that names the command, before anything is measured."""
    monkeypatch.setattr(agents, "MODULES", tmp_path)
    result = CliRunner().invoke(app, ["--only", "tags"])
    assert result.exit_code == 2
    assert "npm install" in result.stderr
    assert "Traceback" not in result.output


def test_sizes_alone_need_no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--only sizes --json -` starts no browser and writes JSON alone to standard output."""
    monkeypatch.setattr(agents, "MODULES", tmp_path)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    result = CliRunner().invoke(app, ["--only", "sizes", "--json", "-"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["figures"][0]["figure"] == "core_br"


def test_help_teaches() -> None:
    """The help has examples and says where the figures are explained."""
    text = CliRunner().invoke(app, ["--help"]).output
    assert "--only tags --peer snowplow" in text
    assert "docs/benchmarks.md" in text


def test_page_and_modules_come_from_the_sink() -> None:
    """The sink serves the page and the built modules, and counts what is sent for the run that sent it."""
    with running_sink() as sink:
        host, _ = sink.begin()
        base, headers = f"http://127.0.0.1:{sink.port}", {"Host": f"{host}:{sink.port}"}
        assert "window.bench" in httpx.get(base, headers=headers).text
        assert httpx.get(f"{base}/x/t.js", headers=headers).content == (STATIC / "t.js").read_bytes()
        assert httpx.post(f"{base}/x/b", content=b"{}", headers=headers).status_code == 204
        httpx.get(f"{base}/array/phc_bench/config.js", headers=headers)
        assert [(one.path, one.is_sent, one.size) for one in sink.seen[host]] == [
            ("/x/b", True, 2),
            ("/array/phc_bench/config.js", False, 0),
        ]


def test_profile_adds_up() -> None:
    """Self time is a function's own, the other with all that it called, once for a function that calls itself."""

    def node(key: int, name: str, children: list[int], url: str = "", line: int = -1) -> dict[str, object]:
        frame = {"functionName": name, "url": url, "lineNumber": line}
        return {"id": key, "callFrame": frame, "children": children}

    profile = {
        "nodes": [
            node(1, "(root)", [2, 5, 6]),
            node(2, "runTag", [3]),
            node(3, "track", [4], "readable/t.js", 12),
            node(4, "track", [], "readable/t.js", 12),
            node(5, "", [], "readable/t.js", 3),
            node(6, "(idle)", []),
        ],
        "samples": [3, 4, 5, 6],
        "timeDeltas": [1000, 3000, 2000, 9000],
    }
    bundle = "(() => {\n  // ../tag_js/src/browser.ts\n  f();\n  g();\n  // ../tag_js/src/tag.ts\n"
    modules = find_modules(bundle)
    assert modules == [(1, "browser.ts"), (4, "tag.ts")]
    lines = {(line.function, line.when): (line.self_ms, line.total_ms) for line in add_up([profile, profile], modules)}
    assert lines == {
        ("track · tag.ts", "sync"): (4.0, 4.0),
        ("(anonymous):4 · browser.ts", "later"): (2.0, 2.0),
        ("runTag", "sync"): (0.0, 4.0),
    }
    out = io.StringIO()
    show_profile(Console(file=out, width=120, color_system=None), "tagstitch", 1, add_up([profile], modules))
    assert "6.0 ms of a page" in out.getvalue()


def test_every_figure_is_explained() -> None:
    """docs/benchmarks.md explains every figure that the benchmark can print."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    data = [finding.figure.name for finding in find_sizes()]
    data += [LIVE_REQUESTS.name, LIVE_BODY.name]
    data += [comparison.figure.name for comparison in (*TAG_COMPARISONS, *FINGERPRINT_COMPARISONS)]
    for name in data:
        assert f"`{name}`" in text, name
