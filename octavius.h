/* octavius.h - version 0.3.0 - sparse multimodal models in one C header                MIT licence
 *
 * Opens a GGUF file and streams text from it, about pictures too: LLaMA, Vicuna, Mistral, TinyLlama,
 * SmolLM2, Phi-2, StableLM-2, Qwen and Qwen2, LLaVA-1.5, MoE-LLaVA and OCTAVIUS on images on top of
 * them, in every weight type from F32 down to Q2_K; boxes in an answer become data.  libc and libm only.
 *
 * DO THIS
 *     In exactly one C or C++ file:
 *         #define OCTAVIUS_IMPLEMENTATION
 *         #include "octavius.h"
 *     and `cc -O2 prog.c -lm`.  The best kernels of the machine are chosen at run time, no flags
 *     are needed.  `-fopenmp` gives threads, or hand in your own pool (oct_session_desc).
 *
 * THE 20-LINE PROGRAM (examples/hello.c)
 *     #define OCTAVIUS_IMPLEMENTATION
 *     #include "octavius.h"
 *     #include <stdio.h>
 *
 *     int main(int argc, char **argv) {
 *         oct_error    err = {0};
 *         oct_model   *m = NULL;
 *         oct_session *s = NULL;
 *         oct_token    t = {0};
 *
 *         if (argc < 3) return 2;                                        // hello MODEL.gguf PROMPT
 *         if (oct_model_open(&m, argv[1], NULL, &err) ||                 // NULL desc: defaults
 *             oct_session_open(&s, m, NULL, &err) ||
 *             oct_feed_text(s, argv[2], &err)) goto done;
 *         while (!oct_next(s, &t, &err) && !t.is_end)                    // you own the loop
 *             fwrite(t.text, 1, t.len, stdout);
 *     done:
 *         if (err.code) fprintf(stderr, "hello: %s\n", err.message);
 *         oct_session_close(s);                                          // NULL is fine
 *         oct_model_close(m);
 *         return err.code != OCT_OK;
 *     }
 *
 * HOW DATA FLOWS                                                        T tokens, E = n_embd
 *
 *     text --tokenizer(7)--> ids [T] --token_embd--> x [T, E] <--mm-- vit (11) <-- pictures (9)
 *                                                    |
 *          +-------------------- blk.N (14) ---------+---------------------------------+
 *          |  norm -> q,k,v (8), lora (12) -> rope -> cache -> attention    -> + x     |
 *          |  norm -> gate,up -> silu or gelu -> down, or k experts (13)    -> + x     |
 *          +-----------------------------------------+---------------------------------+
 *                                                    |
 *                        output_norm -> logits [V] --sampler(15)--> id --> text --> boxes (17)
 *
 * WHAT IT DOES NOT DO
 *     No training, no GPU, no network, no downloads, no execution of templates found in files.
 *     Little-endian machines.  One sequence per session: for several, open several sessions on one
 *     model.  A mapped file that another program truncates while it is in use ends in SIGBUS, as
 *     with every mmap: set oct_model_desc.no_mmap where that can happen.
 *
 * PROMISES
 *     Nothing here exits, prints, or keeps global state.  Nothing is allocated by oct_next.  Every
 *     failure is a code and a message that names the thing, what was found and what was wanted.
 *     Any file, however hostile, ends at worst in such an error.  Logits are bit-identical for any
 *     number of threads and however a prompt is split.
 *
 * SWITCHES (define before including the implementation)
 *     OCTAVIUS_STATIC                  every function static
 *     OCTAVIUS_MALLOC, OCTAVIUS_FREE   default allocator (both or neither): malloc(n), free(p)
 *     OCTAVIUS_ASSERT(x)               checks of our own mistakes, default: none
 *     OCTAVIUS_NO_STDIO                no opening by path: memory and reader only
 *     OCTAVIUS_NO_MMAP                 paths are read into memory
 *     OCTAVIUS_NO_SIMD                 the scalar kernels alone
 *     OCTAVIUS_NO_OPENMP               ignore -fopenmp
 *     OCTAVIUS_NO_PICTURES             no picture files: pixels only; nothing is drawn
 *     OCTAVIUS_FILENAME                this file's name, if you renamed it (it includes itself)
 *
 * CONTENTS (grep -n MARK:)
 *      1. api
 *      2. base
 *      3. threads
 *      4. quant
 *      5. kernels
 *      6. gguf
 *      7. tokenizer
 *      8. tensor ops
 *      9. pictures
 *     11. vit
 *     12. lora
 *     13. moe
 *     14. decoder
 *     15. sampler
 *     16. dialogue
 *     17. boxes
 *     18. drawing
 *     19. public
 *     20. templates
 *     21. back
 *
 * REVISIONS
 *     0.3.0  OCTAVIUS on images: LoRA experts and their gate, LoRA adapters, dialogues computed anew, boxes as data, drawn, constrained
 *     0.2.0  pictures: PNG, JPEG, BMP and PNM, CLIP and SigLIP encoders, experts in the decoder: MoE-LLaVA, LLaVA-1.5
 *     0.1.0  text: GGUF, tokenizers, five decoder architectures, all kernels in their first form
 */
#ifndef OCTAVIUS_H
#define OCTAVIUS_H

#include <stddef.h>
#include <stdint.h>

#define OCT_VERSION_MAJOR 0
#define OCT_VERSION_MINOR 3
#define OCT_VERSION_PATCH 0

#if defined(OCTAVIUS_STATIC)
#  define OCT_API static
#else
#  define OCT_API extern
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ==========================================================================
 * MARK: - 1. api
 * ==========================================================================
 * A model is immutable once open: share it between threads.  A session is one
 * conversation and belongs to one thread at a time.  Descs, results and errors
 * are plain structs; a zeroed desc, or NULL, means all defaults.  New fields
 * come at the end and mean "as before" when zero.
 */

/* --- results and errors ------------------------------------------------- */

typedef enum oct_result {
    OCT_OK = 0,
    OCT_E_ARG,            /* the call's own arguments: NULL where a thing is needed, out of range */
    OCT_E_IO,             /* a file cannot be opened or read */
    OCT_E_FORMAT,         /* bytes contradict their format, or themselves */
    OCT_E_UNSUPPORTED,    /* well-formed, but nothing this library runs */
    OCT_E_MEMORY,         /* the allocator returned NULL, or the caller's memory is too small */
    OCT_E_LIMIT,          /* a stated limit is exceeded, or an output buffer too small */
    OCT_E_CONTEXT,        /* the context is full: rewind, reset, or open a longer one */
    OCT_E_ABORTED,        /* the abort or progress callback asked to stop */
    OCT_E_STATE           /* a call out of order, e.g. oct_next with nothing fed */
} oct_result;

/* Every function that can fail returns an oct_result and fills this if it is not NULL. */
typedef struct oct_error {
    oct_result code;
    char       message[244];      /* NUL-terminated UTF-8, one line */
} oct_error;

OCT_API const char *oct_result_name(oct_result code);      /* "OCT_E_FORMAT"; never NULL */

/* --- what the caller may hand in ---------------------------------------- */

/* All three zero: OCTAVIUS_MALLOC/FREE.  Half-filled: OCT_E_ARG.  Memory must be aligned as malloc's. */
typedef struct oct_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void  (*free)(void *user, void *ptr);
    void  *user;
} oct_allocator;

typedef enum oct_log_level { OCT_LOG_INFO = 0, OCT_LOG_WARN = 1 } oct_log_level;
typedef void (*oct_log_fn)(void *user, oct_log_level level, const char *message);
/* done: 0 to 1.  Non-zero return: stop, the call fails with OCT_E_ABORTED. */
typedef int (*oct_progress_fn)(void *user, float done);
/* Non-zero return: stop.  Called on the thread that called the library, and only there. */
typedef int (*oct_abort_fn)(void *user);
/* Run fn(arg, 0) .. fn(arg, n - 1), in any order, at once or one after another; return when all are done. */
typedef void (*oct_task_fn)(void *arg, int i);
typedef void (*oct_parallel_fn)(void *user, oct_task_fn fn, void *arg, int n);

/* A view of bytes that somebody else owns; not NUL-terminated, may hold any byte. */
typedef struct oct_string { const char *data; size_t len; } oct_string;

/* Read up to n bytes at offset into dst; return how many were read, less than n only at the end or on failure. */
typedef struct oct_reader {
    size_t (*read)(void *user, uint64_t offset, void *dst, size_t n);
    void    *user;
    uint64_t bytes;               /* size of the whole */
} oct_reader;

/* --- model: open, ask, close -------------------------------------------- */

typedef struct oct_model   oct_model;
typedef struct oct_session oct_session;

typedef enum oct_load {
    OCT_LOAD_ALL = 0,             /* everything, ready for oct_session_open */
    OCT_LOAD_VOCAB,               /* metadata, tensor directory and tokenizer: oct_tokenize works */
    OCT_LOAD_DIRECTORY            /* metadata and tensor directory of any GGUF file */
} oct_load;

typedef struct oct_model_desc {
    oct_allocator   allocator;
    oct_load        load;
    int             no_mmap;      /* non-zero: read the file into memory */
    oct_log_fn      log;          /* silence without one */
    void           *log_user;
    oct_progress_fn progress;     /* while reading; a mapped file is never read as a whole */
    void           *progress_user;
    const char     *mmproj;       /* path of a second file with the vision tower and projector (llama.cpp's mmproj, or ours) */
} oct_model_desc;

/* Opens a GGUF file (version 2 or 3).  "NAME-00001-of-0000N.gguf" opens all N parts, found beside it.
 * On failure *out is NULL and nothing is left open.  Errors: IO, FORMAT, UNSUPPORTED, MEMORY, ABORTED. */
OCT_API oct_result oct_model_open(oct_model **out, const char *path, const oct_model_desc *desc, oct_error *err);
/* The same from bytes, which must stay in place and unchanged until oct_model_close. */
OCT_API oct_result oct_model_open_memory(oct_model **out, const void *data, size_t bytes,
                                         const oct_model_desc *desc, oct_error *err);
/* The same through a callback; the bytes are read once, into memory of the model's. */
OCT_API oct_result oct_model_open_reader(oct_model **out, const oct_reader *reader,
                                         const oct_model_desc *desc, oct_error *err);
/* Parts of a split model, in order, each as bytes in memory. */
OCT_API oct_result oct_model_open_parts(oct_model **out, const oct_string *parts, int n_parts,
                                        const oct_model_desc *desc, oct_error *err);
OCT_API void       oct_model_close(oct_model *m);          /* after its sessions; NULL is fine */

typedef struct oct_model_info {
    oct_string  architecture;     /* "llama", "phi2", ... */
    oct_string  name;             /* general.name, or empty */
    oct_string  prompt_style;     /* the style recognised from the file ("chatml", ...), or "raw" */
    int         n_vocab;          /* rows of the output matrix */
    int         n_ctx_train, n_embd, n_layer, n_head, n_kv, d_head, n_ff, n_expert, k_top;
    int         bos, eos;         /* token ids, -1: none */
    int         has_image, has_points;   /* the file holds such an encoder */
    uint64_t    n_params;         /* elements of all tensors */
    uint64_t    file_bytes;
    int         image_tokens;     /* positions that a picture takes */
    int         n_gate;           /* LoRA experts that a gate weighs; 0: none */
} oct_model_info;
OCT_API void oct_model_info_get(const oct_model *m, oct_model_info *out);   /* fields not loaded are 0 */

/* Metadata, as the file holds it.  Types are GGUF's: 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool,
 * 8 string, 9 array, 10 u64, 11 i64, 12 f64. */
typedef struct oct_meta {
    oct_string           key;
    int                  type;
    int                  item_type;      /* of an array */
    uint64_t             count;          /* of an array, else 1 */
    uint64_t             u;              /* integers and bool, sign-extended */
    double               f;              /* f32 and f64; integers too */
    oct_string           s;              /* string */
    const unsigned char *items;          /* array: its elements in the file */
    size_t               items_bytes;
} oct_meta;
OCT_API size_t     oct_model_meta_count(const oct_model *m);
OCT_API oct_result oct_model_meta(const oct_model *m, size_t i, oct_meta *out);
OCT_API oct_result oct_model_meta_find(const oct_model *m, const char *key, oct_meta *out);   /* OCT_E_ARG: absent */
/* Element i of an array.  For strings this walks from the start: read them in order with *cursor (start at 0). */
OCT_API oct_result oct_meta_item(const oct_meta *array, uint64_t i, size_t *cursor, oct_meta *out);

typedef struct oct_tensor {
    oct_string  name;
    int         type;             /* GGUF's number */
    const char *type_name;        /* "Q4_K" */
    int         n_dims;
    int64_t     ne[4];            /* ne[0] is contiguous; a matrix [out, in] has ne = {in, out, 1, 1} */
    size_t      bytes;
    const void *data;             /* in the file's bytes */
} oct_tensor;
OCT_API size_t     oct_model_tensor_count(const oct_model *m);
OCT_API oct_result oct_model_tensor(const oct_model *m, size_t i, oct_tensor *out);
OCT_API oct_result oct_model_tensor_find(const oct_model *m, const char *name, oct_tensor *out);
/* Row `row` (of ne[1] * ne[2] * ne[3]) as F32: out [ne[0]]. */
OCT_API oct_result oct_tensor_row(const oct_tensor *t, int64_t row, float *out, oct_error *err);

/* --- text and token ids -------------------------------------------------- */

enum {
    OCT_TEXT_SPECIAL = 1,         /* encode: text like <|im_end|> becomes its control token; decode: and back */
    OCT_TEXT_BOS     = 2,         /* encode: begin with the BOS token where the file asks for one */
    OCT_TEXT_CLEAN   = 4          /* decode: " ." becomes "." and the like, where the file's tokenizer does so */
};
/* Text (any bytes; invalid UTF-8 is encoded byte by byte) to ids.  *n is always the number of ids there are;
 * with ids NULL they are only counted; OCT_E_LIMIT if there are more than cap. */
OCT_API oct_result oct_tokenize(const oct_model *m, const char *text, size_t len, unsigned flags,
                                int32_t *ids, size_t cap, size_t *n, oct_error *err);
/* Ids to bytes, likewise.  No NUL is added. */
OCT_API oct_result oct_detokenize(const oct_model *m, const int32_t *ids, size_t n_ids, unsigned flags,
                                  char *text, size_t cap, size_t *len, oct_error *err);

/* --- adapters ----------------------------------------------------------------
 * Plain LoRA adapters in llama.cpp's format: to each linear W x they name, scale * alpha / rank * B (A x) is added. */
typedef struct oct_lora oct_lora;
enum { OCT_MAX_LORA = 8 };        /* of a session at a time */
/* Opens an adapter for this model, or takes it from bytes that stay in place until it is closed.  Errors as oct_model_open;
 * FORMAT where its shapes are not the model's. */
OCT_API oct_result oct_lora_open(oct_lora **out, const oct_model *m, const char *path, oct_error *err);
OCT_API oct_result oct_lora_open_memory(oct_lora **out, const oct_model *m, const void *data, size_t bytes, oct_error *err);
OCT_API void       oct_lora_close(oct_lora *lora);         /* after the sessions that use it, before its model; NULL is fine */

/* --- session -------------------------------------------------------------- */

typedef enum oct_isa { OCT_ISA_AUTO = 0, OCT_ISA_SCALAR, OCT_ISA_AVX2, OCT_ISA_AVX512, OCT_ISA_NEON } oct_isa;
OCT_API int         oct_isa_available(oct_isa isa);        /* on this machine, in this build */
OCT_API const char *oct_isa_name(oct_isa isa);             /* AUTO: the name of what would be taken */

typedef enum oct_kv_type { OCT_KV_F16 = 0, OCT_KV_F32, OCT_KV_Q8_0 } oct_kv_type;

/* Zeroes mean: what the file says, and greedy where it says nothing. */
typedef struct oct_sampling {
    float temperature;            /* below 0: greedy, whatever the file says */
    int   top_k;                  /* keep the k best */
    float top_p;                  /* then the fewest whose probabilities reach p; 1 keeps all */
    float min_p;                  /* then those with at least min_p times the best's probability */
    float repeat_penalty;         /* logits of recent tokens: divided by it if positive, else multiplied */
    float frequency_penalty;      /* minus this times the number of recent uses */
    float presence_penalty;       /* minus this if used recently */
    int   penalty_window;         /* recent: this many tokens; 0: 64; below 0: all */
} oct_sampling;

/* Called for every stage of a pass (names: "embd", "blk.0.attn_norm", ... , "logits"): data [rows, cols], whose
 * first row stands at position pos.  Data is valid during the call only. */
typedef void (*oct_stage_fn)(void *user, const char *name, const float *data, int rows, int cols, int pos);

/* Called for every token and every layer with experts, on the thread that called the library, in a pass's order: layer by
 * layer.  Pointers are valid during the call only. */
enum { OCT_MODALITIES = 3 };      /* 0 text, 1 picture, 2 cloud */
typedef struct oct_route {
    int            layer, position, modality, n_expert, k;
    const float   *logits;        /* [n_expert] */
    const int32_t *chosen;        /* [k] experts, best first */
    const float   *weights;       /* [k] of their results; 0: dropped for want of capacity */
} oct_route;
typedef void (*oct_router_fn)(void *user, const oct_route *route);

typedef struct oct_session_desc {
    int             n_ctx;        /* positions of the KV cache; 0: the model's, at most 4096 */
    int             n_batch;      /* tokens that pass through the layers at once; 0: 256, with experts 512.  Results do not
                                   * depend on it */
    int             n_threads;    /* 0: OpenMP's choice, 4 with parallel_for, else 1.  Results do not depend on it */
    oct_isa         isa;
    oct_kv_type     kv_type;
    int             exact;        /* non-zero: F32 activations with quantised weights and BF16, slower */
    uint64_t        seed;
    oct_sampling    sampling;
    int             max_tokens;   /* an answer's length; 0: what the file says, else until it ends or the context is full */
    int             raw;          /* non-zero: no template; text gets BOS in front where the file asks, fed ids are taken as they are */
    const char     *prompt_style; /* NULL: as recognised from the file; oct_prompt_style_name lists them */
    const char     *system;       /* system text; NULL: the style's own, "": none */
    oct_parallel_fn parallel_for; /* your thread pool instead of OpenMP */
    void           *parallel_user;
    oct_abort_fn    abort;        /* asked every few milliseconds while computing */
    void           *abort_user;
    oct_progress_fn progress;     /* while a prompt is taken in, or a picture encoded */
    void           *progress_user;
    oct_stage_fn    stage;        /* slows things down: every stage is written out, and all rows of logits */
    void           *stage_user;
    void           *memory;       /* oct_session_bytes() bytes of yours, 64-byte aligned; NULL: the model's allocator */
    size_t          memory_bytes;
    int             image_cache;  /* so many pictures' encodings are kept, so that one fed again costs nothing; 0: 4, below 0: none.
                                     Memory of the model's allocator, taken as pictures come, given back by oct_session_close */
    int             capacity;     /* non-zero: DeepSpeed's capacity rule with the file's factor, over the n_batch tokens of a
                                   * pass, so that results do depend on n_batch; 0: every token gets its k experts */
    oct_router_fn   router;       /* which experts each token meets, and why */
    void           *router_user;
    int             keep_gate;    /* LoRA experts: non-zero: a new turn leaves the gate as the first one made it, and is appended
                                   * to the cache; see "the gate" below */
    int             boxes;        /* non-zero: "[" in an answer opens a box, which can only be completed: four numbers from 0 to
                                   * 1, of at most two decimals, x1 <= x2 and y1 <= y2, "]".  max_tokens or a full context may
                                   * still end an answer inside a box.  UNSUPPORTED: the vocabulary lacks a token for a digit,
                                   * ".", "," or "]" by itself */
} oct_session_desc;

/* How much memory the session would take, before it is opened; nothing is allocated. */
OCT_API oct_result oct_session_bytes(const oct_model *m, const oct_session_desc *desc, size_t *bytes, oct_error *err);
OCT_API oct_result oct_session_open(oct_session **out, const oct_model *m, const oct_session_desc *desc, oct_error *err);
OCT_API void       oct_session_close(oct_session *s);      /* NULL is fine */
OCT_API void       oct_session_reset(oct_session *s);      /* as just opened (pictures stay known); the seed too */
OCT_API oct_result oct_session_set_sampling(oct_session *s, const oct_sampling *sampling, oct_error *err);
OCT_API void       oct_session_set_max_tokens(oct_session *s, int max_tokens);
/* From now on these adapters, in this order, with these scales (NULL: all 1); n 0: none.  What the cache holds already is
 * computed anew by the next prefill.  May allocate.  On failure the session keeps those it had. */
OCT_API oct_result oct_session_set_lora(oct_session *s, const oct_lora *const *loras, const float *scales, int n, oct_error *err);

/* --- the gate ----------------------------------------------------------------
 * OCTAVIUS weighs its LoRA experts once for a prompt, by the text after the picture: its closing tag, the questions and answers,
 * the words that ask for an answer.  So a new turn changes the gate, and with it every key and value: it renders the whole
 * dialogue anew, earlier answers as the text that was shown, and computes all of it anew over the pictures' kept encodings, as
 * the official code does.  The session then equals, bit for bit, a fresh one that is fed the dialogue (oct_feed_answer), and
 * positions noted before are another rendering's: to go back, take a snapshot, or reset and feed the dialogue.  With
 * desc.keep_gate a turn is appended instead, under the first turn's gate: faster, and not what the official code computes. */

/* All zero: as the text says. */
typedef struct oct_gate {
    const float *weights;         /* the gate itself, [n_weights], one for every expert; then pin and mute must be empty */
    int          n_weights;
    const int   *pin;             /* only these compete for the places; [n_pin] */
    int          n_pin;
    const int   *mute;            /* these do not; [n_mute] */
    int          n_mute;
} oct_gate;
/* Acts from the next prefill on, which computes anew what is there; desc.keep_gate or not.  NULL: as the text says. */
OCT_API oct_result   oct_session_set_gate(oct_session *s, const oct_gate *gate, oct_error *err);   /* UNSUPPORTED: no such experts */
/* Of the last prefill: [n], one weight for every expert.  NULL and n 0: none yet, or the model has no such experts. */
OCT_API const float *oct_session_gate(const oct_session *s, int *n);

/* --- feed: append to the pending turn --------------------------------------
 * Text, ids and pictures in any order; the prompt style is put around the whole, and the text model computes nothing before
 * oct_prefill or oct_next.  Pictures stand where they were fed.  Where they come first, the styles of the LLaVA family put a
 * line break between each and what follows, as the official programs do; elsewhere nothing is added.  OCTAVIUS's styles (bare,
 * chef, legacy) put the pictures of all turns before all text.  Text stays text: no "<image>" in it becomes a picture.  A call
 * that fails has fed nothing. */

/* Pixels, rows from the top. */
typedef struct oct_image {
    const unsigned char *pixels;
    int                  width, height;
    size_t               stride_bytes;   /* 0: packed */
    int                  n_channels;     /* 0 or 3: RGB8; 4: RGBA8 */
    int                  nearest;        /* the file had a palette, or one bit a pixel: see octavius.v.convert (chapter 9) */
} oct_image;
/* Points in metres; rgb 0 to 255 or NULL.  Strides 0: packed. */
typedef struct oct_points {
    const float *xyz; const unsigned char *rgb; size_t count; size_t xyz_stride_bytes, rgb_stride_bytes;
} oct_points;

OCT_API oct_result oct_feed_text(oct_session *s, const char *text, oct_error *err);      /* NUL-terminated */
OCT_API oct_result oct_feed_text_n(oct_session *s, const char *text, size_t len, oct_error *err);
/* Encodes the picture at once (unless the session's cache holds it), so that its faults and the time it takes are this
 * call's own; the pixels are not needed afterwards.  abort and progress of the desc are asked.  UNSUPPORTED: no encoder. */
OCT_API oct_result oct_feed_image(oct_session *s, const oct_image *image, oct_error *err);
OCT_API oct_result oct_feed_points(oct_session *s, const oct_points *points, oct_error *err); /* UNSUPPORTED: no encoder */
OCT_API oct_result oct_feed_tokens(oct_session *s, const int32_t *ids, size_t n, oct_error *err);
/* What was answered to that, so that an earlier dialogue can be fed: question, answer, question, as it was shown.  What is fed
 * next is another turn; with nothing more, the answer goes on from there. */
OCT_API oct_result oct_feed_answer(oct_session *s, const char *text, size_t len, oct_error *err);
OCT_API void       oct_feed_clear(oct_session *s);         /* forget the pending turn */

/* A picture or cloud that is encoded once and fed as often as wanted, also to several sessions of the same model. */
typedef struct oct_embeds oct_embeds;
OCT_API oct_result   oct_encode_image(oct_embeds **out, oct_session *s, const oct_image *image, oct_error *err);
OCT_API const float *oct_embeds_data(const oct_embeds *e, int *n_tokens, int *n_embd);   /* [n_tokens, n_embd] */
OCT_API oct_result   oct_feed_embeds(oct_session *s, const oct_embeds *e, oct_error *err);   /* copied: e may be closed at once */
OCT_API void         oct_embeds_close(oct_embeds *e);       /* before its model; NULL is fine */

/* --- pictures in files (left out by OCTAVIUS_NO_PICTURES) ------------------ */

typedef struct oct_picture_desc {
    oct_allocator allocator;
    size_t        max_pixels;     /* more is OCT_E_LIMIT; 0: 2^26 (67 megapixels) */
} oct_picture_desc;
typedef struct oct_picture {
    oct_image     image;          /* RGB8, or RGBA8 where the file has alpha of its own; in the picture's own memory */
    int           orientation;    /* EXIF's, 1 to 8; 1: upright.  The pixels are as stored */
    const char   *format;         /* "PNG", "JPEG", "BMP", "PNM" */
    oct_allocator allocator;
    void         *memory;
} oct_picture;

/* PNG, JPEG (baseline and progressive), BMP, PPM and PGM, recognised by their first bytes.  Other formats are named in the
 * error.  Errors: IO, FORMAT, UNSUPPORTED, MEMORY, LIMIT; *out is zeroed then. */
OCT_API oct_result oct_picture_open(oct_picture *out, const char *path, const oct_picture_desc *desc, oct_error *err);
OCT_API oct_result oct_picture_open_memory(oct_picture *out, const void *bytes, size_t n, const oct_picture_desc *desc, oct_error *err);
/* Turns and mirrors the pixels as the orientation says, which is 1 then. */
OCT_API oct_result oct_picture_upright(oct_picture *picture, oct_error *err);
OCT_API void       oct_picture_close(oct_picture *picture);     /* a zeroed one, or NULL, is fine */

/* --- next: one token at a time -------------------------------------------- */

typedef enum oct_end {
    OCT_END_NONE = 0,
    OCT_END_EOS,                  /* the model ended its answer */
    OCT_END_STOP,                 /* a stop string of the prompt style */
    OCT_END_LENGTH                /* max_tokens reached */
} oct_end;

typedef struct oct_token {
    int32_t     id;
    const char *text;             /* whole UTF-8 characters only, valid until the next call; empty while one is incomplete */
    size_t      len;
    int         is_end;           /* the answer has ended; text is empty then, its last bytes came with the call before */
    oct_end     end;
} oct_token;

/* Renders the pending turn in the prompt style and computes it.  oct_next does it by itself.  When it fails
 * (CONTEXT, ABORTED) the session stands where it stood before, with the turn still pending. */
OCT_API oct_result oct_prefill(oct_session *s, oct_error *err);
/* Draws one token.  After is_end, feed the next turn.  CONTEXT: no room for another position. */
OCT_API oct_result oct_next(oct_session *s, oct_token *out, oct_error *err);

/* --- boxes in an answer ------------------------------------------------------
 * A detection model writes boxes as "[x1, y1, x2, y2]", from 0 to 1 of what its encoder saw, in sentences that name the object.
 * A reader takes the text piece by piece, as oct_next gives it, and hands out each box when its sentence has ended, in pixels
 * of the picture; and each thing that looks like a box but is none, with the reason.  It reads whatever OCTAVIUS's official
 * evaluator reads, and more: several boxes in a sentence, round brackets, missing ones, corners in the wrong order, values a
 * little outside.  Nothing is allocated, and no text is an error. */

enum {                            /* bytes */
    OCT_BOX_LABEL    = 64,        /* of a label with its NUL; a longer one is cut */
    OCT_BOX_TEXT     = 128,       /* of a box as it was written, likewise */
    OCT_BOX_SENTENCE = 2048       /* of a sentence; a longer one is read in parts */
};
typedef enum oct_drop {
    OCT_DROP_NONE = 0,
    OCT_DROP_COUNT,               /* not four numbers */
    OCT_DROP_NUMBER,              /* something that is no number among them */
    OCT_DROP_BRACKET,             /* it is not closed */
    OCT_DROP_CUT,                 /* the answer ends inside it */
    OCT_DROP_ORDER,               /* inverted on one axis: on both, the corners are swapped */
    OCT_DROP_RANGE,               /* numbers far outside 0 to 1, as pixels are */
    OCT_DROP_OUTSIDE              /* nothing of it lies in the picture, but in the padding or beyond */
} oct_drop;
OCT_API const char *oct_drop_reason(oct_drop drop);        /* in words; never NULL */

typedef struct oct_box {
    float    x1, y1, x2, y2;              /* pixels from the picture's top left corner: 0 <= x1 <= x2 <= width, y likewise */
    char     label[OCT_BOX_LABEL];        /* "" where the sentence names nothing */
    oct_drop dropped;                     /* not OCT_DROP_NONE: this is no box, and its numbers are 0 */
    char     text[OCT_BOX_TEXT];          /* as it was written */
    size_t   at;                          /* where in the answer: bytes before it */
} oct_box;
typedef struct oct_boxes {                /* a reader: yours to place, its fields are not */
    double   scale[2], shift[2], size[2]; /* pixels = number * scale + shift; width and height */
    size_t   len, ready, used, from, at;
    int      nth, last;
    char     sentence[OCT_BOX_SENTENCE];
} oct_boxes;

/* width, height: of the picture as it was fed (upright, if it was).  m: the model that answers, because boxes are fractions of
 * what its encoder saw, squashed, padded or cropped; NULL: of the whole picture. */
OCT_API oct_result oct_boxes_begin(oct_boxes *b, const oct_model *m, int width, int height, oct_error *err);
/* Reads on in *text, which moves past what was read.  1: here is a box or what was dropped, call again; 0: all was read.
 * text NULL: the answer is over; call until 0, then the reader is ready for another answer. */
OCT_API int        oct_boxes_next(oct_boxes *b, oct_string *text, oct_box *out);

/* --- drawing (left out by OCTAVIUS_NO_PICTURES) ------------------------------
 * Boxes with their labels on plates, a colour for each label; those dropped are passed over.  Lines and letters grow with the
 * picture.  At most 4096 boxes. */

/* Draws into the pixels of a picture.  For pixels of your own: a picture whose image is set, and all else zero. */
OCT_API oct_result oct_boxes_draw(oct_picture *picture, const oct_box *boxes, size_t n, oct_error *err);

/* Takes the next bytes of a file.  Non-zero return: no more; the call fails with OCT_E_IO. */
typedef int (*oct_write_fn)(void *user, const void *data, size_t n);
/* The picture as a PNG file, compressed.  Memory: its pixels once more, of the allocator; NULL: the default one. */
OCT_API oct_result oct_png_write(const oct_image *image, const oct_allocator *allocator, oct_write_fn write, void *user,
                                 oct_error *err);
/* The picture, inside the file, and the boxes beside it as SVG: they stay sharp, and the labels are text. */
OCT_API oct_result oct_svg_write(const oct_image *image, const oct_box *boxes, size_t n, const oct_allocator *allocator,
                                 oct_write_fn write, void *user, oct_error *err);

/* --- query, rewind, keep --------------------------------------------------- */

OCT_API int            oct_session_position(const oct_session *s);             /* positions in the cache */
OCT_API const int32_t *oct_session_tokens(const oct_session *s, int *n);       /* ids; -1 a picture's row (whichever), -2 a cloud's */
typedef struct oct_session_stats {
    int images_encoded;           /* how often the image encoder ran since the session was opened */
    int images_reused;            /* pictures fed whose encoding the cache held */
} oct_session_stats;
OCT_API void           oct_session_stats_get(const oct_session *s, oct_session_stats *out);
OCT_API const float   *oct_session_logits(const oct_session *s, int *n);       /* [n_vocab] of the last position; NULL: none yet */
/* The n most probable ids at the last position, best first; probs (of softmax at temperature 1) may be NULL. */
OCT_API int            oct_session_top(const oct_session *s, int32_t *ids, float *probs, int n);
OCT_API float          oct_session_prob(const oct_session *s, int32_t id);     /* 0 where there is none */
/* How often each expert of a layer was chosen for tokens of a modality since the session was opened or reset: counts [n],
 * n at most info.n_expert.  All 0 for a layer without experts.  ARG: no such layer or modality, or n is too large. */
OCT_API oct_result     oct_session_expert_counts(const oct_session *s, int layer, int modality, uint64_t *counts, int n,
                                                 oct_error *err);
/* Keep the first n_keep positions; forgets the pending turn. */
OCT_API oct_result     oct_session_rewind(oct_session *s, int n_keep, oct_error *err);
OCT_API size_t         oct_session_snapshot_bytes(const oct_session *s);
OCT_API oct_result     oct_session_snapshot(const oct_session *s, void *dst, size_t bytes, oct_error *err);
/* Any bytes may be given: those that are no snapshot of this model and KV type are refused (FORMAT). */
OCT_API oct_result     oct_session_restore(oct_session *s, const void *src, size_t bytes, oct_error *err);

/* The prompt styles known, i from 0; NULL past the last. */
OCT_API const char    *oct_prompt_style_name(int i);

#ifdef __cplusplus
}
#endif
#endif /* OCTAVIUS_H */

/* The API ends here.  Below is the implementation. */
#if defined(OCTAVIUS_IMPLEMENTATION) && !defined(OCTAVIUS_IMPLEMENTED)
#define OCTAVIUS_IMPLEMENTED

/* ==========================================================================
 * MARK: - 2. base
 * ==========================================================================
 * Compiler macros, checked arithmetic, memory, strings, errors, the log.
 * Sizes are size_t and are multiplied and added through oct__mul and oct__add
 * wherever a file or a caller had a say in them.
 */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>                 /* vsnprintf; FILE only without OCTAVIUS_NO_STDIO */
#include <stdlib.h>
#include <string.h>

#if defined(OCTAVIUS_MALLOC) != defined(OCTAVIUS_FREE)
#  error "octavius.h: define both OCTAVIUS_MALLOC and OCTAVIUS_FREE, or neither"
#endif
#if !defined(OCTAVIUS_MALLOC)
#  define OCTAVIUS_MALLOC(n) malloc(n)
#  define OCTAVIUS_FREE(p)   free(p)
#endif
#if defined(OCTAVIUS_ASSERT)
#  define OCT__ASSERT(x) OCTAVIUS_ASSERT(x)
#else
#  define OCT__ASSERT(x) ((void)sizeof(x))
#endif
#if !defined(OCTAVIUS_FILENAME)
#  define OCTAVIUS_FILENAME "octavius.h"
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#  error "octavius.h: little-endian machines only"
#endif

#define OCT__UNUSED(x)  ((void)(x))
#define OCT__MAYBE_UNUSED __attribute__((unused))
#define OCT__ALIGN      ((size_t)64)      /* a cache line, and the widest vector */
#define OCT__MIN(a, b)  ((a) < (b) ? (a) : (b))
#define OCT__MAX(a, b)  ((a) > (b) ? (a) : (b))
#if defined(__cplusplus)
#  define OCT__STATIC_ASSERT(c, m) static_assert(c, m)
#else
#  define OCT__STATIC_ASSERT(c, m) _Static_assert(c, m)
#endif

/* The language modes disagree on contraction (gcc fuses under gnu17, not under c11), and a program may be compiled
 * with -ffast-math: for this file a * b + c is always two roundings in the order written, a fused one is spelled
 * fmaf or v_fma, and NaN is a number like any other. */
#if defined(__clang__)
#  pragma float_control(precise, on, push)
#  pragma clang fp contract(off)
#elif defined(__GNUC__)
#  pragma GCC push_options
#  pragma GCC optimize("no-fast-math", "no-unsafe-math-optimizations", "no-finite-math-only", "signed-zeros", \
                       "no-reciprocal-math", "no-associative-math", "fp-contract=off")
#endif

/* --- checked arithmetic: non-zero means overflow, *out is then untouched -- */
static int oct__mul(size_t *out, size_t a, size_t b) {
    if (b != 0 && a > SIZE_MAX / b) return 1;
    *out = a * b;
    return 0;
}
static int oct__add(size_t *out, size_t a, size_t b) {
    if (a > SIZE_MAX - b) return 1;
    *out = a + b;
    return 0;
}
/* Next multiple of align (a power of two). */
static int oct__align_up(size_t *out, size_t n, size_t align) {
    if (n > SIZE_MAX - (align - 1)) return 1;
    *out = (n + align - 1) & ~(align - 1);
    return 0;
}

/* --- errors --------------------------------------------------------------- */

/* Decodes one code point of s [len], len >= 1.  Returns its length in bytes; invalid bytes (overlong forms,
 * surrogates and cut sequences too) give *cp = -1 and length 1. */
static int oct__utf8_decode(const char *text, size_t len, int32_t *cp) {
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    if (n == 1) {
        *cp = s[0];
        return 1;
    }
    *cp = -1;
    if (n == 0 || (size_t)n > len) return 1;
    int32_t v = s[0] & (0x7F >> n);
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) return 1;
        v = (v << 6) | (s[i] & 0x3F);
    }
    if ((n == 3 && (v < 0x800 || (v >= 0xD800 && v < 0xE000))) || (n == 4 && (v < 0x10000 || v > 0x10FFFF))) return 1;
    *cp = v;
    return n;
}

/* Names come from files: what is no character, or a control character, becomes '?', and a last character cut short goes. */
static void oct__clean(char *text, size_t len) {
    int32_t cp;
    for (size_t i = 0; i < len; ) {
        const int n = oct__utf8_decode(text + i, len - i, &cp);
        if (cp < 0 && len - i < 4 && (unsigned char)text[i] >= 0xC0) {
            text[i] = 0;
            return;
        }
        if (cp < 0x20 || cp == 0x7F) text[i] = '?';
        i += (size_t)n;
    }
}

/* Writes the message and returns the code, so that `return oct__fail(...)` reads well. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static oct_result oct__fail(oct_error *err, oct_result code, const char *format, ...) {
    if (!err) return code;
    err->code = code;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n < 0) err->message[0] = 0;
    oct__clean(err->message, strlen(err->message));
    return code;
}

/* One line to the log callback, if there is one. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void oct__log(const oct_model_desc *desc, oct_log_level level, const char *format, ...) {
    char line[256];
    if (!desc->log) return;
    va_list args;
    va_start(args, format);
    if (vsnprintf(line, sizeof line, format, args) < 0) line[0] = 0;
    va_end(args);
    desc->log(desc->log_user, level, line);
}

/* --- strings: views, compared with their length --------------------------- */
static oct_string oct__str(const char *s) {
    oct_string v;
    v.data = s;
    v.len = strlen(s);
    return v;
}
static bool oct__str_same(oct_string a, oct_string b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static bool oct__str_is(oct_string a, const char *b) { return oct__str_same(a, oct__str(b)); }
/* Position of needle in s at or after from, or SIZE_MAX. */
static size_t oct__str_find(oct_string s, oct_string needle, size_t from) {
    if (needle.len == 0 || needle.len > s.len) return SIZE_MAX;
    for (size_t i = from; i + needle.len <= s.len; i++) {
        const char *p = (const char *)memchr(s.data + i, needle.data[0], s.len - needle.len - i + 1);
        if (!p) return SIZE_MAX;
        i = (size_t)(p - s.data);
        if (memcmp(p, needle.data, needle.len) == 0) return i;
    }
    return SIZE_MAX;
}
/* For "%.*s": the length as an int, cut where a message would be unreadable anyway. */
#define OCT__S(v) (int)OCT__MIN((v).len, (size_t)100), (v).data ? (v).data : ""

/* FNV-1a, for tables keyed by names and pieces. */
static uint32_t oct__hash(const void *data, size_t len) {
    const unsigned char *p = (const unsigned char *)data;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * 16777619u;
    return h ^ (h >> 15);
}

/* --- memory ----------------------------------------------------------------- */

static void *oct__alloc(const oct_allocator *a, size_t bytes) {
    if (bytes == 0) bytes = 1;
    return a->alloc ? a->alloc(a->user, bytes) : OCTAVIUS_MALLOC(bytes);
}
static void oct__free(const oct_allocator *a, void *p) {
    if (!p) return;
    if (a->free) a->free(a->user, p);
    else OCTAVIUS_FREE(p);
}
/* n items of size bytes each; NULL on overflow or refusal.  Not cleared. */
static void *oct__alloc_n(const oct_allocator *a, size_t n, size_t size) {
    size_t bytes;
    return oct__mul(&bytes, n, size) ? NULL : oct__alloc(a, bytes);
}
#define OCT__NEW(a, T, n) ((T *)oct__alloc_n((a), (n), sizeof(T)))

/* An arena is carved twice by the same function: with base NULL it only counts, then with the memory it counted. */
typedef struct oct__arena {
    unsigned char *base;
    size_t         used, cap;
    int            failed;         /* over cap, or the sum overflowed */
} oct__arena;
static void *oct__take(oct__arena *a, size_t n, size_t size) {
    size_t bytes, end;
    if (a->failed || oct__mul(&bytes, n, size) || oct__align_up(&bytes, bytes, OCT__ALIGN) ||
        oct__add(&end, a->used, bytes) || (a->base && end > a->cap)) {
        a->failed = 1;
        return NULL;
    }
    void *p = a->base ? a->base + a->used : NULL;
    a->used = end;
    return p;
}
#define OCT__TAKE(a, T, n) ((T *)oct__take((a), (n), sizeof(T)))

/* A growing array; the caller owns the fields.  Growth doubles, so appends are amortised. */
typedef struct oct__buf {
    const oct_allocator *allocator;
    unsigned char       *data;
    size_t               len, cap;      /* bytes */
} oct__buf;
/* Room for extra more bytes; non-zero: no memory, the buffer is as before. */
static int oct__buf_reserve(oct__buf *b, size_t extra) {
    size_t want;
    if (oct__add(&want, b->len, extra)) return 1;
    if (want <= b->cap) return 0;
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < want) cap = cap > SIZE_MAX / 2 ? want : cap * 2;
    unsigned char *p = (unsigned char *)oct__alloc(b->allocator, cap);
    if (!p) return 1;
    if (b->len) memcpy(p, b->data, b->len);
    oct__free(b->allocator, b->data);
    b->data = p;
    b->cap = cap;
    return 0;
}
static int oct__buf_append(oct__buf *b, const void *data, size_t n) {
    if (oct__buf_reserve(b, n)) return 1;
    if (n) memcpy(b->data + b->len, data, n);
    b->len += n;
    return 0;
}
static void oct__buf_free(oct__buf *b) {
    oct__free(b->allocator, b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}
/* Buffers of token ids. */
static int oct__ids_push(oct__buf *b, int32_t id) { return oct__buf_append(b, &id, sizeof id); }
static size_t oct__ids_count(const oct__buf *b) { return b->len / sizeof(int32_t); }
static int32_t *oct__ids(const oct__buf *b) { return (int32_t *)(void *)b->data; }

/* --- little-endian reads from unaligned bytes ------------------------------- */
static uint16_t oct__u16(const void *p) { uint16_t v; memcpy(&v, p, sizeof v); return v; }
static uint32_t oct__u32(const void *p) { uint32_t v; memcpy(&v, p, sizeof v); return v; }
static uint64_t oct__u64(const void *p) { uint64_t v; memcpy(&v, p, sizeof v); return v; }
static float    oct__f32(const void *p) { float v; memcpy(&v, p, sizeof v); return v; }
static double   oct__f64(const void *p) { double v; memcpy(&v, p, sizeof v); return v; }

/* --- UTF-8 -------------------------------------------------------------------- */

/* Encodes cp (0 to 0x10FFFF) into out [4]; returns the length. */
static int oct__utf8_encode(int32_t cp, char *out) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    int n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    out[0] = (char)((0xF00 >> n & 0xFF) | cp);
    return n;
}

/* ==========================================================================
 * MARK: - 3. threads
 * ==========================================================================
 * One way to run work side by side: n tasks, each told its number.  OpenMP where
 * compiled in, the caller's pool if there is one, else a loop.  Tasks may run at
 * once or one after another, so none may wait for another; each has scratch
 * memory of its own, found by its number.  Inside a task, work is fetched in
 * chunks from a shared counter: a slow thread then holds nobody up.  What a chunk
 * computes never depends on who computes it.  Nothing else in this file says omp.
 *
 * A pass is hundreds of such regions, and a barrier of OpenMP's between any two
 * stalls when a thread has lost its core to another program.  So a pass is one
 * OpenMP region: thread 0 runs it and opens a gate for each piece of work, the
 * others join in while the gate is open.  Nobody waits for a thread that has not
 * joined; one that has no core when the gate opens is simply not missed.
 */
#if defined(_OPENMP) && !defined(OCTAVIUS_NO_OPENMP)
#  include <omp.h>
#  define OCT__OPENMP 1
#else
#  define OCT__OPENMP 0
#endif
#if OCT__OPENMP && (defined(__unix__) || defined(__APPLE__))
#  include <sched.h>
#  define OCT__YIELD() ((void)sched_yield())
#else
#  define OCT__YIELD() ((void)0)
#endif
#if defined(__x86_64__) || defined(__i386__)
#  define OCT__PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#  define OCT__PAUSE() __asm__ volatile("yield")
#else
#  define OCT__PAUSE() ((void)0)
#endif

typedef struct oct__team oct__team;
typedef struct oct__pool {
    int             n_threads;
    oct_parallel_fn parallel_for;
    void           *user;
    oct__team      *team;          /* while oct__together runs on OpenMP, else NULL */
} oct__pool;

static int oct__threads_default(oct_parallel_fn parallel_for) {
#if OCT__OPENMP
    if (!parallel_for) return omp_get_max_threads();
#endif
    return parallel_for ? 4 : 1;
}

#if OCT__OPENMP
/* gate: the number of the piece of work, whether it may be joined, and how many are inside. */
enum { OCT__GATE_INSIDE = 0x3FF, OCT__GATE_OPEN = 0x400, OCT__GATE_NEXT = 0x800 };
struct oct__team {
    oct_task_fn fn;
    void       *arg;
    uint32_t    gate;
    int         over;              /* the pass has ended */
    char        apart[64];         /* whatever follows shares no cache line with the gate */
};

/* A short wait stays on its core (about 5 us), a longer one offers it to others. */
static void oct__wait(int *spins) {
    if (++*spins < 100) OCT__PAUSE();
    else OCT__YIELD();
}

/* Thread 0: everybody who comes may help with fn; back when it is done and nobody is inside. */
static void oct__team_run(oct__team *team, oct_task_fn fn, void *arg) {
    int spins = 0;
    team->fn = fn;
    team->arg = arg;
    const uint32_t number = (__atomic_load_n(&team->gate, __ATOMIC_RELAXED) & ~(uint32_t)(OCT__GATE_NEXT - 1)) + OCT__GATE_NEXT;
    __atomic_store_n(&team->gate, number | OCT__GATE_OPEN, __ATOMIC_RELEASE);
    fn(arg, 0);
    uint32_t gate = __atomic_and_fetch(&team->gate, ~(uint32_t)OCT__GATE_OPEN, __ATOMIC_ACQUIRE);
    while (gate & OCT__GATE_INSIDE) {
        oct__wait(&spins);
        gate = __atomic_load_n(&team->gate, __ATOMIC_ACQUIRE);
    }
}

/* The other threads: join each piece of work once, until the pass is over. */
static void oct__team_serve(oct__team *team, int thread) {
    uint32_t done = 0;             /* number of the last piece helped with */
    int spins = 0;
    while (!__atomic_load_n(&team->over, __ATOMIC_ACQUIRE)) {
        uint32_t gate = __atomic_load_n(&team->gate, __ATOMIC_ACQUIRE);
        const uint32_t number = gate & ~(uint32_t)(OCT__GATE_NEXT - 1);
        if (!(gate & OCT__GATE_OPEN) || number == done ||
            !__atomic_compare_exchange_n(&team->gate, &gate, gate + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            oct__wait(&spins);
            continue;
        }
        team->fn(team->arg, thread);
        __atomic_sub_fetch(&team->gate, 1, __ATOMIC_RELEASE);
        done = number;
        spins = 0;
    }
}
#endif

/* Runs body(arg) on this thread, with the others of the pool ready to help at every oct__parallel in it. */
static void oct__together(oct__pool *pool, void (*body)(void *arg), void *arg) {
#if OCT__OPENMP
    if (pool->n_threads > 1 && !pool->parallel_for) {
        oct__team team;
        memset(&team, 0, sizeof team);
        pool->team = &team;
#  pragma omp parallel num_threads(pool->n_threads)
        {
            const int thread = omp_get_thread_num();
            if (thread == 0) {
                body(arg);
                __atomic_store_n(&team.over, 1, __ATOMIC_RELEASE);
            } else {
                oct__team_serve(&team, thread);
            }
        }
        pool->team = NULL;
        return;
    }
#endif
    OCT__UNUSED(pool);
    body(arg);
}

/* fn(arg, i) for i = 0 and for whichever of 1 .. n_threads - 1 can help; returns when all are done.  So fn fetches its
 * work, and task 0 alone would finish it. */
static void oct__parallel(const oct__pool *pool, oct_task_fn fn, void *arg) {
    const int n = pool->n_threads;
#if OCT__OPENMP
    if (pool->team) {
        oct__team_run(pool->team, fn, arg);
        return;
    }
#endif
    if (n > 1 && pool->parallel_for) {
        pool->parallel_for(pool->user, fn, arg, n);
        return;
    }
    if (n > 1) {
#if OCT__OPENMP
#  pragma omp parallel for num_threads(n) schedule(static, 1)
#endif
        for (int i = 0; i < n; i++) fn(arg, i);
        return;
    }
    fn(arg, 0);                    /* without OpenMP: clang's takes memory even for one thread */
}

/* The next chunk number, from 0. */
static int oct__fetch(int *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }


/* ==========================================================================
 * MARK: - 4. quant
 * ==========================================================================
 * How weights lie in the file: block layouts, half floats, and the plain way
 * back to F32.  Numbers are stored in blocks along a row; a block never spans
 * two rows.  Blocks stand at any byte address, so every field is read by bytes.
 * The formats are llama.cpp's; the fast ways to read them are in chapter 20.
 */
enum {                             /* GGUF's tensor types that we compute with */
    OCT__F32 = 0, OCT__F16 = 1, OCT__Q4_0 = 2, OCT__Q4_1 = 3, OCT__Q5_0 = 6, OCT__Q5_1 = 7, OCT__Q8_0 = 8,
    OCT__Q2_K = 10, OCT__Q3_K = 11, OCT__Q4_K = 12, OCT__Q5_K = 13, OCT__Q6_K = 14, OCT__IQ4_NL = 20,
    OCT__BF16 = 30, OCT__N_TYPES = 40
};

/* d, m, dmin: IEEE half floats, little-endian.  q: the low bits, qh: the high bits of each number. */
typedef struct oct__q4_0 { unsigned char d[2], q[16]; } oct__q4_0;                   /* 32 numbers; IQ4_NL too */
typedef struct oct__q4_1 { unsigned char d[2], m[2], q[16]; } oct__q4_1;             /* 32 */
typedef struct oct__q5_0 { unsigned char d[2], qh[4], q[16]; } oct__q5_0;            /* 32 */
typedef struct oct__q5_1 { unsigned char d[2], m[2], qh[4], q[16]; } oct__q5_1;      /* 32 */
typedef struct oct__q8_0 { unsigned char d[2], q[32]; } oct__q8_0;                   /* 32 */
typedef struct oct__q2_k { unsigned char scales[16], q[64], d[2], dmin[2]; } oct__q2_k;                 /* 256 */
typedef struct oct__q3_k { unsigned char hmask[32], q[64], scales[12], d[2]; } oct__q3_k;               /* 256 */
typedef struct oct__q4_k { unsigned char d[2], dmin[2], scales[12], q[128]; } oct__q4_k;                /* 256 */
typedef struct oct__q5_k { unsigned char d[2], dmin[2], scales[12], qh[32], q[128]; } oct__q5_k;        /* 256 */
typedef struct oct__q6_k { unsigned char ql[128], qh[64], scales[16], d[2]; } oct__q6_k;                /* 256 */
OCT__STATIC_ASSERT(sizeof(oct__q4_0) == 18, "Q4_0");
OCT__STATIC_ASSERT(sizeof(oct__q4_1) == 20, "Q4_1");
OCT__STATIC_ASSERT(sizeof(oct__q5_0) == 22, "Q5_0");
OCT__STATIC_ASSERT(sizeof(oct__q5_1) == 24, "Q5_1");
OCT__STATIC_ASSERT(sizeof(oct__q8_0) == 34, "Q8_0");
OCT__STATIC_ASSERT(sizeof(oct__q2_k) == 84, "Q2_K");
OCT__STATIC_ASSERT(sizeof(oct__q3_k) == 110, "Q3_K");
OCT__STATIC_ASSERT(sizeof(oct__q4_k) == 144, "Q4_K");
OCT__STATIC_ASSERT(sizeof(oct__q5_k) == 176, "Q5_K");
OCT__STATIC_ASSERT(sizeof(oct__q6_k) == 210, "Q6_K");

/* A quantised number is s * (u - zero) or s * u + m, where u is unsigned, and s and m hold for a group of
 * 16 or 32 numbers.  zero is 1 << zero_shift; types with m have zero 0, said by a shift of 32. */
typedef struct oct__type_info {
    const char *name;              /* NULL: no such type */
    int         block_elems, block_bytes;
    int         computes;          /* 0: a name and a size only; 1: a float type; 2: quantised */
    int         group;             /* of a quantised type */
    int         zero_shift;
    int         u_max;             /* largest u */
} oct__type_info;

static const oct__type_info oct__types[OCT__N_TYPES] = {
    { "F32",     1,   4,   1, 0, 0, 0 },        { "F16",     1,   2,   1, 0, 0, 0 },
    { "Q4_0",    32,  18,  2, 32, 3, 15 },      { "Q4_1",    32,  20,  2, 32, 32, 15 },
    { NULL,      0,   0,   0, 0, 0, 0 },        { NULL,      0,   0,   0, 0, 0, 0 },
    { "Q5_0",    32,  22,  2, 32, 4, 31 },      { "Q5_1",    32,  24,  2, 32, 32, 31 },
    { "Q8_0",    32,  34,  2, 32, 7, 255 },     { "Q8_1",    32,  36,  0, 0, 0, 0 },
    { "Q2_K",    256, 84,  2, 16, 32, 3 },      { "Q3_K",    256, 110, 2, 16, 2, 7 },
    { "Q4_K",    256, 144, 2, 32, 32, 15 },     { "Q5_K",    256, 176, 2, 32, 32, 31 },
    { "Q6_K",    256, 210, 2, 16, 5, 63 },      { "Q8_K",    256, 292, 0, 0, 0, 0 },
    { "IQ2_XXS", 256, 66,  0, 0, 0, 0 },        { "IQ2_XS",  256, 74,  0, 0, 0, 0 },
    { "IQ3_XXS", 256, 98,  0, 0, 0, 0 },        { "IQ1_S",   256, 50,  0, 0, 0, 0 },
    { "IQ4_NL",  32,  18,  2, 32, 7, 255 },     { "IQ3_S",   256, 110, 0, 0, 0, 0 },
    { "IQ2_S",   256, 82,  0, 0, 0, 0 },        { "IQ4_XS",  256, 136, 0, 0, 0, 0 },
    { "I8",      1,   1,   0, 0, 0, 0 },        { "I16",     1,   2,   0, 0, 0, 0 },
    { "I32",     1,   4,   0, 0, 0, 0 },        { "I64",     1,   8,   0, 0, 0, 0 },
    { "F64",     1,   8,   0, 0, 0, 0 },        { "IQ1_M",   256, 56,  0, 0, 0, 0 },
    { "BF16",    1,   2,   1, 0, 0, 0 },        { NULL,      0,   0,   0, 0, 0, 0 },
    { NULL,      0,   0,   0, 0, 0, 0 },        { NULL,      0,   0,   0, 0, 0, 0 },
    { "TQ1_0",   256, 54,  0, 0, 0, 0 },        { "TQ2_0",   256, 66,  0, 0, 0, 0 },
    { NULL,      0,   0,   0, 0, 0, 0 },        { NULL,      0,   0,   0, 0, 0, 0 },
    { NULL,      0,   0,   0, 0, 0, 0 },        { "MXFP4",   32,  17,  0, 0, 0, 0 }
};

/* NULL: not a type we compute with. */
static const oct__type_info *oct__type(int type) {
    return type >= 0 && type < OCT__N_TYPES && oct__types[type].computes ? &oct__types[type] : NULL;
}
/* Of every type that stands in files; "?" for others. */
static const char *oct__type_name(int type) {
    return type >= 0 && type < OCT__N_TYPES && oct__types[type].name ? oct__types[type].name : "?";
}
/* 0: no such type. */
static int oct__type_size(int type, int *block_elems, int *block_bytes) {
    if (type < 0 || type >= OCT__N_TYPES || !oct__types[type].name) return 0;
    *block_elems = oct__types[type].block_elems;
    *block_bytes = oct__types[type].block_bytes;
    return 1;
}
/* n is a multiple of the block and bounded by the file: the product cannot overflow then. */
static size_t oct__row_bytes(int type, int64_t n) {
    const oct__type_info *t = oct__type(type);
    return t ? (size_t)(n / t->block_elems) * (size_t)t->block_bytes : 0;
}

/* --- half floats ----------------------------------------------------------- */

static uint32_t oct__f32_bits(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static float    oct__bits_f32(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }

static float oct__f16_to_f32(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h >> 10) & 31u, m = h & 0x3FFu;
    if (e == 0) {                                           /* zero or subnormal: m * 2^-24, exactly */
        const float x = (float)m * 0x1p-24f;
        return oct__bits_f32(oct__f32_bits(x) | sign);
    }
    if (e == 31) return oct__bits_f32(sign | 0x7F800000u | m << 13 | (m ? 0x400000u : 0u));
    return oct__bits_f32(sign | (e + 112) << 23 | m << 13);
}
/* To nearest, ties to even; too large becomes infinite, a NaN stays one. */
static uint16_t oct__f32_to_f16(float x) {
    const uint32_t u = oct__f32_bits(x), sign = (u >> 16) & 0x8000u, a = u & 0x7FFFFFFFu;
    if (a > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | ((a >> 13) & 0x3FFu));
    if (a >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u);             /* 65520 and more */
    if (a < 0x38800000u) {                                  /* below 2^-14: adding 0.5 leaves units of 2^-24 */
        const uint32_t m = oct__f32_bits(oct__bits_f32(a) + 0.5f) - 0x3F000000u;
        return (uint16_t)(sign | m);
    }
    return (uint16_t)(sign | ((a - 0x38000000u + 0xFFFu + ((a >> 13) & 1u)) >> 13));
}
static float oct__bf16_to_f32(uint16_t h) { return oct__bits_f32((uint32_t)h << 16); }
OCT__MAYBE_UNUSED static uint16_t oct__f32_to_bf16(float x) {
    const uint32_t u = oct__f32_bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}
static float oct__half(const unsigned char *p) { return oct__f16_to_f32(oct__u16(p)); }

/* --- blocks to F32: the reference that every kernel is tested against -------- */

static const signed char oct__iq4_nl_values[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113
};
/* Six-bit scale and min number j (0 to 7) of the 12 bytes in Q4_K and Q5_K. */
static void oct__k_scale(const unsigned char *q, int j, int *scale, int *min) {
    if (j < 4) {
        *scale = q[j] & 63;
        *min = q[j + 4] & 63;
    } else {
        *scale = (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
        *min = (q[j + 4] >> 4) | (q[j] >> 6) << 4;
    }
}
/* Six-bit scale number j (0 to 15) of the 12 bytes in Q3_K: -32 to 31. */
static int oct__q3_scale(const unsigned char *q, int j) {
    const int low = j < 8 ? q[j] & 15 : q[j - 8] >> 4;
    return (low | ((q[8 + (j & 3)] >> 2 * (j >> 2)) & 3) << 4) - 32;
}

static void oct__dequant_q4_0(const oct__q4_0 *b, float *y) {
    const float d = oct__half(b->d);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)((b->q[j] & 15) - 8);
        y[j + 16] = d * (float)((b->q[j] >> 4) - 8);
    }
}
static void oct__dequant_iq4_nl(const oct__q4_0 *b, float *y) {
    const float d = oct__half(b->d);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)oct__iq4_nl_values[b->q[j] & 15];
        y[j + 16] = d * (float)oct__iq4_nl_values[b->q[j] >> 4];
    }
}
static void oct__dequant_q4_1(const oct__q4_1 *b, float *y) {
    const float d = oct__half(b->d), m = oct__half(b->m);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)(b->q[j] & 15) + m;
        y[j + 16] = d * (float)(b->q[j] >> 4) + m;
    }
}
static void oct__dequant_q5_0(const oct__q5_0 *b, float *y) {
    const float d = oct__half(b->d);
    const uint32_t qh = oct__u32(b->qh);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)((int)((b->q[j] & 15u) | ((qh >> j) & 1u) << 4) - 16);
        y[j + 16] = d * (float)((int)((uint32_t)(b->q[j] >> 4) | ((qh >> (j + 16)) & 1u) << 4) - 16);
    }
}
static void oct__dequant_q5_1(const oct__q5_1 *b, float *y) {
    const float d = oct__half(b->d), m = oct__half(b->m);
    const uint32_t qh = oct__u32(b->qh);
    for (int j = 0; j < 16; j++) {
        y[j] = d * (float)((b->q[j] & 15u) | ((qh >> j) & 1u) << 4) + m;
        y[j + 16] = d * (float)((uint32_t)(b->q[j] >> 4) | ((qh >> (j + 16)) & 1u) << 4) + m;
    }
}
static void oct__dequant_q8_0(const oct__q8_0 *b, float *y) {
    const float d = oct__half(b->d);
    for (int j = 0; j < 32; j++) y[j] = d * (float)(signed char)b->q[j];
}
/* Number i of a K-block lies in half h, at shift 2g of the byte 16s + l: i = 128h + 32g + 16s + l. */
static void oct__dequant_q2_k(const oct__q2_k *b, float *y) {
    const float d = oct__half(b->d), dmin = oct__half(b->dmin);
    for (int i = 0; i < 256; i++) {
        const int h = i >> 7, g = (i >> 5) & 3, sc = b->scales[i >> 4];
        const int q = (b->q[32 * h + (i & 31)] >> 2 * g) & 3;
        y[i] = d * (float)(sc & 15) * (float)q - dmin * (float)(sc >> 4);
    }
}
static void oct__dequant_q3_k(const oct__q3_k *b, float *y) {
    const float d = oct__half(b->d);
    for (int i = 0; i < 256; i++) {
        const int h = i >> 7, g = (i >> 5) & 3;
        const int low = (b->q[32 * h + (i & 31)] >> 2 * g) & 3, high = (b->hmask[i & 31] >> (4 * h + g)) & 1;
        y[i] = d * (float)oct__q3_scale(b->scales, i >> 4) * (float)(low + 4 * high - 4);
    }
}
static void oct__dequant_q4_k(const oct__q4_k *b, float *y) {
    const float d = oct__half(b->d), dmin = oct__half(b->dmin);
    for (int j = 0; j < 8; j++) {
        int sc, m;
        oct__k_scale(b->scales, j, &sc, &m);
        const float s = d * (float)sc, low = dmin * (float)m;
        for (int l = 0; l < 32; l++)
            y[32 * j + l] = s * (float)((b->q[32 * (j >> 1) + l] >> 4 * (j & 1)) & 15) - low;
    }
}
static void oct__dequant_q5_k(const oct__q5_k *b, float *y) {
    const float d = oct__half(b->d), dmin = oct__half(b->dmin);
    for (int j = 0; j < 8; j++) {
        int sc, m;
        oct__k_scale(b->scales, j, &sc, &m);
        const float s = d * (float)sc, low = dmin * (float)m;
        for (int l = 0; l < 32; l++) {
            const int q = (b->q[32 * (j >> 1) + l] >> 4 * (j & 1)) & 15;
            y[32 * j + l] = s * (float)(q + 16 * ((b->qh[l] >> j) & 1)) - low;
        }
    }
}
/* i = 128h + 32g + l: low bits in nibble g / 2 of ql[64h + 32 (g & 1) + l], high bits in qh[32h + l] at 2g. */
static void oct__dequant_q6_k(const oct__q6_k *b, float *y) {
    const float d = oct__half(b->d);
    for (int i = 0; i < 256; i++) {
        const int h = i >> 7, g = (i >> 5) & 3, l = i & 31;
        const int low = (b->ql[64 * h + 32 * (g & 1) + l] >> 4 * (g >> 1)) & 15;
        const int q = (low | ((b->qh[32 * h + l] >> 2 * g) & 3) << 4) - 32;
        y[i] = d * (float)(signed char)b->scales[i >> 4] * (float)q;
    }
}

/* n numbers (whole blocks) of any compute type. */
static void oct__dequant_row(int type, const void *src, float *dst, int64_t n) {
    const oct__type_info *t = oct__type(type);
    const unsigned char *p = (const unsigned char *)src;
    if (!t) return;
    for (int64_t i = 0; i < n; i += t->block_elems, p += t->block_bytes) {
        float *y = dst + i;
        switch (type) {
        case OCT__F32:    *y = oct__f32(p); break;
        case OCT__F16:    *y = oct__f16_to_f32(oct__u16(p)); break;
        case OCT__BF16:   *y = oct__bf16_to_f32(oct__u16(p)); break;
        case OCT__Q4_0:   oct__dequant_q4_0((const oct__q4_0 *)(const void *)p, y); break;
        case OCT__Q4_1:   oct__dequant_q4_1((const oct__q4_1 *)(const void *)p, y); break;
        case OCT__Q5_0:   oct__dequant_q5_0((const oct__q5_0 *)(const void *)p, y); break;
        case OCT__Q5_1:   oct__dequant_q5_1((const oct__q5_1 *)(const void *)p, y); break;
        case OCT__Q8_0:   oct__dequant_q8_0((const oct__q8_0 *)(const void *)p, y); break;
        case OCT__Q2_K:   oct__dequant_q2_k((const oct__q2_k *)(const void *)p, y); break;
        case OCT__Q3_K:   oct__dequant_q3_k((const oct__q3_k *)(const void *)p, y); break;
        case OCT__Q4_K:   oct__dequant_q4_k((const oct__q4_k *)(const void *)p, y); break;
        case OCT__Q5_K:   oct__dequant_q5_k((const oct__q5_k *)(const void *)p, y); break;
        case OCT__Q6_K:   oct__dequant_q6_k((const oct__q6_k *)(const void *)p, y); break;
        case OCT__IQ4_NL: oct__dequant_iq4_nl((const oct__q4_0 *)(const void *)p, y); break;
        default: break;
        }
    }
}

/* ==========================================================================
 * MARK: - 5. kernels
 * ==========================================================================
 * The table of everything that is worth doing with vectors, one table per
 * instruction set, chosen at run time.  The bodies stand once, in chapter 20;
 * this file includes itself once per instruction set to compile them.
 *
 * A weight matrix is taken 16 rows at a time, a panel.  Numbers of a panel are
 * unpacked so that the 16 rows lie side by side (rows in lanes), and are then
 * multiplied with every token at hand: no sum ever crosses lanes, so that each
 * output is one chain of additions over k whose order is the same for every
 * width of vector.  With fma, all tables give the same bits, but for BF16
 * weights in the tables whose names end in bf16: those multiply pairs of k by
 * activations rounded to bf16, by an instruction that adds in its own way.
 */
#define OCT__PANEL   16            /* rows of a panel */
#define OCT__K_QUANT 512           /* k of a panel unpacked at once for int8: 8 KiB; whole blocks of every type */
#define OCT__PIECE   (OCT__K_QUANT / 32)   /* groups of 32 in it */
#define OCT__K_FLOAT 256           /* k of a float panel, and of one chain of additions: 16 KiB */
#define OCT__KEYS    64            /* keys of an attention tile */
#define OCT__Q_BLOCK 24            /* rows of queries that meet a tile at once: whole tiles of 4, 6, 8 and 12 */
#define OCT__TILE_MAX 12           /* tokens of any table's int8 tile */
#define OCT__UNIT    12            /* tokens of a unit of packed F32 activations */

/* A panel of quantised weights over k: number = s * (u - zero) + m. */
typedef struct oct__panel {
    unsigned char *u;              /* [k / 4, 16, 4]; for WIDE [k / 4, 2, 16, 2] of uint16_t (chapter 20) */
    float         *s;              /* [k / group, 16] */
    float         *m;              /* [k / group, 16]; only types with zero_shift 32 */
    int            group;          /* 16 or 32 */
    int            zero_shift;     /* start of an integer sum: minus (sum of q) << zero_shift */
    int            u_max;
    const unsigned char *ahead;    /* what memory will be asked for next, NULL: nothing; spread over unpacking and multiplying */
    int            ahead_runs;     /* it is read in so many runs side by side, */
    size_t         ahead_run;      /* each of so many bytes, */
    size_t         ahead_at;       /* from this byte of each on, */
    size_t         ahead_step;     /* so many bytes for 32 of k */
} oct__panel;
/* Activations as int8, 32 to a scale, laid out so that a kernel reads one stream.  Tokens form tiles of at most `tile` (the
 * table's), tiles follow each other.  In a tile of n tokens each group of 32 numbers is a block of rows of n words: */
enum {
    OCT__Q_D     = 8,              /* rows 0 to 7: four numbers a word, the first in the low byte; here: the scale, a float */
    OCT__Q_S32   = 9,              /* four rows: what integer sums begin with, for zero points of none, 8, 16 and 128 */
    OCT__Q_D32   = 13,             /* scale times sum, a float: what a minimum is multiplied with */
    OCT__Q_S16   = 14,             /* the same for each half of 16: three rows each, for none, 4 and 32 */
    OCT__Q_D16   = 20,             /* two rows */
    OCT__Q_WORDS = 22,
    OCT__Q_WIDE  = 38              /* of tables with `wide`: 16 rows more, each four's numbers 0, 2 and 1, 3 as int16 */
};
/* One tile from some group on, as a kernel reads it.  Some groups have a second int8 (oct__acts, chapter 8). */
typedef struct oct__qtile {
    const uint32_t *x;             /* blocks */
    int             n;             /* tokens */
    size_t          next;          /* words from here to the same place of the next tile, to be asked for; 0: do not */
    const uint32_t *rest;          /* tokens' blocks of n = 1, rest_step words apart; NULL: none in this tile */
    const int32_t  *list, *ends;   /* of token t, entries ends[t * ends_step] to ends[t * ends_step + 1] are of this piece of k; */
    size_t          rest_step, list_step, ends_step;        /* list[t * list_step + entry]: their groups, from x on */
    int             first;         /* x's group */
} oct__qtile;

typedef struct oct__kernels oct__kernels;
enum { OCT__GELU_TANH, OCT__GELU_ERF, OCT__GELU_QUICK, OCT__GELU_SILU };
enum { OCT__MUL_SET, OCT__MUL_ADD, OCT__MUL_CHAIN };   /* y = sum; y += sum; the sum starts from y */

struct oct__kernels {
    const char *name;
    oct_isa     isa;
    int         fma;               /* bits are those of every other table that has it, but for what goes through mul_bf16 */
    int         words;             /* of a token in a block of activations: OCT__Q_WORDS or OCT__Q_WIDE */
    int         tile;              /* tokens of a tile of activations */
    /* 16 rows [16, k] of a quantised type, row_bytes apart, into p */
    void (*unpack)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p);
    /* 16 rows of any type as F32: y [k, 16].  A quantised type goes through p; a float type may use p->u as scratch. */
    void (*unpack_f)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p, float *y);
    /* x [32 * n_groups] -> column t of the blocks, of `words` rows, of a tile of n tokens */
    void (*quantise)(const float *x, int n_groups, uint32_t *blocks, int words, int t, int n);
    /* acc [n, 16] += p x the tile's n tokens, and rest [n, 16] += p x their second int8; the tile begins at p's first k */
    void (*mul)(const oct__panel *p, int k, const oct__qtile *x, float *acc, float *rest);
    /* acc [16] += 16 rows [16, k] of a quantised type, row_bytes apart, x the one token of a tile, and rest [16] += those x its
     * second int8; p: scratch.  NULL: not
     * in this table, unpack and mul do the same. */
    void (*mul_one)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__qtile *x, const oct__panel *p,
                    float *acc, float *rest);
    /* The sums y [16] go on: 16 rows [16, k] of a float type, row_bytes apart, x one token's k numbers, p: asked for ahead.  As
     * unpack_f and mul_f in OCT__MUL_CHAIN, to the same bits. */
    void (*one_f)(int type, const unsigned char *rows, size_t row_bytes, int k, const float *x, const oct__panel *p, float *y);
    /* y [n, 16 * n_panels], rows y_stride apart, from w [n_panels][k, 16], panels w_stride apart, and x [n, k] */
    void (*mul_f)(const float *w, size_t w_stride, int n_panels, int k, const float *x, size_t x_stride, int n,
                  float *y, size_t y_stride, int mode);
    /* 12 rows of x [12, k] -> a unit [k, 12] */
    void (*pack_f)(const float *x, size_t x_stride, int k, float *unit);
    /* y [12 * n_units, 16] as mul_f gives it, from one panel w [k, 16] and units [k, 12], unit_stride apart */
    void (*mul_units)(const float *w, int k, const float *units, size_t unit_stride, int n_units, float *y, size_t y_stride, int mode);
    /* y [n, 16 * n_panels <= 64] from panels w [k, 16] of F32 or half floats, w_stride numbers apart, and x [n, k <= 64]; rows
     * of x and y are 64 apart; with chain the sums start from y */
    void (*att_mul)(const void *w, int half, size_t w_stride, int n_panels, int k, const float *x, int n, float *y, int chain);
    /* n <= 24 rows of an attention tile: s [n, 64] holds seen[i] scores in row i, gets exp(s - max).  max and sum [n] go
     * on; acc [n, d], in blocks (chapter 8), is what was summed under the old max, and is brought to the new one. */
    void (*softmax)(float *s, const int *seen, int n, float *max, float *sum, float *acc, int d);
    /* out [d] = a * out + b * acc: rows of blocks */
    void (*join)(float *out, float a, const float *acc, float b, int d);
    void (*scale)(float *y, float a, int n);                                   /* y *= a */
    void (*norm)(float *y, const float *x, const float *w, const float *b, int n, float eps, int rms);
    void (*silu_mul)(float *y, const float *gate, const float *up, int n);
    void (*gelu)(float *y, const float *x, int n, int kind);
    void (*add)(float *y, const float *x, int n);
    void (*to_f16)(const float *x, uint16_t *y, int n);
    void (*from_f16)(const uint16_t *x, float *y, int n);
    /* y [n, 16] = d * x, bytes are signed; step 0: d [16], of the columns; step 1: d [n], of the rows */
    void (*from_s8)(const unsigned char *x, const float *d, int step, float *y, int n);
    void (*expv)(const float *x, float *y, int n);                             /* e to the x, as the others use it */
    /* BF16 weights by activations rounded to bf16, in pairs of k: the first in the low half of a word, and zero at the end of an
     * odd k.  All NULL: not in this table.  x [k] -> pairs, step words apart */
    void (*round_bf16)(const float *x, int k, uint32_t *pairs, size_t step);
    /* 16 rows of BF16, row_bytes apart: y [k / 2, 16] */
    void (*unpack_bf16)(const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p, uint32_t *y);
    /* y [n <= 12, 16 * n_panels], set or added to, from w [n_panels][n_pairs, 16], panels w_stride apart, and x [n_pairs, n] */
    void (*mul_bf16)(const uint32_t *w, size_t w_stride, int n_panels, int n_pairs, const uint32_t *x, int n,
                     float *y, size_t y_stride, int mode);
    /* y [16], which begins with zeros: as unpack_bf16 and mul_bf16 for one token, to the same bits */
    void (*one_bf16)(const unsigned char *rows, size_t row_bytes, int k, const uint32_t *x, const oct__panel *p, float *y);
};

#define OCT__STR_(x) #x
#define OCT__STR(x)  OCT__STR_(x)
#if defined(__clang__)
#  define OCT__TARGET(t) _Pragma(OCT__STR_(clang attribute push(__attribute__((target(t))), apply_to = function)))
#  define OCT__UNTARGET  _Pragma("clang attribute pop")
#else
#  define OCT__TARGET(t) _Pragma("GCC push_options") _Pragma(OCT__STR_(GCC target(t)))
#  define OCT__UNTARGET  _Pragma("GCC pop_options")
#endif
/* Without optimisation, and under a sanitizer, each copy would keep every vector of its own on the stack: megabytes in one function. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define OCT__SANITIZED 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#    define OCT__SANITIZED 1
#  endif
#endif
#if defined(__OPTIMIZE__) && !defined(OCT__SANITIZED) && !defined(OCTAVIUS_TEST_INTRINSICS)
#  define OCT__INLINE inline __attribute__((always_inline))
#else
#  define OCT__INLINE OCT__MAYBE_UNUSED
#endif
/* The compiler forgets how x was made: sixteen row addresses stay a few sums and are not kept, and spilled, one by one. */
#define OCT__HIDE(x) __asm__("" : "+r"(x))

/* OCTAVIUS_TEST_INTRINSICS: a header that provides x86 intrinsics in plain C, for tests of tables that the CPU lacks. */
#if !defined(OCTAVIUS_NO_SIMD) && defined(OCTAVIUS_TEST_INTRINSICS)
#  include OCTAVIUS_TEST_INTRINSICS
#  undef OCT__TARGET
#  undef OCT__UNTARGET
#  define OCT__TARGET(t)
#  define OCT__UNTARGET
#  define OCT__X86 1
#elif !defined(OCTAVIUS_NO_SIMD) && defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#  include <immintrin.h>
#  include <cpuid.h>
#  define OCT__X86 1
#else
#  define OCT__X86 0
#endif
#if !defined(OCTAVIUS_NO_SIMD) && defined(__aarch64__) && !OCT__X86
#  include <arm_neon.h>
#  if defined(__linux__)
#    include <sys/auxv.h>
#  endif
#  define OCT__ARM 1
   /* clang before 16 declares vdotq_s32 only where the whole file is compiled for it */
#  if defined(__ARM_FEATURE_DOTPROD) || !defined(__clang__) || __clang_major__ >= 16
#    define OCT__ARM_DOT 1
#  else
#    define OCT__ARM_DOT 0
#  endif
   /* likewise vusmmlaq_s32, which gcc has since 10 */
#  if OCT__ARM_DOT && (defined(__ARM_FEATURE_MATMUL_INT8) || (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 10))
#    define OCT__ARM_I8MM 1
#  else
#    define OCT__ARM_I8MM 0
#  endif
#else
#  define OCT__ARM 0
#  define OCT__ARM_DOT 0
#  define OCT__ARM_I8MM 0
#endif
#if OCT__ARM_I8MM && (defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) || !defined(__clang__) || __clang_major__ >= 16)
#  define OCT__ARM_BF16 1
#else
#  define OCT__ARM_BF16 0
#endif

/* Asks for the first half (0), the second (1) or all (2) of what goes with groups i .. i + n - 1 of 32: in a burst, the
 * requests would fill every buffer there is and stop the work that they should hide behind. */
static inline void oct__ahead(const oct__panel *p, int i, int n, int half) {
    if (!p->ahead) return;
    const size_t bytes = p->ahead_step * (size_t)n, from = p->ahead_at + p->ahead_step * (size_t)i + (half == 1 ? bytes / 2 : 0);
    const size_t to = OCT__MIN(p->ahead_run, from + (half == 0 ? bytes / 2 : half == 1 ? bytes - bytes / 2 : bytes));
    for (size_t b = (from + 63) & ~(size_t)63; b < to; b += 64) {
        const unsigned char *q = p->ahead + b;
        if (OCT__X86 && p->ahead_runs == 1) (void)*(const volatile unsigned char *)q;
        else for (int r = 0; r < p->ahead_runs; r++, q += p->ahead_run) __builtin_prefetch(q, 0, 3);
    }
}

/* The passes.  _DOT adds to a family the int8 kernel of CPUs that have a dot product instruction, _I8MM that of ARM's that
 * multiply small matrices as well; _BF16 adds to such a pass the kernels for BF16 weights of CPUs with a dot product for
 * those. */
#define OCT__ISA scalar
#include OCTAVIUS_FILENAME
#if OCT__X86
OCT__TARGET("avx2,fma,f16c")
#  define OCT__ISA avx2
#  define OCT__ISA_AVX2
#  include OCTAVIUS_FILENAME
OCT__UNTARGET
OCT__TARGET("avx2,fma,f16c,avxvnni")
#  define OCT__ISA avx2_vnni
#  define OCT__ISA_AVX2
#  define OCT__ISA_DOT avx2
#  include OCTAVIUS_FILENAME
OCT__UNTARGET
#  if defined(__GNUC__) && !defined(__clang__)      /* gcc's own header reads undefined vectors and converts -1 */
#    pragma GCC diagnostic push
#    pragma GCC diagnostic ignored "-Wuninitialized"
#    pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#    pragma GCC diagnostic ignored "-Wsign-conversion"
#  endif
OCT__TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#  define OCT__ISA avx512
#  define OCT__ISA_AVX512
#  include OCTAVIUS_FILENAME
OCT__UNTARGET
OCT__TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
#  define OCT__ISA avx512_vnni
#  define OCT__ISA_AVX512
#  define OCT__ISA_DOT avx512
#  include OCTAVIUS_FILENAME
OCT__UNTARGET
OCT__TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,f16c")
#  define OCT__ISA avx512_bf16
#  define OCT__ISA_AVX512
#  define OCT__ISA_DOT avx512
#  define OCT__ISA_BF16 avx512_vnni
#  include OCTAVIUS_FILENAME
OCT__UNTARGET
#  if defined(__GNUC__) && !defined(__clang__)
#    pragma GCC diagnostic pop
#  endif
#endif
#if OCT__ARM
#  define OCT__ISA neon
#  define OCT__ISA_NEON
#  include OCTAVIUS_FILENAME
#  if OCT__ARM_DOT
#    if defined(__clang__)
OCT__TARGET("dotprod")
#    else
OCT__TARGET("arch=armv8.2-a+dotprod")
#    endif
#    define OCT__ISA neon_dot
#    define OCT__ISA_NEON
#    define OCT__ISA_DOT neon
#    include OCTAVIUS_FILENAME
OCT__UNTARGET
#  endif
#  if OCT__ARM_I8MM
#    if defined(__clang__)
OCT__TARGET("dotprod,i8mm")
#    else
OCT__TARGET("arch=armv8.2-a+dotprod+i8mm")
#    endif
#    define OCT__ISA neon_i8mm
#    define OCT__ISA_NEON
#    define OCT__ISA_DOT neon
#    define OCT__ISA_I8MM
#    include OCTAVIUS_FILENAME
OCT__UNTARGET
#  endif
#  if OCT__ARM_BF16
#    if defined(__clang__)
OCT__TARGET("dotprod,i8mm,bf16")
#    else
OCT__TARGET("arch=armv8.2-a+dotprod+i8mm+bf16")
#    endif
#    define OCT__ISA neon_bf16
#    define OCT__ISA_NEON
#    define OCT__ISA_DOT neon
#    define OCT__ISA_I8MM
#    define OCT__ISA_BF16 neon_i8mm
#    include OCTAVIUS_FILENAME
OCT__UNTARGET
#  endif
#endif

/* --- what this machine has --------------------------------------------------- */
#if OCT__X86 && defined(OCTAVIUS_TEST_INTRINSICS)
static int oct__cpu_avx2(void) { return 1; }
static int oct__cpu_avx2_vnni(void) { return 1; }
static int oct__cpu_avx512(void) { return 1; }
static int oct__cpu_avx512_vnni(void) { return 1; }
static int oct__cpu_avx512_bf16(void) { return 1; }
static int oct__cpu_amd(void) { return 0; }
#elif OCT__X86
/* __builtin_cpu_supports also asks whether the system saves the wide registers; clang 14 knows neither f16c nor
 * avxvnni, which cpuid tells. */
static int oct__cpu_avx2(void) {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1u);
}
static int oct__cpu_avx2_vnni(void) {
    unsigned a, b, c, d;
    return oct__cpu_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1u);
}
static int oct__cpu_avx512(void) {
    return oct__cpu_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
static int oct__cpu_avx512_vnni(void) { return oct__cpu_avx512() && __builtin_cpu_supports("avx512vnni"); }
static int oct__cpu_avx512_bf16(void) { return oct__cpu_avx512_vnni() && __builtin_cpu_supports("avx512bf16"); }
static int oct__cpu_amd(void) { return __builtin_cpu_is("amd") != 0; }
#endif
#if OCT__ARM_DOT
/* A bit of AT_HWCAP or AT_HWCAP2; elsewhere only what the whole file is compiled for is known to be there. */
#  if defined(__linux__)
#    define OCT__HWCAP(which, bit) ((getauxval(which) >> (bit) & 1) != 0)
#  else
#    define OCT__HWCAP(which, bit) 0
#  endif
static int oct__cpu_neon_dot(void) {
#  if defined(__ARM_FEATURE_DOTPROD)
    return 1;
#  else
    return OCT__HWCAP(AT_HWCAP, 20);                       /* HWCAP_ASIMDDP */
#  endif
}
#endif
#if OCT__ARM_I8MM
static int oct__cpu_neon_i8mm(void) {
#  if defined(__ARM_FEATURE_MATMUL_INT8)
    return oct__cpu_neon_dot();
#  else
    return oct__cpu_neon_dot() && OCT__HWCAP(AT_HWCAP2, 13);         /* HWCAP2_I8MM */
#  endif
}
#endif
#if OCT__ARM_BF16
static int oct__cpu_neon_bf16(void) {
#  if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    return oct__cpu_neon_i8mm();
#  else
    return oct__cpu_neon_i8mm() && OCT__HWCAP(AT_HWCAP2, 14);        /* HWCAP2_BF16 */
#  endif
}
#endif

/* In how many runs side by side memory is best read (oct__mm_ahead, chapter 8). */
static int oct__cpu_runs(void) {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    return __builtin_cpu_is("intel") ? 8 : 1;
#else
    return 1;
#endif
}

/* Every table that runs here, best first; NULL past the last.  bf16's dot product makes twice the operations of fma on Zen 4
 * and 5, but half of them on Sapphire Rapids: there it would lose speed as well as digits. */
static const oct__kernels *oct__kernels_list(int i) {
#if OCT__X86
    if (oct__cpu_avx512_bf16() && oct__cpu_amd() && i-- == 0) return &oct__table_avx512_bf16;
    if (oct__cpu_avx512_vnni() && i-- == 0) return &oct__table_avx512_vnni;
    if (oct__cpu_avx512_bf16() && !oct__cpu_amd() && i-- == 0) return &oct__table_avx512_bf16;
    if (oct__cpu_avx512() && i-- == 0) return &oct__table_avx512;
    if (oct__cpu_avx2_vnni() && i-- == 0) return &oct__table_avx2_vnni;
    if (oct__cpu_avx2() && i-- == 0) return &oct__table_avx2;
#endif
#if OCT__ARM_BF16
    if (oct__cpu_neon_bf16() && i-- == 0) return &oct__table_neon_bf16;
#endif
#if OCT__ARM_I8MM
    if (oct__cpu_neon_i8mm() && i-- == 0) return &oct__table_neon_i8mm;
#endif
#if OCT__ARM_DOT
    if (oct__cpu_neon_dot() && i-- == 0) return &oct__table_neon_dot;
#endif
#if OCT__ARM
    if (i-- == 0) return &oct__table_neon;
#endif
    return i == 0 ? &oct__table_scalar : NULL;
}
/* The best of a family; NULL: not on this machine, or not in this build. */
static const oct__kernels *oct__kernels_pick(oct_isa want) {
    const oct__kernels *k;
    for (int i = 0; (k = oct__kernels_list(i)) != NULL; i++)
        if (want == OCT_ISA_AUTO || k->isa == want) return k;
    return NULL;
}
/* ==========================================================================
 * MARK: - 6. gguf
 * ==========================================================================
 * From bytes to a table of metadata and a table of tensors.  Where the bytes come
 * from (a mapped file, a file read, a callback, memory, several parts of one split
 * model) is settled first; then one cursor walks them, and nothing else touches
 * them.  Strings, arrays and tensor data stay where they are and are pointed at.
 * Every length is compared with what is left before anything is allocated or
 * multiplied, so a hostile file costs at most a few times its own size.
 * This chapter knows nothing of models: what a key means is its reader's business.
 */

/* Keys of our own, in files that hold llama.cpp's keys and tensor names otherwise; in brackets what holds without them.
 *
 *   octavius.prompt_style        string   one of oct_prompt_style_name's names [recognised from the file]
 *   octavius.tokenizer.legacy    bool     SentencePiece: a space is put before text that follows a control token [true]
 *   octavius.tokenizer.tags      i32[]    control tokens that lose the white space around them, as transformers' slow tokenizer
 *                                         has it [none]
 *   octavius.sampling.{temp,top_k,top_p,min_p,penalty_repeat}     recommended sampling [general.sampling.*, else greedy]
 *   octavius.max_tokens          u32      an answer's length [no limit]
 *   octavius.stop_suffixes       string[] ids in decimal, spaces between: BOS and the answer end so, and the answer ends [none]
 *   octavius.native_length       u32      Qwen-1's seq_length: beyond it, rotary base and queries are rescaled [never]
 *   octavius.moe.capacity_factor f32      DeepSpeed's eval_capacity_factor [none: desc.capacity is refused]
 *   octavius.moe.min_capacity    u32      [0]
 *   octavius.lora.expert_used_count u32   gates that are not zero [2]
 *   octavius.v.{image_size,patch_size,embedding_length,feed_forward_length,block_count,head_count}   u32, a vision tower's sizes
 *   octavius.v.layer_norm_epsilon f32;  octavius.v.{image_mean,image_std}   f32[3]
 *   octavius.v.activation        string   gelu_quick, gelu_tanh or gelu (erf)
 *   octavius.v.resize            string   pad, crop or squash [pad]
 *   octavius.v.resize_side       u32      short side before the centre crop [image_size]
 *   octavius.v.convert           string   colours become RGB before or after the resize [before]
 *   octavius.v.feature           string   patch: without the first row; cls_patch: all rows [patch]
 *   octavius.agg.head_count      u32      of the aggregator's attention [8]
 *   octavius.pt.{head_count,group_size,group_count,point_count}   u32, the region encoder's heads, points of a group, groups of a
 *                                         region, points of a region [width / 64, 32, 512, 2048]
 *   octavius.pt.fps              string   farthest points: plain, or as pointnet2 takes them [plain]
 *   octavius.pt.feature          string   feat: class row and maximum; proj: that through the projection [feat]
 *   octavius.det.{encoder_head_count,decoder_head_count,point_count,token_count,query_count}   u32, the detector's heads, points
 *                                         of a cloud, of them tokens, boxes [4, 4, 40000, 2048, 256]
 *   octavius.det.radius f32, octavius.det.sample_count u32   of the first set abstraction [0.2, 64]; with det.interim also
 *   octavius.det.interim_radius f32, octavius.det.{interim_count,interim_sample_count} u32   of the second [0.4, half, 32], and
 *   octavius.det.mask_radius     f32[]    of each encoder layer: points as far apart do not see each other
 *   octavius.det.classes         string[] their names [none]
 *
 * Tensors of our own; their linears are [out, in], with a bias unless said otherwise, and batch norms stand folded in them.
 *
 *   blk.N.attn_{q,k,v,output}.lora_{a,b}, and of any other linear likewise: a [E, rank, in], b [E, out, rank];
 *   gate.weight [E, n_embd]
 *   agg.query [n_query, d];  agg.pos.{0,2}: 6 -> hidden -> d, with ReLU;  agg.{cross,self}_{q,k,v,o,norm};
 *   agg.out.0: d -> n_embd, agg.out.1: its LayerNorm
 *   pt.enc.{0,1}: 3 -> 128 -> 256, ReLU between;  pt.enc.{2,3}: 512 -> 512 -> e likewise;  pt.reduce: e -> d;  pt.class_embd,
 *   pt.class_pos [d];  pt.pos.{0,2}: 3 -> 128 -> d, with GELU (erf);  pt.blk.N.{ln1,attn_qkv,attn_out,ln2,ffn_up,ffn_down},
 *   attn_qkv without a bias;  pt.post_ln;  pt.proj [c, 2 d] without a bias, optional
 *   det.pre.{0,1,2}, det.interim.{0,1,2}: each with a ReLU behind it, rows begin with relative x, y, z;  det.mem.{0,1,2}: to the
 *   decoder's width, likewise (with det.interim two of them);  det.pos.gauss [3, d / 2];  det.query.{0,2}: d -> d -> d, ReLU
 *   behind both;  det.enc.blk.N.{ln1,attn_qkv,attn_out,ln2,ffn_up,ffn_down};
 *   det.dec.blk.N.{ln1,attn_qkv,attn_out,ln2,cross_qkv,cross_out,ln3,ffn_up,ffn_down};  det.dec.norm;
 *   det.head.{sem_cls,center,size,angle_cls,angle_residual}.{0,1,2}: ReLU behind 0 and 1 */

/* --- value types of metadata ------------------------------------------------- */

enum {
    OCT__META_U8, OCT__META_I8, OCT__META_U16, OCT__META_I16, OCT__META_U32, OCT__META_I32, OCT__META_F32,
    OCT__META_BOOL, OCT__META_STRING, OCT__META_ARRAY, OCT__META_U64, OCT__META_I64, OCT__META_F64, OCT__META_TYPES
};
/* Bytes of one value; 0: of varying length. */
static const unsigned char oct__meta_bytes[OCT__META_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

static const char *oct__meta_type_name(int type) {
    static const char *const names[OCT__META_TYPES] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32",
                                                        "bool", "string", "array", "u64", "i64", "f64" };
    return type >= 0 && type < OCT__META_TYPES ? names[type] : "unknown";
}
static bool oct__meta_is_int(int type) {
    return type >= 0 && type < OCT__META_TYPES && type != OCT__META_F32 && type != OCT__META_F64 &&
           type != OCT__META_BOOL && type != OCT__META_STRING && type != OCT__META_ARRAY;
}
/* Reads a number of m->type at p, unaligned, into m->u and m->f. */
static void oct__meta_number(oct_meta *m, const unsigned char *p) {
    int64_t i = 0;
    switch (m->type) {
    case OCT__META_U8:   i = p[0]; break;
    case OCT__META_I8:   i = (int8_t)p[0]; break;
    case OCT__META_U16:  i = oct__u16(p); break;
    case OCT__META_I16:  i = (int16_t)oct__u16(p); break;
    case OCT__META_U32:  i = oct__u32(p); break;
    case OCT__META_I32:  i = (int32_t)oct__u32(p); break;
    case OCT__META_BOOL: i = p[0] != 0; break;        /* writers differ in what "true" is */
    case OCT__META_F32:  m->f = (double)oct__f32(p); return;
    case OCT__META_F64:  m->f = oct__f64(p); return;
    case OCT__META_U64:  m->u = oct__u64(p); m->f = (double)m->u; return;
    default:             i = (int64_t)oct__u64(p); break;
    }
    m->u = (uint64_t)i;
    m->f = (double)i;
}
/* An integer that int64_t cannot hold: u64 alone has such. */
static bool oct__meta_int_fits(const oct_meta *m) { return m->type != OCT__META_U64 || m->u <= INT64_MAX; }

/* Element i of an array.  Strings differ in length: *cursor is where element i begins, 0 where that is not known
 * (then it is found from the start), and moves on to the next.  ARG: not an array, no such element. */
static oct_result oct__meta_item(const oct_meta *array, uint64_t i, size_t *cursor, oct_meta *out) {
    if (!array || !out || array->type != OCT__META_ARRAY || i >= array->count) return OCT_E_ARG;
    oct_meta item;
    memset(&item, 0, sizeof item);
    item.key = array->key;
    item.type = array->item_type;
    item.count = 1;
    if (item.type != OCT__META_STRING) {
        oct__meta_number(&item, array->items + (size_t)i * oct__meta_bytes[item.type]);
        *out = item;
        return OCT_OK;
    }
    size_t at = cursor ? *cursor : 0;
    for (uint64_t skip = at == 0 ? i + 1 : 1; skip > 0; skip--) {
        if (at > array->items_bytes || array->items_bytes - at < 8) return OCT_E_ARG;
        const uint64_t len = oct__u64(array->items + at);
        if (len > array->items_bytes - at - 8) return OCT_E_ARG;
        item.s.data = (const char *)array->items + at + 8;
        item.s.len = (size_t)len;
        at += 8 + (size_t)len;
    }
    if (cursor) *cursor = at;
    *out = item;
    return OCT_OK;
}

/* --- the cursor ----------------------------------------------------------------- */

typedef struct oct__cursor {
    const unsigned char *data;
    size_t      size, pos;
    const char *kind;              /* what is being read, for messages: "header", "metadata", "tensor" */
    uint64_t    number;            /* which of them, from 0, as long as its name is not known */
    oct_string  name;
    int         part, n_parts;
    oct_error  *err;
} oct__cursor;

/* "part 2 of 3: tensor 'blk.0.attn_q.weight': ..." */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static oct_result oct__cursor_fail(const oct__cursor *c, oct_result code, const char *format, ...) {
    char part[48] = "", thing[160], fault[200];
    va_list args;
    va_start(args, format);
    vsnprintf(fault, sizeof fault, format, args);
    va_end(args);
    if (c->n_parts > 1) snprintf(part, sizeof part, "part %d of %d: ", c->part + 1, c->n_parts);
    if (c->name.data)
        snprintf(thing, sizeof thing, "%s '%.*s'", c->kind, OCT__S(c->name));
    else if (strcmp(c->kind, "header") == 0)
        snprintf(thing, sizeof thing, "header");
    else
        snprintf(thing, sizeof thing, "%s number %llu", c->kind, (unsigned long long)c->number);
    return oct__fail(c->err, code, "%s%s: %s", part, thing, fault);
}
/* The one place where file bytes are handed out: the next n of them, or NULL with the error written. */
static const unsigned char *oct__cursor_bytes(oct__cursor *c, uint64_t n, const char *what) {
    if (c->pos > c->size || n > c->size - c->pos) {
        (void)oct__cursor_fail(c, OCT_E_FORMAT, "%s of %llu bytes at byte %zu, expected at most %zu: the file ends there", what,
                               (unsigned long long)n, c->pos, c->pos > c->size ? 0 : c->size - c->pos);
        return NULL;
    }
    const unsigned char *p = c->data + c->pos;
    c->pos += (size_t)n;
    return p;
}
static oct_result oct__cursor_u32(oct__cursor *c, uint32_t *out, const char *what) {
    const unsigned char *p = oct__cursor_bytes(c, 4, what);
    if (!p) return OCT_E_FORMAT;
    *out = oct__u32(p);
    return OCT_OK;
}
static oct_result oct__cursor_u64(oct__cursor *c, uint64_t *out, const char *what) {
    const unsigned char *p = oct__cursor_bytes(c, 8, what);
    if (!p) return OCT_E_FORMAT;
    *out = oct__u64(p);
    return OCT_OK;
}
static oct_result oct__cursor_string(oct__cursor *c, oct_string *out, const char *what) {
    uint64_t len;
    const oct_result r = oct__cursor_u64(c, &len, "length");
    if (r) return r;
    const unsigned char *p = oct__cursor_bytes(c, len, what);
    if (!p) return OCT_E_FORMAT;
    out->data = (const char *)p;
    out->len = (size_t)len;
    return OCT_OK;
}
/* Reads the name of the thing at hand: 1 to max_len bytes, none of them NUL (C strings name things in the API). */
static oct_result oct__cursor_name(oct__cursor *c, oct_string *out, size_t max_len, const char *what) {
    const oct_result r = oct__cursor_string(c, out, what);
    if (r) return r;
    if (out->len == 0) return oct__cursor_fail(c, OCT_E_FORMAT, "%s is empty, expected 1 to %zu bytes", what, max_len);
    c->name = *out;
    if (out->len > max_len)
        return oct__cursor_fail(c, OCT_E_FORMAT, "%s has %zu bytes, expected 1 to %zu", what, out->len, max_len);
    const void *nul = memchr(out->data, 0, out->len);
    if (nul)
        return oct__cursor_fail(c, OCT_E_FORMAT, "%s holds a NUL at byte %zu of %zu, expected none", what,
                                (size_t)((const char *)nul - out->data), out->len);
    return OCT_OK;
}

/* --- tables of named things, found by name ------------------------------------------ */

/* Names are sorted, not hashed: an attacker can make any number of them collide in a hash table, while sorting
 * and searching stay n log n whatever the names are. */
static int oct__name_order(oct_string a, oct_string b) {
    if (a.len != b.len) return a.len < b.len ? -1 : 1;
    return memcmp(a.data, b.data, a.len);
}
/* The name of entry i: both oct_meta and oct_tensor begin with it. */
static oct_string oct__name_at(const void *table, size_t stride, size_t i) {
    return *(const oct_string *)(const void *)((const unsigned char *)table + i * stride);
}
/* Merge sort, from runs of one upwards; order [n] ends sorted, spare [n] is scratch.  Equal names keep their order. */
static void oct__names_sort(const void *table, size_t stride, uint32_t *order, uint32_t *spare, size_t n) {
    uint32_t *from = order, *to = spare;
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            const size_t mid = OCT__MIN(lo + run, n), hi = OCT__MIN(lo + 2 * run, n);
            size_t a = lo, b = mid;
            for (size_t k = lo; k < hi; k++) {
                const bool left = b >= hi || (a < mid && oct__name_order(oct__name_at(table, stride, from[a]),
                                                                         oct__name_at(table, stride, from[b])) <= 0);
                to[k] = left ? from[a++] : from[b++];
            }
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order && n > 0) memcpy(order, from, n * sizeof *order);
}
/* Index of the entry called name, or SIZE_MAX. */
static size_t oct__names_find(const void *table, size_t stride, const uint32_t *order, size_t n, oct_string name) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int way = oct__name_order(oct__name_at(table, stride, order[mid]), name);
        if (way == 0) return order[mid];
        if (way < 0) lo = mid + 1;
        else hi = mid;
    }
    return SIZE_MAX;
}
/* Makes *order [2 n]: its first half sorted, its second used while sorting.  A name that stands twice is an error. */
static oct_result oct__names_index(const oct_allocator *a, const void *table, size_t stride, size_t n,
                                   const char *kind, uint32_t **order, oct_error *err) {
    size_t twice;
    if (n > UINT32_MAX / 2 || oct__mul(&twice, n, 2))
        return oct__fail(err, OCT_E_LIMIT, "header: %zu entries of %s, expected at most %u", n, kind, UINT32_MAX / 2);
    *order = OCT__NEW(a, uint32_t, twice);
    if (!*order) return oct__fail(err, OCT_E_MEMORY, "index of %zu entries of %s: no memory", n, kind);
    oct__names_sort(table, stride, *order, *order + n, n);
    for (size_t i = 1; i < n; i++) {
        const oct_string name = oct__name_at(table, stride, (*order)[i]);
        if (oct__str_same(name, oct__name_at(table, stride, (*order)[i - 1])))
            return oct__fail(err, OCT_E_FORMAT, "%s '%.*s': found twice, as number %u and number %u, expected once", kind,
                             OCT__S(name), (*order)[i - 1], (*order)[i]);
    }
    return OCT_OK;
}

/* --- the parsed file -------------------------------------------------------------------- */

typedef struct oct__gguf {
    oct_allocator allocator;
    oct_meta     *metas;           /* [n_metas], of the first part, in the file's order */
    size_t        n_metas;
    oct_tensor   *tensors;         /* [n_tensors], of all parts, in order */
    size_t        n_tensors;
    uint32_t     *meta_order;      /* sorted by name: see oct__names_index */
    uint32_t     *tensor_order;
    uint32_t      version;         /* of the first part */
    size_t        alignment;       /* of the first part */
    uint64_t      n_params;        /* elements of all tensors */
    uint64_t      file_bytes;      /* of all parts */
} oct__gguf;

enum { OCT__GGUF_MAX_KEY = 65535, OCT__GGUF_MAX_NAME = 63, OCT__GGUF_MAX_ALIGN = 1 << 20 };
/* The least bytes an entry can take: they bound the counts of the header.
 * Metadata: length, key of one byte, type, value of one byte.  Tensor: length, name of one byte, n_dims, ne[1], type, offset. */
enum { OCT__GGUF_MIN_META = 8 + 1 + 4 + 1, OCT__GGUF_MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8 };

static void oct__gguf_free(oct__gguf *g) {
    if (!g) return;
    const oct_allocator a = g->allocator;
    oct__free(&a, g->metas);
    oct__free(&a, g->tensors);
    oct__free(&a, g->meta_order);
    oct__free(&a, g->tensor_order);
    memset(g, 0, sizeof *g);
}
static const oct_meta *oct__gguf_find(const oct__gguf *g, const char *key) {
    const size_t i = oct__names_find(g->metas, sizeof(oct_meta), g->meta_order, g->n_metas, oct__str(key));
    return i == SIZE_MAX ? NULL : &g->metas[i];
}
static const oct_tensor *oct__gguf_tensor(const oct__gguf *g, oct_string name) {
    const size_t i = oct__names_find(g->tensors, sizeof(oct_tensor), g->tensor_order, g->n_tensors, name);
    return i == SIZE_MAX ? NULL : &g->tensors[i];
}

/* --- typed getters: wrong type or out of range is an error, absent gives the fallback ------- */

static oct_result oct__gguf_absent(const char *key, const char *wanted, oct_error *err) {
    return oct__fail(err, OCT_E_FORMAT, "metadata '%s': missing, expected %s", key, wanted);
}
static oct_result oct__gguf_wrong_type(const oct_meta *m, const char *wanted, oct_error *err) {
    return oct__fail(err, OCT_E_FORMAT, "metadata '%.*s': %s%s%s, expected %s", OCT__S(m->key), oct__meta_type_name(m->type),
                     m->type == OCT__META_ARRAY ? " of " : "",
                     m->type == OCT__META_ARRAY ? oct__meta_type_name(m->item_type) : "", wanted);
}
/* Any integer type will do: writers differ between i32, u32 and u64. */
static oct_result oct__gguf_int(const oct__gguf *g, const char *key, int64_t min, int64_t max, int64_t fallback,
                                int64_t *out, oct_error *err) {
    const oct_meta *m = oct__gguf_find(g, key);
    if (!m) {
        *out = fallback;
        return OCT_OK;
    }
    if (!oct__meta_is_int(m->type)) return oct__gguf_wrong_type(m, "an integer", err);
    if (!oct__meta_int_fits(m))
        return oct__fail(err, OCT_E_FORMAT, "metadata '%s': %llu, expected %lld to %lld", key, (unsigned long long)m->u,
                         (long long)min, (long long)max);
    const int64_t v = (int64_t)m->u;
    if (v < min || v > max)
        return oct__fail(err, OCT_E_FORMAT, "metadata '%s': %lld, expected %lld to %lld", key, (long long)v,
                         (long long)min, (long long)max);
    *out = v;
    return OCT_OK;
}
static oct_result oct__gguf_need_int(const oct__gguf *g, const char *key, int64_t min, int64_t max, int64_t *out,
                                     oct_error *err) {
    if (!oct__gguf_find(g, key)) return oct__gguf_absent(key, "an integer", err);
    return oct__gguf_int(g, key, min, max, 0, out, err);
}
/* A number for a message, with a point whatever the locale's decimal sign is. */
static const char *oct__real_text(double v, char out[32]) {
    snprintf(out, 32, "%g", v);
    size_t n = 0;
    for (const char *p = out; *p; p++) {
        const bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || *p == '-' || *p == '+';
        if (plain) out[n++] = *p;
        else if (n == 0 || out[n - 1] != '.') out[n++] = '.';
    }
    out[n] = 0;
    return out;
}
static oct_result oct__gguf_real(const oct__gguf *g, const char *key, double min, double max, double fallback, double *out,
                                 oct_error *err) {
    const oct_meta *m = oct__gguf_find(g, key);
    if (!m) {
        *out = fallback;
        return OCT_OK;
    }
    if (m->type != OCT__META_F32 && m->type != OCT__META_F64) return oct__gguf_wrong_type(m, "a floating-point number", err);
    if (!(m->f >= min && m->f <= max) || !isfinite(m->f)) {          /* NaN fails both comparisons */
        char found[32], lo[32], hi[32];
        return oct__fail(err, OCT_E_FORMAT, "metadata '%s': %s, expected %s to %s", key, oct__real_text(m->f, found),
                         oct__real_text(min, lo), oct__real_text(max, hi));
    }
    *out = m->f;
    return OCT_OK;
}
static oct_result oct__gguf_flag(const oct__gguf *g, const char *key, bool fallback, bool *out, oct_error *err) {
    const oct_meta *m = oct__gguf_find(g, key);
    if (m && m->type != OCT__META_BOOL) return oct__gguf_wrong_type(m, "a bool", err);
    *out = m ? m->u != 0 : fallback;
    return OCT_OK;
}
/* fallback may be NULL: the empty view. */
static oct_result oct__gguf_text(const oct__gguf *g, const char *key, const char *fallback, oct_string *out, oct_error *err) {
    const oct_meta *m = oct__gguf_find(g, key);
    *out = m && m->type == OCT__META_STRING ? m->s : oct__str(fallback ? fallback : "");
    return m && m->type != OCT__META_STRING ? oct__gguf_wrong_type(m, "a string", err) : OCT_OK;
}
/* item_type -1: any.  *out is NULL where the key is absent. */
static oct_result oct__gguf_array(const oct__gguf *g, const char *key, int item_type, uint64_t min_n, uint64_t max_n,
                                  const oct_meta **out, oct_error *err) {
    const oct_meta *m = oct__gguf_find(g, key);
    *out = NULL;
    if (!m) return OCT_OK;
    if (m->type != OCT__META_ARRAY || (item_type >= 0 && m->item_type != item_type)) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "array%s%s", item_type >= 0 ? " of " : "",
                 item_type >= 0 ? oct__meta_type_name(item_type) : "");
        return oct__gguf_wrong_type(m, wanted, err);
    }
    if (m->count < min_n || m->count > max_n)
        return oct__fail(err, OCT_E_FORMAT, "metadata '%s': array of %llu, expected %llu to %llu", key,
                         (unsigned long long)m->count, (unsigned long long)min_n, (unsigned long long)max_n);
    *out = m;
    return OCT_OK;
}

/* --- reading: header, metadata, tensor directory ----------------------------------------------- */

/* What files that are not GGUF turn out to be, most often. */
typedef struct oct__magic { size_t at, len; const char *bytes, *what; } oct__magic;
static const char *oct__gguf_looks_like(oct_string file) {
    static const oct__magic known[] = {
        { 8, 2, "{\"", "a safetensors file" },
        { 0, 4, "PK\3\4", "a zip archive, as PyTorch writes its checkpoints" },
        { 0, 2, "\x80\2", "a Python pickle, as older PyTorch writes its checkpoints" },
        { 0, 4, "lmgg", "a ggml file, older than GGUF" },
        { 0, 4, "fmgg", "a ggmf file, older than GGUF" },
        { 0, 4, "tjgg", "a ggjt file, older than GGUF" },
        { 0, 4, "algg", "a ggla adapter, older than GGUF" },
        { 0, 4, "FUGG", "a byte-swapped GGUF file" },
        { 0, 2, "\x1f\x8b", "gzip data: unpack it first" },
        { 0, 4, "\x28\xb5\x2f\xfd", "zstd data: unpack it first" },
        { 0, 3, "BZh", "bzip2 data: unpack it first" },
        { 0, 4, "\xfd" "7zX", "xz data: unpack it first" },
        { 0, 15, "version https:/", "a git-lfs pointer: the file itself was not downloaded" },
        { 0, 14, "<!DOCTYPE html", "a web page" },
        { 0, 14, "<!doctype html", "a web page" },
        { 0, 5, "<html", "a web page" },
        { 0, 4, "\x89HDF", "an HDF5 file" },
        { 0, 6, "\x93NUMPY", "a NumPy array" },
        { 0, 1, "{", "JSON" },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (file.len >= known[i].at + known[i].len && memcmp(file.data + known[i].at, known[i].bytes, known[i].len) == 0)
            return known[i].what;
    return NULL;
}

static oct_result oct__gguf_check_magic(oct__cursor *c) {
    oct_string file;
    file.data = (const char *)c->data;
    file.len = c->size;
    if (file.len == 0) return oct__cursor_fail(c, OCT_E_FORMAT, "the file is empty, expected a GGUF file");
    if (file.len >= 4 && memcmp(file.data, "GGUF", 4) == 0) {
        c->pos = 4;
        return OCT_OK;
    }
    const char *what = oct__gguf_looks_like(file);
    if (what) return oct__cursor_fail(c, OCT_E_FORMAT, "this is %s, expected a GGUF file", what);
    unsigned char m[4] = { 0, 0, 0, 0 };
    memcpy(m, file.data, OCT__MIN(file.len, sizeof m));
    return oct__cursor_fail(c, OCT_E_FORMAT, "the file (%zu bytes) begins with %02x %02x %02x %02x, expected \"GGUF\" (47 47 55 46)",
                            file.len, m[0], m[1], m[2], m[3]);
}
static oct_result oct__gguf_check_version(oct__cursor *c, uint32_t v) {
    if (v == 2 || v == 3) return OCT_OK;
    if ((v & 0xFFFF) == 0 && v != 0)
        return oct__cursor_fail(c, OCT_E_UNSUPPORTED, "version 0x%08x: a big-endian file, expected a little-endian one", v);
    if (v == 1)
        return oct__cursor_fail(c, OCT_E_UNSUPPORTED, "version 1, whose lengths have 32 bits, expected 2 or 3: convert the model again");
    return oct__cursor_fail(c, v == 0 ? OCT_E_FORMAT : OCT_E_UNSUPPORTED, "version %u, expected 2 or 3", v);
}
/* Leaves the cursor behind the header.  Both counts are bounded by what can stand in the rest of the file. */
static oct_result oct__gguf_read_header(oct__cursor *c, uint32_t *version, size_t *n_tensors, size_t *n_metas) {
    uint64_t nt = 0, nm = 0;
    oct_result r = oct__gguf_check_magic(c);
    if (!r) r = oct__cursor_u32(c, version, "version");
    if (!r) r = oct__gguf_check_version(c, *version);
    if (!r) r = oct__cursor_u64(c, &nt, "tensor count");
    if (!r) r = oct__cursor_u64(c, &nm, "metadata count");
    if (r) return r;
    const size_t left = c->size - c->pos;
    if (nm > left / OCT__GGUF_MIN_META)
        return oct__cursor_fail(c, OCT_E_FORMAT, "%lld metadata entries, expected 0 to %zu, as many as %zu bytes can hold",
                                (long long)nm, left / OCT__GGUF_MIN_META, left);
    if (nt > (left - (size_t)nm * OCT__GGUF_MIN_META) / OCT__GGUF_MIN_TENSOR)
        return oct__cursor_fail(c, OCT_E_FORMAT, "%lld tensors, expected 0 to %zu, as many as %zu bytes can hold", (long long)nt,
                                (left - (size_t)nm * OCT__GGUF_MIN_META) / OCT__GGUF_MIN_TENSOR, left);
    *n_tensors = (size_t)nt;
    *n_metas = (size_t)nm;
    return OCT_OK;
}

/* Walks an array once: afterwards all its items are known to lie inside the file. */
static oct_result oct__gguf_read_array(oct__cursor *c, oct_meta *m) {
    uint32_t type = 0;
    oct_result r = oct__cursor_u32(c, &type, "item type");
    if (!r && type == OCT__META_ARRAY)
        return oct__cursor_fail(c, OCT_E_FORMAT, "array of arrays, expected items of type 0 to 8 or 10 to 12");
    if (!r && type >= OCT__META_TYPES)
        return oct__cursor_fail(c, OCT_E_FORMAT, "array item type %u, expected 0 to 8 or 10 to 12", type);
    if (!r) r = oct__cursor_u64(c, &m->count, "array length");
    if (r) return r;
    const size_t left = c->size - c->pos, each = type == OCT__META_STRING ? 8 : oct__meta_bytes[type];
    if (m->count > left / each)
        return oct__cursor_fail(c, OCT_E_FORMAT, "array of %llu %s, expected at most %zu, as many as the %zu bytes left can hold",
                                (unsigned long long)m->count, oct__meta_type_name((int)type), left / each, left);
    m->item_type = (int)type;
    m->items = c->data + c->pos;
    if (type == OCT__META_STRING) {
        oct_string item;
        for (uint64_t i = 0; i < m->count; i++)
            if (oct__cursor_string(c, &item, "string in an array")) return OCT_E_FORMAT;
    } else if (!oct__cursor_bytes(c, m->count * each, "array")) {
        return OCT_E_FORMAT;
    }
    m->items_bytes = (size_t)(c->data + c->pos - m->items);
    return OCT_OK;
}
static oct_result oct__gguf_read_meta(oct__cursor *c, oct_meta *m) {
    uint32_t type = 0;
    memset(m, 0, sizeof *m);
    oct_result r = oct__cursor_name(c, &m->key, OCT__GGUF_MAX_KEY, "key");
    if (!r) r = oct__cursor_u32(c, &type, "value type");
    if (r) return r;
    if (type >= OCT__META_TYPES) return oct__cursor_fail(c, OCT_E_FORMAT, "value type %u, expected 0 to 12", type);
    m->type = (int)type;
    m->count = 1;
    if (m->type == OCT__META_ARRAY) return oct__gguf_read_array(c, m);
    if (m->type == OCT__META_STRING) return oct__cursor_string(c, &m->s, "string");
    const unsigned char *p = oct__cursor_bytes(c, oct__meta_bytes[type], "value");
    if (!p) return OCT_E_FORMAT;
    oct__meta_number(m, p);
    return OCT_OK;
}
/* Fills g->metas and their index, and g->alignment. */
static oct_result oct__gguf_read_metas(oct__gguf *g, oct__cursor *c, size_t n) {
    g->metas = OCT__NEW(&g->allocator, oct_meta, n);
    if (!g->metas) return oct__cursor_fail(c, OCT_E_MEMORY, "table of %zu metadata entries: no memory", n);
    c->kind = "metadata";
    for (size_t i = 0; i < n; i++) {
        c->number = i;
        c->name.data = NULL;
        const oct_result r = oct__gguf_read_meta(c, &g->metas[i]);
        if (r) return r;
    }
    g->n_metas = n;
    const oct_result r = oct__names_index(&g->allocator, g->metas, sizeof(oct_meta), n, "metadata", &g->meta_order, c->err);
    if (r) return r;

    const oct_meta *m = oct__gguf_find(g, "general.alignment");
    g->alignment = 32;
    if (!m) return OCT_OK;
    c->name = m->key;
    if (m->type != OCT__META_U32)
        return oct__cursor_fail(c, OCT_E_FORMAT, "%s, expected u32", oct__meta_type_name(m->type));
    if (m->u == 0 || (m->u & (m->u - 1)) != 0 || m->u > OCT__GGUF_MAX_ALIGN)
        return oct__cursor_fail(c, OCT_E_FORMAT, "%llu, expected a power of two from 1 to %d", (unsigned long long)m->u,
                                OCT__GGUF_MAX_ALIGN);
    g->alignment = (size_t)m->u;
    return OCT_OK;
}

/* The shape: t->ne and t->bytes, with every product checked. */
static oct_result oct__gguf_tensor_size(const oct__cursor *c, oct_tensor *t) {
    int elems = 0, bytes = 0;
    t->type_name = oct__type_name(t->type);
    if (!oct__type_size(t->type, &elems, &bytes) || elems < 1 || bytes < 1)
        return oct__cursor_fail(c, OCT_E_FORMAT, "type number %d, expected one that GGUF defines today", t->type);
    for (int i = 0; i < t->n_dims; i++)
        if (t->ne[i] < 1)
            return oct__cursor_fail(c, OCT_E_FORMAT, "dimension %d is %lld, expected 1 or more", i, (long long)t->ne[i]);
    if (t->ne[0] % elems != 0)
        return oct__cursor_fail(c, OCT_E_FORMAT, "rows of %lld, expected a multiple of %d for type %s", (long long)t->ne[0],
                                elems, t->type_name);
    /* In blocks first: a shape may have more elements than bytes. */
    const uint64_t blocks = (uint64_t)t->ne[0] / (uint64_t)elems;
    bool over = blocks > SIZE_MAX || oct__mul(&t->bytes, (size_t)blocks, (size_t)bytes);
    for (int i = 1; i < 4; i++)
        over = over || (uint64_t)t->ne[i] > SIZE_MAX || oct__mul(&t->bytes, t->bytes, (size_t)t->ne[i]);
    if (over)
        return oct__cursor_fail(c, OCT_E_FORMAT, "shape [%lld, %lld, %lld, %lld] of %s has 2^%d bytes or more, expected to fit the file",
                                (long long)t->ne[0], (long long)t->ne[1], (long long)t->ne[2], (long long)t->ne[3],
                                t->type_name, (int)(8 * sizeof(size_t)));
    return OCT_OK;
}
/* One entry of the directory.  *offset: where its data lie in the data section. */
static oct_result oct__gguf_read_tensor(oct__cursor *c, oct_tensor *t, uint64_t *offset) {
    uint32_t n_dims = 0, type = 0;
    memset(t, 0, sizeof *t);
    oct_result r = oct__cursor_name(c, &t->name, OCT__GGUF_MAX_NAME, "name");
    if (!r) r = oct__cursor_u32(c, &n_dims, "number of dimensions");
    if (r) return r;
    if (n_dims < 1 || n_dims > 4) return oct__cursor_fail(c, OCT_E_FORMAT, "%u dimensions, expected 1 to 4", n_dims);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < 4; i++) {
        uint64_t ne = 1;
        if (i < t->n_dims && oct__cursor_u64(c, &ne, "dimension")) return OCT_E_FORMAT;
        t->ne[i] = (int64_t)ne;
    }
    r = oct__cursor_u32(c, &type, "type");
    if (!r) r = oct__cursor_u64(c, offset, "offset");
    if (r) return r;
    t->type = type > INT32_MAX ? -1 : (int)type;
    return oct__gguf_tensor_size(c, t);
}
/* The directory of one part, into tensors [n].  Data must follow one another without gaps, each aligned, as every
 * writer lays them out: then nothing can overlap.  The padding after the last tensor may be missing. */
static oct_result oct__gguf_read_tensors(oct__gguf *g, oct__cursor *c, oct_tensor *tensors, size_t n, size_t alignment) {
    const size_t directory = c->pos;
    size_t base = 0, expected = 0;
    c->kind = "tensor";
    for (int pass = 0; pass < 2; pass++) {        /* the first finds where the directory ends, and with it the data */
        c->pos = directory;
        for (size_t i = 0; i < n; i++) {
            oct_tensor *t = &tensors[i];
            uint64_t offset = 0;
            c->number = i;
            c->name.data = NULL;
            const oct_result r = oct__gguf_read_tensor(c, t, &offset);
            if (r) return r;
            if (pass == 0) continue;
            const size_t data_bytes = c->size - base;
            if (offset % alignment != 0)
                return oct__cursor_fail(c, OCT_E_FORMAT, "offset %llu, expected a multiple of %zu", (unsigned long long)offset, alignment);
            if (offset != expected)
                return oct__cursor_fail(c, OCT_E_FORMAT, "offset %llu, expected %zu, where the tensor before it ends",
                                        (unsigned long long)offset, expected);
            if (expected > data_bytes || t->bytes > data_bytes - expected)
                return oct__cursor_fail(c, OCT_E_FORMAT, "%zu bytes at offset %zu, expected at most %zu: the file ends there",
                                        t->bytes, expected, expected > data_bytes ? 0 : data_bytes - expected);
            t->data = c->data + base + expected;
            g->n_params += (uint64_t)t->ne[0] * (uint64_t)t->ne[1] * (uint64_t)t->ne[2] * (uint64_t)t->ne[3];
            if (oct__align_up(&expected, expected + t->bytes, alignment)) expected = SIZE_MAX;
        }
        if (oct__align_up(&base, c->pos, alignment) || base > c->size) base = c->size;
    }
    return OCT_OK;
}

/* --- parts ------------------------------------------------------------------------------------------ */

/* kv: the metadata of this part.  n_tensors: of all parts. */
static oct_result oct__gguf_check_split(const oct__gguf *kv, int part, int n_parts, size_t n_tensors, oct_error *err) {
    int64_t no = 0, count = 0, total = 0;
    oct_result r = oct__gguf_int(kv, "split.no", 0, 65534, 0, &no, err);
    if (!r) r = oct__gguf_int(kv, "split.count", 0, 65535, 0, &count, err);
    if (r) return r;
    if (n_parts == 1) {                            /* files merged from parts keep the keys, with a count of 0 */
        if (count <= 1 && no == 0) return OCT_OK;
        if (no > 0)
            return oct__fail(err, OCT_E_FORMAT, "split.no: this is part %lld of %lld, expected the first: open NAME-00001-of-%05lld.gguf",
                             (long long)no + 1, (long long)count, (long long)count);
        return oct__fail(err, OCT_E_FORMAT, "split.count: %lld parts, found 1: open them as NAME-00001-of-%05lld.gguf, all in one folder",
                         (long long)count, (long long)count);
    }
    if (count != n_parts)
        return oct__fail(err, OCT_E_FORMAT, "part %d of %d: split.count is %lld, expected %d", part + 1, n_parts, (long long)count, n_parts);
    if (no != part || !oct__gguf_find(kv, "split.no"))
        return oct__fail(err, OCT_E_FORMAT, "part %d of %d: split.no is %lld, expected %d", part + 1, n_parts, (long long)no, part);
    r = oct__gguf_int(kv, "split.tensors.count", 0, INT32_MAX, (int64_t)n_tensors, &total, err);
    if (r) return r;
    if ((uint64_t)total != n_tensors)
        return oct__fail(err, OCT_E_FORMAT, "part %d of %d: split.tensors.count is %lld, expected %zu, as many as the parts hold",
                         part + 1, n_parts, (long long)total, n_tensors);
    return OCT_OK;
}
static oct__cursor oct__cursor_at(oct_string bytes, int part, int n_parts, oct_error *err) {
    oct__cursor c;
    memset(&c, 0, sizeof c);
    c.data = (const unsigned char *)bytes.data;
    c.size = bytes.len;
    c.kind = "header";
    c.part = part;
    c.n_parts = n_parts;
    c.err = err;
    return c;
}
/* Parses one part; its tensors go to g->tensors from *filled on, its metadata to g if it is the first. */
static oct_result oct__gguf_parse_part(oct__gguf *g, oct_string bytes, int part, int n_parts, size_t *filled, oct_error *err) {
    oct__cursor c = oct__cursor_at(bytes, part, n_parts, err);
    oct__gguf other, *kv = part == 0 ? g : &other;
    memset(&other, 0, sizeof other);
    other.allocator = g->allocator;
    size_t nt = 0, nm = 0;
    oct_result r = oct__gguf_read_header(&c, &kv->version, &nt, &nm);
    if (!r) r = oct__gguf_read_metas(kv, &c, nm);
    if (!r) r = oct__gguf_check_split(kv, part, n_parts, g->n_tensors, err);
    if (!r) r = oct__gguf_read_tensors(g, &c, g->tensors + *filled, nt, kv->alignment);
    oct__gguf_free(&other);
    *filled += nt;
    return r;
}
static oct_result oct__gguf_parse_all(oct__gguf *g, const oct_string *parts, int n_parts, oct_error *err) {
    size_t filled = 0;
    for (int i = 0; i < n_parts; i++) {
        oct__cursor c = oct__cursor_at(parts[i], i, n_parts, err);
        uint32_t version;
        size_t nt = 0, nm = 0;
        const oct_result r = oct__gguf_read_header(&c, &version, &nt, &nm);
        if (r) return r;
        if (oct__add(&g->n_tensors, g->n_tensors, nt)) return oct__fail(err, OCT_E_LIMIT, "header: more tensors than can be counted");
        g->file_bytes += parts[i].len;
    }
    g->tensors = OCT__NEW(&g->allocator, oct_tensor, g->n_tensors);
    if (!g->tensors) return oct__fail(err, OCT_E_MEMORY, "table of %zu tensors: no memory", g->n_tensors);
    for (int i = 0; i < n_parts; i++) {
        const oct_result r = oct__gguf_parse_part(g, parts[i], i, n_parts, &filled, err);
        if (r) return r;
    }
    return oct__names_index(&g->allocator, g->tensors, sizeof(oct_tensor), g->n_tensors, "tensor", &g->tensor_order, err);
}
/* parts [n_parts]: the bytes of each part, 1 for a plain file; they must outlive g.  Checks the whole structure, so
 * that afterwards every string, array and tensor lies inside them.  On failure g is empty. */
static oct_result oct__gguf_parse(oct__gguf *g, const oct_allocator *a, const oct_string *parts, int n_parts, oct_error *err) {
    memset(g, 0, sizeof *g);
    g->allocator = *a;
    const oct_result r = oct__gguf_parse_all(g, parts, n_parts, err);
    if (r) oct__gguf_free(g);
    return r;
}

/* --- sources: where the bytes come from ----------------------------------------------------------------- */

#if !defined(OCTAVIUS_NO_STDIO) && (defined(__unix__) || defined(__APPLE__) || defined(__HAIKU__))
#  define OCT__POSIX 1             /* what is used of these headers, they declare in strict C11 too */
#  include <errno.h>
#  include <fcntl.h>
#  include <sys/mman.h>
#  include <sys/stat.h>
#  include <unistd.h>
#else
#  define OCT__POSIX 0
#  if !defined(OCTAVIUS_NO_STDIO)
#    include <errno.h>
#  endif
#endif
#if OCT__POSIX && !defined(OCTAVIUS_NO_MMAP)
#  define OCT__MMAP 1
#else
#  define OCT__MMAP 0
#endif

/* What one part needs when it is given back. */
typedef struct oct__backing { void *heap, *map; size_t map_bytes; } oct__backing;

typedef struct oct__source {
    oct_allocator allocator;
    oct_string   *parts;           /* [n_parts] for oct__gguf_parse */
    oct__backing *backings;        /* [n_parts] */
    int           n_parts;
} oct__source;

static void oct__source_close(oct__source *s) {
    if (!s) return;
    const oct_allocator a = s->allocator;
    for (int i = 0; s->backings && i < s->n_parts; i++) {
#if OCT__MMAP
        if (s->backings[i].map) munmap(s->backings[i].map, s->backings[i].map_bytes);
#endif
        oct__free(&a, s->backings[i].heap);
    }
    oct__free(&a, s->backings);
    oct__free(&a, s->parts);
    memset(s, 0, sizeof *s);
}
/* Room for n parts, all empty. */
static oct_result oct__source_init(oct__source *s, const oct_allocator *a, int n, oct_error *err) {
    memset(s, 0, sizeof *s);
    s->allocator = *a;
    s->parts = OCT__NEW(a, oct_string, (size_t)n);
    s->backings = s->parts ? OCT__NEW(a, oct__backing, (size_t)n) : NULL;
    if (!s->backings) {
        oct__source_close(s);
        return oct__fail(err, OCT_E_MEMORY, "table of %d parts: no memory", n);
    }
    memset(s->parts, 0, (size_t)n * sizeof *s->parts);
    memset(s->backings, 0, (size_t)n * sizeof *s->backings);
    s->n_parts = n;
    return OCT_OK;
}
static oct_result oct__source_progress(const oct_model_desc *d, double done, oct_error *err) {
    if (d && d->progress && d->progress(d->progress_user, (float)done))
        return oct__fail(err, OCT_E_ABORTED, "opening was stopped by the progress callback");
    return OCT_OK;
}
/* Reads the whole of reader into memory of part i, in pieces, each reported.  name: for messages. */
static oct_result oct__source_read(oct__source *s, int i, const oct_reader *reader, const char *name, const oct_model_desc *d,
                                   oct_error *err) {
    const size_t piece = (size_t)4 << 20;
    if (reader->bytes > SIZE_MAX - OCT__ALIGN)
        return oct__fail(err, OCT_E_MEMORY, "%s: %llu bytes, more than this machine can address", name, (unsigned long long)reader->bytes);
    const size_t bytes = (size_t)reader->bytes;
    unsigned char *heap = (unsigned char *)oct__alloc(&s->allocator, bytes + OCT__ALIGN);
    if (!heap) return oct__fail(err, OCT_E_MEMORY, "%s: no memory for its %zu bytes", name, bytes);
    s->backings[i].heap = heap;
    unsigned char *data = heap + (OCT__ALIGN - (size_t)((uintptr_t)heap % OCT__ALIGN)) % OCT__ALIGN;
    oct_result r = OCT_OK;
    for (size_t at = 0; at < bytes && !r;) {
        const size_t want = OCT__MIN(piece, bytes - at), got = reader->read(reader->user, at, data + at, want);
        if (got != want)
            return oct__fail(err, OCT_E_IO, "%s: %zu bytes read at byte %zu, expected %zu (of %zu in all)", name, got, at, want, bytes);
        at += want;
        r = oct__source_progress(d, ((double)i + (double)at / (double)bytes) / (double)s->n_parts, err);
    }
    s->parts[i].data = (const char *)data;
    s->parts[i].len = bytes;
    return r;
}
/* Parts in memory of the caller's; no byte is copied. */
static oct_result oct__source_open_parts(oct__source *s, const oct_allocator *a, const oct_string *parts, int n_parts, oct_error *err) {
    if (!parts || n_parts < 1 || n_parts > 65535)
        return oct__fail(err, OCT_E_ARG, "parts: %d given, expected 1 to 65535", parts ? n_parts : 0);
    for (int i = 0; i < n_parts; i++)
        if (!parts[i].data) return oct__fail(err, OCT_E_ARG, "parts: number %d of %d is NULL, expected its bytes", i + 1, n_parts);
    const oct_result r = oct__source_init(s, a, n_parts, err);
    if (!r) memcpy(s->parts, parts, (size_t)n_parts * sizeof *parts);
    return r;
}
static oct_result oct__source_open_reader(oct__source *s, const oct_allocator *a, const oct_reader *reader, const oct_model_desc *d,
                                          oct_error *err) {
    if (!reader || !reader->read) return oct__fail(err, OCT_E_ARG, "reader: NULL, expected a function to read with");
    oct_result r = oct__source_init(s, a, 1, err);
    if (!r) r = oct__source_read(s, 0, reader, "reader", d, err);
    if (r) oct__source_close(s);
    return r;
}

#if !defined(OCTAVIUS_NO_STDIO)
/* The end of a path, short enough for a message, from a whole character on. */
static const char *oct__path_tail(const char *path) {
    const size_t len = strlen(path);
    const char *p = len > 120 ? path + len - 120 : path;
    while (((unsigned char)*p & 0xC0) == 0x80) p++;
    return p;
}
/* strerror is neither free of locales nor of shared state. */
static oct_result oct__path_fail(const char *path, const char *wanted, int error, oct_error *err) {
    if (error == EISDIR) return oct__fail(err, OCT_E_IO, "'%s': a folder, expected %s", oct__path_tail(path), wanted);
    const char *why = error == ENOENT ? "no such file" : error == EACCES ? "permission denied" :
                      error == ENOTDIR ? "a folder in its path is a file" :
                      error == EMFILE ? "too many open files" : error == ENAMETOOLONG ? "the name is too long" : NULL;
    if (why) return oct__fail(err, OCT_E_IO, "'%s': %s", oct__path_tail(path), why);
    return oct__fail(err, OCT_E_IO, "'%s': cannot be opened (error %d)", oct__path_tail(path), error);
}

#if OCT__POSIX
typedef struct oct__file { int fd; uint64_t bytes; } oct__file;
/* wanted: "a GGUF file", for messages. */
static oct_result oct__file_open(oct__file *f, const char *path, const char *wanted, oct_error *err) {
    f->bytes = 0;
    struct stat st;
#  if defined(O_CLOEXEC)
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
#  else
    f->fd = open(path, O_RDONLY);
#  endif
    if (f->fd < 0) return oct__path_fail(path, wanted, errno, err);
    int error = fstat(f->fd, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (!error && S_ISREG(st.st_mode)) {
        f->bytes = (uint64_t)st.st_size;
        return OCT_OK;
    }
    close(f->fd);
    if (error) return oct__path_fail(path, wanted, error, err);
    return oct__fail(err, OCT_E_IO, "'%s': neither a file nor a folder, expected %s", oct__path_tail(path), wanted);
}
static void oct__file_close(oct__file *f) { close(f->fd); }
/* An oct_reader's function; reads go from start to end, so the offset is where the file stands anyway. */
static size_t oct__file_read(void *user, uint64_t offset, void *dst, size_t n) {
    const oct__file *f = (const oct__file *)user;
    size_t got = 0;
    OCT__UNUSED(offset);
    while (got < n) {
        const ssize_t k = read(f->fd, (unsigned char *)dst + got, n - got);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) break;
        got += (size_t)k;
    }
    return got;
}
#else
typedef struct oct__file { FILE *stream; uint64_t bytes; } oct__file;
static oct_result oct__file_open(oct__file *f, const char *path, const char *wanted, oct_error *err) {
    f->bytes = 0;
    f->stream = fopen(path, "rb");
    if (!f->stream) return oct__path_fail(path, wanted, errno, err);
#  if defined(_WIN32)
    const long long end = _fseeki64(f->stream, 0, SEEK_END) == 0 ? _ftelli64(f->stream) : -1;
#  else
    const long end = fseek(f->stream, 0, SEEK_END) == 0 ? ftell(f->stream) : -1;
#  endif
    if (end >= 0 && fseek(f->stream, 0, SEEK_SET) == 0) {
        f->bytes = (uint64_t)end;
        return OCT_OK;
    }
    fclose(f->stream);
    return oct__fail(err, OCT_E_IO, "'%s': its size cannot be found", oct__path_tail(path));
}
static void oct__file_close(oct__file *f) { fclose(f->stream); }
static size_t oct__file_read(void *user, uint64_t offset, void *dst, size_t n) {
    OCT__UNUSED(offset);
    return fread(dst, 1, n, ((oct__file *)user)->stream);
}
#endif

/* Part i of s from a file: mapped where that can be done and is wanted, else read. */
static oct_result oct__source_add_file(oct__source *s, int i, const char *path, const oct_model_desc *d, oct_error *err) {
    oct__file f;
    oct_result r = oct__file_open(&f, path, "a GGUF file", err);
    if (r) return r;
    if (f.bytes == 0) r = oct__fail(err, OCT_E_FORMAT, "'%s': the file is empty, expected a GGUF file", oct__path_tail(path));
#if OCT__MMAP
    if (!r && !(d && d->no_mmap) && f.bytes <= SIZE_MAX) {
        void *map = mmap(NULL, (size_t)f.bytes, PROT_READ, MAP_PRIVATE, f.fd, 0);
        if (map != MAP_FAILED) {                   /* else: some file systems cannot map; reading will do */
            s->backings[i].map = map;
            s->backings[i].map_bytes = (size_t)f.bytes;
            s->parts[i].data = (const char *)map;
            s->parts[i].len = (size_t)f.bytes;
        }
    }
#endif
    if (!r && !s->parts[i].data) {
        char name[160];
        oct_reader reader;
        snprintf(name, sizeof name, "'%s'", oct__path_tail(path));
        reader.read = oct__file_read;
        reader.user = &f;
        reader.bytes = f.bytes;
        r = oct__source_read(s, i, &reader, name, d, err);
    } else if (!r) {
        r = oct__source_progress(d, (double)(i + 1) / (double)s->n_parts, err);
    }
    oct__file_close(&f);
    return r;
}

/* A number of exactly five digits, or -1. */
static int oct__five_digits(const char *p) {
    int v = 0;
    for (int i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9') return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v;
}
/* Reads K and N from a path that ends in -KKKKK-of-NNNNN.gguf. */
static bool oct__path_is_split(const char *path, int *k, int *n) {
    const size_t len = strlen(path), tail = strlen("-00001-of-00001.gguf");
    if (len <= tail) return false;
    const char *p = path + len - tail;
    if (p[0] != '-' || memcmp(p + 6, "-of-", 4) != 0 || memcmp(p + 15, ".gguf", 5) != 0) return false;
    *k = oct__five_digits(p + 1);
    *n = oct__five_digits(p + 10);
    return *k >= 1 && *n >= 1 && *k <= *n;
}
static oct_result oct__source_add_split(oct__source *s, const char *path, const oct_model_desc *d, oct_error *err) {
    const size_t len = strlen(path);
    char *name = OCT__NEW(&s->allocator, char, len + 1);
    if (!name) return oct__fail(err, OCT_E_MEMORY, "'%s': no memory for the names of its parts", oct__path_tail(path));
    memcpy(name, path, len + 1);
    oct_result r = OCT_OK;
    for (int i = 0; i < s->n_parts && !r; i++) {
        for (int digit = 4, v = i + 1; digit >= 0; digit--, v /= 10) name[len - 19 + (size_t)digit] = (char)('0' + v % 10);
        r = oct__source_add_file(s, i, name, d, err);
    }
    oct__free(&s->allocator, name);
    return r;
}
/* d may be NULL.  The parts of a split model are looked for beside the first, which is the one to name. */
static oct_result oct__source_open_path(oct__source *s, const oct_allocator *a, const char *path, const oct_model_desc *d,
                                        oct_error *err) {
    memset(s, 0, sizeof *s);
    if (!path || !*path) return oct__fail(err, OCT_E_ARG, "path: %s, expected a file's name", path ? "empty" : "NULL");
    int k = 1, n = 1;
    const bool split = oct__path_is_split(path, &k, &n) && n > 1;
    if (split && k != 1)
        return oct__fail(err, OCT_E_FORMAT, "'%s': part %d of %d, expected the first: open the file ending in -00001-of-%05d.gguf",
                         oct__path_tail(path), k, n, n);
    if (split && n > 65535) return oct__fail(err, OCT_E_LIMIT, "'%s': %d parts, expected 1 to 65535", oct__path_tail(path), n);
    oct_result r = oct__source_init(s, a, split ? n : 1, err);
    if (!r) r = split ? oct__source_add_split(s, path, d, err) : oct__source_add_file(s, 0, path, d, err);
    if (r) oct__source_close(s);
    return r;
}
#endif
/* ==========================================================================
 * MARK: - 7. tokenizer
 * ==========================================================================
 * Text to token ids and back: SentencePiece's BPE (LLaMA) and byte-level BPE
 * (GPT-2 and its many children).  The vocabulary's strings stay where they are
 * in the file; what is built at load is tables of numbers.  Text is scanned by
 * hand, never by recursion, and merged in linear time however long a word is.
 * Any vocabulary that loads and any bytes as text are safe: at worst the ids
 * are silly.  Text becomes a control token only if OCT__ENC_SPECIAL allows it.
 *
 * Not here: WordPiece, Unigram, RWKV; the whitespace that Phi-3 strips after
 * its control tokens; SentencePiece pieces of type "unused" (never produced).
 */

/* --- Unicode tables: written by tools/unicode_tables.py, do not edit --- */
/* Unicode 16.0.0 */
static const uint32_t oct__uc_ranges[2287] = {      /* first code point << 11 | combining class << 3 | class */
    0x00000000, 0x00004803, 0x00007000, 0x00010003, 0x00010804, 0x00012000, 0x00012804, 0x00015800, 0x00016004, 0x00018002,
    0x0001D004, 0x0001E000, 0x0001F804, 0x00020801, 0x0002D804, 0x0002F000, 0x0002F804, 0x00030000, 0x00030801, 0x0003D804,
    0x0003E000, 0x0003E804, 0x0003F000, 0x00042803, 0x00043000, 0x00050003, 0x00050804, 0x00051000, 0x00053804, 0x00054000,
    0x00055001, 0x00055804, 0x00056000, 0x00059002, 0x0005A000, 0x0005A801, 0x0005B004, 0x0005C000, 0x0005C802, 0x0005D001,
    0x0005D804, 0x0005E002, 0x0005F804, 0x00060001, 0x0006B800, 0x0006C001, 0x0007B800, 0x0007C001, 0x00161000, 0x00163001,
    0x00169000, 0x00170001, 0x00172800, 0x00176001, 0x00176800, 0x00177001, 0x00177800, 0x00180730, 0x0018AF40, 0x0018B6E0,
    0x0018D740, 0x0018DEC0, 0x0018E6E0, 0x00190E50, 0x00191EE0, 0x00193E50, 0x00194EE0, 0x0019A008, 0x0019CEE0, 0x0019EF30,
    0x001A2F80, 0x001A3730, 0x001A3EE0, 0x001A5730, 0x001A6EE0, 0x001A7800, 0x001A8730, 0x001A9EE0, 0x001ABF30, 0x001AC740,
    0x001ACEE0, 0x001ADF30, 0x001AE748, 0x001AEF50, 0x001AFF48, 0x001B0750, 0x001B1748, 0x001B1F30, 0x001B8001, 0x001BA800,
    0x001BB001, 0x001BC000, 0x001BD001, 0x001BF004, 0x001BF801, 0x001C0000, 0x001C3001, 0x001C3804, 0x001C4001, 0x001C5800,
    0x001C6001, 0x001C6800, 0x001C7001, 0x001D1000, 0x001D1801, 0x001FB000, 0x001FB801, 0x00241000, 0x00241F30, 0x00244000,
    0x00245001, 0x00298000, 0x00298801, 0x002AB800, 0x002AC801, 0x002AD004, 0x002B0001, 0x002C4804, 0x002C5800, 0x002C8EE0,
    0x002C9730, 0x002CB6E0, 0x002CBF30, 0x002CD6F0, 0x002CDEE0, 0x002CE730, 0x002D16E0, 0x002D4730, 0x002D56E0, 0x002D5F30,
    0x002D6EF0, 0x002D7720, 0x002D7F30, 0x002D8050, 0x002D8858, 0x002D9060, 0x002D9868, 0x002DA070, 0x002DA878, 0x002DB080,
    0x002DB888, 0x002DC090, 0x002DC898, 0x002DD8A0, 0x002DE0A8, 0x002DE8B0, 0x002DF004, 0x002DF8B8, 0x002E0004, 0x002E08C0,
    0x002E10C8, 0x002E1804, 0x002E2730, 0x002E2EE0, 0x002E3004, 0x002E3890, 0x002E4000, 0x002E8001, 0x002F5800, 0x002F7801,
    0x002F9804, 0x002FA800, 0x00304804, 0x00305800, 0x00306004, 0x00307000, 0x00308730, 0x0030C0F0, 0x0030C8F8, 0x0030D100,
    0x0030D804, 0x0030E000, 0x0030E804, 0x00310001, 0x003258D8, 0x003260E0, 0x003268E8, 0x003270F0, 0x003278F8, 0x00328100,
    0x00328908, 0x00329110, 0x00329F30, 0x0032AEE0, 0x0032BF30, 0x0032E6E0, 0x0032EF30, 0x0032FEE0, 0x00330002, 0x00335004,
    0x00337001, 0x00338118, 0x00338801, 0x0036A004, 0x0036A801, 0x0036B730, 0x0036E800, 0x0036FF30, 0x00371EE0, 0x00372730,
    0x00372801, 0x00373F30, 0x00374800, 0x003756E0, 0x00375F30, 0x00376EE0, 0x00377001, 0x00378002, 0x0037D001, 0x0037E800,
    0x0037F801, 0x00380004, 0x00387000, 0x00388001, 0x00388920, 0x00389001, 0x00398730, 0x00398EE0, 0x00399730, 0x0039A6E0,
    0x0039AF30, 0x0039BEE0, 0x0039D730, 0x0039DEE0, 0x0039EF30, 0x0039F6E0, 0x0039FF30, 0x003A16E0, 0x003A1F30, 0x003A26E0,
    0x003A2F30, 0x003A36E0, 0x003A3F30, 0x003A46E0, 0x003A4F30, 0x003A5800, 0x003A6801, 0x003D3000, 0x003D8801, 0x003D9000,
    0x003E0002, 0x003E5001, 0x003F5F30, 0x003F96E0, 0x003F9F30, 0x003FA001, 0x003FB000, 0x003FB804, 0x003FD001, 0x003FD800,
    0x003FEEE0, 0x003FF000, 0x00400001, 0x0040B730, 0x0040D001, 0x0040DF30, 0x00412001, 0x00412F30, 0x00414001, 0x00414F30,
    0x00417000, 0x00418004, 0x0041F800, 0x00420001, 0x0042CEE0, 0x0042E000, 0x0042F004, 0x0042F800, 0x00430001, 0x00435800,
    0x00438001, 0x00444000, 0x00444801, 0x00447800, 0x0044BF30, 0x0044CEE0, 0x0044E730, 0x00450001, 0x00465730, 0x00467EE0,
    0x0046A730, 0x00471000, 0x00471EE0, 0x00472730, 0x004736E0, 0x00473F30, 0x00474EE0, 0x00475730, 0x00476EE0, 0x004780D8,
    0x004788E0, 0x004790E8, 0x00479F30, 0x0047B6E0, 0x0047BF30, 0x0047CEE0, 0x0047DF30, 0x00480000, 0x00482001, 0x0049D000,
    0x0049E038, 0x0049E801, 0x0049F000, 0x004A6848, 0x004A7000, 0x004A8001, 0x004A8F30, 0x004A96E0, 0x004A9F30, 0x004AA800,
    0x004AC001, 0x004B1000, 0x004B2004, 0x004B3002, 0x004B8004, 0x004B8801, 0x004C0800, 0x004C2801, 0x004C6800, 0x004C7801,
    0x004C8800, 0x004C9801, 0x004D4800, 0x004D5001, 0x004D8800, 0x004D9001, 0x004D9800, 0x004DB001, 0x004DD000, 0x004DE038,
    0x004DE801, 0x004DF000, 0x004E6848, 0x004E7001, 0x004E7800, 0x004EE001, 0x004EF000, 0x004EF801, 0x004F1000, 0x004F3002,
    0x004F8001, 0x004F9000, 0x004FA002, 0x004FD000, 0x004FE001, 0x004FE804, 0x004FF730, 0x004FF800, 0x00502801, 0x00505800,
    0x00507801, 0x00508800, 0x00509801, 0x00514800, 0x00515001, 0x00518800, 0x00519001, 0x0051A000, 0x0051A801, 0x0051B800,
    0x0051C001, 0x0051D000, 0x0051E038, 0x0051E800, 0x00526848, 0x00527000, 0x0052C801, 0x0052E800, 0x0052F001, 0x0052F800,
    0x00533002, 0x00538000, 0x00539001, 0x0053A800, 0x0053B004, 0x0053B800, 0x00542801, 0x00547000, 0x00547801, 0x00549000,
    0x00549801, 0x00554800, 0x00555001, 0x00558800, 0x00559001, 0x0055A000, 0x0055A801, 0x0055D000, 0x0055E038, 0x0055E801,
    0x0055F000, 0x00566848, 0x00567000, 0x00568001, 0x00568800, 0x00570001, 0x00571000, 0x00573002, 0x00578004, 0x00578800,
    0x0057C801, 0x0057D000, 0x00582801, 0x00586800, 0x00587801, 0x00588800, 0x00589801, 0x00594800, 0x00595001, 0x00598800,
    0x00599001, 0x0059A000, 0x0059A801, 0x0059D000, 0x0059E038, 0x0059E801, 0x0059F000, 0x005A6848, 0x005A7000, 0x005AE001,
    0x005AF000, 0x005AF801, 0x005B1000, 0x005B3002, 0x005B8000, 0x005B8801, 0x005B9002, 0x005BC000, 0x005C1801, 0x005C2000,
    0x005C2801, 0x005C5800, 0x005C7001, 0x005C8800, 0x005C9001, 0x005CB000, 0x005CC801, 0x005CD800, 0x005CE001, 0x005CE800,
    0x005CF001, 0x005D0000, 0x005D1801, 0x005D2800, 0x005D4001, 0x005D5800, 0x005D7001, 0x005DD000, 0x005E6848, 0x005E7000,
    0x005E8001, 0x005E8800, 0x005F3002, 0x005F9800, 0x00602801, 0x00606800, 0x00607001, 0x00608800, 0x00609001, 0x00614800,
    0x00615001, 0x0061D000, 0x0061E038, 0x0061E801, 0x0061F000, 0x00626848, 0x00627000, 0x0062AAA0, 0x0062B2D8, 0x0062B800,
    0x0062C001, 0x0062D800, 0x0062E801, 0x0062F000, 0x00630001, 0x00631000, 0x00633002, 0x00638000, 0x0063B804, 0x0063C002,
    0x0063F800, 0x00640001, 0x00640800, 0x00642004, 0x00642801, 0x00646800, 0x00647001, 0x00648800, 0x00649001, 0x00654800,
    0x00655001, 0x0065A000, 0x0065A801, 0x0065D000, 0x0065E038, 0x0065E801, 0x0065F000, 0x00666848, 0x00667000, 0x0066E801,
    0x0066F800, 0x00670001, 0x00671000, 0x00673002, 0x00678000, 0x00678801, 0x00679800, 0x00682001, 0x00686800, 0x00687001,
    0x00688800, 0x00689001, 0x0069D848, 0x0069E801, 0x0069F000, 0x006A6848, 0x006A7001, 0x006A7800, 0x006AA001, 0x006AB800,
    0x006AC002, 0x006AF801, 0x006B1000, 0x006B3002, 0x006BC800, 0x006BD001, 0x006C0000, 0x006C2801, 0x006CB800, 0x006CD001,
    0x006D9000, 0x006D9801, 0x006DE000, 0x006DE801, 0x006DF000, 0x006E0001, 0x006E3800, 0x006E5048, 0x006E5800, 0x006F3002,
    0x006F8000, 0x006FA004, 0x006FA800, 0x00700801, 0x00718800, 0x00719001, 0x0071A000, 0x0071C338, 0x0071D048, 0x0071D800,
    0x00720001, 0x00723800, 0x00724358, 0x00726000, 0x00727804, 0x00728002, 0x0072D004, 0x0072E000, 0x00740801, 0x00741800,
    0x00742001, 0x00742800, 0x00743001, 0x00745800, 0x00746001, 0x00752000, 0x00752801, 0x00753000, 0x00753801, 0x00758800,
    0x00759001, 0x0075A000, 0x0075C3B0, 0x0075D048, 0x0075D800, 0x0075E801, 0x0075F000, 0x00760001, 0x00762800, 0x00763001,
    0x00763800, 0x007643D0, 0x00766000, 0x00768002, 0x0076D000, 0x0076E001, 0x00770000, 0x00780001, 0x00780800, 0x00782004,
    0x00789800, 0x0078A004, 0x0078A800, 0x0078C6E0, 0x0078D000, 0x00790002, 0x0079A000, 0x0079AEE0, 0x0079B000, 0x0079BEE0,
    0x0079C000, 0x0079CEC0, 0x0079D004, 0x0079F000, 0x007A0001, 0x007A4000, 0x007A4801, 0x007B6800, 0x007B8C08, 0x007B9410,
    0x007B9800, 0x007BA420, 0x007BA800, 0x007BD410, 0x007BF000, 0x007C0410, 0x007C0800, 0x007C1730, 0x007C2048, 0x007C2804,
    0x007C3730, 0x007C4001, 0x007C6800, 0x007E36E0, 0x007E3800, 0x007E8004, 0x007EA800, 0x007EC804, 0x007ED800, 0x00800001,
    0x00815800, 0x0081B838, 0x0081C000, 0x0081C848, 0x0081D800, 0x0081F801, 0x00820002, 0x00825004, 0x00828001, 0x0082B000,
    0x0082D001, 0x0082F000, 0x00830801, 0x00831000, 0x00832801, 0x00833800, 0x00837001, 0x00838800, 0x0083A801, 0x00841000,
    0x00846EE0, 0x00847001, 0x00847800, 0x00848002, 0x0084D000, 0x00850001, 0x00863000, 0x00863801, 0x00864000, 0x00866801,
    0x00867000, 0x00868001, 0x0087D804, 0x0087E001, 0x00924800, 0x00925001, 0x00927000, 0x00928001, 0x0092B800, 0x0092C001,
    0x0092C800, 0x0092D001, 0x0092F000, 0x00930001, 0x00944800, 0x00945001, 0x00947000, 0x00948001, 0x00958800, 0x00959001,
    0x0095B000, 0x0095C001, 0x0095F800, 0x00960001, 0x00960800, 0x00961001, 0x00963000, 0x00964001, 0x0096B800, 0x0096C001,
    0x00988800, 0x00989001, 0x0098B000, 0x0098C001, 0x009AD800, 0x009AEF30, 0x009B0004, 0x009B4802, 0x009BE800, 0x009C0001,
    0x009C8000, 0x009D0001, 0x009FB000, 0x009FC001, 0x009FF000, 0x00A00004, 0x00A00801, 0x00B36800, 0x00B37004, 0x00B37801,
    0x00B40003, 0x00B40801, 0x00B4D804, 0x00B4E800, 0x00B50001, 0x00B75804, 0x00B77002, 0x00B78801, 0x00B7C800, 0x00B80001,
    0x00B89000, 0x00B8A048, 0x00B8B000, 0x00B8F801, 0x00B99000, 0x00B9A048, 0x00B9A804, 0x00B9B800, 0x00BA0001, 0x00BA9000,
    0x00BB0001, 0x00BB6800, 0x00BB7001, 0x00BB8800, 0x00BC0001, 0x00BDA000, 0x00BE9048, 0x00BE9800, 0x00BEA004, 0x00BEB801,
    0x00BEC004, 0x00BED800, 0x00BEE001, 0x00BEEF30, 0x00BEF000, 0x00BF0002, 0x00BF5000, 0x00BF8002, 0x00BFD000, 0x00C00004,
    0x00C05800, 0x00C08002, 0x00C0D000, 0x00C10001, 0x00C3C800, 0x00C40001, 0x00C42800, 0x00C43801, 0x00C54F20, 0x00C55001,
    0x00C55800, 0x00C58001, 0x00C7B000, 0x00C80001, 0x00C8F800, 0x00C9CEF0, 0x00C9D730, 0x00C9DEE0, 0x00C9E000, 0x00CA2004,
    0x00CA3002, 0x00CA8001, 0x00CB7000, 0x00CB8001, 0x00CBA800, 0x00CC0001, 0x00CD6000, 0x00CD8001, 0x00CE5000, 0x00CE8002,
    0x00CED800, 0x00D00001, 0x00D0BF30, 0x00D0C6E0, 0x00D0C800, 0x00D0F004, 0x00D10001, 0x00D2A800, 0x00D30048, 0x00D30800,
    0x00D3AF30, 0x00D3E800, 0x00D3FEE0, 0x00D40002, 0x00D45000, 0x00D48002, 0x00D4D000, 0x00D50004, 0x00D53801, 0x00D54004,
    0x00D57000, 0x00D58730, 0x00D5AEE0, 0x00D5DF30, 0x00D5EEE0, 0x00D5F000, 0x00D5FEE0, 0x00D60F30, 0x00D61EE0, 0x00D62F30,
    0x00D656E0, 0x00D65F30, 0x00D67800, 0x00D82801, 0x00D9A038, 0x00D9A800, 0x00DA2048, 0x00DA2801, 0x00DA6800, 0x00DA7004,
    0x00DA8002, 0x00DAD004, 0x00DB0800, 0x00DB5F30, 0x00DB66E0, 0x00DB6F30, 0x00DBA000, 0x00DBE804, 0x00DC0000, 0x00DC1801,
    0x00DD0800, 0x00DD5048, 0x00DD6000, 0x00DD7001, 0x00DD8002, 0x00DDD001, 0x00DF3038, 0x00DF3800, 0x00DF9048, 0x00DFA000,
    0x00DFE004, 0x00E00001, 0x00E12000, 0x00E1B838, 0x00E1C000, 0x00E1D804, 0x00E20002, 0x00E25000, 0x00E26801, 0x00E28002,
    0x00E2D001, 0x00E3F004, 0x00E40001, 0x00E45800, 0x00E48001, 0x00E5D800, 0x00E5E801, 0x00E60004, 0x00E64000, 0x00E68730,
    0x00E69804, 0x00E6A008, 0x00E6AEE0, 0x00E6D730, 0x00E6E6E0, 0x00E70730, 0x00E70800, 0x00E71008, 0x00E74801, 0x00E76EE0,
    0x00E77001, 0x00E7A730, 0x00E7A801, 0x00E7B800, 0x00E7C730, 0x00E7D001, 0x00E7D800, 0x00E80001, 0x00EE0730, 0x00EE16E0,
    0x00EE1F30, 0x00EE56E0, 0x00EE5F30, 0x00EE6F50, 0x00EE76B0, 0x00EE7EE0, 0x00EE8650, 0x00EE8F30, 0x00EFB740, 0x00EFBF20,
    0x00EFCEE0, 0x00EFD6D0, 0x00EFDF30, 0x00EFE748, 0x00EFEEE0, 0x00EFF730, 0x00EFFEE0, 0x00F00001, 0x00F8B000, 0x00F8C001,
    0x00F8F000, 0x00F90001, 0x00FA3000, 0x00FA4001, 0x00FA7000, 0x00FA8001, 0x00FAC000, 0x00FAC801, 0x00FAD000, 0x00FAD801,
    0x00FAE000, 0x00FAE801, 0x00FAF000, 0x00FAF801, 0x00FBF000, 0x00FC0001, 0x00FDA800, 0x00FDB001, 0x00FDE800, 0x00FDF001,
    0x00FDF800, 0x00FE1001, 0x00FE2800, 0x00FE3001, 0x00FE6800, 0x00FE8001, 0x00FEA000, 0x00FEB001, 0x00FEE000, 0x00FF0001,
    0x00FF6800, 0x00FF9001, 0x00FFA800, 0x00FFB001, 0x00FFE800, 0x01000003, 0x01005800, 0x01008004, 0x01014003, 0x01015000,
    0x01017803, 0x01018004, 0x01022000, 0x01022804, 0x01029000, 0x01029804, 0x0102F803, 0x01030000, 0x01038002, 0x01038801,
    0x01039000, 0x0103A002, 0x0103D000, 0x0103E804, 0x0103F801, 0x01040002, 0x01045000, 0x01046804, 0x01047800, 0x01048001,
    0x0104E800, 0x01068730, 0x01069008, 0x0106A730, 0x0106C008, 0x0106DF30, 0x0106E800, 0x01070F30, 0x01071000, 0x01072808,
    0x01073F30, 0x010746E0, 0x01074F30, 0x01075008, 0x010766E0, 0x01078730, 0x01078800, 0x01081001, 0x01081800, 0x01083801,
    0x01084000, 0x01085001, 0x0108A000, 0x0108A801, 0x0108B000, 0x0108C801, 0x0108F000, 0x01092001, 0x01092800, 0x01093001,
    0x01093800, 0x01094001, 0x01094800, 0x01095001, 0x01097000, 0x01097801, 0x0109D000, 0x0109E001, 0x010A0000, 0x010A2801,
    0x010A5000, 0x010A7001, 0x010A7800, 0x010A8002, 0x010C1801, 0x010C2802, 0x010C5000, 0x01184004, 0x01186000, 0x01194804,
    0x01195800, 0x01230002, 0x0124E000, 0x01275002, 0x01280000, 0x013B4004, 0x013BB002, 0x013CA000, 0x013E2804, 0x013E3800,
    0x013F3004, 0x013F8000, 0x014C1804, 0x014CC800, 0x014EC004, 0x014EE000, 0x014FE004, 0x014FF000, 0x01600001, 0x01672800,
    0x01675801, 0x01677F30, 0x01679001, 0x0167A000, 0x0167C804, 0x0167E802, 0x0167F004, 0x01680001, 0x01693000, 0x01693801,
    0x01694000, 0x01696801, 0x01697000, 0x01698001, 0x016B4000, 0x016B7801, 0x016B8004, 0x016B8800, 0x016BF848, 0x016C0001,
    0x016CB800, 0x016D0001, 0x016D3800, 0x016D4001, 0x016D7800, 0x016D8001, 0x016DB800, 0x016DC001, 0x016DF800, 0x016E0001,
    0x016E3800, 0x016E4001, 0x016E7800, 0x016E8001, 0x016EB800, 0x016EC001, 0x016EF800, 0x016F0730, 0x01700004, 0x01717801,
    0x01718004, 0x01728000, 0x01729004, 0x0172F000, 0x01800003, 0x01800804, 0x01802000, 0x01802801, 0x01803802, 0x01804004,
    0x01809000, 0x0180A004, 0x01810000, 0x01810802, 0x018156D0, 0x01815F20, 0x01816740, 0x01816EF0, 0x01817700, 0x01818004,
    0x01818801, 0x0181B000, 0x0181C002, 0x0181D801, 0x0181E804, 0x0181F000, 0x01820801, 0x0184B800, 0x0184C840, 0x0184D800,
    0x0184E801, 0x01850004, 0x01850801, 0x0187D804, 0x0187E001, 0x01880000, 0x01882801, 0x01898000, 0x01898801, 0x018C7800,
    0x018C9002, 0x018CB000, 0x018D0001, 0x018E0000, 0x018F8001, 0x01900000, 0x01910002, 0x01915000, 0x01924002, 0x01928000,
    0x01928802, 0x01930000, 0x01940002, 0x01945000, 0x01958802, 0x01960000, 0x01A00001, 0x026E0000, 0x02700001, 0x05246800,
    0x05268001, 0x0527F004, 0x05280001, 0x05306804, 0x05308001, 0x05310002, 0x05315001, 0x05316000, 0x05320001, 0x05337F30,
    0x05338000, 0x05339804, 0x0533A730, 0x0533F004, 0x0533F801, 0x0534F730, 0x05350001, 0x05373002, 0x05378730, 0x05379004,
    0x0537C000, 0x0538B801, 0x05390000, 0x05391001, 0x053C4800, 0x053C5801, 0x053E7000, 0x053E8001, 0x053E9000, 0x053E9801,
    0x053EA000, 0x053EA801, 0x053EE800, 0x053F9001, 0x05401000, 0x05401801, 0x05403048, 0x05403801, 0x05405800, 0x05406001,
    0x05411800, 0x05416048, 0x05416800, 0x05418002, 0x0541B000, 0x05420001, 0x0543A004, 0x0543C000, 0x05441001, 0x0545A000,
    0x05462048, 0x05462800, 0x05467004, 0x05468002, 0x0546D000, 0x05470730, 0x05479001, 0x0547C004, 0x0547D801, 0x0547E004,
    0x0547E801, 0x0547F800, 0x05480002, 0x05485001, 0x05493000, 0x05495EE0, 0x05497004, 0x05498001, 0x054A3800, 0x054A9848,
    0x054AA000, 0x054AF804, 0x054B0001, 0x054BE800, 0x054C2001, 0x054D9838, 0x054DA000, 0x054E0048, 0x054E0804, 0x054E7000,
    0x054E7801, 0x054E8002, 0x054ED000, 0x054EF004, 0x054F0001, 0x054F2800, 0x054F3001, 0x054F8002, 0x054FD001, 0x054FF800,
    0x05500001, 0x05514800, 0x05520001, 0x05521800, 0x05522001, 0x05526000, 0x05528002, 0x0552D000, 0x0552E004, 0x05530001,
    0x0553B800, 0x0553D001, 0x0553D800, 0x0553F001, 0x05558730, 0x05558801, 0x05559730, 0x0555A6E0, 0x0555A801, 0x0555BF30,
    0x0555C801, 0x0555F730, 0x05560001, 0x05560F30, 0x05561001, 0x05561800, 0x0556D801, 0x0556F004, 0x05570001, 0x05575800,
    0x05578004, 0x05579001, 0x0557A800, 0x0557B048, 0x0557B800, 0x05580801, 0x05583800, 0x05584801, 0x05587800, 0x05588801,
    0x0558B800, 0x05590001, 0x05593800, 0x05594001, 0x05597800, 0x05598001, 0x055AD800, 0x055AE001, 0x055B5000, 0x055B8001,
    0x055F1800, 0x055F5804, 0x055F6000, 0x055F6848, 0x055F7000, 0x055F8002, 0x055FD000, 0x05600001, 0x06BD2000, 0x06BD8001,
    0x06BE3800, 0x06BE5801, 0x06BFE000, 0x07C80001, 0x07D37000, 0x07D38001, 0x07D6D000, 0x07D80001, 0x07D83800, 0x07D89801,
    0x07D8C000, 0x07D8E801, 0x07D8F0D0, 0x07D8F801, 0x07D94800, 0x07D95001, 0x07D9B800, 0x07D9C001, 0x07D9E800, 0x07D9F001,
    0x07D9F800, 0x07DA0001, 0x07DA1000, 0x07DA1801, 0x07DA2800, 0x07DA3001, 0x07DD9000, 0x07DE9801, 0x07E9F004, 0x07EA0000,
    0x07EA8001, 0x07EC8000, 0x07EC9001, 0x07EE4000, 0x07EF8001, 0x07EFE000, 0x07F08004, 0x07F0D000, 0x07F10730, 0x07F13EE0,
    0x07F17730, 0x07F18004, 0x07F29800, 0x07F2A004, 0x07F31000, 0x07F31804, 0x07F32000, 0x07F34004, 0x07F34800, 0x07F35004,
    0x07F36000, 0x07F38001, 0x07F3A800, 0x07F3B001, 0x07F7E800, 0x07F80804, 0x07F82000, 0x07F82804, 0x07F85800, 0x07F86004,
    0x07F88002, 0x07F8D004, 0x07F8E000, 0x07F8F804, 0x07F90801, 0x07F9D804, 0x07F9F000, 0x07F9F804, 0x07FA0000, 0x07FA0801,
    0x07FAD804, 0x07FAE000, 0x07FAE804, 0x07FAF000, 0x07FAF804, 0x07FB3001, 0x07FDF800, 0x07FE1001, 0x07FE4000, 0x07FE5001,
    0x07FE8000, 0x07FE9001, 0x07FEC000, 0x07FED001, 0x07FEE800, 0x08000001, 0x08006000, 0x08006801, 0x08013800, 0x08014001,
    0x0801D800, 0x0801E001, 0x0801F000, 0x0801F801, 0x08027000, 0x08028001, 0x0802F000, 0x08040001, 0x0807D800, 0x08080004,
    0x08081800, 0x08083802, 0x0809A000, 0x080A0002, 0x080BC800, 0x080C5002, 0x080C6000, 0x080FEEE0, 0x080FF000, 0x08140001,
    0x0814E800, 0x08150001, 0x08168800, 0x081706E0, 0x08170802, 0x0817E000, 0x08180001, 0x08190002, 0x08192000, 0x08196801,
    0x081A0802, 0x081A1001, 0x081A5002, 0x081A5800, 0x081A8001, 0x081BB730, 0x081BD800, 0x081C0001, 0x081CF000, 0x081CF804,
    0x081D0001, 0x081E2000, 0x081E4001, 0x081E8004, 0x081E8802, 0x081EB000, 0x08200001, 0x0824F000, 0x08250002, 0x08255000,
    0x08258001, 0x0826A000, 0x0826C001, 0x0827E000, 0x08280001, 0x08294000, 0x08298001, 0x082B2000, 0x082B7804, 0x082B8001,
    0x082BD800, 0x082BE001, 0x082C5800, 0x082C6001, 0x082C9800, 0x082CA001, 0x082CB000, 0x082CB801, 0x082D1000, 0x082D1801,
    0x082D9000, 0x082D9801, 0x082DD000, 0x082DD801, 0x082DE800, 0x082E0001, 0x082FA000, 0x08300001, 0x0839B800, 0x083A0001,
    0x083AB000, 0x083B0001, 0x083B4000, 0x083C0001, 0x083C3000, 0x083C3801, 0x083D8800, 0x083D9001, 0x083DD800, 0x08400001,
    0x08403000, 0x08404001, 0x08404800, 0x08405001, 0x0841B000, 0x0841B801, 0x0841C800, 0x0841E001, 0x0841E800, 0x0841F801,
    0x0842B000, 0x0842B804, 0x0842C002, 0x08430001, 0x0843B800, 0x0843C802, 0x08440001, 0x0844F800, 0x08453802, 0x08458000,
    0x08470001, 0x08479800, 0x0847A001, 0x0847B000, 0x0847D802, 0x08480001, 0x0848B002, 0x0848E000, 0x0848F804, 0x08490001,
    0x0849D000, 0x0849F804, 0x084A0000, 0x084C0001, 0x084DC000, 0x084DE002, 0x084DF001, 0x084E0002, 0x084E8000, 0x084E9002,
    0x08500001, 0x08500800, 0x08506EE0, 0x08507000, 0x08507F30, 0x08508001, 0x0850A000, 0x0850A801, 0x0850C000, 0x0850C801,
    0x0851B000, 0x0851C730, 0x0851C808, 0x0851D6E0, 0x0851D800, 0x0851F848, 0x08520002, 0x08524800, 0x08528004, 0x0852C800,
    0x08530001, 0x0853E802, 0x0853F804, 0x08540001, 0x0854E802, 0x08550000, 0x08560001, 0x08564000, 0x08564801, 0x08572F30,
    0x085736E0, 0x08573800, 0x08575802, 0x08578004, 0x0857B800, 0x08580001, 0x0859B000, 0x0859C804, 0x085A0001, 0x085AB000,
    0x085AC002, 0x085B0001, 0x085B9800, 0x085BC002, 0x085C0001, 0x085C9000, 0x085CC804, 0x085CE800, 0x085D4802, 0x085D8000,
    0x08600001, 0x08624800, 0x08640001, 0x08659800, 0x08660001, 0x08679800, 0x0867D002, 0x08680001, 0x08692730, 0x08694000,
    0x08698002, 0x0869D000, 0x086A0002, 0x086A5001, 0x086B3000, 0x086B4F30, 0x086B7004, 0x086B7801, 0x086C3000, 0x08730002,
    0x0873F800, 0x08740001, 0x08755000, 0x08755F30, 0x08756804, 0x08757000, 0x08758001, 0x08759000, 0x08761001, 0x08762800,
    0x0877EEE0, 0x08780001, 0x0878E802, 0x08793801, 0x08794000, 0x08798001, 0x087A36E0, 0x087A4730, 0x087A5EE0, 0x087A6730,
    0x087A6EE0, 0x087A8802, 0x087AA804, 0x087AD000, 0x087B8001, 0x087C1730, 0x087C1EE0, 0x087C2730, 0x087C2EE0, 0x087C3004,
    0x087C5000, 0x087D8001, 0x087E2802, 0x087E6000, 0x087F0001, 0x087FB800, 0x08801801, 0x0881C000, 0x08823048, 0x08823804,
    0x08827000, 0x08829002, 0x08838048, 0x08838801, 0x08839800, 0x0883A801, 0x0883B000, 0x0883F848, 0x08840000, 0x08841801,
    0x08858000, 0x0885C848, 0x0885D038, 0x0885D804, 0x0885E800, 0x0885F004, 0x08861000, 0x08868001, 0x08874800, 0x08878002,
    0x0887D000, 0x08880730, 0x08881801, 0x08893800, 0x08899848, 0x0889A800, 0x0889B002, 0x088A0004, 0x088A2001, 0x088A2800,
    0x088A3801, 0x088A4000, 0x088A8001, 0x088B9838, 0x088BA004, 0x088BB001, 0x088BB800, 0x088C1801, 0x088D9800, 0x088E0048,
    0x088E0801, 0x088E2804, 0x088E4800, 0x088E5038, 0x088E5800, 0x088E6804, 0x088E7000, 0x088E8002, 0x088ED001, 0x088ED804,
    0x088EE001, 0x088EE804, 0x088F0000, 0x088F0802, 0x088FA800, 0x08900001, 0x08909000, 0x08909801, 0x08916000, 0x0891A848,
    0x0891B038, 0x0891B800, 0x0891C004, 0x0891F000, 0x0891F801, 0x08920800, 0x08940001, 0x08943800, 0x08944001, 0x08944800,
    0x08945001, 0x08947000, 0x08947801, 0x0894F000, 0x0894F801, 0x08954804, 0x08955000, 0x08958001, 0x0896F800, 0x08974838,
    0x08975048, 0x08975800, 0x08978002, 0x0897D000, 0x08982801, 0x08986800, 0x08987801, 0x08988800, 0x08989801, 0x08994800,
    0x08995001, 0x08998800, 0x08999001, 0x0899A000, 0x0899A801, 0x0899D000, 0x0899D838, 0x0899E801, 0x0899F000, 0x089A6848,
    0x089A7000, 0x089A8001, 0x089A8800, 0x089AE801, 0x089B1000, 0x089B3730, 0x089B6800, 0x089B8730, 0x089BA800, 0x089C0001,
    0x089C5000, 0x089C5801, 0x089C6000, 0x089C7001, 0x089C7800, 0x089C8001, 0x089DB000, 0x089DB801, 0x089DC000, 0x089E7048,
    0x089E8801, 0x089E9000, 0x089E9801, 0x089EA004, 0x089EB000, 0x089EB804, 0x089EC800, 0x08A00001, 0x08A1A800, 0x08A21048,
    0x08A21800, 0x08A23038, 0x08A23801, 0x08A25804, 0x08A28002, 0x08A2D004, 0x08A2E000, 0x08A2E804, 0x08A2F730, 0x08A2F801,
    0x08A31000, 0x08A40001, 0x08A58000, 0x08A61048, 0x08A61838, 0x08A62001, 0x08A63004, 0x08A63801, 0x08A64000, 0x08A68002,
    0x08A6D000, 0x08AC0001, 0x08AD7800, 0x08ADF848, 0x08AE0038, 0x08AE0804, 0x08AEC001, 0x08AEE000, 0x08B00001, 0x08B18000,
    0x08B1F848, 0x08B20000, 0x08B20804, 0x08B22001, 0x08B22800, 0x08B28002, 0x08B2D000, 0x08B30004, 0x08B36800, 0x08B40001,
    0x08B55800, 0x08B5B048, 0x08B5B838, 0x08B5C001, 0x08B5C804, 0x08B5D000, 0x08B60002, 0x08B65000, 0x08B68002, 0x08B72000,
    0x08B80001, 0x08B8D800, 0x08B95848, 0x08B96000, 0x08B98002, 0x08B9E004, 0x08B9F800, 0x08BA0001, 0x08BA3800, 0x08C00001,
    0x08C16000, 0x08C1C848, 0x08C1D038, 0x08C1D804, 0x08C1E000, 0x08C50001, 0x08C70002, 0x08C79800, 0x08C7F801, 0x08C83800,
    0x08C84801, 0x08C85000, 0x08C86001, 0x08C8A000, 0x08C8A801, 0x08C8B800, 0x08C8C001, 0x08C98000, 0x08C9E848, 0x08C9F801,
    0x08CA0000, 0x08CA0801, 0x08CA1000, 0x08CA1838, 0x08CA2004, 0x08CA3800, 0x08CA8002, 0x08CAD000, 0x08CD0001, 0x08CD4000,
    0x08CD5001, 0x08CE8800, 0x08CF0048, 0x08CF0801, 0x08CF1004, 0x08CF1801, 0x08CF2000, 0x08D00001, 0x08D00800, 0x08D05801,
    0x08D19800, 0x08D1A048, 0x08D1A800, 0x08D1D001, 0x08D1D800, 0x08D1F804, 0x08D23848, 0x08D24000, 0x08D28001, 0x08D28800,
    0x08D2E001, 0x08D45000, 0x08D4C848, 0x08D4D004, 0x08D4E801, 0x08D4F004, 0x08D51800, 0x08D58001, 0x08D7C800, 0x08D80004,
    0x08D85000, 0x08DE0001, 0x08DF0804, 0x08DF1000, 0x08DF8002, 0x08DFD000, 0x08E00001, 0x08E04800, 0x08E05001, 0x08E17800,
    0x08E1F848, 0x08E20001, 0x08E20804, 0x08E23000, 0x08E28002, 0x08E36800, 0x08E38004, 0x08E39001, 0x08E48000, 0x08E80001,
    0x08E83800, 0x08E84001, 0x08E85000, 0x08E85801, 0x08E98800, 0x08EA1038, 0x08EA1800, 0x08EA2048, 0x08EA3001, 0x08EA3800,
    0x08EA8002, 0x08EAD000, 0x08EB0001, 0x08EB3000, 0x08EB3801, 0x08EB4800, 0x08EB5001, 0x08EC5000, 0x08ECB848, 0x08ECC001,
    0x08ECC800, 0x08ED0002, 0x08ED5000, 0x08F70001, 0x08F79800, 0x08F7B804, 0x08F7C800, 0x08F81001, 0x08F81800, 0x08F82001,
    0x08F88800, 0x08F89001, 0x08F9A000, 0x08FA0848, 0x08FA1804, 0x08FA8002, 0x08FAD000, 0x08FD8001, 0x08FD8800, 0x08FE0002,
    0x08FEA800, 0x08FFF804, 0x09000001, 0x091CD000, 0x09200002, 0x09237800, 0x09238004, 0x0923A800, 0x09240001, 0x092A2000,
    0x097C8001, 0x097F8804, 0x097F9800, 0x09800001, 0x09A18000, 0x09A20801, 0x09A23800, 0x09A30001, 0x0A1FD800, 0x0A200001,
    0x0A323800, 0x0B080001, 0x0B08F000, 0x0B097848, 0x0B098002, 0x0B09D000, 0x0B400001, 0x0B51C800, 0x0B520001, 0x0B52F800,
    0x0B530002, 0x0B535000, 0x0B537004, 0x0B538001, 0x0B55F800, 0x0B560002, 0x0B565000, 0x0B568001, 0x0B577000, 0x0B578008,
    0x0B57A804, 0x0B57B000, 0x0B580001, 0x0B598730, 0x0B59B804, 0x0B59E000, 0x0B5A0001, 0x0B5A2004, 0x0B5A2800, 0x0B5A8002,
    0x0B5AD000, 0x0B5AD802, 0x0B5B1000, 0x0B5B1801, 0x0B5BC000, 0x0B5BE801, 0x0B5C8000, 0x0B6A0001, 0x0B6B6804, 0x0B6B8002,
    0x0B6BD000, 0x0B720001, 0x0B740002, 0x0B74B804, 0x0B74D800, 0x0B780001, 0x0B7A5800, 0x0B7A8001, 0x0B7A8800, 0x0B7C9801,
    0x0B7D0000, 0x0B7F0001, 0x0B7F1004, 0x0B7F1801, 0x0B7F2000, 0x0B7F8030, 0x0B7F9000, 0x0B800001, 0x0C3FC000, 0x0C400001,
    0x0C66B000, 0x0C67F801, 0x0C684800, 0x0D7F8001, 0x0D7FA000, 0x0D7FA801, 0x0D7FE000, 0x0D7FE801, 0x0D7FF800, 0x0D800001,
    0x0D891800, 0x0D899001, 0x0D899800, 0x0D8A8001, 0x0D8A9800, 0x0D8AA801, 0x0D8AB000, 0x0D8B2001, 0x0D8B4000, 0x0D8B8001,
    0x0D97E000, 0x0DE00001, 0x0DE35800, 0x0DE38001, 0x0DE3E800, 0x0DE40001, 0x0DE44800, 0x0DE48001, 0x0DE4D000, 0x0DE4F008,
    0x0DE4F804, 0x0DE50000, 0x0E678002, 0x0E67D000, 0x0E8B2EC0, 0x0E8B3808, 0x0E8B5000, 0x0E8B6F10, 0x0E8B76C0, 0x0E8B9800,
    0x0E8BDEE0, 0x0E8C1800, 0x0E8C2F30, 0x0E8C56E0, 0x0E8C6000, 0x0E8D5730, 0x0E8D7000, 0x0E921730, 0x0E922800, 0x0E960002,
    0x0E96A000, 0x0E970002, 0x0E97A000, 0x0E9B0002, 0x0E9BC800, 0x0EA00001, 0x0EA2A800, 0x0EA2B001, 0x0EA4E800, 0x0EA4F001,
    0x0EA50000, 0x0EA51001, 0x0EA51800, 0x0EA52801, 0x0EA53800, 0x0EA54801, 0x0EA56800, 0x0EA57001, 0x0EA5D000, 0x0EA5D801,
    0x0EA5E000, 0x0EA5E801, 0x0EA62000, 0x0EA62801, 0x0EA83000, 0x0EA83801, 0x0EA85800, 0x0EA86801, 0x0EA8A800, 0x0EA8B001,
    0x0EA8E800, 0x0EA8F001, 0x0EA9D000, 0x0EA9D801, 0x0EA9F800, 0x0EAA0001, 0x0EAA2800, 0x0EAA3001, 0x0EAA3800, 0x0EAA5001,
    0x0EAA8800, 0x0EAA9001, 0x0EB53000, 0x0EB54001, 0x0EB60800, 0x0EB61001, 0x0EB6D800, 0x0EB6E001, 0x0EB7D800, 0x0EB7E001,
    0x0EB8A800, 0x0EB8B001, 0x0EB9A800, 0x0EB9B001, 0x0EBA7800, 0x0EBA8001, 0x0EBB7800, 0x0EBB8001, 0x0EBC4800, 0x0EBC5001,
    0x0EBD4800, 0x0EBD5001, 0x0EBE1800, 0x0EBE2001, 0x0EBE6000, 0x0EBE7002, 0x0EC00000, 0x0ED43804, 0x0ED46000, 0x0EF80001,
    0x0EF8F800, 0x0EF92801, 0x0EF95800, 0x0F000730, 0x0F003800, 0x0F004730, 0x0F00C800, 0x0F00DF30, 0x0F011000, 0x0F011F30,
    0x0F012800, 0x0F013730, 0x0F015800, 0x0F018001, 0x0F037000, 0x0F047F30, 0x0F048000, 0x0F080001, 0x0F096800, 0x0F098730,
    0x0F09B801, 0x0F09F000, 0x0F0A0002, 0x0F0A5000, 0x0F0A7001, 0x0F0A7800, 0x0F148001, 0x0F157730, 0x0F157800, 0x0F160001,
    0x0F176730, 0x0F178002, 0x0F17D000, 0x0F268001, 0x0F276740, 0x0F2776E0, 0x0F277F30, 0x0F278002, 0x0F27D000, 0x0F2E8001,
    0x0F2F7730, 0x0F2F7EE0, 0x0F2F8001, 0x0F2F8802, 0x0F2FD800, 0x0F2FF804, 0x0F300000, 0x0F3F0001, 0x0F3F3800, 0x0F3F4001,
    0x0F3F6000, 0x0F3F6801, 0x0F3F7800, 0x0F3F8001, 0x0F3FF800, 0x0F400001, 0x0F462800, 0x0F463802, 0x0F4686E0, 0x0F46B800,
    0x0F480001, 0x0F4A2730, 0x0F4A5038, 0x0F4A5801, 0x0F4A6000, 0x0F4A8002, 0x0F4AD000, 0x0F4AF004, 0x0F4B0000, 0x0F638802,
    0x0F656000, 0x0F656802, 0x0F658000, 0x0F658802, 0x0F65A800, 0x0F680802, 0x0F697000, 0x0F697802, 0x0F69F000, 0x0F700001,
    0x0F702000, 0x0F702801, 0x0F710000, 0x0F710801, 0x0F711800, 0x0F712001, 0x0F712800, 0x0F713801, 0x0F714000, 0x0F714801,
    0x0F719800, 0x0F71A001, 0x0F71C000, 0x0F71C801, 0x0F71D000, 0x0F71D801, 0x0F71E000, 0x0F721001, 0x0F721800, 0x0F723801,
    0x0F724000, 0x0F724801, 0x0F725000, 0x0F725801, 0x0F726000, 0x0F726801, 0x0F728000, 0x0F728801, 0x0F729800, 0x0F72A001,
    0x0F72A800, 0x0F72B801, 0x0F72C000, 0x0F72C801, 0x0F72D000, 0x0F72D801, 0x0F72E000, 0x0F72E801, 0x0F72F000, 0x0F72F801,
    0x0F730000, 0x0F730801, 0x0F731800, 0x0F732001, 0x0F732800, 0x0F733801, 0x0F735800, 0x0F736001, 0x0F739800, 0x0F73A001,
    0x0F73C000, 0x0F73C801, 0x0F73E800, 0x0F73F001, 0x0F73F800, 0x0F740001, 0x0F745000, 0x0F745801, 0x0F74E000, 0x0F750801,
    0x0F752000, 0x0F752801, 0x0F755000, 0x0F755801, 0x0F75E000, 0x0F880002, 0x0F886800, 0x0FDF8002, 0x0FDFD000, 0x10000001,
    0x15370000, 0x15380001, 0x15B9D000, 0x15BA0001, 0x15C0F000, 0x15C10001, 0x16751000, 0x16758001, 0x175F0800, 0x175F8001,
    0x1772F000, 0x17C00001, 0x17D0F000, 0x18000001, 0x189A5800, 0x189A8001, 0x191D8000,
};
static const uint32_t oct__uc_compat_F900[512] = {      /* what U+F900 and on decompose to, 0: itself */
    0x08C48, 0x066F4, 0x08ECA, 0x08CC8, 0x06ED1, 0x04E32, 0x053E5, 0x09F9C, 0x09F9C, 0x05951, 0x091D1, 0x05587, 0x05948,
    0x061F6, 0x07669, 0x07F85, 0x0863F, 0x087BA, 0x088F8, 0x0908F, 0x06A02, 0x06D1B, 0x070D9, 0x073DE, 0x0843D, 0x0916A,
    0x099F1, 0x04E82, 0x05375, 0x06B04, 0x0721B, 0x0862D, 0x09E1E, 0x05D50, 0x06FEB, 0x085CD, 0x08964, 0x062C9, 0x081D8,
    0x0881F, 0x05ECA, 0x06717, 0x06D6A, 0x072FC, 0x090CE, 0x04F86, 0x051B7, 0x052DE, 0x064C4, 0x06AD3, 0x07210, 0x076E7,
    0x08001, 0x08606, 0x0865C, 0x08DEF, 0x09732, 0x09B6F, 0x09DFA, 0x0788C, 0x0797F, 0x07DA0, 0x083C9, 0x09304, 0x09E7F,
    0x08AD6, 0x058DF, 0x05F04, 0x07C60, 0x0807E, 0x07262, 0x078CA, 0x08CC2, 0x096F7, 0x058D8, 0x05C62, 0x06A13, 0x06DDA,
    0x06F0F, 0x07D2F, 0x07E37, 0x0964B, 0x052D2, 0x0808B, 0x051DC, 0x051CC, 0x07A1C, 0x07DBE, 0x083F1, 0x09675, 0x08B80,
    0x062CF, 0x06A02, 0x08AFE, 0x04E39, 0x05BE7, 0x06012, 0x07387, 0x07570, 0x05317, 0x078FB, 0x04FBF, 0x05FA9, 0x04E0D,
    0x06CCC, 0x06578, 0x07D22, 0x053C3, 0x0585E, 0x07701, 0x08449, 0x08AAA, 0x06BBA, 0x08FB0, 0x06C88, 0x062FE, 0x082E5,
    0x063A0, 0x07565, 0x04EAE, 0x05169, 0x051C9, 0x06881, 0x07CE7, 0x0826F, 0x08AD2, 0x091CF, 0x052F5, 0x05442, 0x05973,
    0x05EEC, 0x065C5, 0x06FFE, 0x0792A, 0x095AD, 0x09A6A, 0x09E97, 0x09ECE, 0x0529B, 0x066C6, 0x06B77, 0x08F62, 0x05E74,
    0x06190, 0x06200, 0x0649A, 0x06F23, 0x07149, 0x07489, 0x079CA, 0x07DF4, 0x0806F, 0x08F26, 0x084EE, 0x09023, 0x0934A,
    0x05217, 0x052A3, 0x054BD, 0x070C8, 0x088C2, 0x08AAA, 0x05EC9, 0x05FF5, 0x0637B, 0x06BAE, 0x07C3E, 0x07375, 0x04EE4,
    0x056F9, 0x05BE7, 0x05DBA, 0x0601C, 0x073B2, 0x07469, 0x07F9A, 0x08046, 0x09234, 0x096F6, 0x09748, 0x09818, 0x04F8B,
    0x079AE, 0x091B4, 0x096B8, 0x060E1, 0x04E86, 0x050DA, 0x05BEE, 0x05C3F, 0x06599, 0x06A02, 0x071CE, 0x07642, 0x084FC,
    0x0907C, 0x09F8D, 0x06688, 0x0962E, 0x05289, 0x0677B, 0x067F3, 0x06D41, 0x06E9C, 0x07409, 0x07559, 0x0786B, 0x07D10,
    0x0985E, 0x0516D, 0x0622E, 0x09678, 0x0502B, 0x05D19, 0x06DEA, 0x08F2A, 0x05F8B, 0x06144, 0x06817, 0x07387, 0x09686,
    0x05229, 0x0540F, 0x05C65, 0x06613, 0x0674E, 0x068A8, 0x06CE5, 0x07406, 0x075E2, 0x07F79, 0x088CF, 0x088E1, 0x091CC,
    0x096E2, 0x0533F, 0x06EBA, 0x0541D, 0x071D0, 0x07498, 0x085FA, 0x096A3, 0x09C57, 0x09E9F, 0x06797, 0x06DCB, 0x081E8,
    0x07ACB, 0x07B20, 0x07C92, 0x072C0, 0x07099, 0x08B58, 0x04EC0, 0x08336, 0x0523A, 0x05207, 0x05EA6, 0x062D3, 0x07CD6,
    0x05B85, 0x06D1E, 0x066B4, 0x08F3B, 0x0884C, 0x0964D, 0x0898B, 0x05ED3, 0x05140, 0x055C0, 0x00000, 0x00000, 0x0585A,
    0x00000, 0x06674, 0x00000, 0x00000, 0x051DE, 0x0732A, 0x076CA, 0x0793C, 0x0795E, 0x07965, 0x0798F, 0x09756, 0x07CBE,
    0x07FBD, 0x00000, 0x08612, 0x00000, 0x08AF8, 0x00000, 0x00000, 0x09038, 0x090FD, 0x00000, 0x00000, 0x00000, 0x098EF,
    0x098FC, 0x09928, 0x09DB4, 0x090DE, 0x096B7, 0x04FAE, 0x050E7, 0x0514D, 0x052C9, 0x052E4, 0x05351, 0x0559D, 0x05606,
    0x05668, 0x05840, 0x058A8, 0x05C64, 0x05C6E, 0x06094, 0x06168, 0x0618E, 0x061F2, 0x0654F, 0x065E2, 0x06691, 0x06885,
    0x06D77, 0x06E1A, 0x06F22, 0x0716E, 0x0722B, 0x07422, 0x07891, 0x0793E, 0x07949, 0x07948, 0x07950, 0x07956, 0x0795D,
    0x0798D, 0x0798E, 0x07A40, 0x07A81, 0x07BC0, 0x07DF4, 0x07E09, 0x07E41, 0x07F72, 0x08005, 0x081ED, 0x08279, 0x08279,
    0x08457, 0x08910, 0x08996, 0x08B01, 0x08B39, 0x08CD3, 0x08D08, 0x08FB6, 0x09038, 0x096E3, 0x097FF, 0x0983B, 0x06075,
    0x242EE, 0x08218, 0x00000, 0x00000, 0x04E26, 0x051B5, 0x05168, 0x04F80, 0x05145, 0x05180, 0x052C7, 0x052FA, 0x0559D,
    0x05555, 0x05599, 0x055E2, 0x0585A, 0x058B3, 0x05944, 0x05954, 0x05A62, 0x05B28, 0x05ED2, 0x05ED9, 0x05F69, 0x05FAD,
    0x060D8, 0x0614E, 0x06108, 0x0618E, 0x06160, 0x061F2, 0x06234, 0x063C4, 0x0641C, 0x06452, 0x06556, 0x06674, 0x06717,
    0x0671B, 0x06756, 0x06B79, 0x06BBA, 0x06D41, 0x06EDB, 0x06ECB, 0x06F22, 0x0701E, 0x0716E, 0x077A7, 0x07235, 0x072AF,
    0x0732A, 0x07471, 0x07506, 0x0753B, 0x0761D, 0x0761F, 0x076CA, 0x076DB, 0x076F4, 0x0774A, 0x07740, 0x078CC, 0x07AB1,
    0x07BC0, 0x07C7B, 0x07D5B, 0x07DF4, 0x07F3E, 0x08005, 0x08352, 0x083EF, 0x08779, 0x08941, 0x08986, 0x08996, 0x08ABF,
    0x08AF8, 0x08ACB, 0x08B01, 0x08AFE, 0x08AED, 0x08B39, 0x08B8A, 0x08D08, 0x08F38, 0x09072, 0x09199, 0x09276, 0x0967C,
    0x096E3, 0x09756, 0x097DB, 0x097FF, 0x0980B, 0x0983B, 0x09B12, 0x09F9C, 0x2284A, 0x22844, 0x233D5, 0x03B9D, 0x04018,
    0x04039, 0x25249, 0x25CD0, 0x27ED3, 0x09F43, 0x09F8E, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000,
    0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000,
    0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000, 0x00000,
    0x00000, 0x00000, 0x00000, 0x00000, 0x00000,
};
static const uint32_t oct__uc_compat_2F800[544] = {      /* what U+2F800 and on decompose to, 0: itself */
    0x04E3D, 0x04E38, 0x04E41, 0x20122, 0x04F60, 0x04FAE, 0x04FBB, 0x05002, 0x0507A, 0x05099, 0x050E7, 0x050CF, 0x0349E,
    0x2063A, 0x0514D, 0x05154, 0x05164, 0x05177, 0x2051C, 0x034B9, 0x05167, 0x0518D, 0x2054B, 0x05197, 0x051A4, 0x04ECC,
    0x051AC, 0x051B5, 0x291DF, 0x051F5, 0x05203, 0x034DF, 0x0523B, 0x05246, 0x05272, 0x05277, 0x03515, 0x052C7, 0x052C9,
    0x052E4, 0x052FA, 0x05305, 0x05306, 0x05317, 0x05349, 0x05351, 0x0535A, 0x05373, 0x0537D, 0x0537F, 0x0537F, 0x0537F,
    0x20A2C, 0x07070, 0x053CA, 0x053DF, 0x20B63, 0x053EB, 0x053F1, 0x05406, 0x0549E, 0x05438, 0x05448, 0x05468, 0x054A2,
    0x054F6, 0x05510, 0x05553, 0x05563, 0x05584, 0x05584, 0x05599, 0x055AB, 0x055B3, 0x055C2, 0x05716, 0x05606, 0x05717,
    0x05651, 0x05674, 0x05207, 0x058EE, 0x057CE, 0x057F4, 0x0580D, 0x0578B, 0x05832, 0x05831, 0x058AC, 0x214E4, 0x058F2,
    0x058F7, 0x05906, 0x0591A, 0x05922, 0x05962, 0x216A8, 0x216EA, 0x059EC, 0x05A1B, 0x05A27, 0x059D8, 0x05A66, 0x036EE,
    0x036FC, 0x05B08, 0x05B3E, 0x05B3E, 0x219C8, 0x05BC3, 0x05BD8, 0x05BE7, 0x05BF3, 0x21B18, 0x05BFF, 0x05C06, 0x05F53,
    0x05C22, 0x03781, 0x05C60, 0x05C6E, 0x05CC0, 0x05C8D, 0x21DE4, 0x05D43, 0x21DE6, 0x05D6E, 0x05D6B, 0x05D7C, 0x05DE1,
    0x05DE2, 0x0382F, 0x05DFD, 0x05E28, 0x05E3D, 0x05E69, 0x03862, 0x22183, 0x0387C, 0x05EB0, 0x05EB3, 0x05EB6, 0x05ECA,
    0x2A392, 0x05EFE, 0x22331, 0x22331, 0x08201, 0x05F22, 0x05F22, 0x038C7, 0x232B8, 0x261DA, 0x05F62, 0x05F6B, 0x038E3,
    0x05F9A, 0x05FCD, 0x05FD7, 0x05FF9, 0x06081, 0x0393A, 0x0391C, 0x06094, 0x226D4, 0x060C7, 0x06148, 0x0614C, 0x0614E,
    0x0614C, 0x0617A, 0x0618E, 0x061B2, 0x061A4, 0x061AF, 0x061DE, 0x061F2, 0x061F6, 0x06210, 0x0621B, 0x0625D, 0x062B1,
    0x062D4, 0x06350, 0x22B0C, 0x0633D, 0x062FC, 0x06368, 0x06383, 0x063E4, 0x22BF1, 0x06422, 0x063C5, 0x063A9, 0x03A2E,
    0x06469, 0x0647E, 0x0649D, 0x06477, 0x03A6C, 0x0654F, 0x0656C, 0x2300A, 0x065E3, 0x066F8, 0x06649, 0x03B19, 0x06691,
    0x03B08, 0x03AE4, 0x05192, 0x05195, 0x06700, 0x0669C, 0x080AD, 0x043D9, 0x06717, 0x0671B, 0x06721, 0x0675E, 0x06753,
    0x233C3, 0x03B49, 0x067FA, 0x06785, 0x06852, 0x06885, 0x2346D, 0x0688E, 0x0681F, 0x06914, 0x03B9D, 0x06942, 0x069A3,
    0x069EA, 0x06AA8, 0x236A3, 0x06ADB, 0x03C18, 0x06B21, 0x238A7, 0x06B54, 0x03C4E, 0x06B72, 0x06B9F, 0x06BBA, 0x06BBB,
    0x23A8D, 0x21D0B, 0x23AFA, 0x06C4E, 0x23CBC, 0x06CBF, 0x06CCD, 0x06C67, 0x06D16, 0x06D3E, 0x06D77, 0x06D41, 0x06D69,
    0x06D78, 0x06D85, 0x23D1E, 0x06D34, 0x06E2F, 0x06E6E, 0x03D33, 0x06ECB, 0x06EC7, 0x23ED1, 0x06DF9, 0x06F6E, 0x23F5E,
    0x23F8E, 0x06FC6, 0x07039, 0x0701E, 0x0701B, 0x03D96, 0x0704A, 0x0707D, 0x07077, 0x070AD, 0x20525, 0x07145, 0x24263,
    0x0719C, 0x243AB, 0x07228, 0x07235, 0x07250, 0x24608, 0x07280, 0x07295, 0x24735, 0x24814, 0x0737A, 0x0738B, 0x03EAC,
    0x073A5, 0x03EB8, 0x03EB8, 0x07447, 0x0745C, 0x07471, 0x07485, 0x074CA, 0x03F1B, 0x07524, 0x24C36, 0x0753E, 0x24C92,
    0x07570, 0x2219F, 0x07610, 0x24FA1, 0x24FB8, 0x25044, 0x03FFC, 0x04008, 0x076F4, 0x250F3, 0x250F2, 0x25119, 0x25133,
    0x0771E, 0x0771F, 0x0771F, 0x0774A, 0x04039, 0x0778B, 0x04046, 0x04096, 0x2541D, 0x0784E, 0x0788C, 0x078CC, 0x040E3,
    0x25626, 0x07956, 0x2569A, 0x256C5, 0x0798F, 0x079EB, 0x0412F, 0x07A40, 0x07A4A, 0x07A4F, 0x2597C, 0x25AA7, 0x25AA7,
    0x07AEE, 0x04202, 0x25BAB, 0x07BC6, 0x07BC9, 0x04227, 0x25C80, 0x07CD2, 0x042A0, 0x07CE8, 0x07CE3, 0x07D00, 0x25F86,
    0x07D63, 0x04301, 0x07DC7, 0x07E02, 0x07E45, 0x04334, 0x26228, 0x26247, 0x04359, 0x262D9, 0x07F7A, 0x2633E, 0x07F95,
    0x07FFA, 0x08005, 0x264DA, 0x26523, 0x08060, 0x265A8, 0x08070, 0x2335F, 0x043D5, 0x080B2, 0x08103, 0x0440B, 0x0813E,
    0x05AB5, 0x267A7, 0x267B5, 0x23393, 0x2339C, 0x08201, 0x08204, 0x08F9E, 0x0446B, 0x08291, 0x0828B, 0x0829D, 0x052B3,
    0x082B1, 0x082B3, 0x082BD, 0x082E6, 0x26B3C, 0x082E5, 0x0831D, 0x08363, 0x083AD, 0x08323, 0x083BD, 0x083E7, 0x08457,
    0x08353, 0x083CA, 0x083CC, 0x083DC, 0x26C36, 0x26D6B, 0x26CD5, 0x0452B, 0x084F1, 0x084F3, 0x08516, 0x273CA, 0x08564,
    0x26F2C, 0x0455D, 0x04561, 0x26FB1, 0x270D2, 0x0456B, 0x08650, 0x0865C, 0x08667, 0x08669, 0x086A9, 0x08688, 0x0870E,
    0x086E2, 0x08779, 0x08728, 0x0876B, 0x08786, 0x045D7, 0x087E1, 0x08801, 0x045F9, 0x08860, 0x08863, 0x27667, 0x088D7,
    0x088DE, 0x04635, 0x088FA, 0x034BB, 0x278AE, 0x27966, 0x046BE, 0x046C7, 0x08AA0, 0x08AED, 0x08B8A, 0x08C55, 0x27CA8,
    0x08CAB, 0x08CC1, 0x08D1B, 0x08D77, 0x27F2F, 0x20804, 0x08DCB, 0x08DBC, 0x08DF0, 0x208DE, 0x08ED4, 0x08F38, 0x285D2,
    0x285ED, 0x09094, 0x090F1, 0x09111, 0x2872E, 0x0911B, 0x09238, 0x092D7, 0x092D8, 0x0927C, 0x093F9, 0x09415, 0x28BFA,
    0x0958B, 0x04995, 0x095B7, 0x28D77, 0x049E6, 0x096C3, 0x05DB2, 0x09723, 0x29145, 0x2921A, 0x04A6E, 0x04A76, 0x097E0,
    0x2940A, 0x04AB2, 0x29496, 0x0980B, 0x0980B, 0x09829, 0x295B6, 0x098E2, 0x04B33, 0x09929, 0x099A7, 0x099C2, 0x099FE,
    0x04BCE, 0x29B30, 0x09B12, 0x09C40, 0x09CFD, 0x04CCE, 0x04CED, 0x09D67, 0x2A0CE, 0x04CF8, 0x2A105, 0x2A20E, 0x2A291,
    0x09EBB, 0x04D56, 0x09EF9, 0x09EFE, 0x09F05, 0x09F0F, 0x09F16, 0x09F3B, 0x2A600, 0x00000, 0x00000,
};
static const uint64_t oct__uc_pairs[1079] = {      /* decomposes only << 63 | a << 42 | b << 21 | what a, b compose to; by a, b */
    0x8000EC000000037Eu, 0x0000F0006700226Eu, 0x0000F40067002260u, 0x0000F8006700226Fu, 0x00010400600000C0u, 0x00010400602000C1u,
    0x00010400604000C2u, 0x00010400606000C3u, 0x0001040060800100u, 0x0001040060C00102u, 0x0001040060E00226u, 0x00010400610000C4u,
    0x0001040061201EA2u, 0x00010400614000C5u, 0x00010400618001CDu, 0x0001040061E00200u, 0x0001040062200202u, 0x0001040064601EA0u,
    0x0001040064A01E00u, 0x0001040065000104u, 0x0001080060E01E02u, 0x0001080064601E04u, 0x0001080066201E06u, 0x00010C0060200106u,
    0x00010C0060400108u, 0x00010C0060E0010Au, 0x00010C006180010Cu, 0x00010C0064E000C7u, 0x0001100060E01E0Au, 0x000110006180010Eu,
    0x0001100064601E0Cu, 0x0001100064E01E10u, 0x0001100065A01E12u, 0x0001100066201E0Eu, 0x00011400600000C8u, 0x00011400602000C9u,
    0x00011400604000CAu, 0x0001140060601EBCu, 0x0001140060800112u, 0x0001140060C00114u, 0x0001140060E00116u, 0x00011400610000CBu,
    0x0001140061201EBAu, 0x000114006180011Au, 0x0001140061E00204u, 0x0001140062200206u, 0x0001140064601EB8u, 0x0001140064E00228u,
    0x0001140065000118u, 0x0001140065A01E18u, 0x0001140066001E1Au, 0x0001180060E01E1Eu, 0x00011C00602001F4u, 0x00011C006040011Cu,
    0x00011C0060801E20u, 0x00011C0060C0011Eu, 0x00011C0060E00120u, 0x00011C00618001E6u, 0x00011C0064E00122u, 0x0001200060400124u,
    0x0001200060E01E22u, 0x0001200061001E26u, 0x000120006180021Eu, 0x0001200064601E24u, 0x0001200064E01E28u, 0x0001200065C01E2Au,
    0x00012400600000CCu, 0x00012400602000CDu, 0x00012400604000CEu, 0x0001240060600128u, 0x000124006080012Au, 0x0001240060C0012Cu,
    0x0001240060E00130u, 0x00012400610000CFu, 0x0001240061201EC8u, 0x00012400618001CFu, 0x0001240061E00208u, 0x000124006220020Au,
    0x0001240064601ECAu, 0x000124006500012Eu, 0x0001240066001E2Cu, 0x0001280060400134u, 0x80012C000000212Au, 0x00012C0060201E30u,
    0x00012C00618001E8u, 0x00012C0064601E32u, 0x00012C0064E00136u, 0x00012C0066201E34u, 0x0001300060200139u, 0x000130006180013Du,
    0x0001300064601E36u, 0x0001300064E0013Bu, 0x0001300065A01E3Cu, 0x0001300066201E3Au, 0x0001340060201E3Eu, 0x0001340060E01E40u,
    0x0001340064601E42u, 0x00013800600001F8u, 0x0001380060200143u, 0x00013800606000D1u, 0x0001380060E01E44u, 0x0001380061800147u,
    0x0001380064601E46u, 0x0001380064E00145u, 0x0001380065A01E4Au, 0x0001380066201E48u, 0x00013C00600000D2u, 0x00013C00602000D3u,
    0x00013C00604000D4u, 0x00013C00606000D5u, 0x00013C006080014Cu, 0x00013C0060C0014Eu, 0x00013C0060E0022Eu, 0x00013C00610000D6u,
    0x00013C0061201ECEu, 0x00013C0061600150u, 0x00013C00618001D1u, 0x00013C0061E0020Cu, 0x00013C006220020Eu, 0x00013C00636001A0u,
    0x00013C0064601ECCu, 0x00013C00650001EAu, 0x0001400060201E54u, 0x0001400060E01E56u, 0x0001480060200154u, 0x0001480060E01E58u,
    0x0001480061800158u, 0x0001480061E00210u, 0x0001480062200212u, 0x0001480064601E5Au, 0x0001480064E00156u, 0x0001480066201E5Eu,
    0x00014C006020015Au, 0x00014C006040015Cu, 0x00014C0060E01E60u, 0x00014C0061800160u, 0x00014C0064601E62u, 0x00014C0064C00218u,
    0x00014C0064E0015Eu, 0x0001500060E01E6Au, 0x0001500061800164u, 0x0001500064601E6Cu, 0x0001500064C0021Au, 0x0001500064E00162u,
    0x0001500065A01E70u, 0x0001500066201E6Eu, 0x00015400600000D9u, 0x00015400602000DAu, 0x00015400604000DBu, 0x0001540060600168u,
    0x000154006080016Au, 0x0001540060C0016Cu, 0x00015400610000DCu, 0x0001540061201EE6u, 0x000154006140016Eu, 0x0001540061600170u,
    0x00015400618001D3u, 0x0001540061E00214u, 0x0001540062200216u, 0x00015400636001AFu, 0x0001540064601EE4u, 0x0001540064801E72u,
    0x0001540065000172u, 0x0001540065A01E76u, 0x0001540066001E74u, 0x0001580060601E7Cu, 0x0001580064601E7Eu, 0x00015C0060001E80u,
    0x00015C0060201E82u, 0x00015C0060400174u, 0x00015C0060E01E86u, 0x00015C0061001E84u, 0x00015C0064601E88u, 0x0001600060E01E8Au,
    0x0001600061001E8Cu, 0x0001640060001EF2u, 0x00016400602000DDu, 0x0001640060400176u, 0x0001640060601EF8u, 0x0001640060800232u,
    0x0001640060E01E8Eu, 0x0001640061000178u, 0x0001640061201EF6u, 0x0001640064601EF4u, 0x0001680060200179u, 0x0001680060401E90u,
    0x0001680060E0017Bu, 0x000168006180017Du, 0x0001680064601E92u, 0x0001680066201E94u, 0x8001800000001FEFu, 0x00018400600000E0u,
    0x00018400602000E1u, 0x00018400604000E2u, 0x00018400606000E3u, 0x0001840060800101u, 0x0001840060C00103u, 0x0001840060E00227u,
    0x00018400610000E4u, 0x0001840061201EA3u, 0x00018400614000E5u, 0x00018400618001CEu, 0x0001840061E00201u, 0x0001840062200203u,
    0x0001840064601EA1u, 0x0001840064A01E01u, 0x0001840065000105u, 0x0001880060E01E03u, 0x0001880064601E05u, 0x0001880066201E07u,
    0x00018C0060200107u, 0x00018C0060400109u, 0x00018C0060E0010Bu, 0x00018C006180010Du, 0x00018C0064E000E7u, 0x0001900060E01E0Bu,
    0x000190006180010Fu, 0x0001900064601E0Du, 0x0001900064E01E11u, 0x0001900065A01E13u, 0x0001900066201E0Fu, 0x00019400600000E8u,
    0x00019400602000E9u, 0x00019400604000EAu, 0x0001940060601EBDu, 0x0001940060800113u, 0x0001940060C00115u, 0x0001940060E00117u,
    0x00019400610000EBu, 0x0001940061201EBBu, 0x000194006180011Bu, 0x0001940061E00205u, 0x0001940062200207u, 0x0001940064601EB9u,
    0x0001940064E00229u, 0x0001940065000119u, 0x0001940065A01E19u, 0x0001940066001E1Bu, 0x0001980060E01E1Fu, 0x00019C00602001F5u,
    0x00019C006040011Du, 0x00019C0060801E21u, 0x00019C0060C0011Fu, 0x00019C0060E00121u, 0x00019C00618001E7u, 0x00019C0064E00123u,
    0x0001A00060400125u, 0x0001A00060E01E23u, 0x0001A00061001E27u, 0x0001A0006180021Fu, 0x0001A00064601E25u, 0x0001A00064E01E29u,
    0x0001A00065C01E2Bu, 0x0001A00066201E96u, 0x0001A400600000ECu, 0x0001A400602000EDu, 0x0001A400604000EEu, 0x0001A40060600129u,
    0x0001A4006080012Bu, 0x0001A40060C0012Du, 0x0001A400610000EFu, 0x0001A40061201EC9u, 0x0001A400618001D0u, 0x0001A40061E00209u,
    0x0001A4006220020Bu, 0x0001A40064601ECBu, 0x0001A4006500012Fu, 0x0001A40066001E2Du, 0x0001A80060400135u, 0x0001A800618001F0u,
    0x0001AC0060201E31u, 0x0001AC00618001E9u, 0x0001AC0064601E33u, 0x0001AC0064E00137u, 0x0001AC0066201E35u, 0x0001B0006020013Au,
    0x0001B0006180013Eu, 0x0001B00064601E37u, 0x0001B00064E0013Cu, 0x0001B00065A01E3Du, 0x0001B00066201E3Bu, 0x0001B40060201E3Fu,
    0x0001B40060E01E41u, 0x0001B40064601E43u, 0x0001B800600001F9u, 0x0001B80060200144u, 0x0001B800606000F1u, 0x0001B80060E01E45u,
    0x0001B80061800148u, 0x0001B80064601E47u, 0x0001B80064E00146u, 0x0001B80065A01E4Bu, 0x0001B80066201E49u, 0x0001BC00600000F2u,
    0x0001BC00602000F3u, 0x0001BC00604000F4u, 0x0001BC00606000F5u, 0x0001BC006080014Du, 0x0001BC0060C0014Fu, 0x0001BC0060E0022Fu,
    0x0001BC00610000F6u, 0x0001BC0061201ECFu, 0x0001BC0061600151u, 0x0001BC00618001D2u, 0x0001BC0061E0020Du, 0x0001BC006220020Fu,
    0x0001BC00636001A1u, 0x0001BC0064601ECDu, 0x0001BC00650001EBu, 0x0001C00060201E55u, 0x0001C00060E01E57u, 0x0001C80060200155u,
    0x0001C80060E01E59u, 0x0001C80061800159u, 0x0001C80061E00211u, 0x0001C80062200213u, 0x0001C80064601E5Bu, 0x0001C80064E00157u,
    0x0001C80066201E5Fu, 0x0001CC006020015Bu, 0x0001CC006040015Du, 0x0001CC0060E01E61u, 0x0001CC0061800161u, 0x0001CC0064601E63u,
    0x0001CC0064C00219u, 0x0001CC0064E0015Fu, 0x0001D00060E01E6Bu, 0x0001D00061001E97u, 0x0001D00061800165u, 0x0001D00064601E6Du,
    0x0001D00064C0021Bu, 0x0001D00064E00163u, 0x0001D00065A01E71u, 0x0001D00066201E6Fu, 0x0001D400600000F9u, 0x0001D400602000FAu,
    0x0001D400604000FBu, 0x0001D40060600169u, 0x0001D4006080016Bu, 0x0001D40060C0016Du, 0x0001D400610000FCu, 0x0001D40061201EE7u,
    0x0001D4006140016Fu, 0x0001D40061600171u, 0x0001D400618001D4u, 0x0001D40061E00215u, 0x0001D40062200217u, 0x0001D400636001B0u,
    0x0001D40064601EE5u, 0x0001D40064801E73u, 0x0001D40065000173u, 0x0001D40065A01E77u, 0x0001D40066001E75u, 0x0001D80060601E7Du,
    0x0001D80064601E7Fu, 0x0001DC0060001E81u, 0x0001DC0060201E83u, 0x0001DC0060400175u, 0x0001DC0060E01E87u, 0x0001DC0061001E85u,
    0x0001DC0061401E98u, 0x0001DC0064601E89u, 0x0001E00060E01E8Bu, 0x0001E00061001E8Du, 0x0001E40060001EF3u, 0x0001E400602000FDu,
    0x0001E40060400177u, 0x0001E40060601EF9u, 0x0001E40060800233u, 0x0001E40060E01E8Fu, 0x0001E400610000FFu, 0x0001E40061201EF7u,
    0x0001E40061401E99u, 0x0001E40064601EF5u, 0x0001E8006020017Au, 0x0001E80060401E91u, 0x0001E80060E0017Cu, 0x0001E8006180017Eu,
    0x0001E80064601E93u, 0x0001E80066201E95u, 0x0002A00060001FEDu, 0x0002A00060200385u, 0x0002A00068401FC1u, 0x8002D00000001FFDu,
    0x8002DC0000000387u, 0x0003080060001EA6u, 0x0003080060201EA4u, 0x0003080060601EAAu, 0x0003080061201EA8u, 0x00031000608001DEu,
    0x800314000000212Bu, 0x00031400602001FAu, 0x00031800602001FCu, 0x00031800608001E2u, 0x00031C0060201E08u, 0x0003280060001EC0u,
    0x0003280060201EBEu, 0x0003280060601EC4u, 0x0003280061201EC2u, 0x00033C0060201E2Eu, 0x0003500060001ED2u, 0x0003500060201ED0u,
    0x0003500060601ED6u, 0x0003500061201ED4u, 0x0003540060201E4Cu, 0x000354006080022Cu, 0x0003540061001E4Eu, 0x000358006080022Au,
    0x00036000602001FEu, 0x00037000600001DBu, 0x00037000602001D7u, 0x00037000608001D5u, 0x00037000618001D9u, 0x0003880060001EA7u,
    0x0003880060201EA5u, 0x0003880060601EABu, 0x0003880061201EA9u, 0x00039000608001DFu, 0x00039400602001FBu, 0x00039800602001FDu,
    0x00039800608001E3u, 0x00039C0060201E09u, 0x0003A80060001EC1u, 0x0003A80060201EBFu, 0x0003A80060601EC5u, 0x0003A80061201EC3u,
    0x0003BC0060201E2Fu, 0x0003D00060001ED3u, 0x0003D00060201ED1u, 0x0003D00060601ED7u, 0x0003D00061201ED5u, 0x0003D40060201E4Du,
    0x0003D4006080022Du, 0x0003D40061001E4Fu, 0x0003D8006080022Bu, 0x0003E000602001FFu, 0x0003F000600001DCu, 0x0003F000602001D8u,
    0x0003F000608001D6u, 0x0003F000618001DAu, 0x0004080060001EB0u, 0x0004080060201EAEu, 0x0004080060601EB4u, 0x0004080061201EB2u,
    0x00040C0060001EB1u, 0x00040C0060201EAFu, 0x00040C0060601EB5u, 0x00040C0061201EB3u, 0x0004480060001E14u, 0x0004480060201E16u,
    0x00044C0060001E15u, 0x00044C0060201E17u, 0x0005300060001E50u, 0x0005300060201E52u, 0x0005340060001E51u, 0x0005340060201E53u,
    0x0005680060E01E64u, 0x00056C0060E01E65u, 0x0005800060E01E66u, 0x0005840060E01E67u, 0x0005A00060201E78u, 0x0005A40060201E79u,
    0x0005A80061001E7Au, 0x0005AC0061001E7Bu, 0x0005FC0060E01E9Bu, 0x0006800060001EDCu, 0x0006800060201EDAu, 0x0006800060601EE0u,
    0x0006800061201EDEu, 0x0006800064601EE2u, 0x0006840060001EDDu, 0x0006840060201EDBu, 0x0006840060601EE1u, 0x0006840061201EDFu,
    0x0006840064601EE3u, 0x0006BC0060001EEAu, 0x0006BC0060201EE8u, 0x0006BC0060601EEEu, 0x0006BC0061201EECu, 0x0006BC0064601EF0u,
    0x0006C00060001EEBu, 0x0006C00060201EE9u, 0x0006C00060601EEFu, 0x0006C00061201EEDu, 0x0006C00064601EF1u, 0x0006DC00618001EEu,
    0x0007A800608001ECu, 0x0007AC00608001EDu, 0x00089800608001E0u, 0x00089C00608001E1u, 0x0008A00060C01E1Cu, 0x0008A40060C01E1Du,
    0x0008B80060800230u, 0x0008BC0060800231u, 0x000A4800618001EFu, 0x800AE40000000374u, 0x800C000000000340u, 0x800C040000000341u,
    0x800C200060200344u, 0x800C4C0000000343u, 0x800E140000001FEEu, 0x800E180000001FBBu, 0x800E200000001FC9u, 0x800E240000001FCBu,
    0x800E280000001FDBu, 0x800E300000001FF9u, 0x800E380000001FEBu, 0x800E3C0000001FFBu, 0x800E400000001FD3u, 0x000E440060001FBAu,
    0x000E440060200386u, 0x000E440060801FB9u, 0x000E440060C01FB8u, 0x000E440062601F08u, 0x000E440062801F09u, 0x000E440068A01FBCu,
    0x000E540060001FC8u, 0x000E540060200388u, 0x000E540062601F18u, 0x000E540062801F19u, 0x000E5C0060001FCAu, 0x000E5C0060200389u,
    0x000E5C0062601F28u, 0x000E5C0062801F29u, 0x000E5C0068A01FCCu, 0x000E640060001FDAu, 0x000E64006020038Au, 0x000E640060801FD9u,
    0x000E640060C01FD8u, 0x000E6400610003AAu, 0x000E640062601F38u, 0x000E640062801F39u, 0x000E7C0060001FF8u, 0x000E7C006020038Cu,
    0x000E7C0062601F48u, 0x000E7C0062801F49u, 0x000E840062801FECu, 0x000E940060001FEAu, 0x000E94006020038Eu, 0x000E940060801FE9u,
    0x000E940060C01FE8u, 0x000E9400610003ABu, 0x000E940062801F59u, 0x800EA40000002126u, 0x000EA40060001FFAu, 0x000EA4006020038Fu,
    0x000EA40062601F68u, 0x000EA40062801F69u, 0x000EA40068A01FFCu, 0x800EB00000001F71u, 0x000EB00068A01FB4u, 0x800EB40000001F73u,
    0x800EB80000001F75u, 0x000EB80068A01FC4u, 0x800EBC0000001F77u, 0x800EC00000001FE3u, 0x000EC40060001F70u, 0x000EC400602003ACu,
    0x000EC40060801FB1u, 0x000EC40060C01FB0u, 0x000EC40062601F00u, 0x000EC40062801F01u, 0x000EC40068401FB6u, 0x000EC40068A01FB3u,
    0x000ED40060001F72u, 0x000ED400602003ADu, 0x000ED40062601F10u, 0x000ED40062801F11u, 0x000EDC0060001F74u, 0x000EDC00602003AEu,
    0x000EDC0062601F20u, 0x000EDC0062801F21u, 0x000EDC0068401FC6u, 0x000EDC0068A01FC3u, 0x800EE40000001FBEu, 0x000EE40060001F76u,
    0x000EE400602003AFu, 0x000EE40060801FD1u, 0x000EE40060C01FD0u, 0x000EE400610003CAu, 0x000EE40062601F30u, 0x000EE40062801F31u,
    0x000EE40068401FD6u, 0x000EFC0060001F78u, 0x000EFC00602003CCu, 0x000EFC0062601F40u, 0x000EFC0062801F41u, 0x000F040062601FE4u,
    0x000F040062801FE5u, 0x000F140060001F7Au, 0x000F1400602003CDu, 0x000F140060801FE1u, 0x000F140060C01FE0u, 0x000F1400610003CBu,
    0x000F140062601F50u, 0x000F140062801F51u, 0x000F140068401FE6u, 0x000F240060001F7Cu, 0x000F2400602003CEu, 0x000F240062601F60u,
    0x000F240062801F61u, 0x000F240068401FF6u, 0x000F240068A01FF3u, 0x000F280060001FD2u, 0x000F280060200390u, 0x000F280068401FD7u,
    0x000F2C0060001FE2u, 0x000F2C00602003B0u, 0x000F2C0068401FE7u, 0x800F300000001F79u, 0x800F340000001F7Bu, 0x800F380000001F7Du,
    0x000F380068A01FF4u, 0x000F4800602003D3u, 0x000F4800610003D4u, 0x0010180061000407u, 0x0010400060C004D0u, 0x00104000610004D2u,
    0x00104C0060200403u, 0x0010540060000400u, 0x0010540060C004D6u, 0x0010540061000401u, 0x0010580060C004C1u, 0x00105800610004DCu,
    0x00105C00610004DEu, 0x001060006000040Du, 0x00106000608004E2u, 0x0010600060C00419u, 0x00106000610004E4u, 0x001068006020040Cu,
    0x00107800610004E6u, 0x00108C00608004EEu, 0x00108C0060C0040Eu, 0x00108C00610004F0u, 0x00108C00616004F2u, 0x00109C00610004F4u,
    0x0010AC00610004F8u, 0x0010B400610004ECu, 0x0010C00060C004D1u, 0x0010C000610004D3u, 0x0010CC0060200453u, 0x0010D40060000450u,
    0x0010D40060C004D7u, 0x0010D40061000451u, 0x0010D80060C004C2u, 0x0010D800610004DDu, 0x0010DC00610004DFu, 0x0010E0006000045Du,
    0x0010E000608004E3u, 0x0010E00060C00439u, 0x0010E000610004E5u, 0x0010E8006020045Cu, 0x0010F800610004E7u, 0x00110C00608004EFu,
    0x00110C0060C0045Eu, 0x00110C00610004F1u, 0x00110C00616004F3u, 0x00111C00610004F5u, 0x00112C00610004F9u, 0x00113400610004EDu,
    0x0011580061000457u, 0x0011D00061E00476u, 0x0011D40061E00477u, 0x00136000610004DAu, 0x00136400610004DBu, 0x0013A000610004EAu,
    0x0013A400610004EBu, 0x80174000B6E0FB2Eu, 0x80174000B700FB2Fu, 0x80174000B780FB30u, 0x80174400B780FB31u, 0x80174400B7E0FB4Cu,
    0x80174800B780FB32u, 0x80174C00B780FB33u, 0x80175000B780FB34u, 0x80175400B720FB4Bu, 0x80175400B780FB35u, 0x80175800B780FB36u,
    0x80176000B780FB38u, 0x80176400B680FB1Du, 0x80176400B780FB39u, 0x80176800B780FB3Au, 0x80176C00B780FB3Bu, 0x80176C00B7E0FB4Du,
    0x80177000B780FB3Cu, 0x80177800B780FB3Eu, 0x80178000B780FB40u, 0x80178400B780FB41u, 0x80178C00B780FB43u, 0x80179000B780FB44u,
    0x80179000B7E0FB4Eu, 0x80179800B780FB46u, 0x80179C00B780FB47u, 0x8017A000B780FB48u, 0x8017A400B780FB49u, 0x8017A400B820FB2Au,
    0x8017A400B840FB2Bu, 0x8017A800B780FB4Au, 0x8017C800B6E0FB1Fu, 0x00189C00CA600622u, 0x00189C00CA800623u, 0x00189C00CAA00625u,
    0x00192000CA800624u, 0x00192800CA800626u, 0x001B0400CA8006C2u, 0x001B4800CA8006D3u, 0x001B5400CA8006C0u, 0x8024540127800958u,
    0x8024580127800959u, 0x80245C012780095Au, 0x802470012780095Bu, 0x802484012780095Cu, 0x802488012780095Du, 0x0024A00127800929u,
    0x8024AC012780095Eu, 0x8024BC012780095Fu, 0x0024C00127800931u, 0x0024CC0127800934u, 0x80268401378009DCu, 0x80268801378009DDu,
    0x8026BC01378009DFu, 0x00271C0137C009CBu, 0x00271C013AE009CCu, 0x8028580147800A59u, 0x80285C0147800A5Au, 0x8028700147800A5Bu,
    0x8028AC0147800A5Eu, 0x8028C80147800A33u, 0x8028E00147800A36u, 0x802C840167800B5Cu, 0x802C880167800B5Du, 0x002D1C0167C00B4Bu,
    0x002D1C016AC00B48u, 0x002D1C016AE00B4Cu, 0x002E48017AE00B94u, 0x002F180177C00BCAu, 0x002F18017AE00BCCu, 0x002F1C0177C00BCBu,
    0x003118018AC00C48u, 0x0032FC019AA00CC0u, 0x0033180198400CCAu, 0x003318019AA00CC7u, 0x003318019AC00CC8u, 0x003328019AA00CCBu,
    0x00351801A7C00D4Au, 0x00351801AAE00D4Cu, 0x00351C01A7C00D4Bu, 0x00376401B9400DDAu, 0x00376401B9E00DDCu, 0x00376401BBE00DDEu,
    0x00377001B9400DDDu, 0x803D0001F6A00F69u, 0x803D0801F6E00F43u, 0x803D3001F6E00F4Du, 0x803D4401F6E00F52u, 0x803D5801F6E00F57u,
    0x803D6C01F6E00F5Cu, 0x803DC401EE400F73u, 0x803DC401EE800F75u, 0x803DC401F0000F81u, 0x803E4001F6A00FB9u, 0x803E4801F6E00F93u,
    0x803E7001F6E00F9Du, 0x803E8401F6E00FA2u, 0x803E9801F6E00FA7u, 0x803EAC01F6E00FACu, 0x803EC801F0000F76u, 0x803ECC01F0000F78u,
    0x0040940205C01026u, 0x006C140366A01B06u, 0x006C1C0366A01B08u, 0x006C240366A01B0Au, 0x006C2C0366A01B0Cu, 0x006C340366A01B0Eu,
    0x006C440366A01B12u, 0x006CE80366A01B3Bu, 0x006CF00366A01B3Du, 0x006CF80366A01B40u, 0x006CFC0366A01B41u, 0x006D080366A01B43u,
    0x0078D80060801E38u, 0x0078DC0060801E39u, 0x0079680060801E5Cu, 0x00796C0060801E5Du, 0x0079880060E01E68u, 0x00798C0060E01E69u,
    0x007A800060401EACu, 0x007A800060C01EB6u, 0x007A840060401EADu, 0x007A840060C01EB7u, 0x007AE00060401EC6u, 0x007AE40060401EC7u,
    0x007B300060401ED8u, 0x007B340060401ED9u, 0x007C000060001F02u, 0x007C000060201F04u, 0x007C000068401F06u, 0x007C000068A01F80u,
    0x007C040060001F03u, 0x007C040060201F05u, 0x007C040068401F07u, 0x007C040068A01F81u, 0x007C080068A01F82u, 0x007C0C0068A01F83u,
    0x007C100068A01F84u, 0x007C140068A01F85u, 0x007C180068A01F86u, 0x007C1C0068A01F87u, 0x007C200060001F0Au, 0x007C200060201F0Cu,
    0x007C200068401F0Eu, 0x007C200068A01F88u, 0x007C240060001F0Bu, 0x007C240060201F0Du, 0x007C240068401F0Fu, 0x007C240068A01F89u,
    0x007C280068A01F8Au, 0x007C2C0068A01F8Bu, 0x007C300068A01F8Cu, 0x007C340068A01F8Du, 0x007C380068A01F8Eu, 0x007C3C0068A01F8Fu,
    0x007C400060001F12u, 0x007C400060201F14u, 0x007C440060001F13u, 0x007C440060201F15u, 0x007C600060001F1Au, 0x007C600060201F1Cu,
    0x007C640060001F1Bu, 0x007C640060201F1Du, 0x007C800060001F22u, 0x007C800060201F24u, 0x007C800068401F26u, 0x007C800068A01F90u,
    0x007C840060001F23u, 0x007C840060201F25u, 0x007C840068401F27u, 0x007C840068A01F91u, 0x007C880068A01F92u, 0x007C8C0068A01F93u,
    0x007C900068A01F94u, 0x007C940068A01F95u, 0x007C980068A01F96u, 0x007C9C0068A01F97u, 0x007CA00060001F2Au, 0x007CA00060201F2Cu,
    0x007CA00068401F2Eu, 0x007CA00068A01F98u, 0x007CA40060001F2Bu, 0x007CA40060201F2Du, 0x007CA40068401F2Fu, 0x007CA40068A01F99u,
    0x007CA80068A01F9Au, 0x007CAC0068A01F9Bu, 0x007CB00068A01F9Cu, 0x007CB40068A01F9Du, 0x007CB80068A01F9Eu, 0x007CBC0068A01F9Fu,
    0x007CC00060001F32u, 0x007CC00060201F34u, 0x007CC00068401F36u, 0x007CC40060001F33u, 0x007CC40060201F35u, 0x007CC40068401F37u,
    0x007CE00060001F3Au, 0x007CE00060201F3Cu, 0x007CE00068401F3Eu, 0x007CE40060001F3Bu, 0x007CE40060201F3Du, 0x007CE40068401F3Fu,
    0x007D000060001F42u, 0x007D000060201F44u, 0x007D040060001F43u, 0x007D040060201F45u, 0x007D200060001F4Au, 0x007D200060201F4Cu,
    0x007D240060001F4Bu, 0x007D240060201F4Du, 0x007D400060001F52u, 0x007D400060201F54u, 0x007D400068401F56u, 0x007D440060001F53u,
    0x007D440060201F55u, 0x007D440068401F57u, 0x007D640060001F5Bu, 0x007D640060201F5Du, 0x007D640068401F5Fu, 0x007D800060001F62u,
    0x007D800060201F64u, 0x007D800068401F66u, 0x007D800068A01FA0u, 0x007D840060001F63u, 0x007D840060201F65u, 0x007D840068401F67u,
    0x007D840068A01FA1u, 0x007D880068A01FA2u, 0x007D8C0068A01FA3u, 0x007D900068A01FA4u, 0x007D940068A01FA5u, 0x007D980068A01FA6u,
    0x007D9C0068A01FA7u, 0x007DA00060001F6Au, 0x007DA00060201F6Cu, 0x007DA00068401F6Eu, 0x007DA00068A01FA8u, 0x007DA40060001F6Bu,
    0x007DA40060201F6Du, 0x007DA40068401F6Fu, 0x007DA40068A01FA9u, 0x007DA80068A01FAAu, 0x007DAC0068A01FABu, 0x007DB00068A01FACu,
    0x007DB40068A01FADu, 0x007DB80068A01FAEu, 0x007DBC0068A01FAFu, 0x007DC00068A01FB2u, 0x007DD00068A01FC2u, 0x007DF00068A01FF2u,
    0x007ED80068A01FB7u, 0x007EFC0060001FCDu, 0x007EFC0060201FCEu, 0x007EFC0068401FCFu, 0x007F180068A01FC7u, 0x007FD80068A01FF7u,
    0x007FF80060001FDDu, 0x007FF80060201FDEu, 0x007FF80068401FDFu, 0x8080080000002000u, 0x80800C0000002001u, 0x008640006700219Au,
    0x008648006700219Bu, 0x00865000670021AEu, 0x00874000670021CDu, 0x00874800670021CFu, 0x00875000670021CEu, 0x00880C0067002204u,
    0x0088200067002209u, 0x00882C006700220Cu, 0x00888C0067002224u, 0x0088940067002226u, 0x0088F00067002241u, 0x00890C0067002244u,
    0x0089140067002247u, 0x0089200067002249u, 0x008934006700226Du, 0x0089840067002262u, 0x0089900067002270u, 0x0089940067002271u,
    0x0089C80067002274u, 0x0089CC0067002275u, 0x0089D80067002278u, 0x0089DC0067002279u, 0x0089E80067002280u, 0x0089EC0067002281u,
    0x0089F000670022E0u, 0x0089F400670022E1u, 0x008A080067002284u, 0x008A0C0067002285u, 0x008A180067002288u, 0x008A1C0067002289u,
    0x008A4400670022E2u, 0x008A4800670022E3u, 0x008A8800670022ACu, 0x008AA000670022ADu, 0x008AA400670022AEu, 0x008AAC00670022AFu,
    0x008AC800670022EAu, 0x008ACC00670022EBu, 0x008AD000670022ECu, 0x008AD400670022EDu, 0x80AB740067002ADCu, 0x80C0200000002329u,
    0x80C024000000232Au, 0x00C1180613203094u, 0x00C12C061320304Cu, 0x00C134061320304Eu, 0x00C13C0613203050u, 0x00C1440613203052u,
    0x00C14C0613203054u, 0x00C1540613203056u, 0x00C15C0613203058u, 0x00C164061320305Au, 0x00C16C061320305Cu, 0x00C174061320305Eu,
    0x00C17C0613203060u, 0x00C1840613203062u, 0x00C1900613203065u, 0x00C1980613203067u, 0x00C1A00613203069u, 0x00C1BC0613203070u,
    0x00C1BC0613403071u, 0x00C1C80613203073u, 0x00C1C80613403074u, 0x00C1D40613203076u, 0x00C1D40613403077u, 0x00C1E00613203079u,
    0x00C1E0061340307Au, 0x00C1EC061320307Cu, 0x00C1EC061340307Du, 0x00C274061320309Eu, 0x00C29806132030F4u, 0x00C2AC06132030ACu,
    0x00C2B406132030AEu, 0x00C2BC06132030B0u, 0x00C2C406132030B2u, 0x00C2CC06132030B4u, 0x00C2D406132030B6u, 0x00C2DC06132030B8u,
    0x00C2E406132030BAu, 0x00C2EC06132030BCu, 0x00C2F406132030BEu, 0x00C2FC06132030C0u, 0x00C30406132030C2u, 0x00C31006132030C5u,
    0x00C31806132030C7u, 0x00C32006132030C9u, 0x00C33C06132030D0u, 0x00C33C06134030D1u, 0x00C34806132030D3u, 0x00C34806134030D4u,
    0x00C35406132030D6u, 0x00C35406134030D7u, 0x00C36006132030D9u, 0x00C36006134030DAu, 0x00C36C06132030DCu, 0x00C36C06134030DDu,
    0x00C3BC06132030F7u, 0x00C3C006132030F8u, 0x00C3C406132030F9u, 0x00C3C806132030FAu, 0x00C3F406132030FEu, 0x83ED2400B820FB2Cu,
    0x83ED2400B840FB2Du, 0x0417480060E105C9u, 0x0417680060E105E4u, 0x044264221741109Au, 0x04426C221741109Cu, 0x04429422174110ABu,
    0x0444C42224E1112Eu, 0x0444C82224E1112Fu, 0x044D1C2267C1134Bu, 0x044D1C226AE1134Cu, 0x044E082279211383u, 0x044E102277611385u,
    0x044E2C227841138Eu, 0x044E402279211391u, 0x044F0822770113C7u, 0x044F0822784113C5u, 0x044F0822792113C8u, 0x0452E422960114BCu,
    0x0452E422974114BBu, 0x0452E42297A114BEu, 0x0456E022B5E115BAu, 0x0456E422B5E115BBu, 0x0464D42326011938u, 0x0584782C23C16121u,
    0x0584782C23E16123u, 0x0584782C24016125u, 0x0584782C25216122u, 0x0584842C23E16126u, 0x0584842C24016128u, 0x0584882C23E16127u,
    0x0584A42C23E16124u, 0x05B58C2DACE16D69u, 0x05B59C2DACE16D68u, 0x05B5A42DACE16D6Au, 0x87455C3A2CA1D15Eu, 0x8745603A2CA1D15Fu,
    0x87457C3A2DC1D160u, 0x87457C3A2DE1D161u, 0x87457C3A2E01D162u, 0x87457C3A2E21D163u, 0x87457C3A2E41D164u, 0x8746E43A2CA1D1BBu,
    0x8746E83A2CA1D1BCu, 0x8746EC3A2DC1D1BDu, 0x8746EC3A2DE1D1BFu, 0x8746F03A2DC1D1BEu, 0x8746F03A2DE1D1C0u,
};
static const uint16_t oct__uc_by_whole[1079] = {      /* oct__uc_pairs in the order of the composed character */
    4, 5, 6, 7, 11, 13, 27, 34, 35, 36, 41, 66, 67, 68, 73, 99, 106, 107, 108, 109,
    113, 146, 147, 148, 152, 176, 191, 192, 193, 194, 198, 200, 214, 221, 222, 223, 228, 254, 255, 256,
    260, 286, 293, 294, 295, 296, 300, 334, 335, 336, 340, 365, 370, 8, 195, 9, 196, 19, 206, 23,
    210, 24, 211, 25, 212, 26, 213, 29, 216, 38, 225, 39, 226, 40, 227, 48, 235, 43, 230, 53,
    240, 55, 242, 56, 243, 58, 245, 59, 246, 69, 257, 70, 258, 71, 259, 79, 266, 72, 81, 268,
    86, 273, 88, 275, 91, 278, 89, 276, 98, 285, 103, 290, 101, 288, 110, 297, 111, 298, 115, 302,
    124, 311, 130, 317, 126, 313, 132, 319, 133, 320, 138, 325, 135, 322, 143, 331, 140, 328, 149, 337,
    150, 338, 151, 339, 154, 342, 155, 343, 162, 350, 169, 357, 177, 366, 181, 184, 374, 186, 376, 187,
    377, 119, 306, 159, 347, 14, 201, 75, 262, 116, 303, 156, 344, 411, 438, 410, 437, 412, 439, 409,
    436, 389, 417, 488, 489, 393, 420, 57, 244, 84, 271, 121, 308, 486, 487, 485, 494, 269, 52, 239,
    97, 284, 391, 418, 392, 419, 408, 435, 15, 202, 16, 203, 44, 231, 45, 232, 76, 263, 77, 264,
    117, 304, 118, 305, 127, 314, 128, 315, 157, 345, 158, 346, 137, 324, 142, 330, 62, 249, 10, 197,
    47, 234, 407, 434, 405, 432, 112, 299, 492, 493, 179, 368, 496, 497, 499, 498, 495, 0, 381, 510,
    384, 517, 521, 526, 533, 538, 545, 604, 529, 541, 557, 565, 569, 576, 607, 579, 593, 584, 590, 598,
    613, 614, 619, 621, 618, 615, 629, 625, 632, 627, 649, 641, 643, 640, 660, 651, 647, 654, 661, 662,
    622, 644, 616, 638, 617, 639, 620, 642, 663, 664, 623, 645, 624, 646, 626, 648, 628, 650, 630, 652,
    665, 666, 637, 659, 631, 653, 633, 655, 634, 656, 635, 657, 636, 658, 699, 700, 702, 701, 703, 706,
    704, 705, 713, 716, 717, 707, 708, 709, 710, 711, 712, 714, 715, 721, 722, 718, 719, 720, 727, 728,
    723, 724, 725, 726, 732, 731, 733, 729, 730, 734, 735, 737, 736, 738, 739, 741, 742, 740, 743, 744,
    746, 745, 747, 748, 750, 749, 752, 753, 754, 755, 756, 751, 757, 758, 766, 767, 759, 761, 762, 763,
    764, 765, 760, 768, 769, 770, 771, 772, 773, 774, 775, 776, 777, 778, 779, 18, 205, 20, 207, 21,
    208, 22, 209, 394, 421, 28, 215, 30, 217, 33, 220, 31, 218, 32, 219, 448, 450, 449, 451, 49,
    236, 50, 237, 490, 491, 51, 238, 54, 241, 60, 247, 63, 250, 61, 248, 64, 251, 65, 252, 80,
    267, 399, 426, 83, 270, 85, 272, 87, 274, 90, 277, 780, 781, 93, 280, 92, 279, 94, 281, 95,
    282, 96, 283, 100, 287, 102, 289, 105, 292, 104, 291, 404, 431, 406, 433, 452, 454, 453, 455, 122,
    309, 123, 310, 125, 312, 129, 316, 782, 783, 131, 318, 134, 321, 136, 323, 456, 457, 458, 459, 784,
    785, 139, 326, 141, 329, 145, 333, 144, 332, 161, 349, 164, 352, 163, 351, 460, 461, 462, 463, 165,
    353, 166, 354, 167, 355, 168, 356, 171, 359, 170, 358, 172, 361, 173, 362, 174, 363, 180, 369, 185,
    375, 188, 378, 189, 379, 253, 327, 360, 372, 464, 17, 204, 12, 199, 386, 414, 385, 413, 388, 416,
    387, 415, 786, 788, 441, 445, 440, 444, 443, 447, 442, 446, 787, 789, 46, 233, 42, 229, 37, 224,
    396, 423, 395, 422, 398, 425, 397, 424, 790, 791, 74, 261, 78, 265, 120, 307, 114, 301, 401, 428,
    400, 427, 403, 430, 402, 429, 792, 793, 466, 471, 465, 470, 468, 473, 467, 472, 469, 474, 160, 348,
    153, 341, 476, 481, 475, 480, 478, 483, 477, 482, 479, 484, 175, 364, 183, 373, 182, 371, 178, 367,
    560, 561, 794, 798, 795, 799, 796, 800, 513, 514, 808, 812, 809, 813, 810, 814, 566, 567, 822, 824,
    823, 825, 518, 519, 826, 828, 827, 829, 570, 571, 830, 834, 831, 835, 832, 836, 522, 523, 844, 848,
    845, 849, 846, 850, 580, 581, 858, 861, 859, 862, 860, 863, 530, 531, 864, 867, 865, 868, 866, 869,
    585, 586, 870, 872, 871, 873, 534, 535, 874, 876, 875, 877, 594, 595, 878, 881, 879, 882, 880, 883,
    542, 884, 885, 886, 599, 600, 887, 891, 888, 892, 889, 893, 546, 547, 901, 905, 902, 906, 903, 907,
    556, 549, 564, 551, 568, 552, 575, 554, 583, 609, 589, 610, 597, 611, 797, 801, 802, 803, 804, 805,
    806, 807, 811, 815, 816, 817, 818, 819, 820, 821, 833, 837, 838, 839, 840, 841, 842, 843, 847, 851,
    852, 853, 854, 855, 856, 857, 890, 894, 895, 896, 897, 898, 899, 900, 904, 908, 909, 910, 911, 912,
    913, 914, 559, 558, 915, 563, 550, 562, 918, 512, 511, 509, 501, 515, 574, 382, 916, 573, 553, 572,
    922, 516, 502, 520, 503, 524, 919, 920, 921, 578, 577, 603, 508, 582, 605, 528, 527, 525, 504, 924,
    925, 926, 592, 591, 606, 555, 587, 588, 596, 608, 540, 539, 537, 506, 536, 380, 500, 190, 917, 602,
    612, 601, 923, 532, 505, 544, 507, 548, 383, 927, 928, 543, 82, 390, 929, 930, 931, 932, 934, 933,
    935, 936, 937, 938, 939, 940, 941, 942, 943, 2, 945, 944, 1, 3, 946, 947, 948, 949, 950, 951,
    952, 953, 956, 957, 958, 959, 962, 963, 964, 965, 954, 955, 960, 961, 966, 967, 968, 969, 971, 972,
    970, 974, 975, 976, 977, 978, 979, 980, 981, 982, 983, 984, 985, 986, 987, 988, 989, 990, 991, 992,
    993, 994, 995, 996, 997, 998, 973, 999, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012,
    1013, 1014, 1015, 1016, 1017, 1018, 1019, 1020, 1021, 1022, 1023, 1024, 1025, 1000, 1026, 1027, 1028, 1029, 1030, 679,
    698, 695, 696, 1031, 1032, 667, 668, 669, 670, 672, 673, 674, 676, 677, 678, 680, 681, 682, 684, 685,
    686, 687, 688, 689, 691, 692, 693, 694, 697, 675, 671, 683, 690, 1033, 1034, 1035, 1036, 1037, 1038, 1039,
    1040, 1041, 1042, 1043, 1044, 1045, 1047, 1046, 1048, 1050, 1049, 1051, 1052, 1053, 1054, 1055, 1058, 1056, 1062, 1057,
    1059, 1061, 1060, 1064, 1063, 1065, 1066, 1067, 1068, 1069, 1070, 1071, 1072, 1073, 1074, 1075, 1077, 1076, 1078,
};
/* --- end of the written tables --- */

enum { OCT__UC_LETTER = 1, OCT__UC_NUMBER, OCT__UC_SPACE, OCT__UC_PUNCT };      /* 0: any other */
#define OCT__UC_COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Combining class << 3 | class of a code point.  What is no code point (-1: an invalid byte) is 0. */
static unsigned oct__uc_of(int32_t cp) {
    if (cp < 0 || cp > 0x10FFFF) return 0;
    size_t lo = 0, hi = OCT__UC_COUNT(oct__uc_ranges);            /* the range is the last that begins at or before cp */
    while (hi - lo > 1) {
        const size_t mid = (lo + hi) / 2;
        if (oct__uc_ranges[mid] >> 11 <= (uint32_t)cp) lo = mid;
        else hi = mid;
    }
    return oct__uc_ranges[lo] & 0x7FF;
}
static int oct__uc_class(int32_t cp) {
    if (cp >= 'a' && cp <= 'z') return OCT__UC_LETTER;            /* most text */
    if (cp == ' ') return OCT__UC_SPACE;
    return (int)(oct__uc_of(cp) & 7);
}

/* --- NFC: canonical decomposition, canonical order, canonical composition (Unicode Standard Annex 15) ------- */

enum { OCT__HANGUL = 0xAC00, OCT__HANGUL_L = 0x1100, OCT__HANGUL_V = 0x1161, OCT__HANGUL_T = 0x11A7,
       OCT__HANGUL_NL = 19, OCT__HANGUL_NV = 21, OCT__HANGUL_NT = 28 };
#define OCT__NFC_CP(x)    ((int32_t)((x) & 0x1FFFFF))             /* one uint32_t: combining class << 21 | code point */
#define OCT__NFC_RAW      0x110000                                /* + byte: an invalid byte, carried through */
#define OCT__NFC_PLAIN    0x300                                   /* below: neither decomposes for good nor combines */

static int32_t oct__uc_pair_a(size_t i) { return (int32_t)(oct__uc_pairs[i] >> 42 & 0x1FFFFF); }
static int32_t oct__uc_pair_b(size_t i) { return (int32_t)(oct__uc_pairs[i] >> 21 & 0x1FFFFF); }
static int32_t oct__uc_pair_whole(size_t i) { return (int32_t)(oct__uc_pairs[i] & 0x1FFFFF); }

/* One step of canonical decomposition: cp to a, b (b = 0: a alone).  False: cp is its own. */
static bool oct__nfc_split(int32_t cp, int32_t *a, int32_t *b) {
    *b = 0;
    if (cp >= 0xF900 && cp < 0xFB00) *a = (int32_t)oct__uc_compat_F900[cp - 0xF900];
    else if (cp >= 0x2F800 && cp < 0x2FA20) *a = (int32_t)oct__uc_compat_2F800[cp - 0x2F800];
    else *a = 0;
    if (*a) return true;
    size_t lo = 0, hi = OCT__UC_COUNT(oct__uc_by_whole);
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (oct__uc_pair_whole(oct__uc_by_whole[mid]) < cp) lo = mid + 1;
        else hi = mid;
    }
    if (lo == OCT__UC_COUNT(oct__uc_by_whole) || oct__uc_pair_whole(oct__uc_by_whole[lo]) != cp) return false;
    *a = oct__uc_pair_a(oct__uc_by_whole[lo]);
    *b = oct__uc_pair_b(oct__uc_by_whole[lo]);
    return true;
}
/* What a, b compose to; 0: nothing. */
static int32_t oct__nfc_join(int32_t a, int32_t b) {
    if (a >= OCT__HANGUL_L && a < OCT__HANGUL_L + OCT__HANGUL_NL && b >= OCT__HANGUL_V && b < OCT__HANGUL_V + OCT__HANGUL_NV)
        return OCT__HANGUL + ((a - OCT__HANGUL_L) * OCT__HANGUL_NV + (b - OCT__HANGUL_V)) * OCT__HANGUL_NT;
    if (a >= OCT__HANGUL && a < OCT__HANGUL + OCT__HANGUL_NL * OCT__HANGUL_NV * OCT__HANGUL_NT &&
        (a - OCT__HANGUL) % OCT__HANGUL_NT == 0 && b > OCT__HANGUL_T && b < OCT__HANGUL_T + OCT__HANGUL_NT)
        return a + (b - OCT__HANGUL_T);
    if (b < OCT__NFC_PLAIN) return 0;
    const uint64_t want = (uint64_t)a << 21 | (uint64_t)b;
    size_t lo = 0, hi = OCT__UC_COUNT(oct__uc_pairs);
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if ((oct__uc_pairs[mid] >> 21 & 0x3FFFFFFFFFFu) < want) lo = mid + 1;
        else hi = mid;
    }
    if (lo == OCT__UC_COUNT(oct__uc_pairs) || oct__uc_pairs[lo] >> 63 || (oct__uc_pairs[lo] >> 21) != want) return 0;
    return oct__uc_pair_whole(lo);
}
static int oct__nfc_put(oct__buf *b, int32_t cp) {
    const uint32_t x = cp < OCT__NFC_PLAIN ? (uint32_t)cp : (uint32_t)cp | oct__uc_of(cp) >> 3 << 21;
    return oct__buf_append(b, &x, sizeof x);
}
/* Appends the full decomposition of cp.  First parts decompose further, at most four deep; second parts never do. */
static int oct__nfc_push(oct__buf *b, int32_t cp) {
    int32_t tail[8], a, second;
    int n = 0;
    const int32_t s = cp - OCT__HANGUL;
    if (s >= 0 && s < OCT__HANGUL_NL * OCT__HANGUL_NV * OCT__HANGUL_NT) {
        const int32_t t = s % OCT__HANGUL_NT;
        return oct__nfc_put(b, OCT__HANGUL_L + s / (OCT__HANGUL_NV * OCT__HANGUL_NT)) ||
               oct__nfc_put(b, OCT__HANGUL_V + s / OCT__HANGUL_NT % OCT__HANGUL_NV) || (t && oct__nfc_put(b, OCT__HANGUL_T + t));
    }
    while (cp >= 0xC0 && n < 8 && oct__nfc_split(cp, &a, &second)) {
        if (second) tail[n++] = second;
        cp = a;
    }
    if (oct__nfc_put(b, cp)) return 1;
    while (n > 0)
        if (oct__nfc_put(b, tail[--n])) return 1;
    return 0;
}
/* Sorts x [n], all of combining class > 0, by class, keeping the order within one; spare [n]. */
static void oct__nfc_order(uint32_t *x, uint32_t *spare, size_t n) {
    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            const uint32_t v = x[i];
            size_t j = i;
            for (; j > 0 && x[j - 1] >> 21 > v >> 21; j--) x[j] = x[j - 1];
            x[j] = v;
        }
        return;
    }
    size_t at[257];                                               /* a megabyte of accents must not take quadratic time */
    memset(at, 0, sizeof at);
    for (size_t i = 0; i < n; i++) at[(x[i] >> 21) + 1]++;
    for (size_t c = 1; c < 257; c++) at[c] += at[c - 1];
    for (size_t i = 0; i < n; i++) spare[at[x[i] >> 21]++] = x[i];
    memcpy(x, spare, n * sizeof *x);
}
/* Composes x [n] in place; returns the new length. */
static size_t oct__nfc_compose(uint32_t *x, size_t n) {
    size_t out = 0, starter = SIZE_MAX;
    uint32_t last = 0;                                            /* class of the last one kept after the starter */
    for (size_t i = 0; i < n; i++) {
        const uint32_t c = x[i] >> 21;
        if (starter != SIZE_MAX && (starter + 1 == out || (last != 0 && last < c))) {
            const int32_t whole = oct__nfc_join(OCT__NFC_CP(x[starter]), OCT__NFC_CP(x[i]));
            if (whole) {
                x[starter] = (uint32_t)whole;
                continue;
            }
        }
        if (c == 0) starter = out;
        last = c;
        x[out++] = x[i];
    }
    return out;
}
/* Appends NFC(text) to out; bytes that are no UTF-8 stay as they are.  Non-zero: no memory. */
static int oct__nfc(oct__buf *out, const char *text, size_t len) {
    oct__buf b;
    memset(&b, 0, sizeof b);
    b.allocator = out->allocator;
    int32_t cp;
    int bad = 0;
    for (size_t i = 0; i < len && !bad;) {
        const size_t k = (size_t)oct__utf8_decode(text + i, len - i, &cp);
        bad = cp < 0 ? oct__nfc_put(&b, OCT__NFC_RAW + (unsigned char)text[i]) : oct__nfc_push(&b, cp);
        i += k;
    }
    size_t n = b.len / sizeof(uint32_t);
    bad = bad || oct__buf_reserve(&b, n * sizeof(uint32_t)) || oct__buf_reserve(out, len);   /* the first: spare room to sort */
    if (!bad) {
        uint32_t *x = (uint32_t *)(void *)b.data;
        for (size_t i = 0, j; i < n; i = j + 1) {
            for (j = i; j < n && x[j] >> 21 != 0; j++) {}
            if (j - i > 1) oct__nfc_order(x + i, x + n, j - i);
        }
        n = oct__nfc_compose(x, n);
        for (size_t i = 0; i < n && !bad; i++) {
            char s[4];
            int k = 1;
            cp = OCT__NFC_CP(x[i]);
            if (cp >= OCT__NFC_RAW) s[0] = (char)(cp - OCT__NFC_RAW);
            else k = oct__utf8_encode(cp, s);
            bad = oct__buf_append(out, s, (size_t)k);
        }
    }
    oct__buf_free(&b);
    return bad;
}
/* False: surely in NFC already, since all of it lies below U+0300. */
static bool oct__nfc_matters(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0xCC) return true;
    return false;
}

/* --- words: where byte-level BPE may not merge across ---------------------------------------------------------
 * Each rule is the regular expression of the model's authors, as a scanner: given the text from here on, how many
 * bytes are the next word?  Alternatives are tried in the expression's order; \s+(?!\S) is a run of white space
 * without its last character, unless the text ends with it.  Every scanner looks at a character a bounded number
 * of times, so a text takes linear time.
 *   GPT2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   QWEN2   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   LLAMA3  the same with \p{N}{1,3}
 *   DIGITS  \p{N} each a word, GPT2 on what lies between
 *   DEFAULT punctuation runs apart, then GPT2, then \p{N}+ apart, then those in threes of ASCII digits                 */
enum { OCT__WORDS_GPT2, OCT__WORDS_QWEN2, OCT__WORDS_LLAMA3, OCT__WORDS_DIGITS, OCT__WORDS_DEFAULT };

typedef struct oct__char { int32_t cp; int cls; size_t len; } oct__char;      /* len 0: past the end */
static oct__char oct__char_at(const char *s, size_t n, size_t i) {
    oct__char c;
    c.cp = -1;
    c.cls = -1;
    c.len = 0;
    if (i < n) {
        c.len = (size_t)oct__utf8_decode(s + i, n - i, &c.cp);
        c.cls = oct__uc_class(c.cp);
    }
    return c;
}
/* End of the run of characters of class cls (0: neither letter, number nor space) that begins at i. */
static size_t oct__run_end(const char *s, size_t n, size_t i, int cls) {
    for (;;) {
        const oct__char c = oct__char_at(s, n, i);
        if (c.len == 0 || (c.cls == OCT__UC_PUNCT ? 0 : c.cls) != cls) return i;
        i += c.len;
    }
}
/* 's 't 're 've 'm 'll 'd at s[0] = '\''; 0: none.  Without case, U+017F is an s: Unicode folds it to one. */
static size_t oct__contraction(const char *s, size_t n, bool any_case) {
    const unsigned char *u = (const unsigned char *)s;
    if (n < 2) return 0;
    if (any_case && n >= 3 && u[1] == 0xC5 && u[2] == 0xBF) return 3;
    const unsigned fold = any_case ? 0x20 : 0;                    /* sets the bit that tells ASCII's cases apart */
    const unsigned a = u[1] | fold, b = n >= 3 ? u[2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}
/* A run of white space [0, end) in front of other text: all but its last character, or that one if it is alone. */
static size_t oct__space_word(const char *s, size_t n, size_t end) {
    if (end == n) return end;
    size_t last = end - 1;
    while (last > 0 && ((unsigned char)s[last] & 0xC0) == 0x80) last--;
    return last > 0 ? last : end;
}
static size_t oct__word_gpt2(const char *s, size_t n) {
    const oct__char c = oct__char_at(s, n, 0);
    if (c.cp == '\'') {
        const size_t k = oct__contraction(s, n, false);
        if (k) return k;
    }
    const size_t at = c.cp == ' ' ? 1 : 0;
    const oct__char d = at ? oct__char_at(s, n, 1) : c;
    if (d.len > 0 && d.cls != OCT__UC_SPACE) return oct__run_end(s, n, at, d.cls == OCT__UC_PUNCT ? 0 : d.cls);
    return oct__space_word(s, n, oct__run_end(s, n, 0, OCT__UC_SPACE));
}
static size_t oct__word_qwen2(const char *s, size_t n, int max_digits) {
    const oct__char c = oct__char_at(s, n, 0);
    if (c.cp == '\'') {
        const size_t k = oct__contraction(s, n, true);
        if (k) return k;
    }
    if (c.cls == OCT__UC_LETTER) return oct__run_end(s, n, 0, OCT__UC_LETTER);
    const oct__char d = oct__char_at(s, n, c.len);
    if (d.cls == OCT__UC_LETTER && c.cp != '\r' && c.cp != '\n' && c.cls != OCT__UC_NUMBER)
        return oct__run_end(s, n, c.len, OCT__UC_LETTER);
    if (c.cls == OCT__UC_NUMBER) {
        size_t i = c.len;
        for (int k = 1; k < max_digits; k++) {
            const oct__char e = oct__char_at(s, n, i);
            if (e.cls != OCT__UC_NUMBER) break;
            i += e.len;
        }
        return i;
    }
    const bool space = c.cp == ' ';
    const int first = space ? d.cls : c.cls;
    if (first == 0 || first == OCT__UC_PUNCT) {
        size_t i = oct__run_end(s, n, space ? 1 : 0, 0);
        while (i < n && (s[i] == '\r' || s[i] == '\n')) i++;
        return i;
    }
    const size_t end = oct__run_end(s, n, 0, OCT__UC_SPACE);
    for (size_t i = end; i > 0; i--)                              /* up to the run's last line break */
        if (s[i - 1] == '\r' || s[i - 1] == '\n') return i;
    return oct__space_word(s, n, end);
}
static bool oct__punct_default(oct__char c) {
    return c.len > 0 && (c.cls == OCT__UC_PUNCT || (c.cp > 0 && c.cp < 128 && strchr("$+<=>^~|", (int)c.cp) != NULL));
}
/* DEFAULT's outer cut: a run of punctuation, or of anything else. */
static size_t oct__part_default(const char *s, size_t n) {
    const bool punct = oct__punct_default(oct__char_at(s, n, 0));
    size_t i = 0;
    for (;;) {
        const oct__char c = oct__char_at(s, n, i);
        if (c.len == 0 || oct__punct_default(c) != punct) return i;
        i += c.len;
    }
}
/* DEFAULT's inner cuts of a GPT2 word: numbers apart, and in them threes of ASCII digits. */
static size_t oct__subword_default(const char *s, size_t n) {
    oct__char c = oct__char_at(s, n, 0);
    size_t i = 0;
    if (c.cls != OCT__UC_NUMBER) {
        for (; c.len > 0 && c.cls != OCT__UC_NUMBER; c = oct__char_at(s, n, i)) i += c.len;
        return i;
    }
    for (; c.len > 0 && c.cls == OCT__UC_NUMBER; c = oct__char_at(s, n, i)) {
        if (n - i >= 3 && (unsigned)(s[i] - '0') < 10 && (unsigned)(s[i + 1] - '0') < 10 && (unsigned)(s[i + 2] - '0') < 10)
            return i > 0 ? i : 3;
        i += c.len;
    }
    return i;
}
/* DIGITS' outer cut: one number character, or all up to the next. */
static size_t oct__part_digits(const char *s, size_t n) {
    oct__char c = oct__char_at(s, n, 0);
    if (c.cls == OCT__UC_NUMBER) return c.len;
    size_t i = 0;
    for (; c.len > 0 && c.cls != OCT__UC_NUMBER; c = oct__char_at(s, n, i)) i += c.len;
    return i;
}

/* What tokenizer.ggml.pre means.  A name that ends in '*' stands for all that begin so. */
typedef struct oct__pre { char name[20]; unsigned char words; bool clean, add_bos, ignore_merges, nfc; } oct__pre;
static const oct__pre oct__pres[] = {
    /* name               words                clean  bos    ignore nfc */
    { "gpt-2",            OCT__WORDS_GPT2,     true,  false, false, false },
    { "phi-2",            OCT__WORDS_GPT2,     true,  false, false, false },
    { "jina-*",           OCT__WORDS_GPT2,     true,  false, false, false },
    { "gigachat",         OCT__WORDS_GPT2,     true,  false, false, false },
    { "mellum",           OCT__WORDS_GPT2,     true,  false, false, false },
    { "smollm",           OCT__WORDS_DIGITS,   false, false, false, false },
    { "starcoder",        OCT__WORDS_DIGITS,   true,  false, false, false },
    { "refact",           OCT__WORDS_DIGITS,   true,  false, false, false },
    { "command-r",        OCT__WORDS_DIGITS,   false, false, false, false },
    { "codeshell",        OCT__WORDS_DIGITS,   true,  false, false, false },
    { "qwen2",            OCT__WORDS_QWEN2,    false, false, false, true  },
    { "deepseek-r1-qwen", OCT__WORDS_QWEN2,    false, false, false, true  },
    { "stablelm2",        OCT__WORDS_QWEN2,    true,  false, false, true  },
    { "llama-bpe",        OCT__WORDS_LLAMA3,   true,  true,  true,  false },
    { "llama3",           OCT__WORDS_LLAMA3,   true,  true,  true,  false },
    { "llama-v3",         OCT__WORDS_LLAMA3,   true,  true,  true,  false },
    { "falcon3",          OCT__WORDS_LLAMA3,   true,  true,  true,  false },
    { "smaug-bpe",        OCT__WORDS_LLAMA3,   true,  false, false, false },
    { "default",          OCT__WORDS_DEFAULT,  true,  false, false, false },
};
static const oct__pre *oct__pre_find(oct_string name) {
    for (size_t i = 0; i < OCT__UC_COUNT(oct__pres); i++) {
        const oct_string want = oct__str(oct__pres[i].name);
        const size_t stem = want.len - 1;
        if (oct__str_same(name, want)) return &oct__pres[i];
        if (want.data[stem] == '*' && name.len >= stem && memcmp(name.data, want.data, stem) == 0) return &oct__pres[i];
    }
    return NULL;
}

/* --- the vocabulary ------------------------------------------------------------------------------------------ */

enum { OCT__TOKEN_NORMAL = 1, OCT__TOKEN_UNKNOWN, OCT__TOKEN_CONTROL, OCT__TOKEN_USER, OCT__TOKEN_UNUSED, OCT__TOKEN_BYTE };
/* Flags of a token; the low three bits hold its type. */
enum { OCT__TF_TYPE = 7, OCT__TF_CONTROL = 8, OCT__TF_END = 16, OCT__TF_PAD = 32, OCT__TF_SPECIAL = 64, OCT__TF_TAG = 128 };

#define OCT__TOKENS_MAX     (1 << 24)
#define OCT__TOKEN_BYTES    65536        /* longest token text */
#define OCT__SPECIAL_BYTES  512          /* a special token with a longer text is never looked for: nobody types it */
#define OCT__TEXT_MAX       ((size_t)1 << 30)
#define OCT__TAGS_MAX       256
#define OCT__PROBES         256          /* a probe this long means forged names: at half load chance gives under 100 */
#define OCT__RANK_NONE      UINT32_MAX
#define OCT__REACH_MAX      16           /* bytes of a piece that oct__vocab_reach follows exactly */

typedef struct oct__merge { int32_t left, right; uint32_t rank; int32_t to; } oct__merge;     /* to < 0: a free slot */

typedef struct oct__vocab {
    oct_allocator        allocator;
    void                *memory;          /* all tables below */
    int                  n_tokens;
    int                  bos, eos, eot, unk;   /* -1: none */
    bool                 spm;             /* else byte-level BPE */
    bool                 add_bos, add_eos, add_space_prefix;
    bool                 legacy;          /* SPM: text after a special token is encoded as a beginning */
    bool                 guessed;         /* BPE without tokenizer.ggml.pre: DEFAULT's words, worth a warning */
    bool                 tags;            /* some control tokens are tags: see "tags" below */
    oct__pre             pre;
    const char          *texts;           /* the strings, in the file: u64 length, bytes, ... */
    uint32_t            *at;              /* [n_tokens] where each text begins in texts */
    unsigned char       *flags;           /* [n_tokens] */
    size_t               max_len;         /* longest text that merging can make, in bytes of the text merged */
    uint64_t            *slots;           /* [slot_mask + 1] by text: hash << 32 | id + 1, 0 free */
    uint32_t             slot_mask;
    oct__merge          *merges;          /* BPE: [merge_mask + 1] by left, right */
    uint32_t             merge_mask;
    uint32_t            *rank;            /* SPM: [n_tokens] best score first, equal scores share a rank */
    uint32_t             n_ranks;
    int32_t             *special;         /* [n_special] tokens found in text as they stand, by text */
    uint32_t             n_special;
    uint32_t             special_from[257];    /* [first byte] where its tokens begin in special */
    uint64_t            *pieces;          /* [piece_mask + 1] bits, two a hash: of some piece's beginning, of a whole one */
    uint32_t             piece_mask;
    int32_t              byte_id[256];    /* -1: none; BPE: n_tokens + byte */
} oct__vocab;

/* Raw text as stored: "\xE2\x96\x81Hello", "\xC4\xA0world". */
static oct_string oct__vocab_text(const oct__vocab *v, int id) {
    oct_string s;
    s.data = "";
    s.len = 0;
    if (id < 0 || id >= v->n_tokens) return s;
    s.data = v->texts + v->at[id];
    s.len = (size_t)oct__u64(s.data - 8);
    return s;
}
static bool oct__vocab_has(const oct__vocab *v, int id, int flag) {
    return id >= 0 && id < v->n_tokens && (v->flags[id] & flag) != 0;
}
static bool oct__vocab_is_end(const oct__vocab *v, int id) { return oct__vocab_has(v, id, OCT__TF_END); }
static bool oct__vocab_is_control(const oct__vocab *v, int id) { return oct__vocab_has(v, id, OCT__TF_CONTROL); }
static bool oct__vocab_is_tag(const oct__vocab *v, int id) { return oct__vocab_has(v, id, OCT__TF_TAG); }
/* False for what fills the vocabulary up to a round number (and for what lies past it): never to be sampled. */
static bool oct__vocab_is_real(const oct__vocab *v, int id) {
    return id >= 0 && id < v->n_tokens && (v->flags[id] & OCT__TF_PAD) == 0;
}
static int oct__vocab_type(const oct__vocab *v, int id) { return v->flags[id] & OCT__TF_TYPE; }
/* May merging make this token?  Never a control token: no text becomes one without OCT__ENC_SPECIAL. */
static bool oct__vocab_mergeable(const oct__vocab *v, int id) {
    const int type = oct__vocab_type(v, id);
    return (type == OCT__TOKEN_NORMAL || type == OCT__TOKEN_USER) && (v->flags[id] & (OCT__TF_CONTROL | OCT__TF_PAD)) == 0;
}

/* Hashes that grow byte by byte, so that left and right of a merge need not be joined first. */
#define OCT__TEXT_HASH 0xCBF29CE484222325u
static uint64_t oct__text_hash(uint64_t h, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return h;
}
static uint64_t oct__mix(uint64_t h) {
    h = (h ^ (h >> 32)) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}
/* The slot that holds the text a b, or the free one where it belongs; NULL: neither within OCT__PROBES. */
static uint64_t *oct__vocab_slot(const oct__vocab *v, oct_string a, oct_string b, uint32_t *tag) {
    const uint64_t h = oct__mix(oct__text_hash(oct__text_hash(OCT__TEXT_HASH, a.data, a.len), b.data, b.len));
    int same = 0;
    *tag = (uint32_t)(h >> 32);
    for (uint32_t i = 0; i < OCT__PROBES; i++) {
        uint64_t *slot = &v->slots[((uint32_t)h + i) & v->slot_mask];
        if (*slot == 0) return slot;
        if ((uint32_t)(*slot >> 32) != *tag) continue;
        const oct_string t = oct__vocab_text(v, (int)((uint32_t)*slot - 1));
        if (t.len == a.len + b.len && memcmp(t.data, a.data, a.len) == 0 && (b.len == 0 || memcmp(t.data + a.len, b.data, b.len) == 0))
            return slot;
        if (++same == 16) return NULL;                            /* forged too: these cost a comparison each */
    }
    return NULL;
}
static int oct__vocab_look(const oct__vocab *v, oct_string a, oct_string b) {
    uint32_t tag;
    const uint64_t *slot = oct__vocab_slot(v, a, b, &tag);
    return slot && *slot ? (int)((uint32_t)*slot - 1) : -1;
}
/* Id of the token with exactly this text, whatever its type; of several the first; -1: none. */
static int oct__vocab_find(const oct__vocab *v, oct_string text) { return text.len ? oct__vocab_look(v, text, oct__str("")) : -1; }

static oct__merge *oct__merge_slot(const oct__vocab *v, int32_t left, int32_t right) {
    const uint64_t h = oct__mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    for (uint32_t i = 0; i < 4 * OCT__PROBES; i++) {              /* these may be two thirds full */
        oct__merge *m = &v->merges[((uint32_t)(h >> 20) + i) & v->merge_mask];
        if (m->to < 0 || (m->left == left && m->right == right)) return m;
    }
    return NULL;
}

/* GPT-2's printable stand-ins: bytes that are visible in Latin-1 stand for themselves, the other 68 for U+0100 and on. */
static int32_t oct__byte_to_cp(unsigned b) {
    if (b < 33) return (int32_t)(256 + b);
    if (b >= 127 && b <= 160) return (int32_t)(256 + 33 + (b - 127));
    return b == 173 ? 256 + 33 + 34 : (int32_t)b;
}
static int oct__cp_to_byte(int32_t cp) {                          /* -1: stands for none */
    if (cp >= 256 + 33 + 35 || cp < 33 || (cp >= 127 && cp <= 160) || cp == 173) return -1;
    if (cp < 256) return (int)cp;
    return cp < 256 + 33 ? (int)cp - 256 : cp < 256 + 33 + 34 ? (int)cp - 256 - 33 + 127 : 173;
}
/* One byte of a byte-level token's text at *i, which moves on; -1: a character that stands for none. */
static int oct__text_byte(oct_string t, size_t *i) {
    int32_t cp;
    *i += (size_t)oct__utf8_decode(t.data + *i, t.len - *i, &cp);
    return oct__cp_to_byte(cp);
}

static int oct__hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* "<0xHH>" with exactly two digits: the byte; else -1. */
static int oct__text_is_byte(oct_string t) {
    if (t.len != 6 || memcmp(t.data, "<0x", 3) != 0 || t.data[5] != '>') return -1;
    const int hi = oct__hex_digit(t.data[3]), lo = oct__hex_digit(t.data[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}
/* "[PADn]" with the token's own number: what converters write where the official tokenizer has nothing. */
static bool oct__text_is_pad(oct_string t, int id) {
    char want[24];
    const int n = snprintf(want, sizeof want, "[PAD%d]", id);
    return t.len == (size_t)n && memcmp(t.data, want, t.len) == 0;
}
/* Texts that end an answer whatever type the file gives them, in the order in which one is taken as end of turn. */
static const char oct__end_texts[][20] = { "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>", "_<EOT>",
                                              "<|return|>", "<|call|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_utterance>" };
enum { OCT__END_OF_TURN = 7 };                                    /* how many of them end a turn */

/* --- loading -------------------------------------------------------------------------------------------------- */

/* The arrays of the file, checked, and what is counted in them before memory is asked for. */
typedef struct oct__vocab_src {
    const oct_meta *tokens, *scores, *types, *merges;
    size_t          n_special, n_bytes;
    uint64_t        texts_bytes;
} oct__vocab_src;

/* The string at *pos of an array's bytes; *pos moves on.  False: it does not lie within. */
static bool oct__string_next(const oct_meta *m, size_t *pos, oct_string *out) {
    if (m->items_bytes - *pos < 8) return false;
    const uint64_t len = oct__u64(m->items + *pos);
    *pos += 8;
    if (len > m->items_bytes - *pos) return false;
    out->data = (const char *)m->items + *pos;
    out->len = (size_t)len;
    *pos += (size_t)len;
    return true;
}
static oct_result oct__vocab_need(const oct__gguf *g, const char *key, int item_type, uint64_t max_n, const oct_meta **out, oct_error *err) {
    const oct_result r = oct__gguf_array(g, key, item_type, 1, max_n, out, err);
    if (!r && !*out) return oct__fail(err, OCT_E_FORMAT, "metadata '%s': absent, expected an array", key);
    return r;
}
static oct_result oct__vocab_arrays(oct__vocab *v, const oct__gguf *g, oct__vocab_src *src, oct_error *err) {
    const struct { const char *key; const oct_meta **out; int item_type; } columns[2] = {
        { "tokenizer.ggml.scores", &src->scores, 6 }, { "tokenizer.ggml.token_type", &src->types, 5 } };
    oct_result r = oct__vocab_need(g, "tokenizer.ggml.tokens", 8, OCT__TOKENS_MAX, &src->tokens, err);
    if (r) return r;
    const uint64_t n = src->tokens->count;
    for (int i = 0; i < 2; i++) {
        if ((r = oct__gguf_array(g, columns[i].key, columns[i].item_type, n, n, columns[i].out, err)) != OCT_OK) return r;
        if (*columns[i].out && (*columns[i].out)->items_bytes / 4 < n)
            return oct__fail(err, OCT_E_FORMAT, "metadata '%s': %zu bytes, expected %zu", columns[i].key, (*columns[i].out)->items_bytes, (size_t)n * 4);
    }
    if (!v->spm && (r = oct__vocab_need(g, "tokenizer.ggml.merges", 8, OCT__TOKENS_MAX, &src->merges, err)) != OCT_OK) return r;
    if (src->tokens->items_bytes > UINT32_MAX)
        return oct__fail(err, OCT_E_LIMIT, "metadata 'tokenizer.ggml.tokens': %zu bytes, expected at most 4 GiB", src->tokens->items_bytes);
    v->n_tokens = (int)n;
    v->texts = (const char *)src->tokens->items;
    return OCT_OK;
}
/* Type and flags of token id, all but the end-of-answer ids that stand in keys of their own. */
static unsigned oct__vocab_flags(const oct__vocab *v, const oct__vocab_src *src, int id, oct_string t) {
    unsigned type = src->types ? oct__u32(src->types->items + (size_t)id * 4) : 0, f = 0;
    if (type > OCT__TOKEN_BYTE) return UINT32_MAX;
    if (type == 0) type = v->spm && oct__text_is_byte(t) >= 0 ? OCT__TOKEN_BYTE : OCT__TOKEN_NORMAL;
    if (type == OCT__TOKEN_NORMAL && !v->spm && t.len > 0) {      /* raw white space is no byte-level text: Phi-2's added tokens */
        size_t i = 0;
        while (i < t.len && (t.data[i] == ' ' || t.data[i] == '\t' || t.data[i] == '\n' || t.data[i] == '\r')) i++;
        if (i == t.len) type = OCT__TOKEN_USER;
    }
    if (type == OCT__TOKEN_CONTROL || type == OCT__TOKEN_UNKNOWN) f |= OCT__TF_CONTROL;
    if (t.len > 4 && t.len < 20 && (t.data[0] == '<' || t.data[0] == '_'))
        for (size_t i = 0; i < OCT__UC_COUNT(oct__end_texts); i++)
            if (oct__str_is(t, oct__end_texts[i])) f |= OCT__TF_CONTROL | OCT__TF_END;
    if (type == OCT__TOKEN_UNUSED || (t.len > 5 && t.data[0] == '[' && oct__text_is_pad(t, id))) f |= OCT__TF_PAD;
    if (((f & OCT__TF_CONTROL) || type == OCT__TOKEN_USER) && !(f & OCT__TF_PAD) && t.len > 0 && t.len <= OCT__SPECIAL_BYTES)
        f |= OCT__TF_SPECIAL;
    return type | f;
}
/* Walks the strings once: bounds, lengths, types; counts what the tables need. */
static oct_result oct__vocab_survey(const oct__vocab *v, oct__vocab_src *src, oct_error *err) {
    size_t pos = 0;
    oct_string t;
    for (int id = 0; id < v->n_tokens; id++) {
        if (!oct__string_next(src->tokens, &pos, &t))
            return oct__fail(err, OCT_E_FORMAT, "metadata 'tokenizer.ggml.tokens': token %d ends past the array", id);
        if (t.len > OCT__TOKEN_BYTES)
            return oct__fail(err, OCT_E_LIMIT, "token %d: text of %zu bytes, expected at most %d", id, t.len, OCT__TOKEN_BYTES);
        const unsigned f = oct__vocab_flags(v, src, id, t);
        if (f == UINT32_MAX)
            return oct__fail(err, OCT_E_FORMAT, "token %d '%.*s': type %d, expected 0 to 6", id, OCT__S(t), (int)oct__u32(src->types->items + (size_t)id * 4));
        if (v->spm && (f & OCT__TF_TYPE) == OCT__TOKEN_BYTE && oct__text_is_byte(t) < 0)
            return oct__fail(err, OCT_E_FORMAT, "token %d '%.*s': of type byte, expected '<0xHH>' with two hex digits", id, OCT__S(t));
        src->n_special += (f & OCT__TF_SPECIAL) != 0;
        src->n_bytes += t.len;
    }
    return OCT_OK;
}
/* The smallest 2^k - 1 with 2^k >= n. */
static uint32_t oct__mask_for(size_t n, uint32_t max) {
    uint32_t size = 64;
    while (size < n && size < max) size *= 2;
    return size - 1;
}
/* Carves all tables; with a->base NULL it only counts. */
static void oct__vocab_carve(oct__vocab *v, oct__arena *a, const oct__vocab_src *src) {
    const size_t n = (size_t)v->n_tokens;
    v->slot_mask = oct__mask_for(2 * n, 1u << 26);                /* at most half full */
    v->slots = OCT__TAKE(a, uint64_t, (size_t)v->slot_mask + 1);
    v->piece_mask = oct__mask_for(src->n_bytes / 8, 1u << 17);    /* eight bits a byte of text, up to 1 MiB */
    v->pieces = OCT__TAKE(a, uint64_t, (size_t)v->piece_mask + 1);
    v->merge_mask = src->merges ? oct__mask_for((size_t)src->merges->count + (size_t)src->merges->count / 2, 1u << 26) : 0;
    v->merges = OCT__TAKE(a, oct__merge, (size_t)v->merge_mask + 1);
    v->at = OCT__TAKE(a, uint32_t, n);
    v->rank = OCT__TAKE(a, uint32_t, v->spm ? n : 0);
    v->special = OCT__TAKE(a, int32_t, src->n_special);
    v->flags = OCT__TAKE(a, unsigned char, n);
}
static oct_result oct__vocab_tables(oct__vocab *v, const oct__vocab_src *src, oct_error *err) {
    oct__arena a;
    memset(&a, 0, sizeof a);
    oct__vocab_carve(v, &a, src);
    a.cap = a.used;
    a.used = 0;
    v->memory = a.failed ? NULL : oct__alloc(&v->allocator, a.cap);
    if (!v->memory) return oct__fail(err, OCT_E_MEMORY, "out of memory for a vocabulary of %d tokens", v->n_tokens);
    memset(v->memory, 0, a.cap);
    a.base = (unsigned char *)v->memory;
    oct__vocab_carve(v, &a, src);
    return OCT_OK;
}
/* Fills at, flags, slots and the list of special tokens.  Of equal texts the first keeps the name. */
static oct_result oct__vocab_index(oct__vocab *v, const oct__vocab_src *src, oct_error *err) {
    size_t pos = 0;
    oct_string t;
    for (int id = 0; id < v->n_tokens && oct__string_next(src->tokens, &pos, &t); id++) {
        uint32_t tag;
        v->at[id] = (uint32_t)(t.data - v->texts);
        v->flags[id] = (unsigned char)oct__vocab_flags(v, src, id, t);
        if (v->flags[id] & OCT__TF_SPECIAL) v->special[v->n_special++] = id;
        uint64_t *slot = oct__vocab_slot(v, t, oct__str(""), &tag);
        if (!slot) return oct__fail(err, OCT_E_FORMAT, "token %d '%.*s': too many tokens of one hash, expected a natural vocabulary", id, OCT__S(t));
        if (*slot == 0) *slot = (uint64_t)tag << 32 | ((uint32_t)id + 1);
    }
    return OCT_OK;
}

static bool oct__special_before(const oct__vocab *v, int32_t a, int32_t b) {      /* by text, then id */
    const oct_string s = oct__vocab_text(v, a), t = oct__vocab_text(v, b);
    const int c = memcmp(s.data, t.data, OCT__MIN(s.len, t.len));
    return c != 0 ? c < 0 : s.len != t.len ? s.len < t.len : a < b;
}
static void oct__special_sift(const oct__vocab *v, size_t root, size_t n) {
    int32_t *x = v->special;
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && oct__special_before(v, x[child], x[child + 1])) child++;
        if (!oct__special_before(v, x[root], x[child])) return;
        const int32_t t = x[root];
        x[root] = x[child];
        x[child] = t;
    }
}
/* Sorts the special tokens (a heap sort: a hostile file may have millions) and notes where each first byte begins. */
static void oct__special_sort(oct__vocab *v) {
    int32_t *x = v->special;
    for (size_t i = v->n_special / 2; i-- > 0;) oct__special_sift(v, i, v->n_special);
    for (size_t n = v->n_special; n > 1; n--) {
        const int32_t t = x[0];
        x[0] = x[n - 1];
        x[n - 1] = t;
        oct__special_sift(v, 0, n - 1);
    }
    for (uint32_t i = 0; i < v->n_special; i++) v->special_from[(unsigned char)oct__vocab_text(v, x[i]).data[0] + 1]++;
    for (int c = 0; c < 256; c++) v->special_from[c + 1] += v->special_from[c];
}

/* SPM: ranks from scores, by a radix sort of (score, id) with the best score first.  NaN counts as the worst. */
static oct_result oct__vocab_rank(oct__vocab *v, const oct_meta *scores, oct_error *err) {
    const size_t n = (size_t)v->n_tokens;
    uint64_t *x = OCT__NEW(&v->allocator, uint64_t, 2 * n);
    if (!x) return oct__fail(err, OCT_E_MEMORY, "out of memory for the scores of %d tokens", v->n_tokens);
    uint64_t *y = x + n;
    for (size_t id = 0; id < n; id++) {
        const float score = scores ? oct__f32(scores->items + id * 4) : 0.0f;
        const float s = score == 0.0f ? 0.0f : score;             /* -0 is 0 */
        uint32_t bits;
        memcpy(&bits, &s, sizeof bits);
        bits = s != s ? UINT32_MAX : bits >> 31 ? bits : ~bits & 0x7FFFFFFF;
        x[id] = (uint64_t)bits << 32 | id;
    }
    for (int shift = 32; shift < 64; shift += 8) {                /* by id it is sorted already */
        size_t at[257];
        memset(at, 0, sizeof at);
        for (size_t i = 0; i < n; i++) at[(x[i] >> shift & 255) + 1]++;
        for (int c = 0; c < 256; c++) at[c + 1] += at[c];
        for (size_t i = 0; i < n; i++) y[at[x[i] >> shift & 255]++] = x[i];
        uint64_t *t = x;
        x = y;
        y = t;
    }
    for (size_t i = 0; i < n; i++) {
        v->n_ranks += i == 0 || x[i] >> 32 != x[i - 1] >> 32;
        v->rank[(uint32_t)x[i]] = v->n_ranks - 1;
    }
    oct__free(&v->allocator, x < y ? x : y);
    return OCT_OK;
}

/* A piece of a merge: a token's id, or that of a byte that is no token. */
static int32_t oct__merge_piece(const oct__vocab *v, oct_string t) {
    const int id = oct__vocab_find(v, t);
    if (id >= 0) return id;
    size_t i = 0;
    const int byte = oct__text_byte(t, &i);
    return byte >= 0 && i == t.len ? v->n_tokens + byte : -1;
}
/* BPE: "left right" lines to pairs of ids.  A line that is no pair is an error.  A pair that makes no token (or a
 * control token), or of pieces that are none, is left out: it could only lead to text for which there is no id. */
static oct_result oct__vocab_merges(oct__vocab *v, const oct_meta *lines, oct_error *err) {
    size_t pos = 0;
    for (uint32_t i = 0; i <= v->merge_mask; i++) v->merges[i].to = -1;
    for (uint64_t rank = 0; rank < lines->count; rank++) {
        oct_string line, left, right;
        if (!oct__string_next(lines, &pos, &line))
            return oct__fail(err, OCT_E_FORMAT, "metadata 'tokenizer.ggml.merges': merge %llu ends past the array", (unsigned long long)rank);
        const char *gap = line.len > 2 ? (const char *)memchr(line.data + 1, ' ', line.len - 2) : NULL;      /* the left piece may be a space */
        if (!gap)
            return oct__fail(err, OCT_E_FORMAT, "merge %llu '%.*s': expected two pieces and a space between them", (unsigned long long)rank, OCT__S(line));
        left.data = line.data;
        left.len = (size_t)(gap - line.data);
        right.data = gap + 1;
        right.len = line.len - left.len - 1;
        const int32_t to = oct__vocab_look(v, left, right);
        const int32_t a = to < 0 ? -1 : oct__merge_piece(v, left), b = a < 0 ? -1 : oct__merge_piece(v, right);
        if (b < 0 || !oct__vocab_mergeable(v, to)) continue;
        oct__merge *m = oct__merge_slot(v, a, b);
        if (!m) return oct__fail(err, OCT_E_FORMAT, "merge %llu '%.*s': too many merges of one hash, expected a natural vocabulary", (unsigned long long)rank, OCT__S(line));
        if (m->to >= 0) continue;                                 /* of equal merges the first counts */
        m->left = a;
        m->right = b;
        m->rank = (uint32_t)rank;
        m->to = to;
    }
    v->n_ranks = (uint32_t)lines->count;
    return OCT_OK;
}

static void oct__piece_mark(oct__vocab *v, uint64_t h, unsigned bits) {
    h = oct__mix(h);
    v->pieces[(uint32_t)h & v->piece_mask] |= (uint64_t)bits << (h >> 59) * 2;
}
static unsigned oct__piece_bits(const oct__vocab *v, uint64_t h) {
    h = oct__mix(h);
    return (unsigned)(v->pieces[(uint32_t)h & v->piece_mask] >> (h >> 59) * 2) & 3;
}
/* Notes the beginnings of every piece that merging can make, so that oct__vocab_reach can tell where none crosses. */
static void oct__vocab_pieces(oct__vocab *v) {
    for (int id = 0; id < v->n_tokens; id++) {
        if (!oct__vocab_mergeable(v, id)) continue;
        const oct_string t = oct__vocab_text(v, id);
        unsigned char bytes[OCT__REACH_MAX];
        size_t len = 0, i = 0;
        while (i < t.len) {                                       /* BPE: the text it stands for */
            const int b = v->spm ? (unsigned char)t.data[i++] : oct__text_byte(t, &i);
            if (b < 0) break;
            if (len < OCT__REACH_MAX) bytes[len] = (unsigned char)b;
            len++;
        }
        if (i < t.len || len == 0) continue;                      /* not byte-level: never made by merging */
        v->max_len = OCT__MAX(v->max_len, len);
        uint64_t h = OCT__TEXT_HASH;
        for (size_t k = 0; k < OCT__MIN(len, (size_t)OCT__REACH_MAX); k++) {
            h = (h ^ bytes[k]) * 0x100000001B3u;
            if (k > 0) oct__piece_mark(v, h, k + 1 == len ? 3 : 1);
        }
    }
}

/* Ids of the 256 bytes. */
static void oct__vocab_bytes(oct__vocab *v) {
    for (int b = 0; b < 256; b++) {
        char s[4];
        oct_string t;
        t.data = s;
        t.len = (size_t)oct__utf8_encode(oct__byte_to_cp((unsigned)b), s);
        v->byte_id[b] = v->spm ? -1 : oct__vocab_look(v, t, oct__str(""));
        if (!v->spm && (v->byte_id[b] < 0 || !oct__vocab_mergeable(v, v->byte_id[b]))) v->byte_id[b] = v->n_tokens + b;
    }
    for (int id = 0; v->spm && id < v->n_tokens; id++) {
        if (oct__vocab_type(v, id) != OCT__TOKEN_BYTE) continue;
        const int b = oct__text_is_byte(oct__vocab_text(v, id));
        if (v->byte_id[b] < 0) v->byte_id[b] = id;
    }
}

/* A special id from its key; ids past the vocabulary are none.  Absent: fallback, likewise. */
static oct_result oct__vocab_id(const oct__vocab *v, const oct__gguf *g, const char *key, int fallback, int *out, oct_error *err) {
    int64_t id = -1;
    const oct_result r = oct__gguf_int(g, key, INT64_MIN, INT64_MAX, fallback, &id, err);
    if (!r) *out = id >= 0 && id < v->n_tokens ? (int)id : -1;
    return r;
}
static oct_result oct__vocab_specials(oct__vocab *v, const oct__gguf *g, oct_error *err) {
    int eom = -1;
    /* Files of BPE without these keys: the one tokenizer that relied on a default (Falcon) has its end at 11, as a control token. */
    const int bpe = v->n_tokens > 11 && oct__vocab_is_control(v, 11) ? 11 : -1;
    oct_result r;
    if ((r = oct__vocab_id(v, g, "tokenizer.ggml.bos_token_id", v->spm ? 1 : bpe, &v->bos, err)) != OCT_OK ||
        (r = oct__vocab_id(v, g, "tokenizer.ggml.eos_token_id", v->spm ? 2 : bpe, &v->eos, err)) != OCT_OK ||
        (r = oct__vocab_id(v, g, "tokenizer.ggml.unknown_token_id", v->spm ? 0 : -1, &v->unk, err)) != OCT_OK ||
        (r = oct__vocab_id(v, g, "tokenizer.ggml.eot_token_id", -1, &v->eot, err)) != OCT_OK ||
        (r = oct__vocab_id(v, g, "tokenizer.ggml.eom_token_id", -1, &eom, err)) != OCT_OK ||
        (r = oct__gguf_flag(g, "tokenizer.ggml.add_bos_token", v->spm || v->pre.add_bos, &v->add_bos, err)) != OCT_OK ||
        (r = oct__gguf_flag(g, "tokenizer.ggml.add_eos_token", false, &v->add_eos, err)) != OCT_OK ||
        (r = oct__gguf_flag(g, "tokenizer.ggml.add_space_prefix", v->spm, &v->add_space_prefix, err)) != OCT_OK ||
        (r = oct__gguf_flag(g, "octavius.tokenizer.legacy", true, &v->legacy, err)) != OCT_OK)
        return r;
    if (!oct__vocab_is_real(v, v->unk)) v->unk = -1;
    for (int i = 0; i < OCT__END_OF_TURN && v->eot < 0; i++) v->eot = oct__vocab_find(v, oct__str(oct__end_texts[i]));
    const int fixed[3] = { v->bos, v->eos, v->unk };              /* a file without types: these at least are no text */
    for (int i = 0; i < 3 && !oct__gguf_find(g, "tokenizer.ggml.token_type"); i++)
        if (fixed[i] >= 0 && oct__vocab_type(v, fixed[i]) != OCT__TOKEN_BYTE) v->flags[fixed[i]] |= OCT__TF_CONTROL;
    const int ends[3] = { v->eos, v->eot, eom };
    for (int i = 0; i < 3; i++)
        if (ends[i] >= 0) v->flags[ends[i]] |= OCT__TF_END;
    return OCT_OK;
}
/* Tags must be tokens that text is searched for, and none that it could become by chance. */
static oct_result oct__vocab_tags(oct__vocab *v, const oct__gguf *g, oct_error *err) {
    const oct_meta *tags = NULL;
    oct_meta item;
    const oct_result r = oct__gguf_array(g, "octavius.tokenizer.tags", OCT__META_I32, 0, OCT__TAGS_MAX, &tags, err);
    for (uint64_t i = 0; !r && tags && i < tags->count; i++) {
        if (oct__meta_item(tags, i, NULL, &item)) return oct__fail(err, OCT_E_FORMAT, "metadata 'octavius.tokenizer.tags': ends past the file");
        const int64_t id = (int64_t)item.u;
        if (id < 0 || id >= v->n_tokens)
            return oct__fail(err, OCT_E_FORMAT, "metadata 'octavius.tokenizer.tags': id %lld, expected 0 to %d", (long long)id, v->n_tokens - 1);
        if (!oct__vocab_has(v, (int)id, OCT__TF_SPECIAL) || !oct__vocab_is_control(v, (int)id))
            return oct__fail(err, OCT_E_FORMAT, "metadata 'octavius.tokenizer.tags': token %lld '%.*s' is no control token", (long long)id,
                             OCT__S(oct__vocab_text(v, (int)id)));
        v->flags[id] |= OCT__TF_TAG;
        v->tags = true;
    }
    return r;
}
static oct_result oct__vocab_kind(oct__vocab *v, const oct__gguf *g, oct_error *err) {
    oct_string model = oct__str(""), pre = model;
    oct_result r = oct__gguf_text(g, "tokenizer.ggml.model", "", &model, err);
    if (!r) r = oct__gguf_text(g, "tokenizer.ggml.pre", "", &pre, err);
    if (r) return r;
    if (!oct__gguf_find(g, "tokenizer.ggml.model"))
        return oct__fail(err, OCT_E_FORMAT, "metadata 'tokenizer.ggml.model': absent, expected 'llama' or 'gpt2'");
    v->spm = oct__str_is(model, "llama");
    if (!v->spm && !oct__str_is(model, "gpt2"))
        return oct__fail(err, OCT_E_UNSUPPORTED, "metadata 'tokenizer.ggml.model': '%.*s', expected 'llama' or 'gpt2'", OCT__S(model));
    if (v->spm) return OCT_OK;
    v->guessed = pre.len == 0 || oct__str_is(pre, "default");
    const oct__pre *p = oct__pre_find(pre.len ? pre : oct__str("default"));
    if (!p)
        return oct__fail(err, OCT_E_UNSUPPORTED, "metadata 'tokenizer.ggml.pre': '%.*s', expected gpt-2, phi-2, smollm, starcoder, refact, qwen2, "
                         "stablelm2, llama-bpe or another that this version knows", OCT__S(pre));
    v->pre = *p;
    return OCT_OK;
}
static void oct__vocab_free(oct__vocab *v) {
    if (v->memory) oct__free(&v->allocator, v->memory);
    memset(v, 0, sizeof *v);
}
/* Reads and checks the tokenizer of a file.  The file's bytes must outlive v.  On failure v is empty. */
static oct_result oct__vocab_load(oct__vocab *v, const oct__gguf *g, const oct_allocator *a, oct_error *err) {
    oct__vocab_src src;
    memset(&src, 0, sizeof src);
    memset(v, 0, sizeof *v);
    v->allocator = *a;
    oct_result r = oct__vocab_kind(v, g, err);
    if (!r) r = oct__vocab_arrays(v, g, &src, err);
    if (!r) r = oct__vocab_survey(v, &src, err);
    if (!r) r = oct__vocab_tables(v, &src, err);
    if (!r) r = oct__vocab_index(v, &src, err);
    if (!r) r = oct__vocab_specials(v, g, err);                   /* before the merges: they may not make control tokens */
    if (!r) r = oct__vocab_tags(v, g, err);
    if (!r) r = v->spm ? oct__vocab_rank(v, src.scores, err) : oct__vocab_merges(v, src.merges, err);
    if (!r) {
        oct__special_sort(v);
        oct__vocab_bytes(v);
        oct__vocab_pieces(v);
    } else {
        oct__vocab_free(v);
    }
    return r;
}

/* --- merging ---------------------------------------------------------------------------------------------------
 * A run is text that merging may join: characters at first (BPE: bytes), each pair of neighbours with the rank of
 * what it would become, if that is a token.  Of all pairs the best rank merges, of equal ones the leftmost, until
 * none is left.  Short runs look for it by walking; long ones keep a queue, below.  Long texts are first cut where
 * no piece of the vocabulary can cross (oct__vocab_reach), so a long run is rare: one character repeated, mostly. */

typedef struct oct__symbol {
    uint32_t start;            /* in the run */
    int32_t  id;               /* -1: no token */
    uint32_t prev, next;       /* neighbours; the last one's next is a sentinel */
    uint32_t rank;             /* of the pair with the next; OCT__RANK_NONE: none */
    int32_t  to;               /* what that pair becomes */
    uint32_t before, after;    /* in the queue of its rank */
} oct__symbol;

enum { OCT__RUN_SHORT = 96, OCT__QUEUE_LEVELS = 5 };
#define OCT__NO_SYMBOL UINT32_MAX

/* Pairs waiting, by rank: a list for each, leftmost first, and a tree of bits that finds the best that is not empty. */
typedef struct oct__queue {
    unsigned char *memory;
    uint32_t      *head, *tail;    /* [n_ranks]; head OCT__NO_SYMBOL: empty */
    uint64_t      *level[OCT__QUEUE_LEVELS];      /* level[0]: a bit a rank; level[k + 1]: a bit a word of level[k] */
    uint64_t      *unsorted;       /* a bit a rank */
} oct__queue;

typedef struct oct__encoder {
    const oct__vocab *v;
    oct__buf         *ids;
    oct__buf          text;        /* the fragment as the model wants it: normalised, or with spaces replaced */
    oct__buf          word;        /* a word in printable stand-ins */
    oct__symbol      *symbols;
    size_t            symbols_cap;
    uint32_t          n_symbols;   /* of the run; symbols[n_symbols] is the sentinel */
    const char       *run;
    oct__queue        queue;
} oct__encoder;

static bool oct__encoder_room(oct__encoder *e, size_t n) {
    if (n <= e->symbols_cap) return true;
    oct__free(&e->v->allocator, e->symbols);
    e->symbols_cap = OCT__MAX(n, e->symbols_cap * 2);
    e->symbols = OCT__NEW(&e->v->allocator, oct__symbol, e->symbols_cap);
    if (!e->symbols) e->symbols_cap = 0;
    return e->symbols != NULL;
}

/* Looks up what symbol i and its next become. */
static void oct__pair_look(oct__encoder *e, uint32_t i) {
    const oct__vocab *v = e->v;
    oct__symbol *s = &e->symbols[i];
    const oct__symbol *t = &e->symbols[s->next];
    s->rank = OCT__RANK_NONE;
    if (s->next == e->n_symbols) return;
    if (v->spm) {
        oct_string text, none;
        text.data = e->run + s->start;
        text.len = e->symbols[t->next].start - s->start;
        none.data = "";
        none.len = 0;
        const int id = text.len <= v->max_len ? oct__vocab_look(v, text, none) : -1;
        if (id < 0 || !oct__vocab_mergeable(v, id)) return;
        s->to = id;
        s->rank = v->rank[id];
    } else {
        const oct__merge *m = oct__merge_slot(v, s->id, t->id);
        if (!m || m->to < 0) return;
        s->to = m->to;
        s->rank = m->rank;
    }
}
/* Symbol i takes its next in. */
static void oct__pair_join(oct__encoder *e, uint32_t i) {
    oct__symbol *s = &e->symbols[i];
    s->id = s->to;
    s->next = e->symbols[s->next].next;
    e->symbols[s->next].prev = i;
}
static void oct__merge_walk(oct__encoder *e) {
    oct__symbol *s = e->symbols;
    for (;;) {
        uint32_t best = OCT__NO_SYMBOL, rank = OCT__RANK_NONE;
        for (uint32_t i = 0; i != e->n_symbols; i = s[i].next)
            if (s[i].rank < rank) {
                rank = s[i].rank;
                best = i;
            }
        if (best == OCT__NO_SYMBOL) return;
        oct__pair_join(e, best);
        oct__pair_look(e, best);
        if (s[best].prev != OCT__NO_SYMBOL) oct__pair_look(e, s[best].prev);
    }
}

/* Allocates the queue, empty.  False: no memory. */
static bool oct__queue_open(oct__encoder *e) {
    oct__queue *q = &e->queue;
    if (q->memory) return true;
    const size_t n = e->v->n_ranks;
    for (int pass = 0; pass < 2; pass++) {
        oct__arena a;
        memset(&a, 0, sizeof a);
        a.base = q->memory;
        a.cap = SIZE_MAX;
        size_t words = n;
        for (int k = 0; k < OCT__QUEUE_LEVELS; k++) {
            words = (words + 63) / 64;
            q->level[k] = OCT__TAKE(&a, uint64_t, words);
        }
        q->unsorted = OCT__TAKE(&a, uint64_t, (n + 63) / 64);
        const size_t bits = a.used;
        q->head = OCT__TAKE(&a, uint32_t, n);
        q->tail = OCT__TAKE(&a, uint32_t, n);
        if (a.failed) return false;
        if (pass == 0) {
            q->memory = (unsigned char *)oct__alloc(&e->v->allocator, a.used);
            if (!q->memory) return false;
        } else {
            memset(q->memory, 0, bits);
            memset(q->head, 0xFF, n * sizeof *q->head);
        }
    }
    return true;
}
static void oct__queue_mark(oct__queue *q, uint32_t rank) {
    for (int k = 0; k < OCT__QUEUE_LEVELS; k++, rank >>= 6) q->level[k][rank >> 6] |= (uint64_t)1 << (rank & 63);
}
static void oct__queue_unmark(oct__queue *q, uint32_t rank) {
    for (int k = 0; k < OCT__QUEUE_LEVELS; k++, rank >>= 6)
        if ((q->level[k][rank >> 6] &= ~((uint64_t)1 << (rank & 63))) != 0) return;
}
static unsigned oct__lowest_bit(uint64_t x) { return (unsigned)__builtin_ctzll(x); }
/* The best rank with a pair waiting; OCT__RANK_NONE: none. */
static uint32_t oct__queue_best(const oct__queue *q) {
    uint32_t at = 0;
    if (q->level[OCT__QUEUE_LEVELS - 1][0] == 0) return OCT__RANK_NONE;
    for (int k = OCT__QUEUE_LEVELS; k-- > 0;) at = at << 6 | oct__lowest_bit(q->level[k][at]);
    return at;
}
/* Puts pair i in its list.  While a rank is being worked off, new pairs of it arise beside the merge at its head, so
 * looking at the first few finds their place.  Others are appended, and sorted when their rank's turn comes. */
static void oct__queue_put(oct__encoder *e, uint32_t i) {
    oct__queue *q = &e->queue;
    oct__symbol *s = e->symbols;
    const uint32_t rank = s[i].rank;
    if (rank == OCT__RANK_NONE) return;
    const uint32_t head = q->head[rank], tail = q->tail[rank];
    uint32_t after = OCT__NO_SYMBOL;                              /* the one that i comes before */
    if (head == OCT__NO_SYMBOL) {
        oct__queue_mark(q, rank);
    } else if (i < tail) {
        after = head;
        for (int k = 0; k < 4 && after != OCT__NO_SYMBOL && after < i; k++) after = s[after].after;
        if (after != OCT__NO_SYMBOL && after < i) {
            after = OCT__NO_SYMBOL;
            q->unsorted[rank >> 6] |= (uint64_t)1 << (rank & 63);
        }
    }
    const uint32_t before = after != OCT__NO_SYMBOL ? s[after].before : head != OCT__NO_SYMBOL ? tail : OCT__NO_SYMBOL;
    s[i].before = before;
    s[i].after = after;
    if (before == OCT__NO_SYMBOL) q->head[rank] = i;
    else s[before].after = i;
    if (after == OCT__NO_SYMBOL) q->tail[rank] = i;
    else s[after].before = i;
}
static void oct__queue_drop(oct__encoder *e, uint32_t i) {
    oct__queue *q = &e->queue;
    oct__symbol *s = e->symbols;
    const uint32_t rank = s[i].rank;
    if (rank == OCT__RANK_NONE) return;
    if (s[i].before == OCT__NO_SYMBOL) q->head[rank] = s[i].after;
    else s[s[i].before].after = s[i].after;
    if (s[i].after == OCT__NO_SYMBOL) q->tail[rank] = s[i].before;
    else s[s[i].after].before = s[i].before;
    if (q->head[rank] == OCT__NO_SYMBOL) oct__queue_unmark(q, rank);
}
/* Two ascending lists, linked by after, to one. */
static uint32_t oct__list_merge(oct__symbol *s, uint32_t a, uint32_t b) {
    uint32_t head = OCT__NO_SYMBOL, last = OCT__NO_SYMBOL;
    while (a != OCT__NO_SYMBOL || b != OCT__NO_SYMBOL) {
        uint32_t *from = b == OCT__NO_SYMBOL || (a != OCT__NO_SYMBOL && a < b) ? &a : &b;
        const uint32_t i = *from;
        *from = s[i].after;
        if (last == OCT__NO_SYMBOL) head = i;
        else s[last].after = i;
        last = i;
    }
    return head;
}
/* Sorts a rank's list by place: its ascending stretches are merged two by two, as in a binary counter. */
static void oct__queue_sort(oct__encoder *e, uint32_t rank) {
    oct__queue *q = &e->queue;
    oct__symbol *s = e->symbols;
    uint32_t bins[32], list = q->head[rank], sorted = OCT__NO_SYMBOL;
    for (int k = 0; k < 32; k++) bins[k] = OCT__NO_SYMBOL;
    while (list != OCT__NO_SYMBOL) {
        uint32_t run = list, last = list;
        while (s[last].after != OCT__NO_SYMBOL && s[last].after > last) last = s[last].after;
        list = s[last].after;
        s[last].after = OCT__NO_SYMBOL;
        int k = 0;
        for (; k < 31 && bins[k] != OCT__NO_SYMBOL; k++) {
            run = oct__list_merge(s, bins[k], run);
            bins[k] = OCT__NO_SYMBOL;
        }
        bins[k] = oct__list_merge(s, bins[k], run);
    }
    for (int k = 0; k < 32; k++) sorted = oct__list_merge(s, sorted, bins[k]);
    uint32_t before = OCT__NO_SYMBOL;
    q->head[rank] = sorted;
    for (uint32_t i = sorted; i != OCT__NO_SYMBOL; i = s[i].after) {
        s[i].before = before;
        before = i;
    }
    q->tail[rank] = before;
    q->unsorted[rank >> 6] &= ~((uint64_t)1 << (rank & 63));
}
/* As oct__merge_walk, in time that grows with the run and not with its square. */
static void oct__merge_queue(oct__encoder *e) {
    oct__queue *q = &e->queue;
    oct__symbol *s = e->symbols;
    for (uint32_t i = 0; i < e->n_symbols; i++) oct__queue_put(e, i);
    for (uint32_t rank; (rank = oct__queue_best(q)) != OCT__RANK_NONE;) {
        if (q->unsorted[rank >> 6] >> (rank & 63) & 1) oct__queue_sort(e, rank);
        const uint32_t i = q->head[rank], prev = s[i].prev;
        oct__queue_drop(e, i);
        oct__queue_drop(e, s[i].next);
        oct__pair_join(e, i);
        oct__pair_look(e, i);
        if (prev != OCT__NO_SYMBOL) {
            oct__queue_drop(e, prev);
            oct__pair_look(e, prev);
            oct__queue_put(e, prev);
        }
        oct__queue_put(e, i);
    }
}

/* Ids of the bytes of text that is no token: byte tokens, else the unknown token once, else nothing. */
static int oct__encode_bytes(oct__encoder *e, const char *s, size_t n) {
    const oct__vocab *v = e->v;
    bool all = true;
    for (size_t i = 0; i < n; i++) all = all && v->byte_id[(unsigned char)s[i]] >= 0;
    if (!all) return v->unk >= 0 ? oct__ids_push(e->ids, v->unk) : 0;
    for (size_t i = 0; i < n; i++)
        if (oct__ids_push(e->ids, v->byte_id[(unsigned char)s[i]])) return 1;
    return 0;
}
/* Merges a run and appends its ids.  Non-zero: no memory. */
static int oct__encode_run(oct__encoder *e, const char *text, size_t len) {
    const oct__vocab *v = e->v;
    if (!oct__encoder_room(e, len + 1)) return 1;
    oct__symbol *s = e->symbols;
    uint32_t n = 0;
    for (size_t i = 0, k; i < len; i += k, n++) {
        int32_t cp;
        s[n].start = (uint32_t)i;
        if (v->spm) {
            oct_string c;
            c.data = text + i;
            c.len = k = (size_t)oct__utf8_decode(text + i, len - i, &cp);
            s[n].id = cp < 0 ? -1 : oct__vocab_find(v, c);
            if (s[n].id >= 0 && !oct__vocab_mergeable(v, s[n].id)) s[n].id = -1;
        } else {
            k = 1;
            s[n].id = v->byte_id[(unsigned char)text[i]];
        }
        s[n].prev = n - 1;                                        /* the first: OCT__NO_SYMBOL */
        s[n].next = n + 1;
    }
    s[n].start = (uint32_t)len;
    s[n].rank = OCT__RANK_NONE;
    e->n_symbols = n;
    e->run = text;
    if (n > OCT__RUN_SHORT && !oct__queue_open(e)) return 1;
    for (uint32_t i = 0; i < n; i++) oct__pair_look(e, i);
    if (n > OCT__RUN_SHORT) oct__merge_queue(e);
    else oct__merge_walk(e);
    for (uint32_t i = 0; i != n; i = s[i].next) {
        const size_t k = s[s[i].next].start - s[i].start;
        const bool is_token = s[i].id >= 0 && s[i].id < v->n_tokens;
        if (is_token ? oct__ids_push(e->ids, s[i].id) : !v->spm ? 0 :            /* BPE: a byte that is no token has no id */
                       oct__encode_bytes(e, text + s[i].start, k)) return 1;
    }
    return 0;
}

/* Bytes of the longest piece that text begins with, or more; at least 1.  Merging never crosses a place that lies in
 * the reach of no character before it, since all that it makes is pieces of the vocabulary. */
static size_t oct__vocab_reach(const oct__vocab *v, const char *text, size_t n) {
    uint64_t h = oct__text_hash(OCT__TEXT_HASH, text, 1);
    size_t reach = 1;
    for (size_t i = 1; i < n; i++) {
        if (i == OCT__REACH_MAX) return v->max_len > OCT__REACH_MAX ? OCT__MIN(n, v->max_len) : reach;
        h = (h ^ (unsigned char)text[i]) * 0x100000001B3u;
        const unsigned bits = oct__piece_bits(v, h);
        if (bits == 0) break;
        if (bits & 2) reach = i + 1;
    }
    return reach;
}
/* Cuts text at such places and merges what lies between. */
static int oct__encode_long(oct__encoder *e, const char *text, size_t len) {
    size_t begin = 0, reach = 0;
    for (size_t i = 0, k; i < len; i += k) {
        int32_t cp;
        k = e->v->spm ? (size_t)oct__utf8_decode(text + i, len - i, &cp) : 1;
        if (i >= reach && i > begin) {
            if (oct__encode_run(e, text + begin, i - begin)) return 1;
            begin = i;
        }
        reach = OCT__MAX(reach, i + OCT__MAX(k, oct__vocab_reach(e->v, text + i, len - i)));
    }
    return begin < len && oct__encode_run(e, text + begin, len - begin);
}

/* --- encoding ------------------------------------------------------------------------------------------------- */

/* Length of the white space character that s [len >= 1] begins with, as Unicode has it; 0: none. */
static size_t oct__space_len(const char *s, size_t len) {
    int32_t c;
    const int n = oct__utf8_decode(s, len, &c);
    const bool space = (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
                       (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
    return space ? (size_t)n : 0;
}
static oct_string oct__trim_left(oct_string s) {
    size_t n;
    while (s.len > 0 && (n = oct__space_len(s.data, s.len)) > 0) {
        s.data += n;
        s.len -= n;
    }
    return s;
}
static oct_string oct__trim_right(oct_string s) {
    while (s.len > 0) {
        size_t n = 1;                            /* back to the start of the last character */
        while (n < 4 && n < s.len && ((unsigned char)s.data[s.len - n] & 0xC0) == 0x80) n++;
        if (oct__space_len(s.data + s.len - n, n) != n) break;
        s.len -= n;
    }
    return s;
}

/* SPM: spaces become U+2581, with one in front if prefix.  A U+2581 of the user's own goes as bytes (where the
 * vocabulary has them): SentencePiece would make it a space, and text would not come back as it went in.  A file with tags
 * asks for the official tokenizer's ids, so there it is a space. */
static int oct__encode_spm(oct__encoder *e, const char *text, size_t len, bool prefix) {
    static const char block[] = "\xE2\x96\x81";
    const bool bytes = !e->v->tags && e->v->byte_id[0xE2] >= 0 && e->v->byte_id[0x96] >= 0 && e->v->byte_id[0x81] >= 0;
    e->text.len = 0;
    if (prefix && oct__buf_append(&e->text, block, 3)) return 1;
    for (size_t i = 0; i < len;) {
        size_t k = i;
        bool own = false;
        while (k < len && text[k] != ' ' && !(own = bytes && len - k >= 3 && memcmp(text + k, block, 3) == 0)) k++;
        if (oct__buf_append(&e->text, text + i, k - i)) return 1;
        if (own) {
            if (oct__encode_long(e, (const char *)e->text.data, e->text.len) || oct__encode_bytes(e, block, 3)) return 1;
            e->text.len = 0;
            k += 3;
        } else if (k < len) {
            if (oct__buf_append(&e->text, block, 3)) return 1;
            k++;
        }
        i = k;
    }
    return oct__encode_long(e, (const char *)e->text.data, e->text.len);
}

/* A word of byte-level BPE; llama3's rule takes a word that is a token as it is, whatever the merges say. */
static int oct__encode_word(oct__encoder *e, const char *text, size_t len) {
    if (e->v->pre.ignore_merges && len <= e->v->max_len) {
        oct_string t;
        e->word.len = 0;
        if (oct__buf_reserve(&e->word, 2 * len)) return 1;
        for (size_t i = 0; i < len; i++)
            e->word.len += (size_t)oct__utf8_encode(oct__byte_to_cp((unsigned char)text[i]), (char *)e->word.data + e->word.len);
        t.data = (const char *)e->word.data;
        t.len = e->word.len;
        const int id = oct__vocab_find(e->v, t);
        if (id >= 0 && oct__vocab_mergeable(e->v, id)) return oct__ids_push(e->ids, id);
    }
    return len <= OCT__RUN_SHORT ? oct__encode_run(e, text, len) : oct__encode_long(e, text, len);
}
static int oct__encode_words(oct__encoder *e, const char *s, size_t n, int words) {
    for (size_t i = 0, k; i < n; i += k) {
        switch (words) {
        case OCT__WORDS_QWEN2:  k = oct__word_qwen2(s + i, n - i, 1); break;
        case OCT__WORDS_LLAMA3: k = oct__word_qwen2(s + i, n - i, 3); break;
        default:                k = oct__word_gpt2(s + i, n - i);
        }
        if (words != OCT__WORDS_DEFAULT) {
            if (oct__encode_word(e, s + i, k)) return 1;
            continue;
        }
        for (size_t j = 0, m; j < k; j += m) {
            m = oct__subword_default(s + i + j, k - j);
            if (oct__encode_word(e, s + i + j, m)) return 1;
        }
    }
    return 0;
}
static int oct__encode_bpe(oct__encoder *e, const char *s, size_t n) {
    const int words = e->v->pre.words;
    if (e->v->pre.nfc && oct__nfc_matters(s, n)) {
        e->text.len = 0;
        if (oct__nfc(&e->text, s, n)) return 1;
        s = (const char *)e->text.data;
        n = e->text.len;
    }
    if (words != OCT__WORDS_DIGITS && words != OCT__WORDS_DEFAULT) return oct__encode_words(e, s, n, words);
    for (size_t i = 0, k; i < n; i += k) {
        k = words == OCT__WORDS_DIGITS ? oct__part_digits(s + i, n - i) : oct__part_default(s + i, n - i);
        if (oct__encode_words(e, s + i, k, words)) return 1;
    }
    return 0;
}

/* The longest special token that text begins with, control tokens only if asked for; -1: none. */
static int32_t oct__special_at(const oct__vocab *v, const char *text, size_t len, bool control) {
    uint32_t lo = v->special_from[(unsigned char)text[0]], hi = v->special_from[(unsigned char)text[0] + 1];
    int32_t best = -1;
    for (size_t k = 1; lo < hi; k++) {                            /* special[lo, hi) agree with text in k bytes */
        bool found = false;
        for (; lo < hi && oct__vocab_text(v, v->special[lo]).len == k; lo++)
            if (!found && (control || !oct__vocab_is_control(v, v->special[lo]))) {
                best = v->special[lo];
                found = true;
            }
        if (k == len) break;
        const unsigned char c = (unsigned char)text[k];
        for (int side = 0; side < 2; side++) {                    /* first those before c drop out, then those after it */
            uint32_t from = lo, to = hi;
            while (from < to) {
                const uint32_t mid = from + (to - from) / 2;
                const unsigned char x = (unsigned char)oct__vocab_text(v, v->special[mid]).data[k];
                if (side ? x <= c : x < c) from = mid + 1;
                else to = mid;
            }
            if (side) hi = from;
            else lo = from;
        }
    }
    return best;
}

enum {
    OCT__ENC_SPECIAL  = 1,       /* control tokens written out in the text become those tokens */
    OCT__ENC_CONTINUE = 2        /* the text goes on after earlier text: SPM puts no space in front */
};
static int oct__encode_fragment(oct__encoder *e, oct_string t, bool prefix) {
    if (t.len == 0) return 0;
    return e->v->spm ? oct__encode_spm(e, t.data, t.len, prefix && e->v->add_space_prefix) : oct__encode_bpe(e, t.data, t.len);
}
/* Tags.  transformers up to 4.32 adds tokens to a slow tokenizer as plain strings, and where one of those stands in a text
 * tokenize() strips the text on both of its sides (tokenization_utils.py), line breaks too; <s> and its like, which the
 * tokenizer brings along, strip nothing.  The pieces between are encoded one by one, each as a beginning. */
static oct_string oct__tag_trim(const char *text, size_t len, bool left, bool right) {
    oct_string t;
    t.data = text;
    t.len = len;
    if (left) t = oct__trim_left(t);
    return right ? oct__trim_right(t) : t;
}
/* Appends the ids of text to ids (untouched on failure).  Text is cut at special tokens, the longest at each place;
 * without OCT__ENC_SPECIAL at the user-defined ones alone.  BOS and EOS are the caller's business. */
static oct_result oct__vocab_encode(const oct__vocab *v, const char *text, size_t len, unsigned flags, oct__buf *ids, oct_error *err) {
    if (len > OCT__TEXT_MAX) return oct__fail(err, OCT_E_LIMIT, "text: %zu bytes, expected at most %zu", len, OCT__TEXT_MAX);
    oct__encoder e;
    memset(&e, 0, sizeof e);
    e.v = v;
    e.ids = ids;
    e.text.allocator = e.word.allocator = &v->allocator;
    const size_t ids_len = ids->len;
    bool prefix = (flags & OCT__ENC_CONTINUE) == 0, tag = false;
    size_t begin = 0;
    int bad = 0;
    for (size_t i = 0; i < len && v->n_special > 0 && !bad;) {
        const unsigned char c = (unsigned char)text[i];
        const int32_t id = v->special_from[c] == v->special_from[c + 1] ? -1 :
                           oct__special_at(v, text + i, len - i, (flags & OCT__ENC_SPECIAL) != 0);
        if (id < 0) {
            i++;
            continue;
        }
        const bool next = oct__vocab_is_tag(v, id);
        bad = oct__encode_fragment(&e, oct__tag_trim(text + begin, i - begin, tag, next), prefix) || oct__ids_push(ids, id);
        i += oct__vocab_text(v, id).len;
        begin = i;
        prefix = v->legacy;
        tag = next;
    }
    bad = bad || oct__encode_fragment(&e, oct__tag_trim(text + begin, len - begin, tag, false), prefix);
    oct__buf_free(&e.text);
    oct__buf_free(&e.word);
    oct__free(&v->allocator, e.symbols);
    oct__free(&v->allocator, e.queue.memory);
    if (!bad) return OCT_OK;
    ids->len = ids_len;
    return oct__fail(err, OCT_E_MEMORY, "out of memory for the tokens of %zu bytes of text", len);
}

/* --- decoding ------------------------------------------------------------------------------------------------- */

/* Bytes on their way out: counted always, written up to cap, tidied on the way if asked to. */
typedef struct oct__text_out {
    char  *out;
    size_t cap, len;
    bool   clean;
    char   held[8];            /* clean: the last few bytes, until it is known whether a space goes */
    int    n_held;
} oct__text_out;
static void oct__out_byte(oct__text_out *o, char c) {
    if (o->len < o->cap) o->out[o->len] = c;
    o->len++;
}
/* Moves the first held byte out, or drops it: the tidying that transformers applies to " ." " ?" " !" " ," " ' "
 * " n't" " 'm" " 's" " 've" " 're", each losing its space. */
static void oct__out_tidy(oct__text_out *o) {
    static const char tails[][4] = { ".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re" };
    int drop = 1;
    bool space = o->held[0] == ' ';
    if (space && o->n_held >= 3 && o->held[1] == '\'' && o->held[2] == ' ' &&
        !(o->n_held >= 4 && o->held[3] && strchr(".?!,", o->held[3]))) {
        oct__out_byte(o, '\'');                                   /* " ' ": both spaces go */
        drop = 3;
        space = false;
    } else {
        bool joins = false;
        for (size_t i = 0; space && i < OCT__UC_COUNT(tails); i++) {
            const int n = (int)strlen(tails[i]);
            joins = joins || (o->n_held > n && memcmp(o->held + 1, tails[i], (size_t)n) == 0);
        }
        if (!joins) oct__out_byte(o, o->held[0]);
    }
    o->n_held -= drop;
    memmove(o->held, o->held + drop, (size_t)o->n_held);
}
static void oct__out_put(oct__text_out *o, char c) {
    if (!o->clean) {
        oct__out_byte(o, c);
        return;
    }
    o->held[o->n_held++] = c;
    if (o->n_held == 5) oct__out_tidy(o);
}
static void oct__out_end(oct__text_out *o) {
    while (o->n_held > 0) oct__out_tidy(o);
}

/* Puts the bytes that id stands for, from byte skip on. */
static void oct__piece_put(const oct__vocab *v, int id, bool special, size_t skip, oct__text_out *o) {
    const oct_string t = oct__vocab_text(v, id);
    if (t.len == 0) return;
    const int type = oct__vocab_type(v, id);
    const int byte = type == OCT__TOKEN_BYTE ? oct__text_is_byte(t) : -1;
    if (v->flags[id] & (OCT__TF_CONTROL | OCT__TF_PAD) && !special) return;
    if (byte >= 0) {
        if (skip == 0) oct__out_put(o, (char)byte);
        return;
    }
    const bool as_is = type == OCT__TOKEN_USER || (v->flags[id] & (OCT__TF_CONTROL | OCT__TF_PAD)) != 0;
    for (size_t i = 0, n = 0; i < t.len; n++) {
        const size_t from = i;
        int c = -1;
        if (as_is) c = (unsigned char)t.data[i++];
        else if (!v->spm) c = oct__text_byte(t, &i);
        else if (t.len - i >= 3 && memcmp(t.data + i, "\xE2\x96\x81", 3) == 0) {
            c = ' ';
            i += 3;
        } else c = (unsigned char)t.data[i++];
        if (n < skip) continue;
        if (c >= 0) oct__out_put(o, (char)c);
        else for (size_t k = from; k < i; k++) oct__out_put(o, t.data[k]);      /* not byte-level text: as it stands */
    }
}
/* The bytes of one id, at most cap of them into out; returns how many there are.  Control tokens (and padding) have
 * none unless special.  A piece may end inside a UTF-8 character.  Ids that are none have no bytes. */
static int oct__vocab_piece(const oct__vocab *v, int id, bool special, char *out, size_t cap) {
    oct__text_out o;
    memset(&o, 0, sizeof o);
    o.out = out;
    o.cap = out ? cap : 0;
    oct__piece_put(v, id, special, 0, &o);
    return (int)o.len;
}
/* What an id follows: nothing that has a text, text, or a tag. */
enum { OCT__AFTER_NOTHING = 0, OCT__AFTER_TEXT, OCT__AFTER_TAG };
/* Puts the bytes of an id into a text that is put together from ids.  SPM loses the space that encoding put in front.  Tags
 * are shown whether or not control tokens are, as transformers' decode has it for tokens that were added: it decodes each
 * stretch of text between them by itself and joins everything with spaces. */
static void oct__piece_join(const oct__vocab *v, int id, bool special, int *after, oct__text_out *o) {
    const bool tag = oct__vocab_is_tag(v, id);
    size_t skip = 0;
    if (tag || *after != OCT__AFTER_TEXT) {
        char c = 0;
        if (oct__vocab_piece(v, id, special || tag, &c, 1) == 0) return;           /* control tokens in front do not count */
        if (tag ? *after != OCT__AFTER_NOTHING : *after == OCT__AFTER_TAG) oct__out_put(o, ' ');
        skip = !tag && v->spm && v->add_space_prefix && c == ' ';
    }
    oct__piece_put(v, id, special || tag, skip, o);
    *after = tag ? OCT__AFTER_TAG : OCT__AFTER_TEXT;
}
/* The text of ids [n]: at most cap bytes into text; returns how many there are.
 * flags: OCT_TEXT_SPECIAL shows control tokens, OCT_TEXT_CLEAN tidies where the tokenizer's own decoder does. */
static size_t oct__vocab_decode(const oct__vocab *v, const int32_t *ids, size_t n, unsigned flags, char *text, size_t cap) {
    oct__text_out o;
    memset(&o, 0, sizeof o);
    o.out = text;
    o.cap = text ? cap : 0;
    o.clean = (flags & OCT_TEXT_CLEAN) != 0 && v->pre.clean;
    int after = OCT__AFTER_NOTHING;
    for (size_t i = 0; i < n; i++) oct__piece_join(v, ids[i], (flags & OCT_TEXT_SPECIAL) != 0, &after, &o);
    oct__out_end(&o);
    return o.len;
}

/* ==========================================================================
 * MARK: - 8. tensor ops
 * ==========================================================================
 * What a decoder layer is made of, as plain C that splits the work, keeps the
 * order of sums, and calls the kernel table (5).  Nothing is allocated: every
 * task has scratch memory of its own.
 *
 * Order of sums: by weight type, row length and position alone, so that results
 * have the same bits for any number of threads and however a prompt is split.
 */
typedef struct oct__mat {
    int                  type, rows, cols;
    size_t               row_bytes;
    const unsigned char *data;             /* [rows, cols], as in the file; NULL: absent */
} oct__mat;

/* Everything a pass needs to compute; one per session. */
typedef struct oct__compute {
    const oct__kernels *k;
    oct__pool           pool;
    unsigned char      *scratch;           /* n_threads * scratch_bytes, aligned to OCT__ALIGN */
    size_t              scratch_bytes;     /* of one task: oct__scratch_bytes */
    bool                exact;             /* F32 activations with quantised weights and BF16 */
    oct_abort_fn        abort;
    void               *abort_user;
    int                 aborted;           /* sticky for a pass; tasks read it and return early */
} oct__compute;

#define OCT__TOKENS  600                   /* tokens that meet a panel before it is unpacked again; whole tiles of 4, 6, 8 and 12 */
#define OCT__PANELS  4                     /* panels that meet tokens together */
#define OCT__SPAN    512                   /* keys with a softmax of their own */
#define OCT__Q_ROWS  192                   /* rows of queries of an attention task: a tile of the cache is unpacked once for them */
#define OCT__Q_FEW   8                     /* so few rows read half floats where they lie */
#define OCT__SMALL   ((size_t)1 << 15)     /* numbers that are not worth waking threads for */

/* --- asking whether to stop ------------------------------------------------------ */

static bool oct__aborted(oct__compute *c) { return __atomic_load_n(&c->aborted, __ATOMIC_RELAXED) != 0; }
/* Only on the caller's thread. */
static bool oct__ask(oct__compute *c) {
    if (c->abort && !oct__aborted(c) && c->abort(c->abort_user)) __atomic_store_n(&c->aborted, 1, __ATOMIC_RELAXED);
    return oct__aborted(c);
}
/* Who runs task 0 of a foreign pool is not known: there only the space between two parallel regions is the caller's. */
static bool oct__foreign(const oct__compute *c) { return c->pool.parallel_for && c->pool.n_threads > 1; }
/* Called by task `task` before work of so many multiply-adds: true means return.  2^21 of them take milliseconds
 * at the very slowest (scalar, not optimised). */
static bool oct__poll(oct__compute *c, int task, size_t *work, size_t macs) {
    if (task == 0 && c->abort && !oct__foreign(c)) {
        *work += macs;
        if (*work >= (size_t)1 << 21) {
            *work = 0;
            return oct__ask(c);
        }
    }
    return oct__aborted(c);
}
/* Tokens of one parallel region: all, or few enough for the caller of a foreign pool to be asked in time. */
static int oct__region(const oct__compute *c, int n_tok) { return oct__foreign(c) && c->abort ? OCT__MIN(n_tok, 32) : n_tok; }

/* --- scratch memory of one task ------------------------------------------------------ */

typedef struct oct__mm_scratch {
    oct__panel     panel, panels[OCT__PANELS];          /* panel is panels[0] */
    float         *f;                      /* [PANELS][K_FLOAT, 16] */
    float         *rest;                   /* [PANELS][TOKENS, 16]: sums of the second int8 */
    float         *acc;                    /* [TOKENS, PANELS * 16] */
    unsigned char *rows;                   /* [16] parts of rows, where a matrix has fewer left */
} oct__mm_scratch;

static void oct__mm_scratch_take(oct__arena *a, oct__mm_scratch *s) {
    memset(s->panels, 0, sizeof s->panels);
    for (int i = 0; i < OCT__PANELS; i++) {
        s->panels[i].u = OCT__TAKE(a, unsigned char, 2 * (size_t)OCT__K_QUANT * OCT__PANEL);
        s->panels[i].s = OCT__TAKE(a, float, (size_t)OCT__K_QUANT / 16 * OCT__PANEL);
        s->panels[i].m = OCT__TAKE(a, float, (size_t)OCT__K_QUANT / 16 * OCT__PANEL);
    }
    s->panel = s->panels[0];
    s->f = OCT__TAKE(a, float, (size_t)OCT__PANELS * OCT__K_FLOAT * OCT__PANEL);
    s->rest = OCT__TAKE(a, float, (size_t)OCT__PANELS * OCT__TOKENS * OCT__PANEL);
    s->acc = OCT__TAKE(a, float, (size_t)OCT__TOKENS * OCT__PANELS * OCT__PANEL);
    s->rows = OCT__TAKE(a, unsigned char, (size_t)OCT__PANEL * OCT__K_FLOAT * sizeof(float));
}

/* Numbers of query rows lie in blocks: [Q_ROWS / Q_BLOCK][d64 / 64][Q_BLOCK, 64], so that kernels find a block's rows at
 * constant distances. */
typedef struct oct__att_scratch {
    float          *keys;                  /* [KEYS / 16][d32, 16] */
    float          *values;                /* [d32 / 16][KEYS, 16] */
    float          *scales;                /* [KEYS] of a Q8_0 cache */
    float          *q;                     /* [Q_ROWS, d_head] in blocks */
    float          *s;                     /* [Q_BLOCK, KEYS] */
    float          *acc, *out;             /* [Q_ROWS, d16] in blocks: of a span, of all */
    float          *max, *sum, *out_max, *out_sum;      /* [Q_ROWS] */
    int            *limit;                 /* [Q_ROWS] keys that a row may see */
} oct__att_scratch;

/* d_head in whole blocks of the Q8_0 cache, and in whole vectors. */
static size_t oct__d32(int d_head) { return ((size_t)d_head + 31) & ~(size_t)31; }
static size_t oct__d64(int d_head) { return ((size_t)d_head + 63) & ~(size_t)63; }
static size_t oct__d16(int d_head) { return ((size_t)d_head + 15) & ~(size_t)15; }

static void oct__att_scratch_take(oct__arena *a, oct__att_scratch *s, int d_head) {
    const size_t d32 = oct__d32(d_head), d64 = oct__d64(d_head), n = OCT__Q_ROWS;
    s->keys = OCT__TAKE(a, float, OCT__KEYS * d32);
    s->values = OCT__TAKE(a, float, OCT__KEYS * d32);
    s->scales = OCT__TAKE(a, float, OCT__KEYS);
    s->q = OCT__TAKE(a, float, n * d64);
    s->s = OCT__TAKE(a, float, OCT__Q_BLOCK * OCT__KEYS);
    s->acc = OCT__TAKE(a, float, n * d64);
    s->out = OCT__TAKE(a, float, n * d64);
    s->max = OCT__TAKE(a, float, n);
    s->sum = OCT__TAKE(a, float, n);
    s->out_max = OCT__TAKE(a, float, n);
    s->out_sum = OCT__TAKE(a, float, n);
    s->limit = OCT__TAKE(a, int, n);
}
/* Of one task: a matmul's or attention's.  Panels are unpacked in pieces of fixed size, so the length of rows does not
 * matter. */
static size_t oct__scratch_bytes(int max_cols, int d_head) {
    oct__att_scratch s;
    oct__mm_scratch mm;
    oct__arena a, b;
    OCT__UNUSED(max_cols);
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    oct__att_scratch_take(&a, &s, d_head);
    oct__mm_scratch_take(&b, &mm);
    return OCT__MAX(a.used, b.used);
}
static oct__arena oct__task_arena(const oct__compute *c, int task) {
    oct__arena a;
    a.base = c->scratch + (size_t)task * c->scratch_bytes;
    a.used = 0;
    a.cap = c->scratch_bytes;
    a.failed = 0;
    return a;
}

/* --- activations -------------------------------------------------------------------------- */

/* Rows as F32 and, where quantised weights will read them, as int8, made once for all of those.
 *
 * One scale for 32 numbers loses the small ones beside an outlier, and real networks have a few channels that are a
 * hundred times the others.  A group whose largest number is over twice the row's usual one therefore gets a second
 * int8: of what the first left over.  Those are multiplied group by group and token by token, into sums of their own that
 * are added at the end.  On SmolLM2-135M this lowers the logits' distance from F32 activations (1 - cosine) sixfold; on rows without
 * outliers it costs nothing. */
typedef struct oct__acts {
    const float *x;                        /* [n_tok, cols] */
    int          n_tok, cols;
    bool         quantised;
    uint32_t    *q;                        /* tiles of blocks */
    uint32_t    *rest;                     /* [n_tok][cols / 32]: a token's groups of this kind, as blocks of n = 1 */
    int32_t     *list;                     /* [n_tok, cols / 32]: which they are, ascending */
    int32_t     *ends;                     /* [n_tok, pieces + 1]: how many there are before each piece of k */
    float       *f;                        /* [n_tok / 12][cols, 12]: whole units of x for float panels; see oct__acts_pack */
    uint32_t    *bf16;                     /* units of at most 12 tokens: [cols / 2, 12] pairs in bf16, the last unit narrower */
    bool         packed, rounded;          /* f is made, bf16 is */
} oct__acts;

static void oct__acts_take(oct__arena *a, oct__acts *acts, int max_tok, int max_cols) {
    const size_t n = (size_t)max_tok, groups = ((size_t)max_cols + 31) / 32;
    memset(acts, 0, sizeof *acts);
    acts->q = OCT__TAKE(a, uint32_t, n * groups * OCT__Q_WIDE);
    acts->bf16 = acts->q ? acts->q + n * groups * OCT__Q_WORDS : NULL;   /* tables that are not `wide` leave 16 words a group */
    acts->rest = OCT__TAKE(a, uint32_t, n * groups * OCT__Q_WIDE);
    acts->list = OCT__TAKE(a, int32_t, n * groups);
    acts->ends = OCT__TAKE(a, int32_t, n * (groups / OCT__PIECE + 2));
    acts->f = OCT__TAKE(a, float, n * (size_t)max_cols);
}
/* Where group g begins in the tile of n tokens that begins with token t. */
static size_t oct__block_at(const oct__kernels *k, const oct__acts *acts, int t, int n, int g) {
    return ((size_t)t * (size_t)(acts->cols / 32) + (size_t)n * (size_t)g) * (size_t)k->words;
}
static size_t oct__pieces(int cols) { return ((size_t)cols + OCT__K_QUANT - 1) / OCT__K_QUANT; }
/* The tile that begins with token t, from piece i of k on. */
static oct__qtile oct__tile_at(const oct__kernels *k, const oct__acts *acts, int t, int i) {
    oct__qtile x;
    const size_t groups = (size_t)(acts->cols / 32), pieces = oct__pieces(acts->cols);
    x.n = OCT__MIN(k->tile, acts->n_tok - t);
    x.first = i * OCT__PIECE;
    x.x = acts->q + oct__block_at(k, acts, t, x.n, x.first);
    x.next = oct__block_at(k, acts, x.n, 0, 0);
    x.rest_step = groups * (size_t)k->words;
    x.list_step = groups;
    x.ends_step = pieces + 1;
    x.list = acts->list + (size_t)t * groups;
    x.ends = acts->ends + (size_t)t * x.ends_step + (size_t)i;
    x.rest = NULL;
    for (int j = 0; j < x.n; j++)
        if (acts->ends[(size_t)(t + j) * x.ends_step + pieces]) x.rest = acts->rest + (size_t)t * x.rest_step;
    return x;
}

/* The square root of the usual largest number of a group, times sqrt(2): larger roots are an outlier's.  Roots, so that
 * the outliers themselves hardly count. */
static float oct__rest_limit(const float *d /* [n_groups], step apart */, int n_groups, size_t step) {
    float sum = 0.0f;
    for (int g = 0; g < n_groups; g++) sum += sqrtf(d[(size_t)g * step]);
    return sum / (float)n_groups * 1.41421356f;
}
/* What int8 left of 32 numbers of token t in a block of n tokens: rest [32]. */
static void oct__rest_of(const uint32_t *block, const float *x, int t, int n, float *rest) {
    const float d = oct__bits_f32(block[OCT__Q_D * n + t]);
    for (int i = 0; i < 32; i++) rest[i] = x[i] - d * (float)(signed char)(block[i / 4 * n + t] >> i % 4 * 8 & 255u);
}
/* The second int8 of token t of a tile that begins with token t0 and has n. */
static void oct__acts_rest(const oct__kernels *k, oct__acts *acts, const uint32_t *tile, int t0, int t, int n) {
    const size_t groups = (size_t)(acts->cols / 32), step = (size_t)k->words * (size_t)n, row = (size_t)(t0 + t);
    const float *d = (const float *)(const void *)(tile + OCT__Q_D * n + t), *x = acts->x + row * (size_t)acts->cols;
    const float root = oct__rest_limit(d, (int)groups, step), limit = root * root;
    uint32_t *blocks = acts->rest + row * groups * (size_t)k->words;
    int32_t *list = acts->list + row * groups, *ends = acts->ends + row * (oct__pieces(acts->cols) + 1), n_rest = 0;
    float rest[32];
    for (size_t g = 0; g < groups; g++) {
        if (g % OCT__PIECE == 0) *ends++ = n_rest;
        if (!(d[g * step] > limit)) continue;
        oct__rest_of(tile + g * step, x + 32 * g, t, n, rest);
        k->quantise(rest, 1, blocks + (size_t)n_rest * (size_t)k->words, k->words, 0, 1);
        list[n_rest++] = (int32_t)g;
    }
    *ends = n_rest;
}
/* int8 of the tile that begins with token t0: a few groups of all its tokens at a time, whose blocks stay in the first cache. */
static void oct__acts_tile(const oct__kernels *k, oct__acts *acts, int t0) {
    enum { STEP = 8 };
    const int n = OCT__MIN(k->tile, acts->n_tok - t0), groups = acts->cols / 32;
    const float *x = acts->x + (size_t)t0 * (size_t)acts->cols;
    uint32_t *tile = acts->q + oct__block_at(k, acts, t0, n, 0);
    for (int g = 0; g < groups; g += STEP)
        for (int t = 0; t < n; t++)
            k->quantise(x + (size_t)t * (size_t)acts->cols + 32 * g, OCT__MIN(groups - g, STEP),
                        tile + (size_t)g * (size_t)k->words * (size_t)n, k->words, t, n);
    for (int t = 0; t < n; t++) oct__acts_rest(k, acts, tile, t0, t, n);
}

typedef struct oct__acts_run { oct__compute *c; oct__acts *acts; int counter; } oct__acts_run;
static void oct__acts_task(void *arg, int task) {
    oct__acts_run *run = (oct__acts_run *)arg;
    oct__acts *acts = run->acts;
    const oct__kernels *k = run->c->k;
    int i;
    OCT__UNUSED(task);
    while ((i = oct__fetch(&run->counter)) * k->tile < acts->n_tok) oct__acts_tile(k, acts, i * k->tile);
}
/* Run fn on all threads, or here where the work is small. */
static void oct__parallel_if(oct__compute *c, size_t work, oct_task_fn fn, void *arg) {
    if (work >= OCT__SMALL) oct__parallel(&c->pool, fn, arg);
    else fn(arg, 0);
}
static void oct__acts_set(oct__compute *c, oct__acts *acts, const float *x /* [n_tok, cols] */, int n_tok, int cols,
                          bool any_quantised_weight) {
    oct__acts_run run;
    acts->x = x;
    acts->n_tok = n_tok;
    acts->cols = cols;
    acts->packed = acts->rounded = false;
    acts->quantised = any_quantised_weight && !c->exact && cols % 32 == 0;
    if (!acts->quantised) return;
    run.c = c;
    run.acts = acts;
    run.counter = 0;
    oct__parallel_if(c, (size_t)n_tok * (size_t)cols, oct__acts_task, &run);
}

/* For float panels, tokens in units of 12 whose numbers lie side by side: a unit is one stream, where rows 4 or 8 KiB
 * apart would share a few sets of the cache and need a page each.  Tokens left over are read as they lie. */
static void oct__pack_task(void *arg, int task) {
    oct__acts_run *run = (oct__acts_run *)arg;
    const oct__acts *acts = run->acts;
    const size_t unit = (size_t)OCT__UNIT * (size_t)acts->cols;
    int i;
    OCT__UNUSED(task);
    while ((i = oct__fetch(&run->counter)) < acts->n_tok / OCT__UNIT)
        run->c->k->pack_f(acts->x + (size_t)i * unit, (size_t)acts->cols, acts->cols, acts->f + (size_t)i * unit);
}
static void oct__acts_pack(oct__compute *c, oct__acts *acts) {
    oct__acts_run run;
    run.c = c;
    run.acts = acts;
    run.counter = 0;
    acts->packed = true;
    oct__parallel_if(c, (size_t)acts->n_tok * (size_t)acts->cols, oct__pack_task, &run);
}
/* For panels of BF16 the same with all tokens: those left over form a narrower unit. */
static size_t oct__pairs(int cols) { return ((size_t)cols + 1) / 2; }
static void oct__round_task(void *arg, int task) {
    oct__acts_run *run = (oct__acts_run *)arg;
    const oct__acts *acts = run->acts;
    const size_t cols = (size_t)acts->cols;
    int t0;
    OCT__UNUSED(task);
    while ((t0 = oct__fetch(&run->counter) * OCT__UNIT) < acts->n_tok) {
        const int n = OCT__MIN(OCT__UNIT, acts->n_tok - t0);
        uint32_t *unit = acts->bf16 + (size_t)t0 * oct__pairs(acts->cols);
        for (int t = 0; t < n; t++) run->c->k->round_bf16(acts->x + (size_t)(t0 + t) * cols, acts->cols, unit + t, (size_t)n);
    }
}
static void oct__acts_round(oct__compute *c, oct__acts *acts) {
    oct__acts_run run;
    run.c = c;
    run.acts = acts;
    run.counter = 0;
    acts->rounded = true;
    oct__parallel_if(c, (size_t)acts->n_tok * (size_t)acts->cols, oct__round_task, &run);
}

/* --- matmul: y = x w^T + bias ------------------------------------------------------------------
 * Per panel of 16 rows: unpack a piece of k, multiply it with all tokens, next piece.  int8 where weights and
 * activations are quantised, F32 otherwise; BF16 weights by activations in bf16 where the table has that and `exact` does
 * not forbid it.  Sums: int8 by groups of 32 (or 16) in order, F32 and bf16 by pieces of 256. */
typedef struct oct__mm {
    const oct__mat *w;
    const oct__mat *gate;                  /* as w, of its type: y = silu(x gate^T) * x w^T; NULL: none; with it no bias */
    const float    *bias;                  /* [rows] or NULL */
    float          *y;                     /* [n_tok, y_stride] */
    size_t          y_stride;
} oct__mm;

/* Can a matmul take the two together, as gate and w? */
static bool oct__mm_gates(const oct__mat *gate, const float *gate_bias, const oct__mat *w, const float *bias) {
    return gate->data && gate->type == w->type && gate->rows == w->rows && gate->cols == w->cols && !gate_bias && !bias;
}

typedef struct oct__mm_run {
    oct__compute  *c;
    const oct__mm *jobs;
    int            n_jobs;
    oct__acts     *acts;                   /* what all jobs read; or, in oct__matmul_each, */
    oct__acts *const *each;                /* [n_jobs] what each of them reads */
    int            t0, t1;                 /* tokens of this region */
    int            n_panels, chunk, least; /* of all jobs; fetched at a time, at most and at least */
    int            counter;
} oct__mm_run;
/* Panels that a task fetches at once, the first being panel `first` of a job; they may go on in the next. */
typedef struct oct__mm_unit { int job, first, n; } oct__mm_unit;

static oct__acts *oct__mm_acts(const oct__mm_run *run, const oct__mm *job) {
    return run->each ? run->each[job - run->jobs] : run->acts;
}
static int oct__mm_panels(const oct__mat *w) { return w->rows / OCT__PANEL + (w->rows % OCT__PANEL != 0); }

/* Panel i of those that meet tokens together: its matrix and its first row.  With a gate, the gate's and w's take turns. */
static const oct__mat *oct__mm_mat(const oct__mm *job, int i) { return job->gate && i % 2 == 0 ? job->gate : job->w; }
static int oct__mm_first(const oct__mm *job, int row, int i) { return row + (job->gate ? i / 2 : i) * OCT__PANEL; }

/* Bytes of 16 rows (or of n rows and then the last one again, copied) from column k on. */
static const unsigned char *oct__mm_rows(const oct__mat *w, int row, int n, int k0, int k1, unsigned char *copy, size_t *row_bytes) {
    const size_t from = oct__row_bytes(w->type, k0), bytes = oct__row_bytes(w->type, k1 - k0);
    const unsigned char *p = w->data + (size_t)row * w->row_bytes + from;
    *row_bytes = w->row_bytes;
    if (n >= OCT__PANEL) return p;
    for (int r = 0; r < OCT__PANEL; r++) memcpy(copy + (size_t)r * bytes, p + (size_t)OCT__MIN(r, n - 1) * w->row_bytes, bytes);
    *row_bytes = bytes;
    return copy;
}
/* The next unit; n = 0: none is left.  Units become smaller towards the end, so that no thread has long to wait. */
static oct__mm_unit oct__mm_fetch(oct__mm_run *run) {
    oct__mm_unit u;
    int at = __atomic_load_n(&run->counter, __ATOMIC_RELAXED);
    do {
        const int left = run->n_panels - at, share = left / (2 * run->c->pool.n_threads);
        u.n = OCT__MIN(left, OCT__MAX(run->least, OCT__MIN(run->chunk, share)));
    } while (u.n > 0 && !__atomic_compare_exchange_n(&run->counter, &at, at + u.n, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    u.first = at;
    for (u.job = 0; u.n > 0 && u.first >= oct__mm_panels(run->jobs[u.job].w); u.job++) u.first -= oct__mm_panels(run->jobs[u.job].w);
    return u;
}
/* With few tokens weights come from memory, and sooner if they are asked for: while a unit is multiplied, the next one,
 * which is one run of bytes, is read ahead at the same pace.  Intel's prefetchers follow many pages at once but do not go
 * on from one to the next, so that eight runs side by side get 23 to 27 GB/s out of two Sapphire Rapids cores that read 19
 * in order.  Zen reads best in order, and loads wake its prefetchers where requests do not. */
static void oct__mm_ahead(const oct__mm_run *run, const oct__mm_unit *u, const oct__mm_unit *next, oct__panel *p) {
    p->ahead = NULL;
    if (next->n == 0) return;
    const oct__mat *w = run->jobs[next->job].w;
    const int rows = OCT__MIN(next->n * OCT__PANEL, w->rows - next->first * OCT__PANEL);
    const unsigned char *from = w->data + (size_t)next->first * OCT__PANEL * w->row_bytes;
    const size_t skip = (64 - ((uintptr_t)from & 63)) & 63, bytes = (size_t)rows * w->row_bytes;
    const size_t groups = (size_t)u->n * (size_t)OCT__MAX(1, oct__mm_acts(run, &run->jobs[u->job])->cols / 32);
    if (bytes < skip) return;
    p->ahead = from + skip;
    p->ahead_runs = oct__cpu_runs();
    p->ahead_run = (bytes - skip) / (size_t)p->ahead_runs & ~(size_t)63;
    p->ahead_at = 0;
    p->ahead_step = (p->ahead_run + groups - 1) / groups;
}
/* k numbers of a panel are done. */
static void oct__mm_went(oct__panel *p, int k) { p->ahead_at += p->ahead_step * (size_t)(k / 32); }
/* With many tokens: the piece of the weights that comes next, asked for while this one is multiplied.  It is a few lines of
 * many rows, each in a page of its own, and unpacking would wait for one after another. */
typedef struct oct__mm_soon {
    const unsigned char *row, *other;      /* what is asked for of the row that is reached; other: of the first of a second matrix */
    size_t row_bytes;
    int    n_rows, other_rows, lines, line;        /* rows left; lines of each, and of this one */
    int    step;                           /* lines to ask for at a time */
} oct__mm_soon;

static oct__mm_soon oct__mm_soon_at(const oct__mm *job, int row, int n_panels, int k0, int times) {
    oct__mm_soon s;
    const oct__mat *w = job->w;
    const int k1 = OCT__MIN(w->cols, k0 + OCT__K_QUANT);
    const size_t at = (size_t)row * w->row_bytes + oct__row_bytes(w->type, k0);
    s.row = w->data + at;
    s.other = job->gate ? job->gate->data + at : NULL;
    s.row_bytes = w->row_bytes;
    s.n_rows = OCT__MIN(oct__mm_first(job, 0, n_panels), w->rows - row);
    s.other_rows = job->gate ? s.n_rows : 0;
    s.lines = (int)(oct__row_bytes(w->type, k1 - k0) / 64 + 1);
    s.line = 0;
    s.step = ((s.n_rows + s.other_rows) * s.lines + times - 1) / times;
    return s;
}
/* After piece k0 of n_panels panels of a job comes the next of the same; after the last, what will probably be fetched. */
static oct__mm_soon oct__mm_soon_after(const oct__mm_run *run, const oct__mm *job, int row, int n_panels, int k0, int times) {
    int at = __atomic_load_n(&run->counter, __ATOMIC_RELAXED), j = 0;
    if (k0 + OCT__K_QUANT < job->w->cols) return oct__mm_soon_at(job, row, n_panels, k0 + OCT__K_QUANT, times);
    if (at >= run->n_panels) return oct__mm_soon_at(job, job->w->rows, 0, 0, times);
    for (; at >= oct__mm_panels(run->jobs[j].w); j++) at -= oct__mm_panels(run->jobs[j].w);
    return oct__mm_soon_at(&run->jobs[j], at * OCT__PANEL, n_panels, 0, times);
}
static void oct__mm_soon_ask(oct__mm_soon *s) {
    for (int i = 0; i < s->step && s->n_rows > 0; i++) {
        __builtin_prefetch(s->row + 64 * (size_t)s->line, 0, 2);
        if (++s->line < s->lines) continue;
        s->line = 0;
        s->row += s->row_bytes;
        if (--s->n_rows > 0) continue;
        s->row = s->other;
        s->n_rows = s->other_rows;
        s->other_rows = 0;
    }
}
/* Where n tokens' outputs will go: rows far apart, which no hardware foresees. */
static void oct__mm_out_ahead(const oct__mm *job, int row, int t0, int n) {
    const float *y = job->y + (size_t)t0 * job->y_stride + row;
    for (int t = 0; t < n; t++) __builtin_prefetch(y + (size_t)t * job->y_stride, 1);
}
/* n_rows outputs of n tokens: out of acc [n, 16 * n_panels] into y, with the bias. */
static void oct__mm_out(const oct__mm *job, const float *acc, size_t acc_stride, int row, int n_rows, int t0, int n) {
    const int ahead = n > OCT__TILE_MAX ? 8 : n;           /* a tile's are already asked for */
    for (int t = 0; t < n; t++) {
        float *y = job->y + (size_t)(t0 + t) * job->y_stride + row;
        const float *a = acc + (size_t)t * acc_stride;
        for (int r = 0; r < n_rows && t + ahead < n; r += OCT__PANEL) __builtin_prefetch(y + (size_t)ahead * job->y_stride + r, 1);
        if (!job->bias && n_rows == OCT__PANEL) memcpy(y, a, OCT__PANEL * sizeof *y);       /* the usual: no call */
        else if (!job->bias) memcpy(y, a, (size_t)n_rows * sizeof *y);
        else for (int r = 0; r < n_rows; r++) y[r] = a[r] + job->bias[row + r];
    }
}
/* Panel i of a piece of k, and the tile of tokens t .. of this block: acc and rest, and at the end y. */
static void oct__mm_int8_tile(const oct__mm_run *run, const oct__mm *job, const oct__mm_scratch *s, const oct__qtile *tile, int row, int i,
                              int t0, int t, int k0, int k1) {
    const oct__kernels *k = run->c->k;
    const size_t at = ((size_t)i * OCT__TOKENS + (size_t)t) * OCT__PANEL;
    const int first = oct__mm_first(job, row, i), n_acc = tile->n * OCT__PANEL;
    const bool last = k1 == job->w->cols;
    float *acc = s->acc + at, *rest = s->rest + at;
    if (k0 == 0) memset(acc, 0, (size_t)n_acc * sizeof *acc);
    if (k0 == 0 && tile->rest) memset(rest, 0, (size_t)n_acc * sizeof *rest);
    if (last && !(job->gate && i % 2)) oct__mm_out_ahead(job, first, t0 + t, tile->n);
    k->mul(&s->panels[i], k1 - k0, tile, acc, rest);
    if (!last) return;
    if (tile->rest) k->add(acc, rest, n_acc);
    if (job->gate && i % 2 == 0) return;
    if (job->gate) k->silu_mul(acc, acc - (size_t)OCT__TOKENS * OCT__PANEL, acc, n_acc);
    oct__mm_out(job, acc, OCT__PANEL, first, OCT__MIN(job->w->rows - first, OCT__PANEL), t0 + t, tile->n);
}
/* Up to OCT__PANELS panels in int8, tokens t0 .. t0 + n - 1 (t0 begins a tile): a tile comes into the first cache once for
 * all of them.  True: stop. */
static bool oct__mm_int8(const oct__mm_run *run, const oct__mm *job, oct__mm_scratch *s, int row, int n_panels, int t0, int n,
                         int task, size_t *work) {
    const oct__mat *w = job->w;
    const oct__kernels *k = run->c->k;
    const oct__acts *acts = oct__mm_acts(run, job);
    for (int k0 = 0; k0 < w->cols; k0 += OCT__K_QUANT) {
        const int k1 = OCT__MIN(w->cols, k0 + OCT__K_QUANT);
        if (oct__poll(run->c, task, work, (size_t)n * OCT__PANEL * (size_t)n_panels * (size_t)(k1 - k0))) return true;
        for (int i = 0; i < n_panels; i++) {
            size_t row_bytes;
            const int first = oct__mm_first(job, row, i), n_rows = OCT__MIN(w->rows - first, OCT__PANEL);
            const unsigned char *rows = oct__mm_rows(oct__mm_mat(job, i), first, n_rows, k0, k1, s->rows, &row_bytes);
            oct__panel *p = &s->panels[i], own = *p;
            *p = s->panel;
            p->u = own.u;
            p->s = own.s;
            p->m = own.m;
            k->unpack(w->type, rows, row_bytes, k1 - k0, p);
        }
        oct__mm_soon soon = oct__mm_soon_after(run, job, row, n_panels, k0, OCT__MAX(1, n * n_panels / k->tile));
        for (int t = 0, n_tile; t < n; t += n_tile) {
            oct__qtile tile = oct__tile_at(k, acts, t0 + t, k0 / OCT__K_QUANT);
            n_tile = tile.n;
            for (int i = 0; i < n_panels; i++, tile.next = 0) {
                if (n > 4) oct__mm_soon_ask(&soon);
                oct__mm_int8_tile(run, job, s, &tile, row, i, t0, t, k0, k1);
            }
        }
        oct__mm_went(&s->panel, k1 - k0);
    }
    return false;
}
/* Types with a kernel for one token; the others are unpacked as for many. */
static bool oct__mm_has_one(const oct__kernels *k, const oct__mat *w) {
    const int t = w->type;
    return k->mul_one && (t == OCT__Q4_0 || t == OCT__Q8_0 || t == OCT__Q4_K || t == OCT__Q5_K || t == OCT__Q6_K);
}
/* The same for one panel and one token. */
static bool oct__mm_one(const oct__mm_run *run, const oct__mm *job, oct__mm_scratch *s, int row, int t, int task, size_t *work) {
    const oct__mat *w = job->w;
    const oct__kernels *k = run->c->k;
    const int n_rows = OCT__MIN(w->rows - row, OCT__PANEL), step = n_rows < OCT__PANEL ? OCT__K_QUANT : w->cols;
    bool any = false;
    memset(s->acc, 0, OCT__PANEL * sizeof *s->acc);
    memset(s->rest, 0, OCT__PANEL * sizeof *s->rest);
    if (oct__poll(run->c, task, work, OCT__PANEL * (size_t)w->cols)) return true;
    for (int k0 = 0; k0 < w->cols; k0 += step) {
        const int k1 = OCT__MIN(w->cols, k0 + step);
        const oct__qtile tile = oct__tile_at(k, oct__mm_acts(run, job), t, k0 / OCT__K_QUANT);
        size_t row_bytes;
        const unsigned char *rows = oct__mm_rows(w, row, n_rows, k0, k1, s->rows, &row_bytes);
        k->mul_one(w->type, rows, row_bytes, k1 - k0, &tile, &s->panel, s->acc, s->rest);
        any = tile.rest != NULL;
        oct__mm_went(&s->panel, k1 - k0);
    }
    if (any) k->add(s->acc, s->rest, OCT__PANEL);
    oct__mm_out(job, s->acc, OCT__PANEL, row, n_rows, t, 1);
    return false;
}
/* Does this matrix meet F32 activations? */
static bool oct__mm_is_float(const oct__acts *acts, const oct__mat *w) { return !acts->quantised || oct__type(w->type)->computes != 2; }
/* Or the same in bf16? */
static bool oct__mm_is_bf16(const oct__compute *c, const oct__mat *w) {
    return w->type == OCT__BF16 && c->k->mul_bf16 && !c->exact;
}

/* The same for one panel of a float type and one token, each piece of k a chain of its own. */
static bool oct__mm_one_f(const oct__mm_run *run, const oct__mm *job, oct__mm_scratch *s, int row, int t, int task, size_t *work) {
    const oct__mat *w = job->w;
    const oct__kernels *k = run->c->k;
    const oct__acts *acts = oct__mm_acts(run, job);
    const int n_rows = OCT__MIN(w->rows - row, OCT__PANEL);
    float *sum = s->acc + OCT__PANEL;
    if (oct__poll(run->c, task, work, OCT__PANEL * (size_t)w->cols)) return true;
    for (int k0 = 0; k0 < w->cols; k0 += OCT__K_FLOAT) {
        const int k1 = OCT__MIN(w->cols, k0 + OCT__K_FLOAT);
        size_t row_bytes;
        const unsigned char *rows = oct__mm_rows(w, row, n_rows, k0, k1, s->rows, &row_bytes);
        float *to = k0 == 0 ? s->acc : sum;
        memset(to, 0, OCT__PANEL * sizeof *to);
        if (oct__mm_is_bf16(run->c, w))
            k->one_bf16(rows, row_bytes, k1 - k0, acts->bf16 + (size_t)t * oct__pairs(acts->cols) + k0 / 2, &s->panel, to);
        else k->one_f(w->type, rows, row_bytes, k1 - k0, acts->x + (size_t)t * (size_t)acts->cols + k0, &s->panel, to);
        if (k0) k->add(s->acc, sum, OCT__PANEL);
        oct__mm_went(&s->panel, k1 - k0);
    }
    oct__mm_out(job, s->acc, OCT__PANEL, row, n_rows, t, 1);
    return false;
}

/* The sums of n_panels panels, and what gates make of them, to y. */
static void oct__mm_float_out(const oct__mm_run *run, const oct__mm *job, const oct__mm_scratch *s, int row, int n_panels, int t0,
                              int n) {
    const size_t stride = (size_t)n_panels * OCT__PANEL;
    for (int t = 0; job->gate && t < n; t++)
        for (int i = 0; i < n_panels; i += 2) {
            float *acc = s->acc + (size_t)t * stride, *gate = acc + i * OCT__PANEL;
            run->c->k->silu_mul(acc + i / 2 * OCT__PANEL, gate, gate + OCT__PANEL, OCT__PANEL);
        }
    oct__mm_out(job, s->acc, stride, row, OCT__MIN(job->w->rows - row, oct__mm_first(job, 0, n_panels)), t0, n);
}
/* Up to OCT__PANELS panels in F32, tokens t0 .. t0 + n - 1, t0 a multiple of 12.  Two units at a time meet every panel. */
static bool oct__mm_float(const oct__mm_run *run, const oct__mm *job, oct__mm_scratch *s, int row, int n_panels, int t0, int n,
                          int task, size_t *work) {
    const oct__mat *w = job->w;
    const oct__kernels *k = run->c->k;
    const oct__acts *acts = oct__mm_acts(run, job);
    const int units = acts->packed ? n / OCT__UNIT : 0, rest = n - units * OCT__UNIT;
    const size_t piece = (size_t)OCT__K_FLOAT * OCT__PANEL, stride = (size_t)n_panels * OCT__PANEL, cols = (size_t)acts->cols;
    for (int k0 = 0; k0 < w->cols; k0 += OCT__K_FLOAT) {
        const int k1 = OCT__MIN(w->cols, k0 + OCT__K_FLOAT), mode = k0 == 0 ? OCT__MUL_SET : OCT__MUL_ADD;
        if (oct__poll(run->c, task, work, (size_t)n * stride * (size_t)(k1 - k0))) return true;
        for (int i = 0; i < n_panels; i++) {
            size_t row_bytes;
            const int first = oct__mm_first(job, row, i), have = OCT__MIN(w->rows - first, OCT__PANEL);
            const unsigned char *rows = oct__mm_rows(oct__mm_mat(job, i), first, have, k0, k1, s->rows, &row_bytes);
            k->unpack_f(w->type, rows, row_bytes, k1 - k0, &s->panel, s->f + (size_t)i * piece);
            oct__mm_went(&s->panel, k1 - k0);
        }
        for (int u = 0; u < units; u += 2)
            for (int i = 0; i < n_panels; i++)
                k->mul_units(s->f + (size_t)i * piece, k1 - k0, acts->f + ((size_t)t0 + (size_t)u * OCT__UNIT) * cols + (size_t)k0 * OCT__UNIT,
                             cols * OCT__UNIT, OCT__MIN(units - u, 2), s->acc + (size_t)u * OCT__UNIT * stride + i * OCT__PANEL, stride, mode);
        if (rest)
            k->mul_f(s->f, piece, n_panels, k1 - k0, acts->x + (size_t)(t0 + n - rest) * cols + k0, cols, rest,
                     s->acc + (size_t)(n - rest) * stride, stride, mode);
    }
    oct__mm_float_out(run, job, s, row, n_panels, t0, n);
    return false;
}
/* The same in bf16, one unit at a time. */
static bool oct__mm_bf16(const oct__mm_run *run, const oct__mm *job, oct__mm_scratch *s, int row, int n_panels, int t0, int n,
                         int task, size_t *work) {
    const oct__mat *w = job->w;
    const oct__kernels *k = run->c->k;
    const oct__acts *acts = oct__mm_acts(run, job);
    const size_t piece = (size_t)OCT__K_FLOAT / 2 * OCT__PANEL, stride = (size_t)n_panels * OCT__PANEL;
    uint32_t *panels = (uint32_t *)(void *)s->f;                         /* [n_panels][K_FLOAT / 2, 16] */
    for (int k0 = 0; k0 < w->cols; k0 += OCT__K_FLOAT) {
        const int k1 = OCT__MIN(w->cols, k0 + OCT__K_FLOAT), mode = k0 == 0 ? OCT__MUL_SET : OCT__MUL_ADD;
        if (oct__poll(run->c, task, work, (size_t)n * stride * (size_t)(k1 - k0))) return true;
        for (int i = 0; i < n_panels; i++) {
            size_t row_bytes;
            const int first = oct__mm_first(job, row, i), have = OCT__MIN(w->rows - first, OCT__PANEL);
            const unsigned char *rows = oct__mm_rows(oct__mm_mat(job, i), first, have, k0, k1, s->rows, &row_bytes);
            k->unpack_bf16(rows, row_bytes, k1 - k0, &s->panel, panels + (size_t)i * piece);
            oct__mm_went(&s->panel, k1 - k0);
        }
        for (int t = 0; t < n; t += OCT__UNIT) {
            const int width = OCT__MIN(OCT__UNIT, n - t);
            const uint32_t *x = acts->bf16 + (size_t)(t0 + t) * oct__pairs(acts->cols) + (size_t)(k0 / 2) * (size_t)width;
            k->mul_bf16(panels, piece, n_panels, (int)oct__pairs(k1 - k0), x, width, s->acc + (size_t)t * stride, stride, mode);
        }
    }
    oct__mm_float_out(run, job, s, row, n_panels, t0, n);
    return false;
}
static void oct__mm_task(void *arg, int task) {
    oct__mm_run *run = (oct__mm_run *)arg;
    oct__arena a = oct__task_arena(run->c, task);
    oct__mm_scratch s;
    oct__mm_unit u;
    size_t work = 0;
    const bool few = run->t1 - run->t0 <= 4;
    oct__mm_scratch_take(&a, &s);
    for (oct__mm_unit next = oct__mm_fetch(run); next.n > 0; ) {
        int j = next.job, first = next.first, left = next.n;
        u = next;
        if (few) next = oct__mm_fetch(run);
        if (few) oct__mm_ahead(run, &u, &next, &s.panel);
        while (left > 0) {
            const oct__mm *job = &run->jobs[j];
            const oct__type_info *type = oct__type(job->w->type);
            const oct__acts *acts = oct__mm_acts(run, job);
            const int have = oct__mm_panels(job->w) - first, t1 = OCT__MIN(run->t1, acts->n_tok), n_tok = t1 - run->t0;
            const bool int8 = !oct__mm_is_float(acts, job->w);
            const bool one_f = n_tok == 1 && type->computes == 1 && !job->gate;
            const int most = job->gate ? OCT__PANELS / 2 : (int8 && n_tok <= 4) || one_f ? 1 : OCT__PANELS;
            const int step = OCT__MIN(most, OCT__MIN(left, have)), n_panels = job->gate ? 2 * step : step;
            /* equal blocks of tokens, whole tiles of every kind */
            const int blocks = (n_tok + OCT__TOKENS - 1) / OCT__TOKENS, block = (n_tok / OCT__MAX(blocks, 1) + 24) / 24 * 24;
            s.panel.group = type->group;
            s.panel.zero_shift = type->zero_shift;
            s.panel.u_max = type->u_max;
            for (int t = run->t0; t < t1; t += block) {
                const int n = OCT__MIN(block, t1 - t), row = first * OCT__PANEL;
                if (int8 && n == 1 && !job->gate && oct__mm_has_one(run->c->k, job->w) ? oct__mm_one(run, job, &s, row, t, task, &work)
                    : int8 ? oct__mm_int8(run, job, &s, row, n_panels, t, n, task, &work)
                    : one_f ? oct__mm_one_f(run, job, &s, row, t, task, &work)
                    : oct__mm_is_bf16(run->c, job->w) ? oct__mm_bf16(run, job, &s, row, n_panels, t, n, task, &work)
                           : oct__mm_float(run, job, &s, row, n_panels, t, n, task, &work)) return;
            }
            first += step;
            left -= step;
            if (first == oct__mm_panels(job->w)) {
                first = 0;
                j++;
            }
        }
        if (!few) next = oct__mm_fetch(run);
    }
}
/* One parallel region for all jobs, n_jobs >= 1: all read acts, or job i reads each[i], of any number of tokens. */
static void oct__mm_start(oct__compute *c, const oct__mm *jobs, int n_jobs, oct__acts *acts_of_all, oct__acts *const *each) {
    oct__mm_run all, *run = &all;
    all.c = c;
    all.jobs = jobs;
    all.n_jobs = n_jobs;
    all.acts = acts_of_all;
    all.each = each;
    int n_tok = 0;                         /* the most that a job has */
    run->n_panels = 0;
    for (int j = 0; j < run->n_jobs; j++) {
        oct__acts *acts = oct__mm_acts(run, &run->jobs[j]);
        run->n_panels += oct__mm_panels(run->jobs[j].w);
        n_tok = OCT__MAX(n_tok, acts->n_tok);
        const bool bf16 = oct__mm_is_bf16(c, run->jobs[j].w);
        if (bf16 && !acts->rounded) oct__acts_round(c, acts);
        if (acts->n_tok >= OCT__UNIT && !acts->packed && !bf16 && oct__mm_is_float(acts, run->jobs[j].w)) oct__acts_pack(c, acts);
    }
    /* a whole number of tiles: 48 is one of 4, 6, 8 and 12 */
    const int region = oct__region(c, n_tok) == n_tok ? n_tok : 48;
    /* with few tokens, about 128 KiB; else what meets tokens together */
    const size_t panel_bytes = OCT__PANEL * run->jobs[0].w->row_bytes;
    run->chunk = OCT__MAX(1, OCT__MIN(OCT__PANELS, run->n_panels / (c->pool.n_threads * 4)));
    run->least = run->chunk;
    if (n_tok <= 4) {
        run->chunk = OCT__MAX(2, (int)(((size_t)1 << 17) / panel_bytes + 1) & ~1);
        run->least = (int)OCT__MAX(1, ((size_t)1 << 14) / panel_bytes);
    }
    for (run->t0 = 0; run->t0 < n_tok; run->t0 = run->t1) {
        run->t1 = OCT__MIN(run->t0 + region, n_tok);
        run->counter = 0;
        if (oct__foreign(c) ? oct__ask(c) : oct__aborted(c)) return;
        oct__parallel(&c->pool, oct__mm_task, run);
    }
}
/* All jobs read acts.  An aborted pass leaves y unfinished. */
static void oct__matmul(oct__compute *c, const oct__mm *jobs, int n_jobs, oct__acts *acts) { oct__mm_start(c, jobs, n_jobs, acts, NULL); }
static void oct__matmul_each(oct__compute *c, const oct__mm *jobs, int n_jobs, oct__acts *const *acts) {
    oct__mm_start(c, jobs, n_jobs, NULL, acts);
}

/* --- norm, rope, activations, sums ------------------------------------------------------------------ */

enum { OCT__OP_NORM, OCT__OP_ROPE, OCT__OP_SILU_MUL, OCT__OP_GELU, OCT__OP_ADD };
typedef struct oct__op_run {
    const oct__kernels *k;
    int          op, kind;
    float       *y;
    const float *x, *w, *b;
    float        eps;
    int          n_head, d_head, n_rot;
    size_t       rows, cols, stride, per;       /* per: rows fetched at a time */
    int          counter;
} oct__op_run;

/* One head's first n_rot numbers are turned; pairs are neighbours, or (neox) half of n_rot apart. */
static void oct__rope_head(float *x, const float *cs /* [n_rot / 2, 2] */, int n_rot, bool neox) {
    const int half = n_rot / 2, step = neox ? 1 : 2, other = neox ? half : 1;
    for (int i = 0; i < half; i++) {
        float *p = x + i * step;
        const float a = p[0], b = p[other], c = cs[2 * i], s = cs[2 * i + 1];
        p[0] = a * c - b * s;
        p[other] = a * s + b * c;
    }
}
static void oct__op_row(const oct__op_run *r, size_t row) {
    const size_t at = row * r->stride;
    const int n = (int)r->cols;
    switch (r->op) {
    case OCT__OP_NORM: r->k->norm(r->y + at, r->x + at, r->w, r->b, n, r->eps, r->kind); break;
    case OCT__OP_SILU_MUL: r->k->silu_mul(r->y + at, r->x + at, r->w + at, n); break;
    case OCT__OP_GELU: r->k->gelu(r->y + at, r->x + at, n, r->kind); break;
    case OCT__OP_ADD:  r->k->add(r->y + at, r->x + at, n); break;
    default:
        for (int h = 0; h < r->n_head; h++) oct__rope_head(r->y + at + (size_t)h * (size_t)r->d_head, r->w + row * (size_t)r->n_rot, r->n_rot, r->kind != 0);
        break;
    }
}
static void oct__op_task(void *arg, int task) {
    oct__op_run *r = (oct__op_run *)arg;
    size_t i;
    OCT__UNUSED(task);
    while ((i = (size_t)oct__fetch(&r->counter) * r->per) < r->rows)
        for (size_t row = i; row < OCT__MIN(i + r->per, r->rows); row++) oct__op_row(r, row);
}
static void oct__op_init(oct__op_run *r, const oct__compute *c, int op, float *y, const float *x, const float *w) {
    memset(r, 0, sizeof *r);
    r->k = c->k;
    r->op = op;
    r->y = y;
    r->x = x;
    r->w = w;
    r->per = 1;
}
/* n numbers, each on its own: in rows of 4096, and one for the rest.  Whole vectors see the same numbers as ever. */
static void oct__op_flat(oct__compute *c, oct__op_run *r, size_t n) {
    const size_t cols = 4096, rest = n % cols;
    r->cols = r->stride = cols;
    r->rows = n / cols;
    if (r->rows) oct__parallel_if(c, n, oct__op_task, r);
    if (!rest) return;
    r->cols = rest;
    oct__op_row(r, n / cols);
}
/* y = (x - mean) / sqrt(variance + eps) * w + b by rows, or with rms x / sqrt(mean of squares + eps) * w + b.
 * y may be x; w and b may be NULL. */
static void oct__norm(oct__compute *c, float *y, const float *x, int n_tok, int n_embd, const float *w /* [n_embd] */,
                      const float *b /* [n_embd] */, float eps, bool rms) {
    oct__op_run r;
    oct__op_init(&r, c, OCT__OP_NORM, y, x, w);
    r.b = b;
    r.eps = eps;
    r.kind = rms;
    r.rows = (size_t)n_tok;
    r.cols = r.stride = (size_t)n_embd;
    oct__parallel_if(c, r.rows * r.cols, oct__op_task, &r);
}
/* Turns the heads of x [n_tok, n_head, d_head], tokens `stride` floats apart, by the angles in cs [n_tok, n_rot / 2, 2]. */
static void oct__rope(oct__compute *c, float *x, int n_tok, int n_head, int d_head, size_t stride, const float *cs, int n_rot, bool neox) {
    oct__op_run r;
    oct__op_init(&r, c, OCT__OP_ROPE, x, NULL, cs);
    r.rows = (size_t)n_tok;
    r.stride = stride;
    r.n_head = n_head;
    r.d_head = d_head;
    r.n_rot = n_rot;
    r.kind = neox;
    oct__parallel_if(c, (size_t)n_tok * (size_t)n_head * (size_t)n_rot, oct__op_task, &r);
}
/* y = silu(gate) * up; y may be either. */
static void oct__silu_mul(oct__compute *c, float *y, const float *gate, const float *up, size_t n) {
    oct__op_run r;
    oct__op_init(&r, c, OCT__OP_SILU_MUL, y, gate, up);
    oct__op_flat(c, &r, n);
}
/* y = gelu(x), kind OCT__GELU_...; y may be x. */
static void oct__gelu(oct__compute *c, float *y, const float *x, size_t n, int kind) {
    oct__op_run r;
    oct__op_init(&r, c, OCT__OP_GELU, y, x, NULL);
    r.kind = kind;
    oct__op_flat(c, &r, n);
}
/* y += x */
static void oct__add_rows(oct__compute *c, float *y, const float *x, size_t n) {
    oct__op_run r;
    oct__op_init(&r, c, OCT__OP_ADD, y, x, NULL);
    oct__op_flat(c, &r, n);
}

/* --- KV cache -------------------------------------------------------------------------------------------- */

/* Of one layer.  A head's keys and values lie in tiles of 64 positions, laid out as attention multiplies them: panels of
 * 16 numbers side by side, so that nothing is ever turned around.
 *   keys, F32 and F16:  [KEYS / 16][d_head][16 positions]
 *   values:             [d16 / 16][KEYS][16 numbers]
 *   keys, Q8_0:         [KEYS / 16][d32 / 32] of { scales [16 positions], bytes [32][16 positions] }
 *   values:             [d32 / 32] of { scales [KEYS], bytes [2][KEYS][16 numbers] }
 * What no position has been stored in is left as it was found. */
typedef struct oct__kv {
    oct_kv_type    type;
    int            n_ctx, n_kv, d_head;
    size_t         k_bytes, v_bytes;       /* of a head: whole tiles */
    unsigned char *k, *v;                  /* [n_kv, k_bytes], [n_kv, v_bytes] */
} oct__kv;

/* A position's keys or values of one head by themselves, as snapshots have them.  Q8_0: whole blocks of 32, the last one
 * filled up with zeros. */
static size_t oct__kv_row_bytes(oct_kv_type type, int d_head) {
    return type == OCT_KV_F32 ? 4 * (size_t)d_head : type == OCT_KV_F16 ? 2 * (size_t)d_head : oct__d32(d_head) / 32 * 34;
}
/* All but where the bytes are. */
static void oct__kv_init(oct__kv *kv, oct_kv_type type, int n_ctx, int n_kv, int d_head) {
    const size_t n = ((size_t)n_ctx + OCT__KEYS - 1) / OCT__KEYS * OCT__KEYS;
    memset(kv, 0, sizeof *kv);
    kv->type = type;
    kv->n_ctx = n_ctx;
    kv->n_kv = n_kv;
    kv->d_head = d_head;
    kv->k_bytes = n * oct__kv_row_bytes(type, d_head);
    kv->v_bytes = n * oct__kv_row_bytes(type, (int)oct__d16(d_head));
}
/* The tile of head h that holds position pos. */
static unsigned char *oct__kv_tile(const oct__kv *kv, bool values, int h, int pos) {
    const int d = values ? (int)oct__d16(kv->d_head) : kv->d_head;
    return (values ? kv->v + (size_t)h * kv->v_bytes : kv->k + (size_t)h * kv->k_bytes) +
           (size_t)(pos / OCT__KEYS) * OCT__KEYS * oct__kv_row_bytes(kv->type, d);
}
/* n numbers of `size` bytes between a row, where they follow each other, and the cache, where they stand `step` apart. */
static void oct__kv_move(unsigned char *cache, size_t step, unsigned char *row, size_t size, int n, bool store) {
    unsigned char *to = store ? cache : row;
    const unsigned char *from = store ? row : cache;
    const size_t t = store ? step : size, f = store ? size : step;
    if (step == size) memcpy(to, from, (size_t)n * size);
    else if (size == 1) for (int i = 0; i < n; i++) to[(size_t)i * t] = from[(size_t)i * f];
    else if (size == 2) for (int i = 0; i < n; i++) memcpy(to + (size_t)i * t, from + (size_t)i * f, 2);
    else for (int i = 0; i < n; i++) memcpy(to + (size_t)i * t, from + (size_t)i * f, 4);
}
/* Numbers i .. i + 31 (i in whole blocks of 32; fewer at the end) of a position: between the cache and a piece of a row.
 * Returns the bytes of the piece. */
static size_t oct__kv_piece(const oct__kv *kv, bool values, int h, int pos, int i, unsigned char *row, bool store) {
    const size_t key = (size_t)pos % OCT__KEYS, panel = key / OCT__PANEL, lane = key % OCT__PANEL;
    const bool q8 = kv->type == OCT_KV_Q8_0;
    const size_t size = q8 ? 1 : kv->type == OCT_KV_F16 ? 2 : 4, step = OCT__PANEL * size;
    const int n = q8 ? 32 : OCT__MIN(32, kv->d_head - i);
    unsigned char *tile = oct__kv_tile(kv, values, h, pos);
    if (q8) {
        const size_t per = values ? OCT__KEYS : OCT__PANEL, at = values ? key : lane;   /* positions of a block */
        tile += ((values ? 0 : panel * (oct__d32(kv->d_head) / 32)) + (size_t)i / 32) * per * 34;
        oct__kv_move(tile + 2 * at, 2, row, 2, 1, store);
        tile += 2 * per;
        row += 2;
    } else {
        tile += values ? (size_t)i * OCT__KEYS * size : (panel * (size_t)kv->d_head + (size_t)i) * step;
    }
    if (!values) oct__kv_move(tile + lane * size, step, row, size, n, store);
    else
        for (int j = 0; j < n; j += OCT__PANEL)
            oct__kv_move(tile + ((size_t)j * OCT__KEYS + key * OCT__PANEL) * size, size, row + (size_t)j * size, size,
                         OCT__MIN(OCT__PANEL, n - j), store);
    return (size_t)n * size + (q8 ? 2 : 0);
}
/* A whole row to the cache (store) or from it; returns its bytes. */
static size_t oct__kv_row(const oct__kv *kv, bool values, int h, int pos, unsigned char *row, bool store) {
    size_t at = 0;
    for (int i = 0; i < kv->d_head; i += 32) at += oct__kv_piece(kv, values, h, pos, i, row + at, store);
    return at;
}
/* As the file format has it; integers come by adding 1.5 * 2^23, which no x can overflow. */
static void oct__kv_pack_q8_0(const float *x, unsigned char *y, int n) {
    for (int i = 0; i < n; i += 32, y += 34) {
        const int m = OCT__MIN(32, n - i);
        float amax = 0.0f;
        for (int j = 0; j < m; j++) amax = OCT__MAX(amax, fabsf(x[i + j]));
        const float d = amax / 127.0f, inverse = amax > 1e-30f ? 127.0f / amax : 0.0f;
        const uint16_t h = oct__f32_to_f16(d);
        memcpy(y, &h, sizeof h);
        for (int j = 0; j < 32; j++)
            y[2 + j] = j < m ? (unsigned char)(oct__f32_bits(x[i + j] * inverse + 12582912.0f) & 255u) : 0;
    }
}
/* Numbers of a row -> the row's bytes. */
static void oct__kv_pack(const oct__kernels *k, oct_kv_type type, const float *x, unsigned char *y, int n) {
    if (type == OCT_KV_F32) memcpy(y, x, (size_t)n * sizeof *x);
    else if (type == OCT_KV_F16) k->to_f16(x, (uint16_t *)(void *)y, n);
    else oct__kv_pack_q8_0(x, y, n);
}

typedef struct oct__kv_run {
    const oct__kernels *k;
    const oct__kv      *kv;
    const float        *keys, *values;     /* [n_tok][n_kv, d_head], tokens `stride` floats apart */
    size_t              stride;
    int                 pos, n_tok, counter;
} oct__kv_run;

/* Fetches 16 positions (a panel of keys) of all heads. */
static void oct__kv_task(void *arg, int task) {
    oct__kv_run *run = (oct__kv_run *)arg;
    const oct__kv *kv = run->kv;
    const int first = run->pos / OCT__PANEL * OCT__PANEL, end = run->pos + run->n_tok;
    float piece[32];                       /* 32 numbers in any of the types, and aligned */
    unsigned char *bytes = (unsigned char *)piece;
    int from;
    OCT__UNUSED(task);
    while ((from = first + oct__fetch(&run->counter) * OCT__PANEL) < end)
        for (int h = 0; h < kv->n_kv; h++)
            for (int pos = OCT__MAX(from, run->pos); pos < OCT__MIN(from + OCT__PANEL, end); pos++)
                for (int i = 0; i < kv->d_head; i += 32) {
                    const size_t at = (size_t)(pos - run->pos) * run->stride + (size_t)h * (size_t)kv->d_head + (size_t)i;
                    const int n = OCT__MIN(32, kv->d_head - i);
                    oct__kv_pack(run->k, kv->type, run->keys + at, bytes, n);
                    oct__kv_piece(kv, false, h, pos, i, bytes, true);
                    oct__kv_pack(run->k, kv->type, run->values + at, bytes, n);
                    oct__kv_piece(kv, true, h, pos, i, bytes, true);
                }
}
/* Positions pos .. pos + n_tok - 1 from k, v [n_tok][n_kv, d_head], tokens `stride` floats apart. */
static void oct__kv_store(oct__compute *c, const oct__kv *kv, int pos, int n_tok, const float *k, const float *v, size_t stride) {
    oct__kv_run run;
    run.k = c->k;
    run.kv = kv;
    run.keys = k;
    run.values = v;
    run.stride = stride;
    run.pos = pos;
    run.n_tok = n_tok;
    run.counter = 0;
    oct__parallel_if(c, (size_t)n_tok * (size_t)kv->n_kv * (size_t)kv->d_head, oct__kv_task, &run);
}

/* --- attention ------------------------------------------------------------------------------------------------
 * A part is one head of the cache and some rows of queries: some tokens times the heads that share the cache's head.
 * Keys come in tiles of 64 at absolute positions; scores and sums of values are the F32 kernel of the matmul, a row of
 * queries being "a token".  A task takes a part of up to 192 rows, for which a tile is unpacked once; 24 rows at a time
 * see it, so that what they need stays in the nearest cache.  Few rows (decoding) read an F16 cache where it lies.
 *
 * Every span of 512 keys has its own running softmax; spans are joined in order.  So spans may also be tasks: where there
 * are fewer parts than the threads want, a task takes one span of a part of up to 24 rows.  A row sums over just the
 * keys it may see, so what stands behind them cannot matter. */
typedef struct oct__att_run {
    oct__compute  *c;
    float         *out;                    /* [n_tok, n_head * d_head] */
    const float   *q;                      /* the same */
    const oct__kv *kv;
    int            n_head, pos0, t0, t1, n_keys;
    float          scale;
    bool           causal;
    int            group;                  /* heads that share a head of the cache */
    int            heads, tokens;          /* of a part */
    int            n_heads, n_tokens;      /* parts that a group, and the region's tokens, are split into */
    int            span0, n_spans;         /* where spans are tasks: the spans from key span0 on */
    int            counter;
} oct__att_run;
typedef struct oct__att_part { int h, h0, n_head, t0, n_tok, rows; } oct__att_part;

/* A tile of keys or values as panels. */
typedef struct oct__att_tile {
    const void *p;                         /* F32, or half floats */
    int         half;
    size_t      panel;                     /* numbers of a panel */
} oct__att_tile;
/* y [n, 16 * n_panels] from n_steps steps of n_panels panels, from panel p and step `from` on, and x [n, n_steps]; rows of
 * a block. */
static void oct__att_mul(const oct__kernels *k, const oct__att_tile *w, int p, int n_panels, int from, int n_steps, const float *x, int n,
                         float *y, int chain) {
    const size_t at = (size_t)p * w->panel + (size_t)from * OCT__PANEL;
    k->att_mul((const char *)w->p + at * (w->half ? sizeof(uint16_t) : sizeof(float)), w->half, w->panel, n_panels, n_steps, x, n, y, chain);
}
/* Row r of numbers in blocks, and from one 64 of its numbers to the next. */
static float *oct__att_row(float *x, int r, int d) {
    return x + (size_t)(r / OCT__Q_BLOCK) * OCT__Q_BLOCK * oct__d64(d) + r % OCT__Q_BLOCK * OCT__KEYS;
}

/* Q8_0 as F32: blocks of 32 numbers, of 16 positions' keys or 64 positions' values. */
static void oct__att_unpack_q8_0(const oct__kernels *k, const unsigned char *p, bool values, int n_blocks, float *scales, float *y) {
    const int per = values ? OCT__KEYS : OCT__PANEL, n = values ? 2 * OCT__KEYS : 32;
    for (int i = 0; i < n_blocks; i++, p += 34 * per, y += n * OCT__PANEL) {
        const unsigned char *x = p + 2 * per;
        k->from_f16((const uint16_t *)(const void *)p, scales, per);
        k->from_s8(x, scales, values, y, values ? OCT__KEYS : 32);
        if (values) k->from_s8(x + OCT__KEYS * OCT__PANEL, scales, 1, y + OCT__KEYS * OCT__PANEL, OCT__KEYS);
    }
}
/* The tile of head h from position k0 on, for so many rows. */
static oct__att_tile oct__att_tile_at(const oct__kernels *k, const oct__kv *kv, bool values, int h, int k0, int rows,
                                      const oct__att_scratch *s) {
    const unsigned char *p = oct__kv_tile(kv, values, h, k0);
    const int d = values ? (int)oct__d16(kv->d_head) : kv->d_head, blocks = (int)(oct__d32(kv->d_head) / 32);
    float *y = values ? s->values : s->keys;
    oct__att_tile tile = { p, 0, (size_t)OCT__PANEL * (size_t)(values ? OCT__KEYS : d) };
    if (kv->type == OCT_KV_F16 && rows <= OCT__Q_FEW) {
        tile.half = 1;
    } else if (kv->type == OCT_KV_F16) {
        k->from_f16((const uint16_t *)(const void *)p, y, OCT__KEYS * d);
        tile.p = y;
    } else if (kv->type == OCT_KV_Q8_0) {
        oct__att_unpack_q8_0(k, p, values, values ? blocks : blocks * (OCT__KEYS / OCT__PANEL), s->scales, y);
        tile.p = y;
        if (!values) tile.panel = (size_t)OCT__PANEL * oct__d32(d);
    }
    return tile;
}
/* acc [n, d] += s x values, where row i sees seen[i] keys, the first `done` of them being summed already.  seen does not
 * fall with i: what all rows see is summed for all, then each half of them by itself. */
static void oct__att_sum(const oct__kernels *k, const oct__att_tile *values, const float *s, const int *seen, int n, int done, float *acc,
                         int d) {
    const int half = n > 8 ? 8 : n / 2;
    for (int i = 0; i < d && seen[0] > done; i += OCT__KEYS)
        oct__att_mul(k, values, i / OCT__PANEL, (OCT__MIN(OCT__KEYS, d - i) + OCT__PANEL - 1) / OCT__PANEL, done, seen[0] - done, s + done, n,
                     acc + i * OCT__Q_BLOCK, 1);
    if (seen[n - 1] == seen[0]) return;
    oct__att_sum(k, values, s, seen, half, seen[0], acc, d);
    oct__att_sum(k, values, s + half * OCT__KEYS, seen + half, n - half, seen[0], acc + half * OCT__KEYS, d);
}
/* Part i of the region's.  Late tokens come first: they see the most keys, and long work is best begun early. */
static oct__att_part oct__att_part_at(const oct__att_run *run, int i) {
    oct__att_part p;
    const int n_kv = run->kv->n_kv, part = i % run->n_heads, t = run->n_tokens - 1 - i / (run->n_heads * n_kv);
    p.h = i / run->n_heads % n_kv;
    p.h0 = p.h * run->group + part * run->heads;
    p.n_head = OCT__MIN(run->heads, run->group - part * run->heads);
    p.t0 = run->t0 + t * run->tokens;
    p.n_tok = OCT__MIN(run->tokens, run->t1 - p.t0);
    p.rows = p.n_head * p.n_tok;
    return p;
}
static int oct__att_parts(const oct__att_run *run) { return run->n_tokens * run->kv->n_kv * run->n_heads; }
/* How many keys a token may see. */
static int oct__att_limit(const oct__att_run *run, int t) { return run->causal ? run->pos0 + t + 1 : run->n_keys; }
/* The part's queries, scaled, and how many keys each may see. */
static void oct__att_begin(const oct__att_run *run, const oct__att_part *p, const oct__att_scratch *s) {
    const int d = run->kv->d_head;
    const size_t stride = (size_t)run->n_head * (size_t)d;
    for (int r = 0; r < p->rows; r++) {
        const int t = p->t0 + r / p->n_head;
        const float *q = run->q + (size_t)t * stride + (size_t)(p->h0 + r % p->n_head) * (size_t)d;
        float *to = oct__att_row(s->q, r, d);
        for (int i = 0; i < d; i += OCT__KEYS) {
            const int n = OCT__MIN(OCT__KEYS, d - i);
            memcpy(to + i * OCT__Q_BLOCK, q + i, (size_t)n * sizeof *to);
            run->c->k->scale(to + i * OCT__Q_BLOCK, run->scale, n);
        }
        s->limit[r] = oct__att_limit(run, t);
    }
}
/* The softmax over one span of keys: acc [rows, d16] in blocks, max and sum [rows] of the part.  True: stop. */
static bool oct__att_span(const oct__att_run *run, const oct__att_part *p, const oct__att_scratch *s, int span, float *acc, float *max,
                          float *sum, int task, size_t *work) {
    const oct__kernels *k = run->c->k;
    const int d = run->kv->d_head, last = OCT__MIN(span + OCT__SPAN, s->limit[p->rows - 1]);
    const int blocks = (p->rows + OCT__Q_BLOCK - 1) / OCT__Q_BLOCK;
    int seen[OCT__Q_BLOCK];
    for (int r = 0; r < p->rows; r++) {
        max[r] = -INFINITY;
        sum[r] = 0.0f;
    }
    memset(acc, 0, (size_t)blocks * OCT__Q_BLOCK * oct__d64(d) * sizeof *acc);
    for (int k0 = span; k0 < last; k0 += OCT__KEYS) {
        if (oct__poll(run->c, task, work, (size_t)p->rows * OCT__KEYS * (size_t)d * 2)) return true;
        const oct__att_tile keys = oct__att_tile_at(k, run->kv, false, p->h, k0, p->rows, s);
        const oct__att_tile values = oct__att_tile_at(k, run->kv, true, p->h, k0, p->rows, s);
        int r = 0;
        while (s->limit[r] <= k0) r++;                  /* rows that see nothing here */
        for (int n; r < p->rows; r += n) {
            const float *q = oct__att_row(s->q, r, d);
            float *y = oct__att_row(acc, r, d);
            n = OCT__MIN(OCT__Q_BLOCK - r % OCT__Q_BLOCK, p->rows - r);
            for (int i = 0; i < n; i++) seen[i] = OCT__MIN(OCT__KEYS, s->limit[r + i] - k0);
            for (int i = 0; i < d; i += OCT__KEYS)
                oct__att_mul(k, &keys, 0, (seen[n - 1] + OCT__PANEL - 1) / OCT__PANEL, i, OCT__MIN(OCT__KEYS, d - i), q + i * OCT__Q_BLOCK, n,
                             s->s, i > 0);
            k->softmax(s->s, seen, n, max + r, sum + r, y, d);
            oct__att_sum(k, &values, s->s, seen, n, 0, y, d);
        }
    }
    return false;
}
/* Joins a span's softmax to those of the spans before it: rows r .. n - 1. */
static void oct__att_join(const oct__kernels *k, const oct__att_scratch *to, const oct__att_scratch *from, int r, int n, int d) {
    for (; r < n; r++) {
        float e[2];
        const float top = OCT__MAX(to->out_max[r], from->max[r]);
        e[0] = to->out_max[r] - top;
        e[1] = from->max[r] - top;
        k->expv(e, e, 2);
        k->join(oct__att_row(to->out, r, d), e[0], oct__att_row(from->acc, r, d), e[1], d);
        to->out_sum[r] = to->out_sum[r] * e[0] + from->sum[r] * e[1];
        to->out_max[r] = top;
    }
}
/* What the part's rows come to, where they belong. */
static void oct__att_end(const oct__att_run *run, const oct__att_part *p, const oct__att_scratch *s) {
    const int d = run->kv->d_head;
    const size_t stride = (size_t)run->n_head * (size_t)d;
    for (int r = 0; r < p->rows; r++) {
        float *y = run->out + (size_t)(p->t0 + r / p->n_head) * stride + (size_t)(p->h0 + r % p->n_head) * (size_t)d;
        const float *out = oct__att_row(s->out, r, d);
        for (int i = 0; i < d; i += OCT__KEYS) memcpy(y + i, out + i * OCT__Q_BLOCK, (size_t)OCT__MIN(OCT__KEYS, d - i) * sizeof *y);
        run->c->k->scale(y, 1.0f / s->out_sum[r], d);
    }
}
/* Fetches whole parts. */
static void oct__att_task(void *arg, int task) {
    oct__att_run *run = (oct__att_run *)arg;
    oct__arena a = oct__task_arena(run->c, task);
    oct__att_scratch s;
    const int d = run->kv->d_head;
    size_t work = 0;
    int i;
    oct__att_scratch_take(&a, &s, run->kv->d_head);
    while ((i = oct__fetch(&run->counter)) < oct__att_parts(run) && !oct__aborted(run->c)) {
        const oct__att_part p = oct__att_part_at(run, i);
        oct__att_begin(run, &p, &s);
        if (oct__att_span(run, &p, &s, 0, s.out, s.out_max, s.out_sum, task, &work)) return;
        for (int span = OCT__SPAN, r = 0; span < s.limit[p.rows - 1]; span += OCT__SPAN) {
            if (oct__att_span(run, &p, &s, span, s.acc, s.max, s.sum, task, &work)) return;
            while (s.limit[r] <= span) r++;
            oct__att_join(run->c->k, &s, &s, r, p.rows, d);
        }
        oct__att_end(run, &p, &s);
    }
}
/* The sums of span task i: a block of some thread's rows, as the tasks have no other use for them. */
static void oct__att_slot(const oct__att_run *run, int i, oct__att_scratch *s) {
    const int n = run->c->pool.n_threads, r = i / n * OCT__Q_BLOCK;
    const size_t at = (size_t)r * oct__d64(run->kv->d_head);
    oct__arena a = oct__task_arena(run->c, i % n);
    oct__att_scratch_take(&a, s, run->kv->d_head);
    s->acc += at;
    s->out += at;
    s->max += r;
    s->sum += r;
    s->out_max += r;
    s->out_sum += r;
}
/* Fetches spans of parts. */
static void oct__att_span_task(void *arg, int task) {
    oct__att_run *run = (oct__att_run *)arg;
    oct__arena a = oct__task_arena(run->c, task);
    oct__att_scratch s, slot;
    const int parts = oct__att_parts(run);
    size_t work = 0;
    int i;
    oct__att_scratch_take(&a, &s, run->kv->d_head);
    while ((i = oct__fetch(&run->counter)) < parts * run->n_spans && !oct__aborted(run->c)) {
        const oct__att_part p = oct__att_part_at(run, i % parts);
        oct__att_slot(run, i, &slot);
        oct__att_begin(run, &p, &s);
        if (oct__att_span(run, &p, &s, run->span0 + i / parts * OCT__SPAN, slot.acc, slot.max, slot.sum, task, &work)) return;
    }
}
/* Joins the spans of a region in order, and ends the parts after the last one. */
static void oct__att_join_spans(const oct__att_run *run, bool end) {
    const int parts = oct__att_parts(run), d = run->kv->d_head;
    oct__att_scratch to, from;
    for (int i = 0; i < parts; i++) {
        const oct__att_part p = oct__att_part_at(run, i);
        oct__att_slot(run, i, &to);
        for (int j = 0; j < run->n_spans; j++) {
            int r = 0, span = run->span0 + j * OCT__SPAN;
            oct__att_slot(run, j * parts + i, &from);
            while (r < p.rows && oct__att_limit(run, p.t0 + r / p.n_head) <= span) r++;
            if (span > 0) {
                oct__att_join(run->c->k, &to, &from, r, p.rows, d);
                continue;
            }
            memcpy(to.out, from.acc, OCT__Q_BLOCK * oct__d64(d) * sizeof *to.out);
            memcpy(to.out_max, from.max, OCT__Q_BLOCK * sizeof *to.out_max);
            memcpy(to.out_sum, from.sum, OCT__Q_BLOCK * sizeof *to.out_sum);
        }
        if (end) oct__att_end(run, &p, &to);
    }
}
/* As many spans of all parts as there is room for, and again. */
static void oct__att_by_spans(oct__att_run *run) {
    oct__compute *c = run->c;
    const int n_keys = oct__att_limit(run, run->t1 - 1), most = OCT__Q_ROWS / OCT__Q_BLOCK * c->pool.n_threads / oct__att_parts(run);
    for (run->span0 = 0; run->span0 < n_keys; run->span0 += run->n_spans * OCT__SPAN) {
        run->n_spans = OCT__MIN(most, (n_keys - run->span0 + OCT__SPAN - 1) / OCT__SPAN);
        run->counter = 0;
        if (oct__foreign(c) ? oct__ask(c) : oct__aborted(c)) return;
        oct__parallel(&c->pool, oct__att_span_task, run);
        if (!oct__aborted(c)) oct__att_join_spans(run, run->span0 + run->n_spans * OCT__SPAN >= n_keys);
    }
}
/* Parts of at most so many rows; how many there are. */
static int oct__att_divide(oct__att_run *run, int rows) {
    run->heads = OCT__MIN(run->group, rows);
    run->tokens = rows / run->heads;
    run->n_heads = (run->group + run->heads - 1) / run->heads;
    run->n_tokens = (run->t1 - run->t0 + run->tokens - 1) / run->tokens;
    return oct__att_parts(run);
}
/* Causal: token t stands at position pos0 + t and sees keys 0 .. pos0 + t, else every token sees keys 0 .. pos0 + n_tok - 1.
 * They are in the cache.  out may not be q. */
static void oct__attention(oct__compute *c, float *out, const float *q, const oct__kv *kv, int n_head, int pos0, int n_tok, float scale,
                           bool causal) {
    const int region = oct__region(c, n_tok), n_threads = c->pool.n_threads;
    oct__att_run run;
    memset(&run, 0, sizeof run);
    run.c = c;
    run.out = out;
    run.q = q;
    run.kv = kv;
    run.n_head = n_head;
    run.pos0 = pos0;
    run.n_keys = pos0 + n_tok;
    run.scale = scale;
    run.causal = causal;
    run.group = n_head / kv->n_kv;
    for (run.t0 = 0; run.t0 < n_tok; run.t0 = run.t1) {
        int rows = OCT__Q_ROWS;
        run.t1 = OCT__MIN(run.t0 + region, n_tok);
        run.counter = 0;
        if (n_threads > 1 && run.n_keys > OCT__SPAN && oct__att_divide(&run, OCT__Q_BLOCK) < 2 * n_threads) {
            oct__att_by_spans(&run);
            continue;
        }
        while (oct__att_divide(&run, rows) < 4 * n_threads && n_threads > 1 && rows > 2 * OCT__Q_BLOCK) rows /= 2;
        if (oct__foreign(c) ? oct__ask(c) : oct__aborted(c)) return;
        oct__parallel(&c->pool, oct__att_task, &run);
    }
}
/* ==========================================================================
 * MARK: - 9. pictures
 * ==========================================================================
 * From picture files to pixels, and from pixels to what an encoder takes.  Pixels are what
 * Pillow gives for the same file, since the models were trained and judged on Pillow's: RGB8, or
 * RGBA8 where the file has an alpha channel of its own (transparency that a palette or one
 * colour of a PNG has is left aside, as by Pillow's convert("RGB")).  Samples of 16 bits keep
 * their high byte; of 16-bit grey, too, which Pillow would clip.  A file is hostile: sizes are
 * checked before anything is allocated, and the work is a small multiple of the pixels.
 */
#if !defined(OCTAVIUS_NO_PICTURES)

/* --- decoders: what they share ------------------------------------------------------------ */

/* One file on its way to pixels. */
typedef struct oct__pic {
    oct_allocator        a;
    oct_error           *err;
    const char          *format;
    const unsigned char *data;             /* [bytes]: the file */
    size_t               bytes, max_pixels;
    int                  width, height, n_channels, nearest, orientation;
    unsigned char       *pixels;           /* [height, width, n_channels] */
} oct__pic;

/* A side never is so long that a row's bits would not fit an int. */
#define OCT__PIC_SIDE (1u << 24)

static uint32_t oct__be16(const unsigned char *p) { return (uint32_t)p[0] << 8 | p[1]; }
static uint32_t oct__be32(const unsigned char *p) { return oct__be16(p) << 16 | oct__be16(p + 2); }

/* What the header says, before anything is allocated. */
static oct_result oct__pic_size(oct__pic *p, uint32_t width, uint32_t height) {
    if (!width || !height)
        return oct__fail(p->err, OCT_E_FORMAT, "%s: %u x %u pixels, expected at least 1 x 1", p->format, width, height);
    if (width > OCT__PIC_SIDE || height > OCT__PIC_SIDE)
        return oct__fail(p->err, OCT_E_LIMIT, "%s: %u x %u pixels, expected sides up to %u", p->format, width, height,
                         OCT__PIC_SIDE);
    if ((uint64_t)width * height > p->max_pixels)
        return oct__fail(p->err, OCT_E_LIMIT, "%s: %u x %u pixels, more than the limit of %zu", p->format, width, height,
                         p->max_pixels);
    p->width = (int)width;
    p->height = (int)height;
    return OCT_OK;
}
static oct_result oct__pic_pixels(oct__pic *p, int n_channels) {
    p->n_channels = n_channels;
    p->pixels = (unsigned char *)oct__alloc_n(&p->a, (size_t)p->width * (size_t)p->height, (size_t)n_channels);
    if (!p->pixels)
        return oct__fail(p->err, OCT_E_MEMORY, "%s: no memory for %d x %d pixels", p->format, p->width, p->height);
    return OCT_OK;
}
static unsigned char *oct__pic_row(const oct__pic *p, int y) {
    return p->pixels + (size_t)y * (size_t)p->width * (size_t)p->n_channels;
}
static oct_result oct__pic_cut(const oct__pic *p, const char *where) {
    return oct__fail(p->err, OCT_E_FORMAT, "%s: the file is cut short: its %zu bytes end in %s", p->format, p->bytes, where);
}

/* The orientation (1 to 8) that EXIF data of n bytes tell, in either byte order; 1 where they tell none. */
static int oct__exif_orientation(const unsigned char *p, size_t n) {
    if (n < 8 || p[0] != p[1] || (p[0] != 'I' && p[0] != 'M')) return 1;
    const bool big = p[0] == 'M';
    const size_t ifd = big ? oct__be32(p + 4) : oct__u32(p + 4);
    if (ifd > n || n - ifd < 2) return 1;
    const size_t count = big ? oct__be16(p + ifd) : oct__u16(p + ifd);
    for (size_t i = 0; i < count && n - ifd - 2 >= 12 * (i + 1); i++) {
        const unsigned char *e = p + ifd + 2 + 12 * i;         /* tag, type, count, value */
        if ((big ? oct__be16(e) : oct__u16(e)) != 0x0112) continue;
        const uint32_t type = big ? oct__be16(e + 2) : oct__u16(e + 2);
        const uint32_t v = type == 4 ? (big ? oct__be32(e + 8) : oct__u32(e + 8)) : big ? oct__be16(e + 8) : oct__u16(e + 8);
        return (type == 3 || type == 4) && v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}

/* --- decoders: inflate (RFC 1950 and 1951) --------------------------------------------------- */

/* A prefix code.  Codes of up to OCT__INFLATE_BITS are looked up, the few longer ones are counted out. */
enum { OCT__INFLATE_BITS = 11 };
typedef struct oct__prefix {
    uint32_t look[1 << OCT__INFLATE_BITS]; /* by the next bits of the stream: see oct__inflate_entry; 0: a longer code, or none */
    uint16_t count[16], symbols[288];      /* codes of each length; their symbols in the order of the codes */
    int      kind;
} oct__prefix;
enum { OCT__PREFIX_PLAIN, OCT__PREFIX_LENGTH, OCT__PREFIX_DISTANCE };

/* Bits, lowest first.  buf holds the next n, above them maybe some that in still points at; pad of the n lie behind the end. */
typedef struct oct__low_bits {
    const unsigned char *in, *end;
    uint64_t             buf;
    unsigned             n, pad;
} oct__low_bits;
typedef struct oct__inflate {
    oct__low_bits  bits;
    unsigned char *out, *out_begin, *out_end;
    bool           full;                   /* the stream holds more than fits */
    oct__prefix    lengths, distances;
} oct__inflate;

/* What a symbol means: value << 16 | kind or extra bits << 8; the length of its code is added below. */
enum { OCT__INFLATE_LITERAL = 0x20, OCT__INFLATE_END = 0x40, OCT__INFLATE_BAD = 0x80 };
static uint32_t oct__inflate_entry(int kind, unsigned symbol) {
    static const uint16_t length[] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115,
                                       131, 163, 195, 227, 258 };
    if (kind == OCT__PREFIX_PLAIN || (kind == OCT__PREFIX_LENGTH && symbol < 256))
        return symbol << 16 | OCT__INFLATE_LITERAL << 8;
    if (kind == OCT__PREFIX_DISTANCE) {
        const unsigned extra = symbol < 4 ? 0 : symbol / 2 - 1;
        if (symbol > 29) return OCT__INFLATE_BAD << 8;
        return (symbol < 4 ? symbol + 1 : ((2 + (symbol & 1)) << extra) + 1) << 16 | extra << 8;
    }
    if (symbol == 256) return OCT__INFLATE_END << 8;
    if (symbol > 285) return OCT__INFLATE_BAD << 8;
    return (uint32_t)length[symbol - 257] << 16 | (symbol < 265 || symbol == 285 ? 0 : (symbol - 261) / 4) << 8;
}
/* From the lengths [n] of the codes.  False: no prefix code.  As in zlib, only a code of one bit may leave codes unused. */
static bool oct__prefix_build(oct__prefix *c, int kind, const unsigned char *lengths, unsigned n) {
    uint16_t next[16], at[16];
    int left = 1;
    memset(c->look, 0, sizeof c->look);
    memset(c->count, 0, sizeof c->count);
    c->kind = kind;
    for (unsigned i = 0; i < n; i++) c->count[lengths[i]]++;
    const unsigned used = n - c->count[0];
    c->count[0] = next[0] = at[0] = 0;
    for (int len = 1; len < 16; len++) {
        next[len] = (uint16_t)((next[len - 1] + c->count[len - 1]) << 1);
        at[len] = (uint16_t)(at[len - 1] + c->count[len - 1]);
        left = 2 * left - c->count[len];
        if (left < 0) return false;
    }
    if (left > 0 && (kind == OCT__PREFIX_PLAIN || used > 1 || used != c->count[1])) return false;
    for (unsigned i = 0; i < n; i++) {
        const unsigned len = lengths[i];
        if (!len) continue;
        c->symbols[at[len]++] = (uint16_t)i;
        unsigned code = next[len]++, bits = 0;
        for (unsigned k = 0; k < len; k++) bits |= (code >> k & 1u) << (len - 1 - k);       /* the stream has it reversed */
        const uint32_t entry = oct__inflate_entry(kind, i) | len;
        for (; len <= OCT__INFLATE_BITS && bits < 1u << OCT__INFLATE_BITS; bits += 1u << len) c->look[bits] = entry;
    }
    return true;
}
static uint32_t oct__prefix_long(const oct__prefix *c, uint64_t bits) {
    unsigned code = 0, first = 0, at = 0;
    for (unsigned len = 1; len < 16; len++, bits >>= 1) {
        code = code << 1 | (unsigned)(bits & 1);
        if (code - first < c->count[len]) return oct__inflate_entry(c->kind, c->symbols[at + code - first]) | len;
        at += c->count[len];
        first = (first + c->count[len]) << 1;
    }
    return OCT__INFLATE_BAD << 8;
}
static inline uint32_t oct__prefix_find(const oct__prefix *c, uint64_t bits) {
    const uint32_t e = c->look[bits & ((1u << OCT__INFLATE_BITS) - 1)];
    return e ? e : oct__prefix_long(c, bits);
}

/* At least 56 bits, zeros behind the end. */
static inline void oct__low_fill(oct__low_bits *b) {
    if (b->end - b->in >= 8) {
        b->buf |= oct__u64(b->in) << b->n;
        b->in += (63 - b->n) >> 3;
        b->n |= 56;
        return;
    }
    for (; b->n < 56; b->n += 8) {
        if (b->in < b->end) b->buf |= (uint64_t)*b->in++ << b->n;
        else b->pad += 8;
    }
}
static inline unsigned oct__low_take(oct__low_bits *b, unsigned n) {
    const unsigned v = (unsigned)(b->buf & ((1ull << n) - 1));
    b->buf >>= n;
    b->n -= n;
    return v;
}
/* From the bit buffer back to whole bytes of the stream. */
static void oct__low_align(oct__low_bits *b) {
    const unsigned whole = b->n / 8, behind = b->pad / 8;
    if (whole > behind) b->in -= whole - behind;
    b->buf = 0;
    b->n = b->pad = 0;
}

/* What is wrong with the stream; NULL: nothing. */
static const char *oct__inflate_stored(oct__inflate *z) {
    oct__low_bits *b = &z->bits;
    if (b->pad > b->n) return "ends early";
    oct__low_align(b);
    if (b->end - b->in < 4) return "ends early";
    const size_t n = oct__u16(b->in), room = (size_t)(z->out_end - z->out);
    if (n != (oct__u16(b->in + 2) ^ 0xFFFFu)) return "has a stored block whose length is spoilt";
    b->in += 4;
    if ((size_t)(b->end - b->in) < n) return "ends early";
    memcpy(z->out, b->in, OCT__MIN(n, room));
    z->full = n > room;
    z->out += OCT__MIN(n, room);
    b->in += n;
    return NULL;
}
static const char *oct__inflate_codes(oct__inflate *z) {
    static const unsigned char order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
    unsigned char lengths[286 + 32], small[19] = { 0 };
    oct__low_bits *b = &z->bits;
    oct__low_fill(b);
    const unsigned n_lit = oct__low_take(b, 5) + 257, n_dist = oct__low_take(b, 5) + 1, n_small = oct__low_take(b, 4) + 4;
    if (n_lit > 286) return "has too many codes";
    for (unsigned i = 0; i < n_small; i++) {
        oct__low_fill(b);
        small[order[i]] = (unsigned char)oct__low_take(b, 3);
    }
    if (!oct__prefix_build(&z->lengths, OCT__PREFIX_PLAIN, small, 19)) return "has bad code lengths";
    for (unsigned i = 0; i < n_lit + n_dist;) {
        oct__low_fill(b);
        const uint32_t e = oct__prefix_find(&z->lengths, b->buf);
        (void)oct__low_take(b, e & 15);
        const unsigned symbol = e >> 16;
        unsigned repeat = 1, value = symbol;
        if (symbol == 16 && i == 0) return "repeats a code length before the first";
        if (symbol == 16) value = lengths[i - 1], repeat = 3 + oct__low_take(b, 2);
        if (symbol == 17) value = 0, repeat = 3 + oct__low_take(b, 3);
        if (symbol == 18) value = 0, repeat = 11 + oct__low_take(b, 7);
        if (repeat > n_lit + n_dist - i) return "has too many code lengths";
        memset(lengths + i, (int)value, repeat);
        i += repeat;
    }
    if (b->pad > b->n) return "ends early";
    if (!lengths[256] || !oct__prefix_build(&z->distances, OCT__PREFIX_DISTANCE, lengths + n_lit, n_dist) ||
        !oct__prefix_build(&z->lengths, OCT__PREFIX_LENGTH, lengths, n_lit))
        return "has a bad prefix code";
    return NULL;
}
static void oct__inflate_fixed(oct__inflate *z) {
    unsigned char lengths[288];
    for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    (void)oct__prefix_build(&z->lengths, OCT__PREFIX_LENGTH, lengths, 288);
    memset(lengths, 5, 32);
    (void)oct__prefix_build(&z->distances, OCT__PREFIX_DISTANCE, lengths, 32);
}
/* len bytes from distance before.  There are eight bytes of room behind the end of the output. */
static inline void oct__inflate_copy(unsigned char *out, size_t distance, size_t len) {
    const unsigned char *from = out - distance;
    if (distance >= 8) {
        for (size_t i = 0; i < len; i += 8) memcpy(out + i, from + i, 8);
    } else if (distance == 1) {
        memset(out, *from, len);
    } else {
        for (size_t i = 0; i < len; i++) out[i] = from[i];
    }
}
/* One block's symbols. */
static const char *oct__inflate_block(oct__inflate *z) {
    oct__low_bits b = z->bits;             /* and the output's end: copies that no store of a byte can change */
    unsigned char *out = z->out, *const out_end = z->out_end;
    const char *why = NULL;
    for (;;) {
        if (b.n < 48) oct__low_fill(&b);
        const uint32_t e = oct__prefix_find(&z->lengths, b.buf);
        const unsigned kind = e >> 8 & 0xFF;
        (void)oct__low_take(&b, e & 15);
        if (kind == OCT__INFLATE_LITERAL && out < out_end && b.pad <= b.n) {
            *out++ = (unsigned char)(e >> 16);
            continue;
        }
        if (b.pad > b.n) why = "ends early";
        else if (kind == OCT__INFLATE_BAD) why = "has a code that stands for nothing";
        z->full = kind != OCT__INFLATE_END && out == out_end;
        if (why || z->full || kind == OCT__INFLATE_END) break;
        const size_t len = (e >> 16) + oct__low_take(&b, kind), room = (size_t)(out_end - out);
        const uint32_t d = oct__prefix_find(&z->distances, b.buf);
        (void)oct__low_take(&b, d & 15);
        if ((d >> 8 & 0xFF) == OCT__INFLATE_BAD) why = "has a distance code that stands for nothing";
        const size_t distance = (d >> 16) + oct__low_take(&b, d >> 8 & 15);
        if (b.pad > b.n) why = "ends early";
        else if (distance > (size_t)(out - z->out_begin)) why = "points before its beginning";
        if (why) break;
        oct__inflate_copy(out, distance, OCT__MIN(len, room));
        out += OCT__MIN(len, room);
        if ((z->full = len > room)) break;
    }
    z->bits = b;
    z->out = out;
    return why;
}
static uint32_t oct__adler32(const unsigned char *p, size_t n) {
    uint32_t a = 1, b = 0;
    while (n > 0) {
        const size_t run = OCT__MIN(n, (size_t)5552);              /* the longest that cannot overflow b */
        for (size_t i = 0; i < run; i++) b += a += p[i];
        a %= 65521;
        b %= 65521;
        p += run;
        n -= run;
    }
    return b << 16 | a;
}
/* A zlib stream in [n_in] fills out [n_out + 8]: what is wrong with it, or NULL.  What it holds beyond is ignored, as by
 * Pillow. */
static const char *oct__inflate_zlib(oct__inflate *z, const unsigned char *in, size_t n_in, unsigned char *out, size_t n_out) {
    if (n_in < 6) return "ends early";
    if ((in[0] & 15) != 8 || in[0] >> 4 > 7 || oct__be16(in) % 31 != 0 || (in[1] & 0x20)) return "has a bad zlib header";
    oct__low_bits *b = &z->bits;
    memset(b, 0, sizeof *b);
    b->in = in + 2;
    b->end = in + n_in;
    z->out = z->out_begin = out;
    z->out_end = out + n_out;
    z->full = false;
    for (unsigned last = 0; !last && !z->full;) {
        oct__low_fill(b);
        last = oct__low_take(b, 1);
        const unsigned type = oct__low_take(b, 2);
        const char *why = type == 0 ? oct__inflate_stored(z) : type == 2 ? oct__inflate_codes(z) :
                          type == 3 ? "has a block of no kind" : NULL;
        if (type == 1) oct__inflate_fixed(z);
        if (!why && type != 0) why = oct__inflate_block(z);
        if (why) return why;
    }
    if (z->full) return NULL;
    oct__low_align(b);
    if (z->out < z->out_end || b->end - b->in < 4) return "ends early";
    return oct__be32(b->in) == oct__adler32(out, n_out) ? NULL : "has a wrong checksum";
}

/* --- decoders: PNG ---------------------------------------------------------------------------- */

enum { OCT__PNG_GREY = 0, OCT__PNG_RGB = 2, OCT__PNG_PALETTE = 3, OCT__PNG_GREY_ALPHA = 4, OCT__PNG_RGB_ALPHA = 6 };
typedef struct oct__png {
    oct__pic            *p;
    int                  depth, colour, interlaced, samples;        /* samples: of a pixel, each of depth bits */
    int                  n_palette;
    unsigned char        colours[256][3];  /* of the palette, or of the greys */
    uint32_t             crc[8][256];      /* what a byte does to the checksum when 0 to 7 others follow it */
    const unsigned char *packed;           /* [n_packed]: the zlib stream */
    size_t               n_packed;
    unsigned char       *joined;           /* the stream's pieces, where it has several */
    unsigned char       *rows;             /* a row of zeros, then the rows as they are packed, the filter before each */
    oct__inflate        *inflate;
} oct__png;

static void oct__png_crc_init(oct__png *g) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
        g->crc[0][i] = c;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++) g->crc[k][i] = g->crc[0][g->crc[k - 1][i] & 255] ^ g->crc[k - 1][i] >> 8;
}
static uint32_t oct__png_crc(const oct__png *g, const unsigned char *p, size_t n) {
    uint32_t c = ~0u;
    for (; n >= 8; p += 8, n -= 8) {
        const uint32_t a = oct__u32(p) ^ c, b = oct__u32(p + 4);
        c = g->crc[7][a & 255] ^ g->crc[6][a >> 8 & 255] ^ g->crc[5][a >> 16 & 255] ^ g->crc[4][a >> 24] ^
            g->crc[3][b & 255] ^ g->crc[2][b >> 8 & 255] ^ g->crc[1][b >> 16 & 255] ^ g->crc[0][b >> 24];
    }
    for (; n > 0; p++, n--) c = g->crc[0][(c ^ *p) & 255] ^ c >> 8;
    return ~c;
}

static oct_result oct__png_header(oct__png *g, const unsigned char *d, size_t n) {
    oct__pic *p = g->p;
    if (n != 13) return oct__fail(p->err, OCT_E_FORMAT, "PNG: IHDR of %zu bytes, expected 13", n);
    g->depth = d[8];
    g->colour = d[9];
    g->interlaced = d[12];
    const bool power = g->depth == 1 || g->depth == 2 || g->depth == 4 || g->depth == 8 || g->depth == 16;
    const bool several = g->colour == OCT__PNG_RGB || g->colour == OCT__PNG_GREY_ALPHA || g->colour == OCT__PNG_RGB_ALPHA;
    const bool known = g->colour == OCT__PNG_GREY || (g->colour == OCT__PNG_PALETTE && g->depth <= 8) ||
                       (several && g->depth >= 8);
    if (!power || !known)
        return oct__fail(p->err, OCT_E_FORMAT, "PNG: colour type %d with %d bits, which there is not", g->colour, g->depth);
    if (d[10] || d[11] || g->interlaced > 1)
        return oct__fail(p->err, OCT_E_FORMAT, "PNG: compression %d, filter %d, interlace %d, expected 0, 0 and 0 or 1", d[10],
                         d[11], d[12]);
    g->samples = g->colour == OCT__PNG_RGB ? 3 : g->colour == OCT__PNG_GREY_ALPHA ? 2 : g->colour == OCT__PNG_RGB_ALPHA ? 4 : 1;
    p->nearest = g->colour == OCT__PNG_PALETTE || g->depth == 1;
    for (int i = 0; i < 256 && g->colour == OCT__PNG_GREY; i++)           /* 16 bits: their high byte */
        memset(g->colours[i], g->depth < 8 ? i * 255 / ((1 << g->depth) - 1) & 255 : i, 3);
    return oct__pic_size(p, oct__be32(d), oct__be32(d + 4));
}
static oct_result oct__png_palette(oct__png *g, const unsigned char *d, size_t n) {
    if (n == 0 || n % 3 != 0 || n > 768)
        return oct__fail(g->p->err, OCT_E_FORMAT, "PNG: PLTE of %zu bytes, expected 3 for each of 1 to 256 colours", n);
    if (g->colour != OCT__PNG_PALETTE) return OCT_OK;              /* a suggestion */
    memcpy(g->colours, d, n);
    g->n_palette = (int)(n / 3);
    return OCT_OK;
}
/* The chunks of the stream, joined: they begin at first, end before last. */
static oct_result oct__png_join(oct__png *g, size_t first, size_t last) {
    oct__pic *p = g->p;
    const size_t n = oct__be32(p->data + first);
    g->packed = p->data + first + 8;
    g->n_packed = n;
    if (first + n + 12 == last) return OCT_OK;
    g->joined = OCT__NEW(&p->a, unsigned char, last - first);
    if (!g->joined) return oct__fail(p->err, OCT_E_MEMORY, "PNG: no memory for its %zu packed bytes", last - first);
    g->packed = g->joined;
    g->n_packed = 0;
    for (size_t at = first; at < last; at += (size_t)oct__be32(p->data + at) + 12) {
        const size_t piece = oct__be32(p->data + at);
        memcpy(g->joined + g->n_packed, p->data + at + 8, piece);
        g->n_packed += piece;
    }
    return OCT_OK;
}
/* Walks the chunks.  Once the pixels' chunks are over nothing that follows can spoil them, and a file may end there. */
static oct_result oct__png_chunks(oct__png *g) {
    oct__pic *p = g->p;
    size_t at = 8, first = 0, last = 0;
    for (;;) {
        const size_t left = p->bytes - at, n = left >= 12 ? oct__be32(p->data + at) : 0;
        const unsigned char *d = p->data + at + 8;
        if (left < 12 || n > left - 12) {
            if (last && (left < 8 || memcmp(d - 4, "IDAT", 4) != 0)) break;
            return oct__pic_cut(p, left < 8 ? "the head of a chunk" : "a chunk");
        }
        char name[5] = { 0 };
        memcpy(name, d - 4, 4);
        const bool critical = !(name[0] & 0x20), idat = memcmp(name, "IDAT", 4) == 0;
        if (critical && oct__png_crc(g, d - 4, n + 4) != oct__be32(d + n))
            return oct__fail(p->err, OCT_E_FORMAT, "PNG: chunk '%s' at byte %zu: wrong checksum", name, at);
        if ((at == 8) != (memcmp(name, "IHDR", 4) == 0))
            return oct__fail(p->err, OCT_E_FORMAT, "PNG: chunk '%s' at byte %zu, expected IHDR first and once", name, at);
        oct_result r = OCT_OK;
        if (at == 8) r = oct__png_header(g, d, n);
        else if (memcmp(name, "IEND", 4) == 0) break;
        else if (memcmp(name, "PLTE", 4) == 0 && !first) r = oct__png_palette(g, d, n);
        else if (memcmp(name, "eXIf", 4) == 0) p->orientation = oct__exif_orientation(d, n);
        else if (idat && first && at != last)
            r = oct__fail(p->err, OCT_E_FORMAT, "PNG: chunk IDAT at byte %zu is apart from the others", at);
        else if (critical && !idat && memcmp(name, "PLTE", 4) != 0)
            r = oct__fail(p->err, OCT_E_UNSUPPORTED,
                          "PNG: chunk '%s' must be understood and is not known: convert it to PNG or JPEG", name);
        if (r) return r;
        if (idat && !first) first = at;
        at += n + 12;
        if (idat) last = at;
    }
    if (!first) return oct__fail(p->err, OCT_E_FORMAT, "PNG: no pixels (chunk IDAT)");
    if (g->colour == OCT__PNG_PALETTE && !g->n_palette) return oct__fail(p->err, OCT_E_FORMAT, "PNG: no palette (chunk PLTE)");
    return oct__png_join(g, first, last);
}

/* Pass k of an interlaced picture: its first column and row, and the distances between them. */
typedef struct oct__png_pass { int x, y, dx, dy; } oct__png_pass;
static oct__png_pass oct__png_pass_at(const oct__png *g, int k) {
    static const oct__png_pass passes[8] = { { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 }, { 0, 2, 2, 4 },
                                             { 1, 0, 2, 2 }, { 0, 1, 1, 2 }, { 0, 0, 1, 1 } };
    return passes[g->interlaced ? k : 7];
}
static int oct__png_passes(const oct__png *g) { return g->interlaced ? 7 : 1; }
static int oct__png_across(const oct__png *g, oct__png_pass s) { return (g->p->width - s.x + s.dx - 1) / s.dx; }
static size_t oct__png_row_bytes(const oct__png *g, int width) {
    return ((size_t)width * (size_t)(g->samples * g->depth) + 7) / 8;
}

/* x [n] becomes what the filter had replaced; up: the row above.  bpp: bytes to the same sample of the pixel before. */
static inline void oct__png_average(unsigned char *x, const unsigned char *up, size_t n, size_t bpp) {
    for (size_t i = 0; i < bpp && i < n; i++) x[i] = (unsigned char)(x[i] + up[i] / 2);
    for (size_t i = bpp; i < n; i++) x[i] = (unsigned char)(x[i] + (x[i - bpp] + up[i]) / 2);
}
static inline void oct__png_paeth(unsigned char *x, const unsigned char *up, size_t n, size_t bpp) {
    for (size_t i = 0; i < bpp && i < n; i++) x[i] = (unsigned char)(x[i] + up[i]);
    for (size_t i = bpp; i < n; i++) {
        const int a = x[i - bpp], b = up[i], c = up[i - bpp], da = abs(b - c), db = abs(a - c), dc = abs(a + b - 2 * c);
        int best = db <= dc ? b : c;
        best = da <= db && da <= dc ? a : best;
        x[i] = (unsigned char)(x[i] + best);
    }
}
static bool oct__png_unfilter(int filter, unsigned char *x, const unsigned char *up, size_t n, size_t bpp) {
    if (filter == 1) {
        for (size_t i = bpp; i < n; i++) x[i] = (unsigned char)(x[i] + x[i - bpp]);
    } else if (filter == 2) {
        for (size_t i = 0; i < n; i++) x[i] = (unsigned char)(x[i] + up[i]);
    } else if (filter == 3) {
        oct__png_average(x, up, n, bpp);
    } else if (filter == 4 && bpp == 3) {                           /* a known distance is worth a third of the time */
        oct__png_paeth(x, up, n, 3);
    } else if (filter == 4 && bpp == 4) {
        oct__png_paeth(x, up, n, 4);
    } else if (filter == 4) {
        oct__png_paeth(x, up, n, bpp);
    }
    return filter <= 4;
}
/* n pixels of a row, to every step bytes of out. */
static void oct__png_convert(const oct__png *g, const unsigned char *row, size_t n, unsigned char *out, size_t step) {
    const size_t depth = (size_t)g->depth, s = depth / 8, pixel = s * (size_t)g->samples;
    if (depth == 8 && step == pixel && (g->colour == OCT__PNG_RGB || g->colour == OCT__PNG_RGB_ALPHA)) {
        memcpy(out, row, n * pixel);
        return;
    }
    for (size_t i = 0; i < n; i++, out += step, row += pixel) {
        if (g->colour == OCT__PNG_RGB || g->colour == OCT__PNG_RGB_ALPHA) {
            out[0] = row[0];
            out[1] = row[s];
            out[2] = row[2 * s];
            if (g->colour == OCT__PNG_RGB_ALPHA) out[3] = row[3 * s];
        } else if (g->colour == OCT__PNG_GREY_ALPHA) {
            out[0] = out[1] = out[2] = row[0];
            out[3] = row[s];
        } else {
            const unsigned v = depth >= 8 ? row[0] : (unsigned)row[i * depth / 8] >> (8 - depth - i * depth % 8);
            memcpy(out, g->colours[depth >= 8 ? v : v & ((1u << depth) - 1)], 3);
        }
    }
}
static oct_result oct__png_rows(oct__png *g) {
    oct__pic *p = g->p;
    const size_t bpp = (size_t)OCT__MAX(1, g->samples * g->depth / 8), widest = oct__png_row_bytes(g, p->width) + 1;
    unsigned char *x = g->rows + widest;
    for (int k = 0; k < oct__png_passes(g); k++) {
        const oct__png_pass s = oct__png_pass_at(g, k);
        const int across = oct__png_across(g, s);
        const size_t n = oct__png_row_bytes(g, across);
        const unsigned char *up = g->rows;
        for (int y = s.y; y < p->height && across > 0; y += s.dy, x += n + 1) {
            if (!oct__png_unfilter(x[0], x + 1, up, n, bpp))
                return oct__fail(p->err, OCT_E_FORMAT, "PNG: row %d has filter %d, expected 0 to 4", y, x[0]);
            oct__png_convert(g, x + 1, (size_t)across, oct__pic_row(p, y) + s.x * p->n_channels, (size_t)(s.dx * p->n_channels));
            up = x + 1;
        }
    }
    return OCT_OK;
}
static oct_result oct__png_pixels(oct__png *g) {
    oct__pic *p = g->p;
    size_t raw = 0, bytes;
    const size_t widest = oct__png_row_bytes(g, p->width) + 1;     /* a row of zeros stands above the first */
    for (int k = 0; k < oct__png_passes(g); k++) {
        const oct__png_pass s = oct__png_pass_at(g, k);
        const int across = oct__png_across(g, s), rows = (p->height - s.y + s.dy - 1) / s.dy;
        if (across <= 0 || rows <= 0) continue;
        if (oct__mul(&bytes, oct__png_row_bytes(g, across) + 1, (size_t)rows) || oct__add(&raw, raw, bytes))
            return oct__fail(p->err, OCT_E_LIMIT, "PNG: %d x %d pixels are more than this machine can address", p->width,
                             p->height);
    }
    if (raw / 1032 > g->n_packed) return oct__pic_cut(p, "the pixels");     /* deflate packs to 1/1032 at best */
    g->rows = oct__add(&bytes, raw, widest + 8) ? NULL : OCT__NEW(&p->a, unsigned char, bytes);
    g->inflate = OCT__NEW(&p->a, oct__inflate, 1);
    if (!g->rows || !g->inflate) return oct__fail(p->err, OCT_E_MEMORY, "PNG: no memory for %d x %d pixels", p->width, p->height);
    memset(g->rows, 0, widest);
    const char *why = oct__inflate_zlib(g->inflate, g->packed, g->n_packed, g->rows + widest, raw);
    if (why)
        return oct__fail(p->err, OCT_E_FORMAT, "PNG: the packed pixels are spoilt: the stream of %zu bytes %s", g->n_packed, why);
    const oct_result r = oct__pic_pixels(p, g->colour & 4 ? 4 : 3);
    return r ? r : oct__png_rows(g);
}
static oct_result oct__png_decode(oct__pic *p) {
    oct__png *g = OCT__NEW(&p->a, oct__png, 1);
    if (!g) return oct__fail(p->err, OCT_E_MEMORY, "PNG: no memory for its tables");
    memset(g, 0, sizeof *g);
    g->p = p;
    oct__png_crc_init(g);
    oct_result r = oct__png_chunks(g);
    if (!r) r = oct__png_pixels(g);
    oct__free(&p->a, g->inflate);
    oct__free(&p->a, g->rows);
    oct__free(&p->a, g->joined);
    oct__free(&p->a, g);
    return r;
}

/* --- decoders: BMP ------------------------------------------------------------------------------ */

typedef struct oct__bmp {
    oct__pic     *p;
    uint32_t      header, compression, colours;      /* header: its size; colours: in the palette */
    int           bits;
    bool          top_down;
    size_t        at;                                 /* of the pixels */
    int           byte[4];                            /* 24 and 32 bits: where red, green, blue, alpha are; -1: nowhere */
    bool          five_six_five;                      /* 16 bits; else five each */
    unsigned char table[256][3];                      /* the palette; black behind its end */
} oct__bmp;
enum { OCT__BMP_RAW, OCT__BMP_RLE8, OCT__BMP_RLE4, OCT__BMP_FIELDS };

static oct_result oct__bmp_palette(oct__bmp *b, size_t at) {
    oct__pic *p = b->p;
    const size_t entry = b->header == 12 ? 3 : 4;
    if (b->colours == 0) b->colours = 1u << b->bits;
    if (b->colours > 65536)
        return oct__fail(p->err, OCT_E_FORMAT, "BMP: a palette of %u colours, expected at most 65536", b->colours);
    if (at > p->bytes || (p->bytes - at) / entry < b->colours) return oct__pic_cut(p, "the palette");
    bool ramp = b->colours > 2;                       /* shades of grey in order, which Pillow takes for a grey picture */
    for (size_t i = 0; i < b->colours && i < 256; i++) {
        const unsigned char *e = p->data + at + i * entry;
        for (int k = 0; k < 3; k++) b->table[i][k] = e[2 - k];
        ramp = ramp && e[0] == i && e[1] == i && e[2] == i;
    }
    p->nearest = !(ramp && (b->bits == 8 || b->compression != OCT__BMP_RAW));
    if (b->at == 0 || b->at == at) b->at = at + b->colours * entry;
    return OCT_OK;
}
/* Where the colours of a pixel are: masks [4] of red, green, blue, alpha. */
static oct_result oct__bmp_fields(oct__bmp *b, const uint32_t masks[4]) {
    const oct__pic *p = b->p;
    bool good = b->bits == 24 || b->bits == 32;
    b->five_six_five = masks[1] == 0x7E0;
    if (b->bits == 16)
        good = (masks[0] == 0xF800 && masks[1] == 0x7E0 && masks[2] == 0x1F) ||
               (masks[0] == 0x7C00 && masks[1] == 0x3E0 && masks[2] == 0x1F);
    for (int k = 0; k < 4 && b->bits != 16; k++) {
        b->byte[k] = -1;
        for (int i = 0; i < b->bits / 8; i++)
            if (masks[k] == 0xFFu << 8 * i) b->byte[k] = i;
        good = good && (b->byte[k] >= 0 || (k == 3 && masks[k] == 0));
    }
    if (b->bits == 24) b->byte[3] = -1;
    if (good) return OCT_OK;
    return oct__fail(p->err, OCT_E_UNSUPPORTED, "BMP: %d bits with the masks %08x %08x %08x %08x: convert it to PNG or JPEG",
                     b->bits,
                     masks[0], masks[1], masks[2], masks[3]);
}
static oct_result oct__bmp_layout(oct__bmp *b) {
    oct__pic *p = b->p;
    static const uint32_t plain[4] = { 0xFF0000, 0xFF00, 0xFF, 0 }, with_alpha[4] = { 0xFF0000, 0xFF00, 0xFF, 0xFF000000u };
    static const uint32_t fives[4] = { 0x7C00, 0x3E0, 0x1F, 0 };
    const size_t end = 14 + (size_t)b->header;
    if (b->bits == 1 || b->bits == 4 || b->bits == 8) {
        if (b->compression == OCT__BMP_RAW || (b->compression == OCT__BMP_RLE8 && b->bits == 8) ||
            (b->compression == OCT__BMP_RLE4 && b->bits == 4))
            return oct__bmp_palette(b, end);
    } else if (b->bits == 16 || b->bits == 24 || b->bits == 32) {
        const size_t after = b->compression == OCT__BMP_FIELDS && b->header == 40 ? end + 12 : end;
        if (b->at == 0) b->at = after;
        if (b->compression == OCT__BMP_RAW) return oct__bmp_fields(b, b->bits == 16 ? fives : plain);
        if (b->compression == OCT__BMP_FIELDS && p->bytes < 14 + 52) return oct__pic_cut(p, "the header");
        if (b->compression == OCT__BMP_FIELDS) {
            uint32_t masks[4] = { 0, 0, 0, 0 };
            const int n = b->header >= 56 ? 4 : 3;
            if (p->bytes < 54 + 4 * (size_t)n) return oct__pic_cut(p, "the header");
            for (int k = 0; k < n; k++) masks[k] = oct__u32(p->data + 54 + 4 * k);
            const bool none = b->bits == 32 && !(masks[0] | masks[1] | masks[2] | masks[3]);
            return oct__bmp_fields(b, none ? with_alpha : masks);
        }
    }
    return oct__fail(p->err, OCT_E_UNSUPPORTED, "BMP: %d bits with compression %u: convert it to PNG or JPEG", b->bits,
                     b->compression);
}
static oct_result oct__bmp_header(oct__bmp *b) {
    oct__pic *p = b->p;
    const unsigned char *d = p->data;
    if (p->bytes < 26) return oct__pic_cut(p, "the header");
    b->at = oct__u32(d + 10);
    b->header = oct__u32(d + 14);
    const uint32_t n = b->header;
    if (n == 12) {
        b->bits = oct__u16(d + 24);
        const oct_result r = oct__pic_size(p, oct__u16(d + 18), oct__u16(d + 20));
        return r ? r : oct__bmp_layout(b);
    }
    if (n != 40 && n != 52 && n != 56 && n != 64 && n != 108 && n != 124)
        return oct__fail(p->err, OCT_E_UNSUPPORTED, "BMP: a header of %u bytes: convert it to PNG or JPEG", n);
    if (p->bytes < 14 + (size_t)n) return oct__pic_cut(p, "the header");
    const uint32_t height = oct__u32(d + 22);
    b->top_down = height > INT_MAX;
    b->bits = oct__u16(d + 28);
    b->compression = oct__u32(d + 30);
    b->colours = oct__u32(d + 46);
    const oct_result r = oct__pic_size(p, oct__u32(d + 18), b->top_down ? 0u - height : height);
    return r ? r : oct__bmp_layout(b);
}

static unsigned char *oct__bmp_row(const oct__bmp *b, int y) {
    return oct__pic_row(b->p, b->top_down ? y : b->p->height - 1 - y);
}

/* The n pixels of a row. */
static void oct__bmp_convert(const oct__bmp *b, const unsigned char *row, size_t n, unsigned char *out) {
    const size_t bits = (size_t)b->bits, bytes = bits / 8;
    for (size_t i = 0; i < n && bits <= 8; i++, out += 3)
        memcpy(out, b->table[(unsigned)row[i * bits / 8] >> (8 - bits - i * bits % 8) & ((1u << bits) - 1)], 3);
    for (size_t i = 0; i < n && bits == 16; i++, out += 3) {
        const int v = oct__u16(row + 2 * i), green = b->five_six_five ? 63 : 31;
        out[0] = (unsigned char)((v >> (b->five_six_five ? 11 : 10) & 31) * 255 / 31);
        out[1] = (unsigned char)((v >> 5 & green) * 255 / green);
        out[2] = (unsigned char)((v & 31) * 255 / 31);
    }
    for (size_t i = 0; i < n && bits > 16; i++, row += bytes) {
        for (int k = 0; k < 3; k++) *out++ = row[b->byte[k]];
        if (b->byte[3] >= 0) *out++ = row[b->byte[3]];
    }
}
static oct_result oct__bmp_raw(oct__bmp *b) {
    oct__pic *p = b->p;
    const size_t used = ((size_t)p->width * (size_t)b->bits + 7) / 8, stride = (used + 3) & ~(size_t)3;
    size_t need;                                      /* the last row's padding may be missing */
    if (oct__mul(&need, stride, (size_t)p->height - 1) || oct__add(&need, need, used) || b->at > p->bytes ||
        p->bytes - b->at < need)
        return oct__pic_cut(p, "the pixels");
    const oct_result r = oct__pic_pixels(p, b->bits > 16 && b->byte[3] >= 0 ? 4 : 3);
    for (int y = 0; !r && y < p->height; y++)
        oct__bmp_convert(b, p->data + b->at + stride * (size_t)y, (size_t)p->width, oct__bmp_row(b, y));
    return r;
}
/* Runs.  Pixels that an end of row, of picture or a jump leaves out have the first colour. */
static oct_result oct__bmp_runs(oct__bmp *b) {
    oct__pic *p = b->p;
    const bool four = b->compression == OCT__BMP_RLE4;
    const unsigned char *d = p->data + OCT__MIN(b->at, p->bytes), *end = p->data + p->bytes;
    int x = 0, y = 0;
    const oct_result r = oct__pic_pixels(p, 3);
    if (r) return r;
    for (int row = 0; row < p->height; row++)
        for (int i = 0; i < p->width; i++) memcpy(oct__pic_row(p, row) + 3 * (size_t)i, b->table[0], 3);
    while (y < p->height && !(y == p->height - 1 && x == p->width)) {
        if (end - d < 2) return oct__pic_cut(p, "the pixels");
        const int n = d[0], what = d[1];
        d += 2;
        if (n == 0 && what == 1) break;
        if (n == 0 && what == 0) {
            x = 0;
            y++;
        } else if (n == 0 && what == 2) {
            if (end - d < 2) return oct__pic_cut(p, "the pixels");
            x = OCT__MIN(x + d[0], p->width);
            y += d[1];
            d += 2;
        } else {
            const int count = n ? n : what, bytes = n ? 0 : four ? (count + 1) / 2 : count;
            if (end - d < bytes) return oct__pic_cut(p, "the pixels");
            for (int i = 0; i < count && x < p->width; i++, x++) {
                const int v = n ? what : d[four ? i / 2 : i];
                memcpy(oct__bmp_row(b, y) + 3 * (size_t)x, b->table[four ? (i & 1 ? v & 15 : v >> 4) : v], 3);
            }
            d += OCT__MIN(bytes + (bytes & 1), (int)OCT__MIN((ptrdiff_t)512, end - d));
        }
    }
    return OCT_OK;
}
static oct_result oct__bmp_decode(oct__pic *p) {
    oct__bmp b;
    memset(&b, 0, sizeof b);
    b.p = p;
    oct_result r = oct__bmp_header(&b);
    if (!r) r = b.bits <= 8 && b.compression != OCT__BMP_RAW ? oct__bmp_runs(&b) : oct__bmp_raw(&b);
    return r;
}

/* --- decoders: PNM (PBM, PGM, PPM, plain and raw) -------------------------------------------------- */

typedef struct oct__pnm { oct__pic *p; size_t at; int kind; uint32_t max; unsigned char *scale; } oct__pnm;   /* kind: 1 to 6 */

static bool oct__pnm_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static void oct__pnm_skip(oct__pnm *f) {
    const oct__pic *p = f->p;
    for (; f->at < p->bytes && (oct__pnm_space(p->data[f->at]) || p->data[f->at] == '#'); f->at++)
        if (p->data[f->at] == '#')
            while (f->at + 1 < p->bytes && p->data[f->at] != '\n' && p->data[f->at] != '\r') f->at++;
}
/* A number of at most limit; after the last one of the header comes one byte of white space. */
static oct_result oct__pnm_number(oct__pnm *f, const char *name, uint32_t limit, uint32_t *out) {
    const oct__pic *p = f->p;
    uint32_t v = 0;
    oct__pnm_skip(f);
    if (f->at >= p->bytes) return oct__pic_cut(p, name);
    const size_t begin = f->at;
    for (; f->at < p->bytes && p->data[f->at] >= '0' && p->data[f->at] <= '9'; f->at++) {
        v = v * 10 + (uint32_t)(p->data[f->at] - '0');
        if (v > limit)
            return oct__fail(p->err, OCT_E_FORMAT, "PNM: %s at byte %zu: %u or more, expected at most %u", name, begin, v, limit);
    }
    if (f->at == begin) return oct__fail(p->err, OCT_E_FORMAT, "PNM: %s at byte %zu: no number", name, begin);
    *out = v;
    return OCT_OK;
}
static oct_result oct__pnm_header(oct__pnm *f) {
    oct__pic *p = f->p;
    uint32_t width, height;
    f->kind = p->data[1] - '0';
    f->at = 2;
    oct_result r = oct__pnm_number(f, "the width", INT_MAX / 10, &width);
    if (!r) r = oct__pnm_number(f, "the height", INT_MAX / 10, &height);
    if (!r) r = oct__pic_size(p, width, height);
    f->max = 1;
    if (!r && f->kind != 1 && f->kind != 4) r = oct__pnm_number(f, "the largest value", 65535, &f->max);
    if (r) return r;
    if (f->max == 0) return oct__fail(p->err, OCT_E_FORMAT, "PNM: the largest value is 0, expected 1 to 65535");
    if (f->at >= p->bytes || !oct__pnm_space(p->data[f->at])) return oct__pic_cut(p, "the header");
    f->at++;
    p->nearest = f->kind == 1 || f->kind == 4;
    return OCT_OK;
}
/* round(v / max * top) as Pillow has it: in double, halves to even. */
static uint32_t oct__pnm_round(uint32_t v, uint32_t max, uint32_t top) {
    const double x = (double)v / (double)max * (double)top;
    const uint32_t whole = (uint32_t)x;
    const double rest = x - (double)whole;
    return OCT__MIN(top, whole + (rest > 0.5 || (rest == 0.5 && (whole & 1))));
}
static oct_result oct__pnm_scale(oct__pnm *f) {
    const uint32_t n = f->max > 255 ? 65536 : 256;
    f->scale = OCT__NEW(&f->p->a, unsigned char, n);
    if (!f->scale) return oct__fail(f->p->err, OCT_E_MEMORY, "PNM: no memory for a table of %u bytes", n);
    const bool grey = f->kind == 2 || f->kind == 5, high = grey && f->max > 255;     /* grey of 16 bits: the high byte */
    for (uint32_t v = 0; v < n; v++)
        f->scale[v] = (unsigned char)(high ? oct__pnm_round(v, f->max, 65535) >> 8 : oct__pnm_round(v, f->max, 255));
    return OCT_OK;
}
/* The next sample of a plain file. */
static oct_result oct__pnm_plain(oct__pnm *f, unsigned char *out) {
    const oct__pic *p = f->p;
    uint32_t v;
    if (f->kind != 1) {
        const oct_result r = oct__pnm_number(f, "a sample", f->max, &v);
        if (!r) *out = f->scale[v];
        return r;
    }
    oct__pnm_skip(f);                                  /* digits may stand side by side */
    if (f->at >= p->bytes) return oct__pic_cut(p, "the pixels");
    const unsigned char c = p->data[f->at++];
    if (c != '0' && c != '1') return oct__fail(p->err, OCT_E_FORMAT, "PNM: byte %zu is no 0 or 1", f->at - 1);
    *out = c == '0' ? 255 : 0;
    return OCT_OK;
}
static oct_result oct__pnm_rows(oct__pnm *f, size_t samples, size_t stride) {
    oct__pic *p = f->p;
    const size_t n = (size_t)p->width * samples;
    for (int y = 0; y < p->height; y++, f->at += stride) {
        unsigned char *out = oct__pic_row(p, y);
        const unsigned char *row = stride ? p->data + f->at : NULL;
        for (size_t i = 0; i < n; i++) {
            unsigned char v = 0;
            if (!row) {
                const oct_result r = oct__pnm_plain(f, &v);
                if (r) return r;
            } else if (f->kind == 4) {
                v = row[i / 8] >> (7 - i % 8) & 1 ? 0 : 255;
            } else {
                v = f->scale[f->max > 255 ? oct__be16(row + 2 * i) : row[i]];
            }
            *out++ = v;
            if (samples == 1) *out++ = v, *out++ = v;
        }
    }
    return OCT_OK;
}
static oct_result oct__pnm_decode(oct__pic *p) {
    oct__pnm f;
    memset(&f, 0, sizeof f);
    f.p = p;
    oct_result r = oct__pnm_header(&f);
    if (r) return r;
    const size_t samples = f.kind == 3 || f.kind == 6 ? 3 : 1, width = (size_t)p->width * samples;
    const size_t stride = f.kind < 4 ? 0 : f.kind == 4 ? (width + 7) / 8 : f.max > 255 ? 2 * width : width;
    const size_t least = f.kind == 1 ? width : f.kind < 4 ? 2 * width : stride;       /* plain samples: a digit and a space */
    size_t need;
    if (oct__mul(&need, least, (size_t)p->height) || p->bytes - f.at < need - (f.kind == 2 || f.kind == 3))
        return oct__pic_cut(p, "the pixels");
    r = oct__pnm_scale(&f);
    if (!r) r = oct__pic_pixels(p, 3);
    if (!r) r = oct__pnm_rows(&f, samples, stride);
    oct__free(&p->a, f.scale);
    return r;
}

/* --- decoders: JPEG (baseline and progressive, Huffman codes, 8 bits) ------------------------------- */

/* A prefix code.  Codes of up to OCT__JPEG_LOOK bits are looked up, longer ones are compared with the limits of their lengths. */
enum { OCT__JPEG_LOOK = 10 };
typedef struct oct__jpeg_code {
    bool          set;
    uint16_t      look[1 << OCT__JPEG_LOOK];          /* by the next bits: length << 8 | symbol; 0: a longer code, or none */
    uint32_t      limit[17];                          /* 16 bits from here on begin with no code of this length or less */
    int           offset[17];                         /* from codes to places in symbols */
    unsigned char symbols[256];
} oct__jpeg_code;

/* Bits, highest first: buf begins with the next n, of which pad lie behind the data, where a marker or the end is. */
typedef struct oct__high_bits {
    const unsigned char *in, *end;
    uint64_t             buf;
    int                  n, pad;
} oct__high_bits;

/* One component.  Its blocks are stored up to whole units, those of a scan of its own end with the picture. */
typedef struct oct__jpeg_part {
    int            id, h, v, table, dc_code, ac_code;
    int            wide, high;                        /* samples that are part of the picture */
    int            blocks_w, blocks_h, stored_w;      /* blocks */
    int            dc;                                /* of the block before */
    bool           latched;
    signed char    sent[64];                          /* progressive: the bit down to which each is known; -1: not at all */
    uint16_t       quant[64];
    unsigned char *samples;                           /* [stored_h * 8, stored_w * 8] */
    int16_t       *coefs;                             /* [stored_h, stored_w, 64], progressive alone */
} oct__jpeg_part;

typedef struct oct__jpeg {
    oct__pic       *p;
    size_t          at;
    oct__jpeg_code  dc[4], ac[4];
    uint16_t        tables[4][64];                    /* in rows, as all coefficients here */
    bool            table_set[4], progressive, jfif, exif;
    int             adobe;                            /* the transform it tells; -1: no such marker */
    oct__jpeg_part  parts[3], *scan[3];
    int             n_parts, n_scan, h_max, v_max, units_w, units_h;
    int             from, to, high, low;              /* of the scan: coefficients in zigzag order, and bits */
    int             restart, run;                     /* run: blocks to come that have no more coefficients in this scan */
    uint64_t        blocks, visits;                   /* of the picture; how many all scans so far went through */
    oct__high_bits  bits;
    unsigned char  *rows;                             /* [n_parts, width + 8]: rows brought to full width */
} oct__jpeg;

static const unsigned char oct__jpeg_zigzag[64] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63 };

/* counts [16] of codes by length, symbols [n].  False: no prefix code; one of all ones is none either. */
static bool oct__jpeg_code_build(oct__jpeg_code *c, const unsigned char *counts, const unsigned char *symbols, size_t n) {
    uint32_t code = 0;
    int k = 0;
    memset(c, 0, sizeof *c);
    memcpy(c->symbols, symbols, n);
    for (int len = 1; len <= 16; len++, code <<= 1) {
        c->offset[len] = k - (int)code;
        for (int i = 0; i < counts[len - 1]; i++, k++, code++) {
            if (code + 1 >= 1u << len) return false;
            if (len > OCT__JPEG_LOOK) continue;
            const int spread = OCT__JPEG_LOOK - len;
            for (uint32_t j = 0; j < 1u << spread; j++) c->look[(code << spread) + j] = (uint16_t)(len << 8 | symbols[k]);
        }
        c->limit[len] = code << (16 - len);
    }
    c->set = true;
    return true;
}

/* At least 32 bits: bytes, with the zero gone that follows each 0xFF. */
static inline void oct__high_fill(oct__high_bits *b) {
    if (b->n >= 32) return;
    if (b->end - b->in >= 8) {
        const uint64_t v = __builtin_bswap64(oct__u64(b->in));
        if (!((~v - 0x0101010101010101u) & v & 0x8080808080808080u)) {           /* no byte is 0xFF */
            const int bytes = (63 - b->n) >> 3;
            b->buf |= v >> b->n;
            b->in += bytes;
            b->n += 8 * bytes;
            return;
        }
    }
    for (; b->n <= 56; b->n += 8) {
        uint64_t c = 0;
        if (b->in < b->end && *b->in != 0xFF) {
            c = *b->in++;
        } else if (b->end - b->in >= 2 && b->in[1] == 0) {
            c = 0xFF;
            b->in += 2;
        } else {
            b->pad += 8;
        }
        b->buf |= c << (56 - b->n);
    }
}
static inline void oct__high_drop(oct__high_bits *b, int n) {
    b->buf <<= n;
    b->n -= n;
}
static inline int oct__high_take(oct__high_bits *b, int n) {       /* 1 to 16 */
    const int v = (int)(b->buf >> (64 - n));
    oct__high_drop(b, n);
    return v;
}
static inline int oct__high_bit(oct__high_bits *b) {
    oct__high_fill(b);
    return oct__high_take(b, 1);
}
static inline int oct__jpeg_symbol(oct__high_bits *b, const oct__jpeg_code *c) {      /* -1: no code */
    oct__high_fill(b);
    const unsigned e = c->look[b->buf >> (64 - OCT__JPEG_LOOK)];
    if (e) {
        oct__high_drop(b, (int)(e >> 8));
        return (int)(e & 255);
    }
    const uint32_t top = (uint32_t)(b->buf >> 48);
    for (int len = OCT__JPEG_LOOK + 1; len <= 16; len++)
        if (top < c->limit[len]) {
            oct__high_drop(b, len);
            return c->symbols[(int)(top >> (16 - len)) + c->offset[len]];
        }
    return -1;
}
/* A number of so many bits; those that begin with 0 are negative. */
static inline int oct__jpeg_number(oct__high_bits *b, int bits) {  /* 0 to 15, after a symbol, so that the bits are there */
    if (bits == 0) return 0;
    const int v = oct__high_take(b, bits);
    return v >> (bits - 1) ? v : v - (1 << bits) + 1;
}

/* --- decoders: JPEG, blocks of each kind of scan.  All return false for a code that is none. */

static bool oct__jpeg_dc(oct__jpeg *g, oct__high_bits *b, oct__jpeg_part *t) {
    const int bits = oct__jpeg_symbol(b, &g->dc[t->dc_code]);
    if (bits < 0 || bits > 15) return false;
    t->dc = (int16_t)(t->dc + oct__jpeg_number(b, bits));
    return true;
}
static bool oct__jpeg_sequential(oct__jpeg *g, oct__jpeg_part *t, int16_t *c) {
    oct__high_bits b = g->bits;                       /* a copy that stores of coefficients cannot change */
    const oct__jpeg_code *code = &g->ac[t->ac_code];
    bool good = oct__jpeg_dc(g, &b, t);
    c[0] = (int16_t)t->dc;
    for (int k = 1; k < 64 && good; k++) {
        const int symbol = oct__jpeg_symbol(&b, code), bits = symbol & 15;
        if (symbol <= 0) {                            /* 0: the block is over */
            good = symbol == 0;
            break;
        }
        k += symbol >> 4;
        if (bits == 0 && symbol == 0xF0) continue;
        if (k > 63 || bits == 0) {
            good = false;
            break;
        }
        c[oct__jpeg_zigzag[k]] = (int16_t)oct__jpeg_number(&b, bits);
    }
    g->bits = b;
    return good;
}
static bool oct__jpeg_dc_first(oct__jpeg *g, oct__jpeg_part *t, int16_t *c) {
    if (!oct__jpeg_dc(g, &g->bits, t)) return false;
    c[0] = (int16_t)(t->dc * (1 << g->low));
    return true;
}
static bool oct__jpeg_dc_refine(oct__jpeg *g, int16_t *c) {
    if (oct__high_bit(&g->bits)) c[0] = (int16_t)(c[0] | 1 << g->low);
    return true;
}
/* A run of 2^size blocks and more without coefficients, this one among them. */
static int oct__jpeg_run(oct__high_bits *b, int size) {
    oct__high_fill(b);
    return (1 << size) + (size ? oct__high_take(b, size) : 0);
}
static bool oct__jpeg_ac_first(oct__jpeg *g, oct__jpeg_part *t, int16_t *c) {
    oct__high_bits *b = &g->bits;
    if (g->run > 0) {
        g->run--;
        return true;
    }
    for (int k = g->from; k <= g->to; k++) {
        const int symbol = oct__jpeg_symbol(b, &g->ac[t->ac_code]), zeros = symbol >> 4, bits = symbol & 15;
        if (symbol < 0) return false;
        if (bits == 0 && zeros < 15) {
            g->run = oct__jpeg_run(b, zeros) - 1;
            return true;
        }
        k += zeros;
        if (bits == 0) continue;
        if (k > g->to) return false;
        c[oct__jpeg_zigzag[k]] = (int16_t)(oct__jpeg_number(b, bits) * (1 << g->low));
    }
    return true;
}
/* The next bit of a coefficient that is known already. */
static inline void oct__jpeg_correct(oct__jpeg *g, int16_t *c) {
    const int bit = 1 << g->low;
    if (oct__high_bit(&g->bits) && !(*c & bit)) *c = (int16_t)(*c + (*c > 0 ? bit : -bit));
}
/* Known coefficients get their next bit as they are passed; zeros are counted, and the one after them becomes 1 or -1. */
static bool oct__jpeg_ac_refine(oct__jpeg *g, oct__jpeg_part *t, int16_t *c) {
    int k = g->from;
    for (; k <= g->to && g->run == 0; k++) {
        int symbol = oct__jpeg_symbol(&g->bits, &g->ac[t->ac_code]), zeros = symbol >> 4, value = 0;
        if (symbol < 0 || (symbol & 15) > 1) return false;
        if ((symbol & 15) == 1) {
            value = oct__high_bit(&g->bits) ? 1 << g->low : -(1 << g->low);
        } else if (zeros < 15) {
            g->run = oct__jpeg_run(&g->bits, zeros);
            break;
        }
        for (; k <= g->to; k++) {
            int16_t *x = &c[oct__jpeg_zigzag[k]];
            if (*x) oct__jpeg_correct(g, x);
            else if (zeros-- == 0) break;
        }
        if (value && k > g->to) return false;
        if (value) c[oct__jpeg_zigzag[k]] = (int16_t)value;
    }
    if (g->run == 0) return true;
    for (; k <= g->to; k++)
        if (c[oct__jpeg_zigzag[k]]) oct__jpeg_correct(g, &c[oct__jpeg_zigzag[k]]);
    g->run--;
    return true;
}

/* --- decoders: JPEG, from coefficients to samples ------------------------------------------------------ */

/* Eight numbers through the inverse cosine transform of Loeffler, Ligtenberg and Moschytz, in 13-bit fixed point: the
 * exact steps of libjpeg's slow integer method, since the last bit of a sample hangs on them.  in and out go by steps;
 * results are rounded and shifted by shift.  few: the upper four are zero.  Of 16 bits, they keep all sums within 32. */
static OCT__INLINE void oct__jpeg_idct_8(const int *in, const int step, const bool few, int *out, const int shift) {
    const int x0 = in[0], x1 = in[step], x2 = in[2 * step], x3 = in[3 * step];
    const int x4 = few ? 0 : in[4 * step], x5 = few ? 0 : in[5 * step], x6 = few ? 0 : in[6 * step], x7 = few ? 0 : in[7 * step];
    const int half = 1 << (shift - 1);
    const int even = (x2 + x6) * 4433, e0 = (x0 + x4) * 8192, e1 = (x0 - x4) * 8192;
    const int e2 = even - x6 * 15137, e3 = even + x2 * 6270;
    const int a0 = e0 + e3 + half, a1 = e1 + e2 + half, a2 = e1 - e2 + half, a3 = e0 - e3 + half;
    const int odd = (x7 + x3 + x5 + x1) * 9633;
    const int o1 = (x7 + x1) * -7373, o2 = (x5 + x3) * -20995;
    const int o3 = (x7 + x3) * -16069 + odd, o4 = (x5 + x1) * -3196 + odd;
    const int b0 = x7 * 2446 + o1 + o3, b1 = x5 * 16819 + o2 + o4, b2 = x3 * 25172 + o2 + o3, b3 = x1 * 12299 + o1 + o4;
    out[0] = (a0 + b3) >> shift;
    out[step] = (a1 + b2) >> shift;
    out[2 * step] = (a2 + b1) >> shift;
    out[3 * step] = (a3 + b0) >> shift;
    out[4 * step] = (a3 - b0) >> shift;
    out[5 * step] = (a2 - b1) >> shift;
    out[6 * step] = (a1 - b2) >> shift;
    out[7 * step] = (a0 - b3) >> shift;
}
static inline unsigned char oct__byte(int v) {
    if ((unsigned)v > 255) v = v < 0 ? 0 : 255;       /* seldom */
    return (unsigned char)v;
}
/* c [64] times q [64] to 8 x 8 samples.  few: only the upper left quarter is not zero. */
static OCT__INLINE void oct__jpeg_idct(const int16_t *c, const uint16_t *q, const bool few, unsigned char *out, size_t stride) {
    int work[64];                                     /* transformed by columns, then by rows */
    unsigned beyond = 0;
    for (int i = 0; i < 64; i++) work[i] = (int16_t)(c[i] * q[i]);
    for (int x = 0; x < (few ? 4 : 8); x++) oct__jpeg_idct_8(work + x, 8, few, work + x, 11);
    for (int i = 0; i < 64; i++) beyond |= (unsigned)(work[i] + 32768) >> 16;
    for (int i = 0; i < 64 && beyond; i++) work[i] = OCT__MAX(-32768, OCT__MIN(work[i], 32767));
    for (int y = 0; y < 8; y++, out += stride) {
        int r[8];
        oct__jpeg_idct_8(work + 8 * y, 1, few, r, 18);
        out[0] = oct__byte(r[0] + 128);
        out[1] = oct__byte(r[1] + 128);
        out[2] = oct__byte(r[2] + 128);
        out[3] = oct__byte(r[3] + 128);
        out[4] = oct__byte(r[4] + 128);
        out[5] = oct__byte(r[5] + 128);
        out[6] = oct__byte(r[6] + 128);
        out[7] = oct__byte(r[7] + 128);
    }
}
/* Block (x, y) of a component, from its coefficients c [64].  Most have few, and then much can be left out. */
static void oct__jpeg_samples(const oct__jpeg_part *t, const int16_t *c, int x, int y) {
    const size_t stride = (size_t)t->stored_w * 8;
    unsigned char *out = t->samples + (size_t)y * 8 * stride + (size_t)x * 8;
    uint64_t quarter = oct__u64(c) & ~(uint64_t)0xFFFF, rest = oct__u64(c + 4);       /* all but the first; all but the quarter */
    for (int row = 1; row < 8; row++) {
        *(row < 4 ? &quarter : &rest) |= oct__u64(c + 8 * row);
        rest |= oct__u64(c + 8 * row + 4);
    }
    if (rest) {
        oct__jpeg_idct(c, t->quant, false, out, stride);
    } else if (quarter) {
        oct__jpeg_idct(c, t->quant, true, out, stride);
    } else {
        const int dc = (int16_t)(c[0] * t->quant[0]), v = oct__byte(((dc * 4 + 16) >> 5) + 128);
        for (int row = 0; row < 8; row++) memset(out + (size_t)row * stride, v, 8);
    }
}

/* --- decoders: JPEG, the data of a scan ------------------------------------------------------------------- */

static bool oct__jpeg_block(oct__jpeg *g, oct__jpeg_part *t, int x, int y) {
    if (!g->progressive) {
        int16_t c[64] = { 0 };
        if (!oct__jpeg_sequential(g, t, c)) return false;
        oct__jpeg_samples(t, c, x, y);
        return true;
    }
    int16_t *c = t->coefs + ((size_t)y * (size_t)t->stored_w + (size_t)x) * 64;
    if (g->from == 0) return g->high ? oct__jpeg_dc_refine(g, c) : oct__jpeg_dc_first(g, t, c);
    return g->high ? oct__jpeg_ac_refine(g, t, c) : oct__jpeg_ac_first(g, t, c);
}
static void oct__jpeg_begin_data(oct__jpeg *g, const unsigned char *in) {
    g->bits.in = in;
    g->bits.end = g->p->data + g->p->bytes;
    g->bits.buf = 0;
    g->bits.n = g->bits.pad = g->run = 0;
    for (int i = 0; i < g->n_parts; i++) g->parts[i].dc = 0;
}
/* The next marker at or after at: its last byte is at *at afterwards.  0: none. */
static int oct__jpeg_marker(const oct__pic *p, size_t *at) {
    for (size_t i = *at; p->bytes - i >= 2 && i < p->bytes; i++)
        if (p->data[i] == 0xFF && p->data[i + 1] != 0 && p->data[i + 1] != 0xFF) {
            *at = i + 1;
            return p->data[i + 1];
        }
    return 0;
}
/* Number k of the markers between which the data can be taken up again. */
static oct_result oct__jpeg_resume(oct__jpeg *g, int k) {
    oct__pic *p = g->p;
    size_t at = (size_t)(g->bits.in - p->data);
    if (g->bits.pad > g->bits.n) return oct__pic_cut(p, "the pixels");
    const int marker = oct__jpeg_marker(p, &at);
    if (!marker) return oct__pic_cut(p, "the pixels");
    if (marker != 0xD0 + (k & 7))
        return oct__fail(p->err, OCT_E_FORMAT, "JPEG: marker %02X at byte %zu, expected restart marker %02X", marker, at,
                         0xD0 + (k & 7));
    oct__jpeg_begin_data(g, p->data + at + 1);
    return OCT_OK;
}
static bool oct__jpeg_unit(oct__jpeg *g, int x, int y) {
    if (g->n_scan == 1) return oct__jpeg_block(g, g->scan[0], x, y);
    for (int i = 0; i < g->n_scan; i++) {
        oct__jpeg_part *t = g->scan[i];
        for (int k = 0; k < t->h * t->v; k++)
            if (!oct__jpeg_block(g, t, x * t->h + k % t->h, y * t->v + k / t->h)) return false;
    }
    return true;
}
static oct_result oct__jpeg_data(oct__jpeg *g) {
    oct__pic *p = g->p;
    const bool alone = g->n_scan == 1;
    const int across = alone ? g->scan[0]->blocks_w : g->units_w, down = alone ? g->scan[0]->blocks_h : g->units_h;
    int left = g->restart, k = 0;
    oct__jpeg_begin_data(g, p->data + g->at);
    for (int y = 0; y < down; y++) {
        for (int x = 0; x < across; x++, left--) {
            if (g->restart && left == 0) {
                const oct_result r = oct__jpeg_resume(g, k++);
                if (r) return r;
                left = g->restart;
            }
            if (!oct__jpeg_unit(g, x, y))
                return g->bits.pad > g->bits.n ? oct__pic_cut(p, "the pixels") :
                       oct__fail(p->err, OCT_E_FORMAT, "JPEG: the data near byte %zu are spoilt: a code that there is not",
                                 (size_t)(g->bits.in - p->data));
        }
        if (g->bits.pad > g->bits.n) return oct__pic_cut(p, "the pixels");
    }
    g->at = (size_t)(g->bits.in - p->data);
    return OCT_OK;
}

/* --- decoders: JPEG, markers --------------------------------------------------------------------------------- */

static oct_result oct__jpeg_quant(oct__jpeg *g, const unsigned char *d, size_t n) {
    while (n > 0) {
        const size_t wide = d[0] >> 4, bytes = 1 + 64 * (wide + 1);
        const int k = d[0] & 15;
        if (wide > 1 || k > 3 || n < bytes)
            return oct__fail(g->p->err, OCT_E_FORMAT, "JPEG: table %02x of divisors with %zu bytes", d[0], n);
        for (size_t i = 0; i < 64; i++)
            g->tables[k][oct__jpeg_zigzag[i]] = (uint16_t)(wide ? oct__be16(d + 1 + 2 * i) : d[1 + i]);
        g->table_set[k] = true;
        d += bytes;
        n -= bytes;
    }
    return OCT_OK;
}
static oct_result oct__jpeg_codes(oct__jpeg *g, const unsigned char *d, size_t n) {
    while (n > 0) {
        size_t count = 0;
        for (size_t i = 0; i < 16 && n >= 17; i++) count += d[1 + i];
        if ((d[0] & 0xEF) > 3 || n < 17 + count || count > 256)
            return oct__fail(g->p->err, OCT_E_FORMAT, "JPEG: table %02x of codes with %zu bytes", d[0], n);
        if (!oct__jpeg_code_build(d[0] & 16 ? &g->ac[d[0] & 3] : &g->dc[d[0] & 3], d + 1, d + 17, count))
            return oct__fail(g->p->err, OCT_E_FORMAT, "JPEG: table %02x of codes: too many of one length", d[0]);
        d += 17 + count;
        n -= 17 + count;
    }
    return OCT_OK;
}
static int oct__jpeg_up(int a, int b) { return (a + b - 1) / b; }

/* The sizes of the components, once all their factors are known. */
static oct_result oct__jpeg_plan(oct__jpeg *g) {
    oct__pic *p = g->p;
    g->units_w = oct__jpeg_up(p->width, 8 * g->h_max);
    g->units_h = oct__jpeg_up(p->height, 8 * g->v_max);
    for (int i = 0; i < g->n_parts; i++) {
        oct__jpeg_part *t = &g->parts[i];
        if (g->h_max % t->h || g->v_max % t->v)
            return oct__fail(p->err, OCT_E_UNSUPPORTED, "JPEG: component %d is sampled %d x %d of %d x %d: convert it to PNG",
                             i, t->h, t->v, g->h_max, g->v_max);
        t->wide = oct__jpeg_up(p->width * t->h, g->h_max);
        t->high = oct__jpeg_up(p->height * t->v, g->v_max);
        t->blocks_w = oct__jpeg_up(t->wide, 8);
        t->blocks_h = oct__jpeg_up(t->high, 8);
        t->stored_w = g->units_w * t->h;
        g->blocks += (uint64_t)t->blocks_w * (uint64_t)t->blocks_h;
    }
    if (p->bytes - g->at < g->blocks / 8) return oct__pic_cut(p, "the pixels");       /* no block takes less than a bit */
    for (int i = 0; i < g->n_parts; i++) {
        oct__jpeg_part *t = &g->parts[i];
        const size_t stored = (size_t)t->stored_w * (size_t)(g->units_h * t->v);
        t->samples = (unsigned char *)oct__alloc_n(&p->a, stored, 64);
        if (g->progressive) t->coefs = (int16_t *)oct__alloc_n(&p->a, stored, 64 * sizeof(int16_t));
        if (!t->samples || (g->progressive && !t->coefs))
            return oct__fail(p->err, OCT_E_MEMORY, "JPEG: no memory for %d x %d pixels", p->width, p->height);
        if (t->coefs) memset(t->coefs, 0, stored * 64 * sizeof(int16_t));
        memset(t->sent, -1, sizeof t->sent);
    }
    return OCT_OK;
}
static oct_result oct__jpeg_frame(oct__jpeg *g, int marker, const unsigned char *d, size_t n) {
    oct__pic *p = g->p;
    if (g->n_parts) return oct__fail(p->err, OCT_E_FORMAT, "JPEG: a second frame header at byte %zu", g->at);
    if (n < 6 || n != 6 + 3 * (size_t)d[5])
        return oct__fail(p->err, OCT_E_FORMAT, "JPEG: a frame header of %zu bytes, expected 6 and 3 a component", n);
    const int n_parts = d[5];
    if (d[0] != 8) return oct__fail(p->err, OCT_E_UNSUPPORTED, "JPEG: %d bits a sample, expected 8: convert it to PNG", d[0]);
    if (n_parts == 4) return oct__fail(p->err, OCT_E_UNSUPPORTED, "JPEG: four components (CMYK): convert it to PNG");
    if (n_parts != 1 && n_parts != 3)
        return oct__fail(p->err, OCT_E_UNSUPPORTED, "JPEG: %d components, expected 1 or 3", n_parts);
    if (oct__be16(d + 1) == 0)
        return oct__fail(p->err, OCT_E_UNSUPPORTED, "JPEG: the height stands behind the pixels: convert it to PNG");
    const oct_result r = oct__pic_size(p, oct__be16(d + 3), oct__be16(d + 1));
    if (r) return r;
    g->progressive = marker == 0xC2;
    for (int i = 0; i < n_parts; i++) {
        oct__jpeg_part *t = &g->parts[i];
        t->id = d[6 + 3 * i];
        t->h = d[7 + 3 * i] >> 4;
        t->v = d[7 + 3 * i] & 15;
        t->table = d[8 + 3 * i];
        if (t->h < 1 || t->h > 4 || t->v < 1 || t->v > 4 || t->table > 3)
            return oct__fail(p->err, OCT_E_FORMAT,
                             "JPEG: component %d: sampled %d x %d with table %d, expected 1 to 4 and up to 3", i, t->h, t->v,
                             t->table);
        g->h_max = OCT__MAX(g->h_max, t->h);
        g->v_max = OCT__MAX(g->v_max, t->v);
    }
    g->n_parts = n_parts;
    return oct__jpeg_plan(g);
}
/* Which coefficients and bits the scan brings: as the standard orders them, so that none comes more than 14 times.  A block
 * may be gone through for a single bit of a single coefficient; as often as it has coefficients is enough. */
static oct_result oct__jpeg_progress(oct__jpeg *g) {
    const bool dc = g->from == 0;
    if ((dc ? g->to != 0 : g->n_scan != 1) || g->from > g->to || g->to > 63 || g->low > 13 || (g->high && g->high != g->low + 1))
        return oct__fail(g->p->err, OCT_E_FORMAT, "JPEG: a scan of coefficients %d to %d, bits %d to %d, which there is not",
                         g->from, g->to, g->high, g->low);
    for (int i = 0; i < g->n_scan; i++)
        for (int k = g->from; k <= g->to; k++) {
            if (g->scan[i]->sent[k] != (g->high ? g->high : -1))
                return oct__fail(g->p->err, OCT_E_FORMAT,
                                 "JPEG: a scan brings bit %d of coefficient %d, which is known to bit %d", g->low, k,
                                 g->scan[i]->sent[k]);
            g->scan[i]->sent[k] = (signed char)g->low;
        }
    for (int i = 0; i < g->n_scan; i++) g->visits += (uint64_t)g->scan[i]->blocks_w * (uint64_t)g->scan[i]->blocks_h;
    if (g->visits > (1u << 22) && g->visits / 64 > g->blocks)
        return oct__fail(g->p->err, OCT_E_LIMIT, "JPEG: its scans go through %llu blocks, more than 64 times the %llu it has",
                         (unsigned long long)g->visits, (unsigned long long)g->blocks);
    return OCT_OK;
}
/* What a component needs in the scan: it is there once a scan (sequential: once), with its tables. */
static oct_result oct__jpeg_scan_part(oct__jpeg *g, int id, int codes) {
    oct__pic *p = g->p;
    oct__jpeg_part *t = NULL;
    for (int i = 0; i < g->n_parts && !t; i++) {
        bool used = false;
        for (int k = 0; k < g->n_scan; k++) used = used || g->scan[k] == &g->parts[i];
        if (g->parts[i].id == id && !used) t = &g->parts[i];
    }
    if (!t) return oct__fail(p->err, OCT_E_FORMAT, "JPEG: a scan of component %d, which there is not", id);
    t->dc_code = codes >> 4;
    t->ac_code = codes & 15;
    const bool need_dc = !g->progressive || (g->from == 0 && g->high == 0), need_ac = !g->progressive || g->from > 0;
    if (t->dc_code > 3 || t->ac_code > 3 || (need_dc && !g->dc[t->dc_code].set) || (need_ac && !g->ac[t->ac_code].set))
        return oct__fail(p->err, OCT_E_FORMAT, "JPEG: a scan needs the tables of codes %d and %d, which have not come",
                         t->dc_code, t->ac_code);
    if (!t->latched && !g->table_set[t->table])
        return oct__fail(p->err, OCT_E_FORMAT, "JPEG: a scan needs the table of divisors %d, which has not come", t->table);
    if (t->latched && !g->progressive) return oct__fail(p->err, OCT_E_FORMAT, "JPEG: component %d comes twice", id);
    if (!t->latched) memcpy(t->quant, g->tables[t->table], sizeof t->quant);
    t->latched = true;
    g->scan[g->n_scan++] = t;
    return OCT_OK;
}
static oct_result oct__jpeg_scan(oct__jpeg *g, const unsigned char *d, size_t n) {
    oct__pic *p = g->p;
    if (!g->n_parts) return oct__fail(p->err, OCT_E_FORMAT, "JPEG: a scan before the frame header");
    const int count = n > 0 ? d[0] : 0;
    if (count < 1 || count > g->n_parts || n != 4 + 2 * (size_t)count)
        return oct__fail(p->err, OCT_E_FORMAT, "JPEG: a scan header of %zu bytes for %d components", n, count);
    g->from = d[n - 3];
    g->to = d[n - 2];
    g->high = d[n - 1] >> 4;
    g->low = d[n - 1] & 15;
    g->n_scan = 0;
    oct_result r = OCT_OK;
    int blocks = 0;
    for (int i = 0; i < count && !r; i++) {
        r = oct__jpeg_scan_part(g, d[1 + 2 * i], d[2 + 2 * i]);
        if (!r) blocks += g->scan[i]->h * g->scan[i]->v;
    }
    if (!r && count > 1 && blocks > 10)
        r = oct__fail(p->err, OCT_E_FORMAT, "JPEG: %d blocks a unit, expected at most 10", blocks);
    if (!r && g->progressive) r = oct__jpeg_progress(g);
    return r ? r : oct__jpeg_data(g);
}
static oct_result oct__jpeg_refuse(const oct__jpeg *g, int marker) {
    const char *what = marker == 0xC3 ? "lossless" : marker == 0xDC ? "with its height behind the pixels" :
                       marker >= 0xC9 && marker <= 0xCF ? "with arithmetic codes" :
                       marker >= 0xC5 && marker <= 0xC7 ? "hierarchical" : NULL;
    if (what) return oct__fail(g->p->err, OCT_E_UNSUPPORTED, "JPEG: %s, which is not read: convert it to PNG", what);
    return oct__fail(g->p->err, OCT_E_FORMAT, "JPEG: marker %02X at byte %zu, which stands for nothing", marker, g->at);
}
/* One marker with its data d [n]. */
static oct_result oct__jpeg_segment(oct__jpeg *g, int marker, const unsigned char *d, size_t n) {
    switch (marker) {
    case 0xC0: case 0xC1: case 0xC2: return oct__jpeg_frame(g, marker, d, n);
    case 0xC4: return oct__jpeg_codes(g, d, n);
    case 0xDB: return oct__jpeg_quant(g, d, n);
    case 0xDA: return oct__jpeg_scan(g, d, n);
    case 0xDD:
        if (n != 2) return oct__fail(g->p->err, OCT_E_FORMAT, "JPEG: a restart interval of %zu bytes, expected 2", n);
        g->restart = (int)oct__be16(d);
        return OCT_OK;
    case 0xE0:
        g->jfif = g->jfif || (n >= 14 && memcmp(d, "JFIF", 5) == 0);
        return OCT_OK;
    case 0xE1:
        if (!g->exif && n > 6 && memcmp(d, "Exif\0", 6) == 0) {
            g->exif = true;
            g->p->orientation = oct__exif_orientation(d + 6, n - 6);
        }
        return OCT_OK;
    case 0xEE:
        if (n >= 12 && memcmp(d, "Adobe", 5) == 0) g->adobe = d[11];
        return OCT_OK;
    default: return marker >= 0xE0 && (marker < 0xF0 || marker == 0xFE) ? OCT_OK : oct__jpeg_refuse(g, marker);
    }
}
/* Whether every component has come; a progressive picture is complete only where the file says that it ends.  One that ends
 * without some coefficients is shown as it is: libjpeg would smooth the edges of its blocks. */
static bool oct__jpeg_complete(const oct__jpeg *g, bool ended) {
    for (int i = 0; i < g->n_parts; i++)
        if (!g->parts[i].latched || (g->progressive && g->parts[i].sent[0] < 0)) return false;
    return g->n_parts > 0 && (ended || !g->progressive);
}
static oct_result oct__jpeg_markers(oct__jpeg *g) {
    oct__pic *p = g->p;
    g->at = 2;
    while (!oct__jpeg_complete(g, false)) {
        const int marker = oct__jpeg_marker(p, &g->at);
        if (!marker) return oct__pic_cut(p, g->n_parts ? "the pixels" : "the header");
        if (marker == 0xD9) {
            if (oct__jpeg_complete(g, true)) return OCT_OK;
            return oct__fail(p->err, OCT_E_FORMAT, "JPEG: it ends at byte %zu before all of its pixels came", g->at);
        }
        g->at++;
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7)) continue;
        const size_t n = p->bytes - g->at >= 2 ? oct__be16(p->data + g->at) : 0;
        if (p->bytes - g->at < 2 || n > p->bytes - g->at) return oct__pic_cut(p, "the header");
        if (n < 2) return oct__fail(p->err, OCT_E_FORMAT, "JPEG: marker %02X at byte %zu has a length of %zu", marker, g->at, n);
        const unsigned char *d = p->data + g->at + 2;
        g->at += n;
        const oct_result r = oct__jpeg_segment(g, marker, d, n - 2);
        if (r) return r;
    }
    return OCT_OK;
}

/* --- decoders: JPEG, from samples to pixels --------------------------------------------------------------------- */

/* libjpeg's "fancy" filters: a sample in between is 3/4 of the nearer and 1/4 of the farther one; halves are rounded up
 * and down in turns.  in, far: [n], far the farther row (in twice: one row); out: [2 * n]. */
static void oct__jpeg_double_width(const unsigned char *in, int n, unsigned char *out) {
    *out++ = in[0];
    for (int i = 0; i + 1 < n; i++) {
        *out++ = (unsigned char)((3 * in[i] + in[i + 1] + 2) >> 2);
        *out++ = (unsigned char)((3 * in[i + 1] + in[i] + 1) >> 2);
    }
    *out = in[n - 1];
}
static void oct__jpeg_double_both(const unsigned char *in, const unsigned char *far, int n, unsigned char *out) {
    int a = 3 * in[0] + far[0];
    *out++ = (unsigned char)((4 * a + 8) >> 4);
    for (int i = 0; i + 1 < n; i++) {
        const int b = 3 * in[i + 1] + far[i + 1];
        *out++ = (unsigned char)((3 * a + b + 7) >> 4);
        *out++ = (unsigned char)((3 * b + a + 8) >> 4);
        a = b;
    }
    *out = (unsigned char)((4 * a + 7) >> 4);
}
/* Row y of the picture from one component: its own row, or one made in out [width + 8]. */
static const unsigned char *oct__jpeg_row(const oct__jpeg *g, const oct__jpeg_part *t, int y, unsigned char *out) {
    const size_t stride = (size_t)t->stored_w * 8;
    const int across = g->h_max / t->h, down = g->v_max / t->v, near = y / down;
    const int next = OCT__MAX(0, OCT__MIN(y % 2 ? near + 1 : near - 1, t->high - 1));
    const unsigned char *in = t->samples + (size_t)near * stride, *far = t->samples + (size_t)next * stride;
    if (across == 1 && down == 2) {
        for (int i = 0; i < t->wide; i++) out[i] = (unsigned char)((3 * in[i] + far[i] + 1 + y % 2) >> 2);
    } else if (across == 2 && down == 2 && t->wide > 2) {
        oct__jpeg_double_both(in, far, t->wide, out);
    } else if (across == 2 && down == 1 && t->wide > 2) {
        oct__jpeg_double_width(in, t->wide, out);
    } else if (across > 1) {
        for (int i = 0; i < t->wide; i++) memset(out + i * across, in[i], (size_t)across);
    } else {
        return in;
    }
    return out;
}
/* JFIF's conversion in 16-bit fixed point, as libjpeg rounds it. */
static void oct__jpeg_rgb(const unsigned char *y, const unsigned char *cb, const unsigned char *cr, int n, unsigned char *out) {
    for (int i = 0; i < n; i++, out += 3) {
        const int b = cb[i] - 128, r = cr[i] - 128;
        out[0] = oct__byte(y[i] + ((91881 * r + 32768) >> 16));
        out[1] = oct__byte(y[i] + ((-22554 * b - 46802 * r + 32768) >> 16));
        out[2] = oct__byte(y[i] + ((116130 * b + 32768) >> 16));
    }
}
static oct_result oct__jpeg_pixels(oct__jpeg *g) {
    oct__pic *p = g->p;
    const bool named_rgb = g->parts[0].id == 'R' && g->parts[1].id == 'G' && g->parts[2].id == 'B';
    const bool rgb = !g->jfif && (g->adobe >= 0 ? g->adobe == 0 : named_rgb);
    const size_t wide = (size_t)p->width + 8;
    for (int i = 0; i < g->n_parts && g->progressive; i++) {
        const oct__jpeg_part *t = &g->parts[i];
        for (int y = 0; y < t->blocks_h; y++)
            for (int x = 0; x < t->blocks_w; x++)
                oct__jpeg_samples(t, t->coefs + ((size_t)y * (size_t)t->stored_w + (size_t)x) * 64, x, y);
    }
    g->rows = (unsigned char *)oct__alloc_n(&p->a, wide, (size_t)g->n_parts);
    if (!g->rows) return oct__fail(p->err, OCT_E_MEMORY, "JPEG: no memory for rows of %d pixels", p->width);
    const oct_result r = oct__pic_pixels(p, 3);
    for (int y = 0; y < p->height && !r; y++) {
        const unsigned char *row[3];
        unsigned char *out = oct__pic_row(p, y);
        for (int i = 0; i < 3; i++)
            row[i] = i < g->n_parts ? oct__jpeg_row(g, &g->parts[i], y, g->rows + wide * (size_t)i) : row[0];
        if (g->n_parts == 3 && !rgb) oct__jpeg_rgb(row[0], row[1], row[2], p->width, out);
        else
            for (int x = 0; x < p->width; x++)
                for (int i = 0; i < 3; i++) *out++ = row[i][x];
    }
    return r;
}
static oct_result oct__jpeg_decode(oct__pic *p) {
    oct__jpeg *g = OCT__NEW(&p->a, oct__jpeg, 1);
    if (!g) return oct__fail(p->err, OCT_E_MEMORY, "JPEG: no memory for its tables");
    memset(g, 0, sizeof *g);
    g->p = p;
    g->adobe = -1;
    oct_result r = oct__jpeg_markers(g);
    if (!r) r = oct__jpeg_pixels(g);
    for (int i = 0; i < 3; i++) {
        oct__free(&p->a, g->parts[i].samples);
        oct__free(&p->a, g->parts[i].coefs);
    }
    oct__free(&p->a, g->rows);
    oct__free(&p->a, g);
    return r;
}

/* --- decoders: which one it is, and the public functions ------------------------------------------ */

/* Formats by their first bytes; '?' in a mark is any byte.  Without a decoder: named, and refused. */
typedef struct oct__pic_kind { const char *name, *mark; size_t n; oct_result (*decode)(oct__pic *p); } oct__pic_kind;
static const oct__pic_kind *oct__pic_find(const unsigned char *d, size_t n) {
    static const oct__pic_kind kinds[] = {
        { "PNG", "\x89PNG\r\n\x1a\n", 8, oct__png_decode }, { "JPEG", "\xff\xd8\xff", 3, oct__jpeg_decode },
        { "BMP", "BM", 2, oct__bmp_decode },
        { "PNM", "P1", 2, oct__pnm_decode }, { "PNM", "P2", 2, oct__pnm_decode }, { "PNM", "P3", 2, oct__pnm_decode },
        { "PNM", "P4", 2, oct__pnm_decode }, { "PNM", "P5", 2, oct__pnm_decode }, { "PNM", "P6", 2, oct__pnm_decode },
        { "PAM", "P7", 2, NULL }, { "PFM", "PF", 2, NULL }, { "PFM", "Pf", 2, NULL },
        { "WebP", "RIFF????WEBP", 12, NULL }, { "GIF", "GIF8", 4, NULL },
        { "TIFF", "II*\0", 4, NULL }, { "TIFF", "MM\0*", 4, NULL }, { "TIFF", "II+\0", 4, NULL }, { "TIFF", "MM\0+", 4, NULL },
        { "AVIF", "????ftypavif", 12, NULL }, { "AVIF", "????ftypavis", 12, NULL }, { "HEIC", "????ftyphe", 10, NULL },
        { "HEIF", "????ftypmif1", 12, NULL }, { "HEIF", "????ftypmsf1", 12, NULL },
        { "JPEG XL", "\xff\x0a", 2, NULL }, { "JPEG XL", "\0\0\0\x0cJXL ", 8, NULL },
        { "JPEG 2000", "\0\0\0\x0cjP  ", 8, NULL }, { "JPEG 2000", "\xff\x4f\xff\x51", 4, NULL },
        { "ICO", "\0\0\1\0", 4, NULL }, { "PSD", "8BPS", 4, NULL }, { "PDF", "%PDF", 4, NULL }, { "OpenEXR", "v/1\x01", 4, NULL },
        { "QOI", "qoif", 4, NULL }, { "DDS", "DDS ", 4, NULL }, { "SVG", "<svg", 4, NULL }
    };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        size_t i = 0;
        while (i < kinds[k].n && i < n && (kinds[k].mark[i] == '?' || (unsigned char)kinds[k].mark[i] == d[i])) i++;
        if (i == kinds[k].n) return &kinds[k];
    }
    return NULL;
}
static oct_result oct__pic_decode(oct__pic *p) {
    if (p->bytes == 0) return oct__fail(p->err, OCT_E_FORMAT, "the file is empty, expected a picture");
    const oct__pic_kind *kind = oct__pic_find(p->data, p->bytes);
    if (!kind) {
        unsigned char b[4] = { 0, 0, 0, 0 };
        memcpy(b, p->data, OCT__MIN(p->bytes, sizeof b));
        return oct__fail(p->err, OCT_E_FORMAT,
                         "no picture that is known: %zu bytes from %02x %02x %02x %02x on, expected PNG, JPEG, BMP or PNM",
                         p->bytes, b[0], b[1], b[2], b[3]);
    }
    if (!kind->decode)
        return oct__fail(p->err, OCT_E_UNSUPPORTED, "this is a %s file, which is not read: convert it to PNG or JPEG",
                         kind->name);
    p->format = kind->name;
    return kind->decode(p);
}
static oct_result oct__pic_begin(oct__pic *p, oct_picture *out, const oct_picture_desc *desc, oct_error *err) {
    memset(p, 0, sizeof *p);
    p->err = err;
    p->orientation = 1;
    p->max_pixels = desc && desc->max_pixels ? desc->max_pixels : (size_t)1 << 26;
    if (desc) p->a = desc->allocator;
    if (err) {
        err->code = OCT_OK;
        err->message[0] = 0;
    }
    if (!out) return oct__fail(err, OCT_E_ARG, "out is NULL");
    memset(out, 0, sizeof *out);
    if ((p->a.alloc == NULL) != (p->a.free == NULL))
        return oct__fail(err, OCT_E_ARG, "allocator: only one of alloc and free is set, expected both or neither");
    return OCT_OK;
}
static oct_result oct__pic_finish(oct__pic *p, oct_picture *out) {
    const oct_result r = oct__pic_decode(p);
    if (r) {
        oct__free(&p->a, p->pixels);
        return r;
    }
    out->image.pixels = p->pixels;
    out->image.width = p->width;
    out->image.height = p->height;
    out->image.stride_bytes = (size_t)p->width * (size_t)p->n_channels;
    out->image.n_channels = p->n_channels;
    out->image.nearest = p->nearest;
    out->orientation = p->orientation;
    out->format = p->format;
    out->allocator = p->a;
    out->memory = p->pixels;
    return OCT_OK;
}

OCT_API oct_result oct_picture_open_memory(oct_picture *out, const void *bytes, size_t n, const oct_picture_desc *desc,
                                           oct_error *err) {
    oct__pic p;
    const oct_result r = oct__pic_begin(&p, out, desc, err);
    if (r) return r;
    if (!bytes && n) return oct__fail(err, OCT_E_ARG, "bytes is NULL");
    p.data = (const unsigned char *)bytes;
    p.bytes = n;
    return oct__pic_finish(&p, out);
}

OCT_API oct_result oct_picture_open(oct_picture *out, const char *path, const oct_picture_desc *desc, oct_error *err) {
    oct__pic p;
    oct_result r = oct__pic_begin(&p, out, desc, err);
    if (!r && (!path || !*path)) r = oct__fail(err, OCT_E_ARG, "path: %s, expected a file's name", path ? "empty" : "NULL");
    if (r) return r;
#if defined(OCTAVIUS_NO_STDIO)
    return oct__fail(err, OCT_E_UNSUPPORTED, "built with OCTAVIUS_NO_STDIO: open from memory");
#else
    oct__file f;
    if ((r = oct__file_open(&f, path, "a picture", err)) != OCT_OK) return r;
    /* the loosest format, and what a file says besides */
    const uint64_t limit = OCT__MIN((uint64_t)p.max_pixels, UINT64_MAX / 32) * 16 + (1u << 24);
    unsigned char *data = f.bytes > limit || f.bytes > SIZE_MAX ? NULL : (unsigned char *)oct__alloc(&p.a, (size_t)f.bytes);
    if (f.bytes > limit)
        r = oct__fail(err, OCT_E_LIMIT, "'%s': %llu bytes, more than a picture within the limit has (%llu)", oct__path_tail(path),
                      (unsigned long long)f.bytes, (unsigned long long)limit);
    else if (!data)
        r = oct__fail(err, OCT_E_MEMORY, "'%s': no memory for its %llu bytes", oct__path_tail(path), (unsigned long long)f.bytes);
    else if (oct__file_read(&f, 0, data, (size_t)f.bytes) != (size_t)f.bytes)
        r = oct__fail(err, OCT_E_IO, "'%s': its %llu bytes cannot be read", oct__path_tail(path), (unsigned long long)f.bytes);
    oct__file_close(&f);
    p.data = data;
    p.bytes = (size_t)f.bytes;
    if (!r) r = oct__pic_finish(&p, out);
    oct__free(&p.a, data);
    return r;
#endif
}
#else
static oct_result oct__pic_left_out(oct_picture *out, oct_error *err) {
    if (out) memset(out, 0, sizeof *out);
    return oct__fail(err, OCT_E_UNSUPPORTED, "built with OCTAVIUS_NO_PICTURES: picture files are not read");
}
OCT_API oct_result oct_picture_open_memory(oct_picture *out, const void *bytes, size_t n, const oct_picture_desc *desc,
                                           oct_error *err) {
    OCT__UNUSED(bytes), OCT__UNUSED(n), OCT__UNUSED(desc);
    return oct__pic_left_out(out, err);
}
OCT_API oct_result oct_picture_open(oct_picture *out, const char *path, const oct_picture_desc *desc, oct_error *err) {
    OCT__UNUSED(path), OCT__UNUSED(desc);
    return oct__pic_left_out(out, err);
}
#endif /* OCTAVIUS_NO_PICTURES */

/* Rows and columns trade places first (5 to 8), then either may be counted from the other end. */
OCT_API oct_result oct_picture_upright(oct_picture *picture, oct_error *err) {
    if (err) {
        err->code = OCT_OK;
        err->message[0] = 0;
    }
    if (!picture || !picture->image.pixels)
        return oct__fail(err, OCT_E_ARG, "picture: %s, expected an open one", picture ? "closed" : "NULL");
    const oct_image m = picture->image;
    const int turn = picture->orientation;
    if (turn < 1 || turn > 8) return oct__fail(err, OCT_E_ARG, "orientation: %d, expected 1 to 8", turn);
    if (turn == 1) return OCT_OK;
    const size_t c = m.n_channels == 4 ? 4 : 3, stride = m.stride_bytes ? m.stride_bytes : (size_t)m.width * c;
    const bool swapped = turn >= 5, from_right = turn == 2 || turn == 3 || turn == 7 || turn == 8,
               from_bottom = turn == 3 || turn == 4 || turn == 6 || turn == 7;
    const int width = swapped ? m.height : m.width, height = swapped ? m.width : m.height;
    unsigned char *out = (unsigned char *)oct__alloc_n(&picture->allocator, (size_t)width * (size_t)height, c), *to = out;
    if (!out) return oct__fail(err, OCT_E_MEMORY, "no memory to turn %d x %d pixels", m.width, m.height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, to += c) {
            const int across = swapped ? y : x, down = swapped ? x : y;
            const size_t column = (size_t)(from_right ? m.width - 1 - across : across);
            const size_t row = (size_t)(from_bottom ? m.height - 1 - down : down);
            const unsigned char *from = m.pixels + row * stride + column * c;
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
            if (c == 4) to[3] = from[3];
        }
    oct__free(&picture->allocator, picture->memory);
    picture->memory = out;
    picture->image.pixels = out;
    picture->image.width = width;
    picture->image.height = height;
    picture->image.stride_bytes = (size_t)width * c;
    picture->orientation = 1;
    return OCT_OK;
}
OCT_API void oct_picture_close(oct_picture *picture) {
    if (!picture) return;
    const oct_allocator a = picture->allocator;
    oct__free(&a, picture->memory);
    memset(picture, 0, sizeof *picture);
}

/* --- preprocessing: the square that an encoder takes ------------------------------------------
 * Equal, to the last bit of the 8-bit pixels, to what Pillow and the processors of transformers do: the picture is padded
 * to a square or not, resized by Pillow's antialiased bicubic, cropped about its centre, divided by 255 and normalised.
 *
 * Pillow (all versions before 13.0) resizes rows first and columns then, each output being a sum of pixels times
 * 22-bit integers, rounded to 8 bits after either pass.  Sums of integers may be taken in any order, so padding is never
 * stored: what falls beside the picture is its colour times the sum of the integers there.  And only what survives the crop
 * is computed. */
typedef enum oct__resize { OCT__RESIZE_PAD, OCT__RESIZE_CROP, OCT__RESIZE_SQUASH } oct__resize;
typedef struct oct__image_prep {
    int         size;              /* the square that comes out */
    int         side;              /* short side before the centre crop; 0: size.  Another one is timm's way, which rounds */
    oct__resize resize;            /* pad: a square with the mean's colour around; squash: to side x side; crop: ratio kept */
    bool        convert_late;      /* resized in the file's own mode: nearest, or premultiplied where there is alpha */
    float       mean[3], std[3];
} oct__image_prep;

enum { OCT__TAP_BITS = 22, OCT__TAP_HALF = 1 << (OCT__TAP_BITS - 1), OCT__MAX_SIDE = 1 << 20 };

/* One axis: output i is the sum of w[at[i] + j] times pixel first[i] + j, j < count[i], and pad[i] times the padding. */
typedef struct oct__taps {
    int      n, lead;              /* outputs within the resized picture; zeros before them in the square */
    int     *first, *count;        /* [n] */
    size_t  *at;                   /* [n] */
    int32_t *w, *pad;              /* w [all counts], pad [n] */
    int      lo, hi;               /* pixels that are read at all: lo .. hi - 1 */
    double   scale;                /* input pixels per output */
    int64_t  start;                /* the first output's place in the resized picture */
} oct__taps;

static void oct__taps_free(oct__taps *t, const oct_allocator *a) {
    oct__free(a, t->first);
    oct__free(a, t->count);
    oct__free(a, t->at);
    oct__free(a, t->pad);
    oct__free(a, t->w);
    memset(t, 0, sizeof *t);
}
/* Keys' cubic with a = -1/2, in the order of operations of Pillow's bicubic_filter (Resample.c). */
static double oct__bicubic(double x) {
    if (x < 0.0) x = -x;
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5;
    return 0.0;
}
/* Where output i (of the resized picture) reads: *from .. *to - 1 of n_in pixels.  Returns its centre. */
static double oct__taps_range(double scale, int64_t i, int n_in, int *from, int *to) {
    const double wide = OCT__MAX(scale, 1.0), center = ((double)i + 0.5) * scale, lo = center - 2.0 * wide + 0.5;
    const double hi = center + 2.0 * wide + 0.5;
    *from = lo > 0.0 ? (int)lo : 0;
    *to = hi < (double)n_in ? (int)hi : n_in;
    return center;
}
/* Fills outputs, as Pillow's precompute_coeffs and normalize_coeffs_8bpc do.  Pixels pic .. pic + n_pic - 1 of n_in are the
 * picture, the others padding.  weights: scratch for the most of one output. */
static void oct__taps_fill(oct__taps *t, int n_in, int pic, int n_pic, double *weights) {
    size_t used = 0;
    for (int i = 0; i < t->n; i++) {
        int from, to;
        const double center = oct__taps_range(t->scale, t->start + i, n_in, &from, &to), ss = 1.0 / OCT__MAX(t->scale, 1.0);
        double sum = 0.0;
        for (int x = from; x < to; x++) sum += weights[x - from] = oct__bicubic((x - center + 0.5) * ss);
        t->first[i] = OCT__MIN(OCT__MAX(from - pic, 0), n_pic);
        t->count[i] = OCT__MAX(OCT__MIN(to - pic, n_pic) - t->first[i], 0);
        t->at[i] = used;
        t->pad[i] = 0;
        for (int x = from; x < to; x++) {
            const double w = (sum != 0.0 ? weights[x - from] / sum : weights[x - from]) * (1 << OCT__TAP_BITS);
            const int32_t k = (int32_t)(w < 0.0 ? w - 0.5 : w + 0.5);
            if (x < pic || x >= pic + n_pic) t->pad[i] += k;
            else t->w[used++] = k;
        }
        if (t->count[i] && t->first[i] < t->lo) t->lo = t->first[i];
        if (t->count[i]) t->hi = OCT__MAX(t->hi, t->first[i] + t->count[i]);
    }
}
/* Where a centre crop begins; negative: so many zeros before.  transformers rounds down; timm takes torchvision's, which rounds
 * halves to even and, short of pixels, has the odd zero behind. */
static int64_t oct__crop_start(int64_t n, int size, bool timm) {
    const int64_t half = (n - size) / 2, odd = (n - size) % 2;      /* towards 0 */
    if (timm && n > size) return half + (odd & half & 1);
    return timm || odd >= 0 ? half : half - 1;
}
/* n_in pixels become n_out, of which `size` from skip on (or all, with zeros around) are wanted. */
static oct_result oct__taps_make(oct__taps *t, const oct_allocator *a, int n_in, int64_t n_out, int64_t skip, int size, int pic,
                                 int n_pic, oct_error *err) {
    size_t total = 0, most = 1;
    memset(t, 0, sizeof *t);
    t->n = (int)OCT__MIN(n_out, (int64_t)size);
    t->lead = skip < 0 ? (int)-skip : 0;
    t->start = OCT__MAX(skip, (int64_t)0);
    t->scale = (double)(float)n_in / (double)n_out;     /* Pillow's box is of floats */
    t->lo = n_pic;
    for (int i = 0; i < t->n; i++) {
        int from, to;
        (void)oct__taps_range(t->scale, t->start + i, n_in, &from, &to);
        most = OCT__MAX(most, (size_t)(to - from));
        from = OCT__MAX(from, pic);
        to = OCT__MIN(to, pic + n_pic);
        if (to > from) total += (size_t)(to - from);
    }
    double *weights = OCT__NEW(a, double, most);
    t->first = OCT__NEW(a, int, (size_t)t->n);
    t->count = OCT__NEW(a, int, (size_t)t->n);
    t->at = OCT__NEW(a, size_t, (size_t)t->n);
    t->pad = OCT__NEW(a, int32_t, (size_t)t->n);
    t->w = OCT__NEW(a, int32_t, total);
    const bool ok = weights && t->first && t->count && t->at && t->pad && t->w;
    if (ok) oct__taps_fill(t, n_in, pic, n_pic, weights);
    oct__free(a, weights);
    if (ok) return OCT_OK;
    oct__taps_free(t, a);
    return oct__fail(err, OCT_E_MEMORY, "out of memory for resizing %d pixels", n_in);
}

/* What a resize needs to know of the picture. */
typedef struct oct__canvas {
    const oct_image *image;
    size_t           stride;
    int              n_ch, n_use;          /* channels of the picture; of the resize: 4 where alpha weighs in */
    bool             premultiply;
    int              width, height;        /* with padding */
    int              left, top;            /* where the picture begins in it */
    int64_t          out_w, out_h;         /* resized to */
    int64_t          crop_x, crop_y;       /* where the square begins in that */
    unsigned char    pad[4];               /* the padding's colour; opaque */
} oct__canvas;

static uint8_t oct__clip8(int32_t sum) {
    const int32_t v = sum >> OCT__TAP_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}
/* a * b / 255, rounded, as Pillow's MULDIV255. */
static unsigned oct__muldiv255(unsigned a, unsigned b) {
    const unsigned t = a * b + 128u;
    return ((t >> 8) + t) >> 8;
}
/* Pixels lo .. hi - 1 of rows r and r + 1 (or r twice), channel by channel, the second row in the upper half of each number:
 * one product then serves two rows. */
static void oct__canvas_rows(const oct__canvas *c, int r, int lo, int hi, uint64_t *v /* [n_use, hi - lo] */) {
    const unsigned char *a = c->image->pixels + (size_t)r * c->stride + (size_t)lo * (size_t)c->n_ch;
    const unsigned char *b = r + 1 < c->image->height ? a + c->stride : a;
    const int n = hi - lo, step = c->n_ch;
    if (!c->premultiply) {
        for (int ch = 0; ch < c->n_use; ch++)
            for (int x = 0; x < n; x++, v++) *v = (uint64_t)b[x * step + ch] << 32 | a[x * step + ch];
        return;
    }
    for (int x = 0; x < n; x++, a += 4, b += 4) {
        for (int ch = 0; ch < 4; ch++) {
            const unsigned p = ch < 3 ? oct__muldiv255(a[ch], a[3]) : a[3], q = ch < 3 ? oct__muldiv255(b[ch], b[3]) : b[3];
            v[(size_t)ch * (size_t)n + (size_t)x] = (uint64_t)q << 32 | p;
        }
    }
}
/* Rows r and r + 1 resized: out [2][taps.n, n_use].  The low sum's sign has reached into the upper half, and is taken out
 * again. */
static void oct__canvas_across(const oct__canvas *c, const oct__taps *t, const uint64_t *v, uint8_t *out) {
    const size_t n = (size_t)(t->hi - t->lo), row = (size_t)t->n * (size_t)c->n_use;
    for (int i = 0; i < t->n; i++) {
        const int32_t *w = t->w + t->at[i];
        const int count = t->count[i];
        for (int ch = 0; ch < c->n_use; ch++) {
            const uint64_t *x = v + (size_t)ch * n + (count ? t->first[i] - t->lo : 0);
            uint64_t s0 = 0, s1 = 0;
            int j = 0;
            for (; j + 2 <= count; j += 2) {
                s0 += (uint64_t)(int64_t)w[j] * x[j];
                s1 += (uint64_t)(int64_t)w[j + 1] * x[j + 1];
            }
            if (j < count) s0 += (uint64_t)(int64_t)w[j] * x[j];
            s0 += s1;
            const int32_t start = OCT__TAP_HALF + t->pad[i] * c->pad[ch], low = (int32_t)(uint32_t)s0;
            const int32_t high = (int32_t)(uint32_t)((s0 - (uint64_t)(int64_t)low) >> 32);
            out[(size_t)i * (size_t)c->n_use + (size_t)ch] = oct__clip8(start + low);
            out[row + (size_t)i * (size_t)c->n_use + (size_t)ch] = oct__clip8(start + high);
        }
    }
}
/* Adds row r, which is already resized, to the sums of all outputs that read it; *y0: the first that may. */
static void oct__canvas_down(const oct__taps *t, int r, const uint8_t *x, size_t row, int32_t *sums, int *y0) {
    while (*y0 < t->n && t->first[*y0] + t->count[*y0] <= r) ++*y0;
    for (int y = *y0; y < t->n && t->first[y] <= r; y++) {
        const int32_t w = t->w[t->at[y] + (size_t)(r - t->first[y])];
        int32_t *s = sums + (size_t)y * row;
        for (size_t i = 0; i < row; i++) s[i] += w * x[i];
    }
}
/* Begins the sums: one half, and the padding above and below, whose rows are all the same after the first pass. */
static void oct__canvas_begin(const oct__canvas *c, const oct__taps *across, const oct__taps *down, int32_t *sums) {
    const size_t n_use = (size_t)c->n_use, row = (size_t)across->n * n_use;
    for (int x = 0; x < across->n; x++) {
        int32_t all = across->pad[x];
        for (int j = 0; j < across->count[x]; j++) all += across->w[across->at[x] + (size_t)j];
        for (size_t ch = 0; ch < n_use; ch++) {
            const int32_t p = oct__clip8(OCT__TAP_HALF + all * c->pad[ch]);
            for (int y = 0; y < down->n; y++) sums[(size_t)y * row + (size_t)x * n_use + ch] = OCT__TAP_HALF + down->pad[y] * p;
        }
    }
}
/* The sums as 8-bit pixels, premultiplication undone. */
static void oct__canvas_end(const oct__canvas *c, int n_x, int n_y, const int32_t *sums, uint8_t *to /* [n_y][n_x, 3] */,
                            size_t stride) {
    for (int y = 0; y < n_y; y++)
        for (int x = 0; x < n_x; x++, sums += c->n_use) {
            uint8_t *rgb = to + (size_t)y * stride + 3 * (size_t)x;
            const unsigned alpha = c->premultiply ? oct__clip8(sums[3]) : 255u;
            for (int ch = 0; ch < 3; ch++) {
                const unsigned p = oct__clip8(sums[ch]);
                rgb[ch] = (uint8_t)(alpha == 255 || alpha == 0 ? p : OCT__MIN(255u * p / alpha, 255u));
            }
        }
}
static oct_result oct__canvas_resample(const oct__canvas *c, const oct__taps *across, const oct__taps *down,
                                       const oct_allocator *a, uint8_t *square /* [size, size, 3], zeroed */, int size,
                                       oct_error *err) {
    const size_t row = (size_t)across->n * (size_t)c->n_use, wide = (size_t)OCT__MAX(across->hi - across->lo, 0);
    uint64_t *v = OCT__NEW(a, uint64_t, (size_t)c->n_use * wide);
    int32_t *sums = OCT__NEW(a, int32_t, (size_t)down->n * row);
    uint8_t *rows = OCT__NEW(a, uint8_t, 2 * row);
    int y0 = 0;
    if (v && sums && rows) {
        oct__canvas_begin(c, across, down, sums);
        for (int r = down->lo; r < down->hi; r += 2) {
            oct__canvas_rows(c, r, across->lo, OCT__MAX(across->lo, across->hi), v);
            oct__canvas_across(c, across, v, rows);
            oct__canvas_down(down, r, rows, row, sums, &y0);
            if (r + 1 < down->hi) oct__canvas_down(down, r + 1, rows + row, row, sums, &y0);
        }
        square += ((size_t)down->lead * (size_t)size + (size_t)across->lead) * 3;
        oct__canvas_end(c, across->n, down->n, sums, square, (size_t)size * 3);
    }
    const bool ok = v && sums && rows;
    oct__free(a, v);
    oct__free(a, sums);
    oct__free(a, rows);
    return ok ? OCT_OK : oct__fail(err, OCT_E_MEMORY, "out of memory for resizing a picture to %d x %d", size, size);
}
/* Pillow's nearest: coordinates by repeated addition (ImagingScaleAffine, Geometry.c).  at [size]: the input pixel of each
 * output of the crop, -1: none. */
static void oct__nearest_axis(int n_in, int64_t n_out, int64_t skip, int size, int *at) {
    const double scale = (double)(float)n_in / (double)n_out;
    double from = scale * 0.5;
    for (int i = 0; i < size; i++) at[i] = -1;
    for (int64_t i = 0; i < OCT__MIN(n_out, skip + size); i++, from += scale)
        if (i >= skip && from < (double)n_in) at[i - skip] = (int)from;
}
static oct_result oct__canvas_nearest(const oct__canvas *c, const oct_allocator *a,
                                      uint8_t *square /* [size, size, 3], zeroed */, int size, oct_error *err) {
    int *x_of = OCT__NEW(a, int, 2 * (size_t)size), *y_of = x_of ? x_of + size : NULL;
    if (!x_of) return oct__fail(err, OCT_E_MEMORY, "out of memory for resizing a picture to %d x %d", size, size);
    oct__nearest_axis(c->width, c->out_w, c->crop_x, size, x_of);
    oct__nearest_axis(c->height, c->out_h, c->crop_y, size, y_of);
    for (int i = 0; i < size * size; i++) {
        const int x = x_of[i % size], y = y_of[i / size], px = x - c->left, py = y - c->top;
        const bool inside = px >= 0 && px < c->image->width && py >= 0 && py < c->image->height;
        if (x < 0 || y < 0) continue;                   /* beside the resized picture: black */
        const unsigned char *from = c->pad;
        if (inside) from = c->image->pixels + (size_t)py * c->stride + (size_t)px * (size_t)c->n_ch;
        memcpy(square + 3 * (size_t)i, from, 3);
    }
    oct__free(a, x_of);
    return OCT_OK;
}

static oct_result oct__image_check(const oct_image *image, oct_error *err) {
    if (!image || !image->pixels) return oct__fail(err, OCT_E_ARG, "picture: no pixels");
    if (image->width < 1 || image->height < 1)
        return oct__fail(err, OCT_E_ARG, "picture: %d x %d, expected at least 1 x 1", image->width, image->height);
    if (image->width > OCT__MAX_SIDE || image->height > OCT__MAX_SIDE)
        return oct__fail(err, OCT_E_LIMIT, "picture: %d x %d, expected sides of at most %d", image->width, image->height,
                         OCT__MAX_SIDE);
    if (image->n_channels != 0 && image->n_channels != 3 && image->n_channels != 4)
        return oct__fail(err, OCT_E_ARG, "picture: %d channels, expected 3 or 4", image->n_channels);
    const size_t packed = (size_t)image->width * (size_t)(image->n_channels ? image->n_channels : 3);
    if (image->stride_bytes && image->stride_bytes < packed)
        return oct__fail(err, OCT_E_ARG, "picture: stride of %zu bytes, expected at least %zu", image->stride_bytes, packed);
    return OCT_OK;
}
/* The picture as the mode asks for it: padding, and the size it is resized to. */
static void oct__canvas_init(oct__canvas *c, const oct_image *image, const oct__image_prep *p) {
    const int side = p->side ? p->side : p->size;
    const bool timm = side != p->size;
    memset(c, 0, sizeof *c);
    c->image = image;
    c->n_ch = image->n_channels ? image->n_channels : 3;
    c->stride = image->stride_bytes ? image->stride_bytes : (size_t)image->width * (size_t)c->n_ch;
    c->width = image->width;
    c->height = image->height;
    c->out_w = c->out_h = side;
    for (int i = 0; i < 3; i++) c->pad[i] = (unsigned char)(int)((double)p->mean[i] * 255.0);
    c->pad[3] = 255;
    if (p->resize == OCT__RESIZE_PAD) {
        c->width = c->height = OCT__MAX(image->width, image->height);
        c->left = (c->width - image->width) / 2;
        c->top = (c->height - image->height) / 2;
    } else if (p->resize == OCT__RESIZE_CROP) {
        const int short_side = OCT__MIN(image->width, image->height), long_side = OCT__MAX(image->width, image->height);
        int64_t out = (int64_t)((double)side * (double)long_side / (double)short_side);
        if (timm) out = (int64_t)rint((double)long_side / ((double)short_side / (double)side));
        if (image->width <= image->height) c->out_h = out;
        else c->out_w = out;
    }
    c->crop_x = oct__crop_start(c->out_w, p->size, timm);
    c->crop_y = oct__crop_start(c->out_h, p->size, timm);
    c->premultiply = p->convert_late && c->n_ch == 4 && !(c->width == c->out_w && c->height == c->out_h);
    c->n_use = c->premultiply ? 4 : 3;
}
/* Pixels -> (v / 255 - mean) / std, planes one after another.  out [3, size, size]. */
static void oct__image_normalise(const uint8_t *square /* [n, 3] */, size_t n, const oct__image_prep *p, float *out) {
    for (int ch = 0; ch < 3; ch++) {
        float table[256];
        for (int v = 0; v < 256; v++) table[v] = ((float)(v * (1.0 / 255.0)) - p->mean[ch]) / p->std[ch];
        for (size_t i = 0; i < n; i++) out[(size_t)ch * n + i] = table[square[3 * i + (size_t)ch]];
    }
}
/* The 8-bit square. */
static oct_result oct__image_square(const oct_allocator *a, const oct_image *image, const oct__image_prep *p,
                                    uint8_t *square /* [size, size, 3] */, oct_error *err) {
    oct__canvas c;
    oct__taps across, down;
    oct_result r = oct__image_check(image, err);
    if (r) return r;
    oct__canvas_init(&c, image, p);
    memset(square, 0, (size_t)p->size * (size_t)p->size * 3);
    if (p->convert_late && image->nearest) return oct__canvas_nearest(&c, a, square, p->size, err);
    if ((r = oct__taps_make(&across, a, c.width, c.out_w, c.crop_x, p->size, c.left, image->width, err)) != OCT_OK) return r;
    r = oct__taps_make(&down, a, c.height, c.out_h, c.crop_y, p->size, c.top, image->height, err);
    if (!r) r = oct__canvas_resample(&c, &across, &down, a, square, p->size, err);
    oct__taps_free(&down, a);
    oct__taps_free(&across, a);
    return r;
}
/* A picture as its encoder takes it.  Alpha is dropped; it counts only where convert_late resizes with it. */
static oct_result oct__image_prepare(const oct_allocator *a, const oct_image *image, const oct__image_prep *p,
                                     float *out /* [3, size, size] */, oct_error *err) {
    const size_t n = (size_t)p->size * (size_t)p->size;
    uint8_t *square = OCT__NEW(a, uint8_t, 3 * n);
    if (!square) return oct__fail(err, OCT_E_MEMORY, "out of memory for a picture of %d x %d", p->size, p->size);
    const oct_result r = oct__image_square(a, image, p, square, err);
    if (!r) oct__image_normalise(square, n, p, out);
    oct__free(a, square);
    return r;
}

/* ==========================================================================
 * MARK: - 11. vit
 * ==========================================================================
 * The picture encoder: a CLIP or SigLIP vision transformer, or a plain one with a
 * classifier, and the projector that makes rows for the text model of it.
 *
 *   pixels [3, S, S] -> patches [P, 3 p p] -> patch_embd -> + class, positions -> pre_ln
 *   blocks:  x += out(attention(ln1 x));  x += down(gelu(up(ln2 x)))
 *   rows of the patches -> mm.0 -> GELU (erf) -> mm.2 -> [n_tokens, n_embd of the text model]
 *
 * Which blocks a file stores, and whether it has a class token, a pre_ln, biases, a
 * second projector layer, presence decides.  Every block that is bound is run: the
 * last one of CLIP, which LLaVA leaves out, is not bound.  Shapes and types are
 * checked here, once, and trusted below.
 *
 * Two spellings of the sizes: octavius.v.* in our own files, clip.* in llama.cpp's
 * mmproj files.  Our numbers are those of the official Python programs, also where
 * llama.cpp's differ: the class token stands first, as its position does; all stored
 * blocks run; the projector's GELU is erf.
 */
enum { OCT__VIT_SIDE = 2048, OCT__VIT_WIDTH = 1 << 14, OCT__VIT_FF = 1 << 16, OCT__VIT_BLOCKS = 256, OCT__VIT_ROWS = 1 << 14 };

typedef struct oct__vit_norm { const float *w, *b; } oct__vit_norm;      /* [n]; w NULL: no such norm, b NULL: zero */
typedef struct oct__vit_linear {
    oct__mat     w;                /* [rows, cols] */
    const float *b;                /* [rows] or NULL */
} oct__vit_linear;
typedef struct oct__vit_block {
    oct__vit_norm   ln1, ln2;      /* [n_embd] */
    oct__vit_linear q, k, v, o;    /* [n_embd, n_embd] */
    oct__vit_linear up, down;      /* [n_ff, n_embd], [n_embd, n_ff] */
} oct__vit_block;

typedef struct oct__vit {
    bool             present;      /* the file, or the one opened beside it, holds an encoder */
    int              patch, grid;  /* pixels of a patch's side; patches in a row */
    int              n_embd, n_ff, n_head, d_head, n_block;
    int              n_patch, n_cls, n_row;        /* grid * grid; 1: there is a class token, row 0; their sum */
    int              first_row;    /* rows before it are dropped: "patch" drops one even where that is a patch (SigLIP) */
    int              n_mid, n_out; /* widths of the projector: between its layers (0: one layer), of its rows (0: none) */
    int              n_class;      /* of the classifier, or 0 */
    int              gelu;         /* OCT__GELU_... */
    float            eps;
    oct__image_prep  prep;
    oct__vit_linear  patch_embd;   /* [n_embd, 3 * patch * patch]: channel, row, column */
    const float     *cls;          /* [n_embd] or NULL */
    const float     *pos;          /* [n_row, n_embd] */
    oct__vit_norm    pre_ln, post_ln;              /* [n_embd]; post_ln only with a classifier */
    oct__vit_block  *blocks;       /* [n_block] */
    oct__vit_linear  mm0, mm2;     /* [n_mid or n_out, n_embd], [n_out, n_mid] */
    oct__vit_linear  head;         /* [n_class, n_embd] */
    float           *vectors;      /* all vectors above, as aligned F32 */
    size_t           vectors_used, vectors_cap;
} oct__vit;

/* Rows a picture becomes. */
static int oct__vit_tokens(const oct__vit *v) { return v->n_row - v->first_row; }
static void oct__vit_free(oct__vit *v, const oct_allocator *a) {
    oct__free(a, v->blocks);
    oct__free(a, v->vectors);
    memset(v, 0, sizeof *v);
}

/* --- binding ------------------------------------------------------------------------------------ */

/* Is this one of a vision tower's tensors, or of its projector's? */
static bool oct__vit_owns(oct_string name) {
    return name.len > 3 && (memcmp(name.data, "v.", 2) == 0 || memcmp(name.data, "mm.", 3) == 0);
}

typedef struct oct__vit_binder {
    const oct__gguf     *g;
    const oct_allocator *a;
    oct__vit            *v;
    unsigned char       *used;     /* [n_tensors] */
    bool                 clip;     /* llama.cpp's keys */
    oct_error           *err;
} oct__vit_binder;

/* A key of either spelling: "octavius.v." or "clip.vision." and its name there. */
static const char *oct__vit_key(const oct__vit_binder *b, const char *ours, const char *clip, char key[80]) {
    snprintf(key, 80, "%s%s", b->clip ? "clip.vision." : "octavius.v.", b->clip ? clip : ours);
    return key;
}
static oct_result oct__vit_int(const oct__vit_binder *b, const char *ours, const char *clip, int max, int *out) {
    char key[80];
    int64_t v = 0;
    const oct_result r = oct__gguf_need_int(b->g, oct__vit_key(b, ours, clip, key), 1, max, &v, b->err);
    if (!r) *out = (int)v;
    return r;
}
/* Three numbers, one a colour. */
static oct_result oct__vit_colours(const oct__vit_binder *b, const char *name, float min, float max, float *out /* [3] */) {
    char key[80];
    const oct_meta *m;
    oct_result r = oct__gguf_array(b->g, oct__vit_key(b, name, name, key), OCT__META_F32, 3, 3, &m, b->err);
    if (!r && !m) r = oct__gguf_absent(key, "array of 3 f32", b->err);
    for (int i = 0; !r && i < 3; i++) {
        char found[32], lo[32], hi[32];
        out[i] = oct__f32(m->items + 4 * (size_t)i);
        if (!(out[i] >= min && out[i] <= max))
            r = oct__fail(b->err, OCT_E_FORMAT, "metadata '%s': item %d is %s, expected %s to %s", key, i,
                          oct__real_text((double)out[i], found), oct__real_text((double)min, lo),
                          oct__real_text((double)max, hi));
    }
    return r;
}
/* One of a few words, "|" between them -> its number. */
static oct_result oct__vit_word(const oct__vit_binder *b, const char *key, const char *words, const char *fallback, int *out) {
    oct_string found = oct__str(""), all = oct__str(words);
    oct_result r = oct__gguf_text(b->g, key, fallback, &found, b->err);
    if (r) return r;
    if (!found.len) return oct__fail(b->err, OCT_E_FORMAT, "metadata '%s': missing or empty, expected %s", key, words);
    *out = 0;
    for (size_t at = 0, end; at < all.len; at = end + 1, ++*out) {
        oct_string word;
        for (end = at; end < all.len && words[end] != '|'; end++) { }
        word.data = words + at;
        word.len = end - at;
        if (oct__str_same(word, found)) return OCT_OK;
    }
    return oct__fail(b->err, OCT_E_UNSUPPORTED, "metadata '%s': '%.*s', expected %s", key, OCT__S(found), words);
}

/* The tensor NAME, or v.blk.BLOCK.NAME; marked as used. */
static const oct_tensor *oct__vit_find(const oct__vit_binder *b, int block, const char *name, const char *end, char full[96]) {
    if (block < 0) snprintf(full, 96, "%s%s", name, end);
    else snprintf(full, 96, "v.blk.%d.%s%s", block, name, end);
    const oct_tensor *t = oct__gguf_tensor(b->g, oct__str(full));
    if (t) b->used[t - b->g->tensors] = 1;
    return t;
}
static const char *oct__vit_dims(const oct_tensor *t, char shape[96]) {
    const long long a = t->ne[0], b = t->ne[1], c = t->ne[2], d = t->ne[3];
    if (c == 1 && d == 1) snprintf(shape, 96, "[%lld, %lld]", a, b);
    else snprintf(shape, 96, "[%lld, %lld, %lld, %lld]", a, b, c, d);
    return shape;
}
static oct_result oct__vit_shape(const oct__vit_binder *b, const oct_tensor *t, int64_t cols, int64_t rows) {
    char shape[96];
    if (t->ne[0] == cols && t->ne[1] == rows && t->ne[2] == 1 && t->ne[3] == 1) return OCT_OK;
    return oct__fail(b->err, OCT_E_FORMAT, "tensor '%.*s': shape %s, expected [%lld, %lld]", OCT__S(t->name),
                     oct__vit_dims(t, shape), (long long)cols, (long long)rows);
}
static oct_result oct__vit_missing(const oct__vit_binder *b, const char *full, int cols, int rows) {
    return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': missing, expected [%d, %d]", full, cols, rows);
}
/* A width that no key states: the rows of its matrix. */
static oct_result oct__vit_width(const oct__vit_binder *b, const oct_tensor *t, int *out) {
    if (t->ne[1] < 1 || t->ne[1] > OCT__VIT_FF)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%.*s': %lld rows, expected 1 to %d", OCT__S(t->name), (long long)t->ne[1],
                         OCT__VIT_FF);
    *out = (int)t->ne[1];
    return OCT_OK;
}
/* Numbers [rows, cols] as aligned F32 of our own.  Absent: NULL, an error if needed. */
static oct_result oct__vit_vec(const oct__vit_binder *b, int block, const char *name, const char *end, int rows, int cols,
                               bool needed, const float **out) {
    char full[96];
    oct__vit *v = b->v;
    const oct_tensor *t = oct__vit_find(b, block, name, end, full);
    const size_t n = (size_t)cols * (size_t)rows, room = (n + 15) & ~(size_t)15;
    if (!t) return needed ? oct__vit_missing(b, full, cols, rows) : OCT_OK;
    const oct_result r = oct__vit_shape(b, t, cols, rows);
    if (r) return r;
    if (!oct__type(t->type) || oct__type(t->type)->block_elems != 1)
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%s': type %s, expected F32, F16 or BF16", full, t->type_name);
    if (room > v->vectors_cap - v->vectors_used) return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': used more than once", full);
    float *x = v->vectors + v->vectors_used;
    v->vectors_used += room;
    oct__dequant_row(t->type, t->data, x, (int64_t)n);
    *out = x;
    return OCT_OK;
}
static oct_result oct__vit_norm_at(const oct__vit_binder *b, int block, const char *name, bool needed, oct__vit_norm *out) {
    const oct_result r = oct__vit_vec(b, block, name, ".weight", 1, b->v->n_embd, needed, &out->w);
    return r || !out->w ? r : oct__vit_vec(b, block, name, ".bias", 1, b->v->n_embd, false, &out->b);
}
/* A matrix stays where it is, in the file; its rows may have been written as several dimensions, whose product is cols. */
static oct_result oct__vit_mat(const oct__vit_binder *b, const oct_tensor *t, int rows, int cols, oct__mat *w) {
    const oct__type_info *type = oct__type(t->type);
    if (!type || cols % type->block_elems)
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%.*s': type %s, expected F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K "
                         "or IQ4_NL", OCT__S(t->name), t->type_name);
    w->type = t->type;
    w->rows = rows;
    w->cols = cols;
    w->row_bytes = oct__row_bytes(t->type, cols);
    w->data = (const unsigned char *)t->data;
    return OCT_OK;
}
static oct_result oct__vit_linear_at(const oct__vit_binder *b, int block, const char *name, int rows, int cols,
                                     oct__vit_linear *out) {
    char full[96];
    const oct_tensor *t = oct__vit_find(b, block, name, ".weight", full);
    oct_result r;
    if (!t) return oct__vit_missing(b, full, cols, rows);
    if ((r = oct__vit_shape(b, t, cols, rows)) != OCT_OK || (r = oct__vit_mat(b, t, rows, cols, &out->w)) != OCT_OK) return r;
    return oct__vit_vec(b, block, name, ".bias", 1, rows, false, &out->b);
}
/* Rows [from, from + rows) of a linear. */
static oct__vit_linear oct__vit_rows(const oct__vit_linear *l, int from, int rows) {
    oct__vit_linear part = *l;
    part.w.data += (size_t)from * l->w.row_bytes;
    part.w.rows = rows;
    if (part.b) part.b += from;
    return part;
}

static oct_result oct__vit_bind_block(const oct__vit_binder *b, int i, oct__vit_block *l) {
    const oct__vit *v = b->v;
    const int n = v->n_embd;
    char full[96];
    oct__vit_linear qkv;
    oct_result r;
    if ((r = oct__vit_norm_at(b, i, "ln1", true, &l->ln1)) != OCT_OK ||
        (r = oct__vit_norm_at(b, i, "ln2", true, &l->ln2)) != OCT_OK ||
        (r = oct__vit_linear_at(b, i, "attn_out", n, n, &l->o)) != OCT_OK)
        return r;
    if (oct__vit_find(b, i, "attn_qkv", ".weight", full)) {
        memset(&qkv, 0, sizeof qkv);
        if ((r = oct__vit_linear_at(b, i, "attn_qkv", 3 * n, n, &qkv)) != OCT_OK) return r;
        l->q = oct__vit_rows(&qkv, 0, n);
        l->k = oct__vit_rows(&qkv, n, n);
        l->v = oct__vit_rows(&qkv, 2 * n, n);
    } else if ((r = oct__vit_linear_at(b, i, "attn_q", n, n, &l->q)) != OCT_OK ||
               (r = oct__vit_linear_at(b, i, "attn_k", n, n, &l->k)) != OCT_OK ||
               (r = oct__vit_linear_at(b, i, "attn_v", n, n, &l->v)) != OCT_OK) {
        return r;
    }
    /* llama.cpp's older converter calls the first layer ffn_down and the second ffn_up: the shape tells */
    const oct_tensor *up = oct__vit_find(b, i, "ffn_up", ".weight", full);
    const bool swapped = up && v->n_ff != n && up->ne[0] == v->n_ff && up->ne[1] == n;
    if ((r = oct__vit_linear_at(b, i, swapped ? "ffn_down" : "ffn_up", v->n_ff, n, &l->up)) != OCT_OK) return r;
    return oct__vit_linear_at(b, i, swapped ? "ffn_up" : "ffn_down", n, v->n_ff, &l->down);
}

/* Blocks to run of an mmproj file.  LLaVA takes the output of the last block but one.  Most files leave the last one out;
 * of towers whose full depth is known, a file may hold it. */
static oct_result oct__vit_clip_blocks(const oct__vit_binder *b) {
    static const int full[][2] = { { 768, 12 }, { 1024, 24 }, { 1152, 27 }, { 1280, 32 }, { 1408, 40 }, { 1664, 48 } };
    oct__vit *v = b->v;
    const oct_meta *layers;
    const oct_result r = oct__gguf_array(b->g, "clip.vision.feature_layer", -1, 1, 64, &layers, b->err);
    if (r) return r;
    for (size_t i = 0; !layers && i < sizeof full / sizeof full[0]; i++)
        if (v->n_embd == full[i][0] && v->n_block == full[i][1]) {
            v->n_block--;
            return OCT_OK;
        }
    if (!layers) return OCT_OK;
    oct_meta item;
    size_t cursor = 0;
    memset(&item, 0, sizeof item);
    if (layers->count != 1)
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "metadata 'clip.vision.feature_layer': %llu layers, expected one",
                         (unsigned long long)layers->count);
    if (oct__meta_item(layers, 0, &cursor, &item) || !oct__meta_is_int(item.type) || (int64_t)item.u < 1 ||
        (int64_t)item.u > v->n_block)
        return oct__fail(b->err, OCT_E_FORMAT, "metadata 'clip.vision.feature_layer': %lld, expected an integer from 1 to %d",
                         (long long)item.u, v->n_block);
    v->n_block = (int)item.u;
    return OCT_OK;
}
/* What llama.cpp's keys say beyond sizes. */
static oct_result oct__vit_bind_clip(const oct__vit_binder *b) {
    oct__vit *v = b->v;
    bool has = true, gelu = false, silu = false;
    int ignored;
    oct_result r;
    const char *type = oct__gguf_find(b->g, "clip.vision.projector_type") ? "clip.vision.projector_type" : "clip.projector_type";
    if ((r = oct__gguf_flag(b->g, "clip.has_vision_encoder", true, &has, b->err)) != OCT_OK ||
        (r = oct__gguf_flag(b->g, "clip.use_gelu", false, &gelu, b->err)) != OCT_OK ||
        (r = oct__gguf_flag(b->g, "clip.use_silu", false, &silu, b->err)) != OCT_OK ||
        (r = oct__vit_word(b, type, "mlp", "mlp", &ignored)) != OCT_OK ||
        (r = oct__vit_word(b, "clip.vision.mm_patch_merge_type", "flat", "flat", &ignored)) != OCT_OK)
        return r;
    if (!has) return oct__fail(b->err, OCT_E_UNSUPPORTED, "metadata 'clip.has_vision_encoder': false, expected true");
    v->gelu = gelu ? OCT__GELU_TANH : silu ? OCT__GELU_SILU : OCT__GELU_QUICK;
    v->prep.resize = OCT__RESIZE_PAD;
    return oct__vit_clip_blocks(b);
}
/* What ours say. */
static oct_result oct__vit_bind_own(const oct__vit_binder *b) {
    static const int gelus[3] = { OCT__GELU_QUICK, OCT__GELU_TANH, OCT__GELU_ERF };
    static const oct__resize resizes[3] = { OCT__RESIZE_PAD, OCT__RESIZE_CROP, OCT__RESIZE_SQUASH };
    oct__vit *v = b->v;
    int gelu, resize, late, all;
    int64_t side;
    oct_result r;
    if ((r = oct__vit_word(b, "octavius.v.activation", "gelu_quick|gelu_tanh|gelu", NULL, &gelu)) != OCT_OK ||
        (r = oct__vit_word(b, "octavius.v.resize", "pad|crop|squash", "pad", &resize)) != OCT_OK ||
        (r = oct__vit_word(b, "octavius.v.convert", "before|after", "before", &late)) != OCT_OK ||
        (r = oct__vit_word(b, "octavius.v.feature", "patch|cls_patch", "patch", &all)) != OCT_OK ||
        (r = oct__gguf_int(b->g, "octavius.v.resize_side", 1, OCT__VIT_SIDE, v->prep.size, &side, b->err)) != OCT_OK)
        return r;
    v->gelu = gelus[gelu];
    v->prep.resize = resizes[resize];
    v->prep.convert_late = late != 0;
    v->prep.side = (int)side;
    v->first_row = all ? 0 : 1;
    return OCT_OK;
}
static oct_result oct__vit_bind_sizes(const oct__vit_binder *b) {
    oct__vit *v = b->v;
    char key[80];
    double eps;
    oct_result r;
    if ((r = oct__vit_int(b, "image_size", "image_size", OCT__VIT_SIDE, &v->prep.size)) != OCT_OK ||
        (r = oct__vit_int(b, "patch_size", "patch_size", v->prep.size, &v->patch)) != OCT_OK ||
        (r = oct__vit_int(b, "embedding_length", "embedding_length", OCT__VIT_WIDTH, &v->n_embd)) != OCT_OK ||
        (r = oct__vit_int(b, "feed_forward_length", "feed_forward_length", OCT__VIT_FF, &v->n_ff)) != OCT_OK ||
        (r = oct__vit_int(b, "block_count", "block_count", OCT__VIT_BLOCKS, &v->n_block)) != OCT_OK ||
        (r = oct__vit_int(b, "head_count", "attention.head_count", v->n_embd, &v->n_head)) != OCT_OK ||
        (r = oct__vit_colours(b, "image_mean", 0.0f, 1.0f, v->prep.mean)) != OCT_OK ||
        (r = oct__vit_colours(b, "image_std", 1e-4f, 1e4f, v->prep.std)) != OCT_OK)
        return r;
    oct__vit_key(b, "layer_norm_epsilon", "attention.layer_norm_epsilon", key);
    if ((r = oct__gguf_real(b->g, key, 1e-20, 1.0, 1e-5, &eps, b->err)) != OCT_OK) return r;
    v->eps = (float)eps;
    v->d_head = v->n_embd / v->n_head;
    if (v->n_embd % v->n_head || v->d_head > 1024)
        return oct__fail(b->err, OCT_E_FORMAT, "metadata '%s': %d, expected a divisor of the width %d, heads of at most 1024",
                         oct__vit_key(b, "head_count", "attention.head_count", key), v->n_head, v->n_embd);
    v->grid = v->prep.size / v->patch;
    v->n_patch = v->grid * v->grid;
    if (v->n_patch > OCT__VIT_ROWS)
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "metadata '%s': %d, in %d x %d pixels that is %d patches, expected at most %d",
                         oct__vit_key(b, "patch_size", "patch_size", key), v->patch, v->prep.size, v->prep.size, v->n_patch,
                         OCT__VIT_ROWS);
    return b->clip ? oct__vit_bind_clip(b) : oct__vit_bind_own(b);
}

/* Room for every vector as F32; and the blocks. */
static oct_result oct__vit_bind_room(const oct__vit_binder *b) {
    oct__vit *v = b->v;
    size_t n = 0;
    for (size_t i = 0; i < b->g->n_tensors; i++) {
        const oct_tensor *t = &b->g->tensors[i];
        const bool vector = t->n_dims == 1 || oct__str_is(t->name, "v.position_embd.weight");
        if (oct__vit_owns(t->name) && vector && oct__type(t->type) && oct__type(t->type)->block_elems == 1 &&
            oct__add(&n, n, ((size_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]) + 15) & ~(size_t)15))
            return oct__fail(b->err, OCT_E_FORMAT, "the file's vectors are too many");
    }
    v->vectors = OCT__NEW(b->a, float, n);
    v->vectors_cap = n;
    v->blocks = OCT__NEW(b->a, oct__vit_block, (size_t)v->n_block);
    if (!v->vectors || !v->blocks)
        return oct__fail(b->err, OCT_E_MEMORY, "out of memory for the %d blocks of the vision tower", v->n_block);
    memset(v->blocks, 0, (size_t)v->n_block * sizeof *v->blocks);
    return OCT_OK;
}
/* Patches, class token, positions, and the norms around the blocks. */
static oct_result oct__vit_bind_ends(const oct__vit_binder *b) {
    oct__vit *v = b->v;
    const int n_pixel = 3 * v->patch * v->patch;
    char full[96], shape[96];
    oct_result r;
    const oct_tensor *t = oct__vit_find(b, -1, "v.patch_embd", ".weight", full);
    if (!t)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': missing, expected [%d, %d, 3, %d]", full, v->patch, v->patch,
                         v->n_embd);
    const bool conv = t->ne[0] == v->patch && t->ne[1] == v->patch && t->ne[2] == 3 && t->ne[3] == v->n_embd;
    if (!conv && (t->ne[0] != n_pixel || t->ne[1] != v->n_embd || t->ne[2] != 1 || t->ne[3] != 1))
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': shape %s, expected [%d, %d, 3, %d]", full, oct__vit_dims(t, shape),
                         v->patch, v->patch, v->n_embd);
    if ((r = oct__vit_mat(b, t, v->n_embd, n_pixel, &v->patch_embd.w)) != OCT_OK ||
        (r = oct__vit_vec(b, -1, "v.patch_embd", ".bias", 1, v->n_embd, false, &v->patch_embd.b)) != OCT_OK ||
        (r = oct__vit_vec(b, -1, "v.class_embd", "", 1, v->n_embd, false, &v->cls)) != OCT_OK)
        return r;
    v->n_cls = v->cls ? 1 : 0;
    if (b->clip) v->first_row = v->n_cls;               /* llama.cpp keeps all patches */
    v->n_row = v->n_patch + v->n_cls;
    if (v->n_row <= v->first_row)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor 'v.class_embd': missing, and one patch alone leaves no row");
    if ((r = oct__vit_vec(b, -1, "v.position_embd", ".weight", v->n_row, v->n_embd, true, &v->pos)) != OCT_OK) return r;
    return oct__vit_norm_at(b, -1, "v.pre_ln", false, &v->pre_ln);
}
/* The classifier of a tower that has one, and the norm before it. */
static oct_result oct__vit_bind_head(const oct__vit_binder *b) {
    oct__vit *v = b->v;
    char full[96];
    const oct_tensor *t = oct__vit_find(b, -1, "v.head", ".weight", full);
    oct_result r;
    if (b->clip || !t) {                                    /* CLIP's own post_ln is not part of LLaVA */
        (void)oct__vit_find(b, -1, "v.post_ln", ".weight", full);
        (void)oct__vit_find(b, -1, "v.post_ln", ".bias", full);
        return OCT_OK;
    }
    if (!v->n_cls) return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%s': a classifier, but there is no v.class_embd", full);
    if ((r = oct__vit_width(b, t, &v->n_class)) != OCT_OK ||
        (r = oct__vit_norm_at(b, -1, "v.post_ln", true, &v->post_ln)) != OCT_OK)
        return r;
    return oct__vit_linear_at(b, -1, "v.head", v->n_class, v->n_embd, &v->head);
}
/* n_text: width of the text model, 0: there is none, and the projector may be of any width, or missing. */
static oct_result oct__vit_bind_projector(const oct__vit_binder *b, int n_text) {
    oct__vit *v = b->v;
    char first[96], second[96];
    const oct_tensor *mm0 = oct__vit_find(b, -1, "mm.0", ".weight", first);
    const oct_tensor *mm2 = oct__vit_find(b, -1, "mm.2", ".weight", second), *last = mm2 ? mm2 : mm0;
    int n_first = 0;
    oct_result r;
    if (!last && !n_text) return OCT_OK;
    if (!mm0) return oct__vit_missing(b, first, v->n_embd, n_text);
    if ((r = oct__vit_width(b, mm0, &n_first)) != OCT_OK || (r = oct__vit_width(b, last, &v->n_out)) != OCT_OK) return r;
    v->n_mid = mm2 ? n_first : 0;
    if (n_text && v->n_out != n_text)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%.*s': shape [%lld, %d], expected [%lld, %d], the text model's width",
                         OCT__S(last->name), (long long)last->ne[0], v->n_out, (long long)last->ne[0], n_text);
    if ((r = oct__vit_linear_at(b, -1, "mm.0", n_first, v->n_embd, &v->mm0)) != OCT_OK || !mm2) return r;
    return oct__vit_linear_at(b, -1, "mm.2", v->n_out, v->n_mid, &v->mm2);
}
/* A tensor nobody asked for means an encoder we do not know; but blocks behind the last one that is run, and CLIP's own
 * projection, are just not wanted. */
static oct_result oct__vit_bind_leftovers(const oct__vit_binder *b) {
    for (size_t i = 0; i < b->g->n_tensors; i++) {
        const oct_string name = b->g->tensors[i].name;
        if (b->used[i] || !oct__vit_owns(name)) continue;
        const bool block = name.len > 6 && memcmp(name.data, "v.blk.", 6) == 0;
        int number = -1;
        for (size_t j = 6; block && j < name.len && name.data[j] >= '0' && name.data[j] <= '9' && number < 100000; j++)
            number = OCT__MAX(number, 0) * 10 + (name.data[j] - '0');
        if (number >= b->v->n_block && b->clip) continue;
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%.*s': not part of a vision tower as this version knows it",
                         OCT__S(name));
    }
    return OCT_OK;
}
static oct_result oct__vit_bind_all(const oct__vit_binder *b, int n_text) {
    oct_result r;
    if ((r = oct__vit_bind_sizes(b)) != OCT_OK || (r = oct__vit_bind_room(b)) != OCT_OK || (r = oct__vit_bind_ends(b)) != OCT_OK)
        return r;
    for (int i = 0; i < b->v->n_block; i++)
        if ((r = oct__vit_bind_block(b, i, &b->v->blocks[i])) != OCT_OK) return r;
    if ((r = oct__vit_bind_head(b)) != OCT_OK || (r = oct__vit_bind_projector(b, n_text)) != OCT_OK) return r;
    return oct__vit_bind_leftovers(b);
}

/* Does the file hold an encoder, in either spelling? */
static bool oct__vit_in(const oct__gguf *g) {
    oct_string arch;
    if (oct__gguf_find(g, "octavius.v.image_size")) return true;
    return oct__gguf_text(g, "general.architecture", "", &arch, NULL) == OCT_OK && oct__str_is(arch, "clip");
}
/* n_text: width of the text model that will read the rows; 0: none.  On failure v is empty.  g and its bytes stay. */
static oct_result oct__vit_load(oct__vit *v, const oct__gguf *g, const oct_allocator *a, int n_text, oct_error *err) {
    oct__vit_binder b;
    memset(v, 0, sizeof *v);
    memset(&b, 0, sizeof b);
    if (!oct__vit_in(g))
        return oct__fail(err, OCT_E_FORMAT, "metadata 'octavius.v.image_size': missing, and general.architecture is not 'clip': "
                         "no vision tower");
    b.g = g;
    b.a = a;
    b.v = v;
    b.clip = !oct__gguf_find(g, "octavius.v.image_size");
    b.err = err;
    b.used = OCT__NEW(a, unsigned char, g->n_tensors);
    if (!b.used) return oct__fail(err, OCT_E_MEMORY, "out of memory for %zu tensors", g->n_tensors);
    memset(b.used, 0, g->n_tensors);
    const oct_result r = oct__vit_bind_all(&b, n_text);
    oct__free(a, b.used);
    if (r) oct__vit_free(v, a);
    v->present = !r;
    return r;
}

/* --- encoding ------------------------------------------------------------------------------------- */

/* What an encoding reads and whom it asks and tells. */
typedef struct oct__vit_watch {
    oct_progress_fn progress;
    void           *progress_user;
    oct_stage_fn    stage;
    void           *stage_user;
} oct__vit_watch;

typedef struct oct__vit_pass {
    const oct__vit       *v;
    oct__compute          compute;             /* as the caller's, with scratch memory of this call's */
    const oct__vit_watch *watch;
    float                *pixels;              /* [3, S, S] */
    float                *x, *xn, *add;        /* [n_row, n_embd]: the stream, after a norm, what is added to it */
    float                *q, *att;             /* [n_row, n_embd] */
    float                *k, *vals;            /* [n_row, n_embd] */
    float                *ff;                  /* [n_row, n_ff]; the patches before, the projector's rows after the blocks */
    float                *head;                /* [n_class] */
    oct__kv               kv;
    oct__acts             acts;
    float                *out;                 /* [n_tokens, n_out], the caller's, or NULL */
} oct__vit_pass;

static void oct__vit_take(oct__arena *a, oct__vit_pass *p) {
    const oct__vit *v = p->v;
    const size_t n = (size_t)v->n_row, w = (size_t)v->n_embd, n_pixel = 3 * (size_t)v->patch * (size_t)v->patch;
    const size_t wide = OCT__MAX(OCT__MAX((size_t)v->n_ff, n_pixel), (size_t)OCT__MAX(v->n_mid, v->n_out));
    p->pixels = OCT__TAKE(a, float, 3 * (size_t)v->prep.size * (size_t)v->prep.size);
    p->x = OCT__TAKE(a, float, n * w);
    p->xn = OCT__TAKE(a, float, n * w);
    p->add = OCT__TAKE(a, float, n * w);
    p->q = OCT__TAKE(a, float, n * w);
    p->att = OCT__TAKE(a, float, n * w);
    p->k = OCT__TAKE(a, float, n * w);
    p->vals = OCT__TAKE(a, float, n * w);
    p->ff = OCT__TAKE(a, float, n * wide);
    p->head = OCT__TAKE(a, float, (size_t)v->n_class);
    oct__kv_init(&p->kv, OCT_KV_F32, v->n_row, v->n_head, v->d_head);
    p->kv.k = (unsigned char *)oct__take(a, (size_t)v->n_head, p->kv.k_bytes);
    p->kv.v = (unsigned char *)oct__take(a, (size_t)v->n_head, p->kv.v_bytes);
    oct__acts_take(a, &p->acts, v->n_row, (int)OCT__MAX(wide, w));
    p->compute.scratch_bytes = oct__scratch_bytes(0, v->d_head);
    p->compute.scratch = (unsigned char *)oct__take(a, (size_t)p->compute.pool.n_threads, p->compute.scratch_bytes);
}

/* block -1: a name without one. */
static void oct__vit_show(const oct__vit_pass *p, int block, const char *name, const float *data, int rows, int cols) {
    char full[48];
    if (!p->watch->stage) return;
    if (block < 0) snprintf(full, sizeof full, "%s", name);
    else snprintf(full, sizeof full, "v.blk.%d.%s", block, name);
    p->watch->stage(p->watch->stage_user, full, data, rows, cols, 0);
}
static void oct__vit_job(oct__mm *job, const oct__vit_linear *l, float *y) {
    job->w = &l->w;
    job->gate = NULL;
    job->bias = l->b;
    job->y = y;                                         /* [n_tok, rows] */
    job->y_stride = (size_t)l->w.rows;
}
static bool oct__vit_quantised(const oct__vit_linear *l) { return oct__type(l->w.type)->block_elems > 1; }
/* y [n_tok, rows] = x [n_tok, cols] w^T + b */
static void oct__vit_mul(oct__vit_pass *p, const oct__vit_linear *l, const float *x, int n_tok, float *y) {
    oct__mm job;
    oct__vit_job(&job, l, y);
    oct__acts_set(&p->compute, &p->acts, x, n_tok, l->w.cols, oct__vit_quantised(l));
    oct__matmul(&p->compute, &job, 1, &p->acts);
}

/* The square's patches, row by row: [n_patch][3, patch, patch], as the convolution's kernel has them. */
static void oct__vit_patches(const oct__vit *v, const float *pixels, float *to) {
    const size_t side = (size_t)v->prep.size, patch = (size_t)v->patch;
    for (size_t i = 0; i < (size_t)v->n_patch; i++)
        for (size_t j = 0; j < 3 * patch; j++, to += patch) {
            const size_t row = j / patch * side + i / (size_t)v->grid * patch + j % patch;
            memcpy(to, pixels + row * side + i % (size_t)v->grid * patch, patch * sizeof *to);
        }
}
/* Patches to the stream before the first block. */
static void oct__vit_begin(oct__vit_pass *p) {
    const oct__vit *v = p->v;
    const size_t w = (size_t)v->n_embd, n = (size_t)v->n_row * w;
    float *patches = p->x + (size_t)v->n_cls * w;
    oct__vit_show(p, -1, "v.pixels", p->pixels, 3 * v->prep.size, v->prep.size);
    oct__vit_patches(v, p->pixels, p->ff);
    oct__vit_mul(p, &v->patch_embd, p->ff, v->n_patch, patches);
    oct__vit_show(p, -1, "v.patch", patches, v->n_patch, v->n_embd);
    if (v->n_cls) memcpy(p->x, v->cls, w * sizeof *p->x);
    oct__add_rows(&p->compute, p->x, v->pos, n);
    if (v->pre_ln.w) oct__norm(&p->compute, p->x, p->x, v->n_row, v->n_embd, v->pre_ln.w, v->pre_ln.b, v->eps, false);
    oct__vit_show(p, -1, "v.pre_ln", p->x, v->n_row, v->n_embd);
}
/* x += out(attention(ln1 x)); x += down(gelu(up(ln2 x))) */
static void oct__vit_block_run(oct__vit_pass *p, int i) {
    const oct__vit *v = p->v;
    const oct__vit_block *b = &v->blocks[i];
    const int rows = v->n_row;
    const size_t n = (size_t)rows * (size_t)v->n_embd;
    oct__compute *c = &p->compute;
    oct__mm jobs[3];

    oct__norm(c, p->xn, p->x, rows, v->n_embd, b->ln1.w, b->ln1.b, v->eps, false);
    oct__acts_set(c, &p->acts, p->xn, rows, v->n_embd,
                  oct__vit_quantised(&b->q) || oct__vit_quantised(&b->k) || oct__vit_quantised(&b->v));
    oct__vit_job(&jobs[0], &b->q, p->q);
    oct__vit_job(&jobs[1], &b->k, p->k);
    oct__vit_job(&jobs[2], &b->v, p->vals);
    oct__matmul(c, jobs, 3, &p->acts);
    oct__kv_store(c, &p->kv, 0, rows, p->k, p->vals, (size_t)v->n_embd);
    oct__attention(c, p->att, p->q, &p->kv, v->n_head, 0, rows, (float)(1.0 / sqrt((double)v->d_head)), false);
    oct__vit_mul(p, &b->o, p->att, rows, p->add);
    oct__add_rows(c, p->x, p->add, n);

    oct__norm(c, p->xn, p->x, rows, v->n_embd, b->ln2.w, b->ln2.b, v->eps, false);
    oct__vit_mul(p, &b->up, p->xn, rows, p->ff);
    oct__gelu(c, p->ff, p->ff, (size_t)rows * (size_t)v->n_ff, v->gelu);
    oct__vit_mul(p, &b->down, p->ff, rows, p->add);
    oct__add_rows(c, p->x, p->add, n);
    oct__vit_show(p, i, "out", p->x, rows, v->n_embd);
}
/* The selected rows through the projector; the classifier, which only stages show. */
static void oct__vit_end(oct__vit_pass *p) {
    const oct__vit *v = p->v;
    const int n_tok = oct__vit_tokens(v);
    const float *selected = p->x + (size_t)v->first_row * (size_t)v->n_embd;
    oct__vit_show(p, -1, "v.selected", selected, n_tok, v->n_embd);
    if (v->n_class && p->watch->stage) {
        oct__norm(&p->compute, p->xn, p->x, v->n_row, v->n_embd, v->post_ln.w, v->post_ln.b, v->eps, false);
        oct__vit_show(p, -1, "v.post_ln", p->xn, v->n_row, v->n_embd);
        oct__vit_mul(p, &v->head, p->xn, 1, p->head);
        oct__vit_show(p, -1, "v.head", p->head, 1, v->n_class);
    }
    if (!v->n_out || !p->out) return;
    oct__vit_mul(p, &v->mm0, selected, n_tok, v->n_mid ? p->ff : p->out);
    if (v->n_mid) {
        oct__gelu(&p->compute, p->ff, p->ff, (size_t)n_tok * (size_t)v->n_mid, OCT__GELU_ERF);
        oct__vit_mul(p, &v->mm2, p->ff, n_tok, p->out);
    }
    oct__vit_show(p, -1, "mm.out", p->out, n_tok, v->n_out);
}
static void oct__vit_body(void *arg) {
    oct__vit_pass *p = (oct__vit_pass *)arg;
    const oct__vit *v = p->v;
    oct__compute *c = &p->compute;
    oct__vit_begin(p);
    for (int i = 0; i < v->n_block; i++) {
        if (oct__ask(c)) return;
        oct__vit_block_run(p, i);
        if (p->watch->progress && p->watch->progress(p->watch->progress_user, (float)(i + 1) / (float)v->n_block)) c->aborted = 1;
    }
    if (!oct__ask(c)) oct__vit_end(p);
}

/* From a picture, or (image NULL) from pixels [3, S, S] that are prepared already, to out [oct__vit_tokens, n_out], which may
 * be NULL.  like: the threads, kernels and abort callback to use; its scratch memory is not touched. */
static oct_result oct__vit_encode(const oct__vit *v, const oct__compute *like, const oct_allocator *a, const oct_image *image,
                                  const float *pixels, const oct__vit_watch *watch, float *out, oct_error *err) {
    oct__vit_pass p;
    oct__arena arena;
    oct_result r = OCT_OK;
    memset(&p, 0, sizeof p);
    memset(&arena, 0, sizeof arena);
    p.v = v;
    p.compute = *like;
    p.compute.aborted = 0;
    p.watch = watch;
    p.out = out;
    oct__vit_take(&arena, &p);
    if (arena.failed || arena.used > SIZE_MAX - OCT__ALIGN)
        return oct__fail(err, OCT_E_LIMIT, "the vision tower's size overflows");
    unsigned char *block = (unsigned char *)oct__alloc(a, arena.used + OCT__ALIGN);
    if (!block) return oct__fail(err, OCT_E_MEMORY, "out of memory for encoding a picture: %zu bytes", arena.used);
    arena.base = block + (OCT__ALIGN - (size_t)((uintptr_t)block & (OCT__ALIGN - 1))) % OCT__ALIGN;
    arena.cap = arena.used;
    arena.used = 0;
    oct__vit_take(&arena, &p);
    if (image) r = oct__image_prepare(a, image, &v->prep, p.pixels, err);
    else if (pixels) memcpy(p.pixels, pixels, 3 * (size_t)v->prep.size * (size_t)v->prep.size * sizeof *pixels);
    if (!r) {
        oct__together(&p.compute.pool, oct__vit_body, &p);
        if (oct__aborted(&p.compute)) r = oct__fail(err, OCT_E_ABORTED, "stopped by a callback while a picture was encoded");
    }
    oct__free(a, block);
    return r;
}

/* ==========================================================================
 * MARK: - 12. lora
 * ==========================================================================
 * What low-rank matrices add to a linear:  y = W x + sum of g B (A x).
 *
 * Two sources, one arithmetic.  OCTAVIUS's LoRA-MoE: a linear has several pairs
 * A, B, its experts, and a gate, made once for a prompt out of the embeddings of
 * its text, weighs them; few gates are not zero, and only those experts are
 * read.  Plain adapters in llama.cpp's format: one pair, and a scale that the
 * caller chooses.  Linears that read the same input form a group, whose A's are
 * jobs of the base weights' own matmul; one more region then adds the B's to all
 * of the group's results.  A and B are never merged into W or with each other.
 *
 * Order of sums: W's and the bias's first, then all terms' ranks in one chain,
 * experts before adapters, each in the order of their numbers, 256 at a time.
 *
 * In a file (chapter 14 binds them):
 *   blk.N.LINEAR.lora_a  [n_expert, rank, in], .lora_b [n_expert, out, rank]     LINEAR: attn_q, attn_k, attn_v,
 *                                                attn_output, ffn_gate, ffn_up, ffn_down
 *   gate.weight          [n_expert, n_embd]
 *   octavius.lora.expert_used_count u32          how many gates are not zero
 */
enum { OCT__MAX_GATE = 64, OCT__MAX_RANK = 2048 };
enum { OCT__LIN_Q, OCT__LIN_K, OCT__LIN_V, OCT__LIN_O, OCT__LIN_GATE, OCT__LIN_UP, OCT__LIN_DOWN, OCT__LINEARS };
enum { OCT__GROUP = 5 };                   /* linears that may read the same input: attention's three and the FFN's two */

/* Of one linear [rows, cols]. */
typedef struct oct__lora {
    int      n_expert, rank;               /* n_expert 0: nothing is added */
    oct__mat a, b;                         /* [rank, cols], [rows, rank] of expert 0 */
    size_t   a_bytes, b_bytes;             /* to the next expert's */
    float    by;                           /* what the sum is multiplied with: an adapter's alpha / rank, else 1 */
} oct__lora;

/* An adapter for a model; its layers are those of the model's network. */
struct oct_lora {
    const oct_model *model;
    oct_model       *file;                 /* whose bytes hold the matrices */
    oct__lora       *layers;               /* [n_layer, OCT__LINEARS] */
    oct__lora        output, embd;         /* of the output matrix; of token_embd: a [n_vocab, rank], b [n_embd, rank] */
};

/* --- the gate ------------------------------------------------------------------------------ */

typedef struct oct__gate {
    int          n_expert, k;              /* n_expert 0: the network has none */
    const float *w;                        /* [n_expert, n_embd] */
} oct__gate;

/* What the user wants otherwise.  Zeroes: nothing. */
typedef struct oct__gate_rule {
    bool     given;
    float    weights[OCT__MAX_GATE];       /* given: the gate itself */
    uint64_t pinned, muted;                /* one bit an expert.  Muted ones do not compete; if any is pinned, only those do */
} oct__gate_rule;

/* Mean over ids, rows of pictures and clouds left out, of what the gate's matrix makes of their embeddings [n_vocab, n_embd].
 * In double and in the order of ids; no ids: all zero. */
static void oct__gate_logits(const oct__gate *g, const oct__mat *embd, const int32_t *ids, size_t n, double *logits /* [n_expert] */) {
    float  x[256];                                      /* whole blocks of every type */
    size_t n_rows = 0;
    for (int e = 0; e < g->n_expert; e++) logits[e] = 0.0;
    for (size_t t = 0; t < n; t++) {
        if (ids[t] < 0) continue;
        n_rows++;
        for (int k0 = 0; k0 < embd->cols; k0 += 256) {
            const int len = OCT__MIN(256, embd->cols - k0);
            oct__dequant_row(embd->type, embd->data + (size_t)ids[t] * embd->row_bytes + oct__row_bytes(embd->type, k0), x, len);
            for (int e = 0; e < g->n_expert; e++) {
                const float *w = g->w + (size_t)e * (size_t)embd->cols + k0;
                double sum = 0.0;
                for (int i = 0; i < len; i++) sum += (double)x[i] * (double)w[i];
                logits[e] += sum;
            }
        }
    }
    for (int e = 0; e < g->n_expert && n_rows; e++) logits[e] /= (double)n_rows;
}
/* The k most probable of those that compete, ties to the lowest index, scaled to a sum of one; all others 0.  NaN is no more
 * probable than anything, and none competing leaves all 0. */
static void oct__gate_choose(const oct__gate *g, const oct__gate_rule *rule, const double *logits, float *gate /* [n_expert] */) {
    double p[OCT__MAX_GATE] = { 0 }, top = -HUGE_VAL, all = 0.0, sum = 0.0;
    int    chosen[OCT__MAX_GATE], n_chosen = 0;
    uint64_t free_ones = (rule->pinned ? rule->pinned : ~(uint64_t)0) & ~rule->muted;
    for (int e = 0; e < g->n_expert; e++)
        if (free_ones >> e & 1 && logits[e] > top) top = logits[e];
    for (int e = 0; e < g->n_expert; e++) {
        p[e] = free_ones >> e & 1 ? exp(logits[e] - top) : 0.0;
        all += p[e];
        gate[e] = 0.0f;
    }
    while (n_chosen < g->k) {
        int best = -1;
        for (int e = 0; e < g->n_expert; e++)
            if (free_ones >> e & 1 && (best < 0 || p[e] > p[best])) best = e;
        if (best < 0) break;
        free_ones &= ~((uint64_t)1 << best);
        chosen[n_chosen++] = best;
        sum += p[best] / all;
    }
    for (int i = 0; i < n_chosen; i++) gate[chosen[i]] = (float)(p[chosen[i]] / all / (sum + 1e-9));
}
/* Top2Gating of the official code (moe/layer.py), at inference: its random second choice changes nothing there. */
static void oct__gate_of(const oct__gate *g, const oct__mat *embd, const int32_t *ids, size_t n, const oct__gate_rule *rule,
                         float *gate /* [n_expert] */) {
    double logits[OCT__MAX_GATE];
    if (g->n_expert == 0) return;
    if (rule->given) {
        memcpy(gate, rule->weights, (size_t)g->n_expert * sizeof *gate);
        return;
    }
    oct__gate_logits(g, embd, ids, n, logits);
    oct__gate_choose(g, rule, logits, gate);
}

/* --- linears that read the same input ---------------------------------------------------------- */

typedef struct oct__lora_term {
    oct__mat a, b;                         /* [rank, cols], [rows, rank] */
    int      job, at;                      /* what it adds to; its first column of h */
    float    by;
} oct__lora_term;

/* A group under way, and the buffers for it. */
typedef struct oct__group {
    oct__mm        *jobs;                  /* [-max_terms .. OCT__GROUP) linears, and before them the A's, whose panels are the
                                            * largest: at the end of a region the threads would wait for one */
    oct__lora_term *terms;                 /* [max_terms], job by job */
    float          *h;                     /* [n_tok, n_h] A x of all terms */
    int             n_jobs, n_terms, n_h;
} oct__group;

/* The most columns of h that a layer's loras [OCT__LINEARS] can ask for in a group. */
static size_t oct__lora_columns(const oct__lora *l) {
    size_t n[OCT__LINEARS];
    for (int i = 0; i < OCT__LINEARS; i++) n[i] = (size_t)l[i].n_expert * (size_t)l[i].rank;
    const size_t first = n[OCT__LIN_Q] + n[OCT__LIN_K] + n[OCT__LIN_V] + n[OCT__LIN_GATE] + n[OCT__LIN_UP];
    return OCT__MAX(first, OCT__MAX(n[OCT__LIN_O], n[OCT__LIN_DOWN]));
}
/* Columns of h for experts' and for an adapter's terms. */
static void oct__group_take(oct__arena *a, oct__group *g, int n_batch, int n_expert, int max_adapters, size_t columns) {
    const size_t terms = (size_t)OCT__GROUP * (size_t)(n_expert + max_adapters);
    oct__mm *jobs = OCT__TAKE(a, oct__mm, terms + OCT__GROUP);
    g->jobs = jobs ? jobs + terms : NULL;
    g->terms = OCT__TAKE(a, oct__lora_term, terms);
    g->h = (float *)oct__take(a, (size_t)n_batch * sizeof(float), columns);
    g->n_jobs = g->n_terms = g->n_h = 0;
}

/* y [n_tok, rows] of one more linear. */
static void oct__group_linear(oct__group *g, const oct__mat *w, const float *bias, float *y) {
    oct__mm *job = &g->jobs[g->n_jobs++];
    job->w = w;
    job->gate = NULL;
    job->bias = bias;
    job->y = y;
    job->y_stride = (size_t)w->rows;
}
/* by times what expert e of l makes is added to the linear put in last. */
static void oct__group_lora(oct__group *g, const oct__lora *l, int e, float by) {
    if (e >= l->n_expert) return;
    oct__lora_term *term = &g->terms[g->n_terms++];
    term->a = l->a;
    term->b = l->b;
    term->a.data += (size_t)e * l->a_bytes;
    term->b.data += (size_t)e * l->b_bytes;
    term->job = g->n_jobs - 1;
    term->at = g->n_h;
    term->by = by * l->by;
    g->n_h += l->rank;
}

typedef struct oct__lora_run {
    oct__compute     *c;
    const oct__group *g;
    int               t0, t1;              /* tokens of this region */
    int               n_panels, chunk;     /* of all results; fetched at a time */
    int               counter;
} oct__lora_run;

/* y += f [n_panels][n_cols, 16] h, h's columns from `at` on, in the panels of job from row on. */
static void oct__lora_mul(const oct__lora_run *run, const oct__mm_scratch *s, const oct__mm *job, int row, int n_rows, int n_panels, int at,
                          int n_cols) {
    const oct__kernels *k = run->c->k;
    const oct__group *g = run->g;
    const size_t piece = (size_t)OCT__K_FLOAT * OCT__PANEL, n_h = (size_t)g->n_h, stride = (size_t)n_panels * OCT__PANEL;
    const bool whole = n_rows == n_panels * OCT__PANEL;
    for (int t = run->t0, n; t < run->t1; t += n) {
        const float *h = g->h + (size_t)t * n_h + at;
        float *y = job->y + (size_t)t * job->y_stride + row;
        n = whole ? run->t1 - t : OCT__MIN(OCT__TOKENS, run->t1 - t);
        k->mul_f(s->f, piece, n_panels, n_cols, h, n_h, n, whole ? y : s->acc, whole ? job->y_stride : stride, whole ? OCT__MUL_ADD : OCT__MUL_SET);
        for (int i = 0; !whole && i < n; i++) k->add(y + (size_t)i * job->y_stride, s->acc + (size_t)i * stride, n_rows);
    }
}
/* Terms t .. end - 1, those of one linear, in up to OCT__PANELS panels of its result from panel `first` on: their B's columns
 * side by side, as many as a float panel holds.  True: stop. */
static bool oct__lora_panels(const oct__lora_run *run, oct__mm_scratch *s, int t, int end, int first, int n_panels, int task, size_t *work) {
    const oct__lora_term *terms = run->g->terms;
    const oct__kernels *k = run->c->k;
    const oct__mm *job = &run->g->jobs[terms[t].job];
    const int row = first * OCT__PANEL, n_rows = OCT__MIN(terms[t].b.rows - row, n_panels * OCT__PANEL);
    int at = terms[t].at, filled = 0;
    for (; t < end; t++) {
        const oct__mat *b = &terms[t].b;
        const oct__type_info *type = oct__type(b->type);
        s->panel.group = type->group;
        s->panel.zero_shift = type->zero_shift;
        s->panel.u_max = type->u_max;
        for (int k0 = 0, n; k0 < b->cols; k0 += n, filled += n) {
            n = OCT__MIN(OCT__K_FLOAT, b->cols - k0);
            if (oct__poll(run->c, task, work, (size_t)(run->t1 - run->t0) * (size_t)n_rows * (size_t)n)) return true;
            if (filled + n > OCT__K_FLOAT) {
                oct__lora_mul(run, s, job, row, n_rows, n_panels, at, filled);
                at += filled;
                filled = 0;
            }
            for (int i = 0; i < n_panels; i++) {
                size_t row_bytes;
                const int r = row + i * OCT__PANEL;
                const unsigned char *rows = oct__mm_rows(b, r, OCT__MIN(b->rows - r, OCT__PANEL), k0, k0 + n, s->rows, &row_bytes);
                k->unpack_f(b->type, rows, row_bytes, n, &s->panel, s->f + ((size_t)i * OCT__K_FLOAT + (size_t)filled) * OCT__PANEL);
            }
        }
    }
    oct__lora_mul(run, s, job, row, n_rows, n_panels, at, filled);
    return false;
}
/* The same for one token, one panel and matrices of float types: the bits are the same too. */
static void oct__lora_one(const oct__lora_run *run, oct__mm_scratch *s, int t, int end, int first) {
    const oct__lora_term *terms = run->g->terms;
    const oct__kernels *k = run->c->k;
    const oct__mm *job = &run->g->jobs[terms[t].job];
    const int row = first * OCT__PANEL, n_rows = OCT__MIN(terms[t].b.rows - row, OCT__PANEL);
    const float *h = run->g->h + (size_t)run->t0 * (size_t)run->g->n_h;
    float *y = job->y + (size_t)run->t0 * job->y_stride + row;
    int filled = 0;
    memset(s->acc, 0, OCT__PANEL * sizeof *s->acc);
    for (; t < end; t++) {
        const oct__mat *b = &terms[t].b;
        for (int k0 = 0, n; k0 < b->cols; k0 += n, filled += n) {
            size_t row_bytes;
            n = OCT__MIN(OCT__K_FLOAT, b->cols - k0);
            if (filled + n > OCT__K_FLOAT) {
                k->add(y, s->acc, n_rows);
                memset(s->acc, 0, OCT__PANEL * sizeof *s->acc);
                filled = 0;
            }
            const unsigned char *rows = oct__mm_rows(b, row, n_rows, k0, k0 + n, s->rows, &row_bytes);
            k->one_f(b->type, rows, row_bytes, n, h + terms[t].at + k0, &s->panel, s->acc);
        }
    }
    k->add(y, s->acc, n_rows);
}
/* Are the matrices of these terms of float types? */
static bool oct__lora_float(const oct__lora_term *terms, int t, int end) {
    for (; t < end; t++)
        if (oct__type(terms[t].b.type)->computes != 1) return false;
    return true;
}
/* The first term of the next linear. */
static int oct__lora_next(const oct__group *g, int t) {
    const int job = g->terms[t].job;
    while (t < g->n_terms && g->terms[t].job == job) t++;
    return t;
}
/* Fetches panels, counted through the results of all linears that have terms. */
static void oct__lora_task(void *arg, int task) {
    oct__lora_run *run = (oct__lora_run *)arg;
    const oct__group *g = run->g;
    oct__arena a = oct__task_arena(run->c, task);
    oct__mm_scratch s;
    size_t work = 0;
    int from;
    oct__mm_scratch_take(&a, &s);
    while ((from = oct__fetch(&run->counter) * run->chunk) < run->n_panels && !oct__aborted(run->c))
        for (int t = 0, next, before = 0; t < g->n_terms; t = next) {
            const int panels = oct__mm_panels(&g->terms[t].b), to = OCT__MIN(from + run->chunk - before, panels);
            next = oct__lora_next(g, t);
            const bool one = run->t1 - run->t0 == 1 && oct__lora_float(g->terms, t, next);
            for (int p = OCT__MAX(from - before, 0); p < to && one; p++) oct__lora_one(run, &s, t, next, p);
            for (int p = OCT__MAX(from - before, 0); p < to && !one; p += OCT__PANELS)
                if (oct__lora_panels(run, &s, t, next, p, OCT__MIN(OCT__PANELS, to - p), task, &work)) return;
            before += panels;
        }
}
/* Adds all terms of the group, whose A x are in h [n_tok, n_h]. */
static void oct__lora_add(oct__compute *c, const oct__group *g, int n_tok) {
    oct__lora_run run;
    size_t macs = 0;
    run.c = c;
    run.g = g;
    run.n_panels = 0;
    for (int i = 0; i < n_tok; i++)
        for (int t = 0; t < g->n_terms; t++)
            c->k->scale(g->h + (size_t)i * (size_t)g->n_h + g->terms[t].at, g->terms[t].by, g->terms[t].b.cols);
    for (int t = 0; t < g->n_terms; t = oct__lora_next(g, t)) run.n_panels += oct__mm_panels(&g->terms[t].b);
    for (int t = 0; t < g->n_terms; t++) macs += (size_t)n_tok * (size_t)g->terms[t].b.rows * (size_t)g->terms[t].b.cols;
    run.chunk = OCT__PANELS * OCT__MAX(1, OCT__MIN(4, run.n_panels / (OCT__PANELS * 4 * c->pool.n_threads)));
    for (run.t0 = 0; run.t0 < n_tok; run.t0 = run.t1) {
        run.t1 = OCT__MIN(run.t0 + oct__region(c, n_tok), n_tok);
        run.counter = 0;
        if (oct__foreign(c) ? oct__ask(c) : oct__aborted(c)) return;
        oct__parallel_if(c, macs, oct__lora_task, &run);
    }
}
/* All of the group's linears; the group is empty again. */
static void oct__group_run(oct__compute *c, oct__group *g, oct__acts *acts) {
    for (int t = 0; t < g->n_terms; t++) {
        oct__mm *job = &g->jobs[t - g->n_terms];
        job->w = &g->terms[t].a;
        job->gate = NULL;
        job->bias = NULL;
        job->y = g->h + g->terms[t].at;
        job->y_stride = (size_t)g->n_h;
    }
    oct__matmul(c, g->jobs - g->n_terms, g->n_terms + g->n_jobs, acts);
    if (g->n_terms && !oct__aborted(c)) oct__lora_add(c, g, acts->n_tok);
    g->n_jobs = g->n_terms = g->n_h = 0;
}

/* ==========================================================================
 * MARK: - 13. moe
 * ==========================================================================
 * A layer whose feed-forward is several, the experts, of which each token meets
 * k.  The router, a matrix in F32 whatever the file's type, gives a logit for
 * each expert; the largest k are chosen, ties to the lowest index, and weigh
 * what softmax over all experts gives them, scaled to a sum of one.  Noise on
 * the second choice, which the official MoE-LLaVA draws, is left out.
 *
 * A prompt's tokens are sorted by expert and each group goes through the matmul
 * of dense layers, all experts in one region; a single token touches only its
 * experts' bytes.  A token's k results are added in the order of its choices.
 * Nothing depends on who else is in a group, except with a capacity: then an
 * expert takes so many of the pass's tokens and no more, as DeepSpeed has it.
 *
 * In a file, layer by layer (chapter 14 binds them):
 *   blk.N.ffn_gate_inp.weight                    [n_expert, n_embd]; its presence makes the layer such a one
 *   blk.N.ffn_{gate,up,down}_exps.{weight,bias}  [n_expert, rows, cols], [n_expert, rows]
 *   blk.N.ffn_{gate,up,down}.E.weight            or, before 2024, a matrix for each
 *   ARCH.expert_used_count u32                   k
 *   octavius.moe.capacity_factor f32, octavius.moe.min_capacity u32
 *                                                DeepSpeed's, at inference; used where desc.capacity asks for it
 * With k = 1 a choice weighs its probability (DeepSpeed, Switch), but 1 in a llama file without octavius.moe keys: that is
 * what llama.cpp does with its own files.
 */
enum { OCT__MAX_EXPERTS = 384 };

typedef struct oct__expert {
    oct__mat     w;                        /* [rows, cols] */
    const float *b;                        /* [rows] or NULL */
} oct__expert;

/* Of one layer. */
typedef struct oct__moe {
    int          n_expert, n_ff;           /* n_expert 0: a dense layer */
    const float *router;                   /* [(n_expert + 15) / 16][n_embd, 16] panels */
    oct__expert *up, *gate, *down;         /* [n_expert] of [n_ff, n_embd] twice, [n_embd, n_ff]; no gate: GELU.  All in up's memory */
} oct__moe;

/* How choices are weighed; of a network. */
typedef struct oct__moe_rule {
    int   k;                               /* experts a token meets; 0: no layer has experts */
    bool  raw_one;                         /* a single choice weighs its probability (Switch), else 1 (llama.cpp) */
    bool  has_capacity;                    /* the file gives what follows */
    float factor;                          /* capacity: ceil(n_tok / n_expert * factor * k), */
    int   min_capacity;                    /* and at least this */
} oct__moe_rule;

/* Buffers of a pass; a row is one choice of one token. */
typedef struct oct__moe_scratch {
    float      *logits;                    /* [n_tok, n_expert] */
    int32_t    *chosen;                    /* [n_tok, k] experts, best first */
    float      *weights;                   /* [n_tok, k]; 0: dropped, not computed */
    int32_t    *row;                       /* [n_tok, k] where the choice's result lies; of those with a weight */
    int32_t    *token;                     /* [n_tok * k] of each row */
    int32_t    *taken;                     /* [n_expert] */
    float      *x;                         /* [n_tok * k, n_embd] tokens by expert, then the results */
    float      *gate, *up;                 /* [n_tok * k, n_ff] */
    oct__acts  *acts;                      /* [n_expert] views of the pass's: the rows of each expert with work */
    oct__acts **each;                      /* [2 * n_expert] of each job */
    oct__mm    *jobs;                      /* [2 * n_expert] */
} oct__moe_scratch;

static void oct__moe_take(oct__arena *a, oct__moe_scratch *s, int n_batch, int k, int n_expert, int n_embd, int n_ff) {
    const size_t rows = (size_t)n_batch * (size_t)k, n = (size_t)n_expert;
    s->logits = OCT__TAKE(a, float, (size_t)n_batch * n);
    s->chosen = OCT__TAKE(a, int32_t, rows);
    s->weights = OCT__TAKE(a, float, rows);
    s->row = OCT__TAKE(a, int32_t, rows);
    s->token = OCT__TAKE(a, int32_t, rows);
    s->taken = OCT__TAKE(a, int32_t, n);
    s->x = OCT__TAKE(a, float, rows * (size_t)n_embd);
    s->gate = OCT__TAKE(a, float, rows * (size_t)n_ff);
    s->up = OCT__TAKE(a, float, rows * (size_t)n_ff);
    s->acts = OCT__TAKE(a, oct__acts, n);
    s->each = OCT__TAKE(a, oct__acts *, 2 * n);
    s->jobs = OCT__TAKE(a, oct__mm, 2 * n);
}

/* Row e of the router into its panel. */
static void oct__moe_router_row(float *router, int e, const float *row, int n_embd) {
    float *panel = router + (size_t)(e / OCT__PANEL) * (size_t)n_embd * OCT__PANEL + e % OCT__PANEL;
    for (int i = 0; i < n_embd; i++) panel[(size_t)i * OCT__PANEL] = row[i];
}

/* --- choosing ----------------------------------------------------------------------------- */

/* The k largest logits, best first, and their probabilities.  NaN is no larger than anything, so that k different experts
 * are chosen whatever a broken model says. */
static void oct__route_token(const oct__kernels *kernels, const float *logits, int n_expert, int k, int32_t *chosen /* [k] */,
                             float *probs /* [k] */) {
    float e[OCT__MAX_EXPERTS] = { 0 }, sum = 0.0f;
    bool taken[OCT__MAX_EXPERTS] = { false };
    for (int r = 0; r < k; r++) {
        int best = -1;
        for (int i = 0; i < n_expert; i++)
            if (!taken[i] && (best < 0 || logits[i] > logits[best])) best = i;
        taken[best] = true;
        chosen[r] = best;
    }
    for (int i = 0; i < n_expert; i++) e[i] = logits[i] - logits[chosen[0]];
    kernels->expv(e, e, n_expert);
    for (int i = 0; i < n_expert; i++) sum += e[i];
    for (int r = 0; r < k; r++) probs[r] = e[chosen[r]] / sum;
}
/* Probabilities of what is left to a token [k] become weights.  Both dropped: all stay 0. */
static void oct__route_weigh(const oct__moe_rule *rule, float *p) {
    float sum = 0.0f;
    if (rule->k == 1 && rule->raw_one) return;
    for (int r = 0; r < rule->k; r++) sum += p[r];
    for (int r = 0; r < rule->k; r++) p[r] /= OCT__MAX(sum, FLT_EPSILON);
}
/* Tokens that an expert may take.  In float, as DeepSpeed 0.9.5 does it: with 25 tokens, 3 experts, k 2 and factor 0.9 that is
 * 15, where exact arithmetic gives 16 (deepspeed/moe/sharded_moe.py, _capacity). */
static int oct__moe_capacity(const oct__moe_rule *rule, int n_tok, int n_expert) {
    const float c = ceilf((float)((double)n_tok / n_expert) * (rule->factor * (float)rule->k));
    return OCT__MAX(c < (float)n_tok ? (int)c : n_tok, rule->min_capacity);
}
/* Experts take tokens in order, all first choices before any second one; what exceeds the capacity gets probability 0.  A
 * dropped choice counts too, and so do first choices that weigh nothing.  With k = 1 the official code keeps a random
 * choice of tokens; here the first ones stay. */
static void oct__route_drop(const oct__moe_rule *rule, const int32_t *chosen /* [n_tok, k] */, float *probs /* the same */, int n_tok,
                            int n_expert, int32_t *taken /* [n_expert] */) {
    const int capacity = oct__moe_capacity(rule, n_tok, n_expert), k = rule->k;
    memset(taken, 0, (size_t)n_expert * sizeof *taken);
    for (int r = 0; r < k; r++)
        for (int t = 0; t < n_tok; t++)
            if (taken[chosen[t * k + r]]++ >= capacity) probs[t * k + r] = 0.0f;
}

typedef struct oct__moe_run {
    oct__compute        *c;
    const oct__moe      *moe;
    const oct__moe_rule *rule;
    oct__moe_scratch    *s;
    const float         *x;                /* [n_tok, n_embd] */
    float               *y;                /* the same */
    int                  n_tok, n_embd, n_acts;
    bool                 gather;           /* fill acts with tokens, else with what the gates and ups come to, */
    bool                 gated;            /* which the matmul has already multiplied */
    int                  counter;
} oct__moe_run;

/* Logits and choices of 12 tokens at a time.  The sums are those of oct__matmul. */
static void oct__route_task(void *arg, int task) {
    oct__moe_run *run = (oct__moe_run *)arg;
    const oct__kernels *k = run->c->k;
    const oct__moe_scratch *s = run->s;
    const int n_expert = run->moe->n_expert, panels = (n_expert + OCT__PANEL - 1) / OCT__PANEL, top = run->rule->k;
    const size_t cols = (size_t)run->n_embd, stride = (size_t)panels * OCT__PANEL;
    oct__arena a = oct__task_arena(run->c, task);
    float *acc = OCT__TAKE(&a, float, OCT__UNIT * stride);              /* [12, panels * 16] */
    int t0;
    while ((t0 = oct__fetch(&run->counter) * OCT__UNIT) < run->n_tok) {
        const int n = OCT__MIN(OCT__UNIT, run->n_tok - t0);
        for (int k0 = 0; k0 < run->n_embd; k0 += OCT__K_FLOAT)
            k->mul_f(run->moe->router + (size_t)k0 * OCT__PANEL, cols * OCT__PANEL, panels,
                     OCT__MIN(OCT__K_FLOAT, run->n_embd - k0), run->x + (size_t)t0 * cols + k0, cols, n, acc, stride,
                     k0 ? OCT__MUL_ADD : OCT__MUL_SET);
        for (int t = 0; t < n; t++) {
            float *logits = s->logits + (size_t)(t0 + t) * (size_t)n_expert;
            const size_t at = (size_t)(t0 + t) * (size_t)top;
            memcpy(logits, acc + (size_t)t * stride, (size_t)n_expert * sizeof *logits);
            oct__route_token(k, logits, n_expert, top, s->chosen + at, s->weights + at);
        }
    }
}
/* From x [n_tok, n_embd] to logits, chosen and weights. */
static void oct__moe_route(oct__moe_run *run, bool capacity) {
    const oct__moe_scratch *s = run->s;
    run->counter = 0;
    oct__parallel_if(run->c, (size_t)run->n_tok * (size_t)run->n_embd * (size_t)run->moe->n_expert, oct__route_task, run);
    if (capacity) oct__route_drop(run->rule, s->chosen, s->weights, run->n_tok, run->moe->n_expert, s->taken);
    for (int t = 0; t < run->n_tok; t++) oct__route_weigh(run->rule, s->weights + (size_t)t * (size_t)run->rule->k);
}

/* --- running the experts ---------------------------------------------------------------------- */

/* Rows [row, row + n) of acts, which are as wide as cols, as activations by themselves: their tiles begin anew. */
static oct__acts oct__acts_part(const oct__kernels *k, const oct__acts *acts, const float *x, int row, int n, int cols,
                                bool quantised) {
    oct__acts part = *acts;
    const size_t at = (size_t)row, groups = (size_t)(cols / 32);
    part.x = x + at * (size_t)cols;
    part.n_tok = n;
    part.cols = cols;
    part.quantised = quantised && cols % 32 == 0;
    part.packed = part.rounded = false;
    part.q += at * groups * (size_t)k->words;
    part.rest += at * groups * (size_t)k->words;
    part.list += at * groups;
    part.ends += at * (oct__pieces(cols) + 1);
    part.f += at * (size_t)cols;
    part.bf16 += at * oct__pairs(cols);
    return part;
}
/* The numbers of a view's tile from its row t0 on: tokens, or what their gate and up come to. */
static void oct__moe_fill_tile(const oct__moe_run *run, oct__acts *acts, int t0) {
    const oct__kernels *k = run->c->k;
    const oct__moe_scratch *s = run->s;
    const int n = OCT__MIN(k->tile, acts->n_tok - t0);
    const size_t cols = (size_t)acts->cols;
    for (int t = t0; t < t0 + n; t++) {
        const size_t row = (size_t)(acts->x - (run->gather ? s->x : s->up)) / cols + (size_t)t;
        float *up = s->up + row * cols;
        if (run->gather) memcpy(s->x + row * cols, run->x + (size_t)s->token[row] * cols, cols * sizeof *s->x);
        else if (run->gated) break;
        else if (run->moe->gate) k->silu_mul(up, s->gate + row * cols, up, acts->cols);
        else k->gelu(up, up, acts->cols, OCT__GELU_TANH);
    }
    if (acts->quantised) oct__acts_tile(k, acts, t0);
}
/* Fetches tiles, counted through all views. */
static void oct__moe_fill_task(void *arg, int task) {
    oct__moe_run *run = (oct__moe_run *)arg;
    const int tile = run->c->k->tile;
    int i, view = 0, before = 0;                                         /* tiles of the views before this one */
    OCT__UNUSED(task);
    while ((i = oct__fetch(&run->counter), view < run->n_acts)) {
        for (; view < run->n_acts; view++) {
            const int n = (run->s->acts[view].n_tok + tile - 1) / tile;
            if (i < before + n) break;
            before += n;
        }
        if (view < run->n_acts) oct__moe_fill_tile(run, &run->s->acts[view], (i - before) * tile);
    }
}
static void oct__moe_fill(oct__moe_run *run, bool gather, int rows, int cols) {
    run->gather = gather;
    run->counter = 0;
    oct__parallel_if(run->c, (size_t)rows * (size_t)cols, oct__moe_fill_task, run);
}
/* Sorts the choices that weigh something by expert, within one by token.  taken [e]: rows of expert e; how many in all. */
static int oct__moe_sort(const oct__moe_run *run) {
    const oct__moe_scratch *s = run->s;
    const int n_choices = run->n_tok * run->rule->k, n_expert = run->moe->n_expert;
    int rows = 0;
    memset(s->taken, 0, (size_t)n_expert * sizeof *s->taken);
    for (int i = 0; i < n_choices; i++)
        if (s->weights[i] != 0.0f) s->taken[s->chosen[i]]++;
    for (int e = 0, n; e < n_expert; e++, rows += n) {                    /* where each begins, for now */
        n = s->taken[e];
        s->taken[e] = rows;
    }
    for (int i = 0; i < n_choices; i++) {
        if (s->weights[i] == 0.0f) continue;
        s->row[i] = s->taken[s->chosen[i]]++;
        s->token[s->row[i]] = i / run->rule->k;
    }
    for (int e = n_expert - 1; e > 0; e--) s->taken[e] -= s->taken[e - 1];
    return rows;
}
static void oct__moe_job(oct__moe_run *run, int i, const oct__expert *expert, float *y, int row, oct__acts *acts) {
    oct__mm *job = &run->s->jobs[i];
    job->w = &expert->w;
    job->gate = NULL;
    job->bias = expert->b;
    job->y = y + (size_t)row * (size_t)expert->w.rows;
    job->y_stride = (size_t)expert->w.rows;
    run->s->each[i] = acts;
}
/* y of one token at a time: its results in the order of its choices. */
static void oct__moe_join_task(void *arg, int task) {
    oct__moe_run *run = (oct__moe_run *)arg;
    const oct__moe_scratch *s = run->s;
    const size_t cols = (size_t)run->n_embd;
    int t;
    OCT__UNUSED(task);
    while ((t = oct__fetch(&run->counter)) < run->n_tok) {
        float *y = run->y + (size_t)t * cols;
        memset(y, 0, cols * sizeof *y);
        for (int i = t * run->rule->k; i < (t + 1) * run->rule->k; i++) {
            const float w = s->weights[i];
            if (w == 0.0f) continue;                                    /* dropped: it has no row */
            const float *from = s->x + (size_t)s->row[i] * cols;
            for (size_t j = 0; j < cols; j++) y[j] += w * from[j];
        }
    }
}
/* Jobs of the first half of every expert with work; their rows follow each other. */
static int oct__moe_jobs_up(oct__moe_run *run, const oct__acts *acts, bool quantised) {
    const oct__moe_scratch *s = run->s;
    const oct__moe *moe = run->moe;
    const bool one = run->n_tok == 1;                                    /* all read the same row */
    int n_jobs = 0;
    run->n_acts = 0;
    for (int e = 0, row = 0; e < moe->n_expert; row += s->taken[e++]) {
        if (s->taken[e] == 0) continue;
        oct__acts *view = &s->acts[one ? 0 : run->n_acts];
        *view = oct__acts_part(run->c->k, acts, s->x, one ? 0 : row, s->taken[e], run->n_embd, quantised);
        run->n_acts = (int)(view - s->acts) + 1;
        if (moe->gate && !run->gated) oct__moe_job(run, n_jobs++, &moe->gate[e], s->gate, row, view);
        oct__moe_job(run, n_jobs++, &moe->up[e], s->up, row, view);
        if (run->gated) s->jobs[n_jobs - 1].gate = &moe->gate[e].w;
    }
    return n_jobs;
}
static int oct__moe_jobs_down(oct__moe_run *run, const oct__acts *acts, bool quantised) {
    const oct__moe_scratch *s = run->s;
    const oct__moe *moe = run->moe;
    run->n_acts = 0;
    for (int e = 0, row = 0; e < moe->n_expert; row += s->taken[e++]) {
        if (s->taken[e] == 0) continue;
        oct__acts *view = &s->acts[run->n_acts];
        *view = oct__acts_part(run->c->k, acts, s->up, row, s->taken[e], moe->n_ff, quantised);
        oct__moe_job(run, run->n_acts++, &moe->down[e], s->x, row, view);
    }
    return run->n_acts;
}
/* After oct__moe_route: y [n_tok, n_embd] of x.  acts: room for n_tok * k rows; its contents go. */
static void oct__moe_experts(oct__moe_run *run, const oct__acts *acts, bool any_quantised) {
    oct__compute *c = run->c;
    const oct__moe_scratch *s = run->s;
    const bool quantised = any_quantised && !c->exact;
    const int rows = oct__moe_sort(run);
    run->gated = run->moe->gate && rows >= 8 * run->moe->n_expert;       /* with few, the kernel for one token is faster */
    for (int e = 0; run->gated && e < run->moe->n_expert; e++)
        run->gated = oct__mm_gates(&run->moe->gate[e].w, run->moe->gate[e].b, &run->moe->up[e].w, run->moe->up[e].b);
    if (rows > 0) {
        int n_jobs = oct__moe_jobs_up(run, acts, quantised);
        oct__moe_fill(run, true, rows, run->n_embd);
        oct__matmul_each(c, s->jobs, n_jobs, s->each);
        n_jobs = oct__moe_jobs_down(run, acts, quantised);
        oct__moe_fill(run, false, rows, run->moe->n_ff);
        oct__matmul_each(c, s->jobs, n_jobs, s->each);
    }
    run->counter = 0;
    oct__parallel_if(c, (size_t)run->n_tok * (size_t)run->rule->k * (size_t)run->n_embd, oct__moe_join_task, run);
}

/* ==========================================================================
 * MARK: - 14. decoder
 * ==========================================================================
 * Binds a file's tensors to a network, and runs it: one pass for any number of
 * tokens, so that a prompt and a single step are the same code and give the
 * same bits.  All five architectures are one layer with parts that are there or
 * not: fused or separate q/k/v, biases, RMSNorm or LayerNorm, a gate or none, a
 * second norm or (absent) the parallel residual.  Presence decides, layer by
 * layer; shapes and types are checked here, once, and trusted below.
 */
enum { OCT__MAX_LAYERS = 1024, OCT__MAX_WIDTH = 1 << 17, OCT__MAX_CTX = 1 << 22 };

typedef struct oct__norm_w {
    const float *w, *b;                 /* [n], b NULL: none; w NULL: no such norm */
} oct__norm_w;

typedef struct oct__linear {
    oct__mat     w;                     /* [rows, cols] */
    const float *b;                     /* [rows] or NULL */
} oct__linear;

typedef struct oct__layer {
    oct__norm_w attn_norm, ffn_norm;    /* [n_embd]; no ffn_norm: attention and FFN read the same norm, in parallel */
    oct__norm_w q_norm, k_norm;         /* [n_head, d_head], [n_kv, d_head]: LayerNorm per head (StableLM-2-12B) */
    oct__linear q, k, v, o;             /* [n_head * d_head, n_embd], [n_kv * d_head, n_embd] twice, [n_embd, n_head * d_head] */
    oct__linear gate, up, down;         /* [n_ff, n_embd] twice, [n_embd, n_ff]; no gate: GELU */
    int         n_ff;
    oct__moe    moe;                    /* or experts in their place */
    oct__lora   lora[OCT__LINEARS];     /* what the gate adds to each of the linears */
} oct__layer;

/* A linear of a layer by its number OCT__LIN_..., and its name in files. */
static const oct__linear *oct__layer_linear(const oct__layer *l, int which) {
    const oct__linear *const of[OCT__LINEARS] = { &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down };
    return of[which];
}
static const char *const oct__linear_names[OCT__LINEARS] = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" };

/* The network, as the file describes it. */
typedef struct oct__net {
    int          n_vocab, n_ctx_train, n_embd, n_layer, n_head, n_kv, d_head, n_ff, n_rot;   /* n_ff: the widest layer's */
    int          n_out;                 /* n_head * d_head */
    bool         rms, neox;
    float        eps;
    oct__mat     token_embd;            /* [n_vocab, n_embd] */
    oct__norm_w  output_norm;           /* [n_embd] */
    oct__linear  output;                /* [n_vocab, n_embd]; token_embd where the file ties them */
    oct__layer  *layers;                /* [n_layer] */
    double      *inv_freq;              /* [n_rot / 2] radians per position, scaling included */
    float        rope_gain;             /* YaRN's factor on cos and sin, else 1 */
    int          native_length;         /* Qwen's seq_length, beyond which it stretches angles and scales queries; 0: it does neither */
    bool         any_quantised;         /* some matmul may take int8 activations */
    oct__moe_rule moe;                  /* k 0: no layer has experts */
    int          n_expert, moe_ff;      /* the most experts of a layer, and their widest FFN */
    oct__gate    instance_gate;         /* of the LoRA experts; n_expert 0: none */
    size_t       lora_columns;          /* the most that a layer's experts ask for (oct__lora_columns) */
    float       *vectors;               /* norms and biases as aligned F32; everything above points in here or into the file */
    size_t       vectors_used, vectors_cap;       /* floats */
} oct__net;

/* --- binding ------------------------------------------------------------------ */

typedef struct oct__binder {
    const oct__gguf     *g;
    const oct_allocator *a;
    oct__net            *net;
    unsigned char       *used;          /* [n_tensors] */
    oct_string           arch;
    oct_error           *err;
} oct__binder;

/* "llama" + ".block_count" */
static const char *oct__net_key(const oct__binder *b, const char *suffix, char *out, size_t cap) {
    snprintf(out, cap, "%.*s.%s", OCT__S(b->arch), suffix);
    return out;
}

static oct_result oct__net_int(const oct__binder *b, const char *suffix, int min, int max, int fallback, int *out) {
    char key[160];
    int64_t v = 0;
    oct_result r = oct__gguf_int(b->g, oct__net_key(b, suffix, key, sizeof key), min, max, fallback, &v, b->err);
    if (!r) *out = (int)v;
    return r;
}
static oct_result oct__net_need_int(const oct__binder *b, const char *suffix, int min, int max, int *out) {
    char key[160];
    int64_t v = 0;
    oct_result r = oct__gguf_need_int(b->g, oct__net_key(b, suffix, key, sizeof key), min, max, &v, b->err);
    if (!r) *out = (int)v;
    return r;
}
static oct_result oct__net_real(const oct__binder *b, const char *suffix, double min, double max, double fallback, double *out) {
    char key[160];
    return oct__gguf_real(b->g, oct__net_key(b, suffix, key, sizeof key), min, max, fallback, out, b->err);
}

/* The tensor blk.LAYER.NAME, or NAME where layer is -1; marked as used.  NULL: the file has none. */
static const oct_tensor *oct__bind_find(oct__binder *b, int layer, const char *name, char *full, size_t cap) {
    if (layer < 0) snprintf(full, cap, "%s", name);
    else snprintf(full, cap, "blk.%d.%s", layer, name);
    const oct_tensor *t = oct__gguf_tensor(b->g, oct__str(full));
    if (t) b->used[t - b->g->tensors] = 1;
    return t;
}

/* rows 0: a vector of cols. */
static oct_result oct__bind_check(const oct__binder *b, const oct_tensor *t, int64_t rows, int64_t cols) {
    const bool vector = rows == 0;
    if (t->ne[0] != cols || t->ne[1] != (vector ? 1 : rows) || t->ne[2] != 1 || t->ne[3] != 1) {
        if (vector)
            return oct__fail(b->err, OCT_E_FORMAT, "tensor '%.*s': shape [%lld, %lld, %lld, %lld], expected [%lld]", OCT__S(t->name),
                             (long long)t->ne[0], (long long)t->ne[1], (long long)t->ne[2], (long long)t->ne[3], (long long)cols);
        if (t->ne[2] != 1 || t->ne[3] != 1)
            return oct__fail(b->err, OCT_E_FORMAT, "tensor '%.*s': shape [%lld, %lld, %lld, %lld], expected [%lld, %lld]", OCT__S(t->name),
                             (long long)t->ne[0], (long long)t->ne[1], (long long)t->ne[2], (long long)t->ne[3],
                             (long long)cols, (long long)rows);
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%.*s': shape [%lld, %lld], expected [%lld, %lld]", OCT__S(t->name),
                         (long long)t->ne[0], (long long)t->ne[1], (long long)cols, (long long)rows);
    }
    if (!oct__type(t->type) || (vector && oct__type(t->type)->block_elems != 1))
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%.*s': type %s, expected %s", OCT__S(t->name), t->type_name,
                         vector ? "F32, F16 or BF16" : "F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K or IQ4_NL");
    return OCT_OK;
}

static oct_result oct__bind_missing(const oct__binder *b, const char *name, int64_t rows, int64_t cols) {
    if (rows == 0)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': missing, expected [%lld]", name, (long long)cols);
    return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': missing, expected [%lld, %lld]", name, (long long)cols, (long long)rows);
}

/* A matrix stays where it is, in the file.  Absent: data NULL, an error only if needed. */
static oct_result oct__bind_mat(oct__binder *b, oct__mat *w, int layer, const char *name, int rows, int cols, bool needed) {
    char full[96];
    const oct_tensor *t = oct__bind_find(b, layer, name, full, sizeof full);
    if (!t) return needed ? oct__bind_missing(b, full, rows, cols) : OCT_OK;
    oct_result r = oct__bind_check(b, t, rows, cols);
    if (r) return r;
    w->type = t->type;
    w->rows = rows;
    w->cols = cols;
    w->row_bytes = oct__row_bytes(t->type, cols);
    w->data = (const unsigned char *)t->data;
    if (oct__type(t->type)->block_elems > 1) b->net->any_quantised = true;
    return OCT_OK;
}

/* A vector becomes aligned F32 of our own: the file may hold it unaligned, or as F16.  rows > 0: a small matrix
 * [rows, cols] that is used as one vector. */
static oct_result oct__bind_vec(oct__binder *b, const float **out, int layer, const char *name, int rows, int cols, bool needed) {
    char full[96];
    oct__net *net = b->net;
    const oct_tensor *t = oct__bind_find(b, layer, name, full, sizeof full);
    if (!t) return needed ? oct__bind_missing(b, full, rows, cols) : OCT_OK;
    oct_result r = oct__bind_check(b, t, rows, cols);
    if (r) return r;
    const size_t n = (size_t)cols * (size_t)OCT__MAX(rows, 1), room = (n + 15) & ~(size_t)15;
    if (oct__type(t->type)->block_elems != 1)
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%s': type %s, expected F32, F16 or BF16", full, t->type_name);
    if (room > net->vectors_cap - net->vectors_used)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': used more than once", full);
    float *v = net->vectors + net->vectors_used;
    net->vectors_used += room;
    oct__dequant_row(t->type, t->data, v, (int64_t)n);
    *out = v;
    return OCT_OK;
}

static oct_result oct__bind_norm(oct__binder *b, oct__norm_w *n, int layer, const char *name, int rows, int cols, bool needed) {
    char w[64], bias[64];
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    oct_result r = oct__bind_vec(b, &n->w, layer, w, rows, cols, needed);
    return r ? r : oct__bind_vec(b, &n->b, layer, bias, rows, cols, false);     /* an absent bias is zero */
}

static oct_result oct__bind_linear(oct__binder *b, oct__linear *l, int layer, const char *name, int rows, int cols, bool needed) {
    char w[64], bias[64];
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    oct_result r = oct__bind_mat(b, &l->w, layer, w, rows, cols, needed);
    return r ? r : oct__bind_vec(b, &l->b, layer, bias, 0, rows, false);
}

/* Rows [from, from + rows) of a linear, which stay where they are. */
static oct__linear oct__linear_rows(const oct__linear *l, int from, int rows) {
    oct__linear part = *l;
    part.w.data += (size_t)from * l->w.row_bytes;
    part.w.rows = rows;
    if (part.b) part.b += from;
    return part;
}

static oct_result oct__bind_attention(oct__binder *b, oct__layer *l, int i) {
    const oct__net *net = b->net;
    const int n_q = net->n_out, n_k = net->n_kv * net->d_head;
    oct__linear qkv;
    memset(&qkv, 0, sizeof qkv);
    oct_result r = oct__bind_linear(b, &qkv, i, "attn_qkv", n_q + 2 * n_k, net->n_embd, false);
    if (r) return r;
    if (qkv.w.data) {                                   /* rows in the order q, k, v */
        l->q = oct__linear_rows(&qkv, 0, n_q);
        l->k = oct__linear_rows(&qkv, n_q, n_k);
        l->v = oct__linear_rows(&qkv, n_q + n_k, n_k);
    } else if ((r = oct__bind_linear(b, &l->q, i, "attn_q", n_q, net->n_embd, true)) != OCT_OK ||
               (r = oct__bind_linear(b, &l->k, i, "attn_k", n_k, net->n_embd, true)) != OCT_OK ||
               (r = oct__bind_linear(b, &l->v, i, "attn_v", n_k, net->n_embd, true)) != OCT_OK) {
        return r;
    }
    if ((r = oct__bind_norm(b, &l->q_norm, i, "attn_q_norm", net->n_head, net->d_head, false)) != OCT_OK ||
        (r = oct__bind_norm(b, &l->k_norm, i, "attn_k_norm", net->n_kv, net->d_head, false)) != OCT_OK)
        return r;
    return oct__bind_linear(b, &l->o, i, "attn_output", net->n_embd, n_q, true);
}

/* One part of all experts: stacked [n_expert, rows, cols], one slab an expert; or, as llama.cpp's files were before 2024, a
 * matrix for each, "blk.N.ffn_up.E.weight". */
static oct_result oct__bind_experts(oct__binder *b, oct__expert *experts /* [n_expert] */, int n_expert, int i, const char *name,
                                    int rows, int cols) {
    char full[96], end[64];
    const float *biases = NULL;                         /* [n_expert, rows] */
    snprintf(end, sizeof end, "%s_exps.weight", name);
    const oct_tensor *t = oct__bind_find(b, i, end, full, sizeof full);
    oct_result r = OCT_OK;
    for (int e = 0; !t && e < n_expert && !r; e++) {
        snprintf(end, sizeof end, "%s.%d.weight", name, e);
        r = oct__bind_mat(b, &experts[e].w, i, end, rows, cols, e > 0);
        if (!experts[0].w.data && !r)
            r = oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': missing, expected [%d, %d, %d]", full, cols, rows, n_expert);
    }
    if (!t) return r;
    if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != n_expert || t->ne[3] != 1)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': shape [%lld, %lld, %lld, %lld], expected [%d, %d, %d]", full,
                         (long long)t->ne[0], (long long)t->ne[1], (long long)t->ne[2], (long long)t->ne[3], cols, rows, n_expert);
    if (!oct__type(t->type))
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%s': type %s, expected %s", full, t->type_name,
                         "F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K or IQ4_NL");
    if (oct__type(t->type)->block_elems > 1) b->net->any_quantised = true;
    snprintf(end, sizeof end, "%s_exps.bias", name);
    r = oct__bind_vec(b, &biases, i, end, n_expert, rows, false);
    for (int e = 0; e < n_expert && !r; e++) {
        oct__mat *w = &experts[e].w;
        w->type = t->type;
        w->rows = rows;
        w->cols = cols;
        w->row_bytes = oct__row_bytes(t->type, cols);
        w->data = (const unsigned char *)t->data + (size_t)e * (size_t)rows * w->row_bytes;
        if (biases) experts[e].b = biases + (size_t)e * (size_t)rows;
    }
    return r;
}
/* The router's rows as panels of F32, as the kernels multiply them; rows past the last expert are zero. */
static oct_result oct__bind_router(oct__binder *b, oct__moe *moe, int i, const oct_tensor *t) {
    oct__net *net = b->net;
    const size_t cols = (size_t)net->n_embd, n = ((size_t)moe->n_expert + OCT__PANEL - 1) / OCT__PANEL * OCT__PANEL;
    const oct__type_info *type = oct__type(t->type);
    oct_result r = oct__bind_check(b, t, moe->n_expert, net->n_embd);
    if (r) return r;
    if (type->block_elems != 1)
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%.*s': type %s, expected F32, F16 or BF16", OCT__S(t->name),
                         t->type_name);
    const size_t row_bytes = oct__row_bytes(t->type, net->n_embd);
    float *router = net->vectors + net->vectors_used, *row = OCT__NEW(b->a, float, cols);
    if (!row || n * cols > net->vectors_cap - net->vectors_used) {
        oct__free(b->a, row);
        return oct__fail(b->err, OCT_E_MEMORY, "out of memory for the router of layer %d", i);
    }
    net->vectors_used += n * cols;
    memset(router, 0, n * cols * sizeof *router);
    for (int e = 0; e < moe->n_expert; e++) {
        oct__dequant_row(t->type, (const unsigned char *)t->data + (size_t)e * row_bytes, row, net->n_embd);
        oct__moe_router_row(router, e, row, net->n_embd);
    }
    oct__free(b->a, row);
    moe->router = router;
    return OCT_OK;
}
/* How the file's layers choose; read once. */
static oct_result oct__bind_moe_rule(oct__binder *b) {
    oct__moe_rule *rule = &b->net->moe;
    double factor = 0.0;
    int64_t min_capacity = 0;
    oct_result r;
    if (rule->k) return OCT_OK;
    if ((r = oct__net_need_int(b, "expert_used_count", 1, OCT__MAX_EXPERTS, &rule->k)) != OCT_OK ||
        (r = oct__gguf_real(b->g, "octavius.moe.capacity_factor", 0.0, 1e6, 0.0, &factor, b->err)) != OCT_OK ||
        (r = oct__gguf_int(b->g, "octavius.moe.min_capacity", 0, INT_MAX, 0, &min_capacity, b->err)) != OCT_OK)
        return r;
    const bool has_min = oct__gguf_find(b->g, "octavius.moe.min_capacity") != NULL;
    rule->has_capacity = oct__gguf_find(b->g, "octavius.moe.capacity_factor") != NULL;
    rule->factor = (float)factor;
    rule->min_capacity = (int)min_capacity;
    rule->raw_one = rule->has_capacity || has_min || !oct__str_is(b->arch, "llama");
    return OCT_OK;
}
/* How many experts there are the router says, and how wide they are the first up matrix. */
static oct_result oct__bind_moe(oct__binder *b, oct__layer *l, int i, const oct_tensor *router) {
    oct__net *net = b->net;
    oct__moe *moe = &l->moe;
    char full[96];
    oct_result r = oct__bind_moe_rule(b);
    if (r) return r;
    if (router->ne[1] < net->moe.k || router->ne[1] > OCT__MAX_EXPERTS)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%.*s': %lld experts, expected %d (as many as a token uses) to %d",
                         OCT__S(router->name), (long long)router->ne[1], net->moe.k, (int)OCT__MAX_EXPERTS);
    const int n_expert = (int)router->ne[1];
    const oct_tensor *up = oct__bind_find(b, i, "ffn_up.0.weight", full, sizeof full);
    if (!up) up = oct__bind_find(b, i, "ffn_up_exps.weight", full, sizeof full);
    if (!up)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': missing, expected [%d, width, %d]", full, net->n_embd, n_expert);
    if (up->ne[1] < 1 || up->ne[1] > OCT__MAX_WIDTH)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': %lld rows, expected 1 to %d", full, (long long)up->ne[1],
                         OCT__MAX_WIDTH);
    moe->up = OCT__NEW(b->a, oct__expert, 3 * (size_t)n_expert);
    if (!moe->up) return oct__fail(b->err, OCT_E_MEMORY, "out of memory for %d experts", n_expert);
    memset(moe->up, 0, 3 * (size_t)n_expert * sizeof *moe->up);
    moe->n_expert = n_expert;
    moe->n_ff = (int)up->ne[1];
    moe->down = moe->up + n_expert;
    moe->gate = oct__str_is(b->arch, "phi2") ? NULL : moe->up + 2 * n_expert;
    net->n_expert = OCT__MAX(net->n_expert, n_expert);
    net->moe_ff = OCT__MAX(net->moe_ff, moe->n_ff);
    if ((r = oct__bind_router(b, moe, i, router)) != OCT_OK ||
        (r = oct__bind_experts(b, moe->up, n_expert, i, "ffn_up", moe->n_ff, net->n_embd)) != OCT_OK ||
        (moe->gate && (r = oct__bind_experts(b, moe->gate, n_expert, i, "ffn_gate", moe->n_ff, net->n_embd)) != OCT_OK))
        return r;
    return oct__bind_experts(b, moe->down, n_expert, i, "ffn_down", net->n_embd, moe->n_ff);
}

/* The FFN's width is read off its first tensor, within bounds: files may give it per layer. */
static oct_result oct__bind_ffn(oct__binder *b, oct__layer *l, int i) {
    oct__net *net = b->net;
    char full[96];
    const oct_tensor *router = oct__bind_find(b, i, "ffn_gate_inp.weight", full, sizeof full);
    if (router) return oct__bind_moe(b, l, i, router);
    const oct_tensor *up = oct__bind_find(b, i, "ffn_up.weight", full, sizeof full);
    if (!up) return oct__bind_missing(b, full, net->n_ff, net->n_embd);
    if (up->ne[1] < 1 || up->ne[1] > OCT__MAX_WIDTH)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': %lld rows, expected 1 to %d", full, (long long)up->ne[1], OCT__MAX_WIDTH);
    l->n_ff = (int)up->ne[1];
    if (net->n_ff && l->n_ff != net->n_ff)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': shape [%lld, %lld], expected [%d, %d]", full,
                         (long long)up->ne[0], (long long)up->ne[1], net->n_embd, net->n_ff);
    oct_result r;
    if ((r = oct__bind_linear(b, &l->up, i, "ffn_up", l->n_ff, net->n_embd, true)) != OCT_OK ||
        (r = oct__bind_linear(b, &l->gate, i, "ffn_gate", l->n_ff, net->n_embd, !oct__str_is(b->arch, "phi2"))) != OCT_OK)
        return r;
    return oct__bind_linear(b, &l->down, i, "ffn_down", net->n_embd, l->n_ff, true);
}

/* --- binding low-rank matrices ------------------------------------------------------- */

/* One of the two, STEM.lora_a or STEM.lora_b, [n_expert, rows, cols]; where one of rows and cols is 0, that is the rank, and
 * *rank is taken from it or compared with it.  Marks it as used; absent: *out NULL. */
static oct_result oct__lora_find(const oct__gguf *g, unsigned char *used, const char *stem, const char *end, int n_expert, int rows, int cols,
                                 int *rank, const oct_tensor **out, oct_error *err) {
    char full[112];
    snprintf(full, sizeof full, "%s.%s", stem, end);
    const oct_tensor *t = *out = oct__gguf_tensor(g, oct__str(full));
    if (!t) return OCT_OK;
    used[t - g->tensors] = 1;
    const int64_t found = rows ? t->ne[0] : t->ne[1], known = rows ? t->ne[1] : t->ne[0];
    if (known != OCT__MAX(rows, cols) || found < 1 || found > OCT__MAX_RANK || (*rank && found != *rank) || t->ne[2] != n_expert || t->ne[3] != 1) {
        char r[40];
        if (*rank) snprintf(r, sizeof r, "%d", *rank);
        else snprintf(r, sizeof r, "rank (1 to %d)", (int)OCT__MAX_RANK);
        return oct__fail(err, OCT_E_FORMAT, "tensor '%s': shape [%lld, %lld, %lld, %lld], expected [%.0d%s, %.0d%s, %d]", full, (long long)t->ne[0],
                         (long long)t->ne[1], (long long)t->ne[2], (long long)t->ne[3], cols, cols ? "" : r, rows, rows ? "" : r, n_expert);
    }
    if (!oct__type(t->type))
        return oct__fail(err, OCT_E_UNSUPPORTED, "tensor '%s': type %s, expected F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K or IQ4_NL", full,
                         t->type_name);
    *rank = (int)found;
    return OCT_OK;
}
/* Expert 0 of a tensor [n_expert, rows, cols], and the bytes to the next. */
static oct__mat oct__lora_mat(const oct_tensor *t, size_t *slab) {
    oct__mat w;
    w.type = t->type;
    w.rows = (int)t->ne[1];
    w.cols = (int)t->ne[0];
    w.row_bytes = oct__row_bytes(t->type, t->ne[0]);
    w.data = (const unsigned char *)t->data;
    *slab = (size_t)w.rows * w.row_bytes;
    return w;
}
/* STEM.lora_a and STEM.lora_b beside a linear [rows, cols]; both or neither. */
static oct_result oct__lora_bind(const oct__gguf *g, unsigned char *used, const char *stem, int n_expert, int rows, int cols, oct__lora *out,
                                 oct_error *err) {
    const oct_tensor *a, *b;
    int rank = 0;
    oct_result r;
    if ((r = oct__lora_find(g, used, stem, "lora_a", n_expert, 0, cols, &rank, &a, err)) != OCT_OK ||
        (r = oct__lora_find(g, used, stem, "lora_b", n_expert, rows, 0, &rank, &b, err)) != OCT_OK)
        return r;
    if (!a != !b)
        return oct__fail(err, OCT_E_FORMAT, "tensor '%s.%s': missing, expected beside '%s.%s' of rank %d", stem, a ? "lora_b" : "lora_a", stem,
                         a ? "lora_a" : "lora_b", rank);
    if (!a) return OCT_OK;
    out->n_expert = n_expert;
    out->rank = rank;
    out->a = oct__lora_mat(a, &out->a_bytes);
    out->b = oct__lora_mat(b, &out->b_bytes);
    out->by = 1.0f;
    return OCT_OK;
}
/* Does the layer hold this linear as a tensor of its own?  Parts of a fused matrix and experts are none. */
static bool oct__bind_has(const oct__gguf *g, int layer, int which) {
    char full[96];
    snprintf(full, sizeof full, "blk.%d.%s.weight", layer, oct__linear_names[which]);
    return oct__gguf_tensor(g, oct__str(full)) != NULL;
}
/* The LoRA experts of layer i.  Those beside other tensors stay unused, and are refused by name. */
static oct_result oct__bind_loras(oct__binder *b, oct__layer *l, int i) {
    oct__net *net = b->net;
    const int n_expert = net->instance_gate.n_expert;
    oct_result r = OCT_OK;
    for (int j = 0; j < OCT__LINEARS && !r && n_expert; j++) {
        const oct__linear *of = oct__layer_linear(l, j);
        char stem[96];
        snprintf(stem, sizeof stem, "blk.%d.%s", i, oct__linear_names[j]);
        if (of->w.data && oct__bind_has(b->g, i, j))
            r = oct__lora_bind(b->g, b->used, stem, n_expert, of->w.rows, of->w.cols, &l->lora[j], b->err);
    }
    net->lora_columns = OCT__MAX(net->lora_columns, oct__lora_columns(l->lora));
    return r;
}
/* The gate [n_expert, n_embd] of the LoRA experts, and how many of them it chooses. */
static oct_result oct__bind_gate(oct__binder *b) {
    oct__gate *gate = &b->net->instance_gate;
    char full[96];
    int64_t k;
    const oct_tensor *t = oct__bind_find(b, -1, "gate.weight", full, sizeof full);
    if (!t) return OCT_OK;
    if (t->ne[1] < 1 || t->ne[1] > OCT__MAX_GATE)
        return oct__fail(b->err, OCT_E_FORMAT, "tensor '%s': %lld rows, expected 1 to %d experts", full, (long long)t->ne[1], (int)OCT__MAX_GATE);
    const int n_expert = (int)t->ne[1];
    oct_result r = oct__gguf_int(b->g, "octavius.lora.expert_used_count", 1, n_expert, OCT__MIN(2, n_expert), &k, b->err);
    if (r || (r = oct__bind_vec(b, &gate->w, -1, "gate.weight", n_expert, b->net->n_embd, true)) != OCT_OK) return r;
    gate->n_expert = n_expert;
    gate->k = (int)k;
    return OCT_OK;
}

static oct_result oct__bind_layer(oct__binder *b, oct__layer *l, int i) {
    const bool may_be_parallel = oct__str_is(b->arch, "phi2") || oct__str_is(b->arch, "stablelm");
    oct_result r;
    if ((r = oct__bind_norm(b, &l->attn_norm, i, "attn_norm", 0, b->net->n_embd, true)) != OCT_OK ||
        (r = oct__bind_attention(b, l, i)) != OCT_OK ||
        (r = oct__bind_norm(b, &l->ffn_norm, i, "ffn_norm", 0, b->net->n_embd, !may_be_parallel)) != OCT_OK ||
        (r = oct__bind_ffn(b, l, i)) != OCT_OK)
        return r;
    return oct__bind_loras(b, l, i);
}

/* Of a point-cloud encoder: read where clouds are, and no matter where they are not. */
static bool oct__points_owns(oct_string name) {
    return name.len > 4 && (memcmp(name.data, "agg.", 4) == 0 || memcmp(name.data, "det.", 4) == 0 || memcmp(name.data, "pt.", 3) == 0);
}
/* A tensor nobody asked for means a network we do not know: better refused than run wrongly. */
static oct_result oct__bind_leftovers(const oct__binder *b) {
    for (size_t i = 0; i < b->g->n_tensors; i++) {
        const oct_string name = b->g->tensors[i].name;
        const char *harmless[] = { "rotary_emb.inv_freq", "attn_rot_embd", "attn.masked_bias" };
        bool skip = b->used[i] != 0 || oct__points_owns(name) || (oct__vit_in(b->g) && oct__vit_owns(name));  /* chapter 11 sees to those */
        for (size_t j = 0; j < sizeof harmless / sizeof harmless[0]; j++)
            skip = skip || oct__str_find(name, oct__str(harmless[j]), 0) != SIZE_MAX;
        if (!skip && b->net->instance_gate.n_expert == 0 && oct__str_find(name, oct__str(".lora_"), 0) != SIZE_MAX)
            return oct__fail(b->err, OCT_E_FORMAT, "tensor 'gate.weight': missing, expected [%d, number of experts] for '%.*s'", b->net->n_embd,
                             OCT__S(name));
        if (!skip)
            return oct__fail(b->err, OCT_E_UNSUPPORTED, "tensor '%.*s': not part of a %.*s network as this version knows it",
                             OCT__S(name), OCT__S(b->arch));
    }
    return OCT_OK;
}

/* --- rope: angles per position ------------------------------------------------- */

/* The rotary index at which a wave turns `turns` times within n_ctx positions (YaRN, Peng et al. 2023, eq. 19 ff.). */
static double oct__rope_index(int n_rot, double base, double n_ctx, double turns) {
    return n_rot * log(n_ctx / (turns * 2.0 * 3.14159265358979323846)) / (2.0 * log(base));
}

/* YaRN: waves before index low keep their angle, those after high are interpolated, a ramp between; cos and sin gain
 * a factor. */
static void oct__rope_yarn(oct__net *net, double low, double high, double factor) {
    low = OCT__MAX(floor(low), 0.0);
    high = OCT__MIN(ceil(high), (double)(net->n_rot - 1));
    for (int i = 0; i < net->n_rot / 2; i++) {
        double ramp = (i - low) / OCT__MAX(0.001, high - low);
        ramp = ramp < 0.0 ? 0.0 : ramp > 1.0 ? 1.0 : ramp;
        net->inv_freq[i] *= (1.0 - ramp) + ramp / factor;
    }
    net->rope_gain = (float)(1.0 + 0.1 * log(factor));
}

static oct_result oct__bind_rope(oct__binder *b) {
    oct__net *net = b->net;
    char key[160];
    double base, factor, old_factor, attn, fast, slow;
    int n_orig;
    int64_t native;
    oct_string type;
    oct_result r;
    if ((r = oct__net_int(b, "rope.dimension_count", 2, net->d_head, net->d_head & ~1, &net->n_rot)) != OCT_OK ||
        (r = oct__net_real(b, "rope.freq_base", 1e-3, 1e12, 10000.0, &base)) != OCT_OK ||
        (r = oct__net_real(b, "rope.scale_linear", 1e-3, 1e6, 1.0, &old_factor)) != OCT_OK ||
        (r = oct__net_real(b, "rope.scaling.factor", 0.0, 1e6, old_factor, &factor)) != OCT_OK ||
        (r = oct__net_real(b, "rope.scaling.attn_factor", 1e-3, 1e3, 1.0, &attn)) != OCT_OK ||
        (r = oct__net_real(b, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32.0, &fast)) != OCT_OK ||
        (r = oct__net_real(b, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1.0, &slow)) != OCT_OK ||
        (r = oct__net_int(b, "rope.scaling.original_context_length", 1, INT_MAX, net->n_ctx_train, &n_orig)) != OCT_OK ||
        (r = oct__gguf_text(b->g, oct__net_key(b, "rope.scaling.type", key, sizeof key), "linear", &type, b->err)) != OCT_OK ||
        (r = oct__gguf_int(b->g, "octavius.native_length", 2, INT_MAX, 0, &native, b->err)) != OCT_OK)
        return r;
    net->native_length = (int)native;
    if (net->n_rot % 2)
        return oct__fail(b->err, OCT_E_FORMAT, "%.*s.rope.dimension_count: %d, expected an even number", OCT__S(b->arch), net->n_rot);
    if (base <= 1.0)
        return oct__fail(b->err, OCT_E_FORMAT, "%.*s.rope.freq_base: at most 1, expected more", OCT__S(b->arch));
    if (factor <= 0.0) factor = 1.0;                    /* llama.cpp writes 0 for "none" */
    net->rope_gain = 1.0f;
    net->inv_freq = OCT__NEW(b->a, double, (size_t)net->n_rot / 2);
    if (!net->inv_freq) return oct__fail(b->err, OCT_E_MEMORY, "out of memory for %d rotary frequencies", net->n_rot / 2);
    for (int i = 0; i < net->n_rot / 2; i++) net->inv_freq[i] = pow(base, -2.0 * i / net->n_rot);
    const float *divide = NULL;                         /* [n_rot / 2] */
    if ((r = oct__bind_vec(b, &divide, -1, "rope_freqs.weight", 0, net->n_rot / 2, false)) != OCT_OK) return r;
    for (int i = 0; divide && i < net->n_rot / 2; i++) net->inv_freq[i] /= (double)divide[i];
    if (oct__str_is(type, "yarn")) {
        oct__rope_yarn(net, oct__rope_index(net->n_rot, base, n_orig, fast), oct__rope_index(net->n_rot, base, n_orig, slow), factor);
    } else if (oct__str_is(type, "linear")) {
        for (int i = 0; i < net->n_rot / 2; i++) net->inv_freq[i] /= factor;
    } else if (!oct__str_is(type, "none")) {
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "%s: '%.*s', expected none, linear or yarn", key, OCT__S(type));
    }
    net->rope_gain *= (float)attn;
    for (int i = 0; i < net->n_rot / 2; i++)
        if (!(fabs(net->inv_freq[i]) < 1e6))
            return oct__fail(b->err, OCT_E_FORMAT, "tensor 'rope_freqs.weight': element %d makes no finite frequency", i);
    return OCT_OK;
}

/* --- the whole network ------------------------------------------------------------ */

static oct_result oct__bind_sizes(oct__binder *b) {
    oct__net *net = b->net;
    int n_ff = 0, value_length;
    char key[160];
    double eps;
    const bool phi2 = oct__str_is(b->arch, "phi2"), stablelm = oct__str_is(b->arch, "stablelm");
    net->rms = !phi2 && !stablelm;
    net->neox = !oct__str_is(b->arch, "llama");
    oct_result r;
    if ((r = oct__net_need_int(b, "block_count", 1, OCT__MAX_LAYERS, &net->n_layer)) != OCT_OK ||
        (r = oct__net_need_int(b, "context_length", 1, INT_MAX, &net->n_ctx_train)) != OCT_OK ||
        (r = oct__net_need_int(b, "embedding_length", 1, OCT__MAX_WIDTH, &net->n_embd)) != OCT_OK ||
        (r = oct__net_need_int(b, "attention.head_count", 1, 4096, &net->n_head)) != OCT_OK ||
        (r = oct__net_int(b, "attention.head_count_kv", 1, net->n_head, net->n_head, &net->n_kv)) != OCT_OK ||
        (r = oct__net_int(b, "attention.key_length", 1, 1024, OCT__MAX(net->n_embd / net->n_head, 1), &net->d_head)) != OCT_OK ||
        (r = oct__net_int(b, "attention.value_length", 1, 1024, net->d_head, &value_length)) != OCT_OK)
        return r;
    const oct_meta *ff = oct__gguf_find(b->g, oct__net_key(b, "feed_forward_length", key, sizeof key));
    if (ff && ff->type != 9 && (r = oct__net_int(b, "feed_forward_length", 1, 2 * OCT__MAX_WIDTH, 0, &n_ff)) != OCT_OK) return r;
    net->n_ff = oct__str_is(b->arch, "qwen") ? n_ff / 2 : n_ff;        /* Qwen-1 counts gate and up together */
    r = oct__net_real(b, net->rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 1e-20, 1.0, 1e-5, &eps);
    if (r) return r;
    net->eps = (float)eps;
    if (net->d_head > 1024 || value_length != net->d_head)
        return oct__fail(b->err, OCT_E_UNSUPPORTED, "%.*s: head width %d for keys and %d for values, expected the same, at most 1024",
                         OCT__S(b->arch), net->d_head, value_length);
    if (net->n_head % net->n_kv)
        return oct__fail(b->err, OCT_E_FORMAT, "%.*s.attention.head_count_kv: %d, expected a divisor of the %d heads",
                         OCT__S(b->arch), net->n_kv, net->n_head);
    if (net->n_head * net->d_head > OCT__MAX_WIDTH)
        return oct__fail(b->err, OCT_E_FORMAT, "%.*s: %d heads of %d, expected a product of at most %d", OCT__S(b->arch),
                         net->n_head, net->d_head, OCT__MAX_WIDTH);
    net->n_out = net->n_head * net->d_head;
    return OCT_OK;
}

/* Room for every vector of the file as F32; the tensors are in bounds, so this is at most twice the file. */
static oct_result oct__bind_room(oct__binder *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->g->n_tensors; i++) {
        const oct_tensor *t = &b->g->tensors[i];
        const bool router = oct__str_find(t->name, oct__str("ffn_gate_inp."), 0) != SIZE_MAX;
        const bool small = t->n_dims == 1 || oct__str_is(t->name, "gate.weight") || oct__str_find(t->name, oct__str("_norm."), 0) != SIZE_MAX ||
                           oct__str_find(t->name, oct__str("_exps.bias"), 0) != SIZE_MAX;
        if (router && t->ne[0] == b->net->n_embd && t->ne[1] <= OCT__MAX_EXPERTS)           /* whole panels */
            n += (size_t)t->ne[0] * (((size_t)t->ne[1] + 15) & ~(size_t)15);
        else if (small && oct__type(t->type) && oct__type(t->type)->block_elems == 1 &&
            oct__add(&n, n, ((size_t)(t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]) + 15) & ~(size_t)15))
            return oct__fail(b->err, OCT_E_FORMAT, "the file's vectors are too many");
    }
    b->net->vectors = OCT__NEW(b->a, float, n);
    b->net->vectors_cap = n;
    b->net->layers = OCT__NEW(b->a, oct__layer, (size_t)b->net->n_layer);
    if (b->net->layers) memset(b->net->layers, 0, (size_t)b->net->n_layer * sizeof(oct__layer));
    if (!b->net->vectors || !b->net->layers)
        return oct__fail(b->err, OCT_E_MEMORY, "out of memory for the norms and biases of %d layers", b->net->n_layer);
    return OCT_OK;
}

static oct_result oct__bind_ends(oct__binder *b) {
    oct__net *net = b->net;
    char full[96];
    const oct_tensor *t = oct__bind_find(b, -1, "token_embd.weight", full, sizeof full);
    if (!t) return oct__fail(b->err, OCT_E_FORMAT, "tensor 'token_embd.weight': missing, expected [%d, number of tokens]", net->n_embd);
    if (t->ne[1] < 1 || t->ne[1] > (1 << 24))
        return oct__fail(b->err, OCT_E_FORMAT, "tensor 'token_embd.weight': %lld rows, expected 1 to %d", (long long)t->ne[1], 1 << 24);
    net->n_vocab = (int)t->ne[1];
    oct_result r;
    if ((r = oct__bind_mat(b, &net->token_embd, -1, "token_embd.weight", net->n_vocab, net->n_embd, true)) != OCT_OK ||
        (r = oct__bind_norm(b, &net->output_norm, -1, "output_norm", 0, net->n_embd, true)) != OCT_OK ||
        (r = oct__bind_linear(b, &net->output, -1, "output", net->n_vocab, net->n_embd, false)) != OCT_OK)
        return r;
    if (!net->output.w.data) {
        const bool may_tie = oct__str_is(b->arch, "llama") || oct__str_is(b->arch, "qwen2");
        if (!may_tie) return oct__bind_missing(b, "output.weight", net->n_vocab, net->n_embd);
        net->output.w = net->token_embd;
    }
    return OCT_OK;
}

static void oct__net_free(oct__net *net, const oct_allocator *a) {
    for (int i = 0; net->layers && i < net->n_layer; i++) oct__free(a, net->layers[i].moe.up);
    oct__free(a, net->layers);
    oct__free(a, net->inv_freq);
    oct__free(a, net->vectors);
    memset(net, 0, sizeof *net);
}

static oct_result oct__net_bind_all(oct__binder *b) {
    oct_result r;
    if ((r = oct__bind_sizes(b)) != OCT_OK || (r = oct__bind_room(b)) != OCT_OK || (r = oct__bind_ends(b)) != OCT_OK ||
        (r = oct__bind_rope(b)) != OCT_OK || (r = oct__bind_gate(b)) != OCT_OK)
        return r;
    for (int i = 0; i < b->net->n_layer; i++)
        if ((r = oct__bind_layer(b, &b->net->layers[i], i)) != OCT_OK) return r;
    for (int i = 0; i < b->net->n_layer; i++) b->net->n_ff = OCT__MAX(b->net->n_ff, b->net->layers[i].n_ff);
    return oct__bind_leftovers(b);
}

/* On failure the net is empty again. */
static oct_result oct__net_bind(oct__net *net, const oct__gguf *g, const oct_allocator *a, oct_error *err) {
    oct__binder b;
    memset(net, 0, sizeof *net);
    memset(&b, 0, sizeof b);
    b.g = g;
    b.a = a;
    b.net = net;
    b.err = err;
    oct_result r = oct__gguf_text(g, "general.architecture", NULL, &b.arch, err);
    if (r) return r;
    const char *known[] = { "llama", "phi2", "stablelm", "qwen", "qwen2" };
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) found = found || oct__str_is(b.arch, known[i]);
    if (!found)
        return oct__fail(err, OCT_E_UNSUPPORTED, "general.architecture: '%.*s', expected llama, phi2, stablelm, qwen or qwen2",
                         OCT__S(b.arch));
    b.used = OCT__NEW(a, unsigned char, g->n_tensors);
    if (!b.used) return oct__fail(err, OCT_E_MEMORY, "out of memory for %zu tensors", g->n_tensors);
    memset(b.used, 0, g->n_tensors);
    r = oct__net_bind_all(&b);
    oct__free(a, b.used);
    if (r) oct__net_free(net, a);
    return r;
}

/* What the LoRA experts weigh for a prompt whose text has these ids (rows of pictures, below 0, are left out). */
static void oct__gate_compute(const oct__net *net, const int32_t *ids, size_t n, const oct__gate_rule *rule, float *gate /* [n_expert] */) {
    oct__gate_of(&net->instance_gate, &net->token_embd, ids, n, rule, gate);
}

/* --- one pass ------------------------------------------------------------------------ */

/* The buffers of a pass over at most n_batch tokens, carved from the session's arena. */
typedef struct oct__pass {
    const oct__net *net;
    oct__compute   *compute;
    oct_stage_fn    stage;
    void           *stage_user;
    int             n_batch;
    oct__kv        *kv;                 /* [n_layer] */
    float          *x;                  /* [n_batch, n_embd] the residual stream */
    float          *xn;                 /* [n_batch, n_embd] after a norm */
    float          *q, *att;            /* [n_batch, n_head * d_head] */
    float          *k, *v;              /* [n_batch, n_kv * d_head] */
    float          *gate, *up;          /* [n_batch, n_ff] */
    float          *out;                /* [n_batch, n_embd] what attention or FFN adds */
    float          *cs;                 /* [n_batch, n_rot] cos, sin of every pair */
    float          *logits;             /* [n_logits, n_vocab]: one row, or OCT__STAGE_ROWS where stages are shown */
    oct__acts       acts;
    const int32_t  *ids;                /* [n_tok] of the pass under way, from position pos on; negative: a given row */
    const float    *rows;               /* [number of negative ids, n_embd] those rows, in order */
    oct__moe_scratch moe;
    oct__group      group;              /* linears of the layer under way, and what is added to them */
    float          *lora_gate;          /* [instance_gate.n_expert] what the LoRA experts weigh; whoever prefills computes it */
    const oct_lora *adapters[OCT_MAX_LORA];
    float           scales[OCT_MAX_LORA];
    int             n_adapters;
    bool            capacity;           /* experts are limited as the file says */
    oct_router_fn   router;
    void           *router_user;
    uint64_t       *counts;             /* [n_layer, OCT_MODALITIES, n_expert] choices so far */
    int             pos, n_tok;
    int             alpha;              /* oct__rope_alpha of the prompt at position 0 */
    bool            finish;             /* logits wanted */
} oct__pass;
enum { OCT__STAGE_ROWS = 32 };

static void oct__pass_take(oct__arena *a, oct__pass *p, int n_ctx, oct_kv_type kv_type) {
    const oct__net *net = p->net;
    const size_t n = (size_t)p->n_batch, n_k = (size_t)net->n_kv * (size_t)net->d_head;
    oct__kv kv;
    oct__kv_init(&kv, kv_type, n_ctx, net->n_kv, net->d_head);
    p->kv = OCT__TAKE(a, oct__kv, (size_t)net->n_layer);
    for (int i = 0; i < net->n_layer; i++) {
        kv.k = (unsigned char *)oct__take(a, (size_t)net->n_kv, kv.k_bytes);
        kv.v = (unsigned char *)oct__take(a, (size_t)net->n_kv, kv.v_bytes);
        if (p->kv) p->kv[i] = kv;                       /* else only counting */
    }
    p->x = OCT__TAKE(a, float, n * (size_t)net->n_embd);
    p->xn = OCT__TAKE(a, float, n * (size_t)net->n_embd);
    p->out = OCT__TAKE(a, float, n * (size_t)net->n_embd);
    p->q = OCT__TAKE(a, float, n * (size_t)net->n_out);
    p->att = OCT__TAKE(a, float, n * (size_t)net->n_out);
    p->k = OCT__TAKE(a, float, n * n_k);
    p->v = OCT__TAKE(a, float, n * n_k);
    p->gate = OCT__TAKE(a, float, n * (size_t)net->n_ff);
    p->up = OCT__TAKE(a, float, n * (size_t)net->n_ff);
    p->cs = OCT__TAKE(a, float, n * (size_t)net->n_rot);
    p->logits = OCT__TAKE(a, float, (size_t)(p->stage ? OCT__STAGE_ROWS : 1) * (size_t)net->n_vocab);
    const int rows = p->n_batch * OCT__MAX(net->moe.k, 1), n_ff = OCT__MAX(net->n_ff, net->moe_ff);
    oct__acts_take(a, &p->acts, rows, OCT__MAX(OCT__MAX(net->n_embd, net->n_out), n_ff));
    oct__group_take(a, &p->group, p->n_batch, net->instance_gate.n_expert, OCT_MAX_LORA, net->lora_columns);
    p->lora_gate = OCT__TAKE(a, float, (size_t)net->instance_gate.n_expert);
    if (net->moe.k == 0) return;
    oct__moe_take(a, &p->moe, p->n_batch, net->moe.k, net->n_expert, net->n_embd, net->moe_ff);
    p->counts = OCT__TAKE(a, uint64_t, (size_t)net->n_layer * OCT_MODALITIES * (size_t)net->n_expert);
}

/* Shows a stage to whoever asked; layer -1: a name without one. */
static void oct__show(const oct__pass *p, int layer, const char *name, const float *data, int cols) {
    char full[48];
    if (!p->stage) return;
    if (layer < 0) snprintf(full, sizeof full, "%s", name);
    else snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    p->stage(p->stage_user, full, data, p->n_tok, cols, p->pos);
}

/* Puts linear OCT__LIN_... of layer i, with all that is added to it, into the group under way: y [n_tok, rows]. */
static void oct__pass_linear(oct__pass *p, int i, int which, float *y) {
    const oct__layer *layer = &p->net->layers[i];
    const oct__linear *l = oct__layer_linear(layer, which);
    oct__group_linear(&p->group, &l->w, l->b, y);
    for (int e = 0; e < layer->lora[which].n_expert; e++)
        if (p->lora_gate[e] != 0.0f) oct__group_lora(&p->group, &layer->lora[which], e, p->lora_gate[e]);
    for (int a = 0; a < p->n_adapters; a++)
        oct__group_lora(&p->group, &p->adapters[a]->layers[i * OCT__LINEARS + which], 0, p->scales[a]);
}

/* Puts gate and up of layer i into the group under way.  True: p->up will be silu(gate) * up, false: both are apart, as for
 * few tokens, where weights come faster from memory when each matrix is a run of its own. */
static bool oct__pass_up(oct__pass *p, int i) {
    const oct__layer *l = &p->net->layers[i];
    const bool lora = l->lora[OCT__LIN_GATE].n_expert > 0 || l->lora[OCT__LIN_UP].n_expert > 0 || p->n_adapters > 0;
    const bool gates = p->n_tok > 4 && !lora && oct__mm_gates(&l->gate.w, l->gate.b, &l->up.w, l->up.b);
    if (l->gate.w.data && !gates) oct__pass_linear(p, i, OCT__LIN_GATE, p->gate);
    oct__pass_linear(p, i, OCT__LIN_UP, p->up);
    if (gates) p->group.jobs[p->group.n_jobs - 1].gate = &l->gate.w;
    return gates;
}

/* LayerNorm of each head by itself, with weights of its own. */
static void oct__head_norm(float *x /* [n_tok, n_head, d] */, int n_tok, int n_head, int d, const oct__norm_w *n, float eps) {
    for (int t = 0; t < n_tok; t++) {
        for (int h = 0; h < n_head; h++) {
            float *row = x + ((size_t)t * (size_t)n_head + (size_t)h) * (size_t)d;
            const float *w = n->w + (size_t)h * (size_t)d, *b = n->b ? n->b + (size_t)h * (size_t)d : NULL;
            double sum = 0.0, square = 0.0;
            for (int i = 0; i < d; i++) sum += (double)row[i];
            const double mean = sum / d;
            for (int i = 0; i < d; i++) square += ((double)row[i] - mean) * ((double)row[i] - mean);
            const double scale = 1.0 / sqrt(square / d + (double)eps);
            for (int i = 0; i < d; i++)
                row[i] = (float)(((double)row[i] - mean) * scale) * w[i] + (b ? b[i] : 0.0f);
        }
    }
}

/* Qwen's dynamic NTK (modeling_qwen.py, get_ntk_alpha): a prompt of n positions multiplies the rotary base by
 * alpha^(d / (d - 2)); the answer keeps what its prompt chose. */
static int oct__rope_alpha(const oct__net *net, int n) {
    int doublings = 1;                                  /* ceil(log2(n / native)) + 1 */
    if (net->native_length == 0 || n <= net->native_length) return 1;
    for (int64_t reach = net->native_length; reach < n; reach *= 2) doublings++;
    return (1 << OCT__MIN(doublings, 30)) - 1;
}
/* And its log-n attention: queries beyond the native length grow with the logarithm of their position. */
static void oct__scale_log_n(oct__pass *p) {
    const oct__net *net = p->net;
    for (int t = 0; t < p->n_tok; t++) {
        const int n = p->pos + t + 1;
        if (n <= net->native_length) continue;
        const float by = (float)(log((double)n) / log((double)net->native_length));
        float *q = p->q + (size_t)t * (size_t)net->n_out;
        for (int i = 0; i < net->n_out; i++) q[i] *= by;
    }
}

/* cos and sin for the pass's positions; in double, since a float angle loses digits at far positions. */
static void oct__rope_angles(oct__pass *p) {
    const oct__net *net = p->net;
    const double step = p->alpha > 1 && net->n_rot > 2 ? pow((double)p->alpha, -2.0 / (net->n_rot - 2)) : 1.0;
    for (int t = 0; t < p->n_tok; t++) {
        float *cs = p->cs + (size_t)t * (size_t)net->n_rot;
        double by = 1.0;
        for (int i = 0; i < net->n_rot / 2; i++, by *= step) {
            const double angle = (p->pos + t) * (net->inv_freq[i] * by);
            cs[2 * i] = (float)cos(angle) * net->rope_gain;
            cs[2 * i + 1] = (float)sin(angle) * net->rope_gain;
        }
    }
}

/* From q, k, v to what attention adds to the stream, in p->out. */
static void oct__layer_attend(oct__pass *p, int i) {
    const oct__net *net = p->net;
    const oct__layer *l = &net->layers[i];
    const oct__kv *kv = &p->kv[i];
    const int n_tok = p->n_tok;
    const size_t n_q = (size_t)net->n_out, n_k = (size_t)net->n_kv * (size_t)net->d_head;
    if (l->q_norm.w) oct__head_norm(p->q, n_tok, net->n_head, net->d_head, &l->q_norm, net->eps);
    if (l->k_norm.w) oct__head_norm(p->k, n_tok, net->n_kv, net->d_head, &l->k_norm, net->eps);
    oct__rope(p->compute, p->q, n_tok, net->n_head, net->d_head, n_q, p->cs, net->n_rot, net->neox);
    oct__rope(p->compute, p->k, n_tok, net->n_kv, net->d_head, n_k, p->cs, net->n_rot, net->neox);
    if (net->native_length > 0) oct__scale_log_n(p);
    oct__kv_store(p->compute, kv, p->pos, n_tok, p->k, p->v, n_k);
    oct__attention(p->compute, p->att, p->q, kv, net->n_head, p->pos, n_tok, (float)(1.0 / sqrt((double)net->d_head)), true);
    oct__acts_set(p->compute, &p->acts, p->att, n_tok, net->n_out, net->any_quantised);
    oct__pass_linear(p, i, OCT__LIN_O, p->out);
    oct__group_run(p->compute, &p->group, &p->acts);
}

/* gate and up are computed, and with `gated` already multiplied: the rest of the FFN, into p->out. */
static void oct__layer_ffn(oct__pass *p, int i, bool gated) {
    const oct__layer *l = &p->net->layers[i];
    const size_t n = (size_t)p->n_tok * (size_t)l->n_ff;
    if (l->gate.w.data && !gated) oct__silu_mul(p->compute, p->up, p->gate, p->up, n);
    if (!l->gate.w.data) oct__gelu(p->compute, p->up, p->up, n, OCT__GELU_TANH);
    oct__acts_set(p->compute, &p->acts, p->up, p->n_tok, l->n_ff, p->net->any_quantised);
    oct__pass_linear(p, i, OCT__LIN_DOWN, p->out);
    oct__group_run(p->compute, &p->group, &p->acts);
}

/* Counts what was chosen, and tells whoever wants to know.  Modality: ids below 0 are rows of a picture (-1) or a cloud (-2). */
static void oct__layer_routes(const oct__pass *p, const oct__moe *moe, int i) {
    const int k = p->net->moe.k, n_expert = p->net->n_expert;
    for (int t = 0; t < p->n_tok; t++) {
        oct_route route;
        route.layer = i;
        route.position = p->pos + t;
        route.modality = p->ids[t] >= 0 ? 0 : OCT__MIN(-p->ids[t], OCT_MODALITIES - 1);
        route.n_expert = moe->n_expert;
        route.k = k;
        route.logits = p->moe.logits + (size_t)t * (size_t)moe->n_expert;
        route.chosen = p->moe.chosen + (size_t)t * (size_t)k;
        route.weights = p->moe.weights + (size_t)t * (size_t)k;
        uint64_t *counts = p->counts + ((size_t)i * OCT_MODALITIES + (size_t)route.modality) * (size_t)n_expert;
        for (int r = 0; r < k; r++) counts[route.chosen[r]] += route.weights[r] != 0.0f;
        if (p->router) p->router(p->router_user, &route);
    }
}

/* The experts' part of a layer, from the norm in p->xn into p->out. */
static void oct__layer_moe(oct__pass *p, const oct__moe *moe, int i) {
    oct__moe_run run;
    memset(&run, 0, sizeof run);
    run.c = p->compute;
    run.moe = moe;
    run.rule = &p->net->moe;
    run.s = &p->moe;
    run.x = p->xn;
    run.y = p->out;
    run.n_tok = p->n_tok;
    run.n_embd = p->net->n_embd;
    oct__moe_route(&run, p->capacity);
    oct__show(p, i, "router", p->moe.logits, moe->n_expert);
    oct__layer_routes(p, moe, i);
    oct__moe_experts(&run, &p->acts, p->net->any_quantised);
}

static void oct__layer_norm(oct__pass *p, const oct__norm_w *n) {
    const oct__net *net = p->net;
    oct__norm(p->compute, p->xn, p->x, p->n_tok, net->n_embd, n->w, n->b, net->eps, net->rms);
    oct__acts_set(p->compute, &p->acts, p->xn, p->n_tok, net->n_embd, net->any_quantised);
}

/* x += attention(norm(x)); x += ffn(norm(x)) - or, without a second norm, both from the first. */
static void oct__layer_run(oct__pass *p, int i) {
    const oct__net *net = p->net;
    const oct__layer *l = &net->layers[i];
    const size_t n = (size_t)p->n_tok * (size_t)net->n_embd;
    const bool sparse = l->moe.n_expert > 0, parallel = !l->ffn_norm.w;
    bool gated = false;

    oct__layer_norm(p, &l->attn_norm);
    oct__show(p, i, "attn_norm", p->xn, net->n_embd);
    oct__pass_linear(p, i, OCT__LIN_Q, p->q);
    oct__pass_linear(p, i, OCT__LIN_K, p->k);
    oct__pass_linear(p, i, OCT__LIN_V, p->v);
    if (parallel && !sparse) gated = oct__pass_up(p, i);
    oct__group_run(p->compute, &p->group, &p->acts);
    oct__show(p, i, "q", p->q, net->n_out);
    oct__show(p, i, "k", p->k, net->n_kv * net->d_head);
    oct__show(p, i, "v", p->v, net->n_kv * net->d_head);
    oct__layer_attend(p, i);
    oct__show(p, i, "attn_out", p->out, net->n_embd);
    oct__add_rows(p->compute, p->x, p->out, n);

    if (sparse) {
        if (!parallel)
            oct__norm(p->compute, p->xn, p->x, p->n_tok, net->n_embd, l->ffn_norm.w, l->ffn_norm.b, net->eps, net->rms);
        oct__layer_moe(p, &l->moe, i);
    } else {
        if (!parallel) oct__layer_norm(p, &l->ffn_norm);
        if (!parallel) gated = oct__pass_up(p, i);
        if (!parallel) oct__group_run(p->compute, &p->group, &p->acts);
        oct__layer_ffn(p, i, gated);
    }
    oct__show(p, i, "ffn_out", p->out, net->n_embd);
    oct__add_rows(p->compute, p->x, p->out, n);
    oct__show(p, i, "out", p->x, net->n_embd);
}

/* Logits of rows [from, from + n) of the normed stream. */
static void oct__pass_head(oct__pass *p, int from, int n) {
    const oct__net *net = p->net;
    oct__acts_set(p->compute, &p->acts, p->xn + (size_t)from * (size_t)net->n_embd, n, net->n_embd, net->any_quantised);
    oct__group_linear(&p->group, &net->output.w, net->output.b, p->logits);
    for (int a = 0; a < p->n_adapters; a++) oct__group_lora(&p->group, &p->adapters[a]->output, 0, p->scales[a]);
    oct__group_run(p->compute, &p->group, &p->acts);
}

/* After the last layer: logits of the last row in p->logits[0 .. n_vocab), of all rows to whoever watches. */
static void oct__pass_finish(oct__pass *p) {
    const oct__net *net = p->net;
    const int last = p->n_tok - 1;
    const size_t row = (size_t)net->n_embd;
    if (!p->stage) {
        oct__norm(p->compute, p->xn, p->x + (size_t)last * row, 1, net->n_embd, net->output_norm.w, net->output_norm.b,
                  net->eps, net->rms);
        oct__pass_head(p, 0, 1);
        return;
    }
    oct__norm(p->compute, p->xn, p->x, p->n_tok, net->n_embd, net->output_norm.w, net->output_norm.b, net->eps, net->rms);
    oct__show(p, -1, "output_norm", p->xn, net->n_embd);
    for (int from = 0; from < p->n_tok && !oct__aborted(p->compute); from += OCT__STAGE_ROWS) {
        const int n = OCT__MIN((int)OCT__STAGE_ROWS, p->n_tok - from);
        oct__pass_head(p, from, n);
        p->stage(p->stage_user, "logits", p->logits, n, net->n_vocab, p->pos + from);
        if (from + n == p->n_tok && n > 1)
            memmove(p->logits, p->logits + (size_t)(n - 1) * (size_t)net->n_vocab, (size_t)net->n_vocab * sizeof(float));
    }
}

/* What adapters add to the embeddings of tokens: rows of pictures and clouds get nothing. */
static void oct__pass_embed_lora(oct__pass *p) {
    oct__group *g = &p->group;
    oct__group_linear(g, &p->net->token_embd, NULL, p->x);
    g->jobs[0].y_stride = (size_t)p->net->n_embd;
    for (int a = 0; a < p->n_adapters; a++) oct__group_lora(g, &p->adapters[a]->embd, 0, p->scales[a]);
    for (int i = 0; i < g->n_terms; i++)
        for (int t = 0; t < p->n_tok; t++) {
            const oct__mat *a = &g->terms[i].a;
            float *h = g->h + (size_t)t * (size_t)g->n_h + g->terms[i].at;
            if (p->ids[t] >= 0) oct__dequant_row(a->type, a->data + (size_t)p->ids[t] * a->row_bytes, h, a->cols);
            else memset(h, 0, (size_t)a->cols * sizeof *h);
        }
    if (g->n_terms) oct__lora_add(p->compute, g, p->n_tok);
    g->n_jobs = g->n_terms = g->n_h = 0;
}

/* What enters the first layer: token embeddings, and the rows that an encoder made of a picture or a cloud. */
static void oct__pass_embed(oct__pass *p) {
    const oct__net *net = p->net;
    const oct__mat *w = &net->token_embd;
    const size_t n = (size_t)net->n_embd;
    const float *row = p->rows;
    for (int t = 0; t < p->n_tok; t++) {
        float *x = p->x + (size_t)t * n;
        if (p->ids[t] >= 0) {
            oct__dequant_row(w->type, w->data + (size_t)p->ids[t] * w->row_bytes, x, net->n_embd);
        } else {
            memcpy(x, row, n * sizeof *x);
            row += n;
        }
    }
    oct__pass_embed_lora(p);
}

static void oct__pass_body(void *arg) {
    oct__pass *p = (oct__pass *)arg;
    const oct__net *net = p->net;
    oct__pass_embed(p);
    oct__show(p, -1, "embd", p->x, net->n_embd);
    oct__rope_angles(p);
    for (int i = 0; i < net->n_layer && !oct__aborted(p->compute); i++) oct__layer_run(p, i);
    if ((p->finish || p->stage) && !oct__aborted(p->compute)) oct__pass_finish(p);
}

/* ids [n_tok], n_tok <= n_batch, at positions pos ...; the cache holds positions 0 .. pos - 1.  finish: logits wanted.
 * rows: one for each negative id.  Ids are in the vocabulary and the positions in the cache: the caller saw to it. */
static oct_result oct__pass_run(oct__pass *p, const int32_t *ids, const float *rows, int n_tok, int pos, bool finish,
                                oct_error *err) {
    p->ids = ids;
    p->rows = rows;
    p->pos = pos;
    p->n_tok = n_tok;
    p->finish = finish;
    p->compute->aborted = 0;
    oct__together(&p->compute->pool, oct__pass_body, p);
    if (oct__aborted(p->compute))
        return oct__fail(err, OCT_E_ABORTED, "stopped by the abort callback at position %d", pos);
    return OCT_OK;
}

/* ==========================================================================
 * MARK: - 15. sampler
 * ==========================================================================
 * From one row of logits to one id.  In this order: ids that must never come
 * (banned, NaN) leave; penalties for recent tokens; greedy ends here with the
 * best, the lowest id among equals; temperature; top-k; top-p over what top-k
 * left; min-p; one draw.  Nothing is sorted: a cut finds its threshold by four
 * histogram passes over the bits of the logits, so the time is linear in the
 * vocabulary whatever the logits are.  The exponential is our own, in double,
 * and a draw depends on (seed, position) alone: the same logits give the same
 * id on every machine and thread.
 */

/* An id whose probability is below 2^-64 of the best one's is never drawn: it saves most exponentials. */
#define OCT__SAMPLER_FLOOR (-44.361419555836498)

typedef struct oct__sampler {
    float    *x;           /* [n_vocab] logits after penalties */
    int32_t  *count;       /* [n_vocab] uses among the recent tokens; only touched entries mean anything */
    int32_t  *ids;         /* [n_vocab] the candidates, ascending */
    uint32_t *key;         /* [n_vocab] of each candidate: its logit as an integer of the same order */
    double   *w;           /* [n_vocab] of each candidate: its probability over the best one's */
} oct__sampler;

static void oct__sampler_take(oct__arena *a, oct__sampler *s, int n_vocab) {
    const size_t n = (size_t)n_vocab;
    s->x     = OCT__TAKE(a, float, n);
    s->count = OCT__TAKE(a, int32_t, n);
    s->ids   = OCT__TAKE(a, int32_t, n);
    s->key   = OCT__TAKE(a, uint32_t, n);
    s->w     = OCT__TAKE(a, double, n);
}

/* --- numbers: a draw, an exponential, an order ------------------------------ */

/* splitmix64's finaliser (Steele, Lea, Flood 2014): every input bit reaches every output bit. */
static uint64_t oct__mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
/* Uniform in [0, 1), 53 bits, for this seed and position; the seed is mixed first, so that seeds 1, 2, 3 share nothing. */
static double oct__draw(uint64_t seed, int position) {
    const uint64_t golden = 0x9E3779B97F4A7C15u;
    uint64_t z = oct__mix64(seed + golden) + golden * ((uint64_t)(int64_t)position + 1);
    return (double)(oct__mix64(z) >> 11) * (1.0 / 9007199254740992.0);
}

/* e^x for x <= 0: 2^k * e^r with |r| <= ln2 / 2 and e^r by its series to r^13 / 13!, below 2^-53 there.
 * Exactly 1 at 0; 0 from -700 down. */
static double oct__sampler_exp(double x) {
    if (!(x > -700.0)) return 0.0;
    const double k = floor(x * 1.4426950408889634 + 0.5);
    const double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;   /* ln2 in two parts */
    static const double c[14] = {                                          /* 1 / i! */
        1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0 };
    double sum = c[13];
    for (int i = 12; i >= 0; i--) sum = c[i] + sum * r;
    const uint64_t bits = (uint64_t)((int64_t)k + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

/* Greater float, greater key; both zeroes have one key. */
static uint32_t oct__float_key(float x) {
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* A logit as the sampler takes it: finite.  NaN and -inf become OCT__LOGIT_OUT, impossible; +inf the greatest number.
 * Told by their bits, because -ffast-math assumes that there are none. */
#define OCT__LOGIT_OUT (-FLT_MAX)
static float oct__logit(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7F800000u) != 0x7F800000u) return x;
    return bits == 0x7F800000u ? FLT_MAX : OCT__LOGIT_OUT;
}

/* --- penalties ---------------------------------------------------------------- */

/* For each id among the recent ones, once: repeat_penalty, then frequency and presence.  Ids outside the
 * vocabulary (rows of pictures) are no tokens. */
static void oct__sampler_penalise(oct__sampler *s, const oct_sampling *p, int n_vocab,
                                  const int32_t *recent, int n_recent) {
    const float repeat = p->repeat_penalty > 0.0f ? p->repeat_penalty : 1.0f;
    for (int i = 0; i < n_recent; i++)
        if (recent[i] >= 0 && recent[i] < n_vocab) s->count[recent[i]] = 0;
    for (int i = 0; i < n_recent; i++)
        if (recent[i] >= 0 && recent[i] < n_vocab) s->count[recent[i]]++;
    for (int i = 0; i < n_recent; i++) {
        const int32_t id = recent[i];
        if (id < 0 || id >= n_vocab || s->count[id] == 0) continue;
        float x = s->x[id];
        if (x > OCT__LOGIT_OUT) {
            x = x > 0.0f ? x / repeat : x * repeat;
            x -= (float)s->count[id] * p->frequency_penalty + p->presence_penalty;
            s->x[id] = oct__logit(x);
        }
        s->count[id] = 0;
    }
}

static bool oct__sampler_penalises(const oct_sampling *p) {
    return (p->repeat_penalty > 0.0f && p->repeat_penalty != 1.0f) || p->frequency_penalty != 0.0f ||
           p->presence_penalty != 0.0f;
}

/* --- candidates ----------------------------------------------------------------- */

/* Keeps the best of n candidates: the fewest, best first and lower ids first among equals, whose weights reach
 * target; a candidate weighs w, or 1.  Returns how many are left, still in order of their ids. */
static int oct__sampler_cut(oct__sampler *s, int n, bool by_mass, double target) {
    uint32_t threshold = 0, known = 0;       /* the threshold's bits found so far, and which they are */
    double above = 0.0;                      /* weight of the candidates certainly above it */
    for (int shift = 24; shift >= 0; shift -= 8) {
        double bin[256];
        for (int b = 0; b < 256; b++) bin[b] = 0.0;
        for (int j = 0; j < n; j++)
            if ((s->key[j] & known) == threshold) bin[s->key[j] >> shift & 255] += by_mass ? s->w[j] : 1.0;
        int b = 255;
        while (b > 0 && above + bin[b] < target) above += bin[b--];
        threshold |= (uint32_t)b << shift;
        known |= (uint32_t)255 << shift;
    }
    int kept = 0;
    for (int j = 0; j < n; j++) {
        if (s->key[j] < threshold) continue;
        if (s->key[j] == threshold) {
            if (!(above < target)) continue;
            above += by_mass ? s->w[j] : 1.0;
        }
        s->ids[kept] = s->ids[j];
        s->key[kept] = s->key[j];
        s->w[kept++] = s->w[j];
    }
    return kept;
}

/* Temperature, top-k, top-p and min-p: the candidates with their weights.  Returns how many there are, 1 at least. */
static int oct__sampler_filter(oct__sampler *s, const oct_sampling *p, int n_vocab, float best) {
    const double per_t = 1.0 / (double)p->temperature;
    int n = 0, kept = 0;
    for (int id = 0; id < n_vocab; id++) {
        if (s->x[id] != best && !(((double)s->x[id] - (double)best) * per_t > OCT__SAMPLER_FLOOR)) continue;
        s->ids[n] = id;
        s->w[n] = 0.0;
        s->key[n++] = oct__float_key(s->x[id]);
    }
    if (p->top_k > 0 && p->top_k < n) n = oct__sampler_cut(s, n, false, (double)p->top_k);
    double sum = 0.0;
    for (int j = 0; j < n; j++) {
        const double d = (double)s->x[s->ids[j]] - (double)best;
        s->w[j] = oct__sampler_exp(d * per_t);
        sum += s->w[j];
    }
    if (p->top_p > 0.0f && p->top_p < 1.0f) n = oct__sampler_cut(s, n, true, (double)p->top_p * sum);
    if (!(p->min_p > 0.0f)) return n;
    for (int j = 0; j < n; j++) {
        if (s->w[j] < (double)p->min_p && s->w[j] < 1.0) continue;
        s->ids[kept] = s->ids[j];
        s->w[kept++] = s->w[j];
    }
    return kept;
}

/* The best id that is not banned, -1: none, and its logit.  Most logits are only compared, in four chains: beside a tiny model,
 * looking at each for itself is an eighth of a token's time. */
static int32_t oct__sampler_best(const float *x /* [n_vocab] */, int n_vocab, const unsigned char *banned, float *best) {
    enum { BLOCK = 64 };
    int32_t best_id = -1;
    *best = OCT__LOGIT_OUT;
    for (int from = 0; from < n_vocab; from += BLOCK) {
        const int to = OCT__MIN(from + BLOCK, n_vocab);
        float a = *best, b = a, c = a, d = a;                              /* comparisons with NaN are false: it never stays */
        int id = from;
        for (; id + 4 <= to; id += 4) {
            a = x[id] > a ? x[id] : a;
            b = x[id + 1] > b ? x[id + 1] : b;
            c = x[id + 2] > c ? x[id + 2] : c;
            d = x[id + 3] > d ? x[id + 3] : d;
        }
        for (; id < to; id++) a = x[id] > a ? x[id] : a;
        if (!(OCT__MAX(OCT__MAX(a, b), OCT__MAX(c, d)) > *best)) continue;
        for (id = from; id < to; id++) {
            const float y = banned && banned[id] ? OCT__LOGIT_OUT : oct__logit(x[id]);
            if (y > *best) best_id = id;
            *best = OCT__MAX(*best, y);
        }
    }
    return best_id;
}
/* The lowest id that is not banned; 0 where all are. */
static int32_t oct__sampler_first(int n_vocab, const unsigned char *banned) {
    for (int id = 0; id < n_vocab; id++)
        if (!(banned && banned[id])) return id;
    return 0;
}

/* One id.  recent [n_recent]: the tokens that penalties look at.  With everything banned or NaN, the lowest id that is
 * not banned; nothing is allocated. */
static int32_t oct__sample(oct__sampler *s, const oct_sampling *p, const float *logits /* [n_vocab] */, int n_vocab,
                           const unsigned char *banned /* [n_vocab], 1: never; or NULL */,
                           const int32_t *recent, int n_recent, uint64_t seed, int position) {
    const bool draws = p->temperature > 0.0f, penalises = oct__sampler_penalises(p);
    float best = OCT__LOGIT_OUT;
    if (draws || penalises)
        for (int id = 0; id < n_vocab; id++) s->x[id] = banned && banned[id] ? OCT__LOGIT_OUT : oct__logit(logits[id]);
    if (penalises) oct__sampler_penalise(s, p, n_vocab, recent, n_recent);
    const int32_t best_id = draws || penalises ? oct__sampler_best(s->x, n_vocab, NULL, &best) : oct__sampler_best(logits, n_vocab, banned, &best);
    if (best_id < 0) return oct__sampler_first(n_vocab, banned);
    if (!draws) return best_id;

    const int n = oct__sampler_filter(s, p, n_vocab, best);
    double sum = 0.0;
    for (int j = 0; j < n; j++) sum += s->w[j];
    double left = oct__draw(seed, position) * sum;
    for (int j = 0; j < n; j++) {
        left -= s->w[j];
        if (left < 0.0) return s->ids[j];
    }
    return best_id;                          /* rounding alone comes here */
}

/* --- looking at a row of logits ---------------------------------------------------- */

/* Whether id a comes before id b: more probable, or as probable and lower. */
static bool oct__logit_before(const float *logits, int32_t a, int32_t b) {
    const float x = oct__logit(logits[a]), y = oct__logit(logits[b]);
    return x > y || (x == y && a < b);
}
/* Restores the heap below node i: every parent comes after its children, the last of all is ids[0]. */
static void oct__top_sift(const float *logits, int32_t *ids, int n, int i) {
    for (;;) {
        int last = i, left = 2 * i + 1;
        for (int c = left; c < left + 2 && c < n; c++)
            if (oct__logit_before(logits, ids[last], ids[c])) last = c;
        if (last == i) return;
        const int32_t id = ids[i];
        ids[i] = ids[last];
        ids[last] = id;
        i = last;
    }
}
/* Softmax at temperature 1 over the ids that are not banned: the best logit, and the sum of e^(logit - best). */
static double oct__softmax_sum(const float *logits, int n_vocab, const unsigned char *banned, float *best) {
    double sum = 0.0;
    *best = OCT__LOGIT_OUT;
    for (int id = 0; id < n_vocab; id++)
        if (!(banned && banned[id])) *best = OCT__MAX(*best, oct__logit(logits[id]));
    for (int id = 0; id < n_vocab && *best > OCT__LOGIT_OUT; id++)
        if (!(banned && banned[id])) sum += oct__sampler_exp((double)oct__logit(logits[id]) - (double)*best);
    return sum;
}
static float oct__softmax_one(float logit, float best, double sum) {
    return sum > 0.0 ? (float)(oct__sampler_exp((double)oct__logit(logit) - (double)best) / sum) : 0.0f;
}
/* Probability of one id; 0 for a banned one. */
static float oct__prob(const float *logits, int n_vocab, const unsigned char *banned, int32_t id) {
    float best;
    if (id < 0 || id >= n_vocab || (banned && banned[id])) return 0.0f;
    const double sum = oct__softmax_sum(logits, n_vocab, banned, &best);
    return oct__softmax_one(logits[id], best, sum);
}
/* The n most probable ids, best first, lower ids first among equals, banned ones never; probs may be NULL.  Returns how
 * many there are. */
static int oct__top(const float *logits, int n_vocab, const unsigned char *banned, int32_t *ids, float *probs, int n) {
    int have = 0;
    for (int id = 0; id < n_vocab && n > 0; id++) {
        if (banned && banned[id]) continue;
        if (have < n) {
            ids[have++] = id;
            if (have == n)
                for (int i = n / 2; i >= 0; i--) oct__top_sift(logits, ids, have, i);
        } else if (oct__logit_before(logits, id, ids[0])) {
            ids[0] = id;
            oct__top_sift(logits, ids, have, 0);
        }
    }
    if (have < n)
        for (int i = have / 2; i >= 0; i--) oct__top_sift(logits, ids, have, i);
    for (int i = have - 1; i > 0; i--) {                /* the last one goes to the end, again and again */
        const int32_t id = ids[0];
        ids[0] = ids[i];
        ids[i] = id;
        oct__top_sift(logits, ids, i, 0);
    }
    if (!probs) return have;
    float best;
    const double sum = oct__softmax_sum(logits, n_vocab, banned, &best);
    for (int i = 0; i < have; i++) probs[i] = oct__softmax_one(logits[ids[i]], best, sum);
    return have;
}

/* ==========================================================================
 * MARK: - 16. dialogue
 * ==========================================================================
 * What stands around a question: the prompt styles, as data, and how a file's
 * style is told.  A template found in a file is searched for known substrings,
 * never executed.  A turn is rendered in runs: the control tokens of a style's
 * literals become ids here, and the plain text between two of them, the
 * literal's and the user's together, is encoded as one run in which nothing is
 * read as a control token.  So the ids are those of the whole prompt tokenized
 * at once, and yet no user can write <|im_end|>.
 * At the end the way back: bytes of tokens to whole UTF-8 characters, with stop
 * strings held back.
 */

/* In a style's literals: the file's own BOS and EOS tokens. */
#define OCT__BOS "\001"
#define OCT__EOS "\002"

enum {
    OCT__STYLE_TRIM          = 1,      /* white space around the user's text goes */
    OCT__STYLE_TRIM_SYSTEM   = 2,      /* and around the system text */
    OCT__STYLE_SYSTEM_INSIDE = 4,      /* the system text stands inside the first user turn */
    OCT__STYLE_SYSTEM_ALWAYS = 8,      /* its frame is there even when the text is empty */
    OCT__STYLE_NO_SYSTEM     = 16,     /* there is no place for one */
    OCT__STYLE_PICTURE_LINE  = 32,     /* pictures that come first: a line break between each and what follows it */
    OCT__STYLE_TAGGED        = 64,     /* OCTAVIUS: see "OCTAVIUS's styles" below */
    OCT__STYLE_PIECES        = 128     /* ... each question and each answer is encoded by itself */
};

/* first turn:    open  system_before S system_after  user_before U user_after  -> answer
 * later turns:   close user_before U user_after  -> answer
 * SYSTEM_INSIDE: open  user_before  system_before S system_after  U user_after */
typedef struct oct__style {
    const char *name;
    const char *system;                         /* default system text; NULL: none */
    const char *open;
    const char *system_before, *system_after;
    const char *user_before, *user_after;
    const char *close;                          /* between an answer and the next turn */
    const char *stop;                           /* ends an answer when it comes as text; NULL: none */
    const char *picture_before, *picture_after; /* tokens around the rows of every picture; or none */
    unsigned    flags;
} oct__style;

#define OCT__V1_USER  "A chat between a curious user and an artificial intelligence assistant. " \
                      "The assistant gives helpful, detailed, and polite answers to the user's questions."
#define OCT__V1_HUMAN "A chat between a curious human and an artificial intelligence assistant. " \
                      "The assistant gives helpful, detailed, and polite answers to the human's questions."
/* The family of LLaVA v1: one system text, one space between everything, and a style's own end of an answer. */
#define OCT__V1(name, system, end) \
    { name, system, "", "", " ", "USER: ", " ASSISTANT:", end, end, "", "", OCT__STYLE_PICTURE_LINE }

/* OCTAVIUS's styles (LAMM at ea571363).  The model itself (src/model/Octavius/octavius.py prepare_generation_embedding) writes
 *     BOS, "### Human: <Img>", the picture's rows, "</Img> PROMPT\n### Assistant:"
 * and takes the gate of the part after the rows; the styles differ in what stands for PROMPT.  S: the system text.
 *     bare    Q, as in training (src/model/LAMM/openlamm.py build_one_instance), where later turns follow as separate pieces:
 *             "A\n###", "Human: Q\n### Assistant:".  A system text comes first, as in chef: training had it before "### Human:",
 *             but then none is ever given to the model in use, other than inside PROMPT
 *     chef    "S\n\n", "Human: Q\n### Assistant: A\n###" of each turn before, "Human: Q\n###": so the ### before Assistant is
 *             doubled (src/ChEF/models/test_octavius.py generate_conversation_text, with the texts of conversations.py's simple_conv)
 *     legacy  "S", "### Human: Q\n### Assistant: A\n" of each turn before, "### Human: Q\n" (src/inference_3d.py of the branch
 *             ChEF_moe)
 * The official code knows one picture, before all text: here those of all turns stand there, each in its tags.  Without a
 * picture, its tags are missing and nothing else.  White space beside a tag goes (chapter 7, tags). */
#define OCT__SIMPLE "You are a large language model that can recognize visual contents based on LLaMA architecture." \
                    "You are designed to assist human with a variety of tasks using natural language." \
                    "Follow the instructions carefully."

static const oct__style oct__styles[] = {
    { "raw", NULL, "", "", "", "", "", "", NULL, "", "", OCT__STYLE_NO_SYSTEM },
    { "chatml", NULL, "", "<|im_start|>system\n", "<|im_end|>\n",
      "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n", "<|im_end|>", "", "",
      OCT__STYLE_PICTURE_LINE },
    { "llama2", NULL, "", "<<SYS>>\n", "\n<</SYS>>\n\n",
      OCT__BOS "[INST] ", " [/INST]", " " OCT__EOS, NULL, "", "",
      OCT__STYLE_TRIM | OCT__STYLE_SYSTEM_INSIDE | OCT__STYLE_PICTURE_LINE },
    { "llama3", NULL, OCT__BOS, "<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>",
      "<|start_header_id|>user<|end_header_id|>\n\n",
      "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", "<|eot_id|>", "", "",
      OCT__STYLE_TRIM | OCT__STYLE_TRIM_SYSTEM | OCT__STYLE_PICTURE_LINE },
    /* LLaMA 3.1 and 3.2 put two dates before every system text; these are their template's own defaults. */
    { "llama3.1", NULL, OCT__BOS, "<|start_header_id|>system<|end_header_id|>\n\n"
      "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n", "<|eot_id|>",
      "<|start_header_id|>user<|end_header_id|>\n\n",
      "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", "<|eot_id|>", "", "",
      OCT__STYLE_TRIM | OCT__STYLE_TRIM_SYSTEM | OCT__STYLE_SYSTEM_ALWAYS | OCT__STYLE_PICTURE_LINE },
    { "mistral-instruct", NULL, OCT__BOS, "", "\n\n", "[INST] ", " [/INST]", OCT__EOS, NULL, "", "",
      OCT__STYLE_SYSTEM_INSIDE | OCT__STYLE_PICTURE_LINE },
    /* LLaVA's and MoE-LLaVA's, under their official names. */
    OCT__V1("vicuna_v1", OCT__V1_USER, "</s>"),
    OCT__V1("v1", OCT__V1_USER, "</s>"),
    OCT__V1("llava_v1", OCT__V1_HUMAN, "</s>"),
    OCT__V1("phi", OCT__V1_USER, "<|endoftext|>"),
    OCT__V1("stablelm", OCT__V1_USER, "<|endoftext|>"),
    OCT__V1("qwen", OCT__V1_USER, "<|endoftext|>"),
    OCT__V1("openchat", OCT__V1_USER, "<|end_of_turn|>"),
    OCT__V1("mistral", OCT__V1_USER, "</s>"),
    OCT__V1("minicpm", OCT__V1_USER, "</s>"),
    /* What the first stage of training sees: a picture and its caption. */
    { "plain", NULL, "", "", "", "", "\n", "\n", "\n", "", "", OCT__STYLE_NO_SYSTEM | OCT__STYLE_PICTURE_LINE },
    { "zephyr", NULL, "", "<|system|>\n", OCT__EOS "\n",
      "<|user|>\n", OCT__EOS "\n<|assistant|>\n", OCT__EOS "\n", NULL, "", "", OCT__STYLE_PICTURE_LINE },
    { "phi2-instruct", NULL, "", "", "\n", "Instruct: ", "\nOutput:", "\n", "\nInstruct:", "", "", OCT__STYLE_PICTURE_LINE },
    { "bare", NULL, "### Human:", "", "\n\n", "", "\n### Assistant:", "\n###", "###", "<Img>", "</Img>",
      OCT__STYLE_TAGGED | OCT__STYLE_PIECES },
    { "chef", OCT__SIMPLE, "### Human:", "", "\n\n", "Human: ", "\n###\n### Assistant:", "\n###", "###", "<Img>", "</Img>",
      OCT__STYLE_TAGGED },
    { "legacy", OCT__SIMPLE, "### Human:", "", "", "### Human: ", "\n\n### Assistant:", "\n", "###", "<Img>", "</Img>",
      OCT__STYLE_TAGGED },
};
#define OCT__N_STYLES ((int)(sizeof oct__styles / sizeof oct__styles[0]))

static const oct__style *oct__style_find(const char *name) {            /* NULL: no such style */
    for (int i = 0; i < OCT__N_STYLES; i++)
        if (strcmp(oct__styles[i].name, name) == 0) return &oct__styles[i];
    return NULL;
}

static const char *oct__style_name(int i) { return i >= 0 && i < OCT__N_STYLES ? oct__styles[i].name : NULL; }

/* --- recognising a file's style --------------------------------------------------- */

static bool oct__has(oct_string text, const char *what) { return oct__str_find(text, oct__str(what), 0) != SIZE_MAX; }

/* From the words of a template. */
static const char *oct__style_of_template(oct_string t) {
    if (oct__has(t, "<|im_start|>") && oct__has(t, "<|im_end|>") && !oct__has(t, "<|im_sep|>")) return "chatml";
    if (oct__has(t, "<|start_header_id|>") && oct__has(t, "<|eot_id|>"))
        return oct__has(t, "Cutting Knowledge Date: December 2023") ? "llama3.1" : "llama3";
    if (oct__has(t, "[INST]")) return oct__has(t, "<<SYS>>") ? "llama2" : "mistral-instruct";
    if (oct__has(t, "<|user|>") && oct__has(t, "<|assistant|>") && !oct__has(t, "<|end|>") &&
        (oct__has(t, "eos_token") || oct__has(t, "<|endoftext|>") || oct__has(t, "</s>"))) return "zephyr";
    if (oct__has(t, "USER:") && oct__has(t, "ASSISTANT:")) return "vicuna_v1";
    if (oct__has(t, "Instruct:") && oct__has(t, "Output:")) return "phi2-instruct";
    return "raw";
}

/* Whether name holds what, small letters, in any case. */
static bool oct__has_word(oct_string name, const char *what) {
    const size_t n = strlen(what);
    for (size_t i = 0; i + n <= name.len; i++) {
        size_t j = 0;
        while (j < n) {
            const char c = name.data[i + j];
            if ((c >= 'A' && c <= 'Z' ? (char)(c + 32) : c) != what[j]) break;
            j++;
        }
        if (j == n) return true;
    }
    return false;
}

/* From a model's name and architecture, where the file has no template. */
static const char *oct__style_of_name(oct_string name, oct_string arch, bool has_chatml) {
    const bool chat = oct__has_word(name, "chat") || oct__has_word(name, "instruct");
    if (oct__has_word(name, "moe-llava"))
        return oct__str_is(arch, "phi2") ? "phi" : oct__str_is(arch, "stablelm") ? "stablelm" :
               oct__str_is(arch, "qwen") ? "qwen" : "v1";
    if (oct__has_word(name, "vicuna") || oct__has_word(name, "llava-v1") || oct__has_word(name, "llava v1"))
        return "vicuna_v1";
    if (oct__has_word(name, "zephyr") || (oct__has_word(name, "tinyllama") && chat)) return "zephyr";
    if (oct__has_word(name, "mistral") && chat) return "mistral-instruct";
    if ((oct__has_word(name, "llama-2") || oct__has_word(name, "llama 2")) && chat) return "llama2";
    if (chat && has_chatml) return "chatml";
    if (oct__str_is(arch, "phi2")) return "phi2-instruct";
    return "raw";
}

/* The style that the file names itself, NULL: none, or none that is known here; *given is what it says, or empty. */
static const oct__style *oct__style_named(const oct__gguf *g, oct_string *given) {
    if (oct__gguf_text(g, "octavius.prompt_style", "", given, NULL)) *given = oct__str("");
    for (int i = 0; i < OCT__N_STYLES; i++)
        if (oct__str_is(*given, oct__styles[i].name)) return &oct__styles[i];
    return NULL;
}

/* The style of a file; never NULL. */
static const oct__style *oct__style_match(const oct__gguf *g, const oct__vocab *v) {
    oct_string t, name, arch;
    const char *style = NULL;
    const oct__style *own = oct__style_named(g, &name);
    if (own) return own;
    if (!oct__gguf_text(g, "tokenizer.chat_template", "", &t, NULL) && t.len > 0) {
        style = oct__style_of_template(t);
    } else if (!oct__gguf_text(g, "general.name", "", &name, NULL) &&
               !oct__gguf_text(g, "general.architecture", "", &arch, NULL)) {
        style = oct__style_of_name(name, arch, oct__vocab_find(v, oct__str("<|im_start|>")) >= 0 &&
                                               oct__vocab_find(v, oct__str("<|im_end|>")) >= 0);
    }
    const oct__style *found = style ? oct__style_find(style) : NULL;
    return found ? found : oct__style_find("raw");
}

/* Some ChatML templates (SmolLM2, Qwen) speak up themselves where there is no system message: the text stands in them,
 * as a whole, between two of their tokens.  Returned as written there; empty: none.  Text that a template computes
 * holds a quote or a brace and is none. */
static oct_string oct__style_template_system(oct_string t) {
    const oct_string open = oct__str("<|im_start|>system"), close = oct__str("<|im_end|>");
    oct_string none = { "", 0 };
    for (size_t at = oct__str_find(t, open, 0); at != SIZE_MAX; at = oct__str_find(t, open, at + 1)) {
        size_t from = at + open.len;
        if (from < t.len && t.data[from] == '\n') from += 1;
        else if (from + 1 < t.len && t.data[from] == '\\' && t.data[from + 1] == 'n') from += 2;
        else continue;
        for (size_t i = from; i + close.len <= t.len && i - from < 4096; i++) {
            const char c = t.data[i];
            if (c == '\'' || c == '"' || c == '{' || c == '}') break;
            if (memcmp(t.data + i, close.data, close.len) != 0) continue;
            oct_string text = { t.data + from, i - from };
            if (text.len > 0) return text;
            break;
        }
    }
    return none;
}

/* --- rendering a turn --------------------------------------------------------------- */

enum { OCT__PART_TEXT = 0, OCT__PART_IDS, OCT__PART_IMAGE, OCT__PART_POINTS, OCT__PART_ANSWER, OCT__PARTS };
/* One thing that was fed, in the order of feeding.  An ANSWER ends a turn of the user's. */
typedef struct oct__part {
    int         kind;
    size_t      offset;            /* the session's: where data stand in its buffer */
    const void *data;              /* TEXT, ANSWER: bytes; IDS: int32_t */
    size_t      len;               /* bytes of data; IMAGE, POINTS: rows of the embedding, written as -1, -2 */
} oct__part;

typedef struct oct__render {
    const oct__vocab *v;
    oct__buf          run;         /* plain text not encoded yet */
    oct__buf         *ids;
    size_t            start;       /* bytes of ids before this turn */
    bool              begin;       /* nothing precedes the run, or a control token: it is encoded as a beginning */
    bool              strip;       /* a tag precedes it: white space at its start goes */
    size_t            suffix;      /* the id at which begins what the gate is a function of: the text after the last picture */
    oct_error        *err;
} oct__render;

static oct_result oct__render_memory(oct__render *r) {
    return oct__fail(r->err, OCT_E_MEMORY, "out of memory while rendering a prompt");
}
/* Encodes the run collected so far. */
static oct_result oct__render_flush(oct__render *r) {
    if (r->run.len == 0) return OCT_OK;
    const oct_string t = oct__tag_trim((const char *)r->run.data, r->run.len, r->strip, false);
    oct_result res = oct__vocab_encode(r->v, t.data, t.len, r->begin ? 0u : (unsigned)OCT__ENC_CONTINUE, r->ids, r->err);
    r->run.len = 0;
    r->begin = r->strip = false;
    return res;
}
static oct_result oct__render_plain(oct__render *r, const char *text, size_t len) {
    return oct__buf_append(&r->run, text, len) ? oct__render_memory(r) : OCT_OK;
}
/* A control token; BOS not twice in a row at the beginning.  After BOS text begins, after others only in tokenizers of the
 * old kind. */
static oct_result oct__render_id(oct__render *r, int32_t id) {
    const bool tag = oct__vocab_is_tag(r->v, id);
    if (tag && r->run.len) r->run.len = oct__tag_trim((const char *)r->run.data, r->run.len, false, true).len;
    oct_result res = oct__render_flush(r);
    if (res) return res;
    const size_t n = oct__ids_count(r->ids);
    if (id == r->v->bos && r->ids->len > r->start && oct__ids(r->ids)[n - 1] == id) return OCT_OK;
    r->begin = id == r->v->bos || r->v->legacy;
    r->strip = tag;
    return oct__ids_push(r->ids, id) ? oct__render_memory(r) : OCT_OK;
}

/* Length of the control token at the start of s, with its id: <...> or [...] in one piece; 0: it is none. */
static size_t oct__render_token(const oct__vocab *v, const char *s, int32_t *id) {
    const char *end = s[0] == '<' ? strchr(s, '>') : s[0] == '[' ? strchr(s, ']') : NULL;
    if (!end) return 0;
    oct_string text;
    text.data = s;
    text.len = (size_t)(end - s) + 1;
    *id = oct__vocab_find(v, text);
    return *id >= 0 ? text.len : 0;
}
/* A style's own text. */
static oct_result oct__render_literal(oct__render *r, const char *s) {
    oct_result res = OCT_OK;
    while (*s && !res) {
        int32_t id = -1;
        size_t len = 1;
        if (*s == OCT__BOS[0] || *s == OCT__EOS[0]) id = *s == OCT__BOS[0] ? r->v->bos : r->v->eos;
        else if ((len = oct__render_token(r->v, s, &id)) == 0) {
            len = 1 + strcspn(s + 1, "<[" OCT__BOS OCT__EOS);
            res = oct__render_plain(r, s, len);
        }
        if (id >= 0) res = oct__render_id(r, id);
        s += len;
    }
    return res;
}
/* A default system text found in a template, where a line break may be written as \n. */
static oct_result oct__render_quoted(oct__render *r, oct_string t) {
    oct_result res = OCT_OK;
    for (size_t i = 0; i < t.len && !res; i++) {
        const bool line = t.data[i] == '\\' && i + 1 < t.len && t.data[i + 1] == 'n';
        res = line ? oct__render_plain(r, "\n", 1) : oct__render_plain(r, t.data + i, 1);
        i += line;
    }
    return res;
}

/* system NULL: the default of the style, or the one in the file's template if that is of this style. */
static oct_result oct__render_system(oct__render *r, const oct__style *st, const oct__gguf *g, const oct_string *system,
                                     bool *present) {
    oct_string given = system ? *system : oct__str(st->system ? st->system : ""), quoted = { "", 0 }, t;
    if (!system && !st->system && g && !oct__gguf_text(g, "tokenizer.chat_template", "", &t, NULL) && t.len > 0 &&
        strcmp(oct__style_of_template(t), st->name) == 0) quoted = oct__style_template_system(t);
    if (st->flags & OCT__STYLE_TRIM_SYSTEM) given = oct__trim_right(oct__trim_left(given));
    *present = (given.len > 0 || quoted.len > 0) && !(st->flags & OCT__STYLE_NO_SYSTEM);
    if (!*present && !(st->flags & OCT__STYLE_SYSTEM_ALWAYS)) return OCT_OK;
    oct_result res = oct__render_literal(r, st->system_before);
    if (!res) res = oct__render_plain(r, given.data, given.len);
    if (!res) res = oct__render_quoted(r, quoted);
    return res ? res : oct__render_literal(r, st->system_after);
}

/* A control token by its text; a vocabulary without it goes without. */
static oct_result oct__render_tag(oct__render *r, const char *text) {
    const int id = oct__vocab_find(r->v, oct__str(text));
    return oct__vocab_is_control(r->v, id) ? oct__render_id(r, id) : OCT_OK;
}
/* Rows of a picture or a cloud: a tag before, as many marks as it has rows, a tag after.  What follows is encoded as a
 * beginning: the official code tokenizes the text on either side of a picture by itself. */
static oct_result oct__render_rows(oct__render *r, const oct__style *st, const oct__part *part) {
    const int32_t mark = part->kind == OCT__PART_IMAGE ? -1 : -2;
    const bool cloud_tags = mark == -2 && (st->flags & OCT__STYLE_TAGGED);
    oct_result res = oct__render_tag(r, cloud_tags ? "<Pcl>" : st->picture_before);
    if (!res) res = oct__render_flush(r);
    for (size_t i = 0; i < part->len && !res; i++)
        if (oct__ids_push(r->ids, mark)) res = oct__render_memory(r);
    r->begin = true;
    r->suffix = oct__ids_count(r->ids);
    return res ? res : oct__render_tag(r, cloud_tags ? "</Pcl>" : st->picture_after);
}

static oct_result oct__render_ids(oct__render *r, const oct__part *part) {
    oct_result res = oct__render_flush(r);
    const int32_t *ids = (const int32_t *)part->data;
    const size_t n = part->len / sizeof *ids, had = oct__ids_count(r->ids);
    if (res || n == 0) return res;
    /* a BOS of the caller's own takes the place of ours */
    const size_t skip = r->ids->len > r->start && ids[0] == r->v->bos && oct__ids(r->ids)[had - 1] == ids[0];
    if (oct__buf_append(r->ids, ids + skip, (n - skip) * sizeof *ids)) return oct__render_memory(r);
    r->begin = ids[n - 1] == r->v->bos || (oct__vocab_is_control(r->v, ids[n - 1]) && r->v->legacy);
    return OCT_OK;
}

/* What the user fed, without empty parts at the end.  Trimming looks at the first and the last part alone: those are its
 * edges. */
static oct_result oct__render_parts(oct__render *r, const oct__style *st, const oct__part *parts, int n_parts, bool left) {
    oct_result res = OCT_OK;
    bool leads = (st->flags & OCT__STYLE_PICTURE_LINE) != 0;     /* nothing but pictures so far */
    while (n_parts > 0 && parts[n_parts - 1].len == 0) n_parts--;
    for (int i = 0; i < n_parts && !res; i++) {
        const bool rows = parts[i].kind == OCT__PART_IMAGE || parts[i].kind == OCT__PART_POINTS;
        if (parts[i].kind == OCT__PART_TEXT) {
            oct_string text;
            text.data = (const char *)parts[i].data;
            text.len = parts[i].len;
            if (left && i == 0) text = oct__trim_left(text);
            if ((st->flags & OCT__STYLE_TRIM) && i == n_parts - 1) text = oct__trim_right(text);
            res = oct__render_plain(r, text.data, text.len);
        } else {
            res = rows ? oct__render_rows(r, st, &parts[i]) : oct__render_ids(r, &parts[i]);
        }
        leads = leads && (rows || parts[i].len == 0);
        if (!res && leads && rows && i + 1 < n_parts) res = oct__render_plain(r, "\n", 1);
    }
    return res;
}

/* How the cache ends before a later turn: as another turn left it, in an answer, in one that the stop string ended. */
enum { OCT__ANSWER_NONE = 0, OCT__ANSWER_OPEN, OCT__ANSWER_STOPPED };

/* What stands before the user's text of a later turn.  A stop string that came as text is in the cache already: it is the
 * beginning of this, and not written twice. */
static oct_result oct__render_between(oct__render *r, const oct__style *st, int answer) {
    const char *close = answer ? st->close : "", *before = st->user_before;
    const size_t n_close = strlen(close), n = answer == OCT__ANSWER_STOPPED && st->stop ? strlen(st->stop) : 0;
    const size_t of_close = OCT__MIN(n, n_close);
    if (n && strncmp(close, st->stop, of_close) == 0 && strncmp(before, st->stop + of_close, n - of_close) == 0) {
        close += of_close;
        before += n - of_close;
    }
    oct_result res = oct__render_literal(r, close);
    return res ? res : oct__render_literal(r, before);
}

static oct_result oct__render_turn(oct__render *r, const oct__style *st, const oct__gguf *g, const oct_string *system,
                                   const oct__part *parts, int n_parts, bool first_turn, int answer) {
    const bool inside = (st->flags & OCT__STYLE_SYSTEM_INSIDE) != 0;
    bool has_system = false;
    oct_result res = OCT_OK;
    if (first_turn) {
        /* raw ids are taken as they are: whoever hands in ids has thought of BOS */
        const bool as_is = n_parts > 0 && parts[0].kind == OCT__PART_IDS && strcmp(st->name, "raw") == 0;
        if (r->v->add_bos && r->v->bos >= 0 && !as_is) res = oct__render_id(r, r->v->bos);
        if (!res) res = oct__render_literal(r, st->open);
        if (!res && !inside) res = oct__render_system(r, st, g, system, &has_system);
        if (!res) res = oct__render_literal(r, st->user_before);
    } else {
        res = oct__render_between(r, st, answer);
    }
    if (!res && first_turn && inside) res = oct__render_system(r, st, g, system, &has_system);
    if (!res) res = oct__render_parts(r, st, parts, n_parts, (st->flags & OCT__STYLE_TRIM) && !(inside && has_system));
    return res ? res : oct__render_literal(r, st->user_after);
}

/* Parts of the turn that parts begin with: up to the answer that ends it. */
static int oct__turn_parts(const oct__part *parts, int n_parts) {
    int n = 0;
    while (n < n_parts && parts[n].kind != OCT__PART_ANSWER) n++;
    return n;
}
/* The answers that parts begin with, as one: *n of them. */
static oct_result oct__render_answer(oct__render *r, const oct__part *parts, int n_parts, int *n) {
    oct_result res = OCT_OK;
    for (*n = 0; *n < n_parts && parts[*n].kind == OCT__PART_ANSWER && !res; (*n)++)
        res = oct__render_plain(r, (const char *)parts[*n].data, parts[*n].len);
    return res;
}

/* Turn by turn, each answer going on where its question's turn ended. */
static oct_result oct__render_turns(oct__render *r, const oct__style *st, const oct__gguf *g, const oct_string *system,
                                    const oct__part *parts, int n_parts, bool first_turn, int answer) {
    int n = 0;
    oct_result res = answer ? oct__render_answer(r, parts, n_parts, &n) : OCT_OK;       /* more of the answer in the cache */
    for (int i = n; (i < n_parts || i == 0) && !res; i += n) {
        n = oct__turn_parts(parts + i, n_parts - i);
        res = oct__render_turn(r, st, g, system, parts + i, n, first_turn && i == 0, i == 0 ? answer : OCT__ANSWER_OPEN);
        i += n;
        if (!res) res = oct__render_answer(r, parts + i, n_parts - i, &n);
    }
    return res;
}

/* --- OCTAVIUS's styles ----------------------------------------------------------------- */

/* The end of a piece: what follows is encoded as a beginning. */
static oct_result oct__render_piece(oct__render *r, const oct__style *st) {
    oct_result res = st->flags & OCT__STYLE_PIECES ? oct__render_flush(r) : OCT_OK;
    if (st->flags & OCT__STYLE_PIECES) r->begin = true;
    return res;
}
/* The pictures of all turns, then text. */
static oct_result oct__render_pictures(oct__render *r, const oct__style *st, const oct__part *parts, int n_parts) {
    oct_result res = OCT_OK;
    for (int i = 0; i < n_parts && !res; i++)
        if (parts[i].kind == OCT__PART_IMAGE || parts[i].kind == OCT__PART_POINTS) res = oct__render_rows(r, st, &parts[i]);
    return res;
}
/* One question; open: its answer is to come, or goes on. */
static oct_result oct__render_question(oct__render *r, const oct__style *st, const oct__part *parts, int n_parts, bool later, bool open) {
    const bool pieces = (st->flags & OCT__STYLE_PIECES) != 0;
    oct_result res = oct__render_literal(r, later && pieces ? "Human: " : st->user_before);
    for (int i = 0; i < n_parts && !res; i++) {
        if (parts[i].kind == OCT__PART_TEXT) res = oct__render_plain(r, (const char *)parts[i].data, parts[i].len);
        else if (parts[i].kind == OCT__PART_IDS) res = oct__render_ids(r, &parts[i]);
    }
    if (!res) res = oct__render_literal(r, open ? st->user_after : "\n### Assistant:");
    return res ? res : oct__render_piece(r, st);
}
/* Questions and their answers: the first `later` says whether a turn stands before them already. */
static oct_result oct__render_talk(oct__render *r, const oct__style *st, const oct__part *parts, int n_parts, bool later) {
    oct_result res = OCT_OK;
    for (int i = 0, n; (i < n_parts || i == 0) && !res; i += n) {
        const int n_question = oct__turn_parts(parts + i, n_parts - i);
        int end = i + n_question;
        while (end < n_parts && parts[end].kind == OCT__PART_ANSWER) end++;
        const bool answered = end > i + n_question;
        res = oct__render_question(r, st, parts + i, n_question, later || i > 0, end == n_parts);
        if (!res && answered && !(st->flags & OCT__STYLE_PIECES)) res = oct__render_plain(r, " ", 1);
        if (!res) res = oct__render_answer(r, parts + i + n_question, n_parts - i - n_question, &n);
        n = end - i;
        if (!res && end < n_parts) res = oct__render_literal(r, st->close);
        if (!res && end < n_parts) res = oct__render_piece(r, st);
    }
    return res;
}
/* A whole dialogue. */
static oct_result oct__render_tagged(oct__render *r, const oct__style *st, const oct_string *system, const oct__part *parts, int n_parts) {
    bool has_system = false;
    oct_result res = r->v->add_bos && r->v->bos >= 0 ? oct__render_id(r, r->v->bos) : OCT_OK;
    if (!res) res = oct__render_literal(r, st->open);
    if (!res) res = oct__render_pictures(r, st, parts, n_parts);
    if (!res) res = oct__render_flush(r);
    if (res) return res;
    const size_t n = oct__ids_count(r->ids);
    if (r->suffix == 0) r->suffix = n;
    r->begin = r->strip = true;
    res = oct__render_system(r, st, NULL, system, &has_system);
    return res ? res : oct__render_talk(r, st, parts, n_parts, false);
}
/* What follows a dialogue that stands in the cache as it is.  The official code has no such thing. */
static oct_result oct__render_tagged_on(oct__render *r, const oct__style *st, const oct__part *parts, int n_parts, int answer) {
    int n = 0;
    oct_result res = answer ? oct__render_answer(r, parts, n_parts, &n) : OCT_OK;
    if (res || n == n_parts) return res ? res : oct__render_flush(r);
    const bool closed = answer == OCT__ANSWER_STOPPED && n == 0 && strstr(st->close, st->stop);     /* a ### of the model's own */
    if (answer && !closed) res = oct__render_literal(r, st->close);
    if (!res) res = oct__render_piece(r, st);
    if (!res) res = oct__render_pictures(r, st, parts + n, n_parts - n);
    return res ? res : oct__render_talk(r, st, parts + n, n_parts - n, true);
}

/* Appends the ids of a dialogue to ids, up to where its last answer begins, or to the end of what is given of it; on failure
 * ids are as before.
 *   g            for the default system text that the file's template holds; may be NULL
 *   system       NULL: default; empty: none.  Used in the first turn
 *   first_turn   nothing is in the cache: BOS (where the file or the style has one) and the system text come first
 *   answer       OCT__ANSWER_...: where the cache ends in an answer, its end token was not computed and the style's close
 *                comes first
 *   suffix       in: where the gate's text begins, if that is in the cache; out: where it does.  May be NULL */
static oct_result oct__style_render_for(const oct__style *st, const oct__gguf *g, const oct__vocab *v,
                                        const oct_string *system, const oct__part *parts, int n_parts, bool first_turn,
                                        int answer, oct__buf *ids, size_t *suffix, oct_error *err) {
    oct__render r;
    memset(&r, 0, sizeof r);
    r.v = v;
    r.ids = ids;
    r.run.allocator = ids->allocator;
    r.start = ids->len;
    r.begin = first_turn;
    r.suffix = suffix ? *suffix : 0;
    r.err = err;
    const bool tagged = (st->flags & OCT__STYLE_TAGGED) != 0;
    oct_result res = !tagged ? oct__render_turns(&r, st, g, system, parts, n_parts, first_turn, answer) :
                     first_turn ? oct__render_tagged(&r, st, system, parts, n_parts) :
                                  oct__render_tagged_on(&r, st, parts, n_parts, answer);
    if (!res) res = oct__render_flush(&r);
    oct__buf_free(&r.run);
    if (res) ids->len = r.start;
    else if (suffix) *suffix = r.suffix;
    return res;
}

/* --- streaming: bytes in, whole characters out ---------------------------------------- */

#define OCT__PIECE_MAX 1024        /* bytes of one token's text; real ones stay far below, longer ones are cut */
#define OCT__STOP_MAX  64          /* bytes of a stop string; a longer one is ignored */

typedef struct oct__stream {
    const char   *stop;            /* NULL: none */
    unsigned char cut[4];          /* the start of a character whose rest has not come */
    size_t        n_cut;
    size_t        shown;           /* bytes of out that the last push gave away */
    size_t        n_out;           /* bytes in out: those, and then what may be a stop string's beginning */
    int32_t       after;           /* OCT__AFTER_...: what the next token's text follows; where there are tags */
    char          out[3 * (OCT__PIECE_MAX + 4) + OCT__STOP_MAX];
} oct__stream;

static void oct__stream_reset(oct__stream *st, const char *stop) {
    const size_t len = stop ? strlen(stop) : 0;
    memset(st, 0, sizeof *st);     /* as a whole: snapshots hold it */
    st->stop = len > 0 && len <= OCT__STOP_MAX ? stop : NULL;
}

/* Of a character of which n bytes, 1 to 4, are here: its length if it is whole, 0 if it may become whole, else minus the
 * number of bytes that stand for one U+FFFD: the longest start of some character, as Unicode 3.9 recommends. */
static int oct__utf8_state(const unsigned char *s, size_t n) {
    const unsigned char c = s[0];
    const int len = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (len < 2) return len == 1 ? 1 : -1;
    /* the second byte's range keeps out overlong forms, surrogates and what lies past U+10FFFF */
    unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    for (int i = 1; i < len; i++) {
        if ((size_t)i >= n) return 0;
        if (s[i] < low || s[i] > high) return -i;
        low = 0x80;
        high = 0xBF;
    }
    return len;
}
static void oct__stream_put(oct__stream *st, const void *bytes, size_t n) {
    memcpy(st->out + st->n_out, bytes, n);
    st->n_out += n;
}
/* One more byte of the text. */
static void oct__stream_byte(oct__stream *st, unsigned char byte) {
    st->cut[st->n_cut++] = byte;
    while (st->n_cut > 0) {
        const int state = oct__utf8_state(st->cut, st->n_cut);
        if (state == 0) return;
        const size_t used = (size_t)(state > 0 ? state : -state);
        if (state > 0) oct__stream_put(st, st->cut, used);
        else oct__stream_put(st, "\xEF\xBF\xBD", 3);
        st->n_cut -= used;
        memmove(st->cut, st->cut + used, st->n_cut);
    }
}
static void oct__stream_show(oct__stream *st, size_t n, oct_string *out) {
    st->shown = n;
    out->data = st->out;
    out->len = n;
}
/* Takes the bytes of one token; *out is what may be shown now, valid until the next call.  Returns 1 when the stop string
 * has come: *out ends before it and what follows it is dropped. */
static int oct__stream_push(oct__stream *st, const char *bytes, size_t n, oct_string *out) {
    st->n_out -= st->shown;
    memmove(st->out, st->out + st->shown, st->n_out);
    for (size_t i = 0; i < n && i < OCT__PIECE_MAX; i++) oct__stream_byte(st, (unsigned char)bytes[i]);
    size_t show = st->n_out;
    if (st->stop) {
        const oct_string stop = oct__str(st->stop);
        oct_string text;
        text.data = st->out;
        text.len = st->n_out;
        const size_t at = oct__str_find(text, stop, 0);
        if (at != SIZE_MAX) {
            st->n_out = at;
            st->n_cut = 0;
            oct__stream_show(st, at, out);
            return 1;
        }
        /* the longest end of the text that is a beginning of the stop string stays */
        size_t hold = OCT__MIN(stop.len - 1, st->n_out);
        while (hold > 0 && memcmp(st->out + st->n_out - hold, st->stop, hold) != 0) hold--;
        show -= hold;
    }
    oct__stream_show(st, show, out);
    return 0;
}
/* The text of one token of an answer, into piece; returns its length.  Where there are tags, the text is put together as the
 * official decoder does; elsewhere an answer begins with the space that its first token holds. */
static size_t oct__stream_piece(oct__stream *st, const oct__vocab *v, int32_t id, char *piece /* [OCT__PIECE_MAX] */) {
    oct__text_out o;
    int after = st->after;
    memset(&o, 0, sizeof o);
    o.out = piece;
    o.cap = OCT__PIECE_MAX;
    if (v->tags) oct__piece_join(v, id, false, &after, &o);
    else oct__piece_put(v, id, false, 0, &o);
    st->after = (int32_t)after;
    return OCT__MIN(o.len, o.cap);
}
/* The end: what was held back, and U+FFFD for a character cut short. */
static void oct__stream_flush(oct__stream *st, oct_string *out) {
    st->n_out -= st->shown;
    memmove(st->out, st->out + st->shown, st->n_out);
    if (st->n_cut > 0) oct__stream_put(st, "\xEF\xBF\xBD", 3);
    st->n_cut = 0;
    oct__stream_show(st, st->n_out, out);
}
/* Whether a stream read from a snapshot may be gone on with: sizes in bounds, and what it holds back is text. */
static bool oct__stream_valid(const oct__stream *st) {
    if (st->after < OCT__AFTER_NOTHING || st->after > OCT__AFTER_TAG) return false;
    if (st->n_cut > 3 || st->n_out > sizeof st->out || st->shown > st->n_out || st->n_out - st->shown > OCT__STOP_MAX)
        return false;
    if (st->n_cut > 0 && oct__utf8_state(st->cut, st->n_cut) != 0) return false;
    int32_t cp;
    for (size_t i = st->shown; i < st->n_out; ) {
        const int n = oct__utf8_decode(st->out + i, st->n_out - i, &cp);
        if (cp < 0) return false;
        i += (size_t)n;
    }
    return true;
}

/* --- stop suffixes ---------------------------------------------------------------------- */

/* What ends an answer by its ids.  The style's stop string ends it too, by whatever ids it comes: the official code would go on
 * until a suffix or an end, and cut all that away (test_octavius.py do_generate). */

enum { OCT__STOPS = 16, OCT__STOP_IDS = 8 };
/* Ids at whose end an answer ends. */
typedef struct oct__suffix { int32_t ids[OCT__STOP_IDS]; int n; } oct__suffix;

static oct_result oct__suffix_read(oct_string text, int n_tokens, oct__suffix *out, oct_error *err) {
    int64_t id = -1;
    out->n = 0;
    for (size_t i = 0; i <= text.len; i++) {
        const char c = i < text.len ? text.data[i] : ' ';
        bool ok = c == ' ' || (c >= '0' && c <= '9');
        if (ok && c != ' ') id = (id < 0 ? 0 : id) * 10 + (c - '0');
        ok = ok && id < n_tokens;
        if (ok && c == ' ' && id >= 0) {
            ok = out->n < OCT__STOP_IDS;
            if (ok) out->ids[out->n++] = (int32_t)id;
            id = -1;
        }
        if (!ok) return oct__fail(err, OCT_E_FORMAT, "metadata 'octavius.stop_suffixes': '%.*s', expected at most %d ids below %d", OCT__S(text),
                                  (int)OCT__STOP_IDS, n_tokens);
    }
    return out->n ? OCT_OK : oct__fail(err, OCT_E_FORMAT, "metadata 'octavius.stop_suffixes': no ids in '%.*s'", OCT__S(text));
}
/* Those of a file. */
static oct_result oct__suffixes_load(const oct__gguf *g, int n_tokens, oct__suffix *list /* [OCT__STOPS] */, int *n, oct_error *err) {
    const oct_meta *stops = NULL;
    size_t cursor = 0;
    oct_meta item;
    oct_result r = oct__gguf_array(g, "octavius.stop_suffixes", OCT__META_STRING, 0, OCT__STOPS, &stops, err);
    *n = 0;
    for (uint64_t i = 0; !r && stops && i < stops->count; i++) {
        if (oct__meta_item(stops, i, &cursor, &item))
            return oct__fail(err, OCT_E_FORMAT, "metadata 'octavius.stop_suffixes': text %d ends past the array", (int)i);
        r = oct__suffix_read(item.s, n_tokens, &list[*n], err);
        *n += !r;
    }
    return r;
}
/* Whether ids [n], a BOS before them, end in one. */
static bool oct__suffix_ends(const oct__suffix *suffix, int32_t bos, const int32_t *ids, int n) {
    if (suffix->n > n + 1) return false;
    for (int i = 0; i < suffix->n; i++) {
        const int at = n - suffix->n + i;
        if (suffix->ids[i] != (at < 0 ? bos : ids[at])) return false;
    }
    return true;
}

/* ==========================================================================
 * MARK: - 17. boxes
 * ==========================================================================
 * From the text of an answer to boxes in the picture's pixels, while the text
 * still comes; and, where the session asks for it, the rule that lets a box
 * that was begun end in no other way than as four numbers.
 *
 * The text is taken apart as the official evaluator (ChEF's LAMM_Detection)
 * does it: a sentence ends at ". ", its category is found by eight patterns, the
 * last one that matches counts.  That one takes the first box of a sentence, in
 * square brackets and with a category, and passes over all else without a word;
 * this one takes every box that it can make out, and tells what it could not.
 */

/* --- labels: the evaluator's patterns ------------------------------------------- */

/* A sentence, or a part of one.  ends: a full stop follows, which is not in it.  last: of the answer; cut: and it has no
 * full stop. */
typedef struct oct__sentence { const char *s; size_t n; bool ends, last, cut; } oct__sentence;

static bool oct__box_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool oct__box_digit(char c) { return c >= '0' && c <= '9'; }
static bool oct__box_word(char c) { return oct__box_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c & 0x80); }

static bool oct__box_here(const oct__sentence *t, size_t at, const char *word) {
    const size_t len = strlen(word);
    return at <= t->n && len <= t->n - at && memcmp(t->s + at, word, len) == 0;
}

/* A category stands between one of two beginnings and the first of some ends, or, where greedy, the last place of its one
 * end.  At least one byte lies between. */
typedef struct oct__box_pattern { const char *begin[2], *end[5]; bool greedy; } oct__box_pattern;

/* Where the category that begins at `from` ends; 0: nowhere. */
static size_t oct__box_pattern_end(const oct__sentence *t, const oct__box_pattern *p, size_t from) {
    if (p->greedy) {
        for (size_t at = t->n; at > from; at--)
            if (oct__box_here(t, at, p->end[0])) return at;
        return 0;
    }
    for (size_t at = from + 1; at < t->n; at++)
        for (int i = 0; i < 5 && p->end[i]; i++)
            if (oct__box_here(t, at, p->end[i])) return at;
    bool stop = false;
    for (int i = 0; i < 5 && p->end[i]; i++) stop = stop || p->end[i][0] == '.';
    return stop && t->ends && t->n > from ? t->n : 0;
}
/* The leftmost beginning decides: where it has no end, one further right has none either. */
static bool oct__box_pattern_find(const oct__sentence *t, const oct__box_pattern *p, size_t *from, size_t *to) {
    for (size_t at = 0; at < t->n; at++)
        for (int i = 0; i < 2 && p->begin[i]; i++) {
            if (t->s[at] != p->begin[i][0] || !oct__box_here(t, at, p->begin[i])) continue;
            *from = at + strlen(p->begin[i]);
            *to = oct__box_pattern_end(t, p, *from);
            return *to != 0;
        }
    return false;
}
static oct_string oct__box_trim(const char *s, size_t n) {
    oct_string v;
    while (n > 0 && oct__box_space(s[n - 1])) n--;
    while (n > 0 && oct__box_space(s[0])) s++, n--;
    v.data = s;
    v.len = n;
    return v;
}
/* The category that a sentence names.  One with a bracket in it is a pattern gone astray. */
static bool oct__box_category(const oct__sentence *t, oct_string *out) {
    static const oct__box_pattern patterns[] = {
        { { "The ", NULL }, { "object", NULL, NULL, NULL, NULL }, false },
        { { "classified as ", NULL }, { " is", " and", " within", ",", "." }, false },
        { { "categorized as ", NULL }, { " can", " at", ",", ".", NULL }, false },
        { { "belongs to the category of ", "belonging to the category of " }, { " at", ",", ".", NULL, NULL }, false },
        { { "belongs to the ", "belonging to the " }, { " category", NULL, NULL, NULL, NULL }, true },
        { { "falls under the category of ", NULL }, { ",", ".", NULL, NULL, NULL }, false },
        { { "falls under the ", NULL }, { " category", NULL, NULL, NULL, NULL }, true },
        { { "its category is ", NULL }, { ",", ".", NULL, NULL, NULL }, false }
    };
    for (size_t i = sizeof patterns / sizeof patterns[0]; i-- > 0; ) {
        size_t from, to;
        if (!oct__box_pattern_find(t, &patterns[i], &from, &to)) continue;
        *out = oct__box_trim(t->s + from, to - from);
        if (!memchr(out->data, '[', out->len)) return true;
    }
    return false;
}
/* "dog: [...]": what stands before the colon, back to where something else was said. */
static bool oct__box_named(const oct__sentence *t, size_t box, oct_string *out) {
    size_t to = box;
    while (to > 0 && (t->s[to - 1] == ' ' || t->s[to - 1] == '*')) to--;
    if (to == 0 || t->s[--to] != ':') return false;
    size_t from = to;
    while (from > 0 && !strchr("\n,;.:[]()", t->s[from - 1])) from--;
    while (from < to && strchr(" *-_\"'`#", t->s[from])) from++;
    while (to > from && strchr(" *_\"'`", t->s[to - 1])) to--;
    *out = oct__box_trim(t->s + from, to - from);
    return out->len > 0;
}

/* --- numbers and brackets -------------------------------------------------------------- */

/* A decimal number at s[*at], by itself: a letter, a digit or a point right after it makes it none; a full stop as the last
 * byte is the sentence's.  Not by strtod, which asks the locale. */
static bool oct__box_number(const oct__sentence *t, size_t *at, double *out) {
    size_t i = *at, digits = 0;
    double v = 0.0, unit = 1.0;
    int e = 0;
    const bool minus = i < t->n && t->s[i] == '-';
    if (i < t->n && (t->s[i] == '-' || t->s[i] == '+')) i++;
    for (; i < t->n && oct__box_digit(t->s[i]); i++, digits++) v = v * 10.0 + (t->s[i] - '0');
    if (i < t->n && t->s[i] == '.')
        for (i++; i < t->n && oct__box_digit(t->s[i]); i++, digits++)
            if (unit < 1e15) {                             /* what follows changes no pixel */
                v = v * 10.0 + (t->s[i] - '0');
                unit *= 10.0;
            }
    if (digits == 0) return false;
    if (i + 1 < t->n && (t->s[i] | 32) == 'e') {           /* 5e-2 */
        const bool down = t->s[i + 1] == '-';
        const size_t first = i + 1 + (size_t)(down || t->s[i + 1] == '+');
        for (i = first; i < t->n && oct__box_digit(t->s[i]); i++) e = OCT__MIN(e * 10 + (t->s[i] - '0'), 400);
        if (i == first) return false;
        for (; e > 0; e--) v = down ? v / 10.0 : v * 10.0;
    }
    if (i < t->n && (oct__box_word(t->s[i]) || t->s[i] == '%' || (t->s[i] == '.' && i + 1 < t->n))) return false;
    v /= unit;                                             /* two exact numbers: the quotient is the nearest double */
    *out = minus ? -v : v;
    *at = i;
    return true;
}

/* Something that may be a box, or several. */
enum { OCT__QUAD_MAX = 64 };
typedef struct oct__quad {
    size_t   from, to;             /* in the sentence */
    int      n;                    /* numbers */
    double   v[OCT__QUAD_MAX];
    oct_drop drop;
} oct__quad;

static void oct__quad_put(oct__quad *q, double v) {
    if (q->n < OCT__QUAD_MAX) q->v[q->n] = v;
    q->n++;
}
/* Numbers with commas, semicolons or white space between them, each maybe after a name ("x1="), up to something else. */
static size_t oct__quad_numbers(const oct__sentence *t, size_t at, oct__quad *q) {
    bool apart = true;
    for (;;) {
        double v;
        for (; at < t->n && (oct__box_space(t->s[at]) || t->s[at] == ',' || t->s[at] == ';'); at++) apart = true;
        size_t i = at;
        while (i < t->n && oct__box_word(t->s[i])) i++;
        if (i > at && i < t->n && (t->s[i] == '=' || t->s[i] == ':')) {
            for (i++; i < t->n && t->s[i] == ' '; i++) {}
        } else {
            i = at;
        }
        if (!apart || !oct__box_number(t, &i, &v)) return at;
        oct__quad_put(q, v);
        at = i;
        apart = false;
    }
}
/* Without brackets: four numbers from 0 to 1, one of them with a point, commas between; or any, if "]" follows. */
static bool oct__quad_bare(const oct__sentence *t, size_t at, oct__quad *q) {
    double v;
    size_t i = at;
    bool point = false, unit = true;
    q->from = at;
    q->n = 0;
    q->drop = OCT_DROP_NONE;
    while (oct__box_number(t, &i, &v)) {
        oct__quad_put(q, v);
        unit = unit && v >= 0.0 && v <= 1.0;
        q->to = i;
        while (i < t->n && t->s[i] == ' ') i++;
        if (i == t->n || t->s[i] != ',') break;
        for (i++; i < t->n && t->s[i] == ' '; i++) {}
    }
    if (q->n == 0) return false;
    for (size_t j = at; j < q->to; j++) point = point || t->s[j] == '.';
    if (q->to < t->n && t->s[q->to] == ']') {
        q->to++;
        return q->n > 1;
    }
    return q->n == 4 && unit && point;
}
/* Four numbers and then the end of the sentence: whole if the last has a point, and the answer did not end there by itself. */
static bool oct__quad_whole(const oct__sentence *t, size_t end) {
    size_t i = end;
    if (end < t->n) return true;
    while (i > 0 && oct__box_digit(t->s[i - 1])) i--;
    return !t->cut && i > 0 && t->s[i - 1] == '.';
}
/* At a bracket.  False: what it holds is no box and does not look like one. */
static bool oct__quad_group(const oct__sentence *t, size_t at, oct__quad *q) {
    const bool square = t->s[at] == '[';
    q->from = at;
    q->n = 0;
    q->drop = OCT_DROP_NONE;
    const size_t after = q->to = oct__quad_numbers(t, at + 1, q);
    if (after < t->n && (t->s[after] == ']' || t->s[after] == ')')) {
        q->to = after + 1;
        return q->n > (square ? 0 : 1);
    }
    if (!square) return false;
    size_t end = after, digits = 0, commas = 0;
    while (end < t->n && end - at < 256 && t->s[end] != '[' && t->s[end] != ']') end++;
    if (end < t->n && t->s[end] == ']') {                 /* something else between the brackets */
        oct__sentence inner = *t;
        inner.n = end;
        for (size_t i = at + 1; i < end; i++)
            if (!oct__box_word(t->s[i - 1]) && t->s[i - 1] != '.' && oct__quad_bare(&inner, i, q) && q->n == 4) {
                q->from = at;
                q->to = end + 1;
                return true;
            }
        for (size_t i = at + 1; i < end; i++) {
            digits += oct__box_digit(t->s[i]);
            commas += t->s[i] == ',';
        }
        q->from = at;
        q->to = end + 1;
        q->n = 0;
        q->drop = OCT_DROP_NUMBER;
        return digits > 0 || commas == 3;
    }
    if (q->n == 4 && oct__quad_whole(t, after)) return true;
    end = t->n;
    while (end > after && strchr(" .,+-0123456789", t->s[end - 1])) end--;
    q->drop = t->last && end == after ? OCT_DROP_CUT : OCT_DROP_BRACKET;
    if (q->drop == OCT_DROP_CUT) q->to = t->n;
    return q->n > 0 || q->drop == OCT_DROP_CUT;
}
/* The next of them at or after from. */
static bool oct__quad_find(const oct__sentence *t, size_t from, oct__quad *q) {
    for (size_t at = from; at < t->n; at++) {
        const char c = t->s[at], before = at > 0 ? t->s[at - 1] : ' ';
        if (c == '[' || c == '(') {
            if (!oct__quad_group(t, at, q)) continue;
            if (q->n != 2 || q->drop) return true;
            oct__quad next;                                /* two corners, each in brackets of its own */
            for (size_t i = q->to; i < t->n; i++)
                if ((t->s[i] == '[' || t->s[i] == '(') && oct__quad_group(t, i, &next)) {
                    if (next.n != 2 || next.drop) return true;
                    oct__quad_put(q, next.v[0]);
                    oct__quad_put(q, next.v[1]);
                    q->to = next.to;
                    return true;
                }
            return true;
        }
        if ((!oct__box_digit(c) && c != '.' && c != '-') || oct__box_word(before) || before == '.' || before == '-') continue;
        if (oct__quad_bare(t, at, q)) return true;
        if (q->n > 0) at = q->to - 1;
    }
    return false;
}

/* --- the reader ---------------------------------------------------------------------------- */

OCT_API const char *oct_drop_reason(oct_drop drop) {
    switch (drop) {
        case OCT_DROP_NONE: return "";
        case OCT_DROP_COUNT: return "not four numbers";
        case OCT_DROP_NUMBER: return "not a number";
        case OCT_DROP_BRACKET: return "no closing bracket";
        case OCT_DROP_CUT: return "the answer ends inside it";
        case OCT_DROP_ORDER: return "inverted on one axis";
        case OCT_DROP_RANGE: return "not from 0 to 1";
        case OCT_DROP_OUTSIDE: return "outside the picture";
    }
    return "unknown reason";
}

/* A copy of text in out [cap], cut between characters; what is no character, or a control character, becomes a blank. */
static void oct__box_copy(char *out, size_t cap, const char *s, size_t n) {
    size_t len = 0;
    int32_t cp;
    for (size_t i = 0; i < n; ) {
        const size_t step = (size_t)oct__utf8_decode(s + i, n - i, &cp);
        if (len + step >= cap) break;
        if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0)) {
            out[len++] = ' ';
        } else {
            memcpy(out + len, s + i, step);
            len += step;
        }
        i += step;
    }
    out[len] = 0;
}

/* Pixels of the picture from fractions of the square that the encoder takes.  prep NULL: of the picture. */
static void oct__boxes_begin(oct_boxes *b, const oct__image_prep *prep, int width, int height) {
    memset(b, 0, sizeof *b);
    b->size[0] = b->scale[0] = (double)width;
    b->size[1] = b->scale[1] = (double)height;
    if (!prep) return;
    oct_image image;
    oct__canvas c;
    memset(&image, 0, sizeof image);
    image.width = width;
    image.height = height;
    oct__canvas_init(&c, &image, prep);
    const bool crop = prep->resize == OCT__RESIZE_CROP || (prep->side && prep->side != prep->size);
    const double of_w = (double)c.width / (double)c.out_w, of_h = (double)c.height / (double)c.out_h;
    b->scale[0] = of_w * (double)(crop ? prep->size : (int)c.out_w);
    b->scale[1] = of_h * (double)(crop ? prep->size : (int)c.out_h);
    b->shift[0] = of_w * (double)(crop ? c.crop_x : 0) - (double)c.left;
    b->shift[1] = of_h * (double)(crop ? c.crop_y : 0) - (double)c.top;
}

/* Four numbers as written become a box, or a reason. */
static void oct__box_place(const oct_boxes *b, const double *v /* [4] */, oct_box *out) {
    double p[4];
    const bool x = v[0] > v[2], y = v[1] > v[3], swap = x && y;
    for (int i = 0; i < 4; i++) {
        if (!(v[i] >= -0.5 && v[i] <= 1.5)) {
            out->dropped = OCT_DROP_RANGE;
            return;
        }
        p[i] = v[swap ? i ^ 2 : i] * b->scale[i & 1] + b->shift[i & 1];
    }
    if (x != y) {
        out->dropped = OCT_DROP_ORDER;
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (p[i] > b->size[i] || p[i + 2] < 0.0 || (p[i] < p[i + 2] && (p[i] == b->size[i] || p[i + 2] == 0.0))) {
            out->dropped = OCT_DROP_OUTSIDE;
            return;
        }
        p[i] = OCT__MAX(p[i], 0.0);
        p[i + 2] = OCT__MIN(p[i + 2], b->size[i]);
    }
    out->x1 = (float)p[0];
    out->y1 = (float)p[1];
    out->x2 = (float)p[2];
    out->y2 = (float)p[3];
}

/* What the sentence calls the box q: by what stands nearest to it first, that is between the box before and the box after. */
static bool oct__box_label(const oct__sentence *t, bool first, const oct__quad *q, bool near, oct_string *out) {
    oct__quad next;
    oct__sentence part = *t;
    const bool more = oct__quad_find(t, q->to, &next);
    const size_t from = first ? 0 : q->from;
    part.s += from;
    part.n = (more ? next.from : t->n) - from;
    part.ends = t->ends && !more;
    if (oct__box_category(&part, out) || oct__box_named(t, q->from, out)) return true;
    return !near && oct__box_category(t, out);
}

/* The sentence that is to be read next: without white space around it, and without its full stop. */
static oct__sentence oct__boxes_sentence(const oct_boxes *b, size_t n) {
    oct__sentence t;
    while (n > 0 && oct__box_space(b->sentence[n - 1])) n--;
    t.cut = b->last && !(n > 0 && b->sentence[n - 1] == '.');
    t.last = b->last != 0;
    if (b->last && !t.cut) n--;
    t.s = b->sentence;
    t.n = n;
    t.ends = true;
    return t;
}
/* Gives the next item of the sentence at hand; false: there is none. */
static bool oct__boxes_item(oct_boxes *b, oct_box *out) {
    const oct__sentence t = oct__boxes_sentence(b, b->ready);
    oct__quad q;
    oct_string label;
    if (!oct__quad_find(&t, b->from, &q)) return false;
    memset(out, 0, sizeof *out);
    out->at = b->at + q.from;
    out->dropped = q.drop;
    oct__box_copy(out->text, sizeof out->text, t.s + q.from, q.to - q.from);
    if (oct__box_label(&t, b->from == 0, &q, false, &label)) oct__box_copy(out->label, sizeof out->label, label.data, label.len);
    if (!q.drop && (q.n % 4 != 0 || q.n > OCT__QUAD_MAX)) out->dropped = OCT_DROP_COUNT;
    if (!out->dropped) {
        oct__box_place(b, q.v + 4 * b->nth, out);
        if (4 * ++b->nth < q.n) return true;
    }
    b->nth = 0;
    b->from = q.to;
    return true;
}
/* A line has ended: whether all boxes in it are closed and named, so that nothing that follows would change them. */
static bool oct__boxes_settled(const oct_boxes *b) {
    oct__sentence t = oct__boxes_sentence(b, b->len);
    oct__quad q;
    oct_string label;
    size_t from = 0;
    t.ends = false;
    t.cut = t.last = true;
    if (!memchr(t.s, ']', t.n) && !memchr(t.s, ')', t.n)) return false;
    for (; oct__quad_find(&t, from, &q); from = q.to)
        if (q.drop == OCT_DROP_CUT || q.n == 2 || !oct__box_label(&t, from == 0, &q, true, &label)) return false;
    return from > 0;
}
static void oct__boxes_byte(oct_boxes *b, char c) {
    b->sentence[b->len++] = c;
    const size_t n = b->len;
    if (c == ' ' && n >= 2 && b->sentence[n - 2] == '.') {
        b->ready = n - 2;
        b->used = n;
    } else if (c == '\n' && oct__boxes_settled(b)) {
        b->ready = b->used = n;
    } else if (n == OCT_BOX_SENTENCE) {                    /* too long: what may be a box at its end stays for the next part */
        size_t open = n;
        while (open > n - 256 && b->sentence[open - 1] != '[') open--;
        b->ready = b->used = open > n - 256 ? open - 1 : n;
    }
}
/* The sentence at hand is done with: what follows it moves to the front. */
static void oct__boxes_done(oct_boxes *b) {
    b->len -= b->used;
    b->at += b->used;
    memmove(b->sentence, b->sentence + b->used, b->len);
    b->from = b->ready = b->used = 0;
}

OCT_API int oct_boxes_next(oct_boxes *b, oct_string *text, oct_box *out) {
    if (!b || !out) return 0;
    for (;;) {
        if (b->ready && oct__boxes_item(b, out)) return 1;
        if (b->used) oct__boxes_done(b);
        if (!text && b->len) {
            b->last = 1;
            b->ready = b->used = b->len;
        } else if (!text) {
            b->last = 0;
            b->at = 0;
            return 0;
        } else if (text->len == 0) {
            return 0;
        } else {
            oct__boxes_byte(b, *text->data++);
            text->len--;
        }
    }
}

/* --- constrained boxes: what an answer may go on with ------------------------------------------
 * In a session that asks for it, "[" opens a box, and from there on only tokens are sampled whose bytes keep it the beginning of
 * "[x1, y1, x2, y2]".  A number is 0 or 1, or has a point and one or two decimals; a blank may stand after "[" and "," and
 * before "]".  The second corner is not less than the first: a digit that could not become such a number is refused when it
 * comes, so every state can be completed, a byte at a time at worst.  A token may close a box and go on with anything, even
 * with another box. */

enum { OCT__RULE_TEXT, OCT__RULE_OPEN, OCT__RULE_BLANK, OCT__RULE_WHOLE, OCT__RULE_POINT, OCT__RULE_TENTH, OCT__RULE_HUNDREDTH,
       OCT__RULE_CLOSE };
typedef struct oct__rule {
    int place;                     /* after this; TEXT: outside of boxes */
    int part;                      /* which number, 0 to 3 */
    int value[4];                  /* in hundredths, as far as they are written */
} oct__rule;

/* A digit of the number under way, worth `unit` hundredths: the number may still grow by unit - 1. */
static bool oct__rule_digit(oct__rule *r, char c, int unit) {
    int *v = &r->value[r->part];
    if (!oct__box_digit(c) || (unit == 100 && c > '1') || (unit < 100 && *v >= 100 && c != '0')) return false;
    *v = (unit == 100 ? 0 : *v) + unit * (c - '0');
    r->place = unit == 100 ? OCT__RULE_WHOLE : unit == 10 ? OCT__RULE_TENTH : OCT__RULE_HUNDREDTH;
    return r->part < 2 || *v + unit > r->value[r->part - 2];
}
/* What ends a number: whether it may end here. */
static bool oct__rule_end(oct__rule *r, char c) {
    if (r->part >= 2 && r->value[r->part] < r->value[r->part - 2]) return false;
    if (r->part < 3) {
        r->part++;
        r->place = OCT__RULE_OPEN;
        return c == ',';
    }
    r->place = c == ' ' ? OCT__RULE_CLOSE : OCT__RULE_TEXT;
    return c == ' ' || c == ']';
}
/* One more byte; false: it is not allowed there. */
static bool oct__rule_byte(oct__rule *r, char c) {
    switch (r->place) {
        case OCT__RULE_TEXT:
            if (c == '[') {
                r->place = OCT__RULE_OPEN;
                r->part = 0;
            }
            return true;
        case OCT__RULE_OPEN:
            if (c != ' ') return oct__rule_digit(r, c, 100);
            r->place = OCT__RULE_BLANK;
            return true;
        case OCT__RULE_BLANK: return oct__rule_digit(r, c, 100);
        case OCT__RULE_WHOLE:
            if (c != '.') return oct__rule_end(r, c);
            r->place = OCT__RULE_POINT;
            return true;
        case OCT__RULE_POINT: return oct__rule_digit(r, c, 10);
        case OCT__RULE_TENTH: return oct__box_digit(c) ? oct__rule_digit(r, c, 1) : oct__rule_end(r, c);
        case OCT__RULE_HUNDREDTH: return oct__rule_end(r, c);
        default:
            r->place = OCT__RULE_TEXT;
            return c == ']';
    }
}
/* Whether the bytes of a token may come; *r is as it would be then. */
static bool oct__rule_bytes(oct__rule *r, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!oct__rule_byte(r, bytes[i])) return false;
    return true;
}

/* Whether a rule read from a snapshot may be gone on with. */
static bool oct__rule_valid(const oct__rule *r) {
    bool ok = r->place >= OCT__RULE_TEXT && r->place <= OCT__RULE_CLOSE && r->part >= 0 && r->part < 4;
    for (int i = 0; i < 4; i++) ok = ok && r->value[i] >= 0 && r->value[i] <= 100;
    return ok;
}

/* The rule of one session.  Without it, no arrays. */
typedef struct oct__guard {
    oct__rule      now;            /* of the answer so far */
    unsigned char *outside;        /* [n_vocab] 1: never sampled outside of a box */
    unsigned char *inside;         /* [n_vocab] 1: not now; of the box under way */
    int32_t       *candidates;     /* [n_candidates] ids that could come in a box somewhere */
    int            n_candidates;
} oct__guard;

static void oct__guard_take(oct__arena *a, oct__guard *g, int n_vocab) {
    g->outside = OCT__TAKE(a, unsigned char, (size_t)n_vocab);
    g->inside = OCT__TAKE(a, unsigned char, (size_t)n_vocab);
    g->candidates = OCT__TAKE(a, int32_t, (size_t)n_vocab);
}
/* Up to its "]", if it has one, a token of a box is of these. */
static bool oct__guard_candidate(const char *bytes, int n) {
    int i = 0;
    while (i < n && (oct__box_digit(bytes[i]) || bytes[i] == '.' || bytes[i] == ',' || bytes[i] == ' ')) i++;
    return n > 0 && (i == n || bytes[i] == ']');
}
/* The bytes of a token as an answer shows them. */
static int oct__guard_piece(const oct__vocab *v, int32_t id, char piece[OCT__PIECE_MAX]) {
    return OCT__MIN(oct__vocab_piece(v, id, false, piece, OCT__PIECE_MAX), OCT__PIECE_MAX);
}
/* Every box can be completed if each byte that one consists of is a token by itself. */
static oct_result oct__guard_check(const oct__vocab *v, const unsigned char *banned, int n_vocab, oct_error *err) {
    static const char needed[] = "0123456789.,]";
    char piece[OCT__PIECE_MAX];
    unsigned found = 0;
    for (int id = 0; id < n_vocab; id++) {
        if (banned[id] || oct__guard_piece(v, id, piece) != 1) continue;
        const char *at = piece[0] ? strchr(needed, piece[0]) : NULL;
        if (at) found |= 1u << (at - needed);
    }
    for (unsigned i = 0; needed[i]; i++)
        if (!(found >> i & 1u)) return oct__fail(err, OCT_E_UNSUPPORTED, "boxes: the vocabulary has no token for '%c' alone", needed[i]);
    return OCT_OK;
}
static void oct__guard_init(oct__guard *g, const oct__vocab *v, const unsigned char *banned, int n_vocab) {
    char piece[OCT__PIECE_MAX];
    g->n_candidates = 0;
    for (int id = 0; id < n_vocab; id++) {
        oct__rule r;
        memset(&r, 0, sizeof r);
        g->outside[id] = banned[id];
        if (banned[id]) continue;
        const int n = oct__guard_piece(v, id, piece);
        if (!oct__rule_bytes(&r, piece, (size_t)n)) g->outside[id] = 1;
        if (oct__guard_candidate(piece, n)) g->candidates[g->n_candidates++] = id;
    }
}
/* The tokens that must not come now. */
static const unsigned char *oct__guard_banned(oct__guard *g, const oct__vocab *v, int n_vocab) {
    char piece[OCT__PIECE_MAX];
    if (g->now.place == OCT__RULE_TEXT) return g->outside;
    memset(g->inside, 1, (size_t)n_vocab);
    for (int i = 0; i < g->n_candidates; i++) {
        oct__rule r = g->now;
        const int n = oct__guard_piece(v, g->candidates[i], piece);
        g->inside[g->candidates[i]] = !oct__rule_bytes(&r, piece, (size_t)n);
    }
    return g->inside;
}
static void oct__guard_token(oct__guard *g, const oct__vocab *v, int32_t id) {
    char piece[OCT__PIECE_MAX];
    (void)oct__rule_bytes(&g->now, piece, (size_t)oct__guard_piece(v, id, piece));
}

/* ==========================================================================
 * MARK: - 18. drawing
 * ==========================================================================
 * Boxes drawn into a picture, with their labels on plates, in letters of our
 * own; the picture written as PNG, or as SVG with the boxes beside it.  Where a
 * box and its plate stand, and in which colour, is decided once for both.
 */
#if !defined(OCTAVIUS_NO_PICTURES)

/* --- letters ----------------------------------------------------------------------- */

/* ' ' to '~' and an empty frame for all other characters: 5 columns and 9 rows each, the last two below the line.  A row is
 * one byte: 64 plus its pixels, the left one highest. */
enum { OCT__FONT_W = 5, OCT__FONT_H = 9, OCT__FONT_STEP = 6 };
static const unsigned char *oct__font_glyph(int32_t cp) {
    static const char rows[] =
        "@@@@@@@@@" "DDDDD@D@@" "JJJ@@@@@@" "JJ_J_JJ@@" "DOTNE^D@@" "XYBDHSC@@" "LRTHURM@@" "DDH@@@@@@"
        "BDHHHDB@@" "HDBBBDH@@" "@DUNUD@@@" "@DD_DD@@@" "@@@@@LLDH" "@@@_@@@@@" "@@@@@LL@@" "AABDHPP@@"
        "NQSUYQN@@" "DLDDDDN@@" "NQAFHP_@@" "^AANAA^@@" "BFJR_BB@@" "_P^AAQN@@" "FHP^QQN@@" "_ABDHHH@@"
        "NQQNQQN@@" "NQQOABL@@" "@LL@LL@@@" "@LL@@LLDH" "BDHPHDB@@" "@@_@_@@@@" "HDBABDH@@" "NQABD@D@@"
        "NQWUWPO@@" "NQQ_QQQ@@" "^QQ^QQ^@@" "NQPPPQN@@" "^QQQQQ^@@" "_PP^PP_@@" "_PP^PPP@@" "NQPWQQN@@"
        "QQQ_QQQ@@" "NDDDDDN@@" "GBBBBRL@@" "QRTXTRQ@@" "PPPPPP_@@" "Q[UUQQQ@@" "QYYUSSQ@@" "NQQQQQN@@"
        "^QQ^PPP@@" "NQQQURM@@" "^QQ^TRQ@@" "OPPNAA^@@" "_DDDDDD@@" "QQQQQQN@@" "QQQQJJD@@" "QQQUU[Q@@"
        "QQJDJQQ@@" "QQJDDDD@@" "_ABDHP_@@" "NHHHHHN@@" "PPHDBAA@@" "NBBBBBN@@" "DJQ@@@@@@" "@@@@@@@_@"
        "HDB@@@@@@" "@@NAOQO@@" "PP^QQQ^@@" "@@OPPPO@@" "AAOQQQO@@" "@@NQ_PN@@" "FIH^HHH@@" "@@OQQQOAN"
        "PP^QQQQ@@" "D@LDDDN@@" "B@FBBBBRL" "PPRTXTR@@" "LDDDDDN@@" "@@ZUUUU@@" "@@^QQQQ@@" "@@NQQQN@@"
        "@@^QQQ^PP" "@@OQQQOAA" "@@VYPPP@@" "@@OPNA^@@" "HH^HHIF@@" "@@QQQQO@@" "@@QQQJD@@" "@@QQUUJ@@"
        "@@QJDJQ@@" "@@QQQQOAN" "@@_BDH_@@" "FHHPHHF@@" "DDDDDDD@@" "LBBABBL@@" "@@HUB@@@@" "_QQQQQ_@@";
    /* from U+00C0 on: letters without their accents */
    static const char plain[] = "AAAAAA\177CEEEEIIII\177NOOOOO*OUUUUY\177\177aaaaaa\177ceeeeiiii\177nooooo/ouuuuy\177y";
    if (cp >= 0xC0 && cp <= 0xFF) cp = (unsigned char)plain[cp - 0xC0];
    if (cp < 32 || cp > 127) cp = 127;
    return (const unsigned char *)rows + (size_t)(cp - 32) * OCT__FONT_H;
}
static int oct__font_pixel(const unsigned char *glyph, int x, int y) {
    return x >= 0 && x < OCT__FONT_W && y >= 0 && y < OCT__FONT_H && (glyph[y] >> (OCT__FONT_W - 1 - x) & 1);
}
/* How much of the pixel (x, y) of a letter drawn `scale` times as large is covered, 0 to 256.  The letter's pixels are points
 * of a smooth surface, which is cut at a height where strokes keep their width and diagonals hang together. */
static int oct__font_cover(const unsigned char *glyph, int scale, int x, int y) {
    const int at_x = 2 * x + 1 - scale, at_y = 2 * y + 1 - scale, step = 2 * scale;      /* from the centre of pixel 0 */
    const int gx = (at_x + step) / step - 1, gy = (at_y + step) / step - 1;
    const int fx = at_x - gx * step, fy = at_y - gy * step;
    const int top = oct__font_pixel(glyph, gx, gy) * (step - fx) + oct__font_pixel(glyph, gx + 1, gy) * fx;
    const int bottom = oct__font_pixel(glyph, gx, gy + 1) * (step - fx) + oct__font_pixel(glyph, gx + 1, gy + 1) * fx;
    const int64_t height = (int64_t)256 * (top * (step - fy) + bottom * fy) / ((int64_t)step * step);
    const int64_t cover = (height - 110) * (scale + 1) + 128;
    return (int)(cover < 0 ? 0 : cover > 256 ? 256 : cover);
}

/* --- where things stand ---------------------------------------------------------------- */

/* How a picture of some size is drawn on. */
typedef struct oct__pen { int width, height, scale, line, pad, plate; } oct__pen;
static oct__pen oct__pen_of(int width, int height) {
    oct__pen p;
    p.width = width;
    p.height = height;
    p.scale = (int)OCT__MAX(OCT__MIN(((int64_t)width + height + 300) / 600, (int64_t)height / 40), 1);
    p.line = (5 * p.scale + 2) / 4;
    p.pad = 2 * p.scale;
    p.plate = OCT__FONT_H * p.scale + p.pad;
    return p;
}
typedef struct oct__area { int x1, y1, x2, y2; } oct__area;      /* x2, y2 not included */

static bool oct__area_meets(oct__area a, oct__area b) { return a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2; }
static int oct__pixel_of(float v, int size) {
    return v > 0.0f ? v < (float)size ? (int)((double)v + 0.5) : size : 0;       /* NaN too is 0 */
}
/* The outer edge of a box's line, half of which lies outside of the box. */
static oct__area oct__box_area(const oct__pen *p, const oct_box *b) {
    oct__area a;
    a.x1 = OCT__MAX(oct__pixel_of(b->x1, p->width) - p->line / 2, 0);
    a.y1 = OCT__MAX(oct__pixel_of(b->y1, p->height) - p->line / 2, 0);
    a.x2 = OCT__MIN(OCT__MAX(oct__pixel_of(b->x2, p->width), a.x1 + p->line / 2) + (p->line + 1) / 2, p->width);
    a.y2 = OCT__MIN(OCT__MAX(oct__pixel_of(b->y2, p->height), a.y1 + p->line / 2) + (p->line + 1) / 2, p->height);
    a.x1 = OCT__MIN(a.x1, OCT__MAX(a.x2 - p->line, 0));
    a.y1 = OCT__MIN(a.y1, OCT__MAX(a.y2 - p->line, 0));
    return a;
}
/* Characters of a label that fit on a plate in the picture; none where plates would hide it. */
static int oct__label_chars(const oct__pen *p, const char *label) {
    const size_t len = strlen(label);
    const int room = (p->width - 2 * p->pad + p->scale) / (OCT__FONT_STEP * p->scale);
    int n = 0;
    int32_t cp;
    for (size_t i = 0; i < len && n < room; n++) i += (size_t)oct__utf8_decode(label + i, len - i, &cp);
    return 3 * p->plate <= p->height ? n : 0;
}
/* The plate of a label: above its box, or inside, below, at the bottom, whichever place is the first in the picture that no
 * earlier plate has taken.  Empty where it has none. */
static oct__area oct__plate_area(const oct__pen *p, oct__area box, int n_chars, const oct__area *taken, size_t n_taken) {
    const int width = OCT__FONT_STEP * p->scale * n_chars - p->scale + 2 * p->pad;
    const int tops[4] = { box.y1 - p->plate, box.y1, box.y2, box.y2 - p->plate };
    oct__area a, first;
    memset(&first, 0, sizeof first);
    if (n_chars == 0) return first;
    bool have = false;
    for (int i = 0; i < 4; i++) {
        a.x1 = OCT__MAX(OCT__MIN(box.x1, p->width - width), 0);
        a.x2 = OCT__MIN(a.x1 + width, p->width);
        a.y1 = tops[i];
        a.y2 = a.y1 + p->plate;
        if (a.y1 < 0 || a.y2 > p->height) continue;
        bool free = true;
        for (size_t j = 0; j < n_taken && free; j++) free = !oct__area_meets(a, taken[j]);
        if (free) return a;
        if (!have) first = a;
        have = true;
    }
    if (!have) {
        a.y1 = OCT__MAX(OCT__MIN(box.y1, p->height - p->plate), 0);
        a.y2 = a.y1 + p->plate;
        return a;
    }
    return first;
}
static bool oct__is_light(const unsigned char *c) { return 299 * c[0] + 587 * c[1] + 114 * c[2] > 140000; }

/* One box, ready to be drawn. */
enum { OCT__DRAW_MOST = 4096 };
typedef struct oct__placed { const oct_box *of; oct__area box, plate; int n_chars; const unsigned char *colour; } oct__placed;

/* Places all boxes but those dropped; *placed [*n_placed] is of allocator a.  Each label has one colour. */
static oct_result oct__place(const oct__pen *p, const oct_box *boxes, size_t n, const oct_allocator *a, oct__placed **placed,
                             size_t *n_placed, oct_error *err) {
    static const unsigned char colours[][3] = {
        { 230, 57, 70 }, { 46, 204, 113 }, { 52, 132, 240 }, { 255, 196, 0 }, { 171, 71, 222 }, { 0, 200, 212 }, { 255, 127, 39 },
        { 245, 105, 190 }, { 150, 210, 30 }, { 120, 94, 60 }, { 0, 120, 110 }, { 250, 230, 140 }, { 96, 80, 220 }, { 140, 20, 50 },
        { 170, 220, 255 }, { 20, 100, 30 }
    };
    if (n > OCT__DRAW_MOST) return oct__fail(err, OCT_E_LIMIT, "boxes: %zu, expected at most %d", n, (int)OCT__DRAW_MOST);
    oct__placed *list = OCT__NEW(a, oct__placed, n);
    oct__area *taken = OCT__NEW(a, oct__area, n);
    size_t count = 0, kinds = 0;
    for (size_t i = 0; i < n && list && taken; i++) {
        oct__placed *q = &list[count];
        size_t like = 0;
        if (boxes[i].dropped) continue;
        q->of = &boxes[i];
        q->box = oct__box_area(p, &boxes[i]);
        q->n_chars = oct__label_chars(p, boxes[i].label);
        q->plate = taken[count] = oct__plate_area(p, q->box, q->n_chars, taken, count);
        while (like < count && strcmp(list[like].of->label, boxes[i].label) != 0) like++;
        q->colour = like < count ? list[like].colour : colours[kinds++ % (sizeof colours / sizeof colours[0])];
        count++;
    }
    oct__free(a, taken);
    *placed = list;
    *n_placed = count;
    if (list && taken) return OCT_OK;
    oct__free(a, list);
    *placed = NULL;
    return oct__fail(err, OCT_E_MEMORY, "out of memory for %zu boxes", n);
}

/* --- into pixels ------------------------------------------------------------------------------ */

typedef struct oct__surface { unsigned char *pixels; size_t stride; int width, height, n_ch; } oct__surface;

/* alpha of 256 of a colour over a pixel. */
static void oct__surface_mix(const oct__surface *s, int x, int y, const unsigned char *colour, int alpha) {
    unsigned char *to = s->pixels + (size_t)y * s->stride + (size_t)x * (size_t)s->n_ch;
    for (int i = 0; i < 3; i++) to[i] = (unsigned char)(to[i] + (colour[i] - to[i]) * alpha / 256);
    if (s->n_ch == 4) to[3] = (unsigned char)(to[3] + (255 - to[3]) * alpha / 256);
}
static void oct__surface_fill(const oct__surface *s, oct__area a, const unsigned char *colour, int alpha) {
    for (int y = OCT__MAX(a.y1, 0); y < OCT__MIN(a.y2, s->height); y++)
        for (int x = OCT__MAX(a.x1, 0); x < OCT__MIN(a.x2, s->width); x++) oct__surface_mix(s, x, y, colour, alpha);
}
/* The frame of an area, `line` wide, inside of it. */
static void oct__surface_frame(const oct__surface *s, oct__area a, int line, const unsigned char *colour, int alpha) {
    oct__area side = a;
    const int down = OCT__MIN(line, a.y2 - a.y1), rest = OCT__MAX(a.y2 - line, a.y1 + down);
    side.y2 = a.y1 + down;
    oct__surface_fill(s, side, colour, alpha);
    side.y1 = rest;
    side.y2 = a.y2;
    oct__surface_fill(s, side, colour, alpha);
    side.y1 = a.y1 + down;
    side.y2 = rest;
    side.x2 = a.x1 + OCT__MIN(line, a.x2 - a.x1);
    oct__surface_fill(s, side, colour, alpha);
    side.x1 = OCT__MAX(a.x2 - line, side.x2);
    side.x2 = a.x2;
    oct__surface_fill(s, side, colour, alpha);
}
static void oct__surface_text(const oct__surface *s, const oct__pen *p, int x, int y, const oct__placed *q) {
    static const unsigned char black[3] = { 0, 0, 0 }, white[3] = { 255, 255, 255 };
    const unsigned char *ink = oct__is_light(q->colour) ? black : white;
    const char *text = q->of->label;
    const size_t len = strlen(text);
    size_t at = 0;
    for (int i = 0; i < q->n_chars && at < len; i++, x += OCT__FONT_STEP * p->scale) {
        int32_t cp;
        at += (size_t)oct__utf8_decode(text + at, len - at, &cp);
        const unsigned char *glyph = oct__font_glyph(cp);
        for (int v = 0; v < OCT__FONT_H * p->scale; v++)
            for (int u = 0; u < OCT__FONT_W * p->scale; u++) {
                const int cover = oct__font_cover(glyph, p->scale, u, v);
                if (cover && x + u < s->width && y + v < s->height) oct__surface_mix(s, x + u, y + v, ink, cover);
            }
    }
}
static oct_result oct__draw_check(const oct_image *image, const oct_box *boxes, size_t n, oct_error *err) {
    const oct_result r = oct__image_check(image, err);
    if (!r && !boxes && n) return oct__fail(err, OCT_E_ARG, "boxes is NULL");
    return r;
}

OCT_API oct_result oct_boxes_draw(oct_picture *picture, const oct_box *boxes, size_t n, oct_error *err) {
    static const unsigned char shade[3] = { 0, 0, 0 };
    oct__placed *placed;
    size_t count;
    oct_result r = oct__draw_check(picture ? &picture->image : NULL, boxes, n, err);
    if (r) return r;
    const oct_image *image = &picture->image;
    const oct__pen p = oct__pen_of(image->width, image->height);
    oct__surface s;
    s.n_ch = image->n_channels == 4 ? 4 : 3;
    s.width = image->width;
    s.height = image->height;
    s.stride = image->stride_bytes ? image->stride_bytes : (size_t)s.width * (size_t)s.n_ch;
    s.pixels = (unsigned char *)(uintptr_t)image->pixels;            /* the picture's own */
    if ((r = oct__place(&p, boxes, n, &picture->allocator, &placed, &count, err)) != OCT_OK) return r;
    const int edge = p.scale > 1 ? p.scale / 2 : 0;                  /* a dim line on either side: seen on any ground */
    for (size_t i = 0; i < count && edge; i++) {
        oct__area around = placed[i].box;
        around.x1 -= edge;
        around.y1 -= edge;
        around.x2 += edge;
        around.y2 += edge;
        oct__surface_frame(&s, around, p.line + 2 * edge, shade, 90);
    }
    for (size_t i = 0; i < count; i++) oct__surface_frame(&s, placed[i].box, p.line, placed[i].colour, 256);
    for (size_t i = 0; i < count; i++) {
        oct__surface_fill(&s, placed[i].plate, placed[i].colour, 256);
        oct__surface_text(&s, &p, placed[i].plate.x1 + p.pad, placed[i].plate.y1 + p.pad, &placed[i]);
    }
    oct__free(&picture->allocator, placed);
    return OCT_OK;
}

/* --- deflate (RFC 1951) -------------------------------------------------------------------------- */

/* Bytes on their way out, and whether the writer still takes them. */
typedef struct oct__sink { oct_write_fn write; void *user; int refused; } oct__sink;
static void oct__sink_put(oct__sink *k, const void *data, size_t n) {
    if (!k->refused && n) k->refused = k->write(k->user, data, n) != 0;
}

enum { OCT__LZ_WINDOW = 32768, OCT__LZ_HASH = 1 << 15, OCT__LZ_CHAIN = 16, OCT__LZ_SYMBOLS = 32768, OCT__LZ_LENGTHS = 288 };
typedef struct oct__deflate {
    oct__sink *sink;
    uint32_t   crc[256];
    int32_t    head[OCT__LZ_HASH], prev[OCT__LZ_WINDOW];   /* last place with a hash, and for a place the one before; -1: none */
    uint16_t   length[OCT__LZ_SYMBOLS], distance[OCT__LZ_SYMBOLS];  /* of a block: a match, or with distance 0 a byte */
    int        n_symbols;
    uint32_t   lit_freq[OCT__LZ_LENGTHS], dist_freq[30];
    uint8_t    lit_len[OCT__LZ_LENGTHS], dist_len[30];
    uint16_t   lit_code[OCT__LZ_LENGTHS], dist_code[30];
    uint64_t   bits;
    int        n_bits;
    unsigned char out[4 + 32768 + 8];      /* a chunk: its name, then its bytes */
    size_t     n_out;
} oct__deflate;

static uint32_t oct__png_crc_of(const oct__deflate *z, const unsigned char *p, size_t n) {
    uint32_t c = 0xFFFFFFFFu;
    for (; n > 0; n--, p++) c = z->crc[(c ^ *p) & 255] ^ c >> 8;
    return ~c;
}
static void oct__put_be32(unsigned char *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}
/* A chunk of PNG: data [4 + n] begins with its name. */
static void oct__png_chunk(oct__deflate *z, const unsigned char *data, size_t n) {
    unsigned char word[4];
    oct__put_be32(word, (uint32_t)n);
    oct__sink_put(z->sink, word, 4);
    oct__sink_put(z->sink, data, 4 + n);
    oct__put_be32(word, oct__png_crc_of(z, data, 4 + n));
    oct__sink_put(z->sink, word, 4);
}
static void oct__deflate_flush(oct__deflate *z) {
    if (z->n_out) oct__png_chunk(z, z->out, z->n_out);
    z->n_out = 0;
}
static void oct__deflate_byte(oct__deflate *z, unsigned c) {
    z->out[4 + z->n_out++] = (unsigned char)c;
    if (z->n_out == 32768) oct__deflate_flush(z);
}
/* n bits, lowest first; n at most 32. */
static void oct__deflate_bits(oct__deflate *z, uint32_t v, int n) {
    z->bits |= (uint64_t)v << z->n_bits;
    for (z->n_bits += n; z->n_bits >= 8; z->n_bits -= 8) {
        oct__deflate_byte(z, (unsigned)(z->bits & 255));
        z->bits >>= 8;
    }
}

/* Lengths of a prefix code for symbols [n] with these frequencies, none longer than limit.  Huffman's: the two rarest join,
 * again and again; leaves and joined nodes come in order, so two queues do. */
static void oct__huffman(const uint32_t *freq, int n, int limit, uint8_t *len) {
    uint16_t order[OCT__LZ_LENGTHS];
    uint32_t weight[2 * OCT__LZ_LENGTHS];
    uint16_t parent[2 * OCT__LZ_LENGTHS], depth[2 * OCT__LZ_LENGTHS];
    int used = 0, counts[64] = { 0 };
    memset(len, 0, (size_t)n);
    for (int i = 0; i < n; i++)
        if (freq[i]) order[used++] = (uint16_t)i;
    for (int i = 0; used < 2; i++)                        /* a code of one symbol is none: another one, never written */
        if (!freq[i]) order[used++] = (uint16_t)i;
    for (int i = 1; i < used; i++)
        for (int j = i; j > 0 && freq[order[j]] < freq[order[j - 1]]; j--) {
            const uint16_t o = order[j];
            order[j] = order[j - 1];
            order[j - 1] = o;
        }
    for (int i = 0; i < used; i++) weight[i] = freq[order[i]];
    const int root = 2 * used - 2;
    for (int node = used, leaf = 0, join = used; node <= root; node++) {
        weight[node] = 0;
        for (int k = 0; k < 2; k++) {
            const int i = join >= node || (leaf < used && weight[leaf] <= weight[join]) ? leaf++ : join++;
            weight[node] += weight[i];
            parent[i] = (uint16_t)node;
        }
    }
    depth[root] = 0;
    for (int i = root - 1; i >= 0; i--) {
        depth[i] = (uint16_t)(depth[parent[i]] + 1);
        if (i < used) counts[OCT__MIN((int)depth[i], limit)]++;
    }
    /* those cut to the limit take too much room: a shorter one grows for each, until all fits */
    uint32_t room = 0;
    for (int l = 1; l <= limit; l++) room += (uint32_t)counts[l] << (limit - l);
    for (; room > 1u << limit; room--) {
        int l = limit - 1;
        while (counts[l] == 0) l--;
        counts[limit]--;
        counts[l]--;
        counts[l + 1] += 2;
    }
    for (int l = limit, i = 0; l > 0; l--)                /* the rarest get the longest */
        for (int k = 0; k < counts[l]; k++) len[order[i++]] = (uint8_t)l;
}
/* Codes of these lengths, their bits in the order in which they are written. */
static void oct__huffman_codes(const uint8_t *len, int n, uint16_t *code) {
    unsigned next[16] = { 0 }, counts[16] = { 0 };
    for (int i = 0; i < n; i++) counts[len[i]]++;
    counts[0] = 0;
    for (int l = 1; l < 16; l++) next[l] = (next[l - 1] + counts[l - 1]) << 1;
    for (int i = 0; i < n; i++) {
        unsigned v = len[i] ? next[len[i]]++ : 0, turned = 0;
        for (int b = 0; b < len[i]; b++, v >>= 1) turned = turned << 1 | (v & 1);
        code[i] = (uint16_t)turned;
    }
}
/* The symbol of a length (3 to 258) or a distance (1 to 32768), and its extra bits. */
static unsigned oct__lz_length(unsigned length, int *extra, unsigned *rest) {
    if (length == 258) {
        *extra = 0;
        *rest = 0;
        return 285;
    }
    unsigned v = length - 3, shift = 0;
    while (v >> shift >= 8) shift++;
    *extra = (int)shift;
    *rest = v & ((1u << shift) - 1);
    return 257 + 4 * shift + (v >> shift);
}
static unsigned oct__lz_distance(unsigned distance, int *extra, unsigned *rest) {
    unsigned v = distance - 1, shift = 0;
    while (v >> shift >= 4) shift++;
    *extra = (int)shift;
    *rest = v & ((1u << shift) - 1);
    return 2 * shift + (v >> shift);
}
/* The two codes' lengths, in a code of their own: runs are symbols 16 (the one before), 17 and 18 (zeros). */
static void oct__deflate_codes(oct__deflate *z, int n_lit, int n_dist) {
    static const uint8_t order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
    uint8_t all[OCT__LZ_LENGTHS + 30], symbol[OCT__LZ_LENGTHS + 30], rest[OCT__LZ_LENGTHS + 30], len[19];
    uint32_t freq[19] = { 0 };
    uint16_t code[19];
    const int n_all = n_lit + n_dist;
    int n = 0, n_order = 19;
    memcpy(all, z->lit_len, (size_t)n_lit);
    memcpy(all + n_lit, z->dist_len, (size_t)n_dist);
    for (int i = 0; i < n_all; ) {
        int run = 1;
        while (i + run < n_all && all[i + run] == all[i] && run < (all[i] ? 7 : 138)) run++;
        const bool zeros = !all[i] && run >= 3, again = all[i] && run >= 4;
        if (!zeros && !again) run = 1;
        symbol[n] = zeros ? run < 11 ? 17 : 18 : all[i];
        rest[n] = (uint8_t)(zeros ? run - (run < 11 ? 3 : 11) : 0);
        freq[symbol[n++]]++;
        if (again) {
            symbol[n] = 16;
            rest[n++] = (uint8_t)(run - 4);
            freq[16]++;
        }
        i += run;
    }
    oct__huffman(freq, 19, 7, len);
    oct__huffman_codes(len, 19, code);
    while (n_order > 4 && len[order[n_order - 1]] == 0) n_order--;
    oct__deflate_bits(z, (uint32_t)(n_lit - 257), 5);
    oct__deflate_bits(z, (uint32_t)(n_dist - 1), 5);
    oct__deflate_bits(z, (uint32_t)(n_order - 4), 4);
    for (int i = 0; i < n_order; i++) oct__deflate_bits(z, len[order[i]], 3);
    for (int i = 0; i < n; i++) {
        oct__deflate_bits(z, code[symbol[i]], len[symbol[i]]);
        if (symbol[i] >= 16) oct__deflate_bits(z, rest[i], symbol[i] == 16 ? 2 : symbol[i] == 17 ? 3 : 7);
    }
}
/* The symbols gathered, as one block with codes of its own.  (What does not shrink, noise, grows by under 0.1 %.) */
static void oct__deflate_block(oct__deflate *z, bool last) {
    int n_lit = 286, n_dist = 30, extra = 0;
    unsigned rest = 0;
    z->lit_freq[256] = 1;
    oct__huffman(z->lit_freq, 286, 15, z->lit_len);
    oct__huffman(z->dist_freq, 30, 15, z->dist_len);
    oct__huffman_codes(z->lit_len, 286, z->lit_code);
    oct__huffman_codes(z->dist_len, 30, z->dist_code);
    while (n_lit > 257 && z->lit_len[n_lit - 1] == 0) n_lit--;
    while (n_dist > 1 && z->dist_len[n_dist - 1] == 0) n_dist--;
    oct__deflate_bits(z, last ? 1 : 0, 1);
    oct__deflate_bits(z, 2, 2);
    oct__deflate_codes(z, n_lit, n_dist);
    for (int i = 0; i < z->n_symbols; i++) {
        unsigned s = z->distance[i] ? oct__lz_length(z->length[i], &extra, &rest) : z->length[i];
        oct__deflate_bits(z, z->lit_code[s], z->lit_len[s]);
        if (!z->distance[i]) continue;
        oct__deflate_bits(z, rest, extra);
        s = oct__lz_distance(z->distance[i], &extra, &rest);
        oct__deflate_bits(z, z->dist_code[s], z->dist_len[s]);
        oct__deflate_bits(z, rest, extra);
    }
    oct__deflate_bits(z, z->lit_code[256], z->lit_len[256]);
    memset(z->lit_freq, 0, sizeof z->lit_freq);
    memset(z->dist_freq, 0, sizeof z->dist_freq);
    z->n_symbols = 0;
}
static void oct__deflate_symbol(oct__deflate *z, unsigned length, unsigned distance) {
    int extra;
    unsigned rest;
    z->length[z->n_symbols] = (uint16_t)length;
    z->distance[z->n_symbols++] = (uint16_t)distance;
    z->lit_freq[distance ? oct__lz_length(length, &extra, &rest) : length]++;
    if (distance) z->dist_freq[oct__lz_distance(distance, &extra, &rest)]++;
    if (z->n_symbols == OCT__LZ_SYMBOLS) oct__deflate_block(z, false);
}
static uint32_t oct__lz_hash(const unsigned char *p) {
    return (((uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]) * 0x9E3779B1u) >> 17;
}
/* Enters the place `at` of in [n]; returns the last one with its hash, -1: none. */
static int64_t oct__lz_enter(oct__deflate *z, const unsigned char *in, size_t n, size_t at) {
    if (n - at < 3) return -1;
    const uint32_t h = oct__lz_hash(in + at);
    const int32_t before = z->head[h];
    z->prev[at % OCT__LZ_WINDOW] = before;
    z->head[h] = (int32_t)at;
    return before;
}
/* The longest match of what stands at `at` among the places from `from` on; its length, 0 below 3. */
static unsigned oct__lz_match(const oct__deflate *z, const unsigned char *in, size_t n, size_t at, int64_t from, unsigned *distance) {
    const size_t most = OCT__MIN(n - at, (size_t)258);
    size_t best = 2;
    for (int tries = OCT__LZ_CHAIN; from >= 0 && at - (size_t)from <= OCT__LZ_WINDOW - 1 && tries > 0 && best < most; tries--) {
        const unsigned char *a = in + from, *b = in + at;
        if (a[best] == b[best] && a[best - 1] == b[best - 1] && a[0] == b[0]) {
            size_t len = 0;
            while (len < most && a[len] == b[len]) len++;
            if (len > best) {
                best = len;
                *distance = (unsigned)(at - (size_t)from);
            }
        }
        const int64_t next = z->prev[(size_t)from % OCT__LZ_WINDOW];
        if (next >= from) break;                          /* the place has been taken by a later one */
        from = next;
    }
    return best > 2 ? (unsigned)best : 0;
}
/* in [n], n below 2^31, as a zlib stream.  A match is put off by a byte where a longer one begins there. */
static void oct__deflate_all(oct__deflate *z, const unsigned char *in, size_t n) {
    unsigned length = 0, distance = 0;
    memset(z->head, 0xFF, sizeof z->head);
    oct__deflate_byte(z, 0x78);
    oct__deflate_byte(z, 0x9C);
    for (size_t at = 0; at < n && !z->sink->refused; ) {
        const int64_t from = oct__lz_enter(z, in, n, at);
        unsigned next_distance = 0;
        const unsigned next = length < 32 ? oct__lz_match(z, in, n, at, from, &next_distance) : 0;
        if (length && next <= length) {                   /* the match that began a byte before */
            oct__deflate_symbol(z, length, distance);
            const size_t end = at - 1 + length;
            for (at++; at < end; at++) (void)oct__lz_enter(z, in, n, at);
            length = 0;
            continue;
        }
        if (length) oct__deflate_symbol(z, in[at - 1], 0);
        length = next;
        distance = next_distance;
        if (!length) oct__deflate_symbol(z, in[at], 0);
        at++;
    }
    if (length) oct__deflate_symbol(z, length, distance);
    oct__deflate_block(z, true);
    if (z->n_bits) oct__deflate_bits(z, 0, 8 - z->n_bits);
    const uint32_t sum = oct__adler32(in, n);
    for (int i = 24; i >= 0; i -= 8) oct__deflate_byte(z, sum >> i & 255);
}

/* --- PNG ---------------------------------------------------------------------------------------------- */

/* One row through filter `kind`: to [1 + n] gets the kind and what is left; returns how much that is.  up: the row before. */
static uint64_t oct__png_filter_row(int kind, const unsigned char *row, const unsigned char *up, size_t n, size_t step, unsigned char *to) {
    uint64_t sum = 0;
    to[0] = (unsigned char)kind;
    for (size_t i = 0; i < n; i++) {
        const int a = i >= step ? row[i - step] : 0, b = up ? up[i] : 0, c = up && i >= step ? up[i - step] : 0;
        int guess = 0;
        if (kind == 1) guess = a;
        else if (kind == 2) guess = b;
        else if (kind == 3) guess = (a + b) / 2;
        else if (kind == 4) {
            const int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
            guess = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        }
        const unsigned char v = (unsigned char)(row[i] - guess);
        to[1 + i] = v;
        sum += v < 128 ? v : 256u - v;
    }
    return sum;
}
static oct_result oct__png_all(const oct_image *image, const oct_allocator *a, oct__sink *sink, oct_error *err) {
    const size_t step = image->n_channels == 4 ? 4 : 3, n = (size_t)image->width * step;
    const size_t stride = image->stride_bytes ? image->stride_bytes : n;
    unsigned char head[17] = { 'I', 'H', 'D', 'R', 0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0 };
    size_t bytes;
    if (oct__mul(&bytes, n + 1, (size_t)image->height) || bytes > INT32_MAX)
        return oct__fail(err, OCT_E_LIMIT, "PNG: %d x %d pixels, expected fewer than 2^31 bytes of them", image->width, image->height);
    unsigned char *rows = (unsigned char *)oct__alloc(a, bytes), *tries = (unsigned char *)oct__alloc_n(a, 2, n + 1);
    oct__deflate *z = OCT__NEW(a, oct__deflate, 1);
    if (rows && tries && z) {
        for (int y = 0; y < image->height; y++) {         /* the filter that leaves least */
            const unsigned char *row = image->pixels + (size_t)y * stride, *up = y ? row - stride : NULL;
            unsigned char *best = rows + (size_t)y * (n + 1);
            uint64_t least = oct__png_filter_row(0, row, up, n, step, best);
            for (int kind = 1; kind <= 4; kind++) {
                const uint64_t sum = oct__png_filter_row(kind, row, up, n, step, tries);
                if (sum >= least) continue;
                least = sum;
                memcpy(best, tries, n + 1);
            }
        }
        memset(z, 0, sizeof *z);
        z->sink = sink;
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
            z->crc[i] = c;
        }
        memcpy(z->out, "IDAT", 4);
        oct__put_be32(head + 4, (uint32_t)image->width);
        oct__put_be32(head + 8, (uint32_t)image->height);
        head[13] = step == 4 ? 6 : 2;
        oct__sink_put(sink, "\x89PNG\r\n\x1a\n", 8);
        oct__png_chunk(z, head, 13);
        oct__deflate_all(z, rows, bytes);
        oct__deflate_flush(z);
        oct__png_chunk(z, (const unsigned char *)"IEND", 0);
    }
    const bool ok = rows && tries && z;
    oct__free(a, z);
    oct__free(a, tries);
    oct__free(a, rows);
    if (!ok) return oct__fail(err, OCT_E_MEMORY, "out of memory for %d x %d pixels as PNG", image->width, image->height);
    return sink->refused ? oct__fail(err, OCT_E_IO, "PNG: the writer gave up") : OCT_OK;
}
static void oct__sink_begin(oct__sink *k, oct_write_fn write, void *user) {
    k->write = write;
    k->user = user;
    k->refused = 0;
}

OCT_API oct_result oct_png_write(const oct_image *image, const oct_allocator *allocator, oct_write_fn write, void *user, oct_error *err) {
    static const oct_allocator plain = { NULL, NULL, NULL };
    oct__sink sink;
    const oct_result r = oct__draw_check(image, NULL, 0, err);
    if (r) return r;
    if (!write) return oct__fail(err, OCT_E_ARG, "write is NULL");
    oct__sink_begin(&sink, write, user);
    return oct__png_all(image, allocator ? allocator : &plain, &sink, err);
}

/* --- SVG ---------------------------------------------------------------------------------------------------- */

/* Bytes as base64, three at a time. */
typedef struct oct__base64 { oct__sink *to; unsigned char in[3]; int n; size_t n_out; char out[4096]; } oct__base64;
static void oct__base64_triple(oct__base64 *b) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = b->n; i < 3; i++) b->in[i] = 0;
    const uint32_t v = (uint32_t)b->in[0] << 16 | (uint32_t)b->in[1] << 8 | b->in[2];
    for (int i = 0; i < 4; i++) b->out[b->n_out++] = i <= b->n ? digits[v >> (18 - 6 * i) & 63] : '=';
    b->n = 0;
    if (b->n_out < sizeof b->out) return;
    oct__sink_put(b->to, b->out, b->n_out);
    b->n_out = 0;
}
static int oct__base64_write(void *user, const void *data, size_t n) {
    oct__base64 *b = (oct__base64 *)user;
    const unsigned char *p = (const unsigned char *)data;
    for (; n > 0; n--) {
        b->in[b->n++] = *p++;
        if (b->n == 3) oct__base64_triple(b);
    }
    return b->to->refused;
}
static void oct__svg_puts(oct__sink *k, const char *s) { oct__sink_put(k, s, strlen(s)); }
/* Text of XML: what would be markup, escaped; what XML has no place for, replaced. */
static void oct__svg_text(oct__sink *k, const char *s) {
    const size_t len = strlen(s);
    int32_t cp;
    for (size_t i = 0; i < len; ) {
        const size_t step = (size_t)oct__utf8_decode(s + i, len - i, &cp);
        if (cp == '&') oct__svg_puts(k, "&amp;");
        else if (cp == '<') oct__svg_puts(k, "&lt;");
        else if (cp == '>') oct__svg_puts(k, "&gt;");
        else if (cp == '"') oct__svg_puts(k, "&quot;");
        else if (cp < 0x20 || cp == 0xFFFE || cp == 0xFFFF) oct__svg_puts(k, "\xEF\xBF\xBD");
        else oct__sink_put(k, s + i, step);
        i += step;
    }
}
static void oct__svg_area(oct__sink *k, oct__area a) {
    char s[120];
    snprintf(s, sizeof s, "x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"", a.x1, a.y1, a.x2 - a.x1, a.y2 - a.y1);
    oct__svg_puts(k, s);
}
static void oct__svg_colour(oct__sink *k, const unsigned char *c) {
    char s[16];
    snprintf(s, sizeof s, "#%02x%02x%02x", c[0], c[1], c[2]);
    oct__svg_puts(k, s);
}
static void oct__svg_box(oct__sink *k, const oct__pen *p, const oct__placed *q) {
    char s[200];
    oct__area middle = q->box;                            /* of the line */
    middle.x1 += p->line / 2;
    middle.y1 += p->line / 2;
    middle.x2 = OCT__MAX(middle.x2 - (p->line + 1) / 2, middle.x1);
    middle.y2 = OCT__MAX(middle.y2 - (p->line + 1) / 2, middle.y1);
    oct__svg_puts(k, "<g><title>");
    oct__svg_text(k, q->of->label);
    oct__svg_puts(k, "</title><rect ");
    oct__svg_area(k, middle);
    oct__svg_puts(k, " fill=\"none\" stroke=\"");
    oct__svg_colour(k, q->colour);
    snprintf(s, sizeof s, "\" stroke-width=\"%d\"/>", p->line);
    oct__svg_puts(k, s);
    if (q->n_chars) {
        oct__svg_puts(k, "<rect ");
        oct__svg_area(k, q->plate);
        oct__svg_puts(k, " fill=\"");
        oct__svg_colour(k, q->colour);
        snprintf(s, sizeof s, "\"/><text x=\"%d\" y=\"%d\" textLength=\"%d\" lengthAdjust=\"spacingAndGlyphs\" fill=\"%s\">",
                 q->plate.x1 + p->pad, q->plate.y1 + p->pad + 7 * p->scale, q->plate.x2 - q->plate.x1 - 2 * p->pad,
                 oct__is_light(q->colour) ? "#000" : "#fff");
        oct__svg_puts(k, s);
        oct__svg_text(k, q->of->label);
        oct__svg_puts(k, "</text>");
    }
    oct__svg_puts(k, "</g>\n");
}

OCT_API oct_result oct_svg_write(const oct_image *image, const oct_box *boxes, size_t n, const oct_allocator *allocator, oct_write_fn write,
                                 void *user, oct_error *err) {
    static const oct_allocator plain = { NULL, NULL, NULL };
    const oct_allocator *a = allocator ? allocator : &plain;
    oct__sink sink, inner;
    oct__base64 base64;
    oct__placed *placed;
    size_t count;
    char s[400];
    oct_result r = oct__draw_check(image, boxes, n, err);
    if (r) return r;
    if (!write) return oct__fail(err, OCT_E_ARG, "write is NULL");
    const oct__pen p = oct__pen_of(image->width, image->height);
    if ((r = oct__place(&p, boxes, n, a, &placed, &count, err)) != OCT_OK) return r;
    oct__sink_begin(&sink, write, user);
    memset(&base64, 0, sizeof base64);
    base64.to = &sink;
    oct__sink_begin(&inner, oct__base64_write, &base64);
    snprintf(s, sizeof s, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
             "font-family=\"monospace\" font-weight=\"bold\" font-size=\"%d\">\n<image width=\"%d\" height=\"%d\" "
             "href=\"data:image/png;base64,", p.width, p.height, p.width, p.height, 10 * p.scale, p.width, p.height);
    oct__svg_puts(&sink, s);
    r = oct__png_all(image, a, &inner, err);
    if (base64.n) oct__base64_triple(&base64);
    oct__sink_put(&sink, base64.out, base64.n_out);
    oct__svg_puts(&sink, "\"/>\n");
    for (size_t i = 0; i < count; i++) oct__svg_box(&sink, &p, &placed[i]);
    oct__svg_puts(&sink, "</svg>\n");
    oct__free(a, placed);
    if (!r && sink.refused) r = oct__fail(err, OCT_E_IO, "SVG: the writer gave up");
    return r;
}
#else
static oct_result oct__draw_left_out(oct_error *err) {
    return oct__fail(err, OCT_E_UNSUPPORTED, "built with OCTAVIUS_NO_PICTURES: nothing is drawn or written");
}
OCT_API oct_result oct_boxes_draw(oct_picture *picture, const oct_box *boxes, size_t n, oct_error *err) {
    OCT__UNUSED(picture), OCT__UNUSED(boxes), OCT__UNUSED(n);
    return oct__draw_left_out(err);
}
OCT_API oct_result oct_png_write(const oct_image *image, const oct_allocator *allocator, oct_write_fn write, void *user, oct_error *err) {
    OCT__UNUSED(image), OCT__UNUSED(allocator), OCT__UNUSED(write), OCT__UNUSED(user);
    return oct__draw_left_out(err);
}
OCT_API oct_result oct_svg_write(const oct_image *image, const oct_box *boxes, size_t n, const oct_allocator *allocator, oct_write_fn write,
                                 void *user, oct_error *err) {
    OCT__UNUSED(image), OCT__UNUSED(boxes), OCT__UNUSED(n), OCT__UNUSED(allocator), OCT__UNUSED(write), OCT__UNUSED(user);
    return oct__draw_left_out(err);
}
#endif /* OCTAVIUS_NO_PICTURES */

/* ==========================================================================
 * MARK: - 19. public
 * ==========================================================================
 * The functions of chapter 1: check the arguments, call the chapters, keep the
 * session's state true.  What a session knows at any time: positions 0 .. n_past-1
 * are in the cache; `last` may be an id already shown but not yet in the cache;
 * `turn` holds the rendered ids of what was fed since.
 *
 * A dialogue can be rendered anew (see "the gate" in chapter 1), so what the cache
 * holds is known in a second form: `parts`, the first `past` of them.  They begin
 * behind the n_fixed first positions, which are known by their ids alone; the
 * answer under way, from answer_from on, becomes a part when the next turn begins.
 * Sessions without a gate, and raw ones, know all positions by their ids (verbatim).
 */
struct oct_model {
    oct_model_desc desc;
    oct__source    source;
    oct__gguf      gguf;
    oct__vocab     vocab;
    oct__net       net;
    oct__vit       vit;
    oct_model     *mmproj;              /* the file that the tower stands in, where that is another; NULL: none */
    const oct__style *style;            /* recognised from the file; NULL before the vocabulary is loaded */
    unsigned char *banned;              /* [n_vocab] 1: no text stands for this id, never sampled */
    oct_sampling   sampling;            /* what the file recommends; zero where it says nothing */
    int            max_tokens;          /* likewise */
    oct__suffix    stops[OCT__STOPS];   /* [n_stops] */
    int            n_stops;
};

/* A picture that was encoded, known by its content. */
typedef struct oct__kept {
    uint64_t hash[2];
    uint64_t used;                      /* when; 0: empty, whatever rows holds */
    float   *rows;                      /* [oct__vit_tokens, n_embd]; NULL: no memory taken yet */
} oct__kept;

/* How much of a dialogue: lengths of the session's buffers. */
typedef struct oct__mark { size_t parts, bytes, rows; } oct__mark;

struct oct_session {
    const oct_model  *model;
    oct_session_desc  desc;             /* defaults filled in */
    oct_allocator     allocator;
    const oct__style *style;
    oct_string        system;           /* a copy in the arena; data NULL: the style's own */
    bool              own_memory;       /* the arena came from the allocator */
    oct_sampling      sampling;
    oct__compute      compute;
    oct__pass         pass;
    oct__sampler      sampler;
    oct__stream       stream;
    int32_t          *tokens;           /* [n_ctx] ids in the cache */
    unsigned char    *open;             /* [n_ctx] 1: after this position the answer is open (last of a turn, or answered) */
    int               n_past;
    bool              logits_valid;     /* pass.logits belong to position n_past - 1 */
    int32_t           last;             /* sampled, not yet in the cache; -1: none */
    int               n_generated;      /* tokens of this answer */
    oct_end           end;              /* of the answer; NONE: it goes on */
    bool              flushed;          /* the end's held-back text has been handed out */
    char              piece[OCT__PIECE_MAX];      /* the text of one token */
    oct__buf          parts, bytes;     /* the dialogue: oct__part with offsets into bytes */
    oct__buf          rows;             /* ... the rows of its pictures, from position 0 on: floats [.., n_embd] */
    oct__mark         past;             /* as much of it the cache holds; what follows is pending */
    bool              heard;            /* the first pending part is the answer that the cache ends in */
    bool              resumed;          /* the last part in the cache is the beginning of the answer */
    oct__buf          turn;             /* what is pending, or the whole dialogue, rendered: ids, one negative for each row */
    size_t            turn_suffix;      /* where in it the gate's text begins */
    int               n_fixed;          /* positions known by their ids, not by parts */
    int               answer_from;      /* the position at which the answer begins */
    int               suffix_from;      /* the gate is that of the ids in [suffix_from, suffix_to) */
    int               suffix_to;
    bool              changed;          /* the cache was computed under another gate or other adapters than those wanted now */
    bool              stale;            /* the cache does not hold what tokens says: it is computed again before it is used */
    int32_t           stop_id;          /* the style's stop string as a token of its own; -1: none */
    oct__gate_rule    gate_rule;        /* what the user wants of the LoRA experts' gate */
    size_t            lora_columns;     /* room in the pass's group.h */
    float            *lora_h;           /* that, where adapters needed more than the arena has; else NULL */
    oct__kept        *kept;             /* [desc.image_cache] pictures encoded before */
    uint64_t          kept_clock;       /* counts uses of them */
    oct__guard        guard;            /* desc.boxes */
    oct_session_stats stats;
};

struct oct_embeds {
    const oct_model *model;             /* whose rows these are */
    oct_allocator    allocator;
    int              n_tokens, n_embd;
    float           *data;              /* [n_tokens, n_embd] */
};

OCT_API const char *oct_result_name(oct_result code) {
    switch (code) {
        case OCT_OK: return "OCT_OK";
        case OCT_E_ARG: return "OCT_E_ARG";
        case OCT_E_IO: return "OCT_E_IO";
        case OCT_E_FORMAT: return "OCT_E_FORMAT";
        case OCT_E_UNSUPPORTED: return "OCT_E_UNSUPPORTED";
        case OCT_E_MEMORY: return "OCT_E_MEMORY";
        case OCT_E_LIMIT: return "OCT_E_LIMIT";
        case OCT_E_CONTEXT: return "OCT_E_CONTEXT";
        case OCT_E_ABORTED: return "OCT_E_ABORTED";
        case OCT_E_STATE: return "OCT_E_STATE";
    }
    return "unknown result";
}

/* --- model --------------------------------------------------------------------- */

/* Allocates the model and copies the desc; everything else in it is zero. */
static oct_result oct__model_new(oct_model **out, const oct_model_desc *desc, oct_error *err) {
    oct_model_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if ((d.allocator.alloc == NULL) != (d.allocator.free == NULL))
        return oct__fail(err, OCT_E_ARG, "allocator: only one of alloc and free is set, expected both or neither");
    if ((int)d.load < 0 || d.load > OCT_LOAD_DIRECTORY)
        return oct__fail(err, OCT_E_ARG, "load: %d, expected an oct_load", (int)d.load);
    oct_model *m = OCT__NEW(&d.allocator, oct_model, 1);
    if (!m) return oct__fail(err, OCT_E_MEMORY, "out of memory for the model's %zu bytes", sizeof *m);
    memset(m, 0, sizeof *m);
    m->desc = d;
    *out = m;
    return OCT_OK;
}

static oct_result oct__model_ban(oct_model *m, oct_error *err) {
    const int n = m->net.n_vocab;
    int allowed = 0;
    if (m->vocab.n_tokens > n)
        return oct__fail(err, OCT_E_FORMAT, "tensor 'token_embd.weight': %d rows, expected at least the vocabulary's %d", n, m->vocab.n_tokens);
    m->banned = OCT__NEW(&m->desc.allocator, unsigned char, (size_t)n);
    if (!m->banned) return oct__fail(err, OCT_E_MEMORY, "out of memory for %d vocabulary flags", n);
    for (int i = 0; i < n; i++) {
        m->banned[i] = i >= m->vocab.n_tokens || !oct__vocab_is_real(&m->vocab, i);
        allowed += !m->banned[i];
    }
    if (!allowed) return oct__fail(err, OCT_E_FORMAT, "tokenizer.ggml.token_type: no token that could be sampled");
    return OCT_OK;
}

/* The key under which the file recommends a sampling setting: octavius.sampling.NAME, else general.sampling.NAME. */
static const char *oct__model_sampling_key(const oct_model *m, const char *name, char *key, size_t cap) {
    snprintf(key, cap, "octavius.sampling.%s", name);
    if (!oct__gguf_find(&m->gguf, key)) snprintf(key, cap, "general.sampling.%s", name);
    return key;
}
static oct_result oct__model_recommended(const oct_model *m, const char *name, double max, float *out, oct_error *err) {
    char key[64];
    double v = 0.0;
    oct_result r = oct__gguf_real(&m->gguf, oct__model_sampling_key(m, name, key, sizeof key), 0.0, max, 0.0, &v, err);
    if (!r) *out = (float)v;
    return r;
}
static oct_result oct__model_sampling(oct_model *m, oct_error *err) {
    oct_sampling *p = &m->sampling;
    char key[64];
    int64_t top_k = 0;
    oct_result r;
    if ((r = oct__gguf_int(&m->gguf, oct__model_sampling_key(m, "top_k", key, sizeof key), 0, 1 << 24, 0, &top_k, err)) != OCT_OK ||
        (r = oct__model_recommended(m, "temp", 1e6, &p->temperature, err)) != OCT_OK ||
        (r = oct__model_recommended(m, "top_p", 1.0, &p->top_p, err)) != OCT_OK ||
        (r = oct__model_recommended(m, "min_p", 1.0, &p->min_p, err)) != OCT_OK ||
        (r = oct__model_recommended(m, "penalty_repeat", 1e6, &p->repeat_penalty, err)) != OCT_OK)
        return r;
    p->top_k = (int)top_k;
    int64_t max_tokens = 0;
    if ((r = oct__gguf_int(&m->gguf, "octavius.max_tokens", 0, INT_MAX, 0, &max_tokens, err)) != OCT_OK) return r;
    m->max_tokens = (int)max_tokens;
    return oct__suffixes_load(&m->gguf, m->vocab.n_tokens, m->stops, &m->n_stops, err);
}

/* What a person would want to know about the file, for the log. */
static void oct__model_report(const oct_model *m) {
    oct_string arch = oct__str("");
    (void)oct__gguf_text(&m->gguf, "general.architecture", "", &arch, NULL);
    oct__log(&m->desc, OCT_LOG_INFO, "%.*s: %d layers of %d, %d heads, vocabulary of %d, prompt style %s", OCT__S(arch), m->net.n_layer,
             m->net.n_embd, m->net.n_head, m->net.n_vocab, m->style->name);
    oct_string style;
    if (!oct__style_named(&m->gguf, &style) && style.len > 0)
        oct__log(&m->desc, OCT_LOG_WARN, "octavius.prompt_style: '%.*s' is not known to this version", OCT__S(style));
    if (m->vocab.guessed)
        oct__log(&m->desc, OCT_LOG_WARN, "tokenizer.ggml.pre: missing or \"default\"; tokens may differ from the model's own");
}

/* The vision tower: in the file itself, or in the one opened beside it. */
static oct_result oct__model_vision(oct_model *m, const char *mmproj, oct_error *err) {
    const bool own = oct__vit_in(&m->gguf);
    oct_model_desc desc = m->desc;
    if (!own && !mmproj) return OCT_OK;
    if (own && mmproj) return oct__fail(err, OCT_E_ARG, "mmproj '%.100s': the model has a vision tower of its own", mmproj);
    if (own) return oct__vit_load(&m->vit, &m->gguf, &m->desc.allocator, m->net.n_embd, err);
    desc.load = OCT_LOAD_DIRECTORY;
    desc.mmproj = NULL;
    const oct_result r = oct_model_open(&m->mmproj, mmproj, &desc, err);
    return r ? r : oct__vit_load(&m->vit, &m->mmproj->gguf, &m->desc.allocator, m->net.n_embd, err);
}

/* The source is open: read what the desc asks for. */
static oct_result oct__model_load(oct_model *m, oct_error *err) {
    const oct_allocator *a = &m->desc.allocator;
    oct_result r = oct__gguf_parse(&m->gguf, a, m->source.parts, m->source.n_parts, err);
    if (r) return r;
    if (m->desc.load == OCT_LOAD_DIRECTORY) return OCT_OK;
    if ((r = oct__vocab_load(&m->vocab, &m->gguf, a, err)) != OCT_OK) return r;
    m->style = oct__style_match(&m->gguf, &m->vocab);
    if (m->desc.load == OCT_LOAD_VOCAB) return OCT_OK;
    if ((r = oct__net_bind(&m->net, &m->gguf, a, err)) != OCT_OK || (r = oct__model_ban(m, err)) != OCT_OK ||
        (r = oct__model_sampling(m, err)) != OCT_OK || (r = oct__model_vision(m, m->desc.mmproj, err)) != OCT_OK)
        return r;
    m->desc.mmproj = NULL;              /* the caller's string may go */
    oct__model_report(m);
    return OCT_OK;
}

/* Finishes an opening: r is how opening the source went. */
static oct_result oct__model_finish(oct_model **out, oct_model *m, oct_result r, oct_error *err) {
    if (!r) r = oct__model_load(m, err);
    if (r) oct_model_close(m);
    else *out = m;
    return r;
}

/* Outputs are defined before anything can fail. */
static oct_result oct__model_begin(oct_model **out, oct_error *err) {
    if (err) {
        err->code = OCT_OK;
        err->message[0] = 0;
    }
    if (!out) return oct__fail(err, OCT_E_ARG, "out is NULL");
    *out = NULL;
    return OCT_OK;
}

OCT_API oct_result oct_model_open(oct_model **out, const char *path, const oct_model_desc *desc, oct_error *err) {
    oct_model *m = NULL;
    oct_result r = oct__model_begin(out, err);
    if (!r && !path) r = oct__fail(err, OCT_E_ARG, "path is NULL");
    if (r || (r = oct__model_new(&m, desc, err)) != OCT_OK) return r;
#if defined(OCTAVIUS_NO_STDIO)
    return oct__model_finish(out, m, oct__fail(err, OCT_E_UNSUPPORTED, "built with OCTAVIUS_NO_STDIO: open from memory or a reader"), err);
#else
    return oct__model_finish(out, m, oct__source_open_path(&m->source, &m->desc.allocator, path, &m->desc, err), err);
#endif
}

OCT_API oct_result oct_model_open_memory(oct_model **out, const void *data, size_t bytes, const oct_model_desc *desc, oct_error *err) {
    oct_string part;
    part.data = (const char *)data;
    part.len = bytes;
    return oct_model_open_parts(out, &part, 1, desc, err);
}

OCT_API oct_result oct_model_open_parts(oct_model **out, const oct_string *parts, int n_parts, const oct_model_desc *desc,
                                        oct_error *err) {
    oct_model *m = NULL;
    oct_result r = oct__model_begin(out, err);
    if (!r && (!parts || n_parts < 1)) r = oct__fail(err, OCT_E_ARG, "parts: %d, expected at least 1", parts ? n_parts : 0);
    for (int i = 0; !r && i < n_parts; i++)
        if (!parts[i].data) r = oct__fail(err, OCT_E_ARG, "part %d: data is NULL", i);
    if (r || (r = oct__model_new(&m, desc, err)) != OCT_OK) return r;
    return oct__model_finish(out, m, oct__source_open_parts(&m->source, &m->desc.allocator, parts, n_parts, err), err);
}

OCT_API oct_result oct_model_open_reader(oct_model **out, const oct_reader *reader, const oct_model_desc *desc, oct_error *err) {
    oct_model *m = NULL;
    oct_result r = oct__model_begin(out, err);
    if (!r && (!reader || !reader->read)) r = oct__fail(err, OCT_E_ARG, "reader: read is NULL");
    if (r || (r = oct__model_new(&m, desc, err)) != OCT_OK) return r;
    return oct__model_finish(out, m, oct__source_open_reader(&m->source, &m->desc.allocator, reader, &m->desc, err), err);
}

OCT_API void oct_model_close(oct_model *m) {
    if (!m) return;
    const oct_allocator a = m->desc.allocator;
    oct__free(&a, m->banned);
    oct__vit_free(&m->vit, &a);
    oct_model_close(m->mmproj);
    oct__net_free(&m->net, &a);
    oct__vocab_free(&m->vocab);
    oct__gguf_free(&m->gguf);
    oct__source_close(&m->source);
    oct__free(&a, m);
}

OCT_API void oct_model_info_get(const oct_model *m, oct_model_info *out) {
    oct_error ignored;
    if (!out) return;
    memset(out, 0, sizeof *out);
    out->bos = out->eos = -1;
    if (!m) return;
    if (oct__gguf_text(&m->gguf, "general.architecture", "", &out->architecture, &ignored)) out->architecture = oct__str("");
    if (oct__gguf_text(&m->gguf, "general.name", "", &out->name, &ignored)) out->name = oct__str("");
    out->prompt_style = oct__str(m->style ? m->style->name : "");
    out->n_vocab = m->net.n_vocab;
    out->n_ctx_train = m->net.n_ctx_train;
    out->n_embd = m->net.n_embd;
    out->n_layer = m->net.n_layer;
    out->n_head = m->net.n_head;
    out->n_kv = m->net.n_kv;
    out->d_head = m->net.d_head;
    out->n_ff = OCT__MAX(m->net.n_ff, m->net.moe_ff);
    out->n_expert = m->net.n_expert;
    out->k_top = m->net.moe.k;
    if (m->vocab.n_tokens > 0) {
        out->bos = m->vocab.bos;
        out->eos = m->vocab.eos;
    }
    out->has_image = m->vit.present;
    out->image_tokens = m->vit.present ? oct__vit_tokens(&m->vit) : 0;
    out->n_gate = m->net.instance_gate.n_expert;
    out->n_params = m->gguf.n_params;
    out->file_bytes = m->gguf.file_bytes;
}

OCT_API size_t oct_model_meta_count(const oct_model *m) { return m ? m->gguf.n_metas : 0; }
OCT_API oct_result oct_model_meta(const oct_model *m, size_t i, oct_meta *out) {
    if (!m || !out || i >= m->gguf.n_metas) return OCT_E_ARG;
    *out = m->gguf.metas[i];
    return OCT_OK;
}
OCT_API oct_result oct_model_meta_find(const oct_model *m, const char *key, oct_meta *out) {
    const oct_meta *found = m && key && out ? oct__gguf_find(&m->gguf, key) : NULL;
    if (!found) return OCT_E_ARG;
    *out = *found;
    return OCT_OK;
}
OCT_API oct_result oct_meta_item(const oct_meta *array, uint64_t i, size_t *cursor, oct_meta *out) {
    return array && out ? oct__meta_item(array, i, cursor, out) : OCT_E_ARG;
}
OCT_API size_t oct_model_tensor_count(const oct_model *m) { return m ? m->gguf.n_tensors : 0; }
OCT_API oct_result oct_model_tensor(const oct_model *m, size_t i, oct_tensor *out) {
    if (!m || !out || i >= m->gguf.n_tensors) return OCT_E_ARG;
    *out = m->gguf.tensors[i];
    return OCT_OK;
}
OCT_API oct_result oct_model_tensor_find(const oct_model *m, const char *name, oct_tensor *out) {
    const oct_tensor *found = m && name && out ? oct__gguf_tensor(&m->gguf, oct__str(name)) : NULL;
    if (!found) return OCT_E_ARG;
    *out = *found;
    return OCT_OK;
}
OCT_API oct_result oct_tensor_row(const oct_tensor *t, int64_t row, float *out, oct_error *err) {
    if (!t || !out) return oct__fail(err, OCT_E_ARG, "tensor or out is NULL");
    if (!oct__type(t->type)) return oct__fail(err, OCT_E_UNSUPPORTED, "tensor '%.*s': type %s cannot be read as F32", OCT__S(t->name), t->type_name);
    if (row < 0 || row >= t->ne[1] * t->ne[2] * t->ne[3])
        return oct__fail(err, OCT_E_ARG, "row %lld of tensor '%.*s', expected 0 to %lld", (long long)row, OCT__S(t->name),
                         (long long)(t->ne[1] * t->ne[2] * t->ne[3] - 1));
    oct__dequant_row(t->type, (const unsigned char *)t->data + (size_t)row * oct__row_bytes(t->type, t->ne[0]), out, t->ne[0]);
    return OCT_OK;
}

/* --- text and ids ------------------------------------------------------------------ */

OCT_API oct_result oct_tokenize(const oct_model *m, const char *text, size_t len, unsigned flags, int32_t *ids, size_t cap, size_t *n,
                                oct_error *err) {
    if (!m || (!text && len) || !n) return oct__fail(err, OCT_E_ARG, "model, text or n is NULL");
    if (m->desc.load == OCT_LOAD_DIRECTORY) return oct__fail(err, OCT_E_STATE, "the model was opened without its vocabulary");
    oct__buf b;
    memset(&b, 0, sizeof b);
    b.allocator = &m->desc.allocator;
    *n = 0;
    oct_result r = OCT_OK;
    if ((flags & OCT_TEXT_BOS) && m->vocab.add_bos && m->vocab.bos >= 0 && oct__ids_push(&b, m->vocab.bos))
        r = oct__fail(err, OCT_E_MEMORY, "out of memory for token ids");
    if (!r) r = oct__vocab_encode(&m->vocab, text, len, (flags & OCT_TEXT_SPECIAL) ? (unsigned)OCT__ENC_SPECIAL : 0u, &b, err);
    if (!r) {
        *n = oct__ids_count(&b);
        if (ids && *n > cap) r = oct__fail(err, OCT_E_LIMIT, "ids: room for %zu, expected %zu", cap, *n);
        else if (ids && *n) memcpy(ids, b.data, b.len);
    }
    oct__buf_free(&b);
    return r;
}

OCT_API oct_result oct_detokenize(const oct_model *m, const int32_t *ids, size_t n_ids, unsigned flags, char *text, size_t cap, size_t *len,
                                  oct_error *err) {
    if (!m || (!ids && n_ids) || !len) return oct__fail(err, OCT_E_ARG, "model, ids or len is NULL");
    if (m->desc.load == OCT_LOAD_DIRECTORY) return oct__fail(err, OCT_E_STATE, "the model was opened without its vocabulary");
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= m->vocab.n_tokens)
            return oct__fail(err, OCT_E_ARG, "id %d at %zu, expected 0 to %d", (int)ids[i], i, m->vocab.n_tokens - 1);
    *len = oct__vocab_decode(&m->vocab, ids, n_ids, flags, text, text ? cap : 0);
    if (text && *len > cap) return oct__fail(err, OCT_E_LIMIT, "text: room for %zu bytes, expected %zu", cap, *len);
    return OCT_OK;
}

/* --- session: open ------------------------------------------------------------------- */

OCT_API int oct_isa_available(oct_isa isa) { return oct__kernels_pick(isa) != NULL; }
OCT_API const char *oct_isa_name(oct_isa isa) {
    const oct__kernels *k = oct__kernels_pick(isa);
    return k ? k->name : "not available";
}
OCT_API const char *oct_prompt_style_name(int i) { return oct__style_name(i); }

static oct_result oct__sampling_check(const oct_sampling *s, oct_error *err) {
    if (!(fabsf(s->temperature) <= 1e6f) || !(s->top_p >= 0.0f && s->top_p <= 1.0f) || !(s->min_p >= 0.0f && s->min_p <= 1.0f))
        return oct__fail(err, OCT_E_ARG, "sampling: temperature must be finite, top_p and min_p 0 to 1");
    if (s->top_k < 0 || !(s->repeat_penalty >= 0.0f && s->repeat_penalty <= 1e6f) || !(fabsf(s->frequency_penalty) <= 1e6f) ||
        !(fabsf(s->presence_penalty) <= 1e6f))
        return oct__fail(err, OCT_E_ARG, "sampling: top_k and repeat_penalty must not be negative, penalties must be finite");
    return OCT_OK;
}

/* Zeroes become defaults; what cannot be is refused. */
static oct_result oct__session_defaults(oct_session_desc *d, const oct_model *m, const oct__style **style, oct_error *err) {
    if (m->desc.load != OCT_LOAD_ALL) return oct__fail(err, OCT_E_STATE, "the model was opened without its weights");
    if (d->n_ctx == 0) d->n_ctx = OCT__MIN(m->net.n_ctx_train, 4096);
    if (d->n_batch == 0) d->n_batch = m->net.moe.k ? 512 : 256;     /* an expert, once unpacked, meets only some of them */
    if (d->n_threads == 0) d->n_threads = OCT__MIN(oct__threads_default(d->parallel_for), 256);
    if (d->n_ctx < 1 || d->n_ctx > OCT__MAX_CTX) return oct__fail(err, OCT_E_ARG, "n_ctx: %d, expected 1 to %d", d->n_ctx, OCT__MAX_CTX);
    if (d->n_batch < 1 || d->n_batch > OCT__MAX_CTX) return oct__fail(err, OCT_E_ARG, "n_batch: %d, expected 1 to %d", d->n_batch, OCT__MAX_CTX);
    if (d->n_threads < 1 || d->n_threads > 256) return oct__fail(err, OCT_E_ARG, "n_threads: %d, expected 1 to 256", d->n_threads);
    if ((int)d->kv_type < 0 || d->kv_type > OCT_KV_Q8_0) return oct__fail(err, OCT_E_ARG, "kv_type: %d, expected an oct_kv_type", (int)d->kv_type);
    if ((int)d->isa < 0 || d->isa > OCT_ISA_NEON) return oct__fail(err, OCT_E_ARG, "isa: %d, expected an oct_isa", (int)d->isa);
    if (!oct__kernels_pick(d->isa)) return oct__fail(err, OCT_E_UNSUPPORTED, "isa: this machine or build lacks it");
    if (d->max_tokens < 0) return oct__fail(err, OCT_E_ARG, "max_tokens: %d, expected 0 or more", d->max_tokens);
    if (d->max_tokens == 0) d->max_tokens = m->max_tokens;
    if (d->image_cache == 0) d->image_cache = 4;
    if (d->image_cache > 1 << 16)
        return oct__fail(err, OCT_E_ARG, "image_cache: %d, expected at most %d", d->image_cache, 1 << 16);
    d->image_cache = OCT__MAX(d->image_cache, 0);
    d->n_batch = OCT__MIN(d->n_batch, d->n_ctx);
    if (d->capacity && m->net.moe.k && !m->net.moe.has_capacity)
        return oct__fail(err, OCT_E_ARG, "capacity: the file has no octavius.moe.capacity_factor");
    const oct_result r = d->boxes ? oct__guard_check(&m->vocab, m->banned, m->net.n_vocab, err) : OCT_OK;
    if (r) return r;
    *style = d->raw ? oct__style_find("raw") : d->prompt_style ? oct__style_find(d->prompt_style) : m->style;
    if (!*style) return oct__fail(err, OCT_E_ARG, "prompt_style: '%.60s' is not known", d->prompt_style ? d->prompt_style : "");
    return oct__sampling_check(&d->sampling, err);
}

/* Carves the session and everything it will ever use; s is scratch while counting. */
static void oct__session_take(oct__arena *a, oct_session *s) {
    const oct_session_desc *d = &s->desc;
    const oct__net *net = &s->model->net;
    s->pass.net = net;
    s->pass.n_batch = d->n_batch;
    s->pass.stage = d->stage;
    s->pass.stage_user = d->stage_user;
    s->pass.capacity = d->capacity != 0;
    s->pass.router = d->router;
    s->pass.router_user = d->router_user;
    s->tokens = OCT__TAKE(a, int32_t, (size_t)d->n_ctx);
    s->open = OCT__TAKE(a, unsigned char, (size_t)d->n_ctx);
    s->kept = OCT__TAKE(a, oct__kept, (size_t)d->image_cache);
    s->compute.scratch_bytes = oct__scratch_bytes(OCT__MAX(OCT__MAX(net->n_embd, net->n_out), net->n_ff), net->d_head);
    s->compute.scratch = (unsigned char *)oct__take(a, (size_t)d->n_threads, s->compute.scratch_bytes);
    oct__sampler_take(a, &s->sampler, net->n_vocab);
    if (d->boxes) oct__guard_take(a, &s->guard, net->n_vocab);
    char *copy = OCT__TAKE(a, char, d->system ? strlen(d->system) : 0);
    s->system.data = d->system ? copy : NULL;
    s->system.len = d->system ? strlen(d->system) : 0;
    oct__pass_take(a, &s->pass, d->n_ctx, d->kv_type);
}

static oct_result oct__session_size(const oct_model *m, const oct_session_desc *desc, oct_session *s, size_t *bytes, oct_error *err) {
    oct__arena count;
    memset(&count, 0, sizeof count);
    memset(s, 0, sizeof *s);
    if (desc) s->desc = *desc;
    s->model = m;
    oct_result r = oct__session_defaults(&s->desc, m, &s->style, err);
    if (r) return r;
    (void)OCT__TAKE(&count, oct_session, 1);
    oct__session_take(&count, s);
    if (count.failed || count.used > SIZE_MAX - OCT__ALIGN)
        return oct__fail(err, OCT_E_LIMIT, "n_ctx %d: the session's size overflows", s->desc.n_ctx);
    *bytes = count.used;
    return OCT_OK;
}

OCT_API oct_result oct_session_bytes(const oct_model *m, const oct_session_desc *desc, size_t *bytes, oct_error *err) {
    oct_session scratch;
    if (!m || !bytes) return oct__fail(err, OCT_E_ARG, "model or bytes is NULL");
    *bytes = 0;
    return oct__session_size(m, desc, &scratch, bytes, err);
}

static void oct__session_setup(oct_session *s) {
    s->pass.compute = &s->compute;
    s->compute.k = oct__kernels_pick(s->desc.isa);
    if (s->desc.n_ctx > s->model->net.n_ctx_train)
        oct__log(&s->model->desc, OCT_LOG_WARN, "n_ctx: %d, more than the %d the model was trained with", s->desc.n_ctx,
                 s->model->net.n_ctx_train);
    s->compute.pool.n_threads = s->desc.n_threads;
    s->compute.pool.parallel_for = s->desc.parallel_for;
    s->compute.pool.user = s->desc.parallel_user;
    s->compute.exact = s->desc.exact != 0;
    s->compute.abort = s->desc.abort;
    s->compute.abort_user = s->desc.abort_user;
    s->sampling = s->desc.sampling;
    s->lora_columns = s->model->net.lora_columns;
    for (int e = 0; e < s->model->net.instance_gate.n_expert; e++) s->pass.lora_gate[e] = 0.0f;
    s->parts.allocator = s->bytes.allocator = s->rows.allocator = s->turn.allocator = &s->allocator;
    if (s->desc.image_cache) memset(s->kept, 0, (size_t)s->desc.image_cache * sizeof *s->kept);
    s->stop_id = s->style->stop ? oct__vocab_find(&s->model->vocab, oct__str(s->style->stop)) : -1;
    if (!oct__vocab_is_control(&s->model->vocab, s->stop_id)) s->stop_id = -1;      /* as text it is found in the text */
    if (s->system.len) memcpy((char *)(uintptr_t)s->system.data, s->desc.system, s->system.len);
    s->desc.system = NULL;                              /* the caller's strings may go */
    s->desc.prompt_style = NULL;
    if (s->desc.boxes) oct__guard_init(&s->guard, &s->model->vocab, s->model->banned, s->model->net.n_vocab);
    oct_session_reset(s);
}

OCT_API oct_result oct_session_open(oct_session **out, const oct_model *m, const oct_session_desc *desc, oct_error *err) {
    oct_session scratch, *s;
    size_t bytes = 0;
    if (err) {
        err->code = OCT_OK;
        err->message[0] = 0;
    }
    if (!out) return oct__fail(err, OCT_E_ARG, "out is NULL");
    *out = NULL;
    if (!m) return oct__fail(err, OCT_E_ARG, "model is NULL");
    oct_result r = oct__session_size(m, desc, &scratch, &bytes, err);
    if (r) return r;
    unsigned char *memory = (unsigned char *)scratch.desc.memory;
    if (memory && ((uintptr_t)memory & (OCT__ALIGN - 1)))
        return oct__fail(err, OCT_E_ARG, "memory: not aligned to %d bytes", (int)OCT__ALIGN);
    if (memory && scratch.desc.memory_bytes < bytes)
        return oct__fail(err, OCT_E_MEMORY, "memory: %zu bytes, expected %zu", scratch.desc.memory_bytes, bytes);
    unsigned char *block = memory ? NULL : (unsigned char *)oct__alloc(&m->desc.allocator, bytes + OCT__ALIGN);
    if (!memory && !block) return oct__fail(err, OCT_E_MEMORY, "out of memory for a session of %zu bytes (n_ctx %d)", bytes, scratch.desc.n_ctx);
    if (block) memory = block + (OCT__ALIGN - (size_t)((uintptr_t)block & (OCT__ALIGN - 1))) % OCT__ALIGN;
    oct__arena arena;
    arena.base = memory;
    arena.used = 0;
    arena.cap = bytes;
    arena.failed = 0;
    s = OCT__TAKE(&arena, oct_session, 1);
    *s = scratch;
    s->allocator = m->desc.allocator;
    s->own_memory = block != NULL;
    s->desc.memory = block;                             /* what close gives back */
    oct__session_take(&arena, s);
    OCT__ASSERT(!arena.failed);
    oct__session_setup(s);
    *out = s;
    return OCT_OK;
}

OCT_API void oct_session_close(oct_session *s) {
    if (!s) return;
    const oct_allocator a = s->allocator;
    oct__buf_free(&s->parts);
    oct__buf_free(&s->bytes);
    oct__buf_free(&s->rows);
    oct__buf_free(&s->turn);
    oct__free(&a, s->lora_h);
    for (int i = 0; i < s->desc.image_cache; i++) oct__free(&a, s->kept[i].rows);
    if (s->own_memory) oct__free(&a, s->desc.memory);
}

/* The answer under way is forgotten; the cache is not touched. */
static void oct__session_answer_reset(oct_session *s) {
    s->last = -1;
    s->n_generated = 0;
    s->end = OCT_END_NONE;
    s->flushed = false;
    memset(&s->guard.now, 0, sizeof s->guard.now);
    oct__stream_reset(&s->stream, s->style->stop);
    if (s->resumed || s->n_past > s->answer_from) s->stream.after = OCT__AFTER_TEXT;
}
/* After a rewind: what the rule knows of the answer that the cache ends in. */
static void oct__session_guard(oct_session *s) {
    memset(&s->guard.now, 0, sizeof s->guard.now);
    if (!s->desc.boxes) return;
    int from = s->n_past;
    while (from > 0 && s->open[from - 1]) from--;       /* there the turn ends */
    for (int i = from + 1; i < s->n_past; i++) oct__guard_token(&s->guard, &s->model->vocab, s->tokens[i]);
    if (s->last >= 0) oct__guard_token(&s->guard, &s->model->vocab, s->last);
}

OCT_API void oct_session_reset(oct_session *s) {
    if (!s) return;
    memset(&s->past, 0, sizeof s->past);
    oct_feed_clear(s);
    s->n_past = s->n_fixed = s->answer_from = s->suffix_from = s->suffix_to = 0;
    s->logits_valid = s->resumed = s->changed = s->stale = false;
    const oct__net *net = &s->model->net;
    if (s->pass.counts)
        memset(s->pass.counts, 0, (size_t)net->n_layer * OCT_MODALITIES * (size_t)net->n_expert * sizeof *s->pass.counts);
    oct__session_answer_reset(s);
}

OCT_API oct_result oct_session_set_sampling(oct_session *s, const oct_sampling *sampling, oct_error *err) {
    oct_sampling zero;
    memset(&zero, 0, sizeof zero);
    if (!s) return oct__fail(err, OCT_E_ARG, "session is NULL");
    oct_result r = oct__sampling_check(sampling ? sampling : &zero, err);
    if (!r) s->sampling = sampling ? *sampling : zero;
    return r;
}

OCT_API void oct_session_set_max_tokens(oct_session *s, int max_tokens) {
    if (s) s->desc.max_tokens = max_tokens > 0 ? max_tokens : s->model->max_tokens;
}

/* --- adapters ---------------------------------------------------------------------------- */

/* The matrices of layer i's linears; those beside a fused attn_qkv are divided as it is. */
static oct_result oct__lora_layer(oct_lora *l, unsigned char *used, int i, oct_error *err) {
    const oct__net *net = &l->model->net;
    const oct__gguf *g = &l->file->gguf;
    oct__lora *of = l->layers + i * OCT__LINEARS, qkv;
    const int n_q = net->n_out, n_k = net->n_kv * net->d_head;
    char stem[96];
    oct_result r;
    memset(&qkv, 0, sizeof qkv);
    snprintf(stem, sizeof stem, "blk.%d.attn_qkv.weight", i);
    if (oct__gguf_tensor(&l->model->gguf, oct__str(stem)) &&
        (r = oct__lora_bind(g, used, stem, 1, n_q + 2 * n_k, net->n_embd, &qkv, err)) != OCT_OK)
        return r;
    for (int j = OCT__LIN_Q, row = 0; j <= OCT__LIN_V && qkv.n_expert; j++) {
        of[j] = qkv;
        of[j].b.rows = j == OCT__LIN_Q ? n_q : n_k;
        of[j].b.data += (size_t)row * qkv.b.row_bytes;
        row += of[j].b.rows;
    }
    for (int j = 0; j < OCT__LINEARS; j++) {
        const oct__mat *w = &oct__layer_linear(&net->layers[i], j)->w;
        snprintf(stem, sizeof stem, "blk.%d.%s.weight", i, oct__linear_names[j]);
        if (w->data && oct__bind_has(&l->model->gguf, i, j) && (r = oct__lora_bind(g, used, stem, 1, w->rows, w->cols, &of[j], err)) != OCT_OK)
            return r;
    }
    return OCT_OK;
}
/* token_embd's pair lies the other way round: a row of A for each token, and B turns it into an embedding. */
static oct_result oct__lora_ends(oct_lora *l, unsigned char *used, oct_error *err) {
    const oct__net *net = &l->model->net;
    const oct__gguf *g = &l->file->gguf;
    const oct_tensor *a, *b;
    const char *embd = "token_embd.weight";
    int rank = 0;
    oct_result r;
    if (oct__gguf_tensor(&l->model->gguf, oct__str("output.weight")) &&
        (r = oct__lora_bind(g, used, "output.weight", 1, net->n_vocab, net->n_embd, &l->output, err)) != OCT_OK)
        return r;
    if ((r = oct__lora_find(g, used, embd, "lora_a", 1, net->n_vocab, 0, &rank, &a, err)) != OCT_OK ||
        (r = oct__lora_find(g, used, embd, "lora_b", 1, net->n_embd, 0, &rank, &b, err)) != OCT_OK)
        return r;
    if (!a != !b) return oct__fail(err, OCT_E_FORMAT, "tensor '%s.lora_%c': missing, expected beside its twin", embd, a ? 'b' : 'a');
    if (!a) return OCT_OK;
    l->embd.n_expert = 1;
    l->embd.rank = rank;
    l->embd.a = oct__lora_mat(a, &l->embd.a_bytes);
    l->embd.b = oct__lora_mat(b, &l->embd.b_bytes);
    return OCT_OK;
}
/* alpha / rank, or 1 where the file gives no alpha. */
static void oct__lora_scale(oct__lora *l, double alpha) { l->by = alpha != 0.0 && l->rank ? (float)(alpha / l->rank) : 1.0f; }

static oct_result oct__lora_bind_all(oct_lora *l, unsigned char *used, oct_error *err) {
    const oct__gguf *g = &l->file->gguf;
    const int n_layer = l->model->net.n_layer;
    oct_string type, kind, arch, own;
    const oct_meta *tokens;
    double alpha;
    oct_result r;
    if ((r = oct__gguf_text(g, "general.type", "", &type, err)) != OCT_OK || (r = oct__gguf_text(g, "adapter.type", "", &kind, err)) != OCT_OK ||
        (r = oct__gguf_text(g, "general.architecture", "", &arch, err)) != OCT_OK ||
        (r = oct__gguf_text(&l->model->gguf, "general.architecture", "", &own, err)) != OCT_OK ||
        (r = oct__gguf_real(g, "adapter.lora.alpha", -1e6, 1e6, 0.0, &alpha, err)) != OCT_OK ||
        (r = oct__gguf_array(g, "adapter.alora.invocation_tokens", -1, 0, UINT32_MAX, &tokens, err)) != OCT_OK)
        return r;
    if (!oct__str_is(type, "adapter") || !oct__str_is(kind, "lora"))
        return oct__fail(err, OCT_E_UNSUPPORTED, "general.type '%.*s', adapter.type '%.*s': expected 'adapter' and 'lora'", OCT__S(type), OCT__S(kind));
    if (!oct__str_same(arch, own))
        return oct__fail(err, OCT_E_UNSUPPORTED, "general.architecture: an adapter for '%.*s', the model is '%.*s'", OCT__S(arch), OCT__S(own));
    if (tokens && tokens->count)
        return oct__fail(err, OCT_E_UNSUPPORTED, "adapter.alora.invocation_tokens: adapters that begin at certain tokens are not known to this version");
    for (int i = 0; i < n_layer; i++)
        if ((r = oct__lora_layer(l, used, i, err)) != OCT_OK) return r;
    if ((r = oct__lora_ends(l, used, err)) != OCT_OK) return r;
    for (int i = 0; i < n_layer * OCT__LINEARS; i++) oct__lora_scale(&l->layers[i], alpha);
    oct__lora_scale(&l->output, alpha);
    oct__lora_scale(&l->embd, alpha);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const oct_string name = g->tensors[i].name;
        if (used[i]) continue;
        if (oct__str_find(name, oct__str("_norm.weight"), 0) == SIZE_MAX)
            return oct__fail(err, OCT_E_UNSUPPORTED, "tensor '%.*s': the model has no linear of this name that an adapter could add to", OCT__S(name));
        oct__log(&l->model->desc, OCT_LOG_WARN, "tensor '%.*s': left out, adapters add to linears alone", OCT__S(name));
    }
    return OCT_OK;
}
/* The adapter's file is open, and will be the adapter's own. */
static oct_result oct__lora_finish(oct_lora **out, const oct_model *m, oct_model *file, oct_error *err) {
    const oct_allocator *a = &m->desc.allocator;
    const size_t n = (size_t)m->net.n_layer * OCT__LINEARS, n_used = file->gguf.n_tensors;
    oct_lora *l = OCT__NEW(a, oct_lora, 1);
    oct__lora *layers = OCT__NEW(a, oct__lora, n);
    unsigned char *used = OCT__NEW(a, unsigned char, n_used);
    if (!l || !layers || !used) {
        oct__free(a, l);
        oct__free(a, layers);
        oct__free(a, used);
        oct_model_close(file);
        return oct__fail(err, OCT_E_MEMORY, "out of memory for an adapter of %d layers", m->net.n_layer);
    }
    memset(l, 0, sizeof *l);
    memset(layers, 0, n * sizeof *layers);
    memset(used, 0, n_used);
    l->model = m;
    l->file = file;
    l->layers = layers;
    const oct_result r = oct__lora_bind_all(l, used, err);
    oct__free(a, used);
    if (r) oct_lora_close(l);
    else *out = l;
    return r;
}
static oct_result oct__lora_begin(oct_lora **out, const oct_model *m, oct_model_desc *desc, oct_error *err) {
    if (!out) return oct__fail(err, OCT_E_ARG, "out is NULL");
    *out = NULL;
    if (!m) return oct__fail(err, OCT_E_ARG, "model is NULL");
    if (m->desc.load != OCT_LOAD_ALL) return oct__fail(err, OCT_E_STATE, "the model was opened without its weights");
    *desc = m->desc;
    desc->load = OCT_LOAD_DIRECTORY;
    desc->mmproj = NULL;
    return OCT_OK;
}
OCT_API oct_result oct_lora_open(oct_lora **out, const oct_model *m, const char *path, oct_error *err) {
    oct_model_desc desc;
    oct_model *file = NULL;
    oct_result r = oct__lora_begin(out, m, &desc, err);
    if (!r) r = oct_model_open(&file, path, &desc, err);
    return r ? r : oct__lora_finish(out, m, file, err);
}
OCT_API oct_result oct_lora_open_memory(oct_lora **out, const oct_model *m, const void *data, size_t bytes, oct_error *err) {
    oct_model_desc desc;
    oct_model *file = NULL;
    oct_result r = oct__lora_begin(out, m, &desc, err);
    if (!r) r = oct_model_open_memory(&file, data, bytes, &desc, err);
    return r ? r : oct__lora_finish(out, m, file, err);
}
OCT_API void oct_lora_close(oct_lora *l) {
    if (!l) return;
    const oct_allocator a = l->model->desc.allocator;
    oct_model_close(l->file);
    oct__free(&a, l->layers);
    oct__free(&a, l);
}

/* Columns of h that the session's groups can need with these adapters. */
static size_t oct__session_columns(const oct_session *s, const oct_lora *const *loras, int n) {
    const oct__net *net = &s->model->net;
    size_t most = net->lora_columns, output = 0, embd = 0;
    for (int i = 0; i < net->n_layer; i++) {
        size_t columns = oct__lora_columns(net->layers[i].lora);
        for (int a = 0; a < n; a++) columns += oct__lora_columns(loras[a]->layers + i * OCT__LINEARS);
        most = OCT__MAX(most, columns);
    }
    for (int a = 0; a < n; a++) {
        output += (size_t)loras[a]->output.rank;
        embd += (size_t)loras[a]->embd.rank;
    }
    return OCT__MAX(most, OCT__MAX(output, embd));
}
static oct_result oct__session_change(oct_session *s, oct_error *err);
OCT_API oct_result oct_session_set_lora(oct_session *s, const oct_lora *const *loras, const float *scales, int n, oct_error *err) {
    if (!s) return oct__fail(err, OCT_E_ARG, "session is NULL");
    if (n < 0 || n > OCT_MAX_LORA || (n && !loras))
        return oct__fail(err, OCT_E_ARG, "loras: %d, expected 0 to %d", n && !loras ? 0 : n, (int)OCT_MAX_LORA);
    for (int i = 0; i < n; i++) {
        if (!loras[i] || loras[i]->model != s->model) return oct__fail(err, OCT_E_ARG, "lora %d: not one of the session's model", i);
        if (scales && !(fabsf(scales[i]) <= 1e6f)) return oct__fail(err, OCT_E_ARG, "scale %d: expected at most 1e6 either way", i);
    }
    const size_t columns = oct__session_columns(s, loras, n), rows = (size_t)s->desc.n_batch;
    size_t numbers;
    if (columns > s->lora_columns) {
        float *h = oct__mul(&numbers, columns, rows) ? NULL : OCT__NEW(&s->allocator, float, numbers);
        if (!h) return oct__fail(err, OCT_E_MEMORY, "out of memory for adapters: %d tokens, %zu ranks", s->desc.n_batch, columns);
        oct__free(&s->allocator, s->lora_h);
        s->pass.group.h = s->lora_h = h;
        s->lora_columns = columns;
    }
    const oct_result r = oct__session_change(s, err);
    if (r) return r;
    for (int i = 0; i < n; i++) {
        s->pass.adapters[i] = loras[i];
        s->pass.scales[i] = scales ? scales[i] : 1.0f;
    }
    s->pass.n_adapters = n;
    return OCT_OK;
}

/* --- the gate ---------------------------------------------------------------------------- */

/* All positions are known by their ids: a dialogue in text is not kept, since nothing asks for it. */
static bool oct__session_verbatim(const oct_session *s) {
    return s->model->net.instance_gate.n_expert == 0 || strcmp(s->style->name, "raw") == 0;
}
/* The next prefill computes all positions anew. */
static bool oct__session_anew(const oct_session *s) {
    const bool gate = s->model->net.instance_gate.n_expert > 0;
    return s->n_past > 0 && (s->changed || (gate && !s->desc.keep_gate));
}
static oct_result oct__feed_render(oct_session *s, oct_error *err);
/* The gate or the adapters become others than those that the cache was computed under. */
static oct_result oct__session_change(oct_session *s, oct_error *err) {
    const bool was = s->changed;
    if (s->n_past == 0) return OCT_OK;
    s->changed = true;
    if (s->parts.len == s->past.parts) return OCT_OK;
    const oct_result r = oct__feed_render(s, err);      /* what is pending may now be the whole dialogue */
    if (!r) return r;
    s->changed = was;
    if (oct__feed_render(s, NULL)) oct_feed_clear(s);
    return r;
}

/* A bit for each expert in list [n]. */
static oct_result oct__gate_bits(const char *name, const int *list, int n, int n_expert, uint64_t *bits, oct_error *err) {
    if (n < 0 || (n > 0 && !list)) return oct__fail(err, OCT_E_ARG, "%s: %d experts, expected a list", name, n);
    for (int i = 0; i < n; i++) {
        if (list[i] < 0 || list[i] >= n_expert)
            return oct__fail(err, OCT_E_ARG, "%s: expert %d, expected 0 to %d", name, list[i], n_expert - 1);
        *bits |= (uint64_t)1 << list[i];
    }
    return OCT_OK;
}
static oct_result oct__gate_read(const oct_gate *gate, int n_expert, oct__gate_rule *rule, oct_error *err) {
    const uint64_t all = n_expert == 64 ? UINT64_MAX : ((uint64_t)1 << n_expert) - 1;
    oct_result r = oct__gate_bits("pin", gate->pin, gate->n_pin, n_expert, &rule->pinned, err);
    if (!r) r = oct__gate_bits("mute", gate->mute, gate->n_mute, n_expert, &rule->muted, err);
    if (r) return r;
    if (((rule->pinned ? rule->pinned : all) & ~rule->muted) == 0)
        return oct__fail(err, OCT_E_ARG, "mute: no expert is left of the %d", rule->pinned ? gate->n_pin : n_expert);
    if (!gate->weights && gate->n_weights == 0) return OCT_OK;
    if (!gate->weights || gate->n_weights != n_expert)
        return oct__fail(err, OCT_E_ARG, "gate: %d weights, expected %d", gate->weights ? gate->n_weights : 0, n_expert);
    if (rule->pinned || rule->muted) return oct__fail(err, OCT_E_ARG, "gate: weights, and experts pinned or muted; expected one of them");
    rule->given = true;
    for (int e = 0; e < n_expert; e++) {
        if (!(fabsf(gate->weights[e]) <= 1e6f)) return oct__fail(err, OCT_E_ARG, "gate: weight %d, expected at most 1e6 either way", e);
        rule->weights[e] = gate->weights[e];
    }
    return OCT_OK;
}
OCT_API oct_result oct_session_set_gate(oct_session *s, const oct_gate *gate, oct_error *err) {
    oct__gate_rule rule, was;
    if (!s) return oct__fail(err, OCT_E_ARG, "session is NULL");
    const int n_expert = s->model->net.instance_gate.n_expert;
    if (n_expert == 0) return oct__fail(err, OCT_E_UNSUPPORTED, "the model has no LoRA experts, so no gate of theirs");
    memset(&rule, 0, sizeof rule);
    memcpy(&was, &s->gate_rule, sizeof was);
    oct_result r = gate ? oct__gate_read(gate, n_expert, &rule, err) : OCT_OK;
    if (r || memcmp(&rule, &was, sizeof rule) == 0) return r;
    memcpy(&s->gate_rule, &rule, sizeof rule);
    r = oct__session_change(s, err);
    if (r) memcpy(&s->gate_rule, &was, sizeof was);
    return r;
}
OCT_API const float *oct_session_gate(const oct_session *s, int *n) {
    const int n_expert = s && s->n_past > 0 ? s->model->net.instance_gate.n_expert : 0;
    if (n) *n = n_expert;
    return n_expert ? s->pass.lora_gate : NULL;
}

/* --- feed ------------------------------------------------------------------------------ */

OCT_API void oct_feed_clear(oct_session *s) {
    if (!s) return;
    s->parts.len = s->past.parts;
    s->bytes.len = s->past.bytes;
    s->rows.len = s->past.rows;
    s->turn.len = 0;
    s->heard = false;
}

/* Adds an id to the text of the answer that bytes end with. */
static oct_result oct__feed_hear(oct_session *s, oct__stream *st, int32_t id, oct_error *err) {
    char piece[OCT__PIECE_MAX];
    oct_string text;
    if (id < 0) return OCT_OK;
    const size_t n = oct__stream_piece(st, &s->model->vocab, id, piece);
    (void)oct__stream_push(st, piece, n, &text);
    return oct__buf_append(&s->bytes, text.data, text.len) ? oct__fail(err, OCT_E_MEMORY, "out of memory for the answer's text") : OCT_OK;
}
/* The first part of a new turn: the answer before it, as it was shown.  That follows from its ids, so oct_next need not keep it. */
static oct_result oct__feed_heard(oct_session *s, oct_error *err) {
    oct__part part;
    oct__stream st;
    oct_string rest;
    oct_result r = OCT_OK;
    if (s->parts.len > s->past.parts || s->n_past == 0 || oct__session_verbatim(s)) return OCT_OK;
    memset(&part, 0, sizeof part);
    part.kind = OCT__PART_ANSWER;
    part.offset = s->bytes.len;
    oct__stream_reset(&st, s->style->stop);
    st.after = s->resumed ? OCT__AFTER_TEXT : OCT__AFTER_NOTHING;
    for (int i = s->answer_from; i < s->n_past && !r; i++) r = oct__feed_hear(s, &st, s->tokens[i], err);
    if (!r) r = oct__feed_hear(s, &st, s->last, err);
    if (r) return r;
    if (s->flushed) {
        oct__stream_flush(&st, &rest);
        if (oct__buf_append(&s->bytes, rest.data, rest.len)) return oct__fail(err, OCT_E_MEMORY, "out of memory for the answer's text");
    }
    part.len = s->bytes.len - part.offset;
    if (oct__buf_append(&s->parts, &part, sizeof part)) return oct__fail(err, OCT_E_MEMORY, "out of memory for the answer's text");
    s->heard = true;
    return OCT_OK;
}

/* Renders what is pending, or the whole dialogue where that is to be computed anew.  Done while feeding, so that oct_next need
 * not allocate. */
static oct_result oct__feed_render(oct_session *s, oct_error *err) {
    oct__part *parts = (oct__part *)(void *)s->parts.data;
    const size_t n = s->parts.len / sizeof(oct__part);
    for (size_t i = 0; i < n; i++) parts[i].data = s->bytes.data ? s->bytes.data + parts[i].offset : NULL;   /* NULL: pictures alone */
    const bool whole = oct__session_anew(s) && !oct__session_verbatim(s);
    const size_t first = whole ? 0 : s->past.parts / sizeof(oct__part) + s->heard;
    const int before = whole ? s->n_fixed : s->n_past;
    const bool stopped = !whole && s->end == OCT_END_STOP && s->stop_id < 0;
    const bool open = before > 0 && s->open[before - 1];
    const int answer = !open ? OCT__ANSWER_NONE : stopped ? OCT__ANSWER_STOPPED : OCT__ANSWER_OPEN;
    s->turn.len = 0;
    s->turn_suffix = whole ? (size_t)OCT__MIN(s->suffix_from, s->n_fixed) : 0;
    if (whole && oct__buf_append(&s->turn, s->tokens, (size_t)before * sizeof *s->tokens))
        return oct__fail(err, OCT_E_MEMORY, "out of memory while rendering a prompt");
    return oct__style_render_for(s->style, &s->model->gguf, &s->model->vocab, s->system.data ? &s->system : NULL,
                                 n > first ? parts + first : NULL, (int)(n - first), before == 0 && (whole || s->last < 0), answer,
                                 &s->turn, &s->turn_suffix, err);
}

/* The dialogue as it was before a part that could not be added or rendered; what was there has been rendered before. */
static oct_result oct__feed_undo(oct_session *s, const oct__mark *was, bool heard, oct_result r) {
    s->parts.len = was->parts;
    s->bytes.len = was->bytes;
    s->rows.len = was->rows;
    s->heard = heard;
    s->turn.len = 0;
    if (s->parts.len > s->past.parts && oct__feed_render(s, NULL)) oct_feed_clear(s);
    return r;
}
static oct__mark oct__feed_mark(const oct_session *s) {
    oct__mark m;
    m.parts = s->parts.len;
    m.bytes = s->bytes.len;
    m.rows = s->rows.len;
    return m;
}

/* Appends bytes as a part, joined to the pending one before where the kind is the same; on failure nothing is fed. */
static oct_result oct__feed_append(oct_session *s, int kind, const void *data, size_t len, oct_error *err) {
    const oct__mark was = oct__feed_mark(s);
    const bool heard = s->heard;
    oct__part part;
    memset(&part, 0, sizeof part);
    if (len > (size_t)INT_MAX - was.bytes) return oct__fail(err, OCT_E_LIMIT, "fed %zu bytes, expected at most %d in a turn", len, INT_MAX);
    oct_result r = oct__feed_heard(s, err);
    if (r) return oct__feed_undo(s, &was, heard, r);
    const size_t had_bytes = s->bytes.len, had_parts = s->parts.len;
    oct__part *before = had_parts > s->past.parts + (s->heard ? sizeof part : 0) ? (oct__part *)(void *)(s->parts.data + had_parts - sizeof part) : NULL;
    const bool join = before && before->kind == kind;
    const size_t pad = kind == OCT__PART_IDS && !join ? (sizeof(int32_t) - had_bytes % sizeof(int32_t)) % sizeof(int32_t) : 0;
    part.kind = kind;
    part.offset = had_bytes + pad;
    part.len = len;
    if (oct__buf_append(&s->bytes, "\0\0\0", pad) || oct__buf_append(&s->bytes, data, len) ||
        (!join && oct__buf_append(&s->parts, &part, sizeof part))) {
        r = oct__fail(err, OCT_E_MEMORY, "out of memory for %zu bytes fed", len);
        return oct__feed_undo(s, &was, heard, r);
    }
    if (join) before->len += len;
    r = oct__feed_render(s, err);
    if (r && join) before->len -= len;
    return r ? oct__feed_undo(s, &was, heard, r) : OCT_OK;
}

/* Appends the rows [n_rows, n_embd] of a picture, likewise.  They are copied: whoever owns them may let them go. */
static oct_result oct__feed_rows(oct_session *s, const float *rows, int n_rows, oct_error *err) {
    const oct__mark was = oct__feed_mark(s);
    const bool heard = s->heard;
    size_t bytes;
    oct__part part;
    memset(&part, 0, sizeof part);
    part.kind = OCT__PART_IMAGE;
    part.len = (size_t)n_rows;
    oct_result r = oct__feed_heard(s, err);
    part.offset = s->bytes.len;
    if (!r && (oct__mul(&bytes, (size_t)n_rows, (size_t)s->model->net.n_embd * sizeof *rows) || oct__buf_append(&s->rows, rows, bytes) ||
               oct__buf_append(&s->parts, &part, sizeof part)))
        r = oct__fail(err, OCT_E_MEMORY, "out of memory for the %d rows of a picture", n_rows);
    if (!r) r = oct__feed_render(s, err);
    return r ? oct__feed_undo(s, &was, heard, r) : OCT_OK;
}

OCT_API oct_result oct_feed_answer(oct_session *s, const char *text, size_t len, oct_error *err) {
    if (!s || (!text && len)) return oct__fail(err, OCT_E_ARG, "session or text is NULL");
    return oct__feed_append(s, OCT__PART_ANSWER, text, len, err);
}

OCT_API oct_result oct_feed_text_n(oct_session *s, const char *text, size_t len, oct_error *err) {
    if (!s || (!text && len)) return oct__fail(err, OCT_E_ARG, "session or text is NULL");
    return oct__feed_append(s, OCT__PART_TEXT, text, len, err);
}

OCT_API oct_result oct_feed_text(oct_session *s, const char *text, oct_error *err) {
    if (!text) return oct__fail(err, OCT_E_ARG, "text is NULL");
    return oct_feed_text_n(s, text, strlen(text), err);
}

OCT_API oct_result oct_feed_tokens(oct_session *s, const int32_t *ids, size_t n, oct_error *err) {
    if (!s || (!ids && n)) return oct__fail(err, OCT_E_ARG, "session or ids is NULL");
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= s->model->net.n_vocab)
            return oct__fail(err, OCT_E_ARG, "id %d at %zu, expected 0 to %d", (int)ids[i], i, s->model->net.n_vocab - 1);
    if (n > (size_t)INT_MAX / sizeof *ids) return oct__fail(err, OCT_E_LIMIT, "fed %zu ids, expected at most %d", n, INT_MAX / 4);
    return oct__feed_append(s, OCT__PART_IDS, ids, n * sizeof *ids, err);
}

/* A handle with a copy of rows [n_tokens, n_embd]. */
static oct_result oct__embeds_new(oct_embeds **out, const oct_model *m, const float *rows, int n_tokens, oct_error *err) {
    const oct_allocator *a = &m->desc.allocator;
    const size_t n = (size_t)n_tokens * (size_t)m->net.n_embd;
    oct_embeds *e = OCT__NEW(a, oct_embeds, 1);
    float *data = OCT__NEW(a, float, n);
    if (!e || !data) {
        oct__free(a, e);
        oct__free(a, data);
        return oct__fail(err, OCT_E_MEMORY, "out of memory for the %d rows of a picture", n_tokens);
    }
    memcpy(data, rows, n * sizeof *data);
    e->model = m;
    e->n_tokens = n_tokens;
    e->n_embd = m->net.n_embd;
    e->data = data;
    e->allocator = *a;
    *out = e;
    return OCT_OK;
}

OCT_API oct_result oct_feed_embeds(oct_session *s, const oct_embeds *e, oct_error *err) {
    if (!s || !e) return oct__fail(err, OCT_E_ARG, "session or embeds is NULL");
    if (e->model != s->model) return oct__fail(err, OCT_E_ARG, "embeds: made with another model than the session's");
    return oct__feed_rows(s, e->data, e->n_tokens, err);
}

/* 128 bits of a picture's size and pixels, padding between rows apart.  Two pictures of one session that agree in them are
 * taken to be one: chance will not do it, and whoever looks for such a pair fools only the session he feeds. */
static void oct__image_hash(const oct_image *image, uint64_t hash[2]) {
    const size_t n = (size_t)image->width * (image->n_channels == 4 ? 4 : 3);
    uint64_t a = (uint64_t)(unsigned)image->width << 32 | (unsigned)image->height, b = (uint64_t)n << 1 | (image->nearest != 0);
    for (int y = 0; y < image->height; y++) {
        const unsigned char *row = image->pixels + (size_t)y * (image->stride_bytes ? image->stride_bytes : n);
        for (size_t i = 0; i < n; i += 8) {
            uint64_t w = 0;
            memcpy(&w, row + i, OCT__MIN(n - i, (size_t)8));
            a = (a ^ w) * 0x9E3779B97F4A7C15u;                      /* odd: nothing is lost */
            b = (b + w) * 0xD6E8FEB86659FD93u;
            a ^= a >> 29;
            b ^= b >> 32;
        }
    }
    hash[0] = a;
    hash[1] = b;
}

/* The place of a picture in the cache: where it is kept, else the one longest unused, marked empty.  NULL: no cache. */
static oct__kept *oct__kept_place(oct_session *s, const uint64_t hash[2]) {
    oct__kept *oldest = NULL;
    for (int i = 0; i < s->desc.image_cache; i++) {
        oct__kept *k = &s->kept[i];
        if (k->used && k->hash[0] == hash[0] && k->hash[1] == hash[1]) return k;
        if (!oldest || k->used < oldest->used) oldest = k;
    }
    if (oldest) oldest->used = 0;
    return oldest;
}

/* Rows of the text model that a picture becomes; 0: the model has no encoder. */
static int oct__session_image_rows(const oct_session *s) {
    return s->model->vit.present ? oct__vit_tokens(&s->model->vit) : 0;
}
/* Encodes into rows [n_rows, n_embd]; counts it. */
static oct_result oct__session_encode(oct_session *s, const oct_image *image, float *rows, oct_error *err) {
    oct__vit_watch watch;
    watch.progress = s->desc.progress;
    watch.progress_user = s->desc.progress_user;
    watch.stage = s->desc.stage;
    watch.stage_user = s->desc.stage_user;
    s->stats.images_encoded++;
    return oct__vit_encode(&s->model->vit, &s->compute, &s->allocator, image, NULL, &watch, rows, err);
}

/* The rows of a picture, from the cache or from the encoder: in *out, which is a place of the cache, or without one `alone`,
 * whose rows the caller frees. */
static oct_result oct__session_picture(oct_session *s, const oct_image *image, oct__kept *alone, oct__kept **out, oct_error *err) {
    uint64_t hash[2];
    memset(alone, 0, sizeof *alone);
    const int n_rows = oct__session_image_rows(s);
    if (n_rows == 0) return oct__fail(err, OCT_E_UNSUPPORTED, "the model has no image encoder");
    oct_result r = oct__image_check(image, err);
    if (r) return r;
    oct__image_hash(image, hash);
    oct__kept *k = oct__kept_place(s, hash);
    *out = k = k ? k : alone;
    if (k->used) {
        s->stats.images_reused++;
    } else {
        if (!k->rows) k->rows = OCT__NEW(&s->allocator, float, (size_t)n_rows * (size_t)s->model->net.n_embd);
        if (!k->rows) return oct__fail(err, OCT_E_MEMORY, "out of memory for the %d rows of a picture", n_rows);
        if ((r = oct__session_encode(s, image, k->rows, err)) != OCT_OK) return r;
        k->hash[0] = hash[0];
        k->hash[1] = hash[1];
    }
    k->used = ++s->kept_clock;
    return OCT_OK;
}

OCT_API oct_result oct_feed_image(oct_session *s, const oct_image *image, oct_error *err) {
    if (!s || !image || !image->pixels) return oct__fail(err, OCT_E_ARG, "session, image or its pixels is NULL");
    oct__kept alone, *k = NULL;
    oct_result r = oct__session_picture(s, image, &alone, &k, err);
    if (!r) r = oct__feed_rows(s, k->rows, oct__session_image_rows(s), err);
    oct__free(&s->allocator, alone.rows);
    return r;
}

OCT_API oct_result oct_encode_image(oct_embeds **out, oct_session *s, const oct_image *image, oct_error *err) {
    if (!out) return oct__fail(err, OCT_E_ARG, "out is NULL");
    *out = NULL;
    if (!s || !image || !image->pixels) return oct__fail(err, OCT_E_ARG, "session, image or its pixels is NULL");
    oct__kept alone, *k = NULL;
    oct_result r = oct__session_picture(s, image, &alone, &k, err);
    if (!r) r = oct__embeds_new(out, s->model, k->rows, oct__session_image_rows(s), err);
    oct__free(&s->allocator, alone.rows);
    return r;
}

OCT_API const float *oct_embeds_data(const oct_embeds *e, int *n_tokens, int *n_embd) {
    if (n_tokens) *n_tokens = e ? e->n_tokens : 0;
    if (n_embd) *n_embd = e ? e->n_embd : 0;
    return e ? e->data : NULL;
}

OCT_API void oct_embeds_close(oct_embeds *e) {
    if (!e) return;
    const oct_allocator a = e->allocator;
    oct__free(&a, e->data);
    oct__free(&a, e);
}

OCT_API oct_result oct_feed_points(oct_session *s, const oct_points *points, oct_error *err) {
    if (!s || !points || (points->count && !points->xyz)) return oct__fail(err, OCT_E_ARG, "session, points or their xyz is NULL");
    return oct__fail(err, OCT_E_UNSUPPORTED, "the model has no point-cloud encoder");
}

/* --- prefill and next ------------------------------------------------------------------- */

/* Computes ids [n] at positions pos ..., a batch at a time, with one of rows for each negative id. */
static oct_result oct__session_compute(oct_session *s, const int32_t *ids, const float *rows, int n, int pos, oct_error *err) {
    for (int i = 0; i < n; ) {
        const int batch = OCT__MIN(n - i, s->desc.n_batch);
        s->logits_valid = s->logits_valid && i + batch < n;      /* the final batch writes over them */
        oct_result r = oct__pass_run(&s->pass, ids + i, rows, batch, pos, i + batch == n, err);
        if (r) return r;
        for (int j = i; j < i + batch; j++)
            if (ids[j] < 0) rows += s->model->net.n_embd;
        i += batch;
        pos += batch;
        if (n > 1 && s->desc.progress && s->desc.progress(s->desc.progress_user, (float)i / (float)n))
            return oct__fail(err, OCT_E_ABORTED, "stopped by the progress callback at position %d", pos);
    }
    return OCT_OK;
}
static const float *oct__session_rows(const oct_session *s, size_t bytes) {
    return s->rows.data ? (const float *)(const void *)(s->rows.data + bytes) : NULL;
}

/* A prefill that failed half-way has written over the cache: what it held is computed again, to the same bits. */
static oct_result oct__session_recache(oct_session *s, oct_error *err) {
    if (!s->stale) return OCT_OK;
    oct_result r = oct__session_compute(s, s->tokens, oct__session_rows(s, 0), s->n_past, 0, err);
    s->stale = r != OCT_OK;
    s->logits_valid = r == OCT_OK && s->n_past > 0;
    return r;
}

/* Puts the last sampled id into the cache. */
static oct_result oct__session_commit(oct_session *s, oct_error *err) {
    if (s->n_past >= s->desc.n_ctx)
        return oct__fail(err, OCT_E_CONTEXT, "context full: %d positions, no room for another", s->desc.n_ctx);
    const int32_t id = s->last;
    oct_result r = oct__session_recache(s, err);
    if (!r) r = oct__session_compute(s, &id, NULL, 1, s->n_past, err);
    if (r) return r;
    s->tokens[s->n_past] = id;
    s->open[s->n_past++] = 1;
    s->last = -1;
    s->logits_valid = true;
    return OCT_OK;
}

/* After a rewind the logits are another position's: compute the last one again, to the same bits. */
static oct_result oct__session_refresh(oct_session *s, oct_error *err) {
    const int32_t id = s->tokens[s->n_past - 1];
    if (id < 0) return oct__fail(err, OCT_E_STATE, "position %d holds a picture or a cloud: feed text first", s->n_past - 1);
    oct_result r = oct__session_recache(s, err);
    if (!r && !s->logits_valid) r = oct__session_compute(s, &id, NULL, 1, s->n_past - 1, err);
    s->logits_valid = r == OCT_OK;
    return r;
}

/* The gate of a prompt whose text is the ids [from, to), for all that is computed from now on. */
static void oct__session_route(oct_session *s, const int32_t *ids, int from, int to) {
    const int n_expert = s->model->net.instance_gate.n_expert;
    if (n_expert == 0) return;
    oct__gate_compute(&s->model->net, ids + from, (size_t)(to - from), &s->gate_rule, s->pass.lora_gate);
    if (s->desc.stage) s->desc.stage(s->desc.stage_user, "gate", s->pass.lora_gate, 1, n_expert, 0);
}

static oct_result oct__prefill_room(const oct_session *s, int taken, int more, oct_error *err) {
    if (more <= s->desc.n_ctx - taken) return OCT_OK;
    return oct__fail(err, OCT_E_CONTEXT, "context full: %d positions taken and %d more to come, expected at most %d", taken, more, s->desc.n_ctx);
}
/* The cache holds everything that was fed. */
static void oct__prefill_done(oct_session *s) {
    const oct__part *parts = (const oct__part *)(const void *)s->parts.data;
    const size_t n = s->parts.len / sizeof *parts;
    s->resumed = n > 0 && parts[n - 1].kind == OCT__PART_ANSWER && parts[n - 1].len > 0;
    s->open[s->n_past - 1] = 1;
    s->logits_valid = true;
    s->changed = s->stale = false;
    if (oct__session_verbatim(s)) {
        s->parts.len = s->bytes.len = 0;
        s->n_fixed = s->n_past;
    }
    s->past = oct__feed_mark(s);
    s->answer_from = s->n_past;
    oct__session_answer_reset(s);
    oct_feed_clear(s);
}

/* Computes all positions anew: ids [n], which are s->tokens where they are those of the cache, and more.  *suffix is where the
 * gate's text begins.  When it fails, the session stands where it stood, but for the cache, which is computed again if it is
 * ever asked for. */
static oct_result oct__prefill_anew(oct_session *s, const int32_t *ids, int n, int suffix_from, int suffix_to, oct_error *err) {
    float gate[OCT__MAX_GATE];
    const size_t gate_bytes = (size_t)s->model->net.instance_gate.n_expert * sizeof *gate;
    const int32_t alpha = s->pass.alpha;
    if (gate_bytes) memcpy(gate, s->pass.lora_gate, gate_bytes);
    oct__session_route(s, ids, suffix_from, suffix_to);
    if (ids != s->tokens) s->pass.alpha = oct__rope_alpha(&s->model->net, n);
    s->stale = true;
    s->logits_valid = false;
    const oct_result r = oct__session_compute(s, ids, oct__session_rows(s, 0), n, 0, err);
    if (r) {
        if (gate_bytes) memcpy(s->pass.lora_gate, gate, gate_bytes);
        s->pass.alpha = alpha;
        return r;
    }
    s->stale = false;
    s->suffix_from = suffix_from;
    s->suffix_to = suffix_to;
    return OCT_OK;
}
/* The turn with all that stands before it: the whole dialogue as text, or where that is not known, by its ids. */
static oct_result oct__prefill_dialogue(oct_session *s, const int32_t *turn, int n, oct_error *err) {
    const bool verbatim = oct__session_verbatim(s);
    const int had = verbatim ? s->n_past + (s->last >= 0) : 0;
    oct_result r = oct__prefill_room(s, had, n, err);
    if (r) return r;
    if (verbatim) {                                     /* behind n_past nothing of tokens is in use */
        if (s->last >= 0) s->tokens[s->n_past] = s->last;
        memcpy(s->tokens + had, turn, (size_t)n * sizeof *turn);
    }
    r = oct__prefill_anew(s, verbatim ? s->tokens : turn, had + n, verbatim ? 0 : (int)s->turn_suffix, had + n, err);
    if (r) return r;
    if (!verbatim) memcpy(s->tokens, turn, (size_t)n * sizeof *turn);
    const int known = verbatim ? s->n_past : s->n_fixed;        /* positions whose flags hold */
    if (s->last >= 0 && verbatim) s->open[s->n_past] = 1;
    memset(s->open + OCT__MAX(known, had), 0, (size_t)(had + n - OCT__MAX(known, had)));
    s->n_past = had + n;
    return OCT_OK;
}
/* The turn alone, behind what the cache holds. */
static oct_result oct__prefill_turn(oct_session *s, const int32_t *turn, int n, oct_error *err) {
    const int n_last = s->last >= 0, was = s->n_past;
    oct_result r = oct__prefill_room(s, was + n_last, n, err);
    if (!r) r = oct__session_recache(s, err);
    if (r) return r;
    if (n_last) {                                       /* the answer's last token, which nobody has asked to follow */
        const int32_t last = s->last;
        r = oct__session_commit(s, err);
        if (r) return r;
        s->last = last;
    }
    if (s->n_past == 0) {
        s->pass.alpha = oct__rope_alpha(&s->model->net, n);
        oct__session_route(s, turn, (int)s->turn_suffix, n);
    }
    r = oct__session_compute(s, turn, oct__session_rows(s, s->past.rows), n, s->n_past, err);
    if (r) {
        s->n_past = was;
        s->logits_valid = s->logits_valid && n_last == 0;
        return r;
    }
    memcpy(s->tokens + s->n_past, turn, (size_t)n * sizeof *turn);
    memset(s->open + s->n_past, 0, (size_t)n);
    if (s->n_past == 0) {
        s->suffix_from = (int)s->turn_suffix;
        s->suffix_to = n;
    }
    s->n_past += n;
    return OCT_OK;
}

OCT_API oct_result oct_prefill(oct_session *s, oct_error *err) {
    if (!s) return oct__fail(err, OCT_E_ARG, "session is NULL");
    const int n = (int)oct__ids_count(&s->turn);
    if (n == 0) {
        if (s->parts.len == s->past.parts && s->n_past == 0) return oct__fail(err, OCT_E_STATE, "nothing was fed");
        if (!s->changed || s->n_past == 0) return OCT_OK;
        const oct_result r = oct__prefill_anew(s, s->tokens, s->n_past, s->suffix_from, s->suffix_to, err);
        s->logits_valid = r == OCT_OK;
        s->changed = r != OCT_OK;
        return r;
    }
    const oct_result r = oct__session_anew(s) ? oct__prefill_dialogue(s, oct__ids(&s->turn), n, err)
                                              : oct__prefill_turn(s, oct__ids(&s->turn), n, err);
    if (!r) oct__prefill_done(s);
    return r;
}

static oct_result oct__next_give(oct_token *out, int32_t id, oct_string text) {
    out->id = id;
    out->text = text.data;
    out->len = text.len;
    return OCT_OK;
}

/* The answer is over: first the text still held back, if any, then the end. */
static oct_result oct__next_end(oct_session *s, oct_token *out) {
    oct_string text = oct__str("");
    if (!s->flushed) {
        s->flushed = true;
        oct__stream_flush(&s->stream, &text);
        if (text.len) return oct__next_give(out, -1, text);
    }
    out->is_end = 1;
    out->end = s->end;
    return oct__next_give(out, -1, text);
}

/* The settings in force: the session's, where those are zero the file's, else none. */
static oct_sampling oct__session_sampling(const oct_session *s) {
    const oct_sampling *file = &s->model->sampling;
    oct_sampling p = s->sampling;
    if (p.temperature == 0.0f) p.temperature = file->temperature;
    if (p.temperature < 0.0f) p.temperature = 0.0f;
    if (p.top_k == 0) p.top_k = file->top_k;
    if (p.top_p <= 0.0f) p.top_p = file->top_p > 0.0f ? file->top_p : 1.0f;
    if (p.min_p == 0.0f) p.min_p = file->min_p;
    if (p.repeat_penalty <= 0.0f) p.repeat_penalty = file->repeat_penalty > 0.0f ? file->repeat_penalty : 1.0f;
    if (p.penalty_window == 0) p.penalty_window = 64;
    return p;
}

/* Whether the answer ends in one of the file's stop suffixes with id, which is not in the cache yet. */
static bool oct__session_stops(const oct_session *s, int32_t id) {
    const oct_model *m = s->model;
    int32_t ids[OCT__STOP_IDS];
    const int n_ids = s->n_past - s->answer_from + 1, n = OCT__MIN(n_ids, (int)OCT__STOP_IDS);
    if (m->n_stops == 0 || strcmp(s->style->name, "raw") == 0) return false;
    for (int i = 0; i < n - 1; i++) ids[i] = s->tokens[s->n_past - (n - 1) + i];
    ids[n - 1] = id;
    for (int i = 0; i < m->n_stops; i++)
        if (oct__suffix_ends(&m->stops[i], n_ids < OCT__STOP_IDS ? m->vocab.bos : -1, ids, n)) return true;
    return false;
}

OCT_API oct_result oct_next(oct_session *s, oct_token *out, oct_error *err) {
    oct_result r = OCT_OK;
    if (!s || !out) return oct__fail(err, OCT_E_ARG, "session or out is NULL");
    memset(out, 0, sizeof *out);
    out->id = -1;
    out->text = "";
    if (s->turn.len) {
        if ((r = oct_prefill(s, err)) != OCT_OK) return r;
    } else if (s->n_past == 0) {
        return oct__fail(err, OCT_E_STATE, "nothing was fed");
    }
    if (s->end) return oct__next_end(s, out);
    if (s->desc.max_tokens > 0 && s->n_generated >= s->desc.max_tokens) {
        s->end = OCT_END_LENGTH;
        return oct__next_end(s, out);
    }
    if (s->last >= 0) r = oct__session_commit(s, err);
    else if (!s->logits_valid) r = oct__session_refresh(s, err);
    if (r) return r;

    const oct_sampling p = oct__session_sampling(s);
    const unsigned char *banned = s->model->banned;
    if (s->desc.boxes) banned = oct__guard_banned(&s->guard, &s->model->vocab, s->model->net.n_vocab);
    const int n_recent = p.penalty_window < 0 ? s->n_past : OCT__MIN(p.penalty_window, s->n_past);
    const int32_t id = oct__sample(&s->sampler, &p, s->pass.logits, s->model->net.n_vocab, banned,
                                   s->tokens + s->n_past - n_recent, n_recent, s->desc.seed, s->n_past);
    if (oct__vocab_is_end(&s->model->vocab, id) || id == s->stop_id) {
        s->end = oct__vocab_is_end(&s->model->vocab, id) ? OCT_END_EOS : OCT_END_STOP;
        return oct__next_end(s, out);
    }
    s->last = id;
    s->n_generated++;
    if (s->desc.boxes) oct__guard_token(&s->guard, &s->model->vocab, id);
    oct_string text = oct__str("");
    const size_t len = oct__stream_piece(&s->stream, &s->model->vocab, id, s->piece);
    if (oct__stream_push(&s->stream, s->piece, len, &text) || oct__session_stops(s, id)) s->end = OCT_END_STOP;
    return oct__next_give(out, id, text);
}

OCT_API oct_result oct_boxes_begin(oct_boxes *b, const oct_model *m, int width, int height, oct_error *err) {
    if (!b) return oct__fail(err, OCT_E_ARG, "boxes is NULL");
    if (width < 1 || height < 1 || width > OCT__MAX_SIDE || height > OCT__MAX_SIDE)
        return oct__fail(err, OCT_E_ARG, "picture: %d x %d, expected sides from 1 to %d", width, height, OCT__MAX_SIDE);
    oct__boxes_begin(b, m && m->vit.present ? &m->vit.prep : NULL, width, height);
    return OCT_OK;
}

/* --- query ---------------------------------------------------------------------------------- */

OCT_API int oct_session_position(const oct_session *s) { return s ? s->n_past : 0; }
OCT_API const int32_t *oct_session_tokens(const oct_session *s, int *n) {
    if (n) *n = s ? s->n_past : 0;
    return s ? s->tokens : NULL;
}
OCT_API void oct_session_stats_get(const oct_session *s, oct_session_stats *out) {
    if (!out) return;
    memset(out, 0, sizeof *out);
    if (s) *out = s->stats;
}
OCT_API const float *oct_session_logits(const oct_session *s, int *n) {
    if (n) *n = s ? s->model->net.n_vocab : 0;
    return s && s->logits_valid ? s->pass.logits : NULL;
}
OCT_API int oct_session_top(const oct_session *s, int32_t *ids, float *probs, int n) {
    if (!s || !s->logits_valid || !ids || n < 1) return 0;
    return oct__top(s->pass.logits, s->model->net.n_vocab, s->model->banned, ids, probs, n);
}
OCT_API float oct_session_prob(const oct_session *s, int32_t id) {
    if (!s || !s->logits_valid || id < 0 || id >= s->model->net.n_vocab) return 0.0f;
    return oct__prob(s->pass.logits, s->model->net.n_vocab, s->model->banned, id);
}

OCT_API oct_result oct_session_expert_counts(const oct_session *s, int layer, int modality, uint64_t *counts, int n,
                                             oct_error *err) {
    if (!s || (n > 0 && !counts)) return oct__fail(err, OCT_E_ARG, "session or counts is NULL");
    const oct__net *net = &s->model->net;
    if (layer < 0 || layer >= net->n_layer || modality < 0 || modality >= OCT_MODALITIES || n < 0 || n > net->n_expert)
        return oct__fail(err, OCT_E_ARG, "layer %d, modality %d, %d experts: expected less than %d, less than %d and at most %d",
                         layer, modality, n, net->n_layer, (int)OCT_MODALITIES, net->n_expert);
    if (n) memcpy(counts, s->pass.counts + ((size_t)layer * OCT_MODALITIES + (size_t)modality) * (size_t)net->n_expert,
                  (size_t)n * sizeof *counts);
    return OCT_OK;
}

/* Rows of pictures and clouds among ids [n]. */
static size_t oct__rows_in(const int32_t *ids, int n) {
    size_t rows = 0;
    for (int i = 0; i < n; i++) rows += ids[i] < 0;
    return rows;
}
/* From now on what the cache holds is known by its ids alone. */
static void oct__session_fix(oct_session *s) {
    s->parts.len = s->bytes.len = 0;
    s->rows.len = oct__rows_in(s->tokens, s->n_past) * (size_t)s->model->net.n_embd * sizeof(float);
    s->past = oct__feed_mark(s);
    s->n_fixed = s->answer_from = s->n_past;
    s->suffix_from = OCT__MIN(s->suffix_from, s->n_past);
    s->suffix_to = OCT__MIN(s->suffix_to, s->n_past);
    s->resumed = false;
}

OCT_API oct_result oct_session_rewind(oct_session *s, int n_keep, oct_error *err) {
    if (!s) return oct__fail(err, OCT_E_ARG, "session is NULL");
    if (n_keep < 0 || n_keep > s->n_past) return oct__fail(err, OCT_E_ARG, "n_keep: %d, expected 0 to %d", n_keep, s->n_past);
    oct_feed_clear(s);
    s->logits_valid = s->logits_valid && n_keep == s->n_past && n_keep > 0;
    s->n_past = n_keep;
    if (oct__session_verbatim(s) || n_keep < s->answer_from) oct__session_fix(s);
    oct__session_answer_reset(s);
    oct__session_guard(s);
    return OCT_OK;
}

/* --- snapshot ---------------------------------------------------------------------------------
 * A header, then ids and flags of the n_past positions, the gate, the logits if they are valid, the rows of pictures, the
 * dialogue's bytes and its parts, and for every layer and head the K rows, then the V rows.  Little-endian, packed; refused
 * unless every field fits this session. */
typedef struct oct__snapshot {
    char     magic[8];                  /* "OCTSNAP2" */
    uint64_t model;                     /* fingerprint */
    uint64_t n_rows, n_bytes, n_parts;  /* of the dialogue: rows of pictures, bytes, parts */
    int32_t  kv_type, n_past, logits_valid, last, n_generated, end, flushed, alpha;
    int32_t  n_fixed, answer_from, suffix_from, suffix_to, resumed, changed, stale, unused;
    oct__rule rule;
    oct__stream stream;
} oct__snapshot;
/* A part as it is kept. */
typedef struct oct__snapshot_part { uint64_t kind, offset, len; } oct__snapshot_part;

/* Names, types, sizes and the first bytes of all tensors: the same model gives the same number. */
static uint64_t oct__model_fingerprint(const oct_model *m) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < m->gguf.n_tensors; i++) {
        const oct_tensor *t = &m->gguf.tensors[i];
        const uint32_t part[4] = { oct__hash(t->name.data, t->name.len), oct__hash(t->ne, sizeof t->ne), (uint32_t)t->type,
                                   oct__hash(t->data, OCT__MIN(t->bytes, (size_t)64)) };
        for (int j = 0; j < 4; j++) h = (h ^ part[j]) * 1099511628211u;
    }
    return h;
}

static oct__snapshot oct__snapshot_head(const oct_session *s) {
    oct__snapshot h;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, "OCTSNAP2", 8);
    h.model = oct__model_fingerprint(s->model);
    h.n_rows = s->past.rows / ((size_t)s->model->net.n_embd * sizeof(float));
    h.n_bytes = s->past.bytes;
    h.n_parts = s->past.parts / sizeof(oct__part);
    h.kv_type = (int32_t)s->desc.kv_type;
    h.n_past = s->n_past;
    h.logits_valid = s->logits_valid;
    h.last = s->last;
    h.n_generated = s->n_generated;
    h.end = (int32_t)s->end;
    h.flushed = s->flushed;
    h.alpha = s->pass.alpha;
    h.n_fixed = s->n_fixed;
    h.answer_from = s->answer_from;
    h.suffix_from = s->suffix_from;
    h.suffix_to = s->suffix_to;
    h.resumed = s->resumed;
    h.changed = s->changed;
    h.stale = s->stale;
    h.rule = s->guard.now;
    h.stream = s->stream;
    h.stream.stop = NULL;
    return h;
}
/* Bytes of a snapshot with this header, whose numbers are not believed yet; SIZE_MAX: more than there can be. */
static size_t oct__snapshot_size(const oct_session *s, const oct__snapshot *h) {
    const oct__net *net = &s->model->net;
    const size_t kv = 2 * (size_t)net->n_layer * (size_t)net->n_kv * oct__kv_row_bytes(s->desc.kv_type, net->d_head);
    const size_t counts[6] = { (size_t)h->n_past, (size_t)h->n_rows, (size_t)h->n_bytes, (size_t)h->n_parts,
                               (size_t)net->instance_gate.n_expert, h->logits_valid ? (size_t)net->n_vocab : 0 };
    const size_t bytes[6] = { sizeof(int32_t) + 1 + kv, (size_t)net->n_embd * sizeof(float), 1, sizeof(oct__snapshot_part),
                              sizeof(float), sizeof(float) };
    size_t sum = sizeof *h, n;
    for (int i = 0; i < 6; i++)
        if (oct__mul(&n, counts[i], bytes[i]) || oct__add(&sum, sum, n)) return SIZE_MAX;
    return sum;
}

OCT_API size_t oct_session_snapshot_bytes(const oct_session *s) {
    if (!s) return 0;
    const oct__snapshot h = oct__snapshot_head(s);
    return oct__snapshot_size(s, &h);
}

/* Copies between the session and the bytes after the header, up to the parts, which *bytes is then at; to: out of the session. */
static void oct__snapshot_copy(oct_session *s, unsigned char **bytes, bool to) {
    const oct__net *net = &s->model->net;
    const size_t n = (size_t)s->n_past;
    struct { void *data; size_t len; } head[6] = { { s->tokens, n * sizeof(int32_t) }, { s->open, n },
                                                   { s->pass.lora_gate, (size_t)net->instance_gate.n_expert * sizeof(float) },
                                                   { s->pass.logits, s->logits_valid ? (size_t)net->n_vocab * sizeof(float) : 0 },
                                                   { s->rows.data, s->past.rows }, { s->bytes.data, s->past.bytes } };
    for (int i = 0; i < 6; i++) {
        if (head[i].len) memcpy(to ? (void *)*bytes : head[i].data, to ? head[i].data : (void *)*bytes, head[i].len);
        *bytes += head[i].len;
    }
}
static void oct__snapshot_copy_kv(oct_session *s, unsigned char *bytes, bool to) {
    for (int i = 0; i < s->model->net.n_layer; i++) {
        const oct__kv *kv = &s->pass.kv[i];
        for (int h = 0; h < 2 * kv->n_kv; h++)
            for (int pos = 0; pos < s->n_past; pos++)
                bytes += oct__kv_row(kv, h >= kv->n_kv, h % kv->n_kv, pos, bytes, !to);
    }
}

OCT_API oct_result oct_session_snapshot(const oct_session *s, void *dst, size_t bytes, oct_error *err) {
    if (!s || !dst) return oct__fail(err, OCT_E_ARG, "session or dst is NULL");
    if (bytes < oct_session_snapshot_bytes(s))
        return oct__fail(err, OCT_E_LIMIT, "dst: room for %zu bytes, expected %zu", bytes, oct_session_snapshot_bytes(s));
    const oct__snapshot h = oct__snapshot_head(s);
    const oct__part *parts = (const oct__part *)(const void *)s->parts.data;
    unsigned char *p = (unsigned char *)dst + sizeof h;
    oct_session view = *s;                              /* copying out changes nothing in it */
    memcpy(dst, &h, sizeof h);
    oct__snapshot_copy(&view, &p, true);
    for (size_t i = 0; i < h.n_parts; i++, p += sizeof(oct__snapshot_part)) {
        const oct__snapshot_part part = { (uint64_t)parts[i].kind, parts[i].offset, parts[i].len };
        memcpy(p, &part, sizeof part);
    }
    oct__snapshot_copy_kv(&view, p, true);
    return OCT_OK;
}

/* Whether the numbers of a header contradict neither the session nor each other. */
static bool oct__snapshot_head_ok(const oct_session *s, const oct__snapshot *h) {
    const int n_vocab = s->model->net.n_vocab;
    const int32_t flags[5] = { h->logits_valid, h->flushed, h->resumed, h->changed, h->stale };
    bool ok = h->last >= -1 && h->last < n_vocab && (h->last < 0 || h->n_past > 0) && h->n_generated >= 0 && h->end >= 0 &&
              h->end <= (int32_t)OCT_END_LENGTH && h->alpha >= 0 && oct__stream_valid(&h->stream) && oct__rule_valid(&h->rule);
    for (int i = 0; i < 5; i++) ok = ok && (flags[i] == 0 || flags[i] == 1);
    ok = ok && h->n_fixed >= 0 && h->n_fixed <= h->answer_from && h->answer_from <= h->n_past;
    ok = ok && h->suffix_from >= 0 && h->suffix_from <= h->suffix_to && h->suffix_to <= h->n_past;
    ok = ok && !(h->logits_valid && (h->n_past == 0 || h->stale));
    return ok && (s->model->net.instance_gate.n_expert > 0 || h->n_parts + h->n_bytes == 0);
}
static bool oct__snapshot_part_ok(const oct__snapshot *h, const oct__snapshot_part *part, const unsigned char *bytes, int n_vocab) {
    if (part->kind == OCT__PART_IMAGE || part->kind == OCT__PART_POINTS) return part->len <= h->n_rows && part->offset <= h->n_bytes;
    if (part->kind >= OCT__PARTS || part->offset > h->n_bytes || part->len > h->n_bytes - part->offset) return false;
    if (part->kind != OCT__PART_IDS) return true;
    bool ok = part->offset % sizeof(int32_t) == 0 && part->len % sizeof(int32_t) == 0;
    for (uint64_t i = 0; ok && i < part->len; i += sizeof(int32_t)) ok = oct__u32(bytes + part->offset + i) < (uint32_t)n_vocab;
    return ok;
}
/* ... nor what follows it.  *parts: where they are. */
static bool oct__snapshot_body_ok(const oct_session *s, const oct__snapshot *h, const unsigned char *p, const unsigned char **parts) {
    const oct__net *net = &s->model->net;
    const unsigned char *ids = p, *open = p + (size_t)h->n_past * sizeof(int32_t), *gate = open + h->n_past;
    const unsigned char *rows = gate + (size_t)net->instance_gate.n_expert * sizeof(float) + (h->logits_valid ? (size_t)net->n_vocab * sizeof(float) : 0);
    const unsigned char *bytes = rows + (size_t)h->n_rows * (size_t)net->n_embd * sizeof(float);
    uint64_t n_rows = 0, n_fixed = 0;                   /* negative ids: all, and those that no part stands for */
    bool ok = true;
    *parts = bytes + h->n_bytes;
    for (int i = 0; ok && i < h->n_past; i++) {
        const int32_t id = (int32_t)oct__u32(ids + (size_t)i * sizeof(int32_t));
        ok = id >= -2 && id < net->n_vocab && open[i] <= 1;
        n_rows += id < 0;
        n_fixed += id < 0 && i < h->n_fixed;
    }
    for (int i = 0; ok && i < net->instance_gate.n_expert; i++) ok = fabsf(oct__f32(gate + (size_t)i * sizeof(float))) <= 1e6f;
    for (uint64_t i = 0; ok && i < h->n_parts; i++) {
        oct__snapshot_part part;
        memcpy(&part, *parts + i * sizeof part, sizeof part);
        ok = oct__snapshot_part_ok(h, &part, bytes, net->n_vocab);
        if (part.kind == OCT__PART_IMAGE || part.kind == OCT__PART_POINTS) n_fixed += part.len;
    }
    return ok && n_rows == h->n_rows && (n_fixed == n_rows || h->n_parts == 0);
}
/* Memory for the dialogue of a snapshot. */
static oct_result oct__snapshot_reserve(oct_session *s, const oct__snapshot *h, oct_error *err) {
    if (oct__buf_reserve(&s->rows, (size_t)h->n_rows * (size_t)s->model->net.n_embd * sizeof(float)) ||
        oct__buf_reserve(&s->bytes, (size_t)h->n_bytes) || oct__buf_reserve(&s->parts, (size_t)h->n_parts * sizeof(oct__part)))
        return oct__fail(err, OCT_E_MEMORY, "out of memory for the %llu rows of a snapshot", (unsigned long long)h->n_rows);
    return OCT_OK;
}
/* Takes over a header that was found good, memory for whose dialogue there is. */
static void oct__snapshot_take(oct_session *s, const oct__snapshot *h) {
    s->turn.len = 0;
    s->heard = false;
    s->past.rows = s->rows.len = (size_t)h->n_rows * (size_t)s->model->net.n_embd * sizeof(float);
    s->past.bytes = s->bytes.len = (size_t)h->n_bytes;
    s->past.parts = s->parts.len = (size_t)h->n_parts * sizeof(oct__part);
    s->n_past = h->n_past;
    s->logits_valid = h->logits_valid != 0;
    s->last = h->last;
    s->n_generated = h->n_generated;
    s->end = (oct_end)h->end;
    s->flushed = h->flushed != 0;
    s->pass.alpha = h->alpha;
    s->n_fixed = h->n_fixed;
    s->answer_from = h->answer_from;
    s->suffix_from = h->suffix_from;
    s->suffix_to = h->suffix_to;
    s->resumed = h->resumed != 0;
    s->changed = h->changed != 0;
    s->stale = h->stale != 0;
    s->guard.now = h->rule;
    s->stream = h->stream;
    s->stream.stop = s->style->stop;
}

OCT_API oct_result oct_session_restore(oct_session *s, const void *src, size_t bytes, oct_error *err) {
    oct__snapshot h;
    const unsigned char *parts;
    if (!s || !src) return oct__fail(err, OCT_E_ARG, "session or src is NULL");
    if (bytes < sizeof h) return oct__fail(err, OCT_E_FORMAT, "snapshot: %zu bytes, expected at least %zu", bytes, sizeof h);
    memcpy(&h, src, sizeof h);
    if (memcmp(h.magic, "OCTSNAP2", 8) != 0) return oct__fail(err, OCT_E_FORMAT, "snapshot: not one, or of another version");
    if (h.model != oct__model_fingerprint(s->model)) return oct__fail(err, OCT_E_FORMAT, "snapshot: made with another model");
    if (h.kv_type != (int32_t)s->desc.kv_type)
        return oct__fail(err, OCT_E_FORMAT, "snapshot: KV type %d, expected %d", (int)h.kv_type, (int)s->desc.kv_type);
    if (h.n_past < 0 || h.n_past > s->desc.n_ctx)
        return oct__fail(err, OCT_E_CONTEXT, "snapshot: %d positions, expected at most %d", (int)h.n_past, s->desc.n_ctx);
    const size_t want = oct__snapshot_size(s, &h);
    if (bytes != want) return oct__fail(err, OCT_E_FORMAT, "snapshot: %zu bytes, expected %zu", bytes, want);
    unsigned char *p = (unsigned char *)(uintptr_t)src + sizeof h;
    if (!oct__snapshot_head_ok(s, &h) || !oct__snapshot_body_ok(s, &h, p, &parts))
        return oct__fail(err, OCT_E_FORMAT, "snapshot: its state contradicts itself");
    const oct_result r = oct__snapshot_reserve(s, &h, err);
    if (r) return r;
    oct__snapshot_take(s, &h);
    oct__snapshot_copy(s, &p, false);
    for (uint64_t i = 0; i < h.n_parts; i++) {
        oct__snapshot_part kept;
        oct__part part;
        memcpy(&kept, parts + i * sizeof kept, sizeof kept);
        memset(&part, 0, sizeof part);
        part.kind = (int)kept.kind;
        part.offset = (size_t)kept.offset;
        part.len = (size_t)kept.len;
        memcpy(s->parts.data + (size_t)i * sizeof part, &part, sizeof part);
    }
    oct__snapshot_copy_kv(s, (unsigned char *)(uintptr_t)parts + (size_t)h.n_parts * sizeof(oct__snapshot_part), false);
    if (!oct__session_verbatim(s)) return OCT_OK;
    s->parts.len = s->bytes.len = 0;                    /* made by a session with a prompt style, for one without */
    s->past = oct__feed_mark(s);
    return OCT_OK;
}

#if defined(__clang__)
#  pragma float_control(pop)
#elif defined(__GNUC__)
#  pragma GCC pop_options
#endif
#endif /* OCTAVIUS_IMPLEMENTATION */


/* ==========================================================================
 * MARK: - 20. templates
 * ==========================================================================
 * The bodies of chapter 5's tables, compiled once for every OCT__ISA that it
 * asks for and skipped otherwise.  First the vocabulary: a vector VF of VW
 * floats, a vector VI of VW 32-bit words (four weights each), and verbs.  A
 * panel's 16 rows are 16 / VW vectors; `v` counts rows in steps of VW.
 */
#if defined(OCT__ISA)
#define OCT__CAT_(a, b) a##_##b
#define OCT__CAT(a, b)  OCT__CAT_(a, b)
#define OCT__K(name)    OCT__CAT(name, OCT__ISA)          /* of this pass */
#if defined(OCT__ISA_DOT)
#  define OCT__B(name)  OCT__CAT(name, OCT__ISA_DOT)      /* of the family's first pass */
#else
#  define OCT__B(name)  OCT__K(name)
#endif
#if defined(OCT__ISA_BF16)
#  define OCT__D(name)  OCT__CAT(name, OCT__ISA_BF16)     /* of the pass with the int8 kernels */
#else
#  define OCT__D(name)  OCT__K(name)
#endif

/* --- vocabulary ---------------------------------------------------------------
 * v_max(a, b) is a > b ? a : b, so that a NaN in b comes through; v_min likewise.
 * v_fma rounds once except in scalar.  vi_shr and vi_shl take constants, vi_shrv and
 * vi_shlv any count (32 gives 0), vi_dup a word (four bytes), vi_lut maps bytes 0 to 15.
 * v_dot2 adds to each of c the products of two pairs of bf16; vi_pairs makes pairs of 2 VW numbers.
 * VC and VH are integer sums: gcc moves a VI about where its instructions want words. */
#if defined(OCT__ISA_AVX512)
#  define VW 16
#  define VF __m512
#  define VI __m512i
#  define VC OCT__K(oct__sums)
typedef int32_t VC __attribute__((vector_size(64)));
#  define v_load(p)       _mm512_loadu_ps(p)
#  define v_store(p, x)   _mm512_storeu_ps(p, x)
#  define v_zero()        _mm512_setzero_ps()
#  define v_dup(x)        _mm512_set1_ps(x)
#  define v_add(a, b)     _mm512_add_ps(a, b)
#  define v_sub(a, b)     _mm512_sub_ps(a, b)
#  define v_mul(a, b)     _mm512_mul_ps(a, b)
#  define v_div(a, b)     _mm512_div_ps(a, b)
#  define v_fma(a, b, c)  _mm512_fmadd_ps(a, b, c)
#  define v_max(a, b)     _mm512_max_ps(a, b)
#  define v_min(a, b)     _mm512_min_ps(a, b)
#  define v_abs(a)        _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7FFFFFFF)))
#  define v_bits(a)       _mm512_castps_si512(a)
#  define v_from_bits(a)  _mm512_castsi512_ps(a)
#  define v_from_int(a)   _mm512_cvtepi32_ps(a)
#  define v_if_neg(x, a, b)   _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), b, a)
#  define v_zero_below(x, lim, r) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, lim, _CMP_NLT_UQ), r)
#  define v_load_f16(p)   _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#  define v_store_f16(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), _mm512_cvtps_ph(x, 0))
#  define v_load_s8(p)    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#  define vi_load(p)      _mm512_loadu_si512((const void *)(p))
#  define vi_store(p, x)  _mm512_storeu_si512((void *)(p), x)
#  define vi_zero()       _mm512_setzero_si512()
#  define vi_dup(x)       _mm512_set1_epi32((int)(x))
#  define vi_and(a, b)    _mm512_and_si512(a, b)
#  define vi_or(a, b)     _mm512_or_si512(a, b)
#  define vi_xor(a, b)   _mm512_xor_si512(a, b)
#  define vi_add(a, b)    _mm512_add_epi32(a, b)
#  define vi_mul(a, b)    _mm512_mullo_epi32(a, b)
#  define vi_shr(a, n)    _mm512_srli_epi32(a, n)
#  define vi_shl(a, n)    _mm512_slli_epi32(a, n)
#  define vi_shrv(a, n)   _mm512_srl_epi32(a, _mm_cvtsi32_si128(n))
#  define vi_shlv(a, n)   _mm512_sll_epi32(a, _mm_cvtsi32_si128(n))
#  define vi_lut(t, x)    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(t))), x)
#  define vi_maddubs(u, s) _mm512_maddubs_epi16(u, s)
#  define vi_madd16(a, b) _mm512_madd_epi16(a, b)
#  define vi_add16(a, b)  _mm512_add_epi16(a, b)
#  define v_dot2(c, a, b) _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))
#  define vi_pairs(p)     ((VI)_mm512_cvtne2ps_pbh(v_load((p) + VW), v_load(p)))
#  if defined(OCT__ISA_DOT)
#    define vi_dot(c, u, s) _mm512_dpbusd_epi32(c, u, s)
#    if defined(OCTAVIUS_TEST_INTRINSICS)
#      define vi_dot_at(c, u, p) c = (VC)_mm512_dpbusd_epi32((VI)c, u, vi_dup(*(p)))
#    else      /* the compilers load each word first: an instruction more for every one that counts */
#      define vi_dot_at(c, u, p) __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(c) : "v"(u), "m"(*(p)))
#    endif
#  endif
#  define OCT__TILE 12
#  define OCT__STEP 12
#  define OCT__VECS 1
#elif defined(OCT__ISA_AVX2)
#  define VW 8
#  define VF __m256
#  define VI __m256i
#  define VC OCT__K(oct__sums)
typedef int32_t VC __attribute__((vector_size(32)));
#  define v_load(p)       _mm256_loadu_ps(p)
#  define v_store(p, x)   _mm256_storeu_ps(p, x)
#  define v_zero()        _mm256_setzero_ps()
#  define v_dup(x)        _mm256_set1_ps(x)
#  define v_add(a, b)     _mm256_add_ps(a, b)
#  define v_sub(a, b)     _mm256_sub_ps(a, b)
#  define v_mul(a, b)     _mm256_mul_ps(a, b)
#  define v_div(a, b)     _mm256_div_ps(a, b)
#  define v_fma(a, b, c)  _mm256_fmadd_ps(a, b, c)
#  define v_max(a, b)     _mm256_max_ps(a, b)
#  define v_min(a, b)     _mm256_min_ps(a, b)
#  define v_abs(a)        _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)))
#  define v_bits(a)       _mm256_castps_si256(a)
#  define v_from_bits(a)  _mm256_castsi256_ps(a)
#  define v_from_int(a)   _mm256_cvtepi32_ps(a)
#  define v_if_neg(x, a, b)   _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ))
#  define v_zero_below(x, lim, r) _mm256_and_ps(_mm256_cmp_ps(x, lim, _CMP_NLT_UQ), r)
#  define v_load_f16(p)   _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#  define v_store_f16(p, x) _mm_storeu_si128((__m128i *)(void *)(p), _mm256_cvtps_ph(x, 0))
#  define v_load_s8(p)    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))
#  define vi_load(p)      _mm256_loadu_si256((const __m256i *)(const void *)(p))
#  define vi_store(p, x)  _mm256_storeu_si256((__m256i *)(void *)(p), x)
#  define vi_zero()       _mm256_setzero_si256()
#  define vi_dup(x)       _mm256_set1_epi32((int)(x))
#  define vi_and(a, b)    _mm256_and_si256(a, b)
#  define vi_or(a, b)     _mm256_or_si256(a, b)
#  define vi_xor(a, b)   _mm256_xor_si256(a, b)
#  define vi_add(a, b)    _mm256_add_epi32(a, b)
#  define vi_mul(a, b)    _mm256_mullo_epi32(a, b)
#  define vi_shr(a, n)    _mm256_srli_epi32(a, n)
#  define vi_shl(a, n)    _mm256_slli_epi32(a, n)
#  define vi_shrv(a, n)   _mm256_srl_epi32(a, _mm_cvtsi32_si128(n))
#  define vi_shlv(a, n)   _mm256_sll_epi32(a, _mm_cvtsi32_si128(n))
#  define vi_lut(t, x)    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(t))), x)
#  define vi_maddubs(u, s) _mm256_maddubs_epi16(u, s)
#  define vi_madd16(a, b) _mm256_madd_epi16(a, b)
#  define vi_add16(a, b)  _mm256_add_epi16(a, b)
#  if defined(OCT__ISA_DOT)
#    define vi_dot(c, u, s) _mm256_dpbusd_avx_epi32(c, u, s)
#    define vi_dot_at(c, u, p) c = (VC)_mm256_dpbusd_avx_epi32((VI)c, u, vi_dup(*(p)))
#  endif
#  define OCT__TILE 6
#  define OCT__STEP 6
#  define OCT__VECS 2
#elif defined(OCT__ISA_NEON)
#  define VW 4
#  define VF float32x4_t
#  define VI uint32x4_t
#  define VC VI
#  define v_load(p)       vld1q_f32(p)
#  define v_store(p, x)   vst1q_f32(p, x)
#  define v_zero()        vdupq_n_f32(0.0f)
#  define v_dup(x)        vdupq_n_f32(x)
#  define v_add(a, b)     vaddq_f32(a, b)
#  define v_sub(a, b)     vsubq_f32(a, b)
#  define v_mul(a, b)     vmulq_f32(a, b)
#  define v_div(a, b)     vdivq_f32(a, b)
#  define v_fma(a, b, c)  vfmaq_f32(c, a, b)
#  define v_max(a, b)     vbslq_f32(vcgtq_f32(a, b), a, b)
#  define v_min(a, b)     vbslq_f32(vcltq_f32(a, b), a, b)
#  define v_abs(a)        vabsq_f32(a)
#  define v_bits(a)       vreinterpretq_u32_f32(a)
#  define v_from_bits(a)  vreinterpretq_f32_u32(a)
#  define v_from_int(a)   vcvtq_f32_s32(vreinterpretq_s32_u32(a))
#  define v_if_neg(x, a, b)   vbslq_f32(vcltq_f32(x, vdupq_n_f32(0.0f)), a, b)
#  define v_zero_below(x, lim, r) vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(r), vcltq_f32(x, lim)))
#  define v_load_f16(p)   vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
#  define v_store_f16(p, x) vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)))
#  define vi_load(p)      vreinterpretq_u32_u8(vld1q_u8((const unsigned char *)(const void *)(p)))
#  define vi_store(p, x)  vst1q_u8((unsigned char *)(void *)(p), vreinterpretq_u8_u32(x))
#  define vi_zero()       vdupq_n_u32(0)
#  define vi_dup(x)       vdupq_n_u32((uint32_t)(x))
#  define vi_and(a, b)    vandq_u32(a, b)
#  define vi_or(a, b)     vorrq_u32(a, b)
#  define vi_xor(a, b)    veorq_u32(a, b)
#  define vi_add(a, b)    vaddq_u32(a, b)
#  define vi_mul(a, b)    vmulq_u32(a, b)
#  define vi_shr(a, n)    vshrq_n_u32(a, n)
#  define vi_shl(a, n)    vshlq_n_u32(a, n)
#  define vi_shrv(a, n)   vshlq_u32(a, vdupq_n_s32(-(n)))
#  define vi_shlv(a, n)   vshlq_u32(a, vdupq_n_s32(n))
#  define vi_lut(t, x)    vreinterpretq_u32_u8(vqtbl1q_u8(vld1q_u8((const unsigned char *)(t)), vreinterpretq_u8_u32(x)))
#  define v_dot2(c, a, b) vbfdotq_f32(c, vreinterpretq_bf16_u32(a), vreinterpretq_bf16_u32(b))
#  define v_dot2_lane(c, a, b, i) vbfdotq_laneq_f32(c, vreinterpretq_bf16_u32(a), vreinterpretq_bf16_u32(b), i)
#  define vi_pairs(p)     vreinterpretq_u32_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(v_load(p)), v_load((p) + VW)))
#  if defined(OCT__ISA_I8MM)
#    define OCT__TILE 12
#    define OCT__STEP 6
#  else
#    define OCT__TILE 8
#    define OCT__STEP 4
#  endif
#  define OCT__VECS 2
#else
#  define VW 1
#  define VF float
#  define VI uint32_t
#  define VC VI
#  define v_load(p)       (*(p))
#  define v_store(p, x)   (*(p) = (x))
#  define v_zero()        0.0f
#  define v_dup(x)        (x)
#  define v_add(a, b)     ((a) + (b))
#  define v_sub(a, b)     ((a) - (b))
#  define v_mul(a, b)     ((a) * (b))
#  define v_div(a, b)     ((a) / (b))
#  define v_fma(a, b, c)  ((a) * (b) + (c))
#  define v_max(a, b)     OCT__MAX(a, b)
#  define v_min(a, b)     OCT__MIN(a, b)
#  define v_abs(a)        oct__bits_f32(oct__f32_bits(a) & 0x7FFFFFFFu)
#  define v_bits(a)       oct__f32_bits(a)
#  define v_from_bits(a)  oct__bits_f32(a)
#  define v_from_int(a)   ((float)(int32_t)(a))
#  define v_if_neg(x, a, b)   ((x) < 0.0f ? (a) : (b))
#  define v_zero_below(x, lim, r) ((x) < (lim) ? 0.0f : (r))
#  define v_load_f16(p)   oct__f16_to_f32(*(p))
#  define v_store_f16(p, x) (*(p) = oct__f32_to_f16(x))
#  define v_load_s8(p)    ((float)(signed char)*(p))
#  define vi_load(p)      oct__u32(p)
#  define vi_store(p, x)  oct__put_u32((unsigned char *)(p), x)
#  define vi_zero()       0u
#  define vi_dup(x)       ((uint32_t)(x))
#  define vi_and(a, b)    ((a) & (b))
#  define vi_or(a, b)     ((a) | (b))
#  define vi_xor(a, b)    ((a) ^ (b))
#  define vi_add(a, b)    ((a) + (b))
#  define vi_mul(a, b)    ((a) * (b))
#  define vi_shr(a, n)    ((a) >> (n))
#  define vi_shl(a, n)    ((a) << (n))
#  define vi_shrv(a, n)   ((a) >> (n))
#  define vi_shlv(a, n)   ((n) > 31 ? 0u : (a) << ((n) & 31))
#  define vi_lut(t, x)    oct__lut4(t, x)
#  define OCT__TILE 4
#  define OCT__STEP 4
#  define OCT__VECS 2
static OCT__INLINE void oct__put_u32(unsigned char *p, uint32_t x) { memcpy(p, &x, sizeof x); }
static OCT__INLINE uint32_t oct__lut4(const unsigned char *t, uint32_t x) {
    return (uint32_t)t[x & 15] | (uint32_t)t[x >> 8 & 15] << 8 | (uint32_t)t[x >> 16 & 15] << 16 | (uint32_t)t[x >> 24 & 15] << 24;
}
#endif
#if (defined(OCT__ISA_AVX2) || defined(OCT__ISA_AVX512)) && !defined(OCT__ISA_DOT)
#  define OCT__X86_MADD 1
#  define VH OCT__K(oct__sums16)
typedef int16_t VH __attribute__((vector_size(4 * VW)));
#else
#  define OCT__X86_MADD 0
#endif
/* AVX2 has one layout of activations for all its tables: they share the one-token kernel. */
#if OCT__X86_MADD || defined(OCT__ISA_AVX2)
#  define OCT__WORDS OCT__Q_WIDE
#else
#  define OCT__WORDS OCT__Q_WORDS
#endif
/* AVX-512 without its dot product is rare, and takes AVX2's int8 kernels: one set less to compile. */
#if (defined(OCT__ISA_AVX512) && !defined(OCT__ISA_DOT)) || defined(OCT__ISA_BF16)
#  define OCT__OWN_INT8 0
#else
#  define OCT__OWN_INT8 1
#endif

/* Four words of VW rows: a holds the first word of each row, d the fourth. */
#define V4 OCT__K(oct__v4)
typedef struct V4 { VI a, b, c, d; } V4;

#if defined(OCT__ISA_NEON) || VW == 1
/* c + the dot products of four unsigned u with four signed s, for each word. */
static OCT__INLINE VI OCT__K(oct__dot4)(VI c, VI u, VI s) {
#if defined(OCT__ISA_NEON) && defined(OCT__ISA_DOT)
    return vreinterpretq_u32_s32(vdotq_s32(vreinterpretq_s32_u32(c), vreinterpretq_s8_u32(u), vreinterpretq_s8_u32(s)));
#elif defined(OCT__ISA_NEON)
    const int8x16_t x = vreinterpretq_s8_u32(u), y = vreinterpretq_s8_u32(s);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y)));
    const int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(x), vget_high_s8(y)));
    return vaddq_u32(c, vreinterpretq_u32_s32(vpaddq_s32(low, high)));
#else
    for (int i = 0; i < 32; i += 8) c += (uint32_t)((int)(u >> i & 255u) * (int)(signed char)(s >> i & 255u));
    return c;
#endif
}
#  define vi_dot(c, u, s) OCT__K(oct__dot4)(c, u, s)
#  define vi_dot_at(c, u, p) c = vi_dot(c, u, vi_dup(*(p)))
#endif

/* --- int8: a panel times a tile of tokens --------------------------------------
 * For each token a chain of integer sums c and one of float sums f, both named: compilers keep an indexed array
 * in memory.  Integer sums are exact in every order, so each instruction set may have its own way:
 *   DOT    one instruction for four products (NEON multiplies signed by signed: u - 128 there);
 *   I8MM   one instruction for two rows of eight by two tokens of eight, u unsigned;
 *   SUMS   vpmaddubsw, added up in 16 bits over as many words as fit: eight when u <= 15 (8 * 2 * 15 * 128 = 30720), four
 *          when u <= 31, two when u <= 63 (2 * 2 * 63 * 128 = 32256);
 *   WIDE   vpmaddwd on 16-bit halves of u, where vpmaddubsw could saturate. */
#define OCT__EACH(X) X(0) if (n > 1) { X(1) } if (n > 2) { X(2) X(3) } if (n > 4) { X(4) X(5) } if (n > 6) { X(6) X(7) }
#define OCT__EACH12(X) X(0) if (n > 1) { X(1) } if (n > 2) { X(2) } if (n > 3) { X(3) } \
                       if (n > 4) { X(4) X(5) } if (n > 6) { X(6) X(7) } if (n > 8) { X(8) X(9) X(10) X(11) }
#define OCT__ALL(X)  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define OCT__SUMS(c) c##0, c##1, c##2, c##3, c##4, c##5, c##6, c##7, c##8, c##9, c##10, c##11
#define OCT__TOKEN(i) (i < n ? i : 0)
/* An integer sum begins with the bits of 1.5 * 2^23, so that, read as a float, it is that number plus the sum, which lies
 * below 2^22.  Times a scale of at most 22 bits, in one fma that takes the scale's share of 1.5 * 2^23 away exactly:
 * the same as converting and multiplying, in half the instructions. */
#if !defined(OCT__MAGIC)
#  define OCT__MAGIC   0x4B400000
#  define OCT__MAGIC_F 12582912.0f
#endif
#if VW == 1
#  define v_times(c, s, sm) ((void)(sm), (float)((int32_t)(c) - OCT__MAGIC) * (s))
#else
#  define v_times(c, s, sm) v_fma(v_from_bits((VI)(c)), s, sm)
#endif

#if OCT__OWN_INT8
/* The row of a block with the starts for a zero point of 1 << zero_shift (32: none). */
static OCT__INLINE int OCT__K(oct__start_row)(const int half, int zero_shift) {
    return half ? OCT__Q_S16 + (zero_shift == 2) + 2 * (zero_shift == 5)
                : OCT__Q_S32 + (zero_shift == 3) + 2 * (zero_shift == 4) + 3 * (zero_shift == 7);
}
/* acc [n, 16] += rows row .. of p x tokens t .. t + n - 1 of a tile of ld tokens.  Of the rows, OCT__VECS vectors at once: each
 * token's number then serves both.  how: WIDE where there is no dot product, else groups of 16. */
#if OCT__X86_MADD
/* Numbers in memory stay there: gcc would carry them, and move and spill what is in registers. */
#define OCT__FENCE(p) __asm__ volatile("" : : "r"(p) : "memory")
/* The 12 integer sums and what a step needs fill 16 registers: float sums stay in acc, and integer sums of a group's first
 * words in `sums`, until the group is whole. */
static OCT__INLINE void OCT__K(oct__mul_tile)(const int n, const int how, const int ld, const oct__panel *p, int row, int k,
                                              const oct__qtile *tile, int t, float *acc) {
    const int half = !how && p->group == 16, steps = half ? 4 : 8, has_min = !how && p->zero_shift == 32;
    const int span = how || p->u_max <= 15 ? steps : p->u_max <= 31 ? 4 : 2;
    const int start = OCT__K(oct__start_row)(half, p->zero_shift) * ld;
    const int first = how ? OCT__Q_WORDS * ld : 0, ahead = (how ? OCT__Q_WIDE : half ? OCT__Q_WORDS : has_min ? OCT__Q_S16 : OCT__Q_D32) * ld;
    const unsigned char *u = p->u + 4 * row;
    const float *s = p->s + row, *m = p->m + row;
    const uint32_t *x = tile->x + t;
    const VI ones = vi_dup(0x00010001);
    const VF minus = v_dup(-OCT__MAGIC_F);
    VI sums[2 * OCT__TILE_MAX];                            /* [n, 2] */
    OCT__FENCE(sums);
    acc += row;
    for (int g = 0; g < k / 32; g++, x += OCT__WORDS * ld) {
        if (n > 4 && row == 0 && tile->next)                /* the next tile comes from the second cache: ask for it now */
            for (int i = how ? OCT__Q_D * ld : 0; i < ahead; i += 16) __builtin_prefetch(x + tile->next + i);
        for (int h = 0; h <= half; h++, s += OCT__PANEL, m += OCT__PANEL) {
            const uint32_t *q = x + first + h * 4 * ld, *starts = x + start + h * 3 * ld;
            const float *d = (const float *)(const void *)(x + OCT__Q_D * ld);
            const float *mins = (const float *)(const void *)(x + (half ? OCT__Q_D16 + h : OCT__Q_D32) * ld);
            VC OCT__SUMS(a), OCT__SUMS(b);
            if (how) {
                int j = 2 * steps;
#define OCT__X(i) a##i = (VC)vi_dup(starts[i]); b##i = a##i;
                OCT__EACH12(OCT__X)
#undef OCT__X
                do {
                    const VI w = vi_load(u), z = vi_load(u + 4 * VW);
#define OCT__X(i) { const VI y = vi_dup(q[i]); a##i += (VC)vi_madd16(y, w); b##i += (VC)vi_madd16(y, z); }
                    OCT__EACH12(OCT__X)
#undef OCT__X
                    u += 4 * OCT__PANEL;
                    q += ld;
                } while (--j);
            } else {
                int left = steps;
                for (;;) {
                    int j = span - 1;
                    VH OCT__SUMS(c), OCT__SUMS(e);
                    VI w = vi_load(u), z = vi_load(u + 4 * VW);
#define OCT__X(i) { const VI y = vi_dup(q[i]); c##i = (VH)vi_maddubs(w, y); e##i = (VH)vi_maddubs(z, y); }
                    OCT__EACH12(OCT__X)
#undef OCT__X
                    u += 4 * OCT__PANEL;
                    q += ld;
                    do {
                        w = vi_load(u);
                        z = vi_load(u + 4 * VW);
#define OCT__X(i) { const VI y = vi_dup(q[i]); c##i += (VH)vi_maddubs(w, y); e##i += (VH)vi_maddubs(z, y); }
                        OCT__EACH12(OCT__X)
#undef OCT__X
                        u += 4 * OCT__PANEL;
                        q += ld;
                    } while (--j);
                    OCT__FENCE(sums);
                    if (left == steps) {
#define OCT__X(i) { const VC y = (VC)vi_dup(starts[i]); \
                    a##i = (VC)vi_madd16((VI)c##i, ones) + y; b##i = (VC)vi_madd16((VI)e##i, ones) + y; }
                        OCT__EACH12(OCT__X)
#undef OCT__X
                    } else {
#define OCT__X(i) { a##i = (VC)vi_madd16((VI)c##i, ones) + (VC)sums[2 * i]; b##i = (VC)vi_madd16((VI)e##i, ones) + (VC)sums[2 * i + 1]; }
                        OCT__EACH12(OCT__X)
#undef OCT__X
                    }
                    if (!(left -= span)) break;
                    OCT__FENCE(sums);
#define OCT__X(i) sums[2 * i] = (VI)a##i; sums[2 * i + 1] = (VI)b##i;
                    OCT__EACH12(OCT__X)
#undef OCT__X
                }
            }
            if (n == 1 && row == 0 && h == 0) oct__ahead(p, g, 1, 1);
            OCT__FENCE(acc);
            const VF s0 = v_load(s), z0 = v_mul(s0, minus), s1 = v_load(s + VW), z1 = v_mul(s1, minus);
            if (has_min) {
                OCT__FENCE(acc);
                const VF m0 = v_load(m), m1 = v_load(m + VW);
#define OCT__X(i) { const VF y = v_dup(d[i]), v = v_dup(mins[i]); float *f = acc + i * OCT__PANEL; \
                v_store(f, v_fma(m0, v, v_fma(v_times(a##i, s0, z0), y, v_load(f)))); \
                v_store(f + VW, v_fma(m1, v, v_fma(v_times(b##i, s1, z1), y, v_load(f + VW)))); }
                OCT__EACH12(OCT__X)
#undef OCT__X
            } else {
                OCT__FENCE(acc);
#define OCT__X(i) { const VF y = v_dup(d[i]); float *f = acc + i * OCT__PANEL; \
                v_store(f, v_fma(v_times(a##i, s0, z0), y, v_load(f))); \
                v_store(f + VW, v_fma(v_times(b##i, s1, z1), y, v_load(f + VW))); }
                OCT__EACH12(OCT__X)
#undef OCT__X
            }
        }
    }
}
#undef OCT__FENCE
#elif defined(OCT__ISA_I8MM)
/* Two neighbours of p; the first one twice where n is 1: a lone token is a pair with itself. */
static OCT__INLINE uint32x2_t OCT__K(oct__two)(const int n, const uint32_t *p) { return n > 1 ? vld1_u32(p) : vld1_dup_u32(p); }
/* Eight numbers each of two tokens, whose words lie in two rows of ld. */
static OCT__INLINE int8x16_t OCT__K(oct__pair)(const int n, const int ld, const uint32_t *q) {
    const uint32x2_t low = OCT__K(oct__two)(n, q), high = OCT__K(oct__two)(n, q + ld), unused = vdup_n_u32(0);
    return vreinterpretq_s8_u32(vzip1q_u32(vcombine_u32(low, unused), vcombine_u32(high, unused)));
}
/* Float sums y of four rows of one of two tokens go on; a: integer sums of rows 0 and 1 by both tokens, b: of rows 2 and 3. */
#define OCT__GO(uzp, a, b, s, z, d, lane, y) y = vfmaq_lane_f32(y, v_times(vreinterpretq_u32_s32(uzp(a, b)), s, z), d, lane)
/* Eight rows by up to three pairs of tokens: 12 registers of integer sums, a, b, c and e, of two rows by two tokens, and 12 of
 * float sums, f to i, of four rows of a token.  For eight numbers 12 instructions multiply, 7 bring rows and tokens together. */
static OCT__INLINE void OCT__K(oct__mul_tile)(const int n, const int how, const int ld, const oct__panel *p, int row, int k,
                                              const oct__qtile *tile, int t, float *acc) {
    const int half = how, steps = half ? 2 : 4, has_min = p->zero_shift == 32;
    const int start = OCT__K(oct__start_row)(half, p->zero_shift) * ld, none = OCT__K(oct__start_row)(half, 32) * ld;
    const unsigned char *u = p->u + 4 * row;
    const float *s = p->s + row, *m = p->m + row;
    const uint32_t *x = tile->x + t;
    const VF minus = v_dup(-OCT__MAGIC_F);
    VF f0, f1, f2, g0, g1, g2, h0, h1, h2, i0, i1, i2;
    acc += row;
#define OCT__EACH_PAIR(X) X(0) if (n > 2) { X(1) } if (n > 4) { X(2) }
#define OCT__X(j) f##j = v_load(acc + 2 * j * OCT__PANEL); g##j = v_load(acc + 2 * j * OCT__PANEL + VW); \
    h##j = v_load(acc + OCT__TOKEN(2 * j + 1) * OCT__PANEL); i##j = v_load(acc + OCT__TOKEN(2 * j + 1) * OCT__PANEL + VW);
    OCT__EACH_PAIR(OCT__X)
#undef OCT__X
    for (int at = 0; at < k / 32; at++, x += OCT__WORDS * ld) {
        for (int l = 0; l <= half; l++, s += OCT__PANEL, m += OCT__PANEL) {
            const uint32_t *q = x + l * 4 * ld, *starts = x + l * 3 * ld;
            const uint32_t *d = x + OCT__Q_D * ld, *mins = x + (half ? OCT__Q_D16 + l : OCT__Q_D32) * ld;
            int32x4_t a0, a1, a2, b0, b1, b2, c0, c1, c2, e0, e1, e2;
            int left = steps;
            /* NEON's starts make up for u - 128; here u is multiplied, so what they have for no zero point is taken off */
#define OCT__X(j) { const uint32x2_t off = vsub_u32(OCT__K(oct__two)(n, starts + none + 2 * j), vdup_n_u32(OCT__MAGIC)); \
            const uint32x2_t from = vsub_u32(OCT__K(oct__two)(n, starts + start + 2 * j), off); \
            a##j = vreinterpretq_s32_u32(vcombine_u32(from, from)); b##j = c##j = e##j = a##j; }
            OCT__EACH_PAIR(OCT__X)
#undef OCT__X
            do {
                const unsigned char *v = u + 4 * OCT__PANEL;
                const VI u0 = vi_load(u), u1 = vi_load(u + 4 * VW), v0 = vi_load(v), v1 = vi_load(v + 4 * VW);
                const uint8x16_t w0 = vreinterpretq_u8_u32(vzip1q_u32(u0, v0)), w1 = vreinterpretq_u8_u32(vzip2q_u32(u0, v0));
                const uint8x16_t w2 = vreinterpretq_u8_u32(vzip1q_u32(u1, v1)), w3 = vreinterpretq_u8_u32(vzip2q_u32(u1, v1));
#define OCT__X(j) { const int8x16_t y = OCT__K(oct__pair)(n, ld, q + 2 * j); \
                a##j = vusmmlaq_s32(a##j, w0, y); b##j = vusmmlaq_s32(b##j, w1, y); \
                c##j = vusmmlaq_s32(c##j, w2, y); e##j = vusmmlaq_s32(e##j, w3, y); }
                OCT__EACH_PAIR(OCT__X)
#undef OCT__X
                u += 8 * OCT__PANEL;
                q += 2 * ld;
            } while (--left);
            if (n == 1 && row == 0 && l == 0) oct__ahead(p, at, 1, 1);
            const VF s0 = v_load(s), s1 = v_load(s + VW), z0 = v_mul(s0, minus), z1 = v_mul(s1, minus);
#define OCT__X(j) { const float32x2_t y = vreinterpret_f32_u32(OCT__K(oct__two)(n, d + 2 * j)); \
            OCT__GO(vuzp1q_s32, a##j, b##j, s0, z0, y, 0, f##j); OCT__GO(vuzp1q_s32, c##j, e##j, s1, z1, y, 0, g##j); \
            OCT__GO(vuzp2q_s32, a##j, b##j, s0, z0, y, 1, h##j); OCT__GO(vuzp2q_s32, c##j, e##j, s1, z1, y, 1, i##j); }
            OCT__EACH_PAIR(OCT__X)
#undef OCT__X
            if (has_min) {
                const VF m0 = v_load(m), m1 = v_load(m + VW);
#define OCT__X(j) { const float32x2_t y = vreinterpret_f32_u32(OCT__K(oct__two)(n, mins + 2 * j)); \
                f##j = vfmaq_lane_f32(f##j, m0, y, 0); g##j = vfmaq_lane_f32(g##j, m1, y, 0); \
                h##j = vfmaq_lane_f32(h##j, m0, y, 1); i##j = vfmaq_lane_f32(i##j, m1, y, 1); }
                OCT__EACH_PAIR(OCT__X)
#undef OCT__X
            }
        }
    }
#define OCT__X(j) v_store(acc + 2 * j * OCT__PANEL, f##j); v_store(acc + 2 * j * OCT__PANEL + VW, g##j); \
    if (n > 1) { v_store(acc + (2 * j + 1) * OCT__PANEL, h##j); v_store(acc + (2 * j + 1) * OCT__PANEL + VW, i##j); }
    OCT__EACH_PAIR(OCT__X)
#undef OCT__X
#undef OCT__EACH_PAIR
}
#undef OCT__GO
#else
static OCT__INLINE void OCT__K(oct__mul_tile)(const int n, const int how, const int ld, const oct__panel *p, int row, int k,
                                              const oct__qtile *tile, int t, float *acc) {
    enum { VECS = OCT__VECS };
    const int half = how, steps = half ? 4 : 8, has_min = p->zero_shift == 32, start = OCT__K(oct__start_row)(half, p->zero_shift) * ld;
    const unsigned char *u = p->u + 4 * row;
    const float *s = p->s + row, *m = p->m + row;
    const uint32_t *x = tile->x + t;
    const VF minus = v_dup(-OCT__MAGIC_F);
#if defined(OCT__ISA_NEON)
    const VI flip = vi_dup(0x80808080u);
#endif
#define OCT__X(i) VF f##i = v_load(acc + OCT__TOKEN(i) * OCT__PANEL + row), h##i = VECS > 1 ? v_load(acc + OCT__TOKEN(i) * OCT__PANEL + row + VW) : f##i;
    OCT__ALL(OCT__X)
#undef OCT__X
    for (int g = 0; g < k / 32; g++, x += OCT__WORDS * ld) {
        if (n > 4 && row == 0 && tile->next)                /* the next tile comes from the second cache: ask for it now */
            for (int i = 0; i < (has_min ? OCT__Q_D32 : OCT__Q_S32) * ld + 16; i += 16) __builtin_prefetch(x + tile->next + i);
        for (int h = 0; h <= half; h++, u += 4 * steps * OCT__PANEL, s += OCT__PANEL, m += OCT__PANEL) {
            const uint32_t *q = x + h * 4 * ld, *starts = x + start + h * 3 * ld;
            const float *d = (const float *)(const void *)(x + OCT__Q_D * ld);
            const float *mins = (const float *)(const void *)(x + (half ? OCT__Q_D16 + h : OCT__Q_D32) * ld);
            const unsigned char *v = u;
            VC OCT__SUMS(a), OCT__SUMS(b);
            int j = steps;
#define OCT__X(i) a##i = (VC)vi_dup(starts[i]); b##i = a##i;
            OCT__EACH12(OCT__X)
#undef OCT__X
            do {                                            /* at least once; said so, gcc keeps each sum in its register */
#if defined(OCT__ISA_NEON)
                const VI w0 = vi_xor(vi_load(v), flip), w1 = VECS > 1 ? vi_xor(vi_load(v + 4 * VW), flip) : w0;
#else
                const VI w0 = vi_load(v), w1 = VECS > 1 ? vi_load(v + 4 * VW) : w0;
#endif
#define OCT__X(i) vi_dot_at(a##i, w0, q + i); if (VECS > 1) vi_dot_at(b##i, w1, q + i);
                OCT__EACH12(OCT__X)
#undef OCT__X
                v += 4 * OCT__PANEL;
                q += ld;
            } while (--j);
            if (n == 1 && row == 0 && h == 0) oct__ahead(p, g, 1, 1);
            const VF s0 = v_load(s), s1 = VECS > 1 ? v_load(s + VW) : s0, z0 = v_mul(s0, minus), z1 = v_mul(s1, minus);
#define OCT__X(i) f##i = v_fma(v_times(a##i, s0, z0), v_dup(d[i]), f##i); if (VECS > 1) h##i = v_fma(v_times(b##i, s1, z1), v_dup(d[i]), h##i);
            OCT__EACH12(OCT__X)
#undef OCT__X
            if (has_min) {
                const VF m0 = v_load(m), m1 = VECS > 1 ? v_load(m + VW) : m0;
#define OCT__X(i) f##i = v_fma(m0, v_dup(mins[i]), f##i); if (VECS > 1) h##i = v_fma(m1, v_dup(mins[i]), h##i);
                OCT__EACH12(OCT__X)
#undef OCT__X
            }
        }
    }
#define OCT__X(i) v_store(acc + i * OCT__PANEL + row, f##i); if (VECS > 1) v_store(acc + i * OCT__PANEL + row + VW, h##i);
    OCT__EACH12(OCT__X)
#undef OCT__X
}
#endif

/* All rows of a panel times tokens t .. t + n - 1 of a tile of ld. */
static OCT__INLINE void OCT__K(oct__mul_rows)(const int n, const int how, const int ld, const oct__panel *p, int k,
                                              const oct__qtile *tile, int t, float *acc) {
    for (int row = 0; row < OCT__PANEL; row += OCT__VECS * VW) OCT__K(oct__mul_tile)(n, how, ld, p, row, k, tile, t, acc);
}
/* One token alone, or one group of its second int8. */
static void OCT__K(oct__mul_tail)(int how, int ld, const oct__panel *p, int k, const oct__qtile *tile, int t, float *acc) {
    if (how) OCT__K(oct__mul_rows)(1, 1, ld, p, k, tile, t, acc);
    else OCT__K(oct__mul_rows)(1, 0, ld, p, k, tile, t, acc);
}
#if !OCT__X86_MADD
/* y [16] += one group of 32 x one block of n = 1, in two chains. */
static OCT__INLINE void OCT__K(oct__mul_group)(const int half, const oct__panel *p, int g, const uint32_t *x, float *y) {
    const int has_min = p->zero_shift == 32, start = OCT__K(oct__start_row)(half, p->zero_shift);
    const VF minus = v_dup(-OCT__MAGIC_F), d = v_dup(oct__bits_f32(x[OCT__Q_D]));
    for (int row = 0; row < OCT__PANEL; row += VW) {
        VF f = v_load(y + row);
        for (int h = 0; h <= half; h++) {
            const size_t at = (size_t)((g << half) + h) * OCT__PANEL + (size_t)row;
            const unsigned char *u = p->u + 32 * g * OCT__PANEL + 16 * h * OCT__PANEL + 4 * row;
            VC a = (VC)vi_dup(x[start + 3 * h]), b = (VC)vi_zero();
            for (int i = 0; i < (half ? 4 : 8); i += 2, u += 8 * OCT__PANEL) {
#if defined(OCT__ISA_NEON)
                const VI flip = vi_dup(0x80808080u), w0 = vi_xor(vi_load(u), flip), w1 = vi_xor(vi_load(u + 4 * OCT__PANEL), flip);
#else
                const VI w0 = vi_load(u), w1 = vi_load(u + 4 * OCT__PANEL);
#endif
                vi_dot_at(a, w0, x + 4 * h + i);
                vi_dot_at(b, w1, x + 4 * h + i + 1);
            }
            const VF s = v_load(p->s + at);
            f = v_fma(v_times(vi_add((VI)a, (VI)b), s, v_mul(s, minus)), d, f);
            if (has_min) f = v_fma(v_load(p->m + at), v_dup(oct__bits_f32(x[half ? OCT__Q_D16 + h : OCT__Q_D32])), f);
        }
        v_store(y + row, f);
    }
}
#endif
/* rest [16] += p x the second int8 of token t. */
static void OCT__K(oct__mul_rest)(const int how, const oct__panel *p, const oct__qtile *tile, int t, float *rest) {
    const int32_t *ends = tile->ends + (size_t)t * tile->ends_step, *list = tile->list + (size_t)t * tile->list_step;
    const uint32_t *x = tile->rest + (size_t)t * tile->rest_step;
    for (int e = ends[0]; e < ends[1]; e++) {
        const int g = list[e] - tile->first;
#if OCT__X86_MADD
        oct__qtile one;
        oct__panel part = *p;
        memset(&one, 0, sizeof one);
        one.n = 1;
        one.x = x + (size_t)e * OCT__WORDS;
        part.u += (how ? 64 : 32) * g * OCT__PANEL;
        part.s += 32 / p->group * g * OCT__PANEL;
        part.m += 32 / p->group * g * OCT__PANEL;
        part.ahead = NULL;
        OCT__K(oct__mul_tail)(how, 1, &part, 32, &one, 0, rest);
#else
        if (how) OCT__K(oct__mul_group)(1, p, g, x + (size_t)e * OCT__WORDS, rest);
        else OCT__K(oct__mul_group)(0, p, g, x + (size_t)e * OCT__WORDS, rest);
#endif
    }
}
static OCT__INLINE void OCT__K(oct__mul_how)(const int how, const oct__panel *p, int k, const oct__qtile *tile, float *acc, float *rest) {
    int t = 0;
    if (tile->n == OCT__TILE)
        for (; t < OCT__TILE; t += OCT__STEP) OCT__K(oct__mul_rows)(OCT__STEP, how, OCT__TILE, p, k, tile, t, acc + t * OCT__PANEL);
    for (; t + 4 <= tile->n; t += 4) OCT__K(oct__mul_rows)(4, how, tile->n, p, k, tile, t, acc + t * OCT__PANEL);
#if defined(OCT__ISA_I8MM)
    for (; t + 2 <= tile->n; t += 2) OCT__K(oct__mul_rows)(2, how, tile->n, p, k, tile, t, acc + t * OCT__PANEL);
#endif
    for (; t < tile->n; t++) OCT__K(oct__mul_tail)(how, tile->n, p, k, tile, t, acc + t * OCT__PANEL);
    for (t = 0; tile->rest && t < tile->n; t++) OCT__K(oct__mul_rest)(how, p, tile, t, rest + t * OCT__PANEL);
}
static void OCT__K(oct__mul)(const oct__panel *p, int k, const oct__qtile *x, float *acc, float *rest) {
    if (OCT__X86_MADD ? p->u_max > 63 : p->group == 16) OCT__K(oct__mul_how)(1, p, k, x, acc, rest);
    else OCT__K(oct__mul_how)(0, p, k, x, acc, rest);
}
#endif /* OCT__OWN_INT8 */

#if !defined(OCT__ISA_DOT)
/* --- unpacking -------------------------------------------------------------------- */

/* 16 bytes each of VW rows, `row` bytes apart, to four words of every row: a 4 x 4 transposition of words in each
 * 128-bit lane, lane L holding rows 4L to 4L + 3. */
static OCT__INLINE V4 OCT__K(oct__rows4)(const unsigned char *p, size_t row) {
    V4 r;
#if defined(OCT__ISA_AVX512) || defined(OCT__ISA_AVX2)
#define OCT__ROW(q)   _mm_loadu_si128((const __m128i *)(const void *)(q))
    const unsigned char *p4 = p + 4 * row;
    size_t row3 = 3 * row;
    OCT__HIDE(p4);
    OCT__HIDE(row3);
#if defined(OCT__ISA_AVX512)
#define OCT__ROWS(i)  _mm512_inserti32x4(_mm512_inserti32x4(_mm512_inserti32x4(_mm512_castsi128_si512(OCT__ROW(p + i)), \
                      OCT__ROW(p4 + i), 1), OCT__ROW(p8 + i), 2), OCT__ROW(p12 + i), 3)
#define OCT__PAIR(f)  _mm512_##f
    const unsigned char *p8 = p4 + 4 * row, *p12 = p4 + 8 * row;
    OCT__HIDE(p8);
    OCT__HIDE(p12);
#else
#define OCT__ROWS(i)  _mm256_inserti128_si256(_mm256_castsi128_si256(OCT__ROW(p + i)), OCT__ROW(p4 + i), 1)
#define OCT__PAIR(f)  _mm256_##f
#endif
    const VI r0 = OCT__ROWS(0), r1 = OCT__ROWS(row), r2 = OCT__ROWS(2 * row), r3 = OCT__ROWS(row3);
    const VI t0 = OCT__PAIR(unpacklo_epi32)(r0, r1), t1 = OCT__PAIR(unpacklo_epi32)(r2, r3);
    const VI t2 = OCT__PAIR(unpackhi_epi32)(r0, r1), t3 = OCT__PAIR(unpackhi_epi32)(r2, r3);
    r.a = OCT__PAIR(unpacklo_epi64)(t0, t1);
    r.b = OCT__PAIR(unpackhi_epi64)(t0, t1);
    r.c = OCT__PAIR(unpacklo_epi64)(t2, t3);
    r.d = OCT__PAIR(unpackhi_epi64)(t2, t3);
#undef OCT__PAIR
#undef OCT__ROW
#undef OCT__ROWS
#elif defined(OCT__ISA_NEON)
    const VI r0 = vi_load(p), r1 = vi_load(p + row), r2 = vi_load(p + 2 * row), r3 = vi_load(p + 3 * row);
    const VI t0 = vtrn1q_u32(r0, r1), t1 = vtrn2q_u32(r0, r1), t2 = vtrn1q_u32(r2, r3), t3 = vtrn2q_u32(r2, r3);
    r.a = vreinterpretq_u32_u64(vtrn1q_u64(vreinterpretq_u64_u32(t0), vreinterpretq_u64_u32(t2)));
    r.b = vreinterpretq_u32_u64(vtrn1q_u64(vreinterpretq_u64_u32(t1), vreinterpretq_u64_u32(t3)));
    r.c = vreinterpretq_u32_u64(vtrn2q_u64(vreinterpretq_u64_u32(t0), vreinterpretq_u64_u32(t2)));
    r.d = vreinterpretq_u32_u64(vtrn2q_u64(vreinterpretq_u64_u32(t1), vreinterpretq_u64_u32(t3)));
#else
    OCT__UNUSED(row);
    r.a = oct__u32(p);
    r.b = oct__u32(p + 4);
    r.c = oct__u32(p + 8);
    r.d = oct__u32(p + 12);
#endif
    return r;
}
/* Low halves of the words to h, high halves 16 further on. */
static OCT__INLINE void OCT__K(oct__put_halves)(uint16_t *h /* [2, 16] */, VI x) {
#if defined(OCT__ISA_AVX512)
    const __m512i in_lane = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    vi_store(h, _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), _mm512_shuffle_epi8(x, in_lane)));
#elif defined(OCT__ISA_AVX2)
    const __m256i in_lane = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    const __m256i y = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(x, in_lane), 0xD8);
    _mm_storeu_si128((__m128i *)(void *)h, _mm256_castsi256_si128(y));
    _mm_storeu_si128((__m128i *)(void *)(h + OCT__PANEL), _mm256_extracti128_si256(y, 1));
#elif defined(OCT__ISA_NEON)
    vst1_u16(h, vmovn_u32(x));
    vst1_u16(h + OCT__PANEL, vshrn_n_u32(x, 16));
#else
    h[0] = (uint16_t)(x & 0xFFFFu);
    h[OCT__PANEL] = (uint16_t)(x >> 16);
#endif
}

static OCT__INLINE V4 OCT__K(oct__and4)(V4 x, VI m) {
    x.a = vi_and(x.a, m);
    x.b = vi_and(x.b, m);
    x.c = vi_and(x.c, m);
    x.d = vi_and(x.d, m);
    return x;
}
static OCT__INLINE V4 OCT__K(oct__or4)(V4 x, V4 y) {
    x.a = vi_or(x.a, y.a);
    x.b = vi_or(x.b, y.b);
    x.c = vi_or(x.c, y.c);
    x.d = vi_or(x.d, y.d);
    return x;
}
static OCT__INLINE V4 OCT__K(oct__xor4)(V4 x, VI m) {
    x.a = vi_xor(x.a, m);
    x.b = vi_xor(x.b, m);
    x.c = vi_xor(x.c, m);
    x.d = vi_xor(x.d, m);
    return x;
}
static OCT__INLINE V4 OCT__K(oct__shr4)(V4 x, int n) {
    x.a = vi_shrv(x.a, n);
    x.b = vi_shrv(x.b, n);
    x.c = vi_shrv(x.c, n);
    x.d = vi_shrv(x.d, n);
    return x;
}
/* x << 4, >> 4, << 2, >> 2, masked; constant shifts are one instruction where counted ones are two. */
static OCT__INLINE V4 OCT__K(oct__shl4_and4)(V4 x, VI m) {
    x.a = vi_and(vi_shl(x.a, 4), m);
    x.b = vi_and(vi_shl(x.b, 4), m);
    x.c = vi_and(vi_shl(x.c, 4), m);
    x.d = vi_and(vi_shl(x.d, 4), m);
    return x;
}
static OCT__INLINE V4 OCT__K(oct__shr4_and4)(V4 x, VI m) {
    x.a = vi_and(vi_shr(x.a, 4), m);
    x.b = vi_and(vi_shr(x.b, 4), m);
    x.c = vi_and(vi_shr(x.c, 4), m);
    x.d = vi_and(vi_shr(x.d, 4), m);
    return x;
}
static OCT__INLINE V4 OCT__K(oct__shl2_and4)(V4 x, VI m) {
    x.a = vi_and(vi_shl(x.a, 2), m);
    x.b = vi_and(vi_shl(x.b, 2), m);
    x.c = vi_and(vi_shl(x.c, 2), m);
    x.d = vi_and(vi_shl(x.d, 2), m);
    return x;
}
static OCT__INLINE V4 OCT__K(oct__shr2_and4)(V4 x, VI m) {
    x.a = vi_and(vi_shr(x.a, 2), m);
    x.b = vi_and(vi_shr(x.b, 2), m);
    x.c = vi_and(vi_shr(x.c, 2), m);
    x.d = vi_and(vi_shr(x.d, 2), m);
    return x;
}
/* Four steps of k at u, the panel's address for this v. */
static OCT__INLINE void OCT__K(oct__put4)(unsigned char *u, V4 x) {
    vi_store(u, x.a);
    vi_store(u + 4 * OCT__PANEL, x.b);
    vi_store(u + 8 * OCT__PANEL, x.c);
    vi_store(u + 12 * OCT__PANEL, x.d);
}
#define rows4 OCT__K(oct__rows4)
#define and4  OCT__K(oct__and4)
#define or4   OCT__K(oct__or4)
#define shr4  OCT__K(oct__shr4)
#define xor4  OCT__K(oct__xor4)
#define shl4_and4 OCT__K(oct__shl4_and4)
#define shr4_and4 OCT__K(oct__shr4_and4)
#define shl2_and4 OCT__K(oct__shl2_and4)
#define shr2_and4 OCT__K(oct__shr2_and4)
#define put4  OCT__K(oct__put4)

static void OCT__K(oct__from_f16)(const uint16_t *x, float *y, int n) {
    int i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, v_load_f16(x + i));
    for (; i < n; i++) y[i] = oct__f16_to_f32(x[i]);
}
static void OCT__K(oct__to_f16)(const float *x, uint16_t *y, int n) {
    int i = 0;
    for (; i + VW <= n; i += VW) v_store_f16(y + i, v_load(x + i));
    for (; i < n; i++) y[i] = oct__f32_to_f16(x[i]);
}
/* The half floats that 16 rows hold at p, p + step, ...: y [n, 16]. */
static void OCT__K(oct__half_columns)(const unsigned char *p, size_t row_bytes, size_t step, int n, float *y) {
    uint16_t h[OCT__K_QUANT / 32 * OCT__PANEL];
    if (n < 1) return;
    for (int b = 0; b < n; b++, p += step) {
        const unsigned char *q = p;
        for (uint16_t *o = h + b * OCT__PANEL; o < h + (b + 1) * OCT__PANEL; o += 4, q += 4 * row_bytes) {
            o[0] = oct__u16(q);
            o[1] = oct__u16(q + row_bytes);
            o[2] = oct__u16(q + 2 * row_bytes);
            o[3] = oct__u16(q + 3 * row_bytes);
        }
    }
    OCT__K(oct__from_f16)(h, y, n * OCT__PANEL);
}
/* Four numbers out of each word: y [4, 16] = d * (byte - zero). */
static OCT__INLINE void OCT__K(oct__put_scales)(float *y, VI x, VF d, VF zero) {
    const VI low = vi_dup(255);
    v_store(y, v_mul(d, v_sub(v_from_int(vi_and(x, low)), zero)));
    v_store(y + OCT__PANEL, v_mul(d, v_sub(v_from_int(vi_and(vi_shr(x, 8), low)), zero)));
    v_store(y + 2 * OCT__PANEL, v_mul(d, v_sub(v_from_int(vi_and(vi_shr(x, 16), low)), zero)));
    v_store(y + 3 * OCT__PANEL, v_mul(d, v_sub(v_from_int(vi_shr(x, 24)), zero)));
}
/* Bits i .. i + 3 of x to the lowest bits of four bytes. */
static OCT__INLINE VI OCT__K(oct__spread)(VI x) {
    return vi_and(vi_mul(vi_and(x, vi_dup(15)), vi_dup(0x00204081)), vi_dup(0x01010101));
}

/* Blocks of 32 with four bits each at offset q, the fifth (if any) at qh. */
static OCT__INLINE void OCT__K(oct__unpack_nibbles)(const unsigned char *rows, size_t row_bytes, int n_blocks, size_t block,
                                                    size_t q, size_t qh, const unsigned char *table, const oct__panel *panel) {
    unsigned char *u = panel->u;
    const VI low = vi_dup(0x0F0F0F0F), fifth = vi_dup(0x10101010);
    for (int b = 0; b < n_blocks; b++, rows += block, u += 32 * OCT__PANEL) {
        oct__ahead(panel, b, 1, 0);
        for (int v = 0; v < OCT__PANEL; v += VW) {
            const unsigned char *p = rows + (size_t)v * row_bytes;
            V4 x = rows4(p + q, row_bytes), y = shr4_and4(x, low);
            x = and4(x, low);
            if (table) {
                x.a = vi_lut(table, x.a);
                x.b = vi_lut(table, x.b);
                x.c = vi_lut(table, x.c);
                x.d = vi_lut(table, x.d);
                y.a = vi_lut(table, y.a);
                y.b = vi_lut(table, y.b);
                y.c = vi_lut(table, y.c);
                y.d = vi_lut(table, y.d);
            }
            if (qh) {
                uint32_t words[OCT__PANEL];
                for (int r = 0; r < VW; r++) words[r] = oct__u32(p + (size_t)r * row_bytes + qh);
                const VI h = vi_load(words);
                V4 z;
                z.a = OCT__K(oct__spread)(h);
                z.b = OCT__K(oct__spread)(vi_shr(h, 4));
                z.c = OCT__K(oct__spread)(vi_shr(h, 8));
                z.d = OCT__K(oct__spread)(vi_shr(h, 12));
                x = or4(x, shl4_and4(z, fifth));
                z.a = OCT__K(oct__spread)(vi_shr(h, 16));
                z.b = OCT__K(oct__spread)(vi_shr(h, 20));
                z.c = OCT__K(oct__spread)(vi_shr(h, 24));
                z.d = OCT__K(oct__spread)(vi_shr(h, 28));
                y = or4(y, shl4_and4(z, fifth));
            }
            put4(u + 4 * v, x);
            put4(u + 4 * v + 16 * OCT__PANEL, y);
        }
    }
}
static void OCT__K(oct__unpack_q8_0)(const unsigned char *rows, size_t row_bytes, int n_blocks, const oct__panel *panel) {
    const VI flip = vi_dup(0x80808080u);                    /* to unsigned: q + 128 */
    unsigned char *u = panel->u;
    for (int b = 0; b < n_blocks; b++, rows += 34, u += 32 * OCT__PANEL) {
        oct__ahead(panel, b, 1, 0);
        for (int v = 0; v < OCT__PANEL; v += VW)
            for (int i = 0; i < 2; i++) {
                const unsigned char *p = rows + (size_t)v * row_bytes + 2 + 16 * i;
                put4(u + 4 * v + 16 * i * OCT__PANEL, xor4(rows4(p, row_bytes), flip));
            }
    }
}

/* Scales and minimums of Q4_K and Q5_K, eight each: the first 16 bytes of a block are d, dmin and 12 bytes of six-bit
 * numbers (chapter 4), which as three words hold four numbers side by side. */
static OCT__INLINE void OCT__K(oct__k_scales)(const unsigned char *rows, size_t row_bytes, float *s, float *m) {
    const VI low6 = vi_dup(0x3F3F3F3F), low4 = vi_dup(0x0F0F0F0F), high2 = vi_dup(0x30303030);
    for (int v = 0; v < OCT__PANEL; v += VW) {
        uint16_t h[2 * OCT__PANEL];
        const V4 x = rows4(rows + (size_t)v * row_bytes, row_bytes);
        OCT__K(oct__put_halves)(h, x.a);
        const VF d = v_load_f16(h), dmin = v_sub(v_zero(), v_load_f16(h + OCT__PANEL)), zero = v_zero();
        OCT__K(oct__put_scales)(s + v, vi_and(x.b, low6), d, zero);
        OCT__K(oct__put_scales)(m + v, vi_and(x.c, low6), dmin, zero);
        OCT__K(oct__put_scales)(s + v + 4 * OCT__PANEL, vi_or(vi_and(x.d, low4), vi_and(vi_shr(x.b, 2), high2)), d, zero);
        OCT__K(oct__put_scales)(m + v + 4 * OCT__PANEL, vi_or(vi_and(vi_shr(x.d, 4), low4), vi_and(vi_shr(x.c, 2), high2)),
                                dmin, zero);
    }
}
static void OCT__K(oct__unpack_q4_k)(const unsigned char *rows, size_t row_bytes, int n_blocks, const oct__panel *p) {
    const VI low = vi_dup(0x0F0F0F0F);
    unsigned char *u = p->u;
    for (int b = 0; b < n_blocks; b++, rows += 144) {
        OCT__K(oct__k_scales)(rows, row_bytes, p->s + 8 * b * OCT__PANEL, p->m + 8 * b * OCT__PANEL);
        for (int g = 0; g < 4; g++, u += 64 * OCT__PANEL) {
            oct__ahead(p, 8 * b + 2 * g, 2, 0);
            for (int v = 0; v < OCT__PANEL; v += VW)
                for (int i = 0; i < 2; i++) {
                    const V4 x = rows4(rows + (size_t)v * row_bytes + 16 + 32 * g + 16 * i, row_bytes);
                    put4(u + 4 * v + 16 * i * OCT__PANEL, and4(x, low));
                    put4(u + 4 * v + (16 * i + 32) * OCT__PANEL, shr4_and4(x, low));
                }
        }
    }
}
static void OCT__K(oct__unpack_q5_k)(const unsigned char *rows, size_t row_bytes, int n_blocks, const oct__panel *p) {
    const VI low = vi_dup(0x0F0F0F0F), one = vi_dup(0x01010101), fifth = vi_dup(0x10101010);
    unsigned char *u = p->u;
    for (int b = 0; b < n_blocks; b++, rows += 176, u += 256 * OCT__PANEL) {
        OCT__K(oct__k_scales)(rows, row_bytes, p->s + 8 * b * OCT__PANEL, p->m + 8 * b * OCT__PANEL);
        for (int v = 0; v < OCT__PANEL; v += VW)
            for (int i = 0; i < 2; i++) {
                const unsigned char *r = rows + (size_t)v * row_bytes + 16 * i;
                unsigned char *y = u + 4 * v + 16 * i * OCT__PANEL;
                V4 h = rows4(r + 16, row_bytes);
                for (int g = 0; g < 4; g++, y += 64 * OCT__PANEL) {
                    const V4 x = rows4(r + 48 + 32 * g, row_bytes);
                    put4(y, or4(and4(x, low), shl4_and4(and4(h, one), fifth)));
                    h = shr4(h, 1);
                    put4(y + 32 * OCT__PANEL, or4(shr4_and4(x, low), shl4_and4(and4(h, one), fifth)));
                    h = shr4(h, 1);
                }
            }
    }
}
/* Scales, and minimums of Q2_K, of one block: 16 each. */
static void OCT__K(oct__q6_k_scales)(const unsigned char *rows, size_t row_bytes, float *s) {
    float d[OCT__PANEL];
    OCT__K(oct__half_columns)(rows + 208, row_bytes, 210, 1, d);
    for (int v = 0; v < OCT__PANEL; v += VW) {
        const V4 sc = xor4(rows4(rows + (size_t)v * row_bytes + 192, row_bytes), vi_dup(0x80808080u));    /* signed bytes + 128 */
        const VF dv = v_load(d + v), zero = v_dup(128.0f);
        OCT__K(oct__put_scales)(s + v, sc.a, dv, zero);
        OCT__K(oct__put_scales)(s + v + 4 * OCT__PANEL, sc.b, dv, zero);
        OCT__K(oct__put_scales)(s + v + 8 * OCT__PANEL, sc.c, dv, zero);
        OCT__K(oct__put_scales)(s + v + 12 * OCT__PANEL, sc.d, dv, zero);
    }
}
static void OCT__K(oct__q2_k_scales)(const unsigned char *rows, size_t row_bytes, float *s, float *m) {
    const VI low = vi_dup(0x0F0F0F0F);
    float d[OCT__PANEL], dmin[OCT__PANEL];
    OCT__K(oct__half_columns)(rows + 80, row_bytes, 84, 1, d);
    OCT__K(oct__half_columns)(rows + 82, row_bytes, 84, 1, dmin);
    for (int v = 0; v < OCT__PANEL; v += VW) {
        const V4 sc = rows4(rows + (size_t)v * row_bytes, row_bytes), mn = shr4_and4(sc, low), sl = and4(sc, low);
        const VF dv = v_load(d + v), mv = v_sub(v_zero(), v_load(dmin + v)), zero = v_zero();
        OCT__K(oct__put_scales)(s + v, sl.a, dv, zero);
        OCT__K(oct__put_scales)(s + v + 4 * OCT__PANEL, sl.b, dv, zero);
        OCT__K(oct__put_scales)(s + v + 8 * OCT__PANEL, sl.c, dv, zero);
        OCT__K(oct__put_scales)(s + v + 12 * OCT__PANEL, sl.d, dv, zero);
        OCT__K(oct__put_scales)(m + v, mn.a, mv, zero);
        OCT__K(oct__put_scales)(m + v + 4 * OCT__PANEL, mn.b, mv, zero);
        OCT__K(oct__put_scales)(m + v + 8 * OCT__PANEL, mn.c, mv, zero);
        OCT__K(oct__put_scales)(m + v + 12 * OCT__PANEL, mn.d, mv, zero);
    }
}
static void OCT__K(oct__q3_k_scales)(const unsigned char *rows, size_t row_bytes, float *s) {
    const VI low = vi_dup(0x0F0F0F0F), high = vi_dup(0x30303030);
    float d[OCT__PANEL];
    OCT__K(oct__half_columns)(rows + 108, row_bytes, 110, 1, d);
    for (int v = 0; v < OCT__PANEL; v += VW) {
        const V4 a = rows4(rows + (size_t)v * row_bytes + 92, row_bytes);            /* b, c, d: the 12 bytes of scales (chapter 4) */
        const VF dv = v_load(d + v), zero = v_dup(32.0f);
        OCT__K(oct__put_scales)(s + v, vi_or(vi_and(a.b, low), vi_and(vi_shl(a.d, 4), high)), dv, zero);
        OCT__K(oct__put_scales)(s + v + 4 * OCT__PANEL, vi_or(vi_and(a.c, low), vi_and(vi_shl(a.d, 2), high)), dv, zero);
        OCT__K(oct__put_scales)(s + v + 8 * OCT__PANEL, vi_or(vi_and(vi_shr(a.b, 4), low), vi_and(a.d, high)), dv, zero);
        OCT__K(oct__put_scales)(s + v + 12 * OCT__PANEL, vi_or(vi_and(vi_shr(a.c, 4), low), vi_and(vi_shr(a.d, 2), high)),
                                dv, zero);
    }
}
static void OCT__K(oct__unpack_q6_k)(const unsigned char *rows, size_t row_bytes, int n_blocks, const oct__panel *p) {
    const VI low = vi_dup(0x0F0F0F0F), high = vi_dup(0x30303030);
    unsigned char *u = p->u;
    for (int b = 0; b < n_blocks; b++, rows += 210) {
        OCT__K(oct__q6_k_scales)(rows, row_bytes, p->s + 16 * b * OCT__PANEL);
        for (int h = 0; h < 2; h++, u += 128 * OCT__PANEL)
            for (int v = 0; v < OCT__PANEL; v += VW) {
                const unsigned char *r = rows + (size_t)v * row_bytes;
                for (int i = 0; i < 2; i++) {
                    if (v == 0) oct__ahead(p, 8 * b + 4 * h + 2 * i, 2, 0);
                    const V4 x = rows4(r + 64 * h + 16 * i, row_bytes), y = rows4(r + 64 * h + 32 + 16 * i, row_bytes);
                    const V4 t = rows4(r + 128 + 32 * h + 16 * i, row_bytes);
                    unsigned char *o = u + 4 * v + 16 * i * OCT__PANEL;
                    put4(o, or4(and4(x, low), shl4_and4(t, high)));
                    put4(o + 32 * OCT__PANEL, or4(and4(y, low), shl2_and4(t, high)));
                    put4(o + 64 * OCT__PANEL, or4(shr4_and4(x, low), and4(t, high)));
                    put4(o + 96 * OCT__PANEL, or4(shr4_and4(y, low), shr2_and4(t, high)));
                }
            }
    }
}
static void OCT__K(oct__unpack_q2_k)(const unsigned char *rows, size_t row_bytes, int n_blocks, const oct__panel *p) {
    const VI two = vi_dup(0x03030303);
    unsigned char *u = p->u;
    for (int b = 0; b < n_blocks; b++, rows += 84, u += 256 * OCT__PANEL) {
        OCT__K(oct__q2_k_scales)(rows, row_bytes, p->s + 16 * b * OCT__PANEL, p->m + 16 * b * OCT__PANEL);
        for (int v = 0; v < OCT__PANEL; v += VW) {
            const unsigned char *r = rows + (size_t)v * row_bytes;
            for (int h = 0; h < 2; h++)
                for (int i = 0; i < 2; i++) {
                    const V4 x = rows4(r + 16 + 32 * h + 16 * i, row_bytes);
                    for (int g = 0; g < 4; g++)
                        put4(u + 4 * v + (128 * h + 32 * g + 16 * i) * OCT__PANEL, and4(shr4(x, 2 * g), two));
                }
        }
    }
}
static void OCT__K(oct__unpack_q3_k)(const unsigned char *rows, size_t row_bytes, int n_blocks, const oct__panel *p) {
    const VI two = vi_dup(0x03030303), one = vi_dup(0x01010101);
    unsigned char *u = p->u;
    for (int b = 0; b < n_blocks; b++, rows += 110, u += 256 * OCT__PANEL) {
        OCT__K(oct__q3_k_scales)(rows, row_bytes, p->s + 16 * b * OCT__PANEL);
        for (int v = 0; v < OCT__PANEL; v += VW) {
            const unsigned char *r = rows + (size_t)v * row_bytes;
            for (int i = 0; i < 2; i++) {
                V4 bits = rows4(r + 16 * i, row_bytes);
                for (int h = 0; h < 2; h++) {
                    const V4 x = rows4(r + 32 + 32 * h + 16 * i, row_bytes);
                    for (int g = 0; g < 4; g++, bits = shr4(bits, 1)) {
                        const V4 third = and4(bits, one);
                        V4 y = and4(shr4(x, 2 * g), two);
                        y.a = vi_or(y.a, vi_shl(third.a, 2));
                        y.b = vi_or(y.b, vi_shl(third.b, 2));
                        y.c = vi_or(y.c, vi_shl(third.c, 2));
                        y.d = vi_or(y.d, vi_shl(third.d, 2));
                        put4(u + 4 * v + (128 * h + 32 * g + 16 * i) * OCT__PANEL, y);
                    }
                }
            }
        }
    }
}
static void OCT__K(oct__unpack)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p) {
    static const unsigned char iq4_nl[16] = { 1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241 };
    const int n = k / 32, n_big = k / 256;
    switch (type) {
    case OCT__Q4_0:   OCT__K(oct__unpack_nibbles)(rows, row_bytes, n, 18, 2, 0, NULL, p); break;
    case OCT__IQ4_NL: OCT__K(oct__unpack_nibbles)(rows, row_bytes, n, 18, 2, 0, iq4_nl, p); break;
    case OCT__Q4_1:   OCT__K(oct__unpack_nibbles)(rows, row_bytes, n, 20, 4, 0, NULL, p); break;
    case OCT__Q5_0:   OCT__K(oct__unpack_nibbles)(rows, row_bytes, n, 22, 6, 2, NULL, p); break;
    case OCT__Q5_1:   OCT__K(oct__unpack_nibbles)(rows, row_bytes, n, 24, 8, 4, NULL, p); break;
    case OCT__Q8_0:   OCT__K(oct__unpack_q8_0)(rows, row_bytes, n, p); break;
    case OCT__Q2_K:   OCT__K(oct__unpack_q2_k)(rows, row_bytes, n_big, p); return;
    case OCT__Q3_K:   OCT__K(oct__unpack_q3_k)(rows, row_bytes, n_big, p); return;
    case OCT__Q4_K:   OCT__K(oct__unpack_q4_k)(rows, row_bytes, n_big, p); return;
    case OCT__Q5_K:   OCT__K(oct__unpack_q5_k)(rows, row_bytes, n_big, p); return;
    case OCT__Q6_K:   OCT__K(oct__unpack_q6_k)(rows, row_bytes, n_big, p); return;
    default: return;
    }
    const size_t block = (size_t)oct__types[type].block_bytes;
    OCT__K(oct__half_columns)(rows, row_bytes, block, n, p->s);
    if (p->zero_shift == 32) OCT__K(oct__half_columns)(rows + 2, row_bytes, block, n, p->m);
}
#if OCT__X86_MADD && OCT__OWN_INT8
/* For WIDE, once per panel and not once per tile: each four's numbers 0 and 2 as int16, then 1 and 3; in place, so from
 * the end. */
static void OCT__K(oct__unpack_wide)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p) {
    const VI even = vi_dup(0x00FF00FF);
    OCT__K(oct__unpack)(type, rows, row_bytes, k, p);
    if (p->u_max <= 63) return;
    for (int i = k / 4; i-- > 0; )
        for (int v = OCT__PANEL - VW; v >= 0; v -= VW) {
            const VI x = vi_load(p->u + (4 * OCT__PANEL * i + 4 * v));
            unsigned char *y = p->u + (8 * OCT__PANEL * i + 4 * v);
            vi_store(y + 4 * OCT__PANEL, vi_and(vi_shr(x, 8), even));
            vi_store(y, vi_and(x, even));
        }
}
#endif

/* A float type's 16 rows side by side; what is left of k after whole 16 bytes goes number by number. */
static void OCT__K(oct__columns_f)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p, float *y) {
    uint16_t *h = (uint16_t *)(void *)p->u;
    const int size = type == OCT__F32 ? 4 : 2, step = 16 / size;
    int i = 0;
    for (; i + step <= k; i += step) {
        if (i % 16 == 0) oct__ahead(p, i / 32, 1, i / 16 % 2);
        for (int v = 0; v < OCT__PANEL; v += VW) {
            const V4 x = rows4(rows + (size_t)v * row_bytes + (size_t)(i * size), row_bytes);
            float *o = y + i * OCT__PANEL + v;
            uint16_t *g = h + i * OCT__PANEL + v;
            if (type == OCT__F16) {
                OCT__K(oct__put_halves)(g, x.a);
                OCT__K(oct__put_halves)(g + 2 * OCT__PANEL, x.b);
                OCT__K(oct__put_halves)(g + 4 * OCT__PANEL, x.c);
                OCT__K(oct__put_halves)(g + 6 * OCT__PANEL, x.d);
            } else if (type == OCT__BF16) {
                const VI high = vi_dup(0xFFFF0000u);
                v_store(o, v_from_bits(vi_shl(x.a, 16)));
                v_store(o + OCT__PANEL, v_from_bits(vi_and(x.a, high)));
                v_store(o + 2 * OCT__PANEL, v_from_bits(vi_shl(x.b, 16)));
                v_store(o + 3 * OCT__PANEL, v_from_bits(vi_and(x.b, high)));
                v_store(o + 4 * OCT__PANEL, v_from_bits(vi_shl(x.c, 16)));
                v_store(o + 5 * OCT__PANEL, v_from_bits(vi_and(x.c, high)));
                v_store(o + 6 * OCT__PANEL, v_from_bits(vi_shl(x.d, 16)));
                v_store(o + 7 * OCT__PANEL, v_from_bits(vi_and(x.d, high)));
            } else {
                v_store(o, v_from_bits(x.a));
                v_store(o + OCT__PANEL, v_from_bits(x.b));
                v_store(o + 2 * OCT__PANEL, v_from_bits(x.c));
                v_store(o + 3 * OCT__PANEL, v_from_bits(x.d));
            }
        }
    }
    if (type == OCT__F16) OCT__K(oct__from_f16)(h, y, i * OCT__PANEL);
    for (; i < k; i++)
        for (int r = 0; r < OCT__PANEL; r++)
            oct__dequant_row(type, rows + (size_t)r * row_bytes + (size_t)(i * size), y + i * OCT__PANEL + r, 1);
}
static void OCT__K(oct__unpack_f)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p, float *y) {
    if (oct__types[type].computes == 1) {
        OCT__K(oct__columns_f)(type, rows, row_bytes, k, p, y);
        return;
    }
    OCT__K(oct__unpack)(type, rows, row_bytes, k, p);
    const int has_min = p->zero_shift == 32;
    const VF zero = v_dup(has_min ? 0.0f : (float)(1 << p->zero_shift));
    const VI low = vi_dup(255);
    for (int v = 0; v < OCT__PANEL; v += VW)
        for (int i = 0; i < k; i += 4) {
            const VI x = vi_load(p->u + (i * OCT__PANEL + 4 * v));
            const int g = i / p->group * OCT__PANEL + v;
            const VF s = v_load(p->s + g);
            float *o = y + i * OCT__PANEL + v;
            VF a = v_mul(s, v_sub(v_from_int(vi_and(x, low)), zero)), b = v_mul(s, v_sub(v_from_int(vi_and(vi_shr(x, 8), low)), zero));
            VF c = v_mul(s, v_sub(v_from_int(vi_and(vi_shr(x, 16), low)), zero)), d = v_mul(s, v_sub(v_from_int(vi_shr(x, 24)), zero));
            if (has_min) {
                const VF m = v_load(p->m + g);
                a = v_add(a, m);
                b = v_add(b, m);
                c = v_add(c, m);
                d = v_add(d, m);
            }
            v_store(o, a);
            v_store(o + OCT__PANEL, b);
            v_store(o + 2 * OCT__PANEL, c);
            v_store(o + 3 * OCT__PANEL, d);
        }
}
/* One token: weights go from the file into the sums, and nothing is written down.  nv vectors of rows: a second chain hides
 * half of the first one's latency. */
static OCT__INLINE void OCT__K(oct__one_f_rows)(const int type, const int nv, const unsigned char *rows, size_t row_bytes, int k, const float *x,
                                                const oct__panel *p, float *y) {
    const int size = type == OCT__F32 ? 4 : 2, step = 16 / size;
    const VI high = vi_dup(0xFFFF0000u);
    uint16_t h[8 * OCT__PANEL], g[8 * OCT__PANEL];
    VF a = v_load(y), b = nv > 1 ? v_load(y + VW) : a;
    int i = 0;
    for (; i + step <= k; i += step) {
        const unsigned char *from = rows + (size_t)(i * size);
        if (p && i % 16 == 0) oct__ahead(p, i / 32, 1, i / 16 % 2);
        const V4 w = rows4(from, row_bytes), u = nv > 1 ? rows4(from + VW * row_bytes, row_bytes) : w;
#define OCT__X(A, B, j) { const VF s = v_dup(x[i + j]); a = v_fma(A, s, a); if (nv > 1) b = v_fma(B, s, b); }
        if (type == OCT__F16) {
#define OCT__Y(n, j) OCT__K(oct__put_halves)(h + j * OCT__PANEL, w.n); if (nv > 1) OCT__K(oct__put_halves)(g + j * OCT__PANEL, u.n);
            OCT__Y(a, 0) OCT__Y(b, 2) OCT__Y(c, 4) OCT__Y(d, 6)
#undef OCT__Y
#define OCT__Y(j) OCT__X(v_load_f16(h + j * OCT__PANEL), v_load_f16(g + j * OCT__PANEL), j)
            OCT__Y(0) OCT__Y(1) OCT__Y(2) OCT__Y(3) OCT__Y(4) OCT__Y(5) OCT__Y(6) OCT__Y(7)
#undef OCT__Y
        } else if (type == OCT__BF16) {
#define OCT__Y(n, j) OCT__X(v_from_bits(vi_shl(w.n, 16)), v_from_bits(vi_shl(u.n, 16)), j) \
                     OCT__X(v_from_bits(vi_and(w.n, high)), v_from_bits(vi_and(u.n, high)), j + 1)
            OCT__Y(a, 0) OCT__Y(b, 2) OCT__Y(c, 4) OCT__Y(d, 6)
#undef OCT__Y
        } else {
            OCT__X(v_from_bits(w.a), v_from_bits(u.a), 0)
            OCT__X(v_from_bits(w.b), v_from_bits(u.b), 1)
            OCT__X(v_from_bits(w.c), v_from_bits(u.c), 2)
            OCT__X(v_from_bits(w.d), v_from_bits(u.d), 3)
        }
#undef OCT__X
    }
    v_store(y, a);
    if (nv > 1) v_store(y + VW, b);
    for (; i < k; i++) {
        float w[2 * VW];
        for (int r = 0; r < nv * VW; r++) oct__dequant_row(type, rows + (size_t)r * row_bytes + (size_t)(i * size), w + r, 1);
        v_store(y, v_fma(v_load(w), v_dup(x[i]), v_load(y)));
        if (nv > 1) v_store(y + VW, v_fma(v_load(w + VW), v_dup(x[i]), v_load(y + VW)));
    }
}
static void OCT__K(oct__one_f)(int type, const unsigned char *rows, size_t row_bytes, int k, const float *x, const oct__panel *p, float *y) {
    enum { NV = OCT__PANEL / VW > 1 ? 2 : 1 };
    for (int v = 0; v < OCT__PANEL; v += NV * VW) {
        const unsigned char *from = rows + (size_t)v * row_bytes;
        const oct__panel *ahead = v == 0 ? p : NULL;
        if (type == OCT__F16) OCT__K(oct__one_f_rows)(OCT__F16, NV, from, row_bytes, k, x, ahead, y + v);
        else if (type == OCT__BF16) OCT__K(oct__one_f_rows)(OCT__BF16, NV, from, row_bytes, k, x, ahead, y + v);
        else OCT__K(oct__one_f_rows)(OCT__F32, NV, from, row_bytes, k, x, ahead, y + v);
    }
}

/* --- activations to int8 ------------------------------------------------------------ */

/* 32 numbers times a to the nearest integer, ties to even: q [32], and the sums of both halves.  Adding 1.5 * 2^23
 * rounds and leaves the integer in the lowest bits: no conversion can overflow, whatever x holds. */
static OCT__INLINE void OCT__K(oct__quant32)(const float *x, float a, uint32_t *q /* [8] */, int32_t *sums /* [2] */) {
    const VF f = v_dup(a), magic = v_dup(12582912.0f);
#if defined(OCT__ISA_AVX512) || defined(OCT__ISA_AVX2)
#if defined(OCT__ISA_AVX512)
    const __m128i b0 = _mm512_cvtepi32_epi8(v_bits(v_add(v_mul(v_load(x), f), magic)));
    const __m128i b1 = _mm512_cvtepi32_epi8(v_bits(v_add(v_mul(v_load(x + 16), f), magic)));
    const __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(b0), b1, 1);
#else
    const __m256i low = _mm256_set1_epi32(255);
    const __m256i i0 = _mm256_and_si256(v_bits(v_add(v_mul(v_load(x), f), magic)), low);
    const __m256i i1 = _mm256_and_si256(v_bits(v_add(v_mul(v_load(x + 8), f), magic)), low);
    const __m256i i2 = _mm256_and_si256(v_bits(v_add(v_mul(v_load(x + 16), f), magic)), low);
    const __m256i i3 = _mm256_and_si256(v_bits(v_add(v_mul(v_load(x + 24), f), magic)), low);
    /* packs work in 128-bit lanes: the words come out in the order 0 2 4 6 1 3 5 7 */
    const __m256i mixed = _mm256_packus_epi16(_mm256_packus_epi32(i0, i1), _mm256_packus_epi32(i2, i3));
    const __m256i b = _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#endif
    uint64_t s[4];
    _mm256_storeu_si256((__m256i *)(void *)q, b);
    _mm256_storeu_si256((__m256i *)(void *)s, _mm256_sad_epu8(_mm256_xor_si256(b, _mm256_set1_epi8((char)-128)), _mm256_setzero_si256()));
    sums[0] = (int32_t)(s[0] + s[1]) - 16 * 128;
    sums[1] = (int32_t)(s[2] + s[3]) - 16 * 128;
#elif defined(OCT__ISA_NEON)
    for (int i = 0; i < 2; i++, x += 16) {
        const uint16x4_t i0 = vmovn_u32(v_bits(v_add(v_mul(v_load(x), f), magic)));
        const uint16x4_t i1 = vmovn_u32(v_bits(v_add(v_mul(v_load(x + 4), f), magic)));
        const uint16x4_t i2 = vmovn_u32(v_bits(v_add(v_mul(v_load(x + 8), f), magic)));
        const uint16x4_t i3 = vmovn_u32(v_bits(v_add(v_mul(v_load(x + 12), f), magic)));
        const uint8x16_t b = vcombine_u8(vmovn_u16(vcombine_u16(i0, i1)), vmovn_u16(vcombine_u16(i2, i3)));
        vst1q_u32(q + 4 * i, vreinterpretq_u32_u8(b));
        sums[i] = vaddlvq_s8(vreinterpretq_s8_u8(b));
    }
#else
    for (int i = 0; i < 2; i++, q += 4) {
        sums[i] = 0;
        for (int j = 0; j < 4; j++) {
            uint32_t word = 0;
            for (int l = 0; l < 4; l++) {
                const uint32_t b = v_bits(v_add(v_mul(*x++, f), magic)) & 255u;
                sums[i] += (signed char)b;
                word |= b << 8 * l;
            }
            q[j] = word;
        }
    }
#endif
}
/* What the integer sum of numbers whose sum is `sum` begins with, for no zero point and for three: OCT__MAGIC, and what
 * they add up to too much. */
static OCT__INLINE void OCT__K(oct__starts)(uint32_t *out, int n, int sum, int shift1, int shift2, int shift3) {
#if defined(OCT__ISA_NEON)
    const int start = OCT__MAGIC + 128 * sum;               /* weights are multiplied as u - 128 there */
#else
    const int start = OCT__MAGIC;
#endif
    out[0] = (uint32_t)start;
    out[n] = (uint32_t)(start - sum * (1 << shift1));
    out[2 * n] = (uint32_t)(start - sum * (1 << shift2));
    if (shift3 > 0) out[3 * n] = (uint32_t)(start - sum * (1 << shift3));
}
/* The largest lane. */
static OCT__INLINE float OCT__K(oct__largest)(VF x) {
#if defined(OCT__ISA_AVX512) || defined(OCT__ISA_AVX2)
#if defined(OCT__ISA_AVX512)
    const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(x), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
#else
    const __m256 h = x;
#endif
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
#elif defined(OCT__ISA_NEON)
    return vmaxvq_f32(x);
#else
    return x;
#endif
}
static void OCT__K(oct__quantise)(const float *x, int n_groups, uint32_t *blocks, int words, int t, int n) {
    uint32_t *out = blocks + t;
    for (int g = 0; g < n_groups; g++, x += 32, out += words * n) {
        float *f = (float *)(void *)out;
        uint32_t q[8];
        int32_t sums[2];
        VF top = v_abs(v_load(x));
        for (int i = VW; i < 32; i += VW) top = v_max(top, v_abs(v_load(x + i)));
        const float amax = OCT__K(oct__largest)(top), d = amax / 127.0f;
        OCT__K(oct__quant32)(x, amax > 1e-30f ? 127.0f / amax : 0.0f, q, sums);
        for (int i = 0; i < 8; i++) out[i * n] = q[i];
        f[OCT__Q_D * n] = d;
        f[OCT__Q_D32 * n] = d * (float)(sums[0] + sums[1]);
        OCT__K(oct__starts)(out + OCT__Q_S32 * n, n, sums[0] + sums[1], 3, 4, 7);
        for (int i = 0; i < 2; i++) {
            f[(OCT__Q_D16 + i) * n] = d * (float)sums[i];
            OCT__K(oct__starts)(out + (OCT__Q_S16 + 3 * i) * n, n, sums[i], 2, 5, -1);
        }
        if (words < OCT__Q_WIDE) continue;
        for (int i = 0; i < 8; i++) {
            const uint32_t w = q[i];
            out[(OCT__Q_WORDS + 2 * i) * n] = (uint32_t)(uint16_t)(signed char)(w & 255u) | (uint32_t)(uint16_t)(signed char)(w >> 16 & 255u) << 16;
            out[(OCT__Q_WORDS + 2 * i + 1) * n] = (uint32_t)(uint16_t)(signed char)(w >> 8 & 255u) | (uint32_t)(uint16_t)(signed char)(w >> 24) << 16;
        }
    }
}

/* --- F32: panels times tokens ------------------------------------------------------------
 * Each output is one chain of fma over k.  A chain's latency is hidden by having many: 24 sums where there are 32
 * registers, 12 where there are 16, all named, for compilers keep an indexed array in memory. */

/* nv vectors of rows (w0 .. w3) by n tokens, x as it lies. */
#define OCT__EACH_TOKEN(X) X(0) if (n > 1) { X(1) } if (n > 2) { X(2) X(3) } if (n > 4) { X(4) X(5) }
static OCT__INLINE void OCT__K(oct__mul_f_tile)(const int nv, const int n, const float *w0, const float *w1, const float *w2,
                                                const float *w3, int k, const float *x, size_t xs, float *y, size_t ys, int mode) {
    const float *x0 = x, *x1 = x + xs, *x2 = x1 + xs, *x3 = x2 + xs, *x4 = x3 + xs, *x5 = x4 + xs;
    VF a0 = v_zero(), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0, b4 = a0, b5 = a0;
    VF c0 = a0, c1 = a0, c2 = a0, c3 = a0, c4 = a0, c5 = a0, d0 = a0, d1 = a0, d2 = a0, d3 = a0, d4 = a0, d5 = a0;
    if (mode == OCT__MUL_CHAIN) {
#define OCT__X(j) a##j = v_load(y + j * ys); if (nv > 1) b##j = v_load(y + j * ys + VW); \
                  if (nv > 2) { c##j = v_load(y + j * ys + 2 * VW); d##j = v_load(y + j * ys + 3 * VW); }
        OCT__EACH_TOKEN(OCT__X)
#undef OCT__X
    }
    for (size_t i = 0; i < (size_t)k; i++) {
        const size_t at = i * OCT__PANEL;
        const VF wa = v_load(w0 + at), wb = nv > 1 ? v_load(w1 + at) : wa, wc = nv > 2 ? v_load(w2 + at) : wa, wd = nv > 2 ? v_load(w3 + at) : wa;
#define OCT__X(j) { const VF s = v_dup(x##j[i]); a##j = v_fma(wa, s, a##j); if (nv > 1) b##j = v_fma(wb, s, b##j); \
                    if (nv > 2) { c##j = v_fma(wc, s, c##j); d##j = v_fma(wd, s, d##j); } }
        OCT__EACH_TOKEN(OCT__X)
#undef OCT__X
    }
    if (mode == OCT__MUL_ADD) {
#define OCT__X(j) a##j = v_add(v_load(y + j * ys), a##j); if (nv > 1) b##j = v_add(v_load(y + j * ys + VW), b##j); \
                  if (nv > 2) { c##j = v_add(v_load(y + j * ys + 2 * VW), c##j); d##j = v_add(v_load(y + j * ys + 3 * VW), d##j); }
        OCT__EACH_TOKEN(OCT__X)
#undef OCT__X
    }
#define OCT__X(j) v_store(y + j * ys, a##j); if (nv > 1) v_store(y + j * ys + VW, b##j); \
                  if (nv > 2) { v_store(y + j * ys + 2 * VW, c##j); v_store(y + j * ys + 3 * VW, d##j); }
    OCT__EACH_TOKEN(OCT__X)
#undef OCT__X
}
/* nv vectors of rows from vector i on, all n tokens. */
static OCT__INLINE void OCT__K(oct__mul_f_rows)(const int nv, int i, const float *w, size_t ws, int k, const float *x, size_t xs, int n,
                                                float *y, size_t ys, int mode) {
    enum { PER = OCT__PANEL / VW };
#define OCT__X(j) (w + (size_t)((i + (j)) / PER) * ws + (i + (j)) % PER * VW)
    const float *w0 = OCT__X(0), *w1 = nv > 1 ? OCT__X(1) : w0, *w2 = nv > 2 ? OCT__X(2) : w0, *w3 = nv > 2 ? OCT__X(3) : w0;
#undef OCT__X
    y += i * VW;
    int t = 0;
#if !defined(OCT__ISA_AVX2)                                 /* 16 registers: four vectors leave room for two tokens */
    for (; t + 6 <= n; t += 6) OCT__K(oct__mul_f_tile)(nv, 6, w0, w1, w2, w3, k, x + (size_t)t * xs, xs, y + (size_t)t * ys, ys, mode);
    for (; t + 4 <= n; t += 4) OCT__K(oct__mul_f_tile)(nv, 4, w0, w1, w2, w3, k, x + (size_t)t * xs, xs, y + (size_t)t * ys, ys, mode);
#else
    if (nv <= 2) {
        for (; t + 6 <= n; t += 6) OCT__K(oct__mul_f_tile)(nv, 6, w0, w1, w2, w3, k, x + (size_t)t * xs, xs, y + (size_t)t * ys, ys, mode);
        for (; t + 4 <= n; t += 4) OCT__K(oct__mul_f_tile)(nv, 4, w0, w1, w2, w3, k, x + (size_t)t * xs, xs, y + (size_t)t * ys, ys, mode);
    }
#endif
    for (; t + 2 <= n; t += 2) OCT__K(oct__mul_f_tile)(nv, 2, w0, w1, w2, w3, k, x + (size_t)t * xs, xs, y + (size_t)t * ys, ys, mode);
    if (t < n) OCT__K(oct__mul_f_tile)(nv, 1, w0, w1, w2, w3, k, x + (size_t)t * xs, xs, y + (size_t)t * ys, ys, mode);
}
static void OCT__K(oct__mul_f)(const float *w, size_t ws, int n_panels, int k, const float *x, size_t xs, int n, float *y, size_t ys,
                               int mode) {
    const int vectors = n_panels * (OCT__PANEL / VW);
    int i = 0;
#if defined(OCT__ISA_AVX2)
    if (n <= 2)
#endif
    for (; i + 4 <= vectors; i += 4) OCT__K(oct__mul_f_rows)(4, i, w, ws, k, x, xs, n, y, ys, mode);
    for (; i + 2 <= vectors; i += 2) OCT__K(oct__mul_f_rows)(2, i, w, ws, k, x, xs, n, y, ys, mode);
    for (; i < vectors; i++) OCT__K(oct__mul_f_rows)(1, i, w, ws, k, x, xs, n, y, ys, mode);
}
static void OCT__K(oct__pack_f)(const float *x, size_t xs, int k, float *unit) {
    for (int i = 0; i < k; i++, unit += OCT__UNIT)
        for (int j = 0; j < OCT__UNIT; j++) unit[j] = x[(size_t)j * xs + (size_t)i];
}

/* Two sets of sums, a and b, each of some columns of a unit.  AVX-512: one vector of rows by two units, whose numbers
 * are read by the fma itself, without an instruction of their own.  Others: two vectors of rows by one unit. */
#if defined(OCT__ISA_AVX512)
#  define OCT__VECTORS 1
#else
#  define OCT__VECTORS 2
#endif
#if defined(OCT__ISA_AVX512) || defined(OCT__ISA_NEON)
#  define OCT__COLUMNS 12
#  define OCT__EACH_COLUMN(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#  define OCT__COLUMNS 6
#  define OCT__EACH_COLUMN(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif
static OCT__INLINE void OCT__K(oct__mul_unit)(const int two, const float *w, int k, const float *p, const float *q, float *y, float *z,
                                              size_t ys, int mode) {
#define OCT__X(j) VF a##j = v_zero(), b##j = v_zero();
    OCT__EACH_COLUMN(OCT__X)
#undef OCT__X
    if (mode == OCT__MUL_CHAIN) {
#define OCT__X(j) a##j = v_load(y + j * ys); if (two) b##j = v_load(z + j * ys);
        OCT__EACH_COLUMN(OCT__X)
#undef OCT__X
    }
    for (int i = 0; i < k; i++, w += OCT__PANEL, p += OCT__UNIT, q += OCT__UNIT) {
        const VF wa = v_load(w), wb = OCT__VECTORS == 2 ? v_load(w + VW) : wa;
#define OCT__X(j) a##j = v_fma(wa, v_dup(p[j]), a##j); if (two) b##j = v_fma(wb, v_dup(q[j]), b##j);
        OCT__EACH_COLUMN(OCT__X)
#undef OCT__X
    }
    if (mode == OCT__MUL_ADD) {
#define OCT__X(j) a##j = v_add(v_load(y + j * ys), a##j); if (two) b##j = v_add(v_load(z + j * ys), b##j);
        OCT__EACH_COLUMN(OCT__X)
#undef OCT__X
    }
#define OCT__X(j) v_store(y + j * ys, a##j); if (two) v_store(z + j * ys, b##j);
    OCT__EACH_COLUMN(OCT__X)
#undef OCT__X
}
static void OCT__K(oct__mul_units)(const float *w, int k, const float *x, size_t us, int n_units, float *y, size_t ys, int mode) {
    int u = 0;
#if OCT__VECTORS == 1
    for (; u + 2 <= n_units; u += 2, x += 2 * us, y += 2 * OCT__UNIT * ys)
        OCT__K(oct__mul_unit)(1, w, k, x, x + us, y, y + OCT__UNIT * ys, ys, mode);
    if (u < n_units) OCT__K(oct__mul_unit)(0, w, k, x, x, y, y, ys, mode);
#else
    for (; u < n_units; u++, x += us, y += OCT__UNIT * ys)
        for (int v = 0; v < OCT__PANEL; v += 2 * VW)
            for (int c = 0; c < OCT__UNIT; c += OCT__COLUMNS) {
                float *o = y + (size_t)c * ys + v;
                OCT__K(oct__mul_unit)(1, w + v, k, x + c, x + c, o, o + VW, ys, mode);
            }
#endif
}

/* --- functions of one number --------------------------------------------------------------
 * e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2; polynomial fitted for the least relative error (3e-9 before
 * rounding).  0 below -86.6, where the result would soon be subnormal; infinite above 88.7; a NaN comes through. */
static OCT__INLINE VF OCT__K(oct__exp)(VF x0) {
    const VF x = v_min(v_dup(89.0f), v_max(v_dup(-87.0f), x0));
    const VF magic = v_dup(12582912.0f), t = v_fma(x, v_dup(1.442695040888963f), magic), n = v_sub(t, magic);
    const VF r = v_fma(n, v_dup(-1.42860677e-06f), v_fma(n, v_dup(-0.693145752f), x));
    VF p = v_dup(0.0013814467f);
    p = v_fma(p, r, v_dup(0.00836878084f));
    p = v_fma(p, r, v_dup(0.0416683927f));
    p = v_fma(p, r, v_dup(0.166665196f));
    p = v_fma(p, r, v_dup(0.49999994f));
    p = v_fma(v_mul(r, r), p, v_add(r, v_dup(1.0f)));
    /* n + 126 to the exponent: 2^(n - 1), and twice that, for n = 128 has no exponent of its own */
    const VF half = v_mul(p, v_from_bits(vi_shl(vi_add(v_bits(t), vi_dup(126)), 23)));
    return v_zero_below(x0, v_dup(-86.6f), v_add(half, half));
}
static OCT__INLINE VF OCT__K(oct__logistic_mul)(VF y, VF x) {      /* y / (1 + e^-x) */
    return v_div(y, v_add(v_dup(1.0f), OCT__K(oct__exp)(v_sub(v_zero(), x))));
}
/* x times the normal distribution's integral.  Its tail below -|x| is e^(-x^2 / 2) R(|x|), R fitted as a polynomial in
 * 1 / (1 + 0.35 |x|) on [0, 14] (3e-8), so that the tail keeps its relative precision. */
static OCT__INLINE VF OCT__K(oct__gelu_erf)(VF x) {
    const VF a = v_abs(x), t = v_div(v_dup(1.0f), v_fma(a, v_dup(0.35f), v_dup(1.0f)));
    VF p = v_dup(-0.029145928099751472f);
    p = v_fma(p, t, v_dup(0.14397168159484863f));
    p = v_fma(p, t, v_dup(-0.2557142376899719f));
    p = v_fma(p, t, v_dup(0.1591741293668747f));
    p = v_fma(p, t, v_dup(-0.023109814152121544f));
    p = v_fma(p, t, v_dup(0.105507992208004f));
    p = v_fma(p, t, v_dup(0.11983287334442139f));
    p = v_fma(p, t, v_dup(0.13986186683177948f));
    p = v_fma(p, t, v_dup(0.13962140679359436f));
    const VF tail = v_mul(v_mul(p, t), OCT__K(oct__exp)(v_mul(v_mul(x, x), v_dup(-0.5f))));
    return v_mul(x, v_if_neg(x, tail, v_sub(v_dup(1.0f), tail)));
}
static OCT__INLINE VF OCT__K(oct__gelu_one)(VF x, int kind) {
    if (kind == OCT__GELU_ERF) return OCT__K(oct__gelu_erf)(x);
    if (kind == OCT__GELU_QUICK) return OCT__K(oct__logistic_mul)(x, v_mul(x, v_dup(1.702f)));
    if (kind == OCT__GELU_SILU) return OCT__K(oct__logistic_mul)(x, x);
    /* (1 + tanh u) / 2 = 1 / (1 + e^-2u), 2u = sqrt(8 / pi) (x + 0.044715 x^3) */
    const VF x3 = v_mul(v_mul(x, x), v_mul(x, v_dup(0.044715f)));
    return OCT__K(oct__logistic_mul)(x, v_mul(v_add(x, x3), v_dup(1.595769121605731f)));
}
static void OCT__K(oct__gelu)(float *y, const float *x, int n, int kind) {
    int i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, OCT__K(oct__gelu_one)(v_load(x + i), kind));
    if (i < n) {
        float a[OCT__PANEL] = { 0 };
        memcpy(a, x + i, (size_t)(n - i) * sizeof *x);
        v_store(a, OCT__K(oct__gelu_one)(v_load(a), kind));
        memcpy(y + i, a, (size_t)(n - i) * sizeof *y);
    }
}
static void OCT__K(oct__silu_mul)(float *y, const float *gate, const float *up, int n) {
    int i = 0;
    for (; i + VW <= n; i += VW) {
        const VF g = v_load(gate + i);
        v_store(y + i, v_mul(OCT__K(oct__logistic_mul)(g, g), v_load(up + i)));
    }
    if (i < n) {
        float a[OCT__PANEL] = { 0 }, b[OCT__PANEL] = { 0 };
        memcpy(a, gate + i, (size_t)(n - i) * sizeof *a);
        memcpy(b, up + i, (size_t)(n - i) * sizeof *b);
        v_store(a, v_mul(OCT__K(oct__logistic_mul)(v_load(a), v_load(a)), v_load(b)));
        memcpy(y + i, a, (size_t)(n - i) * sizeof *y);
    }
}
static void OCT__K(oct__expv)(const float *x, float *y, int n) {
    int i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, OCT__K(oct__exp)(v_load(x + i)));
    if (i < n) {
        float a[OCT__PANEL] = { 0 };
        memcpy(a, x + i, (size_t)(n - i) * sizeof *x);
        v_store(a, OCT__K(oct__exp)(v_load(a)));
        memcpy(y + i, a, (size_t)(n - i) * sizeof *y);
    }
}
static void OCT__K(oct__add)(float *y, const float *x, int n) {
    int i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, v_add(v_load(y + i), v_load(x + i)));
    for (; i < n; i++) y[i] += x[i];
}
static void OCT__K(oct__scale)(float *y, float a, int n) {
    int i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, v_mul(v_load(y + i), v_dup(a)));
    for (; i < n; i++) y[i] *= a;
}
/* --- sums along a row ------------------------------------------------------------------------
 * 16 partial sums, number i going to i mod 16, then a tree over them: the same order for every vector width. */
static float OCT__K(oct__tree)(const float *s /* [16] */) {
    float a[8];
    for (int i = 0; i < 8; i++) a[i] = s[i] + s[i + 8];
    for (int i = 0; i < 4; i++) a[i] += a[i + 4];
    return (a[0] + a[2]) + (a[1] + a[3]);
}
/* Sum of (x - mean)^2, or of x with square 0. */
static float OCT__K(oct__row_sum)(const float *x, int n, float mean, int square) {
    float s[OCT__PANEL], rest[OCT__PANEL];
    const int whole = n - n % OCT__PANEL;
    for (int i = 0; i < OCT__PANEL; i++) rest[i] = whole + i < n ? x[whole + i] : square ? mean : 0.0f;
    for (int v = 0; v < OCT__PANEL; v += VW) {
        VF a = v_zero();
        const VF c = v_dup(mean);
        if (square) {
            for (int i = v; i < whole; i += OCT__PANEL) {
                const VF e = v_sub(v_load(x + i), c);
                a = v_fma(e, e, a);
            }
            const VF e = v_sub(v_load(rest + v), c);
            a = v_fma(e, e, a);
        } else {
            for (int i = v; i < whole; i += OCT__PANEL) a = v_add(a, v_load(x + i));
            a = v_add(a, v_load(rest + v));
        }
        v_store(s + v, a);
    }
    return OCT__K(oct__tree)(s);
}
static void OCT__K(oct__norm)(float *y, const float *x, const float *w, const float *b, int n, float eps, int rms) {
    const float mean = rms ? 0.0f : OCT__K(oct__row_sum)(x, n, 0.0f, 0) / (float)n;
    const float f = 1.0f / sqrtf(OCT__K(oct__row_sum)(x, n, mean, 1) / (float)n + eps);
    int i = 0;
    for (; i + VW <= n; i += VW) {
        VF a = v_mul(v_sub(v_load(x + i), v_dup(mean)), v_dup(f));
        if (w) a = v_mul(a, v_load(w + i));
        if (b) a = v_add(a, v_load(b + i));
        v_store(y + i, a);
    }
    for (; i < n; i++) {
        float a = (x[i] - mean) * f;
        if (w) a *= w[i];
        if (b) a += b[i];
        y[i] = a;
    }
}
/* --- attention ------------------------------------------------------------------------------- */

/* n rows of x, OCT__KEYS numbers apart: a constant, so that all are found from one pointer.  f: sums of a vector of rows of w; with two also g, of another.  AVX-512 reads 24 rows inside the fma itself. */
#define OCT__EACH24(X) X(0) if (n > 1) { X(1) } if (n > 2) { X(2) X(3) } if (n > 4) { X(4) X(5) } if (n > 6) { X(6) X(7) } \
    if (n > 8) { X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) }
static OCT__INLINE void OCT__K(oct__att_tile)(const int n, const int two, const int half, const void *w, const void *w2, int k,
                                              const float *x, float *y, float *y2, int chain) {
    const float *u = (const float *)w, *u2 = (const float *)w2;
    const uint16_t *h = (const uint16_t *)w, *h2 = (const uint16_t *)w2;
    VF f0 = v_zero(), f1 = f0, f2 = f0, f3 = f0, f4 = f0, f5 = f0, f6 = f0, f7 = f0, f8 = f0, f9 = f0, f10 = f0, f11 = f0;
    VF f12 = f0, f13 = f0, f14 = f0, f15 = f0, f16 = f0, f17 = f0, f18 = f0, f19 = f0, f20 = f0, f21 = f0, f22 = f0, f23 = f0;
    VF g0 = f0, g1 = f0, g2 = f0, g3 = f0, g4 = f0, g5 = f0, g6 = f0, g7 = f0, g8 = f0, g9 = f0, g10 = f0, g11 = f0;
    VF g12 = f0, g13 = f0, g14 = f0, g15 = f0, g16 = f0, g17 = f0, g18 = f0, g19 = f0, g20 = f0, g21 = f0, g22 = f0, g23 = f0;
    if (chain) {
#define OCT__X(i) f##i = v_load(y + i * OCT__KEYS); if (two) g##i = v_load(y2 + i * OCT__KEYS);
        OCT__EACH24(OCT__X)
#undef OCT__X
    }
#define OCT__X(i) { const VF e = v_dup(xs[i * OCT__KEYS]); f##i = v_fma(m, e, f##i); if (two) g##i = v_fma(m2, e, g##i); }
#define OCT__KEY_STEP(j) { const float *xs = x + j; const VF m = half ? v_load_f16(h + j * OCT__PANEL) : v_load(u + j * OCT__PANEL); \
                       const VF m2 = !two ? m : half ? v_load_f16(h2 + j * OCT__PANEL) : v_load(u2 + j * OCT__PANEL); OCT__EACH24(OCT__X) }
    for (; n == 24 && k >= 4; k -= 4, x += 4, u += 4 * OCT__PANEL) { OCT__KEY_STEP(0) OCT__KEY_STEP(1) OCT__KEY_STEP(2) OCT__KEY_STEP(3) }
    for (; k; k--, x++) {
        OCT__KEY_STEP(0)
        if (half) { h += OCT__PANEL; h2 += OCT__PANEL; }
        else { u += OCT__PANEL; u2 += OCT__PANEL; }
    }
#undef OCT__KEY_STEP
#undef OCT__X
#define OCT__X(i) v_store(y + i * OCT__KEYS, f##i); if (two) v_store(y2 + i * OCT__KEYS, g##i);
    OCT__EACH24(OCT__X)
#undef OCT__X
}
#undef OCT__EACH24
static OCT__INLINE void OCT__K(oct__att_panels)(const int n, const int two, const int half, const void *w, size_t ws, int n_panels, int k,
                                                const float *x, float *y, int chain) {
    const int per = OCT__PANEL / VW, n_vecs = n_panels * per;
    const size_t size = half ? sizeof(uint16_t) : sizeof(float);
    for (int i = 0; i < n_vecs; i += 1 + two) {
        const int j = OCT__MIN(i + two, n_vecs - 1);                               /* an odd last one is done twice */
        const char *wi = (const char *)w + ((size_t)(i / per) * ws + (size_t)(i % per * VW)) * size;
        const char *wj = (const char *)w + ((size_t)(j / per) * ws + (size_t)(j % per * VW)) * size;
        OCT__K(oct__att_tile)(n, two, half, wi, wj, k, x, y + i * VW, y + j * VW, chain);
    }
}
static OCT__INLINE void OCT__K(oct__att_rows)(const int half, const void *w, size_t ws, int n_panels, int k, const float *x, int n, float *y,
                                              int chain) {
    for (int m; n; n -= m, x += m * OCT__KEYS, y += m * OCT__KEYS) {
#if defined(OCT__ISA_AVX512)
        if (n >= 24 && !half) {
            m = 24;
            OCT__K(oct__att_panels)(24, 0, half, w, ws, n_panels, k, x, y, chain);
            continue;
        }
#endif
        if (VW == 8 && n >= 6) {                                                   /* AVX2 has 16 registers */
            m = 6;
            OCT__K(oct__att_panels)(6, 1, half, w, ws, n_panels, k, x, y, chain);
        } else if (VW != 8 && n >= 8) {
            m = 8;
            OCT__K(oct__att_panels)(8, 1, half, w, ws, n_panels, k, x, y, chain);
        } else if (n >= 4) {
            m = 4;
            OCT__K(oct__att_panels)(4, 1, half, w, ws, n_panels, k, x, y, chain);
        } else if (n >= 2) {
            m = 2;
            OCT__K(oct__att_panels)(2, 1, half, w, ws, n_panels, k, x, y, chain);
        } else {
            m = 1;
            OCT__K(oct__att_panels)(1, 1, half, w, ws, n_panels, k, x, y, chain);
        }
    }
}
static void OCT__K(oct__att_mul)(const void *w, int half, size_t ws, int n_panels, int k, const float *x, int n, float *y, int chain) {
    if (half) OCT__K(oct__att_rows)(1, w, ws, n_panels, k, x, n, y, chain);
    else OCT__K(oct__att_rows)(0, w, ws, n_panels, k, x, n, y, chain);
}
/* p [4 vectors, 16 apart] = e^(p - top), which is at most 1; returns their sum.  oct__exp where x is not above 0: there is no
 * overflow, and whatever the steps make of a far x is thrown away.  Step by step for all four: the steps of one wait for
 * each other, and a CPU looks some hundred instructions ahead. */
static OCT__INLINE VF OCT__K(oct__exp_down)(float *p, VF top) {
    const VF magic = v_dup(12582912.0f + 127.0f);
#define OCT__EACH4(X) X(0) X(1) X(2) X(3)
#define OCT__X(i) const VF x##i = v_sub(v_load(p + 16 * i), top);
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) const VF t##i = v_fma(x##i, v_dup(1.442695040888963f), magic);
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) const VF n##i = v_sub(t##i, magic);
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) VF r##i = v_fma(n##i, v_dup(-0.693145752f), x##i);
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) r##i = v_fma(n##i, v_dup(-1.42860677e-06f), r##i);
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) VF e##i = v_fma(v_dup(0.0013814467f), r##i, v_dup(0.00836878084f));
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) e##i = v_fma(e##i, r##i, v_dup(0.0416683927f));
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) e##i = v_fma(e##i, r##i, v_dup(0.166665196f));
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) e##i = v_fma(e##i, r##i, v_dup(0.49999994f));
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) e##i = v_fma(v_mul(r##i, r##i), e##i, v_add(r##i, v_dup(1.0f)));
    OCT__EACH4(OCT__X)
#undef OCT__X
#define OCT__X(i) e##i = v_zero_below(x##i, v_dup(-86.6f), v_mul(e##i, v_from_bits(vi_shl(v_bits(t##i), 23)))); v_store(p + 16 * i, e##i);
    OCT__EACH4(OCT__X)
#undef OCT__X
#undef OCT__EACH4
    return v_add(v_add(e0, e1), v_add(e2, e3));
}
/* The greatest of a vector, and oct__tree, in registers. */
#if VW >= 8
static OCT__INLINE float OCT__K(oct__max_of)(VF x) {
#  if VW == 16
    const __m256 b = _mm256_max_ps(_mm512_castps512_ps256(x), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));
#  else
    const __m256 b = x;
#  endif
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps(a, a, 1)));
}
static OCT__INLINE float OCT__K(oct__lanes_sum)(const float *s /* [16] */) {
    const __m256 b = _mm256_add_ps(_mm256_loadu_ps(s), _mm256_loadu_ps(s + 8));
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}
#elif VW == 4
static OCT__INLINE float OCT__K(oct__max_of)(VF x) { return vmaxvq_f32(x); }
static OCT__INLINE float OCT__K(oct__lanes_sum)(const float *s /* [16] */) {
    const VF a = v_add(v_add(v_load(s), v_load(s + 8)), v_add(v_load(s + 4), v_load(s + 12)));
    const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}
#else
static OCT__INLINE float OCT__K(oct__max_of)(VF x) { return x; }
static OCT__INLINE float OCT__K(oct__lanes_sum)(const float *s /* [16] */) { return OCT__K(oct__tree)(s); }
#endif
static void OCT__K(oct__softmax)(float *s, const int *seen, int n, float *max, float *sum, float *acc, int d) {
    float old[OCT__KEYS] = { 0 }, lanes[OCT__Q_BLOCK * OCT__PANEL];
    for (int r = 0; r < n; r++) {
        float *p = s + r * OCT__KEYS;
        VF m = v_dup(max[r]);
        int hidden = seen[r];
        for (; hidden % OCT__PANEL; hidden++) p[hidden] = -INFINITY;
        for (; hidden < OCT__KEYS; hidden += VW) v_store(p + hidden, v_dup(-INFINITY));
        for (int i = 0; i < OCT__PANEL; i += VW)
            m = v_max(m, v_max(v_max(v_load(p + i), v_load(p + i + 16)), v_max(v_load(p + i + 32), v_load(p + i + 48))));
        const float top = OCT__K(oct__max_of)(m);
        old[r] = max[r] - top;
        max[r] = top;
    }
    for (int i = 0; i < OCT__PANEL; i += VW) (void)OCT__K(oct__exp_down)(old + i, v_zero());
    for (int r = 0; r < n; r++) {
        const VF top = v_dup(max[r]);
        for (int i = 0; i < OCT__PANEL; i += VW) v_store(lanes + r * OCT__PANEL + i, OCT__K(oct__exp_down)(s + r * OCT__KEYS + i, top));
    }
    for (int r = 0; r < n; r++, acc += OCT__KEYS) {
        const VF o = v_dup(old[r]);
        sum[r] = sum[r] * old[r] + OCT__K(oct__lanes_sum)(lanes + r * OCT__PANEL);
        for (int i = 0; i < d; i += OCT__KEYS)
            for (int j = 0; j < OCT__MIN(OCT__KEYS, d - i); j += VW)
                v_store(acc + i * OCT__Q_BLOCK + j, v_mul(v_load(acc + i * OCT__Q_BLOCK + j), o));
    }
}
static void OCT__K(oct__join)(float *out, float a, const float *acc, float b, int d) {
    for (; d > 0; d -= OCT__KEYS, out += OCT__KEYS * OCT__Q_BLOCK, acc += OCT__KEYS * OCT__Q_BLOCK)
        for (int i = 0; i < OCT__MIN(OCT__KEYS, d); i += VW)
            v_store(out + i, v_fma(v_load(acc + i), v_dup(b), v_mul(v_load(out + i), v_dup(a))));
}
static void OCT__K(oct__from_s8)(const unsigned char *x, const float *d, int step, float *y, int n) {
    for (int i = 0; i < n; i++, x += OCT__PANEL, y += OCT__PANEL) {
#if defined(OCT__ISA_NEON)
        const int8x16_t b = vreinterpretq_s8_u8(vld1q_u8(x));
        const int16x8_t low = vmovl_s8(vget_low_s8(b)), high = vmovl_s8(vget_high_s8(b));
        const VF w[4] = { vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                          vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high))) };
#  define OCT__X(v) w[v / VW]
#else
#  define OCT__X(v) v_load_s8(x + v)
#endif
        for (int v = 0; v < OCT__PANEL; v += VW) v_store(y + v, v_mul(step ? v_dup(d[i]) : v_load(d + v), OCT__X(v)));
#undef OCT__X
    }
}
#undef rows4
#undef and4
#undef or4
#undef xor4
#undef shr4
#undef shl4_and4
#undef shr4_and4
#undef shl2_and4
#undef shr2_and4
#undef put4
#endif /* !OCT__ISA_DOT */

/* --- one token -------------------------------------------------------------------------------
 * Decoding reads every weight once, so nothing is stored unpacked and nothing is transposed but sums.  Sixteen bytes of
 * 16 rows lie in a few vectors, one row in 128 bits of each; the token's sixteen bytes are repeated to meet them, and
 * four vectors of products are added into one with a row in each lane (oct__one_sums).  Integer sums are exact in
 * any order; the float sums then go as in oct__mul_tile, group after group. */
#if defined(OCT__ISA_I8MM)
#  define OCT__MUL_ONE oct__mul_one_neon_dot
#elif defined(OCT__ISA_BF16)
#  define OCT__MUL_ONE OCT__D(oct__mul_one)
#elif !OCT__OWN_INT8 || (defined(OCT__ISA_AVX2) && defined(OCT__ISA_DOT))
#  define OCT__MUL_ONE oct__mul_one_avx2
#elif VW > 1
/* Where Q8_0 is multiplied as signed numbers, there is no zero point to take off. */
#if defined(OCT__ISA_NEON) || OCT__X86_MADD
#  define OCT__SIGNED(type) ((type) == OCT__Q8_0)
#else
#  define OCT__SIGNED(type) 0
#endif
#define one_load  OCT__K(oct__one_load)
#define one_dup   OCT__K(oct__one_dup)
#define one_shr   OCT__K(oct__one_shr)
#define one_sums  OCT__K(oct__one_sums)
#define one_u     OCT__K(oct__one_u)
#define one_half  OCT__K(oct__one_half)
#define one_group OCT__K(oct__one_group)

/* 16 bytes each of VW / 4 rows, 4 rows apart; row4, row12: 4 and 12 rows. */
static OCT__INLINE VI one_load(const unsigned char *p, size_t row4, size_t row12) {
#if defined(OCT__ISA_AVX512)
#define OCT__ROW(q) _mm_loadu_si128((const __m128i *)(const void *)(q))
    return _mm512_inserti32x4(_mm512_inserti32x4(_mm512_inserti32x4(_mm512_castsi128_si512(OCT__ROW(p)), OCT__ROW(p + row4), 1),
                                                 OCT__ROW(p + 2 * row4), 2), OCT__ROW(p + row12), 3);
#elif defined(OCT__ISA_AVX2)
#define OCT__ROW(q) _mm_loadu_si128((const __m128i *)(const void *)(q))
    OCT__UNUSED(row12);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(OCT__ROW(p)), OCT__ROW(p + row4), 1);
#else
#define OCT__ROW(q) 0
    OCT__UNUSED(row4);
    OCT__UNUSED(row12);
    return vi_load(p);
#endif
}
#undef OCT__ROW
/* 16 bytes of the token for each row. */
static OCT__INLINE VI one_dup(const uint32_t *q) {
#if defined(OCT__ISA_AVX512)
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)q));
#elif defined(OCT__ISA_AVX2)
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)q));
#else
    return vi_load(q);
#endif
}
/* Every instruction set wants the count of a quick shift as a constant. */
static OCT__INLINE VI one_shr(VI x, const int n) {
    switch (n) {
    case 0:  return x;
    case 1:  return vi_shr(x, 1);
    case 2:  return vi_shr(x, 2);
    case 3:  return vi_shr(x, 3);
    case 4:  return vi_shr(x, 4);
    case 5:  return vi_shr(x, 5);
    case 6:  return vi_shr(x, 6);
    default: return vi_shr(x, 7);
    }
}
/* Four words of each row in a (rows 0, 4, ...), b (rows 1, 5, ...), c and d: their sums, in the order of rows. */
static OCT__INLINE VI one_sums(VI a, VI b, VI c, VI d) {
#if defined(OCT__ISA_NEON)
    return vpaddq_u32(vpaddq_u32(a, b), vpaddq_u32(c, d));
#else
#if defined(OCT__ISA_AVX512)
#define OCT__PAIR(f)  _mm512_##f
#else
#define OCT__PAIR(f)  _mm256_##f
#endif
    const VI x = vi_add(OCT__PAIR(unpacklo_epi32)(a, b), OCT__PAIR(unpackhi_epi32)(a, b));
    const VI y = vi_add(OCT__PAIR(unpacklo_epi32)(c, d), OCT__PAIR(unpackhi_epi32)(c, d));
    return vi_add(OCT__PAIR(unpacklo_epi64)(x, y), OCT__PAIR(unpackhi_epi64)(x, y));
#undef OCT__PAIR
#endif
}
#if OCT__X86_MADD
/* Signed by signed for vpmaddubsw: |w| and x with w's sign.  Two of them may not fit 16 bits: -128 stands in no x. */
static OCT__INLINE VI OCT__K(oct__one_signed)(VI w, VI x) {
#if defined(OCT__ISA_AVX512)
    return vi_maddubs(_mm512_abs_epi8(w), _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), vi_zero(), x));
#else
    return vi_maddubs(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
#endif
}
#endif
/* Sums over 16 numbers, or 32, in four words of each row. */
static OCT__INLINE VI OCT__K(oct__one_dot16)(const int type, VI u, VI x) {
#if OCT__X86_MADD
    OCT__UNUSED(type);
    return vi_madd16(vi_maddubs(u, x), vi_dup(0x00010001));
#else
    OCT__UNUSED(type);
    return vi_dot(vi_zero(), u, x);
#endif
}
static OCT__INLINE VI OCT__K(oct__one_dot32)(const int type, VI u0, VI u1, VI x0, VI x1) {
#if OCT__X86_MADD
    const VI ones = vi_dup(0x00010001);
    if (OCT__SIGNED(type))
        return vi_add(vi_madd16(OCT__K(oct__one_signed)(u0, x0), ones), vi_madd16(OCT__K(oct__one_signed)(u1, x1), ones));
    return vi_madd16(vi_add16(vi_maddubs(u0, x0), vi_maddubs(u1, x1)), ones);       /* u <= 63: MODE_PAIR above */
#else
    OCT__UNUSED(type);
    return vi_dot(vi_dot(vi_zero(), u0, x0), u1, x1);
#endif
}
/* Numbers 16 i .. 16 i + 15 of group j (of 32) in the block at p, as they are multiplied. */
static OCT__INLINE VI one_u(const int type, const unsigned char *p, size_t row4, size_t row12, const int j, const int i) {
    const VI low = vi_dup(0x0F0F0F0F);
    const int h = j >> 2, g = j & 3;
    VI x, y;
#define OCT__AT(b) one_load(p + (b), row4, row12)
    switch (type) {
    case OCT__Q8_0:
        x = OCT__AT(2 + 16 * i);
        return OCT__SIGNED(type) ? x : vi_xor(x, vi_dup(0x80808080u));
    case OCT__Q4_0:
        x = OCT__AT(2);
        return vi_and(i ? vi_shr(x, 4) : x, low);
    case OCT__Q4_K:
        x = OCT__AT(16 + 32 * (j >> 1) + 16 * i);
        return vi_and(j & 1 ? vi_shr(x, 4) : x, low);
    case OCT__Q5_K:
        x = OCT__AT(48 + 32 * (j >> 1) + 16 * i);
        y = vi_and(one_shr(OCT__AT(16 + 16 * i), j), vi_dup(0x01010101));
        return vi_or(vi_and(j & 1 ? vi_shr(x, 4) : x, low), vi_shl(y, 4));
    default:    /* Q6_K */
        x = OCT__AT(64 * h + 32 * (g & 1) + 16 * i);
        y = OCT__AT(128 + 32 * h + 16 * i);
        y = g == 0 ? vi_shl(y, 4) : g == 1 ? vi_shl(y, 2) : g == 2 ? y : vi_shr(y, 2);
        return vi_or(vi_and(g & 2 ? vi_shr(x, 4) : x, low), vi_and(y, vi_dup(0x30303030)));
    }
#undef OCT__AT
}
/* The integer sums of 16 numbers of a group, or of a whole group, for VW rows. */
static OCT__INLINE VI one_half(const int type, const unsigned char *p, size_t row, const int j, const int i, const uint32_t *q) {
    const size_t row4 = 4 * row, row12 = 12 * row;
    const VI x = one_dup(q + 4 * i);
#define OCT__X(r) OCT__K(oct__one_dot16)(type, one_u(type, p + r * row, row4, row12, j, i), x)
    return one_sums(OCT__X(0), OCT__X(1), OCT__X(2), OCT__X(3));
#undef OCT__X
}
static OCT__INLINE VI one_group(const int type, const unsigned char *p, size_t row, const int j, const uint32_t *q) {
    const size_t row4 = 4 * row, row12 = 12 * row;
    const VI x0 = one_dup(q), x1 = one_dup(q + 4);
#define OCT__X(r) OCT__K(oct__one_dot32)(type, one_u(type, p + r * row, row4, row12, j, 0), one_u(type, p + r * row, row4, row12, j, 1), x0, x1)
    return one_sums(OCT__X(0), OCT__X(1), OCT__X(2), OCT__X(3));
#undef OCT__X
}
/* Integer sums [groups, 16] of n groups of 32, at most 256 numbers.  Groups that share bytes are done together, and
 * stored after all of them, so that the bytes are loaded once. */
static OCT__INLINE void OCT__K(oct__one_block)(const int type, const unsigned char *rows, size_t row, int n, const uint32_t *q,
                                               const oct__panel *ahead, int g0, int32_t *sums) {
    const int block = oct__types[type].block_bytes;
    for (int v = 0; v < OCT__PANEL; v += VW) {
        const unsigned char *p = rows + (size_t)v * row;
        int32_t *o = sums + v;
        if (oct__types[type].block_elems == 32) {
            for (int g = 0; g < n; g++, p += block) {
                vi_store(o + g * OCT__PANEL, one_group(type, p, row, 0, q + OCT__WORDS * g));
                if (v == 0) oct__ahead(ahead, g0 + g, 1, 2);
            }
        } else if (oct__types[type].group == 32) {
#define OCT__X(j) { const VI c0 = one_group(type, p, row, j, q + OCT__WORDS * j), c1 = one_group(type, p, row, j + 1, q + OCT__WORDS * (j + 1)); \
            vi_store(o + j * OCT__PANEL, c0); vi_store(o + (j + 1) * OCT__PANEL, c1); \
            if (v == 0) oct__ahead(ahead, g0 + j, 2, 2); }
            OCT__X(0) OCT__X(2) OCT__X(4) OCT__X(6)
#undef OCT__X
        } else {
#define OCT__X(j, i) { const VI c0 = one_half(type, p, row, j, i, q + OCT__WORDS * j), c1 = one_half(type, p, row, j + 1, i, q + OCT__WORDS * (j + 1)); \
            const VI c2 = one_half(type, p, row, j + 2, i, q + OCT__WORDS * (j + 2)), c3 = one_half(type, p, row, j + 3, i, q + OCT__WORDS * (j + 3)); \
            vi_store(o + (2 * j + i) * OCT__PANEL, c0); vi_store(o + (2 * j + 2 + i) * OCT__PANEL, c1); \
            vi_store(o + (2 * j + 4 + i) * OCT__PANEL, c2); vi_store(o + (2 * j + 6 + i) * OCT__PANEL, c3); \
            if (v == 0) oct__ahead(ahead, g0 + j + 2 * i, 2, 2); }
            OCT__X(0, 0) OCT__X(0, 1) OCT__X(4, 0) OCT__X(4, 1)
#undef OCT__X
        }
    }
}
/* Of group j alone, for a second int8. */
static void OCT__K(oct__one_again)(int type, const unsigned char *rows, size_t row, int j, const uint32_t *q, int32_t *sums) {
    for (int v = 0; v < OCT__PANEL; v += VW, rows += VW * row, sums += VW) {
        switch (type) {
#define OCT__X(t) case t: vi_store(sums, one_group(t, rows, row, j, q)); break;
        OCT__X(OCT__Q4_0) OCT__X(OCT__Q8_0) OCT__X(OCT__Q4_K) OCT__X(OCT__Q5_K)
#undef OCT__X
#define OCT__X(t) case t: vi_store(sums, one_half(t, rows, row, j, 0, q)); vi_store(sums + OCT__PANEL, one_half(t, rows, row, j, 1, q)); break;
        OCT__X(OCT__Q6_K)
#undef OCT__X
        default: break;
        }
    }
}
/* Scales and minimums of n groups of 32, at most 256 numbers. */
static OCT__INLINE void OCT__K(oct__one_scales)(const int type, const unsigned char *rows, size_t row, int n, const oct__panel *p) {
    switch (type) {
    case OCT__Q4_K: case OCT__Q5_K: OCT__B(oct__k_scales)(rows, row, p->s, p->m); break;
    case OCT__Q6_K: OCT__B(oct__q6_k_scales)(rows, row, p->s); break;
    default: OCT__B(oct__half_columns)(rows, row, (size_t)oct__types[type].block_bytes, n, p->s); break;
    }
}
/* y [16] += the sums of one group, whose block is x. */
static OCT__INLINE void OCT__K(oct__one_chain)(const int type, const oct__panel *p, int g, const int32_t *sums, const uint32_t *x, float *y) {
    const int half = oct__types[type].group == 16, has_min = oct__types[type].zero_shift == 32, none = half ? OCT__Q_S16 : OCT__Q_S32;
    const int start = OCT__K(oct__start_row)(half, oct__types[type].zero_shift);
    const VF d = v_dup(oct__bits_f32(x[OCT__Q_D]));
    for (int v = 0; v < OCT__PANEL; v += VW) {
        VF f = v_load(y + v);
        for (int h = 0; h <= half; h++) {
            const int at = ((g << half) + h) * OCT__PANEL + v;
            VI c = vi_load(sums + h * OCT__PANEL + v);
            if (!has_min && !OCT__SIGNED(type)) c = vi_add(c, vi_dup(x[start + 3 * h] - x[none + 3 * h]));
            f = v_fma(v_mul(v_from_int(c), v_load(p->s + at)), d, f);
            if (has_min) f = v_fma(v_load(p->m + at), v_dup(oct__bits_f32(x[half ? OCT__Q_D16 + h : OCT__Q_D32])), f);
        }
        v_store(y + v, f);
    }
}
static OCT__INLINE void OCT__K(oct__one_type)(const int type, const unsigned char *rows, size_t row, int k, const oct__qtile *x,
                                              const oct__panel *p, float *acc, float *rest) {
    const int elems = oct__types[type].block_elems, bytes = oct__types[type].block_bytes, per = 32 / oct__types[type].group;
    const int last = x->rest ? x->ends[(k + OCT__K_QUANT - 1) / OCT__K_QUANT] : 0;
    int32_t sums[16 * OCT__PANEL];
    for (int g0 = 0, r = x->rest ? x->ends[0] : 0; g0 < k / 32; g0 += 8, rows += 256 / elems * bytes) {
        const int n = OCT__MIN(8, k / 32 - g0);
        const uint32_t *b = x->x + g0 * OCT__WORDS;
        OCT__K(oct__one_scales)(type, rows, row, n, p);
        OCT__K(oct__one_block)(type, rows, row, n, b, p, g0, sums);
        for (int g = 0; g < n; g++) OCT__K(oct__one_chain)(type, p, g, sums + g * per * OCT__PANEL, b + g * OCT__WORDS, acc);
        for (; r < last && x->list[r] - x->first < g0 + n; r++) {
            const int j = x->list[r] - x->first - g0;
            const uint32_t *again = x->rest + (size_t)r * OCT__WORDS;
            OCT__K(oct__one_again)(type, elems == 32 ? rows + j * bytes : rows, row, elems == 32 ? 0 : j, again, sums);
            OCT__K(oct__one_chain)(type, p, j, sums, again, rest);
        }
    }
}
static void OCT__K(oct__mul_one)(int type, const unsigned char *rows, size_t row_bytes, int k, const oct__qtile *x, const oct__panel *p,
                                 float *acc, float *rest) {
    switch (type) {
#define OCT__X(t) case t: OCT__K(oct__one_type)(t, rows, row_bytes, k, x, p, acc, rest); break;
    OCT__X(OCT__Q4_0) OCT__X(OCT__Q8_0) OCT__X(OCT__Q4_K) OCT__X(OCT__Q5_K) OCT__X(OCT__Q6_K)
#undef OCT__X
    default: break;
    }
}
#undef one_load
#undef one_dup
#undef one_shr
#undef one_sums
#undef one_u
#undef one_half
#undef one_group
#undef OCT__SIGNED
#  define OCT__MUL_ONE OCT__K(oct__mul_one)
#else
#  define OCT__MUL_ONE NULL
#endif

/* --- bf16: panels times tokens, two of k at once ------------------------------------------------
 * As in F32 each output is one chain over k and all sums are named.  Weights are what the file holds, turned so that a pair
 * of each row lies side by side; rows4 does that, to which a pair is a word as any other. */
#if defined(OCT__ISA_BF16)
/* Pair i of 16 rows of k numbers, where less than 16 bytes are left: y [16]. */
static OCT__INLINE void OCT__K(oct__last_pair)(const unsigned char *rows, size_t row_bytes, int i, int k, uint32_t *y) {
    for (int r = 0; r < OCT__PANEL; r++, rows += row_bytes)
        y[r] = oct__u16(rows + 4 * i) | (2 * i + 1 < k ? (uint32_t)oct__u16(rows + 4 * i + 2) << 16 : 0);
}
static void OCT__K(oct__round_bf16)(const float *x, int k, uint32_t *pairs, size_t step) {
    uint32_t words[VW];
    int i = 0;
    for (; i + 2 * VW <= k; i += 2 * VW) {
        vi_store(words, vi_pairs(x + i));
        for (int j = 0; j < VW; j++, pairs += step) *pairs = words[j];
    }
    for (; i < k; i += 2, pairs += step)
        *pairs = oct__f32_to_bf16(x[i]) | (i + 1 < k ? (uint32_t)oct__f32_to_bf16(x[i + 1]) << 16 : 0);
}
static void OCT__K(oct__unpack_bf16)(const unsigned char *rows, size_t row_bytes, int k, const oct__panel *p, uint32_t *y) {
    int i = 0;
    for (; i + 8 <= k; i += 8, y += 4 * OCT__PANEL) {
        if (i % 16 == 0) oct__ahead(p, i / 32, 1, i / 16 % 2);
        for (int v = 0; v < OCT__PANEL; v += VW) {
            const OCT__B(oct__v4) w = OCT__B(oct__rows4)(rows + (size_t)v * row_bytes + (size_t)(2 * i), row_bytes);
            vi_store(y + v, w.a);
            vi_store(y + OCT__PANEL + v, w.b);
            vi_store(y + 2 * OCT__PANEL + v, w.c);
            vi_store(y + 3 * OCT__PANEL + v, w.d);
        }
    }
    for (; i < k; i += 2, y += OCT__PANEL) OCT__K(oct__last_pair)(rows, row_bytes, i / 2, k, y);
}
/* nv vectors of rows (w, u) by n tokens of a unit of `width`.  NEON takes one of four tokens' pairs by itself. */
#define OCT__EACH_PAIR(X) X(0) if (n > 1) { X(1) } if (n > 2) { X(2) X(3) } \
                          if (n > 4) { X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) }
static OCT__INLINE void OCT__K(oct__mul_bf16_tile)(const int nv, const int n, const uint32_t *w, const uint32_t *u, int n_pairs,
                                                   const uint32_t *x, int width, float *y, size_t ys, int mode) {
    VF a0 = v_zero(), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0, a8 = a0, a9 = a0, a10 = a0, a11 = a0;
    VF b0 = a0, b1 = a0, b2 = a0, b3 = a0, b4 = a0, b5 = a0, b6 = a0, b7 = a0, b8 = a0, b9 = a0, b10 = a0, b11 = a0;
    for (int i = 0; i < n_pairs; i++, w += OCT__PANEL, u += OCT__PANEL, x += width) {
        const VI wa = vi_load(w), wb = nv > 1 ? vi_load(u) : wa;
#if defined(OCT__ISA_NEON)
        const VI s[3] = { n < 4 ? wa : vi_load(x), n > 4 ? vi_load(x + 4) : wa, n > 4 ? vi_load(x + 8) : wa };
#define OCT__Y(c, w, j) c = n < 4 ? v_dot2(c, w, vi_dup(x[j])) : v_dot2_lane(c, w, s[j / 4], j % 4)
#else
#define OCT__Y(c, w, j) c = v_dot2(c, w, vi_dup(x[j]))
#endif
#define OCT__X(j) OCT__Y(a##j, wa, j); if (nv > 1) OCT__Y(b##j, wb, j);
        OCT__EACH_PAIR(OCT__X)
#undef OCT__X
#undef OCT__Y
    }
    if (mode == OCT__MUL_ADD) {
#define OCT__X(j) a##j = v_add(v_load(y + j * ys), a##j); if (nv > 1) b##j = v_add(v_load(y + j * ys + VW), b##j);
        OCT__EACH_PAIR(OCT__X)
#undef OCT__X
    }
#define OCT__X(j) v_store(y + j * ys, a##j); if (nv > 1) v_store(y + j * ys + VW, b##j);
    OCT__EACH_PAIR(OCT__X)
#undef OCT__X
}
static OCT__INLINE void OCT__K(oct__mul_bf16_rows)(const int nv, const uint32_t *w, const uint32_t *u, int n_pairs,
                                                   const uint32_t *x, int n, float *y, size_t ys, int mode) {
    int t = 0;
    if (n == OCT__UNIT) {
        OCT__K(oct__mul_bf16_tile)(nv, OCT__UNIT, w, u, n_pairs, x, n, y, ys, mode);
        return;
    }
    for (; t + 4 <= n; t += 4) OCT__K(oct__mul_bf16_tile)(nv, 4, w, u, n_pairs, x + t, n, y + (size_t)t * ys, ys, mode);
    for (; t + 2 <= n; t += 2) OCT__K(oct__mul_bf16_tile)(nv, 2, w, u, n_pairs, x + t, n, y + (size_t)t * ys, ys, mode);
    if (t < n) OCT__K(oct__mul_bf16_tile)(nv, 1, w, u, n_pairs, x + t, n, y + (size_t)t * ys, ys, mode);
}
static void OCT__K(oct__mul_bf16)(const uint32_t *w, size_t ws, int n_panels, int n_pairs, const uint32_t *x, int n,
                                  float *y, size_t ys, int mode) {
    enum { PER = OCT__PANEL / VW };
    int i = 0;
#define OCT__X(i) (w + (size_t)((i) / PER) * ws + (i) % PER * VW)
    for (; i + 2 <= n_panels * PER; i += 2, y += 2 * VW)
        OCT__K(oct__mul_bf16_rows)(2, OCT__X(i), OCT__X(i + 1), n_pairs, x, n, y, ys, mode);
    if (i < n_panels * PER) OCT__K(oct__mul_bf16_rows)(1, OCT__X(i), OCT__X(i), n_pairs, x, n, y, ys, mode);
#undef OCT__X
}
/* One token: nv vectors of rows, from the file into the sums. */
static OCT__INLINE void OCT__K(oct__one_bf16_rows)(const int nv, const unsigned char *rows, size_t row_bytes, int k,
                                                   const uint32_t *x, const oct__panel *p, float *y) {
    VF a = v_load(y), b = nv > 1 ? v_load(y + VW) : a;
    for (int i = 0; i + 8 <= k; i += 8, x += 4) {
        const unsigned char *from = rows + (size_t)(2 * i);
        if (p && i % 16 == 0) oct__ahead(p, i / 32, 1, i / 16 % 2);
        const OCT__B(oct__v4) w = OCT__B(oct__rows4)(from, row_bytes);
        const OCT__B(oct__v4) u = nv > 1 ? OCT__B(oct__rows4)(from + VW * row_bytes, row_bytes) : w;
#define OCT__X(n, j) { const VI s = vi_dup(x[j]); a = v_dot2(a, w.n, s); if (nv > 1) b = v_dot2(b, u.n, s); }
        OCT__X(a, 0) OCT__X(b, 1) OCT__X(c, 2) OCT__X(d, 3)
#undef OCT__X
    }
    v_store(y, a);
    if (nv > 1) v_store(y + VW, b);
}
static void OCT__K(oct__one_bf16)(const unsigned char *rows, size_t row_bytes, int k, const uint32_t *x, const oct__panel *p,
                                  float *y) {
    enum { NV = OCT__PANEL / VW > 1 ? 2 : 1 };
    for (int v = 0; v < OCT__PANEL; v += NV * VW)
        OCT__K(oct__one_bf16_rows)(NV, rows + (size_t)v * row_bytes, row_bytes, k, x, v == 0 ? p : NULL, y + v);
    for (int i = k / 8 * 4; 2 * i < k; i++) {
        uint32_t w[OCT__PANEL];
        OCT__K(oct__last_pair)(rows, row_bytes, i, k, w);
        for (int v = 0; v < OCT__PANEL; v += VW) v_store(y + v, v_dot2(v_load(y + v), vi_load(w + v), vi_dup(x[i])));
    }
}
#endif

static const oct__kernels OCT__K(oct__table) = {
    OCT__STR(OCT__ISA),
#if defined(OCT__ISA_AVX512)
    OCT_ISA_AVX512, 1,
#elif defined(OCT__ISA_AVX2)
    OCT_ISA_AVX2, 1,
#elif defined(OCT__ISA_NEON)
    OCT_ISA_NEON, 1,
#else
    OCT_ISA_SCALAR, 0,
#endif
    OCT__WORDS,
#if OCT__X86_MADD && OCT__OWN_INT8
    OCT__TILE, OCT__K(oct__unpack_wide), OCT__B(oct__unpack_f), OCT__B(oct__quantise), OCT__K(oct__mul),
#elif OCT__OWN_INT8 || defined(OCT__ISA_BF16)
    OCT__TILE, OCT__B(oct__unpack), OCT__B(oct__unpack_f), OCT__B(oct__quantise), OCT__D(oct__mul),
#else
    6 /* AVX2's */, oct__unpack_wide_avx2, OCT__B(oct__unpack_f), OCT__B(oct__quantise), oct__mul_avx2,
#endif
    OCT__MUL_ONE, OCT__B(oct__one_f), OCT__B(oct__mul_f),
    OCT__B(oct__pack_f), OCT__B(oct__mul_units),
    OCT__B(oct__att_mul), OCT__B(oct__softmax), OCT__B(oct__join), OCT__B(oct__scale), OCT__B(oct__norm), OCT__B(oct__silu_mul), OCT__B(oct__gelu),
    OCT__B(oct__add), OCT__B(oct__to_f16), OCT__B(oct__from_f16), OCT__B(oct__from_s8), OCT__B(oct__expv),
#if defined(OCT__ISA_BF16)
    OCT__K(oct__round_bf16), OCT__K(oct__unpack_bf16), OCT__K(oct__mul_bf16), OCT__K(oct__one_bf16)
#else
    NULL, NULL, NULL, NULL
#endif
};

/* The next pass defines all of this again. */
#undef VW
#undef VF
#undef VI
#undef VC
#undef VH
#undef v_load
#undef v_store
#undef v_zero
#undef v_dup
#undef v_add
#undef v_sub
#undef v_mul
#undef v_div
#undef v_fma
#undef v_max
#undef v_min
#undef v_abs
#undef v_bits
#undef v_from_bits
#undef v_from_int
#undef v_if_neg
#undef v_zero_below
#undef v_load_f16
#undef v_store_f16
#undef v_load_s8
#undef vi_load
#undef vi_store
#undef vi_zero
#undef vi_dup
#undef vi_and
#undef vi_or
#undef vi_xor
#undef vi_add
#undef vi_mul
#undef vi_shr
#undef vi_shl
#undef vi_shrv
#undef vi_shlv
#undef vi_lut
#undef vi_maddubs
#undef vi_madd16
#undef vi_add16
#undef v_dot2
#undef v_dot2_lane
#undef vi_pairs
#undef vi_dot
#undef vi_dot_at
#undef OCT__TILE
#undef OCT__STEP
#undef OCT__VECS
#undef OCT__X86_MADD
#undef OCT__WORDS
#undef OCT__OWN_INT8
#undef V4
#undef OCT__EACH
#undef OCT__EACH12
#undef OCT__ALL
#undef OCT__SUMS
#undef OCT__TOKEN
#undef v_times
#undef OCT__EACH_TOKEN
#undef OCT__EACH_COLUMN
#undef OCT__EACH_PAIR
#undef OCT__VECTORS
#undef OCT__COLUMNS
#undef OCT__MUL_ONE
#undef OCT__CAT_
#undef OCT__CAT
#undef OCT__K
#undef OCT__B
#undef OCT__D
#undef OCT__ISA_AVX2
#undef OCT__ISA_AVX512
#undef OCT__ISA_NEON
#undef OCT__ISA_DOT
#undef OCT__ISA_I8MM
#undef OCT__ISA_BF16
#undef OCT__ISA
#endif /* OCT__ISA */
/* ==========================================================================
 * MARK: - 21. back
 * ==========================================================================
 * CREDITS
 *     OCTAVIUS: Chen et al., "Octavius: Mitigating Task Interference in MLLMs via LoRA-MoE", ICLR 2024.
 *     MoE-LLaVA: Lin et al., "MoE-LLaVA: Mixture of Experts for Large Vision-Language Models", 2024.
 *     GGUF, its block formats and tensor names are the llama.cpp project's; the facts were read there, the code is ours.
 *
 * LICENCE (MIT)
 *     Copyright (c) 2026 the octavius.h authors
 *
 *     Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
 *     documentation files (the "Software"), to deal in the Software without restriction, including without limitation
 *     the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and
 *     to permit persons to whom the Software is furnished to do so, subject to the following conditions:
 *
 *     The above copyright notice and this permission notice shall be included in all copies or substantial portions of
 *     the Software.
 *
 *     THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
 *     THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 *     AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
 *     CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS
 *     IN THE SOFTWARE.
 */
