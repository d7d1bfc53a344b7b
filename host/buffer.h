/* Bytes on their way, in memory that is lent for as long as possible.
 *
 * A lender has one piece of memory and lends it to one buffer at a time.  Most
 * buffers are emptied before the next one asks, so thousands of streams share
 * memory that stays in the processor's cache.  Whoever still has bytes there
 * when another one asks moves them to memory of its own, and gives that up
 * when it has been emptied.
 */
#ifndef GR_BUFFER_H
#define GR_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct gr_buffer {
  char *data; /* the first byte */
  size_t len;
  char *own;   /* its own memory; NULL: none, or it has borrowed some */
  size_t room; /* of own */
} gr_buffer;

typedef struct gr_lender {
  gr_buffer *borrower; /* NULL: none */
  size_t size;
  char *memory;
} gr_lender;

/* An empty buffer is all zero.  Empty it, free its memory. */
void gr_buffer_fini(gr_buffer *, gr_lender *);

/* Where the next bytes can be put, and in `room` how many: at least one, and
 * `want` in all if they are more than the lender has.  NULL: out of memory.
 * What is put there counts once it is added to `len`. */
char *gr_buffer_space(gr_buffer *, gr_lender *, size_t want, size_t *room);

/* Move to memory of its own.  -1: out of memory. */
int gr_buffer_keep(gr_buffer *, gr_lender *);

/* Give up all memory of an empty buffer. */
void gr_buffer_release(gr_buffer *, gr_lender *);

/* Drop the first `n` bytes, of which there must be so many. */
static inline void gr_buffer_skip(gr_buffer *b, gr_lender *from, size_t n) {
  b->data += n;
  b->len -= n;
  if (!b->len) gr_buffer_release(b, from);
}

#endif
