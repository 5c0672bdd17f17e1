"""All file formats: one line each. Their modules are imported when a file of their family is met.

A family is what the first bytes of a file say about its container. Only the formats of that family are imported and
asked, in the order below, so that reading a CSV file never imports h5py.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from lucule.core import InputError
from lucule.io.format import Format

Family = Literal["text", "parquet", "hdf5", "mat5", "zip", "npy", "asdf", "folder", "unknown"]


class Entry(NamedTuple):
    """Where a format lives: its module, and the families in which its files come."""

    module: str
    families: tuple[Family, ...]


# name -> module that holds FORMAT. Within a family the more specific formats come first.
# Of several that write the same ending (.csv), the first is the one chosen by the ending alone.
ENTRIES: Final[dict[str, Entry]] = {
    "lucule": Entry("lucule.io.lucule_parquet", ("parquet",)),
    "parquet": Entry("lucule.io.parquet_table", ("parquet",)),
    "picasso": Entry("lucule.io.picasso", ("hdf5",)),
    "decode": Entry("lucule.io.decode", ("hdf5",)),
    "smap": Entry("lucule.io.smap", ("hdf5", "mat5")),
    "smlm": Entry("lucule.io.smlm", ("zip",)),
    "minflux": Entry("lucule.io.minflux", ("npy", "zip", "mat5", "hdf5", "text")),
    "locan": Entry("lucule.io.locan", ("asdf",)),
    "abbelight": Entry("lucule.io.abbelight", ("text",)),
    "thunderstorm": Entry("lucule.io.thunderstorm", ("text",)),
    "rapidstorm": Entry("lucule.io.rapidstorm", ("text",)),
    "nstorm": Entry("lucule.io.nstorm", ("text",)),
    "elyra": Entry("lucule.io.elyra", ("text",)),
    "nanoimager": Entry("lucule.io.nanoimager", ("text",)),
    "rainstorm": Entry("lucule.io.rainstorm", ("text",)),
    "smlm_challenge": Entry("lucule.io.smlm_challenge", ("text",)),
    "decode_csv": Entry("lucule.io.decode_csv", ("text",)),
    "smap_csv": Entry("lucule.io.smap_csv", ("text",)),
    "minflux_csv": Entry("lucule.io.minflux_csv", ("text",)),
    "caml": Entry("lucule.io.caml", ("text",)),
    "delimited": Entry("lucule.io.delimited", ("text",)),
}


class _Formats(Mapping[str, Format]):
    """Name -> Format; a format's module is imported when it is looked up."""

    def __getitem__(self, name: str) -> Format:
        if name not in ENTRIES:
            raise InputError("Unknown file format", received=name, allowed=", ".join(sorted(ENTRIES)))
        found: Format = importlib.import_module(ENTRIES[name].module).FORMAT
        return found

    def __contains__(self, name: object) -> bool:
        return name in ENTRIES

    def __iter__(self) -> Iterator[str]:
        return iter(ENTRIES)

    def __len__(self) -> int:
        return len(ENTRIES)

    def of_family(self, family: Family) -> Iterator[Format]:
        """Formats whose files come in this family, the more specific first."""
        return (self[name] for name, entry in ENTRIES.items() if family in entry.families)


FORMATS: Final = _Formats()
"""The registry of file formats."""


_MAGIC: Final[tuple[tuple[int, bytes, Family], ...]] = (
    (0, b"PAR1", "parquet"),
    (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (512, b"\x89HDF\r\n\x1a\n", "hdf5"),  # MATLAB 7.3 puts 512 bytes of its own before the HDF5 signature
    (0, b"MATLAB 5.0 MAT-file", "mat5"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"#ASDF ", "asdf"),
)


def family(head: bytes) -> Family:
    """Family of a file whose first bytes are `head` (already decompressed when the file is gzip).

    Examples
    --------
    >>> family(b"PAR1..."), family(b"x,y"), family(bytes(100))
    ('parquet', 'text', 'unknown')
    """
    for offset, magic, found in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return found
    return "text" if _looks_like_text(head) else "unknown"


def _looks_like_text(head: bytes) -> bool:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16 with its mark
        return True
    # Zeiss writes one NUL byte between its table and its footer, hence not "no NUL at all"
    control = sum(head.count(byte) for byte in range(32) if byte not in b"\t\n\r\f\x1a")
    return control <= len(head) // 200 + 1 and bool(head.strip(b"\0"))
