/// mpirun and mpiexec over the hosts of a test, by the names a, b, c, ...
///
/// In place of ssh the launchers are given a script that goes into the host's namespace and takes its name: what tells
/// hosts apart for them is the name. One thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/support/hosts.h"
#include "tests/support/process.h"

namespace rondo::test {

class MpiHosts {
 public:
  /// `hosts` must outlive it.
  explicit MpiHosts(const Hosts& hosts);
  ~MpiHosts();
  MpiHosts(const MpiHosts&) = delete;
  MpiHosts& operator=(const MpiHosts&) = delete;

  /// The first words of a launcher for as many ranks as `where` has places, for example "a:2,b:2".
  std::vector<std::string> mpirun(const std::string& where) const;
  std::vector<std::string> mpiexec(const std::string& where) const;
  /// `words` (a launcher's and its program's) on the first host, under its name.
  Process::Options on_first(std::vector<std::string> words) const;

 private:
  std::string agent() const { return folder_ / "agent"; }

  const Hosts& hosts_;
  std::filesystem::path folder_;
};

/// As root Open MPI wants to be asked twice.
std::map<std::string, std::string> open_mpi_as_root();

}  // namespace rondo::test
