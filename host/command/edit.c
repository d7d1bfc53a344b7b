/* Lines that are edited on a terminal, by libedit.
 *
 * libedit asks for one key at a time, and there main parks (the second way to
 * block: libedit's frames are set aside with the rest of the stack).  So
 * greenlets run while a line is being typed.  What they print is held back
 * until the loop waits again, and then goes above that line. */
#include "command.h"

#ifndef GR_HAVE_EDITLINE

bool gr_edit_open(lua_State *L, struct ev_loop *loop) {
  (void)L, (void)loop;
  return false;
}

bool gr_edit_read(lua_State *L, const char *prompt) {
  (void)L, (void)prompt;
  return false;
}

void gr_edit_remember(const char *text) {
  (void)text;
}

void gr_edit_close(void) {}

#else

#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

enum { REMEMBERED = 1000, HELD = 1 << 15 };

static struct {
  lua_State *L;
  struct ev_loop *loop;
  EditLine *el;
  History *history;
  char *path;  /* of the history; NULL: it is not kept */
  FILE *out;   /* the terminal */
  bool plain;  /* and it is a dumb one */
  bool raised; /* an error in main has ended the line */
  const char *prompt;
  /* Lua's programs keep the C locale; libedit needs to know what a character
   * is. */
  locale_t locale, outside;
  ev_signal resized, resumed;
} edit;

/* --- what greenlets print ----------------------------------------------- */

static struct held {
  bool on;
  int mode; /* the stream's own */
  char text[HELD];
} held[2]; /* stdout, stderr */

/* The linker has every call of fflush in Lua and here come to this one: `print`
 * flushes each line. */
int __real_fflush(FILE *f);
int __wrap_fflush(FILE *f);

int __wrap_fflush(FILE *f) {
  bool wait = (held[0].on && f == stdout) || (held[1].on && f == stderr);
  return wait ? 0 : __real_fflush(f);
}

/* The failing seek has glibc take notice: it would go on with what it thought
 * of the old buffer. */
static void set_buffer(FILE *f, char *text, int mode, size_t size) {
  __real_fflush(f);
  setvbuf(f, text, mode, size);
  fseek(f, 0, SEEK_CUR);
}

/* Streams that the program buffers in its own way are left alone. */
static void hold(struct held *h, FILE *f) {
  h->mode = __flbf(f) ? _IOLBF : _IONBF;
  h->on = isatty(fileno(f)) && (__flbf(f) || __fbufsize(f) <= 1);
  if (h->on) set_buffer(f, h->text, _IOFBF, sizeof h->text);
}

static void let_go(struct held *h, FILE *f) {
  if (h->on) set_buffer(f, NULL, h->mode, 0);
  h->on = false;
}

/* The rows of the terminal above the one with the cursor that the prompt and
 * the line take up. */
static int rows_above(void) {
  const LineInfoW *l = el_wline(edit.el);
  int columns = 80, row = 0, column = (int)strlen(edit.prompt);
  el_get(edit.el, EL_GETTC, "co", &columns);
  for (const wchar_t *c = l->buffer; c < l->cursor; c++) {
    int width = wcwidth(*c);
    column += width > 0 ? width : 0;
    if (*c != L'\n' && column < columns) continue;
    row++;
    column = *c == L'\n' ? 0 : column - columns;
  }
  return row;
}

static void print_held(struct held *h, FILE *f) {
  size_t n = h->on ? __fpending(f) : 0;
  if (!n) return;
  bool whole = h->text[n - 1] == '\n';
  __real_fflush(f);
  if (whole) return;
  fputc('\n', edit.out);
  fflush(edit.out);
}

/* Put what is held where the line is, and the line below it. */
static void print_above(void) {
  size_t n = held[0].on ? __fpending(stdout) : 0;
  if (held[1].on) n += __fpending(stderr);
  if (!n) return;
  locale_t before = uselocale(edit.locale);
  int rows = rows_above();
  if (edit.plain) {
    fputc('\n', edit.out);
  } else {
    if (rows) fprintf(edit.out, "\033[%dA", rows);
    fputs("\r\033[J", edit.out);
  }
  fflush(edit.out);
  print_held(&held[0], stdout);
  print_held(&held[1], stderr);
  el_set(edit.el, EL_REFRESH);
  uselocale(before);
}

