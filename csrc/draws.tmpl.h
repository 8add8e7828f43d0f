/* draws: from addresses to perturbed items theta', and from these to codes, objectives and clip counts. */
#ifndef PT_REAL
#error "draws.tmpl.h is a template: include it from core.tmpl.h"
#endif

/* ---- scratch ---- */

static inline size_t PT_NAME(aligned)(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* Hand out the next slice of a work block. */
static inline void *PT_NAME(slice)(char **work, size_t bytes) {
    void *p = *work;
    *work += PT_NAME(aligned)(bytes);
    return p;
}

/* Items of a draw and their second thresholds, rounded up to whole blocks. */
static inline int64_t PT_NAME(padded)(const pt_job *job) {
    const int64_t per_block = PT_NAME(noise_per_block)(job->noise.kind);
    return (job->n + job->problem.n_twice + per_block - 1) / per_block * per_block;
}

/* Draws perturbed together. An oracle gets all of a wave's row, so that `batched` means what it says. */
static int64_t PT_NAME(group_size)(const pt_job *job, int64_t n_m, int interleaved) {
    if (job->problem.serial)
        return n_m;
    if (interleaved)
        return PT_LANES;
    const int64_t fit = PT_GROUP_ITEMS / job->n;
    return fit < 1 ? 1 : fit > PT_GROUP ? PT_GROUP : fit;
}

/* ---- perturbation ---- */

static const PT_REAL *PT_NAME(theta_row)(const pt_job *job, int64_t row) {
    return (const PT_REAL *)job->theta + row * job->n;
}

/* epsilon sigma_j: what one unit of noise moves theta_j by. */
static inline double PT_NAME(width)(const pt_job *job, int64_t row, int64_t j) {
    return job->noise.scale ? job->epsilon[row] * job->noise.scale[j] : job->epsilon[row];
}

static inline PT_NAME(draw_address) PT_NAME(address)(const pt_job *job, int64_t row, int64_t m) {
    return (PT_NAME(draw_address)){ (uint64_t)(row + job->row_offset), (uint32_t)m };
}

static inline PT_NAME(noise_source) PT_NAME(source)(const pt_job *job) {
    return (
        PT_NAME(noise_source)){ &job->noise,
                                job->key,
                                job->sampler == PT_ANTITHETIC || job->direction,
                                job->sampler,
                                (uint32_t)(job->direction ? job->n_samples / 2 : job->n_samples),
                                job->strata_key };
}

/* What overflows becomes the largest real: an infinity would leave the entry out. */
static inline PT_REAL PT_NAME(finite)(PT_REAL x) {
    x = x < PT_LARGEST ? x : PT_LARGEST;
    return x > -PT_LARGEST ? x : -PT_LARGEST;
}

/* theta' of one entry: -inf stays; additive and multiplicative noise. */
static inline PT_REAL PT_NAME(moved)(PT_REAL theta, PT_REAL w, PT_REAL z) {
    return theta > -PT_INFINITY ? PT_NAME(finite)(theta + w * z) : theta;
}

static inline PT_REAL PT_NAME(scaled)(PT_REAL theta, PT_REAL w, PT_REAL z, PT_REAL c) {
    const PT_REAL factor = PT_NAME(finite)(PT_NAME(exp)(w * z - c));
    return theta > -PT_INFINITY ? PT_NAME(finite)(theta * factor) : theta;
}

/* z of coordinates c0 .. c0 + n - 1 of one draw to theta', in place. */
static void PT_NAME(perturb_part)(const pt_job *job, int64_t row, int64_t c0, int64_t n,
                                  PT_REAL *restrict z) {
    const PT_REAL *restrict theta = PT_NAME(theta_row)(job, row) + c0;
    if (job->noise.multiplicative) {
        double w = job->epsilon[row], c = job->noise.scale ? 0 : pt_noise_log_mean(&job->noise, w);
        for (int64_t j = 0; j < n; j++) {
            if (job->noise.scale) {
                w = PT_NAME(width)(job, row, c0 + j);
                c = pt_noise_log_mean(&job->noise, w);
            }
            z[j] = PT_NAME(scaled)(theta[j], (PT_REAL)w, z[j], (PT_REAL)c);
        }
    } else if (job->noise.scale) {
        for (int64_t j = 0; j < n; j++) {
            const PT_REAL w = (PT_REAL)PT_NAME(width)(job, row, c0 + j);
            z[j] = PT_NAME(moved)(theta[j], w, z[j]);
        }
    } else {
        const PT_REAL w = (PT_REAL)job->epsilon[row];
        for (int64_t j = 0; j < n; j++)
            z[j] = PT_NAME(moved)(theta[j], w, z[j]);
    }
}

static void PT_NAME(perturb_row)(const pt_job *job, int64_t row, PT_REAL *restrict z) {
    PT_NAME(perturb_part)(job, row, 0, job->n, z);
}

/* The same for PT_LANES draws of one row side by side, additive noise of one width: the common case. */
static void PT_NAME(perturb_lanes_alike)(const pt_job *job, int64_t row, PT_REAL *restrict z) {
    const PT_REAL *restrict theta = PT_NAME(theta_row)(job, row);
    const PT_REAL w = (PT_REAL)job->epsilon[row];
    for (int64_t j = 0; j < job->n; j++)
        for (int l = 0; l < PT_LANES; l++)
            z[j * PT_LANES + l] = PT_NAME(moved)(theta[j], w, z[j * PT_LANES + l]);
}

/* The same for any PT_LANES draws side by side. */
static void PT_NAME(perturb_lanes)(const pt_job *job, const int64_t row[PT_LANES],
                                   PT_REAL *restrict z) {
    const pt_noise *noise = &job->noise;
    int alike = !noise->scale && !noise->multiplicative;
    for (int l = 1; l < PT_LANES; l++)
        alike &= row[l] == row[0];
    if (alike) {
        PT_NAME(perturb_lanes_alike)(job, row[0], z);
        return;
    }
    const PT_REAL *theta[PT_LANES];
    PT_REAL w[PT_LANES], c[PT_LANES];
    for (int l = 0; l < PT_LANES; l++) {
        theta[l] = PT_NAME(theta_row)(job, row[l]);
        w[l] = (PT_REAL)job->epsilon[row[l]];
        c[l] = noise->multiplicative && !noise->scale
                   ? (PT_REAL)pt_noise_log_mean(noise, job->epsilon[row[l]])
                   : 0;
    }
    for (int64_t j = 0; j < job->n; j++) {
        PT_REAL *restrict out = z + j * PT_LANES;
        PT_REAL x[PT_LANES];
        for (int l = 0; l < PT_LANES; l++)
            x[l] = theta[l][j];
        for (int l = 0; noise->scale && l < PT_LANES; l++) {
            const double width = PT_NAME(width)(job, row[l], j);
            w[l] = (PT_REAL)width;
            c[l] = noise->multiplicative ? (PT_REAL)pt_noise_log_mean(noise, width) : 0;
        }
        if (noise->multiplicative)
            for (int l = 0; l < PT_LANES; l++)
                out[l] = PT_NAME(scaled)(x[l], w[l], out[l], c[l]);
        else
            for (int l = 0; l < PT_LANES; l++)
                out[l] = PT_NAME(moved)(x[l], w[l], out[l]);
    }
}

/* Raw noise (or scores) of n_draws draws of coordinates from c0 (a multiple of the block) on, n_items each.
 *   out [out]  n_draws x n_items, n_items a multiple of per_block */
static void PT_NAME(raw_noise)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m,
                               int64_t n_draws, int64_t c0, int64_t n_items, int score,
                               PT_REAL *out) {
    if (job->noise.kind == PT_USER_NOISE) {
        const PT_REAL *from = (const PT_REAL *)(score ? wave->score : wave->z) + m * job->n;
        for (int64_t d = 0; d < n_draws; d++)
            for (int64_t j = 0; j < n_items; j++)
                out[d * n_items + j] = c0 + j < job->n ? from[d * job->n + c0 + j] : (PT_REAL)0;
        return;
    }
    const PT_NAME(noise_source) source = PT_NAME(source)(job);
    const int64_t per_block = PT_NAME(noise_per_block)(job->noise.kind);
    PT_NAME(noise_draws)
    (&source, PT_NAME(address)(job, row, m), n_draws, c0 / per_block, n_items / per_block, score,
     out);
}

