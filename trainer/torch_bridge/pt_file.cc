#include "trainer/torch_bridge/pt_file.h"

#include <ATen/ops/empty.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "rondo/error.h"
#include "trainer/torch_bridge/pickle.h"

namespace rondo::trainer {
namespace {

constexpr std::string_view kByteOrder = "little";

/// A storage is written whole, so a view of a larger one (of a bucket, say) gets its own.
at::Tensor alone(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().cpu().contiguous();
  return flat.storage().nbytes() == flat.nbytes() ? flat : flat.clone();
}

/// The first line: LibTorch's errors bring a stack trace.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// What a dict holds: "epoch, model, optimizer", and how many more.
std::string keys_text(const PickleNode& dict) {
  constexpr size_t kMost = 8;
  std::string text;
  for (size_t i = 0; i < dict.entries.size(); ++i) {
    if (i == kMost) return text + ", ... (" + std::to_string(dict.entries.size()) + " keys)";
    const PickleNode& key = *dict.entries[i].first;
    text += (i == 0 ? "" : ", ") + (key.kind == PickleNode::Kind::kText ? key.text : std::to_string(key.integer));
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace

std::vector<std::byte> encode_pt(const NamedTensors& tensors) {
  c10::impl::GenericDict dict(c10::StringType::get(), c10::TensorType::get());
  std::unordered_map<const void*, at::Tensor> written;
  for (const auto& [name, tensor] : tensors) {
    at::Tensor& own = written[tensor.unsafeGetTensorImpl()];
    if (!own.defined()) own = alone(tensor);
    dict.insert(name, own);
  }
  std::vector<char> pickled;
  const auto keep = [&pickled](const char* data, size_t count) { pickled.insert(pickled.end(), data, data + count); };
  torch::jit::Pickler pickler(keep, nullptr, nullptr, nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(dict);
  pickler.stop();

  std::vector<std::byte> content;
  caffe2::serialize::PyTorchStreamWriter zip(
      std::function<size_t(const void*, size_t)>([&content](const void* data, size_t count) {
        const auto* const bytes = static_cast<const std::byte*>(data);
        content.insert(content.end(), bytes, bytes + count);
        return count;
      }));
  zip.writeRecord("data.pkl", pickled.data(), pickled.size());
  zip.writeRecord("byteorder", kByteOrder.data(), kByteOrder.size());
  size_t index = 0;
  for (const at::Tensor& tensor : pickler.tensorData())
    zip.writeRecord("data/" + std::to_string(index++), tensor.storage().data(), tensor.storage().nbytes());
  zip.writeEndOfFile();
  return content;
}

NamedTensors read_pt(const std::string& file, const std::string& entry) {
  const auto corrupt = [&](const std::string& what) { throw Error(file + ": " + what, ExitCode::kCorrupt); };
  if (!std::filesystem::is_regular_file(file)) corrupt("there is no such file");
  std::unique_ptr<Pickle> pickle;
  try {
    caffe2::serialize::PyTorchStreamReader reader(file);
    const auto [bytes, byte_count] = reader.getRecord("data.pkl");
    if (reader.hasRecord("byteorder")) {
      const auto [order, length] = reader.getRecord("byteorder");
      if (std::string_view(static_cast<const char*>(order.get()), length) != kByteOrder)
        throw Error("it was written by a big-endian machine", ExitCode::kCorrupt);
    }
    const auto read_storage = [&](const std::string& key, at::ScalarType dtype, int64_t element_count) {
      at::Tensor storage = at::empty({element_count}, dtype);
      const size_t found = reader.getRecordSize("data/" + key);
      if (found != storage.nbytes())
        throw Error("storage " + key + " has " + std::to_string(found) + " bytes instead of " +
                        std::to_string(storage.nbytes()),
                    ExitCode::kCorrupt);
      if (found > 0) reader.getRecord("data/" + key, storage.data_ptr(), found);
      return storage;
    };
    pickle =
        std::make_unique<Pickle>(std::string_view(static_cast<const char*>(bytes.get()), byte_count), read_storage);
  } catch (const std::exception& error) {
    corrupt(
        "no .pt file that can be read (torch.save(module.state_dict(), file) of PyTorch 1.6 or later writes one): " +
        first_line(error.what()));
  }
  const PickleNode* dict = &pickle->root();
  if (dict->kind != PickleNode::Kind::kDict)
    corrupt("holds no dict" + (dict->text.empty() ? "" : " but " + dict->text) +
            "; a state_dict is expected: torch.save(module.state_dict(), file)");
  if (!entry.empty()) {
    const PickleNode* const inner = dict->find(entry);
    if (inner == nullptr || inner->kind != PickleNode::Kind::kDict)
      corrupt("has no state_dict under \"" + entry + "\"; it holds: " + keys_text(*dict));
    dict = inner;
  }
  NamedTensors tensors;
  for (const auto& [key, value] : dict->entries) {
    if (key->kind == PickleNode::Kind::kText && value->kind == PickleNode::Kind::kTensor) {
      tensors.emplace_back(key->text, value->tensor);
      continue;
    }
    corrupt(
        "is no state_dict: \"" + key->text + "\" is no tensor" +
        (value->kind == PickleNode::Kind::kOpaque ? " but something of " + value->text + ", which is not run" : "") +
        "; it holds: " + keys_text(*dict));
  }
  return tensors;
}

}  // namespace rondo::trainer
