#include "tests/parity/case_runner.h"

#include <rondo/rondo.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tests/parity/nets.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using torch::Tensor;

constexpr std::pair<at::ScalarType, const char*> kTypes[] = {
    {at::kDouble, "F64"}, {at::kFloat, "F32"}, {at::kBFloat16, "BF16"}, {at::kLong, "I64"}};

Tensor to_tensor(const trainer::TensorRecord& record) {
  for (const auto& [type, text] : kTypes) {
    if (record.dtype != text) continue;
    const auto bytes = const_cast<std::byte*>(record.bytes.data());
    return torch::from_blob(bytes, record.shape, at::TensorOptions(type)).clone();
  }
  throw Error("tensor \"" + record.name + "\" has the type " + record.dtype + ", which no parity case has",
              ExitCode::kCorrupt);
}

const char* type_text(const Tensor& tensor) {
  for (const auto& [type, text] : kTypes) {
    if (tensor.scalar_type() == type) return text;
  }
  throw Error(std::string("no parity case has tensors of type ") + c10::toString(tensor.scalar_type()));
}

// "input.3.0.1": step 3, micro-batch 0, rank 1.
std::string place(const std::string& what, int64_t step, int64_t micro, int rank) {
  return what + "." + std::to_string(step) + "." + std::to_string(micro) + "." + std::to_string(rank);
}

std::optional<Tensor> find(const Tensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return std::nullopt;
  return found->second;
}

// Every parameter or buffer once, under its first name.
Tensors each_once(const torch::OrderedDict<std::string, Tensor>& named) {
  Tensors once;
  std::vector<const void*> seen;
  for (const auto& item : named) {
    if (std::find(seen.begin(), seen.end(), item.value().unsafeGetTensorImpl()) != seen.end()) continue;
    seen.push_back(item.value().unsafeGetTensorImpl());
    once[item.key()] = item.value();
  }
  return once;
}

void load(const Tensors& into, const Tensors& from, const std::string& prefix) {
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : into) {
    const auto value = find(from, prefix + name);
    if (!value) throw Error("the parity case has no " + prefix + name, ExitCode::kCorrupt);
    tensor.copy_(*value);
  }
}

class Training {
 public:
  Training(const Job& job, const ParityCase& parity_case)
      : job_(job), tensors_(parity_case.tensors), settings_(json::parse(parity_case.settings)) {}

  Tensors run() {
    net_ = make_parity_net(settings_["net"], settings_["width"]);
    if (settings_["dtype"] == "float64") net_->to(torch::kFloat64);
    parameters_ = each_once(net_->named_parameters());
    buffers_ = each_once(net_->named_buffers());
    if (job_.rank == 0) {
      load(parameters_, tensors_, "initial.");
      load(buffers_, tensors_, "initial.");
    } else {  // wrapping must bring them
      torch::NoGradGuard no_grad;
      for (const auto& [name, tensor] : parameters_) tensor.fill_(job_.rank);
      for (const auto& [name, tensor] : buffers_) tensor.fill_(job_.rank);
    }
    ReplicaOptions options;
    const int64_t cap = settings_["bucket_bytes"];
    if (cap > 0) options.bucket_cap_bytes = options.first_bucket_bytes = cap;
    DistributedDataParallel ddp(job_, *net_, options);
    if (settings_.value("sync_batch_norm", false)) ddp.sync_batch_norm();
    if (const std::string hook = settings_.value("hook", ""); hook == "bf16") {
      ddp.set_comm_hook(bf16_hook());
    } else if (hook != "") {
      throw Error("Rondo has no comm hook \"" + hook + "\"", ExitCode::kUsage);
    }

    const json& how = settings_["optimizer"];
    if (how["name"] == "sgd") {
      train<torch::optim::SGD>(
          ddp, torch::optim::SGDOptions(how["lr"]).momentum(how["momentum"]).weight_decay(how["weight_decay"]));
    } else if (how["name"] == "adamw") {
      train<torch::optim::AdamW>(ddp, torch::optim::AdamWOptions(how["lr"]).weight_decay(how["weight_decay"]));
    } else {
      throw Error("no parity case trains by " + how["name"].dump(), ExitCode::kUsage);
    }
    return result();
  }

 private:
  template <typename Kind, typename Options>
  void train(DistributedDataParallel& ddp, const Options& options) {
    Optimizer<Kind> optimizer(ddp, parameters(*net_), options);
    const int64_t steps = settings_["steps"];
    for (int64_t step = 0; step < steps; ++step) {
      if (settings_.value("reload", false)) load(parameters_, tensors_, "reload." + std::to_string(step) + ".");
      optimizer.zero_grad();
      accumulate(ddp, step);
      if (settings_.value("keep_gradients", false)) keep_gradients(step);
      optimizer.step();
    }
  }

  // All micro-batches of a step; only the last backward reduces.
  void accumulate(DistributedDataParallel& ddp, int64_t step) {
    const int64_t micro_batches = settings_["micro_batches"];
    std::vector<double> losses;
    for (int64_t micro = 0; micro < micro_batches; ++micro) {
      if (micro + 1 < micro_batches) {
        const NoSync here = ddp.no_sync();
        losses.push_back(backward(ddp, step, micro));
      } else {
        losses.push_back(backward(ddp, step, micro));
      }
    }
    losses_.push_back(torch::tensor(losses, torch::kFloat64));
  }

