"""What several folders of tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from launcher.preflight import free_port
from serve_app.outcomes import asking_key
from tests.support.backend import PROXIES, Backend, run_backend
from tests.support.collector import Collector, senders_have_ended

# No deadline for one example: a busy machine is slow.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def no_key_asks() -> Iterator[None]:
    """The key of a request is known in its context; most tests share one."""
    before = asking_key.set("")
    yield
    asking_key.reset(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models as small as the tests' get slower with every thread that waits for another one."""
    import torch  # here, as most tests need none

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """The one that the environment names to who begins to send spans."""
    with Collector() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def no_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One is named to who begins to send spans, and is away. What tries to reach it has ended when the test has."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")  # seconds
    yield
    senders_have_ended()


@pytest.fixture(scope="session", params=PROXIES)
def real_backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The backend as it is shipped, on models/mini, with one replica: a load that a test makes brings no second one.

    It is traced, and were there no replica, a request would have one started. Ray takes its time to start, so it starts
    once a proxy.
    """
    folder = tmp_path_factory.mktemp("real_backend")
    with (
        Collector() as collector,
        run_backend(folder, {"cold_start_s": 0}, behind=request.param, max_replicas=1, collector=collector) as running,
    ):
        yield running
