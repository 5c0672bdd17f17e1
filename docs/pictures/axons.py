"""Make the pictures of docs/axons.md: a simulated field of axons, as `lucule period` sees it.

python docs/pictures/axons.py
"""

from __future__ import annotations

from pathlib import Path

from lucule import simulate
from lucule.structures import axons
from lucule.view.axons import axon_map, period_plot
from lucule.view.curves import save_figure

FOLDER = Path(__file__).parents[1] / "images" / "axons"


def main() -> None:
    """Write both pictures."""
    changes = {
        "axons.placement": {"count": 3, "overlap": True},
        "axons.specimen.length_um": 8,
        "axons.specimen.persistence_um": 30,
    }
    scene = simulate.load_scene("axon", frames=6000, labelling=0.3, **{"field.size_um": 12}, **changes)
    found = axons.measure(simulate.localizations(scene, seed=5, outside="drop"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_figure(axon_map(found), FOLDER / "map.png")
    save_figure(period_plot(found.axons[0], found.periods[0]), FOLDER / "period.png")


if __name__ == "__main__":
    main()
