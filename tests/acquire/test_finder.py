"""Objects are found once with their area and middle, wherever the borders of tiles and windows lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from lucule.acquire.finder import Overview, assemble, find_in_overview, find_in_tiles
from lucule.acquire.plan import Objects
from lucule.simulate import widefield
from lucule.simulate.slide import Slide

PIXEL_UM = 0.4
SIDE = 64
MODEL = Objects(finder="model", model="cells_widefield", minimum_area_um2=20)


@pytest.fixture(scope="module")
def slide() -> tuple[np.ndarray, np.ndarray]:
    """Counts of a slide with cells, and the number of the cell at each pixel."""
    from importlib import resources

    from lucule.acquire.specimen import load_slide

    packaged: Slide = load_slide(resources.files("lucule.acquire") / "data" / "slide.yaml")  # type: ignore[arg-type]
    cells = {name: kind.replace(density_per_mm2=800) for name, kind in packaged.cells.items()}
    taken = widefield(
        packaged.replace(size_um=(130, 130), gap_um=1.0, cells=cells),
        seed=3,
        channels=["cell"],
        pixel_size_nm=1000 * PIXEL_UM,
    )
    return taken.counts[0], taken.masks["cell"]


def cut(image: np.ndarray, folder: Path, step: int) -> list[tuple[Path, float, float]]:
    """Tiles as a microscope takes them, with the positions of their middles; the slide begins at (500, -30) um."""
    tiles = []
    for row in range(0, image.shape[0] - SIDE + 1, step):
        for column in range(0, image.shape[1] - SIDE + 1, step):
            path = folder / f"{row}_{column}.tif"
            tifffile.imwrite(path, image[row : row + SIDE, column : column + SIDE])
            tiles.append((path, 500 + (column + SIDE / 2) * PIXEL_UM, -30 + (row + SIDE / 2) * PIXEL_UM))
    return tiles


def truth(masks: np.ndarray, edge: int, step: int) -> pl.DataFrame:
    """Middle and area of each cell that lies wholly in the part that the tiles show, and whether a border cuts it."""
    rows = []
    for number in np.unique(masks[:edge, :edge])[1:]:
        own = np.argwhere(masks == number)
        if own.max() < edge - 2 and own.min() > 1:
            y, x = (own.mean(axis=0) + 0.5) * PIXEL_UM
            cut_by = (own.min(axis=0) // step != own.max(axis=0) // step).any()
            rows.append((500 + x, -30 + y, len(own) * PIXEL_UM**2, bool(cut_by)))
    return pl.DataFrame(rows, schema=["x_um", "y_um", "area_um2", "cut"], orient="row")


def check(out: Path, cells: pl.DataFrame, *, area: float) -> None:
    found = pl.read_parquet(out)
    for cell in cells.iter_rows(named=True):
        away = np.hypot(found["x_um"] - cell["x_um"], found["y_um"] - cell["y_um"]).to_numpy()
        near = np.flatnonzero(away < 5)
        assert len(near) == 1, "a cell is found once"
        assert away[near[0]] < 0.8
        assert found["area_um2"][int(near[0])] == pytest.approx(cell["area_um2"], rel=area)


@pytest.mark.parametrize("step", [SIDE, SIDE - 8])
def test_a_network_finds_objects_on_borders_once(
    tmp_path: Path, slide: tuple[np.ndarray, np.ndarray], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, masks = slide
    tiles = cut(counts, tmp_path, step)
    edge = max(round((x - 500) / PIXEL_UM + SIDE / 2) for _, x, _ in tiles)
    # windows so small that there are several of them, and borders between them
    monkeypatch.setattr("lucule.segment.predict._TILE_PX", 60)
    assert find_in_tiles(tiles, PIXEL_UM, MODEL, tmp_path / "o.parquet") is None
    cells = truth(masks, edge, step)
    assert cells["cut"].sum() >= 2
    check(tmp_path / "o.parquet", cells, area=0.2)


def test_a_threshold_finds_objects_on_borders_once(tmp_path: Path, slide: tuple[np.ndarray, np.ndarray]) -> None:
    counts, masks = slide
    tiles = cut(counts, tmp_path, SIDE - 8)
    edge = max(round((x - 500) / PIXEL_UM + SIDE / 2) for _, x, _ in tiles)
    pictures = [(tifffile.imread(path), x, y) for path, x, y in tiles]
    overview = assemble(pictures, tile_pixel_um=PIXEL_UM, pixel_um=None, overlap=8 / SIDE)
    assert (overview.image == counts[:edge, :edge]).all()
    path = overview.save(tmp_path / "o.npz")
    assert find_in_overview(path, Objects(minimum_area_um2=20), tmp_path / "o.parquet") is None
    check(tmp_path / "o.parquet", truth(masks, edge, SIDE - 8), area=0.2)


def test_nothing_to_find_has_a_reason(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).poisson(120, (SIDE, SIDE)).astype(np.uint16)
    assert find_in_tiles(cut(noise, tmp_path, SIDE), PIXEL_UM, MODEL, tmp_path / "o.parquet")
    assert not len(pl.read_parquet(tmp_path / "o.parquet"))
    path = Overview(noise, (0.0, 0.0), PIXEL_UM).save(tmp_path / "o.npz")
    assert "stands out" in str(find_in_overview(path, Objects(), tmp_path / "t.parquet"))
