# Writes OUTPUT: the commit of SOURCE_DIR and the compiler as string constants; "unknown" outside a git tree.
execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --abbrev=12 --dirty --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[
/// Generated: what this build was made from, and by which compiler.
#pragma once
namespace rondo::build {
inline constexpr const char* kCommit = "@commit@";
#if defined(__clang__)
inline constexpr const char* kCompiler = "Clang " __clang_version__;
#else
inline constexpr const char* kCompiler = "GCC " __VERSION__;
#endif
}  // namespace rondo::build
]] @ONLY)
