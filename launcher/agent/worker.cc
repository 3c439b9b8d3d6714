#include "launcher/agent/worker.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "launcher/agent/flight_files.h"
#include "launcher/base/text.h"

namespace rondo::launcher {

bool OutputStream::read(comm::TimePoint now, AgentEvents& to) {
  std::array<char, 64 * 1024> buffer;
  const ssize_t count = ::read(pipe_.get(), buffer.data(), buffer.size());
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  last_read_bytes_ = static_cast<size_t>(count);
  const std::string_view bytes(buffer.data(), last_read_bytes_);
  log_.write(bytes);
  lines_.feed(bytes, now, tell(to, now));
  return true;
}

void OutputStream::flush_stale(comm::TimePoint now, AgentEvents& to) {
  const auto at = lines_.stale_at();
  if (!at || *at > now) return;
  // Silence of the rank, not slowness of this loop, makes a line stale: what waits in the pipe is read first.
  int waiting = 0;
  if (pipe_.open() && ::ioctl(pipe_.get(), FIONREAD, &waiting) == 0 && waiting > 0) return lines_.postpone(now);
  lines_.flush_stale(now, tell(to, now));
}

void OutputStream::finish(comm::TimePoint now, AgentEvents& to) {
  lines_.finish(tell(to, now));
  pipe_.reset();
}

void OutputStream::log_line(const std::string& line) { log_.write(line + "\n"); }

LineAssembler::Emit OutputStream::tell(AgentEvents& to, comm::TimePoint now) {
  return [this, &to, now](std::string_view line) {
    to.line(name_.rank, name_.channel, line, now);
    last_lines_.emplace_back(line);
    if (last_lines_.size() > AgentEvents::Traces::kMostLines) last_lines_.pop_front();
  };
}

std::deque<std::string> OutputStream::last_lines() const {
  std::deque<std::string> lines;
  for (const std::string& line : last_lines_) lines.push_back(printable(line));
  return lines;
}

comm::Result<Worker> start_worker(WorkerRequest request) {
  auto output = make_pipe();
  RONDO_TRY(output);
  auto errors = make_pipe();
  RONDO_TRY(errors);
  auto messages = make_pipe();
  RONDO_TRY(messages);
  auto control = make_socket_pair();
  RONDO_TRY(control);
  const auto secret = pipe_with(request.secret_bytes);
  RONDO_TRY(secret);
  auto flight = make_flight_memory(request.rank);
  RONDO_TRY(flight);
  for (const Descriptor* ours : {&output->read_end, &errors->read_end, &messages->read_end}) {
    RONDO_TRY(set_non_blocking(*ours));
  }

  // A terminal stays with the launcher: a rank in a background process group would be stopped when it reads from it.
  const bool takes_input = request.rank == 0 && ::isatty(STDIN_FILENO) == 0;
  WorkerDescriptors& descriptors = request.spawn.descriptors;
  descriptors = {.input = takes_input ? STDIN_FILENO : -1,
                 .output = output->write_end.get(),
                 .errors = errors->write_end.get(),
                 .secret = secret->get(),
                 .control = control->theirs.get(),
                 .messages = messages->write_end.get(),
                 .flight = flight->descriptor()};
  const auto pid = spawn(request.spawn);
  RONDO_TRY(pid);
  Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));  // glibc 2.36 declares it without C linkage
  if (!process.open()) {
    const auto error = system_error("pidfd_open");
    ::kill(-*pid, SIGKILL);
    return error;
  }
  return Worker{.rank = request.rank,
                .pid = *pid,
                .process = std::move(process),
                .output = OutputStream({.rank = request.rank, .channel = Channel::kOutput}, std::move(output->read_end),
                                       std::move(request.output_log)),
                .errors = OutputStream({.rank = request.rank, .channel = Channel::kErrors}, std::move(errors->read_end),
                                       std::move(request.error_log)),
                .messages = std::move(messages->read_end),
                .message_reader = {},
                .control = ControlLink(std::move(control->ours)),
                .flight = *std::move(flight),
                .evidence = {},
                .speaks_rondo = false};
}

std::optional<Ending> collect_ending(const Worker& worker, comm::TimePoint now) {
  const auto id = static_cast<id_t>(worker.pid);
  siginfo_t info{};
  if (::waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return std::nullopt;
  signal_group(worker, SIGKILL);  // its children; the id is not free before the next line
  ::waitid(P_PID, id, &info, WEXITED);
  if (info.si_code == CLD_EXITED) return Ending{.exit_code = info.si_status, .signal = 0, .at = now};
  return Ending{.exit_code = 0, .signal = info.si_status, .at = now};
}

bool catches(pid_t pid, int signal) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  if (signal < 1 || signal > 64) return false;
  constexpr std::string_view kName = "SigCgt:";
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(kName)) continue;
    const uint64_t mask = std::strtoull(line.c_str() + kName.size(), nullptr, 16);
    return (mask >> (signal - 1) & 1U) != 0;
  }
  return false;
}

void signal_group(const Worker& worker, int signal) {
  ::kill(-worker.pid, signal);
  if (signal != SIGKILL) ::kill(-worker.pid, SIGCONT);  // a stopped one would not see it
}

}  // namespace rondo::launcher
