/* C functions that block: a pattern each.
 *
 *   nap        sleeps in place, and frees what it holds whatever happens
 *   fetch      adapts an API that calls back, here from another thread
 *   fetch_k    the same with a continuation: the greenlet keeps no C stack
 *   checksum   runs a function that takes long on a thread
 *   read_some  waits for a descriptor
 *   each       calls Lua from C: what it calls may block as well
 *
 * All of them work wherever Lua code can stand. */
#include <fcntl.h>
#include <greenlua.h>
#include <lauxlib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- in place ------------------------------------------------------------- */

static int buffers; /* that are in use */

/* nap(seconds) */
static int nap(lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  char *buffer = malloc(100);
  buffers++;
  int code = green_sleep(L, seconds); /* a kill or a Timeout is a code, too */
  free(buffer);
  buffers--;
  return code < 0 ? green_throw(L, code) : 0; /* and is raised here */
}

/* --- an API that calls back ----------------------------------------------- */

/* The library: fetch_page calls back with a page that the caller frees, from a
 * thread of its own, some time later; for "slow" only when the library is
 * closed, which waits for all its threads. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static int fetching;
static bool closing;

typedef struct request {
  char url[100];
  void (*callback)(void *ud, char *page);
  void *ud;
} request;

static void *library_thread(void *arg) {
  request *r = arg;
  char *page = malloc(200);
  usleep(2000);
  pthread_mutex_lock(&mutex);
  while (!strcmp(r->url, "slow") && !closing)
    pthread_cond_wait(&change, &mutex);
  pthread_mutex_unlock(&mutex);
  snprintf(page, 200, "contents of %s", r->url);
  r->callback(r->ud, page);
  free(r);
  pthread_mutex_lock(&mutex);
  fetching--;
  pthread_cond_broadcast(&change);
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static bool fetch_page(const char *url, void (*callback)(void *, char *),
                       void *ud) {
  request *r = malloc(sizeof *r);
  pthread_t thread;
  snprintf(r->url, sizeof r->url, "%s", url);
  r->callback = callback;
  r->ud = ud;
  pthread_mutex_lock(&mutex); /* the thread must not be done before it counts */
  bool ok = pthread_create(&thread, NULL, library_thread, r) == 0;
  fetching += ok;
  pthread_mutex_unlock(&mutex);
  if (ok)
    pthread_detach(thread);
  else
    free(r);
  return ok;
}

static void library_close(void) {
  pthread_mutex_lock(&mutex);
  closing = true;
  pthread_cond_broadcast(&change);
  while (fetching > 0) pthread_cond_wait(&change, &mutex);
  pthread_mutex_unlock(&mutex);
}

/* What we do with it. */
static void have_page(void *ud, char *page) {
  green_done(ud, GREEN_OK, page); /* from any thread, once */
}

/* fetch(url [, timeout]) -> page */
static int fetch(lua_State *L) {
  const char *url = luaL_checkstring(L, 1);
  double timeout = luaL_optnumber(L, 2, -1);
  void *page;
  green_wait *w = green_wait_new(L, "fetch", free); /* free: if it comes late */
  if (!w) return green_throw(L, green_can_block(L));
  if (!fetch_page(url, have_page, w)) {
    green_wait_free(w); /* nobody will call back */
    return luaL_error(L, "cannot fetch %s", url);
  }
  int code = green_park(L, w, timeout, &page);
  if (code < 0) return green_throw(L, code);
  lua_pushstring(L, page);
  free(page);
  return 1;
}

static int fetched(lua_State *L, int status, lua_KContext ctx) {
  void *page;
  int code = green_woken(L, ctx, fetched, &page);
  (void)status;
  if (code < 0) return green_throw(L, code);
  lua_pushstring(L, page);
  free(page);
  return 1;
}

/* fetch_k(url [, timeout]) -> page */
static int fetch_k(lua_State *L) {
  const char *url = luaL_checkstring(L, 1);
  double timeout = luaL_optnumber(L, 2, -1);
  green_wait *w = green_wait_new(L, "fetch", free);
  if (!w) return green_throw(L, green_can_block(L));
  if (!fetch_page(url, have_page, w)) {
    green_wait_free(w);
    return luaL_error(L, "cannot fetch %s", url);
  }
  return green_parkk(L, w, timeout, 0, fetched);
}

