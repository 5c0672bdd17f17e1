"""Specimens: what the microscope looks at, as epitopes.

One file per family. Objects are placed in a field any number of times; others fill a field or a cell. Add a family by
writing its configuration with `objects` or `fill` and one line here.
"""

from typing import Annotated

from pydantic import Field

from lucule.simulate.specimens.axon import RingAxon
from lucule.simulate.specimens.background import Uniform, Vesicles
from lucule.simulate.specimens.base import Drawn, FieldSpecimen, ObjectSpecimen, Rectangle, Space
from lucule.simulate.specimens.clusters import Clusters
from lucule.simulate.specimens.custom import FromFunction, FromImage, FromTable
from lucule.simulate.specimens.microtubules import Helices, Microtubules, ThreeTubes
from lucule.simulate.specimens.origami import Origami
from lucule.simulate.specimens.pores import NuclearPore
from lucule.simulate.specimens.reticulum import Reticulum
from lucule.simulate.specimens.sarcomere import Myofibril
from lucule.simulate.specimens.shapes import Fibre, Line, Ring, Spot

SPECIMENS = (
    Spot, Line, Ring, Fibre, Myofibril, RingAxon, NuclearPore, Origami, Clusters, Microtubules, Helices, ThreeTubes,
    Reticulum, Uniform, Vesicles, FromTable, FromFunction, FromImage,
)  # fmt: skip

Specimen = Annotated[
    Spot
    | Line
    | Ring
    | Fibre
    | Myofibril
    | RingAxon
    | NuclearPore
    | Origami
    | Clusters
    | Microtubules
    | Helices
    | ThreeTubes
    | Reticulum
    | Uniform
    | Vesicles
    | FromTable
    | FromFunction
    | FromImage,
    Field(discriminator="kind"),
]
"""Any specimen, told apart by its `kind`."""

__all__ = [
    "SPECIMENS",
    "Clusters",
    "Drawn",
    "Fibre",
    "FieldSpecimen",
    "FromFunction",
    "FromImage",
    "FromTable",
    "Helices",
    "Line",
    "Microtubules",
    "Myofibril",
    "NuclearPore",
    "ObjectSpecimen",
    "Origami",
    "Rectangle",
    "Reticulum",
    "Ring",
    "RingAxon",
    "Space",
    "Specimen",
    "Spot",
    "ThreeTubes",
    "Uniform",
    "Vesicles",
]
