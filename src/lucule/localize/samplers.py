"""Where the emitters of training frames lie: plug-ins that draw positions for many scenes at once, on the device.

A sampler is a function `(scene, scenes, field, generator) -> positions`. `scene` names the scene of each emitter,
`(n,)` int64 from 0 to `scenes` - 1; positions are `(n, 3)` in nm from the corner of the field. Every scene has a
structure of its own, drawn anew in every call (structure-based training, arXiv 2309.17265).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor

from lucule.core import InputError


@dataclass(frozen=True, slots=True)
class Field:
    """The space in which emitters are drawn.

    Attributes
    ----------
    size_nm
        Width (x) and height (y).
    z_nm
        Lowest and highest z.
    """

    size_nm: tuple[float, float]
    z_nm: tuple[float, float]


Sampler: TypeAlias = Callable[[Tensor, int, Field, torch.Generator], Tensor]

_MOST_TUBES: Final = 6
_PORE_RADIUS_NM, _PORE_RINGS_NM, _PORE_CORNERS = 53.5, 50.0, 8
_NODES, _NEIGHBOURS = 24, 3


def csr(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Complete spatial randomness: every place is equally likely.

    Examples
    --------
    >>> scene = torch.zeros(1000, dtype=torch.int64)
    >>> xyz = csr(scene, 1, Field((6400, 6400), (-500, 500)), torch.Generator().manual_seed(1))
    >>> xyz.shape, bool((xyz[:, 2].abs() <= 500).all())
    (torch.Size([1000, 3]), True)
    """
    low, high = _corners(field, scene.device)
    return low + (high - low) * _uniform((len(scene), 3), generator)


