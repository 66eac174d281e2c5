#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Refuses a count outside of [least, most], naming it.
inline void check_count(const std::string& name, std::int64_t value, std::int64_t least,
                        std::int64_t most = kMaxTokens) {
  if (value < least || value > most) {
    throw InvalidArgument(name + " must be in [" + std::to_string(least) + ", " +
                          std::to_string(most) + "], got " + std::to_string(value));
  }
}

/// \brief Refuses a number that is not finite, or outside of [0, most], naming it.
inline void check_number(const std::string& name, double value,
                         double most = std::numeric_limits<double>::max()) {
  if (!std::isfinite(value) || value < 0.0 || value > most) {
    const std::string range = most < std::numeric_limits<double>::max()
                                  ? "in [0, " + shown(most) + "]"
                                  : "finite and >= 0";
    throw InvalidArgument(name + " must be " + range + ", got " + shown(value));
  }
}

}  // namespace cpp_chunk
