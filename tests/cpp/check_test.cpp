#include "cpp_chunk/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

using ::testing::StrEq;
using ::testing::ThrowsMessage;

auto refuses(const char* message) { return ThrowsMessage<InvalidArgument>(StrEq(message)); }

TEST(CheckCount, TakesBothEndsOfItsRange) {
  EXPECT_NO_THROW(check_count("count", 0));
  EXPECT_NO_THROW(check_count("count", kMaxTokens));
  EXPECT_NO_THROW(check_count("count", 2, 2, 2));
}

TEST(CheckCount, RefusesWhatIsOutsideAndNamesIt) {
  EXPECT_THAT([] { check_count("count", -1); },
              refuses("count must be in [0, 1000000000000], got -1"));
  EXPECT_THAT([] { check_count("count", kMaxTokens + 1, 1); },
              refuses("count must be in [1, 1000000000000], got 1000000000001"));
  EXPECT_THAT([] { check_count("count", 4, 2, 3); }, refuses("count must be in [2, 3], got 4"));
}

TEST(CheckNumber, TakesBothEndsOfItsRange) {
  EXPECT_NO_THROW(check_number("share", 0.0));
  EXPECT_NO_THROW(check_number("share", std::numeric_limits<double>::max()));
  EXPECT_NO_THROW(check_number("share", 1.0, 1.0));
}

TEST(CheckNumber, RefusesWhatIsOutsideOrNoNumber) {
  EXPECT_THAT([] { check_number("share", -1e-9, 1.0); },
              refuses("share must be in [0, 1], got -1e-09"));
  EXPECT_THAT([] { check_number("share", 1.0 + 1e-9, 1.0); },
              refuses("share must be in [0, 1], got 1.000000001"));
  EXPECT_THAT([] { check_number("share", std::numeric_limits<double>::infinity()); },
              refuses("share must be finite and >= 0, got inf"));
  EXPECT_THAT([] { check_number("share", std::numeric_limits<double>::quiet_NaN()); },
              refuses("share must be finite and >= 0, got nan"));
}

TEST(CheckChunk, NamesTheCountThatIsWrong) {
  EXPECT_NO_THROW(check_chunk({.num_tokens = kMaxTokens, .num_computed_tokens = kMaxTokens}));
  EXPECT_THAT([] { check_chunk({.num_tokens = -1}); },
              refuses("num_tokens must be in [0, 1000000000000], got -1"));
  EXPECT_THAT([] { check_chunk({.num_computed_tokens = -2}); },
              refuses("num_computed_tokens must be in [0, 1000000000000], got -2"));
}

}  // namespace
}  // namespace cpp_chunk
