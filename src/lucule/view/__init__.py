"""Renderers, plots and the HTML report."""

from lucule.view import overlay, plots, report
from lucule.view.conditions import conditions
from lucule.view.frame import Frame
from lucule.view.picture import Picture
from lucule.view.raster import count_image, gaussian_image
from lucule.view.render import render
from lucule.view.zooms import Zoom, choose_zooms

__all__ = [
    "Frame",
    "Picture",
    "Zoom",
    "choose_zooms",
    "conditions",
    "count_image",
    "gaussian_image",
    "overlay",
    "plots",
    "render",
    "report",
]
