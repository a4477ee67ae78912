#include "compare.h"

#include <cmath>
#include <cstring>

namespace ecp {
namespace {

double half_to_double(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F, mantissa = bits & 0x3FF;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(mantissa + 1024, exponent - 25);
}

template <typename T>
double load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<double>(value);
}

double element(const char* at, DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return load<float>(at);
    case DType::kFloat16: {
      std::uint16_t bits = 0;
      std::memcpy(&bits, at, sizeof bits);
      return half_to_double(bits);
    }
    case DType::kFloat64: return load<double>(at);
    case DType::kInt16: return load<std::int16_t>(at);
    case DType::kUInt64: return load<std::uint64_t>(at);
    case DType::kUInt32: return load<std::uint32_t>(at);
    case DType::kUInt16: return load<std::uint16_t>(at);
    case DType::kInt64: return load<std::int64_t>(at);
    case DType::kInt32: return load<std::int32_t>(at);
    case DType::kInt8: return load<std::int8_t>(at);
    case DType::kUInt8:
    case DType::kBool: return load<std::uint8_t>(at);
  }
  return std::nan("");
}

}  // namespace

Difference compare(const void* actual, const void* golden, std::size_t bytes, DType dtype) {
  Difference result;
  const std::size_t item = item_size(dtype);
  const auto* a = static_cast<const char*>(actual);
  const auto* g = static_cast<const char*>(golden);
  for (std::size_t at = 0; at < bytes; at += item) {
    const double wanted = element(g + at, dtype);
    result.scale = std::fmax(result.scale, std::fabs(wanted));
    if (std::memcmp(a + at, g + at, item) == 0) continue;
    ++result.different;
    const double error = std::fabs(element(a + at, dtype) - wanted);
    // Not fmax: a NaN has to stay, or an output full of NaN would count as equal.
    if (!(error <= result.max_abs)) result.max_abs = error;
    if (std::isnan(error)) break;
  }
  result.bit_equal = result.different == 0;
  return result;
}

}  // namespace ecp
