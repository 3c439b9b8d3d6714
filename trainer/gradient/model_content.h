/// What a module consists of, seen by its wrapper: what is made equal, what is averaged, what all ranks must agree on.
///
/// Each tensor counts once: LibTorch lists a tied one as often as it is registered, only its first name travels.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "rondo/comm/status.h"
#include "rondo/distributed_data_parallel.h"
#include "trainer/gradient/model_agreement.h"
#include "trainer/gradient/model_table.h"

namespace rondo::trainer {

struct GradientParameter {
  std::string name;    // "second.bias"
  std::string module;  // of which it is a member, and its type: "second (torch::nn::LinearImpl)"
  at::Tensor tensor;
  enum class Kind : uint8_t { kDense, kSparse } kind = Kind::kDense;  // of its gradient
};

struct ModelContent {
  std::vector<NamedTensor> state;            // parameters and buffers
  std::vector<GradientParameter> gradients;  // parameters that need one
  std::vector<NamedTensor> buffers;
  ModelTable table;  // the above and the options, as text
};

/// True for the names "encoder" and "encoder.weight", given the path "encoder"; for all names, given "".
bool is_in(const std::string& name, const std::string& path);

ModelContent content_of(const torch::nn::Module& module, const ReplicaOptions& options);

/// kInvalidArgument, kUnsupported: a content or options that cannot be wrapped. `rank` is for the words.
comm::Status check(const ModelContent& content, const torch::nn::Module& module, const ReplicaOptions& options,
                   int rank);

/// Notices that a module was changed: converted, loaded into, enlarged, unfrozen. Freezing is no change, it is a
/// parameter that gets no gradient.
class ModelWatch {
 public:
  ModelWatch() = default;
  /// Not of what is ignored.
  ModelWatch(const torch::nn::Module& module, const ReplicaOptions& options);
  /// Since this was made. Cost: a walk over the module and its parts.
  bool changed(const torch::nn::Module& module) const;

 private:
  struct Seen {
    const void* tensor;
    const void* data;
    at::ScalarType dtype;
    bool needs_gradient;
  };
  void look(const torch::nn::Module& module, const std::string& path, std::vector<Seen>& seen) const;
  std::vector<std::string> ignored_;
  std::vector<Seen> seen_;
};

}  // namespace rondo::trainer
