#include "cpp_chunk/layer_split.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/plan.h"

namespace cpp_chunk {
namespace {

using Layers = std::vector<std::int64_t>;

const ChunkLimits kLimits{.max_chunk_tokens = 32768, .min_chunk_tokens = 256, .alignment = 128};
constexpr std::int64_t kPromptTokens = 65'536;

LatencyModel layers_of(std::int64_t num_layers, double layer_factor = 1.0) {
  return LatencyModel({.quadratic = 1e-8, .cross = 1e-8, .linear = 1e-4, .constant = 0.5})
      .scaled(static_cast<double>(num_layers) * layer_factor);
}

TEST(DefaultLayerSplit, IsThatOfVllm) {
  // get_pp_indices of vllm/distributed/utils.py: what is left over goes to the stages before the
  // last, from there towards the first.
  EXPECT_EQ(default_layer_split(60, 4), (Layers{15, 15, 15, 15}));
  EXPECT_EQ(default_layer_split(61, 4), (Layers{15, 15, 16, 15}));
  EXPECT_EQ(default_layer_split(62, 4), (Layers{15, 16, 16, 15}));
  EXPECT_EQ(default_layer_split(63, 4), (Layers{16, 16, 16, 15}));
  EXPECT_EQ(default_layer_split(5, 2), (Layers{3, 2}));
  EXPECT_EQ(default_layer_split(7, 1), (Layers{7}));
  EXPECT_EQ(default_layer_split(3, 3), (Layers{1, 1, 1}));
}

TEST(DefaultLayerSplit, RefusesBadArguments) {
  EXPECT_THROW((void)default_layer_split(3, 4), InvalidArgument);
  EXPECT_THROW((void)default_layer_split(3, 0), InvalidArgument);
  EXPECT_THROW((void)default_layer_split(0, 0), InvalidArgument);
  EXPECT_THROW((void)default_layer_split(-1, -1), InvalidArgument);
  EXPECT_THROW((void)default_layer_split(kMaxTokens, kMaxStages + 1), InvalidArgument);
}

TEST(BestLayerSplit, ByHand) {
  // A layer of the second stage takes three times as long: six of the eight go to the first.
  const Stages stages({layers_of(4), layers_of(4, 3.0)});
  const LayerSplit split =
      best_layer_split(stages, kPromptTokens, std::array<std::int64_t, 2>{4, 4}, kLimits);
  EXPECT_EQ(split.layers, (Layers{6, 2}));
  EXPECT_LT(split.makespan_ms, 0.6 * split.makespan_before_ms);
}

TEST(BestLayerSplit, PredictsWhatAPlanForThatSplitTakes) {
  const Stages stages({layers_of(4), layers_of(4, 3.0)});
  const LayerSplit split =
      best_layer_split(stages, kPromptTokens, std::array<std::int64_t, 2>{4, 4}, kLimits);
  EXPECT_NEAR(split.makespan_before_ms, plan_chunks(stages, kPromptTokens, kLimits).makespan_ms,
              1e-9);
  const Stages even({layers_of(6), layers_of(2, 3.0)});
  EXPECT_NEAR(split.makespan_ms / plan_chunks(even, kPromptTokens, kLimits).makespan_ms, 1.0, 1e-9);
}

TEST(BestLayerSplit, ALastStageWithAHeadGivesLayersAway) {
  // 61 layers over four stages, and a head worth three layers on the last: 16 each.
  const Stages stages({layers_of(15), layers_of(15), layers_of(16), layers_of(18)});
  const LayerSplit split =
      best_layer_split(stages, kPromptTokens, default_layer_split(61, 4), kLimits);
  // A layer of the last stage is taken to cost 18/15, the head being spread over its layers.
  EXPECT_EQ(split.layers, (Layers{16, 16, 16, 13}));
  EXPECT_LT(split.makespan_ms, split.makespan_before_ms);
}

TEST(BestLayerSplit, EvenStagesStayAsTheyAre) {
  const Stages stages(layers_of(8), 4);
  const Layers layers{8, 8, 8, 8};
  const LayerSplit split = best_layer_split(stages, kPromptTokens, layers, kLimits);
  EXPECT_EQ(split.layers, layers);
  EXPECT_DOUBLE_EQ(split.makespan_ms, split.makespan_before_ms);
}

TEST(BestLayerSplit, EveryStageKeepsALayer) {
  const Stages stages({layers_of(1), layers_of(1, 1000.0), layers_of(1)});
  const LayerSplit split =
      best_layer_split(stages, kPromptTokens, std::array<std::int64_t, 3>{1, 1, 1}, kLimits);
  EXPECT_EQ(split.layers, (Layers{1, 1, 1}));
  const Stages lopsided({layers_of(2), layers_of(20, 1e6)});
  const LayerSplit shifted =
      best_layer_split(lopsided, kPromptTokens, std::array<std::int64_t, 2>{2, 20}, kLimits);
  EXPECT_EQ(shifted.layers, (Layers{21, 1}));
}

TEST(BestLayerSplit, RefusesBadArguments) {
  const Stages stages(layers_of(4), 2);
  const auto split = [&](const Layers& layers, std::int64_t prompt_tokens) {
    return best_layer_split(stages, prompt_tokens, layers, kLimits);
  };
  EXPECT_THROW((void)split({4}, 100), InvalidArgument);
  EXPECT_THROW((void)split({}, 100), InvalidArgument);
  EXPECT_THROW((void)split({4, 4, 4}, 100), InvalidArgument);
  EXPECT_THROW((void)split({4, 0}, 100), InvalidArgument);
  EXPECT_THROW((void)split({4, -1}, 100), InvalidArgument);
  EXPECT_THROW((void)split({4, kMaxTokens + 1}, 100), InvalidArgument);
  EXPECT_THROW((void)split({4, 4}, 0), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
