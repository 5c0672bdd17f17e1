"""Networks for other programs: ONNX."""

from __future__ import annotations

import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from lucule.core import WorkError
from lucule.core.files import atomic_path
from lucule.localize.network import CHANNELS, LocalizationNet
from lucule.localize.predict import load

_OPSET: Final = 17
_EXAMPLE: Final = (64, 64)


class _Frames(nn.Module):
    """Photons `(frames, rows, columns)` to raw output of all but the frames that are context alone."""

    def __init__(self, network: LocalizationNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, photons: Tensor) -> Tensor:
        """Apply to sides that are multiples of 8."""
        context = self.network.context
        full, half = self.network.encode(photons[:, None])
        frames = photons.shape[0] - (context - 1)
        window = torch.cat([half[i : frames + i] for i in range(context)], dim=1)
        return self.network.decode(full[context // 2 : frames + context // 2], window)


def to_onnx(model: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Write a localization network as ONNX, float32.

    Its input `photons` are frames in photons `(frames, rows, columns)`, sides multiples of 8; its output `raw`
    `(frames - context + 1, channels, rows, columns)` leaves out the frames at both ends that are context alone. The
    metadata hold the names of the channels, the context and the model card; see `lucule.localize.network.fields` for
    what the channels mean, and `lucule.localize.decode` for how they become emitters.

    Raises
    ------
    InputError
        There is no such model, or it does not localize.
    WorkError
        The package onnx is not installed.
    """
    if find_spec("onnx") is None:
        raise WorkError("Writing ONNX needs the package onnx", next_step="pip install 'lucule[export]'")
    import onnx

    predictor = load(model, device="cpu", precision="float32")
    context = predictor.network.context
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # torch's other exporter wants one more package
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Frames(predictor.network),
            (torch.zeros(context + 3, *_EXAMPLE),),
            str(temporary),
            dynamo=False,
            opset_version=_OPSET,
            input_names=["photons"],
            output_names=["raw"],
            dynamic_axes={
                "photons": {0: "frames", 1: "rows", 2: "columns"},
                "raw": {0: "own_frames", 2: "rows", 3: "columns"},
            },
        )
        written = onnx.load(str(temporary))
        onnx.helper.set_model_props(
            written,
            {
                "channels": ", ".join(CHANNELS),
                "context": str(context),
                "z_scale_nm": f"{predictor.z_scale_nm:g}",
                "card": json.dumps(predictor.card.model_dump(mode="json")),
            },
        )
        onnx.save(written, str(temporary))
    return Path(path)
