#include "fuzz.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "greenlua.h"
#include "state.h"

enum {
  MOST_TURNS = 200000, /* of the clock, or of the hub with nothing done */
  COLLECT = 1000,      /* inputs until the memory is looked at */
  GROWTH = 2 << 20     /* bytes that it may have more then than at first */
};

static green_hub *hub;
static int64_t now = 1000000000;
static int ended; /* the target's function has returned, or failed */
static unsigned inputs;
static size_t at_first; /* bytes of Lua's */

/* --- failing ------------------------------------------------------------ */

/* libFuzzer keeps the input of whoever aborts. */
static _Noreturn void fail(const char *what, const char *why) {
  fprintf(stderr, "\n%s: %s\n", what, why);
  abort();
}

static void on_error(green_hub *h, const char *text, void *ud) {
  (void)h, (void)ud;
  fail("a greenlet failed", text);
}

static int tree(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "greenlua.util");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "tree");
  lua_call(L, 0, 1);
  return 1;
}

static _Noreturn void fail_stuck(const char *what) {
  lua_State *L = green_lua(hub);
  lua_pushcfunction(L, tree);
  lua_pcall(L, 0, 1, 0);
  const char *text = lua_tostring(L, -1);
  fail(what, text ? text : "?");
}

static void on_done(green_greenlet *g, lua_State *L, int n, int status,
                    void *ud) {
  (void)n, (void)ud;
  ended = 1;
  if (status == GREEN_OK) return;
  const char *text = luaL_tolstring(L, -1, NULL);
  green_traceback(L, g);
  const char *trace = lua_tostring(L, -1);
  fprintf(stderr, "\n%s\n", trace ? trace : "");
  fail("the target failed", text);
}

/* --- time --------------------------------------------------------------- */

static int64_t clock_of_ours(void *ud) {
  (void)ud;
  return now;
}

static size_t living(void) {
  green_stats s = {.size = sizeof s};
  green_count(hub, &s);
  return s.living;
}

/* Nobody is ready, and nothing has come: it is as late as somebody waits for.
 */
static void let_time_pass(void) {
  int64_t next = green_next(hub);
  if (next < 0) fail_stuck("all wait for each other");
  now += next;
}

/* Run the hub until everything has ended.  What a greenlet has written may be
 * there for another one in the next step only. */
static void settle(void) {
  const gr_hub *h = &gr_state_peek(green_lua(hub))->hub;
  for (int turns = 0, idle = 0; !ended || living(); turns++) {
    unsigned runs = h->runs;
    int more = green_step(hub, 1000000);
    if (more < 0) fail("green_step", green_strerror(more));
    idle = runs == h->runs && more == GREEN_OK ? idle + 1 : 0;
    if (idle > 1) let_time_pass();
    if (turns == MOST_TURNS) fail_stuck("it does not end");
  }
}

/* --- coverage of Lua code ----------------------------------------------- */

#ifdef GR_FUZZ
enum { COUNTERS = 1 << 14, CHUNKS = 256 };

/* libFuzzer reads these as it reads those of C code. */
__attribute__((
    section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];
static unsigned last;

/* The same in every process, unlike the name's address. */
static unsigned hash(const char *name) {
  static struct {
    const char *name;
    unsigned hash;
  } known[CHUNKS], *k;
  k = &known[(uintptr_t)name / 16 % CHUNKS];
  if (k->name == name) return k->hash;
  unsigned value = 2166136261u;
  for (const char *s = name; *s; s++)
    value = (value ^ (unsigned char)*s) * 16777619u;
  k->name = name;
  return k->hash = value;
}

/* From which line to which, in greenlua's modules. */
static void on_line(lua_State *L, lua_Debug *ar) {
  lua_getinfo(L, "S", ar);
  if (strncmp(ar->source, "@greenlua", 9)) return;
  unsigned at = (hash(ar->source) + (unsigned)ar->currentline) * 2654435761u;
  uint8_t *counter = &counters[(at >> 16 ^ last) % COUNTERS];
  if (*counter < 255) ++*counter;
  last = at >> 17;
}

/* Coroutines have the hook of whoever makes them. */
static void cover(lua_State *L) {
  lua_sethook(L, on_line, LUA_MASKLINE, 0);
}

static void cover_anew(void) {
  last = 0;
}
#else
static void cover(lua_State *L) {
  (void)L;
}

static void cover_anew(void) {}
#endif

/* --- the target --------------------------------------------------------- */

static int prepare(lua_State *L) {
  cover(L);
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_fuzz_core);
  lua_setfield(L, -2, "fuzz.core");
  lua_pop(L, 1);
  lua_getglobal(L, "package");
  lua_pushliteral(L, FUZZ_ROOT "/?.lua;");
  lua_getfield(L, -2, "path");
  lua_concat(L, 2);
  lua_setfield(L, -2, "path");
  lua_pop(L, 1);
  return green_preload(L);
}

/* The function of the target stays at the bottom of the stack. */
static void load(const char *name) {
  char path[512];
  lua_State *L = green_lua(hub);
  snprintf(path, sizeof path, "%s/spec/fuzz/targets/%s.lua", FUZZ_ROOT, name);
  if (luaL_dofile(L, path)) fail(path, lua_tostring(L, -1));
  if (!lua_isfunction(L, -1)) fail(path, "it returns no function");
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  const char *name = NULL;
  for (int i = 1; i < *argc; i++)
    if (!strncmp((*argv)[i], "--target=", 9)) name = (*argv)[i] + 9;
  if (!name) fail("fuzz", "which target? --target=NAME");
  green_config c = green_defaults();
  c.open = prepare;
  c.clock = clock_of_ours;
  c.on_error = on_error;
  hub = green_open(&c, NULL);
  if (!hub) fail("fuzz", "no hub");
  load(name);
  return 0;
}

/* Whatever inputs leave behind in Lua is garbage. */
static void look_at_memory(lua_State *L) {
  if (++inputs % COLLECT) return;
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT);
  size_t bytes = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024;
  if (!at_first) at_first = bytes;
  if (bytes > at_first + GROWTH) fail("memory", "it grows and grows");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  lua_State *L = green_lua(hub);
  green_options o = {.size = sizeof o, .name = "target", .on_done = on_done};
  ended = 0;
  cover_anew();
  lua_pushvalue(L, 1);
  lua_pushlstring(L, (const char *)data, size);
  green_greenlet *g = green_spawn(L, 1, &o);
  if (!g) fail("green_spawn", green_message(hub));
  green_release(g);
  settle();
  look_at_memory(L);
  return 0;
}

void fuzz_finish(void) {
  green_free(hub);
}
