/* greenlua.h: C functions that block. */
#include "embed.h"

#include <ev.h>
#include <string.h>
#include <unistd.h>

static int held; /* blocks that C functions hold: all are to be freed */
static int dropped;

static void drop(void *result) {
  if (result) dropped++;
}

/* A C function that holds memory while it waits. */
static int finish(lua_State *L, void *memory, int code) {
  free(memory);
  held--;
  if (code < 0) return green_throw(L, code);
  lua_pushinteger(L, code);
  return 1;
}

static void *hold(void) {
  held++;
  return malloc(100);
}

static int nap(lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  void *memory = hold();
  return finish(L, memory, green_sleep(L, seconds));
}

/* --- a callback API ------------------------------------------------------- */

static green_wait *pending[8];
static int npending;

/* start(): an operation that somebody completes later */
static green_wait *start(lua_State *L) {
  green_wait *w = green_wait_new(L, "reply", drop);
  if (w) pending[npending++] = w;
  return w;
}

/* Complete the oldest. */
static int reply(int code, void *result) {
  CHECK(npending);
  green_wait *w = pending[0];
  memmove(pending, pending + 1, sizeof pending - sizeof *pending);
  npending--;
  return green_done(w, code, result);
}

/* ask([timeout]) -> the reply */
static int ask(lua_State *L) {
  double timeout = luaL_optnumber(L, 1, -1);
  void *memory = hold(), *result = NULL;
  green_wait *w = start(L);
  int code = w ? green_park(L, w, timeout, &result) : GREEN_EBLOCK;
  if (code < 0) return finish(L, memory, code);
  finish(L, memory, 0); /* before anything can raise */
  lua_pushstring(L, result);
  return 1;
}

static int ask_k(lua_State *L, int status, lua_KContext ctx) {
  void *result = NULL;
  (void)status;
  CHECK(ctx == 7 && lua_gettop(L) >= 1);
  int code = green_woken(L, ctx, ask_k, &result);
  CHECK(!strcmp(lua_tostring(L, -1), "mine"));
  if (code < 0) return green_throw(L, code);
  lua_pushstring(L, result);
  return 1;
}

/* The same with a continuation. */
static int askk(lua_State *L) {
  double timeout = luaL_optnumber(L, 1, -1);
  lua_pushliteral(L, "mine");
  green_wait *w = start(L);
  if (!w) return green_throw(L, green_can_block(L));
  return green_parkk(L, w, timeout, 7, ask_k);
}

static green_hub *open_hub(green_config c) {
  green_hub *hub = embed_open(c);
  lua_State *L = green_lua(hub);
  lua_register(L, "nap", nap);
  lua_register(L, "ask", ask);
  lua_register(L, "askk", askk);
  CHECK(embed_do(hub, "green = require 'greenlua'"));
  held = dropped = npending = 0;
  return hub;
}

static void step(green_hub *hub) {
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
}

/* --- where ---------------------------------------------------------------- */

static void blocks_wherever_lua_stands(void) {
  static const char *const places[] = {
      "%s(0.001)",
      "table.sort({3, 1, 2}, function(a, b) %s(0.001) return a < b end)",
      "('a'):gsub('.', function() %s(0.001) end)",
      "coroutine.wrap(function() %s(0.001) end)()",
      "local t = setmetatable({}, {__index = function() %s(0.001) end}) "
      "local x = t.x",
      "for _ in function() %s(0.001) end do end"};
  green_hub *hub = open_hub(green_defaults());
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char code[400];
    snprintf(code, sizeof code, places[i], "nap");
    embed_go(hub, code);
    CHECK(embed_do(hub, code)); /* main may, too */
    CHECK(green_run(hub) == GREEN_OK && !held);
  }
  green_free(hub);
}

static int under_call(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_call(L, 0, 1);
  return 1;
}

