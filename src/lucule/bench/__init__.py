"""Benchmarks: each runs lucule and its baselines on the same data in the same call.

A benchmark is a module with a function `run(*, seed) -> polars.DataFrame`, one row for each measurement, and a first
docstring line that says what it measures. A study is a longer one, in a module of its own, that runs only when it is
asked for by name. A long benchmark measures in parts (`lucule.bench.parts`); its `run` takes `folder` and `progress`
too.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucule.core import SILENT, InputError, Progress, package_version
from lucule.core.files import write_text

NAMES = (
    "neighbours",
    "classify",
    "calibrate",
    "caml",
    "clusters",
    "single_molecules",
    "simulate",
    "localize",
    "process",
    "averaging",
    "period",
    "segment",
    "sarcomeres",
    "fit",
    "acquire",
)
STUDIES = {"localize": ("structures",)}
"""Studies by benchmark; the module is called `<benchmark>_<study>`."""


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
    """What is given to `lucule bench`, name or name and study, and what each measures."""
    calls = {name: name for name in NAMES}
    for name, of_name in STUDIES.items():
        calls |= {f"{name} --study {study}": f"{name}_{study}" for study in of_name}
    return {call: (_module(module).__doc__ or "").strip().splitlines()[0] for call, module in calls.items()}


def run(
    name: str, *, study: str | None = None, seed: int = 1, out: Path | None = None, progress: Progress = SILENT
) -> Result:
    """Run one benchmark, or a study that belongs to it.

    Parameters
    ----------
    name, study
        As `available` names them.
    seed
        Seed of the data.
    out
        Folder for the JSON file. A long benchmark that was interrupted there goes on with the parts that are missing.
    progress
        Is told of the parts of a long benchmark.

    Raises
    ------
    InputError
        There is no benchmark or no study of this name.
    """
    if name not in NAMES:
        raise InputError("There is no such benchmark", received=name, allowed=", ".join(NAMES))
    if study is not None:
        known = STUDIES.get(name, ())
        if study not in known:
            raise InputError(f"{name} has no such study", received=study, allowed=", ".join(known) or "none")
        name = f"{name}_{study}"
    measure = _module(name).run
    kept = f"{name}_{seed}_parts"
    if "folder" in inspect.signature(measure).parameters:
        table = measure(seed=seed, folder=None if out is None else out / kept, progress=progress)
    else:
        table = measure(seed=seed)
    result = Result(name, seed, table.to_dicts(), machine())
    if out is not None:
        result.save(out / f"{name}.json")
        shutil.rmtree(out / kept, ignore_errors=True)
    return result


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
