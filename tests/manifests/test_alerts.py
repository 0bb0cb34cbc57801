"""The alert rules, by Prometheus' own tool: they are accepted, and each fires when it should and only then."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from manifest_checks.objects import Object
from manifest_checks.render import Rendering, program
from tests.support.backend import ROOT

Overlay = Callable[[str], Rendering]
CASES = ROOT / "tests/manifests/alerts.test.yaml"


@pytest.fixture
def rules(overlay: Overlay, tmp_path: Path) -> Path:
    """What the Prometheus operator makes of the PrometheusRule: a file of groups."""
    if program("promtool") is None:
        pytest.skip("there is no promtool, so the alert rules were only parsed; `make promtool` fetches it")
    rule = next(obj for obj in overlay("monitoring").objects if obj["kind"] == "PrometheusRule")
    file = tmp_path / "godel.rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    return file


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    found = program("promtool")
    assert found
    return subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60)


def test_prometheus_accepts_the_rules(rules: Path) -> None:
    done = promtool("check", "rules", rules)
    assert done.returncode == 0, done.stderr


def test_every_alert_fires_when_it_should(rules: Path) -> None:
    done = fire(rules)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_leads_to_its_paragraph(overlay: Overlay) -> None:
    """By an anchor, as GitHub makes one of a heading."""
    rule = next(obj for obj in overlay("monitoring").objects if obj["kind"] == "PrometheusRule")
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs/operations.md").read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for each in [each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each]:
        page, _, anchor = each["annotations"]["runbook_url"].partition("#")
        assert (page, anchor) == ("docs/operations.md", each["alert"].lower())
        assert anchor in anchors


def test_every_alert_has_a_case(overlay: Overlay) -> None:
    rule = next(obj for obj in overlay("monitoring").objects if obj["kind"] == "PrometheusRule")
    alerts = {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}
    cases = [each for case in yaml.safe_load(CASES.read_text())["tests"] for each in case["alert_rule_test"]]
    assert alerts == {case["alertname"] for case in cases if case.get("exp_alerts")}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("deadline|failed", "failed"),
        ('ending!="cancelled"', 'ending!="none"'),  # readers who leave would hide failures
        ('+ (sum(rate(ray_godel_refusals_total{reason="no_replica"}[1h])) or vector(0))', ""),
        ("and godel:reply_errors:ratio_rate5m > 14.4 * 0.01", ""),  # it would go on for an hour after the end
        ("14.4 * 0.01", "40 * 0.01"),
        ("queue_full|share|hopeless", ".*"),
        ('{deployment="GodelModel"}) !=', ") !="),
        ('{IsHeadNode="true"}', ""),
        (">= 3", ">= 1"),
        ("> 8", "> 20"),
        ("max(", "min("),
        (' or absent(ray_serve_deployment_replica_healthy{deployment="GodelModel"})', ""),
    ],
)
def test_a_worse_rule_is_noticed(rules: Path, old: str, new: str) -> None:
    groups: Object = yaml.safe_load(rules.read_text())
    changed = [rule for group in groups["groups"] for rule in group["rules"] if old in rule["expr"]]
    assert changed
    for rule in changed:
        rule["expr"] = rule["expr"].replace(old, new)
    rules.write_text(yaml.safe_dump(groups))
    assert fire(rules, "|".join(rule.get("alert") or re.escape(rule["record"]) for rule in changed)).returncode == 1


def fire(rules: Path, touched: str = "") -> subprocess.CompletedProcess[str]:
    """All cases; or those of the alerts that `touched`, a pattern, finds in: they take seconds each."""
    cases = yaml.safe_load(CASES.read_text())
    alerts = {
        rule["alert"]: rule
        for group in yaml.safe_load(rules.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    for case in cases["tests"]:
        for each in case["alert_rule_test"]:
            for alert in each.get("exp_alerts", []):
                alert["exp_annotations"] = alerts[each["alertname"]]["annotations"]
    texts = {name: yaml.safe_dump(rule) for name, rule in alerts.items()}
    cases["tests"] = [
        case
        for case in cases["tests"]
        if any(re.search(touched, texts[each["alertname"]]) for each in case["alert_rule_test"])
    ]
    file = rules.with_name(CASES.name)
    file.write_text(yaml.safe_dump(cases))
    return promtool("test", "rules", file)
