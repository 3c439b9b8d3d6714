/// Files and folders that are on the disk when the call returns, not only in the page cache.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace rondo::trainer {

/// Creates `file` (which must not exist), writes it and synchronises it. Throws rondo::Error with the system's words.
void write_durable(const std::filesystem::path& file, std::span<const std::byte> content);
/// Synchronises a folder: its entries survive a crash.
void sync_folder(const std::filesystem::path& folder);
/// Moves `from` to `to` in one step; a folder `to` that exists is exchanged and then removed.
void replace_folder(const std::filesystem::path& from, const std::filesystem::path& to);
/// Writes beside `file` and renames: readers see the old content or the new one, never a part.
void write_atomically(const std::filesystem::path& file, std::span<const std::byte> content);

}  // namespace rondo::trainer
