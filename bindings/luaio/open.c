/* Making files: io.open, io.input and io.output by name, io.popen. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "luaio.h"

static const gr_wait open_wait = {.name = "open"};
static const gr_wait popen_wait = {.name = "popen"};
static const double EVERY = 0.01; /* seconds between two looks for a reader */

/* --- terminals and named pipes ------------------------------------------ */

/* Opening a device has effects of its own, so it is told by its number. */
static bool is_terminal(const struct stat *st) {
  unsigned n = major(st->st_rdev);
  return S_ISCHR(st->st_mode) && (n == 4 || n == 5 || (n >= 136 && n <= 143));
}

static int flags_of(const char *mode) {
  if (!*mode || !strchr("rwa", *mode)) return -1;
  int both = mode[1] == '+';
  if (strspn(mode + 1 + both, "b") != strlen(mode + 1 + both)) return -1;
  return (both           ? O_RDWR
          : *mode == 'r' ? O_RDONLY
                         : O_WRONLY) |
         O_NONBLOCK | O_CLOEXEC;
}

static int give_back(int fd) {
  int err = errno;
  close(fd);
  errno = err;
  return -1;
}

/* Have the stream on top be one on `fd`, which it owns from then on. */
static int attach(lua_State *L, int fd, const char *mode) {
  luaio_stream *s = lua_touserdata(L, -1);
  s->file = gr_file_open(&luaio_of(L)->S->hub, fd, mode, false, NULL);
  if (!s->file) return give_back(fd);
  s->lua.f = s->file->f;
  s->lua.closef = luaio_close_stream;
  return 0;
}

int luaio_try_open(lua_State *L, const char *path, const char *mode) {
  struct stat st;
  int flags = flags_of(mode);
  if (flags < 0 || stat(path, &st)) return 0;
  if (!S_ISFIFO(st.st_mode) && !is_terminal(&st)) return 0;
  luaio_stream *s = luaio_new_stream(L);
  int fd = open(path, flags);
  if (fd < 0 || attach(L, fd, mode)) {
    lua_pop(L, 1);
    return -1;
  }
  gr_file_ask_first(s->file);
  if (is_terminal(&st)) setvbuf(s->file->f, NULL, _IOLBF, BUFSIZ);
  return 1;
}

/* Index 1 is a path, index 2 a mode; then what comes of the file, which is put
 * in the place of both. */
static int try_open(lua_State *L, lua_KFunction then);

static int again_k(lua_State *L, int status, lua_KContext then) {
  (void)status;
  gr_woken(L, gr_state_of(L), then, again_k);
  return try_open(L, (lua_KFunction)then);
}

static int try_open(lua_State *L, lua_KFunction then) {
  gr_state *S = gr_state_of(L);
  int how = luaio_try_open(L, lua_tostring(L, 1), lua_tostring(L, 2));
  if (how > 0) {
    lua_replace(L, 1);
    lua_settop(L, 1);
    return then(L, 1, 0);
  }
  /* Nobody reads from that pipe yet, and nothing tells when somebody does. */
  if (how < 0 && errno == ENXIO && luaio_can_wait(L, S)) {
    double at = gr_hub_now(&S->hub) + EVERY;
    gr_can_block(L, S, at);
    gr_arm(&S->hub, at, false);
    return gr_park(L, S, &open_wait, false, (lua_KContext)then, again_k);
  }
  return then(L, 0, 0);
}

/* --- io.open, io.input, io.output --------------------------------------- */

static int opened(lua_State *L, int ours, lua_KContext ctx) {
  (void)ctx;
  return ours ? 1 : luaio_call(L);
}

int luaio_open(lua_State *L) {
  if (lua_type(L, 1) != LUA_TSTRING || !lua_isstring(L, 2)) {
    if (lua_type(L, 1) != LUA_TSTRING || !lua_isnoneornil(L, 2))
      return luaio_call(L);
    lua_settop(L, 1);
    lua_pushliteral(L, "r");
  }
  return try_open(L, opened);
}

/* The original makes of a file, or of a name, the default one. */
static int redirected(lua_State *L, int ours, lua_KContext ctx) {
  (void)ctx;
  if (!ours) lua_settop(L, 1);
  return luaio_call(L);
}

int luaio_redirect(lua_State *L) {
  if (lua_type(L, 1) != LUA_TSTRING) return luaio_call(L);
  const char *name = lua_tostring(L, lua_upvalueindex(LUAIO_DEFAULT));
  lua_settop(L, 1);
  lua_pushstring(L, strcmp(name, "_IO_input") ? "w" : "r");
  return try_open(L, redirected);
}

/* --- io.popen ----------------------------------------------------------- */

/* Start the child with one end of a pipe; ours, or -1 and errno. */
static int start(lua_State *L, luaio_child *owner, bool reading) {
  luaio *io = luaio_of(L);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) return -1;
  int ours = ends[!reading], its = ends[reading];
  owner->child = gr_child_spawn(&io->S->hub, &io->children, lua_tostring(L, 1),
                                its, reading ? STDOUT_FILENO : STDIN_FILENO);
  if (!owner->child) give_back(ours);
  give_back(its);
  if (!owner->child) return -1;
  fcntl(ours, F_SETFL, O_NONBLOCK);
  return ours;
}

static int popen_now(lua_State *L) {
  const char *mode = lua_tostring(L, 2);
  luaio_new_stream(L);
  luaio_child *owner = luaio_new_child(L);
  lua_setiuservalue(L, -2, 1);
  gr_check_open(L, luaio_of(L)->S);
  int fd = start(L, owner, *mode == 'r');
  if (fd < 0 || attach(L, fd, mode))
    return luaL_fileresult(L, 0, lua_tostring(L, 1));
  return 1;
}

static int popen_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  gr_woken(L, gr_state_of(L), ctx, popen_k);
  return popen_now(L);
}

/* io.popen(command [, mode]).  What has been printed comes before what the
 * child prints. */
int luaio_popen(lua_State *L) {
  gr_state *S = gr_state_of(L);
  luaio *io = luaio_of(L);
  luaL_checkstring(L, 1);
  const char *mode = luaL_optstring(L, 2, "r");
  luaL_argcheck(L, (*mode == 'r' || *mode == 'w') && !mode[1], 2,
                "invalid mode");
  lua_settop(L, 1);
  lua_pushstring(L, mode);
  fflush(NULL);
  if (!io->files[LUAIO_OUT] || !gr_file_pending(io->files[LUAIO_OUT]) ||
      !luaio_can_wait(L, S))
    return popen_now(L);
  gr_greenlet *me = gr_can_block(L, S, INFINITY);
  gr_list_append(&io->files[LUAIO_OUT]->drained, &me->w.node);
  return gr_park(L, S, &popen_wait, true, 0, popen_k);
}
