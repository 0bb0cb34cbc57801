"""A reply's origin: what is told is kept, what is wrong is as good as not told, and nothing is an error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.origin import Origin
from tests.support.stub_backend import Answer

CITATION = {"start": 0, "end": 15, "passage": "p1", "passage_start": 0, "passage_end": 15}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


def test_what_the_backend_tells_is_stored_and_read_again() -> None:
    told = Answer().reply() | {"origins": [{"replica_id": "a", "podName": "p", "node_id": "n", "nodeName": "x"}]}
    origin = Origin.model_validate(told)
    assert (origin.replica_id, origin.pod_name, origin.node) == (told["replica_id"], "godel-worker-0", "node-a")
    assert (origin.usage.completion_tokens, origin.timing_ms["total"], origin.grounded) == (11, 1234.5, 0.6667)
    assert origin.grounding.passages[0].score == 4.25
    assert Origin.stored(origin.to_store()) == origin
    kept = origin.to_store()
    assert {name: told[name] for name in kept if name != "grounding"} == {
        name: value for name, value in kept.items() if name != "grounding"
    }


def test_one_wrong_word_costs_that_word_alone() -> None:
    told = {"replica_id": 5, "model": "mini", "usage": {"prompt_tokens": "many", "completion_tokens": 3}}
    origin = Origin.model_validate(told)
    assert (origin.replica_id, origin.model) == ("", "mini")
    assert (origin.usage.prompt_tokens, origin.usage.completion_tokens) == (None, 3)


@pytest.mark.parametrize("citations", [None, "x", 1, {}, CITATION, [None], [[]], ["x"], [{}], [{"start": 0}]])
def test_what_is_no_list_of_citations_is_none(citations: Any) -> None:
    assert Origin.model_validate({"citations": citations}).citations == ()


def test_a_wrong_member_of_a_list_leaves_the_others() -> None:
    told = {"citations": [CITATION, None, CITATION | {"end": "15"}], "origins": [None, {"replica_id": "a"}, 7]}
    origin = Origin.model_validate(told)
    assert [each.model_dump() for each in origin.citations] == [CITATION]
    assert [each.replica_id for each in origin.origins] == ["a"]


@given(st.dictionaries(st.sampled_from(sorted(Answer().reply()) + ["origins", "seed", "asked_again"]), JSON))
def test_any_object_is_an_origin(told: dict[str, Any]) -> None:
    origin = Origin.model_validate(told)
    assert Origin.stored(origin.to_store()) == origin
