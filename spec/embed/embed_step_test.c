/* greenlua.h: green_step. */
#include "embed.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef GR_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

static void steps_in_game_time(void) {
  green_hub *hub = embed_open(embed_game());
  embed_time = 1000;
  embed_go(hub, "local green = require 'greenlua' n = 0 "
                "while true do green.sleep(1) n = n + 1 end");
  CHECK(green_next(hub) == 0);
  for (int i = 0; i < 3; i++) CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "0"); /* the game is paused */
  int64_t next = green_next(hub);
  CHECK(next > 999999000 && next < 1000001000);
  embed_time += 1500000000;
  CHECK(green_next(hub) == 0);
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "1");
  embed_time += 10000000000;
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "2");
  green_free(hub);
}

static void stops_when_the_budget_is_used_up(void) {
  green_hub *hub = embed_open(embed_game());
  CHECK(embed_do(hub, "n = 0"));
  for (int i = 0; i < 5; i++) embed_go(hub, "n = n + 1");
  CHECK(green_step(hub, 0) == GREEN_MORE); /* one at least */
  CHECK_TEXT(embed_get(hub, "n"), "1");
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "n"), "5");
  embed_go(hub, "while true do require 'greenlua'.sleep() n = n + 1 end");
  CHECK(green_step(hub, 1000000) == GREEN_MORE);
  CHECK(green_step(hub, -1) == GREEN_EINVAL);
  green_free(hub);
}

static void refuses_what_the_hub_has_not(void) {
  green_hub *hub = embed_open(embed_game());
  lua_State *L = green_lua(hub);
  CHECK(!embed_do(hub, "require 'greenlua.socket'"));
  CHECK(strstr(lua_tostring(L, -1), "greenlua.socket needs an event loop"));
  CHECK(!embed_do(hub, "require 'greenlua'.sleep(1)"));
  CHECK(strstr(lua_tostring(L, -1), "cannot block in main"));
  CHECK(green_run(hub) == GREEN_EINVAL);
  CHECK(green_next(hub) == -1);
  green_free(hub);

  hub = embed_open(green_defaults());
  CHECK(!embed_do(hub, "require 'greenlua'.signal('SIGUSR1', print)"));
  CHECK(strstr(lua_tostring(green_lua(hub), -1), "not granted signals"));
  green_free(hub);
}

static void lets_idlers_run_when_nobody_is_ready(void) {
  green_hub *hub = embed_open(embed_game());
  embed_go(hub, "local green = require 'greenlua' order = '' "
                "green.spawn(function() green.idle() order = order .. 'i' end) "
                "green.spawn(function() for _ = 1, 3 do green.sleep() "
                "order = order .. 's' end end)");
  while (green_next(hub) == 0) CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "order"), "sssi");
  green_free(hub);
}

static void polls_descriptors_in_a_step(void) {
  green_config c = green_defaults();
  c.clock = embed_clock; /* sockets, but the time is the game's */
  green_hub *hub = embed_open(c);
  embed_go(hub, "local socket = require 'greenlua.socket' "
                "local a, b = socket.pair() "
                "require 'greenlua'.spawn(function() got = b:receive() end) "
                "require 'greenlua'.sleep(1) a:send('hello\\n') "
                "a:settimeout(1) ok, why = a:receive()");
  CHECK(green_run(hub) == GREEN_EINVAL);
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  embed_time += 1000000000;
  for (int i = 0; i < 3; i++) CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "got"), "hello");
  CHECK_TEXT(embed_get(hub, "why"), "nil");
  embed_time += 1000000000;
  CHECK(green_step(hub, INT64_MAX) == GREEN_OK);
  CHECK_TEXT(embed_get(hub, "why"), "timeout");
  green_free(hub);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INSTRUMENTED 1
#elif defined(GR_HAVE_VALGRIND)
#define INSTRUMENTED RUNNING_ON_VALGRIND
#else
#define INSTRUMENTED 0
#endif

/* From here on whoever makes another system call than exit is killed. */
static void forbid_system_calls(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL)};
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
}

static void makes_no_system_call_when_idle(void) {
  if (INSTRUMENTED) return;
  pid_t child = fork();
  if (!child) {
    green_hub *hub = embed_open(green_defaults());
    embed_go(hub, "require 'greenlua'.sleep(100)");
    green_step(hub, INT64_MAX);
    forbid_system_calls();
    for (int i = 0; i < 1000; i++) green_step(hub, 2000000);
    syscall(SYS_exit, 0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

int main(void) {
  steps_in_game_time();
  stops_when_the_budget_is_used_up();
  refuses_what_the_hub_has_not();
  lets_idlers_run_when_nobody_is_ready();
  polls_descriptors_in_a_step();
  makes_no_system_call_when_idle();
  return 0;
}
