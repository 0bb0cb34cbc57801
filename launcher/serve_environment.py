"""What Ray takes from the environment alone: how soon it notices and replaces what hangs."""

QUICK_REPLACEMENT = {
    # A replica that failed its health checks is killed. By default it is asked to finish first, and one that hangs
    # holds its place, and its processors, for `graceful_shutdown_timeout_s`.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Ray sends SIGKILL to a process that has not ended this long after it was asked to; but never if the asking itself
    # failed before. A connection to a stopped process fails after 20 s, about when Serve gives the process up: with the
    # default, 5000, it often fails in between, and the process holds its processor for ever.
    "RAY_kill_worker_timeout_milliseconds": "100",
    # A dead proxy is started anew after three failed checks in a row, by default 10 s apart. One that hangs is given up
    # after three times 5 s (10 by default) and 2 s more (5) in which to end by itself: for the same reason within 20 s.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",
    "RAY_SERVE_PROXY_GRACEFUL_SHUTDOWN_TIMEOUT_S": "2",
}
