#include "kgsl.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "files.h"

namespace ecp {
namespace {

// Layouts and numbers of the kernel's uapi header msm_kgsl.h.
struct CounterGet {
  std::uint32_t group, countable, offset, offset_hi, pad;
};
struct CounterPut {
  std::uint32_t group, countable, pad[2];
};
struct CounterValue {
  std::uint32_t group, countable;
  std::uint64_t value;
};
struct CounterRead {
  CounterValue* values;
  std::uint32_t count, pad[2];
};
constexpr unsigned kType = 0x09;
constexpr unsigned long kGet = _IOWR(kType, 0x38, CounterGet);
constexpr unsigned long kPut = _IOW(kType, 0x39, CounterPut);
constexpr unsigned long kRead = _IOWR(kType, 0x3B, CounterRead);

#if defined(__ANDROID__) || !defined(__GLIBC__)
using Request = int;
#else
using Request = unsigned long;
#endif

int call(int fd, unsigned long request, void* argument) {
  return ::ioctl(fd, static_cast<Request>(request), argument);
}

std::string reason(const std::string& what) {
  std::string text = what + ": " + std::strerror(errno);
  if (errno == EPERM || errno == EACCES) {
    text += " (as root: echo 1 > /sys/class/kgsl/kgsl-3d0/perfcounter)";
  }
  return text;
}

}  // namespace

KgslCounters::KgslCounters(std::vector<KgslCounter> wanted) {
  if (wanted.empty()) return;
  fd_ = ::open("/dev/kgsl-3d0", O_RDWR | O_CLOEXEC);
  if (fd_ < 0) {
    error_ = reason("/dev/kgsl-3d0");
    return;
  }
  for (const KgslCounter& counter : wanted) {
    CounterGet get{counter.group, counter.countable, 0, 0, 0};
    if (call(fd_, kGet, &get) != 0) {
      error_ = reason("counter " + std::to_string(counter.group) + ":" + std::to_string(counter.countable));
      return;
    }
    held_.push_back(counter);
  }
}

KgslCounters::~KgslCounters() {
  for (const KgslCounter& counter : held_) {
    CounterPut put{counter.group, counter.countable, {0, 0}};
    call(fd_, kPut, &put);
  }
  if (fd_ >= 0) ::close(fd_);
}

std::vector<std::uint64_t> KgslCounters::read() {
  if (held_.empty() || !error_.empty()) return {};
  std::vector<CounterValue> values;
  for (const KgslCounter& counter : held_) values.push_back({counter.group, counter.countable, 0});
  CounterRead request{values.data(), static_cast<std::uint32_t>(values.size()), {0, 0}};
  if (call(fd_, kRead, &request) != 0) {
    error_ = reason("reading counters");
    return {};
  }
  std::vector<std::uint64_t> result;
  for (const CounterValue& value : values) result.push_back(value.value);
  return result;
}

std::vector<std::pair<std::string, std::int64_t>> kgsl_memory() {
  const std::string folder = "/sys/class/kgsl/kgsl/proc/" + std::to_string(::getpid()) + "/";
  std::vector<std::pair<std::string, std::int64_t>> found;
  for (const char* name : {"kernel", "kernel_max", "user", "user_max", "gpumem_mapped", "gpumem_unmapped"}) {
    if (const auto value = read_number(folder + name)) found.emplace_back(name, *value);
  }
  return found;
}

}  // namespace ecp
