/* octavius_delta.h - the part of octavius-convert that reads an OCTAVIUS delta: what was trained on top of a language model.
 *
 * A flat dictionary of tensors: LoRA experts of the attention's linears, the gate that chooses among them, projectors, and,
 * where the vocabulary had grown, the embeddings and the output matrix with the rows of the new tokens.  Included by convert.c
 * between what it reads and what it writes.
 */
#ifndef OCT_TOOLS_OCTAVIUS_DELTA_H
#define OCT_TOOLS_OCTAVIUS_DELTA_H

/* --- places --------------------------------------------------------------------------------------- */

/* Behind "llama_model.base_model.model.". */
#define DELTA_LORA(from, to)                                                          \
    { "model.layers.#." from ".lora_moe_A.default", "blk.#." to ".lora_a" },          \
    { "model.layers.#." from ".lora_moe_B.default", "blk.#." to ".lora_b" }
#define DELTA_ATTENTION(kind)                                                         \
    { "resampler_3d." kind "_attn.0.attention.fc_q.*", "agg." kind "_q.*" },          \
    { "resampler_3d." kind "_attn.0.attention.fc_k.*", "agg." kind "_k.*" },          \
    { "resampler_3d." kind "_attn.0.attention.fc_v.*", "agg." kind "_v.*" },          \
    { "resampler_3d." kind "_attn.0.attention.fc_o.*", "agg." kind "_o.*" },          \
    { "resampler_3d." kind "_attn.0.layer_norm.*", "agg." kind "_norm.*" }
static const rule delta_rules[] = { { "model.embed_tokens.weight", "token_embd.weight" },
                                    { "lm_head.weight", "output.weight" },
                                    DELTA_LORA("self_attn.q_proj", "attn_q"),
                                    DELTA_LORA("self_attn.k_proj", "attn_k"),
                                    DELTA_LORA("self_attn.v_proj", "attn_v"),
                                    DELTA_LORA("self_attn.o_proj", "attn_output"),
                                    DELTA_LORA("self_attn.dense", "attn_output"),
                                    DELTA_LORA("mlp.gate_proj", "ffn_gate"),
                                    DELTA_LORA("mlp.up_proj", "ffn_up"),
                                    DELTA_LORA("mlp.down_proj", "ffn_down"),
                                    DELTA_LORA("mlp.fc1", "ffn_up"),
                                    DELTA_LORA("mlp.fc2", "ffn_down"),
                                    { DELTA_GATE, "gate.weight" },
                                    { "llama_proj.*", "mm.0.*" },
                                    { "resampler_3d.query_embed.weight", "agg.query.weight" },
                                    DELTA_ATTENTION("cross"),
                                    DELTA_ATTENTION("self"),
                                    { "pos_3d_proj.0.*", "agg.pos.0.*" },
                                    { "pos_3d_proj.2.*", "agg.pos.2.*" },
                                    { "llama_proj_3d.0.*", "agg.out.0.*" },
                                    { "llama_proj_3d.1.*", "agg.out.1.*" },
                                    { NULL, NULL } };
#undef DELTA_LORA
#undef DELTA_ATTENTION

static oct_result delta_place(job *j) {
    for (size_t i = 0; i < j->delta.n; i++) {
        checkpoint_tensor *t = &j->delta.tensors[i];
        oct_string name = t->name;
        bool found = false;
        if (name_ignored(j, name)) continue;
        (void)name_cut(&name, "llama_model.base_model.model.");
        const oct_result r = rule_apply(j, delta_rules, name, t, &found);
        if (r) return r;
        if (!found) return unknown(j, t);
    }
    return OCT_OK;
}

/* --- tokens ------------------------------------------------------------------------------------------ */

/* The tokenizer was given <XSFQ/>, then two tags for pictures, then two for clouds; the matrices end with the last of them.
 * Without matrices of its own a delta leaves the new rows as they began: the mean of all others. */
