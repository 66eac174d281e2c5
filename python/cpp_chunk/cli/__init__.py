"""The `cpp-chunk` command: plan and simulate without vLLM, look after engines that run."""
