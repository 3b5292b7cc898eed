/* The noise of docs/seeded-noise.md, drawn where it is used: a batch of (seed, draw) into the input buffers.

   CUDA C++ for nvcc and plain C for the tests, from the same text. Only operations that IEEE 754 rounds correctly are
   used (+, -, *, /, sqrt and conversions, never fused), and ln, cos and sin are the series below: the CPU build and
   the GPU therefore give the same bits. Compile with -fmad=false, or -ffp-contract=off for C.

   One item of work is one Philox block: 8 elements of one row of one tensor. Items are numbered tensor by tensor, row
   by row; each is done by one thread. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define DEVICE static __device__ __forceinline__
#else
#define DEVICE static inline
#endif

#define BLOCK 8        /* elements that one Philox block gives */
#define MAX_TENSORS 64 /* of one launch; the table is a kernel argument, which may have 4 KiB */
#define VERSION 1      /* of the rules: the last word of the counter */

enum { MASK = 0, UNIFORM01 = 1, UNIFORM11 = 2, NORMAL = 3 };

__extension__ typedef unsigned __int128 uint128;

typedef struct {
    uint64_t address;      /* of the tensor [rows, elements] */
    uint64_t elements;     /* of one row */
    uint64_t first;        /* the number of its first item */
    uint32_t index;        /* of the noise input in the contract */
    uint32_t distribution; /* one of the enum */
    uint32_t half;         /* 1: float16, 0: float32 */
    uint32_t threshold;    /* of a mask: words below it drop their element */
    uint32_t kept;         /* of a mask: the bits of the value that others get, in the tensor's type */
    uint32_t unused;
} NoiseTensor;

typedef struct {
    NoiseTensor tensors[MAX_TENSORS];
} NoiseTable;

typedef struct __attribute__((aligned(16))) {
    uint32_t word[4];
} Sixteen;

/* Philox4x64-10 with key (seed, 0) and counter (block, tensor, draw, 1): eight words, the low halves first. */
DEVICE void philox(uint64_t seed, uint64_t block, uint64_t tensor, uint64_t draw, uint32_t words[BLOCK]) {
    uint64_t c[4] = {block, tensor, draw, VERSION};
    uint64_t k0 = seed, k1 = 0;
    for (int round = 0; round < 10; round++) {
        uint128 a = (uint128)0xD2E7470EE14C6C93 * c[0];
        uint128 b = (uint128)0xCA5A826395121157 * c[2];
        c[0] = (uint64_t)(b >> 64) ^ c[1] ^ k0;
        c[1] = (uint64_t)b;
        c[2] = (uint64_t)(a >> 64) ^ c[3] ^ k1;
        c[3] = (uint64_t)a;
        k0 += 0x9E3779B97F4A7C15;
        k1 += 0xBB67AE8584CAA73B;
    }
    for (int i = 0; i < 4; i++) {
        words[2 * i] = (uint32_t)c[i];
        words[2 * i + 1] = (uint32_t)(c[i] >> 32);
    }
}

/* ln((r + 0.5) / 2^32) = ln(m) + k ln 2 with m in [0.707, 1.414). With f = m - 1 and s = f / (2 + f),
   ln(1 + f) = 2 (s + s^3/3 + s^5/5 + ...) = f - f^2/2 + s (f^2/2 + 2/3 s^2 + 2/5 s^4 + ...). */
DEVICE double ln_uniform(uint32_t r) {
    double u = ((double)r + 0.5) * 0x1p-32; /* exact */
    uint64_t bits;
    memcpy(&bits, &u, 8);
    /* The exponent of u / 0.7071: 0x3FE6A09E is the upper word of sqrt(1/2). */
    int64_t k = ((int64_t)bits - 0x3FE6A09E00000000) >> 52;
    bits -= (uint64_t)k << 52;
    double m;
    memcpy(&m, &bits, 8);
    double f = m - 1.0, s = f / (2.0 + f), t = s * s;
    double series = 2.0 / 21.0;
    for (int n = 19; n >= 3; n -= 2)
        series = series * t + 2.0 / n;
    double square = 0.5 * f * f;
    /* ln 2 in two parts; the first has 32 bits, so k times it is exact. */
    double high = (double)k * 0x1.62e42feep-1, low = (double)k * 0x1.a39ef35793c76p-33;
    return high - ((square - (s * (square + series * t) + low)) - f);
}

/* sin(y + e) and cos(y + e) for |y| <= pi/4 and a tiny e, by their Taylor series. */
DEVICE void sin_cos(double y, double e, double *sine, double *cosine) {
    double t = y * y;
    double s = 1.0 / 355687428096000.0, c = 1.0 / 20922789888000.0; /* 1/17! and 1/16! */
    s = s * t - 1.0 / 1307674368000.0;                              /* 1/15! */
    c = c * t - 1.0 / 87178291200.0;                                /* 1/14! */
    s = s * t + 1.0 / 6227020800.0;
    c = c * t + 1.0 / 479001600.0;
    s = s * t - 1.0 / 39916800.0;
    c = c * t - 1.0 / 3628800.0;
    s = s * t + 1.0 / 362880.0;
    c = c * t + 1.0 / 40320.0;
    s = s * t - 1.0 / 5040.0;
    c = c * t - 1.0 / 720.0;
    s = s * t + 1.0 / 120.0;
    c = c * t + 1.0 / 24.0;
    s = s * t - 1.0 / 6.0;
    /* y + (y^3 s + e cos y), and 1 - (t/2 - (t^2 c - y e)) with the rounding of 1 - t/2 given back. */
    *sine = y + (y * t * s + e * (1.0 - 0.5 * t));
    double half = 0.5 * t, w = 1.0 - half;
    *cosine = w + (((1.0 - w) - half) + (t * t * c - y * e));
}

