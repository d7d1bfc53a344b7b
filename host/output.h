/* The output side of a stream: for stream.c alone. */
#ifndef GR_OUTPUT_H
#define GR_OUTPUT_H

#include "stream.h"

/* The callback of `writes`: lets output drain, then wakes the writer. */
void gr_output_event(struct ev_loop *, ev_io *, int events);

/* Forget all output. */
void gr_output_drop(gr_stream *);

/* Take descriptor and output of a draining stream over, to be closed once it
 * is written.  false: out of memory, nothing is taken. */
bool gr_linger(gr_stream *);

/* Close all that linger. */
void gr_linger_fini(gr_hub *);

#endif
