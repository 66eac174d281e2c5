"""Settings: the user's keys, what vLLM's configuration says beside them, vllm-ascend's key."""
