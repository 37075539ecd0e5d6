"""The licences of what daskimg installs, as a Markdown table: `python .ci/licences.py`.

Read from the metadata of what is installed here: all that `pip install daskimg` brings, and what
each extra names itself. Of a package that is not installed, the licence is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Extras for those who work on daskimg, and the one that holds the others.
OTHERS = {"all", "docs", "test", "test-oldest"}


def required(name: str, extra: str = "") -> Iterator[Requirement]:
    """What a package asks for on this machine; with `extra`, what that adds."""
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for line in lines:
        wanted = Requirement(line)
        if wanted.marker is None:
            if not extra:
                yield wanted
        elif wanted.marker.evaluate({"extra": extra}) and (
            not extra or not wanted.marker.evaluate({"extra": ""})
        ):
            yield wanted


def installed_with(name: str) -> dict[str, None]:
    """All packages that come with a package, in order of their names."""
    seen: set[str] = set()
    todo = [Requirement(name)]
    while todo:
        wanted = todo.pop()
        if str(wanted) not in seen:
            seen.add(str(wanted))
            for extra in ("", *wanted.extras):
                todo += required(wanted.name, extra)
    names = {canonicalize_name(Requirement(one).name) for one in seen}
    return dict.fromkeys(sorted(names - {canonicalize_name(name)}))


def licence(name: str) -> str:
    """An SPDX expression where the package gives one, else its classifiers or its own words."""
    try:
        about = distribution(name).metadata
    except PackageNotFoundError:
        return "not installed here"
    if expression := about.get("License-Expression"):
        return str(expression)
    classifiers = [c for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    names = [c.rpartition(" :: ")[2] for c in classifiers]
    said = (about.get("License") or "").strip().split("\n")[0]
    return ", ".join(dict.fromkeys(names)) or said or "not said"


def table() -> str:
    rows = [("package", "licence", "for"), ("---", "---", "---")]
    always = installed_with("daskimg")
    rows += [(name, licence(name), "always") for name in always]
    for extra in sorted({*distribution("daskimg").metadata.get_all("Provides-Extra", [])} - OTHERS):
        own = sorted({canonicalize_name(r.name) for r in required("daskimg", extra)} - {"daskimg"})
        rows += [(name, licence(name), f"`{extra}`") for name in own if name not in always]
    return "\n".join("| " + " | ".join(re.sub(r"\s+", " ", c) for c in row) + " |" for row in rows)


if __name__ == "__main__":
    print(table())
