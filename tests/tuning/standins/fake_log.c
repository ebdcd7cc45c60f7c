/* The log of the fake hipBLASLt: see fake_hipblaslt.h. */
#include "fake_hipblaslt.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const struct { int type, bits; const char *name; } TYPES[] = {
    {0, 32, "f32_r"}, {1, 64, "f64_r"}, {2, 16, "f16_r"}, {3, 8, "i8_r"}, {4, 64, "f32_c"}, {5, 128, "f64_c"},
    {10, 32, "i32_r"}, {14, 16, "bf16_r"}, {28, 8, "f8_r"}, {29, 8, "bf8_r"}, {31, 6, "f6_r"}, {32, 6, "bf6_r"},
    {33, 4, "f4_r"}, {1000, 8, "f8_r"}, {1001, 8, "bf8_r"}, /* FNUZ is logged as if it were OCP */
};

static const struct { int compute; const char *name; } COMPUTES[] = {
    {2, "f32_r"}, {4, "f32_f16_r"}, {5, "f32_bf16_r"}, {6, "xf32_r"}, {7, "f64_r"}, {9, "i32_r"},
};

const char *type_name(int type) {
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; ++i)
        if (TYPES[i].type == type) return TYPES[i].name;
    return NULL;
}

int type_bits(int type) {
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; ++i)
        if (TYPES[i].type == type) return TYPES[i].bits;
    return 0;
}

const char *compute_name(int compute) {
    for (size_t i = 0; i < sizeof COMPUTES / sizeof *COMPUTES; ++i)
        if (COMPUTES[i].compute == compute) return COMPUTES[i].name;
    return NULL;
}

static const struct { uint32_t epilogue; const char *activation; int bias, e, gradient; } EPILOGUES[] = {
    {1, "none", 0, 0, 0}, {2, "relu", 0, 0, 0}, {4, "none", 1, 0, 0}, {6, "relu", 1, 0, 0}, {32, "gelu", 0, 0, 0},
    {36, "gelu", 1, 0, 0}, {130, "relu", 0, 1, 0}, {134, "relu", 1, 1, 0}, {136, "relu", 0, 1, 1}, {152, "relu", 1, 1, 1},
    {160, "gelu", 0, 1, 0}, {164, "gelu", 1, 1, 0}, {192, "gelu", 0, 1, 1}, {208, "gelu", 1, 1, 1},
    {256, "none", 1, 0, 1}, {512, "none", 1, 0, 1}, {1024, "sigmoid", 0, 0, 0}, {65536, "swish", 0, 0, 0},
    {65540, "swish", 1, 0, 0}, {131072, "clamp", 0, 0, 0}, {131076, "clamp", 1, 0, 0}, {131200, "clamp", 0, 1, 0},
    {131204, "clamp", 1, 1, 0},
};

static size_t epilogue_of(uint32_t epilogue) {
    for (size_t i = 0; i < sizeof EPILOGUES / sizeof *EPILOGUES; ++i)
        if (EPILOGUES[i].epilogue == epilogue) return i;
    return 0;
}

int has_bias(uint32_t epilogue) { return EPILOGUES[epilogue_of(epilogue)].bias; }
int uses_e(uint32_t epilogue) { return EPILOGUES[epilogue_of(epilogue)].e; }

/* -- where it goes */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *out;
static int mask = -1;

/* Read once, at the first use. The level, when it is there at all, is all that counts. */
static void latch(void) {
    const char *level = getenv("HIPBLASLT_LOG_LEVEL"), *path = getenv("HIPBLASLT_LOG_FILE");
    if (mask >= 0) return;
    if (level) mask = (1 << (atoi(level) < 5 ? atoi(level) : 5)) - 1;
    else mask = (int)number_of("HIPBLASLT_LOG_MASK", 0);
    out = stderr;
    if (!mask || !path) return;
    char name[4096];
    const char *pid = strstr(path, "%i");
    if (pid) snprintf(name, sizeof name, "%.*s%d%s", (int)(pid - path), path, (int)getpid(), pid + 2);
    else snprintf(name, sizeof name, "%s", path);
    FILE *file = fopen(name, "w");
    if (file) out = file;
}

