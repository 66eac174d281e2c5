#include "cpp_chunk/policy.h"

#include <string>

#include "bindings/bindings.h"
#include "cpp_chunk/check.h"
#include "cpp_chunk/error.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {
namespace {

// Named in full in the signature, so that a subclass can annotate its method with what it gets.
class Pairs : public py::sequence {
  using sequence::sequence;
};

}  // namespace
}  // namespace cpp_chunk::bindings

template <>
struct pybind11::detail::handle_type_name<cpp_chunk::bindings::Pairs> {
  // NOLINTNEXTLINE(readability-identifier-naming): pybind11 asks for it
  static constexpr auto name = const_name("collections.abc.Sequence[tuple[int, int]]");
};

namespace cpp_chunk::bindings {
namespace {

// A policy written in Python. The simulator calls it without the GIL, so every call takes it.
class PythonPolicy final : public ChunkPolicy {
 public:
  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override {
    const py::gil_scoped_acquire gil;
    const py::function method = required("set_backlog");
    py::list pairs(prompts.size());
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      pairs[i] = py::make_tuple(prompts[i].num_tokens, prompts[i].num_computed_tokens);
    }
    method(pairs, num_under_way);
  }

  void begin_step() override {
    const py::gil_scoped_acquire gil;
    required("begin_step")();
  }

  std::int64_t chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) override {
    const py::gil_scoped_acquire gil;
    const py::object answer =
        required("chunk_tokens")(prompt.num_tokens, prompt.num_computed_tokens, max_tokens);
    try {
      return answer.cast<std::int64_t>();
    } catch (const py::cast_error&) {
      const std::string got(py::repr(answer));
      throw InvalidArgument({.field = "chunk_tokens", .value = got},
                            "the policy's chunk_tokens must return an int of 64 bits, got " + got);
    }
  }

  void add_chunk(const Chunk& chunk) override {
    const py::gil_scoped_acquire gil;
    required("add_chunk")(chunk.num_tokens, chunk.num_computed_tokens);
  }

  void set_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                   std::int64_t tokens_each) override {
    const py::gil_scoped_acquire gil;
    call_if_there("set_decodes", num_decodes, num_computed_tokens, tokens_each);
  }

  void step_scheduled(std::int64_t step, std::span<const Chunk> prefills) override {
    const py::gil_scoped_acquire gil;
    if (const py::function method = overridden("step_scheduled")) {
      py::list pairs(prefills.size());
      for (std::size_t i = 0; i < prefills.size(); ++i) {
        pairs[i] = py::make_tuple(prefills[i].num_tokens, prefills[i].num_computed_tokens);
      }
      method(step, pairs);
    }
  }

  void step_left(std::int64_t step) override {
    const py::gil_scoped_acquire gil;
    call_if_there("step_left", step);
  }

  void measured(const StepFeatures& features, double latency_ms) override {
    const py::gil_scoped_acquire gil;
    call_if_there("measured", features, latency_ms);
  }

 private:
  template <typename... Args>
  void call_if_there(const char* name, const Args&... args) const {
    if (const py::function method = overridden(name)) {
      method(args...);
    }
  }

  [[nodiscard]] py::function overridden(const char* name) const {
    return py::get_override(static_cast<const ChunkPolicy*>(this), name);
  }

  [[nodiscard]] py::function required(const char* name) const {
    py::function method = overridden(name);
    if (!method) {
      PyErr_Format(PyExc_NotImplementedError, "a ChunkPolicy must have %s", name);
      throw py::error_already_set();
    }
    return method;
  }
};

