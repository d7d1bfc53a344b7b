/* coop_probe: what makes, changes and closes descriptors. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

static int two(lua_State *L, int made, const int *fds) {
  if (made) return probe_failed(L);
  lua_pushinteger(L, fds[0]);
  lua_pushinteger(L, fds[1]);
  return 2;
}

static int l_pipe(lua_State *L) {
  int fds[2];
  return two(L, pipe2(fds, O_CLOEXEC), fds);
}

/* pair([datagrams]) */
static int l_pair(lua_State *L) {
  int fds[2], type = lua_toboolean(L, 1) ? SOCK_DGRAM : SOCK_STREAM;
  return two(L, socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), fds);
}

static int l_eventfd(lua_State *L) {
  return probe_answer(L, eventfd(0, EFD_CLOEXEC));
}

static int l_open(lua_State *L) {
  return probe_answer(L, open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC));
}

static int l_close(lua_State *L) {
  return probe_answer(L, close(probe_fd(L)));
}

static int l_nonblock(lua_State *L) {
  int flags = fcntl(probe_fd(L), F_GETFL);
  flags = lua_toboolean(L, 2) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  return probe_answer(L, fcntl(probe_fd(L), F_SETFL, flags));
}

static int l_blocks(lua_State *L) {
  lua_pushboolean(L, !(fcntl(probe_fd(L), F_GETFL) & O_NONBLOCK));
  return 1;
}

/* settimeout(fd, seconds): of both directions */
static int l_settimeout(lua_State *L) {
  struct timespec t = probe_time(luaL_checknumber(L, 2));
  struct timeval v = {.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
  setsockopt(probe_fd(L), SOL_SOCKET, SO_RCVTIMEO, &v, sizeof v);
  return probe_answer(
      L, setsockopt(probe_fd(L), SOL_SOCKET, SO_SNDTIMEO, &v, sizeof v));
}

/* listen(path or 0, backlog, six) -> fd, port */
static int l_listen(lua_State *L) {
  probe_address a;
  socklen_t size = probe_address_of(L, 1, lua_toboolean(L, 3), &a);
  int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, &a.any, size) ||
      listen(fd, (int)luaL_optinteger(L, 2, 5)) ||
      getsockname(fd, &a.any, &size))
    return probe_failed(L);
  lua_pushinteger(L, fd);
  lua_pushinteger(L, ntohs(a.in.sin_port)); /* the same place in in6 */
  return 2;
}

/* connect(path or port, six) -> fd */
static int l_connect(lua_State *L) {
  probe_address a;
  socklen_t size = probe_address_of(L, 1, lua_toboolean(L, 2), &a);
  int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return probe_failed(L);
  if (connect(fd, &a.any, size)) {
    int err = errno;
    close(fd);
    errno = err;
    return probe_failed(L);
  }
  return probe_answer(L, fd);
}

static int l_accept(lua_State *L) {
  return probe_answer(L, accept(probe_fd(L), NULL, NULL));
}

static int l_accept4(lua_State *L) {
  return probe_answer(L, accept4(probe_fd(L), NULL, NULL, SOCK_NONBLOCK));
}

const luaL_Reg probe_descriptors[] = {{"pipe", l_pipe},
                                      {"pair", l_pair},
                                      {"eventfd", l_eventfd},
                                      {"open", l_open},
                                      {"close", l_close},
                                      {"nonblock", l_nonblock},
                                      {"blocks", l_blocks},
                                      {"settimeout", l_settimeout},
                                      {"listen", l_listen},
                                      {"connect", l_connect},
                                      {"accept", l_accept},
                                      {"accept4", l_accept4},
                                      {NULL, NULL}};
