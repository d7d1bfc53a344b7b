/* The output side of a stream: for stream.c and filter.c alone. */
#ifndef GR_OUTPUT_H
#define GR_OUTPUT_H

#include "stream.h"

/* The callback of `writes`: lets output drain, then wakes the writer. */
void gr_output_event(struct ev_loop *, ev_io *, int events);

/* May output of that size wait for more? */
bool gr_output_gathers(const gr_stream *, const struct iovec *, int count);

/* Add to what has gathered; there must be room. */
void gr_output_gather(gr_stream *, const char *data, size_t size);

/* What has gathered is the caller's; it stays where it is until somebody
 * gathers again. */
void gr_output_taken(gr_stream *);

/* Bytes for the wire: at once if they can, after those that drain if not.  A
 * failure is the stream's. */
void gr_output_push(gr_stream *, const char *data, size_t size);

/* Forget all output. */
void gr_output_drop(gr_stream *);

/* Take descriptor and output of a draining stream over, to be closed once it
 * is written.  false: out of memory, nothing is taken. */
bool gr_linger(gr_stream *);

/* Close all that linger. */
void gr_linger_fini(gr_hub *);

#endif
