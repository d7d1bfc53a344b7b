/* A connected stream socket that never blocks the thread.
 *
 * Each function does what can be done at once and answers -EAGAIN for the
 * rest; the layer above then parks on `reads` or `writes` and calls again.
 * Other failures are -errno, too; a reset or broken connection is
 * -ECONNRESET.
 *
 * Input.  Reads land in memory that all streams of a hub share; a stream keeps
 * bytes of its own only for what is left over when another one reads.  After a
 * short read the kernel is dry, so the next one waits first.
 *
 * Output.  A write goes out at once, except while more input is buffered: then
 * the peer is pipelining, and small writes gather.  What has gathered goes out
 * in one call when the input has run dry, when it passes 64 KiB, when another
 * stream gathers, and before the loop is polled: so not later than its
 * greenlet's next park.  What the kernel does not take then goes out as it
 * becomes writable, and further writes wait.  A failure shows in the next
 * write.
 *
 * A stream may have a filter (filter.h), TLS: its bytes are encoded and decoded
 * on their way, and everything above stays as it is.
 *
 * What is still to be written when a stream is closed is written afterwards,
 * as the kernel would do with bytes that it had taken.
 */
#ifndef GR_STREAM_H
#define GR_STREAM_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "buffer.h"
#include "io.h"

enum {
  GR_STREAM_BUFFER = 64 << 10,
  GR_STREAM_PIECES = 64 /* at most, in one write */
};

typedef struct gr_filter gr_filter; /* filter.h */

/* What each message needs comes first, in as few cache lines as it takes:
 * with thousands of streams those lines are the cost. */
typedef struct gr_stream {
  int error;         /* errno of a write that went wrong after the fact */
  bool eager : 1;    /* never gather */
  bool gathers : 1;  /* as if more input were buffered */
  bool draining : 1; /* `out` is written as the kernel takes it */
  bool ending : 1;   /* and then this side of the connection is shut down */
  bool crossed : 1;  /* whoever waits to write waits for input */
  gr_filter *filter; /* that its bytes pass through; NULL: none */
  gr_buffer in, out;
  size_t searched; /* bytes of `in` in which no delimiter begins */
  uint64_t received, sent;
  gr_io reads, writes;
  gr_node node; /* among the open ones */
} gr_stream;

/* What the streams of one hub share. */
typedef struct gr_streams {
  gr_lender in, out;
  gr_stream *gathering; /* the one whose output is in out.memory, or NULL */
  gr_list open;
  gr_list starved;   /* waiters for a descriptor to become free */
  gr_list lingering; /* closed streams with output */
  gr_lender raw;     /* for filters: input from the wire */
  char *wire;        /* and output, while a filter works */
  size_t wire_len;
  gr_filter *corked;       /* whose that is, or NULL */
  gr_waiter *busy;         /* who has not parked between its calls */
  uint32_t turn, calls;    /* its wait then; how many calls */
  struct gr_streams *next; /* of this thread */
} gr_streams;

/* Have what the hub's streams share.  -1: out of memory. */
int gr_streams_open(gr_hub *);

/* `fd` may be -1.  It must be non-blocking, and becomes the stream's. */
void gr_stream_init(gr_stream *, gr_hub *, int fd);

/* Give a stream without a descriptor one.  Once the hub is closed it is
 * closed, too. */
void gr_stream_set_fd(gr_stream *, int fd);

/* Close: what waits to be read is lost, what waits to be written is not.
 * Wakes both sides with GR_CLOSED.  Nothing happens if it is closed. */
void gr_stream_close(gr_stream *);

/* The same, and what waits to be written is lost, too. */
void gr_stream_abort(gr_stream *);

/* Stop using the descriptor, which is returned and stays open, and wake both
 * sides as close does.  Output must have been flushed, or it is lost. */
int gr_stream_detach(gr_stream *);

/* Read more into `in`, which shall hold `want` bytes in the end (0: no idea).
 * 1; 0 at the end of the stream; -EAGAIN, without having asked the kernel if
 * it is known to be dry and `patient`; -errno. */
int gr_stream_fill(gr_stream *, size_t want, bool patient);

/* recv(2) for filters, whatever `in` is: how many bytes; 0 at the end;
 * -EAGAIN; -errno. */
ssize_t gr_stream_receive(gr_stream *, char *to, size_t room);

/* Is there something to be read that the kernel does not know of? */
bool gr_stream_dirty(const gr_stream *);

/* Drop the first `n` bytes of `in`. */
void gr_stream_skip(gr_stream *, size_t n);

/* Write the first bytes of `count` pieces: how many were taken, at least one;
 * -EAGAIN; -errno. */
ssize_t gr_stream_write(gr_stream *, struct iovec *pieces, int count);

/* Write all of the pieces, whatever the kernel takes: the rest drains, however
 * much is draining already (`out.len` tells: the caller minds it).  0;
 * -EAGAIN: nothing is taken, a filter must have input first; -errno. */
int gr_stream_queue(gr_stream *, struct iovec *pieces, int count);

/* Write what has gathered.  0; -EAGAIN: the rest drains; -errno. */
int gr_stream_flush(gr_stream *);

/* shutdown(2), after what is still to be written.  With a filter the end of
 * output is told by that, and the descriptor's stays open.  0 or -errno. */
int gr_stream_shutdown(gr_stream *, int how);

/* Count a call that did not park: true now and then, when the running
 * greenlet has made so many in a row that others should have a turn. */
bool gr_streams_tired(gr_hub *, unsigned cost);

static inline int gr_stream_fd(const gr_stream *s) {
  return gr_io_fd(&s->reads);
}

static inline gr_hub *gr_stream_hub(const gr_stream *s) {
  return gr_io_hub(&s->reads);
}

#endif
