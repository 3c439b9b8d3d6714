/// For tests of the checker: schedules to be made wrong, and the refusal that must follow.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "rondo/comm/schedule_check.h"
#include "tests/comm/schedule/closed_form.h"

namespace rondo::comm::test {

inline std::vector<Schedule> rings(int n, int64_t elements) {
  return schedules_of({.algorithm = "ring", .n = n, .elements = elements});
}
inline std::vector<Schedule> pushes(int n, int64_t elements) {
  return schedules_of({.algorithm = "push", .n = n, .elements = elements});
}
inline std::vector<Schedule> directs(int n, int64_t elements, Wire wire = Wire::kSame) {
  return schedules_of({.algorithm = "direct", .n = n, .elements = elements, .wire = wire});
}
inline std::vector<Schedule> chains(int n, int64_t elements) {
  return schedules_of({.goal = Goal::kBroadcast, .algorithm = "chain", .n = n, .elements = elements});
}

/// The `occurrence`th action of `kind`.
inline std::vector<Action>::iterator find(Schedule& schedule, ActionKind kind, int occurrence = 0) {
  for (auto at = schedule.actions.begin(); at != schedule.actions.end(); ++at) {
    if (at->kind == kind && occurrence-- == 0) return at;
  }
  ADD_FAILURE() << "no such action";
  return schedule.actions.begin();
}

inline void expect_refused(const std::vector<Schedule>& ranks, int rank, const std::vector<std::string>& words) {
  const auto proof = check_schedules({.ranks = ranks});
  ASSERT_FALSE(proof.ok()) << "a wrong schedule passed";
  const Status& status = proof.status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.text();
  EXPECT_EQ(status.where().rank, rank) << status.text();
  for (const std::string& word : words) EXPECT_NE(status.message().find(word), std::string::npos) << status.text();
}

}  // namespace rondo::comm::test
