/// Averages gradients over all ranks while backward runs: hook -> bucket -> all_reduce -> finish.
///
/// A window is the time from one step point to the next. In it any number of backwards may accumulate under no_sync;
/// one synced backward reduces. Each hook moves its gradient into the bucket; a full bucket is launched as soon as its
/// predecessors are; the end of backward fills what did not come, launches the rest, waits, exchanges the step record.
///
/// Threading: hooks come from autograd's threads (on CPU: the thread that called backward()); one mutex guards all
/// state. It is held while the end of backward waits for peers. Errors: hooks store the first Status and never throw;
/// what ends a backward throws rondo::Error. A rank whose backward failed still takes part, with weight 0, and its
/// record bit makes all ranks skip the step: nobody is left waiting.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "rondo/comm/collectives.h"
#include "rondo/comm/thread_annotations.h"
#include "rondo/verdict.h"
#include "trainer/gradient/buckets.h"
#include "trainer/gradient/model_content.h"
#include "trainer/gradient/reducer_bucket.h"
#include "trainer/gradient/step_timeline.h"
#include "trainer/gradient/window_weight.h"
#include "trainer/step/step_record.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo::trainer {

struct ReducerOptions {
  BucketCaps caps;
  enum class Launch : uint8_t { kDuringBackward, kAfterBackward } launch = Launch::kDuringBackward;
  Unused unused = Unused::kAllowed;
  OneRank one_rank = OneRank::kShortPath;
  // Each may be empty.
  std::function<void(const std::string& line)> say;                        // for people
  std::function<comm::Status(const std::string& cause)> before_reduction;  // collective; why this rank failed, or ""
  std::function<comm::Status(const StepRecord& agreed)> after_reduction;   // collective; when no rank failed
  std::function<void(const StepStatistics& statistics)> observe;           // after every completed step record
  std::function<bool()> counts_nothing;                                    // this rank has run out of data
  std::function<bool()> disarmed;                                          // gradients are not ours to average now
  std::function<bool()> model_changed;  // since adopt_model() was last called, or since the beginning
  std::function<comm::Result<std::vector<GradientParameter>>()> adopt_model;  // collective: makes it equal again
};

class Reducer : public std::enable_shared_from_this<Reducer> {
 public:
  /// `parameters` need gradients, are distinct, dense CPU tensors and the same on every rank.
  static comm::Result<std::shared_ptr<Reducer>> create(comm::Group group, std::vector<GradientParameter> parameters,
                                                       ReducerOptions options);

  /// Adds `count` to this rank's weight in this window.
  comm::Status weigh(double count);
  void enter_no_sync();
  void leave_no_sync();
  /// Collective; between steps.
  comm::Status set_hook(std::shared_ptr<CommHook> hook);

  /// This rank cannot do the step under way: the next step point or zero_grad() makes all ranks skip it. An error when
  /// its gradients are reduced already: the others apply them.
  comm::Status give_up(const std::string& cause);
  /// The same, if the window has no backward that came to its end.
  void give_up_if_unfinished(const std::string& cause);
  /// Ends the window. Completes an unfinished reduction; contributes zeros where no backward came.
  comm::Result<Verdict> reach_step_point();
  /// Opens the window anew, or says that a step point is missing. A weight stays when no backward came after it: a loss
  /// is computed, and weighed, before zero_grad() as well as after it.
  comm::Status before_zero_grad();
  /// Nothing of a next step has begun since the last step point.
  bool untouched() const;

  /// Zeros before the first synced backward.
  StepStatistics statistics() const {
    comm::MutexLock lock(mutex_);
    return timeline_.last();
  }
  /// Of all buckets; 0 on the short path of one rank.
  int64_t bucket_bytes() const;
  /// The tensors whose gradients it averages, by their TensorImpl.
  std::unordered_set<const void*> averaged_parameters() const {
    comm::MutexLock lock(mutex_);
    std::unordered_set<const void*> all;
    for (const GradientParameter& parameter : parameters_) all.insert(parameter.tensor.unsafeGetTensorImpl());
    return all;
  }
  /// Empty before the first synced backward ended.
  BucketPlan plan() const {
    comm::MutexLock lock(mutex_);
    return buckets_.plan();
  }
  /// The parameters that got a gradient on this rank in the last synced backward, in that order; when the model was
  /// changed before it, not to be relied on.
  std::vector<at::Tensor> reached() const {
    comm::MutexLock lock(mutex_);
    std::vector<at::Tensor> tensors;
    for (const int parameter : last_arrivals_) {
      if (parameter < std::ssize(parameters_)) tensors.push_back(parameters_[parameter].tensor);
    }
    return tensors;
  }
  /// Takes the hooks off and leaves the group; kException aborts it for all. Gradients stay valid.
  enum class Ending : uint8_t { kInOrder, kException };
  void close(Ending ending);

 private:
  enum class Outcome : uint8_t { kComplete, kFailed };  // of this rank's backward
  enum class Phase : uint8_t { kOpen, kReduced };       // kReduced: waits for the step point

  Reducer(comm::Group group, ReducerOptions options);

  // On autograd's threads.
  void on_gradient(int parameter, Incoming incoming);
  void on_backward_end(int backward);
  void on_outer_backward_end(int64_t window);

