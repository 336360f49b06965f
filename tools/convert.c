/* octavius-convert - official checkpoints to one GGUF file.
 *
 *     cc -O2 -DOCTAVIUS_NO_SIMD -I. tools/convert.c -o build/octavius-convert -lm
 *
 * The input is mapped and the output streamed, tensor by tensor.  Every tensor of the checkpoint is accounted for: one that
 * has no place, is missing or has another shape is named, and nothing is written.  Keys and tensor names of the output are
 * llama.cpp's; ours are listed in octavius.h.
 */
#if !defined(_POSIX_C_SOURCE)
#  define _POSIX_C_SOURCE 200809L
#endif
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
#define PROGRAM "octavius-convert"
#include "program.h"
#include "gguf_write.h"
#include "checkpoint.h"
#include "vocab.h"
#include "features.h"

static const char help_text[] =
    "usage: octavius-convert [SRC] [options] -o FILE.gguf\n"
    "       octavius-convert F.pickle [--force] -o FOLDER\n"
    "\n"
    "SRC is a folder with config.json, tokenizer and weights (safetensors or PyTorch files, single or sharded):\n"
    "LLaMA, Vicuna, Mistral, Phi-2, StableLM, Qwen, Qwen2; LLaVA-1.5; MoE-LLaVA; or the delta file of an OCTAVIUS, with --base.\n"
    "Without it, the parts named by --vision, --detector and --point-encoder alone.\n"
    "  --base D             OCTAVIUS: the folder of the language model that SRC was trained on, which may be a MoE-LLaVA\n"
    "  --vision P           the vision tower: CLIP or SigLIP (a folder), OpenAI's archive, or timm's plain ViT (a file)\n"
    "  --detector P         3DETR or 3DETR-m, which finds objects in point clouds (a file)\n"
    "  --point-encoder P    Point-BERT as ULIP and OCTAVIUS train it, which looks at one object (a file)\n"
    "  --type T             f32 f16 bf16 q8_0 q5_0 q4_0 q4_k q5_k q6_k; default: f16.  Norms, biases and routers stay f32\n"
    "  --tensor-type PAT=T  another type for tensors of that name in the output; * stands for any text; may be repeated\n"
    "  --set KEY=VALUE      overrules a key of ours, such as octavius.v.head_count=12; may be repeated\n"
    "  --ignore PAT         leaves out tensors of that name in the input; * stands for any text; may be repeated\n"
    "F.pickle holds features of objects in 3D scenes as OCTAVIUS's evaluation keeps them, beside F.json: FOLDER gets\n"
    "N-features.npy and N-boxes.npy for question N.\n"
    "  -o FILE              appears when it is whole\n"
    "  --force              FILE may exist\n"
    "Exit codes: 0 ok, 1 runtime, 2 usage, 3 checkpoint unreadable or unsupported, 5 memory or limit, 130 interrupted.\n";

/* --- the command line --------------------------------------------------------------------------------- */

enum { LISTED = 64 };
typedef struct setting { const char *key, *value; bool used; } setting;
typedef struct args {
    const char *source, *base, *vision, *detector, *encoder, *out;
    const char *ignored[LISTED];
    setting     set[LISTED];
    int         n_ignored, n_set, force;
    quants_plan plan;
} args;

static int parse_listed(args *a, const char *name, char *value) {
    if (strcmp(name, "--tensor-type") == 0) {
        const char *why = quants_rule(&a->plan, value);
        return why ? fail(EXIT_USAGE, "--tensor-type: '%s': %s", value, why) : EXIT_OK;
    }
    if (strcmp(name, "--ignore") == 0) {
        if (a->n_ignored == LISTED) return fail(EXIT_USAGE, "--ignore: more than %d", LISTED);
        a->ignored[a->n_ignored++] = value;
        return EXIT_OK;
    }
    char *equals = strchr(value, '=');
    if (!equals || equals == value) return fail(EXIT_USAGE, "--set: '%s', expected KEY=VALUE", value);
    if (a->n_set == LISTED) return fail(EXIT_USAGE, "--set: more than %d", LISTED);
    *equals = 0;
    a->set[a->n_set].key = value;
    a->set[a->n_set++].value = equals + 1;
    return EXIT_OK;
}
static bool is_features(const char *source) { return source && (name_ends(source, ".pickle") || name_ends(source, ".pkl")); }
/* Where the value of an option is kept; NULL: not such an option. */
static const char **parse_place(args *a, const char *name) {
    return strcmp(name, "--vision") == 0          ? &a->vision
           : strcmp(name, "--base") == 0          ? &a->base
           : strcmp(name, "--detector") == 0      ? &a->detector
           : strcmp(name, "--point-encoder") == 0 ? &a->encoder
           : strcmp(name, "-o") == 0              ? &a->out
                                                  : NULL;
}
static int parse(args *a, int argc, char **argv) {
    static const char *const listed = " --tensor-type --ignore --set ";
    memset(a, 0, sizeof *a);
    a->plan.type = BLOCKS_F16;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *found = strstr(listed, name);
        const bool is_listed = name[0] == '-' && found && found[-1] == ' ' && found[strlen(name)] == ' ';
        const char **place = parse_place(a, name);
        if (strcmp(name, "--force") == 0) {
            a->force = 1;
        } else if (is_listed || place || strcmp(name, "--type") == 0) {
            if (++i == argc) return fail(EXIT_USAGE, "%s: nothing follows it, expected a value", name);
            const int bad = is_listed ? parse_listed(a, name, argv[i]) : EXIT_OK;
            if (bad) return bad;
            if (place) *place = argv[i];
            if (strcmp(name, "--type") != 0) continue;
            a->plan.type = quants_type_find(argv[i]);
            if (a->plan.type < 0)
                return fail(EXIT_USAGE, "--type: '%s', expected f32 f16 bf16 q8_0 q5_0 q4_0 q4_k q5_k or q6_k", argv[i]);
        } else if (name[0] == '-' || a->source) {
            return fail(EXIT_USAGE, "%s: unexpected; see --help", name);
        } else {
            a->source = name;
        }
    }
    if (!a->source && !a->vision && !a->detector && !a->encoder) return fail(EXIT_USAGE, "which checkpoint? see --help");
    if (a->base && !a->source) return fail(EXIT_USAGE, "--base: expected an OCTAVIUS delta beside it");
    if (is_features(a->source) && (a->base || a->vision || a->detector || a->encoder))
        return fail(EXIT_USAGE, "%s: features are converted alone; see --help", a->source);
    return a->out ? EXIT_OK : fail(EXIT_USAGE, "where to? -o FILE");
}

/* --- what is made ------------------------------------------------------------------------------------------ */

enum { FOLD_WEIGHT, FOLD_BIAS, FOLD_MEAN, FOLD_VAR, FOLD_PARTS };
/* A tensor of the output: parts one after another, of one shape each. */
typedef struct made {
    char                name[64];
    checkpoint_tensor **parts;     /* [n_parts]; NULL inside: not there (yet) */
    size_t              n_parts, cap;
    bool                stacked;   /* the number of parts is a dimension of its own */
    bool                wanted;
    int                 heads;     /* not 0: rows of queries or keys whose rotary halves become neighbours */
    int64_t             stored;    /* not 0: rows of the checkpoint's matrix that are taken; those behind are `mean` */
    const float        *mean;      /* [ne[0]] */
    const float        *given;     /* not NULL: its only row, which no file has */
    checkpoint_tensor  *fold[FOLD_PARTS];      /* of a batch norm; [0] NULL: none */
    bool                biasless;  /* what is folded had no bias before; its part is the norm's */
    int                 n_dims, type;
    int64_t             ne[4];     /* as in the file: ne[0] is contiguous */
} made;
typedef enum tower_kind { TOWER_CLIP, TOWER_SIGLIP, TOWER_OPENAI, TOWER_TIMM } tower_kind;
typedef struct job {
    args        a;
    pool        p;
    checkpoint  model, tower, delta, detector, encoder;
    const char *folder;            /* of the language model */
    bool        octavius;          /* a delta on that model */
    int64_t     tags;              /* of OCTAVIUS: the id of the first, <Img> or <Pcl> */
    vocab       words;
    const json *config, *text, *vision, *prep, *tokenizer_config, *special_map, *generation;
    const char *arch, *style;      /* arch NULL: no language model */
    made       *all;
    size_t      n, cap;
    made      **order;             /* [n_order]: as they will be written */
    size_t      n_order, order_cap;
    int64_t     n_vocab, n_embd, n_layer, n_head, n_kv, d_head, n_ff, n_expert, n_used;
    int64_t     v_embd, v_ff, v_blocks, v_run, v_patch;
    tower_kind  kind;
    bool        own_tower;         /* the tower is in the model's checkpoint */
    const json *mm;                /* what config.json says of pictures; NULL: nothing */
    gguf_out    o;
    oct_error   err;
} job;

static oct_result memory(job *j) { return oct__fail(&j->err, OCT_E_MEMORY, "no memory for the list of tensors"); }

static made *made_find(const job *j, const char *name) {
    for (size_t i = 0; i < j->n; i++)
        if (strcmp(j->all[i].name, name) == 0) return &j->all[i];
    return NULL;
}
/* The one of that name, new where there was none; NULL: no memory. */
static made *made_named(job *j, const char *name) {
    made *m = made_find(j, name);
    void *all = j->all;
    if (m) return m;
    if (pool_grow(&j->p, &all, j->n, &j->cap, sizeof *j->all)) return NULL;
    j->all = (made *)all;
    m = &j->all[j->n++];
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    return m;
}
static oct_result made_add(job *j, const char *name, int part, bool stacked, checkpoint_tensor *t) {
    made *m = made_named(j, name);
    if (!m) return memory(j);
    if (!m->n_parts) m->stacked = stacked;
    while (m->cap <= (size_t)part) {
        void *parts = m->parts;
        if (pool_grow(&j->p, &parts, m->cap, &m->cap, sizeof *m->parts)) return memory(j);
        m->parts = (checkpoint_tensor **)parts;
    }
    if (m->parts[part])
        return oct__fail(&j->err, OCT_E_FORMAT, "tensors '%.*s' and '%.*s' are both '%s'", OCT__S(m->parts[part]->name),
                         OCT__S(t->name), name);
    m->parts[part] = t;
    if ((size_t)part >= m->n_parts) m->n_parts = (size_t)part + 1;
    t->used = true;
    return OCT_OK;
}

/* --- names: rules with # for a number and * for what is left ------------------------------------------------ */

typedef struct rule { const char *from, *to; } rule;   /* to: the first # is the first number; a second # is the part */

