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

TEST(Stages, HoldAsManyStepsAsThereAreStagesUnlessTold) {
  const LatencyModel model({.linear = 1.0, .context = 1.0});
  EXPECT_EQ(Stages(model, 3).max_in_flight(), 3);
  EXPECT_EQ(Stages({model, model.scaled(2.0)}).max_in_flight(), 2);
  const Stages deep(model, 3, 4);
  EXPECT_EQ(deep.max_in_flight(), 4);
  // Whatever becomes of the models.
  EXPECT_EQ(deep.with_overhead({.context_sum = 10.0}).max_in_flight(), 4);
  EXPECT_EQ(deep.with_models({model, model, model.scaled(2.0)}).max_in_flight(), 4);
  EXPECT_FALSE(deep.with_models({model, model, model.scaled(2.0)}).are_equal());
}

TEST(Stages, RefusesBadNumbers) {
  const LatencyModel model({.linear = 1.0});
  EXPECT_THROW(Stages(std::vector<LatencyModel>{}), InvalidArgument);
  EXPECT_THROW(Stages(model, 0), InvalidArgument);
  EXPECT_THROW(Stages(model, -1), InvalidArgument);
  EXPECT_THROW(Stages(model, kMaxStages + 1), InvalidArgument);
  EXPECT_THROW(Stages(model, std::numeric_limits<std::int64_t>::min()), InvalidArgument);
  EXPECT_EQ(Stages(model, kMaxStages).size(), 1024U);
  EXPECT_THROW(Stages(model, 2, 0), InvalidArgument);
  EXPECT_THROW(Stages(model, 2, kMaxInFlight + 1), InvalidArgument);
  EXPECT_EQ(Stages(model, kMaxStages, kMaxInFlight).max_in_flight(), 2048);
}

}  // namespace
}  // namespace cpp_chunk
