// rondo::Sampler: PyTorch's DistributedSampler rule, index for index.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <mutex>

#include "rondo/sampler.h"
#include "trainer/init/gather.h"

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

  int64_t rank_size() const { return rank_size(rank); }
  int64_t rank_size(int of) const {
    if (options.partition != Partition::kExact) return (dataset_size + world_size - 1) / world_size;
    return dataset_size / world_size + (of < dataset_size % world_size ? 1 : 0);
  }
  /// In the lengthened list: of what rank `of` draws after `drawn` others.
  int64_t place(int of, int64_t drawn) const {
    return options.partition == Partition::kBlocks ? of * rank_size(of) + drawn : of + drawn * world_size;
  }
  int64_t sample(int64_t at_place) const {
    const int64_t in_list =
        options.partition == Partition::kBlocks ? std::min(at_place, dataset_size - 1) : at_place % dataset_size;
    return permutation[static_cast<size_t>(in_list)];
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
    index = static_cast<size_t>(state.sample(state.place(state.rank, state.at.position++)));
  }
  return indices;
}

std::vector<std::vector<int64_t>> Sampler::samples_of_ranks() const {
  const std::lock_guard lock(state_->mutex);
  const trainer::SamplerState& state = *state_;
  std::vector<std::vector<int64_t>> all(static_cast<size_t>(state.world_size));
  if (state.permutation.empty()) return all;
  for (int rank = 0; rank < state.world_size; ++rank) {
    for (int64_t i = 0; i < state.rank_size(rank); ++i) {
      const int64_t place = state.place(rank, i);
      all[static_cast<size_t>(rank)].push_back(place < state.dataset_size ? state.sample(place) : -1);
    }
  }
  return all;
}

at::Tensor gather(const Job& job, const at::Tensor& rows, const Sampler& sampler) {
  if (rows.requires_grad() && c10::GradMode::is_enabled()) {
    throw Error("gather: the rows require grad, and autograd does not see collectives; pass rows.detach()",
                ExitCode::kUsage);
  }
  const trainer::GatheredRows gathered = trainer::gather_rows(job, rows);
  const auto samples = sampler.samples_of_ranks();
  std::vector<int64_t> from, to;
  int64_t row = 0;
  for (size_t rank = 0; rank < samples.size(); ++rank) {
    const auto drawn = static_cast<int64_t>(samples[rank].size());
    if (gathered.counts[rank] != drawn) {
      throw Error("gather: rank " + std::to_string(rank) + " has " + std::to_string(gathered.counts[rank]) +
                      " rows, but its sampler hands out " + std::to_string(drawn) +
                      " samples an epoch; give one row for each sample of a whole epoch, in its order",
                  {.exit_code = ExitCode::kUsage, .culprit_rank = static_cast<int>(rank), .code = "kMismatch"});
    }
    for (const int64_t sample : samples[rank]) {
      if (sample >= 0) {
        from.push_back(row);
        to.push_back(sample);
      }
      ++row;
    }
  }
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = static_cast<int64_t>(to.size());
  at::Tensor ordered = at::empty(shape, rows.options().requires_grad(false));
  return ordered.index_copy_(0, at::tensor(to, at::kLong), gathered.rows.index_select(0, at::tensor(from, at::kLong)));
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
