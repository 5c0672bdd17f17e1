"""Before the analysis: is this table fit for it?"""

from lucule.process.checks import Drift, drift_hint, duplicate_fraction

__all__ = ["Drift", "drift_hint", "duplicate_fraction"]
