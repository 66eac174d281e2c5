#pragma once

#include <cstdint>
#include <vector>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

inline LatencyModel truth() {
  return LatencyModel({.quadratic = 6.5e-7,
                       .cross = 5.0e-7,
                       .linear = 6.03e-3,
                       .context = 5.39e-4,
                       .constant = 43.6});
}

inline MeasuredStep measured(const LatencyModel& model, const Chunk& chunk, double factor = 1.0) {
  MeasuredStep step;
  step.features.add(chunk);
  step.latency_ms = factor * model.step_ms(step.features);
  return step;
}

// 16 steps: 4 sizes, each after 4 histories.
inline std::vector<MeasuredStep> profile(const LatencyModel& model) {
  std::vector<MeasuredStep> steps;
  for (const std::int64_t num_tokens : {8192, 4096, 1024, 256}) {
    for (const std::int64_t history : {0, 4096, 16384, 65536}) {
      steps.push_back(measured(model, {num_tokens, history}));
    }
  }
  return steps;
}

}  // namespace cpp_chunk
