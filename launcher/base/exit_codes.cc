#include "launcher/base/exit_codes.h"

namespace rondo::launcher {

std::string exit_code_table() {
  return "exit codes:\n"
         "  0     all ranks ended well\n"
         "  N     the code of the rank that failed first, or 128 + the signal that killed it\n"
         "  2     wrong usage or configuration; nothing was started\n"
         "  3     something is missing: data, rights, memory; or --check found an error\n"
         "  4     the hosts or ranks did not find each other in time\n"
         "  5     a rank did not answer in time, or its host is lost\n"
         "  6     data or a checkpoint is corrupt\n"
         "  7     the replicas diverged, or --verify found a difference\n"
         "  75    stopped from outside, with a checkpoint to go on from\n"
         "  128+S the launcher itself was stopped by signal S (130: Ctrl-C)\n";
}

int exit_code_of(const comm::Status& status) {
  if (status.ok()) return kExitOk;
  return status.code() == comm::Code::kInvalidArgument ? kExitUsage : kExitPreflight;
}

}  // namespace rondo::launcher
