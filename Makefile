# octavius.h - plain GNU make, nothing to configure.  `make help` lists the targets.
#
# CC, CXX, CFLAGS and CXXFLAGS may be set; without OpenMP: make OPENMP=

B        := build
CFLAGS   ?= -O2 -g1
CXXFLAGS ?= -O2 -g1
WARN     := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wvla -Wdouble-promotion -Wcast-qual
C11      := -std=c11 $(WARN) -Wstrict-prototypes
CXX17    := -std=c++17 $(WARN)
TIME     ?= 60

# OpenMP where the compiler can link it.
$(shell mkdir -p $(B))
OPENMP   := $(shell echo 'int main(void) { return 0; }' > $(B)/.probe.c && \
              $(CC) -fopenmp $(B)/.probe.c -o $(B)/.probe 2> /dev/null && echo -fopenmp; rm -f $(B)/.probe $(B)/.probe.c)

PROGRAMS := $(B)/hello $(B)/describe_image $(B)/octavius $(B)/octavius-inspect $(B)/octavius-synth $(B)/octavius-bench \
            $(B)/octavius-convert $(B)/octavius-quantize $(B)/octavius-upcycle
UNIT     := $(wildcard tests/*.c tests/*.h tests/golden/*) tools/synth.h tools/blocks.h tools/quants.h tools/gguf_writer.h

# Independent programs are built side by side unless the caller says how many.
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc 2> /dev/null || echo 2)
endif

all: $(PROGRAMS)

# The implementation once; -DOCTAVIUS_IMPLEMENTED tells a program that asks for it that it is elsewhere.
$(B)/octavius.o: octavius.h
	$(CC) $(C11) $(CFLAGS) $(OPENMP) -DOCTAVIUS_IMPLEMENTATION -include octavius.h -x c -c /dev/null -o $@
$(B)/hello $(B)/describe_image $(B)/octavius: $(B)/%: examples/%.c $(B)/octavius.o
	$(CC) $(C11) $(CFLAGS) $(OPENMP) -DOCTAVIUS_IMPLEMENTED -I. $^ -o $@ -lm
# These run no model for speed: the scalar kernels alone compile in a fifth of the time.
READERS    := tools/checkpoint.h tools/pickle.h tools/zip.h tools/safetensors.h tools/json.h tools/vocab.h tools/pool.h \
              tools/octavius_delta.h tools/octavius_points.h tools/features.h
CONVERTERS := $(B)/octavius-convert $(B)/octavius-quantize $(B)/octavius-upcycle
$(CONVERTERS): $(B)/octavius-%: tools/%.c octavius.h tools/program.h tools/gguf_write.h tools/quants.h tools/blocks.h tools/gguf_writer.h $(READERS)
	$(CC) $(C11) $(CFLAGS) $(OPENMP) -DOCTAVIUS_NO_SIMD -I. $< -o $@ -lm
$(B)/octavius-%: tools/%.c octavius.h tools/synth.h tools/blocks.h tools/program.h
	$(CC) $(C11) $(CFLAGS) $(OPENMP) -I. $< -o $@ -lm

help:
	@echo 'make                 build everything into $(B)/: hello, describe_image, octavius, octavius-inspect, octavius-synth, octavius-bench,'
	@echo '                     octavius-convert, octavius-quantize, octavius-upcycle'
	@echo 'make test            the suite (T=gguf: tests whose group.name holds "gguf"; ISA=scalar: one instruction set)'
	@echo 'make check           the suite under gcc and clang, C11 and C++17, -O0 and -O3, with and without OpenMP;'
	@echo '                     warnings as errors, sanitizers, aarch64 under qemu, AVX-512 by SIMDe'
	@echo 'make check-all       the same in every configuration'
	@echo 'make asan            the suite under the address and undefined-behaviour sanitizers'
	@echo 'make fuzz            every fuzzer for TIME=60 seconds'
	@echo 'make bench           the machine, then matmuls and attention (MODEL=F.gguf: prefill and decode of that model)'
	@echo 'make race            against llama.cpp, MODEL=F.gguf (PYTHON=python3 with llama-cpp-python, RACE="--threads 1")'
	@echo 'make toc             the contents list of octavius.h, compared with its chapters'
	@echo 'make install         octavius.h and the programs under PREFIX=/usr/local'
	@echo 'make clean'

# --- tests ---------------------------------------------------------------------------------

$(B)/unit: $(UNIT) octavius.h
	$(CC) $(C11) $(CFLAGS) $(OPENMP) -I. tests/test_main.c -o $@ -lm -lpthread
$(B)/api.o: tests/test_api.c tests/test.h tools/synth.h tools/blocks.h octavius.h
	$(CC) $(C11) $(CFLAGS) -DOCTAVIUS_IMPLEMENTED -I. -c $< -o $@
$(B)/api_2.o: tests/test_api_2.c tests/test.h tools/synth.h tools/blocks.h octavius.h
	$(CC) $(C11) $(CFLAGS) -I. -c $< -o $@
$(B)/api_cxx.o: tests/test_cxx.cpp tests/test.h tools/synth.h tools/blocks.h octavius.h
	$(CXX) $(CXX17) $(CXXFLAGS) -I. -c $< -o $@
$(B)/api: $(B)/api.o $(B)/api_2.o $(B)/api_cxx.o $(B)/octavius.o
	$(CXX) $(OPENMP) $^ -o $@ -lm -lpthread

test: $(PROGRAMS) $(B)/unit $(B)/api
	@export OMP_WAIT_POLICY=PASSIVE; CC='$(CC)' T='$(T)' ISA='$(ISA)' bash tests/run.sh 'white box: $(B)/unit' 'black box: $(B)/api' \
	    $(if $(T),,'programs: bash tests/test_cli.sh' 'checkpoints: sh tests/test_convert.sh' 'tools: sh tests/test_tools.sh' \
	        'symbols and contents: bash tests/test_symbols.sh')

check:
	@bash tests/check.sh
check-all:
	@bash tests/check.sh all
asan:
	@bash tests/check.sh asan
fuzz:
	@bash tests/check.sh fuzz $(TIME)
toc:
	@bash tests/test_symbols.sh toc

bench: $(B)/octavius-bench
	@$(B)/octavius-bench $(MODEL)

PYTHON ?= python3
race: $(B)/octavius-bench $(B)/octavius-synth
	@$(PYTHON) tools/race.py --bench $(B)/octavius-bench --synth $(B)/octavius-synth $(RACE) $(or $(MODEL),tinyllama-1.1b:q8_0 micro:q8_0)

PREFIX ?= /usr/local
install: all
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin
	install -m 644 octavius.h $(DESTDIR)$(PREFIX)/include
	install -m 755 $(B)/octavius $(B)/octavius-inspect $(B)/octavius-synth $(B)/octavius-bench \
	    $(CONVERTERS) $(DESTDIR)$(PREFIX)/bin

clean:
	rm -rf $(B)

.PHONY: all help test check check-all asan fuzz toc bench race install clean
