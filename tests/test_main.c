/* The white-box tests: the implementation and every chapter's tests in one unit, so that the header is compiled once
 * and private functions can be called.  Black-box tests, linked from several units, are in test_api.c. */
#if !defined(_GNU_SOURCE)
#  define _GNU_SOURCE                  /* for the tests (threads, clocks, processes); the header itself needs nothing */
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "../octavius.h"

#define TEST_MAIN
#include "test.h"

#if defined(__has_include)
#  if __has_include("test_quant.c")
#    include "test_quant.c"
#  endif
#  if __has_include("test_kernels.c")
#    include "test_kernels.c"
#  endif
#  if __has_include("test_gguf.c")
#    include "test_gguf.c"
#  endif
#  if __has_include("test_tokenizer.c")
#    include "test_tokenizer.c"
#  endif
#  if __has_include("test_sampler.c")
#    include "test_sampler.c"
#  endif
#  if __has_include("test_dialogue.c")
#    include "test_dialogue.c"
#  endif
#  if __has_include("test_model.c")
#    include "test_model.c"
#  endif
#  if __has_include("test_memory.c")
#    include "test_memory.c"
#  endif
#  if __has_include("test_feed.c")
#    include "test_feed.c"
#  endif
#  if __has_include("test_golden.c")
#    include "test_golden.c"
#  endif
#  if __has_include("test_pictures.c")
#    include "test_pictures.c"
#  endif
#  if __has_include("test_moe.c")
#    include "test_moe.c"
#  endif
#  if __has_include("test_lora.c")
#    include "test_lora.c"
#  endif
#  if __has_include("test_vision.c")
#    include "test_vision.c"
#  endif
#  if __has_include("test_octavius.c")
#    include "test_octavius.c"
#  endif
#  if __has_include("test_boxes.c")
#    include "test_boxes.c"
#  endif
#  if __has_include("test_drawing.c")
#    include "test_drawing.c"
#  endif
#endif
