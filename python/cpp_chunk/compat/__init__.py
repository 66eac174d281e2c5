"""Whether a vLLM is one that we know: by its release, and by the shape of its code."""