enum { DELTA_TAGS = 5 };
static int delta_tags(const job *j, const char *tags[DELTA_TAGS]) {
    int n = 0;
    tags[n++] = "<XSFQ/>";
    if (made_find(j, "mm.0.weight")) tags[n++] = "<Img>", tags[n++] = "</Img>";
    if (made_find(j, "agg.query.weight")) tags[n++] = "<Pcl>", tags[n++] = "</Pcl>";
    return n;
}
static oct_result delta_tokens(job *j) {
    const char *tags[DELTA_TAGS];
    const int n = delta_tags(j, tags);
    const int64_t known = vocab_id(&j->words, oct__str(tags[0])), rows = rows_of(j, "token_embd.weight", 0, 0);
    const int64_t first = delta_owns(j, "token_embd.weight") ? rows - n : known >= 0 ? known : (int64_t)j->words.n;
    if (n == 1) return oct__fail(&j->err, OCT_E_FORMAT, "%s: no projector, neither for pictures nor for clouds", j->a.source);
    if (first < 1)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: embeddings of %lld rows", j->a.source, (long long)rows);
    j->tags = first + 1;
    j->n_vocab = first + n;
    for (int i = 0; i < n; i++) {
        const int64_t id = first + i;
        const oct_string tag = oct__str(tags[i]), was = id < (int64_t)j->words.n ? j->words.tokens[id] : oct__str("");
        const int type = was.data && was.len ? j->words.types[id] : TOKEN_UNUSED;
        if (type == TOKEN_NORMAL || type == TOKEN_BYTE || type == TOKEN_UNKNOWN)
            return oct__fail(&j->err, OCT_E_FORMAT, "%s: %lld rows of embeddings make token %lld '%s', which %s has as '%.*s'",
                             j->a.source, (long long)rows, (long long)id, tags[i], j->words.file, OCT__S(was));
        if (type != TOKEN_UNUSED && !oct__str_same(was, tag))
            fprintf(stderr, PROGRAM ": token %lld is '%.*s' in %s and '%s' by the rows of the embeddings, which count\n",
                    (long long)id, OCT__S(was), j->words.file, tags[i]);
        const oct_result r = vocab_put(&j->words, id, tag, -1000.0f, TOKEN_CONTROL, &j->err);
        if (r) return r;
    }
    return OCT_OK;
}
/* Suffixes of [beginning] + answer that end it: "##" "#", "###" behind a space, an end that comes first. */
static void delta_stop(job *j, int64_t bos, int64_t eos) {
    static const char *const pieces[3] = { "##", "#", "\xE2\x96\x81###" };
    int64_t id[3];
    char text[3][48];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        id[i] = vocab_id(&j->words, oct__str(pieces[i]));
        if (id[i] < 0)
            fprintf(stderr, PROGRAM ": %s: no piece '%s', which official answers end with\n", j->words.file, pieces[i]);
    }
    if (id[0] >= 0 && id[1] >= 0) snprintf(text[n++], sizeof text[0], "%lld %lld", (long long)id[0], (long long)id[1]);
    if (id[2] >= 0) snprintf(text[n++], sizeof text[0], "%lld", (long long)id[2]);
    if (bos >= 0 && eos >= 0) snprintf(text[n++], sizeof text[0], "%lld %lld", (long long)bos, (long long)eos);
    gw_array_strings(&j->o.head, "octavius.stop_suffixes", n);
    for (size_t i = 0; i < n; i++) gw_array_item(&j->o.head, text[i], strlen(text[i]));
}

/* --- what is wanted -------------------------------------------------------------------------------------- */

