/* octavius_points.h - the part of octavius-convert that reads what looks at point clouds: Point-BERT as ULIP trains it, and
 * 3DETR with and without masks.  Included by convert.c between what it reads and what it writes.
 *
 * A batch norm is folded into the linear before it: each row times weight / sqrt(variance + 1e-5), and a bias of what is left.
 * Sizes are those of the tensors.  What no tensor tells comes from --set, from the arguments of the training program where the
 * file keeps them, else from the official programs.
 */
#ifndef OCT_TOOLS_OCTAVIUS_POINTS_H
#define OCT_TOOLS_OCTAVIUS_POINTS_H

/* --- what is common to both ----------------------------------------------------------------------- */

/* Convolutions over single points are matrices. */
static void points_squeeze(checkpoint_tensor *t) {
    while (t->n_dims > 2 && t->shape[t->n_dims - 1] == 1) t->n_dims--;
}
/* A linear without a bias of its own gets one for what the norm leaves. */
static oct_result points_biases(job *j) {
    for (size_t i = 0, n = j->n; i < n; i++) {
        char bias[64];
        const size_t len = strlen(j->all[i].name);
        if (len < 8 || strcmp(j->all[i].name + len - 8, ".bn.bias") != 0) continue;
        snprintf(bias, sizeof bias, "%.*s.bias", (int)(len - 8), j->all[i].name);
        if (made_find(j, bias)) continue;
        const oct_result r = made_add(j, bias, 0, false, j->all[i].parts[0]);
        if (r) return r;
        made_find(j, bias)->biasless = true;
    }
    return OCT_OK;
}
/* A linear, and the batch norm behind it. */
static oct_result points_fold(job *j, const char *name, int64_t rows, int64_t cols) {
    static const char *const ends[FOLD_PARTS] = { "weight", "bias", "mean", "var" };
    checkpoint_tensor *fold[FOLD_PARTS];
    char full[64];
    const oct_result r = want_linear(j, name, rows, cols);
    if (r) return r;
    for (int i = 0; i < FOLD_PARTS; i++) {
        snprintf(full, sizeof full, "%s.bn.%s", name, ends[i]);
        made *m = made_find(j, full);
        if (!m) return oct__fail(&j->err, OCT_E_FORMAT, "'%s': nothing in the checkpoint makes it", full);
        const size_t size = (size_t)rows;
        const oct_result shape = want_shape(j, m->parts[0], 1, &size);
        if (shape) return shape;
        m->wanted = true;
        fold[i] = m->parts[0];
    }
    for (int i = 0; i < 2; i++) {
        snprintf(full, sizeof full, "%s.%s", name, ends[i]);
        memcpy(made_find(j, full)->fold, fold, sizeof fold);
    }
    return OCT_OK;
}
/* NAME.0, .1 and .2, each with a norm: in -> a -> b -> c. */
static oct_result points_fold_3(job *j, const char *name, int64_t in, int64_t a, int64_t b, int64_t c) {
    const int64_t width[4] = { in, a, b, c };
    char full[64];
    for (int i = 0; i < 3; i++) {
        snprintf(full, sizeof full, "%s.%d", name, i);
        const oct_result r = points_fold(j, full, width[i + 1], width[i]);
        if (r) return r;
    }
    return OCT_OK;
}
/* The training program's arguments; NULL: the file has none. */
static const pickle_value *points_trained(const checkpoint *c) {
    return c->n_files ? pickle_get(c->files[0]->extra, "args") : NULL;
}
static int64_t points_arg(const pickle_value *trained, const char *name, int64_t none) {
    const pickle_value *v = pickle_get(trained, name);
    return v && v->kind == PICKLE_INT && v->integer > 0 ? v->integer : none;
}
/* From 1 to most. */
static oct_result points_key(job *j, const char *key, int64_t v, int64_t most) {
    const oct_result r = set_int(j, key, &v);
    if (r) return r;
    if (v < 1 || v > most)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: %lld, expected 1 to %lld", key, (long long)v, (long long)most);
    return key_u32(j, key, v);
}
/* Heads that divide the width. */
static oct_result points_heads(job *j, const char *key, int64_t heads, int64_t width) {
    const oct_result r = set_int(j, key, &heads);
    if (r) return r;
    if (heads < 1 || width % heads)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: %lld heads for %lld numbers", key, (long long)heads, (long long)width);
    return key_u32(j, key, heads);
}

