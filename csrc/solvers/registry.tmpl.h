/* registry: the only list of solvers. */
#ifndef PT_REAL
#error "registry.tmpl.h is a template: include it from core.tmpl.h"
#endif

#include "order.tmpl.h"
#include "solve_again.tmpl.h"
#include "top.tmpl.h"

#include "forest_vectors.tmpl.h"

#include "forest_tree.tmpl.h"
#include "forest_constraints.tmpl.h"
#include "forest_partitions.tmpl.h"

#include "forest_exchanges.tmpl.h"

#include "forest_search.tmpl.h"

#include "forest_thresholds.tmpl.h"

#include "alignment.tmpl.h"
#include "argmax.tmpl.h"
#include "assignment.tmpl.h"
#include "dtw.tmpl.h"
#include "graph_path.tmpl.h"
#include "grid_path.tmpl.h"
#include "oracle.tmpl.h"
#include "permutation.tmpl.h"
#include "ranking.tmpl.h"
#include "spanning_forest.tmpl.h"
#include "top_k.tmpl.h"
#include "viterbi.tmpl.h"

/* clang-format off */
static const pt_solver *const PT_NAME(solvers)[] = {
    &PT_NAME(alignment),
    &PT_NAME(argmax),
    &PT_NAME(assignment),
    &PT_NAME(dtw),
    &PT_NAME(graph_path),
    &PT_NAME(grid_path),
    &PT_NAME(oracle),
    &PT_NAME(permutation),
    &PT_NAME(ranking),
    &PT_NAME(spanning_forest),
    &PT_NAME(top_k),
    &PT_NAME(viterbi_solver),
    NULL,
};
/* clang-format on */
