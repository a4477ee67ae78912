// Files, hashes and what the kernel says about this process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ecp {

// Size of a regular file; nothing where there is none (or it is a directory or a symbolic link).
std::optional<std::uint64_t> regular_file_size(const std::string& path);

// Whether `path` is a folder and no symbolic link to one.
bool is_folder(const std::string& path);

// Whole file. Throws std::runtime_error that names the path and errno's text.
std::string read_file(const std::string& path);

// Reads exactly `bytes` into `target`; throws where the file is shorter, longer or unreadable.
void read_file_into(const std::string& path, void* target, std::uint64_t bytes);

// A file's content in memory without a copy of it, for as long as the object lives. Private and writable: a kernel
// that writes where its plan says it never does harms its own answer, neither the file nor this process.
class MappedFile {
 public:
  MappedFile(const std::string& path, std::uint64_t bytes);  // throws like read_file_into
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

// Writes to a temporary name beside `path` and renames: readers see the old or the new content, never half.
void write_file(const std::string& path, std::string_view content);

std::string sha256_hex(std::string_view data);

// A "Name:  123 kB" line of /proc/self/status in bytes; nothing where it is absent.
std::optional<std::int64_t> proc_status_bytes(std::string_view name);

// First number of a sysfs-like file; nothing where it cannot be read.
std::optional<std::int64_t> read_number(const std::string& path);

}  // namespace ecp
