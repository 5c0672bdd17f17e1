"""Configurations: strict, explained, written and read back."""

from __future__ import annotations

import pytest

from lucule.core import Camera, InputError
from lucule.core.config import parse_assignments


def test_yaml_round_trip(tmp_path) -> None:
    camera = Camera(kind="emccd", pixel_size_nm=100, em_gain=300, electrons_per_count=45, quantum_efficiency=0.9)
    assert Camera.from_yaml(camera.to_yaml(tmp_path / "camera.yaml")) == camera
    assert camera.photons_per_count == pytest.approx(45 / 300 / 0.9)
    anisotropic = Camera(kind="scmos", pixel_size_nm=(127, 117), read_noise_electrons="map.tif")
    assert Camera.from_yaml(anisotropic.to_yaml(tmp_path / "camera.yaml")) == anisotropic


def test_repr_shows_what_differs_from_the_default() -> None:
    assert repr(Camera(kind="ideal", pixel_size_nm=100)) == "Camera(kind='ideal', pixel_size_nm=(100.0, 100.0))"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "emccd", "pixel_size_nm": 100, "emgain": 5}, r"emgain is not a known key \(did you mean em_gain\?\)"),
        ({"kind": "ideal", "pixel_size_nm": 100, "colour": 5}, r"colour is not a known key\. Allowed"),
        ({"kind": "emccd"}, "pixel_size_nm is missing"),
        ({"kind": "ccd", "pixel_size_nm": 100}, "kind='ccd'"),
        ({"kind": "ideal", "pixel_size_nm": -1}, "greater than 0"),
        (
            {"kind": "scmos", "pixel_size_nm": 100, "electrons_per_count": 0},
            r"Received: electrons_per_count=0: [^\[]*$",
        ),
    ],
)
def test_mistakes_are_named(values, message) -> None:
    with pytest.raises(InputError, match=message):
        Camera.parse(values)


def test_replace_validates_again() -> None:
    camera = Camera(kind="ideal", pixel_size_nm=100)
    assert camera.replace(baseline=5).baseline == 5
    with pytest.raises(InputError, match="quantum_efficiency"):
        camera.replace(quantum_efficiency=2)


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not valid YAML"), ("- 1\n- 2", "keys and values")])
def test_bad_yaml(tmp_path, text, message) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Camera.from_yaml(path)
    with pytest.raises(InputError, match="Cannot read"):
        Camera.from_yaml(tmp_path / "absent.yaml")


def test_assignments() -> None:
    assert parse_assignments(["a.b=1", "a.c=[1, 2]", "d=text"]) == {"a": {"b": 1, "c": [1, 2]}, "d": "text"}
    for bad in ("nothing", "=5", "a=[1"):
        with pytest.raises(InputError):
            parse_assignments([bad])
