#include "launcher/control/secret_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "launcher/base/descriptor.h"
#include "rondo/comm/env.h"
#include "rondo/comm/secret.h"

namespace rondo::launcher {
namespace {

/// 64 digits and a newline; wiped at the end.
struct Text {
  std::array<char, 65> digits{};
  ~Text() { ::explicit_bzero(digits.data(), digits.size()); }
};

void write_hex(const comm::Secret& secret, Text& text) {
  constexpr char kDigits[] = "0123456789abcdef";
  size_t at = 0;
  for (const std::byte byte : secret.bytes()) {
    text.digits[at++] = kDigits[std::to_integer<unsigned>(byte) >> 4];
    text.digits[at++] = kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  text.digits[at] = '\n';
}

comm::Status cannot_make(const std::string& path, int error) {
  const std::string what = "cannot make the secret file '" + path + "': ";
  if (error == EEXIST) {
    return {comm::Code::kInvalidArgument,
            what + "something of that name is there, and a secret in use must not be lost; name another file"};
  }
  if (error == ENOENT || error == ENOTDIR)
    return {comm::Code::kInvalidArgument, what + "its folder does not exist; make it by mkdir -p"};
  return {comm::Code::kIo, what + std::strerror(error)};
}

}  // namespace

comm::Status write_new_secret(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!file.open()) return cannot_make(path, errno);
  const auto env = comm::real_env();
  Text text;
  write_hex(comm::Secret::draw(*env), text);
  comm::Status written = ::fchmod(file.get(), S_IRUSR | S_IWUSR) == 0 ? comm::Status() : system_error("fchmod");
  if (written.ok()) written = write_all(file, {text.digits.data(), text.digits.size()});
  if (written.ok() && ::fsync(file.get()) != 0) written = system_error("fsync");
  if (written.ok()) return {};
  ::unlink(path.c_str());
  return {comm::Code::kIo, "cannot write the secret file '" + path + "': " + written.message() + "; is the disk full?"};
}

}  // namespace rondo::launcher
