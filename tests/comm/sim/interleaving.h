/// Plays a story and judges it: every rank ends with the right result or with an error that names what the story did;
/// nobody hangs, and an error ends the others soon.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/comm/sim/story.h"

namespace rondo::comm {

struct Verdict {
  /// What is wrong with the system; empty when nothing is.
  std::vector<std::string> complaints;
  uint64_t trace_hash = 0;  // two plays of one story agree on it
  uint64_t event_count = 0;
  uint64_t turns = 0;
  std::array<uint64_t, kFaultKindCount> faults{};
  int right = 0;   // calls that ended with the right result
  int failed = 0;  // calls, splits and creations that ended with a named error
  std::string faults_told;
};
Verdict play(const Story& story);

/// Everything about a failing story, and the one command that plays it again.
std::string report(const Story& story, const Verdict& verdict);

}  // namespace rondo::comm
