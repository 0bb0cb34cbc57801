"""The settings classes: strict about names and ranges, frozen, explained."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serve_app.messages import Generation, Sampling
from serve_app.settings import AppArgs, ChatConfig, GroundingLimits, History


def test_defaults_are_godels() -> None:
    args = AppArgs()
    assert args.model == "microsoft/GODEL-v1_1-base-seq2seq"
    assert (args.max_prompt_tokens, args.fallback_model) == (512, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slots", 0),
        ("slots", 1025),
        ("threads", 0),
        ("max_prompt_tokens", 31),
        ("max_prompt_tokens", 4097),
        ("max_reply_tokens", 1),
        ("hub_timeout_s", 15.1),
        ("request_timeout_s", 0),
        ("max_body_bytes", 10),
        ("max_turn_chars", 0),
        ("max_dialog_chars", 0),
        ("max_knowledge_chars", -1),
        ("slot", 4),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        AppArgs.model_validate({name: value})
    assert refusal.value.errors()[0]["loc"] == (name,)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"instruction": ""}, ("instruction",)),
        ({"instruction": None}, ("instruction",)),
        ({"knowledge": ["a", "list"]}, ("knowledge",)),
        ({"knowledge": "half a pair: \ud83d"}, ("knowledge",)),
        ({"generation": {"top_p": 2}}, ("generation", "top_p")),
        ({"generation": {"phrases": [3]}}, ("generation", "phrases", 0)),
        ({"history": {"max_turns": 0}}, ("history", "max_turns")),
        ({"grounding": {"max_passages": -1}}, ("grounding", "max_passages")),
        ({"grounding": {"passage_words": 4}}, ("grounding", "passage_words")),
        ({"logging_level": "LOUD"}, ("logging_level",)),
        ({"greeting": "Hello"}, ("greeting",)),
    ],
)
def test_a_wrong_configuration_is_refused_with_the_fields_name(changed: dict[str, Any], field: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refusal:
        ChatConfig.model_validate({"instruction": "Answer.", "knowledge": ""} | changed)
    assert refusal.value.errors()[0]["loc"] == field


@pytest.mark.parametrize("missing", ["instruction", "knowledge"])
def test_instruction_and_knowledge_are_needed(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        ChatConfig.model_validate({"instruction": "Answer.", "knowledge": ""} | {missing: None})


@pytest.mark.parametrize("settings", [AppArgs, Generation, Sampling, History, GroundingLimits])
def test_settings_do_not_change(settings: type[BaseModel]) -> None:
    name = next(iter(settings.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings(), name, None)


@pytest.mark.parametrize("settings", [AppArgs, Generation, History, GroundingLimits, ChatConfig])
def test_every_setting_is_explained(settings: type[BaseModel]) -> None:
    """README's table is made of these."""
    nested = {"generation", "history", "grounding"}
    unexplained = {name for name, field in settings.model_fields.items() if not field.description}
    assert unexplained <= nested
