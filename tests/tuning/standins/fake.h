/* What the stand-ins of the HIP runtime and of hipBLASLt share: controls by environment, and the hash that all
 * pseudo-times and solution indices come from (the same as in kernels.py). */
#ifndef FAKE_H
#define FAKE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static inline const char *text_of(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static inline long number_of(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtol(value, NULL, 0) : otherwise;
}

/* FNV-1a, then mixed so that near texts give far numbers. */
static inline uint64_t hash_of(const char *text) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (; *text; ++text) h = (h ^ (unsigned char)*text) * 0x100000001b3ull;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
    return h ^ (h >> 33);
}

/* Offered by the fake runtime to the fake library, and to tests. */
int fake_hip_owns(const void *pointer, size_t size);
int fake_hip_broken(void);
int fake_hip_physical_device(void);
void fake_hip_break(int code);
void fake_hip_advance(double microseconds);
void *fake_hip_allocate(size_t size);
void fake_hip_release(void *pointer);

#endif
