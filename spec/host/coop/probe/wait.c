/* coop_probe: waiting for descriptors, and sleeping. */
#include "probe.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

/* What poll becomes with _FORTIFY_SOURCE. */
int __poll_chk(struct pollfd *, nfds_t, int, size_t);

static nfds_t polled(lua_State *L, struct pollfd *fds) {
  nfds_t n = (nfds_t)luaL_len(L, 1) / 2;
  for (nfds_t i = 0; i < n; i++) {
    lua_geti(L, 1, (lua_Integer)i * 2 + 1);
    lua_geti(L, 1, (lua_Integer)i * 2 + 2);
    fds[i].fd = (int)lua_tointeger(L, -2);
    fds[i].events = (short)lua_tointeger(L, -1);
    fds[i].revents = 0;
    lua_pop(L, 2);
  }
  return n;
}

static int poll_answer(lua_State *L, int count, struct pollfd *fds, nfds_t n) {
  if (count >= 0) {
    lua_pushinteger(L, count);
    for (nfds_t i = 0; i < n && i < 5; i++) lua_pushinteger(L, fds[i].revents);
  }
  int results = count < 0 ? probe_failed(L) : 1 + (int)(n < 5 ? n : 5);
  free(fds);
  return results;
}

static struct pollfd *new_polled(lua_State *L) {
  return calloc((size_t)luaL_len(L, 1) + 1, sizeof(struct pollfd));
}

/* poll({fd, events, …}, ms) -> count, its events … */
static int l_poll(lua_State *L) {
  struct pollfd *fds = new_polled(L);
  nfds_t n = polled(L, fds);
  int ms = (int)luaL_optinteger(L, 2, -1);
  return poll_answer(L, poll(fds, n, ms), fds, n);
}

static int l_poll_chk(lua_State *L) {
  struct pollfd *fds = new_polled(L);
  nfds_t n = polled(L, fds);
  return poll_answer(L, __poll_chk(fds, n, -1, n * sizeof *fds), fds, n);
}

/* ppoll({…}, seconds or nil, another mask?) */
static int l_ppoll(lua_State *L) {
  struct pollfd *fds = new_polled(L);
  nfds_t n = polled(L, fds);
  struct timespec t = probe_time(luaL_optnumber(L, 2, 0));
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  if (lua_toboolean(L, 3)) sigaddset(&mask, SIGUSR2);
  int count = ppoll(fds, n, lua_isnoneornil(L, 2) ? NULL : &t, &mask);
  return poll_answer(L, count, fds, n);
}

/* select(reads, writes, seconds) -> count, sum of reads, sum of writes, left */
static int l_select(lua_State *L) {
  fd_set sets[2];
  int most = -1;
  lua_Number sums[2] = {0, 0};
  for (int i = 0; i < 2; i++) {
    FD_ZERO(&sets[i]);
    for (lua_Integer k = 1; k <= luaL_len(L, i + 1); k++) {
      lua_geti(L, i + 1, k);
      int fd = (int)lua_tointeger(L, -1);
      FD_SET(fd, &sets[i]);
      if (fd > most) most = fd;
      lua_pop(L, 1);
    }
  }
  struct timespec t = probe_time(luaL_optnumber(L, 3, 0));
  struct timeval v = {.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
  int count = select(most + 1, &sets[0], &sets[1], NULL,
                     lua_isnoneornil(L, 3) ? NULL : &v);
  if (count < 0) return probe_failed(L);
  for (int fd = 0; fd <= most; fd++)
    for (int i = 0; i < 2; i++)
      if (FD_ISSET(fd, &sets[i])) sums[i] += fd;
  lua_pushinteger(L, count);
  lua_pushinteger(L, (lua_Integer)sums[0]);
  lua_pushinteger(L, (lua_Integer)sums[1]);
  lua_pushnumber(L, (double)v.tv_sec + (double)v.tv_usec * 1e-6);
  return 4;
}

static int l_pselect(lua_State *L) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(probe_fd(L), &set);
  return probe_answer(L,
                      pselect(probe_fd(L) + 1, &set, NULL, NULL, NULL, NULL));
}

/* epoll(fd, ms): by epoll_wait or, with a third argument, epoll_pwait */
static int l_epoll(lua_State *L) {
  struct epoll_event e = {.events = EPOLLIN};
  int fd = epoll_create1(EPOLL_CLOEXEC), ms = (int)luaL_optinteger(L, 2, -1);
  epoll_ctl(fd, EPOLL_CTL_ADD, probe_fd(L), &e);
  int count = lua_toboolean(L, 3) ? epoll_pwait(fd, &e, 1, ms, NULL)
                                  : epoll_wait(fd, &e, 1, ms);
  close(fd);
  return probe_answer(L, count);
}

static int l_nanosleep(lua_State *L) {
  struct timespec t = probe_time(luaL_checknumber(L, 1));
  return probe_answer(L, nanosleep(&t, &t));
}

/* clock_nanosleep(seconds, until?) */
static int l_clock_nanosleep(lua_State *L) {
  struct timespec t = probe_time(luaL_checknumber(L, 1)), now;
  if (!lua_toboolean(L, 2))
    return probe_answer(L, clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
  clock_gettime(CLOCK_REALTIME, &now);
  t.tv_sec += now.tv_sec;
  t.tv_nsec += now.tv_nsec;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  return probe_answer(L,
                      clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
}

static int l_usleep(lua_State *L) {
  return probe_answer(L, usleep((useconds_t)luaL_checkinteger(L, 1)));
}

static int l_sleep(lua_State *L) {
  return probe_answer(L, (ssize_t)sleep((unsigned)luaL_checkinteger(L, 1)));
}

const luaL_Reg probe_waits[] = {{"poll", l_poll},
                                {"poll_chk", l_poll_chk},
                                {"ppoll", l_ppoll},
                                {"select", l_select},
                                {"pselect", l_pselect},
                                {"epoll", l_epoll},
                                {"nanosleep", l_nanosleep},
                                {"clock_nanosleep", l_clock_nanosleep},
                                {"usleep", l_usleep},
                                {"sleep", l_sleep},
                                {NULL, NULL}};
