"""The page of the dashboard and the counters: they move, and equal `di.stats` at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
from distributed import Client, LocalCluster

import daskimg as di
from daskimg import metrics
from daskimg.errors import counted
from daskimg.monitor import page
from daskimg.monitor.page import failures_as_html, thumbnails_as_html
from daskimg.monitor.scheduler import MonitorPlugin
from daskimg.monitor.tally import WORK
from daskimg.testing import make_images
from tests.patience import until

GOOD, BROKEN = 57, 3
ROWS = GOOD + BROKEN
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.fixture(scope="module")
def client():
    """Workers that are threads: their scheduler serves a dashboard."""
    pytest.importorskip("bokeh")
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def df(tmp_path_factory):
    folder = tmp_path_factory.mktemp("some")
    make_images(folder, GOOD, size=(60, 80), broken=BROKEN)
    return di.read_images(folder, on_error="null", files_per_partition=15)


def address(client, page: str) -> str:
    """A page of the dashboard, on loopback, where this machine's own address is not served."""
    return f"http://127.0.0.1:{client.cluster.scheduler.http_server.port}/{page}"


def counters(client) -> dict[tuple[str, str], float]:
    url = address(client, "metrics")
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    found = re.findall(r'^daskimg_(\w+)_total\{\w+="([^"]*)"\} ([\d.e+]+)$', text, re.M)
    return {(what, name): float(number) for what, name, number in found}


def since(before, now):
    return {key: n - before.get(key, 0) for key, n in now.items() if n - before.get(key, 0)}


def test_the_counters_of_a_run(client, df):
    pytest.importorskip("prometheus_client")
    df.image.img.width.compute()  # the first run brings the plugin
    before = counters(client)
    with di.stats() as s:
        df.image.img.mean().compute()
    told = since(before, counters(client))
    stages = s.to_frame()
    assert told["images", "decode"] == stages.images["decode"] == ROWS
    assert told["bytes", "fetch"] == stages.bytes["fetch"]
    assert {name: n for (what, name), n in told.items() if what == "errors"} == s.causes
    assert (s.kept, s.failed, s.missing) == (GOOD, BROKEN, 0)


@pytest.mark.long
def test_the_counters_of_a_thousand(tmp_path):
    """On processes, as Prometheus sees them."""
    pytest.importorskip("prometheus_client")
    make_images(tmp_path, 970, size=(20, 30), broken=30)
    sizes = sum(path.stat().st_size for path in tmp_path.iterdir())
    df = di.read_images(tmp_path, on_error="null", files_per_partition=50)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        df.partitions[0].image.img.width.compute()
        before = counters(client)
        with di.stats() as s:
            means = df.image.img.mean().compute()
        told = since(before, counters(client))
    assert told["images", "decode"] == 1000
    assert told["images", "measure"] == means.notna().sum() == s.kept == 970
    assert told["bytes", "fetch"] == sizes
    assert {name: n for (what, name), n in told.items() if what == "errors"} == s.causes
    assert sum(s.causes.values()) == s.failed == 30


def test_what_is_forgotten_stays_counted():
    plugin = MonitorPlugin(thumbnails=False)
    loop = SimpleNamespace(call_later=lambda *args: None)
    plugin.scheduler = SimpleNamespace(log_event=plugin.log_event, tasks={}, loop=loop)
    plugin.begin()
    for n in range(3):
        report = [["decode", "images", 4], ["decode", "seconds", 0.5]]
        event = {"worker": "a", "task": f"t{n}", "thread": 1, "report": report}
        plugin.log_event(WORK, {"told": json.dumps([event])})
        assert plugin.total()["decode", "images"] == 4 * (n + 1)
        assert plugin.latest.total()["decode", "images"] == 4
        plugin.forget()
    # what a worker did that is gone now was finished: nobody does it again
    plugin.remove_worker(plugin.scheduler, "a")
    plugin.log_event(WORK, {"told": json.dumps([{**event, "worker": "b"}])})
    assert plugin.total()["decode", "images"] == 16


