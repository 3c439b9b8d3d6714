#include <algorithm>
#include <charconv>

#include "rondo/comm/store.h"

namespace rondo::comm {
namespace {

// Without a handle only time helps; with one, the reply may also have been read by another caller of the same store.
constexpr Duration kNap = std::chrono::milliseconds(1);
constexpr Duration kNapWithHandle = std::chrono::milliseconds(5);
// How long a wait that timed out may take to find out which keys are missing.
constexpr Duration kDiagnosis = std::chrono::milliseconds(200);

/// Ok when done; kPending when `deadline` passed.
Status drive(StoreCall& call, Env& env, Deadline deadline) {
  while (true) {
    const TimePoint now = env.now();
    switch (call.advance(now)) {
      case Progress::kDone:
        return {};
      case Progress::kFailed:
        return call.status();
      case Progress::kProgressed:
        continue;
      case Progress::kBlocked:
        break;
    }
    if (deadline.passed(now)) return Status::pending();
    const auto handles = call.wait_handles();
    env.idle(handles, std::min(deadline.left(now), handles.empty() ? kNap : kNapWithHandle));
  }
}

Status timed_out(const std::string& what) { return {Code::kTimeout, what, {.operation = "store request"}}; }

/// "key 'a', key 'b' and 3 more": those of `keys` that are not there, as far as the store says in time.
std::string missing_keys(Store& store, Env& env, const std::vector<std::string>& keys) {
  StoreRequest check;
  check.kind = StoreRequest::Kind::kCheck;
  check.keys = keys;
  const auto call = store.start(std::move(check));
  std::vector<std::string> missing;
  if (drive(*call, env, {env.now() + kDiagnosis}).ok() && call->values().size() == keys.size()) {
    for (size_t i = 0; i < keys.size(); ++i)
      if (call->values()[i] == "0") missing.push_back(keys[i]);
  } else {
    missing = keys;  // the store itself does not answer
  }
  constexpr size_t kMostNamed = 16;
  std::string text;
  for (size_t i = 0; i < std::min(missing.size(), kMostNamed); ++i) text += (i ? ", '" : "'") + missing[i] + "'";
  if (missing.size() > kMostNamed) text += " and " + std::to_string(missing.size() - kMostNamed) + " more";
  return text;
}

}  // namespace

Status store_set(Store& store, Env& env, const std::string& key, std::string value, Deadline deadline) {
  StoreRequest request;
  request.kind = StoreRequest::Kind::kSet;
  request.keys = {key};
  request.value = std::move(value);
  const Status status = drive(*store.start(std::move(request)), env, deadline);
  return status.is_pending() ? timed_out("the store did not confirm key '" + key + "' in time") : status;
}

Result<std::vector<std::string>> store_get(Store& store, Env& env, const std::vector<std::string>& keys,
                                           Deadline deadline) {
  StoreRequest request;
  request.kind = StoreRequest::Kind::kGet;
  request.keys = keys;
  const auto call = store.start(std::move(request));
  const Status status = drive(*call, env, deadline);
  if (status.is_pending())
    return timed_out("nobody put " + missing_keys(store, env, keys) +
                     " into the store in time; the ranks that should have are late or did not start");
  RONDO_TRY(status);
  return call->values();
}

Result<int64_t> store_add(Store& store, Env& env, const std::string& key, int64_t amount, Deadline deadline) {
  StoreRequest request;
  request.kind = StoreRequest::Kind::kAdd;
  request.keys = {key};
  request.amount = amount;
  const auto call = store.start(std::move(request));
  const Status status = drive(*call, env, deadline);
  if (status.is_pending()) return timed_out("the store did not confirm key '" + key + "' in time");
  RONDO_TRY(status);
  int64_t number = 0;
  const std::string text = call->values().empty() ? "" : call->values().front();
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc{})
    return Status(Code::kCorrupt, "the store answered an addition to key '" + key + "' with no number",
                  {.operation = "store request"});
  return number;
}

}  // namespace rondo::comm
