/// What a host of a job says of itself to rank 0. It travels as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/doctor/diagnosis.h"
#include "launcher/doctor/host.h"

namespace rondo::launcher {

/// Something that is compared between hosts.
struct Trait {
  std::string name;  // "open files"
  std::string value;
  bool operator==(const Trait&) const = default;
};

struct HostReport {
  std::string name;
  int first_rank = 0, rank_count = 1;  // of the job, on this host
  int64_t clock_milliseconds = 0;      // since 1970, at a moment that is the same for all
  std::vector<Trait> traits;
  std::vector<Diagnosis> diagnoses;
  bool operator==(const HostReport&) const = default;
};

std::vector<Trait> traits_of(const HostFacts& facts);

std::string encode(const HostReport& report);
/// kCorrupt when it is not what encode() writes: a host with another build.
comm::Result<HostReport> decode_host_report(const std::string& text);

}  // namespace rondo::launcher
