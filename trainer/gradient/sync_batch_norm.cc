#include "trainer/gradient/sync_batch_norm.h"

#include <ATen/Functions.h>
#include <ATen/ops/batch_norm_native.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>
#include <torch/library.h>
#include <torch/nn/modules/batchnorm.h>

#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "rondo/error.h"

namespace rondo::trainer {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Exchange = std::shared_ptr<BatchNormExchange>;  // shared by the job, its SyncBatchNorms and graphs in flight

/// Who synchronises a call, by the tensors that it carries.
class Registry {
 public:
  struct Entry {
    const SyncBatchNorm* owner;
    Exchange exchange;
  };
  static Registry& global() {
    static Registry registry;
    return registry;
  }
  void add(const at::Tensor& key, Entry entry) {
    const std::unique_lock lock(mutex_);
    entries_[key.unsafeGetTensorImpl()] = std::move(entry);
  }
  void remove(const at::Tensor& key, const SyncBatchNorm* owner) {
    const std::unique_lock lock(mutex_);
    const auto at = entries_.find(key.unsafeGetTensorImpl());
    if (at != entries_.end() && at->second.owner == owner) entries_.erase(at);
  }
  Exchange find(const std::optional<at::Tensor>& key) const {
    if (!key || !key->defined()) return nullptr;
    const std::shared_lock lock(mutex_);
    const auto at = entries_.find(key->unsafeGetTensorImpl());
    return at == entries_.end() ? nullptr : at->second.exchange;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<const void*, Entry> entries_;
};

/// Of a batch, for each channel, in float64.
struct Moments {
  int64_t count = 0;
  at::Tensor mean, squares;  // squares: the sum of squared deviations from the mean
};

std::vector<int64_t> all_but_channels(const at::Tensor& input) {
  std::vector<int64_t> dims{0};
  for (int64_t dim = 2; dim < input.dim(); ++dim) dims.push_back(dim);
  return dims;
}

Moments moments_of(const at::Tensor& input) {
  const int64_t channels = input.size(1);
  Moments moments{.count = channels == 0 ? 0 : input.numel() / channels,
                  .mean = at::zeros({channels}, at::kDouble),
                  .squares = at::zeros({channels}, at::kDouble)};
  if (moments.count == 0) return moments;
  const bool half = at::isReducedFloatingType(input.scalar_type());
  const auto [variance, mean] = at::var_mean(half ? input.to(at::kFloat) : input, all_but_channels(input),
                                             /*correction=*/0, /*keepdim=*/false);
  moments.mean.copy_(mean);
  moments.squares.copy_(variance).mul_(static_cast<double>(moments.count));
  return moments;
}

Moments of_all_ranks(BatchNormExchange& exchange, const Moments& mine) {
  const int64_t channels = mine.mean.numel();
  const at::Tensor packed = at::empty({2 * channels + 1}, at::kDouble);
  packed[0] = static_cast<double>(mine.count);
  packed.narrow(0, 1, channels).copy_(mine.mean);
  packed.narrow(0, 1 + channels, channels).copy_(mine.squares);
  const at::Tensor gathered = exchange.meet(BatchNormExchange::Place::kForward, packed);
  const at::Tensor counts = gathered.select(1, 0).unsqueeze(1);
  const at::Tensor means = gathered.narrow(1, 1, channels);
  const double count = counts.sum().item<double>();
  Moments all{.count = static_cast<int64_t>(count), .mean = mine.mean, .squares = mine.squares};
  if (all.count == 0) return all;
  all.mean = (counts * means).sum(0) / count;
  all.squares = gathered.narrow(1, 1 + channels, channels).sum(0) + (counts * (means - all.mean).square()).sum(0);
  return all;
}

/// As wide as `input`, one value for each channel.
at::Tensor along_channels(const at::Tensor& values, const at::Tensor& input) {
  std::vector<int64_t> shape(static_cast<size_t>(input.dim()), 1);
  shape[1] = values.numel();
  return values.view(shape);
}

struct Call {
  at::Tensor running_mean, running_var;  // each may be undefined
  double momentum = 0, eps = 0;
};

void update_running(const Call& call, const Moments& all) {
  const auto move = [&](const at::Tensor& running, const at::Tensor& seen) {
    if (running.defined()) running.mul_(1 - call.momentum).add_(seen.to(running.scalar_type()), call.momentum);
  };
  move(call.running_mean, all.mean);
  move(call.running_var, all.squares / static_cast<double>(all.count - 1));
}

/// What backward needs of forward beside tensors; rides in the graph.
struct Memory final : torch::CustomClassHolder {
  Exchange exchange;
  int64_t count = 0;
  double eps = 0;
  bool has_bias = false;
};

struct Normalise : torch::autograd::Function<Normalise> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const std::optional<at::Tensor>& weight,
                            const std::optional<at::Tensor>& bias, const Call& call, Exchange exchange) {
    const Moments all = of_all_ranks(*exchange, moments_of(input));
    if (all.count == 1) {
      throw Error("SyncBatchNorm has one value per channel on all ranks together; training needs two or more",
                  ExitCode::kUsage);
    }
    if (all.count > 0) update_running(call, all);
    const at::ScalarType type = weight ? weight->scalar_type() : input.scalar_type();
    const at::Tensor mean = all.mean.to(type);
    const at::Tensor variance = (all.squares / static_cast<double>(std::max<int64_t>(all.count, 1))).to(type);
    auto memory = c10::make_intrusive<Memory>();
    memory->exchange = std::move(exchange);
    memory->count = all.count;
    memory->eps = call.eps;
    memory->has_bias = bias.has_value();
    context->saved_data["memory"] = c10::IValue::make_capsule(std::move(memory));
    context->save_for_backward({input, weight.value_or(at::Tensor()), mean, variance});
    if (input.numel() == 0) return at::empty_like(input);
    return std::get<0>(at::native_batch_norm(input, weight, bias, mean, variance, /*training=*/false, 0, call.eps));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (c10::GradMode::is_enabled()) {
      throw Error(
          "the second derivative of a synchronised BatchNorm is not built. Leave BatchNorm out of networks whose "
          "gradients are penalised (GroupNorm or InstanceNorm do), or do not synchronise it",
          ExitCode::kUsage);
    }
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1], &mean = saved[2], &variance = saved[3];
    const auto memory = c10::static_intrusive_pointer_cast<Memory>(context->saved_data["memory"].toCapsule());
    const at::Tensor inverse = (variance + memory->eps).rsqrt();
    const int64_t channels = mean.numel();
    at::Tensor of_input = at::zeros_like(input);
    at::Tensor of_weight = at::zeros({channels}, mean.options()), of_bias = at::zeros_like(of_weight);
    if (input.numel() > 0) {
      // With given statistics: the gradient as if these did not depend on the input, and the two sums.
      std::tie(of_input, of_weight, of_bias) = at::native_batch_norm_backward(
          gradients[0], input, weight, mean, variance, {}, {}, /*train=*/false, memory->eps, {true, true, true});
    }
    if (memory->count > 0) {
      const at::Tensor sums = at::cat({of_bias.to(at::kDouble), of_weight.to(at::kDouble)});
      const at::Tensor of_all = memory->exchange->meet(BatchNormExchange::Place::kBackward, sums).sum(0);
      // What the mean and the variance of all ranks add: for each element a part that is constant in its channel, and
      // one that goes with its normalised value.
      const at::Tensor means = of_all.div(static_cast<double>(memory->count)).to(mean.scalar_type());
      const at::Tensor slope = weight.defined() ? weight * inverse : inverse;
      const at::Tensor with_value = slope * inverse * means.narrow(0, channels, channels);
      const at::Tensor constant = slope * means.narrow(0, 0, channels) - with_value * mean;
      if (input.numel() > 0) {
        of_input = of_input - along_channels(constant, input) - input * along_channels(with_value, input);
        of_input = of_input.to(input.scalar_type());
      }
    }
    return {of_input, weight.defined() ? of_weight : at::Tensor(), memory->has_bias ? of_bias : at::Tensor(),
            at::Tensor(), at::Tensor()};
  }
};

