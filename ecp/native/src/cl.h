// OpenCL without headers and without linking: the few types, constants and entry points that the
// runner needs, declared here and resolved by dlopen. A phone has no OpenCL development files, and its
// driver library has a different name and place on every vendor's system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace ecp::cl {

using Int = std::int32_t;
using UInt = std::uint32_t;
using ULong = std::uint64_t;
using Bitfield = std::uint64_t;

struct PlatformTag;
struct DeviceTag;
struct ContextTag;
struct QueueTag;
struct MemTag;
struct ProgramTag;
struct KernelTag;
struct EventTag;
struct CommandBufferTag;
using Platform = PlatformTag*;
using Device = DeviceTag*;
using Context = ContextTag*;
using Queue = QueueTag*;
using Mem = MemTag*;
using Program = ProgramTag*;
using Kernel = KernelTag*;
using Event = EventTag*;
using CommandBuffer = CommandBufferTag*;

struct BufferRegion {
  std::size_t origin;
  std::size_t size;
};

struct ImageFormat {
  UInt order;
  UInt type;
};

struct ImageDesc {
  UInt type;
  std::size_t width, height, depth, array_size, row_pitch, slice_pitch;
  UInt mip_levels, samples;
  Mem parent;
};

// Values of the Khronos headers (cl.h), under their own names less the CL_ prefix.
inline constexpr Int kSuccess = 0;
inline constexpr Int kDeviceNotFound = -1;
inline constexpr UInt kTrue = 1;
inline constexpr Bitfield kDeviceTypeCpu = 1u << 1, kDeviceTypeGpu = 1u << 2, kDeviceTypeAll = 0xFFFFFFFFu;
inline constexpr UInt kPlatformName = 0x0902;
inline constexpr UInt kDeviceType = 0x1000, kDeviceMemBaseAddrAlign = 0x1019, kDeviceName = 0x102B,
                      kDriverVersion = 0x102D, kDeviceVersion = 0x102F, kDeviceExtensions = 0x1030,
                      kDeviceImage2dMaxWidth = 0x1011, kDeviceImage2dMaxHeight = 0x1012,
                      kDeviceMaxMemAllocSize = 0x1010, kDeviceImageSupport = 0x1016,
                      kDeviceMaxComputeUnits = 0x1002;
inline constexpr Bitfield kQueueProfiling = 1u << 1;
inline constexpr Bitfield kMemReadWrite = 1u << 0, kMemReadOnly = 1u << 2, kMemUseHostPtr = 1u << 3,
                          kMemAllocHostPtr = 1u << 4, kMemCopyHostPtr = 1u << 5;
inline constexpr std::intptr_t kPartitionByCounts = 0x1087, kPartitionEnd = 0;
inline constexpr UInt kBufferCreateRegion = 0x1220;
inline constexpr Bitfield kMapWriteInvalidate = 1u << 2;
inline constexpr UInt kRgba = 0x10B5, kHalfFloat = 0x10DD, kFloat = 0x10DE, kMemObjectImage2d = 0x10F1;
inline constexpr UInt kProgramBinarySizes = 0x1165, kProgramBinaries = 0x1166, kProgramBuildLog = 0x1183;
inline constexpr UInt kKernelNumArgs = 0x1191;
inline constexpr UInt kProfilingStart = 0x1282, kProfilingEnd = 0x1283;

using BuildNotify = void (*)(Program, void*);
using ContextNotify = void (*)(const char*, const void*, std::size_t, void*);

