#include "cpp_chunk/simulator/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/simulator/policies/fixed_policy.h"

namespace cpp_chunk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A step of x tokens takes 10 + x ms: 100 tokens 110 ms, a decode 11 ms.
const LatencyModel& unit_model() {
  static const LatencyModel model({.linear = 1.0, .constant = 10.0});
  return model;
}

SimulatedPipeline pipeline_of(std::size_t num_stages) {
  return {.stages = std::vector<LatencyModel>(num_stages, unit_model()),
          .max_num_batched_tokens = 1000};
}

SimulationResult run_fixed(const SimulatedPipeline& pipeline,
                           const std::vector<SimulatedRequest>& requests,
                           std::int64_t chunk_tokens) {
  FixedPolicy policy(chunk_tokens);
  return simulate(pipeline, requests, policy, true);
}

// [request, tokens, history] of each step, and [start, end] of a step's stages, as text.
std::vector<std::string> chunks_of(const SimulationResult& result) {
  std::vector<std::string> steps;
  for (const SimulatedStep& step : result.steps) {
    std::ostringstream text;
    for (const StepChunk& chunk : step.chunks) {
      text << (&chunk == step.chunks.data() ? "" : " ") << chunk.request_index << ":"
           << chunk.num_tokens << "@" << chunk.num_computed_tokens;
    }
    steps.push_back(text.str());
  }
  return steps;
}

std::string spans_of(const SimulatedStep& step) {
  std::ostringstream text;
  for (const StageSpan& span : step.stage_spans_ms) {
    text << (&span == step.stage_spans_ms.data() ? "" : " ") << span.start_ms << "-" << span.end_ms;
  }
  return text.str();
}

// Asks a function for chunks, and notes every call.
class ScriptedPolicy : public ChunkPolicy {
 public:
  using Size = std::function<std::int64_t(const PromptWork&, std::int64_t max_tokens, int step)>;

  explicit ScriptedPolicy(Size size) : size_(std::move(size)) {}

  void set_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                   std::int64_t /*tokens_each*/) override {
    std::ostringstream text;
    text << "decodes " << num_decodes << "@" << num_computed_tokens;
    calls_.push_back(text.str());
  }
  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override {
    std::ostringstream text;
    text << "backlog " << num_under_way;
    for (const PromptWork& prompt : prompts) {
      text << " " << prompt.num_tokens << "@" << prompt.num_computed_tokens;
    }
    calls_.push_back(text.str());
  }
  void begin_step() override {
    ++step_;
    calls_.emplace_back("step");
  }
  std::int64_t chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) override {
    return size_(prompt, max_tokens, step_);
  }
  void add_chunk(const Chunk& chunk) override {
    std::ostringstream text;
    text << "add " << chunk.num_tokens << "@" << chunk.num_computed_tokens;
    calls_.push_back(text.str());
  }
  void step_scheduled(std::int64_t step, std::span<const Chunk> prefills) override {
    std::ostringstream text;
    text << "scheduled " << step;
    for (const Chunk& chunk : prefills) {
      text << " " << chunk.num_tokens << "@" << chunk.num_computed_tokens;
    }
    calls_.push_back(text.str());
  }
  void step_left(std::int64_t step) override { calls_.push_back("left " + std::to_string(step)); }
  void measured(const StepFeatures& features, double latency_ms) override {
    std::ostringstream text;
    text << "measured " << features.token_sum << " " << latency_ms;
    calls_.push_back(text.str());
  }

  [[nodiscard]] const std::vector<std::string>& calls() const { return calls_; }

 private:
  Size size_;
  int step_ = 0;
  std::vector<std::string> calls_;
};

