"""What all commands share: settings, warnings, progress, results, exit codes."""

from __future__ import annotations

import json as jsonlib
import logging
import math
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import typer

from lucule.cli.terminal import console, errors, progress_bars, show_results
from lucule.core.config import Config, parse_assignments, read_yaml
from lucule.core.errors import LuculeError
from lucule.core.files import full_disk
from lucule.core.progress import Progress

Settings = TypeVar("Settings", bound=Config)

INTERRUPTED = 130  # what shells expect after Ctrl-C
RESUMES = "What is finished is kept; the same command goes on from there"


@dataclass
class Session:
    """One run of one command: collects what it will say at the end."""

    progress: Progress
    inputs: Any = None
    results: dict[str, Any] | None = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    exit_code: int = 0
    after_interrupt: str = "Nothing was left half-written; the same command begins anew"

    def changed(self, start: Settings, config: Path | None, assignments: list[str], **given: Any) -> Settings:
        """`start`, overridden by the file, by `--set`, and by the command's own options (None: not given)."""
        values = start.model_dump(exclude_unset=True)
        _merge(values, read_yaml(config) if config else {})
        _merge(values, parse_assignments(assignments))
        _merge(values, {key: value for key, value in given.items() if value not in (None, {}, [])})
        return start.parse(values, source=str(config) if config else "The settings")

    def plan(self, settings: Config, **plan: Any) -> None:
        """Answer `--dry-run`."""
        self.results = {"dry_run": True, **plan, "settings": settings.model_dump(mode="json")}


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


@contextmanager
def session(*, inputs: Any, as_json: bool, resumes: bool = False) -> Iterator[Session]:
    """Run a command's body; print its results; turn errors into one message and an exit code.

    A command that `resumes` keeps what is finished when it is interrupted.

    Everything logged by lucule at level WARNING during the run is shown and stands under `warnings` in the JSON.
    """
    with progress_bars() as progress:
        run = Session(progress, inputs=_names(inputs))
        if resumes:
            run.after_interrupt = RESUMES
        handler = _Collect(run.warnings)
        logger = logging.getLogger("lucule")
        logger.addHandler(handler)
        failure: str | None = None
        try:
            yield run
        except LuculeError as error:
            failure, run.exit_code = str(error), error.exit_code
        except KeyboardInterrupt:
            failure, run.exit_code = _interrupted(run), INTERRUPTED
        except MemoryError:
            failure, run.exit_code = "Out of memory. Next: restrict the work with --region, or use a larger machine.", 1
        except Exception as error:  # the last place before the user: a bug must not print a traceback over the message
            if _of_interrupt(error):
                failure, run.exit_code = _interrupted(run), INTERRUPTED
            elif (full := full_disk(error)) is not None:
                failure, run.exit_code = str(full), full.exit_code
            else:
                failure, run.exit_code = _internal_error(error), 1
        finally:
            logger.removeHandler(handler)
    if failure is not None:
        run.results = None
    if as_json:
        answer = {"input": run.inputs, "results": run.results, "warnings": run.warnings}
        if failure is not None:
            answer["error"] = failure
        sys.stdout.write(jsonlib.dumps(_plain(answer), allow_nan=False) + "\n")
    else:
        for warning in run.warnings:
            errors.print(f"[yellow]warning[/] {_escape(warning)}", soft_wrap=True)
        if run.results:
            show_results(console, run.results)
    if failure is not None:
        errors.print(f"[red]error[/] {_escape(failure)}", soft_wrap=True)  # no path is broken
    if run.exit_code:
        raise typer.Exit(run.exit_code)


def _interrupted(run: Session) -> str:
    """What the user reads after Ctrl-C."""
    return f"Interrupted. {run.after_interrupt}."


def _of_interrupt(error: BaseException | None) -> bool:
    """Whether an error follows from Ctrl-C: compiled code that is interrupted raises SystemError because of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


class _Collect(logging.Handler):
    def __init__(self, warnings: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        self._warnings.append(record.getMessage())


def _names(inputs: Any) -> Any:
    return [str(path) for path in inputs] if isinstance(inputs, list | tuple) else inputs and str(inputs)


def _plain(value: Any) -> Any:
    """The value in JSON's own types; what is not a number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def _internal_error(error: BaseException) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="lucule-error-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return (
        f"This is a fault in lucule, not in your data: {type(error).__name__}: {error}. "
        f"Next: report it with the file {file.name}."
    )
