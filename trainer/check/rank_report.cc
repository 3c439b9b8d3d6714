#include "trainer/check/rank_report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace rondo::trainer {
namespace {

using Json = nlohmann::json;

Json json_of(const Finding& finding) {
  return {static_cast<int>(finding.severity),
          finding.topic,
          finding.names,
          finding.what,
          finding.cause,
          finding.cure,
          finding.ranks};
}

Finding finding_of(const Json& json) {
  return {.severity = static_cast<Severity>(json.at(0).get<int>()),
          .topic = json.at(1),
          .names = json.at(2),
          .what = json.at(3),
          .cause = json.at(4),
          .cure = json.at(5),
          .ranks = json.at(6)};
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// A parameter that no rank uses is probably a mistake, one that only some use counts as zeros on the others. A module
/// that was changed on some ranks alone cannot be taken up again.
Severity weight_of(const Finding& finding, int world_size) {
  const bool everywhere = static_cast<int>(finding.ranks.size()) == world_size;
  if (finding.topic == "never-reached" && finding.severity == Severity::kWarning && !everywhere) return Severity::kNote;
  if (finding.topic == "changed-after-wrap" && !everywhere) return Severity::kError;
  return finding.severity;
}

/// One for each name that is different somewhere; the name's words follow.
struct Difference {
  Fact::Kind kind;
  std::string name;
  std::vector<int> ranks;           // that differ from rank 0
  std::vector<std::string> values;  // of all ranks; empty: it has none
};

std::vector<Difference> differences(const std::vector<RankReport>& ranks) {
  std::map<std::pair<Fact::Kind, std::string>, std::vector<std::string>> values;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const Fact& fact : ranks[rank].facts) {
      auto& row = values[{fact.kind, fact.name}];
      row.resize(ranks.size());
      row[rank] = fact.value;
    }
  }
  std::vector<Difference> found;
  for (auto& [key, row] : values) {
    Difference difference{.kind = key.first, .name = key.second, .ranks = {}, .values = std::move(row)};
    for (size_t rank = 1; rank < ranks.size(); ++rank) {
      if (difference.values[rank] != difference.values[0]) difference.ranks.push_back(static_cast<int>(rank));
    }
    found.push_back(std::move(difference));
  }
  return found;
}

std::string values_of(const Difference& difference) {
  std::string text;
  for (size_t rank = 0; rank < difference.values.size(); ++rank) {
    const std::string& value = difference.values[rank];
    text += (rank == 0 ? "rank " : ", rank ") + std::to_string(rank) + " has " + (value.empty() ? "none" : value);
  }
  return text;
}

Finding state_differs(const Difference& difference) {
  return {.severity = Severity::kError,
          .topic = "state-differs",
          .names = {difference.name},
          .what = "not what rank 0 has",
          .cause =
              "loaded, initialised or written on some ranks after the module was wrapped; or an optimizer whose "
              "state was loaded on rank 0 alone",
          .cure =
              "load and initialise before wrapping, which gives every rank rank 0's parameters and buffers; give "
              "optimizer state to all by rondo::broadcast(job, optimizer); a buffer that is a rank's own belongs "
              "into ReplicaOptions::buffers_of as BufferSync::kNone, a parameter into ignore",
          .ranks = difference.ranks};
}

Finding setting_differs(const Difference& difference) {
  return {.severity = Severity::kError,
          .topic = "setting-differs",
          .names = {difference.name},
          .what = values_of(difference),
          .cause = "the number depends on the rank, its data or its arguments, or one rank ran ahead",
          .cure =
              "derive it from what all ranks share; a rondo::Sampler counts epochs by itself and takes one seed "
              "for all ranks",
          .ranks = difference.ranks};
}

Finding sample_counts(const Difference& difference) {
  return {.severity = Severity::kNote,
          .topic = "sample-counts",
          .names = {difference.name},
          .what = values_of(difference),
          .cause = "data sets of different length, or Partition::kExact",
          .cure = "loop over job.lockstep(*loader), so that ranks that run out do not leave the others waiting",
          .ranks = difference.ranks};
}

Finding arrival_order(const Difference& difference) {
  return {.severity = Severity::kNote,
          .topic = "arrival-order",
          .names = {},
          .what =
              "gradients arrive in another order than on rank 0. Buckets go out in rank 0's order, so full ones "
              "wait here, in every step",
          .cause = "forward() takes another path on this rank, because of its data, its rank or random numbers",
          .cure = "none is needed for right results; let all ranks compute in one order for more overlap",
          .ranks = difference.ranks};
}

