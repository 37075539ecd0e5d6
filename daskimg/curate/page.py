"""The page of an audit: what is shown of it, and how."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from daskimg.curate.compared import OURS
from daskimg.curate.rules import Rule
from daskimg.engine.program import STRING

__all__ = ["sampled", "thumbnails", "written"]

SHOWN, GROUPS, MEMBERS = 12, 12, 6  # pictures of a rule; groups of a rule, pictures of a group
SIDE = 144  # pixels of a thumbnail

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;max-width:1180px;margin:2em auto;padding:0 1em}
h1{font-size:1.7em;margin:0 0 .2em}h2{font-size:1.2em;margin:2.2em 0 .2em;border-top:1px solid #ddd;
padding-top:1em}p{margin:.3em 0}table{border-collapse:collapse;width:100%;margin:1em 0}
th{text-align:left;font-weight:600}th.n{text-align:right}th,td{padding:.25em .7em .25em 0;
border-bottom:1px solid #eee;vertical-align:top}
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
tr.none{color:#999}.bar{display:inline-block;height:.7em;background:#c8553d;min-width:2px}
th:first-child,td:first-child{white-space:nowrap}
.row{display:flex;flex-wrap:wrap;gap:10px;margin:.6em 0}.group{border-left:3px solid #bbb;
padding-left:10px}.groups{display:flex;flex-wrap:wrap;gap:0 26px}
figure{margin:0;width:150px;font-size:11px;overflow-wrap:anywhere}
figcaption{margin-top:5px}
figure img,figure .no{width:144px;height:144px;object-fit:contain;background:#f3f3f3;display:block}
figure .no{color:#a33;font-size:10px;padding:6px;box-sizing:border-box;overflow:hidden}
.keep img{outline:3px solid #4a8f4a}.small,.also{color:#777}.small{font-size:.87em}a{color:#245}
"""


def sampled(
    table: Any, rules: Mapping[str, Rule], column: str, label: str | None, split: str | None
) -> Any:
    """The pictures to show, few for each rule, with a thumbnail: a lazy frame."""
    source = f"{OURS}thumb" if f"{OURS}thumb" in table.columns else column
    choose = _Choose(rules, source, label, split)
    meta = choose(table._meta)
    chosen = table.reduction(choose, aggregate=_few, combine=_few, meta=meta, split_every=8)
    shown = meta.drop(columns="cell").assign(thumb=pd.Series([], dtype=object))
    return chosen.map_partitions(_with_thumbnails, meta=shown, enforce_metadata=False)


class _Choose:
    """Rows of a partition that may be shown: the worst of each rule, the first groups."""

    def __init__(
        self, rules: Mapping[str, Rule], source: str, label: str | None, split: str | None
    ) -> None:
        self.rules, self.source = dict(rules), source
        self.beside = [name for name in (label, split) if name is not None]

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        parts = []
        for name, rule in self.rules.items():
            rows = table[table[name].to_numpy(bool)]
            group = rows[rule.measure] if rule.measure in ("group", "exact_group") else None
            found = pd.DataFrame(
                {
                    "rule": pd.array([name] * len(rows), STRING),
                    "order": self._order(rule, rows),
                    "group": pd.array([pd.NA] * len(rows), "Int64")
                    if group is None
                    else group.array,
                    "path": rows["path"].array,
                    "told": pd.array(self._told(rule, rows), STRING),
                    "issues": rows["issues"].array,
                    "best": rows["best"].to_numpy(bool),
                    "cell": rows[self.source].array,
                }
            )
            parts.append(_few(found))
        return pd.concat(parts, ignore_index=True)

    def _order(self, rule: Rule, rows: pd.DataFrame) -> Any:
        """The worst first."""
        if rule.measure not in rows or rows[rule.measure].dtype.kind not in "iuf":
            return np.zeros(len(rows))
        values = rows[rule.measure].to_numpy(np.float64, na_value=np.inf)
        return -values if rule.above is not None else values

    def _told(self, rule: Rule, rows: pd.DataFrame) -> list[str]:
        names = [*self.beside]
        if rule.measure in rows and rule.measure not in ("group", "exact_group", "reason"):
            names.append(rule.measure)
        if rule.measure in ("group", "exact_group", "side", "aspect"):
            names += ["height", "width"]
        columns = [rows[name].tolist() for name in names]
        told = [
            ", ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in zip(names, values, strict=True)
                if not pd.isna(value)
            )
            for values in zip(*columns, strict=True)
        ] or [""] * len(rows)
        if rule.measure == "reason":
            told = rows["reason"].fillna("").tolist()
        return told


