"""The report: tables as CSV and Parquet, and one HTML page with everything inside it."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

import pandas as pd
from report_plot import revenue_against_quality

#: Picture quality from here up is good, from POOR up is fair.
GOOD, POOR = 70.0, 50.0
SHEET, FIRST, PAIRS, BROKEN = 96, 7, 24, 50
BROKEN_TILE = '<span class="none">broken file</span>'
PICTURE = [
    "file",
    "product_id",
    "format",
    "height",
    "width",
    "brightness",
    "contrast",
    "sharpness",
    "light",
    "tone",
    "detail",
    "quality",
    "phash",
    "dhash",
    "reason",
    "error",
]
#: What is wrong with a file, for people who sell things: the first pattern that its error holds.
WORDS = {
    "FileNotFoundError": "the file is gone",
    "PermissionError": "the file may not be opened",
    "TooManyPixels|TooManyBytes": "the picture is larger than allowed",
    "FormatNotAllowed": "a kind of picture that is not allowed here",
    "(?i)truncated|EOF|Expected to read": "the file breaks off: copy or upload it again",
    "(?i)no bytes|empty": "the file is empty: copy or upload it again",
    "^read": "the file could not be fetched",
    "TimeoutError|ChildProcessError|MemoryError": "the file harms the program that opens it",
    "cannot identify|expected": "no picture, whatever its name says",
}
DAMAGED = "the file is damaged: copy or upload it again"


class Results(NamedTuple):
    """What the report shows. `pictures` has a row for every file, broken ones included."""

    pictures: pd.DataFrame
    products: pd.DataFrame
    categories: pd.DataFrame
    near_duplicates: pd.DataFrame
    quantity: int
    revenue: float


def write_report(output: Path, results: Results, note: str) -> list[Path]:
    """Write the four tables, each as CSV and as Parquet, and `report.html`; returns the files."""
    output.mkdir(parents=True, exist_ok=True)
    pictures = results.pictures[PICTURE]
    tables = {
        "categories": results.categories,
        "products": results.products,
        "pictures": pictures.assign(
            phash=hexadecimal(pictures["phash"]), dhash=hexadecimal(pictures["dhash"])
        ),
        "near_duplicates": results.near_duplicates,
    }
    written = []
    for name, table in tables.items():
        table.to_csv(output / f"{name}.csv", index=False, float_format="%.2f")
        table.to_parquet(output / f"{name}.parquet", index=False)
        written += [output / f"{name}.csv", output / f"{name}.parquet"]
    page = output / "report.html"
    page.write_text(html_page(results, note), encoding="utf-8")
    return [page, *written]


def in_words(error: str) -> str:
    """Why a picture could not be opened, in words."""
    return next((words for pattern, words in WORDS.items() if re.search(pattern, error)), DAMAGED)


def hexadecimal(hashes: pd.Series) -> pd.Series:
    """64-bit hashes as text: a CSV reader would make floats of integers with gaps."""
    return hashes.map(lambda h: f"{int(h):016x}", na_action="ignore").astype("string")


def html_page(results: Results, note: str) -> str:
    here = Path(__file__).parent
    sheet, shown = contact_sheet(results)
    return Template((here / "report.html").read_text(encoding="utf-8")).substitute(
        style=(here / "report.css").read_text(encoding="utf-8"),
        note=escape(note),
        cards=headline(results),
        first=fix_first(results),
        poor=f"{POOR:.0f}",
        good=f"{GOOD:.0f}",
        categories=category_table(results),
        wide=revenue_against_quality(results.products, GOOD, POOR, 10.4, 5.6, labels=9),
        narrow=revenue_against_quality(results.products, GOOD, POOR, 4.8, 5.4, labels=6),
        pairs=duplicate_pairs(results),
        broken=broken_files(results),
        sheet=sheet,
        shown=shown,
    )


def headline(results: Results) -> str:
    broken = int(results.pictures["reason"].notna().sum())
    at_risk = results.categories["at_risk"].sum()
    share = at_risk / results.revenue if results.revenue else 0
    copies = len(results.near_duplicates)
    cards = [
        (f"{results.revenue:,.0f}", f"revenue, {results.quantity:,} units", False),
        (f"{len(results.products):,}", f"products in {len(results.categories)} categories", False),
        (
            f"{len(results.pictures) - broken:,}",
            f"pictures read of {len(results.pictures):,} files",
            False,
        ),
        (f"{share:.0%}", "of revenue is of products with a poor picture, or none", share > 0),
        (f"{broken:,}", "broken files", broken > 0),
        (f"{copies:,}", "near-duplicate pairs", False),
    ]
    return "".join(
        f'<div class="card{" alert" if alert else ""}"><b>{value}</b><span>{label}</span></div>'
        for value, label, alert in cards
    )


def fix_first(results: Results) -> str:
    """The worst picture of products with a poor one, those first that sell most and show least."""
    products = results.products
    weak = products[products["worst"].isna() | (products["worst"] < POOR)]
    lost = weak["revenue"] * (100 - weak["worst"].fillna(0))
    weak = weak.loc[lost[lost > 0].sort_values(ascending=False, kind="stable").index[:FIRST]]
    if weak.empty:
        return '<p class="note">No product that sells has a poor picture.</p>'
    tiles = []
    for product in weak.itertuples():
        mine = results.pictures[results.pictures["product_id"] == product.product_id]
        mine = mine[mine["reason"].isna()].sort_values("quality")
        if len(mine):
            picture = mine.iloc[0]
            image, why = thumbnail(picture), f"{chip(picture['quality'])} {weakness(picture)}"
        else:
            image = '<span class="none">no picture</span>'
            why = "only broken files" if product.files else "none in the folder"
        sold = f"{product.revenue:,.0f} revenue"
        tiles.append(tile(image, str(product.name), f"{sold}<br>{why}"))
    return f'<div class="sheet">{"".join(tiles)}</div>'


def category_table(results: Results) -> str:
    table = results.categories
    most = max(table["revenue"].max(), 1e-9)
    head = (
        "Category",
        "Revenue",
        "Picture quality",
        "With a poor picture",
        "Units",
        "Products",
        "Pictures",
        "Broken",
    )
    rows = []
    for row in table.itertuples():
        quality = "no picture" if pd.isna(row.quality) else f"{row.quality:.0f}"
        part = 0 if pd.isna(row.quality) else row.quality
        rows.append(
            f"<tr><td>{escape(str(row.category))}</td>"
            f"{bar(f'{row.revenue:,.2f}', 100 * row.revenue / most, '#9fb3aa')}"
            f"{bar(quality, part, f'var(--{grade(row.quality)})')}"
            f"{cells(row.at_risk, row.quantity, row.products, row.files - row.broken, row.broken)}"
            "</tr>"
        )
    sums = table[["at_risk", "quantity", "products", "files", "broken"]].sum()
    total = (
        f"<tr><td>Total</td><td>{results.revenue:,.2f}</td><td></td>"
        + cells(sums.at_risk, sums.quantity, sums.products, sums.files - sums.broken, sums.broken)
        + "</tr>"
    )
    return (
        f'<div class="box"><table><thead><tr>{"".join(f"<th>{h}</th>" for h in head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody><tfoot>{total}</tfoot></table></div>"
    )


def duplicate_pairs(results: Results) -> str:
    pairs = results.near_duplicates
    if pairs.empty:
        return '<p class="note">No two files show the same photograph.</p>'
    pictures = results.pictures.set_index("file", drop=False)
    blocks = []
    for pair in pairs.head(PAIRS).itertuples():
        sides = "".join(
            tile(thumbnail(row), name, f"{row['width']} x {row['height']} {row['format']}")
            for name, row in ((n, pictures.loc[n]) for n in (pair.file_a, pair.file_b))
        )
        whose = "" if pair.same_product else '<span class="chip poor">two products</span> '
        bits = f"{pair.phash_distance} and {pair.dhash_distance} of 64 bits differ (phash, dhash)"
        blocks.append(f'<div class="pair"><div>{sides}</div><p>{whose}{bits}</p></div>')
    more = f'<p class="note">{len(pairs) - PAIRS:,} more in the tables.</p>'
    return f'<div class="pairs">{"".join(blocks)}</div>{more if len(pairs) > PAIRS else ""}'


def broken_files(results: Results) -> str:
    broken = results.pictures[results.pictures["reason"].notna()]
    if broken.empty:
        return '<p class="note">Every file could be read.</p>'
    names = results.products.set_index("product_id")["name"]
    rows = "".join(
        f"<tr><td><code>{escape(row.file)}</code></td>"
        f'<td class="text">{escape(str(names.get(row.product_id, "")))}</td>'
        f'<td class="text">{escape(row.reason)}</td></tr>'
        for row in broken.head(BROKEN).itertuples()
    )
    more = f'<p class="note">{len(broken) - BROKEN:,} more in the tables.</p>'
    return (
        '<div class="box"><table class="stack"><thead><tr><th>File</th><th class="text">'
        f'Product</th><th class="text">Reason</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f"{more if len(broken) > BROKEN else ''}"
    )


def contact_sheet(results: Results) -> tuple[str, str]:
    """The first picture of every product, then the second ones, while there is room."""
    names = results.products.set_index("product_id")["name"]
    pictures = results.pictures.sort_values(["product_id", "file"])
    turn = pictures.groupby("product_id", dropna=False).cumcount()
    picked = pictures.loc[turn.sort_values(kind="stable").index[:SHEET]]
    picked = picked.sort_values(["product_id", "file"])
    tiles = []
    for _, row in picked.iterrows():
        whole = pd.isna(row["reason"])
        image = thumbnail(row) + chip(row["quality"]) if whole else BROKEN_TILE
        name = str(names.get(row["product_id"], "no product"))
        file = escape(Path(row["file"]).name)
        tiles.append(tile(image, name, f'<span class="file">{file}</span>'))
    shown = f"{len(picked):,} of {len(pictures):,} files"
    return f'<div class="sheet">{"".join(tiles)}</div>', shown


def tile(image: str, title: str, below: str) -> str:
    return (
        f'<figure><div class="tile">{image}</div>'
        f"<figcaption><b>{escape(title)}</b>{below}</figcaption></figure>"
    )


def thumbnail(row: pd.Series) -> str:
    data = base64.b64encode(row["thumbnail"]).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(row["file"])}">'


def cells(*numbers: float) -> str:
    return "".join(f"<td>{number:,.0f}</td>" if number else "<td>-</td>" for number in numbers)


def bar(text: str, percent: float, fill: str) -> str:
    style = f"--part:{percent:.1f}%;--fill:{fill}"
    return f'<td class="bar">{text}<i style="{style}"></i></td>'


def grade(quality: float) -> str:
    return "good" if quality >= GOOD else "fair" if quality >= POOR else "poor"


def chip(quality: float) -> str:
    return f'<span class="chip {grade(quality)}">{quality:.0f}</span>'


def weakness(picture: pd.Series) -> str:
    """What pulls a picture's quality down most."""
    parts = {
        "light": "too dark" if picture["brightness"] < 128 else "too bright",
        "tone": "low contrast",
        "detail": "not sharp",
    }
    return parts[min(parts, key=lambda part: picture[part])]
