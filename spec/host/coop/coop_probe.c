/* coop_probe: the calls of the C library that wait, for the specs of
 * --coop-libc: a C module as others are, which knows nothing of greenlua.
 *
 * A call that fails is nil and the name of errno. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What calls become with _FORTIFY_SOURCE. */
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *,
                       socklen_t *);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);

enum { MOST = 1 << 20 };

static int failed(lua_State *L) {
  lua_pushnil(L);
  lua_pushstring(L, strerrorname_np(errno));
  return 2;
}

static int answer(lua_State *L, ssize_t n) {
  if (n < 0) return failed(L);
  lua_pushinteger(L, n);
  return 1;
}

static int data(lua_State *L, const char *buffer, ssize_t n) {
  if (n < 0) return failed(L);
  lua_pushlstring(L, buffer, (size_t)n);
  return 1;
}

static int fd_of(lua_State *L) {
  return (int)luaL_checkinteger(L, 1);
}

static struct timespec time_of(double seconds) {
  struct timespec t = {.tv_sec = (time_t)seconds};
  t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
  return t;
}

/* --- descriptors -------------------------------------------------------- */

static int two(lua_State *L, int made, const int *fds) {
  if (made) return failed(L);
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
  return answer(L, eventfd(0, EFD_CLOEXEC));
}

static int l_open(lua_State *L) {
  return answer(L, open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC));
}

static int l_close(lua_State *L) {
  return answer(L, close(fd_of(L)));
}

static int l_nonblock(lua_State *L) {
  int flags = fcntl(fd_of(L), F_GETFL);
  flags = lua_toboolean(L, 2) ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  return answer(L, fcntl(fd_of(L), F_SETFL, flags));
}

static int l_blocks(lua_State *L) {
  lua_pushboolean(L, !(fcntl(fd_of(L), F_GETFL) & O_NONBLOCK));
  return 1;
}

/* settimeout(fd, seconds): of both directions */
static int l_settimeout(lua_State *L) {
  struct timespec t = time_of(luaL_checknumber(L, 2));
  struct timeval v = {.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
  setsockopt(fd_of(L), SOL_SOCKET, SO_RCVTIMEO, &v, sizeof v);
  return answer(L, setsockopt(fd_of(L), SOL_SOCKET, SO_SNDTIMEO, &v, sizeof v));
}

typedef union {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_un un;
} address;

/* A path, or a port of the loopback; with `six`, that of IPv6. */
static socklen_t address_of(lua_State *L, int arg, int six, address *a) {
  memset(a, 0, sizeof *a);
  if (lua_type(L, arg) == LUA_TSTRING) {
    a->un.sun_family = AF_UNIX;
    strncpy(a->un.sun_path, lua_tostring(L, arg), sizeof a->un.sun_path - 1);
    return sizeof a->un;
  }
  in_port_t port = htons((in_port_t)luaL_checkinteger(L, arg));
  if (six) {
    a->in6.sin6_family = AF_INET6;
    a->in6.sin6_port = port;
    a->in6.sin6_addr = in6addr_loopback;
    return sizeof a->in6;
  }
  a->in.sin_family = AF_INET;
  a->in.sin_port = port;
  a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return sizeof a->in;
}

/* listen(path or 0, backlog, six) -> fd, port */
static int l_listen(lua_State *L) {
  address a;
  socklen_t size = address_of(L, 1, lua_toboolean(L, 3), &a);
  int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, &a.any, size) ||
      listen(fd, (int)luaL_optinteger(L, 2, 5)) ||
      getsockname(fd, &a.any, &size))
    return failed(L);
  lua_pushinteger(L, fd);
  lua_pushinteger(L, ntohs(a.in.sin_port)); /* the same place in in6 */
  return 2;
}

/* connect(path or port, six) -> fd */
static int l_connect(lua_State *L) {
  address a;
  socklen_t size = address_of(L, 1, lua_toboolean(L, 2), &a);
  int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed(L);
  if (connect(fd, &a.any, size)) {
    int err = errno;
    close(fd);
    errno = err;
    return failed(L);
  }
  return answer(L, fd);
}

static int l_accept(lua_State *L) {
  return answer(L, accept(fd_of(L), NULL, NULL));
}

static int l_accept4(lua_State *L) {
  return answer(L, accept4(fd_of(L), NULL, NULL, SOCK_NONBLOCK));
}

/* --- reading ------------------------------------------------------------ */

static size_t size_of(lua_State *L) {
  lua_Integer n = luaL_optinteger(L, 2, 100);
  return n < MOST ? (size_t)n : MOST;
}

