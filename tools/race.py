#!/usr/bin/env python3
"""Races octavius.h against llama.cpp on the same file, alternately, in the same minutes.

    python3 tools/race.py MODEL... [--threads 2] [--isa avx2] [--pairs 5] [--only prefill] [--json]
    python3 tools/race.py MMPROJ... --text MODEL [...]           encoding a picture, by files that hold an encoder alone

MODEL is a GGUF file, or NAME:TYPE, which build/octavius-synth then writes into a temporary folder (micro:q8_0,
tinyllama-1.1b:q4_k).  Needs the package llama-cpp-python, built from source for this machine (see README.md); for pictures
with its libmtmd, and a text model as wide as the projector, which is loaded and not run.

Both engines are processes that have loaded the model and wait for orders: octavius-bench --serve, and this file with
--peer.  A pair is one run of each, the order changing from pair to pair.  The engine that is not being timed is stopped
by a signal, so that no thread of its can spin.  What is timed: prefill is one pass of 512 tokens with the logits of the
last; decode is 64 passes of one token (ours chooses the token as well, llama.cpp's tokens are given); depth is decode
behind 2000 tokens; encode is one picture of 640 x 480 (preprocessing is in our time and not in llama.cpp's).  llama.cpp runs them with flash attention and without, and the faster enters the race.  A run during
which other processes used more than 10 % of a core is thrown away and repeated.
"""
import argparse
import ctypes
import fcntl
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

N_CTX = 2048
TESTS = {"prefill": "prefill 512", "decode": "decode 64 0", "depth": "decode 32 2000"}
PICTURES = {"encode": "encode"}
TOKENS = {"prefill": 512, "decode": 64, "depth": 32, "encode": 1}
TICK = 1.0 / os.sysconf("SC_CLK_TCK")
FOREIGN = 0.10                      # of a core
RETRIES = 20                        # tries for a run; the last is taken as it is


# --- llama.cpp: a process that obeys the same lines as octavius-bench --serve ----------------------


class Llama:
    def __init__(self, path, threads):
        import llama_cpp
        self.lib = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.ids = [i * 7919 % n_vocab for i in range(N_CTX)]
        self.threads = threads
        self.contexts = {}          # flash attention, 0 or 1 -> [context, positions filled]
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)

    def context(self, flash):
        if flash not in self.contexts:
            p = self.lib.llama_context_default_params()
            p.n_ctx, p.n_batch, p.n_ubatch, p.n_seq_max = N_CTX, 512, 512, 1
            p.n_threads = p.n_threads_batch = self.threads
            p.flash_attn_type = flash
            p.no_perf = True
            context = self.lib.llama_init_from_model(self.model, p)
            if not context:
                raise SystemExit("llama.cpp makes no context")
            self.contexts[flash] = [context, 0]
        return self.contexts[flash]

    def run(self, context, start, n):
        """One pass over n tokens from position start on."""
        b = self.batch
        b.n_tokens = n
        for i in range(n):
            b.token[i] = self.ids[start + i]
            b.pos[i] = start + i
            b.n_seq_id[i] = 1
            b.seq_id[i][0] = 0
            b.logits[i] = i == n - 1
        began = time.perf_counter()
        if self.lib.llama_decode(context, b):
            raise SystemExit("llama_decode failed")
        self.lib.llama_synchronize(context)
        return time.perf_counter() - began

    def keep(self, state, n):
        state[1] = min(state[1], n)
        self.lib.llama_memory_seq_rm(self.lib.llama_get_memory(state[0]), 0, state[1], -1)

    def prefill(self, flash, n):
        state = self.context(flash)
        self.keep(state, 0)
        state[1] = n
        return self.run(state[0], 0, n)

    def decode(self, flash, n, depth):
        state = self.context(flash)
        self.keep(state, depth)
        while state[1] < depth:
            step = min(512, depth - state[1])
            self.run(state[0], state[1], step)
            state[1] += step
        state[1] += n
        return sum(self.run(state[0], depth + i, 1) for i in range(n))


