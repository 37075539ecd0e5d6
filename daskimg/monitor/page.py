"""The page ``/daskimg`` on Dask's dashboard: what the workers of a scheduler do with pictures.

It shows the run that is under way, or the last one: those that follow each other are one.
"""

from __future__ import annotations

import html
import logging
import re
import weakref
from typing import Any

from dask.utils import format_bytes

from daskimg.metrics import ROWS, STORES
from daskimg.monitor.rows import causes_of, kept_of, missing_of
from daskimg.monitor.shares import Share, sentence, shares

__all__ = ["add", "failures_as_html", "thumbnails_as_html"]

logger = logging.getLogger("daskimg.monitor")

PAGE = "daskimg"
EVERY = 500  # milliseconds
COLOURS = ("#2a7f62", "#c9d6df", "#e8a33d")  # busy, starved, blocked
MOST_TEXT = 200  # characters of a path or a reason
THUMBNAIL = re.compile(r"[A-Za-z0-9+/]{1,24000}={0,2}")

_plugins: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def add(scheduler: Any, plugin: Any) -> None:
    """Serve the page beside the others, where there are others."""
    others = getattr(getattr(scheduler, "http_application", None), "applications", ())
    prefix = next((app.prefix for app in others if hasattr(app, "prefix")), None)
    there, _plugins[scheduler] = scheduler in _plugins, plugin
    if prefix is None or there:  # (without a page of Dask's there is nobody to import bokeh for)
        return
    from distributed.dashboard.core import BokehApplication
    from distributed.dashboard.scheduler import template_variables
    from tornado.ioloop import IOLoop

    variables = template_variables(scheduler)
    if PAGE not in variables["pages"]:  # all pages link to those that stand there
        variables["pages"].append(PAGE)
    page = BokehApplication({f"/{PAGE}": _page}, scheduler, prefix, variables)
    scheduler.http_application.add_application(page)
    page.initialize(IOLoop.current())
    page.start()


