/* The command: `lua`, with greenlets.  Its options, messages and exit codes are
 * those of PUC Lua 5.4; what is different is what comes after the last line of
 * the script, and Ctrl-C. */
#include <fcntl.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "command.h"
#include "coop/coop.h"
#include "greenlualib.h"

#define VERSION "greenlua 0.1.0"

const char *gr_progname = "greenlua";

/* --- messages ----------------------------------------------------------- */

void gr_message(const char *text) {
  if (gr_progname) fprintf(stderr, "%s: ", gr_progname);
  fprintf(stderr, "%s\n", text);
  fflush(stderr);
}

int gr_report(lua_State *L, int status) {
  if (status == LUA_OK) return status;
  const char *text = lua_tostring(L, -1);
  gr_message(text ? text : "(error object is not a string)");
  lua_pop(L, 1);
  return status;
}

static void print_versions(void) {
  printf("%s\n%s\n", VERSION, LUA_COPYRIGHT);
  fflush(stdout);
}

static void print_help(FILE *to) {
  fprintf(to,
          "usage: %s [option ...] [script [argument ...]]\n"
          "\n"
          "Runs a Lua 5.4 script whose every blocking call lets other "
          "greenlets run, and\n"
          "goes on after its last line until none is left that could run.\n"
          "\n"
          "  -e CODE       run CODE\n"
          "  -l MODULE     require MODULE into a global of that name\n"
          "  -l NAME=MODULE  the same, into the global NAME\n"
          "  -i            prompt for more when the script has ended\n"
          "  -v            print the versions\n"
          "  -W            show warnings\n"
          "  -E            ignore LUA_INIT, LUA_PATH and LUA_CPATH\n"
          "  --monkey      make `socket`, `ssl`, `io`, `os` let greenlets run, "
          "for libraries\n"
          "                that know of none; before anything else is run\n"
          "  -             the script is on stdin\n"
          "  --            what follows is no option\n"
          "  --coop-libc   C libraries that wait (poll, recv, sleep ...) let "
          "others run\n"
          "  --help        print this\n"
          "  --version     print the versions, and nothing else\n"
          "\n"
          "Without a script: the prompt if stdin is a terminal, else a script "
          "from stdin.\n"
          "Ctrl-C raises the error \"interrupted!\" in the main program.\n",
          gr_progname);
}

static void refuse_option(const char *option) {
  bool incomplete = option[1] == 'e' || option[1] == 'l';
  fprintf(stderr,
          incomplete ? "%s: '%s' needs argument\n"
                     : "%s: unrecognized option '%s'\n",
          gr_progname, option);
  print_help(stderr);
  fflush(stderr);
}

/* --- calls -------------------------------------------------------------- */

/* An error that a child of main's has ended with, raised by the end of a scope:
 * where the child stood is put before where main stands, which is on top. */
static void add_cause(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  int top = lua_gettop(L);
  if (!S || !S->main) return;
  gr_push_greenlet(L, S, S->main);
  gr_push_extra(L, S, -1, false);
  if (lua_istable(L, -1) && lua_getfield(L, -1, "cause") == LUA_TUSERDATA) {
    lua_getfield(L, -1, "exception");
    bool same = lua_rawequal(L, -1, 1);
    lua_getfield(L, -2, "traceback");
    if (same && lua_isstring(L, -1)) {
      lua_pushfstring(L, "%s\n%s\nraised in main by the end of its scope:\n%s",
                      lua_tostring(L, 1), lua_tostring(L, -1),
                      lua_tostring(L, top) + lua_rawlen(L, 1) + 1);
      lua_replace(L, top);
    }
  }
  lua_settop(L, top);
}

/* The message handler: what is to be shown of any error. */
static int describe(lua_State *L) {
  const char *text = lua_tostring(L, 1);
  if (!text) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
      return 1; /* an object that shows itself: without a traceback */
    text =
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, text, 1);
  if (lua_type(L, 1) == LUA_TSTRING) add_cause(L);
  return 1;
}

int gr_call(lua_State *L, int nargs, int nresults) {
  int handler = lua_gettop(L) - nargs;
  lua_pushcfunction(L, describe);
  lua_insert(L, handler);
  int status = lua_pcall(L, nargs, nresults, handler);
  lua_remove(L, handler);
  return status;
}

