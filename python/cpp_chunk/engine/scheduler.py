"""Schedule: the mixin that makes vLLM's own scheduler ask for each chunk's size.

It stands on the seam described in `shape.py`: vLLM's `schedule()` asks
`_mamba_block_aligned_split` how much of a chunk to take, with prefix hits known, for running and
waiting requests alike. We answer that question and copy not a line of `schedule()`.

Nothing here raises into the engine once it serves: on any failure fixed chunks go on.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar

from cpp_chunk.ascend import has_in_tree_scheduler
from cpp_chunk.config import refuse_or_warn
from cpp_chunk.engine.attempt import attempt, in_words
from cpp_chunk.engine.file_thread import FileThread
from cpp_chunk.engine.shape import UnknownSchedulerError, check_scheduler_shape
from cpp_chunk.log import init_logger
from cpp_chunk.status import EngineStatus, write_status

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request

    from cpp_chunk.config import ProfilingChunkConfig
    from cpp_chunk.engine.context import EngineContext
    from cpp_chunk.engine.feedback import Feedback
    from cpp_chunk.engine.planner import ChunkChooser

logger = init_logger(__name__)

# A longer queue is far past the point where the target has grown to the cap.
_MAX_BACKLOG_PROMPTS = 64


class DynamicChunkMixin:
    """Goes before a vLLM scheduler class; see `derive`."""

    _cpp_chunk_context: ClassVar[EngineContext]
    _cpp_chunk_chooser: ChunkChooser | None = None
    _cpp_chunk_feedback: Feedback | None = None
    _cpp_chunk_ready = False
    _cpp_chunk_model_splits = False
    _cpp_chunk_hook_calls = 0
    _cpp_chunk_has_joined = False
    _cpp_chunk_admitted: str | None = None
    # Decodes of the step that the chooser has not been told of yet, and their history.
    _cpp_chunk_num_decodes = 0
    _cpp_chunk_decode_context_tokens = 0

    if TYPE_CHECKING:
        requests: dict[str, Request]
        running: list[Request]
        waiting: Any
        scheduler_config: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only now: while constructing, vLLM reads the flag for what the model itself needs.
        self._cpp_chunk_ready = True
        from cpp_chunk.engine.startup import start

        start(self, self._cpp_chunk_context)

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
        num_tokens = num_new_tokens
        if self._cpp_chunk_chooser is not None and num_new_tokens > 0:
            try:
                num_tokens = self._cpp_chunk_choose(
                    self._cpp_chunk_chooser, request, num_new_tokens, hits[0] + hits[1]
                )
            except Exception as error:
                self.cpp_chunk_fall_back("choosing a chunk", error)
        if self._cpp_chunk_model_splits:
            num_tokens = self._cpp_chunk_model_split(request, num_tokens, num_new_tokens, hits)
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
        self, chooser: ChunkChooser, request: Request, num_new_tokens: int, num_hit_tokens: int
    ) -> int:
        self._cpp_chunk_add_decodes(chooser)
        start = request.num_computed_tokens + num_hit_tokens
        remaining = request.num_tokens - start
        # Decodes and speculative tokens are not ours to cut, but they fill the step.
        is_prefill = 1 < num_new_tokens <= remaining
        whole_images = request.has_encoder_inputs and self.scheduler_config.disable_chunked_mm_input
        num_tokens = num_new_tokens
        if is_prefill and not whole_images:
            if num_hit_tokens and request.request_id != self._cpp_chunk_admitted:
                # Only now is it known how much of the prompt is computed. Once a prompt, also
                # when it finds no room for some steps after this one.
                self._cpp_chunk_admitted = request.request_id
                self._cpp_chunk_set_backlog(chooser, request, start)
            num_tokens = chooser.chunk_tokens(remaining, start, num_new_tokens)
        if num_tokens > 0:
            chooser.add_chunk(num_tokens, start)
        return num_tokens

    def _cpp_chunk_add_decodes(self, chooser: ChunkChooser) -> None:
        if self._cpp_chunk_num_decodes:
            chooser.add_decodes(self._cpp_chunk_num_decodes, self._cpp_chunk_decode_context_tokens)
            self._cpp_chunk_num_decodes = self._cpp_chunk_decode_context_tokens = 0

    def _cpp_chunk_set_backlog(
        self, chooser: ChunkChooser, admitted: Request | None = None, admitted_start: int = 0
    ) -> None:
        """Hands over the prompts under way, the one being admitted, and those that wait."""
        under_way = [
            (other.num_tokens - other.num_computed_tokens, other.num_computed_tokens)
            for other in self.running
            if other is not admitted and other.num_tokens - other.num_computed_tokens > 1
        ]
        admitted_now = (
            [(admitted.num_tokens - admitted_start, admitted_start)] if admitted is not None else []
        )
        waiting = [
            (other.num_tokens - other.num_computed_tokens, other.num_computed_tokens)
            for other in itertools.islice(self.waiting, _MAX_BACKLOG_PROMPTS)
            if other is not admitted and other.num_tokens > other.num_computed_tokens
        ]
        chooser.set_backlog([*under_way, *admitted_now, *waiting], len(under_way))

    def add_request(self, *args: Any, **kwargs: Any) -> Any:
        """vLLM's own; the backlog has grown."""
        self._cpp_chunk_has_joined = True
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

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """vLLM's own `schedule()`, with a step begun before it and accounted after it."""
        self._cpp_chunk_hook_calls = 0
        if self._cpp_chunk_chooser is not None:
            try:
                if self._cpp_chunk_has_joined:
                    self._cpp_chunk_has_joined = False
                    self._cpp_chunk_set_backlog(self._cpp_chunk_chooser)
                self._cpp_chunk_chooser.begin_step()
            except Exception as error:
                self.cpp_chunk_fall_back("beginning a step", error)
        output: SchedulerOutput = super().schedule(*args, **kwargs)  # type: ignore[misc]
        if self._cpp_chunk_chooser is not None and self._cpp_chunk_num_decodes:
            try:
                # Those that came after the step's last prefill.
                self._cpp_chunk_add_decodes(self._cpp_chunk_chooser)
            except Exception as error:
                self.cpp_chunk_fall_back("adding decodes", error)
        if self._cpp_chunk_feedback is not None and output.total_num_scheduled_tokens:
            try:
                if not self._cpp_chunk_hook_calls:
                    raise RuntimeError("schedule() never asked for a chunk's size")
                self._cpp_chunk_feedback.scheduled(output, self.requests)
            except Exception as error:
                self.cpp_chunk_fall_back("accounting a step", error)
        return output

    def update_from_output(
        self, scheduler_output: SchedulerOutput, *args: Any, **kwargs: Any
    ) -> Any:
        """vLLM's own, then the step times that have come in since."""
        result = super().update_from_output(scheduler_output, *args, **kwargs)  # type: ignore[misc]
        if self._cpp_chunk_chooser is not None and scheduler_output.total_num_scheduled_tokens:
            try:
                self._cpp_chunk_chooser.step_left()
            except Exception as error:
                self.cpp_chunk_fall_back("counting steps in flight", error)
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

    def cpp_chunk_use(self, chooser: ChunkChooser | None, feedback: Feedback | None = None) -> None:
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


def derive(base: type[Any], context: EngineContext) -> type[Any]:
    """A class that is `base` with dynamic chunks.

    Args:
        base: the scheduler class that vLLM, the platform or the user chose.
        context: this engine core's settings and executor.

    Raises:
        UnknownSchedulerError: `base` does not offer the seam.
    """
    check_base(base, context.config)
    return type(
        f"DynamicChunk{base.__name__}",
        (DynamicChunkMixin, base),
        {"_cpp_chunk_context": context, "__module__": __name__},
    )
