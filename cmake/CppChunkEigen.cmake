# Eigen 3.4 headers, from the cmeel-eigen wheel (scikit-build-core puts the build environment's
# site-packages on the prefix path; a bare CMake build asks the Python it finds) or the system.
if(NOT SKBUILD)
  find_package(Python COMPONENTS Interpreter QUIET)
  if(Python_Interpreter_FOUND)
    list(APPEND CMAKE_PREFIX_PATH "${Python_SITELIB}")
  endif()
endif()

find_package(Eigen3 3.4 CONFIG REQUIRED
  PATH_SUFFIXES cmeel.prefix/share/eigen3/cmake)
# Warnings are errors in our code only: imported headers are SYSTEM ones.
