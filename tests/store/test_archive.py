"""An archive is read back as it was written, by tar too; what it was not written as is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.errors import P2pwfError, Refused, TryAgain
from p2pwf.store.archive import MAX_OCTAL, ArchiveWriter, _header, _parse, read_archive

FILES = {"a": b"", "b/c": b"x" * 512, "b/d": bytes(range(256)) * 9000}


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with ArchiveWriter(out) as writer:
        for name, content in files.items():
            writer.add(name, len(content), io.BytesIO(content))
    return out.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    return {entry.name: b"".join(entry.chunks()) for entry in read_archive(io.BytesIO(data))}


def tar(*members: tarfile.TarInfo, form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=form) as made:
        for member in members:
            made.addfile(member, io.BytesIO(bytes(member.size)))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **rest: object) -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type = kind
    for key, value in rest.items():
        setattr(one, key, value)
    return one


def test_what_is_written_is_read_back_and_tar_reads_it_too() -> None:
    data = archive(FILES)
    assert read(data) == FILES
    with tarfile.open(fileobj=io.BytesIO(data)) as seen:
        found = {one.name: one for one in seen.getmembers()}
        assert found.keys() == FILES.keys()
        assert all(one.isfile() and one.mode == 0o600 for one in found.values())
        assert seen.extractfile("b/d").read() == FILES["b/d"]  # type: ignore[union-attr]
    assert read(tar(member("x"), member("y", size=3))) == {"x": b"", "y": bytes(3)}


def test_sizes_beyond_what_octal_digits_hold() -> None:
    for size in (MAX_OCTAL, MAX_OCTAL + 1, 1 << 62):
        header = _header("x", size, 0)
        assert _parse(header) == ("x", size)
        assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size


@pytest.mark.parametrize(
    "one",
    [
        member("x", tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("x", tarfile.LNKTYPE, linkname="y"),
        member("x", tarfile.DIRTYPE),
        member("x", tarfile.FIFOTYPE),
        member("x", tarfile.CHRTYPE),
        member("x" * 60 + "/" + "y" * 60),
        member("x\x1b[2J"),
        member("bös"),
    ],
)
def test_only_plain_files_with_plain_names_are_read(one: tarfile.TarInfo) -> None:
    with pytest.raises(Refused):
        read(tar(one))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_records_that_rename_what_follows_are_not_understood(form: int) -> None:
    with pytest.raises(Refused):
        read(tar(member("x" * 200), form=form))


def _behind(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data) + b"more")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: b"no gzip" + data,
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:-8] + bytes(4) + data[-4:],
        lambda data: data + b"more",
        _behind,
        lambda data: gzip.compress(gzip.decompress(data) + bytes(100_000)),
        lambda data: gzip.compress(gzip.decompress(data)[:-1024]),
        lambda data: gzip.compress(b"\x7fELF" + gzip.decompress(data)[4:]),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Refused, match="no whole backup"):
        read(damage(archive(FILES)))


def test_a_file_that_shrinks_while_it_is_read_is_told() -> None:
    out = io.BytesIO()
    with pytest.raises(TryAgain), ArchiveWriter(out) as writer:
        writer.add("x", 10, io.BytesIO(b"short"))
    with pytest.raises(Refused, match="no whole backup"):
        read(out.getvalue())


@given(st.integers(0, 511), st.integers(0, 255))
def test_any_byte_of_a_header_may_be_anything(place: int, value: int) -> None:
    plain = bytearray(gzip.decompress(archive({"a": b"content"})))
    plain[place] = value
    with suppress(P2pwfError):
        assert read(gzip.compress(bytes(plain), 1)) == {"a": b"content"}
