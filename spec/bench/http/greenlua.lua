local http = require "greenlua.http"

assert(http.serve("127.0.0.1:" .. os.getenv "PORT", function(_, res)
  res:set_header("Content-Type", "text/plain")
  res:send "hello world\n"
end))
