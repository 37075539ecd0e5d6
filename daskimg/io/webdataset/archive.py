"""The members of a tar file, one after another, whatever is wrong with it; links followed in it."""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from daskimg.errors import quoted

__all__ = ["FAULTS", "Archive", "BrokenTarError"]

BLOCK = tarfile.BLOCKSIZE
NAMING = b"xgLK"  # headers of the next one's long name and other properties
HOPS = 40  # from a link to a link, as a Linux kernel goes
MOST_HOLES = 64 * 2**20  # bytes of a sparse file, whose holes cost nothing to announce
# What a damaged header makes tarfile raise; and reading a file that is damaged or cut.
FAULTS = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, RecursionError)


class BrokenTarError(tarfile.ReadError):
    """Where an archive breaks off or cannot be read on.

    Attributes
    ----------
    offset : int
        Where the header of the broken member begins.
    name : str, optional
        What is left of its name.
    """

    def __init__(self, text: str, offset: int, name: str | None = None) -> None:
        super().__init__(text)
        self.offset, self.name = offset, name


class Archive:
    """A tar file without compression.

    Parameters
    ----------
    file : binary file
        It seeks.
    problem : Exception, optional
        Why the file is shorter than it should be.
    whole : callable, optional
        Opens the archive that `file` is a piece of: links lead anywhere in it.
    """

    def __init__(
        self,
        file: BinaryIO,
        problem: Exception | None = None,
        whole: Callable[[], BinaryIO] | None = None,
    ) -> None:
        self._length = file.seek(0, io.SEEK_END)
        self._file = _Within(file, self._length)
        self._problem, self._whole = problem, whole
        self._linked: tuple[Archive, dict[str, tarfile.TarInfo]] | None = None
        # an empty archive: what parses headers
        self._tar = tarfile.open(  # noqa: SIM115  (it holds no file)
            fileobj=io.BytesIO(bytes(2 * BLOCK)), encoding="utf-8", errors="backslashreplace"
        )
        self._tar.fileobj = self._file  # type: ignore[assignment]

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """The members in their order.

        Raises
        ------
        BrokenTarError
            Where there is a member that cannot be read.
        """
        at = 0
        while True:
            at, zeros = self._past_zeros(at)
            if at >= self._length:
                break
            try:
                self._file.seek(at)
                member = tarfile.TarInfo.fromtarfile(self._tar)
                after: int = self._tar.offset  # type: ignore[attr-defined]
                fault = "its size is no size" if member.size < 0 or after <= at else None
            except FAULTS as error:
                if zeros > 1:  # the end is marked, and this is no other archive behind it
                    break
                fault = f"{error or type(error).__name__}"
            if fault is not None:
                text = f"the header at byte {at:,} is damaged ({fault}): what follows is lost"
                raise self._broken(text, at, self._name_left(at))
            if member.offset_data + _stored(member) > self._length:
                raise self._broken(f"the file ends in {member.name}", at, member.name)
            yield member
            at = after
        if self._problem is not None:
            raise self._broken("the file ends early", self._length, None)

    def content(self, member: tarfile.TarInfo) -> bytes:
        """The bytes of a member; those of a link are its target's, in the archive.

        Raises
        ------
        ValueError
            When it is a link to what is no member, or no file at all.
        """
        if member.islnk() or member.issym():
            linked, target = self._target(member)
            return linked.content(target)
        if not member.isreg():
            raise ValueError(f"{member.name} is no file, but {_kind(member)}")
        if member.issparse():
            return self._filled(member)
        self._file.seek(member.offset_data)
        return self._file.read(member.size)

    # -- damage -----------------------------------------------------------------------------------
    def _broken(self, text: str, offset: int, name: str | None) -> BrokenTarError:
        if self._problem is not None:
            text = f"{text} ({type(self._problem).__name__}: {self._problem})"
        return BrokenTarError(text, offset, name)

    def _past_zeros(self, at: int) -> tuple[int, int]:
        """Where the first block that holds anything begins, and how many were passed.

        Two of zeros mark the end, which archives put one after another have in between.
        """
        start = at
        self._file.seek(at)
        while (data := self._file.read(BLOCK if at == start else 128 * BLOCK)) and not any(data):
            at += len(data)
        blocks = len(data) - len(data.lstrip(b"\0"))
        at += blocks // BLOCK * BLOCK
        return at, (at - start) // BLOCK

    def _name_left(self, at: int) -> str | None:
        """The name that a broken header begins with, or the one before it that holds long names."""
        self._file.seek(at)
        data, found = self._file.read(32 * BLOCK), None
        while len(data) > 156:
            if data[156] not in NAMING:
                break
            octal = data[124:136].strip(b"\0 ")
            size = int(octal, 8) if re.fullmatch(rb"[0-7]+", octal) else 0
            body = data[BLOCK : BLOCK + size]
            if data[156] in b"xg":
                told = re.search(rb"\d+ path=([^\n]+)\n", body)
                found = told[1] if told else found
            elif data[156] in b"L":
                found = body.split(b"\0")[0] or found
            data = data[BLOCK + -(-size // BLOCK) * BLOCK :]
        if found is None:
            found = data[:100].partition(b"\0")[0]
            folder = data[345:500].partition(b"\0")[0] if data[257:263] == b"ustar\0" else b""
            found = folder + b"/" + found if folder and found else found
        try:
            name = found.decode()
        except UnicodeDecodeError:
            return None
        return name if name.isprintable() and name else None

    # -- links and holes --------------------------------------------------------------------------
    def _target(self, link: tarfile.TarInfo) -> tuple[Archive, tarfile.TarInfo]:
        if self._linked is None:
            archive = self if self._whole is None else Archive(self._whole())
            self._linked = archive, archive._by_name()
        archive, members = self._linked
        member: tarfile.TarInfo | None = link
        for _ in range(HOPS):
            if member is None or not (member.islnk() or member.issym()):
                break
            base = posixpath.dirname(_plain(member.name)) if member.issym() else ""
            rooted = member.issym() and member.linkname.startswith("/")
            name = _plain(posixpath.join(base, member.linkname.lstrip("/")))
            member = None if rooted else members.get(name)
        if member is None or not member.isreg():
            raise ValueError(
                f"{link.name} is a link to {quoted(link.linkname)}, which is no file in the archive"
            )
        return archive, member

    def _by_name(self) -> dict[str, tarfile.TarInfo]:
        found = {}
        try:
            for member in self:
                found[_plain(member.name)] = member
        except BrokenTarError:
            return found  # those before the damage
        return found

    def _filled(self, member: tarfile.TarInfo) -> bytes:
        """The bytes of a sparse file, zeros where it has holes."""
        if member.size > max(MOST_HOLES, self._length):
            raise ValueError(f"{member.name} announces {member.size:,} bytes, most of them holes")
        out = bytearray(member.size)
        self._file.seek(member.offset_data)
        for offset, size in _pieces(member):
            data = self._file.read(size) if size >= 0 else b""
            if offset < 0 or len(data) != size or offset + size > len(out):
                raise ValueError(f"{member.name} is sparse, and its list of pieces is damaged")
            out[offset : offset + size] = data
        return bytes(out)


class _Within:
    """A file of which no more is asked than there is: a header may claim any size."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._length, self._at = file, length, 0

    def seek(self, offset: int) -> int:
        self._at = self._file.seek(offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        data = self._file.read(max(min(size, self._length - self._at), 0))
        self._at += len(data)
        return data


def _plain(name: str) -> str:
    return posixpath.normpath(name.lstrip("/"))


def _pieces(member: tarfile.TarInfo) -> list[tuple[int, int]]:
    """Where the pieces of a sparse file belong, and their bytes: they are stored in this order."""
    return list(cast(Any, member).sparse)


def _stored(member: tarfile.TarInfo) -> int:
    """Bytes of a member in the archive."""
    if member.issparse():
        return sum(size for _, size in _pieces(member))
    return member.size if member.isreg() else 0


def _kind(member: tarfile.TarInfo) -> str:
    if member.isdev():
        return "a FIFO" if member.isfifo() else "a device"
    return f"of the unknown type {member.type!r}"
