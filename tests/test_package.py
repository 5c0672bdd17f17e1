"""The package as a whole: quick to import, and its rooms in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "matplotlib", "polars", "numba", "scipy", "skimage", "sklearn", "shapely", "h5py")


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, lucule; print([name for name in {HEAVY} if name in sys.modules])"
    assert _run(code) == "[]"


def test_reading_a_csv_needs_neither_torch_nor_matplotlib_nor_h5py(tmp_path) -> None:
    table = tmp_path / "a.csv"
    table.write_text('"id","frame","x [nm]","y [nm]"\n1,1,10.0,20.0\n')
    loaded = "[name for name in ('torch', 'matplotlib', 'h5py') if name in sys.modules]"
    assert _run(f"import sys, lucule; lucule.read({str(table)!r}); print({loaded})") == "[]"


def test_calibration_and_fits_need_no_torch() -> None:
    rooms = "lucule.localize, lucule.localize.calibration, lucule.localize.fitting, lucule.view.calibration"
    assert _run(f"import sys, {rooms}; print('torch' in sys.modules)") == "False"


def test_finding_sarcomeres_does_not_load_the_simulator_or_other_structures() -> None:
    rooms = "lucule.workflows.sarcomeres, lucule.classify.lines, lucule.view.report"
    others = "[name for name in ('lucule.simulate', 'lucule.structures.axons', 'scipy.stats') if name in sys.modules]"
    assert _run(f"import sys, {rooms}; print({others})") == "[]"


def test_names_of_the_localization_room_are_at_hand_in_any_order() -> None:
    # a module of the name of a function would hide it once it is imported
    code = (
        "import importlib, pkgutil; from lucule import localize as room; "
        "[importlib.import_module(f'lucule.localize.{m.name}') for m in pkgutil.iter_modules(room.__path__)]; "
        "print([n for n in room.__all__ if getattr(room, n).__name__ != n])"
    )
    assert _run(code) == "[]"


def test_import_takes_less_than_half_a_second() -> None:
    def seconds() -> float:
        before = os.times()
        _run("import lucule")
        after = os.times()  # of the processor: other tests may run beside this one
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.5


def test_every_room_is_at_hand() -> None:
    import lucule

    folders = {path.parent.name for path in Path(lucule.__file__).parent.glob("*/__init__.py")}
    assert folders - {"cli", "nn"} <= set(dir(lucule))


def test_every_workflow_is_at_hand() -> None:
    code = "import lucule; print([getattr(lucule.workflows, n).__name__ for n in dir(lucule.workflows)])"
    for name in ("clusters", "compare", "axons", "experiment", "sarcomeres", "averaging"):
        assert f"lucule.workflows.{name}" in _run(code)
    with pytest.raises(subprocess.CalledProcessError):
        _run("import lucule; lucule.workflows.nothing")


def test_unknown_names_are_attribute_errors() -> None:
    import lucule

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lucule.nothing  # noqa: B018


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
