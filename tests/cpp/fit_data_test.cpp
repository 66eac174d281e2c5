#include "cpp_chunk/fit_data.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "cpp_chunk/error.h"
#include "profile_steps.h"

namespace cpp_chunk {
namespace {

RefusalReason refusal(const std::vector<MeasuredStep>& steps) {
  try {
    check_diversity(steps);
  } catch (const FitRefused& refused) {
    return refused.reason();
  }
  throw Error("the steps were not refused");
}

TEST(FitData, AProfileIsUsableAndDiverse) {
  EXPECT_NO_THROW(check_usable(profile(truth())));
  EXPECT_NO_THROW(check_diversity(profile(truth())));
}

TEST(FitData, RefusesTooFewPoints) {
  std::vector<MeasuredStep> steps = profile(truth());
  steps.resize(kMinFitPoints - 1);
  EXPECT_EQ(refusal(steps), RefusalReason::too_few_points);
  EXPECT_EQ(refusal({}), RefusalReason::too_few_points);
}

TEST(FitData, RefusesOneChunkSize) {
  std::vector<MeasuredStep> steps;
  for (std::int64_t i = 0; i < 16; ++i) {
    steps.push_back(measured(truth(), {1024, 1024 * i}));
  }
  EXPECT_EQ(refusal(steps), RefusalReason::single_chunk_size);
  // However many of them a step holds.
  for (std::size_t i = 0; i < steps.size(); i += 2) {
    steps[i].features.add({1024, 512});
  }
  EXPECT_EQ(refusal(steps), RefusalReason::single_chunk_size);
}

TEST(FitData, RefusesNoHistory) {
  std::vector<MeasuredStep> steps;
  for (std::int64_t i = 1; i <= 16; ++i) {
    steps.push_back(measured(truth(), {512 * i, 0}));
  }
  EXPECT_EQ(refusal(steps), RefusalReason::no_history);
}

TEST(FitData, RefusalCarriesTheValues) {
  try {
    check_diversity(std::vector<MeasuredStep>{measured(truth(), {1, 1})});
    FAIL();
  } catch (const FitRefused& refused) {
    EXPECT_NE(std::string(refused.what()).find("got 1"), std::string::npos);
  }
}

TEST(FitData, UnusableStepsAreInvalid) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double latency_ms : {0.0, -1.0, std::nan(""), infinity}) {
    std::vector<MeasuredStep> steps = profile(truth());
    steps[3].latency_ms = latency_ms;
    EXPECT_FALSE(is_usable(steps[3]));
    EXPECT_THROW(check_usable(steps), InvalidArgument);
  }
  std::vector<MeasuredStep> steps = profile(truth());
  steps[3].features = {};
  EXPECT_THROW(check_usable(steps), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
