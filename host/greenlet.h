/* Inside host/: what state.c needs of greenlet.c. */
#ifndef GR_GREENLET_H
#define GR_GREENLET_H

#include "state.h"

enum { GR_MAX_SPARE = 64 }; /* coroutines kept for greenlets to come */

void gr_greenlet_init(gr_greenlet *g);

/* gr_hub.resume */
void gr_greenlet_resume(gr_hub *hub, gr_waiter *w);

#endif