/* --- Point-BERT -------------------------------------------------------------------------------------- */

#define POINTS_NORM(from, to)                        \
    { from ".*", to ".bn.*" },                       \
    { from ".running_mean", to ".bn.mean" },         \
    { from ".running_var", to ".bn.var" }
static const rule encoder_rules[] = { { "cls_token", "pt.class_embd" },
                                      { "cls_pos", "pt.class_pos" },
                                      { "encoder.first_conv.0.*", "pt.enc.0.*" },
                                      POINTS_NORM("encoder.first_conv.1", "pt.enc.0"),
                                      { "encoder.first_conv.3.*", "pt.enc.1.*" },
                                      { "encoder.second_conv.0.*", "pt.enc.2.*" },
                                      POINTS_NORM("encoder.second_conv.1", "pt.enc.2"),
                                      { "encoder.second_conv.3.*", "pt.enc.3.*" },
                                      { "reduce_dim.*", "pt.reduce.*" },
                                      { "pos_embed.0.*", "pt.pos.0.*" },
                                      { "pos_embed.2.*", "pt.pos.2.*" },
                                      { "blocks.blocks.#.norm1.*", "pt.blk.#.ln1.*" },
                                      { "blocks.blocks.#.norm2.*", "pt.blk.#.ln2.*" },
                                      { "blocks.blocks.#.attn.qkv.weight", "pt.blk.#.attn_qkv.weight" },
                                      { "blocks.blocks.#.attn.proj.*", "pt.blk.#.attn_out.*" },
                                      { "blocks.blocks.#.mlp.fc1.*", "pt.blk.#.ffn_up.*" },
                                      { "blocks.blocks.#.mlp.fc2.*", "pt.blk.#.ffn_down.*" },
                                      { "norm.*", "pt.post_ln.*" },
                                      { NULL, NULL } };
/* The towers that it was trained beside. */
static const char *const encoder_others[] = { "visual.*",    "transformer.*",   "token_embedding.weight", "ln_final.*",
                                              "logit_scale", "text_projection", "image_projection",       "positional_embedding" };

