/* libcuda.so.1 on the CPU: the functions that our two drivers call, so that both run without a GPU.

   Device memory is memory of the host. Work is done when it is put on a stream, or recorded while the stream is
   captured. Strict where CUDA is: a call needs a current context in its thread, and handles must be alive.
   fake_fail(name, code) lets a function fail from now on; fake_alive() counts what was not given back. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
typedef uint64_t Address;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
       NOT_FOUND = 500, ILLEGAL_STATE = 401 };

/* What fails, and how many GPUs there are. */
static char failing[64];
static int failing_code;
static int devices = 1;
void fake_fail(const char *name, int code) { snprintf(failing, sizeof failing, "%s", name); failing_code = code; }
void fake_devices(int count) { devices = count; }
static R fails(const char *name) { return strcmp(name, failing) ? OK : failing_code; }
#define MAY_FAIL do { R r = fails(__func__); if (r) return r; } while (0)

/* Handles that are alive. */
enum Kind { MEMORY = 1, PINNED, STREAM, EVENT, GRAPH, EXEC, MODULE };
static struct { void *handle; enum Kind kind; size_t size; } table[1024];
static int context_uses;
int fake_alive(void) {
    int count = context_uses;
    for (int i = 0; i < 1024; i++) count += table[i].handle != NULL;
    return count;
}
static void *keep(enum Kind kind, void *handle, size_t size) {
    for (int i = 0; i < 1024; i++)
        if (!table[i].handle) { table[i].handle = handle; table[i].kind = kind; table[i].size = size; return handle; }
    abort();
}
static int is(enum Kind kind, void *handle) {
    for (int i = 0; i < 1024; i++) if (table[i].handle == handle && table[i].kind == kind) return 1;
    return 0;
}
static R drop(enum Kind kind, void *handle) {
    for (int i = 0; i < 1024; i++)
        if (table[i].handle == handle && table[i].kind == kind) { table[i].handle = NULL; free(handle); return OK; }
    return INVALID_HANDLE;
}
static int inside(enum Kind kind, const void *start, size_t size) {
    for (int i = 0; i < 1024; i++) {
        char *begin = table[i].handle;
        if (begin && table[i].kind == kind && begin <= (char *)start && (char *)start + size <= begin + table[i].size)
            return 1;
    }
    return 0;
}

/* Contexts: one, and a stack of it for each thread. */
static char the_context;
static _Thread_local int depth;
int fake_depth(void) { return depth; }
#define NEEDS_CONTEXT do { MAY_FAIL; if (!depth || !context_uses) return INVALID_CONTEXT; } while (0)

R cuInit(unsigned flags) { (void)flags; MAY_FAIL; return devices ? OK : 100; }
R cuDriverGetVersion(int *version) { *version = 13000; MAY_FAIL; return OK; }
R cuDeviceGetCount(int *count) { MAY_FAIL; *count = devices; return OK; }
R cuDeviceGet(int *device, int number) { MAY_FAIL; *device = number; return number < devices ? OK : INVALID_DEVICE; }
R cuDeviceGetName(char *name, int size, int device) { (void)device; MAY_FAIL; snprintf(name, size, "A GPU of the tests"); return OK; }
R cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; MAY_FAIL; *bytes = (size_t)8 << 30; return OK; }
R cuDeviceComputeCapability(int *major, int *minor, int device) { (void)device; MAY_FAIL; *major = 8; *minor = 6; return OK; }
R cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device; MAY_FAIL;
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : 0;  /* compute capability */
    return OK;
}
R cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; MAY_FAIL; context_uses++; *context = &the_context; return OK; }
R cuDevicePrimaryCtxRelease_v2(int device) { (void)device; MAY_FAIL; context_uses--; return OK; }
R cuCtxSetCurrent(void *context) { MAY_FAIL; if (!context) depth = 0; else if (!depth) depth = 1; return OK; }
R cuCtxPushCurrent_v2(void *context) { MAY_FAIL; if (context != &the_context) return INVALID_CONTEXT; depth++; return OK; }
R cuCtxPopCurrent_v2(void **context) { MAY_FAIL; if (!depth) return INVALID_CONTEXT; depth--; *context = &the_context; return OK; }

