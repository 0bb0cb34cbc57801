"""A real frontend process, a backend and a real Chromium.

`backend` is the stub here. A module that wants another backend overrides the one fixture `backend_url`.
"""

import multiprocessing
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from frontend.__main__ import main
from launcher.preflight import free_port
from tests.support.stub_backend import StubBackend

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


# Forked off a process that has imported the frontend: to import it takes longer than most tests.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["frontend.__main__"])


@dataclass
class FrontendProcess:
    """`python -m frontend`, but for its imports."""

    environment: Mapping[str, str]
    port: int
    log: Path
    _process: ForkServerProcess | None = field(default=None)

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start and wait until it is ready."""
        self._process = _forks.Process(target=_run, args=(dict(self.environment), self.log))
        self._process.start()
        wait_for(lambda: answers(self.url + "readyz"), f"the frontend, see {self.log}", self._process)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(START_SECONDS)
            lingers = self._process.is_alive()
            self.kill()
            assert not lingers, "the frontend does not end when it is told to"

    def kill(self) -> None:
        """End it without warning, as a lost machine does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def restart(self) -> None:
        """Stop and start with the same settings and the same database."""
        self.stop()
        self.start()


def _run(environment: dict[str, str], log: Path) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    sys.exit(main())


def answers(url: str) -> bool:
    """Whether `url` answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(condition: Callable[[], bool], what: str, process: ForkServerProcess) -> None:
    """Return when `condition` holds; fail when the process ends or `START_SECONDS` pass before."""
    end = time.monotonic() + START_SECONDS
    while not condition():
        if not process.is_alive() or time.monotonic() > end:
            raise AssertionError(f"{what} did not start")
        time.sleep(0.05)


@pytest.fixture
def backend() -> Iterator[StubBackend]:
    """The stub, told by each test what to do."""
    with StubBackend() as stub:
        yield stub


@pytest.fixture
def backend_url(backend: StubBackend) -> str:
    """Where the frontend finds its backend. Override this one for a real backend."""
    return backend.url


@pytest.fixture
def frontend_settings() -> dict[str, str]:
    """More FRONTEND_* settings; override in a module that needs others."""
    return {}


@pytest.fixture
def new_frontend(
    backend_url: str, frontend_settings: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[], FrontendProcess]]:
    """Starts frontends; all of a test's share one database, as replicas do."""
    started: list[FrontendProcess] = []

    def start() -> FrontendProcess:
        ours = {
            "FRONTEND_BACKEND_URL": backend_url,
            "FRONTEND_DATABASE_URL": f"sqlite:///{tmp_path}/chats.sqlite3",
            "FRONTEND_PORT": str(free_port()),
            "FRONTEND_HEALTH_CACHE_SECONDS": "0.2",
        } | frontend_settings
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRONTEND_")}
        log = tmp_path / f"frontend-{len(started)}.log"
        process = FrontendProcess(inherited | ours, int(ours["FRONTEND_PORT"]), log)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def frontend_process(new_frontend: Callable[[], FrontendProcess]) -> FrontendProcess:
    """One running frontend."""
    return new_frontend()


# One browser a module, not a session: Playwright's loop must have ended before another module's async tests begin.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium from the system."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.fail("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One person's browser: its tabs share cookies."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, frontend_process: FrontendProcess) -> Iterator[Page]:
    """The chat, opened. The test fails when the page logs an error or its policy refuses something."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    open_chat(page, frontend_process.url)
    yield page
    assert errors == []


def open_chat(page: Page, url: str) -> None:
    """Go to the chat and wait for its script."""
    page.goto(url)
    page.locator("html[data-ready=true]").wait_for()
