/* A network server in C, with an event loop of its own, whose commands are
 * written in Lua.
 *
 *     embed_server [port [script]]          0, examples/embed_server.lua
 *
 * C accepts connections and reads lines; each line becomes a greenlet that runs
 * the script's `handle(line)`, which may sleep, wait and use sockets, on the
 * same loop.  What it returns is the answer.  Answers leave in the order of the
 * lines, so the next line of a connection is read when the last is answered. */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <greenlua.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct connection {
  ev_io readable;
  green_hub *hub;
  green_greenlet *handler; /* at work on a line, or NULL */
  char line[1000];
  size_t length;
  struct connection *next, **link; /* among all */
} connection;

static void serve_line(connection *c);

/* --- connections ---------------------------------------------------------- */

static struct ev_loop *loop;
static connection *all;

static void close_connection(connection *c) {
  ev_io_stop(loop, &c->readable);
  close(c->readable.fd);
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  free(c);
}

/* Its peer has gone: no answer is wanted. */
static void hang_up(connection *c) {
  if (c->handler)
    green_kill(c->handler, NULL); /* `answer` closes it */
  else
    close_connection(c);
}

static void send_text(connection *c, const char *text, size_t length) {
  while (length > 0) { /* a real server would wait until it can be written */
    ssize_t n = send(c->readable.fd, text, length, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) return;
    if (n > 0) text += n, length -= (size_t)n;
  }
}

/* The end of a handler. */
static void answer(green_greenlet *g, lua_State *L, int n, int status,
                   void *ud) {
  connection *c = ud;
  green_release(c->handler);
  c->handler = NULL;
  (void)g;
  if (status == GREEN_EKILLED || status == GREEN_ECLOSED) {
    close_connection(c);
    return;
  }
  size_t length;
  const char *text = luaL_tolstring(L, -1, &length);
  if (status != GREEN_OK) send_text(c, "error: ", 7);
  send_text(c, text, n ? length : 0);
  send_text(c, "\n", 1);
  serve_line(c);
}

/* Start a handler if there is a whole line. */
static void serve_line(connection *c) {
  char *end = memchr(c->line, '\n', c->length);
  if (!end) {
    if (c->length == sizeof c->line)
      hang_up(c);
    else
      ev_io_start(loop, &c->readable);
    return;
  }
  lua_State *L = green_lua(c->hub);
  lua_getglobal(L, "handle");
  lua_pushlstring(L, c->line, (size_t)(end - c->line));
  c->length -= (size_t)(end + 1 - c->line);
  memmove(c->line, end + 1, c->length);
  green_options o = {.size = sizeof o, .on_done = answer, .ud = c};
  c->handler = green_spawn(L, 1, &o); /* nothing has run when it returns */
  if (!c->handler) close_connection(c);
}

static void on_readable(struct ev_loop *l, ev_io *w, int events) {
  connection *c = w->data;
  (void)l, (void)events;
  char *room = c->line + c->length;
  ssize_t n = recv(w->fd, room, sizeof c->line - c->length, 0);
  if (n <= 0) {
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    ev_io_stop(loop, w);
    hang_up(c);
    return;
  }
  c->length += (size_t)n;
  if (!c->handler) serve_line(c);
  if (c->length == sizeof c->line) ev_io_stop(loop, w); /* enough for now */
}

static void on_connection(struct ev_loop *l, ev_io *w, int events) {
  (void)l, (void)events;
  int fd = accept(w->fd, NULL, NULL);
  if (fd < 0) return;
  connection *c = calloc(1, sizeof *c);
  if (!c) {
    close(fd);
    return;
  }
  c->hub = w->data;
  c->next = all;
  c->link = &all;
  if (all) all->link = &c->next;
  all = c;
  ev_io_init(&c->readable, on_readable, fd, EV_READ);
  c->readable.data = c;
  ev_io_start(loop, &c->readable);
}

/* --- the server ----------------------------------------------------------- */

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_port = htons((uint16_t)port),
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof a;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) || listen(fd, 128))
    return -1;
  getsockname(fd, (struct sockaddr *)&a, &size);
  printf("listening on port %d\n", ntohs(a.sin_port));
  fflush(stdout);
  return fd;
}

static void on_signal(struct ev_loop *l, ev_signal *w, int events) {
  (void)w, (void)events;
  ev_break(l, EVBREAK_ALL);
}

static void complain(green_hub *hub, const char *text, void *ud) {
  (void)hub, (void)ud;
  fprintf(stderr, "script: %s", text);
}

int main(int argc, char **argv) {
  const char *script = argc > 2 ? argv[2] : "examples/embed_server.lua";
  loop = ev_loop_new(EVFLAG_AUTO);
  green_config config = green_defaults();
  config.loop = loop; /* from here on ev_run runs greenlets, too */
  config.on_error = complain;
  green_hub *hub = green_open(&config, NULL);
  if (!hub) return EXIT_FAILURE;
  int fd = -1, code = EXIT_FAILURE;
  if (luaL_dofile(green_lua(hub), script) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(green_lua(hub), -1));
  } else if ((fd = listen_on(argc > 1 ? atoi(argv[1]) : 0)) >= 0) {
    ev_io incoming;
    ev_signal interrupt;
    ev_io_init(&incoming, on_connection, fd, EV_READ);
    incoming.data = hub;
    ev_io_start(loop, &incoming);
    ev_signal_init(&interrupt, on_signal, SIGINT);
    ev_signal_start(loop, &interrupt);
    ev_run(loop, 0);
    ev_signal_stop(loop, &interrupt);
    ev_io_stop(loop, &incoming);
    code = EXIT_SUCCESS;
  }
  if (fd >= 0) close(fd);
  green_free(hub); /* `answer` closes those with a handler at work */
  while (all) close_connection(all);
  ev_loop_destroy(loop);
  return code;
}
