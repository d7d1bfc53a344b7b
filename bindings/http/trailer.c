/* The trailer of a request: fields that follow a body in chunks. */
#include <string.h>

#include "alloc.h"
#include "http.h"

enum { LINE = 8192, LINES = 100 }; /* where there is no server to say */

bool grh_trailer_is_full(const grh_conn *c, size_t n) {
  const grh_server *s = c->server;
  if (!s) return n > LINE || c->body.lines >= LINES;
  return n > s->limits.line || c->body.lines >= s->limits.fields ||
         c->trailer_len + n + 2 > s->limits.head;
}

bool grh_keep_trailer(grh_conn *c, const char *line, size_t n) {
  char *to = gr_realloc(c->trailer, c->trailer_len + n + 2);
  if (!to) return false;
  memcpy(to + c->trailer_len, line, n);
  memcpy(to + c->trailer_len + n, "\r\n", 2);
  c->trailer = to;
  c->trailer_len += n + 2;
  return true;
}

void grh_drop_trailer(grh_conn *c) {
  if (c->trailer) gr_free(c->trailer);
  c->trailer = NULL;
  c->trailer_len = 0;
}

/* _trailer(req) -> its lines | nil: the end of the body has not been read */
static int trailer(lua_State *L) {
  const grh_request *r = grh_check_request(L, 1);
  const grh_conn *c = r->c;
  if (!c || c->taken || c->body.failed || c->body.drained ||
      c->body.state != GRH_B_DONE)
    return lua_pushnil(L), 1;
  lua_pushlstring(L, c->trailer ? c->trailer : "", c->trailer_len);
  return 1;
}

const luaL_Reg grh_trailer_methods[] = {{"_trailer", trailer}, {NULL, NULL}};