/* numbers [2]; rest: what * stood for.  False: no match. */
static bool rule_match(const char *pattern, oct_string name, long numbers[2], oct_string *rest) {
    size_t at = 0;
    int n = 0;
    numbers[0] = numbers[1] = -1;
    rest->data = NULL;
    rest->len = 0;
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            rest->data = name.data + at;
            rest->len = name.len - at;
            return (rest->len == 6 && memcmp(rest->data, "weight", 6) == 0) ||
                   (rest->len == 4 && memcmp(rest->data, "bias", 4) == 0);
        }
        if (*pattern != '#') {
            if (at == name.len || name.data[at++] != *pattern) return false;
            continue;
        }
        const size_t begin = at;
        long v = 0;
        while (at < name.len && name.data[at] >= '0' && name.data[at] <= '9' && at - begin < 5)
            v = v * 10 + (name.data[at++] - '0');
        if (at == begin || n == 2 || (name.data[begin] == '0' && at - begin > 1)) return false;
        numbers[n++] = v;
    }
    return at == name.len;
}
static void rule_name(const char *to, const long numbers[2], oct_string rest, char out[64]) {
    size_t n = 0;
    for (; *to && n < 63; to++) {
        const int more = *to == '#'   ? snprintf(out + n, 64 - n, "%ld", numbers[0])
                         : *to == '*' ? snprintf(out + n, 64 - n, "%.*s", (int)rest.len, rest.data)
                                      : snprintf(out + n, 64 - n, "%c", *to);
        n += (size_t)more;
    }
    out[OCT__MIN(n, (size_t)63)] = 0;
}
/* The first rule for the name gives the tensor its place.  A rule whose `to` is "" leaves it out.  *found: there was one. */
static oct_result rule_apply(job *j, const rule *rules, oct_string name, checkpoint_tensor *t, bool *found) {
    enum { PARTS = 4096 };
    char to[64];
    long numbers[2];
    oct_string rest;
    *found = false;
    for (; rules->from; rules++) {
        if (!rule_match(rules->from, name, numbers, &rest)) continue;
        *found = t->used = true;
        if (!rules->to[0]) return OCT_OK;
        rule_name(rules->to, numbers, rest, to);
        if (numbers[1] >= PARTS)
            return oct__fail(&j->err, OCT_E_LIMIT, "tensor '%.*s': part %ld, expected at most %d", OCT__S(t->name), numbers[1],
                             PARTS - 1);
        return made_add(j, to, numbers[1] < 0 ? 0 : (int)numbers[1], numbers[1] >= 0, t);
    }
    return OCT_OK;
}
static bool name_cut(oct_string *name, const char *prefix) {
    const size_t n = strlen(prefix);
    if (name->len < n || memcmp(name->data, prefix, n) != 0) return false;
    name->data += n;
    name->len -= n;
    return true;
}
static bool name_like(oct_string name, const char *pattern) {
    char text[512];
    if (name.len >= sizeof text || memchr(name.data, 0, name.len)) return false;
    memcpy(text, name.data, name.len);
    text[name.len] = 0;
    return quants_match(pattern, text) != 0;
}
/* Buffers that are computed anew, and what the user leaves out. */
static bool name_ignored(const job *j, oct_string name) {
    static const char *const buffers[] = {
        "*rotary_emb.inv_freq", "*.attn.masked_bias",       "*.attn.bias",         "*logn_tensor", "*position_ids",
        "*.masked_bias",        "*rotary_pos_emb.inv_freq", "*num_batches_tracked"
    };
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (name_like(name, buffers[i])) return true;
    for (int i = 0; i < j->a.n_ignored; i++)
        if (name_like(name, j->a.ignored[i])) return true;
    return false;
}

#define DELTA_GATE "gating_network.w_gating"
/* Whether the tensor's first part stands in the delta. */
static bool delta_owns(const job *j, const char *name) {
    const made *m = made_find(j, name);
    const checkpoint_tensor *t = m && m->n_parts ? m->parts[0] : NULL;
    return t && t >= j->delta.tensors && t < j->delta.tensors + j->delta.n;
}

static const rule text_rules[] = { { "model.embed_tokens.weight", "token_embd.weight" },
                                   { "transformer.wte.weight", "token_embd.weight" },
                                   { "model.norm.*", "output_norm.*" },
                                   { "model.final_layernorm.*", "output_norm.*" },
                                   { "transformer.ln_f.*", "output_norm.*" },
                                   { "lm_head.*", "output.*" },
                                   { "model.layers.#.input_layernorm.*", "blk.#.attn_norm.*" },
                                   { "model.layers.#.post_attention_layernorm.*", "blk.#.ffn_norm.*" },
                                   { "model.layers.#.self_attn.q_proj.*", "blk.#.attn_q.*" },
                                   { "model.layers.#.self_attn.k_proj.*", "blk.#.attn_k.*" },
                                   { "model.layers.#.self_attn.v_proj.*", "blk.#.attn_v.*" },
                                   { "model.layers.#.self_attn.o_proj.*", "blk.#.attn_output.*" },
                                   { "model.layers.#.self_attn.dense.*", "blk.#.attn_output.*" },
                                   { "model.layers.#.mlp.gate_proj.*", "blk.#.ffn_gate.*" },
                                   { "model.layers.#.mlp.up_proj.*", "blk.#.ffn_up.*" },
                                   { "model.layers.#.mlp.down_proj.*", "blk.#.ffn_down.*" },
                                   { "model.layers.#.mlp.fc1.*", "blk.#.ffn_up.*" },
                                   { "model.layers.#.mlp.fc2.*", "blk.#.ffn_down.*" },
                                   { "transformer.h.#.ln_1.*", "blk.#.attn_norm.*" },
                                   { "transformer.h.#.ln_2.*", "blk.#.ffn_norm.*" },
                                   { "transformer.embd.wte.weight", "token_embd.weight" }, /* Phi-2 before transformers had it */
                                   { "transformer.h.#.ln.*", "blk.#.attn_norm.*" },
                                   { "transformer.h.#.mixer.Wqkv.*", "blk.#.attn_qkv.*" },
                                   { "transformer.h.#.mixer.out_proj.*", "blk.#.attn_output.*" },
                                   { "transformer.h.#.mlp.fc1.*", "blk.#.ffn_up.*" },
                                   { "transformer.h.#.mlp.fc2.*", "blk.#.ffn_down.*" },
                                   { "lm_head.ln.*", "output_norm.*" },
                                   { "lm_head.linear.*", "output.*" },
                                   { "transformer.h.#.attn.c_attn.*", "blk.#.attn_qkv.*" },
                                   { "transformer.h.#.attn.c_proj.*", "blk.#.attn_output.*" },
                                   { "transformer.h.#.mlp.w2.*", "blk.#.ffn_gate.*" },
                                   { "transformer.h.#.mlp.w1.*", "blk.#.ffn_up.*" }, /* Qwen's gate is w2 */
                                   { "transformer.h.#.mlp.c_proj.*", "blk.#.ffn_down.*" },
#define EXPERTS(from) from ".mlp.deepspeed_moe.experts.deepspeed_experts.#."
                                   { "model.layers.#.mlp.deepspeed_moe.gate.wg.weight", "blk.#.ffn_gate_inp.weight" },
                                   { "transformer.h.#.mlp.deepspeed_moe.gate.wg.weight", "blk.#.ffn_gate_inp.weight" },
                                   { EXPERTS("model.layers.#") "gate_proj.*", "blk.#.ffn_gate_exps.*" },
                                   { EXPERTS("model.layers.#") "up_proj.*", "blk.#.ffn_up_exps.*" },
                                   { EXPERTS("model.layers.#") "down_proj.*", "blk.#.ffn_down_exps.*" },
                                   { EXPERTS("model.layers.#") "fc1.*", "blk.#.ffn_up_exps.*" },
                                   { EXPERTS("model.layers.#") "fc2.*", "blk.#.ffn_down_exps.*" },
                                   { EXPERTS("transformer.h.#") "w2.*", "blk.#.ffn_gate_exps.*" },
                                   { EXPERTS("transformer.h.#") "w1.*", "blk.#.ffn_up_exps.*" },
                                   { EXPERTS("transformer.h.#") "c_proj.*", "blk.#.ffn_down_exps.*" },
#undef EXPERTS
                                   { "model.mm_projector.*", "mm.0.*" },
                                   { "transformer.mm_projector.*", "mm.0.*" },
                                   { "model.mm_projector.0.*", "mm.0.*" },
                                   { "model.mm_projector.2.*", "mm.2.*" },
                                   { "model.mm_projector.image_spatial_proj.*", "mm.0.*" },
                                   { "model.mm_projector.image_spatial_proj.0.*", "mm.0.*" },
                                   { "model.mm_projector.image_spatial_proj.2.*", "mm.2.*" },
                                   { "transformer.mm_projector.image_spatial_proj.*", "mm.0.*" },
                                   { "transformer.mm_projector.image_spatial_proj.0.*", "mm.0.*" },
                                   { "transformer.mm_projector.image_spatial_proj.2.*", "mm.2.*" },
                                   { "multi_modal_projector.linear_1.*", "mm.0.*" },
                                   { "multi_modal_projector.linear_2.*", "mm.2.*" },
                                   { NULL, NULL } };

/* Of transformers, behind "vision_model."; of OpenAI, behind "visual."; of timm. */
static const rule tower_rules[] = { { "embeddings.class_embedding", "v.class_embd" },
                                    { "embeddings.patch_embedding.*", "v.patch_embd.*" },
                                    { "embeddings.position_embedding.weight", "v.position_embd.weight" },
                                    { "pre_layrnorm.*", "v.pre_ln.*" },
                                    { "pre_layernorm.*", "v.pre_ln.*" },
                                    { "encoder.layers.#.layer_norm1.*", "v.blk.#.ln1.*" },
                                    { "encoder.layers.#.layer_norm2.*", "v.blk.#.ln2.*" },
                                    { "encoder.layers.#.self_attn.q_proj.*", "v.blk.#.attn_q.*" },
                                    { "encoder.layers.#.self_attn.k_proj.*", "v.blk.#.attn_k.*" },
                                    { "encoder.layers.#.self_attn.v_proj.*", "v.blk.#.attn_v.*" },
                                    { "encoder.layers.#.self_attn.out_proj.*", "v.blk.#.attn_out.*" },
                                    { "encoder.layers.#.mlp.fc1.*", "v.blk.#.ffn_up.*" },
                                    { "encoder.layers.#.mlp.fc2.*", "v.blk.#.ffn_down.*" },
                                    { "post_layernorm.*", "" },
                                    { "head.probe", "" },
                                    { "head.attention.in_proj_weight", "" },
                                    { "head.attention.in_proj_bias", "" },
                                    { "head.attention.out_proj.*", "" },
                                    { "head.layernorm.*", "" },
                                    { "head.mlp.fc1.*", "" },
                                    { "head.mlp.fc2.*", "" },
                                    { NULL, NULL } };
static const rule openai_rules[] = { { "class_embedding", "v.class_embd" },
                                     { "conv1.weight", "v.patch_embd.weight" },
                                     { "positional_embedding", "v.position_embd.weight" },
                                     { "ln_pre.*", "v.pre_ln.*" },
                                     { "ln_post.*", "" },
                                     { "proj", "" },
                                     { "transformer.resblocks.#.ln_1.*", "v.blk.#.ln1.*" },
                                     { "transformer.resblocks.#.ln_2.*", "v.blk.#.ln2.*" },
                                     { "transformer.resblocks.#.attn.in_proj_weight", "v.blk.#.attn_qkv.weight" },
                                     { "transformer.resblocks.#.attn.in_proj_bias", "v.blk.#.attn_qkv.bias" },
                                     { "transformer.resblocks.#.attn.out_proj.*", "v.blk.#.attn_out.*" },
                                     { "transformer.resblocks.#.mlp.c_fc.*", "v.blk.#.ffn_up.*" },
                                     { "transformer.resblocks.#.mlp.c_proj.*", "v.blk.#.ffn_down.*" },
                                     { NULL, NULL } };
static const rule timm_rules[] = { { "cls_token", "v.class_embd" },
                                   { "pos_embed", "v.position_embd.weight" },
                                   { "patch_embed.proj.*", "v.patch_embd.*" },
                                   { "norm_pre.*", "v.pre_ln.*" },
                                   { "blocks.#.norm1.*", "v.blk.#.ln1.*" },
                                   { "blocks.#.norm2.*", "v.blk.#.ln2.*" },
                                   { "blocks.#.attn.qkv.*", "v.blk.#.attn_qkv.*" },
                                   { "blocks.#.attn.proj.*", "v.blk.#.attn_out.*" },
                                   { "blocks.#.mlp.fc1.*", "v.blk.#.ffn_up.*" },
                                   { "blocks.#.mlp.fc2.*", "v.blk.#.ffn_down.*" },
                                   { "norm.*", "v.post_ln.*" },
                                   { "head.*", "v.head.*" },
                                   { NULL, NULL } };