static void answers(const char *ask_name) {
  green_hub *hub = open_hub(green_defaults());
  char code[300];
  lua_register(green_lua(hub), "under_call", under_call);
  snprintf(code, sizeof code, "got = %s() .. under_call(%s)", ask_name,
           ask_name);
  embed_go(hub, code);
  step(hub);
  green_info info = {.size = sizeof info};
  CHECK(npending == 1);
  CHECK(reply(GREEN_OK, "one") == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "got"), "nil"); /* it only became ready */
  step(hub);
  CHECK(reply(GREEN_OK, "two") == GREEN_OK);
  step(hub);
  CHECK_TEXT(embed_get(hub, "got"), "onetwo");
  /* a code of the host's own is raised by green_throw */
  snprintf(code, sizeof code, "ok, why = pcall(%s)", ask_name);
  embed_go(hub, code);
  step(hub);
  CHECK(reply(GREEN_ESYS, NULL) == GREEN_OK);
  step(hub);
  CHECK(strstr(embed_get(hub, "why"), "a system call failed"));
  CHECK(!held && !dropped);
  (void)info;
  green_free(hub);
}

static void drops_what_nobody_waits_for(const char *ask_name) {
  green_hub *hub = open_hub(green_defaults());
  char code[300];
  snprintf(code, sizeof code,
           "ok, why = pcall(%s, 0.001) "
           "green.sleep(0) killed = select(2, pcall(%s))",
           ask_name, ask_name);
  green_greenlet *g = embed_spawn(hub, code, 0, NULL);
  while (npending < 2) green_step(hub, INT64_MAX);
  CHECK(strstr(embed_get(hub, "why"), "timeout"));
  CHECK(reply(GREEN_OK, "late") == GREEN_ECLOSED && dropped == 1);
  CHECK(green_kill(g, "stop it") == GREEN_OK);
  step(hub);
  CHECK_TEXT(embed_get(hub, "killed"), "stop it"); /* the very object */
  CHECK(reply(GREEN_OK, "late") == GREEN_ECLOSED && dropped == 2);
  CHECK(!held);
  green_release(g);
  green_free(hub);
}

static void raises_the_very_timeout(const char *ask_name) {
  green_hub *hub = open_hub(green_defaults());
  char code[400];
  snprintf(code, sizeof code,
           "local t <close> = green.Timeout(0.001) "
           "local ok, err = pcall(%s) same = err == t "
           "within = green.within(0.001, %s)",
           ask_name, ask_name);
  embed_go(hub, code);
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "same"), "true");
  CHECK_TEXT(embed_get(hub, "within"), "false");
  CHECK(reply(GREEN_OK, NULL) == GREEN_ECLOSED);
  CHECK(reply(GREEN_OK, NULL) == GREEN_ECLOSED);
  CHECK(!held);
  green_free(hub);
}

/* A function that is told of a kill and goes on regardless. */
static int stubborn(lua_State *L) {
  CHECK(green_sleep(L, 100) == GREEN_ERAISED);
  CHECK(green_can_block(L) == GREEN_ERAISED);
  CHECK(green_sleep(L, 100) == GREEN_ERAISED);
  return 0;
}

static void keeps_an_interrupt_that_c_ignores(void) {
  green_hub *hub = open_hub(green_defaults());
  lua_register(green_lua(hub), "stubborn", stubborn);
  green_greenlet *g = embed_spawn(
      hub, "stubborn() lua = true ok, why = pcall(green.sleep, 100)", 0, NULL);
  step(hub);
  CHECK(green_kill(g, "now") == GREEN_OK);
  step(hub);
  CHECK_TEXT(embed_get(hub, "lua"), "true");
  CHECK_TEXT(embed_get(hub, "why"), "now");
  green_release(g);
  green_free(hub);
}

static int too_early(lua_State *L) {
  green_wait *w = green_wait_new(L, "early", drop);
  void *result;
  CHECK(green_done(w, GREEN_OK, "early") == GREEN_OK);
  CHECK(green_park(L, w, -1, &result) == GREEN_OK);
  lua_pushstring(L, result);
  return 1;
}

static int never_started(lua_State *L) {
  green_wait_free(green_wait_new(L, "none", drop));
  green_wait_free(NULL);
  CHECK(green_park(L, NULL, 0, NULL) == GREEN_EINVAL);
  CHECK(green_done(NULL, 0, NULL) == GREEN_EINVAL);
  return 0;
}

static void completes_before_it_parks(void) {
  green_hub *hub = open_hub(green_defaults());
  lua_register(green_lua(hub), "too_early", too_early);
  lua_register(green_lua(hub), "never_started", never_started);
  embed_go(hub, "x = too_early() never_started()");
  CHECK(green_run(hub) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "x"), "early");
  green_free(hub);
}

