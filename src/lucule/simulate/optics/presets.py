"""The packaged PSFs, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from lucule.core import InputError
from lucule.core.config import read_yaml
from lucule.simulate.optics.psf import KINDS, PSF

_FOLDER: Final = resources.files("lucule.simulate") / "psfs"
_STACKS: Final = (".h5", ".hdf5", ".tif", ".tiff", ".npy")


def available_psfs() -> list[str]:
    """Names of the packaged PSFs.

    Examples
    --------
    >>> "astigmatic" in available_psfs()
    True
    """
    return sorted(file.name.removesuffix(".yaml") for file in _FOLDER.iterdir() if file.name.endswith(".yaml"))


def parse_psf(values: dict[str, Any], *, source: str = "PSF") -> PSF:
    """Validate the description of a PSF; `kind` says which.

    Raises
    ------
    InputError
        The kind is unknown, or a value is not allowed.
    """
    kind = values.get("kind")
    if kind not in KINDS:
        raise InputError(f"{source} names no known kind of PSF", received=f"kind={kind}", allowed=", ".join(KINDS))
    psf: PSF = KINDS[kind].parse(values, source=source)
    return psf


def load_psf(name: str | Path, **changes: Any) -> PSF:
    """Give a packaged PSF by name, or one from a file, with some of its values changed.

    A file is a YAML description, or a measured stack: the `psf.h5` of `lucule calibrate psf`, or whatever `read_stack`
    reads.

    Raises
    ------
    InputError
        There is no such PSF, or a value is not allowed.

    Examples
    --------
    >>> load_psf("gaussian", sigma_nm=140).sigma_nm
    140.0
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        values = read_yaml(text)
        if values.get("kind") == "spline" and "path" in values:  # relative to the file that names it
            values["path"] = Path(text).parent / values["path"]
        return parse_psf(values | changes, source=text)
    if text.lower().endswith(_STACKS):
        return parse_psf({"kind": "spline", "path": text} | changes, source=text)
    if text not in available_psfs():
        raise InputError(
            "There is no such PSF",
            received=text,
            allowed=", ".join(available_psfs()),
            next_step="or give a .yaml file or a measured stack (.h5)",
        )
    values = yaml.safe_load((_FOLDER / f"{text}.yaml").read_text(encoding="utf-8"))
    return parse_psf(values | changes, source=f"PSF {text}")
