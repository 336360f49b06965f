#!/usr/bin/env python3
"""Every stage of whole-model cases of the golden test data against octavius-inspect, without octavius-convert.

    check_golden.py [--models DIR] [options of check.py] CASE...

The comparison is the test data's own, golden/check.py beside the cases; only the conversion is replaced: by golden_gguf.py, or
with --models by files that it made before, DIR/CASE.gguf and DIR/CASE.VARIANT.gguf.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def gguf_of(case, variant, out, models):
    name = Path(case).resolve().name
    if models:
        shutil.copy(Path(models, name + (f".{variant}" if variant else "") + ".gguf"), out)
        return
    command = [sys.executable, HERE / "golden_gguf.py", case, out] + (["--variant", variant] if variant else [])
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main(argv):
    models = None
    if "--models" in argv:
        i = argv.index("--models")
        models = argv[i + 1]
        del argv[i:i + 2]
    cases = [a for a in argv if os.path.exists(os.path.join(a, "case.json"))]
    check = Path(cases[0]).resolve().parent / "check.py"
    source = check.read_text().rstrip().removesuffix("main()")
    names = {"__name__": "check", "__doc__": __doc__}
    exec(compile(source, str(check), "exec"), names)

    def variant(self, v, tmp):
        model = os.path.join(tmp, v["folder"] + ".gguf")
        gguf_of(self.path, v["folder"], model, models)
        flags = ["--capacity"] if "capacity" in v["folder"] else []
        self.dump(model, {**self.json["runs"][0], "name": v["folder"], "out": v["folder"], "greedy": v.get("greedy_ids"),
                          "dump": self.json["runs"][0]["dump"] + flags}, tmp)

    names["Case"].convert = lambda self, root, model: gguf_of(self.path, None, model, models)
    names["Case"].variant = variant
    sys.argv = [str(check)] + argv
    names["main"]()


main(sys.argv[1:])