static void before_poll(struct ev_loop *loop) {
  (void)loop;
  print_above();
}

/* --- keys --------------------------------------------------------------- */

/* For libedit: 1, or 0 at the end, or -1. */
static int read_key(EditLine *el, wchar_t *key) {
  mbstate_t partial = {0};
  (void)el;
  for (;;) {
    uselocale(edit.outside);
    int byte = gr_line_byte();
    uselocale(edit.locale);
    print_above();
    if (byte < 0) {
      edit.raised = byte == GR_BYTE_RAISED;
      return edit.raised ? -1 : 0;
    }
    char c = (char)byte;
    size_t n = mbrtowc(key, &c, 1, &partial);
    if (n <= 1) return 1;
    if (n == (size_t)-1) memset(&partial, 0, sizeof partial); /* no text */
  }
}

static char *show_prompt(EditLine *el) {
  (void)el;
  return (char *)(size_t)edit.prompt;
}

/* The terminal is not as we left it. */
static void on_terminal(struct ev_loop *loop, ev_signal *w, int events) {
  (void)loop, (void)events;
  if (!held[0].on) return; /* no line is being edited */
  locale_t before = uselocale(edit.locale);
  el_resize(edit.el);
  if (w == &edit.resumed) {
    el_set(edit.el, EL_PREP_TERM, 0);
    el_set(edit.el, EL_PREP_TERM, 1);
    el_set(edit.el, EL_REFRESH);
  }
  uselocale(before);
}

/* --- Tab ---------------------------------------------------------------- */

/* Push what is to be added to `text`, and a listing of what it might become:
 * strings or nil.  See lua/greenlua/complete.lua. */
static bool push_completion(lua_State *L, const char *text, size_t size) {
  int columns = 80;
  el_get(edit.el, EL_GETTC, "co", &columns);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "greenlua.complete");
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
    lua_pushlstring(L, text, size);
    lua_pushinteger(L, columns);
    if (lua_pcall(L, 2, 2, 0) == LUA_OK) return true;
  }
  return false;
}

static unsigned char complete(EditLine *el, wint_t key) {
  lua_State *L = edit.L;
  const LineInfo *l = el_line(el);
  int top = lua_gettop(L);
  unsigned char what = CC_REFRESH_BEEP;
  (void)key;
  if (push_completion(L, l->buffer, (size_t)(l->cursor - l->buffer))) {
    const char *addition = lua_tostring(L, -2), *listing = lua_tostring(L, -1);
    if (addition && el_insertstr(el, addition) == 0) {
      what = CC_REFRESH;
    } else if (listing) {
      fprintf(edit.out, "\n%s", listing);
      what = CC_REDISPLAY;
    }
  }
  lua_settop(L, top);
  return what;
}

/* --- lines -------------------------------------------------------------- */

bool gr_edit_read(lua_State *L, const char *prompt) {
  int size = 0;
  edit.prompt = prompt;
  edit.raised = false;
  hold(&held[0], stdout);
  hold(&held[1], stderr);
  ev_set_loop_release_cb(edit.loop, before_poll, NULL);
  edit.outside = uselocale(edit.locale);
  /* el_gets comes to that when the prompt is already seen. */
  el_set(edit.el, EL_PREP_TERM, 1);
  el_resize(edit.el);
  const char *text = el_gets(edit.el, &size);
  uselocale(edit.outside);
  ev_set_loop_release_cb(edit.loop, NULL, NULL);
  if (edit.raised) {
    fputc('\n', edit.out);
    fflush(edit.out);
  }
  let_go(&held[0], stdout);
  let_go(&held[1], stderr);
  if (edit.raised) lua_error(L);
  if (!text || size <= 0) return false;
  if (text[size - 1] == '\n') size--;
  lua_pushlstring(L, text, (size_t)size);
  return true;
}

void gr_edit_remember(const char *text) {
  HistEvent event;
  locale_t before = uselocale(edit.locale);
  history(edit.history, &event, H_ENTER, text);
  if (edit.path) history(edit.history, &event, H_SAVE, edit.path);
  uselocale(before);
}