/* The other half of a CLIP or SigLIP checkpoint. */
static const char *const tower_others[] = { "text_model.*",
                                            "visual_projection.weight",
                                            "text_projection.weight",
                                            "text_projection",
                                            "logit_scale",
                                            "logit_bias",
                                            "transformer.resblocks.*",
                                            "token_embedding.weight",
                                            "positional_embedding",
                                            "ln_final.*",
                                            "input_resolution",
                                            "context_length",
                                            "vocab_size" };

/* Wrappers that training and later transformers put around names. */
static oct_string text_name(oct_string name, pool *p) {
    char text[512];
    oct_string out = name;
    (void)name_cut(&name, "base_model.model.");
    if (name_cut(&name, "language_model.model.") || name_cut(&name, "model.language_model.") || name_cut(&name, "model.model."))
        snprintf(text, sizeof text, "model.%.*s", (int)OCT__MIN(name.len, (size_t)480), name.data);
    else if (name_cut(&name, "language_model.") ||
             (name_cut(&name, "model.multi_modal_projector.") && (name.data -= 22, name.len += 22)))
        snprintf(text, sizeof text, "%.*s", (int)OCT__MIN(name.len, (size_t)480), name.data);
    else
        return name;
    out = pool_copy(p, oct__str(text));
    return out.data ? out : name;
}
/* The tower's copies inside a model's checkpoint.  Cuts the name to what transformers calls the tensor. */
static bool text_tower(oct_string *name) {
    return name_cut(name, "model.image_tower.image_tower.vision_model.") ||
           name_cut(name, "model.vision_tower.vision_tower.vision_model.") ||
           name_cut(name, "transformer.image_tower.image_tower.vision_model.") ||
           name_cut(name, "model.vision_tower.vision_model.") || name_cut(name, "vision_tower.vision_model.") ||
           name_cut(name, "model.vision_tower.") || name_cut(name, "vision_tower.");
}
static oct_result unknown(job *j, const checkpoint_tensor *t) {
    return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: tensor '%.*s' has no place in the output (--ignore leaves it out)",
                     t->file->path, OCT__S(t->name));
}
/* What an OCTAVIUS delta brings itself: embeddings, output matrix, projector. */
static bool delta_has(job *j, checkpoint_tensor *t) {
    const oct_string name = text_name(t->name, &j->p);
    t->used = j->octavius && ((oct__str_is(name, "model.embed_tokens.weight") && made_find(j, "token_embd.weight")) ||
                              (oct__str_is(name, "lm_head.weight") && made_find(j, "output.weight")) ||
                              name_like(name, "model.mm_projector.*"));
    return t->used;
}
static oct_result place_text(job *j) {
    for (size_t i = 0; i < j->model.n; i++) {
        checkpoint_tensor *t = &j->model.tensors[i];
        oct_string name = t->name;
        bool found = false;
        if (name_ignored(j, name) || delta_has(j, t)) continue;
        if (text_tower(&name)) {
            if (!j->own_tower) continue;                   /* as officially: the tower's own folder counts */
            const oct_result r = rule_apply(j, tower_rules, name, t, &found);
            if (r) return r;
        } else {
            const oct_result r = rule_apply(j, text_rules, text_name(name, &j->p), t, &found);
            if (r) return r;
        }
        if (!found) return unknown(j, t);
    }
    return OCT_OK;
}

/* --- what is wanted -------------------------------------------------------------------------------------------- */

static const char *shape_text(int n, const size_t *shape, char text[128]) {
    size_t at = 1;
    snprintf(text, 128, "[");
    for (int i = 0; i < n; i++) at += (size_t)snprintf(text + at, 128 - at, "%s%zu", i ? ", " : "", shape[i]);
    snprintf(text + at, 128 - at, "]");
    return text;
}
/* The tensor has this shape, in PyTorch's order; parts: experts, 0 where they are no dimension.  It will be written next.
 * TURNED: the checkpoint has its last two dimensions the other way round. */
enum { OPTIONAL = 1, TURNED = 8 };
static void shape_turn(int n, size_t *v) {
    const size_t last = v[n - 1];
    v[n - 1] = v[n - 2];
    v[n - 2] = last;
}
/* Behind dimensions of 1.  Each number stands in the file: a few bytes make no endless output. */
static oct_result want_shape(job *j, const checkpoint_tensor *t, int n, const size_t *wanted) {
    char is[128], should[128];
    const int extra = t->n_dims - n;
    bool same = extra >= 0;
    size_t all = 1;
    for (int d = 0; d < t->n_dims; d++)
        if (oct__mul(&all, all, t->shape[d])) all = SIZE_MAX;
    if (all > t->numel)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: tensor '%.*s': shape %s on %zu numbers", t->file->path, OCT__S(t->name),
                         shape_text(t->n_dims, t->shape, is), t->numel);
    for (int d = 0; same && d < t->n_dims; d++) same = t->shape[d] == (d < extra ? 1 : wanted[d - extra]);
    return same ? OCT_OK
                : oct__fail(&j->err, OCT_E_FORMAT, "%s: tensor '%.*s': shape %s, expected %s", t->file->path, OCT__S(t->name),
                            shape_text(t->n_dims, t->shape, is), shape_text(n, wanted, should));
}
static oct_result want_next(job *j, made *m) {
    void *order = j->order;
    m->wanted = true;
    if (pool_grow(&j->p, &order, j->n_order, &j->order_cap, sizeof *j->order)) return memory(j);
    j->order = (made **)order;
    j->order[j->n_order++] = m;
    return OCT_OK;
}
static oct_result want_n(job *j, const char *name, int flags, int64_t parts, int n, const int64_t *shape) {
    made *m = made_find(j, name);
    char should[128];
    size_t wanted[4];
    for (int i = 0; i < n; i++) wanted[i] = (size_t)shape[i];
    if (flags & TURNED) shape_turn(n, wanted);
    if (!m)
        return flags & OPTIONAL ? OCT_OK
                                : oct__fail(&j->err, OCT_E_FORMAT, "tensor '%s' %s: nothing in the checkpoint makes it", name,
                                            shape_text(n, wanted, should));
    const size_t all = parts ? (size_t)parts : 1;
    if (m->n_parts > all || m->stacked != (parts > 0))
        return oct__fail(&j->err, OCT_E_FORMAT, "tensor '%s': part %zu, expected %zu", name, m->n_parts - 1, all);
    for (size_t i = 0; i < all; i++) {
        checkpoint_tensor *t = i < m->n_parts ? m->parts[i] : NULL;
        if (!t) return oct__fail(&j->err, OCT_E_FORMAT, "tensor '%s': part %zu of %zu is missing", name, i, all);
        const oct_result r = want_shape(j, t, n, wanted);
        if (r) return r;
        if (flags & TURNED) {
            shape_turn(t->n_dims, t->shape);
            shape_turn(t->n_dims, t->stride);
        }
    }
    for (int i = 0; i < n; i++) m->ne[i] = shape[n - 1 - i];
    m->n_dims = n + (parts > 0);
    if (parts) m->ne[n] = parts;
    for (int i = m->n_dims; i < 4; i++) m->ne[i] = 1;
    return want_next(j, m);
}
static oct_result want(job *j, const char *name, int flags, int64_t rows, int64_t cols) {
    const int64_t shape[2] = { rows, cols };
    return cols ? want_n(j, name, flags, 0, 2, shape) : want_n(j, name, flags, 0, 1, shape);
}
/* NAME.weight [rows, cols] ([rows] where cols is 0) and NAME.bias. */
static oct_result want_linear(job *j, const char *name, int64_t rows, int64_t cols) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    const oct_result r = want(j, full, 0, rows, cols);
    snprintf(full, sizeof full, "%s.bias", name);
    return r ? r : want(j, full, 0, rows, 0);
}
/* PREFIX.N.NAME.weight [rows, cols] ([rows] where cols is 0) and its bias. */
enum { NO_BIAS = 2, MAY_BIAS = 4 };
static oct_result want_at(job *j, const char *prefix, int64_t layer, const char *name, int flags, int64_t parts, int64_t rows,
                          int64_t cols) {
    const int64_t shape[2] = { rows, cols };
    char full[64];
    snprintf(full, sizeof full, "%s.%lld.%s.weight", prefix, (long long)layer, name);
    oct_result r = want_n(j, full, flags & OPTIONAL, parts, cols ? 2 : 1, shape);
    if (r || flags & NO_BIAS) return r;
    snprintf(full, sizeof full, "%s.%lld.%s.bias", prefix, (long long)layer, name);
    return want_n(j, full, flags & (OPTIONAL | MAY_BIAS) ? OPTIONAL : 0, parts, 1, shape);
}
/* What was given a place that this model has not. */
static oct_result check_all_wanted(job *j) {
    for (size_t i = 0; i < j->n; i++) {
        const made *m = &j->all[i];
        for (size_t k = 0; !m->wanted && k < m->n_parts; k++)
            if (m->parts[k]) return unknown(j, m->parts[k]);
    }
    return OCT_OK;
}

/* --- keys ---------------------------------------------------------------------------------------------------------- */

static const char *set_find(job *j, const char *key) {
    const char *value = NULL;
    for (int i = 0; i < j->a.n_set; i++)
        if (strcmp(j->a.set[i].key, key) == 0) {
            value = j->a.set[i].value;
            j->a.set[i].used = true;
        }
    return value;
}
static oct_result set_bad(job *j, const char *key, const char *value, const char *wanted) {
    return oct__fail(&j->err, OCT_E_ARG, "--set %s=%s: expected %s", key, value, wanted);
}
/* The whole number for a key: what --set says, else v. */
static oct_result set_int(job *j, const char *key, int64_t *v) {
    const char *value = set_find(j, key);
    char *end;
    if (!value) return OCT_OK;
    const long long n = strtoll(value, &end, 10);
    if (end == value || *end || n < 0 || n > UINT32_MAX) return set_bad(j, key, value, "a whole number");
    *v = n;
    return OCT_OK;
}
static oct_result key_u32(job *j, const char *key, int64_t v) {
    const oct_result r = set_int(j, key, &v);
    if (r) return r;
    if (v < 0 || v > UINT32_MAX) return oct__fail(&j->err, OCT_E_FORMAT, "%s: %lld, expected a size", key, (long long)v);
    gw_u32(&j->o.head, key, (uint32_t)v);
    return OCT_OK;
}
static oct_result key_f32s(job *j, const char *key, const float *given, int n, bool array) {
    const char *value = set_find(j, key), *at = value;
    float v[8];
    for (int i = 0; i < n; i++) {
        char *end = NULL;
        v[i] = value ? (float)strtod(at, &end) : given[i];
        if (value && (end == at || (*end && *end != ',')))
            return set_bad(j, key, value, n > 1 ? "numbers with commas" : "a number");
        if (value) at = *end ? end + 1 : n > 1 && i == 0 ? value : end;        /* one number stands for all */
    }
    if (array) gw_array_f32(&j->o.head, key, v, (size_t)n);
    else gw_f32(&j->o.head, key, v[0]);
    return OCT_OK;
}
static oct_result key_f32(job *j, const char *key, double v) {
    const float single = (float)v;
    return key_f32s(j, key, &single, 1, false);
}
static oct_result key_text(job *j, const char *key, const char *text) {
    const char *value = set_find(j, key);
    gw_str(&j->o.head, key, value ? value : text);
    return OCT_OK;
}
static oct_result key_arch(job *j, const char *name, int64_t v) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", j->arch, name);
    return key_u32(j, key, v);
}
static oct_result key_arch_f32(job *j, const char *name, double v) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", j->arch, name);
    return key_f32(j, key, v);
}
/* Keys of --set that nothing above has asked for. */
static oct_result set_rest(job *j) {
    static const struct { const char *key; char type;
    } known[] = { { "octavius.v.resize_side", 'u' },
                  { "octavius.v.convert", 's' },
                  { "octavius.prompt_style", 's' },
                  { "octavius.moe.capacity_factor", 'f' },
                  { "octavius.moe.min_capacity", 'u' },
                  { "octavius.native_length", 'u' },
                  { "octavius.sampling.temp", 'f' },
                  { "octavius.sampling.top_k", 'u' },
                  { "octavius.sampling.top_p", 'f' },
                  { "octavius.sampling.min_p", 'f' },
                  { "octavius.sampling.penalty_repeat", 'f' },
                  { "general.name", 's' } };
    for (int i = 0; i < j->a.n_set; i++) {
        const char *key = j->a.set[i].key;
        char type = 0;
        if (j->a.set[i].used) continue;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            if (strcmp(known[k].key, key) == 0) type = known[k].type;
        if (!type) return oct__fail(&j->err, OCT_E_ARG, "--set %s: no key that this model has", key);
        const oct_result r = type == 'u' ? key_u32(j, key, 0) : type == 'f' ? key_f32(j, key, 0.0) : key_text(j, key, "");
        if (r) return r;
    }
    return OCT_OK;
}

