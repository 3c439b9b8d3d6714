/// A worker for tests of the launcher: does what its arguments say, in order. "1:exit=37" is for rank 1 only.
///
///   env           prints one JSON object: variables, cpus, open descriptors, the secret's length, parent, group
///   secret=FILE   writes the job's secret into FILE, and RONDO_STORE behind it
///   out=T err=T   writes a line          raw=T  writes T to stdout as it is; \e, \r, \n, \t are understood
///   lines=N       N lines to stdout and N to stderr, written in pieces of changing size
///   sleep=MS      waits                  wait   waits for ever
///   fail-until=G  exit code 37 in generations below G
///   error-file=T  writes T where torchrun's rules have a program leave its exception
///   until=FILE    waits until FILE is there, at most about 20 s: then exit code 93
///   exit=N  abort  crash  kill                  ends          stop  stops itself (SIGSTOP)
///   eat           takes memory until that ends it      limit-mib=N  of its data, from now on
///   ignore-term   deaf to TERM and INT   on-signal=N  TERM, INT or HUP end a wait: "got signal S", exit code N
///   handle=S      a handler for signal S that writes "handled signal S"
///   hello  beat  say=T  progress=E,S     tells the agent      say-bytes=N  a line of N letters
///   blame=R       reports a failure that blames rank R; R = -1: itself
///   verdict       waits for the agent's verdict and prints it
///   child         leaves a process behind that holds stdout; prints its id
///   join, reduce=N ...                   worker_comm.h
#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launcher/agent/channels.h"
#include "launcher/agent/topology.h"
#include "launcher/agent/worker_environment.h"
#include "rondo/comm/secret.h"
#include "tests/launcher/support/worker_comm.h"

namespace {

namespace comm = rondo::comm;
namespace launcher = rondo::launcher;
namespace proto = rondo::proto;
namespace test = rondo::test;

int number_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : -1;
}

void write_bytes(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written <= 0) std::_Exit(99);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void send(const proto::WorkerMessage& message) {
  write_bytes(number_of("RONDO_MESSAGES_FD"), launcher::framed(message));
}

std::string unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      result += text[i];
      continue;
    }
    const char letter = text[++i];
    result += letter == 'e' ? '\x1b' : letter == 'r' ? '\r' : letter == 'n' ? '\n' : letter == 't' ? '\t' : letter;
  }
  return result;
}

void print_environment() {
  nlohmann::json facts;
  for (const std::string& entry : launcher::own_environment()) {
    facts["variables"][entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  }
  facts["cpus"] = launcher::usable_cpus();
  std::array<char, 256> secret;
  ssize_t total = 0;
  for (ssize_t count; (count = ::read(number_of("RONDO_SECRET_FD"), secret.data(), secret.size())) > 0;) total += count;
  facts["secret_bytes"] = total;
  facts["parent"] = ::getppid();
  facts["pid"] = ::getpid();
  facts["group"] = ::getpgrp();
  DIR* folder = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != ::dirfd(folder)) {
      facts["descriptors"].push_back(std::atoi(entry->d_name));
    }
  }
  ::closedir(folder);
  write_bytes(STDOUT_FILENO, facts.dump() + "\n");
}

void write_secret(const std::string& path) {
  const auto secret = comm::Secret::read_descriptor(number_of("RONDO_SECRET_FD"));
  if (!secret.ok()) std::_Exit(95);
  std::ofstream file(path + ".part", std::ios::binary);
  file.write(reinterpret_cast<const char*>(secret->bytes().data()), 32);
  file << std::getenv("RONDO_STORE");
  file.close();
  std::rename((path + ".part").c_str(), path.c_str());
}

void write_error_file(const std::string& text) {
  std::ofstream(std::getenv("TORCHELASTIC_ERROR_FILE")) << nlohmann::json{{"message", {{"message", text}}}};
}

void print_lines(int rank, int count) {
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      text += "line " + std::to_string(i) + " of rank " + std::to_string(rank) + " " +
              std::string(static_cast<size_t>((i * 7 + rank) % 90), 'x') + " end\n";
    }
    size_t piece = 1;
    for (size_t at = 0; at < text.size(); at += piece) {
      piece = (piece * 31 + 17 + static_cast<size_t>(rank)) % 997 + 1;
      write_bytes(fd, std::string_view(text).substr(at, piece));
    }
  }
}

void wait_for_verdict() {
  std::array<std::byte, comm::kControlFrameBytes> bytes;
  if (::recv(number_of("RONDO_CONTROL_FD"), bytes.data(), bytes.size(), MSG_WAITALL) !=
      static_cast<ssize_t>(bytes.size()))
    std::_Exit(98);
  const auto frame = comm::decode_control(bytes);
  if (!frame.ok() || frame->kind != comm::ControlKind::kVerdict) std::_Exit(97);
  if (static_cast<int>(frame->generation) != number_of("RONDO_GENERATION")) std::_Exit(92);  // a keeper drops it
  std::printf("verdict: rank %d pid %d exit %d signal %d\n", frame->rank, frame->pid, frame->exit_code,
              frame->signal_number);
  std::fflush(stdout);
}

/// Where the signals of on-signal are read: a handler may come late under the thread sanitizer.
int signal_descriptor = -1;
int signal_exit_code = 0;

void take_signals(int exit_code) {
  sigset_t before, taken;
  sigemptyset(&taken);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&taken, signal);
  ::pthread_sigmask(SIG_BLOCK, &taken, &before);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    if (sigismember(&before, signal) == 1) std::_Exit(96);  // the launcher made this rank deaf
  signal_descriptor = ::signalfd(-1, &taken, SFD_CLOEXEC);
  signal_exit_code = exit_code;
}

