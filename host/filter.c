#include "filter.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "alloc.h"
#include "output.h"

const char gr_filter_magic;

static gr_streams *shared_by(const gr_filter *f) {
  return gr_stream_hub(f->stream)->streams;
}

/* --- under a stream ------------------------------------------------------ */

void gr_filter_init(gr_filter *f, const gr_filter_type *type) {
  *f = (gr_filter){.magic = &gr_filter_magic, .type = type};
}

/* The memory that filters of a hub share: of the wire, for each way. */
static int have_memory(gr_streams *shared) {
  if (shared->raw.memory) return 0;
  char *memory = gr_realloc(NULL, GR_STREAM_BUFFER + GR_FILTER_WIRE);
  if (!memory) return -ENOMEM;
  shared->raw = (gr_lender){.size = GR_STREAM_BUFFER, .memory = memory};
  shared->wire = memory + GR_STREAM_BUFFER;
  return 0;
}

int gr_filter_attach(gr_filter *f, gr_stream *s, const char *data,
                     size_t size) {
  gr_streams *shared = gr_stream_hub(s)->streams;
  size_t all = size + s->in.len;
  char *memory = NULL;
  if (s->filter || f->stream) return -EBUSY;
  if (have_memory(shared)) return -ENOMEM;
  if (all) {
    memory = gr_realloc(NULL, all);
    if (!memory) return -ENOMEM;
    memcpy(memory, data, size);
    if (s->in.len) memcpy(memory + size, s->in.data, s->in.len);
  }
  gr_buffer_release(&s->in, &shared->in);
  f->stream = s;
  f->raw = (gr_buffer){memory, all, memory, all};
  f->more = all > 0;
  s->searched = 0;
  s->filter = f;
  return 0;
}

static void uncork(gr_streams *shared) {
  gr_filter *f = shared->corked;
  if (!f) return;
  shared->corked = NULL;
  gr_output_push(f->stream, shared->wire, shared->wire_len);
}

void gr_filter_leave(gr_stream *s) {
  gr_filter *f = s->filter;
  gr_streams *shared = gr_stream_hub(s)->streams;
  if (!f) return;
  if (shared->corked == f) shared->corked = NULL;
  gr_buffer_release(&f->raw, &shared->raw);
  f->stream = NULL;
  f->open = f->more = false;
  s->filter = NULL;
  s->crossed = false;
  f->type->leave(f);
}

/* --- the wire ------------------------------------------------------------ */

/* Ask the kernel, once in a call: there are others who want to run. */
static int pull(gr_filter *f) {
  gr_stream *s = f->stream;
  size_t room;
  if (!f->pulls) return -EAGAIN;
  f->pulls = false;
  char *to = gr_buffer_space(&f->raw, &shared_by(f)->raw, 0, &room);
  if (!to) return -ENOMEM;
  ssize_t n = gr_stream_receive(s, to, room);
  if (n > 0) f->raw.len += (size_t)n;
  if (!f->raw.len) gr_buffer_release(&f->raw, &shared_by(f)->raw);
  return n > 0 ? 1 : (int)n;
}

ssize_t gr_filter_take(gr_filter *f, char *to, size_t size) {
  if (!f->stream) return -ECONNRESET;
  if (!f->raw.len) {
    int got = pull(f);
    if (got <= 0) return got;
  }
  if (size > f->raw.len) size = f->raw.len;
  memcpy(to, f->raw.data, size);
  gr_buffer_skip(&f->raw, &shared_by(f)->raw, size);
  return (ssize_t)size;
}

char *gr_filter_space(gr_filter *f, size_t want, size_t *room) {
  return gr_buffer_space(&f->stream->in, &shared_by(f)->in, want, room);
}

void gr_filter_filled(gr_filter *f, size_t n) {
  f->stream->in.len += n;
}

void gr_filter_put(gr_filter *f, const char *data, size_t size) {
  if (!f->stream) return;
  gr_streams *shared = shared_by(f);
  if (shared->corked != f ||
      (shared->wire_len && size > GR_FILTER_WIRE - shared->wire_len))
    uncork(shared);
  if (size > GR_FILTER_WIRE) {
    gr_output_push(f->stream, data, size);
    return;
  }
  if (!shared->corked) shared->wire_len = 0;
  shared->corked = f;
  memcpy(shared->wire + shared->wire_len, data, size);
  shared->wire_len += size;
}

/* --- input --------------------------------------------------------------- */

