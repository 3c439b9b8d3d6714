/// What a bench program was asked for: its command line. `rondo bench` passes the same words to every contender, so
/// that all measure the same.
#pragma once

#include <string>

#include "rondo/comm/bootstrap.h"

namespace rondo::bench {

struct Request {
  std::string operation;          // a collective, "mismatch" or "create"
  std::string sizes;              // "1KiB,64KiB"; empty: the usual ones
  std::string dtype = "float32";  // --dtype
  std::string wire = "same";      // --wire: what sums travel in
  int rounds = 0;                 // 0: 9, or 2 if quick
  int first_round = 1;            // the number of the first of them
  int iterations = 0;             // timed calls of a point; 0: chosen by its size
  bool quick = false;             // few sizes, few calls: shows that it works
  bool unregistered = false;      // ordinary memory instead of the group's
  std::string transport;          // empty: as the job chooses
  std::string algorithm;          // as GroupOptions
  std::string cpus;               // rank r runs on number r; empty: one core a rank
  std::string json_file;          // rank 0 writes its rows there
  bool choices = false;           // prints what is chosen for which size, and why
  bool quiet = false;             // prints nothing when all is well
  std::string variant;            // rivals only: which of their settings

  enum class Action { kMeasure, kPlan, kList } action = Action::kMeasure;
  int ranks = 2;  // --plan only: measured ranks know how many they are

  comm::BootstrapFlags place;  // --rank and so on, when nothing else says
};

/// Whether to go on, or to leave with `exit_code` because help was printed or a mistake named.
struct ParsedRequest {
  bool go_on = true;
  int exit_code = 0;
  Request request;
};
ParsedRequest parse_request(int argc, const char* const* argv);

}  // namespace rondo::bench
