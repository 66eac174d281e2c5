"""The ledger: each place where vLLM is patched, why, how it is recognised, when it can go.

What goes into the first four stands in `cpp_chunk.assembly.patches`, what goes into the last three,
those of a worker, in `cpp_chunk.worker.waits`.

Two more touches need no patch of a class, since `Executor.collective_rpc` sends a function to the
worker: the step timer around its `model_runner.execute_model` (`cpp_chunk.worker.timer`), and the
buffer that the CPU backend lacks (`cpp_chunk.worker.first_step`).
"""

from __future__ import annotations

from cpp_chunk.patching.seam import Seam

FRONT_END = Seam(
    module="vllm.engine.arg_utils",
    cls="EngineArgs",
    attribute="create_engine_config",
    why="refuse a wrong setting before a model loads, in the process that the user looks at",
    retire="when vLLM lets a plugin validate its own additional_config",
)
ASCEND_PLATFORM = Seam(
    module="vllm_ascend.platform",
    cls="NPUPlatform",
    attribute="check_and_update_config",
    why="vllm-ascend has a version of this feature under the same key, and installs it here",
    retire="when vllm-ascend asks whether a plugin has taken its key",
)
EXECUTOR = Seam(
    module="vllm.v1.engine.core",
    cls="EngineCore",
    attribute="_initialize_kv_caches",
    why="the last call before the scheduler is made: it knows the executor and the final "
    "configuration, which get_scheduler_cls is not given",
    retire="when the scheduler is constructed with access to the executor",
)
SCHEDULER = Seam(
    module="vllm.config.scheduler",
    cls="SchedulerConfig",
    attribute="get_scheduler_cls",
    why="derive from whatever scheduler class was chosen, without --scheduler-cls and its warning",
    retire="when vLLM has a chunk-size policy interface",
)

LAZY_RECEIVE = Seam(
    module="vllm.v1.worker.gpu_worker",
    cls="AsyncIntermediateTensors",
    attribute="wait_for_comm",
    why="a stage's compute begins where the lazy receive has waited; the wait itself stays where "
    "vLLM has it",
    retire="when vLLM times a stage's forward pass itself",
)
TOKENS_V2 = Seam(
    module="vllm.v1.worker.gpu.pp_utils",
    cls="PPHandler",
    attribute="get_prev_sampled_outputs",
    why="with the V2 model runner a step begins with the wait for tokens that the last stage has "
    "sampled: a round trip through the pipeline, and no compute",
    retire="when vLLM times a stage's forward pass itself",
)
TOKENS_V1 = Seam(
    module="vllm.v1.worker.gpu_model_runner",
    cls="GPUModelRunner",
    attribute="_prepare_input_ids",
    why="with the V1 model runner and asynchronous scheduling the same wait is in here, from 0.28; "
    "before, it was where tokens are sampled, which is not timed",
    retire="when vLLM times a stage's forward pass itself",
)
