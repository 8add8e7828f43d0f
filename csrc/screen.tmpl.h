/* screen: the k largest of theta' without making most of the noise.
 *
 * A word of the generator bounds the Z made of it from above, Z <= T unless word <= cut(T). So, given a level that the
 * k-th largest of most draws reaches, theta_j + w_j Z_j can reach it only if its word is at most
 * cut((level - theta_j) / w_j): an integer comparison for each word. What passes is made and compared exactly; a draw
 * whose k-th largest does not reach the level after all is done again in full. So the level changes the time, never the
 * result. It is the lowest k-th largest of the first draws of the row; in long items, where a level in the far tail lets
 * little pass, of fewer draws, and lower by their range.
 */
#ifndef PT_REAL
#error "screen.tmpl.h is a template: include it from core.tmpl.h"
#endif

#define PT_PILOT 16                 /* draws that set the level */
#define PT_PILOT_LONG 4             /* the same in long items */
#define PT_SCREEN_ENTRIES (1 << 20) /* of all heaps of a task together */
#define PT_SCREEN_MARGIN 1e-4

/* How many words of a block bound a draw from above: one for each coordinate, or for each pair where normal. */
static inline int PT_NAME(lead_words)(pt_noise_kind kind) {
    if (PT_F64)
        return kind == PT_NORMAL ? 1 : 2;
    return kind == PT_NORMAL ? 2 : 4;
}

static inline int PT_NAME(lead_word)(pt_noise_kind kind, int i) {
    if (PT_F64)
        return kind == PT_NORMAL ? 0 : 2 * i;
    return kind == PT_NORMAL ? 2 * i : i;
}

static inline int64_t PT_NAME(pilot_draws)(const pt_job *job) {
    return job->n >= PT_LONG ? PT_PILOT_LONG : PT_PILOT;
}

/* Fewer draws of a row in a task are done in full. */
static inline int64_t PT_NAME(fewest_screened)(const pt_job *job) {
    return 3 * PT_NAME(pilot_draws)(job);
}

/* Can n_m draws a row be screened? */
static int PT_NAME(may_screen)(const pt_job *job, int64_t n_m) {
    return job->problem.top > 0 && job->problem.lanes == 1 && !job->direction &&
           job->sampler <= PT_ANTITHETIC && !job->noise.multiplicative &&
           job->noise.kind <= PT_LOGISTIC && job->n >= 4 * job->problem.top &&
           n_m >= PT_NAME(fewest_screened)(job);
}

static int PT_NAME(screens)(const pt_job *job, const pt_wave *wave) {
    return !wave->plain && !wave->target && !wave->clipped && PT_NAME(may_screen)(job, wave->n_m);
}

/* Draws that are screened together: each has a heap. */
static int64_t PT_NAME(heaps)(const pt_job *job) {
    const int64_t fit = PT_SCREEN_ENTRIES / job->problem.top;
    return fit < 1 ? 1 : fit < PT_GROUP ? fit : PT_GROUP;
}

/* Largest 2^32 u for which a noise made of u may exceed t, with room for rounding: exp(-t^2 / 2) for a normal pair's
 * radius; exp(-t) bounds the tails of Gumbel, Laplace and logistic. */
static inline float PT_NAME(cut_of)(int normal, float t) {
    const float share = exp_f32(normal ? -0.5f * t * t : -t);
    return (t > 0 ? share : 1) * 4294967296.0f * (1 + (float)PT_SCREEN_MARGIN) + 2;
}

/* bound[j] = cut_of(what Z_j needs to reach the level), 0 for entries that are left out. */
static void PT_NAME(bound_entries)(const pt_job *job, int64_t row, double level,
                                   float *restrict bound) {
    const PT_REAL *restrict theta = PT_NAME(theta_row)(job, row);
    const double *scale = job->noise.scale;
    const int normal = job->noise.kind == PT_NORMAL;
    const double rounding = 8 * (PT_F64 ? 0x1p-53 : 0x1p-24), size = level < 0 ? -level : level;
    const float shift = (float)job->noise.shift, slack = 1 - (float)PT_SCREEN_MARGIN;
    const double inverse = 1 / (double)(PT_REAL)job->epsilon[row];
    if (!scale)
        for (int64_t j = 0; j < job->n; j++) {
            const double x = (double)theta[j];
            const double gap = level - x - rounding * (size + (x < 0 ? -x : x));
            const float cut = PT_NAME(cut_of)(normal, ((float)(gap * inverse) - shift) * slack);
            bound[j] = theta[j] > -PT_INFINITY ? cut : 0;
        }
    else
        for (int64_t j = 0; j < job->n; j++) {
            const double w = (double)(PT_REAL)PT_NAME(width)(job, row, j), x = (double)theta[j];
            const double gap = level - x - rounding * (size + (x < 0 ? -x : x));
            const float t = w > 0 ? (float)(gap / w) : gap > 0 ? __builtin_inff() : 0;
            bound[j] = x > -PT_INFINITY ? PT_NAME(cut_of)(normal, (t - shift) * slack) : 0;
        }
}

