"""Drift in x, y and z: fiducials, cross-correlation, intersections, entropy; the curve with its uncertainty."""

from lucule.process.drift.curve import DriftCurve
from lucule.process.drift.estimate import (
    METHODS,
    DriftSettings,
    apply_drift,
    correct_drift,
    estimate_drift,
    read_curve,
)

__all__ = ["METHODS", "DriftCurve", "DriftSettings", "apply_drift", "correct_drift", "estimate_drift", "read_curve"]
