#include "resolvconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"

enum { DNS_PORT = 53, MAX_NDOTS = 15, MAX_TIMEOUT = 30, MAX_ATTEMPTS = 5 };

static const char *const blank = " \t\r\n";

void gr_resolvconf_init(gr_resolvconf *c) {
  *c = (gr_resolvconf){.ndots = 1, .attempts = 2, .timeout = 5};
}

static void forget_search(gr_resolvconf *c) {
  for (unsigned i = 0; i < c->nsearch; i++) gr_free(c->search[i]);
  gr_free(c->search);
  c->search = NULL;
  c->nsearch = 0;
}

void gr_resolvconf_fini(gr_resolvconf *c) {
  forget_search(c);
  gr_free(c->servers);
  gr_resolvconf_init(c);
}

/* --- parts -------------------------------------------------------------- */

/* Take the port off "address:port" or "[address]:port".  0: none is there; -1:
 * it is no port. */
static int split_port(char *text, char **address) {
  char *end, *colon = strrchr(text, ':');
  *address = text;
  if (*text == '[') {
    char *close = strchr(text, ']');
    if (!close || (close[1] && close[1] != ':')) return -1;
    *close = 0;
    *address = text + 1;
    colon = close[1] ? close + 1 : NULL;
  } else if (colon && strchr(text, ':') != colon) {
    return 0; /* an IPv6 address as it is */
  }
  if (!colon) return 0;
  *colon = 0;
  if (colon[1] < '0' || colon[1] > '9') return -1;
  unsigned long port = strtoul(colon + 1, &end, 10);
  return *end || port < 1 || port > 65535 ? -1 : (int)port;
}

int gr_resolvconf_add_server(gr_resolvconf *c, const char *text) {
  char copy[128], *address;
  gr_server s;
  if (strlen(text) >= sizeof copy) return -1;
  strcpy(copy, text);
  int port = split_port(copy, &address);
  if (port < 0 || !gr_address_parse(&s.address, address)) return -1;
  s.port = port ? (unsigned)port : DNS_PORT;
  gr_server *all = gr_realloc(c->servers, (c->nservers + 1) * sizeof *all);
  if (!all) return -2;
  c->servers = all;
  all[c->nservers++] = s;
  return 0;
}

int gr_resolvconf_add_search(gr_resolvconf *c, const char *domain) {
  size_t n = strlen(domain);
  while (n && domain[n - 1] == '.') n--;
  if (!n) return 0; /* the root: the name as it is */
  char **all = gr_realloc(c->search, (c->nsearch + 1) * sizeof *all);
  if (!all) return -1;
  c->search = all;
  char *copy = gr_realloc(NULL, n + 1);
  if (!copy) return -1;
  memcpy(copy, domain, n);
  copy[n] = 0;
  all[c->nsearch++] = copy;
  return 0;
}

/* The number after "name:", within limits; -1: it is another option. */
static int number_of(const char *word, const char *name, int most) {
  size_t n = strlen(name);
  if (strncmp(word, name, n)) return -1;
  long value = strtol(word + n, NULL, 10);
  return value < 0 ? 0 : value > most ? most : (int)value;
}

static void set_options(gr_resolvconf *c, char *text) {
  char *rest, *word = strtok_r(text, blank, &rest);
  for (; word; word = strtok_r(NULL, blank, &rest)) {
    int n;
    if ((n = number_of(word, "ndots:", MAX_NDOTS)) >= 0) c->ndots = n;
    if ((n = number_of(word, "timeout:", MAX_TIMEOUT)) > 0) c->timeout = n;
    if ((n = number_of(word, "attempts:", MAX_ATTEMPTS)) > 0) c->attempts = n;
    if (!strcmp(word, "rotate")) c->rotate = true;
    if (!strcmp(word, "use-vc")) c->tcp = true;
  }
}

/* The last line of its kind is the one that counts. */
static int set_search(gr_resolvconf *c, char *text) {
  char *rest, *word = strtok_r(text, blank, &rest);
  forget_search(c);
  for (; word; word = strtok_r(NULL, blank, &rest))
    if (gr_resolvconf_add_search(c, word)) return -1;
  return 0;
}

/* --- the file ----------------------------------------------------------- */

static int read_line(gr_resolvconf *c, char *line) {
  char *rest, *word;
  line[strcspn(line, "#;")] = 0;
  if (!(word = strtok_r(line, blank, &rest))) return 0;
  if (!strcmp(word, "nameserver")) {
    char *server = strtok_r(NULL, blank, &rest);
    return server && gr_resolvconf_add_server(c, server) == -2 ? -1 : 0;
  }
  if (!strcmp(word, "search") || !strcmp(word, "domain"))
    return set_search(c, rest);
  if (!strcmp(word, "options")) set_options(c, rest);
  return 0;
}

static int read_file(gr_resolvconf *c, const char *path) {
  char *line = NULL;
  size_t room = 0;
  int status = 0;
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  while (!status && getline(&line, &room, file) >= 0)
    status = read_line(c, line);
  free(line);
  fclose(file);
  return status;
}

static int with_copy(gr_resolvconf *c, const char *name,
                     int (*f)(gr_resolvconf *, char *)) {
  const char *value = getenv(name);
  if (!value) return 0;
  char *copy = gr_realloc(NULL, strlen(value) + 1);
  if (!copy) return -1;
  int status = f(c, strcpy(copy, value));
  gr_free(copy);
  return status;
}

static int read_options(gr_resolvconf *c, char *text) {
  set_options(c, text);
  return 0;
}

/* Nothing is said about domains: the one that this machine is in. */
static int search_here(gr_resolvconf *c) {
  char name[256];
  if (c->nsearch || gethostname(name, sizeof name)) return 0;
  name[sizeof name - 1] = 0;
  char *dot = strchr(name, '.');
  return dot ? gr_resolvconf_add_search(c, dot + 1) : 0;
}

int gr_resolvconf_load(gr_resolvconf *c, const char *path) {
  if (read_file(c, path) || search_here(c) ||
      with_copy(c, "LOCALDOMAIN", set_search) ||
      with_copy(c, "RES_OPTIONS", read_options))
    return -1;
  if (c->nservers) return 0;
  return gr_resolvconf_add_server(c, "127.0.0.1") ? -1 : 0;
}