static oct_result encoder_place(job *j) {
    static const rule projection[] = { { "pc_projection", "pt.proj.weight" }, { NULL, NULL } };
    for (size_t i = 0; i < j->encoder.n; i++) {
        checkpoint_tensor *t = &j->encoder.tensors[i];
        oct_string name = t->name;
        bool found = name_ignored(j, name);
        if (found) continue;
        (void)name_cut(&name, "module.");
        points_squeeze(t);
        const bool inside = name_cut(&name, "point_encoder.");
        const oct_result r = rule_apply(j, inside ? encoder_rules : projection, name, t, &found);
        for (size_t k = 0; !found && !inside && k < sizeof encoder_others / sizeof encoder_others[0]; k++)
            found = name_like(name, encoder_others[k]);
        if (r || !found) return r ? r : unknown(j, t);
    }
    return points_biases(j);
}
static oct_result encoder_want_block(job *j, int64_t i, int64_t d, int64_t ff) {
    oct_result r;
    if ((r = want_at(j, "pt.blk", i, "ln1", 0, 0, d, 0)) != OCT_OK ||
        (r = want_at(j, "pt.blk", i, "attn_qkv", NO_BIAS, 0, 3 * d, d)) != OCT_OK ||
        (r = want_at(j, "pt.blk", i, "attn_out", 0, 0, d, d)) != OCT_OK ||
        (r = want_at(j, "pt.blk", i, "ln2", 0, 0, d, 0)) != OCT_OK ||
        (r = want_at(j, "pt.blk", i, "ffn_up", 0, 0, ff, d)) != OCT_OK)
        return r;
    return want_at(j, "pt.blk", i, "ffn_down", 0, 0, d, ff);
}
/* *d: the width of its rows; *c: columns of the projection, 0: none. */
static oct_result encoder_want(job *j, int64_t *d, int64_t *c) {
    const int64_t in = rows_of(j, "pt.enc.0.weight", 1, 3), a = rows_of(j, "pt.enc.0.weight", 0, 0),
                  b = rows_of(j, "pt.enc.1.weight", 0, 0), wide = rows_of(j, "pt.enc.2.weight", 0, 0),
                  token = rows_of(j, "pt.enc.3.weight", 0, 0), pos = rows_of(j, "pt.pos.0.weight", 0, 0),
                  ff = rows_of(j, "pt.blk.0.ffn_up.weight", 0, 0), n = count_layers(j, "pt.blk.");
    oct_result r;
    *d = rows_of(j, "pt.reduce.weight", 0, 0);
    *c = rows_of(j, "pt.proj.weight", 1, 0);
    if (*d < 1 || n < 1 || n > 1024)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: no Point-BERT: nothing under 'point_encoder.' that is known", j->a.encoder);
    if (in != 3 && in != 6)
        return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: points of %lld numbers, expected 3 or 6", j->a.encoder, (long long)in);
    if ((r = points_fold(j, "pt.enc.0", a, in)) != OCT_OK || (r = want_linear(j, "pt.enc.1", b, a)) != OCT_OK ||
        (r = points_fold(j, "pt.enc.2", wide, 2 * b)) != OCT_OK || (r = want_linear(j, "pt.enc.3", token, wide)) != OCT_OK ||
        (r = want_linear(j, "pt.reduce", *d, token)) != OCT_OK || (r = want(j, "pt.class_embd", 0, *d, 0)) != OCT_OK ||
        (r = want(j, "pt.class_pos", 0, *d, 0)) != OCT_OK || (r = want_linear(j, "pt.pos.0", pos, 3)) != OCT_OK ||
        (r = want_linear(j, "pt.pos.2", *d, pos)) != OCT_OK)
        return r;
    for (int64_t i = 0; i < n; i++)
        if ((r = encoder_want_block(j, i, *d, ff)) != OCT_OK) return r;
    const int64_t proj[2] = { *c, 2 * *d };
    if ((r = want_linear(j, "pt.post_ln", *d, 0)) != OCT_OK || !*c) return r;
    return want_n(j, "pt.proj.weight", TURNED, 0, 2, proj);
}
/* A key that is one of two words. */
static oct_result points_word(job *j, const char *key, const char *word, const char *a, const char *b) {
    const char *value = set_find(j, key);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%s or %s", a, b);
    if (value && strcmp(value, a) != 0 && strcmp(value, b) != 0) return set_bad(j, key, value, wanted);
    return key_text(j, key, word);
}
static oct_result encoder_convert(job *j) {
    const pickle_value *trained = points_trained(&j->encoder);
    const int64_t agg = rows_of(j, "agg.query.weight", 1, 0);
    int64_t d, c;
    oct_result r = encoder_want(j, &d, &c);
    if (r || (r = points_heads(j, "octavius.pt.head_count", OCT__MAX(d / 64, (int64_t)1), d)) != OCT_OK ||
        (r = points_key(j, "octavius.pt.group_size", 32, 1 << 16)) != OCT_OK ||
        (r = points_key(j, "octavius.pt.group_count", 512, 1 << 20)) != OCT_OK ||
        (r = points_key(j, "octavius.pt.point_count", points_arg(trained, "npoints", 2048), 1 << 24)) != OCT_OK ||
        (r = points_word(j, "octavius.pt.fps", c == 512 ? "pointnet2" : "plain", "plain", "pointnet2")) != OCT_OK ||
        (r = points_word(j, "octavius.pt.feature", agg && agg != 2 * d && agg == c ? "proj" : "feat", "feat", "proj")) != OCT_OK)
        return r;
    if (agg && agg != 2 * d && agg != c)
        return oct__fail(&j->err, OCT_E_FORMAT,
                         "%s: regions become %lld numbers, or %lld projected, and the aggregator takes %lld", j->a.encoder,
                         (long long)(2 * d), (long long)c, (long long)agg);
    return OCT_OK;
}

/* --- 3DETR ------------------------------------------------------------------------------------------------ */

#define POINTS_SET(from, to)                                    \
    { from ".layer#.conv.weight", to ".#.weight" },             \
    POINTS_NORM(from ".layer#.bn.bn", to ".#")
