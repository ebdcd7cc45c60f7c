/* A HIP runtime without a GPU: memory is the host's, every call is done at once, and time is a clock that only kernels
 * advance (fake_hip_advance). With STANDIN_HOST_US, starting a kernel takes the host so long, and a GPU that has nothing
 * queued meanwhile stands idle, as a real one does. Controls: STANDIN_DEVICES, STANDIN_ARCH, STANDIN_CUS, STANDIN_MEMORY (bytes),
 * STANDIN_HIP_ERRORS ("hipMalloc:3:2": its third call fails with 2), STANDIN_LEAKS (file that gets, at exit, what was
 * not given back: "memory streams events"). */
#include "fake.h"

#include <pthread.h>
#include <stdio.h>

typedef struct Block { char *start; size_t size; struct Block *next; } Block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Block *blocks;
static size_t used;
static int streams, events, current, broken;
static double clock_us, host_us;

static double later(double one, double other) { return one > other ? one : other; }

static size_t memory(void) { return (size_t)number_of("STANDIN_MEMORY", 1l << 29); }

/* ROCR_VISIBLE_DEVICES chooses first, HIP_VISIBLE_DEVICES among those; an unknown number ends the list, as in ROCm. */
static int chosen(const char *name, int count, int *map) {
    const char *value = getenv(name);
    int picked[64], found = 0;
    if (!value) return count;
    while (*value && found < 64) {
        char *end;
        long one = strtol(value, &end, 10);
        if (end == value || one < 0 || one >= count) break;
        picked[found++] = map[one];
        value = *end == ',' ? end + 1 : end;
    }
    memcpy(map, picked, (size_t)found * sizeof *map);
    return found;
}

static int visible(int *map) {
    int count = (int)number_of("STANDIN_DEVICES", 4);
    if (count > 64) count = 64;
    for (int i = 0; i < count; ++i) map[i] = i;
    count = chosen("ROCR_VISIBLE_DEVICES", count, map);
    return chosen("HIP_VISIBLE_DEVICES", count, map);
}

static int device_count(void) { int map[64]; return visible(map); }

/* The error that a call was told to give, or 0. */
static int injected(const char *call) {
    static struct { char name[48]; int calls; } seen[32];
    const char *plan = getenv("STANDIN_HIP_ERRORS");
    int count = 0;
    if (broken) return broken;
    if (!plan) return 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 32; ++i) {
        if (!seen[i].name[0]) snprintf(seen[i].name, sizeof seen[i].name, "%s", call);
        if (!strcmp(seen[i].name, call)) { count = ++seen[i].calls; break; }
    }
    pthread_mutex_unlock(&lock);
    for (size_t length = strlen(call); plan && *plan; plan = strchr(plan, ';'), plan += plan != NULL) {
        int nth, code;
        if (!strncmp(plan, call, length) && sscanf(plan + length, ":%d:%d", &nth, &code) == 2 && nth == count) return code;
    }
    return 0;
}

#define BEGIN(call) do { int code = injected(#call); if (code) return code; } while (0)

EXPORT int hipGetDeviceCount(int *count) {
    BEGIN(hipGetDeviceCount);
    if (!count) return 1;
    *count = device_count();
    return *count ? 0 : 100;
}

EXPORT int hipSetDevice(int device) {
    BEGIN(hipSetDevice);
    if (device < 0 || device >= device_count()) return 101;
    current = device;
    return 0;
}

EXPORT int hipGetDevice(int *device) {
    BEGIN(hipGetDevice);
    if (!device) return 1;
    *device = current;
    return device_count() ? 0 : 100;
}

EXPORT void *fake_hip_allocate(size_t size) {
    Block *block = malloc(sizeof *block);
    pthread_mutex_lock(&lock);
    void *start = used + size > memory() ? NULL : aligned_alloc(256, (size + 255) / 256 * 256);
    if (start) {
        *block = (Block){start, size, blocks};
        blocks = block;
        used += size;
    } else {
        free(block);
    }
    pthread_mutex_unlock(&lock);
    return start;
}

