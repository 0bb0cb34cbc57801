"""What a store is filled with is as much as was asked for, and hangs together."""

from collections import Counter
from itertools import chain

import pytest

from bench.population import GREEDY, GREEDY_SHARE, KEPT, LONG, Population, now
from frontend.models import owner_of
from frontend.session import user_session_id


def test_a_population_is_as_large_as_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.population._TEXTS", 100)
    population = Population(60_000)
    batches = list(population.rows(now()))
    conversations = list(chain.from_iterable(batch for batch, _ in batches))
    exchanges = list(chain.from_iterable(batch for _, batch in batches))
    assert abs(2 * len(exchanges) - population.messages) < 0.03 * population.messages
    assert len(conversations) == population.conversations == len({row[0] for row in conversations})
    sessions = Counter(row[1] for row in conversations)
    assert sessions[user_session_id(GREEDY)] == KEPT
    said = Counter(row[0] for row in exchanges)
    assert [said[row[0]] + 1 for row in conversations] == [row[-1] for row in conversations]
    assert said[conversations[-1][0]] == LONG and conversations[-1][1] == user_session_id(GREEDY)
    of_greedy = sum(row[1] == owner_of(user_session_id(GREEDY)) for row in exchanges)
    assert of_greedy >= GREEDY_SHARE * len(exchanges)
    assert [row[5] for row in conversations] == sorted(row[5] for row in conversations)
