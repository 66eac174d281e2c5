"""Whose version runs after vLLM has checked a configuration again, copied it, or forked with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ascend.cases import IN_TREE
from tests.ascend.repeat_facts import WAYS
from tests.ascend.test_ascend_takeover import (
    assert_in_tree_is_in,
    assert_in_tree_is_out,
    assert_ours,
    tagged,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Facts = dict[str, Any]

FORKED = "forked"
# Copies that are whole: the settings that were taken over go along.
WHOLE = [FORKED, "checked again", "copied"]


@pytest.mark.parametrize("way", [FORKED, *WAYS])
def test_in_tree_is_handed_back_once_and_for_all(
    front_end: Callable[[str], Facts], way: str
) -> None:
    facts = front_end(IN_TREE)["repeated"][way]
    assert "error" not in facts, facts
    assert_in_tree_is_in(facts)
    for derived in (facts["derived"], facts["derived_from_original"]):
        assert derived["settings"] is None
        assert derived["mro"] == facts["chosen_mro"]
    # It has been said; and we do not claim to have taken it.
    assert tagged(facts) == []


@pytest.mark.parametrize("way", [FORKED, *WAYS])
def test_what_was_taken_over_stays_taken(ours: Facts, way: str) -> None:
    facts = ours["repeated"][way]
    assert "error" not in facts, facts
    assert_in_tree_is_out(facts)
    assert not facts["in_tree_enabled"] and not facts["in_tree_need_timing"]
    assert facts["derived_from_original"]["settings"]["enabled"]
    assert tagged(facts) == []


@pytest.mark.parametrize("way", WHOLE)
def test_ours_runs_with_a_whole_copy(ours: Facts, way: str) -> None:
    assert_ours(ours["repeated"][way])
