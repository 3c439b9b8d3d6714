#include "launcher/agent/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <filesystem>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

namespace fs = std::filesystem;

std::string time_stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts);
  return text;
}

comm::Status write_file(const std::string& path, const std::string& content) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file.open()) return system_error("cannot write " + path);
  return write_all(file, content);
}

comm::Status make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) return {};
  return {comm::Code::kIo, "cannot make the folder " + path.string() + ": " + error.message() +
                               "; choose a place that you may write to with --run-dir"};
}

/// runs/latest -> the run; replaced in one step. A link that cannot be made is no reason to refuse a run.
void link_latest(const fs::path& run) {
  const fs::path runs = run.parent_path();
  if (runs.filename() != "runs") return;
  const fs::path fresh = runs / (".latest-" + std::to_string(::getpid()));
  std::error_code error;
  fs::remove(fresh, error);
  fs::create_directory_symlink(run.filename(), fresh, error);
  if (!error) fs::rename(fresh, runs / "latest", error);
  if (error) fs::remove(fresh, error);
}

}  // namespace

std::string run_name(const std::string& program) {
  std::string name = fs::path(program).filename().string();
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!plain) c = '_';
  }
  return name.empty() || name.starts_with('.') ? "run" + name : name;
}

comm::Result<RunFolder> RunFolder::place(const RunFolderOptions& options) {
  RunFolder folder;
  const std::string id =
      !options.run_id.empty() ? options.run_id : options.name + "-" + time_stamp() + "-" + std::to_string(::getpid());
  const fs::path wanted = options.directory.empty() ? fs::path("runs") / id : fs::path(options.directory);
  std::error_code error;
  folder.path_ = fs::absolute(wanted, error).lexically_normal().string();
  if (error) return comm::Status(comm::Code::kIo, "the working directory is gone: " + error.message());
  while (folder.path_.size() > 1 && folder.path_.ends_with('/')) folder.path_.pop_back();
  folder.logs_ = options.log_directory.empty()
                     ? folder.file("logs")
                     : (fs::absolute(options.log_directory, error).lexically_normal() / folder.name()).string();
  folder.log_cap_bytes_ = options.log_cap_bytes;
  return folder;
}

comm::Result<RunFolder> RunFolder::create(const RunFolderOptions& options) {
  auto placed = place(options);
  RONDO_TRY(placed);
  RunFolder folder = *std::move(placed);
  std::error_code error;
  if (fs::exists(folder.file("command.txt"), error)) {
    return comm::Status(comm::Code::kInvalidArgument,
                        "--run-dir " + options.directory + " holds a run already; name a new folder");
  }
  if (!options.log_directory.empty() && fs::exists(folder.logs_, error) && !fs::is_empty(folder.logs_, error)) {
    return comm::Status(comm::Code::kInvalidArgument,
                        "--log-dir " + options.log_directory + ": " + folder.logs_ +
                            " holds something already, likely the logs of another run of that name, which must not be "
                            "lost; name another folder for the logs, or another --run-dir");
  }
  RONDO_TRY(make_folder(folder.path_));
  RONDO_TRY(folder.begin_generation(0));
  folder.link_logs();
  RONDO_TRY(write_file(folder.file("command.txt"), shell_quoted(options.command) + "\n"));
  RONDO_TRY(write_file(folder.file("config.toml"), options.config_toml));
  RONDO_TRY(write_file(folder.file("version.json"), options.version_json));
  link_latest(folder.path_);
  return folder;
}

comm::Result<RunFolder> RunFolder::join(const RunFolderOptions& options) {
  auto folder = place(options);
  RONDO_TRY(folder);
  RONDO_TRY(make_folder(folder->path_));
  RONDO_TRY(folder->begin_generation(0));
  folder->link_logs();
  return folder;
}

/// Whoever looks for logs/ in the run's folder finds them. A link that cannot be made is no reason to refuse a run.
void RunFolder::link_logs() const {
  std::error_code error;
  if (logs_ != file("logs")) fs::create_directory_symlink(logs_, file("logs"), error);
}

std::string RunFolder::name() const { return fs::path(path_).filename().string(); }

std::string RunFolder::shown_path() const {
  std::error_code error;
  const fs::path relative = fs::path(path_).lexically_relative(fs::current_path(error));
  return error || relative.empty() || relative.native().starts_with("..") ? path_ : relative.string();
}

std::string RunFolder::log_path(int rank, const std::string& ending) const {
  char name[32];
  std::snprintf(name, sizeof name, "rank-%04d.", rank);
  return attempt_logs_ + "/" + name + ending;
}

comm::Status RunFolder::begin_generation(int generation) {
  attempt_logs_ = generation == 0 ? logs_ : logs_ + "/attempt-" + std::to_string(generation);
  return make_folder(attempt_logs_);
}

comm::Status RunFolder::write(const std::string& name, const std::string& content) const {
  const std::string path = file(name), part = path + ".part";
  std::error_code error;
  fs::remove(part, error);
  RONDO_TRY(write_file(part, content));
  fs::rename(part, path, error);
  return error ? comm::Status(comm::Code::kIo, "cannot write " + path + ": " + error.message()) : comm::Status();
}

comm::Status RunFolder::rename(const std::string& from, const std::string& to) const {
  std::error_code error;
  fs::rename(file(from), file(to), error);
  if (!error) return {};
  return {comm::Code::kIo, "cannot rename " + file(from) + " to " + to + ": " + error.message()};
}

comm::Status RunFolder::make_parent_of(const std::string& path) { return make_folder(fs::path(path).parent_path()); }

comm::Result<CappedLog> RunFolder::open_log(int rank, const std::string& ending) const {
  return CappedLog::open(log_path(rank, ending), log_cap_bytes_);
}

}  // namespace rondo::launcher
