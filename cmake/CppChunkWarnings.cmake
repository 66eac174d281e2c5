# -Wshadow and -Wconversion are what would have caught the root helper that re-declared its
# coefficients and the 32-bit squares that others shipped.
function(cpp_chunk_set_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion)
  if(CPP_CHUNK_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
