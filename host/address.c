#include "address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"

/* --- lists and numbers -------------------------------------------------- */

static bool same(const gr_address *a, const gr_address *b) {
  return a->family == b->family && a->scope == b->scope &&
         !memcmp(a->bytes, b->bytes, gr_address_len(a));
}

int gr_addresses_add(gr_addresses *list, const gr_address *a) {
  for (unsigned i = 0; i < list->count; i++)
    if (same(&list->at[i], a)) return 0;
  if (list->count == list->room) {
    unsigned room = list->room ? list->room * 2 : 4;
    gr_address *at = gr_realloc(list->at, room * sizeof *at);
    if (!at) return -1;
    list->at = at;
    list->room = room;
  }
  list->at[list->count++] = *a;
  return 0;
}

void gr_addresses_fini(gr_addresses *list) {
  gr_free(list->at);
  *list = (gr_addresses){.at = NULL};
}

gr_address gr_address_of(const struct sockaddr *sa) {
  gr_address a = {.family = sa->sa_family};
  if (a.family == AF_INET) {
    memcpy(a.bytes, &((const struct sockaddr_in *)(const void *)sa)->sin_addr,
           4);
  } else {
    const struct sockaddr_in6 *six = (const void *)sa;
    memcpy(a.bytes, &six->sin6_addr, 16);
    a.scope = six->sin6_scope_id;
  }
  return a;
}

socklen_t gr_address_with_port(const gr_address *a, unsigned port,
                               struct sockaddr_storage *to) {
  memset(to, 0, sizeof *to);
  to->ss_family = (sa_family_t)a->family;
  if (a->family == AF_INET) {
    struct sockaddr_in *four = (struct sockaddr_in *)to;
    memcpy(&four->sin_addr, a->bytes, 4);
    four->sin_port = htons((uint16_t)port);
    return sizeof *four;
  }
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
  memcpy(&six->sin6_addr, a->bytes, 16);
  six->sin6_port = htons((uint16_t)port);
  six->sin6_scope_id = a->scope;
  return sizeof *six;
}

bool gr_address_numeric(const char *text) {
  size_t n = strlen(text);
  return strchr(text, ':') ||
         (n && strspn(text, "0123456789abcdefABCDEFxX.") == n);
}

bool gr_address_parse(gr_address *a, const char *text) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                           .ai_flags = AI_NUMERICHOST};
  struct addrinfo *found = NULL;
  if (!gr_address_numeric(text) || getaddrinfo(text, NULL, &hints, &found))
    return false;
  *a = gr_address_of(found->ai_addr);
  freeaddrinfo(found);
  return true;
}

void gr_address_text(const gr_address *a, char text[INET6_ADDRSTRLEN + 32]) {
  char name[IF_NAMESIZE];
  inet_ntop(a->family, a->bytes, text, INET6_ADDRSTRLEN);
  if (!a->scope) return;
  text += strlen(text);
  bool local = a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
  if (local && if_indextoname(a->scope, name))
    sprintf(text, "%%%s", name);
  else
    sprintf(text, "%%%u", (unsigned)a->scope);
}

/* --- RFC 6724 ----------------------------------------------------------- */

/* A destination, and what the rules look at.  IPv4 counts as IPv6-mapped. */
typedef struct candidate {
  gr_address to;
  uint8_t dst[16], src[16];
  bool reachable;
  unsigned rank; /* where it was, for what the rules leave open */
} candidate;

static const struct policy {
  uint8_t prefix[16], bits, precedence, label;
} policies[] = {
    {{[15] = 1}, 128, 50, 0},                /* ::1 */
    {{[10] = 0xff, [11] = 0xff}, 96, 35, 4}, /* IPv4 */
    {{0x20, 0x02}, 16, 30, 2},               /* 6to4 */
    {{0x20, 0x01}, 32, 5, 5},                /* Teredo */
    {{0xfc}, 7, 3, 13},                      /* unique local */
    {{0}, 96, 1, 3},                         /* IPv4-compatible */
    {{0xfe, 0xc0}, 10, 1, 11},               /* site-local */
    {{0x3f, 0xfe}, 16, 1, 12},               /* 6bone */
    {{0}, 0, 40, 1},                         /* any other */
};

