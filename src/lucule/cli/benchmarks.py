"""`lucule bench`: accuracy and speed, measured beside the alternatives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucule.cli.options import DryRunOption, JsonOption
from lucule.cli.session import session
from lucule.core.errors import InputError


def bench(
    name: Annotated[str, typer.Argument(help="Name of a benchmark, `all`, or `list`.")],
    study: Annotated[str | None, typer.Option(help="A longer study of this benchmark instead; see `list`.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the JSON files.")] = Path("bench"),
    seed: Annotated[int, typer.Option(help="Seed of the data.")] = 1,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Run a benchmark with its baselines and write its table, with machine and versions, as JSON.

    A long one that was interrupted goes on with the parts that are missing in the folder.
    """
    with session(inputs=name, as_json=json, resumes=True) as run:
        from lucule import bench as benchmarks

        if name == "list" or dry_run:
            run.results = {"benchmarks": [{"name": n, "what": w} for n, w in benchmarks.available().items()]}
            return
        if name == "all" and study is not None:
            raise InputError("A study belongs to one benchmark", received="all", next_step="lucule bench list")
        names = list(benchmarks.NAMES) if name == "all" else [name]
        results = {}
        for item in names:
            with run.progress.task(f"Benchmark {item}"):
                result = benchmarks.run(item, study=study, seed=seed, out=out, progress=run.progress)
            results[result.name] = result.rows
        run.results = {**results, "written": str(out)}
