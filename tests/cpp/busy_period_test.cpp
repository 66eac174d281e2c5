#include "cpp_chunk/busy_period.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cpp_chunk {
namespace {

// S = 4, c = 10 ms
constexpr double kConstantMs = 10.0;
constexpr double kOtherRounds = 3.0;

// A token is a millisecond.
const Coefficients kCost{.linear = 1.0};

constexpr UncutWork work_of(std::int64_t num_tokens) { return {.num_tokens = num_tokens}; }

constexpr UncutWork kFull = work_of(1'000'000);

double best_ms(const BusyPeriod& period) {
  return period.best_step_ms(kCost, kConstantMs, kOtherRounds);
}

// Whoever joins both from now on, until what joined before is forgotten.
void expect_alike(BusyPeriod& period, BusyPeriod& undisturbed, int num_joins) {
  for (int prompt = 0; prompt < num_joins; ++prompt) {
    period.join(work_of(1000), kFull);
    undisturbed.join(work_of(1000), kFull);
    EXPECT_DOUBLE_EQ(best_ms(period), best_ms(undisturbed)) << prompt;
  }
}

TEST(BusyPeriod, OnePromptGetsItsOwnBestStep) {
  BusyPeriod period;
  period.begin(work_of(2700));
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(2700.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, PromptsThatFindNothingPayForTheFillAnew) {
  // Ten times the work, ten fills: the same step.
  BusyPeriod period;
  period.begin(work_of(2700));
  const double alone_ms = best_ms(period);
  for (int prompt = 0; prompt < 9; ++prompt) {
    period.join(work_of(2700), {});
  }
  EXPECT_DOUBLE_EQ(best_ms(period), alone_ms);
}

TEST(BusyPeriod, PromptsThatFindTheStagesFullShareOneFill) {
  BusyPeriod period;
  period.begin(work_of(2700));
  for (int prompt = 0; prompt < 8; ++prompt) {
    period.join(work_of(2700), kFull);
  }
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(9.0 * 2700.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, StepsDoNotOutgrowWhatPromptsFind) {
  // All find 300 ms: more than a tenth above 300/3 a step would leave stages empty for all of them.
  BusyPeriod period;
  period.begin(work_of(2700));
  for (int prompt = 0; prompt < 100; ++prompt) {
    period.join(work_of(2700), work_of(300));
  }
  EXPECT_NEAR(best_ms(period), 10.0 + 1.1 * 300.0 / 3.0, 1e-9);
}

TEST(BusyPeriod, SomeMayComeLate) {
  // 24 of 100 find 300 ms, too little for the best step: sqrt(B*c/(R*25)), with the first fill.
  BusyPeriod period;
  period.begin(work_of(2700));
  for (int prompt = 0; prompt < 100; ++prompt) {
    period.join(work_of(2700), prompt % 25 < 6 ? work_of(300) : kFull);
  }
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(101.0 * 2700.0 * 10.0 / (3.0 * 25.0)));
}

TEST(BusyPeriod, BeginsAnewWhenIdle) {
  BusyPeriod period;
  period.begin(work_of(1000));
  period.join(work_of(5000), kFull);
  period.begin(work_of(2700));
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(2700.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, OldPromptsAreForgotten) {
  BusyPeriod period;
  period.begin(work_of(2700));
  for (int prompt = 0; prompt < 100; ++prompt) {
    period.join(work_of(2700), kFull);
  }
  const double long_ms = best_ms(period);
  for (int prompt = 0; prompt < 1000; ++prompt) {
    period.join(work_of(2700), {});
  }
  EXPECT_NEAR(best_ms(period), 10.0 + std::sqrt(2700.0 * 10.0 / 3.0), 0.5);
  EXPECT_GT(long_ms, 5.0 * best_ms(period));
}

TEST(BusyPeriod, WhatIsWithdrawnHasNotJoined) {
  BusyPeriod period;
  period.begin(work_of(2700));
  for (int prompt = 0; prompt < 3; ++prompt) {
    period.join(work_of(1000), kFull);
  }
  const double before_ms = best_ms(period);
  for (int prompt = 0; prompt < 4; ++prompt) {
    period.join(work_of(60'000), kFull);
  }
  EXPECT_GT(best_ms(period), 5.0 * before_ms);
  // All of them and a bit of the first, in parts that fit no join.
  for (int part = 0; part < 8; ++part) {
    period.withdraw(work_of(30'000));
  }
  EXPECT_DOUBLE_EQ(best_ms(period), before_ms);
  period.withdraw(work_of(3500));
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(2200.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, WhatIsWithdrawnIsForgottenWhole) {
  // What joined last was withdrawn, so that nothing of it is left when older joins are forgotten.
  BusyPeriod period;
  BusyPeriod undisturbed;
  period.begin(work_of(2700));
  undisturbed.begin(work_of(2700));
  for (int prompt = 0; prompt < 40; ++prompt) {
    period.join(work_of(60'000), kFull);
  }
  period.withdraw(work_of(40 * 60'000));
  expect_alike(period, undisturbed, 120);
}

TEST(BusyPeriod, WhatIsWithdrawnInPartIsOfTheLatestJoin) {
  // So that it is forgotten together with that one, long before the first prompt is.
  BusyPeriod period;
  BusyPeriod undisturbed;
  period.begin(work_of(40'000));
  undisturbed.begin(work_of(40'000));
  period.join(work_of(60'000), kFull);
  period.withdraw(work_of(30'000));
  undisturbed.join(work_of(30'000), kFull);
  expect_alike(period, undisturbed, 130);
}

TEST(BusyPeriod, WhoIsWithdrawnHasNotComeLate) {
  BusyPeriod period;
  period.begin(work_of(2700));
  const double alone_ms = best_ms(period);
  period.join(work_of(1000), {});
  period.withdraw(work_of(1000));
  EXPECT_DOUBLE_EQ(best_ms(period), alone_ms);
}

TEST(BusyPeriod, PricesAreThoseOfNow) {
  BusyPeriod period;
  period.begin(work_of(2700));
  EXPECT_DOUBLE_EQ(period.best_step_ms({.linear = 4.0}, kConstantMs, kOtherRounds),
                   10.0 + 2.0 * std::sqrt(2700.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, OneStageHasNothingToFill) {
  BusyPeriod period;
  period.begin(work_of(1000));
  EXPECT_TRUE(std::isinf(period.best_step_ms(kCost, kConstantMs, 0.0)));
  period.join(work_of(1000), work_of(500));
  EXPECT_TRUE(std::isinf(period.best_step_ms(kCost, kConstantMs, 0.0)));
}

}  // namespace
}  // namespace cpp_chunk
