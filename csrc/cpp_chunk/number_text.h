#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <string>

namespace cpp_chunk {

/// \brief A number that somebody gave, as messages show it: the shortest that reads back as the
/// same, so that what is just out of range does not look as if it were in it.
[[nodiscard]] inline std::string shown(double number) {
  std::array<char, 32> text{};
  const char* const end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  return {text.data(), static_cast<std::size_t>(end - text.data())};
}

/// \brief A number that was computed, as messages show it: four digits, whatever its size.
[[nodiscard]] inline std::string rounded(double number) {
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.4g", number);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace cpp_chunk
