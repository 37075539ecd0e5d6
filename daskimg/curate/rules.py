"""The rules of an audit: what is measured of a picture, and from where on it is worth a look."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from daskimg.engine.program import STRING
from daskimg.kernels.headers import FORMATS

__all__ = ["COLUMNS", "QUALITY", "RULES", "Rule", "fences", "flags", "local_facts"]

ENDING = re.compile(r"(\.[^./?#]+)(?:[?#].*)?$")
STEPS = 16  # bins of an octave of sizes
FEWEST = 8  # pictures that say what size is usual


class Rule(NamedTuple):
    """One rule.

    Parameters
    ----------
    says : str
        What it finds.
    measure : str
        The column behind it.
    above, below : float, optional
        Flagged beyond it. Neither: the rule has no threshold of its own.
    source : str
        Where the measure or its threshold comes from.
    """

    says: str
    measure: str
    above: float | None = None
    below: float | None = None
    source: str = ""

    @property
    def told(self) -> str:
        """The threshold in words."""
        if self.above is not None:
            return f"{self.measure} above {self.above:g}"
        if self.below is not None:
            return f"{self.measure} below {self.below:g}"
        return self.measure


#: Thresholds were set on photographs of shelves and of products on white, and on the same ones made
#: darker, blurred and so on: docs/curation.md tells what they find.
RULES = {
    "broken": Rule("cannot be decoded", "reason"),
    "wrong_extension": Rule("the file is of another format than its name says", "format"),
    "exact_duplicate": Rule("the same file is there again", "exact_group"),
    "near_duplicate": Rule("looks like another one", "group"),
    "leak": Rule("its group of look-alikes is in several splits", "group"),
    "label_conflict": Rule("its group of look-alikes has several labels", "group"),
    "dark": Rule(
        "nothing in it is light",
        "p99",
        below=80.0,
        source="99th percentile of luma, as cleanvision",
    ),
    "bright": Rule(
        "nothing in it is dark", "p5", above=240.0, source="5th percentile of luma, as cleanvision"
    ),
    "low_contrast": Rule(
        "all of it is about as light",
        "range",
        below=38.0,
        source="99th less 1st percentile of luma, as skimage.exposure.is_low_contrast; 15 %",
    ),
    "blurred": Rule(
        "no fine detail",
        "blurriness",
        above=0.55,
        source="Crete et al. 2007, at 128 pixels: whatever the picture's size; a blur of 1 %",
    ),
    "low_information": Rule(
        "next to nothing to see", "entropy", below=2.0, source="Shannon entropy of luma, bits"
    ),
    "odd_size": Rule(
        "far larger or smaller than the others",
        "side",
        source="Tukey 1977, outer fences (3 interquartile ranges, of an octave at least) of log2",
    ),
    "odd_aspect": Rule(
        "long and narrow", "aspect", above=1 / 0.35, source="longer by shorter side, as cleanvision"
    ),
    "grey": Rule(
        "grey among pictures in colour",
        "colorfulness",
        below=2.0,
        source="Hasler and Suesstrunk 2003; where half or more of the others have colour",
    ),
    "transparent": Rule("alpha hides some of it", "transparency", above=0.0),
    "turned": Rule(
        "EXIF says it is to be turned: upside down or on its side for who ignores that",
        "orientation",
        above=1.0,
    ),
    "position": Rule("EXIF tells where it was taken (privacy)", "latitude"),
}

#: What of look-alikes is kept only where all of them have it.
QUALITY = ("dark", "bright", "low_contrast", "blurred", "low_information")

# The columns of an audit's table beside those of the frame, and their dtypes.
COLUMNS: dict[str, Any] = {
    "reason": STRING,
    "format": STRING,
    "height": "Int64",
    "width": "Int64",
    "brightness": "float64",
    "p99": "float64",
    "p5": "float64",
    "range": "float64",
    "blurriness": "float64",
    "entropy": "float64",
    "side": "float64",
    "aspect": "float64",
    "colorfulness": "float64",
    "transparency": "float64",
    "orientation": "Int64",
    "latitude": "float64",
    "longitude": "float64",
}


def flags(name: str, rule: Rule, rows: pd.DataFrame, facts: dict[str, float]) -> Any:
    """Which rows a rule flags that looks at nothing but their own measures, and at `facts`."""
    if name == "broken":
        return rows["reason"].notna().to_numpy(bool)
    if name == "wrong_extension":
        return _wrong_extension(rows["path"], rows["format"])
    if name == "position":
        return rows["latitude"].notna().to_numpy(bool)
    values = rows[rule.measure].to_numpy(np.float64, na_value=np.nan)
    if name == "odd_size":
        low, high = facts.get("low", -np.inf), facts.get("high", np.inf)
        size = np.log2(values, out=np.full(len(values), np.nan), where=values > 0)
        return (size < low) | (size > high)
    if rule.above is not None:
        found = values > rule.above
    else:
        found = values < (np.inf if rule.below is None else rule.below)
    if name == "grey":
        return found & (facts.get("grey", 0.0) < 0.5)
    return found


def _wrong_extension(paths: pd.Series, formats: pd.Series) -> Any:
    known = {one: name for name, many in FORMATS.items() for one in many}
    wrong = []
    for path, found in zip(paths, formats, strict=True):
        ending = None if pd.isna(path) or pd.isna(found) else ENDING.search(path)
        named = ending and known.get(ending[1].lower())
        wrong.append(bool(named) and named != ("JPEG" if found == "MPO" else found))
    return np.array(wrong, bool)


def local_facts(rows: pd.DataFrame) -> pd.DataFrame:
    """What a partition adds to the facts about all pictures: counts, by what and by value."""
    side = rows["side"].to_numpy(np.float64)
    bins = np.floor(np.log2(side[side > 0]) * STEPS).astype(np.int64)
    bins, counts = np.unique(bins, return_counts=True)
    limit = RULES["grey"].below or 0.0
    colour = rows["colorfulness"].dropna().to_numpy()
    grey = [int((colour >= limit).sum()), int((colour < limit).sum())]
    return pd.DataFrame(
        {
            "what": np.array(["size"] * len(bins) + ["grey"] * 2, object),
            "value": [*bins.tolist(), 0, 1],
            "count": [*counts.tolist(), *grey],
        }
    )


def fences(counts: pd.DataFrame) -> dict[str, float]:
    """The facts: what share is grey, and between which sizes (log2) a picture is no odd one."""
    grey = counts[counts["what"] == "grey"].set_index("value")["count"]
    facts = {"grey": float(grey.get(1, 0)) / max(1, int(grey.sum()))}
    sizes = counts[counts["what"] == "size"].sort_values("value")
    total = int(sizes["count"].sum())
    if total >= FEWEST:
        below = sizes["count"].cumsum().to_numpy()
        values = sizes["value"].to_numpy() / STEPS
        first, third = (values[np.searchsorted(below, total * q)] for q in (0.25, 0.75))
        reach = 3 * max(third - first, 1.0)
        facts |= {"low": first - reach, "high": third + 1 / STEPS + reach}
    return facts
