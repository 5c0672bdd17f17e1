"""Table to labels with the line network, tile by tile of the density map."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from lucule.classify.lines.network import LineNetwork, corners, count_map, folded, seen
from lucule.core import SILENT, InputError, Localizations, Progress
from lucule.models import Card, find
from lucule.nn import choose_device

TASK: Final = "lines"
_CORE_PX: Final = 1024
_HALO_PX: Final = 96


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """What the network says of `n` localizations.

    Attributes
    ----------
    label
        `(n,)` uint8, 1 on a double line.
    probability
        `(n,)` float32, of that label.
    centre_nm
        `(n, 2)` float32, where the centre of the double line is that each localization would belong to.
    """

    label: NDArray[np.uint8]
    probability: NDArray[np.float32]
    centre_nm: NDArray[np.float32]

    @property
    def chance(self) -> NDArray[np.float32]:
        """`(n,)`, how likely each is on a double line."""
        return np.where(self.label == 1, self.probability, 1 - self.probability)


@dataclass(frozen=True, slots=True, eq=False)
class LineModel:
    """A trained line network with its card, ready to run."""

    card: Card
    network: LineNetwork
    device: torch.device

    @classmethod
    def load(cls, model: str | os.PathLike[str] = "lines", device: str = "auto") -> LineModel:
        """Load a packaged model by name or a trained one by its folder.

        Raises
        ------
        InputError
            There is no such model, it does something else, or there is no such device.
        """
        packaged = find(model)
        card = packaged.card
        if card.task != TASK:
            raise InputError(f"Model {card.name} does not find double lines", received=f"task {card.task}")
        network = LineNetwork(tuple(card.options["widths"]), card.options["hidden"])
        network.load_state_dict(packaged.state())
        place = choose_device(device)
        return cls(card, folded(network).to(place), place)

    def predict(self, xy: NDArray[Any], *, progress: Progress = SILENT) -> Lines:
        """Say of every localization `(n, 2)`, nm, whether it is on a double line, and where the centre of that is.

        Tiles of the map see far beyond their borders, so that the result does not depend on them.
        """
        n = len(xy)
        label, probability = np.zeros(n, np.uint8), np.ones(n, np.float32)
        centre = np.array(xy, np.float32, copy=True).reshape(n, 2)
        if not n:
            return Lines(label, probability, centre)
        px = np.asarray(xy, np.float64) / float(self.card.features["pixel_nm"]) - 0.5
        low, core = _tiling(px, self.network.multiple)
        tile = np.floor((px - low) / core).astype(np.int64)
        columns = int(tile[:, 1].max()) + 1
        number = tile[:, 0] * columns + tile[:, 1]
        order = np.argsort(number, kind="stable")
        places, starts = np.unique(number[order], return_index=True)
        members = np.split(order, starts[1:])
        by_place = {divmod(int(place), columns): rows for place, rows in zip(places, members, strict=True)}
        with progress.task("Find double lines", n, "localizations") as task, torch.inference_mode():
            for (x, y), rows in by_place.items():
                around = np.concatenate(
                    [by_place[key] for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (key := (x + dx, y + dy)) in by_place]
                )
                corner = low + np.array([x, y]) * core - _HALO_PX
                answer = self._tile(px[around] - corner, px[rows] - corner, core + 2 * _HALO_PX)
                p = 1 / (1 + np.exp(-answer[:, 0].astype(np.float64)))
                label[rows] = p > 0.5
                probability[rows] = np.maximum(p, 1 - p)
                centre[rows] += 1000 * answer[:, 1:]
                task.advance(len(rows))
        return Lines(label, probability, centre)

    def _tile(
        self, around: NDArray[np.float64], asked: NDArray[np.float64], sides: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Answers `(m, 3)` at positions in a tile of `sides` (px), from all localizations in and around it."""
        width, height = (int(side) for side in sides)
        inside = ((around >= 0) & (around < sides - 1)).all(axis=1)
        counts = count_map(torch.from_numpy(around[inside].astype(np.float32)), height, width).to(self.device)
        what = seen(counts[None]).contiguous(memory_format=torch.channels_last)
        features = self.network.maps(what)[0].permute(1, 2, 0).reshape(height * width, -1)
        index, weight = corners(torch.from_numpy(asked.astype(np.float32)).to(self.device), height, width)
        read = torch.nn.functional.embedding_bag(index, features, per_sample_weights=weight, mode="sum")
        answer: NDArray[np.float32] = self.network.head(read).cpu().numpy()
        return answer


def _tiling(px: NDArray[np.float64], multiple: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corner of the first tile and sides of all `(2,)`, px: alike, and no larger than the table asks for."""
    # whole multiples of the coarsest pixel, counted from the origin of the table
    low = np.floor(px.min(axis=0) / multiple).astype(np.int64) * multiple
    extent = px.max(axis=0) - low + 1e-6
    core = np.ceil(extent / np.maximum(np.round(extent / _CORE_PX), 1) / multiple)
    return low, core.astype(np.int64) * multiple


def check_range(locs: Localizations, card: Card) -> list[str]:
    """Say where a table lies outside of what a line network was trained on."""
    if len(locs) < 2:
        return []
    extent = np.ptp(locs.xy(), axis=0) / 1000
    density = len(locs) / max(float(extent.prod()), 1e-9)
    low, high = card.training_range.get("density_per_um2", (0.0, np.inf))
    if low <= density <= high:
        return []
    return [
        f"The table has {density:.3g} localizations per um2 of its extent; {card.name} was trained with "
        f"{low:.3g} to {high:.3g}. Check the unit of the positions."
    ]
