#include "cpp_chunk/error.h"

#include <gtest/gtest.h>

#include <string>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/latency_model.h"

namespace cpp_chunk {
namespace {

template <typename Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "";
}

TEST(InvalidArgument, ShowsWhatIsJustOutOfRange) {
  EXPECT_EQ(refusal([] { (void)LatencyModel({.quadratic = -1e-9}); }),
            "quadratic must be finite and >= 0, got -1e-09");
  const LatencyModel model({.linear = 1.0});
  const ChunkLimits limits{.max_chunk_tokens = 100};
  EXPECT_EQ(refusal([&] { (void)ChunkSolver(model, limits, 1.0 + 1e-9); }),
            "smooth_factor must be in [0, 1], got 1.000000001");
  EXPECT_EQ(refusal([&] { ChunkSolver(model, limits).begin_step(-1e-9); }),
            "target_ms must be >= 0, got -1e-09");
}

TEST(InvalidArgument, CarriesItsFieldAndValue) {
  const InvalidArgument error("share", "in (0, 1]", "2");
  EXPECT_STREQ(error.what(), "share must be in (0, 1], got 2");
  EXPECT_EQ(error.field(), "share");
  EXPECT_EQ(error.value(), "2");
}

TEST(InvalidArgument, NamesTheOneOfSeveralThatIsWrong) {
  const ChunkLimits limits{.max_chunk_tokens = 100, .min_chunk_tokens = 101};
  try {
    limits.check();
    FAIL() << "a floor above the cap was taken";
  } catch (const InvalidArgument& error) {
    EXPECT_STREQ(error.what(),
                 "min_chunk_tokens must be in [0, max_chunk_tokens], got max_chunk_tokens 100, "
                 "min_chunk_tokens 101, alignment 1");
    EXPECT_EQ(error.field(), "min_chunk_tokens");
    EXPECT_EQ(error.value(), "101");
  }
}

}  // namespace
}  // namespace cpp_chunk
