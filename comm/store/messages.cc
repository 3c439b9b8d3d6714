#include "comm/store/messages.h"

#include <algorithm>
#include <concepts>
#include <optional>
#include <utility>

#include "comm/base/little_endian.h"

namespace rondo::comm {
namespace {

constexpr uint8_t kForget = 0xFF;
constexpr size_t kReplyHeadBytes = 8;

template <std::unsigned_integral T>
void append(std::vector<std::byte>& bytes, T value) {
  bytes.resize(bytes.size() + sizeof(T));
  put_le(bytes.data() + bytes.size() - sizeof(T), value);
}
void append(std::vector<std::byte>& bytes, const std::string& text) {
  const auto raw = std::as_bytes(std::span(text));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

/// Takes fields from the front; after the first that is not there, everything is empty and `good` is false.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <std::unsigned_integral T>
  T number() {
    const auto field = take(sizeof(T));
    return field.empty() ? T{0} : get_le<T>(field.data());
  }
  std::string text(size_t length, size_t most) {
    if (length > most) good_ = false;
    const auto field = take(length);
    return {reinterpret_cast<const char*>(field.data()), field.size()};
  }
  size_t left() const { return rest_.size(); }
  bool good() const { return good_; }
  bool finished() const { return good_ && rest_.empty(); }

 private:
  std::span<const std::byte> take(size_t length) {
    if (length > rest_.size()) good_ = false;
    if (!good_) return {};
    const auto field = rest_.first(length);
    rest_ = rest_.subspan(length);
    return field;
  }
  std::span<const std::byte> rest_;
  bool good_ = true;
};

Status corrupt(const char* what) {
  return {Code::kCorrupt, std::string("a store ") + what + " breaks its format or a limit"};
}

}  // namespace

std::vector<std::byte> encode(const StoreMessage& message) {
  const StoreRequest& request = message.request;
  std::vector<std::byte> bytes;
  append(bytes, message.forget ? uint32_t{kForget} : static_cast<uint32_t>(request.kind));
  append(bytes, static_cast<uint32_t>(request.keys.size()));
  append(bytes, static_cast<uint64_t>(request.amount));
  append(bytes, static_cast<uint32_t>(request.value.size()));
  append(bytes, static_cast<uint32_t>(request.expected.size()));
  for (const auto& key : request.keys) {
    append(bytes, static_cast<uint16_t>(key.size()));
    append(bytes, key);
  }
  append(bytes, request.value);
  append(bytes, request.expected);
  return bytes;
}

Result<StoreMessage> decode_store_message(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  const auto kind = reader.number<uint32_t>();
  const auto key_count = reader.number<uint32_t>();
  StoreMessage message;
  message.request.amount = static_cast<int64_t>(reader.number<uint64_t>());
  const auto value_bytes = reader.number<uint32_t>();
  const auto expected_bytes = reader.number<uint32_t>();
  message.forget = kind == kForget;
  if (!reader.good() || (!message.forget && kind > static_cast<uint32_t>(StoreRequest::Kind::kCheck)) ||
      key_count > kMaxKeysPerRequest || key_count > reader.left())
    return corrupt("request");
  if (!message.forget) message.request.kind = static_cast<StoreRequest::Kind>(kind);
  message.request.keys.reserve(key_count);
  for (uint32_t i = 0; i < key_count && reader.good(); ++i) {
    const auto key_bytes = reader.number<uint16_t>();
    message.request.keys.push_back(reader.text(key_bytes, kMaxKeyBytes));
  }
  message.request.value = reader.text(value_bytes, kMaxValueBytes);
  message.request.expected = reader.text(expected_bytes, kMaxValueBytes);
  if (!reader.finished()) return corrupt("request");
  return message;
}

std::vector<std::byte> encode(const StoreReply& reply) {
  const std::vector<std::string> error{reply.status.message()};
  const auto& values = reply.status.ok() ? reply.values : error;
  size_t total = kReplyHeadBytes;
  for (const auto& value : values) total += sizeof(uint32_t) + value.size();
  if (total > kMaxStoreFrameBytes)
    return encode(
        StoreReply{{Code::kResource, "the values of these keys have " + std::to_string(total) +
                                         " bytes together; one reply holds " + std::to_string(kMaxStoreFrameBytes) +
                                         ": ask for fewer keys at once"},
                   {}});
  std::vector<std::byte> bytes;
  bytes.reserve(total);
  append(bytes, static_cast<uint32_t>(reply.status.code()));
  append(bytes, static_cast<uint32_t>(values.size()));
  for (const auto& value : values) {
    append(bytes, static_cast<uint32_t>(value.size()));
    append(bytes, value);
  }
  return bytes;
}

Result<StoreReply> decode_store_reply(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  const auto code = reader.number<uint32_t>();
  const auto count = reader.number<uint32_t>();
  if (!reader.good() || code > static_cast<uint32_t>(Code::kIo) || count > reader.left() / sizeof(uint32_t) ||
      (code != 0 && count != 1))
    return corrupt("reply");
  StoreReply reply;
  reply.values.reserve(count);
  for (uint32_t i = 0; i < count && reader.good(); ++i) {
    const auto value_bytes = reader.number<uint32_t>();
    reply.values.push_back(reader.text(value_bytes, kMaxValueBytes));
  }
  if (!reader.finished()) return corrupt("reply");
  if (code != 0) {
    reply.status = Status(static_cast<Code>(code), reply.values.front(), {.operation = "store request"});
    reply.values.clear();
  }
  return reply;
}

}  // namespace rondo::comm
