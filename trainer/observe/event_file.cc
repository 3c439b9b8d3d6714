#include "trainer/observe/event_file.h"

#include <isa-l/crc.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <protozero/pbf_writer.hpp>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

constexpr std::chrono::seconds kFlushInterval{2};

// Field numbers of tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
constexpr protozero::pbf_tag_type kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;
constexpr protozero::pbf_tag_type kValue = 1, kTag = 1, kSimpleValue = 2;

uint32_t crc32c(const std::string& bytes) {
  // ISA-L reads only, although its prototype lacks the const.
  auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), ~0U);
}

/// TFRecord masks checksums, because a checksum of bytes that hold their own checksum is weak.
uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

template <typename T>
std::string little_endian(T value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data() : "host";
}

double milliseconds(int64_t microseconds) { return static_cast<double>(microseconds) / 1e3; }

}  // namespace

std::string tf_record(const std::string& content) {
  const std::string length = little_endian(static_cast<uint64_t>(content.size()));
  return length + little_endian(masked(crc32c(length))) + content + little_endian(masked(crc32c(content)));
}

EventFile::EventFile(const std::filesystem::path& folder)
    : path_(folder / ("events.out.tfevents." + std::to_string(static_cast<int64_t>(wall_time())) + "." + host_name() +
                      "." + std::to_string(::getpid()) + ".0")),
      file_(std::fopen(path_.c_str(), "wxe"), &std::fclose) {
  if (!file_) throw Error("cannot make " + path_.string() + ": " + std::strerror(errno));
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(kWallTime, wall_time());
  writer.add_string(kFileVersion, "brain.Event:2");
  write_event(event);
  flush();
}

void EventFile::write_event(const std::string& event) {
  const std::string record = tf_record(event);
  if (std::fwrite(record.data(), 1, record.size(), file_.get()) != record.size())
    throw Error("cannot write " + path_.string() + ": " + std::strerror(errno));
}

void EventFile::flush() {
  if (std::fflush(file_.get()) != 0) throw Error("cannot write " + path_.string() + ": " + std::strerror(errno));
  next_flush_ = std::chrono::steady_clock::now() + kFlushInterval;
}

void EventFile::write_scalars(int64_t step, const std::vector<Scalar>& scalars) {
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(kWallTime, wall_time());
  writer.add_int64(kStep, step);
  {
    protozero::pbf_writer summary(writer, kSummary);
    for (const Scalar& scalar : scalars) {
      protozero::pbf_writer value(summary, kValue);
      value.add_string(kTag, scalar.tag);
      value.add_float(kSimpleValue, static_cast<float>(scalar.value));
    }
  }
  write_event(event);
}

void EventFile::write(const StepMetrics& step) {
  std::vector<Scalar> scalars{
      {"train/loss", step.loss}, {"train/lr", step.lr}, {"train/samples_per_second", step.samples_per_second}};
  if (step.statistics) {
    const StepStatistics& statistics = *step.statistics;
    const Straggler straggler = statistics.straggler();
    scalars.insert(scalars.end(), {{"reduction/backward_ms", milliseconds(statistics.backward_end_us)},
                                   {"reduction/communication_ms", milliseconds(statistics.communication_us())},
                                   {"reduction/exposed_ms", milliseconds(statistics.exposed_us)},
                                   {"reduction/overlap", statistics.overlap()},
                                   {"stragglers/rank", static_cast<double>(straggler.rank)},
                                   {"stragglers/behind_ms", milliseconds(straggler.behind_us)}});
    for (size_t bucket = 0; bucket < statistics.buckets.size(); ++bucket) {
      const BucketTimes& times = statistics.buckets[bucket];
      const std::string name = "/bucket " + std::to_string(bucket);
      scalars.push_back({"buckets/bytes" + name, static_cast<double>(times.byte_count)});
      scalars.push_back({"buckets/ready_ms" + name, milliseconds(times.ready_us)});
    }
    const std::vector<int> order = statistics.ready_order();
    for (size_t place = 0; place < order.size(); ++place) {
      scalars.push_back({"buckets/ready_place/bucket " + std::to_string(order[place]), static_cast<double>(place)});
    }
    for (size_t rank = 0; rank < statistics.ranks.size(); ++rank) {
      scalars.push_back(
          {"stragglers/ready_ms/rank " + std::to_string(rank), milliseconds(statistics.ranks[rank].last_gradient_us)});
    }
  }
  write_scalars(step.step, scalars);
  if (std::chrono::steady_clock::now() >= next_flush_) flush();
}

void EventFile::write(const EpochMetrics& epoch) {
  std::vector<Scalar> scalars{{"epoch/loss", epoch.loss}, {"epoch/samples_per_second", epoch.samples_per_second}};
  if (epoch.test_samples > 0) {
    scalars.push_back(
        {"epoch/test_accuracy", static_cast<double>(epoch.test_correct) / static_cast<double>(epoch.test_samples)});
  }
  write_scalars(epoch.step, scalars);
  flush();
}

}  // namespace rondo::trainer