/* --- closing -------------------------------------------------------------- */

static int codes[10], ncodes;

static int watchful(lua_State *L) {
  void *memory = hold();
  codes[ncodes++] = green_sleep(L, 100);
  codes[ncodes++] = green_sleep(L, 100); /* again: it is over */
  return finish(L, memory, codes[ncodes - 1]);
}

static void count_error(green_hub *hub, const char *text, void *ud) {
  (void)hub, (void)text;
  ++*(int *)ud;
}

static void lets_c_free_what_it_holds_at_the_end(void) {
  for (int own = 0; own < 3; own++) {
    green_config c = green_defaults();
    int errors = 0;
    c.on_error = count_error;
    c.ud = &errors;
    if (own) c.L = luaL_newstate();
    green_hub *hub = open_hub(c);
    lua_register(green_lua(hub), "watchful", watchful);
    ncodes = 0;
    embed_go(hub, "local c <close> = setmetatable({}, {__close = function() "
                  "closed = true end}) watchful() went_on = true");
    embed_go(hub, "ask()");
    embed_go(hub, "askk()");
    embed_go(hub, "table.sort({1, 2}, askk)");
    embed_go(hub, "table.sort({1, 2}, function() pcall(nap, 100) "
                  "pcall(nap, 100) spun = true green.sleep(1) end)");
    step(hub);
    CHECK(held == 3 && npending == 3);
    if (own == 2)
      lua_close(c.L);
    else
      CHECK(green_close(hub) == GREEN_OK);
    CHECK(held == 0 && errors == 0);
    CHECK(ncodes == 2 && codes[0] == GREEN_ECLOSED && codes[1] == codes[0]);
    while (npending) CHECK(reply(GREEN_OK, "late") == GREEN_ECLOSED);
    CHECK(dropped == 3);
    if (own == 1) lua_close(c.L);
    green_free(hub);
  }
}

static void ends_one_that_waits_in_c(void) {
  green_hub *hub = open_hub(green_defaults());
  green_greenlet *g =
      embed_spawn(hub,
                  "local c <close> = setmetatable({}, {__close = function() "
                  "green.sleep(0.001) closed = true end}) "
                  "while true do pcall(nap, 100) end",
                  0, NULL);
  green_greenlet *k =
      embed_spawn(hub, "while true do pcall(askk) end", 0, NULL);
  step(hub);
  CHECK(held == 1 && green_end(g) == GREEN_OK && green_end(g) == GREEN_OK);
  CHECK(green_end(k) == GREEN_OK);
  CHECK(green_run(hub) == GREEN_OK);
  CHECK(embed_status(g) == GREEN_EKILLED && embed_status(k) == GREEN_EKILLED);
  CHECK_TEXT(embed_get(hub, "closed"), "true");
  CHECK(held == 0 && reply(GREEN_OK, NULL) == GREEN_ECLOSED);
  green_release(g);
  green_release(k);
  green_free(hub);
}

/* --- where it is refused -------------------------------------------------- */

static int refused;

static int in_finalizer(lua_State *L) {
  refused = green_can_block(L);
  CHECK(green_sleep(L, 1) == refused);
  CHECK(green_poll(L, 0, GREEN_READ, 1) == refused);
  return 0;
}

static void refuses_where_nobody_can_wait(void) {
  green_hub *hub = open_hub(green_defaults());
  lua_register(green_lua(hub), "in_finalizer", in_finalizer);
  embed_go(hub, "setmetatable({}, {__gc = in_finalizer}) collectgarbage()");
  CHECK(green_run(hub) == GREEN_OK && refused == GREEN_EBLOCK);
  green_free(hub);
  lua_State *L = luaL_newstate();
  CHECK(green_can_block(L) == GREEN_EBLOCK && !green_wait_new(L, "", NULL));
  CHECK(green_sleep(L, 1) == GREEN_EBLOCK);
  lua_close(L);
  green_config c = green_defaults();
  c.loop = ev_loop_new(EVFLAG_AUTO);
  hub = open_hub(c);
  CHECK(green_can_block(green_lua(hub)) == GREEN_EBLOCK);
  CHECK(!embed_do(hub, "nap(1)"));
  CHECK(strstr(lua_tostring(green_lua(hub), -1), "cannot block here"));
  green_free(hub);
  ev_loop_destroy(c.loop);
}

