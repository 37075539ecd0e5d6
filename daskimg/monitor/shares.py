"""Which stage was the limit: how long each was at work, waited for pictures, or for room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from daskimg.metrics import CALLER, ROWS
from daskimg.monitor.tally import Figures

__all__ = ["ADVICE", "Share", "in_order", "limit_of", "sentence", "shares", "slower"]

FIRST = ("list", "read", "fetch", "size", "header", "decode")
LAST = ("measure", "model", "encode", "write", CALLER)
NAMES = {"model": "the model", CALLER: "what takes the batches", "apply": "the function of apply"}
NEAR = "keep the files nearer, or as bytes in Parquet (img.write_parquet)"
ADVICE = {
    "list": "give a table of paths to di.images, or fewer folders",
    "fetch": f"more requests at a time (daskimg.fetch-connections, more threads), or {NEAR}",
    "header": f"more requests at a time (more threads), or {NEAR}",
    "decode": "resize in the same expression, so that JPEGs are decoded smaller; more cores; or "
    "store the pictures smaller",
    "measure": "measure smaller pictures (resize first), or use more cores",
    "model": "larger batches (batch_size), more instances (concurrency), or a GPU (num_gpus)",
    "encode": "a lower quality, a format that is packed less, or more cores",
    "write": "more threads or workers, less compression, or a faster store",
    CALLER: "nothing here: batches wait for who takes them",
}
OTHER = "resize first, or use more cores"
MOST = 0.4  # of all work: below it nothing was the limit
SLACK = 0.4  # of the time of all threads without work that is told


class Share(NamedTuple):
    """Of the time of the threads that a stage could have had: fractions of 1."""

    busy: float  # at work
    starved: float  # what comes before it was at work, or nothing had come
    blocked: float  # what comes after it was at work, or had no room


def in_order(stages: Iterable[str]) -> list[str]:
    """Stages as pictures go through them; ops as they are told, which is the order of a pass."""

    def rank(stage: str) -> int:
        if stage in FIRST:
            return FIRST.index(stage)
        return len(FIRST) + (1 + LAST.index(stage) if stage in LAST else 0)

    return sorted(dict.fromkeys(stages), key=rank)


def shares(
    done: Mapping[str, Figures], threads: Mapping[str, int], seconds: float
) -> dict[str, Share]:
    """How each stage spent its time.

    A thread takes a picture through all steps of a pass: while it is at one, the others wait. Time
    in which a thread did nothing at all is spent waiting for the stage that was the limit.

    Parameters
    ----------
    done : dict
        What each process did.
    threads : dict
        How many threads of each did it.
    seconds : float
        How long it took.
    """
    # process: stage: seconds
    spent = {
        process: {
            stage: n
            for (stage, what), n in figures.items()
            if what == "seconds" and n > 0 and (stage == CALLER or not stage.startswith(ROWS))
        }
        for process, figures in done.items()
    }
    if seconds <= 0:
        return {}
    room: dict[str, dict[str, float]] = {}  # stage: process: seconds it could have had
    for process, stages in spent.items():
        for stage in stages:
            slots = 1 if stage == CALLER else max(threads.get(process, 1), 1)
            most = stages[stage] if stage == CALLER else sum(_inner(stages).values())
            room.setdefault(stage, {})[process] = max(slots * seconds, most)
    busy = {
        stage: sum(spent[process][stage] for process in at) / sum(at.values())
        for stage, at in room.items()
    }
    if not busy:
        return {}
    limit = max(busy, key=lambda stage: busy[stage])
    found = {}
    place = {stage: n for n, stage in enumerate(in_order(room))}
    for stage in place:
        at = room[stage]
        all_of = sum(at.values())
        before = after = 0.0
        for process in at if stage != CALLER else ():
            for other, n in _inner(spent[process]).items():
                before += n / all_of if place[other] < place[stage] else 0
                after += n / all_of if place[other] > place[stage] else 0
        idle = max(1 - busy[stage] - before - after, 0.0)
        if place[stage] < place[limit]:
            after += idle
        elif place[stage] > place[limit]:
            before += idle
        found[stage] = Share(busy[stage], before, after)
    return found


def _inner(stages: Mapping[str, float]) -> dict[str, float]:
    return {stage: n for stage, n in stages.items() if stage != CALLER}


def limit_of(found: Mapping[str, Share]) -> str | None:
    """The stage that the others wait for: the one that took most of the work."""
    if not found:
        return None
    limit = max(found, key=lambda stage: found[stage].busy)
    most = found[limit].busy >= MOST * sum(share.busy for share in found.values())
    return limit if most and found[limit].busy else None


def slower(found: Mapping[str, Share], least: float) -> list[str]:
    """The stages, in order, that are at work more than what feeds them, and than `least`.

    Examples
    --------
    >>> busy = {"fetch": 0.1, "decode": 0.8, "resize": 0.1, "model": 0.9}
    >>> slower({stage: Share(n, 0, 1 - n) for stage, n in busy.items()}, 0.4)
    ['decode', 'model']
    """
    stages = [stage for stage in found if stage != CALLER]
    stages += [CALLER] if CALLER in found else []
    feeders = [0.0, *(found[stage].busy for stage in stages)]
    return [
        stage
        for stage, before in zip(stages, feeders, strict=False)
        if found[stage].busy > max(before, least)
    ]


def name_of(stage: str) -> str:
    """A stage in a sentence."""
    return NAMES.get(stage, stage)


def sentence(found: Mapping[str, Share], threads: int) -> str:
    """What was the limit, and what to do about it; empty where nothing was done."""
    if not found:
        return ""
    limit = max(found, key=lambda stage: found[stage].busy)
    busy = found[limit].busy
    idle = 1 - sum(share.busy for stage, share in found.items() if stage != CALLER)
    if limit_of(found) is None:
        text = f"no stage was the limit: {name_of(limit)} took most time, {busy:.0%} of it"
        return f"{text}, others nearly as much. What helps: more cores"
    many = "its thread was" if limit == CALLER or threads == 1 else f"{threads} threads were"
    text = f"{name_of(limit)} was the limit: {many} at it {busy:.0%} of the time"
    others = [stage for stage in found if stage not in (limit, CALLER)]
    if others:
        other = max(others, key=lambda stage: found[stage].busy)
        text += f", {name_of(other)} idle {1 - found[other].busy:.0%}"
    if idle > SLACK and limit != CALLER:
        text += f"; {idle:.0%} of the time nothing was under way (starting, few partitions, Dask)"
    return f"{text}. What helps: {ADVICE.get(limit, OTHER)}"
