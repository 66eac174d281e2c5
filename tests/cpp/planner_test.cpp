#include "cpp_chunk/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "cpp_chunk/backlog_flow.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/plan.h"
#include "cpp_chunk/simulator/simulate.h"
#include "cpp_chunk/target.h"

namespace cpp_chunk {
namespace {

constexpr std::int64_t kCap = 32768;
const ChunkLimits kLimits{.max_chunk_tokens = kCap, .min_chunk_tokens = 256, .alignment = 128};

const LatencyModel& kimi() {
  static const LatencyModel model({.quadratic = 6.5e-7,
                                   .cross = 6.5e-7,
                                   .linear = 6.03e-3,
                                   .context = 5.39e-4,
                                   .constant = 26.1 + 17.5});
  return model;
}

const Stages& equal_stages() {
  static const Stages stages(kimi(), 4);
  return stages;
}

const Stages& slow_last_stage() {
  static const Stages stages({kimi(), kimi(), kimi(), kimi().scaled(1.2)});
  return stages;
}

constexpr std::int64_t kDecodeHistory = 4000;

// What a scheduler does: prompts, first come first served, some decodes in every step, and as many
// steps in flight as there are stages.
class Server {
 public:
  explicit Server(ChunkPlanner& planner) : planner_(planner) {}

  void join(std::int64_t num_tokens) {
    prompts_.push_back({.num_tokens = num_tokens});
    has_news_ = true;
  }

  // Somebody has left the queue: done, aborted, or found in the prefix cache.
  void remove_last(std::size_t num_prompts) {
    prompts_.resize(prompts_.size() - num_prompts);
    has_news_ = true;
  }

  // One step: the tokens of its prefills.
  std::vector<std::int64_t> step(int num_decodes = 0) {
    if (num_in_flight_ == 4) {
      leave();
    }
    if (has_news_ || num_decodes != num_decodes_) {
      // As many again are in each of the other steps in flight.
      planner_.set_decodes(4 * num_decodes, 4 * num_decodes * kDecodeHistory, 1);
      planner_.set_backlog(prompts_, num_under_way_);
    }
    has_news_ = false;
    num_decodes_ = num_decodes;
    planner_.begin_step();
    ++num_in_flight_;
    std::vector<Chunk> prefills;
    for (int decode = 0; decode < num_decodes; ++decode) {
      planner_.add_chunk({.num_tokens = 1, .num_computed_tokens = kDecodeHistory});
    }
    std::vector<std::int64_t> chunks;
    std::int64_t admitted = kCap;
    for (PromptWork& prompt : prompts_) {
      const std::int64_t num_tokens = planner_.chunk_tokens(prompt, admitted);
      if (num_tokens > 0) {
        prefills.push_back(
            {.num_tokens = num_tokens, .num_computed_tokens = prompt.num_computed_tokens});
        planner_.add_chunk(prefills.back());
        prompt.num_tokens -= num_tokens;
        prompt.num_computed_tokens += num_tokens;
        admitted -= num_tokens;
        chunks.push_back(num_tokens);
      }
      if (prompt.num_tokens > 0) {
        break;
      }
    }
    planner_.step_scheduled(++last_step_, prefills);
    has_news_ = std::erase_if(prompts_,
                              [](const PromptWork& prompt) { return prompt.num_tokens == 0; }) > 0;
    num_under_way_ = static_cast<std::size_t>(std::ranges::count_if(
        prompts_, [](const PromptWork& prompt) { return prompt.num_computed_tokens > 0; }));
    return chunks;
  }

  // The oldest step leaves the last stage.
  void leave() { planner_.step_left(last_step_ - --num_in_flight_); }

  // All steps do: the pipeline is idle.
  void drain() {
    while (num_in_flight_ > 0) {
      leave();
    }
  }

  [[nodiscard]] const std::vector<PromptWork>& prompts() const { return prompts_; }

