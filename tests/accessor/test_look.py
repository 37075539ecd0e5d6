"""Looking at what there is: contact sheets with labels, and ``.img`` itself."""

import re

import dask.dataframe as dd
import numpy as np
import pandas as pd
import PIL.Image
import pytest

import daskimg as di

FRAME = pd.DataFrame(
    {
        "image": pd.Series([np.zeros((4, 5, 3), "uint8")] * 5, dtype="image"),
        "class": pd.array(["cat", "dog", None, "cow", "hen"], "string"),
    }
)
BOTH = [FRAME, dd.from_pandas(FRAME, npartitions=3)]


@pytest.mark.parametrize("df", BOTH, ids=["pandas", "dask"])
def test_labels(df):
    sheet = df.img.show(n=4, label="class")
    for other in (
        df.img.show("image", 4, label=df["class"]),
        df.img.show(n=4, label=["cat", "dog", "", "cow", "hen"]),
        df.image.img.show(4, label=df["class"]),
    ):
        assert other.gallery == sheet.gallery
    assert [word in sheet.gallery for word in ("cat", "dog", "cow", "hen")] == [True] * 3 + [False]
    assert df.img.show(columns=2).size == (344, 512)


def test_a_dask_column_knows_the_others_of_its_frame():
    df = BOTH[1].assign(frame="p", operand=BOTH[1]["class"])
    sheet = df.img.show(n=3, label="class")
    for cells in (
        df.image,
        df[["image", "class"]]["image"],
        df.image.rename("y"),
        df.rename(columns={"image": "x"}).x,
        df.assign(class_of=df["class"]).image.img.rotate(0),
    ):
        assert cells.img.show(3, label="class").gallery == sheet.gallery
    assert "dog" in df.image.img.show(3, label="operand").gallery  # also names of Dask's own
    assert df.image.img.show(3, label="frame").gallery.count(">p<") == 3
    dogs = df[df["class"] == "dog"].image.img.show(label="class").gallery
    assert [word in dogs for word in ("dog", "cat")] == [True, False]
    with pytest.raises(KeyError, match="no column 'klass'; the columns are image, class"):
        df.image.img.show(label="klass")


@pytest.mark.parametrize("cells", [BOTH[0].image, BOTH[1].image.persist()], ids=["pandas", "dask"])
def test_a_column_alone_does_not(cells):
    with pytest.raises(TypeError, match=r"df.img.show\('image', label='class'\)"):
        cells.img.show(label="class")


@pytest.mark.parametrize("df", BOTH, ids=["pandas", "dask"])
def test_labels_that_are_none(df):
    with pytest.raises(KeyError, match="no column 'klass'; the columns are image, class"):
        df.img.show(label="klass")
    with pytest.raises(ValueError, match="each of the 3 pictures; got 2"):
        df.img.show(n=3, label=["a", "b"])
    with pytest.raises(ValueError, match="image columns of this frame: 'image'"):
        df.img.show("class")


def test_only_the_first_are_looked_at(tmp_path, one_thread):
    di.testing.make_images(tmp_path, 12, size=(8, 8))
    with di.stats() as seen:
        di.read_images(tmp_path, files_per_partition=4).img.show(n=2, label="path")
    assert seen.to_frame().images.drop("list").max() <= 4


@pytest.mark.parametrize("df", BOTH, ids=["pandas", "dask"])
def test_the_accessors_list_what_there_is(df):
    told = repr(df.image.img)
    assert told.startswith(".img of 'image', image[pixels]\n  header")
    for accessor in (df.image.img, df.img):
        public = {name for name in dir(type(accessor)) if not name.startswith("_")}
        assert public <= {w.removesuffix("()") for w in repr(accessor).split()}
    assert ".img of a frame with image: image[pixels]" in repr(df.img)
    assert "no image column" in repr(df[["class"]].img)


def test_nothing_is_computed_for_a_repr(tmp_path):
    df = dd.from_map(lambda n: 1 / 0, range(2), meta=FRAME.iloc[:0])
    assert "resize()" in repr(df.image.img)
    assert "map()" in repr(df.img)


# -- side by side, and the ends of a measure ------------------------------------------------------
@pytest.mark.parametrize("df", BOTH, ids=["pandas", "dask"])
def test_side_by_side(df):
    sheet = di.compare(df.image, df.image.img.rotate(90), labels=["before", "<after>"], n=2)
    assert sheet.size == (344, 376)
    assert [sheet.gallery.count(word) for word in ("before", "&lt;after&gt;")] == [2, 2]
    assert sheet.gallery.count("<img") == 4
    assert di.compare(df.image, df.image, df.image, n=1).gallery.count(">image<") == 3


def test_single_pictures_side_by_side():
    grey = np.zeros((4, 5), "uint8")
    sheet = di.compare(grey, di.Image(grey), PIL.Image.fromarray(grey), [grey, grey])
    assert sheet.size == (680, 344)  # of the others there is no second
    assert sheet.gallery.count("missing") == 3


def test_what_cannot_be_compared():
    with pytest.raises(TypeError, match="compare takes two pictures or more"):
        di.compare()
    with pytest.raises(ValueError, match="labels has a text for each of the 2"):
        di.compare(FRAME.image, FRAME.image, labels="ab")
    with pytest.raises(ValueError, match="n is a whole number, 1 or more; got 0"):
        di.compare(FRAME.image, n=0)


LIGHT = [*range(0, 200, 10), 250, 252]
GREYS = pd.DataFrame(
    {
        "image": pd.Series(
            [np.full((8, 9), n, "uint8") for n in LIGHT] + [None, b"no picture"], dtype="image"
        ),
        "score": pd.array([*range(22), None, 3], "Int64"),
    }
)
BOTH_GREYS = [GREYS, dd.from_pandas(GREYS, npartitions=4)]


@pytest.mark.parametrize("df", BOTH_GREYS, ids=["pandas", "dask"])
def test_the_ends_of_a_measure(df):
    sheet = df.image.img.hist("mean", n=2)
    texts = [re.findall(r"<figcaption[^>]*>(.*?)<", sheet.gallery), sheet.gallery.count("<img")]
    assert texts == [["0", "10", "252", "250"], 5]
    assert df.img.hist("mean", n=2).gallery == sheet.gallery
    assert df.img.hist("score", n=1).gallery != df.img.hist("width", n=1).gallery
    assert df.img.hist(df.score * 2, n=1).gallery.count("<figcaption") == 2
    assert df.image.img.hist(n=100).gallery.count("<figcaption") == 44


@pytest.mark.parametrize("df", BOTH_GREYS, ids=["pandas", "dask"])
def test_measures_that_are_none(df):
    for none in ("resize", "mode", "nothing", "_op", 3, "show"):
        with pytest.raises(ValueError, match=r"names a measure .*sharpness.*; got"):
            df.image.img.hist(none)
    with pytest.raises(ValueError, match="n is a whole number, 1 or more"):
        df.image.img.hist(n=0)


def test_of_no_pictures_at_all():
    assert GREYS.iloc[:0].image.img.hist().size[1] >= 360
    assert "0 pictures" not in GREYS.iloc[22:].image.img.hist().gallery


def test_one_pass_for_both_ends(tmp_path):
    di.testing.make_images(tmp_path, 12, size=(8, 8), broken=2)
    df = di.read_images(tmp_path, files_per_partition=4)  # under "raise" too
    with di.stats() as seen:
        df.img.hist("sharpness", n=1)
    assert seen.to_frame().images["decode"] == 14
