// Calibrator::refit over 16 passes and 128 recent steps.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "cpp_chunk/calibrator.h"

namespace {

constexpr std::size_t kNumRecent = 128;

// Steps of a device that is as fast as its profile says, up to noise.
class Steps {
 public:
  cpp_chunk::MeasuredStep measured(std::int64_t num_tokens, std::int64_t num_computed_tokens) {
    cpp_chunk::MeasuredStep step;
    step.features.add({.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
    step.latency_ms = model_.step_ms(step.features) * std::exp(noise_(random_));
    return step;
  }

  cpp_chunk::MeasuredStep next() {
    const std::int64_t history = history_;
    history_ = (history_ + 4096) % 65536;
    return measured(4096 - history / 32, history);
  }

 private:
  cpp_chunk::LatencyModel model_{{.quadratic = 6.5e-7,
                                  .cross = 6.5e-7,
                                  .linear = 6.03e-3,
                                  .context = 5.39e-4,
                                  .constant = 43.6}};
  std::mt19937 random_{0};
  std::normal_distribution<double> noise_{0.0, 0.03};
  std::int64_t history_ = 0;
};

void refit(benchmark::State& state) {
  Steps steps;
  std::vector<cpp_chunk::MeasuredStep> profile;
  for (const std::int64_t num_tokens : {256, 1024, 4096, 8192}) {
    for (const std::int64_t history : {0, 4096, 16384, 65536}) {
      profile.push_back(steps.measured(num_tokens, history));
    }
  }
  cpp_chunk::Calibrator calibrator(profile, kNumRecent);
  const auto add = [&] {
    const cpp_chunk::MeasuredStep step = steps.next();
    calibrator.add(step.features, step.latency_ms);
  };
  for (std::size_t i = 0; i < kNumRecent; ++i) {
    add();
  }
  for (auto _ : state) {
    add();
    const auto start = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(calibrator.refit());
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    state.SetIterationTime(elapsed.count());
  }
}
BENCHMARK(refit)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
