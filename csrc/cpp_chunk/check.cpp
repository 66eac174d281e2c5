#include "cpp_chunk/check.h"

#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {

void refuse_count(std::string_view name, std::int64_t value, std::int64_t least,
                  std::int64_t most) {
  throw InvalidArgument(std::string(name),
                        "in [" + std::to_string(least) + ", " + std::to_string(most) + "]",
                        std::to_string(value));
}

void refuse_number(std::string_view name, double value, double most) {
  const std::string allowed =
      most < std::numeric_limits<double>::max() ? "in [0, " + shown(most) + "]" : "finite and >= 0";
  throw InvalidArgument(std::string(name), allowed, shown(value));
}

}  // namespace cpp_chunk
