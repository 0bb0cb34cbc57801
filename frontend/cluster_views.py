"""What the page of the cluster shows, as display-ready values: its template and its script print these alike."""

from datetime import UTC, datetime

from frontend.cluster import GONE, Change, Cluster, Ingress, Known, sparkline
from frontend.errors import FrontendError
from frontend.hues import hue
from frontend.provenance import SHORT_ID
from frontend.views import View
from frontend.words import _, later, number

SPARK_WIDTH, SPARK_HEIGHT = 120, 24
LABELS = {
    "STARTING": later("starting"),
    "RUNNING": later("ready"),
    "LATE": later("late"),
    "STALLED": later("stalled"),
    "DRAINING": later("draining"),
    "LOST": later("lost"),
}
CHANGED = {
    "STARTING": later("is being started"),
    "RUNNING": later("is ready"),
    "LATE": later("answers late"),
    "STALLED": later("has stalled: others go on with its replies"),
    "DRAINING": later("drains: it finishes its replies and goes"),
    "LOST": later("is lost: others go on with its replies"),
    GONE: later("has gone"),
}
NOT_ASKED = "–"


class ReplicaRow(View):
    """A line of the table."""

    id: str
    short: str
    colour: str  # a CSS class
    state: str  # in small letters, for the style sheet
    state_label: str
    node: str
    pod: str
    slots: int  # of which `active` are in use; both are 0 where it is not asked
    active: int
    slots_label: str
    waiting: str
    speed: str  # tokens per second
    points: str  # of its sparkline
    can_be_ended: bool


class IngressRow(View):
    """An ingress, and the configuration that it uses."""

    id: str
    short: str
    node: str
    pod: str
    version: str
    error: str


class ChangeRow(View):
    """A line of what has happened."""

    at: str  # ISO 8601, for the browser's own clock
    at_label: str
    short: str
    colour: str
    text: str


class ClusterView(View):
    """The whole page."""

    summary: str
    trouble: str
    model: str
    fallback: str  # that it is the fallback, and in place of what; empty where it is not
    reason: str
    replicas: tuple[ReplicaRow, ...]
    ingresses: tuple[IngressRow, ...]
    versions: str
    changes: tuple[ChangeRow, ...]


def cluster_view(cluster: Cluster, *, demo: bool) -> ClusterView:
    """demo: whether replicas may be ended."""
    most = max((speed for each in cluster.replicas for speed in each.speeds), default=0.0)
    return ClusterView(
        summary=_summary(cluster),
        trouble=_trouble(cluster.trouble),
        model=cluster.model.name,
        fallback=cluster.model.fallback_sentence,
        reason=cluster.model.reason or "",
        replicas=tuple(_replica(each, most, demo) for each in cluster.replicas),
        ingresses=tuple(_ingress(each) for each in cluster.ingresses),
        versions=_versions(cluster),
        changes=tuple(_change(each) for each in cluster.changes),
    )


def _trouble(error: FrontendError | None) -> str:
    return "" if error is None else " ".join((_("The list is as it was last known."), _(error.message)))


def _summary(cluster: Cluster) -> str:
    if not cluster.replicas and cluster.trouble:
        return _("Nothing is known of the replicas.")
    states = [each.replica.state for each in cluster.replicas]
    parts = [f"{number(states.count(state))} {_(label)}" for state, label in LABELS.items() if state in states]
    counts = ", ".join(parts) or _("None")
    if cluster.target is None:
        return f"{counts}."
    return _("{counts}; autoscaling wants {target}.", counts=counts, target=cluster.target)


def _replica(known: Known, most: float, demo: bool) -> ReplicaRow:
    each = known.replica
    asked = each.slots is not None and each.active is not None
    return ReplicaRow(
        id=each.replica_id,
        short=each.replica_id[-SHORT_ID:],
        colour=f"hue-{hue(each.replica_id)}",
        state=each.state.lower(),
        state_label=_(LABELS.get(each.state, each.state.lower())),
        node=each.node_name or each.node_id[:SHORT_ID] or NOT_ASKED,
        pod=each.pod_name or NOT_ASKED,
        slots=each.slots or 0,
        active=each.active or 0,
        slots_label=_("{active} of {slots}", active=each.active, slots=each.slots) if asked else NOT_ASKED,
        waiting=NOT_ASKED if each.waiting is None else number(each.waiting),
        speed=NOT_ASKED if each.tokens_per_second is None else number(each.tokens_per_second),
        points=sparkline(known.speeds, most, SPARK_WIDTH, SPARK_HEIGHT),
        can_be_ended=demo and each.state == "RUNNING",
    )


def _ingress(each: Ingress) -> IngressRow:
    return IngressRow(
        id=each.replica_id,
        short=each.replica_id[-SHORT_ID:] or NOT_ASKED,
        node=each.node_name or each.node_id[:SHORT_ID] or NOT_ASKED,
        pod=each.pod_name or NOT_ASKED,
        version=each.config_version,
        error=each.config_error or "",
    )


def _versions(cluster: Cluster) -> str:
    versions = sorted({each.config_version for each in cluster.ingresses})
    if len(versions) < 2:
        return _("Configuration {version} is in use everywhere.", version=versions[0]) if versions else ""
    return _("Configurations {versions} are in use: an edit is being taken up.", versions=", ".join(versions))


def _change(change: Change) -> ChangeRow:
    at = datetime.fromtimestamp(change.at, UTC)
    return ChangeRow(
        at=at.isoformat(),
        at_label=at.strftime("%H:%M:%S UTC"),
        short=change.replica_id[-SHORT_ID:],
        colour=f"hue-{hue(change.replica_id)}",
        text=_(CHANGED[change.state]) if change.state in CHANGED else _("is {state}", state=change.state.lower()),
    )
