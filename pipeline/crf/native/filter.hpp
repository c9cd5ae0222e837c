// The plain (not normalised) bilateral filter and its exact adjoint, for the regularised loss.
#pragma once
#include "lattice.hpp"

namespace crf {

// out[k][y][x] = filter of in[k][y][x]; with `adjoint` the transpose: the blur runs through its directions backwards.
void filter(const Lattice &lattice, int64_t height, int64_t width, int channels, const float *in, float *out,
            bool adjoint);

// The same in double precision, slowly, so that gradients can be checked.
void filter(const Lattice &lattice, int64_t height, int64_t width, int channels, const double *in, double *out,
            bool adjoint);

} // namespace crf
