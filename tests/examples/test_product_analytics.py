"""The main job, end to end: the demo shop, awkward inputs, and real photographs when present."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import product_analytics
import pytest
from demo_catalogue import PRODUCTS, make_shop
from PIL import Image

import daskimg as di

BROKEN = {"prints/302_3.jpg", "garden/402_3.png", "workshop/502_1.jpg", "collectors/603_3.png"}
PLANTED = {("kitchen/101_1.jpg", "kitchen/101_3.jpg"), ("prints/305_1.jpg", "prints/305_3.jpg")}
SHARED = Path(os.environ.get("DASKIMG_SHARED", Path(__file__).resolve().parents[3] / "shared"))
GROCERY = SHARED / "data" / "grocery"


class Report(NamedTuple):
    folder: Path
    printed: str
    opened: Counter

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / f"{name}.parquet")


class OpenCounter:
    """Counts the files below a folder that are opened for reading, by Python's own audit."""

    def __init__(self) -> None:
        self.below, self.opened = "", Counter()
        sys.addaudithook(self.see)

    def see(self, event: str, arguments: tuple) -> None:
        if self.below and event == "open" and isinstance(arguments[0], str):
            path, mode, _ = arguments
            if path.startswith(self.below) and (mode is None or "r" in mode):
                self.opened[path] += 1


OPENS = OpenCounter()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("demo") / "report"
    OPENS.below = str(folder / "shop" / "pictures")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert product_analytics.main(["--output", str(folder)]) == 0
    OPENS.below = ""
    return Report(folder, printed.getvalue(), OPENS.opened.copy())


def run(folder: Path, **options: object) -> int:
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return product_analytics.main([*arguments, f"--output={folder}"])


def test_every_file_is_a_row_and_only_broken_ones_have_a_reason(report: Report) -> None:
    pictures = report.table("pictures")
    files = {
        p.relative_to(report.folder / "shop" / "pictures").as_posix()
        for p in (report.folder / "shop" / "pictures").rglob("*.*")
    }
    assert len(pictures) == 40
    assert set(pictures["file"]) == files
    assert set(pictures.loc[pictures["reason"].notna(), "file"]) == BROKEN
    assert set(pictures.loc[pictures["quality"].isna(), "file"]) == BROKEN
    assert set(pictures.loc[pictures["phash"].isna(), "file"]) == BROKEN
    assert pictures["quality"].dropna().between(0, 100).all()


def test_each_picture_is_opened_once(report: Report) -> None:
    assert len(report.opened) == 40
    assert set(report.opened.values()) == {1}


def test_sizes_are_upright_and_measures_are_numpys(report: Report) -> None:
    pictures = report.table("pictures").set_index("file")
    turned = pictures.loc["prints/301_2.jpg"]  # saved on its side, with an EXIF note
    assert (turned["height"], turned["width"]) == (180, 240)
    with Image.open(report.folder / "shop" / "pictures" / "prints" / "304_1.png") as moon:
        grey = np.asarray(moon, dtype=float)
    assert pictures.loc["prints/304_1.png", "brightness"] == pytest.approx(grey.mean(), rel=1e-6)
    assert pictures.loc["prints/304_1.png", "contrast"] == pytest.approx(grey.std(), rel=1e-6)


def test_sales_are_the_sales_tables(report: Report) -> None:
    sales = pd.read_parquet(report.folder / "shop" / "sales")
    products, categories = report.table("products"), report.table("categories")
    for column in ("quantity", "revenue"):
        by_hand = sales.groupby("product_id")[column].sum().round(2)
        mine = products.set_index("product_id")[column]
        assert mine[mine > 0].sort_index().to_dict() == by_hand.to_dict()
        assert round(mine.sum(), 2) == round(sales[column].sum(), 2)
        assert round(categories[column].sum(), 2) == round(sales[column].sum(), 2)


def test_products_with_any_number_of_pictures_stay(report: Report) -> None:
    products = report.table("products").set_index("product_id")
    assert len(products) == len(PRODUCTS)
    assert products["files"].to_dict() == {p.product_id: len(p.views) for p in PRODUCTS}
    assert products.loc[701, ["files", "broken"]].tolist() == [0, 0]  # sold without a picture
    assert products.loc[502, ["files", "broken"]].tolist() == [1, 1]  # its only file is broken
    assert products.loc[[701, 502], "quality"].isna().all()
    assert products.loc[403, "revenue"] == 0  # shown but not sold


def test_near_duplicates_are_the_planted_ones(report: Report) -> None:
    pairs = report.table("near_duplicates")
    assert set(zip(pairs["file_a"], pairs["file_b"], strict=True)) >= PLANTED
    assert pairs["same_product"].all()


def test_page_shows_everything_and_needs_nothing(report: Report) -> None:
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    sheet = page[page.index("Contact sheet") :]
    assert sheet.count('<img src="data:image/jpeg;base64,') == 36
    assert sheet.count("broken file</span>") == 4
    assert all(name in page for name in BROKEN)
    assert "<svg" in page
    assert "Gift card" in page
    assert str(report.folder.parent) not in page  # no path of this machine
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)  # nothing to fetch


