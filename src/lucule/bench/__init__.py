"""Benchmarks: each runs lucule and its baselines on the same data in the same call.

A benchmark is a module with a function `run(*, seed) -> polars.DataFrame`, one row for each measurement, and a first
docstring line that says what it measures.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucule.core import InputError, package_version
from lucule.core.files import write_text

NAMES = (
    "neighbours",
    "classify",
    "calibrate",
    "caml",
    "clusters",
    "simulate",
    "localize",
    "localize_study",
    "process",
    "averaging",
    "period",
    "segment",
    "sarcomeres",
    "fit",
    "acquire",
)


@dataclass(frozen=True, slots=True)
class Result:
    """Rows of a benchmark and the circumstances under which they were measured."""

    name: str
    seed: int
    rows: list[dict[str, Any]]
    machine: dict[str, Any]

    def save(self, path: Path) -> Path:
        """Write everything to a JSON file."""
        return write_text(path, json.dumps(asdict(self), indent=1))


def available() -> dict[str, str]:
    """Names of the benchmarks, and what each measures."""
    return {name: (_module(name).__doc__ or "").strip().splitlines()[0] for name in NAMES}


def run(name: str, *, seed: int = 1) -> Result:
    """Run one benchmark.

    Raises
    ------
    InputError
        There is no benchmark of this name.
    """
    if name not in NAMES:
        raise InputError("There is no such benchmark", received=name, allowed=", ".join(NAMES))
    rows = _module(name).run(seed=seed).to_dicts()
    return Result(name, seed, rows, machine())


def machine() -> dict[str, Any]:
    """What ran the benchmark: processor, cores, memory, versions."""
    from importlib.metadata import version

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "lucule": package_version(),
        **{name: version(name) for name in ("numpy", "scipy", "numba", "polars", "torch", "scikit-learn")},
    }


def _module(name: str) -> Any:
    return importlib.import_module(f"lucule.bench.{name}")