static int l_read(lua_State *L) {
  char own[1000];
  size_t n = size_of(L) < sizeof own ? size_of(L) : sizeof own;
  return data(L, own, read(fd_of(L), own, n));
}

static int l_read_chk(lua_State *L) {
  char own[1000];
  return data(L, own, __read_chk(fd_of(L), own, 100, sizeof own));
}

/* readv(fd, n): two pieces, the first of n bytes */
static int l_readv(lua_State *L) {
  char own[2000];
  struct iovec of[2] = {{own, size_of(L)}, {own + size_of(L), 1000}};
  return data(L, own, readv(fd_of(L), of, 2));
}

/* recv(fd, n, flags) */
static int l_recv(lua_State *L) {
  size_t n = size_of(L);
  char *own = malloc(n + 1);
  ssize_t got = recv(fd_of(L), own, n, (int)luaL_optinteger(L, 3, 0));
  int results = data(L, own, got);
  free(own);
  return results;
}

static int l_recv_chk(lua_State *L) {
  char own[1000];
  return data(L, own, __recv_chk(fd_of(L), own, 100, sizeof own, 0));
}

/* -> data, the length of the sender's address */
static int l_recvfrom(lua_State *L) {
  char own[1000];
  address from;
  socklen_t size = sizeof from;
  ssize_t n = recvfrom(fd_of(L), own, sizeof own, 0, &from.any, &size);
  if (n < 0) return failed(L);
  data(L, own, n);
  lua_pushinteger(L, size);
  return 2;
}

static int l_recvfrom_chk(lua_State *L) {
  char own[1000];
  return data(L, own,
              __recvfrom_chk(fd_of(L), own, 100, sizeof own, 0, NULL, NULL));
}

/* recvmsg(fd, n, flags) -> data, a descriptor that came with it */
static int l_recvmsg(lua_State *L) {
  char own[2000], control[CMSG_SPACE(sizeof(int))];
  struct iovec of[2] = {{own, size_of(L)}, {own + size_of(L), 1000}};
  struct msghdr m = {.msg_iov = of,
                     .msg_iovlen = 2,
                     .msg_control = control,
                     .msg_controllen = sizeof control};
  ssize_t n = recvmsg(fd_of(L), &m, (int)luaL_optinteger(L, 3, 0));
  if (n < 0) return failed(L);
  data(L, own, n);
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  if (!c) return 1;
  int fd;
  memcpy(&fd, CMSG_DATA(c), sizeof fd);
  lua_pushinteger(L, fd);
  return 2;
}

/* --- writing ------------------------------------------------------------ */

static const char *text_of(lua_State *L, size_t *n) {
  return luaL_checklstring(L, 2, n);
}

static int l_write(lua_State *L) {
  size_t n;
  const char *text = text_of(L, &n);
  return answer(L, write(fd_of(L), text, n));
}

/* writev(fd, text, text) */
static int l_writev(lua_State *L) {
  size_t n, k;
  const char *text = text_of(L, &n), *more = luaL_checklstring(L, 3, &k);
  struct iovec of[2] = {{(char *)text, n}, {(char *)more, k}};
  return answer(L, writev(fd_of(L), of, 2));
}

static int l_send(lua_State *L) {
  size_t n;
  const char *text = text_of(L, &n);
  return answer(L, send(fd_of(L), text, n, (int)luaL_optinteger(L, 3, 0)));
}

/* sendto(fd, text [, abstract name of a UNIX socket]) */
static int l_sendto(lua_State *L) {
  size_t n, k = 0;
  const char *text = text_of(L, &n), *name = luaL_optlstring(L, 3, NULL, &k);
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (!name) return answer(L, sendto(fd_of(L), text, n, 0, NULL, 0));
  luaL_argcheck(L, k < sizeof to.sun_path, 3, "too long");
  memcpy(to.sun_path + 1, name, k);
  return answer(
      L, sendto(fd_of(L), text, n, 0, (struct sockaddr *)&to,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + k)));
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
  return answer(L, sendmsg(fd_of(L), &m, 0));
}

/* --- waiting ------------------------------------------------------------ */

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
  int results = count < 0 ? failed(L) : 1 + (int)(n < 5 ? n : 5);
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
  struct timespec t = time_of(luaL_optnumber(L, 2, 0));
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
  struct timespec t = time_of(luaL_optnumber(L, 3, 0));
  struct timeval v = {.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
  int count = select(most + 1, &sets[0], &sets[1], NULL,
                     lua_isnoneornil(L, 3) ? NULL : &v);
  if (count < 0) return failed(L);
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
  FD_SET(fd_of(L), &set);
  return answer(L, pselect(fd_of(L) + 1, &set, NULL, NULL, NULL, NULL));
}

