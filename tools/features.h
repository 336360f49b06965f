/* features.h - the part of octavius-convert that reads OCTAVIUS's precomputed 3D features: F.pickle, which the official
 * evaluation keeps beside F.json, becomes a folder with two arrays for each question.  Included by convert.c.
 *
 *     N-features.npy [n, width], N-boxes.npy [n, 8, 3]   of question N, from 0; n: objects of its scene, or the one it is about
 *
 * The pickle is a dictionary of lists with one entry a question.  Its boxes are minimum and maximum; corners are made of them.
 */
#ifndef OCT_TOOLS_FEATURES_H
#define OCT_TOOLS_FEATURES_H

typedef struct features {
    checkpoint          c;
    const pickle_value *tasks, *ref, *ref_box, *scene, *scene_box;     /* lists [n]; tasks NULL: see questions */
    const json         *questions;                                     /* NULL: no such file */
    const char         *path;
    size_t              n;
    const char         *out;
    char                part[4200];                                    /* the folder until all is written */
    bool                there;                                         /* `out` exists */
    oct_error           err;
} features;

/* --- the pickle ----------------------------------------------------------------------------------- */

static oct_result features_list(features *f, const pickle_value *root, const char *key, const pickle_value **out) {
    *out = pickle_get(root, key);
    if (!*out || (*out)->kind != PICKLE_LIST)
        return oct__fail(&f->err, OCT_E_FORMAT, "%s: no list '%s'", f->path, key);
    if (out == &f->ref) f->n = (*out)->count;
    if ((*out)->count == f->n) return OCT_OK;
    return oct__fail(&f->err, OCT_E_FORMAT, "%s: '%s' has %zu entries, expected %zu", f->path, key, (*out)->count, f->n);
}
/* The questions beside it: F.json, a list of objects. */
static oct_result features_questions(features *f, const char *path) {
    const size_t n = strlen(path), cut = n - (name_ends(path, ".pkl") ? 4 : 7);
    char *name = POOL_NEW(&f->c.p, char, cut + 6);
    if (!name) return oct__fail(&f->err, OCT_E_MEMORY, "%s: no memory", path);
    memcpy(name, path, cut);
    memcpy(name + cut, ".json", 5);
    if (!file_exists(name)) {
        if (f->tasks) fprintf(stderr, PROGRAM ": %s is not there; the pickle itself tells what the questions ask for\n", name);
        return f->tasks ? OCT_OK : oct__fail(&f->err, OCT_E_IO, "%s: cannot be read", name);
    }
    const checkpoint_file *file = checkpoint_map(&f->c, name, &f->err);
    if (!file) return f->err.code;
    const oct_result r = json_parse(&f->c.p, (const char *)file->data, file->size, name, &f->questions, &f->err);
    if (r) return r;
    if (f->questions->kind == JSON_ARRAY && f->questions->count == f->n) return OCT_OK;
    return oct__fail(&f->err, OCT_E_FORMAT, "%s: expected a list of the pickle's %zu questions, found %zu", name, f->n,
                     f->questions->kind == JSON_ARRAY ? f->questions->count : 0);
}
/* The lists of a pickle: bytes [size] that stay. */
static oct_result features_lists(features *f, const unsigned char *bytes, size_t size, const char *path) {
    pickle_reader r;
    pickle_value *root = NULL;
    oct_result rc;
    pickle_open(&r, &f->c.p, bytes, size, path);
    f->path = path;
    if ((rc = pickle_load(&r, &root, &f->err)) != OCT_OK ||
        (rc = features_list(f, root, "vision_embeds_3d_ref_list", &f->ref)) != OCT_OK ||
        (rc = features_list(f, root, "vision_pos_3d_ref_list", &f->ref_box)) != OCT_OK ||
        (rc = features_list(f, root, "vision_embeds_3d_scene_prop_list", &f->scene)) != OCT_OK ||
        (rc = features_list(f, root, "vision_pos_3d_scene_prop_list", &f->scene_box)) != OCT_OK)
        return rc;
    return pickle_get(root, "task_type_list") ? features_list(f, root, "task_type_list", &f->tasks) : OCT_OK;
}
static oct_result features_read(features *f, const char *path) {
    const checkpoint_file *file = checkpoint_map(&f->c, path, &f->err);
    if (!file) return f->err.code;
    f->c.p.limit = OCT__MAX((size_t)512 << 20, 2 * file->size);
    const oct_result r = features_lists(f, file->data, file->size, path);
    return r ? r : features_questions(f, path);
}