/* cut[i][b]: bound of lead word i of block b, over the coordinates that it serves. Periodic: the last PT_CHUNK entries
 * repeat the first, so that a chunk that goes on into the next draw reads straight on.
 *   bound [tmp]  n floats */
static void PT_NAME(make_cuts)(const pt_job *job, int64_t row, double level, int64_t n_blocks,
                               uint32_t *cut, int64_t stride, float *bound) {
    const pt_noise_kind kind = job->noise.kind;
    const int64_t per_block = PT_NAME(noise_per_block)(kind);
    const int n_lead = PT_NAME(lead_words)(kind);
    const int64_t serves = per_block / n_lead;
    PT_NAME(bound_entries)(job, row, level, bound);
    for (int i = 0; i < n_lead; i++) {
        for (int64_t b = 0; b < n_blocks; b++) {
            const int64_t j = b * per_block + i * serves;
            const float first = j < job->n ? bound[j] : 0;
            const float second = serves == 2 && j + 1 < job->n ? bound[j + 1] : 0;
            const float most = first > second ? first : second;
            cut[i * stride + b] = most >= 4294967040.0f ? 0xFFFFFFFFu : (uint32_t)most;
        }
        for (int64_t b = n_blocks; b < n_blocks + PT_CHUNK; b++)
            cut[i * stride + b] = cut[i * stride + b - n_blocks];
    }
}

/* Blocks that passed, to be made together. */
typedef struct {
    pt_words words;
    uint32_t flip[PT_CHUNK];
    int32_t draw[PT_CHUNK], block[PT_CHUNK];
    int count;
} PT_NAME(survivors);

/* Offer what reaches the level: a draw's k largest all do, or the draw is done again. */
static void PT_NAME(try_survivors)(const pt_job *job, int64_t row, PT_REAL level,
                                   PT_NAME(survivors) * s, PT_NAME(top) * tops) {
    const PT_REAL *theta = PT_NAME(theta_row)(job, row);
    const double *scale = job->noise.scale;
    const PT_NAME(noise_source) source = PT_NAME(source)(job);
    const int64_t per_block = PT_NAME(noise_per_block)(job->noise.kind);
    PT_REAL w = (PT_REAL)job->epsilon[row];
    PT_NAME(noise_chunk) chunk;
    PT_NAME(noise_transform)(&source, s->flip, &s->words, 0, &chunk);
    for (int i = 0; i < s->count; i++)
        for (int64_t r = 0; r < per_block; r++) {
            const int64_t j = s->block[i] * per_block + r;
            if (j >= job->n || !(theta[j] > -PT_INFINITY))
                continue;
            w = scale ? (PT_REAL)PT_NAME(width)(job, row, j) : w;
            const PT_REAL value = PT_NAME(moved)(theta[j], w, chunk.z[r][i]);
            if (value >= level)
                PT_NAME(top_offer)(&tops[s->draw[i]], value, (int32_t)j);
        }
    s->count = 0;
}

/* Bit l of the result: block l of the chunk passed. */
static inline uint64_t PT_NAME(mark)(const pt_words *words, const uint32_t *flip, int flipped,
                                     pt_noise_kind kind, const uint32_t *cut, int64_t stride) {
    uint8_t passed[PT_CHUNK];
    memset(passed, 0, sizeof passed);
    for (int i = 0; i < PT_NAME(lead_words)(kind); i++) {
        const uint32_t *word = words->word[PT_NAME(lead_word)(kind, i)], *bound = cut + i * stride;
        if (flipped)
            for (int l = 0; l < PT_CHUNK; l++)
                passed[l] |= (word[l] ^ flip[l]) <= bound[l];
        else
            for (int l = 0; l < PT_CHUNK; l++)
                passed[l] |= word[l] <= bound[l];
    }
    uint64_t bits = 0;
    for (int i = 0; i < PT_CHUNK / 8; i++) { /* eight bytes of 0 or 1 to eight bits, lowest first */
        uint64_t eight = 0;
        for (int l = 0; l < 8; l++)
            eight |= (uint64_t)passed[8 * i + l] << (8 * l);
        bits |= (eight * 0x0102040810204080u) >> 56 << (8 * i);
    }
    return bits;
}

