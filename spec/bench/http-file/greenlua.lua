local http = require "greenlua.http"

assert(http.serve("127.0.0.1:" .. os.getenv "PORT", http.static.handler(os.getenv "TMP")))
