/* permessage-deflate (RFC 7692), by zlib. */
#include <string.h>
#include <zlib.h>

#include "alloc.h"
#include "websocket.h"

enum { STEP = 16 << 10 };

struct grw_deflater {
  z_stream z;
  int bits, level;
  char *bytes; /* of the last message */
  size_t room;
};

struct grw_inflater {
  z_stream z;
};

/* --- receiving ---------------------------------------------------------- */

static bool have_inflater(grw_socket *w) {
  if (w->inflater) return true;
  grw_inflater *i = gr_calloc(sizeof *i);
  if (i) {
    i->z.zalloc = gr_zalloc;
    i->z.zfree = gr_zfree;
    if (inflateInit2(&i->z, -w->unsqueeze.bits) == Z_OK) {
      w->inflater = i;
      return true;
    }
    gr_free(i);
  }
  grw_fail(w, 1011, "out of memory");
  return false;
}

/* One call of zlib's, into at most one byte more than may be. */
static int step(grw_socket *w, z_stream *z) {
  uint64_t left = w->pieces ? STEP : w->max - w->len + 1;
  size_t room = left < STEP ? (size_t)left : STEP;
  char *to = grw_room(w, room);
  if (!to) return Z_MEM_ERROR;
  z->next_out = (Bytef *)to;
  z->avail_out = (uInt)room;
  int got = inflate(z, Z_SYNC_FLUSH);
  w->len += room - z->avail_out;
  if (!w->pieces && w->len > w->max) {
    grw_fail(w, 1009, "message too big");
    return Z_MEM_ERROR;
  }
  return got;
}

static bool run(grw_socket *w, const char *data, size_t n) {
  z_stream *z = &w->inflater->z;
  z->next_in = (Bytef *)data;
  z->avail_in = (uInt)n;
  do {
    int got = step(w, z);
    if (w->over) return false;
    if (got == Z_STREAM_END && inflateReset(z) == Z_OK) continue;
    if (got == Z_BUF_ERROR && !z->avail_in) break;
    if (got != Z_OK) {
      grw_fail(w, got == Z_MEM_ERROR ? 1011 : 1007,
               got == Z_MEM_ERROR ? "out of memory" : "bad compressed data");
      return false;
    }
  } while (z->avail_in || !z->avail_out);
  return true;
}

bool grw_inflate(grw_socket *w, const char *data, size_t n, bool last) {
  if (!have_inflater(w)) return false;
  if (n && !run(w, data, n)) return false;
  if (!last) return true;
  if (!run(w, "\0\0\377\377", 4)) return false;
  if (w->unsqueeze.fresh) (void)inflateReset(&w->inflater->z);
  return true;
}

/* --- sending ------------------------------------------------------------ */

void grw_deflater_free(grw_deflater *d) {
  deflateEnd(&d->z);
  gr_free(d->bytes);
  gr_free(d);
}

static grw_deflater *new_deflater(const grw_socket *w) {
  grw_deflater *d = gr_calloc(sizeof *d);
  if (!d) return NULL;
  d->bits = w->squeeze.bits;
  d->level = w->level;
  d->z.zalloc = gr_zalloc;
  d->z.zfree = gr_zfree;
  if (deflateInit2(&d->z, d->level, Z_DEFLATED, -d->bits, 8,
                   Z_DEFAULT_STRATEGY) == Z_OK)
    return d;
  gr_free(d);
  return NULL;
}

static grw_deflater *have_deflater(grw_socket *w) {
  grw_deflater *d = w->shared->deflater;
  if (w->deflater) return w->deflater;
  if (d && d->bits == w->squeeze.bits && d->level == w->level)
    w->shared->deflater = NULL;
  else
    d = new_deflater(w);
  return w->deflater = d;
}

/* Without a context to keep, those that send share one. */
static void give_back(grw_socket *w) {
  grw_shared *g = w->shared;
  deflateReset(&w->deflater->z);
  if (g->deflater) grw_deflater_free(g->deflater);
  g->deflater = w->deflater;
  w->deflater = NULL;
}

static bool have_room(grw_deflater *d, size_t n) {
  if (d->room >= n && d->room < n + GRW_PIECE) return true;
  gr_free(d->bytes);
  d->bytes = gr_realloc(NULL, n);
  d->room = d->bytes ? n : 0;
  return d->bytes;
}

const char *grw_deflate(grw_socket *w, const char *data, size_t n,
                        size_t *size) {
  if (!n) { /* zlib does not flush twice without input */
    *size = 1;
    return "\0";
  }
  grw_deflater *d = have_deflater(w);
  if (!d) return NULL;
  /* With room for all of it, one call does it: a flush takes a few bytes. */
  if (n > UINT32_MAX / 2 || !have_room(d, deflateBound(&d->z, n) + 32))
    return NULL;
  d->z.next_in = (Bytef *)data;
  d->z.avail_in = (uInt)n;
  d->z.next_out = (Bytef *)d->bytes;
  d->z.avail_out = (uInt)d->room;
  deflate(&d->z, Z_SYNC_FLUSH);
  size_t len = d->room - d->z.avail_out;
  *size = len < 4 ? 0 : len - 4; /* the empty block at the end goes */
  const char *bytes = d->bytes;
  if (w->squeeze.fresh) give_back(w);
  return bytes;
}

void grw_deflate_drop(grw_socket *w) {
  if (w->deflater) grw_deflater_free(w->deflater);
  if (w->inflater) {
    inflateEnd(&w->inflater->z);
    gr_free(w->inflater);
  }
  w->deflater = NULL;
  w->inflater = NULL;
}
