#include "launcher/report/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <span>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {
namespace {

using std::string_view;

std::string readable(const char* name) {
  constexpr size_t kLongest = 160;
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  std::string text = status == 0 && plain ? plain.get() : name;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

/// A 64-bit ELF file, mapped. Everything that it says about itself is checked against its size.
class ElfFile {
 public:
  explicit ElfFile(const std::string& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat facts {};
    if (!file.open() || ::fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size <= 0) return;
    const auto size = static_cast<size_t>(facts.st_size);
    void* const data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(data), size};
  }
  ~ElfFile() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
  ElfFile(const ElfFile&) = delete;
  ElfFile& operator=(const ElfFile&) = delete;

  std::optional<std::string> function_at(uint64_t offset) const {
    const auto header = at<Elf64_Ehdr>(0);
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64)
      return std::nullopt;
    const auto address = address_of(*header, offset);
    if (!address) return std::nullopt;
    for (const uint32_t table : {uint32_t{SHT_SYMTAB}, uint32_t{SHT_DYNSYM}})
      if (auto name = search(*header, table, *address)) return name;
    return std::nullopt;
  }

 private:
  template <typename T>
  std::optional<T> at(uint64_t offset) const {
    if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }

  std::optional<uint64_t> address_of(const Elf64_Ehdr& header, uint64_t offset) const {
    for (unsigned i = 0; i < header.e_phnum; ++i) {
      const auto segment = at<Elf64_Phdr>(header.e_phoff + uint64_t{i} * sizeof(Elf64_Phdr));
      if (!segment) return std::nullopt;
      if (segment->p_type == PT_LOAD && offset >= segment->p_offset && offset - segment->p_offset < segment->p_filesz)
        return segment->p_vaddr + (offset - segment->p_offset);
    }
    return std::nullopt;
  }

  std::optional<std::string> search(const Elf64_Ehdr& header, uint32_t type, uint64_t address) const {
    for (unsigned i = 0; i < header.e_shnum; ++i) {
      const auto section = at<Elf64_Shdr>(header.e_shoff + uint64_t{i} * sizeof(Elf64_Shdr));
      if (!section) return std::nullopt;
      if (section->sh_type != type) continue;
      const auto names = at<Elf64_Shdr>(header.e_shoff + uint64_t{section->sh_link} * sizeof(Elf64_Shdr));
      if (!names) return std::nullopt;
      for (uint64_t k = 0; k < section->sh_size / sizeof(Elf64_Sym); ++k) {
        const auto symbol = at<Elf64_Sym>(section->sh_offset + k * sizeof(Elf64_Sym));
        if (!symbol) return std::nullopt;
        const bool function = ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_UNDEF;
        if (!function || address < symbol->st_value || address - symbol->st_value >= symbol->st_size) continue;
        return named(names->sh_offset + symbol->st_name, address - symbol->st_value);
      }
    }
    return std::nullopt;
  }

  std::optional<std::string> named(uint64_t at_byte, uint64_t distance) const {
    if (at_byte >= bytes_.size()) return std::nullopt;
    const auto* const begin = reinterpret_cast<const char*>(bytes_.data() + at_byte);
    const size_t most = bytes_.size() - at_byte, length = ::strnlen(begin, most);
    if (length == 0 || length == most) return std::nullopt;
    std::array<char, 20> hex{};
    const auto end = std::to_chars(hex.data(), hex.data() + hex.size(), distance, 16);
    return readable(begin) + "+0x" + std::string(hex.data(), end.ptr);
  }

  std::span<const std::byte> bytes_;
};

std::string file_name(string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

std::string named_frame(string_view frame, std::map<std::string, ElfFile, std::less<>>& files) {
  const size_t plus = frame.rfind("+0x");
  uint64_t offset = 0;
  if (plus == string_view::npos || frame[0] != '/') return std::string(frame);
  const string_view path = frame.substr(0, plus), digits = frame.substr(plus + 3);
  if (std::from_chars(digits.data(), digits.data() + digits.size(), offset, 16).ec != std::errc{})
    return std::string(frame);
  const auto file = files.try_emplace(std::string(path), std::string(path)).first;
  const auto function = file->second.function_at(offset);
  return function ? *function + " (" + file_name(path) + ")" : std::string(frame);
}

}  // namespace

std::optional<std::string> function_at(const std::string& path, uint64_t offset) {
  return ElfFile(path).function_at(offset);
}

std::vector<std::string> named_stacks(string_view text) {
  constexpr string_view kThread = "thread ";
  std::map<std::string, ElfFile, std::less<>> files;
  std::vector<std::string> lines;
  size_t threads = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.starts_with(kThread)) {
      const string_view rest = line.substr(kThread.size());
      const size_t space = std::min(rest.find(' '), rest.size());
      lines.push_back("thread " + std::string(rest.substr(std::min(space + 1, rest.size()))) + " (" +
                      std::string(rest.substr(0, space)) + "):");
      ++threads;
    } else if (!line.empty()) {
      lines.push_back("  " + named_frame(line, files));
    }
  }
  if (threads > 1) return lines;
  std::vector<std::string> frames;
  for (const std::string& line : lines)
    if (line.starts_with("  ")) frames.push_back(line.substr(2));
  return frames;
}

}  // namespace rondo::launcher