/// A function of its own, so that a backtrace can name it.
[[gnu::noinline]] void use_memory_that_is_not_ours() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  ::signal(SIGSEGV, SIG_DFL);  // a sanitizer would end the process its own way
#endif
  volatile int* nowhere = nullptr;
  nowhere = nowhere + number_of("RONDO_GENERATION");  // the compiler does not see that it is null
  *nowhere = 1;
}

[[noreturn]] void eat_memory() {
  constexpr size_t kPiece = 1 << 20;
  for (std::vector<std::vector<char>> eaten;;) eaten.emplace_back(kPiece, 'x');
}

void on_handled(int signal) {
  char line[] = "handled signal 00\n";
  line[15] = static_cast<char>('0' + signal / 10);
  line[16] = static_cast<char>('0' + signal % 10);
  write_bytes(STDOUT_FILENO, {line, sizeof line - 1});
}

[[noreturn]] void wait_for_ever() {
  pollfd signals{.fd = signal_descriptor, .events = POLLIN, .revents = 0};
  while (true) {
    if (::poll(&signals, 1, -1) != 1) continue;
    signalfd_siginfo info{};
    if (::read(signal_descriptor, &info, sizeof info) != sizeof info) continue;
    write_bytes(STDOUT_FILENO, "got signal " + std::to_string(info.ssi_signo) + "\n");
    std::_Exit(signal_exit_code);
  }
}

void act(const std::string& name, const std::string& value, int rank) {
  const int number = std::atoi(value.c_str());
  proto::WorkerMessage message;
  if (test::act_in_comm(name, number)) return;
  if (name == "env") return print_environment();
  if (name == "secret") return write_secret(value);
  if (name == "out") return write_bytes(STDOUT_FILENO, value + "\n");
  if (name == "err") return write_bytes(STDERR_FILENO, value + "\n");
  if (name == "raw") return write_bytes(STDOUT_FILENO, unescaped(value));
  if (name == "lines") return print_lines(rank, number);
  if (name == "sleep") return static_cast<void>(::poll(nullptr, 0, number));
  if (name == "late") return test::leave_a_late_rank(value);
  if (name == "until") {
    for (int tries = 0; ::access(value.c_str(), F_OK) != 0; ++tries) {
      if (tries == 2000) {
        std::fprintf(stderr, "launcher_worker: %s does not come\n", value.c_str());
        std::_Exit(93);
      }
      ::poll(nullptr, 0, 10);
    }
    return;
  }
  if (name == "wait") wait_for_ever();
  if (name == "exit") std::_Exit(number);
  if (name == "fail-until") {
    if (number_of("RONDO_GENERATION") < number) std::_Exit(37);
    return;
  }
  if (name == "error-file") return write_error_file(value);
  if (name == "abort") std::abort();
  if (name == "eat") return eat_memory();
  if (name == "limit-mib") {
    const rlimit limit{.rlim_cur = static_cast<rlim_t>(number) << 20, .rlim_max = RLIM_INFINITY};
    return static_cast<void>(::setrlimit(RLIMIT_DATA, &limit));
  }
  if (name == "crash") return use_memory_that_is_not_ours();
  if (name == "kill") ::raise(SIGKILL);
  if (name == "stop") return static_cast<void>(::kill(::getpid(), SIGSTOP));
  if (name == "ignore-term") {
    for (const int signal : {SIGTERM, SIGINT}) ::signal(signal, SIG_IGN);
    return;
  }
  if (name == "handle") return static_cast<void>(::signal(number, on_handled));
  if (name == "on-signal") return take_signals(number);
  if (name == "verdict") return wait_for_verdict();
  if (name == "child") {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);  // nobody else ends it, should the launcher be killed
      wait_for_ever();
    }
    return write_bytes(STDOUT_FILENO, "child " + std::to_string(child) + "\n");
  }
  if (name == "hello") {
    message.mutable_hello()->set_rank(rank);
  } else if (name == "say") {
    message.mutable_say()->set_line(value);
  } else if (name == "say-bytes") {
    message.mutable_say()->set_line(std::string(static_cast<size_t>(number), 'x'));
  } else if (name == "progress") {
    auto* progress = message.mutable_progress();
    progress->set_epoch(number);
    progress->set_epochs(3);
    progress->set_step(std::atoi(value.c_str() + value.find(',') + 1));
    progress->set_steps(100);
    progress->set_loss(0.25);
    progress->set_samples_per_second(1234);
  } else if (name == "blame") {
    auto* failure = message.mutable_failure();
    failure->set_culprit_rank(number < 0 ? rank : number);
    failure->set_code("kPeerLost");
    failure->set_text("all_reduce: rank " + std::to_string(number) + " is gone");
  } else if (name == "beat") {
    const auto bytes = comm::encode({.kind = comm::ControlKind::kBeat, .rank = rank});
    return write_bytes(number_of("RONDO_CONTROL_FD"), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } else {
    std::fprintf(stderr, "launcher_worker: unknown action '%s'\n", name.c_str());
    std::_Exit(96);
  }
  send(message);
}

}  // namespace

int main(int argc, char** argv) {
  const int rank = number_of("RANK");
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (const size_t colon = word.find(':'); colon != std::string::npos && word.find('=') > colon) {
      if (std::atoi(word.c_str()) != rank) continue;
      word = word.substr(colon + 1);
    }
    const size_t equals = std::min(word.find('='), word.size());
    act(word.substr(0, equals), equals < word.size() ? word.substr(equals + 1) : "", rank);
  }
  return 0;
}
