"""The facade on simulated, mixed and C++ devices: what is set changes what is seen, and no device is trusted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np
import pytest

from lucule.acquire.faults import CameraFault, FocusFault, LaserFault, OverflowFault, StageFault
from lucule.acquire.microscope import Microscope
from lucule.acquire.rig import load_rig
from lucule.core import InputError

Make = Callable[..., Microscope]
Place = Callable[..., tuple[float, float]]
ALL = ("simulated", "mixed", "demo_camera")


@pytest.mark.parametrize("base", ALL)
def test_the_same_code_runs_on_every_configuration(small: Make, base: str) -> None:
    scope = small(base)
    scope.move_to(70.0, 60.0)
    assert scope.position_um == pytest.approx((70, 60), abs=0.02)
    scope.focus_to(1.0)
    assert scope.z_um == pytest.approx(1.0)
    for name in scope.rig.channels:
        scope.set_channel(name)
        assert scope.snap().shape == scope.shape_px
    scope.set_exposure(2)
    burst = [frame.copy() for frame in scope.frames(20)]
    assert len(burst) == 20
    assert burst[0].shape == scope.shape_px
    for name in scope.rig.lasers:
        scope.set_laser(name, 3.0)
        assert scope.powers_mw[name] == 3.0
    scope.lasers_off()
    assert set(scope.powers_mw.values()) <= {0.0}


def test_position_power_exposure_and_shutter_change_what_is_seen(small: Make, cell_um: Place) -> None:
    scope = small()
    x, y = cell_um(scope)
    scope.set_channel("cell")
    scope.move_to(x, y)
    inside = scope.snap().mean() - 100
    scope.move_to(-100, -100)
    outside = scope.snap().mean() - 100
    assert inside > 3 * outside
    scope.move_to(x, y)
    scope.set_laser("488", 2.0)
    assert scope.snap().mean() - 100 == pytest.approx(2 * inside, rel=0.05)
    scope.set_exposure(25)
    assert scope.snap().mean() - 100 == pytest.approx(inside, rel=0.05)
    scope.lasers_off()
    assert scope.snap().mean() - 100 < 0.1 * inside


def test_focus_blurs_stains_and_molecules(small: Make, cell_um: Place) -> None:
    scope = small(Slide__TiltX_nm_per_um=10.0)
    x, y = cell_um(scope)
    scope.move_to(x, y)
    scope.set_channel("molecules")
    scope.set_exposure(200)
    best = 10e-3 * x
    scope.set_laser("405", 20.0)
    contrast = {}
    for z in (best, best + 2.0):
        scope.focus_to(z)
        contrast[z] = float(np.mean([frame.std() for frame in scope.frames(20)]))
    assert contrast[best] > 2 * contrast[best + 2.0]


def test_molecules_bleach_for_good_and_only_where_light_was(small: Make, cell_um: Place) -> None:
    scope = small()
    first, second = cell_um(scope, 0), cell_um(scope, 1)
    scope.set_channel("molecules")
    scope.set_laser("647", 200.0)
    scope.set_laser("405", 20.0)
    scope.set_exposure(2000)
    scope.move_to(*first)
    early = np.mean([frame.std() for frame in scope.frames(5)])
    for _ in scope.frames(60):
        pass
    late = np.mean([frame.std() for frame in scope.frames(5)])
    scope.move_to(*second)
    other = np.mean([frame.std() for frame in scope.frames(5)])
    scope.move_to(*first)
    again = np.mean([frame.std() for frame in scope.frames(5)])
    assert late < 0.3 * early
    assert other > 0.7 * early
    assert again < 0.3 * early


def test_a_specimen_put_back_gives_the_same_frames(small: Make, cell_um: Place) -> None:
    scope = small()
    assert scope.specimen is not None
    scope.move_to(*cell_um(scope))
    scope.set_channel("molecules")
    list(scope.frames(5))
    state = scope.specimen.state()
    first = [frame.copy() for frame in scope.frames(5)]
    scope.specimen.restore(state)
    again = [frame.copy() for frame in scope.frames(5)]
    np.testing.assert_array_equal(first, again)


def test_a_stalled_stage_is_an_error(small: Make) -> None:
    scope = small()
    scope.core.setProperty("XY", "Fault", "stalled")
    with pytest.raises(StageFault, match="did not arrive"):
        scope.move_to(50, 50)
    scope.core.setProperty("Z", "Fault", "stalled")
    with pytest.raises(FocusFault, match="did not arrive"):
        scope.focus_to(5)


def test_the_stage_is_not_sent_beyond_its_limits() -> None:
    rig = {"based_on": "simulated", "stage_limits_um": [-10, -10, 90, 90], "properties": {"Camera-Rows": 64}}
    with Microscope(rig) as scope:
        scope.move_to(90, -10)
        with pytest.raises(StageFault, match="beyond the limits"):
            scope.move_to(90.1, 0)
        with pytest.raises(StageFault, match="beyond the limits"):
            list(scope.along((0, 0), (95, 0), speed_um_s=100, interval_ms=0))
        assert scope.position_um == (90, -10)
    with pytest.raises(InputError, match="x_min < x_max"):
        load_rig({"based_on": "simulated", "stage_limits_um": [5, 0, 1, 9]})


def test_a_silent_laser_is_an_error(small: Make) -> None:
    scope = small()
    scope.core.setProperty("Laser405", "Fault", "silent")
    with pytest.raises(LaserFault, match="405"):
        scope.set_laser("405", 5)
    with pytest.raises(InputError, match="may not give"):
        scope.set_laser("647", 1e4)


def test_a_stage_on_its_way_is_halted_where_it_is(small: Make) -> None:
    scope = small(XY__Speed_um_s=100.0)
    scope.set_exposure(10)
    assert scope.position_um == (0.0, 0.0)
    scope.core.setXYPosition(50.0, 0.0)
    frames = scope.frames(20)
    for _ in range(5):
        next(frames)
    scope.halt()
    x, y = scope.position_um
    assert (1.0 < x < 49.0, y) == (True, 0.0)
    assert not scope.core.deviceBusy("XY")
    assert not scope.core.isSequenceRunning()
    assert not scope.core.getShutterOpen()
    with pytest.raises(CameraFault):
        list(frames)
    # time passes, and it stays
    list(scope.frames(5))
    assert scope.position_um == (x, y)
    scope.move_to(20.0, 5.0)
    assert scope.position_um == pytest.approx((20.0, 5.0))


@pytest.mark.parametrize("base", ["mixed", "demo_camera"])
def test_real_devices_are_halted_too(small: Make, base: str) -> None:
    scope = small(base)
    scope.core.setXYPosition(300.0, 0.0)
    scope.halt()
    assert not scope.core.deviceBusy(scope.core.getXYStageDevice())
    scope.move_to(1.0, 2.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fault", ["error", "dead", "drop"])
def test_frames_that_are_missing_are_an_error(small: Make, fault: str) -> None:
    scope = small()
    scope.core.setProperty("Camera", "FaultAfter", 3)
    scope.core.setProperty("Camera", "Fault", fault)
    got = []
    with pytest.raises(CameraFault):
        got.extend(scope.frames(6))
    assert len(got) < 6
    scope.core.setProperty("Camera", "Fault", "none")
    assert len(list(scope.frames(6))) == 6


def test_a_slow_consumer_is_an_error(small: Make) -> None:
    scope = Microscope({"based_on": "demo_camera", "buffer_mb": 2})
    scope.set_exposure(1)
    with pytest.raises(OverflowFault):
        deque((time.sleep(0.2) for _ in scope.frames(20)), maxlen=0)
    scope.close()


def test_settings_of_a_microscope_are_checked() -> None:
    with pytest.raises(InputError, match="no such microscope"):
        load_rig("confocal")
    with pytest.raises(InputError, match="not among the lasers"):
        load_rig({"based_on": "demo_camera", "channels": {"a": {"laser": "532"}}})
    with pytest.raises(InputError, match="Micro-Manager configuration"):
        load_rig({"based_on": "demo_camera", "configuration": "nowhere.cfg"}).configuration_text()
    with pytest.raises(InputError, match="no preset"):
        Microscope({"based_on": "simulated", "channels": {"x": {"presets": {"Filter": "Cy7"}}}}).set_channel("x")