/* --- the language model --------------------------------------------------------------------------------------------- */

static const struct { const char *type, *arch, *style; } families[] = {
    { "moe_llava_stablelm", "stablelm", "stablelm" }, { "llava_stablelm", "stablelm", "stablelm" },
    { "moe_llava_qwen", "qwen", "qwen" }, { "llava_qwen", "qwen", "qwen" },
    { "moe_llava_phi", "phi2", "phi" }, { "llava_phi", "phi2", "phi" },
    { "moe_llava_llama", "llama", "vicuna_v1" }, { "llava_llama", "llama", "vicuna_v1" }, { "llava", "llama", "vicuna_v1" },
    { "moe_llava_mistral", "llama", "mistral" }, { "llava_mistral", "llama", "mistral" },
    { "moe_llava_qwen1_5", "qwen2", "qwen" }, { "llava_qwen1_5", "qwen2", "qwen" },
    { "llama", "llama", NULL }, { "mistral", "llama", NULL }, { "phi", "phi2", NULL },
    { "phi-msft", "phi2", NULL }, { "stablelm", "stablelm", NULL },
    { "stablelm_epoch", "stablelm", NULL }, { "qwen", "qwen", NULL }, { "qwen2", "qwen2", NULL } };

static bool is(const job *j, const char *arch) { return strcmp(j->arch, arch) == 0; }
static oct_result read_family(job *j) {
    const oct_string type = json_text(json_get(j->config, "model_type"), "");
    if (!j->config) return oct__fail(&j->err, OCT_E_FORMAT, "%s: no config.json", j->folder);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (oct__str_is(type, families[i].type)) {
            j->arch = families[i].arch;
            j->style = families[i].style;
        }
    if (!j->arch)
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: config.json: model_type '%.*s' is not known", j->folder,
                         OCT__S(type));
    const json *text = json_get(j->config, "text_config");     /* transformers' own LLaVA */
    j->text = text && text->kind == JSON_OBJECT ? text : j->config;
    j->own_tower = j->text != j->config && !j->a.vision && !j->octavius;
    j->mm = j->octavius ? NULL : j->config;
    if (j->octavius) j->style = "bare";
    const oct_string inner = json_text(json_get(text, "model_type"), "llama");
    if (text && !oct__str_is(inner, "llama") && !oct__str_is(inner, "mistral"))
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: config.json: text_config.model_type '%.*s', expected llama",
                         j->folder, OCT__S(inner));
    return OCT_OK;
}
/* From 1 to 2^24. */
static oct_result read_size(job *j, const json *from, const char *key, int64_t none, int64_t *out) {
    *out = json_int(json_get(from, key), none);
    if (*out >= 1 && *out <= 1 << 24) return OCT_OK;
    return oct__fail(&j->err, OCT_E_FORMAT, "%s: config.json: '%s' is %lld, expected 1 to %d", j->folder, key, (long long)*out,
                     1 << 24);
}
/* How many layers have names: "blk.7." makes 8. */
static int64_t count_layers(const job *j, const char *prefix) {
    const size_t n = strlen(prefix);
    long most = -1;
    for (size_t i = 0; i < j->n; i++)
        if (strncmp(j->all[i].name, prefix, n) == 0) most = OCT__MAX(most, strtol(j->all[i].name + n, NULL, 10));
    return most + 1;
}
static int64_t rows_of(const job *j, const char *name, int dim, int64_t none) {
    const made *m = made_find(j, name);
    const bool there = m && m->n_parts && m->parts[0] && m->parts[0]->n_dims > dim;
    return there ? (int64_t)OCT__MIN(m->parts[0]->shape[dim], (size_t)1 << 40) : none;     /* so that products of two fit */
}
static oct_result read_sizes(job *j) {
    const json *c = j->text;
    oct_result r;
    if (!j->octavius) j->n_vocab = rows_of(j, "token_embd.weight", 0, -1);
    if (j->n_vocab < 1 || j->n_vocab > VOCAB_MAX)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: no token embeddings, or %lld rows of them", j->folder,
                         (long long)j->n_vocab);
    const int64_t up = rows_of(j, is(j, "phi2") ? "blk.0.ffn_up.weight" : "blk.0.ffn_gate.weight", 0, 0);
    if ((r = read_size(j, c, "hidden_size", rows_of(j, "token_embd.weight", 1, 0), &j->n_embd)) != OCT_OK ||
        (r = read_size(j, c, "num_hidden_layers", count_layers(j, "blk."), &j->n_layer)) != OCT_OK ||
        (r = read_size(j, c, "num_attention_heads", json_int(json_get(c, "n_head"), j->n_embd / 128), &j->n_head)) != OCT_OK ||
        (r = read_size(j, c, "num_key_value_heads", json_int(json_get(c, "n_head_kv"), j->n_head), &j->n_kv)) != OCT_OK ||
        (r = read_size(j, c, "intermediate_size", up, &j->n_ff)) != OCT_OK)
        return r;
    if (j->n_layer > 1024)
        return oct__fail(&j->err, OCT_E_LIMIT, "%s: %lld layers, expected at most 1024", j->folder, (long long)j->n_layer);
    if (j->n_embd % j->n_head || j->n_head % j->n_kv)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: %lld numbers for %lld heads, %lld of them for keys", j->folder,
                         (long long)j->n_embd, (long long)j->n_head, (long long)j->n_kv);
    j->d_head = json_int(json_get(c, "head_dim"), j->n_embd / j->n_head);
    if (j->d_head * j->n_head != j->n_embd)
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: heads of %lld, expected %lld", j->folder, (long long)j->d_head,
                         (long long)(j->n_embd / j->n_head));
    return OCT_OK;
}
/* Whether layer i has experts, by config.json. */
static bool layer_has_experts(const job *j, int64_t i) {
    const json *moe = json_get(j->config, "moe"), *list = json_get(moe, "moe_layers_idx");
    if (!moe || !json_true(json_get(moe, "moe_enable"), true)) return false;
    for (const json *m = list ? list->first : NULL; m; m = m->next)
        if (json_int(m, -1) == i) return true;
    return false;
}
static int64_t experts_of(const job *j, int64_t i) {
    const json *moe = json_get(j->config, "moe"), *list = json_get(moe, "moe_layers_idx"), *count = json_get(moe, "num_experts");
    const json *n = count ? count->first : NULL;
    if (count && count->kind == JSON_NUMBER) return json_int(count, -1);
    for (const json *m = list ? list->first : NULL; m; m = m->next) {
        if (json_int(m, -1) == i) return json_int(n, -1);
        if (n && n->next) n = n->next;                     /* one number may stand for all */
    }
    return -1;
}
static oct_result want_ffn(job *j, int64_t i) {
    const bool phi = is(j, "phi2");
    const int64_t ff = is(j, "qwen") ? j->n_ff / 2 : j->n_ff, d = j->n_embd,
                  experts = layer_has_experts(j, i) ? experts_of(j, i) : 0;
    const int bias = phi ? 0 : NO_BIAS;
    char name[3][16];
    oct_result r = OCT_OK;
    for (int k = 0; k < 3; k++)
        snprintf(name[k], sizeof name[k], "%s%s", k == 0 ? "ffn_gate" : k == 1 ? "ffn_up" : "ffn_down", experts ? "_exps" : "");
    if (experts < 0 || experts > 1024)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: layer %lld has %lld experts", j->folder, (long long)i, (long long)experts);
    if (experts) r = want_at(j, "blk", i, "ffn_gate_inp", NO_BIAS, 0, experts, d);
    if (!r && !phi) r = want_at(j, "blk", i, name[0], NO_BIAS, experts, ff, d);
    if (!r) r = want_at(j, "blk", i, name[1], bias, experts, ff, d);
    if (!r) r = want_at(j, "blk", i, name[2], bias, experts, d, ff);
    j->n_expert = OCT__MAX(j->n_expert, experts);
    return r;
}
static oct_result want_layer(job *j, int64_t i) {
    char joined[64];
    snprintf(joined, sizeof joined, "blk.%lld.attn_qkv.weight", (long long)i);
    const bool phi = is(j, "phi2"), stable = is(j, "stablelm"), fused = is(j, "qwen") || (phi && made_find(j, joined));
    const int64_t d = j->n_embd, kv = j->n_kv * j->d_head;
    const int norm = phi ? 0 : stable ? MAY_BIAS : NO_BIAS, qkv = phi || is(j, "qwen2") ? 0 : MAY_BIAS;
    oct_result r = want_at(j, "blk", i, "attn_norm", norm, 0, d, 0);
    if (!r && fused) r = want_at(j, "blk", i, "attn_qkv", 0, 0, 3 * d, d);
    if (!r && !fused) r = want_at(j, "blk", i, "attn_q", qkv, 0, d, d);
    if (!r && !fused) r = want_at(j, "blk", i, "attn_k", qkv, 0, kv, d);
    if (!r && !fused) r = want_at(j, "blk", i, "attn_v", qkv, 0, kv, d);
    if (!r) r = want_at(j, "blk", i, "attn_output", phi ? 0 : is(j, "llama") ? MAY_BIAS : NO_BIAS, 0, d, d);
    if (!r && !phi) r = want_at(j, "blk", i, "ffn_norm", norm, 0, d, 0);
    return r ? r : want_ffn(j, i);
}
/* Queries and keys of LLaMA: GGUF has the rotary pairs side by side. */
static void pair_rows(job *j) {
    for (size_t i = 0; i < j->n_order && is(j, "llama"); i++) {
        made *m = j->order[i];
        if (strncmp(m->name, "blk.", 4) != 0) continue;
        if (strstr(m->name, ".attn_q.")) m->heads = (int)j->n_head;
        if (strstr(m->name, ".attn_k.")) m->heads = (int)j->n_kv;
    }
}
/* A row for each token.  Where a delta brings no rows for the tokens that it adds, they are the mean of the base's. */
static oct_result want_words(job *j, const char *name) {
    if (!j->octavius || delta_owns(j, name)) return want(j, name, 0, j->n_vocab, j->n_embd);
    const int64_t rows = rows_of(j, name, 0, 0);
    const oct_result r = want(j, name, 0, rows, j->n_embd);
    if (r) return r;
    made *m = made_find(j, name);
    m->stored = OCT__MIN(rows, j->tags);
    m->ne[1] = j->n_vocab;
    fprintf(stderr, PROGRAM ": %s: the delta has none: %lld rows of %s, and their mean for tokens %lld to %lld\n", name,
            (long long)m->stored, j->folder, (long long)m->stored, (long long)j->n_vocab - 1);
    return OCT_OK;
}
static oct_result want_text(job *j) {
    const bool tied =
        json_true(json_get(j->text, "tie_word_embeddings"), json_true(json_get(j->config, "tie_word_embeddings"), false));
    made *output = made_find(j, "output.weight");
    oct_result r;
    if (tied && output) output->wanted = true;             /* transformers takes the embeddings then */
    j->a.plan.tied = tied;
    j->a.plan.n_layer = (int)j->n_layer;
    if ((r = want_words(j, "token_embd.weight")) != OCT_OK) return r;
    for (int64_t i = 0; i < j->n_layer; i++)
        if ((r = want_layer(j, i)) != OCT_OK) return r;
    if ((r = want(j, "output_norm.weight", 0, j->n_embd, 0)) != OCT_OK) return r;
    if (is(j, "phi2") || is(j, "stablelm")) r = want(j, "output_norm.bias", is(j, "stablelm") ? OPTIONAL : 0, j->n_embd, 0);
    if (!r && !tied) r = want_words(j, "output.weight");
    if (!r && is(j, "phi2")) r = want(j, "output.bias", OPTIONAL, j->n_vocab, 0);
    pair_rows(j);
    return r;
}
static oct_result write_moe_keys(job *j) {
    const json *moe = json_get(j->config, "moe");
    oct_result r;
    if (!j->n_expert) return OCT_OK;
    if (json_true(json_get(moe, "use_residual"), false))
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: config.json: moe.use_residual, which no published model has",
                         j->folder);
    if ((r = key_arch(j, "expert_count", j->n_expert)) != OCT_OK ||
        (r = key_arch(j, "expert_used_count", json_int(json_get(moe, "top_k_experts"), 2))) != OCT_OK ||
        (r = key_f32(j, "octavius.moe.capacity_factor", json_real(json_get(moe, "eval_capacity_factor"), 2.0))) != OCT_OK)
        return r;
    return key_u32(j, "octavius.moe.min_capacity", json_int(json_get(moe, "min_capacity"), 0));
}
static double first_real(const json *c, const char *a, const char *b, double none) {
    const json *v = json_get(c, a);
    return v && v->kind == JSON_NUMBER ? v->number : json_real(json_get(c, b), none);
}
/* What generation_config.json recommends, with transformers' own defaults beside it.  OCTAVIUS's code samples in any case, and
 * fixes temperature and top_p itself. */
