/* Sums over lists of float32 tensors, and Adam's step, as one stream each, split evenly over threads wherever tensors begin
   and end.

   Sums of squares are taken in double precision, thread by thread, in order.  */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_thread_num() 0
#define omp_get_num_threads() 1
#endif

enum { MOST_THREADS = 256, PIECE = 4096, BLOCK = 16 * PIECE };

/* For the elements of this thread: BODY sees tensor number `t` and its elements `from` to `to`. */
#define EACH_PIECE(count, sizes, total, ...)                                                         \
    {                                                                                                \
        int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();                      \
        int64_t low = (total) * thread / threads, high = (total) * (thread + 1) / threads, base = 0; \
        for (int64_t t = 0; t < (count) && base < high; base += (sizes)[t++]) {                      \
            int64_t from = low > base ? low - base : 0;                                              \
            int64_t to = high - base < (sizes)[t] ? high - base : (sizes)[t];                        \
            if (from < to) __VA_ARGS__;                                                              \
        }                                                                                            \
    }

/* Written past the cache: nobody reads `out` before the next pass, and to fetch its lines first would be a fourth stream. */
static void add(const float *x, const float *v, float *out, float factor, int64_t from, int64_t to) {
    int64_t i = from;
#ifdef __AVX512F__
    for (; i < to && ((uintptr_t)(out + i) & 63); i++) out[i] = x[i] + factor * v[i];
    __m512 f = _mm512_set1_ps(factor);
    for (; i + 16 <= to; i += 16)
        _mm512_stream_ps(out + i, _mm512_fmadd_ps(f, _mm512_loadu_ps(v + i), _mm512_loadu_ps(x + i)));
    _mm_sfence();
#endif
#pragma omp simd
    for (int64_t j = i; j < to; j++) out[j] = x[j] + factor * v[j];
}

/* out = x + factor · v */
void add_lists(int64_t count, const float *const *x, const float *const *v, float *const *out, const int64_t *sizes,
               int64_t total, float factor, int64_t use) {
#pragma omp parallel num_threads(use)
    EACH_PIECE(count, sizes, total, add(x[t], v[t], out[t], factor, from, to))
}

/* out = x, by one thread: for short tensors */
void copy_lists(int64_t count, const float *const *x, float *const *out, const int64_t *sizes) {
    for (int64_t t = 0; t < count; t++) memcpy(out[t], x[t], sizes[t] * sizeof(float));
}

static double products(const float *x, const float *y, int64_t from, int64_t to) {
    double sum = 0.0;
    for (int64_t begin = from; begin < to; begin += PIECE) {
        int64_t end = begin + PIECE < to ? begin + PIECE : to;
        float part = 0.0f;
#pragma omp simd reduction(+ : part)
        for (int64_t i = begin; i < end; i++) part += x[i] * y[i];
        sum += part;
    }
    return sum;
}

/* *result = Σ x² */
void sum_of_squares(int64_t count, const float *const *x, const int64_t *sizes, int64_t total, double *result, int64_t use) {
    double parts[MOST_THREADS] = {0};
    if (use > MOST_THREADS) use = MOST_THREADS;
#pragma omp parallel num_threads(use)
    {
        double sum = 0.0;
        EACH_PIECE(count, sizes, total, sum += products(x[t], x[t], from, to))
        parts[omp_get_thread_num()] = sum;
    }
    *result = 0.0;
    for (int64_t i = 0; i < use; i++) *result += parts[i];
}

/* result[t] = Σ x[t] · y[t], tensor by tensor; result[0] = NaN and nothing else if there is no memory for it */
void products_of_each(int64_t count, const float *const *x, const float *const *y, const int64_t *sizes, int64_t total,
                      double *result, int64_t use) {
    if (use > MOST_THREADS) use = MOST_THREADS;
    double *parts = calloc(use * count + 1, sizeof(double));
    if (!parts) {
        if (count) result[0] = NAN;
        return;
    }
#pragma omp parallel num_threads(use)
    EACH_PIECE(count, sizes, total, parts[thread * count + t] = products(x[t], y[t], from, to))
    for (int64_t t = 0; t < count; t++) {
        result[t] = 0.0;
        for (int64_t i = 0; i < use; i++) result[t] += parts[i * count + t];
    }
    free(parts);
}

