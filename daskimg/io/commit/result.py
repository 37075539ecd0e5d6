"""What a write did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from daskimg.errors import counted
from daskimg.io.commit.names import OWN, check_name
from daskimg.transport import fetch

__all__ = ["MANIFEST", "WriteResult"]

MANIFEST = f"{OWN}/manifest.json"


@dataclass(frozen=True)
class WriteResult:
    """What a writer did.

    Attributes
    ----------
    rows : int
        Rows that went through the writer: written, failed and missing ones.
    failed : int
        Rows that hold a cell that failed, or of whose picture something that was made in the
        same run did (a measure beside it). A picture that could not be opened for that is not
        copied: its cell is null with the reason. Where nothing is decoded, nothing is checked.
    manifest : str
        Where the list of the files is.
    missing : int
        Rows that hold a null cell without a reason.
    reasons : dict
        How many rows failed for what.
    errors : str, optional
        Where the rows that failed were written to be tried again.

    Examples
    --------
    >>> result = di.read_images(folder).img.write_parquet("shop")
    >>> result
    WriteResult(4 written)
    >>> print(WriteResult(1_433, 3, "", 0, {"truncated": 2, "not an image": 1}, "errors.parquet"))
    1,430 written, 3 failed: 2 truncated, 1 not an image; see errors.parquet
    >>> [file.rpartition("/")[2] for file in result.files]
    ['part-00000.parquet']
    """

    rows: int
    failed: int
    manifest: str
    missing: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    errors: str | None = None
    source: fetch.Source = field(default=fetch.Source.default, repr=False, compare=False)

    @property
    def written(self) -> int:
        """Rows without a null cell."""
        return self.rows - self.failed - self.missing

    @cached_property
    def files(self) -> list[str]:
        """Paths of all files that count in the target, read from the manifest."""
        root = self.manifest[: -len(MANIFEST)]
        listed = json.loads(fetch.read_bytes(self.manifest, self.source))["files"]
        return [root + check_name(file["name"]) for file in listed]

    def __str__(self) -> str:
        text = f"{self.written:,} written"
        if self.failed:
            text += f", {self.failed:,} failed"
            text += f": {counted(self.reasons)}" if self.reasons else ""
        if self.missing:
            text += f", {self.missing:,} missing"
        return text + (f"; see {self.errors}" if self.failed and self.errors else "")

    def __repr__(self) -> str:
        return f"WriteResult({self})"
