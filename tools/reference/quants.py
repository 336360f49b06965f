#!/usr/bin/env python3
"""Squared errors of llama.cpp's quantisers, for tests/test_quant.c: prints the table known[] of quant.search_by_llama_cpp.

    quants.py LIBGGML_BASE.so          (in llama-cpp-python's folder lib; PyPI's gguf brings the way back)
"""
import ctypes
import sys

import gguf
import numpy as np

BLOCKS = 64


def weights(kind):
    """64 blocks of 256: 0 bell-shaped, 1 with heavy tails, 2 of one sign.  As qt_weights in tests/test_quant.c."""
    state, out = 12345 + kind, np.empty(BLOCKS * 256)

    def bell():
        nonlocal state
        total = 0
        for _ in range(4):
            state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
            total += state >> 8
        return total / 2.0**23 - 4.0
    for i in range(out.size):
        x = bell()
        out[i] = x if kind == 0 else x * bell() if kind == 1 else abs(x)
    return np.ascontiguousarray(out.astype(np.float32).reshape(BLOCKS, 256))


def main():
    lib = ctypes.CDLL(sys.argv[1])
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    for name in "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q5_0", "Q4_0":
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        errors = []
        for k in range(3):
            x = weights(k)
            out = np.empty((BLOCKS, 256 // elements * size), np.uint8)
            lib.ggml_quantize_chunk(int(kind), x.ctypes.data, out.ctypes.data, 0, BLOCKS, 256, None)
            y = gguf.quants.dequantize(out, kind)
            errors.append(float(((y.astype(np.float64) - x) ** 2).sum()))
        print(f"        {{ {int(kind)}, {{ {', '.join(f'{e:.7g}' for e in errors)} }} }},")


if __name__ == "__main__":
    main()
