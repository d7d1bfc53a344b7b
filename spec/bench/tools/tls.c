/* Load for TLS servers on 127.0.0.1: complete handshakes one after another in
 * each of some threads, or one download after another.
 *
 *   tls handshake|resume|bulk -p PORT [-c THREADS] [-t SECONDS] [-2]
 *
 * resume goes on with the session of the first connection each time; -2 is TLS
 * 1.2.  Prints `metric value unit` lines.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static SSL_CTX *ctx;
static SSL_SESSION *session;
static int port, bulk, resume_it;
static double until;
static double total;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    fprintf(stderr, "tls: %s\n", what);
    exit(1);
}

static SSL *open_one(int *to) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (void *)&a, sizeof a)) fail("cannot connect");
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    int known = resume_it && session;
    if (known) SSL_set_session(ssl, session);
    if (SSL_connect(ssl) != 1) fail("no handshake");
    if (known && !SSL_session_reused(ssl)) fail("not resumed");
    *to = fd;
    return ssl;
}

static double one(void) {
    static _Thread_local char buf[1 << 16];
    static const char request[] = "GET /bulk HTTP/1.0\r\n\r\n";
    int fd, n;
    double got = 1;
    SSL *ssl = open_one(&fd);
    if (bulk) {
        SSL_write(ssl, request, sizeof request - 1);
        while ((n = SSL_read(ssl, buf, sizeof buf)) > 0) got += n;
    }
    SSL_shutdown(ssl);
    while (!bulk && recv(fd, buf, sizeof buf, 0) > 0) continue;
    SSL_free(ssl);
    close(fd);
    return got;
}

static void *work(void *unused) {
    double mine = 0;
    while (now() < until) mine += one();
    pthread_mutex_lock(&lock);
    total += mine;
    pthread_mutex_unlock(&lock);
    return unused;
}

/* TLS 1.3 has its sessions come behind the handshake. */
static int keep(SSL *ssl, SSL_SESSION *s) {
    (void)ssl;
    if (session) return 0;
    session = s;
    return 1;
}

static void first_session(void) {
    char byte;
    struct timeval limit = {0, 200000};
    int fd;
    SSL *ssl = open_one(&fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    SSL_read(ssl, &byte, 1);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
    if (!session) fail("no session");
}

int main(int argc, char **argv) {
    int threads = 4;
    double seconds = 2;
    if (argc < 2) fail("which load?");
    bulk = !strcmp(argv[1], "bulk");
    resume_it = !strcmp(argv[1], "resume");
    ctx = SSL_CTX_new(TLS_client_method());
    signal(SIGPIPE, SIG_IGN);
    for (int o; (o = getopt(argc - 1, argv + 1, "p:c:t:2")) != -1;) switch (o) {
        case 'p': port = atoi(optarg); break;
        case 'c': threads = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case '2': SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION); break;
        default: return 1;
        }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (resume_it) {
        SSL_CTX_sess_set_new_cb(ctx, keep);
        first_session();
    }
    double start = now();
    until = start + seconds;
    pthread_t of[64];
    for (int i = 0; i < threads; i++) pthread_create(&of[i], NULL, work, NULL);
    for (int i = 0; i < threads; i++) pthread_join(of[i], NULL);
    double took = now() - start;
    if (bulk)
        printf("tls_bulk_rate %.3f GB/s\nload_total %.0f bytes\n", total / took / 1e9, total);
    else
        printf("tls_handshake_rps %.0f conn/s\nload_total %.0f ops\n", total / took, total);
    return 0;
}
