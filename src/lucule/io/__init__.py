"""Localization tables of all programs, in lucule's units and conventions; and back.

One module per format, one line for each in `lucule.io.registry`. Files are recognised by content, and only the modules
that come into question are imported.
"""

from lucule.io import regions
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions
from lucule.io.reading import FileInfo, formats_table, inspect, read, write
from lucule.io.registry import FORMATS
from lucule.io.units_check import suspicions

__all__ = [
    "FORMATS",
    "Contents",
    "FileColumn",
    "FileInfo",
    "Format",
    "ReadOptions",
    "Reading",
    "formats_table",
    "inspect",
    "read",
    "regions",
    "suspicions",
    "write",
]
