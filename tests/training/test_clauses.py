"""Plain clauses are parsed; what is not plain is left out."""

import pytest

from tests.training.lexicon import SmallLexicon
from training.clauses import Clause, clauses

LEXICON = SmallLexicon()


@pytest.mark.parametrize(
    ("sentence", "clause"),
    [
        ("The mill was built in 1794.", Clause("The mill", "was", "built", "in 1794")),
        ("The old mill is usually closed.", Clause("The old mill", "is", "closed", "")),
        ("In 1794, the mill was built.", Clause("the mill", "was", "built", "", lead="in 1794")),
        ("In 1956 he moved to Leeds.", Clause("he", "", "moved", "to Leeds", lead="in 1956")),
        ("It weighs two kilograms.", Clause("It", "", "weighs", "two kilograms")),
        ("The lid can be removed.", Clause("The lid", "can", "be", "removed")),
        ("Dogs are not allowed.", Clause("Dogs", "are", "allowed", "", negated=True)),
        ("It does not open.", Clause("It", "does", "open", "", negated=True)),
        ("The mill, a museum today, is old.", Clause("The mill", "is", "", "old")),
        ("The mill is old, which everybody knows.", Clause("The mill", "is", "", "old")),
        ("The mill has been closed since 1990.", Clause("The mill", "has", "been closed", "since 1990")),
        ("However, the mill was closed.", Clause("the mill", "was", "closed", "")),
    ],
)
def test_a_clause(sentence: str, clause: Clause) -> None:
    assert clauses(sentence, "Mill", LEXICON) == [clause]


def test_verbs_behind_and_share_the_subject() -> None:
    first, second = clauses("The mill was built in 1794 and is closed today.", "Mill", LEXICON)
    assert (first.verb, first.rest) == ("built", "in 1794")
    assert (second.subject, second.verb, second.rest) == ("The mill", "closed", "today")


def test_a_participle_behind_and_goes_on_with_the_auxiliary_only_where_that_is_sure() -> None:
    assert [clause.verb for clause in clauses("It was built by men and painted by women.", "", LEXICON)] == [
        "built",
        "painted",
    ]
    assert [clause.verb for clause in clauses("She was born in Leeds and moved to Italy.", "", LEXICON)] == ["born"]
    assert [clause.verb for clause in clauses("It is closed on Monday and opens at nine.", "", LEXICON)] == [
        "closed",
        "opens",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "If it rains, the mill is closed.",
        "Which of the mills was built first is not known.",
        "What the old miller of the village thought was right.",
        "Closed since 1990.",
        "",
    ],
)
def test_no_clause_where_the_subject_is_not_plain(sentence: str) -> None:
    assert clauses(sentence, "Mill", LEXICON) == []


def test_a_title_of_many_words_is_a_subject() -> None:
    title = "Treaty on the Use and Loss of Very Old Mills"
    (clause,) = clauses(f"The {title} was written in 1912.", title, LEXICON)
    assert clause.subject == f"The {title}"