/* cos(t) and sin(t) of t = 6.283185307179586 (r + 0.5) / 2^32, the product rounded as the rules say. */
DEVICE void cos_sin_uniform(uint32_t r, double *cosine, double *sine) {
    double t = 6.283185307179586 * (((double)r + 0.5) * 0x1p-32);
    /* t = q pi/2 + y + e. pi/2 is in two parts; the first has 33 bits, so q times it and the difference are exact. */
    int q = (int)(t * 0.6366197723675814 + 0.5);
    double exact = t - (double)q * 0x1.921fb544p+0;
    double rest = (double)q * 0x1.0b4611a626331p-34;
    double y = exact - rest, s, c;
    sin_cos(y, (exact - y) - rest, &s, &c);
    double turned = q & 1 ? s : c, other = q & 1 ? c : s;
    *cosine = (q + 1) & 2 ? -turned : turned;
    *sine = q & 2 ? -other : other;
}

/* Box-Muller on two words. */
DEVICE void normal_pair(uint32_t first, uint32_t second, double *cosine, double *sine) {
    double radius = sqrt(-2.0 * ln_uniform(first));
    cos_sin_uniform(second, cosine, sine);
    *cosine *= radius;
    *sine *= radius;
}

DEVICE uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

/* The bits of float32 as float16, to nearest, ties to even; for finite values below 65520. */
DEVICE uint32_t half_bits(uint32_t bits) {
    uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    if (size < 0x33000000) /* below 2^-25, half of the smallest float16 */
        return sign;
    uint32_t shift = 13, value = size - (112u << 23); /* another bias of the exponent */
    if (size < 0x38800000) {                          /* below 2^-14: a float16 without the implicit bit */
        shift = 126 - (size >> 23);
        value = (size & 0x7FFFFF) | 0x800000;
    }
    uint32_t even = value >> shift & 1;
    return sign | (value + (1u << (shift - 1)) - 1 + even) >> shift;
}

/* The bits of the eight elements of a block, float32 or float16. */
DEVICE void values_of(const NoiseTensor *tensor, const uint32_t words[BLOCK], uint32_t values[BLOCK]) {
    if (tensor->distribution == MASK) {
        for (int i = 0; i < BLOCK; i++)
            values[i] = words[i] >= tensor->threshold ? tensor->kept : 0;
        return;
    }
    if (tensor->distribution == NORMAL) {
        for (int i = 0; i < BLOCK; i += 2) {
            double cosine, sine;
            normal_pair(words[i], words[i + 1], &cosine, &sine);
            values[i] = bits_of((float)cosine);
            values[i + 1] = bits_of((float)sine);
        }
    } else {
        for (int i = 0; i < BLOCK; i++) {
            double u = ((double)words[i] + 0.5) * 0x1p-32;
            values[i] = bits_of((float)(tensor->distribution == UNIFORM11 ? 2.0 * u - 1.0 : u));
        }
    }
    if (tensor->half)
        for (int i = 0; i < BLOCK; i++)
            values[i] = half_bits(values[i]);
}

/* Write `count` elements at the address; whole blocks at multiples of 16 bytes go in pieces of 16. */
DEVICE void store(uint64_t address, int half, int count, const uint32_t values[BLOCK]) {
    if (count == BLOCK && address % 16 == 0) {
        Sixteen *target = (Sixteen *)(uintptr_t)address, four;
        for (int part = 0; part < (half ? 1 : 2); part++) {
            for (int i = 0; i < 4; i++)
                four.word[i] = half ? values[2 * i] | values[2 * i + 1] << 16 : values[4 * part + i];
            target[part] = four;
        }
        return;
    }
    for (int i = 0; i < BLOCK; i++) {
        if (i >= count)
            break;
        if (half)
            ((uint16_t *)(uintptr_t)address)[i] = (uint16_t)values[i];
        else
            ((uint32_t *)(uintptr_t)address)[i] = values[i];
    }
}

/* Do one item. `rows` is (seed, draw) for each row of the batch. Items from `items` on do nothing. */
DEVICE void draw_item(const NoiseTable *table, uint32_t tensors, uint64_t items, const uint64_t *rows, uint64_t item) {
    if (item >= items)
        return;
    uint32_t number = tensors - 1;
    while (item < table->tensors[number].first)
        number--;
    const NoiseTensor *tensor = &table->tensors[number];
    uint64_t blocks = (tensor->elements + BLOCK - 1) / BLOCK;
    uint64_t row = (item - tensor->first) / blocks, block = (item - tensor->first) % blocks;
    uint64_t left = tensor->elements - block * BLOCK, place = row * tensor->elements + block * BLOCK;
    uint32_t words[BLOCK], values[BLOCK];
    philox(rows[2 * row], block + 1, tensor->index, rows[2 * row + 1], words);
    values_of(tensor, words, values);
    store(tensor->address + place * (tensor->half ? 2 : 4), (int)tensor->half, left < BLOCK ? (int)left : BLOCK, values);
}

#ifdef __CUDACC__
extern "C" __global__ void __launch_bounds__(128)
    cgan_noise(const __grid_constant__ NoiseTable table, const uint64_t *rows, uint64_t items, uint32_t tensors) {
    draw_item(&table, tensors, items, rows, (uint64_t)blockIdx.x * blockDim.x + threadIdx.x);
}
#endif