/* How far pair m of a row goes along its direction: Rayleigh, one draw in each of n_samples / 2 equal shares. */
static double PT_NAME(radius)(const pt_job *job, int64_t row, int64_t m) {
    const uint64_t at = (uint64_t)(row + job->row_offset);
    const uint32_t count = (uint32_t)(job->n_samples / 2);
    const uint32_t of_row[4] = { 0xFFFFFFFFu, 0, (uint32_t)at, (uint32_t)(at >> 32) };
    const uint32_t of_draw[4] = { 0xFFFFFFFEu, (uint32_t)m, (uint32_t)at, (uint32_t)(at >> 32) };
    uint32_t key[4], word[4];
    pt_philox_block(of_row, job->key, key);
    pt_philox_block(of_draw, job->key, word);
    const double share = (double)pt_stratum((uint32_t)m, count, key);
    const double left = ((double)count - share - ((double)word[0] + 0.5) * 0x1p-32) / (double)count;
    return __builtin_sqrt(-2.0 * log_f64(left));
}

/* z of draw m to its part across the direction plus or minus the radius along it, in place; z of odd draws comes with
 * its sign turned. `step` from one entry to the next. */
static void PT_NAME(direct)(const pt_job *job, int64_t row, int64_t m, int64_t step, PT_REAL *z) {
    const double *along = job->direction + row * job->n, sign = m & 1 ? -1 : 1;
    double part[PT_DOT_LANES] = { 0 };
    for (int64_t j = 0; j < job->n; j++)
        part[j % PT_DOT_LANES] += along[j] * (double)z[j * step];
    const double by = sign * (PT_NAME(radius)(job, row, m / 2) - PT_NAME(add_lanes)(part));
    /* -z of an odd draw: its product is turned, too, and sign * by = -radius - <z, h> after both turns */
    for (int64_t j = 0; j < job->n; j++) {
        const double across = sign * (double)z[j * step];
        z[j * step] = (PT_REAL)(across + by * along[j]);
    }
}

