/// Where rank 0's findings go: a header, a table on stdout, rows in a file. Ranks above 0 have a silent one.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/bench/row.h"

namespace rondo::bench {

/// Facts of build, machine and run, in the order they are shown.
using Facts = std::vector<std::pair<std::string, std::string>>;

class Report {
 public:
  /// kIo when --json names a file that cannot be written: before anything is measured.
  static comm::Result<Report> open(const Request& request, int rank);

  void header(const Facts& facts);
  /// To stdout, unless silent or quiet.
  void print(const std::string& text);
  void row(const Row& row);

  /// Wrong elements of all rows so far.
  int64_t wrong() const { return wrong_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  bool speaks_ = false;
  std::unique_ptr<std::FILE, Close> json_;
  int64_t wrong_ = 0;
};

}  // namespace rondo::bench