std::vector<TokenPair> checked_pairs(const Pairs& pairs) {
  std::vector<TokenPair> counts;
  try {
    counts = pairs.cast<std::vector<TokenPair>>();
  } catch (const py::cast_error&) {
    throw py::type_error("prompts must be (num_tokens, num_computed_tokens) pairs of int");
  }
  for (const auto& [num_tokens, num_computed_tokens] : counts) {
    check_chunk({.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
  }
  return counts;
}

void bind_features(py::module_& module) {
  py::class_<StepFeatures>(module, "StepFeatures",
                           "What the latency of a step depends on, summed over its chunks.")
      .def_readonly("half_square_sum", &StepFeatures::half_square_sum,
                    "sum(num_tokens^2 / 2), in tokens^2.")
      .def_readonly("cross_sum", &StepFeatures::cross_sum,
                    "sum(num_tokens * num_computed_tokens), in tokens^2.")
      .def_readonly("token_sum", &StepFeatures::token_sum, "sum(num_tokens).")
      .def_readonly("context_sum", &StepFeatures::context_sum, "sum(num_computed_tokens).");
}

}  // namespace

void bind_policy(py::module_& module) {
  bind_features(module);
  module.attr("MAX_TOLD_PROMPTS") = kMaxToldPrompts;
  module.attr("TELL_EVERY_STEPS") = kTellEverySteps;
  py::class_<ChunkPolicy, PythonPolicy>(module, "ChunkPolicy",
                                        R"(Who decides how many tokens each prefill gets in a step.

To be subclassed; __init__ must call super().__init__(). A scheduler calls, in this order:
set_decodes and set_backlog when requests have come, gone, or ended their prefill since the last
step; begin_step; then, first come first served, chunk_tokens followed by add_chunk for every
prefill, and add_chunk alone for every decode; step_scheduled once the step is complete; step_left,
and measured, once it has left the last stage. What was asked and added counts for the step under way
alone: what is done is what step_scheduled says.
set_decodes, step_scheduled, step_left and measured need not be there.)")
      .def(py::init<>())
      .def("set_decodes", &ChunkPolicy::set_decodes, py::arg("num_decodes").noconvert(),
           py::arg("num_computed_tokens").noconvert(), py::arg("tokens_each").noconvert() = 1,
           R"(How many requests are past their prefill, and the sum of their histories.

tokens_each: more than 1 with speculative tokens.)")
      .def(
          "set_backlog",
          [](ChunkPolicy& policy, const Pairs& pairs, std::size_t num_under_way) {
            // Counted once they are read: a sequence may yield fewer than it says that it has.
            const std::vector<PromptWork> prompts = to_prompts(checked_pairs(pairs));
            if (num_under_way > prompts.size()) {
              throw InvalidArgument("num_under_way",
                                    "in [0, " + std::to_string(prompts.size()) + "]",
                                    std::to_string(num_under_way));
            }
            policy.set_backlog(prompts, num_under_way);
          },
          py::arg("prompts"), py::arg("num_under_way").noconvert(),
          R"(What waits or is part-way before the next step.

prompts: [(remaining_tokens, num_computed_tokens), ...], those under way first, then those that
wait, first come first; num_under_way: how many of them, from the front, have chunks in earlier
steps.)")
      .def("begin_step", &ChunkPolicy::begin_step, "A new, empty step.")
      .def(
          "chunk_tokens",
          [](ChunkPolicy& policy, std::int64_t remaining_tokens, std::int64_t num_computed_tokens,
             std::int64_t max_tokens) {
            const PromptWork prompt{.num_tokens = remaining_tokens,
                                    .num_computed_tokens = num_computed_tokens};
            check_chunk(
                {.num_tokens = remaining_tokens, .num_computed_tokens = num_computed_tokens});
            check_chunk({.num_tokens = max_tokens, .num_computed_tokens = 0});
            return policy.chunk_tokens(prompt, max_tokens);
          },
          py::arg("remaining_tokens").noconvert(), py::arg("num_computed_tokens").noconvert(),
          py::arg("max_tokens").noconvert(),
          R"(The chunk of a prompt in the step as it stands; commits nothing.

max_tokens: what the engine still admits to the step. In [0, min(remaining_tokens, max_tokens)];
0 leaves the prompt to a later step.)")
      .def(
          "add_chunk",
          [](ChunkPolicy& policy, std::int64_t num_tokens, std::int64_t num_computed_tokens) {
            const Chunk chunk{.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens};
            check_chunk(chunk);
            policy.add_chunk(chunk);
          },
          py::arg("num_tokens").noconvert(), py::arg("num_computed_tokens").noconvert(),
          "The step now holds this chunk as well, whoever chose it; one token is a decode.")
      .def(
          "step_scheduled",
          [](ChunkPolicy& policy, std::int64_t step, const Pairs& prefills) {
            policy.step_scheduled(step, to_chunks(checked_pairs(prefills)));
          },
          py::arg("step").noconvert(), py::arg("prefills"),
          R"(A step went off, with this number; numbers rise.

prefills: [(num_tokens, num_computed_tokens), ...], its chunks without the decodes.)")
      .def("step_left", &ChunkPolicy::step_left, py::arg("step").noconvert(),
           "The step of this number has left the last stage, and so have all before it.")
      .def("measured", &ChunkPolicy::measured, py::arg("features"),
           py::arg("latency_ms").noconvert(),
           "How long a step took on its slowest stage, for policies that learn while serving.");
}

}  // namespace cpp_chunk::bindings
