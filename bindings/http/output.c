/* Output of a connection: at once if the kernel takes it, and the rest as it
 * becomes writable. */
#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "http.h"

enum { SMALL = 2048 }; /* below it, one buffer is cheaper than three pieces */

static const gr_wait write_wait = {.name = "write"};

void grh_rest_drop(grh_conn *c) {
  if (c->rest.bytes) gr_free(c->rest.bytes);
  c->rest = (grh_rest){.bytes = NULL};
}

static int gone(grh_conn *c, int err) {
  grh_rest_drop(c);
  c->gone = c->ends = true;
  return err;
}

/* --- one try ------------------------------------------------------------ */

static ssize_t write_pieces(grh_conn *c, const char *prefix, size_t np,
                            const char *body, size_t nb, const char *suffix,
                            size_t ns) {
  char all[SMALL];
  struct iovec pieces[3];
  int count = 0;
  if (gr_stream_fd(c->stream) < 0) return -ECONNRESET;
  if (np + nb + ns <= SMALL) {
    memcpy(all, prefix, np);
    if (nb) memcpy(all + np, body, nb);
    if (ns) memcpy(all + np + nb, suffix, ns);
    pieces[count++] = (struct iovec){all, np + nb + ns};
  } else {
    if (np) pieces[count++] = (struct iovec){(char *)prefix, np};
    if (nb) pieces[count++] = (struct iovec){(char *)body, nb};
    if (ns) pieces[count++] = (struct iovec){(char *)suffix, ns};
  }
  return gr_stream_write(c->stream, pieces, count);
}

static int keep_rest(grh_conn *c, size_t done, const char *prefix, size_t np,
                     size_t nb, const char *suffix, size_t ns) {
  char *bytes = gr_realloc(NULL, np + ns + 1);
  if (!bytes) return gone(c, -ENOMEM);
  memcpy(bytes, prefix, np);
  if (ns) memcpy(bytes + np, suffix, ns);
  c->rest = (grh_rest){bytes, np, nb, ns, done};
  return -EAGAIN;
}

int grh_put(grh_conn *c, const char *prefix, size_t np, const char *body,
            size_t nb, const char *suffix, size_t ns) {
  size_t all = np + nb + ns;
  if (c->gone) return -ECONNRESET;
  if (!all) return 0;
  ssize_t n = write_pieces(c, prefix, np, body, nb, suffix, ns);
  if (n == (ssize_t)all) return 0;
  if (n < 0 && n != -EAGAIN) return gone(c, (int)n);
  return keep_rest(c, n < 0 ? 0 : (size_t)n, prefix, np, nb, suffix, ns);
}

/* --- the rest ----------------------------------------------------------- */

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/* 0: all is written; -EAGAIN; -errno. */
static int write_rest(grh_conn *c, const char *body) {
  grh_rest *r = &c->rest;
  size_t all = r->prefix + r->body + r->suffix;
  while (r->done < all) {
    size_t p = smaller(r->done, r->prefix);
    size_t b = smaller(r->done - p, r->body), s = r->done - p - b;
    ssize_t n =
        write_pieces(c, r->bytes + p, r->prefix - p, body + b, r->body - b,
                     r->bytes + r->prefix + s, r->suffix - s);
    if (n == -EAGAIN) return -EAGAIN;
    if (n < 0) return gone(c, (int)n);
    r->done += (size_t)n;
  }
  grh_rest_drop(c);
  return 0;
}

int grh_fail(lua_State *L, int err) {
  lua_pushnil(L);
  lua_pushstring(L, err == -EAGAIN || err == -ETIMEDOUT ? "timeout"
                    : err == -ENOMEM                    ? "not enough memory"
                                                        : "closed");
  return 2;
}

static int result(lua_State *L, int got) {
  if (got) return grh_fail(L, got);
  lua_pushboolean(L, 1);
  return 1;
}

static grh_conn *conn_of(lua_State *L) {
  const void *const *magic = lua_touserdata(L, 1);
  if (*magic == &grh_conn_key) return lua_touserdata(L, 1);
  return ((grh_response *)lua_touserdata(L, 1))->c;
}

static int put_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, put_k);
  grh_conn *c = conn_of(L);
  if (!c) return grh_fail(L, -ECONNRESET);
  bool late = grh_pace_end(c, how == GR_TIMEDOUT);
  int got = c->gone ? -ECONNRESET : write_rest(c, lua_tostring(L, 2));
  if (got == -EAGAIN && late) return result(L, gone(c, got));
  return grh_finish_put(L, S, c, got);
}

int grh_finish_put(lua_State *L, gr_state *S, grh_conn *c, int got) {
  if (got != -EAGAIN) {
    if (!c->stream->out.len && gr_gives_way(L, S, 1) && !got)
      return gr_let_others(L, S, 0, put_k);
    return result(L, got);
  }
  gr_check_free(L, S, &c->stream->writes, &write_wait, "the response");
  return gr_park_io(L, S, &c->stream->writes, grh_pace_begin(c), &write_wait, 0,
                    put_k);
}

int grh_flush(lua_State *L) {
  grh_conn *c = conn_of(L);
  return grh_finish_put(L, gr_state_of(L), c,
                        write_rest(c, lua_tostring(L, 2)));
}
