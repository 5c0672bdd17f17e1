"""The start of a file: what recognition looks at, and what can be wrong before any format is asked."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Final

from lucule.core import FormatError, InputError

HEAD_BYTES: Final = 65_536
_GZIP: Final = b"\x1f\x8b"

_IMAGES: Final = (
    (b"II*\0", "a TIFF image or movie"),
    (b"II+\0", "a BigTIFF image or movie"),
    (b"MM\0*", "a TIFF image or movie"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\xda\xce\xbe\n", "a Nikon ND2 movie"),
)


def read_head(path: Path) -> bytes:
    """The first `HEAD_BYTES` of a file, decompressed when it is gzip; a folder has none.

    Raises
    ------
    InputError
        There is no such file, it may not be read, or it is empty.
    FormatError
        It is an image, or a damaged gzip file.
    """
    if path.is_dir():
        return b""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}", next_step="check the path") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}", next_step="check the permissions") from None
    if not head:
        raise FormatError(
            f"{path} is empty",
            received="0 bytes",
            next_step="export or copy the file again; the transfer may have failed",
        )
    for magic, kind in _IMAGES:
        if head.startswith(magic):
            raise FormatError(
                f"{path} is {kind}, not a table of localizations",
                allowed="tables that localization software has written from it",
            )
    return gunzip_head(path) if is_gzip(head) else head


def is_gzip(head: bytes) -> bool:
    """Whether these first raw bytes are those of a gzip file."""
    return head.startswith(_GZIP)


def gunzip_head(path: str | os.PathLike[str]) -> bytes:
    """The first decompressed `HEAD_BYTES` of a gzip file."""
    try:
        with gzip.open(path) as stream:
            return stream.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        raise FormatError(f"{path} is a damaged gzip file", next_step="copy the file again") from None