/* Run a chunk that has been loaded with `status`. */
static int run_chunk(lua_State *L, int status) {
  if (status == LUA_OK) status = gr_call(L, 0, 0);
  return gr_report(L, status);
}

static int run_file(lua_State *L, const char *path) {
  return run_chunk(L, luaL_loadfile(L, path));
}

static int run_string(lua_State *L, const char *code, const char *name) {
  return run_chunk(L, luaL_loadbuffer(L, code, strlen(code), name));
}

/* "module", or "global=module" */
static int run_require(lua_State *L, const char *what) {
  const char *equals = strchr(what, '=');
  lua_getglobal(L, "require");
  lua_pushstring(L, equals ? equals + 1 : what);
  int status = gr_call(L, 1, 1);
  if (status != LUA_OK) return gr_report(L, status);
  lua_pushlstring(L, what, equals ? (size_t)(equals - what) : strlen(what));
  const char *name = lua_tostring(L, -1);
  lua_pushvalue(L, -2);
  lua_setglobal(L, name);
  lua_pop(L, 2);
  return LUA_OK;
}

/* --- options ------------------------------------------------------------ */

typedef struct options {
  bool code, prompt, versions, clean; /* -e, -i, -v, -E */
  bool help, version, coop, monkey;   /* the long ones */
  const char *bad;                    /* the option that is wrong */
  int argc;
  int script; /* its index in argv; argc if there is none */
} options;

/* An option of one letter, or one that begins with it. */
static bool accept_short(options *o, char **argv, int *i) {
  char letter = argv[*i][1];
  bool alone = !argv[*i][2];
  switch (letter) {
  case 'E':
    o->clean = true;
    return alone;
  case 'i':
    o->prompt = o->versions = true;
    return alone;
  case 'v':
    o->versions = true;
    return alone;
  case 'W':
    return alone;
  case 'e':
    o->code = true; /* fall through */
  case 'l':
    if (!alone) return true;
    if (!argv[*i + 1] || *argv[*i + 1] == '-') return false;
    ++*i;
    return true;
  default:
    return false;
  }
}

static bool accept_long(options *o, const char *name) {
  if (!strcmp(name, "help"))
    o->help = true;
  else if (!strcmp(name, "version"))
    o->version = true;
  else if (!strcmp(name, "coop-libc"))
    o->coop = true;
  else if (!strcmp(name, "monkey"))
    o->monkey = true;
  else
    return false;
  return true;
}

static void parse_options(options *o, char **argv) {
  int i = 1;
  for (; argv[i]; i++) {
    const char *option = argv[i];
    if (option[0] != '-' || !option[1]) break;
    if (!strcmp(option, "--")) {
      i++;
      break;
    }
    bool good = option[1] == '-' ? accept_long(o, option + 2)
                                 : accept_short(o, argv, &i);
    if (!good) o->bad = option;
    if (o->bad || o->help || o->version) return;
  }
  o->script = i;
}

/* Those that run something, in their order. */
static bool run_options(lua_State *L, char **argv, int end) {
  for (int i = 1; i < end; i++) {
    char letter = argv[i][1];
    if (letter == 'W') lua_warning(L, "@on", 0);
    if (letter != 'e' && letter != 'l') continue;
    const char *value = argv[i][2] ? argv[i] + 2 : argv[++i];
    int status = letter == 'e' ? run_string(L, value, "=(command line)")
                               : run_require(L, value);
    if (status != LUA_OK) return false;
  }
  return true;
}

/* --- the script --------------------------------------------------------- */

/* Global `arg`: the script's name at 0, its arguments from 1 on, what stood
 * before it below. */
