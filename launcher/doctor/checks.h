/// The verdicts of `rondo doctor` on a host. Pure functions of its facts.
#pragma once

#include <vector>

#include "launcher/doctor/diagnosis.h"
#include "launcher/doctor/host.h"

namespace rondo::launcher {

std::vector<Diagnosis> check_host(const HostFacts& facts);

}  // namespace rondo::launcher
