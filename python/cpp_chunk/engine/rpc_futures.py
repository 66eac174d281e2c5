"""Answers of `collective_rpc` that are still under way, as vLLM's executors hand them out.

The multiprocess executor (and the newer Ray one, which is made of it) takes answers in order, so
one of ours is there once the result of a later step has been taken. The older Ray executor's
futures never say that they are done, and expect every result to be a model's output.
"""

from __future__ import annotations

from typing import Any


def is_there(future: Any) -> bool:
    """Whether `take` would return at once."""
    refs = getattr(future, "ref_or_refs", None)
    if refs is None:
        return bool(future.done())
    import ray

    ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
    return len(ready) == len(refs)


def take(future: Any) -> Any:
    """The workers' replies, one each."""
    refs = getattr(future, "ref_or_refs", None)
    if refs is None:
        return future.result()
    import ray

    return ray.get(refs)
