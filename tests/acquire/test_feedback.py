"""The density comes to its target on a simulated dye, and every rule that ends a field does so for its reason."""

from __future__ import annotations

import pytest

from lucule.acquire.feedback import Decision, Seen, decide, next_power
from lucule.acquire.plan import Density, Stop

DENSITY = Density(target_per_um2=0.1)


def seen(density: float = 0.1, **values: object) -> Seen:
    return Seen(**{"frames": 100, "localizations": 1000, "density_per_um2": density, "activation_mw": 1.0, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("start_mw", [0.2, 5.0])
@pytest.mark.parametrize(("thermal", "power_law"), [(0.0, 1.0), (0.01, 0.8), (0.03, 1.0)])
def test_five_times_too_dense_or_too_sparse_is_within_a_fifth_after_ten_seconds(
    start_mw: float, thermal: float, power_law: float
) -> None:
    """Bursts of 100 frames of 20 ms: five of them are 10 s. The dye follows the laser, not always in proportion."""
    power = start_mw
    for _ in range(5):
        density = thermal + (0.1 - thermal) * power**power_law
        power, _ = next_power(seen(density, activation_mw=power), DENSITY)
    density = thermal + (0.1 - thermal) * power**power_law
    assert density == pytest.approx(0.1, rel=0.2)


def test_the_laser_stays_within_its_limits_and_says_so() -> None:
    assert next_power(seen(1e-6, activation_mw=10), DENSITY)[0] == 20
    assert "highest" in next_power(seen(1e-6, activation_mw=10), DENSITY)[1]
    power, reason = next_power(seen(1.0, activation_mw=0.02), DENSITY)
    assert (power, reason.split()[-1]) == (0.01, "lowest")


def decided(course: list[Seen], stop: Stop | None = None, density: Density | None = DENSITY) -> Decision:
    return decide(course, stop or Stop(), density, frames=10_000)


def test_every_rule_stops_for_its_reason() -> None:
    assert decided([seen()]).goes_on
    assert decided([seen(0.0)]).action == "empty"
    assert decided([seen(sigma_nm=130.0), seen(sigma_nm=210.0)]).action == "defocused"
    faded = [seen(), seen(), seen(0.004, activation_mw=20.0)]
    assert decided(faded).action == "bleached"
    assert decided([seen(), seen(), seen(0.004)]).goes_on  # the laser has not tried its highest
    assert decided([seen(), seen(), seen(localizations=5)]).action == "plateau"
    assert decided([seen()] * 100).action == "complete"
    course = [seen(frc_nm=60.0), seen(frc_nm=59.9), seen(), seen(frc_nm=59.8)]
    assert decided(course, Stop(frc_gain=0.05)).action == "plateau"
    assert (
        "59.8" in decided(course, Stop(frc_gain=0.05)).reason or "60 nm" in decided(course, Stop(frc_gain=0.05)).reason
    )
    assert decided([seen(frc_nm=90.0), seen(frc_nm=60.0), seen()], Stop(frc_gain=0.05)).goes_on


def test_rules_can_be_switched_off() -> None:
    off = Stop(count_gain=None, bleached_fraction=None, empty_per_um2=None, defocus_factor=None)
    assert decided([seen(0.0, localizations=0)], off).goes_on
    assert decided([seen(), seen(), seen(0.0, localizations=0, activation_mw=20.0)], off).goes_on
