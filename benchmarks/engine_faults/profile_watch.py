"""Notes what the start-up profile finds, runs and leaves, from inside the engine core's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk.engine.profile.profiler import ProfilePass, Profiler


def cache_state(scheduler: Any) -> dict[str, Any]:
    manager = scheduler.kv_cache_manager
    return {
        "free_blocks": manager.block_pool.get_num_free_blocks(),
        "cached_blocks": len(manager.block_pool.cached_block_hash_to_block),
        "usage": manager.usage,
        "requests": len(scheduler.requests),
        "running": len(scheduler.running),
        "waiting": len(scheduler.waiting),
        "prefix_queries": manager.prefix_cache_stats.queries if manager.prefix_cache_stats else 0,
    }


class ProfileWatch:
    """Looks on, and changes nothing; of the engines that are started after it, at the last."""

    def __init__(self) -> None:
        from cpp_chunk.engine.profile.profiler import Profiler

        self.facts: dict[str, Any] = {}
        facts = self.facts
        enter, run, leave = Profiler.__enter__, Profiler.run, Profiler.__exit__

        def watched_enter(profiler: Profiler) -> Profiler:
            facts.clear()
            facts.update(before=cache_state(profiler._scheduler), asked=[], passes=[], stage_ms=[])
            return enter(profiler)

        def watched_run(profiler: Profiler, passes: Sequence[tuple[int, int]]) -> list[ProfilePass]:
            measured = run(profiler, passes)
            facts["asked"] += [list(one) for one in passes]
            facts["passes"] += [[one.num_tokens, one.num_computed_tokens] for one in measured]
            facts["stage_ms"] += [one.stage_ms for one in measured]
            return measured

        def watched_leave(profiler: Profiler, *raised: Any) -> None:
            try:
                leave(profiler, *raised)
            finally:
                facts["after"] = cache_state(profiler._scheduler)
                facts["num_passes"] = profiler.num_passes

        Profiler.__enter__ = watched_enter  # type: ignore[method-assign, assignment]
        Profiler.run = watched_run  # type: ignore[method-assign, assignment]
        Profiler.__exit__ = watched_leave  # type: ignore[method-assign]
