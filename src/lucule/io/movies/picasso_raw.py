"""Picasso RAW: bare frames, described by a YAML file of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from lucule.core import FormatError
from lucule.io.movies._camera_notes import micromanager, number
from lucule.io.movies._flat import one_file
from lucule.io.movies.format import Choice, MovieFormat, Opened
from lucule.io.movies.info import CameraNotes

_KEYS: Final = ("Frames", "Height", "Width", "Data Type")


def _description(path: Path) -> dict[str, Any] | None:
    """First YAML document beside `path`; None when there is none."""
    try:
        text = path.with_suffix(".yaml").read_text(encoding="utf-8")
        found = next(yaml.safe_load_all(text), None)
    except (OSError, UnicodeDecodeError):
        return None
    except yaml.YAMLError as error:
        raise FormatError(f"{path.with_suffix('.yaml').name} is no YAML: {' '.join(str(error).split())}") from None
    return found if isinstance(found, dict) else None


def _size_bytes(found: dict[str, Any]) -> int | None:
    try:
        return prod(int(found[key]) for key in _KEYS[:3]) * np.dtype(str(found["Data Type"])).itemsize
    except (TypeError, ValueError):
        return None


def _is_raw(path: Path, _head: bytes) -> bool:
    found = _description(path) if path.is_file() else None
    if found is None or not all(key in found for key in _KEYS):
        return False
    # Picasso's tables, and what was made from them, have the same YAML beside them
    return path.suffix.lower() == ".raw" or path.stat().st_size == _size_bytes(found)


def _open(path: Path, _choice: Choice) -> Opened:
    found = _description(path) or {}
    try:
        frames, rows, columns = (int(found[key]) for key in _KEYS[:3])
        dtype = np.dtype(str(found["Data Type"])).newbyteorder(">" if found.get("Byte Order") == ">" else "<")
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path.with_suffix('.yaml').name} does not describe the movie: {error}", allowed=", ".join(_KEYS)
        ) from None
    if min(frames, rows, columns) < 1:
        raise FormatError(f"{path.name} has no frames", received=f"{frames} frames of {rows} x {columns} pixels")
    pixel = number(found, "Pixelsize", "Camera.Pixelsize")
    written = found.get("Micro-Manager Metadata")
    acquired = micromanager(written if isinstance(written, Mapping) else {})
    gain = number(found, "Gain", "EM Gain")
    return Opened(
        one_file(path, 0, (frames, rows, columns), dtype),
        [path, path.with_suffix(".yaml")],
        pixel_size_nm=(pixel, pixel) if pixel else acquired.pixel_size_nm,
        exposure_ms=number(found, "Camera.Integration Time") or acquired.exposure_ms,
        camera=CameraNotes(
            name=str(found["Camera"]) if isinstance(found.get("Camera"), str) else acquired.camera.name,
            em_gain=gain if gain is not None else acquired.camera.em_gain,
            baseline=number(found, "Baseline"),
            electrons_per_count=number(found, "Sensitivity"),
            bit_depth=acquired.camera.bit_depth,
            binning=acquired.camera.binning,
            region_px=acquired.camera.region_px,
        ),
    )


FORMAT = MovieFormat("picasso_raw", "Picasso RAW with YAML", _is_raw, _open, "Pixelsize is nm, Integration Time ms")
