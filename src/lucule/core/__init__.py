"""The central table type and the few types that everything speaks."""

from lucule.core.camera import Camera
from lucule.core.config import Config
from lucule.core.errors import ColumnError, FormatError, InputError, LuculeError, WorkError
from lucule.core.localizations import LazyLocalizations, Localizations
from lucule.core.meta import Meta, Source, Step
from lucule.core.progress import SILENT, Progress, Task
from lucule.core.provenance import package_version, step
from lucule.core.region import Region
from lucule.core.schema import COLUMNS, Column

__all__ = [
    "COLUMNS",
    "SILENT",
    "Camera",
    "Column",
    "ColumnError",
    "Config",
    "FormatError",
    "InputError",
    "LazyLocalizations",
    "Localizations",
    "LuculeError",
    "Meta",
    "Progress",
    "Region",
    "Source",
    "Step",
    "Task",
    "WorkError",
    "package_version",
    "step",
]
