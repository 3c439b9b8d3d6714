#include "trainer/step/skip_cause.h"

#include <algorithm>
#include <vector>

#include "rondo/comm/collectives.h"

namespace rondo::trainer {
namespace {

constexpr size_t kMostBytes = 512;

}  // namespace

comm::Result<std::string> exchange_skip_cause(comm::Group& group, const StepRecord& agreed, const std::string& mine) {
  const auto first = std::find(agreed.failed.begin(), agreed.failed.end(), true);
  const auto root = static_cast<int>(first - agreed.failed.begin());
  std::vector<uint8_t> text(kMostBytes, 0);
  if (group.rank() == root) std::copy_n(mine.begin(), std::min(mine.size(), kMostBytes), text.begin());
  RONDO_TRY(comm::broadcast(group, comm::view(text), {.rank = root}, {.tag = "cause of a skipped step"}).wait());
  const std::string cause(text.begin(), std::find(text.begin(), text.end(), 0));
  std::string all = "rank " + std::to_string(root) + " failed (" + cause + ")";
  if (const std::string every = agreed.failed_ranks(); every.find(',') != std::string::npos)
    all += ", as did others: " + every;
  return all;
}

}  // namespace rondo::trainer