 private:
  ChunkPlanner& planner_;
  std::vector<PromptWork> prompts_;
  std::size_t num_under_way_ = 0;
  int num_in_flight_ = 0;
  int num_decodes_ = 0;
  std::int64_t last_step_ = 0;
  bool has_news_ = false;
};

double best_ms(std::int64_t num_tokens, std::size_t num_prompts = 1) {
  return best_target_ms(equal_stages(),
                        std::vector(num_prompts, PromptWork{.num_tokens = num_tokens}), kLimits);
}

std::vector<std::int64_t> served(ChunkPlanner& planner, std::int64_t num_tokens) {
  Server server(planner);
  server.join(num_tokens);
  std::vector<std::int64_t> chunks;
  while (!server.prompts().empty() && chunks.size() < 10'000) {
    const std::vector<std::int64_t> step = server.step();
    if (step.size() != 1) {
      ADD_FAILURE() << "a step of a lone prompt has one chunk, not " << step.size();
      break;
    }
    chunks.push_back(step.front());
  }
  server.drain();
  return chunks;
}

TEST(ChunkPlanner, TheTargetIsSetWhenAPromptJoins) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(prompt, 0);
  EXPECT_DOUBLE_EQ(planner.target_ms(), best_ms(131'072));
}

TEST(ChunkPlanner, ServesWhatThePlanSays) {
  for (const std::int64_t num_tokens : {300, 5000, 131'072, 1'000'000}) {
    for (const Stages* stages : {&equal_stages(), &slow_last_stage()}) {
      ChunkPlanner planner(*stages, {.limits = kLimits});
      EXPECT_EQ(served(planner, num_tokens), plan_chunks(*stages, num_tokens, kLimits).chunks)
          << num_tokens;
    }
  }
}

TEST(ChunkPlanner, ShortRequestsDoNotLowerTheTarget) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  Server server(planner);
  server.join(131'072);
  (void)server.step();
  const double target_ms = planner.target_ms();
  // While most of the long prompt is still to do.
  for (int request = 0; request < 3; ++request) {
    server.join(200);
    (void)server.step();
    EXPECT_GE(planner.target_ms(), target_ms);
  }
}

TEST(ChunkPlanner, ShortRequestsAfterStartUpCostALongOneNothing) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  for (int request = 0; request < 3; ++request) {
    EXPECT_EQ(served(planner, 200), std::vector<std::int64_t>{200});
  }
  EXPECT_EQ(served(planner, 131'072), plan_chunks(equal_stages(), 131'072, kLimits).chunks);
}

TEST(ChunkPlanner, ADeeperBacklogRaisesTheTarget) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  Server server(planner);
  server.join(65'536);
  (void)server.step();
  const double one_ms = planner.target_ms();
  for (int request = 0; request < 20; ++request) {
    server.join(65'536);
  }
  (void)server.step();
  EXPECT_GT(planner.target_ms(), 1.5 * one_ms);
}

TEST(ChunkPlanner, ABitMoreWorkIsNoNewBacklog) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array one{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(one, 0);
  const double target_ms = planner.target_ms();
  const std::array bit_more{one[0], PromptWork{.num_tokens = 1000}};
  planner.set_backlog(bit_more, 1);
  EXPECT_EQ(planner.target_ms(), target_ms);
  // However much the decodes take that it has weighed already.
  ChunkPlanner with_decodes(equal_stages(), {.limits = kLimits});
  with_decodes.set_decodes(4000, 4000 * kDecodeHistory, 1);
  with_decodes.set_backlog(one, 0);
  const double decoding_ms = with_decodes.target_ms();
  with_decodes.set_backlog(bit_more, 1);
  EXPECT_EQ(with_decodes.target_ms(), decoding_ms);
}

TEST(ChunkPlanner, AFewPercentMoreWorkIsANewBacklog) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array one{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(one, 0);
  const double target_ms = planner.target_ms();
  const std::array more{one[0], PromptWork{.num_tokens = 35'000}};
  planner.set_backlog(more, 1);
  EXPECT_GT(planner.target_ms(), target_ms);
}

TEST(ChunkPlanner, ALittleThatWentAwayDoesNotLetTheTargetFall) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  Server server(planner);
  server.join(131'072);
  server.join(2000);
  (void)server.step();
  const double target_ms = planner.target_ms();
  server.remove_last(1);
  while (server.prompts().front().num_tokens > 60'000) {
    (void)server.step();
    EXPECT_GE(planner.target_ms(), target_ms) << server.prompts().front().num_tokens;
    server.join(1);
  }
}

TEST(ChunkPlanner, TheTargetFallsOnlyWhenTheWorkIsDone) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  Server server(planner);
  server.join(131'072);
  (void)server.step();
  const double target_ms = planner.target_ms();
  // Short requests keep coming, and wait: the long prompt is served first.
  while (server.prompts().front().num_tokens > 4000) {
    server.join(2000);
    (void)server.step();
    EXPECT_GE(planner.target_ms(), target_ms) << server.prompts().front().num_tokens;
  }
  while (!server.prompts().empty()) {
    (void)server.step();
  }
  // Idle, the next one is all there is.
  server.drain();
  server.join(20'000);
  (void)server.step();
  EXPECT_DOUBLE_EQ(planner.target_ms(), best_ms(20'000));
}

TEST(ChunkPlanner, ABusyPipelineIsNotFilledAnew) {
  // A prompt that joins when the one before it has just left the scheduler, its steps still inside.
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  Server server(planner);
  server.join(131'072);
  while (!server.prompts().empty()) {
    (void)server.step();
  }
  server.join(20'000);
  (void)server.step();
  EXPECT_GT(planner.target_ms(), best_ms(20'000));
}

// A closed loop of two equal prompts: the longest step time aimed at after the first round.
double closed_loop_target_ms(std::int64_t num_tokens, std::int64_t cap) {
  ChunkPlanner planner(equal_stages(), {.limits = {.max_chunk_tokens = cap, .alignment = 16}});
  std::vector<SimulatedRequest> requests(60, {.prompt_tokens = num_tokens});
  const SimulatedPipeline pipeline{.stages = {kimi(), kimi(), kimi(), kimi()},
                                   .max_num_batched_tokens = cap,
                                   .max_concurrency = 2};
  (void)simulate(pipeline, requests, planner);
  return planner.target_ms();
}

TEST(ChunkPlanner, StepsAreShortEnoughForAPromptThatComesLate) {
  // One of two prompts has left: the other is all that three stages have until the next is there.
  const double work_ms = uncut_work_ms(kimi().coefficients(), PromptWork{.num_tokens = 65'536});
  const double target_ms = closed_loop_target_ms(65'536, 131'072);
  EXPECT_GT(target_ms, best_ms(65'536) + 100.0);
  EXPECT_LT(target_ms, work_ms / 3.0 + 200.0);
  EXPECT_DOUBLE_EQ(closed_loop_target_ms(65'536, 65'536), target_ms);
}

TEST(ChunkPlanner, DecodesAreNoneOfTheWorkThatTheTargetWasSetFor) {
  // 200 decodes cost as much as a chunk here. The target must outlast them.
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  Server server(planner);
  server.join(131'072);
  (void)server.step(200);
  const double target_ms = planner.target_ms();
  while (server.prompts().front().num_tokens > 20'000) {
    (void)server.step(200);
  }
  server.join(200);
  (void)server.step(200);
  EXPECT_GE(planner.target_ms(), target_ms);
}

TEST(ChunkPlanner, DecodesMakeStepsLonger) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  // A quarter of them in each of the steps in flight.
  planner.set_decodes(400, 400 * kDecodeHistory, 1);
  planner.set_backlog(prompt, 0);
  planner.begin_step();
  planner.add_decodes(100, 100 * kDecodeHistory);
  const double decodes_ms = planner.step_ms() - kimi().coefficients().constant;
  EXPECT_GT(decodes_ms, 200.0);
  // Each step pays for them: fewer and longer steps, so more than just what they cost.
  EXPECT_GT(planner.target_ms(), best_ms(131'072) + decodes_ms);
  StepFeatures decodes;
  decodes.add_decodes(100, 100 * kDecodeHistory);
  EXPECT_DOUBLE_EQ(planner.target_ms(),
                   best_target_ms(equal_stages().with_overhead(decodes), prompt, kLimits));
  EXPECT_GT(planner.chunk_tokens(prompt[0], kCap),
            plan_chunks(equal_stages(), 131'072, kLimits).chunks.front());
}

TEST(ChunkPlanner, DecodesAreThoseThatItWasToldOfLast) {
  ChunkPlanner told_twice(equal_stages(), {.limits = kLimits});
  ChunkPlanner told_once(equal_stages(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  told_twice.set_decodes(400, 400 * kDecodeHistory, 1);
  for (ChunkPlanner* planner : {&told_twice, &told_once}) {
    planner->set_decodes(400, 400 * kDecodeHistory, 1);
    planner->set_backlog(prompt, 0);
  }
  EXPECT_DOUBLE_EQ(told_twice.target_ms(), told_once.target_ms());
}

TEST(ChunkPlanner, DecodesAreSpreadOverTheStepsInFlight) {
  // Twice as many in twice as many steps are as many in each.
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  ChunkPlanner shallow(Stages(kimi(), 4, 5), {.limits = kLimits});
  ChunkPlanner deep(Stages(kimi(), 4, 10), {.limits = kLimits});
  shallow.set_decodes(2000, 2000 * kDecodeHistory, 1);
  deep.set_decodes(4000, 4000 * kDecodeHistory, 1);
  shallow.set_backlog(prompt, 0);
  deep.set_backlog(prompt, 0);
  EXPECT_DOUBLE_EQ(shallow.target_ms(), deep.target_ms());
  // Also after other models have come.
  for (ChunkPlanner* planner : {&shallow, &deep}) {
    planner->set_stages(Stages(kimi().scaled(1.5), 4));
    planner->set_backlog(std::vector(30, prompt[0]), 1);
  }
  EXPECT_GT(shallow.target_ms(), best_ms(131'072));
  shallow.set_decodes(4000, 4000 * kDecodeHistory, 1);
  deep.set_decodes(8000, 8000 * kDecodeHistory, 1);
  for (ChunkPlanner* planner : {&shallow, &deep}) {
    planner->set_backlog(std::vector(60, prompt[0]), 1);
  }
  EXPECT_DOUBLE_EQ(shallow.target_ms(), deep.target_ms());
}

TEST(ChunkPlanner, StepsAreLongerWhereADeepQueueLeavesFewBubbles) {
  // A closed loop: eight users, each of whom sends another prompt when the last one is answered.
  std::vector<SimulatedRequest> requests;
  for (std::int64_t request = 0; request < 60; ++request) {
    requests.push_back({.prompt_tokens = 4096 + request * 37'217 % 126'976, .output_tokens = 1});
  }
  const SimulatedPipeline pipeline{.stages = {4, kimi()},
                                   .max_num_batched_tokens = 16'384,
                                   .max_in_flight = 8,
                                   .max_concurrency = 8};
  const ChunkLimits limits{.max_chunk_tokens = 16'384, .min_chunk_tokens = 128, .alignment = 128};
  ChunkPlanner shallow(Stages(kimi(), 4), {.limits = limits});
  ChunkPlanner deep(Stages(kimi(), 4, 8), {.limits = limits});
  const SimulationResult as_if_shallow = simulate(pipeline, requests, shallow);
  const SimulationResult as_it_is = simulate(pipeline, requests, deep);
  EXPECT_LT(as_it_is.ttft_ms.mean, 0.99 * as_if_shallow.ttft_ms.mean);
  EXPECT_LT(as_it_is.num_steps, as_if_shallow.num_steps);
}

TEST(ChunkPlanner, DecodesThatCameLaterMakeStepsLongerToo) {
  // Nobody joins: only the decodes have become more than the target has room for.
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  std::vector<PromptWork> prompts{{.num_tokens = 131'072}};
  planner.set_backlog(prompts, 0);
  const double alone_ms = planner.target_ms();
  planner.step_scheduled(1, std::array{Chunk{.num_tokens = 4096}});
  prompts[0] = {.num_tokens = 126'976, .num_computed_tokens = 4096};
  planner.set_decodes(4000, 4000 * kDecodeHistory, 1);
  planner.set_backlog(prompts, 1);
  StepFeatures decodes;
  decodes.add_decodes(1000, 1000 * kDecodeHistory);
  EXPECT_GT(planner.target_ms(), alone_ms + kimi().chunks_ms(decodes));
}

TEST(ChunkPlanner, ARowOfDraftTokensIsADecode) {
  // Drafts are priced, and a prompt moves on beside them, however many they are.
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 8000}};
  planner.set_backlog(prompt, 0);
  planner.begin_step();
  planner.add_decodes(200, 200 * 2500, 4);
  const std::vector<Chunk> rows(200, {.num_tokens = 4, .num_computed_tokens = 2500});
  EXPECT_DOUBLE_EQ(planner.step_ms(), kimi().step_ms(rows));
  EXPECT_GT(planner.step_ms(), planner.target_ms());
  EXPECT_EQ(planner.chunk_tokens(prompt[0], kCap), kLimits.alignment);
}

TEST(ChunkPlanner, WhatWasOnlyAskedIsNotDone) {
  // Asked for and not scheduled, for a hundred steps: then it is all still to do, and nothing is
  // in flight.
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(prompt, 0);
  const double target_ms = planner.target_ms();
  for (int step = 0; step < 100; ++step) {
    planner.begin_step();
    const std::int64_t chunk = planner.chunk_tokens(prompt[0], kCap);
    planner.add_chunk({.num_tokens = chunk});
  }
  EXPECT_EQ(planner.target_ms(), target_ms);
  const std::array other{PromptWork{.num_tokens = 20'000}};
  planner.set_backlog(other, 0);
  EXPECT_DOUBLE_EQ(planner.target_ms(), best_ms(20'000));
}

TEST(ChunkPlanner, StepsAreKnownByNumber) {
  // One that was never said to have left is no longer inside once a later one has.
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(prompt, 0);
  for (std::int64_t step = 0; step < 8; ++step) {
    planner.step_scheduled(
        7 + step, std::array{Chunk{.num_tokens = 16'384, .num_computed_tokens = 16'384 * step}});
  }
  planner.step_left(13);
  planner.step_left(3);  // long ago
  const std::array next{PromptWork{.num_tokens = 20'000}};
  planner.set_backlog(next, 0);
  EXPECT_GT(planner.target_ms(), best_ms(20'000));  // busy: step 14 is inside
  planner.step_scheduled(15, std::array{Chunk{.num_tokens = 20'000}});
  planner.step_left(15);
  const std::array last{PromptWork{.num_tokens = 30'000}};
  planner.set_backlog(last, 0);
  EXPECT_DOUBLE_EQ(planner.target_ms(), best_ms(30'000));
}

TEST(ChunkPlanner, AbortedWorkLeavesTheTarget) {
  // Beside a long prompt forty of 60000 join, and are gone again.
  ChunkPlanner planner(equal_stages(), {.limits = {.max_chunk_tokens = 131'072, .alignment = 128}});
  Server server(planner);
  server.join(131'072);
  (void)server.step();
  const double alone_ms = planner.target_ms();
  for (int request = 0; request < 40; ++request) {
    server.join(60'000);
  }
  (void)server.step();
  EXPECT_GT(planner.target_ms(), 1.4 * alone_ms);
  server.remove_last(40);
  for (int request = 0; request < 200; ++request) {
    (void)server.step();
    EXPECT_LT(planner.target_ms(), 1.1 * alone_ms) << request;
    server.join(2000);
  }
}

TEST(ChunkPlanner, WorkThatWentAwayLowersTheTargetOnce) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  std::vector<PromptWork> prompts{{.num_tokens = 131'072}, {.num_tokens = 60'000}};
  planner.set_backlog(prompts, 0);
  planner.step_scheduled(1, std::array{Chunk{.num_tokens = 8192}});
  prompts = {{.num_tokens = 122'880, .num_computed_tokens = 8192}};
  planner.set_backlog(prompts, 1);
  const double lowered_ms = planner.target_ms();
  // From here on the prompt is done and nothing more goes away.
  for (std::int64_t step = 2; step < 14; ++step) {
    planner.step_scheduled(
        step, std::array{Chunk{.num_tokens = 8192, .num_computed_tokens = 8192 * (step - 1)}});
    prompts[0] = {.num_tokens = 131'072 - 8192 * step, .num_computed_tokens = 8192 * step};
    planner.set_backlog(prompts, 1);
    EXPECT_GE(planner.target_ms(), lowered_ms) << step;
  }
}

// So much comes in each step as is scheduled in it, and finds the pipeline full: over such a time
// steps become longer than the backlog alone would ask for.
void keep_busy(ChunkPlanner& planner, std::int64_t num_steps) {
  const std::array backlog{PromptWork{.num_tokens = 40'000}};
  for (std::int64_t step = 1; step <= num_steps; ++step) {
    planner.set_backlog(backlog, step > 1 ? 1 : 0);
    planner.step_scheduled(step, std::array{Chunk{.num_tokens = 8192}});
    planner.step_left(step - 3);
  }
  planner.set_backlog(backlog, 1);
}

TEST(ChunkPlanner, WhatWasWithdrawnIsAsIfItHadNeverJoined) {
  ChunkPlanner disturbed(equal_stages(), {.limits = kLimits});
  ChunkPlanner undisturbed(equal_stages(), {.limits = kLimits});
  keep_busy(disturbed, 60);
  keep_busy(undisturbed, 60);
  const double busy_ms = undisturbed.target_ms();
  EXPECT_GT(busy_ms, 1.2 * best_ms(40'000));
  std::vector<PromptWork> prompts{{.num_tokens = 40'000}, {.num_tokens = 40'000}};
  disturbed.set_backlog(prompts, 1);
  prompts.pop_back();
  disturbed.set_backlog(prompts, 1);
  prompts[0].num_tokens = 60'000;
  disturbed.set_backlog(prompts, 1);
  undisturbed.set_backlog(prompts, 1);
  EXPECT_DOUBLE_EQ(disturbed.target_ms(), undisturbed.target_ms());
}

TEST(ChunkPlanner, AnIdlePipelineForgetsWhoJoinedBefore) {
  ChunkPlanner used(equal_stages(), {.limits = kLimits});
  ChunkPlanner fresh(equal_stages(), {.limits = kLimits});
  keep_busy(used, 60);
  used.step_scheduled(61, std::array{Chunk{.num_tokens = 40'000}});
  used.step_left(61);
  used.set_backlog({}, 0);
  keep_busy(used, 6);
  keep_busy(fresh, 6);
  EXPECT_DOUBLE_EQ(used.target_ms(), fresh.target_ms());
}

TEST(ChunkPlanner, ARowThatIsRaisedBeginsWhereThePipelineIs) {
  // Steps of a row grow from short ones: a pipeline that is full need not begin with these.
  ChunkPlanner planner(slow_last_stage(), {.limits = kLimits});
  std::vector<PromptWork> prompts{{.num_tokens = 80'000}};
  planner.set_backlog(prompts, 0);
  for (std::int64_t step = 0; step < 6; ++step) {
    planner.begin_step();
    const Chunk chunk{.num_tokens = planner.chunk_tokens(prompts[0], kCap),
                      .num_computed_tokens = prompts[0].num_computed_tokens};
    planner.step_scheduled(step, std::array{chunk});
    prompts[0].num_tokens -= chunk.num_tokens;
    prompts[0].num_computed_tokens += chunk.num_tokens;
  }
  planner.begin_step();
  const double before_ms = planner.target_ms();
  prompts.push_back({.num_tokens = 60'000});
  const StepTargets row = best_step_targets(slow_last_stage(), prompts, kLimits);
  ASSERT_LT(row.at(0), 0.8 * before_ms);
  ASSERT_GT(row.longest_ms(), 1.2 * before_ms);
  planner.set_backlog(prompts, 1);
  EXPECT_GE(planner.target_ms(), before_ms);
  EXPECT_LT(planner.target_ms(), row.longest_ms());
}

TEST(ChunkPlanner, StepsArePricedByTheSlowestStageFromTheStart) {
  ChunkPlanner planner(slow_last_stage(), {.limits = kLimits});
  const Chunk chunk{.num_tokens = 1000};
  planner.begin_step();
  planner.add_chunk(chunk);
  EXPECT_DOUBLE_EQ(planner.step_ms(), kimi().scaled(1.2).step_ms(StepFeatures::of(chunk)));
}

TEST(ChunkPlanner, OtherStagesArePricedByTheSlowest) {
  ChunkPlanner planner(slow_last_stage(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(prompt, 0);
  planner.begin_step();
  const std::int64_t before = planner.chunk_tokens(prompt[0], kCap);
  planner.set_stages(slow_last_stage());
  EXPECT_EQ(planner.chunk_tokens(prompt[0], kCap), before);
}

TEST(ChunkPlanner, TheSlowestStageIsThatOfTheBacklog) {
  // The one is slower for short prompts, the other for long ones. Steps of a given time tell which.
  const LatencyModel by_tokens({.linear = 0.02, .constant = 10.0});
  const LatencyModel by_history(
      {.quadratic = 1e-6, .cross = 1e-6, .linear = 0.005, .constant = 10});
  ChunkPlanner planner(Stages({by_tokens, by_history}), {.limits = kLimits});
  for (const auto& [num_tokens, slowest] : {std::pair{std::int64_t{2000}, by_tokens},
                                            {std::int64_t{131'072}, by_history},
                                            {std::int64_t{2000}, by_tokens}}) {
    const std::array prompt{PromptWork{.num_tokens = num_tokens}};
    planner.set_backlog(prompt, 0);
    planner.begin_step();
    planner.add_chunk({.num_tokens = 512, .num_computed_tokens = 512});
    EXPECT_DOUBLE_EQ(
        planner.step_ms(),
        slowest.step_ms(std::array{Chunk{.num_tokens = 512, .num_computed_tokens = 512}}));
  }
}

TEST(ChunkPlanner, TheSlowestStageIsThatOfARaisedTargetsBacklog) {
  const LatencyModel slow_at_first({.linear = 0.02, .constant = 10.0});
  const LatencyModel slow_later(
      {.quadratic = 1e-6, .cross = 1e-6, .linear = 0.005, .constant = 10.0});
  ChunkPlanner planner(Stages({slow_at_first, slow_later}), {.limits = kLimits});
  std::vector<PromptWork> prompts{{.num_tokens = 2000}};
  planner.set_backlog(prompts, 0);
  const Chunk chunk{.num_tokens = 4096, .num_computed_tokens = 65'536};
  planner.begin_step();
  planner.add_chunk(chunk);
  ASSERT_DOUBLE_EQ(planner.step_ms(), slow_at_first.step_ms(std::array{chunk}));
  const double target_ms = planner.target_ms();
  prompts.push_back({.num_tokens = 131'072});
  planner.set_backlog(prompts, 1);
  ASSERT_GT(planner.target_ms(), target_ms);
  planner.begin_step();
  planner.add_chunk(chunk);
  EXPECT_DOUBLE_EQ(planner.step_ms(), slow_later.step_ms(std::array{chunk}));
}

TEST(ChunkPlanner, AShareIsAnyPartOfAStep) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits, .target_ms = 500.0});
  const PromptWork prompt{.num_tokens = 131'072};
  planner.begin_step();
  const std::int64_t whole = planner.chunk_tokens(prompt, kCap);
  EXPECT_LE(planner.shared_chunk_tokens(prompt, kCap, 1.0), whole);
  EXPECT_LT(planner.shared_chunk_tokens(prompt, kCap, 0.75), whole);
  for (const double share : {0.0, -0.5, 1.5, std::nan("")}) {
    EXPECT_THROW((void)planner.shared_chunk_tokens(prompt, kCap, share), InvalidArgument) << share;
  }
}

TEST(ChunkPlanner, ASharedChunkMindsTheDecodesOfItsStepAlone) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits, .target_ms = 500.0});
  const PromptWork prompt{.num_tokens = 131'072};
  planner.begin_step();
  const std::int64_t alone = planner.shared_chunk_tokens(prompt, kCap, 0.5);
  planner.add_decodes(100, 100 * kDecodeHistory);
  const std::int64_t beside_decodes = planner.shared_chunk_tokens(prompt, kCap, 0.5);
  // Half of what the decodes leave, to the alignment step below.
  const double half_ms = 0.5 * (500.0 - planner.step_ms());
  const double half_tokens = kimi().tokens_within(half_ms, 0.0);
  EXPECT_LE(static_cast<double>(beside_decodes), half_tokens);
  EXPECT_GT(static_cast<double>(beside_decodes + kLimits.alignment), half_tokens);
  planner.begin_step();
  EXPECT_EQ(planner.shared_chunk_tokens(prompt, kCap, 0.5), alone);
}

TEST(ChunkPlanner, EveryPromptLengthLetsTheTargetFall) {
  // A sum of differences of prices would keep the old target for some lengths by rounding.
  for (std::int64_t num_tokens = 1000; num_tokens < 9000; num_tokens += 16) {
    ChunkPlanner planner(equal_stages(), {.limits = {.max_chunk_tokens = 8192, .alignment = 16}});
    const std::vector<PromptWork> many(3, PromptWork{.num_tokens = num_tokens});
    planner.set_backlog(many, 0);
    std::int64_t left = 3 * num_tokens;
    std::int64_t step = 0;
    while (left > 0) {
      planner.begin_step();
      const std::int64_t chunk = std::min<std::int64_t>(left, 333);
      planner.step_scheduled(++step, std::array{Chunk{.num_tokens = chunk}});
      left -= chunk;
    }
    // The last step is still inside, and the next prompt is short.
    planner.step_left(step - 1);
    const double target_ms = planner.target_ms();
    const std::array next{PromptWork{.num_tokens = 500}};
    planner.set_backlog(next, 0);
    EXPECT_LT(planner.target_ms(), target_ms) << num_tokens;
  }
}

TEST(ChunkPlanner, WalksThroughARowOfTargets) {
  const Plan plan = plan_chunks(slow_last_stage(), 131'072, kLimits);
  ASSERT_GT(plan.step_targets_ms.size(), 3U);
  ASSERT_LT(plan.step_targets_ms[0], plan.step_targets_ms[2]);
  ChunkPlanner planner(slow_last_stage(), {.limits = kLimits});
  Server server(planner);
  server.join(131'072);
  for (std::size_t step = 0; step < plan.chunks.size(); ++step) {
    (void)server.step();
    EXPECT_DOUBLE_EQ(planner.target_ms(),
                     plan.step_targets_ms[std::min(step, plan.step_targets_ms.size() - 1)]);
  }
}

TEST(ChunkPlanner, StepsWithoutPrefillsDoNotUseUpTheRow) {
  ChunkPlanner planner(slow_last_stage(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(prompt, 0);
  const double first_ms = planner.target_ms();
  for (int step = 0; step < 3; ++step) {
    planner.begin_step();
    planner.add_chunk({.num_tokens = 1, .num_computed_tokens = 100});
    EXPECT_DOUBLE_EQ(planner.target_ms(), first_ms);
    planner.step_scheduled(step, {});
  }
}

TEST(ChunkPlanner, OtherStagesPriceTheNextStep) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const std::array prompt{PromptWork{.num_tokens = 131'072}};
  planner.set_backlog(prompt, 0);
  planner.begin_step();
  const double target_ms = planner.target_ms();
  const std::int64_t before = planner.chunk_tokens(prompt[0], kCap);
  planner.set_stages(Stages(kimi().scaled(2.0), 4));
  planner.begin_step();
  EXPECT_DOUBLE_EQ(planner.target_ms(), target_ms);  // the backlog is the same
  EXPECT_LT(planner.chunk_tokens(prompt[0], kCap), 0.65 * static_cast<double>(before));
  EXPECT_THROW(planner.set_stages(Stages(kimi(), 3)), InvalidArgument);
}

TEST(ChunkPlanner, WhatIsInFlightIsPricedByTheModelsInForce) {
  // From twice as fast stages the one planner has its book, and then hears how fast they are.
  const Stages slower({kimi().scaled(2.0), kimi().scaled(2.0), kimi().scaled(2.0)});
  ChunkPlanner told_late(Stages(kimi(), 3), {.limits = kLimits});
  ChunkPlanner told_at_once(slower, {.limits = kLimits});
  std::vector<PromptWork> prompts{{.num_tokens = 20'000}};
  for (ChunkPlanner* planner : {&told_late, &told_at_once}) {
    planner->set_backlog(prompts, 0);
    planner->step_scheduled(1, std::array{Chunk{.num_tokens = 8192}});
  }
  told_late.set_stages(slower);
  const double before_ms = told_at_once.target_ms();
  prompts[0] = {.num_tokens = 11'808, .num_computed_tokens = 8192};
  prompts.resize(9, {.num_tokens = 60'000});
  told_late.set_backlog(prompts, 1);
  told_at_once.set_backlog(prompts, 1);
  EXPECT_GT(told_at_once.target_ms(), 1.1 * before_ms);
  EXPECT_NEAR(told_late.target_ms() / told_at_once.target_ms(), 1.0, 1e-9);
}

TEST(ChunkPlanner, AGivenTargetHoldsWhateverWaits) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits, .target_ms = 200.0});
  EXPECT_EQ(planner.target_ms(), 200.0);
  const std::vector<PromptWork> many(50, PromptWork{.num_tokens = 131'072});
  planner.set_backlog(many, 0);
  EXPECT_EQ(planner.target_ms(), 200.0);
  planner.set_stages(equal_stages(), 300.0);
  EXPECT_EQ(planner.target_ms(), 300.0);
  planner.set_stages(equal_stages());  // from the next backlog on
  planner.set_backlog(many, 0);
  EXPECT_GT(planner.target_ms(), 300.0);
}

TEST(ChunkPlanner, NoStepIsLongerThanMaxStep) {
  ChunkLimits limits = kLimits;
  limits.max_step_ms = 150.0;
  for (const Stages* stages : {&equal_stages(), &slow_last_stage()}) {
    ChunkPlanner planner(*stages, {.limits = limits});
    Server server(planner);
    for (int request = 0; request < 10; ++request) {
      server.join(20'000);
    }
    for (int step = 0; step < 1000 && !server.prompts().empty(); ++step) {
      (void)server.step(20);
      EXPECT_LE(planner.target_ms(), 150.0);
      EXPECT_LE(planner.step_ms(), 150.0);
    }
    EXPECT_TRUE(server.prompts().empty());
  }
}

TEST(ChunkPlanner, NoStageIsBusyForLongerThanMaxStep) {
  // The first stage takes longest for the whole prompt, the second for what has no history.
  const LatencyModel late({.quadratic = 1e-7, .cross = 9e-7, .linear = 6e-3, .constant = 20.0});
  const LatencyModel early({.quadratic = 6e-7, .cross = 1e-7, .linear = 9e-3, .constant = 20.0});
  const Stages stages({late, early});
  ChunkLimits limits = kLimits;
  limits.max_step_ms = 120.0;
  ChunkPlanner planner(stages, {.limits = limits});
  const std::array prompt{PromptWork{.num_tokens = 200'000}};
  planner.set_backlog(prompt, 0);
  planner.set_stages(stages);
  std::int64_t done = 0;
  bool is_bound_by_the_other = false;
  while (done < 200'000) {
    planner.begin_step();
    const Chunk chunk{.num_tokens = planner.chunk_tokens(
                          {.num_tokens = 200'000 - done, .num_computed_tokens = done}, kCap),
                      .num_computed_tokens = done};
    ASSERT_GT(chunk.num_tokens, 0);
    const std::span one(&chunk, 1);
    EXPECT_LE(std::max(late.step_ms(one), early.step_ms(one)), 120.0) << done;
    is_bound_by_the_other = is_bound_by_the_other || early.step_ms(one) > late.step_ms(one);
    planner.add_chunk(chunk);
    planner.step_scheduled(done, one);
    done += chunk.num_tokens;
  }
  EXPECT_TRUE(is_bound_by_the_other);
}

TEST(ChunkPlanner, SmoothFactorZeroIsFixedChunks) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits, .smooth_factor = 0.0});
  EXPECT_EQ(served(planner, 100'000), (std::vector<std::int64_t>{kCap, kCap, kCap, 1696}));
}

TEST(ChunkPlanner, AnEmptyBacklogChangesNothing) {
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  const double target_ms = planner.target_ms();
  EXPECT_GT(target_ms, kimi().coefficients().constant);
  planner.set_backlog({}, 0);
  EXPECT_EQ(planner.target_ms(), target_ms);
}

TEST(ChunkPlanner, RefusesBadArguments) {
  EXPECT_THROW(ChunkPlanner(equal_stages(), {}), InvalidArgument);
  EXPECT_THROW(ChunkPlanner(equal_stages(), {.limits = kLimits, .smooth_factor = 2.0}),
               InvalidArgument);
  EXPECT_THROW(ChunkPlanner(equal_stages(), {.limits = kLimits, .target_ms = -1.0}),
               InvalidArgument);
  EXPECT_THROW(ChunkPlanner(equal_stages(), {.limits = kLimits, .target_ms = std::nan("")}),
               InvalidArgument);
  ChunkPlanner planner(equal_stages(), {.limits = kLimits});
  EXPECT_THROW(planner.set_stages(equal_stages(), -1.0), InvalidArgument);
  planner.begin_step();
  EXPECT_GT(planner.target_ms(), 0.0);  // and is as it was
  const std::array bad{PromptWork{.num_tokens = -1}};
  EXPECT_THROW(planner.set_backlog(bad, 0), InvalidArgument);
  EXPECT_THROW(
      ChunkPlanner(equal_stages(), {.limits = kLimits, .target_ms = 10.0}).set_backlog(bad, 0),
      InvalidArgument);
  EXPECT_THROW(planner.set_decodes(-1, 0, 1), InvalidArgument);
  EXPECT_THROW(planner.set_decodes(1, -1, 1), InvalidArgument);
  EXPECT_THROW(planner.set_decodes(1, 0, -1), InvalidArgument);
  const std::array none{PromptWork{}};
  EXPECT_THROW(planner.set_backlog(none, 0), InvalidArgument);
  EXPECT_THROW((void)planner.chunk_tokens({.num_tokens = -1}, 1), InvalidArgument);
  EXPECT_THROW(planner.add_chunk({.num_tokens = -1}), InvalidArgument);
  EXPECT_THROW(planner.step_scheduled(1, std::array{Chunk{.num_tokens = -1}}), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
