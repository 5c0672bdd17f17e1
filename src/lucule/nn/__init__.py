"""Torch building blocks and the training loop; no localization tables here."""

from lucule.nn.device import as_array, choose_device, count_parameters, torch_threads
from lucule.nn.pointwise import PointwiseDense
from lucule.nn.recurrent import ConvLSTM
from lucule.nn.streaming import Stream, StreamSettings, train_stream
from lucule.nn.training import Batches, Epoch, FitSettings, TensorBatches, fit

__all__ = [
    "Batches",
    "ConvLSTM",
    "Epoch",
    "FitSettings",
    "PointwiseDense",
    "Stream",
    "StreamSettings",
    "TensorBatches",
    "as_array",
    "choose_device",
    "count_parameters",
    "fit",
    "torch_threads",
    "train_stream",
]
