#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace cpp_chunk {

/// \brief Root of every error that the core throws; the message carries the offending values.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// \brief The argument that was refused.
struct WrongArgument {
  std::string field;  ///< its name
  std::string value;  ///< what it was, as messages show it
};

/// \brief An argument lies outside of what its function documents.
class InvalidArgument : public Error {
 public:
  /// \brief The message is "FIELD must be ALLOWED, got VALUE".
  InvalidArgument(const std::string& field, const std::string& allowed, const std::string& value)
      : InvalidArgument({.field = field, .value = value},
                        field + " must be " + allowed + ", got " + value) {}

  /// \brief For what cannot be said so: values that do not fit each other.
  InvalidArgument(const WrongArgument& wrong, const std::string& message)
      : Error(message), wrong_(std::make_shared<const WrongArgument>(wrong)) {}

  [[nodiscard]] const std::string& field() const noexcept { return wrong_->field; }
  [[nodiscard]] const std::string& value() const noexcept { return wrong_->value; }

 private:
  // Shared, since copying an exception must not throw another one.
  std::shared_ptr<const WrongArgument> wrong_;
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
