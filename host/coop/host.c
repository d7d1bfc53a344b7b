/* gethostbyname and kin.
 *
 * The answer of those without _r stays where it is until the next one; that of
 * the others moves to the caller's buffer.  All its pointers point into it. */
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "job.h"
#include "real.h"

enum { BY_NAME, BY_NAME_OF_FAMILY, BY_ADDRESS };

typedef struct host_job {
  gr_coop_job j; /* first */
  int how, family;
  size_t length; /* of the key: a name, or an address */
  char *key;
  struct hostent entry, *answer;
  char *memory, *buffer; /* at an address that is like the caller's */
  size_t room;
  bool grows;
  int result, error; /* and h_errno */
} host_job;

static int look_up(host_job *h) {
  switch (h->how) {
  case BY_NAME:
    return GR_REAL(gethostbyname_r)(h->key, &h->entry, h->buffer, h->room,
                                    &h->answer, &h->error);
  case BY_NAME_OF_FAMILY:
    return GR_REAL(gethostbyname2_r)(h->key, h->family, &h->entry, h->buffer,
                                     h->room, &h->answer, &h->error);
  default:
    return GR_REAL(gethostbyaddr_r)(h->key, (socklen_t)h->length, h->family,
                                    &h->entry, h->buffer, h->room, &h->answer,
                                    &h->error);
  }
}

/* On a thread, where gr_realloc is nobody's to call. */
static void call(gr_coop_job *j) {
  host_job *h = (host_job *)(void *)j;
  for (;;) {
    h->result = look_up(h);
    if (h->result != ERANGE || !h->grows) return;
    char *more = realloc(h->memory, h->room * 2);
    if (!more) return;
    h->memory = h->buffer = more;
    h->room *= 2;
  }
}

static void drop(gr_coop_job *j) {
  free(((host_job *)(void *)j)->memory);
}

/* `like`: the caller's buffer of `room` bytes, or NULL. */
static host_job *new_job(int how, const void *key, size_t length, int family,
                         const char *like, size_t room) {
  enum { USUAL = 1024, ALIGN = 16 };
  host_job *h = gr_calloc(sizeof *h + length);
  if (!h) return NULL;
  h->j.call = call;
  h->j.drop = drop;
  h->how = how;
  h->family = family;
  h->length = length;
  h->key = memcpy(h + 1, key, length);
  h->grows = !like;
  h->room = like ? room : USUAL;
  h->memory = malloc(h->room + ALIGN);
  if (!h->memory) {
    gr_free(h);
    return NULL;
  }
  h->buffer = h->memory + (uintptr_t)like % ALIGN;
  return h;
}

static size_t length_of(const char *name) {
  return strlen(name) + 1;
}

/* --- those with a buffer of their own ----------------------------------- */

static _Thread_local host_job *last;

static const gr_wait by_name = {.name = "gethostbyname", .foreign = true};
static const gr_wait by_address = {.name = "gethostbyaddr", .foreign = true};

static struct hostent *keep(host_job *h) {
  if (last) gr_coop_job_free(&last->j);
  last = h;
  if (!h->answer) h_errno = h->result == ERANGE ? NETDB_INTERNAL : h->error;
  return h->answer;
}

/* Is it asked here, and not by the C library?  *found: the answer, or NULL. */
static bool asked(const gr_wait *what, int way, const void *key, size_t length,
                  int family, struct hostent **found) {
  gr_state *S = gr_coop_here();
  *found = NULL;
  if (!S) return false;
  gr_coop_end how = GR_COOP_STRUCK;
  if (!gr_coop_struck(S)) {
    host_job *h = new_job(way, key, length, family, NULL, 0);
    how = h ? gr_coop_perform(S, what, &h->j) : GR_COOP_CANNOT;
    if (how == GR_COOP_LOOK) *found = keep(h);
  }
  if (how == GR_COOP_STRUCK) h_errno = NO_RECOVERY;
  return how != GR_COOP_CANNOT;
}

GR_EXPORT struct hostent *gethostbyname(const char *name) {
  struct hostent *found;
  return asked(&by_name, BY_NAME, name, length_of(name), 0, &found)
             ? found
             : GR_REAL(gethostbyname)(name);
}

