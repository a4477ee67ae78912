#include "cl.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>

namespace ecp::cl {
namespace {

// Android vendors' places first (a plain soname is refused there by linker namespaces on some systems),
// then what a Linux host has.
constexpr const char* kLibraries[] = {
#if defined(__ANDROID__)
    "libOpenCL.so",
    "/vendor/lib64/libOpenCL.so",
    "/system/vendor/lib64/libOpenCL.so",
    "libOpenCL-pixel.so",
    "/vendor/lib64/egl/libGLES_mali.so",
    "/vendor/lib64/libPVROCL.so",
#else
    "libOpenCL.so.1",
    "libOpenCL.so",
#endif
};

struct Code {
  Int value;
  const char* name;
};

constexpr Code kCodes[] = {
    {0, "CL_SUCCESS"},
    {-1, "CL_DEVICE_NOT_FOUND"},
    {-2, "CL_DEVICE_NOT_AVAILABLE"},
    {-3, "CL_COMPILER_NOT_AVAILABLE"},
    {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
    {-5, "CL_OUT_OF_RESOURCES"},
    {-6, "CL_OUT_OF_HOST_MEMORY"},
    {-7, "CL_PROFILING_INFO_NOT_AVAILABLE"},
    {-8, "CL_MEM_COPY_OVERLAP"},
    {-9, "CL_IMAGE_FORMAT_MISMATCH"},
    {-10, "CL_IMAGE_FORMAT_NOT_SUPPORTED"},
    {-11, "CL_BUILD_PROGRAM_FAILURE"},
    {-12, "CL_MAP_FAILURE"},
    {-13, "CL_MISALIGNED_SUB_BUFFER_OFFSET"},
    {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
    {-19, "CL_KERNEL_ARG_INFO_NOT_AVAILABLE"},
    {-30, "CL_INVALID_VALUE"},
    {-31, "CL_INVALID_DEVICE_TYPE"},
    {-32, "CL_INVALID_PLATFORM"},
    {-33, "CL_INVALID_DEVICE"},
    {-34, "CL_INVALID_CONTEXT"},
    {-35, "CL_INVALID_QUEUE_PROPERTIES"},
    {-36, "CL_INVALID_COMMAND_QUEUE"},
    {-37, "CL_INVALID_HOST_PTR"},
    {-38, "CL_INVALID_MEM_OBJECT"},
    {-39, "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR"},
    {-40, "CL_INVALID_IMAGE_SIZE"},
    {-41, "CL_INVALID_SAMPLER"},
    {-42, "CL_INVALID_BINARY"},
    {-43, "CL_INVALID_BUILD_OPTIONS"},
    {-44, "CL_INVALID_PROGRAM"},
    {-45, "CL_INVALID_PROGRAM_EXECUTABLE"},
    {-46, "CL_INVALID_KERNEL_NAME"},
    {-47, "CL_INVALID_KERNEL_DEFINITION"},
    {-48, "CL_INVALID_KERNEL"},
    {-49, "CL_INVALID_ARG_INDEX"},
    {-50, "CL_INVALID_ARG_VALUE"},
    {-51, "CL_INVALID_ARG_SIZE"},
    {-52, "CL_INVALID_KERNEL_ARGS"},
    {-53, "CL_INVALID_WORK_DIMENSION"},
    {-54, "CL_INVALID_WORK_GROUP_SIZE"},
    {-55, "CL_INVALID_WORK_ITEM_SIZE"},
    {-56, "CL_INVALID_GLOBAL_OFFSET"},
    {-57, "CL_INVALID_EVENT_WAIT_LIST"},
    {-58, "CL_INVALID_EVENT"},
    {-59, "CL_INVALID_OPERATION"},
    {-61, "CL_INVALID_BUFFER_SIZE"},
    {-63, "CL_INVALID_GLOBAL_WORK_SIZE"},
    {-64, "CL_INVALID_PROPERTY"},
    {-65, "CL_INVALID_IMAGE_DESCRIPTOR"},
    {-66, "CL_INVALID_COMPILER_OPTIONS"},
    {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
};

bool contains(const std::string& text, const std::string& part) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

template <typename Get>
std::string info_text(Get get, const std::string& call) {
  std::size_t size = 0;
  check(get(0, nullptr, &size), call);
  std::string text(size, '\0');
  if (size > 0) check(get(size, text.data(), nullptr), call);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

template <typename T>
T device_value(const Api& api, Device device, UInt what) {
  T value{};
  check(api.GetDeviceInfo(device, what, sizeof value, &value, nullptr), "clGetDeviceInfo");
  return value;
}

DeviceInfo describe(const Api& api, Platform platform, const std::string& platform_name, Device device) {
  const auto text = [&](UInt what) {
    return info_text(
        [&](std::size_t n, void* p, std::size_t* out) { return api.GetDeviceInfo(device, what, n, p, out); },
        "clGetDeviceInfo");
  };
  DeviceInfo info;
  info.platform = platform;
  info.id = device;
  info.platform_name = platform_name;
  info.name = text(kDeviceName);
  info.driver_version = text(kDriverVersion);
  info.version = text(kDeviceVersion);
  info.extensions = text(kDeviceExtensions);
  info.type = device_value<Bitfield>(api, device, kDeviceType);
  info.base_align_bits = device_value<UInt>(api, device, kDeviceMemBaseAddrAlign);
  info.compute_units = device_value<UInt>(api, device, kDeviceMaxComputeUnits);
  info.images = device_value<UInt>(api, device, kDeviceImageSupport) != 0;
  info.image_width = device_value<std::size_t>(api, device, kDeviceImage2dMaxWidth);
  info.image_height = device_value<std::size_t>(api, device, kDeviceImage2dMaxHeight);
  info.max_alloc = device_value<ULong>(api, device, kDeviceMaxMemAllocSize);
  return info;
}

}  // namespace

std::string status_name(Int status) {
  const auto* found = std::find_if(std::begin(kCodes), std::end(kCodes),
                                   [status](const Code& code) { return code.value == status; });
  const std::string name = found == std::end(kCodes) ? "unknown OpenCL status" : found->name;
  return name + " (" + std::to_string(status) + ")";
}

Api load(const std::string& path) {
  Api api;
  void* library = nullptr;
  std::string tried;
  std::vector<std::string> candidates(std::begin(kLibraries), std::end(kLibraries));
  if (!path.empty()) candidates = {path};
  for (const auto& candidate : candidates) {
    library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) {
      api.library = candidate;
      break;
    }
    const char* why = dlerror();
    tried += "\n  " + candidate + ": " + (why != nullptr ? why : "cannot be opened");
  }
  if (library == nullptr) {
    throw NoDevice("no OpenCL library could be opened; name one with --opencl-lib PATH. Tried:" + tried);
  }
  // Pixel phones hide the entry points behind a loader that has to be switched on first.
  using Enable = void (*)();
  using Lookup = void* (*)(const char*);
  Lookup lookup = nullptr;
  if (auto enable = reinterpret_cast<Enable>(dlsym(library, "enableOpenCL"))) {
    enable();
    lookup = reinterpret_cast<Lookup>(dlsym(library, "loadOpenCLPointer"));
  }
  const auto find = [&](const char* name) {
    void* symbol = dlsym(library, name);
    if (symbol == nullptr && lookup != nullptr) symbol = lookup(name);
    if (symbol == nullptr) throw NoDevice(api.library + " has no " + name + ": OpenCL 1.2 is needed");
    return symbol;
  };
#define ECP_CL_RESOLVE(name, params) api.name = reinterpret_cast<Int(*) params>(find("cl" #name));
  ECP_CL_STATUS_FUNCTIONS(ECP_CL_RESOLVE)
#undef ECP_CL_RESOLVE
#define ECP_CL_RESOLVE(type, name, params) api.name = reinterpret_cast<type(*) params>(find("cl" #name));
  ECP_CL_OBJECT_FUNCTIONS(ECP_CL_RESOLVE)
#undef ECP_CL_RESOLVE
  return api;
}

std::vector<DeviceInfo> devices(const Api& api, const std::string& platform, const std::string& device) {
  UInt count = 0;
  const Int status = api.GetPlatformIDs(0, nullptr, &count);
  if (status != kSuccess || count == 0) {
    throw NoDevice(api.library + " knows no OpenCL platform: " + status_name(status));
  }
  std::vector<Platform> platforms(count);
  check(api.GetPlatformIDs(count, platforms.data(), nullptr), "clGetPlatformIDs");
  std::vector<DeviceInfo> found;
  for (Platform one : platforms) {
    const std::string name = info_text(
        [&](std::size_t n, void* p, std::size_t* out) {
          return api.GetPlatformInfo(one, kPlatformName, n, p, out);
        },
        "clGetPlatformInfo");
    UInt number = 0;
    const Int listed = api.GetDeviceIDs(one, kDeviceTypeAll, 0, nullptr, &number);
    if (!contains(name, platform) || listed == kDeviceNotFound || number == 0) continue;
    check(listed, "clGetDeviceIDs");
    std::vector<Device> ids(number);
    check(api.GetDeviceIDs(one, kDeviceTypeAll, number, ids.data(), nullptr), "clGetDeviceIDs");
    for (Device id : ids) {
      DeviceInfo info = describe(api, one, name, id);
      if (contains(info.name, device)) found.push_back(info);
    }
  }
  return found;
}

}  // namespace ecp::cl