TEST(Simulator, EqualStepsFlowThroughTheStages) {
  // Three steps of 110 ms through three stages: 3 * 110 + 2 * 110.
  const SimulationResult result = run_fixed(pipeline_of(3), {{.prompt_tokens = 300}}, 100);
  EXPECT_DOUBLE_EQ(result.makespan_ms, 550.0);
  EXPECT_EQ(result.num_steps, 3);
  EXPECT_THAT(chunks_of(result), ElementsAre("0:100@0", "0:100@100", "0:100@200"));
  EXPECT_EQ(spans_of(result.steps[0]), "0-110 110-220 220-330");
  EXPECT_EQ(spans_of(result.steps[2]), "220-330 330-440 440-550");
  EXPECT_THAT(result.bubble_share, ElementsAre(0.0, 0.0, 0.0));
  EXPECT_DOUBLE_EQ(result.requests[0].first_token_ms, 550.0);
  EXPECT_DOUBLE_EQ(result.requests[0].end_ms, 550.0);
  EXPECT_DOUBLE_EQ(result.ttft_ms.mean, 550.0);
  EXPECT_EQ(result.ttft_ms.count, 1);
  EXPECT_EQ(result.inter_token_ms.count, 0);
  EXPECT_DOUBLE_EQ(result.prompt_tokens_per_s, 300.0 / 0.55);
  EXPECT_DOUBLE_EQ(result.output_tokens_per_s, 1.0 / 0.55);
}

TEST(Simulator, MakespanIsTheSumPlusTheLongestStepForEachFurtherStage) {
  // 110, 110 and 60 ms: 280 + 2 * 110.
  EXPECT_DOUBLE_EQ(run_fixed(pipeline_of(3), {{.prompt_tokens = 250}}, 100).makespan_ms, 500.0);
}

TEST(Simulator, PublishedFiguresOfKimi) {
  // 131072 tokens, four stages; the engine's gap of 17.5 ms is not in the published model.
  const SimulatedPipeline pipeline{
      .stages = std::vector<LatencyModel>(4, LatencyModel({.quadratic = 6.5e-7,
                                                           .cross = 6.5e-7,
                                                           .linear = 6.03e-3,
                                                           .context = 5.39e-4,
                                                           .constant = 26.1})),
      .max_num_batched_tokens = 32768,
      .gap_ms = 17.5};
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 131'072}};
  for (const auto& [chunk_tokens, published_ms] :
       {std::pair{32768, 14896.0}, {8192, 10121.0}, {2048, 12286.0}}) {
    EXPECT_NEAR(run_fixed(pipeline, requests, chunk_tokens).ttft_ms.mean / published_ms, 1.0, 0.01);
  }
}

TEST(Simulator, StagesHaveTheirOwnSpeed) {
  // The first stage takes 210 ms a step, the second 110: it waits 100 ms between its two.
  SimulatedPipeline pipeline = pipeline_of(2);
  pipeline.stages[0] = LatencyModel({.linear = 2.0, .constant = 10.0});
  const SimulationResult result = run_fixed(pipeline, {{.prompt_tokens = 200}}, 100);
  EXPECT_EQ(spans_of(result.steps[1]), "210-420 420-530");
  EXPECT_DOUBLE_EQ(result.bubble_share[0], 0.0);
  EXPECT_DOUBLE_EQ(result.bubble_share[1], 1.0 - 220.0 / 320.0);
}

TEST(Simulator, TheGapIsACostOfEveryStepOnEveryStage) {
  SimulatedPipeline pipeline = pipeline_of(2);
  pipeline.gap_ms = 5.0;
  // Two steps of 115 ms: 230 + 115.
  EXPECT_DOUBLE_EQ(run_fixed(pipeline, {{.prompt_tokens = 200}}, 100).makespan_ms, 345.0);
}

TEST(Simulator, TransfersThatOverlapLeaveTheSenderFree) {
  SimulatedPipeline pipeline = pipeline_of(2);
  pipeline.transfer_ms = 20.0;
  pipeline.transfer_ms_per_token = 0.1;  // 30 ms for 100 tokens
  const SimulationResult result = run_fixed(pipeline, {{.prompt_tokens = 200}}, 100);
  EXPECT_EQ(spans_of(result.steps[0]), "0-110 140-250");
  EXPECT_EQ(spans_of(result.steps[1]), "110-220 250-360");
}

