/* Heads: their lines are looked at here, strictly, then llhttp parses them.
 *
 * What makes request smuggling possible is what two programs read differently;
 * so all of that is refused: line ends that are not CRLF, folded lines, spaces
 * before the colon, two lengths, codings that are not "chunked".  llhttp 8.1 is
 * lenient in some of these, and the two must agree on the number of fields. */
#include <string.h>
#include <strings.h>

#include "http.h"

bool grh_same(const char *a, size_t na, const char *b, size_t nb) {
  return na == nb && !strncasecmp(a, b, na);
}

/* What a byte may be part of: a token (RFC 9110, 5.6.2), a host (RFC 3986). */
enum { TOKEN = 1, HOST = 2, BOTH = TOKEN | HOST };
static const uint8_t parts[256] = {
    ['!'] = BOTH,         ['#'] = TOKEN,        ['$'] = BOTH,
    ['%'] = BOTH,         ['&'] = BOTH,         ['\''] = BOTH,
    ['*'] = BOTH,         ['+'] = BOTH,         ['-'] = BOTH,
    ['.'] = BOTH,         ['^'] = TOKEN,        ['_'] = BOTH,
    ['`'] = TOKEN,        ['|'] = TOKEN,        ['~'] = BOTH,
    ['0' ... '9'] = BOTH, ['A' ... 'Z'] = BOTH, ['a' ... 'z'] = BOTH,
    ['('] = HOST,         [')'] = HOST,         [';'] = HOST,
    ['='] = HOST};

bool grh_is_token(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!(parts[(unsigned char)s[i]] & TOKEN)) return false;
  return n > 0;
}

static long refuse(grh_parser *p, int status, const char *why) {
  p->why = why;
  return -status;
}

/* --- lines -------------------------------------------------------------- */

/* One line, its end included.  0, or a refusal. */
static long check_line(grh_parser *p, const char *line, size_t n,
                       const grh_limits *limits, bool first) {
  if (n < 2 || line[n - 2] != '\r')
    return refuse(p, 400, "a line that does not end with CRLF");
  if (memchr(line, '\r', n - 2)) return refuse(p, 400, "a bare CR");
  if (n - 2 > limits->line)
    return first ? refuse(p, 414, "the request line is too long")
                 : refuse(p, 431, "a field is too long");
  if (!first && (*line == ' ' || *line == '\t'))
    return refuse(p, 400, "a folded field");
  return 0;
}

/* A line whose end has not come yet. */
static long check_begun(grh_parser *p, size_t n, size_t at,
                        const grh_limits *limits) {
  if (n > (size_t)limits->line + 2)
    return at ? refuse(p, 431, "a field is too long")
              : refuse(p, 414, "the request line is too long");
  if (at + n > limits->head) return refuse(p, 431, "the head is too large");
  return 0;
}

/* `p->max` counts the lines that are left while a head is looked at. */
long grh_find_head(grh_parser *p, const char *data, size_t len,
                   uint32_t *scanned, const grh_limits *limits) {
  size_t at = *scanned;
  p->max = limits->fields < GRH_FIELDS ? limits->fields : GRH_FIELDS;
  while (at < len) {
    const char *line = data + at, *end = memchr(line, '\n', len - at);
    if (!end) return check_begun(p, len - at, at, limits);
    size_t n = (size_t)(end - line) + 1;
    long bad = check_line(p, line, n, limits, at == 0);
    if (bad) return bad;
    at += n;
    if (at > limits->head) return refuse(p, 431, "the head is too large");
    if (n == 2) return (long)at;
    *scanned = (uint32_t)at;
  }
  return 0;
}

/* --- llhttp ------------------------------------------------------------- */

static grh_parser *parser_of(llhttp_t *l) {
  return l->data;
}

static int on_url(llhttp_t *l, const char *at, size_t n) {
  grh_parser *p = parser_of(l);
  p->head.target = (grh_span){(uint32_t)(at - p->base), (uint32_t)n};
  return 0;
}

static int on_field(llhttp_t *l, const char *at, size_t n) {
  grh_parser *p = parser_of(l);
  if (p->head.count >= p->max) {
    p->why = "too many fields";
    return HPE_USER;
  }
  grh_field *f = &p->fields[p->head.count++];
  *f = (grh_field){.name = (uint32_t)(at - p->base), .name_len = (uint32_t)n};
  return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t n) {
  grh_parser *p = parser_of(l);
  grh_field *f = &p->fields[p->head.count - 1];
  if (!p->head.count || f->value) return HPE_USER; /* in two pieces: folded */
  while (n && (at[n - 1] == ' ' || at[n - 1] == '\t')) n--;
  f->value = (uint32_t)(at - p->base);
  f->value_len = (uint32_t)n;
  return 0;
}

