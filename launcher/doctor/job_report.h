/// `rondo doctor` over all hosts of a job: what each says, what they say alike, and where they differ. Pure.
#pragma once

#include <string>
#include <vector>

#include "launcher/doctor/host_report.h"

namespace rondo::launcher {

struct JobReport {
  int rank_count = 1;
  std::string started;               // "started by rondo run"
  std::vector<HostReport> hosts;     // by first rank
  std::vector<Diagnosis> all_ranks;  // what only shows when they are together
};

/// What hosts had better have alike and do not: a warning or a note each, naming who has what.
std::vector<Diagnosis> differences(const std::vector<HostReport>& hosts);

Grade worst(const JobReport& report);
/// Lines that all hosts share once, then those of each host under its name, the differences, and all ranks together.
std::string job_text(const JobReport& report);
/// {"verdict", "ranks", "started", "hosts": [{"name", "first_rank", "rank_count", "diagnoses"}], "differences",
/// "all_ranks"}; the latter two as "diagnoses" of one host.
std::string job_json(const JobReport& report);

}  // namespace rondo::launcher