/* theta' of draws m .. of one row, draw after draw, `padded` apart. */
static void PT_NAME(perturb_draws)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m,
                                   int64_t n_draws, PT_REAL *out) {
    const int64_t step = PT_NAME(padded)(job);
    if (wave->plain) {
        for (int64_t d = 0; d < n_draws; d++)
            memcpy(out + d * step, PT_NAME(theta_row)(job, row), (size_t)job->n * sizeof(PT_REAL));
        return;
    }
    if (job->n > 2 * PT_COLUMN_BLOCK && !job->direction && job->noise.kind != PT_USER_NOISE) {
        for (int64_t d = 0; d < n_draws; d++) /* while noise is in the first-level cache */
            for (int64_t c0 = 0; c0 < step; c0 += PT_COLUMN_BLOCK) {
                const int64_t items = step - c0 < PT_COLUMN_BLOCK ? step - c0 : PT_COLUMN_BLOCK;
                const int64_t n = job->n - c0 < items ? job->n - c0 : items;
                PT_REAL *part = out + d * step + c0;
                PT_NAME(raw_noise)(job, wave, row, m + d, 1, c0, items, 0, part);
                PT_NAME(perturb_part)(job, row, c0, n, part);
            }
        return;
    }
    PT_NAME(raw_noise)(job, wave, row, m, n_draws, 0, step, 0, out);
    for (int64_t d = 0; d < n_draws; d++) {
        if (job->direction)
            PT_NAME(direct)(job, row, m + d, 1, out + d * step);
        PT_NAME(perturb_row)(job, row, out + d * step);
    }
}

static void PT_NAME(perturb)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m,
                             void *out, void *work) {
    PT_NAME(perturb_draws)(job, wave, row, m, 1, work);
    memcpy(out, work, (size_t)job->n * sizeof(PT_REAL));
}

/* A word whose highest bit is set if one of these is NaN or infinite. */
static inline PT_BITS PT_NAME(any_odd)(const PT_REAL *x, int64_t n) {
    PT_BITS odd = 0;
    for (int64_t j = 0; j < n; j++)
        odd |= PT_NAME(odd)(x[j]);
    return odd;
}

/* PT_LANES rows side by side: entry j of row l to out[j * PT_LANES + l], by squares.
 * look: is there an entry that is not finite? else 0 is returned */
static int PT_NAME(interleave)(const PT_REAL *const from[PT_LANES], int64_t n,
                               PT_REAL *restrict out, int look) {
    enum { width = PT_WIDTH };
    PT_BITS odd = 0;
    int64_t j = 0;
    for (; j + width <= n; j += width) {
        for (int l = 0; l < PT_LANES; l += width) {
            const PT_REAL *rows[width];
            for (int k = 0; k < width; k++)
                rows[k] = from[l + k] + j;
            PT_NAME(turn_vectors)(rows, out + j * PT_LANES + l, PT_LANES);
        }
        if (look)
            odd |= PT_NAME(any_odd)(out + j * PT_LANES, width * PT_LANES);
    }
    const int64_t rest = j;
    for (; j < n; j++)
        for (int l = 0; l < PT_LANES; l++)
            out[j * PT_LANES + l] = from[l][j];
    if (look)
        odd |= PT_NAME(any_odd)(out + rest * PT_LANES, (n - rest) * PT_LANES);
    return odd >> (8 * sizeof odd - 1) != 0;
}

