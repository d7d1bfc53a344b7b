/* Reading DNS messages (RFC 1035 §4): whatever a server sends.
 *
 * Nothing in a message is believed: each length and each pointer is looked at
 * before it is followed, and a pointer only leads back.  Names come out as
 * text: a byte of a label that is no letter, digit or the like is escaped as in
 * a zone file ("\." or "\032"), so that a name never means two things.
 */
#ifndef GR_RESOLVER_MESSAGE_H
#define GR_RESOLVER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  GR_DNS_A = 1,
  GR_DNS_NS = 2,
  GR_DNS_CNAME = 5,
  GR_DNS_SOA = 6,
  GR_DNS_PTR = 12,
  GR_DNS_MX = 15,
  GR_DNS_TXT = 16,
  GR_DNS_AAAA = 28,
  GR_DNS_SRV = 33,
  GR_DNS_NAPTR = 35,
  GR_DNS_OPT = 41,
  GR_DNS_ANY = 255,
  GR_DNS_URI = 256,
  GR_DNS_CAA = 257
};

enum { GR_NAME_TEXT = 255 * 4 + 1 }; /* room for any name as text */

enum { GR_ANSWER = 1, GR_AUTHORITY, GR_ADDITIONAL }; /* sections */

typedef struct gr_message {
  const uint8_t *data;
  size_t len;
  size_t at;        /* of the next record */
  unsigned left[4]; /* records of each section that are still to come */
  unsigned section; /* of the next record */
  unsigned rcode;   /* 0: no error, 3: no such name … */
  unsigned qtype;   /* of the question */
  size_t question;  /* where its name is */
} gr_message;

typedef struct gr_record {
  unsigned section, type, class;
  uint32_t ttl; /* seconds */
  size_t name;  /* where its owner's name is */
  size_t data;  /* where its data are, `len` bytes */
  size_t len;
} gr_record;

/* Begin to read.  -1: it is no answer to one question. */
int gr_message_read(gr_message *, const uint8_t *data, size_t len);

/* The next record: 1; 0: there is none; -1: the message is malformed. */
int gr_message_next(gr_message *, gr_record *);

/* The name at a place, as text without a dot at its end; the root is ".".
 * Returns the place behind it, or 0: it is malformed. */
size_t gr_message_name(const gr_message *, size_t at, char text[GR_NAME_TEXT]);

/* Numbers of the network's, not checked: they must be inside. */
static inline unsigned gr_get16(const uint8_t *p) {
  return (unsigned)p[0] << 8 | p[1];
}

static inline uint32_t gr_get32(const uint8_t *p) {
  return (uint32_t)gr_get16(p) << 16 | gr_get16(p + 2);
}

/* Are two names, as text, the same one? */
bool gr_same_name(const char *a, const char *b);

/* How long the message may be kept, in seconds: the least TTL of its answers;
 * if it has none, what the zone's SOA says about that (RFC 2308 §5); 0 if
 * nothing is said. */
uint32_t gr_message_ttl(const uint8_t *data, size_t len);

/* Walk the aliases from the question's name: the text of the last one.  False:
 * the message is malformed, or they go in circles. */
bool gr_message_target(const uint8_t *data, size_t len,
                       char text[GR_NAME_TEXT]);

#endif
