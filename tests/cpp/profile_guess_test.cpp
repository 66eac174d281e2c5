#include "cpp_chunk/profile_guess.h"

#include <gtest/gtest.h>

#include <vector>

namespace cpp_chunk {
namespace {

LatencyModel truth() {
  return LatencyModel({.quadratic = 4e-5, .cross = 4e-5, .linear = 0.01, .constant = 3.0});
}

double step_ms(const LatencyModel& model, const Chunk& chunk) {
  return model.step_ms(StepFeatures::of(chunk));
}

std::vector<MeasuredPass> measured(const std::vector<Chunk>& chunks) {
  std::vector<MeasuredPass> passes;
  for (const Chunk& chunk : chunks) {
    passes.push_back({.chunk = chunk, .latency_ms = step_ms(truth(), chunk)});
  }
  return passes;
}

const std::vector<Chunk>& spread() {
  static const std::vector<Chunk> chunks = {{32, 0},   {32, 8192},    {512, 4096},   {2048, 0},
                                            {8192, 0}, {8192, 16384}, {1024, 65536}, {4096, 4096}};
  return chunks;
}

TEST(ProfileGuess, IsNearWhatWasMeasured) {
  const LatencyModel guess = guess_model(measured(spread()));
  for (const Chunk& chunk : spread()) {
    EXPECT_NEAR(step_ms(guess, chunk) / step_ms(truth(), chunk), 1.0, 0.05);
  }
}

TEST(ProfileGuess, MindsNoPassThatTookFarTooLong) {
  for (std::size_t outlier = 0; outlier < spread().size(); ++outlier) {
    std::vector<MeasuredPass> passes = measured(spread());
    passes[outlier].latency_ms *= 30.0;
    const LatencyModel guess = guess_model(passes);
    for (std::size_t i = 0; i < spread().size(); ++i) {
      if (i != outlier) {
        EXPECT_NEAR(step_ms(guess, spread()[i]) / step_ms(truth(), spread()[i]), 1.0, 0.35);
      }
    }
  }
}

TEST(ProfileGuess, OnePassIsEnoughAndNoneTakesNoTime) {
  for (const double latency_ms : {1e-6, 1.0, 1e6}) {
    const MeasuredPass pass{.chunk = {64, 0}, .latency_ms = latency_ms};
    const LatencyModel guess = guess_model(std::span(&pass, 1));
    EXPECT_NEAR(step_ms(guess, pass.chunk) / latency_ms, 1.0, 0.05);
    EXPECT_GT(step_ms(guess, {1, 0}), 0.0);
    EXPECT_GT(step_ms(guess, {64, 1'000'000}), latency_ms);
  }
}

}  // namespace
}  // namespace cpp_chunk
