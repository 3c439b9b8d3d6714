#include "trainer/gradient/reducer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "trainer/step/skip_cause.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {
namespace {

using comm::Code;
using comm::Status;

constexpr const char* kMissingStep =
    "the gradients of the last synced backward were reduced, but no step point followed. Call step() of a "
    "rondo::Optimizer, or ddp.step(optimizer), after backward(); wrap a backward that only accumulates in a scope "
    "`auto scope = ddp.no_sync();`";

std::string quoted(const std::string& name) { return "\"" + name + "\""; }

}  // namespace

comm::Result<std::shared_ptr<Reducer>> Reducer::create(comm::Group group, std::vector<NamedTensor> parameters,
                                                       ReducerOptions options) {
  std::shared_ptr<Reducer> reducer(new Reducer(std::move(group), std::move(parameters), std::move(options)));
  {
    comm::MutexLock lock(reducer->mutex_);
    const auto order = reverse_order(static_cast<int>(reducer->parameters_.size()));
    RONDO_TRY(reducer->adopt_plan(make_bucket_plan(reducer->shapes_, order, reducer->options_.caps)));
  }
  reducer->add_hooks();
  return reducer;
}

Reducer::Reducer(comm::Group group, std::vector<NamedTensor> parameters, ReducerOptions options)
    : options_(std::move(options)), group_(std::move(group)) {
  for (NamedTensor& parameter : parameters) {
    const auto dtype = comm_dtype(parameter.tensor.scalar_type());
    shapes_.push_back({.dtype = dtype.value_or(comm::DType::kFloat32), .element_count = parameter.tensor.numel()});
    names_.push_back(std::move(parameter.name));
    parameters_.push_back(std::move(parameter.tensor));
  }
  used_.assign(parameters_.size(), false);
}

void Reducer::add_hooks() {
  // The hooks outlive a wrapper that is destroyed while backward runs elsewhere: they hold it weakly.
  std::vector<GradientHook> hooks;
  for (int i = 0; i < std::ssize(parameters_); ++i) {
    hooks.emplace_back(parameters_[i], [weak = weak_from_this(), i](Incoming incoming) {
      if (const auto self = weak.lock()) self->on_gradient(i, incoming);
    });
  }
  comm::MutexLock lock(mutex_);
  hooks_ = std::move(hooks);
}

void Reducer::close(Ending ending) {
  std::vector<GradientHook> hooks;
  comm::MutexLock lock(mutex_);
  hooks.swap(hooks_);
  if (!broken_.ok()) return;
  if (ending == Ending::kException) group_.abort("rank " + std::to_string(group_.rank()) + " ended by an exception");
  works_.clear();
  if (ending == Ending::kInOrder) static_cast<void>(group_.close(comm::in_seconds(2)));
  broken_ = Status(Code::kClosed, "the DistributedDataParallel wrapper was destroyed");
}

Status Reducer::adopt_plan(BucketPlan plan) {
  std::vector<Bucket> buckets;
  for (int b = 0; b < std::ssize(plan); ++b) {
    auto bucket = Bucket::create(group_, plan[b], parameters_, "gradient bucket " + std::to_string(b));
    RONDO_TRY(bucket.status());
    buckets.push_back(std::move(*bucket));
  }
  places_.assign(parameters_.size(), {});
  for (int b = 0; b < std::ssize(plan); ++b) {
    for (int s = 0; s < std::ssize(plan[b].slots); ++s) {
      places_[plan[b].slots[s].parameter] = {.bucket = b, .slot = s};
    }
  }
  plan_ = std::move(plan);
  buckets_ = std::move(buckets);
  times_.bucket_count = std::ssize(plan_);
  times_.bucket_bytes = 0;
  for (const Bucket& bucket : buckets_) times_.bucket_bytes += static_cast<int64_t>(bucket.buffer().byte_count());
  open_window();
  return {};
}

// Note [Windows]
// After this nothing of the last window is left but the gradients themselves.
void Reducer::open_window() {
  phase_ = Phase::kOpen;
  verdict_ = Verdict::kApply;
  weighed_ = false;
  weight_ = 0;
  used_.assign(parameters_.size(), false);
  ready_.assign(parameters_.size(), false);
  missing_.clear();
  for (const BucketLayout& layout : plan_) missing_.push_back(static_cast<int>(layout.slots.size()));
  arrivals_.clear();
  works_.clear();
  kept_.clear();
  backwards_.clear();
  begun_ = false;
  gave_up_.reset();
  first_error_ = {};
}

void Reducer::fail(Code code, const std::string& message) {
  if (!first_error_.ok()) return;
  first_error_ = Status(code, message, {.rank = group_.rank(), .operation = "backward"});
}

