"""An object store that fails: two thousand objects, nothing lost, tries bounded and counted."""

from __future__ import annotations

import uuid

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.kernels import codec
from tests.safety.flaky import MOST, Proxy
from tests.transport.conftest import by  # noqa: F401

OBJECTS, FEW = 2000, 10
RETRIES = 4


@pytest.fixture(scope="module")
def bucket(s3_server) -> str:
    """Pictures that differ; put behind the server's back, which takes seconds less."""
    models = pytest.importorskip("moto.s3.models")
    name = f"flaky-{uuid.uuid4().hex[:8]}"
    backend = models.s3_backends["123456789012"]["aws"]
    backend.create_bucket(name, "us-east-1")
    for number in range(OBJECTS):
        pixels = np.full((4, 5), number % 251, np.uint8)
        backend.put_object(name, f"{number}.png", codec.encode(pixels, "png"))
    return name


@pytest.mark.long
def test_nothing_is_lost(s3_server, bucket, monkeypatch, by):  # noqa: F811
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    bad = [f"{kind}-{n}.png" for kind in ("lost", "forbidden", "missing") for n in range(FEW)]
    names = [*(f"{number}.png" for number in range(OBJECTS)), *bad]
    table = pd.DataFrame({"path": [f"s3://{bucket}/{name}" for name in names]})
    with Proxy(s3_server.endpoint) as proxy, dask.config.set({"daskimg.retries": RETRIES}):
        options = {**s3_server.storage_options, "client_kwargs": {"endpoint_url": proxy.url}}
        lazy = dd.from_pandas(table, npartitions=32)
        cells = di.images(lazy.path, on_error="null", storage_options=options)
        lazy = lazy.assign(mean=cells.img.mean(), why=cells.img.check())
        with di.stats() as s:
            found = lazy.compute(scheduler="threads", num_workers=8)
    assert [*s.requests] == [by]
    good, failed = found[:OBJECTS], found[OBJECTS:]
    assert good.why.isna().all()
    assert good["mean"].tolist() == [number % 251 for number in range(OBJECTS)]
    assert (s.kept, s.failed) == (OBJECTS, 3 * FEW)
    assert s.causes == {"not readable": FEW, "not permitted": FEW, "not found": FEW}
    told = rf"Service Unavailable \(after {RETRIES + 1} tries\)"
    assert failed.why[:FEW].str.contains(told).all()
    assert failed.why[FEW : 2 * FEW].str.startswith("read: PermissionError").all()
    assert failed.why[2 * FEW :].str.startswith("read: FileNotFoundError").all()

    asked = [proxy.answers[f"/{bucket}/{name}"] for name in names]
    ways = proxy.ways()
    assert all(ways[way] > OBJECTS // 10 for way in ("503", "reset", "short", "slow"))
    for answers in asked[:OBJECTS]:  # as often as it failed, and once more
        assert answers[-1] in ("well", "slow")
        assert not {"well", "slow"} & {*answers[:-1]}
        assert len(answers) <= MOST + 1
    assert all(len(answers) == RETRIES + 1 for answers in asked[OBJECTS : OBJECTS + FEW])
    assert all(len(answers) == 1 for answers in asked[OBJECTS + FEW :])  # never tried again
