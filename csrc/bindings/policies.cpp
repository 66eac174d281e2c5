#include "bindings/bindings.h"
#include "cpp_chunk/simulator/policies/atom_policy.h"
#include "cpp_chunk/simulator/policies/fixed_policy.h"
#include "cpp_chunk/simulator/policies/sglang_policy.h"
#include "cpp_chunk/simulator/policies/terapipe_policy.h"
#include "cpp_chunk/simulator/policies/vllm_ascend_policy.h"
#include "cpp_chunk/simulator/terapipe.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {
namespace {

void bind_published(py::module_& module) {
  py::class_<SglangPolicy, ChunkPolicy>(module, "SglangPolicy", py::is_final(),
                                        R"(SGLang's dynamic chunking.

The first prefill of a step takes x with f(h + x) - f(h) = f(base) - f(0), f fitted to prefills
without history; smoothed, at least a quarter of the base, rounded down to max(page, 64). The
step's other prefills share what it leaves. Source: SGLang's documentation, "Pipeline Parallelism
for Long Context", and its pull requests 15372, 16140, 23621 and 37674.)")
      .def(py::init<const LatencyModel&, std::int64_t, double, std::int64_t>(), py::arg("model"),
           py::arg("base_chunk_tokens"), py::kw_only(), py::arg("smooth_factor") = 0.75,
           py::arg("page_tokens") = 64,
           R"(Make the policy for one stage's model and the engine's chunked_prefill_size.

smooth_factor in [0, 1]: 0 is fixed chunks, 1 the solved ones. Raises InvalidArgument.)");

  py::class_<VllmAscendPolicy, ChunkPolicy>(
      module, "VllmAscendPolicy", py::is_final(),
      R"(vllm-ascend's profiling-based dynamic chunks, both phases.

At first SGLang's rule; from 5 measured steps on, up to 30, a*C(C+H) + b*(C+H) + c fitted to them.
The mean time of the first three steps without history overwrites the target. The target's budget
runs down over a step's prefills; each is smoothed, at least min_chunk_tokens, and rounded up to
max(block, 64). Source: vllm-ascend's design document "Dynamic Chunked Pipeline Parallel" and its
pull requests 7896, 8769 and 10035.)")
      .def(py::init<const LatencyModel&, std::int64_t, double, std::int64_t, std::int64_t>(),
           py::arg("model"), py::arg("base_chunk_tokens"), py::kw_only(),
           py::arg("smooth_factor") = 1.0, py::arg("min_chunk_tokens") = 4096,
           py::arg("block_tokens") = 128,
           R"(Make the policy for one stage's model and the engine's max_num_batched_tokens.

Raises InvalidArgument unless smooth_factor is in [0, 1] and the counts are in [0, 10^12].)")
      .def_property_readonly("target_ms", &VllmAscendPolicy::target_ms,
                             "Step time aimed at, in ms.")
      .def_property_readonly("is_fitted", &VllmAscendPolicy::is_fitted,
                             "Whether the second phase has begun.");

  py::class_<AtomPolicy, ChunkPolicy>(module, "AtomPolicy", py::is_final(),
                                      R"(ATOM's dynamic chunks.

x solves t(L, x) = t(0, base) with t = c + gamma*L + b*x + a*(2*L*x + x^2); smoothed, not so small
that c + gamma*L is more than max_overhead_share of its time, nor below min_chunk_tokens, at most
the base, rounded down to max(block, 64). Only for a prompt that has been alone for
num_recent_steps; otherwise steps hold base_chunk_tokens. Source: ROCm/ATOM pull request 2007.)")
      .def(py::init([](const LatencyModel& model, std::int64_t base_chunk_tokens,
                       double smooth_factor, std::int64_t min_chunk_tokens,
                       std::int64_t block_tokens, double max_overhead_share,
                       std::int64_t num_recent_steps) {
             return AtomPolicy(model, base_chunk_tokens,
                               {.smooth_factor = smooth_factor,
                                .min_chunk_tokens = min_chunk_tokens,
                                .block_tokens = block_tokens,
                                .max_overhead_share = max_overhead_share,
                                .num_recent_steps = num_recent_steps});
           }),
           py::arg("model"), py::arg("base_chunk_tokens"), py::kw_only(),
           py::arg("smooth_factor") = 0.75, py::arg("min_chunk_tokens") = 4096,
           py::arg("block_tokens") = 64, py::arg("max_overhead_share") = 0.2,
           py::arg("num_recent_steps") = 4,
           R"(Make the policy for one stage's model and the engine's max_num_batched_tokens.

smooth_factor in [0, 1]; max_overhead_share in [0, 1], 1 for no such floor. Raises
InvalidArgument.)");
}

void bind_terapipe(py::module_& module) {
  py::class_<TerapipePolicy, ChunkPolicy>(
      module, "TerapipePolicy", py::is_final(),
      R"(Follows terapipe_plan, made for each prompt as if it were alone.

A planned chunk that does not fit beside another prompt's waits for the next step. Equal prompts
share a plan; other lengths cost a plan each, which takes milliseconds to seconds.)")
      .def(py::init([](const std::vector<LatencyModel>& stages, std::int64_t max_chunk_tokens,
                       std::int64_t granule_tokens) {
             return TerapipePolicy(Stages(stages), max_chunk_tokens, granule_tokens);
           }),
           py::arg("stages"), py::kw_only(), py::arg("max_chunk_tokens"), py::arg("granule_tokens"),
           R"(Make the policy for equal stages, one model each.

Raises InvalidArgument, while serving too, where terapipe_plan refuses, and for plans of more than
10^6 chunks in all.)");

  module.def(
      "terapipe_plan",
      [](const std::vector<LatencyModel>& stages, std::int64_t prompt_tokens,
         std::int64_t max_chunk_tokens, std::int64_t granule_tokens,
         std::int64_t num_computed_tokens) {
        return terapipe_plan(Stages(stages), prompt_tokens, max_chunk_tokens, granule_tokens,
                             num_computed_tokens);
      },
      py::arg("stages"), py::arg("prompt_tokens"), py::kw_only(), py::arg("max_chunk_tokens"),
      py::arg("granule_tokens"), py::arg("num_computed_tokens") = 0,
      // Long enough to let other threads run.
      py::call_guard<py::gil_scoped_release>(),
      R"(The best plan there is for one prompt alone in a pipeline of equal stages.

TeraPipe's dynamic programme (arXiv 2102.07988): the least sum(t) + (S-1) * max(t) over all cuts
at multiples of granule_tokens, exact to 1e-9. stages: one model a stage. The plan's target_ms is
its longest step. Raises InvalidArgument for unequal stages, bad counts, or a granule so fine that
cuts times chunk lengths exceed 2^24.)");
}

}  // namespace

void bind_policies(py::module_& module) {
  py::class_<FixedPolicy, ChunkPolicy>(
      module, "FixedPolicy", py::is_final(),
      R"(Chunks of one size: what vLLM does with max_num_batched_tokens set to it.

A step's tokens, decodes included, share the size, first come first served.)")
      .def(py::init<std::int64_t>(), py::arg("chunk_tokens"),
           "Make the policy. Raises InvalidArgument unless chunk_tokens is in [1, 10^12].");
  bind_published(module);
  bind_terapipe(module);
}

}  // namespace cpp_chunk::bindings
