#include "trainer/checkpoint/durable_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

[[noreturn]] void fail(const std::string& doing, const std::filesystem::path& path) {
  throw Error("cannot " + doing + " " + path.string() + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

void write_durable(const std::filesystem::path& file, std::span<const std::byte> content) {
  const Descriptor descriptor(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (descriptor.number() < 0) fail("create", file);
  while (!content.empty()) {
    const ssize_t count = ::write(descriptor.number(), content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write", file);
    content = content.subspan(static_cast<size_t>(count));
  }
  if (::fsync(descriptor.number()) != 0) fail("synchronise", file);
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.number() < 0) fail("open", folder);
  if (::fsync(descriptor.number()) != 0) fail("synchronise", folder);
}

void replace_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;
  if (errno != ENOTEMPTY && errno != EEXIST) fail("rename " + from.string() + " to", to);
  if (::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) != 0) {
    fail("exchange " + from.string() + " with", to);
  }
  std::filesystem::remove_all(from);
}

void write_atomically(const std::filesystem::path& file, std::span<const std::byte> content) {
  std::filesystem::path temporary = file;
  temporary += ".tmp-" + std::to_string(::getpid());
  std::filesystem::remove(temporary);
  write_durable(temporary, content);
  if (::rename(temporary.c_str(), file.c_str()) != 0) fail("rename " + temporary.string() + " to", file);
  sync_folder(file.parent_path().empty() ? "." : file.parent_path());
}

}  // namespace rondo::trainer
