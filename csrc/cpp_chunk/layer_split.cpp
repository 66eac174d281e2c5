#include "cpp_chunk/layer_split.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/plan.h"

namespace cpp_chunk {
namespace {

// Steps of this many tokens weigh the stages against each other.
constexpr std::int64_t kWeighingChunks = 16;

double work_ms(const LatencyModel& model, std::int64_t prompt_tokens) {
  const std::int64_t num_tokens = std::max<std::int64_t>(1, prompt_tokens / kWeighingChunks);
  double sum_ms = 0.0;
  for (std::int64_t done = 0; done < prompt_tokens; done += num_tokens) {
    StepFeatures features;
    features.add(
        {.num_tokens = std::min(num_tokens, prompt_tokens - done), .num_computed_tokens = done});
    sum_ms += model.step_ms(features);
  }
  return sum_ms;
}

}  // namespace

std::vector<std::int64_t> default_layer_split(std::int64_t num_layers, std::int64_t num_stages) {
  if (num_stages < 1 || num_stages > kMaxStages || num_layers < num_stages ||
      num_layers > kMaxTokens) {
    const bool is_stages = num_stages < 1 || num_stages > kMaxStages;
    throw InvalidArgument({.field = is_stages ? "num_stages" : "num_layers",
                           .value = std::to_string(is_stages ? num_stages : num_layers)},
                          "num_layers must be at least num_stages, and that in [1, " +
                              std::to_string(kMaxStages) + "], got " + std::to_string(num_layers) +
                              " layers and " + std::to_string(num_stages) + " stages");
  }
  std::vector<std::int64_t> layers(static_cast<std::size_t>(num_stages), num_layers / num_stages);
  // The last stage has the norm and the head to compute as well.
  for (std::int64_t left = num_layers % num_stages; left > 0; --left) {
    ++layers[static_cast<std::size_t>(num_stages - 1 - left)];
  }
  return layers;
}

LayerSplit best_layer_split(const Stages& stages, std::int64_t prompt_tokens,
                            std::span<const std::int64_t> layers, const ChunkLimits& limits) {
  if (layers.size() != stages.size()) {
    throw InvalidArgument("layers",
                          "given for each of " + std::to_string(stages.size()) + " stages",
                          std::to_string(layers.size()));
  }
  for (const std::int64_t count : layers) {
    if (count < 1 || count > kMaxTokens) {
      throw InvalidArgument({.field = "layers", .value = std::to_string(count)},
                            "a stage has at least one layer, got " + std::to_string(count));
    }
  }
  LayerSplit split;
  split.layers.assign(layers.begin(), layers.end());
  split.makespan_before_ms = plan_chunks(stages, prompt_tokens, limits).makespan_ms;
  split.makespan_ms = split.makespan_before_ms;

  std::vector<double> layer_ms;
  layer_ms.reserve(stages.size());
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    layer_ms.push_back(work_ms(stages[stage], prompt_tokens) / static_cast<double>(layers[stage]));
  }
  if (!std::isfinite(std::accumulate(layer_ms.begin(), layer_ms.end(), 0.0))) {
    return split;
  }
  // Shares in proportion, rounded down; then one layer after the other to the stage that is
  // shortest with it. That minimises the longest stage.
  const auto total = std::accumulate(layers.begin(), layers.end(), std::int64_t{0});
  double inverse_sum = 0.0;
  for (const double time_ms : layer_ms) {
    inverse_sum += 1.0 / std::max(time_ms, 1e-12);
  }
  std::vector<std::int64_t> even;
  std::int64_t given = 0;
  for (const double time_ms : layer_ms) {
    const double share = static_cast<double>(total) / (std::max(time_ms, 1e-12) * inverse_sum);
    even.push_back(std::max<std::int64_t>(1, static_cast<std::int64_t>(share)));
    given += even.back();
  }
  const auto time_with = [&](std::size_t stage, std::int64_t more) {
    return layer_ms[stage] * static_cast<double>(even[stage] + more);
  };
  for (; given < total; ++given) {
    std::size_t shortest = 0;
    for (std::size_t stage = 1; stage < even.size(); ++stage) {
      if (time_with(stage, 1) < time_with(shortest, 1)) {
        shortest = stage;
      }
    }
    ++even[shortest];
  }
  for (; given > total; --given) {
    // Every stage keeps a layer: take the surplus from the longest that can spare one.
    std::size_t longest = even.size();
    for (std::size_t stage = 0; stage < even.size(); ++stage) {
      if (even[stage] > 1 &&
          (longest == even.size() || time_with(stage, 0) > time_with(longest, 0))) {
        longest = stage;
      }
    }
    --even[longest];
  }

  std::vector<LatencyModel> models;
  models.reserve(stages.size());
  for (std::size_t stage = 0; stage < stages.size(); ++stage) {
    models.push_back(stages[stage].scaled(static_cast<double>(even[stage]) /
                                          static_cast<double>(layers[stage])));
  }
  const double even_ms = plan_chunks(Stages(std::move(models)), prompt_tokens, limits).makespan_ms;
  if (even_ms < split.makespan_ms) {
    split.layers = std::move(even);
    split.makespan_ms = even_ms;
  }
  return split;
}

}  // namespace cpp_chunk