def _few(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each rule the worst; of rules about groups the first groups, and a few of each."""
    grouped = rows["group"].notna()
    single = rows[~grouped].sort_values(["rule", "order", "path"]).groupby("rule").head(SHOWN)
    groups = rows[grouped]
    if len(groups):
        groups = groups.sort_values(["rule", "group", "best"], ascending=[True, True, False])
        groups = groups.groupby(["rule", "group"]).head(MEMBERS)
        place = groups.groupby("rule")["group"].rank("dense")
        groups = groups[(place <= GROUPS).to_numpy(bool)]
    return pd.concat([single, groups], ignore_index=True)


def thumbnails(cells: Any) -> Any:
    """Small JPEGs of a column of pictures."""
    small = cells.img.convert("RGB").img.resize(SIDE, SIDE, fit="contain")
    return small.img.encode("jpeg", 80)


def _with_thumbnails(rows: pd.DataFrame) -> pd.DataFrame:
    data = thumbnails(rows["cell"].img.on_error("null")).img.to_bytes()
    found = [None if pd.isna(one) else one for one in data]
    return rows.drop(columns="cell").assign(thumb=pd.Series(found, rows.index, dtype=object))


def written(
    summary: pd.DataFrame,
    rows: int,
    causes: pd.Series,
    shown: pd.DataFrame,
    drops: str,
    dropped: int,
    listed: int,
) -> str:
    """The page, of which `drops` is the list of what to drop, with `listed` of those paths."""
    flagged = summary[summary["pictures"] > 0]
    lines = []
    for name, row in summary.iterrows():
        link = (
            f'<a href="#{quote(str(name))}">{_words(name)}</a>' if row["pictures"] else _words(name)
        )
        kind = "" if row["pictures"] else ' class="none"'
        source = (
            f'<br><span class="small">{html.escape(row["source"])}</span>' if row["source"] else ""
        )
        lines.append(
            f'<tr{kind}><td>{link}</td><td class="n">{row["pictures"]:,}</td>'
            f'<td class="n">{_share(row["share"])}</td>'
            f"<td>{_bar(row['share'])}</td>"
            f"<td>{html.escape(row['what'])}</td><td>{html.escape(row['threshold'])}{source}</td></tr>"
        )
    told = (
        f"<p>Worth dropping: {dropped:,} ({_share(dropped / max(rows, 1))}), broken and all but "
        f'the best of look-alikes. Their paths: <a href="{quote(drops)}">{html.escape(drops)}</a>'
        f"{f' ({dropped - listed:,} have none)' if listed < dropped else ''}</p>"
    )
    sections = [_section(str(name), row, causes, shown) for name, row in flagged.iterrows()]
    clean = "<p>Nothing was found.</p>" if not len(flagged) else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit</title>'
        f"<style>{STYLE}</style></head><body><h1>Audit of {rows:,} pictures</h1>{told}{clean}"
        "<table><thead><tr><th>rule</th><th class=n>pictures</th><th class=n>share</th><th></th>"
        f"<th>finds</th><th>measure</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
        f"{''.join(sections)}</body></html>\n"
    )


def _section(name: str, row: pd.Series, causes: pd.Series, shown: pd.DataFrame) -> str:
    mine = shown[(shown["rule"] == name).to_numpy(bool)]
    parts = [
        f'<h2 id="{html.escape(name)}">{_words(name)}: {row["pictures"]:,} '
        f'({_share(row["share"])})</h2><p class="small">{html.escape(row["what"])}; '
        f"measure: {html.escape(row['threshold'])}</p>"
    ]
    if name == "broken":
        told = "; ".join(f"{count:,} {cause}" for cause, count in causes.items())
        parts.append(f"<p>{html.escape(told)}</p>")
    groups = mine["group"].dropna().unique()
    blocks = []
    for group in groups:
        members = mine[(mine["group"] == group).fillna(False).to_numpy(bool)]
        blocks.append(f'<div class="row group">{"".join(map(_figure, _rows(members, True)))}</div>')
    if blocks:
        parts.append(f'<div class="groups">{"".join(blocks)}</div>')
    else:
        parts.append(f'<div class="row">{"".join(map(_figure, _rows(mine, False)))}</div>')
    if len(mine) < row["pictures"]:
        parts.append(f'<p class="small">{len(mine)} of {row["pictures"]:,} shown</p>')
    return "".join(parts)


def _rows(rows: pd.DataFrame, grouped: bool) -> list[dict[str, Any]]:
    records: list[Any] = rows.to_dict("records")
    return [{**row, "grouped": grouped} for row in records]


def _figure(row: dict[str, Any]) -> str:
    path = "" if pd.isna(row["path"]) else str(row["path"])
    name = _breakable("/".join(path.split("/")[-2:]))
    told = "" if pd.isna(row["told"]) else html.escape(str(row["told"]))
    if row["thumb"] is None:
        inner = f'<div class="no">{told or "no picture"}</div>'
        told = ""
    else:
        data = b64encode(row["thumb"]).decode()
        inner = f'<img src="data:image/jpeg;base64,{data}" alt="">'
    keep = row["grouped"] and row["best"]
    caption = "keep<br>" if keep else ""
    also = [issue for issue in row["issues"].split(", ") if issue not in (row["rule"], "")]
    if also:
        told += f'{"<br>" if told else ""}<span class="also">{_words(", ".join(also))}</span>'
    return (
        f'<figure{" class=keep" if keep else ""} title="{html.escape(path)}">{inner}'
        f"<figcaption>{caption}{name}<br>{told}</figcaption></figure>"
    )


def _breakable(name: str) -> str:
    """A name that may go on in the next line where its words end."""
    return re.sub(r"(?<=[/_-])(?=[^/_-])", "<wbr>", html.escape(name))


def _bar(share: float) -> str:
    return f'<span class="bar" style="width:{80 * share:.1f}px"></span>' if share else ""


def _words(name: Any) -> str:
    return html.escape(str(name).replace("_", " "))


def _share(share: float) -> str:
    return "0 %" if not share else f"{100 * share:.1f} %" if share >= 0.001 else "below 0.1 %"
