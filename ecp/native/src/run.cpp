#include "run.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>

#include "bundle.h"
#include "cl.h"
#include "compare.h"
#include "executor.h"
#include "files.h"
#include "json.h"

namespace ecp {
namespace {

using Clock = std::chrono::steady_clock;

double since_ms(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) {
    throw std::runtime_error("cannot make folder " + path + ": " + std::strerror(errno));
  }
}

cl::DeviceInfo choose_device(const cl::Api& api, const Options& options) {
  const auto found = cl::devices(api, options.platform, options.device);
  if (options.device_index < found.size()) return found[options.device_index];
  std::string known;
  for (const auto& one : cl::devices(api, "", "")) known += "\n  " + one.platform_name + ": " + one.name;
  throw cl::NoDevice("no device number " + std::to_string(options.device_index) + " with platform \"" +
                     options.platform + "\" and device \"" + options.device + "\". Present:" + known);
}

void write_device(json::Writer& out, const cl::Api& api, const cl::DeviceInfo& device) {
  out.begin_object().key("library").text(api.library).key("platform").text(device.platform_name);
  out.key("name").text(device.name).key("driver_version").text(device.driver_version);
  out.key("opencl").text(device.version).key("extensions").text(device.extensions);
  out.key("type").text((device.type & cl::kDeviceTypeGpu) != 0   ? "gpu"
                       : (device.type & cl::kDeviceTypeCpu) != 0 ? "cpu"
                                                                 : "other");
  out.key("images").boolean(device.images).key("image_width").integer(static_cast<std::int64_t>(device.image_width));
  out.key("image_height").integer(static_cast<std::int64_t>(device.image_height));
  out.key("compute_units").integer(device.compute_units);
  out.key("max_alloc").integer(static_cast<std::int64_t>(device.max_alloc)).end_object();
}

int list_devices(const cl::Api& api, const Options& options) {
  json::Writer out;
  out.begin_object().key("format").text("ecp-devices").key("version").integer(1).key("devices").begin_array();
  for (const auto& device : cl::devices(api, options.platform, options.device)) write_device(out, api, device);
  out.end_array().end_object();
  std::cout << out.str() << "\n";
  return kOk;
}

// One bundle loaded on one device: the state that a single run and the server share.
class Session {
 public:
  explicit Session(const Options& options) : options_(options), start_(Clock::now()) {
    bundle_ = load_bundle(options.bundle);
    api_ = cl::load(options.opencl_library);
    device_ = choose_device(api_, options);
    if (!options.cache_folder.empty()) make_folder(options.cache_folder);
    executor_ = std::make_unique<Executor>(api_, device_, bundle_,
                                           ExecutorOptions{options.cache_folder, options.threads, options.command_buffer});
    start_ms_ = since_ms(start_);
  }

  const Bundle& bundle() const { return bundle_; }

  void feed(std::size_t index, const std::string& path) {
    std::vector<char> data(bundle_.inputs.at(index).bytes);
    read_file_into(path, data.data(), data.size());
    executor_->write_input(index, data.data());
  }

  void dump(std::size_t index, const std::string& path) {
    const auto data = output(index);
    write_file(path, std::string_view(data.data(), data.size()));
  }

  // Inputs from --input, else from the bundle's golden content.
  void feed_all() {
    for (const auto& [name, path] : options_.inputs) {
      const bool known = std::any_of(bundle_.inputs.begin(), bundle_.inputs.end(),
                                     [&name = name](const Tensor& tensor) { return tensor.name == name; });
      if (!known) throw BundleError("--input: the bundle has no input \"" + name + "\"");
    }
    for (std::size_t i = 0; i < bundle_.inputs.size(); ++i) {
      const Tensor& tensor = bundle_.inputs[i];
      const auto given = options_.inputs.find(tensor.name);
      if (given != options_.inputs.end()) {
        feed(i, given->second);
      } else if (tensor.golden) {
        feed(i, bundle_.folder + "/" + *tensor.golden);
      } else {
        throw BundleError("no content for input " + tensor.name + ": give --input " + tensor.name + "=FILE");
      }
    }
  }

  double timed_run() {
    const auto begin = Clock::now();
    executor_->run();
    return since_ms(begin);
  }

