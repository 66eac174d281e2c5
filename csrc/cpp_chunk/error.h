#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace cpp_chunk {

/// \brief Root of every error that the core throws; the message carries the offending values.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// \brief An argument lies outside of what its function documents.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// \brief Why measured steps cannot carry a latency model.
enum class RefusalReason : std::uint8_t {
  too_few_points,     ///< fewer steps than kMinFitPoints
  single_chunk_size,  ///< every chunk has the same size: quadratic and linear cannot be told apart
  no_history,         ///< no chunk had computed tokens before it: cross and context are unseen
  rank_deficient,     ///< the scaled columns are dependent: predictions would be arbitrary
  bad_residual        ///< the best non-negative model still misses the measured times
};

/// \brief The reason's name, as callers log it.
[[nodiscard]] constexpr std::string_view reason_name(RefusalReason reason) noexcept {
  switch (reason) {
    case RefusalReason::too_few_points:
      return "too_few_points";
    case RefusalReason::single_chunk_size:
      return "single_chunk_size";
    case RefusalReason::no_history:
      return "no_history";
    case RefusalReason::rank_deficient:
      return "rank_deficient";
    case RefusalReason::bad_residual:
      return "bad_residual";
  }
  return "unknown";
}

/// \brief The measured steps do not determine a model; the caller keeps the one it had.
class FitRefused : public Error {
 public:
  FitRefused(RefusalReason reason, const std::string& message) : Error(message), reason_(reason) {}

  [[nodiscard]] RefusalReason reason() const noexcept { return reason_; }

 private:
  RefusalReason reason_;
};

}  // namespace cpp_chunk
