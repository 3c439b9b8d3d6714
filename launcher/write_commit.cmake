# Writes OUTPUT: the commit of SOURCE_DIR as a string constant; "unknown" outside a git tree.
execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --abbrev=12 --dirty --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[
/// Generated: the commit this build was made from.
#pragma once
namespace rondo::launcher {
inline constexpr const char* kCommit = "@commit@";
}
]] @ONLY)
