"""What came of all runs, and the tables made of it."""

from __future__ import annotations

import datetime
import statistics
from typing import Any

from benchmarks.peers.processes import Library
from benchmarks.peers.tasks import TASKS, WANTED
from benchmarks.report import machine

NEAR = 2.0  # grey levels, or pixels of a mean height, between libraries that did the same
OURS = "ours"


class Runs:
    """Answers by task and library."""

    def __init__(self, tasks: list[str], libraries: dict[str, Library]) -> None:
        self.tasks, self.libraries = tasks, libraries
        self._told: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._failures: dict[tuple[str, str], str] = {}

    def add(self, task: str, library: str, told: dict[str, Any], counted: bool) -> None:
        if "failed" in told:
            self._failures[task, library] = told["failed"]
        elif counted:
            self._told.setdefault((task, library), []).append(told)

    def failed(self, task: str, library: str) -> str | None:
        return self._failures.get((task, library))

    def failures(self) -> list[tuple[str, str, str]]:
        return [(task, name, why) for (task, name), why in self._failures.items() if why]

    def median(self, task: str, library: str, what: str = "seconds") -> float | None:
        told = self._told.get((task, library), [])
        values = [each[what] for each in told if what in each]
        return statistics.median(values) if values else None

    def pictures(self, task: str) -> float | None:
        found = [told[0]["pictures"] for (name, _), told in self._told.items() if name == task]
        return found[0] if found else None

    def differing(self) -> list[str]:
        """Tasks whose results differ from daskimg's by more than rounding and resizing do."""
        notes = []
        for (task, name), told in self._told.items():
            ours = self._told.get((task, OURS))
            if not ours:
                continue
            value, count = told[0]["value"], told[0]["pictures"]
            near = 0.5 if task == "classify" else NEAR
            if count != ours[0]["pictures"] or abs(value - ours[0]["value"]) > near:
                told_of = f"{count:,.0f} rows, mean {value:.1f}"
                own = f"{ours[0]['pictures']:,.0f}, {ours[0]['value']:.1f}"
                title = self.libraries[name].title
                notes.append(f"{task} by {title}: {told_of}; daskimg {own}")
        return notes

    def ratio(self, task: str, library: str, what: str = "seconds") -> float | None:
        """Another library's time divided by daskimg's."""
        ours, theirs = self.median(task, OURS, what), self.median(task, library, what)
        return theirs / ours if ours and theirs else None


def render(runs: Runs, missing: dict[str, str], described: str, command: str, load: float) -> str:
    """A section of RESULTS.md."""
    names = [name for name in runs.libraries if name != OURS]
    versions = ", ".join(f"{each.title} {each.version}" for each in runs.libraries.values())
    notes = [f"- {title}: {reason}" for title, reason in missing.items()]
    for task, name, reason in runs.failures():
        notes.append(f"- {task} by {runs.libraries[name].title} failed: {short(reason)}")
    notes += [f"- Other results: {note}" for note in runs.differing()]
    blocks = [
        f"## {datetime.date.today():%Y-%m-%d}, peers",
        f"{machine()}; load before: {load:.1f}. {versions}. {described}; "
        f"medians of rounds from library to library.\n`{command}`",
        "Seconds; in brackets how many times daskimg's time that is, and the same of processor "
        "time (of all processes that a library started).",
        grid(runs, names),
        targets(runs),
        "\n".join(notes),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def grid(runs: Runs, names: list[str]) -> str:
    titles = [runs.libraries[name].title for name in names]
    lines = [["task", "pictures", "daskimg", *titles], ["---"] * (3 + len(names))]
    for task in runs.tasks:
        ours = runs.median(task, OURS)
        count = runs.pictures(task)
        # a table of shops says nothing of pictures
        many = "" if count is None or task == "join" else f"{count:,.0f}"
        cells = [cell(runs, task, name) for name in names]
        lines.append([TASKS[task].what, many, "" if ours is None else f"{ours:.2f} s", *cells])
    return as_table(lines)


def cell(runs: Runs, task: str, name: str) -> str:
    seconds = runs.median(task, name)
    if seconds is None:
        return "failed" if runs.failed(task, name) else "-"
    ratio, cpu = runs.ratio(task, name), runs.ratio(task, name, "cpu")
    ratios = [f"{each:.2f}" for each in (ratio, cpu) if each is not None]
    return f"{seconds:.2f} s ({'; '.join(ratios)})"


def targets(runs: Runs) -> str:
    lines = [["task", "against", "wanted", "found", ""], ["---"] * 5]
    for wanted in WANTED:
        ratios = [
            (ratio, name)
            for name in wanted.of
            if name in runs.libraries and (ratio := runs.ratio(wanted.task, name)) is not None
        ]
        if wanted.task in runs.tasks and ratios:
            ratio, name = min(ratios)
            title = runs.libraries[name].title
            against = title if len(wanted.of) == 1 else f"the best other: {title}"
            reached = "" if ratio >= wanted.ratio else "short"
            lines.append([wanted.task, against, f"{wanted.ratio:g}", f"{ratio:.2f}", reached])
    return as_table(lines) if len(lines) > 2 else ""


def as_table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(reason: str) -> str:
    first = reason.strip().splitlines()[0] if reason.strip() else reason
    return first[:200]
