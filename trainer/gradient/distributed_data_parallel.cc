#include <array>
#include <cstdio>
#include <exception>
#include <unordered_set>

#include "rondo/distributed_data_parallel.h"
#include "trainer/check/program_check.h"
#include "trainer/gradient/batch_norm_exchange.h"
#include "trainer/gradient/replica.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace trainer {

Replica::Replica(std::shared_ptr<JobState> job, torch::nn::Module& module, const ReplicaOptions& options)
    : job_(std::move(job)), module_(module), options_(options), gradient_group_(job_->make_gradient_group()) {
  auto parameters = value_or_throw(adopt_model("wrap"));
  ReducerOptions reducer;
  reducer.caps = {.bucket_bytes = options.bucket_cap_bytes, .edge_bytes = options.first_bucket_bytes};
  reducer.launch = options.overlap == Overlap::kOn ? ReducerOptions::Launch::kDuringBackward
                                                   : ReducerOptions::Launch::kAfterBackward;
  reducer.unused = options.unused;
  reducer.one_rank = options.one_rank;
  reducer.say = [state = job_.get()](const std::string& line) { state->say(line); };
  if (job_->shows_debug()) {
    reducer.observe = [state = job_.get()](const StepStatistics& s) { state->log(LogLevel::kDebug, s.text()); };
  }
  reducer.counts_nothing = [state = job_.get()] { return state->out_of_data(); };
  reducer.before_reduction = [state = job_.get()](const std::string& cause) {
    return state->batch_norms() ? state->batch_norms()->end(cause) : comm::Status();
  };
  reducer.after_reduction = [this](const StepRecord& agreed) { return synchronise_buffers(agreed); };
  reducer.disarmed = [this] {
    const void* const exclusive = job_->exclusive();
    return exclusive != nullptr && exclusive != this;
  };
  reducer.model_changed = [this] { return watch_.changed(module_); };
  reducer.adopt_model = [this] { return adopt_model("the model as it is now"); };
  reducer_ = value_or_throw(Reducer::create(gradient_group_, std::move(parameters), std::move(reducer)));
  if (ProgramCheck* const check = job_->program_check()) check->wrapped(*this);
}

void Replica::close(Reducer::Ending ending) {
  if (ProgramCheck* const check = job_->program_check()) check->gone(*this);
  reducer_->close(ending);
}

// Compared first: where one rank's model is wrong, the others' word about the difference is the better message.
comm::Result<std::vector<GradientParameter>> Replica::adopt_model(const std::string& occasion) {
  ModelContent content = content_of(module_, options_);
  RONDO_TRY(compare_models(gradient_group_, content.table));
  RONDO_TRY(check(content, module_, options_, gradient_group_.rank()));
  RONDO_TRY(broadcast_tensors(gradient_group_, content.state, occasion));
  buffers_ = BufferSynchroniser(content.buffers, options_);
  watch_ = ModelWatch(module_, options_);
  record_ = record_of(module_);
  return std::move(content.gradients);
}

comm::Status Replica::synchronise_buffers(const StepRecord& agreed) {
  if (!buffers_.has_work()) return {};
  try {
    return buffers_.run(job_->model_group(), agreed);
  } catch (const std::exception& error) {
    return comm::Status(comm::Code::kAborted, std::string("ReplicaOptions::reduce_buffer threw: ") + error.what(),
                        {.rank = gradient_group_.rank(), .operation = "buffers"});
  }
}

void Replica::enter_exclusive() {
  if (job_->claim_exclusive(this)) return;
  throw Error(
      "exclusive() while the scope of another wrapper lives. End that one first: one network is trained at a time",
      ExitCode::kUsage);
}

std::string Replica::description() {
  const int64_t bytes = reducer_->bucket_bytes();
  if (bytes == 0)
    return gradient_group_.world_size() == 1 ? "one rank, nothing to reduce" : gradient_group_.description();
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "; %.1f MB of gradients", static_cast<double>(bytes) / 1e6);
  return gradient_group_.description() + text.data();
}

}  // namespace trainer

DistributedDataParallel::DistributedDataParallel(const Job& job, torch::nn::Module& module,
                                                 const ReplicaOptions& options)
    : replica_(std::make_shared<trainer::Replica>(job.state(), module, options)) {}

DistributedDataParallel::~DistributedDataParallel() {
  replica_->close(std::uncaught_exceptions() > 0 ? trainer::Reducer::Ending::kException
                                                 : trainer::Reducer::Ending::kInOrder);
}

at::Tensor DistributedDataParallel::weigh(const at::Tensor& mean_loss, double count) {
  trainer::throw_if_error(replica_->reducer().weigh(count));
  return mean_loss.mul(count);
}

Exclusive DistributedDataParallel::exclusive() { return Exclusive(replica_); }

void DistributedDataParallel::set_comm_hook(std::shared_ptr<CommHook> hook) {
  trainer::throw_if_error(replica_->reducer().set_hook(std::move(hook)));
}

void DistributedDataParallel::sync_batch_norm() { replica_->sync_batch_norm(); }

NoSync DistributedDataParallel::no_sync() { return NoSync(replica_); }

StepStatistics DistributedDataParallel::statistics() const { return replica_->reducer().statistics(); }

std::string DistributedDataParallel::description() const { return replica_->description(); }

NoSync::NoSync(std::shared_ptr<trainer::Replica> replica) : replica_(std::move(replica)) {
  replica_->reducer().enter_no_sync();
}

Exclusive::Exclusive(std::shared_ptr<trainer::Replica> replica) : replica_(std::move(replica)) {
  replica_->enter_exclusive();
}

Exclusive::~Exclusive() { replica_->leave_exclusive(); }

NoSync::~NoSync() { replica_->reducer().leave_no_sync(); }

void trainer::deduplicate(std::vector<at::Tensor>& parameters) {
  std::unordered_set<const void*> seen;
  std::erase_if(parameters, [&](const at::Tensor& p) { return !seen.insert(p.unsafeGetTensorImpl()).second; });
}

std::vector<at::Tensor> parameters(const torch::nn::Module& module) {
  std::vector<at::Tensor> all = module.parameters();
  trainer::deduplicate(all);
  return all;
}

}  // namespace rondo