void log_message(int which, const char *function, const char *format, ...) {
    char text[512], when[32];
    time_t now = time(NULL);
    struct tm parts;
    va_list arguments;
    latch();
    if (!(mask & which)) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &parts));
    fprintf(out, "[%s][HIPBLASLT][%d][%s][%s] %s\n", when, (int)getpid(), which == LOG_ERROR ? "Error" : "Info",
            function, text);
    fflush(out);
}

/* -- bench lines */

typedef struct { char text[2048]; size_t length; } Line;

static void add(Line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line->length += (size_t)vsnprintf(line->text + line->length, sizeof line->text - line->length, format, arguments);
    va_end(arguments);
}

static void bench_line(Line *line, const Problem *p, int index, double alpha, double beta, int form) {
    const Desc *desc = p->desc;
    size_t epilogue = epilogue_of(desc->epilogue);
    int bias = EPILOGUES[epilogue].bias, e = EPILOGUES[epilogue].e;
    const char *activation = EPILOGUES[epilogue].activation;
    add(line, "hipblaslt-bench --api_method c -m %lld -n %lld -k %lld --lda %lld --ldb %lld --ldc %lld --ldd %lld ",
        (long long)p->m, (long long)p->n, (long long)(alpha == 0 ? 0 : p->k), (long long)p->a->ld, (long long)p->b->ld,
        (long long)p->c->ld, (long long)p->d->ld);
    if (e) add(line, "--lde %lld ", (long long)desc->aux_ld);
    add(line, " --stride_a %lld --stride_b %lld --stride_c %lld --stride_d %lld ", (long long)p->a->stride,
        (long long)p->b->stride, (long long)p->c->stride, (long long)p->d->stride);
    if (e) add(line, "--stride_e %lld ", (long long)desc->aux_stride);
    add(line, form >= 4 ? " --alpha %g " : " --alpha %f ", alpha);
    if (form >= 4) add(line, "--alphai 0 ");
    add(line, form >= 4 ? "--beta %g " : "--beta %f ", beta);
    if (form >= 4) add(line, "--betai 0 ");
    add(line, "--transA %c --transB %c --batch_count %d ", desc->trans_a == 111 ? 'N' : 'T',
        desc->trans_b == 111 ? 'N' : 'T', p->batch);
    if (form >= 4) add(line, "--batch_mode %d ", p->d->batch_mode);
    if (form >= 2) add(line, "--scaleA %d --scaleB %d ", p->scale_code_a, p->scale_code_b);
    else if (p->scale_code_a || p->scale_code_b)
        add(line, "--scaleA %c --scaleB %c ", p->scale_code_a == 2 ? 'v' : 's', p->scale_code_b == 2 ? 'v' : 's');
    if (desc->scale_c) add(line, "--scaleC ");
    if (desc->scale_d) add(line, "--scaleD ");
    if (desc->pointer_mode == 4) add(line, "--scaleAlpha_vector ");
    if (EPILOGUES[epilogue].gradient) add(line, "--gradient ");
    if (e) add(line, "--use_e ");
    if (bias) add(line, "--bias_vector --bias_source %c ", desc->epilogue == 256 ? 'a' : desc->epilogue == 512 ? 'b' : 'd');
    if (bias && form >= 4) add(line, "--bias_stride %lld ", (long long)desc->bias_stride);
    add(line, "%s--a_type %s --b_type %s --c_type %s --d_type %s --scale_type %s --bias_type %s ", bias ? "" : " ",
        type_name((int)p->a->type), type_name((int)p->b->type), type_name((int)p->c->type),
        type_name((int)p->d->type), type_name(desc->scale_type),
        bias ? type_name(desc->bias_type == 255 ? (int)p->d->type : desc->bias_type) : "f32_r");
    if (e && form >= 3) add(line, "--aux_type %s ", type_name(desc->aux_type == 255 ? (int)p->d->type : desc->aux_type));
    add(line, "  --compute_type %s ", compute_name(desc->compute));
    if (form == 1) {
        if (strcmp(activation, "none")) add(line, "--activation_type %s ", activation);
        return;
    }
    add(line, "--algo_method index --solution_index %d --activation_type %s ", index, activation);
    if (form >= 3) add(line, "--any_stride --rotating 0 --cold_iters 0 --iters 0 ");
}

