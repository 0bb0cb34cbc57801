"""Token ids become the reply's text."""

from transformers import PreTrainedTokenizerBase

from serve_app.quotes import Quotes


class GrowingText:
    """Token ids -> text that only grows: a character whose bytes have not all arrived waits."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.token_ids: list[int] = []
        self._shown = ""

    @property
    def whole(self) -> str:
        return str(self._tokenizer.decode(self.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def grow(self, token_ids: list[int], *, is_last: bool) -> str:
        self.token_ids += token_ids
        text = self.whole.lstrip()
        may_change = text.endswith("\N{REPLACEMENT CHARACTER}") and not is_last
        if may_change or not text.startswith(self._shown):
            return ""
        piece = text[len(self._shown) :]
        self._shown = text
        return piece


class QuotedText:
    """Token ids -> the text that they were made of; they come all at once."""

    def __init__(self, quotes: Quotes) -> None:
        self._quotes = quotes
        self.token_ids: list[int] = []

    @property
    def whole(self) -> str:
        return self._quotes.texts[tuple(self.token_ids)]

    def grow(self, token_ids: list[int], *, is_last: bool) -> str:
        self.token_ids += token_ids
        return self._quotes.texts.get(tuple(self.token_ids), "")
