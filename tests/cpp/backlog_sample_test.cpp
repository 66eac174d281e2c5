#include "cpp_chunk/backlog_sample.h"

#include <gtest/gtest.h>

#include <vector>

#include "cpp_chunk/backlog_flow.h"

namespace cpp_chunk {
namespace {

template <typename Prompt>
double work_ms(const Coefficients& cost, const std::vector<Prompt>& prompts) {
  double sum_ms = 0.0;
  for (const Prompt& prompt : prompts) {
    sum_ms += uncut_work_ms(cost, prompt);
  }
  return sum_ms;
}

const Coefficients kCost{.quadratic = 1e-6, .cross = 1e-6, .linear = 1e-2};

void expect_like_the_whole(const std::vector<PromptWork>& prompts, double times,
                           std::int64_t alignment) {
  std::vector<PromptPiece> sample;
  const double taken_times = sample_prompts(prompts, times, alignment, sample);
  EXPECT_NEAR(taken_times / times, 1.0, 0.05);
  EXPECT_NEAR(taken_times * work_ms(kCost, sample) / work_ms(kCost, prompts), 1.0, 0.05);
  for (const PromptPiece& piece : sample) {
    EXPECT_GT(piece.num_tokens, 0);
    EXPECT_EQ(piece.num_computed_tokens % alignment, 0);
  }
}

TEST(BacklogSample, OfALonePromptIsAsDear) {
  expect_like_the_whole({{.num_tokens = 10'000'000, .num_computed_tokens = 0}}, 40.0, 16);
  expect_like_the_whole({{.num_tokens = 1'000'000, .num_computed_tokens = 64'000}}, 7.5, 128);
}

TEST(BacklogSample, OfManyPromptsIsAsDear) {
  std::vector<PromptWork> prompts;
  for (int i = 0; i < 5000; ++i) {
    prompts.push_back({.num_tokens = 1 + (i * 7919) % 20'000, .num_computed_tokens = 0});
  }
  expect_like_the_whole(prompts, 20.0, 1);
}

TEST(BacklogSample, HasTheOnePromptThatIsMostOfTheBacklog) {
  std::vector<PromptWork> prompts(9999, PromptWork{.num_tokens = 1});
  prompts.insert(prompts.begin() + 5000, PromptWork{.num_tokens = 10'000'000});
  expect_like_the_whole(prompts, 20.0, 1);
}

}  // namespace
}  // namespace cpp_chunk
