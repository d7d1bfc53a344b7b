/* Files as bodies: straight from the kernel where that can be. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "http.h"
#include "sendfile.h"

enum { LOT = 1 << 20, INLINE_FILE = 16 << 10 };

static const char file_key;

typedef struct file {
  const void *magic;
  int fd; /* -1: closed */
  struct stat stat;
} file;

static file *check_file(lua_State *L, int arg) {
  file *f = lua_touserdata(L, arg);
  if (!f || lua_type(L, arg) != LUA_TUSERDATA ||
      lua_rawlen(L, arg) != sizeof *f || f->magic != &file_key)
    luaL_typeerror(L, arg, "file");
  return f;
}

/* open_file(path) -> file, size, time of its last change, tag | nil, message */
static int open_file(lua_State *L) {
  size_t len;
  const char *path = luaL_checklstring(L, 1, &len);
  if (strlen(path) != len) { /* the end of it would be overlooked */
    lua_pushnil(L);
    lua_pushstring(L, strerror(EINVAL));
    return 2;
  }
  file *f = lua_newuserdatauv(L, sizeof *f, 0);
  *f = (file){.magic = &file_key, .fd = -1};
  lua_rawgetp(L, LUA_REGISTRYINDEX, &file_key);
  lua_setmetatable(L, -2);
  /* A FIFO would wait for its other end. */
  f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  int err = f->fd < 0 || fstat(f->fd, &f->stat) ? errno : 0;
  if (!err && !S_ISREG(f->stat.st_mode))
    err = S_ISDIR(f->stat.st_mode) ? EISDIR : EINVAL;
  if (err) {
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
    lua_pushnil(L);
    lua_pushstring(L, strerror(err));
    return 2;
  }
  char tag[64];
  snprintf(tag, sizeof tag, "\"%llx-%llx%08lx\"",
           (unsigned long long)f->stat.st_size,
           (unsigned long long)f->stat.st_mtim.tv_sec,
           (unsigned long)f->stat.st_mtim.tv_nsec);
  lua_pushinteger(L, (lua_Integer)f->stat.st_size);
  lua_pushinteger(L, (lua_Integer)f->stat.st_mtim.tv_sec);
  lua_pushstring(L, tag);
  return 4;
}

static int close_file(lua_State *L) {
  file *f = check_file(L, 1);
  if (f->fd >= 0) close(f->fd);
  f->fd = -1;
  return 0;
}

/* --- sending ------------------------------------------------------------ */

/* The stack of a transfer: response, file, place, bytes left. */

static const gr_wait wait_file = {.name = "send_file"};

static int fail_file(lua_State *L, grh_conn *c, int err) {
  c->gone = c->cut = c->ends = true;
  return grh_fail(L, err);
}

static ssize_t send_lot(grh_conn *c, int fd, off_t at, size_t n) {
  if (gr_stream_fd(c->stream) < 0) return -ECONNRESET;
  ssize_t sent =
      gr_stream_sendfile(c->stream, fd, (uint64_t)at, n < LOT ? n : LOT);
  return sent ? sent : -EIO; /* the file has shrunk */
}

static int file_k(lua_State *L, int status, lua_KContext ctx);

static void save(lua_State *L, lua_Integer at, lua_Integer left) {
  lua_settop(L, 2);
  lua_pushinteger(L, at);
  lua_pushinteger(L, left);
}

static int send_on(lua_State *L, gr_state *S, grh_conn *c, bool last) {
  file *f = lua_touserdata(L, 2);
  lua_Integer at = lua_tointeger(L, 3), left = lua_tointeger(L, 4);
  ssize_t n = 1;
  while (left > 0 && n > 0) {
    n = f->fd < 0 ? -EBADF : send_lot(c, f->fd, (off_t)at, (size_t)left);
    if (n > 0) {
      at += n;
      left -= n;
      last = false;
      if (left && gr_gives_way(L, S, 8)) {
        save(L, at, left);
        return gr_let_others(L, S, 0, file_k);
      }
    }
  }
  if (n == -EAGAIN && !last) {
    save(L, at, left);
    gr_check_free(L, S, &c->stream->writes, &wait_file, "the response");
    return gr_park_io(L, S, &c->stream->writes, grh_pace_begin(c), &wait_file,
                      0, file_k);
  }
  if (n < 0) return fail_file(L, c, (int)n);
  c->cut = false;
  lua_pushboolean(L, 1);
  return 1;
}