GR_EXPORT struct hostent *gethostbyname2(const char *name, int family) {
  struct hostent *found;
  return asked(&by_name, BY_NAME_OF_FAMILY, name, length_of(name), family,
               &found)
             ? found
             : GR_REAL(gethostbyname2)(name, family);
}

GR_EXPORT struct hostent *gethostbyaddr(const void *address, socklen_t length,
                                        int family) {
  struct hostent *found;
  return asked(&by_address, BY_ADDRESS, address, length, family, &found)
             ? found
             : GR_REAL(gethostbyaddr)(address, length, family);
}

/* --- those with the caller's -------------------------------------------- */

typedef struct place {
  struct hostent *entry, **answer;
  char *buffer;
  size_t room;
  int *error;
} place;

static void *moved(const host_job *h, const place *to, void *pointer) {
  return pointer ? to->buffer + ((char *)pointer - h->buffer) : NULL;
}

static void move_list(const host_job *h, const place *to, char **list) {
  for (; list && *list; list++) *list = moved(h, to, *list);
}

static void move(const host_job *h, const place *to) {
  memcpy(to->buffer, h->buffer, to->room);
  *to->entry = h->entry;
  to->entry->h_name = moved(h, to, h->entry.h_name);
  to->entry->h_aliases = moved(h, to, h->entry.h_aliases);
  to->entry->h_addr_list = moved(h, to, h->entry.h_addr_list);
  move_list(h, to, to->entry->h_aliases);
  move_list(h, to, to->entry->h_addr_list);
  *to->answer = to->entry;
}

static int give_up(const place *to) {
  *to->answer = NULL;
  *to->error = NO_RECOVERY;
  return ECANCELED;
}

static int hand_over(host_job *h, const place *to) {
  int result = h->result;
  *to->answer = NULL;
  *to->error = h->error;
  if (h->answer) move(h, to);
  gr_coop_job_free(&h->j);
  return result;
}

/* As `asked`; *result is what the function returns. */
static bool asked_into(const gr_wait *what, int way, const void *key,
                       size_t length, int family, const place *to,
                       int *result) {
  gr_state *S = gr_coop_here();
  if (!S) return false;
  gr_coop_end how = GR_COOP_STRUCK;
  host_job *h = NULL;
  if (!gr_coop_struck(S)) {
    h = new_job(way, key, length, family, to->buffer, to->room);
    how = h ? gr_coop_perform(S, what, &h->j) : GR_COOP_CANNOT;
  }
  *result = how == GR_COOP_LOOK ? hand_over(h, to) : give_up(to);
  return how != GR_COOP_CANNOT;
}

GR_EXPORT int gethostbyname_r(const char *name, struct hostent *entry,
                              char *buffer, size_t room,
                              struct hostent **answer, int *error) {
  place to = {entry, answer, buffer, room, error};
  int result;
  return asked_into(&by_name, BY_NAME, name, length_of(name), 0, &to, &result)
             ? result
             : GR_REAL(gethostbyname_r)(name, entry, buffer, room, answer,
                                        error);
}

GR_EXPORT int gethostbyname2_r(const char *name, int family,
                               struct hostent *entry, char *buffer, size_t room,
                               struct hostent **answer, int *error) {
  place to = {entry, answer, buffer, room, error};
  int result;
  return asked_into(&by_name, BY_NAME_OF_FAMILY, name, length_of(name), family,
                    &to, &result)
             ? result
             : GR_REAL(gethostbyname2_r)(name, family, entry, buffer, room,
                                         answer, error);
}

GR_EXPORT int gethostbyaddr_r(const void *address, socklen_t length, int family,
                              struct hostent *entry, char *buffer, size_t room,
                              struct hostent **answer, int *error) {
  place to = {entry, answer, buffer, room, error};
  int result;
  return asked_into(&by_address, BY_ADDRESS, address, length, family, &to,
                    &result)
             ? result
             : GR_REAL(gethostbyaddr_r)(address, length, family, entry, buffer,
                                        room, answer, error);
}