class LlamaPictures:
    """llama.cpp's encoder on a mmproj file."""

    def __init__(self, path, text, threads):
        import llama_cpp
        from llama_cpp import mtmd_cpp
        self.lib, self.mtmd = llama_cpp, mtmd_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(self.quiet, None)
        llama_cpp.llama_backend_init()
        self.text = llama_cpp.llama_model_load_from_file(text.encode(), llama_cpp.llama_model_default_params())
        if not self.text:
            raise SystemExit(f"llama.cpp cannot load {text}")
        self.path, self.threads, self.contexts = path, threads, {}
        pixels = (ctypes.c_uint8 * (640 * 480 * 3)).from_buffer(bytearray(i * 7919 % 251 for i in range(640 * 480 * 3)))
        self.picture = mtmd_cpp.mtmd_bitmap_init(640, 480, pixels)

    def context(self, flash):
        if flash not in self.contexts:
            p = self.mtmd.mtmd_context_params_default()
            p.use_gpu, p.print_timings, p.n_threads, p.warmup, p.flash_attn_type = False, False, self.threads, False, flash
            context = self.mtmd.mtmd_init_from_file(self.path.encode(), self.text, p)
            if not context:
                raise SystemExit(f"llama.cpp cannot load {self.path}")
            chunks = self.mtmd.mtmd_input_chunks_init()
            marker = self.mtmd.mtmd_default_marker()
            text = self.mtmd.mtmd_input_text(marker, len(marker), False, True)
            bitmaps = (self.mtmd.mtmd_bitmap_p_ctypes * 1)(self.picture)
            if self.mtmd.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1):
                raise SystemExit("llama.cpp does not take the picture")
            parts = [self.mtmd.mtmd_input_chunks_get(chunks, i) for i in range(self.mtmd.mtmd_input_chunks_size(chunks))]
            picture = [c for c in parts if self.mtmd.mtmd_input_chunk_get_type(c) == self.mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE]
            self.contexts[flash] = (context, picture[0])
        return self.contexts[flash]

    def encode(self, flash):
        context, picture = self.context(flash)
        began = time.perf_counter()
        if self.mtmd.mtmd_encode_chunk(context, picture):
            raise SystemExit("mtmd_encode_chunk failed")
        return time.perf_counter() - began


def peer(path, text, threads):
    llama = LlamaPictures(path, text, threads) if text else Llama(path, threads)
    features = [item.split(" = ")[0] for item in llama.lib.llama_print_system_info().decode().replace("CPU : ", "").split(" | ") if item.endswith("= 1")]
    print("ready", llama.lib.__version__, *features, flush=True)
    for line in sys.stdin:
        flash, what, *numbers = line.split()
        print(f"{getattr(llama, what)(int(flash), *map(int, numbers)):.9f}", flush=True)


# --- the two as processes ----------------------------------------------------------------------------