TEST(Simulator, TransfersThatDoNotOverlapKeepTheSender) {
  SimulatedPipeline pipeline = pipeline_of(2);
  pipeline.transfer_ms = 20.0;
  pipeline.transfer_ms_per_token = 0.1;
  pipeline.transfer_overlaps = false;
  const SimulationResult result = run_fixed(pipeline, {{.prompt_tokens = 200}}, 100);
  EXPECT_EQ(spans_of(result.steps[0]), "0-110 140-250");
  EXPECT_EQ(spans_of(result.steps[1]), "140-250 280-390");
  EXPECT_DOUBLE_EQ(result.bubble_share[0], 1.0 - 220.0 / 250.0);
}

TEST(Simulator, ALinkCarriesOneStepAtATime) {
  SimulatedPipeline pipeline = pipeline_of(2);
  pipeline.transfer_ms = 200.0;
  // On the link from 110 to 310 and from 310 to 510.
  const SimulationResult result = run_fixed(pipeline, {{.prompt_tokens = 200}}, 100);
  EXPECT_EQ(spans_of(result.steps[0]), "0-110 310-420");
  EXPECT_EQ(spans_of(result.steps[1]), "110-220 510-620");
}

TEST(Simulator, StepsInFlightAreLimited) {
  SimulatedPipeline pipeline = pipeline_of(2);
  pipeline.max_in_flight = 1;
  const SimulationResult result = run_fixed(pipeline, {{.prompt_tokens = 200}}, 100);
  EXPECT_EQ(spans_of(result.steps[1]), "220-330 330-440");

  // By default as many as stages: the third step of 60, 60 and 110 ms waits for the first, which
  // leaves at 120.
  ScriptedPolicy policy([](const PromptWork& prompt, std::int64_t, int step) {
    return step < 3 ? 50 : prompt.num_tokens;
  });
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 200}};
  const SimulationResult limited = simulate(pipeline_of(2), requests, policy, true);
  EXPECT_EQ(spans_of(limited.steps[1]), "60-120 120-180");
  EXPECT_EQ(spans_of(limited.steps[2]), "120-230 230-340");
}

TEST(Simulator, TheInFlightLimitHoldsAStepBackBehindALongOne) {
  // 110 and 60 ms; the third step is formed when the first leaves the second stage, at 220, though
  // the first stage is free from 170.
  ScriptedPolicy policy([](const PromptWork& prompt, std::int64_t, int step) {
    return step == 1 ? 100 : std::min<std::int64_t>(50, prompt.num_tokens);
  });
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 200}};
  const SimulationResult limited = simulate(pipeline_of(2), requests, policy, true);
  EXPECT_EQ(spans_of(limited.steps[2]), "220-280 280-340");
}

TEST(Simulator, ADecodeWaitsForTheTokenBeforeIt) {
  // First token at 220; a decode takes 11 ms on each of two stages.
  const SimulationResult result =
      run_fixed(pipeline_of(2), {{.prompt_tokens = 100, .output_tokens = 3}}, 100);
  EXPECT_THAT(chunks_of(result), ElementsAre("0:100@0", "0:1@100", "0:1@101"));
  EXPECT_DOUBLE_EQ(result.requests[0].first_token_ms, 220.0);
  EXPECT_DOUBLE_EQ(result.requests[0].end_ms, 264.0);
  EXPECT_EQ(result.inter_token_ms.count, 2);
  EXPECT_DOUBLE_EQ(result.inter_token_ms.mean, 22.0);
  EXPECT_DOUBLE_EQ(result.inter_token_ms.max, 22.0);
}

TEST(Simulator, APrefillAheadDelaysADecode) {
  // Prefills of 110 ms: stages 0-110 110-220 and 110-220 220-330. The first one's decode is formed
  // at 220, passes the first stage by 231, and waits for the second until 330. The second one's
  // decode meets nobody.
  const SimulationResult result = run_fixed(
      pipeline_of(2),
      {{.prompt_tokens = 100, .output_tokens = 2}, {.prompt_tokens = 100, .output_tokens = 2}},
      100);
  EXPECT_THAT(chunks_of(result), ElementsAre("0:100@0", "1:100@0", "0:1@100", "1:1@100"));
  EXPECT_EQ(spans_of(result.steps[2]), "220-231 330-341");
  EXPECT_EQ(spans_of(result.steps[3]), "330-341 341-352");
  EXPECT_DOUBLE_EQ(result.inter_token_ms.max, 121.0);
  EXPECT_DOUBLE_EQ(result.inter_token_ms.mean, (121.0 + 22.0) / 2.0);
}

