"""Many inputs, one folder of results: what every workflow shares.

Each input has a folder of its own. A stage is skipped when its outputs are there, unchanged, and were made from the
same input with the same settings, model and version. An input that fails does not stop the others.
"""

from __future__ import annotations

import json
import os
import platform
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lucule.core import SILENT, Config, InputError, LuculeError, Progress, package_version
from lucule.core.config import dump_yaml, read_yaml
from lucule.core.executor import executor
from lucule.core.files import file_sha256, full_disk, write_text
from lucule.core.ledger import Ledger, fingerprint

if TYPE_CHECKING:
    from lucule.view.report import Block, Section

OUTCOME_FILE = "outcome.json"
SECTION_FILE = "section.json"

OnePath: TypeAlias = str | os.PathLike[str]
Inputs: TypeAlias = OnePath | Sequence[OnePath]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one input.

    Attributes
    ----------
    name
        Name of its folder.
    source
        Path of the input.
    summary
        The key numbers of its result; empty when it failed.
    warnings
        What a reader of the report must know first.
    error, exit_code
        The reason why it failed, and 0, 1 or 2 as for the command line.
    """

    name: str
    source: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Stages:
    """Runs the stages of one input and remembers which are done."""

    ledger: Ledger
    folder: Path
    base: Any

    def run(self, stage: str, settings: Any, outputs: Sequence[str], make: Callable[[], object]) -> bool:
        """Call `make` unless its outputs are up to date; tell whether it was called.

        `base` and `settings` must name all that decides the outcome.
        """
        paths = [self.folder / name for name in outputs]
        work, key = f"{self.folder.name}/{stage}", fingerprint(self.base, stage, settings)
        if self.ledger.is_done(work, key):
            return False
        make()
        self.ledger.record(work, key, paths)
        return True


def source_of(path: Path) -> str:
    """Hash of an input's content.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from None


def folder_names(inputs: Sequence[Path]) -> list[str]:
    """A folder name for each input: its stem, with the parent's name before it where stems repeat.

    Examples
    --------
    >>> folder_names([Path("a/cell.csv"), Path("b/cell.csv"), Path("b/other.hdf5")])
    ['a_cell', 'b_cell', 'other']
    """
    stems = [path.stem for path in inputs]
    names = [
        stem if stems.count(stem) == 1 else f"{path.resolve().parent.name}_{stem}"
        for path, stem in zip(inputs, stems, strict=True)
    ]
    if len(set(names)) < len(names):
        names = [f"{name}_{position + 1}" for position, name in enumerate(names)]
    return names


def paths_of(inputs: Inputs) -> list[Path]:
    """Paths of one or several inputs."""
    return [Path(path) for path in ([inputs] if isinstance(inputs, str | os.PathLike) else inputs)]


def check_inputs(inputs: Sequence[Path], out: Path) -> None:
    """Refuse what cannot work before anything is written."""
    if not inputs:
        raise InputError("There is no input", next_step="name at least one file")
    often = Counter(path.resolve() for path in inputs)
    if repeated := {str(path) for path in inputs if often[path.resolve()] > 1}:
        raise InputError("The same input is named twice", received=", ".join(sorted(repeated)))
    try:
        if out.exists() and not out.is_dir():
            raise InputError("The output must be a folder", received=out)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the output folder: {error.strerror}", received=out) from None
    if not os.access(out, os.W_OK):
        raise InputError("The output folder cannot be written to", received=out)