def _page(scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    from distributed.dashboard.components import add_periodic_callback
    from distributed.dashboard.components.scheduler import BOKEH_THEME, env

    shown = _Shown(_plugins[scheduler])
    shown.update()
    add_periodic_callback(doc, shown, EVERY)
    doc.title = "Dask: pictures"
    doc.add_root(shown.root)
    doc.template = env.get_template("simple.html")
    doc.template_variables["active_page"] = PAGE
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME


class _Shown:
    """What is on the page of one who looks."""

    def __init__(self, plugin: Any) -> None:
        from bokeh.layouts import column, row
        from bokeh.models import ColumnDataSource, Div
        from bokeh.plotting import figure

        self.plugin = plugin
        self.speed = ColumnDataSource({"time": [], "speed": []})
        self.stages = ColumnDataSource({"stage": [], **{name: [] for name in Share._fields}})
        speed = figure(
            title="pictures a second",
            x_axis_type="datetime",
            height=240,
            toolbar_location=None,
            sizing_mode="stretch_width",
        )
        speed.y_range.start = 0
        speed.line("time", "speed", source=self.speed, line_width=2, color=COLOURS[0])
        self.bars = figure(
            title="% of the time of its threads",
            y_range=[],
            x_range=(0, 100),
            height=240,
            toolbar_location=None,
            sizing_mode="stretch_width",
        )
        self.bars.hbar_stack(
            list(Share._fields),
            y="stage",
            height=0.7,
            source=self.stages,
            color=list(COLOURS),
            legend_label=list(Share._fields),
        )
        self.bars.legend.orientation = "horizontal"
        self.bars.add_layout(self.bars.legend[0], "below")
        self.texts = {
            name: Div(text="", sizing_mode="stretch_width", name=name)
            for name in ("summary", "table", "failures", "thumbnails")
        }
        self.root = column(
            self.texts["summary"],
            row(speed, self.bars, sizing_mode="stretch_width"),
            self.texts["table"],
            self.texts["failures"],
            self.texts["thumbnails"],
            sizing_mode="stretch_width",
            name=PAGE,
        )

    def update(self) -> None:
        plugin = self.plugin
        done, total = plugin.latest.by_process(), plugin.latest.total()
        threads, seconds = plugin.latest.threads(), plugin.seconds
        found = shares(done, threads, seconds)
        found = {stage: share for stage, share in found.items() if not stage.startswith(ROWS)}
        names = list(found)
        if list(self.bars.y_range.factors) != names[::-1]:
            self.bars.y_range.factors = names[::-1]
            self.bars.height = 150 + 24 * len(names)
        values = {f: [100 * getattr(found[n], f) for n in names] for f in Share._fields}
        self.stages.data = {"stage": names, **values}
        times, speeds = plugin.speeds()
        self.speed.data = {"time": [1000 * t for t in times], "speed": speeds}
        counts = f"{kept_of(total):,} kept, {sum(causes_of(total).values()):,} failed"
        missing = missing_of(total)
        counts += f", {missing:,} missing" if missing else ""
        limit = html.escape(sentence(found, sum(threads.values())))
        told = {
            "summary": f"<b id='daskimg-counts'>{counts}</b><br>{limit}",
            "table": _table(total, names, self._devices()),
            "failures": failures_as_html(causes_of(total), plugin.failures),
            "thumbnails": thumbnails_as_html(plugin.thumbnails),
        }
        for name, text in told.items():
            if self.texts[name].text != text:
                self.texts[name].text = text

    def _devices(self) -> list[str]:
        workers = self.plugin.scheduler.workers.values()
        used = [(ws.name, ws.metrics.get("gpu_utilization")) for ws in workers]
        return [html.escape(f"{name}: {use}") for name, use in used if use is not None]


def _table(total: Any, stages: list[str], devices: list[str]) -> str:
    lines = [
        f"<tr><td>{html.escape(stage)}</td><td>{int(total[stage, 'images']):,}</td>"
        f"<td>{format_bytes(total[stage, 'bytes in'])}</td>"
        f"<td>{format_bytes(total[stage, 'bytes'])}</td>"
        f"<td>{total[stage, 'pixels'] / 1e6:,.1f}</td><td>{int(total[stage, 'errors']):,}</td></tr>"
        for stage in stages
    ]
    names = ("stage", "pictures", "bytes in", "bytes out", "megapixels", "errors")
    head = "".join(f"<th style='text-align:left;padding-right:2em'>{name}</th>" for name in names)
    text = f"<table id='daskimg-stages'><tr>{head}</tr>{''.join(lines)}</table>"
    asked = {what: n for (stage, what), n in total.items() if stage == STORES and n}
    if asked:
        told = ", ".join(f"{html.escape(what)}: {int(n):,}" for what, n in asked.items())
        text += f"<p id='daskimg-stores'>requests to stores: {told}</p>"
    return text + (f"<p>devices in use, %: {', '.join(devices)}</p>" if devices else "")


def failures_as_html(causes: dict[str, int], last: Any) -> str:
    """Failures by reason, with the last paths; nothing in them is taken for HTML."""
    if not causes:
        return ""
    lines = []
    for cause, number in sorted(causes.items(), key=lambda each: -each[1]):
        shown = last.get(cause, ())
        paths = "".join(f"<br><code>{_short(p)}</code> {_short(reason)}" for reason, p in shown)
        lines.append(f"<li><b>{html.escape(cause)}</b>: {number:,}{paths}</li>")
    return f"<h3>failed</h3><ul id='daskimg-failures'>{''.join(lines)}</ul>"


def _short(text: Any) -> str:
    text = str(text)
    return html.escape(text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}...")


def thumbnails_as_html(pictures: Any) -> str:
    """Small JPEGs, in base 64; what is nothing else is left out."""
    good = [one for one in pictures if isinstance(one, str) and THUMBNAIL.fullmatch(one)]
    shown = "".join(
        f"<img alt='' style='margin:2px;max-height:96px' src='data:image/jpeg;base64,{one}'>"
        for one in reversed(good)
    )
    return f"<div id='daskimg-thumbnails'>{shown}</div>" if shown else ""
