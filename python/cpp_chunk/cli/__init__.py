"""The `cpp-chunk` command: plan and simulate chunked prefill without vLLM and without a device."""
