// Comparing an output with the golden one.
#pragma once

#include <cstddef>

#include "bundle.h"

namespace ecp {

struct Difference {
  bool bit_equal = false;
  std::size_t different = 0;     // elements whose bits differ
  double max_abs = 0;            // largest |actual - golden|; NaN where either holds a NaN
  double scale = 0;              // largest |golden|
  bool within(double tolerance) const { return bit_equal || max_abs <= tolerance * (scale > 0 ? scale : 1.0); }
};

// `bytes` is a whole number of items of `dtype`.
Difference compare(const void* actual, const void* golden, std::size_t bytes, DType dtype);

}  // namespace ecp