static void runs_out_of_stacks_with_a_code(void) {
  green_config c = green_defaults();
  c.max_stacks = 3;
  green_hub *hub = open_hub(c);
  for (int i = 0; i < 5; i++)
    embed_go(hub, "local ok, why = pcall(nap, 0.001) failed = failed or why");
  CHECK(green_run(hub) == GREEN_OK && !held);
  CHECK(strstr(embed_get(hub, "failed"), "not enough memory"));
  green_free(hub);
}

/* --- descriptors ---------------------------------------------------------- */

static int poll_fd(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), events = (int)luaL_checkinteger(L, 2);
  lua_pushinteger(L, green_poll(L, fd, events, luaL_optnumber(L, 3, -1)));
  return 1;
}

static void set_number(green_hub *hub, const char *name, int value) {
  lua_pushinteger(green_lua(hub), value);
  lua_setglobal(green_lua(hub), name);
}

static void waits_for_descriptors(void) {
  green_hub *hub = open_hub(green_defaults());
  int pipe_fds[2];
  CHECK(!pipe(pipe_fds));
  lua_register(green_lua(hub), "poll", poll_fd);
  set_number(hub, "r", pipe_fds[0]);
  set_number(hub, "w", pipe_fds[1]);
  embed_go(hub, "writable, late, bad, odd = poll(w, 2), poll(r, 1, 0.001), "
                "poll(12345, 1), poll(r, 9) readable = poll(r, 1)");
  green_greenlet *g = embed_spawn(hub, "dup_wait = poll(w, 1)", 0, NULL);
  while (!strcmp(embed_get(hub, "odd"), "nil")) green_step(hub, INT64_MAX);
  CHECK_TEXT(embed_get(hub, "writable"), "0");
  CHECK_TEXT(embed_get(hub, "late"), "-1");
  CHECK_TEXT(embed_get(hub, "bad"), "-5");
  CHECK_TEXT(embed_get(hub, "odd"), "-5");
  CHECK(write(pipe_fds[1], "x", 1) == 1);
  step(hub);
  CHECK_TEXT(embed_get(hub, "readable"), "0");
  embed_go(hub, "closed = poll(r, 1)"); /* readable: it ends at once */
  step(hub);
  char c;
  CHECK(read(pipe_fds[0], &c, 1) == 1);
  embed_go(hub, "closed = poll(r, 1)");
  step(hub);
  CHECK(green_closing(hub, pipe_fds[0]) == GREEN_OK);
  step(hub);
  CHECK_TEXT(embed_get(hub, "closed"), "-3");
  CHECK(green_kill(g, NULL) == GREEN_OK);
  green_stats s = {.size = sizeof s};
  step(hub);
  CHECK(green_count(hub, &s) == GREEN_OK && s.descriptors == 0);
  green_release(g);
  green_free(hub);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

/* --- without memory ------------------------------------------------------- */

static void survives_every_failing_allocation(const char *ask_name) {
  green_config c = green_defaults();
  c.alloc = embed_failing;
  c.on_error = embed_ignore;
  int enough = 0;
  for (long n = 1; !enough; n++) {
    green_hub *hub = open_hub(c);
    char code[100];
    snprintf(code, sizeof code, "%s() done = true", ask_name);
    embed_go(hub, code);
    embed_countdown = n;
    green_step(hub, INT64_MAX);
    if (npending) reply(GREEN_OK, "x");
    green_step(hub, INT64_MAX);
    enough = embed_countdown > 1;
    embed_countdown = 0;
    if (enough) CHECK_TEXT(embed_get(hub, "done"), "true");
    green_free(hub);
    CHECK(!held);
  }
}

int main(void) {
  blocks_wherever_lua_stands();
  for (int k = 0; k < 2; k++) {
    answers(k ? "askk" : "ask");
    drops_what_nobody_waits_for(k ? "askk" : "ask");
    raises_the_very_timeout(k ? "askk" : "ask");
    survives_every_failing_allocation(k ? "askk" : "ask");
  }
  keeps_an_interrupt_that_c_ignores();
  completes_before_it_parks();
  lets_c_free_what_it_holds_at_the_end();
  ends_one_that_waits_in_c();
  refuses_where_nobody_can_wait();
  runs_out_of_stacks_with_a_code();
  waits_for_descriptors();
  return 0;
}
