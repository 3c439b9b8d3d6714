#include "trainer/gradient/buffer_sync.h"

#include <algorithm>

#include "rondo/comm/collectives.h"
#include "trainer/gradient/model_content.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo::trainer {
namespace {

/// The policy of the longest path that `name` lies in.
BufferSync policy_of(const std::string& name, const ReplicaOptions& options) {
  BufferSync policy = options.buffers;
  size_t longest = 0;
  for (const auto& [path, sync] : options.buffers_of) {
    if (!is_in(name, path) || path.size() < longest) continue;
    longest = path.size();
    policy = sync;
  }
  return policy;
}

}  // namespace

BufferSynchroniser::BufferSynchroniser(const std::vector<NamedTensor>& buffers, const ReplicaOptions& options)
    : reduce_(options.reduce_buffer) {
  for (const NamedTensor& buffer : buffers) {
    const auto dtype = comm_dtype(buffer.tensor.scalar_type());
    switch (policy_of(buffer.name, options)) {
      case BufferSync::kBroadcast:
        broadcast_.push_back(buffer);
        break;
      case BufferSync::kMean:
        (dtype && comm::is_floating(*dtype) ? mean_ : broadcast_).push_back(buffer);
        break;
      case BufferSync::kCustom:
        custom_.push_back(buffer);
        break;
      case BufferSync::kNone:
        break;
    }
  }
}

comm::Status BufferSynchroniser::run(comm::Group& group, const StepRecord& agreed) const {
  const PlainTensorScope scope;
  const int first = agreed.first_with_data();
  RONDO_TRY(broadcast_tensors(group, broadcast_, "buffers", {.rank = std::max(first, 0)}));
  const double weight = first < 0 || !agreed.idle[static_cast<size_t>(group.rank())] ? 1.0 : 0.0;
  std::vector<at::Tensor> dense;
  std::vector<comm::Work> works;
  for (const NamedTensor& buffer : mean_) {
    dense.push_back(is_dense(buffer.tensor) ? buffer.tensor : buffer.tensor.contiguous());
    works.push_back(comm::all_reduce(group, view_of(dense.back()), comm::ReduceOp::kWeightedMean,
                                     {.tag = "buffer \"" + buffer.name + "\"", .weight = weight}));
  }
  for (size_t i = 0; i < works.size(); ++i) {
    RONDO_TRY(works[i].wait());
    if (!dense[i].is_same(mean_[i].tensor)) mean_[i].tensor.copy_(dense[i]);
  }
  for (const NamedTensor& buffer : custom_) reduce_(buffer.name, buffer.tensor);
  return {};
}

}  // namespace rondo::trainer
