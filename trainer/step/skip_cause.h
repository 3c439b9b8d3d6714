/// Why a step is skipped, told to all ranks. Not on the way of a step that is applied.
#pragma once

#include <string>

#include "rondo/comm/group.h"
#include "trainer/step/step_record.h"

namespace rondo::trainer {

/// Collective, when `agreed` names a rank that failed: "rank 1 failed (std::runtime_error: no gradient today)", the
/// same on every rank. `mine` is this rank's cause, if it is among them.
comm::Result<std::string> exchange_skip_cause(comm::Group& group, const StepRecord& agreed, const std::string& mine);

}  // namespace rondo::trainer
