/* OpenSSL, loaded when it is first needed.
 *
 * Linked as usual it would cost every start of the program the better part of
 * a millisecond, as much as all the rest takes.  So each of its functions that
 * the module calls is defined here, as a jump to where the library turns out
 * to have it.  One that is missing in the lists makes the linker link OpenSSL
 * after all, and a spec fail.  On other processors it is linked as usual.
 */
#include <dlfcn.h>
#include <openssl/opensslv.h>
#include <stddef.h>

#include "ssl.h"

#if defined(__x86_64__) || defined(__aarch64__)

/* clang-format off */
#define SSL_FUNCTIONS(X)                                                       \
  X(OPENSSL_init_ssl) X(SSL_CIPHER_description) X(SSL_CIPHER_get_bits)         \
  X(SSL_CTX_add_client_CA) X(SSL_CTX_callback_ctrl)                            \
  X(SSL_CTX_check_private_key) X(SSL_CTX_ctrl) X(SSL_CTX_dane_enable)          \
  X(SSL_CTX_dane_set_flags) X(SSL_CTX_free) X(SSL_CTX_get_cert_store)          \
  X(SSL_CTX_get_options) X(SSL_CTX_get_verify_depth)                           \
  X(SSL_CTX_get_verify_mode) X(SSL_CTX_load_verify_locations) X(SSL_CTX_new)   \
  X(SSL_CTX_sess_set_new_cb) X(SSL_CTX_set0_tmp_dh_pkey)                       \
  X(SSL_CTX_set_alpn_protos) X(SSL_CTX_set_alpn_select_cb)                     \
  X(SSL_CTX_set_cert_verify_callback) X(SSL_CTX_set_cipher_list)               \
  X(SSL_CTX_set_ciphersuites) X(SSL_CTX_set_client_CA_list)                    \
  X(SSL_CTX_set_client_hello_cb) X(SSL_CTX_set_default_verify_paths)           \
  X(SSL_CTX_set_keylog_callback) X(SSL_CTX_set_options)                        \
  X(SSL_CTX_set_psk_client_callback) X(SSL_CTX_set_psk_server_callback)        \
  X(SSL_CTX_set_session_id_context) X(SSL_CTX_set_verify)                      \
  X(SSL_CTX_set_verify_depth) X(SSL_CTX_use_PrivateKey)                        \
  X(SSL_CTX_use_certificate) X(SSL_CTX_use_psk_identity_hint)                  \
  X(SSL_SESSION_free) X(SSL_SESSION_is_resumable) X(SSL_clear_options)         \
  X(SSL_client_hello_get0_ext) X(SSL_ctrl) X(SSL_dane_enable)                  \
  X(SSL_dane_tlsa_add) X(SSL_do_handshake) X(SSL_export_keying_material)       \
  X(SSL_free) X(SSL_get0_alpn_selected) X(SSL_get0_param)                      \
  X(SSL_get1_peer_certificate) X(SSL_get_current_cipher) X(SSL_get_error)      \
  X(SSL_get_ex_data) X(SSL_get_ex_data_X509_STORE_CTX_idx)                     \
  X(SSL_get_finished) X(SSL_get_options) X(SSL_get_peer_cert_chain)            \
  X(SSL_get_peer_finished) X(SSL_get_servername) X(SSL_get_shutdown)           \
  X(SSL_get_verify_result) X(SSL_get_version) X(SSL_has_pending)               \
  X(SSL_in_init) X(SSL_key_update) X(SSL_load_client_CA_file) X(SSL_new)       \
  X(SSL_read_ex) X(SSL_session_reused) X(SSL_set_SSL_CTX)                      \
  X(SSL_set_accept_state) X(SSL_set_bio) X(SSL_set_connect_state)              \
  X(SSL_set_ex_data) X(SSL_set_options) X(SSL_set_session) X(SSL_set_verify)   \
  X(SSL_set_verify_depth) X(SSL_shutdown) X(SSL_want) X(SSL_write_ex)          \
  X(TLS_method)