Finding same_random_numbers(size_t world_size) {
  Finding finding{.severity = Severity::kNote,
                  .topic = "same-random-numbers",
                  .names = {},
                  .what =
                      "the loss draws from LibTorch's default generator, which stands at the same place on all "
                      "ranks: dropout and torch::randn() are alike on all",
                  .cause = "torch::manual_seed() with one seed for all ranks",
                  .cure = "make a rondo::RandomStreams after the model: it seeds the default generator for each rank"};
  for (size_t rank = 0; rank < world_size; ++rank) finding.ranks.push_back(static_cast<int>(rank));
  return finding;
}

void add_facts(const std::vector<RankReport>& ranks, std::vector<Finding>& into) {
  for (const Difference& difference : differences(ranks)) {
    const bool equal = difference.ranks.empty();
    switch (difference.kind) {
      case Fact::Kind::kState:
        if (!equal) into.push_back(state_differs(difference));
        break;
      case Fact::Kind::kSetting:
        if (!equal) into.push_back(setting_differs(difference));
        break;
      case Fact::Kind::kSampleCount:
        if (!equal) into.push_back(sample_counts(difference));
        break;
      case Fact::Kind::kArrivalOrder:
        if (!equal) into.push_back(arrival_order(difference));
        break;
      case Fact::Kind::kGenerator:
        if (equal && ranks.size() > 1) into.push_back(same_random_numbers(ranks.size()));
        break;
    }
  }
}

bool same_words(const Finding& a, const Finding& b) {
  return a.severity == b.severity && a.topic == b.topic && a.what == b.what && a.cause == b.cause && a.cure == b.cure;
}

/// The same thing on several ranks is one finding.
std::vector<Finding> over_ranks(const std::vector<RankReport>& ranks) {
  std::vector<Finding> found;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const Finding& mine : ranks[rank].findings) {
      const auto known = std::ranges::find_if(
          found, [&](const Finding& other) { return other.names == mine.names && same_words(other, mine); });
      Finding& one = known == found.end() ? found.emplace_back(mine) : *known;
      if (one.ranks.empty() || one.ranks.back() != static_cast<int>(rank)) one.ranks.push_back(static_cast<int>(rank));
    }
  }
  for (Finding& finding : found) finding.severity = weight_of(finding, static_cast<int>(ranks.size()));
  return found;
}

/// The same thing about several names, too.
std::vector<Finding> over_names(const std::vector<Finding>& single) {
  std::vector<Finding> found;
  for (const Finding& one : single) {
    const auto known = std::ranges::find_if(
        found, [&](const Finding& other) { return other.ranks == one.ranks && same_words(other, one); });
    if (known == found.end() || one.names.empty()) {
      found.push_back(one);
    } else {
      known->names.insert(known->names.end(), one.names.begin(), one.names.end());
    }
  }
  return found;
}

}  // namespace

std::string encode(const RankReport& report) {
  Json findings = Json::array(), facts = Json::array();
  for (const Finding& finding : report.findings) findings.push_back(json_of(finding));
  for (const Fact& fact : report.facts) facts.push_back({static_cast<int>(fact.kind), fact.name, fact.value});
  return dump(Json::array({findings, facts}));
}

RankReport decode_rank_report(const std::string& text) {
  const Json json = Json::parse(text);
  RankReport report;
  for (const Json& finding : json.at(0)) report.findings.push_back(finding_of(finding));
  for (const Json& fact : json.at(1)) {
    report.facts.push_back(
        {.kind = static_cast<Fact::Kind>(fact.at(0).get<int>()), .name = fact.at(1), .value = fact.at(2)});
  }
  return report;
}

std::string encode(const Findings& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings.list) list.push_back(json_of(finding));
  return dump(Json::array({findings.world_size, list}));
}

Findings decode_findings(const std::string& text) {
  const Json json = Json::parse(text);
  Findings findings{.world_size = json.at(0)};
  for (const Json& finding : json.at(1)) findings.list.push_back(finding_of(finding));
  return findings;
}

Findings merge(const std::vector<RankReport>& ranks) {
  std::vector<Finding> all = over_ranks(ranks);
  add_facts(ranks, all);
  Findings findings{.world_size = static_cast<int>(ranks.size()), .list = over_names(all)};
  std::ranges::stable_sort(findings.list, std::ranges::greater(), &Finding::severity);
  return findings;
}

}  // namespace rondo::trainer
