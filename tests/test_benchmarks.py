"""What script/bench writes, and the servers that it can be pointed at. What it measures is for quiet machines."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks import compare, profiling
from benchmarks.drivers import HttpServer
from benchmarks.figures import Cost, Figure, Spent, Target, at_least, at_most
from benchmarks.report import Report, Run, machine
from benchmarks.sql import Sent, Statement
from benchmarks.text import number
from benchmarks.writing import write

MISSED = Figure.of_rounds("single | events", "events/s", [(100, 40), (200, 100), (400, 160)], [at_least(0.9)])
MET = Figure(name="p99 < all", unit="ms", measured=12.34, targets=(at_most(30, "measured"),))
COST = Cost(name="fan-out 1", unit="deliveries", by={"web": Spent(0.25, 80.0), "PostgreSQL": Spent(0.125, 50.5)})


def run_of(benchmark: str, *figures: Figure) -> Run:
    return Run(
        benchmark=benchmark,
        began_at="2026-11-26 17:00 UTC",
        seconds=61.0,
        commit="c87ef9c",
        load_before=0.1,
        load_after=2.5,
        figures=list(figures),
        costs=[COST],
    )


@pytest.fixture
def report() -> Report:
    report = Report(name="latest", machine=machine())
    report.put(run_of("ingest", MISSED, MET), ["ingest", "idle"])
    return report


def test_a_figure_is_the_median_of_its_rounds_and_so_is_its_ratio() -> None:
    assert (MISSED.baseline, MISSED.measured, MISSED.ratio) == (200, 100, 0.4)


@pytest.mark.parametrize(
    ("targets", "met", "reached"),
    [
        ([], None, None),
        ([at_least(2.5)], True, 1.0),
        ([at_least(5)], False, 0.5),
        ([at_most(2.5)], True, 1.0),
        ([at_least(5), at_least(125, "measured")], True, 2.0),
        ([at_most(75, "more"), at_least(1000, "measured")], False, 0.5),
    ],
)
def test_a_target_is_met_where_any_of_them_is(targets: list[Target], met: bool | None, reached: float | None) -> None:
    figure = Figure.of_rounds("any", "events/s", [(100, 250)], targets)

    assert (figure.met, figure.reached) == (met, reached)


def test_a_target_needs_what_it_compares_with() -> None:
    with pytest.raises(ValueError, match="'alone' has a target for its ratio"):
        _ = Figure(name="alone", unit="ms", measured=1, targets=(at_most(2),)).met


def test_the_json_has_each_figure_with_its_target_and_can_be_read_again(report: Report, tmp_path: Path) -> None:
    write(report, tmp_path)

    assert json.loads((tmp_path / "latest.json").read_bytes())["runs"][0]["figures"][0] == {
        "name": "single | events",
        "unit": "events/s",
        "measured": 100,
        "baseline": 200,
        "ratio": 0.4,
        "targets": [{"of": "ratio", "holds": ">=", "limit": 0.9}],
        "met": False,
    }
    assert Report.read(tmp_path, "latest") == report


def test_figures_of_another_machine_are_not_mixed_with_ours(report: Report, tmp_path: Path) -> None:
    write(msgspec.structs.replace(report, machine="another"), tmp_path)

    assert Report.read(tmp_path, "latest").runs == []


def test_a_run_takes_the_place_of_the_one_before_in_the_order_of_the_benchmarks(report: Report) -> None:
    report.put(run_of("idle", MET), ["ingest", "idle"])
    report.put(run_of("ingest", MET), ["ingest", "idle"])

    assert [(run.benchmark, run.figures) for run in report.runs] == [("ingest", [MET]), ("idle", [MET])]


def test_the_page_is_made_from_the_json(report: Report, tmp_path: Path) -> None:
    write(report, tmp_path)
    page = (tmp_path / "latest.md").read_text()

    assert "1 targets met, 1 missed." in page
    assert "commit c87ef9c, 61 s; load average 0.1 before, 2.5 at the end." in page
    assert r"| single \| events | 200 | 100 events/s | 0.40 | >= 0.9 x | **missed** |" in page
    assert "| p99 < all |  | 12.3 ms |  | <= 30 ms | met |" in page
    assert "| fan-out 1: deliveries | 0.250 s, 80 MiB | 0.125 s, 50 MiB |" in page


def test_the_plot_has_a_bar_for_each_target_and_colours_for_light_and_dark(report: Report, tmp_path: Path) -> None:
    write(report, tmp_path)
    plot = (tmp_path / "latest.svg").read_text()
    bars = ElementTree.fromstring(plot).iter("{http://www.w3.org/2000/svg}rect")

    assert [(bar.get("class"), float(bar.get("x", 0)) < 480) for bar in bars] == [("missed", True), ("met", False)]
    assert "prefers-color-scheme: dark" in plot


def test_numbers_have_the_digits_that_mean_something() -> None:
    assert [number(each) for each in (0.01234, 1.5, 12.34, 1234.5, None)] == ["0.0123", "1.5", "12.3", "1,234", ""]


def test_statements_are_counted_by_who_sent_them_and_alike_are_one() -> None:
    sent = Sent()
    sent.read(
        "@worker@LOG:  duration: 0.100 ms  parse <unnamed>: SELECT a\n\tFROM b WHERE c = 1\n"
        "@worker@LOG:  duration: 0.200 ms  execute <unnamed>: SELECT a\n\tFROM b WHERE c = 1\n"
        "@web@LOG:  duration: 0.050 ms  statement: BEGIN\n"
        "@web@LOG:  checkpoint starting: time\n"
        "@worker@LOG:  duration: 0.300 ms  execute _pg3_1/p: SELECT a FROM b WHERE c = 22\n"
    )

    assert sent.calls == {Statement("worker", "SELECT a FROM b WHERE c = ?"): 2, Statement("web", "BEGIN"): 1}
    assert (sent.of(), sent.of("web")) == (3, 1)
    assert sent.ms[Statement("worker", "SELECT a FROM b WHERE c = ?")] == pytest.approx(0.6)


def test_a_profile_lists_functions_by_themselves_and_with_what_they_call() -> None:
    raw = "main (a.py:1);send (b.py:7) 6\nmain (a.py:2);send (b.py:9) 3\nmain (a.py:3) 1\n"
    waiting = "main (a.py:4);Condition.wait (threading.py:324) 50\n"

    assert profiling.top(profiling.working(raw + waiting)).splitlines()[3:5] == [
        " 90.0% 90.0%  send (b.py)",
        " 10.0%100.0%  main (a.py)",
    ]


class _Relay(BaseHTTPRequestHandler):
    """The least that is a webhook server: it is told of one URL, and sends on what is published."""

    protocol_version = "HTTP/1.1"
    url = ""
    published: list[str | None]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/endpoints":
            type(self).url = json.loads(body)["url"]
        else:
            self.published.append(self.headers["Authorization"])
            with urllib.request.urlopen(urllib.request.Request(self.url, body)) as answer:
                answer.read()
        answer = b'{"id": "app-7"}'
        self.send_response(201)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def relay() -> Iterator[str]:
    _Relay.published = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Relay)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def described(tmp_path: Path, relay: str, more: str = "") -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(f"""
        name = "Relay"
        {more}
        [[setup]]
        url = "{relay}/endpoints"
        body = '{{"url": "${{SINK_URL}}"}}'
        [publish]
        url = "{relay}/$id/publish"
        headers = {{Authorization = "Bearer $RELAY_TOKEN"}}
        body = '{{"sentAt": ${{SENT_AT}}}}'
    """)
    return path


def test_another_server_is_measured_by_a_file_that_describes_it(
    tmp_path: Path, relay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ROUNDS": 1, "WARM_UP": 5, "RATES": (50,)}.items():
        monkeypatch.setattr(compare, name, value)
    monkeypatch.setenv("RELAY_TOKEN", "abc")
    found = list(compare.run([HttpServer(described(tmp_path, relay))], most=10, seconds=0.2))

    assert [each.name for each in found] == [
        f"Relay, {name}" for name in ("the most", "50/s, p50", "50/s, p95", "50/s, p99", "the most")
    ]
    assert all(0 < each.measured < 60_000 for each in found if isinstance(each, Figure))
    assert _Relay.published == ["Bearer abc"] * (5 + 10 + 10)


def test_a_file_that_says_what_can_not_be_is_refused(tmp_path: Path, relay: str) -> None:
    with pytest.raises(ValueError, match=r"relay\.toml: .*unknown field `begin`"):
        HttpServer(described(tmp_path, relay, 'begin = ["true"]'))
    with pytest.raises(ValueError, match="RELAY_TOKEN is neither in the environment nor in an answer"):
        HttpServer(described(tmp_path, relay)).start("http://127.0.0.1:9/")
