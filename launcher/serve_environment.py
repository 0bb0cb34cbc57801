"""What Ray takes from the environment alone: how soon it notices and replaces what hangs."""

QUICK_REPLACEMENT = {
    # A replica that failed its health checks is killed. By default it is asked to finish first, and one that hangs
    # holds its place, and its processors, for `graceful_shutdown_timeout_s`.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Ray sends SIGKILL to a process that has not ended this long after it was asked to; but never if the asking itself
    # failed before. A connection to a stopped process fails after 20 s, about when Serve gives the process up: with the
    # default, 5000, it often fails in between, and the process holds its processor for ever.
    "RAY_kill_worker_timeout_milliseconds": "100",
    # Three missed checks in a row, 10 s apart by default, are what it takes to start a dead proxy anew.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
}
