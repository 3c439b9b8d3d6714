#include "launcher/agent/worker.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "launcher/agent/flight_files.h"
#include "launcher/base/text.h"

namespace rondo::launcher {

bool OutputStream::read(comm::TimePoint now, Console& console) {
  std::array<char, 64 * 1024> buffer;
  const ssize_t count = ::read(pipe_.get(), buffer.data(), buffer.size());
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  const std::string_view bytes(buffer.data(), static_cast<size_t>(count));
  [[maybe_unused]] const auto logged = write_all(log_, bytes);  // a full disk does not end the run
  lines_.feed(bytes, now, [&](std::string_view line) { show(line, console); });
  return true;
}

void OutputStream::flush_stale(comm::TimePoint now, Console& console) {
  lines_.flush_stale(now, [&](std::string_view line) { show(line, console); });
}

void OutputStream::finish(Console& console) {
  lines_.finish([&](std::string_view line) { show(line, console); });
  pipe_.reset();
}

void OutputStream::log_line(const std::string& line) {
  [[maybe_unused]] const auto logged = write_all(log_, line + "\n");
}

void OutputStream::show(std::string_view line, Console& console) {
  constexpr size_t kKeptLines = 20;
  const std::string text = printable(line);
  console.line(channel_, prefix_ + text);
  last_lines_.push_back(text);
  if (last_lines_.size() > kKeptLines) last_lines_.pop_front();
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
                .output = OutputStream(std::move(output->read_end), std::move(request.output_log),
                                       std::move(request.output_prefix), Channel::kOutput),
                .errors = OutputStream(std::move(errors->read_end), std::move(request.error_log),
                                       std::move(request.error_prefix), Channel::kErrors),
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

void signal_group(const Worker& worker, int signal) {
  ::kill(-worker.pid, signal);
  if (signal != SIGKILL) ::kill(-worker.pid, SIGCONT);  // a stopped one would not see it
}

}  // namespace rondo::launcher