void Reducer::on_gradient(int parameter, Incoming incoming) {
  comm::MutexLock lock(mutex_);
  if (hooks_.empty()) return;
  if (no_sync_depth_ > 0) {
    used_[parameter] = used_[parameter] || incoming == Incoming::kGradient;
    if (phase_ == Phase::kReduced) {
      fail(Code::kInvalidArgument,
           "a backward under no_sync() ran between the synced backward and the step point, so " +
               quoted(names_[parameter]) + " now differs between ranks. Accumulate first, synchronise last");
    }
    return;
  }
  if (const int backward = current_backward(); backwards_.insert(backward).second) {
    if (phase_ == Phase::kReduced) {
      const bool skipped = verdict_ == Verdict::kSkip;
      open_window();
      backwards_.insert(backward);
      if (!skipped) fail(Code::kInvalidArgument, kMissingStep);
    }
    if (!begun_) start_ = comm::Clock::now();
    begun_ = true;
    at_end_of_backward([weak = weak_from_this(), backward] {
      if (const auto self = weak.lock()) self->on_backward_end(backward);
    });
  }
  if (builds_a_graph()) {
    fail(Code::kUnsupported,
         "backward(create_graph = true) cannot be reduced: the averaged gradient would be part of the graph. Take the "
         "first derivative with torch::autograd::grad(), then call backward() on the loss that contains it");
  }
  if (!first_error_.ok() || !broken_.ok() || incoming == Incoming::kUndefined) return;
  arrived(parameter);
  if (options_.launch == ReducerOptions::Launch::kDuringBackward) launch_full_buckets();
  // Payload is moved by callers: one segment now hides behind the layers that are still to come.
  for (comm::Work& work : works_) {
    if (!work.done()) {
      work.progress();
      break;
    }
  }
}

void Reducer::arrived(int parameter) {
  const Place place = places_[parameter];
  if (place.bucket < std::ssize(works_)) {
    return fail(
        Code::kInvalidArgument,
        "the gradient of " + quoted(names_[parameter]) +
            " changed after its bucket was launched. Either an earlier backward() threw and neither zero_grad() "
            "nor step() followed, or the parameter is used inside several re-entrant backwards");
  }
  at::Tensor& gradient = parameters_[parameter].mutable_grad();
  if (gradient.layout() != at::kStrided) {
    return fail(Code::kUnsupported,
                "the gradient of " + quoted(names_[parameter]) + " is sparse; use a dense embedding");
  }
  const Bucket& bucket = buckets_[place.bucket];
  if (!bucket.holds(place.slot, gradient)) {
    const PlainTensorScope scope;
    bucket.gradient(place.slot).copy_(gradient);
    gradient = bucket.gradient(place.slot);
  }
  used_[parameter] = true;
  times_.last_ready_us = microseconds_since_start();
  if (ready_[parameter]) return;
  ready_[parameter] = true;
  arrivals_.push_back(parameter);
  --missing_[place.bucket];
}

// Note [Why buckets are launched in order]
// Collectives of one group must be issued in the same order on every rank, but gradients may arrive in another order on
// each. So a full bucket waits for its predecessors.
void Reducer::launch_full_buckets() {
  while (std::ssize(works_) < std::ssize(buckets_) && missing_[works_.size()] == 0) {
    launch(static_cast<int>(works_.size()), weight());
  }
}

void Reducer::launch(int bucket, double weight) {
  if (bucket == 0) times_.first_launch_us = microseconds_since_start();
  works_.push_back(comm::all_reduce(group_, buckets_[bucket].buffer(), comm::ReduceOp::kWeightedMean,
                                    {.tag = tag(bucket), .weight = weight}));
}

std::string Reducer::tag(int bucket) const {
  const auto& slots = plan_[bucket].slots;
  std::string text = "step " + std::to_string(step_) + ", bucket " + std::to_string(bucket) + " " +
                     quoted(names_[slots.front().parameter]);
  if (slots.size() > 1) text += " .. " + quoted(names_[slots.back().parameter]);
  return text;
}

int64_t Reducer::microseconds_since_start() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(comm::Clock::now() - start_).count();
}

void Reducer::on_backward_end(int backward) {
  comm::MutexLock lock(mutex_);
  backwards_.erase(backward);
  if (inside_a_node() || hooks_.empty()) return;  // a nested backward: the outer one goes on
  throw_if_error(broken_);
  if (!backwards_.empty() || gave_up_) {
    fail(
        Code::kInvalidArgument,
        "backward() ran again after one that threw; call zero_grad() or step() in between, so that the other ranks are "
        "not left waiting");
  }
  const Status error = first_error_;
  throw_if_error(finish(error.ok() ? Outcome::kComplete : Outcome::kFailed));
  throw_if_error(error);
}