static oct_result write_sampling(job *j) {
    const json *g = j->generation;
    const double penalty = json_real(json_get(g, "repetition_penalty"), 1.0);
    const double temp = j->octavius ? 1.0 : json_real(json_get(g, "temperature"), 1.0);
    oct_result r = OCT_OK;
    if (j->octavius || json_true(json_get(g, "do_sample"), false)) {
        if ((r = key_f32(j, "octavius.sampling.temp", temp)) != OCT_OK ||
            (r = key_u32(j, "octavius.sampling.top_k", json_int(json_get(g, "top_k"), 50))) != OCT_OK ||
            (r = key_f32(j, "octavius.sampling.top_p", j->octavius ? 0.9 : json_real(json_get(g, "top_p"), 1.0))) != OCT_OK)
            return r;
    }
    return penalty > 0.0 && (penalty < 1.0 || penalty > 1.0) ? key_f32(j, "octavius.sampling.penalty_repeat", penalty) : OCT_OK;
}
/* --- positions stretched in long-context variants ------------------------------------------------------------------------ */

/* Llama 3: slow waves are stretched, quick ones not, by divisors of the frequencies, which GGUF keeps as a tensor. */
static oct_result rope_divisors(job *j, const json *s, double theta, int64_t n_rot) {
    const double factor = json_real(json_get(s, "factor"), 8.0), low = json_real(json_get(s, "low_freq_factor"), 1.0),
                 high = json_real(json_get(s, "high_freq_factor"), 4.0),
                 length = json_real(json_get(s, "original_max_position_embeddings"), 8192.0);
    made *m = made_find(j, "rope_freqs.weight");
    float *v = POOL_NEW(&j->p, float, (size_t)n_rot / 2);
    if (!m || !v) return memory(j);
    if (!(factor > 0.0) || !(high > low) || !(length > 0.0))
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: config.json: rope_scaling: impossible numbers", j->folder);
    for (int64_t i = 0; i < n_rot / 2; i++) {
        const double turns = length * pow(theta, -2.0 * (double)i / (double)n_rot) / (2.0 * 3.14159265358979323846);
        double share = (turns - low) / (high - low);       /* of the frequency as it was */
        share = share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
        v[i] = (float)(1.0 / ((1.0 - share) / factor + share));
    }
    m->given = v;
    m->n_dims = 1;
    m->ne[0] = n_rot / 2;
    m->ne[1] = m->ne[2] = m->ne[3] = 1;
    return want_next(j, m);
}
/* transformers' attention_factor is the whole of what llama.cpp splits in two. */
static oct_result rope_yarn(job *j, const json *s) {
    static const char *const others[] = { "mscale", "mscale_all_dim" };
    const double factor = json_real(json_get(s, "factor"), 1.0), usual = factor > 1.0 ? 1.0 + 0.1 * log(factor) : 1.0,
                 gain = json_real(json_get(s, "attention_factor"), usual);
    const json *length = json_get(s, "original_max_position_embeddings");
    oct_result r;
    for (int i = 0; i < 2; i++)
        if (json_get(s, others[i]))
            return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: config.json: rope_scaling.%s", j->folder, others[i]);
    if (!json_true(json_get(s, "truncate"), true))
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: config.json: rope_scaling.truncate false", j->folder);
    if ((length && (r = key_arch(j, "rope.scaling.original_context_length", json_int(length, -1))) != OCT_OK) ||
        (fabs(gain / usual - 1.0) > 1e-6 && (r = key_arch_f32(j, "rope.scaling.attn_factor", gain / usual)) != OCT_OK) ||
        (r = key_arch_f32(j, "rope.scaling.yarn_beta_fast", json_real(json_get(s, "beta_fast"), 32.0))) != OCT_OK)
        return r;
    return key_arch_f32(j, "rope.scaling.yarn_beta_slow", json_real(json_get(s, "beta_slow"), 1.0));
}
static oct_result write_rope_scaling(job *j, double theta, int64_t n_rot) {
    const json *s = json_get(j->text, "rope_scaling"), *kind;
    char key[64];
    if (!s) s = json_get(j->text, "rope_parameters");
    kind = json_get(s, "rope_type");
    const oct_string type = json_text(kind ? kind : json_get(s, "type"), "default");
    if (oct__str_is(type, "default")) return OCT_OK;
    if (oct__str_is(type, "llama3")) return rope_divisors(j, s, theta, n_rot);
    if (!oct__str_is(type, "linear") && !oct__str_is(type, "yarn"))
        return oct__fail(&j->err, OCT_E_UNSUPPORTED,
                         "%s: config.json: rope_scaling of type '%.*s', expected linear, yarn or llama3", j->folder, OCT__S(type));
    snprintf(key, sizeof key, "%s.rope.scaling.type", j->arch);
    gw_strn(&j->o.head, key, type.data, type.len);
    const oct_result r = key_arch_f32(j, "rope.scaling.factor", json_real(json_get(s, "factor"), 1.0));
    return r || !oct__str_is(type, "yarn") ? r : rope_yarn(j, s);
}

/* --- the whole of it ------------------------------------------------------------------------------------------------------ */

static oct_result write_text_keys(job *j) {
    const json *c = j->text;
    const bool norms = is(j, "phi2") || is(j, "stablelm");
    const json *rope = json_get(c, "rope_parameters");     /* where transformers 5 keeps what stood beside it before */
    const double theta = json_real(json_get(rope, "rope_theta"), first_real(c, "rope_theta", "rotary_emb_base", 10000.0));
    const double stated =
        json_real(json_get(rope, "partial_rotary_factor"), first_real(c, "partial_rotary_factor", "rope_pct", -1.0));
    const double share = is(j, "phi2") ? stated < 0.0 ? 0.5 : stated : is(j, "stablelm") ? stated < 0.0 ? 0.25 : stated : 1.0;
    const int64_t n_rot = json_int(json_get(c, "rotary_dim"), (int64_t)(share * (double)j->d_head));
    char key[64];
    oct_result r;
    const int64_t length = json_int(json_get(c, is(j, "phi2") ? "n_positions" : "seq_length"), 2048);
    if ((r = key_arch(j, "context_length", json_int(json_get(c, "max_position_embeddings"), length))) != OCT_OK ||
        (r = key_arch(j, "embedding_length", j->n_embd)) != OCT_OK || (r = key_arch(j, "block_count", j->n_layer)) != OCT_OK ||
        (r = key_arch(j, "feed_forward_length", j->n_ff)) != OCT_OK ||
        (r = key_arch(j, "attention.head_count", j->n_head)) != OCT_OK ||
        (r = key_arch(j, "attention.head_count_kv", j->n_kv)) != OCT_OK ||
        (r = key_arch_f32(j, "rope.freq_base", theta)) != OCT_OK ||
        (r = key_arch(j, "rope.dimension_count", n_rot)) != OCT_OK)
        return r;
    const double eps = json_real(json_get(c, "layer_norm_epsilon"), 1e-5);
    if (norms) r = key_arch_f32(j, "attention.layer_norm_epsilon", first_real(c, "norm_eps", "layer_norm_eps", eps));
    else r = key_arch_f32(j, "attention.layer_norm_rms_epsilon", first_real(c, "rms_norm_eps", "layer_norm_epsilon", 1e-6));
    snprintf(key, sizeof key, "%s.use_parallel_residual", j->arch);
    if (is(j, "stablelm")) gw_bool(&j->o.head, key, 0);
    if (!r && is(j, "qwen") && json_true(json_get(c, "use_dynamic_ntk"), false))
        r = key_u32(j, "octavius.native_length", json_int(json_get(c, "seq_length"), 8192));
    if (!r) r = write_rope_scaling(j, theta, n_rot);
    if (!r) r = write_moe_keys(j);
    if (!r) r = write_sampling(j);
    return !r && j->style ? key_text(j, "octavius.prompt_style", j->style) : r;
}

/* --- the tokenizer --------------------------------------------------------------------------------------------------- */