  void write_head(json::Writer& out) const {
    const StartStats& stats = executor_->stats();
    out.key("format").text("ecp-run").key("version").integer(1);
    out.key("bundle").begin_object().key("plan_sha256").text(bundle_.plan_sha256).key("model").text(bundle_.model);
    out.key("model_sha256").text(bundle_.model_sha256).key("precision").text(bundle_.precision);
    out.key("device_class").text(bundle_.device_class);
    out.key("launches").integer(static_cast<std::int64_t>(bundle_.launches.size())).key("dispatches");
    out.integer(static_cast<std::int64_t>(executor_->dispatches())).end_object();
    out.key("device");
    write_device(out, api_, device_);
    out.key("start").begin_object().key("total_ms").number(start_ms_).key("upload_ms").number(stats.upload_ms);
    out.key("build_ms").number(stats.build_ms).key("programs");
    out.integer(static_cast<std::int64_t>(stats.programs)).key("programs_from_cache");
    out.integer(static_cast<std::int64_t>(stats.programs_from_cache)).key("notes").begin_array();
    for (const auto& note : stats.notes) out.text(note);
    out.end_array().end_object();
    out.key("command_buffer").boolean(options_.command_buffer).key("threads");
    options_.threads > 0 ? out.integer(options_.threads) : out.null();
  }

  void write_memory(json::Writer& out) const {
    out.key("memory").begin_object();
    for (const char* name : {"VmHWM", "VmRSS", "VmSwap"}) {
      const auto value = proc_status_bytes(name);
      out.key(name);
      value ? out.integer(*value) : out.null();
    }
    const StartStats& stats = executor_->stats();
    out.key("pool_bytes").integer(static_cast<std::int64_t>(stats.pool_bytes));
    out.key("image_bytes").integer(static_cast<std::int64_t>(stats.image_bytes)).key("kgsl").begin_object();
    for (const auto& [name, value] : kgsl_memory()) out.key(name).integer(value);
    out.end_object().end_object();
  }

  void write_profile(json::Writer& out, int repeats) {
    std::vector<std::vector<double>> times(bundle_.launches.size());
    std::vector<double> totals;
    for (int repeat = 0; repeat < repeats; ++repeat) {
      const auto one = executor_->profile_once();
      double total = 0;
      for (std::size_t i = 0; i < one.size(); ++i) {
        times[i].push_back(one[i]);
        total += one[i];
      }
      totals.push_back(total);
    }
    out.key("device_ms").numbers(totals).key("profile").begin_array();
    for (std::size_t i = 0; i < times.size(); ++i) {
      const Launch& launch = bundle_.launches[i];
      out.begin_object().key("kernel").text(launch.kernel).key("family").text(launch.family);
      out.key("layout").boolean(launch.layout).key("flops").number(launch.flops).key("bytes").number(launch.bytes);
      out.key("nodes").begin_array();
      for (const auto& node : launch.nodes) out.text(node);
      out.end_array().key("ms").numbers(times[i]).end_object();
    }
    out.end_array();
  }

  // True where every output with a golden file is within the tolerance.
  bool write_check(json::Writer& out) {
    bool all = true;
    std::size_t compared = 0;
    const double tolerance = options_.tolerance.value_or(bundle_.precision == "fp16" ? 2e-2 : 1e-3);
    out.key("check").begin_object().key("tolerance").number(tolerance).key("outputs").begin_array();
    for (std::size_t i = 0; i < bundle_.outputs.size(); ++i) {
      const Tensor& tensor = bundle_.outputs[i];
      if (!tensor.golden) continue;
      const std::string golden = read_file(bundle_.folder + "/" + *tensor.golden);
      const auto actual = output(i);
      const Difference difference = compare(actual.data(), golden.data(), actual.size(), tensor.dtype);
      const bool ok = difference.within(tolerance);
      all = all && ok;
      ++compared;
      out.begin_object().key("name").text(tensor.name).key("ok").boolean(ok).key("bit_equal");
      out.boolean(difference.bit_equal).key("different").integer(static_cast<std::int64_t>(difference.different));
      out.key("max_abs").number(difference.max_abs).key("scale").number(difference.scale).end_object();
    }
    if (compared == 0) throw BundleError("--check: the bundle has no golden output");
    out.end_array().key("ok").boolean(all).end_object();
    return all;
  }

 private:
  std::vector<char> output(std::size_t index) {
    std::vector<char> data(bundle_.outputs.at(index).bytes);
    executor_->read_output(index, data.data());
    return data;
  }

