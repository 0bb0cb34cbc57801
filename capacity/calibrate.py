"""Service times from what `make bench` has measured, by least squares of relative errors.

    python -m capacity.calibrate  # bench/results/{engine,served}.json -> capacity/service_times/cpu.json

A batch of B requests with P tokens in and R out takes, in seconds,

    B encode_s + B P encode_per_token_s + R step_s + R B step_per_reply_s
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from capacity.service_times import CPU, ServiceTimes
from serve_app.checkpoint import ROOT

RESULTS = ROOT / "bench/results"
SYSTEM = "this engine, int8"
SERVED = "this project, int8"
LARGEST_BATCH = 16  # a replica's slots


def fit(measured: dict[str, Any], served: dict[str, Any], start_s: float) -> tuple[ServiceTimes, float]:
    """The engine's times, and the largest relative error of a measured row.

    measured: engine.json. served: served.json, for what the way there costs. start_s: until a replica is ready.
    """
    rows = [row for row in measured["rows"] if row["system"] == SYSTEM and row["batch"] <= LARGEST_BATCH]
    terms = np.array([_terms(row) for row in rows], dtype=float)
    seconds = np.array([row["seconds_median"] for row in rows])
    weights, *_ = np.linalg.lstsq(terms / seconds[:, None], np.ones(len(rows)), rcond=None)
    error = float(np.abs(terms @ weights / seconds - 1).max())
    encode_s, encode_per_token_s, step_s, step_per_reply_s = (max(0.0, float(weight)) for weight in weights)
    quickest = min(row["first_token_p50_s"] for row in served["rows"] if row["system"] == SERVED)
    prompt_tokens = served["load"]["prompt_tokens"]["median"]
    ingress_s = quickest - (encode_s + encode_per_token_s * prompt_tokens + step_s + step_per_reply_s)
    whole = next(row for row in served["http_overhead"] if row["system"] == SERVED and row["way"] == "whole replies")
    machine = measured["machine"]
    times = ServiceTimes(
        machine=f"{machine['cores']} cores, {machine['processor']}",
        model="GODEL-base's shape, int8",
        commit=measured["commit"],
        encode_s=round(encode_s, 6),
        encode_per_token_s=round(encode_per_token_s, 8),
        step_s=round(step_s, 6),
        step_per_reply_s=round(step_per_reply_s, 6),
        start_s=start_s,
        ingress_s=round(max(0.0, ingress_s), 4),
        shared_cores=round(1 / whole["ratio"], 3),
    )
    return times, error


def _terms(row: dict[str, Any]) -> tuple[int, int, int, int]:
    batch, prompt, reply = row["batch"], row["input_tokens"], row["output_tokens"]
    return batch, batch * prompt, reply, reply * batch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m capacity.calibrate", description="Fit the engine's service times.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="what `make bench` wrote")
    parser.add_argument("--start-s", type=float, default=7.0, help="seconds until a new replica is ready [7]")
    parser.add_argument("--out", type=Path, default=CPU)
    arguments = parser.parse_args()
    engine, served = (json.loads((arguments.results / f"{name}.json").read_text()) for name in ("engine", "served"))
    times, error = fit(engine, served, arguments.start_s)
    arguments.out.write_text(times.model_dump_json(indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{arguments.out}: {times}\nLargest error of a measured row: {error:.0%}\n")


if __name__ == "__main__":
    main()
