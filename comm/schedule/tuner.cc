#include "comm/schedule/tuner.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "rondo/comm/algorithms.h"

namespace rondo::comm {
namespace {

// Up to here a link between every two ranks pays.
constexpr int kFullMeshRanks = 16;
// Up to here one round of whole buffers beats two rounds of slices: what a message costs by itself outweighs its bytes.
constexpr size_t kOneShotBytes = 16 * 1024;

/// "64K" -> 65536.
std::optional<size_t> parse_bytes(std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (unit.ends_with("iB")) unit.remove_suffix(2);
  int shift = 0;
  if (unit == "K") shift = 10;
  if (unit == "M") shift = 20;
  if (unit == "G") shift = 30;
  if (shift == 0 && !unit.empty()) return std::nullopt;
  if (value > ~size_t{0} >> shift) return std::nullopt;
  return value << shift;
}

struct Choice {
  std::string_view algorithm;
  std::string_view reason;
};

Choice by_default(const CallShape& call) {
  const bool mesh = call.world_size <= kFullMeshRanks;
  const bool small = mesh && call.byte_count * static_cast<size_t>(call.world_size - 1) <= kOneShotBytes;
  const bool canonical = call.hosts == HostLayout::kCanonicalBlocks;
  // Its partial sums travel, so that it has no narrow wire.
  const bool by_host = (canonical || call.hosts == HostLayout::kBlocks) && call.wire == Wire::kSame;
  switch (call.goal) {
    case Goal::kBroadcast:
      return {"chain", "every rank but the last sends each byte once, in a pipeline"};
    case Goal::kAllReduce:
      if (by_host && !(canonical && small)) {
        return {"hierarchical", "sums inside each host first: the least bytes between hosts"};
      }
      if (small) return {"one-shot", "small: one round of whole buffers, canonical order"};
      if (!mesh) return {"ring", "more than 16 ranks: two links a rank instead of a full mesh"};
      return {"direct", "two rounds of slices, each summed at one owner in canonical order"};
    case Goal::kReduceScatter:
    case Goal::kAllGather:
      if (!mesh) return {"ring", "more than 16 ranks: two links a rank instead of a full mesh"};
      return {"direct", "each slice goes straight to where it belongs"};
  }
  return {"ring", "serves any number of ranks"};
}

}  // namespace

Result<Tuner> Tuner::parse(const std::string& rules) {
  Tuner tuner;
  for (size_t begin = 0; begin < rules.size();) {
    const size_t end = std::min(rules.find(',', begin), rules.size());
    Rule rule{.text = rules.substr(begin, end - begin)};
    begin = end + 1;
    const size_t colon = std::min(rule.text.find(':'), rule.text.size());
    rule.algorithm = rule.text.substr(0, colon);
    const auto wrong = [&](const std::string& what) {
      return Status(Code::kInvalidArgument, "algorithm rule \"" + rule.text + "\": " + what);
    };
    if (find_algorithm(rule.algorithm) == nullptr) {
      std::string known;
      for (const Algorithm& each : algorithms()) known += (known.empty() ? "" : ", ") + std::string(each.name);
      return wrong("unknown algorithm \"" + rule.algorithm + "\"; there are " + known);
    }
    if (colon < rule.text.size()) {
      const std::string_view range = std::string_view(rule.text).substr(colon + 1);
      const size_t dash = range.find('-');
      if (dash == std::string_view::npos) return wrong("a range is written 64K-1M, -64K or 1M-");
      const auto from = dash == 0 ? std::optional<size_t>(0) : parse_bytes(range.substr(0, dash));
      const auto to = dash + 1 == range.size() ? std::optional(~size_t{0}) : parse_bytes(range.substr(dash + 1));
      if (!from || !to || *from >= *to) return wrong("a range is written 64K-1M, -64K or 1M-, the lower end first");
      rule.from = *from;
      rule.to = *to;
    }
    tuner.rules_.push_back(std::move(rule));
  }
  return tuner;
}

std::string_view Tuner::ruled(const CallShape& call) const {
  for (const Rule& rule : rules_) {
    const bool serves = find_algorithm(rule.algorithm)->serves(call.goal);
    if (serves && rule.from <= call.byte_count && call.byte_count < rule.to) return rule.algorithm;
  }
  return {};
}

std::string_view Tuner::choose(const CallShape& call) const {
  const std::string_view rule = ruled(call);
  return rule.empty() ? by_default(call).algorithm : rule;
}

std::string Tuner::explain(int world_size, HostLayout hosts) const {
  std::string text;
  for (const Goal goal : {Goal::kAllReduce, Goal::kReduceScatter, Goal::kAllGather, Goal::kBroadcast}) {
    Choice last{};
    for (size_t bytes = 1024; bytes <= size_t{1} << 30; bytes *= 2) {
      const CallShape call{.goal = goal, .world_size = world_size, .byte_count = bytes, .hosts = hosts};
      const std::string_view rule = ruled(call);
      const Choice choice = rule.empty() ? by_default(call) : Choice{rule, "asked for by a rule"};
      if (last.algorithm == choice.algorithm && last.reason == choice.reason) continue;
      last = choice;
      text += std::string(name(goal)) + " from " + std::to_string(bytes / 1024) +
              " KiB: " + std::string(choice.algorithm) + " (" + std::string(choice.reason) + ")\n";
    }
  }
  return text;
}

}  // namespace rondo::comm
