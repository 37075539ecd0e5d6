"""A function that writes into what it was given is told to copy it; the column stays as it is."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di

PIXELS = [np.full((4, 5, 3), 9, "uint8") for _ in range(2)]
PICTURES = pd.Series(PIXELS, dtype="image")
COPY = r"read-?only.*\.copy\(\)"


def assigned(pixels):
    pixels[0] = 1
    return pixels


def added(pixels):
    pixels += 1
    return pixels


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("write", [assigned, added])
@pytest.mark.parametrize(
    "call",
    [
        lambda df, f: df.img.map(lambda row: {"a": f(row["image"])}, meta={"a": "image"}),
        lambda df, f: df.img.map_batches(lambda b: {"a": f(b["image"])}, meta={"a": "image"}),
        lambda df, f: df.image.img.apply(f).to_frame(),
        lambda df, f: df.image.img.resize(2, 2).img.apply(f).to_frame(),
    ],
)
@pytest.mark.parametrize("kind", ["encoded", "pixels", "uint8"])
def test_told_to_copy(call, write, kind, one_thread):
    cells = {
        "encoded": lambda: PICTURES.img.encode("png"),
        "pixels": lambda: PICTURES,
        "uint8": lambda: PICTURES.img.decode("RGB").img.resize(4, 5),
    }[kind]()
    frame = pd.DataFrame({"image": cells})
    for made in (frame, dd.from_pandas(frame, npartitions=1)):
        with pytest.raises(ValueError, match=COPY) as caught:
            call(made, write).compute()
        assert isinstance(caught.value, di.BatchError | di.ImageError)
    assert frame.image.img.mean().tolist() == [9, 9]


def test_copies_may_be_changed():
    found = PICTURES.img.apply(lambda pixels: assigned(pixels.copy()))
    assert (found.iloc[0].to_numpy()[0] == 1).all()
    assert (PICTURES.iloc[0].to_numpy() == 9).all()


def test_reasons_of_null_rows_say_so_and_files_do_not():
    reasons = PICTURES.img.on_error("null").img.apply(assigned).img.error
    assert reasons.str.contains(".copy()", regex=False).all()
    assert "copy" not in di.errors.reason_of("write", OSError(30, "Read-only file system"))