  comm::Status adopt(std::vector<GradientParameter> parameters) RONDO_REQUIRES(mutex_);
  void begin() RONDO_REQUIRES(mutex_);
  void end() RONDO_REQUIRES(mutex_);
  void arrived(int parameter) RONDO_REQUIRES(mutex_);
  void move_into_bucket(int parameter) RONDO_REQUIRES(mutex_);
  void hook_failed(int bucket, const std::string& what) RONDO_REQUIRES(mutex_);
  void fail(comm::Code code, const std::string& message) RONDO_REQUIRES(mutex_);
  void fail_if_unused() RONDO_REQUIRES(mutex_);
  void launch_full_buckets() RONDO_REQUIRES(mutex_);
  void launch(double weight) RONDO_REQUIRES(mutex_);
  comm::Status make_plan() RONDO_REQUIRES(mutex_);
  void fill_missing() RONDO_REQUIRES(mutex_);
  comm::Status finish(Outcome outcome) RONDO_REQUIRES(mutex_);
  comm::Status reduce(Outcome outcome) RONDO_REQUIRES(mutex_);
  comm::Status reduce_alone() RONDO_REQUIRES(mutex_);
  comm::Status finish_bucket(ReducerBucket& bucket) RONDO_REQUIRES(mutex_);
  comm::Status reduce_sparse(Outcome outcome) RONDO_REQUIRES(mutex_);
  comm::Status exchange_record(Outcome outcome, StepRecord& agreed) RONDO_REQUIRES(mutex_);
  void settle(const StepRecord& agreed) RONDO_REQUIRES(mutex_);
  bool hooks_left_behind() const RONDO_REQUIRES(mutex_);
  bool some_backward_came() const RONDO_REQUIRES(mutex_);
  void open_window() RONDO_REQUIRES(mutex_);
  bool counts_nothing() const { return options_.counts_nothing && options_.counts_nothing(); }
  double weight() const RONDO_REQUIRES(mutex_) { return counts_nothing() ? 0.0 : weight_.value(); }
  int launched() const RONDO_REQUIRES(mutex_) { return static_cast<int>(launched_.size()); }
  bool is_sparse(int parameter) const RONDO_REQUIRES(mutex_) {
    return parameters_[parameter].kind == GradientParameter::Kind::kSparse;
  }
  at::Tensor& gradient_of(int parameter) RONDO_REQUIRES(mutex_) { return parameters_[parameter].tensor.mutable_grad(); }
  std::string tag(int bucket) const RONDO_REQUIRES(mutex_);

  // Constant after construction.
  ReducerOptions options_;

  mutable comm::Mutex mutex_;
  comm::Group group_ RONDO_GUARDED_BY(mutex_);
  std::vector<GradientParameter> parameters_ RONDO_GUARDED_BY(mutex_);
  std::vector<GradientHook> hooks_ RONDO_GUARDED_BY(mutex_);  // per parameter; empty when closed
  Buckets buckets_ RONDO_GUARDED_BY(mutex_);                  // of dense gradients
  bool planned_ RONDO_GUARDED_BY(mutex_) = false;
  bool alone_ RONDO_GUARDED_BY(mutex_) = false;              // the short path of one rank: no buckets
  std::shared_ptr<CommHook> hook_ RONDO_GUARDED_BY(mutex_);  // shared with the user; may be empty
  comm::Status broken_ RONDO_GUARDED_BY(mutex_);             // of comm: this group cannot be used again
  int64_t step_ RONDO_GUARDED_BY(mutex_) = 0;

  // Of the window.
  int64_t window_ RONDO_GUARDED_BY(mutex_) = 0;  // counts them
  Phase phase_ RONDO_GUARDED_BY(mutex_) = Phase::kOpen;
  Verdict verdict_ RONDO_GUARDED_BY(mutex_) = Verdict::kApply;
  int no_sync_depth_ RONDO_GUARDED_BY(mutex_) = 0;
  WindowWeight weight_ RONDO_GUARDED_BY(mutex_);
  std::vector<bool> used_ RONDO_GUARDED_BY(mutex_);  // per parameter: some backward reached it

  // Of the synced backward.
  std::set<int> backwards_ RONDO_GUARDED_BY(mutex_);  // begun, with a callback that has not run yet
  bool begun_ RONDO_GUARDED_BY(mutex_) = false;
  std::optional<std::string> gave_up_ RONDO_GUARDED_BY(mutex_);  // why
  bool changed_ RONDO_GUARDED_BY(mutex_) = false;                // the model is another one than the hooks'
  comm::Status first_error_ RONDO_GUARDED_BY(mutex_);
  std::vector<bool> ready_ RONDO_GUARDED_BY(mutex_);   // per parameter: its gradient has arrived
  std::vector<int> missing_ RONDO_GUARDED_BY(mutex_);  // per bucket: gradients not yet there
  std::vector<int> arrivals_ RONDO_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<ReducerBucket>> launched_ RONDO_GUARDED_BY(mutex_);  // in order
  struct Held {
    int parameter;
    at::Tensor gradient;
  };
  std::vector<Held> kept_ RONDO_GUARDED_BY(mutex_);    // copies of gradients that no backward touched
  std::vector<Held> sparse_ RONDO_GUARDED_BY(mutex_);  // means
  StepTimeline timeline_ RONDO_GUARDED_BY(mutex_);
  std::vector<int> last_arrivals_ RONDO_GUARDED_BY(mutex_);  // of the last window that was reduced
};

}  // namespace rondo::trainer
