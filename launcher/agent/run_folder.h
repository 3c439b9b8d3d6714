/// A run's folder: runs/<name>-<date>-<pid>/, its files that the launcher writes, and the link runs/latest.
#pragma once

#include <string>
#include <vector>

#include "launcher/agent/capped_log.h"

namespace rondo::launcher {

struct RunFolderOptions {
  std::string name;                  // recipe or program
  std::string directory;             // --run-dir; empty: runs/<name>-<date>-<pid>
  std::string log_directory;         // --log-dir: a folder named as the run's in there; empty: logs/ in the folder
  std::vector<std::string> command;  // command.txt
  std::string config_toml;           // config.toml
  std::string version_json;          // version.json
  uint64_t log_cap_bytes = 0;        // of a rank's .out or .err; 0: none
  /// The name of the folder in runs/ where no directory is given; of a run over several hosts the coordinator chose it.
  std::string run_id;
};

class RunFolder {
 public:
  /// Makes the folder and its first files. kInvalidArgument when it holds a run already, or the folder for the logs
  /// something.
  static comm::Result<RunFolder> create(const RunFolderOptions& options);

  /// For the ranks of this host of a run whose first files the coordinator writes elsewhere, or here: hosts may share
  /// their disks.
  static comm::Result<RunFolder> join(const RunFolderOptions& options);

  /// Absolute.
  const std::string& path() const { return path_; }
  /// As the user would type it from here: relative when it lies below the working directory.
  std::string shown_path() const;
  /// The last part of path(): the run's id.
  std::string name() const;
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Replaces the file, whole or not at all.
  comm::Status write(const std::string& name, const std::string& content) const;
  comm::Status rename(const std::string& from, const std::string& to) const;
  /// Where the ranks of this generation log: logs/, and logs/attempt-1/ for those that were started again.
  comm::Status begin_generation(int generation);
  /// Makes the folder that `path`, a file in the run's folder, is to lie in.
  static comm::Status make_parent_of(const std::string& path);
  /// Opens logs/rank-0001.out (or .err).
  comm::Result<CappedLog> open_log(int rank, const std::string& ending) const;
  std::string log_path(int rank, const std::string& ending) const;

 private:
  static comm::Result<RunFolder> place(const RunFolderOptions& options);
  void link_logs() const;
  std::string path_, logs_, attempt_logs_;
  uint64_t log_cap_bytes_ = 0;
};

/// The part of a program's path that names a run: "train_gpt" of "./bin/train_gpt"; letters that are awkward in a file
/// name become '_'.
std::string run_name(const std::string& program);

}  // namespace rondo::launcher
