#include "hosts.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "alloc.h"

static const double EVERY = 1; /* seconds between looks at a file */
static const char *const blank = " \t\r";

typedef struct gr_host {
  const char *name, *canonical;
  gr_address address;
  unsigned next; /* of the same bucket: 1 + index, or 0 */
} gr_host;

bool gr_seen_change(gr_seen *seen, const char *path, double now) {
  struct stat s;
  if (seen->at > 0 && now - seen->at < EVERY) return false;
  gr_seen before = *seen;
  seen->at = now;
  if (stat(path, &s)) memset(&s, 0, sizeof s);
  seen->changed = s.st_mtim;
  seen->size = s.st_size;
  seen->inode = s.st_ino;
  return !(before.at > 0) || before.size != s.st_size ||
         before.inode != s.st_ino ||
         before.changed.tv_sec != s.st_mtim.tv_sec ||
         before.changed.tv_nsec != s.st_mtim.tv_nsec;
}

void gr_hosts_init(gr_hosts *h, const char *path) {
  *h = (gr_hosts){.path = path};
}

static void forget(gr_hosts *h) {
  gr_free(h->all);
  gr_free(h->buckets);
  gr_free(h->text);
  h->all = NULL;
  h->buckets = NULL;
  h->text = NULL;
  h->count = h->room = h->nbuckets = 0;
}

void gr_hosts_fini(gr_hosts *h) {
  forget(h);
}

/* --- reading ------------------------------------------------------------ */

/* The whole file with a zero at its end; NULL: it cannot be had. */
static char *read_all(const char *path, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return NULL;
  char *text = gr_realloc(NULL, size + 1);
  size_t n = 0;
  ssize_t got = 1;
  while (text && n < size && (got = read(fd, text + n, size - n)) > 0)
    n += (size_t)got;
  close(fd);
  if (!text) return NULL;
  for (size_t i = 0; i < n; i++)
    if (!text[i]) text[i] = ' '; /* a zero ends nothing here */
  text[n] = 0;
  return text;
}

static int add(gr_hosts *h, const gr_host *host) {
  if (h->count == h->room) {
    unsigned room = h->room ? h->room * 2 : 16;
    gr_host *all = gr_realloc(h->all, room * sizeof *all);
    if (!all) return -1;
    h->all = all;
    h->room = room;
  }
  h->all[h->count++] = *host;
  return 0;
}

/* An address, and its names. */
static int read_line(gr_hosts *h, char *line) {
  char *rest, *word;
  gr_host host = {.name = NULL};
  line[strcspn(line, "#")] = 0;
  word = strtok_r(line, blank, &rest);
  if (!word || !gr_address_parse(&host.address, word)) return 0;
  while ((word = strtok_r(NULL, blank, &rest))) {
    if (!host.canonical) host.canonical = word;
    host.name = word;
    if (add(h, &host)) return -1;
  }
  return 0;
}

/* FNV-1a, without regard to case. */
static unsigned hash(const char *name, size_t n) {
  unsigned value = 2166136261u;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)name[i];
    if (c >= 'A' && c <= 'Z') c |= 0x20;
    value = (value ^ c) * 16777619u;
  }
  return value;
}

/* Backwards, so that each bucket has the file's order. */
static int index_all(gr_hosts *h) {
  h->nbuckets = 16;
  while (h->nbuckets < h->count) h->nbuckets *= 2;
  h->buckets = gr_calloc(h->nbuckets * sizeof *h->buckets);
  if (!h->buckets) return -1;
  for (unsigned i = h->count; i; i--) {
    gr_host *host = &h->all[i - 1];
    unsigned *bucket =
        &h->buckets[hash(host->name, strlen(host->name)) & (h->nbuckets - 1)];
    host->next = *bucket;
    *bucket = i;
  }
  return 0;
}

static int read_file(gr_hosts *h) {
  char *rest, *line;
  forget(h);
  h->text = h->seen.size ? read_all(h->path, (size_t)h->seen.size) : NULL;
  if (!h->text) return 0;
  for (line = strtok_r(h->text, "\n", &rest); line;
       line = strtok_r(NULL, "\n", &rest))
    if (read_line(h, line)) return -1;
  return index_all(h);
}

/* False: out of memory; the next call tries again. */
static bool refresh(gr_hosts *h, double now) {
  if (!h->path || !gr_seen_change(&h->seen, h->path, now)) return true;
  if (!read_file(h)) return true;
  forget(h);
  h->seen.at = 0;
  return false;
}

/* --- asking ------------------------------------------------------------- */

int gr_hosts_find(gr_hosts *h, const char *name, int family, double now,
                  gr_addresses *to, bool *known, const char **canonical) {
  size_t n = strlen(name);
  int found = 0;
  if (!refresh(h, now)) return -1;
  if (n && name[n - 1] == '.') n--;
  if (!h->nbuckets) return 0;
  unsigned i = h->buckets[hash(name, n) & (h->nbuckets - 1)];
  for (; i; i = h->all[i - 1].next) {
    const gr_host *host = &h->all[i - 1];
    if (strncasecmp(host->name, name, n) || host->name[n]) continue;
    if (!*known) *canonical = host->canonical;
    *known = true;
    if (family != AF_UNSPEC && family != host->address.family) continue;
    if (gr_addresses_add(to, &host->address)) return -1;
    found = 1;
  }
  return found;
}

const char *gr_hosts_name(gr_hosts *h, const gr_address *a, double now) {
  refresh(h, now);
  for (unsigned i = 0; i < h->count; i++) {
    const gr_address *b = &h->all[i].address;
    if (a->family == b->family &&
        !memcmp(a->bytes, b->bytes, gr_address_len(a)))
      return h->all[i].canonical;
  }
  return NULL;
}
