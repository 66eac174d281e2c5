# libFuzzer comes with clang only. Says what is missing before anything is built, then instruments
# the whole build: coverage for libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR
    "CPP_CHUNK_BUILD_FUZZERS needs clang, whose libFuzzer the harnesses are linked with; the "
    "compiler is ${CMAKE_CXX_COMPILER_ID} (${CMAKE_CXX_COMPILER}). Give another, in a build folder "
    "of its own: -DCMAKE_CXX_COMPILER=clang++-19, or run 'make fuzz'.")
endif()

include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_FLAGS -fsanitize=fuzzer,address,undefined)
check_cxx_source_compiles([[
#include <cstddef>
#include <cstdint>
#include <fuzzer/FuzzedDataProvider.h>
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return 0; }
]] CPP_CHUNK_HAS_LIBFUZZER)
unset(CMAKE_REQUIRED_FLAGS)
if(NOT CPP_CHUNK_HAS_LIBFUZZER)
  message(FATAL_ERROR
    "${CMAKE_CXX_COMPILER} cannot link with libFuzzer and the sanitizers: install its run-time "
    "library (Debian: libclang-rt-19-dev for clang-19).")
endif()

# Conversions of doubles that an integer cannot hold are not in clang's "undefined".
add_compile_options(-fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow
                    -fno-sanitize-recover=all -fno-omit-frame-pointer)
add_link_options(-fsanitize=address,undefined,float-cast-overflow)