TEST(Simulator, DecodesAndPrefillsShareAStepInOrder) {
  // One stage: the first prompt is done at 110; its decode and the second prompt then share.
  const SimulationResult result = run_fixed(
      pipeline_of(1),
      {{.prompt_tokens = 100, .output_tokens = 3}, {.prompt_tokens = 150, .output_tokens = 2}},
      100);
  EXPECT_THAT(chunks_of(result),
              ElementsAre("0:100@0", "0:1@100 1:99@0", "0:1@101 1:51@99", "1:1@150"));
  EXPECT_DOUBLE_EQ(result.requests[0].end_ms, 110.0 + 110.0 + 62.0);
}

TEST(Simulator, PrefixHitsAreNotComputed) {
  const SimulationResult result =
      run_fixed(pipeline_of(1), {{.prompt_tokens = 100, .cached_tokens = 60}}, 100);
  EXPECT_THAT(chunks_of(result), ElementsAre("0:40@60"));
  EXPECT_DOUBLE_EQ(result.makespan_ms, 50.0);
  EXPECT_DOUBLE_EQ(result.prompt_tokens_per_s, 40.0 / 0.05);
  const SimulationResult whole =
      run_fixed(pipeline_of(1), {{.prompt_tokens = 100, .cached_tokens = 100}}, 100);
  EXPECT_THAT(chunks_of(whole), ElementsAre("0:1@99"));
}

TEST(Simulator, OpenArrivalsAreServedWhenTheyCome) {
  // Given out of order; nothing happens between 110 and 1000.
  const SimulationResult result = run_fixed(
      pipeline_of(1), {{.prompt_tokens = 100, .arrival_ms = 1000.0}, {.prompt_tokens = 100}}, 100);
  EXPECT_DOUBLE_EQ(result.requests[0].first_token_ms, 1110.0);
  EXPECT_DOUBLE_EQ(result.requests[1].first_token_ms, 110.0);
  EXPECT_DOUBLE_EQ(result.ttft_ms.max, 110.0);
  EXPECT_DOUBLE_EQ(result.makespan_ms, 1110.0);
  EXPECT_DOUBLE_EQ(result.bubble_share[0], 1.0 - 220.0 / 1110.0);
}

TEST(Simulator, MakespanStartsAtTheFirstArrival) {
  const SimulationResult result =
      run_fixed(pipeline_of(1), {{.prompt_tokens = 100, .arrival_ms = 500.0}}, 100);
  EXPECT_DOUBLE_EQ(result.makespan_ms, 110.0);
}

TEST(Simulator, AClosedLoopLetsTheNextInWhenAPlaceIsFree) {
  SimulatedPipeline pipeline = pipeline_of(1);
  pipeline.max_concurrency = 1;
  const SimulationResult result = run_fixed(
      pipeline,
      {{.prompt_tokens = 100}, {.prompt_tokens = 100}, {.prompt_tokens = 100, .arrival_ms = 300.0}},
      100);
  EXPECT_DOUBLE_EQ(result.requests[1].arrival_ms, 110.0);
  EXPECT_DOUBLE_EQ(result.requests[1].first_token_ms, 220.0);
  EXPECT_DOUBLE_EQ(result.requests[2].arrival_ms, 300.0);
  EXPECT_DOUBLE_EQ(result.ttft_ms.max, 110.0);
}

TEST(Simulator, PlacesAreTakenInTheOrderOfTime) {
  // Two places; the second request takes the free one at 10, while a step runs, and the third has
  // to wait for the first one's end at 110.
  SimulatedPipeline pipeline = pipeline_of(1);
  pipeline.max_concurrency = 2;
  const SimulationResult result = run_fixed(pipeline,
                                            {{.prompt_tokens = 100},
                                             {.prompt_tokens = 100, .arrival_ms = 10.0},
                                             {.prompt_tokens = 100, .arrival_ms = 20.0}},
                                            100);
  EXPECT_DOUBLE_EQ(result.requests[1].arrival_ms, 10.0);
  EXPECT_DOUBLE_EQ(result.requests[2].arrival_ms, 110.0);
}