  double backward(DistributedDataParallel& ddp, int64_t step, int64_t micro) {
    const auto input = find(tensors_, place("input", step, micro, job_.rank));
    const bool weighed = settings_.value("weigh", false);
    if (!input) {  // out of data: takes part without a weight
      static_cast<void>(ddp.weigh(torch::zeros({}), 0));
      return std::numeric_limits<double>::quiet_NaN();
    }
    auto route = Route::kBoth;
    if (settings_.contains("routes")) route = static_cast<Route>(settings_["routes"][step][job_.rank].get<int>());
    const auto target = tensors_.at(place("target", step, micro, job_.rank)).flatten();
    const auto logits = net_->forward(*input, route).flatten(0, -2);
    const auto loss = torch::nn::functional::cross_entropy(logits, target);
    const double value = loss.item().toDouble();
    const int64_t micro_batches = settings_["micro_batches"];
    const auto scaled = micro_batches > 1 ? loss / micro_batches : loss;
    (weighed ? ddp.weigh(scaled, static_cast<double>(input->size(0))) : scaled).backward();
    return value;
  }

  void keep_gradients(int64_t step) {
    for (const auto& [name, parameter] : parameters_) {
      if (!parameter.grad().defined()) continue;
      result_["gradient." + std::to_string(step) + "." + name] = parameter.grad().clone();
    }
  }

  Tensors result() {
    const auto losses = job_.all_gather(torch::stack(losses_));  // (ranks, steps, micro-batches)
    result_["loss"] = losses.permute({1, 2, 0}).contiguous();
    std::vector<Tensor> flat;
    for (const auto& [name, parameter] : parameters_) {
      result_["parameter." + name] = parameter.detach().clone();
      flat.push_back(parameter.detach().flatten());
    }
    for (const auto& [name, buffer] : buffers_) result_["buffer." + name] = buffer.clone();
    const auto replicas = job_.all_gather(torch::cat(flat));
    bool equal = true;
    for (int rank = 1; rank < job_.world_size; ++rank) equal = equal && torch::equal(replicas[0], replicas[rank]);
    result_["replicas_equal"] = torch::tensor(equal ? 1 : 0, torch::kLong);
    return std::move(result_);
  }

  const Job& job_;
  const Tensors& tensors_;
  const json settings_;
  std::shared_ptr<ParityNet> net_;
  Tensors parameters_, buffers_;
  std::vector<Tensor> losses_;  // per step: (micro-batches)
  Tensors result_;
};

// (steps, micro-batches, ranks) -> (steps, micro-batches, 1)
Tensor mean_over_samples(const Tensor& losses, const Tensors& inputs) {
  auto sizes = torch::zeros_like(losses);
  for (int64_t step = 0; step < losses.size(0); ++step) {
    for (int64_t micro = 0; micro < losses.size(1); ++micro) {
      for (int64_t rank = 0; rank < losses.size(2); ++rank) {
        const auto input = find(inputs, place("input", step, micro, static_cast<int>(rank)));
        sizes[step][micro][rank] = input ? static_cast<double>(input->size(0)) : 0.0;
      }
    }
  }
  return (losses.nan_to_num() * sizes).sum(2, true) / sizes.sum(2, true);
}

}  // namespace

ParityCase read_parity_case(const std::filesystem::path& file) {
  const auto content = trainer::SafetensorsFile::read(file);
  const auto settings = content.metadata().find("case");
  if (settings == content.metadata().end()) {
    throw Error(file.string() + ": no parity case: its metadata have no \"case\"", ExitCode::kCorrupt);
  }
  ParityCase parity_case{.settings = settings->second, .tensors = {}};
  for (const auto& record : content.tensors()) parity_case.tensors[record.name] = to_tensor(record);
  return parity_case;
}

int world_size_of(const ParityCase& parity_case) { return json::parse(parity_case.settings)["world"]; }

void write_tensors(const std::filesystem::path& file, const Tensors& tensors) {
  Tensors flat;
  std::vector<trainer::TensorRecord> records;
  for (const auto& [name, tensor] : tensors) {
    const Tensor& kept = flat[name] = tensor.contiguous();
    records.push_back({.name = name,
                       .dtype = type_text(kept),
                       .shape = kept.sizes().vec(),
                       .bytes = {static_cast<const std::byte*>(kept.const_data_ptr()), kept.nbytes()}});
  }
  const auto content = trainer::encode_safetensors(records, {});
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  if (!out.flush()) throw Error(file.string() + " cannot be written");
}

Tensors run_parity_case(const Job& job, const ParityCase& parity_case) { return Training(job, parity_case).run(); }

std::string difference_from_expected(const ParityCase& parity_case, const Tensors& computed, double bound) {
  const std::string prefix = "expect.";
  int compared = 0;
  for (const auto& [full_name, expected] : parity_case.tensors) {
    if (!full_name.starts_with(prefix)) continue;
    const std::string name = full_name.substr(prefix.size());
    const auto found = find(computed, name);
    if (!found) return name + " was not computed";
    Tensor actual = found->to(torch::kFloat64);
    if (name == "loss" && expected.size(2) == 1) actual = mean_over_samples(actual, parity_case.tensors);
    if (actual.sizes() != expected.sizes()) return name + " has another shape";
    const Tensor wanted = expected.to(torch::kFloat64);
    if (!torch::equal(actual.isnan(), wanted.isnan())) return name + " is no number elsewhere";
    const double distance = (actual - wanted).nan_to_num().norm().item().toDouble();
    const double allowed = bound * wanted.nan_to_num().norm().item().toDouble();
    if (!(distance <= allowed)) {
      return name + " differs by " + std::to_string(distance / allowed) + " times what is allowed";
    }
    ++compared;
  }
  if (compared == 0) return "the case expects nothing";
  for (const auto& [name, tensor] : computed) {  // a gradient that PyTorch does not have
    if (name.starts_with("gradient.") && !parity_case.tensors.contains(prefix + name)) return name + " is not expected";
  }
  return "";
}

}  // namespace rondo::test
