"""`lucule acquire` as a user calls it."""

from __future__ import annotations

import pytest

pytest.importorskip("pymmcore_plus")


def test_a_dry_run_tells_what_a_plan_takes(lucule) -> None:
    answer = lucule("acquire", "demo", "--set", "objects.quota=2", "--dry-run", "--json")
    assert answer.exit_code == 0, answer.err
    results = answer.json["results"]
    assert results["dry_run"]
    assert results["tiles"] > 10
    assert results["fields_at_most"] == 2
    assert results["dose_per_field_mj_per_um2"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Exactly one plan or one run"),
        (["nowhere.yaml"], "no such plan"),
        (["--resume", "nowhere"], "no run to go on with"),
        (["demo", "--set", "scan.area_um=[5, 5, 1, 9]", "--dry-run"], "x_min < x_max"),
        (["demo", "--set", "limits.dose_mj_per_um2=0.001", "--dry-run"], "more light than it allows"),
        (["demo", "--set", "microscope.configuration=missing.cfg", "--dry-run"], "no such Micro-Manager configuration"),
    ],
)
def test_wrong_usage_is_one_message(lucule, arguments, said) -> None:
    answer = lucule("acquire", *arguments)
    assert answer.exit_code == 2
    assert said in " ".join(answer.err.split())
    assert "Traceback" not in answer.err
