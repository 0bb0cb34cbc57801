"""The tokenizer: nothing of a text is lost, and a capital does not change a word's piece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from training.pieces import CAPITAL, CONTEXT, END, KNOWLEDGE, PAD, TURN_END, build_tokenizer

TEXTS = ["The bakery opens at seven.", "A pod is small, isn't it?", "HTTP and HTTPS are protocols."] * 12


def make_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(TEXTS, ["the", "of", "bakery", "weighs"], parts=120, words=30)


tokenizer = make_tokenizer()


def read_back(text: str) -> str:
    return str(tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True))


@pytest.mark.parametrize(
    "text",
    [
        "The Bakery opens at 7.30 (Sundays: noon).",
        "KubeRay's HTTP API costs €24.90",
        "Élan naïve Ångström",
        "Привет Москва 你好 🙂",
        "I am A. B.",
    ],
)
def test_a_text_survives(text: str) -> None:
    assert read_back(text) == text


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "S"]) | st.just(" ")))
def test_any_text_survives_but_for_white_space_and_unicodes_other_forms(text: str) -> None:
    import unicodedata

    whole = " ".join(unicodedata.normalize("NFC", text.replace(CAPITAL, "")).replace("▁", " ").split())
    assert " ".join(read_back(text.replace("▁", " ")).split()) == whole


def test_a_capital_is_a_mark_before_the_same_piece() -> None:
    assert tokenizer.tokenize("The bakery") == [CAPITAL, *tokenizer.tokenize("the bakery")]


def test_the_prompts_marks_are_one_piece_each() -> None:
    assert tokenizer.tokenize("[CONTEXT] EOS [KNOWLEDGE]") == [CONTEXT, TURN_END, KNOWLEDGE]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD, END)


def test_parts_of_a_prompt_are_cut_alike_alone_and_together() -> None:
    """serve_app.prompt counts a prompt's parts one by one."""
    parts = ["The bakery opens", "at 7.30.", "[KNOWLEDGE]", "Élan, HTTP"]
    whole = tokenizer.encode(" ".join(parts), add_special_tokens=False)
    assert whole == [token for part in parts for token in tokenizer.encode(part, add_special_tokens=False)]
