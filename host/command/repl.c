/* The prompt: reads, runs and prints, as lua's does. */
#include <stdio.h>
#include <string.h>

#include "command.h"

/* Push a line, read after _PROMPT, or after _PROMPT2 if it continues one; false
 * at the end of the input. */
static bool push_line(lua_State *L, bool first) {
  int top = lua_gettop(L);
  const char *prompt = first ? "> " : ">> ";
  if (lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2") != LUA_TNIL) {
    prompt = luaL_tolstring(L, -1, NULL);
    lua_replace(L, top + 1);
  }
  bool got = gr_line_read(L, prompt);
  if (got) lua_replace(L, top + 1);
  lua_settop(L, top + got);
  return got;
}

static int load(lua_State *L, const char *text, size_t size) {
  return luaL_loadbuffer(L, text, size, "=stdin");
}

/* Load the line at index 1 as the expressions of a `return`; pushes nothing if
 * it is something else. */
static int load_expressions(lua_State *L) {
  const char *line = lua_tostring(L, 1);
  const char *text = lua_pushfstring(L, "return %s", line);
  int status = load(L, text, strlen(text));
  if (status != LUA_OK) {
    lua_pop(L, 2);
    return status;
  }
  lua_remove(L, -2);
  gr_line_remember(line);
  return status;
}

static bool incomplete(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  const size_t length = sizeof mark - 1;
  size_t size;
  if (status != LUA_ERRSYNTAX) return false;
  const char *text = lua_tolstring(L, -1, &size);
  return size >= length && !strcmp(text + size - length, mark);
}

/* Load the line at index 1 and those that complete it; pushes the chunk or the
 * error. */
static int load_statements(lua_State *L) {
  for (;;) {
    size_t size;
    const char *text = lua_tolstring(L, 1, &size);
    int status = load(L, text, size);
    if (!incomplete(L, status) || !push_line(L, false)) {
      gr_line_remember(text);
      return status;
    }
    lua_pushfstring(L, "%s\n%s", text, lua_tostring(L, -1));
    lua_replace(L, 1);
    lua_settop(L, 1);
  }
}

/* () -> status, chunk or error; nothing at the end of the input */
static int read_chunk(lua_State *L) {
  if (!push_line(L, true)) return 0;
  if (*lua_tostring(L, 1) == '=') { /* as in the older versions of Lua */
    lua_pushfstring(L, "return %s", lua_tostring(L, 1) + 1);
    lua_replace(L, 1);
  }
  int status = load_expressions(L);
  if (status != LUA_OK) status = load_statements(L);
  lua_pushinteger(L, status);
  lua_insert(L, -2);
  return 2;
}

static void print_results(lua_State *L) {
  int n = lua_gettop(L);
  if (!n) return;
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, 1);
  if (lua_pcall(L, n, 0, 0) != LUA_OK)
    gr_message(
        lua_pushfstring(L, "error calling 'print' (%s)", lua_tostring(L, -1)));
}

/* What was typed so far is dropped; Ctrl-C means just that. */
static void drop_input(lua_State *L) {
  const char *why = lua_tostring(L, -1);
  if (!why || strcmp(why, "interrupted!"))
    gr_message(luaL_tolstring(L, -1, NULL));
}

/* false: the input has ended. */
static bool serve_once(lua_State *L) {
  lua_settop(L, 0);
  lua_pushcfunction(L, read_chunk);
  if (lua_pcall(L, 0, 2, 0) != LUA_OK) {
    drop_input(L);
    return true;
  }
  if (lua_isnil(L, 1)) return false;
  int status = (int)lua_tointeger(L, 1);
  lua_remove(L, 1);
  if (status == LUA_OK) status = gr_call(L, 0, LUA_MULTRET);
  if (gr_report(L, status) == LUA_OK) print_results(L);
  return true;
}

void gr_repl(lua_State *L) {
  const char *name = gr_progname;
  gr_line_open(L);
  gr_progname = NULL;
  while (serve_once(L))
    ;
  gr_line_close();
  lua_settop(L, 0);
  printf("\n");
  fflush(stdout);
  gr_progname = name;
}