// A gradient that did not come in this backward still counts: what an accumulating backward left, or zeros.
void Reducer::fill_missing() {
  const PlainTensorScope scope;
  for (auto b = static_cast<int>(works_.size()); b < std::ssize(buckets_); ++b) {
    const Bucket& bucket = buckets_[b];
    for (int s = 0; s < std::ssize(plan_[b].slots); ++s) {
      const int parameter = plan_[b].slots[s].parameter;
      if (ready_[parameter]) continue;
      const at::Tensor& gradient = parameters_[parameter].grad();
      if (!gradient.defined()) {
        bucket.gradient(s).zero_();
      } else if (!bucket.holds(s, gradient)) {
        bucket.gradient(s).copy_(gradient);
      } else if (!used_[parameter]) {
        kept_.push_back({.parameter = parameter, .gradient = gradient.clone()});
      }
    }
  }
}

Status Reducer::reduce(Outcome outcome) {
  const bool complete = outcome == Outcome::kComplete;
  if (complete) fill_missing();
  while (std::ssize(works_) < std::ssize(buckets_)) {
    launch(static_cast<int>(works_.size()), complete ? weight() : 0.0);
  }
  for (comm::Work& work : works_) RONDO_TRY(work.wait());
  return {};
}

Status Reducer::exchange_record(Outcome outcome, StepRecord& agreed) {
  const StepRecordShape shape{.world_size = group_.world_size(),
                              .parameter_count = static_cast<int>(parameters_.size())};
  const bool failed = outcome == Outcome::kFailed;
  StepRecord mine{.weighed = weighed_ && !failed,
                  .unweighed = !weighed_ && !failed && !counts_nothing(),
                  .failed = std::vector<bool>(static_cast<size_t>(shape.world_size)),
                  .used = used_};
  mine.failed[group_.rank()] = failed;
  std::vector<uint8_t> bytes = encode(mine, shape);
  RONDO_TRY(comm::all_reduce(group_, comm::view(bytes), comm::ReduceOp::kBitOr,
                             {.tag = "record of step " + std::to_string(step_)})
                .wait());
  agreed = decode_step_record(bytes, shape);
  return {};
}

void Reducer::settle(const StepRecord& agreed) {
  const PlainTensorScope scope;
  for (int i = 0; i < std::ssize(parameters_); ++i) {
    if (!agreed.used[i]) continue;
    const Bucket& bucket = buckets_[places_[i].bucket];
    at::Tensor& gradient = parameters_[i].mutable_grad();
    if (!gradient.defined() || !bucket.holds(places_[i].slot, gradient)) gradient = bucket.gradient(places_[i].slot);
  }
  for (const Kept& kept : kept_) {
    if (!agreed.used[kept.parameter]) parameters_[kept.parameter].mutable_grad().copy_(kept.gradient);
  }
}

// Ends the reduction of this window on every rank. Afterwards the window waits for its step point.
Status Reducer::finish(Outcome outcome) {
  if (!begun_) start_ = comm::Clock::now();
  times_.backward_end_us = microseconds_since_start();
  StepRecord agreed;
  Status status = reduce(outcome);
  if (status.ok()) status = exchange_record(outcome, agreed);
  if (status.ok()) {
    times_.exposed_us = microseconds_since_start() - times_.backward_end_us;
    times_.step = ++step_;
    const bool failed = agreed.any_failed();
    if (!failed) settle(agreed);
    if (!failed && options_.after_reduction) status = options_.after_reduction();
    if (status.ok() && !failed && !rebuilt_) status = rebuild();
    std::string cause;
    if (status.ok() && failed) {
      const std::string own = !first_error_.ok() ? first_error_.message() : "its backward threw";
      auto told = exchange_skip_cause(group_, agreed, gave_up_.value_or(own));
      status = told.status();
      if (status.ok()) cause = *told;
    }
    const bool weighed = weighed_;
    open_window();
    phase_ = Phase::kReduced;
    verdict_ = failed ? Verdict::kSkip : Verdict::kApply;
    if (!cause.empty() && options_.say) {
      options_.say("step " + std::to_string(step_) + " is skipped on all ranks: " + cause);
    }
    if (status.ok() && agreed.weighed && agreed.unweighed) {
      verdict_ = Verdict::kSkip;
      return Status(Code::kMismatch,
                    std::string("this rank ") + (weighed ? "called" : "did not call") +
                        " ddp.weigh() in this step, another one " + (weighed ? "did not" : "did") +
                        "; all ranks must, also with an empty batch: ddp.weigh(loss, 0)",
                    {.rank = group_.rank(), .operation = "backward"});
    }
  }
  if (!status.ok()) broken_ = status;
  return status;
}

