"""Few-shot segmentation of wide-field and rendered images: train on 1 to 25 annotated objects, find all others."""

from lucule.segment.annotations import Annotation
from lucule.segment.images import Brightness, Image, brightness, open_image
from lucule.segment.objects import Segmentation
from lucule.segment.predict import PredictSettings, Segmenter, load
from lucule.segment.train import train
from lucule.segment.tuning import TrainSettings

__all__ = [
    "Annotation",
    "Brightness",
    "Image",
    "PredictSettings",
    "Segmentation",
    "Segmenter",
    "TrainSettings",
    "brightness",
    "load",
    "open_image",
    "train",
]
