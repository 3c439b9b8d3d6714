#include "launcher/doctor/job_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using Json = nlohmann::ordered_json;
using Hosts = std::vector<HostReport>;

constexpr int64_t kMostSkewMilliseconds = 1000;

/// What it means that hosts differ there.
struct Meaning {
  const char* trait;
  Grade verdict;
  const char* cure;
};
constexpr Meaning kMeanings[] = {
    {"Rondo", Grade::kWarning, "install one build on all hosts: builds need not understand each other"},
    {"LibTorch", Grade::kWarning,
     "install one LibTorch on all hosts: kernels of another version may round otherwise, and replicas part ways"},
    {"BLAS", Grade::kWarning,
     "install one LibTorch on all hosts: another BLAS sums products in another order, and replicas part ways"},
    {"vector instructions", Grade::kWarning,
     "set ATEN_CPU_CAPABILITY on all hosts to what the weakest has (default, avx2 or avx512): other instructions may "
     "round otherwise, and replicas part ways"},
    {"cpus", Grade::kWarning,
     "each step waits for the slowest rank: give a host ranks by its cores, or take equal hosts"},
    {"threads", Grade::kWarning, "set OMP_NUM_THREADS alike on all hosts, or on none"},
    {"open files", Grade::kWarning, "raise the limit where it is lower: ulimit -n, or nofile in limits.conf"},
    {"locked memory", Grade::kNote, ""},
    {"packets", Grade::kWarning,
     "give the interfaces between the hosts one MTU (ip link set DEVICE mtu BYTES): else large packets may vanish on "
     "the way"}};

/// The host's name; with its first rank where others have the same.
std::string label(const Hosts& hosts, const HostReport& host) {
  const auto same = std::ranges::count(hosts, host.name, &HostReport::name);
  return same == 1 ? host.name : host.name + " (rank " + std::to_string(host.first_rank) + ")";
}

std::string title(const Hosts& hosts, const HostReport& host) {
  const auto same = std::ranges::count(hosts, host.name, &HostReport::name);
  std::string text = "host " + label(hosts, host);
  if (same == 1) text += " (rank " + std::to_string(host.first_rank) + ")";
  if (host.rank_count > 1) text += " and " + counted(static_cast<size_t>(host.rank_count - 1), "other rank");
  return text;
}

std::string value_of(const HostReport& host, const std::string& trait) {
  const auto at = std::ranges::find(host.traits, trait, &Trait::name);
  return at == host.traits.end() ? "not said" : at->value;
}

/// "1024 on a; 4096 on b, c"; empty when all are alike.
std::string who_has_what(const Hosts& hosts, const auto& value) {
  std::vector<std::pair<std::string, std::string>> groups;
  for (const HostReport& host : hosts) {
    const std::string has = value(host);
    const auto at = std::ranges::find(groups, has, &std::pair<std::string, std::string>::first);
    if (at == groups.end()) {
      groups.emplace_back(has, label(hosts, host));
    } else {
      at->second += ", " + label(hosts, host);
    }
  }
  if (groups.size() < 2) return "";
  std::string text;
  for (const auto& [has, who] : groups) text += (text.empty() ? "" : "; ") + has + " on " + who;
  return text;
}

Diagnosis clocks(const Hosts& hosts) {
  const auto [slow, fast] = std::ranges::minmax_element(hosts, {}, &HostReport::clock_milliseconds);
  const int64_t skew = fast->clock_milliseconds - slow->clock_milliseconds;
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.1f s", static_cast<double>(skew) / 1000);
  if (skew <= kMostSkewMilliseconds) return {.subject = "clocks", .text = "within 1 s of each other"};
  return {.subject = "clocks",
          .verdict = Grade::kWarning,
          .text = label(hosts, *fast) + " is " + seconds + " ahead of " + label(hosts, *slow),
          .cure = "have all hosts keep time (chrony, systemd-timesyncd): logs and checkpoints are dated by it"};
}

/// Lines that every host says, word for word.
std::vector<Diagnosis> shared_by(const Hosts& hosts) {
  std::vector<Diagnosis> shared;
  for (const Diagnosis& line : hosts.front().diagnoses) {
    const auto says = [&](const HostReport& host) {
      return std::ranges::find(host.diagnoses, line) != host.diagnoses.end();
    };
    if (std::ranges::all_of(hosts, says)) shared.push_back(line);
  }
  return shared;
}

}  // namespace

std::vector<Diagnosis> differences(const Hosts& hosts) {
  std::vector<Diagnosis> found;
  if (hosts.size() < 2) return found;
  for (const Meaning& meaning : kMeanings) {
    const std::string text = who_has_what(hosts, [&](const HostReport& host) { return value_of(host, meaning.trait); });
    if (!text.empty())
      found.push_back({.subject = meaning.trait, .verdict = meaning.verdict, .text = text, .cure = meaning.cure});
  }
  const std::string ranks =
      who_has_what(hosts, [](const HostReport& host) { return counted(static_cast<size_t>(host.rank_count), "rank"); });
  if (!ranks.empty())
    found.push_back({.subject = "ranks of a host",
                     .verdict = Grade::kNote,
                     .text = ranks + ": with as many on each, less goes over the network",
                     .cure = ""});
  found.push_back(clocks(hosts));
  return found;
}

Grade worst(const JobReport& report) {
  Grade verdict = std::max(worst(report.all_ranks), worst(differences(report.hosts)));
  for (const HostReport& host : report.hosts) verdict = std::max(verdict, worst(host.diagnoses));
  return verdict;
}

std::string job_text(const JobReport& report) {
  const Hosts& hosts = report.hosts;
  std::string text = counted(hosts.size(), "host") + ", " + counted(static_cast<size_t>(report.rank_count), "rank") +
                     ", " + report.started + "\n";
  const std::vector<Diagnosis> shared = hosts.size() > 1 ? shared_by(hosts) : std::vector<Diagnosis>();
  if (!shared.empty()) text += "\nall " + counted(hosts.size(), "host") + ", the same\n" + diagnoses_text(shared);
  for (const HostReport& host : hosts) {
    std::vector<Diagnosis> own;
    for (const Diagnosis& line : host.diagnoses)
      if (std::ranges::find(shared, line) == shared.end()) own.push_back(line);
    text += "\n" + title(hosts, host) + "\n" + diagnoses_text(own);
  }
  if (hosts.size() > 1) text += "\nhosts compared\n" + diagnoses_text(differences(hosts));
  return text + "\nall ranks together\n" + diagnoses_text(report.all_ranks);
}

std::string job_json(const JobReport& report) {
  Json json{{"verdict", name_of(worst(report))},
            {"ranks", report.rank_count},
            {"started", report.started},
            {"hosts", Json::array()},
            {"differences", as_json(differences(report.hosts))},
            {"all_ranks", as_json(report.all_ranks)}};
  for (const HostReport& host : report.hosts)
    json["hosts"].push_back({{"name", host.name},
                             {"first_rank", host.first_rank},
                             {"rank_count", host.rank_count},
                             {"diagnoses", as_json(host.diagnoses)}});
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace rondo::launcher