int gr_filter_handshake(gr_stream *s, void *by) {
  gr_filter *f = s->filter;
  f->pulls = true;
  int got = f->type->handshake(f, by);
  /* The program has been called, and may have closed it. */
  if (!f->stream) return got < 0 ? got : -ECONNRESET;
  uncork(shared_by(f));
  return got;
}

/* Whoever has waited to write for want of input may try again. */
static void uncross(gr_stream *s) {
  s->crossed = false;
  gr_wake_first(gr_stream_hub(s), &s->writes.waiters, GR_WOKEN);
}

int gr_filter_fill(gr_stream *s, size_t want, bool patient) {
  gr_filter *f = s->filter;
  gr_streams *shared = gr_stream_hub(s)->streams;
  if (!f->open) return 0;
  if (patient && s->reads.dry && !f->more) return -EAGAIN;
  f->pulls = true;
  int got = f->type->fill(f, want);
  uncork(shared);
  if (!s->in.len) gr_buffer_release(&s->in, &shared->in);
  if (s->crossed) uncross(s);
  return got;
}

/* --- output -------------------------------------------------------------- */

/* A writer's part in a negotiation: let it read.  0 when that is over. */
static int negotiate(gr_stream *s) {
  gr_filter *f = s->filter;
  if (s->in.len >= GR_STREAM_BUFFER) return -ENOBUFS;
  int got = gr_filter_fill(s, 0, true);
  if (got != -EAGAIN)
    gr_wake_first(gr_stream_hub(s), &s->reads.waiters, GR_WOKEN);
  if (got == 0) return -ECONNRESET;
  if (got < 0 && got != -EAGAIN) return got;
  if (!f->negotiating) return 0;
  s->crossed = true;
  return -EAGAIN;
}

/* Encode: 0 or -errno. */
static int encode(gr_stream *s, const char *data, size_t size) {
  gr_filter *f = s->filter;
  int err = f->type->write(f, data, size);
  uncork(gr_stream_hub(s)->streams);
  return err ? err : -s->error;
}

int gr_filter_push(gr_stream *s, const char *data, size_t size) {
  if (!s->filter->open) return -ECONNRESET;
  return encode(s, data, size);
}

int gr_filter_flush(gr_stream *s) {
  struct iovec all = {s->out.data, s->out.len};
  gr_output_taken(s);
  int err = encode(s, all.iov_base, all.iov_len);
  return err ? err : s->draining ? -EAGAIN : 0;
}

/* Take some of a piece: how many bytes, or -errno.  Small ones are put
 * together to one record. */
static ssize_t take_some(gr_stream *s, const char *data, size_t size) {
  size_t room = GR_FILTER_RECORD - s->out.len;
  int err;
  if (s->out.len >= GR_FILTER_RECORD) {
    err = gr_filter_flush(s);
    return err == -EAGAIN ? 0 : err;
  }
  if (!s->out.len && size >= GR_FILTER_RECORD) {
    if (size > 4 * GR_FILTER_RECORD) size = 4 * GR_FILTER_RECORD;
    err = encode(s, data, size);
    return err ? err : (ssize_t)size;
  }
  if (size > room) size = room;
  gr_output_gather(s, data, size);
  return (ssize_t)size;
}

static ssize_t take_all(gr_stream *s, const struct iovec *pieces, int count) {
  size_t done = 0;
  for (int i = 0; i < count; i++)
    for (size_t at = 0; at < pieces[i].iov_len;) {
      if (s->draining) return done ? (ssize_t)done : -EAGAIN;
      ssize_t n = take_some(s, (const char *)pieces[i].iov_base + at,
                            pieces[i].iov_len - at);
      if (n < 0) return n;
      at += (size_t)n;
      done += (size_t)n;
    }
  return (ssize_t)done;
}

ssize_t gr_filter_write(gr_stream *s, const struct iovec *pieces, int count) {
  gr_filter *f = s->filter;
  if (!f->open) return -ECONNRESET;
  if (f->negotiating) {
    int err = negotiate(s);
    if (err) return err;
  }
  bool gathers = gr_output_gathers(s, pieces, count);
  ssize_t done = take_all(s, pieces, count);
  if (!gathers && done >= 0 && s->out.len && !s->draining) {
    int err = gr_filter_flush(s);
    if (err && err != -EAGAIN) return err;
  }
  return done;
}

void gr_filter_end(gr_stream *s) {
  gr_filter *f = s->filter;
  f->type->end(f);
  uncork(gr_stream_hub(s)->streams);
}
