#include "trainer/gradient/reducer.h"

#include <ATen/ops/view_as_real.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include "trainer/gradient/sparse_mean.h"
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
    "`auto scope = ddp.no_sync();`, one that trains another network in the `exclusive()` scope of that network's "
    "wrapper";

std::string quote(const std::string& name) { return "\"" + name + "\""; }

}  // namespace

comm::Result<std::shared_ptr<Reducer>> Reducer::create(comm::Group group, std::vector<GradientParameter> parameters,
                                                       ReducerOptions options) {
  std::shared_ptr<Reducer> reducer(new Reducer(std::move(group), std::move(options)));
  comm::MutexLock lock(reducer->mutex_);
  RONDO_TRY(reducer->adopt(std::move(parameters)));
  reducer->open_window();
  return reducer;
}

Reducer::Reducer(comm::Group group, ReducerOptions options)
    : options_(std::move(options)),
      group_(std::move(group)),
      alone_(group_.world_size() == 1 && options_.one_rank == OneRank::kShortPath) {}

// Memory and hooks for these parameters. A plan for them is made when a backward has shown their order.
Status Reducer::adopt(std::vector<GradientParameter> parameters) {
  std::vector<at::Tensor> dense;  // at the index of the parameter; undefined for others
  for (const GradientParameter& parameter : parameters) {
    dense.push_back(parameter.kind == GradientParameter::Kind::kDense ? parameter.tensor : at::Tensor());
  }
  auto buckets = alone_ ? Buckets() : Buckets::allocate(group_, std::move(dense));
  RONDO_TRY(buckets.status());
  // What a new parameter has accumulated, no hook has seen.
  std::vector<bool> used;
  for (const GradientParameter& parameter : parameters) {
    const auto known =
        std::ranges::find_if(parameters_, [&](const auto& p) { return p.tensor.is_same(parameter.tensor); });
    const auto index = static_cast<size_t>(known - parameters_.begin());
    const bool seen = known != parameters_.end() && hooks_[index].still_on(parameter.tensor);
    used.push_back(seen ? used_[index] : parameter.tensor.grad().defined());
  }
  // The hooks outlive a wrapper that is destroyed while backward runs elsewhere: they hold it weakly.
  std::vector<GradientHook> hooks;
  for (int i = 0; i < std::ssize(parameters); ++i) {
    hooks.emplace_back(parameters[i].tensor, [weak = weak_from_this(), i](Incoming incoming) {
      if (const auto self = weak.lock()) self->on_gradient(i, incoming);
    });
  }
  parameters_ = std::move(parameters);
  hooks_ = std::move(hooks);
  buckets_ = std::move(*buckets);
  used_ = std::move(used);
  planned_ = changed_ = false;
  return {};
}

void Reducer::close(Ending ending) {
  std::vector<GradientHook> hooks;
  comm::MutexLock lock(mutex_);
  hooks.swap(hooks_);
  if (!broken_.ok()) return;
  if (ending == Ending::kException) group_.abort("rank " + std::to_string(group_.rank()) + " ended by an exception");
  launched_.clear();
  if (ending == Ending::kInOrder) static_cast<void>(group_.close(comm::in_seconds(2)));
  broken_ = Status(Code::kClosed, "the DistributedDataParallel wrapper was destroyed");
}

