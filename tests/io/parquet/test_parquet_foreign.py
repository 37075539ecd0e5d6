"""Parquet that others wrote: Hugging Face's images in lists and structs, columns that drift."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskimg as di

HF = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(width, height=3):
    out = io.BytesIO()
    PIL.Image.new("RGB", (width, height)).save(out, "PNG")
    return out.getvalue()


def write(path, kind=None, /, **columns):
    path.parent.mkdir(exist_ok=True)
    arrays = {name: pa.array(x, kind) if isinstance(x, list) else x for name, x in columns.items()}
    pq.write_table(pa.table(arrays), path)
    return path


# -- bytes in some rows, paths in others ----------------------------------------------------------
@pytest.fixture
def cells(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5))
    return {
        "held": {"bytes": png(7), "path": "b.png"},
        "bytes": {"bytes": png(7), "path": None},
        "named": {"bytes": None, "path": str(tmp_path / "a.png")},
        "gone": {"bytes": None, "path": str(tmp_path / "gone.png")},
        "empty": {"bytes": None, "path": None},
        "null": None,
    }


WIDTH = {"held": 7, "bytes": 7, "named": 5}


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize(
    "rows, kind",
    [
        ("held named gone", "mixed"),
        ("bytes named", "mixed"),  # as many paths as bytes are missing
        ("bytes named null", "mixed"),
        ("held null", "encoded"),
        ("held held null held", "encoded"),
        ("bytes null empty", "encoded"),
        ("bytes held", "encoded"),
        ("named null gone", "file"),
        ("empty held named null", "mixed"),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize("lists", [False, True])
def test_each_row_is_what_it_holds(cells, tmp_path, rows, kind, files, lists):
    names = rows.split()
    values = [cells[name] for name in names]
    values = [[value] for value in values] if lists else values
    cuts = [values] if files == 1 else [values[:1], values[1:]]
    for n, some in enumerate(cuts):
        write(tmp_path / "in" / f"{n}.parquet", pa.list_(HF) if lists else HF, image=some)
    df = di.read_parquet(tmp_path / "in", on_error="null")
    df = df.explode("image") if lists else df
    assert df.image.dtype == f"image[{kind}]"
    found = df.compute()
    assert found.image.dtype == df.image.dtype
    wanted = [WIDTH.get(name, pd.NA) for name in names]
    assert found.image.img.width.tolist() == wanted
    assert df.image.img.width.compute().tolist() == wanted
    assert len(df.img.errors().compute()) == names.count("gone")
    missing = sum(name in ("null", "empty") for name in names)
    assert df.image.isna().sum().compute() == missing
    if "gone" in names:
        strict = di.read_parquet(tmp_path / "in")
        strict = strict.explode("image") if lists else strict
        with pytest.raises(di.ImageError, match=r"gone\.png"):
            strict.image.img.width.compute()


# -- Hugging Face datasets ------------------------------------------------------------------------
def test_what_datasets_writes(tmp_path):
    datasets = pytest.importorskip("datasets")
    one, two = PIL.Image.new("RGB", (5, 3)), PIL.Image.new("L", (4, 2))
    image, value = datasets.Image(), datasets.Value
    item = {"image": image, "label": value("int32")}
    features = datasets.Features(
        {
            "image": image,
            "pages": datasets.List(image),
            "old": datasets.Sequence(image),
            "pair": {"left": image, "caption": value("string")},
            "found": datasets.List(item),
            "columns": datasets.Sequence(item),
        }
    )
    rows = {
        "image": [one, None, two],
        "pages": [[one, two], [], [two]],
        "old": [[one], [one, one], []],
        "pair": [{"left": x, "caption": "x"} for x in (one, None, two)],
        "found": [[{"image": one, "label": 1}] * 2, [], [{"image": two, "label": 2}]],
        "columns": [{"image": [one], "label": [1]}] * 3,
    }
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "a.parquet")
    df = di.read_parquet(tmp_path / "a.parquet")
    assert df.dtypes.astype(str).to_dict() == {
        "image": "image[encoded]",
        "pages": "list[image[encoded]]",
        "old": "list[image[encoded]]",
        "pair": "json",
        "found": "json",
        "columns": "json",
    }
    assert df.image.img.width.compute().tolist() == [5, pd.NA, 4]
    assert df.explode("pages").pages.img.width.compute().tolist() == [5, 4, pd.NA, 4]
    assert df.explode("old").old.img.height.compute().tolist() == [3, 3, 3, pd.NA]
    left = df.pair.map(lambda pair: pair["left"], meta=("left", "object"))
    assert left.astype("image[encoded]").img.width.compute().tolist() == [5, pd.NA, 4]
    found = df.explode("found").found.dropna()
    pictures = found.map(lambda cell: cell["image"], meta=("image", "object"))
    assert pictures.astype("image[encoded]").img.width.compute().tolist() == [5, 5, 4]
    labels = found.map(lambda cell: cell["label"], meta=("label", "int64"))
    assert labels.compute().tolist() == [1, 1, 2]

    # and datasets reads what is written
    df[["image", "pages"]].img.write_parquet(tmp_path / "out")
    files = [str(path) for path in (tmp_path / "out").glob("*.parquet")]
    back = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    assert [[page.size for page in row] for row in back["pages"]] == [
        [(5, 3), (4, 2)],
        [],
        [(4, 2)],
    ]


def test_lists_of_bytes_and_of_paths_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5))
    raw = pa.array([[png(7), None], None, []], pa.list_(pa.binary()))
    paths = pa.array([[str(tmp_path / "a.png")], [], None])
    file = write(tmp_path / "in" / "a.parquet", raw=raw, paths=paths)
    df = di.read_parquet(file, image_columns=["raw", "paths"])
    assert df.dtypes.astype(str).tolist() == ["list[image[encoded]]", "list[image[file]]"]
    assert df.explode("raw").raw.img.width.compute().tolist() == [7, *[pd.NA] * 3]
    assert df.explode("paths").paths.img.width.compute().tolist() == [5, pd.NA, pd.NA]
    plain = di.read_parquet(file).explode("raw").raw
    assert plain.dtype == "json"
    pictures = plain.astype("image")
    assert pictures.dtype == pictures.compute().dtype == "image[mixed]"
    assert pictures.img.width.compute().tolist() == [7, *[pd.NA] * 3]
    with pytest.raises(ValueError, match=r"'raw\[\]' holds neither bytes nor paths but int64"):
        di.read_parquet(write(file, raw=pa.array([[1]])), image_columns="raw")


def test_audio_is_no_picture(tmp_path):
    table = pa.table({"sound": pa.array([{"bytes": b"RIFF", "path": "a.wav"}], HF)})
    told = {"info": {"features": {"sound": {"_type": "Audio"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, tmp_path / "a.parquet")
    df = di.read_parquet(tmp_path / "a.parquet")
    assert df.sound.dtype == "json"
    assert df.compute().sound[0] == {"bytes": b"RIFF", "path": "a.wav"}


def test_dictionaries_of_paths_and_of_bytes_and_structs_of_one_field(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5))
    paths = pa.array([str(tmp_path / "a.png"), None] * 2).dictionary_encode()
    raw = pa.array([png(7), None] * 2).dictionary_encode()
    alone = pa.array([{"bytes": png(7)}, None] * 2, pa.struct([("bytes", pa.binary())]))
    path = pa.array([{"path": str(tmp_path / "a.png")}, None] * 2)
    file = write(tmp_path / "in" / "a.parquet", paths=paths, raw=raw, alone=alone, path=path)
    df = di.read_parquet(file, image_columns=["paths", "raw", "alone", "path"])
    kinds = ["image[file]", "image[encoded]", "image[encoded]", "image[file]"]
    assert df.dtypes.astype(str).tolist() == kinds
    for name, width in zip(df.columns, (5, 7, 7, 5), strict=True):
        assert df[name].img.width.compute().tolist() == [width, pd.NA] * 2
        assert df[name].compute().img.failed.tolist() == [False] * 4


# -- files whose columns differ -------------------------------------------------------------------
DRIFT = {
    "whole, then fractions": ([1, 2], [1.5], [1.0, 2.0, 1.5]),
    "fractions, then whole": ([1.5], [2], [1.5, 2.0]),
    "narrow, then wide": (pa.array([1], "int32"), pa.array([2**40]), [1, 2**40]),
    "wide, then narrow": (pa.array([2**40]), pa.array([1], "int8"), [2**40, 1]),
    "text": (pa.array(["a"]), pa.array(["b"], pa.large_string()), ["a", "b"]),
    "null, then text": (pa.nulls(1), pa.array(["b"]), [pd.NA, "b"]),
    "text, then null": (pa.array(["a"]), pa.nulls(1), ["a", pd.NA]),
    "null, then whole": (pa.nulls(1), pa.array([3]), [pd.NA, 3]),
    "categories, then text": (pa.array(["a"]).dictionary_encode(), ["b"], ["a", "b"]),
    "text, then categories": (["a"], pa.array(["b"]).dictionary_encode(), ["a", "b"]),
    "lists": ([[1]], [[1.5], None], [[1], [1.5], pd.NA]),
    "missing in the second": ([1], None, [1, pd.NA]),
    "missing in the first": (None, ["x"], [pd.NA, "x"]),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("case", DRIFT)
def test_types_are_promoted(case, tmp_path):
    one, two, wanted = DRIFT[case]
    for n, values in enumerate((one, two)):
        more = {} if values is None else {"a": values}
        rows = 1 if values is None else len(values)
        write(tmp_path / "in" / f"{n}.parquet", b=[0] * rows, **more)
    df = di.read_parquet(tmp_path / "in")
    found = df.compute()
    assert found.dtypes.to_dict() == df.dtypes.to_dict()
    assert found.a.tolist() == wanted
    assert df.a.compute().tolist() == wanted
    if isinstance(wanted[0], int | float):
        some = di.read_parquet(tmp_path / "in", filters=[("a", ">", 1)]).a.compute()
        assert some.tolist() == [x for x in wanted if x is not pd.NA and x > 1]


def test_pandas_files_of_other_dtypes(tmp_path):
    pd.DataFrame({"a": pd.Categorical(["x"]), "b": [1]}).to_parquet(tmp_path / "0.parquet")
    pd.DataFrame({"a": ["y"], "b": [None], "c": [0.5]}).to_parquet(tmp_path / "1.parquet")
    df = di.read_parquet(tmp_path)
    found = df.compute()
    assert found.a.tolist() == ["x", "y"]
    assert found.b.tolist() == [1, pd.NA]
    assert found.c.iloc[1] == 0.5
    assert found.dtypes.to_dict() == df.dtypes.to_dict()


@pytest.mark.parametrize("image", ["first", "second"])
def test_pictures_that_a_file_lacks_are_missing(tmp_path, image):
    cells = pa.array([{"bytes": png(7), "path": None}], HF)
    kind = pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())])
    large = pa.array(cells.to_pylist(), kind)
    write(tmp_path / "in" / "0.parquet", n=[0], **({"image": cells} if image == "first" else {}))
    write(tmp_path / "in" / "1.parquet", n=[1], **({} if image == "first" else {"image": cells}))
    write(tmp_path / "in" / "2.parquet", n=[2], image=large)
    write(tmp_path / "in" / "3.parquet", n=[3], image=pa.nulls(1))
    df = di.read_parquet(tmp_path / "in")
    widths = [7, pd.NA, 7, pd.NA] if image == "first" else [pd.NA, 7, 7, pd.NA]
    assert df.image.img.width.compute().tolist() == widths
    assert df.img.errors().compute().empty


def test_a_column_of_nothing_in_common_names_file_and_column(tmp_path):
    write(tmp_path / "in" / "0.parquet", a=[1])
    write(tmp_path / "in" / "1.parquet", a=["x"])
    with pytest.raises(ValueError, match=r"1\.parquet: the column 'a' is string, and int64 in .*0"):
        di.read_parquet(tmp_path / "in")
    write(tmp_path / "in" / "1.parquet", a=pa.array([2**64 - 1], "uint64"))
    with pytest.raises(ValueError, match=r"1\.parquet, column 'a', cannot be read"):
        di.read_parquet(tmp_path / "in").compute()


def test_files_embedded_and_not_are_one_dataset(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5))
    frame = pd.DataFrame({"image": di.images(pd.Series([str(tmp_path / "a.png")]))})
    frame.img.write_parquet(tmp_path / "in" / "files", embed=False)
    frame.img.write_parquet(tmp_path / "in" / "bytes")
    (tmp_path / "a.png").write_bytes(png(6))
    found = [str(path) for path in sorted((tmp_path / "in").rglob("*.parquet"))]
    df = di.read_parquet(found)
    assert df.image.img.width.compute().tolist() == [5, 6]


def test_dtypes_that_are_not_installed(tmp_path):
    told = {
        "index_columns": [],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": "object",
                "numpy_type": "TensorDtype(shape=(128, 128, 3), dtype=uint8)",
                "metadata": None,
            }
            for name in ("n", "image")
        ],
    }
    pixels = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2, 3, 3), "uint8"))
    table = pa.table({"n": [1, 2], "image": pixels})
    table = table.replace_schema_metadata({"pandas": json.dumps(told)})
    pq.write_table(table, tmp_path / "a.parquet")
    df = di.read_parquet(tmp_path / "a.parquet")
    assert df.compute().n.tolist() == [1, 2]
    assert df.image.img.mean().compute().tolist() == [1, 1]
    assert df.dtypes.astype(str).tolist() == ["int64", "image[uint8, 2x3x3]"]


def test_flat_pixels_get_their_shape_back(tmp_path):
    import duckdb

    pixels = np.arange(72, dtype="uint8").reshape(3, 2, 4, 3)
    frame = pd.DataFrame({"image": pd.Series(list(pixels), dtype="image[uint8, 2x4x3]")})
    frame.img.write_parquet(tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.parquet")
    flat = pd.read_parquet(file)
    assert (np.stack(flat.image).reshape(-1, 2, 4, 3) == pixels).all()
    flat = duckdb.sql(f"SELECT image FROM '{file}'").df()
    assert (np.stack(flat.image).reshape(-1, 2, 4, 3) == pixels).all()


@pytest.mark.parametrize(
    ("values", "named", "says"),
    [
        ([{"b": b"x", "n": 1}], "a.b", r"'a' is a struct.*di.images\(df.a.map"),
        ([{"b": b"x", "n": 1}], "a", r"'a' is a struct.*di.images\(df.a.map"),
        ([[[b"x"]]], "a", "lists of lists.*explode"),
        ([1], "a.b", r"no column 'a.b' in the file; there are \['a'\]$"),
    ],
)
def test_columns_that_hold_no_pictures(values, named, says, tmp_path):
    pq.write_table(pa.table({"a": pa.array(values)}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=says):
        di.read_parquet(tmp_path, image_columns=[named])


def test_a_field_of_a_struct(tmp_path, one_thread):
    data = di.Image(np.zeros((3, 5, 3), "uint8")).to_bytes()
    pq.write_table(pa.table({"a": [{"b": data, "n": 1}, None]}), tmp_path / "x.parquet")
    df = di.read_parquet(tmp_path)
    field = df.a.map(lambda row: row["b"], na_action="ignore", meta=("b", object))
    assert di.images(field).img.width.compute().tolist() == [5, pd.NA]


def test_bytes_as_text_and_of_one_length(tmp_path, one_thread):
    data = di.Image(np.zeros((3, 5, 3), "uint8")).to_bytes()
    kind = pa.struct([("bytes", pa.string()), ("path", pa.string())])
    text = {"bytes": base64.b64encode(data).decode(), "path": None}
    table = {"text": pa.array([text, None], kind)}
    table["fixed"] = pa.array([data, None], pa.binary(len(data)))
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    df = di.read_parquet(tmp_path, image_columns=["text", "fixed"])
    assert df.text.img.width.compute().tolist() == [5, pd.NA]
    assert df.fixed.img.width.compute().tolist() == [5, pd.NA]