static oct_result source_map(job *j, const char *name, const checkpoint_file **f) {
    const char *path = file_in(&j->model.p, j->folder, name);
    *f = NULL;
    if (!path) return memory(j);
    if (!file_exists(path)) return OCT_OK;
    *f = checkpoint_map(&j->model, path, &j->err);
    return *f ? OCT_OK : j->err.code;
}
/* The folder's *.tiktoken; NULL: none. */
static const char *find_ranks(job *j) {
    DIR *d = opendir(j->folder);
    const char *found = NULL;
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (name_ends(e->d_name, ".tiktoken")) found = file_in(&j->model.p, "", e->d_name);
    if (d) closedir(d);
    return found;
}
static oct_result read_vocab(job *j, vocab *v) {
    const checkpoint_file *f, *merges;
    const json *root;
    const char *ranks;
    oct_result r = source_map(j, "tokenizer.model", &f);
    if (r) return r;
    v->file = f ? f->path : j->folder;
    if (f) {
        if ((r = vocab_sentencepiece(v, f->data, f->size, &j->err)) != OCT_OK ||
            (r = checkpoint_json(&j->model, j->folder, "added_tokens.json", &root, &j->err)) != OCT_OK)
            return r;
        return root ? vocab_ids(v, root, true, &j->err) : OCT_OK;
    }
    if ((ranks = find_ranks(j)) != NULL) {
        const bool qwen = !is(j, "stablelm");
        if ((r = source_map(j, ranks, &f)) != OCT_OK) return r;
        v->pre = qwen ? "qwen2" : "stablelm2";
        v->file = f ? f->path : ranks;
        return f ? vocab_tiktoken(v, f->data, f->size, qwen, &j->err) : OCT_OK;
    }
    if ((r = checkpoint_json(&j->model, j->folder, "vocab.json", &root, &j->err)) != OCT_OK ||
        (r = source_map(j, "merges.txt", &merges)) != OCT_OK || (r = source_map(j, "tokenizer.json", &f)) != OCT_OK)
        return r;
    if (root && merges && !(f && is(j, "llama"))) {        /* such a LLaMA has its rule for words in tokenizer.json alone */
        v->file = merges->path;
        v->pre = is(j, "phi2") ? "phi-2" : is(j, "qwen2") ? "qwen2" : is(j, "stablelm") ? "stablelm2" : "gpt-2";
        if ((r = vocab_ids(v, root, false, &j->err)) != OCT_OK ||
            (r = vocab_merges_text(v, merges->data, merges->size, &j->err)) != OCT_OK ||
            (r = checkpoint_json(&j->model, j->folder, "added_tokens.json", &root, &j->err)) != OCT_OK)
            return r;
        return root ? vocab_ids(v, root, true, &j->err) : OCT_OK;
    }
    if ((r = checkpoint_json(&j->model, j->folder, "tokenizer.json", &root, &j->err)) != OCT_OK) return r;
    if (!root)
        return oct__fail(&j->err, OCT_E_FORMAT,
                         "%s: no tokenizer.model, *.tiktoken, vocab.json with merges.txt, or tokenizer.json", j->folder);
    if ((r = vocab_tokenizer_json(v, root, &j->err)) != OCT_OK) return r;
    if (!v->spm && !v->pre)
        v->pre = is(j, "phi2") ? "phi-2" : is(j, "qwen2") || is(j, "qwen") ? "qwen2" : is(j, "stablelm") ? "stablelm2" : NULL;
    if (!v->spm && !v->pre)
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: tokenizer.json: an unknown way to split text into words", j->folder);
    if (is(j, "phi2") && !v->spm) v->pre = "phi-2";
    if (is(j, "stablelm") && !v->spm) v->pre = "stablelm2";
    return OCT_OK;
}
/* The text of a special token: a string, or an object that holds one. */
static oct_string special_text(const json *config, const char *key) {
    const json *v = json_get(config, key);
    return v && v->kind == JSON_OBJECT ? json_text(json_get(v, "content"), "") : json_text(v, "");
}
/* -1: the checkpoint names none. */
static int64_t special_id(const job *j, const vocab *v, const char *name) {
    char in[32], id_key[32];
    snprintf(in, sizeof in, "%s_token", name);
    snprintf(id_key, sizeof id_key, "%s_token_id", name);
    oct_string text = special_text(j->tokenizer_config, in);
    if (!text.len) text = special_text(j->special_map, in);
    /* Qwen's and Arcade's tokenizers fix these themselves */
    if (!text.len && !v->spm && (strcmp(name, "bos") == 0 || strcmp(name, "eos") == 0)) text = oct__str("<|endoftext|>");
    int64_t id = text.len ? vocab_id(v, text) : -1;
    if (id < 0) id = json_int(json_get(j->text, id_key), -1);
    if (id >= 0 || !v->spm) return id;
    const bool bos = strcmp(name, "bos") == 0, eos = strcmp(name, "eos") == 0;          /* LLaMA's, where nobody says */
    return bos || eos ? vocab_id(v, oct__str(bos ? "<s>" : "</s>")) : -1;
}
static void write_special(job *j, const vocab *v, const char *name, const char *key) {
    const int64_t id = special_id(j, v, name);
    if (id >= 0 && id < j->n_vocab) gw_u32(&j->o.head, key, (uint32_t)id);
}
static oct_result read_words(job *j) {
    vocab *v = &j->words;
    v->p = &j->model.p;
    v->add_space_prefix = -1;
    const oct_result r = read_vocab(j, v);
    const json *decoder = json_get(j->tokenizer_config, "added_tokens_decoder");
    return !r && decoder && decoder->kind == JSON_OBJECT ? vocab_added(v, decoder, &j->err) : r;
}
static oct_result write_vocab(job *j) {
    vocab v = j->words;
    oct_result r;
    if ((int64_t)v.n > j->n_vocab)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: %zu tokens, but the embeddings have %lld rows", v.file, v.n,
                         (long long)j->n_vocab);
    for (int64_t i = 0; i < j->n_vocab; i++)               /* rows without a token, and gaps */
        if ((size_t)i >= v.n || !v.tokens[i].data) {
            char pad[32];
            snprintf(pad, sizeof pad, "[PAD%lld]", (long long)i);
            const oct_string own = pool_copy(v.p, oct__str(pad));
            if (!own.data) return memory(j);
            if ((r = vocab_put(&v, i, own, -1000.0f, TOKEN_UNUSED, &j->err)) != OCT_OK) return r;
        }
    gguf_writer *w = &j->o.head;
    gw_str(w, "tokenizer.ggml.model", v.spm ? "llama" : "gpt2");
    if (!v.spm) gw_str(w, "tokenizer.ggml.pre", v.pre);
    gw_array_strings(w, "tokenizer.ggml.tokens", v.n);
    for (size_t i = 0; i < v.n; i++) gw_array_item(w, v.tokens[i].data, v.tokens[i].len);
    if (v.spm) gw_array_f32(w, "tokenizer.ggml.scores", v.scores, v.n);
    gw_array_i32(w, "tokenizer.ggml.token_type", v.types, v.n);
    if (!v.spm) gw_array_strings(w, "tokenizer.ggml.merges", v.n_merges);
    for (size_t i = 0; !v.spm && i < v.n_merges; i++) gw_array_item(w, v.merges[i].data, v.merges[i].len);
    write_special(j, &v, "bos", "tokenizer.ggml.bos_token_id");
    write_special(j, &v, "eos", "tokenizer.ggml.eos_token_id");
    write_special(j, &v, "unk", "tokenizer.ggml.unknown_token_id");
    write_special(j, &v, "pad", "tokenizer.ggml.padding_token_id");
    gw_bool(w, "tokenizer.ggml.add_bos_token",
            json_true(json_get(j->tokenizer_config, "add_bos_token"), v.spm || v.template_bos));
    gw_bool(w, "tokenizer.ggml.add_eos_token", json_true(json_get(j->tokenizer_config, "add_eos_token"), false));
    if (v.spm && v.add_space_prefix >= 0) gw_bool(w, "tokenizer.ggml.add_space_prefix", v.add_space_prefix);
    const json *legacy = json_get(j->tokenizer_config, "legacy");
    if (v.spm && legacy && legacy->kind == JSON_BOOL) gw_bool(w, "octavius.tokenizer.legacy", (int)legacy->integer);
    const json *template_ = json_get(j->tokenizer_config, "chat_template");
    if (template_ && template_->kind == JSON_STRING)
        gw_strn(w, "tokenizer.chat_template", template_->text.data, template_->text.len);
    return OCT_OK;
}

/* --- the vision tower --------------------------------------------------------------------------------------------------- */

