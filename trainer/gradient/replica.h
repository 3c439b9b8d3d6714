/// One rank's copy of a wrapped model: its gradients' reducer and its buffers.
#pragma once

#include <torch/optim/optimizer.h>

#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "trainer/check/model_record.h"
#include "trainer/gradient/buffer_sync.h"
#include "trainer/gradient/model_content.h"
#include "trainer/gradient/reducer.h"
#include "trainer/gradient/sync_batch_norm.h"
#include "trainer/init/job_state.h"

namespace rondo::trainer {

class Replica {
 public:
  Replica(std::shared_ptr<JobState> job, torch::nn::Module& module, const ReplicaOptions& options);

  Reducer& reducer() { return *reducer_; }
  std::string description();
  JobState& job() { return *job_; }
  const torch::nn::Module& module() const { return module_; }
  const ReplicaOptions& options() const { return options_; }
  /// Of the model that gradients are planned for.
  const ModelRecord& record() const { return record_; }

  /// Completes the reduction that `optimizer` stands before, and says what was agreed. Optimizers of one wrapper share
  /// a reduction: for the second nothing has happened since.
  Verdict reach_step_point(torch::optim::Optimizer& optimizer);
  /// The same for one of several evaluations in a step of `optimizer`: a reduction of its own, and no step is counted.
  /// `failed`: what this rank's evaluation threw, or null; it counts as failed unless its backward came to its end.
  Verdict reach_evaluation(torch::optim::Optimizer& optimizer, const std::exception_ptr& failed);
  /// Throws `error`, which is about a step that is over: to catch it is no reason to give the next one up.
  [[noreturn]] void throw_seen(const std::exception_ptr& error);
  /// Throws when reduced gradients would be cleared without a step point.
  void before_zero_grad(torch::optim::Optimizer& optimizer);

  void sync_batch_norm() { batch_norm_.emplace(*job_, module_); }
  void close(Reducer::Ending ending);
  /// From here to leave_exclusive() the gradients of all other replicas of the job are left alone. Nests.
  void enter_exclusive();
  void leave_exclusive() { job_->leave_exclusive(); }

 private:
  std::optional<std::string> new_exception_text();
  void look_for_exception();
  Verdict complete_reduction();
  comm::Result<std::vector<GradientParameter>> adopt_model(const std::string& occasion);
  comm::Status synchronise_buffers(const StepRecord& agreed);

  std::shared_ptr<JobState> job_;  // shared with the Job's copies
  torch::nn::Module& module_;      // the user's
  const ReplicaOptions options_;
  comm::Group gradient_group_;
  std::shared_ptr<Reducer> reducer_;  // shared, weakly, with its hooks
  BufferSynchroniser buffers_;
  ModelWatch watch_;
  ModelRecord record_;
  std::optional<SyncBatchNorm> batch_norm_;
  std::exception_ptr seen_exception_ = std::current_exception();
  Verdict last_verdict_ = Verdict::kApply;
  std::set<const void*> stepped_;  // the optimizers that have it; empty: none may take it any more
  std::set<const void*> leaders_;  // those that last completed a reduction which a backward here was part of
};

}  // namespace rondo::trainer
