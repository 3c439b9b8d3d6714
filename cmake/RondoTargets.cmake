# Flags and helpers that every target of the project uses. Targets only: nothing is set globally.

set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
find_package(Threads REQUIRED)

# rondo_target(NAME): language level, warnings and sanitizers of one of our targets.
function(rondo_target name)
  get_target_property(type ${name} TYPE)
  target_compile_features(${name} PUBLIC cxx_std_20)
  set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Wno-missing-field-initializers)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-Wno-restrict>)  # sees an overlap in every "text" + string (PR105651)
  endif()
  # Private includes name their folder from the top of the tree: "comm/schedule/ring.h".
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  if(RONDO_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${RONDO_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${name} PUBLIC -fsanitize=${RONDO_SANITIZE})
    if(RONDO_SANITIZE MATCHES undefined)
      target_compile_options(${name} PRIVATE -fno-sanitize-recover=undefined)
    endif()
  endif()
endfunction()

# rondo_test(NAME SOURCES... LIBRARIES ... LABELS ... [TIMEOUT s]): one GoogleTest program, one CTest entry per test in it.
function(rondo_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(RONDO_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 3")
  endif()
  # A test with several processes takes two of CTest's slots, so that others do not starve it.
  set(slots 1)
  if(arg_LABELS MATCHES "processes|parity|consumer")
    set(slots 2)
  endif()
  add_executable(${name} ${arg_SOURCES})
  rondo_target(${name})
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} rondo_test_support GTest::gtest GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} PROCESSORS ${slots})
endfunction()