R cuMemAlloc_v2(Address *address, size_t size) {
    NEEDS_CONTEXT;
    if (!size) return INVALID_VALUE;
    *address = (Address)(uintptr_t)keep(MEMORY, aligned_alloc(256, (size + 255) / 256 * 256), size);
    return OK;
}
R cuMemFree_v2(Address address) { R r = depth ? drop(MEMORY, (void *)(uintptr_t)address) : INVALID_CONTEXT; MAY_FAIL; return r; }
R cuMemGetInfo_v2(size_t *left, size_t *all) { NEEDS_CONTEXT; *left = 3 << 20; *all = (size_t)8 << 30; return OK; }
R cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
    (void)flags; NEEDS_CONTEXT;
    if (!size) return INVALID_VALUE;
    *pointer = keep(PINNED, malloc(size), size);
    return OK;
}
R cuMemFreeHost(void *pointer) { R r = depth ? drop(PINNED, pointer) : INVALID_CONTEXT; MAY_FAIL; return r; }

/* Work: a copy or a kernel. */
typedef struct { void *to; const void *from; size_t size; int on_device; float by; uint32_t count; } Step;
typedef struct { int count; Step steps[16]; } Work;
typedef struct { int captured; Work work; } Stream;
static void run(const Step *s) {
    if (s->on_device) for (uint32_t i = 0; i < s->count; i++) ((float *)s->to)[i] += s->by;
    else memcpy(s->to, s->from, s->size);
}
static R put(Stream *stream, Step step) {
    if (!is(STREAM, stream)) return INVALID_HANDLE;
    if (stream->captured) stream->work.steps[stream->work.count++] = step; else run(&step);
    return OK;
}
R cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t size, Stream *stream) {
    NEEDS_CONTEXT;
    void *target = (void *)(uintptr_t)to;
    if (!inside(MEMORY, target, size) || !inside(PINNED, from, size)) return INVALID_VALUE;
    return put(stream, (Step){.to = target, .from = from, .size = size});
}
R cuMemcpyDtoHAsync_v2(void *to, Address from, size_t size, Stream *stream) {
    NEEDS_CONTEXT;
    const void *source = (const void *)(uintptr_t)from;
    if (!inside(MEMORY, source, size) || !inside(PINNED, to, size)) return INVALID_VALUE;
    return put(stream, (Step){.to = to, .from = source, .size = size});
}
R cuStreamCreate(Stream **stream, unsigned flags) {
    NEEDS_CONTEXT;
    if (flags != 1) return INVALID_VALUE;  /* ours never wait for the default stream */
    *stream = keep(STREAM, calloc(1, sizeof(Stream)), 0);
    return OK;
}
R cuStreamDestroy_v2(Stream *stream) { R r = depth ? drop(STREAM, stream) : INVALID_CONTEXT; MAY_FAIL; return r; }
R cuStreamSynchronize(Stream *stream) {
    NEEDS_CONTEXT;
    if (!is(STREAM, stream)) return INVALID_HANDLE;
    return stream->captured ? 900 : OK;
}
R cuEventCreate(void **event, unsigned flags) { (void)flags; NEEDS_CONTEXT; *event = keep(EVENT, calloc(1, 1), 0); return OK; }
R cuEventDestroy_v2(void *event) { R r = drop(EVENT, event); MAY_FAIL; return r; }
R cuEventRecord(char *event, Stream *stream) { NEEDS_CONTEXT; if (!is(EVENT, event) || !is(STREAM, stream)) return INVALID_HANDLE; *event = 1; return OK; }
R cuEventElapsedTime_v2(float *ms, char *first, char *second) { NEEDS_CONTEXT; if (!*first || !*second) return INVALID_HANDLE; *ms = 1.5f; return OK; }

