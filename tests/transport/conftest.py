"""Both ways to ask an object store."""

from __future__ import annotations

import pytest

from daskimg.transport import doors, native


@pytest.fixture(params=["obstore", "fsspec"])
def by(request, monkeypatch) -> str:
    """The name of the one that is used; S3 is asked through no other."""
    if request.param == "obstore":
        pytest.importorskip("obstore")
    else:
        monkeypatch.setattr(native, "store_of", lambda place, options: None)
    monkeypatch.setattr(doors, "_buckets", {})
    doors.served.clear()
    return request.param
