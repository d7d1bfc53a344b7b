#include "luaio.h"

#include <errno.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "greenlualib.h"

static const char key; /* of the luaio in the registry, which keeps it */
static const char *const child_class = "greenlua.child";

bool luaio_can_wait(lua_State *L, gr_state *S) {
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  if (!g || !S->hub.loop) return false;
  if (L == g->L && lua_isyieldable(L)) return true;
  return lua_gc(L, LUA_GCCOUNT) >= 0 && !gr_hub_reserve(&S->hub);
}

/* --- streams ------------------------------------------------------------ */

/* Called by Lua's own code only where ours has not been before it: by somebody
 * who has kept the original `close`. */
int luaio_close_stream(lua_State *L) {
  luaio_stream *s = lua_touserdata(L, 1);
  int failed = fclose(s->lua.f);
  lua_getiuservalue(L, 1, 1);
  luaio_child *owner = lua_touserdata(L, -1);
  gr_child *c = owner ? owner->child : NULL;
  if (!c) return luaL_fileresult(L, !failed, NULL);
  gr_child_join(c);
  errno = c->error;
  return luaL_execresult(L, c->error ? -1 : c->status);
}

luaio_stream *luaio_new_stream(lua_State *L) {
  luaio_stream *s = lua_newuserdatauv(L, sizeof *s, 1);
  memset(s, 0, sizeof *s);
  luaL_setmetatable(L, LUA_FILEHANDLE);
  return s;
}

luaio_stream *luaio_to_stream(lua_State *L, int arg) {
  luaio_stream *s = luaL_testudata(L, arg, LUA_FILEHANDLE);
  return s && s->lua.closef == luaio_close_stream ? s : NULL;
}

gr_file *luaio_file(lua_State *L, int arg) {
  luaio *io = luaio_of(L);
  bool named = lua_isstring(L, lua_upvalueindex(LUAIO_DEFAULT));
  if (named) {
    lua_pushvalue(L, lua_upvalueindex(LUAIO_DEFAULT));
    lua_rawget(L, LUA_REGISTRYINDEX);
    arg = -1;
  }
  luaL_Stream *lua = luaL_testudata(L, arg, LUA_FILEHANDLE);
  if (named) lua_pop(L, 1);
  if (!lua || !lua->closef) return NULL;
  if (lua->closef == luaio_close_stream)
    return ((luaio_stream *)(void *)lua)->file;
  for (int side = LUAIO_IN; side <= LUAIO_OUT; side++)
    if (lua == io->streams[side]) return io->files[side];
  return NULL;
}

/* --- children ----------------------------------------------------------- */

static int release_child(lua_State *L) {
  luaio_child *c = lua_touserdata(L, 1);
  if (c->child) gr_child_release(c->child);
  c->child = NULL;
  return 0;
}

luaio_child *luaio_new_child(lua_State *L) {
  luaio_child *c = lua_newuserdatauv(L, sizeof *c, 0);
  c->child = NULL;
  luaL_setmetatable(L, child_class);
  return c;
}

/* --- the standard streams ----------------------------------------------- */

/* stdin and stdout are variables, and the process has one of each.  What has
 * once stood in for them stays: other Lua states may have taken it for theirs.
 */
static gr_file *stand_ins[2];

static FILE **variable(int side) {
  return side == LUAIO_IN ? &stdin : &stdout;
}

/* Reading or writing a regular file, or a device that is no terminal, does not
 * wait for anybody. */
static bool may_wait(int fd) {
  struct stat st;
  if (fstat(fd, &st)) return false;
  return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(fd);
}

static luaL_Stream *standard(lua_State *L, int arg, const FILE *f) {
  luaL_Stream *s = luaL_testudata(L, arg, LUA_FILEHANDLE);
  return s && s->closef && s->f == f ? s : NULL;
}

/* Buffered as what it stands for.  (A read from a terminal flushes a line of
 * stdout that has not ended yet, a prompt, if both are buffered by lines.) */
static gr_file *stand_in(lua_State *L, luaio *io, FILE *f, const char *mode) {
  int fd = fileno(f);
  gr_file *file = gr_file_open(&io->S->hub, fd, mode, true, f);
  if (!file) luaL_error(L, "cannot open a stream: %s", strerror(errno));
  if (__fbufsize(f) == 1)
    setvbuf(file->f, NULL, _IONBF, 0);
  else
    setvbuf(file->f, NULL, isatty(fd) ? _IOLBF : _IOFBF, BUFSIZ);
  return file;
}

/* The C library's own variables, too: what C code prints keeps its place, and
 * `dofile()` goes on where `io.read()` has left off. */
