// Times Calibrator::refit over 16 passes and 128 recent steps. Prints microseconds, the median.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "cpp_chunk/calibrator.h"

namespace {

constexpr std::size_t kNumRecent = 128;
constexpr std::size_t kNumRefits = 1001;

}  // namespace

int main() {
  const cpp_chunk::LatencyModel model({.quadratic = 6.5e-7,
                                       .cross = 6.5e-7,
                                       .linear = 6.03e-3,
                                       .context = 5.39e-4,
                                       .constant = 43.6});
  std::mt19937 random(0);
  std::normal_distribution<double> noise(0.0, 0.03);
  const auto measured = [&](std::int64_t num_tokens, std::int64_t num_computed_tokens) {
    cpp_chunk::MeasuredStep step;
    step.features.add({.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
    step.latency_ms = model.step_ms(step.features) * std::exp(noise(random));
    return step;
  };
  std::vector<cpp_chunk::MeasuredStep> profile;
  for (const std::int64_t num_tokens : {256, 1024, 4096, 8192}) {
    for (const std::int64_t history : {0, 4096, 16384, 65536}) {
      profile.push_back(measured(num_tokens, history));
    }
  }
  cpp_chunk::Calibrator calibrator(profile, kNumRecent);

  std::vector<double> refits_us;
  double sum_ms = 0.0;
  std::int64_t history = 0;
  for (std::size_t i = 0; i < kNumRecent + kNumRefits; ++i) {
    const cpp_chunk::MeasuredStep step = measured(4096 - history / 32, history);
    history = (history + 4096) % 65536;
    calibrator.add(step.features, step.latency_ms);
    if (i < kNumRecent) {
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    sum_ms += calibrator.refit().model.coefficients().constant;
    const std::chrono::duration<double, std::micro> elapsed =
        std::chrono::steady_clock::now() - start;
    refits_us.push_back(elapsed.count());
  }
  std::ranges::nth_element(refits_us, refits_us.begin() + kNumRefits / 2);
  // The sum is printed so that no compiler can leave the work out.
  std::printf("%.2f %g\n", refits_us[kNumRefits / 2], sum_ms);
}
