"""Law 6: a bad configuration never replaces a good one, and every mistake is said in full."""

import os
import re
import threading
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app import chat_config
from serve_app.chat_config import ConfigFile, VersionedConfig, load
from serve_app.errors import ConfigError

GOOD = {"instruction": "Answer.", "knowledge": "A pod is small.", "generation": {"max_length": 64}}
SECRET = "The vault opens at noon, and its code is 4711."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "chatbot.yaml", GOOD)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in chat_config.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def written(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def edit(path: Path, text: str) -> None:
    """Change a file so that its fingerprint differs, however coarse the file system's clock is."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before + 1, before + 1))


# --- loading --------------------------------------------------------------------------------------------------------


def test_the_shipped_configuration_is_good() -> None:
    config = load(Path("configs/chatbot.yaml"), environment={}).config
    assert config.generation.do_sample is False
    assert "Kubernetes" in config.knowledge
    assert config.grounding.max_passages > 0
    assert config.generation.quote is None
    assert any(phrase.reply.startswith("I don't know.") for phrase in config.generation.phrases)


def test_what_is_left_out_has_a_default(path: Path) -> None:
    config = load(path, environment={}).config
    assert (config.generation.max_length, config.generation.top_p) == (64, 0.9)
    assert (config.history.max_turns, config.logging_level) == (10, "INFO")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the file is empty; it needs at least `instruction` and `knowledge`"),
        ("# only a comment\n", "the file is empty"),
        ("- a\n- b\n", "expected keys and values at the top level, found list"),
        ("Hello", "expected keys and values at the top level, found str"),
        ("instruction: 'Answer.\nknowledge: x", "cannot be read as YAML: line 2, column 13"),
        ("instruction: [Answer", "cannot be read as YAML: line 1"),
        ("instruction:\tAnswer.\n\tknowledge: x", "cannot be read as YAML: line"),
        ("instruction: !!python/object/apply:os.system [ls]\nknowledge: x", "cannot be read as YAML: line 1"),
        (
            "knowledge: x\ninstruction: 2024-13-45",
            "cannot be read as YAML: line 2, column 14: this is no timestamp; if it is text, put it in quotes",
        ),
        ("instruction: A\nknowledge: !!int many", "cannot be read as YAML: line 2, column 12: this is no int"),
        ("instruction: A\nknowledge: !!bool x", "cannot be read as YAML: line 2, column 12: this is no bool"),
        ("instruction: A\nknowledge: *x", "cannot be read as YAML: line 2, column 12: found undefined alias"),
        ("instruction: 2024-12-13\nknowledge: x", "instruction: Input should be a valid string, not '2024-12-13'"),
        ("instruction: A\nknowledge: 0x" + "f" * 5000, "knowledge: Input should be a valid string$"),
        ('instruction: A\nknowledge: x\n"\\ud800": y', "a name: Input should be a valid string"),
        (
            "instruction: A\nknowledge:\nOpening hours: 9 to 5",
            "knowledge: .*; .*\\(a name of 13 characters\\): there is no",
        ),
        ("instruction: " + "[" * 5000, "cannot be read as YAML: maximum recursion depth"),
        ("instruction: A\0B", "cannot be read as YAML: unacceptable character"),
        ("instruction: Answer.", "knowledge: Field required"),
        ("instruction: Answer.\nknowledge: 5", "knowledge: Input should be a valid string$"),
        ("instruction: ''\nknowledge: x", "instruction: String should have at least 1 character, not ''"),
        ("instruction: A\nknowledge: x\n1: y", "1: "),
        ('instruction: "\\ud83d"\nknowledge: x', "instruction: Input should be a valid string, unable to parse"),
        ('instruction: A\nknowledge: "\\udc00"', "knowledge: holds half of a surrogate pair"),
        ("instruction: A\nknowledge: x\ngeneration:", "generation: Input should be a valid dictionary"),
        ("instruction: A\nknowledge: x\ngreeting: Hi", "greeting: there is no such setting; remove it, or correct its"),
        (
            "instruction: A\nknowledge: x\ngeneration: {top_p: 2}",
            "generation.top_p: Input should be less than or equal to 1, not '2'",
        ),
        ("instruction: A\nknowledge: x\ngeneration: {top_p: .nan}", "generation.top_p: .*not 'nan'"),
        (
            "instruction: A\nknowledge: x\ngeneration: {min_length: 9, max_length: 8}",
            r"generation: min_length \(9\) must not exceed max_length \(8\)",
        ),
        ("instruction: A\nknowledge: x\ngeneration: {beams: 4}", "generation.beams: there is no such setting"),
        (
            "instruction: A\nknowledge: x\nhistory: {max_turns: no}",
            "history.max_turns: Input should be greater than or equal to 1, not 'False'",
        ),
        ("instruction: A\nknowledge: x\nlogging_level: LOUD", "logging_level: Input should be 'DEBUG'.*not 'LOUD'"),
    ],
)
def test_a_bad_file_is_refused_with_file_field_value_and_remedy(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "chatbot.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: {complaint}"):
        load(path, environment={})


def test_every_mistake_is_named(path: Path) -> None:
    written(path, GOOD | {"generation": {"top_p": 2, "top_k": -1}, "greeting": "Hi"})
    with pytest.raises(ConfigError) as refusal:
        load(path, environment={})
    for field in ("generation.top_p", "generation.top_k", "greeting"):
        assert f"{path}: {field}: " in str(refusal.value)


def test_a_file_that_is_not_utf8_is_refused(path: Path) -> None:
    path.write_bytes("instruction: Schön\nknowledge: x".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read as YAML: 'utf-8' codec"):
        load(path, environment={})


def test_a_missing_file_is_refused_with_the_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nowhere.yaml: there is no such file; set `chat_config` in serve_config.yaml"
    ):
        load(tmp_path / "nowhere.yaml", environment={})


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, environment={})


@pytest.mark.parametrize(
    "text",
    [
        f"instruction: A\nknowledge: '{SECRET}\nhistory: x",  # a quote that is never closed
        f"instruction: A\nknowledge: {SECRET}\n  : : bad\n",
        f"instruction: A\nknowledge: x\nknowlege: {SECRET}",  # a misspelled name
        f"instruction: A\nknowledge: [{SECRET}]",
        f"instruction: A\nknowledge: {{text: '{SECRET}'}}",
        f"instruction: A\nknowledge: {SECRET}\ngeneration: {{top_p: 2}}",
        f'instruction: A\nknowledge: "\\udc00 {SECRET}"',
        f"instruction: A\nknowledge: !!set {{'{SECRET}'}}",
        f"instruction: A\nknowledge: !!omap [a: '{SECRET}']",
        f"instruction: A\nknowledge: !!int '{SECRET}'",
        f"instruction: A\nknowledge: !!float '{SECRET}'",
        f"instruction: A\nknowledge: !!bool '{SECRET}'",
        f"instruction: A\nknowledge: !!timestamp '{SECRET}'",
        f"instruction: A\nknowledge: !!binary '{SECRET}'",
        f"instruction: A\nknowledge: !!python/name:{SECRET.split()[1]} x",
        f"instruction: A\nknowledge: *{SECRET.split()[1]}",
        f"instruction: A\nknowledge: !{SECRET.split()[1]} x",
        f"instruction: A\nknowledge: !{SECRET.split()[1]}! x",
        f"instruction: A\nknowledge: |\n  The code:\n{SECRET[:-1]}: none",  # a line that is not indented
        f"instruction: A\nknowledge: 'x'\n? [{SECRET}]\n: y",
        f"instruction: A\nknowledge: &vault 'x'\nhistory: &vault '{SECRET}",
        f"{{instruction: A, knowledge: {{'{SECRET}': {{'{SECRET}': 1}}}}}}",
    ],
)
def test_an_error_does_not_quote_the_knowledge(tmp_path: Path, text: str) -> None:
    path = tmp_path / "chatbot.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        load(path, environment={})
    assert "vault" not in str(refusal.value)
    assert "4711" not in str(refusal.value)


NAMES = "instruction knowledge generation history grounding logging_level phrases top_p max_turns seed"
MARKS = ": , - ? | > & * ! % @ ` ' \" # { } [ ] << = ~ &a *a --- ... %YAML %TAG"
TAGS = "!!int !!float !!bool !!set !!omap !!pairs !!binary !!timestamp !!null !!map !!seq !!str !!merge !!value !x !!"
LITERALS = "null yes no .nan .inf -0 0x 0b1 1_0 1:30 1e9 2024-12-13 2024-13-45 \\ud800 \\x \\N"
ODD = [" ", "\n", "\n  ", "\n\t", ": ", "- ", "\0", "\x85", "\u2028", "\ufeff", "9" * 5000, "0x" + "f" * 5000, SECRET]
FRAGMENTS = st.sampled_from(" ".join((NAMES, MARKS, TAGS, LITERALS)).split() + ODD)
FILES = (
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.lists(FRAGMENTS, max_size=20).map(lambda parts: "".join(parts).encode())
    | st.lists(FRAGMENTS, max_size=12).map(lambda parts: f"instruction: A\nknowledge: {' '.join(parts)}".encode())
)


@settings(max_examples=400)
@given(FILES)
def test_any_bytes_are_a_configuration_or_a_config_error_that_can_be_sent(content: bytes) -> None:
    with NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            load(Path(file.name), environment={})
        except ConfigError as error:
            str(error).encode()
            assert len(str(error)) < 2000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just(SECRET), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES.filter(lambda value: not isinstance(value, str)))
def test_whatever_the_knowledge_is_an_error_quotes_nothing_of_it(value: Any) -> None:
    with NamedTemporaryFile("w") as file:
        yaml.safe_dump({"instruction": "A", "knowledge": value}, file)
        file.flush()
        with pytest.raises(ConfigError) as refusal:
            load(Path(file.name), environment={})
    assert str(refusal.value).endswith("knowledge: Input should be a valid string")


# --- the workshop application's environment names --------------------------------------------------------------------


def test_the_environment_wins_over_the_file(path: Path) -> None:
    environment = {
        "INSTRUCTION": "Be kind.",
        "KNOWLEDGE": "Ray is fast.",
        "MAX_LENGTH": "99",
        "MIN_LENGTH": "8",
        "TOP_P": "0.5",
        "DO_SAMPLE": "True",
        "LOGGING_LEVEL": "debug",
        "PATH": "/bin",
    }
    config = load(path, environment).config
    assert (config.instruction, config.knowledge, config.logging_level) == ("Be kind.", "Ray is fast.", "DEBUG")
    generation = config.generation
    assert (generation.max_length, generation.min_length, generation.top_p, generation.do_sample) == (99, 8, 0.5, True)


def test_the_environment_fills_what_the_file_leaves_out(path: Path) -> None:
    written(path, {"instruction": "Answer."})
    config = load(path, {"KNOWLEDGE": "", "DO_SAMPLE": "false"}).config
    assert (config.knowledge, config.generation.do_sample) == ("", False)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("INSTRUCTION", "", "instruction"),
        ("KNOWLEDGE", "latin-1 bytes: \udce9", "knowledge"),  # how Python reads such an environment
        ("MAX_LENGTH", "many", "generation.max_length"),
        ("MIN_LENGTH", "-1", "generation.min_length"),
        ("TOP_P", "2", "generation.top_p"),
        ("DO_SAMPLE", "perhaps", "generation.do_sample"),
        ("LOGGING_LEVEL", "LOUD", "logging_level"),
    ],
)
def test_a_wrong_environment_value_names_the_variable(path: Path, name: str, value: str, field: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(path, {name: value})
    assert str(refusal.value).startswith(f"environment variable {name}: {field}: ")
    assert (repr(value) in str(refusal.value)) == (name != "KNOWLEDGE")


def test_a_variable_that_does_not_fit_the_file_is_named_with_it(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"chatbot.yaml with environment variable MIN_LENGTH: generation: min_length"):
        load(path, {"MIN_LENGTH": "65"})


def test_the_environment_does_not_hide_a_section_of_the_wrong_type(path: Path) -> None:
    written(path, GOOD | {"generation": "fast"})
    with pytest.raises(ConfigError, match="generation: Input should be a valid dictionary"):
        load(path, {"MAX_LENGTH": "9"})


# --- versions -------------------------------------------------------------------------------------------------------


def test_equal_content_has_an_equal_version(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("# another file, order and spelling\n" + yaml.safe_dump(dict(reversed(GOOD.items()))))
    assert load(path, {}).version == load(other, {}).version


def test_any_change_of_content_changes_the_version(path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"instruction": "Answer!"},
        {"knowledge": "A pod is big."},
        {"generation": {"max_length": 65}},
        {"history": {"max_turns": 3}},
        {"grounding": {"max_passages": 1}},
        {"logging_level": "DEBUG"},
    ]
    versions = {load(written(path, GOOD | change), {}).version for change in [{}, *changes]}
    assert len(versions) == len(changes) + 1
    assert load(written(path, GOOD), {"MAX_LENGTH": "65"}).version in versions


# --- while running --------------------------------------------------------------------------------------------------


def test_a_good_edit_is_taken(path: Path) -> None:
    file = ConfigFile(path, 256)
    before = file.refresh()
    edit(path, yaml.safe_dump(GOOD | {"instruction": "Be brief."}))
    after = file.refresh()
    assert after.config.instruction == "Be brief."
    assert after.version != before.version
    assert file.error is None


@pytest.mark.parametrize(
    "bad", ["", "- a list", "instruction: A", "[" * 5000, "instruction: 2024-13-45", 'instruction: "\\ud83d"']
)
def test_a_bad_edit_changes_nothing_and_its_error_stays_until_a_good_one(path: Path, bad: str) -> None:
    file = ConfigFile(path, 256)
    before = file.current
    edit(path, bad)
    for _ in range(2):
        assert file.refresh() is before
        assert str(path) in str(file.error)
    edit(path, yaml.safe_dump(GOOD))
    assert file.refresh() == before
    assert file.error is None


def test_a_start_needs_a_good_configuration(path: Path) -> None:
    path.write_text("")
    with pytest.raises(ConfigError):
        ConfigFile(path, 256)


def test_a_removed_file_changes_nothing_until_it_is_back(path: Path) -> None:
    file = ConfigFile(path, 256)
    before = file.current
    path.unlink()
    assert file.refresh() is before
    assert "there is no such file" in str(file.error)
    edit(path, yaml.safe_dump(GOOD | {"knowledge": "New."}))
    assert file.refresh().config.knowledge == "New."
    assert file.error is None


def test_kubernetes_swap_of_the_data_link_is_noticed(tmp_path: Path) -> None:
    """A mounted ConfigMap is chatbot.yaml -> ..data/chatbot.yaml, ..data -> a folder; an update renames ..data."""
    for name, knowledge in (("..1", "Old."), ("..2", "New.")):
        (tmp_path / name).mkdir()
        file_ = written(tmp_path / name / "chatbot.yaml", GOOD | {"knowledge": knowledge})
        os.utime(file_, ns=(1, 1))  # same size and same time: only the inode tells
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "chatbot.yaml").symlink_to("..data/chatbot.yaml")
    file = ConfigFile(tmp_path / "chatbot.yaml", 256)
    assert file.refresh().config.knowledge == "Old."
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert file.refresh().config.knowledge == "New."


def test_an_unchanged_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ConfigFile(path, 256)
    reads: list[Path] = []

    def counted(path: Path) -> VersionedConfig:
        reads.append(path)
        return load(path)

    monkeypatch.setattr(chat_config, "load", counted)
    for _ in range(3):
        file.refresh()
    assert reads == []
    edit(path, "bad")
    for _ in range(3):
        file.refresh()
    assert reads == [path], "a bad file is read once too"


def test_a_slow_reader_of_an_old_version_does_not_put_it_over_a_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and /health each looked for edits. The old one stayed, as the new one had been seen."""
    file = ConfigFile(path, 256)
    reading, overtaken = threading.Event(), threading.Event()

    def slow_at_first(path: Path) -> VersionedConfig:
        loaded = load(path)
        if loaded.config.knowledge == "Second.":
            reading.set()
            overtaken.wait(0.5)
        else:
            overtaken.set()
        return loaded

    monkeypatch.setattr(chat_config, "load", slow_at_first)
    edit(path, yaml.safe_dump(GOOD | {"knowledge": "Second."}))
    slow = threading.Thread(target=file.refresh)
    slow.start()
    assert reading.wait(10)
    edit(path, yaml.safe_dump(GOOD | {"knowledge": "Third."}))
    assert file.refresh().config.knowledge == "Third."
    slow.join(10)
    assert file.refresh().config.knowledge == "Third."


def test_of_many_edits_in_quick_succession_each_reader_sees_good_ones_in_their_order(path: Path) -> None:
    """Replaced two hundred times, every third time by garbage, a torn file or none, while several read."""
    good = [yaml.safe_dump(GOOD | {"knowledge": f"{edit:03}."}) for edit in range(200)]
    path.write_text(good[0])
    file = ConfigFile(path, 256)
    over = threading.Event()
    seen: list[list[str]] = [[] for _ in range(4)]

    def read(knowledge: list[str]) -> None:
        while not over.is_set():
            knowledge.append(file.refresh().config.knowledge)

    readers = [threading.Thread(target=read, args=(knowledge,)) for knowledge in seen]
    for reader in readers:
        reader.start()
    for number, text in enumerate(good):
        bad = (None, "\x00{", text[: text.index(":")], None)[number % 4] if number % 3 == 0 else text
        if bad is None:
            path.unlink(missing_ok=True)
        else:
            edit(path, bad)
    edit(path, good[-1])
    over.set()
    for reader in readers:
        reader.join(30)
    assert file.refresh().config.knowledge == "199."
    assert file.error is None
    for knowledge in seen:
        assert knowledge == sorted(knowledge)


def test_a_length_that_no_slot_holds_is_refused_with_both_settings_named(path: Path) -> None:
    written(path, GOOD | {"generation": {"max_length": 257}})
    with pytest.raises(ConfigError, match="max_length: 257 .*max_reply_tokens"):
        ConfigFile(path, 256)
