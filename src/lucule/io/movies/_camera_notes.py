"""Metadata of acquisition programs in lucule's words and units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lucule.io.movies.info import CameraNotes

_MICRO: Final = ("u", "µ", "μ")
_NM: Final = dict.fromkeys([f"{sign}m" for sign in _MICRO] + ["micron", "micrometer"], 1e3) | {
    "nm": 1.0, "nanometer": 1.0, "mm": 1e6, "millimeter": 1e6, "cm": 1e7, "m": 1e9, "meter": 1e9
}  # fmt: skip
_MS: Final = dict.fromkeys([f"{sign}s" for sign in _MICRO] + ["microsecond"], 1e-3) | {
    "ns": 1e-6, "ms": 1.0, "millisecond": 1.0, "s": 1e3, "sec": 1e3, "second": 1e3, "min": 6e4
}  # fmt: skip
# what programs write when they do not know the size of a pixel
_UNKNOWN_PIXEL_NM: Final = (1e3, 1e9)


@dataclass(frozen=True, slots=True)
class Acquired:
    """What could be understood."""

    pixel_size_nm: tuple[float, float] | None = None
    exposure_ms: float | None = None
    camera: CameraNotes = field(default_factory=CameraNotes)


def number(values: Mapping[str, Any], *keys: str) -> float | None:
    """Give the first of some keys that holds a number; text that begins with one counts.

    Examples
    --------
    >>> number({"Exposure-ms": "30.5 ms"}, "Exposure", "Exposure-ms")
    30.5
    """
    for key in keys:
        value = values.get(key)
        if isinstance(value, Mapping):  # Micro-Manager's metadata.txt
            value = value.get("PropVal")
        if isinstance(value, bool) or value is None:
            continue
        match = re.match(r"\s*[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", str(value))
        if match:
            return float(match[0])
    return None


def length_nm(value: float | None, unit: str | None) -> float | None:
    """Give a length in nm; None where the unit is not known or the length is a placeholder.

    Examples
    --------
    >>> length_nm(0.1, "um"), length_nm(1, "pixel")
    (100.0, None)
    """
    factor = _NM.get((unit or "").strip().lower())
    if value is None or factor is None or value <= 0:
        return None
    size = value * factor
    return None if size in _UNKNOWN_PIXEL_NM else round(size, 6)


def time_ms(value: float | None, unit: str | None) -> float | None:
    """Give a time in ms; None where the unit is not known."""
    factor = _MS.get((unit or "").strip().lower())
    return None if value is None or factor is None or value <= 0 else round(value * factor, 9)


def micromanager(values: Mapping[str, Any]) -> Acquired:
    """Understand the metadata that Micro-Manager writes for an image, or its summary.

    Examples
    --------
    >>> found = micromanager({"PixelSizeUm": 0.1, "Exposure-ms": 30, "Camera": "Andor", "Andor-Gain": "300"})
    >>> found.pixel_size_nm, found.exposure_ms, found.camera.em_gain
    ((100.0, 100.0), 30.0, 300.0)
    """
    pixel = length_nm(number(values, "PixelSizeUm", "PixelSize_um"), "um")
    label = str(values.get("Camera") or values.get("Core-Camera") or "")
    gain = number(values, f"{label}-EMGain", f"{label}-MultiplierGain", f"{label}-EM Gain")
    model = " ".join(str(values.get(f"{label}-{key}", "")) for key in ("Camera", "CameraName", "Name"))
    if gain is None and ("andor" in (label + model).lower() or f"{label}-EMSwitch" in values):
        gain = number(values, f"{label}-Gain")
    if str(values.get(f"{label}-EMSwitch", "On")).lower() == "off":
        gain = 1.0
    bits, binning = number(values, "BitDepth"), number(values, "Binning", f"{label}-Binning")
    region = re.fullmatch(r"(\d+)-(\d+)-(\d+)-(\d+)", str(values.get("ROI", "")))
    return Acquired(
        (pixel, pixel) if pixel else None,
        number(values, "Exposure-ms", f"{label}-Exposure"),
        CameraNotes(
            name=next(
                (str(values[key]) for key in (f"{label}-CameraName", f"{label}-Camera") if values.get(key)), label
            )
            or None,
            em_gain=gain,
            bit_depth=int(bits) if bits else None,
            binning=int(binning) if binning else None,
            region_px=(int(region[1]), int(region[2]), int(region[3]), int(region[4])) if region else None,
        ),
    )


def micromanager_text(text: str) -> Acquired:
    """Understand the beginning of a `metadata.txt`, which may be cut anywhere."""
    flat = re.findall(r'"([^"]+)":\s*(?:\{[^{}]*?"PropVal":\s*)?"?([^",{}\[\]\n]+)', text)
    return micromanager({key: value.strip() for key, value in reversed(flat)})


def andor(tags: Mapping[str, Any]) -> Acquired:
    """Understand the tags that Andor's own software writes into TIFF files."""
    # the level of the EM register's converter (EmDacLevel) is not its gain
    return Acquired(
        exposure_ms=time_ms(number(tags, "ExposureTime"), "s"),
        camera=CameraNotes(name=str(tags["Model"]) if tags.get("Model") else None),
    )


def ome(xml: str) -> Acquired:
    """Understand the beginning of an OME-XML text.

    The text of a long movie has a line for every frame, so that it is searched and not parsed.

    Examples
    --------
    >>> ome('<Pixels PhysicalSizeX="0.1" PhysicalSizeY="0.1"><Plane ExposureTime="0.03"/>').exposure_ms
    30.0
    """
    found = dict(re.findall(r'\b(\w+)="([^"]*)"', "".join(re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", xml)[:1])))
    plane = dict(re.findall(r'\b(\w+)="([^"]*)"', "".join(re.findall(r"<(?:\w+:)?Plane\b[^>]*>", xml)[:1])))
    x, y = (
        length_nm(number(found, f"PhysicalSize{axis}"), found.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY"
    )
    exposure = time_ms(number(plane, "ExposureTime"), plane.get("ExposureTimeUnit", "s"))
    bits = number(found, "SignificantBits")
    return Acquired(
        (x, y) if x and y else None, exposure, CameraNotes(bit_depth=int(bits) if bits and bits < 16 else None)
    )


def nikon(text: str) -> Acquired:
    r"""Understand the text that NIS-Elements keeps about an acquisition.

    Examples
    --------
    >>> nikon("Camera Name: Andor DU-897\r\nExposure: 30 ms\r\nMultiplier: 300").camera.em_gain
    300.0
    """
    exposure = re.search(r"Exposure:\s*([\d.]+)\s*(ns|us|µs|ms|s)\b", text)
    gain = re.search(r"(?:EM(?:CCD)? Gain|EM Multiplier|Multiplier)[^:\n]*:\s*([\d.]+)", text, re.IGNORECASE)
    name = re.search(r"Camera Name:\s*([^\r\n]+)", text)
    binning = re.search(r"Binning:\s*(\d+)\s*x\s*(\d+)", text)
    return Acquired(
        exposure_ms=time_ms(float(exposure[1]), exposure[2]) if exposure else None,
        camera=CameraNotes(
            name=name[1].strip() if name else None,
            em_gain=float(gain[1]) if gain else None,
            binning=int(binning[1]) if binning and binning[1] == binning[2] else None,
        ),
    )
