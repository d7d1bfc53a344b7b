/* IP addresses without a port, and the order in which to try them. */
#ifndef GR_ADDRESS_H
#define GR_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct gr_address {
  int family;        /* AF_INET or AF_INET6 */
  uint32_t scope;    /* of IPv6: the interface, or 0 */
  uint8_t bytes[16]; /* 4 or 16 of them */
} gr_address;

typedef struct gr_addresses {
  gr_address *at;
  unsigned count, room;
} gr_addresses;

/* Add one, if it is not there.  -1: out of memory. */
int gr_addresses_add(gr_addresses *, const gr_address *);
void gr_addresses_fini(gr_addresses *);

/* Can it be a number?  Says no only of what cannot. */
bool gr_address_numeric(const char *text);

/* What a number means: all forms that inet_aton(3) knows, IPv6, and IPv6 with
 * a scope ("fe80::1%eth0").  False: it is no number. */
bool gr_address_parse(gr_address *, const char *text);

/* The address of a socket address (IPv4 or IPv6), and the other way round. */
gr_address gr_address_of(const struct sockaddr *);
socklen_t gr_address_with_port(const gr_address *, unsigned port,
                               struct sockaddr_storage *);

/* The number as text. */
void gr_address_text(const gr_address *, char text[INET6_ADDRSTRLEN + 32]);

static inline size_t gr_address_len(const gr_address *a) {
  return a->family == AF_INET ? 4 : 16;
}

/* Arrange destinations as RFC 6724 §6 says: first those that this machine
 * can reach, from its best source address.  Asks the kernel, sends nothing. */
void gr_addresses_sort(gr_addresses *);

#endif
