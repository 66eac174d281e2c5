#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk::fuzz {

/// \brief What a harness reads its arguments from: mostly plausible ones, so that the calls get
/// somewhere, and among them any bits at all.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data, size) {}

  [[nodiscard]] bool is_used_up() { return data_.remaining_bytes() == 0; }

  [[nodiscard]] bool flag() { return data_.ConsumeBool(); }

  [[nodiscard]] std::size_t count(std::size_t most) {
    return data_.ConsumeIntegralInRange<std::size_t>(0, most);
  }

  [[nodiscard]] std::uint8_t choice(std::uint8_t most) {
    return data_.ConsumeIntegralInRange<std::uint8_t>(0, most);
  }

  /// \brief Any double: infinities, NaN, subnormal ones.
  [[nodiscard]] double any_double() {
    return std::bit_cast<double>(data_.ConsumeIntegral<std::uint64_t>());
  }

  /// \brief 0, a value over orders of magnitude, or any double.
  [[nodiscard]] double number(double lowest_exponent, double highest_exponent) {
    switch (choice(15)) {
      case 0:
        return any_double();
      case 1:
      case 2:
        return 0.0;
      case 3:
        return std::numeric_limits<double>::infinity();
      default:
        return std::pow(10.0, data_.ConsumeFloatingPointInRange(lowest_exponent, highest_exponent));
    }
  }

  /// \brief A token count: short, long, a power of two, or any 64 bits.
  [[nodiscard]] std::int64_t tokens() {
    switch (choice(15)) {
      case 0:
        return data_.ConsumeIntegral<std::int64_t>();
      case 1:
        return data_.ConsumeIntegralInRange<std::int64_t>(-2, kMaxTokens + 2);
      case 2:
        return data_.ConsumeIntegralInRange<std::int64_t>(0, 10'000'000);
      case 3:
      case 4:
      case 5:
        return std::int64_t{1} << choice(20);
      case 6:
      case 7:
        return choice(20);
      default:
        return data_.ConsumeIntegralInRange<std::int64_t>(0, 200'000);
    }
  }

  [[nodiscard]] Coefficients coefficients() {
    return {.quadratic = number(-12.0, 0.0),
            .cross = number(-12.0, 0.0),
            .linear = number(-6.0, 1.0),
            .context = number(-9.0, 0.0),
            .constant = number(-3.0, 4.0)};
  }

  /// \throws InvalidArgument
  [[nodiscard]] LatencyModel model() { return LatencyModel(coefficients()); }

  /// \brief Equal ones, multiples of one model, or each with its own.
  /// \throws InvalidArgument
  [[nodiscard]] Stages stages() {
    const std::uint8_t kind = choice(3);
    const auto most = static_cast<std::size_t>(choice(7) == 0 ? kMaxStages + 1 : 8);
    const std::size_t num_stages = count(most);
    std::vector<LatencyModel> models;
    if (kind == 0) {
      return {model(), static_cast<std::int64_t>(num_stages)};
    }
    const LatencyModel first = model();
    for (std::size_t stage = 0; stage < num_stages; ++stage) {
      if (kind == 1) {
        models.push_back(first.scaled(number(-1.0, 1.0)));
      } else {
        models.push_back(is_used_up() && !models.empty() ? models[stage % 8 % models.size()]
                                                         : model());
      }
    }
    return Stages(models);
  }

  [[nodiscard]] ChunkLimits limits() {
    ChunkLimits limits{.max_chunk_tokens = tokens()};
    if (flag()) {
      limits.min_chunk_tokens = tokens();
    }
    if (flag()) {
      limits.alignment = tokens();
    }
    for (std::size_t multiple = count(3); multiple > 0; --multiple) {
      limits.preferred_multiples.push_back(tokens());
    }
    if (choice(3) == 0) {
      limits.max_step_ms = number(-2.0, 5.0);
    }
    return limits;
  }

  [[nodiscard]] Chunk chunk() { return {.num_tokens = tokens(), .num_computed_tokens = tokens()}; }

  [[nodiscard]] PromptWork prompt() {
    return {.num_tokens = tokens(), .num_computed_tokens = tokens()};
  }

  [[nodiscard]] std::vector<PromptWork> prompts() {
    std::vector<PromptWork> prompts;
    for (std::size_t left = count(8); left > 0; --left) {
      prompts.push_back(prompt());
    }
    if (!prompts.empty() && choice(15) == 0) {
      prompts.resize(256, prompts.back());  // a deep backlog
    }
    return prompts;
  }

 private:
  FuzzedDataProvider data_;
};

}  // namespace cpp_chunk::fuzz
