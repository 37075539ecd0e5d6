"""Columns of tensors as Arrow, its specification and Ray Data write them.

Ray's layouts and metadata are those of ``ray/data/_internal/tensor_extensions/arrow.py``
(version 2.60), made here with pyarrow alone: files that Ray itself wrote had the same fields.
"""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskimg as di

RNG = np.random.default_rng(0)
FIXED = RNG.integers(0, 255, (5, 4, 6, 3), dtype=np.uint8)
RAGGED = [
    RNG.integers(0, 255, (height, width, 3), dtype=np.uint8)
    for height, width in [(2, 3), (4, 5), (1, 1), (3, 3), (6, 2)]
]


def extension(array: pa.Array, kind: str, metadata: bytes) -> tuple[pa.Field, pa.Array]:
    """A column of a type that nobody registered, as pyarrow stores those that somebody did."""
    known = {"ARROW:extension:name": kind, "ARROW:extension:metadata": metadata}
    return pa.field("x", array.type, metadata=known), array


def write(path, *columns: tuple[pa.Field, pa.Array]):
    fields = [field.with_name(f"{field.name}{n or ''}") for n, (field, _) in enumerate(columns)]
    table = pa.table([array for _, array in columns], schema=pa.schema(fields))
    pq.write_table(table, path)
    return di.read_parquet(path)


def lists(values: np.ndarray, large: bool = False) -> pa.Array:
    kind = pa.LargeListArray if large else pa.ListArray
    ends = np.arange(len(values) + 1) * values[0].size
    flat = values.reshape(-1)
    return kind.from_arrays(ends.astype(np.int64 if large else np.int32), flat)


def structs(cells: list[np.ndarray], shape: pa.DataType, large: bool = True) -> pa.Array:
    ends = np.cumsum([0, *(cell.size for cell in cells)]).astype(np.int64 if large else np.int32)
    kind = pa.LargeListArray if large else pa.ListArray
    data = kind.from_arrays(ends, np.concatenate([cell.reshape(-1) for cell in cells]))
    shapes = pa.array([list(cell.shape) for cell in cells], shape)
    return pa.StructArray.from_arrays([data, shapes], ["data", "shape"])


@pytest.mark.parametrize("spell", [lambda n: json.dumps(n).encode(), pickle.dumps])
def test_what_ray_writes(tmp_path, spell):
    ragged = structs(RAGGED, pa.list_(pa.int64()))
    vectors = FIXED.reshape(5, -1).astype("float32")
    df = write(
        tmp_path / "ray.parquet",
        extension(lists(FIXED), "ray.data.arrow_tensor", spell((4, 6, 3))),
        extension(lists(FIXED, large=True), "ray.data.arrow_tensor_v2", spell((4, 6, 3))),
        extension(lists(vectors, large=True), "ray.data.arrow_tensor_v2", spell((72,))),
        extension(ragged, "ray.data.arrow_variable_shaped_tensor", spell(3)),
        extension(ragged, "ray.data.arrow_variable_shaped_tensor", spell(None)),
    )
    wanted = [
        *["image[uint8, 4x6x3]"] * 2,
        "tensor[float32, 72]",
        "image[uint8]",
        "tensor[uint8]",
    ]
    assert df.dtypes.astype(str).tolist() == wanted
    got = df.compute()
    for name in ("x", "x1"):
        np.testing.assert_array_equal(got[name].img.to_numpy(), FIXED)
    np.testing.assert_array_equal(np.stack(got.x2.tolist()), vectors)
    for cells in (got.x3.img.to_numpy(), got.x4):
        for cell, one in zip(cells, RAGGED, strict=True):
            np.testing.assert_array_equal(cell, one)
    means = df.x3.img.mean().compute().tolist()
    assert means == pytest.approx([one.mean() for one in RAGGED])
    df.img.write_parquet(tmp_path / "ours")
    again = di.read_parquet(tmp_path / "ours").compute()
    np.testing.assert_array_equal(again.x.img.to_numpy(), FIXED)


def test_a_pickle_that_calls_anything_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    with pytest.raises(ValueError, match=r"'x' is 'ray\.data\.arrow_tensor', and its metadata"):
        write(
            tmp_path / "a.parquet",
            extension(lists(FIXED), "ray.data.arrow_tensor", pickle.dumps(Trap())),
        )
    assert not (tmp_path / "opened").exists()


