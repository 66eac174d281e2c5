// The layer split, for any number of layers.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/layer_split.h"
#include "harness.h"
#include "require.h"

namespace cpp_chunk::fuzz {
namespace {

void run_default(Input& input) {
  const std::int64_t num_layers = input.tokens();
  const std::vector<std::int64_t> split = default_layer_split(num_layers, input.tokens());
  require(std::accumulate(split.begin(), split.end(), std::int64_t{0}) == num_layers,
          "all layers are given out");
  const auto [fewest, most] = std::ranges::minmax(split);
  require(fewest >= 1 && most - fewest <= 1, "shares are even");
}

void run_best(Input& input) {
  const Stages stages = input.stages();
  const ChunkLimits limits = input.limits();
  const std::int64_t prompt_tokens = input.tokens();
  std::vector<std::int64_t> layers;
  const std::size_t num_counts = input.choice(15) == 0 ? input.count(8) : stages.size();
  for (std::size_t stage = 0; stage < num_counts; ++stage) {
    layers.push_back(input.is_used_up() ? 4 : input.tokens());
  }
  const LayerSplit split = best_layer_split(stages, prompt_tokens, layers, limits);
  require(split.layers.size() == stages.size(), "each stage has its layers");
  require(std::accumulate(split.layers.begin(), split.layers.end(), std::int64_t{0}) ==
              std::accumulate(layers.begin(), layers.end(), std::int64_t{0}),
          "no layer is lost");
  require(std::ranges::min(split.layers) >= 1, "each stage has a layer");
  require(split.makespan_ms <= split.makespan_before_ms, "the split is never predicted worse");
}

}  // namespace

void run(Input& input) {
  try {
    if (input.choice(7) == 0) {
      run_default(input);
    } else {
      run_best(input);
    }
  } catch (const InvalidArgument&) {
  }
}

}  // namespace cpp_chunk::fuzz
