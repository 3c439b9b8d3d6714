#include "rondo/comm/schedule.h"

namespace rondo::comm {

std::string_view name(Order order) {
  switch (order) {
    case Order::kNone:
      return "none";
    case Order::kCanonical:
      return "canonical";
    case Order::kByChunk:
      return "by chunk";
    case Order::kLinear:
      return "linear";
    case Order::kFolded:
      return "folded";
    case Order::kByHost:
      return "by host";
  }
  return "unknown order";
}

std::string_view name(Wire wire) {
  switch (wire) {
    case Wire::kSame:
      return "same";
    case Wire::kNarrow:
      return "narrow";
  }
  return "unknown wire";
}

std::string_view name(Goal goal) {
  switch (goal) {
    case Goal::kAllReduce:
      return "all_reduce";
    case Goal::kReduceScatter:
      return "reduce_scatter";
    case Goal::kAllGather:
      return "all_gather";
    case Goal::kBroadcast:
      return "broadcast";
  }
  return "unknown goal";
}

std::string_view name(Space space) {
  switch (space) {
    case Space::kData:
      return "data";
    case Space::kScratch:
      return "scratch";
    case Space::kWire:
      return "wire";
    case Space::kResult:
      return "result";
  }
  return "unknown space";
}

std::string_view name(ActionKind kind) {
  switch (kind) {
    case ActionKind::kSend:
      return "send";
    case ActionKind::kReceive:
      return "receive";
    case ActionKind::kReduce:
      return "reduce";
    case ActionKind::kCopy:
      return "copy";
    case ActionKind::kScale:
      return "scale";
    case ActionKind::kSignal:
      return "signal";
    case ActionKind::kWait:
      return "wait";
  }
  return "unknown action";
}

}  // namespace rondo::comm
