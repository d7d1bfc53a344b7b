/* Any other event loop drives a hub: here bare epoll(7), with a timerfd of the
 * program's own beside it.  libuv takes the same two numbers: uv_poll_init on
 * green_fd(), and a uv_timer for green_next().
 *
 * The script talks to itself over a socket, and the program's timer goes on
 * ticking meanwhile. */
#include <greenlua.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static const char script[] =
    "local green, socket = require 'greenlua', require 'greenlua.socket'\n"
    "local left, right = socket.pair()\n"
    "green.spawn(function()\n"
    "  for line in right:lines() do right:send(line:upper() .. '\\n') end\n"
    "  print 'the other end has closed'\n"
    "end)\n"
    "for _, word in ipairs { 'any', 'loop', 'will', 'do' } do\n"
    "  green.sleep(0.01)\n"
    "  left:send(word .. '\\n')\n"
    "  print((left:receive()))\n"
    "end\n"
    "left:close()\n";

enum { HUB, TICKS };

static void watch(int epoll, int fd, int what) {
  struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)what};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

static int start_ticks(void) {
  struct itimerspec every = {{0, 5000000}, {0, 5000000}};
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  timerfd_settime(fd, 0, &every, NULL);
  return fd;
}

/* In milliseconds, for epoll_wait: rounded up, or it would spin. */
static int timeout_of(green_hub *hub) {
  int64_t next = green_next(hub);
  if (next < 0) return -1;
  return next > 1000000000 ? 1000 : (int)((next + 999999) / 1000000);
}

static bool anybody(green_hub *hub) {
  green_stats stats = {.size = sizeof stats};
  return green_count(hub, &stats) == GREEN_OK && stats.living;
}

static int run_loop(green_hub *hub) {
  int epoll = epoll_create1(EPOLL_CLOEXEC), ticking = start_ticks(), ticks = 0;
  watch(epoll, green_fd(hub), HUB);
  watch(epoll, ticking, TICKS);
  while (anybody(hub)) {
    struct epoll_event events[8];
    int n = epoll_wait(epoll, events, 8, timeout_of(hub));
    for (int i = 0; i < n; i++) {
      uint64_t missed;
      if (events[i].data.u32 == TICKS &&
          read(ticking, &missed, sizeof missed) == sizeof missed)
        ticks += (int)missed;
    }
    green_step(hub, 1000000); /* whatever it was that woke us */
  }
  close(ticking);
  close(epoll);
  return ticks;
}

int main(void) {
  green_config config = green_defaults();
  green_hub *hub = green_open(&config, NULL);
  if (!hub || green_fd(hub) < 0) return EXIT_FAILURE;
  lua_State *L = green_lua(hub);
  if (luaL_loadstring(L, script) != LUA_OK) return EXIT_FAILURE;
  green_release(green_spawn(L, 0, NULL));
  int ticks = run_loop(hub);
  printf("the program's own timer has %s\n",
         ticks > 3 ? "ticked" : "stood still");
  green_free(hub);
  return EXIT_SUCCESS;
}
