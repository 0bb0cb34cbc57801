"""Made-up everyday texts (a hotel's page, a manual, a life) with questions that one sentence answers, or none.

A reader that learns from them meets many attributes in many wordings, seldom the same words in question and answer.
What can be said and asked is data (`data/*.txt`, its form in `templates`); drawing it is code:

    values -> catalogue -> writing (what is said) -> asking (what is asked)
"""

from random import Random

from training.everyday.asking import ask
from training.everyday.text import Question, Text
from training.everyday.writing import write

__all__ = ["Question", "Text", "sample"]


def sample(random: Random) -> Text:
    """A text of 4 to 14 sentences with 6 or more questions; the same for the same state of `random`."""
    draft = write(random)
    questions = tuple(asked.question for asked in ask(draft))
    subject = draft.subjects[0]
    values = subject.values | {"name": subject.name.it, "year": str(subject.values.year)}
    title = random.choice(draft.kind.titles).format_map(values)
    return Text(title[0].upper() + title[1:], tuple(draft.sentences), questions)