static int release(void *pointer) {
    int code = 1;
    pthread_mutex_lock(&lock);
    for (Block **at = &blocks; *at; at = &(*at)->next) {
        if ((*at)->start != pointer) continue;
        Block *gone = *at;
        *at = gone->next;
        used -= gone->size;
        free(gone->start);
        free(gone);
        code = 0;
        break;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

EXPORT void fake_hip_release(void *pointer) { (void)release(pointer); }

EXPORT int hipMalloc(void **pointer, size_t size) {
    BEGIN(hipMalloc);
    if (!pointer) return 1;
    if (!device_count()) return 101;
    *pointer = size ? fake_hip_allocate(size) : NULL;
    return size && !*pointer ? 2 : 0;
}

EXPORT int hipFree(void *pointer) {
    BEGIN(hipFree);
    return pointer ? release(pointer) : 0;
}

/* Whether the bytes lie in device memory. */
EXPORT int fake_hip_owns(const void *pointer, size_t size) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (Block *block = blocks; block && !found; block = block->next)
        found = (const char *)pointer >= block->start && (const char *)pointer + size <= block->start + block->size;
    pthread_mutex_unlock(&lock);
    return found;
}

EXPORT int hipMemcpy(void *to, const void *from, size_t size, int kind) {
    BEGIN(hipMemcpy);
    if (kind < 0 || kind > 4 || (size && (!to || !from))) return 1;
    if ((kind == 1 || kind == 3) && !fake_hip_owns(to, size)) return 1;
    if ((kind == 2 || kind == 3) && !fake_hip_owns(from, size)) return 1;
    memmove(to, from, size);
    return 0;
}

EXPORT int hipMemset(void *to, int value, size_t size) {
    BEGIN(hipMemset);
    if (!fake_hip_owns(to, size)) return 1;
    memset(to, value, size);
    return 0;
}

EXPORT int hipMemGetInfo(size_t *available, size_t *total) {
    BEGIN(hipMemGetInfo);
    if (!available || !total) return 1;
    *total = memory();
    *available = *total - used;
    return 0;
}

/* A stream is a number, an event the time at which it was recorded. */
EXPORT int hipStreamCreate(void **stream) {
    BEGIN(hipStreamCreate);
    if (!stream) return 1;
    *stream = calloc(1, 16);
    ++streams;
    return 0;
}

EXPORT int hipStreamDestroy(void *stream) {
    BEGIN(hipStreamDestroy);
    if (!stream) return 400;
    free(stream);
    --streams;
    return 0;
}

static int wait_for_all(void) {
    host_us = later(host_us, clock_us);
    return 0;
}

EXPORT int hipStreamSynchronize(void *stream) { (void)stream; BEGIN(hipStreamSynchronize); return wait_for_all(); }
EXPORT int hipDeviceSynchronize(void) { BEGIN(hipDeviceSynchronize); return wait_for_all(); }

EXPORT int hipEventCreate(void **event) {
    BEGIN(hipEventCreate);
    if (!event) return 1;
    double *made = malloc(sizeof *made);
    *made = -1;
    *event = made;
    ++events;
    return 0;
}

EXPORT int hipEventDestroy(void *event) {
    BEGIN(hipEventDestroy);
    if (!event) return 400;
    free(event);
    --events;
    return 0;
}

EXPORT int hipEventRecord(void *event, void *stream) {
    (void)stream;
    BEGIN(hipEventRecord);
    if (!event) return 400;
    *(double *)event = later(clock_us, host_us);
    return 0;
}

EXPORT int hipEventSynchronize(void *event) { BEGIN(hipEventSynchronize); return event ? wait_for_all() : 400; }

EXPORT int hipEventElapsedTime(float *ms, void *start, void *stop) {
    BEGIN(hipEventElapsedTime);
    if (!ms || !start || !stop) return 400;
    if (*(double *)start < 0 || *(double *)stop < 0) return 400; /* not recorded */
    *ms = (float)((*(double *)stop - *(double *)start) / 1000);
    return 0;
}

EXPORT void fake_hip_advance(double microseconds) {
    host_us += strtod(text_of("STANDIN_HOST_US", "0"), NULL);
    clock_us = later(clock_us, host_us) + microseconds;
}

/* Three terabytes a second. What is filled already is not touched again: only its time passes. */
EXPORT int hipMemsetAsync(void *to, int value, size_t size, void *stream) {
    (void)stream;
    BEGIN(hipMemsetAsync);
    if (!fake_hip_owns(to, size)) return 1;
    char *start = to;
    if (size && (start[0] != (char)value || start[size / 2] != (char)value || start[size - 1] != (char)value))
        memset(to, value, size);
    clock_us = later(clock_us, host_us) + (double)size / 3e6;
    return 0;
}
EXPORT void fake_hip_break(int code) { broken = code; }
EXPORT int fake_hip_broken(void) { return broken; }
EXPORT int fake_hip_physical_device(void) { int map[64]; return visible(map) > current ? map[current] : -1; }

EXPORT int hipRuntimeGetVersion(int *version) {
    BEGIN(hipRuntimeGetVersion);
    if (!version) return 1;
    *version = 70051831;
    return 0;
}

static int bus_of(int device) { int map[64]; return visible(map) > device ? 3 + 16 * map[device] : -1; }

EXPORT int hipDeviceGetPCIBusId(char *text, int size, int device) {
    BEGIN(hipDeviceGetPCIBusId);
    if (!text || size < 13) return 1;
    if (device < 0 || device >= device_count()) return 101;
    snprintf(text, (size_t)size, "0000:%02x:00.0", bus_of(device));
    return 0;
}

static void put(char *at, size_t offset, int value) { memcpy(at + offset, &value, sizeof value); }

EXPORT int hipGetDevicePropertiesR0600(void *properties, int device) {
    BEGIN(hipGetDevicePropertiesR0600);
    char *at = properties;
    size_t total = memory();
    if (!properties) return 1;
    if (device < 0 || device >= device_count()) return 101;
    memset(at, 0, 1472);
    strcpy(at, "AMD Instinct MI300X");
    memcpy(at + 288, &total, sizeof total);
    put(at, 308, 64);
    put(at, 360, 9);
    put(at, 364, 4);
    put(at, 388, (int)number_of("STANDIN_CUS", 304));
    put(at, 584, bus_of(device));
    put(at, 616, 4 << 20);
    snprintf(at + 1160, 256, "%s", text_of("STANDIN_ARCH", "gfx942:sramecc+:xnack-"));
    return 0;
}

static const struct { int code; const char *name, *text; } ERRORS[] = {
    {0, "hipSuccess", "no error"},
    {1, "hipErrorInvalidValue", "invalid argument"},
    {2, "hipErrorOutOfMemory", "out of memory"},
    {3, "hipErrorNotInitialized", "initialization error"},
    {100, "hipErrorNoDevice", "no ROCm-capable device is detected"},
    {101, "hipErrorInvalidDevice", "invalid device ordinal"},
    {400, "hipErrorInvalidHandle", "invalid resource handle"},
    {600, "hipErrorNotReady", "device not ready"},
    {700, "hipErrorIllegalAddress", "an illegal memory access was encountered"},
    {719, "hipErrorLaunchFailure", "unspecified launch failure"},
};

EXPORT const char *hipGetErrorName(int code) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; ++i)
        if (ERRORS[i].code == code) return ERRORS[i].name;
    return "hipErrorUnknown";
}

EXPORT const char *hipGetErrorString(int code) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; ++i)
        if (ERRORS[i].code == code) return ERRORS[i].text;
    return "unknown error";
}

__attribute__((destructor)) static void report_leaks(void) {
    const char *path = getenv("STANDIN_LEAKS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%zu %d %d\n", used, streams, events);
    fclose(file);
}
