"""What the alert rules and Grafana's panels ask for is what a running application gives to Prometheus."""

import json

import yaml
from promql_parser import MatchOp

from manifest_checks.monitoring import selectors
from tests.support.backend import ROOT, Backend
from tests.support.waiting import eventually

MONITORING = ROOT / "kuberay/overlays/monitoring"


def test_every_metric_that_is_asked_for_is_there(backend: Backend) -> None:
    """With the labels that it is asked for with, but for the numbers of server errors, which do not happen here."""
    assert backend.chat("What is a pod?").status_code == 200
    assert backend.chat().status_code == 422  # Ray counts errors from the first one on
    missing = wanted()
    assert ("ray_serve_num_http_requests_total{", 'method="POST"') in missing

    def all_there() -> bool:
        samples = backend.metrics()
        missing.difference_update(
            {each for each in missing if any(all(part in sample for part in each) for sample in samples)}
        )
        return not missing

    eventually(all_there, 60, f"among Ray's metrics: {missing}")


def wanted() -> set[tuple[str, ...]]:
    """The parts that a line of Ray's metrics must have, for each metric asked for."""
    rules = yaml.safe_load((MONITORING / "godel-prometheusrule.yaml").read_text())["spec"]["groups"]
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    questions = [rule["expr"] for group in rules for rule in group["rules"]]
    questions += [target["expr"] for panel in panels for target in panel["targets"]]
    return {
        (
            f"{selector.name}{{",
            *(f'{each.name}="{each.value}"' for each in selector.matchers.matchers if each.op == MatchOp.Equal),
        )
        for question in questions
        for selector in selectors(question)
    }
