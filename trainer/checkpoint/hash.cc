#include "trainer/checkpoint/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

std::string to_hex(std::span<const unsigned char> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
      throw Error("OpenSSL has no SHA-256");
  }
  void add(const void* data, size_t byte_count) { EVP_DigestUpdate(context_.get(), data, byte_count); }
  std::string hex() {
    std::array<unsigned char, 32> digest{};
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    return to_hex(digest);
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

std::string sha256_of_bytes(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hex();
}

std::string sha256_of_file(const std::filesystem::path& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "rb"), &std::fclose);
  if (!stream) throw Error("cannot open " + file.string() + ": " + std::strerror(errno), ExitCode::kCorrupt);
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), stream.get())) hash.add(buffer.data(), count);
  if (std::ferror(stream.get()) != 0)
    throw Error("cannot read " + file.string() + ": " + std::strerror(errno), ExitCode::kCorrupt);
  return hash.hex();
}

struct FastHash::State {
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> xxh{XXH3_createState(), &XXH3_freeState};
};

FastHash::FastHash() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh.get()); }
FastHash::~FastHash() = default;
void FastHash::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh.get(), bytes.data(), bytes.size());
}

std::string FastHash::hex() const {
  XXH128_canonical_t canonical{};
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->xxh.get()));
  return to_hex(canonical.digest);
}

}  // namespace rondo::trainer
