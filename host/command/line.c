/* A line for the prompt, from a terminal (edit.c) or from elsewhere. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "io.h"

static struct {
  gr_state *S;
  lua_State *L; /* the thread that reads */
  gr_io input;
  bool edited; /* libedit does it */
} line;

/* --- waiting for input -------------------------------------------------- */

const gr_wait gr_prompt_wait = {.name = "prompt"};

static int await_input_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  gr_woken(L, line.S, ctx, await_input_k);
  return 0;
}

static int await_input(lua_State *L) {
  gr_can_block(L, line.S, INFINITY);
  gr_io_await(&line.input);
  return gr_park(L, line.S, &gr_prompt_wait, true, 0, await_input_k);
}

int gr_line_byte(void) {
  for (;;) {
    unsigned char byte;
    lua_pushcfunction(line.L, await_input);
    if (lua_pcall(line.L, 0, 0, 0) != LUA_OK) return GR_BYTE_RAISED;
    ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n > 0) return byte;
    if (!n || (errno != EINTR && errno != EAGAIN)) return GR_BYTE_END;
  }
}

/* --- a line ------------------------------------------------------------- */

/* Byte by byte, as stdin itself reads now: what follows a line is there for
 * whoever reads next, be it the program's own io.read. */
static bool read_plainly(lua_State *L, const char *prompt) {
  luaL_Buffer b;
  int byte;
  size_t size = 0;
  fputs(prompt, stdout);
  fflush(stdout);
  luaL_buffinit(L, &b);
  while ((byte = gr_line_byte()) >= 0 && byte != '\n') {
    luaL_addchar(&b, (char)byte);
    size++;
  }
  if (byte == GR_BYTE_RAISED) {
    fputc('\n', stdout);
    lua_error(L);
  }
  luaL_pushresult(&b);
  return byte == '\n' || size;
}

bool gr_line_read(lua_State *L, const char *prompt) {
  bool got = line.edited ? gr_edit_read(L, prompt) : read_plainly(L, prompt);
  gr_io_disarm(&line.input); /* what runs now may read from there, too */
  return got;
}

void gr_line_remember(const char *text) {
  if (line.edited && *text) gr_edit_remember(text);
}

void gr_line_open(lua_State *L) {
  line.S = gr_state_open(L);
  line.L = L;
  gr_io_init(&line.input, &line.S->hub, STDIN_FILENO, EV_READ, NULL);
  line.edited = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
                gr_edit_open(L, line.S->hub.loop);
  if (!line.edited) setvbuf(stdin, NULL, _IONBF, 0);
}

void gr_line_close(void) {
  if (line.edited) gr_edit_close();
}
