#include "trainer/torch_bridge/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

using Kind = PickleNode::Kind;

constexpr std::pair<std::string_view, at::ScalarType> kStorages[] = {
    {"torch DoubleStorage", at::kDouble},
    {"torch FloatStorage", at::kFloat},
    {"torch HalfStorage", at::kHalf},
    {"torch BFloat16Storage", at::kBFloat16},
    {"torch LongStorage", at::kLong},
    {"torch IntStorage", at::kInt},
    {"torch ShortStorage", at::kShort},
    {"torch CharStorage", at::kChar},
    {"torch ByteStorage", at::kByte},
    {"torch BoolStorage", at::kBool},
    {"torch ComplexFloatStorage", at::kComplexFloat},
    {"torch ComplexDoubleStorage", at::kComplexDouble}};

}  // namespace

const PickleNode* PickleNode::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name->kind == Kind::kText && name->text == key) return value;
  }
  return nullptr;
}

/// The stack machine that a pickle is a program for.
class PickleMachine {
 public:
  PickleMachine(Pickle& pickle, std::string_view bytes, const Pickle::ReadStorage& read_storage)
      : pickle_(pickle), bytes_(bytes), read_storage_(read_storage) {}

  PickleNode* run() {
    while (true) {
      const auto op = static_cast<unsigned char>(take(1)[0]);
      if (op == '.') return pop();
      step(op);
    }
  }

