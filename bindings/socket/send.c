/* Writing to a socket. */
#include <errno.h>

#include "socket.h"

static const gr_wait send_wait = {.name = "send"};

/* What is still to be written of one call's argument.  While its greenlet is
 * parked it is kept at the indices 3 to 5. */
typedef struct outgoing {
  bool list;        /* index 2 is a list of strings, not a string */
  lua_Integer i;    /* string: of the next byte; list: of the next string */
  lua_Integer j;    /* string: of the last byte; list: bytes of the next string
                       that are written */
  lua_Integer sent; /* index of the last byte written, for the result */
} outgoing;

/* --- the argument ------------------------------------------------------- */

/* LuaSocket's reading of the indices: like string.sub's. */
static void set_range(lua_State *L, outgoing *o, lua_Integer size) {
  o->i = (lua_Integer)luaL_optnumber(L, 3, 1);
  o->j = (lua_Integer)luaL_optnumber(L, 4, -1);
  if (o->i < 0) o->i += size + 1;
  if (o->j < 0) o->j += size + 1;
  if (o->i < 1) o->i = 1;
  if (o->j > size) o->j = size;
}

static int string_piece(lua_State *L, const outgoing *o, struct iovec *piece) {
  if (o->i > o->j) return 0;
  const char *data = lua_tostring(L, 2);
  *piece = (struct iovec){(char *)data + o->i - 1, (size_t)(o->j - o->i + 1)};
  return 1;
}

/* Push the next strings, which stay there while they are written. */
static int list_pieces(lua_State *L, const outgoing *o, struct iovec *pieces) {
  int n = 0;
  size_t skip = (size_t)o->j;
  luaL_checkstack(L, GR_STREAM_PIECES + LUA_MINSTACK, NULL);
  for (lua_Integer k = o->i; n < GR_STREAM_PIECES; k++) {
    size_t size;
    if (lua_rawgeti(L, 2, k) == LUA_TNIL) break;
    const char *data = lua_tolstring(L, -1, &size);
    if (!data)
      luaL_error(L,
                 "bad argument #1 to 'send' (string expected at [%I], got %s)",
                 k, luaL_typename(L, -1));
    if (skip > size) skip = size; /* somebody changed the list */
    pieces[n++] = (struct iovec){(char *)data + skip, size - skip};
    skip = 0;
  }
  return n;
}

static int next_pieces(lua_State *L, const outgoing *o, struct iovec *pieces) {
  if (o->list) return list_pieces(L, o, pieces);
  return string_piece(L, o, pieces);
}

/* `n` bytes of the pieces are written. */
static void advance(outgoing *o, const struct iovec *pieces, int count,
                    size_t n) {
  o->sent += (lua_Integer)n;
  if (!o->list) {
    o->i += (lua_Integer)n;
    return;
  }
  for (int k = 0; k < count; k++) {
    if (n < pieces[k].iov_len) {
      o->j += (lua_Integer)n;
      return;
    }
    n -= pieces[k].iov_len;
    o->i++;
    o->j = 0;
  }
}

static void save(lua_State *L, const outgoing *o) {
  lua_settop(L, 2);
  lua_pushinteger(L, o->i);
  lua_pushinteger(L, o->j);
  lua_pushinteger(L, o->sent);
}

static void restore(lua_State *L, outgoing *o) {
  o->list = lua_istable(L, 2);
  o->i = lua_tointeger(L, 3);
  o->j = lua_tointeger(L, 4);
  o->sent = lua_tointeger(L, 5);
}

/* --- writing ------------------------------------------------------------ */

static int success(lua_State *L, const outgoing *o) {
  lua_pushinteger(L, o->sent);
  lua_pushnil(L);
  lua_pushnil(L);
  return 3;
}

static int failure(lua_State *L, const grb_socket *s, const outgoing *o,
                   int err) {
  lua_pushnil(L);
  lua_pushstring(L, grb_stream_message(&s->stream, GRB_WRITE, err));
  lua_pushinteger(L, o->sent);
  return 3;
}

/* Is there anything left of a string?  Of a list only its next element tells.
 */
static bool is_over(const outgoing *o) {
  return !o->list && o->i > o->j;
}

/* Write one lot: 1: go on; 0: nothing is left; -errno. */
static int write_some(lua_State *L, grb_socket *s, outgoing *o) {
  struct iovec pieces[GR_STREAM_PIECES];
  size_t size = 0;
  int n = next_pieces(L, o, pieces);
  for (int k = 0; k < n; k++) size += pieces[k].iov_len;
  if (size && grb_fd(s) < 0) return -ECONNRESET;
  ssize_t done = size ? gr_stream_write(&s->stream, pieces, n) : 0;
  if (done >= 0) advance(o, pieces, n, (size_t)done);
  if (o->list) lua_settop(L, 5);
  return done < 0 ? (int)done : n > 0 && !is_over(o);
}

static int send_k(lua_State *L, int status, lua_KContext ctx);

/* `last`: there is no time left to wait, but one try. */
static int go_on(lua_State *L, gr_state *S, grb_socket *s, outgoing *o,
                 bool last) {
  int got;
  while ((got = write_some(L, s, o)) > 0)
    ;
  bool again = got == -EAGAIN;
  if (got < 0 && !again) return failure(L, s, o, -got);
  if (again && !last) {
    save(L, o);
    return grb_wait(L, S, s, GRB_WRITE, &send_wait, 0, send_k);
  }
  /* Gathering is no system call. */
  if (!s->stream.out.len && grb_gives_way(L, S, again)) {
    save(L, o);
    return grb_give_way(L, S, 0, send_k);
  }
  return again ? failure(L, s, o, ETIMEDOUT) : success(L, o);
}

static int send_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  outgoing o;
  (void)status;
  int how = gr_woken(L, S, ctx, send_k);
  restore(L, &o);
  grb_socket *s = lua_touserdata(L, 1);
  return go_on(L, S, s, &o, how == GR_TIMEDOUT || grb_polls(s));
}

/* send(data [, i [, j]]), send(list) -> index of the last byte, nil, nil |
 * nil, message, index */
static int send_data(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CLIENT);
  gr_state *S = gr_state_of(L);
  outgoing o = {.list = lua_type(L, 2) == LUA_TTABLE, .i = 1};
  if (o.list) {
    lua_settop(L, 5);
  } else {
    size_t size;
    luaL_checklstring(L, 2, &size);
    o.j = (lua_Integer)size;
    if (lua_gettop(L) > 2) set_range(L, &o, o.j);
    o.sent = o.i - 1;
  }
  if (!gr_list_empty(&s->stream.writes.waiters))
    grb_check_free(L, S, s, GRB_WRITE, &send_wait);
  grb_begin(s, GRB_WRITE);
  return go_on(L, S, s, &o, grb_polls(s));
}

/* shutdown(["both" | "send" | "receive"]) -> 1 */
static int shut_down(lua_State *L) {
  static const char *const ways[] = {"receive", "send", "both", NULL};
  grb_socket *s = grb_check(L, GRB_CLIENT);
  int how = luaL_checkoption(L, 2, "both", ways); /* SHUT_RD is 0, and so on */
  if (grb_fd(s) >= 0) gr_stream_shutdown(&s->stream, how);
  lua_pushinteger(L, 1);
  return 1;
}

const luaL_Reg grb_send_methods[] = {
    {"send", send_data}, {"shutdown", shut_down}, {NULL, NULL}};
