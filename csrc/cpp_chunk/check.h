#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Throws what check_count and check_number say: out of line, since they stand where every
/// chunk passes.
[[noreturn]] void refuse_count(std::string_view name, std::int64_t value, std::int64_t least,
                               std::int64_t most);
[[noreturn]] void refuse_number(std::string_view name, double value, double most);

/// \brief Refuses a count outside of [least, most], naming it.
/// \throws InvalidArgument
inline void check_count(std::string_view name, std::int64_t value, std::int64_t least = 0,
                        std::int64_t most = kMaxTokens) {
  if (value < least || value > most) {
    refuse_count(name, value, least, most);
  }
}

/// \brief Refuses a number that is not finite, or outside of [0, most], naming it.
/// \throws InvalidArgument
inline void check_number(std::string_view name, double value,
                         double most = std::numeric_limits<double>::max()) {
  if (!(value >= 0.0 && value <= most)) {
    refuse_number(name, value, most);
  }
}

/// \brief Refuses a chunk whose counts are outside of [0, kMaxTokens], naming the one that is.
/// \throws InvalidArgument
inline void check_chunk(const Chunk& chunk) {
  check_count("num_tokens", chunk.num_tokens);
  check_count("num_computed_tokens", chunk.num_computed_tokens);
}

}  // namespace cpp_chunk
