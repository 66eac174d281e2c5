#include "cpp_chunk/stages.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

TEST(Stages, AlikeOrNot) {
  const LatencyModel model({.linear = 1.0, .constant = 2.0});
  const Stages alike(model, 3);
  EXPECT_EQ(alike.size(), 3U);
  EXPECT_TRUE(alike.are_equal());
  EXPECT_EQ(alike[2], model);
  EXPECT_TRUE(Stages({model}).are_equal());
  EXPECT_TRUE(Stages({model, model}).are_equal());
  EXPECT_FALSE(Stages({model, model.scaled(1.2)}).are_equal());
  // Also where only the last coefficient differs.
  EXPECT_FALSE(Stages({model, model, model.with_overhead(1e-9)}).are_equal());
}

TEST(Stages, EachPaysItsOwnPriceForWhatEveryStepHolds) {
  const Stages stages({LatencyModel({.linear = 1.0, .context = 0.5, .constant = 2.0}),
                       LatencyModel({.linear = 3.0, .constant = 4.0})});
  StepFeatures decode;
  decode.add({.num_tokens = 1, .num_computed_tokens = 10});
  const Stages dearer = stages.with_overhead(decode);
  EXPECT_DOUBLE_EQ(dearer[0].coefficients().constant, 2.0 + 1.0 + 5.0);
  EXPECT_DOUBLE_EQ(dearer[1].coefficients().constant, 4.0 + 3.0);
  EXPECT_DOUBLE_EQ(dearer[0].coefficients().linear, 1.0);
  EXPECT_FALSE(dearer.are_equal());
}

TEST(Stages, RefusesBadNumbers) {
  const LatencyModel model({.linear = 1.0});
  EXPECT_THROW(Stages(std::vector<LatencyModel>{}), InvalidArgument);
  EXPECT_THROW(Stages(model, 0), InvalidArgument);
  EXPECT_THROW(Stages(model, -1), InvalidArgument);
  EXPECT_THROW(Stages(model, kMaxStages + 1), InvalidArgument);
  EXPECT_THROW(Stages(model, std::numeric_limits<std::int64_t>::min()), InvalidArgument);
  EXPECT_EQ(Stages(model, kMaxStages).size(), 1024U);
}

}  // namespace
}  // namespace cpp_chunk
