"""ONNX: the same numbers as the network, for other sizes than that of the export, with its card."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lucule.core import InputError
from lucule.localize import load, to_onnx
from lucule.localize.predict import raw_output

onnxruntime = pytest.importorskip("onnxruntime")


def test_onnx_gives_the_same_numbers(tmp_path):
    path = to_onnx("localize_astigmatic", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["card"])["name"] == "localize_astigmatic"
    assert notes["channels"].startswith("logit, x, y, z")
    reach = int(notes["context"]) // 2
    photons = np.random.default_rng(1).poisson(30, (9, 40, 56)).astype(np.float32)
    (raw,) = session.run(None, {"photons": photons})
    predictor = load("localize_astigmatic", device="cpu", precision="float32")
    expected = raw_output(predictor, torch.from_numpy(photons), (reach, reach)).numpy()
    np.testing.assert_allclose(raw, expected, atol=1e-3)


def test_other_networks_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not localize"):
        to_onnx("XPILJZ", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
