// Builds a bundle on one device and runs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "cl.h"
#include "files.h"

namespace ecp {

// Frees an OpenCL object with the entry point that belongs to it.
template <typename T>
struct Release {
  cl::Int (*free)(T*) = nullptr;
  void operator()(T* object) const { free(object); }
};
template <typename T>
using Handle = std::unique_ptr<T, Release<T>>;

// An input's values cannot be computed with: a run-time index is outside its axis.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ExecutorOptions {
  std::string cache_folder;         // compiled programs; empty = none
  cl::UInt threads = 0;             // compute units of a CPU device to use; 0 = all
  bool command_buffer = false;      // record the launches once (cl_khr_command_buffer)
};

struct StartStats {
  double upload_ms = 0, build_ms = 0;
  std::size_t programs = 0, programs_from_cache = 0;
  std::uint64_t pool_bytes = 0, image_bytes = 0;
  std::vector<std::string> notes;   // e.g. why a cached binary was not used
};

// The bundle has to outlive the executor. All members throw cl::Error or BundleError, those that run also InputError.
class Executor {
 public:
  Executor(const cl::Api& api, const cl::DeviceInfo& device, const Bundle& bundle,
           const ExecutorOptions& options);

  // `data` holds bundle.inputs[index].bytes (or outputs[index].bytes).
  void write_input(std::size_t index, const void* data);
  void read_output(std::size_t index, void* data);

  void run();                             // all launches, groups in place of theirs, returns when they are complete
  std::vector<double> profile_once();     // device time of each launch in ms, on the profiling queue
  const StartStats& stats() const { return stats_; }
  std::size_t dispatches() const { return dispatches_.size(); }

 private:
  void check_indices(cl::Queue queue);
  void choose_threads();
  void check_residency() const;
  void create_memory();
  void create_pool(const Pool& pool);
  void create_image(const MemRegion& mem);
  void fill_pool(const Pool& pool, cl::Mem buffer);
  Handle<cl::ProgramTag> program_from_cache(const std::string& path);
  Handle<cl::ProgramTag> program_from_source(const Program& program, const std::string& source);
  void store_binary(cl::Program program, const std::string& path);
  cl::Program program(std::size_t index);  // built when first asked for
  Handle<cl::KernelTag> prepare(const Launch& launch);
  void prepare_each();
  void prepare_groups();
  void record_command_buffer();
  void enqueue(cl::Queue queue, const Launch& launch, cl::Kernel kernel, cl::Event* event);
  std::string name_of(const Launch& launch) const;
  Handle<cl::QueueTag> make_queue(cl::Bitfield properties);

  const cl::Api& api_;
  const cl::DeviceInfo& device_;
  const Bundle& bundle_;
  ExecutorOptions options_;
  StartStats stats_;
  Handle<cl::DeviceTag> sub_device_;
  cl::Device target_ = nullptr;             // the device or its sub-device
  Handle<cl::ContextTag> context_;
  std::vector<std::unique_ptr<MappedFile>> mapped_;  // outlives the buffers that read it in place
  Handle<cl::QueueTag> queue_, profile_queue_;
  std::vector<Handle<cl::MemTag>> pools_;   // by pool index; null where only images live there
  std::vector<Handle<cl::MemTag>> mems_;    // by mem index: sub-buffer or image
  std::vector<Handle<cl::ProgramTag>> programs_;  // by program index; null where nothing needed it yet
  std::vector<Handle<cl::KernelTag>> kernels_;    // one per launch, arguments set once; empty until needed
  // What one inference enqueues, in order: launches and, for groups, kernels of their own.
  std::vector<std::pair<const Launch*, cl::Kernel>> dispatches_;
  std::vector<Handle<cl::KernelTag>> grouped_;  // kernels of the groups
  Handle<cl::CommandBufferTag> recorded_;
  cl::Int (*enqueue_recorded_)(cl::UInt, cl::Queue*, cl::CommandBuffer, cl::UInt, const cl::Event*,
                               cl::Event*) = nullptr;
};

}  // namespace ecp
