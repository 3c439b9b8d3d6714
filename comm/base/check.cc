#include "rondo/comm/check.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace rondo::comm {

void check_failed(const char* condition, const char* sentence, const char* file, int line) {
  const std::string text = std::string("rondo: a promise of Rondo itself is broken: ") + sentence + " [" + condition +
                           ", " + file + ":" + std::to_string(line) + "]. Please report it.\n";
  // The process ends here: what a failed write would say cannot be said.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  std::abort();
}

}  // namespace rondo::comm
