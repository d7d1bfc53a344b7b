/* Messages that are torn in all ways, the order of addresses, and a resolver
 * without Lua: in a child after a fork, too. */
#include "resolver/resolver.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../check.h"
#include "../main_hub.h"
#include "resolver/lookup.h"

/* --- messages ------------------------------------------------------------ */

/* An answer to "a.test": an alias to b.test, and its address. */
static const uint8_t answer[] = "\x12\x34\x81\x80\0\1\0\2\0\1\0\0"
                                "\1a\4test\0\0\1\0\1"
                                "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e"
                                "\xc0\x24\0\1\0\1\0\0\0\x0a\0\4\1\2\3\4"
                                "\xc0\x0e\0\6\0\1\0\0\0\x0a\0\x18\0\0"
                                "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5\0\0";
enum { SIZE = sizeof answer - 1 };

/* Whatever it is: reading ends, and stays inside (the sanitizer sees to that).
 */
static int read_all(const uint8_t *data, size_t len) {
  char text[GR_NAME_TEXT];
  gr_message m;
  gr_record r;
  int n = 0, more;
  uint8_t *copy = malloc(len ? len : 1); /* with nothing behind it */
  memcpy(copy, data, len);
  gr_message_ttl(copy, len);
  gr_message_target(copy, len, text);
  if (!gr_message_read(&m, copy, len)) {
    while ((more = gr_message_next(&m, &r)) > 0) {
      CHECK(r.data + r.len <= len);
      gr_message_name(&m, r.name, text);
      gr_message_name(&m, r.data, text);
      CHECK(strlen(text) < GR_NAME_TEXT);
      n++;
    }
    if (more < 0) n = -1;
  } else {
    n = -1;
  }
  free(copy);
  return n;
}

static void reads_a_message(void) {
  char text[GR_NAME_TEXT];
  CHECK(read_all(answer, SIZE) == 3);
  CHECK(gr_message_ttl(answer, SIZE) == 10);
  CHECK(gr_message_target(answer, SIZE, text) && !strcmp(text, "b.test"));
}

static void reads_torn_messages(void) {
  for (size_t n = 0; n < SIZE; n++) CHECK(read_all(answer, n) <= 3);
  for (size_t i = 0; i < SIZE; i++)
    for (int value = 0; value < 256; value++) {
      uint8_t copy[SIZE];
      memcpy(copy, answer, SIZE);
      copy[i] = (uint8_t)value;
      read_all(copy, SIZE);
    }
}

static void reads_random_messages(void) {
  unsigned state = 42;
  uint8_t copy[512];
  for (int i = 0; i < 100000; i++) {
    size_t n = check_random(&state) % sizeof copy;
    for (size_t k = 0; k < n; k++) copy[k] = (uint8_t)check_random(&state);
    memcpy(copy, answer, n < 12 ? n : 12);
    if (i % 2) memcpy(copy, answer, n < 20 ? n : 20);
    read_all(copy, n);
  }
}

static void knows_names(void) {
  char name[300];
  CHECK(gr_dns_valid("a", 1) && gr_dns_valid("a.b.", 4));
  CHECK(!gr_dns_valid("", 0) && !gr_dns_valid(".", 1));
  CHECK(!gr_dns_valid("a..b", 4) && !gr_dns_valid("a\0b", 3));
  memset(name, 'x', sizeof name);
  CHECK(gr_dns_valid(name, 63) && !gr_dns_valid(name, 64));
  for (int i = 63; i < 300; i += 64) name[i] = '.';
  CHECK(gr_dns_valid(name, 253) && !gr_dns_valid(name, 254));
  CHECK(gr_same_name("A.b", "a.B.") && !gr_same_name("a.b", "a.bc"));
}

/* --- addresses ----------------------------------------------------------- */

static gr_address address(const char *text) {
  gr_address a;
  CHECK(gr_address_parse(&a, text));
  return a;
}

static void knows_numbers(void) {
  static const char *const good[][2] = {{"127.1", "127.0.0.1"},
                                        {"0x7f.0.0.1", "127.0.0.1"},
                                        {"::1", "::1"},
                                        {"FE80::1", "fe80::1"},
                                        {"fe80::1%lo", "fe80::1%lo"},
                                        {"::ffff:1.2.3.4", "::ffff:1.2.3.4"}};
  static const char *const bad[] = {"",        "a",         "1.2.3.4.5",
                                    "1.2.3.x", "example",   "::1%nowhere",
                                    ":",       "beef.cafe", "1.2.3.4 "};
  char text[INET6_ADDRSTRLEN + 32];
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    gr_address a = address(good[i][0]);
    gr_address_text(&a, text);
    CHECK(!strcmp(text, good[i][1]));
  }
  gr_address a;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK(!gr_address_parse(&a, bad[i]));
}

