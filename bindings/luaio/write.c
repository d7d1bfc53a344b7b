/* Writing: the original has written all; what the descriptor has not taken yet
 * is waited for. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "luaio.h"

static const gr_wait write_wait = {.name = "write"};

/* An error of the world ends all of these waits. */
static int written_k(lua_State *L, int status, lua_KContext n) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, n, written_k);
  gr_file *file = how == GR_CLOSED && n > 0 ? luaio_file(L, 1) : NULL;
  if (!file || !file->failure) return (int)n;
  errno = file->failure;
  return luaL_fileresult(L, 0, NULL);
}

int luaio_return_written(lua_State *L, gr_file *file, int n) {
  gr_state *S = gr_state_of(L);
  if (!file || !gr_file_pending(file) || !luaio_can_wait(L, S)) return n;
  gr_greenlet *me = gr_can_block(L, S, INFINITY);
  gr_list_append(&file->drained, &me->w.node);
  return gr_park(L, S, &write_wait, true, n, written_k);
}

/* file:write(...), io.write(...), file:flush(), io.flush() */
int luaio_write(lua_State *L) {
  gr_file *file = luaio_file(L, 1);
  return luaio_return_written(L, file, luaio_call(L));
}

/* print(...): what is waited for belongs to stdout */
int luaio_print(lua_State *L) {
  luaio *io = luaio_of(L);
  int n = luaio_call(L);
  return luaio_return_written(L, io->files[LUAIO_OUT], n);
}
