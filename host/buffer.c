#include "buffer.h"

#include <string.h>

#include "alloc.h"

void gr_buffer_release(gr_buffer *b, gr_lender *from) {
  if (b->own) gr_free(b->own);
  if (from->borrower == b) from->borrower = NULL;
  *b = (gr_buffer){NULL, 0, NULL, 0};
}

void gr_buffer_fini(gr_buffer *b, gr_lender *from) {
  gr_buffer_release(b, from);
}

/* Have room for `room` bytes in all, in memory of its own. */
static int own(gr_buffer *b, gr_lender *from, size_t room) {
  if (b->own && b->room >= room) {
    memmove(b->own, b->data, b->len);
    b->data = b->own;
    return 0;
  }
  char *memory = gr_realloc(NULL, room);
  if (!memory) return -1;
  if (b->len) memcpy(memory, b->data, b->len);
  if (b->own) gr_free(b->own);
  if (from->borrower == b) from->borrower = NULL;
  b->data = b->own = memory;
  b->room = room;
  return 0;
}

int gr_buffer_keep(gr_buffer *b, gr_lender *from) {
  return b->own || !b->len ? 0 : own(b, from, b->len);
}

static int borrow(gr_buffer *b, gr_lender *from) {
  gr_buffer *before = from->borrower;
  if (before && before != b) {
    if (gr_buffer_keep(before, from)) return -1;
    if (!before->len) before->data = NULL;
  }
  from->borrower = b;
  b->data = from->memory;
  return 0;
}

/* What is left of a buffer's memory behind its bytes. */
static size_t behind(const gr_buffer *b, const gr_lender *from) {
  const char *end = b->own ? b->own + b->room : from->memory + from->size;
  return (size_t)(end - (b->data + b->len));
}

/* A full one, or one that shall hold more than it ever could: move the bytes
 * to the front, or to twice the memory. */
static int widen(gr_buffer *b, gr_lender *from, size_t want) {
  size_t room = b->own ? b->room : from->size;
  if (want <= room && b->len > room / 2) want = 2 * room;
  return own(b, from, want > room ? want : room);
}

/* Bytes in lent memory move up only if they stand in the way: at most once
 * for as many as are read. */
static void move_up(gr_buffer *b, gr_lender *from) {
  if (behind(b, from) >= from->size / 2) return;
  memmove(from->memory, b->data, b->len);
  b->data = from->memory;
}

char *gr_buffer_space(gr_buffer *b, gr_lender *from, size_t want,
                      size_t *room) {
  /* Not all at once: the other side may have made up a large number. */
  size_t most = 4 * (b->len + from->size);
  if (want > most) want = most;
  if (!b->len && want <= from->size) {
    if (b->own) gr_buffer_release(b, from);
    if (borrow(b, from)) return NULL;
  } else if (want > (b->own ? b->room : from->size)) {
    if (widen(b, from, want)) return NULL;
  } else if (!b->own && b->len < from->size) {
    move_up(b, from);
  } else if (!behind(b, from)) {
    if (widen(b, from, want)) return NULL;
  }
  *room = behind(b, from);
  return b->data + b->len;
}
