"""What KubeRay's operator makes of a RayService's groups: the command and environment of their containers.

Stated after BuildPod, generateRayStartCommand and setContainerEnvVars in ray-operator/controllers/ray/common/pod.go.
"""

from tools.manifests.contents import worker_cpus
from tools.manifests.objects import Object, Pod, at

GCS_PORT = 6379
AGENT_PORT = 52365
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def command(pod: Pod, head_host: str) -> list[str]:
    """The Ray container's command: `ray start`, as the operator writes it."""
    parameters = dict(at(pod.group, "rayStartParams", default={}))
    if pod.role == "head":
        parameters |= {"no-monitor": "true", "dashboard-host": "0.0.0.0"}
    else:
        parameters |= {"address": f"{head_host}:{GCS_PORT}"}
    container = pod.containers[0]
    parameters.setdefault("num-cpus", str(int(-(-worker_cpus(pod.group or {}, container) // 1))))
    parameters.setdefault("memory", str(_bytes(container["resources"]["limits"]["memory"])))
    parameters |= {"metrics-export-port": "8080", "block": "true", "dashboard-agent-listen-port": str(AGENT_PORT)}
    flags = " ".join(
        f"--{name}" if value == "true" else f"--{name}={value}" for name, value in sorted(parameters.items())
    )
    start = "ray start --head" if pod.role == "head" else "ray start"
    return ["/bin/bash", "-c", "--", f"ulimit -n 65536; {start} {flags}"]


def environment(pod: Pod, head_host: str, pod_name: str, token: str) -> dict[str, str]:
    """What the operator adds to the container's own variables."""
    ray_host = "127.0.0.1" if pod.role == "head" else head_host
    own = {"FQ_RAY_IP": head_host, "RAY_IP": head_host.split(".")[0]} if pod.role == "worker" else {}
    return own | {
        "RAY_CLUSTER_NAME": "godel-made-by-the-operator",
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
        "RAY_AUTH_TOKEN": token,
    }


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def serve_service(service: Object) -> str:
    return f"{service['metadata']['name']}-serve-svc"


def head_service(service: Object) -> str:
    return f"{service['metadata']['name']}-head-svc.{service['metadata'].get('namespace', 'default')}.svc.cluster.local"