// name, parameter types: one line per entry point. All return cl_int ...
#define ECP_CL_STATUS_FUNCTIONS(X)                                                                       \
  X(GetPlatformIDs, (UInt, Platform*, UInt*))                                                            \
  X(GetPlatformInfo, (Platform, UInt, std::size_t, void*, std::size_t*))                                 \
  X(GetDeviceIDs, (Platform, Bitfield, UInt, Device*, UInt*))                                            \
  X(GetDeviceInfo, (Device, UInt, std::size_t, void*, std::size_t*))                                     \
  X(CreateSubDevices, (Device, const std::intptr_t*, UInt, Device*, UInt*))                              \
  X(ReleaseDevice, (Device))                                                                             \
  X(ReleaseContext, (Context))                                                                           \
  X(ReleaseCommandQueue, (Queue))                                                                        \
  X(ReleaseMemObject, (Mem))                                                                             \
  X(ReleaseProgram, (Program))                                                                           \
  X(ReleaseKernel, (Kernel))                                                                             \
  X(ReleaseEvent, (Event))                                                                               \
  X(BuildProgram, (Program, UInt, const Device*, const char*, BuildNotify, void*))                       \
  X(GetProgramInfo, (Program, UInt, std::size_t, void*, std::size_t*))                                   \
  X(GetProgramBuildInfo, (Program, Device, UInt, std::size_t, void*, std::size_t*))                      \
  X(GetKernelInfo, (Kernel, UInt, std::size_t, void*, std::size_t*))                                     \
  X(SetKernelArg, (Kernel, UInt, std::size_t, const void*))                                              \
  X(EnqueueNDRangeKernel, (Queue, Kernel, UInt, const std::size_t*, const std::size_t*,                  \
                           const std::size_t*, UInt, const Event*, Event*))                              \
  X(EnqueueReadBuffer, (Queue, Mem, UInt, std::size_t, std::size_t, void*, UInt, const Event*, Event*))  \
  X(EnqueueWriteBuffer,                                                                                  \
    (Queue, Mem, UInt, std::size_t, std::size_t, const void*, UInt, const Event*, Event*))               \
  X(EnqueueWriteImage, (Queue, Mem, UInt, const std::size_t*, const std::size_t*, std::size_t,           \
                        std::size_t, const void*, UInt, const Event*, Event*))                           \
  X(EnqueueUnmapMemObject, (Queue, Mem, void*, UInt, const Event*, Event*))                              \
  X(GetEventProfilingInfo, (Event, UInt, std::size_t, void*, std::size_t*))                              \
  X(Finish, (Queue))

// ... and these return an object and write the status through their last parameter.
#define ECP_CL_OBJECT_FUNCTIONS(X)                                                                       \
  X(Context, CreateContext, (const std::intptr_t*, UInt, const Device*, ContextNotify, void*, Int*))     \
  X(Queue, CreateCommandQueue, (Context, Device, Bitfield, Int*))                                        \
  X(Mem, CreateBuffer, (Context, Bitfield, std::size_t, void*, Int*))                                    \
  X(Mem, CreateSubBuffer, (Mem, Bitfield, UInt, const void*, Int*))                                      \
  X(Mem, CreateImage, (Context, Bitfield, const ImageFormat*, const ImageDesc*, void*, Int*))            \
  X(Program, CreateProgramWithSource, (Context, UInt, const char**, const std::size_t*, Int*))           \
  X(Program, CreateProgramWithBinary, (Context, UInt, const Device*, const std::size_t*,                 \
                                       const unsigned char**, Int*, Int*))                               \
  X(Kernel, CreateKernel, (Program, const char*, Int*))                                                  \
  X(void*, EnqueueMapBuffer, (Queue, Mem, UInt, Bitfield, std::size_t, std::size_t, UInt, const Event*,  \
                              Event*, Int*))                                                             \
  X(void*, GetExtensionFunctionAddressForPlatform, (Platform, const char*))

struct Api {
#define ECP_CL_MEMBER(name, params) Int(*name) params = nullptr;
  ECP_CL_STATUS_FUNCTIONS(ECP_CL_MEMBER)
#undef ECP_CL_MEMBER
#define ECP_CL_MEMBER(type, name, params) type(*name) params = nullptr;
  ECP_CL_OBJECT_FUNCTIONS(ECP_CL_MEMBER)
#undef ECP_CL_MEMBER
  std::string library;  // the path or soname that was opened
};

// The symbolic name of an OpenCL status, e.g. "CL_OUT_OF_RESOURCES (-5)".
std::string status_name(Int status);

// A call that failed: the text names the call, what it was for, and the status.
struct Error : std::runtime_error {
  Error(Int code, const std::string& call, const std::string& detail = "")
      : std::runtime_error(call + " failed: " + status_name(code) + detail), status(code) {}
  Int status;
};

// No OpenCL library, platform or device as asked for.
struct NoDevice : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(Int status, const std::string& call) {
  if (status != kSuccess) throw Error(status, call);
}

// Opens `path`, or where it is empty the first library of the known places. Throws NoDevice.
Api load(const std::string& path);

struct DeviceInfo {
  Platform platform = nullptr;
  Device id = nullptr;
  std::string platform_name, name, driver_version, version, extensions;
  Bitfield type = 0;
  UInt base_align_bits = 0;  // CL_DEVICE_MEM_BASE_ADDR_ALIGN
  UInt compute_units = 0;
  bool images = false;
  std::size_t image_width = 0, image_height = 0;
  ULong max_alloc = 0;
};

// Every device of every platform whose platform name contains `platform` and whose name contains
// `device` (both ignoring case; empty matches all).
std::vector<DeviceInfo> devices(const Api& api, const std::string& platform, const std::string& device);

}  // namespace ecp::cl
