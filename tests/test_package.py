"""The package as a whole: quick to import, and its rooms in order."""

from __future__ import annotations

import os
import re
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


def test_every_name_of_the_documentation_is_at_hand_after_importing_lucule() -> None:
    # each module in a process that has imported no other: what one loads must not help the next
    code = (
        "import os, sys, lucule\n"
        "missing = 0\n"
        "for names in sys.argv[1:]:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try: [getattr(eval(name), n) for name in names.split() for n in getattr(eval(name), '__all__', ())]\n"
        "        except AttributeError as error: print(error, flush=True); os._exit(1)\n"
        "        os._exit(0)\n"
        "    missing += os.waitpid(child, 0)[1] != 0\n"
        "print('missing:', missing)"
    )
    names = _documented_names()
    assert {"lucule.localize.calibration", "lucule.acquire.plan.load_plan", "lucule.read"} <= names
    together: dict[str, list[str]] = {}
    for name in sorted(names):
        together.setdefault(_module_of(name), []).append(name)
    assert _run(code, *map(" ".join, together.values())) == "missing: 0"


def test_unknown_names_are_attribute_errors() -> None:
    import lucule

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lucule.nothing  # noqa: B018


def _documented_names() -> set[str]:
    """Modules and members that `docs/api.md` names, and whatever else begins with `lucule.` in README and guides."""
    folder = Path(__file__).parents[1]
    api = (folder / "docs" / "api.md").read_text(encoding="utf-8")
    names = set()
    for module, options in re.findall(r"automodule:: (\S+)\n((?:   :.*\n)*)", api):
        listed = re.search(r":members: (.+)", options)
        names |= {f"{module}.{member}" for member in listed.group(1).split(", ")} if listed else {module}
    pages = [page for page in (folder / "docs").glob("*.md") if page.name != "results.md"]  # those name private ones
    for page in [folder / "README.md", *pages]:
        found = re.findall(r"(?<![\w/.])lucule(?:\.[A-Za-z_]\w*)+", page.read_text(encoding="utf-8"))
        names |= {name for name in found if not name.endswith((".md", ".html", ".yaml"))}
    return names


def _module_of(name: str) -> str:
    """The longest part of a dotted name that is a file or folder of the package."""
    source = Path(__file__).parents[1] / "src" / name.replace(".", "/")
    return name if source.is_dir() or source.with_suffix(".py").is_file() else _module_of(name.rpartition(".")[0])


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
