/* The ends of files, and of the processes behind them; os.execute. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "luaio.h"

static const gr_wait execute_wait = {.name = "execute"};
static const gr_wait close_wait = {.name = "close"};

/* --- the end of a child ------------------------------------------------- */

static int push_result(lua_State *L, const gr_child *c) {
  errno = c->error;
  return luaL_execresult(L, c->error ? -1 : c->status);
}

static int await_child(lua_State *L, const gr_wait *what);

static int child_k(lua_State *L, int status, lua_KContext what) {
  (void)status;
  gr_woken(L, gr_state_of(L), what, child_k);
  return await_child(L, (const gr_wait *)what);
}

/* Its owner is at index 1.  In the finalizer of something else it may have been
 * finalized before, and the child released. */
static int await_child(lua_State *L, const gr_wait *what) {
  gr_state *S = gr_state_of(L);
  gr_child *c = ((luaio_child *)lua_touserdata(L, 1))->child;
  if (!c) return luaL_fileresult(L, 1, NULL);
  if (!gr_child_look(c) && !luaio_can_wait(L, S)) gr_child_join(c);
  if (gr_child_look(c)) return push_result(L, c);
  gr_greenlet *me = gr_can_block(L, S, INFINITY);
  gr_list_append(&c->waiters, &me->w.node);
  return gr_park(L, S, what, true, (lua_KContext)what, child_k);
}

/* os.execute([command]): a kill or a Timeout ends the wait, not the command */
int luaio_execute(lua_State *L) {
  luaio *io = luaio_of(L);
  const char *command = luaL_optstring(L, 1, NULL);
  if (!command) return luaio_call(L);
  gr_check_open(L, io->S);
  luaio_child *owner = luaio_new_child(L);
  owner->child = gr_child_spawn(&io->S->hub, &io->children, command, -1, -1);
  if (!owner->child) return luaL_fileresult(L, 0, NULL);
  lua_replace(L, 1);
  return await_child(L, &execute_wait);
}

/* --- the end of a stream ------------------------------------------------ */

/* All is written, or never will be. */
static int close_now(lua_State *L, luaio_stream *s) {
  int failure = s->file->failure;
  s->lua.closef = NULL;
  if (fclose(s->lua.f)) failure = errno;
  if (lua_getiuservalue(L, 1, 1) == LUA_TUSERDATA) {
    lua_replace(L, 1);
    return await_child(L, &close_wait);
  }
  errno = failure;
  return luaL_fileresult(L, !failure, NULL);
}

static int close_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  gr_woken(L, gr_state_of(L), ctx, close_k);
  luaio_stream *s = luaio_to_stream(L, 1);
  return s ? close_now(L, s) : luaio_call(L); /* others have closed it */
}

static int close_stream(lua_State *L, luaio_stream *s) {
  gr_state *S = gr_state_of(L);
  lua_settop(L, 1);
  fflush(s->lua.f);
  if (!gr_file_pending(s->file) || !luaio_can_wait(L, S))
    return close_now(L, s);
  gr_greenlet *me = gr_can_block(L, S, INFINITY);
  gr_list_append(&s->file->drained, &me->w.node);
  return gr_park(L, S, &close_wait, true, 0, close_k);
}

/* file:close(), and __close: the originals know what to do if it is closed */
int luaio_close(lua_State *L) {
  luaio_stream *s = luaio_to_stream(L, 1);
  return s ? close_stream(L, s) : luaio_call(L);
}

/* io.close([file]) */
int luaio_io_close(lua_State *L) {
  if (lua_isnone(L, 1)) lua_getfield(L, LUA_REGISTRYINDEX, "_IO_output");
  return luaio_close(L);
}

/* __gc: waits for nobody; the child is reaped when it ends. */
int luaio_collect(lua_State *L) {
  luaio_stream *s = luaio_to_stream(L, 1);
  if (!s) return luaio_call(L);
  s->lua.closef = NULL;
  fclose(s->lua.f);
  return 0;
}