@pytest.mark.long
def test_page_and_tables_are_the_same_every_time(report: Report, tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    for name in ("report.html", "pictures.csv", "products.csv", "categories.csv"):
        assert (tmp_path / name).read_bytes() == (report.folder / name).read_bytes(), name


def test_csv_tells_what_parquet_tells(report: Report) -> None:
    for name in ("pictures", "products", "categories", "near_duplicates"):
        table, text = report.table(name), pd.read_csv(report.folder / f"{name}.csv")
        assert list(text.columns) == list(table.columns)
        assert len(text) == len(table)
        for column in table.select_dtypes("float"):
            np.testing.assert_allclose(text[column], table[column].astype(float), atol=0.00501)
        lines = (report.folder / f"{name}.csv").read_text(encoding="utf-8")
        assert not re.search(r"\d\.\d{3,}[,\n]", lines), "two decimals"


def test_a_poor_picture_is_the_same_everywhere(report: Report) -> None:
    """What a category has behind poor pictures is what "Fix these first" is chosen from."""
    products, categories = report.table("products"), report.table("categories")
    weak = products[products["worst"].isna() | (products["worst"] < 50)]
    by_hand = weak.groupby("category")["revenue"].sum()
    found = categories.set_index("category")["at_risk"]
    assert found[found > 0].round(2).to_dict() == by_hand[by_hand > 0].round(2).to_dict()
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    first = page[page.index("Fix these first") : page.index("Revenue against")]
    shown = re.findall(r"<figcaption><b>(.*?)</b>", first)
    lost = weak["revenue"] * (100 - weak["worst"].fillna(0))
    order = weak.loc[lost[lost > 0].sort_values(ascending=False, kind="stable").index, "name"]
    assert shown == order.head(len(shown)).tolist()
    assert len(shown) == min(len(order), 7)


def test_reasons_are_words(report: Report) -> None:
    page = (report.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"[A-Z][a-z]+(Identified|Image)?Error", page)
    broken = report.table("pictures").dropna(subset="reason")
    assert broken["reason"].str.contains("^(the file|no picture|the picture)").all()
    assert broken["error"].str.contains(": ").all()  # the tables keep what was raised, too


def test_it_prints_what_was_read_and_written(report: Report) -> None:
    assert "40 files: 36 pictures read, 4 broken" in report.printed
    written = re.findall(r"^ +(.+)$", report.printed, flags=re.MULTILINE)
    assert len(written) == 9
    assert all(Path(name).is_file() for name in written)


def awkward_shop(folder: Path) -> dict[str, Path]:
    """Text ids, a product listed twice, sales of unlisted and of unnamed products, 3 pictures."""
    random = np.random.default_rng(0)
    for name in ("cup/a.png", "cup/b.png", "cup/c.png", "jug/a.png", "stray/a.png"):
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    (folder / "pictures" / "jug" / "b.jpg").write_bytes(b"not a picture")
    catalogue = pd.DataFrame(
        {
            "product_id": ["cup", "jug", "mug", "cup"],
            "category": ["drink", "drink", "drink", "again"],
        }
    )
    catalogue.to_csv(folder / "catalogue.csv", index=False)
    sales = pd.DataFrame(
        {
            "product_id": ["cup", "cup", "jug", "mug", "unlisted", None],
            "quantity": [1, 2, 3, 4, 5, 6],
            "revenue": [0.1, 0.2, 0.333333, 1e9, None, 7.0],
        }
    )
    sales.to_parquet(folder / "sales.parquet")
    return {
        "images": folder / "pictures",
        "sales": folder / "sales.parquet",
        "catalogue": folder / "catalogue.csv",
    }


def test_no_sale_is_lost_or_counted_twice(tmp_path: Path) -> None:
    assert run(tmp_path / "report", **awkward_shop(tmp_path)) == 0
    report = Report(tmp_path / "report", "", Counter())
    categories = report.table("categories").set_index("category")
    assert categories["quantity"].to_dict() == {"drink": 10, product_analytics.UNLISTED: 11}
    assert categories.loc["drink", "revenue"] == 1_000_000_000.633333
    assert categories.loc[product_analytics.UNLISTED, "revenue"] == 7.0
    assert categories["files"].sum() == len(report.table("pictures")) == 6
    assert categories["broken"].sum() == 1


@pytest.mark.long
def test_many_partitions_join_as_few_do(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(180):
        folder = tmp_path / "pictures" / f"p{number % 30}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (12, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    images = str(tmp_path / "pictures")
    assert di.read_images(images).npartitions > 8
    assert run(tmp_path / "report", images=images) == 0
    products = Report(tmp_path / "report", "", Counter()).table("products")
    assert products["files"].tolist() == [6] * 30


@pytest.mark.long
def test_folders_are_a_catalogue_and_sales_can_be_invented(tmp_path: Path) -> None:
    images = awkward_shop(tmp_path)["images"]
    assert run(tmp_path / "report", images=images, sales="demo") == 0
    report = Report(tmp_path / "report", "", Counter())
    sales = pd.read_parquet(tmp_path / "report" / "demo-sales")
    assert set(report.table("products")["product_id"]) == {"cup", "jug", "stray"}
    assert report.table("products")["revenue"].sum() == pytest.approx(sales["revenue"].sum())
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "invented" in page


@pytest.mark.long
def test_file_names_and_an_integer_catalogue_agree(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)  # without --partitioning the file names tell the product
    options = {"images": shop.images, "sales": shop.sales, "catalogue": shop.catalogue}
    assert run(tmp_path / "report", **options) == 0
    products = Report(tmp_path / "report", "", Counter()).table("products")
    assert products.set_index("product_id")["files"].to_dict() == {
        p.product_id: len(p.views) for p in PRODUCTS
    }


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("images", "nowhere", "nowhere"),
        ("sales", "nowhere.parquet", "nowhere.parquet"),
        ("catalogue", "nowhere.sqlite", "nowhere.sqlite"),
        ("catalogue", "other.csv", "product_id"),
        ("catalogue", "two.sqlite", "products"),
    ],
)
def test_bad_input_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, named: str
) -> None:
    options = awkward_shop(tmp_path)
    (tmp_path / "other.csv").write_text("sku,category\n1,drink\n")
    with sqlite3.connect(tmp_path / "two.sqlite") as database:
        database.execute("CREATE TABLE one (product_id)")
        database.execute("CREATE TABLE two (product_id)")
    options[option] = tmp_path / value
    assert run(tmp_path / "report", **options) == 2
    assert named in capsys.readouterr().err