static void adopt_side(lua_State *L, luaio *io, int side) {
  gr_file **now = &stand_ins[side];
  FILE **v = variable(side);
  luaL_Stream *s = standard(L, side + 1, *v);
  if (!s && *now) s = standard(L, side + 1, (*now)->f);
  if (io->files[side] || !s || !may_wait(side)) return;
  if (*now && (*now)->hub) return; /* another state's */
  if (side == LUAIO_OUT) fflush(*v);
  if (*now) {
    (*now)->before = *v;
    gr_file_inherit(*now, &io->S->hub);
  } else {
    *now = stand_in(L, io, *v, side == LUAIO_IN ? "r" : "w");
  }
  io->files[side] = *now;
  io->streams[side] = s;
  s->f = *v = (*now)->f;
}

/* adopt(stdin, stdout): from now on they wait without holding others up */
static int adopt(lua_State *L) {
  luaio *io = luaio_of(L);
  gr_check_open(L, io->S);
  adopt_side(L, io, LUAIO_IN);
  adopt_side(L, io, LUAIO_OUT);
  return 0;
}

static void restore(luaio *io, int side) {
  gr_file *file = io->files[side];
  if (!file) return;
  if (side == LUAIO_OUT) fflush(file->f);
  io->streams[side]->f = *variable(side) = file->before;
  io->files[side] = NULL;
}

/* Before the hub is closed, which was opened before: finalizers run in that
 * order. */
static int end_luaio(lua_State *L) {
  luaio *io = lua_touserdata(L, 1);
  gr_file_forget(&io->S->hub);
  gr_child_forget(&io->children);
  restore(io, LUAIO_IN);
  restore(io, LUAIO_OUT);
  return 0;
}

/* --- wrappers ----------------------------------------------------------- */

static const struct {
  const char *name;
  lua_CFunction f;
  const char *file; /* the default one that it is about */
} wrappers[] = {{"read", luaio_read, NULL},
                {"lines", luaio_lines, NULL},
                {"write", luaio_write, NULL},
                {"flush", luaio_write, NULL},
                {"close", luaio_close, NULL},
                {"__close", luaio_close, NULL},
                {"__gc", luaio_collect, NULL},
                {"io.read", luaio_read, "_IO_input"},
                {"io.lines", luaio_io_lines, "_IO_input"},
                {"io.input", luaio_redirect, "_IO_input"},
                {"io.write", luaio_write, "_IO_output"},
                {"io.flush", luaio_write, "_IO_output"},
                {"io.output", luaio_redirect, "_IO_output"},
                {"io.close", luaio_io_close, NULL},
                {"io.open", luaio_open, NULL},
                {"io.popen", luaio_popen, NULL},
                {"print", luaio_print, NULL},
                {"os.execute", luaio_execute, NULL}};

/* wrap(name, original) -> what takes its place; nil if it is not Lua's own */
static int wrap(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  luaio *io = luaio_of(L);
  if (!lua_iscfunction(L, 2) || lua_getupvalue(L, 2, 1))
    return lua_pushnil(L), 1;
  if (!strcmp(name, "read")) io->read = lua_tocfunction(L, 2);
  for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
    if (strcmp(wrappers[i].name, name)) continue;
    lua_pushvalue(L, lua_upvalueindex(LUAIO_STATE));
    lua_pushvalue(L, lua_upvalueindex(LUAIO_IO));
    lua_pushvalue(L, 2);
    lua_pushstring(L, wrappers[i].file);
    lua_pushcclosure(L, wrappers[i].f, LUAIO_DEFAULT);
    return 1;
  }
  return luaL_argerror(L, 1, "not a function of Lua's that can be wrapped");
}

static void new_class(lua_State *L, const char *name, lua_CFunction gc) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

static luaio *push_luaio(lua_State *L) {
  gr_state *S = gr_state_open(L);
  gr_need_loop(L, S, "greenlua.monkey");
  luaio *io = lua_newuserdatauv(L, sizeof *io, 0);
  memset(io, 0, sizeof *io);
  io->S = S;
  gr_list_init(&io->children);
  new_class(L, child_class, release_child);
  new_class(L, "greenlua.luaio", end_luaio);
  luaL_setmetatable(L, "greenlua.luaio");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  return io;
}

int luaopen_greenlua_core_luaio(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"adopt", adopt}, {"wrap", wrap}, {NULL, NULL}};
  luaio *io = push_luaio(L);
  luaL_newlibtable(L, funcs);
  lua_pushlightuserdata(L, io->S);
  lua_pushlightuserdata(L, io);
  luaL_setfuncs(L, funcs, 2);
  return 1;
}
