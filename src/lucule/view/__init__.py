"""Renderers, plots and the HTML report."""

from lucule.view.frame import Frame
from lucule.view.picture import Picture
from lucule.view.raster import count_image, gaussian_image
from lucule.view.render import render

__all__ = ["Frame", "Picture", "count_image", "gaussian_image", "render"]
