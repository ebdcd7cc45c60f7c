/* What the parts of the fake hipBLASLt share. */
#ifndef FAKE_HIPBLASLT_H
#define FAKE_HIPBLASLT_H

#include "fake.h"

#include <stddef.h>

typedef struct {
    uint32_t type;
    uint64_t rows, cols;
    int64_t ld, stride;
    int32_t batch, order, batch_mode;
} Layout;

typedef struct {
    int32_t compute, scale_type, trans_a, trans_b;
    uint32_t epilogue, scale_mode_a, scale_mode_b;
    void *bias, *scale_a, *scale_b, *scale_c, *scale_d, *aux_scale, *aux, *amax_d, *vector_a, *vector_b;
    int64_t aux_ld, aux_stride, bias_stride;
    int32_t bias_type, aux_type, pointer_mode, sm_count, input_a, input_b, streamk;
    float act0, act1;
} Desc;

typedef struct { uint32_t mode; uint64_t workspace; int32_t sm_count; } Preference;
typedef struct { int32_t scale_type, pointer_mode, trans_a, trans_b; } Transform;

typedef struct {
    const Desc *desc;
    const Layout *a, *b, *c, *d;
    int64_t m, n, k;
    int32_t batch;
    int scale_code_a, scale_code_b;
    char kind[160], text[256];
} Problem;

/* Names and sizes of types: NULL and 0 for what there is not. */
const char *type_name(int type);
int type_bits(int type);
const char *compute_name(int compute);
int has_bias(uint32_t epilogue);
int uses_e(uint32_t epilogue);

const char *revision(void);
int solution_fits(const Problem *problem, int index, size_t max_workspace);

/* Bench, profile and message lines, as HIPBLASLT_LOG_MASK, _LEVEL and _FILE ask; STANDIN_LOG is F1, F2, F3 or F4. */
void log_matmul(const Problem *problem, int index, double alpha, double beta);
enum { LOG_ERROR = 1, LOG_INFO = 8 };
void log_message(int mask, const char *function, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The solution that HIPBLASLT_TUNING_OVERRIDE_FILE names for a problem, or -1; STANDIN_READER is G1 to G4. */
int override_for(const Problem *problem, size_t max_workspace);

#endif