/* --- arrays ------------------------------------------------------------------------------------------- */

/* A matrix, or a vector as one row, whose bytes came along, one for each number: a few bytes make no endless file. */
static oct_result features_tensor(features *f, const pickle_value *v, size_t i, checkpoint_tensor *t) {
    memset(t, 0, sizeof *t);
    if (v->kind != PICKLE_TENSOR || (v->storage && !v->storage->bytes) || v->n_dims < 1 || v->n_dims > 2)
        return oct__fail(&f->err, OCT_E_FORMAT, "%s: question %zu: no tensor of one or two dimensions", f->path, i);
    checkpoint_view(t, v);
    t->data = v->storage ? v->storage->bytes : (const unsigned char *)v->text.data;
    if (t->n_dims == 1) {
        t->shape[1] = t->shape[0];
        t->stride[1] = t->stride[0];
        t->shape[0] = 1;
        t->n_dims = 2;
    }
    const size_t all = t->shape[0] * t->shape[1], given = v->storage ? v->storage->numel : v->text.len / dtype_bytes[t->dtype];
    if (all > given)
        return oct__fail(&f->err, OCT_E_FORMAT, "%s: question %zu: a tensor of %zu numbers on %zu", f->path, i, all, given);
    return OCT_OK;
}
static oct_result features_wrote(features *f, FILE *file, const char *path) {
    const int bad = ferror(file), closed = fclose(file);
    if (!bad && !closed) return OCT_OK;
    return oct__fail(&f->err, OCT_E_IO, "%s: cannot be written: %s; nothing is left of it", path,
                     errno ? strerror(errno) : "short write");
}
/* NAME of question i in the folder; shape: as Python writes it. */
static oct_result features_begin(features *f, size_t i, const char *name, const char *shape, FILE **file, char path[4400]) {
    char head[128];
    snprintf(path, 4400, "%s/%zu-%s.npy", f->part, i, name);
    errno = 0;
    *file = fopen(path, "wb");
    if (!*file) return oct__fail(&f->err, OCT_E_IO, "%s: cannot be created: %s", path, strerror(errno));
    memset(head, ' ', sizeof head);
    const int n = snprintf(head + 10, sizeof head - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    memcpy(head, "\x93NUMPY\1\0\x76\0", 10);
    head[10 + n] = ' ';
    head[127] = '\n';
    fwrite(head, 1, sizeof head, *file);
    return OCT_OK;
}
static oct_result features_rows(features *f, size_t i, const checkpoint_tensor *t, float *row) {
    char shape[64], path[4400];
    FILE *file;
    snprintf(shape, sizeof shape, "(%zu, %zu)", t->shape[0], t->shape[1]);
    const oct_result r = features_begin(f, i, "features", shape, &file, path);
    if (r) return r;
    for (size_t k = 0; k < t->shape[0]; k++) {
        checkpoint_row(t, k, t->shape[1], row);
        fwrite(row, sizeof *row, t->shape[1], file);
    }
    return features_wrote(f, file, path);
}
static oct_result features_corners(features *f, size_t i, const checkpoint_tensor *box) {
    char shape[64], path[4400];
    float b[6], corners[8][3];
    FILE *file;
    snprintf(shape, sizeof shape, "(%zu, 8, 3)", box->shape[0]);
    const oct_result r = features_begin(f, i, "boxes", shape, &file, path);
    if (r) return r;
    for (size_t k = 0; k < box->shape[0]; k++) {
        checkpoint_row(box, k, 6, b);
        for (int c = 0; c < 8; c++)
            for (int d = 0; d < 3; d++) corners[c][d] = b[(c >> d & 1) * 3 + d];
        fwrite(corners, sizeof corners, 1, file);
    }
    return features_wrote(f, file, path);
}
/* Questions about one object have it instead of all those of the scene. */
static bool features_single(const features *f, size_t i) {
    oct_string task = oct__str("");
    const json *q = f->questions ? f->questions->first : NULL;
    if (f->tasks) {
        if (f->tasks->items[i]->kind == PICKLE_STRING) task = f->tasks->items[i]->text;
    } else {
        for (size_t k = 0; q && k < i; k++) q = q->next;
        task = json_text(json_get(q, "task_type"), "");
    }
    return oct__str_is(task, "classification3d") || oct__str_is(task, "description3d");
}
/* Features [n, width] and boxes [n, 6] of question i. */
static oct_result features_pair(features *f, size_t i, checkpoint_tensor *t, checkpoint_tensor *box) {
    const bool single = features_single(f, i);
    oct_result r;
    if ((r = features_tensor(f, (single ? f->ref : f->scene)->items[i], i, t)) != OCT_OK ||
        (r = features_tensor(f, (single ? f->ref_box : f->scene_box)->items[i], i, box)) != OCT_OK)
        return r;
    if (box->shape[1] == 6 && box->shape[0] == t->shape[0] && t->shape[1] <= 1 << 20) return OCT_OK;
    return oct__fail(&f->err, OCT_E_FORMAT, "%s: question %zu: %zu features of %zu and %zu boxes of %zu, expected as many, of 6",
                     f->path, i, t->shape[0], t->shape[1], box->shape[0], box->shape[1]);
}
static oct_result features_question(features *f, size_t i) {
    checkpoint_tensor t, box;
    oct_result r = features_pair(f, i, &t, &box);
    if (r) return r;
    float *row = (float *)malloc((t.shape[1] + 1) * sizeof *row);
    if (!row) return oct__fail(&f->err, OCT_E_MEMORY, "%s: no memory for rows of %zu", f->path, t.shape[1]);
    r = features_rows(f, i, &t, row);
    free(row);
    return r ? r : features_corners(f, i, &box);
}

/* --- the folder ------------------------------------------------------------------------------------------- */

/* An empty folder counts as none. */
static oct_result features_check_out(features *f, int force) {
    struct stat there;
    f->there = stat(f->out, &there) == 0;
    if (!f->there) return OCT_OK;
    DIR *d = S_ISDIR(there.st_mode) ? opendir(f->out) : NULL;
    if (!d) return oct__fail(&f->err, OCT_E_IO, "%s: is there and no folder that can be read", f->out);
    int n = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    f->there = n > 0;
    return !n || force ? OCT_OK : oct__fail(&f->err, OCT_E_IO, "%s: is there already and not empty (--force adds to it)", f->out);
}
/* Every file of the unfinished folder: removed, or moved to its place. */
static int features_each(const features *f, const char *to) {
    static const char *const names_[] = { "features", "boxes" };
    char from[4400], at[4400];
    int bad = 0;
    for (size_t i = 0; i < f->n; i++)
        for (int k = 0; k < 2; k++) {
            snprintf(from, sizeof from, "%s/%zu-%s.npy", f->part, i, names_[k]);
            snprintf(at, sizeof at, "%s/%zu-%s.npy", to ? to : "", i, names_[k]);
            if (to) bad |= rename(from, at) != 0;
            else (void)remove(from);
        }
    return bad;
}
static oct_result features_finish(features *f) {
    const int bad = f->there ? features_each(f, f->out) : rename(f->part, f->out) != 0;
    if (!bad) return OCT_OK;
    return oct__fail(&f->err, OCT_E_IO, "%s: cannot be written: %s", f->out, strerror(errno));
}
static oct_result features_all(features *f, const char *path, int force) {
    oct_result r = features_read(f, path);
    if (r || (r = features_check_out(f, force)) != OCT_OK) return r;
    if (mkdir(f->part, 0777) != 0) return oct__fail(&f->err, OCT_E_IO, "%s: cannot be created: %s", f->part, strerror(errno));
    for (size_t i = 0; !r && i < f->n; i++) {
        r = features_question(f, i);
        if (gguf_out_signal) r = oct__fail(&f->err, OCT_E_ABORTED, "interrupted; %s is not written", f->out);
    }
    if (!r) r = features_finish(f);
    if (r) (void)features_each(f, NULL);
    if (r || f->there) (void)rmdir(f->part);
    return r;
}
/* The program's exit code. */
static int features_convert(const char *path, const char *out, int force) {
    static features f;
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') n--;
    if (n > 4096) return fail(EXIT_USAGE, "%.100s...: name too long", out);
    f.out = out;
    snprintf(f.part, sizeof f.part, "%.*s.part-%ld", (int)n, out, (long)getpid());
    gguf_out_catch_signals();
    const oct_result r = features_all(&f, path, force);
    if (!r) fprintf(stderr, PROGRAM ": %s: %zu questions\n", out, f.n);
    checkpoint_close(&f.c);
    return !r ? EXIT_OK : fail(r == OCT_E_IO && f.n ? EXIT_RUNTIME : exit_code_of(r), "%s", f.err.message);
}

#endif
