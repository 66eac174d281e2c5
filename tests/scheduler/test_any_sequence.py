"""Any sequence of what an engine core does to its scheduler: what holds after each of them.

`make test` tries a few dozen sequences, always the same; 10,000 others, an hour or two of one core:
CPP_CHUNK_SEQUENCES=many-sequences pytest tests/scheduler/test_any_sequence.py
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.scheduler.engine import TRUTH, Engine, Shape, StuckError, assert_as_fresh

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROFILE = os.environ.get("CPP_CHUNK_SEQUENCES", "sequences")
ENCODER_CACHE_TOKENS = 2048
# Steps in a row in which vLLM would have served a prompt and our answer was no, to it and to all
# before it: one of them may have been filled by what vLLM then found no place for, for each step in
# flight. While one before it is served, as vLLM would, what is left of a step may go to one behind
# it of less history, of which a block still fits: that takes nothing from it.
MAX_STARVED_STEPS = 3
# Far more than what a sequence can ask for takes with the smallest chunks.
MAX_TURNS = 20_000

shapes = st.builds(
    Shape,
    policy=st.sampled_from(["fcfs", "priority"]),
    num_blocks=st.sampled_from([256, 1024]),
    num_drafts=st.sampled_from([0, 3]),
    num_accepted=st.integers(0, 3),
    is_async=st.booleans(),
    long_prefill_token_threshold=st.sampled_from([0, 512]),
    encoder_cache_tokens=st.just(ENCODER_CACHE_TOKENS),
    stages=st.sampled_from([(TRUTH, TRUTH), (TRUTH,) * 4]),
    steps_in_flight=st.integers(1, 4),
    settings=st.sampled_from([(), (("max_step_ms", 25.0),), (("target", 40.0),)]),
)


class AnySequence(RuleBasedStateMachine):
    """An engine with our mixin, and what was done to it, to be done to vLLM alone as well."""

    model: ClassVar[Path]
    num_measured: ClassVar[int] = 0
    num_lone_prompts: ClassVar[int] = 0
    engine: Engine | None = None

    @initialize(shape=shapes)
    def start(self, shape: Shape) -> None:
        self.engine = Engine(self.model, shape)
        self.operations: list[Callable[[Engine], None]] = []
        self.is_trusted = True
        self.num_asked_steps = 0
        self.num_starved: dict[str, int] = {}

    def do(self, operation: Callable[[Engine], None]) -> None:
        assert self.engine is not None
        self.operations.append(operation)
        operation(self.engine)

    # ------------------------------------------------------------ what may happen

    @rule(
        share=st.floats(0.001, 1.0),
        max_tokens=st.integers(1, 20),
        priority=st.integers(0, 2),
        prefix=st.sampled_from([(0, 0), (1, 200), (1, 1000), (2, 2500)]),
    )
    def add(self, share: float, max_tokens: int, priority: int, prefix: tuple[int, int]) -> None:
        num_tokens = max(1, int(share * self.longest_prompt))
        self.do(
            lambda engine: engine.add(
                num_tokens, max_tokens=max_tokens, priority=priority, prefix=prefix
            )
        )

    @rule(
        text=st.integers(0, 1200),
        image=st.integers(1, ENCODER_CACHE_TOKENS),
        rest=st.integers(1, 400),
        priority=st.integers(0, 2),
    )
    def add_with_image(self, text: int, image: int, rest: int, priority: int) -> None:
        num_tokens = min(text + image + rest, self.longest_prompt)
        offset = num_tokens - image - rest if num_tokens > image + rest else 0
        image = min(image, num_tokens - offset)
        self.do(lambda engine: engine.add(num_tokens, images=[(offset, image)], priority=priority))

    @rule(share=st.floats(0.001, 1.0))
    def add_that_waits_for_a_grammar(self, share: float) -> None:
        num_tokens = max(1, int(share * self.longest_prompt))
        self.do(lambda engine: engine.add(num_tokens, waits_for_grammar=True))

    @precondition(lambda self: self.engine.scheduler.requests)
    @rule(data=st.data())
    def abort(self, data: Any) -> None:
        assert self.engine is not None
        present = st.sampled_from(sorted(self.engine.scheduler.requests))
        names = data.draw(st.lists(present, min_size=1, unique=True))
        self.do(lambda engine: engine.abort(names))

    @precondition(lambda self: len(self.engine.in_flight) < self.engine.depth)
    @rule()
    def schedule(self) -> None:
        self.do(Engine.schedule)

    @precondition(lambda self: self.engine.in_flight)
    @rule()
    def process(self) -> None:
        self.do(lambda engine: engine.process() if engine.in_flight else None)

    @rule(num_turns=st.integers(1, 8))
    def turns(self, num_turns: int) -> None:
        for _ in range(num_turns):
            self.do(Engine.turn)
            self.nobody_starves()

    @rule()
    def reset_prefix_cache(self) -> None:
        self.do(lambda engine: engine.scheduler.reset_prefix_cache(reset_running_requests=True))

    @rule(is_trusted=st.booleans())
    def guard(self, *, is_trusted: bool) -> None:
        assert self.engine is not None and self.engine.planner is not None
        self.is_trusted = is_trusted
        self.engine.planner.trust(trusted=is_trusted)

    @precondition(lambda self: self.is_trusted and not self.engine.has_work)
    @rule(num_tokens=st.sampled_from([300, 3000]))
    def a_lone_prompt(self, num_tokens: int) -> None:
        assert self.engine is not None
        assert_as_fresh(self.engine, num_tokens)

    @property
    def longest_prompt(self) -> int:
        assert self.engine is not None
        # With its answer it has the KV blocks for itself; engines refuse longer ones.
        shape = self.engine.shape
        return int(0.9 * shape.num_blocks * shape.block_tokens)

    # ------------------------------------------------------------ what holds

    @invariant()
    @precondition(lambda self: self.engine is not None)
    def the_book_is_that_of_the_engine(self) -> None:
        assert self.engine is not None and self.engine.native is not None
        assert self.engine.native.in_flight == self.engine.steps_with_prefill
        if any(step.output.total_num_scheduled_tokens for step in self.engine.in_flight):
            assert not self.engine.book_is_empty
        elif not self.engine.scheduler.requests:
            assert self.engine.book_is_empty

    @invariant()
    @precondition(lambda self: self.engine is not None)
    def nobody_starves(self) -> None:
        engine = self.engine
        assert engine is not None
        if engine.num_scheduled == self.num_asked_steps:
            return
        self.num_asked_steps = engine.num_scheduled
        asks = [ask for ask in engine.scheduler.asks if ask.is_prefill]
        served = [
            index for index, ask in enumerate(asks) if ask.request.request_id in engine.tokens
        ]
        refused = [index for index, ask in enumerate(asks) if ask.offered and not ask.answered]
        starved = [
            asks[one].request.request_id for one in refused if not any(got < one for got in served)
        ]
        self.num_starved = {name: self.num_starved.get(name, 0) + 1 for name in starved}
        assert max(self.num_starved.values(), default=0) <= MAX_STARVED_STEPS, self.num_starved

    def teardown(self) -> None:
        engine = self.engine
        if engine is None:
            return
        try:
            drain(engine, after=self.nobody_starves)
        except StuckError:
            alone = Engine(self.model, engine.shape, has_plugin=False)
            try:
                for operation in self.operations:
                    operation(alone)
                drain(alone)
            except StuckError:
                # vLLM's own doing.
                return
            raise
        assert engine.book_is_empty
        assert engine.planner is not None
        engine.planner.trust(trusted=True)
        assert_as_fresh(engine)
        assert engine.feedback is not None
        AnySequence.num_measured += engine.feedback.status.measured_steps
        AnySequence.num_lone_prompts += engine.feedback.guard.num_prompts


def drain(engine: Engine, after: Callable[[], None] = lambda: None) -> None:
    """Until the engine is empty; who waits for a grammar has waited in vain."""
    scheduler = engine.scheduler
    engine.abort([name for name, one in scheduler.requests.items() if one.use_structured_output])
    for _ in range(MAX_TURNS):
        if not engine.has_work:
            return
        engine.turn()
        after()
    raise StuckError(f"not done after {MAX_TURNS} turns: {list(scheduler.requests)}")


def test_any_sequence(model: Path) -> None:
    AnySequence.model = model
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        AnySequence, settings=settings.get_profile(PROFILE)
    )
    assert AnySequence.num_measured, "no step was joined with its times: nothing is tested"
    assert AnySequence.num_lone_prompts, "no prompt was alone: nothing is tested"
