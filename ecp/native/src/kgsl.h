// GPU counters and per-process GPU memory of Qualcomm's kernel driver (KGSL). The counters count for the
// whole GPU, so that the caller reads them before and after and keeps the phone otherwise idle.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ecp {

struct KgslCounter {
  std::uint32_t group = 0, countable = 0;
};

// Reserves the counters while it lives. `error` is set where the driver refuses (no device, permission).
class KgslCounters {
 public:
  explicit KgslCounters(std::vector<KgslCounter> wanted);
  ~KgslCounters();
  KgslCounters(const KgslCounters&) = delete;
  KgslCounters& operator=(const KgslCounters&) = delete;

  // Current values in the order asked for; empty (and `error` set) where reading failed.
  std::vector<std::uint64_t> read();
  const std::string& error() const { return error_; }

 private:
  int fd_ = -1;
  std::vector<KgslCounter> held_;
  std::string error_;
};

// Names and bytes of /sys/class/kgsl/kgsl/proc/<this process>/*; empty where they cannot be read.
std::vector<std::pair<std::string, std::int64_t>> kgsl_memory();

}  // namespace ecp
