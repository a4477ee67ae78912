// What the command line asks for, and carrying it out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kgsl.h"

namespace ecp {

struct Options {
  std::string bundle, opencl_library, platform, device, cache_folder, dump_folder;
  std::map<std::string, std::string, std::less<>> inputs;  // name -> file
  std::vector<KgslCounter> counters;
  std::size_t device_index = 0;
  unsigned threads = 0;               // 0 = all compute units
  int warmup = 3, iterations = 10, profile = 0;
  double max_seconds = 0;             // 0 = no limit
  std::optional<double> tolerance;    // relative to the largest golden value; nothing = by precision
  bool validate = false;  // check the bundle and stop
  bool list = false, check = false, serve = false, command_buffer = false;
};

// Exit codes: 0 done, 1 a run or a check failed, 2 usage or bundle, 3 no such device.
inline constexpr int kOk = 0, kFailed = 1, kUsage = 2, kNoDevice = 3;

// One JSON document on standard output. Throws cl::Error, cl::NoDevice, BundleError, std::runtime_error.
int run(const Options& options);

}  // namespace ecp
