/// One rank's copy of a wrapped model: its gradients' reducer and its buffers.
#pragma once

#include <memory>
#include <vector>

#include "trainer/gradient/model_agreement.h"
#include "trainer/gradient/reducer.h"
#include "trainer/init/job_state.h"

namespace rondo::trainer {

class Replica {
 public:
  Replica(std::shared_ptr<JobState> job, torch::nn::Module& module, const ReplicaOptions& options);

  Reducer& reducer() { return *reducer_; }
  std::string description();
  JobState& job() { return *job_; }
  void close(Reducer::Ending ending) { reducer_->close(ending); }

 private:
  std::shared_ptr<JobState> job_;  // shared with the Job's copies
  comm::Group gradient_group_;
  std::shared_ptr<Reducer> reducer_;  // shared, weakly, with its hooks
};

}  // namespace rondo::trainer
