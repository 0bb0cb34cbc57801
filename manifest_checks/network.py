"""What the NetworkPolicies let through: all that the service needs, and nothing of what it must not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from manifest_checks.objects import Object, Pod, Problem, at, pods, ray_service
from manifest_checks.references import SERVE_PORT, selects
from manifest_checks.render import Rendering

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod of ours, or of another namespace, or an address outside the cluster."""

    name: str
    labels: dict[str, str] | None  # None: outside the cluster
    namespace: str | None = None  # None: ours
    ports: Mapping[str, int] = field(default_factory=dict)  # by name


@dataclass(frozen=True)
class Flow:
    source: Peer
    target: Peer
    port: int
    wanted: bool
    protocol: str = "TCP"


STRANGER = Peer("a pod of another namespace", {"app": "stranger"}, "elsewhere")
NEIGHBOUR = Peer("another pod of the namespace", {"app": "neighbour"})
INTERNET = Peer("the internet", None)
PEOPLE = Peer("people", None)
DNS = Peer("the cluster's DNS", {"k8s-app": "kube-dns"}, "kube-system")
OPERATOR = Peer("the operator", {"app.kubernetes.io/name": "kuberay-operator"}, "kuberay")
PROMETHEUS = Peer("Prometheus", {"app.kubernetes.io/name": "prometheus"}, "monitoring")
API_SERVER = Peer("the API server", None)


def check(rendering: Rendering) -> Iterator[Problem]:
    policies = [obj for obj in rendering.objects if obj["kind"] == "NetworkPolicy"]
    for flow in flows(rendering.objects):
        passes = allowed(policies, flow)
        if passes != flow.wanted:
            verb = "cannot reach" if flow.wanted else "must not reach"
            message = f"{flow.source.name} {verb} {flow.target.name} on port {flow.port}"
            ours = flow.source if flow.target.labels is None or flow.target.namespace else flow.target
            yield Problem(f"NetworkPolicy/{_responsible(policies, ours)}", ("spec",), message)


def _responsible(policies: list[Object], peer: Peer) -> str:
    """The policy to look at first: the last one, in the order of the files, that is about this pod."""
    about = [obj for obj in policies if peer.labels and selects(obj["spec"]["podSelector"], peer.labels)]
    specific = [obj for obj in about if obj["spec"]["podSelector"]] or about or policies
    return str(specific[0]["metadata"]["name"]) if specific else "?"


def flows(objects: list[Object]) -> Iterator[Flow]:
    """The connections that an overlay needs, and some of those that it must not allow."""
    by_name = {_name(pod): _peer(pod) for pod in pods(objects)}
    head, workers = by_name["head"], [by_name["worker"]] if "worker" in by_name else []
    clients = [by_name["frontend"]] if "frontend" in by_name else []
    yield Flow(STRANGER, NEIGHBOUR, 80, wanted=False)
    yield from _ray_flows(objects, head, workers)
    for frontend in clients:
        yield from _frontend_flows(objects, frontend, head, workers)
    for store, port, own in (("postgres", 5432, clients), ("redis", 6379, [head, *clients])):
        if store in by_name:
            for peer in own:
                yield Flow(peer, by_name[store], port, wanted=True)
            for peer in (NEIGHBOUR, STRANGER, *workers):
                yield Flow(peer, by_name[store], port, wanted=False)
    for peer in by_name.values():
        yield Flow(peer, DNS, 53, wanted=True, protocol="UDP")
        yield Flow(peer, INTERNET, 80, wanted=False)
        yield Flow(peer, INTERNET, 443, wanted=peer == head)  # the API server has no name that a policy could give


def _ray_flows(objects: list[Object], head: Peer, workers: list[Peer]) -> Iterator[Flow]:
    for worker in workers:
        for source, target in ((head, worker), (worker, head), (worker, worker)):
            for port in (6379, 12345):  # and any other: Ray's workers listen on random ones
                yield Flow(source, target, port, wanted=True)
        yield Flow(OPERATOR, worker, 8265, wanted=False)
        yield Flow(worker, API_SERVER, 6443, wanted=False)
    yield Flow(OPERATOR, head, 8265, wanted=True)
    yield Flow(head, API_SERVER, 6443, wanted=bool(ray_service(objects)["spec"]["rayClusterConfig"].get(_AUTOSCALING)))
    for ray in (head, *workers):
        yield Flow(PROMETHEUS, ray, 8080, wanted=True)
        for port in (6379, 8265, SERVE_PORT, 10001):
            yield Flow(STRANGER, ray, port, wanted=False)
            yield Flow(NEIGHBOUR, ray, port, wanted=False)


