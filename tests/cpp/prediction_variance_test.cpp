#include "cpp_chunk/prediction_variance.h"

#include <gtest/gtest.h>

#include <vector>

namespace cpp_chunk {
namespace {

LatencyModel guess() {
  return LatencyModel({.quadratic = 4e-5, .cross = 4e-5, .linear = 0.01, .constant = 3.0});
}

const std::vector<Chunk>& region() {
  static const std::vector<Chunk> chunks = {{32, 0},       {32, 65536}, {1024, 0},
                                            {1024, 65536}, {16384, 0},  {16384, 65536}};
  return chunks;
}

TEST(PredictionVariance, FallsWithEveryPass) {
  PredictionVariance variance(region(), guess(), 32.0);
  double mean = variance.mean_with({256, 0});
  for (const Chunk& pass : region()) {
    variance.add(pass);
    const double with_more = variance.mean_with({256, 0});
    EXPECT_GT(with_more, 0.0);
    EXPECT_LT(with_more, mean);
    mean = with_more;
  }
}

TEST(PredictionVariance, IsThatOfThePassesWhateverTheirOrder) {
  PredictionVariance there(region(), guess(), 32.0);
  PredictionVariance back(region(), guess(), 32.0);
  for (std::size_t i = 0; i + 1 < region().size(); ++i) {
    there.add(region()[i]);
    back.add(region()[region().size() - 1 - i]);
  }
  EXPECT_NEAR(there.mean_with(region().back()) / back.mean_with(region().front()), 1.0, 1e-6);
}

TEST(PredictionVariance, APassUnlikeAllOthersTellsMore) {
  PredictionVariance variance(region(), guess(), 32.0);
  for (int i = 0; i < 3; ++i) {
    variance.add({32, 0});
    variance.add({1024, 0});
  }
  EXPECT_LT(variance.mean_with({16384, 65536}), variance.mean_with({32, 0}));
  EXPECT_LT(variance.mean_with({16384, 65536}), variance.mean_with({1024, 0}));
}

TEST(PredictionVariance, KnowsCostsThatTheGuessHasNot) {
  // Whatever a coefficient's size, its column is as long as others'.
  PredictionVariance variance(region(), LatencyModel({.constant = 3.0}), 32.0);
  for (const Chunk& pass : region()) {
    variance.add(pass);
  }
  EXPECT_LT(variance.mean_with({32, 0}), 1.5);
}

}  // namespace
}  // namespace cpp_chunk
