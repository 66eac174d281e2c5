#pragma once

#include <cstdint>

namespace cpp_chunk {

/// \brief What is done with a rest that does not fill its last step.
enum class Rest : std::uint8_t {
  shared_out,  ///< spread over the fewest steps of the target, which then take equal time
  as_it_falls  ///< the last step takes what is left, however little
};

}  // namespace cpp_chunk
