"""Two real backends, each started once a proxy: as it is shipped, and one whose limits are reached quickly."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from frontend.app import create_app
from frontend.settings import Settings
from tests.frontend.conftest import SECRET
from tests.support.backend import PROXIES, Backend, run_backend
from tests.support.checkpoints import initial_t5, save_checkpoint, small_tokenizer


@pytest.fixture
def backend(real_backend: Backend) -> Backend:
    return real_backend


@pytest.fixture
def page(backend: Backend, tmp_path: Path) -> Iterator[TestClient]:
    """A browser, with its cookie, at a page of the shipped one."""
    database = f"sqlite:///{tmp_path}/chats.sqlite3"
    settings = Settings(backend_url=backend.url, database_url=database, secret_key=SecretStr(SECRET))
    with TestClient(create_app(settings)) as client:
        client.get("/")
        yield client


@pytest.fixture(scope="package", params=PROXIES)
def slow_backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """Up to two replicas of two slots; a full-length reply takes seconds, so that things can happen during it."""
    folder = tmp_path_factory.mktemp("slow_backend")
    vocabulary = len(small_tokenizer())
    model = initial_t5(vocab_size=vocabulary, d_model=512, d_kv=64, d_ff=2048, num_heads=8, num_decoder_layers=8)
    save_checkpoint(model, folder / "model")
    with run_backend(
        folder,
        behind=request.param,
        args={"model": str(folder / "model"), "slots": 2, "max_waiting": 4, "request_timeout_s": 40},
        model_deployment={
            "autoscaling_config": {
                "min_replicas": 1,
                "max_replicas": 2,
                "policy": {"policy_function": "serve_app.autoscaling:by_capacity"},
                "upscale_delay_s": 1,
                "downscale_delay_s": 5,
                "look_back_period_s": 2,
                "metrics_interval_s": 0.5,
            },
        },
    ) as running:
        yield running