/* -- profile lines: one per problem at exit, with the number of calls */

typedef struct Count { struct Count *next; unsigned long calls; char text[1024]; } Count;

static Count *counts;

static void count_call(const Problem *p, double alpha, double beta) {
    const Desc *desc = p->desc;
    size_t epilogue = epilogue_of(desc->epilogue);
    char text[1024];
    snprintf(text, sizeof text,
             "function: matmul, M: %lld, N: %lld, K: %lld, lda: %lld, ldb: %lld, ldc: %lld, ldd: %lld, stride_a: %lld, "
             "stride_b: %lld, stride_c: %lld, stride_d: %lld, alpha: %f, beta: %f, transA: %c, transB: %c, "
             "batch_count: %d, scaleA: %d, scaleB: %d, scaleC: %d, scaleD: %d, swizzleA: false, swizzleB: false, "
             "scaleAlpha_vector: %s, gradient: %s, use_e: %s, bias_vector: %s, bias_source: %c, a_type: %s, b_type: %s, "
             "c_type: %s, d_type: %s, scale_type: %s, bias_type: %s, aux_type: %s, compute_type: %s, "
             "activation_type: %s, flush: false, any_stride: true, rotating: 0, cold_iters: 0, iters: 0",
             (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->a->ld, (long long)p->b->ld,
             (long long)p->c->ld, (long long)p->d->ld, (long long)p->a->stride, (long long)p->b->stride,
             (long long)p->c->stride, (long long)p->d->stride, alpha, beta, desc->trans_a == 111 ? 'N' : 'T',
             desc->trans_b == 111 ? 'N' : 'T', p->batch, p->scale_code_a, p->scale_code_b, desc->scale_c != NULL,
             desc->scale_d != NULL, desc->pointer_mode == 4 ? "true" : "false",
             EPILOGUES[epilogue].gradient ? "true" : "false", EPILOGUES[epilogue].e ? "true" : "false",
             EPILOGUES[epilogue].bias ? "true" : "false", desc->epilogue == 256 ? 'a' : desc->epilogue == 512 ? 'b' : 'd',
             type_name((int)p->a->type), type_name((int)p->b->type), type_name((int)p->c->type),
             type_name((int)p->d->type), type_name(desc->scale_type),
             type_name(!EPILOGUES[epilogue].bias ? 0 : desc->bias_type == 255 ? (int)p->d->type : desc->bias_type),
             type_name(desc->aux_type == 255 ? (int)p->d->type : desc->aux_type), compute_name(desc->compute),
             EPILOGUES[epilogue].activation);
    for (Count *one = counts; one; one = one->next)
        if (!strcmp(one->text, text)) { ++one->calls; return; }
    Count *made = malloc(sizeof *made);
    made->next = counts;
    made->calls = 1;
    strcpy(made->text, text);
    counts = made;
}

void log_matmul(const Problem *p, int index, double alpha, double beta) {
    const char *form = text_of("STANDIN_LOG", "F3");
    pthread_mutex_lock(&lock);
    latch();
    if (mask & 32) {
        Line line = {.length = 0};
        bench_line(&line, p, index, alpha, beta, form[1] - '0');
        fprintf(out, "%s\n", line.text);
        fflush(out);
    }
    if (mask & 64 && form[1] > '1') count_call(p, alpha, beta);
    pthread_mutex_unlock(&lock);
}

__attribute__((destructor)) static void print_counts(void) {
    for (Count *one = counts; one; one = one->next) fprintf(out, "- { %s, call_count: %lu }\n", one->text, one->calls);
    if (out) fflush(out);
}