def test_variable_shapes_by_arrows_specification(tmp_path):
    """A type that pyarrow 26 knows in C++ and shows in Python as its name and storage alone."""

    def column(cells, **known):
        array = structs(cells, pa.list_(pa.int32(), cells[0].ndim), large=False)
        return extension(array, "arrow.variable_shape_tensor", json.dumps(known).encode())

    turned = [cell.transpose(2, 0, 1) for cell in RAGGED]
    df = write(
        tmp_path / "arrow.parquet",
        column(RAGGED),
        column(turned, permutation=[1, 2, 0], uniform_shape=[3, None, None]),
        column(RAGGED, dim_names=["H", "W", "spectrum"], uniform_shape=[None, None, 9]),
        column([np.ones((2, 3, 4, 1), "bool")] * 5),
    )
    kinds = ["image[uint8]", "image[uint8]", "tensor[uint8]", "tensor[bool]"]
    assert df.dtypes.astype(str).tolist() == kinds
    got = df.compute()
    for column in ("x", "x1"):
        for cell, one in zip(got[column], RAGGED, strict=True):
            np.testing.assert_array_equal(cell.to_numpy(), one)
    assert got.x3[4].shape == (2, 3, 4, 1)
    assert got.x3[4].all()


def test_what_daft_writes(tmp_path):
    """The fields of files that Daft 0.7 wrote."""

    def column(array, **datatype):
        told = json.dumps({"datatype": datatype, "daft_version": "0.7.26"}).encode()
        return extension(array, "daft.super_extension", told)

    flat = pa.FixedSizeListArray.from_arrays(FIXED.reshape(-1), 72)
    vectors = pa.FixedSizeListArray.from_arrays(np.arange(40, dtype="float32"), 8)
    ragged = structs(RAGGED, pa.large_list(pa.uint64()))
    sides = np.array([cell.shape for cell in RAGGED])
    pictures = pa.StructArray.from_arrays(
        [ragged.field("data"), *(pa.array(sides[:, axis], pa.uint32()) for axis in (2, 0, 1))],
        ["data", "channel", "height", "width"],
    )
    df = write(
        tmp_path / "daft.parquet",
        column(flat, FixedShapeTensor=["UInt8", [4, 6, 3]]),
        column(flat, FixedShapeImage=["RGB", 4, 6]),
        column(vectors, Embedding=["Float32", 8]),
        column(ragged, Tensor="UInt8"),
        column(pictures, Image="RGB"),
        column(pa.array([1] * 5), Time="x"),
    )
    fixed = "image[uint8, 4x6x3]"
    kinds = [fixed, fixed, "tensor[float32, 8]", "tensor[uint8]", "image[uint8]", "int64"]
    assert df.dtypes.astype(str).tolist() == kinds
    got = df.compute()
    for name in ("x", "x1"):
        np.testing.assert_array_equal(got[name].img.to_numpy(), FIXED)
    np.testing.assert_array_equal(np.stack(got.x2.tolist()).reshape(-1), np.arange(40))
    for name in ("x3", "x4"):
        for cell, one in zip(pixels(got[name]), RAGGED, strict=True):
            np.testing.assert_array_equal(cell, one)


