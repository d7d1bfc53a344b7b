/* greenlua.core.server: what servers need of the operating system beyond
 * sockets' own methods.  lua/greenlua/server/ is built on it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "greenlualib.h"

static int fail(lua_State *L, int err) {
  lua_pushnil(L);
  lua_pushstring(L, strerror(err));
  return 2;
}

static int result(lua_State *L, int status) {
  if (status) return fail(L, errno);
  lua_pushboolean(L, 1);
  return 1;
}

static int check_fd(lua_State *L, int arg) {
  lua_Integer fd = luaL_checkinteger(L, arg);
  luaL_argcheck(L, fd >= 0 && fd < 1 << 30, arg, "a descriptor expected");
  return (int)fd;
}

/* --- addresses ---------------------------------------------------------- */

static void push_number(lua_State *L, int family, const void *bytes) {
  char text[INET6_ADDRSTRLEN];
  lua_pushstring(L, inet_ntop(family, bytes, text, sizeof text));
}

/* An IPv4 address that came by an IPv6 socket is one. */
static void push_host6(lua_State *L, const struct sockaddr_in6 *a) {
  if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr)) {
    push_number(L, AF_INET, &a->sin6_addr.s6_addr[12]);
  } else if (a->sin6_scope_id) {
    char text[NI_MAXHOST] = "";
    getnameinfo((const struct sockaddr *)a, sizeof *a, text, sizeof text, NULL,
                0, NI_NUMERICHOST);
    lua_pushstring(L, text);
  } else {
    push_number(L, AF_INET6, &a->sin6_addr);
  }
}

/* decode(what accept gave) -> host, port | path */
static int decode(lua_State *L) {
  size_t len;
  const char *raw = luaL_checklstring(L, 1, &len);
  struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
  memcpy(&a, raw, len < sizeof a ? len : sizeof a);
  if (a.ss_family == AF_INET) {
    const struct sockaddr_in *in = (struct sockaddr_in *)&a;
    push_number(L, AF_INET, &in->sin_addr);
    lua_pushinteger(L, ntohs(in->sin_port));
    return 2;
  }
  if (a.ss_family == AF_INET6) {
    const struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a;
    push_host6(L, in);
    lua_pushinteger(L, ntohs(in->sin6_port));
    return 2;
  }
  size_t head = offsetof(struct sockaddr_un, sun_path);
  size_t n = len > head ? len - head : 0;
  if (n && raw[head]) n = strnlen(raw + head, n);
  lua_pushlstring(L, n ? raw + head : "", n);
  return 1;
}

/* pton(text) -> the 4 or 16 bytes of a numeric address, or nil */
static int pton(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  unsigned char bytes[16];
  if (strlen(text) != len) return lua_pushnil(L), 1;
  if (inet_pton(AF_INET, text, bytes) == 1)
    lua_pushlstring(L, (char *)bytes, 4);
  else if (inet_pton(AF_INET6, text, bytes) == 1)
    lua_pushlstring(L, (char *)bytes, 16);
  else
    lua_pushnil(L);
  return 1;
}

/* ntop(bytes) -> text */
static int ntop(lua_State *L) {
  size_t len;
  const char *bytes = luaL_checklstring(L, 1, &len);
  luaL_argcheck(L, len == 4 || len == 16, 1, "4 or 16 bytes expected");
  push_number(L, len == 4 ? AF_INET : AF_INET6, bytes);
  return 1;
}

/* --- files -------------------------------------------------------------- */

/* socket_file(path) -> its identity, if a socket is there | nil, message */
static int socket_file(lua_State *L) {
  struct stat s;
  if (lstat(luaL_checkstring(L, 1), &s)) return fail(L, errno);
  if (!S_ISSOCK(s.st_mode)) return fail(L, EEXIST);
  lua_pushfstring(L, "%I:%I", (LUAI_UACINT)s.st_dev, (LUAI_UACINT)s.st_ino);
  return 1;
}

/* set_mode(path, mode) -> true | nil, message */
static int set_mode(lua_State *L) {
  mode_t mode = (mode_t)luaL_checkinteger(L, 2);
  return result(L, chmod(luaL_checkstring(L, 1), mode));
}

/* --- descriptors -------------------------------------------------------- */

static int option(int fd, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? -errno : value;
}

/* kind(fd) -> "stream", "datagram" or "other", does it listen? | nil, message
 */
static int kind(lua_State *L) {
  int fd = check_fd(L, 1), type = option(fd, SO_TYPE);
  if (type < 0) return fail(L, -type);
  lua_pushstring(L, type == SOCK_STREAM  ? "stream"
                    : type == SOCK_DGRAM ? "datagram"
                                         : "other");
  lua_pushboolean(L, option(fd, SO_ACCEPTCONN) > 0);
  return 2;
}

/* set_inheritable(fd, flag) -> true | nil, message: do programs that are
 * started have it? */
static int set_inheritable(lua_State *L) {
  int fd = check_fd(L, 1);
  int flags = fcntl(fd, F_GETFD);
  if (flags < 0) return fail(L, errno);
  flags = lua_toboolean(L, 2) ? flags & ~FD_CLOEXEC : flags | FD_CLOEXEC;
  return result(L, fcntl(fd, F_SETFD, flags));
}

/* --- the service manager ------------------------------------------------ */

static int l_getpid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

static int l_unsetenv(lua_State *L) {
  return result(L, unsetenv(luaL_checkstring(L, 1)));
}

static int send_to(const struct sockaddr_un *to, socklen_t len,
                   const char *text, size_t size) {
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  int err = 0;
  if (sendto(fd, text, size, MSG_NOSIGNAL, (const struct sockaddr *)to, len) <
      0)
    err = errno;
  close(fd);
  return err;
}

/* notify(path, text) -> true | nil, message: a datagram to a UNIX socket; a
 * path that begins with @ is an abstract name. */
static int notify(lua_State *L) {
  size_t len, size;
  const char *path = luaL_checklstring(L, 1, &len);
  const char *text = luaL_checklstring(L, 2, &size);
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (!len || len >= sizeof to.sun_path) return fail(L, ENAMETOOLONG);
  memcpy(to.sun_path, path, len);
  if (*path == '@') to.sun_path[0] = 0;
  socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
  int err = send_to(&to, n, text, size);
  return err ? fail(L, err) : (lua_pushboolean(L, 1), 1);
}

/* --- failures of a listener --------------------------------------------- */

/* Set fatal: the messages after which there is nothing to be tried again. */
static void set_fatal(lua_State *L) {
  static const int fatal[] = {EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP, EFAULT};
  lua_newtable(L);
  for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, strerror(fatal[i]));
  }
  lua_setfield(L, -2, "fatal");
}

int luaopen_greenlua_core_server(lua_State *L) {
  static const luaL_Reg funcs[] = {{"decode", decode},
                                   {"pton", pton},
                                   {"ntop", ntop},
                                   {"socket_file", socket_file},
                                   {"set_mode", set_mode},
                                   {"kind", kind},
                                   {"set_inheritable", set_inheritable},
                                   {"getpid", l_getpid},
                                   {"unsetenv", l_unsetenv},
                                   {"notify", notify},
                                   {NULL, NULL}};
  luaL_newlib(L, funcs);
  set_fatal(L);
  return 1;
}
