"""What goes wrong at a microscope: each fault is an error of its own, never a frame less."""

from __future__ import annotations

from lucule.core import WorkError


class Fault(WorkError):
    """A device did not do what it was told. `kind` stands in the ledger."""

    kind = "fault"


class CameraFault(Fault):
    """Frames are missing: the camera reported an error, gave no more frames, or left some out."""

    kind = "camera"


class OverflowFault(Fault):
    """Frames came faster than they were taken away, and the buffer is full."""

    kind = "overflow"


class StageFault(Fault):
    """A stage is not where it was sent."""

    kind = "stage"


class LaserFault(Fault):
    """A laser did not take a power or did not switch."""

    kind = "laser"


class FocusFault(Fault):
    """The focus was not found, or is lost."""

    kind = "focus"


class WritingFault(Fault):
    """A movie could not be written."""

    kind = "writing"


class FinderFault(Fault):
    """The objects could not be found."""

    kind = "finder"
