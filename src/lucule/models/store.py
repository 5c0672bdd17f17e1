"""Find, check, load and save models: a folder with `card.yaml` and `weights.safetensors`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lucule.core import FormatError, InputError
from lucule.core.files import atomic_path, file_sha256
from lucule.models.card import Card

if TYPE_CHECKING:
    from torch import Tensor

CARD: Final = "card.yaml"
WEIGHTS: Final = "weights.safetensors"
_PACKAGED: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model on disk: its card, and where its weights lie."""

    card: Card
    weights_path: Path

    def state(self) -> dict[str, Tensor]:
        """Read the weights, by name of the parameter.

        Raises
        ------
        FormatError
            The file is missing, damaged, or not the one that the card describes.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            content = self.weights_path.read_bytes()
        except OSError as error:
            raise FormatError(f"The weights of model {self.card.name} cannot be read: {error.strerror}") from None
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.card.weights_sha256:
            raise FormatError(
                f"The weights of model {self.card.name} are damaged or not those of its card",
                received=f"{self.weights_path.name} with sha256 {digest[:12]}...",
                allowed=f"sha256 {self.card.weights_sha256[:12]}...",
                next_step="install lucule again, or train the model again",
            )
        try:
            return load(content)
        except SafetensorError as error:
            raise FormatError(f"The weights of model {self.card.name} are not a safetensors file: {error}") from None


def available() -> list[Card]:
    """Cards of the packaged models, sorted by name.

    Examples
    --------
    >>> "XPILJZ" in [card.name for card in available()]
    True
    """
    return [Card.from_yaml(path) for path in sorted(_PACKAGED.glob(f"*/{CARD}"))]


def find(name_or_path: str | os.PathLike[str]) -> Packaged:
    """Find a model by the name of a packaged one, or by the path of a folder that `save` wrote.

    Raises
    ------
    InputError
        There is no such model, or the card is not valid.

    Examples
    --------
    >>> find("XPILJZ").card.features["k"]
    100
    """
    packaged = [path.parent.name for path in _PACKAGED.glob(f"*/{CARD}")]
    folder = _PACKAGED / name_or_path if str(name_or_path) in packaged else Path(name_or_path)
    if not (folder / CARD).is_file():
        raise InputError(
            "There is no such model",
            received=name_or_path,
            allowed=f"{', '.join(sorted(packaged))}, or a folder with {CARD} and {WEIGHTS}",
            next_step="see: lucule models",
        )
    return Packaged(Card.from_yaml(folder / CARD), folder / WEIGHTS)


def save(folder: str | os.PathLike[str], card: Card, state: Mapping[str, Tensor]) -> Packaged:
    """Write weights and card into `folder`; the card receives the hash of the weights."""
    from safetensors.torch import save_file

    target = Path(folder) / WEIGHTS
    with atomic_path(target) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, temporary)
    complete = card.replace(weights_sha256=file_sha256(target))
    complete.to_yaml(Path(folder) / CARD)
    return Packaged(complete, target)
