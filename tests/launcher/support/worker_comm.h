/// The actions of the test worker (worker_main.cc) that use comm:
///
///   join            joins the job and forms the group "world"; says "joined"
///   timeout=MS      of each collective; before `join`
///   reduce=N        all_reduce of N float32, tagged "bucket K" with K counting from 0; checks the sums
///   broadcast=N     of N float32 from rank 0, tagged alike
///   leave           closes the group and the endpoint, says "left"
///
/// An error is written to stderr, and the worker exits with 1.
#pragma once

#include <string>

namespace rondo::test {

/// False when there is no such action.
bool act_in_comm(const std::string& name, int number);

/// late=FILE: in generation 0, leaves a process behind that joins as this rank when generation 1 works together, and
/// writes into FILE how that went. It takes the secret, so this rank cannot join any more.
void leave_a_late_rank(const std::string& path);

}  // namespace rondo::test