/* theta' of PT_LANES draws side by side. Returns PT_OK, or PT_E_NOT_FINITE of a wave that asks to look. */
static pt_status PT_NAME(perturb_group_lanes)(const pt_job *job, const pt_wave *wave,
                                              const int64_t row[PT_LANES],
                                              const int64_t m[PT_LANES], PT_REAL *out) {
    if (wave->plain || job->noise.kind == PT_USER_NOISE) {
        const PT_REAL *from[PT_LANES];
        for (int l = 0; l < PT_LANES; l++)
            from[l] = wave->plain ? PT_NAME(theta_row)(job, row[l])
                                  : (const PT_REAL *)wave->z + m[l] * job->n;
        const int odd = PT_NAME(interleave)(from, job->n, out, wave->look);
        if (wave->plain)
            return odd ? PT_E_NOT_FINITE : PT_OK;
    } else {
        const PT_NAME(noise_source) source = PT_NAME(source)(job);
        PT_NAME(draw_address) at[PT_LANES];
        for (int l = 0; l < PT_LANES; l++)
            at[l] = PT_NAME(address)(job, row[l], m[l]);
        const int64_t per_block = PT_NAME(noise_per_block)(job->noise.kind);
        PT_NAME(noise_lanes)(&source, at, PT_NAME(padded)(job) / per_block, out);
        for (int l = 0; job->direction && l < PT_LANES; l++)
            PT_NAME(direct)(job, row[l], m[l], PT_LANES, out + l);
    }
    PT_NAME(perturb_lanes)(job, row, out);
    return PT_OK;
}

/* ---- solving ---- */

/* The fixed part of a solution's objective: of its code, or of a dense y. */
static inline double PT_NAME(fixed_part)(const pt_job *job, int64_t row, const int32_t *code,
                                         const void *y) {
    return job->solve->fixed ? job->solve->fixed(&job->problem, row, code, y) : 0.0;
}

static double PT_NAME(objective)(const pt_job *job, int64_t row, const void *y) {
    return PT_NAME(y_objective)(&job->problem, y, PT_NAME(theta_row)(job, row), 1) +
           PT_NAME(fixed_part)(job, row, NULL, y);
}

static inline double PT_NAME(magnitude)(double x) {
    return x < 0 ? -x : x;
}

/* Objectives and clip counts of one solved draw. */
static void PT_NAME(measure)(const pt_job *job, const pt_wave *wave, int64_t row, int64_t m,
                             const int32_t *code, const PT_REAL *theta, int64_t step) {
    const pt_problem *p = &job->problem;
    const int64_t at = (row - wave->row0) * wave->n_m + (m - wave->m0);
    if (wave->values) {
        const double linear = PT_NAME(code_objective)(p, code, theta, step),
                     fixed = PT_NAME(fixed_part)(job, row, code, NULL);
        double value = linear + fixed;
        if (wave->target) {
            const PT_REAL *y = (const PT_REAL *)wave->target + row * job->n;
            const double given = PT_NAME(y_objective)(p, y, theta, step),
                         given_fixed = PT_NAME(fixed_part)(job, row, NULL, y);
            /* All are rounded sums: a difference below their rounding is none. */
            const double size = PT_NAME(magnitude)(linear) + PT_NAME(magnitude)(fixed) +
                                PT_NAME(magnitude)(given) + PT_NAME(magnitude)(given_fixed);
            value -= given + given_fixed;
            if (value < 0 && value > -size * PT_ROUNDING)
                value = 0;
        }
        wave->values[at] = value;
    }
    if (wave->clipped) {
        int64_t count = 0;
        for (int64_t j = 0; j < job->n; j++)
            count += theta[j * step] > 0;
        wave->clipped[at] = (double)count;
    }
}

