// Rank 0 tells the others by one byte, broadcast over the patient group: its timeouts are not those of collectives, and
// a rank 0 that dies ends the wait at once.
#include <exception>
#include <utility>

#include "rondo/comm/collectives.h"
#include "rondo/job.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace {

constexpr uint8_t kDone = 0, kFailed = 1;

comm::Work tell(trainer::JobState& job, uint8_t& byte) {
  return comm::broadcast(job.patient_group(), {&byte, 1, comm::DType::kUInt8}, {.rank = 0}, {.tag = "rank_zero_first"});
}

}  // namespace

RankZeroFirst::RankZeroFirst(std::shared_ptr<trainer::JobState> job, std::chrono::milliseconds timeout)
    : job_(std::move(job)), exceptions_(std::uncaught_exceptions()) {
  if (job_->bootstrap().at.rank == 0) return;
  uint8_t byte = kDone;
  comm::Work work = tell(*job_, byte);
  const comm::Status status = work.wait(comm::after(timeout));
  if (status.is_pending()) {
    throw Error(
        "rank_zero_first: rank 0 was not done after " + std::to_string(timeout.count()) +
            " ms. What it does there takes long, or it waits for another rank; give rank_zero_first() more time",
        {.exit_code = ExitCode::kHang, .culprit_rank = 0, .code = "kTimeout"});
  }
  trainer::throw_if_error(status);
  if (byte != kDone) {
    throw Error("rank_zero_first: rank 0 left its scope by an exception, so what it should have done is not there",
                {.exit_code = ExitCode::kFailure, .culprit_rank = 0, .code = "exception"});
  }
}

RankZeroFirst::~RankZeroFirst() {
  if (job_->bootstrap().at.rank != 0) return;
  const uint8_t outcome = std::uncaught_exceptions() > exceptions_ ? kFailed : kDone;
  auto byte = std::make_unique<uint8_t>(outcome);
  comm::Work work = tell(*job_, *byte);
  // The others wait already, as a rule; a late one gets it while this rank goes on.
  if (work.wait(comm::in_seconds(0.1)).is_pending()) job_->keep({.byte = std::move(byte), .work = std::move(work)});
}

RankZeroFirst Job::rank_zero_first(std::chrono::milliseconds timeout) const { return {state_, timeout}; }

}  // namespace rondo
