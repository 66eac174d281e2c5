#include "cpp_chunk/profile_design.h"

#include <limits>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {
namespace {

using Pass = std::pair<TokenPair, double>;

std::vector<TokenPair> to_pairs(const std::vector<Chunk>& chunks) {
  std::vector<TokenPair> pairs;
  pairs.reserve(chunks.size());
  for (const Chunk& chunk : chunks) {
    pairs.emplace_back(chunk.num_tokens, chunk.num_computed_tokens);
  }
  return pairs;
}

}  // namespace

void bind_profile_design(py::module_& module) {
  py::class_<ProfileSpace>(module, "ProfileSpace", "What passes of a start-up profile may be.")
      .def(
          py::init([](std::int64_t smallest_chunk_tokens, std::int64_t max_chunk_tokens,
                      std::int64_t max_context_tokens, std::int64_t alignment,
                      double longest_pass_ms) {
            return ProfileSpace{.smallest_chunk_tokens = smallest_chunk_tokens,
                                .max_chunk_tokens = max_chunk_tokens,
                                .max_context_tokens = max_context_tokens,
                                .alignment = alignment,
                                .longest_pass_ms = longest_pass_ms};
          }),
          py::kw_only(), py::arg("smallest_chunk_tokens"), py::arg("max_chunk_tokens"),
          py::arg("max_context_tokens"), py::arg("alignment") = 1,
          py::arg("longest_pass_ms") = std::numeric_limits<double>::infinity(),
          R"(Chunks of smallest to max_chunk_tokens with a history, together up to max_context_tokens.

Sizes and histories are multiples of alignment where they can be; no pass is chosen that is
expected to take longer than longest_pass_ms, but where too few others are left for a fit.)");
  module.def(
      "scouting_passes", [](const ProfileSpace& space) { return to_pairs(scouting_passes(space)); },
      py::arg("space"),
      R"(The passes to measure before anything is known, as [(num_tokens, num_computed_tokens), ...].

Small ones, the cheapest first. Raises InvalidArgument for a space without room.)");
  module.def(
      "next_passes",
      [](const ProfileSpace& space, const std::vector<Pass>& measured, std::size_t num_new,
         std::size_t num_repeats) {
        std::vector<MeasuredPass> passes;
        passes.reserve(measured.size());
        for (const auto& [pair, latency_ms] : measured) {
          passes.push_back({.chunk = {.num_tokens = pair.first, .num_computed_tokens = pair.second},
                            .latency_ms = latency_ms});
        }
        return to_pairs(next_passes(space, passes, num_new, num_repeats));
      },
      py::arg("space"), py::arg("measured"), py::kw_only(), py::arg("num_new"),
      py::arg("num_repeats") = 0,
      R"(The passes that tell most beside those that were measured: an optimal (I-optimal) design.

measured: [((num_tokens, num_computed_tokens), latency_ms), ...], at least one.
num_new: passes that differ from all measured ones; num_repeats: such as were measured once and are
furthest from what the others say. Returns new passes, then repeats, as [(num_tokens, num_computed_tokens), ...];
fewer where the space has no more. Raises InvalidArgument for a space without room or an unusable pass.)");
}

}  // namespace cpp_chunk::bindings
