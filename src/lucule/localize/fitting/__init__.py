"""The classical path: detection with a false-alarm rate, maximum-likelihood fits, overlapping emitters."""

from lucule.localize.fitting.block import fit_block
from lucule.localize.fitting.movie import fit
from lucule.localize.fitting.setup import FitSettings, Fitter, prepare

__all__ = ["FitSettings", "Fitter", "fit", "fit_block", "prepare"]
