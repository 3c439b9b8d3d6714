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
#include <vector>

#include "rondo/comm/collectives.h"
#include "rondo/comm/thread_annotations.h"
#include "rondo/verdict.h"
#include "trainer/gradient/bucket.h"
#include "trainer/gradient/bucket_plan.h"
#include "trainer/gradient/model_agreement.h"
#include "trainer/step/step_record.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo::trainer {

struct ReducerOptions {
  BucketCaps caps;
  enum class Launch : uint8_t { kDuringBackward, kAfterBackward } launch = Launch::kDuringBackward;
  std::function<void(const std::string& line)> say;  // for people; may be empty
  std::function<bool()> counts_nothing;              // this rank has run out of data; may be empty
  std::function<comm::Status()> after_reduction;     // collective; after every completed step record; may be empty
};

/// Microseconds since the first gradient of the last synced backward arrived.
struct ReducerTimes {
  int64_t step = 0;
  int64_t first_launch_us = 0, last_ready_us = 0, backward_end_us = 0, exposed_us = 0;
  int64_t bucket_count = 0, bucket_bytes = 0;
};

class Reducer : public std::enable_shared_from_this<Reducer> {
 public:
  /// Collective. `parameters` need gradients, are distinct, dense CPU tensors and the same on every rank.
  static comm::Result<std::shared_ptr<Reducer>> create(comm::Group group, std::vector<NamedTensor> parameters,
                                                       ReducerOptions options);

  /// Adds `count` to this rank's weight in this window.
  comm::Status weigh(double count);
  void enter_no_sync();
  void leave_no_sync();

  /// This rank cannot do the step under way: the next step point or zero_grad() makes all ranks skip it.
  void give_up(const std::string& cause);
  /// The same, if the window has no backward that came to its end.
  void give_up_if_unfinished(const std::string& cause);
  /// Ends the window. Completes an unfinished reduction; contributes zeros where no backward came.
  comm::Result<Verdict> reach_step_point();
  /// Opens the window anew, or says that a step point is missing.
  comm::Status before_zero_grad();

  ReducerTimes times() const;
  BucketPlan plan() const;
  /// Takes the hooks off and leaves the group; kException aborts it for all. Gradients stay valid.
  enum class Ending : uint8_t { kInOrder, kException };
  void close(Ending ending);

 private:
  enum class Outcome : uint8_t { kComplete, kFailed };  // of this rank's backward
  enum class Phase : uint8_t { kOpen, kReduced };       // kReduced: waits for the step point
  struct Place {
    int bucket = 0;
    int slot = 0;
  };

  Reducer(comm::Group group, std::vector<NamedTensor> parameters, ReducerOptions options);
  void add_hooks();

  // On autograd's threads.
  void on_gradient(int parameter, Incoming incoming);
  void on_backward_end(int backward);

  comm::Status adopt_plan(BucketPlan plan) RONDO_REQUIRES(mutex_);
  void arrived(int parameter) RONDO_REQUIRES(mutex_);
  void fail(comm::Code code, const std::string& message) RONDO_REQUIRES(mutex_);
  void launch_full_buckets() RONDO_REQUIRES(mutex_);
  void launch(int bucket, double weight) RONDO_REQUIRES(mutex_);
  void fill_missing() RONDO_REQUIRES(mutex_);
  comm::Status finish(Outcome outcome) RONDO_REQUIRES(mutex_);
  comm::Status reduce(Outcome outcome) RONDO_REQUIRES(mutex_);
  comm::Status exchange_record(Outcome outcome, StepRecord& agreed) RONDO_REQUIRES(mutex_);
  void settle(const StepRecord& agreed) RONDO_REQUIRES(mutex_);
  comm::Status rebuild() RONDO_REQUIRES(mutex_);
  comm::Status check_parameters() RONDO_REQUIRES(mutex_);
  void open_window() RONDO_REQUIRES(mutex_);
  bool counts_nothing() const { return options_.counts_nothing && options_.counts_nothing(); }
  double weight() const RONDO_REQUIRES(mutex_) { return counts_nothing() ? 0.0 : weighed_ ? weight_ : 1.0; }
  std::string tag(int bucket) const RONDO_REQUIRES(mutex_);
  int64_t microseconds_since_start() const RONDO_REQUIRES(mutex_);

  // Constant after construction.
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;
  std::vector<GradientShape> shapes_;
  ReducerOptions options_;

  mutable comm::Mutex mutex_;
  comm::Group group_ RONDO_GUARDED_BY(mutex_);
  std::vector<GradientHook> hooks_ RONDO_GUARDED_BY(mutex_);
  BucketPlan plan_ RONDO_GUARDED_BY(mutex_);
  std::vector<Bucket> buckets_ RONDO_GUARDED_BY(mutex_);
  std::vector<Place> places_ RONDO_GUARDED_BY(mutex_);  // per parameter
  bool rebuilt_ RONDO_GUARDED_BY(mutex_) = false;
  comm::Status broken_ RONDO_GUARDED_BY(mutex_);  // of comm: this group cannot be used again
  int64_t step_ RONDO_GUARDED_BY(mutex_) = 0;

  // Of the window.
  Phase phase_ RONDO_GUARDED_BY(mutex_) = Phase::kOpen;
  Verdict verdict_ RONDO_GUARDED_BY(mutex_) = Verdict::kApply;
  int no_sync_depth_ RONDO_GUARDED_BY(mutex_) = 0;
  bool weighed_ RONDO_GUARDED_BY(mutex_) = false;
  double weight_ RONDO_GUARDED_BY(mutex_) = 0;
  std::vector<bool> used_ RONDO_GUARDED_BY(mutex_);  // per parameter: some backward reached it

  // Of the synced backward.
  std::set<int> backwards_ RONDO_GUARDED_BY(mutex_);  // begun, with a callback that has not run yet
  bool begun_ RONDO_GUARDED_BY(mutex_) = false;
  std::optional<std::string> gave_up_ RONDO_GUARDED_BY(mutex_);  // why
  comm::Status first_error_ RONDO_GUARDED_BY(mutex_);
  std::vector<bool> ready_ RONDO_GUARDED_BY(mutex_);   // per parameter: its gradient lies in the bucket
  std::vector<int> missing_ RONDO_GUARDED_BY(mutex_);  // per bucket: gradients not yet there
  std::vector<int> arrivals_ RONDO_GUARDED_BY(mutex_);
  std::vector<comm::Work> works_ RONDO_GUARDED_BY(mutex_);  // per launched bucket, in order
  struct Kept {
    int parameter;
    at::Tensor gradient;
  };
  std::vector<Kept> kept_ RONDO_GUARDED_BY(mutex_);  // copies of gradients that no backward touched
  comm::TimePoint start_ RONDO_GUARDED_BY(mutex_);
  ReducerTimes times_ RONDO_GUARDED_BY(mutex_);
};

}  // namespace rondo::trainer