/* Draws m .. m + count - 1 (count <= PT_GROUP) of a row: offer whatever passes to their tops. */
static void PT_NAME(screen_draws)(const pt_job *job, int64_t row, int64_t m, int64_t count,
                                  int64_t n_blocks, const uint32_t *cut, int64_t stride,
                                  PT_REAL level, PT_NAME(top) * tops) {
    const int antithetic = job->sampler == PT_ANTITHETIC;
    const int flipped = antithetic && !PT_NAME(flips_sign)(job->noise.kind);
    PT_NAME(survivors) s = { .count = 0 };
    PT_NAME(block_walk) walk;
    pt_counters counters;
    pt_words words;
    uint32_t flip[PT_CHUNK];
    PT_NAME(walk_start)(&walk, PT_NAME(address)(job, row, m), 0, n_blocks, antithetic, &counters);
    int64_t draw = 0, block = 0;
    for (int64_t f = 0; f < count * n_blocks; f += PT_CHUNK) {
        const int n = count * n_blocks - f < PT_CHUNK ? (int)(count * n_blocks - f) : PT_CHUNK;
        PT_NAME(walk_next)(&walk, &counters, flip);
        pt_philox_chunk(&counters, job->key, PT_CHUNK, &words);
        uint64_t bits = PT_NAME(mark)(&words, flip, flipped, job->noise.kind, cut + block, stride);
        bits &= n < PT_CHUNK ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
        for (; bits; bits &= bits - 1) {
            const int l = __builtin_ctzll(bits), i = s.count++;
            for (int w = 0; w < 4; w++)
                s.words.word[w][i] = words.word[w][l];
            s.flip[i] = antithetic ? flip[l] : 0;
            const uint32_t at = (uint32_t)(block + l), wraps = at / (uint32_t)n_blocks;
            s.draw[i] = (int32_t)draw + (int32_t)wraps;
            s.block[i] = (int32_t)(at - wraps * (uint32_t)n_blocks);
            if (s.count == PT_CHUNK)
                PT_NAME(try_survivors)(job, row, level, &s, tops);
        }
        draw += (block + PT_CHUNK) / n_blocks;
        block = (block + PT_CHUNK) % n_blocks;
    }
    PT_NAME(try_survivors)(job, row, level, &s, tops);
}

/* Take a draw's code and value; 0 if its k-th largest does not reach the level. */
static int PT_NAME(take_top)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m,
                             double level, PT_NAME(top) * t) {
    const int64_t k = job->problem.top;
    if (t->size < k || (double)t->entries[0].value < level)
        return 0;
    int32_t *code = pt_wave_code(wave, k, row, m);
    double value = 0;
    if (wave->values) { /* best first, as code_objective adds: sort in place, the heap is no longer needed */
        for (int64_t end = k - 1; end > 0; end--) {
            const PT_NAME(entry) worst = t->entries[0], last = t->entries[end];
            PT_NAME(top_sink)(t->entries, end, last);
            t->entries[end] = worst;
        }
        for (int64_t i = 0; i < k; i++) {
            code[i] = t->entries[i].index;
            value += (double)t->entries[i].value;
        }
        wave->values[(row - wave->row0) * wave->n_m + (m - wave->m0)] = value;
    } else
        PT_NAME(top_finish)(t, code);
    return 1;
}

/* Lowest and highest k-th largest of `count` draws that are solved and still stand in the buffer. */
static void PT_NAME(pilot_range)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m,
                                 int64_t count, const PT_REAL *buffer, double range[2]) {
    const int64_t k = job->problem.top, step = PT_NAME(padded)(job);
    for (int64_t d = 0; d < count; d++) {
        const double last = (double)buffer[d * step + pt_wave_code(wave, k, row, m + d)[k - 1]];
        range[0] = last < range[0] ? last : range[0];
        range[1] = last > range[1] ? last : range[1];
    }
}