#define POINTS_STEP(from, conv, norm, to)                       \
    { from ".layers." conv ".weight", to ".weight" },           \
    POINTS_NORM(from ".layers." norm, to)
#define POINTS_HEAD(name)                                                           \
    POINTS_STEP("mlp_heads." name "_head", "0", "1", "det.head." name ".0"),        \
    POINTS_STEP("mlp_heads." name "_head", "4", "5", "det.head." name ".1"),        \
    { "mlp_heads." name "_head.layers.8.*", "det.head." name ".2.*" }
#define POINTS_ATTENTION(from, to)                                  \
    { from ".in_proj_weight", to "_qkv.weight" },                   \
    { from ".in_proj_bias", to "_qkv.bias" },                       \
    { from ".out_proj.*", to "_out.*" }
static const rule detector_rules[] = { POINTS_SET("pre_encoder.mlp_module", "det.pre"),
                                       POINTS_SET("encoder.interim_downsampling.mlp_module", "det.interim"),
                                       POINTS_ATTENTION("encoder.layers.#.self_attn", "det.enc.blk.#.attn"),
                                       { "encoder.layers.#.linear1.*", "det.enc.blk.#.ffn_up.*" },
                                       { "encoder.layers.#.linear2.*", "det.enc.blk.#.ffn_down.*" },
                                       { "encoder.layers.#.norm1.*", "det.enc.blk.#.ln1.*" },
                                       { "encoder.layers.#.norm2.*", "det.enc.blk.#.ln2.*" },
                                       POINTS_STEP("encoder_to_decoder_projection", "0", "1", "det.mem.0"),
                                       POINTS_STEP("encoder_to_decoder_projection", "3", "4", "det.mem.1"),
                                       POINTS_STEP("encoder_to_decoder_projection", "6", "7", "det.mem.2"),
                                       { "pos_embedding.gauss_B", "det.pos.gauss" },
                                       { "query_projection.layers.0.*", "det.query.0.*" },
                                       { "query_projection.layers.2.*", "det.query.2.*" },
                                       POINTS_ATTENTION("decoder.layers.#.self_attn", "det.dec.blk.#.attn"),
                                       POINTS_ATTENTION("decoder.layers.#.multihead_attn", "det.dec.blk.#.cross"),
                                       { "decoder.layers.#.linear1.*", "det.dec.blk.#.ffn_up.*" },
                                       { "decoder.layers.#.linear2.*", "det.dec.blk.#.ffn_down.*" },
                                       { "decoder.layers.#.norm1.*", "det.dec.blk.#.ln1.*" },
                                       { "decoder.layers.#.norm2.*", "det.dec.blk.#.ln2.*" },
                                       { "decoder.layers.#.norm3.*", "det.dec.blk.#.ln3.*" },
                                       { "decoder.norm.*", "det.dec.norm.*" },
                                       POINTS_HEAD("sem_cls"),
                                       POINTS_HEAD("center"),
                                       POINTS_HEAD("size"),
                                       POINTS_HEAD("angle_cls"),
                                       POINTS_HEAD("angle_residual"),
                                       { NULL, NULL } };
#undef POINTS_SET
#undef POINTS_STEP
#undef POINTS_HEAD
#undef POINTS_ATTENTION
#undef POINTS_NORM