_AUTOSCALING = "enableInTreeAutoscaling"


def _frontend_flows(objects: list[Object], frontend: Peer, head: Peer, workers: list[Peer]) -> Iterator[Flow]:
    yield Flow(PEOPLE, frontend, 8080, wanted=True)
    yield Flow(frontend, head, 8265, wanted=False)
    for worker in workers:
        yield Flow(frontend, worker, 6379, wanted=False)
    service = ray_service(objects)
    if at(service, "spec", "upgradeStrategy", "type") == "NewClusterWithIncrementalUpgrade":
        name = f"{service['metadata']['name']}-gateway"
        gateway = Peer("the Gateway", {"gateway.networking.k8s.io/gateway-name": name})
        yield Flow(frontend, gateway, 80, wanted=True)
        yield Flow(STRANGER, gateway, 80, wanted=False)
        for worker in workers:
            yield Flow(gateway, worker, SERVE_PORT, wanted=True)
    else:
        for worker in workers:
            yield Flow(frontend, worker, SERVE_PORT, wanted=True)


def _name(pod: Pod) -> str:
    return pod.role if pod.role in ("head", "worker") else str(pod.owner["metadata"]["name"])


def _peer(pod: Pod) -> Peer:
    ports = [port for container in pod.containers for port in container.get("ports", [])]
    named = {port["name"]: port["containerPort"] for port in ports if "name" in port}
    return Peer(f"the {_name(pod)}", pod.labels, ports=named)


def allowed(policies: list[Object], flow: Flow) -> bool:
    """Kubernetes' rule: each end that policies select needs one of them to allow the connection."""
    return _end(policies, flow, "Egress", flow.source, flow.target) and _end(
        policies, flow, "Ingress", flow.target, flow.source
    )


def _end(policies: list[Object], flow: Flow, direction: str, own: Peer, other: Peer) -> bool:
    if own.labels is None or own.namespace is not None:
        return True  # not of our namespace: our policies say nothing about this end
    own_labels = own.labels
    about = [
        obj["spec"]
        for obj in policies
        if direction in _types(obj["spec"]) and selects(obj["spec"]["podSelector"], own_labels)
    ]
    rules = [rule for spec in about for rule in spec.get(direction.lower(), [])]
    return not about or any(_rule_allows(rule, flow, direction, other) for rule in rules)


def _types(spec: Object) -> list[str]:
    """Which ends a policy is about; unless it says so, of what arrives, and of what leaves if it has rules for that."""
    types: list[str] = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return types


def _rule_allows(rule: Object, flow: Flow, direction: str, other: Peer) -> bool:
    ports = rule.get("ports")
    if ports and not any(_port_matches(port, flow) for port in ports):
        return False
    peers = rule.get("to" if direction == "Egress" else "from")
    return not peers or any(_peer_matches(peer, other) for peer in peers)


def _port_matches(port: Object, flow: Flow) -> bool:
    """A number, a range or the name of a port of the target; any port where none is given, of TCP unless it says so."""
    if port.get("protocol", "TCP") != flow.protocol:
        return False
    given: int | str = port.get("port", flow.port)
    first = flow.target.ports.get(given, -1) if isinstance(given, str) else given
    last: int = port.get("endPort", first)
    return first <= flow.port <= last


def _peer_matches(selector: Object, peer: Peer) -> bool:
    if "ipBlock" in selector:
        return peer.labels is None
    if peer.labels is None:
        return False
    if "namespaceSelector" in selector:
        if not selects(selector["namespaceSelector"], {NAMESPACE_LABEL: peer.namespace or "godel"}):
            return False
    elif peer.namespace is not None:
        return False
    return selects(selector.get("podSelector", {}), peer.labels)
