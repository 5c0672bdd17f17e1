"""`lucule segment` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

from lucule.bench.segment import slide


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two images and the annotation of one."""
    where = tmp_path_factory.mktemp("segment")
    image, labels = slide(5, 138)
    (where / "images").mkdir()
    (where / "masks").mkdir()
    tifffile.imwrite(where / "images" / "a.tif", image.astype(np.uint16))
    tifffile.imwrite(where / "masks" / "a_labels.tif", labels.astype(np.uint16))
    tifffile.imwrite(where / "images" / "b.tif", slide(6, 138)[0].astype(np.uint16))
    (where / "bad.tif").write_bytes(b"nothing that is an image")
    return where


@pytest.fixture(scope="module")
def model(folder, lucule) -> Path:
    """Trained by the command, for a few steps."""
    small = ["architecture=compact", "options={widths: [8, 8, 8, 8], head: 8}", "crop_px=64", "crops=4",
             "fit={steps: 50, learning_rate: 0.005, log_every_steps: 10, ema_decay: 0.9}"]  # fmt: skip
    answer = lucule(
        "segment", "train", folder / "images", folder / "masks", "--out", folder / "model", "--start", "none",
        "--device", "cpu", "--pixel-size-nm", "200", "--json", *[word for item in small for word in ("--set", item)],
    )  # fmt: skip
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["objects"] == 9
    return folder / "model"


def test_objects_overlay_and_labels_are_written(folder, model, lucule) -> None:
    images = [folder / "images" / "a.tif", folder / "bad.tif", folder / "images" / "b.tif"]
    answer = lucule(
        "segment", "predict", *images, "--model", model, "--out", folder / "o.parquet", "--overlay",
        folder / "o.png", "--labels", folder / "labels", "--pixel-size-nm", "200", "--stage", "0.2,0,100,0,0.2,50",
        "--workers", "1", "--json",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.err
    table = pl.read_parquet(folder / "o.parquet")
    assert table["image"].unique().sort().to_list() == ["a.tif", "b.tif"]
    assert (table["stage_x_um"] - 100).to_list() == pytest.approx((0.2 * table["x_px"]).to_list())
    assert any("bad.tif was left out" in warning for warning in answer.json["warnings"])
    assert (folder / "o_a.png").exists()
    assert (folder / "o_b.png").exists()
    assert tifffile.imread(folder / "labels" / "a_labels.tif").max() == len(table.filter(image="a.tif"))


def test_pictures_of_images_with_one_name_are_told_apart(folder, model, lucule, tmp_path) -> None:
    image = tifffile.imread(folder / "images" / "b.tif")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "b.tif", image)
    np.save(tmp_path / "b.npy", image)
    np.save(tmp_path / "strip.npy", np.arange(15_000).reshape(3, 5000))  # too thin to be drawn
    files = [tmp_path / "one" / "b.tif", tmp_path / "two" / "b.tif", tmp_path / "b.npy", tmp_path / "strip.npy"]
    answer = lucule("segment", "predict", *files, "--model", model, "--out", tmp_path / "o.parquet", "--overlay",
                    tmp_path / "o.png", "--workers", "1", "--json")  # fmt: skip
    assert answer.exit_code == 0, answer.err
    assert sorted(path.name for path in tmp_path.glob("o_*.png")) == ["o_b_npy.png", "o_b_tif_1.png", "o_b_tif_2.png"]
    assert any("No picture of" in warning for warning in answer.json["warnings"])
    assert pl.read_parquet(tmp_path / "o.parquet")["image"].n_unique() >= 3


