#include "message.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
  HEADER = 12,
  MAX_LABEL = 63,
  MAX_NAME = 255,
  MAX_ALIASES = 16, /* in a row; more is a circle, or a joke */
  RESPONSE = 0x80
};

/* --- names -------------------------------------------------------------- */

/* One byte of a label as text: how many characters it takes. */
static size_t escape(char *text, uint8_t c) {
  if (c <= ' ' || c >= 0x7f) return (size_t)sprintf(text, "\\%03u", c);
  if (strchr(".\\\"();@$", c)) {
    text[0] = '\\';
    text[1] = (char)c;
    return 2;
  }
  text[0] = (char)c;
  return 1;
}

/* Every pointer leads to before the one that brought us here, so it ends. */
size_t gr_message_name(const gr_message *m, size_t at,
                       char text[GR_NAME_TEXT]) {
  size_t behind = 0, total = 0, n = 0, limit = at;
  for (;;) {
    if (at >= m->len) return 0;
    unsigned size = m->data[at];
    if (size >= 0xc0) {
      if (at + 2 > m->len) return 0;
      if (!behind) behind = at + 2;
      at = gr_get16(m->data + at) & 0x3fff;
      if (at >= limit) return 0;
      limit = at;
      continue;
    }
    if (!size) break;
    total += size + 1;
    if (size > MAX_LABEL || total >= MAX_NAME || at + 1 + size > m->len)
      return 0;
    if (n) text[n++] = '.';
    for (at++; size; size--) n += escape(text + n, m->data[at++]);
  }
  if (!n) text[n++] = '.';
  text[n] = 0;
  return behind ? behind : at + 1;
}

bool gr_same_name(const char *a, const char *b) {
  size_t n = strlen(a), k = strlen(b);
  if (n > 1 && a[n - 1] == '.') n--;
  if (k > 1 && b[k - 1] == '.') k--;
  return n == k && !strncasecmp(a, b, n);
}

/* --- the message -------------------------------------------------------- */

int gr_message_read(gr_message *m, const uint8_t *data, size_t len) {
  char name[GR_NAME_TEXT];
  *m = (gr_message){.data = data, .len = len, .section = GR_ANSWER};
  if (len < HEADER || !(data[2] & RESPONSE) || gr_get16(data + 4) != 1)
    return -1;
  m->rcode = data[3] & 0x0f;
  for (unsigned i = GR_ANSWER; i <= GR_ADDITIONAL; i++)
    m->left[i] = gr_get16(data + 4 + 2 * i);
  m->question = HEADER;
  size_t at = gr_message_name(m, HEADER, name);
  if (!at || at + 4 > len) return -1;
  m->qtype = gr_get16(data + at);
  m->at = at + 4;
  return 0;
}

int gr_message_next(gr_message *m, gr_record *r) {
  char name[GR_NAME_TEXT];
  while (m->section <= GR_ADDITIONAL && !m->left[m->section]) m->section++;
  if (m->section > GR_ADDITIONAL) return 0;
  size_t at = gr_message_name(m, m->at, name);
  if (!at || at + 10 > m->len) return -1;
  const uint8_t *p = m->data + at;
  *r = (gr_record){.section = m->section,
                   .type = gr_get16(p),
                   .class = gr_get16(p + 2),
                   .ttl = gr_get32(p + 4),
                   .name = m->at,
                   .data = at + 10,
                   .len = gr_get16(p + 8)};
  if (r->len > m->len - r->data) return -1;
  if (r->ttl > INT32_MAX) r->ttl = 0; /* RFC 2181 §8 */
  m->at = r->data + r->len;
  m->left[m->section]--;
  return 1;
}

/* The last field of a SOA: how long it holds that there is nothing. */
static uint32_t negative_ttl(const gr_record *soa, const gr_message *m) {
  if (soa->len < 22) return 0;
  uint32_t minimum = gr_get32(m->data + soa->data + soa->len - 4);
  return minimum < soa->ttl ? minimum : soa->ttl;
}

uint32_t gr_message_ttl(const uint8_t *data, size_t len) {
  gr_message m;
  gr_record r;
  uint32_t least = UINT32_MAX, soa = 0;
  bool empty = true;
  if (gr_message_read(&m, data, len)) return 0;
  int more;
  while ((more = gr_message_next(&m, &r)) > 0) {
    if (r.section == GR_ANSWER && r.ttl < least) least = r.ttl;
    if (r.section == GR_ANSWER && (r.type == m.qtype || m.qtype == GR_DNS_ANY))
      empty = false;
    if (r.section == GR_AUTHORITY && r.type == GR_DNS_SOA)
      soa = negative_ttl(&r, &m);
  }
  if (more < 0) return 0;
  if (empty && soa < least) return soa;
  return least;
}

/* The alias of `name`: 1, and it is in `name`; 0: it has none; -1. */
static int follow(gr_message m, char *name) {
  gr_record r;
  char owner[GR_NAME_TEXT];
  int more;
  while ((more = gr_message_next(&m, &r)) > 0 && r.section == GR_ANSWER) {
    if (r.type != GR_DNS_CNAME) continue;
    if (!gr_message_name(&m, r.name, owner)) return -1;
    if (!gr_same_name(owner, name)) continue;
    size_t end = gr_message_name(&m, r.data, name);
    return end == r.data + r.len ? 1 : -1;
  }
  return more < 0 ? -1 : 0;
}

bool gr_message_target(const uint8_t *data, size_t len,
                       char text[GR_NAME_TEXT]) {
  gr_message m;
  if (gr_message_read(&m, data, len)) return false;
  gr_message_name(&m, m.question, text);
  for (int i = 0; i < MAX_ALIASES; i++) {
    int how = m.qtype == GR_DNS_CNAME ? 0 : follow(m, text);
    if (how <= 0) return how == 0;
  }
  return false;
}