def test_without_a_dashboard_nothing_is_imported_for_the_page(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed.dashboard.core", None)
    scheduler = Server()
    page.add(scheduler, "plugin")
    assert page._plugins[scheduler] == "plugin"


class Server:
    """A scheduler without a dashboard."""

    http_application = SimpleNamespace(applications=[object()])


def test_the_page_is_there(client, df):
    df.image.img.mean().compute()
    url = address(client, "daskimg")
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.status == 200
        assert b'"name":"daskimg"' in (text := answer.read()) or b"bokeh" in text
    with urllib.request.urlopen(address(client, "status"), timeout=30) as answer:
        assert b"daskimg" in answer.read()  # its link


def test_what_is_shown_is_text():
    evil = "<script>alert(1)</script>"
    text = failures_as_html({evil: 2}, {evil: [(f"decode: {evil}", f"/a/{evil}.png")]})
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 3
    assert len(failures_as_html({"a": 1}, {"a": [("r" * 9999, "p" * 9999)]})) < 1000
    assert failures_as_html({}, {}) == ""
    assert thumbnails_as_html(["'><script>", 3, "a" * 99_999]) == ""
    assert "base64,/9j/AAA=" in thumbnails_as_html(["/9j/AAA="])


def plugin_of(dask_scheduler):
    found = dask_scheduler.plugins["daskimg-monitor"]
    failures = {cause: list(each) for cause, each in found.failures.items()}
    return {"failures": failures, "thumbnails": list(found.thumbnails)}


def test_the_last_that_failed_and_what_passes(client, df):
    metrics.peek.due = 0.0
    df.image.img.mean().compute()
    found = client.run_on_scheduler(plugin_of)
    paths = {Path(path).name for each in found["failures"].values() for _, path in each}
    assert paths <= {Path(path).name for path in df.path.compute()}
    assert len(paths) == BROKEN
    assert found["thumbnails"]
    assert all(len(one) < 24_000 for one in found["thumbnails"])
    metrics.peek.due = 0.0
    with di.stats() as s:  # what is decoded at a part of its size is shown, and counted, too
        df.image.img.resize(8, 8).img.mean().compute()
    more = client.run_on_scheduler(plugin_of)["thumbnails"]
    assert more[-1] != found["thumbnails"][-1] or len(more) > len(found["thumbnails"])
    assert 0 < s.to_frame().megapixels["decode"] <= GOOD * 60 * 80 / 1e6


def test_no_thumbnails_where_they_are_not_wanted(client, df):
    with (
        dask.config.set({"daskimg.thumbnails": False}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as own,
    ):
        metrics.peek.due = 0.0  # though another cluster of this process wants some
        with di.stats() as s:  # without a dashboard all else works
            df.image.img.mean().compute()
        assert s.to_frame().images["decode"] == ROWS
        assert own.run_on_scheduler(plugin_of)["thumbnails"] == []


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium chromium-driver")
def test_in_a_browser(client, df, tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    driver = shutil.which("chromedriver")
    service = webdriver.ChromeService(executable_path=driver) if driver else None
    browser = webdriver.Chrome(options=options, service=service)
    # what bokeh draws hangs in shadow roots
    script = """
        const seen = [];
        const walk = (root) => root.querySelectorAll('*').forEach((e) => {
            if (e.id) seen.push([e.id, e.innerText, e.querySelectorAll('img').length]);
            if (e.shadowRoot) walk(e.shadowRoot);
        });
        walk(document);
        return seen;
    """

    def shown() -> dict[str, str]:
        return {name: text for name, text, _ in browser.execute_script(script)}

    try:
        df.image.img.width.compute()
        browser.get(address(client, "daskimg"))
        before = until(lambda: shown().get("daskimg-counts"), "the page has its figures")
        client.run_on_scheduler(_idle)
        metrics.peek.due = 0.0  # (one in two seconds is looked at)
        with di.stats() as s:
            df.image.img.resize(16, 16).img.mean().compute()
        until(lambda: (now := shown())["daskimg-counts"] != before and now, "they move")
        until(lambda: "resize" in shown()["daskimg-stages"], "stages come")
        kept = re.compile(r"([\d,]+) kept, ([\d,]+) failed")
        until(
            lambda: kept.match(shown()["daskimg-counts"]).groups() == (str(s.kept), str(s.failed)),
            "it shows what stats tells",
        )
        assert f"resize\t{GOOD}" in shown()["daskimg-stages"]
        assert s.to_frame().images["resize"] == GOOD
        assert all(cause in shown()["daskimg-failures"] for cause in s.causes), counted(s.causes)
        until(
            lambda: any(n for name, _, n in browser.execute_script(script) if "thumb" in name),
            "thumbnails come",
        )
        browser.save_screenshot(os.environ.get("DASKIMG_SCREENSHOT", str(tmp_path / "page.png")))
    finally:
        browser.quit()


def _idle(dask_scheduler) -> None:
    """As if nothing had been told for a while: the next run is another."""
    dask_scheduler.plugins["daskimg-monitor"]._last = 0.0
