#include "rondo/lockstep.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>

#include "rondo/comm/collectives.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {
namespace {

constexpr uint8_t kBatch = 1, kNeedsForms = 2;
constexpr size_t kMostTensors = 32, kMostDimensions = 14;
/// Of a tensor: dtype, dimensions, then their extents.
constexpr size_t kFormNumbers = 2 + kMostDimensions;

}  // namespace

LockstepRounds::LockstepRounds(std::shared_ptr<JobState> job) : job_(std::move(job)) {}
LockstepRounds::~LockstepRounds() { job_->set_out_of_data(false); }

LockstepRounds::Round LockstepRounds::begin(Mine mine) {
  std::vector<uint8_t> flags{mine == Mine::kBatch               ? kBatch
                             : mine == Mine::kOutAndNeverHadOne ? kNeedsForms
                                                                : uint8_t{0}};
  std::vector<uint8_t> all(static_cast<size_t>(job_->bootstrap().at.world_size));
  throw_if_error(comm::all_gather(job_->user_group(), comm::view(flags), comm::view(all), {.tag = "lockstep"}).wait());
  const auto first = std::ranges::find(all, kBatch);
  const bool over = first == all.end();
  job_->set_out_of_data(!over && mine != Mine::kBatch);
  if (over) return Round::kOver;
  shows_ = static_cast<int>(first - all.begin());
  return std::ranges::find(all, kNeedsForms) == all.end() ? Round::kGoesOn : Round::kGoesOnAfterForms;
}

std::vector<at::Tensor> LockstepRounds::exchange_empty(const std::vector<at::Tensor>& mine) {
  std::vector<int64_t> forms(1 + kMostTensors * kFormNumbers, 0);
  if (job_->bootstrap().at.rank == shows_) {
    forms[0] = static_cast<int64_t>(mine.size());
    for (size_t i = 0; i < std::min(mine.size(), kMostTensors); ++i) {
      int64_t* const form = &forms[1 + i * kFormNumbers];
      form[0] = static_cast<int64_t>(mine[i].scalar_type());
      form[1] = mine[i].dim();
      std::copy_n(mine[i].sizes().begin(), std::min<size_t>(mine[i].sizes().size(), kMostDimensions), form + 2);
    }
  }
  throw_if_error(
      comm::broadcast(job_->user_group(), comm::view(forms), {.rank = shows_}, {.tag = "lockstep, an empty batch"})
          .wait());
  std::vector<at::Tensor> empty;
  bool fits = forms[0] <= static_cast<int64_t>(kMostTensors);
  for (int64_t i = 0; fits && i < forms[0]; ++i) {
    const int64_t* const form = &forms[1 + static_cast<size_t>(i) * kFormNumbers];
    fits = form[1] <= static_cast<int64_t>(kMostDimensions);
    if (fits)
      empty.push_back(at::empty(at::IntArrayRef(form + 2, form[1]),
                                at::TensorOptions().dtype(static_cast<at::ScalarType>(form[0]))));
  }
  if (!fits) {
    throw Error("lockstep: a batch of more than " + std::to_string(kMostTensors) + " tensors or " +
                    std::to_string(kMostDimensions) +
                    " dimensions; give an empty one: job.lockstep(loader, empty_batch)",
                ExitCode::kUsage);
  }
  return empty;
}

at::Tensor LockstepRounds::without_rows(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.dim() == 0) {
    throw Error(
        "lockstep: a batch holds a tensor without a dimension of samples, so Rondo cannot make an empty one; "
        "give one: job.lockstep(loader, empty_batch)",
        ExitCode::kUsage);
  }
  std::vector<int64_t> shape = tensor.sizes().vec();
  shape[0] = 0;
  return at::empty(shape, tensor.options());
}

}  // namespace rondo::trainer
