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

/// A temporary folder, gone with it.
struct OwnFolder {
  OwnFolder();
  ~OwnFolder();
  OwnFolder(const OwnFolder&) = delete;
  OwnFolder& operator=(const OwnFolder&) = delete;
  std::filesystem::path path;
};

class MpiHosts {
 public:
  /// `hosts` must outlive it.
  explicit MpiHosts(const Hosts& hosts);

  /// The first words of a launcher for as many ranks as `where` has places, for example "a:2,b:2".
  std::vector<std::string> mpirun(const std::string& where) const;
  std::vector<std::string> mpiexec(const std::string& where) const;
  /// `words` (a launcher's and its program's) on the first host, under its name.
  Process::Options on_first(std::vector<std::string> words) const;

 private:
  std::string agent() const { return folder_.path / "agent"; }

  const Hosts& hosts_;
  const OwnFolder folder_;
};

/// As root Open MPI wants to be asked twice. Its own files go into a folder of this process: of two mpiruns that begin
/// at once in one folder, one may fail.
std::map<std::string, std::string> open_mpi_environment();

}  // namespace rondo::test