R cuStreamBeginCapture_v2(Stream *stream, int mode) {
    NEEDS_CONTEXT;
    if (mode != 2 || !is(STREAM, stream)) return INVALID_VALUE;  /* relaxed */
    stream->captured = 1; stream->work.count = 0;
    return OK;
}
R cuStreamEndCapture(Stream *stream, void **graph) {
    *graph = NULL;
    if (!is(STREAM, stream) || !stream->captured) return ILLEGAL_STATE;
    stream->captured = 0;
    NEEDS_CONTEXT;
    Work *copy = malloc(sizeof(Work));
    *copy = stream->work;
    *graph = keep(GRAPH, copy, 0);
    return OK;
}
R cuGraphInstantiateWithFlags(void **exec, Work *graph, unsigned long long flags) {
    NEEDS_CONTEXT;
    if (!is(GRAPH, graph) || flags) return INVALID_VALUE;
    Work *copy = malloc(sizeof(Work));
    *copy = *graph;
    *exec = keep(EXEC, copy, 0);
    return OK;
}
R cuGraphDestroy(void *graph) { R r = drop(GRAPH, graph); MAY_FAIL; return r; }
R cuGraphExecDestroy(void *exec) { R r = drop(EXEC, exec); MAY_FAIL; return r; }
R cuGraphLaunch(Work *exec, Stream *stream) {
    NEEDS_CONTEXT;
    if (!is(EXEC, exec)) return INVALID_HANDLE;
    for (int i = 0; i < exec->count; i++) { R r = put(stream, exec->steps[i]); if (r) return r; }
    return OK;
}

/* One kernel: add(float *to, float by, uint32_t count). */
static char the_function;
R cuModuleLoadData(void **module, const char *image) {
    NEEDS_CONTEXT;
    if (strncmp(image, "kernels", 8)) return 222;
    *module = keep(MODULE, calloc(1, 1), 0);
    return OK;
}
R cuModuleLoadDataEx(void **module, const char *image, unsigned count, void *options, void *values) {
    (void)count; (void)options; (void)values;
    return cuModuleLoadData(module, image);
}
R cuModuleUnload(void *module) { R r = drop(MODULE, module); MAY_FAIL; return r; }
R cuModuleGetFunction(void **function, void *module, const char *name) {
    NEEDS_CONTEXT;
    if (!is(MODULE, module)) return INVALID_HANDLE;
    *function = &the_function;
    return strcmp(name, "add") ? NOT_FOUND : OK;
}
R cuFuncSetBlockShape(void *function, int x, int y, int z) { (void)function; (void)x; (void)y; (void)z; NEEDS_CONTEXT; return OK; }
R cuLaunchKernel(void *function, unsigned bx, unsigned by, unsigned bz, unsigned tx, unsigned ty, unsigned tz,
                 unsigned shared, Stream *stream, void **arguments, void **extra) {
    NEEDS_CONTEXT;
    struct { Address to; float by; uint32_t count; } packed;
    if (function != &the_function || by * bz * ty * tz != 1 || shared || (arguments && extra)) return INVALID_VALUE;
    if (extra) memcpy(&packed, extra[1], sizeof packed);  /* CU_LAUNCH_PARAM_BUFFER_POINTER, buffer, ... */
    else {
        packed.to = *(Address *)arguments[0];
        packed.by = *(float *)arguments[1];
        packed.count = *(uint32_t *)arguments[2];
    }
    if (packed.count > bx * tx || !inside(MEMORY, (void *)(uintptr_t)packed.to, 4 * packed.count)) return INVALID_VALUE;
    return put(stream, (Step){.to = (void *)(uintptr_t)packed.to, .on_device = 1, .by = packed.by, .count = packed.count});
}

/* Texts of cuGetErrorString, as NVIDIA's driver has them. */
R cuGetErrorString(int code, const char **text) {
    static const struct { int code; const char *text; } texts[] = {
        {0, "no error"}, {1, "invalid argument"}, {2, "out of memory"}, {100, "no CUDA-capable device is detected"},
        {101, "invalid device ordinal"}, {201, "invalid device context"},
        {222, "the provided PTX was compiled with an unsupported toolchain."}, {400, "invalid resource handle"},
        {500, "named symbol not found"}, {700, "an illegal memory access was encountered"},
        {719, "unspecified launch failure"},
        {803, "system has unsupported display driver / cuda driver combination"},
        {901, "operation failed due to a previous error during capture"},
    };
    *text = NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) if (texts[i].code == code) { *text = texts[i].text; return OK; }
    return INVALID_VALUE;
}
R cuGetErrorName(int code, const char **text) { return cuGetErrorString(code, text); }

/* How cuda.bindings finds the functions: by their plain names. */
R cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    (void)version; (void)flags;
    char newer[80];
    const char *real = strcmp(name, "cuGraphInstantiate") ? name : "cuGraphInstantiateWithFlags";
    void *self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    snprintf(newer, sizeof newer, "%s_v2", real);
    *function = dlsym(self, newer);
    if (!*function) *function = dlsym(self, real);
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
