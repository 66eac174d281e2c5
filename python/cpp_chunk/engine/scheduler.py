"""Schedule: the mixin that makes vLLM's own scheduler ask for each chunk's size.

It stands on the seam described in `compat/scheduler_shape.py`: vLLM's `schedule()` asks
`_mamba_block_aligned_split` how much of a chunk to take, with prefix hits known, for running and
waiting requests alike. We answer that question and copy not a line of `schedule()`.

Nothing here raises into the engine once it serves: on any failure fixed chunks go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cpp_chunk._core import TELL_EVERY_STEPS
from cpp_chunk.attempt import attempt, in_words
from cpp_chunk.compat.scheduler_shape import UnknownSchedulerError, check_scheduler_shape
from cpp_chunk.engine.backlog import read_backlog
from cpp_chunk.engine.book import DECODE_REMAINING_TOKENS, StepBook
from cpp_chunk.engine.prefix_hits import PrefixHits
from cpp_chunk.log import init_logger
from cpp_chunk.records.file_thread import FileThread
from cpp_chunk.records.status import EngineStatus, write_status
from cpp_chunk.settings.ascend import has_in_tree_scheduler
from cpp_chunk.settings.config import refuse_or_warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request

    from cpp_chunk.engine.chooser import ChunkChooser
    from cpp_chunk.engine.step_listener import StepListener
    from cpp_chunk.settings.config import ProfilingChunkConfig

logger = init_logger(__name__)


class DynamicChunkMixin:
    """Goes before a vLLM scheduler class; see `derive`.

    It has three duties: to answer what is asked, for the step under way alone; to book what was
    scheduled; to book what left.
    """

    # Has chunks chosen from here on, with `cpp_chunk_use`; called once, when vLLM's own is ready.
    _cpp_chunk_start: ClassVar[staticmethod[[Any], None]]
    _cpp_chunk_chooser: ChunkChooser | None = None
    _cpp_chunk_feedback: StepListener | None = None
    _cpp_chunk_ready = False
    _cpp_chunk_model_splits = False
    _cpp_chunk_hook_calls = 0
    # Whether the chooser must hear what waits before the next step, and the last one it has heard.
    _cpp_chunk_has_news = False
    _cpp_chunk_told_step_id = 0
    _cpp_chunk_num_told_prompts = 0
    _cpp_chunk_hits: PrefixHits | None = None
    # Decodes of the step that the chooser has not been told of yet, and their history.
    _cpp_chunk_num_decodes = 0
    _cpp_chunk_decode_context_tokens = 0
    # The latest prefill that was answered, its chunk and where that starts. vLLM may still
    # schedule less of it, or nothing.
    _cpp_chunk_answered: tuple[Request, int, int] | None = None

    if TYPE_CHECKING:
        requests: dict[str, Request]
        running: list[Request]
        waiting: Any
        scheduler_config: Any
        max_num_scheduled_tokens: int
        finished_req_ids: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only now: while constructing, vLLM reads the flag for what the model itself needs.
        self._cpp_chunk_ready = True
        self.cpp_chunk_book = StepBook()
        self._cpp_chunk_start(self)

    @property
    def need_mamba_block_aligned_split(self) -> bool:
        """vLLM's flag: what the model needs while constructing, then true so that it asks us."""
        return self._cpp_chunk_ready or self._cpp_chunk_model_splits

    @need_mamba_block_aligned_split.setter
    def need_mamba_block_aligned_split(self, value: bool) -> None:
        self._cpp_chunk_model_splits = value

    def _mamba_block_aligned_split(
        self,
        request: Request,
        num_new_tokens: int,
        num_new_local_computed_tokens: int = 0,
        num_external_computed_tokens: int = 0,
        *more: Any,
    ) -> int:
        """How many of `num_new_tokens` the request gets in this step. Called by `schedule()`."""
        self._cpp_chunk_hook_calls += 1
        if num_new_tokens == 1 and not self._cpp_chunk_model_splits:
            # Decodes are most of the calls, and nothing is to be chosen: they only fill the step.
            self._cpp_chunk_num_decodes += 1
            self._cpp_chunk_decode_context_tokens += request.num_computed_tokens
            return 1
        is_load = num_new_tokens == 0 and num_external_computed_tokens > 0
        if is_load and not self._cpp_chunk_model_splits:
            self._cpp_chunk_stop_asking()
            return 0
        hits = (num_new_local_computed_tokens, num_external_computed_tokens, *more)
        start = request.num_computed_tokens + hits[0] + hits[1]
        remaining = request.num_tokens - start
        chooser = self._cpp_chunk_chooser
        num_tokens = num_new_tokens
        if chooser is not None and num_new_tokens > 0:
            try:
                self._cpp_chunk_put_in(chooser)
                if remaining <= DECODE_REMAINING_TOKENS:
                    # Speculative tokens are not ours to cut, but they fill the step.
                    chooser.add_decodes(1, start, num_new_tokens)
                else:
                    num_tokens = self._cpp_chunk_choose(
                        chooser, request, num_new_tokens, start, remaining
                    )
            except Exception as error:
                self.cpp_chunk_fall_back("choosing a chunk", error)
        if self._cpp_chunk_model_splits:
            num_tokens = self._cpp_chunk_model_split(request, num_tokens, num_new_tokens, hits)
        if num_tokens > 0 and remaining > DECODE_REMAINING_TOKENS:
            self._cpp_chunk_answered = (request, num_tokens, start)
        return num_tokens

    def _cpp_chunk_stop_asking(self) -> None:
        """Where a `schedule()` asks for the chunk of a request whose KV is being loaded.

        vLLM's own does not, but a copy that vllm-ascend 0.23.0 uses on prefill nodes does: it takes
        the 0 in answer for "no room", and would never admit the request.
        """
        self._cpp_chunk_ready = False
        self._cpp_chunk_end(
            "asynchronous KV loads",
            "a request's KV is loaded asynchronously, for which this scheduler has no place beside "
            "dynamic chunks",
        )

    def _cpp_chunk_choose(
        self,
        chooser: ChunkChooser,
        request: Request,
        num_new_tokens: int,
        start: int,
        remaining: int,
    ) -> int:
        if request.has_encoder_inputs and self.scheduler_config.disable_chunked_mm_input:
            return num_new_tokens
        hits = self._cpp_chunk_hits
        if start > request.num_computed_tokens and hits is not None and hits.learn(request, start):
            # How much of it is computed turns out only now.
            self._cpp_chunk_tell(chooser)
        num_tokens = chooser.chunk_tokens(
            remaining, start, min(num_new_tokens, remaining), self._cpp_chunk_share()
        )
        # Speculative tokens stand behind the prompt's end.
        return num_new_tokens if num_tokens == remaining else num_tokens

    def _cpp_chunk_share(self) -> float:
        """What one prompt may have of a step's time while others wait, if the user bounds it.

        As vLLM's threshold bounds its tokens, and never below a fair share: what nobody else could
        use is not kept from it.
        """
        threshold_tokens: int = self.scheduler_config.long_prefill_token_threshold
        num_prompts = self._cpp_chunk_num_told_prompts
        if threshold_tokens <= 0 or num_prompts <= 1:
            return 1.0
        return min(1.0, max(threshold_tokens / self.max_num_scheduled_tokens, 1 / num_prompts))

    def _cpp_chunk_put_in(self, chooser: ChunkChooser) -> None:
        """The step holds what was answered since the last time."""
        if self._cpp_chunk_num_decodes:
            chooser.add_decodes(self._cpp_chunk_num_decodes, self._cpp_chunk_decode_context_tokens)
            self._cpp_chunk_num_decodes = self._cpp_chunk_decode_context_tokens = 0
        if self._cpp_chunk_answered is not None:
            _, num_tokens, start = self._cpp_chunk_answered
            self._cpp_chunk_answered = None
            chooser.add_chunk(num_tokens, start)

    def _try_schedule_encoder_inputs(
        self, request: Request, *args: Any, **kwargs: Any
    ) -> tuple[Any, ...]:
        """vLLM's own; where it leaves less of a chunk, or nothing, so much is in the step."""
        result: tuple[Any, ...] = super()._try_schedule_encoder_inputs(  # type: ignore[misc]
            request, *args, **kwargs
        )
        answered = self._cpp_chunk_answered
        if self._cpp_chunk_chooser is None or answered is None or answered[0] is not request:
            return result
        try:
            num_tokens = result[1]
            self._cpp_chunk_answered = (request, num_tokens, answered[2]) if num_tokens else None
        except Exception as error:
            self.cpp_chunk_fall_back("hearing what images leave of a chunk", error)
        return result

    def _cpp_chunk_tell(self, chooser: ChunkChooser) -> None:
        """Hands over the prompts under way, those that wait, and the decodes."""
        if self._cpp_chunk_hits is None:
            self._cpp_chunk_hits = PrefixHits(self)
        backlog = read_backlog(self, self._cpp_chunk_hits)
        self._cpp_chunk_num_told_prompts = len(backlog.prompts)
        chooser.set_backlog(
            backlog.prompts,
            backlog.num_under_way,
            backlog.num_decodes,
            backlog.decode_context_tokens,
            self.cpp_chunk_book.tokens_per_decode,
        )

    def add_request(self, *args: Any, **kwargs: Any) -> Any:
        """vLLM's own; the backlog has grown."""
        self._cpp_chunk_has_news = True
        return super().add_request(*args, **kwargs)  # type: ignore[misc]

    def _cpp_chunk_model_split(
        self, request: Request, num_tokens: int, num_new_tokens: int, hits: tuple[Any, ...]
    ) -> int:
        """The model's own split (Mamba) of our chunk; where that leaves nothing, of vLLM's."""
        split: Any = super()._mamba_block_aligned_split  # type: ignore[misc]
        aligned: int = split(request, num_tokens, *hits) if num_tokens else 0
        if aligned == 0 and 0 < num_tokens < num_new_tokens:
            aligned = split(request, num_new_tokens, *hits)
        return aligned

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> Any:
        """vLLM's own; prompts may have to begin anew, and prefix hits are gone."""
        self._cpp_chunk_has_news = True
        return super().reset_prefix_cache(*args, **kwargs)  # type: ignore[misc]

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """vLLM's own `schedule()`, with a step begun before it and booked after it."""
        self._cpp_chunk_hook_calls = 0
        if self._cpp_chunk_chooser is not None:
            try:
                self._cpp_chunk_begin_step(self._cpp_chunk_chooser)
            except Exception as error:
                self.cpp_chunk_fall_back("beginning a step", error)
        output: SchedulerOutput = super().schedule(*args, **kwargs)  # type: ignore[misc]
        if self._cpp_chunk_chooser is not None:
            try:
                self._cpp_chunk_book_step(self._cpp_chunk_chooser, output)
            except Exception as error:
                self.cpp_chunk_fall_back("booking a step", error)
        return output

    def _cpp_chunk_begin_step(self, chooser: ChunkChooser) -> None:
        self._cpp_chunk_num_decodes = self._cpp_chunk_decode_context_tokens = 0
        self._cpp_chunk_answered = None
        # Whoever has finished, or was aborted, since the last step is in there.
        is_due = self.cpp_chunk_book.last_step_id - self._cpp_chunk_told_step_id >= TELL_EVERY_STEPS
        if self._cpp_chunk_has_news or self.finished_req_ids or is_due:
            self._cpp_chunk_has_news = False
            self._cpp_chunk_told_step_id = self.cpp_chunk_book.last_step_id
            self._cpp_chunk_tell(chooser)
        chooser.begin_step()

    def _cpp_chunk_book_step(self, chooser: ChunkChooser, output: SchedulerOutput) -> None:
        # Preempted prompts begin anew.
        self._cpp_chunk_has_news |= bool(output.preempted_req_ids)
        step = self.cpp_chunk_book.scheduled(output, self.requests)
        if step is None:
            return
        if not self._cpp_chunk_hook_calls:
            raise RuntimeError("schedule() never asked for a chunk's size")
        # Whose prefill ends is a decode from now on.
        self._cpp_chunk_has_news |= step.num_ended > 0
        chooser.scheduled(step.step_id, step.prefills)
        if self._cpp_chunk_feedback is not None:
            self._cpp_chunk_feedback.scheduled(step, self.requests)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, *args: Any, **kwargs: Any
    ) -> Any:
        """vLLM's own, then the step is booked as left, and step times that came in are taken."""
        result = super().update_from_output(scheduler_output, *args, **kwargs)  # type: ignore[misc]
        try:
            # While nobody chooses too: it was scheduled when somebody did.
            step_id = self.cpp_chunk_book.left(scheduler_output)
            if self._cpp_chunk_chooser is not None and step_id is not None:
                self._cpp_chunk_chooser.left(step_id)
        except Exception as error:
            # While nobody chooses there is nothing to fall back from, and it has been said.
            if self._cpp_chunk_chooser is not None:
                self.cpp_chunk_fall_back("booking what left", error)
        if self._cpp_chunk_feedback is not None:
            try:
                self._cpp_chunk_feedback.processed(idle=not self.running and not self.waiting)
            except Exception as error:
                self.cpp_chunk_fall_back("collecting step times", error)
        return result

    def shutdown(self) -> None:
        """vLLM's own; the figures so far are kept for who asks later."""
        if self._cpp_chunk_feedback is not None:
            attempt(self._cpp_chunk_feedback.ended)
        super().shutdown()  # type: ignore[misc]

    def cpp_chunk_use(
        self, chooser: ChunkChooser | None, feedback: StepListener | None = None
    ) -> None:
        """From the next step on: who chooses chunks (None: vLLM itself), who is told of steps."""
        self._cpp_chunk_chooser = chooser
        self._cpp_chunk_feedback = feedback

    def cpp_chunk_fall_back(self, doing: str, error: BaseException) -> None:
        """Fixed chunks from here on; said once, since nothing of ours runs after it.

        Called where nobody catches anything: it raises nothing, whatever it calls.
        """
        self._cpp_chunk_end(doing, f"{doing} failed ({in_words(error)})")

    def _cpp_chunk_end(self, reason: str, words: str) -> None:
        feedback = self._cpp_chunk_feedback
        self.cpp_chunk_use(None)
        attempt(logger.error, "%s: fixed chunks from here on", words, stacklevel=2)
        if feedback is not None:
            attempt(feedback.fell_back, reason, words)
        else:
            status = EngineStatus(fallbacks={reason: 1})
            file = FileThread("the status for the metrics page")
            attempt(file.write, lambda: write_status(status))


