/// `rondo doctor` as one rank of a job, whoever started it: the ranks meet, sum 4 bytes, and rank 0 prints what all
/// hosts say.
#pragma once

#include <chrono>

#include "rondo/comm/bootstrap.h"

namespace rondo::launcher {

struct JobDoctor {
  const comm::Bootstrap& place;
  std::chrono::duration<double> timeout;  // for the other ranks to come
  enum class Output { kText, kJson } output = Output::kText;
};
/// The exit code, the same on every rank that met the others. One that did not prints what it knows of its own host,
/// and why. Before other threads start.
int diagnose_job(const JobDoctor& doctor);

}  // namespace rondo::launcher