def test_pictures_of_no_product_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = awkward_shop(tmp_path)
    options["catalogue"].write_text("product_id,category\nteapot,drink\n")
    assert run(tmp_path / "report", **options) == 2
    assert "--partitioning" in capsys.readouterr().err
    assert run(tmp_path / "report", **options, partitioning="{sku}/{view}.{ext}") == 2
    assert "{product_id}" in capsys.readouterr().err


@pytest.mark.long
def test_a_shop_without_a_good_picture_or_a_sale_has_a_report(tmp_path: Path) -> None:
    options = awkward_shop(tmp_path)
    for picture in options["images"].rglob("*.*"):
        picture.write_bytes(b"not a picture")
    sales = pd.DataFrame({"product_id": ["cup"], "quantity": [0], "revenue": [0.0]})
    sales.to_parquet(options["sales"])
    assert run(tmp_path / "report", **options) == 0
    report = Report(tmp_path / "report", "", Counter())
    assert report.table("categories")["broken"].sum() == 6
    assert report.table("near_duplicates").empty


def test_flat_pictures_are_in_no_pair() -> None:
    flat = pd.DataFrame(
        {
            "file": ["a", "b"],
            "product_id": [1, 2],
            "height": [9, 9],
            "width": [9, 9],
            "contrast": [0.0, 0.0],
            "phash": [0, 0],
            "dhash": [0, 0],
        }
    )
    assert product_analytics.look_alikes(flat).empty
    assert len(product_analytics.look_alikes(flat.assign(contrast=30.0))) == 1
    assert product_analytics.look_alikes(flat.assign(contrast=30.0, width=[9, 12])).empty
    assert product_analytics.look_alikes(flat.head(0)).empty


@pytest.mark.long
@pytest.mark.skipif(not GROCERY.is_dir(), reason="the shared photographs are not here")
def test_copies_are_found_among_real_products_and_nothing_else(tmp_path: Path) -> None:
    """Every tenth shelf photograph and every catalogue picture, re-encoded and at half size."""
    iconic = sorted((GROCERY / "iconic-images-and-descriptions").rglob("*.jpg"))
    shelf = sorted((GROCERY / "train").rglob("*.jpg"))[::10]
    for number, original in enumerate([*iconic, *shelf]):
        folder = tmp_path / original.parent.name
        folder.mkdir(exist_ok=True)
        with Image.open(original) as image:
            image = image.convert("RGB")
            image.save(folder / f"{number}-original.jpg", quality=95)
            image.save(folder / f"{number}-again.jpg", quality=50)
            half = image.resize((image.width // 2, image.height // 2))
            half.save(folder / f"{number}-half.jpg", quality=90)
    images = di.read_images(str(tmp_path), partitioning=["product_id"])
    pictures = images.assign(
        file=images["path"],
        height=images["image"].img.height,
        width=images["image"].img.width,
        contrast=images["image"].img.contrast(),
        phash=images["image"].img.hash("phash"),
        dhash=images["image"].img.hash("dhash"),
    )
    pairs = product_analytics.look_alikes(pictures.drop(columns="image").compute())
    number = [
        pairs[side].str.extract(r"/(\d+)-\w+\.jpg$", expand=False) for side in ("file_a", "file_b")
    ]
    assert (number[0] == number[1]).sum() == 3 * (len(iconic) + len(shelf))
    assert pairs["same_product"].all()
