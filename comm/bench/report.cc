#include "comm/bench/report.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace rondo::bench {

comm::Result<Report> Report::open(const Request& request, int rank) {
  Report report;
  if (rank != 0) return report;
  report.speaks_ = !request.quiet;
  if (!request.json_file.empty()) {
    report.json_.reset(std::fopen(request.json_file.c_str(), "we"));
    if (!report.json_) {
      return comm::Status(comm::Code::kInvalidArgument,
                          "--json " + request.json_file + ": cannot write there: " + std::strerror(errno));
    }
  }
  return report;
}

void Report::print(const std::string& text) {
  if (!speaks_) return;
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void Report::header(const Facts& facts) {
  nlohmann::ordered_json json{{"kind", "header"}};
  for (const auto& [key, value] : facts) {
    print("# " + key + ": " + value + "\n");
    json[key] = value;
  }
  if (json_) std::fputs((json.dump() + "\n").c_str(), json_.get());
}

void Report::row(const Row& row) {
  if (row.round != 0) wrong_ += row.wrong;
  if (!json_) return;
  std::fputs(row_json(row).c_str(), json_.get());
  std::fflush(json_.get());
}

}  // namespace rondo::bench
