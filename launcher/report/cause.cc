#include "launcher/report/cause.h"

#include <signal.h>

#include <array>
#include <string_view>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using std::string_view;

constexpr int kCannotExecute = 126, kNotFound = 127;  // of a shell, and of rondo-exec

/// What the rank said about its end, in its last lines or in its report.
bool said(const RankStory& rank, string_view words) {
  if (rank.evidence.report && rank.evidence.report->text.find(words) != std::string::npos) return true;
  for (const std::string& line : rank.last_lines)
    if (line.find(words) != std::string::npos) return true;
  return false;
}

int signal_of(const RankStory& rank) {
  const auto& evidence = rank.evidence;
  return evidence.ending && !evidence.hung ? evidence.ending->signal : 0;
}

int exit_code_of(const RankStory& rank) {
  const auto& evidence = rank.evidence;
  return evidence.ending && !evidence.hung && evidence.ending->signal == 0 ? evidence.ending->exit_code : 0;
}

std::string hang_text(const Silence& silence) {
  std::string text;
  if (silence.state == 'T' || silence.state == 't')
    text = "stopped (process state " + std::string(1, silence.state) + ": SIGSTOP or a debugger)";
  if (silence.state == 'D') text = "asleep in the kernel (process state D: a disk or a network file system)";
  if (silence.beat_before) {
    text += (text.empty() ? "" : "; ") + std::string("its keeper last beat ") +
            std::to_string(silence.beat_before->count()) + " ms before it was given up";
  }
  return text;
}

bool out_of_memory(const RankStory& rank) {
  if (signal_of(rank) == SIGKILL) return !rank.evidence.out_of_memory.empty();
  return rank.evidence.ending && !rank.evidence.hung && !rank.evidence.ending->good() &&
         (said(rank, "std::bad_alloc") || said(rank, "Cannot allocate memory"));
}

/// What a signal says by itself.
const char* meaning(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "it used memory that is not its own";
    case SIGBUS:
      return "it used mapped memory that has no page: a file that was cut, or a full /dev/shm";
    case SIGILL:
      return "it came to an instruction that this processor does not have";
    case SIGFPE:
      return "it divided an integer by zero, or the like";
    case SIGSYS:
      return "it made a system call that a filter forbids";
    case SIGXCPU:
      return "it used more processor time than it may (ulimit -t)";
    case SIGXFSZ:
      return "it wrote a file larger than it may (ulimit -f)";
    default:
      return "";
  }
}

struct SaidHint {
  const char *words, *hint;
};
/// What a line of its own tells, the first that fits.
constexpr std::array kSaidHints{
    SaidHint{
        "error while loading shared libraries",
        "a library is missing where it ran: `ldd PROGRAM` shows which; set LD_LIBRARY_PATH, or link with an rpath"},
    SaidHint{"symbol lookup error", "it found a library of another version than it was built with: `ldd PROGRAM`"},
    SaidHint{"GLIBC_", "it was built on a newer system than it runs on: build it here"},
    SaidHint{"Address already in use",
             "another process has that port: leave --master-port out, and the launcher takes a free one"},
    SaidHint{"CUDA driver version is insufficient", "the driver is older than the CUDA that LibTorch was built with"},
    SaidHint{"Torch not compiled with CUDA", "this LibTorch knows no CUDA: take the CUDA build, or train on the CPU"},
    SaidHint{"CUDA out of memory", "the GPU's memory is full: a smaller batch, or fewer ranks on a GPU"},
    SaidHint{"No CUDA GPUs are available", "no GPU is visible: `rondo doctor`; see CUDA_VISIBLE_DEVICES"},
    SaidHint{"Too many open files", "raise the limit of open files: ulimit -n 65536"},
    SaidHint{"No space left on device", "the disk is full, or /dev/shm is: df -h"},
    SaidHint{"Resource temporarily unavailable", "no thread is to be had: ulimit -u, or the pids cgroup"},
    SaidHint{"ModuleNotFoundError", "Python does not find a module: is it the interpreter that you mean?"},
};

}  // namespace

std::string how_it_failed(const RankStory& rank) {
  if (rank.evidence.hung) return "did not answer";
  return rank.evidence.ending ? rank.evidence.ending->describe() : "did not end";
}

std::string cause_of(const RankStory& rank) {
  const RankEvidence& evidence = rank.evidence;
  if (evidence.hung) return hang_text(evidence.silence.value_or(Silence{}));
  if (out_of_memory(rank)) {
    if (!evidence.out_of_memory.empty()) return "out of memory: " + evidence.out_of_memory;
    return "out of memory: an allocation was refused";
  }
  if (evidence.report) return printable(evidence.report->code + ": " + evidence.report->text);
  return meaning(signal_of(rank));
}

std::vector<std::string> evidence_of(const FailedRun& run) {
  const RankStory& first = run.first();
  const RankEvidence& evidence = first.evidence;
  std::vector<std::string> all;
  if (evidence.hung) {
    for (const RankStory& other : run.ranks) {
      if (other.rank == first.rank || !blames_for_silence(other.evidence, first.rank)) continue;
      all.push_back("rank " + std::to_string(other.rank) + " waited for it in vain" +
                    (other.evidence.report ? ": " + printable(other.evidence.report->text) : std::string()));
      break;  // the others say the same
    }
  } else if (evidence.ending) {
    const Ending& ending = *evidence.ending;
    if (!ending.lost) {
      all.push_back("the kernel: " + ending.describe() +
                    (ending.signal != 0 ? ", which the launcher did not send" : ", by itself"));
    }
  }
  if (!evidence.out_of_memory.empty()) all.push_back(evidence.out_of_memory);
  if (evidence.report)
    all.push_back((evidence.ending && evidence.ending->lost ? "the coordinator: " : "its own report: ") +
                  printable(evidence.report->code + ": " + evidence.report->text));
  for (const std::string& finding : run.findings) all.push_back("flight records: " + finding);
  return all;
}

std::optional<std::string> hint_for(const RankStory& rank) {
  if (rank.evidence.hung) {
    const char state = rank.evidence.silence ? rank.evidence.silence->state : '\0';
    if (state == 'T' || state == 't') return "kill -CONT continues a stopped process; was it stopped on purpose?";
    return "it is stuck or very slow outside collectives, or it called another one: `rondo explain` tells more";
  }
  if (out_of_memory(rank))
    return "fewer ranks on this host (--nproc-per-node), a smaller batch or model, or a higher limit of memory";
  for (const SaidHint& known : kSaidHints)
    if (said(rank, known.words)) return known.hint;
  switch (signal_of(rank)) {
    case SIGKILL:
      return "neither the launcher nor, as far as can be seen, the kernel for lack of memory killed it: somebody's "
             "kill -9, or a scheduler";
    case SIGILL:
      return "was it built for another processor (-march=native)?";
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGABRT:
      return "for a core dump: ulimit -c unlimited, then `coredumpctl gdb` or gdb PROGRAM core";
    default:
      break;
  }
  switch (exit_code_of(rank)) {
    case kNotFound:
      return "127: the program, its interpreter or a command in its script was not found";
    case kCannotExecute:
      return "126: it cannot be executed: chmod +x, and a first line such as #!/bin/sh in a script";
    case kExitRendezvous:
      return "the ranks did not find each other in time: `rondo doctor` looks at names, ports and interfaces";
    default:
      return std::nullopt;
  }
}

}  // namespace rondo::launcher
