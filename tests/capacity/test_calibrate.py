"""Service times from measurements: what made the measurements is found again."""

import json

import pytest

from capacity.calibrate import RESULTS, fit
from capacity.service_times import CPU, load

ROW = {"system": "this engine, int8", "output_tokens": 32}
SERVED = {
    "rows": [{"system": "this project, int8", "first_token_p50_s": 0.1}],
    "load": {"prompt_tokens": {"median": 200}},
    "http_overhead": [{"system": "this project, int8", "way": "whole replies", "ratio": 0.8}],
}


def test_made_up_times_are_found_again() -> None:
    rows = [
        ROW
        | {"batch": batch, "input_tokens": tokens, "seconds_median": batch * tokens * 2e-4 + 32 * (4e-3 + batch * 5e-4)}
        for batch in (1, 4, 16)
        for tokens in (64, 300)
    ]
    rows += [ROW | {"system": "another", "batch": 1, "input_tokens": 64, "seconds_median": 9.0}]
    times, error = fit({"rows": rows, "machine": {"cores": 2, "processor": "x"}, "commit": "c"}, SERVED, 7.0)
    assert error < 1e-3
    assert times.step_s == pytest.approx(4e-3, rel=0.01)
    assert times.step_per_reply_s == pytest.approx(5e-4, rel=0.01)
    assert times.encode_per_token_s == pytest.approx(2e-4, rel=0.01)
    assert times.ingress_s == pytest.approx(0.1 - 0.04 - 0.0045, abs=1e-3)
    assert times.shared_cores == 1.25


def test_the_times_in_use_are_those_of_the_measurements_here() -> None:
    engine, served = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("engine", "served"))
    times, error = fit(engine, served, load(CPU).start_s)
    assert times == load(CPU), "run `python -m capacity.calibrate`"
    assert error < 0.15
