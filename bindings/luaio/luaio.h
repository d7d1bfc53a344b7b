/* greenlua.core.luaio: Lua's io and os libraries, so that they wait without
 * holding others up.  What a call means and returns stays Lua's own code: a
 * function here calls the original in its own place (the stack is the caller's,
 * so are the messages), and waits before it or after it.
 *
 *   luaio.c    streams of ours, the standard ones, wrappers
 *   read.c     read, lines
 *   write.c    write, flush, print
 *   open.c     open, input, output, popen
 *   process.c  close, execute
 */
#ifndef GRB_LUAIO_H
#define GRB_LUAIO_H

#include <lauxlib.h>

#include "child.h"
#include "file.h"
#include "state.h"

enum { LUAIO_IN, LUAIO_OUT };

/* One for a Lua state. */
typedef struct luaio {
  gr_state *S;
  gr_list children;
  gr_file *files[2]; /* stand for stdin and stdout; NULL: they are as ever */
  luaL_Stream *streams[2]; /* Lua's objects for them */
  lua_CFunction read;      /* Lua's file:read */
} luaio;

/* A file of ours: Lua's own type, with more behind it.  Its user value is the
 * child that it is a pipe to. */
typedef struct luaio_stream {
  luaL_Stream lua;
  gr_file *file;
} luaio_stream;

typedef struct luaio_child {
  gr_child *child; /* NULL: there is none, or it has been released */
} luaio_child;

/* Upvalues of every wrapper. */
enum { LUAIO_STATE = 1, LUAIO_IO, LUAIO_ORIGINAL, LUAIO_DEFAULT };

static inline luaio *luaio_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(LUAIO_IO));
}

/* Call the original as if it had been called; what it pushes are results. */
static inline int luaio_call(lua_State *L) {
  return lua_tocfunction(L, lua_upvalueindex(LUAIO_ORIGINAL))(L);
}

/* What is behind a file at `arg`, or behind the default one if the wrapper has
 * one ("_IO_input", "_IO_output"); NULL: it is closed, or none of ours. */
gr_file *luaio_file(lua_State *L, int arg);

/* What such a stream has for Lua's own code to close it. */
int luaio_close_stream(lua_State *L);

/* A stream at `arg` that is not a standard one; NULL: none of ours, closed. */
luaio_stream *luaio_to_stream(lua_State *L, int arg);

/* Push a closed stream. */
luaio_stream *luaio_new_stream(lua_State *L);

/* Push what will own a child. */
luaio_child *luaio_new_child(lua_State *L);

/* Can the running greenlet wait here?  If not, the call blocks, as ever. */
bool luaio_can_wait(lua_State *L, gr_state *S);

/* Results of an original lie on top: return them when what the file keeps is
 * out.  `file` may be NULL. */
int luaio_return_written(lua_State *L, gr_file *file, int n);

/* Close a stream; results as of file:close().  It is at index 1. */
int luaio_close(lua_State *L);

/* The functions that take the place of others. */
int luaio_read(lua_State *L);
int luaio_lines(lua_State *L);
int luaio_io_lines(lua_State *L);
int luaio_write(lua_State *L);
int luaio_print(lua_State *L);
int luaio_open(lua_State *L);
int luaio_redirect(lua_State *L); /* io.input, io.output */
int luaio_popen(lua_State *L);
int luaio_execute(lua_State *L);
int luaio_io_close(lua_State *L);
int luaio_collect(lua_State *L); /* __gc */

/* The iterator over a file, which is on top of the stack, and the formats
 * below it from `first` on.  Pushes it. */
void luaio_push_lines(lua_State *L, int first, bool toclose);

/* Open a path that is a terminal or a named pipe.  1: the stream is on top; 0:
 * the path is something else; -1 and errno: it cannot be opened. */
int luaio_try_open(lua_State *L, const char *path, const char *mode);

#endif