#define CRYPTO_FUNCTIONS(X)                                                    \
  X(ASN1_INTEGER_to_BN) X(ASN1_OCTET_STRING_free) X(ASN1_STRING_get0_data)     \
  X(ASN1_STRING_length) X(ASN1_STRING_to_UTF8) X(ASN1_TIME_print)              \
  X(BIO_clear_flags) X(BIO_ctrl) X(BIO_free) X(BIO_get_data)                   \
  X(BIO_get_new_index) X(BIO_meth_free) X(BIO_meth_new) X(BIO_meth_set_ctrl)   \
  X(BIO_meth_set_read_ex) X(BIO_meth_set_write_ex) X(BIO_new)                  \
  X(BIO_new_file) X(BIO_new_mem_buf) X(BIO_s_mem) X(BIO_set_data)              \
  X(BIO_set_flags) X(BIO_set_init) X(BIO_test_flags) X(BN_bn2hex) X(BN_free)   \
  X(CRYPTO_free) X(EC_curve_nid2nist) X(EC_curve_nist2nid)                     \
  X(EC_get_builtin_curves) X(ERR_clear_error) X(ERR_get_error)                 \
  X(ERR_peek_error) X(ERR_peek_last_error) X(ERR_reason_error_string)          \
  X(EVP_PKEY_free) X(EVP_PKEY_get_base_id) X(EVP_PKEY_get_bits) X(EVP_sha1)    \
  X(EVP_sha256) X(EVP_sha512) X(GENERAL_NAMES_free) X(OBJ_nid2sn)              \
  X(OBJ_obj2txt) X(OPENSSL_cleanse) X(OPENSSL_sk_free)                         \
  X(OPENSSL_sk_new_null) X(OPENSSL_sk_num) X(OPENSSL_sk_push)                  \
  X(OPENSSL_sk_value) X(PEM_read_bio_Parameters) X(PEM_read_bio_PrivateKey)    \
  X(PEM_read_bio_X509) X(PEM_read_bio_X509_AUX) X(PEM_write_bio_PUBKEY)        \
  X(PEM_write_bio_X509) X(X509V3_EXT_d2i) X(X509_EXTENSION_get_object)         \
  X(X509_NAME_ENTRY_get_data) X(X509_NAME_ENTRY_get_object)                    \
  X(X509_NAME_entry_count) X(X509_NAME_get_entry) X(X509_STORE_CTX_free)       \
  X(X509_STORE_CTX_get0_param) X(X509_STORE_CTX_get_error)                     \
  X(X509_STORE_CTX_get_error_depth) X(X509_STORE_CTX_get_ex_data)              \
  X(X509_STORE_CTX_init) X(X509_STORE_CTX_new) X(X509_STORE_add_cert)          \
  X(X509_STORE_free) X(X509_STORE_new) X(X509_STORE_set_flags)                 \
  X(X509_VERIFY_PARAM_set1_host) X(X509_VERIFY_PARAM_set1_ip_asc)              \
  X(X509_VERIFY_PARAM_set_hostflags) X(X509_VERIFY_PARAM_set_purpose)          \
  X(X509_VERIFY_PARAM_set_trust) X(X509_cmp_time) X(X509_digest)               \
  X(X509_free) X(X509_get0_notAfter) X(X509_get0_notBefore)                    \
  X(X509_get0_pubkey) X(X509_get0_serialNumber) X(X509_get_ext)                \
  X(X509_get_ext_by_NID) X(X509_get_issuer_name) X(X509_get_signature_nid)     \
  X(X509_get_subject_name) X(X509_up_ref) X(X509_verify_cert)                  \
  X(X509_verify_cert_error_string) X(a2i_IPADDRESS)

/* clang-format on */

#ifdef __x86_64__
#define JUMP(name) "endbr64\n jmp *to_" #name "(%rip)\n"
#else
#define JUMP(name)                                                             \
  "hint 34\n adrp x16, to_" #name "\n ldr x16, [x16, :lo12:to_" #name          \
  "]\n br x16\n"
#endif

/* Hidden, so that nobody else in the process meets these. */
#define DEFINE(name)                                                           \
  __attribute__((used)) static void *to_##name;                                \
  __asm__(".pushsection .text\n .globl " #name "\n .hidden " #name             \
          "\n .type " #name ", %function\n .p2align 4\n" #name                 \
          ":\n" JUMP(name) ".size " #name ", . - " #name "\n .popsection\n");

SSL_FUNCTIONS(DEFINE)
CRYPTO_FUNCTIONS(DEFINE)

typedef struct entry {
  const char *name;
  void **to;
} entry;

#define ENTRY(name) {#name, &to_##name},

static const entry of_ssl[] = {SSL_FUNCTIONS(ENTRY){NULL, NULL}};
static const entry of_crypto[] = {CRYPTO_FUNCTIONS(ENTRY){NULL, NULL}};

#define TEXT(x) #x
#define LIBRARY(name, version) "lib" name ".so." TEXT(version)

/* NULL or why not. */
static const char *load(const char *file, const entry *e) {
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library) return dlerror();
  for (; e->name; e++)
    if (!(*e->to = dlsym(library, e->name))) return dlerror();
  return NULL;
}

const char *grb_load_openssl(void) {
  const char *problem =
      load(LIBRARY("crypto", OPENSSL_SHLIB_VERSION), of_crypto);
  return problem ? problem
                 : load(LIBRARY("ssl", OPENSSL_SHLIB_VERSION), of_ssl);
}

#else

const char *grb_load_openssl(void) {
  return NULL;
}

#endif