static void set_arg(lua_State *L, int argc, char **argv, int script) {
  if (script == argc) script = 0;
  lua_createtable(L, argc - script - 1, script + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

/* What comes before it may have changed `arg`. */
static int push_arguments(lua_State *L) {
  if (lua_getglobal(L, "arg") != LUA_TTABLE)
    luaL_error(L, "'arg' is not a table");
  int n = (int)luaL_len(L, -1);
  luaL_checkstack(L, n + 3, "too many arguments to script");
  for (int i = 1; i <= n; i++) lua_rawgeti(L, -i, i);
  lua_remove(L, -n - 1);
  return n;
}

static int run_script(lua_State *L, char **argv, int script) {
  const char *path = argv[script];
  if (!strcmp(path, "-") && strcmp(argv[script - 1], "--")) path = NULL;
  int status = luaL_loadfile(L, path);
  if (status == LUA_OK) status = gr_call(L, push_arguments(L), LUA_MULTRET);
  return gr_report(L, status);
}

static int run_init(lua_State *L) {
  const char *name = "=LUA_INIT_5_4", *code = getenv(name + 1);
  if (!code) {
    name = "=LUA_INIT";
    code = getenv(name + 1);
  }
  if (!code) return LUA_OK;
  return *code == '@' ? run_file(L, code + 1) : run_string(L, code, name);
}

static int call_module(lua_State *L, const char *module, const char *function) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  int status = gr_call(L, 1, 1);
  if (status != LUA_OK) return gr_report(L, status);
  lua_getfield(L, -1, function);
  return gr_report(L, gr_call(L, 0, 0));
}

/* After the last line: until nothing is left that could run.  Who waits for
 * ever is closed while its <close> variables can still block. */
static int drain(lua_State *L) {
  gr_state *S = gr_state_peek(L);
  if (!S || !S->living) return LUA_OK;
  int status = call_module(L, "greenlua.core.wait", "drain");
  if (status != LUA_OK || !S->living) return status;
  return call_module(L, "greenlua.util", "close_all");
}

/* --- all of it ---------------------------------------------------------- */

static void open_libraries(lua_State *L, const options *o) {
  if (o->clean) {
    lua_pushboolean(L, 1); /* for package.path and package.cpath */
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  luaL_openlibs(L);
  greenlua_preload(L);
}

/* What is on the command line, in its order; false after an error. */
static bool run_all(lua_State *L, char **argv, const options *o) {
  if (o->monkey && call_module(L, "greenlua.monkey", "patch_all") != LUA_OK)
    return false;
  if (!o->clean && run_init(L) != LUA_OK) return false;
  if (!run_options(L, argv, o->script)) return false;
  bool script = o->script < o->argc;
  if (script && run_script(L, argv, o->script) != LUA_OK) return false;
  if (!script && !o->code && !o->versions) {
    if (!isatty(STDIN_FILENO)) {
      run_file(L, NULL); /* its failure is not that of the program, in lua */
    } else {
      print_versions();
      gr_repl(L);
      return true;
    }
  } else if (o->prompt) {
    gr_repl(L);
    return true; /* whoever leaves the prompt leaves the program */
  }
  return drain(L) == LUA_OK;
}

/* (argv, options) -> did all go well? */
static int protected_main(lua_State *L) {
  char **argv = lua_touserdata(L, 1);
  const options *o = lua_touserdata(L, 2);
  luaL_checkversion(L);
  if (o->versions) print_versions();
  open_libraries(L, o);
  set_arg(L, o->argc, argv, o->script);
  lua_gc(L, LUA_GCGEN, 0, 0);
  gr_interrupt_open(L);
  if (o->coop) gr_coop_open(L);
  lua_pushboolean(L, run_all(L, argv, o));
  return 1;
}

static int run(char **argv, options *o) {
  lua_State *L = luaL_newstate(); /* with its warnings, and its panic */
  if (!L) {
    gr_message("cannot create state: not enough memory");
    return EXIT_FAILURE;
  }
  lua_setallocf(L, gr_lua_alloc, NULL);
  lua_pushcfunction(L, protected_main);
  lua_pushlightuserdata(L, argv);
  lua_pushlightuserdata(L, o);
  int status = gr_report(L, lua_pcall(L, 2, 1, 0));
  bool good = status == LUA_OK && lua_toboolean(L, -1);
  gr_interrupt_close();
  lua_close(L);
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What we open must not become descriptor 0, 1 or 2, which scripts and their
 * children take for the standard streams: closed ones lead to nothing. */
static void fill_standard_streams(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
  options o = {.argc = argc, .script = argc};
  if (argc > 0 && *argv[0]) gr_progname = argv[0];
  if (argc > 0) parse_options(&o, argv);
  if (o.help) {
    print_help(stdout);
    return EXIT_SUCCESS;
  }
  if (o.version) {
    print_versions();
    return EXIT_SUCCESS;
  }
  if (o.bad) {
    refuse_option(o.bad);
    return EXIT_FAILURE;
  }
  fill_standard_streams();
  return run(argv, &o);
}