def test_a_batch_without_any_good_image_fails(folder, model, lucule) -> None:
    answer = lucule("segment", "predict", folder / "bad.tif", folder / "none.tif", "--model", model, "--out",
                    folder / "x.parquet", "--workers", "1", "--json")  # fmt: skip
    assert answer.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "images/a.tif", "--model", "graph", "--out", "x.parquet"), "does not segment images"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.parquet", "--stage", "1,2"), "six numbers"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.tiff"), "format"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.csv", "--overlay", "o.tif"), "ending in .png"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.csv", "--diameter-px", "0"), "above 0"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.csv", "--diameter-px", "nan"), "above 0"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.csv", "--diameter-px", "0.001"), "pixels wide"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.csv", "--pixel-size-nm", "-1"), "above 0"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.csv", "--set", "tile_px=0"), "tile_px"),
        (("predict", "images/a.tif", "--model", "model", "--out", "x.csv", "--set", "least_area_px=-1"), "least_area"),
        (("predict", "masks/none", "--model", "model", "--out", "x.csv"), "no such image"),
        (("train", "images", "masks", "--out", "m", "--kind", "wrong"), "no such kind"),
        (("train", "images", "masks", "--out", "m", "--diameter-px", "0"), "above 0"),
        (("train", "images", "masks", "--out", "m", "--classes", "cell,node"), "Received: node"),
        (("predict", "no.tif", "--model", "model", "--out", "x.parquet"), "no such image"),
        (("train", "images", "nothing", "--out", "m"), "no such file or folder"),
        (("train", "images", "masks", "--out", "m", "--start", "graph"), "cannot start from"),
    ],
)
def test_bad_input_is_one_message(arguments, message, folder, model, lucule, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    answer = lucule("segment", *arguments)
    assert answer.exit_code == 2
    assert message in answer.err.replace("\n", " ")
    assert not any((folder / name).exists() for name in ("x.tiff", "x.csv", "m"))


def test_a_folder_of_images_is_predicted_file_by_file(folder, model, lucule, tmp_path) -> None:
    answer = lucule("segment", "predict", folder / "images", "--model", model, "--out", tmp_path / "o.csv",
                    "--workers", "1", "--json")  # fmt: skip
    assert [line["image"] for line in answer.json["results"]["images"]] == ["a.tif", "b.tif"]


def test_dry_run(folder, lucule) -> None:
    answer = lucule("segment", "train", folder / "images", folder / "masks", "--out", folder / "dry", "--dry-run",
                    "--seconds", "30", "--json")  # fmt: skip
    assert answer.json["results"]["settings"]["fit"]["seconds"] == 30
    assert not (folder / "dry").exists()


def test_a_network_that_finds_little_is_not_handed_over_silently(folder, lucule, tmp_path) -> None:
    labels = tifffile.imread(folder / "masks" / "a_labels.tif")
    tifffile.imwrite(tmp_path / "elsewhere.tif", np.roll(labels, (23, 23), axis=(0, 1)))  # between the objects
    short = ["--set", "crop_px=64", "--set", "crops=2", "--set", "fit={steps: 1, log_every_steps: 1}"]
    command = ["segment", "train", folder / "images" / "a.tif", tmp_path / "elsewhere.tif", "--device", "cpu", "--json"]
    answer = lucule(*command, *short, "--out", tmp_path / "model")
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["unseen_dice_after"] < 0.6
    assert any("found poorly" in warning and "annotations fit" in warning for warning in answer.json["warnings"])


def test_objects_without_annotation_are_told_of(folder, lucule, tmp_path) -> None:
    labels = tifffile.imread(folder / "masks" / "a_labels.tif")
    tifffile.imwrite(tmp_path / "two.tif", np.where(labels <= 2, labels, 0))
    short = ["--set", "crop_px=64", "--set", "crops=2", "--set", "fit={steps: 1, log_every_steps: 1}"]
    command = [
        "segment",
        "train",
        folder / "images" / "a.tif",
        tmp_path / "two.tif",
        "--device",
        "cpu",
        "--json",
        *short,
    ]
    answer = lucule(*command, "--out", tmp_path / "all")
    assert answer.exit_code == 0, answer.err
    assert answer.json["results"]["kept_part"] == 0
    assert "are kept" in answer.json["results"]["decision"]
    assert any("7 more objects" in warning and "--some" in warning for warning in answer.json["warnings"])
    assert not lucule(*command, "--some", "--out", tmp_path / "some").json["warnings"]