/* Of what every machine has: loopbacks, and what it cannot reach. */
static void sorts_addresses(void) {
  static const char *const given[] = {"127.0.0.2", "::1", "127.0.0.1"};
  static const char *const wanted[] = {"::1", "127.0.0.2", "127.0.0.1"};
  gr_addresses list = {.at = NULL};
  char text[INET6_ADDRSTRLEN + 32];
  for (int i = 0; i < 3; i++) {
    gr_address a = address(given[i]);
    CHECK(!gr_addresses_add(&list, &a) && !gr_addresses_add(&list, &a));
  }
  CHECK(list.count == 3);
  gr_addresses_sort(&list);
  for (int i = 0; i < 3; i++) {
    gr_address_text(&list.at[i], text);
    CHECK(!strcmp(text, wanted[i]));
  }
  gr_addresses_fini(&list);
}

/* --- settings ------------------------------------------------------------ */

static void reads_servers(void) {
  static const char *const bad[] = {
      "",       "x",         "1.2.3.4:", "1.2.3.4:0", "[::1", "1.2.3.4:65536",
      "[::1]x", "1.2.3.4:5x"};
  gr_resolvconf c;
  gr_resolvconf_init(&c);
  CHECK(!gr_resolvconf_add_server(&c, "127.0.0.1"));
  CHECK(!gr_resolvconf_add_server(&c, "127.0.0.1:5353"));
  CHECK(!gr_resolvconf_add_server(&c, "::1"));
  CHECK(!gr_resolvconf_add_server(&c, "[::1]:5354"));
  CHECK(c.nservers == 4);
  CHECK(c.servers[0].port == 53 && c.servers[1].port == 5353);
  CHECK(c.servers[2].port == 53 && c.servers[3].port == 5354);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK(gr_resolvconf_add_server(&c, bad[i]) == -1);
  gr_resolvconf_fini(&c);
}

/* --- a resolver ---------------------------------------------------------- */

static void on_done(gr_lookup *l) {
  *(bool *)l->data = true;
  if (me.state == GR_PARKED) gr_wake(&hub, &me, GR_WOKEN);
}

/* A server that answers `n` queries with 1.2.3.4 or with nothing, in a process
 * of its own. */
static pid_t serve(int fd, int n) {
  pid_t child = fork();
  if (child) return child;
  alarm(120);
  while (n--) {
    uint8_t data[600];
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t len = recvfrom(fd, data, 512, 0, (void *)&from, &size);
    size_t end = 12;
    if (len < 12) continue;
    while (data[end]) end += data[end] + 1u;
    bool four = data[end + 2] == 1;
    end += 5;
    data[2] = 0x81, data[3] = 0x80, data[7] = four, data[11] = 0;
    if (four) {
      memcpy(data + end, "\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\2\3\4", 16);
      end += 16;
    }
    sendto(fd, data, end, 0, (void *)&from, size);
  }
  _exit(0);
}

static int look_up(gr_resolver *r, const char *name) {
  gr_lookup l = {.done = on_done};
  bool done = false;
  l.data = &done;
  if (!gr_lookup_start(&l, r, name, strlen(name), AF_UNSPEC)) {
    while (!done) {
      CHECK(!gr_hub_reserve(&hub) && !gr_timers_reserve(&hub.timers));
      gr_arm(&hub, gr_now() + 60, false);
      gr_park_waiter(&hub, &some_wait, true);
      gr_hub_block(&hub);
      CHECK(me.status == GR_WOKEN);
    }
  }
  int status = l.status;
  if (!status) CHECK(l.found.count == 1 && l.found.at[0].bytes[3] == 4);
  gr_lookup_fini(&l);
  return status;
}

static void looks_up_before_and_after_a_fork(void) {
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof a;
  char text[64];
  int fd = socket(AF_INET, SOCK_DGRAM, 0), status;
  CHECK(!bind(fd, (void *)&a, size) && !getsockname(fd, (void *)&a, &size));
  pid_t server = serve(fd, 6);
  open_hub();
  gr_resolver_options o = {.parallel = 0};
  gr_resolvconf_init(&o.conf);
  snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(a.sin_port));
  CHECK(!gr_resolvconf_add_server(&o.conf, text));
  gr_resolver *r = gr_resolver_new(&hub, &o);
  CHECK(r && look_up(r, "one.test") == GR_DNS_OK);

  gr_lookup open = {.done = on_done}; /* out while we fork */
  bool done = false;
  open.data = &done;
  CHECK(!gr_lookup_start(&open, r, "two.test", 8, AF_UNSPEC));
  pid_t child = fork();
  if (!child) {
    alarm(120);
    if (look_up(r, "three.test") != GR_DNS_OK || !done) _exit(1);
    gr_lookup_fini(&open);
    gr_resolver_release(r);
    gr_hub_fini(&hub);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(look_up(r, "two.test") == GR_DNS_OK); /* ours has come, too */
  CHECK(done && open.status == GR_DNS_OK);
  gr_lookup_fini(&open);
  gr_resolver_close(r);
  CHECK(look_up(r, "four.test") == GR_DNS_CANCELLED);
  gr_resolver_release(r);
  gr_hub_fini(&hub);
  close(fd);
  CHECK(waitpid(server, &status, 0) == server);
}

int main(void) {
  reads_a_message();
  reads_torn_messages();
  reads_random_messages();
  knows_names();
  knows_numbers();
  sorts_addresses();
  reads_servers();
  looks_up_before_and_after_a_fork();
  return 0;
}
