"""Run `lucule` as a user does, but in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lucule.cli import app


@dataclass(frozen=True)
class Answer:
    """What a command printed and returned."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be exactly one JSON object."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def lucule() -> Callable[..., Answer]:
    """Call with the arguments of the command line."""

    def call(*arguments: str | Path) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def cell(tmp_path_factory, lucule) -> Path:
    """A small simulated cell as a ThunderSTORM CSV file."""
    path = tmp_path_factory.mktemp("cell") / "cell.csv"
    answer = lucule(
        "simulate", "caml_demo", "--out", path, "--set", "density_per_um2=40", "--set", "points_per_cluster=20"
    )
    assert answer.exit_code == 0, answer.err
    return path
