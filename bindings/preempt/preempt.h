/* Functions of Lua's libraries that can be stopped.
 *
 * A hook stops code in Lua; some C functions of Lua's own run for as long as
 * their arguments say: a pattern that backtracks, table.move over 2^60 places.
 * These do the same, errors included, and look now and then whether their
 * greenlet is to give way or to end.  Scripts in a sandbox have them. */
#ifndef GRB_PREEMPT_H
#define GRB_PREEMPT_H

#include <stdint.h>

#include "limit/limit.h"

typedef struct grb_work {
  lua_State *L;
  gr_state *S;
  size_t steps; /* since it has looked */
} grb_work;

enum { GRB_STEPS = 10000 };

/* So many steps of a few nanoseconds each. */
static inline void grb_spend(grb_work *w, size_t steps) {
  w->steps += steps;
  if (w->steps < GRB_STEPS) return;
  w->steps = 0;
  gr_limit_check(w->L, w->S);
}

/* --- pattern.c ------------------------------------------------------------ */

enum { GRB_CAPTURES = 32 };

typedef struct grb_pattern {
  grb_work work;
  const char *start, *end; /* of the subject */
  const char *last;        /* the end of the pattern */
  int depth;               /* of calls that are left */
  int level;               /* captures, begun or done */
  struct {
    const char *at;
    ptrdiff_t length; /* or one of these */
  } capture[GRB_CAPTURES];
} grb_pattern;

enum { GRB_OPEN = -1, GRB_POSITION = -2 }; /* capture.length */

/* Match the pattern from `p` on with the subject from `s` on: the end of what
 * it matches, or NULL.  Raises. */
const char *grb_match(grb_pattern *m, const char *s, const char *p);

/* Push capture `i` of what was matched from `s` to `e`; or all, and how many:
 * without any the whole match, unless `s` is NULL.  Raise. */
void grb_push_capture(grb_pattern *m, int i, const char *s, const char *e);
int grb_push_captures(grb_pattern *m, const char *s, const char *e);

/* --- table.c -------------------------------------------------------------- */

/* Push a table of those of `table`. */
void grb_push_table_functions(lua_State *L, gr_state *S);

#endif
