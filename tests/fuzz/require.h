#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace cpp_chunk::fuzz {

/// \brief Stops the harness, so that libFuzzer keeps the input, when what must hold does not.
inline void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::abort();
  }
}

/// \brief A time may be beyond what a double holds, but is always one.
inline void require_time(double time_ms, const char* what) { require(time_ms >= 0.0, what); }

}  // namespace cpp_chunk::fuzz