/* --- life --------------------------------------------------------------- */

static char *history_path(void) {
  const char *directory = getenv("XDG_STATE_HOME"), *name = "greenlua_history";
  char *path = NULL;
  if (!directory || !*directory) {
    directory = getenv("HOME");
    name = ".greenlua_history";
  }
  if (!directory || asprintf(&path, "%s/%s", directory, name) < 0) return NULL;
  return path;
}

static bool open_history(void) {
  HistEvent event;
  edit.history = history_init();
  if (!edit.history) return false;
  history(edit.history, &event, H_SETSIZE, REMEMBERED);
  history(edit.history, &event, H_SETUNIQUE, 1);
  edit.path = history_path();
  if (edit.path) history(edit.history, &event, H_LOAD, edit.path);
  el_set(edit.el, EL_HIST, history, edit.history);
  return true;
}

static void bind_keys(void) {
  static const char *const keys[][2] = {{"^I", "lua-complete"},
                                        {"^R", "em-inc-search-prev"},
                                        {"\\e[A", "ed-prev-history"},
                                        {"\\e[B", "ed-next-history"},
                                        {"\\e[C", "ed-next-char"},
                                        {"\\e[D", "ed-prev-char"},
                                        {"\\e[H", "ed-move-to-beg"},
                                        {"\\e[F", "ed-move-to-end"},
                                        {"\\eOH", "ed-move-to-beg"},
                                        {"\\eOF", "ed-move-to-end"},
                                        {"\\e[1~", "ed-move-to-beg"},
                                        {"\\e[4~", "ed-move-to-end"},
                                        {"\\e[3~", "ed-delete-next-char"},
                                        {"\\e[1;5C", "em-next-word"},
                                        {"\\e[1;5D", "ed-prev-word"}};
  el_set(edit.el, EL_EDITOR, "emacs");
  el_wset(edit.el, EL_ADDFN, L"lua-complete", L"complete a name", complete);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    el_set(edit.el, EL_BIND, keys[i][0], keys[i][1], NULL);
  el_source(edit.el, NULL); /* the user's ~/.editrc has the last word */
}

static void watch(ev_signal *w, int number) {
  ev_signal_init(w, on_terminal, number);
  ev_signal_start(edit.loop, w);
  ev_unref(edit.loop);
}

static bool open_editor(void) {
  int fd = dup(STDOUT_FILENO);
  if (fd < 0) return false;
  edit.out = fdopen(fd, "w");
  if (!edit.out) {
    close(fd);
    return false;
  }
  edit.el = el_init("greenlua", stdin, edit.out, edit.out);
  if (edit.el && open_history()) return true;
  if (edit.el) el_end(edit.el);
  fclose(edit.out);
  return false;
}

/* The program may end from within a greenlet. */
static void restore_terminal(void) {
  if (held[0].on) el_set(edit.el, EL_PREP_TERM, 0);
}

bool gr_edit_open(lua_State *L, struct ev_loop *loop) {
  const char *terminal = getenv("TERM");
  edit.L = L;
  edit.loop = loop;
  edit.plain = !terminal || !*terminal || !strcmp(terminal, "dumb");
  edit.locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
  locale_t before = uselocale(edit.locale);
  bool good = open_editor();
  if (good) {
    el_set(edit.el, EL_SIGNAL, 0); /* signals are ours */
    el_set(edit.el, EL_PROMPT, show_prompt);
    el_set(edit.el, EL_GETCFN, read_key);
    bind_keys();
    watch(&edit.resized, SIGWINCH);
    watch(&edit.resumed, SIGCONT);
    atexit(restore_terminal);
  }
  uselocale(before);
  return good;
}

static void unwatch(ev_signal *w) {
  ev_ref(edit.loop);
  ev_signal_stop(edit.loop, w);
}

void gr_edit_close(void) {
  unwatch(&edit.resized);
  unwatch(&edit.resumed);
  history_end(edit.history);
  el_end(edit.el);
  fclose(edit.out);
  free(edit.path);
  if (edit.locale) freelocale(edit.locale);
}

#endif
