// The C++ unit of the black-box program: the same header, its API called from C++17.
#include "../octavius.h"
#include "test.h"
#include "../tools/synth.h"

#include <cstring>
#include <string>
#include <vector>

TEST(cxx, a_model_in_memory_answers) {
    std::size_t bytes = 0;
    unsigned char *file = synth_memory(synth_find("tiny-qwen2"), 0, 3, &bytes);
    if (!CHECK(file != nullptr)) return;
    oct_error err = {};
    oct_model *m = nullptr;
    oct_session *s = nullptr;
    oct_session_desc desc = {};
    desc.n_ctx = 64;
    desc.max_tokens = 8;
    desc.raw = 1;
    CHECK_INT(oct_model_open_memory(&m, file, bytes, nullptr, &err), OCT_OK);
    CHECK_INT(oct_session_open(&s, m, &desc, &err), OCT_OK);
    CHECK_STR(err.message, "");
    if (s) {
        std::string text;
        oct_token t = {};
        CHECK_INT(oct_feed_text(s, "to be or not", &err), OCT_OK);
        while (oct_next(s, &t, &err) == OCT_OK && !t.is_end) text.append(t.text, t.len);
        CHECK_STR(err.message, "");
        CHECK(t.is_end);
    }
    oct_session_close(s);
    oct_model_close(m);
    std::free(file);
}

TEST(cxx, a_reader_gives_the_same_model) {
    std::size_t bytes = 0;
    unsigned char *file = synth_memory(synth_find("tiny-llama"), 0, 3, &bytes);
    if (!CHECK(file != nullptr)) return;
    struct source { const unsigned char *data; std::size_t bytes; } src = { file, bytes };
    oct_reader reader = {};
    reader.user = &src;
    reader.bytes = bytes;
    reader.read = [](void *user, std::uint64_t offset, void *dst, std::size_t n) -> std::size_t {
        const source *s = static_cast<const source *>(user);
        if (offset >= s->bytes) return 0;
        if (n > s->bytes - offset) n = s->bytes - static_cast<std::size_t>(offset);
        std::memcpy(dst, s->data + offset, n);
        return n;
    };
    oct_error err = {};
    oct_model *a = nullptr, *b = nullptr;
    CHECK_INT(oct_model_open_memory(&a, file, bytes, nullptr, &err), OCT_OK);
    CHECK_INT(oct_model_open_reader(&b, &reader, nullptr, &err), OCT_OK);
    CHECK_STR(err.message, "");
    oct_model_info ia, ib;
    oct_model_info_get(a, &ia);
    oct_model_info_get(b, &ib);
    CHECK_INT(ia.n_params, ib.n_params);
    CHECK_INT(ia.file_bytes, bytes);
    std::vector<std::int32_t> ids(64);
    std::size_t n = 0, k = 0;
    CHECK_INT(oct_tokenize(a, "some text", 9, 0, ids.data(), ids.size(), &n, &err), OCT_OK);
    CHECK_INT(oct_tokenize(b, "some text", 9, 0, nullptr, 0, &k, &err), OCT_OK);
    CHECK_INT(n, k);
    oct_model_close(a);
    oct_model_close(b);
    std::free(file);
}
