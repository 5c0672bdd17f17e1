"""The command line: one verb per stage, each a thin layer over one function.

Modules of commands are imported when the program starts and must stay light; what they call is imported inside them.
"""

from __future__ import annotations

import typer

from lucule.cli import (
    acquisition,
    analysis,
    averaging,
    axons,
    benchmarks,
    calibration,
    comparison,
    corrections,
    files,
    localization,
    pipelines,
    sarcomeres,
    segmentation,
    training,
)

app = typer.Typer(
    name="lucule",
    help="From blinking molecules to biology without hand-set thresholds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (
    files.info,
    files.convert,
    training.simulate,
    training.train,
    localization.localize,
    analysis.classify,
    analysis.cluster,
    analysis.render,
    comparison.compare,
    comparison.overlap,
    axons.period,
    corrections.resolution,
    averaging.average,
    sarcomeres.sarcomeres,
    acquisition.acquire,
    pipelines.run,
    pipelines.report,
    benchmarks.bench,
    training.models,
):
    app.command()(command)
app.add_typer(calibration.calibrate, name="calibrate")
app.add_typer(corrections.correct, name="correct")
app.add_typer(segmentation.segment, name="segment")


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from lucule.core.provenance import package_version

        typer.echo(package_version())
        raise typer.Exit


def main() -> None:
    """Entry point of the command `lucule`."""
    app()