// Note [Windows]
// After this nothing of the last window is left but the gradients themselves.
void Reducer::open_window() {
  ++window_;
  phase_ = Phase::kOpen;
  verdict_ = Verdict::kApply;
  weight_ = {};
  used_.assign(parameters_.size(), false);
  ready_.assign(parameters_.size(), false);
  missing_.clear();
  for (const BucketLayout& layout : buckets_.plan()) missing_.push_back(static_cast<int>(layout.slots.size()));
  arrivals_.clear();
  launched_.clear();
  kept_.clear();
  sparse_.clear();
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
  if (hooks_.empty() || (options_.disarmed && options_.disarmed())) return;
  weight_.backward_came();
  if (no_sync_depth_ > 0) {
    used_[parameter] = used_[parameter] || incoming == Incoming::kGradient;
    if (phase_ == Phase::kReduced) {
      fail(Code::kInvalidArgument,
           "a backward under no_sync() ran between the synced backward and the step point, so " +
               quote(parameters_[parameter].name) + " now differs between ranks. Accumulate first, synchronise last");
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
    if (!begun_) begin();
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
  for (const auto& bucket : launched_) {
    if (bucket->progress()) break;
    timeline_.completed(bucket->index);
  }
}

void Reducer::begin() {
  begun_ = true;
  timeline_.begin();
  if (!hooks_left_behind() && (!options_.model_changed || !options_.model_changed())) return;
  // Hooks may be missing now, and buckets may be of another shape: gradients stay where autograd leaves them.
  changed_ = true;
  planned_ = false;
}

// A conversion there and back may end in the memory where it began: only the node is another one.
bool Reducer::hooks_left_behind() const {
  for (size_t i = 0; i < hooks_.size(); ++i) {
    if (!hooks_[i].still_on(parameters_[i].tensor)) return true;
  }
  return false;
}

bool Reducer::some_backward_came() const { return begun_ || std::ranges::find(used_, true) != used_.end(); }

void Reducer::arrived(int parameter) {
  const at::Tensor& gradient = gradient_of(parameter);
  if (!is_sparse(parameter) && gradient.layout() != at::kStrided) {
    return fail(Code::kUnsupported,
                "the gradient of " + quote(parameters_[parameter].name) +
                    " is sparse; make the layer that uses it a torch::nn::Embedding or EmbeddingBag "
                    "with sparse(true) before it is wrapped");
  }
  used_[parameter] = true;
  timeline_.gradient_arrived();
  if (planned_ && !is_sparse(parameter)) {
    const int bucket = buckets_.bucket_of(parameter);
    if (bucket < launched()) {
      return fail(
          Code::kInvalidArgument,
          "the gradient of " + quote(parameters_[parameter].name) +
              " changed after its bucket was launched. Either an earlier backward() threw and neither zero_grad() "
              "nor step() followed, or the parameter is used inside several re-entrant backwards, such as checkpointed "
              "segments that share a layer: wrap the model with Overlap::kOff then");
    }
    move_into_bucket(parameter);
    if (!ready_[parameter] && --missing_[bucket] == 0) timeline_.ready(bucket);
  }
  if (ready_[parameter]) return;
  ready_[parameter] = true;
  arrivals_.push_back(parameter);
}

void Reducer::move_into_bucket(int parameter) {
  at::Tensor& gradient = gradient_of(parameter);
  if (buckets_.holds(parameter, gradient)) return;
  const PlainTensorScope scope;
  buckets_.gradient(parameter).copy_(gradient);
  gradient = buckets_.gradient(parameter);
}

// Note [Why buckets are launched in order]
// Collectives of one group must be issued in the same order on every rank, but gradients may arrive in another order on
// each. So a full bucket waits for its predecessors.
void Reducer::launch_full_buckets() {
  while (planned_ && launched() < buckets_.count() && missing_[launched()] == 0) launch(weight());
}

void Reducer::launch(double weight) {
  const int index = launched();
  timeline_.launched(index);
  launched_.push_back(std::make_unique<ReducerBucket>(group_, tag(index)));
  ReducerBucket& bucket = *launched_.back();
  bucket.index = index;
  bucket.is_last = index + 1 == buckets_.count();
  bucket.weight = weight;
  if (!hook_) return bucket.mean(buckets_.buffer(index));
  const PlainTensorScope scope;
  for (const Slot& slot : buckets_.plan()[index].slots) {
    const at::Tensor& gradient = buckets_.gradient(slot.parameter);
    bucket.gradients.push_back(gradient.is_complex() ? at::view_as_real(gradient) : gradient);
    bucket.names.push_back(parameters_[slot.parameter].name);
  }
  bucket.buffer = buckets_.flat(index);
  try {
    hook_->launch(bucket);
  } catch (const std::exception& error) {
    hook_failed(index, error.what());
  }
}

// What a hook had started on this bucket is unknown, so the other ranks cannot be answered.
void Reducer::hook_failed(int bucket, const std::string& what) {
  if (!broken_.ok()) return;
  broken_ =
      Status(Code::kAborted, "comm hook " + hook_->name() + " failed on bucket " + std::to_string(bucket) + ": " + what,
             {.rank = group_.rank(), .operation = "backward"});
  group_.abort(broken_.message());
}

std::string Reducer::tag(int bucket) const {
  const auto& slots = buckets_.plan()[bucket].slots;
  std::string text = "step " + std::to_string(step_) + ", bucket " + std::to_string(bucket) + " " +
                     quote(parameters_[slots.front().parameter].name);
  if (slots.size() > 1) text += " .. " + quote(parameters_[slots.back().parameter].name);
  return text;
}

void Reducer::on_backward_end(int backward) {
  comm::MutexLock lock(mutex_);
  backwards_.erase(backward);
  if (hooks_.empty()) return;
  if (inside_a_node()) {  // a nested backward: the outer one goes on
    at_end_of_outer_backward([weak = weak_from_this(), window = window_] {
      if (const auto self = weak.lock()) self->on_outer_backward_end(window);
    });
    return;
  }
  end();
}

// None of the outer backward's own nodes may be ours: then this is the end of our window's.
void Reducer::on_outer_backward_end(int64_t window) {
  comm::MutexLock lock(mutex_);
  const bool ended = hooks_.empty() || window != window_ || phase_ == Phase::kReduced || !backwards_.empty();
  if (!ended && !inside_a_node()) end();
}

void Reducer::end() {
  throw_if_error(broken_);
  if (!backwards_.empty() || gave_up_) {
    fail(
        Code::kInvalidArgument,
        "backward() ran again after one that threw; call zero_grad() or step() in between, so that the other ranks are "
        "not left waiting");
  }
  fail_if_unused();
  const Status error = first_error_;
  const Status finished = finish(error.ok() ? Outcome::kComplete : Outcome::kFailed);
  throw_if_error(error);  // first: what ails others may come of it
  throw_if_error(finished);
}

void Reducer::fail_if_unused() {
  if (options_.unused == Unused::kAllowed || changed_) return;
  std::string names;
  for (int i = 0; i < std::ssize(parameters_); ++i) {
    if (!used_[i]) names += (names.empty() ? "" : ", ") + quote(parameters_[i].name) + " of " + parameters_[i].module;
  }
  if (names.empty()) return;
  fail(Code::kInvalidArgument,
       "this backward gave no gradient to " + names +
           ". Is the layer not called in forward(), its result not part of the loss, or detached? "
           "Unused::kAllowed counts such parameters as zeros");
}

// A gradient that did not come in this backward still counts: what an accumulating backward left, or zeros.
void Reducer::fill_missing() {
  const PlainTensorScope scope;
  for (int b = launched(); b < buckets_.count(); ++b) {
    for (const Slot& slot : buckets_.plan()[b].slots) {
      const int parameter = slot.parameter;
      const at::Tensor& gradient = gradient_of(parameter);
      if (!gradient.defined()) {
        buckets_.gradient(parameter).zero_();
      } else if (used_[parameter]) {
        move_into_bucket(parameter);
      } else if (!buckets_.holds(parameter, gradient)) {
        buckets_.gradient(parameter).copy_(gradient);
      } else {
        kept_.push_back({.parameter = parameter, .gradient = gradient.clone()});
      }
    }
  }
}

// Note [The first synced backward]
// It shows in which order gradients arrive, and until it ends they stay where autograd puts them: there is no plan yet.
// Then rank 0's order is given to all, buckets are laid out once, and each gradient moves into its place, which frees
// the tensor that it was in. So no second set of buckets is needed. The same happens after the model was changed; only
// then do gradients move from the memory of the old buckets, which goes with the last of them.
Status Reducer::make_plan() {
  if (changed_) {
    auto parameters = options_.adopt_model();
    RONDO_TRY(parameters.status());
    RONDO_TRY(adopt(std::move(*parameters)));
  }
  std::vector<int64_t> observed(arrivals_.begin(), arrivals_.end());
  observed.resize(parameters_.size(), -1);
  RONDO_TRY(comm::broadcast(group_, comm::view(observed), {.rank = 0}, {.tag = "order of gradients"}).wait());
  std::vector<int> order = complete_order(std::vector<int>(observed.begin(), observed.end()),
                                          reverse_order(static_cast<int>(parameters_.size())));
  std::erase_if(order, [&](int parameter) RONDO_REQUIRES(mutex_) { return is_sparse(parameter); });
  missing_.clear();
  buckets_.lay_out(make_bucket_plan(buckets_.shapes(), order, options_.caps));
  planned_ = true;
  std::vector<int64_t> bucket_bytes;
  for (int b = 0; b < buckets_.count(); ++b) {
    missing_.push_back(static_cast<int>(buckets_.plan()[b].slots.size()));
    bucket_bytes.push_back(static_cast<int64_t>(buckets_.buffer(b).byte_count()));
  }
  timeline_.adopt(bucket_bytes);
  return {};
}

Status Reducer::reduce(Outcome outcome) {
  const bool complete = outcome == Outcome::kComplete;
  if (alone_) return reduce_alone();
  if (!planned_) RONDO_TRY(make_plan());
  if (complete) fill_missing();
  while (launched() < buckets_.count()) launch(complete ? weight() : 0.0);
  RONDO_TRY(broken_);
  for (const auto& bucket : launched_) {
    RONDO_TRY(finish_bucket(*bucket));
    timeline_.completed(bucket->index);
  }
  RONDO_TRY(reduce_sparse(outcome));
  timeline_.reduced();
  return {};
}

// Gradients are what they should be, but for their weight.
Status Reducer::reduce_alone() {
  timeline_.reduced();
  if (changed_) {
    auto parameters = options_.adopt_model();
    RONDO_TRY(parameters.status());
    RONDO_TRY(adopt(std::move(*parameters)));
  }
  if (!weight_.given()) return {};
  const PlainTensorScope scope;
  for (int i = 0; i < std::ssize(parameters_); ++i) {
    if (!used_[i] || !gradient_of(i).defined()) continue;
    weight_.value() > 0 ? gradient_of(i).div_(weight_.value()) : gradient_of(i).zero_();
  }
  return {};
}

Status Reducer::finish_bucket(ReducerBucket& bucket) {
  if (!hook_) return bucket.wait_for_all();
  const PlainTensorScope scope;
  try {
    hook_->finish(bucket);
  } catch (const std::exception& error) {
    hook_failed(bucket.index, error.what());
  }
  return broken_;
}

Status Reducer::reduce_sparse(Outcome outcome) {
  for (int i = 0; i < std::ssize(parameters_); ++i) {
    if (!is_sparse(i)) continue;
    const SparseOperand mine{.gradient = gradient_of(i), .weight = outcome == Outcome::kComplete ? weight() : 0.0};
    auto mean = sparse_mean(group_, mine, parameters_[i].tensor, "sparse gradient of " + quote(parameters_[i].name));
    RONDO_TRY(mean.status());
    sparse_.push_back({.parameter = i, .gradient = std::move(*mean)});
  }
  return {};
}

Status Reducer::exchange_record(Outcome outcome, StepRecord& agreed) {
  const StepRecordShape shape{.world_size = group_.world_size(),
                              .parameter_count = static_cast<int>(parameters_.size())};
  const bool failed = outcome == Outcome::kFailed;
  StepRecord mine{.weighed = weight_.given() && !failed,
                  .unweighed = !weight_.given() && !failed && !counts_nothing(),
                  .failed = std::vector<bool>(static_cast<size_t>(shape.world_size)),
                  .idle = std::vector<bool>(static_cast<size_t>(shape.world_size)),
                  .used = used_};
  mine.failed[group_.rank()] = failed;
  mine.idle[group_.rank()] = weight() == 0;
  mine.times.resize(static_cast<size_t>(shape.world_size));
  mine.times[static_cast<size_t>(group_.rank())] = timeline_.mine();
  if (alone_) {
    agreed = std::move(mine);
    return {};
  }
  std::vector<uint8_t> bytes = encode(mine, shape);
  RONDO_TRY(comm::all_reduce(group_, comm::view(bytes), comm::ReduceOp::kBitOr,
                             {.tag = "record of step " + std::to_string(step_)})
                .wait());
  agreed = decode_step_record(bytes, shape);
  return {};
}

void Reducer::settle(const StepRecord& agreed) {
  if (alone_) return;
  const PlainTensorScope scope;
  for (int i = 0; i < std::ssize(parameters_); ++i) {
    if (agreed.used[i] && !is_sparse(i) && !buckets_.holds(i, gradient_of(i))) gradient_of(i) = buckets_.gradient(i);
  }
  for (const Held& kept : kept_) {
    if (!agreed.used[kept.parameter]) gradient_of(kept.parameter).copy_(kept.gradient);
  }
  for (const Held& sparse : sparse_) {
    if (agreed.used[sparse.parameter]) gradient_of(sparse.parameter) = sparse.gradient;
  }
}

// Ends the reduction of this window on every rank. Afterwards the window waits for its step point.
Status Reducer::finish(Outcome outcome) {
  if (!begun_) begin();
  timeline_.backward_ended(weight());
  std::string failure;  // of this rank
  if (outcome == Outcome::kFailed) {
    failure = gave_up_.value_or(!first_error_.ok() ? first_error_.message() : "its backward threw");
  }
  StepRecord agreed;
  Status status = options_.before_reduction ? options_.before_reduction(failure) : Status();
  if (status.ok()) status = reduce(outcome);
  if (status.ok()) status = exchange_record(outcome, agreed);
  if (status.ok()) {
    timeline_.recorded(++step_, agreed.times);
    if (options_.observe) options_.observe(timeline_.last());
    const bool failed = agreed.any_failed();
    if (!failed) settle(agreed);
    if (!failed && options_.after_reduction) status = options_.after_reduction(agreed);
    std::string cause;
    if (status.ok() && failed) {
      auto told = exchange_skip_cause(group_, agreed, failure);
      status = told.status();
      if (status.ok()) cause = *told;
    }
    const bool weighed = weight_.given();
    last_arrivals_ = std::move(arrivals_);
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

Status Reducer::set_hook(std::shared_ptr<CommHook> hook) {
  comm::MutexLock lock(mutex_);
  RONDO_TRY(broken_);
  if (begun_ || phase_ == Phase::kReduced) {
    return Status(Code::kInvalidArgument, "a comm hook is set between a step point and the next backward",
                  {.rank = group_.rank(), .operation = "set_comm_hook"});
  }
  const std::string name = hook ? hook->name() : "none";
  RONDO_TRY(compare_models(group_, {{.kind = "option", .name = "comm hook", .what = name}}));
  hook_ = std::move(hook);
  if (!hook_ || !alone_) return {};
  alone_ = false;
  return adopt(parameters_);
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
  weight_.add(count);
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

Status Reducer::give_up(const std::string& cause) {
  comm::MutexLock lock(mutex_);
  if (phase_ == Phase::kOpen) gave_up_ = cause;
  if (phase_ == Phase::kOpen || verdict_ == Verdict::kSkip) return {};
  return Status(Code::kInvalidArgument,
                "skip_step() after backward(): the gradients of this step are averaged already, and other ranks apply "
                "them. Call it before backward(), or step() here too",
                {.rank = group_.rank(), .operation = "skip_step"});
}

void Reducer::give_up_if_unfinished(const std::string& cause) {
  comm::MutexLock lock(mutex_);
  if (phase_ == Phase::kOpen && (!begun_ || !backwards_.empty())) gave_up_ = cause;
}

comm::Result<Verdict> Reducer::reach_step_point() {
  comm::MutexLock lock(mutex_);
  RONDO_TRY(broken_);
  Status error = first_error_;
  if (phase_ == Phase::kOpen) {
    // A backward that is still open threw; none at all reached no parameter.
    if (backwards_.empty() && !gave_up_) fail_if_unused();
    error = first_error_;
    const bool complete = backwards_.empty() && error.ok() && !gave_up_;
    RONDO_TRY(finish(complete ? Outcome::kComplete : Outcome::kFailed));
  }
  const Verdict verdict = verdict_;
  open_window();
  RONDO_TRY(error);
  return verdict;
}

Status Reducer::before_zero_grad() {
  comm::MutexLock lock(mutex_);
  RONDO_TRY(broken_);
  if (begun_ || gave_up_) {
    RONDO_TRY(finish(backwards_.empty() && !gave_up_ ? Outcome::kComplete : Outcome::kFailed));
  }
  if (phase_ == Phase::kReduced && verdict_ == Verdict::kApply) {
    return Status(Code::kInvalidArgument, kMissingStep, {.rank = group_.rank(), .operation = "zero_grad"});
  }
  if (phase_ == Phase::kOpen && !some_backward_came()) {
    weight_.keep_for_backward();
  } else {
    open_window();
  }
  return {};
}

bool Reducer::untouched() const {
  comm::MutexLock lock(mutex_);
  return phase_ == Phase::kOpen && !some_backward_came() && !weight_.given() && !gave_up_ && first_error_.ok();
}

int64_t Reducer::bucket_bytes() const {
  comm::MutexLock lock(mutex_);
  return byte_count(buckets_.shapes());
}

}  // namespace rondo::trainer
