"""`python -m capacity`: makes the tables and plots of docs/scaling.md anew, of the measurements in bench/results."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from capacity import check, plan, policies
from capacity.calibrate import RESULTS
from capacity.service_times import load
from serve_app.checkpoint import ROOT

PAGE = ROOT / "docs/scaling.md"
PICTURES = ROOT / "docs"


def fill(page: str, name: str, lines: Iterable[str]) -> str:
    """`page` with new lines between the marks of `name`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{rest.split(end)[1]}"


@click.command()
@click.option("--price", type=float, default=plan.Limits.node_price, show_default=True, help="of a node, an hour")
@click.option("--p95", type=float, default=plan.Limits.p95_s, show_default=True, help="seconds that p95 may take")
@click.option("--replicas-per-node", type=int, default=plan.Limits.replicas_per_node, show_default=True)
@click.option("--page", type=click.Path(path_type=Path), default=PAGE, help="whose tables are made anew")
def main(price: float, p95: float, replicas_per_node: int, page: Path) -> None:
    """Make the tables and plots of docs/scaling.md anew, of the measurements in bench/results."""
    times = load()
    text = page.read_text(encoding="utf-8")
    say("Predicted beside measured ...")
    compared = list(check.compare(json.loads((RESULTS / "served.json").read_text(encoding="utf-8")), times))
    text = fill(text, "check", check.table(compared))
    check.plot(compared, PICTURES / "predicted.png")
    say("Autoscaling policies on the same traces ...")
    results = list(policies.compare(times))
    text = fill(text, "policies", policies.table(results))
    policies.plot(results, policies.TRACES, PICTURES / "autoscaling.png")
    say("What a rate needs ...")
    limits = plan.Limits(p95_s=p95, node_price=price, replicas_per_node=replicas_per_node)
    text = fill(text, "plan", plan.table([plan.plan(rate, times, limits) for rate in plan.RATES]))
    page.write_text(text, encoding="utf-8")
    say(f"Written: {page}")


def say(text: str) -> None:
    click.echo(text, file=sys.stderr)


if __name__ == "__main__":
    main()
