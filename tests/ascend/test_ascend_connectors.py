"""A profile on a node with one of vllm-ascend's connectors asks the workers to transfer nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ascend.cases import PLUGIN
from tests.ascend.connector_facts import CONNECTORS, PASSES, SERVED, STORE, case_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ascend.releases import Pair

Facts = dict[str, Any]

# Those that go through a step's preempted requests, or have one inside that does.
_GOING_THROUGH = (STORE, "MooncakeConnectorStoreV1", "MultiConnector")


@pytest.fixture(scope="session")
def connectors(facts_of: Callable[[str, str], Facts], pair: Pair) -> Facts:
    """What each connector of the release did, by its name and role."""
    facts: Facts = facts_of("scheduler", PLUGIN)["connectors"]
    assert list(facts) == [case_name(name, role) for name, role, _ in CONNECTORS[pair.ascend]]
    return facts


def of_all(connectors: Facts, name: str) -> Facts:
    return {case: facts[name] for case, facts in connectors.items()}


def same(connectors: Facts, expected: Any) -> Facts:
    return {case: expected for case in connectors}  # noqa: C420 (it is only compared)


def test_the_connectors_are_theirs(connectors: Facts) -> None:
    classes = of_all(connectors, "connector")
    assert all(name.startswith("vllm_ascend.distributed.") for name in classes.values()), classes


def test_a_profile_asks_for_no_transfer(connectors: Facts) -> None:
    # Every pass and the empty step after them.
    steps = [*(num_tokens for num_tokens, _ in PASSES), 0]
    assert of_all(connectors, "passes") == same(connectors, [list(one) for one in PASSES])
    assert of_all(connectors, "steps") == same(connectors, steps)
    assert of_all(connectors, "asked") == same(connectors, [{}] * len(steps))
    # Which is not the same as being told nothing: workers want metadata with each step.
    assert all(
        len(kinds) == len(steps) and "NoneType" not in kinds
        for kinds in of_all(connectors, "metadata").values()
    )


def test_a_profile_leaves_the_connector_as_it_was(connectors: Facts) -> None:
    assert of_all(connectors, "calls") == same(connectors, ["build_connector_meta"])
    assert all(of_all(connectors, "is_back").values())
    assert of_all(connectors, "requests_left") == same(connectors, 0)


def test_some_connectors_want_the_preempted_requests(connectors: Facts) -> None:
    """Which vLLM's own empty step does not name."""
    assert of_all(connectors, "without_preempted") == {
        case: "TypeError: 'NoneType' object is not iterable"
        if case.startswith(_GOING_THROUGH)
        else None
        for case in connectors
    }


def test_a_request_after_it_is_told_of(connectors: Facts) -> None:
    """So what is empty in a profile is not empty for want of looking."""
    asked = {name: connectors[case_name(name, role)]["serving"] for name, role in SERVED}
    mooncake, store = {"reqs_in_batch"}, {"requests", "unfinished_request_ids"}
    assert asked["MooncakeConnectorV1"].keys() == mooncake
    assert asked[STORE].keys() == store
    assert asked["MultiConnector"].keys() == {
        *(f"metadata.0.{name}" for name in mooncake),
        *(f"metadata.1.{name}" for name in store),
    }