static oct_result place_tower(job *j) {
    const checkpoint *c = &j->tower;
    uint32_t at;
    const bool openai = names_find(&c->by_name, oct__str("visual.conv1.weight"), &at),
               timm = names_find(&c->by_name, oct__str("blocks.0.attn.qkv.weight"), &at);
    const bool bare = names_find(&c->by_name, oct__str("embeddings.patch_embedding.weight"), &at);
    j->kind = openai ? TOWER_OPENAI : timm ? TOWER_TIMM : TOWER_CLIP;
    for (size_t i = 0; i < c->n; i++) {
        checkpoint_tensor *t = &c->tensors[i];
        oct_string name = t->name;
        bool found = name_ignored(j, name);
        oct_result r = OCT_OK;
        const bool inside =
            timm || bare || (openai ? name_cut(&name, "visual.") : name_cut(&name, "vision_model.") || text_tower(&name));
        if (!found && inside) r = rule_apply(j, timm ? timm_rules : openai ? openai_rules : tower_rules, name, t, &found);
        for (size_t k = 0; !found && !inside && k < sizeof tower_others / sizeof tower_others[0]; k++)
            found = name_like(name, tower_others[k]);
        if (r || !found) return r ? r : unknown(j, t);
    }
    return OCT_OK;
}
static oct_result want_tower_block(job *j, int64_t i) {
    const int64_t d = j->v_embd;
    char fused[64];
    oct_result r;
    snprintf(fused, sizeof fused, "v.blk.%lld.attn_qkv.weight", (long long)i);
    if ((r = want_at(j, "v.blk", i, "ln1", 0, 0, d, 0)) != OCT_OK) return r;
    if (made_find(j, fused)) {
        if ((r = want_at(j, "v.blk", i, "attn_qkv", MAY_BIAS, 0, 3 * d, d)) != OCT_OK) return r;
    } else if ((r = want_at(j, "v.blk", i, "attn_q", MAY_BIAS, 0, d, d)) != OCT_OK ||
               (r = want_at(j, "v.blk", i, "attn_k", MAY_BIAS, 0, d, d)) != OCT_OK ||
               (r = want_at(j, "v.blk", i, "attn_v", MAY_BIAS, 0, d, d)) != OCT_OK) {
        return r;
    }
    if ((r = want_at(j, "v.blk", i, "attn_out", MAY_BIAS, 0, d, d)) != OCT_OK ||
        (r = want_at(j, "v.blk", i, "ln2", 0, 0, d, 0)) != OCT_OK ||
        (r = want_at(j, "v.blk", i, "ffn_up", MAY_BIAS, 0, j->v_ff, d)) != OCT_OK)
        return r;
    return want_at(j, "v.blk", i, "ffn_down", MAY_BIAS, 0, d, j->v_ff);
}
/* Blocks behind the last that is run are left out. */
static void drop_blocks(job *j) {
    for (size_t i = 0; i < j->n; i++)
        if (strncmp(j->all[i].name, "v.blk.", 6) == 0) {
            const long at = strtol(j->all[i].name + 6, NULL, 10);
            if (at >= j->v_run && at < j->v_blocks) j->all[i].wanted = true;
        }
}
static oct_result want_tower(job *j, tower_kind kind, int64_t positions) {
    const int64_t conv[4] = { j->v_embd, 3, j->v_patch, j->v_patch }, d = j->v_embd;
    oct_result r;
    drop_blocks(j);
    j->a.plan.n_vision = (int)j->v_run;
    if ((r = want_n(j, "v.patch_embd.weight", 0, 0, 4, conv)) != OCT_OK ||
        (r = want(j, "v.patch_embd.bias", OPTIONAL, d, 0)) != OCT_OK ||
        (r = want(j, "v.class_embd", kind == TOWER_SIGLIP || kind == TOWER_TIMM ? OPTIONAL : 0, d, 0)) != OCT_OK ||
        (r = want(j, "v.position_embd.weight", 0, positions, d)) != OCT_OK ||
        (r = want(j, "v.pre_ln.weight", OPTIONAL, d, 0)) != OCT_OK || (r = want(j, "v.pre_ln.bias", OPTIONAL, d, 0)) != OCT_OK)
        return r;
    for (int64_t i = 0; i < j->v_run; i++)
        if ((r = want_tower_block(j, i)) != OCT_OK) return r;
    if (kind != TOWER_TIMM) return OCT_OK;
    if ((r = want(j, "v.post_ln.weight", OPTIONAL, d, 0)) != OCT_OK || (r = want(j, "v.post_ln.bias", OPTIONAL, d, 0)) != OCT_OK)
        return r;
    const int64_t classes = rows_of(j, "v.head.weight", 0, 0);
    if (!classes) return OCT_OK;
    r = want(j, "v.head.weight", 0, classes, d);
    return r ? r : want(j, "v.head.bias", OPTIONAL, classes, 0);
}
static oct_result write_tower_colours(job *j, tower_kind kind) {
    static const float clip[2][3] = { { 0.48145466f, 0.4578275f, 0.40821073f }, { 0.26862954f, 0.26130258f, 0.27577711f } };
    static const char *const keys[2][2] = { { "image_mean", "octavius.v.image_mean" }, { "image_std", "octavius.v.image_std" } };
    const bool half = kind == TOWER_SIGLIP || kind == TOWER_TIMM;
    for (int k = 0; k < 2; k++) {
        const json *list = json_get(j->prep, keys[k][0]);
        float v[3];
        for (int i = 0; i < 3; i++) v[i] = half ? 0.5f : clip[k][i];
        const json *m = list && list->count == 3 ? list->first : NULL;
        for (int i = 0; m; i++, m = m->next) v[i] = (float)json_real(m, (double)v[i]);
        const oct_result r = key_f32s(j, keys[k][1], v, 3, true);
        if (r) return r;
    }
    return OCT_OK;
}
static oct_result write_tower_keys(job *j, tower_kind kind, int64_t image) {
    const json *c = j->vision;
    const bool siglip = kind == TOWER_SIGLIP, timm = kind == TOWER_TIMM;
    const oct_string act = json_text(json_get(c, "hidden_act"), siglip ? "gelu_pytorch_tanh" : timm ? "gelu" : "quick_gelu");
    const char *gelu = oct__str_is(act, "quick_gelu")          ? "gelu_quick"
                       : oct__str_is(act, "gelu_pytorch_tanh") ? "gelu_tanh"
                       : oct__str_is(act, "gelu")              ? "gelu"
                                                               : NULL;
    const bool pad = oct__str_is(json_text(json_get(j->mm, "image_aspect_ratio"), ""), "pad") ||
                     (!j->octavius && json_true(json_get(j->prep, "do_pad"), false));
    oct_result r;
    if (!gelu)
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: config.json: hidden_act '%.*s'",
                         j->a.vision ? j->a.vision : j->folder, OCT__S(act));
    if ((r = key_u32(j, "octavius.v.image_size", image)) != OCT_OK ||
        (r = key_u32(j, "octavius.v.patch_size", j->v_patch)) != OCT_OK ||
        (r = key_u32(j, "octavius.v.embedding_length", j->v_embd)) != OCT_OK ||
        (r = key_u32(j, "octavius.v.feed_forward_length", j->v_ff)) != OCT_OK ||
        (r = key_u32(j, "octavius.v.block_count", j->v_run)) != OCT_OK ||
        (r = key_u32(j, "octavius.v.head_count", json_int(json_get(c, "num_attention_heads"), j->v_embd / 64))) != OCT_OK ||
        (r = key_f32(j, "octavius.v.layer_norm_epsilon",
                     json_real(json_get(c, "layer_norm_eps"), siglip || timm ? 1e-6 : 1e-5))) != OCT_OK ||
        (r = write_tower_colours(j, kind)) != OCT_OK || (r = key_text(j, "octavius.v.activation", gelu)) != OCT_OK ||
        (r = key_text(j, "octavius.v.resize",
                      pad                     ? "pad"
                      : siglip || j->octavius ? "squash"
                                              : "crop")) != OCT_OK)
        return r;
    if (timm && (r = key_u32(j, "octavius.v.resize_side", (image * 248 + 112) / 224)) != OCT_OK) return r;
    if ((kind == TOWER_OPENAI || j->octavius) && (r = key_text(j, "octavius.v.convert", "after")) != OCT_OK) return r;
    const oct_string strategy = json_text(json_get(j->mm, "vision_feature_select_strategy"), "default");
    const oct_string feature =
        json_text(json_get(j->mm, "mm_vision_select_feature"), oct__str_is(strategy, "full") ? "cls_patch" : "patch");
    if (!oct__str_is(feature, "patch") && !oct__str_is(feature, "cls_patch"))
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "config.json: mm_vision_select_feature '%.*s'", OCT__S(feature));
    return key_text(j, "octavius.v.feature", timm || oct__str_is(feature, "cls_patch") ? "cls_patch" : "patch");
}
/* The blocks that are run for hidden state `select`, which counts from the end where negative. */
static oct_result tower_depth(job *j, tower_kind kind) {
    const json *layer = json_get(j->mm, "mm_vision_select_layer");
    if (!layer) layer = json_get(j->mm, "vision_feature_layer");
    const int64_t select = json_int(layer, kind == TOWER_TIMM || j->octavius ? -1 : -2);
    if (layer && layer->kind != JSON_NUMBER)
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "config.json: several vision layers are selected");
    j->v_run = select >= 0 ? select : j->v_blocks + 1 + select;
    const oct_result r = set_int(j, "octavius.v.block_count", &j->v_run);
    if (r) return r;
    if (j->v_run < 1 || j->v_run > j->v_blocks)
        return oct__fail(&j->err, OCT_E_FORMAT, "vision layer %lld is selected, and there are %lld", (long long)select,
                         (long long)j->v_blocks);
    return OCT_OK;
}
static oct_result convert_tower(job *j) {
    tower_kind kind = j->kind;
    const char *folder = j->own_tower ? j->folder : j->a.vision;
    oct_result r;
    const oct_string type = json_text(json_get(j->vision, "model_type"), "");
    if (kind == TOWER_CLIP &&
        (oct__str_find(type, oct__str("siglip"), 0) != SIZE_MAX || (!j->vision && !made_find(j, "v.class_embd"))))
        kind = TOWER_SIGLIP;
    j->v_embd = rows_of(j, "v.patch_embd.weight", 0, 0);
    j->v_patch = rows_of(j, "v.patch_embd.weight", 3, 0);
    j->v_ff = rows_of(j, "v.blk.0.ffn_up.weight", 0, 0);
    j->v_blocks = count_layers(j, "v.blk.");
    if (j->v_embd < 1 || j->v_patch < 1 || j->v_ff < 1 || j->v_blocks < 1 || j->v_blocks > 1024 || j->v_patch > 256)
        return oct__fail(&j->err, OCT_E_FORMAT,
                         "%s: no vision tower that is known: neither transformers', OpenAI's nor timm's names", folder);
    const made *position = made_find(j, "v.position_embd.weight");
    const checkpoint_tensor *t = position && position->n_parts ? position->parts[0] : NULL;
    const int64_t rows = t && t->n_dims >= 2 ? (int64_t)t->shape[t->n_dims - 2] : 0,
                  patches = rows - (made_find(j, "v.class_embd") != NULL);
    int64_t side = 1;
    while (side < 4096 && side * side < patches) side++;
    if (side * side != patches)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: %lld vision positions, expected a square of patches", folder,
                         (long long)rows);
    const int64_t image = json_int(json_get(j->vision, "image_size"), side * j->v_patch);
    if (image / j->v_patch != side)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: pictures of %lld and patches of %lld, but %lld positions", folder,
                         (long long)image, (long long)j->v_patch, (long long)rows);
    if ((r = tower_depth(j, kind)) != OCT_OK || (r = want_tower(j, kind, rows)) != OCT_OK) return r;
    return write_tower_keys(j, kind, image);
}
static oct_result want_projector(job *j) {
    const json *type = json_get(j->mm, "mm_projector_type");
    if (!type) type = json_get(j->mm, "image_projector_type");
    const oct_string name = json_text(type, "linear");
    if (type && !oct__str_is(name, "linear") && !oct__str_is(name, "mlp2x_gelu") && !oct__str_is(name, "mlp1x_gelu"))
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: config.json: a projector of type '%.*s', expected linear or mlp2x_gelu",
                         j->folder, OCT__S(name));
    const int need = oct__str_is(name, "mlp2x_gelu") ? 0 : OPTIONAL;
    oct_result r;
    if ((r = want(j, "mm.0.weight", 0, j->n_embd, j->v_embd)) != OCT_OK ||
        (r = want(j, "mm.0.bias", need, j->n_embd, 0)) != OCT_OK)
        return r;
    r = want(j, "mm.2.weight", need, j->n_embd, j->n_embd);
    return r ? r : want(j, "mm.2.bias", need, j->n_embd, 0);
}

#include "octavius_delta.h"
#include "octavius_points.h"

/* --- writing ---------------------------------------------------------------------------------------------------------- */