class Engine:
    """A process that waits, stopped, for orders."""

    def __init__(self, command, env=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        answer = self.process.stdout.readline().split()
        if not answer or answer[0] != "ready":
            raise SystemExit(f"{command[0]} did not start")
        self.about = answer[1:]     # ours: kernels, weight type, what binds prefill; llama.cpp: version, features
        self.process.send_signal(signal.SIGSTOP)

    def ask(self, line, times=1):
        """The numbers that it answers, or the means of several answers; all other engines are stopped."""
        self.process.send_signal(signal.SIGCONT)
        answers = []
        for _ in range(times):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().strip()
            if not answer or answer.startswith("error"):
                raise SystemExit(f"{self.about}: {line}: {answer}")
            answers.append([float(x) for x in answer.split()])
        self.process.send_signal(signal.SIGSTOP)
        return [statistics.mean(column) for column in zip(*answers)]

    def close(self):
        self.process.kill()
        self.process.wait()


def busy(pids):
    """CPU seconds so far: of all processes, what the host took for others, and of these processes."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, soft, steal = map(int, f.readline().split()[1:9])
    own = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        own += int(fields[11]) + int(fields[12])
    return (user + nice + system + irq + soft) * TICK, steal * TICK, own * TICK


class Turn:
    """The right to time things on this machine, for so many seconds at once; without a file to lock, always."""

    def __init__(self, path, seconds):
        self.file = open(path, "a") if path else None
        self.seconds = seconds
        self.since = None

    def take(self, grace=0):
        """grace: seconds more, in the middle of what belongs together."""
        if not self.file or (self.since and time.monotonic() - self.since < self.seconds + grace):
            return
        self.give()
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.since = time.monotonic()

    def give(self):
        if self.since:
            fcntl.flock(self.file, fcntl.LOCK_UN)
            self.since = None
            time.sleep(0.2)


# --- the race --------------------------------------------------------------------------------------


class Race:
    def __init__(self, args, path):
        self.args = args
        self.path = path
        self.tests = PICTURES if args.text else TESTS
        self.discarded = 0
        self.kept_noisy = 0
        self.stolen = []            # parts of a core, by run
        self.times = {}             # (engine, test): runs in a try, so that it lasts long enough to judge
        command = [args.bench, path, "--serve", "--threads", str(args.threads)] + (["--isa", args.isa] if args.isa else [])
        env = dict(os.environ)
        env.pop("OMP_WAIT_POLICY", None)
        args.turn.take()            # loading keeps the cores busy
        self.engines = []
        self.ours = self.start(command, env)
        self.llama = self.start_peer(args.peer_wait)

    def start(self, command, env):
        self.engines.append(Engine(command, env))
        return self.engines[-1]

    def start_peer(self, policy):
        env = dict(os.environ)
        env.pop("OMP_WAIT_POLICY", None)
        if policy != "default":
            env["OMP_WAIT_POLICY"] = policy.upper()
        text = ["--text", self.args.text] if self.args.text else []
        return self.start([sys.executable, __file__, "--peer", self.path, *text, "--threads", str(self.args.threads)], env)

    def close(self):
        for engine in self.engines:
            engine.close()

    def warm(self, engine, line):
        """The first run of a kind fills contexts and buffers; then it is known how many make half a second."""
        self.args.turn.take(20)
        (took,) = engine.ask(line)
        if took < 1:
            (took,) = engine.ask(line)
        self.times[engine, line] = max(1, min(200, round(0.6 / took)))

    def once(self, engine, line):
        """Seconds of a run with the machine to itself."""
        if (engine, line) not in self.times:
            self.warm(engine, line)
        pids = {os.getpid(), self.ours.process.pid, self.llama.process.pid, engine.process.pid}
        for _ in range(RETRIES):
            self.args.turn.take(20)
            began = time.perf_counter()
            before = busy(pids)
            (took,) = engine.ask(line, self.times[engine, line])
            after = busy(pids)
            wall = time.perf_counter() - began
            everybody, stolen, own = (b - a for a, b in zip(before, after))
            foreign = everybody - own
            self.stolen.append(stolen / wall)
            if foreign <= FOREIGN * wall + 2 * TICK:         # two ticks: how coarsely CPU time is counted
                return took
            self.discarded += 1
        self.kept_noisy += 1
        return took

    def flash(self, test):
        """Flash attention on or off: what is faster for llama.cpp, by the faster of two runs, or one if long; and both in tokens/s."""
        seconds = {0: [], 1: []}
        while not seconds[0] or (len(seconds[0]) < 2 and seconds[0][0] < 4):
            for on in seconds:
                seconds[on].append(self.once(self.llama, f"{on} {self.tests[test]}"))
        rate = {on: TOKENS[test] / min(s) for on, s in seconds.items()}
        return max(rate, key=rate.get), rate

    def run(self, test):
        on, rates = self.flash(test)
        lines = [(self.ours, self.tests[test]), (self.llama, f"{on} {self.tests[test]}")]
        rate = {self.ours: [], self.llama: []}
        limits = []
        for pair in range(self.args.pairs):
            self.args.turn.take()
            for engine, line in lines if pair % 2 == 0 else lines[::-1]:
                rate[engine].append(TOKENS[test] / self.once(engine, line))
            limits.append(self.ours.ask("limits"))
        prefill, reading, clock = (statistics.median(column) for column in zip(*limits))
        computes = test in ("prefill", "encode")
        limit = prefill if computes else reading
        share = {"of": self.ours.about[2] if computes else "read", "ours": statistics.median(rate[self.ours]) / limit,
                 "llama": statistics.median(rate[self.llama]) / limit}
        return {"test": test, "ours": spread(rate[self.ours]), "llama": spread(rate[self.llama]),
                "ratio": spread([a / b for a, b in zip(rate[self.ours], rate[self.llama])]), "share": share, "ghz": clock,
                "llama_flash": {"off": rates[0], "on": rates[1]}, "flash": "on" if on else "off"}


def spread(v):
    return {"median": statistics.median(v), "min": min(v), "max": max(v)}


def wait_policies(race):
    """llama.cpp under each OMP_WAIT_POLICY, runs alternating.  Measured with 0.3.36, Q4_0, 2 threads: prefill 53 tokens/s by
    default, 55 active, 37 passive; so the default is fair to it."""
    peers = {name: race.start_peer(name) for name in ("default", "active", "passive")}
    for test in ("prefill", "decode"):
        seconds = {name: [] for name in peers}
        for _ in range(race.args.pairs):
            for name, engine in peers.items():
                seconds[name].append(race.once(engine, f"1 {TESTS[test]}"))
        print(f"{test:8s}", *(f"{name} {TOKENS[test] / statistics.median(s):8.1f} "
                              f"[{TOKENS[test] / max(s):.1f} - {TOKENS[test] / min(s):.1f}]" for name, s in seconds.items()), flush=True)


HEADING = f"{'':8s} {'octavius.h':28s} {'llama.cpp':28s} {'ratio':22s} share of limit"
NOTES = """
ratio: median of the pairs' ratios, above 1 octavius.h is faster.  Share: of the arithmetic (prefill) or of the reading of
weights (decode) that this machine managed between the pairs; of a file that fits a cache, shares of reading say nothing.
llama.cpp is timed with its faster kind of attention, n_batch = n_ubatch = 512, F16 keys and values, repacked weights, its
OpenMP threads waiting as named; the process that is not timed is stopped.  To see that it is at its usual speed here: on two
threads of a Zen 4 at 3.7 GHz it was measured (TinyLlama in Q4_0, Q8_0, Q4_K) at 88 to 123 tokens/s in prefill, 24 to 34 per
GHz and 19 to 27 % of the int8 peak, and at 62 to 85 % of reading in decode.  Cores that do more int8 operations in a cycle
(Sapphire Rapids: twice Zen 4's) give it a smaller share of a higher peak."""


def show(result):
    ours = result["ours"]["median"]
    digits = 3 if ours < 5 else 2 if ours < 100 else 0 if ours > 1000 else 1

    def cell(s, digits):
        return f"{s['median']:.{digits}f} [{s['min']:.{digits}f} - {s['max']:.{digits}f}]"
    flash, share = result["llama_flash"], result["share"]
    print(f"{result['test']:8s} {cell(result['ours'], digits):28s} {cell(result['llama'], digits):28s} {cell(result['ratio'], 2):22s} "
          f"{share['ours']:4.0%} {share['llama']:4.0%} of {share['of']}, {result['ghz']:.1f} GHz; "
          f"flash {result['flash']} (off {flash['off']:.{digits}f}, on {flash['on']:.{digits}f})", flush=True)


def model_file(name, args, folder):
    if os.path.exists(name) or ":" not in name:
        return name
    model, kind = name.split(":")
    path = os.path.join(folder, f"{model}-{kind}.gguf")
    subprocess.run([args.synth, model, "--type", kind, "--seed", "1", "-o", path], check=True, stdout=subprocess.DEVNULL)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", help="kernels of ours: scalar, avx2, avx512, neon")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="only tests whose name holds this: " + ", ".join(TESTS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bench", default="build/octavius-bench")
    parser.add_argument("--synth", default="build/octavius-synth")
    parser.add_argument("--lock", help="a file to flock while timing, for a machine that others time on too")
    parser.add_argument("--slice", type=float, default=15, help="seconds for which the lock is held at once")
    parser.add_argument("--peer-wait", default="default", choices=["default", "active", "passive"], help="llama.cpp's OMP_WAIT_POLICY")
    parser.add_argument("--wait-policies", action="store_true", help="only compare llama.cpp with itself under each")
    parser.add_argument("--text", metavar="MODEL", help="race encoders of pictures; llama.cpp wants the text model they are for")
    parser.add_argument("--peer", metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args.peer, args.text, args.threads)
    if not args.model:
        parser.error("which model?")
    args.turn = Turn(args.lock, args.slice)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))          # so that stopped engines are ended
    everything = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.model:
            race = Race(args, model_file(name, args, folder))
            try:
                if args.wait_policies:
                    wait_policies(race)
                    continue
                kernels, kind, _ = race.ours.about
                if not args.json:
                    print(f"\n{os.path.basename(name)} ({kind}), {args.threads} thread{'s' * (args.threads > 1)}: octavius.h with kernels {kernels}, "
                          f"llama-cpp-python {race.llama.about[0]} with OMP_WAIT_POLICY {args.peer_wait} ({' '.join(race.llama.about[1:])})\n"
                          f"{'pictures' if args.text else 'tokens'}/s, median [min - max] of {args.pairs} pairs\n{HEADING}", flush=True)
                for test in race.tests:
                    if args.only not in test:
                        continue
                    result = race.run(test)
                    result.update(model=os.path.basename(name), type=kind, threads=args.threads, kernels=kernels,
                                  llama_cpp_python=race.llama.about[0], discarded=race.discarded)
                    everything.append(result)
                    if not args.json:
                        show(result)
                if not args.json:
                    print(f"runs discarded because other processes used over 10 % of a core: {race.discarded}"
                          + (f"; {race.kept_noisy} kept all the same" if race.kept_noisy else "")
                          + f"; the host took {statistics.mean(race.stolen):.0%} of a core for other machines", flush=True)
            finally:
                args.turn.give()
                race.close()
    if args.json:
        print(json.dumps(everything))
    elif not args.wait_policies:
        print(NOTES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