/* Draws first .. first + count - 1 (count <= the group size), perturbed into buffer, solved, measured. */
static pt_status PT_NAME(solve_group)(const pt_job *job, const pt_wave *wave, int64_t first,
                                      int64_t count, PT_REAL *buffer, void *solver_work,
                                      pt_poll_fn stop, void *stop_ctx, pt_error *err) {
    const pt_problem *p = &job->problem;
    const int lanes = pt_interleaved(p, wave);
    int64_t row[PT_GROUP], m[PT_GROUP];
    for (int64_t d = 0; d < (lanes ? PT_LANES : count < PT_GROUP ? count : PT_GROUP); d++) {
        const int64_t f = first + (d < count ? d : 0);
        row[d] = wave->row0 + f / wave->n_m;
        m[d] = wave->m0 + f % wave->n_m;
    }
    pt_group group = {
        buffer, 1, PT_NAME(padded)(job), count, row, m[0], stop, stop_ctx, wave->look
    };
    if (lanes) {
        group.item_step = PT_LANES;
        group.draw_step = 1;
        const pt_status seen = PT_NAME(perturb_group_lanes)(job, wave, row, m, buffer);
        if (seen != PT_OK)
            return seen;
    } else if (p->serial) {
        PT_NAME(perturb_draws)(job, wave, row[0], m[0], count, buffer);
        for (int64_t d = 1; d < count; d++)
            memmove(buffer + d * p->n, buffer + d * group.draw_step,
                    (size_t)p->n * sizeof(PT_REAL));
        group.draw_step = p->n;
        if (wave->plain)
            group.first = -1;
    } else if (wave->plain && wave->n_m == 1) { /* rows as they lie in theta */
        group.theta = PT_NAME(theta_row)(job, row[0]);
        group.draw_step = p->n;
    } else
        for (int64_t d = 0; d < count;) { /* runs of draws of one row */
            int64_t run = 1;
            while (d + run < count && row[d + run] == row[d])
                run++;
            PT_NAME(perturb_draws)(job, wave, row[d], m[d], run, buffer + d * group.draw_step);
            d += run;
        }
    int32_t *code = pt_wave_code(wave, p->code_len, row[0], m[0]);
    const pt_status status = job->solve->solve(p, &group, code, solver_work, err);
    if (status != PT_OK || (!wave->values && !wave->clipped))
        return status;
    for (int64_t d = 0; d < count; d++) {
        const int64_t r = wave->row0 + (first + d) / wave->n_m,
                      s = wave->m0 + (first + d) % wave->n_m;
        PT_NAME(measure)
        (job, wave, r, s, code + d * p->code_len,
         (const PT_REAL *)group.theta + d * group.draw_step, group.item_step);
    }
    return PT_OK;
}

static size_t PT_NAME(solve_work_size)(const pt_job *job, int64_t n_m) {
    const int both = job->problem.lanes_from > 0;
    const int lanes = job->problem.lanes == PT_LANES && n_m >= job->problem.lanes_from;
    int64_t most = PT_NAME(group_size)(job, n_m, lanes);
    if (both && most < PT_NAME(group_size)(job, n_m, 0))
        most = PT_NAME(group_size)(job, n_m, 0);
    const size_t items = (size_t)most * (size_t)PT_NAME(padded)(job);
    return PT_NAME(aligned)(items * sizeof(PT_REAL)) +
           PT_NAME(aligned)(job->solve->work_size(&job->problem));
}

static pt_status PT_NAME(solve_plainly)(const pt_job *job, const pt_wave *wave, int64_t first,
                                        int64_t count, void *work, pt_poll_fn stop, void *stop_ctx,
                                        pt_error *err) {
    char *at = work;
    const pt_problem *p = &job->problem;
    const int64_t together = PT_NAME(group_size)(job, wave->n_m, pt_interleaved(p, wave));
    const int by_row = wave->code_stride != wave->n_m || p->serial || p->lanes_from > 0;
    PT_REAL *buffer =
        PT_NAME(slice)(&at, (size_t)together * (size_t)PT_NAME(padded)(job) * sizeof(PT_REAL));
    for (int64_t f = first; f < first + count;) {
        int64_t n = first + count - f < together ? first + count - f : together;
        if (by_row) { /* groups end with their row */
            const int64_t left = wave->n_m - f % wave->n_m;
            n = n < left ? n : left;
        }
        pt_status status = PT_NAME(solve_group)(job, wave, f, n, buffer, at, stop, stop_ctx, err);
        if (status != PT_OK)
            return status;
        if (stop(stop_ctx))
            return PT_E_STOPPED;
        f += n;
    }
    return PT_OK;
}
