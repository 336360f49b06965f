/* The second unit of the black-box program: the header's API alone, included twice, and used from a thread. */
#include "../octavius.h"
#include "../octavius.h"
#include "test.h"

int api_2_version(void);
int api_2_version(void) { return OCT_VERSION_MAJOR * 10000 + OCT_VERSION_MINOR * 100 + OCT_VERSION_PATCH; }

TEST(api, second_unit_sees_the_first) {
    oct_error err;
    oct_model *m = NULL;
    memset(&err, 0, sizeof err);
    CHECK_STR(oct_result_name(OCT_E_FORMAT), "OCT_E_FORMAT");
    CHECK_INT(oct_model_open_memory(&m, "not a model", 11, NULL, &err), OCT_E_FORMAT);
    CHECK(m == NULL);
    CHECK(err.message[0] != 0);
    CHECK(oct_isa_available(OCT_ISA_SCALAR));
    CHECK(oct_isa_name(OCT_ISA_AUTO)[0] != 0);
    oct_model_close(NULL);
    oct_session_close(NULL);
}