static void add_scaled(const float *x, const float *v, float *out, float factor, int64_t from, int64_t to) {
#pragma omp simd
    for (int64_t i = from; i < to; i++) out[i] = x[i] + factor * v[i];
}

/* out[t] = x[t] + factors[t] · v[t]; `out` may be one of them */
void add_to_each(int64_t count, const float *const *x, const float *const *v, float *const *out, const int64_t *sizes,
                 int64_t total, const float *factors, int64_t use) {
#pragma omp parallel num_threads(use)
    EACH_PIECE(count, sizes, total, add_scaled(x[t], v[t], out[t], factors[t], from, to))
}

/* For the elements of this thread, in BLOCKs the last of which comes first: BODY sees tensor number `t` and `begin` to `end` of
   it, at most a PIECE. */
#define EACH_PIECE_BACKWARDS(count, sizes, total, ...)                                                     \
    {                                                                                                      \
        int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();                            \
        int64_t low = (total) * thread / threads, high = (total) * (thread + 1) / threads, base = (total); \
        for (int64_t t = (count) - 1; t >= 0 && base > low; t--) {                                         \
            base -= (sizes)[t];                                                                            \
            int64_t from = low > base ? low - base : 0;                                                    \
            int64_t to = high - base < (sizes)[t] ? high - base : (sizes)[t];                              \
            for (int64_t last = to; last > from; last -= BLOCK) {                                          \
                int64_t begin = last - BLOCK > from ? last - BLOCK : from, end;                            \
                for (; begin < last; begin = end) {                                                        \
                    end = last - (last - begin - 1) / PIECE * PIECE;                                       \
                    __VA_ARGS__;                                                                           \
                }                                                                                          \
            }                                                                                              \
        }                                                                                                  \
    }

#define AVERAGE(X)                           \
    float value = a[i] + weight * (X - a[i]); \
    a[i] = value;                            \
    part += value * value

/* a ← a + weight · (b − a); returns Σ a². */
static __attribute__((noinline)) float average(float *restrict a, const float *restrict b, int64_t from, int64_t to,
                                               float weight) {
    float part = 0.0f;
#pragma omp simd reduction(+ : part)
    for (int64_t i = from; i < to; i++) { AVERAGE(b[i]); }
    return part;
}

/* e ← e + weight · (x − e), and *result = Σ e². Backwards: what the norm of x read last is still in the cache. */
void average_lists(int64_t count, float *const *e, const float *const *x, const int64_t *sizes, int64_t total, float weight,
                   double *result, int64_t use) {
    double parts[MOST_THREADS] = {0};
    if (use > MOST_THREADS) use = MOST_THREADS;
#pragma omp parallel num_threads(use)
    {
        double sum = 0.0;
        EACH_PIECE_BACKWARDS(count, sizes, total, sum += average(e[t], x[t], begin, end, weight))
        parts[omp_get_thread_num()] = sum;
    }
    *result = 0.0;
    for (int64_t i = 0; i < use; i++) *result += parts[i];
}

/* What Adam's step on one tensor takes: 1 − β1, β2, 1 − β2, √(1 − β2ᵗ), −lr / (1 − β1ᵗ), ε, decay of the weights (1: none)
   and weight of the weights in the gradient (0: none). */
typedef struct {
    float mean, keep, square, correction, step, eps, decay, coupled;
} Rates;

#ifdef __FP_FAST_FMAF
/* torch's kernel rounds v differently in its vector loop and in its loop over what is left. */
#define VECTOR_SQUARE fmaf(r->square * g[i], g[i], v[i] * r->keep)
#define REST_SQUARE fmaf(v[i], r->keep, r->square * g[i] * g[i])
#define ADAM(SQUARE)                                               \
    float mean = fmaf(r->mean, g[i] - m[i], m[i]), square = SQUARE; \
    m[i] = mean, v[i] = square;                                    \
    p[i] += r->step * mean / (sqrtf(square) / r->correction + r->eps)

