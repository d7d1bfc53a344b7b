/* Sending files. */
#include "sendfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "socket.h"

enum { MOST = 1 << 20, FILE_ARG = 2, TASK = 5 };

static const gr_wait sendfile_wait = {.name = "sendfile"};

/* One call's work.  The descriptor is its own (a program may close its file
 * meanwhile), and ends with the call, however that ends (its __close). */
typedef struct task {
  int fd;
  uint64_t at, left;
  lua_Integer sent;
} task;

static int close_task(lua_State *L) {
  task *t = lua_touserdata(L, 1);
  if (t->fd >= 0) close(t->fd);
  t->fd = -1;
  return 0;
}

static const char task_key;

static task *push_task(lua_State *L) {
  task *t = lua_newuserdatauv(L, sizeof *t, 0);
  *t = (task){.fd = -1};
  gr_set_closer(L, &task_key, close_task);
  lua_toclose(L, -1);
  return t;
}

/* --- the file ----------------------------------------------------------- */

static int duplicate(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* What has been written to it so far belongs to it. */
static int of_handle(lua_State *L, luaL_Stream *stream) {
  luaL_argcheck(L, stream->closef, FILE_ARG, "the file is closed");
  if (fflush(stream->f)) return -1;
  return duplicate(fileno(stream->f));
}

static int open_file(lua_State *L) {
  luaL_Stream *stream = luaL_testudata(L, FILE_ARG, LUA_FILEHANDLE);
  if (stream) return of_handle(L, stream);
  if (lua_type(L, FILE_ARG) == LUA_TNUMBER) {
    lua_Integer fd = luaL_checkinteger(L, FILE_ARG);
    luaL_argcheck(L, fd >= 0 && fd < 1 << 30, FILE_ARG,
                  "a descriptor expected");
    return duplicate((int)fd);
  }
  if (lua_type(L, FILE_ARG) != LUA_TSTRING)
    return luaL_typeerror(L, FILE_ARG, "file, path or descriptor");
  return open(lua_tostring(L, FILE_ARG), /* a FIFO must not wait for a writer */
              O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* --- sending ------------------------------------------------------------ */

static int failure(lua_State *L, grb_socket *s, const task *t, int err) {
  lua_pushnil(L);
  lua_pushstring(L, grb_stream_message(&s->stream, GRB_WRITE, err));
  lua_pushinteger(L, t->sent);
  return 3;
}

static int sendfile_k(lua_State *L, int status, lua_KContext ctx);

/* 1: go on; 0: all is sent; -errno. */
static int send_some(grb_socket *s, task *t) {
  size_t size = t->left < MOST ? (size_t)t->left : MOST;
  if (grb_fd(s) < 0) return -ECONNRESET;
  ssize_t n = gr_stream_sendfile(&s->stream, t->fd, t->at, size);
  if (n <= 0) return (int)n;
  t->at += (uint64_t)n;
  t->left -= (uint64_t)n;
  t->sent += n;
  return t->left > 0;
}

/* `last`: there is no time left to wait, but what the kernel takes counts. */
static int go_on(lua_State *L, gr_state *S, grb_socket *s, bool last) {
  task *t = lua_touserdata(L, TASK);
  int got;
  while ((got = send_some(s, t)) > 0)
    if (grb_gives_way(L, S, false)) return grb_give_way(L, S, 0, sendfile_k);
  if (got == -EAGAIN && !last)
    return grb_wait(L, S, s, GRB_WRITE, &sendfile_wait, 0, sendfile_k);
  if (got == -EAGAIN && grb_gives_way(L, S, true))
    return grb_give_way(L, S, 0, sendfile_k);
  if (got < 0) return failure(L, s, t, got == -EAGAIN ? ETIMEDOUT : -got);
  lua_pushinteger(L, t->sent);
  return 1;
}

static int sendfile_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, sendfile_k);
  grb_socket *s = lua_touserdata(L, 1);
  return go_on(L, S, s, how == GR_TIMEDOUT || grb_polls(s));
}

/* sendfile(file [, offset [, length]]) -> bytes | nil, message, bytes */
static int send_file(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_socket *s = grb_check(L, GRB_CLIENT);
  lua_Integer at = luaL_optinteger(L, 3, 0);
  lua_Integer length = luaL_optinteger(L, 4, LUA_MAXINTEGER);
  luaL_argcheck(L, at >= 0, 3, "offset: not negative");
  luaL_argcheck(L, length >= 0, 4, "length: not negative");
  lua_settop(L, 4);
  grb_check_free(L, S, s, GRB_WRITE, &sendfile_wait);
  task *t = push_task(L);
  t->fd = open_file(L);
  if (t->fd < 0) return failure(L, s, t, errno);
  t->at = (uint64_t)at;
  t->left = (uint64_t)length;
  grb_begin(s, GRB_WRITE);
  return go_on(L, S, s, grb_polls(s));
}

const luaL_Reg grb_sendfile_methods[] = {{"sendfile", send_file}, {NULL, NULL}};