at::Tensor batch_norm(const at::Tensor& input, const std::optional<at::Tensor>& weight,
                      const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& running_mean,
                      const std::optional<at::Tensor>& running_var, bool training, double momentum, double eps,
                      bool cudnn_enabled) {
  Exchange exchange;
  if (training) {
    exchange = Registry::global().find(running_mean);
    if (exchange == nullptr) exchange = Registry::global().find(weight);
  }
  if (exchange == nullptr || exchange->world_size() == 1) {
    return at::native::batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps,
                                  cudnn_enabled);
  }
  const auto defined = [](const std::optional<at::Tensor>& tensor) {
    return tensor && tensor->defined() ? tensor : std::nullopt;
  };
  const Call call{.running_mean = running_mean.value_or(at::Tensor()),
                  .running_var = running_var.value_or(at::Tensor()),
                  .momentum = momentum,
                  .eps = eps};
  return Normalise::apply(input, defined(weight), defined(bias), call, std::move(exchange));
}

/// False when `module` is no Impl.
template <typename Impl>
bool take(const torch::nn::Module& module, std::vector<at::Tensor>& keys) {
  const auto* norm = dynamic_cast<const Impl*>(&module);
  if (norm == nullptr) return false;
  for (const at::Tensor& key : {norm->running_mean, norm->weight})
    if (key.defined()) keys.push_back(key);
  return true;
}

}  // namespace

SyncBatchNorm::SyncBatchNorm(JobState& job, const torch::nn::Module& module) {
  std::string unknown;
  const auto look_at = [&](const std::string& path, const torch::nn::Module& part) {
    const size_t before = keys_.size();
    const bool is_norm = take<torch::nn::BatchNorm1dImpl>(part, keys_) ||
                         take<torch::nn::BatchNorm2dImpl>(part, keys_) || take<torch::nn::BatchNorm3dImpl>(part, keys_);
    if (is_norm && keys_.size() == before)
      unknown += (unknown.empty() ? "\"" : ", \"") + path + "\" (" + part.name() + ")";
  };
  look_at("", module);
  for (const auto& part : module.named_modules("", /*include_self=*/false)) look_at(part.key(), *part.value());
  if (!unknown.empty()) {
    throw Error("sync_batch_norm(): " + unknown +
                    " has neither a weight (affine(false)) nor running statistics (track_running_stats(false)), so its "
                    "calls cannot be told from those of other layers and would see this rank's batch only. Give it one "
                    "of the two",
                ExitCode::kUsage);
  }
  if (keys_.empty()) {
    throw Error("sync_batch_norm(): the module has no BatchNorm. Are the layers registered with register_module()?",
                ExitCode::kUsage);
  }
  if (!job.batch_norms()) job.batch_norms() = std::make_shared<BatchNormExchange>(job.model_group());
  exchange_ = job.batch_norms();
  for (const at::Tensor& key : keys_) {
    exchange_->widen(key.numel());
    Registry::global().add(key, {.owner = this, .exchange = exchange_});
  }
}

SyncBatchNorm::~SyncBatchNorm() {
  for (const at::Tensor& key : keys_) Registry::global().remove(key, this);
}

}  // namespace rondo::trainer

TORCH_LIBRARY_IMPL(aten, AutogradCPU, library) { library.impl("batch_norm", TORCH_FN(rondo::trainer::batch_norm)); }
