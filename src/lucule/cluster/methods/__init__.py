"""Published methods that find clusters, behind one interface.

Each is a module with its settings (a frozen `Config`, units in the names), a function `f(locs, settings, region=...)`
that adds `label` and `cluster` to the table, and an entry in `METHODS`. Rows stay in their order, and no result depends
on that order. All need settings; `lucule.cluster.group` on labels of a network needs none.
"""

from __future__ import annotations

from typing import Any, Final

from lucule.cluster.methods import bayesian as _bayesian
from lucule.cluster.methods import dbscan as _dbscan
from lucule.cluster.methods import focal as _focal
from lucule.cluster.methods import getis as _getis
from lucule.cluster.methods import hdbscan as _hdbscan
from lucule.cluster.methods import kernel as _kernel
from lucule.cluster.methods import tomato as _tomato
from lucule.cluster.methods import voronoi as _voronoi
from lucule.cluster.methods.bayesian import Bayesian, bayesian
from lucule.cluster.methods.common import Method
from lucule.cluster.methods.dbscan import Dbscan, dbscan
from lucule.cluster.methods.focal import Focal, focal
from lucule.cluster.methods.getis import Getis, getis
from lucule.cluster.methods.hdbscan import Hdbscan, hdbscan
from lucule.cluster.methods.kernel import Kernel, kernel_density
from lucule.cluster.methods.tomato import Tomato, tomato
from lucule.cluster.methods.voronoi import Voronoi, voronoi
from lucule.core import Config, InputError, Localizations, Region

_MODULES: Final = (_dbscan, _hdbscan, _getis, _bayesian, _voronoi, _tomato, _kernel, _focal)
METHODS: Final[dict[str, Method]] = {module.METHOD.name: module.METHOD for module in _MODULES}
"""All methods by name."""

__all__ = [
    "METHODS",
    "Bayesian",
    "Dbscan",
    "Focal",
    "Getis",
    "Hdbscan",
    "Kernel",
    "Method",
    "Tomato",
    "Voronoi",
    "bayesian",
    "dbscan",
    "describe",
    "find",
    "find_clusters",
    "focal",
    "getis",
    "hdbscan",
    "kernel_density",
    "settings_of",
    "tomato",
    "voronoi",
]


def find(name: str) -> Method:
    """The method of a name.

    Raises
    ------
    InputError
        There is none.
    """
    if name not in METHODS:
        raise InputError("There is no such method", received=name, allowed=", ".join(METHODS))
    return METHODS[name]


def settings_of(name: str, values: dict[str, Any]) -> Config:
    """Validated settings of a method.

    Raises
    ------
    InputError
        There is no such method, or a key or value is not allowed; the message lists the keys with their units and
        defaults.
    """
    method = find(name)
    return method.settings.parse(values, source=f"The settings of {name} ({_keys(method)})")


def find_clusters(
    locs: Localizations, method: str = "dbscan", *, region: Region | None = None, **settings: Any
) -> Localizations:
    """Cluster by a method given by name.

    Parameters
    ----------
    locs
        Localizations, 2D or 3D.
    method
        One of `METHODS`.
    region
        Only localizations inside are looked at; those outside get cluster -1.
    **settings
        Of the method, units in their names.

    Returns
    -------
    locs
        The table in its order with `label` (1 = in a cluster) and `cluster` (-1 = none). Its history names the method's
        own function.

    Raises
    ------
    InputError
        There is no such method or setting, or the method cannot work in 3D.

    Examples
    --------
    >>> locs = Localizations({"x": [0.0, 4.0, 8.0, 90.0], "y": [0.0] * 4})
    >>> find_clusters(locs, "dbscan", epsilon_nm=5, min_points=3)["cluster"].tolist()
    [0, 0, 0, -1]
    """
    return find(method).run(locs, settings_of(method, settings), region=region)


def describe() -> list[dict[str, str]]:
    """Name, purpose, settings with defaults, and source of every method, for people."""
    return [{"name": m.name, "what": m.what, "settings": _keys(m), "source": m.source} for m in METHODS.values()]


def _keys(method: Method) -> str:
    defaults = method.settings().model_dump(mode="json")
    return ", ".join(f"{key}={_short(value)}" for key, value in defaults.items())


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 30 else f"{text[:12]}...{text[-8:]}"