/* m ← β1 m + (1 − β1) g,  v ← β2 v + (1 − β2) g²,  p ← p − lr m̂ / (√v̂ + ε), for the elements `from` to `to`. */
static void adam(float *restrict p, const float *restrict given, float *restrict m, float *restrict v, int64_t from, int64_t to,
                 int64_t body, const Rates *r) {
    float decayed[PIECE];
    const float *g = given;
    if (r->decay != 1.0f)
        for (int64_t i = from; i < to; i++) p[i] *= r->decay;
    if (r->coupled != 0.0f) {
        for (int64_t i = from; i < to; i++) decayed[i - from] = fmaf(p[i], r->coupled, given[i]);
        g = decayed - from;
    }
    int64_t middle = body < from ? from : body > to ? to : body;
#pragma omp simd
    for (int64_t i = from; i < middle; i++) { ADAM(VECTOR_SQUARE); }
    for (int64_t i = middle; i < to; i++) { ADAM(REST_SQUARE); }
}

/* Both in one loop: g is read once. */
static __attribute__((noinline)) float adam_and_average(float *restrict p, const float *restrict g, float *restrict m,
                                                        float *restrict v, float *restrict a, int64_t from, int64_t to,
                                                        const Rates *r, float weight) {
    float part = 0.0f;
#pragma omp simd reduction(+ : part)
    for (int64_t i = from; i < to; i++) {
        ADAM(VECTOR_SQUARE);
        AVERAGE(g[i]);
    }
    return part;
}
#endif

/* One step of torch's fused Adam, t ← t + 1 included, over tensors p with gradients g and state m, v, t; where `e` is given, also
   e ← e + weight · (g − e), and *result = Σ e² (0 without). `options` are lr, β1, β2, ε, weight decay; `decoupled` is AdamW.
   `lanes` are those of the vectors that torch's own kernel works in. *result = −1: nothing was done. */
void adam_lists(int64_t count, float *const *p, const float *const *g, float *const *m, float *const *v, float *const *steps,
                float *const *e, const int64_t *sizes, int64_t total, const double *options, int64_t decoupled, int64_t lanes,
                float weight, double *result, int64_t use) {
    *result = -1.0;
#ifdef __FP_FAST_FMAF
    double lr = options[0], beta1 = options[1], beta2 = options[2], decay = options[4];
    Rates *rates = malloc(sizeof(Rates) * (count + !count));
    if (!rates) return;
    for (int64_t t = 0; t < count; t++) {
        *steps[t] += 1.0f;
        if (t && *steps[t] == *steps[t - 1]) {
            rates[t] = rates[t - 1];
            continue;
        }
        Rates r = {1.0 - beta1, beta2, 1.0 - beta2, sqrt(1.0 - pow(beta2, *steps[t])), -lr / (1.0 - pow(beta1, *steps[t])),
                   options[3], decoupled ? 1.0 - lr * decay : 1.0, decoupled ? 0.0 : decay};
        rates[t] = r;
    }
    double parts[MOST_THREADS] = {0};
    if (use > MOST_THREADS) use = MOST_THREADS;
#pragma omp parallel num_threads(use)
    {
        double sum = 0.0;
        EACH_PIECE_BACKWARDS(count, sizes, total, {
            int64_t body = sizes[t] - sizes[t] % lanes;
            const Rates *r = rates + t;
            if (e && end <= body && r->decay == 1.0f && r->coupled == 0.0f) {
                sum += adam_and_average(p[t], g[t], m[t], v[t], e[t], begin, end, r, weight);
            } else {
                adam(p[t], g[t], m[t], v[t], begin, end, body, r);
                if (e) sum += average(e[t], g[t], begin, end, weight);
            }
        })
        parts[omp_get_thread_num()] = sum;
    }
    free(rates);
    *result = 0.0;
    for (int64_t i = 0; i < use; i++) *result += parts[i];
#endif
}
