#include "launcher/agent/ask.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "launcher/base/descriptor.h"
#include "launcher/base/exit_codes.h"

namespace rondo::launcher {

comm::Result<Answer> ask(const std::vector<std::string>& arguments) {
  auto pipe = make_pipe();
  RONDO_TRY(pipe);
  std::vector<char*> words;
  for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe->write_end.get(), STDOUT_FILENO);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return comm::Status(comm::Code::kResource, "cannot start " + arguments[0] + ": " + std::strerror(error));
  pipe->write_end.reset();

  // No deadline: it is the user's foreground program, which Ctrl-C ends together with this one.
  Answer answer;
  std::array<char, 16 * 1024> buffer;
  for (ssize_t count; (count = ::read(pipe->read_end.get(), buffer.data(), buffer.size())) != 0;) {
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    answer.output.append(buffer.data(), static_cast<size_t>(count));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  answer.exit_code = WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
  return answer;
}

}  // namespace rondo::launcher
