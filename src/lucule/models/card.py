"""The model card: what one must know about weights to use them and to make them again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lucule.core import Config

Interval = tuple[float, float]


class Card(Config):
    """A model card.

    Attributes
    ----------
    name, title
        Short name and one line for people.
    task
        What it is for; the room that runs it, such as `classify`.
    architecture, options
        Name of the network in that room, and its sizes.
    parameters
        Number of trainable weights.
    features
        What goes in: for `classify` k, normalisation and dims.
    classes
        What comes out, class 0 first.
    recipe
        The complete recipe of the training.
    command
        The command that trains it again.
    seed
        Seed of the training.
    data_sha256
        Hash of the training data (features and labels).
    scores
        What was measured, on which data is said by the key's first word: `test_accuracy`.
    training_range
        Smallest and largest value seen in training, unit in the key; outside of it results are extrapolations.
    notes
        What users must know: known weaknesses, source.
    licence
        Licence of the weights.
    version
        Version of lucule that trained it.
    weights_sha256
        Hash of the weights file; filled in by `save`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    title: str
    task: str
    architecture: str
    options: dict[str, Any] = {}
    parameters: int
    features: dict[str, Any]
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    command: str
    seed: int
    data_sha256: str
    scores: dict[str, float]
    training_range: dict[str, Interval]
    notes: str = ""
    licence: str = "BSD-3-Clause"
    version: str
    weights_sha256: str = ""
