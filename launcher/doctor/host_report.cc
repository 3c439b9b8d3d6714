#include "launcher/doctor/host_report.h"

#include <nlohmann/json.hpp>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using Json = nlohmann::ordered_json;

std::string limit_text(uint64_t limit) { return limit == UINT64_MAX ? "no limit" : std::to_string(limit); }

}  // namespace

std::vector<Trait> traits_of(const HostFacts& facts) {
  std::string features, packets;
  for (const std::string& feature : facts.cpu_features) features += (features.empty() ? "" : " ") + feature;
  for (const int bytes : facts.packet_bytes) packets += (packets.empty() ? "" : ", ") + std::to_string(bytes);
  return {{"Rondo", facts.rondo},
          {"LibTorch", facts.libtorch.value_or("none seen")},
          {"BLAS", facts.blas.value_or("none seen")},
          {"vector instructions", features.empty() ? "none" : features},
          {"cpus", counted(facts.cpus.size(), "cpu") + " usable, " +
                       counted(static_cast<size_t>(count_cores(facts.cpus)), "core")},
          {"threads", facts.omp_num_threads ? "OMP_NUM_THREADS=" + *facts.omp_num_threads : "OMP_NUM_THREADS not set"},
          {"open files", limit_text(facts.open_files)},
          {"locked memory", limit_text(facts.locked_bytes)},
          {"packets", packets.empty() ? "no interface" : "MTU " + packets}};
}

std::string encode(const HostReport& report) {
  Json json{{"name", report.name},
            {"first_rank", report.first_rank},
            {"rank_count", report.rank_count},
            {"clock_milliseconds", report.clock_milliseconds},
            {"traits", Json::array()},
            {"diagnoses", as_json(report.diagnoses)}};
  for (const Trait& trait : report.traits) json["traits"].push_back({{"name", trait.name}, {"value", trait.value}});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

comm::Result<HostReport> decode_host_report(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    HostReport report{.name = json.at("name"),
                      .first_rank = json.at("first_rank"),
                      .rank_count = json.at("rank_count"),
                      .clock_milliseconds = json.at("clock_milliseconds"),
                      .traits = {},
                      .diagnoses = diagnoses_of(json.at("diagnoses"))};
    for (const Json& trait : json.at("traits")) report.traits.push_back({trait.at("name"), trait.at("value")});
    return report;
  } catch (const Json::exception& error) {
    return comm::Status(comm::Code::kCorrupt, "what it says of its host cannot be read (" + std::string(error.what()) +
                                                  "): is another build of Rondo installed there?");
  }
}

}  // namespace rondo::launcher
