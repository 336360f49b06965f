#!/usr/bin/env python3
"""Two GGUF files: every key and every tensor that differs.  compare_gguf.py A B; tensors are compared bit for bit."""
import sys

import gguf
import numpy as np


def main():
    a, b = (gguf.GGUFReader(path) for path in sys.argv[1:3])
    bad = 0
    for kind, x, y in (("key", a.fields, b.fields), ("tensor", {t.name: t for t in a.tensors}, {t.name: t for t in b.tensors})):
        for name in sorted(set(x) | set(y)):
            if name.startswith("GGUF."):
                continue
            if name not in x or name not in y:
                what = f"only in the {'second' if name not in x else 'first'}"
            elif kind == "key":
                u, v = x[name].contents(), y[name].contents()
                what = "" if u == v else f"{str(u)[:70]} and {str(v)[:70]}"
            else:
                u, v = x[name], y[name]
                same = list(u.shape) == list(v.shape) and u.tensor_type == v.tensor_type and np.array_equal(u.data, v.data)
                what = "" if same else f"{list(u.shape)} {u.tensor_type.name} and {list(v.shape)} {v.tensor_type.name}, or other numbers"
            if what:
                bad += 1
                print(f"{kind} {name}: {what}")
    print(f"{len(a.tensors)} and {len(b.tensors)} tensors, {bad} differences")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
