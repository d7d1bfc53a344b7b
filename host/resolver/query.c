#include "query.h"

#include <string.h>
#include <strings.h>

#include "alloc.h"

enum { FIRST_BUCKETS = 64 };

/* --- the table ---------------------------------------------------------- */

static size_t length_of(const char *name) {
  size_t n = strlen(name);
  return n && name[n - 1] == '.' ? n - 1 : n;
}

/* FNV-1a, without regard to case. */
static unsigned hash_of(const char *name, size_t n, unsigned type) {
  unsigned value = (2166136261u ^ type) * 16777619u;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)name[i];
    if (c >= 'A' && c <= 'Z') c |= 0x20;
    value = (value ^ c) * 16777619u;
  }
  return value;
}

static gr_query **bucket_of(gr_resolver *r, unsigned hash) {
  return &r->buckets[hash & (r->nbuckets - 1)];
}

/* Twice as many buckets, if there is memory; at the beginning there must be. */
static int grow(gr_resolver *r) {
  gr_query **before = r->buckets;
  unsigned n = r->nbuckets;
  if (r->nqueries < n) return 0;
  gr_query **all = gr_calloc((n ? n * 2 : FIRST_BUCKETS) * sizeof *all);
  if (!all) return n ? 0 : -1;
  r->buckets = all;
  r->nbuckets = n ? n * 2 : FIRST_BUCKETS;
  for (unsigned i = 0; i < n; i++)
    for (gr_query *q = before[i], *next; q; q = next) {
      next = q->next;
      q->next = *bucket_of(r, q->hash);
      *bucket_of(r, q->hash) = q;
    }
  gr_free(before);
  return 0;
}

static size_t size_of(const gr_query *q) {
  return sizeof *q + strlen(q->name) + 1 + q->len;
}

void gr_query_unlist(gr_query *q) {
  gr_resolver *r = q->resolver;
  if (!q->listed) return;
  gr_query **link = bucket_of(r, q->hash);
  while (*link != q) link = &(*link)->next;
  *link = q->next;
  q->listed = false;
  r->nqueries--;
}

void gr_query_release(gr_query *q) {
  if (--q->refs) return;
  gr_query_unlist(q);
  gr_node_remove(&q->node);
  gr_free(q->answer);
  gr_free(q);
}

gr_query *gr_query_new(gr_resolver *r, const char *name, unsigned type) {
  size_t n = length_of(name);
  gr_query *q = grow(r) ? NULL : gr_calloc(sizeof *q + n + 1);
  if (!q) return NULL;
  memcpy(q->name, name, n);
  q->resolver = r;
  q->type = type;
  q->hash = hash_of(name, n, type);
  gr_node_init(&q->node);
  gr_list_init(&q->asks);
  q->next = *bucket_of(r, q->hash);
  *bucket_of(r, q->hash) = q;
  q->listed = true;
  r->nqueries++;
  return q;
}

/* --- the cache ---------------------------------------------------------- */

static void drop(gr_query *q) {
  gr_resolver *r = q->resolver;
  r->ncached--;
  r->cached_bytes -= size_of(q);
  gr_node_remove(&q->node);
  gr_query_unlist(q);
  gr_query_release(q);
}

static void touch(gr_query *q) {
  gr_node_remove(&q->node);
  gr_list_append(&q->resolver->cached, &q->node);
}

gr_query *gr_query_find(gr_resolver *r, const char *name, unsigned type) {
  size_t n = length_of(name);
  unsigned hash = hash_of(name, n, type);
  gr_query *q = r->nbuckets ? *bucket_of(r, hash) : NULL;
  for (; q; q = q->next) {
    if (q->hash != hash || q->type != type || strncasecmp(q->name, name, n) ||
        q->name[n])
      continue;
    if (!q->ended) return q;
    if (gr_now() < q->expires) {
      touch(q);
      return q;
    }
    drop(q);
    return NULL;
  }
  return NULL;
}

/* Seconds for which its answer is good. */
static double life_of(const gr_query *q) {
  bool negative = q->status == GR_DNS_NXDOMAIN || q->status == GR_DNS_NODATA;
  if (q->status && !negative) return 0;
  double ttl = gr_message_ttl(q->answer, q->len);
  double most = negative ? GR_CACHE_NEGATIVE : GR_CACHE_POSITIVE;
  return ttl < most ? ttl : most;
}

static gr_query *first_cached(gr_resolver *r) {
  return gr_container(gr_list_first(&r->cached), gr_query, node);
}

void gr_query_keep(gr_query *q) {
  gr_resolver *r = q->resolver;
  double life = q->answer && q->listed ? life_of(q) : 0;
  if (life <= 0) {
    gr_query_unlist(q);
    return;
  }
  q->expires = q->asked + life;
  q->refs++;
  touch(q);
  r->ncached++;
  r->cached_bytes += size_of(q);
  while (r->ncached > GR_CACHE_ENTRIES || r->cached_bytes > GR_CACHE_BYTES)
    drop(first_cached(r));
}

void gr_query_forget(gr_resolver *r) {
  while (!gr_list_empty(&r->cached)) drop(first_cached(r));
}
