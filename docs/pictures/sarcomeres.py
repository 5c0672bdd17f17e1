"""Make the pictures of docs/sarcomeres.md: a simulated field of sarcomeres, as `lucule sarcomeres` sees it.

python docs/pictures/sarcomeres.py
"""

from __future__ import annotations

from pathlib import Path

from lucule import simulate
from lucule.structures.sarcomeres import average, follow_up, measure
from lucule.view.curves import save_figure
from lucule.view.lines import average_plot, axial_plot, field_picture
from lucule.workflows import sarcomeres

FOLDER = Path(__file__).parents[1] / "images"


def main() -> None:
    """Write all three pictures."""
    locs = sarcomeres.find(simulate.localizations("sarcomere_varied", seed=5, outside="drop"))
    number, steps = follow_up(locs, locs["cluster"])
    measured = measure(locs, number, sarcomeres.Settings().lines)
    locs, _ = sarcomeres.without_background(locs, number, measured, steps)
    field_picture(locs, measured.table()).save(FOLDER / "sarcomeres_field.png")
    if (mean := average(measured.aligned)) is not None:
        save_figure(average_plot(mean), FOLDER / "sarcomeres_average.png")
        save_figure(axial_plot(mean, measured.distance), FOLDER / "sarcomeres_profile.png")


if __name__ == "__main__":
    main()
