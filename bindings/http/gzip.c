/* Compressing responses for those who ask for it. */
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "alloc.h"
#include "http.h"

struct grh_gzip {
  z_stream z;
};

/* --- may it be? --------------------------------------------------------- */

static bool is_space(char ch) {
  return ch == ' ' || ch == '\t';
}

/* "gzip;q=0.5, *;q=0": is the coding that begins at `s` wanted? */
static bool wanted(const char *s, const char *end) {
  const char *q = memchr(s, ';', (size_t)(end - s));
  if (!q) return true;
  for (q++; q < end && is_space(*q); q++)
    ;
  if (end - q < 3 || strncasecmp(q, "q=", 2)) return true;
  for (q += 2; q < end && (*q == '0' || *q == '.'); q++)
    ;
  return q < end && *q >= '1' && *q <= '9';
}

static bool accepts(const grh_request *r) {
  const grh_field *f = grh_find_field(r, "accept-encoding", 15);
  if (!f) return false;
  const char *s = grh_bytes(r) + f->value, *end = s + f->value_len;
  while (s < end) {
    const char *stop = memchr(s, ',', (size_t)(end - s));
    if (!stop) stop = end;
    while (s < stop && is_space(*s)) s++;
    const char *name = s;
    while (s < stop && *s != ';' && !is_space(*s)) s++;
    if (grh_same(name, (size_t)(s - name), "gzip", 4)) return wanted(s, stop);
    s = stop + 1;
  }
  return false;
}

static bool compressible(const grh_response *r) {
  static const char *const types[] = {"text/",
                                      "application/json",
                                      "application/javascript",
                                      "application/xml",
                                      "image/svg+xml",
                                      "application/wasm",
                                      NULL};
  size_t n;
  const char *type = grh_find_line(r, "Content-Type", 12, &n);
  if (!type) return true; /* it will be text/plain */
  for (int i = 0; types[i]; i++)
    if (!strncasecmp(type, types[i], strlen(types[i]))) return true;
  const char *end = memchr(type, ';', n);
  size_t len = end ? (size_t)(end - type) : n;
  return len > 5 && (!strncasecmp(type + len - 5, "+json", 5) ||
                     !strncasecmp(type + len - 4, "+xml", 4));
}

/* A strong tag is one of these very bytes. */
static void weaken_tag(grh_response *r) {
  size_t n;
  const char *tag = grh_find_line(r, "ETag", 4, &n);
  char weak[256];
  if (!tag || *tag != '"' || n + 2 > sizeof weak) return;
  memcpy(weak, "W/", 2);
  memcpy(weak + 2, tag, n);
  grh_remove_line(r, "ETag", 4);
  (void)grh_add_line(r, "ETag", 4, weak, n + 2);
}

static bool may_gzip(const grh_response *r, size_t size) {
  const grh_conn *c = r->c;
  if (!c->server->gzip || r->plain || r->encoded || r->status < 200 ||
      r->status == 204 || r->status == 205 || r->status == 206 ||
      r->status == 304)
    return false;
  if (size && size < c->server->gzip_min) return false;
  return r->state == GRH_FRESH && compressible(r);
}

/* gzips(res, size) -> would a body of that size be compressed? */
static int would_gzip(lua_State *L) {
  grh_response *r = grh_check_live(L, 1);
  lua_Integer size = luaL_checkinteger(L, 2);
  lua_pushboolean(L, may_gzip(r, (size_t)size) && accepts(r->c->req));
  return 1;
}

/* _accepts_gzip(res) -> does the client? */
static int accepts_gzip(lua_State *L) {
  lua_pushboolean(L, accepts(grh_check_live(L, 1)->c->req));
  return 1;
}

/* Whatever else the program says that the response depends on. */
static bool vary(grh_response *r) {
  size_t n;
  const char *v = r->varies ? grh_find_line(r, "Vary", 4, &n) : NULL;
  bool told =
      r->vary_told ||
      (v && ((n == 1 && *v == '*') || grh_same(v, n, "Accept-Encoding", 15)));
  if (!told && !grh_add_line(r, "Vary", 4, "Accept-Encoding", 15)) return false;
  return r->varies = r->vary_told = true;
}

/* _vary(res): caches are told that it depends on Accept-Encoding */
static int tell_caches(lua_State *L) {
  if (!vary(grh_check_live(L, 1))) return luaL_error(L, "not enough memory");
  return 0;
}

const luaL_Reg grh_gzip_methods[] = {{"gzips", would_gzip},
                                     {"_accepts_gzip", accepts_gzip},
                                     {"_vary", tell_caches},
                                     {NULL, NULL}};

bool grh_gzips(grh_response *r, size_t size) {
  grh_conn *c = r->c;
  if (!may_gzip(r, size)) return false;
  if (!vary(r)) return false;
  if (!accepts(c->req)) return false;
  struct grh_gzip *g = gr_calloc(sizeof *g);
  if (!g) return false;
  g->z.zalloc = gr_zalloc;
  g->z.zfree = gr_zfree;
  if (deflateInit2(&g->z, 5, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY)) {
    gr_free(g);
    return false;
  }
  if (!grh_add_line(r, "Content-Encoding", 16, "gzip", 4)) {
    deflateEnd(&g->z);
    gr_free(g);
    return false;
  }
  if (r->tagged) weaken_tag(r);
  c->gzip = g;
  r->encoded = true;
  r->sized = false;
  return true;
}

/* --- doing it ----------------------------------------------------------- */

void grh_gzip_drop(grh_conn *c) {
  if (!c->gzip) return;
  deflateEnd(&c->gzip->z);
  gr_free(c->gzip);
  c->gzip = NULL;
}

/* Pieces are flushed, so that each can be used when it arrives. */
void grh_gzip(lua_State *L, grh_conn *c, const char *data, size_t n,
              bool last) {
  luaL_Buffer b;
  z_stream *z = &c->gzip->z;
  int flush = last ? Z_FINISH : Z_SYNC_FLUSH;
  luaL_buffinit(L, &b);
  z->next_in = (Bytef *)data;
  z->avail_in = 0;
  do {
    if (!z->avail_in && n) {
      z->avail_in = n > 1 << 30 ? 1 << 30 : (uInt)n;
      n -= z->avail_in;
    }
    size_t room = LUAL_BUFFERSIZE > 8192 ? LUAL_BUFFERSIZE : 8192;
    z->next_out = (Bytef *)luaL_prepbuffsize(&b, room);
    z->avail_out = (uInt)room;
    deflate(z, n ? Z_NO_FLUSH : flush);
    luaL_addsize(&b, room - z->avail_out);
  } while (n || z->avail_in || !z->avail_out);
  luaL_pushresult(&b);
  if (last) grh_gzip_drop(c);
}
