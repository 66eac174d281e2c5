# -Wshadow and -Wconversion are what would have caught the root helper that re-declared its
# coefficients and the 32-bit squares that others shipped.
function(cpp_chunk_set_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # libstdc++'s own algorithms use what it deprecates, and clang reports it where they are called.
    target_compile_options(${target} PRIVATE -Wno-deprecated-declarations)
  endif()
  if(CPP_CHUNK_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
