#include "tests/launcher/support/launch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "launcher/agent/worker_environment.h"

namespace rondo::test {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "rondo-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = fs::canonical(pattern);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  fs::remove_all(path_, error);
}

Launch::Launch(const std::vector<std::string>& arguments, const Options& options) {
  auto output = launcher::make_pipe(), errors = launcher::make_pipe();
  if (!output.ok() || !errors.ok()) throw std::runtime_error("pipe failed");

  std::map<std::string, std::string> variables;
  for (const std::string& entry : launcher::own_environment()) {
    variables[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  }
  for (const auto& [name, value] : options.environment) variables[name] = value;
  std::vector<std::string> environment;
  // By the launcher's shim, which has the program killed when this process dies.
  std::vector<std::string> words{RONDO_EXEC, std::to_string(::getpid()), "-", options.program, options.program};
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  words.insert(words.end(), arguments.begin(), arguments.end());
  const auto pointers = [](std::vector<std::string>& list) {
    std::vector<char*> result;
    for (std::string& word : list) result.push_back(word.data());
    result.push_back(nullptr);
    return result;
  };

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output->write_end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors->write_end.get(), STDERR_FILENO);
  if (!options.folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, options.folder.c_str());
  const int error =
      posix_spawn(&pid_, RONDO_EXEC, &actions, nullptr, pointers(words).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start " + options.program);
  output_ = std::move(output->read_end);
  errors_ = std::move(errors->read_end);
}

Launch::~Launch() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Launch::signal(int number) const { ::kill(pid_, number); }

bool Launch::read_more(steady_clock::time_point deadline) {
  std::array<pollfd, 2> ready{pollfd{output_.get(), POLLIN, 0}, pollfd{errors_.get(), POLLIN, 0}};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now()).count();
  if (left <= 0 || ::poll(ready.data(), ready.size(), static_cast<int>(left)) <= 0) return false;
  std::array<char, 65536> buffer;
  for (auto [descriptor, text] : {std::pair{&output_, &outcome_.output}, std::pair{&errors_, &outcome_.errors}}) {
    const pollfd& state = descriptor == &output_ ? ready[0] : ready[1];
    if (state.revents == 0) continue;
    const ssize_t count = ::read(descriptor->get(), buffer.data(), buffer.size());
    if (count > 0) {
      text->append(buffer.data(), static_cast<size_t>(count));
    } else {
      descriptor->reset();
    }
  }
  return output_.open() || errors_.open();
}

bool Launch::wait_for(const std::string& text, std::chrono::seconds deadline) {
  const auto end = steady_clock::now() + deadline;
  size_t output_seen = 0, errors_seen = 0;
  const auto found = [&] {
    for (auto [seen, all] : {std::pair{&output_seen, &outcome_.output}, std::pair{&errors_seen, &outcome_.errors}}) {
      if (all->find(text, *seen) != std::string::npos) return true;
      *seen = all->size() - std::min(all->size(), text.size());  // what comes may complete it
    }
    return false;
  };
  while (!found()) {
    if (!read_more(end)) return found();
  }
  return true;
}

Outcome Launch::wait(std::chrono::seconds deadline) {
  const auto end = steady_clock::now() + deadline;
  while (read_more(end)) continue;
  int status = 0;
  const bool ended = eventually(std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now()),
                                [&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; });
  if (!ended) return outcome_;
  pid_ = -1;
  if (WIFSIGNALED(status)) outcome_.signal = WTERMSIG(status);
  if (WIFEXITED(status)) outcome_.exit_code = WEXITSTATUS(status);
  return outcome_;
}

Outcome run_rondo(const std::vector<std::string>& arguments, const Launch::Options& options) {
  return Launch(arguments, options).wait();
}

std::vector<std::string> with_names(const std::filesystem::path& file, const std::string& names) {
  std::ofstream(file) << names;
  return {"unshare", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", file};
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

bool process_lives(pid_t pid) {
  const std::string status = read_file("/proc/" + std::to_string(pid) + "/stat");
  const size_t end = status.rfind(')');
  return end != std::string::npos && status.size() > end + 2 && status[end + 2] != 'Z' && status[end + 2] != 'X';
}

void pause_briefly() { ::poll(nullptr, 0, 10); }

}  // namespace rondo::test
