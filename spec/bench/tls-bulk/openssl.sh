cd "$TMP" || exit
exec openssl s_server -WWW -quiet -accept "127.0.0.1:$PORT" -cert tls.pem -key tls.key >/dev/null 2>&1