/* --- a function that takes long ------------------------------------------- */

typedef struct text {
  size_t length;
  char bytes[];
} text;

/* On a thread: no Lua here. */
static void sum(void *arg) {
  text *t = arg;
  unsigned long total = 0;
  for (size_t i = 0; i < t->length; i++) total += (unsigned char)t->bytes[i];
  t->length = total;
}

/* checksum(string) -> number */
static int checksum(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 1, &length);
  text *t = malloc(sizeof *t + length);
  if (!t) return luaL_error(L, "not enough memory");
  t->length = length;
  memcpy(t->bytes, bytes, length); /* Lua may free the string meanwhile */
  int code = green_work(L, sum, t, -1, free);
  if (code < 0) return green_throw(L, code);
  lua_pushinteger(L, (lua_Integer)t->length);
  free(t);
  return 1;
}

/* --- a descriptor
 * ------------------------------------------------------------- */

/* read_some(fd [, timeout]) -> string, or nil and a message */
static int read_some(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  char buffer[200];
  int code = green_poll(L, fd, GREEN_READ, luaL_optnumber(L, 2, -1));
  if (code == GREEN_ERAISED) return green_throw(L, code);
  ssize_t n = code < 0 ? -1 : read(fd, buffer, sizeof buffer);
  if (n < 0) {
    lua_pushnil(L);
    lua_pushstring(L, green_strerror(code));
    return 2;
  }
  lua_pushlstring(L, buffer, (size_t)n);
  return 1;
}

/* --- Lua from C
 * ----------------------------------------------------------------- */

/* each(list, f) */
static int each(lua_State *L) {
  lua_Integer n = luaL_len(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_pushvalue(L, 2);
    lua_geti(L, 1, i);
    lua_call(L, 1, 0); /* no lua_callk is needed */
  }
  return 0;
}

/* buffers() -> how many are in use */
static int count_buffers(lua_State *L) {
  lua_pushinteger(L, buffers);
  return 1;
}

static const char script[] =
    "local green = require 'greenlua'\n"
    "local r, w = ...\n"
    "each({'a', 'b'}, function(url) print(fetch(url)) end)\n"
    "print(fetch_k 'c')\n"
    "print(pcall(fetch, 'slow', 0.0001))\n"
    "table.sort({2, 1}, function(x, y) nap(0.001) return x < y end)\n"
    "print('checksum', checksum(('x'):rep(100000)))\n"
    "print(read_some(r, 0.001))\n"
    "green.spawn(function() nap(0.002) write(w, 'hello') end)\n"
    "print(read_some(r))\n"
    "local sleeper = green.spawn(nap, 100)\n"
    "green.sleep(0)\n"
    "print('buffers in use', buffers())\n"
    "sleeper:kill()\n"
    "print('after the kill', buffers())\n"
    "print(green.within(0.001, nap, 100))\n";

/* write(fd, string) */
static int write_some(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 2, &length);
  lua_pushboolean(L, write((int)luaL_checkinteger(L, 1), bytes, length) >= 0);
  return 1;
}

int main(void) {
  static const luaL_Reg functions[] = {
      {"nap", nap},           {"fetch", fetch},           {"fetch_k", fetch_k},
      {"checksum", checksum}, {"read_some", read_some},   {"write", write_some},
      {"each", each},         {"buffers", count_buffers}, {NULL, NULL}};
  green_config config = green_defaults();
  green_hub *hub = green_open(&config, NULL);
  int ends[2];
  if (!hub || pipe(ends)) return EXIT_FAILURE;
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  lua_State *L = green_lua(hub);
  lua_pushglobaltable(L);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
  if (luaL_loadstring(L, script) != LUA_OK) return EXIT_FAILURE;
  lua_pushinteger(L, ends[0]);
  lua_pushinteger(L, ends[1]);
  green_release(green_spawn(L, 2, NULL));
  int code = green_run(hub);
  library_close(); /* that calls back where the fetch has been given up */
  green_free(hub);
  close(ends[0]);
  close(ends[1]);
  return code == GREEN_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
