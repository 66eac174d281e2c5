#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <tuple>

#include "bindings/bindings.h"
#include "cpp_chunk/simulator/simulate.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {
namespace {

// Python's signal handlers, Ctrl-C's among them, run when somebody asks, and in the main thread
// only. That takes the GIL, so not at every step.
class SignalCheck {
 public:
  void operator()() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) {
      return;
    }
    next_ = now + kPeriod;
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) {
      throw py::error_already_set();
    }
  }

 private:
  // Nobody feels it, and a GIL that another thread holds for its 5 ms costs little of it.
  static constexpr std::chrono::milliseconds kPeriod{100};

  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + kPeriod;
};

void bind_request(py::module_& module) {
  py::class_<SimulatedRequest>(module, "SimulatedRequest", "One request of a simulated workload.")
      .def(py::init([](std::int64_t prompt_tokens, double arrival_ms, std::int64_t output_tokens,
                       std::int64_t cached_tokens) {
             return SimulatedRequest{.prompt_tokens = prompt_tokens,
                                     .arrival_ms = arrival_ms,
                                     .output_tokens = output_tokens,
                                     .cached_tokens = cached_tokens};
           }),
           py::arg("prompt_tokens"), py::kw_only(), py::arg("arrival_ms") = 0.0,
           py::arg("output_tokens") = 1, py::arg("cached_tokens") = 0,
           R"(Describe a request; simulate checks it.

prompt_tokens and output_tokens (the first of which comes from the prefill): >= 1; arrival_ms:
>= 0; cached_tokens: prefix that the cache holds, of which at least one token is computed anew.)")
      .def_readonly("prompt_tokens", &SimulatedRequest::prompt_tokens, "Tokens of the prompt.")
      .def_readonly("arrival_ms", &SimulatedRequest::arrival_ms, "When it is sent.")
      .def_readonly("output_tokens", &SimulatedRequest::output_tokens, "Tokens it gets.")
      .def_readonly("cached_tokens", &SimulatedRequest::cached_tokens,
                    "Prefix of the prompt that the cache holds.")
      .def("__repr__", [](const SimulatedRequest& request) -> std::string {
        return py::str(
                   "SimulatedRequest({!r}, arrival_ms={!r}, output_tokens={!r}, "
                   "cached_tokens={!r})")
            .format(request.prompt_tokens, request.arrival_ms, request.output_tokens,
                    request.cached_tokens);
      });
}

void bind_pipeline(py::module_& module) {
  py::class_<SimulatedPipeline>(module, "SimulatedPipeline",
                                "An engine with pipeline parallelism, as the simulator sees it.")
      .def(py::init([](const std::vector<LatencyModel>& stages, std::int64_t max_num_batched_tokens,
                       std::int64_t max_num_seqs, double gap_ms, double transfer_ms,
                       double transfer_ms_per_token, bool transfer_overlaps,
                       std::optional<std::int64_t> max_in_flight,
                       std::optional<std::int64_t> max_concurrency) {
             SimulatedPipeline pipeline{.stages = stages,
                                        .max_num_batched_tokens = max_num_batched_tokens,
                                        .max_num_seqs = max_num_seqs,
                                        .gap_ms = gap_ms,
                                        .transfer_ms = transfer_ms,
                                        .transfer_ms_per_token = transfer_ms_per_token,
                                        .transfer_overlaps = transfer_overlaps,
                                        .max_in_flight = max_in_flight,
                                        .max_concurrency = max_concurrency};
             pipeline.check();
             return pipeline;
           }),
           py::arg("stages"), py::kw_only(), py::arg("max_num_batched_tokens"),
           py::arg("max_num_seqs") = 256, py::arg("gap_ms") = 0.0, py::arg("transfer_ms") = 0.0,
           py::arg("transfer_ms_per_token") = 0.0, py::arg("transfer_overlaps") = true,
           py::arg("max_in_flight") = py::none(), py::arg("max_concurrency") = py::none(),
           R"(Describe a pipeline.

stages: one LatencyModel a stage, in order; max_num_batched_tokens: tokens that a step may hold;
max_num_seqs: requests under way at once; gap_ms: the engine's cost of every step on every stage.
A step takes transfer_ms + transfer_ms_per_token * tokens from one stage to the next; a link
carries one at a time, and unless transfer_overlaps the sender stays occupied meanwhile.
max_in_flight: steps scheduled that have not left the last stage, by default as many as stages.
max_concurrency: for a closed loop, requests inside at once; the next enters when its arrival time
has come and a place is free. By default all enter when they arrive.
Raises InvalidArgument for an empty list, counts outside of [1, 10^12], or times that are not finite
and >= 0.)")
      .def_readonly("stages", &SimulatedPipeline::stages, "One LatencyModel a stage.")
      .def_readonly("max_num_batched_tokens", &SimulatedPipeline::max_num_batched_tokens,
                    "Tokens that a step may hold.")
      .def_readonly("max_num_seqs", &SimulatedPipeline::max_num_seqs, "Requests under way at once.")
      .def_readonly("gap_ms", &SimulatedPipeline::gap_ms,
                    "The engine's cost of every step on every stage.")
      .def_readonly("transfer_ms", &SimulatedPipeline::transfer_ms,
                    "From one stage to the next, for every step.")
      .def_readonly("transfer_ms_per_token", &SimulatedPipeline::transfer_ms_per_token,
                    "From one stage to the next, for every token.")
      .def_readonly("transfer_overlaps", &SimulatedPipeline::transfer_overlaps,
                    "Whether a stage is free while it sends.")
      .def_property_readonly("max_in_flight", &SimulatedPipeline::in_flight_limit,
                             "Steps scheduled that have not left the last stage.")
      .def_readonly("max_concurrency", &SimulatedPipeline::max_concurrency,
                    "Requests inside at once, or None.");
}

