#include "trainer/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

using Json = nlohmann::json;
constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 16U << 20;

constexpr std::array<std::pair<const char*, int64_t>, 10> kTypes{{{"F64", 8},
                                                                  {"I64", 8},
                                                                  {"F32", 4},
                                                                  {"I32", 4},
                                                                  {"F16", 2},
                                                                  {"BF16", 2},
                                                                  {"I16", 2},
                                                                  {"I8", 1},
                                                                  {"U8", 1},
                                                                  {"BOOL", 1}}};

/// Reads one header; every complaint names the file.
class HeaderReader {
 public:
  HeaderReader(std::string file, std::string_view header, uint64_t data_bytes)
      : file_(std::move(file)), header_(header), data_bytes_(data_bytes) {}

  [[noreturn]] void corrupt(const std::string& what) const {
    throw Error(file_ + ": not a valid safetensors file: " + what, ExitCode::kCorrupt);
  }

  /// JSON without duplicate keys and without deep nesting: nlohmann keeps the last of equal keys in silence.
  Json parse() const {
    std::vector<std::set<std::string>> keys;
    const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
      constexpr int kMaxDepth = 4;
      if (depth > kMaxDepth) corrupt("the header is nested deeper than " + std::to_string(kMaxDepth) + " levels");
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end) keys.pop_back();
      if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
        corrupt("the name \"" + parsed.get<std::string>() + "\" stands twice in the header");
      }
      return true;
    };
    try {
      return Json::parse(header_.begin(), header_.end(), watch);
    } catch (const Json::exception& error) {
      corrupt(std::string("the header is no JSON: ") + error.what());
    }
  }

  struct Entry {
    TensorRecord record;
    uint64_t begin = 0, end = 0;
  };

  Entry entry(const std::string& name, const Json& fields) const {
    const std::string where = "tensor \"" + name + "\": ";
    if (!fields.is_object() || fields.size() != 3 || !fields.contains("dtype") || !fields.contains("shape") ||
        !fields.contains("data_offsets")) {
      corrupt(where + "expected exactly dtype, shape and data_offsets, found " +
              fields.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    Entry entry;
    entry.record.name = name;
    if (!fields["dtype"].is_string()) corrupt(where + "dtype: expected a text");
    entry.record.dtype = fields["dtype"].get<std::string>();
    const int64_t width = safetensors_width(entry.record.dtype);
    if (width == 0) corrupt(where + "unknown dtype \"" + entry.record.dtype + "\"");
    const std::vector<uint64_t> offsets = naturals(where + "data_offsets", fields["data_offsets"]);
    if (offsets.size() != 2)
      corrupt(where + "data_offsets: expected 2 numbers, found " + std::to_string(offsets.size()));
    entry.begin = offsets[0];
    entry.end = offsets[1];
    if (entry.begin > entry.end || entry.end > data_bytes_) {
      corrupt(where + "data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) +
              "]: expected an ascending range within " + std::to_string(data_bytes_) + " bytes of data");
    }
    uint64_t byte_count = static_cast<uint64_t>(width);
    for (const uint64_t extent : naturals(where + "shape", fields["shape"])) {
      if (__builtin_mul_overflow(byte_count, extent, &byte_count) || extent > static_cast<uint64_t>(INT64_MAX)) {
        corrupt(where + "shape: the number of bytes overflows");
      }
      entry.record.shape.push_back(static_cast<int64_t>(extent));
    }
    if (byte_count != entry.end - entry.begin) {
      corrupt(where + "shape and dtype need " + std::to_string(byte_count) + " bytes, data_offsets hold " +
              std::to_string(entry.end - entry.begin));
    }
    return entry;
  }

 private:
  std::vector<uint64_t> naturals(const std::string& what, const Json& list) const {
    if (!list.is_array()) corrupt(what + ": expected a list of natural numbers");
    std::vector<uint64_t> numbers;
    for (const Json& item : list) {
      if (!item.is_number_unsigned())
        corrupt(what + ": expected natural numbers, found " +
                item.dump(-1, ' ', false, Json::error_handler_t::replace));
      numbers.push_back(item.get<uint64_t>());
    }
    return numbers;
  }

  const std::string file_;
  const std::string_view header_;
  const uint64_t data_bytes_;
};

/// The length that stands at the `beginning` of a file of `byte_count` bytes.
uint64_t header_length(const std::string& name, std::span<const std::byte> beginning, uint64_t byte_count) {
  const HeaderReader reader(name, "", 0);
  if (byte_count < kLengthBytes) reader.corrupt("expected at least 8 bytes, found " + std::to_string(byte_count));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, beginning.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes)
    reader.corrupt("header length: expected at most 16 MiB, found " + std::to_string(header_bytes));
  if (header_bytes > byte_count - kLengthBytes) {
    reader.corrupt("header length: expected at most " + std::to_string(byte_count - kLengthBytes) + ", found " +
                   std::to_string(header_bytes));
  }
  return header_bytes;
}

struct Layout {
  std::vector<HeaderReader::Entry> entries;  // in the order of the data, without gaps
  std::map<std::string, std::string> metadata;
};