static int file_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, file_k);
  grh_response *r = lua_touserdata(L, 1);
  if (!r->c) return grh_fail(L, -ECONNRESET);
  return send_on(L, S, r->c, grh_pace_end(r->c, how == GR_TIMEDOUT));
}

/* The head, and the file if it is small, in one write. */
static int put_start(lua_State *L, grh_response *r, file *f) {
  char lot[INLINE_FILE];
  lua_Integer at = lua_tointeger(L, 3), left = lua_tointeger(L, 4);
  size_t room = grh_head_room(r);
  ssize_t n = 0;
  char *head = gr_realloc(NULL, room);
  if (!head) return -ENOMEM;
  if (left > 0 && left <= INLINE_FILE && !r->bodiless) {
    n = pread(f->fd, lot, (size_t)left, (off_t)at);
    if (n < 0) n = 0;
  }
  size_t size = grh_write_head(r, head);
  int got = grh_put(r->c, head, size, NULL, 0, lot, (size_t)n);
  gr_free(head);
  lua_pushinteger(L, at + n);
  lua_replace(L, 3);
  lua_pushinteger(L, r->bodiless ? 0 : left - n);
  lua_replace(L, 4);
  return got;
}

static int started_k(lua_State *L, int status, lua_KContext ctx) {
  grh_response *r = lua_touserdata(L, 1);
  (void)status, (void)ctx;
  if (!lua_toboolean(L, 5)) return 2;
  if (!r->c) return grh_fail(L, -ECONNRESET);
  lua_settop(L, 4);
  return send_on(L, gr_state_of(L), r->c, false);
}

/* send_part(res, file, place, size) -> true | nil, message: a whole response of
 * that part of a file */
static int send_part(lua_State *L) {
  grh_response *r = grh_check_sending(L);
  file *f = check_file(L, 2);
  lua_Integer at = luaL_checkinteger(L, 3), n = luaL_checkinteger(L, 4);
  luaL_argcheck(L, at >= 0 && n >= 0, 3, "a part of the file expected");
  luaL_argcheck(L, f->fd >= 0, 2, "the file is closed");
  if (r->state != GRH_FRESH) return luaL_error(L, "the head has been sent");
  lua_settop(L, 4);
  grh_settle_body(r);
  r->sized = true;
  r->length = (uint64_t)n;
  r->state = GRH_SENT;
  if (!r->bodiless) r->sent = (uint64_t)n;
  r->c->cut = true; /* unless it gets to its end */
  int got = put_start(L, r, f);
  if (!got) return send_on(L, gr_state_of(L), r->c, false);
  if (got != -EAGAIN) return grh_fail(L, got);
  lua_pushlightuserdata(L, gr_state_of(L));
  lua_pushcclosure(L, grh_flush, 1);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "");
  lua_callk(L, 2, LUA_MULTRET, 0, started_k);
  return started_k(L, 0, 0);
}

/* read_part(file, place, size) -> string | nil, message */
static int read_part(lua_State *L) {
  file *f = check_file(L, 1);
  lua_Integer at = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  luaL_argcheck(L, at >= 0, 2, "a place in the file expected");
  luaL_argcheck(L, n > 0 && n <= LOT, 3, "1 to 1048576 bytes");
  luaL_argcheck(L, f->fd >= 0, 1, "the file is closed");
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, (size_t)n);
  ssize_t got = pread(f->fd, to, (size_t)n, (off_t)at);
  if (got < 0) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    return 2;
  }
  luaL_pushresultsize(&b, (size_t)got);
  return 1;
}

const luaL_Reg grh_file_methods[] = {{"send_part", send_part}, {NULL, NULL}};

void grh_open_file(lua_State *L, grh_http *h) {
  static const luaL_Reg meta[] = {
      {"__gc", close_file}, {"__close", close_file}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"close", close_file}, {"read_part", read_part}, {NULL, NULL}};
  static const luaL_Reg funcs[] = {{"open_file", open_file}, {NULL, NULL}};
  gr_setfuncs(L, h->S, funcs);
  lua_createtable(L, 0, 4);
  gr_setfuncs(L, h->S, meta);
  lua_newtable(L);
  gr_setfuncs(L, h->S, methods);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "file");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &file_key);
}
