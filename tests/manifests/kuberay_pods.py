"""What KubeRay's operator makes of a RayService's groups: the command and environment of their containers.

Stated after BuildPod, generateRayStartCommand, setContainerEnvVars, configureGCSFaultTolerance and
SetContainerTokenAuthEnvVars in ray-operator/controllers/ray/common/pod.go.
"""

from manifest_checks.contents import worker_cpus
from manifest_checks.objects import Object, Pod, at, quantity

CLUSTER = "godel-made-by-the-operator"
CLUSTER_UID = "5f6e9c6c-3c54-4e19-9f3d-8f1f6f9b3a52"  # the API server's: any
GCS_PORT = 6379
AGENT_PORT = 52365


def command(pod: Pod) -> list[str]:
    """The Ray container's command: `ray start`, as the operator writes it."""
    parameters = dict(at(pod.group, "rayStartParams", default={}))
    if pod.role == "head":
        parameters |= {"no-monitor": "true", "dashboard-host": "0.0.0.0"}
        if at(_fault_tolerance(pod), "redisPassword"):
            parameters |= {"redis-password": "$REDIS_PASSWORD"}
    else:
        parameters |= {"address": f"{head_service(pod.owner)}:{GCS_PORT}"}
    container = pod.containers[0]
    parameters.setdefault("num-cpus", str(int(-(-worker_cpus(pod.group or {}, container) // 1))))
    parameters.setdefault("memory", str(int(quantity(container["resources"]["limits"]["memory"]))))
    gpus = at(container, "resources", "limits", "nvidia.com/gpu")
    if gpus:
        parameters.setdefault("num-gpus", str(gpus))
    parameters |= {"metrics-export-port": "8080", "block": "true", "dashboard-agent-listen-port": str(AGENT_PORT)}
    flags = " ".join(
        f"--{name}" if value == "true" else f"--{name}={value}" for name, value in sorted(parameters.items())
    )
    start = "ray start --head" if pod.role == "head" else "ray start"
    return ["/bin/bash", "-c", "--", f"ulimit -n 65536; {start} {flags}"]


def environment(pod: Pod, pod_name: str) -> list[Object]:
    """What the operator adds to the container's own variables, in the form of a manifest."""
    ray_host = "127.0.0.1" if pod.role == "head" else head_service(pod.owner)
    values = {
        "RAY_CLUSTER_NAME": CLUSTER,
        "RAY_CLOUD_INSTANCE_ID": pod_name,
        "RAY_NODE_TYPE_NAME": "headgroup" if pod.role == "head" else str(at(pod.group, "groupName")),
        "RAY_PORT": str(GCS_PORT),
        "RAY_ADDRESS": f"{ray_host}:{GCS_PORT}",
        "RAY_timeout_ms_task_wait_for_death_info": "0",
        "RAY_gcs_server_request_timeout_seconds": "5",
        "RAY_SERVE_KV_TIMEOUT_S": "5",
        "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
        "RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE": "1",
        "RAY_AUTH_MODE": "token",
    }
    if pod.role == "worker":
        values |= {"FQ_RAY_IP": ray_host, "RAY_IP": ray_host.split(".")[0]}
    options = _fault_tolerance(pod)
    if options and pod.role == "worker":
        values |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
    elif options:
        values |= {"RAY_external_storage_namespace": CLUSTER_UID, "RAY_REDIS_ADDRESS": options["redisAddress"]}
    variables: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
    token = {"name": token_secret(pod.owner), "key": "auth_token"}
    variables.append({"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": token}})
    if pod.role == "head" and "redisPassword" in options:
        variables.append({"name": "REDIS_PASSWORD", **options["redisPassword"]})
    return variables


def token_secret(service: Object) -> str:
    """The Secret with Ray's token: the one that is named, else the operator's own, called after the cluster."""
    name: str = at(service, "spec", "rayClusterConfig", "authOptions", "secretName", default=CLUSTER)
    return name


def _fault_tolerance(pod: Pod) -> Object:
    options: Object = at(pod.owner, "spec", "rayClusterConfig", "gcsFaultToleranceOptions", default={})
    return options


def serve_service(service: Object) -> str:
    return f"{service['metadata']['name']}-serve-svc"


def head_service(service: Object) -> str:
    return f"{service['metadata']['name']}-head-svc.{service['metadata'].get('namespace', 'default')}.svc.cluster.local"