TEST(Simulator, FirstComeFirstServedWithinTheStepsTokens) {
  SimulatedPipeline pipeline = pipeline_of(1);
  pipeline.max_num_batched_tokens = 100;
  const SimulationResult result = run_fixed(
      pipeline, {{.prompt_tokens = 60}, {.prompt_tokens = 60}, {.prompt_tokens = 60}}, 1000);
  EXPECT_THAT(chunks_of(result), ElementsAre("0:60@0 1:40@0", "1:20@40 2:60@0"));
}

TEST(Simulator, RequestsUnderWayAreLimited) {
  SimulatedPipeline pipeline = pipeline_of(1);
  pipeline.max_num_seqs = 1;
  const SimulationResult result =
      run_fixed(pipeline, {{.prompt_tokens = 60, .output_tokens = 2}, {.prompt_tokens = 60}}, 1000);
  EXPECT_THAT(chunks_of(result), ElementsAre("0:60@0", "0:1@60", "1:60@0"));
}

TEST(Simulator, AWaitingPromptThatGetsNothingEndsTheStep) {
  ScriptedPolicy policy([](const PromptWork& prompt, std::int64_t max_tokens, int step) {
    return step == 1 && prompt.num_tokens == 60 ? 0 : std::min(prompt.num_tokens, max_tokens);
  });
  const std::vector<SimulatedRequest> requests{
      {.prompt_tokens = 10}, {.prompt_tokens = 60}, {.prompt_tokens = 20}};
  EXPECT_THAT(chunks_of(simulate(pipeline_of(1), requests, policy, true)),
              ElementsAre("0:10@0", "1:60@0 2:20@0"));
}

TEST(Simulator, APromptUnderWayThatGetsNothingIsPassedOver) {
  ScriptedPolicy policy([](const PromptWork& prompt, std::int64_t max_tokens, int step) {
    const std::int64_t cap = std::min(prompt.num_tokens, max_tokens);
    return step == 2 && prompt.num_computed_tokens > 0 ? 0 : std::min<std::int64_t>(50, cap);
  });
  SimulatedPipeline pipeline = pipeline_of(1);
  pipeline.max_num_batched_tokens = 50;
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 100}, {.prompt_tokens = 60}};
  EXPECT_THAT(chunks_of(simulate(pipeline, requests, policy, true)),
              ElementsAre("0:50@0", "1:50@0", "0:50@50", "1:10@50"));
}

TEST(Simulator, APolicyMayWaitForStepsInFlight) {
  // Nothing beside the chunk under way: a second step only when it has left.
  int num_steps = 0;
  ScriptedPolicy policy([&num_steps](const PromptWork& prompt, std::int64_t, int) {
    return num_steps++ % 2 == 1 ? 0 : std::min<std::int64_t>(50, prompt.num_tokens);
  });
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 100}};
  const SimulationResult result = simulate(pipeline_of(2), requests, policy, true);
  EXPECT_EQ(spans_of(result.steps[1]), "120-180 180-240");
}

TEST(Simulator, DrivesThePolicyInItsOrder) {
  ScriptedPolicy policy([](const PromptWork& prompt, std::int64_t max_tokens, int) {
    return std::min({prompt.num_tokens, max_tokens, std::int64_t{100}});
  });
  SimulatedPipeline pipeline = pipeline_of(1);
  pipeline.max_num_batched_tokens = 120;
  // The second prompt joins during the first step; what waits is told again when a prompt's last
  // chunk has left it, and when a request is done.
  const std::vector<SimulatedRequest> requests{
      {.prompt_tokens = 250, .output_tokens = 2},
      {.prompt_tokens = 60, .arrival_ms = 50.0, .cached_tokens = 10}};
  (void)simulate(pipeline, requests, policy, false);
  EXPECT_THAT(
      policy.calls(),
      ElementsAre("decodes 0@0", "backlog 0 250@0", "step", "add 100@0", "scheduled 1 100@0",
                  "left 1", "measured 100 110",  //
                  "decodes 0@0", "backlog 1 150@100 50@10", "step", "add 100@100", "add 20@10",
                  "scheduled 2 100@100 20@10", "left 2", "measured 120 130",  //
                  "step", "add 50@200", "add 30@30", "scheduled 3 50@200 30@30", "left 3",
                  "measured 80 90",  //
                  "decodes 1@250", "backlog 0", "step", "add 1@250", "scheduled 4", "left 4",
                  "measured 1 11"));
}