/* Rows that the checkpoint has of a matrix with mean rows behind them. */
static size_t made_rows(const made *m) { return OCT__MIN(m->parts[0]->shape[0], (size_t)m->stored); }
/* The row that stands for those which the checkpoint has not. */
static oct_result write_mean(job *j, made *m) {
    const size_t cols = (size_t)m->ne[0], rows = made_rows(m);
    float *row = POOL_NEW(&j->p, float, cols), *mean = POOL_NEW(&j->p, float, cols);
    double *sum = POOL_NEW(&j->p, double, cols);
    if (!row || !mean || !sum) return memory(j);
    for (size_t i = 0; i < rows; i++) {
        checkpoint_row(m->parts[0], i, cols, row);
        for (size_t k = 0; k < cols; k++) sum[k] += (double)row[k];
    }
    for (size_t k = 0; k < cols; k++) mean[k] = (float)(sum[k] / (double)rows);
    m->mean = mean;
    return OCT_OK;
}
static double fold_number(const made *m, int part, size_t i) {
    float v;
    checkpoint_row(m->fold[part], i, 1, &v);
    return (double)v;
}
static double fold_scale(const made *m, size_t i) {
    return fold_number(m, FOLD_WEIGHT, i) / sqrt(fold_number(m, FOLD_VAR, i) + 1e-5);
}
/* A row of a matrix, or a whole bias, with the batch norm behind it. */
static int read_folded(const made *m, size_t row, float *out) {
    const size_t cols = (size_t)m->ne[0];
    checkpoint_row(m->parts[0], row, cols, out);
    if (m->n_dims > 1) {
        const double scale = fold_scale(m, row);
        for (size_t i = 0; i < cols; i++) out[i] = (float)((double)out[i] * scale);
        return 0;
    }
    for (size_t i = 0; i < cols; i++) {
        const double bias = m->biasless ? 0.0 : (double)out[i];
        out[i] = (float)(fold_number(m, FOLD_BIAS, i) + (bias - fold_number(m, FOLD_MEAN, i)) * fold_scale(m, i));
    }
    return 0;
}
static int read_row(void *user, int64_t row, float *out) {
    const made *m = (const made *)user;
    const size_t cols = (size_t)m->ne[0];
    if (m->given) memcpy(out, m->given, cols * sizeof *out);
    if (m->given) return 0;
    if (m->fold[0]) return read_folded(m, (size_t)row, out);
    if (m->heads && m->n_dims == 1) {                      /* a bias: its numbers are the rows */
        const size_t d = cols / (size_t)m->heads;
        for (size_t i = 0; i < cols; i++) checkpoint_row(m->parts[0], i / d * d + i % 2 * (d / 2) + i % d / 2, 1, out + i);
        return 0;
    }
    if (m->mean && (size_t)row >= made_rows(m)) {
        memcpy(out, m->mean, cols * sizeof *out);
        return 0;
    }
    const size_t rows = (size_t)m->ne[1], in_part = rows * (size_t)(m->ne[2] * m->ne[3]) / m->n_parts;
    size_t at = (size_t)row % in_part;
    if (m->heads) {
        const size_t d = rows / (size_t)m->heads, i = at % d;
        at = at / d * d + i % 2 * (d / 2) + i / 2;
    }
    checkpoint_row(m->parts[(size_t)row / in_part], at, cols, out);
    return 0;
}
/* Once for all layers: "blk.N.ffn_down.weight". */
static void say_fallback(job *j, const made *m, int wanted) {
    char name[64], before[64];
    size_t n = 0;
    for (const char *c = m->name; *c && n < 63; c++) {
        if (*c < '0' || *c > '9') name[n++] = *c;
        else if (n == 0 || name[n - 1] != 'N') name[n++] = 'N';
    }
    name[n] = 0;
    for (size_t i = 0; i < j->n_order && j->order[i] != m; i++) {
        int other;
        n = 0;
        for (const char *c = j->order[i]->name; *c && n < 63; c++) {
            if (*c < '0' || *c > '9') before[n++] = *c;
            else if (n == 0 || before[n - 1] != 'N') before[n++] = 'N';
        }
        before[n] = 0;
        (void)quants_choose(&j->a.plan, j->order[i]->name, j->order[i]->n_dims, j->order[i]->ne, &other);
        if (other == wanted && strcmp(name, before) == 0) return;
    }
    fprintf(stderr, PROGRAM ": %s: rows of %lld do not fill blocks of %s: %s\n", name, (long long)m->ne[0],
            blocks_type_of(wanted)->name, blocks_type_of(m->type)->name);
}
static oct_result out_failed(job *j) {
    return oct__fail(&j->err,
                     j->o.failed == EXIT_MEMORY    ? OCT_E_MEMORY
                     : j->o.failed == EXIT_STOPPED ? OCT_E_ABORTED
                                                   : OCT_E_IO,
                     "%s", j->o.error);
}
static oct_result declare(job *j) {
    for (size_t i = 0; i < j->n_order; i++) {
        made *m = j->order[i];
        int wanted;
        m->type = quants_choose(&j->a.plan, m->name, m->n_dims, m->ne, &wanted);
        if (strcmp(m->name, "v.patch_embd.weight") == 0 && blocks_type_of(m->type)->elems > 1) m->type = wanted = BLOCKS_F16;
        else if (m->type != wanted && strcmp(m->name, "v.patch_embd.weight") != 0) say_fallback(j, m, wanted);
        if (gguf_out_tensor(&j->o, m->name, m->type, m->n_dims, m->ne)) return out_failed(j);
    }
    return OCT_OK;
}
static oct_result write_all(job *j) {
    for (size_t i = 0; i < j->n_order; i++) {
        made *m = j->order[i];
        gguf_rows rows;
        oct_result r = OCT_OK;
        memset(&rows, 0, sizeof rows);
        rows.cols = m->ne[0];
        rows.rows = m->ne[1] * m->ne[2] * m->ne[3];
        rows.read = read_row;
        rows.unmeasured = 1;
        rows.user = m;
        for (size_t k = 0; !r && k < m->n_parts; k++) r = checkpoint_use(m->parts[k], &j->err);
        for (size_t k = 0; !r && m->fold[0] && k < FOLD_PARTS; k++) r = checkpoint_use(m->fold[k], &j->err);
        if (!r && m->stored) r = write_mean(j, m);
        if (!r && gguf_out_rows(&j->o, &rows)) r = out_failed(j);
        for (size_t k = 0; k < m->n_parts; k++) checkpoint_done(m->parts[k]);
        for (size_t k = 0; m->fold[0] && k < FOLD_PARTS; k++) checkpoint_done(m->fold[k]);
        if (r) return r;
    }
    return gguf_out_close(&j->o) ? out_failed(j) : OCT_OK;
}

/* --- all of it ----------------------------------------------------------------------------------------------------------- */

static oct_result read_configs(job *j) {
    const json *whole;
    oct_result r;
    if (j->folder) {
        if ((r = checkpoint_json(&j->model, j->folder, "config.json", &j->config, &j->err)) != OCT_OK ||
            (r = read_family(j)) != OCT_OK ||
            (r = checkpoint_json(&j->model, j->folder, "tokenizer_config.json", &j->tokenizer_config, &j->err)) != OCT_OK ||
            (r = checkpoint_json(&j->model, j->folder, "special_tokens_map.json", &j->special_map, &j->err)) != OCT_OK ||
            (r = checkpoint_json(&j->model, j->folder, "generation_config.json", &j->generation, &j->err)) != OCT_OK)
            return r;
    }
    const char *folder = j->own_tower ? j->folder : j->a.vision;
    if (!folder || !file_is_folder(folder)) return OCT_OK;
    checkpoint *c = j->own_tower ? &j->model : &j->tower;
    if ((r = checkpoint_json(c, folder, "config.json", &whole, &j->err)) != OCT_OK ||
        (r = checkpoint_json(c, folder, "preprocessor_config.json", &j->prep, &j->err)) != OCT_OK)
        return r;
    j->vision = json_get(whole, "vision_config");
    if (!j->vision) j->vision = whole;
    return OCT_OK;
}
/* The last part of the path. */
static const char *base_name(job *j, const char *path) {
    oct_string s = oct__str(path);
    while (s.len > 1 && s.data[s.len - 1] == '/') s.len--;
    size_t from = s.len;
    while (from > 0 && s.data[from - 1] != '/') from--;
    s.data += from;
    s.len -= from;
    if (!file_is_folder(path))                             /* a file's name goes without its last part */
        for (size_t i = s.len; i-- > 1;)
            if (s.data[i] == '.') {
                s.len = i;
                break;
            }
    s = pool_copy(&j->p, s);
    return s.data ? s.data : "model";
}
static oct_result convert_text(job *j) {
    oct_result r;
    if ((j->octavius && (r = delta_tokens(j)) != OCT_OK) || (r = read_sizes(j)) != OCT_OK || (r = want_text(j)) != OCT_OK ||
        (r = write_text_keys(j)) != OCT_OK || (j->octavius && (r = delta_want(j)) != OCT_OK))
        return r;
    if ((r = write_vocab(j)) != OCT_OK || !made_find(j, "mm.0.weight") || j->a.vision || j->own_tower) return r;
    const json *tower = json_get(j->mm, json_get(j->mm, "mm_vision_tower") ? "mm_vision_tower" : "mm_image_tower");
    return oct__fail(&j->err, OCT_E_ARG,
                     "%s: has a projector for pictures: --vision names the tower's folder (config.json: '%.*s')", j->a.source,
                     OCT__S(json_text(tower, "?")));
}
/* Every tensor gets its place before any is wanted: the list does not grow any more while it is pointed into. */
static oct_result convert_place(job *j) {
    oct_result r;
    if ((j->octavius && (r = delta_place(j)) != OCT_OK) || (j->arch && (r = place_text(j)) != OCT_OK) ||
        (j->a.vision && (r = place_tower(j)) != OCT_OK) || (j->a.detector && (r = detector_place(j)) != OCT_OK) ||
        (j->a.encoder && (r = encoder_place(j)) != OCT_OK))
        return r;
    if (j->arch && !made_named(j, "rope_freqs.weight")) return memory(j);          /* for what no file has */
    return j->arch ? read_words(j) : OCT_OK;
}
static oct_result convert_parts(job *j) {
    oct_result r;
    if (j->arch && (r = convert_text(j)) != OCT_OK) return r;
    const bool tower = j->a.vision || j->own_tower;
    if (tower && ((r = convert_tower(j)) != OCT_OK || (j->arch && (r = want_projector(j)) != OCT_OK))) return r;
    if (j->a.detector && (r = detector_convert(j)) != OCT_OK) return r;
    return j->a.encoder ? encoder_convert(j) : OCT_OK;
}
static oct_result convert_open(job *j) {
    oct_result r;
    uint32_t at;
    j->octavius = j->a.base != NULL;
    j->folder = j->a.base ? j->a.base : j->a.source;
    if ((j->octavius && (r = checkpoint_open(&j->delta, j->a.source, &j->err)) != OCT_OK) ||
        (j->folder && (r = checkpoint_open(&j->model, j->folder, &j->err)) != OCT_OK) ||
        (j->a.vision && (r = checkpoint_open(&j->tower, j->a.vision, &j->err)) != OCT_OK) ||
        (j->a.detector && (r = checkpoint_open(&j->detector, j->a.detector, &j->err)) != OCT_OK) ||
        (j->a.encoder && (r = checkpoint_open(&j->encoder, j->a.encoder, &j->err)) != OCT_OK))
        return r;
    if (names_find(&j->model.by_name, oct__str(DELTA_GATE), &at))
        return oct__fail(&j->err, OCT_E_ARG, "%s: an OCTAVIUS delta: --base names the folder of its language model", j->folder);
    if (j->octavius && !names_find(&j->delta.by_name, oct__str(DELTA_GATE), &at))
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: no tensor '" DELTA_GATE "': no OCTAVIUS delta", j->a.source);
    return OCT_OK;
}
/* The file is named after it. */
static const char *convert_first(const job *j) {
    return j->a.source ? j->a.source : j->a.vision ? j->a.vision : j->a.detector ? j->a.detector : j->a.encoder;
}
static oct_result convert(job *j) {
    oct_result r = convert_open(j);
    if (r) return r;
    if (gguf_out_begin(&j->o, j->a.out, j->a.force)) return out_failed(j);
    if ((r = read_configs(j)) != OCT_OK) return r;
    gw_str(&j->o.head, "general.architecture", j->arch ? j->arch : "octavius");
    (void)key_text(j, "general.name", base_name(j, convert_first(j)));
    gw_u32(&j->o.head, "general.file_type", (uint32_t)quants_file_type(j->a.plan.type));
    gw_u32(&j->o.head, "general.quantization_version", 2);
    if ((r = convert_place(j)) != OCT_OK || (r = convert_parts(j)) != OCT_OK) return r;
    if ((r = check_all_wanted(j)) != OCT_OK || (r = set_rest(j)) != OCT_OK || (r = declare(j)) != OCT_OK) return r;
    return write_all(j);
}

int main(int argc, char **argv) {
    static job j;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help_text, stdout);
        return EXIT_OK;
    }
    const int bad = parse(&j.a, argc, argv);
    if (bad) return bad;
    if (is_features(j.a.source)) return features_convert(j.a.source, j.a.out, j.a.force);
    gguf_out_catch_signals();
    const oct_result r = convert(&j);
    const int code = !r ? EXIT_OK : j.o.failed ? fail(j.o.failed, "%s", j.o.error) : fail(exit_code_of(r), "%s", j.err.message);
    if (!j.o.failed && r) gguf_out_drop(&j.o);
    checkpoint_close(&j.model);
    checkpoint_close(&j.tower);
    checkpoint_close(&j.delta);
    checkpoint_close(&j.detector);
    checkpoint_close(&j.encoder);
    pool_free(&j.p);
    return code;
}
