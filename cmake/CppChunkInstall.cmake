# The core for other engines, as a component of its own that the wheel leaves out:
#   cmake --install build/cpp-plain --component development --prefix PREFIX
# and there find_package(cpp_chunk) and target_link_libraries(... cpp_chunk::cpp_chunk). What is
# installed needs nothing but the standard library: Eigen is compiled into the core.
include(CMakePackageConfigHelpers)

set(CPP_CHUNK_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/cpp_chunk)
install(TARGETS cpp_chunk EXPORT cpp_chunkConfig
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(DIRECTORY csrc/cpp_chunk
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  # Fits are computed with it, in Eigen's types: no interface has them.
  FILES_MATCHING PATTERN "*.h"
  REGEX "/(block_qr|non_negative_least_squares|prediction_variance|robust_regression)\\.h$" EXCLUDE)
install(EXPORT cpp_chunkConfig NAMESPACE cpp_chunk::
  DESTINATION ${CPP_CHUNK_CONFIG_DIR} COMPONENT development)
# Until 1.0 a minor version may change what others call.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cpp_chunkConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cpp_chunkConfigVersion.cmake
  DESTINATION ${CPP_CHUNK_CONFIG_DIR} COMPONENT development)
