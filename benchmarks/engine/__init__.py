"""Real vLLM engines: started, given workloads, and what they traced."""