def check_base(base: type[Any], config: ProfilingChunkConfig) -> None:
    """Holds a scheduler class against what the mixin needs.

    Raises:
        UnknownSchedulerError: it does not offer the seam, and `allow_untested` is off; or it is
            vllm-ascend's own version of this feature.
    """
    if has_in_tree_scheduler(base):
        raise UnknownSchedulerError(
            f"scheduler class {base.__module__}.{base.__qualname__} is vllm-ascend's own version "
            "of dynamic chunks: start vLLM through EngineArgs, as `vllm serve` does, so that the "
            'settings can be taken over, or set implementation to "in-tree".'
        )
    try:
        check_scheduler_shape(base)
    except UnknownSchedulerError as error:
        refuse_or_warn(config, error)


def derive(
    base: type[Any], config: ProfilingChunkConfig, start: Callable[[Any], None]
) -> type[Any]:
    """A class that is `base` with dynamic chunks.

    Args:
        base: the scheduler class that vLLM, the platform or the user chose.
        config: the user's settings.
        start: called with each instance, at the end of its construction.

    Raises:
        UnknownSchedulerError: `base` does not offer the seam.
    """
    check_base(base, config)
    return type(
        f"DynamicChunk{base.__name__}",
        (DynamicChunkMixin, base),
        {"_cpp_chunk_start": staticmethod(start), "__module__": __name__},
    )
