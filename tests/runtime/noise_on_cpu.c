/* noise.cu as C: the same items of work, one after the other, and its parts for tests of their own. */

#include "noise.cu"

/* Do the items of some threads of a grid, as cgan_noise does on a GPU. */
void run_threads(uint64_t from, uint64_t to, const NoiseTable *table, const uint64_t *rows, uint64_t items,
                 uint32_t tensors) {
    for (uint64_t thread = from; thread < to; thread++)
        draw_item(table, tensors, items, rows, thread);
}

/* Of each word: ln(u), cos(2 pi u) and sin(2 pi u). */
void parts_of(const uint32_t *words, double *parts, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        parts[3 * i] = ln_uniform(words[i]);
        cos_sin_uniform(words[i], &parts[3 * i + 1], &parts[3 * i + 2]);
    }
}

void halves_of(const uint32_t *singles, uint16_t *halves, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        halves[i] = (uint16_t)half_bits(singles[i]);
}
