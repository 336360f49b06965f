/* describe_image.c - asks a model about a picture.
 *
 *     cc -O2 -I. examples/describe_image.c -lm
 *     ./a.out llava.gguf photo.jpg "What is the dog doing?" [mmproj.gguf]
 */
#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
#include <stdio.h>

int main(int argc, char **argv) {
    oct_error      err = {0};
    oct_model_desc desc = {0};
    oct_picture    photo = {0};
    oct_model     *m = NULL;
    oct_session   *s = NULL;
    oct_token      t = {0};

    if (argc < 4) {
        fprintf(stderr, "usage: describe_image MODEL.gguf PICTURE QUESTION [MMPROJ.gguf]\n");
        return 2;
    }
    desc.mmproj = argc > 4 ? argv[4] : NULL;                        /* the image encoder, where it is a file of its own */
    if (oct_model_open(&m, argv[1], &desc, &err) || oct_session_open(&s, m, NULL, &err)) goto done;
    if (oct_picture_open(&photo, argv[2], NULL, &err) ||            /* or an oct_image of your own pixels */
        oct_picture_upright(&photo, &err) ||
        oct_feed_image(s, &photo.image, &err) ||                    /* encodes it; the prompt style puts it in its place */
        oct_feed_text(s, argv[3], &err)) goto done;
    oct_picture_close(&photo);                                      /* the pixels are not needed any more */
    while (!oct_next(s, &t, &err) && !t.is_end) {
        fwrite(t.text, 1, t.len, stdout);
        fflush(stdout);
    }
    putchar('\n');
done:
    if (err.code) fprintf(stderr, "describe_image: %s\n", err.message);
    oct_picture_close(&photo);                                      /* twice is fine, as is NULL below */
    oct_session_close(s);
    oct_model_close(m);
    return err.code != OCT_OK;
}