 private:
  [[noreturn]] void corrupt(const std::string& what) const {
    throw Error("its pickle is damaged or of an unknown kind: " + what + " at byte " + std::to_string(at_),
                ExitCode::kCorrupt);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) corrupt("it ends too early");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  template <typename T>
  T number() {
    T value{};
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) corrupt("a name does not end");
    const std::string_view text = take(end - at_);
    take(1);
    return text;
  }

  PickleNode* make(Kind kind) {
    pickle_.nodes_.emplace_back().kind = kind;
    return &pickle_.nodes_.back();
  }
  void push(PickleNode* node) { stack_.push_back(node); }
  void push_integer(int64_t value, Kind kind = Kind::kInteger) {
    push(make(kind));
    stack_.back()->integer = value;
  }
  void push_text(std::string_view text, Kind kind = Kind::kText) {
    push(make(kind));
    stack_.back()->text = text;
  }
  PickleNode* pop() {
    if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size())) corrupt("its stack is empty");
    PickleNode* const node = stack_.back();
    stack_.pop_back();
    return node;
  }
  PickleNode* top() {
    PickleNode* const node = pop();
    push(node);
    return node;
  }
  std::vector<PickleNode*> pop_to_mark() {
    if (marks_.empty()) corrupt("it has no mark");
    std::vector<PickleNode*> items(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_list(std::vector<PickleNode*> items) {
    push(make(Kind::kList));
    stack_.back()->items = std::move(items);
  }
  void push_tuple(size_t count) {
    std::vector<PickleNode*> items(count);
    for (size_t i = count; i > 0; --i) items[i - 1] = pop();
    push_list(std::move(items));
  }
  void append(const std::vector<PickleNode*>& items) {
    PickleNode* const list = top();
    if (list->kind == Kind::kOpaque) return;
    if (list->kind != Kind::kList) corrupt("something is appended to what is no list");
    list->items.insert(list->items.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<PickleNode*>& items) {
    PickleNode* const dict = top();
    if (items.size() % 2 != 0) corrupt("a key has no value");
    if (dict->kind == Kind::kOpaque) return;
    if (dict->kind != Kind::kDict) corrupt("items are set in what is no dict");
    for (size_t i = 0; i < items.size(); i += 2) dict->entries.emplace_back(items[i], items[i + 1]);
  }
  PickleNode* memo(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) corrupt("it refers to something that was not there");
    return found->second;
  }

  static int64_t integer_of(const PickleNode& node) { return node.kind == Kind::kInteger ? node.integer : -1; }

  /// ('storage', type, key, location, number of elements)
  void push_storage(const PickleNode& id) {
    if (id.items.size() < 5 || id.items[0]->text != "storage") corrupt("an unknown kind of reference");
    const auto* const type = std::ranges::find(kStorages, std::string_view(id.items[1]->text),
                                               [](const auto& known) { return known.first; });
    if (type == std::end(kStorages)) return push_text(id.items[1]->text, Kind::kOpaque);
    push_text(id.items[2]->text, Kind::kStorage);
    stack_.back()->dtype = type->second;
    stack_.back()->integer = integer_of(*id.items[4]);
  }

  /// (storage, offset, sizes, strides, ...)
  PickleNode* rebuild_tensor(const PickleNode& arguments) {
    if (arguments.items.size() < 4 || arguments.items[2]->kind != Kind::kList ||
        arguments.items[3]->kind != Kind::kList)
      corrupt("a tensor without shape");
    const PickleNode& storage = *arguments.items[0];
    if (storage.kind != Kind::kStorage) return make_opaque("a tensor in a " + storage.text);
    const auto extents = [&](const PickleNode& list) {
      std::vector<int64_t> values;
      for (const PickleNode* item : list.items) values.push_back(integer_of(*item));
      return values;
    };
    const std::vector<int64_t> sizes = extents(*arguments.items[2]), strides = extents(*arguments.items[3]);
    const int64_t offset = integer_of(*arguments.items[1]);
    // The last element that the tensor touches must be in the storage.
    int64_t last = offset;
    bool fits = offset >= 0 && storage.integer >= 0 && sizes.size() == strides.size(), empty = false;
    for (size_t i = 0; fits && i < sizes.size(); ++i) {
      int64_t reach = 0;
      fits = sizes[i] >= 0 && strides[i] >= 0 &&
             !__builtin_mul_overflow(std::max<int64_t>(sizes[i] - 1, 0), strides[i], &reach) &&
             !__builtin_add_overflow(last, reach, &last);
      empty = empty || sizes[i] == 0;
    }
    if (!fits || (!empty && last >= storage.integer)) corrupt("a tensor reaches beyond its storage");
    auto [known, is_new] = storages_.try_emplace(storage.text);
    if (is_new) known->second = read_storage_(storage.text, storage.dtype, storage.integer);
    PickleNode* const node = make(Kind::kTensor);
    node->tensor = known->second.as_strided(sizes, strides, offset);
    return node;
  }

  PickleNode* make_opaque(const std::string& name) {
    PickleNode* const node = make(Kind::kOpaque);
    node->text = name;
    return node;
  }

  /// What calling `name` with these arguments would make.
  PickleNode* call(const PickleNode& name, const PickleNode& arguments) {
    if (name.text == "collections OrderedDict") {
      PickleNode* const dict = make(Kind::kDict);
      for (const PickleNode* list : arguments.items) {
        for (const PickleNode* pair : list->items) {
          if (pair->items.size() == 2) dict->entries.emplace_back(pair->items[0], pair->items[1]);
        }
      }
      return dict;
    }
    if (name.text == "torch._utils _rebuild_tensor_v2") return rebuild_tensor(arguments);
    const bool parameter =
        name.text == "torch._utils _rebuild_parameter" || name.text == "torch._utils _rebuild_parameter_with_state";
    if (parameter && !arguments.items.empty()) return arguments.items[0];
    return make_opaque(name.text);
  }

  void step(unsigned char op) {
    switch (op) {
      case 0x80:  // PROTO
        if (const auto protocol = number<uint8_t>(); protocol < 2 || protocol > 4)
          corrupt("protocol " + std::to_string(protocol));
        return;
      case 0x95:  // FRAME
        take(8);
        return;
      case '(':
        marks_.push_back(stack_.size());
        return;
      case 'N':
        return push(make(Kind::kNone));
      case 0x88:  // NEWTRUE
        return push_integer(1, Kind::kBool);
      case 0x89:  // NEWFALSE
        return push_integer(0, Kind::kBool);
      case 'K':
        return push_integer(number<uint8_t>());
      case 'M':
        return push_integer(number<uint16_t>());
      case 'J':
        return push_integer(number<int32_t>());
      case 0x8a:  // LONG1
        return push_long();
      case 'G':
        push(make(Kind::kReal));
        stack_.back()->real = std::bit_cast<double>(__builtin_bswap64(number<uint64_t>()));
        return;
      case 'X':
        return push_text(take(number<uint32_t>()));
      case 0x8c:  // SHORT_BINUNICODE
        return push_text(take(number<uint8_t>()));
      case ')':
        return push_list({});
      case 0x85:
      case 0x86:
      case 0x87:  // TUPLE1 to TUPLE3
        return push_tuple(op - 0x84U);
      case 't':
        return push_list(pop_to_mark());
      case ']':
      case 0x8f:  // EMPTY_SET
        return push_list({});
      case 'a':
        return append({pop()});
      case 'e':
      case 0x90:  // ADDITEMS
        return append(pop_to_mark());
      case '}':
        return push(make(Kind::kDict));
      case 's': {
        PickleNode* const value = pop();
        return set_items({pop(), value});
      }
      case 'u':
        return set_items(pop_to_mark());
      case 'q':
        memo_[number<uint8_t>()] = top();
        return;
      case 'r':
        memo_[number<uint32_t>()] = top();
        return;
      case 0x94:  // MEMOIZE
        memo_.emplace(memo_.size(), top());
        return;
      case 'h':
        return push(memo(number<uint8_t>()));
      case 'j':
        return push(memo(number<uint32_t>()));
      case 'c': {
        const std::string module(line());
        return push_text(module + " " + std::string(line()), Kind::kName);
      }
      case 0x93: {  // STACK_GLOBAL
        const std::string name = pop()->text;
        return push_text(pop()->text + " " + name, Kind::kName);
      }
      case 'R':
      case 0x81: {  // NEWOBJ
        const PickleNode& arguments = *pop();
        return push(call(*pop(), arguments));
      }
      case 'b':  // BUILD: attributes, as the versions that a state_dict carries; of no use here
        pop();
        return;
      case 'Q':
        return push_storage(*pop());
      default:
        --at_;
        corrupt("unknown operation " + std::to_string(op));
    }
  }

  void push_long() {
    const std::string_view digits = take(number<uint8_t>());
    uint64_t value = 0;
    if (digits.size() > 8) return push(make_opaque("a number of more than 64 bits"));
    for (size_t i = 0; i < digits.size(); ++i) value |= uint64_t{static_cast<unsigned char>(digits[i])} << (8 * i);
    if (!digits.empty() && digits.size() < 8 && (digits.back() & 0x80) != 0)
      value |= ~uint64_t{0} << (8 * digits.size());
    push_integer(static_cast<int64_t>(value));
  }

  Pickle& pickle_;
  const std::string_view bytes_;
  const Pickle::ReadStorage& read_storage_;
  size_t at_ = 0;
  std::vector<PickleNode*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleNode*> memo_;
  std::unordered_map<std::string, at::Tensor> storages_;  // by key: what shares a storage shares it here, too
};

Pickle::Pickle(std::string_view bytes, const ReadStorage& read_storage) {
  root_ = PickleMachine(*this, bytes, read_storage).run();
}

}  // namespace rondo::trainer