static int on_complete(llhttp_t *l) {
  parser_of(l)->complete = true;
  return HPE_PAUSED;
}

void grh_parser_init(grh_parser *p) {
  llhttp_settings_init(&p->settings);
  p->settings.on_url = on_url;
  p->settings.on_header_field = on_field;
  p->settings.on_header_value = on_value;
  p->settings.on_headers_complete = on_complete;
}

/* --- what the fields say ------------------------------------------------ */

/* How many there are of those that must be alone. */
typedef struct counts {
  unsigned length, coding, host, connection;
} counts;

static bool is_number(const char *s, size_t n, uint64_t *value) {
  uint64_t v = 0;
  if (!n || n > 18) return false;
  for (size_t i = 0; i < n; i++) {
    if (s[i] < '0' || s[i] > '9') return false;
    v = v * 10 + (uint64_t)(s[i] - '0');
  }
  *value = v;
  return true;
}

static int refuse_field(grh_parser *p, int status, const char *why) {
  p->why = why;
  return status;
}

static int read_length(grh_parser *p, counts *n, const char *value,
                       size_t len) {
  if (n->length++) return refuse_field(p, 400, "two Content-Lengths");
  if (!is_number(value, len, &p->head.length))
    return refuse_field(p, 400, "a bad Content-Length");
  p->head.framing = GRH_LENGTH;
  return 0;
}

static int read_coding(grh_parser *p, counts *n, const char *value,
                       size_t len) {
  if (n->coding++) return refuse_field(p, 400, "two Transfer-Encodings");
  if (grh_same(value, len, "chunked", 7)) return 0;
  bool last = len > 8 && grh_same(value + len - 7, 7, "chunked", 7);
  return last && strchr(" \t,", value[len - 8])
             ? refuse_field(p, 501, "an unknown transfer coding")
             : refuse_field(p, 400, "a body without an end");
}

static bool of_host(char ch) {
  return parts[(unsigned char)ch] & HOST;
}

/* None is the usual one. */
static bool good_port(const char *s, size_t n) {
  unsigned port = 0;
  for (size_t i = 0; i < n; i++) {
    if (s[i] < '0' || s[i] > '9') return false;
    port = port * 10 + (unsigned)(s[i] - '0');
    if (port > 65535) return false;
  }
  return true;
}

/* A name or an address, and a port: nothing that ends a host in a URL. */
static bool good_host(const char *s, size_t n) {
  size_t i = 0;
  if (n && *s == '[') {
    for (i = 1; i < n && (of_host(s[i]) || s[i] == ':'); i++)
      ;
    if (i == n || s[i++] != ']') return false;
  } else {
    while (i < n && of_host(s[i])) i++;
  }
  if (i < n && s[i++] != ':') return false;
  return good_port(s + i, n - i);
}

/* llhttp overlooks further spaces. */
static bool spaced_well(const grh_parser *p) {
  size_t method = strlen(llhttp_method_name(p->head.method));
  grh_span t = p->head.target;
  return t.at == method + 1 && !memcmp(p->base + t.at + t.len, " HTTP/", 6);
}

/* A fragment is for whoever asks; some would cut it off, and some would not.
 * "http://host:port/…" has no user, whom only those name who want to deceive;
 * what is no path, or the like, is for CONNECT and OPTIONS alone. */
static const char *wrong_target(const grh_parser *p) {
  const char *s = p->base + p->head.target.at, *end = s + p->head.target.len;
  size_t n = (size_t)(end - s);
  if (!n) return "no target";
  if (!spaced_well(p)) return "a bad request line";
  if (memchr(s, '#', n)) return "a fragment in the target";
  if (p->head.method == HTTP_CONNECT)
    return memchr(s, ':', n) && end[-1] != ':' && *s != ':' && good_host(s, n)
               ? NULL
               : "a bad authority";
  if (*s == '/') return NULL;
  if (*s == '*')
    return n == 1 && p->head.method == HTTP_OPTIONS ? NULL : "a bad target";
  const char *host = memmem(s, n, "://", 3);
  if (!host) return "a bad target";
  const char *stop = host += 3;
  while (stop < end && *stop != '/' && *stop != '?') stop++;
  return stop > host && good_host(host, (size_t)(stop - host))
             ? NULL
             : "a bad authority";
}

