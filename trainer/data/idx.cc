#include "trainer/data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

constexpr int64_t kMaxBytes = int64_t{2} << 30;
constexpr uint8_t kUnsignedByte = 0x08;

[[noreturn]] void corrupt(const std::filesystem::path& file, const std::string& what) {
  throw Error(
      file.string() + ": " + what + ". The file is damaged, incomplete or another one; fetch or install it again.",
      ExitCode::kCorrupt);
}

std::string hex(uint32_t value) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0x%08x", value);
  return text.data();
}

/// A file as a stream of bytes, inflated on the way when it is gzip.
class ByteStream {
 public:
  explicit ByteStream(const std::filesystem::path& path)
      : path_(path), file_(std::fopen(path.c_str(), "rb"), &std::fclose) {
    if (!file_) {
      throw Error("cannot open " + path.string() + ": " + std::strerror(errno), ExitCode::kPreflight);
    }
    refill();
    gzip_ = available_ >= 2 && input_[0] == 0x1f && input_[1] == 0x8b;
    constexpr int kGzipOnly = 15 + 16;
    if (gzip_ && inflateInit2(&inflater_, kGzipOnly) != Z_OK) throw Error(path.string() + ": zlib cannot start");
  }
  ~ByteStream() {
    if (gzip_) inflateEnd(&inflater_);
  }
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  /// Fills `output`; returns how many bytes there were.
  size_t read(uint8_t* output, size_t byte_count) {
    return gzip_ ? inflate_into(output, byte_count) : copy(output, byte_count);
  }

  /// Whether something follows: more content, or bytes behind the gzip stream.
  bool at_end() {
    uint8_t one = 0;
    if (read(&one, 1) == 1) return false;
    if (available_ == 0) refill();
    return available_ == 0;
  }

 private:
  void refill() {
    position_ = 0;
    available_ = std::fread(input_.data(), 1, input_.size(), file_.get());
    if (available_ == 0 && std::ferror(file_.get()))
      corrupt(path_, std::string("cannot be read: ") + std::strerror(errno));
  }

  size_t copy(uint8_t* output, size_t byte_count) {
    size_t done = 0;
    while (done < byte_count) {
      if (available_ == 0) refill();
      if (available_ == 0) break;
      const size_t part = std::min(available_, byte_count - done);
      std::memcpy(output + done, input_.data() + position_, part);
      position_ += part;
      available_ -= part;
      done += part;
    }
    return done;
  }

  size_t inflate_into(uint8_t* output, size_t byte_count) {
    size_t done = 0;
    while (done < byte_count && !ended_) {
      if (available_ == 0) refill();
      if (available_ == 0)
        corrupt(path_,
                "gzip: the stream ends too early, after " + std::to_string(inflated_ + done) + " bytes of content");
      inflater_.next_in = input_.data() + position_;
      inflater_.avail_in = static_cast<uInt>(available_);
      inflater_.next_out = output + done;
      inflater_.avail_out = static_cast<uInt>(std::min<size_t>(byte_count - done, 1U << 30));
      const size_t offered = inflater_.avail_out;
      const int outcome = inflate(&inflater_, Z_NO_FLUSH);
      position_ += available_ - inflater_.avail_in;
      available_ = inflater_.avail_in;
      done += offered - inflater_.avail_out;
      if (outcome == Z_STREAM_END) {
        ended_ = true;
      } else if (outcome != Z_OK && outcome != Z_BUF_ERROR) {
        corrupt(path_, std::string("gzip: ") + (inflater_.msg != nullptr ? inflater_.msg : "the stream is damaged"));
      }
    }
    inflated_ += done;
    return done;
  }

  const std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::array<uint8_t, 64 * 1024> input_{};
  size_t position_ = 0, available_ = 0, inflated_ = 0;
  z_stream inflater_{};
  bool gzip_ = false, ended_ = false;
};

uint32_t read_big_endian(ByteStream& stream, const std::filesystem::path& file, const std::string& what) {
  std::array<uint8_t, 4> bytes{};
  if (const size_t found = stream.read(bytes.data(), bytes.size()); found != bytes.size()) {
    corrupt(file, "the header ends inside " + what + ": expected 4 bytes, found " + std::to_string(found));
  }
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

}  // namespace

IdxArray read_idx(const std::filesystem::path& file, int dimension_count) {
  ByteStream stream(file);
  const uint32_t expected_magic = uint32_t{kUnsignedByte} << 8 | static_cast<uint32_t>(dimension_count);
  if (const uint32_t magic = read_big_endian(stream, file, "the magic number"); magic != expected_magic) {
    corrupt(file, "magic number: expected " + hex(expected_magic) + " (unsigned bytes, " +
                      std::to_string(dimension_count) + " dimensions), found " + hex(magic));
  }
  IdxArray array;
  int64_t byte_count = 1;
  for (int i = 0; i < dimension_count; ++i) {
    const auto extent = static_cast<int64_t>(read_big_endian(stream, file, "dimension " + std::to_string(i)));
    if (extent == 0) corrupt(file, "dimension " + std::to_string(i) + ": expected at least 1, found 0");
    if (extent > kMaxBytes / byte_count) {
      corrupt(file, "dimensions: expected at most 2 GiB in all, found dimension " + std::to_string(i) + " = " +
                        std::to_string(extent));
    }
    byte_count *= extent;
    array.dimensions.push_back(extent);
  }
  // In parts, so that a lying header costs no more memory than the file holds content.
  constexpr int64_t kPart = 16 << 20;
  while (static_cast<int64_t>(array.values.size()) < byte_count) {
    const size_t before = array.values.size();
    const auto part = static_cast<size_t>(std::min(kPart, byte_count - static_cast<int64_t>(before)));
    array.values.resize(before + part);
    if (const size_t found = stream.read(array.values.data() + before, part); found != part) {
      corrupt(file, "length: expected " + std::to_string(byte_count) + " bytes of content, found " +
                        std::to_string(before + found));
    }
  }
  if (!stream.at_end())
    corrupt(file, "length: expected " + std::to_string(byte_count) + " bytes of content, found more behind them");
  return array;
}

}  // namespace rondo::trainer
