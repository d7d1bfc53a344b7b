# Its input must not end.
exec openssl s_server -quiet -accept "127.0.0.1:$PORT" \
  -cert "$TMP/tls.pem" -key "$TMP/tls.key" < <(exec sleep 60) >/dev/null 2>&1
