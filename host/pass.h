/* Inside host/: the parts of a pass that hub.c and step.c share. */
#ifndef GR_PASS_H
#define GR_PASS_H

#include "hub.h"

enum { GR_CLOCK_EVERY = 8 }; /* switches between two looks at the clock */

/* Run those who are ready until the budget is used up or nobody is left. */
void gr_hub_enter(gr_hub *);

/* What is due before the loop is polled. */
void gr_hub_settle(gr_hub *);

/* Start and stop the watchers that make passes of the loop's turns. */
void gr_hub_start_watchers(gr_hub *);
void gr_hub_stop_watchers(gr_hub *);

/* Hold a host's loop if something is awaited, let it go if nothing is. */
void gr_hub_keep_loop(gr_hub *);

/* Wake those whose time has come. */
void gr_hub_expire(gr_hub *);

static inline bool gr_hub_posted(const gr_hub *hub) {
  return __atomic_load_n(&hub->posts, __ATOMIC_ACQUIRE) != NULL;
}

/* Give back idle stacks, all but `keep`. */
void gr_hub_trim(gr_hub *, unsigned keep);

#endif
