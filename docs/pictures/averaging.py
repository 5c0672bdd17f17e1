"""Make the picture of docs/averaging.md from Picasso's sample data.

python docs/pictures/averaging.py DATA_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from lucule import io
from lucule.view.averaging import average_plot
from lucule.view.curves import save_figure
from lucule.workflows import averaging

IMAGES = Path(__file__).parents[1] / "images"

if __name__ == "__main__":
    result = averaging.run(io.read(Path(sys.argv[1]) / "picasso" / "raw_movie_locs_picked.hdf5"))
    save_figure(average_plot(result.average, result.resolution), IMAGES / "averaging_origami.png")
