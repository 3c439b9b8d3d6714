#include "trainer/gradient/batch_norm_exchange.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "rondo/comm/collectives.h"
#include "rondo/error.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo::trainer {
namespace {

// A row: the place, how much follows (values; at the end: bytes of the cause), then that.
constexpr int64_t kHeader = 2;
constexpr int64_t kCauseValues = 64;  // 512 bytes

struct Met {
  BatchNormExchange::Place place;
  int64_t count;
};
Met read(const double* row) {
  return {.place = static_cast<BatchNormExchange::Place>(row[0]), .count = static_cast<int64_t>(row[1])};
}

std::string name_of(BatchNormExchange::Place place) {
  return place == BatchNormExchange::Place::kForward ? "SyncBatchNorm forward" : "SyncBatchNorm backward";
}

}  // namespace

BatchNormExchange::BatchNormExchange(const comm::Group& group) : group_(group), width_(kHeader + kCauseValues) {}

void BatchNormExchange::widen(int64_t channels) { width_ = std::max(width_, kHeader + 2 * channels + 1); }

BatchNormExchange::Row BatchNormExchange::row(Place place, int64_t count) const {
  Row mine(static_cast<size_t>(width_));
  mine[0] = static_cast<double>(place);
  mine[1] = static_cast<double>(count);
  return mine;
}

comm::Status BatchNormExchange::exchange(Row& mine, Row& all) {
  all.resize(mine.size() * static_cast<size_t>(world_size()));
  // Ranks at different places meet, so the tag is one.
  return comm::all_gather(group_, comm::view(mine), comm::view(all), {.tag = "SyncBatchNorm"}).wait();
}

at::Tensor BatchNormExchange::meet(Place place, const at::Tensor& mine) {
  const int64_t count = mine.numel();
  if (count > width_ - kHeader) {
    throw Error(name_of(place) + ": the input has more channels than the widest layer that was registered",
                ExitCode::kUsage);
  }
  Row brought = row(place, count), all;
  std::copy_n(mine.const_data_ptr<double>(), count, brought.begin() + kHeader);
  throw_if_error(exchange(brought, all));
  const at::Tensor rows = at::empty({world_size(), count}, mine.options());
  // Who has come to the end has the better reason.
  for (int rank = 0; rank < world_size(); ++rank) {
    const double* const theirs = all.data() + rank * width_;
    const Met met = read(theirs);
    if (met.place != Place::kEnd) continue;
    std::string cause(static_cast<size_t>(met.count), '\0');
    std::memcpy(cause.data(), theirs + kHeader, cause.size());
    throw Error(name_of(place) + ": rank " + std::to_string(rank) +
                    (cause.empty() ? " is at the end of its step: its forward or its loss went another way"
                                   : " gave this step up (" + cause + ")"),
                Error::Details{.culprit_rank = rank});
  }
  for (int rank = 0; rank < world_size(); ++rank) {
    const double* const theirs = all.data() + rank * width_;
    const Met met = read(theirs);
    if (met.place != place || met.count != count) {
      throw Error(name_of(place) + ": rank " + std::to_string(group_.rank()) + " brings " + std::to_string(count) +
                      " numbers, rank " + std::to_string(rank) + " is in " + name_of(met.place) + " with " +
                      std::to_string(met.count) + "; all ranks must run the same layers in the same order",
                  Error::Details{.culprit_rank = rank, .code = "kMismatch"});
    }
    std::copy_n(theirs + kHeader, count, rows.mutable_data_ptr<double>() + rank * count);
  }
  return rows;
}

comm::Status BatchNormExchange::end(const std::string& cause) {
  if (world_size() == 1) return {};
  const size_t bytes = std::min(cause.size(), kCauseValues * sizeof(double));
  Row mine = row(Place::kEnd, static_cast<int64_t>(bytes)), all;
  std::memcpy(mine.data() + kHeader, cause.data(), bytes);
  bool all_here = false;
  while (!all_here) {  // each round ends by the operation timeout, and the others have only so many layers
    RONDO_TRY(exchange(mine, all));
    all_here = true;
    for (int rank = 0; rank < world_size(); ++rank)
      all_here = all_here && read(all.data() + rank * width_).place == Place::kEnd;
  }
  return {};
}

}  // namespace rondo::trainer