  const Options& options_;
  Clock::time_point start_;
  double start_ms_ = 0;
  Bundle bundle_;
  cl::Api api_;
  cl::DeviceInfo device_;
  std::unique_ptr<Executor> executor_;
};

void write_counters(json::Writer& out, const Options& options, KgslCounters& counters,
                    const std::vector<std::uint64_t>& before) {
  const auto after = counters.read();
  out.key("kgsl_counters").begin_object().key("reason");
  counters.error().empty() ? out.null() : out.text(counters.error());
  out.key("values").begin_array();
  if (counters.error().empty()) {
    for (std::size_t i = 0; i < after.size(); ++i) {
      out.begin_object().key("group").integer(options.counters[i].group);
      out.key("countable").integer(options.counters[i].countable);
      out.key("delta").integer(static_cast<std::int64_t>(after[i] - before[i])).end_object();
    }
  }
  out.end_array().end_object();
}

int run_once(const Options& options) {
  Session session(options);
  session.feed_all();
  std::vector<double> warmup, samples;
  for (int i = 0; i < options.warmup; ++i) warmup.push_back(session.timed_run());
  KgslCounters counters(options.counters);
  const auto before = counters.read();
  const auto begin = Clock::now();
  for (int i = 0; i < options.iterations; ++i) {
    samples.push_back(session.timed_run());
    if (options.max_seconds > 0 && since_ms(begin) > options.max_seconds * 1e3) break;
  }
  json::Writer out;
  out.begin_object();
  session.write_head(out);
  out.key("first_ms");
  const auto& earliest = warmup.empty() ? samples : warmup;
  earliest.empty() ? out.null() : out.number(earliest.front());
  out.key("warmup_ms").numbers(warmup).key("samples_ms").numbers(samples);
  if (!options.counters.empty()) write_counters(out, options, counters, before);
  // Memory before the extras below: a profile or a dump must not raise the peak that is reported.
  session.write_memory(out);
  if (options.profile > 0) session.write_profile(out, options.profile);
  bool ok = true;
  if (options.check) ok = session.write_check(out);
  if (!options.dump_folder.empty()) {
    make_folder(options.dump_folder);
    for (std::size_t i = 0; i < session.bundle().outputs.size(); ++i) {
      session.dump(i, options.dump_folder + "/output" + std::to_string(i) + ".bin");
    }
  }
  out.end_object();
  std::cout << out.str() << "\n";
  if (!ok) std::cerr << "ecp-run: an output differs from the golden one by more than the tolerance\n";
  return ok ? kOk : kFailed;
}

// One request of the server. Lines: "input INDEX PATH", "output INDEX PATH", "run COUNT", "profile COUNT",
// "memory". A path is the whole rest of the line.
void answer(Session& session, const std::string& line, json::Writer& out) {
  const std::size_t space = line.find(' ');
  const std::string verb = line.substr(0, space);
  const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  char* end = nullptr;
  const long count = std::strtol(rest.c_str(), &end, 10);
  if (verb == "memory") {
    session.write_memory(out);
  } else if (end == rest.c_str() || count < 0 || count > 1000000) {
    throw BundleError("unknown request: " + line);
  } else if (verb == "run") {
    std::vector<double> samples;
    for (long i = 0; i < count; ++i) samples.push_back(session.timed_run());
    out.key("samples_ms").numbers(samples);
  } else if (verb == "profile") {
    session.write_profile(out, static_cast<int>(count));
  } else if ((verb == "input" || verb == "output") && *end == ' ') {
    const auto index = static_cast<std::size_t>(count);
    const auto& tensors = verb == "input" ? session.bundle().inputs : session.bundle().outputs;
    if (index >= tensors.size()) throw BundleError("no such " + verb + ": " + std::to_string(index));
    verb == "input" ? session.feed(index, end + 1) : session.dump(index, end + 1);
  } else {
    throw BundleError("unknown request: " + line);
  }
}

int serve(const Options& options) {
  Session session(options);
  json::Writer head;
  head.begin_object();
  session.write_head(head);
  head.end_object();
  std::cout << head.str() << std::endl;
  std::string line;
  while (std::getline(std::cin, line) && line != "quit") {
    json::Writer out;
    try {
      out.begin_object();
      answer(session, line, out);
      out.end_object();
      std::cout << out.str() << std::endl;
    } catch (const std::runtime_error& error) {
      json::Writer failed;
      failed.begin_object().key("error").text(error.what());
      failed.key("input").boolean(dynamic_cast<const InputError*>(&error) != nullptr).end_object();
      std::cout << failed.str() << std::endl;
    }
  }
  return kOk;
}

}  // namespace

int run(const Options& options) {
  if (options.validate) {
    load_bundle(options.bundle);
    return kOk;
  }
  if (options.list) return list_devices(cl::load(options.opencl_library), options);
  return options.serve ? serve(options) : run_once(options);
}

}  // namespace ecp
