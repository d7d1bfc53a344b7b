/* coop_probe: writing. */
#include "probe.h"

#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static const char *text_of(lua_State *L, size_t *n) {
  return luaL_checklstring(L, 2, n);
}

static int l_write(lua_State *L) {
  size_t n;
  const char *text = text_of(L, &n);
  return probe_answer(L, write(probe_fd(L), text, n));
}

/* writev(fd, text, text) */
static int l_writev(lua_State *L) {
  size_t n, k;
  const char *text = text_of(L, &n), *more = luaL_checklstring(L, 3, &k);
  struct iovec of[2] = {{(char *)text, n}, {(char *)more, k}};
  return probe_answer(L, writev(probe_fd(L), of, 2));
}

static int l_send(lua_State *L) {
  size_t n;
  const char *text = text_of(L, &n);
  return probe_answer(
      L, send(probe_fd(L), text, n, (int)luaL_optinteger(L, 3, 0)));
}

/* sendto(fd, text [, abstract name of a UNIX socket]) */
static int l_sendto(lua_State *L) {
  size_t n, k = 0;
  const char *text = text_of(L, &n), *name = luaL_optlstring(L, 3, NULL, &k);
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  int fd = probe_fd(L);
  if (!name) return probe_answer(L, sendto(fd, text, n, 0, NULL, 0));
  luaL_argcheck(L, k < sizeof to.sun_path, 3, "too long");
  memcpy(to.sun_path + 1, name, k);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + k);
  return probe_answer(L, sendto(fd, text, n, 0, (struct sockaddr *)&to, size));
}

/* sendmsg(fd, text, text, descriptor) */
static int l_sendmsg(lua_State *L) {
  size_t n, k;
  const char *text = text_of(L, &n), *more = luaL_checklstring(L, 3, &k);
  struct iovec of[2] = {{(char *)text, n}, {(char *)more, k}};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr m = {.msg_iov = of,
                     .msg_iovlen = 2,
                     .msg_control = control,
                     .msg_controllen = sizeof control};
  int fd = (int)luaL_checkinteger(L, 4);
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return probe_answer(L, sendmsg(probe_fd(L), &m, 0));
}

const luaL_Reg probe_writes[] = {{"write", l_write},     {"writev", l_writev},
                                 {"send", l_send},       {"sendto", l_sendto},
                                 {"sendmsg", l_sendmsg}, {NULL, NULL}};
