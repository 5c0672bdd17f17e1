"""What a table says about itself: where it comes from and what was done to it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from lucule.core.camera import Camera, PixelSize
from lucule.core.config import Config

FORMAT_VERSION = 1


class Source(Config):
    """The file from which a table was read."""

    name: str
    format: str
    sha256: str
    size_bytes: int


class Step(Config):
    """One step of a table's history: enough to do it again.

    `inputs` are the ids (`Meta.id`) of the tables that went in.
    """

    function: str
    parameters: dict[str, Any] = {}
    version: str
    seed: int | None = None
    inputs: tuple[str, ...] = ()


class Meta(Config):
    """Metadata of a localization table. Lengths are nm.

    Attributes
    ----------
    pixel_size_nm
        Size of a camera pixel in the sample along (x, y); None when unknown.
    shape_px
        Rows and columns of the camera frame.
    origin_nm
        Stage position (x, y, z) of the point (0, 0, 0) of the table, double precision.
    errors
        Where `x_err`, `y_err`, `z_err` come from.
    vendor
        What else the source file said, kept as it was.
    history
        All steps that led to this table, oldest first.
    """

    format_version: int = FORMAT_VERSION
    camera: Camera | None = None
    pixel_size_nm: PixelSize | None = None
    shape_px: tuple[int, int] | None = None
    n_frames: int | None = None
    exposure_ms: float | None = None
    origin_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    errors: Literal["fitted", "crlb", "predicted"] | None = None
    source: Source | None = None
    vendor: dict[str, Any] = {}
    history: tuple[Step, ...] = ()

    @property
    def id(self) -> str:
        """Fingerprint of source and history, 16 hexadecimal digits: equal for tables made in the same way."""
        content = self.model_dump(mode="json", include={"origin_nm", "history"})
        content["source"] = self.source.sha256 if self.source else None
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
