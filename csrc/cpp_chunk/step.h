#pragma once

#include <cstdint>
#include <span>

namespace cpp_chunk {

/// \brief Largest token count that any function accepts.
///
/// Far above any prompt, and low enough that sums of a few counts never leave 64 bits.
inline constexpr std::int64_t kMaxTokens = 1'000'000'000'000;

/// \brief New tokens of one request in one step, and the history before them.
struct Chunk {
  std::int64_t num_tokens = 0;           ///< new tokens (x)
  std::int64_t num_computed_tokens = 0;  ///< tokens of the same request computed before (h)

  friend constexpr bool operator==(const Chunk&, const Chunk&) noexcept = default;
};

/// \brief What is left of one prompt.
struct PromptWork {
  std::int64_t num_tokens = 0;           ///< still to compute
  std::int64_t num_computed_tokens = 0;  ///< already computed
};

/// \brief A request's token counts that the core can work with.
[[nodiscard]] constexpr bool is_valid(const Chunk& chunk) noexcept {
  return chunk.num_tokens >= 0 && chunk.num_tokens <= kMaxTokens &&
         chunk.num_computed_tokens >= 0 && chunk.num_computed_tokens <= kMaxTokens;
}

/// \brief What the latency of a step depends on, summed over its chunks.
struct StepFeatures {
  double half_square_sum = 0.0;  ///< sum of x^2/2, tokens^2
  double cross_sum = 0.0;        ///< sum of x*h, tokens^2
  double token_sum = 0.0;        ///< sum of x, tokens
  double context_sum = 0.0;      ///< sum of h, tokens

  /// \brief Adds one chunk. In double from the first product on: 32-bit squares overflow above
  /// 46 340 tokens, and 64-bit ones above three thousand million.
  constexpr void add(const Chunk& chunk) noexcept {
    const auto num_tokens = static_cast<double>(chunk.num_tokens);
    const auto num_computed_tokens = static_cast<double>(chunk.num_computed_tokens);
    half_square_sum += 0.5 * num_tokens * num_tokens;
    cross_sum += num_tokens * num_computed_tokens;
    token_sum += num_tokens;
    context_sum += num_computed_tokens;
  }

  /// \brief Adds chunks of so many tokens each, num_computed_tokens the sum of their histories.
  constexpr void add_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                             std::int64_t tokens_each = 1) noexcept {
    const auto count = static_cast<double>(num_decodes);
    const auto history = static_cast<double>(num_computed_tokens);
    const auto each = static_cast<double>(tokens_each);
    half_square_sum += 0.5 * count * each * each;
    cross_sum += history * each;
    token_sum += count * each;
    context_sum += history;
  }

  constexpr StepFeatures& operator*=(double factor) noexcept {
    half_square_sum *= factor;
    cross_sum *= factor;
    token_sum *= factor;
    context_sum *= factor;
    return *this;
  }

  /// \brief Of a step of one chunk.
  [[nodiscard]] static constexpr StepFeatures of(const Chunk& chunk) noexcept {
    StepFeatures features;
    features.add(chunk);
    return features;
  }

  [[nodiscard]] static constexpr StepFeatures of(std::span<const Chunk> chunks) noexcept {
    StepFeatures features;
    for (const Chunk& chunk : chunks) {
      features.add(chunk);
    }
    return features;
  }
};

/// \brief One step as it ran: what was in it, and how long one stage took.
struct MeasuredStep {
  StepFeatures features;
  double latency_ms = 0.0;
};

}  // namespace cpp_chunk
