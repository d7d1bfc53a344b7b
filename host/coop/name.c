/* getaddrinfo and getnameinfo. */
#include <string.h>

#include "alloc.h"
#include "job.h"
#include "real.h"

/* --- getaddrinfo -------------------------------------------------------- */

typedef struct address_job {
  gr_coop_job j; /* first */
  char *node, *service;
  struct addrinfo hints, *found;
  int result, err;
} address_job;

static void call_getaddrinfo(gr_coop_job *j) {
  address_job *a = (address_job *)(void *)j;
  a->result = GR_REAL(getaddrinfo)(a->node, a->service, &a->hints, &a->found);
  a->err = errno;
}

static void drop_addresses(gr_coop_job *j) {
  address_job *a = (address_job *)(void *)j;
  if (a->found) freeaddrinfo(a->found);
}

static address_job *new_address_job(const char *node, const char *service,
                                    const struct addrinfo *hints) {
  address_job *a =
      gr_calloc(sizeof *a + gr_coop_size(node) + gr_coop_size(service));
  if (!a) return NULL;
  char *end = (char *)(a + 1);
  a->j.call = call_getaddrinfo;
  a->j.drop = drop_addresses;
  a->node = gr_coop_copy(&end, node);
  a->service = gr_coop_copy(&end, service);
  a->hints = *hints;
  return a;
}

/* What an absent one means. */
static const struct addrinfo no_hints = {.ai_flags =
                                             AI_V4MAPPED | AI_ADDRCONFIG};

GR_EXPORT int getaddrinfo(const char *node, const char *service,
                          const struct addrinfo *hints,
                          struct addrinfo **found) {
  static const gr_wait what = {.name = "getaddrinfo", .foreign = true};
  gr_state *S = gr_coop_here();
  if (!S) return GR_REAL(getaddrinfo)(node, service, hints, found);
  if (gr_coop_struck(S)) return EAI_FAIL;
  struct addrinfo numeric = hints ? *hints : no_hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  int result = GR_REAL(getaddrinfo)(node, service, &numeric, found);
  if (result != EAI_NONAME || !node ||
      (hints && hints->ai_flags & AI_NUMERICHOST))
    return result;
  address_job *a = new_address_job(node, service, hints ? hints : &no_hints);
  gr_coop_end how = a ? gr_coop_perform(S, &what, &a->j) : GR_COOP_CANNOT;
  if (how == GR_COOP_STRUCK) return EAI_FAIL;
  if (how == GR_COOP_CANNOT)
    return GR_REAL(getaddrinfo)(node, service, hints, found);
  int err = a->err;
  result = a->result;
  if (!result) *found = a->found;
  gr_free(a);
  errno = err;
  return result;
}

/* --- getnameinfo -------------------------------------------------------- */

typedef struct name_job {
  gr_coop_job j; /* first */
  struct sockaddr_storage address;
  socklen_t length;
  char host[NI_MAXHOST], service[NI_MAXSERV];
  socklen_t host_room, service_room;
  int flags, result, err;
} name_job;

static void call_getnameinfo(gr_coop_job *j) {
  name_job *a = (name_job *)(void *)j;
  a->result = GR_REAL(getnameinfo)(
      (struct sockaddr *)(void *)&a->address, a->length,
      a->host_room ? a->host : NULL, a->host_room,
      a->service_room ? a->service : NULL, a->service_room, a->flags);
  a->err = errno;
}

static socklen_t at_most(socklen_t room, socklen_t most) {
  return room < most ? room : most;
}

static name_job *new_name_job(const struct sockaddr *address, socklen_t length,
                              socklen_t host_room, socklen_t service_room,
                              int flags) {
  name_job *a = gr_calloc(sizeof *a);
  if (!a) return NULL;
  a->j.call = call_getnameinfo;
  memcpy(&a->address, address, length);
  a->length = length;
  a->host_room = at_most(host_room, NI_MAXHOST);
  a->service_room = at_most(service_room, NI_MAXSERV);
  a->flags = flags;
  return a;
}

GR_EXPORT int getnameinfo(const struct sockaddr *address, socklen_t length,
                          char *host, socklen_t host_room, char *service,
                          socklen_t service_room, int flags) {
  static const gr_wait what = {.name = "getnameinfo", .foreign = true};
  gr_state *S = gr_coop_here();
  name_job *a = NULL;
  if (S && gr_coop_struck(S)) return EAI_FAIL;
  if (!host) host_room = 0;
  if (!service) service_room = 0;
  if (S && host_room && !(flags & NI_NUMERICHOST) && address &&
      length <= sizeof a->address)
    a = new_name_job(address, length, host_room, service_room, flags);
  gr_coop_end how = a ? gr_coop_perform(S, &what, &a->j) : GR_COOP_CANNOT;
  if (how == GR_COOP_STRUCK) return EAI_FAIL;
  if (how == GR_COOP_CANNOT)
    return GR_REAL(getnameinfo)(address, length, host, host_room, service,
                                service_room, flags);
  int result = a->result, err = a->err;
  if (!result && host_room) strcpy(host, a->host);
  if (!result && service_room) strcpy(service, a->service);
  gr_free(a);
  errno = err;
  return result;
}