/* Scratch: that of solve_plainly, then the cuts, then a heap for each draw of a group. */
static size_t PT_NAME(screen_work_size)(const pt_job *job, int64_t n_m) {
    if (!PT_NAME(may_screen)(job, n_m))
        return 0;
    const size_t cuts =
        (size_t)PT_NAME(padded)(job) + 4 * PT_CHUNK; /* at most a lead word an item */
    return PT_NAME(aligned)(cuts * sizeof(uint32_t)) +
           PT_NAME(aligned)((size_t)(PT_NAME(heaps)(job) * job->problem.top) *
                            sizeof(PT_NAME(entry)));
}

/* Draws m .. m + count - 1 of one row; `first` is the flat number of draw m. */
static pt_status PT_NAME(solve_screened)(const pt_job *job, const pt_wave *wave, int64_t first,
                                         int64_t count, char *work, pt_poll_fn stop, void *stop_ctx,
                                         pt_error *err) {
    const int64_t row = wave->row0 + first / wave->n_m, m = wave->m0 + first % wave->n_m,
                  k = job->problem.top;
    const int64_t step = PT_NAME(padded)(job),
                  n_blocks = step / PT_NAME(noise_per_block)(job->noise.kind);
    const int64_t stride = n_blocks + PT_CHUNK, together = PT_NAME(group_size)(job, wave->n_m, 0);
    PT_REAL *buffer = PT_NAME(slice)(&work, (size_t)(together * step) * sizeof(PT_REAL));
    void *solver_work = PT_NAME(slice)(&work, job->solve->work_size(&job->problem));
    uint32_t *cut = PT_NAME(slice)(&work, ((size_t)step + 4 * PT_CHUNK) * sizeof(uint32_t));
    PT_NAME(entry) *heap = (PT_NAME(entry) *)(void *)work;
    PT_NAME(top) tops[PT_GROUP];
    const int64_t pilots = PT_NAME(pilot_draws)(job);
    double range[2] = { PT_INFINITY, -PT_INFINITY };
    int64_t d = 0;
    for (int64_t n; d < pilots; d += n) {
        n = pilots - d < together ? pilots - d : together;
        pt_status status =
            PT_NAME(solve_group)(job, wave, first + d, n, buffer, solver_work, stop, stop_ctx, err);
        if (status != PT_OK)
            return status;
        PT_NAME(pilot_range)(job, wave, row, m + d, n, buffer, range);
    }
    const double below = pilots < PT_PILOT ? range[1] - range[0] : 0;
    const double level = (double)(PT_REAL)(range[0] - below);
    PT_NAME(make_cuts)(job, row, level, n_blocks, cut, stride, (float *)(void *)buffer);
    for (int64_t n; d < count; d += n) {
        n = count - d < PT_NAME(heaps)(job) ? count - d : PT_NAME(heaps)(job);
        for (int64_t i = 0; i < n; i++)
            tops[i] = (PT_NAME(top)){ heap + i * k, 0, k };
        PT_NAME(screen_draws)(job, row, m + d, n, n_blocks, cut, stride, (PT_REAL)level, tops);
        for (int64_t i = 0; i < n; i++) {
            if (PT_NAME(take_top)(job, wave, row, m + d + i, level, &tops[i]))
                continue;
            pt_status status = PT_NAME(solve_group)(job, wave, first + d + i, 1, buffer,
                                                    solver_work, stop, stop_ctx, err);
            if (status != PT_OK)
                return status;
        }
        if (stop(stop_ctx))
            return PT_E_STOPPED;
    }
    return PT_OK;
}

/* Row by row where screening pays, otherwise in full. */
static pt_status PT_NAME(solve)(const pt_job *job, const pt_wave *wave, int64_t first,
                                int64_t count, void *work, pt_poll_fn stop, void *stop_ctx,
                                pt_error *err) {
    if (!PT_NAME(screens)(job, wave))
        return PT_NAME(solve_plainly)(job, wave, first, count, work, stop, stop_ctx, err);
    for (int64_t f = first, n; f < first + count; f += n) {
        const int64_t left = wave->n_m - f % wave->n_m;
        n = first + count - f < left ? first + count - f : left;
        pt_status status =
            n < PT_NAME(fewest_screened)(job)
                ? PT_NAME(solve_plainly)(job, wave, f, n, work, stop, stop_ctx, err)
                : PT_NAME(solve_screened)(job, wave, f, n, work, stop, stop_ctx, err);
        if (status != PT_OK)
            return status;
    }
    return PT_OK;
}
