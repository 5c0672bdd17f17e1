"""Localization tables and movies of all programs, in lucule's units and conventions; tables also back.

One module per format, one line for each in `lucule.io.registry`. Files are recognised by content, and only the modules
that come into question are imported.
"""

from lucule.io import movies, regions
from lucule.io.format import Contents, FileColumn, Format, Reading, ReadOptions
from lucule.io.movies import MOVIE_FORMATS, Movie, MovieInfo, open_movie
from lucule.io.reading import FileInfo, formats_table, inspect, read, write
from lucule.io.registry import FORMATS
from lucule.io.units_check import suspicions

__all__ = [
    "FORMATS",
    "MOVIE_FORMATS",
    "Contents",
    "FileColumn",
    "FileInfo",
    "Format",
    "Movie",
    "MovieInfo",
    "ReadOptions",
    "Reading",
    "formats_table",
    "inspect",
    "movies",
    "open_movie",
    "read",
    "regions",
    "suspicions",
    "write",
]
