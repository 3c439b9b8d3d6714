/// gather and scatter of small blobs: two collectives each, first the lengths, then the bytes, padded to the longest or
/// laid end to end. Everybody sees all bytes, which is what makes them for small blobs.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "comm/group/group_state.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {
namespace {

constexpr int64_t kMostBytes = int64_t{256} << 20;

Status refused(const Group& group, const char* operation, const CallOptions& options, const std::string& why) {
  return {Code::kInvalidArgument,
          why,
          {.rank = group.state()->job_rank(group.rank()), .operation = operation, .tag = options.tag}};
}

/// A wait that ended without an error but too early is one here: the blobs are this function's own.
Status finished(Work work, Deadline deadline, const Group& group, const char* operation) {
  const Status status = work.wait(deadline);
  if (!status.is_pending()) return status;
  return {Code::kTimeout,
          "not every rank took part in time",
          {.rank = group.state()->job_rank(group.rank()), .operation = operation}};
}

Status check(const Group& group, Root root, const char* operation, const CallOptions& options) {
  if (!group.joined()) return {Code::kInvalidArgument, "this rank is not a member of the group"};
  if (root.rank < 0 || root.rank >= group.world_size()) {
    return refused(group, operation, options, "root " + std::to_string(root.rank) + " is not a rank of the group");
  }
  return {};
}

}  // namespace

Result<std::vector<std::vector<std::byte>>> gather(Group& group, std::span<const std::byte> blob, Root root,
                                                   Deadline deadline, CallOptions options) {
  RONDO_TRY(check(group, root, "gather", options));
  const auto n = static_cast<size_t>(group.world_size());
  std::vector<int64_t> length{static_cast<int64_t>(blob.size())};
  std::vector<int64_t> lengths(n);
  RONDO_TRY(finished(all_gather(group, view(length), view(lengths), options), deadline, group, "gather"));
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  if (longest > kMostBytes / group.world_size()) {
    return refused(group, "gather", options,
                   "a blob of " + std::to_string(longest) + " bytes: gather is for small ones, " +
                       std::to_string(kMostBytes) + " bytes for all ranks together");
  }
  std::vector<uint8_t> mine(static_cast<size_t>(longest));
  if (!blob.empty()) std::memcpy(mine.data(), blob.data(), blob.size());
  std::vector<uint8_t> all(mine.size() * n);
  RONDO_TRY(finished(all_gather(group, view(mine), view(all), std::move(options)), deadline, group, "gather"));
  std::vector<std::vector<std::byte>> blobs;
  if (group.rank() != root.rank) return blobs;
  for (size_t rank = 0; rank < n; ++rank) {
    const auto* begin = reinterpret_cast<const std::byte*>(all.data() + rank * mine.size());
    blobs.emplace_back(begin, begin + lengths[rank]);
  }
  return blobs;
}

Result<std::vector<std::byte>> scatter(Group& group, std::span<const std::vector<std::byte>> blobs, Root root,
                                       Deadline deadline, CallOptions options) {
  RONDO_TRY(check(group, root, "scatter", options));
  const auto n = static_cast<size_t>(group.world_size());
  const bool sends = group.rank() == root.rank;
  std::vector<int64_t> lengths(n, -1);  // stays so when the root has no blob for each rank: then all ranks hear it
  if (sends && blobs.size() == n) {
    for (size_t rank = 0; rank < n; ++rank) lengths[rank] = static_cast<int64_t>(blobs[rank].size());
  }
  RONDO_TRY(finished(broadcast(group, view(lengths), root, options), deadline, group, "scatter"));
  const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  if (lengths[0] < 0 || total > kMostBytes) {
    return refused(group, "scatter", options,
                   lengths[0] < 0 ? "rank " + std::to_string(group.state()->job_rank(root.rank)) +
                                        " must bring one blob for each of " + std::to_string(n) + " ranks"
                                  : std::to_string(total) + " bytes: scatter is for small blobs, " +
                                        std::to_string(kMostBytes) + " bytes for all ranks together");
  }
  std::vector<uint8_t> all(static_cast<size_t>(total));
  if (sends) {
    size_t at = 0;
    for (const auto& blob : blobs) {
      if (!blob.empty()) std::memcpy(all.data() + at, blob.data(), blob.size());
      at += blob.size();
    }
  }
  RONDO_TRY(finished(broadcast(group, view(all), root, std::move(options)), deadline, group, "scatter"));
  const auto mine = lengths.begin() + group.rank();
  const auto* begin =
      reinterpret_cast<const std::byte*>(all.data()) + std::accumulate(lengths.begin(), mine, int64_t{0});
  return std::vector<std::byte>(begin, begin + *mine);
}

}  // namespace rondo::comm