// Note [Rebuild]
// The first synced backward shows the real order of arrival. Rank 0's is given to all; gradients that live in the old
// buckets move to the new ones.
Status Reducer::rebuild() {
  const auto count = static_cast<int>(parameters_.size());
  std::vector<int64_t> observed(arrivals_.begin(), arrivals_.end());
  observed.resize(parameters_.size(), -1);
  RONDO_TRY(comm::broadcast(group_, comm::view(observed), {.rank = 0}, {.tag = "order of gradients"}).wait());
  rebuilt_ = true;
  const std::vector<int> order =
      complete_order(std::vector<int>(observed.begin(), observed.end()), reverse_order(count));
  BucketPlan plan = make_bucket_plan(shapes_, order, options_.caps);
  if (plan == plan_) return {};
  const std::vector<Bucket> old_buckets = buckets_;
  const std::vector<Place> old_places = places_;
  RONDO_TRY(adopt_plan(std::move(plan)));
  const PlainTensorScope scope;
  for (int i = 0; i < count; ++i) {
    at::Tensor& gradient = parameters_[i].mutable_grad();
    const Place old = old_places[i];
    if (!gradient.defined() || !old_buckets[old.bucket].holds(old.slot, gradient)) continue;
    const at::Tensor& moved = buckets_[places_[i].bucket].gradient(places_[i].slot);
    moved.copy_(gradient);
    gradient = moved;
  }
  return {};
}

Status Reducer::check_parameters() {
  for (int i = 0; i < std::ssize(hooks_); ++i) {
    if (parameters_[i].requires_grad() && hooks_[i].still_on(parameters_[i])) continue;
    return Status(Code::kInvalidArgument,
                  "parameter " + quoted(names_[i]) + " changed after it was wrapped (now " + describe(parameters_[i]) +
                      (parameters_[i].requires_grad() ? "" : ", frozen") +
                      "), so its gradient is no longer averaged. Convert and freeze before wrapping, or wrap again",
                  {.rank = group_.rank(), .operation = "step"});
  }
  return {};
}

Status Reducer::weigh(double count) {
  comm::MutexLock lock(mutex_);
  if (!std::isfinite(count) || count < 0) {
    return Status(Code::kInvalidArgument, "weigh() needs a finite count >= 0, not " + std::to_string(count),
                  {.rank = group_.rank(), .operation = "weigh"});
  }
  if (phase_ == Phase::kReduced && verdict_ == Verdict::kApply) {
    return Status(Code::kInvalidArgument, kMissingStep, {.rank = group_.rank(), .operation = "weigh"});
  }
  if (phase_ == Phase::kReduced) open_window();  // after a skipped step
  weighed_ = true;
  weight_ += count;
  return {};
}

void Reducer::enter_no_sync() {
  comm::MutexLock lock(mutex_);
  ++no_sync_depth_;
}

void Reducer::leave_no_sync() {
  comm::MutexLock lock(mutex_);
  --no_sync_depth_;
}

void Reducer::give_up(const std::string& cause) {
  comm::MutexLock lock(mutex_);
  if (phase_ == Phase::kOpen) gave_up_ = cause;
}

void Reducer::give_up_if_unfinished(const std::string& cause) {
  comm::MutexLock lock(mutex_);
  if (phase_ == Phase::kOpen && (!begun_ || !backwards_.empty())) gave_up_ = cause;
}

comm::Result<Verdict> Reducer::reach_step_point() {
  comm::MutexLock lock(mutex_);
  RONDO_TRY(broken_);
  Status error = check_parameters();
  if (phase_ == Phase::kOpen) {
    // A backward that is still open threw; none at all reached no parameter.
    if (!error.ok()) gave_up_ = error.message();
    RONDO_TRY(finish(backwards_.empty() && !gave_up_ ? Outcome::kComplete : Outcome::kFailed));
  } else if (error.ok()) {
    error = first_error_;
  }
  const Verdict verdict = verdict_;
  open_window();
  RONDO_TRY(error);
  return verdict;
}

Status Reducer::before_zero_grad() {
  comm::MutexLock lock(mutex_);
  RONDO_TRY(broken_);
  if (begun_ || gave_up_) RONDO_TRY(finish(backwards_.empty() && !gave_up_ ? Outcome::kComplete : Outcome::kFailed));
  if (phase_ == Phase::kReduced && verdict_ == Verdict::kApply) {
    return Status(Code::kInvalidArgument, kMissingStep, {.rank = group_.rank(), .operation = "zero_grad"});
  }
  open_window();
  return {};
}

ReducerTimes Reducer::times() const {
  comm::MutexLock lock(mutex_);
  return times_;
}

BucketPlan Reducer::plan() const {
  comm::MutexLock lock(mutex_);
  return plan_;
}

}  // namespace rondo::trainer
