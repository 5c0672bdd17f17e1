"""MATLAB files, both kinds: version 5 to 7 through scipy, version 7.3 (which is HDF5) through h5py, seen alike.

Structures become `Struct`, arrays of structures and cells become lists, text becomes `str`, numbers become arrays with
the dimensions that MATLAB shows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from lucule.core import FormatError
from lucule.io import _hdf5

_NUMERIC: Final = "biuf"


class Struct(Mapping[str, Any]):
    """A MATLAB structure; members of version 7.3 files are read when they are asked for."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Number of values of a numeric member, without reading them; None for members of another kind."""


class _Loaded(Struct):
    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = members

    def __getitem__(self, name: str) -> Any:
        return _from_scipy(self._members[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def size(self, name: str) -> int | None:
        value = self[name]
        return int(value.size) if isinstance(value, np.ndarray) and value.dtype.kind in _NUMERIC else None


class _Stored(Struct):
    def __init__(self, group: Any) -> None:
        self._group = group
        self._names = [name for name in group if not name.startswith("#")]

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return _from_hdf5(self._group[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def size(self, name: str) -> int | None:
        import h5py

        member = self._group[name]
        if not isinstance(member, h5py.Dataset) or member.dtype.kind not in _NUMERIC or _kind(member) == "char":
            return None
        return 0 if "MATLAB_empty" in member.attrs else int(member.size)


@contextmanager
def opened(path: Path) -> Iterator[Struct]:
    """The variables of a MATLAB file.

    Raises
    ------
    FormatError
        The file is damaged or no MATLAB file.
    """
    with path.open("rb") as stream:
        stream.seek(512)
        is_hdf5 = stream.read(4) == b"\x89HDF"
    if is_hdf5:
        with _hdf5.opened(path) as file:
            yield _Stored(file)
        return
    import zlib

    import scipy.io

    try:
        variables = scipy.io.loadmat(path, chars_as_strings=True)
    except (ValueError, TypeError, OSError, EOFError, NotImplementedError, IndexError, zlib.error) as error:
        raise FormatError(
            f"{path} is damaged or incomplete: it cannot be read as a MATLAB file",
            received=str(error).splitlines()[0] if str(error) else type(error).__name__,
            next_step="copy the file again, or save it again in MATLAB",
        ) from None
    yield _Loaded({name: value for name, value in variables.items() if not name.startswith("__")})


def names(path: Path) -> dict[str, str]:
    """The variables of a file of version 5 to 7 and their classes, without reading them; none when it is damaged."""
    import zlib

    import scipy.io

    try:
        return {name: kind for name, _, kind in scipy.io.whosmat(path)}
    except (ValueError, TypeError, OSError, EOFError, NotImplementedError, IndexError, zlib.error):
        return {}


def _from_scipy(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names:
        structs = [_Loaded({name: row[name] for name in value.dtype.names}) for row in value.ravel()]
        return structs[0] if len(structs) == 1 else structs
    if value.dtype.kind == "O":
        return [_from_scipy(item) for item in value.ravel()]
    if value.dtype.kind in "US":
        return "\n".join(str(item) for item in value.ravel())
    return value


def _from_hdf5(item: Any) -> Any:
    import h5py

    if isinstance(item, h5py.Group):
        members = [member for member in item.values() if _is_reference(member) and not _kind(member)]
        if not members:
            return _Stored(item)
        # an array of structures is kept as one group with a list of references for each member
        rows = [
            {name: item.file[reference] for name, reference in zip(item, row, strict=True)}
            for row in zip(*(member[()].ravel() for member in item.values()), strict=True)
        ]
        return [_Stored(row) for row in rows]
    if _is_reference(item):
        return [_from_hdf5(item.file[reference]) for reference in item[()].ravel()]
    if "MATLAB_empty" in item.attrs:
        return "" if _kind(item) == "char" else np.empty(0)
    values = item[()]
    if _kind(item) == "char":
        return "".join(chr(code) for code in np.asarray(values).ravel())
    return np.asarray(values).T


def _kind(item: Any) -> str:
    return _hdf5.text(item.attrs.get("MATLAB_class", ""))


def _is_reference(item: Any) -> bool:
    import h5py

    return isinstance(item, h5py.Dataset) and item.dtype == h5py.ref_dtype
