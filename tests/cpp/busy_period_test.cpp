#include "cpp_chunk/busy_period.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cpp_chunk {
namespace {

// S = 4, c = 10 ms
constexpr double kConstantMs = 10.0;
constexpr double kOtherRounds = 3.0;

double best_ms(const BusyPeriod& period) { return period.best_step_ms(kConstantMs, kOtherRounds); }

TEST(BusyPeriod, OnePromptGetsItsOwnBestStep) {
  BusyPeriod period;
  period.begin(2700.0);
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(2700.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, PromptsThatFindNothingPayForTheFillAnew) {
  // Ten times the work, ten fills: the same step.
  BusyPeriod period;
  period.begin(2700.0);
  const double alone_ms = best_ms(period);
  for (int prompt = 0; prompt < 9; ++prompt) {
    period.join(2700.0, 0.0);
  }
  EXPECT_DOUBLE_EQ(best_ms(period), alone_ms);
}

TEST(BusyPeriod, PromptsThatFindTheStagesFullShareOneFill) {
  BusyPeriod period;
  period.begin(2700.0);
  for (int prompt = 0; prompt < 8; ++prompt) {
    period.join(2700.0, 1e6);
  }
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(9.0 * 2700.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, StepsDoNotOutgrowWhatPromptsFind) {
  // All find 300 ms: more than a tenth above 300/3 a step would leave stages empty for all of them.
  BusyPeriod period;
  period.begin(2700.0);
  for (int prompt = 0; prompt < 100; ++prompt) {
    period.join(2700.0, 300.0);
  }
  EXPECT_NEAR(best_ms(period), 10.0 + 1.1 * 300.0 / 3.0, 1e-9);
}

TEST(BusyPeriod, SomeMayComeLate) {
  // 24 of 100 find 300 ms, too little for the best step: sqrt(B*c/(R*25)), with the first fill.
  BusyPeriod period;
  period.begin(2700.0);
  for (int prompt = 0; prompt < 100; ++prompt) {
    period.join(2700.0, prompt % 25 < 6 ? 300.0 : 1e6);
  }
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(101.0 * 2700.0 * 10.0 / (3.0 * 25.0)));
}

TEST(BusyPeriod, BeginsAnewWhenIdle) {
  BusyPeriod period;
  period.begin(1000.0);
  period.join(5000.0, 1e6);
  period.begin(2700.0);
  EXPECT_DOUBLE_EQ(best_ms(period), 10.0 + std::sqrt(2700.0 * 10.0 / 3.0));
}

TEST(BusyPeriod, OldPromptsAreForgotten) {
  BusyPeriod period;
  period.begin(2700.0);
  for (int prompt = 0; prompt < 100; ++prompt) {
    period.join(2700.0, 1e6);
  }
  const double long_ms = best_ms(period);
  for (int prompt = 0; prompt < 1000; ++prompt) {
    period.join(2700.0, 0.0);
  }
  EXPECT_NEAR(best_ms(period), 10.0 + std::sqrt(2700.0 * 10.0 / 3.0), 0.5);
  EXPECT_GT(long_ms, 5.0 * best_ms(period));
}

TEST(BusyPeriod, OneStageHasNothingToFill) {
  BusyPeriod period;
  period.begin(1000.0);
  EXPECT_TRUE(std::isinf(period.best_step_ms(kConstantMs, 0.0)));
}

}  // namespace
}  // namespace cpp_chunk
