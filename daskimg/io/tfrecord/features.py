"""Features of tf.train.Example as columns, and columns as features."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from daskimg.column.array import ImageArray
from daskimg.column.cells import fit
from daskimg.column.dtype import ImageDtype
from daskimg.engine.ops import BYTES
from daskimg.engine.program import STRING
from daskimg.errors import quoted
from daskimg.io.rows import IMAGE, JSON, OBJECT
from daskimg.kernels import headers

__all__ = ["Spec", "encoders", "inferred", "spec_of"]

FLOATS = ("float32", "float64")
WHOLE, FRACTIONS = (bool, int, np.integer, np.bool_), (float, np.floating)
LISTS = {"int64": "int64_list", **dict.fromkeys(FLOATS, "float_list"), "string": "bytes_list"}
DTYPES: dict[str, Any] = {
    "int64": pd.Int64Dtype(),
    "float32": np.dtype("float32"),
    "float64": np.dtype("float64"),
    "string": STRING,
    "bytes": BYTES,
}
ALIASES = {
    "int": "int64",
    "float": "float32",
    "double": "float64",
    "str": "string",
    "object": "string",
}


class Spec(NamedTuple):
    """How a feature becomes a column's value."""

    kind: str  # "int64", "float32", "float64", "string", "bytes" or "array"
    dtype: Any
    many: bool = False

    def value(self, feature: Any, name: str, place: str) -> Any:
        """The value of a column in one record; None where the feature is not there.

        Raises
        ------
        ValueError
            When the feature is of another kind than declared.
        """
        which = feature.WhichOneof("kind")
        if which is None:
            return None
        values = getattr(feature, which).value
        if not values:
            return [] if self.many else None
        if self.kind == "array":
            return self._array(values, which, name), place
        if which != LISTS.get(self.kind, "bytes_list"):
            values = self._numbers(values, which, name)
        if self.kind == "string":
            values = [_text(value, name) for value in values]
        if self.many:
            return list(values)
        self._one(values, name)
        return (values[0], place) if isinstance(self.dtype, ImageDtype) else values[0]

    def _numbers(self, values: Any, which: str, name: str) -> list[Any]:
        """Integers as floats, floats as integers, where no value changes."""
        text, hint = f"feature {quoted(name)} is a {which}, not {self.kind}", "see features="
        if "bytes_list" not in (which, LISTS.get(self.kind, "bytes_list")):
            given = np.array(values, np.int64 if which == "int64_list" else np.float64)
            with np.errstate(invalid="ignore"):
                made = given.astype(self.kind)
                same = made.astype(given.dtype) == given
            if same.all():
                return list(made.tolist())
            text += f", and {given[~same][0]} would change"
            hint = f'declare it with features={{{quoted(name)}: "float64", ...}}'
        raise ValueError(f"{text}: {hint}")

    def _one(self, values: Any, name: str) -> None:
        if len(values) != 1:
            raise ValueError(
                f"feature {quoted(name)} has {len(values)} values, where one was expected: "
                f'declare it with features={{{quoted(name)}: "list[{self.kind}]", ...}}'
            )

    def _array(self, values: Any, which: str, name: str) -> Any:
        dtype: ImageDtype = self.dtype
        wanted = dtype.cell_dtype
        if which == "bytes_list":  # raw values, little endian
            self._one(values, name)
            flat = np.frombuffer(values[0], (wanted or np.dtype("uint8")).newbyteorder("<"))
        else:
            flat = np.array(values, wanted or (np.int64 if which == "int64_list" else np.float32))
        if dtype.shape is not None:
            size = int(np.prod(dtype.shape))
            if flat.size != size:
                raise ValueError(
                    f"feature {quoted(name)} has {flat.size} values, {dtype} has {size}"
                )
            flat = flat.reshape(dtype.shape)
        return fit(flat, dtype)


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError(
            f"feature {quoted(name)} is not UTF-8: declare it with "
            f'features={{{quoted(name)}: "bytes", ...}}'
        ) from None


def spec_of(given: Any, name: str, policy: str | None) -> Spec:
    """The spec that a user's word stands for.

    Raises
    ------
    ValueError
        Listing the words there are.

    Examples
    --------
    >>> spec_of("list[float32]", "boxes", None).many
    True
    >>> spec_of("tensor[float32, 512]", "embedding", None).dtype
    tensor[float32, 512]
    """
    word = given.__name__ if isinstance(given, type) else str(given).strip()
    if word in ("image", "image[encoded]"):
        return _image(policy)
    try:
        dtype = ImageDtype.construct_from_string(word)
    except TypeError:
        dtype = None
    if dtype is not None and dtype.cell_dtype is not None and (dtype.tensor or dtype.shape):
        return Spec("array", dtype.derive(dtype.cells, dtype.shape, on_error=policy))
    found = re.fullmatch(r"(list\[)?(\w+)\]?", word)
    kind = found[2].lower() if found else word
    kind = ALIASES.get(kind, kind)
    if found is None or kind not in DTYPES:
        raise ValueError(
            f'features: {quoted(name)} is "int64", "float32", "float64", "string", "bytes", '
            f'"image", "list[...]" of one of the first five, or an array such as '
            f'"tensor[float32, 512]"; got {quoted(given)}'
        )
    return _plain(kind, bool(found[1]))