/* epoll(fd, ms): by epoll_wait or, with a third argument, epoll_pwait */
static int l_epoll(lua_State *L) {
  struct epoll_event e = {.events = EPOLLIN};
  int fd = epoll_create1(EPOLL_CLOEXEC), ms = (int)luaL_optinteger(L, 2, -1);
  epoll_ctl(fd, EPOLL_CTL_ADD, fd_of(L), &e);
  int count = lua_toboolean(L, 3) ? epoll_pwait(fd, &e, 1, ms, NULL)
                                  : epoll_wait(fd, &e, 1, ms);
  close(fd);
  return answer(L, count);
}

static int l_nanosleep(lua_State *L) {
  struct timespec t = time_of(luaL_checknumber(L, 1));
  return answer(L, nanosleep(&t, &t));
}

/* clock_nanosleep(seconds, until?) */
static int l_clock_nanosleep(lua_State *L) {
  struct timespec t = time_of(luaL_checknumber(L, 1)), now;
  if (!lua_toboolean(L, 2))
    return answer(L, clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
  clock_gettime(CLOCK_REALTIME, &now);
  t.tv_sec += now.tv_sec;
  t.tv_nsec += now.tv_nsec;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  return answer(L, clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
}

static int l_usleep(lua_State *L) {
  return answer(L, usleep((useconds_t)luaL_checkinteger(L, 1)));
}

static int l_sleep(lua_State *L) {
  return answer(L, (ssize_t)sleep((unsigned)luaL_checkinteger(L, 1)));
}

/* --- names -------------------------------------------------------------- */

/* getaddrinfo(node, service) -> how many */
static int l_getaddrinfo(lua_State *L) {
  struct addrinfo *found = NULL;
  int count = 0, err = getaddrinfo(luaL_checkstring(L, 1),
                                   luaL_optstring(L, 2, NULL), NULL, &found);
  if (err) return luaL_fileresult(L, 0, gai_strerror(err));
  for (struct addrinfo *a = found; a; a = a->ai_next) count++;
  freeaddrinfo(found);
  return answer(L, count);
}

static int l_getnameinfo(lua_State *L) {
  address a;
  char host[NI_MAXHOST], service[NI_MAXSERV];
  socklen_t size = address_of(L, 1, 0, &a);
  int err = getnameinfo(&a.any, size, host, sizeof host, service,
                        sizeof service, NI_NUMERICSERV);
  if (err) return luaL_fileresult(L, 0, gai_strerror(err));
  lua_pushstring(L, host);
  lua_pushstring(L, service);
  return 2;
}

static int host_answer(lua_State *L, const struct hostent *found, int err) {
  if (!found) {
    lua_pushnil(L);
    lua_pushstring(L, hstrerror(err));
    return 2;
  }
  lua_pushstring(L, found->h_name);
  lua_pushstring(L, inet_ntoa(*(struct in_addr *)found->h_addr_list[0]));
  lua_pushboolean(L, found->h_addr_list[1] != NULL);
  return 3;
}

static int l_gethostbyname(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const struct hostent *found =
      lua_toboolean(L, 2) ? gethostbyname2(name, AF_INET) : gethostbyname(name);
  return host_answer(L, found, h_errno);
}

/* gethostbyname_r(name, room, two): also at an odd address */
static int l_gethostbyname_r(lua_State *L) {
  struct hostent entry, *found = NULL;
  char room[4096];
  int err, result;
  size_t n = (size_t)luaL_optinteger(L, 2, 4000);
  if (lua_toboolean(L, 3))
    result = gethostbyname2_r(luaL_checkstring(L, 1), AF_INET, &entry, room + 3,
                              n, &found, &err);
  else
    result = gethostbyname_r(luaL_checkstring(L, 1), &entry, room + 3, n,
                             &found, &err);
  int results = host_answer(L, found, err);
  lua_pushstring(L, result ? strerrorname_np(result) : "none");
  return results + 1;
}

/* gethostbyaddr(with _r?) */
static int l_gethostbyaddr(lua_State *L) {
  struct in_addr a = {htonl(INADDR_LOOPBACK)};
  struct hostent entry, *found = NULL;
  char room[4096];
  int err = 0;
  if (lua_toboolean(L, 1))
    gethostbyaddr_r(&a, sizeof a, AF_INET, &entry, room, sizeof room, &found,
                    &err);
  else
    found = gethostbyaddr(&a, sizeof a, AF_INET);
  return host_answer(L, found, err);
}

/* --- as libraries do it ------------------------------------------------- */

/* Wait and read until there is an error: its name, and how often that took. A
 * descriptor that does not block. */
static int l_insist(lua_State *L) {
  char own[100];
  lua_Integer tries = 0;
  for (;;) {
    struct pollfd p = {.fd = fd_of(L), .events = POLLIN};
    tries++;
    if (poll(&p, 1, -1) < 0) continue; /* as many do, whatever the error is */
    ssize_t n = recv(fd_of(L), own, sizeof own, 0);
    if (n >= 0 || errno == EAGAIN || errno == EINTR) continue;
    failed(L);
    lua_pushinteger(L, tries);
    return 3;
  }
}

/* persist(fd, f): the same, until f says so, whatever the error is. */
static int l_persist(lua_State *L) {
  char own[100];
  bool enough;
  do {
    struct pollfd p = {.fd = fd_of(L), .events = POLLIN};
    poll(&p, 1, -1);
    ssize_t n = recv(fd_of(L), own, sizeof own, 0);
    lua_pushvalue(L, 2);
    lua_call(L, 0, 1);
    enough = n >= 0 || lua_toboolean(L, -1);
    lua_pop(L, 1);
  } while (!enough);
  return 0;
}

/* Wait, then raise. */
static int l_wait_and_raise(lua_State *L) {
  struct pollfd p = {.fd = fd_of(L), .events = POLLIN};
  poll(&p, 1, -1);
  return luaL_error(L, "the library's own");
}

/* wait_and_call(fd, f): wait, then call f, and return what it returns. */
static int l_wait_and_call(lua_State *L) {
  struct pollfd p = {.fd = fd_of(L), .events = POLLIN};
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
  *fd = fd_of(L);
  if (pthread_create(&thread, NULL, wait_elsewhere, fd)) return failed(L);
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

static const luaL_Reg funcs[] = {{"pipe", l_pipe},
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
                                 {"read", l_read},
                                 {"read_chk", l_read_chk},
                                 {"readv", l_readv},
                                 {"recv", l_recv},
                                 {"recv_chk", l_recv_chk},
                                 {"recvfrom", l_recvfrom},
                                 {"recvfrom_chk", l_recvfrom_chk},
                                 {"recvmsg", l_recvmsg},
                                 {"write", l_write},
                                 {"writev", l_writev},
                                 {"send", l_send},
                                 {"sendto", l_sendto},
                                 {"sendmsg", l_sendmsg},
                                 {"poll", l_poll},
                                 {"poll_chk", l_poll_chk},
                                 {"ppoll", l_ppoll},
                                 {"select", l_select},
                                 {"pselect", l_pselect},
                                 {"epoll", l_epoll},
                                 {"nanosleep", l_nanosleep},
                                 {"clock_nanosleep", l_clock_nanosleep},
                                 {"usleep", l_usleep},
                                 {"sleep", l_sleep},
                                 {"getaddrinfo", l_getaddrinfo},
                                 {"getnameinfo", l_getnameinfo},
                                 {"gethostbyname", l_gethostbyname},
                                 {"gethostbyname_r", l_gethostbyname_r},
                                 {"gethostbyaddr", l_gethostbyaddr},
                                 {"insist", l_insist},
                                 {"persist", l_persist},
                                 {"wait_and_raise", l_wait_and_raise},
                                 {"wait_and_call", l_wait_and_call},
                                 {"thread", l_thread},
                                 {"fork", l_fork},
                                 {NULL, NULL}};

int luaopen_coop_probe(lua_State *L);

__attribute__((visibility("default"))) int luaopen_coop_probe(lua_State *L) {
  static const struct {
    const char *name;
    int value;
  } numbers[] = {{"IN", POLLIN},
                 {"OUT", POLLOUT},
                 {"PRI", POLLPRI},
                 {"HUP", POLLHUP},
                 {"ERR", POLLERR},
                 {"NVAL", POLLNVAL},
                 {"RDHUP", POLLRDHUP},
                 {"WAITALL", MSG_WAITALL},
                 {"PEEK", MSG_PEEK},
                 {"OOB", MSG_OOB},
                 {"DONTWAIT", MSG_DONTWAIT},
                 {"NOSIGNAL", MSG_NOSIGNAL}};
  luaL_newlib(L, funcs);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    lua_pushinteger(L, numbers[i].value);
    lua_setfield(L, -2, numbers[i].name);
  }
  return 1;
}