@pytest.mark.parametrize("order", [None, [0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
def test_axes_in_another_order(tmp_path, order):
    """By the specification: axis ``i`` of the tensor is axis ``permutation[i]`` in memory.

    pyarrow 26 reads what it wrote itself only where that is its own inverse (the next test).
    """
    kind = pa.fixed_shape_tensor(pa.uint8(), (3, 4, 6), ["a", "b", "c"], order)
    flat = FIXED.reshape(-1)
    cells = pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, 72))
    df = write(tmp_path / "t.parquet", (pa.field("x", kind), cells))
    axes = [0, 1, 2] if order is None else order
    wanted = FIXED.reshape(5, 3, 4, 6).transpose(0, *(axis + 1 for axis in axes))
    family = "image" if wanted.shape[3] in (3, 4) else "tensor"
    assert str(df.x.dtype) == f"{family}[uint8, {'x'.join(map(str, wanted.shape[1:]))}]"
    np.testing.assert_array_equal(np.stack(pixels(df.compute().x)), wanted)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_arrays_that_pyarrow_writes_turned(tmp_path, axes):
    turned = FIXED.transpose(0, *(axis + 1 for axis in axes))
    cells = pa.FixedShapeTensorArray.from_numpy_ndarray(turned)
    got = write(tmp_path / "t.parquet", (pa.field("x", cells.type), cells)).compute().x
    np.testing.assert_array_equal(np.stack(pixels(got)), turned)


def pixels(cells):
    return [cell if isinstance(cell, np.ndarray) else cell.to_numpy() for cell in cells]


@pytest.mark.parametrize("large", [False, True])
def test_missing_tensors_and_slices_of_them(tmp_path, large):
    kind = pa.large_list(pa.uint8()) if large else pa.list_(pa.uint8())
    values = [None if row == 1 else FIXED[row].reshape(-1).tolist() for row in range(5)]
    name, shape = "ray.data.arrow_tensor_v2", b"[4, 6, 3]"
    df = write(tmp_path / "t.parquet", extension(pa.array(values, kind), name, shape))
    got = df.compute().x
    assert got.isna().tolist() == [False, True, False, False, False]
    for row in (0, 2, 3, 4):
        np.testing.assert_array_equal(got[row].to_numpy(), FIXED[row])
    rag = structs(RAGGED, pa.list_(pa.int64())).to_pylist()
    cells = pa.array([None, *rag[1:]], structs(RAGGED, pa.list_(pa.int64())).type)
    name = "ray.data.arrow_variable_shaped_tensor"
    got = write(tmp_path / "r.parquet", extension(cells, name, b"3")).compute().x
    assert got.isna().tolist() == [True, False, False, False, False]
    np.testing.assert_array_equal(got[4].to_numpy(), RAGGED[4])


def test_files_of_different_shapes_are_one_column(tmp_path):
    """Ray writes a block whose pictures happen to have one shape as fixed, the next as ragged."""
    name = "ray.data.arrow_tensor_v2"
    write(tmp_path / "0.parquet", extension(lists(FIXED), name, b"[4, 6, 3]"))
    write(tmp_path / "1.parquet", extension(lists(FIXED), name, b"[6, 4, 3]"))
    ragged = structs(RAGGED, pa.list_(pa.int64()))
    write(tmp_path / "2.parquet", extension(ragged, "ray.data.arrow_variable_shaped_tensor", b"3"))
    df = di.read_parquet(tmp_path)
    assert str(df.x.dtype) == "image[uint8]"
    got = df.compute().x
    wanted = [*FIXED, *FIXED.reshape(5, 6, 4, 3), *RAGGED]
    for cell, one in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(cell.to_numpy(), one)
    floats = extension(lists(FIXED.astype("float32")), "ray.data.arrow_tensor", b"[4, 6, 3]")
    write(tmp_path / "3.parquet", floats)
    with pytest.raises(ValueError, match=r"3\.parquet: the column 'x' is list"):
        di.read_parquet(tmp_path)


def test_values_that_do_not_fit_their_shape(tmp_path):
    df = write(tmp_path / "t.parquet", extension(lists(FIXED), "ray.data.arrow_tensor", b"[4, 6]"))
    with pytest.raises(ValueError, match="a tensor holds 72 values, and its shape says 24"):
        df.compute()


def test_tensors_can_be_left_alone(tmp_path):
    write(tmp_path / "t.parquet", extension(lists(FIXED), "ray.data.arrow_tensor", b"[4, 6, 3]"))
    df = di.read_parquet(tmp_path / "t.parquet", image_columns=[])
    assert df.x.dtype == "json"
    assert df.compute().x[0] == FIXED[0].reshape(-1).tolist()


def hugging_face(rows, shape, value="uint8", large=False) -> tuple[pa.Field, pa.Array]:
    """What `datasets` writes of ``Array2D`` to ``Array5D``: lists of lists."""
    kind = pa.from_numpy_dtype(value)
    for _ in shape:
        wide = pa.large_list if large else pa.list_
        kind = wide(kind)
    made = pa.array([None if row is None else np.asarray(row).tolist() for row in rows], kind)
    name = f"datasets.features.features.Array{len(shape)}DExtensionType"
    return extension(made, name, json.dumps([shape, value]).encode())


@pytest.mark.parametrize("large", [False, True])
def test_what_hugging_face_writes(tmp_path, large):
    tall = [FIXED[n][: n + 1] for n in range(5)]
    chw = FIXED.transpose(0, 3, 1, 2)
    masks = FIXED[..., 0].astype("float32")
    gaps = [FIXED[0], None, FIXED[2], None, FIXED[4]]
    df = write(
        tmp_path / "hf.parquet",
        hugging_face(FIXED, [4, 6, 3], large=large),
        hugging_face(gaps, [4, 6, 3], large=large),
        hugging_face(tall, [None, 6, 3], large=large),
        hugging_face(chw, [3, 4, 6], large=large),
        hugging_face(masks, [4, 6], "float32", large=large),
        hugging_face([*tall[:2], None, *tall[3:]], [None, 6, 3], large=large),
    )
    assert df.dtypes.astype(str).tolist() == [
        *["image[uint8, 4x6x3]"] * 2,
        "image[uint8]",
        "tensor[uint8, 3x4x6]",
        "image[float32, 4x6]",
        "image[uint8]",
    ]
    assert len(df) == 5
    got = df.compute()
    np.testing.assert_array_equal(got.x.img.to_numpy(), FIXED)
    np.testing.assert_array_equal(got.x1.dropna().img.to_numpy(), FIXED[[0, 2, 4]])
    assert got.x1.isna().tolist() == [False, True, False, True, False]
    for cell, one in zip(got.x2, tall, strict=True):
        np.testing.assert_array_equal(cell.to_numpy(), one)
    np.testing.assert_array_equal(np.stack(got.x3.tolist()), chw)
    np.testing.assert_array_equal(got.x4.img.to_numpy(), masks)
    assert got.x5.isna().tolist() == [False, False, True, False, False]
    np.testing.assert_array_equal(got.x5.iloc[4].to_numpy(), tall[4])


def test_lists_that_are_not_what_hugging_face_announces(tmp_path):
    other = [FIXED[0].transpose(1, 0, 2), FIXED[1]]  # as many values
    holes = [FIXED[0].tolist(), FIXED[1].tolist()]
    holes[1][2][3][1] = None
    for n, (rows, told) in enumerate([(other, "a list of 4 values"), (holes, "nulls among its")]):
        kind = pa.list_(pa.list_(pa.list_(pa.uint8())))
        made = pa.array([np.asarray(row, object).tolist() for row in rows], kind)
        name = "datasets.features.features.Array3DExtensionType"
        column = extension(made, name, b'[[4, 6, 3], "uint8"]')
        with pytest.raises(ValueError, match=told):
            write(tmp_path / f"{n}.parquet", column).compute()


def test_what_another_library_registered_changes_nothing(tmp_path):
    """A pandas dtype of its own would be one here, and none on a worker that lacks the library."""

    class Registered(pa.ExtensionType):
        def __init__(self):
            nested = pa.list_(pa.list_(pa.list_(pa.uint8())))
            super().__init__(nested, "datasets.features.features.Array3DExtensionType")

        def __arrow_ext_serialize__(self):
            return b'[[4, 6, 3], "uint8"]'

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, serialized):
            return cls()

        def to_pandas_dtype(self):
            raise AssertionError("nobody asks")

    class Other(Registered):
        def __init__(self):
            pa.ExtensionType.__init__(self, pa.int64(), "other.units")

    df = write(
        tmp_path / "x.parquet",
        hugging_face(FIXED, [4, 6, 3]),
        extension(pa.array([*range(5)]), "other.units", b"[]"),
    )
    pa.register_extension_type(Registered())
    pa.register_extension_type(Other())
    try:
        again = di.read_parquet(tmp_path / "x.parquet")
        assert again.dtypes.astype(str).tolist() == df.dtypes.astype(str).tolist()
        assert again.dtypes.astype(str).tolist() == ["image[uint8, 4x6x3]", "int64"]
        for one in (df, again):
            got = one.compute()
            np.testing.assert_array_equal(got.x.img.to_numpy(), FIXED)
            assert got.x1.tolist() == [*range(5)]
    finally:
        pa.unregister_extension_type("datasets.features.features.Array3DExtensionType")
        pa.unregister_extension_type("other.units")
