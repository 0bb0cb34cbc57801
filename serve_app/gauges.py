"""What the application adds to Ray's metrics, by name; Prometheus sees each name with `ray_` before it."""

GAUGES = {
    "godel_active": "requests in slots",
    "godel_waiting": "requests that wait for a slot",
    "godel_tokens_per_second": "tokens written, over all slots",
    "godel_config_error": "1 while the configuration file has an error",
}