/* The names that matter here, told apart by their lengths first. */
static int read_field(grh_parser *p, counts *n, const grh_field *f) {
  const char *name = p->base + f->name, *value = p->base + f->value;
  size_t len = f->value_len;
  switch (f->name_len) {
  case 4:
    if (strncasecmp(name, "host", 4)) return 0;
    if (n->host++) return refuse_field(p, 400, "two Hosts");
    return good_host(value, len) ? 0 : refuse_field(p, 400, "a bad Host");
  case 6:
    if (strncasecmp(name, "expect", 6)) return 0;
    p->head.expect = grh_same(value, len, "100-continue", 12)
                         ? GRH_EXPECT_CONTINUE
                         : GRH_EXPECT_OTHER;
    return 0;
  case 14:
    if (strncasecmp(name, "content-length", 14)) return 0;
    return read_length(p, n, value, len);
  case 17:
    if (strncasecmp(name, "transfer-encoding", 17)) return 0;
    return read_coding(p, n, value, len);
  default:
    return 0;
  }
}

static int read_fields(grh_parser *p, bool request) {
  counts n = {0, 0, 0, 0};
  for (unsigned i = 0; i < p->head.count; i++) {
    const grh_field *f = &p->fields[i];
    const char *name = p->base + f->name;
    if (!grh_is_token(name, f->name_len) || name[f->name_len] != ':')
      return refuse_field(p, 400, "a bad field name");
    int bad = read_field(p, &n, f);
    if (bad) return bad;
  }
  if (n.coding) {
    if (n.length) return refuse_field(p, 400, "two lengths");
    if (!p->head.minor)
      return refuse_field(p, 400, "a transfer coding in HTTP/1.0");
    p->head.framing = GRH_CHUNKED;
  }
  if (request && p->head.minor && !n.host)
    return refuse_field(p, 400, "no Host");
  return 0;
}

/* --- parsing ------------------------------------------------------------ */

static int refuse_parse(grh_parser *p, int err) {
  switch (err) {
  case HPE_USER:
    if (!p->why) p->why = "a folded field";
    return p->head.count >= p->max ? 431 : 400;
  case HPE_INVALID_METHOD:
    p->why = "an unknown method";
    return 501;
  case HPE_INVALID_VERSION:
  case HPE_PAUSED_H2_UPGRADE:
    p->why = "an unknown version";
    return 505;
  default:
    p->why = llhttp_get_error_reason(&p->llhttp);
    if (!p->why || !*p->why) p->why = llhttp_errno_name(err);
    return 400;
  }
}

static unsigned count_lines(const char *data, size_t len) {
  unsigned n = 0;
  const char *end = data + len;
  for (const char *at = data; (at = memchr(at, '\n', (size_t)(end - at))); at++)
    n++;
  return n;
}

int grh_parse_head(grh_parser *p, llhttp_type_t type, const char *data,
                   size_t len) {
  llhttp_t *l = &p->llhttp;
  llhttp_init(l, type, &p->settings);
  l->data = p;
  p->base = data;
  p->why = NULL;
  p->complete = false;
  p->head = (grh_head){.count = 0};
  int err = llhttp_execute(l, data, len);
  if (!p->complete)
    return err == HPE_OK || err == HPE_PAUSED
               ? refuse_field(p, 400, "a bad head")
               : refuse_parse(p, err);
  p->head.method = l->method;
  p->head.major = l->http_major;
  p->head.minor = l->http_minor;
  p->head.status = l->status_code;
  p->head.keep_alive = !(l->flags & F_CONNECTION_CLOSE) &&
                       (l->http_minor || l->flags & F_CONNECTION_KEEP_ALIVE);
  if (type == HTTP_REQUEST && l->method > HTTP_SOURCE)
    return refuse_field(p, 501, "an unknown method");
  if (l->http_major != 1 || l->http_minor > 1)
    return refuse_field(p, 505, "an unknown version");
  if (count_lines(data, len) != p->head.count + 2)
    return refuse_field(p, 400, "a bad field");
  const char *wrong = type == HTTP_REQUEST ? wrong_target(p) : NULL;
  if (wrong) return refuse_field(p, 400, wrong);
  return read_fields(p, type == HTTP_REQUEST);
}
