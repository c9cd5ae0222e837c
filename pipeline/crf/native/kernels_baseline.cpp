#include "kernels.hpp"

#define CRF_LANES 4
#define CRF_NAME "baseline"
#include "kernels.inl"

const crf::Kernels *crf::kernels_baseline() { return &table; }