TEST(Simulator, TellsWhatWaitsNowAndThen) {
  // Nobody comes or goes, but the decode's history grows.
  ScriptedPolicy policy([](const PromptWork& prompt, std::int64_t, int) {
    return std::min<std::int64_t>(prompt.num_tokens, 10);
  });
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 10, .output_tokens = 100},
                                               {.prompt_tokens = 1000}};
  (void)simulate(pipeline_of(1), requests, policy, false);
  const auto is_told = [](const std::string& call) { return call.starts_with("decodes"); };
  std::vector<std::string> told;
  std::ranges::copy_if(policy.calls(), std::back_inserter(told), is_told);
  // At the start, after the first prompt's prefill, in step 66, and at the end of either.
  ASSERT_GE(told.size(), 3U);
  EXPECT_EQ(told[1], "decodes 1@10");
  EXPECT_EQ(told[2], "decodes 1@74");
}

TEST(Simulator, TellsTheFirstOfALongQueue) {
  ScriptedPolicy policy(
      [](const PromptWork& prompt, std::int64_t, int) { return prompt.num_tokens; });
  const std::vector<SimulatedRequest> requests(100, {.prompt_tokens = 7});
  (void)simulate(pipeline_of(1), requests, policy, false);
  EXPECT_EQ(std::ranges::count(policy.calls()[1], '@'),
            static_cast<std::ptrdiff_t>(kMaxToldPrompts));
}

TEST(Simulator, MeasuresTheSlowestStageWithTheGap) {
  ScriptedPolicy policy(
      [](const PromptWork& prompt, std::int64_t, int) { return prompt.num_tokens; });
  SimulatedPipeline pipeline = pipeline_of(2);
  pipeline.stages[1] = LatencyModel({.linear = 2.0, .constant = 10.0});
  pipeline.gap_ms = 5.0;
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 100}};
  (void)simulate(pipeline, requests, policy, false);
  EXPECT_EQ(policy.calls().back(), "measured 100 215");
}

TEST(Simulator, RecordsNothingUnasked) {
  FixedPolicy policy(100);
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 300}};
  EXPECT_THAT(simulate(pipeline_of(2), requests, policy).steps, IsEmpty());
}

TEST(Simulator, ManyRequestsAllEnd) {
  std::vector<SimulatedRequest> requests;
  std::int64_t num_outputs = 0;
  for (std::int64_t i = 0; i < 500; ++i) {
    requests.push_back({.prompt_tokens = 1 + (i * 37) % 400,
                        .arrival_ms = static_cast<double>((i * 13) % 1000),
                        .output_tokens = 1 + i % 17,
                        .cached_tokens = i % 2});
    num_outputs += requests.back().output_tokens;
  }
  SimulatedPipeline pipeline = pipeline_of(3);
  pipeline.max_num_batched_tokens = 64;
  pipeline.max_num_seqs = 20;
  const SimulationResult result = run_fixed(pipeline, requests, 64);
  EXPECT_EQ(result.inter_token_ms.count, num_outputs - 500);
  std::vector<std::int64_t> computed(requests.size());
  for (const SimulatedStep& step : result.steps) {
    std::int64_t step_tokens = 0;
    for (const StepChunk& chunk : step.chunks) {
      step_tokens += chunk.num_tokens;
      computed[chunk.request_index] += chunk.num_tokens;
    }
    EXPECT_LE(step_tokens, 64);
    EXPECT_LE(step.chunks.size(), 20);
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::int64_t cached = std::min(requests[i].cached_tokens, requests[i].prompt_tokens - 1);
    EXPECT_EQ(computed[i], requests[i].prompt_tokens - cached + requests[i].output_tokens - 1);
    EXPECT_GE(result.requests[i].end_ms, result.requests[i].first_token_ms);
    EXPECT_GE(result.requests[i].arrival_ms, requests[i].arrival_ms);
  }
}

