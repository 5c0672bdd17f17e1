"""Before and after the analysis: drift, linking, filters, registration, precision, resolution; each with its error."""

from lucule.process.checks import Drift, drift_hint, duplicate_fraction
from lucule.process.drift import (
    DriftCurve,
    DriftSettings,
    apply_drift,
    correct_drift,
    estimate_drift,
    read_curve,
)
from lucule.process.filtering import Filtering, FilterSettings, duplicates, filter_locs, plan_filter
from lucule.process.frc import Course, Frc, FrcSettings, frc, frc_course, frc_map, fsc
from lucule.process.linking import (
    Blinking,
    LinkChoice,
    LinkSettings,
    blinking,
    choose_link,
    join_events,
    link,
    mark_events,
)
from lucule.process.precision import Precision, precision
from lucule.process.registration import (
    RegisterSettings,
    Registration,
    apply_registration,
    estimate_registration,
    register,
)
from lucule.process.resolution import Resolution, resolution

__all__ = [
    "Blinking",
    "Course",
    "Drift",
    "DriftCurve",
    "DriftSettings",
    "FilterSettings",
    "Filtering",
    "Frc",
    "FrcSettings",
    "LinkChoice",
    "LinkSettings",
    "Precision",
    "RegisterSettings",
    "Registration",
    "Resolution",
    "apply_drift",
    "apply_registration",
    "blinking",
    "choose_link",
    "correct_drift",
    "drift_hint",
    "duplicate_fraction",
    "duplicates",
    "estimate_drift",
    "estimate_registration",
    "filter_locs",
    "frc",
    "frc_course",
    "frc_map",
    "fsc",
    "join_events",
    "link",
    "mark_events",
    "plan_filter",
    "precision",
    "read_curve",
    "register",
    "resolution",
]
