// rondo::Sampler: PyTorch's DistributedSampler rule, index for index.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <mutex>

#include "rondo/sampler.h"

namespace rondo {
namespace trainer {

struct SamplerState {
  const int rank;
  const int world_size;
  const SamplerOptions options;

  // Guarded by mutex: a loader draws, and its owner saves.
  std::mutex mutex;
  int64_t dataset_size;
  SamplerPosition at;
  bool resumes = false;              // the next reset() keeps the position
  std::vector<int64_t> permutation;  // of `at.epoch`; empty: not drawn yet

  int64_t rank_size() const {
    if (options.partition == Partition::kPadded) return (dataset_size + world_size - 1) / world_size;
    return dataset_size / world_size + (rank < dataset_size % world_size ? 1 : 0);
  }

  void draw() {
    permutation.resize(static_cast<size_t>(dataset_size));
    if (options.shuffle == Shuffle::kOff) {
      for (int64_t i = 0; i < dataset_size; ++i) permutation[i] = i;
      return;
    }
    const auto generator = at::detail::createCPUGenerator(at.seed + static_cast<uint64_t>(at.epoch));
    const at::Tensor order = at::randperm(dataset_size, generator, at::TensorOptions().dtype(at::kLong));
    std::copy_n(order.const_data_ptr<int64_t>(), dataset_size, permutation.begin());
  }
};

}  // namespace trainer

Sampler::Sampler(const Job& job, size_t size, const SamplerOptions& options)
    : state_(new trainer::SamplerState{.rank = job.rank,
                                       .world_size = job.world_size,
                                       .options = options,
                                       .mutex = {},
                                       .dataset_size = static_cast<int64_t>(size),
                                       .at = {.seed = options.seed, .epoch = -1, .position = 0},
                                       .permutation = {}}) {}

void Sampler::reset(std::optional<size_t> new_size) {
  const std::lock_guard lock(state_->mutex);
  if (new_size) state_->dataset_size = static_cast<int64_t>(*new_size);
  if (!state_->resumes) {
    ++state_->at.epoch;
    state_->at.position = 0;
  }
  state_->resumes = false;
  state_->draw();
}

std::optional<std::vector<size_t>> Sampler::next(size_t batch_size) {
  const std::lock_guard lock(state_->mutex);
  trainer::SamplerState& state = *state_;
  if (state.at.epoch < 0) return std::nullopt;
  const int64_t left = state.rank_size() - state.at.position;
  if (left <= 0 || state.permutation.empty()) return std::nullopt;
  std::vector<size_t> indices(static_cast<size_t>(std::min(left, static_cast<int64_t>(batch_size))));
  for (size_t& index : indices) {
    const int64_t global = state.rank + state.at.position++ * state.world_size;
    index = static_cast<size_t>(state.permutation[static_cast<size_t>(global % state.dataset_size)]);
  }
  return indices;
}

void Sampler::save(torch::serialize::OutputArchive& archive) const {
  const SamplerPosition at = position();
  archive.write("seed", c10::IValue(static_cast<int64_t>(at.seed)));
  archive.write("epoch", c10::IValue(at.epoch));
  archive.write("position", c10::IValue(at.position));
}

void Sampler::load(torch::serialize::InputArchive& archive) {
  const auto number = [&](const char* key) {
    c10::IValue value;
    archive.read(key, value);
    return value.toInt();
  };
  restore({.seed = static_cast<uint64_t>(number("seed")), .epoch = number("epoch"), .position = number("position")});
}

size_t Sampler::size() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<size_t>(state_->rank_size());
}

SamplerPosition Sampler::position() const {
  const std::lock_guard lock(state_->mutex);
  return state_->at;
}

void Sampler::restore(const SamplerPosition& position) {
  const std::lock_guard lock(state_->mutex);
  state_->at = position;
  // A finished epoch is not gone into again.
  state_->resumes = position.epoch >= 0 && position.position < state_->rank_size();
  if (state_->resumes) state_->draw();
}

}  // namespace rondo
