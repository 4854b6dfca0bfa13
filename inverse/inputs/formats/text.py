"""Text of files as people have them: packed or plain, any common encoding, never more than stated."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from surrogates.errors import DataError, StructureError

MEGABYTE = 1_000_000

MAX_TEXT = 100 * MEGABYTE
"""Bytes, unpacked, of a file that has to be read whole, and of one frame or line of any other."""

MAX_RATIO = 100
"""Bytes unpacked for one packed; beyond it, and beyond `MAX_TEXT`, no structures were packed."""

CHUNK = 1 << 20
"""Bytes unpacked at a time."""

PACKED_SUFFIXES = (".gz", ".bz2", ".xz")

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_REFUSED = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"\x1f\x9d": "packed (.Z)",
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class _Metered(io.RawIOBase):
    """A binary stream that counts what it gives and stops at a bomb."""

    def __init__(self, stream: BinaryIO, file: BinaryIO, n_packed: int, limit: int | None) -> None:
        self.stream, self.n_packed, self.limit, self.n_read = stream, max(n_packed, 1), limit, 0
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        try:
            data = self.stream.read(min(len(buffer), CHUNK))
        except EOFError:
            raise DataError("the compressed file is cut off") from None
        except (zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise DataError(f"the compressed file is damaged: {error}") from None
        self.n_read += len(data)
        if self.limit is not None and self.n_read > self.limit:
            raise DataError(
                f"holds more than {self.limit // MEGABYTE} MB of text; "
                "give many structures as .jsonl, .extxyz or .db, which are read one at a time"
            )
        if self.n_read > MAX_TEXT and self.n_read > MAX_RATIO * self.n_packed:
            raise DataError(f"unpacks to more than {self.n_read // MEGABYTE} MB, {MAX_RATIO} times its size")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.stream.close()
        self.file.close()  # what unpacks does not close what it unpacks
        super().close()


def open_text(path: Path, limit: int | None = None) -> IO[str]:
    """Return a text stream of a plain or packed (gzip, bzip2, xz) file; line ends of any system become \\n.

    UTF-8 with or without mark, UTF-16 and UTF-32 by their mark or zeros, Latin-1 where it is none of them.

    Args:
        path: of the file.
        limit: bytes, unpacked, that may be read; None: as many as there are, unless they are a bomb.

    Raises:
        DataError: an archive of another kind, or no regular file; while reading: too much, damaged, cut off.
        OSError: as the file system says.
    """
    if not path.is_file():
        raise DataError("is not a file")
    stream: BinaryIO = path.open("rb")
    try:
        start = stream.read(8)
        stream.seek(0)
        for mark, what in _REFUSED.items():
            if start.startswith(mark):
                raise DataError(f"is {what}; unpack it, or pack it with gzip, bzip2 or xz")
        opener: Any = next((op for mark, op in _OPENERS.items() if start.startswith(mark)), None)
        size = path.stat().st_size
        metered = _Metered(stream if opener is None else opener(stream), stream, size, limit)
        buffered = io.BufferedReader(metered, CHUNK)
        return io.TextIOWrapper(buffered, encoding=_encoding(buffered.peek(1 << 16)), errors="replace")
    except BaseException:
        stream.close()
        raise


def _encoding(start: bytes) -> str:
    """Return the encoding of a text by its first bytes."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    pairs = start[: len(start) // 2 * 2]
    if pairs and b"\x00" in pairs:  # text in UTF-16 without its mark has a zero in nearly every pair
        even, odd = pairs[0::2].count(0), pairs[1::2].count(0)
        if odd > 0.4 * len(pairs) and not even:
            return "utf-16-le"
        if even > 0.4 * len(pairs) and not odd:
            return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # a character cut at the end is no error
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def read_text(path: Path) -> str:
    """Return the text of a file that has to be read whole.

    Raises:
        StructureError: nothing in it.
        DataError: more than `MAX_TEXT`, or as `open_text`.
    """
    with open_text(path, MAX_TEXT) as stream:
        text = stream.read()
    if not text.strip():
        raise StructureError("the file is empty")
    return text


def lines_of(stream: IO[str]) -> Iterator[str]:
    """Yield the lines of a stream, without their ends.

    Raises:
        DataError: a line longer than `MAX_TEXT`, or as `open_text`.
    """
    while line := stream.readline(MAX_TEXT):
        if len(line) >= MAX_TEXT:
            raise DataError(f"a line of more than {MAX_TEXT // MEGABYTE} MB")
        yield line.rstrip("\n")
