// ecp-run: executes a compiled bundle with OpenCL and prints one JSON document.
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>

#include "bundle.h"
#include "cl.h"
#include "executor.h"
#include "json.h"
#include "run.h"

namespace {

constexpr const char* kHelp = R"(usage: ecp-run BUNDLE [options]     run a bundle, print one JSON document
       ecp-run --list [options]     print the OpenCL devices
  --warmup N --iterations N        untimed and timed inferences (3, 10)
  --max-seconds S                  stop the timed inferences after S seconds
  --profile N                      then N inferences with device times per launch, on a queue of their own
  --validate                       check the bundle's plan and files and stop; no device is touched
  --check [--tolerance T]          compare with the golden outputs; exit code 1 where they differ
  --input NAME=FILE                raw content of an input instead of the golden one
  --dump-output DIR                write outputN.bin
  --cache DIR                      keep compiled kernels there
  --opencl-lib PATH                OpenCL library to open (default: the known places)
  --platform TEXT --device TEXT    parts of the platform's and device's name
  --device-index N                 among those that match (0)
  --threads N                      of a CPU device (default: all; a sub-device of N compute units)
  --command-buffer                 record the launches once (cl_khr_command_buffer)
  --kgsl-counter GROUP:COUNTABLE   GPU counter of a Qualcomm phone over the timed inferences; repeatable
  --serve                          answer requests on standard input (see run.cpp)
exit codes: 0 done, 1 a run or check failed, 2 usage, bundle or input, 3 no such device
)";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

long whole(const std::string& text, const std::string& name) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 0 || value > 100000000) {
    throw UsageError(name + " needs a whole number, not \"" + text + "\"");
  }
  return value;
}

double real(const std::string& text, const std::string& name) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= 0)) throw UsageError(name + " needs a number, not \"" + text + "\"");
  return value;
}

std::pair<std::string, std::string> split(const std::string& text, char by, const std::string& name) {
  const std::size_t at = text.find(by);
  if (at == std::string::npos) throw UsageError(name + " needs two parts with a '" + by + "' between them");
  return {text.substr(0, at), text.substr(at + 1)};
}

ecp::Options parse(int argc, char** argv) {
  ecp::Options o;
  using Take = std::function<void(const std::string&)>;
  const std::map<std::string, Take> with_value = {
      {"--warmup", [&](const std::string& v) { o.warmup = static_cast<int>(whole(v, "--warmup")); }},
      {"--iterations", [&](const std::string& v) { o.iterations = static_cast<int>(whole(v, "--iterations")); }},
      {"--max-seconds", [&](const std::string& v) { o.max_seconds = real(v, "--max-seconds"); }},
      {"--profile", [&](const std::string& v) { o.profile = static_cast<int>(whole(v, "--profile")); }},
      {"--tolerance", [&](const std::string& v) { o.tolerance = real(v, "--tolerance"); }},
      {"--input", [&](const std::string& v) { o.inputs.insert(split(v, '=', "--input")); }},
      {"--dump-output", [&](const std::string& v) { o.dump_folder = v; }},
      {"--cache", [&](const std::string& v) { o.cache_folder = v; }},
      {"--opencl-lib", [&](const std::string& v) { o.opencl_library = v; }},
      {"--platform", [&](const std::string& v) { o.platform = v; }},
      {"--device", [&](const std::string& v) { o.device = v; }},
      {"--device-index", [&](const std::string& v) { o.device_index = static_cast<std::size_t>(whole(v, "--device-index")); }},
      {"--threads", [&](const std::string& v) { o.threads = static_cast<unsigned>(whole(v, "--threads")); }},
      {"--kgsl-counter",
       [&](const std::string& v) {
         const auto [group, countable] = split(v, ':', "--kgsl-counter");
         o.counters.push_back({static_cast<std::uint32_t>(whole(group, "--kgsl-counter")),
                               static_cast<std::uint32_t>(whole(countable, "--kgsl-counter"))});
       }}};
  const std::map<std::string, bool*> flags = {{"--check", &o.check},
                                              {"--list", &o.list},
                                              {"--validate", &o.validate},
                                              {"--serve", &o.serve},
                                              {"--command-buffer", &o.command_buffer}};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (const auto flag = flags.find(name); flag != flags.end()) {
      *flag->second = true;
    } else if (const auto option = with_value.find(name); option != with_value.end()) {
      if (++i >= argc) throw UsageError(name + " needs a value");
      option->second(argv[i]);
    } else if (name.rfind("--", 0) == 0 || !o.bundle.empty()) {
      throw UsageError("unknown argument \"" + name + "\"; --help shows the known ones");
    } else {
      o.bundle = name;
    }
  }
  if (o.bundle.empty() != o.list) throw UsageError("give either a bundle folder or --list");
  if (o.iterations < 1) throw UsageError("--iterations needs at least 1");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    std::cout << kHelp;
    return ecp::kOk;
  }
  const auto report = [](const char* what, int code) {
    std::cerr << "ecp-run: " << what << "\n";
    return code;
  };
  try {
    return ecp::run(parse(argc, argv));
  } catch (const UsageError& error) {
    return report(error.what(), ecp::kUsage);
  } catch (const ecp::BundleError& error) {
    return report(error.what(), ecp::kUsage);
  } catch (const ecp::InputError& error) {
    return report(error.what(), ecp::kUsage);
  } catch (const ecp::cl::NoDevice& error) {
    return report(error.what(), ecp::kNoDevice);
  } catch (const std::exception& error) {
    return report(error.what(), ecp::kFailed);
  }
}
