"""Runs in the worker processes, sent there by `Executor.collective_rpc`: measure."""
