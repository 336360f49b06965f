/* Chapters 4, 5 and 8 alone: a small unit that is also built for other machines (aarch64 under qemu) and with
 * intrinsics in plain C (tests/simd/simde.h), so that every kernel table is tested everywhere. */
#if !defined(_GNU_SOURCE)
#  define _GNU_SOURCE
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "../octavius.h"
#define TEST_MAIN
#include "test.h"
#include "test_quant.c"
#include "test_kernels.c"
#if defined(TEST_MODELS)               /* and whole tiny models, where the steps that build them say so */
#  include "test_model.c"
#endif
