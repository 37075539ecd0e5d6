"""An audit: planted faults are found, others are not; the page shows them."""

from __future__ import annotations

import json
import re

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageFilter

import daskimg as di
from tests.clusters import ON_CLUSTER


def photo(seed, size=(240, 180)):
    """A picture with something to see at all scales, in colour."""
    rng = np.random.default_rng(seed)
    made = np.zeros((size[1], size[0], 3))
    for scale in (4, 16, 64):
        part = Image.fromarray(rng.integers(0, 256, (scale, scale, 3), dtype=np.uint8))
        made += np.asarray(part.resize(size, Image.Resampling.BICUBIC), float) / 3
    made = (made - made.min()) / (made.max() - made.min()) * 255
    return Image.fromarray(made.astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("collection")
    for n in range(12):
        photo(n).save(root / f"fine{n:02d}.jpg", quality=92)
    photo(0).save(root / "near.jpg", quality=60)
    (root / "copy.jpg").write_bytes((root / "fine01.jpg").read_bytes())
    ImageEnhance.Brightness(photo(20)).enhance(0.15).save(root / "dark.jpg")
    Image.fromarray(255 - np.asarray(photo(21)) // 30).save(root / "bright.jpg")
    Image.fromarray(100 + np.asarray(photo(22)) // 10).save(root / "low_contrast.jpg")
    photo(23).filter(ImageFilter.GaussianBlur(5)).save(root / "blurred.jpg")
    large = photo(24, (1600, 1200))
    large.filter(ImageFilter.GaussianBlur(35)).resize((320, 240)).save(root / "blurred_large.jpg")
    Image.new("RGB", (240, 180), (10, 120, 200)).save(root / "low_information.png")
    photo(25, (15, 12)).save(root / "odd_size.png")
    photo(26, (600, 80)).save(root / "odd_aspect.jpg")
    photo(27).convert("L").save(root / "grey.jpg", quality=92)
    clear = photo(28).convert("RGBA")
    clear.putalpha(Image.fromarray(np.arange(180 * 240).reshape(180, 240).astype(np.uint8)))
    clear.save(root / "transparent.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (48.0, 30.0, 0.0), "W", (2.0, 15.0, 0.0)
    photo(29).save(root / "turned_position.jpg", exif=exif, quality=92)
    photo(30).save(root / "wrong_extension.png", format="JPEG", quality=92)
    (root / "broken.jpg").write_bytes((root / "fine02.jpg").read_bytes()[:900])
    return root


def named(paths):
    return [re.search(r"([^/]+)\.\w+$", path)[1] for path in paths]


def table_of(audit):
    found = audit.table.compute(scheduler="sync")
    return found.assign(name=named(found.path)).set_index("name")


PLANTED = {
    "broken": ["broken"],
    "wrong_extension": ["wrong_extension"],
    "exact_duplicate": ["copy", "fine01"],
    "near_duplicate": ["copy", "fine00", "fine01", "near"],
    "dark": ["dark"],
    "bright": ["bright"],
    "low_contrast": ["bright", "low_contrast", "low_information"],
    "blurred": ["blurred", "blurred_large"],
    "low_information": ["low_information"],
    "odd_size": ["odd_size"],
    "odd_aspect": ["odd_aspect"],
    "grey": ["grey"],
    "transparent": ["transparent"],
    "turned": ["turned_position"],
    "position": ["turned_position"],
}


def test_what_was_planted_is_found_and_nothing_else(folder):
    audit = di.read_images(folder, files_per_partition=9).img.audit()
    with di.stats() as seen:
        found = table_of(audit)
    flagged = {name: sorted(found.index[found[name]]) for name in audit.rules}
    flagged["low_contrast"] = [n for n in flagged["low_contrast"] if n != "dark"]
    for name in ("grey", "low_information"):
        flagged[name] = [n for n in flagged[name] if n != "bright"]
    flagged["bright"] = [n for n in flagged["bright"] if n != "low_information"]
    assert flagged == PLANTED
    stages = seen.to_frame(by="stage").images
    assert stages["fetch"] == stages["decode"] == len(found)
    assert found.dtypes.drop("image").equals(audit.table.dtypes.drop("image"))
    assert found.issues["copy"] == "exact_duplicate, near_duplicate"
    assert found.issues["fine05"] == ""
    assert found.reason["broken"].startswith("decode: ")
    assert found.latitude["turned_position"] == 48.5
    assert found.longitude["turned_position"] == -2.25
    # of copies the first; of pictures as large the one of most bytes
    assert found.best[["fine00", "copy"]].all()
    assert not found.best[["near", "fine01"]].any()


def test_the_same_in_memory_and_by_any_partitions(folder):
    df = di.read_images(folder, files_per_partition=5)
    want = table_of(df.img.audit())
    for one in (df.compute(), di.read_images(folder, files_per_partition=100)):
        found = table_of(one.img.audit())
        pd.testing.assert_frame_equal(found.drop(columns="image"), want.drop(columns="image"))


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(tmp_path):
    for n, side in enumerate((300, 1200)):
        scaled = photo(31).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
        scaled.save(tmp_path / f"{n}.jpg", quality=92)
    with di.stats() as seen:
        found = table_of(di.read_images(tmp_path).img.audit())
    decoded = seen.to_frame(by="stage").loc["decode", "bytes"]
    assert decoded == 3 * 2 * 150 * 200  # by two, and by eight
    assert found.near_duplicate.all()
    assert found.best.tolist() == [False, True]
    assert found.blurriness["0"] == pytest.approx(found.blurriness["1"], abs=0.03)
    assert found.entropy["0"] == pytest.approx(found.entropy["1"], abs=0.1)


@pytest.mark.long
def test_many_small_partitions_are_few_tasks(folder, one_thread):
    df = di.read_images(folder, files_per_partition=1)
    assert df.npartitions == 27
    table = df.img.audit().table
    assert table.known_divisions
    assert table.npartitions == 2
    assert len(table.optimize().dask) < 4 * df.npartitions  # no shuffle, no pair of partitions
    want = df.img.audit().table.compute()
    assert want.index.tolist() == [*range(27)]
    pd.testing.assert_frame_equal(table.partitions[1].compute(), want.iloc[16:])
    beside = df.assign(dark=table.dark)[["path", "dark"]].compute()
    assert beside.path[beside.dark].tolist() == want.path[want.dark].tolist()


@pytest.mark.long
def test_more_hashes_than_one_task_compares(folder, monkeypatch, one_thread):
    df = di.read_images(folder, on_error="null", files_per_partition=5)

    def alike():
        pairs = df.img.near_duplicates().compute()
        groups = df.img.duplicate_groups().compute()
        return sorted(pairs.values.tolist()), groups.drop(columns="image")

    (pairs, groups), table = alike(), table_of(df.img.audit())
    monkeypatch.setattr("daskimg.curate.groups.SEARCHED", 2)
    assert "shuffle" in str([*df.img.duplicate_groups().optimize().dask])
    again = alike()
    assert len(pairs) == 2
    assert again[0] == pairs
    pd.testing.assert_frame_equal(again[1], groups)
    found = table_of(df.img.audit()).drop(columns="image")
    pd.testing.assert_frame_equal(found, table.drop(columns="image"))


@pytest.mark.long
def test_rows_of_unknown_divisions_stay_in_their_partitions(folder, one_thread):
    df = di.read_images(folder, files_per_partition=1).clear_divisions()
    table = df.img.audit().table
    assert table.npartitions == df.npartitions
    beside = df.assign(copy=table.exact_duplicate)[["path", "copy"]].compute()
    assert sorted(named(beside.path[beside["copy"]])) == ["copy", "fine01"]


@pytest.mark.long
@pytest.mark.parametrize("where", [pytest.param("cluster", marks=ON_CLUSTER), "processes"])
def test_the_same_on_a_cluster_and_by_processes(where, folder, request):
    df = di.read_images(folder, on_error="null", files_per_partition=5)
    df = df[df.image.img.brightness().isna() | (df.image.img.width > 100)]
    df = df.assign(kind=df.path.str.slice(-6, -5))
    want = table_of(df.img.audit(label="kind", split="kind")).drop(columns=["image", "path"])
    if where == "cluster":
        request.getfixturevalue("client")
    with dask.config.set(**({"scheduler": "processes"} if where == "processes" else {})):
        found = df.img.audit(label="kind", split="kind").table.compute()
    found = found.set_index(pd.Index(named(found.path), name="name"))
    pd.testing.assert_frame_equal(found.drop(columns=["image", "path"]), want)


@pytest.mark.long
def test_bytes_give_the_same_table(folder):
    df = di.read_images(folder, on_error="null", files_per_partition=9)
    want = table_of(df.img.audit()).drop(columns="image")
    read = df.assign(image=df.image.img.read()).img.audit()
    found = table_of(read)
    assert "image" not in found
    pd.testing.assert_frame_equal(found[want.columns], want)
    page = read.report(str(folder) + "_report/bytes.html")
    with open(page, encoding="utf-8") as file:
        assert file.read().count("<img src") >= 20


@pytest.mark.long
def test_labels_and_splits(folder, one_thread):
    df = di.read_images(folder, files_per_partition=7)
    names = df.path.str.extract(r"/([^/]+)\.\w+$", expand=False)
    df = df.assign(
        part=names.map({"near": "val"}, meta=("part", "string")).fillna("train"),
        kind=names.map({"copy": "cat", "fine01": "dog", "fine00": "cat"}, meta=("kind", "string")),
    )
    audit = df.img.audit(label="kind", split="part")
    found = table_of(audit)
    assert sorted(found.index[found.leak]) == ["fine00", "near"]
    # near has no label: nothing contradicts that of fine00
    assert sorted(found.index[found.label_conflict]) == ["copy", "fine01"]
    assert {"part", "kind"} <= {*found.columns}
    with pytest.raises(KeyError, match="no column 'none'"):
        df.img.audit(split="none")
    frame = df.compute()
    for label in ([None] * len(frame), pd.Categorical(frame.kind), frame.kind.map({"cat": 1.0})):
        found = table_of(frame.assign(kind=label).img.audit(label="kind"))
        want = ["copy", "fine01"] if isinstance(label, pd.Categorical) else []
        assert sorted(found.index[found.label_conflict]) == want
    with pytest.raises(TypeError, match="'kind': unhashable"):
        frame.assign(kind=[[1]] * len(frame)).img.audit(label="kind").table.compute()
    with pytest.raises(ValueError, match="reset_index"):
        frame.set_index(["path", "kind"]).img.audit()


def test_rules_of_ones_own(folder, one_thread):
    df = di.read_images(folder, on_error="null", files_per_partition=9)
    large = df.image.img.width > 300
    audit = df.img.audit(rules={"dark": df.image.img.brightness() > 230, "large": large,
                                "odd_aspect": 9, "grey": None})  # fmt: skip
    found = table_of(audit)
    assert sorted(found.index[found.dark]) == ["bright"]
    assert sorted(found.index[found.large]) == ["blurred_large", "odd_aspect"]
    assert not found.odd_aspect.any()
    assert "grey" not in found.columns
    assert audit.summary().loc["odd_aspect", "threshold"] == "aspect above 9"
    frame = df.compute()
    same = frame.img.audit(rules={"named": pd.Series(named(frame.path), frame.index) == "grey"})
    assert table_of(same).named.sum() == 1
    for rules, told in [({"dark": "x"}, "a column of bools"), ({"new": 3}, "a column of bools"),
                        ({"broken": 3}, "a column of bools"),
                        ({"darkk": None}, "a column of bools"),
                        ({"dark": np.nan}, "a column of bools"), ({"group": large}, "no name for"),
                        ({3: large}, "no name for")]:  # fmt: skip
        with pytest.raises(ValueError, match=told):
            df.img.audit(rules=rules)
    with pytest.raises(TypeError, match="column of bools"):
        df.img.audit(rules={"dark": df.image.img.brightness()})


def test_summary_and_page(folder, tmp_path, one_thread):
    audit = di.read_images(folder, files_per_partition=9).img.audit()
    summary = audit.summary()
    found = table_of(audit)
    assert summary.pictures.to_dict() == {name: found[name].sum() for name in audit.rules}
    assert summary.share["broken"] == pytest.approx(1 / len(found))
    path = audit.report(tmp_path / "new" / "audit.html")
    with open(path, encoding="utf-8") as file:
        page = file.read()
    assert f"Audit of {len(found)} pictures" in page
    assert 'href="audit.drop.txt"' in page
    assert "http" not in page.replace("https://", "http://").split("<style>")[0]
    for name in PLANTED:
        assert f'<h2 id="{name}">' in page
    section = page.split('<h2 id="near_duplicate">')[1].split("<h2")[0]
    assert section.count('class="row group"') == 2
    assert section.count("keep<br>") == 2
    assert "truncated" in page.split('<h2 id="broken">')[1].split("<h2")[0]
    drops = (tmp_path / "new" / "audit.drop.txt").read_text().splitlines()
    assert sorted(named(drops)) == ["broken", "fine01", "near"]


def test_names_of_files_are_no_markup(tmp_path, one_thread):
    photo(1).save(tmp_path / "<b>&amp;.jpg")
    (tmp_path / "<script>.jpg").write_bytes(b"none")
    path = di.read_images(tmp_path).img.audit().report(tmp_path / "audit.html")
    with open(path, encoding="utf-8") as file:
        page = file.read()
    assert "<script>" not in page
    assert "&lt;script&gt;.jpg" in page


@pytest.mark.long
def test_a_name_in_the_list_of_what_to_drop_is_one_line(tmp_path, one_thread):
    for name in ("a\nb.jpg", "c.jpg", "d\u2028.jpg", "e\r.jpg"):
        (tmp_path / name).write_bytes(b"none")
    df = di.read_images(tmp_path)
    df.img.audit().report(tmp_path / "page" / "x.html")
    lines = (tmp_path / "page" / "x.drop.txt").read_text("utf-8").splitlines()
    paths = [json.loads(line) if line.startswith('"') else line for line in lines]
    assert paths == df.path.compute().tolist()
    assert f"{tmp_path}/c.jpg" in lines
    df.img.audit(rules={"broken": None}).report(tmp_path / "page" / "x.html")
    assert (tmp_path / "page" / "x.drop.txt").read_text() == ""


def test_pictures_without_a_path_are_counted(tmp_path, one_thread):
    cells = pd.array([np.asarray(photo(n // 2)) for n in range(4)], dtype="image")
    page = pd.DataFrame({"image": cells}).img.audit().report(tmp_path / "x.html")
    with open(page, encoding="utf-8") as file:
        assert "Worth dropping: 2 (50.0 %)" in (text := file.read())
    assert "(2 have none)" in text


def test_rules_names_are_no_markup(tmp_path, one_thread):
    photo(1).save(tmp_path / "a.jpg")
    df = di.read_images(tmp_path)
    page = df.img.audit(rules={'<b>"x': df.image.img.width > 0}).report(tmp_path / "x.html")
    with open(page, encoding="utf-8") as file:
        text = file.read()
    assert "<b>" not in text
    assert 'href="#%3Cb%3E%22x"' in text
    assert "&lt;b&gt;&quot;x" in text


def test_a_faulty_picture_is_the_best_only_of_faulty_ones(tmp_path, one_thread):
    sharp = photo(1)
    sharp.resize((120, 90)).save(tmp_path / "small.jpg", quality=92)
    sharp.resize((960, 720)).filter(ImageFilter.GaussianBlur(20)).save(tmp_path / "large.jpg")
    df = di.read_images(tmp_path)
    table = table_of(df.img.audit())
    assert table.group.tolist() == [0, 0]
    assert table.issues["large"] == "near_duplicate, blurred"
    assert table.best.to_dict() == {"large": False, "small": True}
    assert table_of(df.img.audit(rules={"blurred": None})).best["large"]
    own = table_of(df.img.audit(rules={"dark": df.image.img.height < 100, "blurred": None}))
    assert own.best["large"]
    own = table_of(df.img.audit(rules={"dark": df.image.img.height > 0}))
    assert own.best["large"]  # all of them are faulty


def test_what_is_held_is_looked_at_once(folder, tmp_path, one_thread):
    df = di.read_images(folder, files_per_partition=9)
    with di.stats() as seen:
        audit = df.img.audit().persist()
    assert seen.to_frame(by="stage").images["decode"] == len(df)
    with di.stats() as seen:
        found = table_of(audit)
        assert audit.summary().pictures["blurred"] == 2
        rest = audit.table[audit.table.blurred].path.compute()
    assert not len(seen.to_frame(by="stage"))
    assert len(rest) == 2
    want = table_of(df.img.audit())
    pd.testing.assert_frame_equal(found.drop(columns="image"), want.drop(columns="image"))
    assert audit.report(tmp_path / "x.html")


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("kind", ["none readable", "one", "equal", "missing"])
def test_small_and_bad_collections(kind, tmp_path, one_thread):
    if kind == "missing":
        cells = pd.array([None, np.asarray(photo(1))], dtype="image")
        df = dd.from_pandas(pd.DataFrame({"image": cells}), 1, sort=False)
    else:
        for n in range({"one": 1}.get(kind, 4)):
            if kind == "none readable":
                (tmp_path / f"{n}.jpg").write_bytes(b"none %d" % n)
            else:
                photo(1).save(tmp_path / f"{n}.jpg", quality=92)
        df = di.read_images(tmp_path)
    audit = df.img.audit()
    found = audit.table.compute()
    flagged = {name: int(found[name].sum()) for name in audit.rules if found[name].any()}
    want = {
        "none readable": {"broken": 4},
        "one": {},
        "equal": {"exact_duplicate": 4, "near_duplicate": 4},
        "missing": {},
    }
    assert flagged == want[kind]
    assert audit.summary().pictures.sum() == sum(flagged.values())
    assert audit.report(tmp_path / "x.html")


def test_an_audit_is_lazy(folder, monkeypatch):
    df = di.read_images(folder)
    monkeypatch.setattr(dask, "compute", None)
    audit = df.img.audit()
    assert {"path", "image", "issues"} < {*audit.table.columns}
    assert "near_duplicate" in repr(audit)
