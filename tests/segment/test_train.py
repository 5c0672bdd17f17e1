"""Training on a few objects, and finding the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
import torch
from polars.testing import assert_frame_equal

from lucule import models, segment, simulate
from lucule.bench.segment import slide
from lucule.core import InputError
from lucule.segment import PredictSettings, TrainSettings
from lucule.segment.annotations import combine, from_array
from lucule.segment.augment import Augment, paste, relight
from lucule.segment.batch import predict_files
from lucule.segment.explain import nothing
from lucule.segment.images import brightness, open_image
from lucule.segment.mosaic import read_positions
from lucule.segment.packaged import Recipe
from lucule.segment.packaged import train as train_packaged
from lucule.segment.predict import Segmenter
from lucule.segment.samples import batch, sample
from lucule.segment.scenes import Shapes, _body
from lucule.segment.scores import scores
from lucule.segment.train import fitted
from lucule.segment.tuning import _contacts


def test_a_few_objects_teach_to_find_the_others(tiny_model: Path, picture) -> None:
    image, truth = picture
    found = segment.load(tiny_model, device="cpu").predict(image, pixel_size_nm=200)
    result = scores(truth, found.labels())
    assert result.objects == 25
    assert result.dice > 0.9
    assert result.recall >= 0.96
    assert found.objects["area_um2"].median() == pytest.approx(np.pi * 12.5**2 * 0.04 * 1.1, rel=0.2)
    assert found.reason is None


def test_the_card_says_what_it_was_trained_on(tiny_model: Path) -> None:
    card = models.find(tiny_model).card
    assert card.classes == ("background", "object")
    assert card.training_range["diameter_px"][0] < 28 < card.training_range["diameter_px"][1]
    assert card.scores["train_objects"] == 9
    assert (tiny_model / "weights.safetensors").stat().st_size < 200_000


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, tiny_settings: TrainSettings) -> None:
    image, labels = slide(5, 92)
    short = tiny_settings.replace(fit=tiny_settings.fit.model_dump() | {"steps": 3, "log_every_steps": 1})
    hashes = [
        models.find(
            segment.train([image], [labels], out=tmp_path / str(n), settings=short, seed=seed, device="cpu")
        ).card.weights_sha256
        for n, seed in enumerate((1, 1, 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_bit_depth_and_magnification_do_not_matter(tiny_model: Path, picture) -> None:
    image, truth = picture
    model = segment.load(tiny_model, device="cpu")
    bright = model.predict(np.clip(image * 100, 0, 65535).astype(np.uint16))
    assert scores(truth, bright.labels()).recall >= 0.96
    double = image.repeat(2, axis=0).repeat(2, axis=1)
    for options in ({"pixel_size_nm": 100.0}, {"diameter_px": 2 * model.diameter_px}):
        larger = model.predict(double, **options)
        assert scores(truth.repeat(2, axis=0).repeat(2, axis=1), larger.labels()).recall >= 0.96


@pytest.mark.parametrize("colour", [False, True])
def test_objects_darker_than_their_surroundings_are_seen_in_the_negative(colour, picture, tmp_path: Path) -> None:
    image, labels = picture
    dark = image.max() - image.astype(np.float32)
    if colour:
        dark = (np.stack([dark, 0.8 * dark, dark]) / dark.max() * 250).astype(np.uint8)
    settings = TrainSettings(keep=0, crop_px=64, crops=2, fit={"steps": 1, "log_every_steps": 1})
    out = segment.train([dark], [from_array(labels)], out=tmp_path / "dark", settings=settings, device="cpu")
    model = segment.load(out, device="cpu")
    assert model.dark
    assert scores(labels, model.predict(dark).labels()).recall > 0.9
    # whoever knows better may say so; and a network that saw bright objects finds dark ones when told
    assert scores(labels, model.predict(dark, settings=PredictSettings(dark=False)).labels()).recall < 0.5
    size = model.diameter_px
    told = segment.load("objects", device="cpu").predict(dark, diameter_px=size, settings=PredictSettings(dark=True))
    assert scores(labels, told.labels()).recall > 0.9


def test_tiles_and_workers_give_the_same_objects(tiny_model: Path, picture, tmp_path: Path) -> None:
    image, truth = picture
    model = segment.load(tiny_model, device="cpu")
    tiled = model.predict(image, settings=PredictSettings(tile_px=100))
    assert scores(truth, tiled.labels()).recall >= 0.96
    assert len(tiled) == len(model.predict(image))
    tifffile.imwrite(tmp_path / "slide.tif", image, tile=(64, 64), compression="zlib")
    shared = model.predict(tmp_path / "slide.tif", settings=PredictSettings(tile_px=100), workers=2)
    # convolutions on another number of threads are the same up to rounding
    numbers = shared.objects.drop("image", "outline")
    assert_frame_equal(numbers, tiled.objects.drop("image", "outline"), rel_tol=0, abs_tol=1e-5)
    outlines = [shapely.from_wkb(found.objects["outline"].to_numpy()) for found in (shared, tiled)]
    assert shapely.hausdorff_distance(*outlines).max() < 1e-5


def test_tiles_in_files_of_their_own_are_one_slide(tiny_model: Path, picture, tmp_path: Path) -> None:
    image, _ = picture
    lines = ["image,x_px,y_px"]
    for row in (0, 115):
        for column in (0, 115):
            name = f"t_{row}_{column}.tif"
            tifffile.imwrite(tmp_path / name, image[row : row + 115, column : column + 115])
            lines.append(f"{name},{column + 1000},{row - 50}")
    (tmp_path / "positions.csv").write_text("\n".join(lines))
    whole = read_positions(tmp_path / "positions.csv", sorted(tmp_path.glob("*.tif")))
    assert np.array_equal(whole.whole()[0], image)
    model = segment.load(tiny_model, device="cpu")
    assert len(model.predict(whole)) == len(model.predict(image))


def test_several_classes(tmp_path: Path, tiny_settings: TrainSettings) -> None:
    """Dim and bright discs are told apart."""
    labels = np.zeros((160, 160), np.int32)
    y, x = np.mgrid[:160, :160]
    for number in range(16):
        cy, cx = 20 + 40 * (number // 4), 20 + 40 * (number % 4)
        labels[np.hypot(y - cy, x - cx) < 12] = number + 1
    image = np.random.default_rng(1).poisson(20 + 100 * (labels > 0)).astype(float)
    bright = np.isin(labels, np.arange(2, 17, 2)) * labels
    image = image + 300 * (bright > 0)
    both = combine({"dim": from_array(labels - bright, kind="labels"), "bright": from_array(bright, kind="labels")})
    settings = tiny_settings.replace(
        augment={"gain": (0.9, 1.1), "gamma": (0.9, 1.1), "shading": 0.0},
        fit=tiny_settings.fit.replace(steps=200).model_dump(),
    )
    out = segment.train([image], [both], out=tmp_path / "two", settings=settings, device="cpu")
    found = segment.load(out, device="cpu").predict(image).objects
    found = found.filter(found["area_px"] > 0.5 * np.median(found["area_px"]))  # so short a training leaves a speck
    assert len(found) == 16
    numbers = [labels[int(y), int(x)] for x, y in found.select("x_px", "y_px").iter_rows()]
    assert found["class"].to_list() == ["dim" if number % 2 else "bright" for number in numbers]


def test_no_object_is_explained(tiny_model: Path) -> None:
    model = segment.load(tiny_model, device="cpu")
    assert "same brightness everywhere" in (model.predict(np.full((64, 64), 5)).reason or "")
    noise = np.random.default_rng(1).normal(100, 3, (128, 128))
    empty = model.predict(noise, settings=PredictSettings(threshold=0.99))
    assert len(empty) == 0
    assert "no more than noise" in (empty.reason or "")
    assert "diameter-px" not in (empty.reason or "")  # what appears in magnified noise is no hint
    with pytest.raises(InputError, match="channels"):
        model.predict(np.zeros((32, 32, 3), np.uint8))


def test_what_the_network_is_not_sure_of_is_no_object(tiny_model: Path, picture) -> None:
    model, image = segment.load(tiny_model, device="cpu"), picture[0]
    assert model.confidence == 0  # nothing else was asked for in training
    confidences = model.predict(image, settings=PredictSettings(confidence=0)).objects["confidence"].sort()
    least = float(confidences[3:5].mean())
    kept = model.predict(image, settings=PredictSettings(confidence=least)).objects["confidence"].sort()
    assert kept.to_list() == confidences[4:].to_list()
    nothing_left = model.predict(image, settings=PredictSettings(confidence=1))
    assert len(nothing_left) == 0
    assert f"the surest of what was seen has a confidence of {confidences[-1]:.2f}" in (nothing_left.reason or "")


def test_a_batch_goes_on_after_a_bad_image(tiny_model: Path, picture, tmp_path: Path) -> None:
    image, _ = picture
    tifffile.imwrite(tmp_path / "good.tif", image)
    (tmp_path / "bad.tif").write_bytes(b"nothing that is an image")
    tifffile.imwrite(tmp_path / "empty.tif", np.full((50, 50), 9, np.uint16))
    files = [tmp_path / name for name in ("bad.tif", "good.tif", "empty.tif", "missing.tif")]
    result = predict_files(files, tiny_model, device="cpu", workers=1)
    lines = [outcome.line() for outcome in result.outcomes]
    assert [line["objects"] is None for line in lines] == [True, False, False, True]
    assert result.failed == 2
    assert result.table()["image"].unique().to_list() == ["good.tif"]
    assert "same brightness" in lines[2]["note"]


def test_a_fault_costs_one_image_of_a_batch(
    tiny_model: Path, picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = picture
    for name in ("first.tif", "second.tif"):
        tifffile.imwrite(tmp_path / name, image)
    usual = Segmenter.predict

    def broken(self, path, **options):
        if Path(path).name == "first.tif":
            raise IndexError("out of range")
        return usual(self, path, **options)

    monkeypatch.setattr(Segmenter, "predict", broken)
    result = predict_files([tmp_path / "first.tif", tmp_path / "second.tif"], tiny_model, device="cpu", workers=1)
    assert result.failed == 1
    assert "fault in lucule, not in your data: IndexError: out of range" in (result.outcomes[0].error or "")


def test_images_of_one_name_are_told_apart(tiny_model: Path, picture, tmp_path: Path) -> None:
    image, _ = picture
    files = [tmp_path / folder / "a.tif" for folder in ("one", "two")]
    for file in files:
        file.parent.mkdir()
        tifffile.imwrite(file, image)
    table = predict_files(files, tiny_model, device="cpu", workers=1).table()
    assert table["image"].unique(maintain_order=True).to_list() == [str(file) for file in files]


@pytest.mark.parametrize(
    ("image", "labels", "options", "message"),
    [
        (np.zeros((40, 40)), np.ones((30, 40), int), {}, "differ in size"),
        (np.zeros((40, 40)), np.zeros((40, 40), int), {}, "no annotated object"),
        (np.full((40, 40), 9), np.eye(40, dtype=int), {}, "same brightness everywhere"),
        (np.eye(40), np.eye(40, dtype=int), {"pixel_size_nm": 0.0}, "size of a pixel"),
        (np.eye(40), np.eye(40, dtype=int) + 1, {"kind": "strokes"}, "how large objects are"),
    ],
)
def test_what_cannot_be_trained_on(image, labels, options, message, tmp_path: Path, tiny_settings) -> None:
    with pytest.raises(InputError, match=message):
        segment.train([image], [labels], out=tmp_path / "m", settings=tiny_settings, device="cpu", **options)


def test_augmentation_moves_image_and_truth_together() -> None:
    image, labels = slide(2, 230)
    one = sample(image, from_array(labels), 1.0)
    generator = torch.Generator().manual_seed(1)
    calm = Augment(gain=(1, 1), offset=0, gamma=(1, 1), shading=0, blur_px=0, noise=0, pasted=0, blank=0, dimmed=0)
    crops = batch([one], calm, 8, 96, generator)
    inside, outside = crops.image[:, 0][crops.classes == 1], crops.image[:, 0][crops.classes == 0]
    assert inside.mean() > 4 * outside.mean()
    assert (inside > 0.25).float().mean() > 0.95
    assert (outside < 0.25).float().mean() > 0.95
    assert (crops.classes[crops.core == 1] == 1).all()


def test_pasted_objects_are_whole_and_keep_their_distance_in_the_cores() -> None:
    image, labels = slide(2, 230)
    one = sample(image, from_array(labels), 1.0)
    crops = batch([one], Augment(pasted=0), 6, 96, torch.Generator().manual_seed(3))
    pasted = paste(crops, Augment(pasted=1), torch.Generator().manual_seed(4))
    assert (pasted.classes > 0).sum() > (crops.classes > 0).sum()
    assert (pasted.classes[pasted.core == 1] == 1).all()
    untouched = paste(crops, Augment(pasted=0), torch.Generator().manual_seed(4))
    assert torch.equal(untouched.image, crops.image)


def test_blank_crops_hold_nothing_but_noise() -> None:
    image, labels = slide(2, 230)
    crops = batch([sample(image, from_array(labels), 1.0)], Augment(blank=1), 3, 64, torch.Generator().manual_seed(1))
    assert not crops.classes.any()
    assert not crops.core.any()
    assert crops.image.std() < 0.4


def test_colours_are_changed_but_grey_stays_grey() -> None:
    grey = torch.rand(4, 1, 32, 32).expand(4, 3, 32, 32)
    seen = relight(grey, Augment(), torch.Generator().manual_seed(1))
    assert torch.allclose(seen[:, 0], seen[:, 2], atol=1e-5)
    new = relight(grey, Augment(recoloured=1), torch.Generator().manual_seed(1))
    assert not torch.allclose(new[:, 0], new[:, 2], atol=1e-2)


def test_pixels_between_objects_that_nearly_touch_are_contacts() -> None:
    objects = torch.zeros(2, 9, 16, dtype=torch.long)
    objects[0, :, :6], objects[0, :, 8:] = 3, 5
    objects[1, :, 8:] = 7  # alone
    found = _contacts(objects)
    assert found[0].any(dim=0).nonzero()[:, 0].tolist() == [5, 6, 7, 8]
    assert found[0].all(dim=0).sum() == 4
    assert not found[1].any()


def test_faint_bodies_around_objects_are_no_objects() -> None:
    rng = np.random.default_rng(4)
    inside = np.zeros((120, 120), bool)
    inside[54:66, 54:66] = True
    bodies = [_body(rng, inside, 14) for _ in range(20)]
    for body in bodies:
        assert body.shape == inside.shape
        assert body.min() >= 0
        assert 0 < body.max() <= 1
    # larger than the object, and not the whole image
    assert 144 < np.median([(body > 0.1 * body.max()).sum() for body in bodies]) < 120 * 120 / 2
    for image, known in Shapes(images=5, side_px=96).draw(3):
        assert image.shape == known.objects.shape
        assert np.isfinite(image).all()
        assert known.count > 0


def test_weights_for_more_classes_begin_as_those_of_the_first() -> None:
    state = {"out.weight": torch.arange(3.0)[:, None], "out.bias": torch.arange(3.0), "head.0.weight": torch.ones(3)}
    new = fitted(state, had=1, classes=3)
    assert new["out.bias"].tolist() == [0, 1, 1, 1, 2]
    assert len(new["head.0.weight"]) == 3


def test_another_magnification_is_named(picture) -> None:
    """Where objects are much larger than in training, the reason says which size would find them."""
    image, _ = picture
    with open_image(image[:92, :92]) as source:
        card = models.find("objects").card
        counts = {0.25: 9, 0.5: 2, 2.0: 0, 4.0: 0}
        reason = nothing(source, brightness(source), card, highest=0.3, threshold=0.5, surest=None, confidence=0.7,
                         count_at=counts.__getitem__)  # fmt: skip
    assert "9 objects appear in its middle if they are about 112 pixels wide" in reason
    assert "highest probability is 0.30" in reason


@pytest.mark.parametrize("pixel_size_nm", [160, 400])
def test_the_packaged_network_finds_the_cells_of_a_slide(pixel_size_nm: float) -> None:
    slide_ = simulate.Slide(size_um=(110, 110), cells={"c": {"scene": "cell", "density_per_mm2": 330}})
    image = simulate.widefield(slide_, seed=31, channels=["cell"], pixel_size_nm=pixel_size_nm)
    model = segment.load("cells_widefield", device="cpu")
    found = model.predict(image.counts[0], pixel_size_nm=pixel_size_nm)
    result = scores(image.masks["cell"], found.labels())
    assert result.objects == 4
    assert result.recall == result.precision == 1
    assert result.dice > 0.97
    noise = np.random.default_rng(1).poisson(30, (200, 200))
    assert len(model.predict(noise, pixel_size_nm=pixel_size_nm)) == 0


def test_packaged_networks_are_small_and_say_how_they_were_made() -> None:
    for name in ("objects", "cells_widefield"):
        packaged = models.find(name)
        assert packaged.weights_path.stat().st_size < 4 * 2**20
        assert Recipe.parse(packaged.card.recipe).name == name


def test_recipes_train(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "objects.yaml"
    out = train_packaged(recipe, out=tmp_path / "made", budget="smoke", device="cpu")
    assert segment.load(out, device="cpu").card.scores["train_steps"] == 4
