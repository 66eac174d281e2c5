"""What `make demo` and `make bench` run: real vLLM on two processes, measured from outside.

tiny_model -> engine_run (a process of its own) -> trace -> pipeline_view -> demo, report, bench
"""
