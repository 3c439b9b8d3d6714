#include "comm/bench/row.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace rondo::bench {
namespace {

template <typename T>
nlohmann::ordered_json or_null(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

template <typename... Arguments>
std::string formatted(const char* format, Arguments... arguments) {
  char text[256];
  const int length = std::snprintf(text, sizeof text, format, arguments...);
  return {text, static_cast<size_t>(std::clamp<int>(length, 0, sizeof text - 1))};
}

/// The floor means something where the buffers themselves are shared.
bool shows_floor(const Label& label) { return label.transport == "shm" && label.contender == "rondo"; }

}  // namespace

std::optional<double> floor_share(const Row& row) {
  if (!row.copy_us || row.time.p50 <= 0) return std::nullopt;
  return 2 * *row.copy_us / row.time.p50;
}

Row over_rounds(const std::vector<Row>& rounds) {
  Row all = rounds.front();
  all.round = 0;
  all.calls = 0;
  all.wrong = 0;
  all.flag_after_ns = rounds.back().flag_after_ns;
  std::vector<Summary> times;
  std::vector<double> copies;
  for (const Row& row : rounds) {
    times.push_back(row.time);
    all.calls += row.calls;
    all.wrong += row.wrong;
    if (row.copy_us) copies.push_back(*row.copy_us);
    if (row.store_requests) all.store_requests = std::max(*all.store_requests, *row.store_requests);
  }
  const double bus_factor = all.algbw > 0 ? all.busbw / all.algbw : 0;
  all.time = over_rounds(times);
  all.algbw = gigabytes_per_second(static_cast<double>(all.byte_count), all.time.p50);
  all.busbw = all.algbw * bus_factor;
  if (!copies.empty()) all.copy_us = median(std::move(copies));
  return all;
}

std::string row_json(const Row& row) {
  nlohmann::ordered_json json;
  json["kind"] = row.round == 0 ? "summary" : "row";
  json["op"] = row.operation;
  json["redop"] = row.reduction;
  json["bytes"] = row.byte_count;
  json["elements"] = row.element_count;
  json["dtype"] = name(row.dtype);
  json["wire"] = row.wire ? name(*row.wire) : "same";
  json["ranks"] = row.ranks;
  json["shared_cores"] = row.cores == Cores::kShared;
  json["algorithm"] = row.label.algorithm;
  json["transport"] = row.label.transport;
  json["registered"] = row.label.memory == Label::Memory::kRegistered;
  json["contender"] = row.label.contender;
  json["round"] = row.round == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(row.round);
  json["calls"] = row.calls;
  json["min_us"] = row.time.min;
  json["p50_us"] = row.time.p50;
  json["p99_us"] = row.time.p99;
  json["max_us"] = row.time.max;
  json["algbw_gbs"] = row.algbw;
  json["busbw_gbs"] = row.busbw;
  json["wrong"] = row.wrong;
  json["ratio_best_rival"] = nullptr;  // known to who compares
  json["flag_before_ns"] = or_null(row.flag_before_ns);
  json["flag_after_ns"] = or_null(row.flag_after_ns);
  if (row.copy_us) {
    json["copy_gbs"] = gigabytes_per_second(static_cast<double>(row.byte_count), *row.copy_us);
    json["floor_us"] = 2 * *row.copy_us;
    json["floor_share"] = or_null(floor_share(row));
  }
  if (row.store_requests) json["store_requests_per_rank"] = *row.store_requests;
  if (row.difference) json["difference"] = *row.difference;
  return json.dump() + "\n";
}

std::string table_head(const Label& label) {
  const std::string floor = shows_floor(label) ? "   floor" : "";
  const std::string percent = shows_floor(label) ? "     (%)" : "";
  return formatted("#%11s %12s %9s %6s %10s %8s %8s %7s %10s %10s %10s%s\n", "size", "count", "type", "redop", "time",
                   "algbw", "busbw", "#wrong", "min", "p99", "max", floor.c_str()) +
         formatted("#%11s %12s %9s %6s %10s %8s %8s %7s %10s %10s %10s%s\n", "(B)", "(elements)", "", "", "(us, p50)",
                   "(GB/s)", "(GB/s)", "", "(us)", "(us)", "(us)", percent.c_str());
}

std::string table_line(const Row& row) {
  const auto share = floor_share(row);
  const std::string floor = shows_floor(row.label) && share ? formatted(" %7.0f", *share * 100) : "";
  const std::string dtype(name(row.dtype));
  return formatted("%12lld %12lld %9s %6s %10.2f %8.3f %8.3f %7lld %10.2f %10.2f %10.2f%s\n",
                   static_cast<long long>(row.byte_count), static_cast<long long>(row.element_count), dtype.c_str(),
                   row.reduction.c_str(), row.time.p50, row.algbw, row.busbw, static_cast<long long>(row.wrong),
                   row.time.min, row.time.p99, row.time.max, floor.c_str());
}

}  // namespace rondo::bench
