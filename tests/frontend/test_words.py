"""The interface's words: none is missing in any language, none stands outside the catalogue."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages import Message
from jinja2 import Environment, nodes
from starlette.testclient import TestClient

import frontend
from docs.words import catalogues, template
from frontend import errors
from frontend.language import wanted
from frontend.words import _, choose, number, plural

FOLDER = Path(frontend.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))
SCRIPTS = sorted((FOLDER / "static").glob("*.js"))
PAGE = {"accept": "text/html"}
GERMAN = PAGE | {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}
NO_WORDS = {"Esc", "light dark"}  # a key, and a value of CSS
TELLING = {name for name, value in vars(errors).items() if isinstance(value, type)} | {"HTTPException"}
UPDATE = "run `python -m docs.words`, then translate what is new in frontend/locales"


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    yield
    choose([])


def forms(message: Message) -> list[tuple[str, str]]:
    """Each English form beside its translation."""
    if isinstance(message.id, str):
        return [(message.id, str(message.string))]
    return list(zip(message.id, message.string or (), strict=True))


def values(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_every_language_has_every_word_and_no_other() -> None:
    source = {message.id for message in template() if message.id}
    for code, catalogue in catalogues():
        messages = {message.id: message for message in catalogue if message.id}
        assert source - messages.keys() == set(), f"{code}: missing; {UPDATE}"
        assert messages.keys() - source == set(), f"{code}: not used; {UPDATE}"
        for message in messages.values():
            for english, translated in forms(message):
                assert translated.strip(), f"{code}: {english!r} is not translated"
                if values(english):
                    translated.format(**dict.fromkeys(values(english), ""))  # a stray brace would be an error in use
                # One may do without its number: "the one before".
                assert values(translated) | {"count"} == values(english) | {"count"}, f"{code}: {english!r}"


class Texts(HTMLParser):
    """What a template shows or has read out, without what Jinja puts in."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("title", "alt", "placeholder", "aria-label")]


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_templates_have_no_bare_words(file: Path) -> None:
    source = file.read_text()
    texts = Texts()
    texts.feed(re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.S))
    assert [text for text in texts.found if re.search(r"\w", text)] == []
    assert [text for text in shown_constants(source) if is_words(text) and text not in NO_WORDS] == []


def shown_constants(source: str) -> Iterator[str]:
    """The strings in a template's expressions that no call gets, such as `_`."""
    below: list[nodes.Node] = [Environment().parse(source)]
    while below:
        node = below.pop()
        if isinstance(node, nodes.Const) and isinstance(node.value, str):
            yield node.value
        if not isinstance(node, nodes.Call | nodes.Compare | nodes.Getattr | nodes.Getitem | nodes.TemplateData):
            below += node.iter_child_nodes()


def is_words(text: str) -> bool:
    return re.search(r"^[A-Z][a-z]+|[a-z] [a-z]", text) is not None and "<" not in text


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_scripts_have_no_bare_sentences(file: Path) -> None:
    code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", file.read_text(), flags=re.S)
    literals = re.findall(r'"((?:[^"\\\n]|\\.)*)"|`([^`]*)`', code)
    assert [text for pair in literals for text in pair if re.search(r"^[A-Z][a-z]+ [a-z]", text)] == []


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_errors_speak_the_readers_language(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TELLING:
            bare = [each for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            assert bare == [], f"{file.name}:{node.lineno}: mark its sentence by `_`"
        if isinstance(node, ast.JoinedStr):
            marked = [each for each in ast.walk(node) if isinstance(each, ast.Constant) and within_mark(node, each)]
            assert marked == [], f"{file.name}:{node.lineno}: what an f-string holds is not found by docs.words"


def within_mark(node: ast.JoinedStr, constant: ast.Constant) -> bool:
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "_"]
    return any(constant in call.args for call in calls)


@pytest.mark.parametrize(
    ("header", "languages"),
    [
        ("", [""]),
        ("de", ["de"]),
        ("en;q=0.2, de-AT, fr;q=0.5", ["de-AT", "fr", "en"]),
        ("de;q=0, en", ["en"]),
        ("de;q=much, en;q=0.1", ["en"]),
        ("*", ["*"]),
    ],
)
def test_what_a_browser_asks_for(header: str, languages: list[str]) -> None:
    assert wanted(header) == languages


@pytest.mark.parametrize(
    ("languages", "word"), [(["de"], "Suche"), (["fr", "de-CH"], "Suche"), (["fr", "*"], "Search")]
)
def test_the_first_language_that_there_is(languages: list[str], word: str) -> None:
    choose(languages)
    assert _("Search") == word


def test_numbers_and_plurals_are_the_languages() -> None:
    chats = ("{count} chat", "{count} chats")
    assert [plural(*chats, count) for count in (0, 1, 1234)] == ["0 chats", "1 chat", "1,234 chats"]
    choose(["de"])
    assert [plural(*chats, count) for count in (0, 1, 1234)] == ["0 Chats", "1 Chat", "1.234 Chats"]
    assert number(12_345) == "12.345"
    assert number(1e27, 1) == "1.000.000.000.000.000.000.000.000.000,0", "an imported file may say so"


def test_a_text_of_a_person_is_no_format() -> None:
    assert _("{replica} on {node}", replica="{0.__class__}", node="{}") == "{0.__class__} on {}"
    assert _("{nobody}'s") == "{nobody}'s"
    assert _("") == ""


PAGES = [
    "/new",
    "/conversations",
    "/conversations?q=zebra",
    "/data",
    "/cluster",
    "/knowledge",
    "/new/knowledge",
    "/nowhere",
]


@pytest.mark.parametrize("address", PAGES)
def test_pages_come_in_the_browsers_language(client: TestClient, address: str) -> None:
    german, english = client.get(address, headers=GERMAN).text, client.get(address, headers=PAGE).text
    assert '<html lang="de"' in german and "Alle Chats" in german
    assert '<html lang="en"' in english and "All chats" in english


def test_errors_come_in_it_too(client: TestClient) -> None:
    client.get("/new")
    page = client.post("/messages", data={"text": " "}, headers=GERMAN)
    assert "Die Nachricht ist leer." in page.text
    told = client.post("/messages", data={"text": "x" * 5_000}, headers=GERMAN | {"accept": "text/event-stream"})
    assert "5.000 Zeichen" in told.json()["error"]["message"]


def test_a_reply_that_fails_speaks_to_who_asked(client: TestClient, stub: object) -> None:
    client.get("/new")
    stub.stop()  # type: ignore[attr-defined]
    page = client.post("/messages", data={"text": "hallo"}, headers=GERMAN)
    assert "Der Chat-Dienst ist nicht da" in page.text and "Er ist gerade nicht erreichbar." in page.text