static int common_bits(const uint8_t *a, const uint8_t *b) {
  int n = 0;
  while (n < 128 && !((a[n / 8] ^ b[n / 8]) & (0x80 >> n % 8))) n++;
  return n;
}

static const struct policy *policy_of(const uint8_t *ip) {
  const struct policy *p = policies;
  while (common_bits(p->prefix, ip) < p->bits) p++;
  return p;
}

static bool is_four(const uint8_t *ip) {
  return policy_of(ip)->label == 4;
}

/* RFC 4291 §2.7, RFC 6724 §3.1 and §3.2 */
static int scope_of(const uint8_t *ip) {
  enum { LINK = 2, SITE = 5, GLOBAL = 14 };
  if (is_four(ip)) {
    bool local = ip[12] == 127 || (ip[12] == 169 && ip[13] == 254);
    return local ? LINK : GLOBAL;
  }
  if (ip[0] == 0xff) return ip[1] & 0xf;
  if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) return LINK;
  if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0xc0) return SITE;
  return policy_of(ip)->precedence == 50 ? LINK : GLOBAL;
}

static void as_six(const gr_address *a, uint8_t *ip) {
  memset(ip, 0, 16);
  if (a->family == AF_INET) ip[10] = ip[11] = 0xff;
  memcpy(ip + 16 - gr_address_len(a), a->bytes, gr_address_len(a));
}

/* The source address that the kernel would choose. */
static void find_source(candidate *c) {
  struct sockaddr_storage a;
  socklen_t len = gr_address_with_port(&c->to, 53, &a);
  as_six(&c->to, c->dst);
  int fd = socket(c->to.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  if (!connect(fd, (struct sockaddr *)&a, len)) {
    len = sizeof a;
    if (!getsockname(fd, (struct sockaddr *)&a, &len)) {
      gr_address from = gr_address_of((struct sockaddr *)&a);
      as_six(&from, c->src);
      c->reachable = true;
    }
  }
  close(fd);
}

/* Rules 1, 2, 5, 6, 8, 9 and 10; Linux tells nothing that 3, 4 and 7 could go
 * by.  Negative: a comes first. */
static int compare(const candidate *a, const candidate *b) {
  if (a->reachable != b->reachable) return a->reachable ? -1 : 1;
  const struct policy *p = policy_of(a->dst), *q = policy_of(b->dst);
  int x = scope_of(a->dst), y = scope_of(b->dst);
  if (a->reachable) {
    bool m = x == scope_of(a->src), n = y == scope_of(b->src);
    if (m != n) return m ? -1 : 1;
    m = p->label == policy_of(a->src)->label;
    n = q->label == policy_of(b->src)->label;
    if (m != n) return m ? -1 : 1;
  }
  if (p->precedence != q->precedence) return q->precedence - p->precedence;
  if (x != y) return x - y;
  if (a->reachable && !is_four(a->dst) && !is_four(b->dst)) {
    int m = common_bits(a->src, a->dst), n = common_bits(b->src, b->dst);
    if (m > 64) m = 64; /* the rest names the machine, not the network */
    if (n > 64) n = 64;
    if (m != n) return n - m;
  }
  return (int)a->rank - (int)b->rank;
}

/* They are few, so by insertion. */
static void sort(candidate *list, unsigned n) {
  for (unsigned i = 1; i < n; i++) {
    candidate c = list[i];
    unsigned k = i;
    for (; k && compare(&c, &list[k - 1]) < 0; k--) list[k] = list[k - 1];
    list[k] = c;
  }
}

void gr_addresses_sort(gr_addresses *list) {
  unsigned n = list->count;
  if (n < 2) return;
  candidate *all = gr_calloc(n * sizeof *all);
  if (!all) return; /* an order is a comfort */
  for (unsigned i = 0; i < n; i++) {
    all[i].to = list->at[i];
    all[i].rank = i;
    find_source(&all[i]);
  }
  sort(all, n);
  for (unsigned i = 0; i < n; i++) list->at[i] = all[i].to;
  gr_free(all);
}
