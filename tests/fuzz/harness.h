#pragma once

#include "input.h"

namespace cpp_chunk::fuzz {

/// \brief What each harness defines: one try of its entry point, with what the input says.
void run(Input& input);

}  // namespace cpp_chunk::fuzz
