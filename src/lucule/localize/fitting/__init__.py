"""The classical path: detection with a false-alarm rate, maximum-likelihood fits, overlapping emitters."""

from lucule.localize.fitting.movie import Fitter, FitSettings, fit, fit_block, prepare

__all__ = ["FitSettings", "Fitter", "fit", "fit_block", "prepare"]
