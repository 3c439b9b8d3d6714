#include "comm/store/content.h"

#include <charconv>
#include <string_view>
#include <utility>

namespace rondo::comm {
namespace {

Status refuse(Code code, std::string message) { return {code, std::move(message), {.operation = "store request"}}; }

/// `what` is put together only for the refusal: a group of n ranks asks for n keys n times.
Status check_size(std::string_view what, const std::string& key, size_t bytes, size_t limit) {
  if (bytes <= limit) return {};
  return refuse(Code::kInvalidArgument, std::string(what) + "'" + key.substr(0, 64) + "' has " + std::to_string(bytes) +
                                            " bytes; the store takes at most " + std::to_string(limit));
}

}  // namespace

Status check_request(const StoreRequest& request) {
  using Kind = StoreRequest::Kind;
  const bool many = request.kind == Kind::kGet || request.kind == Kind::kCheck;
  if (request.keys.empty()) return refuse(Code::kInvalidArgument, "a store request names no key");
  if (!many && request.keys.size() != 1)
    return refuse(Code::kInvalidArgument,
                  "this store request takes one key, not " + std::to_string(request.keys.size()));
  if (request.keys.size() > kMaxKeysPerRequest)
    return refuse(Code::kInvalidArgument, "a store request names " + std::to_string(request.keys.size()) +
                                              " keys; at most " + std::to_string(kMaxKeysPerRequest) + " fit in one");
  for (const auto& key : request.keys) {
    if (key.empty()) return refuse(Code::kInvalidArgument, "a store request names an empty key");
    RONDO_TRY(check_size("key ", key, key.size(), kMaxKeyBytes));
  }
  const std::string& first = request.keys.front();
  RONDO_TRY(check_size("the value of key ", first, request.value.size(), kMaxValueBytes));
  return check_size("the expected value of key ", first, request.expected.size(), kMaxValueBytes);
}

Status StoreContent::put(const std::string& key, std::string value) {
  const auto found = values_.find(key);
  if (found != values_.end()) {
    found->second = std::move(value);
  } else if (values_.size() >= kMaxStoredKeys) {
    return refuse(Code::kResource, "no room for key '" + key + "': the store holds its limit of " +
                                       std::to_string(kMaxStoredKeys) + " keys (free 0, need 1)");
  } else {
    values_.emplace(key, std::move(value));
  }
  ++version_;
  return {};
}

Result<std::string> StoreContent::add(const std::string& key, int64_t amount) {
  int64_t number = 0;
  if (const auto found = values_.find(key); found != values_.end()) {
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size())
      return refuse(Code::kInvalidArgument, "cannot add to key '" + key + "': it holds no decimal number");
  }
  if (__builtin_add_overflow(number, amount, &number))
    return refuse(Code::kInvalidArgument, "cannot add to key '" + key + "': the sum leaves 64 bits");
  auto text = std::to_string(number);
  RONDO_TRY(put(key, text));
  return text;
}

Result<std::optional<std::vector<std::string>>> StoreContent::apply(const StoreRequest& request) {
  using Values = std::vector<std::string>;
  RONDO_TRY(check_request(request));
  const std::string& key = request.keys.front();
  switch (request.kind) {
    case StoreRequest::Kind::kSet:
      RONDO_TRY(put(key, request.value));
      return std::optional(Values{});
    case StoreRequest::Kind::kGet: {
      Values values;
      values.reserve(request.keys.size());
      for (const auto& wanted : request.keys) {
        const auto found = values_.find(wanted);
        if (found == values_.end()) return std::optional<Values>();
        values.push_back(found->second);
      }
      return std::optional(std::move(values));
    }
    case StoreRequest::Kind::kAdd: {
      auto number = add(key, request.amount);
      RONDO_TRY(number);
      return std::optional(Values{*std::move(number)});
    }
    case StoreRequest::Kind::kCompareAndSet: {
      const auto found = values_.find(key);
      const std::string held = found == values_.end() ? std::string() : found->second;
      if (held != request.expected) return std::optional(Values{held});
      RONDO_TRY(put(key, request.value));
      return std::optional(Values{request.value});
    }
    case StoreRequest::Kind::kCheck: {
      Values answers;
      answers.reserve(request.keys.size());
      for (const auto& wanted : request.keys) answers.emplace_back(values_.contains(wanted) ? "1" : "0");
      return std::optional(std::move(answers));
    }
  }
  return refuse(Code::kInvalidArgument, "unknown kind of store request");
}

}  // namespace rondo::comm