Layout parse_header(const std::string& name, std::string_view text, uint64_t data_bytes) {
  const HeaderReader reader(name, text, data_bytes);
  const Json header = reader.parse();
  if (!header.is_object()) reader.corrupt("the header is no JSON object");
  Layout layout;
  for (const auto& [key, fields] : header.items()) {
    if (key == "__metadata__") {
      if (!fields.is_object()) reader.corrupt("__metadata__: expected texts by name");
      for (const auto& [metadata_key, value] : fields.items()) {
        if (!value.is_string()) reader.corrupt("__metadata__: expected a text under \"" + metadata_key + "\"");
        layout.metadata[metadata_key] = value.get<std::string>();
      }
    } else {
      layout.entries.push_back(reader.entry(key, fields));
    }
  }
  std::ranges::sort(layout.entries, {},
                    [](const HeaderReader::Entry& entry) { return std::pair(entry.begin, entry.end); });
  uint64_t expected = 0;
  for (const HeaderReader::Entry& entry : layout.entries) {
    if (entry.begin != expected) {
      reader.corrupt("tensor \"" + entry.record.name + "\" begins at byte " + std::to_string(entry.begin) +
                     ", expected " + std::to_string(expected) + ": tensors " +
                     (entry.begin < expected ? "overlap" : "leave a hole"));
    }
    expected = entry.end;
  }
  if (expected != data_bytes)
    reader.corrupt("expected " + std::to_string(expected) + " bytes of data, found " + std::to_string(data_bytes));
  return layout;
}

}  // namespace

int64_t safetensors_width(const std::string& dtype) {
  const auto* const found = std::ranges::find(kTypes, dtype, [](const auto& type) { return std::string(type.first); });
  return found == kTypes.end() ? 0 : found->second;
}

std::vector<std::byte> encode_safetensors(std::vector<TensorRecord> tensors,
                                          const std::map<std::string, std::string>& metadata) {
  std::ranges::stable_sort(tensors, std::greater<>(),
                           [](const TensorRecord& tensor) { return safetensors_width(tensor.dtype); });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const TensorRecord& tensor : tensors) {
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');

  std::vector<std::byte> content(kLengthBytes + text.size() + offset);
  const uint64_t header_bytes = text.size();
  std::memcpy(content.data(), &header_bytes, kLengthBytes);
  std::memcpy(content.data() + kLengthBytes, text.data(), text.size());
  std::byte* out = content.data() + kLengthBytes + text.size();
  for (const TensorRecord& tensor : tensors) out = std::ranges::copy(tensor.bytes, out).out;
  return content;
}

SafetensorsFile SafetensorsFile::read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::error_code error;
  const auto byte_count = std::filesystem::file_size(file, error);
  if (!stream || error) throw Error("cannot open " + file.string(), ExitCode::kCorrupt);
  std::vector<std::byte> content(byte_count);
  stream.read(reinterpret_cast<char*>(content.data()), static_cast<std::streamsize>(byte_count));
  if (!stream) throw Error("cannot read " + file.string(), ExitCode::kCorrupt);
  return parse(std::move(content), file.string());
}

SafetensorsFile SafetensorsFile::parse(std::vector<std::byte> content, const std::string& name) {
  const uint64_t header_bytes = header_length(name, content, content.size());
  const std::byte* const data = content.data() + kLengthBytes + header_bytes;
  const std::string_view header(reinterpret_cast<const char*>(content.data()) + kLengthBytes, header_bytes);
  Layout layout = parse_header(name, header, content.size() - kLengthBytes - header_bytes);

  SafetensorsFile file;
  file.metadata_ = std::move(layout.metadata);
  for (HeaderReader::Entry& entry : layout.entries) {
    entry.record.bytes = {data + entry.begin, data + entry.end};
    file.tensors_.push_back(std::move(entry.record));
  }
  file.content_ = std::move(content);  // moving keeps the addresses that the tensors point to
  return file;
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::error_code error;
  const uint64_t byte_count = std::filesystem::file_size(file, error);
  if (!stream || error) throw Error("cannot open " + file.string(), ExitCode::kCorrupt);
  std::vector<std::byte> length(std::min<uint64_t>(byte_count, kLengthBytes));
  stream.read(reinterpret_cast<char*>(length.data()), static_cast<std::streamsize>(length.size()));
  std::string text(header_length(file.string(), length, byte_count), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream) throw Error("cannot read " + file.string(), ExitCode::kCorrupt);
  Layout layout = parse_header(file.string(), text, byte_count - kLengthBytes - text.size());
  SafetensorsHeader header{.tensors = {}, .metadata = std::move(layout.metadata)};
  for (HeaderReader::Entry& entry : layout.entries) header.tensors.push_back(std::move(entry.record));
  return header;
}

const TensorRecord* SafetensorsFile::find(const std::string& name) const {
  const auto found = std::ranges::find(tensors_, name, &TensorRecord::name);
  return found == tensors_.end() ? nullptr : &*found;
}

}  // namespace rondo::trainer
