"""Pictures of the safety tests, and a filesystem that takes a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from daskimg.testing import make_images
from tests.servers import s3_server, web_server

ROWS = 24  # pictures in `folder`
__all__ = ["ROWS", "paths", "s3_server", "vault", "web_server"]


class VaultFileSystem(MemoryFileSystem):
    """Files in memory that take a key and a password to open, as an object store does."""

    protocol = "vault"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    def __init__(self, *args: Any, key: str = "", password: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key, self.password = key, password

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return super()._strip_protocol(str(path).removeprefix("vault://"))


@pytest.fixture
def vault():
    """The class of the filesystem, empty."""
    fsspec.register_implementation("vault", VaultFileSystem, clobber=True)
    VaultFileSystem.store.clear()
    VaultFileSystem.clear_instance_cache()
    yield VaultFileSystem
    VaultFileSystem.store.clear()


@pytest.fixture(scope="session")
def paths(tmp_path_factory) -> list[str]:
    """Twenty good pictures of 8 to 10 rows."""
    return make_images(tmp_path_factory.mktemp("good"), 20, size=((8, 8), (10, 10)))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Good pictures of 8 to 10 rows, one to a file."""
    folder = tmp_path_factory.mktemp("many")
    make_images(folder, ROWS, size=((8, 8), (10, 10)), formats=["png"])
    return folder