def _plain(kind: str, many: bool) -> Spec:
    if not many:
        return Spec(kind, DTYPES[kind])
    return Spec(kind, OBJECT if kind == "bytes" else JSON, True)  # JSON holds no bytes


def _image(policy: str | None) -> Spec:
    return Spec("bytes", IMAGE.derive("encoded", on_error=policy))


def inferred(
    examples: Iterable[Any], pictures: Sequence[str] | None, policy: str | None
) -> dict[str, Spec]:
    """Specs of all features of some examples, by name.

    A feature is of the kind that most of them have it, a list where one has several values;
    integers in some and floats in others are float64. Bytes are pictures where one of them that
    is no text, or most of those that are not empty, begin as a picture's file does (or they are
    named in `pictures`); else text where all are UTF-8.

    Raises
    ------
    ValueError
        When one of `pictures` is not there, or holds no bytes.
    """
    seen: dict[str, list[Any]] = defaultdict(list)
    for example in examples:
        for name, feature in example.features.feature.items():
            if feature.WhichOneof("kind") is not None:
                seen[name].append(feature)
    specs = {name: _implied(seen[name], name, pictures, policy) for name in sorted(seen)}
    for name in pictures or ():
        if name not in specs:
            raise ValueError(f"image_columns: no feature {quoted(name)}; there are {list(specs)}")
        if specs[name].dtype != IMAGE:
            raise ValueError(f"image_columns: {quoted(name)} holds {specs[name].kind}, no bytes")
    return specs


def _implied(
    features: list[Any], name: str, pictures: Sequence[str] | None, policy: str | None
) -> Spec:
    kinds = Counter(feature.WhichOneof("kind") for feature in features)
    which = kinds.most_common(1)[0][0]
    lists = [getattr(feature, which).value for feature in features]
    many = any(len(getattr(feature, feature.WhichOneof("kind")).value) > 1 for feature in features)
    if which != "bytes_list":
        mixed = {"int64_list", "float_list"} <= kinds.keys()
        return _plain("float64" if mixed else "int64" if which == "int64_list" else "float32", many)
    values = [value for some in lists for value in some]
    if not many and (_are_pictures(values) if pictures is None else name in pictures):
        return _image(policy)
    kind = "string" if all(map(_is_text, values)) else "bytes"
    return _plain(kind, many)


def _are_pictures(values: Sequence[bytes]) -> bool:
    """Whether some values are pictures, of which some may be broken or empty."""
    full = [value for value in values if value]
    found = [value for value in full if headers.sniff(value)]
    return len(found) * 2 > len(full) or not all(map(_is_text, found))


def _is_text(value: bytes) -> bool:
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


# -- writing --------------------------------------------------------------------------------------
def encoders(frame: pd.DataFrame) -> list[Callable[[int, Any], None]]:
    """For each column, what adds the value of a row to the features of an example."""
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, ImageDtype) and dtype.tensor and f"{name}/shape" in frame.columns:
            raise ValueError(
                f"the column '{name}/shape' is where the shapes of {quoted(name)} are written: "
                "rename or drop it"
            )
    return [_encoder(name, frame[name]) for name in frame.columns]


def _encoder(name: str, column: pd.Series) -> Callable[[int, Any], None]:
    if isinstance(column.dtype, ImageDtype):
        return _cell_encoder(name, column.array)
    values = column.tolist()
    floats = pd.api.types.is_float_dtype(column.dtype)

    def add(row: int, features: Mapping[str, Any]) -> None:
        value = values[row]
        if isinstance(value, np.ndarray):
            value = value.reshape(-1).tolist()
        if isinstance(value, list | tuple | set):
            _extend(features[name], list(value), name)
        elif not (value is None or value is pd.NA or value is pd.NaT):
            # NaN is a number that a float column may hold; in others it is a null
            if floats or value == value:
                _extend(features[name], [value], name)

    return add


def _cell_encoder(name: str, cells: ImageArray) -> Callable[[int, Any], None]:
    def add(row: int, features: Mapping[str, Any]) -> None:
        if not cells.valid[row] or cells.data is None:
            return
        content = cells.data.cell(row)
        if not cells.dtype.tensor:
            features[name].bytes_list.value.append(content.tobytes())
            return
        _extend(features[name], content.reshape(-1).tolist(), name)
        if content.ndim > 1:
            features[f"{name}/shape"].int64_list.value.extend(content.shape)

    return add


def _extend(feature: Any, values: list[Any], name: str) -> None:
    first = values[0] if values else 0
    try:
        if isinstance(first, str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        elif isinstance(first, bytes | bytearray | memoryview):
            feature.bytes_list.value.extend(bytes(value) for value in values)
        elif all(isinstance(value, WHOLE) for value in values):
            feature.int64_list.value.extend(int(value) for value in values)
        elif other := [value for value in values if not isinstance(value, (*WHOLE, *FRACTIONS))]:
            kind = type(other[0]).__name__
            raise TypeError(f"a feature holds numbers, strings or bytes, no {kind}")
        else:
            feature.float_list.value.extend(values)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"the column {quoted(name)} does not fit a TFRecord: {error}") from error
