"""Movies of all programs, read frame by frame when they are looked at, in bounded memory.

One module per format, one line for each in `lucule.io.movies.registry`. Files are recognised by content, and only the
modules that come into question are imported.
"""

from lucule.io.movies.format import MovieFormat
from lucule.io.movies.info import CameraNotes, MovieInfo
from lucule.io.movies.reading import Movie, Roi, open_movie, opened, sniff
from lucule.io.movies.registry import MOVIE_FORMATS

__all__ = [
    "MOVIE_FORMATS",
    "CameraNotes",
    "Movie",
    "MovieFormat",
    "MovieInfo",
    "Roi",
    "open_movie",
    "opened",
    "sniff",
]
