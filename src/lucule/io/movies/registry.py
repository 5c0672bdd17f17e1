"""All movie formats: one line each. Their modules import what they need when a file of theirs is opened."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from lucule.core import InputError
from lucule.io.movies.format import MovieFormat

# name -> module that holds FORMAT; the more specific formats come first
MODULES: Final[dict[str, str]] = {
    "ndtiff": "lucule.io.movies.ndtiff",
    "tiff": "lucule.io.movies.tiff",
    "ome_zarr": "lucule.io.movies.ome_zarr",
    "frames": "lucule.io.movies.folder",
    "nd2": "lucule.io.movies.nikon",
    "npy": "lucule.io.movies.npy",
    "dax": "lucule.io.movies.dax",
    "picasso_raw": "lucule.io.movies.picasso_raw",
}


class _Formats(Mapping[str, MovieFormat]):
    """Name -> MovieFormat; a format's module is imported when it is looked up."""

    def __getitem__(self, name: str) -> MovieFormat:
        if name not in MODULES:
            raise InputError("Unknown movie format", received=name, allowed=", ".join(MODULES))
        found: MovieFormat = importlib.import_module(MODULES[name]).FORMAT
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


MOVIE_FORMATS: Final = _Formats()
"""The registry of movie formats."""
