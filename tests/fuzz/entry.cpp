// Where libFuzzer enters every harness.

#include <cstddef>
#include <cstdint>

#include "harness.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cpp_chunk::fuzz::Input input(data, size);
  cpp_chunk::fuzz::run(input);
  return 0;
}
