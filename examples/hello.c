#define OCTAVIUS_IMPLEMENTATION
#include "octavius.h"
#include <stdio.h>

int main(int argc, char **argv) {
    oct_error    err = {0};
    oct_model   *m = NULL;
    oct_session *s = NULL;
    oct_token    t = {0};

    if (argc < 3) return 2;                                        // hello MODEL.gguf PROMPT
    if (oct_model_open(&m, argv[1], NULL, &err) ||                 // NULL desc: defaults
        oct_session_open(&s, m, NULL, &err) ||
        oct_feed_text(s, argv[2], &err)) goto done;
    while (!oct_next(s, &t, &err) && !t.is_end)                    // you own the loop
        fwrite(t.text, 1, t.len, stdout);
done:
    if (err.code) fprintf(stderr, "hello: %s\n", err.message);
    oct_session_close(s);                                          // NULL is fine
    oct_model_close(m);
    return err.code != OCT_OK;
}