static oct_result detector_place(job *j) {
    for (size_t i = 0; i < j->detector.n; i++) {
        checkpoint_tensor *t = &j->detector.tensors[i];
        oct_string name = t->name;
        bool found = name_ignored(j, name);
        if (found) continue;
        (void)name_cut(&name, "module.");
        points_squeeze(t);
        const oct_result r = rule_apply(j, detector_rules, name, t, &found);
        if (r || !found) return r ? r : unknown(j, t);
    }
    return points_biases(j);
}
/* Self-attention, cross-attention in the decoder, and a feed-forward layer, each with a norm before it. */
static oct_result detector_want_block(job *j, const char *blk, int64_t i, bool cross, int64_t d, int64_t ff) {
    static const char *const norms[] = { "ln1", "ln2", "ln3" };
    oct_result r = OCT_OK;
    for (int k = 0; !r && k < (cross ? 3 : 2); k++) r = want_at(j, blk, i, norms[k], 0, 0, d, 0);
    if (!r) r = want_at(j, blk, i, "attn_qkv", 0, 0, 3 * d, d);
    if (!r) r = want_at(j, blk, i, "attn_out", 0, 0, d, d);
    if (!r && cross) r = want_at(j, blk, i, "cross_qkv", 0, 0, 3 * d, d);
    if (!r && cross) r = want_at(j, blk, i, "cross_out", 0, 0, d, d);
    if (!r) r = want_at(j, blk, i, "ffn_up", 0, 0, ff, d);
    return r ? r : want_at(j, blk, i, "ffn_down", 0, 0, d, ff);
}
static oct_result detector_want_blocks(job *j, const char *blk, bool cross, int64_t d) {
    char name[64];
    snprintf(name, sizeof name, "%s.0.ffn_up.weight", blk);
    const int64_t ff = rows_of(j, name, 0, 0);
    snprintf(name, sizeof name, "%s.", blk);
    const int64_t n = count_layers(j, name);
    if (n < 1 || n > 1024)
        return oct__fail(&j->err, OCT_E_FORMAT, "%s: %lld layers '%s'", j->a.detector, (long long)n, blk);
    for (int64_t i = 0; i < n; i++) {
        const oct_result r = detector_want_block(j, blk, i, cross, d, ff);
        if (r) return r;
    }
    return OCT_OK;
}
static oct_result detector_want_head(job *j, const char *head, int64_t rows, int64_t d) {
    char name[64];
    oct_result r = OCT_OK;
    for (int i = 0; i < 2 && !r; i++) {
        snprintf(name, sizeof name, "det.head.%s.%d", head, i);
        r = points_fold(j, name, d, d);
    }
    snprintf(name, sizeof name, "det.head.%s.2", head);
    return r ? r : want_linear(j, name, rows, d);
}
/* e, d: widths of encoder and decoder.  The steps from one to the other: two with masks, else three. */
static oct_result detector_want(job *j, bool masked, int64_t e, int64_t d) {
    const int64_t in = rows_of(j, "det.pre.0.weight", 1, 3), bins = rows_of(j, "det.head.angle_cls.2.weight", 0, 1);
    const int64_t gauss[2] = { 3, d / 2 };
    const int64_t a = rows_of(j, "det.pre.0.weight", 0, 0), b = rows_of(j, "det.pre.1.weight", 0, 0);
    oct_result r;
    if ((r = points_fold_3(j, "det.pre", in, a, b, e)) != OCT_OK ||
        (r = detector_want_blocks(j, "det.enc.blk", false, e)) != OCT_OK)
        return r;
    if (masked && (r = points_fold_3(j, "det.interim", e + 3, rows_of(j, "det.interim.0.weight", 0, 0),
                                     rows_of(j, "det.interim.1.weight", 0, 0), e)) != OCT_OK)
        return r;
    const int64_t mid = rows_of(j, "det.mem.0.weight", 0, 0);
    if ((r = points_fold(j, "det.mem.0", mid, e)) != OCT_OK ||
        (r = points_fold(j, "det.mem.1", masked ? d : mid, mid)) != OCT_OK ||
        (!masked && (r = points_fold(j, "det.mem.2", d, mid)) != OCT_OK) ||
        (r = want_n(j, "det.pos.gauss", 0, 0, 2, gauss)) != OCT_OK || (r = want_linear(j, "det.query.0", d, d)) != OCT_OK ||
        (r = want_linear(j, "det.query.2", d, d)) != OCT_OK || (r = detector_want_blocks(j, "det.dec.blk", true, d)) != OCT_OK ||
        (r = want_linear(j, "det.dec.norm", d, 0)) != OCT_OK ||
        (r = detector_want_head(j, "sem_cls", rows_of(j, "det.head.sem_cls.2.weight", 0, 0), d)) != OCT_OK ||
        (r = detector_want_head(j, "center", 3, d)) != OCT_OK || (r = detector_want_head(j, "size", 3, d)) != OCT_OK ||
        (r = detector_want_head(j, "angle_cls", bins, d)) != OCT_OK)
        return r;
    return detector_want_head(j, "angle_residual", bins, d);
}
static void detector_write_classes(job *j, int64_t n) {
    static const char *const scannet[] = { "cabinet", "bed",     "chair",        "sofa",          "table",  "door",
                                           "window",  "bookshelf", "picture",    "counter",       "desk",   "curtain",
                                           "refrigerator", "showercurtrain", "toilet", "sink",    "bathtub", "garbagebin" };
    static const char *const sunrgbd[] = { "bed",  "table",   "sofa",        "chair",     "toilet",
                                           "desk", "dresser", "night_stand", "bookshelf", "bathtub" };
    if (n == 18) gw_array_str(&j->o.head, "octavius.det.classes", scannet, 18);
    else if (n == 10) gw_array_str(&j->o.head, "octavius.det.classes", sunrgbd, 10);
    else fprintf(stderr, PROGRAM ": %s: %lld classes, neither ScanNet's 18 nor SUN RGB-D's 10: they stay without names\n",
                 j->a.detector, (long long)n);
}
static oct_result detector_check_args(job *j, const pickle_value *trained) {
    static const char *const keys[] = { "enc_activation", "pos_embed" }, *const only[] = { "relu", "fourier" };
    for (int i = 0; i < 2; i++) {
        const pickle_value *v = pickle_get(trained, keys[i]);
        if (v && v->kind == PICKLE_STRING && !oct__str_is(v->text, only[i]))
            return oct__fail(&j->err, OCT_E_UNSUPPORTED, "%s: %s '%.*s', expected %s", j->a.detector, keys[i], OCT__S(v->text),
                             only[i]);
    }
    return OCT_OK;
}
static oct_result detector_convert(job *j) {
    static const float mask[3] = { 0.16f, 0.64f, 1.44f };  /* officially squares of 0.4, 0.8, 1.2, compared with distances */
    const pickle_value *trained = points_trained(&j->detector);
    const bool masked = made_find(j, "det.interim.0.weight") != NULL;
    const int64_t e = rows_of(j, "det.pre.2.weight", 0, 0), d = rows_of(j, "det.query.2.weight", 0, 0);
    const int64_t classes = rows_of(j, "det.head.sem_cls.2.weight", 0, 1) - 1;
    const int64_t queries = points_arg(trained, "nqueries", classes == 10 ? 128 : 256);
    int64_t tokens = points_arg(trained, "preenc_npoints", 2048);
    oct_result r;
    if (e < 1 || d < 2)
        return oct__fail(&j->err, OCT_E_FORMAT,
                         "%s: no 3DETR: nothing under 'pre_encoder.' and 'query_projection.' that is known", j->a.detector);
    if ((r = detector_check_args(j, trained)) != OCT_OK || (r = detector_want(j, masked, e, d)) != OCT_OK ||
        (r = points_heads(j, "octavius.det.encoder_head_count", points_arg(trained, "enc_nhead", 4), e)) != OCT_OK ||
        (r = points_heads(j, "octavius.det.decoder_head_count", points_arg(trained, "dec_nhead", 4), d)) != OCT_OK ||
        (r = points_key(j, "octavius.det.point_count", classes == 10 ? 20000 : 40000, 1 << 24)) != OCT_OK ||
        (r = points_key(j, "octavius.det.token_count", tokens, 1 << 20)) != OCT_OK ||
        (r = points_key(j, "octavius.det.query_count", queries, 1 << 20)) != OCT_OK ||
        (r = key_f32(j, "octavius.det.radius", 0.2)) != OCT_OK ||
        (r = points_key(j, "octavius.det.sample_count", 64, 1 << 16)) != OCT_OK)
        return r;
    detector_write_classes(j, classes);
    if (!masked) return OCT_OK;
    (void)set_int(j, "octavius.det.token_count", &tokens);
    if ((r = points_key(j, "octavius.det.interim_count", OCT__MAX(tokens / 2, (int64_t)1), 1 << 20)) != OCT_OK ||
        (r = key_f32(j, "octavius.det.interim_radius", 0.4)) != OCT_OK ||
        (r = points_key(j, "octavius.det.interim_sample_count", 32, 1 << 16)) != OCT_OK)
        return r;
    return key_f32s(j, "octavius.det.mask_radius", mask, 3, true);
}

#endif
