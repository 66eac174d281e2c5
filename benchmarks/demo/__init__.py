"""`make demo`: real vLLM on two processes, fixed against dynamic chunks."""
