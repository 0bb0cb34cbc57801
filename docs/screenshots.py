"""Takes the pictures of the page that README and docs show: `make screenshots`, or `python -m docs.screenshots`.

They show the application itself at work: backend and frontend, started as `make run` starts them, but on free ports,
with two replicas, a database of their own and the demo's button. Chromium chats, and ends a replica under load.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, cast

import requests
import yaml
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from launcher import haproxy
from launcher.preflight import Plan, free_port
from launcher.run import POLL_S, ROOT, STOP_S, Service, child_environment

PICTURES = Path(__file__).with_name("pictures")
MAX_BYTES = 120_000  # of a picture
COLOURS = 256  # that a picture has: text on plain ground needs no more
WIDE, NARROW = (1180, 860), (390, 800)  # CSS pixels
PATIENCE_S = 120.0
REPLICAS = 2
ASKING = 14  # requests at once while the cluster is shown
LOADED_S = 25.0  # for the sparklines

TALK = ("What is a pod?", "And what is a node?", "Who made GODEL?")
CHATS = (
    "How does a rolling update work?",
    "What happens when a server's queues are full?",
    "Which port does Ray Serve listen on?",
    "Who founded Anyscale?",
    "What is a liveness probe for?",
    "What does KubeRay do?",
    "When was the transformer introduced?",
    "How much data can a ConfigMap hold?",
)
TRIED = "What restarts a container?"
LONG = {"quote": False, "do_sample": True, "min_length": 100, "max_length": 128}


@dataclass(frozen=True)
class Camera:
    """Takes pictures of what one browser shows."""

    browser: Browser
    url: str

    @contextmanager
    def person(
        self, size: tuple[int, int] = WIDE, colours: Literal["light", "dark"] = "light", scale: float = 1.5
    ) -> Iterator[BrowserContext]:
        """Somebody's browser, with cookies of its own."""
        width, height = size
        context = self.browser.new_context(
            base_url=self.url,
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme=colours,
            locale="en-GB",
        )
        try:
            yield context
        finally:
            context.close()


def take(page: Page, name: str) -> None:
    """Write what `page` shows into `name`.png, in few colours. Raises ValueError where that is a large file."""
    page.mouse.move(0, 0)
    content = BytesIO()
    shown = Image.open(BytesIO(page.screenshot(animations="disabled", caret="hide"))).convert("RGB")
    shown.quantize(palette=_palette(shown), dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    if content.tell() > MAX_BYTES:
        raise ValueError(f"{name}.png has {content.tell()} bytes, more than {MAX_BYTES}")
    (PICTURES / f"{name}.png").write_bytes(content.getvalue())
    sys.stdout.write(f"{name}.png: {content.tell() / 1000:.0f} kB\n")


def _palette(shown: Image.Image) -> Image.Image:
    """Its most frequent colours, as they are: mixed ones would change the ground, or lose a replica's colour."""
    counted = sorted(shown.getcolors(shown.width * shown.height) or (), reverse=True)
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in counted[:COLOURS] for part in cast(tuple[int, ...], colour)])
    return palette


@contextmanager
def application(folder: Path) -> Iterator[Service]:
    """Backend and frontend, ready."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    port = config["http_options"]["port"] = free_port()
    config["applications"][0]["args"] |= {"model": "models/mini", "demo": True}
    for deployment in config["applications"][0]["deployments"]:
        if "autoscaling_config" in deployment:
            deployment["autoscaling_config"] |= {"min_replicas": REPLICAS, "max_replicas": REPLICAS}
    file = folder / "serve_config.yaml"
    file.write_text(yaml.safe_dump(config))
    plan = Plan(file, "127.0.0.1", port, "", "127.0.0.1", free_port(), "models/mini")
    ours = {
        "FRONTEND_DATABASE_URL": f"sqlite:///{folder}/chats.sqlite3",
        "FRONTEND_DEMO": "true",
        "FRONTEND_RATE_MESSAGES": "1000/minute",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRONTEND_")}
    with haproxy.prepared(haproxy.limits(file)) as proxy:
        service = Service(plan, folder, child_environment(inherited | ours, plan, folder, proxy))
        try:
            service.start()
            while service.waits_for() is not None or (service.health() or {}).get("ready_replicas", 0) < REPLICAS:
                service.check()
                time.sleep(POLL_S)
            yield service
        finally:
            service.processes.stop(STOP_S, hurry=lambda: False)


@contextmanager
def load(backend_url: str) -> Iterator[None]:
    """Requests meanwhile, some at once; what is refused while a replica is replaced does not matter."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            requests.post(f"{backend_url}/chat", json={"dialog": [TALK[0]], "generation": LONG}, timeout=60)

    askers = [threading.Thread(target=ask) for _ in range(ASKING)]
    for asker in askers:
        asker.start()
    try:
        yield
    finally:
        ended.set()
        for asker in askers:
            asker.join()


def chat(page: Page, *questions: str) -> Locator:
    """Ask, one after the other; the last exchange."""
    page.locator("html[data-ready=true]").wait_for()
    for question in questions:
        page.get_by_label("Your message").fill(question)
        page.keyboard.press("Enter")
        expect(page.locator("#log .exchange .tag").last).to_be_visible()
        expect(page.locator("#send")).to_be_visible()
    return page.locator("#log .exchange").last


def take_chat(camera: Camera) -> None:
    """A conversation in light and dark colours, a reply's details, and the list that the conversation stands in."""
    with camera.person() as person:
        page = person.new_page()
        for question in CHATS:
            page.goto("/new")
            chat(page, question)
        page.goto("/new")
        last = chat(page, *TALK)
        for colours in ("dark", "light"):
            page.emulate_media(color_scheme=colours)
            take(page, colours)
        last.get_by_text("Details").click()
        page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        take(page, "details")
        page.goto("/conversations")
        take(page, "list")


def take_narrow(camera: Camera) -> None:
    """The same conversation on a phone."""
    with camera.person(NARROW, scale=2) as person:
        page = person.new_page()
        page.goto("/new")
        chat(page, *TALK[:2])
        take(page, "narrow")


def take_knowledge(camera: Camera) -> None:
    """A question that is tried in both ways of answering."""
    with camera.person() as person:
        page = person.new_page()
        page.goto("/knowledge")
        page.get_by_label("Question", exact=True).fill(TRIED)
        page.get_by_role("button", name="Try").click()
        expect(page.locator(".tried")).to_be_visible()
        take(page, "knowledge")


def take_cluster(camera: Camera, backend_url: str) -> None:
    """Two replicas under load, of which one has just been ended."""
    with camera.person() as person, load(backend_url):
        page = person.new_page()
        page.goto("/cluster")
        expect(page.locator("#live")).to_have_text("Live")
        page.wait_for_timeout(LOADED_S * 1000)
        page.get_by_role("button", name="End it").first.click()
        page.locator("tr[data-state=lost]").wait_for()
        page.locator("tr[data-state=starting]").wait_for()
        take(page, "cluster")


def main() -> int:
    """Take them all."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        sys.stderr.write("Chromium is not installed: apt-get install chromium\n")
        return 1
    expect.set_options(timeout=PATIENCE_S * 1000)
    PICTURES.mkdir(exist_ok=True)
    with ExitStack() as stack:
        service = stack.enter_context(application(Path(stack.enter_context(TemporaryDirectory()))))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        stack.callback(browser.close)
        camera = Camera(browser, service.plan.frontend_url)
        take_chat(camera)
        take_narrow(camera)
        take_knowledge(camera)
        take_cluster(camera, service.plan.backend_url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
