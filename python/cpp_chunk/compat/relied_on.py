"""The ledger of what we call, read or set of vLLM, beside what `cpp_chunk.patching.places` has.

What is only read with a default, such as most of a deployment's settings, is not in here: a
release without it is fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cpp_chunk.compat.scheduler_shape import FLAG, WAITING_QUEUES
from cpp_chunk.patching import places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk.patching.seam import Seam

SeamName = Literal["front end", "scheduler", "executor", "worker", "platform"]


@dataclass(frozen=True)
class Reliance:
    """One class or function of vLLM, and what of it we rely on.

    Attributes:
        seam: the part of vLLM that it belongs to.
        module: where we import it from.
        name: there; a method stands behind its class and a dot.
        why: what for.
        positional: what we hand over by position: the names that vLLM has for it. None where we
            do not call it.
        keywords: what we hand over by name.
        attributes: of an instance.
        calls: what it calls, in this order.
        most_arguments: by position, in each of these calls.
        branches: what it looks at in an `if` that has an `else`.
        makes: (function, names): the attributes that it sets to what this function returns are
            among these.
        carries: we set attributes of our own on instances.
        without: why a release that does not have it at all is fine.
    """

    seam: SeamName
    module: str
    name: str
    why: str
    positional: tuple[str, ...] | None = None
    keywords: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    most_arguments: int | None = None
    branches: tuple[str, ...] = ()
    makes: tuple[str, tuple[str, ...]] | None = None
    carries: bool = False
    without: str | None = None

    @property
    def place(self) -> str:
        """Its full name."""
        return f"{self.module}.{self.name}"


def _patched(seam: SeamName, patch: Seam, without: str | None = None) -> Reliance:
    return Reliance(
        seam, patch.module, patch.cls, patch.why, attributes=(patch.attribute,), without=without
    )


_CONFIG = "vllm.config"
_ENGINE_ARGS = "vllm.engine.arg_utils"
_PLATFORMS = "vllm.platforms"
_PLUGINS = "vllm.plugins"
_SCHEDULER = "vllm.v1.core.sched.scheduler"
_OUTPUT = "vllm.v1.core.sched.output"
_QUEUE = "vllm.v1.core.sched.request_queue"
_REQUEST = "vllm.v1.request"
_KV_CACHE_MANAGER = "vllm.v1.core.kv_cache_manager"
_BLOCK_POOL = "vllm.v1.core.block_pool"
_KV_CACHE_SPECS = "vllm.v1.kv_cache_interface"
_CONNECTOR = "vllm.distributed.kv_transfer.kv_connector.v1.base"
_CORE = "vllm.v1.engine.core"
_EXECUTOR = "vllm.v1.executor.abstract"
_MULTIPROCESS = "vllm.v1.executor.multiproc_executor"
_WORKER_BASE = "vllm.v1.worker.worker_base"
_WORKER = "vllm.v1.worker.gpu_worker"
_GROUPS = "vllm.distributed.parallel_state"

SCHEDULERS = (
    (_SCHEDULER, "Scheduler"),
    ("vllm.v1.core.sched.async_scheduler", "AsyncScheduler"),
)

FRONT_END: Sequence[Reliance] = (
    _patched("front end", places.FRONT_END),
    Reliance(
        "front end",
        _ENGINE_ARGS,
        "EngineArgs",
        "settings are judged before vLLM makes its configuration",
        attributes=("additional_config",),
    ),
    Reliance(
        "front end",
        _ENGINE_ARGS,
        "EngineArgs.__post_init__",
        "loads the plugin in the process that the user looks at",
        calls=("load_general_plugins",),
    ),
    Reliance(
        "front end", _PLUGINS, "load_general_plugins", "`cpp-chunk doctor` calls it", positional=()
    ),
    Reliance(
        "front end",
        _ENGINE_ARGS,
        "AsyncEngineArgs.add_cli_args",
        "`cpp-chunk doctor` reads the arguments of `vllm serve`",
        positional=("parser",),
    ),
    Reliance("front end", _ENGINE_ARGS, "FlexibleArgumentParser", "the parser of these"),
    Reliance(
        "front end",
        _ENGINE_ARGS,
        "AsyncEngineArgs.from_cli_args",
        "the same",
        positional=("args",),
    ),
    Reliance(
        "front end",
        _ENGINE_ARGS,
        "AsyncEngineArgs.create_engine_config",
        "`cpp-chunk doctor` asks what arguments lead to",
        positional=("usage_context",),
    ),
    Reliance(
        "front end",
        "vllm.usage.usage_lib",
        "UsageContext",
        "some defaults are the server's own",
        attributes=("OPENAI_API_SERVER",),
    ),
    Reliance(
        "front end",
        _CONFIG,
        "VllmConfig",
        "the settings, and the deployment that they describe",
        attributes=(
            "additional_config",
            "cache_config",
            "compilation_config",
            "model_config",
            "parallel_config",
            "scheduler_config",
        ),
        carries=True,
    ),
    Reliance(
        "front end",
        _CONFIG,
        "ParallelConfig",
        "there must be a pipeline, and an executor that reaches all of it; ranks that share "
        "experts take every step together",
        attributes=(
            "data_parallel_size",
            "decode_context_parallel_size",
            "distributed_executor_backend",
            "pipeline_parallel_size",
            "tensor_parallel_size",
        ),
    ),
    Reliance(
        "front end",
        _EXECUTOR,
        "Executor.get_class",
        "which executor a configuration leads to",
        positional=("vllm_config",),
    ),
    Reliance(
        "front end",
        "vllm.v1.executor.uniproc_executor",
        "UniProcExecutor",
        "the kind of executor that reaches one stage only",
    ),
    Reliance(
        "front end",
        _CONFIG,
        "SchedulerConfig",
        "dynamic chunks are chunks of a prefill; images may have to stay whole; the user may have "
        "bounded what one prompt has of a step",
        attributes=(
            "disable_chunked_mm_input",
            "enable_chunked_prefill",
            "long_prefill_token_threshold",
        ),
        carries=True,
    ),
    Reliance(
        "front end",
        _CONFIG,
        "ModelConfig",
        "the number of layers, for the split that would even stages out; whether it pools",
        attributes=("hf_text_config", "runner_type"),
    ),
    Reliance(
        "front end", _PLATFORMS, "current_platform", "names the device that a profile holds for"
    ),
    Reliance(
        "front end",
        "vllm.platforms.interface",
        "Platform",
        "the same",
        attributes=("device_type",),
    ),
    Reliance(
        "front end",
        "vllm.platforms.interface",
        "Platform.get_device_name",
        "the same",
        positional=(),
    ),
    Reliance("front end", "vllm.version", "__version__", "a profile holds for one release"),
)

SCHEDULER: Sequence[Reliance] = (
    _patched("scheduler", places.SCHEDULER),
    Reliance(
        "scheduler",
        _CONFIG,
        "SchedulerConfig.get_scheduler_cls",
        "names the class that the front end looks at",
        positional=(),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler",
        "the flag that makes it ask us; what waits and runs; what a profile must know",
        attributes=(
            FLAG,
            "block_size",
            "connector",
            "finished_req_ids",
            "kv_cache_config",
            "kv_cache_manager",
            "max_model_len",
            "max_num_scheduled_tokens",
            "parallel_config",
            "requests",
            "running",
            "scheduler_config",
            "vllm_config",
            "waiting",
        ),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler.schedule",
        "a pass is scheduled as a step is, with its history taken as computed",
        positional=(),
        branches=("request.num_computed_tokens == 0",),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler.__init__",
        "all queues of requests that wait are the backlog: one that we do not know would be missed",
        makes=("create_request_queue", WAITING_QUEUES),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler._try_schedule_encoder_inputs",
        "says how much of a chunk is left, second of what it returns",
        positional=(
            "request",
            "num_computed_tokens",
            "num_new_tokens",
            "encoder_compute_budget",
        ),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler.add_request",
        "the backlog grows; a pass is a request",
        positional=("request",),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler.update_from_output",
        "a step has left the pipeline; passes end as steps do",
        positional=("scheduler_output", "model_runner_output"),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler.finish_requests",
        "lets go of a pass's request",
        positional=("request_ids", "finished_status"),
    ),
    Reliance(
        "scheduler",
        _SCHEDULER,
        "Scheduler.reset_prefix_cache",
        "a profile leaves nothing in the cache",
        positional=(),
    ),
    Reliance(
        "scheduler", _SCHEDULER, "Scheduler.shutdown", "keeps the last figures", positional=()
    ),
    Reliance(
        "scheduler",
        _QUEUE,
        "RequestQueue",
        "prompts that wait are the backlog",
        attributes=("__bool__", "__iter__"),
    ),
    Reliance(
        "scheduler",
        _REQUEST,
        "Request.__init__",
        "a pass of the profile is a synthetic request",
        positional=(),
        keywords=(
            "block_hasher",
            "pooling_params",
            "prompt_token_ids",
            "request_id",
            "sampling_params",
        ),
    ),
    Reliance(
        "scheduler",
        _REQUEST,
        "Request",
        "what a chunk is chosen from; a pass's history is set; what the prefix cache knows it by",
        attributes=(
            "block_hashes",
            "has_encoder_inputs",
            "num_computed_tokens",
            "num_tokens",
            "request_id",
            "skip_reading_prefix_cache",
        ),
    ),
    Reliance(
        "scheduler",
        _REQUEST,
        "RequestStatus",
        "how a pass's request ends",
        attributes=("FINISHED_ABORTED",),
    ),
    Reliance(
        "scheduler",
        "vllm.sampling_params",
        "SamplingParams",
        "of a pass's request",
        attributes=("max_tokens", "temperature"),
    ),
    Reliance(
        "scheduler",
        "vllm.pooling_params",
        "PoolingParams",
        "the same, of a model that pools",
        attributes=("task",),
    ),
    Reliance("scheduler", "vllm.tasks", "POOLING_TASKS", "what such a model can be asked for"),
    Reliance(
        "scheduler",
        _CONFIG,
        "ModelConfig.get_vocab_size",
        "a pass's tokens are random",
        positional=(),
    ),
    Reliance(
        "scheduler",
        _OUTPUT,
        "SchedulerOutput",
        "what a step holds; its number travels on it to every stage",
        attributes=(
            "kv_connector_metadata",
            "preempted_req_ids",
            "num_scheduled_tokens",
            "scheduled_encoder_inputs",
            "total_num_scheduled_tokens",
        ),
        carries=True,
    ),
    Reliance(
        "scheduler",
        _OUTPUT,
        "SchedulerOutput.make_empty",
        "a KV connector is told of an empty step in place of a pass",
        positional=(),
    ),
    Reliance(
        "scheduler",
        "vllm.v1.outputs",
        "ModelRunnerOutput",
        "whether a pass has come back",
        attributes=("req_id_to_index",),
    ),
    Reliance(
        "scheduler",
        "vllm.v1.outputs",
        "EMPTY_MODEL_RUNNER_OUTPUT",
        "the answer to a step that holds no pass, or whose pass has failed",
    ),
    Reliance(
        "scheduler",
        _KV_CACHE_MANAGER,
        "KVCacheManager",
        "the free blocks before and after a profile; what is cached of a prompt that waits",
        attributes=("block_pool", "enable_caching"),
    ),
    Reliance(
        "scheduler",
        _KV_CACHE_MANAGER,
        "KVCacheManager.make_prefix_cache_stats",
        "a profile leaves nothing in the statistics",
        positional=(),
    ),
    Reliance(
        "scheduler",
        _KV_CACHE_MANAGER,
        "KVCacheManager.take_events",
        "a profile leaves no events",
        positional=(),
    ),
    Reliance(
        "scheduler",
        _BLOCK_POOL,
        "BlockPool",
        "the hashes of a pass's prompt are nobody else's",
        attributes=("hash_block_size",),
    ),
    Reliance(
        "scheduler",
        _BLOCK_POOL,
        "BlockPool.get_cached_block",
        "what is cached of a prompt that waits, asked without touching it",
        positional=("block_hash", "kv_cache_group_ids"),
    ),
    Reliance(
        "scheduler",
        _BLOCK_POOL,
        "BlockPool.get_num_free_blocks",
        "whether a pass has room",
        positional=(),
    ),
    Reliance(
        "scheduler",
        _KV_CACHE_SPECS,
        "KVCacheConfig",
        "the blocks that chunks are aligned to",
        attributes=("kv_cache_groups",),
    ),
    Reliance(
        "scheduler",
        _KV_CACHE_SPECS,
        "KVCacheGroupSpec",
        "the same",
        attributes=("kv_cache_spec",),
    ),
    Reliance("scheduler", _KV_CACHE_SPECS, "KVCacheSpec", "the same", attributes=("block_size",)),
    Reliance("scheduler", _KV_CACHE_SPECS, "MambaSpec", "whose blocks align nothing"),
    Reliance(
        "scheduler",
        "vllm.distributed.utils",
        "get_pp_indices",
        "the layers of each stage",
        positional=("num_hidden_layers", "pp_rank", "pp_size"),
    ),
    Reliance(
        "scheduler",
        _CONNECTOR,
        "KVConnectorBase_V1.build_connector_meta",
        "workers want to be told what to load and save, also in a pass",
        positional=("scheduler_output",),
    ),
    Reliance(
        "scheduler",
        _CONNECTOR,
        "KVConnectorBase_V1",
        "the calls that a pass keeps from it, while the scheduler has none",
        attributes=("get_num_new_matched_tokens", "request_finished", "update_state_after_alloc"),
    ),
)

EXECUTOR: Sequence[Reliance] = (
    _patched("executor", places.EXECUTOR),
    Reliance(
        "executor",
        _CORE,
        "EngineCore.__init__",
        "the plugin comes first, and the executor is known before the scheduler is made",
        calls=("load_general_plugins", "_initialize_kv_caches", "get_scheduler_cls"),
    ),
    Reliance(
        "executor",
        _CORE,
        "EngineCore",
        "the way to the workers",
        attributes=("model_executor",),
    ),
    Reliance(
        "executor",
        _CORE,
        "EngineCore.step_with_batch_queue",
        "how a step is run, sampled and answered: a pass goes the same way",
        branches=("self.is_pooling_model or not model_executed",),
    ),
    Reliance(
        "executor",
        _EXECUTOR,
        "Executor",
        "what a pooling model can be asked for",
        attributes=("supported_tasks",),
    ),
    *(
        reliance
        for module, cls in ((_EXECUTOR, "Executor"), (_MULTIPROCESS, "MultiprocExecutor"))
        for reliance in (
            Reliance(
                "executor",
                module,
                f"{cls}.collective_rpc",
                "runs a function of ours in every worker",
                positional=("method",),
                keywords=("args", "kwargs", "non_block"),
            ),
            Reliance(
                "executor",
                module,
                f"{cls}.execute_model",
                "runs a pass of the profile",
                positional=("scheduler_output",),
                keywords=("non_block",),
            ),
            Reliance(
                "executor",
                module,
                f"{cls}.sample_tokens",
                "vLLM wants it after every step",
                positional=("grammar_output",),
                keywords=("non_block",),
            ),
        )
    ),
    Reliance(
        "executor",
        "vllm.v1.executor.ray_utils",
        "FutureWrapper",
        "the older Ray executor's answers",
        attributes=("ref_or_refs",),
        without="the newer Ray executor is made of the multiprocess one",
    ),
)

WORKER: Sequence[Reliance] = (
    Reliance(
        "worker",
        _WORKER_BASE,
        "WorkerWrapperBase.init_worker",
        "loads the plugin in a worker",
        calls=("load_general_plugins",),
    ),
    Reliance(
        "worker",
        _WORKER_BASE,
        "WorkerWrapperBase",
        "stands for its worker where a function of ours is run",
        attributes=("__getattr__",),
    ),
    Reliance(
        "worker",
        _WORKER,
        "Worker",
        "what is timed is its model runner's",
        attributes=("model_runner",),
    ),
    Reliance(
        "worker",
        _WORKER,
        "Worker.execute_model",
        "asks the model runner by the name that the timer stands under",
        calls=("self.model_runner.execute_model",),
        most_arguments=2,
    ),
    *(
        reliance
        for module in ("vllm.v1.worker.gpu_model_runner", "vllm.v1.worker.gpu.model_runner")
        for reliance in (
            Reliance(
                "worker",
                module,
                "GPUModelRunner",
                "the device that a stopwatch is for; the buffer that a first step needs",
                attributes=("device", "max_num_tokens", "model", "model_config"),
                carries=True,
            ),
            Reliance(
                "worker",
                module,
                "GPUModelRunner.execute_model",
                "is timed, and guarded while the profile runs",
                positional=("scheduler_output", "intermediate_tensors"),
            ),
        )
    ),
    Reliance(
        "worker",
        "vllm.v1.worker.cpu_worker",
        "CPUWorker.execute_model",
        "the same on a CPU",
        calls=("self.model_runner.execute_model",),
        most_arguments=2,
    ),
    Reliance(
        "worker",
        "vllm.v1.worker.cpu_model_runner",
        "CPUModelRunner.execute_model",
        "the same",
        positional=("scheduler_output", "intermediate_tensors"),
    ),
    Reliance(
        "worker",
        "vllm.model_executor.models.interfaces",
        "SupportsPP.make_empty_intermediate_tensors",
        "what a failed stage hands on; the buffer that a first step needs",
        positional=(),
        keywords=("batch_size", "dtype", "device"),
    ),
    _patched(
        "worker",
        places.LAZY_RECEIVE,
        without="a stage that does not receive lazily has waited before it is timed",
    ),
    _patched("worker", places.TOKENS_V2),
    Reliance(
        "worker",
        "vllm.v1.worker.gpu.model_runner",
        "GPUModelRunner.update_pp_decode_requests",
        "where the V2 model runner waits for sampled tokens",
        calls=("self.pp_handler.get_prev_sampled_outputs",),
    ),
    _patched("worker", places.TOKENS_V1),
    Reliance("worker", "vllm.distributed", "get_pp_group", "which stage answers", positional=()),
    Reliance("worker", "vllm.distributed", "get_tp_group", "which rank answers", positional=()),
    Reliance(
        "worker",
        _GROUPS,
        "GroupCoordinator",
        "the same",
        attributes=("is_first_rank", "is_last_rank", "rank_in_group"),
    ),
)

VLLM: Sequence[Reliance] = (*FRONT_END, *SCHEDULER, *EXECUTOR, *WORKER)

ASCEND: Sequence[Reliance] = (
    _patched("platform", places.ASCEND_PLATFORM),
    Reliance(
        "worker",
        "vllm_ascend.worker.worker",
        "NPUWorker.execute_model",
        "asks the model runner by the name that the timer stands under, and receives lazily",
        calls=("AsyncIntermediateTensors", "self.model_runner.execute_model"),
        most_arguments=2,
    ),
    Reliance(
        "worker",
        "vllm_ascend.worker.worker",
        "NPUWorker",
        "what is timed is its model runner's",
        attributes=("model_runner",),
    ),
    *(
        reliance
        for module in ("vllm_ascend.worker.model_runner_v1", "vllm_ascend.worker.v2.model_runner")
        for reliance in (
            Reliance(
                "worker",
                module,
                "NPUModelRunner",
                "the device that a stopwatch is for; what a failed stage hands on",
                attributes=("device", "model", "model_config"),
                carries=True,
            ),
            Reliance(
                "worker",
                module,
                "NPUModelRunner.execute_model",
                "is timed, and guarded while the profile runs",
                positional=("scheduler_output", "intermediate_tensors"),
            ),
        )
    ),
)
