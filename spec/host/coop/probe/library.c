/* coop_probe: waiting as libraries do it. */
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Wait and read until there is an error: its name, and how often that took. A
 * descriptor that does not block. */
static int l_insist(lua_State *L) {
  char own[100];
  lua_Integer tries = 0;
  for (;;) {
    struct pollfd p = {.fd = probe_fd(L), .events = POLLIN};
    tries++;
    if (poll(&p, 1, -1) < 0) continue; /* as many do, whatever the error is */
    ssize_t n = recv(probe_fd(L), own, sizeof own, 0);
    if (n >= 0 || errno == EAGAIN || errno == EINTR) continue;
    probe_failed(L);
    lua_pushinteger(L, tries);
    return 3;
  }
}

/* persist(fd, f): the same, until f says so, whatever the error is. */
static int l_persist(lua_State *L) {
  char own[100];
  bool enough;
  do {
    struct pollfd p = {.fd = probe_fd(L), .events = POLLIN};
    poll(&p, 1, -1);
    ssize_t n = recv(probe_fd(L), own, sizeof own, 0);
    lua_pushvalue(L, 2);
    lua_call(L, 0, 1);
    enough = n >= 0 || lua_toboolean(L, -1);
    lua_pop(L, 1);
  } while (!enough);
  return 0;
}

/* Wait, then raise. */
static int l_wait_and_raise(lua_State *L) {
  struct pollfd p = {.fd = probe_fd(L), .events = POLLIN};
  poll(&p, 1, -1);
  return luaL_error(L, "the library's own");
}

/* wait_and_call(fd, f): wait, then call f, and return what it returns. */
static int l_wait_and_call(lua_State *L) {
  struct pollfd p = {.fd = probe_fd(L), .events = POLLIN};
  poll(&p, 1, -1);
  lua_settop(L, 2);
  lua_call(L, 0, 1);
  return 1;
}

/* Another thread waits, and says so by a byte. */
static void *wait_elsewhere(void *arg) {
  poll(NULL, 0, 20);
  if (write(*(int *)arg, "!", 1) != 1) abort();
  free(arg);
  return NULL;
}

static int l_thread(lua_State *L) {
  pthread_t thread;
  int *fd = malloc(sizeof *fd);
  *fd = probe_fd(L);
  if (pthread_create(&thread, NULL, wait_elsewhere, fd)) return probe_failed(L);
  pthread_detach(thread);
  return 0;
}

/* A child that waits, and whose exit code says how long, in units of 10 ms. */
static int l_fork(lua_State *L) {
  struct timespec a, b;
  pid_t child = fork();
  if (child == 0) {
    clock_gettime(CLOCK_MONOTONIC, &a);
    poll(NULL, 0, 30);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double took =
        (double)(b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) * 1e-9;
    _exit(took >= 0.03 ? 3 : 0);
  }
  int status;
  waitpid(child, &status, 0);
  lua_pushinteger(L, WEXITSTATUS(status));
  return 1;
}

const luaL_Reg probe_library[] = {{"insist", l_insist},
                                  {"persist", l_persist},
                                  {"wait_and_raise", l_wait_and_raise},
                                  {"wait_and_call", l_wait_and_call},
                                  {"thread", l_thread},
                                  {"fork", l_fork},
                                  {NULL, NULL}};