def run_all(
    analyse: Callable[..., Outcome],
    inputs: Sequence[Path],
    out: Path,
    settings: Config,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Run `analyse(path, folder, settings, progress)` for each input; outcomes in the order of the inputs.

    One input runs here with its own progress bars; several run in worker processes.
    """
    names = folder_names(inputs)
    with executor(len(inputs), workers=workers, address=address) as workers_:
        inner = progress if len(inputs) == 1 and address is None else SILENT
        tasks = {
            workers_.submit(analyse, path.resolve(), out.resolve() / name, settings, inner): (name, path)
            for name, path in zip(names, inputs, strict=True)
        }
        outcomes = {}
        with progress.task("Inputs", total=len(tasks), unit="inputs") as bar:
            for task in workers_.as_completed(tasks):
                name, path = tasks[task]
                error = task.exception()
                outcomes[name] = task.result() if error is None else _failed(out / name, path, error)
                bar.advance()
    return [outcomes[name] for name in names]


def _failed(folder: Path, path: Path, error: BaseException) -> Outcome:
    error = full_disk(error) or error
    if isinstance(error, LuculeError):
        return Outcome(folder.name, str(path), error=str(error), exit_code=error.exit_code)
    if isinstance(error, BrokenProcessPool | MemoryError):
        text = "The work on this input was stopped, probably for lack of memory. Next: --workers 1, or --region."
    elif isinstance(error, OSError):
        text = f"The system refused: {error}"
    else:
        details = write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
        text = f"This is a fault in lucule: {type(error).__name__}: {error}. Next: report it with the file {details}."
    return Outcome(folder.name, str(path), error=text, exit_code=1)


def save_outcome(outcome: Outcome, path: Path) -> None:
    """Keep an outcome as JSON, so that a later report needs no second analysis."""
    write_text(path, json.dumps(asdict(outcome), indent=1))


def load_outcome(path: Path) -> Outcome:
    """Read what `save_outcome` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(**values | {"warnings": tuple(values["warnings"])})


def write_run_file(path: Path, workflow: str, inputs: Sequence[Path], settings: Config) -> Path:
    """Write `run.yaml`: what `lucule run run.yaml` needs to do the same again, and what it ran with."""
    return write_text(
        path,
        dump_yaml(
            {
                "workflow": workflow,
                "inputs": [str(item.resolve()) for item in inputs],
                "settings": settings.model_dump(mode="json"),
                "versions": versions(),
            }
        ),
    )


def read_run_file(path: Path, inputs: Sequence[Path]) -> tuple[str, list[Path], dict[str, Any]]:
    """Workflow, inputs and settings of a `run.yaml`; `inputs`, when given, replace those in the file.

    Raises
    ------
    InputError
        The file is missing or is no `run.yaml`.
    """
    values = read_yaml(path)
    if not isinstance(values.get("workflow"), str) or not isinstance(values.get("settings"), dict):
        raise InputError(
            f"{path} is not a run.yaml", allowed="a file that lucule run wrote, with workflow and settings"
        )
    return values["workflow"], list(inputs) or [Path(item) for item in values.get("inputs", [])], values["settings"]


def finished(inputs: Sequence[Path], out: Path) -> list[Outcome]:
    """Outcomes of an earlier run; inputs that were not finished have an error that says so."""
    outcomes = []
    for name, path in zip(folder_names(inputs), inputs, strict=True):
        kept = out / name / OUTCOME_FILE
        missing = Outcome(name, str(path), error="This input was not finished. Next: lucule run run.yaml.", exit_code=1)
        outcomes.append(load_outcome(kept) if kept.exists() else missing)
    return outcomes


def finished_sections(out: Path, outcomes: Sequence[Outcome]) -> list[Section]:
    """Sections of the report that inputs left in their folders; failed inputs have one that says why."""
    from lucule.view import report

    return [
        report.Section(outcome.name, note=outcome.source, error=outcome.error)
        if outcome.error
        else report.Section.load(out / outcome.name / SECTION_FILE)
        for outcome in outcomes
    ]


def write_page(
    out: Path, title: str, sections: Sequence[Section], settings: Config, *, summary: Sequence[Block] = ()
) -> Path:
    """Write `report.html` with these sections, and at its end the settings and versions that it was made with."""
    from lucule.view import report

    page = report.Report(
        title,
        tuple(sections),
        summary=tuple(summary),
        closing=(
            report.Code("Settings", dump_yaml(settings.model_dump(mode="json"))),
            report.Code("Versions", dump_yaml(versions())),
        ),
        created=datetime.now().astimezone(),
    )
    return report.write(page, out / "report.html")


def versions() -> dict[str, str]:
    """Versions of lucule and of what its numbers depend on."""
    packages = ("numpy", "scipy", "numba", "polars", "shapely", "torch")
    return {
        "lucule": package_version(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
    }


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 when all is well; 2 when only bad input stood in the way; else 1."""
    codes = {outcome.exit_code for outcome in outcomes} - {0}
    return 0 if not codes else 2 if codes == {2} else 1
