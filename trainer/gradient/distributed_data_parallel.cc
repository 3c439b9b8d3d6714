#include <algorithm>
#include <cstdio>
#include <exception>
#include <unordered_map>
#include <unordered_set>

#include "rondo/distributed_data_parallel.h"
#include "trainer/gradient/replica.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace trainer {
namespace {

using comm::Code;
using comm::Status;

struct Content {
  std::vector<NamedTensor> state;      // parameters and buffers, each tensor once
  std::vector<NamedTensor> gradients;  // parameters that need one
  std::vector<NamedTensor> buffers;
  ModelTable table;
};

// LibTorch lists a tied tensor as often as it is registered; only its first name travels, the others are aliases.
Content content_of(const torch::nn::Module& module, const ReplicaOptions& options) {
  Content content;
  std::unordered_map<const void*, std::string> first_name;
  const auto take = [&](const std::string& kind, const std::string& name, const at::Tensor& tensor) {
    const auto [known, is_new] = first_name.emplace(tensor.unsafeGetTensorImpl(), name);
    const std::string what = kind == "parameter" ? describe_parameter(tensor) : describe(tensor);
    content.table.push_back({.kind = kind, .name = name, .what = is_new ? what : "tied to \"" + known->second + "\""});
    if (is_new) content.state.push_back({.name = name, .tensor = tensor});
    return is_new;
  };
  for (const auto& item : module.named_parameters(/*recurse=*/true)) {
    if (take("parameter", item.key(), item.value()) && item.value().requires_grad()) {
      content.gradients.push_back({.name = item.key(), .tensor = item.value()});
    }
  }
  for (const auto& item : module.named_buffers(/*recurse=*/true)) {
    if (!item.value().defined()) continue;
    at::Tensor buffer = item.value();
    if (take("buffer", item.key(), buffer)) content.buffers.push_back({.name = item.key(), .tensor = buffer});
  }
  content.table.push_back({"option", "bucket_cap_bytes", std::to_string(options.bucket_cap_bytes)});
  content.table.push_back({"option", "first_bucket_bytes", std::to_string(options.first_bucket_bytes)});
  content.table.push_back({"option", "buffers", options.buffers == BufferSync::kBroadcast ? "broadcast" : "none"});
  return content;
}

Status check(const Content& content, const ReplicaOptions& options, int rank) {
  const comm::Where where{.rank = rank, .operation = "wrap"};
  if (content.gradients.empty()) {
    return Status(
        Code::kInvalidArgument,
        "the module has no parameter that needs a gradient, so there is nothing to average. Is everything frozen, "
        "or are the layers not registered with register_module()?",
        where);
  }
  if (options.bucket_cap_bytes <= 0 || options.first_bucket_bytes <= 0) {
    return Status(Code::kInvalidArgument, "bucket_cap_bytes and first_bucket_bytes must be positive", where);
  }
  for (const NamedTensor& named : content.state) {
    if (!named.tensor.is_cpu() || named.tensor.layout() != at::kStrided) {
      return Status(Code::kUnsupported, "\"" + named.name + "\" is not a dense CPU tensor", where);
    }
  }
  for (const NamedTensor& named : content.gradients) {
    const auto dtype = comm_dtype(named.tensor.scalar_type());
    if (dtype && comm::is_floating(*dtype)) continue;
    return Status(Code::kUnsupported,
                  "gradients of " + describe(named.tensor) + " (parameter \"" + named.name + "\") cannot be averaged",
                  where);
  }
  return {};
}

}  // namespace

Replica::Replica(std::shared_ptr<JobState> job, torch::nn::Module& module, const ReplicaOptions& options)
    : job_(std::move(job)), module_(module), gradient_group_(job_->make_gradient_group()) {
  Content content = content_of(module, options);
  // Compared first: where one rank's model is wrong, the others' word about the difference is the better message.
  throw_if_error(compare_models(gradient_group_, content.table));
  throw_if_error(check(content, options, gradient_group_.rank()));
  throw_if_error(broadcast_tensors(gradient_group_, content.state, "model at wrap"));

  ReducerOptions reducer;
  reducer.caps = {.bucket_bytes = options.bucket_cap_bytes, .edge_bytes = options.first_bucket_bytes};
  reducer.launch = options.overlap == Overlap::kOn ? ReducerOptions::Launch::kDuringBackward
                                                   : ReducerOptions::Launch::kAfterBackward;
  reducer.say = [state = job_.get()](const std::string& line) { state->say(line); };
  reducer.counts_nothing = [state = job_.get()] { return state->out_of_data(); };
  if (options.buffers == BufferSync::kBroadcast && !content.buffers.empty()) {
    reducer.after_reduction = [state = job_.get(), buffers = std::move(content.buffers)] {
      return broadcast_tensors(state->model_group(), buffers, "buffers");
    };
  }
  reducer_ = value_or_throw(Reducer::create(gradient_group_, std::move(content.gradients), std::move(reducer)));
}

std::string Replica::description() {
  const ReducerTimes times = reducer_->times();
  char text[96];
  std::snprintf(text, sizeof text, "; %lld bucket%s, %.1f MB", static_cast<long long>(times.bucket_count),
                times.bucket_count == 1 ? "" : "s", static_cast<double>(times.bucket_bytes) / 1e6);
  return gradient_group_.description() + text;
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

void DistributedDataParallel::sync_batch_norm() { replica_->sync_batch_norm(); }

NoSync DistributedDataParallel::no_sync() { return NoSync(replica_); }

StepStatistics DistributedDataParallel::statistics() const {
  const trainer::ReducerTimes times = replica_->reducer().times();
  return {.step = times.step,
          .first_launch_us = times.first_launch_us,
          .last_ready_us = times.last_ready_us,
          .backward_end_us = times.backward_end_us,
          .exposed_us = times.exposed_us,
          .bucket_count = times.bucket_count,
          .bucket_bytes = times.bucket_bytes};
}

std::string DistributedDataParallel::description() const { return replica_->description(); }

NoSync::NoSync(std::shared_ptr<trainer::Replica> replica) : replica_(std::move(replica)) {
  replica_->reducer().enter_no_sync();
}

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
