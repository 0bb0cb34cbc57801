"""How long reading a text and ranking its passages take: `python -m bench.ranking`."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from serve_app.grounding import READ, KnowledgeBase
from serve_app.sentence_encoder import sentence_encoder
from serve_app.words import word_vectors
from training.questions import load

QUESTION = ["How long does the crossing to the island take in winter?"]
DIALOG = [
    "Where do the ferries leave?",
    "Ferries leave from the northern pier.",
    "And how long do they take to get there?",
]
PASSAGE_WORDS = 40
ROUNDS = 30


def median_ms(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1000

    work()
    return statistics.median(once() for _ in range(rounds))


def main() -> None:
    say = sys.stdout.write
    start = time.perf_counter()
    word_vectors()
    sentence_encoder()
    say(f"loading word vectors and encoder: {(time.perf_counter() - start) * 1000:.0f} ms, once\n")
    words = " ".join(text.text or "" for text in load(Path("training/questions/development"))).split()
    short = " ".join(words[:2000])
    say(f"reading a text of 2,000 words: {median_ms(lambda: KnowledgeBase(short, PASSAGE_WORDS)):.1f} ms\n")
    base = KnowledgeBase(short, PASSAGE_WORDS)
    start = time.perf_counter()
    base.rank(QUESTION, 12)
    first_ms = (time.perf_counter() - start) * 1000
    say(f"ranking its passages for the first time, {READ} sentences read: {first_ms:.0f} ms\n")
    say(f"ranking its {len(base.passages)} passages: {median_ms(lambda: base.rank(QUESTION, 12)):.2f} ms\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Each repetition has words of its own, as a long text would.
    copies = (" ".join(f"{word}{copy}" if i % 7 == 0 else word for i, word in enumerate(words)) for copy in range(30))
    long = "\n\n".join(copies)
    large = KnowledgeBase(long, PASSAGE_WORDS)
    share = 2000 / len(large.passages)
    large = KnowledgeBase(" ".join(long.split()[: int(len(long.split()) * share)]), PASSAGE_WORDS)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for name, dialog in (("a question", QUESTION), ("a follow-up", DIALOG)):
        took = median_ms(lambda dialog=dialog: large.rank(dialog, 12))  # type: ignore[misc]
        say(f"ranking {len(large.passages)} passages for {name}: {took:.2f} ms\n")
    say(f"memory: {grown:.0f} MB at most while reading them\n")


if __name__ == "__main__":
    main()