TEST(Simulator, RefusesBadRequests) {
  FixedPolicy policy(100);
  const auto run = [&policy](const std::vector<SimulatedRequest>& requests) {
    (void)simulate(pipeline_of(2), requests, policy);
  };
  EXPECT_THROW(run({}), InvalidArgument);
  EXPECT_THROW(run({{}}), InvalidArgument);
  EXPECT_THROW(run({{.prompt_tokens = -1}}), InvalidArgument);
  EXPECT_THROW(run({{.prompt_tokens = kMaxTokens + 1}}), InvalidArgument);
  EXPECT_THROW(run({{.prompt_tokens = 1, .output_tokens = 0}}), InvalidArgument);
  EXPECT_THROW(run({{.prompt_tokens = 1, .output_tokens = kMaxTokens}}), InvalidArgument);
  EXPECT_THROW(run({{.prompt_tokens = 1, .cached_tokens = 2}}), InvalidArgument);
  EXPECT_THROW(run({{.prompt_tokens = 1, .cached_tokens = -1}}), InvalidArgument);
  for (const double arrival_ms : {-1.0, kNan, kInfinity}) {
    EXPECT_THAT(
        [&] { run({{.prompt_tokens = 1}, {.prompt_tokens = 1, .arrival_ms = arrival_ms}}); },
        ThrowsMessage<InvalidArgument>(
            HasSubstr("request 1: arrival_ms must be finite and >= 0, got ")));
  }
}

TEST(Simulator, RefusesBadPipelines) {
  const auto run = [](const std::function<void(SimulatedPipeline&)>& spoil) {
    SimulatedPipeline pipeline = pipeline_of(2);
    spoil(pipeline);
    (void)run_fixed(pipeline, {{.prompt_tokens = 100}}, 100);
  };
  EXPECT_THROW(run([](auto& p) { p.stages.clear(); }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.max_num_batched_tokens = 0; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.max_num_seqs = 0; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.gap_ms = kNan; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.transfer_ms = -1.0; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.transfer_ms_per_token = kInfinity; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.max_in_flight = 0; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.max_in_flight = kMaxTokens; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.max_concurrency = 0; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.gap_ms = 1e308; }), InvalidArgument);
  EXPECT_THROW(run([](auto& p) { p.stages[0] = LatencyModel({.linear = 1e307}); }),
               InvalidArgument);
}

TEST(Simulator, RefusesPoliciesThatBreakTheirWord) {
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 100}};
  for (const std::int64_t answer : {std::int64_t{-1}, std::int64_t{101}, kMaxTokens}) {
    ScriptedPolicy policy([answer](const PromptWork&, std::int64_t, int) { return answer; });
    EXPECT_THAT([&] { (void)simulate(pipeline_of(2), requests, policy); },
                ThrowsMessage<InvalidArgument>(HasSubstr("must return a number in [0, 100]")));
  }
  ScriptedPolicy idle([](const PromptWork&, std::int64_t, int) { return 0; });
  EXPECT_THAT([&] { (void)simulate(pipeline_of(2), requests, idle); },
              ThrowsMessage<InvalidArgument>(HasSubstr("gave no tokens")));
}

TEST(Distribution, PercentilesLieBetweenTheNearestValues) {
  std::vector<double> values{4.0, 1.0, 3.0, 2.0};
  const Distribution four = Distribution::of(values);
  EXPECT_DOUBLE_EQ(four.mean, 2.5);
  EXPECT_DOUBLE_EQ(four.p50, 2.5);   // position 1.5 of 0 to 3
  EXPECT_DOUBLE_EQ(four.p90, 3.7);   // position 2.7
  EXPECT_DOUBLE_EQ(four.p99, 3.97);  // position 2.97
  EXPECT_DOUBLE_EQ(four.max, 4.0);
  EXPECT_EQ(four.count, 4);
  std::vector<double> one{7.0};
  EXPECT_DOUBLE_EQ(Distribution::of(one).p99, 7.0);
  EXPECT_EQ(Distribution::of({}).count, 0);
}

}  // namespace
}  // namespace cpp_chunk
