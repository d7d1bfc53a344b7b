/* coop_probe: reading. */
#include "probe.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* What calls become with _FORTIFY_SOURCE. */
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *,
                       socklen_t *);

enum { MOST = 1 << 20 };

static size_t size_of(lua_State *L) {
  lua_Integer n = luaL_optinteger(L, 2, 100);
  return n < MOST ? (size_t)n : MOST;
}

static int l_read(lua_State *L) {
  char own[1000];
  size_t n = size_of(L) < sizeof own ? size_of(L) : sizeof own;
  return probe_data(L, own, read(probe_fd(L), own, n));
}

static int l_read_chk(lua_State *L) {
  char own[1000];
  return probe_data(L, own, __read_chk(probe_fd(L), own, 100, sizeof own));
}

/* readv(fd, n): two pieces, the first of n bytes */
static int l_readv(lua_State *L) {
  char own[2000];
  struct iovec of[2] = {{own, size_of(L)}, {own + size_of(L), 1000}};
  return probe_data(L, own, readv(probe_fd(L), of, 2));
}

/* recv(fd, n, flags) */
static int l_recv(lua_State *L) {
  size_t n = size_of(L);
  char *own = malloc(n + 1);
  ssize_t got = recv(probe_fd(L), own, n, (int)luaL_optinteger(L, 3, 0));
  int results = probe_data(L, own, got);
  free(own);
  return results;
}

static int l_recv_chk(lua_State *L) {
  char own[1000];
  return probe_data(L, own, __recv_chk(probe_fd(L), own, 100, sizeof own, 0));
}

/* -> data, the length of the sender's address */
static int l_recvfrom(lua_State *L) {
  char own[1000];
  probe_address from;
  socklen_t size = sizeof from;
  ssize_t n = recvfrom(probe_fd(L), own, sizeof own, 0, &from.any, &size);
  if (n < 0) return probe_failed(L);
  probe_data(L, own, n);
  lua_pushinteger(L, size);
  return 2;
}

static int l_recvfrom_chk(lua_State *L) {
  char own[1000];
  return probe_data(
      L, own, __recvfrom_chk(probe_fd(L), own, 100, sizeof own, 0, NULL, NULL));
}

/* recvmsg(fd, n, flags) -> data, a descriptor that came with it */
static int l_recvmsg(lua_State *L) {
  char own[2000], control[CMSG_SPACE(sizeof(int))];
  struct iovec of[2] = {{own, size_of(L)}, {own + size_of(L), 1000}};
  struct msghdr m = {.msg_iov = of,
                     .msg_iovlen = 2,
                     .msg_control = control,
                     .msg_controllen = sizeof control};
  ssize_t n = recvmsg(probe_fd(L), &m, (int)luaL_optinteger(L, 3, 0));
  if (n < 0) return probe_failed(L);
  probe_data(L, own, n);
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  if (!c) return 1;
  int fd;
  memcpy(&fd, CMSG_DATA(c), sizeof fd);
  lua_pushinteger(L, fd);
  return 2;
}

const luaL_Reg probe_reads[] = {{"read", l_read},
                                {"read_chk", l_read_chk},
                                {"readv", l_readv},
                                {"recv", l_recv},
                                {"recv_chk", l_recv_chk},
                                {"recvfrom", l_recvfrom},
                                {"recvfrom_chk", l_recvfrom_chk},
                                {"recvmsg", l_recvmsg},
                                {NULL, NULL}};