/* The LoRA of one linear [out, in]: A by experts [rank, in], B [out, rank], rows in the order of the linear's own. */
static oct_result delta_want_lora(job *j, int64_t layer, const char *linear) {
    char a[64], b[64], base[64];
    snprintf(base, sizeof base, "blk.%lld.%s.weight", (long long)layer, linear);
    snprintf(a, sizeof a, "blk.%lld.%s.lora_a", (long long)layer, linear);
    snprintf(b, sizeof b, "blk.%lld.%s.lora_b", (long long)layer, linear);
    const made *of = made_find(j, base), *gate = made_find(j, "gate.weight");
    if (!of)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: LoRA experts for '%s', which %s has not", j->a.source, base, j->folder);
    const int64_t rank = rows_of(j, a, 2, 0);
    const int64_t shape_a[3] = { gate->ne[1], rank, of->ne[0] }, shape_b[3] = { gate->ne[1], of->ne[1], rank };
    oct_result r = want_n(j, a, TURNED, 0, 3, shape_a);
    if (!r) r = want_n(j, b, TURNED, 0, 3, shape_b);
    if (!r) made_find(j, b)->heads = of->heads;
    return r;
}
/* A linear that has experts in one layer has them in all. */
static oct_result delta_want_loras(job *j) {
    static const char *const linears[] = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" };
    char name[64];
    for (size_t k = 0; k < sizeof linears / sizeof linears[0]; k++) {
        bool any = false;
        for (int64_t i = 0; i < j->n_layer && !any; i++) {
            snprintf(name, sizeof name, "blk.%lld.%s.lora_a", (long long)i, linears[k]);
            any = made_find(j, name) != NULL;
        }
        for (int64_t i = 0; any && i < j->n_layer; i++) {
            const oct_result r = delta_want_lora(j, i, linears[k]);
            if (r) return r;
        }
    }
    return OCT_OK;
}
/* What makes a few rows of all the objects of a scene. */
static oct_result delta_want_aggregator(job *j) {
    static const char *const parts[] = { "cross_q", "cross_k", "cross_v", "cross_o", "self_q", "self_k", "self_v", "self_o" };
    const int64_t n = rows_of(j, "agg.query.weight", 0, 0), d = rows_of(j, "agg.query.weight", 1, 0),
                  hidden = rows_of(j, "agg.pos.0.weight", 0, 0);
    char name[64];
    int64_t heads = 8;
    oct_result r = set_int(j, "octavius.agg.head_count", &heads);
    if (!n || r) return r;
    if (heads < 1 || d % heads)
        return oct__fail(&j->err, OCT_E_FORMAT, "octavius.agg.head_count: %lld heads for %lld numbers", (long long)heads,
                         (long long)d);
    if ((r = key_u32(j, "octavius.agg.head_count", heads)) != OCT_OK || (r = want(j, "agg.query.weight", 0, n, d)) != OCT_OK ||
        (r = want_linear(j, "agg.pos.0", hidden, 6)) != OCT_OK ||
        (r = want_linear(j, "agg.pos.2", d, hidden)) != OCT_OK)
        return r;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(name, sizeof name, "agg.%s", parts[i]);
        if ((r = want_linear(j, name, d, d)) != OCT_OK) return r;
    }
    if ((r = want_linear(j, "agg.cross_norm", d, 0)) != OCT_OK ||
        (r = want_linear(j, "agg.self_norm", d, 0)) != OCT_OK ||
        (r = want_linear(j, "agg.out.0", j->n_embd, d)) != OCT_OK)
        return r;
    return want_linear(j, "agg.out.1", j->n_embd, 0);
}
static oct_result delta_want(job *j) {
    const int64_t n_expert = rows_of(j, "gate.weight", 1, 0);
    const char *tags[DELTA_TAGS];
    int32_t ids[DELTA_TAGS];
    const int n = delta_tags(j, tags);
    oct_result r;
    if (n_expert < 1 || n_expert > 64)
        return oct__fail(&j->err, OCT_E_LIMIT, "%s: a gate over %lld experts, expected 1 to 64", j->a.source,
                         (long long)n_expert);
    const int64_t gate[2] = { n_expert, j->n_embd };
    if ((r = want_n(j, "gate.weight", TURNED, 0, 2, gate)) != OCT_OK || (r = delta_want_loras(j)) != OCT_OK ||
        (r = delta_want_aggregator(j)) != OCT_OK ||
        (r = key_u32(j, "octavius.lora.expert_used_count", OCT__MIN(n_expert, (int64_t)2))) != OCT_OK ||
        (r = key_u32(j, "octavius.max_tokens", 400)) != OCT_OK)
        return r;
    for (int i = 0; i < n; i++) ids[i] = (int32_t)(j->tags - 1 + i);
    gw_array_i32(&j->o.head, "octavius.tokenizer.tags", ids, (size_t)n);
    delta_stop(j, special_id(j, &j->words, "bos"), special_id(j, &j->words, "eos"));
    return OCT_OK;
}

#endif
