/// What each rank was doing when the run failed, by its flight record: one sentence a rank, the same for ranks that did
/// the same. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "launcher/explain/findings.h"
#include "launcher/report/failed_run.h"

namespace rondo::launcher {

/// By rank: "in all_reduce of 1000 float32, sum, tag "bucket 3" (sequence 3 of group "world")", or "in no collective;
/// the last that it finished: ...". Ranks without a flight record are left out.
std::map<int, std::string> deeds(const Explanation& explanation);

/// "ranks 0 and 2: in all_reduce ...", ranks that did the same in one line; those that nothing is known of in none.
std::vector<std::string> deed_lines(const std::vector<RankStory>& ranks);

}  // namespace rondo::launcher
