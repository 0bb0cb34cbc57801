"""What the application adds to Ray's metrics: their names, and the objects that report them.

Prometheus sees each name with `ray_` before it. Metric objects belong to a Serve replica, so they are made in one.
"""

from ray.serve import metrics

from serve_app.messages import ReplicaStatus

GAUGES = {
    "godel_active": "requests in slots",
    "godel_waiting": "requests that wait for a slot",
    "godel_tokens_per_second": "tokens written, over all slots",
    "godel_config_error": "1 while the configuration file has an error",
    "godel_keys_error": "1 while the API keys' file has an error",
}


class ReplicaMetrics:
    """A model replica's load."""

    def __init__(self) -> None:
        self._active = _gauge("godel_active")
        self._waiting = _gauge("godel_waiting")
        self._tokens_per_second = _gauge("godel_tokens_per_second")

    def report(self, status: ReplicaStatus) -> None:
        self._active.set(status.active)
        self._waiting.set(status.waiting)
        self._tokens_per_second.set(status.tokens_per_second)


class FileMetrics:
    """Whether an ingress could read the files that it watches, as they are now."""

    def __init__(self) -> None:
        self._config_error = _gauge("godel_config_error")
        self._keys_error = _gauge("godel_keys_error")

    def report(self, config_error: str | None, keys_error: str | None) -> None:
        self._config_error.set(1 if config_error else 0)
        self._keys_error.set(1 if keys_error else 0)


def _gauge(name: str) -> metrics.Gauge:
    return metrics.Gauge(name, description=GAUGES[name])
