#include "rondo/comm/secret.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "comm/base/hex.h"
#include "rondo/comm/check.h"

namespace rondo::comm {
namespace {

constexpr auto kDescriptorTimeout = std::chrono::seconds(10);

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
  const int number_;
};

/// Bytes of a secret on their way through this process: wiped at the end.
template <size_t kBytes>
struct Wiped {
  std::array<std::byte, kBytes> bytes{};
  ~Wiped() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

Status error(Code code, std::string message) { return {code, std::move(message), {.operation = "reading the secret"}}; }

/// Reads until end of file or until `into` is full; the number of bytes read.
Result<size_t> read_until_end(int descriptor, std::span<std::byte> into, const std::string& what) {
  const Deadline deadline = after(kDescriptorTimeout);
  size_t have = 0;
  while (have < into.size()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left(Clock::now()));
    pollfd wanted{.fd = descriptor, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0)
      return error(Code::kTimeout, what + " gave " + std::to_string(have) +
                                       " bytes and no end of file in 10 s; its "
                                       "writer must write the secret and close its end");
    if (ready < 0) return error(Code::kIo, "cannot wait for " + what + ": " + std::strerror(errno));
    const ssize_t got = ::read(descriptor, into.data() + have, into.size() - have);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return error(Code::kIo, "cannot read " + what + ": " + std::strerror(errno));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  return have;
}

}  // namespace

Secret::~Secret() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

Secret Secret::draw(Env& env) {
  Secret secret;
  env.random(secret.bytes_);
  return secret;
}

Result<Secret> Secret::read_descriptor(int descriptor) {
  const std::string what = "descriptor " + std::to_string(descriptor) + " (RONDO_SECRET_FD)";
  if (descriptor < 0 || ::fcntl(descriptor, F_GETFD) < 0)
    return error(Code::kInvalidArgument, what + " is not open; start the program by `rondo run`, or unset it");
  const Descriptor owned(descriptor);
  Wiped<33> raw;  // one more than a secret has, to see what is too long
  const auto have = read_until_end(owned.number(), raw.bytes, what);
  RONDO_TRY(have);
  if (*have != std::tuple_size_v<Digest>)
    return error(Code::kInvalidArgument, what + " holds " + (*have > 32 ? "more than 32" : std::to_string(*have)) +
                                             " bytes, expected exactly 32; was it read before by another part of the "
                                             "program?");
  Secret secret;
  std::copy_n(raw.bytes.begin(), secret.bytes_.size(), secret.bytes_.begin());
  if (secret.empty()) return error(Code::kInvalidArgument, what + " holds zeros only, which is no secret");
  return secret;
}

Result<Secret> Secret::read_file(const std::string& path) {
  const std::string what = "secret file '" + path + "'";
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) {
    return error(errno == ENOENT ? Code::kInvalidArgument : Code::kIo,
                 "cannot open " + what + ": " + std::strerror(errno) +
                     "; it is named by --secret-file or RONDO_SECRET_FILE and holds 64 hexadecimal digits");
  }
  struct stat facts {};
  if (::fstat(file.number(), &facts) != 0)
    return error(Code::kIo, "cannot look at " + what + ": " + std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) return error(Code::kInvalidArgument, what + " is not a regular file");
  if ((facts.st_mode & 077) != 0)
    return error(Code::kInvalidArgument, what + " may be read by others; run: chmod 600 '" + path + "'");
  if (facts.st_uid != ::geteuid() && facts.st_uid != 0)
    return error(Code::kInvalidArgument,
                 what + " belongs to user " + std::to_string(facts.st_uid) + ", not to this one");
  Wiped<67> raw;  // 64 digits, a line end of one or two bytes, and one more
  const auto have = read_until_end(file.number(), raw.bytes, what);
  RONDO_TRY(have);
  std::string_view digits(reinterpret_cast<const char*>(raw.bytes.data()), *have);
  if (digits.ends_with('\n')) digits.remove_suffix(1);
  if (digits.ends_with('\r')) digits.remove_suffix(1);
  Secret secret;
  if (!from_hex(digits, secret.bytes_))
    return error(Code::kInvalidArgument, what +
                                             " does not hold exactly 64 hexadecimal digits; make one by: "
                                             "(umask 077; openssl rand -hex 32 > '" +
                                             path + "')");
  if (secret.empty()) return error(Code::kInvalidArgument, what + " holds zeros only, which is no secret");
  return secret;
}

bool Secret::empty() const {
  std::byte any{0};
  for (const std::byte b : bytes_) any |= b;
  return any == std::byte{0};
}

Digest hmac_sha256(const Secret& key, std::span<const std::span<const std::byte>> parts) {
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr), &EVP_MAC_free);
  RONDO_CHECK(mac != nullptr, "libcrypto offers HMAC");
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context(EVP_MAC_CTX_new(mac.get()),
                                                                          &EVP_MAC_CTX_free);
  RONDO_CHECK(context != nullptr, "libcrypto makes an HMAC context");
  char hash[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, hash, 0),
                                   OSSL_PARAM_construct_end()};
  const auto* key_bytes = reinterpret_cast<const unsigned char*>(key.bytes().data());
  bool good = EVP_MAC_init(context.get(), key_bytes, key.bytes().size(), parameters) == 1;
  for (const auto part : parts) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(part.data());
    good = good && (part.empty() || EVP_MAC_update(context.get(), bytes, part.size()) == 1);
  }
  Digest digest{};
  size_t written = 0;
  good = good &&
         EVP_MAC_final(context.get(), reinterpret_cast<unsigned char*>(digest.data()), &written, digest.size()) == 1;
  RONDO_CHECK(good && written == digest.size(), "libcrypto computes HMAC-SHA256");
  return digest;
}

bool equal_digests(const Digest& a, const Digest& b) { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

JobId JobId::draw(Env& env) {
  JobId job;
  env.random(job.bytes);
  return job;
}

Result<JobId> JobId::parse(const std::string& hex) {
  JobId job;
  if (!from_hex(hex, job.bytes))
    return Status(Code::kInvalidArgument, "'" + hex + "' is no job id: expected 32 hexadecimal digits");
  return job;
}

std::string JobId::hex() const { return to_hex(bytes); }

}  // namespace rondo::comm