def tubes(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:
    """One to six bent tubes that cross the field, flat or slanted, with a radius of 10 to 30 nm."""
    device = scene.device
    knots = _crossing(scenes * _MOST_TUBES, field, generator, bend=0.12)
    count = torch.randint(1, _MOST_TUBES + 1, (scenes,), generator=generator, device=device)
    which = (_uniform((len(scene),), generator) * count[scene]).long()
    radius = 10 + 20 * _uniform((scenes, 1), generator)
    points, _ = _bezier(knots[scene * _MOST_TUBES + which], _uniform((len(scene), 1), generator))
    return _folded(points + radius[scene] * _directions(len(scene), generator), field)


def shuffled(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:
    """Emitters of tubes that have exchanged x, y and z within their scene: no structure, the same coordinates."""
    points = tubes(scene, scenes, field, generator)
    start = torch.argsort(scene, stable=True)
    mixed = torch.empty_like(points)
    for axis in range(3):
        # a random order within each scene
        order = torch.argsort(_uniform((len(scene),), generator))
        order = order[torch.argsort(scene[order], stable=True)]
        mixed[start, axis] = points[order, axis]
    return mixed


def three_helix(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:
    """Three interlaced helices around a bent axis through the whole depth, as the paper trains on.

    Radius 100 to 500 nm, one to four turns, on tubes of 12.5 nm; each emitter is one of the endless seeds of a strand.
    """
    knots = _crossing(scenes, field, generator, bend=0.12, through=True)
    radius = 100 + 400 * _uniform((scenes, 1), generator)
    turns = 1 + 3 * _uniform((scenes, 1), generator)
    along = _uniform((len(scene), 1), generator)
    strand = torch.randint(0, 3, (len(scene), 1), generator=generator, device=scene.device)
    points, tangent = _bezier(knots[scene], along)
    tangent = torch.nn.functional.normalize(tangent, dim=1)
    upwards = torch.tensor([0.0, 0.0, 1.0], device=scene.device).expand_as(tangent)
    normal = torch.nn.functional.normalize(torch.linalg.cross(upwards, tangent), dim=1)
    binormal = torch.linalg.cross(tangent, normal)
    angle = 2 * math.pi * (turns[scene] * along + strand / 3)
    points = points + radius[scene] * (angle.cos() * normal + angle.sin() * binormal)
    return _folded(points + 12.5 * _directions(len(scene), generator), field)


def reticulum(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:
    """A network of tubules, 30 to 60 nm in radius, between neighbouring nodes of a layer that is not quite flat."""
    low, high = _corners(field, scene.device)
    nodes = low + (high - low) * _uniform((scenes, _NODES, 3), generator)
    depth = nodes[:, :1, 2] + 100 * _normal((scenes, _NODES), generator)
    nodes = torch.cat([nodes[..., :2], depth[..., None]], dim=2)
    nearest = torch.cdist(nodes, nodes).topk(_NEIGHBOURS + 1, largest=False).indices
    start = torch.randint(0, _NODES, (len(scene),), generator=generator, device=scene.device)
    branch = torch.randint(1, _NEIGHBOURS + 1, (len(scene),), generator=generator, device=scene.device)
    first, second = nodes[scene, start], nodes[scene, nearest[scene, start, branch]]
    radius = 30 + 30 * _uniform((scenes, 1), generator)
    points = first + (second - first) * _uniform((len(scene), 1), generator)
    return _folded(points + radius[scene] * _directions(len(scene), generator), field)


def pores(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:
    """Nuclear pores (two rings of eight corners, radius 53.5 nm, 50 nm apart) in a slanted membrane, 10 to 50 of them.

    Sizes as measured by Thevathasan et al. 2019 (Nat Methods 16:1045).
    """
    device, most = scene.device, 50
    low, high = _corners(field, device)
    middles = low + (high - low) * _uniform((scenes, most, 3), generator)
    slope = 0.2 * _normal((scenes, 1, 2), generator)
    height = middles[:, :1, 2] + (slope * (middles[..., :2] - middles[:, :1, :2])).sum(dim=2)
    count = torch.randint(10, most + 1, (scenes,), generator=generator, device=device)
    which = (_uniform((len(scene),), generator) * count[scene]).long()
    turn = _uniform((scenes, most), generator)[scene, which]
    corner = torch.randint(0, _PORE_CORNERS, (len(scene),), generator=generator, device=device)
    ring = torch.randint(0, 2, (len(scene),), generator=generator, device=device) - 0.5
    angle = 2 * math.pi * (corner + turn) / _PORE_CORNERS
    offset = torch.stack(
        [_PORE_RADIUS_NM * angle.cos(), _PORE_RADIUS_NM * angle.sin(), _PORE_RINGS_NM * ring + height[scene, which]], 1
    )
    flat = torch.cat([middles[scene, which, :2], torch.zeros_like(offset[:, :1])], dim=1)
    return _folded(flat + offset + 8 * _normal((len(scene), 3), generator), field)


def clusters(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:
    """Three to twelve round clusters with a standard deviation of 20 to 200 nm."""
    most = 12
    low, high = _corners(field, scene.device)
    middles = low + (high - low) * _uniform((scenes, most, 3), generator)
    sizes = 20 * 10 ** _uniform((scenes, most), generator)
    count = torch.randint(3, most + 1, (scenes,), generator=generator, device=scene.device)
    which = (_uniform((len(scene),), generator) * count[scene]).long()
    spread = sizes[scene, which][:, None] * _normal((len(scene), 3), generator)
    return _folded(middles[scene, which] + spread, field)


def table(positions: Tensor) -> Sampler:
    """Sampler that draws from a table of localizations, `(n, 3)` in nm, around one of them for each scene.

    Examples
    --------
    >>> known = torch.rand(500, 3) * torch.tensor([20_000.0, 20_000.0, 600.0])
    >>> sample = table(known)
    >>> sample(torch.zeros(10, dtype=torch.int64), 1, Field((6400, 6400), (0, 600)), torch.Generator()).shape
    torch.Size([10, 3])
    """
    if positions.ndim != 2 or positions.shape[1] != 3 or not len(positions):
        raise InputError("A table of positions is needed", received=tuple(positions.shape), allowed="(n, 3), n > 0")
    order = torch.argsort(positions[:, 0], stable=True)
    known = positions[order].contiguous()

    def draw(scene: Tensor, scenes: int, field: Field, generator: torch.Generator) -> Tensor:
        points = known.to(scene.device, torch.float32)
        middles = points[torch.randint(0, len(points), (scenes,), generator=generator, device=scene.device)]
        corner = middles[:, :2] - torch.tensor(field.size_nm, device=scene.device) * _uniform((scenes, 2), generator)
        # of those within the field's range of x one is drawn; where it lies outside in y, the centre stands in
        first = torch.searchsorted(points[:, 0].contiguous(), corner[:, 0].contiguous())
        last = torch.searchsorted(points[:, 0].contiguous(), (corner[:, 0] + field.size_nm[0]).contiguous(), right=True)
        span = (last - first).clamp(min=1)[scene]
        chosen = torch.zeros_like(scene)
        found = torch.zeros_like(scene, dtype=torch.bool)
        for _ in range(24):
            drawn = (first[scene] + (_uniform((len(scene),), generator) * span).long()).clamp(max=len(points) - 1)
            y = points[drawn, 1] - corner[scene, 1]
            fits = ~found & (y >= 0) & (y < field.size_nm[1])
            chosen = torch.where(fits, drawn, chosen)
            found |= fits
        picked = torch.where(found[:, None], points[chosen], middles[scene])
        shift = torch.cat([corner, torch.zeros_like(corner[:, :1])], dim=1)[scene]
        return _folded(picked - shift + 3 * _normal((len(scene), 3), generator), field)

    return draw


SAMPLERS: Final[dict[str, Sampler]] = {
    "csr": csr,
    "tubes": tubes,
    "shuffled": shuffled,
    "three_helix": three_helix,
    "reticulum": reticulum,
    "pores": pores,
    "clusters": clusters,
}
"""Samplers by name; whoever adds one here can name it in a recipe."""

STRUCTURES: Final = {"tubes": 0.4, "reticulum": 0.15, "pores": 0.1, "clusters": 0.1, "three_helix": 0.1, "csr": 0.15}
"""The mixture that recipes call `structures`."""


def mixture(weights: dict[str, float]) -> dict[str, float]:
    """Resolve a mixture of samplers to shares that add up to 1; `structures` stands for the mixture of this name.

    Examples
    --------
    >>> mixture({"csr": 3, "tubes": 1})
    {'csr': 0.75, 'tubes': 0.25}

    Raises
    ------
    InputError
        There is no such sampler, or no weight is above 0.
    """
    resolved: dict[str, float] = {}
    for name, weight in weights.items():
        parts = STRUCTURES if name == "structures" else {name: 1.0}
        for part, share in parts.items():
            resolved[part] = resolved.get(part, 0.0) + share * weight
    unknown = [name for name in resolved if name not in (*SAMPLERS, "table")]
    total = sum(resolved.values())
    if unknown or total <= 0 or min(resolved.values()) < 0:
        raise InputError(
            "The mixture of samplers cannot be used",
            received=weights,
            allowed=f"weights from 0 of {', '.join(SAMPLERS)}, structures, table",
        )
    return {name: weight / total for name, weight in resolved.items() if weight > 0}


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _corners(field: Field, device: torch.device) -> tuple[Tensor, Tensor]:
    low = torch.tensor([0.0, 0.0, field.z_nm[0]], device=device)
    return low, torch.tensor([field.size_nm[0], field.size_nm[1], field.z_nm[1]], device=device)


def _directions(n: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(_normal((n, 3), generator), dim=1)


def _folded(points: Tensor, field: Field) -> Tensor:
    """Reflect z at the ends of the depth range."""
    low, high = field.z_nm
    height = high - low
    z = torch.remainder(points[:, 2] - low, 2 * height)
    return torch.cat([points[:, :2], (low + torch.minimum(z, 2 * height - z))[:, None]], dim=1)


def _crossing(n: int, field: Field, generator: torch.Generator, *, bend: float, through: bool = False) -> Tensor:
    """Control points `(n, 4, 3)` of curves across the field; half of them flat, or all through the whole depth."""
    low, high = _corners(field, generator.device)
    size = min(field.size_nm)
    middle = low + (high - low) * (0.15 + 0.7 * _uniform((n, 1, 3), generator))
    middle = torch.cat([middle[..., :2], torch.zeros_like(middle[..., :1])], dim=2)
    angle = 2 * math.pi * _uniform((n, 1), generator)
    along = torch.tensor([-0.75, -0.25, 0.25, 0.75], device=generator.device) * size
    across = bend * size * _normal((n, 4), generator)
    x = along * angle.cos() - across * angle.sin()
    y = along * angle.sin() + across * angle.cos()
    ends = _uniform((n, 2), generator)
    if through:
        ends = torch.stack([torch.zeros_like(ends[:, 0]), torch.ones_like(ends[:, 0])], dim=1)
    else:
        flat = _uniform((n, 1), generator) < 0.5
        ends = torch.where(flat, ends[:, :1] + 0.1 * (ends - 0.5), ends)
    steps = torch.linspace(0, 1, 4, device=generator.device)
    z = field.z_nm[0] + (field.z_nm[1] - field.z_nm[0]) * (ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * steps)
    return middle + torch.stack([x, y, z], dim=2)


def _bezier(knots: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Points and tangents `(n, 3)` of cubic Bezier curves `(n, 4, 3)` at `t` `(n, 1)`."""
    s = 1 - t
    a, b, c, d = knots.unbind(dim=1)
    points = s**3 * a + 3 * s * s * t * b + 3 * s * t * t * c + t**3 * d
    return points, 3 * (s * s * (b - a) + 2 * s * t * (c - b) + t * t * (d - c))
