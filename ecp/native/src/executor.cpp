#include "executor.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>
namespace ecp {
namespace {

// Hex digits of the SHA-256 that stands before a kept binary.
constexpr std::size_t kChecksum = 64;

double since_ms(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

template <typename T>
Handle<T> own(T* object, cl::Int (*free)(T*), cl::Int status, const std::string& call) {
  cl::check(status, call);
  return Handle<T>(object, Release<T>{free});
}

std::string build_log(const cl::Api& api, cl::Program program, cl::Device device) {
  std::size_t size = 0;
  if (api.GetProgramBuildInfo(program, device, cl::kProgramBuildLog, 0, nullptr, &size) != cl::kSuccess) return "";
  std::string log(size, '\0');
  if (api.GetProgramBuildInfo(program, device, cl::kProgramBuildLog, size, log.data(), nullptr) != cl::kSuccess) {
    return "";
  }
  while (!log.empty() && (log.back() == '\0' || log.back() == '\n')) log.pop_back();
  return log;
}

// The line of a build log that says what is wrong: messages are one line.
std::string first_error(const std::string& log) {
  std::string first;
  for (std::size_t at = 0; at < log.size();) {
    const std::size_t end = std::min(log.find('\n', at), log.size());
    const std::string line = log.substr(at, std::min<std::size_t>(end - at, 300));
    if (line.find("error") != std::string::npos) return line;
    if (first.empty()) first = line;
    at = end + 1;
  }
  return first.empty() ? "the compiler says nothing" : first;
}

}  // namespace

Executor::Executor(const cl::Api& api, const cl::DeviceInfo& device, const Bundle& bundle,
                   const ExecutorOptions& options)
    : api_(api), device_(device), bundle_(bundle), options_(options) {
  if (bundle_.device_class == "nvidia" && device_.extensions.find("cl_nv_") == std::string::npos) {
    throw BundleError("the bundle was compiled for device class nvidia, which " + device_.name + " is not");
  }
  choose_threads();
  check_residency();
  cl::Int status = cl::kSuccess;
  cl::Context context = api_.CreateContext(nullptr, 1, &target_, nullptr, nullptr, &status);
  context_ = own(context, api_.ReleaseContext, status, "clCreateContext");
  queue_ = make_queue(0);
  const auto upload_start = std::chrono::steady_clock::now();
  create_memory();
  stats_.upload_ms = since_ms(upload_start);
  const auto build_start = std::chrono::steady_clock::now();
  programs_.resize(bundle_.programs.size());
  prepare_groups();
  if (options_.command_buffer) record_command_buffer();
  stats_.build_ms = since_ms(build_start);
}

Handle<cl::QueueTag> Executor::make_queue(cl::Bitfield properties) {
  cl::Int status = cl::kSuccess;
  cl::Queue queue = api_.CreateCommandQueue(context_.get(), target_, properties, &status);
  return own(queue, api_.ReleaseCommandQueue, status, "clCreateCommandQueue");
}

// Groups that wait for each other hang for ever on a device that cannot hold them all.
void Executor::check_residency() const {
  const std::size_t units = options_.threads > 0 ? options_.threads : device_.compute_units;
  const auto check = [&](const Launch& launch) {
    if (launch.resident_groups <= units) return;
    throw BundleError(name_of(launch) + " needs " + std::to_string(launch.resident_groups) +
                      " compute units at once, " + device_.name + " has " + std::to_string(units) +
                      ": compile the model for this device");
  };
  for (const Launch& launch : bundle_.launches) check(launch);
  for (const Group& group : bundle_.groups) check(group.launch);
}

void Executor::choose_threads() {
  target_ = device_.id;
  if (options_.threads == 0 || options_.threads == device_.compute_units) return;
  if ((device_.type & cl::kDeviceTypeCpu) == 0 || options_.threads > device_.compute_units) {
    throw BundleError("--threads " + std::to_string(options_.threads) + ": " + device_.name + " has " +
                      std::to_string(device_.compute_units) + " compute units, and only a CPU can be divided");
  }
  const std::intptr_t partition[] = {cl::kPartitionByCounts, static_cast<std::intptr_t>(options_.threads),
                                     cl::kPartitionEnd, 0};
  cl::Device part = nullptr;
  const cl::Int status = api_.CreateSubDevices(device_.id, partition, 1, &part, nullptr);
  sub_device_ = own(part, api_.ReleaseDevice, status, "clCreateSubDevices for --threads " + std::to_string(options_.threads));
  target_ = part;
}

void Executor::create_memory() {
  if (device_.base_align_bits > 4096 * 8) {
    throw BundleError("the device wants sub-buffers aligned to " + std::to_string(device_.base_align_bits / 8) +
                      " bytes, the bundle has 4096");
  }
  std::vector<bool> buffered(bundle_.pools.size(), false);
  for (const MemRegion& mem : bundle_.mems) buffered[mem.pool] = buffered[mem.pool] || !mem.image;
  for (std::size_t i = 0; i < bundle_.pools.size(); ++i) {
    if (buffered[i]) {
      create_pool(bundle_.pools[i]);
    } else {
      pools_.emplace_back();
    }
  }
  for (const MemRegion& mem : bundle_.mems) {
    if (mem.image) {
      create_image(mem);
      continue;
    }
    const cl::BufferRegion region{mem.offset, mem.bytes};
    cl::Int status = cl::kSuccess;
    cl::Mem part = api_.CreateSubBuffer(pools_[mem.pool].get(), 0, cl::kBufferCreateRegion, &region, &status);
    mems_.push_back(own(part, api_.ReleaseMemObject, status, "clCreateSubBuffer of mem " + mem.name));
  }
}

void Executor::create_pool(const Pool& pool) {
  // A CPU device reads the weights where the file is mapped. Elsewhere ALLOC_HOST_PTR: on a phone CPU and
  // GPU share memory, so that filling by mapping copies nothing.
  const bool in_place = pool.file && pool.read_only && (device_.type & cl::kDeviceTypeCpu) != 0;
  if (in_place) mapped_.push_back(std::make_unique<MappedFile>(bundle_.folder + "/" + *pool.file, pool.bytes));
  const cl::Bitfield flags = in_place         ? cl::kMemReadOnly | cl::kMemUseHostPtr
                             : pool.read_only ? cl::kMemReadOnly | cl::kMemAllocHostPtr
                                              : cl::kMemReadWrite | cl::kMemAllocHostPtr;
  cl::Int status = cl::kSuccess;
  cl::Mem buffer = api_.CreateBuffer(context_.get(), flags, pool.bytes, in_place ? mapped_.back()->data() : nullptr,
                                     &status);
  pools_.push_back(own(buffer, api_.ReleaseMemObject, status,
                       "clCreateBuffer of pool " + pool.name + " (" + std::to_string(pool.bytes) + " bytes)"));
  if (pool.file && !in_place) fill_pool(pool, buffer);
  stats_.pool_bytes += pool.bytes;
}

void Executor::fill_pool(const Pool& pool, cl::Mem buffer) {
  cl::Int status = cl::kSuccess;
  void* target = api_.EnqueueMapBuffer(queue_.get(), buffer, cl::kTrue, cl::kMapWriteInvalidate, 0, pool.bytes, 0,
                                       nullptr, nullptr, &status);
  cl::check(status, "clEnqueueMapBuffer of pool " + pool.name);
  read_file_into(bundle_.folder + "/" + *pool.file, target, pool.bytes);
  cl::check(api_.EnqueueUnmapMemObject(queue_.get(), buffer, target, 0, nullptr, nullptr),
            "clEnqueueUnmapMemObject of pool " + pool.name);
  cl::check(api_.Finish(queue_.get()), "clFinish after filling pool " + pool.name);
}

void Executor::create_image(const MemRegion& mem) {
  const Image& image = *mem.image;
  if (!device_.images || image.width > device_.image_width || image.height > device_.image_height) {
    throw BundleError("mem " + mem.name + " is an image of " + std::to_string(image.width) + "x" +
                      std::to_string(image.height) + ", the device takes " + std::to_string(device_.image_width) +
                      "x" + std::to_string(device_.image_height));
  }
  const cl::ImageFormat format{cl::kRgba, image.half ? cl::kHalfFloat : cl::kFloat};
  cl::ImageDesc desc{};
  desc.type = cl::kMemObjectImage2d;
  desc.width = image.width;
  desc.height = image.height;
  // In strips of a few MiB, so that the peak is the image plus one strip and not twice the weights; at once on
  // a part of a CPU, because PoCL 3.1 aborts in clEnqueueWriteImage on a queue of a sub-device.
  const std::uint64_t row = image.width * image.texel_bytes();
  const std::uint64_t strip = sub_device_ ? image.height : std::max<std::uint64_t>(1, (4u << 20) / row);
  std::ifstream file(bundle_.folder + "/" + *bundle_.pools[mem.pool].file, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(mem.offset));
  std::vector<char> rows(static_cast<std::size_t>(row * std::min(strip, image.height)));
  const auto read_rows = [&](std::uint64_t count) {
    if (!file.read(rows.data(), static_cast<std::streamsize>(row * count))) {
      throw BundleError("cannot read the image of mem " + mem.name + " from " + *bundle_.pools[mem.pool].file);
    }
  };
  if (sub_device_) read_rows(image.height);
  cl::Int status = cl::kSuccess;
  cl::Mem object =
      api_.CreateImage(context_.get(), cl::kMemReadOnly | (sub_device_ ? cl::kMemCopyHostPtr : 0), &format, &desc,
                       sub_device_ ? rows.data() : nullptr, &status);
  mems_.push_back(own(object, api_.ReleaseMemObject, status, "clCreateImage of mem " + mem.name));
  stats_.image_bytes += row * image.height;
  if (sub_device_) return;
  for (std::uint64_t y = 0; y < image.height; y += strip) {
    const std::uint64_t count = std::min(strip, image.height - y);
    read_rows(count);
    const std::size_t origin[3] = {0, static_cast<std::size_t>(y), 0};
    const std::size_t region[3] = {static_cast<std::size_t>(image.width), static_cast<std::size_t>(count), 1};
    cl::check(api_.EnqueueWriteImage(queue_.get(), object, cl::kTrue, origin, region, row, 0, rows.data(), 0,
                                     nullptr, nullptr),
              "clEnqueueWriteImage of mem " + mem.name);
  }
}

Handle<cl::ProgramTag> Executor::program_from_cache(const std::string& path) {
  if (!regular_file_size(path)) return {};
  const std::string content = read_file(path);
  const std::string_view binary = std::string_view(content).substr(std::min(kChecksum, content.size()));
  if (content.compare(0, kChecksum, sha256_hex(binary)) != 0) {
    stats_.notes.push_back("cached binary " + path + " is damaged, built again");
    return {};
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(binary.data());
  const std::size_t size = binary.size();
  cl::Int binary_status = cl::kSuccess, status = cl::kSuccess;
  cl::Program raw =
      api_.CreateProgramWithBinary(context_.get(), 1, &target_, &size, &bytes, &binary_status, &status);
  if (status == cl::kSuccess) {
    Handle<cl::ProgramTag> program(raw, Release<cl::ProgramTag>{api_.ReleaseProgram});
    status = api_.BuildProgram(raw, 1, &target_, "", nullptr, nullptr);
    if (status == cl::kSuccess) return program;
  }
  stats_.notes.push_back("cached binary " + path + " refused (" + cl::status_name(status) + "), built again");
  return {};
}

Handle<cl::ProgramTag> Executor::program_from_source(const Program& program, const std::string& source) {
  const char* text = source.data();
  const std::size_t size = source.size();
  cl::Int status = cl::kSuccess;
  cl::Program raw = api_.CreateProgramWithSource(context_.get(), 1, &text, &size, &status);
  auto owned = own(raw, api_.ReleaseProgram, status, "clCreateProgramWithSource of " + program.file);
  status = api_.BuildProgram(raw, 1, &target_, program.options.c_str(), nullptr, nullptr);
  if (status != cl::kSuccess) {
    throw cl::Error(status, "clBuildProgram of " + program.file + " with options \"" + program.options + "\"",
                    ": " + first_error(build_log(api_, raw, target_)));
  }
  return owned;
}

void Executor::store_binary(cl::Program program, const std::string& path) {
  std::size_t size = 0;
  cl::check(api_.GetProgramInfo(program, cl::kProgramBinarySizes, sizeof size, &size, nullptr),
            "clGetProgramInfo (binary size)");
  if (size == 0) return;
  std::string binary(size, '\0');
  auto* target = reinterpret_cast<unsigned char*>(binary.data());
  cl::check(api_.GetProgramInfo(program, cl::kProgramBinaries, sizeof target, &target, nullptr),
            "clGetProgramInfo (binary)");
  std::error_code ignored;
  if (!regular_file_size(path)) std::filesystem::remove_all(path, ignored);  // no file was kept under this name
  try {
    write_file(path, sha256_hex(binary) + binary);
  } catch (const std::runtime_error& error) {
    stats_.notes.push_back(std::string("not kept: ") + error.what());  // costs time at the next start, nothing else
  }
}

cl::Program Executor::program(std::size_t index) {
  if (programs_[index]) return programs_[index].get();
  const Program& entry = bundle_.programs[index];
  if (!entry.target.empty()) {
    throw BundleError("program " + entry.name + " has instructions of " + entry.target +
                      ", which only the Python session completes: run the bundle with it");
  }
  const std::string source = read_file(bundle_.folder + "/" + entry.file);
  std::string path;
  if (!options_.cache_folder.empty()) {
    // '\n' cannot occur in options or device texts, so that no two different keys look alike.
    path = options_.cache_folder + "/" +
           sha256_hex(entry.options + "\n" + device_.platform_name + "\n" + device_.name + "\n" +
                      device_.driver_version + "\n" + device_.version + "\n" + source) +
           ".clbin";
  }
  Handle<cl::ProgramTag> built;
  if (!path.empty()) built = program_from_cache(path);
  if (built) {
    ++stats_.programs_from_cache;
  } else {
    built = program_from_source(entry, source);
    if (!path.empty()) store_binary(built.get(), path);
  }
  ++stats_.programs;
  programs_[index] = std::move(built);
  return programs_[index].get();
}

// Only where something failed: an enqueue has no time for texts.
std::string Executor::name_of(const Launch& launch) const {
  for (const Group& group : bundle_.groups) {
    if (&launch != &group.launch) continue;
    return "the group of launches " + std::to_string(group.first) + " to " +
           std::to_string(group.first + group.count - 1) + " (" + launch.kernel + ")";
  }
  return "launch " + std::to_string(&launch - bundle_.launches.data()) + " (" + launch.kernel + ")";
}

Handle<cl::KernelTag> Executor::prepare(const Launch& launch) {
  const std::string name = name_of(launch);
  cl::Int status = cl::kSuccess;
  cl::Kernel raw = api_.CreateKernel(program(launch.program), launch.kernel.c_str(), &status);
  auto kernel = own(raw, api_.ReleaseKernel, status, "clCreateKernel for " + name);
  cl::UInt expected = 0;
  cl::check(api_.GetKernelInfo(raw, cl::kKernelNumArgs, sizeof expected, &expected, nullptr),
            "clGetKernelInfo for " + name);
  if (expected != launch.args.size()) {
    throw BundleError(name + " has " + std::to_string(launch.args.size()) +
                      " arguments, its kernel takes " + std::to_string(expected));
  }
  for (cl::UInt k = 0; k < expected; ++k) {
    const Argument& argument = launch.args[k];
    const std::string call = "clSetKernelArg " + std::to_string(k) + " of " + name;
    if (argument.kind == Argument::Kind::kMem) {
      const cl::Mem mem = mems_[argument.mem].get();
      cl::check(api_.SetKernelArg(raw, k, sizeof mem, &mem), call);
    } else if (argument.kind == Argument::Kind::kInt32) {
      cl::check(api_.SetKernelArg(raw, k, sizeof argument.i32, &argument.i32), call);
    } else {
      cl::check(api_.SetKernelArg(raw, k, sizeof argument.f32, &argument.f32), call);
    }
  }
  return kernel;
}

void Executor::prepare_each() {
  for (std::size_t i = kernels_.size(); i < bundle_.launches.size(); ++i) {
    kernels_.push_back(prepare(bundle_.launches[i]));
  }
}

// Where groups stand for all launches, these are prepared only when a profile asks for them.
void Executor::prepare_groups() {
  std::size_t at = 0, grouped = 0;
  for (const Group& group : bundle_.groups) grouped += group.count;
  if (grouped < bundle_.launches.size()) prepare_each();
  for (const Group& group : bundle_.groups) {
    for (; at < group.first; ++at) dispatches_.emplace_back(&bundle_.launches[at], kernels_[at].get());
    grouped_.push_back(prepare(group.launch));
    dispatches_.emplace_back(&group.launch, grouped_.back().get());
    at += group.count;
  }
  for (; at < bundle_.launches.size(); ++at) dispatches_.emplace_back(&bundle_.launches[at], kernels_[at].get());
}

void Executor::record_command_buffer() {
  if (device_.extensions.find("cl_khr_command_buffer") == std::string::npos) {
    throw BundleError("--command-buffer: " + device_.name + " has no cl_khr_command_buffer");
  }
  const auto find = [&](const char* name) {
    void* address = api_.GetExtensionFunctionAddressForPlatform(device_.platform, name);
    if (address == nullptr) throw BundleError(std::string("--command-buffer: the driver has no ") + name);
    return address;
  };
  using Create = cl::CommandBuffer (*)(cl::UInt, const cl::Queue*, const std::uint64_t*, cl::Int*);
  using Record = cl::Int (*)(cl::CommandBuffer, cl::Queue, const std::uint64_t*, cl::Kernel, cl::UInt,
                             const std::size_t*, const std::size_t*, const std::size_t*, cl::UInt,
                             const cl::UInt*, cl::UInt*, void**);
  using OnBuffer = cl::Int (*)(cl::CommandBuffer);
  const auto create = reinterpret_cast<Create>(find("clCreateCommandBufferKHR"));
  const auto record = reinterpret_cast<Record>(find("clCommandNDRangeKernelKHR"));
  const auto finalize = reinterpret_cast<OnBuffer>(find("clFinalizeCommandBufferKHR"));
  const auto release = reinterpret_cast<OnBuffer>(find("clReleaseCommandBufferKHR"));
  enqueue_recorded_ = reinterpret_cast<decltype(enqueue_recorded_)>(find("clEnqueueCommandBufferKHR"));
  cl::Int status = cl::kSuccess;
  cl::Queue queue = queue_.get();
  cl::CommandBuffer raw = create(1, &queue, nullptr, &status);
  auto commands = own(raw, release, status, "clCreateCommandBufferKHR");
  cl::UInt previous = 0;
  for (std::size_t i = 0; i < dispatches_.size(); ++i) {
    const Launch& launch = *dispatches_[i].first;
    cl::UInt point = 0;
    cl::check(record(raw, nullptr, nullptr, dispatches_[i].second, static_cast<cl::UInt>(launch.global.size()), nullptr,
                     launch.global.data(), launch.local.empty() ? nullptr : launch.local.data(), i == 0 ? 0 : 1,
                     i == 0 ? nullptr : &previous, &point, nullptr),
              "clCommandNDRangeKernelKHR of " + name_of(launch));
    previous = point;
  }
  cl::check(finalize(raw), "clFinalizeCommandBufferKHR");
  recorded_ = std::move(commands);
}

void Executor::enqueue(cl::Queue queue, const Launch& launch, cl::Kernel kernel, cl::Event* event) {
  const cl::Int status =
      api_.EnqueueNDRangeKernel(queue, kernel, static_cast<cl::UInt>(launch.global.size()), nullptr,
                                launch.global.data(), launch.local.empty() ? nullptr : launch.local.data(), 0,
                                nullptr, event);
  if (status != cl::kSuccess) throw cl::Error(status, "clEnqueueNDRangeKernel of " + name_of(launch));
}

void Executor::run() {
  if (recorded_) {
    cl::check(enqueue_recorded_(0, nullptr, recorded_.get(), 0, nullptr, nullptr), "clEnqueueCommandBufferKHR");
  } else {
    for (const auto& [launch, kernel] : dispatches_) enqueue(queue_.get(), *launch, kernel, nullptr);
  }
  cl::check(api_.Finish(queue_.get()), "clFinish");
  check_indices(queue_.get());
}

// Throws what the kernels noted about run-time indices, and wipes the note for the next inference.
void Executor::check_indices(cl::Queue queue) {
  if (!bundle_.status) return;
  const cl::Mem mem = mems_[bundle_.status->mem].get();
  std::int32_t noted[4] = {};
  cl::check(api_.EnqueueReadBuffer(queue, mem, cl::kTrue, 0, sizeof noted, noted, 0, nullptr, nullptr),
            "clEnqueueReadBuffer of the status");
  if (noted[0] == 0) return;
  const std::int32_t clean[4] = {};
  cl::check(api_.EnqueueWriteBuffer(queue, mem, cl::kTrue, 0, sizeof clean, clean, 0, nullptr, nullptr),
            "clEnqueueWriteBuffer of the status");
  const auto& checks = bundle_.status->checks;
  if (noted[0] < 1 || static_cast<std::size_t>(noted[0]) > checks.size()) {
    throw BundleError("a kernel names check " + std::to_string(noted[0]) + " of " + std::to_string(checks.size()));
  }
  const IndexCheck& check = checks[static_cast<std::size_t>(noted[0]) - 1];
  std::int64_t value = 0;
  std::memcpy(&value, noted + 2, sizeof value);
  throw InputError("node '" + check.node + "': index " + std::to_string(value) + " in '" + check.index +
                   "' is outside [" + std::to_string(-check.size) + ", " + std::to_string(check.size - 1) + "]");
}

std::vector<double> Executor::profile_once() {
  // A queue of its own: one with profiling on slows the enqueueing, and its times are not latency.
  if (!profile_queue_) profile_queue_ = make_queue(cl::kQueueProfiling);
  prepare_each();
  std::vector<Handle<cl::EventTag>> events;
  for (std::size_t i = 0; i < kernels_.size(); ++i) {
    cl::Event event = nullptr;
    enqueue(profile_queue_.get(), bundle_.launches[i], kernels_[i].get(), &event);
    events.emplace_back(event, Release<cl::EventTag>{api_.ReleaseEvent});
  }
  cl::check(api_.Finish(profile_queue_.get()), "clFinish of the profiling queue");
  check_indices(profile_queue_.get());
  std::vector<double> times;
  for (std::size_t i = 0; i < events.size(); ++i) {
    cl::ULong start = 0, end = 0;
    const std::string call = "clGetEventProfilingInfo of " + name_of(bundle_.launches[i]);
    cl::check(api_.GetEventProfilingInfo(events[i].get(), cl::kProfilingStart, sizeof start, &start, nullptr), call);
    cl::check(api_.GetEventProfilingInfo(events[i].get(), cl::kProfilingEnd, sizeof end, &end, nullptr), call);
    times.push_back(static_cast<double>(end - start) * 1e-6);
  }
  return times;
}

void Executor::write_input(std::size_t index, const void* data) {
  const Tensor& tensor = bundle_.inputs.at(index);
  if (tensor.bytes == 0) return;
  cl::check(api_.EnqueueWriteBuffer(queue_.get(), mems_[tensor.mem].get(), cl::kTrue, 0, tensor.bytes, data, 0,
                                    nullptr, nullptr),
            "clEnqueueWriteBuffer of input " + tensor.name);
}

void Executor::read_output(std::size_t index, void* data) {
  const Tensor& tensor = bundle_.outputs.at(index);
  if (tensor.bytes == 0) return;
  cl::check(api_.EnqueueReadBuffer(queue_.get(), mems_[tensor.mem].get(), cl::kTrue, 0, tensor.bytes, data, 0,
                                   nullptr, nullptr),
            "clEnqueueReadBuffer of output " + tensor.name);
}

}  // namespace ecp
