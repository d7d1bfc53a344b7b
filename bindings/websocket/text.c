/* UTF-8, and the handshake's key. */
#include <string.h>

#include "websocket.h"

/* --- UTF-8 -------------------------------------------------------------- */

static const unsigned char *skip_ascii(const unsigned char *s,
                                       const unsigned char *end) {
  uint64_t word;
  while (end - s >= 8) {
    memcpy(&word, s, 8);
    if (word & UINT64_C(0x8080808080808080)) break;
    s += 8;
  }
  while (s < end && *s < 0x80) s++;
  return s;
}

/* What may follow a first byte (RFC 3629, section 4); false: it is none. */
static bool begin(grw_utf8 *u, unsigned char c) {
  if (c < 0xC2 || c > 0xF4) return false;
  u->left = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
  u->low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
  u->high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
  return true;
}

bool grw_utf8_goes_on(grw_utf8 *u, const char *text, size_t n) {
  const unsigned char *s = (const unsigned char *)text, *end = s + n;
  while (s < end) {
    if (u->left) {
      if (*s < u->low || *s > u->high) return false;
      u->low = 0x80;
      u->high = 0xBF;
      u->left--;
      s++;
      continue;
    }
    s = skip_ascii(s, end);
    if (s < end && !begin(u, *s++)) return false;
  }
  return true;
}

bool grw_is_utf8(const char *s, size_t n) {
  grw_utf8 u = {0, 0, 0};
  return grw_utf8_goes_on(&u, s, n) && !u.left;
}

/* --- SHA-1 (FIPS 180-4), for keys alone: no secret depends on it ---------- */

static uint32_t rotate(uint32_t x, int n) {
  return x << n | x >> (32 - n);
}

static void compress(uint32_t h[5], const uint8_t block[64]) {
  uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
           (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 80; i++)
    w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  for (int i = 0; i < 80; i++) {
    uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5A827999
                 : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                 : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
                          : (b ^ c ^ d) + 0xCA62C1D6;
    uint32_t t = rotate(a, 5) + f + e + w[i];
    e = d, d = c, c = rotate(b, 30), b = a, a = t;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* Of at most 119 bytes, that is two blocks. */
static void sha1(const uint8_t *data, size_t n, uint8_t to[20]) {
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  uint8_t blocks[128] = {0};
  size_t size = n < 56 ? 64 : 128;
  memcpy(blocks, data, n);
  blocks[n] = 0x80;
  blocks[size - 2] = (uint8_t)(n * 8 >> 8);
  blocks[size - 1] = (uint8_t)(n * 8);
  for (size_t i = 0; i < size; i += 64) compress(h, blocks + i);
  for (int i = 0; i < 20; i++) to[i] = (uint8_t)(h[i / 4] >> (24 - i % 4 * 8));
}

void grw_base64(const void *data, size_t n, char *to) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const uint8_t *s = data;
  for (size_t i = 0; i < n; i += 3) {
    uint32_t v = (uint32_t)s[i] << 16;
    if (i + 1 < n) v |= (uint32_t)s[i + 1] << 8;
    if (i + 2 < n) v |= s[i + 2];
    *to++ = digits[v >> 18];
    *to++ = digits[v >> 12 & 63];
    *to++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
    *to++ = i + 2 < n ? digits[v & 63] : '=';
  }
  *to = '\0';
}

void grw_accept_key(const char *key, size_t n, char to[29]) {
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  uint8_t both[64 + sizeof guid], digest[20];
  if (n > 64) n = 64;
  memcpy(both, key, n);
  memcpy(both + n, guid, sizeof guid - 1);
  sha1(both, n + sizeof guid - 1, digest);
  grw_base64(digest, sizeof digest, to);
}
