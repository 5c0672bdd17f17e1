"""Table to labels: neighbours, features and network fused batch by batch, so that memory does not grow with k."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from lucule.classify import graph, networks
from lucule.classify.features import COORDINATES, FeatureSettings, coordinates, features
from lucule.core import SILENT, ColumnError, InputError, Localizations, Progress, step
from lucule.models import Card, find
from lucule.nn import choose_device, torch_threads
from lucule.space import NeighbourGrid

log = logging.getLogger(__name__)

BATCH: Final = 16_384
_SAMPLE: Final = 2_000
_TOLERATED: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A trained network with its card, ready to run."""

    card: Card
    network: torch.nn.Module
    device: torch.device

    @classmethod
    def load(cls, model: str | os.PathLike[str], device: str = "auto") -> Classifier:
        """Load a packaged model by name or a trained one by its folder.

        Raises
        ------
        InputError
            There is no such model, it does something else, or there is no such device.
        FormatError
            Its weights are damaged.
        """
        packaged = find(model)
        card = packaged.card
        if card.task != "classify":
            raise InputError(f"Model {card.name} does not classify", received=f"task {card.task}")
        place = choose_device(device)
        settings = FeatureSettings.parse(card.features, source=f"card of {card.name}")
        network = networks.build(card.architecture, k=settings.width, classes=len(card.classes), options=card.options)
        network.load_state_dict(packaged.state())
        return cls(card, network.to(place).eval(), place)

    @property
    def features(self) -> FeatureSettings:
        """What the network sees."""
        return FeatureSettings.parse(self.card.features)

    def predict(
        self, points: NDArray[np.float32] | NeighbourGrid, *, batch: int = BATCH, progress: Progress = SILENT
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Labels `(n,)` and their probabilities `(n,)` for all of `points` `(n, dims)`, nm, in input order.

        A network that sees distances only may be given the grid of the points instead.
        """
        grid = points if isinstance(points, NeighbourGrid) else NeighbourGrid(points)
        label, probability = np.zeros(len(grid), np.uint8), np.ones(len(grid), np.float32)
        if len(grid) < 2:
            return label, probability  # without any neighbour nothing is clustered
        settings = self.features
        with progress.task("Classify", len(grid), "localizations") as task, torch_threads(1), torch.inference_mode():
            for rows, seen in self._seen(points, grid, settings, batch):
                given, certain = networks.decide(self.network(torch.from_numpy(seen).to(self.device)))
                label[rows], probability[rows] = given.cpu().numpy(), certain.cpu().numpy()
                task.advance(len(rows))
        return label, probability

    def _seen(
        self, points: NDArray[np.float32] | NeighbourGrid, grid: NeighbourGrid, settings: FeatureSettings, batch: int
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Rows and what the network sees of them."""
        if settings.normalisation == COORDINATES:
            for rows, _, indices in grid.neighbour_batches(settings.k, batch):
                yield rows, coordinates(points, rows, indices)
        else:
            for rows, distances in grid.batches(settings.k, batch):
                yield rows, features(distances, settings.normalisation, dims=settings.dims)


@step
def classify(
    locs: Localizations, *, model: str | os.PathLike[str] = "graph", device: str = "auto", progress: Progress = SILENT
) -> Localizations:
    """Label every localization with a network that looks at its nearest neighbours.

    Parameters
    ----------
    locs
        Any table; the columns x, y (and z for a model of three dimensions) are used.
    model
        Name of a packaged model or folder of a trained one.
    device
        `auto`, `cpu` or `cuda`.

    Returns
    -------
    Localizations
        All rows in input order with `label` (uint8; 0 = not clustered, 1 = clustered, or the model's classes) and
        `p_label` (float32), the probability that the network gives to that label, 0.5 to 1 for two classes. To have the
        probability of being clustered, take `p_label` where `label` is above 0 and `1 - p_label` elsewhere. That of the
        models after CAML refers to classes that are equally frequent, as in their training; `graph` is calibrated on
        fields of its own kind.

    Raises
    ------
    InputError
        There is no such model or device.
    ColumnError
        The model looks at three dimensions and the table has no z.
    FormatError
        The model's weights are damaged.

    Notes
    -----
    Williamson et al. 2020. The result depends neither on the order of the rows nor on batches. Tables with no more than
    k localizations are completed as `lucule.classify.features` says, and a single localization is not clustered; what
    lies outside the training is reported by `check_range` and logged.

    Examples
    --------
    >>> from lucule.simulate import load, simulate
    >>> locs = classify(simulate(load("caml_demo", cell_radius_um=(2, 3)), seed=1))
    >>> bool((locs["label"] == locs["true_label"]).mean() > 0.95)
    True
    """
    if find(model).card.task == graph.TASK:
        said = graph.GraphModel.load(model, device).predict(locs, progress=progress)
        label, probability = networks.decide_by(said.probability)
        return locs.with_columns(label=label, p_label=probability)
    classifier = Classifier.load(model, device)
    points = _points(locs, classifier.card)
    grid = NeighbourGrid(points)
    for warning in _outside_of_training(locs, grid, classifier.card):
        log.warning(warning)
    seen = points if classifier.features.normalisation == COORDINATES else grid
    label, probability = classifier.predict(seen, progress=progress)
    return locs.with_columns(label=label, p_label=probability)


def check_range(locs: Localizations, card: Card) -> list[str]:
    """Say where a table lies outside of what a model was trained on; an empty list means that it does not.

    Examples
    --------
    >>> from lucule.models import find
    >>> for warning in check_range(Localizations({"x": [1.0, 2.0], "y": [0.0, 0.0]}), find("XPILJZ").card):
    ...     print(warning)
    2 localizations are fewer than the 101 for which XPILJZ was made; its labels are unreliable here.
    """
    if card.task == graph.TASK:
        return graph.check_range(locs, card)
    return _outside_of_training(locs, NeighbourGrid(_points(locs, card)), card)


def _outside_of_training(locs: Localizations, grid: NeighbourGrid, card: Card) -> list[str]:
    settings = FeatureSettings.parse(card.features)
    warnings = []
    if settings.dims == 2 and locs.is_3d:
        warnings.append(f"{card.name} looks at x and y only; z is not used.")
    if len(locs) <= settings.k:
        if len(locs):
            warnings.append(
                f"{len(locs)} localizations are fewer than the {settings.k + 1} for which {card.name} was made; "
                "its labels are unreliable here."
            )
        return warnings
    rows = np.unique(np.linspace(0, len(locs) - 1, _SAMPLE).astype(np.int64))
    distances = grid.distances(settings.k, rows)
    duplicated = float((distances[:, 0] == 0).mean())
    if duplicated > _TOLERATED:
        warnings.append(f"{duplicated:.0%} of the localizations have a duplicate at the same position.")
    density = local_density(distances, settings.dims)
    low, high = card.training_range.get(f"local_density_per_um{settings.dims}", (0.0, np.inf))
    for share, side, limit in (((density < low).mean(), "below", low), ((density > high).mean(), "above", high)):
        if share > _TOLERATED:
            warnings.append(
                f"{share:.0%} of the localizations have a local density {side} the training range of {card.name} "
                f"(median {np.median(density):.3g}, limit {limit:.3g} per µm{'²³'[settings.dims - 2]}); "
                "labels are less certain there."
            )
    return warnings


def local_density(distances: NDArray[np.float32], dims: int) -> NDArray[np.float64]:
    """Density `(m,)` within the last of `(m, k)` neighbour distances (nm), per um2 or um3."""
    last_um = distances[:, -1].astype(np.float64) / 1000
    size = np.pi * last_um**2 if dims == 2 else 4 / 3 * np.pi * last_um**3
    with np.errstate(divide="ignore"):
        density: NDArray[np.float64] = distances.shape[1] / size
    return density


def _points(locs: Localizations, card: Card) -> NDArray[np.float32]:
    if FeatureSettings.parse(card.features, source=f"card of {card.name}").dims == 2:
        return locs.xy()
    if "z" not in locs:
        raise ColumnError(
            f"{card.name} looks at three dimensions, and the table has no z",
            received=f"columns {', '.join(locs.columns)}",
            next_step="choose a model of two dimensions",
        )
    return locs.xyz()
