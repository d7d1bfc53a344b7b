/* What stands between a stream's bytes and those of its descriptor: TLS.
 *
 * A stream reads and writes through its filter, if it has one, and nothing
 * else about it is different: its patterns, timeouts, gathering and its waits
 * are those of any other.  The filter sees bytes of the wire come in
 * (gr_filter_take) and hands others out (gr_filter_put), which always succeeds:
 * what the kernel does not take drains, as a plain stream's output does.  So a
 * reader whose filter has something to answer never waits for the peer to
 * read, and a writer meets back-pressure before it encodes, not halfway.
 *
 * A filter that must have input before it can go on writing (a renegotiation)
 * says so with `negotiating`.  A writer then reads on its behalf; what comes
 * in meanwhile is kept for the readers.
 *
 * The record belongs to whoever made it and outlives its place in the stream.
 */
#ifndef GR_FILTER_H
#define GR_FILTER_H

#include "stream.h"

enum {
  GR_FILTER_RECORD = 16 << 10, /* what is best encoded at a time */
  GR_FILTER_WIRE = 4 * (GR_FILTER_RECORD + 256)
};

typedef struct gr_filter_type {
  /* Go on with the handshake: 1: it is done; -EAGAIN: it waits for input;
   * -errno; -ECANCELED: something is to be raised.  `by`: who calls, for the
   * layer above; the program may be called there, and wait. */
  int (*handshake)(gr_filter *, void *by);
  /* Decode what there is, into what gr_filter_space gives: 1; 0 at the end;
   * -EAGAIN; -errno; -EPROTO with a message. */
  int (*fill)(gr_filter *, size_t want);
  /* Encode all of it: 0 or -errno. */
  int (*write)(gr_filter *, const char *data, size_t size);
  /* No more will be written: tell the peer. */
  void (*end)(gr_filter *);
  /* The stream is closed, or given away: free what can be freed. */
  void (*leave)(gr_filter *);
} gr_filter_type;

struct gr_filter {
  const void *magic; /* &gr_filter_magic: how a binding knows the record */
  const gr_filter_type *type;
  gr_stream *stream;    /* NULL: under none (yet, or any more) */
  const char *message;  /* goes with -EPROTO */
  const char *late[2];  /* what a reader's and a writer's timeout is called;
                           NULL: as ever */
  gr_buffer raw;        /* from the wire, not decoded yet */
  bool pulls : 1;       /* the kernel may still be asked in this call */
  bool open : 1;        /* the handshake is done */
  bool more : 1;        /* there may be more to come, or the end, without
                           asking the kernel */
  bool negotiating : 1; /* it writes nothing before it has read */
};

extern const char gr_filter_magic;

void gr_filter_init(gr_filter *, const gr_filter_type *);

/* Put it under a stream; what that has read and not used is the wire's, after
 * `size` bytes that have come elsewhere.  0; -EBUSY: one of the two has another
 * already; -ENOMEM. */
int gr_filter_attach(gr_filter *, gr_stream *, const char *data, size_t size);

/* --- for filters --------------------------------------------------------- */

/* The next bytes from the wire, at most `size`: how many; 0 at the end;
 * -EAGAIN; -errno. */
ssize_t gr_filter_take(gr_filter *, char *to, size_t size);

/* Where decoded bytes go; as gr_buffer_space. */
char *gr_filter_space(gr_filter *, size_t want, size_t *room);

/* So many have been put there. */
void gr_filter_filled(gr_filter *, size_t n);

/* Bytes for the wire.  They go out when the filter's function returns, or as
 * there are many. */
void gr_filter_put(gr_filter *, const char *data, size_t size);

/* --- for bindings -------------------------------------------------------- */

/* Go on with the handshake of the stream's filter, as its type does it. */
int gr_filter_handshake(gr_stream *, void *by);

/* --- for stream.c and output.c ------------------------------------------- */

/* What gr_stream_fill, _write, _queue, _flush and _close do with a filter. */
int gr_filter_fill(gr_stream *, size_t want, bool patient);
ssize_t gr_filter_write(gr_stream *, const struct iovec *pieces, int count);
int gr_filter_push(gr_stream *, const char *data, size_t size);
int gr_filter_flush(gr_stream *);
void gr_filter_end(gr_stream *);

/* The stream has no filter any more. */
void gr_filter_leave(gr_stream *);

#endif