void bind_times(py::module_& module) {
  py::class_<Distribution>(module, "Distribution", "Times in brief, in ms; all 0 without any.")
      .def_readonly("mean", &Distribution::mean, "Mean.")
      .def_readonly("p50", &Distribution::p50, "Median, between the two nearest values.")
      .def_readonly("p90", &Distribution::p90, "90th percentile.")
      .def_readonly("p99", &Distribution::p99, "99th percentile.")
      .def_readonly("max", &Distribution::max, "Largest.")
      .def_readonly("count", &Distribution::count, "How many.")
      .def("__repr__", [](const Distribution& times) -> std::string {
        return py::str(
                   "Distribution(mean={:.6g}, p50={:.6g}, p90={:.6g}, p99={:.6g}, max={:.6g}, "
                   "count={})")
            .format(times.mean, times.p50, times.p90, times.p99, times.max, times.count);
      });

  py::class_<RequestTimes>(module, "RequestTimes",
                           "When a request came and what it got, in ms from the start.")
      .def_readonly("arrival_ms", &RequestTimes::arrival_ms,
                    "When it entered: in a closed loop, when a place was free for it.")
      .def_readonly("first_token_ms", &RequestTimes::first_token_ms,
                    "When the step with its last prefill chunk left the last stage.")
      .def_readonly("end_ms", &RequestTimes::end_ms, "When its last token came.")
      .def("__repr__", [](const RequestTimes& times) -> std::string {
        return py::str("RequestTimes(arrival_ms={!r}, first_token_ms={!r}, end_ms={!r})")
            .format(times.arrival_ms, times.first_token_ms, times.end_ms);
      });
}

void bind_result(py::module_& module) {
  py::class_<SimulatedStep>(module, "SimulatedStep", "One step, for the trace.")
      .def_property_readonly(
          "stage_spans_ms",
          [](const SimulatedStep& step) {
            std::vector<std::pair<double, double>> spans_ms;
            spans_ms.reserve(step.stage_spans_ms.size());
            for (const StageSpan& span : step.stage_spans_ms) {
              spans_ms.emplace_back(span.start_ms, span.end_ms);
            }
            return spans_ms;
          },
          "[(start_ms, end_ms), ...], one a stage, the gap included.")
      .def_property_readonly(
          "chunks",
          [](const SimulatedStep& step) {
            std::vector<std::tuple<std::size_t, std::int64_t, std::int64_t>> chunks;
            chunks.reserve(step.chunks.size());
            for (const StepChunk& chunk : step.chunks) {
              chunks.emplace_back(chunk.request_index, chunk.num_tokens, chunk.num_computed_tokens);
            }
            return chunks;
          },
          "[(request_index, num_tokens, num_computed_tokens), ...].");

  py::class_<SimulationResult>(module, "SimulationResult", "What came of a simulated workload.")
      .def_readonly("makespan_ms", &SimulationResult::makespan_ms,
                    "From the first arrival to the last token.")
      .def_readonly("num_steps", &SimulationResult::num_steps, "Steps taken.")
      .def_readonly("ttft_ms", &SimulationResult::ttft_ms,
                    "Distribution of first_token_ms - arrival_ms, one value a request.")
      .def_readonly("inter_token_ms", &SimulationResult::inter_token_ms,
                    "Distribution of the time to each token after a request's first.")
      .def_readonly("prompt_tokens_per_s", &SimulationResult::prompt_tokens_per_s,
                    "Prompt tokens computed a second; prefix hits are left out.")
      .def_readonly("output_tokens_per_s", &SimulationResult::output_tokens_per_s,
                    "Output tokens a second.")
      .def_readonly("bubble_share", &SimulationResult::bubble_share,
                    "Of each stage, 1 - busy / (last end - first start).")
      .def_readonly("requests", &SimulationResult::requests,
                    "RequestTimes in the order the requests were given.")
      .def_readonly("steps", &SimulationResult::steps, "SimulatedSteps, if recorded.")
      .def("__repr__", [](const SimulationResult& result) -> std::string {
        return py::str("SimulationResult(makespan_ms={:.6g}, num_steps={}, ttft_ms={!r})")
            .format(result.makespan_ms, result.num_steps, result.ttft_ms);
      });
}

}  // namespace

void bind_simulator(py::module_& module) {
  bind_request(module);
  bind_pipeline(module);
  bind_times(module);
  bind_result(module);
  module.def(
      "simulate",
      [](const SimulatedPipeline& pipeline, const std::vector<SimulatedRequest>& requests,
         ChunkPolicy& policy, bool record_steps) {
        SignalCheck check_signals;
        return simulate(pipeline, requests, policy, record_steps, std::ref(check_signals));
      },
      py::arg("pipeline"), py::arg("requests"), py::arg("policy"), py::kw_only(),
      py::arg("record_steps") = false,
      // A long run lets other threads go on, such as the one that shows progress.
      py::call_guard<py::gil_scoped_release>(),
      R"(Run a workload through a pipeline whose chunks a policy sizes.

Event-driven, as vLLM with pipeline parallelism: first come first served, requests under way
before waiting ones; a decode waits for the token before it, prefill chunks follow each other.
requests: in any order, served by arrival. policy: any ChunkPolicy; not to be used elsewhere
meanwhile. record_steps: list every step in the result, up to 256 MiB of them. Ctrl-C ends it.
Raises InvalidArgument for bad requests, for a policy whose chunk is out of its range or that
gives nothing while nothing is in flight, and for more than 10^7 requests, 10^8 output tokens or
10^8 steps.)");
}

}  // namespace cpp_chunk::bindings
